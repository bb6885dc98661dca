"""Counted errors and the exact binomial interval of their rate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import betaincinv

from mtjsim.checks import ArgumentError, checked_confidence, checked_whole
from mtjsim.equality import NanEqual


def clopper_pearson(errors: ArrayLike, trials: ArrayLike, *, confidence: float = 0.95) -> tuple[Any, Any]:
    """Exact binomial interval of a rate, from counts.

    Parameters
    ----------
    errors, trials : int or array of int
        Counts, 0 <= errors <= trials; arrays broadcast.
    confidence : float
        Of the interval, between 0 and 1.

    Returns
    -------
    low, high : float or array
        Ends of the interval, of the broadcast shape; NaN where there were no trials.

    Raises
    ------
    ArgumentError
        If the confidence is outside (0, 1), or there are more errors than trials or fewer than none.

    References
    ----------
    C. J. Clopper, E. S. Pearson, Biometrika 26, 404 (1934).

    Examples
    --------
    >>> low, high = clopper_pearson([0, 3], 1000)
    >>> low.round(5).tolist(), high.round(5).tolist()
    ([0.0, 0.00062], [0.00368, 0.00874])
    """
    level = checked_confidence(confidence)
    k, n = np.broadcast_arrays(np.asarray(errors, dtype=float), np.asarray(trials, dtype=float))
    if ((k < 0) | (k > n)).any():
        raise ArgumentError("errors", "must be between 0 and trials.")
    low = np.where(k == 0, 0.0, betaincinv(np.maximum(k, 1), n - k + 1, (1 - level) / 2))
    high = np.where(k == n, 1.0, betaincinv(k + 1, np.maximum(n - k, 1), (1 + level) / 2))
    low, high = np.where(n > 0, (low, high), np.nan)
    return (low, high) if k.ndim else (float(low), float(high))


@dataclass(frozen=True, eq=False)
class ErrorCount(NanEqual):
    """Errors counted in independent trials.

    Parameters
    ----------
    errors, trials : int
        Counts.
    time_step : float or None
        Of the simulation [s], if it was one.
    mean_energy, energy_error : float or None
        Mean Joule energy of a trial and its standard error [J], if it was computed.
    confidence : float
        Of the interval, between 0 and 1.

    Raises
    ------
    ArgumentError
        If the counts are not whole numbers with 0 <= errors <= trials, or the confidence is outside (0, 1).

    Examples
    --------
    >>> none = ErrorCount(errors=0, trials=1000)
    >>> none.rate, none.low, round(none.high, 5)
    (0.0, 0.0, 0.00368)
    """

    errors: int
    trials: int
    time_step: float | None = None
    mean_energy: float | None = None
    energy_error: float | None = None
    confidence: float = 0.95

    def __post_init__(self) -> None:
        checked_whole("errors", self.errors, least=0)
        checked_whole("trials", self.trials, least=1)
        if self.errors > self.trials:
            raise ArgumentError("errors", f"must be between 0 and trials >= 1, got {self.errors} of {self.trials}.")
        checked_confidence(self.confidence)

    @property
    def rate(self) -> float:
        """Errors over trials; where it is 0 read `high`: no errors is an upper bound, never a rate of 0."""
        return self.errors / self.trials

    @property
    def low(self) -> float:
        """Lower end of the exact (Clopper-Pearson) interval."""
        return self._interval[0]

    @property
    def high(self) -> float:
        """Upper end of the exact (Clopper-Pearson) interval."""
        return self._interval[1]

    @property
    def _interval(self) -> tuple[float, float]:
        return clopper_pearson(self.errors, self.trials, confidence=self.confidence)
