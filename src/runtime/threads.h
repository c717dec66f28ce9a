/* The one thread pool: fork-join over numbered tasks; and each thread's working space.
 *
 * Above: kernels and blas.c, which split large work into tasks whose number depends on the work's size alone, wherever
 * results depend on it (so that they never depend on the number of threads).  Below: pthreads.
 */
#pragma once
#include <stddef.h>

typedef void (*task_fn)(void *context, ptrdiff_t index);

/* Run task(context, i) for i in [0, n_tasks), on the pool and on the calling thread; return when all are done.
 * Serial when one thread is set, when called from inside a task, or when another thread is using the pool.
 * Workers start at the first call that needs them, spin briefly when idle, then sleep. Safe after fork. */
void parallel(task_fn task, void *context, ptrdiff_t n_tasks);

/* Number of threads, the caller included. Default: CORGI_NUM_THREADS, else the smaller of affinity and cgroup quota. */
int get_num_threads(void);
void set_num_threads(int n);

/* Working space of the calling thread, at least `bytes`, aligned for vectors, or NULL: there is no memory. It is kept for the
 * next call, which may move it, until the thread ends. */
void *thread_space(size_t bytes);
