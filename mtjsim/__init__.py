"""The device: one magnetic tunnel junction, its write error rate, its energy. From a free layer to a probability.

Trajectories and calibration are imported on first use: they take half a second, and most questions never need them.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from mtjsim.analytic import closed_form_escape_rate, closed_form_write_error_rate, drift_time, tail_slope
from mtjsim.counts import ErrorCount
from mtjsim.device import MTJ, effective_anisotropy_field, spin_hall_efficiency
from mtjsim.energy import dissipated_energy
from mtjsim.holding import (
    read_disturb_rate,
    retention_failure_rate,
    retention_time,
    thermal_stability_for_retention,
)
from mtjsim.presets import DeviceFile, list_presets, load_device, load_preset, preset_file, save_device
from mtjsim.pulse import Pulse
from mtjsim.switching import switching_probability, write_error_rate
from mtjsim.transport import junction_conductance, junction_resistance
from mtjsim.units import to_si

if TYPE_CHECKING:
    from mtjsim.calibrate import CalibrationWarning, calibrate
    from mtjsim.calibration import Calibration
    from mtjsim.measurement import WriteCounts, read_counts, simulate_counts, write_counts
    from mtjsim.simulate import Trajectories, simulate_writes, trajectories
    from mtjsim.splitting import RareRate, rare_write_errors

_ON_FIRST_USE = {
    "Calibration": "calibration",
    "CalibrationWarning": "calibrate",
    "RareRate": "splitting",
    "Trajectories": "simulate",
    "WriteCounts": "measurement",
    "calibrate": "calibrate",
    "rare_write_errors": "splitting",
    "read_counts": "measurement",
    "simulate_counts": "measurement",
    "simulate_writes": "simulate",
    "trajectories": "simulate",
    "write_counts": "measurement",
}

__all__ = [
    "MTJ",
    "Calibration",
    "CalibrationWarning",
    "DeviceFile",
    "ErrorCount",
    "Pulse",
    "RareRate",
    "Trajectories",
    "WriteCounts",
    "calibrate",
    "closed_form_escape_rate",
    "closed_form_write_error_rate",
    "dissipated_energy",
    "drift_time",
    "effective_anisotropy_field",
    "junction_conductance",
    "junction_resistance",
    "list_presets",
    "load_device",
    "load_preset",
    "preset_file",
    "rare_write_errors",
    "read_counts",
    "read_disturb_rate",
    "retention_failure_rate",
    "retention_time",
    "save_device",
    "simulate_counts",
    "simulate_writes",
    "spin_hall_efficiency",
    "switching_probability",
    "tail_slope",
    "thermal_stability_for_retention",
    "to_si",
    "trajectories",
    "write_counts",
    "write_error_rate",
]


def __getattr__(name: str) -> Any:
    if name in _ON_FIRST_USE:
        return getattr(import_module(f"mtjsim.{_ON_FIRST_USE[name]}"), name)
    raise AttributeError(f"module 'mtjsim' has no attribute {name!r}")


class _FrontDoor(ModuleType):
    """Keeps `mtjsim.calibrate` the function: importing the module of the same name does not put it in its place."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _ON_FIRST_USE and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _FrontDoor
