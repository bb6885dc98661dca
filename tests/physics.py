"""Junctions, cells, operating points and comparisons that the tests share: `from physics import junction`.

Helpers that need torch belong into a module of their own, so that a test of a junction starts without it.
"""

import json
from pathlib import Path

import pytest
from scipy.stats import binom

from bridge import Cell, Transistor
from bridge.write import OperatingPoint
from mtjsim import MTJ
from mtjsim.device import GYROMAGNETIC_RATIO

I_C, TAU = 30e-6, 2e-9  # critical current [A] and characteristic time [s] of `junction`
FALSE_ALARM = 1e-6


# ---- comparisons -----------------------------------------------------------------------------------------------------


def approx(expected, *, rel=None, abs=None):
    """`pytest.approx`, relative only unless `abs` is given: its own default of 1e-12 is more than many a rate."""
    if abs is None:
        return pytest.approx(expected, rel=1e-6 if rel is None else rel, abs=0.0)
    return pytest.approx(expected, rel=rel, abs=abs)


def within_binomial(count, trials, rate, tests=1, *, alarm=FALSE_ALARM):
    """Whether a count is in the exact binomial interval; any of `tests` comparisons fails with probability `alarm`."""
    alarm = alarm / tests
    return binom.ppf(alarm / 2, trials, rate) <= count <= binom.isf(alarm / 2, trials, rate)


# ---- junctions -------------------------------------------------------------------------------------------------------


def junction(Delta=60.0, h=0.0, lam=0.0, **optional):
    """A junction of I_c0 = 30 uA at lambda = 0 and tau_D = 2 ns; h is B_z/B_k."""
    bare = {"thermal_stability": Delta, "critical_current": I_C, "characteristic_time": TAU, **optional}
    if h:
        bare["stray_field"] = (0.0, 0.0, h * MTJ.from_effective(**bare).anisotropy_field)
    return MTJ.from_effective(**({"spin_torque_asymmetry": lam} | bare))


def damped_junction(Delta=40.0, alpha=0.05, h=0.0, B_k=0.27, **optional):
    """A junction of I_c0 = 30 uA and of the same B_k [T] at any damping, so that tau_D follows; h is B_z/B_k."""
    tau = (1 + alpha**2) / (GYROMAGNETIC_RATIO * alpha * B_k)
    field = {"stray_field": (0.0, 0.0, B_k * h)}
    return junction(Delta, characteristic_time=tau, damping=alpha, **(field | optional))


def lopsided_junction(**optional):
    """Delta 50, lambda and a field along z: both directions of a write differ, and so do their signs."""
    return junction(50.0, **({"spin_torque_asymmetry": 0.3, "stray_field": (0.0, 0.0, 0.01)} | optional))


def biased_junction(**changes):
    """45 kT, 40 uA, 1.6 ns, 3 kohm, TMR 120 % that falls with bias, 30 fJ/(V m)."""
    fields = {
        "thermal_stability": 45,
        "critical_current": 40e-6,
        "characteristic_time": 1.6e-9,
        "damping": 0.02,
        "resistance_p": 3e3,
        "tunnel_magnetoresistance": 1.2,
        "tmr_half_voltage": 0.5,
        "vcma_coefficient": 30e-15,
        "barrier_thickness": 1e-9,
        "spin_torque_asymmetry": 0.2,
    }
    return MTJ.from_effective(**(fields | changes))


def small_junction(**changes):
    """Delta 13, damping 0.05: small bases and little precession, so that a solve on the sphere takes 0.1 s."""
    fields = {
        "diameter": 24e-9,
        "thickness": 1.2e-9,
        "saturation_magnetization": 1.0e6,
        "anisotropy_field": 0.196,
        "damping": 0.05,
        "spin_torque_efficiency": 0.5,
        "resistance_area_product": 10e-12,
        "tunnel_magnetoresistance": 1.0,
    }
    return MTJ(**(fields | changes))


# ---- golden writes ---------------------------------------------------------------------------------------------------

GOLDEN = Path(__file__).parent / "golden"
GOLDEN_CASES = json.loads((GOLDEN / "wer_cases.json").read_text())["cases"]


def golden_label(case):
    return f"{case['name'].replace(' ', '-')}-{case['value']:.2g}"


def golden_is_axial(case):
    d = case["device"]
    field, p = d.get("Bext", (0, 0, 0)), d.get("p", (0, 0, 1))
    return field[0] == field[1] == 0 and abs(p[2]) == 1 and d.get("Bk2", 0) == 0


def golden_junction(case):
    d = case["device"]
    return MTJ(
        diameter=d["diameter"],
        thickness=d["thickness"],
        saturation_magnetization=d["Ms"],
        anisotropy_field=d["Bk"],
        damping=d["alpha"],
        spin_torque_efficiency=d["eta"],
        spin_torque_asymmetry=d.get("lam", 0.0),
        field_like_ratio=d.get("beta", 0.0),
        stray_field=tuple(d.get("Bext", (0.0, 0.0, 0.0))),
        polarizer=tuple(d.get("p", (0.0, 0.0, 1.0))),
        resistance_area_product=10e-12,
        tunnel_magnetoresistance=1.0,
    )


def golden_write(case):
    """The front door takes an amplitude and a direction; I > 0 favours P, so a signed current must agree with it."""
    direction = {"P": "p_to_ap", "AP": "ap_to_p"}[case["from_state"]]
    if (case["current_A"] < 0) != (direction == "p_to_ap"):
        raise ValueError("Every golden write drives out of its starting state.")
    return {
        "current": abs(case["current_A"]),
        "direction": direction,
        "pulse_width": case["pulse_s"],
        "temperature": case["T"],
        "rise_time": case["rise_s"],
        "relax_time": case["relax_s"],
    }


# ---- cells and operating points --------------------------------------------------------------------------------------


def cell(device=None, width=180e-9, **changes):
    """One transistor and one junction under 1.2 V, the word line at 1.5 V."""
    circuit = {"supply_voltage": 1.2, "word_line_voltage": 1.5}
    return Cell(device=device or junction(), transistor=Transistor(width=width), **(circuit | changes))


def point(p0=0.0, p1=None, **others):
    """The operating point of two error rates, or of one for both bits."""
    return OperatingPoint.of_rates(error_rate_0=p0, error_rate_1=p0 if p1 is None else p1, **others)
