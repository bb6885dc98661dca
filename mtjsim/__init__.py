"""The device: one magnetic tunnel junction, its write error rate, its energy. From a free layer to a probability.

What needs Numba is imported on first use: it takes half a second, and most questions never need it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from mtjsim.counts import ErrorCount
from mtjsim.device import MTJ, effective_anisotropy_field
from mtjsim.presets import DeviceFile, list_presets, load_device, load_preset, preset_file, save_device
from mtjsim.pulse import Pulse
from mtjsim.switching import dissipated_energy, switching_probability, write_error_rate
from mtjsim.transport import junction_resistance
from mtjsim.units import to_si

if TYPE_CHECKING:
    from mtjsim.simulate import Trajectories, simulate_writes, trajectories
    from mtjsim.splitting import RareRate, rare_write_errors

_ON_FIRST_USE = {
    "RareRate": "splitting",
    "Trajectories": "simulate",
    "rare_write_errors": "splitting",
    "simulate_writes": "simulate",
    "trajectories": "simulate",
}

__all__ = [
    "MTJ",
    "DeviceFile",
    "ErrorCount",
    "Pulse",
    "RareRate",
    "Trajectories",
    "dissipated_energy",
    "effective_anisotropy_field",
    "junction_resistance",
    "list_presets",
    "load_device",
    "load_preset",
    "preset_file",
    "rare_write_errors",
    "save_device",
    "simulate_writes",
    "switching_probability",
    "to_si",
    "trajectories",
    "write_error_rate",
]


def __getattr__(name: str) -> Any:
    if name in _ON_FIRST_USE:
        return getattr(import_module(f"mtjsim.{_ON_FIRST_USE[name]}"), name)
    raise AttributeError(f"module 'mtjsim' has no attribute {name!r}")
