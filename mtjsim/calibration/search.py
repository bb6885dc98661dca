"""Maximum of the likelihood of write counts, and profiles around it.

The sum of squared deviance residuals is minimised (likelihood.py): a coarse scan for a start, a trust region, a polish
with central differences. A profile fixes one parameter and minimises over the others; it reuses the derivatives of the
optimum, corrected by Broyden's rank-one update, so that a point of the profile costs two or three evaluations.
"""

import math
from collections.abc import Callable
from functools import partial
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares
from scipy.special import chdtrc

from mtjsim.calibration.first_guess import approximate_log_rates
from mtjsim.calibration.likelihood import Likelihood
from mtjsim.checks import Array
from mtjsim.fokker_planck.reduced import is_axisymmetric

SCANNED_SOLVES = 8  # groups of equal currents in a scan
SCAN = {"critical_current": (-1.0, -0.5, 0.0, 0.5, 1.0), "characteristic_time": (-1.5, -0.75, 0.0, 0.75, 1.5)}
TRIED_STARTS = 3
DIFFERENT = 0.1  # in theta: nearer optima of the closed form are one start
CONVERGED = 1e-3  # deviance that a further step may still gain
ACCEPTED = 1e-3  # p-value above which the first start's optimum is accepted
PROFILE_STEPS = 8  # of the search for an end of an interval
DESCENT_STEPS = 6  # at each of them, over the other parameters
SEARCH_STEPS = 15  # from a start, over all parameters
LONGEST = 0.3  # step in theta beyond which the derivatives are not used
UNSETTLED = 0.3  # largest deviance that further steps at a point of the profile may gain; else no end is returned
BETTER = 0.05  # deviance by which a profile must undercut the optimum to be a better one
REACHED = 0.02  # in standard deviations: how exactly an end is found

Progress = Callable[[str], None]


def best_theta(likelihood: Likelihood, starts: list[Array], bounds: tuple[Array, Array], report: Progress) -> Array:
    """Theta of the largest likelihood inside the bounds, from the most promising of `starts` and points around them."""
    candidates = starts
    if len(starts) > 1:
        axial = is_axisymmetric(likelihood.coordinates.start)
        candidates = (_near_closed_form if axial else _scanned)(likelihood, starts, bounds, report)
    best, lowest = candidates[0], math.inf
    freedom = max(likelihood.trials.size - best.size, 1)
    for number, candidate in enumerate(candidates[:TRIED_STARTS]):
        report(f"start {number + 1}: deviance {likelihood.deviance(candidate, exact=False):.4g}")
        theta, deviance = _quickly_descended(likelihood, candidate, bounds)
        if not chdtrc(freedom, deviance) > ACCEPTED:
            theta, deviance = _descended(likelihood, theta, bounds)
        if deviance < lowest:
            best, lowest = theta, deviance
        if chdtrc(freedom, lowest) > ACCEPTED:
            break
    return polished(likelihood, best, bounds)


def _near_closed_form(
    likelihood: Likelihood, starts: list[Array], bounds: tuple[Array, Array], report: Progress
) -> list[Array]:
    """Optima of the closed form (first_guess.py) from the best of all starts and points around them."""
    rough = likelihood.approximate(approximate_log_rates)
    candidates = _scanned(rough, starts, bounds, report, every=2)
    found = [_descended(rough, candidate, bounds) for candidate in candidates[:TRIED_STARTS]]
    distinct: list[Array] = []
    for theta, _ in sorted(found, key=lambda one: one[1]):
        if all(np.abs(theta - other).max() > DIFFERENT for other in distinct):
            distinct.append(theta)
    return distinct


def _scanned(
    likelihood: Likelihood, starts: list[Array], bounds: tuple[Array, Array], report: Progress, *, every: int = 1
) -> list[Array]:
    """All starts and points around them, `every` so many, in the order of a robust score over a part of the rows."""
    names = likelihood.coordinates.names
    offsets = product(*(SCAN.get(name, (0.0,))[::every] for name in names))
    steps = [np.array(offset) for offset in offsets]
    candidates = [np.clip(start + step, *bounds) for start in starts for step in steps]
    part = likelihood.rows(_few_solves(likelihood))
    scores = []
    for number, candidate in enumerate(candidates):
        report(f"scan {number + 1} of {len(candidates)}")
        residuals = part.residuals(candidate, exact=False)
        scores.append(np.log1p(residuals**2).sum() if np.isfinite(residuals).all() else math.inf)
    order = np.argsort(scores, kind="stable")
    return [candidates[i] for i in order if math.isfinite(scores[i])] or starts


def _few_solves(likelihood: Likelihood) -> NDArray[np.intp]:
    """Rows of at most SCANNED_SOLVES groups of equal currents, spread over the table."""
    keys = [tuple(row) for row in zip(*(v for n, v in likelihood.pulses.items() if n != "pulse_width"), strict=True)]
    groups = sorted(set(keys))
    chosen = {groups[i] for i in np.linspace(0, len(groups) - 1, min(SCANNED_SOLVES, len(groups))).round().astype(int)}
    return np.array([i for i, key in enumerate(keys) if key in chosen])


def _quickly_descended(likelihood: Likelihood, start: Array, bounds: tuple[Array, Array]) -> tuple[Array, float]:
    """Gauss-Newton steps with one set of derivatives, corrected on the way; as far as they go."""
    theta = np.clip(start, bounds[0] + 1e-6, bounds[1] - 1e-6)
    residuals = likelihood.residuals(theta, exact=False)
    if not np.isfinite(residuals).all():
        return theta, math.inf
    slopes = likelihood.slopes(theta, exact=False, central=False)
    free = np.ones(theta.size, dtype=bool)
    theta, residuals, _, _ = _steps(
        likelihood, theta, residuals, slopes, bounds, free, most=SEARCH_STEPS, gain=CONVERGED, exact=False
    )
    return theta, float((residuals**2).sum())


def _descended(likelihood: Likelihood, start: Array, bounds: tuple[Array, Array]) -> tuple[Array, float]:
    inside = np.clip(start, bounds[0] + 1e-6, bounds[1] - 1e-6)
    if not np.isfinite(likelihood.residuals(inside, exact=False)).all():
        likelihood.log_rates(inside)  # raises with the reason why this start cannot be solved
    found = least_squares(
        partial(likelihood.residuals, exact=False),
        inside,
        jac=partial(likelihood.slopes, exact=False, central=False),
        bounds=bounds,
        ftol=1e-5,
        xtol=1e-5,
        gtol=1e-6,
        max_nfev=40,
    )
    return found.x, float(2 * found.cost)


def polished(likelihood: Likelihood, theta: Array, bounds: tuple[Array, Array]) -> Array:
    """Gauss-Newton steps with central differences and exact small probabilities, while they gain anything."""
    residuals = likelihood.residuals(theta)
    for _ in range(5):
        slopes = likelihood.slopes(theta)
        if not np.isfinite(slopes).all():
            return theta
        step: Array = np.linalg.lstsq(slopes, -residuals, rcond=1e-6)[0].astype(float)
        target = np.clip(theta + _short(step), *bounds)
        if (residuals**2).sum() - ((residuals + slopes @ (target - theta)) ** 2).sum() < CONVERGED:
            return theta
        tried = likelihood.residuals(target)
        if not (residuals**2).sum() > (tried**2).sum():
            return theta
        theta, residuals = target, tried
    return theta


# ---- profiles --------------------------------------------------------------------------------------------------------


class BetterOptimumError(Exception):
    """A profile found a larger likelihood than the optimum it started from, at `theta`."""

    def __init__(self, theta: Array) -> None:
        super().__init__("a profile found a larger likelihood")
        self.theta = theta


def profile_end(
    likelihood: Likelihood, best: Array, slopes: Array, bounds: tuple[Array, Array], *, j: int, side: int, z: float
) -> float | None:
    """Theta_j where the profile deviance has risen by z^2 on one side (+1, -1) of the optimum; None if it never does.

    Parameters
    ----------
    likelihood : Likelihood
        Of the counts.
    best : (d,) array
        The optimum.
    slopes : (n, d) array
        Derivatives of the deviance residuals there.
    bounds : two (d,) arrays
        Of the search.
    j, side : int
        Which parameter, which way.
    z : float
        Normal quantile of the interval.
    """
    toward = np.linalg.pinv(slopes.T @ slopes)[:, j]
    if not toward[j] > 0:
        return None
    deviation = math.sqrt(toward[j])
    path = side * toward / deviation  # in theta per standard deviation, the others following
    at_best = likelihood.residuals(best)
    lowest = float((at_best**2).sum())
    here, residuals, local = best, at_best, slopes
    distance, near, far = z, (0.0, 0.0), (math.inf, math.inf)  # the ends known to be inside and outside
    for _ in range(PROFILE_STEPS):
        if not bounds[0][j] < best[j] + distance * path[j] < bounds[1][j]:
            return None
        guess = here + (best[j] + distance * path[j] - here[j]) / path[j] * path
        point = _constrained(likelihood, guess, local, (here, residuals), bounds, j)
        if point is None:
            return None
        here, residuals, local = point
        rise = float((residuals**2).sum()) - lowest
        if rise < -BETTER:
            raise BetterOptimumError(here)
        height = math.sqrt(max(rise, 0.0))
        if abs(height - z) < REACHED:
            return float(here[j] + (z - height) * path[j] * distance / max(height, z / 2))
        near, far = ((distance, height), far) if height < z else (near, (distance, height))
        distance = _next_distance(near, far, z)
    return None


def _next_distance(near: tuple[float, float], far: tuple[float, float], z: float) -> float:
    """Next distance in the search for the root of a profile, nearly a line: secant inside, growing steps outside."""
    if math.isinf(far[0]):
        return near[0] * min(z / max(near[1], z / 3) * 1.02, 3.0)
    share = (z - near[1]) / (far[1] - near[1])
    return near[0] + float(np.clip(share, 0.05, 0.95)) * (far[0] - near[0])


def _constrained(
    likelihood: Likelihood,
    theta: Array,
    slopes: Array,
    known: tuple[Array, Array],
    bounds: tuple[Array, Array],
    j: int,
) -> tuple[Array, Array, Array] | None:
    """Minimise over all but coordinate j from theta: the point, its residuals, corrected slopes; None on failure."""
    others = np.arange(theta.size) != j
    theta = np.where(others, np.clip(theta, *bounds), theta)
    residuals = likelihood.residuals(theta)
    if not np.isfinite(residuals).all():
        return None
    slopes = _mended(slopes, theta - known[0], residuals - known[1])
    theta, residuals, slopes, left = _steps(
        likelihood, theta, residuals, slopes, bounds, others, most=DESCENT_STEPS, gain=10 * CONVERGED
    )
    return (theta, residuals, slopes) if left < UNSETTLED else None


def _steps(
    likelihood: Likelihood,
    theta: Array,
    residuals: Array,
    slopes: Array,
    bounds: tuple[Array, Array],
    free: NDArray[np.bool_],
    *,
    most: int,
    gain: float,
    exact: bool = True,
) -> tuple[Array, Array, Array, float]:
    """Gauss-Newton steps of the `free` coordinates, as long as one may gain more than `gain`.

    Returns theta, its residuals, the corrected slopes and the deviance that the next step may gain.
    """
    fresh, left = False, 0.0
    for _ in range(most):
        step = np.zeros(theta.size)
        step[free] = np.linalg.lstsq(slopes[:, free], -residuals, rcond=1e-9)[0] if free.any() else 0.0
        left = float((residuals**2).sum() - ((residuals + slopes @ step) ** 2).sum())
        if left < gain:
            break
        target = np.clip(theta + _short(step), *bounds)
        tried = likelihood.residuals(target, exact=exact)
        if not np.isfinite(tried).all():
            break
        mended = _mended(slopes, target - theta, tried - residuals)
        if (tried**2).sum() < (residuals**2).sum():
            theta, residuals, slopes, fresh = target, tried, mended, False
        elif not fresh:  # the derivatives are too old
            slopes, fresh = likelihood.slopes(theta, exact=exact, central=False), True
        else:
            break
    return theta, residuals, slopes, left


def _short(step: Array) -> Array:
    """Return the step, at most LONGEST in any coordinate: along a flat direction its length is arbitrary."""
    return step * min(1.0, LONGEST / max(float(np.abs(step).max()), 1e-300))


def _mended(slopes: Array, moved: Array, changed: Array) -> Array:
    """Broyden's update: the least change of the slopes that explains the last step."""
    length = float(moved @ moved)
    return slopes + np.outer(changed - slopes @ moved, moved) / length if length > 0 else slopes
