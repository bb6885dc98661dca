"""A worker of a study: it claims points until none is left, on any number of machines.

It repeats: which points are needed and not finished in the storage? Claim one that is not at work elsewhere, run it
unless its result is here, write the result under its own key, then complete the trial. What other machines have
finished is written here, too. So the storage and each folder end with the same results, whatever was killed or deleted;
a finished point is never run twice.
"""

from __future__ import annotations

import logging
import math
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, Trial, TrialState

from bnn.recipes.result import DIVERGED
from bnn.studies.claims import Claims, results_of
from bnn.studies.plans import plan_of
from bnn.studies.point import place_of, run_point
from bnn.studies.results import Results
from bnn.studies.samplers import ByNumber, constraints, suggested, trial_of
from bnn.studies.space import Point, Study
from bnn.studies.storage import UNREACHABLE, entry_of, one_line, opened
from mtjsim.checks import ArgumentError

if TYPE_CHECKING:
    from bnn.training.result import Epoch

log = logging.getLogger(__name__)
POLL = 1.0  # seconds between two looks at the points of others


@dataclass(frozen=True)
class Work:
    """What a worker needs to take part in a study."""

    study: Study
    folder: Path
    url: str
    data_dir: str | os.PathLike[str] | None
    invocation: str  # of `run_study`: failures of former ones do not count

    def run(self, show: Callable[[int, int], None] = lambda done, known: None) -> dict[str, str]:
        """Run points until none is left; return those that failed for good, with the error."""
        optuna.logging.set_verbosity(optuna.logging.ERROR)  # in this process
        with opened(self.url) as storage:
            results = Results(self.folder, self.study)
            if self.study.sampler in ("tpe", "nsga2"):
                return self._by_optuna(storage, results, show)
            return self._by_plan(Claims(storage, entry_of(self.study, storage), self.invocation), results, show)

    def _by_plan(self, claims: Claims, results: Results, show: Callable[[int, int], None]) -> dict[str, str]:
        """Finish the points of a plan."""
        plan, key_of = plan_of(self.study), Keys(self.study)
        while True:
            trials = claims.trials()
            keys = self._kept(trials, results)
            known = [(point, key_of(point)) for point in plan.points(results.values())]
            show(sum(results.has(key) for _, key in known), len(known))
            failures = self._failures(trials)
            lost = {key for key, errors in failures.items() if len(errors) > self.study.tables["retries"]}
            left = [(point, key) for point, key in known if key not in keys and key not in lost]
            if not left:
                return {place_of(point): failures[key][-1] for point, key in known if key in lost}
            busy = {trial.user_attrs.get("key") for trial in trials if trial.state == TrialState.RUNNING}
            free = [(point, key) for point, key in left if key not in busy]
            if not free:
                time.sleep(POLL)
                continue
            point, key = random.choice(free) if busy else free[0]  # many workers rarely take the same one
            number = claims.claim(key, *trial_of(self.study, point))
            if number is not None:
                self._finish(claims, number, point, results)

    def _finish(self, claims: Claims, number: int, point: Point, results: Results) -> None:
        """Run a claimed point unless its result is there; keep the result, then complete the trial."""
        try:
            result = results.get(point)
            if result is None:
                with claims.at_work(number):
                    result = run_point(self.study, point, self.folder, self.data_dir)
                results.keep(result)
            values = self._objective([result["values"]])
        except Exception as error:
            self._failed(claims, number, place_of(point), error)
            return
        claims.set(number, "results", [result])
        claims.end(number, TrialState.COMPLETE, values)

    def _failed(self, claims: Claims, number: int, place: str, error: Exception) -> None:
        """End a trial with its error."""
        text = f"{type(error).__name__}: {' '.join(str(error).split())}"
        log.warning("%s of %s failed: %s", place, self.study.name, text)
        claims.set(number, "error", text[:2000])
        claims.end(number, TrialState.FAIL)

    def _kept(self, trials: Sequence[FrozenTrial], results: Results) -> set[str]:
        """Write the results of other machines; return the keys of all that are finished in the storage."""
        found = [own for trial in trials if trial.state == TrialState.COMPLETE for own in results_of(trial)]
        for result in found:
            results.keep(result)
        return {result["key"] for result in found}

    def _failures(self, trials: Sequence[FrozenTrial]) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for trial in trials:
            own, claim = trial.user_attrs, trial.user_attrs.get("claim", {})
            if trial.state == TrialState.FAIL and claim.get("invocation") == self.invocation and "error" in own:
                found.setdefault(own.get("key", ""), []).append(own["error"])
        return found

    def _objective(self, values: list[Mapping[str, Any]]) -> list[float]:
        """Return the objectives, means over repeats; without any, the first accuracy. A divergence is the worst."""
        if any(own.get(DIVERGED) for own in values):
            directions = list(self.study.objective.values()) or ["maximize"]
            return [-math.inf if direction == "maximize" else math.inf for direction in directions]
        names = list(self.study.objective) or [next((n for n in values[0] if n.endswith(".accuracy")), "")]
        for name in names:
            if any(not isinstance(own.get(name, 0.0 if not name else None), (int, float)) for own in values):
                known = ", ".join(values[0])
                raise ArgumentError(f"objective.{name}", f"must be a value of the run: {known}.")
        return [sum(own.get(name, 0.0) for own in values) / len(values) for name in names]

    # ---- the samplers of Optuna --------------------------------------------------------------------------------------

    def _by_optuna(self, storage: Any, results: Results, show: Callable[[int, int], None]) -> dict[str, str]:
        """Run trials until there are enough of them."""
        pruner: optuna.pruners.BasePruner = optuna.pruners.NopPruner()
        if "prune" in self.study.tables:
            warmup = int(self.study.tables["prune"].get("warmup", 1))
            pruner = optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=warmup)
        entry = entry_of(self.study, storage, sampler=ByNumber(self.study), pruner=pruner)
        claims, wanted = Claims(storage, entry, self.invocation, again=True), self.study.tables["trials"]
        while True:
            trials = claims.trials()
            self._kept(trials, results)
            states = Counter(trial.state for trial in trials)
            done = states[TrialState.COMPLETE] + states[TrialState.PRUNED]
            show(done, wanted)
            failures = [error for errors in self._failures(trials).values() for error in errors]
            if len(failures) > self.study.tables["retries"] + wanted // 10:
                return {"its trials": failures[-1]}
            if done >= wanted:
                return {}
            if done + states[TrialState.RUNNING] >= wanted:
                time.sleep(POLL)
                continue
            self._chosen(claims, claims.asked(), results)

    def _chosen(self, claims: Claims, trial: Trial, results: Results) -> None:
        """Run the point that Optuna chose, all repeats; constraints are kept with the trial."""
        found: list[dict[str, Any]] = []
        place = f"trial {trial.number}"
        try:
            shown = {d.path: suggested(trial, d) for d in self.study.dimensions}
            for repeat in range(self.study.repeats):
                point = self.study.point(shown, repeat)
                place, result = place_of(point), results.get(point)
                if result is None:
                    prune = self._pruning(claims, trial) if repeat == 0 and "prune" in self.study.tables else None
                    with claims.at_work(trial.number):
                        result = run_point(self.study, point, self.folder, self.data_dir, on_epoch=prune)
                    results.keep(result)
                found.append(result)
            values = [result["values"] for result in found]
            means, excess = self._objective(values), constraints(self.study, values)
        except optuna.TrialPruned:
            claims.tell(trial.number, TrialState.PRUNED)
        except (*UNREACHABLE, UpdateFinishedTrialError) as error:  # while the parameters were chosen
            log.warning("trial %d is given up: %s", trial.number, one_line(error))
            claims.end(trial.number, TrialState.FAIL)
        except Exception as error:
            self._failed(claims, trial.number, place, error)
        else:
            claims.set(trial.number, "constraints", excess)
            claims.set(trial.number, "results", found)
            claims.tell(trial.number, TrialState.COMPLETE, means)

    def _pruning(self, claims: Claims, trial: Trial) -> Callable[[Epoch], None]:
        def on_epoch(epoch: Epoch) -> None:
            accuracy = epoch.validation_accuracy
            if accuracy is None:
                raise ArgumentError("prune", "needs data.validation: a trial ends early by its validation accuracy.")
            with suppress(UpdateFinishedTrialError):
                claims.patiently(lambda: trial.report(accuracy, epoch.epoch))
            if claims.patiently(trial.should_prune):
                raise optuna.TrialPruned(f"after epoch {epoch.epoch + 1}")

        return on_epoch


class Keys:
    """Keys of a study's points, each hashed once."""

    def __init__(self, study: Study) -> None:
        self._study, self._known = study, dict[str, str]()

    def __call__(self, point: Point) -> str:
        """Return the key of a point."""
        name = repr(point)
        if name not in self._known:
            self._known[name] = self._study.key(point)
        return self._known[name]
