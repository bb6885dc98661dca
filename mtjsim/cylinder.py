"""Anisotropy and demagnetisation of a cylindrical free layer."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.constants import mu_0
from scipy.special import ellipe, ellipk

from mtjsim.checks import Array, checked_positive


def effective_anisotropy_field(
    *, interface_anisotropy: float, saturation_magnetization: float, diameter: float, thickness: float
) -> float:
    """Net perpendicular anisotropy field of a circular free layer.

    B_k = 2 K_i/(Ms t_f) - mu0 (N_z - N_x) Ms with N_x = (1 - N_z)/2 and N_z of a uniformly magnetised cylinder.

    Parameters
    ----------
    interface_anisotropy : float
        K_i, both interfaces together [J/m^2].
    saturation_magnetization : float
        Ms [A/m].
    diameter, thickness : float
        Of the free layer [m].

    Returns
    -------
    float
        B_k [T]; negative when the layer prefers the plane.

    Raises
    ------
    ValueError
        If an argument is not finite and > 0.

    Notes
    -----
    With N_z in place of N_z - N_x a 50 nm disc comes out 15 % low; with a thin-film N_z = 1 lower still.

    Examples
    --------
    >>> round(effective_anisotropy_field(interface_anisotropy=1e-3, saturation_magnetization=1.2e6, diameter=50e-9,
    ...                                  thickness=1e-9), 4)
    0.2969
    """
    checked_positive("J/m^2", interface_anisotropy=interface_anisotropy)
    checked_positive("A/m", saturation_magnetization=saturation_magnetization)
    checked_positive("m", diameter=diameter, thickness=thickness)
    interface = 2 * interface_anisotropy / (saturation_magnetization * thickness)
    own = demagnetising_field(saturation_magnetization=saturation_magnetization, aspect_ratio=thickness / diameter)
    return float(interface - own)


def demagnetising_field(*, saturation_magnetization: float, aspect_ratio: ArrayLike) -> Array:
    """mu0 (N_z - N_x) Ms [T] of cylinders of an Ms [A/m] and a thickness over diameter; shape of `aspect_ratio`."""
    return mu_0 * (3 * axial_demagnetising_factor(aspect_ratio=aspect_ratio) - 1) / 2 * saturation_magnetization


def axial_demagnetising_factor(*, aspect_ratio: ArrayLike) -> Array:
    """Magnetometric N_z of a cylinder magnetised along its axis; aspect ratio g = thickness / diameter, any shape.

    N_z = 1 - (4/(3 pi g)) { sqrt(1 + g^2) [g^2 K(m) + (1 - g^2) E(m)] - 1 }, m = 1/(1 + g^2), K and E the complete
    elliptic integrals: the closed form of (2R/t) int_0^inf J1(q)^2 (1 - e^(-q t/R))/q^2 dq (R. I. Joseph, J. Appl.
    Phys. 37, 4639, 1966); the test compares the two.
    """
    g = np.asarray(aspect_ratio, dtype=float)
    m = 1 / (1 + g * g)
    bracket = np.sqrt(1 + g * g) * (g * g * ellipk(m) + (1 - g * g) * ellipe(m)) - 1
    return 1 - 4 / (3 * np.pi * g) * bracket
