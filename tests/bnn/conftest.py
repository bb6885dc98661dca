"""One thread in torch for all tests of `bnn`."""

import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def one_thread_in_torch():
    torch.set_num_threads(1)
