"""Rules of all figures: what a colour means, and how curves that coincide, scales that end and legends are drawn.

colour          a meaning has one colour everywhere: writing a 1 blue, writing a 0 orange; an ordered quantity (pulse
                width, target rate) from dark to bright of `ordered_colours`, a temperature from dark to red of
                `temperature_colours`; what was chosen red
line            a 1 is written by a wide line and a 0 by a thin one, so that both are seen where they coincide; a
                *dashed* line is an extrapolation and nothing else
mark            a triangle that points down is an upper bound from counting no errors; marks of two series at one place
                are moved apart by `sideways`, on paper and not in the data
rate            1, 0.5, 0.1 ... as powers of ten, in one notation (`rate_text`); the colour bar of a scale that ends
                above the smallest rate ends in an arrow (`rate_bar`)
legend          outside the data (`legend_below`, `legend_beside`), unless a corner is known to be empty
"""

import io
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from mtjsim.checks import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, which colour-blind readers can distinguish
BLUE, ORANGE, GREEN, RED, PURPLE, BLACK = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#000000"
DIRECTION_STYLE = {"p_to_ap": (BLUE, "-", "write 1 (P→AP)"), "ap_to_p": (ORANGE, "-", "write 0 (AP→P)")}
BOTH = "write 1 and write 0: equal"
DIRECTION_WIDTH = {"p_to_ap": 3.6, "ap_to_p": 1.3}
STATE_DASH = {"p": "-", "ap": "-."}
DRIVE_LABEL = {"current": (1e6, "write current (µA)"), "voltage": (1.0, "write voltage (V)")}
DISCRETE = 24  # a curve of fewer points shows them
FEWEST_TICKS = 5
LEAST_ROOM = 0.05  # share of the axes between the middle of a label and their edges
SMALL = 8  # font size of legends, and of notes in a figure
TITLE = 10
BELOW = 34.0  # points from the axes to a legend below them, past the labels of the x axis
ORDERED = "cividis"  # rises evenly in lightness, for colour-blind readers and in grey


def direction_line(direction: str, *, alone: bool = False) -> dict[str, Any]:
    """Return the style of a direction's curve: the wide line of a 1 is seen under the thin one of a 0.

    `alone` is for figures without the other direction, where the line is thin.
    """
    colour, dash, label = DIRECTION_STYLE[direction]
    wide = direction == "p_to_ap" and not alone
    return {
        "color": colour,
        "ls": dash,
        "label": label,
        "lw": DIRECTION_WIDTH["ap_to_p" if alone else direction],
        "alpha": 0.55 if wide else 1.0,
        "zorder": 2.0 if wide else 2.1,
    }


def ordered_colours(count: int) -> list[Any]:
    """Return colours of an ordered quantity, dark to bright, the last one still seen on white."""
    from matplotlib import colormaps  # here: it takes half a second

    return [colormaps[ORDERED](k / max(count - 1, 1) * 0.85) for k in range(count)]


def temperature_colours(temperatures: Sequence[float]) -> dict[float, Any]:
    """Return a colour for each temperature, dark for the lowest and red for the highest."""
    from matplotlib import colormaps

    rising = sorted(set(temperatures))
    return {T: colormaps["inferno"](0.15 + 0.45 * k / max(len(rising) - 1, 1)) for k, T in enumerate(rising)}


def alike(one: ArrayLike, other: ArrayLike) -> bool:
    """Whether two curves cannot be told apart in a figure: equal within 1 %."""
    return bool(np.allclose(one, other, rtol=1e-2, atol=0.0))


def sideways(ax: "Axes", points: float) -> Any:
    """Return the transform of data that are moved on paper, by a number of points to the right."""
    from matplotlib.transforms import ScaledTranslation

    return ax.transData + ScaledTranslation(points / 72.0, 0.0, ax.figure.dpi_scale_trans)


def include(ax: "Axes", x: ArrayLike, y: ArrayLike) -> None:
    """Let the limits of the axes include data that were drawn by `sideways`, which matplotlib leaves out."""
    ax.update_datalim(np.stack(np.broadcast_arrays(x, y), axis=-1).reshape(-1, 2))
    ax.autoscale_view()


def rate_text(rate: float, *, digits: int = 2) -> str:
    """Return a rate as text, rounded to a number of digits: a power of ten, or a plain number between.

    Examples
    --------
    >>> rate_text(1e-6), rate_text(0.5), rate_text(1.0)
    ('$10^{-6}$', '0.5', '1')
    """
    rounded = float(f"{rate:.{digits}g}")
    exponent = int(np.floor(np.log10(rounded) + 1e-9))
    factor = round(rounded / 10.0**exponent, 1)
    if exponent == 0 or (factor != 1 and rounded >= 0.01):
        return f"{rounded:g}"
    return f"$10^{{{exponent}}}$" if factor == 1 else f"${factor:g}\\times10^{{{exponent}}}$"


def rate_bar(ax: Any, mesh: Any, *, lowest: float, label: str = "write error rate") -> Any:
    """Add the colour bar of a map of log10 rates, with an arrow if the map goes below the end of its scale.

    Parameters
    ----------
    ax : Axes, or a list of them that share the bar
    mesh : artist
        Of log10 rates.
    lowest : float
        Log10 of the smallest rate of the maps.
    label : str

    Returns
    -------
    Colorbar
    """
    low, high = mesh.get_clim()
    first = ax if not isinstance(ax, list) else ax[0]
    bar = first.figure.colorbar(mesh, ax=ax, label=label, extend="min" if lowest < low else "neither")
    step = max(1, round((high - low) / 6))
    ticks = [tick for tick in range(int(np.ceil(low)), int(high) + 1) if (int(high) - tick) % step == 0]
    bar.set_ticks(ticks, labels=[rate_text(10.0**tick) for tick in ticks])
    return bar


def round_ticks(low: float, high: float) -> list[float]:
    """Return round numbers between two limits of a logarithmic axis, five or more if the limits allow it.

    Examples
    --------
    >>> round_ticks(490.0, 2500.0)
    [500.0, 600.0, 800.0, 1000.0, 1500.0, 2000.0]
    """
    decades = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    for factors in ((1.0, 2.0, 5.0), (1.0, 2.0, 3.0, 5.0), (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0)):
        ticks = [float(f"{m}e{d}") for d in decades for m in factors if low <= float(f"{m}e{d}") <= high]
        if len(ticks) >= FEWEST_TICKS:
            return ticks
    if high > 2.0 * low:
        return ticks
    from matplotlib.ticker import MaxNLocator

    return [float(tick) for tick in MaxNLocator(FEWEST_TICKS).tick_values(low, high) if low <= tick <= high]


def plain_ticks(axis: Any) -> None:
    """Label a logarithmic axis with plain round numbers, those of `round_ticks` for whatever its limits are."""
    from matplotlib.ticker import FuncFormatter, Locator, NullLocator

    class Round(Locator):
        def __call__(self) -> list[float]:
            return self.tick_values(*sorted(axis.get_view_interval()))

        def tick_values(self, vmin: float, vmax: float) -> list[float]:
            return round_ticks(vmin, vmax)

    axis.set_major_locator(Round())
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def smooth(x: Array, y: Array, z: Array, *, parts: int = 6) -> tuple[Array, Array, Array]:
    """Refine a grid for contours: between the nodes by shape-preserving cubics, which pass through every node.

    Parameters
    ----------
    x, y : (n,), (m,) arrays
        Rising.
    z : (m, n) array
    parts : int
        Of each interval.

    Returns
    -------
    x, y, z
    """
    from scipy.interpolate import pchip_interpolate

    fine = [np.interp(np.arange(parts * (len(a) - 1) + 1) / parts, np.arange(len(a)), a) for a in (x, y)]
    along = pchip_interpolate(x, z, fine[0], axis=1)
    return fine[0], fine[1], np.asarray(pchip_interpolate(y, along, fine[1], axis=0))


def label_contours(ax: "Axes", contours: Any, text: Callable[[float], str]) -> list[Any]:
    """Label each contour once, where there is most room between the edges and the labels before it.

    A contour that is near the edges everywhere, as in a corner, has no room for a label. The axes have their scales
    before.

    Parameters
    ----------
    ax : Axes
        Of the contours.
    contours : ContourSet
        With one line or several for each level.
    text : function of the level

    Returns
    -------
    list of Text
    """
    places: list[Array] = []
    for path in contours.get_paths():
        if not len(path.vertices):
            continue
        on_page = ax.transAxes.inverted().transform(ax.transData.transform(path.vertices))
        room = np.minimum(on_page, 1.0 - on_page).min(axis=1)
        for other in places:
            room = np.minimum(room, 0.7 * np.hypot(*(on_page - other).T))
        if room.max() > LEAST_ROOM:
            places.append(on_page[int(np.argmax(room))])
    manual: Any = ax.transData.inverted().transform(ax.transAxes.transform(np.array(places).reshape(-1, 2)))
    return list(ax.clabel(contours, fmt=text, fontsize=SMALL, manual=list(map(tuple, manual))))


def log_rate_axis(ax: "Axes", floor: float) -> None:
    """Make the y axis one of rates, from `floor` to 1."""
    ax.set_yscale("log")
    ax.set_ylim(floor, 2.0)
    ax.grid(alpha=0.3)


def legend_below(ax: "Axes", *, ncols: int, title: str | None = None) -> Any:
    """Put the legend below the axes, away from the lines, and below tick labels of several lines."""
    from matplotlib.transforms import ScaledTranslation

    further = max((label.get_text().count("\n") for label in ax.get_xticklabels()), default=0) * 1.3 * SMALL
    below = ax.transAxes + ScaledTranslation(0.0, -(BELOW + further) / 72.0, ax.figure.dpi_scale_trans)
    where: dict[str, Any] = {"loc": "upper center", "bbox_to_anchor": (0.5, 0.0), "bbox_transform": below}
    return ax.legend(frameon=False, fontsize=SMALL, ncols=ncols, title=title, title_fontsize=SMALL, **where)


def legend_beside(ax: "Axes", handles: Any = None, *, title: str | None = None) -> Any:
    """Put the legend to the right of the axes."""
    where: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1.01, 1.0), "borderaxespad": 0.0}
    given = {} if handles is None else {"handles": handles}
    return ax.legend(frameon=False, fontsize=SMALL, title=title, title_fontsize=SMALL, **where, **given)


def png_of(figure: "Figure", *, dpi: float | None = None) -> bytes:
    """Return a figure as the content of a PNG file; `dpi` other than the figure's own if given."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi="figure" if dpi is None else dpi)
    return buffer.getvalue()
