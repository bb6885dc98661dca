"""The table of a study: a row for each point and repeat, means over repeats, the figure, the record."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import t as student_t

from bnn.recipes.code import loaded_code, merged_code
from bnn.recipes.declared import checked_table
from bnn.recipes.out_folder import record_in
from bnn.recipes.recipe import Recipe
from bnn.recipes.record import Record
from bnn.recipes.result import value_names
from bnn.studies.choice import cells, choice_of, thresholds
from bnn.studies.crossing import crossings
from bnn.studies.dimensions import is_number
from bnn.studies.results import OWN_TABLES, Results
from bnn.studies.space import Point, Study
from mtjsim.checks import ArgumentError, checked_choice
from mtjsim.files import write_whole

log = logging.getLogger(__name__)
SHARES = (".accuracy", ".worst", ".diverged")  # values from 0 to 1, by the end of their names


@dataclass(frozen=True)
class StudyResult:
    """A study that was run.

    Attributes
    ----------
    study : Study
    rows : list of dict
        A row for each point and repeat: dimensions, repeat, seed, values of the run.
    summary : list of dict
        A row for each point: its repeats, and mean, low and high of the values in [report], 95 % (Student's t; those of
        accuracies are cut at 0 and 1), empty where one of the repeats has no such value. With objectives also
        `feasible` and `best` or `on_front`, see `choice_of`.
    files : tuple of Path
        table.csv, summary.csv, threshold.csv of a bisection, further tables, run.json; figure.png if there is anything
        to draw.
    """

    study: Study
    rows: list[dict[str, Any]]
    summary: list[dict[str, Any]]
    files: tuple[Path, ...]


def written(study: Study, results: Results, points: Sequence[Point]) -> StudyResult:
    """Write the tables, the figure and the record of what is finished; tables that the study had before are removed."""
    done = results.all(points)
    rows = rows_of(done)
    summary = summary_of(study, done)
    folder = results.folder
    more = {"crossing.csv": crossings(study, done)} if "crossing" in study.tables else {}
    if study.sampler == "bisection":
        more["threshold.csv"] = thresholds(study, results)
    record = Record(
        title=study.title,
        identity=study.identity,
        command=f"mtj-bnn study {study.name}",
        seeds=sorted({result["seed"] for _, result in done}),
        contents={
            "source": study.tables.get("source", ""),
            "recipe": {k: v for k, v in study.recipe.tables.items() if k != "expected"},
            "study": dict(study.tables),
            "points": len(points),
            "finished": len(done),
            "threads": 1,
            "interval": "95 %, Student's t, over the repeats (trained networks)",
            "made_with": sorted({result["version"] for _, result in done}),
            "machines": sorted({result.get("machine", "not recorded") for _, result in done}),
        },
        tables={"table.csv": rows, "summary.csv": summary, **more, **_more_tables(done)},
        seconds=round(sum(result["seconds"] for _, result in done), 1),
        core_seconds=round(sum(result["core_seconds"] for _, result in done), 1),
        code={**loaded_code(), **merged_code(result.get("code", {}) for _, result in done)},
    )
    _remove_former(folder, record.tables)
    files = record.write(folder)
    figure = _figure(study, summary, more.get("threshold.csv", []), folder / "figure.png")
    return StudyResult(study, rows, summary, (*files, *figure))


def _remove_former(folder: Path, tables: Iterable[str]) -> None:
    """Remove tables of the record that is replaced, and those of a study, unless they are written now."""
    former = (record_in(folder) or {}).get("tables", {})
    names = {name for name in former if name == Path(name).name and name.endswith(".csv")}
    for name in sorted((names | {f"{own}.csv" for own in OWN_TABLES}) - set(tables)):
        if (folder / name).exists():
            log.warning("%s is removed: it is a former table, which this study does not have.", folder / name)
            (folder / name).unlink(missing_ok=True)  # another worker removes it too


def _figure(
    study: Study, summary: Sequence[Mapping[str, Any]], found: Sequence[Mapping[str, Any]], path: Path
) -> tuple[Path, ...]:
    """Write the figure, of the summary or of the thresholds; if there is nothing to draw, an older one is removed."""
    from bnn.studies.figure import is_drawable, plot_study
    from bnn.studies.threshold_figure import has_thresholds, is_of_thresholds, plot_thresholds
    from mtjsim.plot_style import png_of

    bars = is_of_thresholds(study)
    if not (has_thresholds(found) if bars else is_drawable(study, summary)):
        path.unlink(missing_ok=True)
        return ()
    write_whole(path, png_of(plot_thresholds(study, found) if bars else plot_study(study, summary)))
    return (path,)


def _more_tables(done: Sequence[tuple[Point, Mapping[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
    """Return the further tables of a task, each with the rows of all points; ArgumentError for a study's own name."""
    found: dict[str, list[dict[str, Any]]] = {}
    for _, result in done:
        for name, rows in result.get("tables", {}).items():
            if name in OWN_TABLES:
                raise ArgumentError("tables", f"of a task must not be named {' or '.join(OWN_TABLES)}, got {name!r}.")
            found.setdefault(f"{name}.csv", []).extend(rows)
    return found


def rows_of(done: Sequence[tuple[Point, Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """Return a row for each result; a value that a run does not have is empty."""
    names = list(dict.fromkeys(name for _, result in done for name in result["values"]))
    return [
        {
            **cells(point.shown),
            "repeat": point.repeat,
            "seed": result["seed"],
            **{name: _cell(result["values"].get(name)) for name in names},
        }
        for point, result in done
    ]


def _cell(value: Any) -> Any:
    return "" if value is None else value


def reported(study: Study, known: Iterable[str]) -> list[str]:
    """Return the names of the values of the summary: those of [report], or all accuracies, objectives and constraints.

    Without [report] and without an accuracy among the `known` ones all of these.

    Raises
    ------
    ArgumentError
        For a name that no run has.
    """
    chosen = checked_table("report", study.tables.get("report", {}), ("values",)).get("values")
    names = list(dict.fromkeys(known))
    if chosen is None:
        found = [name for name in names if name.endswith(".accuracy")] or names
        return list(dict.fromkeys([*found, *study.objective, *study.constraint]))
    if not isinstance(chosen, list):
        raise ArgumentError("report.values", f"must be a list of values of the run, got {chosen!r}.")
    return list(dict.fromkeys(checked_choice("a value of report.values", name, names) for name in chosen))


def _reported(study: Study, done: Sequence[tuple[Point, Mapping[str, Any]]]) -> list[str]:
    """Return the names of the summary; if every training diverged, those of its recipe's accuracies too."""
    names = list(dict.fromkeys(name for _, result in done for name in result["values"]))
    recipes = [recipe for recipe in study.experiments() if isinstance(recipe, Recipe)]
    possible = [*names, *(name for recipe in recipes for name in value_names(recipe))]
    if "values" in study.tables.get("report", {}):
        return reported(study, possible)
    numeric = [name for name in names if any(is_number(result["values"].get(name)) for _, result in done)]
    if any(name.endswith(".accuracy") for name in numeric) or not recipes:
        return reported(study, numeric)
    return list(dict.fromkeys([*reported(study, possible), *numeric]))


def summary_of(study: Study, done: Sequence[tuple[Point, Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """Return a row for each point: mean over its repeats with the 95 % interval, empty for one repeat.

    A value that one of its repeats does not have, such as the accuracy of a training that diverged, is empty: the mean
    of the others would be another quantity. Intervals of accuracies, and of the share that diverged, are cut at 0 and
    1, which Student's t of few repeats may leave.
    """
    if not done:
        return []
    names = _reported(study, done)
    groups = dict[str, list[tuple[Point, Mapping[str, Any]]]]()
    for point, result in done:
        groups.setdefault(repr(point.shown), []).append((point, result))
    chosen = choice_of(study, [[result["values"] for _, result in group] for group in groups.values()])
    rows = []
    for group, choice in zip(groups.values(), chosen, strict=True):
        row: dict[str, Any] = {**cells(group[0][0].shown), "repeats": len(group)}
        for name in names:
            numbers = [result["values"].get(name) for _, result in group]
            present = [float(number) for number in numbers if isinstance(number, (int, float))]
            mean, low, high = interval(present if len(present) == len(numbers) else [])
            if name.endswith(SHARES) and 0.0 <= mean <= 1.0:  # not a task's in percent
                low, high = (float(end) for end in np.clip([low, high], 0.0, 1.0))  # NaN stays
            for end, value in zip(("", ".low", ".high"), (mean, low, high), strict=True):
                row[f"{name}{end}"] = "" if math.isnan(value) else value
        rows.append(row | choice)
    return rows


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Return mean and 95 % interval of independent values, Student's t; NaN for what they do not give."""
    if not values:
        return math.nan, math.nan, math.nan
    if len(values) == 1:
        return values[0], math.nan, math.nan
    if len(set(values)) == 1:  # such as an error rate; their mean may be rounded
        return values[0], values[0], values[0]
    mean = float(np.mean(values))
    half = float(student_t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / len(values) ** 0.5)
    return mean, mean - half, mean + half
