"""Figures of dies and populations: functions that take axes and data, return the artists, and never draw cells.

matplotlib is imported by the caller, who makes the axes; the rules are in `mtjsim/plot_style.py`.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import ndtr

from bridge.dies.die import FAULTS, Die
from bridge.dies.rate_distribution import MeanRate, RateDistribution
from mtjsim.plot_style import BLACK, BLUE, GREEN, ORANGE, ORDERED, PURPLE, RED, legend_below

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FAULT_STYLE = {  # marker and colour, each enough without the other
    "short": ("s", RED, "short"),
    "open": ("X", BLACK, "open"),
    "stuck_p": ("v", PURPLE, "stuck at 0 (P)"),
    "stuck_ap": ("^", GREEN, "stuck at 1 (AP)"),
    "weak": ("o", ORANGE, "weak"),
}
SHADED = (1.0, 99.0)  # percentiles of the rates at the ends of the shades; beyond them there is an arrow
MARK = 6.0  # size of a mark [points]
CELLS_AS_MARKS = 40  # rows or columns of cells that are about as large as a mark
FEWEST_BINS, MOST_BINS = 10, 60
MOST_MARKS = 2000  # faults of one kind that are still marked one by one


def plot_die(ax: "Axes", die: Die, *, bit: int = 1, colorbar: bool = True) -> list[Any]:
    """Draw the map of a die: error rates as shades, if there are any, and each fault as a mark.

    Parameters
    ----------
    ax : Axes
        To draw on.
    die : Die
        Of any shape: its cells in C order, the last axis to the right, the others one below the other. A die of one
        axis is folded into nearly square rows, as the label says.
    bit : int
        Whose error rates are shaded.
    colorbar : bool
        Whether to add one for the rates.

    Returns
    -------
    list
        The image (if there are rates), then the marks of each kind that is there.
    """
    from matplotlib.colors import LogNorm

    columns = die.shape[-1] if len(die.shape) > 1 else int(np.ceil(np.sqrt(die.size)))
    rows = -(-die.size // columns)
    artists: list[Any] = []
    if die.error_rates is not None:
        shades = np.full(rows * columns, np.nan)
        shades[: die.size] = die.error_rates[bit]
        positive = shades[shades > 0]
        low, high = np.percentile(positive, SHADED) if positive.size else (1e-12, 1.0)
        limits = low, max(high, 1.001 * low)
        image = ax.imshow(
            shades.reshape(rows, columns),
            cmap=ORDERED,
            norm=LogNorm(*limits),
            interpolation="nearest",
            aspect="auto",
        )
        artists.append(image)
        if colorbar:
            ends = bool((shades < limits[0]).any()), bool((shades > limits[1]).any())
            extend: Any = {(True, True): "both", (True, False): "min", (False, True): "max"}.get(ends, "neither")
            ax.figure.colorbar(image, ax=ax, label=f"write error rate of a {bit}", extend=extend)
    for name in FAULTS:
        where = die.where(name)
        if not len(where):
            continue
        marker, colour, label = FAULT_STYLE[name]
        shown = where[:: -(-len(where) // MOST_MARKS)]
        note = "" if len(shown) == len(where) else f", every {-(-len(where) // MOST_MARKS)}th marked"
        artists += ax.plot(
            shown % columns,
            shown // columns,
            marker,
            ls="",
            ms=MARK,
            color=colour,
            mec="white",
            mew=0.5,
            clip_on=False,
            label=f"{label} ({len(where)}{note})",
        )
    ax.set_xlim(-0.5, columns - 0.5)
    ax.set_ylim(rows - 0.5, -0.5)
    ax.set_xlabel("column")
    ax.set_ylabel("row" if len(die.shape) > 1 else f"row (folded every {columns} cells)")
    if any(die.counts.values()):
        title = "faults; the marks are larger than a cell" if max(rows, columns) > CELLS_AS_MARKS else "faults"
        legend_below(ax, ncols=3, title=title)
    return artists


def plot_rate_distribution(
    ax: "Axes",
    distribution: RateDistribution,
    *,
    mean: MeanRate | None = None,
    bins: int | None = None,
    label: str = "cells",
) -> list[Any]:
    """Draw the histogram of cell error rates, the fitted log-normal over it, and the mean rate with its error.

    Parameters
    ----------
    ax : Axes
        To draw on.
    distribution : RateDistribution
        Of one bit.
    mean : MeanRate, optional
        Of the same population: a vertical line, and a band as wide as its error.
    bins : int, optional
        Of the histogram, equal on the logarithmic axis; by default as many as the square root of the number of cells,
        at least 10 and at most 60.
    label : str
        Of the histogram.

    Returns
    -------
    list
        The histogram, the log-normal (if there is a spread), the line and the band of the mean.
    """
    if bins is None:
        bins = int(np.clip(np.sqrt(distribution.log_rates.size), FEWEST_BINS, MOST_BINS))
    edges, density = distribution.histogram(bins)
    artists: list[Any] = [ax.stairs(density, edges, fill=True, color=BLUE, alpha=0.45, label=label)]
    if distribution.sd_log > 0:
        fine = np.linspace(np.log(edges[0]), np.log(edges[-1]), 20 * bins + 1)
        cumulative = ndtr((fine - distribution.mean_log) / distribution.sd_log)
        middle = np.exp((fine[1:] + fine[:-1]) / 2)
        artists += ax.plot(
            middle,
            np.diff(cumulative) / np.diff(fine) * np.log(10),
            color=BLACK,
            label="log-normal of the same mean and spread of the logarithm",
        )
    if mean is not None:
        artists.append(ax.axvline(mean.rate, color=RED, ls="-.", label=f"mean rate {mean.rate:.3g}"))
        artists.append(ax.axvspan(max(mean.rate - mean.error, edges[0]), mean.rate + mean.error, color=RED, alpha=0.2))
    ax.set_xscale("log")
    ax.set_ylim(0, 1.08 * float(density.max()))
    ax.set_xlabel("write error rate of a cell")
    ax.set_ylabel("density of cells (per decade)")
    legend_below(ax, ncols=1)
    return artists
