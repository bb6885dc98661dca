"""The Optuna storage of a study: its address, opened once a process, and the study's entry in it.

SQLite in a file by default; one PostgreSQL for many machines. Its address is no part of a study's identity.
"""

from __future__ import annotations

import logging
import random
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import optuna
import sqlalchemy.exc
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage

from bnn.studies.space import Study
from mtjsim.checks import ArgumentError

UNREACHABLE = (StorageInternalError, sqlalchemy.exc.SQLAlchemyError)
PATIENCE = 300.0  # how long a storage may be away [s]
PAUSE = 2.0  # between two attempts [s]
CREATION = 60.0  # how long to wait for another process that creates the tables [s]
CREATING = ("already exists", "unique constraint", "no such table", "does not exist", "is locked", "deadlock")
Answer = TypeVar("Answer")
log = logging.getLogger(__name__)


def storage_url(folder: Path, given: str | None) -> str:
    """Return the address of the storage: the given one, or a SQLite file in the folder."""
    return given if given is not None else f"sqlite:///{folder / 'study.db'}"


@contextmanager
def opened(url: str) -> Iterator[RDBStorage]:
    """Open a storage for the length of the block; one object a process.

    Raises
    ------
    ArgumentError
        If it cannot be reached, its driver is missing, or the address is not one.
    """
    storage = _opened(url)
    try:
        yield storage
    finally:
        storage.engine.dispose()


def _opened(url: str) -> RDBStorage:
    shown, until = without_password(url), time.monotonic() + CREATION
    while True:  # several processes may create the tables at once
        try:
            return _made(url)
        except ImportError:
            remedy = "pip install 'mtj-bnn[cluster]' has that of PostgreSQL"
            raise ArgumentError("storage", f"{shown} needs a driver that is not installed: {remedy}.") from None
        except (ValueError, KeyError, IndexError, sqlalchemy.exc.ArgumentError):
            rule = "must be an address such as sqlite:///study.db or postgresql://USER@HOST/DATABASE"
            raise ArgumentError("storage", f"{rule}, got {shown!r}.") from None
        except (*UNREACHABLE, AssertionError) as error:
            text = one_line(error)
            if time.monotonic() > until or not _is_being_created(error, text):
                raise ArgumentError("storage", f"{shown} cannot be reached: {text}") from None
        except RuntimeError as error:  # tables of another version of Optuna
            raise ArgumentError("storage", f"{shown} cannot be used: {one_line(error)}") from None
        time.sleep(random.uniform(0.05, 0.5))


def _made(url: str) -> RDBStorage:
    arguments: dict[str, Any] = {"pool_pre_ping": True}
    if url.startswith("postgresql://"):
        url = url.replace("postgresql://", "postgresql+psycopg://", 1)
    if url.startswith("sqlite"):
        arguments["connect_args"] = {"timeout": 100.0, "factory": Connection}
    else:  # of the worker and of its heartbeat
        arguments |= {"pool_size": 1, "max_overflow": 1}
    if url.startswith("postgresql+psycopg://"):  # a machine that is switched off does not answer at all
        arguments["connect_args"] = {"connect_timeout": 20, "keepalives_idle": 30, "tcp_user_timeout": 60_000}
    return RDBStorage(url.replace("{", "{{").replace("}", "}}"), engine_kwargs=arguments)


class Connection(sqlite3.Connection):
    """A connection to a SQLite file that writes ahead: a commit does not wait for the disk, and is whole or lost.

    A commit that is lost with the power is made again, because the results are on the disk before.
    """

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        if self.execute("PRAGMA journal_mode = WAL").fetchone()[0] == "wal":  # not on every file system
            self.execute("PRAGMA synchronous = NORMAL")


def _is_being_created(error: Exception, text: str) -> bool:
    if isinstance(error, AssertionError):  # of Optuna: tables without their version
        return True
    return "connection failed" not in text and any(part in text.lower() for part in CREATING)


def patiently(question: Callable[[], Answer], *, back: Callable[[], object] = lambda: None) -> Answer:
    """Return the answer of a storage, which may be away for a while; `back` is called when it was.

    Raises
    ------
    ConnectionError
        After `PATIENCE`.
    """
    away: float | None = None
    while True:
        try:
            answer = question()
        except UNREACHABLE as error:
            if away is None:
                away = time.monotonic()
                log.warning("the storage is away, waiting: %s", one_line(error))
            elif time.monotonic() - away > PATIENCE:
                problem = f"the storage has been away for {PATIENCE:.0f} s: {one_line(error)}"
                raise ConnectionError(f"{problem}. What is finished is kept; the same call goes on.") from None
            time.sleep(PAUSE)
            continue
        except Exception:  # an answer too, such as that a trial has ended
            _is_back(away, back)
            raise
        _is_back(away, back)
        return answer


def _is_back(away: float | None, back: Callable[[], object]) -> None:
    if away is not None:
        log.warning("the storage is back after %.0f s", time.monotonic() - away)
        back()


def entry_of(study: Study, storage: RDBStorage, **choice: Any) -> optuna.Study:
    """Return the study's entry in the storage, made if need be; patient.

    Raises
    ------
    ArgumentError
        If there is another study of this name in it.
    """
    return patiently(lambda: _entry_of(study, storage, **choice))


def _entry_of(study: Study, storage: RDBStorage, **choice: Any) -> optuna.Study:
    _check_name(study, storage)
    directions: Any = list(study.objective.values()) or ["maximize"]
    entry = optuna.create_study(
        storage=storage, study_name=entry_name(study), directions=directions, load_if_exists=True, **choice
    )
    known = entry.user_attrs
    for name, value in {"identity": study.identity, "name": study.name}.items():  # a name comes with its identity
        if known.get(name) != value:
            entry.set_user_attr(name, value)
    if not known:  # another one may have been made at the same moment; then at least one of the two sees it
        _check_name(study, storage, refused=lambda: optuna.delete_study(study_name=entry.study_name, storage=storage))
    return entry


def found_entry(study: Study, storage: RDBStorage) -> optuna.Study | None:
    """Return the study's entry in the storage, None without one; nothing is written. Raises as `entry_of`."""
    _check_name(study, storage)
    names = optuna.get_all_study_names(storage=storage)
    return optuna.load_study(study_name=entry_name(study), storage=storage) if entry_name(study) in names else None


def entry_name(study: Study) -> str:
    """Return the name of the study's entry: another space or another sampler has an entry of its own."""
    return f"{study.name} {study.declaration[:8]}"


def _check_name(study: Study, storage: RDBStorage, refused: Callable[[], Any] = lambda: None) -> None:
    for other in storage.get_all_studies():  # without their trials
        own = other.user_attrs
        if own.get("name") == study.name and own.get("identity") != study.identity:
            refused()
            rule = f"has another study of the name {study.name!r}, of another recipe or seed"
            raise ArgumentError("storage", f"{rule}. Rename the file, or use another storage.")


def without_password(url: str) -> str:
    """Return an address without its password.

    Examples
    --------
    >>> without_password("postgresql://me:p@ss/word@host:5432/studies?sslpassword=other")
    'postgresql://me@host:5432/studies'
    """
    head, mark, tail = url.partition("://")
    who, at, where = tail.rpartition("@")
    return f"{head}{mark}{who.partition(':')[0]}{at}{where.partition('?')[0]}" if mark else head.partition("?")[0]


def one_line(error: object) -> str:
    """Return the cause of an error in one line."""
    while (cause := getattr(error, "orig", None) or getattr(error, "__cause__", None)) is not None:
        error = cause
    return " ".join(str(error).split())[:300] or type(error).__name__
