"""The figure of a bisection: the last interval, which contains the threshold, against another dimension.

A bar is the interval, with a mark in its middle, the geometric one if the bisection is logarithmic; an arrow from an
end of the range says that the threshold is beyond it. Bars are not joined: between them there is nothing measured.
[figure] has what `look.py` says of thresholds. A bisection in a space without other dimensions, or with the field that
moves as x, has the figure of any other study.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bnn.studies.axes import line_style, name_axes, place_x
from bnn.studies.figure import Keys, in_panels, in_words
from bnn.studies.level import is_of_losses
from bnn.studies.look import OF_THRESHOLDS, TIMES, look_of, rows_of_figure
from bnn.studies.plans import ABOVE_HIGH, BELOW_LOW, FAILS_AT_LOW, Bisection, between
from bnn.studies.words import NO_NAMES, Names, field_words, label_of, quantity_words, unit_of
from mtjsim.plot_style import TITLE, include, sideways

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from bnn.studies.space import Study

UP, DOWN = (ABOVE_HIGH,), (BELOW_LOW, FAILS_AT_LOW)
ARROW = 0.05  # length, as a share of the range
ACROSS = 11  # characters of a title in an inch


def is_of_thresholds(study: Study) -> bool:
    """Whether the figure of a study shows its thresholds."""
    if study.sampler != "bisection" or not study.dimensions:
        return False
    return study.tables.get("figure", {}).get("x") != study.tables["bisect"]["field"]


def look_of_thresholds(study: Study) -> dict[str, Any]:
    """Return [figure] with what it leaves out; ArgumentError for a wrong one."""
    return look_of(study, [dimension.path for dimension in study.dimensions], [], OF_THRESHOLDS)


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
    given: dict[str, Any] = {name: look.get(name) for name in ("x", "by", "log_x", "even_x", "names")}
    own = in_words(study, rows_of_figure(rows, look))
    figure = in_panels(own, look, lambda ax, each, _, keys: plot_intervals(ax, each, plan=plan, keys=keys, **given))
    bars = [f"bars: brackets in which {_criterion(plan, study.repeats, look['names'])}"]
    bars += ["arrows: beyond the range tried"] * any(row["why"] in (*UP, *DOWN) for row in own)
    between = "; " if sum(map(len, bars)) < ACROSS * figure.get_figwidth() else "\n"
    figure.suptitle(f"{study.title}\n{between.join(bars)}", fontsize=TITLE, wrap=True)
    return figure


def _criterion(plan: Bisection, repeats: int, names: Names) -> str:
    """Return what happens at a threshold."""
    value = quantity_words(plan.value, names)
    if is_of_losses(plan.level):
        lose, share = plan.level["lose"], 100 * plan.level["share"]
        loss = f"{100 * lose:g} point{'s' * (lose != 0.01)}" if unit_of(plan.value)[0] == "%" else f"{lose:g}"
        return f"{share:g} % of {repeats} trainings diverge or lose more than {loss} of {value}"
    level = f"{plan.level:g}" if isinstance(plan.level, (int, float)) else "its level"
    return f"the mean {value} of {repeats} trainings crosses {level}"


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
    keys: Keys | None = None,
    log_x: bool | None = None,
    even_x: bool | None = None,
    names: Names = NO_NAMES,
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
    keys, log_x, even_x, names
        As in `plot_values`.
    """
    keys = list(dict.fromkeys(tuple(row[path] for path in by) for row in rows)) if keys is None else keys
    place, _, apart = place_x(ax, rows, x=x, lines=len(keys), log_x=log_x, even_x=even_x, names=names)
    unit, factor = unit_of(plan.path)
    artists: list[Any] = []
    for number, key in enumerate(keys):
        own = [row for row in rows if tuple(row[path] for path in by) == key and has_thresholds([row])]
        where = np.array([place(row) for row in own], dtype=float)
        moved = sideways(ax, apart * (number - (len(keys) - 1) / 2))
        label = ", ".join(label_of(path, value, names) for path, value in zip(by, key, strict=True))
        style = line_style(number) | {"ls": "none", "transform": moved, "label": label or None}
        bars = factor * np.array([row.get(TIMES, 1.0) * np.array(_bar(row, plan)) for row in own]).reshape(-1, 3)
        artists += _draw(ax, own, where, bars, style)
    if plan.log:
        ax.set_yscale("log")
    if not artists:
        ax.text(0.5, 0.5, "no thresholds", transform=ax.transAxes, ha="center")
    ax.autoscale_view()
    ax.set_ylabel(f"{field_words(plan.path, names)} at the threshold{f' ({unit})' if unit else ''}")
    name_axes(ax, None, None)
    ax.grid(alpha=0.3)
    return artists


def _draw(
    ax: Axes,
    rows: Sequence[Mapping[str, Any]],
    where: NDArray[np.float64],
    bars: NDArray[np.float64],
    style: dict[str, Any],
) -> list[Any]:
    """Draw the intervals of a line, then its arrows; the first of them has the label."""
    artists: list[Any] = []
    for ends in ((), UP, DOWN):
        chosen = [n for n, row in enumerate(rows) if (row["why"] in ends if ends else row["low"] != "")]
        if chosen:
            at, (low, middle, high) = where[chosen], bars[chosen].T
            look = style | {"lolims": ends == UP, "uplims": ends == DOWN}
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
