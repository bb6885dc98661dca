"""Distribution of the error rates of a population: mean with an error estimate, quantiles, distance to a log-normal.

The mean of a broad distribution belongs to its tail: where ln WER has a standard deviation s, the cells that decide the
mean lie s standard deviations out. `mean_rate` therefore samples half of its points there (importance sampling by
quasi-Monte-Carlo; the shift is found by the cross-entropy method).

References
----------
H. Imamura and H. Arai, arXiv:2209.13828: over normal spreads the WER is log-normal. R. Y. Rubinstein and D. P. Kroese,
The Cross-Entropy Method, Springer (2004). A. B. Owen and Y. Zhou, J. Am. Stat. Assoc. 95, 135 (2000), for the mixture.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, ndtri
from scipy.stats import qmc
from scipy.stats import t as student_t

from bridge.dies.rate_surface import RateSurface
from mtjsim.checks import ArgumentError, Array, checked_array, checked_whole
from mtjsim.rng import child, generator

REPLICATES = 16
REPLICATE, SHIFT, WIDE, BEYOND, SURFACE, DISTRIBUTION = range(6)  # keys of the role "rate_quadrature"
COVERAGE = 0.999  # of the error estimate's sampling part
NEGLECTED = 1e-4  # of the mean: cells beyond the surface that together cannot matter more are not solved
MOST_SOLVED = 256  # cells beyond the surface that are solved; more are sampled


@dataclass(frozen=True)
class MeanRate:
    """Mean error rate of a population.

    Attributes
    ----------
    rate : float
        The mean.
    error : float
        Bound on its error that holds in 999 of 1000 cases: sampling (Student's t over the replicates), plus the
        measured error of the surface.
    points : int
        Cells evaluated.
    shift : float
        Distance of the cells that decide the mean, in standard deviations.
    """

    rate: float
    error: float
    points: int
    shift: float


def mean_rate(
    surface: RateSurface, coordinates: Callable[[Array], Array], dimension: int, *, points: int, seed: int
) -> MeanRate:
    """Mean of exp(ln WER) over standard normals.

    Parameters
    ----------
    surface : RateSurface
        Of ln WER.
    coordinates : function of (n, p) normals -> (n, 7)
    dimension : int
        p.
    points : int
        Of each sequence, a power of two.
    seed : int
        Of the scrambling.

    Returns
    -------
    MeanRate
    """
    if dimension == 0:
        rate = float(np.exp(surface.log_rates(coordinates(np.zeros((1, 0)))))[0])
        return MeanRate(rate, surface.worst_error * rate, 1, 0.0)
    shift = _shift(surface, coordinates, quasi_normals(dimension, 1 << 12, child(seed, "rate_quadrature", SHIFT)))
    wide = float(np.sqrt(shift @ shift)) + 4.0
    if wide > surface.radius and surface.axes.dimension:
        sample = coordinates(quasi_normals(dimension, 1 << 13, child(seed, "rate_quadrature", WIDE)))
        surface = RateSurface.fit(surface.write, sample, radius=max(wide, surface.radius))
    means = np.empty(REPLICATES)
    beyond_z, beyond_weight = [], []
    for k in range(REPLICATES):
        u = quasi_normals(2 * dimension, points, child(seed, "rate_quadrature", REPLICATE, k))
        z = np.concatenate([u[:, :dimension], u[:, dimension:] + shift])
        # density of the normal over that of the mixture of both halves, over their number
        weight = 2 / (1 + np.exp(np.clip(z @ shift - shift @ shift / 2, -700, 700))) / (2 * points)
        log_rate, inside = surface(coordinates(z))
        means[k] = weight[inside] @ np.exp(log_rate[inside])
        beyond_z.append(z[~inside])
        beyond_weight.append(weight[~inside] / REPLICATES)
    rate = float(means.mean())
    sampling = float(student_t.isf((1 - COVERAGE) / 2, REPLICATES - 1) * means.std(ddof=1) / np.sqrt(REPLICATES))
    rate_beyond, error_beyond = _beyond(
        surface, coordinates, np.concatenate(beyond_z), np.concatenate(beyond_weight), rate, seed
    )
    error = sampling + error_beyond + surface.worst_error * rate
    return MeanRate(rate + rate_beyond, error, 2 * points * REPLICATES, float(np.sqrt(shift @ shift)))


def _shift(surface: RateSurface, coordinates: Callable[[Array], Array], z: Array) -> Array:
    """Mean of the cells weighted by their rates, (p,), by three rounds of cross-entropy."""
    shift = np.zeros(z.shape[1])
    for _ in range(3):
        moved = z + shift
        log_rate, inside = surface(coordinates(moved))
        log_weight = np.where(inside, log_rate - moved @ shift + shift @ shift / 2, -np.inf)
        if not inside.any():
            break
        weight = np.exp(log_weight - log_weight.max())
        shift = weight @ moved / weight.sum()
    return shift


def _beyond(
    surface: RateSurface,
    coordinates: Callable[[Array], Array],
    z: Array,
    weight: Array,
    rate: float,
    seed: int,
) -> tuple[float, float]:
    """Share of the mean, and its error, of points beyond the surface: solved one by one, the light ones left out."""
    if not len(z):
        return 0.0, 0.0
    order = np.argsort(weight)
    light = np.cumsum(weight[order]) < NEGLECTED * rate
    neglected = float(weight[order][light].sum())  # times a rate of at most 1
    z, weight = z[order][~light], weight[order][~light]
    if not len(z):
        return 0.0, neglected
    total = float(weight.sum())
    chosen: NDArray[np.int_] = np.arange(len(z))
    if len(z) > MOST_SOLVED:  # in proportion to their weights
        chosen = generator(seed, "rate_quadrature", BEYOND).choice(len(z), MOST_SOLVED, p=weight / total)
        weight = np.full(MOST_SOLVED, total / MOST_SOLVED)
    rates = np.exp(surface.write(coordinates(z[chosen])))
    error = 3.3 * np.sqrt(len(z) > MOST_SOLVED) * rates.std() * total / np.sqrt(len(rates))
    return float(weight @ rates), neglected + float(error)


def quasi_normals(dimension: int, count: int, stream: np.random.SeedSequence) -> Array:
    """Draw standard normals from a scrambled Sobol sequence, (count, dimension); `count` a power of two."""
    if checked_whole("the number of points or cells", count, least=1).bit_count() > 1:
        raise ArgumentError("the number of points or cells", f"must be a power of two, got {count}: Sobol needs it.")
    if dimension == 0:
        return np.zeros((count, 0))
    sequence = qmc.Sobol(dimension, scramble=True, rng=np.random.default_rng(stream))
    return ndtri(np.clip(sequence.random(count), 1e-16, 1 - 1e-16))


@dataclass(frozen=True, eq=False)
class RateDistribution:
    """The error rates of many cells, and the log-normal next to them.

    Attributes
    ----------
    log_rates : (n,) array
        ln WER of the cells, ascending.
    mean_log, sd_log : float
        Mean and standard deviation of ln WER: the parameters of the log-normal.
    skewness : float
        Of ln WER; 0 for a log-normal.
    distance : float
        Largest difference between the distribution functions of the cells and of the log-normal (Kolmogorov).

    Notes
    -----
    Where the log-normal comes from: well above threshold ln WER is -2 (i - 1) t / tau_D plus slow terms, and
    (i - 1)/tau_D is linear in alpha B_k and in the current over the moment, so normal spreads make it normal (Imamura
    and Arai). The rest is curvature, and the log-normal fails (a) in the mean, which belongs to the tail: at Delta 60,
    i = 2.5 and a spread of 3 % in diameter, 3 % in B_k and 5 % in damping the skewness is -0.28 and the distance 0.02,
    yet `log_normal_mean` is 6 % above the cells' mean at an sd of ln WER of 1.2, 1.8 times at 2.6, and meaningless
    where it nears 1; (b) where cells reach a rate of order one, which bounds ln WER from above (skewness -0.9 at a mean
    rate of 0.5); (c) near threshold, where i - 1 is at most its spread (-0.8 at i = 1.3 with 5 % in diameter).
    """

    log_rates: Array
    mean_log: float
    sd_log: float
    skewness: float
    distance: float

    @classmethod
    def of(cls, log_rates: ArrayLike) -> "RateDistribution":
        """Fit; ValueError unless there are at least two finite numbers."""
        y = np.sort(np.asarray(log_rates, dtype=float).ravel())
        if y.size < 2 or not np.isfinite(y).all():
            raise ArgumentError("log_rates", f"must be at least two finite numbers, got {y.size}.")
        mean, sd = float(y.mean()), float(y.std())
        if sd < 1e-12 * max(1.0, abs(mean)):  # no spread: a step, which the narrowest log-normal is
            return cls(y, mean, 0.0, 0.0, 0.0)
        z = (y - mean) / sd
        F, n = ndtr(z), len(y)
        distance = max(float((np.arange(1, n + 1) / n - F).max()), float((F - np.arange(n) / n).max()))
        return cls(y, mean, sd, float((z**3).mean()), distance)

    @property
    def log_normal_mean(self) -> float:
        """Mean rate that the log-normal predicts, exp(mean + sd^2/2); may exceed 1."""
        return float(np.exp(self.mean_log + self.sd_log**2 / 2))

    @property
    def median(self) -> float:
        """Rate of the middle cell."""
        return float(self.quantile(0.5))

    def quantile(self, q: ArrayLike) -> Array:
        """Rate that a fraction q of the cells does not exceed; shape of q."""
        at = checked_array("q", q, "", zero_allowed=True)
        if (at > 1).any():
            raise ArgumentError("q", f"must be between 0 and 1, got {at.max():g}; 0.99 is 99 %.")
        return np.exp(np.quantile(self.log_rates, at))

    def log_normal_quantile(self, q: ArrayLike) -> Array:
        """Return the same of the fitted log-normal."""
        return np.exp(self.mean_log + self.sd_log * ndtri(np.asarray(q, dtype=float)))

    def histogram(self, bins: int = 60) -> tuple[Array, Array]:
        """Edges in rate (bins + 1,), equal in their logarithm, and the density a decade (bins,)."""
        density, edges = np.histogram(self.log_rates, bins=checked_whole("bins", bins, least=1), density=True)
        return np.exp(edges), density * np.log(10)
