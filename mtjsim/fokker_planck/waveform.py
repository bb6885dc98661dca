"""A pulse of many linear pieces, cut into steps that do not depend on the number of pieces.

The generator is A(a), the level a a function of time. Over a step of duration h the commutator-free Magnus integrator of
order four needs two moments of A only (Blanes & Moan 2006, Appl. Numer. Math. 56, 1519):

    U = exp{ h/2 (M_0 + 4 M_1) } exp{ h/2 (M_0 - 4 M_1) },   M_0 = mean of A,   M_1 = mean of (t - t_mid) A over h .

Where A is linear in the level these are A at two effective levels. The moments of a piecewise linear level are exact, so
an oscilloscope's noise costs no steps: what matters is how much the level moves while the density does.
"""

from collections.abc import Callable, Sequence

import numpy as np

from mtjsim.checks import Array

Piece = tuple[float, float, float]

TOLERANCE = 1e-8  # change of the density, in one step, by halving it; the halves are sixteen times better
FIRST = 1 / 16  # of the duration: the longest step
SMALLEST = 2.0**-40  # of the duration


class Waveform:
    """Level in time of linear pieces (duration, level at start, level at end)."""

    def __init__(self, pieces: Sequence[Piece]) -> None:
        table = np.array(pieces, dtype=float)
        self.edges = np.concatenate([[0.0], np.cumsum(table[:, 0])])
        self.first, self.last = table[:, 1], table[:, 2]
        self.duration = float(self.edges[-1])

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
    *,
    back: bool = False,
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
    back : bool
        From the end to the start, as a functional.
    visit : function of (start, end, state at start, in the middle, at end), optional
        Called for every step.

    Returns
    -------
    (n, ...) array
    """

    def step(state: Array, start: float, end: float, n: int) -> Array:
        early, late = wave.effective_levels(start, end)
        for level in (late, early) if back else (early, late):
            state = apply(state, level, n + 1)
        return state

    n = int(round(-np.log2(FIRST)))
    at, deepest = 0, int(round(-np.log2(SMALLEST)))
    units = 2**deepest  # time in units of the smallest step
    while at < units:
        width = units >> n
        if at % width:
            n += 1
            continue
        a, b = at / units * wave.duration, (at + width) / units * wave.duration
        if back:
            a, b = wave.duration - b, wave.duration - a
        middle = (a + b) / 2
        halves = ((middle, b), (a, middle)) if back else ((a, middle), (middle, b))
        whole = step(state[:, :1], a, b, n)
        half = step(state, *halves[0], n + 1)
        both = step(half, *halves[1], n + 1)
        error = np.abs(whole[:, 0] - both[:, 0]).max() / np.abs(both[:, 0]).max()
        if error > TOLERANCE and n < deepest:
            n += 1
            continue
        if visit:
            visit(a, b, state, half, both)
        state, at = both, at + width
        if error < TOLERANCE / 64 and n > 4:
            n -= 1
    return state
