"""Studies on many processes, some of which are killed, with PostgreSQL and with SQLite (slow)."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import optuna
import postgres
import pytest
from optuna.trial import TrialState

from bnn.studies.claims import Claims, worker_of
from bnn.studies.samplers import trial_of
from bnn.studies.space import Study, load_study
from bnn.studies.storage import entry_of, found_entry, opened

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")]
needs_postgres = pytest.mark.skipif(postgres.programs() is None or not find_spec("psycopg"), reason=postgres.REASON)

STUDY = """
title = "Two kinds of errors at four currents and three learning rates"
repeats = 2

[recipe]
data = "digits"
model = { name = "mlp", inputs = 64, hidden = [32] }
device = { preset = "arm_2021" }

[[recipe.memory]]
holds = "activations"
current = "50uA"
pulse_width = "10ns"

[recipe.training]
epochs = 12
batch_size = 64
learning_rate = 0.02

[[recipe.test]]
name = "with_errors"

[space]
memory.activations.errors = ["independent", "overwrite"]
memory.activations.current = ["36uA", "44uA", "52uA", "60uA"]
training.learning_rate = [0.005, 0.02, 0.05]

[figure]
x = "memory.activations.current"
"""
POINTS = 48
OTHER_MACHINE = """
import socket, sys
from bnn.studies import claims
claims.HEARTBEAT, claims.GRACE = 0.5, 4.0
claims.socket.gethostname = lambda: sys.argv[1]
from bnn.cli import main
sys.exit(main(sys.argv[2:]))
"""


@pytest.fixture(scope="module")
def own_server():
    with postgres.server() as own:
        yield own


def declared(folder, name="shared"):
    path = folder / f"{name}.toml"
    path.write_text(STUDY)
    return path


def begun(file, out, *, storage=None, workers=1, machine=None, log=None):
    """Start `mtj-bnn study`; `machine`: as a process of another machine."""
    start = ["-m", "bnn.cli"] if machine is None else ["-c", OTHER_MACHINE, machine]
    options = [] if storage is None else ["--storage", storage]
    command = [sys.executable, *start, "study", file, "--out", out, "--workers", str(workers), *options]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    with (log or Path(os.devnull)).open("ab") as errors:
        return subprocess.Popen(list(map(str, command)), env=env, stdout=subprocess.DEVNULL, stderr=errors)


def until(condition, seconds=600.0, processes=()):
    """Wait for a condition."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "it did not come"
        assert not processes or any(process.poll() is None for process in processes), "all processes have ended"
        time.sleep(0.02)
    return found


def results_in(out):
    return sorted(path.stem for path in (Path(out) / "results").glob("*.json"))


def trials_of(file, url):
    """Return the trials of a study's entry; None if there is no entry yet."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with opened(url) as storage:
        entry = found_entry(load_study(file), storage)
        return entry and entry.get_trials(deepcopy=False)


def kill_in_a_trial(process, file, url):
    """Kill a worker that is at work on a point; return the key of the point."""

    def at_work():
        running = [trial for trial in trials_of(file, url) or () if trial.state == TrialState.RUNNING]
        return [trial for trial in running if worker_of(trial).split(" ")[1] == str(process.pid)]

    trial = until(at_work, processes=[process])[0]
    process.kill()
    process.wait()
    return trial.user_attrs["key"]


def ended(processes, seconds=600.0):
    end = time.monotonic() + seconds
    for process in processes:
        assert process.wait(timeout=max(1.0, end - time.monotonic())) == 0


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The folder of a run in one process, with SQLite."""
    folder = tmp_path_factory.mktemp("alone")
    out = folder / "out"
    ended([begun(declared(folder), out)])
    assert len(results_in(out)) == POINTS
    return out


def assert_same(out, alone):
    for name in ("table.csv", "summary.csv"):
        assert (out / name).read_bytes() == (alone / name).read_bytes()
    assert results_in(out) == results_in(alone)
    for key in results_in(alone):
        here, there = (json.loads((folder / "results" / f"{key}.json").read_text()) for folder in (out, alone))
        for result in (here, there):  # "code" is of the modules that a process has imported
            for name in ("seconds", "core_seconds", "code"):
                result.pop(name, None)
        assert here == there


def assert_each_once(trials, alone):
    """Each key has one complete trial, with the value of its result."""
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    assert sorted(trial.user_attrs["key"] for trial in complete) == results_in(alone)
    assert not [trial for trial in trials if trial.state == TrialState.RUNNING]
    for trial in complete:
        result = json.loads((alone / "results" / f"{trial.user_attrs['key']}.json").read_text())
        assert trial.value == result["values"]["with_errors.accuracy"]


@needs_postgres
def test_four_workers_two_killed_and_the_server_killed(own_server, tmp_path, alone, capsys):
    file, out, log = declared(tmp_path), tmp_path / "out", tmp_path / "log"
    url, began = own_server.create("shared"), time.monotonic()
    workers = [begun(file, out, storage=url, log=log) for _ in range(4)]
    try:
        until(lambda: len(results_in(out)) >= 6, processes=workers)
        killed = [kill_in_a_trial(worker, file, url) for worker in workers[:2]]
        assert not set(killed) & set(results_in(out))
        until(lambda: len(results_in(out)) >= 20, processes=workers)
        own_server.kill()
        finished = len(results_in(out))
        time.sleep(5.0)
        own_server.start()
        ended(workers[2:])
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    trials = trials_of(file, url)
    assert_each_once(trials, alone)
    assert_same(out, alone)
    text, states = log.read_text(), Counter(trial.state.name for trial in trials)
    assert postgres.PASSWORD not in text
    assert "Traceback" not in text
    for key in killed:  # one trial that was failed, one that was completed
        of_key = [trial.state.name for trial in trials if trial.user_attrs.get("key") == key]
        assert of_key[-1] == "COMPLETE"
        assert "FAIL" in of_key
    assert states["FAIL"] >= 2
    assert not list((out / "networks").glob("*.pt"))  # checkpoints of killed trainings too
    with capsys.disabled():
        print(f"\n4 workers, 2 killed in a trial, server killed at {finished} of {POINTS} results, back after 5 s:")
        print(f"{dict(states)} trials in {time.monotonic() - began:.0f} s; log:\n{text}")


@needs_postgres
def test_machines_without_a_shared_folder_end_with_the_same_table(own_server, tmp_path, alone):
    file, url = declared(tmp_path), own_server.create("machines")
    names = ("first", "second", "third")
    logs = {name: tmp_path / f"{name}.log" for name in names}
    workers = {n: begun(file, tmp_path / n, storage=url, machine=n, log=logs[n]) for n in names}
    try:
        until(lambda: len(results_in(tmp_path / "second")) >= 8, processes=workers.values())
        key = kill_in_a_trial(workers["first"], file, url)  # the others cannot look whether its process has ended
        ended([workers["second"], workers["third"]])
    finally:
        for worker in workers.values():
            worker.kill()
            worker.wait()
    assert "its worker has ended" in logs["second"].read_text() + logs["third"].read_text()
    trials = trials_of(file, url)
    assert_each_once(trials, alone)
    assert [trial.state.name for trial in trials if trial.user_attrs.get("key") == key].count("COMPLETE") == 1
    assert_same(tmp_path / "second", alone)
    assert_same(tmp_path / "third", alone)
    ended([begun(file, tmp_path / "first", storage=url, machine="first")])  # takes all results from the storage
    assert_same(tmp_path / "first", alone)
    assert len(trials_of(file, url)) == len(trials)


@needs_postgres
def test_a_storage_that_was_deleted_is_filled_from_the_results(own_server, tmp_path, alone):
    file, url, out = declared(tmp_path), own_server.create("deleted"), tmp_path / "out"
    (out / "results").mkdir(parents=True)
    for key in results_in(alone):
        (out / "results" / f"{key}.json").write_bytes((alone / "results" / f"{key}.json").read_bytes())
    before = {key: (out / "results" / f"{key}.json").stat().st_mtime_ns for key in results_in(out)}
    other = tmp_path / "other"  # another machine, which has nothing
    workers = [begun(file, out, storage=url), begun(file, out, storage=url)]
    ended(workers)
    ended([begun(file, other, storage=url)])
    assert {key: (out / "results" / f"{key}.json").stat().st_mtime_ns for key in results_in(out)} == before
    assert_each_once(trials_of(file, url), alone)
    for folder in (out, other):
        assert_same(folder, alone)
        for key in before:  # seconds too: nothing was run
            copy = (folder / "results" / f"{key}.json").read_bytes()
            assert copy == (alone / "results" / f"{key}.json").read_bytes()


def test_a_parent_that_is_killed_and_started_again_at_once(tmp_path, alone):
    file, out = declared(tmp_path), tmp_path / "out"
    parent = begun(file, out, workers=2)
    until(lambda: len(results_in(out)) >= 6, processes=[parent])
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    ended([begun(file, out, workers=2)])
    assert_same(out, alone)
    assert_each_once(trials_of(file, f"sqlite:///{out / 'study.db'}"), alone)


def test_two_processes_with_one_sqlite_file_one_killed(tmp_path, alone):
    file, out = declared(tmp_path), tmp_path / "out"
    url = f"sqlite:///{out / 'study.db'}"
    workers = [begun(file, out), begun(file, out)]
    until(lambda: len(results_in(out)) >= 6, processes=workers)
    kill_in_a_trial(workers[0], file, url)
    ended(workers[1:])
    assert_same(out, alone)
    assert_each_once(trials_of(file, url), alone)


def test_a_worker_of_a_pool_that_is_killed(tmp_path, alone):
    """As the system does when memory runs out."""
    file, out = declared(tmp_path), tmp_path / "out"
    url, log = f"sqlite:///{out / 'study.db'}", tmp_path / "log"
    parent = begun(file, out, workers=2, log=log)

    def running():
        trials = trials_of(file, url) if (out / "study.db").exists() else None
        return [trial for trial in trials or () if trial.state == TrialState.RUNNING]

    until(lambda: len(results_in(out)) >= 4, processes=[parent])
    os.kill(int(worker_of(until(running)[0]).split(" ")[1]), signal.SIGKILL)
    ended([parent])
    assert "was killed" in log.read_text()
    assert_same(out, alone)


@needs_postgres
@pytest.mark.parametrize(
    ("database", "password", "reason"),
    [
        ("postgres", "a-wrong-word", "password authentication failed"),
        ("nowhere", postgres.PASSWORD, 'database "nowhere" does not exist'),
    ],
)
def test_a_server_that_refuses_is_one_line_before_any_work(own_server, tmp_path, database, password, reason):
    out, log = tmp_path / "out", tmp_path / "log"
    worker = begun(declared(tmp_path), out, storage=own_server.url(database, password), log=log)
    assert worker.wait(timeout=120) == 2
    text = log.read_text()
    assert text.count("\n") == 1
    assert reason in text
    assert password not in text
    assert not list(out.iterdir())


@needs_postgres
def test_eight_processes_create_the_tables_and_claim_the_same_points_at_once(own_server, tmp_path):
    url = own_server.create("races")
    start = time.time() + 20.0
    code = f"import sys, test_cluster; test_cluster.claim_all({url!r}, {start!r})"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    command = [sys.executable, "-c", code]
    workers = [subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) for _ in range(8)]
    won = [json.loads(worker.communicate(timeout=300)[0]) for worker in workers]
    assert sorted(number for own in won for number in own) == list(range(30))
    with opened(url) as storage:
        running = found_entry(race(), storage).get_trials(states=(TrialState.RUNNING,))
    claims = Counter(trial.user_attrs["key"] for trial in running)
    assert claims == {str(number): 1 for number in range(30)}


def race():
    return Study(name="race", recipe="digits_mlp", space={"seed": list(range(30))})


def claim_all(url, start):
    """Claim all points of `race` in the same order as other processes do, from the same moment; in a process."""
    study = race()
    trial_of(study, study.grid()[0])
    time.sleep(max(0.0, start - time.time()))
    with opened(url) as storage:
        claims = Claims(storage, entry_of(study, storage), "race")
        points = enumerate(study.grid())
        won = [k for k, point in points if claims.claim(str(k), *trial_of(study, point)) is not None]
    print(json.dumps(won))
