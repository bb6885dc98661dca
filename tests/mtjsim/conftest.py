"""One BLAS thread: on a busy machine two of them spin, and a matrix of 144 by 144 takes a hundred times longer."""

import pytest


@pytest.fixture(autouse=True, scope="session")
def one_blas_thread():
    threadpoolctl = pytest.importorskip("threadpoolctl", reason="comes with scikit-learn, of the extra [dev]")
    import scipy.linalg  # noqa: F401 - loads the library whose threads are limited

    with threadpoolctl.threadpool_limits(1):
        yield
