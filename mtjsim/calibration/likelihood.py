"""The binomial likelihood of write counts, and its derivatives with respect to the parameters of a junction.

Legend
    k, n    errors and trials of a row
    p, q    probability of an error and of none, p + q = 1, each with its own relative accuracy
    d       deviance residual of a row, sign(k - n p) sqrt(2 [k ln(k / n p) + (n - k) ln((n - k) / n q)]);
            the sum of d^2 is smallest where the likelihood is largest, so least squares on d is maximum likelihood
    A       sqrt(n / p q) dp/dtheta; A^T A is the Fisher information
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, xlogy

from mtjsim.calibration.measurement import WriteCounts
from mtjsim.calibration.parameters import Coordinates
from mtjsim.checks import Array
from mtjsim.switching import switching_probability, write_error_rate

SMALLEST = 1e-300  # a probability below is taken as this one: the deviance of one contrary count is then 1400
NEAR_ONE = 1e-6  # q below is computed by `switching_probability`, not taken as 1 - p, whose error is 1e-9
ROUNDED = 1e-8  # smallest q of the search, which avoids that slower computation
STEP = 1e-3  # of a finite difference in theta: p is exact to 1e-6 or better and ln p bends by about STEP^2 ... 1e-3


@dataclass(frozen=True)
class Likelihood:
    """Write counts and the coordinates of the junctions that may explain them.

    Attributes
    ----------
    coordinates : Coordinates
        Of the free parameters, d of them.
    pulses : dict of (n,) arrays
        Arguments of `write_error_rate`.
    trials, errors : (n,) array
        Counts.
    evaluations : list of int
        One number: how often the error rates of all rows were computed.
    watch : callable
        Called with that number before each of them.
    """

    coordinates: Coordinates
    pulses: dict[str, NDArray[Any]]
    trials: Array
    errors: Array
    evaluations: list[int] = field(default_factory=lambda: [0])
    watch: Callable[[int], None] = lambda number: None

    @classmethod
    def of(
        cls, coordinates: Coordinates, counts: WriteCounts, watch: Callable[[int], None] = lambda number: None
    ) -> "Likelihood":
        """Likelihood of a whole table."""
        trials, errors = np.asarray(counts.trials, dtype=float), np.asarray(counts.errors, dtype=float)
        return cls(coordinates, counts.pulses, trials, errors, watch=watch)

    def rows(self, chosen: NDArray[Any]) -> "Likelihood":
        """Likelihood of some of the rows."""
        pulses = {name: value[chosen] for name, value in self.pulses.items()}
        return Likelihood(
            self.coordinates, pulses, self.trials[chosen], self.errors[chosen], self.evaluations, self.watch
        )

    def log_rates(self, theta: Array, *, exact: bool = True) -> tuple[Array, Array]:
        """Ln p and ln q of every row, shape (n,) each; without `exact` q is at least ROUNDED."""
        self.evaluations[0] += 1
        self.watch(self.evaluations[0])
        device = self.coordinates.device(theta)
        p = np.atleast_1d(write_error_rate(device, **self.pulses))  # type: ignore[arg-type]
        q = 1 - p
        deep = (q < NEAR_ONE) & (self.errors < self.trials)
        if exact and deep.any():
            some = {name: value[deep] for name, value in self.pulses.items()}
            q[deep] = switching_probability(device, **some)  # type: ignore[arg-type]
        log_p = np.where(q < 0.5, np.log1p(-np.minimum(q, 0.5)), np.log(np.maximum(p, SMALLEST)))
        smallest = SMALLEST if exact else ROUNDED
        log_q = np.where(p < 0.5, np.log1p(-np.minimum(p, 0.5)), np.log(np.maximum(q, smallest)))
        return log_p, log_q

    def residuals(self, theta: Array, *, exact: bool = True) -> Array:
        """Deviance residuals d, shape (n,); NaN if theta gives no junction, or one that no solver resolves."""
        try:
            log_p, log_q = self.log_rates(theta, exact=exact)
        except ValueError:
            return np.full(self.trials.shape, np.nan)
        sign = np.sign(self.errors - self.trials * np.exp(log_p))
        return sign * np.sqrt(2 * deviance_terms(self.errors, self.trials, log_p, log_q))

    def deviance(self, theta: Array, *, exact: bool = True) -> float:
        """Sum of d^2: twice the log-likelihood below that of a rate of its own for every row."""
        return float((self.residuals(theta, exact=exact) ** 2).sum())

    def log_likelihood(self, theta: Array) -> float:
        """Log of the binomial probability of the counts, coefficients included."""
        log_p, log_q = self.log_rates(theta)
        k, n = self.errors, self.trials
        ways = gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)
        return float((ways + k * log_p + (n - k) * log_q).sum())

    def slopes(self, theta: Array, *, exact: bool = True, central: bool = True) -> Array:
        """Return the derivatives of d, shape (n, d)."""
        here = np.empty(0) if central else self.residuals(theta, exact=exact)
        columns = []
        for j in range(theta.size):
            ahead, behind = _stepped(theta, j, STEP), _stepped(theta, j, -STEP)
            if central:
                difference = self.residuals(ahead, exact=exact) - self.residuals(behind, exact=exact)
                columns.append(difference / (2 * STEP))
                continue
            forward = (self.residuals(ahead, exact=exact) - here) / STEP
            if np.isnan(forward).any():  # at the edge of the range that is solved
                forward = (here - self.residuals(behind, exact=exact)) / STEP
            columns.append(forward)
        return np.stack(columns, axis=1)

    def information_root(self, theta: Array) -> Array:
        """Return A of the legend, shape (n, d): A^T A is the expected (Fisher) information in theta."""
        log_p, log_q = self.log_rates(theta)
        columns = []
        for j in range(theta.size):
            ahead = self.log_rates(_stepped(theta, j, STEP))
            behind = self.log_rates(_stepped(theta, j, -STEP))
            d_log_p, d_log_q = ((a - b) / (2 * STEP) for a, b in zip(ahead, behind, strict=True))
            columns.append(information_root(self.trials, log_p, log_q, d_log_p, d_log_q))
        return np.stack(columns, axis=1)


def information_root(trials: Array, log_p: Array, log_q: Array, d_log_p: Array, d_log_q: Array) -> Array:
    """Column of A: sqrt(n / p q) dp from the derivatives of the logarithms, taken from the smaller of p and q."""
    odds = np.exp(np.clip(log_p - log_q, -700, 700))
    return np.sqrt(trials) * np.where(log_p < log_q, np.sqrt(odds) * d_log_p, -d_log_q / np.sqrt(odds))


def deviance_terms(errors: Array, trials: Array, log_p: Array, log_q: Array) -> Array:
    """K ln(k / n p) + (n - k) ln((n - k) / n q) >= 0, without cancellation where k is near n p; shape of `errors`."""
    return _excess(errors, trials, log_p) + _excess(trials - errors, trials, log_q)


def _excess(k: Array, n: Array, log_p: Array) -> Array:
    """K ln(k / n p) - k + n p, which is >= 0; the linear parts of errors and successes cancel."""
    expected = n * np.exp(log_p)
    near = np.abs(k - expected) < 0.1 * expected
    u = np.where(near, (k - expected) / np.where(near, expected, 1.0), 0.0)
    far = xlogy(k, np.maximum(k, 1.0) / n) - k * log_p - k + expected
    return np.maximum(np.where(near, expected * ((1 + u) * np.log1p(u) - u), far), 0.0)


def _stepped(theta: Array, j: int, step: float) -> Array:
    moved = theta.copy()
    moved[j] += step
    return moved
