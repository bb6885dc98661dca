"""`mtj-bnn wer`: write error rates for currents or voltages and pulse widths."""

import argparse
from typing import Any

import numpy as np
from tqdm import tqdm

from bnn.cli.portrait import check_drawable, error_rate_figure
from bnn.cli.shared_options import SEVERAL, add_device, add_plot, add_pulse_conditions
from bnn.cli.typed import figure_file, given, name_of, named_device, print_json, quantities, save_figure
from mtjsim.checks import DIRECTIONS, Array
from mtjsim.device import MTJ
from mtjsim.fokker_planck.reduced import is_axisymmetric
from mtjsim.pulse import UNITS, Drive
from mtjsim.switching import write_error_rate

EXAMPLE = "mtj-bnn wer arm_2021 --current 50uA,60uA --pulse-width 5ns,10ns"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    parser.set_defaults(verb=wer)
    add_device(parser)
    level = parser.add_mutually_exclusive_group(required=True)
    currents = SEVERAL.format("40uA,50uA", "20uA:100uA:9")
    level.add_argument("--current", metavar="CURRENT", help=f"write current: {currents}")
    voltages = SEVERAL.format("500mV,0.6V", "0.3V:0.8V:9")
    level.add_argument(
        "--voltage", metavar="VOLTAGE", help=f"write voltage; the current follows the resistance: {voltages}"
    )
    widths = SEVERAL.format("5ns,10ns", "1ns:20ns:9:log")
    parser.add_argument("--pulse-width", required=True, metavar="TIME", help=f"width at half maximum: {widths}")
    parser.add_argument(
        "--direction",
        choices=[*DIRECTIONS, "both"],
        default="both",
        help="p_to_ap writes a 1, ap_to_p a 0; default both",
    )
    add_plot(parser, "curves, or a map where both axes have four values and more")
    add_pulse_conditions(parser)


def wer(options: argparse.Namespace) -> None:
    """Print write error rates for currents or voltages and pulse widths."""
    chosen = named_device(options.device)
    drive: Drive = "current" if options.voltage is None else "voltage"
    levels = quantities(getattr(options, drive), UNITS[drive], f"--{drive}")
    widths = quantities(options.pulse_width, "s", "--pulse-width")
    pulse = given(options, temperature="K", rise_time="s", relax_time="s")
    directions = DIRECTIONS if options.direction == "both" else (options.direction,)
    plot = figure_file(options)
    if plot is not None:
        check_drawable(levels, widths, drive=drive)
    rates = _solved(chosen.device, drive, levels, widths, directions, pulse)
    if plot is not None:
        title = f"{name_of(options.device)}, {pulse['temperature']:g} K"
        save_figure(error_rate_figure(levels, widths, rates, title=title, drive=drive), plot)
    rows = [
        {
            f"{drive}_{UNITS[drive]}": level,
            "pulse_width_s": width,
            **{name: float(rates[name][i, j]) for name in directions},
        }
        for i, level in enumerate(levels)
        for j, width in enumerate(widths)
    ]
    if options.json:
        print_json({"device_identity": chosen.device.identity, **pulse, "write_error_rate": rows})
    else:
        _print_rates(rows, drive, directions)


def _solved(
    device: MTJ,
    drive: Drive,
    levels: list[float],
    widths: list[float],
    directions: tuple[Any, ...],
    pulse: dict[str, float],
) -> dict[str, Array]:
    """Return the rates of each direction, levels by widths; with a progress bar on a terminal."""
    rates = {name: np.empty((len(levels), len(widths))) for name in directions}
    slow = not is_axisymmetric(device)
    solves = [(name, i) for name in directions for i in range(len(levels))]
    for name, i in tqdm(solves, desc="solves", disable=None, leave=False, delay=0.0 if slow else 1.0):
        one: dict[str, Any] = {drive: levels[i], "direction": name, **pulse}
        rates[name][i] = write_error_rate(device, pulse_width=widths, **one)
    return rates


def _print_rates(rows: list[dict[str, float]], drive: Drive, directions: tuple[str, ...]) -> None:
    scale, digits, unit = (1e6, "7.2f", "µA") if drive == "current" else (1.0, "7.4f", "V ")
    print(f"   {drive}   pulse width   " + "   ".join(f"{name:>12}" for name in directions))
    for row in rows:
        rates = "   ".join(f"{row[name]:12.4e}" for name in directions)
        level = row[f"{drive}_{UNITS[drive]}"] * scale
        print(f"{level:{digits}} {unit}   {row['pulse_width_s'] * 1e9:8.3f} ns   {rates}")
