"""The torque on the magnetisation: the LLGS equation as a rotation, for numbers and for operators.

Legend: m unit magnetisation, B effective field [T], a = a_J g(m) damping-like amplitude with its asymmetry [T], p
polarizer, alpha damping, beta field-like ratio, gamma gyromagnetic ratio.

    dm/dt = -gamma m x (B + beta a p) + alpha m x dm/dt - gamma a m x (m x p)

solved for dm/dt and written as a rotation (every torque is one, because |m| = 1):

    dm/dt = gamma/(1 + alpha^2) W x m,    W = h_1 + m x h_2,
    h_1 = B + (beta - alpha) a p,         h_2 = alpha B + (1 + alpha beta) a p

The thermal field enters both h_1 and h_2; in law (Stratonovich) that is isotropic rotational diffusion with
D = gamma alpha k T/((1 + alpha^2) Ms V), so the solvers add it to W. `rotation` is called with floats by the macrospin
and with multiplication operators by the full-sphere Fokker-Planck solver; the axisymmetric solvers take its m_z part.

References
----------
W. F. Brown, Phys. Rev. 130, 1677 (1963), for the thermal field; J. C. Slonczewski, J. Magn. Magn. Mater. 159, L1
(1996), for the damping-like torque.
"""

import math
from dataclasses import dataclass

from scipy.constants import elementary_charge, hbar, k

from mtjsim.device import GYROMAGNETIC_RATIO, MTJ
from mtjsim.rotation import axial_rotation as axial_rotation
from mtjsim.rotation import rotation as rotation
from mtjsim.spin_torque import current_sense


@dataclass(frozen=True)
class Torque:
    """Coefficients of the torque of a junction at one temperature.

    Attributes
    ----------
    rate : float
        gamma/(1 + alpha^2) [rad/(s T)].
    damping, field_like_ratio, asymmetry : float
        alpha, beta, lambda.
    field : (float, float, float)
        Static field [T].
    anisotropy_field, in_plane_anisotropy_field : float
        B_k and B_k2 [T].
    polarizer : (float, float, float)
        p, turned by `current_sense` so that I > 0 pulls toward it, and lambda turns with it.
    per_ampere : float
        a_J / I [T/A].
    energy_scale : float
        Ms V / k T [1/T]: fields become energies over k T.
    diffusion : float
        D of the rotational diffusion [1/s].
    """

    rate: float
    damping: float
    field_like_ratio: float
    asymmetry: float
    field: tuple[float, float, float]
    anisotropy_field: float
    in_plane_anisotropy_field: float
    polarizer: tuple[float, float, float]
    per_ampere: float
    energy_scale: float
    diffusion: float

    def fastest(self, current: float, lowered: float = 0.0) -> float:
        """Upper bound of the rotation rate [rad/s] at a current [A]; `lowered` is a change of B_k [T].

        |W| <= sqrt(1 + alpha^2) (|B| + a sqrt(1 + beta^2)), for any m: h_1 and m x h_2 of one source are orthogonal.
        """
        static = sum(b * b for b in self.field) ** 0.5
        anisotropy = max(abs(self.anisotropy_field), abs(self.anisotropy_field + lowered))
        spin = abs(self.per_ampere * current) / (1 - abs(self.asymmetry))
        torque = spin * math.hypot(1, self.field_like_ratio)
        turning = static + anisotropy + abs(self.in_plane_anisotropy_field) + torque
        return self.rate * math.hypot(1, self.damping) * turning


def torque_of(device: MTJ, temperature: float) -> Torque:
    """Coefficients of the torque on a junction at a temperature [K]."""
    moment = device.magnetization_at(temperature) * device.volume
    alpha = device.damping
    rate = GYROMAGNETIC_RATIO / (1 + alpha**2)
    B_k = device.anisotropy_field_at(temperature)  # B_k2 follows the same law
    turn = current_sense(device)
    px, py, pz = device.polarizer
    return Torque(
        rate=rate,
        damping=alpha,
        field_like_ratio=device.field_like_ratio,
        asymmetry=turn * device.spin_torque_asymmetry,
        field=device.stray_field,
        anisotropy_field=B_k,
        in_plane_anisotropy_field=device.in_plane_anisotropy_field * B_k / device.anisotropy_field,
        polarizer=(turn * px, turn * py, turn * pz),
        per_ampere=hbar * device.spin_torque_efficiency / (2 * elementary_charge * moment),
        energy_scale=moment / (k * temperature),
        diffusion=rate * alpha * k * temperature / moment,
    )
