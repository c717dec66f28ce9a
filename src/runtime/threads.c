/* The one thread pool: fork-join over numbered tasks.  The interface and its promises are in threads.h.
 *
 * Above: kernels and blas.c.  Below: pthreads, and what Linux says about the number of usable CPUs.
 *
 * One job runs at a time.  A single word, pool.state, tells who takes part in it: the seats still free for workers, and
 * the workers inside.  A worker enters by taking a seat, so it can neither see the job half written nor touch it after
 * its end; the caller removes the free seats when the tasks are all taken, and returns when nobody is inside.  A worker
 * that was too slow to enter is not waited for, which matters when there are more threads than cores.
 */
#define _GNU_SOURCE
#include "threads.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { MAX_THREADS = 256, SPIN_NANOSECONDS = 100 * 1000 };

/* pool.state: workers inside in the low half, free seats in the high half. */
#define SEAT 0x10000u
#define INSIDE_MASK 0xffffu

static struct {
    /* The job: written by its caller while nobody is inside. */
    task_fn task;
    void *context;
    ptrdiff_t n_tasks;
    atomic_ptrdiff_t next;

    atomic_uint state;
    atomic_flag busy;     /* held by the caller of the running job */
    atomic_int n_threads; /* 0: not yet asked */
    int n_workers;        /* started so far; guarded by busy */
    atomic_int sleepers;  /* workers asleep, or about to be */
    atomic_bool caller_sleeps;
    pthread_mutex_t lock; /* only for falling asleep and waking up */
    pthread_cond_t wake, done;
} pool = {.busy = ATOMIC_FLAG_INIT,
          .lock = PTHREAD_MUTEX_INITIALIZER,
          .wake = PTHREAD_COND_INITIALIZER,
          .done = PTHREAD_COND_INITIALIZER};

static _Thread_local bool inside_task;

/* ---- Waiting ---- */

static bool job_has_seats(void) { return atomic_load(&pool.state) & ~INSIDE_MASK; }
static bool job_is_done(void) { return atomic_load(&pool.state) == 0; }

static inline void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static int64_t nanoseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Wait for `ready` without sleeping, but not for long, and yielding: the thread waited for may need this very core. */
static inline bool spin_until(bool (*ready)(void))
{
    for (int64_t start = nanoseconds(); nanoseconds() - start < SPIN_NANOSECONDS; sched_yield()) {
        for (int i = 0; i < 64; i++) {
            if (ready()) return true;
            relax();
        }
    }
    return ready();
}

/* Sleeping and waking cannot miss each other: the sleeper announces itself before it looks at the state, the waker
 * changes the state before it looks for sleepers, and passing through the lock lets an announced sleeper reach its wait. */
static void sleep_until_job(void)
{
    pthread_mutex_lock(&pool.lock);
    atomic_fetch_add(&pool.sleepers, 1);
    while (!job_has_seats()) pthread_cond_wait(&pool.wake, &pool.lock);
    atomic_fetch_sub(&pool.sleepers, 1);
    pthread_mutex_unlock(&pool.lock);
}

static void wake_workers(int seats)
{
    int sleepers = atomic_load(&pool.sleepers);
    if (sleepers == 0) return;
    pthread_mutex_lock(&pool.lock);
    pthread_mutex_unlock(&pool.lock);
    if (seats >= sleepers) {
        pthread_cond_broadcast(&pool.wake);
    } else {
        while (seats-- > 0) pthread_cond_signal(&pool.wake);
    }
}

static void sleep_until_done(void)
{
    pthread_mutex_lock(&pool.lock);
    atomic_store(&pool.caller_sleeps, true);
    while (!job_is_done()) pthread_cond_wait(&pool.done, &pool.lock);
    atomic_store(&pool.caller_sleeps, false);
    pthread_mutex_unlock(&pool.lock);
}

static void wake_caller(void)
{
    if (!atomic_load(&pool.caller_sleeps)) return;
    pthread_mutex_lock(&pool.lock);
    pthread_cond_signal(&pool.done);
    pthread_mutex_unlock(&pool.lock);
}

/* ---- Working ---- */

static bool take_seat(void)
{
    unsigned state = atomic_load(&pool.state);
    while (state & ~INSIDE_MASK) {
        if (atomic_compare_exchange_weak(&pool.state, &state, state - SEAT + 1)) return true;
    }
    return false;
}

static void run_tasks(void)
{
    for (;;) {
        ptrdiff_t i = atomic_fetch_add_explicit(&pool.next, 1, memory_order_relaxed);
        if (i >= pool.n_tasks) break;
        pool.task(pool.context, i);
    }
    atomic_fetch_and(&pool.state, INSIDE_MASK); /* nothing is left to enter for */
}

static void *worker(void *unused)
{
    (void)unused;
    inside_task = true;
    for (;;) {
        if (!spin_until(job_has_seats)) sleep_until_job();
        if (!take_seat()) continue;
        run_tasks();
        if (atomic_fetch_sub(&pool.state, 1) == 1) wake_caller();
    }
    return NULL;
}

/* ---- Fork: the child has no workers, and perhaps a job whose caller was another thread ---- */

static void before_fork(void) { pthread_mutex_lock(&pool.lock); }
static void after_fork_in_parent(void) { pthread_mutex_unlock(&pool.lock); }

static void after_fork_in_child(void)
{
    pthread_mutex_unlock(&pool.lock);
    pool.wake = pool.done = (pthread_cond_t)PTHREAD_COND_INITIALIZER; /* forget the parent's sleepers */
    pool.n_workers = 0;
    atomic_store(&pool.state, 0);
    atomic_store(&pool.sleepers, 0);
    atomic_store(&pool.caller_sleeps, false);
    atomic_flag_clear(&pool.busy);
}

static void watch_forks(void) { pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child); }

/* Fewer workers than wanted is no error: the caller does what they do not. */
static void start_workers(int wanted)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, watch_forks);

    pthread_attr_t attributes;
    if (pthread_attr_init(&attributes)) return;
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    sigset_t all, old; /* signals are for the threads of the program */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    pthread_t thread;
    while (pool.n_workers < wanted && !pthread_create(&thread, &attributes, worker, NULL)) pool.n_workers++;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_attr_destroy(&attributes);
}

static void run_on_pool(task_fn task, void *context, ptrdiff_t n_tasks, int seats)
{
    if (pool.n_workers < seats) start_workers(seats);
    pool.task = task;
    pool.context = context;
    pool.n_tasks = n_tasks;
    atomic_store_explicit(&pool.next, 0, memory_order_relaxed);
    atomic_store(&pool.state, (unsigned)seats * SEAT);
    wake_workers(seats);

    inside_task = true;
    run_tasks();
    inside_task = false;
    if (!spin_until(job_is_done)) sleep_until_done();
}

void parallel(task_fn task, void *context, ptrdiff_t n_tasks)
{
    int n_threads = get_num_threads();
    if (n_tasks > 1 && n_threads > 1 && !inside_task && !atomic_flag_test_and_set(&pool.busy)) {
        run_on_pool(task, context, n_tasks, (int)(n_tasks < n_threads ? n_tasks : n_threads) - 1);
        atomic_flag_clear(&pool.busy);
    } else {
        for (ptrdiff_t i = 0; i < n_tasks; i++) task(context, i);
    }
}

/* ---- Number of threads ---- */

static int clamp(double n) { return n < 1 ? 1 : n > MAX_THREADS ? MAX_THREADS : (int)n; }

/* The CPUs' worth of time that the cgroup directory `group` grants; MAX_THREADS if it sets no limit. */
static int quota_of(const char *group)
{
    char path[4200];
    double quota = -1, period = 0;
    snprintf(path, sizeof path, "%s/cpu.max", group); /* version 2: "max 100000" or "150000 100000" */
    FILE *file = fopen(path, "r");
    if (file) {
        if (fscanf(file, "%lf %lf", &quota, &period) != 2) quota = -1;
        fclose(file);
    } else { /* version 1: two files; a quota of -1 is none */
        snprintf(path, sizeof path, "%s/cpu.cfs_quota_us", group);
        if (!(file = fopen(path, "r"))) return MAX_THREADS;
        if (fscanf(file, "%lf", &quota) != 1) quota = -1;
        fclose(file);
        snprintf(path, sizeof path, "%s/cpu.cfs_period_us", group);
        if (!(file = fopen(path, "r"))) return MAX_THREADS;
        if (fscanf(file, "%lf", &period) != 1) period = 0;
        fclose(file);
    }
    if (!(quota > 0 && period > 0)) return MAX_THREADS;
    double cpus = quota / period;
    return clamp(cpus > (int)cpus ? (int)cpus + 1 : cpus);
}

/* Does the comma-separated list of a line of /proc/self/cgroup name the CPU controller (or, empty, version 2)? */
static bool limits_cpu(const char *controllers, size_t length)
{
    if (length == 0) return true;
    for (const char *end = controllers + length; controllers < end;) {
        size_t word = strcspn(controllers, ",:");
        if (word == 3 && !memcmp(controllers, "cpu", 3)) return true;
        controllers += word + 1;
    }
    return false;
}

/* The smallest quota on the way from this process's group up to the mount point. (In a container the path may be the
 * host's and not exist here; the walk then ends at the mount point, which is the container's own group.) */
static int cgroup_cpus(const char *proc_file, const char *mount)
{
    FILE *file = fopen(proc_file, "r");
    if (!file) return MAX_THREADS;
    int cpus = MAX_THREADS;
    char line[4096], group[4160];
    while (fgets(line, sizeof line, file)) { /* "4:cpu,cpuacct:/path" or "0::/path" */
        line[strcspn(line, "\n")] = 0;
        char *controllers = strchr(line, ':');
        char *path = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!path || !limits_cpu(controllers + 1, (size_t)(path - controllers - 1))) continue;
        bool version2 = path == controllers + 1;
        snprintf(group, sizeof group, "%s%s", mount, version2 ? "" : "/cpu");
        size_t root = strlen(group);
        snprintf(group + root, sizeof group - root, "%s", path + 1);
        for (char *end = group; end; end = strrchr(group + root, '/')) {
            if (end > group) *end = 0;
            int quota = quota_of(group);
            if (quota < cpus) cpus = quota;
        }
    }
    fclose(file);
    return cpus;
}

static int available_cpus(void)
{
#ifdef __linux__
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) return clamp(CPU_COUNT(&set));
#endif
    return clamp((double)sysconf(_SC_NPROCESSORS_ONLN)); /* also when the set is too small for this machine */
}

static int default_num_threads(void)
{
    const char *text = getenv("CORGI_NUM_THREADS");
    if (text) {
        char *end;
        long n = strtol(text, &end, 10);
        if (end != text && *end == 0 && n > 0) return clamp((double)n);
    }
    int cpus = available_cpus(), quota = cgroup_cpus("/proc/self/cgroup", "/sys/fs/cgroup");
    return quota < cpus ? quota : cpus;
}

int get_num_threads(void)
{
    int n = atomic_load_explicit(&pool.n_threads, memory_order_relaxed);
    if (n) return n;
    int none = 0;
    n = default_num_threads();
    return atomic_compare_exchange_strong(&pool.n_threads, &none, n) ? n : none;
}

void set_num_threads(int n) { atomic_store(&pool.n_threads, clamp(n)); }

/* ---- Working space ---- */

static pthread_key_t space_key;
static bool have_space_key;
static void make_space_key(void) { have_space_key = pthread_key_create(&space_key, free) == 0; }

void *thread_space(size_t bytes)
{
    enum { HEADER = 64, PIECE = 1 << 16 }; /* the size comes first */
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_space_key);
    if (!have_space_key) return NULL;
    size_t *space = pthread_getspecific(space_key);
    if (space && *space >= bytes) return (char *)space + HEADER;
    pthread_setspecific(space_key, NULL);
    free(space);
    size_t whole = (bytes + HEADER + PIECE - 1) / PIECE * PIECE;
    space = aligned_alloc(HEADER, whole);
    if (!space || pthread_setspecific(space_key, space) != 0) {
        free(space);
        return NULL;
    }
    *space = whole - HEADER;
    return (char *)space + HEADER;
}
