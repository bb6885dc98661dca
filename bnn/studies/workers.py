"""Worker processes that end with the process that started them, however it ends."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

POLL = 0.5  # seconds between two looks at the parent process


@contextmanager
def worker_processes(
    count: int, *, initializer: Callable[..., None] | None = None, arguments: tuple[Any, ...] = ()
) -> Iterator[Any]:
    """Start a pool of fresh processes, for the length of the block.

    Parameters
    ----------
    count : int, >= 1
    initializer : callable, optional
        Called in each process before its first job, with `arguments`.
    arguments : tuple

    Yields
    ------
    loky.ProcessPoolExecutor
        It also takes functions of a notebook and lambdas, and does not run the main script again in its processes.

    Notes
    -----
    A thread of every process looks whether its parent is still there. So all of them end when this process is killed;
    they are killed when the block is left by an exception, an interrupt for example, without finishing their jobs (loky
    finds them by psutil, or by a program that a small container does not have).
    """
    from loky import ProcessPoolExecutor  # here: it takes 0.1 s

    pool = ProcessPoolExecutor(count, initializer=_begin, initargs=(os.getpid(), initializer, arguments))
    finished = False
    try:
        yield pool
        finished = True
    finally:
        pool.shutdown(wait=finished, kill_workers=not finished)


def _begin(parent: int, initializer: Callable[..., None] | None, arguments: tuple[Any, ...]) -> None:
    """Watch the parent, then call the initializer; in a worker."""
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    if initializer is not None:
        initializer(*arguments)


def _end_with(parent: int) -> None:
    """End this process once its parent is another one than `parent`."""
    while os.getppid() == parent:
        time.sleep(POLL)
    os._exit(1)
