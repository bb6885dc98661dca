"""From a junction to a memory: write settings, operating points, maps and the search for the cheapest setting."""

from bridge.error_map import write_error_map
from bridge.map_files import load_map, save_map
from bridge.map_lookup import CoarseMapWarning, ErrorMap
from bridge.measured_map import measured_map
from bridge.search import current_for, find_setting, pulse_width_for
from bridge.write import OperatingPoint, WriteSetting, operating_point

__all__ = [
    "CoarseMapWarning",
    "ErrorMap",
    "OperatingPoint",
    "WriteSetting",
    "current_for",
    "find_setting",
    "load_map",
    "measured_map",
    "operating_point",
    "pulse_width_for",
    "save_map",
    "write_error_map",
]
