"""The start of a write: the Boltzmann law of one well, sampled exactly.

    rho(m) ~ exp{ (Ms V/kT) (B_k m_z^2/2 + B_k2 m_x^2/2 + B_ext.m) }   on the starting side of m_z = 0 or of the barrier

in equal-area coordinates (u, phi), y = 1 - (1 - y_0) u^2 with y = +-m_z and y_0 the edge, so that cells are small where
the law is narrow. Every cell has a bound on rho, the sum of the bounds of its terms; a cell is drawn with its bound, a
point in it is kept with rho over the bound: exact whatever the field.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mtjsim.checks import ArgumentError, Array
from mtjsim.device import MTJ, NOT_BISTABLE, require_forward_torque
from mtjsim.rng import generator
from mtjsim.torques import Torque

RINGS, SECTORS = 400, 96


@dataclass(frozen=True)
class BoltzmannStart:
    """Equilibrium of the starting well with static fields on and the current off.

    Parameters
    ----------
    torque : Torque
        Of the junction, at the temperature of the write.
    side : float
        +1 if the write starts in P (m_z > 0), -1 if in AP.
    above : float
        y_0, smallest side m_z; not 0 for axisymmetric devices only.
    """

    torque: Torque
    side: float
    above: float = 0.0

    def log_density(self, m: Array) -> Array:
        """Log of the law at `m` (..., 3), up to a constant; shape (...,)."""
        t = self.torque
        quadratic = t.anisotropy_field * m[..., 2] ** 2 + t.in_plane_anisotropy_field * m[..., 0] ** 2
        return t.energy_scale * (quadratic / 2 + m @ np.asarray(t.field))

    def has_well(self) -> bool:
        """Whether the law has a maximum on this side, off the equator: otherwise this state is not stable."""
        z, phi = 1 - np.linspace(0, 1, RINGS + 1) ** 2, 2 * np.pi * np.arange(SECTORS) / SECTORS
        r = np.sqrt(1 - z**2)[:, None]
        m = np.stack(np.broadcast_arrays(r * np.cos(phi), r * np.sin(phi), self.side * z[:, None]), axis=-1)
        height = self.log_density(m)
        if height[0, 0] >= height[1].max():
            return True
        inner = height[1:-1]
        around = [np.roll(height[1 + i : RINGS + i], j, axis=1) for i in (-1, 0, 1) for j in (-1, 0, 1) if i or j]
        return bool((inner >= np.max(around, axis=0)).any())

    @cached_property
    def cells(self) -> tuple[Array, Array, Array, Array]:
        """Edges in u and phi, log bound (rings, sectors), cumulative probability of the cells."""
        t = self.torque
        sectors = SECTORS if max(abs(t.field[0]), abs(t.field[1]), abs(t.in_plane_anisotropy_field)) > 0 else 1
        u, phi = np.linspace(0, 1, RINGS + 1), np.linspace(0, 2 * np.pi, sectors + 1)
        z = 1 - (1 - self.above) * u**2
        r = np.sqrt(1 - z**2)
        axial = t.anisotropy_field * z**2 / 2 + self.side * t.field[2] * z
        bound = np.maximum(axial[:-1], axial[1:])
        if t.anisotropy_field != 0:  # the extreme of the parabola, where it lies inside a ring
            top = np.clip(-self.side * t.field[2] / t.anisotropy_field, z[1:], z[:-1])
            bound = np.maximum(bound, t.anisotropy_field * top**2 / 2 + self.side * t.field[2] * top)
        cosine, sine = _range(np.cos, phi, 0.0), _range(np.sin, phi, np.pi / 2)
        bound = bound[:, None] + np.zeros(sectors)
        for field, (low, high) in ((t.field[0], cosine), (t.field[1], sine)):
            bound += np.max([field * R[:, None] * c for R in (r[:-1], r[1:]) for c in (low, high)], axis=0)
        squares = np.array([R[:, None] ** 2 * c**2 for R in (r[:-1], r[1:]) for c in cosine])
        straddles = cosine[0] * cosine[1] < 0
        smallest = np.where(straddles, 0.0, squares.min(axis=0))
        bound += (
            t.in_plane_anisotropy_field / 2 * np.where(t.in_plane_anisotropy_field > 0, squares.max(axis=0), smallest)
        )
        bound *= t.energy_scale
        area = np.diff(-z)[:, None] * np.diff(phi)
        weight = area * np.exp(bound - bound.max())
        return u, phi, bound, np.cumsum(weight.ravel()) / weight.sum()

    def sample(self, count: int, *, seed: int, chunk: int) -> Array:
        """Draw `count` magnetisations, (count, 3), with the generator of (seed, chunk)."""
        random = generator(seed, "start", chunk)
        u, phi, bound, cumulative = self.cells
        kept: list[Array] = []
        while sum(map(len, kept)) < count:
            n = 2 * count
            cell = np.minimum(np.searchsorted(cumulative, random.random(n), side="right"), cumulative.size - 1)
            ring, sector = np.divmod(cell, phi.size - 1)
            z = 1 - (1 - self.above) * (u[ring] ** 2 + (u[ring + 1] ** 2 - u[ring] ** 2) * random.random(n))
            angle = phi[sector] + (phi[sector + 1] - phi[sector]) * random.random(n)
            r = np.sqrt(1 - z**2)
            m = np.stack([r * np.cos(angle), r * np.sin(angle), self.side * z], axis=1)
            log_ratio = self.log_density(m) - bound[ring, sector]
            kept.append(m[np.log(1 - random.random(n)) < log_ratio])
        return np.concatenate(kept)[:count]


def _range(function: np.ufunc, phi: Array, peak: float) -> tuple[Array, Array]:
    """Smallest and largest value of cos or sin in each sector; `peak` is where it is 1."""
    ends = function(phi[:-1]), function(phi[1:])
    low, high = np.minimum(*ends), np.maximum(*ends)

    def inside(angle: float) -> NDArray[np.bool_]:
        return (np.floor((phi[1:] - angle) / (2 * np.pi)) > np.floor((phi[:-1] - angle) / (2 * np.pi))) | np.isclose(
            np.mod(phi[:-1] - angle, 2 * np.pi), 0.0
        )

    return np.where(inside(peak + np.pi), -1.0, low), np.where(inside(peak), 1.0, high)


def require_two_states(device: MTJ, torque: Torque, temperature: float) -> None:
    """Raise ValueError, with the physics, unless both states are stable and the torque has the right sense."""
    for name, side in (("P", 1.0), ("AP", -1.0)):
        if not BoltzmannStart(torque, side).has_well():
            fields = f"{device.stray_field} T, with anisotropy_field {torque.anisotropy_field:g} T and "
            fields += f"in_plane_anisotropy_field {torque.in_plane_anisotropy_field:g} T at {temperature:g} K"
            problem = f"leaves no minimum of the energy on the {name} side of the equator."
            raise ArgumentError("stray_field", f"{fields}, {problem} {NOT_BISTABLE}")
    require_forward_torque(device)
