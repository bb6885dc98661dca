"""The binomial likelihood of write counts, and its derivatives with respect to the parameters of a junction.

Legend
    k, n    errors and trials of a row
    p, q    probability of an error and of none, p + q = 1, each with its own relative accuracy
    d       deviance residual of a row, sign(k - n p) sqrt(2 [k ln(k / n p) + (n - k) ln((n - k) / n q)]);
            the sum of d^2 is smallest where the likelihood is largest, so least squares on d is maximum likelihood
    A       sqrt(n / p q) dp/dtheta; A^T A is the Fisher information
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, xlogy

from mtjsim.calibration.measurement import WriteCounts
from mtjsim.calibration.parameters import Coordinates
from mtjsim.calibration.rates import NEAR_ONE, Logs, log_rates
from mtjsim.checks import Array
from mtjsim.device import MTJ

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
    rates : callable
        `rates.log_rates`, or an approximation with its arguments.
    """

    coordinates: Coordinates
    pulses: dict[str, NDArray[Any]]
    trials: Array
    errors: Array
    evaluations: list[int] = field(default_factory=lambda: [0])
    watch: Callable[[int], None] = lambda number: None
    rates: Callable[..., list[Logs | ValueError]] = log_rates
    _kept: dict[tuple[bytes, bool], Logs | ValueError] = field(default_factory=dict, repr=False)

    @classmethod
    def of(
        cls, coordinates: Coordinates, counts: WriteCounts, watch: Callable[[int], None] = lambda number: None
    ) -> "Likelihood":
        """Likelihood of a whole table."""
        trials, errors = np.asarray(counts.trials, dtype=float), np.asarray(counts.errors, dtype=float)
        return cls(coordinates, counts.pulses, trials, errors, watch=watch)

    def rows(self, chosen: NDArray[Any]) -> "Likelihood":
        """Likelihood of some of the rows."""
        return replace(
            self,
            pulses={name: value[chosen] for name, value in self.pulses.items()},
            trials=self.trials[chosen],
            errors=self.errors[chosen],
            _kept={},
        )

    def approximate(self, rates: Callable[..., list[Logs | ValueError]]) -> "Likelihood":
        """Return the likelihood with approximate error rates, whose computations are not counted."""
        return replace(self, rates=rates, evaluations=[0], watch=lambda number: None, _kept={})

    def log_rates(self, theta: Array, *, exact: bool = True) -> Logs:
        """Ln p and ln q of every row, shape (n,) each; without `exact` q is at least ROUNDED."""
        return self.log_rates_of([theta], exact=exact)[0]

    def log_rates_of(self, thetas: Sequence[Array], *, exact: bool = True) -> list[Logs]:
        """`log_rates` of several thetas, which share their solves; kept for the next call."""
        found = self._computed(thetas, exact=exact)
        for logs in found:
            if isinstance(logs, ValueError):
                raise logs
        return found  # type: ignore[return-value]

    def _computed(self, thetas: Sequence[Array], *, exact: bool) -> list[Logs | ValueError]:
        keys = [(theta.tobytes(), exact) for theta in thetas]
        devices: dict[tuple[bytes, bool], MTJ] = {}
        for key, theta in dict(zip(keys, thetas, strict=True)).items():
            if key not in self._kept:
                self.evaluations[0] += 1
                self.watch(self.evaluations[0])
                try:
                    devices[key] = self.coordinates.device(theta)
                except ValueError as error:
                    self._kept[key] = error
        deep = self.errors < self.trials
        found = self.rates(list(devices.values()), self.pulses, deep=deep if exact else None)
        for key, logs in zip(devices, found, strict=True):
            self._kept[key] = logs
            if not (exact or isinstance(logs, ValueError) or (deep & (logs[1] < math.log(NEAR_ONE))).any()):
                self._kept[key[0], True] = logs  # no small q: nothing would be more exact
        return [self._kept[key] for key in keys]

    def residuals(self, theta: Array, *, exact: bool = True) -> Array:
        """Deviance residuals d, shape (n,); NaN if theta gives no junction, or one that no solver resolves."""
        return self.residuals_of([theta], exact=exact)[0]

    def residuals_of(self, thetas: Sequence[Array], *, exact: bool = True) -> list[Array]:
        """`residuals` of several thetas, which share their solves."""
        return [self._residuals(logs) for logs in self._computed(thetas, exact=exact)]

    def _residuals(self, logs: Logs | ValueError) -> Array:
        if isinstance(logs, ValueError):
            return np.full(self.trials.shape, np.nan)
        log_p, log_q = logs
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
        ahead = [_stepped(theta, j, STEP) for j in range(theta.size)]
        behind = [_stepped(theta, j, -STEP) for j in range(theta.size)]
        if central:
            steps = self.residuals_of([*ahead, *behind], exact=exact)
            pairs = zip(steps[: theta.size], steps[theta.size :], strict=True)
            return np.stack([(a - b) / (2 * STEP) for a, b in pairs], axis=1)
        here, *steps = self.residuals_of([theta, *ahead], exact=exact)
        for j, step in enumerate(steps):
            steps[j] = (step - here) / STEP
            if np.isnan(steps[j]).any():  # at the edge of the range that is solved
                steps[j] = (here - self.residuals(behind[j], exact=exact)) / STEP
        return np.stack(steps, axis=1)

    def information_root(self, theta: Array, *, exact: bool = True) -> Array:
        """Return A of the legend, shape (n, d): A^T A is the expected (Fisher) information in theta."""
        sides = [_stepped(theta, j, side) for side in (STEP, -STEP) for j in range(theta.size)]
        (log_p, log_q), *steps = self.log_rates_of([theta, *sides], exact=exact)
        columns = []
        for ahead, behind in zip(steps[: theta.size], steps[theta.size :], strict=True):
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
