"""Claims: the trials of a study's entry in its storage, and which worker is at work on which point.

A claim is a trial that is created running, with its point, worker and parameters, in one transaction. Optuna numbers
trials in the order of their commits, so of two claims of a point the smaller number holds, and both workers see which.
A worker that runs a point increases the attribute "beat" of its trial from time to time. A trial of this machine ends
when its process has ended; one of another machine when its beat has not changed for `GRACE` on the clock of the worker
that looks, so that clocks need not agree and a server that was away ends no trial.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import optuna
import psutil
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from bnn.studies.storage import UNREACHABLE, Answer, one_line, patiently

log = logging.getLogger(__name__)
HEARTBEAT, GRACE = 20.0, 90.0  # [s]


class Claims:
    """The trials of a study, for one worker.

    Parameters
    ----------
    storage : RDBStorage
    entry : optuna.Study
        Of this storage.
    invocation : str
        Of `run_study`; kept with each trial.
    again : bool
        Whether the parameters of a trial whose worker has ended are queued, so that the next trial takes them.
    """

    def __init__(self, storage: RDBStorage, entry: optuna.Study, invocation: str, *, again: bool = False) -> None:
        self.entry, self.worker = entry, this_worker()
        self._storage, self._invocation, self._again = storage, invocation, again
        self._seen: dict[int, tuple[Any, float]] = {}  # number of a trial -> its beat, and since when
        self._study = self.patiently(lambda: storage.get_study_id_from_name(entry.study_name))
        self._ids: dict[int, int] = {}  # number of a trial -> of its row

    def patiently(self, question: Callable[[], Answer]) -> Answer:
        """Return the answer of the storage as `patiently` of storage.py does."""
        return patiently(question, back=self._seen.clear)  # the beats of others did not arrive either

    def trials(self) -> list[FrozenTrial]:
        """Return all trials, after those were ended whose worker has ended."""
        found = self._read()
        ended = [trial for trial in found if trial.state == TrialState.RUNNING and self._is_dead(trial)]
        for trial in ended:
            if self.end(trial.number, TrialState.FAIL):
                log.warning("trial %d is made again: its worker has ended", trial.number)
                if self._again and trial.params:
                    self.patiently(lambda own=trial.params: self.entry.enqueue_trial(own))  # type: ignore[misc]
        return self._read() if ended else found

    def _read(self) -> list[FrozenTrial]:
        return self.patiently(lambda: self.entry.get_trials(deepcopy=False))

    def _is_dead(self, trial: FrozenTrial) -> bool:
        worker, beat = worker_of(trial), trial.user_attrs.get("beat", 0)
        if worker == self.worker or is_gone(worker):  # of its own: created, and the answer was lost
            return True
        now = time.monotonic()
        before, since = self._seen.setdefault(trial.number, (beat, now))
        if before != beat:
            self._seen[trial.number] = (beat, now)
        return before == beat and now - since > GRACE

    def claim(self, key: str, params: Mapping[str, Any], distributions: Mapping[str, Any]) -> int | None:
        """Claim a point; return the number of its trial, or None if another worker was first."""
        own = self._own
        template = create_trial(
            state=TrialState.RUNNING,
            params=dict(params),
            distributions=dict(distributions),
            user_attrs={"key": key, "claim": own},
        )
        self.patiently(lambda: self._storage.create_new_trial(self._study, template_trial=template))
        of_point = [trial for trial in self._read() if trial.user_attrs.get("key") == key]
        held = [trial for trial in of_point if trial.state in (TrialState.RUNNING, TrialState.COMPLETE)]
        mine = [trial.number for trial in held if trial.user_attrs["claim"] == own]
        first = min((trial.number for trial in held), default=None)
        for number in mine:  # more than one if the answer to a creation was lost
            if number != first:
                self.end(number, TrialState.FAIL)
        return first if first in mine else None

    def asked(self) -> Trial:
        """Return a trial whose parameters Optuna chooses."""
        trial = self.patiently(self.entry.ask)
        own = self._own
        self.patiently(lambda: trial.set_user_attr("claim", own))
        return trial

    @property
    def _own(self) -> dict[str, str]:
        return {"worker": self.worker, "invocation": self._invocation, "token": secrets.token_hex(8)}

    def set(self, number: int, name: str, value: Any) -> None:
        """Set an attribute of a trial; nothing happens if it has been ended."""
        with suppress(UpdateFinishedTrialError):
            self.patiently(lambda: self._storage.set_trial_user_attr(self._id(number), name, value))

    def end(self, number: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        """End a trial; return whether it was running until then."""
        return self._ended(lambda: self._storage.set_trial_state_values(self._id(number), state, values))

    def tell(self, number: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        """End a trial whose parameters Optuna chose, as `end`: its sampler keeps what it needs."""
        return self._ended(lambda: self.entry.tell(number, values, state=state), number)

    def _ended(self, question: Callable[[], Any], number: int | None = None) -> bool:
        try:
            self.patiently(question)
        except UpdateFinishedTrialError:
            return False
        except ValueError:  # of `tell`, for the same
            if number is None or self._storage.get_trial(self._id(number)).state == TrialState.RUNNING:
                raise
            return False
        return True

    def _id(self, number: int) -> int:
        if number not in self._ids:
            self._ids[number] = self._storage.get_trial_id_from_study_id_trial_number(self._study, number)
        return self._ids[number]

    @contextmanager
    def at_work(self, number: int) -> Iterator[None]:
        """Let the trial beat for the length of the block; an interrupt ends it."""
        stop = threading.Event()
        thread = threading.Thread(target=self._beat, args=(number, stop), daemon=True)
        thread.start()
        try:
            yield
        except (KeyboardInterrupt, SystemExit):
            with suppress(Exception):  # without waiting: other workers find out
                self._storage.set_trial_state_values(self._id(number), TrialState.FAIL)
            raise
        finally:
            stop.set()
            thread.join()

    def _beat(self, number: int, stop: threading.Event) -> None:
        """Increase "beat" until `stop`; what is missed is logged."""
        beat = 0
        while not stop.wait(HEARTBEAT):
            beat += 1
            try:
                self._storage.set_trial_user_attr(self._id(number), "beat", beat)
            except UpdateFinishedTrialError:
                log.warning("trial %d was taken for one whose worker has ended; its result is kept", number)
                break
            except UNREACHABLE as error:
                log.warning("a heartbeat was missed: %s", one_line(error))
        self._storage.remove_session()  # of this thread


def this_worker() -> str:
    """Return machine, number and start of this process: no other process has them."""
    return f"{this_machine()} {os.getpid()} {psutil.Process().create_time():.0f}"


def this_machine() -> str:
    """Return a name of this machine, its boot and its space of process numbers: names of hosts are not unique."""
    parts = [socket.gethostname()]
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip()[:8])
        parts.append(str(os.stat("/proc/self/ns/pid").st_ino))
    return "/".join(parts)


def is_gone(worker: str) -> bool:
    """Whether a worker is a process of this machine that has ended."""
    try:
        machine, number, start = worker.split(" ")
        if machine != this_machine():
            return False
        process = psutil.Process(int(number))
        # the start of a process is in wall time, which a clock that is set moves
        return process.status() == psutil.STATUS_ZOMBIE or abs(process.create_time() - float(start)) > 60.0
    except psutil.NoSuchProcess:
        return True
    except (ValueError, psutil.Error):
        return False


def worker_of(trial: FrozenTrial) -> str:
    """Return the worker of a trial; empty if it was killed before it could say."""
    return trial.user_attrs.get("claim", {}).get("worker", "")


def results_of(trial: FrozenTrial) -> list[dict[str, Any]]:
    """Return the results of a trial, one for each repeat that it ran."""
    return list(trial.user_attrs.get("results", []))
