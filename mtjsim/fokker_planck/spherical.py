"""Fokker-Planck on the whole sphere, for writes that do not depend on m_z alone.

For in-plane and oblique fields, a second anisotropy, a tilted polarizer, spin-orbit torque (polarizer in the plane).

Legend
    m, W, R      unit magnetisation; rotation vector of the torque [T] (torques.py); m x grad (harmonics.py)
    B            generator of the mean of a function f of m: d<f>/dt = <B f>
    A            its transpose, which moves the coefficients c of the density: dc/dt = A c
    D            rotational diffusion [1/s]
    a            amplitude of the damping-like torque [T]: level (a_0 + a_1 m_z)/(1 + lambda m.p)
    L, M         largest degree and order of the harmonics

From dm/dt = rate W x m and isotropic diffusion (Stratonovich, see torques.py),

    B = rate sum_i W_i(m) R_i + D R.R .

W is `torques.rotation` itself, called with the multiplication operators of the harmonics in place of numbers. It is
linear in the level of the drive, so A = A_0 + level A_1, and a constant level is one exponential (chebyshev.py). Linear
ramps are cut into steps, each two half steps frozen at the levels reached at 1/6 and 5/6 of it: the commutator-free
Magnus integrator of order four (Blanes & Moan 2006). The falling ramp and the relaxation act on the judge, so one solve
serves every pulse width.

The pole of the harmonics is z, about which the precession of B_k is diagonal and few orders M are needed; with an
asymmetry and a tilted polarizer it is p, so that 1/(1 + lambda m.p) is a function of the polar angle alone.

Size of the basis and limits of accuracy: oblique.py.

References
----------
W. F. Brown, Phys. Rev. 130, 1677 (1963). W. T. Coffey, Yu. P. Kalmykov, J. Appl. Phys. 112, 121301 (2012), for the
expansion. S. Blanes, P. C. Moan, Appl. Numer. Math. 56, 1519 (2006).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy.sparse import csr_array
from scipy.special import roots_legendre
from tqdm import tqdm

from mtjsim.checks import ArgumentError, Array
from mtjsim.fokker_planck.chebyshev import Flow, flow_of, propagate, steps
from mtjsim.fokker_planck.harmonics import MARGIN, Harmonics, Operator
from mtjsim.torques import Torque, rotation

Pieces = tuple[tuple[float, float, float], ...]

QUIET_STEPS = 3  # after which a density is taken to rest
AT_REST = 1e-8  # change of a coefficient in a step, relative to the largest
UNCHANGED = 1e-6  # of a value


@dataclass(frozen=True)
class DriveTerms:
    """Effect of one unit of level (an ampere, a volt); linear, so that VCMA and a current that follows R(m_z) fit in.

    Attributes
    ----------
    constant, linear : float
        a_0 and a_1 [T per unit]: amplitude before the asymmetry; > 0 pulls towards +p.
    anisotropy : float or function
        Change of B_k [T per unit]; or a function of m_z, where the bias follows the resistance.
    """

    constant: float
    linear: float = 0.0
    anisotropy: float | Callable[[Array], Array] = 0.0

    @property
    def largest_anisotropy(self) -> float:
        """Largest magnitude of the change of B_k [T per unit]."""
        if callable(self.anisotropy):
            return float(np.abs(self.anisotropy(np.array([-1.0, 1.0]))).max())
        return abs(self.anisotropy)


@dataclass(frozen=True)
class Write:
    """A write in time: its start and its drive; levels are in the units of `drive`.

    Attributes
    ----------
    torque : Torque
        Of the junction.
    drive : DriveTerms
        Effect of a level.
    side : float
        +1 if the write starts in P (m_z > 0), -1 in AP.
    before, after : tuple of (duration, level at start, level at end)
        Linear pieces before and after the plateau [s]; the last of `after` is the relaxation.
    level : float
        Of the plateau.
    """

    torque: Torque
    drive: DriveTerms
    side: float
    before: Pieces
    level: float
    after: Pieces

    @property
    def peak(self) -> float:
        """Largest magnitude of the level."""
        pieces = [abs(value) for piece in (*self.before, *self.after) for value in piece[1:]]
        return max([abs(self.level), *pieces])

    @property
    def stability(self) -> float:
        """Delta."""
        return self.torque.energy_scale * self.torque.anisotropy_field / 2

    @cached_property
    def strength(self) -> tuple[float, float]:
        """Narrowing of the density by the drive against sqrt(1/2 Delta), 1 + i; and sine of the tilt it causes."""
        t = self.torque
        a = self.peak * (abs(self.drive.constant) + abs(self.drive.linear)) / (1 - abs(t.asymmetry))
        flat, upright = np.hypot(*t.polarizer[:2]), abs(t.polarizer[2])
        B_k = t.anisotropy_field
        i = a * (1 + abs(t.damping * t.field_like_ratio)) / (t.damping * B_k)
        tilted = a * flat * (1 + abs(t.field_like_ratio))
        tilt = (np.hypot(*t.field[:2]) + abs(t.in_plane_anisotropy_field) + tilted) / B_k
        field = (abs(t.field[2]) + self.peak * self.drive.largest_anisotropy) / B_k
        return float(1 + field + i * (upright + 0.5 * flat * min(1.0, a * flat / B_k))), float(min(1.0, tilt))

    def resolution(self, missed: float) -> "Resolution":
        """Smallest basis expected to miss no more than a share of the mass."""
        t, (narrowing, tilt) = self.torque, self.strength
        degree = int(np.sqrt(4 * self.stability * narrowing * np.log(1 / missed))) + 8
        turned = np.hypot(*t.polarizer[:2]) if frame_of(t) else 0.0  # the wells are off the pole of the harmonics
        order = min(degree, int(6 + (0.7 * tilt + turned) * degree)) if tilt else 0
        return Resolution(degree, order, 1.0)


@dataclass(frozen=True)
class Resolution:
    """L, M, and steps in a ramp relative to the first guess."""

    degree: int
    order: int
    ramps: float

    def finer(self, aim: "Resolution", most: int) -> "Resolution":
        """One size more, at least that of an `aim`, and of degree at most `most`."""
        degree = min(max(int(1.13 * self.degree) + 2, aim.degree), most)
        order = max(int(1.25 * self.order) + 2, aim.order) if self.order else 0
        return Resolution(degree, min(degree, order), 1.4 * self.ramps)


class SphericalSolver:
    """One write on one basis.

    Parameters
    ----------
    write : Write
        The write.
    resolution : Resolution
        The basis.

    Attributes
    ----------
    bar : tqdm
        Counts the seconds of the pulse that are solved; silent until it is replaced.
    """

    def __init__(self, write: Write, resolution: Resolution) -> None:
        self.write, self.resolution = write, resolution
        self.bar: tqdm = tqdm(disable=True)
        self.harmonics = Harmonics(resolution.degree, resolution.order)
        self.axes = frame_of(write.torque)
        self.generators = generators(write.torque, write.drive, self.harmonics, self.axes)

    @cached_property
    def forward(self) -> Flow:
        """A, which moves densities."""
        still, driven = self.generators
        return flow_of(csr_array(still.T), csr_array(driven.T), self.harmonics.starts)

    @cached_property
    def backward(self) -> Flow:
        """B, which moves functionals back in time."""
        forward = self.forward
        return flow_of(*self.generators, self.harmonics.starts, (forward.low, forward.high, forward.spin))

    # ---- start and judgement --------------------------------------------------------------------------------------

    def start(self) -> Array:
        """Coefficients (n,) of the Boltzmann law of the starting side, normalised there."""
        t, side = self.write.torque, self.write.side

        def exponent(x: Array, y: Array, z: Array) -> Array:
            Bx, By, Bz = t.field
            anisotropy = (t.anisotropy_field * z**2 + t.in_plane_anisotropy_field * x**2) / 2
            return t.energy_scale * (anisotropy + Bx * x + By * y + Bz * z)

        def density(x: Array, y: Array, z: Array) -> Array:
            e = exponent(x, y, z)
            return np.exp(e - e.max())

        c = self._in_frame(lambda full: full.hemisphere(side, density))
        return c / (c[0] * np.sqrt(4 * np.pi))

    def judge(self) -> Array:
        """Row (n,) that gives the mass on the starting side after everything that follows the plateau."""
        row = self._in_frame(lambda full: full.hemisphere(self.write.side, lambda x, y, z: np.ones_like(x)))
        for duration, at_start, at_end in reversed(self.write.after):
            row = self.ride(self.backward, row, duration, at_end, at_start)
        return row

    def polar(self, function: Callable[[Array], Array]) -> Array:
        """Row (n,) that gives the mean of a smooth function of the lab's m_z."""

        def expand(full: Harmonics) -> Array:
            north, south = (full.hemisphere(side, lambda x, y, z: function(z)) for side in (1.0, -1.0))
            return north + south

        return self._in_frame(expand)

    def _in_frame(self, expand: Callable[[Harmonics], Array]) -> Array:
        """Expand a function of the lab's coordinates, and turn it into the frame of the harmonics."""
        if self.axes is None:
            return expand(self.harmonics)
        full = Harmonics(self.harmonics.degree, self.harmonics.degree)  # a rotation mixes all orders of one degree
        axis, angle, _ = self.axes
        turn = csr_array(sum(n * R for n, R in zip(axis, full.rotations(), strict=True)))
        turned = propagate(flow_of(turn, 0 * turn, full.starts), 0.0, expand(full), angle)
        return turned[self.harmonics.among(full)]

    # ---- in time --------------------------------------------------------------------------------------------------

    def ride(self, flow: Flow, c: Array, duration: float, at_start: float, at_end: float) -> Array:
        """Follow a linear piece of the pulse."""
        for level, time in self.frozen(duration, at_start, at_end):
            c = propagate(flow, level, c, time)
            self.bar.update(time)
        return c

    def frozen(self, duration: float, at_start: float, at_end: float) -> list[tuple[float, float]]:
        """Half steps (level, duration) of a linear piece, symmetric in time."""
        if duration <= 0:
            return []
        if at_start == at_end:
            return [(at_start, duration)]
        t = self.write.torque
        change = abs(at_end - at_start) / max(self.write.peak, 1e-300)
        relaxing = t.rate * t.damping * t.anisotropy_field * duration * self.write.strength[0]
        turning = t.rate * t.anisotropy_field * duration * np.sqrt(self.write.strength[1])
        count = int(np.ceil(self.resolution.ramps * change * (3 + 6 * relaxing**0.6 + 0.5 * turning)))
        parts = [(k + part) / count for k in range(count) for part in (1 / 6, 5 / 6)]
        return [(at_start + (at_end - at_start) * part, duration / count / 2) for part in parts]

    def risen(self) -> Array:
        """Coefficients (n,) at the beginning of the plateau."""
        c = self.start()
        for duration, at_start, at_end in self.write.before:
            c = self.ride(self.forward, c, duration, at_start, at_end)
        return c

    def follow(self, rows: Array, times: Array, *, complement: bool = False) -> Array:
        """Values (t, r) of functionals (r, n) at sorted times of the plateau.

        The density is followed until it rests: until in each of `QUIET_STEPS` it changed by less than `AT_REST`, and
        every value by so little that all steps left could not add up to `UNCHANGED` of it (of 1 less the value too, if
        `complement`).
        """
        c = self.risen()
        values = np.repeat((rows @ c)[None], times.size, axis=0)
        done, quiet = int(np.searchsorted(times, 0.0, side="right")), 0
        if done == times.size:
            return values
        last, longest = values[0], float(times[-1])
        for start, end, after, inside in steps(self.forward, self.write.level, c, longest, rows, times[done:]):
            if inside.size:
                values[done : done + len(inside)] = inside
                done += len(inside)
            value = rows @ after
            scale = np.minimum(np.abs(value), np.abs(1 - value)) if complement else np.abs(value)
            drift = np.abs(value - last) * (longest - end) / (end - start)
            resting = np.abs(after - c).max() < AT_REST * np.abs(after).max() and (drift <= UNCHANGED * scale).all()
            quiet = quiet + 1 if resting else 0
            last, c = value, after
            self.bar.update(end - start)
            if quiet == QUIET_STEPS:
                values[done:] = value
                break
        return values

    def stayed(self, plateaus: Array) -> Array:
        """Probability to be judged on the starting side, for each sorted length of the plateau [s]."""
        return self.follow(self.judge()[None], plateaus, complement=True)[:, 0]

    def dissipation(self, resistance: Callable[[Array, float], Array], plateaus: Array) -> Array:
        """Time integral of level^2 <R> for each sorted length of the plateau, R a function of (m_z, level)."""
        level = self.write.level

        def row(at: float) -> Array:
            return self.polar(lambda z: resistance(z, abs(at)))

        rise, c = 0.0, self.start()
        for heat, at, time in self._heats(self.write.before):  # Simpson's rule in each
            middle = propagate(self.forward, at, c, time / 2)
            after = propagate(self.forward, at, middle, time / 2)
            rise, c = rise + heat * float(row(at) @ (c + 4 * middle + after)) / 6, after
        fall = np.zeros(self.harmonics.size)
        for heat, at, time in reversed(self._heats(self.write.after)):
            here = heat / 6 * row(at) if heat else fall * 0
            fall = propagate(self.backward, at, fall + here, time / 2) + 4 * here
            fall = propagate(self.backward, at, fall, time / 2) + here
        t = self.write.torque
        edges = np.union1d(np.arange(0.0, plateaus[-1], 1 / (t.rate * t.anisotropy_field)), np.append(plateaus, 0.0))
        x, w = roots_legendre(6)
        lengths = np.diff(edges)
        nodes = (edges[:-1, None] + lengths[:, None] * (1 + x) / 2).ravel()
        times = np.sort(np.concatenate([nodes, plateaus]))
        values = self.follow(np.stack([row(level), fall]), times)
        pieces = values[np.searchsorted(times, nodes), 0].reshape(-1, 6) @ w * lengths / 2
        until = np.concatenate([[0.0], np.cumsum(pieces)])[np.searchsorted(edges, plateaus)]
        return rise + level**2 * until + values[np.searchsorted(times, plateaus), 1]

    def _heats(self, pieces: Pieces) -> list[tuple[float, float, float]]:
        """Frozen steps of linear pieces, each with its share of the integral of level^2: (heat, level, duration)."""
        out = []
        t = self.write.torque
        for duration, at_start, at_end in pieces:
            frozen = self.frozen(duration, at_start, at_end)
            if at_start == at_end != 0:  # cut so finely that the layer turns little in each
                count = int(np.ceil(4 * t.rate * t.damping * t.anisotropy_field * duration * self.write.strength[0]))
                frozen = [(at_start, duration / count)] * count
            edges = np.linspace(at_start, at_end, len(frozen) + 1)
            heats = (edges[:-1] ** 2 + edges[:-1] * edges[1:] + edges[1:] ** 2) / 3
            out += [(float(heat * time), level, time) for heat, (level, time) in zip(heats, frozen, strict=True)]
        return out


def frame_of(torque: Torque) -> tuple[Array, float, Array] | None:
    """Axis, angle and matrix of the rotation that takes z to p; None if the pole of the harmonics stays z."""
    p = np.array(torque.polarizer)
    flat = float(np.hypot(*p[:2]))
    if torque.asymmetry == 0 or flat < 1e-12:
        return None
    axis, angle = np.array([-p[1], p[0], 0.0]) / flat, float(np.arctan2(flat, p[2]))
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    return axis, angle, np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def generators(
    torque: Torque, drive: DriveTerms, harmonics: Harmonics, axes: tuple[Array, float, Array] | None = None
) -> tuple[Any, Any]:
    """B_0 and B_1 of B = B_0 + level B_1, sparse (n, n)."""
    larger = Harmonics(harmonics.degree + MARGIN, harmonics.order + MARGIN)
    coordinates, R = larger.coordinates(), larger.rotations()
    if axes is not None:  # the lab's coordinates and generators in terms of the frame's
        coordinates, R = (tuple(_turned(axes[2], parts)) for parts in (coordinates, R))
    x, y, z = coordinates
    nothing = 0.0 * x

    def generator(fields: tuple[Operator, Operator, Operator], a: Any) -> Any:
        W = rotation.py_func(x, y, z, *fields, a, *torque.polarizer, torque.damping, torque.field_like_ratio)
        return torque.rate * sum(w.matrix @ r for w, r in zip(W, R, strict=True))

    Bx, By, Bz = torque.field
    static = (Bx + torque.in_plane_anisotropy_field * x, By + nothing, Bz + torque.anisotropy_field * z)
    amplitude = drive.constant + drive.linear * z
    if torque.asymmetry:
        slope = torque.asymmetry * (1.0 if axes is not None else torque.polarizer[2])
        amplitude = amplitude * larger.polar_function(lambda u: 1 / (1 + slope * u))
    still = generator(static, nothing) + torque.diffusion * larger.laplacian()
    driven = generator((nothing, nothing, _driven_field(drive, larger, z, axes is None)), amplitude)
    keep = harmonics.among(larger)
    return _cropped(still, keep), _cropped(driven, keep)


def _driven_field(drive: DriveTerms, harmonics: Harmonics, z: Operator, pole_is_z: bool) -> Operator:
    """Change of B_k times m_z."""
    change = drive.anisotropy
    if not callable(change):
        return change * z
    if not pole_is_z:
        problem = "that is tilted, with spin_torque_asymmetry and VCMA, is not solved under an imposed current"
        raise ArgumentError("polarizer", f"{problem}: impose a voltage, or use simulate_writes.")
    return harmonics.polar_function(lambda u: u * change(u))


def _turned(matrix: Array, parts: tuple[Any, ...]) -> list[Any]:
    return [sum((float(f) * part for f, part in zip(row, parts, strict=True)), start=0.0 * parts[0]) for row in matrix]


def _cropped(matrix: Any, keep: Any) -> Any:
    part = csr_array(csr_array(matrix)[keep][:, keep])
    if part.nnz:
        part.data[np.abs(part.data) < 1e-15 * np.abs(part.data).max()] = 0.0
        part.eliminate_zeros()
    return part
