"""Choice between the two methods for a held bit at constant current, and their inversion.

`quadrature` (escape.py) is for durations of at least 25 relaxation times behind a barrier: good to 1e-5 at any depth,
in milliseconds. `finite_volume` (finite_volume.py) is for any duration, barrier or not: good to about 1e-6, at worst
1e-4, in a tenth of a second. "auto" takes the first for those durations where it applies.
"""

import itertools
import math

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from mtjsim.checks import ArgumentError, Array
from mtjsim.fokker_planck.axial import LARGEST_ERROR
from mtjsim.fokker_planck.escape import Escape, solve_escape
from mtjsim.fokker_planck.reduced import AxialWrite, unresolved

METHODS = ("auto", "quadrature", "finite_volume")
SETTLED = 25.0  # relaxation times after which the start contributes less than 1e-7 of the result
FASTEST_ESCAPE = 1e-5  # k tau_r, of the order of the relative error of the quadrature
SHORTEST_RETENTION = 1.0  # in tau_D: before, only the edge of the start has moved
STABILITIES = tuple(1000.0 / 2**n for n in range(10))  # Delta tried, from high to low, until the rate is too high


def log_switched(write: AxialWrite, durations: Array, *, method: str = "auto", tau: float = 1.0) -> Array:
    """Log of the probability to be on the other side after each duration (units of tau_D); shape (k,).

    `tau` is tau_D [s], for messages.
    """
    escape = None if method == "finite_volume" else solve_escape(write)
    by_quadrature = _settled(escape, durations)
    if method == "quadrature" and not by_quadrature.all():
        raise ArgumentError("method", f"'quadrature' {_why_not(write, escape, durations, tau)}; use 'auto'.")
    out = np.empty(durations.shape)
    if escape is not None and by_quadrature.any():
        out[by_quadrature] = escape.log_switched(durations[by_quadrature])
    if not by_quadrature.all():
        out[~by_quadrature] = _by_finite_volume(write, durations[~by_quadrature])
    return np.minimum(out, 0.0)


def _settled(escape: Escape | None, durations: Array) -> NDArray[np.bool_]:
    """Whether the quadrature is good to 1e-5, for each duration."""
    if escape is None or escape.fast_escape > FASTEST_ESCAPE:
        return np.zeros(durations.shape, dtype=bool)
    return durations >= SETTLED * escape.relaxation_time


def _why_not(write: AxialWrite, escape: Escape | None, durations: Array, tau: float) -> str:
    if escape is None:
        threshold = (1 + write.field) * (1 + write.asymmetry)
        return (
            f"needs a barrier, and at {write.drive:.3g} critical currents there is none (it vanishes at "
            f"{threshold:.3g}): the pulse is a write (write_error_rate, switching_probability)"
        )
    if escape.fast_escape > FASTEST_ESCAPE:
        return (
            f"needs an escape that is slow against the relaxation, at most {FASTEST_ESCAPE:g} in a relaxation time, "
            f"got {escape.fast_escape:.2g}: the barrier is too low for a rate of 1e-5"
        )
    shortest = SETTLED * escape.relaxation_time
    return (
        f"needs a duration of at least {SETTLED:g} relaxation times, {shortest * tau:.3g} s here, got "
        f"{durations.min() * tau:.3g} s: the start has not settled"
    )


def _by_finite_volume(write: AxialWrite, durations: Array) -> Array:
    from mtjsim.fokker_planck.finite_volume import solve_switched  # here: numba is slow to import

    logs, error = solve_switched(write, durations)
    error = np.where(np.isfinite(logs), error, np.inf)  # nothing has arrived that a double can be
    if not (error < LARGEST_ERROR).all():
        after = f"after {durations.min():.3g} to {durations.max():.3g} characteristic times"
        remedy = "Use a longer duration, a smaller current or a lower barrier: nothing below 1e-300 is resolved."
        raise unresolved(write, f"{after} the estimated relative error is {error.max():.2g}", remedy=remedy)
    return logs


# ---- inversion ------------------------------------------------------------------------------------------------------


def time_to_fail(write: AxialWrite, rate: float, tau: float) -> float:
    """Duration (units of tau_D) at which a bit without current has failed with probability `rate`, or inf."""
    escape, log_rate = solve_escape(write), math.log(rate)
    assert escape is not None, "without current two stable states have a barrier between them"
    log_time = escape.log_duration(log_rate)
    if log_rate >= escape.log_other - 1e-9 or log_time > 700:
        return math.inf
    if not math.isnan(log_time) and _settled(escape, np.array(math.exp(log_time))):
        return math.exp(log_time)
    octaves = np.ldexp(SHORTEST_RETENTION, np.arange(32))  # longer times are found by quadrature
    logs = _by_finite_volume(write, octaves)
    if logs[0] >= log_rate:
        where = f"within one characteristic time ({tau:.3g} s) at a thermal stability of {write.thermal_stability:.3g}"
        raise ArgumentError("failure_rate", f"{rate:g} is reached {where}. Use a larger failure rate or barrier.")
    after = int(np.argmax(logs > log_rate))
    low, high = np.log(octaves[[after - 1, after]])
    return math.exp(brentq(lambda x: float(_by_finite_volume(write, np.exp([x]))[0]) - log_rate, low, high, xtol=1e-6))


def stability_for(seconds: float, rate: float, opposing: float, tau: float) -> float:
    """Delta at which a bit fails with probability `rate`."""

    def excess(stability: float) -> float:
        write = AxialWrite(thermal_stability=stability, drive=0.0, field=-opposing).held()
        return float(log_switched(write, np.array([seconds / tau]))[0]) - math.log(rate)

    if excess(STABILITIES[0]) < 0:
        for high, low in itertools.pairwise(STABILITIES):
            if excess(low) >= 0:
                return float(brentq(excess, low, high, xtol=1e-7))
    tried = f"from {STABILITIES[-1]:.2g} to {STABILITIES[0]:g}"
    raise ValueError(f"no thermal stability {tried} fails with {rate:g} after {seconds:g} s. Is a unit missing?")
