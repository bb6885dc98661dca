"""The kernels against slow, obvious NumPy with the same noise, the order of the scheme, and what the noise must do.

The oracle is written from physics.md's solved form, dm/dt = gamma/(1 + alpha^2) (h_1 x m + grad_S W), with gradients of
W where torques.py has a cross product; that form itself is checked against the LLGS equation solved as a linear system.
Statistical tests use fixed seeds and a false-alarm chance of 1e-6 each; nobody looked for the seeds.
"""

import math
from functools import partial

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numba import njit
from scipy.constants import elementary_charge, hbar
from scipy.constants import k as k_B
from scipy.integrate import quad, solve_ivp
from scipy.optimize import brentq
from scipy.spatial.transform import Rotation
from scipy.stats import chi2, norm

from mtjsim.checks import ArgumentError
from mtjsim.device import GYROMAGNETIC_RATIO
from mtjsim.macrospin import kernels
from mtjsim.macrospin.kernels import BLOCKS, LANES, Ensemble
from mtjsim.macrospin.time_steps import step_table
from mtjsim.pulse import Pulse
from mtjsim.rng import lane_states
from mtjsim.spin_torque import current_sense
from mtjsim.torques import rotation, torque_of
from physics import approx, damped_junction

ALARM = 1e-6
SIGMAS = float(norm.isf(ALARM / 2))  # 4.9


junction = partial(damped_junction, alpha=0.02)

GENERAL = {
    "spin_torque_asymmetry": 0.35,
    "field_like_ratio": 0.6,
    "polarizer": (0.48, -0.36, 0.8),
    "stray_field": (0.05, -0.03, 0.04),
    "in_plane_anisotropy_field": 0.06,
}
DEVICES = {"axial": junction(), "general": junction(alpha=0.05, **GENERAL)}


# ---- the oracle ------------------------------------------------------------------------------------------------


class Xoshiro:
    """The xoshiro128+ of D. Blackman and S. Vigna, as their C source prints it, in NumPy's uint32 of fixed width."""

    def __init__(self, state):
        self.s = [row.copy() for row in state]

    def __call__(self):
        s = self.s
        word = s[0] + s[3]
        t = s[1] << np.uint32(9)
        s[2] = s[2] ^ s[0]
        s[3] = s[3] ^ s[1]
        s[1] = s[1] ^ s[2]
        s[0] = s[0] ^ s[3]
        s[2] = s[2] ^ t
        s[3] = (s[3] << np.uint32(11)) | (s[3] >> np.uint32(21))
        return word


def bend():
    """The cubic a (s + c s^3) of a standardised sum of four bytes that has variance 1 and kurtosis 3, from its law."""
    law = np.ones(1)
    for _ in range(4):
        law = np.convolve(law, np.full(256, 1 / 256))
    s = (np.arange(law.size) - 510) / math.sqrt(4 * (256**2 - 1) / 12)

    def moment(n, c):
        return float(law @ (s + c * s**3) ** n)

    c = brentq(lambda c: moment(4, c) / moment(2, c) ** 2 - 3, 0.0, 0.1, xtol=1e-16)
    return 1 / math.sqrt(moment(2, c)), c


A, C = bend()


def increments(words):
    """Standardised sum of four bytes, bent: mean 0, variance 1, kurtosis 3; `words` (..., lanes) of uint32."""
    octets = np.ascontiguousarray(words).view(np.uint8).reshape(*words.shape, 4).astype(float)
    s = (octets.sum(axis=-1) - 4 * 127.5) / math.sqrt(4 * (256**2 - 1) / 12)
    return A * (s + C * s**3)


def between(words):
    """Standardised difference of the two halves of a word: what only the predictor has."""
    high, low = (words >> np.uint32(16)).astype(float), (words & np.uint32(0xFFFF)).astype(float)
    return (high - low) / math.sqrt((2.0**32 - 1) / 6)


def spin_torque_field(device, m, current):
    """a_J/(1 + lambda m.p) [T] at signed currents."""
    moment = device.saturation_magnetization * device.volume
    a_J = hbar * device.spin_torque_efficiency * current / (2 * elementary_charge * moment)
    return a_J / (1 + device.spin_torque_asymmetry * (m @ np.array(device.polarizer)))


def solved_rotation(device, m, current, lowered=0.0):
    """h_1 + m x grad W of physics.md [T]: W = alpha(B_k m_z^2/2 + B_k2 m_x^2/2 + B.m) + (a_J + alpha b_J) G(p.m)."""
    alpha, beta, p = device.damping, device.field_like_ratio, np.array(device.polarizer)
    B = m * [device.in_plane_anisotropy_field, 0.0, device.anisotropy_field - lowered] + device.stray_field
    a = spin_torque_field(device, m, current)[:, None]
    grad = alpha * B + (a + alpha * beta * a) * p
    return B + (beta * a - alpha * a) * p + np.cross(m, grad)


def current_of(device, m, level, drive):
    """Signed current [A] that a level drives."""
    if drive == "current":
        return np.full(len(m), level)
    V_h = device.tmr_half_voltage or math.inf
    G_p = 1 / device.resistance_p
    G_ap = G_p / (1 + device.tunnel_magnetoresistance / (1 + (level / V_h) ** 2))
    return level * ((G_p + G_ap) / 2 + (G_p - G_ap) / 2 * m[:, 2])


def oracle_step(device, m, dt, level, kicks, extra=0.0, *, drive="current", temperature=300.0, torque=solved_rotation):
    """One step of (lanes, 3): `kicks` and the predictor's `extra` (lanes, 3) of variance 1, `level` signed."""
    alpha, moment = device.damping, device.saturation_magnetization * device.volume
    D = GYROMAGNETIC_RATIO * alpha * k_B * temperature / ((1 + alpha**2) * moment)
    lowered = 0.0
    if drive == "voltage" and device.vcma_coefficient:
        sheet = device.saturation_magnetization * device.thickness
        lowered = 2 * device.vcma_coefficient * level / (sheet * device.barrier_thickness)

    def half_rotation(m):
        rate = GYROMAGNETIC_RATIO / (1 + alpha**2)
        return torque(device, m, current_of(device, m, level, drive), lowered) * rate * dt / 2

    spread = 2 * D * dt
    thermal = np.sqrt(spread) * (1 + 0.375 * spread) * kicks / 2
    half = half_rotation(m) + thermal + np.sqrt(spread) * (1 + 0.375 * spread) * extra / 2
    predictor = (1 - D * dt * (1 + 0.375 * spread) ** 2) * (m + np.cross(half, m))
    w = half_rotation(predictor)
    w = w + (1 + (w * w).sum(axis=1, keepdims=True) / 2) * thermal
    size = np.linalg.norm(w, axis=1, keepdims=True)
    return Rotation.from_rotvec(w / size * 2 * np.arctan(size)).apply(m)  # Cayley turns by 2 atan |w|


def oracle_run(device, m, words, dts, levels, *, noise=increments, **options):
    random = Xoshiro(words[0])
    for dt, level in zip(dts, levels, strict=True):
        drawn = np.stack([random(), random(), random()])
        m = oracle_step(device, m, dt, level, noise(drawn).T, between(drawn).T, **options)
    return m


def some_lanes(seed=3):
    m = np.random.default_rng(seed).normal(size=(LANES, 3))
    return m / np.linalg.norm(m, axis=1, keepdims=True), lane_states(seed, "thermal", 0, 1, LANES)


def one_block(m, words, dtype=np.float64, temperature=300.0):
    state = np.zeros((1, 3, LANES))
    state[:, 0] = temperature
    return Ensemble(np.ascontiguousarray(m.T[None], dtype=dtype), words.copy(), state)


PULSES = {
    "current": Pulse.trapezoidal(current=70e-6, pulse_width=0.3e-9, rise_time=0.1e-9),
    "voltage": Pulse.trapezoidal(voltage=0.5, pulse_width=0.3e-9, rise_time=0.1e-9),
}
VOLTAGE = {"vcma_coefficient": 60e-15, "barrier_thickness": 1.2e-9, "tmr_half_voltage": 0.5}


def both_ways(name, drive, *, precision=np.float64, energy=False, **mutation):
    device, pulse = DEVICES[name], PULSES[drive]
    if drive == "voltage":
        device = device.replace(**VOLTAGE)
    table = step_table(device, pulse, direction="p_to_ap", temperature=350.0, energy=energy)
    m, words = some_lanes()
    ensemble = one_block(m, words, precision, 350.0)
    ensemble.advance(table)
    levels = -pulse.at(table.edges[:-1] + np.diff(table.edges) / 2)
    options = {"drive": drive, "temperature": 350.0, **mutation}
    return ensemble, oracle_run(device, m, words, np.diff(table.edges), levels, **options), len(table.rows)


@pytest.mark.parametrize("drive", PULSES)
@pytest.mark.parametrize("name", DEVICES)
def test_kernel_is_the_oracle(name, drive):
    ensemble, expected, steps = both_ways(name, drive)
    assert steps > 150
    assert ensemble.vectors == approx(expected, abs=1e-10)
    assert np.linalg.norm(ensemble.vectors, axis=1) == approx(1, abs=1e-13)


@pytest.mark.parametrize("drive", PULSES)
@pytest.mark.parametrize("name", DEVICES)
def test_single_precision_is_the_oracle(name, drive):
    ensemble, expected, _ = both_ways(name, drive, precision=np.float32)
    assert ensemble.m.dtype == np.float32
    assert ensemble.vectors == approx(expected, abs=1e-4)
    assert np.abs(ensemble.vectors - expected).max() > 1e-8  # it was single precision


@pytest.mark.parametrize("name", DEVICES)
def test_coupled_kernel_is_the_oracle(name):
    """Driven by a current, nothing couples: the energy is a by-product."""
    ensemble, expected, _ = both_ways(name, "current", energy=True)
    assert ensemble.vectors == approx(expected, abs=1e-10)
    assert (ensemble.joules > 0).all()


def test_coupled_kernel_with_a_voltage_is_the_oracle():
    """Bias and current of a step are those of its predicted middle, as in the plain kernel."""
    ensemble, expected, _ = both_ways("general", "voltage", energy=True)
    assert ensemble.vectors == approx(expected, abs=1e-10)


MUTANTS = {
    "sign of beta - alpha": lambda d, m, I, low: (
        solved_rotation(d, m, I, low)
        - 2 * (d.field_like_ratio - d.damping) * spin_torque_field(d, m, I)[:, None] * np.array(d.polarizer)
    ),
    "no field-like damping": lambda d, m, I, low: (
        solved_rotation(d, m, I, low)
        - np.cross(m, d.damping * d.field_like_ratio * spin_torque_field(d, m, I)[:, None] * np.array(d.polarizer))
    ),
    "a current of the other sign": lambda d, m, I, low: solved_rotation(d, m, -I, low),
    "no asymmetry": lambda d, m, I, low: solved_rotation(d.replace(spin_torque_asymmetry=0.0), m, I, low),
    "no second anisotropy": lambda d, m, I, low: solved_rotation(d.replace(in_plane_anisotropy_field=0.0), m, I, low),
    "another B_k": lambda d, m, I, low: solved_rotation(d, m, I, low + 1e-4),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_wrong_torque_would_be_seen(mutant):
    ensemble, expected, _ = both_ways("general", "current", torque=MUTANTS[mutant])
    assert np.abs(ensemble.vectors - expected).max() > 1e-4


NOISE_MUTANTS = {
    "one per cent": lambda words: 1.01 * increments(words),
    "three bytes": lambda words: increments(words & np.uint32(0x00FFFFFF)),
    "the same word for every axis": lambda words: increments(np.broadcast_to(words[:1], words.shape)),
    "axes swapped": lambda words: increments(words[::-1]),
}


@pytest.mark.parametrize("mutant", NOISE_MUTANTS)
def test_a_wrong_noise_would_be_seen(mutant):
    ensemble, expected, _ = both_ways("axial", "current", noise=NOISE_MUTANTS[mutant])
    assert np.abs(ensemble.vectors - expected).max() > 1e-4


# ---- the solved form is the equation -----------------------------------------------------------------------------


def llgs(device, m, current):
    """dm/dt from the LLGS equation as it is written, (1 - alpha m x) dm/dt = right side, a linear system a vector."""
    gamma, p = GYROMAGNETIC_RATIO, np.array(device.polarizer)
    out = np.empty_like(m)
    for j, v in enumerate(m):
        B_ext, z, x = np.array(device.stray_field), np.array([0, 0, 1.0]), np.array([1.0, 0, 0])
        B = B_ext + device.anisotropy_field * v[2] * z + device.in_plane_anisotropy_field * v[0] * x
        a = spin_torque_field(device, v, current)
        right = -gamma * np.cross(v, B + device.field_like_ratio * a * p) - gamma * a * np.cross(v, np.cross(v, p))
        cross = np.array([[0, -v[2], v[1]], [v[2], 0, -v[0]], [-v[1], v[0], 0]])
        out[j] = np.linalg.solve(np.eye(3) - device.damping * cross, right)
    return out


unit = st.tuples(st.floats(-1, 1), st.floats(0, 2 * math.pi)).map(
    lambda t: (math.sqrt(1 - t[0] ** 2) * math.cos(t[1]), math.sqrt(1 - t[0] ** 2) * math.sin(t[1]), t[0])
)
fields = st.floats(-0.4, 0.4)
general_devices = st.builds(
    lambda alpha, lam, beta, p, field, k2: junction(
        alpha=alpha,
        spin_torque_asymmetry=lam,
        field_like_ratio=beta,
        polarizer=tuple(np.array(p) / np.linalg.norm(p)),
        stray_field=field,
        in_plane_anisotropy_field=k2,
    ),
    st.floats(0.003, 0.8),
    st.floats(-0.9, 0.9),
    st.floats(-2, 2),
    unit,
    st.tuples(fields, fields, fields),
    st.floats(-0.2, 0.2),
)
derandomized = settings(max_examples=60)


@derandomized
@given(general_devices, unit, st.floats(-3e-4, 3e-4))
def test_torque_solves_the_equation(device, m, current):
    m = np.array([m])
    m /= np.linalg.norm(m)
    try:
        t = torque_of(device, 300.0)
    except ArgumentError:  # p_z < 0 and the field compete: test_spin_torque.py
        assume(False)
    a = t.per_ampere * current / (1 + t.asymmetry * (m[0] @ np.array(t.polarizer)))
    B = m[0] * [t.in_plane_anisotropy_field, 0, t.anisotropy_field] + t.field
    W = np.array(rotation.py_func(*m[0], *B, a, *t.polarizer, t.damping, t.field_like_ratio))
    towards_p = current_sense(device)  # I > 0 favours P, or pulls toward a p that lies across the axis
    expected = llgs(device, m, towards_p * current)[0]
    scale = GYROMAGNETIC_RATIO * (np.linalg.norm(B) + abs(a) + 1e-3)
    assert t.rate * np.cross(W, m[0]) == approx(expected, abs=1e-11 * scale)
    assert t.rate * np.linalg.norm(W) <= t.fastest(current) * (1 + 1e-12)


def test_the_bound_on_the_rotation_is_reached():
    """m across p, one source alone: |W| = sqrt((1 + alpha^2)(1 + beta^2)) a, and sqrt(1 + alpha^2) B."""
    device = junction(alpha=0.5, field_like_ratio=1.0, polarizer=(1.0, 0.0, 0.0))
    t = torque_of(device, 300.0)
    spin = 2e-3 * t.per_ampere
    W = rotation.py_func(0.0, 0.0, 1.0, 0.0, 0.0, 0.0, spin, 1.0, 0.0, 0.0, t.damping, 1.0)
    assert np.linalg.norm(W) * t.rate == approx(t.fastest(2e-3) - t.fastest(0.0), rel=1e-12)


# ---- the order of the scheme -------------------------------------------------------------------------------------


def deterministic_end(device, pulse, m, steps):
    table = step_table(device, pulse, direction="p_to_ap", temperature=300.0, time_step=pulse.duration / steps)
    table.rows[:, 1] = 0.0  # no noise
    ensemble = one_block(m, lane_states(1, "thermal", 0, 1, LANES))
    ensemble.advance(table)
    return ensemble.vectors


@pytest.mark.parametrize("name", DEVICES)
def test_order_two_and_the_right_limit(name):
    """Against the LLGS equation by Runge-Kutta at 1e-11: halving the step quarters the error, |m| stays 1."""
    device, pulse = DEVICES[name], Pulse.rectangular(current=120e-6, pulse_width=0.2e-9)
    m, _ = some_lanes()
    flow = solve_ivp(
        lambda _, y: llgs(device, y.reshape(-1, 3), -120e-6).ravel(),
        (0, pulse.duration),
        m[:4].ravel(),
        method="DOP853",
        rtol=1e-11,
        atol=1e-12,
    )
    right = flow.y[:, -1].reshape(-1, 3)
    ends = [deterministic_end(device, pulse, m, n) for n in (200, 400, 800)]
    errors = [np.abs(end[:4] - right).max() for end in ends]
    assert errors[2] < 1e-4
    assert np.log2(np.array(errors[:-1]) / errors[1:]) == approx(2, abs=0.1)
    assert np.linalg.norm(ends[0], axis=1) == approx(1, abs=1e-12)


def test_precession_alone_keeps_its_angle():
    """Trap 10: Heun damps by (gamma B dt)^3/(8 alpha); here m_z falls only by the damping that was declared."""
    device = junction(alpha=1e-6)
    m, _ = some_lanes()
    pulse = Pulse.rectangular(current=0.0, pulse_width=2e-9)
    end = deterministic_end(device, pulse, m, 400)  # 0.24 rad a step, 95 rad in all
    assert end[:, 2] == approx(m[:, 2], abs=2e-3)
    heun = np.abs(m[:, 2]).max() * 400 * (0.24**4) / 8  # what Heun would add
    assert heun > 0.1


@pytest.mark.parametrize(("precision", "drift"), [(np.float64, 1e-12), (np.float32, 2e-4)])
def test_length_is_kept_over_many_steps(precision, drift):
    """400,000 noisy steps without a normalisation."""
    device = junction(Delta=20.0)
    table = step_table(
        device,
        Pulse.rectangular(current=60e-6, pulse_width=400_000 * 2e-12),
        direction="p_to_ap",
        temperature=300.0,
        time_step=2e-12,
    )
    m, words = some_lanes()
    ensemble = one_block(m, words, precision)
    ensemble.advance(table)
    assert len(table.rows) >= 400_000
    assert np.abs(np.linalg.norm(ensemble.vectors, axis=1) - 1).max() < drift


# ---- the noise ---------------------------------------------------------------------------------------------------


def drawn_words(lanes=LANES * BLOCKS, count=300, seed=11):
    """Words as the kernel draws them, (count, lanes): its generator, compiled, one lane after the other."""
    states = lane_states(seed, "thermal", 0, BLOCKS, LANES)
    return _draw(np.concatenate(list(states), axis=1)[:, :lanes], count)


@njit
def _draw(states, count):
    out = np.empty((count, states.shape[1]), dtype=np.uint32)
    for j in range(states.shape[1]):
        a, b, c, d = states[0, j], states[1, j], states[2, j], states[3, j]
        for i in range(count):
            out[i, j], a, b, c, d = kernels.next_word(a, b, c, d)
    return out


def test_words_are_xoshiro():
    """Trap 9: Numba promotes sums and products of uint32 to 64 bits, and a rotation then loses its carried bits."""
    states = np.concatenate(list(lane_states(11, "thermal", 0, BLOCKS, LANES)), axis=1)
    random = Xoshiro(states)
    expected = np.stack([random() for _ in range(300)])
    words = drawn_words()
    assert words.dtype == np.uint32
    assert (words == expected).all()
    assert ((words >> np.uint32(31)).mean(axis=0) > 0).all()  # the top bit lives in every lane


def test_xoshiro_of_the_paper():
    """First words from the state (1, 2, 3, 4), worked out by hand from the C source: 1 + 4, then 7 + 2^11 6."""
    random = Xoshiro([np.array([i], dtype=np.uint32) for i in (1, 2, 3, 4)])
    assert [int(random()[0]) for _ in range(2)] == [5, 7 + 6 * 2**11]


@njit
def _bytes(words):
    return np.array([kernels.sum_of_bytes(word) for word in words])


@pytest.mark.parametrize("word", [0, 1, 0xFF, 0x01020304, 0xFF00FF00, 0x00FF00FF, 0xFFFFFFFF])
def test_sum_of_bytes(word):
    assert _bytes(np.array([word], dtype=np.uint32))[0] == sum(word.to_bytes(4, "little"))


def test_moments_of_the_increments():
    """3e5 words: mean, variance, skewness and kurtosis 3; correlations in time, across words and across lanes.

    The smallest errors caught: 0.9 % of a standard deviation in the mean, 1.2 % in the variance, 0.9 % of correlation.
    """
    x = increments(drawn_words())
    n = x.size
    kurtosis = 3.0
    assert abs(x.mean()) < SIGMAS / math.sqrt(n)
    assert abs(x.var() - 1) < SIGMAS * math.sqrt((kurtosis - 1) / n)
    assert abs((x**3).mean()) < SIGMAS * math.sqrt(15 / n)
    assert abs((x**4).mean() - kurtosis) < SIGMAS * math.sqrt(96 / n)
    for lag in (1, 2, 3, 4, 5, 6, 9, 30):
        assert abs((x[lag:] * x[:-lag]).mean()) < SIGMAS / math.sqrt(x[lag:].size), lag
    for lane in (1, 2, 16, 32, 33, 512):
        assert abs((x[:, lane:] * x[:, :-lane]).mean()) < SIGMAS / math.sqrt(x[:, lane:].size), lane


def test_lanes_chunks_and_roles_are_independent():
    """No state is shared by two lanes, two chunks, two roles or two seeds, and none is zero."""
    keys = [(seed, role, chunk) for seed in (0, 1, 2) for role in ("thermal", "splitting") for chunk in (0, 1, 2)]
    states = np.concatenate([lane_states(*key, BLOCKS, LANES).transpose(0, 2, 1).reshape(-1, 4) for key in keys])
    assert len(np.unique(states, axis=0)) == len(states)
    assert (states != 0).any(axis=1).all()
    for column in states.T:  # and no word of a state repeats along a sequence, as seed + number would
        assert len(np.unique(column)) > 0.99 * len(column)


def free_steps(m0, count=60, Delta=20.0, mutate=None):
    """Displacements of lanes that all start at m0, without any field: (lanes, 3), and 2 D dt."""
    device = junction(Delta)
    table = step_table(
        device, Pulse.rectangular(current=0.0, pulse_width=2e-12), direction="p_to_ap", temperature=300.0
    )
    table.constants[:5] = 0.0
    moved = []
    for chunk in range(count):
        m = np.broadcast_to(np.asarray(m0)[:, None], (BLOCKS, 3, LANES)).copy()
        ensemble = Ensemble(m, lane_states(7, "thermal", chunk, BLOCKS, LANES), np.zeros((BLOCKS, 2, LANES)))
        ensemble.advance(table)
        moved.append(ensemble.vectors - m0)
    return np.concatenate(moved), 2 * torque_of(device, 300.0).diffusion * 2e-12


POINTS = [(0.0, 0.0, 1.0), (0.8, 0.0, 0.6), (0.0, -1.0, 0.0), (-0.48, 0.6, -0.64)]


def covariance_misfit(moved, two_D_dt, m0):
    """Largest deviation of the covariance from 2 D t (1 - m m^T), in standard errors."""
    m0, n = np.asarray(m0), len(moved)
    expected = two_D_dt * (np.eye(3) - np.outer(m0, m0))
    measured = moved.T @ moved / n
    spread = two_D_dt * np.sqrt((1 + np.eye(3)) / n)
    return np.abs(measured - expected).max() / spread[0, 1], np.abs((measured - expected) / spread).max()


@pytest.mark.parametrize("m0", POINTS)
def test_noise_is_isotropic(m0):
    """Trap 3: one step of pure noise has the covariance 2 D t (1 - m m^T) everywhere; 61,440 lanes, 3 % is caught."""
    moved, two_D_dt = free_steps(np.array(m0))
    assert covariance_misfit(moved, two_D_dt, m0)[1] < SIGMAS + 1


def test_anisotropic_noise_would_be_seen():
    """Trap 3: an elementwise product m * dW instead of -m x dW, and an axis that gets no noise."""
    m0 = np.array(POINTS[3])
    kicks = np.random.default_rng(1).normal(size=(61_440, 3))
    assert covariance_misfit(m0 * kicks, 1.0, m0)[1] > 20
    assert covariance_misfit(np.cross(kicks * [1, 1, 0], m0), 1.0, m0)[1] > 20
    assert covariance_misfit(np.cross(kicks, m0), 1.0, m0)[1] < SIGMAS


# ---- equilibrium ----------------------------------------------------------------------------------------------


def equilibrium(Delta, alpha, dt, *, count=8, samples=16, h=0.0, noise=1.0, seed=5, energy=False):
    """m_z of lanes at zero current, from a start that is not Boltzmann's, every tau_D after 6 tau_D (20 in a field).

    Uniform on the sphere where the barrier is low, at 0.5/sqrt(Delta) rad from either pole where it is high.
    """
    device = junction(Delta, alpha=alpha)
    device = device.replace(stray_field=(0.0, 0.0, h * device.anisotropy_field))
    tau = device.characteristic_time()

    def table_of(duration):
        pulse = Pulse.rectangular(current=0.0, pulse_width=duration)
        table = step_table(device, pulse, direction="p_to_ap", temperature=300.0, time_step=dt, energy=energy)
        table.rows[:, 1] *= noise
        return table

    burn, between = table_of((20 if h else 6) * tau), table_of(tau)
    random, kept = np.random.default_rng(seed), []
    for chunk in range(count):
        size = (BLOCKS, LANES)
        z = random.uniform(-1, 1, size) if Delta <= 5 else random.choice([-1, 1], size) * np.cos(0.5 / np.sqrt(Delta))
        phi = random.uniform(0, 2 * np.pi, size)
        m = np.stack([np.sqrt(1 - z**2) * np.cos(phi), np.sqrt(1 - z**2) * np.sin(phi), z], axis=1)
        state = np.full((BLOCKS, 3, LANES), 300.0)
        ensemble = Ensemble(m, lane_states(seed, "thermal", chunk, BLOCKS, LANES), state)
        ensemble.advance(burn)
        for _ in range(samples):
            ensemble.advance(between)
            kept.append(ensemble.vectors)
    return np.stack(kept)


def boltzmann_mean(function, Delta, h=0.0):
    def weight(z):
        return math.exp(Delta * (z * z + 2 * h * z - 1 - 2 * abs(h)))

    options = {"limit": 400, "points": [-1 + 1 / Delta, 1 - 1 / Delta]}
    return quad(lambda z: function(z) * weight(z), -1, 1, **options)[0] / quad(weight, -1, 1, **options)[0]


FULL_STEP = 0.1 / (GYROMAGNETIC_RATIO * 0.27)  # what time_step=None takes at zero current, 2.1 ps


slow = pytest.mark.slow


@pytest.mark.parametrize(
    ("Delta", "alpha", "steps", "energy"),
    [
        (2, 0.1, 1, False),
        (15, 0.1, 4, False),
        (40, 0.1, 4, False),
        (40, 0.1, 4, True),
        (80, 0.1, 2, False),
        pytest.param(5, 0.1, 0.5, False, marks=slow),
        pytest.param(15, 0.05, 1, False, marks=slow),
        pytest.param(40, 0.02, 1, False, marks=slow),
        pytest.param(80, 0.02, 4, False, marks=slow),
        pytest.param(5, 0.1, 1, True, marks=slow),
    ],
)
def test_mean_square_angle(Delta, alpha, steps, energy):
    """Trap 1: <sin^2 theta> against Boltzmann to 0.7 %, five standard errors, at 0.05 to 0.4 rad a step.

    655,360 samples of an almost exponential law, correlated over half a tau_D. Cayley's formula without its correction
    is 4 % low at 0.4 rad (test_temperature_of_the_scheme).
    """
    m = equilibrium(Delta, alpha, steps * FULL_STEP, count=16, samples=40, energy=energy)
    measured = (1 - m[..., 2] ** 2).mean()
    assert measured == approx(boltzmann_mean(lambda z: 1 - z * z, Delta), rel=0.007)


def linear_temperature(alpha, angle, correction=True):
    """Stationary <sin^2 theta> over Boltzmann's near the pole, from the oracle's own two numbers: decay and kick."""
    device, dt = junction(1e6, alpha=alpha), angle / (GYROMAGNETIC_RATIO * 0.27)
    tiny = 1e-5
    tilted = np.array([[math.sin(tiny), 0.0, math.cos(tiny)]])
    decayed = oracle_step(device, tilted, dt, 0.0, np.zeros((1, 3)))
    kicked = oracle_step(device, np.array([[0.0, 0.0, 1.0]]), dt, 0.0, np.array([[1.0, 0.0, 0.0]]))
    decay, kick = (decayed[0, :2] ** 2).sum() / tiny**2, 2 * (kicked[0, :2] ** 2).sum()
    if not correction:
        kick /= 1 + (angle / 2) ** 2
    moment = device.saturation_magnetization * device.volume
    return kick / (1 - decay) / (2 * k_B * 300 / (moment * 0.27))


@pytest.mark.parametrize(("alpha", "angle"), [(0.01, 0.1), (0.01, 0.4), (0.1, 0.1), (0.1, 0.4)])
def test_temperature_of_the_scheme(alpha, angle):
    """To 5e-4 at any step that is allowed; uncorrected, colder by (gamma B dt/2)^2."""
    assert linear_temperature(alpha, angle) == approx(1, abs=5e-4)
    assert linear_temperature(alpha, angle, correction=False) == approx(1 - angle**2 / 4, abs=3e-3)


@pytest.mark.parametrize("noise", [0.98, 1.02, 2**0.5, 0.5])
def test_a_wrong_noise_amplitude_would_be_seen(noise):
    """Trap 1: even 2 % in the field, 4 % in k T. It is the Boltzmann law of another temperature."""
    m = equilibrium(40, 0.1, FULL_STEP, noise=noise)
    measured = (1 - m[..., 2] ** 2).mean()
    assert measured == approx(boltzmann_mean(lambda z: 1 - z * z, 40 / noise**2), rel=0.01)
    assert measured != approx(boltzmann_mean(lambda z: 1 - z * z, 40), rel=0.02)


def histogram_p_value(z, Delta, h=0.0, bins=24):
    """Chi-square of m_z in bins of equal Boltzmann probability, samples independent."""
    fine = np.linspace(-1, 1, 200_001)
    log_weight = Delta * (fine**2 + 2 * h * fine)
    cumulative = np.concatenate([[0], np.cumsum(np.exp((log_weight[1:] + log_weight[:-1]) / 2 - log_weight.max()))])
    edges = np.interp(np.linspace(0, 1, bins + 1), cumulative / cumulative[-1], fine)
    edges[[0, -1]] = -1.1, 1.1
    observed = np.histogram(z, edges)[0]
    statistic = ((observed - len(z) / bins) ** 2 / (len(z) / bins)).sum()
    return chi2.sf(statistic, bins - 1)


@pytest.mark.parametrize(("Delta", "h"), [(1, 0.0), (2, 0.0), (5, 0.0), (2, 0.15)])
def test_whole_histogram(Delta, h):
    """Trap 2: Stratonovich. 24,576 independent trajectories in 24 equal bins: 15 % in one bin is caught."""
    m = equilibrium(Delta, 0.1, FULL_STEP, count=24, samples=1, h=h, seed=6)
    assert histogram_p_value(m[..., 2].ravel(), Delta, h) > ALARM


def angles_by_euler(Delta, drift, count=20_000, tau=8.0, steps=800):
    """m_z by explicit Euler in theta, with or without the drift D cot theta that Ito's calculus asks for."""
    random, dt = np.random.default_rng(2), tau / steps
    theta, D = np.arccos(random.uniform(-1, 1, count)), 1 / (2 * Delta)
    for _ in range(steps):
        force = -np.sin(theta) * np.cos(theta) + drift * D / np.tan(theta)
        theta = theta + force * dt + np.sqrt(2 * D * dt) * random.normal(size=count)
        theta = np.clip(np.abs(np.where(theta > np.pi, 2 * np.pi - theta, theta)), 0.02, np.pi - 0.02)
    return np.cos(theta)


def test_euler_in_angles_would_be_seen():
    """Trap 2: without D cot theta the histogram is far off; with it, it is Boltzmann's but for the clipped poles."""
    assert histogram_p_value(angles_by_euler(2, 0.0), 2) < 1e-30
    assert histogram_p_value(angles_by_euler(2, 1.0), 2) > 1e-9


def test_azimuth_is_uniform():
    """Trap 3: from one azimuth to all of them, 16,384 trajectories away from the poles."""
    m = equilibrium(5, 0.1, FULL_STEP, count=16, samples=1, seed=9).reshape(-1, 3)
    away = m[np.abs(m[:, 2]) < 0.95]
    observed = np.histogram(np.arctan2(away[:, 1], away[:, 0]), np.linspace(-np.pi, np.pi, 25))[0]
    expected = len(away) / 24
    assert chi2.sf(((observed - expected) ** 2 / expected).sum(), 23) > ALARM
