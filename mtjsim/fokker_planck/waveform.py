"""A pulse of many linear pieces, cut into steps that do not depend on the number of pieces.

The generator is A(a), the level a function of time. Over a step h the commutator-free Magnus integrator of order four
needs two moments of A only (Blanes & Moan 2006, Appl. Numer. Math. 56, 1519):

    U = exp{ h/2 (M_0 + 4 M_1) } exp{ h/2 (M_0 - 4 M_1) },   M_0 = mean of A,   M_1 = mean of (t - t_mid) A / h .

Where A is linear in the level these are A at two effective levels. The moments of a piecewise linear level are exact:
an oscilloscope's noise costs no steps: what matters is how much the level moves while the density does.
"""

from collections.abc import Callable, Sequence

import numpy as np

from mtjsim.checks import Array

Piece = tuple[float, float, float]

TOLERANCE = 1e-6  # change of what is measured, in one step, by halving it; what is kept is extrapolated from both
DEEPEST = 40  # halvings of the duration, at most


class Waveform:
    """Level in time of linear pieces (duration, level at start, level at end)."""

    def __init__(self, pieces: Sequence[Piece]) -> None:
        table = np.array(pieces, dtype=float)
        self.edges = np.concatenate([[0.0], np.cumsum(table[:, 0])])
        self.first, self.last = table[:, 1], table[:, 2]
        self.duration = float(self.edges[-1])

    @property
    def range(self) -> tuple[float, float]:
        """Lowest and highest level, and a tenth more on both sides for the effective ones."""
        lowest, highest = min(self.first.min(), self.last.min()), max(self.first.max(), self.last.max())
        return lowest - 0.1 * (highest - lowest), highest + 0.1 * (highest - lowest)

    def effective_levels(self, start: float, end: float) -> tuple[float, float]:
        """M_0 - 4 M_1 and M_0 + 4 M_1 of the level between two times."""
        time, weight, level = self.samples(start, end)
        span, middle = end - start, (start + end) / 2
        mean = float(weight @ level) / span
        tilt = 4 * float(weight @ ((time - middle) * level)) / span**2
        return mean - tilt, mean + tilt

    def samples(self, start: float, end: float) -> tuple[Array, Array, Array]:
        """Gauss points between two times, two in every piece: times, weights and levels."""
        k0 = int(np.searchsorted(self.edges, start, side="right")) - 1
        k1 = int(np.searchsorted(self.edges, end, side="left"))
        k = np.arange(max(k0, 0), max(min(k1, self.first.size), k0 + 1))
        left, right = np.maximum(self.edges[k], start), np.minimum(self.edges[k + 1], end)
        half, middle = (right - left) / 2, (left + right) / 2
        time = (middle[:, None] + half[:, None] * np.array([-1.0, 1.0]) / np.sqrt(3)).ravel()
        k = np.repeat(k, 2)
        share = (time - self.edges[k]) / (self.edges[k + 1] - self.edges[k])
        return time, np.repeat(half, 2), self.first[k] + (self.last[k] - self.first[k]) * share


def ride(
    wave: Waveform,
    state: Array,
    apply: Callable[[Array, float, int], Array],
    coarsest: int,
    measure: Array,
    *,
    visit: Callable[[float, float, Array, Array, Array], None] | None = None,
) -> Array:
    """Follow a state over a waveform, in steps of duration / 2^n chosen by comparing each with its two halves.

    Parameters
    ----------
    wave : Waveform
        The level in time.
    state : (n, ...) array
        Column 0 is what the steps follow.
    apply : function of (state, level, n)
        Moves a state at a constant level for duration / 2^n.
    coarsest : int
        The longest step is duration / 2^coarsest.
    measure : (r, n) array
        Functionals in which a step and its halves are compared, relative to the first.
    visit : function of (start, end, state at start, in the middle, at end), optional
        Called for every step.

    Returns
    -------
    (n, ...) array
    """

    def step(state: Array, start: float, end: float, n: int) -> Array:
        for level in wave.effective_levels(start, end):
            state = apply(state, level, n + 1)
        return state

    n, at, units = coarsest, 0, 2**DEEPEST  # time in units of the smallest step
    while at < units:
        width = units >> n
        if at % width:
            n += 1
            continue
        start, end = at / units * wave.duration, (at + width) / units * wave.duration
        middle = (start + end) / 2
        whole = step(state[:, :1].copy(), start, end, n)
        half = step(state, start, middle, n + 1)
        both = step(half, middle, end, n + 1)
        error = np.abs(measure @ (whole[:, 0] - both[:, 0])).max() / abs(measure[0] @ both[:, 0])
        if error > TOLERANCE and n < DEEPEST:
            n += 1
            continue
        if visit:
            visit(start, end, state, half, both)
        both[:, 0] += (both[:, 0] - whole[:, 0]) / 15
        state, at = both, at + width
        if error < TOLERANCE / 50 and n > coarsest:
            n -= 1
    return state
