"""Settings of all tests: profiles of hypothesis, and one thread for BLAS and OpenMP."""

import pytest
import scipy.linalg  # noqa: F401 - loads the library whose threads are limited
from hypothesis import HealthCheck, settings
from threadpoolctl import threadpool_limits

slow_examples = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow, HealthCheck.filter_too_much]}
settings.register_profile("reproducible", derandomize=True, database=None, **slow_examples)  # `make test`
settings.register_profile("random", print_blob=True, **slow_examples)  # `make test-slow`
settings.load_profile("reproducible")


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """On a busy machine two of them spin, and a product of matrices of 144 by 144 takes a hundred times longer."""
    with threadpool_limits(1):
        yield


@pytest.fixture
def one_torch_thread():
    """One thread in torch: its thread CPU time is then all of its work."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
