"""One thread in torch for all tests of `bnn`; no data set of one test in another."""

import pytest
import torch

from bnn.recipes import network


@pytest.fixture(autouse=True, scope="session")
def one_thread_in_torch():
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def data_sets_of_this_test():
    network._loaded.cache_clear()
    yield
    network._loaded.cache_clear()
