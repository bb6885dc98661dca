"""Pictures of a junction: functions that take axes and data, return the artists, and never simulate.

matplotlib is imported by the caller, who makes the axes.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's colours, which colour-blind readers can tell apart
BLUE, ORANGE, GREEN, RED, PURPLE, BLACK = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#000000"
DIRECTION_STYLE = {"p_to_ap": (BLUE, "-", "write 1 (P→AP)"), "ap_to_p": (ORANGE, "--", "write 0 (AP→P)")}


def plot_write_error_rate(
    ax: "Axes", x: ArrayLike, rates: dict[str, ArrayLike], *, x_label: str, floor: float = 1e-12
) -> list[Any]:
    """Draw write error rates of one or both directions on a logarithmic axis.

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

    Returns
    -------
    list of Line2D
    """
    lines = []
    for direction, rate in rates.items():
        colour, dash, label = DIRECTION_STYLE[direction]
        lines += ax.plot(np.asarray(x), np.asarray(rate), dash, color=colour, label=label)
    ax.set_yscale("log")
    ax.set_ylim(floor, 2.0)
    ax.set_xlabel(x_label)
    ax.set_ylabel("write error rate")
    ax.grid(alpha=0.3)
    ax.legend(frameon=False)
    return lines


def plot_error_map(
    ax: "Axes",
    currents: ArrayLike,
    pulse_widths: ArrayLike,
    rates: ArrayLike,
    *,
    levels: Sequence[float] = (1e-9, 1e-6, 1e-3, 1e-2, 1e-1, 0.5),
) -> list[Any]:
    """Draw a write error rate over current and pulse width, with labelled contours.

    Parameters
    ----------
    ax : Axes
        To draw on.
    currents : (n,) array
        [A].
    pulse_widths : (m,) array
        [s].
    rates : (n, m) array
        Write error rates; shown down to the lowest level.
    levels : sequence of float
        Contours, rising.

    Returns
    -------
    list
        The mesh and the contours.
    """
    I, t = np.asarray(currents) * 1e6, np.asarray(pulse_widths) * 1e9
    low = np.log10(levels[0]) - 1
    depth = np.clip(np.log10(np.maximum(np.asarray(rates), 1e-300)), low, 0.0).T
    mesh = ax.pcolormesh(I, t, depth, cmap="cividis", shading="gouraud", vmin=low, vmax=0.0)
    inks = ["white" if level < 1e-4 else BLACK for level in levels]  # on dark ground and on bright
    contours = ax.contour(I, t, depth, levels=np.log10(levels), colors=inks, linewidths=0.8, linestyles="solid")
    ax.clabel(contours, fmt=lambda value: f"{10**value:.0e}".replace("e-0", "e-") if value < -2 else f"{10**value:.2g}")
    ax.set_xlabel("write current (µA)")
    ax.set_ylabel("pulse width (ns)")
    bar = ax.figure.colorbar(mesh, ax=ax, label="log10 write error rate")
    return [mesh, contours, bar]
