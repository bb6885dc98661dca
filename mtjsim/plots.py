"""Figures of a junction: functions that take axes and data, return the artists, and never simulate.

matplotlib is imported by the caller, who makes the axes. The rules are in `plot_style.py`. The magnetisation in time is
drawn by `motion_plots.py`.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from mtjsim.checks import ArgumentError
from mtjsim.counts import ErrorCount
from mtjsim.plot_style import (
    BLACK,
    BLUE,
    DIRECTION_STYLE,
    DISCRETE,
    DRIVE_LABEL,
    GREEN,
    ORANGE,
    ORDERED,
    PURPLE,
    RED,
    SMALL,
    direction_line,
    include,
    label_contours,
    legend_below,
    legend_beside,
    log_rate_axis,
    ordered_colours,
    plain_ticks,
    rate_bar,
    rate_text,
    sideways,
    smooth,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [  # with the rules of `plot_style` that a figure of your own may use
    "BLACK",
    "BLUE",
    "DIRECTION_STYLE",
    "DISCRETE",
    "DRIVE_LABEL",
    "GREEN",
    "ORANGE",
    "PURPLE",
    "RED",
    "direction_line",
    "legend_below",
    "legend_beside",
    "ordered_colours",
    "plain_ticks",
    "plot_error_counts",
    "plot_error_map",
    "plot_holding",
    "plot_switching_probability",
    "plot_write_error_rate",
    "rate_text",
    "sideways",
]


# ---- error rates -----------------------------------------------------------------------------------------------------


def plot_write_error_rate(
    ax: "Axes",
    x: ArrayLike,
    rates: Mapping[str, ArrayLike],
    *,
    x_label: str,
    floor: float = 1e-12,
    counted: Mapping[str, tuple[ArrayLike, Sequence[ErrorCount]]] | None = None,
    extrapolated: Mapping[str, tuple[ArrayLike, ArrayLike]] | None = None,
) -> list[Any]:
    """Draw write error rates of one or both directions on a logarithmic axis, against current, voltage or width.

    Parameters
    ----------
    ax : Axes
        To draw on.
    x : (n,) array
        Already in the unit that `x_label` names.
    rates : dict of (n,) arrays
        By direction, "p_to_ap" or "ap_to_p".
    x_label : str
        With the unit.
    floor : float
        Lowest rate shown.
    counted : dict of (x, counts), optional
        Error counts by direction, drawn over the curves as by `plot_error_counts`.
    extrapolated : dict of (x, rates), optional
        By direction: extrapolated rates, dashed.

    Returns
    -------
    list
        The lines of the rates, then those of the extrapolations, then the artists of the counts.
    """
    x = np.asarray(x, dtype=float)
    artists: list[Any] = []
    dots = {"marker": "o", "ms": 3} if x.size < DISCRETE else {}
    for direction, rate in rates.items():
        style: dict[str, Any] = {**direction_line(direction, alone=len(rates) == 1), **dots}
        artists += ax.plot(x, np.asarray(rate), **style)
    for direction, (where, rate) in (extrapolated or {}).items():
        colour, _, label = DIRECTION_STYLE[direction]
        artists += ax.plot(np.asarray(where), np.asarray(rate), "--", color=colour, label=f"{label}, extrapolated")
    together = len(counted or {}) > 1
    for direction, (where, counts) in (counted or {}).items():
        colour, _, label = DIRECTION_STYLE[direction]
        shift = 2.5 * _side(direction) if together else 0.0
        artists += plot_error_counts(ax, where, counts, color=colour, label=f"{label}, counted", shift=shift)
    log_rate_axis(ax, floor)
    ax.set_xlabel(x_label)
    ax.set_ylabel("write error rate")
    ax.legend(frameon=False)
    return artists


def plot_error_counts(
    ax: "Axes",
    x: ArrayLike,
    counts: Sequence[ErrorCount],
    *,
    color: str = BLACK,
    label: str | None = None,
    shift: float = 0.0,
    filled: bool = False,
) -> list[Any]:
    """Draw counted rates with their exact binomial intervals; no errors at all as an upper bound, a triangle down.

    Parameters
    ----------
    ax : Axes
        To draw on.
    x : (n,) array
        In the unit of the axis.
    counts : sequence of n ErrorCount
        Their `confidence` is the interval's.
    color : str
        Of all of it.
    label : str, optional
        For the legend.
    shift : float
        Points to the right on paper, so that the marks of two series at one place are seen.
    filled : bool
        Full marks, not open ones, for a second series of one colour.

    Returns
    -------
    list
        The error bars of the counts with errors, the triangles of those without; either is left out if there is none.
    """
    x = np.asarray(x, dtype=float)
    if x.shape != (len(counts),):
        raise ArgumentError("x", f"must have one value for each count, got shape {x.shape} for {len(counts)} counts.")
    some = np.array([count.errors > 0 for count in counts], dtype=bool)
    rate, low, high = (np.array([getattr(count, name) for count in counts]) for name in ("rate", "low", "high"))
    artists: list[Any] = []
    place = sideways(ax, shift)
    face = color if filled else "none"
    if some.any():
        bars = np.stack([rate - low, high - rate])[:, some]
        style: dict[str, Any] = {"fmt": "o", "mfc": face, "ms": 5, "capsize": 2, "lw": 1, "color": color}
        artists.append(ax.errorbar(x[some], rate[some], bars, label=label, transform=place, **style))
    include(ax, x, np.where(some, rate, high))
    if not some.all():
        bound = None if label is None else f"{label}, no error: upper bound"
        marks: dict[str, Any] = {"mfc": face, "ms": 6, "color": color, "transform": place}
        artists += ax.plot(x[~some], high[~some], "v", label=bound, **marks)
    return artists


def plot_error_map(
    ax: "Axes",
    currents: ArrayLike,
    pulse_widths: ArrayLike,
    rates: ArrayLike,
    *,
    levels: Sequence[float] = (1e-9, 1e-6, 1e-3, 1e-2, 1e-1, 0.5),
    drive: str = "current",
    colorbar: bool = True,
) -> list[Any]:
    """Draw a write error rate over current and pulse width, with labelled contours.

    Parameters
    ----------
    ax : Axes
        To draw on.
    currents : (n,) array
        [A], or [V] if `drive` is "voltage".
    pulse_widths : (m,) array
        [s].
    rates : (n, m) array
        Write error rates; shown down to the lowest level.
    levels : sequence of float
        Contours, rising; those that the map does not reach are left out.
    drive : {"current", "voltage"}
        Quantity of the first axis.
    colorbar : bool
        Whether to add one; without it, for several maps, `plot_style.rate_bar` does.

    Returns
    -------
    list
        The mesh, the contours (left out where the map reaches none) and the colour bar.
    """
    scale, label = DRIVE_LABEL[drive]
    I, t = np.asarray(currents) * scale, np.asarray(pulse_widths) * 1e9
    low = np.log10(levels[0]) - 1
    depth = np.log10(np.maximum(np.asarray(rates), 1e-300)).T
    mesh = ax.pcolormesh(I, t, depth, cmap=ORDERED, shading="gouraud", vmin=low, vmax=0.0)
    reached = [level for level in levels if depth.min() < np.log10(level) < depth.max()]
    artists: list[Any] = [mesh]
    if reached:  # no contour at all would be a warning
        inks = ["white" if level < 1e-4 else BLACK for level in reached]  # on dark ground and on bright
        where = np.log10(reached)
        fine = smooth(I, t, depth)
        contours = ax.contour(*fine, levels=where, colors=inks, linewidths=0.8, linestyles="solid")
        label_contours(ax, contours, lambda value: rate_text(10**value))
        artists.append(contours)
    ax.set_xlabel(label)
    ax.set_ylabel("pulse width (ns)")
    return [*artists, rate_bar(ax, mesh, lowest=float(depth.min()))] if colorbar else artists


def plot_switching_probability(
    ax: "Axes",
    x: ArrayLike,
    probabilities: Mapping[str, ArrayLike],
    *,
    x_label: str,
    counted: Mapping[str, tuple[ArrayLike, Sequence[ErrorCount]]] | None = None,
    label: str = "",
) -> list[Any]:
    """Draw the S-curves of both directions on one signed axis: I > 0 favours P, so AP->P is right and P->AP left.

    Parameters
    ----------
    ax : Axes
        To draw on.
    x : (n,) array
        Amplitudes >= 0, already in the unit that `x_label` names; the sign is put here.
    probabilities : dict of (n,) arrays
        Switching probability by direction, "p_to_ap" or "ap_to_p".
    x_label : str
        With the unit.
    counted : dict of (x, counts), optional
        By direction: amplitudes and counts of the writes that *failed* out of all, drawn as switched with intervals.
    label : str
        Written after the direction in the legend, such as the pulse width.

    Returns
    -------
    list
        The lines, then the error bars of the counts.
    """
    x = np.asarray(x, dtype=float)
    artists: list[Any] = []
    for direction, probability in probabilities.items():
        line = direction_line(direction, alone=True)  # each has its side
        line["label"] = f"{line['label']} {label}".strip()
        artists += ax.plot(_side(direction) * x, np.asarray(probability), **line)
    for direction, (where, counts) in (counted or {}).items():
        switched = [ErrorCount(c.trials - c.errors, c.trials, confidence=c.confidence) for c in counts]
        rate, low, high = (np.array([getattr(c, name) for c in switched]) for name in ("rate", "low", "high"))
        style: dict[str, Any] = {"fmt": "o", "mfc": "none", "ms": 4, "capsize": 2, "lw": 1}
        bars = np.stack([rate - low, high - rate])
        signed = _side(direction) * np.asarray(where, dtype=float)
        artists.append(ax.errorbar(signed, rate, bars, color=DIRECTION_STYLE[direction][0], **style))
    ax.axvline(0.0, color=BLACK, lw=0.6)
    ax.set_ylim(-0.02, 1.02)
    ax.set_xlabel(f"{x_label}, > 0 favours P")
    ax.set_ylabel("switching probability")
    ax.grid(alpha=0.3)
    ax.legend(frameon=False)
    return artists


def plot_holding(
    ax: "Axes",
    x: ArrayLike,
    failures: Mapping[str, ArrayLike],
    *,
    x_label: str,
    floor: float = 1e-30,
    log_x: bool = True,
    marks: Mapping[str, float] | None = None,
    colours: Mapping[str, Any] | None = None,
    dashes: Mapping[str, str] | None = None,
) -> list[Any]:
    """Draw how often a held bit is lost: retention against time, read disturb against time or current.

    Parameters
    ----------
    ax : Axes
        To draw on.
    x : (n,) array
        Already in the unit that `x_label` names.
    failures : dict of (n,) arrays
        Probability to have flipped, by the text of the legend.
    x_label : str
        With the unit.
    floor : float
        Lowest probability shown.
    log_x : bool
        For times yes, for currents no.
    marks : dict of float, optional
        Places on the x axis to mark, by name, such as ten years.
    colours, dashes : dict, optional
        By the text of the legend; those that are left out are solid, from dark to bright.

    Returns
    -------
    list
        The lines, then those of the marks.
    """
    artists: list[Any] = []
    for (label, failure), colour in zip(failures.items(), ordered_colours(len(failures)), strict=True):
        style = {"color": (colours or {}).get(label, colour), "ls": (dashes or {}).get(label, "-")}
        artists += ax.plot(np.asarray(x), np.asarray(failure), label=label, **style)
    for name, place in (marks or {}).items():
        artists.append(ax.axvline(place, color=BLACK, lw=0.8, ls=":"))
        where: dict[str, Any] = {"xycoords": ax.get_xaxis_transform(), "textcoords": "offset points"}
        beside: dict[str, Any] = {"rotation": 90, "va": "bottom", "ha": "right", "fontsize": SMALL}
        ax.annotate(name, (place, 0.02), xytext=(-3, 0), **where, **beside)
    if log_x:
        ax.set_xscale("log")
    log_rate_axis(ax, floor)
    ax.set_xlabel(x_label)
    ax.set_ylabel("probability that the bit has flipped")
    ax.legend(frameon=False)
    return artists


# ---- parts -----------------------------------------------------------------------------------------------------------


def _side(direction: str) -> float:
    """Sign of the current that drives a direction."""
    return 1.0 if direction == "ap_to_p" else -1.0
