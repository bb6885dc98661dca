"""The axisymmetric write in reduced units: the equation of both Fokker-Planck solvers, and the conversion from SI.

Legend (physics as in Brown 1963 and Butler et al. 2012, IEEE Trans. Magn. 48, 4684, arXiv:1202.2621)
    y     s m_z, with s = +1 when the write starts in P and -1 when it starts in AP: the write drives y from +1 to -1
    tau   t / tau_D, time over the characteristic time
    Delta thermal stability factor at the temperature of the write
    i     drive, (I / I_c0)(1 + alpha beta) >= 0, always out of the starting well
    H     s B_z / B_k, > 0 when the field favours the starting state
    L     s p_z lambda, spin-torque asymmetry seen from the starting state
    a     level of the pulse relative to its plateau

    dP/dtau = d/dy { (1 - y^2) [ (1 / 2 Delta) dP/dy - G(y) P ] },    G(y) = y + H - i / (1 + L y)

The starting well loses its stability at i = (1 + H)(1 + L). Where a voltage is imposed, or lowers the barrier, i and
the coefficient of y depend on y: `Conduction`.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.polynomial import Chebyshev
from scipy.constants import k
from scipy.integrate import simpson

from mtjsim.checks import ArgumentError, Array, Direction
from mtjsim.device import MTJ, NOT_BISTABLE, require_forward_torque
from mtjsim.pulse import Drive, Pulse
from mtjsim.spin_torque import ROUNDING
from mtjsim.transport import conductance_ratio, is_heated, resistance_ratio, vcma_slope

MOST_STABLE = 1e4  # Delta: beyond, the start is narrower than any mesh
STARTS = ("side", "well")  # of a write: Boltzmann on one side of m_z = 0, or inside the barrier
STRONGEST = 100.0  # in I_c0: beyond, no mesh resolves the drift, and a macrospin does not describe the junction


Piece = tuple[float, float, float]  # of a pulse: duration in tau_D, level at its start and end relative to the plateau


@dataclass(frozen=True)
class Conduction:
    """How current and anisotropy follow the magnetisation; levels a are relative to the plateau.

    Parameters
    ----------
    side : float
        s: y = s m_z, and P conducts best.
    tunnel_magnetoresistance : float
        TMR_0.
    bias : float
        Of the P state at the plateau, over the half voltage V_h; 0 where the TMR does not depend on bias.
    imposed : {"current", "voltage"}
        The quantity that the driver imposes.
    softening : float
        Part of B_k that the plateau's bias takes away (VCMA); the bias of the P state, if the current is imposed.
    """

    side: float
    tunnel_magnetoresistance: float
    bias: float
    imposed: str
    softening: float

    def current(self, y: Array, level: float) -> Array:
        """Return the current over that of the P state at the plateau; shape of `y`."""
        if self.imposed == "current":
            return np.full_like(y, level)
        return level * conductance_ratio(self.side * y, self.tunnel_magnetoresistance, self.bias * level)

    def anisotropy(self, y: Array, level: float) -> Array:
        """B_k under bias over B_k; shape of `y`."""
        if self.softening == 0 or self.imposed == "voltage":
            return np.full_like(y, 1 - self.softening * level)
        ratio = resistance_ratio(self.side * y, self.tunnel_magnetoresistance, self.bias * level)
        return 1 - self.softening * level * ratio


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
    shape : tuple of (duration, level, level)
        Linear pieces of a pulse of any other shape; in place of the ramps, and before a plateau of length 0.
    start_above, judged_at : float
        The start is the Boltzmann law of y > `start_above`, and what ends at y < `judged_at` has switched.
    conduction : Conduction, optional
        Where i or the anisotropy follow y; then `drive` is that of the P state at the plateau.
    """

    thermal_stability: float
    drive: float
    field: float = 0.0
    asymmetry: float = 0.0
    rise_time: float = 0.0
    relax_time: float = 0.0
    shape: tuple[Piece, ...] = ()
    conduction: Conduction | None = None
    start_above: float = 0.0
    judged_at: float = 0.0

    def started_in_well(self) -> "AxialWrite":
        """Return the write with its start inside the well: above the barrier without current, y = -H."""
        return replace(self, start_above=-self.field)

    def held(self) -> "AxialWrite":
        """Return the write as what a stored bit meets: it starts in the well, and is lost beyond the barrier."""
        return replace(self, start_above=-self.field, judged_at=-self.field)

    @property
    def before(self) -> tuple[Piece, ...]:
        """Pieces of the pulse before its plateau; without a drive they are level."""
        if self.drive == 0:
            duration = sum(piece[0] for piece in self.shape) if self.shape else self.rise_time
            return ((duration, 0.0, 0.0),) if duration > 0 else ()
        if self.shape:
            return self.shape
        return ((self.rise_time, 0.0, 1.0),) if self.rise_time > 0 else ()

    @property
    def after(self) -> tuple[Piece, ...]:
        """Pieces after the plateau, the last one at zero current."""
        high = 1.0 if self.drive else 0.0
        fall = ((self.rise_time, high, 0.0),) if self.rise_time > 0 and not self.shape else ()
        return fall + (((self.relax_time, 0.0, 0.0),) if self.relax_time > 0 else ())

    def level(self, drive: float) -> float:
        """Drive relative to the plateau's."""
        return drive / self.drive if self.drive else 0.0

    def force(self, y: Array, drive: float) -> Array:
        """G(y) at a given drive; shape of `y`."""
        if self.conduction is None:
            return y + self.field - drive / (1.0 + self.asymmetry * y)
        law, level = self.conduction, self.level(drive)
        current = self.drive * law.current(y, level) if self.drive else 0.0
        return law.anisotropy(y, level) * y + self.field - current / (1.0 + self.asymmetry * y)

    def log_equilibrium(self, y: Array, drive: float = 0.0) -> Array:
        """Log of the stationary density at a given drive, up to a constant: 2 Delta int G dy; shape of `y`."""
        if self.conduction is not None and drive != 0:
            return 2.0 * self.thermal_stability * _potential(self, drive)(y)
        if abs(self.asymmetry) > 1e-8:
            torque = np.log1p(self.asymmetry * y) / self.asymmetry
        else:  # the limit L -> 0, with its first correction
            torque = y - self.asymmetry * y * y / 2
        return 2.0 * self.thermal_stability * (y * y / 2 + self.field * y - drive * torque)

    def drives_everywhere(self) -> bool:
        """Whether the plateau's drift points to the other well at every y: there is no barrier."""
        return bool((self.force(np.linspace(-1.0, 1.0, 201), self.drive) < 0).all())

    def stationary_ratio(self) -> float:
        """Mass on y > 0 over mass on y < 0 in equilibrium under the plateau's drive, by quadrature."""
        y = np.linspace(0.0, 1.0, 20_001 if self.conduction is None else 2_001)
        if self.conduction is not None:  # each of its potentials is a series: fewer points, denser at both ends
            y = (1 - np.cos(np.pi * y)) / 2
        above, below = self.log_equilibrium(y, self.drive), self.log_equilibrium(-y, self.drive)
        top, bottom = float(above.max()), float(below.max())
        ratio = simpson(np.exp(above - top), x=y) / simpson(np.exp(below - bottom), x=y)
        return float(ratio * np.exp(top - bottom))

    def starting_density(self, y: Array) -> Array:
        """Boltzmann density of the start, current off, unnormalised (at most 1); `y` > `start_above`."""
        return np.exp(self.log_equilibrium(y) - self.log_equilibrium(np.array([self.start_above, 1.0])).max())


@lru_cache(maxsize=256)
def _potential(write: AxialWrite, drive: float) -> Chebyshev:
    """Integral of G(y), 0 at y = 0, as a Chebyshev series on [-1, 1]: G is smooth, its poles beyond 1/|L|."""
    degree = 64 if abs(write.asymmetry) < 0.5 else 256
    return Chebyshev.interpolate(lambda y: write.force(y, drive), degree).integ(lbnd=0)


def is_axisymmetric(device: MTJ) -> bool:
    """Whether a write depends on m_z alone: polarizer along z, no in-plane field or anisotropy."""
    return not departures(device)


def departures(device: MTJ) -> list[str]:
    """Return the reasons why a device is not axisymmetric, each as a clause; empty if it is."""
    reasons = []
    rounding = ROUNDING * device.anisotropy_field
    if max(abs(device.stray_field[0]), abs(device.stray_field[1])) > rounding:
        reasons.append(f"stray_field {device.stray_field} T has an in-plane part")
    if abs(device.polarizer[2]) < 1 - 1e-12:
        reasons.append(f"polarizer {device.polarizer} is not along z")
    if abs(device.in_plane_anisotropy_field) > rounding:
        reasons.append(f"in_plane_anisotropy_field is {device.in_plane_anisotropy_field:g} T")
    return reasons


def unresolved(
    write: AxialWrite, found: str, *, remedy: str = "Use a smaller current, a shorter pulse or a lower barrier."
) -> ValueError:
    """Return the error for a case that no solver resolves: its figures, what was `found`, what to change."""
    figures = f"a thermal stability of {write.thermal_stability:.3g} and {abs(write.drive):.3g} critical currents"
    return ValueError(f"this case cannot be resolved at {figures}: {found}. {remedy}")


def require_axisymmetric(device: MTJ) -> None:
    """Raise ValueError, with the physics, unless the device is axisymmetric."""
    reasons = departures(device)
    if reasons:
        remedy = "Writes are solved on the full sphere by method='auto' or 'spherical'."
        raise ArgumentError("device", f"is not axisymmetric: {'; '.join(reasons)}. {remedy}")


def require_known_well(device: MTJ, on_sphere: bool = False) -> None:
    """Raise ValueError where a start in the well is not known: the edge of a well that is not axisymmetric."""
    reasons = departures(device) or (["method is 'spherical'"] if on_sphere else [])
    if reasons:
        raise ArgumentError("start", f"'well' is for axisymmetric devices, and {'; '.join(reasons)}. Use 'side'.")


def require_unheated(device: MTJ) -> None:
    """Raise ValueError if the device heats itself: its temperature then follows each trajectory."""
    if is_heated(device):
        remedy = "use simulate_writes or rare_write_errors, or a device without them at the junction's own temperature."
        problem = "heats itself (thermal_resistance or thermal_capacity): its temperature follows each trajectory"
        raise ArgumentError("device", f"{problem}; {remedy}")


def at_rest(device: MTJ) -> MTJ:
    """Return the junction without current: neither its polarizer nor its heating matters."""
    return device.replace(polarizer=(0.0, 0.0, 1.0), thermal_resistance=None, thermal_capacity=None)


def reduced_write(
    device: MTJ,
    direction: Direction,
    level: float,
    temperature: float,
    rise_time: float,
    relax_time: float,
    imposed: Drive = "current",
    polarity: Direction | None = None,
    pulse: Pulse | None = None,
) -> tuple[AxialWrite, float]:
    """Return the write in reduced units, and tau_D [s]; ValueError if only one state is stable at zero current.

    Arguments as in `question.OneWrite`.
    """
    sign = 1.0 if direction == "p_to_ap" else -1.0
    B_k = device.anisotropy_field_at(temperature)
    h = device.stray_field[2] / B_k
    if abs(h) >= 1:
        limit = f"the anisotropy field of {B_k:g} T at {temperature:g} K"
        problem = f"z of {device.stray_field[2]:g} T exceeds {limit}: {'AP' if h > 0 else 'P'} is not stable."
        raise ArgumentError("stray_field", f"{problem} {NOT_BISTABLE}")
    stability = device.magnetization_at(temperature) * device.volume * B_k / (2 * k * temperature)
    if stability > MOST_STABLE:
        found = f"{stability:.3g} at {temperature:g} K"
        raise ValueError(f"the thermal stability must be <= {MOST_STABLE:g}, got {found}. Is a unit missing?")
    tau = device.characteristic_time(temperature)
    asymmetry = sign * device.spin_torque_asymmetry * device.polarizer[2]
    symmetric = device.critical_current(direction, temperature) / (1 + asymmetry)
    torque_ratio = require_forward_torque(device)
    current, conduction = _conduction(device, sign, level, temperature, imposed, polarity or direction)
    drive = current / symmetric * torque_ratio
    if drive > STRONGEST:
        limit = f"{STRONGEST:g} critical currents ({STRONGEST * symmetric:.3g} A here)"
        rule = f"must {'be' if imposed == 'current' else 'give'} <= {limit}"
        raise ArgumentError(imposed, f"{rule}, got {current:g} A: a junction does not survive it.")
    write = AxialWrite(
        thermal_stability=stability,
        drive=drive if polarity in (None, direction) else -drive,
        field=sign * h,
        asymmetry=asymmetry,
        rise_time=rise_time / tau,
        relax_time=relax_time / tau,
        shape=_pieces(pulse, tau),
        conduction=conduction,
    )
    return write, tau


def _pieces(pulse: Pulse | None, tau: float) -> tuple[Piece, ...]:
    if pulse is None:
        return ()
    return tuple(((t1 - t0) / tau, a / pulse.peak, b / pulse.peak) for t0, t1, a, b in pulse.segments)


def _conduction(
    device: MTJ, sign: float, level: float, temperature: float, imposed: Drive, polarity: Direction
) -> tuple[float, Conduction | None]:
    """Torque-carrying current of the P state at the plateau [A], and how it follows the magnetisation, if it does."""
    if device.channel_resistance is not None:
        return (level if imposed == "current" else level / device.channel_resistance), None
    V = level if imposed == "voltage" else level * device.resistance_p
    if level == 0 or (imposed == "current" and device.vcma_coefficient == 0):
        return V / device.resistance_p, None
    lowering = vcma_slope(device, temperature) * V / device.anisotropy_field_at(temperature)
    return V / device.resistance_p, Conduction(
        side=sign,
        tunnel_magnetoresistance=device.tunnel_magnetoresistance,
        bias=0.0 if device.tmr_half_voltage is None else V / device.tmr_half_voltage,
        imposed=imposed,
        softening=lowering if polarity == "ap_to_p" else -lowering,
    )
