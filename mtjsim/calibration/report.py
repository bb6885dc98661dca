"""Result of a fit to write counts: the junction, its parameters with intervals, the goodness of fit."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
from scipy.special import chdtri, expit, ndtri

from mtjsim.calibration.curves import FittedCurves, fitted_curves
from mtjsim.calibration.identifiability import WEAKEST, FlatDirection
from mtjsim.calibration.likelihood import Likelihood
from mtjsim.calibration.measurement import WriteCounts
from mtjsim.calibration.parameters import PARAMETERS, Coordinates, values_of
from mtjsim.checks import Array, Suggesting
from mtjsim.device import MTJ
from mtjsim.fokker_planck.reduced import is_axisymmetric
from mtjsim.presets import save_device

POOR_FIT = 0.001  # p-value below which a warning is given
SPARSE = 5.0  # expected counts below which chi-square is a poor law of the deviance
BOOTSTRAP = 4999  # tables drawn from the fitted junction for the p-value
HELD = ("thermal_stability", "critical_current", "characteristic_time", "damping")  # named in a file if not fitted


@dataclass(frozen=True)
class Estimate:
    """One fitted parameter.

    Attributes
    ----------
    value : float
        Maximum-likelihood estimate, SI.
    low, high : float
        Ends of the interval, SI; an end of the parameter's whole range where the counts give none.
    unit : str
        SI, "" for a number.
    resolved : bool
        Whether the counts determine it at all; else the interval is the whole range and the value only one of many.
    """

    value: float
    low: float
    high: float
    unit: str
    resolved: bool


@dataclass(frozen=True)
class Prediction:
    """Write error rates of a fitted junction, each of the broadcast shape of the settings: estimate and interval."""

    rate: Array
    low: Array
    high: Array


@dataclass(frozen=True)
class Goodness:
    """Whether the counts look like those of the fitted junction.

    Attributes
    ----------
    deviance : float
        Twice the log-likelihood below that of a rate of its own for every row.
    degrees_of_freedom : int
        Rows less parameters that the counts determine.
    p_value : float or None
        None without a degree of freedom: as many parameters as rows leave nothing to test. Else the share of BOOTSTRAP
        tables drawn from the fitted junction whose deviance is as large, refitted to first order; at least
        1/(BOOTSTRAP + 1). It takes the fitted junction for the true one and is slightly too severe where many rows are
        sparse: of 300 tables of right models, with fewer than five expected errors or successes in more than half of
        the rows, ten fell below 0.01.
    chi_square_p_value : float or None
        The same from the chi-square law; unreliable where `sparse_rows` is a large part of the table.
    sparse_rows : int
        Rows where fewer than SPARSE errors, or fewer than SPARSE successes, are expected.
    """

    deviance: float
    degrees_of_freedom: int
    p_value: float | None
    chi_square_p_value: float | None
    sparse_rows: int

    @property
    def is_poor(self) -> bool:
        """Whether the fit is rejected; without a degree of freedom, whether the deviance is far from 0."""
        if self.p_value is None:
            return bool(self.deviance > chdtri(1, POOR_FIT))
        return self.p_value < POOR_FIT

    def __str__(self) -> str:
        found = f"deviance {self.deviance:.1f} with {self.degrees_of_freedom} degrees of freedom"
        if self.p_value is None:
            return f"{found}: as many parameters as rows, nothing is left to test"
        return f"{found}, p = {self.p_value:.3g}"


@dataclass(frozen=True)
class Calibration(Suggesting):
    """A junction fitted to write counts.

    Attributes
    ----------
    device : MTJ
        The fitted junction.
    estimates : dict of str to Estimate
        By the names of the free parameters.
    confidence : float
        Nominal coverage of the intervals.
    correlations : (d, d) array
        Of the estimates in theta (parameters.py), in the order of `estimates`.
    log_likelihood : float
        With the binomial coefficients.
    goodness : Goodness
        Of the fit.
    flat : tuple of FlatDirection
        Combinations of parameters that the counts do not determine, and measurements that would.
    warnings : tuple of str
        Texts of the warnings.
    counts : WriteCounts
        The table.
    counts_identity : str
        SHA-256 of the counts.
    rows, evaluations : int
        Rows of the table; how often all of them were computed.
    coordinates, theta, covariance, information
        Free parameters, the optimum (d,), its covariance and the Fisher information (d, d), for `predict`.
    guessed_start : bool
        Whether no junction was given to start from: parameters that are not fitted are then nominal, that is assumed.
    """

    device: MTJ
    estimates: dict[str, Estimate]
    confidence: float
    correlations: Array
    log_likelihood: float
    goodness: Goodness
    flat: tuple[FlatDirection, ...]
    warnings: tuple[str, ...]
    counts: WriteCounts
    counts_identity: str
    rows: int
    evaluations: int
    coordinates: Coordinates
    theta: Array
    covariance: Array
    information: Array
    guessed_start: bool = False

    def __repr__(self) -> str:
        fitted = ", ".join(f"{n}={e.value:.4g} {e.unit}".rstrip() for n, e in self.estimates.items() if e.resolved)
        return f"Calibration({fitted or 'nothing resolved'}; {self.rows} rows, {self.goodness})"

    @cached_property
    def curves(self) -> FittedCurves:
        """Fitted error rates between the measured settings, for `plot_calibration`; computed on first use."""
        slow = not is_axisymmetric(self.device)
        return fitted_curves(self.counts, partial(self._predicted, exact=False), only_measured=slow)

    def predict(self, **pulse: Any) -> Prediction:
        """Write error rate at any setting, with its interval from the counts.

        Parameters
        ----------
        **pulse
            `current`, `pulse_width` and the other arguments of `write_error_rate`.

        Returns
        -------
        Prediction

        Notes
        -----
        The interval is that of the log-odds to first order in theta (delta method), within this model: errors of the
        model are not in it. With parameters that are not resolved it grows towards (0, 1), as it should.
        """
        return self._predicted(**pulse)

    def _predicted(self, *, exact: bool = True, **pulse: Any) -> Prediction:
        """`predict`; without `exact` a success of less than 1e-8 is not resolved, and costs nothing."""
        settings = dict(zip(pulse, np.broadcast_arrays(*(np.asarray(value) for value in pulse.values())), strict=True))
        shape = next(iter(settings.values())).shape
        flat = {name: value.ravel() for name, value in settings.items()}
        nothing = np.zeros(int(np.prod(shape)))
        model = Likelihood(self.coordinates, flat, np.ones_like(nothing), nothing)
        log_p, log_q = model.log_rates(self.theta, exact=exact)
        root = model.information_root(self.theta, exact=exact)  # sqrt(p q) d log-odds, for one trial
        slopes = root / np.exp((log_p + log_q) / 2)[:, None]
        weights, axes = np.linalg.eigh(self.information)  # not the covariance, whose small eigenvalues are rounded away
        variance = ((slopes @ axes) ** 2 / np.maximum(weights, WEAKEST)).sum(axis=1)
        reach = -ndtri((1 - self.confidence) / 2) * np.sqrt(variance)
        low, high = (expit(log_p - log_q - reach), expit(log_p - log_q + reach))
        return Prediction(*(value.reshape(shape) for value in (np.exp(log_p), low, high)))

    def save(self, path: str | os.PathLike[str], *, title: str = "") -> None:
        """Write the junction as a device file whose [provenance] lists the fitted values, the fit and the data."""
        save_device(self.device, path, title=title or "Fitted to write counts", provenance=self.provenance())

    def provenance(self) -> dict[str, str]:
        """For each parameter how it came about, and the data and the goodness of the fit, as text."""
        about = {
            name: f"fitted: {e.value:.6g} {e.unit}".rstrip()
            + f", {self._interval(name, digits=6, label=f'{100 * self.confidence:g} % interval ')}"
            for name, e in self.estimates.items()
        }
        held = values_of(self.device, [n for n in HELD if n not in about])
        how = "assumed" if self.guessed_start else "held"
        about |= {name: f"{how}: {value:.6g} {PARAMETERS[name].unit}".rstrip() for name, value in held.items()}
        about["other_fields"] = (
            "assumed: the nominal values of MTJ.from_effective, as no junction was given to start from"
            if self.guessed_start
            else "as in the junction that the fit started from"
        )
        about["data"] = f"{self.rows} rows of write counts, SHA-256 {self.counts_identity}"
        about["goodness_of_fit"] = str(self.goodness)
        if self.warnings:
            about["warnings"] = " | ".join(self.warnings)
        return about

    def summary(self) -> str:
        """Return a table of the estimates, then goodness of fit, correlations and warnings."""
        lines = [f"{'parameter':26}{'estimate':>13}  {100 * self.confidence:g} % interval"]
        for name, e in self.estimates.items():
            lines.append(f"{name:26}{e.value:13.5g}  {self._interval(name, digits=5)}")
        g = self.goodness
        lines.append(str(g))
        if g.sparse_rows and g.chi_square_p_value is not None:
            lines.append(
                f"  (bootstrap; chi-square would give {g.chi_square_p_value:.3g}, but {g.sparse_rows} of {self.rows} "
                f"rows expect fewer than {SPARSE:g} errors or successes)"
            )
        names = list(self.estimates)
        for i, j in zip(*np.triu_indices(len(names), 1), strict=True):
            if abs(self.correlations[i, j]) > 0.9:
                lines.append(f"correlation of {names[i]} and {names[j]}: {self.correlations[i, j]:+.3f}")
        return "\n".join([*lines, *(f"warning: {text}" for text in self.warnings)])

    def _interval(self, name: str, *, digits: int, label: str = "") -> str:
        """Interval of a parameter in words: with the unit, open where the counts give no end."""
        e, whole = self.estimates[name], self.coordinates.scale(name)
        low, high = (f"{value:.{digits}g} {e.unit}".rstrip() for value in (e.low, e.high))
        if not e.resolved:
            return "not determined by these counts"
        if e.low == whole.lowest:
            return "no end within reach of the search" if e.high == whole.highest else f"{label}below {high}"
        return f"{label}above {low}" if e.high == whole.highest else f"{label}{e.low:.{digits}g} to {high}"

    def as_dict(self) -> dict[str, Any]:
        """Everything as plain numbers and texts, for JSON; an open end of an interval is None."""
        estimates = {
            name: {
                "value": e.value,
                "low": e.low if math.isfinite(e.low) else None,
                "high": e.high if math.isfinite(e.high) else None,
                "unit": e.unit,
                "resolved": e.resolved,
            }
            for name, e in self.estimates.items()
        }
        return {
            "estimates": estimates,
            "confidence": self.confidence,
            "correlations": self.correlations.tolist(),
            "log_likelihood": self.log_likelihood,
            "goodness": vars(self.goodness),
            "not_separated": [{"shares": f.shares, "remedy": f.remedy} for f in self.flat],
            "warnings": list(self.warnings),
            "rows": self.rows,
            "counts_identity": self.counts_identity,
            "device": self.device.model_dump(),
            "device_identity": self.device.identity,
        }
