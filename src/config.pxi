# Start-up and settings: instruction set, BLAS, threads, memory.
#
# Above: corgi/__init__.py and corgi.show_config.  Below: the runtime.


def _select_level(name=None):
    """Use the kernels of an instruction-set level: the best one that the CPU has, or the one named."""
    cdef bytes wanted = (name or "").encode()
    cdef const char *level = wanted
    cdef const char *problem = select_kernels(level if name else NULL)
    if problem != NULL:
        raise ValueError(f"CORGI_CPU: {problem.decode()}")


def _load_blas(path):
    """Load OpenBLAS from a file; returns None, or why it cannot be used."""
    cdef bytes file = path.encode()
    cdef const char *problem = blas_load(file)
    return None if problem == NULL else problem.decode()


cdef extern from *:
    """
    #if defined(BLAS_OPENBLAS)
    static const char *blas_built = "openblas";
    #elif defined(BLAS_NETLIB)
    static const char *blas_built = "netlib";
    #else
    static const char *blas_built = "none";
    #endif

    /* Seen from outside, for threadpoolctl. */
    __attribute__((visibility("default"))) int corgi_get_num_threads(void);
    int corgi_get_num_threads(void) { return get_num_threads(); }
    """
    const char *blas_built


def _config():
    """What corgi runs on, as a dict."""
    return {"level": kernels.level.decode(), "levels": available_levels().decode().split(),
            "blas": blas_backend().decode(), "blas_built": blas_built.decode(), "blas_leads": not kernels.gemm_leads,
            "blas_library": blas_library().decode(), "blas_config": blas_config().decode()}


def _get_threads():
    return get_num_threads()


def _set_threads(int n):
    set_num_threads(n)


def _memory_stats():
    """Bytes and calls of the buffer cache, as a dict."""
    return {"in_use": memory_stats.in_use, "peak": memory_stats.peak, "cached": memory_stats.held - memory_stats.in_use,
            "limit": memory_stats.limit, "allocations": memory_stats.allocations, "reuses": memory_stats.reuses}


def _memory_trim(isize keep):
    memory_trim(keep)


def _memory_limit(isize limit):
    memory_stats.limit = limit
    memory_trim(limit)


def _memory_reset_peak():
    memory_stats.peak = memory_stats.in_use


import os

_select_level(os.environ.get("CORGI_CPU") or None)
