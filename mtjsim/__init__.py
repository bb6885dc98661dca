"""The device: one magnetic tunnel junction, its write error rate, its energy. From a free layer to a probability.

junction       `device.py` declaration · `presets.py` device files · `transport.py` conduction · `torques.py` torque ·
               `spin_torque.py` efficiencies, sense of a current · `stability.py` barrier, threshold ·
               `pulse.py` current or voltage in time
results        `switching.py` write error rate (`question.py`: its arguments) · `energy.py` dissipated energy ·
               `holding.py` read disturb, retention · `analytic.py` closed forms
solvers        `fokker_planck/` density · `macrospin/` trajectories
measurements   `calibration/` from counts to a junction
figures        `plots.py`, `motion_plots.py`, `explorer.py` (sliders)
shared         `checks.py` arguments · `plausibility.py` doubtful values · `units.py` typed quantities · `rng.py` random
               streams · `counts.py` errors of trials · `files.py` atomic writes

Trajectories and calibration are imported on first use: they take half a second, and most calls do not need them.
"""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING, Any

from mtjsim.analytic import closed_form_escape_rate, closed_form_write_error_rate, drift_time, tail_slope
from mtjsim.counts import ErrorCount
from mtjsim.cylinder import effective_anisotropy_field
from mtjsim.device import MTJ
from mtjsim.energy import dissipated_energy
from mtjsim.holding import (
    read_disturb_rate,
    retention_failure_rate,
    retention_time,
    thermal_stability_for_retention,
)
from mtjsim.plausibility import ImplausibleValue
from mtjsim.presets import DeviceFile, list_presets, load_device, load_preset, preset_file, save_device
from mtjsim.pulse import Pulse
from mtjsim.spin_torque import spin_hall_efficiency, tunnel_spin_torque
from mtjsim.switching import switching_probability, write_error_rate
from mtjsim.transport import junction_conductance, junction_resistance
from mtjsim.units import to_si

if TYPE_CHECKING:
    from mtjsim.calibration.fit import CalibrationWarning, calibrate
    from mtjsim.calibration.measurement import WriteCounts, read_counts, simulate_counts, write_counts
    from mtjsim.calibration.plots import plot_calibration
    from mtjsim.calibration.report import Calibration
    from mtjsim.explorer import WriteExplorer
    from mtjsim.macrospin.simulate import Trajectories, simulate_writes, trajectories
    from mtjsim.macrospin.splitting import RareRate, rare_write_errors

_ON_FIRST_USE = {
    "Calibration": "calibration.report",
    "CalibrationWarning": "calibration.fit",
    "RareRate": "macrospin.splitting",
    "Trajectories": "macrospin.simulate",
    "WriteCounts": "calibration.measurement",
    "WriteExplorer": "explorer",
    "calibrate": "calibration.fit",
    "plot_calibration": "calibration.plots",
    "rare_write_errors": "macrospin.splitting",
    "read_counts": "calibration.measurement",
    "simulate_counts": "calibration.measurement",
    "simulate_writes": "macrospin.simulate",
    "trajectories": "macrospin.simulate",
    "write_counts": "calibration.measurement",
}

_FIGURES = ("motion_plots", "plots")

__all__ = [
    "MTJ",
    "Calibration",
    "CalibrationWarning",
    "DeviceFile",
    "ErrorCount",
    "ImplausibleValue",
    "Pulse",
    "RareRate",
    "Trajectories",
    "WriteCounts",
    "WriteExplorer",
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
    "plot_calibration",
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
    "tunnel_spin_torque",
    "write_counts",
    "write_error_rate",
]


def __getattr__(name: str) -> Any:
    if name in _ON_FIRST_USE:
        return getattr(_import_module(f"mtjsim.{_ON_FIRST_USE[name]}"), name)
    if name in _FIGURES:
        return _import_module(f"mtjsim.{name}")
    if name == "__version__":
        from importlib.metadata import version

        return version("mtj-bnn")
    from mtjsim.checks import missing_attribute

    raise missing_attribute(f"module {__name__!r}", name, __dir__())


def __dir__() -> list[str]:
    """Public names only, for tab completion."""
    return sorted([*__all__, *_FIGURES])
