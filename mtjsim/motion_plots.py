"""Figures of the magnetisation in time: trajectories on the sphere and as m_z(t), the pulse, histograms.

As in `plots.py`: functions that take axes and data, return the artists, and never simulate.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from mtjsim.checks import Array
from mtjsim.counts import ErrorCount
from mtjsim.plot_style import BLACK, BLUE, DRIVE_LABEL, GREEN, ORANGE, PURPLE, RED, ordered_colours

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_sphere(
    ax: "Axes",
    time: ArrayLike,
    m: ArrayLike,
    *,
    well_angle: float | None = None,
    elevation: float = 20.0,
) -> list[Any]:
    """Draw one trajectory on the unit sphere, seen from afar: time as colour, the far side pale.

    An orthographic projection: x to the right, z up, the eye `elevation` degrees above the plane, so that precession
    around the easy axis shows as ellipses and both poles are visible.

    Parameters
    ----------
    ax : Axes
        To draw on; plain axes, not 3-D ones.
    time : (k,) array
        [s].
    m : (k, 3) array
        Unit vectors, close enough in time to join by straight lines.
    well_angle : float, optional
        Radius of the two wells [rad], such as that of nine tenths of the starting law; drawn as circles about the
        poles.
    elevation : float
        Of the eye [degree], between -90 and 90.

    Returns
    -------
    list
        The line collection (its array is the time in ns), start, end, colour bar, and the circles of the wells.
    """
    from matplotlib.collections import LineCollection
    from matplotlib.colors import ListedColormap

    ns, m = np.asarray(time, dtype=float) * 1e9, np.asarray(m, dtype=float)
    flat, depth = _seen(m, elevation)
    segments = np.stack([flat[:-1], flat[1:]], axis=1)
    turn = np.linspace(0.0, 2 * np.pi, 181)
    ax.plot(np.cos(turn), np.sin(turn), color="0.6", lw=0.8, zorder=1)
    _ring(ax, np.pi / 2, elevation, color="0.5", lw=0.8)
    shades = ListedColormap(ordered_colours(256))  # whose end is seen on white
    trace = LineCollection(list(segments), cmap=shades, lw=0.8, alpha=np.where(depth[:-1] >= 0, 1.0, 0.25), zorder=3)
    trace.set_array((ns[:-1] + ns[1:]) / 2)
    ax.add_collection(trace)
    start = ax.plot(*flat[0], "o", mfc="white", mec=BLACK, ms=7, zorder=4, label="start")
    end = ax.plot(*flat[-1], "s", mfc=RED, mec=BLACK, ms=7, zorder=4, label="end")
    wells = []
    if well_angle is not None:
        for angle in (well_angle, np.pi - well_angle):
            wells += _ring(ax, angle, elevation, color=BLACK, lw=1.2)
    for name, z in (("P", 1.0), ("AP", -1.0)):
        ax.text(0.0, 1.08 * z, name, ha="center", va="bottom" if z > 0 else "top")
    ax.set(xlim=(-1.15, 1.15), ylim=(-1.25, 1.25), aspect="equal")
    ax.set_axis_off()
    ax.legend(frameon=False, loc="lower left", fontsize=8)
    bar = ax.figure.colorbar(trace, ax=ax, label="time (ns)", shrink=0.7)
    return [trace, *start, *end, bar, *wells]


def plot_magnetization(ax: "Axes", time: ArrayLike, m_z: ArrayLike, *, names: Sequence[str] = ()) -> list[Any]:
    """Draw m_z(t) of several trajectories.

    Parameters
    ----------
    ax : Axes
        To draw on; `plot_pulse` may go on axes underneath that share x.
    time : (k,) array
        [s].
    m_z : (n, k) array
        Of n trajectories.
    names : sequence of str, optional
        For a legend, of the first ones.

    Returns
    -------
    list of Line2D
    """
    m_z = np.atleast_2d(np.asarray(m_z, dtype=float))
    colours = (BLUE, ORANGE, GREEN, RED, PURPLE, BLACK)
    lines: list[Any] = []
    for k, one in enumerate(m_z):
        label = names[k] if k < len(names) else None
        lines += ax.plot(np.asarray(time) * 1e9, one, color=colours[k % len(colours)], lw=0.9, label=label)
    ax.axhline(0.0, color=BLACK, lw=0.6)
    ax.set_ylim(-1.05, 1.05)
    ax.set_xlabel("time (ns)")
    ax.set_ylabel("m_z (+1 is P, −1 is AP)")
    ax.grid(alpha=0.3)
    if names:
        ax.legend(frameon=False)
    return lines


def plot_pulse(ax: "Axes", time: ArrayLike, level: ArrayLike, *, drive: str = "current") -> list[Any]:
    """Draw a pulse in time, filled.

    Parameters
    ----------
    ax : Axes
        To draw on, underneath those of the magnetisation.
    time : (k,) array
        [s].
    level : (k,) array
        [A] or [V], > 0 in the direction of the write.
    drive : {"current", "voltage"}
        Quantity of `level`.

    Returns
    -------
    list
        The line and the area.
    """
    scale, label = DRIVE_LABEL[drive]
    ns, level = np.asarray(time) * 1e9, np.asarray(level, dtype=float) * scale
    artists: list[Any] = ax.plot(ns, level, color=BLACK, lw=1)
    artists.append(ax.fill_between(ns, level, color=BLACK, alpha=0.12, lw=0))
    ax.set_xlabel("time (ns)")
    ax.set_ylabel(label.replace("write ", ""))
    ax.grid(alpha=0.3)
    return artists


def plot_magnetization_histogram(
    ax: "Axes", m_z: ArrayLike, edges: ArrayLike, *, law: tuple[ArrayLike, ArrayLike], law_name: str = "Boltzmann"
) -> list[Any]:
    """Draw a histogram of m_z with exact binomial intervals against a law, both as probability densities.

    Parameters
    ----------
    ax : Axes
        To draw on.
    m_z : (n,) array
        Independent samples.
    edges : (k + 1,) array
        Of the cells, rising.
    law : (y, density)
        Two arrays of one shape; density normalised over m_z.
    law_name : str
        For the legend.

    Returns
    -------
    list
        The artists of the counts, as of `plot_error_counts`, then the line of the law.
    """
    m_z, edges = np.asarray(m_z, dtype=float).ravel(), np.asarray(edges, dtype=float)
    width = np.diff(edges)
    cells = np.histogram(m_z, edges)[0]
    counts = [ErrorCount(int(n), m_z.size) for n in cells]
    rate, low, high = (np.array([getattr(count, name) for count in counts]) / width for name in ("rate", "low", "high"))
    some, centres = cells > 0, (edges[:-1] + edges[1:]) / 2
    bars = np.stack([rate - low, high - rate])[:, some]
    style: dict[str, Any] = {"fmt": "o", "ms": 3, "capsize": 1.5, "lw": 1, "color": BLUE}
    artists: list[Any] = [ax.errorbar(centres[some], rate[some], bars, label=f"{m_z.size:,} samples", **style)]
    if not some.all():
        artists += ax.plot(centres[~some], high[~some], "v", mfc="none", ms=4, color=BLUE, label="none, upper bound")
    artists += ax.plot(*(np.asarray(part) for part in law), color=RED, lw=1.2, label=law_name)
    ax.set_yscale("log")
    ax.set_xlabel("m_z")
    ax.set_ylabel("probability density of m_z")
    ax.grid(alpha=0.3)
    ax.legend(frameon=False)
    return artists


def _seen(m: Array, elevation: float) -> tuple[Array, Array]:
    """Orthographic projection of (k, 3) vectors: (k, 2) in the plane of the picture, (k,) toward the eye."""
    c, s = np.cos(np.radians(elevation)), np.sin(np.radians(elevation))
    x, y, z = m.T
    return np.stack([x, c * z + s * y], axis=1), s * z - c * y


def _ring(ax: "Axes", angle: float, elevation: float, **style: Any) -> list[Any]:
    """Draw a circle of latitude at a polar angle, its far half dotted."""
    phi = np.linspace(0.0, 2 * np.pi, 361)
    on_sphere = np.stack([np.sin(angle) * np.cos(phi), np.sin(angle) * np.sin(phi), np.full(phi.size, np.cos(angle))])
    flat, depth = _seen(on_sphere.T, elevation)
    lines: list[Any] = []
    for half, dash in ((depth >= 0, "-"), (depth < 0, ":")):
        lines += ax.plot(*np.where(half[:, None], flat, np.nan).T, dash, zorder=2, **style)
    return lines
