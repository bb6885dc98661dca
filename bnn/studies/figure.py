"""The figure of a study: a value against a field, a line for each arm, with intervals over the repeats.

What it shows is in [figure], see `look.py`; its words are those of `words.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from bnn.studies.axes import draw_crosses, line_style, name_axes, name_y, place_x, shared_legend
from bnn.studies.dimensions import plain, words_of
from bnn.studies.look import look_of, rows_of_figure
from bnn.studies.words import NO_NAMES, Names, field_words, label_of, quantity_words, series_words, unit_of
from mtjsim.plot_style import TITLE, legend_below, sideways

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from bnn.studies.space import Study

Keys = Sequence[tuple[Any, ...]]  # the values of the columns `by`, of each line
Draw = Callable[["Axes", list[Mapping[str, Any]], Sequence[str], Keys], Any]
LEAST = 1e-4  # accuracy, and distance from 1, on a logit scale


def plot_study(study: Study, summary: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw the summary of a study as its [figure] says; without one, all accuracies against the last dimension.

    Parameters
    ----------
    study : Study
    summary : rows
        Of `StudyResult.summary`.

    Returns
    -------
    Figure
    """
    look, paths = _look_and_paths(study, summary)
    given: dict[str, Any] = {name: look.get(name) for name in ("x", "by", "log_x", "even_x", "names", "missing")}
    given |= {"y_scale": look["y_scale"], "joined": set(paths) <= {look["x"], *look["by"], look["panel"], look["row"]}}
    rows = in_words(study, rows_of_figure(summary, look))
    figure = in_panels(rows, look, lambda ax, own, y, keys: plot_values(ax, own, y=y, keys=keys, **given))
    repeats = sorted({row["repeats"] for row in summary})
    count = " to ".join(dict.fromkeys([str(repeats[0]), str(repeats[-1])]))
    several = f"\nmean and 95 % interval of {count} networks" if repeats[-1] > 1 else ""
    figure.suptitle(f"{study.title}{several}", fontsize=TITLE, wrap=True)
    return figure


def in_panels(rows: Sequence[Mapping[str, Any]], look: Mapping[str, Any], draw: Draw) -> Figure:
    """Return a figure with axes for each value of the columns `panel` and `row` of a look, or each group of its values.

    `draw` draws rows, given the values, and the keys of all lines of the figure, so that a line looks the same in all
    axes. They share one legend, unless each has values of its own.
    """
    from matplotlib.figure import Figure

    panel, line, groups = look["panel"], look["row"], look["groups"]
    if len(look["xs"]) > 1:
        names = ["\n".join(label_of(path, row[path], look["names"]) for path in look["xs"]) for row in rows]
        rows = [{**row, look["x"]: name} for row, name in zip(rows, names, strict=True)]
    panels, lines = (list(dict.fromkeys(r[p] for r in rows)) if p else [None] for p in (panel, line))
    panels = list(groups) if groups else panels
    keys = list(dict.fromkeys(tuple(row[path] for path in look["by"]) for row in rows))
    size = (1.4 + (4.6 if len(panels) < 3 else 3.8) * max(1.4, len(panels)), 1.2 + 3.8 * len(lines))
    figure = Figure(figsize=size, layout="constrained", dpi=130)
    axes = figure.subplots(len(lines), len(panels), sharex=True, sharey=not groups, squeeze=False)
    for ax, (lower, value) in zip(axes.flat, product(lines, panels), strict=True):
        own = [r for r in rows if (not panel or r[panel] == value) and (not line or r[line] == lower)]
        draw(ax, own, groups[value] if groups else look["y"], keys)
        shown = [label_of(path, each, look["names"]) for path, each in ((line, lower), (panel, value)) if path]
        ax.set_title("; ".join([*shown, value] if groups else shown), fontsize=TITLE)
        ax.tick_params(labelbottom=True)
        name_axes(ax, look.get("x_label"), look.get("y_label") if ax in axes[:, 0] or groups else "")
    if not groups:
        shared_legend(figure, look.get("legend"), single=bool(look["by"]))
    for ax in figure.axes if groups else ():
        legend_below(ax, ncols=1, title=look.get("legend"))
    return figure


def in_words(study: Study, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return rows with a table or a list as its values, "range 4", for its text; as it is if another value is alike."""
    shown: dict[str, dict[Any, str]] = {}
    for dimension in study.dimensions:
        values = [plain(value) for value in dimension.values]
        texts = {str(value): words_of(value) for value in values if isinstance(value, (str, dict, list))}
        shown[dimension.path] = texts if len(set(texts.values())) == len(texts) else {}
    return [{name: shown.get(name, {}).get(value, value) for name, value in row.items()} for row in rows]


def is_drawable(study: Study, summary: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the summary has a number that the figure shows; ArgumentError as `look_of`."""
    if not summary:
        return False
    look, _ = _look_and_paths(study, summary)
    rows = rows_of_figure(summary, look)
    return any(all(row[x] != "" for x in look["xs"]) and row[name] != "" for row in rows for name in look["y"])


def _look_and_paths(study: Study, summary: Sequence[Mapping[str, Any]]) -> tuple[dict[str, Any], list[str]]:
    columns = list(summary[0])
    paths = columns[: columns.index("repeats")]
    return look_of(study, paths, [name for name in columns if f"{name}.low" in columns]), paths


def plot_values(
    ax: Axes,
    rows: Sequence[Mapping[str, Any]],
    *,
    x: str,
    y: Sequence[str],
    by: Sequence[str] = (),
    keys: Keys | None = None,
    joined: bool = True,
    log_x: bool | None = None,
    even_x: bool | None = None,
    y_scale: str = "linear",
    names: Names = NO_NAMES,
    missing: str | None = None,
) -> list[Any]:
    """Draw values against a column, a line for each combination of the columns `by`; returns the artists.

    Parameters
    ----------
    ax : Axes
    rows : rows
        Of a summary.
    x, y : str, sequence of str
        Columns.
    by : sequence of str
        Columns whose values make a line each.
    keys : sequence of tuples, optional
        Those values, in the order of the lines; None: those of the rows.
    joined : bool
        Whether the points of a combination are joined, in the order of x, if x has numbers.
    log_x : bool, optional
        None: if x spans more than a factor of 20. With a zero among x, the axis is linear up to the next number.
    even_x : bool, optional
        Whether numbers of x are names.
    y_scale : {"linear", "from_zero", "log", "logit"}
        logit: of accuracies, so that 98 and 99 % are as far apart as 1 and 2 %.
    names : mapping of str to str
        Words, see `words.py`.
    missing : str, optional
        Why a row has no value, for the legend; it is then a cross at the lower end of the axes.
    """
    rows = [row for row in rows if row[x] != ""]
    if not any(row[name] != "" for row in rows for name in y):
        ax.text(0.5, 0.5, "no values", transform=ax.transAxes, ha="center")
        return []
    keys = list(dict.fromkeys(tuple(row[p] for p in by) for row in rows)) if keys is None else keys
    lines = list(product(keys, zip(y, series_words(y, names), strict=True)))
    place, named, apart = place_x(ax, rows, x=x, lines=len(lines), log_x=log_x, even_x=even_x, names=names)
    if not named and all(row[f"{name}.low"] == "" for row in rows for name in y):
        apart = 0.0  # without intervals, lines that are joined hide little
    artists: list[Any] = []
    for number, (key, (name, words)) in enumerate(lines):
        every = [row for row in rows if tuple(row[p] for p in by) == key]
        own = [row for row in every if row[name] != ""]
        own = own if named else sorted(own, key=lambda row: row[x])
        scale = 1.0 if y_scale == "logit" else unit_of(name)[1]
        where = np.array([place(row) for row in own], dtype=float)
        mean, low, high = (
            np.array([scale * (row[name] if row[name + end] == "" else row[name + end]) for row in own])
            for end in ("", ".low", ".high")
        )
        if y_scale == "logit":  # Student's intervals may leave 0 to 1
            low, high = np.clip(low, LEAST, None), np.clip(high, None, 1.0 - LEAST)
        label = ", ".join([words] * (len(y) > 1) + [label_of(p, v, names) for p, v in zip(by, key, strict=True)])
        aside = apart * (number - (len(lines) - 1) / 2)
        style = line_style(number) | {"label": label or words, "transform": sideways(ax, aside)}
        style["ls"] = "-" if joined and not named else "none"
        artists.append(ax.errorbar(where, mean, [mean - low, high - mean], **style))
        ax.update_datalim(np.column_stack([np.r_[where, where], np.r_[low, high]]))
        if missing is not None and (empty := [place(row) for row in every if row[name] == ""]):
            artists.append(draw_crosses(ax, empty, aside=aside, colour=style["color"]))
    if missing is not None and any(row[name] == "" for row in rows for name in y):
        ax.plot([], [], "x", color="0.3", ms=6, mew=1.6, label=missing)
    name_y(ax, quantity_words(y[0], names) if len(y) == 1 else field_words(y[0]), unit_of(y[-1])[0], y_scale)
    name_axes(ax, None, None)
    ax.grid(alpha=0.3)
    return artists
