"""Integrals of functionals over a step with one generator, for the joules of a pulse."""

import math

import numpy as np
from scipy.linalg import expm

from mtjsim.checks import Array

LARGEST_PART = 4.0  # norm of the exponent of one Taylor series
MOST_PARTS = 0.1  # series over the size of the matrix, beyond which its exponential is faster
MOST_TERMS = 60


class Metered:
    """A step and the integrals of a few rows over it: both are of order four, because the rows are mixed as A is.

    With the integrals q, dq/dtau = rows c, the state (c, q) moves by one exponential.
    """

    def __init__(self, generator: Array, duration: float, rows: Array) -> None:
        count, n = rows.shape
        self._unit = np.maximum(np.abs(rows).max(axis=1), 1e-300)
        self._generator = np.zeros((n + count, n + count))
        self._generator[:n, :n] = generator
        self._generator[n:, :n] = rows / self._unit[:, None]
        self._time = duration
        self._propagator: Array | None = None

    def forward(self, c: Array) -> tuple[Array, Array]:
        """Integrals over the step, and the state at its end."""
        state = np.concatenate([c, np.zeros_like(self._unit)])
        out = self._moved(state)
        return self._unit * out[c.size :], out[: c.size]

    def backward(self, functionals: Array) -> Array:
        """Functionals (count, n) of the state at the end, plus the integrals, as functionals of that at the start."""
        n = functionals.shape[1]
        columns = np.concatenate([functionals.T, np.diag(self._unit)])
        return np.asarray(self._moved(columns, transposed=True)[:n].T)

    def _moved(self, state: Array, *, transposed: bool = False) -> Array:
        if self._propagator is None:
            A = self._generator.T if transposed else self._generator
            moved = apply_exponential(A, self._time, state)
            if moved is not None:
                return moved
            self._propagator = expm(self._generator * self._time)
            del self._generator  # slow ramps have hundreds of steps
        return np.asarray((self._propagator.T if transposed else self._propagator) @ state)


def apply_exponential(A: Array, time: float, state: Array) -> Array | None:
    """exp(A time) @ state by Taylor's series about the mean of the diagonal; None where a matrix exponential is faster.

    As Al-Mohy & Higham, SIAM J. Sci. Comput. 33, 488 (2011), with parts of the time so short that nothing cancels.
    """
    n = len(A)
    shift = float(np.trace(A)) / n
    B = A - shift * np.eye(n)
    parts = max(1, int(np.ceil(float(np.abs(B).sum(axis=0).max()) * time / LARGEST_PART)))
    if parts > n * MOST_PARTS:
        return None
    h = time / parts
    for _ in range(parts):
        term, total = state, state.copy()
        for k in range(1, MOST_TERMS):
            term = (B @ term) * (h / k)
            total += term
            if float(np.abs(term).max()) <= 1e-17 * float(np.abs(total).max()):
                break
        state = total * math.exp(shift * h)
    return state
