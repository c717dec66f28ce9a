"""What corgi runs on, and the settings of the process: threads, memory, default dtype.

Above: users, the command line.  Below: the runtime, through `corgi._core`.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import sys
from typing import TYPE_CHECKING, Any

from corgi import _core

if TYPE_CHECKING:
    from collections.abc import Iterator

    from corgi._typing import DTypeLike

__all__ = ["blas_backend", "default_dtype", "get_num_threads", "memory", "num_threads", "set_num_threads", "show_config"]


def _find_openblas() -> str | None:
    """The library file of the scipy-openblas32 package, or None."""
    spec = importlib.util.find_spec("scipy_openblas32")
    if spec is None or not spec.submodule_search_locations:
        return None
    folder = os.path.join(next(iter(spec.submodule_search_locations)), "lib")
    if not os.path.isdir(folder):
        return None
    files = sorted(file for file in os.listdir(folder) if file.startswith("libscipy_openblas") and file.endswith(".so"))
    return os.path.join(folder, files[0]) if files else None


_BUILT_FOR = _core._config()["blas_built"]
_WHY_NOT = None
if _BUILT_FOR == "openblas":
    _file = _find_openblas()
    _WHY_NOT = (
        "scipy-openblas32 is not installed (pip install corgi[openblas])" if _file is None else _core._load_blas(_file)
    )


def config() -> dict[str, Any]:
    """What corgi runs on, as a dict.

    Returns
    -------
    dict
        version, python, numpy, blas (backend in use), blas_built (backend chosen at build time), blas_library (its file),
        blas_config (its own description), blas_products (which ones it computes: "all", "narrow", those of fewer than four
        rows or columns, or "none"), blas_note (why the backend in use is not the one built for), instruction_set,
        instruction_sets (available), threads, dtype (default).

    Examples
    --------
    >>> import corgi
    >>> corgi.config.config()["blas"] in ("openblas", "netlib", "none")
    True
    """
    import numpy

    found = _core._config()
    return {
        "version": _version(),
        "python": ".".join(map(str, sys.version_info[:3])),
        "numpy": numpy.__version__,
        "blas": found["blas"],
        "blas_built": found["blas_built"],
        "blas_library": found["blas_library"],
        "blas_config": found["blas_config"],
        "blas_products": _products(found),
        "blas_note": _WHY_NOT or "",
        "instruction_set": found["level"],
        "instruction_sets": found["levels"],
        "threads": get_num_threads(),
        "dtype": str(_core.get_default_dtype()),
    }


def _products(found: dict[str, Any]) -> str:
    """Which products the library computes."""
    if found["blas"] == "openblas":
        return "all" if found["blas_leads"] else "narrow"
    return "all" if found["blas"] == "netlib" else "none"


def _version() -> str:
    from corgi import __version__

    return __version__


def show_config() -> None:
    """Print version, BLAS backend and library, instruction set, threads and default dtype.

    Examples
    --------
    >>> import corgi
    >>> corgi.show_config()  # doctest: +ELLIPSIS
    corgi ...
    """
    c = config()
    print(f"corgi {c['version']} (Python {c['python']}, NumPy {c['numpy']})")
    library = f"{c['blas_library']} {c['blas_config']}".strip() or "built-in kernels"
    print(f"BLAS:            {c['blas']} ({library})")
    if c["blas_products"] == "narrow":
        print("                 for products with fewer than four rows or columns; built-in kernels are quicker at others")
    if c["blas"] != c["blas_built"]:
        print(f"                 built for {c['blas_built']}, not in use: {c['blas_note']}")
    print(f"Instruction set: {c['instruction_set']} (available: {', '.join(c['instruction_sets'])})")
    print(f"Threads:         {c['threads']}")
    print(f"Default dtype:   {c['dtype']}")


def blas_backend() -> str:
    """The BLAS that matrix products use now: "openblas", "netlib" or "none" (built-in kernels).

    With "openblas", CPUs with AVX-512 use it for products of fewer than four rows or columns alone: see `config.config`.

    Examples
    --------
    >>> import corgi
    >>> corgi.blas_backend() in ("openblas", "netlib", "none")
    True
    """
    return str(_core._config()["blas"])


def get_num_threads() -> int:
    """Number of threads that large operations use.

    By default the smaller of the CPUs that the process may use and the quota of its control group, or the environment
    variable ``CORGI_NUM_THREADS``.

    Examples
    --------
    >>> import corgi
    >>> corgi.get_num_threads() >= 1
    True
    """
    return _core._get_threads()


def set_num_threads(n: int) -> int:
    """Set the number of threads; results do not depend on it. Returns the previous number.

    Parameters
    ----------
    n : int
        From 1 to 256.

    Raises
    ------
    TypeError, ValueError
        For anything else.

    Examples
    --------
    >>> import corgi
    >>> previous = corgi.set_num_threads(1)
    >>> corgi.set_num_threads(previous)
    1
    """
    if isinstance(n, bool) or not isinstance(n, int):
        raise TypeError(f"set_num_threads: expected an int, got {type(n).__name__}")
    if not 1 <= n <= 256:
        raise ValueError(f"set_num_threads: expected a number from 1 to 256, got {n}")
    previous = _core._get_threads()
    _core._set_threads(n)
    return previous


@contextlib.contextmanager
def num_threads(n: int) -> Iterator[None]:
    """Context manager: another number of threads for a while.

    Examples
    --------
    >>> import corgi
    >>> with corgi.num_threads(1):
    ...     corgi.get_num_threads()
    1
    """
    previous = set_num_threads(n)
    try:
        yield
    finally:
        _core._set_threads(previous)


@contextlib.contextmanager
def default_dtype(dtype: DTypeLike) -> Iterator[None]:
    """Context manager: another default dtype for a while; see `set_default_dtype`.

    Examples
    --------
    >>> import corgi
    >>> with corgi.default_dtype("float32"):
    ...     corgi.zeros(1).dtype
    dtype('float32')
    """
    previous = _core.set_default_dtype(dtype)
    try:
        yield
    finally:
        _core.set_default_dtype(previous)


class memory:
    """The cache that arrays get their memory from.

    Examples
    --------
    >>> import corgi
    >>> sorted(corgi.memory.stats())
    ['allocations', 'cached', 'in_use', 'limit', 'peak', 'reuses']
    """

    @staticmethod
    def stats() -> dict[str, int]:
        """Bytes in use, their peak, bytes cached and the cache's limit; blocks from the system and from the cache.

        Examples
        --------
        >>> import corgi
        >>> corgi.memory.stats()["in_use"] >= 0
        True
        """
        return _core._memory_stats()

    @staticmethod
    def trim(keep: int = 0) -> None:
        """Give cached memory back to the system until at most `keep` bytes are cached.

        Examples
        --------
        >>> import corgi
        >>> corgi.memory.trim()
        >>> corgi.memory.stats()["cached"]
        0
        """
        _core._memory_trim(_bytes(keep, "trim"))

    @staticmethod
    def set_limit(limit: int) -> int:
        """Cache at most `limit` bytes. Returns the previous limit.

        Examples
        --------
        >>> import corgi
        >>> previous = corgi.memory.set_limit(2**20)
        >>> corgi.memory.set_limit(previous) == 2**20
        True
        """
        previous = _core._memory_stats()["limit"]
        _core._memory_limit(_bytes(limit, "set_limit"))
        return previous

    @staticmethod
    def reset_peak() -> None:
        """Start measuring the peak from the bytes in use now.

        Examples
        --------
        >>> import corgi
        >>> corgi.memory.reset_peak()
        """
        _core._memory_reset_peak()


def _bytes(value: int, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"memory.{name}: expected a number of bytes, got {type(value).__name__}")
    if not 0 <= value < 2**63:
        raise ValueError(f"memory.{name}: expected from 0 to 2**63 - 1 bytes, got {value}")
    return value


def register_threadpoolctl() -> None:
    """Let threadpoolctl see and limit corgi's threads, as it does those of NumPy's BLAS.

    Called when corgi is imported after threadpoolctl; call it yourself where the order is the other way round.

    Examples
    --------
    >>> import corgi, threadpoolctl
    >>> corgi.config.register_threadpoolctl()
    >>> with threadpoolctl.threadpool_limits(1, user_api="corgi"):
    ...     corgi.get_num_threads()
    1
    """
    import threadpoolctl  # type: ignore[import-untyped, unused-ignore]

    class CorgiController(threadpoolctl.LibController):  # type: ignore[misc, unused-ignore]
        user_api = "corgi"
        internal_api = "corgi"
        filename_prefixes = ("_core",)
        check_symbols = ("corgi_get_num_threads",)

        def get_num_threads(self) -> int:
            return get_num_threads()

        def set_num_threads(self, num_threads: int) -> None:
            set_num_threads(num_threads)

        def get_version(self) -> str:
            return _version()

    threadpoolctl.register(CorgiController)


if "threadpoolctl" in sys.modules:
    register_threadpoolctl()
