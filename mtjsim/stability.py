"""Barrier and threshold of a layer with any static field and a second easy axis, from its energy and its torque.

In units of B_k: b is the static field, k_2 = B_k2/B_k, a the amplitude of the damping-like torque, and the energy over
Ms V B_k is

    e(m) = -(m_z^2 + k_2 m_x^2)/2 - b.m,    e = -m.K m/2 - b.m    with K = diag(k_2, 0, 1).

Stationary points on the sphere satisfy (mu - K) m = b. Where all components of b matter, m_i = b_i/(mu - K_i) and
|m| = 1 is a polynomial in mu; where b_i = 0, mu = K_i as well, and m_i closes the unit length. The function has two
minima at most. The barrier is the lowest saddle from which the energy descends to both.

The threshold of a current is the first a at which the state that grows out of the starting well ceases to be stable:
dm/dt of `torques.py` over gamma B_k, its zero followed in a, until an eigenvalue of its two-dimensional linearisation
has a real part > 0. Without noise, in an endless pulse.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq

from mtjsim.checks import Array
from mtjsim.rotation import rotation

NOTHING = 1e-9  # components of b and k_2 below this are rounding
LONGEST_FOLLOWED = 50.0  # largest a followed, in B_k
Vector = tuple[float, float, float]


# ---- barrier --------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=1024)
def barrier_height(field: Vector, second: float, side: float) -> float | None:
    """Height of the lowest saddle above the well of one side.

    Parameters
    ----------
    field : (float, float, float)
        b, static field over B_k.
    second : float
        k_2 = B_k2/B_k.
    side : float
        +1 for the well of m_z > 0 (P), -1 for that of m_z < 0 (AP).

    Returns
    -------
    float or None
        Over Ms V B_k; the barrier over k T is 2 Delta_0 times this, Delta_0 = Ms V B_k/(2 k T). None if one of the two
        wells does not exist.

    Examples
    --------
    Half of B_k as a second easy axis leaves half of the barrier 1/2, and a field h along z leaves (1 + h)^2/2:

    >>> barrier_height((0.0, 0.0, 0.0), 0.5, 1.0), round(barrier_height((0.0, 0.0, -0.3), 0.0, 1.0), 12)
    (0.25, 0.245)
    """
    b, K = _clean(field, second)
    points = list(stationary_points(b, K))
    wells = {s: [m for m in points if m[2] * s > NOTHING and _curvatures(m, b, K)[0] > -NOTHING] for s in (1.0, -1.0)}
    if not (wells[1.0] and wells[-1.0]):
        return None
    bent = [(m, _curvatures(m, b, K)) for m in points]
    saddles = sorted((_energy(m, b, K), tuple(m)) for m, (least, most) in bent if least < -NOTHING < most)  # no summits
    for height, m in saddles:
        if _connects(np.array(m), b, K):
            return height - min(_energy(well, b, K) for well in wells[side])
    return None  # a circle of equal energy joins the wells


def stationary_points(b: Array, K: Array) -> Iterator[Array]:
    """Yield unit vectors m with (mu - K) m = b for some mu; of a circle of them, one or two."""
    acting = np.flatnonzero(b)
    for i in np.flatnonzero(b == 0):
        gaps = K[i] - K[acting]
        if (np.abs(gaps) > NOTHING).all():
            m = np.zeros(3)
            m[acting] = b[acting] / gaps
            rest = 1 - m @ m
            if rest >= 0:
                for sign in (1.0, -1.0) if rest > 0 else (1.0,):
                    m[i] = sign * np.sqrt(rest)
                    yield m.copy()
    if acting.size:
        polynomial = -np.poly(np.repeat(K[acting], 2))  # sum b_j^2/(mu - K_j)^2 - 1 times all (mu - K_j)^2
        for j in acting:
            polynomial = np.polyadd(polynomial, b[j] ** 2 * np.poly(np.repeat(K[acting[acting != j]], 2)))
        for root in np.roots(polynomial):
            mu = float(root.real)
            if abs(root.imag) > 1e-6 or (np.abs(mu - K[acting]) < NOTHING).any():
                continue
            m = np.zeros(3)
            m[acting] = b[acting] / (mu - K[acting])
            if abs(m @ m - 1) < 1e-3:
                yield m / np.linalg.norm(m)


def _clean(field: Vector, second: float) -> tuple[Array, Array]:
    b = np.array(field)
    b[np.abs(b) < NOTHING] = 0.0
    return b, np.array([second if abs(second) > NOTHING else 0.0, 0.0, 1.0])


def _energy(m: Array, b: Array, K: Array) -> float:
    return float(-m @ (K * m) / 2 - b @ m)


def _curvatures(m: Array, b: Array, K: Array) -> Array:
    """Both second derivatives of the energy at a stationary point, rising."""
    axes = tangents(m)
    mu = m @ (K * m) + b @ m
    return np.asarray(np.linalg.eigvalsh(mu * np.eye(2) - axes @ (K[:, None] * axes.T)), dtype=np.float64)


def tangents(m: Array) -> Array:
    """Two unit vectors across m, (2, 3)."""
    first = np.cross(m, np.eye(3)[np.abs(m).argmin()])
    first /= np.linalg.norm(first)
    axes: Array = np.stack([first, np.cross(m, first)])
    return axes


def _connects(m: Array, b: Array, K: Array) -> bool:
    """Whether the energy descends from a saddle to m_z > 0 on one side and to m_z < 0 on the other."""
    axes = tangents(m)
    mu = m @ (K * m) + b @ m
    _, directions = np.linalg.eigh(mu * np.eye(2) - axes @ (K[:, None] * axes.T))
    away = directions[:, 0] @ axes
    return _descended(m + 1e-4 * away, b, K)[2] * _descended(m - 1e-4 * away, b, K)[2] < 0


def _descended(m: Array, b: Array, K: Array) -> Array:
    step = 0.3 / (1 + np.abs(K).max() + np.linalg.norm(b))
    for _ in range(20_000):
        before, m = m, m + step * (K * m + b)
        m = m / np.linalg.norm(m)
        if np.abs(m - before).max() < 1e-7 * step:
            break
    return m


# ---- threshold ------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=1024)
def threshold(
    field: Vector, second: float, side: float, polarizer: Vector, asymmetry: float, damping: float, beta: float
) -> float | None:
    """First a > 0, over B_k, at which the starting state is no longer stable.

    Parameters
    ----------
    field, second, side
        As in `barrier_height`.
    polarizer : (float, float, float)
        p; the current of a write from P (side +1) pulls toward -p.
    asymmetry, damping, beta : float
        lambda, alpha and the field-like ratio.

    Returns
    -------
    float or None
        None if there is no starting state, or if it is stable up to a = `LONGEST_FOLLOWED`.

    Examples
    --------
    A torque along the axis needs alpha, and one across it about 1/2:

    >>> rest = {"field": (0.0, 0.0, 0.0), "second": 0.0, "side": 1.0, "asymmetry": 0.0, "damping": 0.02, "beta": 0.0}
    >>> round(threshold(polarizer=(0.0, 0.0, 1.0), **rest), 6), round(threshold(polarizer=(0.0, 1.0, 0.0), **rest), 6)
    (0.02, 0.5)
    """
    b, K = _clean(field, second)
    wells = [m for m in stationary_points(b, K) if m[2] * side > NOTHING and _curvatures(m, b, K)[0] > -NOTHING]
    if not wells:
        return None
    flow = _Flow(tuple(b), second, side, polarizer, asymmetry, damping, beta)
    m, a, step = _Point(*wells[0].tolist()), 0.0, 0.1 * damping
    while a < LONGEST_FOLLOWED:
        after = flow.followed(m, a + step)
        if after is None:  # the state ends in a fold, or the step was too long
            if step < 1e-8 * max(a, damping):
                return a
            step /= 4
        elif flow.growth(after, a + step) > 0:
            return flow.crossing(m, a, a + step)
        else:
            m, a, step = after, a + step, min(2 * step, 0.05)
    return None


class _Point(NamedTuple):
    x: float
    y: float
    z: float

    def moved(self, x: float, y: float, z: float) -> "_Point":
        x, y, z = self.x + x, self.y + y, self.z + z
        r = math.sqrt(x * x + y * y + z * z)
        return _Point(x / r, y / r, z / r)


@dataclass(frozen=True)
class _Flow:
    """dm/dt (1 + alpha^2)/(gamma B_k) at T = 0, on the sphere; arguments as in `threshold`. Plain floats, for speed."""

    field: Vector
    second: float
    side: float
    polarizer: Vector
    asymmetry: float
    damping: float
    beta: float

    def velocity(self, m: _Point, a: float) -> Vector:
        (x, y, z), (px, py, pz), (bx, by, bz) = m, self.polarizer, self.field
        drive = -self.side * a / (1 + self.asymmetry * (x * px + y * py + z * pz))
        fields = bx + self.second * x, by, bz + z
        wx, wy, wz = rotation.py_func(x, y, z, *fields, drive, px, py, pz, self.damping, self.beta)
        return wy * z - wz * y, wz * x - wx * z, wx * y - wy * x

    def linearised(self, m: _Point, a: float) -> tuple[list[Vector], tuple[float, float], list[list[float]]]:
        """Two axes across m, the velocity along them and its slopes."""
        e, h = _across(m), 1e-6

        def along(v: Vector) -> tuple[float, float]:
            return _dot(e[0], v), _dot(e[1], v)

        ends = [along(self.velocity(m.moved(*(sign * h * c for c in axis)), a)) for axis in e for sign in (1.0, -1.0)]
        slopes = [[(ends[2 * j][i] - ends[2 * j + 1][i]) / (2 * h) for j in (0, 1)] for i in (0, 1)]
        return e, along(self.velocity(m, a)), slopes

    def followed(self, first: _Point, a: float) -> _Point | None:
        """Return the zero of the velocity near a point, by Newton's method; None if none is near."""
        m = first
        for _ in range(10):
            (e, f), (u, v), ((A, B), (C, D)) = self.linearised(m, a)
            if max(abs(u), abs(v)) < 1e-12:
                return m if _dot(m, first) > 0.95 else None
            det = A * D - B * C
            if abs(det) < 1e-14:
                return None
            s, t = (B * v - D * u) / det, (C * u - A * v) / det
            m = m.moved(*(s * p + t * q for p, q in zip(e, f, strict=True)))
        return None

    def growth(self, m: _Point, a: float) -> float:
        """Largest real part of the two eigenvalues."""
        _, _, ((A, B), (C, D)) = self.linearised(m, a)
        half, det = (A + D) / 2, A * D - B * C
        return half + math.sqrt(max(half * half - det, 0.0))

    def crossing(self, m: _Point, low: float, high: float) -> float:
        """Return the a at which the growth rate passes through 0, between a stable and an unstable one."""

        def rise(a: float) -> float:
            state = self.followed(m, a)
            return 1.0 if state is None else self.growth(state, a)

        return float(brentq(rise, low, high, rtol=1e-9)) if rise(low) < 0 else low


def _across(m: _Point) -> list[Vector]:
    """Two unit vectors across m."""
    x, y, z = m
    least = min(abs(x), abs(y), abs(z))
    first = (0.0, z, -y) if abs(x) == least else (-z, 0.0, x) if abs(y) == least else (y, -x, 0.0)
    r = math.sqrt(_dot(first, first))
    u, v, w = (c / r for c in first)
    return [(u, v, w), (y * w - z * v, z * u - x * w, x * v - y * u)]


def _dot(u: Sequence[float], v: Sequence[float]) -> float:
    return u[0] * v[0] + u[1] * v[1] + u[2] * v[2]
