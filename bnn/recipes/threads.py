"""Threads of torch for a training: one for a small network, whose steps are shorter than starting more takes.

Some of torch's sums depend on the number of threads, so a result says how many it had.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from mtjsim.checks import ArgumentError, checked_whole

SMALL = 1_000_000_000  # products in a forward pass of a batch, some 0.1 s on a core
MOST = 1024  # far more end the process


def threads_for(products: int) -> int:
    """Return the number of threads for a training.

    Parameters
    ----------
    products : int
        Of a forward pass of one batch.

    Returns
    -------
    int
        1 below `SMALL`, on every machine; above it what torch starts with: the cores, or OMP_NUM_THREADS.
    """
    return 1 if products < SMALL else torch.get_num_threads()


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Let torch compute with so many threads, to the end of the block."""
    if checked_whole("threads", count, least=1) > MOST:
        raise ArgumentError("threads", f"must be <= {MOST}, got {count}.")
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
