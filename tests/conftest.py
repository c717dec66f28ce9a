"""What every test run shares: a header that says what is tested, and settings that no test leaves changed."""

import os

import pytest

import corgi
from corgi.config import config

# CI's sanitizer step: without the cache, memory that is given back is gone, and a use of it is seen.
if os.environ.get("CORGI_TEST_CACHE") == "0":
    corgi.memory.set_limit(0)

# Python programs that tests start from here find the installed package, not the source folder.
os.environ["PYTHONSAFEPATH"] = "1"


def pytest_report_header():
    """The backend, its library and the kernels in use, at the head of every run."""
    c = config()
    library = f" ({c['blas_library']})" if c["blas_library"] else ""
    return f"corgi {c['version']}: BLAS {c['blas']}{library}, {c['instruction_set']} kernels, {c['threads']} threads"


@pytest.fixture(autouse=True)
def settings_are_restored():
    """A test that changes the default dtype, the threads or the recording of this thread has to change them back."""

    def settings():
        recording = (corgi.ones(1).tracked() * 1).is_tracked
        return corgi.get_default_dtype(), corgi.get_num_threads(), recording

    before = settings()
    yield
    assert settings() == before


@pytest.fixture
def caching():
    """For tests of the cache itself, which a run without it has to have all the same."""
    limit = corgi.memory.set_limit(2**29)
    yield
    corgi.memory.set_limit(limit)
