"""The memory: a cell behind its transistor, a million that differ, words, codes, policies, and its energy.

one cell        `write.py` a setting and its operating point · `cell/` the junction behind a transistor
                `update_pulse.py` pulses by which a junction learns
many settings   `maps/` solved once or measured, interpolated between the nodes · `search/` the cheapest one
many cells      `dies/` spread and faults · `crossbar/` pairs of junctions as weights
a memory        `memory/` declared by a `WordMemory`, numbers in and out; a failed write leaves the old bit ·
                `ledger.py` events and their energy
shared          `checks.py` of arguments · `log_log.py` a transform of error rates · `netcdf.py` files

figures         `plots.py` of maps, trade-offs, cells and dies

Names that are slow to import are imported on first use.
"""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING, Any

from bridge.search.find import current_for, find_setting, pulse_width_for, smallest_cell, voltage_for
from bridge.write import OperatingPoint, WriteSetting, operating_point

if TYPE_CHECKING:
    from bridge.cell.cell import Cell, narrowest_transistor
    from bridge.cell.transistor import Transistor
    from bridge.crossbar.array import PairArray, junctions_of
    from bridge.dies.die import Die
    from bridge.dies.faults import Process
    from bridge.dies.files import load_die, save_die
    from bridge.dies.spread import Spread
    from bridge.dies.variability import Population
    from bridge.ledger import Entry, Ledger, transfer
    from bridge.maps.error_map import write_error_map
    from bridge.maps.files import load_map, save_map
    from bridge.maps.lookup import CoarseMapWarning, ErrorMap
    from bridge.maps.measured import measured_map
    from bridge.maps.rate_table import WriteRates, read_rates
    from bridge.memory.cells import PLAIN, READ_BEFORE_WRITE, WRITE_VERIFY_RETRY, WritePolicy
    from bridge.memory.declaration import WordMemory
    from bridge.memory.formats import FORMATS, Format, format_of
    from bridge.memory.in_place import InPlaceMemory
    from bridge.memory.mram import Memory
    from bridge.memory.protection import Protection
    from bridge.memory.read import ReadPoint, ReadSetting, Retention, read_point
    from bridge.memory.sram import SRAM
    from bridge.search.frontier import pareto, trade_off
    from bridge.update_pulse import SwitchingTable, UpdateDriver, switching_table

_ON_FIRST_USE = {
    name: module
    for module, names in {
        "cell.cell": ("Cell", "narrowest_transistor"),
        "cell.transistor": ("Transistor",),
        "crossbar.array": ("PairArray", "junctions_of"),
        "dies.die": ("Die",),
        "dies.faults": ("Process",),
        "dies.files": ("load_die", "save_die"),
        "dies.spread": ("Spread",),
        "dies.variability": ("Population",),
        "ledger": ("Entry", "Ledger", "transfer"),
        "maps.error_map": ("write_error_map",),
        "maps.files": ("load_map", "save_map"),
        "maps.lookup": ("CoarseMapWarning", "ErrorMap"),
        "maps.measured": ("measured_map",),
        "maps.rate_table": ("WriteRates", "read_rates"),
        "memory.cells": ("PLAIN", "READ_BEFORE_WRITE", "WRITE_VERIFY_RETRY", "WritePolicy"),
        "memory.declaration": ("WordMemory",),
        "memory.formats": ("FORMATS", "Format", "format_of"),
        "memory.in_place": ("InPlaceMemory",),
        "memory.mram": ("Memory",),
        "memory.protection": ("Protection",),
        "memory.read": ("ReadPoint", "ReadSetting", "Retention", "read_point"),
        "memory.sram": ("SRAM",),
        "search.frontier": ("pareto", "trade_off"),
        "update_pulse": ("SwitchingTable", "UpdateDriver", "switching_table"),
    }.items()
    for name in names
}

__all__ = [
    "FORMATS",
    "PLAIN",
    "READ_BEFORE_WRITE",
    "SRAM",
    "WRITE_VERIFY_RETRY",
    "Cell",
    "CoarseMapWarning",
    "Die",
    "Entry",
    "ErrorMap",
    "Format",
    "InPlaceMemory",
    "Ledger",
    "Memory",
    "OperatingPoint",
    "PairArray",
    "Population",
    "Process",
    "Protection",
    "ReadPoint",
    "ReadSetting",
    "Retention",
    "Spread",
    "SwitchingTable",
    "Transistor",
    "UpdateDriver",
    "WordMemory",
    "WritePolicy",
    "WriteRates",
    "WriteSetting",
    "current_for",
    "find_setting",
    "format_of",
    "junctions_of",
    "load_die",
    "load_map",
    "measured_map",
    "narrowest_transistor",
    "operating_point",
    "pareto",
    "pulse_width_for",
    "read_point",
    "read_rates",
    "save_die",
    "save_map",
    "smallest_cell",
    "switching_table",
    "trade_off",
    "transfer",
    "voltage_for",
    "write_error_map",
]


def __getattr__(name: str) -> Any:
    if name in _ON_FIRST_USE:
        return getattr(_import_module(f"bridge.{_ON_FIRST_USE[name]}"), name)
    if name == "plots":
        return _import_module("bridge.plots")
    if name == "__version__":
        from importlib.metadata import version

        return version("mtj-bnn")
    from mtjsim.checks import missing_attribute

    raise missing_attribute(f"module {__name__!r}", name, __dir__())


def __dir__() -> list[str]:
    return sorted([*__all__, "plots"])
