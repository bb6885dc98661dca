"""The write error rate as a smooth function of what spreads: a few dozen solves serve a million cells.

For one write setting the rate of a cell depends on its *coordinates* x only (spread_write.py), the logarithms of a few
reduced numbers relative to the nominal junction. Over a population these are correlated (a wide junction is stabler and
harder to drive), so they are turned to principal axes and scaled to unit standard deviation: w. On a ball abs(w) <= R
the function

    g(x) = ln(-ln(1 - WER))     (= ln WER where that is small; nearly linear, also where WER saturates at 1)

is fitted by a polynomial of bounded total degree (products of Chebyshev polynomials), by least squares at direct
solves. A total degree needs far fewer terms than a tensor product, and a ball needs no solves in corners without
cells. A rectangular pulse enters its solve through its width over tau_D alone, so that one solve serves all values
of tau_D: time is then not an axis of the solves. Where solves are slow, with ramps or an average over cycles, only
the small difference of g to the plain pulse is fitted, on top of the plain pulse's own surface; ramps are then solved
to 1e-4, a twentieth of the tolerance. The degree rises until
the error at direct solves that took no part in the fit is below `TOLERANCE`; that error is kept.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri
from scipy.stats import chi2, qmc

from bridge.dies.spread_write import CellWrite
from bridge.log_log import log_log_of_log, log_rate
from mtjsim.checks import Array
from mtjsim.fokker_planck.spectral import one_blas_thread

DEGREES = (2, 3, 4, 5, 6, 8, 10, 12)
FEWER_TEST_POINTS = 24  # where only the difference to the plain pulse is fitted
TOLERANCE = 2e-3  # of ln WER at the test points; a fifth of what is promised, because they are few
TEST_POINTS = 64  # half of them like cells, half spread over the ball
TIME_NODES = 16  # values of tau_D that share one solve
OUTSIDE = 2e-6  # fraction of cells beyond the ball: they are solved one by one
BLOCK = 4096  # cells at a time: their terms fit a cache
MARGIN = 1.15  # the fitted region ends a little beyond the ball
LARGEST_RADIUS = 10.0
SATURATED = 1e-9  # a switched probability below this is taken to be this
NARROWEST, NARROW = 1e-6, 1e-3  # standard deviations of an axis: below the first it is dropped, below the other widened


class Axes(NamedTuple):
    """Principal axes of the coordinates of a population: w = (x - mean) @ turn, and how many of w belong to a solve.

    Attributes
    ----------
    mean : (7,) array
    turn : (7, d) array
    back : (d, 7) array
        x = mean + w @ back.
    deviations : (d,) array
        Units of w: standard deviations along the axes, but at least `NARROW`, because what a narrow axis holds is
        curvature of the wide ones, and that has long tails.
    solved : int
        Axes that need a solve for each value; the others (time, if solves are shared) come free.
    """

    mean: Array
    turn: Array
    back: Array
    deviations: Array
    solved: int

    @classmethod
    def of(cls, x: Array, *, time_is_free: bool) -> "Axes":
        """Principal axes of a sample (n, 7); directions in which nothing spreads are dropped."""
        mean = x.mean(axis=0)
        count = x.shape[1]
        solve = x[:, : count - 1] - mean[:-1] if time_is_free else x - mean
        variance, vectors = np.linalg.eigh(solve.T @ solve / len(x))
        kept = variance > NARROWEST**2
        deviations, vectors = np.sqrt(variance[kept])[::-1], vectors[:, kept][:, ::-1]
        deviations = np.maximum(deviations, NARROW)
        back = (vectors * deviations).T
        turn = vectors / deviations
        solved = len(deviations)
        if time_is_free:  # time follows the others by regression; what is left over is its own axis
            w = solve @ turn
            slope = w.T @ (x[:, -1] - mean[-1]) / np.maximum((w**2).sum(axis=0), 1e-300)
            rest = x[:, -1] - mean[-1] - w @ slope
            left = float(np.sqrt((rest**2).mean()))
            back = np.column_stack([back, slope])
            turn = np.vstack([turn, np.zeros(solved)])
            if left > NARROWEST:
                left = max(left, NARROW)
                own = np.concatenate([-turn[:-1] @ slope, [1.0]]) / left
                turn = np.column_stack([turn, own])
                back = np.vstack([back, np.concatenate([np.zeros(count - 1), [left]])])
                deviations = np.append(deviations, left)
        return cls(mean, turn, back, deviations, solved)

    @property
    def dimension(self) -> int:
        """Axes in all."""
        return len(self.deviations)


@dataclass(frozen=True, eq=False)
class RateSurface:
    """ln WER over the principal axes of a population, good inside a ball.

    Attributes
    ----------
    write : CellWrite
        That was solved.
    axes : Axes
        Of the population.
    radius : float
        Of the ball, in standard deviations.
    degree : int
        Total degree of the polynomial.
    exponents : (m, d) array of int
        Of its terms.
    coefficients : (m,) array
    worst_error : float
        Largest error of ln WER, that is relative error of the rate, over the test points.
    tests, solves : int
        Test points, and direct solves in all.
    base : RateSurface or None
        Of the plain pulse, if the polynomial is the difference to it.
    """

    write: CellWrite
    axes: Axes
    radius: float
    degree: int
    exponents: NDArray[np.int_]
    coefficients: Array
    worst_error: float
    tests: int
    solves: int
    base: "RateSurface | None" = None

    @classmethod
    def fit(
        cls, write: CellWrite, x: Array, *, radius: float | None = None, tolerance: float = TOLERANCE
    ) -> "RateSurface":
        """Solve and fit.

        Parameters
        ----------
        write : CellWrite
            The write.
        x : (n, 7) array
            Coordinates of a sample of the population; it fixes the axes, and half of the test points are taken from it.
        radius : float, optional
            Of the ball [standard deviations]. Default: beyond it are 2e-6 of the cells.
        tolerance : float
            At which error of ln WER the degree stops to rise; at the last degree it stops in any case.

        Returns
        -------
        RateSurface

        Raises
        ------
        ValueError
            If a write in the ball cannot be solved.
        """
        axes = Axes.of(x, time_is_free=write.shares_solves)
        d = axes.dimension
        if d == 0:
            with one_blas_thread():
                value = _log_hazard(write.log_rates(axes.mean[:-1], axes.mean[-1:]))
            return cls(write, axes, 0.0, 0, np.zeros((1, 0), int), value, 0.0, 0, 1)
        w = (x - axes.mean) @ axes.turn
        if radius is None:
            radius = max(float(chi2.isf(OUTSIDE, d)) ** 0.5, 1.05 * float(np.sqrt((w**2).sum(axis=1).max())))
        radius = min(radius, LARGEST_RADIUS)
        base = None
        if write.plain != write:
            base = cls.fit(write.plain, write.plain.relevant(x), radius=radius, tolerance=tolerance / 2)
        half = (TEST_POINTS if base is None else FEWER_TEST_POINTS) // 2
        like_cells = w[np.sqrt((w**2).sum(axis=1)) <= radius][:half]
        tested = axes.mean + np.concatenate([like_cells, _ball(half, d, radius, skip=1 << 14, power=1.0)]) @ axes.back
        with one_blas_thread():
            expected = np.concatenate([write.coarse.log_rates(cell[:-1], cell[-1:]) for cell in tested])
            best: RateSurface | None = None
            points, values = np.empty((0, d)), np.empty(0)
            solved = 0
            for degree in DEGREES:
                exponents = _exponents(degree, axes.deviations * radius)
                columns = exponents[(exponents[:, axes.solved :] == 0).all(axis=1)]
                needed = max(solved, 2 * len(columns) + 4)
                new_points, new_values = _design(write.coarse, axes, radius, range(solved, needed))
                points, values, solved = np.concatenate([points, new_points]), np.append(values, new_values), needed
                rest = values if base is None else values - base.log_hazards(axes.mean + points @ axes.back)
                coefficients = _least_squares(_basis(points / (MARGIN * radius), exponents), rest, values)
                figures = 0.0, len(tested), solved + len(tested) + (base.solves if base else 0)
                surface = cls(write, axes, radius, degree, exponents, coefficients, *figures, base)
                error = float(np.abs(log_rate(surface.log_hazards(tested)) - expected).max())
                if best is None or error < best.worst_error:
                    best = replace(surface, worst_error=error)
                if error <= tolerance:
                    break
        assert best is not None
        return best

    def whiten(self, x: Array) -> Array:
        """Scaled principal coordinates w of cells; (n, 7) -> (n, d)."""
        return (x - self.axes.mean) @ self.axes.turn

    def inside(self, x: Array) -> NDArray[np.bool_]:
        """Whether cells are in the ball; (n, 7) -> (n,) of bool."""
        w = self.whiten(x)
        return np.einsum("nd,nd->n", w, w) <= self.radius**2

    def __call__(self, x: Array) -> tuple[Array, NDArray[np.bool_]]:
        """Ln WER of each cell, and whether the cell is in the ball; outside, the number is meaningless."""
        return log_rate(self.log_hazards(x)), self.inside(x)

    def log_rates(self, x: Array, count: int | None = None) -> Array:
        """Ln WER of the first `count` cells, (n, 7) -> (count,); cells beyond the ball are solved one by one."""
        value, inside = self(x)
        x, value, inside = x[:count], value[:count], inside[:count]
        if not inside.all():
            value[~inside] = self.write(x[~inside])
        return value

    @cached_property
    def _halves(self) -> tuple[NDArray[np.int_], NDArray[np.int_], Array]:
        """Terms as products of the first and the last axes: two exponent lists and the matrix between them."""
        cut = self.axes.dimension // 2
        first, i = np.unique(self.exponents[:, :cut], axis=0, return_inverse=True)
        last, j = np.unique(self.exponents[:, cut:], axis=0, return_inverse=True)
        between = np.zeros((len(first), len(last)))
        between[i.ravel(), j.ravel()] = self.coefficients
        return first, last, between

    def log_hazards(self, x: Array) -> Array:
        """Return g of cells; (n, 7) -> (n,). Outside the ball it is an unchecked polynomial."""
        first, last, between = self._halves
        w = self.whiten(x)
        cut, g = self.axes.dimension // 2, np.empty(len(w))
        for start in range(0, len(w), BLOCK):
            u = w[start : start + BLOCK] / (MARGIN * max(self.radius, 1.0))
            left, right = _basis(u[:, :cut], first), _basis(u[:, cut:], last)
            g[start : start + BLOCK] = np.einsum("an,an->n", between.T @ left, right)
        return g if self.base is None else g + self.base.log_hazards(x)


def _log_hazard(log_rates: Array) -> Array:
    """Return g of ln WER."""
    return log_log_of_log(log_rates, least_switched=SATURATED)


def _exponents(degree: int, widths: Array) -> NDArray[np.int_]:
    """Exponents of all terms whose weighted total degree is at most `degree`; a narrow axis costs more a power."""
    cost = np.clip(1 + np.log10(0.1 / widths), 1.0, degree)
    terms = [k for k in product(*(range(int(degree / c) + 1) for c in cost)) if np.dot(k, cost) <= degree + 1e-9]
    return np.array(terms, dtype=int).reshape(-1, len(widths))


def _basis(u: Array, exponents: NDArray[np.int_]) -> Array:
    """Products of Chebyshev polynomials; (n, d) in [-1, 1] -> (terms, n)."""
    out = np.ones((len(exponents), len(u)))
    for axis in range(u.shape[1]):
        v = u[:, axis]
        powers = np.empty((int(exponents[:, axis].max()) + 1, len(u)))
        powers[0] = 1.0
        if len(powers) > 1:
            powers[1] = v
        for k in range(2, len(powers)):
            powers[k] = 2 * v * powers[k - 1] - powers[k - 2]
        out *= powers[exponents[:, axis]]
    return out


def _ball(count: int, dimension: int, radius: float, *, skip: int, power: float = 0.0) -> Array:
    """Points of a low-discrepancy sequence in a ball, denser near its surface if `power` is 0; (count, dimension)."""
    if dimension == 0:
        return np.zeros((count, 0))
    sequence = qmc.Halton(dimension + 1, scramble=True, rng=20240229)
    sequence.fast_forward(skip)
    q = sequence.random(count)
    direction = ndtri(np.clip(q[:, :-1], 1e-12, 1 - 1e-12))
    direction /= np.sqrt((direction**2).sum(axis=1, keepdims=True))
    r = q[:, -1:] ** (1 / dimension)
    return direction * radius * (r if power else np.sin(np.pi / 2 * r))


def _design(write: CellWrite, axes: Axes, radius: float, numbers: range) -> tuple[Array, Array]:
    """Points in the ball and g there, of the solves with these numbers; (k, d), (k,)."""
    if not len(numbers):
        return np.empty((0, axes.dimension)), np.empty(0)
    solves = _ball(len(numbers), axes.solved, radius, skip=numbers.start)
    free = axes.dimension - axes.solved
    nodes = radius * np.cos(np.pi * (np.arange(TIME_NODES) + 0.5) / TIME_NODES) if free else np.zeros(1)
    points, values = [], []
    for solve in solves:
        w = np.column_stack([np.tile(solve, (len(nodes), 1)), nodes]) if free else solve[None]
        w = w[np.sqrt((w**2).sum(axis=1)) < MARGIN * radius]
        x = axes.mean + w @ axes.back
        values.append(_log_hazard(write.log_rates(x[0, :-1], x[:, -1])))
        points.append(w)
    return np.concatenate(points), np.concatenate(values)


def _least_squares(basis: Array, rest: Array, g: Array) -> Array:
    """Fit `rest`, weighted as its errors are errors of ln WER: cells whose WER is 1 whatever g weigh little."""
    hazard = np.exp(np.clip(g, -30, 5))
    weight = hazard * np.exp(-hazard) / -np.expm1(-hazard) + 1e-6  # d ln WER / dg
    return np.asarray(np.linalg.lstsq((basis * weight).T, rest * weight, rcond=1e-13)[0], dtype=np.float64)
