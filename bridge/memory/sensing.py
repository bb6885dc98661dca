"""Probability that cells that differ, and a noisy sense amplifier, give the wrong bit: exact far into the tail.

The margin m(z) of a read, a current [A] that is negative where the wrong bit is sensed, depends on standard normals z:
the spread of each property, and the noise. With u the direction in which the margin falls fastest to 0, each line
z = y + t u has one crossing t*(y), and the probability is the mean of Q(t*(y)) over y, which varies little with y. That
is line sampling (P. S. Koutsourelakis, H. J. Pradlwarter, G. I. Schueller, Probabilistic Engineering Mechanics 19, 409,
2004; recalled). Nothing is linearised: u decides how smooth the integrand is, not its mean.
"""

from collections.abc import Callable

import numpy as np
from numpy.polynomial.hermite_e import hermegauss
from scipy.special import ndtr

from bridge.cell.circuit import root_of_falling
from bridge.dies.rate_distribution import quasi_normals
from mtjsim.checks import Array
from mtjsim.rng import child

FARTHEST = 38.0  # standard deviations: beyond, the normal law is below 1e-315
NODES = 48  # Gauss-Hermite nodes, where one normal is left
LINES = 1 << 10  # quasi-random lines, where more are left
SENSING = 6  # key of the role "rate_quadrature"
DIRECTION_STEPS, SLOPE = 12, 1e-4  # of the search for u: steps, and the width of a difference quotient


def wrong_sense_rate(margin: Callable[[Array], Array], dimension: int) -> float:
    """Probability that a margin is negative.

    Parameters
    ----------
    margin : function of (n, dimension) normals -> (n,)
        > 0 at 0, and monotonic along the direction in which it falls.
    dimension : int
        Standard normals; none: the rate is 0.

    Returns
    -------
    float
        One or two normals: to rounding. More: 1e-3, by a fixed set of lines.
    """
    if dimension == 0:
        return 0.0
    u = _direction(margin, dimension)
    across = np.linalg.svd(u[None])[2][1:]  # (dimension - 1, dimension), orthonormal, orthogonal to u
    y, weights = _lines(dimension - 1)
    start = y @ across

    def along(t: Array) -> Array:
        return margin(start + t[:, None] * u)

    low, high = np.full((2, len(y)), FARTHEST) * [[-1], [1]]
    crossing = root_of_falling(along, low, high, tolerance=1e-10)
    crossing = np.where(along(low) <= 0, low, np.where(along(high) > 0, high, crossing))
    return float(weights @ ndtr(-crossing))


def _lines(dimension: int) -> tuple[Array, Array]:
    if dimension == 0:
        return np.zeros((1, 0)), np.ones(1)
    if dimension == 1:
        nodes, weights = hermegauss(NODES)
        return nodes[:, None], weights / weights.sum()
    return quasi_normals(dimension, LINES, child(0, "rate_quadrature", SENSING)), np.full(LINES, 1 / LINES)


def _direction(margin: Callable[[Array], Array], dimension: int) -> Array:
    """Return the unit vector towards the nearest z of margin 0 (Hasofer and Lind's iteration), (dimension,)."""
    z, u = np.zeros(dimension), np.ones(dimension)
    for _ in range(DIRECTION_STEPS):
        steps = np.concatenate([np.eye(dimension), -np.eye(dimension)]) * SLOPE
        above, below = margin(z + steps).reshape(2, dimension)
        slope = (above - below) / (2 * SLOPE)
        steepness = float(np.sqrt(slope @ slope))
        if steepness == 0:
            break
        u = -slope / steepness
        z = u * np.clip((float(margin(z[None])[0]) - slope @ z) / steepness, -FARTHEST, FARTHEST)
    return u / np.sqrt(u @ u)
