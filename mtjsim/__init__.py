"""The device: one magnetic tunnel junction, its write error rate, its energy. From a free layer to a probability."""

from mtjsim.analytic import closed_form_escape_rate, closed_form_write_error_rate, drift_time, tail_slope
from mtjsim.device import MTJ, effective_anisotropy_field
from mtjsim.holding import (
    read_disturb_rate,
    retention_failure_rate,
    retention_time,
    thermal_stability_for_retention,
)
from mtjsim.presets import DeviceFile, list_presets, load_device, load_preset, preset_file, save_device
from mtjsim.switching import dissipated_energy, switching_probability, write_error_rate
from mtjsim.transport import junction_resistance
from mtjsim.units import to_si

__all__ = [
    "MTJ",
    "DeviceFile",
    "closed_form_escape_rate",
    "closed_form_write_error_rate",
    "dissipated_energy",
    "drift_time",
    "effective_anisotropy_field",
    "junction_resistance",
    "list_presets",
    "load_device",
    "load_preset",
    "preset_file",
    "read_disturb_rate",
    "retention_failure_rate",
    "retention_time",
    "save_device",
    "switching_probability",
    "tail_slope",
    "thermal_stability_for_retention",
    "to_si",
    "write_error_rate",
]
