"""Figures of the verbs `setting`, `map` and `die`: layout and titles. `bridge` draws the curves; nothing is solved."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from bnn.cli.typed import UNITS_SHOWN
from mtjsim.checks import DIRECTIONS
from mtjsim.plot_style import (
    BLACK,
    DIRECTION_STYLE,
    RED,
    SMALL,
    TITLE,
    alike,
    legend_beside,
    ordered_colours,
    plain_ticks,
    rate_bar,
    rate_text,
)

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

    from bridge.dies.die import Die
    from bridge.dies.rate_distribution import MeanRate
    from bridge.write import OperatingPoint

MOST_ROWS = 3  # temperatures of a map: the first, a middle one, the last
MOST_CUTS = 8  # curves of a map on one axis
BESIDE = 36.0  # points on paper over which the equal upper bounds of all curves are spread


def setting_figure(
    points: Sequence["OperatingPoint"],
    chosen: "OperatingPoint",
    *,
    title: str,
    energy: str = "energy",
    max_latency: float | None = None,
) -> "Figure":
    """Draw energy against latency, a line for each target error rate, and the chosen point.

    Parameters
    ----------
    points : sequence of OperatingPoint
        Of `bridge.trade_off`.
    chosen : OperatingPoint
        Of `bridge.find_setting`.
    title : str
        Of the figure.
    energy : {"energy", "energy_with_driver"}
        On the y axis.
    max_latency : float, optional
        A limit [s], drawn as a line.

    Returns
    -------
    Figure
    """
    from bridge.search.plots import plot_trade_off

    figure = _figure(7.2, 4.6, title)
    ax = figure.subplots()
    plot_trade_off(ax, points, y=energy, front=False)
    joule = chosen.mean_energy if energy == "energy" else chosen.mean_energy_with_driver
    zero, one = rate_text(chosen.error_rate_0), rate_text(chosen.error_rate_1)
    rates = zero if zero == one else f"{zero} (0), {one} (1)"
    label = f"chosen: error rate {rates}, {chosen.latency * 1e9:.3g} ns, {joule * 1e15:.3g} fJ"
    if (whole := chosen.mean_energy_with_driver) > joule:
        label += f" (with transistor and driver {whole * 1e15:.4g} fJ)"
    star: dict[str, Any] = {"ms": 15, "color": RED, "mec": "white", "zorder": 4}
    (mark,) = ax.plot(chosen.latency * 1e9, joule * 1e15, "*", label=label, **star)
    limit: Any = None
    if max_latency is not None:
        limit = ax.axvline(max_latency * 1e9, color=BLACK, lw=1, ls=":", label="largest latency allowed")
    ax.grid(alpha=0.3)
    lines = [line for line in ax.lines if line not in (mark, limit)]
    where: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1.01, 1.0), "frameon": False, "fontsize": SMALL}
    ax.legend(handles=lines, title="write error rate\nof both bits", title_fontsize=SMALL, **where)
    marked = [mark] if limit is None else [mark, limit]
    figure.legend(handles=marked, loc="outside lower center", fontsize=SMALL, frameon=False)
    return figure


def map_figure(dataset: "xr.Dataset", *, title: str) -> "Figure":
    """Draw a map: a panel for each direction and up to three temperatures, or curves where an axis has one value.

    Parameters
    ----------
    dataset : xarray.Dataset
        Of `write_error_map` or `measured_map`.
    title : str
        Of the figure.

    Returns
    -------
    Figure
    """
    from bridge.maps.plots import plot_energy_contours, plot_map

    drive = str(dataset["write_error_rate"].dims[1])
    if dataset.attrs.get("kind") == "measured" or min(dataset.sizes[drive], dataset.sizes["pulse_width"]) < 2:
        return _map_cuts(dataset, drive, title)
    temperatures = _some(dataset["temperature"].values, MOST_ROWS)
    rows = len(temperatures) + ("energy" in dataset)
    rates = dataset["write_error_rate"]
    same = "energy" not in dataset and alike(*(rates.sel(direction=name).values for name in DIRECTIONS))
    columns = 1 if same else 2
    figure = _figure(0.6 + 4.8 * columns, 0.5 + 3.9 * rows, title)
    grid = figure.subplots(rows, columns, squeeze=False)
    for name, axis in ((drive, "x"), ("pulse_width", "y")):  # before labels of contours find their places
        if _is_geometric(dataset[name].values):
            for ax in grid.ravel():
                _plain_logarithm(ax, axis)
    for row, T in zip(grid, temperatures, strict=False):
        for ax, direction in zip(row, DIRECTIONS, strict=False):
            mesh = plot_map(ax, dataset, direction=direction, temperature=T, colorbar=False)[0]
            if same:
                ax.set_title(f"write 1 and write 0: equal, {T:g} K", fontsize=TITLE)
        rate_bar(list(row), mesh, lowest=float(np.log10(max(float(rates.min()), 1e-300))))
    for ax, direction in zip(grid[-1] if "energy" in dataset else (), DIRECTIONS, strict=False):
        T = temperatures[len(temperatures) // 2]  # the energy hardly depends on it
        plot_energy_contours(ax, dataset, direction=direction, temperature=T, color=BLACK)
        ax.set_title(f"{DIRECTION_STYLE[direction][2]}, {T:g} K: mean energy in the junction", fontsize=TITLE)
    return figure


def _map_cuts(dataset: "xr.Dataset", drive: str, title: str) -> "Figure":
    """Curves along the axis with more values, on one axis; values of the other by colour."""
    from bridge.maps.plots import plot_map_cut

    measured = dataset.attrs.get("kind") == "measured"
    along, other = "pulse_width", drive
    if dataset.sizes[drive] > dataset.sizes["pulse_width"]:
        along, other = drive, "pulse_width"
    values = _some(dataset[other].values, MOST_CUTS)
    scale, unit = UNITS_SHOWN[other]
    names = [f"{value * scale:g} {unit}" for value in values]
    T = float(dataset["temperature"].values[0])
    shown = names[0] if len(names) == 1 else ""
    if len(names) < dataset.sizes[other]:
        shown = f"{len(names)} of {dataset.sizes[other]} {other.replace('_', ' ')}s"
    figure = _figure(8.0, 4.4, "")
    ax = figure.subplots()
    ax.set_title(", ".join(filter(None, (title, shown, f"{T:g} K"))), fontsize=TITLE)
    colours = ordered_colours(len(names)) if len(names) > 1 else [None]
    cut: dict[str, Any] = {"measured": dataset} if measured else {"dataset": dataset}
    cut |= {"along": along, "temperature": T, "floor": _floor(dataset)}
    cut["directions"] = [str(name) for name in dataset["direction"].values]
    for number, (value, colour) in enumerate(zip(values, colours, strict=True)):
        beside = BESIDE * ((number + 0.5) / len(values) - 0.5) if len(values) > 1 else 0.0
        plot_map_cut(ax, **cut, at=value, color=colour, beside=beside)
    legend_beside(ax, _cut_handles(ax, names, colours))
    return figure


def _floor(dataset: "xr.Dataset") -> float:
    """Return the lowest rate that is shown: a power of ten below all rates and intervals."""
    known = [dataset[name].values.ravel() for name in ("write_error_rate", "low", "high") if name in dataset]
    rates = np.concatenate(known)
    return float(10.0 ** np.floor(np.log10(max(float(np.nanmin(rates[rates > 0], initial=1.0)), 1e-40) / 2)))


def _cut_handles(ax: Any, names: Sequence[str], colours: Sequence[Any]) -> list[Any]:
    """Return the handles of a legend: values by colour, then each kind of line or mark in black, triangles last."""
    from matplotlib.lines import Line2D

    drawn = {label: handle for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    kinds = {label: handle[0] if isinstance(handle, tuple) else handle for label, handle in drawn.items()}
    order = sorted(kinds, key=lambda label: kinds[label].get_marker() == "v")
    if len(names) == 1:
        return [drawn[label] for label in order]
    handles = [Line2D([], [], color=colour, lw=2, label=name) for name, colour in zip(names, colours, strict=True)]
    for label in order:
        line = Line2D([], [])
        line.update_from(kinds[label])
        filled = line.get_markerfacecolor() != "white"
        line.set(color=BLACK, mfc=BLACK if filled else "white", label=label)
        handles.append(line)
    return handles


def die_figure(die: "Die", means: "tuple[MeanRate, MeanRate]", *, title: str) -> "Figure":
    """Draw a die: the map of its cells and faults, and the distribution of the error rates of each bit.

    Parameters
    ----------
    die : Die
        With drawn cells, at least two.
    means : (MeanRate, MeanRate)
        Of its population.
    title : str
        Of the figure.

    Returns
    -------
    Figure
    """
    from bridge.dies.plots import plot_die, plot_rate_distribution
    from bridge.dies.rate_distribution import RateDistribution

    rates: Any = die.error_rates
    same = bool(np.array_equal(rates[0], rates[1]))
    panels = 2 if same else 3
    figure = _figure(1.0 + 4.8 * panels, 4.8, title)
    axes = figure.subplots(1, panels)
    plot_die(axes[0], die)
    axes[0].set_title("cells", fontsize=TITLE)
    sound = np.ones(die.size, bool)
    sound[die.faulty] = False
    sound = sound.reshape(die.shape) if rates.shape[1:] == die.shape else sound
    for ax, bit in zip(axes[1:], (1, 0), strict=False):
        distribution = RateDistribution.of(np.log(np.maximum(rates[bit][sound], 1e-300)))
        plot_rate_distribution(ax, distribution, mean=means[bit])
        direction = DIRECTION_STYLE[DIRECTIONS[1 - bit]][2]
        cells = "cells without faults" if len(die.faulty) else "cells"
        name = "write 1 and write 0: equal" if same else direction
        ax.set_title(f"{name}, {cells}", fontsize=TITLE)
    return figure


def _figure(width: float, height: float, title: str) -> "Figure":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained", dpi=140)
    if title:
        figure.suptitle(title, fontsize=TITLE)
    return figure


def _some(values: Any, most: int) -> list[float]:
    """Return at most `most` of the values, ends included."""
    where = np.unique(np.linspace(0, len(values) - 1, min(most, len(values))).round().astype(int))
    return [float(values[k]) for k in where]


def _is_geometric(values: Any) -> bool:
    return len(values) > 2 and values[0] > 0 and np.allclose(np.diff(np.log(values)), np.log(values[1] / values[0]))


def _plain_logarithm(ax: Any, axis: str) -> None:
    """Make an axis logarithmic, with plain numbers."""
    getattr(ax, f"set_{axis}scale")("log")
    plain_ticks(getattr(ax, f"{axis}axis"))
