"""The axisymmetric write in reduced units: what both Fokker-Planck solvers solve, and how SI becomes it.

Legend (physics as in Brown 1963 and Butler et al. 2012, IEEE Trans. Magn. 48, 4684, arXiv:1202.2621)
    y     s m_z, with s = +1 when the write starts in P and -1 when it starts in AP: the write drives y from +1 to -1
    tau   t / tau_D, time over the characteristic time
    Delta thermal stability factor at the temperature of the write
    i     drive, (I / I_c0)(1 + alpha beta) >= 0, always out of the starting well
    H     s B_z / B_k, > 0 when the field favours the starting state
    L     s p_z lambda, spin-torque asymmetry seen from the starting state

    dP/dtau = d/dy { (1 - y^2) [ (1 / 2 Delta) dP/dy - G(y) P ] },    G(y) = y + H - i / (1 + L y)

The starting well loses its stability at i = (1 + H)(1 + L).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import simpson

from mtjsim.checks import Direction
from mtjsim.device import MTJ

Array = NDArray[np.float64]
MOST_STABLE = 1e4  # Delta: beyond, the start is narrower than any mesh
STRONGEST = 100.0  # in I_c0: beyond, no mesh resolves the drift, and no macrospin describes the junction


@dataclass(frozen=True)
class AxialWrite:
    """One axisymmetric write in reduced units; the names of the legend above, spelled out.

    Parameters
    ----------
    thermal_stability : float
        Delta, > 0.
    drive : float
        i of the plateau, >= 0.
    field : float
        H, with abs(H) < 1.
    asymmetry : float
        L, with abs(L) < 1.
    rise_time : float
        Duration of each linear ramp, in units of tau_D.
    relax_time : float
        Time at zero current before the state is judged, in units of tau_D.
    """

    thermal_stability: float
    drive: float
    field: float = 0.0
    asymmetry: float = 0.0
    rise_time: float = 0.0
    relax_time: float = 0.0

    def force(self, y: Array, drive: float) -> Array:
        """G(y) at a given drive; shape of `y`."""
        return y + self.field - drive / (1.0 + self.asymmetry * y)

    def log_equilibrium(self, y: Array, drive: float = 0.0) -> Array:
        """Log of the stationary density at a given drive, up to a constant: 2 Delta int G dy; shape of `y`."""
        if abs(self.asymmetry) > 1e-8:
            torque = np.log1p(self.asymmetry * y) / self.asymmetry
        else:  # the limit L -> 0, with its first correction
            torque = y - self.asymmetry * y * y / 2
        return 2.0 * self.thermal_stability * (y * y / 2 + self.field * y - drive * torque)

    def drives_everywhere(self) -> bool:
        """Whether the plateau's drift points to the other well from everywhere: no barrier is left."""
        return bool((self.force(np.linspace(-1.0, 1.0, 201), self.drive) < 0).all())

    def stationary_ratio(self) -> float:
        """Mass on y > 0 over mass on y < 0 in equilibrium under the plateau's drive, by quadrature."""
        y = np.linspace(0.0, 1.0, 20_001)
        above, below = self.log_equilibrium(y, self.drive), self.log_equilibrium(-y, self.drive)
        top, bottom = float(above.max()), float(below.max())
        ratio = simpson(np.exp(above - top), x=y) / simpson(np.exp(below - bottom), x=y)
        return float(ratio * np.exp(top - bottom))

    def starting_density(self, y: Array) -> Array:
        """Boltzmann density of the starting well, current off, unnormalised (1 at y = 1); `y` in (0, 1]."""
        return np.exp(self.log_equilibrium(y) - self.log_equilibrium(np.ones(1)))


def is_axisymmetric(device: MTJ) -> bool:
    """Whether m_z alone decides a write: polarizer along z, no in-plane field or anisotropy."""
    return not _departures(device)


def _departures(device: MTJ) -> list[str]:
    reasons = []
    if max(abs(device.stray_field[0]), abs(device.stray_field[1])) > 0:
        reasons.append(f"stray_field {device.stray_field} T has an in-plane part")
    if abs(device.polarizer[2]) < 1 - 1e-12:
        reasons.append(f"polarizer {device.polarizer} is not along z")
    if device.in_plane_anisotropy_field != 0:
        reasons.append(f"in_plane_anisotropy_field is {device.in_plane_anisotropy_field:g} T")
    return reasons


def require_axisymmetric(device: MTJ) -> None:
    """Raise ValueError, with the physics, unless the device is axisymmetric and all it declares is modelled here."""
    reasons = _departures(device)
    if reasons:
        raise ValueError(
            f"the device is not axisymmetric: {'; '.join(reasons)}. Then m_z alone no longer decides the write, and "
            "the axisymmetric solvers would be wrong; use method='auto' or 'spherical'."
        )
    require_modelled(device)


def require_modelled(device: MTJ) -> None:
    """Raise ValueError if the device declares an effect that a current-driven write does not model."""
    if device.vcma_coefficient != 0:
        raise ValueError(
            f"vcma_coefficient is {device.vcma_coefficient:g} J/(V m), but a current-driven write does not model VCMA; "
            "declare the device without it to leave the effect out knowingly."
        )
    if device.thermal_resistance is not None or device.thermal_capacity is not None:
        raise ValueError(
            "thermal_resistance or thermal_capacity is declared, but a current-driven write does not model "
            "self-heating; declare the device without them and give the junction's own temperature instead."
        )


def reduced_write(
    device: MTJ, direction: Direction, current: float, temperature: float, rise_time: float, relax_time: float
) -> tuple[AxialWrite, float]:
    """Return the write in reduced units, and tau_D [s]; ValueError if only one state is stable at zero current."""
    sign = 1.0 if direction == "p_to_ap" else -1.0
    B_k = device.anisotropy_field_at(temperature)
    h = device.stray_field[2] / B_k
    if abs(h) >= 1:
        lost = "AP" if h > 0 else "P"
        raise ValueError(
            f"stray_field z of {device.stray_field[2]:g} T exceeds the anisotropy field of {B_k:g} T at "
            f"{temperature:g} K: {lost} is not stable, so there is no bit to write."
        )
    tau = device.characteristic_time(temperature)
    symmetric = device.critical_current(direction, temperature)
    asymmetry = sign * device.spin_torque_asymmetry * device.polarizer[2]
    symmetric /= 1 + asymmetry
    drive = current / symmetric * (1 + device.damping * device.field_like_ratio)
    if drive < 0:
        raise ValueError(
            f"field_like_ratio of {device.field_like_ratio:g} turns the torque around: 1 + alpha beta must be > 0."
        )
    stability = device.thermal_stability(temperature)
    if stability > MOST_STABLE:
        raise ValueError(
            f"the thermal stability must be <= {MOST_STABLE:g}, got {stability:.3g} at {temperature:g} K: is a length "
            "missing its unit, or the temperature too low for a thermal model?"
        )
    if drive > STRONGEST:
        raise ValueError(
            f"current must be <= {STRONGEST:g} critical currents ({STRONGEST * symmetric:.3g} A here), got "
            f"{current:g} A: no junction survives it and no macrospin describes it."
        )
    write = AxialWrite(
        thermal_stability=stability,
        drive=drive,
        field=sign * h,
        asymmetry=asymmetry,
        rise_time=rise_time / tau,
        relax_time=relax_time / tau,
    )
    return write, tau
