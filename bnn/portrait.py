"""Figures of the verbs `wer` and `device`: what to draw is computed here, how is up to `mtjsim.plots`.

matplotlib is imported on first use: most calls of a verb draw nothing. Nothing here needs a display.
"""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bnn.files import require_writable, write_whole
from mtjsim.checks import DIRECTIONS, Array
from mtjsim.device import MTJ
from mtjsim.explorer import YEAR, strongest_read
from mtjsim.holding import read_disturb_rate, retention_failure_rate
from mtjsim.pulse import Drive
from mtjsim.switching import write_error_rate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = (".pdf", ".png", ".svg")
FEWEST_FOR_A_MAP = 4  # values of both; with fewer of one there is a curve for each
READING = 1e-6  # [s] of the read disturb in a portrait: fifty reads of 20 ns
LOWEST = 1e-40  # probability shown; leaves room for a legend
HOT = (300.0, 358.15, 398.15)  # K: 27, 85 and 125 degrees Celsius


def checked_plot_file(text: str, *, option: str = "--plot") -> Path:
    """Return the path of a figure that can be written there, tried before any work is done.

    Parameters
    ----------
    text : str
        As typed; its folder is made if need be.
    option : str
        Named in messages.

    Returns
    -------
    Path

    Raises
    ------
    ValueError
        If the extension is none of `FORMATS`.
    OSError
        If the folder cannot be written, or the path is a folder.
    """
    path = Path(text)
    if path.suffix.lower() not in FORMATS:
        raise ValueError(f"{option} must end in {', '.join(FORMATS)}, got {text!r}.")
    if path.is_dir():
        raise OSError(f"{option} {text!r} is a folder. Name a file in it.")
    require_writable(path.parent, option=option)
    return path


def save_figure(figure: "Figure", path: Path) -> None:
    """Write under a temporary name, then rename; the format follows the extension."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format=path.suffix.lower().removeprefix("."))
    write_whole(path, buffer.getvalue())


def check_drawable(levels: Sequence[float], pulse_widths: Sequence[float], *, drive: Drive) -> None:
    """Raise ValueError if `error_rate_figure` would have a single point, or values twice."""
    if len(levels) == len(pulse_widths) == 1:
        raise ValueError(f"--plot needs several values of --{drive} or --pulse-width, as in 5ns,10ns: one is no curve.")
    for name, values in ((drive, levels), ("pulse-width", pulse_widths)):
        if len(set(values)) < len(values):
            raise ValueError(f"--{name} has a value twice, which --plot cannot draw.")


def error_rate_figure(
    levels: Sequence[float],
    pulse_widths: Sequence[float],
    rates: Mapping[str, Array],
    *,
    title: str,
    drive: Drive = "current",
) -> "Figure":
    """Draw solved write error rates: a curve against what there are several of, a map if there are many of both.

    Parameters
    ----------
    levels, pulse_widths : sequences of n and m floats
        [A] or [V], and [s]; in any order.
    rates : dict of (n, m) arrays
        By direction.
    title : str
        Of the figure.
    drive : {"current", "voltage"}
        What the levels are.

    Returns
    -------
    Figure
    """
    from mtjsim.plots import DIRECTION_STYLE, DRIVE_LABEL, plot_error_map, plot_write_error_rate

    order, across = np.argsort(levels), np.argsort(pulse_widths)
    I, t = np.asarray(levels)[order], np.asarray(pulse_widths)[across]
    grids = {name: np.asarray(rate)[order][:, across] for name, rate in rates.items()}
    if min(I.size, t.size) >= FEWEST_FOR_A_MAP:
        figure, axes = _canvas(len(grids), title)
        for ax, (name, grid) in zip(axes, grids.items(), strict=True):
            plot_error_map(ax, I, t, grid, drive=drive)
            ax.set_title(DIRECTION_STYLE[name][2], fontsize=10)
        return figure
    scale, label = DRIVE_LABEL[drive]
    unit = label[label.index("(") + 1 : -1]
    lowest = max(min(float(grid.min()) for grid in grids.values()), 1e-40)
    floor = 10.0 ** np.floor(np.log10(lowest / 2))
    if t.size >= I.size:
        figure, axes = _canvas(I.size, title)
        for k, ax in enumerate(axes):
            curves = {name: grid[k] for name, grid in grids.items()}
            plot_write_error_rate(ax, t * 1e9, curves, x_label="pulse width (ns)", floor=floor)
            ax.set_title(f"{I[k] * scale:g} {unit}", fontsize=10)
        return figure
    figure, axes = _canvas(t.size, title)
    for k, ax in enumerate(axes):
        curves = {name: grid[:, k] for name, grid in grids.items()}
        plot_write_error_rate(ax, I * scale, curves, x_label=label, floor=floor)
        ax.set_title(f"{t[k] * 1e9:g} ns", fontsize=10)
    return figure


def device_portrait(device: MTJ, *, title: str) -> "Figure":
    """Solve and draw one page: S-curves and error rates of both directions, read disturb, retention.

    Parameters
    ----------
    device : MTJ
        An axisymmetric junction that does not heat itself.
    title : str
        Of the page.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        As in `write_error_rate`.

    Notes
    -----
    The pulse of the S-curves is five characteristic times, to one digit; the write of the error rates twice the larger
    critical current; the strongest read is `strongest_read` at the highest temperature.
    A three-terminal device is read through another path than it is written: its read disturb is left out.
    """
    from matplotlib.figure import Figure

    tau = device.characteristic_time()
    critical = [device.critical_current(direction) for direction in DIRECTIONS]
    width = float(f"{5 * tau:.0e}")
    figure = Figure(figsize=(10, 7.6), layout="constrained", dpi=140)
    (s_curves, errors), (disturb, retention) = figure.subplots(2, 2)
    _draw_s_curves(s_curves, device, np.linspace(0.0, 4 * max(critical), 60), width)
    _draw_errors(errors, device, float(f"{2 * max(critical):.2g}"), np.linspace(0.2 * tau, 15 * tau, 120))
    _draw_disturb(disturb, device, strongest_read(device, temperature=HOT[-1]))
    _draw_retention(retention, device)
    facts = (
        f"Δ {device.thermal_stability():.3g} at 300 K, I_c0 {critical[0] * 1e6:.3g} µA (P→AP) and "
        f"{critical[1] * 1e6:.3g} µA (AP→P), characteristic time {tau * 1e9:.3g} ns"
    )
    figure.suptitle(f"{title}\n{facts}", fontsize=10)
    return figure


def _draw_s_curves(ax: "Axes", device: MTJ, currents: Array, width: float) -> None:
    """One minus the error rate: on a linear axis its absolute accuracy is what counts."""
    from mtjsim.plots import plot_switching_probability

    switched: dict[str, Any] = {
        d: 1 - write_error_rate(device, current=currents, pulse_width=width, direction=d) for d in DIRECTIONS
    }
    plot_switching_probability(ax, currents * 1e6, switched, x_label="write current (µA)")
    ax.legend(frameon=False, fontsize=8, loc="lower left")  # where no curve is
    ax.set_title(f"switching in one pulse of {width * 1e9:g} ns, 300 K", fontsize=10)


def _draw_errors(ax: "Axes", device: MTJ, current: float, widths: Array) -> None:
    from mtjsim.plots import plot_write_error_rate

    rates: dict[str, Any] = {
        d: write_error_rate(device, current=current, pulse_width=widths, direction=d) for d in DIRECTIONS
    }
    plot_write_error_rate(ax, widths * 1e9, rates, x_label="pulse width (ns)")
    ax.set_title(f"write errors at {current * 1e6:g} µA, 300 K", fontsize=10)


def _draw_disturb(ax: "Axes", device: MTJ, strongest: float) -> None:
    from mtjsim.plots import plot_holding

    if device.channel_resistance is not None or strongest == 0:
        reason = "read through another path\nthan its write channel" if strongest else "barrier too low to be read"
        ax.text(0.5, 0.5, f"no read disturb:\n{reason}", transform=ax.transAxes, ha="center", va="center")
        ax.set_axis_off()
        return
    currents = np.linspace(0.0, strongest, 25)
    failures = _by_state(
        {
            (name, T): read_disturb_rate(device, current=currents, duration=READING, state=name, temperature=T)
            for T in (HOT[0], HOT[-1])
            for name in ("p", "ap")
        }
    )
    plot_holding(
        ax, currents * 1e6, failures, x_label="read current against the stored bit (µA)", floor=LOWEST, log_x=False
    )
    ax.legend(frameon=False, fontsize=8, loc="lower center")
    ax.set_title(f"read disturb after {READING * 1e6:g} µs of reading", fontsize=10)


def _draw_retention(ax: "Axes", device: MTJ) -> None:
    from mtjsim.plots import plot_holding

    seconds = np.geomspace(1e-3, 100 * YEAR, 80)
    failures = _by_state(
        {
            (name, T): retention_failure_rate(device, duration=seconds, state=name, temperature=T)
            for T in HOT
            for name in ("p", "ap")
        }
    )
    plot_holding(ax, seconds, failures, x_label="time (s)", floor=LOWEST, marks={"10 years": 10 * YEAR})
    ax.legend(frameon=False, fontsize=8, loc="lower center")
    ax.set_title("retention, nothing applied", fontsize=10)


def _by_state(failures: dict[tuple[str, float], Any]) -> dict[str, Any]:
    """Label failures by (state, temperature); one line where both states are alike."""
    labelled: dict[str, Any] = {}
    for T in dict.fromkeys(T for _, T in failures):
        p, ap = failures["p", T], failures["ap", T]
        if np.allclose(p, ap, rtol=1e-3, atol=0.0):
            labelled[f"either state, {T:.0f} K"] = p
        else:
            labelled |= {f"stored P, {T:.0f} K": p, f"stored AP, {T:.0f} K": ap}
    return labelled


def _canvas(panels: int, title: str) -> "tuple[Figure, list[Axes]]":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(1.0 + 4.6 * panels, 4.0), layout="constrained", dpi=140)
    figure.suptitle(title, fontsize=10)
    return figure, list(figure.subplots(1, panels, squeeze=False)[0])
