"""Figures of the verbs `wer` and `device`: what they show is solved or counted here, and drawn by `mtjsim.plots`.

matplotlib is imported on first use: most calls of a verb draw nothing. No display is needed.
"""

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from mtjsim.checks import DIRECTIONS, ArgumentError, Array
from mtjsim.device import MTJ
from mtjsim.fokker_planck.reduced import at_rest, departures, is_axisymmetric
from mtjsim.holding import YEAR, read_disturb_rate, retention_failure_rate, strongest_read
from mtjsim.pulse import Drive
from mtjsim.spin_torque import is_across
from mtjsim.switching import write_error_rate
from mtjsim.transport import is_heated

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FEWEST_FOR_A_MAP = 4  # values on each axis; with fewer on one, each of them has a curve
READING = 1e-6  # [s] of the read disturb in a portrait: fifty reads of 20 ns
COUNTED = 500  # writes for each point of a portrait that is counted
LOWEST = 1e-40  # probability shown; leaves room for a legend
HOT = (300.0, 358.15, 398.15)  # K: 27, 85 and 125 degrees Celsius


def check_drawable(levels: Sequence[float], pulse_widths: Sequence[float], *, drive: Drive) -> None:
    """Raise ValueError if `error_rate_figure` would have a single point, or values twice."""
    if len(levels) == len(pulse_widths) == 1:
        rule = f"needs several values of --{drive} or --pulse-width, as in 5ns,10ns"
        raise ArgumentError("--plot", f"{rule}: one point is not a curve.")
    for name, values in ((drive, levels), ("pulse-width", pulse_widths)):
        if len(set(values)) < len(values):
            raise ArgumentError(f"--{name}", "has a value twice, which --plot cannot draw.")


def error_rate_figure(
    levels: Sequence[float],
    pulse_widths: Sequence[float],
    rates: Mapping[str, Array],
    *,
    title: str,
    drive: Drive = "current",
) -> "Figure":
    """Draw solved write error rates: curves along the axis with more values, or a map if both axes have four and more.

    Parameters
    ----------
    levels, pulse_widths : sequences of n and m floats
        [A] or [V], and [s]; in any order.
    rates : dict of (n, m) arrays
        By direction.
    title : str
        Of the figure.
    drive : {"current", "voltage"}
        Quantity of the levels.

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
    """Solve or count, and draw one page: S-curves and error rates of both directions, read disturb, retention.

    Parameters
    ----------
    device : MTJ
        Any junction. A progress bar is shown if the standard error stream is a terminal.
    title : str
        Of the page.

    Returns
    -------
    Figure
        An empty panel, one of `left_out`, has the reason as text.

    Raises
    ------
    ValueError
        As in `write_error_rate` or `simulate_writes`.

    Notes
    -----
    The pulse of the S-curves is five characteristic times, to one digit; the write of the error rates twice the larger
    critical current; the strongest read is `strongest_read` at the highest temperature.
    Writes of a device that is not axisymmetric, where one solve takes seconds to minutes, or that heats itself, are
    counted: `COUNTED` trajectories a point, with their intervals. Under a torque across the easy axis the error rates
    are taken at 1.1 times the critical current, and the state is judged five characteristic times after the pulse, when
    the layer has left the plane.
    """
    from matplotlib.figure import Figure

    tau = device.characteristic_time()
    width = float(f"{5 * tau:.0e}")
    figure = Figure(figsize=(10, 7.6), layout="constrained", dpi=140)
    (s_curves, errors), (disturb, retention) = figure.subplots(2, 2)
    scale = writing_current(device)
    if is_axisymmetric(device) and not is_heated(device):
        _draw_s_curves(s_curves, device, np.linspace(0.0, 4 * scale, 60), width)
        _draw_errors(errors, device, float(f"{2 * scale:.2g}"), np.linspace(0.2 * tau, 15 * tau, 120))
    else:
        rest = float(f"{5 * tau:.0e}") if is_across(device) else 0.0
        _draw_counted(s_curves, errors, device, scale, width, rest)
    empty = left_out(device)
    for name, ax in (("read disturb", disturb), ("retention", retention)):
        if name in empty:
            _write_reason(ax, f"no {name}:", empty[name])
    if "read disturb" not in empty:
        _draw_disturb(disturb, device, strongest_read(device, temperature=HOT[-1]))
    if "retention" not in empty:
        _draw_retention(retention, device)
    forth, back = (device.critical_current(direction) * 1e6 for direction in DIRECTIONS)
    facts = (
        f"Δ {device.thermal_stability():.3g} at 300 K, I_c0 {forth:.3g} µA (P→AP) and {back:.3g} µA (AP→P), "
        f"characteristic time {tau * 1e9:.3g} ns"
    )
    figure.suptitle(f"{title}\n{facts}", fontsize=10)
    return figure


def left_out(device: MTJ) -> dict[str, str]:
    """Return the panels that a portrait leaves out, each with the reason as a clause."""
    reasons = {}
    if device.channel_resistance is not None:
        reasons["read disturb"] = "it is read through another path than its write channel"
    elif not is_axisymmetric(device):
        reasons["read disturb"] = f"it is not axisymmetric: {'; '.join(departures(device))}"
    elif is_heated(device):
        reasons["read disturb"] = "it heats itself, which no rate of escape follows"
    elif strongest_read(device, temperature=HOT[-1]) == 0:
        reasons["read disturb"] = f"it has a barrier too low to be read at {HOT[-1]:.0f} K"
    if not is_axisymmetric(at_rest(device)):
        reasons["retention"] = f"it is not axisymmetric: {'; '.join(departures(at_rest(device)))}"
    return reasons


def writing_current(device: MTJ) -> float:
    """Return the scale of the write currents [A]: the larger critical current."""
    return max(device.critical_current(direction) for direction in DIRECTIONS)


def _draw_counted(
    s_curves: "Axes", errors: "Axes", device: MTJ, scale: float, pulse_width: float, relax_time: float
) -> None:
    """Draw both panels of writes, from trajectories."""
    from mtjsim.macrospin.simulate import simulate_writes  # here: numba takes half a second
    from mtjsim.plots import DIRECTION_STYLE, plot_switching_probability, plot_write_error_rate

    currents = np.linspace(0.0, 3 * scale, 13)[1:]
    strong, widths = float(f"{(1.1 if relax_time else 2) * scale:.2g}"), np.linspace(0.1, 2.0, 8) * pulse_width
    writes = [(I, pulse_width) for I in currents] + [(strong, width) for width in widths]
    bar = tqdm([(d, *w) for d in DIRECTIONS for w in writes], desc="counted writes", disable=None, leave=False)
    counts: dict[str, list[Any]] = {d: [] for d in DIRECTIONS}
    for seed, (d, I, width) in enumerate(bar):
        pulse: dict[str, Any] = {"current": float(I), "pulse_width": float(width), "relax_time": relax_time}
        counts[d].append(simulate_writes(device, trials=COUNTED, seed=seed, direction=d, **pulse))
    nothing: dict[str, Any] = {d: [] for d in DIRECTIONS}  # no curve between the points
    switched: dict[str, Any] = {d: (currents * 1e6, counts[d][: currents.size]) for d in DIRECTIONS}
    failed: dict[str, Any] = {d: (widths * 1e9, counts[d][currents.size :]) for d in DIRECTIONS}
    then = f" and {relax_time * 1e9:g} ns of rest" if relax_time else ""
    counted = f"{COUNTED} writes a point counted"
    plot_switching_probability(s_curves, [], nothing, x_label="write current (µA)", counted=switched)
    labels = [DIRECTION_STYLE[d][2] for d in DIRECTIONS]
    s_curves.legend(s_curves.containers, labels, frameon=False, fontsize=8, loc="lower left")
    s_curves.set_title(f"one pulse of {pulse_width * 1e9:g} ns{then}, 300 K, {counted}", fontsize=8)
    plot_write_error_rate(errors, [], {}, x_label="pulse width (ns)", counted=failed, floor=0.1 / COUNTED)
    errors.legend(frameon=False, fontsize=8, loc="lower left")
    errors.set_title(f"write errors at {strong * 1e6:g} µA{then}, 300 K, {counted}", fontsize=8)


def _write_reason(ax: "Axes", what: str, reason: str) -> None:
    text = "\n".join([what, *textwrap.wrap(reason, 44)])
    ax.text(0.5, 0.5, text, transform=ax.transAxes, ha="center", va="center")
    ax.set_axis_off()


def _draw_s_curves(ax: "Axes", device: MTJ, currents: Array, width: float) -> None:
    """Draw one minus the error rate: a linear axis needs no relative accuracy."""
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
