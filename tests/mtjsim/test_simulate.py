"""Ensembles against the Fokker-Planck equation, seeds, symmetries, temperature, and what is refused.

Every comparison with a rate is an exact binomial test. The chance of a false alarm is 1e-6 for each list, shared by its
cases (Bonferroni); seeds are fixed and nobody looked for them.
"""

import math

import numpy as np
import pytest
from scipy.stats import binomtest, chi2

from mtjsim.device import GYROMAGNETIC_RATIO
from mtjsim.fokker_planck.reduced import AxialWrite, reduced_write
from mtjsim.fokker_planck.spectral import SpectralSolver
from mtjsim.macrospin.kernels import CHUNK, LANES, Ensemble
from mtjsim.macrospin.simulate import simulate_writes, trajectories
from mtjsim.macrospin.start import BoltzmannStart
from mtjsim.macrospin.time_steps import step_table
from mtjsim.pulse import Pulse
from mtjsim.rng import lane_states
from mtjsim.switching import write_error_rate
from mtjsim.torques import torque_of
from physics import approx, within_binomial
from physics import damped_junction as junction

ALARM = 1e-6
I_C = 30e-6


# ---- two roads -------------------------------------------------------------------------------------------------


# Drawn at random once: Delta, alpha, h, lambda, beta, laws of temperature, direction, I/30 uA, T, rise, relax and width
# over tau_D at 300 K; rates between 1e-4 and 0.9. The rate in the comment is for the reader.
# fmt: off
FAST = [
    (77, 0.05, 0.14, 0.01, -0.2, True, 'p_to_ap', 4.28, 311, 0.3, 0.5, 2.22),  # 2.0e-04
    (79, 0.1, -0.07, 0.2, 0.4, False, 'ap_to_p', 3.07, 292, 0.3, 0.0, 0.92),  # 7.0e-01
    (32, 0.05, 0.11, 0.11, 0.0, False, 'ap_to_p', 2.95, 363, 0.0, 0.0, 1.17),  # 1.6e-01
    (67, 0.05, 0.09, 0.15, -0.8, True, 'p_to_ap', 4.39, 379, 0.3, 0.5, 1.61),  # 7.1e-03
    (62, 0.05, -0.15, -0.18, -0.4, False, 'ap_to_p', 1.7, 346, 0.3, 0.5, 3.89),  # 6.6e-01
]
SLOW = [
    (21, 0.05, -0.06, -0.19, 0.5, False, 'ap_to_p', 1.59, 258, 0.3, 0.0, 6.29),  # 4.6e-02
    (59, 0.1, -0.1, 0.05, 0.3, False, 'p_to_ap', 4.86, 352, 0.0, 0.0, 1.61),  # 3.9e-04
    (65, 0.1, 0.0, -0.12, 0.8, False, 'p_to_ap', 2.78, 354, 0.3, 0.0, 2.82),  # 1.5e-04
    (70, 0.05, 0.12, -0.24, -0.2, False, 'ap_to_p', 2.97, 339, 0.0, 0.5, 3.05),  # 5.6e-03
    (47, 0.01, 0.03, 0.31, -0.3, False, 'ap_to_p', 3.0, 282, 0.0, 0.0, 2.05),  # 2.1e-04
    (69, 0.05, -0.01, 0.16, 0.9, False, 'p_to_ap', 3.29, 365, 0.3, 0.0, 3.05),  # 4.3e-04
    (22, 0.01, -0.1, -0.26, 0.7, False, 'p_to_ap', 1.22, 318, 0.3, 0.0, 4.21),  # 2.8e-02
    (52, 0.1, 0.13, 0.0, 0.0, False, 'ap_to_p', 4.85, 284, 0.0, 0.5, 1.08),  # 2.0e-02
    (18, 0.1, -0.02, 0.39, -0.3, False, 'p_to_ap', 3.0, 251, 0.3, 0.0, 4.21),  # 9.2e-04
    (58, 0.1, -0.09, -0.35, 0.7, False, 'ap_to_p', 4.13, 258, 0.3, 0.5, 1.89),  # 2.3e-02
    (40, 0.05, -0.07, -0.33, 0.6, False, 'p_to_ap', 4.26, 332, 0.3, 0.5, 0.99),  # 2.9e-03
    (18, 0.05, 0.03, 0.38, 0.1, False, 'ap_to_p', 3.8, 279, 0.0, 0.5, 1.08),  # 1.8e-03
    (59, 0.05, -0.15, -0.32, -0.5, False, 'p_to_ap', 2.76, 373, 0.3, 0.0, 0.78),  # 7.0e-01
    (38, 0.05, -0.08, 0.36, -0.8, False, 'ap_to_p', 2.77, 338, 0.3, 0.5, 1.37),  # 4.4e-02
    (40, 0.05, -0.08, 0.31, 0.9, True, 'ap_to_p', 3.78, 361, 0.0, 0.5, 1.17),  # 1.4e-03
    (57, 0.01, -0.02, -0.19, -0.7, True, 'ap_to_p', 2.98, 352, 0.0, 0.0, 1.37),  # 4.2e-01
    (28, 0.02, 0.11, 0.19, 0.7, True, 'p_to_ap', 4.84, 252, 0.3, 0.5, 1.17),  # 9.0e-02
    (63, 0.1, -0.05, 0.38, -1.0, False, 'p_to_ap', 4.55, 393, 0.0, 0.0, 2.82),  # 5.5e-04
    (78, 0.1, 0.03, -0.05, -0.5, False, 'ap_to_p', 3.32, 315, 0.0, 0.0, 3.31),  # 1.5e-04
    (25, 0.05, -0.04, -0.27, 0.2, True, 'p_to_ap', 2.87, 287, 0.3, 0.5, 1.61),  # 6.9e-03
]
# fmt: on


def write_of(row):
    Delta, alpha, h, lam, beta, laws, direction, i, T, rise, relax, width = row
    declared = {"curie_temperature": 1100.0, "anisotropy_exponent": 2.5} if laws else {}
    device = junction(Delta, alpha, h, spin_torque_asymmetry=lam, field_like_ratio=beta, **declared)
    tau = device.characteristic_time()
    return device, {
        "direction": direction,
        "current": i * I_C,
        "temperature": T,
        "rise_time": rise * tau,
        "relax_time": relax * tau,
        "pulse_width": width * tau,
    }


@pytest.mark.parametrize("case", range(len(FAST)))
def test_counts_agree_with_fokker_planck(case):
    """1e5 trials a case: catches 0.9 % in the error (5.2 standard errors) at a rate of 0.25, 5 % at 0.01."""
    device, write = write_of(FAST[case])
    count = simulate_writes(device, trials=100_000, seed=100 + case, precision=["double", "single"][case % 2], **write)
    assert within_binomial(count.errors, count.trials, write_error_rate(device, **write), len(FAST))


@pytest.mark.slow
@pytest.mark.parametrize("case", range(len(SLOW)))
def test_many_counts_agree_with_fokker_planck(case):
    """1e6 trials a case: catches 1 % in the error (5.5 standard errors) at a rate of 0.25, 5.4 % at 0.01."""
    device, write = write_of(SLOW[case])
    count = simulate_writes(
        device, trials=1_000_000, seed=200 + case, precision=["double", "single"][case % 2], **write
    )
    assert within_binomial(count.errors, count.trials, write_error_rate(device, **write), len(SLOW))


@pytest.mark.slow
def test_hops_over_a_barrier_at_twice_the_step():
    """0.2 rad a step, a barrier of 15 (1 - 0.35)^2 = 6.3 k T: 1 % in k T would be 7 % in the rate and is caught.

    The scheme is of second order: measured with 4e6 trials, +1.7 % at 0.4 rad, +0.5 % here, 0.0 +- 0.16 % at the
    default of 0.1 rad. Without any one of its four corrections, or with a kurtosis of 2.7, it is 0.3 to 4 % off at
    0.1 to 0.4 rad. Five standard errors are 2.4 %.
    """
    device = junction(15, 0.1)
    write = {"current": 0.35 * I_C, "pulse_width": 60 * device.characteristic_time()}
    step = 0.2 / (GYROMAGNETIC_RATIO * 0.27)
    count = simulate_writes(device, trials=400_000, seed=31, time_step=step, **write)
    assert 1 - count.rate == approx(1 - write_error_rate(device, **write), rel=0.03)


def test_first_passage_would_be_seen():
    """Trap 12: the state is judged at the end. Near the critical current many cross the equator and come back."""
    device = junction(15, 0.1)
    write = {"current": 0.9 * I_C, "pulse_width": 3 * device.characteristic_time()}
    rate = write_error_rate(device, **write)
    solver = SpectralSolver(AxialWrite(thermal_stability=15, drive=0.9), -1e-9)
    passage = float(np.exp(solver.log_survival(3.0)(np.array([3.0])))[0])
    count = simulate_writes(device, trials=100_000, seed=41, **write)
    assert within_binomial(count.errors, count.trials, rate)
    assert not within_binomial(count.errors, count.trials, passage)


def test_the_end_is_what_is_counted():
    """Trap 12, path by path: some are across the equator at one instant and back at the end."""
    device = junction(15, 0.1)
    pulse = Pulse.rectangular(current=0.9 * I_C, pulse_width=6 * device.characteristic_time())
    paths = trajectories(device, pulse, trials=3000, seed=42)
    z = paths.m[..., 2]
    stayed, failed = (z > 0).all(axis=1).sum(), (z[:, -1] > 0).sum()
    assert 0 < stayed < failed
    assert failed == simulate_writes(device, pulse=pulse, trials=3000, seed=42).errors


# ---- seeds (trap 9) ----------------------------------------------------------------------------------------------

WRITE = {"current": 2.5 * I_C, "pulse_width": 1e-9}


def test_any_number_of_threads_counts_the_same():
    counts = [simulate_writes(junction(), trials=5000, seed=3, threads=n, **WRITE).errors for n in (1, 2, 3, None)]
    assert len(set(counts)) == 1
    assert 0 < counts[0] < 5000


def test_first_trials_of_a_longer_run():
    device, pulse = junction(), Pulse.rectangular(**WRITE)
    long = trajectories(device, pulse, trials=CHUNK + 76, seed=3, samples=4)
    for trials in (1, 31, CHUNK, CHUNK + 1):
        short = trajectories(device, pulse, trials=trials, seed=3, samples=4)
        assert (short.m == long.m[:trials]).all()
    failed = long.m[:, -1, 2] > 0
    for trials in (7, CHUNK, CHUNK + 76):
        assert simulate_writes(device, trials=trials, seed=3, **WRITE).errors == failed[:trials].sum()


def test_samples_do_not_change_the_path():
    device, pulse = junction(), Pulse.rectangular(**WRITE)
    few, many = (trajectories(device, pulse, trials=40, seed=3, samples=n) for n in (1, 150))
    assert (few.m[:, -1] == many.m[:, -1]).all()
    assert few.time[-1] == many.time[-1] == approx(pulse.duration)
    assert np.abs(np.linalg.norm(many.m, axis=2) - 1).max() < 1e-12


def test_seeds_and_chunks_are_independent():
    """Paths of two chunks and of two seeds: no two alike, and counts by chunk spread as a binomial does."""
    device, pulse = junction(), Pulse.rectangular(**WRITE)
    paths = [trajectories(device, pulse, trials=2 * CHUNK, seed=s, samples=1).m for s in (0, 1)]
    ends = np.concatenate([path[:, -1] for path in paths])
    assert len(np.unique(ends[:, 2])) == len(ends)
    for a, b in ((0, CHUNK), (0, 2 * CHUNK), (CHUNK, 3 * CHUNK), (CHUNK, 2 * CHUNK)):
        correlation = np.corrcoef(ends[a : a + CHUNK, 2], ends[b : b + CHUNK, 2])[0, 1]
        assert abs(correlation) < 4.9 / math.sqrt(CHUNK)
    whole = trajectories(device, pulse, trials=64 * CHUNK, seed=5, samples=1).m[:, -1, 2] > 0
    counts, rate = whole.reshape(64, CHUNK).sum(axis=1), whole.mean()
    dispersion = ((counts - CHUNK * rate) ** 2).sum() / (CHUNK * rate * (1 - rate))
    assert ALARM / 2 < chi2.sf(dispersion, 63) < 1 - ALARM / 2


# ---- symmetry ----------------------------------------------------------------------------------------------------


def test_mirror_image_path_by_path():
    """Half a turn about x: (I, B_y, B_z, lambda, P) -> (-I, -B_y, -B_z, -lambda, AP), exactly without noise."""
    device = junction(spin_torque_asymmetry=0.3, field_like_ratio=0.7, in_plane_anisotropy_field=0.05)
    device = device.replace(stray_field=(0.03, 0.02, -0.05))
    image = device.replace(stray_field=(0.03, -0.02, 0.05), spin_torque_asymmetry=-0.3)
    ends = []
    for d, direction, turn in ((device, "p_to_ap", [1, 1, 1]), (image, "ap_to_p", [1, -1, -1])):
        table = step_table(
            d, Pulse.rectangular(current=90e-6, pulse_width=1e-9), direction=direction, temperature=300.0
        )
        table.rows[:, 1] = 0.0
        start = BoltzmannStart(torque_of(device, 300.0), 1.0).sample(LANES, seed=1, chunk=0) * turn
        ensemble = Ensemble(
            np.ascontiguousarray(start.T[None]), lane_states(1, "thermal", 0, 1, LANES), np.zeros((1, 2, LANES))
        )
        ensemble.advance(table)
        ends.append(ensemble.vectors * turn)
    assert ends[0] == approx(ends[1], abs=1e-11)
    assert np.ptp(ends[0][:, 2]) > 0.1


@pytest.mark.parametrize("mirrored", [True, False])
def test_mirror_image_in_counts(mirrored):
    """50,000 trials each, one rate: and without the sign of lambda or B_z it is another rate."""
    sign = -1 if mirrored else 1
    a = junction(40, h=0.1, spin_torque_asymmetry=0.3)
    b = junction(40, h=0.1 * sign, spin_torque_asymmetry=0.3 * sign)
    one = simulate_writes(a, trials=50_000, seed=7, direction="p_to_ap", **WRITE)
    other = simulate_writes(b, trials=50_000, seed=8, direction="ap_to_p", **WRITE)
    split = binomtest(one.errors, one.errors + other.errors, 0.5).pvalue > ALARM  # conservative: failures only
    assert split == mirrored


# ---- temperature in each of its places (trap 14) -----------------------------------------------------------------

HOT = 420.0
LAWS = {"curie_temperature": 900.0, "anisotropy_exponent": 3.0}
HOT_WRITE = {"current": 1.6 * I_C, "pulse_width": 0.4e-9}


def counted_with(device, start=HOT, noise=HOT, laws=HOT, trials=60 * CHUNK):
    """Errors where the start, the noise and the laws may each have a temperature of their own."""
    law = BoltzmannStart(torque_of(device, start), 1.0)
    pulse = Pulse.rectangular(**HOT_WRITE)
    table = step_table(device, pulse, direction="p_to_ap", temperature=laws)
    table.rows[:, 1] *= math.sqrt(noise / laws)
    errors = 0
    for chunk in range(trials // CHUNK):
        ensemble = Ensemble.start(law, seed=51, chunk=chunk, temperature=HOT)
        ensemble.advance(table)
        errors += int((ensemble.vectors[:, 2] > 0).sum())
    return errors, trials


def test_temperature_in_its_places():
    """61,440 trials catch 3 % in the rate; each place left at 300 K changes it by more."""
    device = junction(20, 0.1, **LAWS)
    rate = write_error_rate(device, temperature=HOT, **HOT_WRITE)
    assert within_binomial(*counted_with(device), rate)
    for place in ("start", "noise", "laws"):
        assert not within_binomial(*counted_with(device, **{place: 300.0}), rate), place
    errors, trials = counted_with(device)
    assert simulate_writes(device, temperature=HOT, seed=51, trials=trials, **HOT_WRITE).errors == errors


def test_start_at_one_angle_would_be_seen():
    """Trap 4: every trial from the mean angle of the law, 60,000 trials."""
    device = junction(40, 0.1)
    write = {"current": 2.5 * I_C, "pulse_width": 0.5e-9}
    law = BoltzmannStart(torque_of(device, 300.0), 1.0)
    table = step_table(device, Pulse.rectangular(**write), direction="p_to_ap", temperature=300.0)
    errors = 0
    for chunk in range(60):
        ensemble = Ensemble.start(law, seed=53, chunk=chunk, temperature=300.0)
        m = ensemble.m
        m[:, 2] = np.sqrt((m[:, 2] ** 2).mean())
        m[:, :2] *= np.sqrt((1 - m[:, 2] ** 2) / (m[:, :2] ** 2).sum(axis=1))[:, None]
        ensemble.advance(table)
        errors += int((ensemble.vectors[:, 2] > 0).sum())
    assert not within_binomial(errors, 60 * CHUNK, write_error_rate(device, **write))


# ---- time steps and refusals (trap 13) ---------------------------------------------------------------------------


def test_too_coarse_a_step_is_refused_with_the_physics():
    with pytest.raises(ValueError, match=r"time_step must be <= 9\.\d+e-12 s, got 2e-11: .* precesses at up to .* GHz"):
        simulate_writes(junction(), trials=10, seed=1, time_step=2e-11, **WRITE)


def test_step_is_what_was_asked_for():
    count = simulate_writes(junction(), trials=10, seed=1, time_step=3e-12, **WRITE)
    assert 2.9e-12 < count.time_step <= 3e-12
    default = simulate_writes(junction(), trials=10, seed=1, **WRITE)
    assert 1.5e-12 < default.time_step < 2.2e-12
    assert simulate_writes(junction(), trials=10, seed=1, current=1e-6, pulse_width=1e-14).time_step == 1e-14


def test_steps_end_at_the_breakpoints():
    pulse = Pulse.trapezoidal(current=60e-6, pulse_width=1e-9, rise_time=0.3e-9).followed_by(relax_time=0.4e-9)
    table = step_table(junction(), pulse, direction="ap_to_p", temperature=300.0, time_step=1.7e-12)
    for time in pulse.times:
        assert np.abs(table.edges - time).min() < 1e-21
    assert np.diff(table.edges).max() <= 1.7e-12 * (1 + 1e-9)
    area = (table.rows[:, 3] * np.diff(table.edges)).sum() / torque_of(junction(), 300.0).per_ampere
    assert area == approx(60e-6 * 1e-9, rel=1e-12)


def test_too_long_a_write_is_refused():
    with pytest.raises(ValueError, match="more than 2e\\+07: trajectories resolve the precession"):
        simulate_writes(junction(), trials=10, seed=1, current=1e-6, pulse_width=1e-3)


def test_pulse_in_place_of_numbers():
    numbers = {"current": 60e-6, "pulse_width": 1e-9, "rise_time": 0.2e-9}
    one = simulate_writes(junction(), trials=2000, seed=2, relax_time=0.1e-9, **numbers)
    pulse = Pulse.trapezoidal(**numbers)
    assert simulate_writes(junction(), trials=2000, seed=2, relax_time=0.1e-9, pulse=pulse) == one
    longer = pulse.followed_by(relax_time=0.1e-9)
    assert simulate_writes(junction(), trials=2000, seed=2, pulse=longer) == one


def test_polarity_of_a_unipolar_pulse():
    """A pulse of the polarity ap_to_p pulls towards P, whatever is written: P stays and AP goes to P."""
    pulse = Pulse.rectangular(current=4 * I_C, pulse_width=3e-9, polarity="ap_to_p")
    stays = simulate_writes(junction(), pulse=pulse, direction="p_to_ap", trials=200, seed=1)
    goes = simulate_writes(junction(), pulse=pulse, direction="ap_to_p", trials=200, seed=1)
    assert (stays.errors, goes.errors) == (200, 0)


REFUSED = [
    ({"trials": 0}, "trials must be a whole number >= 1, got 0"),
    ({"trials": 10.0}, "trials must be a whole number >= 1, got 10.0"),
    ({"seed": -1}, "seed must be a whole number >= 0, got -1"),
    ({"seed": True}, "seed must be a whole number >= 0, got True"),
    ({"threads": 0}, "threads must be a whole number >= 1, got 0"),
    ({"threads": 1.5}, "threads must be a whole number >= 1, got 1.5"),
    ({"time_step": -1e-12}, "time_step must be finite and > 0 s, got -1e-12"),
    ({"time_step": 0}, "time_step must be finite and > 0 s, got 0"),
    ({"time_step": math.nan}, "time_step must be finite and > 0 s, got nan"),
    ({"temperature": 0}, "temperature must be finite and > 0 K, got 0"),
    ({"precision": "half"}, "precision must be one of 'double', 'single', got 'half'"),
    ({"direction": "down"}, "direction must be one of 'p_to_ap', 'ap_to_p', got 'down'"),
    ({"relax_time": -1e-9}, "relax_time must be finite and >= 0 s"),
    ({"rise_time": 3e-9}, "rise_time must be <= pulse_width"),
    ({"current": -1e-6}, "current must be finite and >= 0 A"),
    ({"current": "60uA"}, "current must be a number .* Give SI numbers"),
    ({"voltage": 0.5}, "give pulse_width and one of current and voltage"),
    ({"current": None}, r"give pulse_width and one of .* got \['pulse_width'\]"),
    ({"pulse": Pulse.rectangular(**WRITE)}, "pulse replaces .*; omit current and pulse_width"),
    ({"current": None, "pulse_width": None, "pulse": 5}, "pulse must be of type Pulse, got 5"),
]


@pytest.mark.parametrize(("change", "message"), REFUSED)
def test_bad_arguments(change, message):
    with pytest.raises(ValueError, match=message):
        simulate_writes(junction(), **({"trials": 10, "seed": 1} | WRITE | change))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"samples": 0}, "samples must be a whole number >= 1, got 0"),
        ({"samples": 0.5}, "samples must be a whole number >= 1, got 0.5"),
        ({"pulse": 3}, "pulse must be of type Pulse, got 3"),
        ({"pulse": None}, "give pulse_width and one of current and voltage, or a pulse; got nothing"),
        ({"current": 5e-5}, "pulse replaces current, voltage, pulse_width, rise_time; omit current"),
        ({"time_step": -1.0}, "time_step must be finite and > 0"),
    ],
)
def test_bad_arguments_of_trajectories(change, message):
    arguments = {"pulse": Pulse.rectangular(**WRITE), "trials": 10, "seed": 1} | change
    with pytest.raises(ValueError, match=message):
        trajectories(junction(), **arguments)


def test_trajectories_of_numbers_are_those_of_their_pulse():
    numbers = {"voltage": 0.5, "pulse_width": 3e-9, "rise_time": 1e-9}
    one = trajectories(junction(), **numbers, trials=2, seed=1, samples=5)
    other = trajectories(junction(), Pulse.trapezoidal(**numbers), trials=2, seed=1, samples=5)
    np.testing.assert_array_equal(one.m, other.m)


@pytest.mark.parametrize(
    ("field", "side"), [((0, 0, -1.05), "P"), ((0, 0, 1.05), "AP"), ((1.1, 0, 0), "P"), ((0.4, 0, 0.4), "AP")]
)
def test_a_field_that_leaves_one_state_is_refused(field, side):
    """The astroid of Stoner and Wohlfarth, as the front door refuses what exceeds B_k."""
    device = junction().replace(stray_field=tuple(0.27 * b for b in field))
    with pytest.raises(ValueError, match=rf"no minimum of the energy on the {side} side .* not bistable"):
        simulate_writes(device, trials=10, seed=1, **WRITE)


def test_reduced_drive_is_the_macrospins():
    """i = a_J (1 + alpha beta)/(alpha B_k) from the coefficients of the torque."""
    device = junction(field_like_ratio=-0.8)
    t = torque_of(device, 300.0)
    write, _ = reduced_write(device, "p_to_ap", 50e-6, 300.0, 0.0, 0.0)
    drive = t.per_ampere * 50e-6 * (1 + t.damping * t.field_like_ratio) / (t.damping * t.anisotropy_field)
    assert drive == approx(write.drive, rel=1e-12)
    assert t.diffusion * device.characteristic_time() * 2 * device.thermal_stability() == approx(1, rel=1e-12)
