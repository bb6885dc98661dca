"""A junction from measured write counts: maximum likelihood, intervals, goodness of fit, undetermined combinations.

Sequence: measurement.py the counts, parameters.py the free parameters, likelihood.py the binomial likelihood, search.py
its maximum and profiles, identifiability.py the combinations that the counts do not determine, report.py the result.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import numpy as np
from scipy.special import chdtrc, ndtri

from mtjsim.calibration.first_guess import guesses, typical_device
from mtjsim.calibration.identifiability import UNRESOLVED, FlatDirection, covariance, flat_directions
from mtjsim.calibration.likelihood import Likelihood, deviance_terms
from mtjsim.calibration.measurement import WriteCounts
from mtjsim.calibration.parameters import PARAMETERS, Coordinates, values_of
from mtjsim.calibration.report import BOOTSTRAP, SPARSE, Calibration, Estimate, Goodness
from mtjsim.calibration.search import BetterOptimumError, best_theta, polished, profile_end
from mtjsim.checks import ArgumentError, Array, checked_choice, checked_confidence, checked_kind
from mtjsim.device import MTJ, require_junction
from mtjsim.rng import generator

USUAL = ("thermal_stability", "critical_current", "characteristic_time")
RESTARTS = 3  # times that a profile may find a better optimum
AT_END = 1e-3  # in theta: an estimate this near to an end of the search has not been found inside it


class CalibrationWarning(UserWarning):
    """The counts do not determine every free parameter, or the fit is poor."""


def calibrate(
    counts: WriteCounts,
    *,
    start: MTJ | None = None,
    free: Sequence[str] = USUAL,
    confidence: float = 0.95,
    intervals: str = "profile",
    scan: bool = True,
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
) -> Calibration:
    """Fit a junction to measured write counts by maximum likelihood.

    Parameters
    ----------
    counts : WriteCounts
        The measurement; `read_counts` reads a table.
    start : MTJ, optional
        Gives every parameter that is not free, and a first guess of those that are. Default: guessed from the medians
        of the currents and pulse widths, for tables by current.
    free : sequence of str
        Parameters to fit, of `parameters.PARAMETERS`. `relative_stray_field` is B_z/B_k; `critical_current` is I_c0 at
        lambda = 0; those that depend on temperature hold at the reference temperature of `start`.
    confidence : float
        Nominal coverage of the intervals, 0 < confidence < 1.
    intervals : {"profile", "wald"}
        From the profile likelihood, or from the curvature at the optimum in theta: the second costs nothing further,
        for devices whose solver is slow.
    scan : bool
        Whether to search for better starts around `start` and around a guess from the data. Without it the fit descends
        from `start` alone.
    seed : int
        Of the tables drawn for the p-value.
    progress : callable, optional
        Called with a short text before each computation of the table, which takes seconds to minutes for a device that
        is not axisymmetric.

    Returns
    -------
    Calibration

    Raises
    ------
    ValueError
        If an argument is out of its range, the counts contain no information, or the start cannot be solved.

    Warns
    -----
    CalibrationWarning
        If the counts do not separate parameters (which are named), an estimate lies at the end of the search, or the
        fit is poor.

    Notes
    -----
    Errors of a row are binomial with p = `write_error_rate`: independent writes of one junction. Spread between
    junctions, drift and heating are not in the model; they show up as a poor fit. The optimum of the likelihood is
    found in the coordinates theta of parameters.py. A parameter whose standard deviation there exceeds
    UNRESOLVED gets an open interval. The p-value draws tables from the fitted junction and refits each to first order.

    Examples
    --------
    >>> from mtjsim.calibration.measurement import simulate_counts
    >>> device = MTJ.from_effective(thermal_stability=60, critical_current=30e-6, characteristic_time=2e-9)
    >>> counts = simulate_counts(device, current=75e-6, pulse_width=[3e-9, 5e-9, 7e-9], direction="p_to_ap",
    ...                          trials=10_000, seed=1)
    >>> result = calibrate(counts, start=device, free=["critical_current"], scan=False)
    >>> print(f"{result.estimates['critical_current'].value:.1e}")
    3.0e-05
    """
    report, watch = _reporters(progress)
    checked_choice("intervals", intervals, ("profile", "wald"))
    checked_confidence(confidence)
    checked_kind("counts", counts, WriteCounts, remedy="read_counts(path) reads a table.")
    if start is not None:
        require_junction(start, name="start")
    _require_information(counts)
    coordinates, starts = _starts(counts, start, free, scan)
    likelihood = Likelihood.of(coordinates, counts, watch)
    bounds = _bounds(coordinates, starts)
    theta = best_theta(likelihood, starts, bounds, report)
    z = float(-ndtri((1 - confidence) / 2))
    for _ in range(RESTARTS):
        root = likelihood.information_root(theta)
        spread = covariance(root.T @ root)
        try:
            ends = _ends(likelihood, theta, spread, bounds, z, intervals, report)
            break
        except BetterOptimumError as better:
            theta = polished(likelihood, better.theta, bounds)
    else:
        ends = [(None, None)] * theta.size
    estimates = _estimates(coordinates, theta, ends, spread)
    flat = tuple(flat_directions(likelihood, theta, root.T @ root))
    goodness = _goodness(likelihood, theta, root, seed)
    texts = _warnings(coordinates, theta, bounds, flat, goodness) + _open_ends(coordinates, estimates)
    if texts:
        warnings.warn(" ".join(texts), CalibrationWarning, stacklevel=2)
    deviations = np.sqrt(np.diag(spread))
    return Calibration(
        device=coordinates.device(theta),
        estimates=estimates,
        confidence=confidence,
        correlations=spread / np.outer(deviations, deviations),
        log_likelihood=likelihood.log_likelihood(theta),
        goodness=goodness,
        flat=flat,
        warnings=tuple(texts),
        counts=counts,
        counts_identity=counts.identity,
        rows=counts.rows,
        evaluations=likelihood.evaluations[0],
        coordinates=coordinates,
        theta=theta,
        covariance=spread,
        information=root.T @ root,
        guessed_start=start is None,
    )


def _reporters(progress: Callable[[str], None] | None) -> tuple[Callable[[str], None], Callable[[int], None]]:
    """Return the callbacks for a new stage, and for another computation of the table within it."""
    if progress is None:
        return lambda text: None, lambda number: None
    stage = ["start"]

    def report(text: str) -> None:
        stage[0] = text

    return report, lambda number: progress(f"{stage[0]}, evaluation {number}")


def _require_information(counts: WriteCounts) -> None:
    errors, trials = np.asarray(counts.errors), np.asarray(counts.trials)
    none, all_failed = (errors == 0).all(), (errors == trials).all()
    if none or all_failed:
        which, remedy = ("no", "shorter pulses or lower") if none else ("only", "longer pulses or higher")
        raise ArgumentError("counts", f"have {which} errors in every row. Add settings with {remedy} amplitudes.")


def _starts(counts: WriteCounts, start: MTJ | None, free: Sequence[str], scan: bool) -> tuple[Coordinates, list[Array]]:
    if isinstance(free, str) or not free or len(set(free)) < len(free):
        raise ArgumentError("free", f"must be a sequence of different names of parameters, got {free!r}.")
    by_current = "current" in counts.pulses
    if start is None and not by_current:
        raise ArgumentError("start", "is missing: a table by voltage needs a junction with its resistances.")
    base = start or typical_device(counts.pulses)
    coordinates = Coordinates(base, tuple(free))
    first = coordinates.theta(values_of(base, free))
    if not scan:
        return coordinates, [first]
    given = values_of(base, free)
    found = (
        guesses(counts.pulses, np.asarray(counts.errors, float), np.asarray(counts.trials, float)) if by_current else []
    )
    around = [coordinates.theta({**given, **{n: v for n, v in guess.items() if n in free}}) for guess in found]
    return coordinates, [first, *(around or [first])]


def _bounds(coordinates: Coordinates, starts: list[Array]) -> tuple[Array, Array]:
    """Return the ends of the search from all starts together."""
    ends = [coordinates.bounds(theta) for theta in starts]
    return np.min([low for low, _ in ends], axis=0), np.max([high for _, high in ends], axis=0)


def _open_ends(coordinates: Coordinates, estimates: dict[str, Estimate]) -> list[str]:
    """Name the parameters that the counts bound on one side only, or whose profile could not be followed."""
    texts = []
    for name, e in estimates.items():
        whole = coordinates.scale(name)
        sides = [
            side
            for side, end, limit in (("lower", e.low, whole.lowest), ("upper", e.high, whole.highest))
            if end == limit
        ]
        if e.resolved and sides:
            texts.append(f"the counts give {name} no {' and no '.join(sides)} end within reach of the search.")
    return texts


Ends = list[tuple[float | None, float | None]]


def _ends(
    likelihood: Likelihood,
    theta: Array,
    spread: Array,
    bounds: tuple[Array, Array],
    z: float,
    intervals: str,
    report: Callable[[str], None],
) -> Ends:
    """Return the ends of the interval of every parameter in theta; None where it is open."""
    deviations = np.sqrt(np.diag(spread))
    resolved = [d <= UNRESOLVED for d in deviations]
    if intervals == "wald":
        around = zip(theta, z * deviations, resolved, strict=True)
        return [(t - reach, t + reach) if known else (None, None) for t, reach, known in around]
    slopes = likelihood.slopes(theta)
    ends: Ends = []
    for j, known in enumerate(resolved):
        if not known:
            ends.append((None, None))
            continue
        report(f"interval of {likelihood.coordinates.names[j]}")
        low, high = (profile_end(likelihood, theta, slopes, bounds, j=j, side=side, z=z) for side in (-1, 1))
        ends.append((low, high))
    return ends


def _estimates(coordinates: Coordinates, theta: Array, ends: Ends, spread: Array) -> dict[str, Estimate]:
    found = {}
    for j, name in enumerate(coordinates.names):
        scale = coordinates.scale(name)
        low, high = ends[j]
        found[name] = Estimate(
            value=scale.to_value(float(theta[j])),
            low=scale.lowest if low is None else scale.to_value(low),
            high=scale.highest if high is None else scale.to_value(high),
            unit=PARAMETERS[name].unit,
            resolved=bool(spread[j, j] <= UNRESOLVED**2),
        )
    return found


def _goodness(likelihood: Likelihood, theta: Array, root: Array, seed: int) -> Goodness:
    """Deviance and its p-value by bootstrap; a drawn table is refitted to first order, by projecting its score out."""
    log_p, log_q = likelihood.log_rates(theta)
    n, p, q = likelihood.trials, np.exp(log_p), np.exp(log_q)
    deviance = likelihood.deviance(theta)
    columns, sizes, _ = np.linalg.svd(root, full_matrices=False)
    columns = columns[:, sizes > 1 / UNRESOLVED]  # the combinations that the counts determine
    drawn = generator(seed, "bootstrap").binomial(n.astype(np.int64), np.minimum(p, 1.0), size=(BOOTSTRAP, n.size))
    deviances = 2 * deviance_terms(drawn.astype(float), n, log_p, log_q).sum(axis=1)
    standardised = (drawn - n * p) / np.sqrt(n * p * q)
    refitted = deviances - ((standardised @ columns) ** 2).sum(axis=1)
    freedom = n.size - columns.shape[1]
    return Goodness(
        deviance=deviance,
        degrees_of_freedom=freedom,
        p_value=float((1 + (refitted >= deviance * (1 - 1e-9)).sum()) / (BOOTSTRAP + 1)) if freedom else None,
        chi_square_p_value=float(chdtrc(freedom, deviance)) if freedom else None,
        sparse_rows=int((n * np.minimum(p, q) < SPARSE).sum()),
    )


def _warnings(
    coordinates: Coordinates,
    theta: Array,
    bounds: tuple[Array, Array],
    flat: tuple[FlatDirection, ...],
    goodness: Goodness,
) -> list[str]:
    texts = [str(direction) for direction in flat]
    for j, name in enumerate(coordinates.names):
        if min(theta[j] - bounds[0][j], bounds[1][j] - theta[j]) < AT_END:
            value = coordinates.scale(name).to_value(float(theta[j]))
            texts.append(
                f"{name} ended at {value:.4g}, the end of the search: start nearer to the junction, fix it, or change "
                "the model."
            )
    if goodness.is_poor:
        texts.append(f"the fit is poor ({goodness}): no such junction gives these counts; do not trust the intervals.")
    return texts
