"""Jobs in processes, for functions that are defined anywhere: in a notebook, in a script without a main guard.

The processes of loky (by joblib) receive functions by value and do not run the main script again. They end with the
process that started them, also if it is killed.
"""

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Any


def in_processes(function: Callable[[Any], Any], jobs: Iterable[Any], *, workers: int) -> Iterator[Any]:
    """Yield ``function(job)`` for every job, in order, computed by `workers` processes.

    Parameters
    ----------
    function : callable
    jobs : iterable
    workers : int, >= 1

    Examples
    --------
    >>> list(in_processes(lambda job: job + 1, [1, 2], workers=2))
    [2, 3]
    """
    from joblib import Parallel, delayed  # here: it takes 0.3 s

    pool = Parallel(workers, backend="loky", return_as="generator", mmap_mode="c")  # arrays in workers are writable
    yield from pool(delayed(_job)(os.getpid(), function, job) for job in jobs)


def _job(parent: int, function: Callable[[Any], Any], job: Any) -> Any:
    if parent != os.getpid():
        _end_with(parent)
    return function(job)


@lru_cache
def _end_with(parent: int) -> None:
    """Start a thread that ends this process once its parent has ended."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
