"""Functions on the sphere as coefficients, and their products as sparse matrices: real spherical harmonics.

Legend
    m            unit vector, with components x, y, z *in the frame of the harmonics*, z along their pole
    Y_lm         orthonormal real harmonics: Theta_lm(z) times cos(m phi) or sin(m phi); Theta has the sqrt(2) of m > 0
    L, M         largest degree l and largest order m that are kept
    X, Y, Z      multiplication by x, y, z: couples l with l +- 1
    R = m x grad generators of rotations, R = i L: act within one l, and are antisymmetric

Coefficients are ordered in blocks of one (m, cosine or sine), l = m ... L within a block, so that an operator is a set
of diagonals of blocks. An `Operator` is a multiplication operator: these commute, and can be used in a formula written
for numbers, such as `torques.rotation`. Truncation spoils products near the last l and m: build with a `MARGIN`, then
crop.

References
----------
D. A. Varshalovich, A. N. Moskalev, V. K. Khersonskii, Quantum Theory of Angular Momentum (1988), sections 5.7 and 5.8.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Union

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array, diags_array, eye_array
from scipy.special import roots_legendre

from mtjsim.checks import Array

MARGIN = 5  # degrees and orders to build with and to crop: one more than the factors x, y, z of any one product


class Operator:
    """Multiplication by a function on the sphere; + - * and / with operators and numbers, as the functions would.

    Parameters
    ----------
    matrix : sparse array
        (n, n).
    """

    def __init__(self, matrix: Any) -> None:
        self.matrix = csr_array(matrix)

    def __add__(self, other: Union["Operator", float]) -> "Operator":
        if isinstance(other, Operator):
            return Operator(self.matrix + other.matrix)
        return Operator(self.matrix + other * eye_array(self.matrix.shape[0])) if other != 0 else self

    def __neg__(self) -> "Operator":
        return Operator(-self.matrix)

    def __sub__(self, other: Union["Operator", float]) -> "Operator":
        return self + (-other)

    def __rsub__(self, other: float) -> "Operator":
        return -self + other

    def __mul__(self, other: Union["Operator", float]) -> "Operator":
        return Operator(self.matrix @ other.matrix if isinstance(other, Operator) else self.matrix * other)

    def __truediv__(self, other: float) -> "Operator":
        return Operator(self.matrix / other)

    __radd__, __rmul__ = __add__, __mul__


@dataclass(frozen=True)
class Harmonics:
    """Real spherical harmonics with l <= `degree` and m <= `order`.

    Parameters
    ----------
    degree, order : int
        L and M, with M <= L.
    """

    degree: int
    order: int

    # ---- indices --------------------------------------------------------------------------------------------------

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """(2 M + 2,) first index of each block: m = 0, cos 1, sin 1, cos 2, ...; and the number of coefficients."""
        m = (np.arange(2 * self.order + 1) + 1) // 2
        return np.concatenate([[0], np.cumsum(self.degree + 1 - m)])

    @property
    def size(self) -> int:
        """Number of coefficients."""
        return int(self.starts[-1])

    @cached_property
    def block(self) -> NDArray[np.int64]:
        """(n,) block of each coefficient; its order m is (block + 1) // 2, and odd blocks are cosines."""
        return np.repeat(np.arange(2 * self.order + 1), np.diff(self.starts))

    @cached_property
    def orders(self) -> NDArray[np.int64]:
        """(n,) order of each coefficient."""
        return (self.block + 1) // 2

    @cached_property
    def degrees(self) -> NDArray[np.int64]:
        """(n,) degree of each coefficient."""
        return np.arange(self.size) - self.starts[self.block] + self.orders

    def among(self, larger: "Harmonics") -> NDArray[np.int64]:
        """Return the indices of these harmonics in a larger set."""
        return np.flatnonzero((larger.degrees <= self.degree) & (larger.orders <= self.order))

    # ---- operators ------------------------------------------------------------------------------------------------

    def coordinates(self) -> tuple[Operator, Operator, Operator]:
        """Multiplication by x, y and z."""
        l, m = self._complex
        up = -np.sqrt((l + m + 1) * (l + m + 2) / ((2 * l + 1) * (2 * l + 3)))
        down = np.sqrt((l - m) * (l - m - 1) / ((2 * l - 1.0) * (2 * l + 1)).clip(1))
        x_plus_iy = self._couple(up, 1, 1) + self._couple(down, -1, 1)
        higher = np.sqrt(((l + 1) ** 2 - m**2) / ((2 * l + 1) * (2 * l + 3)))
        z = self._couple(higher, 1, 0)
        x = (x_plus_iy + x_plus_iy.T.conj()) / 2
        y = (x_plus_iy - x_plus_iy.T.conj()) / 2j
        return Operator(self._real(x)), Operator(self._real(y)), Operator(self._real(z + z.T))

    def rotations(self) -> tuple[Any, Any, Any]:
        """R_x, R_y and R_z, sparse."""
        l, m = self._complex
        raising = self._couple(np.sqrt((l - m) * (l + m + 1.0)), 0, 1)
        Rx = 1j * (raising + raising.T) / 2
        Ry = (raising - raising.T) / 2
        return self._real(Rx), self._real(Ry), self._real(self._couple(1j * m, 0, 0))

    def laplacian(self) -> Any:
        """R.R = -l (l + 1), sparse."""
        return diags_array(-self.degrees * (self.degrees + 1.0))

    def polar_function(self, function: Callable[[Array], Array]) -> Operator:
        """Multiplication by a smooth function of z, by quadrature."""
        z, weights = roots_legendre(self.degree + 64)
        table = legendre_table(self, z)
        values = 2 * np.pi * weights * function(z)
        rows, columns, entries = [], [], []
        for m, theta in enumerate(table):
            matrix = (theta * values) @ theta.T / (2 if m else 1)
            matrix[np.abs(matrix) < 1e-13 * np.abs(matrix).max()] = 0.0
            i, j = np.nonzero(matrix)
            for block in {2 * m - 1, 2 * m} if m else {0}:
                rows.append(i + self.starts[block])
                columns.append(j + self.starts[block])
                entries.append(matrix[i, j])
        index = (np.concatenate(rows), np.concatenate(columns))
        return Operator(coo_array((np.concatenate(entries), index), shape=(self.size, self.size)))

    # ---- complex harmonics, in which textbooks give the matrix elements ---------------------------------------------

    @cached_property
    def _complex(self) -> tuple[Array, Array]:
        """Degree and order, -M ... M, of the complex harmonics (Condon-Shortley phase), m by m."""
        orders = np.arange(-self.order, self.order + 1)
        m = np.repeat(orders, self.degree + 1 - np.abs(orders)).astype(float)
        l = np.concatenate([np.arange(abs(k), self.degree + 1.0) for k in orders])
        return l, m

    def _position(self, l: Any, m: Any) -> NDArray[np.int64]:
        sizes = self.degree + 1 - np.abs(np.arange(-self.order, self.order + 1))
        starts = np.concatenate([[0], np.cumsum(sizes)])
        return (starts[(m + self.order).astype(int)] + l - np.abs(m)).astype(int)

    def _couple(self, factor: Any, dl: int, dm: int) -> Any:
        """Sparse complex matrix from (l, m) to (l + dl, m + dm)."""
        l, m = self._complex
        inside = (l + dl <= self.degree) & (np.abs(m + dm) <= np.minimum(self.order, l + dl))
        to = self._position(l[inside] + dl, m[inside] + dm)
        size = l.size
        return csr_array((factor[inside].astype(complex), (to, np.flatnonzero(inside))), shape=(size, size))

    @cached_property
    def _unitary(self) -> Any:
        """Rows: the real harmonics in terms of the complex ones."""
        sine, m, l = (self.block % 2 == 0) & (self.orders > 0), self.orders, self.degrees
        sign = (-1.0) ** m
        plus = np.where(m == 0, 1.0, np.where(sine, -1j * sign, sign) / np.sqrt(2))
        minus = np.where(sine, 1j, 1.0)[m > 0] / np.sqrt(2)
        rows = np.arange(self.size)
        entries = np.concatenate([plus, minus])
        columns = np.concatenate([self._position(l, m), self._position(l[m > 0], -m[m > 0])])
        return csr_array((entries, (np.concatenate([rows, rows[m > 0]]), columns)))

    def _real(self, matrix: Any) -> Any:
        return csr_array((self._unitary.conj() @ matrix @ self._unitary.T).real)

    # ---- functions ------------------------------------------------------------------------------------------------

    def hemisphere(self, side: float, function: Callable[[Array, Array, Array], Array]) -> Array:
        """Coefficients (n,) of a function of (x, y, z) that is smooth on `side` z > 0, and 0 on the other."""
        x, weights = roots_legendre(self.degree + 160)
        z = side * (1 + x) / 2
        phi = 2 * np.pi / (count := 4 * self.order + 64) * np.arange(count)
        rho = np.sqrt(1 - z**2)[:, None]
        values = function(rho * np.cos(phi), rho * np.sin(phi), np.repeat(z[:, None], count, axis=1))
        spectrum = np.fft.rfft(values * (weights / 2)[:, None], axis=1).T * (2 * np.pi / count)
        out = np.empty(self.size)
        for m, theta in enumerate(legendre_table(self, z)):
            here = theta @ spectrum[m]
            if m:
                out[self.starts[2 * m - 1] : self.starts[2 * m]] = here.real
            out[self.starts[2 * m] : self.starts[2 * m + 1]] = -here.imag if m else here.real
        return out


def legendre_table(harmonics: Harmonics, z: Array) -> list[Array]:
    """Theta_lm at the points z (q,): for each m an array (L + 1 - m, q)."""
    L, rho = harmonics.degree, np.sqrt((1 - z) * (1 + z))
    diagonal = np.full(z.shape, np.sqrt(1 / (4 * np.pi)))
    table = []
    for m in range(harmonics.order + 1):
        if m:
            diagonal = diagonal * rho * np.sqrt((2 * m + 1) / (2 * m) * (2 if m == 1 else 1))
        theta = np.empty((L + 1 - m, z.size))
        theta[0] = diagonal
        l = np.arange(m + 1, L + 1)
        step = np.sqrt((l**2 - m**2) / (4 * l**2 - 1.0))
        for k in range(L - m):
            before = step[k - 1] * theta[k - 1] if k else 0.0
            theta[k + 1] = (z * theta[k] - before) / step[k]
        table.append(theta)
    return table
