"""Resistance of the junction while it is being written, at a given current.

G(theta) = (G_P + G_AP)/2 + (G_P - G_AP)/2 cos(theta), cos(theta) = m_z (J. C. Slonczewski, Phys. Rev. B 39, 6995,
1989); R_AP(V) = R_P (1 + TMR(V)), TMR(V) = TMR_0/(1 + (V/V_h)^2), the usual fit to measured bias dependence.
"""

import numpy as np

from mtjsim.checks import checked_number
from mtjsim.device import MTJ
from mtjsim.reduced import Array


def junction_resistance(device: MTJ, *, m_z: Array, current: float) -> Array:
    """R [ohm] at a magnetisation and a current; solves V = I R(m_z, V) where the TMR depends on bias.

    Parameters
    ----------
    device : MTJ
        The junction; `tmr_half_voltage` None means a TMR that does not depend on bias.
    m_z : array
        In [-1, 1], any shape.
    current : float
        Magnitude [A].

    Returns
    -------
    array
        Shape of `m_z`.

    Raises
    ------
    ValueError
        If m_z is outside [-1, 1], or the current is no finite number >= 0.
    """
    m_z = np.asarray(m_z, dtype=float)
    if not (np.abs(m_z) <= 1 + 1e-9).all():
        raise ValueError(f"m_z must be in [-1, 1], got {m_z.flat[np.abs(m_z).argmax()]:g}.")
    current = checked_number("current", current, "A", zero_allowed=True)
    R_p, half = device.resistance_p, device.tmr_half_voltage

    def resistance(tmr: float | Array) -> Array:
        G = (1 + m_z) / 2 + (1 - m_z) / 2 / (1 + tmr)  # over G_P
        return R_p / G

    if half is None:
        return resistance(device.tunnel_magnetoresistance)
    low, high = np.full_like(m_z, current * R_p), current * resistance(device.tunnel_magnetoresistance)
    for _ in range(60):  # V - I R(V) rises with V: bisection cannot fail, and halves 60 times
        V = (low + high) / 2
        above = current * resistance(device.tunnel_magnetoresistance / (1 + (V / half) ** 2)) < V
        low, high = np.where(above, low, V), np.where(above, V, high)
    return resistance(device.tunnel_magnetoresistance / (1 + (high / half) ** 2))
