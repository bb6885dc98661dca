"""Fit the preset w_sot_80nm to its published counts on the full sphere, and keep what came out.

python notebooks/results/sot_80nm/make.py        # about ten minutes; writes fit.json and curve.csv beside this file
"""

import csv
import json
import platform
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np

import mtjsim

HERE = Path(__file__).parent
RISE_TIME, RELAX_TIME = 0.2e-9, 1e-9  # [s] assumed: an abrupt end lets the layer precess and fall back
FREE = ("critical_current", "thermal_stability")


def main() -> None:
    """Fit, then draw the fitted junction's own curve."""
    began = time.perf_counter()
    counts = mtjsim.read_counts(HERE.parents[1] / "data" / "sot_80nm_p_to_ap.csv")
    ramped = mtjsim.WriteCounts(
        voltage=counts.voltage,
        pulse_width=counts.pulse_width,
        direction=counts.direction,
        trials=counts.trials,
        errors=counts.errors,
        rise_time=RISE_TIME,
        relax_time=RELAX_TIME,
    )
    start = mtjsim.load_preset("w_sot_80nm")
    fit = mtjsim.calibrate(ramped, start=start, free=FREE, intervals="wald", scan=False)
    voltages = np.linspace(0.82, 1.04, 12)
    pulse = {"pulse_width": float(counts.pulse_width[0]), "rise_time": RISE_TIME, "relax_time": RELAX_TIME}
    curve = mtjsim.switching_probability(fit.device, voltage=voltages, **pulse)
    record = {
        **fit.as_dict(),
        "rise_time_s": RISE_TIME,
        "relax_time_s": RELAX_TIME,
        "switching_probability_of_the_rows": mtjsim.switching_probability(
            fit.device, voltage=counts.voltage, **pulse
        ).tolist(),
        "start_identity": start.identity,
        "versions": {name: version(name) for name in ("mtj-bnn", "numpy", "scipy", "numba")},
        "python": platform.python_version(),
        "seconds": round(time.perf_counter() - began, 1),
    }
    _replace(HERE / "fit.json", json.dumps(record, indent=1) + "\n")
    rows = [["voltage_V", "switching_probability"], *zip(voltages.tolist(), curve.tolist(), strict=True)]
    partial = HERE / "curve.csv.partial"
    with partial.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    partial.replace(HERE / "curve.csv")
    print(fit.summary())


def _replace(path: Path, text: str) -> None:
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, "utf-8")
    partial.replace(path)


if __name__ == "__main__":
    main()
