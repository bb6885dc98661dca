"""Parameters that write counts do not separate: flat directions of the likelihood, and a measurement to resolve them.

The eigenvectors of the Fisher information in theta (parameters.py), whose coordinates are all of one size, are
combinations of parameters that the data determine independently. One along which a parameter has a standard deviation
above UNRESOLVED is not determined to a factor e at 95 %: its parameters are called not separated, and an interval would
only measure the curvature of a valley without ends.
"""

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from mtjsim.calibration.likelihood import STEP, Likelihood, information_root
from mtjsim.calibration.table import UNITS
from mtjsim.checks import DIRECTIONS, Array

UNRESOLVED = 0.5  # standard deviation in theta
WEAKEST = 1e-12  # smallest eigenvalue: standard deviation 1e6, that is undetermined
NAMED = 0.3  # a parameter belongs to a combination if its share is at least this much of the largest one
AMPLITUDES = (0.6, 0.8, 1.0, 1.4)  # of the settings tried as a further measurement, in medians of the table
WIDTHS = (0.25, 0.5, 1.0, 2.0, 4.0)
WARMER = (0.0, 60.0)  # [K], tried where a parameter of the temperature laws is free
TEMPERATURE_LAWS = ("curie_temperature", "anisotropy_exponent")


@dataclass(frozen=True)
class FlatDirection:
    """A combination of parameters that the counts do not determine.

    Attributes
    ----------
    shares : dict of str to float
        Signed share of each parameter of the combination, in theta.
    deviation : float
        Standard deviation along it, in theta.
    remedy : str
        The further measurement that would determine it best, or that there is none.
    """

    shares: dict[str, float]
    deviation: float
    remedy: str

    def __str__(self) -> str:
        names = list(self.shares)
        if len(names) == 1:
            return f"the data do not determine {names[0]}. {self.remedy}"
        listed = f"{', '.join(names[:-1])} and {names[-1]}"
        first = self.shares[names[0]]
        along = ", ".join(f"{n} {'up' if self.shares[n] * first > 0 else 'down'}" for n in names[1:])
        return f"the data do not separate {listed}: {names[0]} up with {along} fits as well. {self.remedy}"


def covariance(information: Array) -> Array:
    """Inverse of the information, shape (d, d), with eigenvalues no smaller than WEAKEST."""
    weights, vectors = np.linalg.eigh(information)
    return (vectors / np.maximum(weights, WEAKEST)) @ vectors.T


def flat_directions(likelihood: Likelihood, theta: Array, information: Array) -> list[FlatDirection]:
    """Find the combinations along which a parameter deviates by more than UNRESOLVED, the flattest first."""
    weights, vectors = np.linalg.eigh(information)
    deviations = 1 / np.sqrt(np.maximum(weights, WEAKEST))
    flat = []
    for deviation, vector in zip(deviations, vectors.T, strict=True):
        largest = np.abs(vector).max()
        if deviation * largest > UNRESOLVED:  # then a parameter of the combination is not determined by itself either
            order = np.argsort(-np.abs(vector))
            names = likelihood.coordinates.names
            shares = {names[j]: float(vector[j]) for j in order if abs(vector[j]) >= NAMED * largest}
            flat.append(FlatDirection(shares, float(deviation), _remedy(likelihood, theta, vector, deviation)))
    return flat


def _remedy(likelihood: Likelihood, theta: Array, vector: Array, deviation: float) -> str:
    """Try settings around the measured ones, and name the one most sensitive to the direction."""
    trials = float(np.median(likelihood.trials))
    tried = _settings(likelihood)
    further = Likelihood(
        likelihood.coordinates, tried, np.full(tried["pulse_width"].shape, trials), 0 * tried["relax_time"]
    )
    try:
        log_p, log_q = further.log_rates(theta, exact=False)
        ahead = further.log_rates(theta + STEP * vector, exact=False)
        behind = further.log_rates(theta - STEP * vector, exact=False)
    except ValueError:
        return "Fix one of them at a value from another measurement."
    d_log_p, d_log_q = ((a - b) / (2 * STEP) for a, b in zip(ahead, behind, strict=True))
    informative = information_root(further.trials, log_p, log_q, d_log_p, d_log_q) ** 2
    best = int(np.argmax(informative))
    left = 1 / np.sqrt(deviation**-2 + informative[best])
    if left > UNRESOLVED:
        return "No single write setting near the measured ones would: fix one at a value from another measurement."
    return (
        f"{trials:.0f} writes {tried['direction'][best]} at {_shown(tried, best)} (error rate about "
        f"{np.exp(log_p[best]):.2g}) would bring this combination to a standard error of {left:.2g} (relative)."
    )


def _settings(likelihood: Likelihood) -> dict[str, Any]:
    pulses = likelihood.pulses
    amplitude = "current" if "current" in pulses else "voltage"
    middle = {name: float(np.median(pulses[name])) for name in UNITS if name in pulses}
    warmer = WARMER if set(TEMPERATURE_LAWS) & set(likelihood.coordinates.names) else (0.0,)
    grid = list(product(AMPLITUDES, WIDTHS, DIRECTIONS, warmer))
    width = np.array([middle["pulse_width"] * w for _, w, _, _ in grid])
    return {
        amplitude: np.array([middle[amplitude] * a for a, _, _, _ in grid]),
        "pulse_width": width,
        "direction": np.array([d for _, _, d, _ in grid]),
        "temperature": np.array([middle["temperature"] + t for _, _, _, t in grid]),
        "rise_time": np.minimum(middle["rise_time"], width),
        "relax_time": np.full(width.shape, middle["relax_time"]),
    }


def _shown(settings: dict[str, Any], row: int) -> str:
    scales = {"current": (1e6, "µA"), "voltage": (1e3, "mV"), "pulse_width": (1e9, "ns"), "temperature": (1.0, "K")}
    return ", ".join(f"{settings[n][row] * s:.3g} {unit}" for n, (s, unit) in scales.items() if n in settings)
