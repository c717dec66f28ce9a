/* The one thread pool: fork-join over numbered tasks.
 *
 * Above: kernels and blas.c, which split large work into tasks whose number depends on the work's size alone (never on
 * the number of threads, so that results do not either).  Below: pthreads.
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
