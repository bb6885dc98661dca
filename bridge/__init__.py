"""From a junction to a memory: write settings, operating points, cells, maps and the cheapest setting."""

from bridge.cell import Cell, narrowest_transistor
from bridge.error_map import write_error_map
from bridge.frontier import pareto, trade_off
from bridge.search import current_for, find_setting, pulse_width_for, smallest_cell, voltage_for
from bridge.transistor import Transistor
from bridge.write import OperatingPoint, WriteSetting, operating_point

__all__ = [
    "Cell",
    "OperatingPoint",
    "Transistor",
    "WriteSetting",
    "current_for",
    "find_setting",
    "narrowest_transistor",
    "operating_point",
    "pareto",
    "pulse_width_for",
    "smallest_cell",
    "trade_off",
    "voltage_for",
    "write_error_map",
]
