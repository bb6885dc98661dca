"""Axisymmetric Fokker-Planck by polynomials: write error rates with *relative* accuracy at any depth.

The equation and its symbols are in `reduced.py`. The density is expanded in polynomials on [y_w, 1],

    P(y) = sum_n c_n (1 + x)^b J_n(x),   x in [-1, 1] the scaled y,   J_n the normalised Jacobi polynomials (0, b),

and tested with the J_m, which makes the mass matrix the identity: dc/dtau = A c, exactly solved by exp(A tau).

With b = 1 there is an absorbing wall at y_w, a little past the barrier: P vanishes there. The surviving mass then
decays as a whole, every coefficient with it, so that large numbers are never subtracted, and a write error rate of
1e-30 is as accurate as one of 0.1: the vector is rescaled and its logarithm carried. The nearer the wall, the smaller
the basis and the rounding error. The price is the magnetisation lost at the wall, which would have come back over the
barrier: `returning_mass` bounds it, and the caller compares. With b = 0 and y_w = -1 nothing is lost, but the error is
absolute, about 1e-13 of the whole mass.

The pulse is a product of such exponentials. A linear ramp is cut into steps of two frozen half steps: the
commutator-free Magnus integrator of order four (Blanes & Moan 2006, Appl. Numer. Math. 56, 1519), whose exponents mix
the operators of two Gauss points; where the operator is linear in the level they are those at 1/6 and 5/6 of the step.
Ramps down and the relaxation act on the *functionals*, so that one solve serves every pulse width.

References
----------
W. F. Brown, Phys. Rev. 130, 1677 (1963). W. H. Butler et al., IEEE Trans. Magn. 48, 4684 (2012).
M. Tzoufras, AIP Adv. 8 (2018), arXiv:1708.01671, for the plain Legendre expansion and where it stops.
"""

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.polynomial.chebyshev import chebpts1, chebvander
from scipy.linalg import expm
from scipy.special import exprel, roots_legendre
from threadpoolctl import ThreadpoolController

from mtjsim.checks import Array
from mtjsim.fokker_planck.basis import FULL_SPHERE, RELATIVE, basis_size, build_basis, test_functions
from mtjsim.fokker_planck.escape import solve_escape
from mtjsim.fokker_planck.reduced import AxialWrite, Piece, unresolved
from mtjsim.fokker_planck.waveform import Waveform, ride

WALLS = (-0.15, -0.3, -0.45, -0.6, -0.75, -0.9)  # possible positions of an absorbing wall, nearest first
STEPS_PER_OCTAVE = 20  # time nodes between tau and 2 tau; the interpolation error falls with its sixth power
RAMP_STEPS = 8  # Magnus steps in a ramp of length tau_D / i; the error falls with their fourth power
FEWEST_STEPS = 4  # in a ramp
COARSE_RAMP_STEPS, FEWEST_COARSE_STEPS = 2.0, 2  # the same for an error of 1e-4 of a rate
GAUSS = (0.5 - math.sqrt(3) / 6, 0.5 + math.sqrt(3) / 6)  # nodes of a ramp's step
NEARER = 0.5 + math.sqrt(3) / 3  # weight of the nearer one in a half step
FEWEST_PIECES = 8  # sloped pieces from which a pulse is a waveform
LONGEST_WAVE = 300.0  # duration of a waveform in tau_D / (1 + i)
LONGEST_ENERGY = 1e5  # in tau_D: the energy of a longer plateau is continued by the escape rate
AT_EQUILIBRIUM = 1e-6  # relative departure of the power up to which it is steady
LEVEL_NODES = 20  # Chebyshev nodes of the table of propagators
PROBES = 3  # vectors that carry rounding errors along
ROUNDING = 1e-14  # of the largest coefficient, in each operation; three times what was seen
ROUNDING_BEHIND_WALL = 1e-12  # the same of trial functions that are not orthogonal
LARGEST_PART = 4.0  # norm of the exponent of one Taylor series
MOST_PARTS = 0.1  # series over the size of the matrix, beyond which its exponential is faster
MOST_TERMS = 60
RAMP_STEPS_ENERGY = 5  # the same for the dissipated energy, which needs 1e-4


@dataclass(frozen=True)
class Evolution:
    """A linear functional of the density along the plateau, with its first two time derivatives.

    Between nodes it is the quintic Hermite polynomial of its value (or logarithm) and two derivatives.

    Attributes
    ----------
    time : (k,) array
        Nodes, in units of tau_D, from 0.
    value, slope, curvature : (k,) arrays
        The functional f (or log f) at the nodes, and its derivatives.
    node_error : (k,) array
        Estimated relative error of f by rounding and by the end of the basis, at the nodes.
    """

    time: Array
    value: Array
    slope: Array
    curvature: Array
    node_error: Array

    def error(self, time: Array) -> Array:
        """Estimated relative error of f (of log f: absolute): of the two nodes around, and of the interpolation.

        Across two intervals the interpolation error is 64 times as large, or less where f is not smooth.
        """
        k = np.clip(np.searchsorted(self.time, time, side="right") - 1, 0, len(self.time) - 2)
        even = np.minimum(k - k % 2, len(self.time) - 3)
        with np.errstate(invalid="ignore"):  # NaN or -inf at nodes without surviving mass
            across = np.abs(self._between(time, k, k + 1) - self._between(time, even, even + 2)) / 16
        return np.maximum(self.node_error[k], self.node_error[k + 1]) + across

    def __call__(self, time: Array) -> Array:
        """Interpolate; `time` any shape within the nodes' range."""
        k = np.clip(np.searchsorted(self.time, time, side="right") - 1, 0, len(self.time) - 2)
        return self._between(time, k, k + 1)

    def _between(self, time: Array, k: Any, after: Any) -> Array:
        h = self.time[after] - self.time[k]
        u = (time - self.time[k]) / h
        v = 1 - u
        with np.errstate(invalid="ignore"):  # NaN or -inf at nodes without surviving mass
            left = self.value[k] * (1 + 3 * u + 6 * u**2) + h * self.slope[k] * u * (1 + 3 * u)
            left += h**2 * self.curvature[k] * u**2 / 2
            right = self.value[after] * (1 + 3 * v + 6 * v**2) - h * self.slope[after] * v * (1 + 3 * v)
            right += h**2 * self.curvature[after] * v**2 / 2
            return v**3 * left + u**3 * right

    def integral(self, time: Array) -> Array:
        """Integrate the quintic Hermite polynomial, exactly, from 0 to each `time`; shape of `time`."""
        h = np.diff(self.time)
        f, g, c = self.value, self.slope, self.curvature
        pieces = h / 2 * (f[:-1] + f[1:]) + h**2 / 10 * (g[:-1] - g[1:]) + h**3 / 120 * (c[:-1] + c[1:])
        cumulative = np.concatenate([[0.0], np.cumsum(pieces)])
        k = np.clip(np.searchsorted(self.time, time, side="right") - 1, 0, len(self.time) - 2)
        x, w = roots_legendre(3)
        part = time - self.time[k]
        inside = self(self.time[k][..., None] + part[..., None] * (1 + x) / 2)
        return cumulative[k] + part / 2 * (inside @ w)


@lru_cache(maxsize=1)
def _blas() -> ThreadpoolController:
    return ThreadpoolController()


def one_blas_thread() -> AbstractContextManager[Any]:
    """Keep BLAS to one thread in a `with` block: same bits on any machine load, and small matrices gain nothing.

    With more threads than free cores the products wait for each other: fifty times slower was measured.
    """
    return _blas().limit(limits=1, user_api="blas")


@dataclass(frozen=True, eq=False)
class _Step:
    """A step with one generator: the levels that it mixes as (weight, level), its duration (tau_D)."""

    levels: tuple[tuple[float, float], ...]
    duration: float
    generator: Array

    @cached_property
    def propagator(self) -> Array:
        """Matrix exponential, (n, n)."""
        return np.asarray(expm(self.generator * self.duration))


class SpectralSolver:
    """Polynomial solution of one axial write on [wall, 1].

    Parameters
    ----------
    write : AxialWrite
        The write; its ramps and relaxation are part of every result.
    wall : float
        Position of the absorbing wall; -1 for none.
    resolution : float
        Polynomials a resolved length, `RELATIVE` or `ABSOLUTE`.
    ramp_steps : float, optional
        In place of `RAMP_STEPS`; `COARSE_RAMP_STEPS`, or any other.
    """

    def __init__(
        self, write: AxialWrite, wall: float, resolution: float = RELATIVE, ramp_steps: float | None = None
    ) -> None:
        self.write, self.wall = write, wall
        self._rounding = ROUNDING if wall == FULL_SPHERE else ROUNDING_BEHIND_WALL
        size = basis_size(write, wall, resolution)
        # 1/(1 + L y) and a drive that follows the resistance are not polynomials
        self.basis = build_basis(size, wall, write.asymmetry != 0.0 or write.conduction is not None)
        self._torque = (self.basis.flux / (1 + write.asymmetry * self.basis.y_all)) @ self.basis.trial.T
        still = self.basis.diffusion / (2 * write.thermal_stability) + self.basis.linear
        self._still = still + write.field * self.basis.uniform
        self._density = RAMP_STEPS if ramp_steps is None else ramp_steps
        self._wave = Waveform(write.before) if is_waveform(write) else None
        pieces = () if self._wave else write.before
        self._before = [factor for piece in pieces for factor in self._factors(piece)]
        if write.rise_time > 0 and not write.shape:  # the fall mirrors the rise
            rest = [factor for piece in write.after[1:] for factor in self._factors(piece)]
            self._after = [*reversed(self._before), *rest]
        else:
            self._after = [factor for piece in write.after for factor in self._factors(piece)]

    def generator(self, drive: float) -> Array:
        """Return A at a given drive, (n, n)."""
        if self.write.conduction is None or drive == 0:
            return self._still - drive * self._torque
        b, G = self.basis, self.write.force(self.basis.y_all, drive)
        return b.diffusion / (2 * self.write.thermal_stability) + (b.flux * G) @ b.trial.T

    def _factors(self, piece: Piece) -> list["_Step"]:
        """Cut a linear piece into frozen half steps; a level piece is one step."""
        duration, a, b = piece
        if a == b:
            A = self.generator(a * self.write.drive)
            return [_Step(((1.0, a),), duration, A)]
        steps = _steps_of(self._density, duration, (b - a) * self.write.drive)
        half = duration / steps / 2
        out = []
        for k in range(steps):
            levels = [a + (b - a) * (k + g) / steps for g in GAUSS]
            early, late = (self.generator(level * self.write.drive) for level in levels)
            for weights in ((NEARER, 1 - NEARER), (1 - NEARER, NEARER)):
                A = weights[0] * early + weights[1] * late
                out.append(_Step(tuple(zip(weights, levels, strict=True)), half, A))
        return out

    def start(self) -> Array:
        """Coefficients of the normalised Boltzmann start, (n,)."""
        if self.write.start_above == 0:
            density = self.write.starting_density(self.basis.y)
            return self.basis.project @ (density / (density @ self.basis.weights))
        size, half = self.basis.flux.shape[0], (1 - self.wall) / 2
        x, w = roots_legendre(max(256, size))
        low = max(self.write.start_above, self.wall)
        y = low + (1 - low) * (1 + x) / 2
        mass = w * self.write.starting_density(y)
        test = test_functions(size, int(self.wall > FULL_SPHERE), (y - self.wall) / half - 1)
        return test @ (mass / mass.sum()) / half

    def _probed(self, c: Array) -> Array:
        """State (n, 1 + PROBES): the coefficients, and what a rounding error of each so far has become."""
        state = np.zeros((len(c), 1 + PROBES))
        state[:, 0] = c
        return _disturbed(state, self._rounding)

    def _after_rise(self) -> Array:
        state = self._probed(self.start())
        for step in self._before:
            state = _disturbed(step.propagator @ state, self._rounding)
        return ride(self._wave, state, *self._table) if self._wave else state

    @property
    def _table(self) -> tuple[Callable[[Array, float, int], Array], int, Array]:
        """Propagator over the waveform's duration / 2^n at any level, from a table; the smallest n; what to compare.

        Moments that vanish at the wall: the layer there follows the level at once, and has no memory.
        """
        wave, tables = self._wave, {}
        assert wave is not None
        lowest, highest = wave.range
        reach = max(abs(lowest), abs(highest)) * abs(self.write.drive)
        coarsest = max(0, int(np.ceil(np.log2(wave.duration * (1 + reach)))))
        nodes = (lowest + highest + (highest - lowest) * chebpts1(LEVEL_NODES)) / 2
        to_series = np.linalg.inv(chebvander(chebpts1(LEVEL_NODES), LEVEL_NODES - 1))

        def apply(state: Array, level: float, n: int) -> Array:
            if not lowest <= level <= highest:
                E = expm(self.generator(level * self.write.drive) * wave.duration / 2**n)
            else:
                if n not in tables:
                    h = wave.duration / 2**n
                    tables[n] = np.array([expm(self.generator(a * self.write.drive) * h) for a in nodes])
                at = 2 * (level - lowest) / (highest - lowest) - 1
                E = np.tensordot(np.ravel(chebvander(at, LEVEL_NODES - 1) @ to_series), tables[n], 1)
            return _disturbed(E @ state, self._rounding)

        y = 2 * (self.basis.y_all - self.basis.y_all[0]) / (1 - self.basis.y_all[0]) - 1
        moments = chebvander(y, 5).T * (self.basis.weights_all * (1 + y) ** 4 / 16)
        return apply, coarsest, moments @ self.basis.trial.T

    def _survival_functional(self) -> Array:
        """Row, and its probes, (n, 1 + PROBES): mass on y > 0 after fall and relaxation, at the plateau's end."""
        row = self._probed(self.basis.survive)
        for step in reversed(self._after):
            row = _disturbed(step.propagator.T @ row, self._rounding)
        return row

    def log_survival(self, longest_plateau: float) -> Evolution:
        """Log of the probability to be judged on the starting side, against the plateau's length up to the longest."""
        return self._evolve(self._survival_functional(), self._after_rise(), longest_plateau, logarithm=True)

    def dissipation(
        self, longest_plateau: float, resistances: Sequence[Callable[[Array, float], Array]]
    ) -> Callable[[Array], list[Array]]:
        """Time integrals of a^2 <R>, a the level: mean Joule energy over I^2 tau_D, for each plateau length.

        Parameters
        ----------
        longest_plateau : float
            Longest plateau to be evaluated, in units of tau_D.
        resistances : sequence of functions of (y, level)
            R at the nodes, one for each integral (G, if a voltage is imposed: then the energy is over V^2 tau_D).

        Returns
        -------
        function of plateau lengths (array) -> list of arrays of the same shape
        """

        def rows(levels: tuple[tuple[float, float], ...]) -> Array:
            power = [sum(part * a * a * R(self.basis.y_all, a) for part, a in levels) for R in resistances]
            return np.array([self.basis.trial @ (self.basis.weights_all * p) for p in power])

        count = len(resistances)
        rise, c = np.zeros(count), self.start()
        if self._wave:
            waves = [self._dissipation_of_wave(c, R) for R in resistances]
            rise, c = np.array([energy for energy, _ in waves]), waves[0][1]
        steps = {id(step): _Metered(step, rows(step.levels)) for step in {*self._before, *self._after}}
        for step in self._before:
            energy, c = steps[id(step)].forward(c)
            rise = rise + energy
        fall = np.zeros((count, c.size))
        for step in reversed(self._after):
            fall = steps[id(step)].backward(fall)
        followed = min(longest_plateau, LONGEST_ENERGY)
        track = self._track(self._probed(c), followed, logarithm=False)
        powers = rows(((1.0, 1.0),))
        plateaus = [self._along(track, self._probed(power)) for power in powers]
        ends = [self._along(track, self._probed(row)) if self._after else None for row in fall]
        late: list[Any] = [None] * count
        if longest_plateau > followed:
            late = [self._late(*one) for one in zip(plateaus, powers, ends, fall, strict=True)]

        def joules(time: Array) -> list[Array]:
            early, out = np.minimum(time, followed), []
            for k in range(count):
                end = ends[k]
                energy = rise[k] + plateaus[k].integral(early) + (end(early) if end else 0.0)
                out.append(energy + late[k](time - early) if late[k] else energy)
            return out

        return joules

    def _late(self, plateau: Evolution, power: Array, end: Evolution | None, fall: Array) -> Callable[[Array], Array]:
        """Energy that a longer plateau adds: only the escape over the barrier, if there is one, is not over yet.

        From the last node on f = f_eq + (f - f_eq) e^(-k t), with the rate k and the equilibrium by quadrature.

        Raises
        ------
        ValueError
            Without a single barrier, if the power is not that of the equilibrium.
        """
        escape = solve_escape(replace(self.write, rise_time=0.0, relax_time=0.0, shape=()), cones=True)
        b, rate = self.basis, math.exp(escape.log_rate) if escape else 0.0
        log_p = self.write.log_equilibrium(b.y_all, self.write.drive)
        equilibrium = b.weights_all * np.exp(log_p - log_p.max())
        equilibrium = b.trial @ (equilibrium / equilibrium.sum())
        final, rest = power @ equilibrium, fall @ equilibrium
        if escape is None and abs(plateau.value[-1] / final - 1) > AT_EQUILIBRIUM:
            found = (
                f"its power is not steady after {LONGEST_ENERGY:g} characteristic times, and it has no single barrier"
            )
            raise unresolved(self.write, found)

        def added(time: Array) -> Array:
            settling = time * exprel(-rate * time)  # int e^(-k t) dt
            energy = final * time + (plateau.value[-1] - final) * settling
            return energy + (rest - end.value[-1]) * rate * settling if end else energy

        return added

    def _dissipation_of_wave(self, c: Array, resistance: Callable[[Array, float], Array]) -> tuple[float, Array]:
        """Integral of a^2 <R> over the waveform, and the coefficients at its end.

        The density is a parabola through the start, the middle and the end of each step; a^2 R is integrated against
        it in every piece.
        """
        wave, total, basis = self._wave, [], self.basis
        assert wave is not None

        def visit(start: float, end: float, *states: Array) -> None:
            time, weight, level = wave.samples(start, end)
            u = (2 * time - start - end) / (end - start)
            power = np.array([w * a * a * resistance(basis.y_all, a) for w, a in zip(weight, level, strict=True)])
            for parabola, state in zip((u * (u - 1) / 2, 1 - u * u, u * (u + 1) / 2), states, strict=True):
                total.append(float((basis.trial @ (basis.weights_all * (parabola @ power))) @ state[:, 0]))

        state = ride(wave, self._probed(c), *self._table, visit=visit)
        return sum(total), state[:, 0]

    def _evolve(self, row: Array, state: Array, longest: float, *, logarithm: bool) -> Evolution:
        """Follow row @ c(tau); column 0 of `row` and `state`, (n, 1 + PROBES), is the value, the others are probes."""
        return self._along(self._track(state, longest, logarithm=logarithm), row)

    def _track(self, state: Array, longest: float, *, logarithm: bool) -> "_Track":
        """Follow c(tau) on nodes whose spacing doubles every octave; c rescaled, its logarithm carried."""
        A = self.generator(self.write.drive)
        step, octaves = first_step(self.write, longest)
        E, log_E, growth = expm(A * step), 0.0, 0.0
        time, states, scale = [0.0], [state], [0.0]
        log_scale, norm = 0.0, float(np.abs(state[:, 0]).max())
        disturbance = self._rounding * _directions(*state.shape)
        for _ in range(octaves):
            growth = max(growth, float(np.abs(E).max()))
            for _ in range(STEPS_PER_OCTAVE):
                before, state = norm, E @ state
                norm = float(np.abs(state[:, 0]).max())
                state[:, 1:] += max(norm, growth * before) * disturbance
                log_scale += log_E
                if logarithm and norm < 1e-8:
                    state = state / norm
                    log_scale += np.log(norm)
                    norm = 1.0
                time.append(time[-1] + step)
                states.append(state)
                scale.append(log_scale)
            growth = float(np.abs(E).max()) ** 2
            step, E, log_E = 2 * step, E @ E, 2 * log_E
            largest = float(np.abs(E).max())
            if logarithm and largest < 1e-8:
                E, log_E, growth = E / largest, log_E + np.log(largest), growth / largest
        return _Track(A, np.array(time), np.array(states), np.array(scale), logarithm)

    def _along(self, track: "_Track", row: Array) -> Evolution:
        """Value of a functional, with its probes, along a track."""
        A, t, every = track.generator, track.time, track.states
        exact, noisy = row[:, 0], row[:, 1:]
        rows = np.stack([exact, exact @ A, exact @ A @ A])
        noise = _noise(exact, noisy, every)
        f, df, ddf = rows @ every[:, :, 0].T
        with np.errstate(invalid="ignore", divide="ignore"):
            error = noise / np.abs(f)
            if not track.logarithm:
                return Evolution(t, f, df, ddf, error)
            return Evolution(t, np.log(f) + track.scale, df / f, ddf / f - (df / f) ** 2, error)


class _Track(NamedTuple):
    """States (k, n, 1 + PROBES) at times, the generator, and the logarithm of the factor taken out of each state."""

    generator: Array
    time: Array
    states: Array
    scale: Array
    logarithm: bool


class _Metered:
    """A step and the integrals of a few rows over it: both are of order four, because the rows are mixed as A is.

    With the integrals q, dq/dtau = rows c, the state (c, q) moves by one exponential.
    """

    def __init__(self, step: _Step, rows: Array) -> None:
        count, n = rows.shape
        self._unit = np.maximum(np.abs(rows).max(axis=1), 1e-300)
        self._generator = np.zeros((n + count, n + count))
        self._generator[:n, :n] = step.generator
        self._generator[n:, :n] = rows / self._unit[:, None]
        self._time = step.duration

    def forward(self, c: Array) -> tuple[Array, Array]:
        """Integrals over the step, and the state at its end."""
        state = np.concatenate([c, np.zeros_like(self._unit)])
        out = self._moved(self._generator, state)
        return self._unit * out[c.size :], out[: c.size]

    def backward(self, functionals: Array) -> Array:
        """Functionals (count, n) of the state at the end, plus the integrals, as functionals of that at the start."""
        n = functionals.shape[1]
        columns = np.concatenate([functionals.T, np.diag(self._unit)])
        return np.asarray(self._moved(self._generator.T, columns)[:n].T)

    def _moved(self, A: Array, state: Array) -> Array:
        if "_propagator" not in vars(self):
            moved = apply_exponential(A, self._time, state)
            if moved is not None:
                return moved
            self._propagator = expm(self._generator * self._time)
        return np.asarray((self._propagator if A is self._generator else self._propagator.T) @ state)


def apply_exponential(A: Array, time: float, state: Array) -> Array | None:
    """exp(A time) @ state by Taylor's series about the mean of the diagonal; None where a matrix exponential is faster.

    As Al-Mohy & Higham, SIAM J. Sci. Comput. 33, 488 (2011), with parts of the time so short that nothing cancels.
    """
    n = len(A)
    shift = float(np.trace(A)) / n
    B = A - shift * np.eye(n)
    parts = max(1, int(np.ceil(float(np.abs(B).sum(axis=0).max()) * time / LARGEST_PART)))
    if parts > n * MOST_PARTS:
        return None
    h = time / parts
    for _ in range(parts):
        term, total = state, state.copy()
        for k in range(1, MOST_TERMS):
            term = (B @ term) * (h / k)
            total += term
            if float(np.abs(term).max()) <= 1e-17 * float(np.abs(total).max()):
                break
        state = total * math.exp(shift * h)
    return state


def _disturbed(state: Array, rounding: float) -> Array:
    """Return the state after one more operation: its probes move by a rounding error of the largest coefficient."""
    state[:, 1:] += rounding * float(np.abs(state[:, 0]).max()) * _directions(*state.shape)
    return state


@lru_cache(maxsize=64)
def _directions(size: int, columns: int) -> Array:
    """Random signs and sizes of mean square 1, (size, columns - 1): no seed, the same each time."""
    k = np.arange(size * (columns - 1)).reshape(size, columns - 1)
    return np.sqrt(2) * np.cos((k + 1.0) ** 1.5)


def _noise(exact: Array, noisy: Array, states: Array) -> Array:
    """Error of exact @ states[k, :, 0]: by rounding, from the probes of both, and by the end of the basis; (k,)."""
    parts = (np.einsum("i,kij->kj", exact, states[:, :, 1:]), states[:, :, 0] @ noisy)
    last = 3 * len(exact) // 4
    beyond = np.abs(exact[last:] * states[:, last:, 0]).sum(axis=1)
    return sum(np.sqrt((part**2).mean(axis=1)) for part in parts) + beyond


def is_waveform(write: AxialWrite) -> bool:
    """Whether the pulse has many pieces, and is short enough for a table of propagators."""
    sloped = sum(a != b for _, a, b in write.before)
    duration = sum(piece[0] for piece in write.before)
    return sloped >= FEWEST_PIECES and duration * (1 + abs(write.drive)) <= LONGEST_WAVE


def ramp_steps(write: AxialWrite, density: float | None = None) -> int:
    """Magnus steps of the ramps of a write."""
    if is_waveform(write):
        return 0
    ramps = [(duration, b - a) for duration, a, b in {*write.before, *write.after} if a != b]
    return sum(_steps_of(density or RAMP_STEPS, duration, change * write.drive) for duration, change in ramps)


def _steps_of(density: float, duration: float, change: float) -> int:
    least = FEWEST_COARSE_STEPS if density <= COARSE_RAMP_STEPS else FEWEST_STEPS
    return max(least, int(np.ceil(density * (abs(change) * duration) ** 0.6)))


def first_step(write: AxialWrite, longest: float) -> tuple[float, int]:
    """Step of the first octave, which resolves the start, and number of octaves that end at `longest`."""
    start = 0.2 / (1.0 + abs(write.drive))
    octaves = max(1, int(np.ceil(np.log2(1 + longest / start))))
    return longest / (STEPS_PER_OCTAVE * (2.0**octaves - 1)), octaves


@dataclass(frozen=True)
class Returning:
    """Mass lost at an absorbing wall that would have come back.

    Attributes
    ----------
    excursion : float
        Bound on the chance that magnetisation at the wall comes back over the barrier at once; an error *relative* to
        the surviving mass, because only what has just been absorbed is still near the wall.
    activation : float
        Bound on the chance that magnetisation settled in the other well comes back by thermal activation before the
        state is judged; an *absolute* error, because by then nearly all the mass is there.
    """

    excursion: float
    activation: float


def returning_mass(write: AxialWrite, wall: float, plateau: float) -> Returning:
    """Bound the mass lost at a wall by Boltzmann factors, at each current of the pulse.

    The excursion climbs from the wall to the highest point between it and y = 0. The activation climbs to it from the
    other well, at 4 sqrt(Delta) tau_D^-1 times the Boltzmann factor, well above Brown's prefactor sqrt(Delta / pi).
    """
    y = np.linspace(-1.0, 0.0, 401)
    phases = [] if write.shape else [(write.drive, plateau)]
    for duration, a, b in {*write.before, *write.after}:
        phases.append(((a + b) / 2 * write.drive, duration))
        if a != b:  # most comes back where the current drives least or back, or where a bias lowers the barrier most
            phases += [(a * write.drive, 0.25 * duration), (b * write.drive, 0.25 * duration)]
    excursion = activation = 0.0
    for log_p, (_, duration) in zip(_log_equilibria(write, y, [drive for drive, _ in phases]), phases, strict=True):
        excursion += np.exp(min(log_p[y >= wall].min() - np.interp(wall, y, log_p), 0.0))
        activation += 4 * np.sqrt(write.thermal_stability) * duration * np.exp(log_p.min() - log_p[0])
    return Returning(float(excursion), float(activation))


def _log_equilibria(write: AxialWrite, y: Array, drives: Sequence[float]) -> Array:
    """`write.log_equilibrium` at many drives, (k, len(y)): of a sampled voltage a series in the drive."""
    if write.conduction is None or len(drives) <= LEVEL_NODES:
        return np.array([write.log_equilibrium(y, drive) for drive in drives])
    lowest, highest = min(drives), max(drives)
    nodes = (lowest + highest + (highest - lowest) * chebpts1(LEVEL_NODES)) / 2
    at = 2 * (np.array(drives) - lowest) / max(highest - lowest, 1e-300) - 1
    table = np.array([write.log_equilibrium(y, drive) for drive in nodes])
    series = np.linalg.solve(chebvander(chebpts1(LEVEL_NODES), LEVEL_NODES - 1), table)
    return np.asarray(chebvander(at, LEVEL_NODES - 1) @ series, dtype=float)
