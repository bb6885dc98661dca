"""Run a study: its points are checked, workers run them (see `worker.py`), the table is written."""

from __future__ import annotations

import logging
import os
import secrets
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import TrialState
from tqdm import tqdm

from bnn.recipes.code import changed_since, computes
from bnn.recipes.result import value_names
from bnn.recipes.run import Prepared
from bnn.studies.claims import results_of
from bnn.studies.crossing import check_crossing
from bnn.studies.dimensions import Dimension, plain
from bnn.studies.look import look_of
from bnn.studies.plans import Bisection, Plan, between, plan_of, unique
from bnn.studies.results import Results
from bnn.studies.space import BY_OPTUNA, Point, Study, load_study
from bnn.studies.storage import entry_of, opened, storage_url
from bnn.studies.table import StudyResult, reported, written
from bnn.studies.task import Task
from bnn.studies.threshold_figure import is_of_thresholds, look_of_thresholds
from bnn.studies.worker import Work
from bnn.studies.workers import worker_processes
from mtjsim.checks import checked_choice, checked_whole
from mtjsim.files import made_folder

log = logging.getLogger(__name__)


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
        `summary.csv`, `threshold.csv` (bisection), `run.json`, `figure.png`. What is finished there is not run again.
        A study that is refused leaves no new folder.
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
        Before any work: for a study that cannot be read, a field that its recipe cannot have, a folder that holds
        anything else (`Results` says what the same study is), a storage with another study of its name, a storage that
        cannot be reached, and as `run_recipe` for the first point. At the end, `UnfinishedStudy`, for points that
        failed.
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
    check_crossing(study)
    folder = Path(out)
    with made_folder(folder, option="out"):
        results = Results(folder, study)
        if storage is None and (points := finished_points(study, results)):
            warn_of_others(results, points)
            return written(study, results, points)
        url = storage_url(folder, storage)
        points = checked_points(study, data_dir)
        optuna.logging.set_verbosity(optuna.logging.ERROR)  # `logging` here says what a user has to know
        with opened(url) as held:  # the workers open their own
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
            failed = _in_processes(work, count, results, bar)
    points = order_of(study, results, url)
    warn_of_others(results, points)
    result = written(study, results, points)
    if failed:
        first = next(iter(failed.items()))
        again = "The same call tries them again; all others are kept."
        raise UnfinishedStudy(
            f"{len(failed)} points of {study.name} failed, the first at {first[0]}: {first[1]}. {again}"
        )
    return result


def warn_of_others(results: Results, points: Sequence[Point]) -> None:
    """Log a warning if results that are kept were made by other code than this, or on machines that differ."""
    done = results.all(points)
    if len(machines := sorted({result.get("machine", "not recorded") for _, result in done})) > 1:
        log.warning(
            "the results in %s are of several machines (%s): the same seed may give other last digits there.",
            *(results.folder, ", ".join(machines)),
        )
    changed = [[name for name in changed_since(result.get("code", {})) if computes(name)] for _, result in done]
    if names := sorted({name for own in changed for name in own}):
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        log.warning(
            "%d of %d results in %s were made before these modules changed: %s%s. To make them again delete its "
            "results/, networks/ and study.db*.",
            *(sum(map(bool, changed)), len(done), results.folder, ", ".join(names[:3]), more),
        )


def finished_points(study: Study, results: Results) -> list[Point] | None:
    """Return all points of the table if every one of them is finished; None if not, or if Optuna chooses them."""
    if study.sampler in BY_OPTUNA:
        return None
    points = plan_of(study).points(results.values())
    return points if all(results.get(point) is not None for point in points) else None


def checked_points(study: Study, data_dir: str | os.PathLike[str] | None) -> list[Point]:
    """Return the points that are known before the work; ValueError and OSError if one of them cannot be run.

    The first one, and each value of each dimension in it, are prepared whole: data, network, operating points, tests.
    """
    if study.sampler in BY_OPTUNA:
        points = [study.point({d.path: _first(d) for d in study.dimensions}, 0)]
    else:
        points = plan_of(study).points({})
    first = study.recipe_at(points[0])
    if isinstance(first, Task):
        return points  # its fields were checked; what it needs is its own
    Prepared.of(first, data_dir)
    known, shown = value_names(first), dict(points[0].shown)
    for path, value in _alone(study):
        if shown.get(path) == value:
            continue
        recipe: Any = study.recipe_at(study.point({**shown, path: value}, 0))
        try:
            Prepared.of(recipe, data_dir)
        except ValueError as error:
            raise ValueError(f"{study.name} at {path}={value!r}: {error}") from None
        known += value_names(recipe)
    check_values(study, known)
    return points


def _alone(study: Study) -> Iterator[tuple[str, Any]]:
    """Yield each value of each dimension, the ends of ranges and of a bisection included, with its field."""
    for dimension in study.dimensions:
        for value in dimension.values or (dimension.low, dimension.high):
            yield dimension.path, plain(value)
    if study.sampler == "bisection":
        bisected = Bisection.of(study)
        yield from ((bisected.path, end) for end in (bisected.low, bisected.high))


def check_values(study: Study, known: Iterable[str]) -> None:
    """ArgumentError for the name of a value that no run has, in any table of the study."""
    values, bisect = list(dict.fromkeys(known)), study.tables.get("bisect", {})
    named = {f"objective.{name}": name for name in study.objective}
    named |= {f"constraint.{name}": name for name in study.constraint}
    if bisect:
        named["bisect.value"] = bisect["value"]
        level = bisect["level"]
        named |= {"bisect.level.of": level["of"]} if isinstance(level, Mapping) and "of" in level else {}
    if "crossing" in study.tables:
        named["crossing.value"] = study.tables["crossing"]["value"]
    for where, name in named.items():
        checked_choice(where, name, values)
    shown = reported(study, values)
    if is_of_thresholds(study):
        look_of_thresholds(study)
        return
    paths = [dimension.path for dimension in study.dimensions] + ([bisect["field"]] if bisect else [])
    look_of(study, paths, shown)


def _first(dimension: Dimension) -> Any:
    if dimension.values:
        return plain(dimension.values[0])
    middle = between(dimension.low, dimension.high, 0.5, log=dimension.log)
    return round(middle) if dimension.whole else middle


def order_of(study: Study, results: Results, url: str) -> list[Point]:
    """Return the points of the table: those of the plan, or those that Optuna chose, in the order of its trials."""
    if study.sampler not in BY_OPTUNA:
        return plan_of(study).points(results.values())
    with opened(url) as held:
        done = entry_of(study, held).get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    found = []
    for trial in done:
        found += [study.point(result["parameters"], result["repeat"]) for result in results_of(trial)]
    return unique(study, found)


def _show(bar: tqdm, done: int, known: int) -> None:
    bar.total = known
    if bar.n == 0 and done and not getattr(bar, "begun", False):
        bar.initial = done
    bar.begun = True
    bar.n = done
    bar.refresh()


def _in_processes(work: Work, count: int, results: Results, bar: tqdm) -> dict[str, str]:
    """Run the work in processes of this machine; they are started again if one is killed and there were new results."""
    from loky.process_executor import BrokenProcessPool  # here: it takes 0.1 s

    while True:
        before = len(results.values())
        try:
            return _in_pool(work, count, results, bar)
        except BrokenProcessPool:
            log.warning("a worker process was killed, perhaps because memory ran out; all are started again")
            if len(results.values()) == before:
                problem = "a worker process was killed, and no point was finished since the last one"
                raise UnfinishedStudy(f"{problem}: memory may be too small for {count} workers.") from None


def _in_pool(work: Work, count: int, results: Results, bar: tqdm) -> dict[str, str]:
    """Run the work in one pool; the bar follows the files of results."""
    with worker_processes(count) as pool:
        futures = [pool.submit(_run_work, work) for _ in range(count)]
        plan: Plan | None = None if work.study.sampler in BY_OPTUNA else plan_of(work.study)
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
