"""`mtj-bnn setting`: the cheapest write setting under limits, of a bare junction or of one in a cell."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bnn.cli.portrait import FORMATS, save_figure
from bnn.cli.typed import (
    announce,
    name_of,
    named_device,
    option_of,
    print_json,
    probability,
    quantity,
    quantity_or_ends,
)
from bnn.files import checked_file
from mtjsim.device import MTJ
from mtjsim.fokker_planck.reduced import is_axisymmetric

if TYPE_CHECKING:
    from bridge.cell.cell import Cell
    from bridge.write import OperatingPoint

CELL_OPTIONS = ("supply_voltage", "word_line_voltage", "node", "connection")
USUAL_NODE = "45nm_lop"
DECADES_AROUND = (2, 0, -3, -6)  # error rates of the trade-off's picture, in decades from the target
WIDTHS_AROUND = np.geomspace(1 / 3, 3, 9)  # and its pulse widths, in the chosen one


def setting(options: argparse.Namespace) -> None:
    """Find the cheapest write setting that reaches target error rates under limits."""
    from bridge.search.find import find_setting, smallest_cell

    chosen = named_device(options.device)
    plot = None if options.plot is None else checked_file(options.plot, FORMATS, option="--plot")
    both = probability(options.error_rate, "--error-rate")
    targets = tuple(
        both if given is None else probability(given, name)
        for name, given in (("--error-rate-0", options.error_rate_0), ("--error-rate-1", options.error_rate_1))
    )
    limits = _limits(options)
    device = _in_a_cell(options, chosen.device, limits)
    width = None if options.pulse_width is None else quantity_or_ends(options.pulse_width, "s", "--pulse-width")
    if plot is not None and not is_axisymmetric(chosen.device):
        print("note: not axisymmetric, and --plot repeats the search some thirty times: slow.", file=sys.stderr)
    question: dict[str, Any] = {"drive": options.drive, "pulse_width": width, **limits}
    if options.minimize == "area":
        device, point = smallest_cell(device, (targets[0], targets[1]), **question)  # type: ignore[arg-type]
    else:
        point = find_setting(device, (targets[0], targets[1]), minimize=options.minimize, **question)
        device = _narrowed(device, limits["max_area"])
    if plot is not None:
        _draw_setting(options, device, point, (targets[0], targets[1]), limits, plot)
    if options.json:
        print_json({**point.as_dict(), **_cell_facts(device)})
        return
    _print_setting(point, device)


def _limits(options: argparse.Namespace) -> dict[str, Any]:
    """Return what bounds the search and shapes its pulse, by the arguments of `find_setting`."""
    units = {
        "max_current": "A",
        "max_voltage": "V",
        "breakdown_voltage": "V",
        "max_latency": "s",
        "max_area": "m^2",
        "rise_time": "s",
        "relax_time": "s",
    }
    found: dict[str, Any] = {}
    for name, unit in units.items():
        text, option = getattr(options, name), option_of(name)
        found[name] = None if text is None else quantity(text, unit, option)
    return found | {"temperature": quantity_or_ends(options.temperature, "K", "--temperature")}


def _in_a_cell(options: argparse.Namespace, device: MTJ, limits: dict[str, Any]) -> "MTJ | Cell":
    """Put the junction behind the transistor that was typed, if there is one; ValueError if a part of it is missing."""
    if options.transistor_width is None:
        given = [name for name in CELL_OPTIONS if getattr(options, name) is not None]
        given += ["differential"] if options.differential else []
        given += ["max_area"] if limits["max_area"] is not None else []
        if given or options.minimize in ("area", "energy_with_driver"):
            what = option_of(given[0]) if given else f"--minimize {options.minimize}"
            raise ValueError(f"{what} is of a cell: give --transistor-width 270nm and --supply-voltage 1.2V.")
        return device
    if options.supply_voltage is None:
        raise ValueError("--supply-voltage is missing: a cell has a driver, as in --supply-voltage 1.2V.")
    if options.drive == "current" and limits["max_voltage"] is not None:
        raise ValueError("--max-voltage limits --drive voltage; regulated currents come from --supply-voltage.")
    from bridge.cell.cell import Cell
    from bridge.cell.transistor import NODES, Transistor

    node = options.node or USUAL_NODE
    width = quantity(options.transistor_width, "m", "--transistor-width")
    if node in NODES and not width >= NODES[node][0]:
        raise ValueError(f"--transistor-width must be >= {NODES[node][0] * 1e9:g} nm, F of {node}, got {width:g} m.")
    word_line = options.word_line_voltage
    return Cell(
        device=device,
        transistor=Transistor.of_node(node, width=width),
        supply_voltage=quantity(options.supply_voltage, "V", "--supply-voltage"),
        word_line_voltage=None if word_line is None else quantity(word_line, "V", "--word-line-voltage"),  # type: ignore[arg-type]
        connection=options.connection or "reference_at_drain",
        differential=options.differential,
    )


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
    look: dict[str, Any] = {"title": f"{name_of(options.device)}, {heat}", "energy": energy}
    save_figure(setting_figure(drawn, point, max_latency=limits["max_latency"], **look), plot)
    announce(plot)


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
