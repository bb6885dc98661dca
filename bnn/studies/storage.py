"""The Optuna storage of a study: opened once a process, patient with a server that restarts.

SQLite in a file by default; one PostgreSQL for many machines. Its address is no part of a study's identity.
"""

from __future__ import annotations

import logging
import os
import socket
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import optuna
import psutil
import sqlalchemy.exc
from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.trial import FrozenTrial, TrialState

from bnn.studies.space import Study
from mtjsim.checks import ArgumentError

log = logging.getLogger(__name__)
HEARTBEAT, GRACE = 20, 60  # [s]
PATIENCE = 300.0  # how long a storage may be away [s]
UNREACHABLE = (StorageInternalError, sqlalchemy.exc.SQLAlchemyError)
Answer = TypeVar("Answer")


class PatientStorage(optuna.storages.RDBStorage):
    """A storage whose heartbeat outlives a server that restarts; a heartbeat that is missed is only logged."""

    def record_heartbeat(self, trial_id: int) -> None:
        """Record a heartbeat; a failure is logged."""
        try:
            super().record_heartbeat(trial_id)
        except UNREACHABLE as error:
            log.warning("a heartbeat was missed: %s", _one_line(error))


def storage_url(folder: Path, given: str | None) -> str:
    """Return the address of the storage: the given one, or a SQLite file in the folder."""
    return given if given is not None else f"sqlite:///{folder / 'study.db'}"


def opened(url: str) -> PatientStorage:
    """Open a storage; one object a process.

    Raises
    ------
    ArgumentError
        If it cannot be reached, or its driver is missing.
    """
    arguments: dict[str, Any] = {"pool_pre_ping": True}
    if url.startswith("postgresql://"):
        url = url.replace("postgresql://", "postgresql+psycopg://", 1)
    if url.startswith("sqlite"):
        arguments["connect_args"] = {"timeout": 100.0}
    else:
        arguments |= {"pool_size": 1, "max_overflow": 2}
    last: Exception | None = None
    for _ in range(5):  # several processes may create the tables at once
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ExperimentalWarning)
                return PatientStorage(url, engine_kwargs=arguments, heartbeat_interval=HEARTBEAT, grace_period=GRACE)
        except ImportError as error:
            raise ArgumentError("storage", f"needs a driver: {error}. pip install 'mtj-bnn[cluster]'.") from None
        except ValueError as error:
            raise ArgumentError("storage", f"must be an address such as sqlite:///study.db: {error}") from None
        except (sqlalchemy.exc.ProgrammingError, sqlalchemy.exc.IntegrityError) as error:
            last = error
            time.sleep(0.5)
        except UNREACHABLE as error:
            last = error
            break
    raise ArgumentError("storage", f"{_shown(url)} cannot be reached: {_one_line(last)}") from None


def entry_of(study: Study, storage: PatientStorage, **choice: Any) -> optuna.Study:
    """Return the study's entry in the storage, made if need be.

    Raises
    ------
    ArgumentError
        If there is another study of this name in it.
    """
    for summary in optuna.get_all_study_summaries(storage=storage):
        own = summary.user_attrs
        if own.get("name") == study.name and own.get("identity") != study.identity:
            rule = f"has another study of the name {study.name!r}, of another recipe or seed"
            raise ArgumentError("storage", f"{rule}. Rename the file, or use another storage.")
    directions: Any = list(study.objective.values()) or ["maximize"]
    name = f"{study.name} {study.declaration[:8]}"
    entry = optuna.create_study(storage=storage, study_name=name, directions=directions, load_if_exists=True, **choice)
    entry.set_user_attr("name", study.name)
    entry.set_user_attr("identity", study.identity)
    return entry


def this_worker() -> str:
    """Return host, number and start of this process: no other process has them."""
    return f"{socket.gethostname()} {os.getpid()} {psutil.Process().create_time():.2f}"


def is_gone(worker: str) -> bool:
    """Whether a worker is a process of this machine that has ended."""
    try:
        host, number, start = worker.split(" ")
        if host != socket.gethostname():
            return False
        return f"{psutil.Process(int(number)).create_time():.2f}" != start
    except psutil.NoSuchProcess:
        return True
    except (ValueError, psutil.Error):
        return False


def fail_gone(entry: optuna.Study) -> None:
    """End the running trials of workers of this machine that have ended; others end by their heartbeat."""
    for trial in entry.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        worker = trial.user_attrs.get("worker", "")
        if is_gone(worker):
            with suppressed_finished():
                entry.tell(trial.number, state=TrialState.FAIL)
                log.warning("trial %d is made again: its worker has ended", trial.number)


def fail_stale(entry: optuna.Study) -> None:
    """End the running trials of workers that have ended: of this machine by their process, of others by heartbeat."""
    fail_gone(entry)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        optuna.storages.fail_stale_trials(entry)


@contextmanager
def suppressed_finished() -> Iterator[None]:
    """Ignore that another worker has ended a trial already."""
    try:
        yield
    except (optuna.exceptions.UpdateFinishedTrialError, ValueError) as error:
        log.info("a trial had ended: %s", _one_line(error))


def patiently(question: Callable[[], Answer]) -> Answer:
    """Return the answer of a storage, which may be away for a while; after `PATIENCE` its error is raised."""
    until = time.monotonic() + PATIENCE
    while True:
        try:
            return question()
        except UNREACHABLE as error:
            if time.monotonic() > until:
                raise
            log.warning("the storage is away, waiting: %s", _one_line(error))
            time.sleep(2.0)


def running_keys(entry: optuna.Study, *, below: int | None = None) -> set[str]:
    """Return the keys of the points that are at work now; `below`: of trials with a smaller number."""
    trials = entry.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    chosen = [trial for trial in trials if below is None or trial.number < below]
    return {trial.user_attrs["key"] for trial in chosen if "key" in trial.user_attrs}


def finished_results(entry: optuna.Study) -> list[dict[str, Any]]:
    """Return the results in the storage: those of workers on other machines too."""
    done = entry.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return [result for trial in done for result in results_of(trial)]


def results_of(trial: FrozenTrial) -> list[dict[str, Any]]:
    """Return the results of a trial, one for each repeat that it ran."""
    return list(trial.user_attrs.get("results", []))


def _shown(url: str) -> str:
    """Return an address without its password."""
    head, _, tail = url.partition("://")
    who, at, where = tail.rpartition("@")
    return f"{head}://{who.partition(':')[0]}{at}{where}"


def _one_line(error: object) -> str:
    cause = getattr(error, "orig", None) or getattr(error, "__cause__", None) or error
    return " ".join(str(cause).split())[:300]
