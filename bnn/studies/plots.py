"""Figures of networks on error-prone memories: functions that take axes and data, and never simulate.

The rules are in `mtjsim/plot_style.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from bnn.studies.curve_point import CLEAN, WITH_ERRORS, CurvePoint, Interval
from mtjsim.plot_style import BLACK, GREEN, PURPLE, RED, SMALL, legend_below, plain_ticks, rate_text, sideways

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ACCURACY_TICKS = (
    *(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 0.8, 0.9),
    *(0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9995, 0.9999),
)
FEWEST_TICKS = 4
APART = 3.0  # points on paper between the two trainings of one operating point
TRAINING_STYLE = {WITH_ERRORS: (GREEN, "o", "trained with the errors"), CLEAN: (PURPLE, "s", "trained without")}


class Curve(Protocol):
    """A curve: `bnn.EnergyAccuracyCurve`."""

    @property
    def error_free(self) -> Interval:
        """Accuracy without errors."""

    @property
    def points(self) -> tuple[CurvePoint, ...]:
        """Two for each operating point."""


def plot_energy_accuracy(
    ax: Axes, curve: Curve, *, marked: CurvePoint | None = None, largest_loss: float | None = None
) -> list[Any]:
    """Draw accuracy against write energy a bit, both trainings with their intervals, the error-free accuracy as a line.

    Parameters
    ----------
    ax : Axes
        To draw on.
    curve : EnergyAccuracyCurve
        Of `bnn.energy_accuracy_curve`.
    marked : CurvePoint, optional
        To circle and name in the legend.
    largest_loss : float, optional
        The loss that `marked` stays below, for its label; a share, not percent.

    Returns
    -------
    list
        The artists.

    Notes
    -----
    The axis of the accuracy reaches from the lowest to the highest value shown. An interval that is longer, since it
    ends at 0 or at 1, which a logit axis does not have, is cut there, with an arrow at the cut.
    """
    limits = accuracy_limits(curve)
    artists: list[Any] = []
    for training, (colour, marker, label) in TRAINING_STYLE.items():
        place = sideways(ax, -APART / 2 if training == WITH_ERRORS else APART / 2)
        for faded in (False, True):
            rows = [p for p in curve.points if p.training == training and p.point.inverts == faded]
            style = {"color": colour, "alpha": 0.35 if faded else 1.0, "transform": place}
            line: dict[str, Any] = {"marker": marker, "ls": "none" if faded else "-", "label": None if faded else label}
            artists += _draw_rows(ax, rows, limits, style, line)
    free = curve.error_free
    artists.append(
        ax.axhline(float(np.clip(free.mean, *limits)), color=BLACK, lw=0.8, ls=":", label="no errors at all")
    )
    band: Any = np.clip([free.low, free.high], *limits)
    artists.append(ax.axhspan(*band, color=BLACK, alpha=0.08, lw=0, label="its 95 % interval"))
    if marked is not None:
        loss = "" if largest_loss is None else f", loss < {100 * largest_loss:g} point{'s' * (largest_loss != 0.01)}"
        ring: dict[str, Any] = {"ms": 13, "mfc": "none", "mec": RED, "mew": 1.6, "zorder": 5}
        at = marked.point.mean_energy * 1e15, float(np.clip(marked.accuracy.mean, *limits))
        artists += ax.plot(*at, "o", label=f"cheapest point{loss}", **ring)
    ax.set_xscale("log")
    artists += _energy_axis(ax, curve)
    ax.set_yscale("logit")
    ax.set_ylim(*limits)
    ticks = accuracy_ticks(*limits)
    ax.set_yticks(ticks, [f"{100 * tick:.4g}" for tick in ticks])
    ax.yaxis.minorticks_off()
    ax.set_ylabel("test accuracy (%), logit scale")
    ax.grid(alpha=0.3)
    legend_below(ax, ncols=2)
    return artists


def accuracy_limits(curve: Curve) -> tuple[float, float]:
    """Return the ends of the accuracy axis: half a unit of log odds beyond the lowest and the highest value shown.

    Values of 0 and 1, which a logit axis does not have, do not count.
    """
    intervals = [curve.error_free, *(point.accuracy for point in curve.points)]
    values = np.array([value for i in intervals for value in (i.low, i.mean, i.high)])
    inside = values[(values > 0.0) & (values < 1.0)]
    odds = np.log(inside / (1.0 - inside)) if inside.size else np.zeros(1)
    low, high = 1.0 / (1.0 + np.exp(0.5 - odds.min())), 1.0 / (1.0 + np.exp(-0.5 - odds.max()))
    return float(low), float(high)


def accuracy_ticks(low: float, high: float) -> list[float]:
    """Return the places of labels between two accuracies: usual ones, or evenly spaced ones if those are too few."""
    usual = [tick for tick in ACCURACY_TICKS if low < tick < high]
    if len(usual) >= FEWEST_TICKS:
        return usual
    from matplotlib.ticker import MaxNLocator  # here: it takes half a second

    return [float(tick) for tick in MaxNLocator(6).tick_values(low, high) if low < tick < high]


def _energy_axis(ax: Axes, curve: Curve) -> list[Any]:
    """Label the energies below, the error rates above; grey where most writes fail."""
    rates: dict[float, set[float]] = {}
    for p in curve.points:
        rates.setdefault(p.point.mean_energy * 1e15, set()).add(p.point.worst_error_rate)
    energies = sorted(rates)
    left, right = 0.85 * energies[0], 1.15 * energies[-1]
    ax.set_xlim(left, right)
    artists: list[Any] = []
    inverted = {p.point.mean_energy * 1e15 for p in curve.points if p.point.inverts}
    if inverted and (rest := set(energies) - inverted):
        edge = (max(inverted) * min(rest)) ** 0.5
        artists.append(ax.axvspan(left, edge, color=BLACK, alpha=0.06, lw=0))
        where: dict[str, Any] = {"transform": ax.get_xaxis_transform(), "ha": "center", "va": "center"}
        text = "most\nwrites fail:\nbits\ninverted"
        artists.append(ax.text((left * edge) ** 0.5, 0.58, text, fontsize=SMALL, **where))
    plain_ticks(ax.xaxis)
    ax.set_xlabel("write energy per bit in the junction (fJ)")
    top = ax.secondary_xaxis("top")
    shown = _far_apart(energies, least=0.07 * np.log(right / left))
    texts = [", ".join(rate_text(p, digits=2 if p >= 0.1 else 1) for p in sorted(rates[x])) for x in shown]
    top.set_xticks(shown, texts, fontsize=SMALL)
    top.minorticks_off()
    top.set_xlabel("write error rate of the worse direction", fontsize=SMALL)
    return artists


def _draw_rows(
    ax: Axes,
    rows: Sequence[CurvePoint],
    limits: tuple[float, float],
    style: dict[str, Any],
    line: dict[str, Any],
) -> list[Any]:
    """Draw points of one training with their intervals; one that is cut at a limit of the axis ends in an arrow."""
    energy = np.array([p.point.mean_energy for p in rows]) * 1e15
    mean, low, high = (
        np.array([getattr(p.accuracy, name) for p in rows], dtype=float) for name in ("mean", "low", "high")
    )
    shown, bottom, top = (np.clip(value, *limits) for value in (mean, low, high))
    bars = np.stack([shown - bottom, top - shown])
    artists: list[Any] = [ax.errorbar(energy, shown, bars, capsize=2, ms=4, lw=1.2, **line, **style)]
    for cut, end, arrow in ((low < limits[0], limits[0], "v"), (high > limits[1], limits[1], "^")):
        if cut.any():
            tips: dict[str, Any] = {**style, "ls": "none", "ms": 5, "clip_on": False, "label": f"_cut at {end:g}"}
            artists += ax.plot(energy[cut], np.full(int(cut.sum()), end), marker=arrow, **tips)
    return artists


def _far_apart(values: Sequence[float], *, least: float) -> list[float]:
    """Choose values whose logarithms differ by `least` or more, so that their labels do not touch."""
    chosen: list[float] = []
    for value in values:
        if not chosen or np.log(value / chosen[-1]) >= least:
            chosen.append(value)
    return chosen
