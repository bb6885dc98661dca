"""Claims of points, a storage that is away at any moment, addresses; with SQLite and a task that takes no time."""

import json
import logging
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import optuna
import pytest
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from optuna.trial import TrialState

from bnn.studies import claims as claims_module
from bnn.studies import storage as storage_module
from bnn.studies.claims import Claims, is_gone, this_worker
from bnn.studies.run import UnfinishedStudy, run_study
from bnn.studies.samplers import trial_of
from bnn.studies.space import Study
from bnn.studies.status import status_of
from bnn.studies.storage import entry_of, opened, without_password
from mtjsim.checks import ArgumentError

ran, broken = Counter(), set()


def product(a=0, b=0, seed=0):
    """A task; it counts how often each point is run."""
    ran[a, b] += 1
    if (a, b) in broken:
        raise RuntimeError("too hot")
    return {"product.accuracy": a * b / 100}


def study(**more):
    return Study(**{"name": "mine", "task": f"{__name__}:product", "space": {"a": [1, 2, 3], "b": [4, 5]}} | more)


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    ran.clear()
    broken.clear()
    monkeypatch.setattr(storage_module, "PAUSE", 0.01)
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    optuna.logging.set_verbosity(optuna.logging.ERROR)


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path / 'storage.db'}"


@pytest.fixture
def claims_of():
    """Return claims of a worker with a storage object of its own."""
    with ExitStack() as storages:

        def claims_of(url, own=None):
            storage = storages.enter_context(opened(url))
            return Claims(storage, entry_of(own or study(), storage), "test")

        yield claims_of


def trials(url, own=None):
    with opened(url) as storage:
        return entry_of(own or study(), storage).get_trials()


def complete(url, own=None):
    """Count complete trials by key."""
    return Counter(trial.user_attrs["key"] for trial in trials(url, own) if trial.state == TrialState.COMPLETE)


def names(url):
    with opened(url) as storage:
        return optuna.get_all_study_names(storage=storage)


def table(folder):
    return (folder / "table.csv").read_bytes()


# ---- claims ----------------------------------------------------------------------------------------------------------


def test_eight_workers_create_one_storage_and_claim_every_point_once(url, claims_of):
    """At the same moment, in the same order; a claim that checks before it writes gives points to several."""
    own, start, won = study(), threading.Barrier(8), []

    def work():
        start.wait()
        claims = claims_of(url)
        for point in own.grid():
            if claims.claim(own.key(point), *trial_of(own, point)) is not None:
                won.append(own.key(point))

    with ThreadPoolExecutor(8) as pool:
        for future in [pool.submit(work) for _ in range(8)]:
            future.result()
    assert sorted(won) == sorted(map(own.key, own.grid()))


def test_a_finished_point_and_one_at_work_are_not_claimed(url, claims_of):
    own, first, second = study(), claims_of(url), claims_of(url)
    second.worker = "elsewhere 1 0"
    point, other = own.grid()[:2]
    number = first.claim(own.key(point), *trial_of(own, point))
    assert second.claim(own.key(point), *trial_of(own, point)) is None
    assert second.claim(own.key(other), *trial_of(own, other)) is not None
    assert first.end(number, TrialState.COMPLETE, [0.5])
    assert second.claim(own.key(point), *trial_of(own, point)) is None
    assert not first.end(number, TrialState.FAIL)  # it has ended


def test_a_trial_ends_when_its_beats_end_and_no_sooner(url, monkeypatch, claims_of):
    own, now = study(), [0.0]
    alive, dead, looking = (claims_of(url) for _ in range(3))
    alive.worker, dead.worker = "one 1 0", "other 2 0"  # of other machines
    numbers = []
    for claims, point in zip((alive, dead), own.grid(), strict=False):
        claims.claim(own.key(point), *trial_of(own, point))
        numbers.append(max(trial.number for trial in claims.entry.get_trials()))
    monkeypatch.setattr(claims_module.time, "monotonic", lambda: now[0])

    def running():
        return [trial.number for trial in looking.trials() if trial.state == TrialState.RUNNING]

    assert running() == numbers
    for beat in range(1, 6):
        now[0] += claims_module.HEARTBEAT
        alive.set(numbers[0], "beat", beat)
        expected = numbers if now[0] <= claims_module.GRACE else numbers[:1]
        assert running() == expected


def test_a_storage_that_was_away_ends_no_trial(url, monkeypatch, claims_of):
    """No beat arrived while it was away."""
    own, now = study(), [0.0]
    other, looking = claims_of(url), claims_of(url)
    other.worker = "other 2 0"
    other.claim("key", *trial_of(own, own.grid()[0]))
    monkeypatch.setattr(claims_module.time, "monotonic", lambda: now[0])
    looking.trials()
    now[0] += claims_module.GRACE + 1
    answers = iter([StorageInternalError("away"), looking.entry.get_trials()])

    def question():
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    looking.patiently(question)
    assert [trial.state for trial in looking.trials()] == [TrialState.RUNNING]
    now[0] += claims_module.GRACE + 1
    assert [trial.state for trial in looking.trials()] == [TrialState.FAIL]


def test_a_worker_beats_while_it_is_at_work_and_stops_after(url, monkeypatch, claims_of):
    monkeypatch.setattr(claims_module, "HEARTBEAT", 0.02)
    own, claims, beats = study(), claims_of(url), threading.Event()
    number = claims.claim("key", *trial_of(own, own.grid()[0]))
    set_attribute = RDBStorage.set_trial_user_attr

    def observed(self, trial_id, key, value):
        if value == 2:
            raise StorageInternalError("away")  # is logged, and the next one comes
        set_attribute(self, trial_id, key, value)
        if value == 3:
            beats.set()

    monkeypatch.setattr(RDBStorage, "set_trial_user_attr", observed)
    threads = threading.active_count()
    with claims.at_work(number):
        assert beats.wait(30)
    assert threading.active_count() == threads
    assert claims.entry.get_trials()[0].user_attrs["beat"] >= 3


def test_an_interrupt_ends_the_trial(url, claims_of):
    own, claims = study(), claims_of(url)
    number = claims.claim("key", *trial_of(own, own.grid()[0]))
    with pytest.raises(KeyboardInterrupt), claims.at_work(number):
        raise KeyboardInterrupt
    assert claims.entry.get_trials()[0].state == TrialState.FAIL


def test_which_workers_are_gone():
    machine, number, start = this_worker().split(" ")
    assert not is_gone(this_worker())
    assert not is_gone(f"{machine} {number} {float(start) + 5:.0f}")  # the clock was set
    assert is_gone(f"{machine} {number} {float(start) - 3600:.0f}")  # its number is another process's now
    assert is_gone(f"{machine} {2**22 + 1} {start}")
    assert not is_gone(f"elsewhere/0 {2**22 + 1} {start}")
    assert not is_gone("")


# ---- a storage that is away ------------------------------------------------------------------------------------------

OPERATIONS = ("create_new_trial", "set_trial_user_attr", "set_trial_state_values", "_get_trials")


@pytest.mark.parametrize("done", [False, True], ids=["before it was done", "after it was done"])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_storage_that_is_away_at_every_third_operation(tmp_path, url, monkeypatch, operation, done, caplog):
    """The answer may be lost after the storage has done what it was asked for."""
    run_study(study(), out=tmp_path / "reference", workers=1)
    ran.clear()
    original, calls = getattr(RDBStorage, operation), Counter()

    def flaky(self, *arguments, **more):
        calls["all"] += 1
        fails = calls["all"] % 3 == 1
        if fails and not done:
            raise StorageInternalError("away")
        answer = original(self, *arguments, **more)
        if fails:
            raise StorageInternalError("away")
        return answer

    monkeypatch.setattr(RDBStorage, operation, flaky)
    run_study(study(), out=tmp_path / "out", storage=url, workers=1)
    monkeypatch.undo()
    assert calls["all"] >= 6
    assert table(tmp_path / "out") == table(tmp_path / "reference")
    assert set(ran.values()) == {1}
    assert complete(url) == {key: 1 for key in map(study().key, study().grid())}
    assert not [trial for trial in trials(url) if trial.state == TrialState.RUNNING]
    assert "the storage is back" in caplog.text


def test_a_storage_that_stays_away_is_one_error_and_the_results_are_kept(tmp_path, url, monkeypatch):
    monkeypatch.setattr(storage_module, "PATIENCE", 0.05)

    def away(*arguments, **more):
        raise StorageInternalError("away")

    with monkeypatch.context() as patch:
        patch.setattr(RDBStorage, "set_trial_state_values", away)
        with pytest.raises(ConnectionError, match=r"has been away for 0 s: away\. What is finished is kept"):
            run_study(study(), out=tmp_path / "out", storage=url, workers=1)
    run_study(study(), out=tmp_path / "out", storage=url, workers=1)
    assert set(ran.values()) == {1}
    assert set(complete(url).values()) == {1}


def test_a_trial_that_another_worker_ended_too_early_is_counted_once(tmp_path, url, monkeypatch):
    """A worker that was stopped for minutes, say: its result counts, and the point is not run again."""
    original = claims_module.Claims.set

    def ended_meanwhile(self, number, name, value):
        if number == 0:
            self.entry.tell(number, state=TrialState.FAIL)
        original(self, number, name, value)

    monkeypatch.setattr(claims_module.Claims, "set", ended_meanwhile)
    run_study(study(), out=tmp_path, storage=url, workers=1)
    assert set(ran.values()) == {1}
    assert complete(url) == {key: 1 for key in map(study().key, study().grid())}


def test_a_worker_killed_before_it_wrote_its_name_does_not_hold_a_study(tmp_path, url, monkeypatch, claims_of):
    """Optuna creates a trial and sets its attributes in two transactions."""
    monkeypatch.setattr(claims_module, "GRACE", 0.2)
    monkeypatch.setattr("bnn.studies.worker.POLL", 0.05)
    own = study(sampler="tpe", trials=3, objective={"product.accuracy": "maximize"})
    claims_of(url, own).entry.ask()
    run_study(own, out=tmp_path, storage=url, workers=1)
    states = Counter(trial.state for trial in trials(url, own))
    assert states == {TrialState.FAIL: 1, TrialState.COMPLETE: 3}


def test_the_parameters_of_a_trial_whose_worker_has_ended_are_taken_again(tmp_path, url, claims_of):
    """Its training goes on from its checkpoint."""
    own = study(sampler="tpe", trials=2, objective={"product.accuracy": "maximize"})
    claims = claims_of(url, own)
    claims.worker = this_worker().rpartition(" ")[0] + " 0"  # a process number that is another process's now
    trial = claims.asked()
    trial.suggest_categorical("a", [1, 2, 3])
    trial.suggest_categorical("b", [4, 5])
    run_study(own, out=tmp_path, storage=url, workers=1)
    again = trials(url, own)
    assert [one.state for one in again] == [TrialState.FAIL, TrialState.COMPLETE, TrialState.COMPLETE]
    assert again[1].params == trial.params


# ---- folders and storages --------------------------------------------------------------------------------------------


def test_two_folders_and_a_new_storage_end_with_the_same_results(tmp_path, url):
    one, other = tmp_path / "one", tmp_path / "other"
    run_study(study(), out=one, storage=url, workers=1)
    run_study(study(), out=other, storage=url, workers=1)
    (tmp_path / "storage.db").unlink()
    (other / "results" / f"{study().key(study().grid()[0])}.json").unlink()
    run_study(study(), out=one, storage=url, workers=1)
    run_study(study(), out=other, storage=url, workers=1)
    assert set(ran.values()) == {1}
    assert table(one) == table(other)
    assert len(complete(url)) == 6


def test_a_point_that_raises_is_tried_again_and_reported(tmp_path, url):
    broken.add((2, 5))
    with pytest.raises(UnfinishedStudy, match=r"1 points .* a=2, b=5: RuntimeError: too hot"):
        run_study(study(), out=tmp_path, storage=url, workers=1)
    assert len(complete(url)) == 5
    errors = [trial.user_attrs.get("error") for trial in trials(url)]
    assert errors.count("RuntimeError: too hot") == 2  # retries = 1
    assert status_of(study(), out=tmp_path, storage=url)["failed"] == {"RuntimeError: too hot": 2}
    broken.clear()
    run_study(study(), out=tmp_path, storage=url, workers=1)
    assert len(complete(url)) == 6


def test_another_study_of_the_same_name_is_refused(tmp_path, url):
    run_study(study(), out=tmp_path / "one", storage=url, workers=1)
    with pytest.raises(ArgumentError, match=r"another study of the name 'mine'.*Rename the file"):
        run_study(study(seed=1), out=tmp_path / "other", storage=url, workers=1)
    (tmp_path / "other").mkdir()
    with pytest.raises(ArgumentError, match="another study of the name"):
        status_of(study(seed=1), out=tmp_path / "other", storage=url)
    assert len(names(url)) == 1


def test_a_study_is_joined_at_every_moment_of_its_creation(url, monkeypatch):
    """By processes that start together; its name and its identity are written in two transactions."""
    joined, original = [], RDBStorage.set_study_user_attr

    def observed(self, study_id, key, value):
        original(self, study_id, key, value)
        if not joined:
            joined.append(key)
            with opened(url) as storage:
                joined.append(entry_of(study(), storage).study_name)

    monkeypatch.setattr(RDBStorage, "set_study_user_attr", observed)
    with opened(url) as storage:
        entry = entry_of(study(), storage)
        assert joined[1:] == [entry.study_name]
        assert entry.user_attrs == {"name": "mine", "identity": study().identity}


def test_of_two_studies_of_one_name_at_the_same_moment_at_most_one_stays(url):
    names(url)
    for number in range(10):
        start, refused = threading.Barrier(2), []

        def make(seed, number=number, start=start, refused=refused):
            own = study(name=f"pair {number}", seed=seed)
            with opened(url) as storage:
                start.wait()
                try:
                    entry_of(own, storage)
                except ArgumentError:
                    refused.append(seed)

        with ThreadPoolExecutor(2) as pool:
            for future in [pool.submit(make, seed) for seed in (1, 2)]:
                future.result()
        left = [name for name in names(url) if name.startswith(f"pair {number} ")]
        assert len(left) == 2 - len(refused) <= 1


def test_status_counts_with_and_without_the_storage_and_writes_nothing(tmp_path, url, claims_of):
    out = tmp_path / "out"
    out.mkdir()
    empty = status_of(study(), out=out, storage=url)
    assert (empty["points"], empty["finished"], empty["running"], empty["failed"]) == (6, 0, 0, {})
    assert names(url) == []
    run_study(study(), out=tmp_path / "elsewhere", storage=url, workers=1)
    claims = claims_of(url)
    claims.worker = "other 1 0"
    claims.patiently(claims.entry.ask)
    there = status_of(study(), out=out, storage=url)
    assert (there["finished"], there["running"]) == (6, 1)
    assert status_of(study(), out=out)["finished"] == 0
    assert status_of(study(), out=tmp_path / "elsewhere")["finished"] == 6


# ---- addresses -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "rule"),
    [
        ("postgresql://me:hidden@127.0.0.1:1/studies", r"//me@127.0.0.1:1/studies cannot be reached: .*refused"),
        ("postgresql://me:hidden@127.0.0.1:port/studies", "must be an address such as"),
        ("postgres://me:hidden@127.0.0.1/studies", "must be an address such as"),
        ("postgresql://me:hid{den@127.0.0.1:1/studies", "cannot be reached: .*refused"),
        ("mysql+oursql9://me:hidden@127.0.0.1/studies", "must be an address such as"),
        ("postgresql+pg8000://me:hidden@127.0.0.1/studies", "needs a driver that is not installed"),
        ("study.db", "must be an address such as .*got 'study.db'"),
        ("sqlite:////no/such/folder/study.db", "cannot be reached: unable to open database file"),
    ],
)  # fmt: skip
def test_a_storage_that_cannot_be_opened_is_one_line_before_any_work(tmp_path, address, rule):
    pytest.importorskip("psycopg")
    with pytest.raises(ArgumentError, match=rule) as error:
        run_study(study(), out=tmp_path / "out", storage=address, workers=1)
    assert "hidden" not in str(error.value)
    assert "hid{den" not in str(error.value)
    assert "\n" not in str(error.value)
    assert not ran
    assert not (tmp_path / "out").exists()


def test_addresses_are_shown_without_passwords():
    shown = {
        "postgresql://me:a@b/c:d@host/studies": "postgresql://me@host/studies",
        "postgresql://host/studies?user=me&password=secret": "postgresql://host/studies",
        "sqlite:///a/study.db": "sqlite:///a/study.db",
    }
    assert {address: without_password(address) for address in shown} == shown


def test_log_lines_are_plain(tmp_path, url, caplog, claims_of):
    own = study()
    claims = claims_of(url)
    claims.worker = this_worker().rpartition(" ")[0] + " 0"
    claims.claim(own.key(own.grid()[0]), *trial_of(own, own.grid()[0]))
    claims.entry.get_trials()
    with caplog.at_level(logging.INFO):
        run_study(own, out=tmp_path, storage=url, workers=1)
    assert [record.message for record in caplog.records if record.levelno >= logging.WARNING] == [
        "trial 0 is made again: its worker has ended"
    ]
    assert json.loads((tmp_path / "run.json").read_text())["finished"] == 6
