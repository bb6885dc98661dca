"""`mtj-bnn setting`: the cheapest write setting under limits, of a bare junction or of one in a cell."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bnn.cli.cell_options import OF_A_CELL, add_cell, in_a_cell
from bnn.cli.shared_options import add_device, add_plot, add_ramps
from bnn.cli.typed import (
    figure_file,
    given,
    name_of,
    named_device,
    number,
    option_of,
    print_json,
    quantity_or_ends,
    save_figure,
)
from bridge.cell.cell import Cell
from mtjsim.checks import ArgumentError
from mtjsim.device import MTJ
from mtjsim.fokker_planck.reduced import is_axisymmetric

if TYPE_CHECKING:
    from bridge.write import OperatingPoint

EXAMPLE = "mtj-bnn setting arm_2021 --error-rate 1e-6 --max-latency 20ns"
DECADES_AROUND = (2, 0, -3, -6)  # error rates of the trade-off's picture, in decades from the target
WIDTHS_AROUND = np.geomspace(1 / 3, 3, 9)  # its pulse widths, relative to the chosen one


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    parser.set_defaults(verb=setting)
    add_device(parser)
    one = "target error rate of writing a {}; default: that of both bits".format
    parser.add_argument(
        "--error-rate", default="1e-3", metavar="RATE", help="target error rate of both bits; default 1e-3"
    )
    parser.add_argument("--error-rate-0", metavar="RATE", help=one(0))
    parser.add_argument("--error-rate-1", metavar="RATE", help=one(1))
    parser.add_argument(
        "--minimize",
        choices=["energy", "latency", "energy_with_driver", "area"],
        default="energy",
        help="quantity to minimize; energy_with_driver and area need a cell; default energy",
    )
    parser.add_argument(
        "--drive",
        choices=["current", "voltage"],
        default="current",
        help="search for currents or for voltages; default current",
    )
    parser.add_argument(
        "--pulse-width", metavar="TIME", help="pulse width as in 5ns, or its range as in 2ns:20ns; default: searched"
    )
    parser.add_argument(
        "--temperature",
        default="300K",
        metavar="TEMPERATURE",
        help="temperature at which the targets hold, or its range, as in 263K:358K or -10degC:85degC; default 300K",
    )
    add_ramps(parser)
    add_plot(parser, "energy against latency for several error rates")
    _add_limits(parser.add_argument_group("limits, none by default"))
    add_cell(parser)


def _add_limits(group: argparse._ArgumentGroup) -> None:
    for name, metavar, text in (
        ("--max-current", "CURRENT", "largest write current of either bit, as in 100uA"),
        ("--max-voltage", "VOLTAGE", "largest voltage across a bare junction, or supply of a cell, as in 0.8V"),
        ("--breakdown-voltage", "VOLTAGE", "breakdown voltage of the tunnel barrier, as in 1.1V"),
        ("--max-latency", "TIME", "longest pulse with its ramp and relaxation, as in 20ns"),
        ("--max-area", "AREA", "largest area of a cell, as in 0.04um^2; its transistor is narrowed to fit"),
    ):
        group.add_argument(name, metavar=metavar, help=text)


def setting(options: argparse.Namespace) -> None:
    """Find the cheapest write setting that reaches target error rates under limits."""
    from bridge.search.find import find_setting, smallest_cell

    chosen = named_device(options.device)
    plot = figure_file(options)
    targets = _targets(options)
    limits = _limits(options)
    if options.transistor_width is None and options.minimize in ("area", "energy_with_driver"):
        raise ArgumentError(f"--minimize {options.minimize}", OF_A_CELL)
    device = in_a_cell(options, chosen.device)
    if isinstance(device, Cell) and options.drive == "current" and "max_voltage" in limits:
        raise ArgumentError("--max-voltage", "limits --drive voltage; regulated currents come from --supply-voltage.")
    if plot is not None and not is_axisymmetric(chosen.device):
        print("note: not axisymmetric, and --plot repeats the search some thirty times: slow.", file=sys.stderr)
    question: dict[str, Any] = {"drive": options.drive, **limits}
    if options.pulse_width is not None:
        question["pulse_width"] = quantity_or_ends(options.pulse_width, "s", "--pulse-width")
    if options.minimize == "area":
        device, point = smallest_cell(device, targets, **question)  # type: ignore[arg-type]
    else:
        point = find_setting(device, targets, minimize=options.minimize, **question)
        device = _narrowed(device, limits.get("max_area"))
    if plot is not None:
        _draw_setting(options, device, point, targets, limits, plot)
    if options.json:
        print_json({**point.as_dict(), **_cell_facts(device)})
    else:
        _print_setting(point, device)


def _targets(options: argparse.Namespace) -> tuple[float, float]:
    own = ("error_rate_0", "error_rate_1")
    names = {name: "error_rate" if getattr(options, name) is None else name for name in own}
    options.option_of = {**getattr(options, "option_of", {}), **{name: option_of(names[name]) for name in own}}
    zero, one = (number(getattr(options, names[name]), option_of(names[name])) for name in own)
    return zero, one


def _limits(options: argparse.Namespace) -> dict[str, Any]:
    """Return the limits of the search and the conditions of its pulse, by the arguments of `find_setting`."""
    limits = given(
        options,
        max_current="A",
        max_voltage="V",
        breakdown_voltage="V",
        max_latency="s",
        max_area="m^2",
        rise_time="s",
        relax_time="s",
    )
    return {**limits, "temperature": quantity_or_ends(options.temperature, "K", "--temperature")}


def _narrowed(device: "MTJ | Cell", max_area: float | None) -> "MTJ | Cell":
    """Return the cell that the search used: within the area that is allowed."""
    if max_area is None or isinstance(device, MTJ):
        return device
    from bridge.cell.cell import within_area

    return within_area(device, max_area)


def _cell_facts(device: "MTJ | Cell") -> dict[str, Any]:
    if isinstance(device, MTJ):
        return {}
    W = device.transistor.width
    facts = {"layout": device.layout, "transistor_width_m": W, "area_m2": device.area, "area_f2": device.area_f2}
    return {"cell": facts | {"supply_voltage_V": device.supply_voltage}}


def _draw_setting(
    options: argparse.Namespace,
    device: "MTJ | Cell",
    point: "OperatingPoint",
    targets: tuple[float, float],
    limits: dict[str, Any],
    plot: Path,
) -> None:
    from bnn.cli.memory_portrait import setting_figure
    from bridge.search.frontier import trade_off
    from bridge.search.inquiry import SMALLEST_TARGET

    strictest = min(targets)
    rates = {strictest * 10.0**n for n in DECADES_AROUND if SMALLEST_TARGET <= strictest * 10.0**n < 0.3}
    widths = point.setting.pulse_width * WIDTHS_AROUND
    rest = {name: value for name, value in limits.items() if name not in ("max_area", "max_latency")}
    drawn = trade_off(device, sorted({*rates, *targets}, reverse=True), widths, drive=options.drive, **rest)
    energy = "energy_with_driver" if options.minimize == "energy_with_driver" else "energy"
    T = limits["temperature"]
    heat = f"{T:g} K" if isinstance(T, float) else f"{T[0]:g} to {T[1]:g} K"
    title = f"{name_of(options.device)}, {heat}"
    if not isinstance(device, MTJ):
        W, V = device.transistor.width * 1e9, device.supply_voltage
        title += f"; {device.layout}, transistor of {W:.0f} nm, supply of {V:g} V"
    look: dict[str, Any] = {"title": title, "energy": energy}
    save_figure(setting_figure(drawn, point, max_latency=limits.get("max_latency"), **look), plot)


def _print_setting(point: "OperatingPoint", device: "MTJ | Cell") -> None:
    s = point.setting
    scale, unit = (1e6, "µA") if s.drive == "current" else (1.0, "V")
    print(f"pulse width   {s.pulse_width * 1e9:8.3f} ns   latency {point.latency * 1e9:.3f} ns")
    for bit, rate, energy in ((0, point.error_rate_0, point.energy_0), (1, point.error_rate_1, point.energy_1)):
        level = s.amplitudes[bit] * scale
        print(f"write {bit}       {level:8.3f} {unit}   error rate {rate:.3e}   {energy * 1e15:8.2f} fJ")
    print(f"mean          {point.mean_energy * 1e15:.2f} fJ a bit, in the junction")
    if isinstance(device, MTJ):
        return
    print(f"              {point.mean_energy_with_driver * 1e15:.2f} fJ with transistor and driver")
    W = device.transistor.width * 1e9
    print(f"cell          {device.layout}, W = {W:.0f} nm, {device.area_f2:.1f} F^2 = {device.area * 1e12:.4f} um^2")
