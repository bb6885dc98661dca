"""Run a study: Optuna hands out its points, workers on any number of machines run them, the table is written.

Each worker repeats: which points are needed and neither finished nor at work elsewhere? Run the first, write its result
under its own key, then tell the storage. So a killed worker, a killed server or a storage that is deleted loses at most
the points at work, and a finished point is never run twice.
"""

from __future__ import annotations

import logging
import os
import secrets
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import filelock
import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.trial import FrozenTrial, Trial, TrialState
from tqdm import tqdm

from bnn.studies.plans import Plan, between, plan_of
from bnn.studies.recipe_run import Prepared, counted, run_recipe
from bnn.studies.results import Results
from bnn.studies.space import Dimension, Point, Study, load_study, plain
from bnn.studies.storage import (
    UNREACHABLE,
    entry_of,
    fail_gone,
    finished_results,
    opened,
    patiently,
    running_keys,
    storage_url,
    suppressed_finished,
    this_worker,
)
from bnn.studies.study_table import StudyResult, written
from bnn.studies.workers import worker_processes
from mtjsim.checks import ArgumentError, checked_whole

if TYPE_CHECKING:
    from bnn.training.result import Epoch

log = logging.getLogger(__name__)
POLL = 1.0  # seconds between two looks at the points of others


class UnfinishedStudy(ValueError):
    """A study with points that failed; the others are finished, and the same call tries them again."""


def run_study(
    study: Study | str | os.PathLike[str],
    *,
    out: str | os.PathLike[str],
    storage: str | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    workers: int | None = None,
    progress: bool | None = None,
) -> StudyResult:
    """Run what is left of a study, then write its table.

    Parameters
    ----------
    study : Study, name or path
        As for `load_study`.
    out : path
        Folder for `results/` (a file each), `networks/` (checkpoints), `study.db`, and at the end `table.csv`,
        `summary.csv`, `figure.png` and `run.json`. What is finished there is not run again.
    storage : str, optional
        Address of an Optuna storage, "postgresql://USER@HOST/DATABASE" for many machines; each runs the same call.
        None: a SQLite file in `out`.
    data_dir : path, optional
        As for `bnn.load`.
    workers : int, optional
        Processes of this machine, of one thread each; None: one a core. The table does not depend on it.
    progress : bool, optional
        A bar on stderr; None: if it is a terminal.

    Returns
    -------
    StudyResult

    Raises
    ------
    ValueError
        Before any work: for a study that cannot be read, a field that its recipe cannot have, a folder or a storage
        with another study, a storage that cannot be reached, and as `run_recipe` for the first point. At the end,
        `UnfinishedStudy`, for points that failed.
    OSError
        If data are missing, or `out` cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> fields = {"training.epochs": 2, "model.hidden": [32]}
    >>> space = {"memory.activations.error_rate": [0.01, 0.2]}
    >>> study = Study(name="mine", recipe="digits_mlp", set=fields, space=space)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     result = run_study(study, out=folder, workers=1)
    >>> [row["memory.activations.error_rate"] for row in result.rows]
    [0.01, 0.2]
    """
    study = study if isinstance(study, Study) else load_study(study)
    if workers is not None:
        checked_whole("workers", workers, least=1)
    folder = Path(out)
    results = Results(folder, study)
    if storage is None and (points := finished_points(study, results)):
        return written(study, results, points)
    url = storage_url(folder, storage)
    points = checked_points(study, data_dir)
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # `logging` here says what a user has to know
    held = opened(url)
    entry_of(study, held)
    results.begin()
    most = len(points) if study.sampler in ("grid", "random") else os.cpu_count() or 1
    count = min(workers or os.cpu_count() or 1, most)
    work = Work(study, folder, url, data_dir, secrets.token_hex(8))
    silent = not (sys.stderr.isatty() if progress is None else progress)
    with tqdm(desc=study.name, unit="point", disable=silent, leave=False) as bar:
        if count == 1:
            failed = work.run(lambda done, known: _show(bar, done, known))
        else:
            del held
            failed = _in_processes(work, count, results, bar)
    result = written(study, results, order_of(study, results, url))
    if failed:
        first = next(iter(failed.items()))
        again = "The same call tries them again; all others are kept."
        raise UnfinishedStudy(f"{len(failed)} points of {study.name} failed, the first at {first[0]}: {first[1]}. {again}")
    return result


def finished_points(study: Study, results: Results) -> list[Point] | None:
    """Return all points of the table if every one of them is finished; None if not, or if Optuna chooses them."""
    if study.sampler in ("tpe", "nsga2"):
        return None
    points = plan_of(study).points(results.values())
    return points if all(results.get(point) is not None for point in points) else None


def checked_points(study: Study, data_dir: str | os.PathLike[str] | None) -> list[Point]:
    """Return the points that are known before the work; ValueError and OSError if one of them cannot be run.

    The first is prepared whole: data, network, operating points. Of the others, every value of every dimension is
    solved and checked alone.
    """
    if study.sampler in ("tpe", "nsga2"):
        points = [study.point({d.path: _first(d) for d in study.dimensions}, 0)]
    else:
        points = plan_of(study).points({})
    Prepared.of(study.recipe_at(points[0]), data_dir)
    shown = dict(points[0].shown)
    for dimension in study.dimensions:
        for value in dimension.values[1:] or ():
            recipe = study.recipe_at(study.point({**shown, dimension.path: plain(value)}, 0))
            try:
                Prepared.declared(recipe)
            except ValueError as error:
                raise ValueError(f"{study.name} at {dimension.path}={plain(value)!r}: {error}") from None
    return points


def _first(dimension: Dimension) -> Any:
    if dimension.values:
        return plain(dimension.values[0])
    middle = between(dimension.low, dimension.high, 0.5, log=dimension.log)
    return round(middle) if dimension.whole else middle


def order_of(study: Study, results: Results, url: str) -> list[Point]:
    """Return the points of the table: those of the plan, or those that Optuna chose, in the order of its trials."""
    if study.sampler not in ("tpe", "nsga2"):
        return plan_of(study).points(results.values())
    entry = entry_of(study, opened(url))
    found = []
    for trial in entry.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
        shown = {d.path: _value(d, trial.params[d.path]) for d in study.dimensions}
        found += [study.point(shown, repeat) for repeat in range(study.repeats)]
    return list(dict.fromkeys(found)) if all(_hashable(point) for point in found) else found


def _hashable(point: Point) -> bool:
    try:
        hash(point)
    except TypeError:
        return False
    return True


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
                return {_place(p): failures[self.study.key(p)][-1] for p in known if self.study.key(p) in lost}
            patiently(lambda: _fail_stale(entry))
            busy = patiently(lambda: running_keys(entry))
            free = [point for point in left if self.study.key(point) not in busy]
            if not free:
                time.sleep(POLL)
                continue
            sampler.point = free[0]
            self._one(entry, lambda trial, free=free: self._planned(trial, entry, free, results, me), results, me)

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
        self, trial: Trial, entry: optuna.Study, free: list[Point], results: Results, me: str
    ) -> float | list[float]:
        """Claim the first free point, run it, keep its result, tell its value."""
        patiently(lambda: trial.set_user_attr("worker", me))
        patiently(lambda: trial.set_user_attr("invocation", self.invocation))
        for point in free:
            key = self.study.key(point)
            patiently(lambda key=key: trial.set_user_attr("key", key))
            if key not in patiently(lambda: running_keys(entry, below=trial.number)) and results.get(point) is None:
                break
        else:
            raise optuna.TrialPruned("all points are at work")
        sampler: Any = entry.sampler
        sampler.point = point
        for dimension in self.study.dimensions:
            _suggested(trial, dimension)
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
            log.warning("%s of %s failed: %s", _place(point), self.study.name, text)
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

    def _by_optuna(
        self, storage: Any, results: Results, show: Callable[[int, int], None]
    ) -> dict[str, str]:
        """Run trials until there are enough of them."""
        sampler, pruner = _sampler(self.study), optuna.pruners.NopPruner()
        if "prune" in self.study.tables:
            warmup = int(self.study.tables["prune"].get("warmup", 1))
            pruner = optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=warmup)
        entry = patiently(lambda: entry_of(self.study, storage, sampler=sampler, pruner=pruner))
        wanted, me = self.study.tables["trials"], this_worker()
        while True:
            for result in patiently(lambda: finished_results(entry)):
                results.keep(result)
            patiently(lambda: _fail_stale(entry))
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
        shown = {d.path: _suggested(trial, d) for d in self.study.dimensions}
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


def constraints(study: Study, values: list[Mapping[str, Any]]) -> list[float]:
    """Return by how much each constraint is violated, > 0, in the mean of the repeats."""
    from bnn.studies.space import flat

    excess = []
    for name, limit in flat("constraint", study.tables.get("constraint", {})).items():
        if not isinstance(limit, Mapping) or set(limit) not in ({"max"}, {"min"}):
            raise ArgumentError(f"constraint.{name}", f"must be {{ max = ... }} or {{ min = ... }}, got {limit!r}.")
        numbers = [own.get(name) for own in values]
        if any(not isinstance(number, (int, float)) for number in numbers):
            raise ArgumentError(f"constraint.{name}", f"must be a value of the run: {', '.join(values[0])}.")
        mean = sum(numbers) / len(numbers)
        excess.append(mean - limit["max"] if "max" in limit else limit["min"] - mean)
    return excess


def _sampler(study: Study) -> Any:
    seed = study.seed + os.getpid() if study.sampler == "nsga2" else None
    options: dict[str, Any] = {}
    if "constraint" in study.tables:
        options["constraints_func"] = lambda trial: trial.user_attrs.get("constraints", (0.0,))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        if study.sampler == "nsga2":
            return optuna.samplers.NSGAIISampler(seed=seed, **options)
        return optuna.samplers.TPESampler(seed=None, **options)


class PlannedSampler(optuna.samplers.BaseSampler):
    """Gives each trial the values of the point that its worker has chosen."""

    point: Point | None = None

    def infer_relative_search_space(self, study: Any, trial: Any) -> dict[str, Any]:
        """Return none: every value is given on its own."""
        return {}

    def sample_relative(self, study: Any, trial: Any, search_space: Any) -> dict[str, Any]:
        """Return none."""
        return {}

    def sample_independent(self, study: Any, trial: Any, param_name: str, param_distribution: Any) -> Any:
        """Return the value of the point."""
        assert self.point is not None
        values = {**dict(self.point.shown), "repeat": self.point.repeat}
        return _text(values[param_name])


def _suggested(trial: Trial, dimension: Dimension) -> Any:
    if dimension.values:
        return _value(dimension, trial.suggest_categorical(dimension.path, [_text(plain(v)) for v in dimension.values]))
    if dimension.whole:
        return trial.suggest_int(dimension.path, int(dimension.low), int(dimension.high), log=dimension.log)
    return float(f"{trial.suggest_float(dimension.path, dimension.low, dimension.high, log=dimension.log):.12g}")


def _text(value: Any) -> Any:
    """Return a value as Optuna takes it: lists and tables as JSON."""
    import json

    return json.dumps(value, sort_keys=True) if isinstance(value, (list, dict)) else value


def _value(dimension: Dimension, told: Any) -> Any:
    by_text = {_text(plain(value)): plain(value) for value in dimension.values}
    return by_text.get(told, told)


def run_point(
    study: Study,
    point: Point,
    folder: Path,
    data_dir: str | os.PathLike[str] | None,
    *,
    on_epoch: Callable[[Epoch], None] | None = None,
) -> dict[str, Any]:
    """Run one point: a pure function of the study's identity, the point's fields and its repeat.

    The checkpoint in `folder` is of the training alone, so that points that differ in their tests share it. It is
    removed with the point's result, unless it is a shared one.
    """
    recipe = study.recipe_at(point)
    began, busy = time.perf_counter(), time.process_time()
    network = folder / "networks" / f"{recipe.training_identity}.pt"
    with filelock.FileLock(network.with_suffix(".lock")):
        result = run_recipe(
            recipe, data_dir=data_dir, checkpoint=network, threads=1, progress=False, on_epoch=on_epoch
        )
    if not any(field.startswith("test") for dimension in study.dimensions for field in _fields(study, dimension)):
        network.unlink(missing_ok=True)
        network.with_suffix(".lock").unlink(missing_ok=True)
    return {
        "key": study.key(point),
        "study": study.identity,
        "parameters": dict(point.shown),
        "repeat": point.repeat,
        "seed": recipe.seed,
        "recipe": recipe.identity,
        "values": {name: _finite(value) for name, value in result.values().items()},
        "tests": {name: counted(accuracy) for name, accuracy in result.tests.items()},
        "points": {name: own.identity for name, own in result.points.items()},
        "version": version("mtj-bnn"),
        "seconds": round(time.perf_counter() - began, 2),
        "core_seconds": round(time.process_time() - busy, 2),
    }


def _fields(study: Study, dimension: Dimension) -> Iterable[str]:
    if dimension.path == "arm":
        return [field for arm in study.arms.values() for field in arm]
    return [dimension.path]


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and value != value else value


def _place(point: Point) -> str:
    fields = ", ".join(f"{path}={value!r}" for path, value in point.shown)
    return f"{fields}, repeat {point.repeat}" if point.repeat else fields


def _fail_stale(entry: optuna.Study) -> None:
    fail_gone(entry)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        optuna.storages.fail_stale_trials(entry)


def _show(bar: tqdm, done: int, known: int) -> None:
    bar.total = known
    if bar.n == 0 and done and not getattr(bar, "begun", False):
        bar.initial = done
    bar.begun = True
    bar.n = done
    bar.refresh()


def _in_processes(work: Work, count: int, results: Results, bar: tqdm) -> dict[str, str]:
    """Run the work in processes of this machine; the bar follows the files of results."""
    with worker_processes(count) as pool:
        futures = [pool.submit(_run_work, work) for _ in range(count)]
        plan: Plan | None = None if work.study.sampler in ("tpe", "nsga2") else plan_of(work.study)
        while not all(future.done() for future in futures):
            time.sleep(0.5)
            if plan is not None and not bar.disable:
                known = plan.points(results.values())
                _show(bar, sum(results.get(point) is not None for point in known), len(known))
        failed: dict[str, str] = {}
        for future in futures:
            failed |= future.result()
    return failed


def _run_work(work: Work) -> dict[str, str]:
    import torch

    torch.set_num_threads(1)
    return work.run()


