"""The device: one magnetic tunnel junction, its write error rate, its energy. From a free layer to a probability."""

from mtjsim.calibrate import CalibrationWarning, calibrate
from mtjsim.calibration import Calibration
from mtjsim.device import MTJ, effective_anisotropy_field
from mtjsim.measurement import WriteCounts, read_counts, simulate_counts, write_counts
from mtjsim.presets import DeviceFile, list_presets, load_device, load_preset, preset_file, save_device
from mtjsim.switching import dissipated_energy, switching_probability, write_error_rate
from mtjsim.transport import junction_resistance
from mtjsim.units import to_si

__all__ = [
    "MTJ",
    "Calibration",
    "CalibrationWarning",
    "DeviceFile",
    "WriteCounts",
    "calibrate",
    "dissipated_energy",
    "effective_anisotropy_field",
    "junction_resistance",
    "list_presets",
    "load_device",
    "load_preset",
    "preset_file",
    "read_counts",
    "save_device",
    "simulate_counts",
    "switching_probability",
    "to_si",
    "write_counts",
    "write_error_rate",
]
