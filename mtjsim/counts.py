"""Counted errors: how many writes failed out of how many, and what that says about the rate."""

from dataclasses import dataclass

from scipy.special import betaincinv

from mtjsim.checks import checked_whole


@dataclass(frozen=True)
class ErrorCount:
    """Errors counted in independent trials.

    Parameters
    ----------
    errors, trials : int
        Counts.
    time_step : float or None
        Of the simulation [s], if it was one.
    mean_energy, energy_error : float or None
        Mean Joule energy of a trial and its standard error [J], if it was asked for.
    confidence : float
        Of the interval, between 0 and 1.

    Raises
    ------
    ValueError
        If the counts are no whole numbers with 0 <= errors <= trials, or the confidence is outside (0, 1).

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
            raise ValueError(f"errors must be between 0 and trials >= 1, got {self.errors} of {self.trials}.")
        if not 0 < self.confidence < 1:
            raise ValueError(f"confidence must be between 0 and 1, got {self.confidence!r}; 0.95 is 95 %.")

    @property
    def rate(self) -> float:
        """Errors over trials; where it is 0 read `high`: no errors is an upper bound, never a rate of 0."""
        return self.errors / self.trials

    @property
    def low(self) -> float:
        """Lower end of the exact (Clopper-Pearson) interval."""
        if self.errors == 0:
            return 0.0
        return float(betaincinv(self.errors, self.trials - self.errors + 1, (1 - self.confidence) / 2))

    @property
    def high(self) -> float:
        """Upper end of the exact (Clopper-Pearson) interval."""
        if self.errors == self.trials:
            return 1.0
        return float(betaincinv(self.errors + 1, self.trials - self.errors, (1 + self.confidence) / 2))
