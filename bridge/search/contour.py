"""The weakest amplitudes of a bit over the pulse widths, from few solves: each gives the rates at many widths.

On the contour WER(amplitude, width) = target the amplitude and the energy of a write are smooth functions of the log
of the width. A point of it costs one solve: the amplitude is guessed from the points before, and the width is where its
rates cross the target. The optimum over the widths is that of a cubic spline, with more points near it.
"""

import math
from bisect import insort
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from scipy.interpolate import CubicSpline, PchipInterpolator
from scipy.optimize import minimize_scalar

from bridge.search.reach import COARSE_TOLERANCE, Reach, crossing, weakest_amplitude
from mtjsim.checks import Array

WALK = math.log(2.0)  # between widths, from the longest down, until the cost rises
SPAN = math.log(2.5)  # around a guess, within which a crossing is looked for
WIDTHS = 25  # of one solve
NEIGHBOURS = 0.15  # in log width: points at both sides of the optimum
SAME = 1e-3  # relative, in width and amplitude: of two points that are one
NEAR = 0.01  # relative, in width and amplitude: of a point at the optimum
MOST_ROUNDS = 6  # of points near the optimum
FINE = 2001  # interpolated points of a contour
FIRST_STEP, CAUTION = 0.1, 0.5  # of the amplitude, relative; and a part of what theory gives


class Point(NamedTuple):
    """Log of the width [s], amplitude [A or V], mean energy [J]."""

    log_width: float
    amplitude: float
    energy: float


@dataclass
class Contour:
    """Points at which a bit meets its target, in the order of their widths.

    Parameters
    ----------
    reach : Reach
        Rates, energies and ceilings.
    bit : int
    target : float
        Error rate.
    with_driver : bool
        Whether the energy is that of junction, transistor and driver.
    """

    reach: Reach
    bit: int
    target: float
    with_driver: bool
    points: list[Point] = field(default_factory=list)

    def add(self, log_width: float, *, exactly: bool = False) -> None:
        """Add a point at about a width, or exactly there, which takes more solves.

        Raises
        ------
        ValueError
            If the ceiling does not reach the target at the width.
        """
        if exactly and self.points:  # a point nearby makes a guess from which a secant needs three solves
            self.add(log_width)
        amplitude, at = self._guess(log_width), None
        if amplitude is not None and not exactly:
            at = self._crossing(amplitude, log_width)
        if amplitude is None or at is None:
            at = log_width
            amplitude = weakest_amplitude(
                self.reach, self.bit, self.target, math.exp(at), near=amplitude, tolerance=COARSE_TOLERANCE
            )
        if not any(self._same(point, at, amplitude, SAME) for point in self.points):
            energy = self.reach.energy(self.bit, amplitude, math.exp(at), with_driver=self.with_driver)
            insort(self.points, Point(at, amplitude, energy))

    @property
    def ends(self) -> tuple[float, float]:
        """Log of the shortest and of the longest width."""
        return self.points[0].log_width, self.points[-1].log_width

    def amplitude(self, log_width: float) -> float:
        """Interpolate the weakest amplitude [A or V]."""
        at, amplitudes, _ = self._curve()
        return float(np.interp(log_width, at, amplitudes))

    def energy(self, log_width: Array) -> Array:
        """Interpolate the energy [J]; shape of `log_width`."""
        at, _, energies = self._curve()
        return np.interp(log_width, at, energies)

    def has(self, log_width: float, near: float) -> bool:
        """Whether a point is near a width and its amplitude, both relative."""
        amplitude = self.amplitude(log_width)
        return any(self._same(point, log_width, amplitude, near) for point in self.points)

    @staticmethod
    def _same(point: Point, log_width: float, amplitude: float, near: float) -> bool:
        return abs(point.log_width - log_width) < near and abs(point.amplitude - amplitude) <= near * amplitude

    def lacks(self, log_width: float) -> bool:
        """Whether a width between the ends has no point in its neighbourhood."""
        inside = self.ends[0] < log_width < self.ends[1]
        return inside and min(abs(p.log_width - log_width) for p in self.points) > NEIGHBOURS / 2

    def _curve(self) -> tuple[Array, Array, Array]:
        """Columns of many interpolated points, by width.

        Both others are splines of the amplitude: near the strongest current that a circuit passes the width hardly
        depends on it. Where no amplitude is needed, monotone functions of the log of the width.
        """
        at, amplitudes, energies = np.array(self.points).T
        if at.size == 1:
            return at, amplitudes, energies
        if (np.diff(amplitudes) >= 0).any():
            fine = np.linspace(at[0], at[-1], FINE)
            return fine, PchipInterpolator(at, amplitudes)(fine), PchipInterpolator(at, energies)(fine)
        fine = np.linspace(amplitudes[0], amplitudes[-1], FINE)
        up = amplitudes[::-1]
        widths = CubicSpline(up, at[::-1])(fine)
        if (np.diff(widths) <= 0).any():
            widths = PchipInterpolator(up, at[::-1])(fine)
        return widths, fine, CubicSpline(up, energies[::-1])(fine)

    def _guess(self, log_width: float) -> float | None:
        """Amplitude of a width; None without a point, or where no amplitude is needed."""
        if not self.points or min(point.amplitude for point in self.points) <= 0:
            return None
        low, high = self.ends
        if low <= log_width <= high:
            guess = self.amplitude(log_width)
        else:
            end, *others = self.points if log_width < low else self.points[::-1]
            step = end.log_width - log_width
            excess = max(end.amplitude - self.reach.critical(self.bit), FIRST_STEP * end.amplitude)
            guess = end.amplitude + CAUTION * excess * math.expm1(step)  # (amplitude - critical) * width hardly changes
            if others:  # too small a step where the amplitude rises faster and faster: a point is found all the same
                slope = math.log(end.amplitude / others[0].amplitude) / (end.log_width - others[0].log_width)
                guess = end.amplitude * math.exp(-slope * step)
        return min(max(guess, 0.5 * self.points[-1].amplitude), self.reach.ceiling(self.bit).amplitude)

    def _crossing(self, amplitude: float, log_width: float) -> float | None:
        """Log of the width, near a given one, at which the rates of an amplitude cross the target; None: not there."""
        least = math.log(max(self.reach.rise_time, 1e-300)) + 1e-12
        at = np.unique(np.maximum(log_width + SPAN * np.linspace(-1, 1, WIDTHS), least))
        try:
            rates = self.reach.rates(self.bit, amplitude, np.exp(at), coarse=True)
        except ValueError:  # a rate that is too small for the solver is among them
            return None
        reached = np.flatnonzero(rates <= self.target)
        return crossing(at, rates, self.target) if reached.size and reached[0] else None


def cheapest_width(contours: tuple[Contour, Contour], low: float, high: float) -> float | None:
    """Width [s] in a range at which two writes cost least together; None if not even the longest meets the targets."""
    bounds = math.log(low), math.log(high)
    for at in np.arange(bounds[1], bounds[0] - 1e-9, -WALK):  # no solver may take the longest ones
        if all(_added(contour, float(at), exactly=True) for contour in contours):
            break
    if not all(contour.points for contour in contours):
        return None
    for _ in range(MOST_ROUNDS):
        _walk(contours, bounds)
        best = _minimum(contours, bounds)
        missing = [(c, best) for c in contours if not c.has(best, NEAR)]
        missing += [(c, best + side) for side in (-NEIGHBOURS, NEIGHBOURS) for c in contours if c.lacks(best + side)]
        if not missing:
            break
        if not any([_added(contour, at) for contour, at in missing]):
            break
    return math.exp(_minimum(contours, bounds))


def _added(contour: Contour, log_width: float, *, exactly: bool = False) -> bool:
    """Whether a point was added: the target is reached there by an amplitude that is solved."""
    try:
        contour.add(log_width, exactly=exactly)
    except ValueError:
        return False
    return True


def _walk(contours: tuple[Contour, Contour], bounds: tuple[float, float]) -> None:
    """Add points at shorter and shorter widths, until the cost rises or the ceiling of an amplitude is too low."""
    while (shortest := _common(contours, bounds)[0]) > bounds[0] and _minimum(contours, bounds) < shortest + NEAR:
        at = max(bounds[0], shortest - WALK)
        if not all(_added(c, at, exactly=at == bounds[0]) for c in contours if c.ends[0] > at):
            return
        if _common(contours, bounds)[0] >= shortest:  # at the ceiling of an amplitude
            return


def _common(contours: tuple[Contour, Contour], bounds: tuple[float, float]) -> tuple[float, float]:
    """Range of log widths in which both contours have points."""
    return max(bounds[0], *(c.ends[0] for c in contours)), min(bounds[1], *(c.ends[1] for c in contours))


def _minimum(contours: tuple[Contour, Contour], bounds: tuple[float, float]) -> float:
    """Log of the width at which the interpolated energies are least."""
    shortest, longest = _common(contours, bounds)

    def cost(log_width: Array) -> Array:
        return np.asarray(contours[0].energy(log_width) + contours[1].energy(log_width))

    at = np.linspace(shortest, longest, 201)
    k = int(np.argmin(cost(at)))
    if k in (0, 200) or cost(at[k]) <= 0:
        return float(at[k])
    scale, bracket = float(cost(at[k])), (float(at[k - 1]), float(at[k + 1]))
    found = minimize_scalar(lambda x: float(cost(x)) / scale, bounds=bracket, method="bounded")
    return float(found.x)
