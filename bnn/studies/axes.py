"""Axes of the figures of a study: where names and numbers are, scales that are said, marks beside each other."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from bnn.studies.plots import accuracy_ticks
from bnn.studies.words import Names, field_words, unit_of, value_words
from mtjsim.plot_style import BLACK, BLUE, GREEN, PURPLE, RED, SMALL

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Place = Callable[[Mapping[str, Any]], float]
LOOKS = tuple(zip((BLACK, RED, BLUE, GREEN, PURPLE, "0.5"), "osD^vP", strict=True))
ROOM = 0.6  # share of the distance between two numbers, or two names, that the marks of all lines take
MOST_APART = {True: 12.0, False: 5.0}  # points on paper between lines of names, of numbers
CHARACTER = 0.068  # width of one of a small label [in]
HANDLE = 0.6  # width of a mark in a legend, with the space around it [in]
SCALES = {"log": ", log scale", "symlog": ", log scale with 0", "logit": ", logit scale"}


def line_style(number: int) -> dict[str, Any]:
    """Return colour, marker and sizes of a line with intervals; after six lines the marks are hollow."""
    colour, marker = LOOKS[number % len(LOOKS)]
    style: dict[str, Any] = {"color": colour, "marker": marker, "ms": 4.5, "lw": 1.2, "capsize": 2.5}
    return style | ({"mfc": "none"} if number // len(LOOKS) % 2 else {})


def place_x(
    ax: Axes,
    rows: Sequence[Mapping[str, Any]],
    *,
    x: str,
    lines: int,
    log_x: bool | None,
    even_x: bool | None,
    names: Names,
) -> tuple[Place, bool, float]:
    """Make the x axis one of names, at 0, 1, 2 ..., or of numbers.

    Returns
    -------
    place : function of a row
    named : bool
        Whether it is one of names.
    apart : float
        Distance of the marks of two of so many `lines`, which then stay nearer to their own number than to another
        [points on paper].
    """
    values = list(dict.fromkeys(row[x] for row in rows))
    unit, factor = unit_of(x)
    words = field_words(x, names)
    named = bool(even_x) or any(isinstance(value, (str, bool)) for value in values)
    if named:
        _name_ticks(ax, [value_words(x, value, names) for value in values])
        numbers: Any = np.arange(len(values))
        ax.set_xlabel("" if any("\n" in str(value) for value in values) else words)
    else:
        numbers = factor * np.array(values, dtype=float)
        _scale_x(ax, numbers, log_x)
        ax.set_xlabel(f"{words} ({unit})" if unit else words)
    apart = min(MOST_APART[named], ROOM * _gap(ax, numbers) / lines)
    return (lambda row: numbers[values.index(row[x])]), named, apart


def _name_ticks(ax: Axes, names: Sequence[str]) -> None:
    most = max(6, int(_width(ax) / CHARACTER / (len(names) + 0.2)) - 1)  # characters of a line
    lines = [
        "\n".join(part for line in name.split("\n") for part in textwrap.wrap(line, most, break_long_words=False))
        for name in names
    ]
    ax.set_xticks(range(len(names)), lines, fontsize=SMALL)
    ax.set_xlim(-0.6, len(names) - 0.4)


def _scale_x(ax: Axes, numbers: Sequence[float], log_x: bool | None) -> None:
    """Make the x axis logarithmic if `log_x`; None: if the numbers span more than a factor of 20."""
    positive = [number for number in numbers if number > 0]
    wide = len(positive) == len(numbers) and max(numbers) > 20 * min(numbers)
    if (wide if log_x is None else log_x) and positive:
        zero = {} if len(positive) == len(numbers) else {"linthresh": min(positive), "linscale": 0.5}
        ax.set_xscale("symlog" if zero else "log", **zero)


def _gap(ax: Axes, numbers: Sequence[float]) -> float:
    """Return the least distance of two numbers on paper [points]."""
    places = np.unique(ax.xaxis.get_transform().transform(np.asarray(numbers, dtype=float)))
    if len(places) < 2:
        return 72.0 * _width(ax) / 2
    return float(72.0 * _width(ax) * np.diff(places).min() / (1.2 * np.ptp(places)))


def _width(ax: Axes) -> float:
    """Return about how wide axes will be; their layout is not known yet [in]."""
    place = ax.get_subplotspec()
    columns = place.get_gridspec().ncols if place is not None else 1
    return float(0.88 * ax.figure.get_figwidth() / columns)  # type: ignore[union-attr]


def name_y(ax: Axes, words: str, unit: str, scale: str) -> None:
    """Scale the y axis of data that were drawn, "linear", "from_zero", "log" or "logit", and name it.

    Joules have their prefix in the labels of the ticks.
    """
    if scale == "log":
        ax.set_yscale("log")
    elif scale == "logit":
        _logit_axis(ax)
    ax.autoscale_view()
    if scale == "from_zero":
        ax.set_ylim(0.0, 1.08 * ax.dataLim.y1)
    if unit == "J":
        from matplotlib.ticker import EngFormatter

        ax.yaxis.set_major_formatter(EngFormatter(unit="J"))
    ax.set_ylabel(words if unit in ("", "J") else f"{words} ({unit})")


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


def name_axes(ax: Axes, x_label: str | None, y_label: str | None) -> None:
    """Give axes labels, None: those that they have; the scale of an axis that is not linear is added."""
    for axis, label in ((ax.xaxis, x_label), (ax.yaxis, y_label)):
        scale = SCALES.get(axis.get_scale(), "")
        shown = (axis.get_label_text() if label is None else label).removesuffix(scale)
        axis.set_label_text(f"{shown}{scale}" if shown else "")


def shared_legend(figure: Figure, title: str | None, *, single: bool) -> None:
    """Put a legend of all lines below a figure; of one line only if `single`."""
    from matplotlib.lines import Line2D

    handles: dict[str, Any] = {}
    for ax in figure.axes:
        handles |= {text: handle for handle, text in zip(*ax.get_legend_handles_labels(), strict=True)}
    handles = dict(sorted(handles.items(), key=lambda item: isinstance(item[1], Line2D)))  # crosses last
    if not handles or (len(handles) == 1 and not single):
        return
    columns = _columns(list(map(len, handles)), figure.get_figwidth() - 0.3)
    style: dict[str, Any] = {"frameon": False, "fontsize": SMALL, "title": title, "title_fontsize": SMALL}
    figure.legend(list(handles.values()), list(handles), loc="outside lower center", ncols=columns, **style)


def _columns(lengths: Sequence[int], width: float) -> int:
    """Return the most columns of a legend, filled one after another, that a width has room for [in]."""
    for columns in range(len(lengths), 1, -1):
        rows = -(-len(lengths) // columns)
        parts = [lengths[start : start + rows] for start in range(0, len(lengths), rows)]
        if len(parts) == columns and sum(CHARACTER * max(part) + HANDLE for part in parts) <= width:
            return columns
    return 1


def draw_crosses(ax: Axes, where: Sequence[float], *, aside: float, colour: str) -> Any:
    """Draw points without a value as crosses at the lower end of the axes, moved by points on paper."""
    from matplotlib.transforms import ScaledTranslation

    moved = ax.get_xaxis_transform() + ScaledTranslation(aside / 72.0, 0.0, ax.figure.dpi_scale_trans)
    (crosses,) = ax.plot(where, [0.03] * len(where), "x", color=colour, ms=6, mew=1.6, transform=moved, label="_none")
    return crosses
