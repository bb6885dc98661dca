"""The figure of a study: a value against a field, a line for each arm, with intervals over the repeats."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from bnn.recipes.declared import checked_flag, checked_table
from bnn.recipes.tables import listed
from bnn.studies.dimensions import plain, words_of
from bnn.studies.plots import accuracy_ticks
from mtjsim.checks import ArgumentError, checked_choice
from mtjsim.plot_style import BLACK, BLUE, GREEN, PURPLE, RED, SMALL, TITLE, legend_below, sideways

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from bnn.studies.space import Study

FIGURE = ("x", "y", "by", "panel", "row", "log_x", "y_scale", "x_label", "y_label")
Y_SCALES = ("linear", "log", "logit")
LOOKS = tuple(zip((BLACK, RED, BLUE, GREEN, PURPLE, "0.5"), "osD^vP", strict=True))
LEAST = 1e-4  # accuracy, and distance from 1, on a logit scale
APART = 2.5  # points on paper between lines
LONGEST = 70  # characters of the names below an axis; more are in several lines
MOST_APART = 4  # lines; the marks of more would lie between the numbers
SHOWN_IN = {  # by the last part of a field or a value: label, factor
    **dict.fromkeys(("current", "current_0", "current_1"), ("µA", 1e6)),
    **dict.fromkeys(("voltage", "voltage_0", "voltage_1"), ("V", 1.0)),
    **dict.fromkeys(("pulse_width", "latency"), ("ns", 1e9)),
    "temperature": ("K", 1.0),
    **dict.fromkeys(("accuracy", "worst"), ("%", 100.0)),
    **dict.fromkeys(("energy_0", "energy_1"), ("fJ", 1e15)),
}


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
    x, y, by, panel, line = (look[name] for name in ("x", "y", "by", "panel", "row"))
    given = {"x": x, "y": y, "by": by, "joined": set(paths) <= {x, *by, panel, line}}
    given |= {"log_x": look.get("log_x"), "y_scale": look["y_scale"]}
    figure = in_panels(in_words(study, summary), look, lambda ax, rows: plot_values(ax, rows, **given))
    repeats = sorted({row["repeats"] for row in summary})
    several = f"; mean and 95 % interval of {repeats[-1]} networks" if repeats[-1] > 1 else ""
    figure.suptitle(f"{study.title}{several}", fontsize=TITLE, wrap=True)
    return figure


def in_panels(
    rows: Sequence[Mapping[str, Any]], look: Mapping[str, Any], draw: Callable[[Axes, list[Mapping[str, Any]]], Any]
) -> Figure:
    """Return a figure with axes for each value of the columns `panel` and `row` of a look, which `draw` draws."""
    from matplotlib.figure import Figure

    panel, line = look["panel"], look["row"]
    panels, lines = (list(dict.fromkeys(r[p] for r in rows)) if p else [None] for p in (panel, line))
    size = (1.4 + 4.6 * max(1.4, len(panels)), 1.0 + 3.8 * len(lines))
    figure = Figure(figsize=size, layout="constrained", dpi=130)
    axes = figure.subplots(len(lines), len(panels), sharex=True, sharey=True, squeeze=False)
    for ax, (lower, value) in zip(axes.flat, product(lines, panels), strict=True):
        draw(ax, [r for r in rows if (not panel or r[panel] == value) and (not line or r[line] == lower)])
        ax.set_title("; ".join(labels([p for p in (line, panel) if p], [v for v in (lower, value) if v is not None])))
        ax.title.set_fontsize(TITLE)
        ax.tick_params(labelbottom=True)
        if ax not in axes[:, 0]:
            ax.set_ylabel("")
        if "x_label" in look:
            ax.set_xlabel(look["x_label"])
        if "y_label" in look and ax in axes[:, 0]:
            ax.set_ylabel(look["y_label"])
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
    return any(row[look["x"]] != "" and row[name] != "" for row in summary for name in look["y"])


def _look_and_paths(study: Study, summary: Sequence[Mapping[str, Any]]) -> tuple[dict[str, Any], list[str]]:
    columns = list(summary[0])
    paths = columns[: columns.index("repeats")]
    return look_of(study, paths, [name for name in columns if f"{name}.low" in columns]), paths


def look_of(study: Study, paths: Sequence[str], values: Sequence[str]) -> dict[str, Any]:
    """Return [figure] with what it leaves out; `paths` are the dimensions, `values` those of the summary.

    Without `by` there is a line for each combination of the other dimensions that are lists. A dimension that is a
    range has another value at each point: it makes no lines. Without accuracies y is the first objective or value.

    Raises
    ------
    ArgumentError
        For an unknown name, or a value of another kind.
    """
    look = checked_table("figure", study.tables.get("figure", {}), FIGURE)
    found = {**look, "y_scale": checked_choice("figure.y_scale", look.get("y_scale", "linear"), Y_SCALES)}
    found["x"] = checked_choice("figure.x", look.get("x", paths[-1]), [*paths, *values])
    for key in ("panel", "row"):
        found[key] = checked_choice(f"figure.{key}", look[key], paths) if key in look else None
    shown = [name for name in values if name.endswith(".accuracy")]
    shown = shown or [name for name in (*study.objective, *values) if name in values and name != found["x"]][:1]
    listed_ones = {dimension.path for dimension in study.dimensions if dimension.values}
    others = [path for path in paths if path in listed_ones - {found["x"], found["panel"], found["row"]}]
    for key, default, known in (("y", shown[:3], values), ("by", others, paths)):
        found[key] = [checked_choice(f"figure.{key}", name, known) for name in listed(look.get(key, default))]
    if "log_x" in look:
        checked_flag("figure.log_x", look["log_x"])
    for key in ("x_label", "y_label"):
        if not isinstance(look.get(key, ""), str):
            raise ArgumentError(f"figure.{key}", f"must be a text, got {look[key]!r}.")
    return found


def plot_values(
    ax: Axes,
    rows: Sequence[Mapping[str, Any]],
    *,
    x: str,
    y: Sequence[str],
    by: Sequence[str] = (),
    joined: bool = True,
    log_x: bool | None = None,
    y_scale: str = "linear",
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
    joined : bool
        Whether the points of a combination are joined, in the order of x.
    log_x : bool, optional
        None: if x spans more than a factor of 20. With a zero among x, the axis is linear up to the next number.
    y_scale : {"linear", "log", "logit"}
        logit: of accuracies, so that 98 and 99 % are as far apart as 1 and 2 %.
    """
    rows = [row for row in rows if row[x] != ""]
    if not any(row[name] != "" for row in rows for name in y):
        ax.text(0.5, 0.5, "no values", transform=ax.transAxes, ha="center")
        return []
    lines = [(name, key) for key in dict.fromkeys(tuple(row[p] for p in by) for row in rows) for name in y]
    texts = any(isinstance(row[x], str) for row in rows)
    ticks = list(dict.fromkeys(row[x] for row in rows))
    unit, factor = SHOWN_IN.get(x.rpartition(".")[2], ("", 1.0))
    artists: list[Any] = []
    for number, (name, key) in enumerate(lines):
        own = [row for row in rows if tuple(row[p] for p in by) == key and row[name] != ""]
        own = own if texts else sorted(own, key=lambda row: row[x])
        colour, marker = LOOKS[number % len(LOOKS)]
        scale = 1.0 if y_scale == "logit" else SHOWN_IN.get(name.rpartition(".")[2], ("", 1.0))[1]
        where = np.array([ticks.index(row[x]) if texts else factor * row[x] for row in own], dtype=float)
        mean, low, high = (
            np.array([scale * (row[name] if row[name + end] == "" else row[name + end]) for row in own])
            for end in ("", ".low", ".high")
        )
        if y_scale == "logit":  # Student's intervals may leave 0 to 1
            low, high = np.clip(low, LEAST, None), np.clip(high, None, 1.0 - LEAST)
        label = ", ".join([name.removesuffix(".accuracy").replace("_", " ")] * (len(y) > 1) + labels(by, key))
        place = sideways(ax, APART * (number - (len(lines) - 1) / 2) * (len(lines) <= MOST_APART))
        style: dict[str, Any] = {"color": colour, "marker": marker, "ms": 4.5, "lw": 1.2, "capsize": 2.5}
        style |= {"label": label or name, "transform": place, "ls": "none" if texts or not joined else "-"}
        style |= {"mfc": "none"} if number // len(LOOKS) % 2 else {}  # so that more lines differ
        artists.append(ax.errorbar(where, mean, [mean - low, high - mean], **style))
        ax.update_datalim(np.column_stack([np.r_[where, where], np.r_[low, high]]))
    if texts:
        named_ticks(ax, ticks)
    else:
        scale_x(ax, ticks, factor, log_x)
    if y_scale == "log":
        ax.set_yscale("log")
    elif y_scale == "logit":
        _logit_axis(ax)
    ax.autoscale_view()
    ax.set_xlabel(f"{x}{f' ({unit})' if unit else ''}")
    y_unit = SHOWN_IN.get(y[0].rpartition(".")[2], ("", 1.0))[0] + ", logit scale" * (y_scale == "logit")
    ax.set_ylabel(f"{y[0].rpartition('.')[2] if len(y) > 1 else y[0]}{f' ({y_unit})' if y_unit else ''}")
    ax.grid(alpha=0.3)
    legend_below(ax, ncols=2)
    return artists


def named_ticks(ax: Axes, ticks: Sequence[Any]) -> None:
    """Make the x axis one of names, at 0, 1, 2 ..."""
    names = [str(tick) for tick in ticks]
    if sum(map(len, names)) > LONGEST:
        names = [name.replace("_", "\n") for name in names]
    ax.set_xticks(range(len(names)), names, fontsize=SMALL)
    ax.set_xlim(-0.6, len(ticks) - 0.4)


def scale_x(ax: Axes, numbers: Sequence[float], factor: float, log_x: bool | None) -> None:
    """Make the x axis logarithmic if `log_x`; None: if the numbers span more than a factor of 20."""
    positive = [number for number in numbers if number > 0]
    wide = len(positive) == len(numbers) and max(numbers) > 20 * min(numbers)
    if (wide if log_x is None else log_x) and positive:
        zero = {} if len(positive) == len(numbers) else {"linthresh": factor * min(positive), "linscale": 0.5}
        ax.set_xscale("symlog" if zero else "log", **zero)


def _logit_axis(ax: Axes) -> None:
    """Make the axis of accuracies logit, with labels in percent; panels that share it have room for all of them."""
    shared = ax.get_shared_y_axes().get_siblings(ax)  # panels that were drawn before, too
    low = min(float(own.dataLim.intervaly[0]) for own in shared)
    high = max(float(own.dataLim.intervaly[1]) for own in shared)
    low, high = max(low, 1e-3), min(high, 1.0 - 1e-4)
    odds = np.log(np.array([low, high]) / (1.0 - np.array([low, high]))) + np.array([-0.3, 0.3])
    limits = 1.0 / (1.0 + np.exp(-odds))
    ax.set_yscale("logit")
    ax.set_ylim(*limits)
    ticks = accuracy_ticks(*limits)
    ax.set_yticks(ticks, [f"{100 * tick:.4g}" for tick in ticks])
    ax.yaxis.minorticks_off()


def labels(by: Sequence[str], key: Sequence[Any]) -> list[str]:
    """Return the values of columns as texts, with their names and units; that of an arm alone."""
    shown = []
    for path, value in zip(by, key, strict=True):
        last = path.rpartition(".")[2]
        unit, factor = SHOWN_IN.get(last, ("", 1.0))
        number = (
            f"{factor * value:g}" if isinstance(value, (int, float)) and not isinstance(value, bool) else str(value)
        )
        shown.append(number if path == "arm" else f"{last.replace('_', ' ')} {number} {unit}".rstrip())
    return shown
