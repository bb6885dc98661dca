"""Pictures of networks on error-prone memories: functions that take axes and data, and never simulate."""

from typing import TYPE_CHECKING, Any

import numpy as np

from bnn.codesign import CLEAN, WITH_ERRORS, CurvePoint, EnergyAccuracyCurve
from mtjsim.plots import BLACK, GREEN, PURPLE, RED

if TYPE_CHECKING:
    from matplotlib.axes import Axes

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
        Of `bnn.codesign.energy_accuracy_curve`.
    marked : CurvePoint, optional
        Circled and named.
    largest_loss : float, optional
        The loss that `marked` stays below, for its label; a share, not percent.

    Returns
    -------
    list
        The artists.
    """
    artists: list[Any] = []
    for training, (colour, marker, label) in TRAINING_STYLE.items():
        rows = [p for p in curve.points if p.training == training]
        energy = np.array([p.point.mean_energy for p in rows]) * 1e15
        mean = np.array([p.accuracy.mean for p in rows]) * 100
        low = np.array([p.accuracy.low for p in rows]) * 100
        high = np.array([p.accuracy.high for p in rows]) * 100
        bars = np.clip(np.stack([mean - low, high - mean]), 0, None)
        artists.append(
            ax.errorbar(energy, mean, bars, fmt=f"{marker}-", color=colour, label=label, capsize=2, ms=4, lw=1.2)
        )
    free = curve.error_free
    artists.append(ax.axhline(100 * free.mean, color=BLACK, lw=0.8, ls=":", label="no errors at all"))
    artists.append(ax.axhspan(100 * free.low, 100 * free.high, color=BLACK, alpha=0.08, lw=0))
    if marked is not None:
        name = "cheapest point" if largest_loss is None else f"cheapest, loss < {100 * largest_loss:g} point"
        x, y = marked.point.mean_energy * 1e15, 100 * marked.accuracy.mean
        artists += ax.plot([x], [y], "o", ms=13, mfc="none", mec=RED, mew=1.6, label=name)
    ax.set_xlabel("write energy per bit in the junction (fJ)")
    ax.set_ylabel("test accuracy (%)")
    ax.grid(alpha=0.3)
    ax.legend(frameon=False, loc="lower right")
    return artists
