"""Figures of networks on error-prone memories: functions that take axes and data, and never simulate."""

import io
from typing import TYPE_CHECKING, Any

import numpy as np

from bnn.studies.curve import CLEAN, WITH_ERRORS, CurvePoint, EnergyAccuracyCurve
from mtjsim.plots import BLACK, GREEN, PURPLE, RED

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

HIGHEST = 0.998  # end of the accuracy axis, which has a logit scale
ACCURACY_TICKS = (0.1, 0.2, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995)
TRAINING_STYLE = {WITH_ERRORS: (GREEN, "o", "trained with the errors"), CLEAN: (PURPLE, "s", "trained without")}


def plot_energy_accuracy(
    ax: "Axes", curve: EnergyAccuracyCurve, *, marked: CurvePoint | None = None, largest_loss: float | None = None
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
    """
    artists: list[Any] = []
    for training, (colour, marker, label) in TRAINING_STYLE.items():
        for faded in (False, True):
            rows = [p for p in curve.points if p.training == training and p.point.inverts == faded]
            artists.append(_draw_rows(ax, rows, marker, colour, label, faded=faded))
    free = curve.error_free
    artists.append(ax.axhline(free.mean, color=BLACK, lw=0.8, ls=":", label="no errors at all"))
    artists.append(ax.axhspan(free.low, min(free.high, HIGHEST), color=BLACK, alpha=0.08, lw=0))
    if marked is not None:
        name = "cheapest point" if largest_loss is None else f"cheapest, loss < {100 * largest_loss:g} point"
        ring: dict[str, Any] = {"ms": 13, "mfc": "none", "mec": RED, "mew": 1.6, "zorder": 5}
        artists += ax.plot([marked.point.mean_energy * 1e15], [marked.accuracy.mean], "o", label=name, **ring)
    energies = {p.point.mean_energy * 1e15: p.point.worst_error_rate for p in curve.points}
    inverted = [p.point.mean_energy * 1e15 for p in curve.points if p.point.inverts]
    ax.set_xscale("log")
    left, right = 0.85 * min(energies), 1.1 * max(energies)
    ax.set_xlim(left, right)
    if 0 < len(inverted) < len(energies):
        edge = (max(inverted) * min(set(energies) - set(inverted))) ** 0.5
        artists.append(ax.axvspan(left, edge, color=BLACK, alpha=0.06, lw=0))
        where: dict[str, Any] = {"transform": ax.get_xaxis_transform(), "ha": "center", "va": "center", "fontsize": 8}
        artists.append(ax.text((left * edge) ** 0.5, 0.35, "most\nwrites fail:\nbits\ninverted", **where))
    ax.set_yscale("logit")
    ax.set_ylim(0.08, HIGHEST)
    ax.set_yticks(ACCURACY_TICKS, [f"{100 * tick:g}" for tick in ACCURACY_TICKS])
    ticks = _round_ticks(left, right)
    ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.minorticks_off()
    top = ax.secondary_xaxis("top")
    some = sorted(energies)[::2]
    top.set_xticks(some, [_rate_label(energies[energy]) for energy in some], fontsize=8)
    top.minorticks_off()
    top.set_xlabel("write error rate of the worse direction", fontsize=8)
    ax.set_xlabel("write energy per bit in the junction (fJ)")
    ax.set_ylabel("test accuracy (%), logit scale")
    ax.grid(alpha=0.3)
    ax.legend(frameon=False, loc="lower right")
    return artists


def _draw_rows(ax: "Axes", rows: list[CurvePoint], marker: str, colour: str, label: str, *, faded: bool) -> Any:
    """Draw one training's points with their intervals; those whose bits are inverted are faded and not connected."""
    energy = np.array([p.point.mean_energy for p in rows]) * 1e15
    mean = np.array([p.accuracy.mean for p in rows])
    low = np.array([p.accuracy.low for p in rows])
    high = np.array([p.accuracy.high for p in rows])
    bars = np.clip(np.stack([mean - low, np.minimum(high, HIGHEST) - mean]), 0, None)
    line = "none" if faded else "-"
    style: dict[str, Any] = {"color": colour, "capsize": 2, "ms": 4, "lw": 1.2, "alpha": 0.35 if faded else 1.0}
    return ax.errorbar(energy, mean, bars, marker=marker, ls=line, label=None if faded else label, **style)


def _rate_label(rate: float) -> str:
    """Return a rate as text: in per cent, or as a power of ten if it is small."""
    return f"{100 * rate:.0f} %" if rate > 0.005 else f"{rate:.0e}".replace("e-0", "e-")


def _round_ticks(low: float, high: float) -> list[float]:
    """Return 1, 2, 3, 5 times powers of ten between two limits."""
    decades = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    return [m * 10.0**d for d in decades for m in (1, 2, 3, 5) if low <= m * 10.0**d <= high]


def png_of(figure: "Figure", *, dpi: float | None = None) -> bytes:
    """Return a figure as the content of a PNG file; `dpi` other than the figure's own if given."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi="figure" if dpi is None else dpi)
    return buffer.getvalue()
