"""The table of a study: a row for each point and repeat, means over repeats, the figure, the record."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import t as student_t

from bnn.recipes.code import loaded_code, merged_code
from bnn.recipes.declared import checked_table
from bnn.recipes.record import Record
from bnn.studies.crossing import crossings
from bnn.studies.results import Results
from bnn.studies.space import Point, Study
from mtjsim.checks import ArgumentError, checked_choice
from mtjsim.files import write_whole

OWN_TABLES = ("table", "summary", "crossing")


@dataclass(frozen=True)
class StudyResult:
    """A study that was run.

    Attributes
    ----------
    study : Study
    rows : list of dict
        A row for each point and repeat: dimensions, repeat, seed, values of the run.
    summary : list of dict
        A row for each point: its repeats, and mean, low and high of the values in [report], 95 % (Student's t).
    files : tuple of Path
        table.csv, summary.csv, figure.png, run.json.
    """

    study: Study
    rows: list[dict[str, Any]]
    summary: list[dict[str, Any]]
    files: tuple[Path, ...]


def written(study: Study, results: Results, points: Sequence[Point]) -> StudyResult:
    """Write the tables, the figure and the record of what is finished."""
    done = results.all(points)
    rows = rows_of(done)
    summary = summary_of(study, done)
    folder = results.folder
    more = {"crossing.csv": crossings(study, done)} if "crossing" in study.tables else {}
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
        },
        tables={"table.csv": rows, "summary.csv": summary, **more, **_more_tables(done)},
        seconds=round(sum(result["seconds"] for _, result in done), 1),
        core_seconds=round(sum(result["core_seconds"] for _, result in done), 1),
        code={**loaded_code(), **merged_code(result.get("code", {}) for _, result in done)},
    )
    files: tuple[Path, ...] = ()
    if summary:
        from bnn.studies.figure import plot_study
        from mtjsim.plot_style import png_of

        write_whole(folder / "figure.png", png_of(plot_study(study, summary)))
        files = (folder / "figure.png",)
    return StudyResult(study, rows, summary, (*files, *record.write(folder)))


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
            **_cells(point.shown),
            "repeat": point.repeat,
            "seed": result["seed"],
            **{name: _cell(result["values"].get(name)) for name in names},
        }
        for point, result in done
    ]


def _cells(shown: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    return {path: value if isinstance(value, (int, float, str, bool)) else str(value) for path, value in shown}


def _cell(value: Any) -> Any:
    return "" if value is None else value


def reported(study: Study, known: Iterable[str]) -> list[str]:
    """Return the names of the values of the summary: those of [report], or all accuracies of the `known` ones.

    Raises
    ------
    ArgumentError
        For a name that no run has.
    """
    chosen = checked_table("report", study.tables.get("report", {}), ("values",)).get("values")
    if chosen is None:
        return [name for name in dict.fromkeys(known) if name.endswith(".accuracy")]
    if not isinstance(chosen, list):
        raise ArgumentError("report.values", f"must be a list of values of the run, got {chosen!r}.")
    names = list(dict.fromkeys(known))
    return list(dict.fromkeys(checked_choice("a value of report.values", name, names) for name in chosen))


def summary_of(study: Study, done: Sequence[tuple[Point, Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """Return a row for each point: mean over its repeats with the 95 % interval, empty for one repeat."""
    if not done:
        return []
    names = reported(study, [name for _, result in done for name in result["values"]])
    groups = dict[str, list[tuple[Point, Mapping[str, Any]]]]()
    for point, result in done:
        groups.setdefault(repr(point.shown), []).append((point, result))
    rows = []
    for group in groups.values():
        row: dict[str, Any] = {**_cells(group[0][0].shown), "repeats": len(group)}
        for name in names:
            numbers = [result["values"].get(name) for _, result in group]
            present = [float(number) for number in numbers if isinstance(number, (int, float))]
            for end, value in zip(("", ".low", ".high"), interval(present), strict=True):
                row[f"{name}{end}"] = "" if math.isnan(value) else value
        rows.append(row)
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
