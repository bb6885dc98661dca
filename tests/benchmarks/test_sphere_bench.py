"""What a write costs that is not axisymmetric. Times are recorded, never judged; ratios are of one process."""

from functools import partial

import numpy as np
import pytest

from mtjsim import load_preset, write_error_rate
from mtjsim.fokker_planck import spherical
from mtjsim.fokker_planck.oblique import oblique_write
from mtjsim.fokker_planck.spherical import Resolution, SphericalSolver
from physics import GOLDEN_CASES, approx, golden_is_axial, golden_junction, golden_label

OBLIQUE = [case for case in GOLDEN_CASES if not golden_is_axial(case)]


def answer(case, **changes):
    arguments = {"current": abs(case["current_A"]), "pulse_width": case["pulse_s"], "relax_time": case["relax_s"]}
    return write_error_rate(golden_junction(case), **(arguments | changes))


@pytest.mark.parametrize("case", OBLIQUE, ids=golden_label)
def test_golden_write(benchmark, case):
    rate = benchmark.pedantic(answer, args=(case,), rounds=3, warmup_rounds=1)
    benchmark.extra_info["relative_error"] = abs(rate / case["value"] - 1)
    assert rate == approx(case["value"], rel=1e-4)


def test_one_hundred_widths_over_one(benchmark, sized, least_seconds):
    """The moments of one solve give every width on the way."""
    case, widths = OBLIQUE[1], sized(np.linspace(1e-9, 4e-9, 100), np.array([1e-9, 4e-9]))
    one, all_of_them = least_seconds(
        [], 3, peers=[partial(answer, case, pulse_width=width) for width in (4e-9, widths)]
    )
    benchmark.extra_info["hundred_widths_over_one"] = all_of_them / one
    assert (np.diff(benchmark.pedantic(answer, args=(case,), kwargs={"pulse_width": widths}, rounds=1)) < 0).all()


def test_ratio_to_the_axisymmetric_road(benchmark, least_seconds):
    """The price of the sphere: the same axisymmetric write by both."""
    case = next(c for c in GOLDEN_CASES if c["name"] == "B" and c["value"] > 0.05)
    spectral, spherical = least_seconds(
        [], 3, peers=[partial(answer, case, direction="ap_to_p", method=name) for name in ("spectral", "spherical")]
    )
    benchmark.extra_info["spherical_over_spectral"] = spherical / spectral
    rate = benchmark.pedantic(answer, args=(case,), kwargs={"direction": "ap_to_p", "method": "spherical"}, rounds=1)
    assert rate == approx(case["value"], rel=1e-6)


def test_one_solve_of_the_deep_write(benchmark):
    """Without the second solve that checks it."""
    case = OBLIQUE[0]
    write = oblique_write(golden_junction(case), "p_to_ap", abs(case["current_A"]), case["T"], 0.0, 0.0)
    solver = SphericalSolver(write, Resolution(105, 17, 1.0))
    stayed = benchmark.pedantic(solver.stayed, args=(np.array([case["pulse_s"]]),), rounds=3, warmup_rounds=1)
    benchmark.extra_info["degree"], benchmark.extra_info["order"] = 105, 17
    assert stayed[0] == approx(case["value"], rel=1e-4)


def test_a_plateau_on_which_the_density_comes_to_rest(benchmark, monkeypatch, least_seconds):
    """40 ns of a spin-orbit write, which settles in some 2 ns: with and without the end that this gives the solve."""
    write = oblique_write(load_preset("w_sot_80nm"), "p_to_ap", 1.1, 300.0, 0.0, 0.0, "voltage")
    solver, width = SphericalSolver(write, Resolution(60, 50, 1.0)), np.array([40e-9])

    def followed():
        with monkeypatch.context() as patch:
            patch.setattr(spherical, "AT_REST", 0.0)
            return solver.stayed(width)

    rested, whole = least_seconds([], 2, peers=[partial(solver.stayed, width), followed])
    benchmark.extra_info["followed_over_rested"] = whole / rested
    assert benchmark.pedantic(solver.stayed, args=(width,), rounds=1)[0] < 0.1
