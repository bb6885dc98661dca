"""Figure of a fit to write counts: the counts over the curves of the fitted junction."""

from typing import TYPE_CHECKING, Any

import numpy as np

from mtjsim.calibration.curves import FittedCurve
from mtjsim.calibration.report import Calibration
from mtjsim.checks import DIRECTIONS, checked_kind
from mtjsim.counts import ErrorCount
from mtjsim.plot_style import (
    BLACK,
    BOTH,
    DIRECTION_STYLE,
    alike,
    direction_line,
    legend_beside,
    ordered_colours,
    plain_ticks,
)
from mtjsim.plots import plot_error_counts

if TYPE_CHECKING:
    from matplotlib.axes import Axes

AXES = {
    "current": (1e6, "write current (µA)"),
    "voltage": (1e3, "write voltage (mV)"),
    "pulse_width": (1e9, "pulse width (ns)"),
}
UNITS = {"current": "A", "voltage": "V", "pulse_width": "s", "temperature": "K", "rise_time": "s", "relax_time": "s"}
AFTER = {"rise_time": " ramps", "relax_time": " of relaxation"}  # the quantity in a legend
LOGARITHMIC = 5.0  # largest over smallest pulse width from which their axis is logarithmic
APART = 5.0  # points on paper between the counts of two directions, and between upper bounds
WIDEST = 40.0  # points on paper over which the upper bounds of many curves are spread


def plot_calibration(calibration: Calibration, ax: "Axes | None" = None) -> list[Any]:
    """Draw the counts of a fit with exact binomial intervals over the fitted curves with their bands.

    Parameters
    ----------
    calibration : Calibration
        Result of `calibrate`; its `curves` are drawn, which are computed on their first use.
    ax : Axes, optional
        To draw on; by default those of a new figure of pyplot.

    Returns
    -------
    list
        For each curve its band, its line and the artists of its counts; then the legend, beside the axes. A curve that
        is the same in both directions is drawn once.

    Raises
    ------
    ValueError
        If `calibration` is not a Calibration.

    Notes
    -----
    The curves run against the amplitude or the pulse width, whichever has more different values in the table. What else
    differs is the colour; the direction is the width of the line, and the colour if nothing else differs. Counts of a 1
    are open marks, those of a 0 full ones, moved apart on paper. Bands are those of `Calibration.predict`, at its
    confidence: of the rate, not of further counts. A row without errors is an upper bound, a triangle that points down.
    The axis reaches down to the lowest end of the intervals.
    """
    checked_kind("calibration", calibration, Calibration, remedy="calibrate(counts) returns one.")
    found, counts = calibration.curves, calibration.counts
    if ax is None:
        from matplotlib import pyplot

        ax = pyplot.figure(figsize=(7.2, 4.2), layout="constrained").add_subplot()
    scale, x_label = AXES[found.axis]
    groups: dict[tuple[Any, ...], dict[str, FittedCurve]] = {}
    for curve in found.curves:
        groups.setdefault(tuple(curve.settings[n] for n in found.varied), {})[curve.settings["direction"]] = curve
    groups = dict(sorted(groups.items()))
    directions: list[str] = [d for d in DIRECTIONS if any(d in group for group in groups.values())]
    equal = len(directions) == 2 and all(_both_alike(group) for group in groups.values())
    few = ordered_colours(len(groups)) if len(groups) > 1 else None
    values = np.asarray(getattr(counts, found.axis)) * scale
    step = min(APART, WIDEST / len(found.curves))
    artists: list[Any] = []
    number = -(len(found.curves) - 1) / 2
    lowest = 1.0
    for k, group in enumerate(groups.values()):
        for direction, curve in group.items():
            style = direction_line(direction, alone=len(directions) == 1)
            style |= {"color": few[k]} if few else {"color": BLACK} if equal else {}
            if not equal or direction == directions[-1]:
                band: dict[str, Any] = {"color": style["color"], "alpha": 0.2, "lw": 0}
                artists.append(ax.fill_between(curve.x * scale, curve.low, curve.high, **band))
                artists += ax.plot(curve.x * scale, curve.rate, **style)
            measured = _counts(calibration, curve)
            some = np.array([count.errors > 0 for count in measured])
            marks: dict[str, Any] = {
                "color": few[k] if few else DIRECTION_STYLE[direction][0],
                "filled": direction == "ap_to_p",
            }
            beside = APART * (directions.index(direction) - (len(directions) - 1) / 2)
            for chosen, shift in ((some, beside), (~some, step * number)):
                if chosen.any():
                    drawn = [count for count, wanted in zip(measured, chosen, strict=True) if wanted]
                    artists += plot_error_counts(ax, values[curve.rows][chosen], drawn, shift=shift, **marks)
            number += 1
            lowest = min(lowest, *(c.low if c.errors else c.high for c in measured))
    ax.set_yscale("log")
    ax.set_ylim(lowest / 1.5, 1.5)
    if found.axis == "pulse_width" and values.max() > LOGARITHMIC * values.min():
        ax.set_xscale("log")
        plain_ticks(ax.xaxis)
    ax.set_xlabel(x_label)
    ax.set_ylabel("write error rate")
    ax.grid(alpha=0.3)
    names = [", ".join(_shown(*pair) for pair in zip(found.varied, key, strict=True)) for key in groups]
    artists.append(_legend(ax, calibration, dict(zip(names, few or (), strict=bool(few))), directions, equal))
    return artists


def _both_alike(group: dict[str, FittedCurve]) -> bool:
    """Whether a group has both directions, and one curve for them."""
    if len(group) < 2:
        return False
    one, other = group.values()
    return np.array_equal(one.x, other.x) and alike(one.rate, other.rate)


def _counts(calibration: Calibration, curve: FittedCurve) -> list[ErrorCount]:
    table = calibration.counts
    errors, trials = (np.asarray(column)[curve.rows].tolist() for column in (table.errors, table.trials))
    return [ErrorCount(k, n, confidence=calibration.confidence) for k, n in zip(errors, trials, strict=True)]


def _shown(name: str, value: float) -> str:
    from matplotlib.ticker import EngFormatter

    return EngFormatter(UNITS[name])(float(f"{value:.3g}")) + AFTER.get(name, "")


def _legend(ax: "Axes", calibration: Calibration, few: dict[str, Any], directions: list[str], equal: bool) -> Any:
    """Colours, lines, then what the other artists mean, to the right of the axes."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    share = f"{100 * calibration.confidence:g} %"
    handles: list[Any] = [Line2D([], [], color=colour, lw=2, label=name) for name, colour in few.items()]
    for direction in directions[-1:] if equal else directions:
        style = direction_line(direction, alone=len(directions) == 1) | (
            {"color": BLACK, "alpha": 1.0} if few or equal else {}
        )
        handles.append(Line2D([], [], **style | ({"label": f"{BOTH}, fitted"} if equal else {})))
    handles.append(Patch(color="0.4", alpha=0.2, lw=0, label=f"{share} interval of the fit"))
    for direction in directions:
        colour, _, label = DIRECTION_STYLE[direction]
        look: dict[str, Any] = {"color": "0.3" if few else colour, "marker": "o", "ms": 5, "lw": 1}
        look |= {} if direction == "ap_to_p" else {"mfc": "none"}
        handles.append(Line2D([], [], label=f"{label}, counted, {share}", **look))
    if (np.asarray(calibration.counts.errors) == 0).any():
        handles.append(Line2D([], [], marker="v", lw=0, color="0.3", mfc="none", label="no errors: upper bound"))
    return legend_beside(ax, handles)
