"""Closed forms for error and escape rates, each with its error measured against the solver and its limits.

All in reduced units, without spin-torque asymmetry: Delta is `device.thermal_stability(T)`, times are over
`device.characteristic_time()`, and `overdrive` is the current over `device.critical_current(direction)`, times
(1 + alpha beta) if there is a field-like torque. For accurate numbers use `write_error_rate`, `read_disturb_rate`
or `retention_failure_rate`; these forms are for insight, first guesses and checks.

Legend
    Delta  thermal stability factor
    i      overdrive, I/I_c0, out of the well
    h      B_z/B_k, > 0 when the field favours the state that is left
    H      h - i, the effective field of the well that is left; its barrier is Delta (1 + H)^2
    tau    duration over the characteristic time tau_D
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from mtjsim.checks import ArgumentError, Array, checked_array, checked_choice, checked_number, checked_signed

LEAST_OVERDRIVE: Mapping[str, float] = {"exact": 1.5, "linear": 2.0}  # of closed_form_write_error_rate, by drift
LEAST_STABILITY = 40.0  # below, the start is not a narrow cone around the pole
LEAST_BARRIER = 10.0  # in kT, of closed_form_escape_rate


def closed_form_write_error_rate(
    *, thermal_stability: float, overdrive: float, duration: ArrayLike, drift: str = "exact"
) -> float | Array:
    """Write error rate of a rectangular pulse: a Gaussian start at the pole, then drift to the equator.

    WER = 1 - exp{ -Delta (i - 1) psi^2 / (i e^{2 (i - 1) tau} - 1) }

    Parameters
    ----------
    thermal_stability : float
        Delta >= 40.
    overdrive : float
        i >= 1.5 with "exact" drift, >= 2 with "linear".
    duration : float or array
        tau, pulse width over tau_D, >= 0.
    drift : {"exact", "linear"}
        psi^2 = 2^{2i/(i+1)} ((i-1)/i)^{2/(i+1)} from the exact drift time to the equator, or psi^2 = pi^2/4 from the
        drift linearised at the pole (Butler et al.).

    Returns
    -------
    float or array
        Shape of `duration`.

    Raises
    ------
    ValueError
        Outside these ranges.

    Notes
    -----
    Validity, measured for Delta from 40 to 100 and rates from 0.1 to 1e-12, without field and asymmetry: "exact" is
    within 4 % for i from 3 to 6, up to 9 % high at 2.5, 40 % at 2 and a factor of 5 at 1.5 (the deeper and the smaller
    Delta, the worse); "linear" is 8 to 12 % low at i = 4, 19 to 24 % low at 6 and 50 to 120 % high at 2.

    References
    ----------
    W. H. Butler et al., IEEE Trans. Magn. 48, 4684 (2012), arXiv:1202.2621.

    Examples
    --------
    >>> print(f"{closed_form_write_error_rate(thermal_stability=60, overdrive=4, duration=3):.2e}")
    1.85e-06
    """
    checked_choice("drift", drift, LEAST_OVERDRIVE)
    Delta = _at_least("thermal_stability", thermal_stability, LEAST_STABILITY, "Use write_error_rate().")
    i = _at_least("overdrive", overdrive, LEAST_OVERDRIVE[drift], "Nearer the threshold use write_error_rate().")
    tau = checked_array("duration", duration, "tau_D", zero_allowed=True)
    psi2 = math.pi**2 / 4
    if drift == "exact":
        psi2 = 2 ** (2 * i / (i + 1)) * ((i - 1) / i) ** (2 / (i + 1))
    # numerator and denominator times e^{-2 (i - 1) tau}, which may underflow but not overflow
    decay = np.exp(-2 * (i - 1) * tau)
    rate = -np.expm1(-Delta * (i - 1) * psi2 * decay / (i - decay))
    return float(rate) if tau.ndim == 0 else rate


def tail_slope(*, overdrive: float, field: float = 0.0) -> float:
    """Return -d ln WER / d tau in the tail of a long write: 2 (i_eff - 1), i_eff = i - h.

    Parameters
    ----------
    overdrive : float
        i.
    field : float
        h, abs(h) < 1.

    Returns
    -------
    float
        Per tau_D.

    Raises
    ------
    ValueError
        Unless i_eff >= 1.5.

    Notes
    -----
    Validity, measured for Delta from 40 to 100: at most 6 % low at i_eff = 1.5, 1.3 % at 2 and within 0.5 % from 2.5
    to 6.

    Examples
    --------
    >>> tail_slope(overdrive=4.0)
    6.0
    """
    h = _field(field)
    i = checked_number("overdrive", overdrive, "I_c0", zero_allowed=False)
    if i - h < 1.5:
        raise ArgumentError("overdrive", f"- field must be >= 1.5, got {i - h:g}. Use the slope of write_error_rate().")
    return 2 * (i - h - 1)


def drift_time(*, overdrive: float, polar_angle: ArrayLike) -> float | Array:
    """Time, over tau_D, that the drift alone takes from a polar angle to the equator (no noise, no field).

    tau = int dy/((1 - y^2)(i - y)) = -ln(1 - y)/(2 (i - 1)) + ln(1 + y)/(2 (i + 1)) + ln(1 - y/i)/(i^2 - 1), from 0 to
    y = cos(angle).

    Parameters
    ----------
    overdrive : float
        i > 1; below, the drift does not reach the equator.
    polar_angle : float or array
        Between the magnetisation and the pole that is left [rad], 0 < angle <= pi/2.

    Returns
    -------
    float or array
        Shape of `polar_angle`.

    Raises
    ------
    ValueError
        Outside these ranges.

    Notes
    -----
    Exact at zero temperature (1e-9, against the integral). From the root-mean-square angle
    Delta^(-1/2) it is near the median switching time: within 9 % for Delta from 40 to 100 and i from 2 to 6.

    Examples
    --------
    >>> print(f"{drift_time(overdrive=2.5, polar_angle=0.13):.3f}")
    1.594
    """
    i = checked_number("overdrive", overdrive, "I_c0", zero_allowed=False)
    angle = checked_array("polar_angle", polar_angle, "rad", zero_allowed=False)
    if i <= 1:
        raise ArgumentError("overdrive", f"must be > 1, got {i:g}. Below, see closed_form_escape_rate().")
    if (angle > math.pi / 2).any():
        raise ArgumentError("polar_angle", f"must be <= pi/2 rad, got {angle.max():g}.")
    y, hidden = np.cos(angle), 2 * np.sin(angle / 2) ** 2  # 1 - y without a difference
    time = -np.log(hidden) / (2 * (i - 1)) + np.log1p(y) / (2 * (i + 1)) + np.log1p(-y / i) / (i * i - 1)
    return float(time) if angle.ndim == 0 else time


def closed_form_escape_rate(*, thermal_stability: float, overdrive: float = 0.0, field: float = 0.0) -> float:
    """Rate, times tau_D, at which a state is left by thermal activation: Brown's, with its next order.

    k tau_D = sqrt(Delta/pi) (1 - H^2)(1 + H) e^{-Delta (1 + H)^2} (1 - c/Delta),  H = h - i,
    c = 1/(2 (1 + H)^2) + 1/(2 (1 - H^2)) + 2 H^2/(1 - H^2)^2

    Parameters
    ----------
    thermal_stability : float
        Delta.
    overdrive : float
        i >= 0, of a read current.
    field : float
        h, abs(h) < 1.

    Returns
    -------
    float
        Per tau_D. Times a duration (of many tau_D, and as long as the product is small) it is the failure probability.

    Raises
    ------
    ValueError
        Unless abs(H) < 1, both barriers Delta (1 +- H)^2 are >= 10 and c/Delta <= 0.15.

    Notes
    -----
    c is Laplace's method taken one order further at the pole and at the barrier; c = 1 without field and current, 1.6
    at i = 0.25 and 3.6 at i = 0.5: by c/Delta is the usual formula (without the last factor) high.
    Validity, measured for Delta from 15 to 100: high by at most 2.5 (c/Delta)^2; 0.25 % at Delta 20 and 0.05 % at 40
    without field. The barrier goes as (1 - i)^2, not as (1 - i), which at Delta = 60, i = 0.5 would be e^15 low.

    References
    ----------
    W. F. Brown, Phys. Rev. 130, 1677 (1963).

    Examples
    --------
    >>> print(f"{closed_form_escape_rate(thermal_stability=60):.3e}")
    3.763e-26
    """
    Delta = checked_number("thermal_stability", thermal_stability, "", zero_allowed=False)
    H = _field(field) - checked_number("overdrive", overdrive, "I_c0", zero_allowed=True)
    remedy = "Use read_disturb_rate() or retention_failure_rate()."
    if abs(H) >= 1:
        raise ArgumentError("overdrive", f"must leave abs(field - overdrive) < 1, got {H:g}: no barrier. {remedy}")
    barrier = Delta * (1 + H) ** 2
    c = 1 / (2 * (1 + H) ** 2) + 1 / (2 * (1 - H * H)) + 2 * H * H / (1 - H * H) ** 2
    lower = Delta * (1 - abs(H)) ** 2  # the lower of the two barriers
    if lower < LEAST_BARRIER or c > 0.15 * Delta:
        found = f"a barrier of {lower:.3g} kT (>= {LEAST_BARRIER:g} needed) and c/Delta = {c / Delta:.2g} (<= 0.15)"
        raise ValueError(f"the closed form does not hold for {found}. {remedy}")
    return math.sqrt(Delta / math.pi) * (1 - H * H) * (1 + H) * math.exp(-barrier) * (1 - c / Delta)


def _at_least(name: str, value: float, least: float, remedy: str) -> float:
    number = checked_number(name, value, "", zero_allowed=False)
    if number < least:
        raise ArgumentError(name, f"must be >= {least:g} for this closed form, got {number:g}. {remedy}")
    return number


def _field(field: float) -> float:
    h = checked_signed("field", field, "B_k")
    if abs(h) >= 1:
        raise ArgumentError("field", f"must be between -1 and 1, got {h:g}: only one state is stable.")
    return h
