"""The axisymmetric write in reduced units: what both one-dimensional Fokker-Planck solvers solve.

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

Array = NDArray[np.float64]


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
