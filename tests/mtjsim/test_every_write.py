"""Polynomials against the chain over the whole allowed range: no difference that no estimate and no error announces.

Random reduced writes: Delta 0.5 to 10,000, fields to +-B_k, currents 0 to 100 I_c0, asymmetry to 0.9, pulses of 1e-3 to
1e4 tau_D, ramps and relaxation. The draws are seeded; that of the fast test is a part of the slow one.
"""

import math

import numpy as np
import pytest

from mtjsim import write_error_rate
from mtjsim.fokker_planck import axial, finite_volume
from mtjsim.fokker_planck.finite_volume import solve_tails
from mtjsim.fokker_planck.reduced import AxialWrite
from mtjsim.fokker_planck.spectral import one_blas_thread
from physics import approx, junction

SMALLEST = 1e-307
DIFFERENCE = 1e-4  # a fault
TINY = -700.0  # log of a probability that is no longer a normal double
EASY_WORK = 3e6  # of the finite volume in these tests: a tenth of a second; beyond, it refuses

NO_BARRIER = [  # Delta, H, i, of 6 ns = 3 tau_D: polynomials alone are wrong by up to 22 decades; two further solvers
    (60, -0.7, 0.5, 7.88e-11),
    (60, -0.9, 0.5, 4.32e-21),
    (80, -0.8, 2.0, 3.65e-24),
    (80, -0.99, 1.2, 9.7e-36),
    (40, -0.95, 2.0, 1.6e-19),
]


@pytest.mark.parametrize(("Delta", "h", "i", "right"), NO_BARRIER)
def test_a_field_that_leaves_no_barrier(Delta, h, i, right):
    pulse = {"current": i * 30e-6, "pulse_width": 6e-9}
    rate = write_error_rate(junction(Delta, h), **pulse)
    assert rate == approx(right, rel=0.01)
    with pytest.raises(ValueError, match=r"does not reach 1e-6.*Use 'auto'"):
        write_error_rate(junction(Delta, h), method="spectral", **pulse)


@pytest.mark.parametrize(("rise", "relax"), [(0.5e-9, 0.0), (0.0, 2e-9), (1e-9, 1e-9)])
def test_a_field_that_leaves_no_barrier_with_ramps(rise, relax):
    write = AxialWrite(60, 0.5, field=-0.9, rise_time=rise / 2e-9, relax_time=relax / 2e-9)
    plateau = np.array([(6e-9 - rise) / 2e-9])
    pulse = {"current": 15e-6, "pulse_width": 6e-9, "rise_time": rise, "relax_time": relax}
    finer = math.exp(solve_tails(write, plateau, peclet=0.25, change=0.025).log_stayed[0])
    assert write_error_rate(junction(60, -0.9), **pulse) == approx(finer, rel=1e-5)


def test_a_start_that_a_basis_does_not_resolve():
    """With H = -0.93 the start ends in a step at m_z = 0, 5 % of which a short pulse lost among the polynomials."""
    write, tau = AxialWrite(314.4, 0.0, field=-0.9319), np.array([7e-4, 3.5e-3])
    finer = np.exp(solve_tails(write, tau, peclet=0.25, change=0.025).log_stayed)
    assert axial.tail_probability(write, tau) == approx(finer, rel=1e-4)


def test_a_strong_asymmetry_takes_more_polynomials():
    """The pole of 1/(1 + L y) at 1.13: 1.5e-5 were lost with 32 polynomials."""
    write, tau = AxialWrite(0.8124, 0.5, field=-0.2679, asymmetry=-0.888), np.array([1.34])
    assert axial.tail_probability(write, tau)[0] == approx(math.exp(solve_tails(write, tau).log_stayed[0]), rel=1e-6)


def test_strides_are_short_enough_for_a_small_switched_probability():
    """A shock to the start: 1.2e-5 were lost, six times the estimate, in strides that are cheap to halve."""
    write, tau = AxialWrite(34.0, 8.0, field=-0.34375), np.array([0.082085])
    assert math.exp(solve_tails(write, tau).log_switched[0]) == approx(6.469929e-05, rel=1e-6)
    assert axial.tail_probability(write, tau, tail="switched") == approx(6.469929e-05, rel=1e-6)


def drawn(rng):
    """One write and its longest pulse; half the fields are near +-B_k or beyond a half, a tenth without current."""
    field = rng.uniform(-1, 1) if rng.random() < 0.7 else rng.choice([-1, 1]) * (1 - 10 ** rng.uniform(-3, 0))
    kind = rng.integers(20)
    drive = 0.0 if kind < 2 else 10 ** rng.uniform(-2, 2) if kind < 10 else rng.uniform(0, 100 if kind < 13 else 4)
    longest = 10 ** rng.uniform(-3, 4)
    write = AxialWrite(
        thermal_stability=10 ** rng.uniform(math.log10(0.5), 4),
        drive=float(drive),
        field=float(field),
        asymmetry=float(rng.uniform(-0.9, 0.9)) if rng.random() < 0.5 else 0.0,
        rise_time=longest * 10 ** rng.uniform(-3, 0) if rng.random() < 0.2 else 0.0,
        relax_time=10 ** rng.uniform(-2, 3) if rng.random() < 0.2 else 0.0,
    )
    return write, longest


def differences(seed, writes):
    """Compare both tails at four widths of each write: (compared, announced, list of faults)."""
    rng, compared, announced, faults = np.random.default_rng(seed), 0, 0, []
    for _ in range(writes):
        write, longest = drawn(rng)
        tau = longest * np.array([0.01, 0.1, 0.4, 1.0])
        for tail, solve in (("stayed", axial._stayed), ("switched", axial._switched)):
            phases = [longest, *(piece[0] for piece in (*write.before, *write.after))]
            if max(phases) > axial.LONGEST_SPECTRAL or axial.ramp_steps(write) > axial.QUICK_RAMPS:
                announced += tau.size
                continue
            value, error = solve(write, tau, axial.QUICK_BASIS)
            if not (error <= axial.ACCURATE).any():
                announced += tau.size
                continue
            try:
                tails = solve_tails(write, tau, tail=tail)
            except ValueError:
                announced += tau.size
                continue
            log = tails.log_stayed if tail == "stayed" else tails.log_switched
            doubt = tails.error_stayed if tail == "stayed" else tails.error_switched
            for k in range(tau.size):
                if not (error[k] <= axial.ACCURATE and doubt[k] < axial.LARGEST_ERROR):
                    announced += 1
                    continue
                compared += 1
                both_tiny = value[k] < SMALLEST and log[k] < TINY
                if not both_tiny and not abs(value[k] / math.exp(log[k]) - 1) < DIFFERENCE:
                    faults.append((write, tail, tau[k], value[k], math.exp(log[k]), error[k], doubt[k]))
    return compared, announced, faults


@pytest.fixture
def limited(monkeypatch):
    """Set the work beyond which the finite volume refuses; one thread for BLAS."""
    with one_blas_thread():
        yield lambda work: monkeypatch.setattr(finite_volume, "MOST_WORK", work)


def test_no_difference_is_silent(limited):
    """Of 64 probabilities those that are cheap by both; before the estimates, one in thirty was a fault."""
    limited(EASY_WORK / 8)
    compared, _, faults = differences(2, 8)
    assert not faults
    assert compared > 8


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 26))
def test_no_difference_is_silent_in_many_writes(limited, seed):
    """25 x 100 devices x 4 widths x 2 tails: 20,000 probabilities, a third of them by both methods.

    A kind of fault that hits one write in a thousand is missed with a chance of e^-7.
    """
    limited(EASY_WORK)
    _, _, faults = differences(seed, 100)
    assert not faults


def test_a_survivor_below_every_double():
    """After 6,400 tau_D nothing of the start is left, and its error is infinite: what has come back is the answer."""
    write = AxialWrite(thermal_stability=9.47256, drive=5.67805, field=0.54356, asymmetry=-0.79712)
    late = axial.tail_probability(write, np.array([643.4, 6433.8]))
    assert late == approx(write.stationary_ratio() / (1 + write.stationary_ratio()), rel=1e-5)


def test_a_survivor_below_the_returned_mass_needs_no_accuracy():
    """After 50 tau_D e^-474 has stayed and e^-439 has come back: an error of the former is none of the sum.

    At 46 tau_D, before they are equal, the log of the sum is -435.908515, of a refined finite volume -435.908514.
    """
    write = AxialWrite(thermal_stability=50.0, drive=4.357627118644069, asymmetry=-0.25)
    late = axial.tail_probability(write, np.array([50.0]), method="spectral")
    assert late == approx(write.stationary_ratio(), rel=1e-9)
