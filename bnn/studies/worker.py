"""A worker of a study: it claims points until none is left, on any number of machines.

It repeats: which points are needed and neither finished nor at work elsewhere? Run the first, write its result under
its own key, then tell the storage. So a killed worker, a killed server or a storage that is deleted loses at most the
points at work, and a finished point is never run twice.
"""

from __future__ import annotations

import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState

from bnn.studies.plans import plan_of
from bnn.studies.point import place_of, run_point
from bnn.studies.results import Results
from bnn.studies.samplers import PlannedSampler, constraints, sampler_of, suggested
from bnn.studies.space import Point, Study
from bnn.studies.storage import (
    UNREACHABLE,
    entry_of,
    fail_stale,
    finished_results,
    opened,
    patiently,
    running_keys,
    suppressed_finished,
    this_worker,
)
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
        storage = opened(self.url)
        results = Results(self.folder, self.study)
        sampler: Any = PlannedSampler()
        if self.study.sampler in ("tpe", "nsga2"):
            return self._by_optuna(storage, results, show)
        entry = patiently(lambda: entry_of(self.study, storage, sampler=sampler))
        plan, me = plan_of(self.study), this_worker()
        while True:
            for result in patiently(lambda: finished_results(entry)):  # of other machines
                results.keep(result)
            known = plan.points(results.values())
            left = [point for point in known if results.get(point) is None]
            show(len(known) - len(left), len(known))
            failures = patiently(lambda: self._failures(entry))
            lost = {key for key, errors in failures.items() if len(errors) > self.study.tables["retries"]}
            left = [point for point in left if self.study.key(point) not in lost]
            if not left:
                return {place_of(p): failures[self.study.key(p)][-1] for p in known if self.study.key(p) in lost}
            patiently(lambda: fail_stale(entry))
            busy = patiently(lambda: running_keys(entry))
            free = [point for point in left if self.study.key(point) not in busy]
            if not free:
                time.sleep(POLL)
                continue
            sampler.point = free[0]
            self._one(entry, partial(self._planned, entry=entry, free=free, results=results, me=me), results, me)

    def _one(self, entry: optuna.Study, objective: Callable[[Trial], Any], results: Results, me: str) -> None:
        """Run one trial; a storage that goes away is waited for, and what this worker began is ended there."""
        try:
            entry.optimize(objective, n_trials=1, catch=(Exception,))
        except UNREACHABLE as error:
            log.warning("the storage went away: %s", error)
            for trial in patiently(lambda: entry.get_trials(deepcopy=False, states=(TrialState.RUNNING,))):
                if trial.user_attrs.get("worker") == me:
                    self._settle(entry, trial, results)

    def _settle(self, entry: optuna.Study, trial: FrozenTrial, results: Results) -> None:
        """End a trial of this worker that the storage did not hear the end of."""
        found = results.values().get(trial.user_attrs.get("key", ""))
        with suppressed_finished():
            if found is None or "results" not in trial.user_attrs:
                patiently(lambda: entry.tell(trial.number, state=TrialState.FAIL))
            else:
                patiently(lambda: entry.tell(trial.number, self._objective([found])))

    def _failures(self, entry: optuna.Study) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for trial in entry.get_trials(deepcopy=False, states=(TrialState.FAIL,)):
            own = trial.user_attrs
            if own.get("invocation") == self.invocation and "error" in own:
                found.setdefault(own.get("key", ""), []).append(own["error"])
        return found

    def _planned(
        self, trial: Trial, *, entry: optuna.Study, free: list[Point], results: Results, me: str
    ) -> float | list[float]:
        """Claim the first free point, run it, keep its result, tell its value."""
        patiently(lambda: trial.set_user_attr("worker", me))
        patiently(lambda: trial.set_user_attr("invocation", self.invocation))
        for point in free:
            key = self.study.key(point)
            patiently(partial(trial.set_user_attr, "key", key))
            if key not in patiently(lambda: running_keys(entry, below=trial.number)) and results.get(point) is None:
                break
        else:
            raise optuna.TrialPruned("all points are at work")
        sampler: Any = entry.sampler
        sampler.point = point
        for dimension in self.study.dimensions:
            suggested(trial, dimension)
        if self.study.sampler == "bisection":
            bisected = plan_of(self.study)
            trial.suggest_float(bisected.path, bisected.low, bisected.high, log=bisected.log)  # type: ignore[attr-defined]
        if self.study.repeats > 1:
            trial.suggest_int("repeat", 0, self.study.repeats - 1)
        result = self._run(trial, point, results)
        patiently(lambda: trial.set_user_attr("results", [result]))
        return self._objective([result["values"]])

    def _run(self, trial: Trial, point: Point, results: Results, on_epoch: Any = None) -> dict[str, Any]:
        """Return the result of a point, kept; an exception is in the trial's attributes."""
        try:
            result = run_point(self.study, point, self.folder, self.data_dir, on_epoch=on_epoch)
        except optuna.TrialPruned:
            raise
        except Exception as error:
            text = f"{type(error).__name__}: {' '.join(str(error).split())}"
            log.warning("%s of %s failed: %s", place_of(point), self.study.name, text)
            patiently(lambda: trial.set_user_attr("error", text[:2000]))
            raise
        results.keep(result)
        return result

    def _objective(self, values: list[Mapping[str, Any]]) -> float | list[float]:
        """Return the objectives, means over repeats; without any, the first accuracy."""
        names = list(self.study.objective) or [next((n for n in values[0] if n.endswith(".accuracy")), "")]
        for name in names:
            if any(not isinstance(own.get(name, 0.0 if not name else None), (int, float)) for own in values):
                known = ", ".join(values[0])
                raise ArgumentError(f"objective.{name}", f"must be a value of the run: {known}.")
        means = [sum(own.get(name, 0.0) for own in values) / len(values) for name in names]
        return means if len(means) > 1 else means[0]

    # ---- the samplers of Optuna --------------------------------------------------------------------------------------

    def _by_optuna(self, storage: Any, results: Results, show: Callable[[int, int], None]) -> dict[str, str]:
        """Run trials until there are enough of them."""
        sampler = sampler_of(self.study)
        pruner: optuna.pruners.BasePruner = optuna.pruners.NopPruner()
        if "prune" in self.study.tables:
            warmup = int(self.study.tables["prune"].get("warmup", 1))
            pruner = optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=warmup)
        entry = patiently(lambda: entry_of(self.study, storage, sampler=sampler, pruner=pruner))
        wanted, me = self.study.tables["trials"], this_worker()
        while True:
            for result in patiently(lambda: finished_results(entry)):
                results.keep(result)
            patiently(lambda: fail_stale(entry))
            states = Counter(trial.state for trial in patiently(lambda: entry.get_trials(deepcopy=False)))
            done = states[TrialState.COMPLETE] + states[TrialState.PRUNED]
            show(done, wanted)
            failures = [error for errors in patiently(lambda: self._failures(entry)).values() for error in errors]
            if len(failures) > self.study.tables["retries"] + wanted // 10:
                return {"its trials": failures[-1]}
            if done >= wanted:
                return {}
            if done + states[TrialState.RUNNING] >= wanted:
                time.sleep(POLL)
                continue
            self._one(entry, lambda trial: self._chosen(trial, results, me), results, me)

    def _chosen(self, trial: Trial, results: Results, me: str) -> float | list[float]:
        """Run the point that Optuna chose, all repeats; constraints are kept with the trial."""
        patiently(lambda: trial.set_user_attr("worker", me))
        patiently(lambda: trial.set_user_attr("invocation", self.invocation))
        shown = {d.path: suggested(trial, d) for d in self.study.dimensions}
        found = []
        for repeat in range(self.study.repeats):
            point = self.study.point(shown, repeat)
            prune = self._pruning(trial) if repeat == 0 and "prune" in self.study.tables else None
            found.append(results.get(point) or self._run(trial, point, results, prune))
        values = [result["values"] for result in found]
        excess = constraints(self.study, values)
        patiently(lambda: trial.set_user_attr("constraints", excess))
        patiently(lambda: trial.set_user_attr("results", found))
        return self._objective(values)

    def _pruning(self, trial: Trial) -> Callable[[Epoch], None]:
        def on_epoch(epoch: Epoch) -> None:
            if epoch.validation_accuracy is None:
                raise ArgumentError("prune", "needs data.validation: a trial ends early by its validation accuracy.")
            trial.report(epoch.validation_accuracy, epoch.epoch)
            if trial.should_prune():
                raise optuna.TrialPruned(f"after epoch {epoch.epoch + 1}")

        return on_epoch
