"""Spin torque of a junction or a channel: efficiencies, and the state that a current drives.

Legend: p polarizer, a amplitude of the damping-like torque [T], B in-plane static field, alpha damping, beta field-like
ratio; the torque itself is in `torques.py`.
"""

import math
from typing import Protocol

from mtjsim.checks import ArgumentError, checked_number, checked_positive

ROUNDING = 1e-9  # of a component against the whole: what a sine of pi or a rotation leaves where 0 is meant
ACROSS = 0.5  # |p_z| below which the torque is called across the easy axis
STRONGEST_WRITE = 4.0  # in thresholds a = B_k/2 across the easy axis: up to there the field has to decide


class Declared(Protocol):
    """What decides the direction of a write; an `MTJ` has it."""

    @property
    def polarizer(self) -> tuple[float, float, float]: ...  # noqa: D102

    @property
    def stray_field(self) -> tuple[float, float, float]: ...  # noqa: D102

    @property
    def anisotropy_field(self) -> float: ...  # noqa: D102

    @property
    def damping(self) -> float: ...  # noqa: D102

    @property
    def field_like_ratio(self) -> float: ...  # noqa: D102


# ---- sense of the current -------------------------------------------------------------------------------------------


def is_across(device: Declared) -> bool:
    """Whether the torque acts across the easy axis, as of spin-orbit torque, and not mainly along it."""
    return abs(device.polarizer[2]) < ACROSS


def current_sense(device: Declared) -> float:
    """Return +1 if a current I > 0, the one of a write AP->P, pulls m toward the declared p; -1 if toward -p.

    Along the easy axis it is the sign of p_z, so that I > 0 favours P whatever the polarizer. Across it I > 0 pulls
    toward the declared p, and `write_sense` is the state that this writes. Only a p_z < 0 that decides the direction by
    itself turns the polarizer around, since p and -p are one junction.

    Parameters
    ----------
    device : MTJ

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If -0.5 < p_z < 0, and neither p_z nor the field decides the direction; -p can be declared in its place.

    Notes
    -----
    Across the easy axis a strong current lays the layer along p, where B + a m x p + beta a p is parallel to m:

        m_z = p_z + (B_x p_y - B_y p_x)/(a (1 + beta^2))

    to first order in p_z and B/a, and with the sign of this m_z it leaves the plane. p_z decides if it is larger than
    the field's part from the threshold a = B_k/2 on. The field decides if its part is larger up to four times that
    threshold, and the axial part alone is weaker than the damping at the threshold, abs(p_z) < 2 alpha.
    """
    p_z = device.polarizer[2]
    if p_z > -ROUNDING:
        return 1.0
    tilt = abs(_tilt_by_field(device))
    if not is_across(device) or -p_z > tilt:
        return -1.0
    if -p_z < min(tilt / STRONGEST_WRITE, 2 * device.damping):
        return 1.0
    minus = tuple(0.0 - x for x in device.polarizer)
    problem = f"{device.polarizer} has a p_z < 0 that competes with stray_field {device.stray_field} T"
    remedy = f"Declare {minus}, the same junction with the current reversed: I > 0 then pulls toward it."
    raise ArgumentError("polarizer", f"{problem}: the direction that a current writes is not clear. {remedy}")


def write_sense(device: Declared) -> float:
    """Return the state that a strong write drives: +1 the named one, -1 the other one, 0 either.

    +1 for every torque along the easy axis. Across it the sign of m_z in the notes of `current_sense` at a = B_k/2: it
    is -1 if field or polarizer should be reversed, and 0 if p lies in the plane and no field acts across it.

    Parameters
    ----------
    device : MTJ

    Returns
    -------
    float

    Raises
    ------
    ValueError
        As in `current_sense`.

    Examples
    --------
    >>> from mtjsim import load_preset
    >>> sot = load_preset("w_sot_80nm")
    >>> write_sense(sot), write_sense(sot.replace(polarizer=(0, -1, 0)))
    (1.0, -1.0)
    """
    if not is_across(device):
        return 1.0
    m_z = current_sense(device) * (device.polarizer[2] + _tilt_by_field(device))
    return math.copysign(1.0, m_z) if abs(m_z) > ROUNDING else 0.0


def _tilt_by_field(device: Declared) -> float:
    """Part of m_z that the static field causes at a = B_k/2."""
    (B_x, B_y, _), (p_x, p_y, _) = device.stray_field, device.polarizer
    return 2 * (B_x * p_y - B_y * p_x) / device.anisotropy_field / (1 + device.field_like_ratio**2)


# ---- efficiencies ---------------------------------------------------------------------------------------------------


def tunnel_spin_torque(*, polarization: float, free_layer_polarization: float | None = None) -> dict[str, float]:
    """Spin torque efficiency and asymmetry of a magnetic tunnel junction, from the spin polarization of its electrodes.

    eta = P_ref and lambda = P_ref P_free, so that a_J = hbar P_ref I/(2 e Ms V) / (1 + P_ref P_free m.p).

    Parameters
    ----------
    polarization : float
        P_ref of the tunnel current from the reference layer, 0 < P < 1.
    free_layer_polarization : float, optional
        P_free; default: that of the reference layer.

    Returns
    -------
    dict of str to float
        `spin_torque_efficiency` and `spin_torque_asymmetry` for `MTJ(..., **tunnel_spin_torque(...))`.

    Raises
    ------
    ValueError
        If a polarization is not between 0 and 1.

    Notes
    -----
    In Slonczewski's model of elastic tunnelling the torque at a given *voltage* is the same at every angle, and the
    conductance goes as 1 + P_ref P_free cos(theta); per ampere the torque has that in its denominator. So a write from
    P to AP takes (1 + P^2)/(1 - P^2) times the current of the other direction: 2.1 times at P = 0.6. In the same model
    (Julliere's) the TMR is 2 P_ref P_free/(1 - P_ref P_free): a measured TMR at low bias gives P. Real junctions are
    less asymmetric at the bias of a write, where TMR and P are smaller; eta = P with lambda = 0, the default of `MTJ`,
    makes both critical currents their mean. The other common form, Slonczewski's g(theta) of 1996, is that of metallic
    spin valves.

    References
    ----------
    J. C. Slonczewski, Phys. Rev. B 71, 024411 (2005), for the torque at a voltage and the polarization factors;
    J. C. Slonczewski, J. Z. Sun, J. Magn. Magn. Mater. 310, 169 (2007); M. Julliere, Phys. Lett. A 54, 225 (1975).

    Examples
    --------
    >>> tunnel_spin_torque(polarization=0.6)
    {'spin_torque_efficiency': 0.6, 'spin_torque_asymmetry': 0.36}
    """
    remedy = "It is a fraction, not percent."
    P = checked_number("polarization", polarization, "", zero_allowed=False, below=1, remedy=remedy)
    P_free = P
    if free_layer_polarization is not None:
        P_free = checked_number(
            "free_layer_polarization", free_layer_polarization, "", zero_allowed=False, below=1, remedy=remedy
        )
    return {"spin_torque_efficiency": P, "spin_torque_asymmetry": P * P_free}


def spin_hall_efficiency(
    *, spin_hall_angle: float, diameter: float, channel_width: float, channel_thickness: float
) -> float:
    """Spin torque efficiency of a junction on a heavy-metal channel that carries the write current.

    eta = theta_SH A/(w t_c), with A = pi/4 d^2 the area of the junction: the spin current theta_SH J_c A that enters
    the free layer, for each ampere w t_c J_c in the channel. It may exceed 1.

    Parameters
    ----------
    spin_hall_angle : float
        theta_SH, damping-like and effective (losses at the interface included); a magnitude.
    diameter : float
        Of the free layer [m].
    channel_width, channel_thickness : float
        w and t_c, the cross-section of the channel [m].

    Returns
    -------
    float
        eta, the `spin_torque_efficiency` of an `MTJ` with a `channel_resistance`.

    Raises
    ------
    ValueError
        If an argument is not finite and > 0.

    Notes
    -----
    The sign of theta_SH is in the `polarizer`, which lies in the plane and across the channel. I > 0 pulls m toward +p,
    so by itself it favours neither state; a static field decides: with p along +y and B_x > 0, or p along -y and
    B_x < 0, the layer that lies along +p is turned toward P, and I > 0 writes P as it does in a two-terminal junction.
    Reversing one of the two makes every write go to the other state (`mtjsim.spin_torque.write_sense`).

    `MTJ.critical_current` is the instability of the layer under this torque: near a_J = B_k/2 - B_x/sqrt(2) where the
    damping is high (Lee et al.), about 1/(2 alpha) times that of an axial torque. A macrospin of low
    damping without field-like torque, in a field below about 15 % of B_k, turns into the plane but then relaxes to
    either state (arXiv:1911.07961). Not modelled: a channel narrower than the junction, shunting by the free layer,
    current crowding.

    References
    ----------
    L. Liu et al., Phys. Rev. Lett. 109, 096602 (2012); K.-S. Lee et al., Appl. Phys. Lett. 102, 112410 (2013),
    arXiv:1210.3442, for the threshold; arXiv:1911.07961 for the field that a reliable write needs.

    Examples
    --------
    >>> channel = {"channel_width": 100e-9, "channel_thickness": 3e-9}
    >>> round(spin_hall_efficiency(spin_hall_angle=0.3, diameter=50e-9, **channel), 4)
    1.9635
    """
    remedy = "Its sign is that of the polarizer."
    checked_number("spin_hall_angle", spin_hall_angle, "", zero_allowed=False, remedy=remedy)
    checked_positive("m", diameter=diameter, channel_width=channel_width, channel_thickness=channel_thickness)
    return float(spin_hall_angle * math.pi / 4 * diameter**2 / (channel_width * channel_thickness))
