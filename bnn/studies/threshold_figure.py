"""The figure of a bisection: the last interval, which contains the threshold, against another dimension.

A bar is the interval, with a mark in its middle, the geometric one if the bisection is logarithmic; an arrow from an
end of the range says that the threshold is beyond it. [figure] has x, by, panel, row, log_x, x_label and y_label. A
bisection in a space without other dimensions, or with the field that moves as x, has the figure of any other study.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bnn.recipes.declared import checked_table
from bnn.studies.figure import (
    APART,
    FIGURE,
    LOOKS,
    SHOWN_IN,
    in_panels,
    in_words,
    labels,
    look_of,
    named_ticks,
    scale_x,
)
from bnn.studies.level import is_of_losses
from bnn.studies.plans import ABOVE_HIGH, BELOW_LOW, FAILS_AT_LOW, Bisection, between
from mtjsim.plot_style import TITLE, include, legend_below, sideways

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from bnn.studies.space import Study

OF_VALUES = ("y", "y_scale")  # of a figure of values alone
UP, DOWN = (ABOVE_HIGH,), (BELOW_LOW, FAILS_AT_LOW)
ARROW = 0.05  # length, as a share of the range
SPREAD = 0.6  # of the lines of one name, as a share of the distance between names


def is_of_thresholds(study: Study) -> bool:
    """Whether the figure of a study shows its thresholds."""
    if study.sampler != "bisection" or not study.dimensions:
        return False
    return study.tables.get("figure", {}).get("x") != study.tables["bisect"]["field"]


def look_of_thresholds(study: Study) -> dict[str, Any]:
    """Return [figure] with what it leaves out; ArgumentError for a wrong one."""
    checked_table("figure", study.tables.get("figure", {}), [name for name in FIGURE if name not in OF_VALUES])
    return look_of(study, [dimension.path for dimension in study.dimensions], [])


def plot_thresholds(study: Study, rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw the thresholds of a bisection as its [figure] says; without one, against the last dimension.

    Parameters
    ----------
    study : Study
    rows : rows
        Of `thresholds`, in `choice.py`.

    Returns
    -------
    Figure
    """
    plan, look = Bisection.of(study), look_of_thresholds(study)
    given: dict[str, Any] = {name: look.get(name) for name in ("x", "by", "log_x")}
    given["joined"] = {d.path for d in study.dimensions} <= {look["x"], *look["by"], look["panel"], look["row"]}
    figure = in_panels(in_words(study, rows), look, lambda ax, own: plot_intervals(ax, own, plan=plan, **given))
    criterion = f"the mean of {plan.value} over {study.repeats} runs crosses its level"
    if isinstance(plan.level, (int, float)):
        criterion = f"the mean of {plan.value} over {study.repeats} runs crosses {plan.level:g}"
    elif is_of_losses(plan.level):
        lose, share = plan.level["lose"], plan.level["share"]
        criterion = f"{100 * share:g} % of {study.repeats} runs lose more than {lose:g} of {plan.value}, or diverge"
    figure.suptitle(f"{study.title}; brackets in which {criterion}", fontsize=TITLE, wrap=True)
    return figure


def has_thresholds(rows: Sequence[Mapping[str, Any]]) -> bool:
    """Whether there is anything to draw: an interval, or an end beyond which the threshold is."""
    return any(row["low"] != "" or row["why"] in (*UP, *DOWN) for row in rows)


def plot_intervals(
    ax: Axes,
    rows: Sequence[Mapping[str, Any]],
    *,
    plan: Bisection,
    x: str,
    by: Sequence[str] = (),
    joined: bool = True,
    log_x: bool | None = None,
) -> list[Any]:
    """Draw intervals against a column, a line for each combination of the columns `by`; returns the artists.

    Parameters
    ----------
    ax : Axes
    rows : rows
        Of `thresholds`, in `choice.py`.
    plan : Bisection
        For its range, and whether it is logarithmic.
    x : str
        Column of numbers or names.
    by : sequence of str
        Columns whose values make a line each.
    joined : bool
        Whether the marks of a combination are joined, if x has numbers.
    log_x : bool, optional
        As in `plot_values`.
    """
    names = any(isinstance(row[x], (str, bool)) for row in rows)
    ticks = list(dict.fromkeys(row[x] for row in rows))
    keys = list(dict.fromkeys(tuple(row[path] for path in by) for row in rows))
    (unit, factor), (y_unit, y_factor) = (SHOWN_IN.get(path.rpartition(".")[2], ("", 1.0)) for path in (x, plan.path))
    artists: list[Any] = []
    for number, key in enumerate(keys):
        own = [row for row in rows if tuple(row[path] for path in by) == key and has_thresholds([row])]
        own = own if names else sorted(own, key=lambda row: row[x])
        shift = number - (len(keys) - 1) / 2
        aside = SPREAD / len(keys) * shift
        where = np.array([ticks.index(row[x]) + aside if names else factor * row[x] for row in own])
        colour, marker = LOOKS[number % len(LOOKS)]
        style: dict[str, Any] = {"color": colour, "marker": marker, "label": ", ".join(labels(by, key))}
        style |= {"mfc": "none"} if number // len(LOOKS) % 2 else {}
        style |= {"transform": ax.transData if names else sideways(ax, 2 * APART * shift)}
        bars = y_factor * np.array([_bar(row, plan) for row in own])
        artists += _draw(ax, own, where, bars, style, joined=joined and not names)
    if names:
        named_ticks(ax, ticks)
    else:
        scale_x(ax, ticks, factor, log_x)
    if plan.log:
        ax.set_yscale("log")
    if not artists:
        ax.text(0.5, 0.5, "no thresholds", transform=ax.transAxes, ha="center")
    ax.autoscale_view()
    ax.set_xlabel(f"{x}{f' ({unit})' if unit else ''}")
    ax.set_ylabel(f"threshold of {plan.path}{f' ({y_unit})' if y_unit else ''}")
    ax.grid(alpha=0.3)
    if artists and by:
        legend_below(ax, ncols=2)
    return artists


def _draw(
    ax: Axes,
    rows: Sequence[Mapping[str, Any]],
    where: NDArray[np.float64],
    bars: NDArray[np.float64],
    style: dict[str, Any],
    *,
    joined: bool,
) -> list[Any]:
    """Draw the intervals of a line, then its arrows; the first of them has the label."""
    artists: list[Any] = []
    for ends in ((), UP, DOWN):
        chosen = [n for n, row in enumerate(rows) if (row["why"] in ends if ends else row["low"] != "")]
        if chosen:
            at, (low, middle, high) = where[chosen], bars[chosen].T
            look: dict[str, Any] = {"ms": 4.5, "lw": 1.2, "capsize": 3.0, "ls": "-" if joined and not ends else "none"}
            look |= style | {"lolims": ends == UP, "uplims": ends == DOWN}
            artists.append(ax.errorbar(at, middle, [middle - low, high - middle], **look))
            include(ax, np.r_[at, at], np.r_[low, high])
            style = {**style, "label": None}
    return artists


def _bar(row: Mapping[str, Any], plan: Bisection) -> tuple[float, float, float]:
    """Return low, middle and high of an interval, or of an arrow that begins at an end of the range."""
    if row["low"] != "":
        return row["low"], between(row["low"], row["high"], 0.5, log=plan.log), row["high"]
    if row["why"] in UP:
        return plan.high, plan.high, between(plan.low, plan.high, 1.0 + ARROW, log=plan.log)
    return between(plan.low, plan.high, -ARROW, log=plan.log), plan.low, plan.low
