"""Fit the preset w_sot_80nm to its published counts on the full sphere; the fitted junction and its curve."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from mtjsim.calibration.fit import calibrate
from mtjsim.calibration.measurement import WriteCounts, read_counts
from mtjsim.presets import load_preset
from mtjsim.switching import switching_probability

COUNTS = "sot_80nm_p_to_ap.csv"
FREE = ("critical_current", "thermal_stability")
ENDS = (0.82, 1.04)  # of the curve [V]


def sot_80nm(
    *, rise_time: float, relax_time: float, voltages: int = 12, data_dir: str | os.PathLike[str] | None = None
) -> dict[str, Any]:
    """Return the fit, and the switching probability of the fitted junction against the voltage.

    Parameters
    ----------
    rise_time, relax_time : float
        Of the pulses, assumed: an abrupt end lets the layer precess and fall back [s].
    voltages : int
        Of the curve.
    data_dir : path
        Folder of sot_80nm_p_to_ap.csv.

    Returns
    -------
    dict
        Estimates with 95 % intervals, goodness of fit, the fitted device as JSON; the tables "curve" and "rows".
    """
    counts = read_counts(Path(data_dir or ".") / COUNTS)
    columns = ("voltage", "pulse_width", "direction", "trials", "errors")
    given: dict[str, Any] = {name: getattr(counts, name) for name in columns}
    ramped = WriteCounts(**given, rise_time=rise_time, relax_time=relax_time)
    start = load_preset("w_sot_80nm")
    fit = calibrate(ramped, start=start, free=FREE, intervals="wald", scan=False)
    pulse: dict[str, Any] = {
        "pulse_width": float(np.ravel(counts.pulse_width)[0]),
        "rise_time": rise_time,
        "relax_time": relax_time,
    }

    def curve(at: Any) -> list[dict[str, float]]:
        probability = np.asarray(switching_probability(fit.device, voltage=at, **pulse))
        pairs = zip(at.tolist(), probability.tolist(), strict=True)
        return [{"voltage_V": voltage, "switching_probability": p} for voltage, p in pairs]

    found = fit.as_dict()
    ends = {
        f"{name}{'' if end == 'value' else f'.{end}'}": estimate[end]
        for name, estimate in found["estimates"].items()
        for end in ("value", "low", "high")
    }
    return {
        **ends,
        **{name: found["goodness"][name] for name in ("deviance", "degrees_of_freedom", "p_value")},
        "counts_identity": found["counts_identity"],
        "start_identity": start.identity,
        "device_identity": fit.device.identity,
        "device": json.dumps(fit.device.model_dump()),
        "tables": {"curve": curve(np.linspace(*ENDS, voltages)), "rows": curve(np.asarray(counts.voltage))},
    }
