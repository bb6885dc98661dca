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
from mtjsim.plot_style import (
    BLACK,
    BOTH,
    DIRECTION_STYLE,
    DISCRETE,
    DRIVE_LABEL,
    SMALL,
    STATE_DASH,
    TITLE,
    alike,
    direction_line,
    legend_below,
    legend_beside,
    log_rate_axis,
    ordered_colours,
    rate_bar,
    temperature_colours,
)
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
LOWEST = 1e-40  # probability shown
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
    order, across = np.argsort(levels), np.argsort(pulse_widths)
    I, t = np.asarray(levels)[order], np.asarray(pulse_widths)[across]
    grids = {name: np.asarray(rate)[order][:, across] for name, rate in rates.items()}
    if min(I.size, t.size) >= FEWEST_FOR_A_MAP:
        return _error_maps(I, t, grids, title=title, drive=drive)
    scale, label = DRIVE_LABEL[drive]
    of_level = [f"{level * scale:g} {label[label.index('(') + 1 : -1]}" for level in I]
    of_width = [f"{width * 1e9:g} ns" for width in t]
    if t.size >= I.size:
        curves = {name: list(grid) for name, grid in grids.items()}
        return _error_curves(t * 1e9, "pulse width (ns)", of_level, curves, title)
    curves = {name: list(grid.T) for name, grid in grids.items()}
    return _error_curves(I * scale, label, of_width, curves, title)


def _error_maps(I: Array, t: Array, grids: Mapping[str, Array], *, title: str, drive: Drive) -> "Figure":
    """Draw a map for each direction, or one where both are alike, with one scale for all."""
    from mtjsim.plots import plot_error_map

    named = {DIRECTION_STYLE[name][2]: grid for name, grid in grids.items()}
    if len(grids) == 2 and alike(*grids.values()):
        named = {BOTH: next(iter(grids.values()))}
    figure, axes = _canvas(len(named), "" if len(named) == 1 else title)
    for ax, (name, grid) in zip(axes, named.items(), strict=True):
        mesh = plot_error_map(ax, I, t, grid, drive=drive, colorbar=False)[0]
        ax.set_title(name if len(named) > 1 else f"{title}, {name}", fontsize=TITLE)
    rate_bar(axes, mesh, lowest=float(np.log10(min(grid.min() for grid in grids.values()))))
    return figure


def _error_curves(
    x: Array, x_label: str, names: Sequence[str], curves: Mapping[str, Sequence[Array]], title: str
) -> "Figure":
    """Draw all curves on one axis: several `names` by colour, the directions by the width of the line."""
    from matplotlib.lines import Line2D

    figure, (ax,) = _canvas(1, "")
    same = len(curves) == 2 and all(alike(*pair) for pair in zip(*curves.values(), strict=True))
    drawn: dict[str, Sequence[Array]] = {"ap_to_p": next(iter(curves.values()))} if same else dict(curves)
    few = dict(zip(names, ordered_colours(len(names)), strict=True)) if len(names) > 1 else {}
    dots = {"marker": "o", "ms": 3} if x.size < DISCRETE else {}
    for direction, several in drawn.items():
        for name, curve in zip(names, several, strict=True):
            style: dict[str, Any] = {**direction_line(direction, alone=len(drawn) == 1), **dots}
            style |= {"color": few[name]} if few else {"color": BLACK} if same else {}
            ax.plot(x, curve, **style | {"label": f"{style['label']}, {name}"})
    lowest = max(min(float(curve.min()) for several in curves.values() for curve in several), LOWEST)
    log_rate_axis(ax, 10.0 ** np.floor(np.log10(lowest / 2)))
    ax.set_xlabel(x_label)
    ax.set_ylabel("write error rate")
    ax.set_title(title if few else f"{title}, {names[0]}", fontsize=TITLE)
    handles = [Line2D([], [], color=colour, lw=2, label=name) for name, colour in few.items()]
    for direction in drawn:
        style = direction_line(direction, alone=len(drawn) == 1) | (
            {"color": BLACK, "alpha": 1.0} if few or same else {}
        )
        handles.append(Line2D([], [], **style | ({"label": BOTH} if same else {})))
    legend_beside(ax, handles)
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
    empty = left_out(device)
    rows = 1 if len(empty) == 2 else 2
    figure = Figure(figsize=(11, 3.9 * rows + 0.3), layout="constrained", dpi=140)
    (s_curves, errors), *below = figure.subplots(rows, 2, squeeze=False)
    scale = writing_current(device)
    if is_axisymmetric(device) and not is_heated(device):
        _draw_s_curves(s_curves, device, np.linspace(0.0, 4 * scale, 60), width)
        _draw_errors(errors, device, float(f"{2 * scale:.2g}"), np.linspace(0.2 * tau, 15 * tau, 120))
    else:
        rest = float(f"{5 * tau:.0e}") if is_across(device) else 0.0
        _draw_counted(s_curves, errors, device, scale, width, rest)
    if below:
        for name, ax in zip(("read disturb", "retention"), below[0], strict=True):
            if name in empty:
                _write_reason(ax, f"no {name}:", empty[name])
        if "read disturb" not in empty:
            _draw_disturb(below[0][0], device, strongest_read(device, temperature=HOT[-1]))
        if "retention" not in empty:
            _draw_retention(below[0][1], device)
    else:
        reasons = "\n".join(f"No {name}: {reason}." for name, reason in empty.items())
        figure.supxlabel(textwrap.fill(reasons, 170), fontsize=SMALL)
    forth, back = (device.critical_current(direction) * 1e6 for direction in DIRECTIONS)
    facts = (
        f"Δ {_digits(device.thermal_stability())} at 300 K, I_c0 {_digits(forth)} µA (P→AP) and "
        f"{_digits(back)} µA (AP→P), characteristic time {_digits(tau * 1e9)} ns"
    )
    figure.suptitle(f"{title}\n{facts}", fontsize=TITLE)
    return figure


def _digits(value: float) -> str:
    """Return a number rounded to three digits, without an exponent where it is in the thousands."""
    return f"{float(f'{value:.3g}'):g}"


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
    from mtjsim.plots import plot_switching_probability, plot_write_error_rate

    currents = np.linspace(0.0, 3 * scale, 13)[1:]
    strong, widths = float(f"{(1.1 if relax_time else 2) * scale:.2g}"), np.linspace(0.05, 0.4, 8) * pulse_width
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
    s_curves.legend(s_curves.containers, labels, frameon=False, fontsize=SMALL, loc="lower left")
    s_curves.set_title(f"one pulse of {pulse_width * 1e9:g} ns{then}, 300 K\n{counted}", fontsize=TITLE)
    lowest = min(count.low if count.errors else count.high for _, some in failed.values() for count in some)
    floor = 10.0 ** np.floor(np.log10(min(lowest / 1.5, 1e-2)))
    plot_write_error_rate(errors, [], {}, x_label="pulse width (ns)", counted=failed, floor=floor)
    legend_below(errors, ncols=2)
    errors.set_title(f"write errors at {strong * 1e6:g} µA{then}, 300 K\n{counted}", fontsize=TITLE)


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
    ax.legend(frameon=False, fontsize=SMALL, loc="lower left")  # where no curve is
    ax.set_title(f"switching in one pulse of {width * 1e9:g} ns, 300 K", fontsize=TITLE)


def _draw_errors(ax: "Axes", device: MTJ, current: float, widths: Array) -> None:
    from mtjsim.plots import plot_write_error_rate

    rates: dict[str, Any] = {
        d: write_error_rate(device, current=current, pulse_width=widths, direction=d) for d in DIRECTIONS
    }
    plot_write_error_rate(ax, widths * 1e9, rates, x_label="pulse width (ns)")
    ax.legend(frameon=False, fontsize=SMALL)
    ax.set_title(f"write errors at {current * 1e6:g} µA, 300 K", fontsize=TITLE)


def _draw_disturb(ax: "Axes", device: MTJ, strongest: float) -> None:
    from mtjsim.plots import plot_holding

    currents = np.linspace(0.0, strongest, 25)
    failures = {
        (name, T): read_disturb_rate(device, current=currents, duration=READING, state=name, temperature=T)
        for T in (HOT[0], HOT[-1])
        for name in ("p", "ap")
    }
    look: dict[str, Any] = {**_by_state(failures), "log_x": False}
    plot_holding(ax, currents * 1e6, x_label="read current against the stored bit (µA)", **look)
    legend_beside(ax)
    ax.set_title(f"read disturb after {READING * 1e6:g} µs of reading", fontsize=TITLE)


def _draw_retention(ax: "Axes", device: MTJ) -> None:
    from mtjsim.plots import plot_holding

    seconds = np.geomspace(1e-3, 100 * YEAR, 80)
    failures = {
        (name, T): retention_failure_rate(device, duration=seconds, state=name, temperature=T)
        for T in HOT
        for name in ("p", "ap")
    }
    plot_holding(ax, seconds, x_label="time (s)", marks={"10 years": 10 * YEAR}, **_by_state(failures))
    legend_beside(ax)
    ax.set_title("retention, nothing applied", fontsize=TITLE)


def _by_state(failures: dict[tuple[str, float], Any]) -> dict[str, Any]:
    """Return curves with labels, colours by temperature and dashes by state; one line where both states are alike."""
    temperatures = list(dict.fromkeys(T for _, T in failures))
    of_temperature = temperature_colours(temperatures)
    curves: dict[str, Any] = {}
    colours: dict[str, Any] = {}
    dashes: dict[str, str] = {}
    for T in temperatures:
        p, ap = failures["p", T], failures["ap", T]
        both = alike(p, ap)
        named = {f"{T:.0f} K": (p, "p")} if both else {f"P, {T:.0f} K": (p, "p"), f"AP, {T:.0f} K": (ap, "ap")}
        for label, (curve, state) in named.items():
            curves[label], colours[label], dashes[label] = curve, of_temperature[T], STATE_DASH[state]
    lowest = min(float(np.min(curve[curve > 0], initial=1.0)) for curve in curves.values())
    floor = 10.0 ** np.floor(np.log10(max(lowest, LOWEST) / 2))
    return {"failures": curves, "colours": colours, "dashes": dashes, "floor": floor}


def _canvas(panels: int, title: str) -> "tuple[Figure, list[Axes]]":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(1.6 + 4.6 * panels, 4.0), layout="constrained", dpi=140)
    if title:
        figure.suptitle(title, fontsize=TITLE)
    return figure, list(figure.subplots(1, panels, squeeze=False)[0])
