"""From a junction to a memory: write settings, operating points, maps and the search for the cheapest setting."""

from bridge.error_map import write_error_map
from bridge.search import current_for, find_setting, pulse_width_for
from bridge.write import OperatingPoint, WriteSetting, operating_point

__all__ = [
    "OperatingPoint",
    "WriteSetting",
    "current_for",
    "find_setting",
    "operating_point",
    "pulse_width_for",
    "write_error_map",
]
