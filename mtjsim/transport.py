"""The junction as a conductor: resistance, the current that a voltage drives, and the effect of a voltage on B_k.

Legend: G conductance, V bias (V > 0 drives I > 0, which favours P), theta angle to the reference layer, cos theta =
m_z, xi VCMA coefficient, t_f and t_ox thickness of free layer and barrier.

    G(theta) = (G_P + G_AP)/2 + (G_P - G_AP)/2 cos theta     (J. C. Slonczewski, Phys. Rev. B 39, 6995, 1989)
    R_AP(V) = R_P (1 + TMR(V)),  TMR(V) = TMR_0/(1 + (V/V_h)^2)     (the usual fit to measured bias dependence)
    B_k(V) = B_k - 2 xi V/(Ms t_f t_ox)     (voltage-controlled anisotropy: xi > 0 if the polarity that drives AP->P
                                             lowers the barrier)

A three-terminal device (`channel_resistance`) is written by a current in its channel: its voltage and its energy are
the channel's, and neither depends on the magnetisation.
"""

from __future__ import annotations

import numpy as np

from mtjsim.checks import ArgumentError, Array, checked_number, checked_numbers, checked_signed
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
        If m_z is outside [-1, 1], or the voltage is not a finite number.
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
        If m_z is outside [-1, 1], or the current is not a finite number >= 0.
    """
    m_z = _checked_m_z(m_z)
    current = checked_number("current", current, "A", zero_allowed=True)
    R_p, half, tmr = device.resistance_p, device.tmr_half_voltage, device.tunnel_magnetoresistance
    bias = 0.0 if half is None else current * R_p / half
    ratio = resistance_ratio(m_z, tmr, bias)
    return R_p / conductance_ratio(m_z, tmr, bias * ratio)


def conductance_ratio(m_z: Array, tmr: float | Array, bias: float | Array) -> Array:
    """G over G_P at a bias over V_h, for a TMR of `tmr` at low bias; broadcast shape."""
    return (1 + m_z) / 2 + (1 - m_z) / 2 / (1 + tmr / (1 + np.square(bias)))


def resistance_ratio(m_z: Array, tmr: float | Array, bias: float | Array) -> Array:
    """R over R_P under a current that gives the P state a bias of `bias` V_h: V = I R(m_z, V); broadcast shape."""
    highest = 1 / conductance_ratio(m_z, tmr, 0.0 * np.asarray(bias))
    if not np.any(bias):
        return highest
    low, high = np.ones_like(highest), highest
    for _ in range(60):  # V - I R(V) rises with V, so bisection cannot fail; 60 halvings reach the last digit
        middle = (low + high) / 2
        above = middle * conductance_ratio(m_z, tmr, bias * middle) > 1
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    return (low + high) / 2


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
        why = f"vcma_coefficient {device.vcma_coefficient:g} J/(V m) acts through the field V/t_ox in the barrier"
        raise ArgumentError("barrier_thickness", f"is missing: {why}; give t_ox in m.")
    moment = device.magnetization_at(temperature) * device.thickness * device.barrier_thickness
    return 2 * device.vcma_coefficient / moment


def is_heated(device: MTJ) -> bool:
    """Whether the device declares how it heats itself."""
    return device.thermal_resistance is not None or device.thermal_capacity is not None


def _checked_m_z(m_z: Array) -> Array:
    m_z = checked_numbers("m_z", m_z, "")
    if (np.abs(m_z) > 1 + 1e-9).any():
        raise ArgumentError("m_z", f"must be in [-1, 1], got {m_z.flat[np.abs(m_z).argmax()]:g}.")
    return m_z
