"""Figure of a fit to write counts: the counts over the curves of the fitted junction."""

from typing import TYPE_CHECKING, Any

import numpy as np

from mtjsim.calibration.curves import FittedCurve
from mtjsim.calibration.report import Calibration
from mtjsim.checks import Array, checked_kind
from mtjsim.counts import ErrorCount
from mtjsim.plots import BLACK, BLUE, GREEN, ORANGE, PURPLE, RED, plot_error_counts

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = (BLUE, ORANGE, GREEN, RED, PURPLE, BLACK)
STYLES = {"p_to_ap": ("-", "P→AP"), "ap_to_p": ("-.", "AP→P")}
AXES = {
    "current": (1e6, "write current (µA)"),
    "voltage": (1e3, "write voltage (mV)"),
    "pulse_width": (1e9, "pulse width (ns)"),
}
UNITS = {"current": "A", "voltage": "V", "pulse_width": "s", "temperature": "K", "rise_time": "s", "relax_time": "s"}
AFTER = {"rise_time": " ramps", "relax_time": " of relaxation"}  # the quantity in a legend
LOGARITHMIC = 5.0  # largest over smallest pulse width from which their axis is logarithmic
BESIDE = 0.01  # of the axis: distance between upper bounds of different curves


def plot_calibration(calibration: Calibration, ax: "Axes | None" = None) -> list[Any]:
    """Draw the counts of a fit with exact binomial intervals over the fitted curves with their bands.

    Parameters
    ----------
    calibration : Calibration
        Result of `calibrate`; its `curves` are drawn, which are computed on their first use.
    ax : Axes, optional
        To draw on; by default those of a new figure of pyplot.

    Returns
    -------
    list
        For each curve its band, its line and the artists of its counts; then the legend, beside the axes.

    Raises
    ------
    ValueError
        If `calibration` is not a Calibration.

    Notes
    -----
    The curves run against the amplitude or the pulse width, whichever has more different values in the table. Bands are
    those of `Calibration.predict`, at its confidence: of the rate, not of further counts. A row without errors is an
    upper bound, a triangle that points down; those of different curves are drawn a little beside each other. Rates are
    shown down to a third of the smallest bound or rate counted.
    """
    checked_kind("calibration", calibration, Calibration, remedy="calibrate(counts) returns one.")
    found, counts = calibration.curves, calibration.counts
    if ax is None:
        from matplotlib import pyplot

        ax = pyplot.figure(figsize=(7.2, 4.2), layout="constrained").add_subplot()
    scale, x_label = AXES[found.axis]
    alike = list(dict.fromkeys(tuple(curve.settings[n] for n in found.varied) for curve in found.curves))
    colours = _colours(len(alike))
    values = np.asarray(getattr(counts, found.axis)) * scale
    log_x = found.axis == "pulse_width" and values.max() > LOGARITHMIC * values.min()
    artists: list[Any] = []
    smallest = 1.0
    for number, curve in enumerate(found.curves):
        colour = colours[alike.index(tuple(curve.settings[n] for n in found.varied))]
        dash, way = STYLES[curve.settings["direction"]]
        label = ", ".join([way, *(_shown(name, curve.settings[name]) for name in found.varied)])
        artists.append(ax.fill_between(curve.x * scale, curve.low, curve.high, color=colour, alpha=0.2, lw=0))
        artists += ax.plot(curve.x * scale, curve.rate, dash, color=colour, lw=1.3, label=label)
        measured = _counts(calibration, curve)
        beside = BESIDE * (number - (len(found.curves) - 1) / 2)
        for x, count in zip(values[curve.rows], measured, strict=True):
            if count.errors == 0:
                x = x * (values.max() / values.min()) ** beside if log_x else x + np.ptp(values) * beside
            artists += plot_error_counts(ax, [x], [count], color=colour)
        smallest = min(smallest, *(c.rate if c.errors else c.high for c in measured))
    ax.set_yscale("log")
    ax.set_ylim(smallest / 3, 1.5)
    if log_x:
        _logarithmic_widths(ax)
    ax.set_xlabel(x_label)
    ax.set_ylabel("write error rate")
    ax.grid(alpha=0.3)
    artists.append(_legend(ax, calibration))
    return artists


def _counts(calibration: Calibration, curve: FittedCurve) -> list[ErrorCount]:
    table = calibration.counts
    errors, trials = (np.asarray(column)[curve.rows].tolist() for column in (table.errors, table.trials))
    return [ErrorCount(k, n, confidence=calibration.confidence) for k, n in zip(errors, trials, strict=True)]


def _colours(number: int) -> list[Any]:
    """Colours that colour-blind readers can distinguish: of a list, or along a map where that is too short."""
    if number <= len(COLOURS):
        return list(COLOURS[:number])
    from matplotlib import colormaps

    places: Array = np.linspace(0.0, 0.9, number)
    return list(colormaps["cividis"](places))


def _shown(name: str, value: float) -> str:
    from matplotlib.ticker import EngFormatter

    return EngFormatter(UNITS[name])(float(f"{value:.3g}")) + AFTER.get(name, "")


def _logarithmic_widths(ax: "Axes") -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.xaxis.set_minor_formatter(NullFormatter())


def _legend(ax: "Axes", calibration: Calibration) -> Any:
    """Curves, then what the other artists mean, to the right of the axes."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles, _ = ax.get_legend_handles_labels()
    share = f"{100 * calibration.confidence:g} %"
    grey: dict[str, Any] = {"color": "0.4", "mfc": "none"}
    handles.append(Patch(color="0.4", alpha=0.2, lw=0, label=f"{share} interval of the fit"))
    handles.append(Line2D([], [], marker="o", lw=1, label=f"counted, {share} interval", **grey))
    if (np.asarray(calibration.counts.errors) == 0).any():
        handles.append(Line2D([], [], marker="v", lw=0, label="no errors: upper bound", **grey))
    return ax.legend(handles=handles, frameon=False, loc="upper left", bbox_to_anchor=(1.01, 1.0), fontsize=8)
