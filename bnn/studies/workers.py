"""Worker processes that end with the process that started them, however it ends."""

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any


@contextmanager
def worker_processes(
    count: int, *, initializer: Callable[..., None] | None = None, arguments: tuple[Any, ...] = ()
) -> Iterator[ProcessPoolExecutor]:
    """Start a pool of fresh processes, for the length of the block.

    Parameters
    ----------
    count : int, >= 1
    initializer : callable, optional
        Called in each process before its first job, with `arguments`.
    arguments : tuple

    Yields
    ------
    ProcessPoolExecutor

    Notes
    -----
    Every process waits, in a thread of its own, for the end of a pipe whose other end is open in this process only. So
    all of them end at once when this process is killed, and when the block is left by an exception, an interrupt for
    example, without finishing their jobs.
    """
    context = multiprocessing.get_context("spawn")  # Numba's and torch's threads do not survive a fork
    ours, theirs = context.Pipe(duplex=False)[::-1]
    begin = (theirs, initializer, arguments)
    pool = ProcessPoolExecutor(count, mp_context=context, initializer=_begin, initargs=begin)
    try:
        with ours:
            yield pool
            pool.shutdown()
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    finally:
        theirs.close()


def _begin(ending: Connection, initializer: Callable[..., None] | None, arguments: tuple[Any, ...]) -> None:
    """Watch for the end, then call the initializer; in a worker."""
    threading.Thread(target=_end_with, args=(ending,), daemon=True).start()
    if initializer is not None:
        initializer(*arguments)


def _end_with(ending: Connection) -> None:
    """End this process once the other end of the pipe is closed."""
    try:
        ending.recv_bytes()
    except (EOFError, OSError):
        os._exit(1)
