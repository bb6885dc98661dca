"""First guesses of a fit from closed forms: error rates in microseconds, and regressions of the counts.

Legend
    Delta, tau  thermal stability, time over tau_D
    i           drive at the pole that is left, 1 - G(1) of reduced.py: the well is gone at i = 1
    p, q        probability of an error and of none
    k           rate of the tail, -d ln p / d tau
    A           its amplitude, p -> A e^(-k tau)

    q = (1 - e^(-k tau))^A

is e^(-k tau) for p behind a barrier, where A = 1 and k is the escape rate of Brown, and the law of Butler far above it,
where k = 2 (i - 1) and A = Delta (i - 1) psi^2 / i with the drift time of `closed_form_write_error_rate`. Between, ln k
and ln A are interpolated. This is good to a factor of two or so in p: a place to start from, and no more.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mtjsim.calibration.rates import ROUNDED, SMALLEST, Logs, Pulses, reduced_rows
from mtjsim.checks import Array
from mtjsim.device import MTJ

NEAR_THRESHOLD = 2.5  # kT: barrier Delta (1 - i)^2 below which, and as far above i = 1, k and A are interpolated
TYPICAL_STABILITY, TYPICAL_TIME = 60.0, 1e-9  # Delta and tau_D [s] of a perpendicular junction
UNCERTAIN = 0.3  # standard deviation of the closed forms in a regression


def approximate_log_rates(
    devices: Sequence[MTJ], pulses: Pulses, *, deep: NDArray[np.bool_] | None = None
) -> list[Logs | ValueError]:
    """Ln p and ln q of every row for every axisymmetric junction, from the closed form above; q >= ROUNDED.

    Arguments as of `rates.log_rates`; `deep` has no effect.
    """
    return [_approximate(device, pulses) for device in devices]


def _approximate(device: MTJ, pulses: Pulses) -> Logs | ValueError:
    p, log_q = np.empty(len(pulses["pulse_width"])), np.empty(len(pulses["pulse_width"]))
    try:
        for write, rows, plateaus in reduced_rows(device, pulses):
            drive = 1 - float(write.force(np.ones(1), write.drive)[0])
            log_k, log_A = _tail(write.thermal_stability, drive)
            decayed = np.exp(-np.exp(log_k) * (plateaus + write.rise_time))
            log_q[rows] = np.exp(log_A) * np.log1p(-np.minimum(decayed, 1 - 1e-16))
            p[rows] = -np.expm1(log_q[rows])
    except ValueError as error:
        return error
    return np.log(np.maximum(p, SMALLEST)), np.maximum(log_q, math.log(ROUNDED))


def _tail(stability: float, drive: float) -> tuple[float, float]:
    """Ln k and ln A."""
    margin = math.sqrt(NEAR_THRESHOLD / stability)
    if drive <= 1 - margin:
        return _log_escape(stability, 1 - drive), 0.0
    if drive >= 1 + margin:
        return math.log(2 * (drive - 1)), _log_amplitude(stability, drive)
    share = (drive - 1 + margin) / (2 * margin)
    above = math.log(2 * margin), _log_amplitude(stability, 1 + margin)
    return (1 - share) * _log_escape(stability, margin) + share * above[0], share * above[1]


def _log_escape(stability: float, barrier: float) -> float:
    """Ln k behind a barrier of Delta b^2, b < 2."""
    b = min(barrier, 1.99)
    return 0.5 * math.log(stability / math.pi) + 2 * math.log(b) + math.log(2 - b) - stability * b * b


def _log_amplitude(stability: float, drive: float) -> float:
    psi2 = 2 ** (2 * drive / (drive + 1)) * ((drive - 1) / drive) ** (2 / (drive + 1))
    return math.log(max(stability * (drive - 1) * psi2 / drive, 1.0))


# ---- regressions of the counts ---------------------------------------------------------------------------------------


def typical_device(pulses: Pulses) -> MTJ:
    """Return a junction that such currents would write: half the median current as I_c0, at most TYPICAL_TIME."""
    return MTJ.from_effective(
        thermal_stability=TYPICAL_STABILITY,
        critical_current=max(float(np.median(pulses["current"])), 1e-12) / 2,
        characteristic_time=min(float(np.median(pulses["pulse_width"])) / 5, TYPICAL_TIME),
    )


def guesses(pulses: Pulses, errors: Array, trials: Array) -> list[dict[str, float]]:
    """Thermal stability, critical current and characteristic time from regressions of counts by current.

    One guess from fast writes, one from thermally activated ones, wherever the rows with 0 < errors < trials give it.
    """
    some = (errors > 0) & (errors < trials)
    if not some.any():
        return []
    I, t, n = pulses["current"][some], pulses["pulse_width"][some], trials[some]
    p = errors[some] / n
    found = [_fast(I, t, p, n), _activated(I, t, p, n)]
    return [guess for guess in found if guess is not None]


def _fast(I: Array, t: Array, p: Array, n: Array) -> dict[str, float] | None:
    """From ln(-ln q) = ln A - (2/tau_D) (I t/I_c0 - t), a straight line in I t and t."""
    loss = -np.log1p(-p)
    a = _line([I * t, t], np.log(loss), p / ((1 - p) * n * loss**2))
    if a is None or a[1] >= 0 or a[2] <= 0:
        return None
    critical = float(-a[2] / a[1])
    drive = max(float(np.median(I)) / critical, 1.1)
    log_A = float(np.clip(a[0], 1.0, 8.0))
    stability = math.exp(log_A - _log_amplitude(TYPICAL_STABILITY, drive)) * TYPICAL_STABILITY
    return _within(stability, critical, float(2 / a[2]))


def _activated(I: Array, t: Array, p: Array, n: Array) -> dict[str, float] | None:
    """From ln(-ln(p) / t) = ln k, a straight line in I: ln k tau_D = -Delta (1 - I/I_c0)^2 and its slope."""
    loss = -np.log(p)
    variance = (1 - p) / (p * n * loss**2)
    log_k = np.log(loss / t)
    weight = 1 / (variance + UNCERTAIN**2)
    middle, mean = (float(np.average(v, weights=weight)) for v in (I, log_k))
    barrier = max(-mean - math.log(TYPICAL_TIME), 1.0)
    a = _line([I], log_k, variance)
    if a is None:  # one current
        return _within(TYPICAL_STABILITY, middle / max(1 - math.sqrt(barrier / TYPICAL_STABILITY), 0.2), TYPICAL_TIME)
    if a[1] <= 0:
        return None
    critical = middle + 2 * barrier / float(a[1])
    return _within(barrier / (1 - middle / critical) ** 2, critical, TYPICAL_TIME)


def _line(columns: list[Array], y: Array, variance: Array) -> Array | None:
    """Coefficients of 1 and the columns in a weighted regression; None where the rows do not determine them."""
    weight = 1 / np.sqrt(variance + UNCERTAIN**2)
    scales = [float(np.abs(column).max()) or 1.0 for column in columns]
    design = np.stack([np.ones(y.size), *(c / s for c, s in zip(columns, scales, strict=True))], axis=1)
    found, _, rank, _ = np.linalg.lstsq(design * weight[:, None], y * weight, rcond=1e-4)
    return found / np.array([1.0, *scales]) if rank == design.shape[1] else None


def _within(stability: float, critical: float, time: float) -> dict[str, float]:
    return {
        "thermal_stability": float(np.clip(stability, 15.0, 150.0)),
        "critical_current": critical,
        "characteristic_time": float(np.clip(time, 5e-11, 1e-7)),
    }
