"""Fit the preset w_sot_80nm to its published counts on the full sphere, and keep the fit and its curve.

python notebooks/results/sot_80nm/make.py        # about ten minutes; writes fit.json and curve.csv here
"""

from pathlib import Path

import numpy as np

import mtjsim
from bnn.recipes.record import Clock, Record

HERE = Path(__file__).parent
RISE_TIME, RELAX_TIME = 0.2e-9, 1e-9  # [s] assumed: an abrupt end lets the layer precess and fall back
FREE = ("critical_current", "thermal_stability")


def main() -> None:
    """Fit, then draw the fitted junction's own curve."""
    clock = Clock()
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
    record = Record(
        title="The preset w_sot_80nm, fitted to its published counts on the full sphere",
        command="python notebooks/results/sot_80nm/make.py",
        seeds=(),  # all is solved
        contents={
            **fit.as_dict(),  # the fitted device in it
            "rise_time_s": RISE_TIME,
            "relax_time_s": RELAX_TIME,
            "switching_probability_of_the_rows": mtjsim.switching_probability(
                fit.device, voltage=counts.voltage, **pulse
            ).tolist(),
            "start_identity": start.identity,
        },
        tables={
            "curve.csv": [
                {"voltage_V": voltage, "switching_probability": probability}
                for voltage, probability in zip(voltages.tolist(), curve.tolist(), strict=True)
            ]
        },
        **clock.spent(),
    )
    record.write(HERE, "fit.json")
    print(fit.summary())


if __name__ == "__main__":
    main()
