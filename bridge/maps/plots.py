"""Figures of maps: functions that take axes and data, return the artists, and never simulate.

matplotlib is imported by the caller, who makes the axes. The rules are in `mtjsim/plot_style.py`; everything drawn is
in the map, contours by cubics between its nodes.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from bridge.maps.axes import checked_dataset, measured_places
from mtjsim.checks import DIRECTIONS, ArgumentError, Array, checked_choice
from mtjsim.plot_style import (
    BLACK,
    DIRECTION_STYLE,
    DISCRETE,
    DRIVE_LABEL,
    ORDERED,
    TITLE,
    direction_line,
    include,
    label_contours,
    log_rate_axis,
    rate_bar,
    rate_text,
    sideways,
    smooth,
)

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

LEVELS = (1e-12, 1e-9, 1e-6, 1e-3, 1e-1, 0.5)


def plot_map(
    ax: "Axes",
    dataset: "xr.Dataset",
    *,
    direction: str = "p_to_ap",
    temperature: float = 300.0,
    levels: Sequence[float] = LEVELS,
    colorbar: bool = True,
) -> list[Any]:
    """Draw log10 of the write error rate over current (or voltage) and pulse width, with labelled contours.

    Parameters
    ----------
    ax : Axes
        To draw on; put its y axis on a logarithmic scale if the widths are spaced so.
    dataset : xarray.Dataset
        Of `write_error_map`.
    direction : {"p_to_ap", "ap_to_p"}
        Of the write.
    temperature : float
        A node of the map [K].
    levels : sequence of float
        Contours, rising; shown down to a decade below the lowest.
    colorbar : bool
        Whether to add one; without it, for several maps, `rate_bar` of `mtjsim/plot_style.py` does.

    Returns
    -------
    list
        The mesh, the contours and their labels (left out where the map reaches none), the colour bar.

    Raises
    ------
    ValueError
        If the map does not have the direction or the temperature, or has fewer than two levels or widths.
    """
    I, t, rate = _plane(dataset, "write_error_rate", direction, temperature)
    low = np.log10(levels[0]) - 1
    depth = np.log10(np.maximum(rate, 1e-300)).T
    mesh = ax.pcolormesh(I, t, depth, cmap=ORDERED, shading="gouraud", vmin=low, vmax=0.0)
    bright = (low + 0.0) / 2  # contours are white on the dark half of the colours and black on the other
    inks = ["white" if np.log10(level) < bright else BLACK for level in levels]
    artists = [mesh, *_labelled_contours(ax, I, t, depth, np.log10(levels), inks, _rate_of_depth)]
    _map_axes(ax, dataset)
    ax.set_title(f"{DIRECTION_STYLE[direction][2]}, {temperature:g} K", fontsize=TITLE)
    return [*artists, rate_bar(ax, mesh, lowest=float(depth.min()))] if colorbar else artists


def plot_iso_error(
    ax: "Axes",
    dataset: "xr.Dataset",
    *,
    rates: Sequence[float] = (1e-3, 1e-6, 1e-9),
    directions: Sequence[str] = DIRECTIONS,
    temperature: float = 300.0,
) -> list[Any]:
    """Draw lines of equal write error rate of both directions in one figure, by colour and width.

    Parameters
    ----------
    ax : Axes
        To draw on.
    dataset : xarray.Dataset
        Of `write_error_map`.
    rates : sequence of float
        Of the lines; those that the map does not reach are left out.
    directions : sequence of str
        Of the writes.
    temperature : float
        A node of the map [K].

    Returns
    -------
    list
        Contours and their labels, then one legend.
    """
    artists: list[Any] = []
    handles = []
    for direction in directions:
        style = direction_line(direction, alone=len(directions) == 1)
        I, t, rate = _plane(dataset, "write_error_rate", direction, temperature)
        depth = np.log10(np.maximum(rate, 1e-300)).T
        where = np.sort(np.log10(rates))
        inks = [style["color"]] * len(where)
        artists += _labelled_contours(ax, I, t, depth, where, inks, _rate_of_depth, width=style["lw"])
        handles += ax.plot([], [], **{**style, "alpha": 1.0})
    _map_axes(ax, dataset)
    return [*artists, ax.legend(handles=handles, frameon=False, title=f"write error rate, {temperature:g} K")]


def plot_energy_contours(
    ax: "Axes",
    dataset: "xr.Dataset",
    *,
    direction: str = "p_to_ap",
    temperature: float = 300.0,
    energies: Sequence[float] | None = None,
    color: str = "#D55E00",
) -> list[Any]:
    """Draw lines of equal mean energy of a write in the junction, labelled in fJ; dotted, to lie over rates.

    Parameters
    ----------
    ax : Axes
        To draw on.
    dataset : xarray.Dataset
        Of `write_error_map(..., energy=True)`.
    direction, temperature
        As in `plot_map`.
    energies : sequence of float, optional
        Of the lines, rising [J]; 1 and 3 of each decade.
    color : str
        Of lines and labels.

    Returns
    -------
    list
        The contours and their labels.

    Raises
    ------
    ValueError
        If the map has no energies, and as in `plot_map`.
    """
    if "energy" not in dataset:
        raise ValueError("this map has no energies: make it with write_error_map(..., energy=True).")
    I, t, joule = _plane(dataset, "energy", direction, temperature)
    femto = joule.T * 1e15
    where = np.array([m * 10.0**n for n in range(-6, 9) for m in (1, 3)] if energies is None else energies)
    if energies is not None:
        where = where * 1e15
    artists = _labelled_contours(ax, I, t, femto, where, [color] * len(where), lambda fJ: f"{fJ:g} fJ", ":")
    for artist in artists:  # readable on any ground
        artist.set_path_effects([_halo()])
    _map_axes(ax, dataset)
    return artists


def plot_measured_places(
    ax: "Axes",
    measured: "xr.Dataset",
    *,
    direction: str = "p_to_ap",
    temperature: float = 300.0,
    mesh: Any = None,
    intervals: bool = True,
) -> list[Any]:
    """Draw measured settings over a map, filled with the colour of their rate, with the interval as text.

    Parameters
    ----------
    ax : Axes
        With a map on it, as by `plot_map`.
    measured : xarray.Dataset
        Of `measured_map`.
    direction, temperature
        As in `plot_map`; only points of these are drawn.
    mesh : artist, optional
        Of `plot_map`, whose colours are taken; white without it.
    intervals : bool
        Whether to write "low to high" at each point.

    Returns
    -------
    list
        Circles of the rates, triangles of the upper bounds (either is left out if there is none), then the texts.
    """
    drive, here = _part(measured, direction, temperature)
    i, j = np.nonzero(measured_places(here))
    x = here[drive].values[i] * DRIVE_LABEL[drive][0]
    y = here["pulse_width"].values[j] * 1e9
    bound = here["upper_bound"].values[i, j]
    low, high = here["low"].values[i, j], here["high"].values[i, j]
    shown = np.where(bound, high, here["write_error_rate"].values[i, j])
    artists: list[Any] = []
    for chosen, marker in ((~bound, "o"), (bound, "v")):
        if chosen.any():
            fill: dict[str, Any] = {"c": ["white"] * int(chosen.sum())}
            if mesh is not None:
                fill = {"c": np.log10(shown[chosen]), "cmap": mesh.cmap, "norm": mesh.norm}
            artists.append(
                ax.scatter(
                    x[chosen],
                    y[chosen],
                    s=36,
                    marker=marker,
                    edgecolors=BLACK,
                    linewidths=1.0,
                    zorder=3,
                    path_effects=[_halo()],
                    **fill,
                )
            )
    if intervals:
        halo = {"boxstyle": "round,pad=0.15", "fc": "white", "ec": "none", "alpha": 0.75}
        for k in range(len(x)):
            text = f"< {high[k]:.1e}" if bound[k] else f"{low[k]:.1e} to {high[k]:.1e}"
            text = f"{shown[k]:.1e}" if np.isnan(high[k]) else text  # a rate without counts
            place: dict[str, Any] = {"xytext": (6, 4), "textcoords": "offset points", "fontsize": 7, "bbox": halo}
            artists.append(ax.annotate(text, (x[k], y[k]), zorder=4, **place))
    return artists


def plot_map_cut(
    ax: "Axes",
    dataset: "xr.Dataset | None" = None,
    *,
    measured: "xr.Dataset | None" = None,
    along: str = "pulse_width",
    at: float,
    directions: Sequence[str] = DIRECTIONS,
    temperature: float = 300.0,
    floor: float = 1e-12,
    color: Any = None,
    beside: float = 0.0,
) -> list[Any]:
    """Draw the rate along one axis of a map, with measured points and their exact intervals over it.

    Parameters
    ----------
    ax : Axes
        To draw on.
    dataset, measured : xarray.Dataset, optional
        Of `write_error_map` and of `measured_map`; at least one.
    along : {"pulse_width", "current", "voltage"}
        The axis of the figure.
    at : float
        Value of the other axis [s], [A] or [V]: a node of what is drawn.
    directions : sequence of str
        Of the writes.
    temperature : float
        A node [K].
    floor : float
        Lowest rate shown.
    color : color, optional
        Of both directions, where colours mean values of the other axis: a 1 then has filled marks, a 0 open ones.
    beside : float
        Distance on paper by which upper bounds are moved to the right [pt]: those of several cuts are often equal.

    Returns
    -------
    list
        By direction: the line of the map, the error bars of the counts, the triangles of the upper bounds.

    Raises
    ------
    ValueError
        If a map does not have the node.
    """
    if dataset is None and measured is None:
        raise ValueError("give a solved map, a measured map or both.")
    artists: list[Any] = []
    for direction in directions:
        own, _, label = DIRECTION_STYLE[direction]
        colour = own if color is None else color
        fill = colour if color is not None and direction == "p_to_ap" else "white"
        if dataset is not None:
            x, row = _row(dataset, along, at, direction, temperature)
            dots = {"marker": "o", "ms": 3} if x.size < DISCRETE else {}
            line = direction_line(direction, alone=len(directions) == 1)
            style: dict[str, Any] = {**line, **dots, "color": colour}
            artists += ax.plot(x, row["write_error_rate"], **style)
        if measured is not None and direction in measured["direction"].values:
            x, row = _row(measured, along, at, direction, temperature)
            shift = 0.0 if len(directions) == 1 else -2.5 if direction == "p_to_ap" else 2.5
            style = {"color": colour, "mfc": fill}
            artists += _counted(ax, x, row, style, f"{label}, measured", shift, beside)
    log_rate_axis(ax, floor)
    ax.set_xlabel("pulse width (ns)" if along == "pulse_width" else DRIVE_LABEL[along][1])
    ax.set_ylabel("write error rate")
    ax.legend(frameon=False)
    return artists


# ---- parts -----------------------------------------------------------------------------------------------------------


def _part(dataset: "xr.Dataset", direction: str, temperature: float) -> tuple[str, "xr.Dataset"]:
    """Drive and the part of one direction and temperature; ValueError unless both are in the map."""
    drive = checked_dataset(dataset)
    checked_choice("direction", direction, [str(name) for name in dataset["direction"].values])
    return drive, dataset.sel(direction=direction).isel(temperature=_node(dataset, "temperature", temperature, "K"))


def _node(dataset: "xr.Dataset", name: str, value: float, unit: str) -> int:
    nodes = np.asarray(dataset[name].values, float)
    k = int(np.argmin(np.abs(nodes - value)))
    if not np.isclose(nodes[k], value, rtol=1e-9, atol=0):
        raise ArgumentError(name, f"must be a node of the map, got {value:g} {unit}; the nearest is {nodes[k]:g}.")
    return k


def _plane(dataset: "xr.Dataset", variable: str, direction: str, temperature: float) -> tuple[Array, Array, Array]:
    """Levels and widths in the units of the labels, values (level, width)."""
    drive, here = _part(dataset, direction, temperature)
    if dataset.attrs.get("kind") == "measured":
        raise ValueError("a measured map has points and no contours: plot_measured_places or plot_map_cut draw them.")
    if min(here.sizes[drive], here.sizes["pulse_width"]) < 2:
        raise ValueError("contours need at least two levels and two pulse widths: plot_map_cut draws one row.")
    return here[drive].values * DRIVE_LABEL[drive][0], here["pulse_width"].values * 1e9, here[variable].values


def _row(
    dataset: "xr.Dataset", along: str, at: float, direction: str, temperature: float
) -> tuple[Array, dict[str, Array]]:
    """Values along one axis, which comes in the unit of its label; unmeasured places left out."""
    drive, here = _part(dataset, direction, temperature)
    other, unit = (drive, "A or V") if along == "pulse_width" else ("pulse_width", "s")
    checked_choice("along", along, ("pulse_width", drive))
    here = here.isel({other: _node(dataset, other, at, unit)})
    scale = 1e9 if along == "pulse_width" else DRIVE_LABEL[along][0]
    there = np.isfinite(here["write_error_rate"].values)
    return here[along].values[there] * scale, {str(name): here[name].values[there] for name in here.data_vars}


def _counted(
    ax: "Axes", x: Array, row: dict[str, Array], style: dict[str, Any], label: str, shift: float, beside: float
) -> list[Any]:
    """Draw counts with their intervals, `shift` points to the right on paper; upper bounds `beside` points more."""
    bound, rate = row["upper_bound"].astype(bool), row["write_error_rate"]
    artists: list[Any] = []
    if not bound.all():
        bars = np.stack([rate - row["low"], row["high"] - rate])[:, ~bound]
        mark: dict[str, Any] = {"fmt": "o", "ms": 5, "capsize": 2, "lw": 1, "transform": sideways(ax, shift)}
        artists.append(ax.errorbar(x[~bound], rate[~bound], bars, label=label, **mark, **style))
    include(ax, x, np.where(bound, row["high"], rate))
    if bound.any():
        mark = {"ms": 6, "transform": sideways(ax, shift + beside), **style}
        artists += ax.plot(x[bound], row["high"][bound], "v", label=f"{label}, no error: upper bound", **mark)
    return artists


def _labelled_contours(
    ax: "Axes",
    x: Array,
    y: Array,
    z: Array,
    levels: Any,
    inks: list[str],
    text: Any,
    dash: str = "-",
    width: float = 1.0,
) -> list[Any]:
    reached = [(level, ink) for level, ink in zip(levels, inks, strict=True) if z.min() < level < z.max()]
    if not reached:  # no contour at all would be a warning
        return []
    where, colours = zip(*reached, strict=True)
    fine = smooth(x, y, z) if np.isfinite(z).all() else (x, y, z)
    lines = ax.contour(*fine, levels=where, colors=colours, linewidths=width, linestyles=dash)
    return [lines, *label_contours(ax, lines, text)]


def _halo() -> Any:
    from matplotlib.patheffects import withStroke  # here: matplotlib is present if axes are

    return withStroke(linewidth=3, foreground="white", alpha=0.7)


def _rate_of_depth(depth: float) -> str:
    return rate_text(10.0**depth)


def _map_axes(ax: "Axes", dataset: "xr.Dataset") -> None:
    ax.set_xlabel(DRIVE_LABEL[checked_dataset(dataset)][1])
    ax.set_ylabel("pulse width (ns)")
