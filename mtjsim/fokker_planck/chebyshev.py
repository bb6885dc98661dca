"""exp(A t) c for a large sparse A by Chebyshev polynomials, with every moment on the way: one solve, all times.

Legend
    A = A_0 + level A_1   generator; its rows and columns are ordered in blocks (harmonics.py)
    box                   [low, high] x i [-b, b], which contains the field of values of A: from its symmetric and its
                          antisymmetric part
    s, f                  centre of the box; half the distance of the foci of the ellipse through the box's corners
    phi_k                 phi_0 = c, phi_1 = B c, phi_{k+1} = 2 B phi_k - kind phi_{k-1}, with B = (A - s)/f

    exp(A t) c = e^{s t} sum_k (2 - [k = 0]) C_k(f t) phi_k,

C_k the Bessel function I_k and kind = 1 for foci on the real axis, J_k and kind = -1 for foci on the imaginary axis
(where the phi_k are i^k T_k(-i B) c and stay real). The number of terms is that of the ellipse: about f t when A is
nearly antisymmetric, as precession is. The coefficients depend on t alone, so a functional row of exp(A t) c at every t
of a step follows from the moments row . phi_k.

The products are by diagonals of blocks: contiguous, so that they vectorise.

References
----------
H. Tal-Ezer, R. Kosloff, J. Chem. Phys. 81, 3967 (1984). L. N. Trefethen, Approximation Theory and Approximation
Practice (2013), chapter 8, for the ellipses.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.linalg import LinearOperator, eigsh
from scipy.special import ive, jv

from mtjsim.checks import Array

TOLERANCE = 1e-12  # of the terms left out, where the box has its corners; the density lives far inside
LARGEST_GROWTH = 16.0  # exponent by which the terms of a corner exceed its value within a step
LARGEST_GAIN = 4.0  # exponent of the largest transient growth within a step, with which rounding errors grow too
MOST_TERMS = 600  # of a step
BOX_MARGIN = 1.05  # on the estimated sides of the box


@dataclass(frozen=True)
class Flow:
    """A_0 + level A_1, stored by diagonals of blocks, each as long as the block's rows (entries outside are 0).

    Attributes
    ----------
    starts : (b + 1,) array
        First row of each block, and n.
    first : (b + 1,) array
        First diagonal of each block, and d.
    column, offset : (d,) arrays
        Column of each diagonal in the block's first row, which may lie outside the matrix, and where its entries start.
    still, driven : arrays
        Entries of A_0 and of A_1.
    low, high, spin : (2,) arrays
        Sides of the box that contains the field of values of A_0, and of A_1: intervals of the real part, and b.
    """

    starts: NDArray[np.int64]
    first: NDArray[np.int64]
    column: NDArray[np.int64]
    offset: NDArray[np.int64]
    still: Array
    driven: Array
    low: Array
    high: Array
    spin: Array

    @property
    def geometry(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Starts, first, column, offset."""
        return self.starts, self.first, self.column, self.offset


def flow_of(still: Any, driven: Any, starts: NDArray[np.int64], box: tuple[Array, Array, Array] | None = None) -> Flow:
    """Arrange two sparse (n, n) matrices by diagonals of blocks that begin at `starts`."""
    parts = [matrix.tocoo() for matrix in (still, driven)]
    i, j = (np.concatenate([part.coords[axis] for part in parts]).astype(np.int64) for axis in (0, 1))
    sizes = np.diff(starts)
    block = np.repeat(np.arange(sizes.size), sizes)
    column = j - (i - starts[block[i]])  # in the block's first row
    reach = int(starts[-1]) + int(sizes.max())
    key, diagonal = np.unique(block[i] * (3 * reach) + column + reach, return_inverse=True)
    of_block = key // (3 * reach)
    offset = np.concatenate([[0], np.cumsum(sizes[of_block])])
    values = np.zeros((2, offset[-1]))
    place = offset[diagonal] + i - starts[block[i]]
    count = parts[0].nnz
    np.add.at(values[0], place[:count], parts[0].data)
    np.add.at(values[1], place[count:], parts[1].data)
    low, high, spin = box or np.transpose([field_of_values(matrix) for matrix in (still, driven)])
    first = np.searchsorted(of_block, np.arange(starts.size))
    column = key % (3 * reach) - reach
    return Flow(np.asarray(starts), first, column, offset[:-1], values[0], values[1], low, high, spin)


def field_of_values(matrix: Any) -> tuple[float, float, float]:
    """Smallest and largest real part, and largest imaginary part, of the field of values: a box around it."""
    n = matrix.shape[0]
    even, odd = csr_array((matrix + matrix.T) / 2), csr_array((matrix - matrix.T) / 2)
    start = np.cos(np.arange(n) ** 1.5)  # no seed, the same each time
    square = LinearOperator((n, n), matvec=lambda v: -(odd @ (odd @ v)), dtype=float)

    def extreme(operator: Any, which: Any) -> float:
        if n < 8:
            dense = operator @ np.eye(n)
            values = np.linalg.eigvalsh((dense + dense.T) / 2)
            return float(values[-1] if which == "LA" else values[0])
        return float(eigsh(operator, k=1, which=which, v0=start, tol=1e-2, return_eigenvectors=False)[0])

    low, high = (extreme(even, which) if even.nnz else 0.0 for which in ("SA", "LA"))
    spin = np.sqrt(max(extreme(square, "LA"), 0.0)) if odd.nnz else 0.0
    margin = (BOX_MARGIN - 1) * (high - low)
    return low - margin, high + margin, BOX_MARGIN * spin


@dataclass(frozen=True)
class Ellipse:
    """The expansion for one level: s, f, kind, and how fast the terms of the box's corner grow.

    Attributes
    ----------
    centre, focus, kind : float
        s, f and kind of the module's docstring [1/s], [1/s], +-1.
    real, imaginary : float
        Half axes [1/s].
    half : float
        Half the real side of the box [1/s].
    """

    centre: float
    focus: float
    kind: float
    real: float
    imaginary: float
    half: float

    @property
    def constants(self) -> tuple[float, float, float]:
        """s, f, kind."""
        return self.centre, self.focus, self.kind

    @property
    def longest(self) -> float:
        """Longest step [s]."""
        excess, high = max(self.real - self.half, 1e-300), max(self.centre + self.half, 1e-300)
        return min(LARGEST_GROWTH / excess, LARGEST_GAIN / high, MOST_TERMS / (1.2 * (self.real + self.imaginary)))

    def coefficients(self, times: Array) -> Array:
        """(k, t): factors of the phi_k at each time of a step."""
        longest = float(np.max(times))
        most = int(1.6 * (self.real + self.imaginary) * longest) + 60
        k = np.arange(most)[:, None]
        argument = self.focus * np.asarray(times, dtype=float)[None]
        scale = self.centre * np.asarray(times, dtype=float)
        if self.kind > 0:  # ive is scaled by exp(-argument)
            c, scale = ive(k, argument), scale + argument[0]
        else:
            c = jv(k, argument)
        c[1:] *= 2
        c *= np.exp(scale)
        growth = np.log((self.real + self.imaginary) / self.focus)
        with np.errstate(divide="ignore"):
            weight = np.log(np.abs(c).max(axis=1)) + growth * k[:, 0]
        needed = np.flatnonzero(weight > np.log(TOLERANCE))
        return np.asarray(c[: int(needed[-1]) + 1 if needed.size else 1], dtype=float)


def ellipse(flow: Flow, level: float) -> Ellipse:
    """Smallest ellipse around the box at one level."""
    driven = sorted((level * flow.low[1], level * flow.high[1]))
    low, high = flow.low[0] + driven[0], flow.high[0] + driven[1]
    spin = flow.spin[0] + abs(level) * flow.spin[1]
    A, B = (high - low) / 2 + 1e-12 * spin, spin + 1e-12 * (high - low) + 1e-300
    root = np.sqrt(A ** (2 / 3) + B ** (2 / 3))
    real, imaginary = A ** (2 / 3) * root, B ** (2 / 3) * root
    least = 0.25 * max(real, imaginary)  # for coinciding foci the phi_k grow without bound
    focus = max(np.sqrt(abs(real**2 - imaginary**2)), least)
    return Ellipse((low + high) / 2, focus, 1.0 if real > imaginary else -1.0, real, imaginary, A)


@njit(cache=True)
def _terms(starts, first, column, offset, values, centre, focus, kind, coefficients, c, rows, moments):
    # sum_k coefficients[k] phi_k; moments[k] = rows . phi_k. Names as in Flow and in the module's docstring.
    # The vectors have a margin, so that a diagonal may begin before them or end behind them, where its entries are 0.
    # Loops in place of expressions of arrays: these take ten seconds to compile.
    n, longest = c.size, 0
    for b in range(starts.size - 1):
        longest = max(longest, starts[b + 1] - starts[b])
    margin = longest + 8
    before, here, ahead = np.zeros(n + 2 * margin), np.zeros(n + 2 * margin), np.zeros(n + 2 * margin)
    out = np.empty(n)
    for i in range(n):
        here[margin + i], out[i] = c[i], coefficients[0] * c[i]
    for r in range(rows.shape[0]):
        moments[0, r] = np.dot(rows[r], c)
    factor, y = 1.0 / focus, np.empty(longest)
    for k in range(1, coefficients.size):
        for b in range(starts.size - 1):
            size, at = starts[b + 1] - starts[b], margin + starts[b]
            x = here[at : at + size]
            for i in range(size):
                y[i] = -centre * x[i]
            d = first[b]
            while d + 3 < first[b + 1]:  # four diagonals at once, so that y is loaded and stored less often
                x0 = here[margin + column[d] : margin + column[d] + size]
                x1 = here[margin + column[d + 1] : margin + column[d + 1] + size]
                x2 = here[margin + column[d + 2] : margin + column[d + 2] + size]
                x3 = here[margin + column[d + 3] : margin + column[d + 3] + size]
                v0 = values[offset[d] : offset[d] + size]
                v1 = values[offset[d + 1] : offset[d + 1] + size]
                v2 = values[offset[d + 2] : offset[d + 2] + size]
                v3 = values[offset[d + 3] : offset[d + 3] + size]
                for i in range(size):
                    y[i] += v0[i] * x0[i] + v1[i] * x1[i] + v2[i] * x2[i] + v3[i] * x3[i]
                d += 4
            while d < first[b + 1]:
                x0 = here[margin + column[d] : margin + column[d] + size]
                v0 = values[offset[d] : offset[d] + size]
                for i in range(size):
                    y[i] += v0[i] * x0[i]
                d += 1
            old, new = before[at : at + size], ahead[at : at + size]
            for i in range(size):
                new[i] = factor * y[i] - kind * old[i]
            term = out[starts[b] : starts[b + 1]]
            for i in range(size):
                term[i] += coefficients[k] * new[i]
        for r in range(rows.shape[0]):
            moments[k, r] = np.dot(rows[r], ahead[margin : margin + n])
        factor = 2.0 / focus
        before, here, ahead = here, ahead, before
    return out


def propagate(flow: Flow, level: float, c: Array, time: float) -> Array:
    """exp(A time) c at one level; (n,)."""
    out = c
    for _, _, after, _ in steps(flow, level, c, time):
        out = after
    return out


def steps(
    flow: Flow, level: float, c: Array, time: float, rows: Array | None = None, times: Array | None = None
) -> Iterator[tuple[float, float, Array, Array]]:
    """Follow exp(A t) c from 0 to `time`: yields each step as (start, end, c at the end, values of the rows).

    Parameters
    ----------
    rows : (r, n) array, optional
        Functionals.
    times : array, optional
        Sorted times in [0, time]; those of the step are where the rows are evaluated.

    Yields
    ------
    start, end : float
        Of the step.
    c : (n,) array
        At the end of the step.
    values : (t, r) array
        The rows at the `times` with start <= t < end, in the last step with t = end too; (0, 0) where there are none.
    """
    if time <= 0 or not flow.column.size:
        return
    rows = np.zeros((0, c.size)) if rows is None else np.ascontiguousarray(rows)
    wanted = np.zeros(0) if times is None else np.asarray(times)
    shape = ellipse(flow, level)
    count = int(np.ceil(time / shape.longest))
    edges = time * np.arange(count + 1) / count
    whole = shape.coefficients(np.array([time / count]))
    values = flow.still + level * flow.driven
    for k, (start, end) in enumerate(pairwise(edges)):
        inside = wanted[(wanted >= start) & ((wanted < end) | (k == count - 1))] - start
        factors = shape.coefficients(np.append(inside, time / count)) if inside.size else whole
        moments = np.empty((len(factors), len(rows) if inside.size else 0))
        c = _terms(
            *flow.geometry, values, *shape.constants, factors[:, -1].copy(), c, rows[: moments.shape[1]], moments
        )
        yield start, end, c, factors[:, :-1].T @ moments
