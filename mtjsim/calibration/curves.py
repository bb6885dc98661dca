"""Error rates of a fitted junction between the measured settings, with their intervals: the curves of a figure."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator
from scipy.special import expit, logit

from mtjsim.calibration.measurement import WriteCounts
from mtjsim.checks import DIRECTIONS, Array

NODES = 25  # amplitudes that are solved; the log-odds are interpolated between them
POINTS = 101  # of a curve
MARGIN = 0.05  # of the measured range, beyond which a curve does not go


@dataclass(frozen=True)
class FittedCurve:
    """The rows of a table that differ in one quantity, and the fitted error rate against it.

    Attributes
    ----------
    settings : dict
        What the rows have in common: the direction, and the other quantities in SI.
    rows : (k,) array of int
        Rows of the table.
    x : (n,) array
        The quantity that varies [A], [V] or [s].
    rate, low, high : (n,) arrays
        Fitted error rate and its interval.
    """

    settings: dict[str, Any]
    rows: NDArray[np.intp]
    x: Array
    rate: Array
    low: Array
    high: Array


@dataclass(frozen=True)
class FittedCurves:
    """All rows of a table as curves against `axis`, "current", "voltage" or "pulse_width"; `varied` distinguishes them.

    `varied` has the names of the settings in which the curves differ.
    """

    axis: str
    curves: tuple[FittedCurve, ...]
    varied: tuple[str, ...]


def fitted_curves(counts: WriteCounts, predict: Callable[..., Any], *, only_measured: bool) -> FittedCurves:
    """Compute the curves through a table, against the quantity that has more different values.

    Parameters
    ----------
    counts : WriteCounts
        The table.
    predict : callable
        `Calibration.predict`, or a faster one.
    only_measured : bool
        Whether to solve the measured settings only, for devices whose solver is slow.
    """
    pulses = counts.pulses
    amplitude = "current" if counts.current is not None else "voltage"
    several = {name: len(set(pulses[name].tolist())) for name in (amplitude, "pulse_width")}
    axis = max(several, key=lambda name: several[name])
    others = [name for name in pulses if name != axis]
    groups: dict[tuple, list[int]] = {}
    for row, key in enumerate(zip(*(pulses[name].tolist() for name in others), strict=True)):
        groups.setdefault(key, []).append(row)
    written = others.index("direction")
    keys = sorted(groups, key=lambda key: (key[:written], DIRECTIONS.index(key[written]), key[written + 1 :]))
    grid = _grid(pulses[axis], logarithmic=axis == "pulse_width")
    if axis == "pulse_width" and "rise_time" in pulses:
        grid = np.maximum(grid, pulses["rise_time"].max())
    xs = [np.unique(pulses[axis][groups[key]]) if only_measured else grid for key in keys]
    together = {axis: np.concatenate(xs)}
    for k, name in enumerate(others):
        together[name] = np.concatenate([np.full(x.shape, key[k]) for x, key in zip(xs, keys, strict=True)])
    found = predict(**together)
    curves, at = [], 0
    for key, x in zip(keys, xs, strict=True):
        part = slice(at, at + x.size)
        at += x.size
        log_odds = [logit(np.clip(value[part], 1e-300, 1 - 1e-16)) for value in (found.rate, found.low, found.high)]
        fine = x
        if axis == amplitude and x.size > 2 and not only_measured:
            fine = np.linspace(x[0], x[-1], POINTS)
            log_odds = [PchipInterpolator(x, value)(fine) for value in log_odds]
        settings = dict(zip(others, key, strict=True))
        curves.append(FittedCurve(settings, np.array(groups[key]), fine, *(expit(value) for value in log_odds)))
    varied = tuple(n for n in others if n != "direction" and len({curve.settings[n] for curve in curves}) > 1)
    return FittedCurves(axis, tuple(curves), varied)


def _grid(measured: Array, *, logarithmic: bool) -> Array:
    """Places over the measured range and a little beyond."""
    low, high = float(measured.min()), float(measured.max())
    if logarithmic:
        beyond = (high / low) ** MARGIN if high > low else 1.2
        return np.geomspace(low / beyond, high * beyond, POINTS)
    beyond = MARGIN * (high - low) if high > low else MARGIN * high
    return np.linspace(max(low - beyond, 0.0), high + beyond, NODES)
