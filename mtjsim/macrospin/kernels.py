"""Stochastic macrospin ensembles: the LLGS equation of `torques.py` for many trajectories at once.

Legend: m = (x, y, z), dt time step, w = rate dt/2 W plus the thermal increment: half the rotation of a step.

One step is an explicit midpoint rule on the sphere. The predictor m + w(m) x m is half a step ahead; the rotation found
there, w = w(predictor), takes the whole step by Cayley's formula,

    c = m + w x m,    m <- m + 2/(1 + |w|^2) w x c.

|m| = 1 is kept without renormalising, and precession is a pure rotation: Heun's scheme damps it wrongly by
(gamma B dt)^3/(8 alpha), relative, which moves deep error rates by tens of percent at steps where this one is exact to
counting. Thermal increments enter w, so the limit is Stratonovich's.

Four corrections make the law of the ensemble (its weak error) second order in dt, measured by hops over a barrier:
* added to a rotation w_0, a small rotation is shortened by Cayley's formula by sqrt(1 + |w_0|^2): damping is longer by
  that factor in the predictor anyway, the corrector's thermal increment is made longer (else 0.25 % of k T too cold at
  0.1 rad);
* a Cayley rotation by a random vector diffuses too little, by 3/4 of its own variance (`time_steps.py`);
* the predictor has half of the step's increment and an independent one of the same variance: together half of the
  step's variance, as the path has on average;
* the predictor is shorter by D dt, as the mean of a diffusing unit vector is.

The thermal increment is a rotation about three axes by independent sums s of four random bytes, bent to
s (STRAIGHT + CUBIC s^2), which has the variance and the kurtosis of a Gaussian. An unbent sum (kurtosis 2.7) makes hops
rarer by (0.3/24) sum theta^4 for increments theta that climb the barrier: 0.7 % at 0.1 rad a step and alpha = 0.1. The
predictor's own increment is the difference of the two halves of the same word: swapping them turns its sign and leaves
the sum, so the two are uncorrelated exactly.

Trajectories are stored in blocks of `LANES` (structure of arrays) with a generator each, xoshiro128+ (D. Blackman,
S. Vigna, ACM Trans. Math. Softw. 47, 36, 2021), so that the loop over lanes becomes vector instructions.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit, uint32
from numpy.typing import NDArray

from mtjsim.checks import Array
from mtjsim.macrospin.start import BoltzmannStart
from mtjsim.macrospin.time_steps import BYTES_MEAN, BYTES_VARIANCE, StepTable
from mtjsim.rng import lane_states
from mtjsim.torques import axial_rotation, rotation

LANES = 32  # trajectories a block
BLOCKS = 32  # blocks a chunk; a chunk has one seed
CHUNK = LANES * BLOCKS
STRAIGHT = 0.9490332780957842  # with CUBIC: s (STRAIGHT + CUBIC s^2) has variance and kurtosis of a Gaussian
CUBIC = STRAIGHT * 0.019643549842651375 / BYTES_VARIANCE
SPREAD = 2 * BYTES_VARIANCE  # times the square of an increment's scale: D dt, by which noise shortens the mean of m
BETWEEN = math.sqrt(BYTES_VARIANCE / ((2.0**32 - 1) / 6))  # gives the difference of halves the variance of the sum
PRECISIONS = {"double": np.float64, "single": np.float32}


# ---- the kernels -----------------------------------------------------------------------------------------------------


@njit(inline="always")
def next_word(a, b, c, d):
    """Return a word of xoshiro128+ and the next state; Numba promotes sums of uint32 to 64 bits, hence the casts."""
    word = uint32(a + d)
    t = uint32(b << uint32(9))
    c = uint32(c ^ a)
    d = uint32(d ^ b)
    b = uint32(b ^ c)
    a = uint32(a ^ d)
    c = uint32(c ^ t)
    d = uint32(uint32(d << uint32(11)) | uint32(d >> uint32(21)))
    return word, a, b, c, d


@njit(inline="always")
def sum_of_bytes(word):
    """Return the sum of the four bytes of a uint32."""
    pairs = uint32((word & uint32(0x00FF00FF)) + ((word >> uint32(8)) & uint32(0x00FF00FF)))
    return np.int32(uint32((pairs & uint32(0xFFFF)) + (pairs >> uint32(16))))


@njit(inline="always")
def _increment(word, noise):
    # bent, the sum has the variance and the kurtosis of a Gaussian
    real = type(noise)
    s = real(sum_of_bytes(word)) - real(BYTES_MEAN)
    return noise * s * (real(STRAIGHT) + real(CUBIC) * s * s)


@njit(inline="always")
def _difference_of_halves(word):
    return np.int32(word >> uint32(16)) - np.int32(word & uint32(0xFFFF))


@njit(inline="always")
def _predicted(x, y, z, wx, wy, wz, shrinks):
    return shrinks * (x + (wy * z - wz * y)), shrinks * (y + (wz * x - wx * z)), shrinks * (z + (wx * y - wy * x))


@njit(inline="always")
def cayley(x, y, z, wx, wy, wz):
    """Rotate (x, y, z) by Cayley's formula; w is half the rotation of a step."""
    one, two = type(x)(1), type(x)(2)
    q = two / (one + wx * wx + wy * wy + wz * wz)
    cx = x + (wy * z - wz * y)
    cy = y + (wz * x - wx * z)
    cz = z + (wx * y - wy * x)
    return x + q * (wy * cz - wz * cy), y + q * (wz * cx - wx * cz), z + q * (wx * cy - wy * cx)


@njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract"})
def _march(m, words, steps, constants, oblique):
    """Advance one block in place; `m` (3, LANES), `words` (4, LANES), `steps` as `StepTable.rows`, in one precision.

    The current and B_k of a step do not depend on the trajectory, except that a voltage drives a_0 + a_1 m_z. `oblique`
    is None where field and polarizer lie along z and lambda = 0: a smaller kernel is compiled for these.
    """
    X, Y, Z = m[0], m[1], m[2]
    A, B, C, D = words[0], words[1], words[2], words[3]
    real = type(constants[0])
    one, half = real(1), real(0.5)
    bx, by, bz, bk, bk2, asymmetry, px, py, pz, alpha, beta = constants[:11]
    for k in range(steps.shape[0]):
        h, noise, lowered, a0, a1 = steps[k, 0], steps[k, 1], steps[k, 2], steps[k, 3], steps[k, 4]
        hx, hy, hz, hk, hk2 = h * bx, h * by, h * bz, h * (bk - lowered), h * bk2
        a0, a1, between, shrinks = h * a0, h * a1, noise * real(BETWEEN), one - real(SPREAD) * noise * noise
        for j in range(LANES):
            w0, a, b, c, d = next_word(A[j], B[j], C[j], D[j])
            w1, a, b, c, d = next_word(a, b, c, d)
            w2, a, b, c, d = next_word(a, b, c, d)
            A[j], B[j], C[j], D[j] = a, b, c, d
            tx = _increment(w0, noise)
            ty = _increment(w1, noise)
            tz = _increment(w2, noise)
            dx = tx + real(_difference_of_halves(w0)) * between
            dy = ty + real(_difference_of_halves(w1)) * between
            dz = tz + real(_difference_of_halves(w2)) * between
            x, y, z = X[j], Y[j], Z[j]
            s = a0 + a1 * z
            if oblique is None:
                wx, wy, wz = axial_rotation(x, y, hz + hk * z, s, pz, alpha, beta)
            else:
                s /= one + asymmetry * (x * px + y * py + z * pz)
                wx, wy, wz = rotation(x, y, z, hx + hk2 * x, hy, hz + hk * z, s, px, py, pz, alpha, beta)
            wx, wy, wz = wx + dx, wy + dy, wz + dz
            u, v, w = _predicted(x, y, z, wx, wy, wz, shrinks)
            s = a0 + a1 * w
            if oblique is None:
                wx, wy, wz = axial_rotation(u, v, hz + hk * w, s, pz, alpha, beta)
            else:
                s /= one + asymmetry * (u * px + v * py + w * pz)
                wx, wy, wz = rotation(u, v, w, hx + hk2 * u, hy, hz + hk * w, s, px, py, pz, alpha, beta)
            q = one + half * (wx * wx + wy * wy + wz * wz)
            X[j], Y[j], Z[j] = cayley(x, y, z, wx + q * tx, wy + q * ty, wz + q * tz)


@njit(inline="always")
def solve_circuit(z, V, level, imposed_voltage, G_p, tmr, half):
    """Return bias and current at m_z = z; under an imposed current V G(V) = I by Newton from the last bias V."""
    if imposed_voltage > 0:
        V = level
    else:
        for _ in range(2):
            v2 = V * V / (half * half)
            down = 1 / (1 + v2 + tmr)
            G = G_p * ((1 + z) / 2 + (1 - z) / 2 * (1 + v2) * down)
            V -= (V * G - level) / (G + G_p * (1 - z) * tmr * v2 * down * down)
    v2 = V * V / (half * half)
    return V, V * G_p * ((1 + z) / 2 + (1 - z) / 2 * (1 + v2) / (1 + v2 + tmr))


@njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract"})
def _march_coupled(m, words, steps, constants, circuit, laws, state):
    """As `_march`, with bias, current, temperature and energy of every trajectory; `state` (3, LANES): T, joules, V.

    The current and power of a step are those of its predicted middle, its temperature that of its beginning. `laws` is
    None, or T_c, the exponent of B_k and the temperature beyond which a step no longer resolves the precession.
    """
    X, Y, Z = m[0], m[1], m[2]
    A, B, C, D = words[0], words[1], words[2], words[3]
    T, E, bias = state[0], state[1], state[2]
    bx, by, bz, bk, bk2, asymmetry, px, py, pz, alpha, beta = constants[:11]
    G_p, tmr, half, slope, per_ampere, imposed_voltage, T_ref = circuit[:7]
    moment, anisotropy = np.ones(LANES), np.ones(LANES)  # over their values at T_ref
    for k in range(steps.shape[0]):
        h, noise, level, dt = steps[k, 0], steps[k, 1], steps[k, 2], steps[k, 3]
        keeps, warms, ambient = steps[k, 4], steps[k, 5], steps[k, 6]
        hx, hy, hz = h * bx, h * by, h * bz
        if laws is not None:
            t_ref = T_ref / laws[0]
            for j in range(LANES):
                if T[j] > laws[2]:
                    T[j] = math.nan  # `Ensemble.advance` raises
                t = T[j] / laws[0]
                moment[j] = (1 - t * math.sqrt(t)) / (1 - t_ref * math.sqrt(t_ref))
                anisotropy[j] = moment[j] ** (laws[1] - 1)
        for j in range(LANES):
            w0, a, b, c, d = next_word(A[j], B[j], C[j], D[j])
            w1, a, b, c, d = next_word(a, b, c, d)
            w2, a, b, c, d = next_word(a, b, c, d)
            A[j], B[j], C[j], D[j] = a, b, c, d
            kick = noise * math.sqrt(T[j] / (T_ref * moment[j]))
            kick *= 1 + 0.75 * SPREAD * kick * kick
            tx = _increment(w0, kick)
            ty = _increment(w1, kick)
            tz = _increment(w2, kick)
            shrinks = 1 - SPREAD * kick * kick
            dx = tx + _difference_of_halves(w0) * kick * BETWEEN
            dy = ty + _difference_of_halves(w1) * kick * BETWEEN
            dz = tz + _difference_of_halves(w2) * kick * BETWEEN
            x, y, z, V = X[j], Y[j], Z[j], bias[j]
            hk, hk2 = h * bk * anisotropy[j], h * bk2 * anisotropy[j]
            lower, kappa = h * slope / moment[j], h * per_ampere / moment[j]
            V, I = solve_circuit(z, V, level, imposed_voltage, G_p, tmr, half)
            s = kappa * I / (1 + asymmetry * (x * px + y * py + z * pz))
            Bz = hz + (hk - lower * V) * z
            wx, wy, wz = rotation(x, y, z, hx + hk2 * x, hy, Bz, s, px, py, pz, alpha, beta)
            wx, wy, wz = wx + dx, wy + dy, wz + dz
            u, v, w = _predicted(x, y, z, wx, wy, wz, shrinks)
            V, I = solve_circuit(w, V, level, imposed_voltage, G_p, tmr, half)
            s = kappa * I / (1 + asymmetry * (u * px + v * py + w * pz))
            Bz = hz + (hk - lower * V) * w
            wx, wy, wz = rotation(u, v, w, hx + hk2 * u, hy, Bz, s, px, py, pz, alpha, beta)
            q = 1 + (wx * wx + wy * wy + wz * wz) / 2
            X[j], Y[j], Z[j] = cayley(x, y, z, wx + q * tx, wy + q * ty, wz + q * tz)
            bias[j] = V
            E[j] += V * I * dt
            T[j] = T[j] * keeps + warms * V * I + ambient


# ---- ensembles -------------------------------------------------------------------------------------------------------


@dataclass
class Ensemble:
    """Trajectories in blocks of lanes, each with its own random generator; `advance` changes them in place.

    Attributes
    ----------
    m : (blocks, 3, LANES) array
        Magnetisations.
    words : (blocks, 4, LANES) array of uint32
        Generator states.
    state : (blocks, 3, LANES) array
        Temperature [K], dissipated energy [J] and bias [V] of each, kept up to date where a table is coupled.
    """

    m: NDArray[Any]
    words: NDArray[np.uint32]
    state: Array

    @classmethod
    def start(
        cls, law: BoltzmannStart, *, seed: int, chunk: int, temperature: float, precision: str = "double"
    ) -> "Ensemble":
        """One chunk of trajectories, from the exact Boltzmann law."""
        m = law.sample(CHUNK, seed=seed, chunk=chunk).T.reshape(3, BLOCKS, LANES).transpose(1, 0, 2)
        state = np.zeros((BLOCKS, 3, LANES))
        state[:, 0] = temperature
        words = lane_states(seed, "thermal", chunk, BLOCKS, LANES)
        return cls(np.ascontiguousarray(m, dtype=PRECISIONS[precision]), words, state)

    def advance(self, table: StepTable) -> None:
        """Take all steps of a table; ValueError if a junction comes too near its Curie temperature."""
        if table.circuit is not None:
            given = (table.rows, table.constants, table.circuit, table.laws)
            for b in range(len(self.m)):
                _march_coupled(self.m[b], self.words[b], *given, self.state[b])
            if table.laws is not None and np.isnan(self.state[:, 0]).any():
                curie = f"too near its Curie temperature {table.laws[0]:g} K for steps of {table.time_step:.2g} s"
                remedy = "Lower the current, the pulse_width or thermal_resistance."
                raise ValueError(f"a junction heated to more than {table.laws[2]:.4g} K, {curie}. {remedy}")
            return
        rows, constants = table.rows.astype(self.m.dtype), table.constants.astype(self.m.dtype)
        bx, by, _, _, bk2, asymmetry, px, py = constants[:8]
        oblique = True if any((bx, by, bk2, asymmetry, px, py)) else None
        for b in range(len(self.m)):
            _march(self.m[b], self.words[b], rows, constants, oblique)

    @property
    def kelvins(self) -> Array:
        """Temperature of each trajectory [K]; (trajectories,)."""
        return self.state[:, 0].ravel().copy()

    @property
    def joules(self) -> Array:
        """Energy that each trajectory has dissipated [J]; (trajectories,)."""
        return self.state[:, 1].ravel().copy()

    @property
    def vectors(self) -> Array:
        """Magnetisations as (trajectories, 3) in double precision."""
        return self.m.transpose(0, 2, 1).reshape(-1, 3).astype(float)
