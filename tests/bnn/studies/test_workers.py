"""Worker processes that end with their parent; the command line under SIGTERM and SIGINT."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bnn.studies.workers import worker_processes

PARENT = """
import signal, sys
from pathlib import Path
from worker_jobs import report_and_sleep
from bnn.studies.workers import worker_processes

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background of a shell ignores it
    with worker_processes(2) as pool:
        list(pool.map(report_and_sleep, [sys.argv[1]] * 2))
"""
JOBS = """
import os, time
from pathlib import Path

def report_and_sleep(folder):
    (Path(folder) / f"{os.getpid()}.pid").touch()
    time.sleep(300)
"""


def until(condition, seconds=60.0):
    """Wait for a condition; return whether it came."""
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    return condition()


def alive(pid):
    """Whether a process runs; one that has ended and was not waited for does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not (stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z")


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("end", ["SIGKILL", "SIGTERM", "SIGINT"])
def test_workers_end_with_a_parent_that_is_ended(tmp_path, end):
    (tmp_path / "parent.py").write_text(PARENT)
    (tmp_path / "worker_jobs.py").write_text(JOBS)
    path = os.pathsep.join([str(tmp_path), *sys.path])
    parent = subprocess.Popen(
        [sys.executable, str(tmp_path / "parent.py"), str(tmp_path)],
        env={**os.environ, "PYTHONPATH": path, "PATH": str(tmp_path)},  # a container has no pgrep
        stderr=subprocess.DEVNULL,
    )
    try:
        assert until(lambda: len(list(tmp_path.glob("*.pid"))) == 2)
        workers = [int(file.stem) for file in tmp_path.glob("*.pid")]
        assert all(map(alive, workers))
        parent.send_signal(getattr(signal, end))
        parent.wait(timeout=30)  # it does not wait for the jobs, which sleep for minutes
        assert until(lambda: not any(map(alive, workers)), 30)
    finally:
        parent.kill()


def test_a_pool_gives_results_in_order_and_calls_the_initializer():
    with worker_processes(2, initializer=os.putenv, arguments=("MARK", "here")) as pool:
        assert list(pool.map(abs, [-3, 2, -1])) == [3, 2, 1]


def test_an_exception_ends_the_workers_without_their_jobs():
    def leave_a_running_job():
        with worker_processes(1) as pool:
            started.append(pool.submit(os.getpid).result())
            pool.submit(time.sleep, 300)
            raise KeyError

    started = []
    with pytest.raises(KeyError):
        leave_a_running_job()
    assert until(lambda: not alive(started[0]))
