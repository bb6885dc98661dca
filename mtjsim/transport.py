"""The junction as a conductor: resistance, the current that a voltage drives, and what a voltage does to the barrier.

Legend: G conductance, V bias (V > 0 drives I > 0, which favours P), theta angle to the reference layer, cos theta =
m_z, xi VCMA coefficient, t_f and t_ox thickness of free layer and barrier.

    G(theta) = (G_P + G_AP)/2 + (G_P - G_AP)/2 cos theta     (J. C. Slonczewski, Phys. Rev. B 39, 6995, 1989)
    R_AP(V) = R_P (1 + TMR(V)),  TMR(V) = TMR_0/(1 + (V/V_h)^2)     (the usual fit to measured bias dependence)
    B_k(V) = B_k - 2 xi V/(Ms t_f t_ox)     (voltage-controlled anisotropy: xi > 0 if the polarity that drives AP->P
                                             lowers the barrier)

A three-terminal device (`channel_resistance`) is written by a current in its channel: its voltage and its energy are
the channel's, and neither depends on the magnetisation.
"""

import numpy as np

from mtjsim.checks import Array, checked_number, checked_signed
from mtjsim.device import MTJ


def junction_conductance(device: MTJ, *, m_z: Array, voltage: float) -> Array:
    """G [S] at a magnetisation and a bias.

    Parameters
    ----------
    device : MTJ
        The junction; `tmr_half_voltage` None means a TMR that does not depend on bias.
    m_z : array
        In [-1, 1], any shape.
    voltage : float
        Bias [V], of either sign: the magnitude counts.

    Returns
    -------
    array
        Shape of `m_z`.

    Raises
    ------
    ValueError
        If m_z is outside [-1, 1], or the voltage is no finite number.
    """
    constant, slope = conductance_terms(device, checked_signed("voltage", voltage, "V"))
    return constant + slope * _checked_m_z(m_z)


def conductance_terms(device: MTJ, voltage: float) -> tuple[float, float]:
    """G = g_0 + g_1 m_z at a bias [V]: (g_0, g_1) [S]."""
    bias = 0.0 if device.tmr_half_voltage is None else voltage / device.tmr_half_voltage
    G_p = 1 / device.resistance_p
    G_ap = G_p / (1 + device.tunnel_magnetoresistance / (1 + bias * bias))
    return (G_p + G_ap) / 2, (G_p - G_ap) / 2


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
    m_z = _checked_m_z(m_z)
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


def anisotropy_lowering(device: MTJ, *, voltage: float, temperature: float) -> float:
    """B_k - B_k(V) [T] under a bias [V]: 2 xi V/(Ms t_f t_ox), 0 without `vcma_coefficient`.

    Raises
    ------
    ValueError
        If the device declares `vcma_coefficient` without `barrier_thickness`.
    """
    return vcma_slope(device, temperature) * voltage


def vcma_slope(device: MTJ, temperature: float) -> float:
    """Anisotropy field lost by a volt, 2 xi/(Ms t_f t_ox) [T/V]; raises as `anisotropy_lowering`."""
    if device.vcma_coefficient == 0:
        return 0.0
    if device.barrier_thickness is None:
        raise ValueError(
            f"barrier_thickness is missing: vcma_coefficient {device.vcma_coefficient:g} J/(V m) acts through the "
            "electric field in the barrier, V/t_ox; give t_ox in m."
        )
    moment = device.magnetization_at(temperature) * device.thickness * device.barrier_thickness
    return 2 * device.vcma_coefficient / moment


def is_heated(device: MTJ) -> bool:
    """Whether the device declares how it heats itself."""
    return device.thermal_resistance is not None or device.thermal_capacity is not None


def _checked_m_z(m_z: Array) -> Array:
    try:
        m_z = np.asarray(m_z, dtype=float)
    except (TypeError, ValueError):
        raise ValueError(f"m_z must be a number or an array of numbers, got {m_z!r}.") from None
    if not (np.abs(m_z) <= 1 + 1e-9).all():
        raise ValueError(f"m_z must be in [-1, 1], got {m_z.flat[np.abs(m_z).argmax()]:g}.")
    return m_z
