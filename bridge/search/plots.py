"""Figures of cells and of trade-offs: functions that take axes and data, return the artists, and never solve.

The rules are in `mtjsim/plot_style.py`.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from bridge.search.frontier import FIGURES, pareto
from bridge.write import DIRECTION_OF_BIT, OperatingPoint
from mtjsim.plot_style import (
    BLACK,
    DIRECTION_STYLE,
    GREEN,
    PURPLE,
    STATE_DASH,
    direction_line,
    ordered_colours,
    plain_ticks,
    rate_text,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

AXES = {
    "energy": (1e15, "mean energy in the junction (fJ)"),
    "energy_with_driver": (1e15, "mean energy with transistor and driver (fJ)"),
    "latency": (1e9, "latency (ns)"),
    "error_rate": (1.0, "write error rate, worse direction"),
}
PART_STYLE = {"junction": (GREEN, ""), "transistor": (PURPLE, "//"), "driver": ("#999999", "..")}


def plot_trade_off(
    ax: "Axes", points: Sequence[OperatingPoint], *, x: str = "latency", y: str = "energy", front: bool = True
) -> list[Any]:
    """Draw operating points in two figures, a line for each error rate; the Pareto front is ringed.

    Parameters
    ----------
    ax : Axes
        To draw on; both axes become logarithmic.
    points : sequence of OperatingPoint
        Such as `trade_off` returns: points of one target have one error rate (to 1 %).
    x, y : {"energy", "energy_with_driver", "latency", "error_rate"}
        The two figures.
    front : bool
        Ring the Pareto front of x, y and the error rate.

    Returns
    -------
    list
        A line for each error rate, then the rings, if `front`.
    """
    (x_scale, x_label), (y_scale, y_label) = AXES[x], AXES[y]

    def place(some: Sequence[OperatingPoint]) -> tuple[np.ndarray, np.ndarray]:
        a, b = (np.array([FIGURES[name](point) for point in some]) for name in (x, y))
        return a * x_scale, b * y_scale

    targets: dict[str, list[OperatingPoint]] = {}
    for point in sorted(points, key=lambda point: (-point.worst_error_rate, FIGURES[x](point))):
        targets.setdefault(f"{point.worst_error_rate:.1e}", []).append(point)
    colours = ordered_colours(len(targets))
    artists: list[Any] = []
    for (rate, some), colour in zip(targets.items(), colours, strict=True):
        artists += ax.plot(*place(some), "-o", ms=3, color=colour, label=rate_text(float(rate)))
    if front:
        best = pareto(points, tuple(dict.fromkeys((x, y, "error_rate"))))
        artists += ax.plot(*place(best), "o", ms=7, mfc="none", mec=BLACK, mew=0.7, label="Pareto front")
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlabel(x_label)
    ax.set_ylabel(y_label)
    for axis, name in ((ax.xaxis, x), (ax.yaxis, y)):
        if name != "error_rate":
            plain_ticks(axis)
    ax.legend(frameon=False, title="write error rate", fontsize="small")
    return artists


def plot_cell_currents(
    ax: "Axes", voltages: ArrayLike, currents: Mapping[tuple[int, str], ArrayLike], *, critical: Mapping[int, float]
) -> list[Any]:
    """Draw the current that reaches the junction against the supply, for each bit and state.

    Parameters
    ----------
    ax : Axes
        To draw on.
    voltages : (n,) array
        Of the supply [V].
    currents : dict of (bit, "p" or "ap") to (n,) array
        [A]: `cell.current(bit, voltage=, m_z=1 or -1)`.
    critical : dict of bit to float
        Critical currents of the junction [A], drawn as thin lines.

    Returns
    -------
    list
        The lines of the currents, then those of the critical currents.
    """
    artists: list[Any] = []
    for (bit, state), current in currents.items():
        label = DIRECTION_STYLE[DIRECTION_OF_BIT[bit]][2]
        text = f"{label}, layer in {state.upper()}"
        style = {**direction_line(DIRECTION_OF_BIT[bit]), "ls": STATE_DASH[state], "label": text, "alpha": 1.0}
        artists += ax.plot(voltages, np.asarray(current) * 1e6, **style)
    same = len({round(I * 1e9) for I in critical.values()}) == 1
    for bit, I in critical.items():
        if same and bit != min(critical):
            continue
        colour = BLACK if same else DIRECTION_STYLE[DIRECTION_OF_BIT[bit]][0]
        artists.append(ax.axhline(I * 1e6, color=colour, lw=0.8, ls=":", label="critical current"))
    ax.set_xlabel("supply voltage (V)")
    ax.set_ylabel("current through the junction (µA)")
    ax.set_ylim(bottom=0)
    ax.legend(frameon=False, fontsize="small")
    return artists


def plot_area(ax: "Axes", error_rates: ArrayLike, areas: Mapping[str, ArrayLike]) -> list[Any]:
    """Draw the area of the smallest cell [F^2] against its target error rate, one line for each label; the lines."""
    artists: list[Any] = []
    for (label, area), colour, mark in zip(
        areas.items(), ordered_colours(len(areas)), "os^vDP" * len(areas), strict=False
    ):
        artists += ax.plot(error_rates, np.asarray(area), f"-{mark}", ms=4, color=colour, label=label)
    ax.set_xscale("log")
    ax.set_xlabel("write error rate")
    ax.set_ylabel("cell area (F²)")
    ax.set_ylim(bottom=0)
    ax.legend(frameon=False, fontsize="small")
    return artists


def plot_energy_parts(ax: "Axes", points: Mapping[str, OperatingPoint]) -> list[Any]:
    """Draw mean joules of operating points, stacked by part, a bar for each label; the bars."""
    artists: list[Any] = []
    base = np.zeros(len(points))
    for part, (colour, hatch) in PART_STYLE.items():
        height = np.array([point.energies[part][:, 0].mean() for point in points.values()]) * 1e15
        artists.append(ax.bar(list(points), height, bottom=base, color=colour, hatch=hatch, label=part, ec="white"))
        base = base + height
    ax.set_ylabel("mean energy of a write (fJ)")
    ax.legend(frameon=False)
    return artists
