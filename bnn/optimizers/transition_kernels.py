"""Transitions of discrete weights, compiled: one pass over states, wanted changes and draws.

Legend: a state w is -1 + s L, s = 0, 1 ... 2/L; d the wanted change; kappa = floor(|d|/L), nu = |d|/L - kappa, which is
in [0, 1). kappa steps are sure, one more is made with probability p(nu), towards the sign of d, and states end at +-1.

Draws: u is 31 bits of SplitMix64's hash of (key, number of the weight), two weights a word, and a step is made where
u < p 2^31; so a probability is exact to 2^-31, and the draws of a weight depend on its key and its number alone.

References
----------
.. [1] J. H. Lambert (1761): tanh x = x/(1 + x^2/(3 + x^2/(5 + ...))). Seven partial denominators: 3.2e-8 relative up to
   x = 3, less than half of float32's spacing.
"""

import math

import numba as nb
import numpy as np
from numpy.typing import NDArray

from bnn.errors.uniforms import GOLDEN, U, _hashed

F = np.float32
WORDS = 512  # hashed at a time, for twice as many weights
UNIT = 2**31

_quick = nb.njit(cache=True, nogil=True, error_model="numpy")
_inline = nb.njit(inline="always", cache=True, error_model="numpy")


@_inline
def tanh(x):
    """Tanh for x from 0 to 3 [1]."""
    s = x * x
    over = F(2027025) + s * (F(270270) + s * (F(6930) + s * F(36)))
    return x * over / (F(2027025) + s * (F(945945) + s * (F(51975) + s * (F(630) + s))))


@_inline
def _hash(key, first, words):
    """Hash the numbers of the weights from `first`, an even number, two a word."""
    base = U(key) + U(first >> 1) * U(GOLDEN)
    for j in range(words.size):
        words[j] = _hashed(base + U(j) * U(GOLDEN), U(key))


@_inline
def _moved(w, d, steps, L):
    """Return the state that is so many steps from w, towards the sign of d."""
    return min(max(w + math.copysign(steps * L, d), F(-1.0)), F(1.0))


@_inline
def _off(w, per_step):
    """Whether w is not a state."""
    s = (w + F(1.0)) * per_step
    return (s != np.floor(s)) | (abs(w) > F(1.0))


@_inline
def _pulse(nu, edges, at):
    """Return the number of the pulse of nu, from 0 to 63, by the 63 edges from place `at` on."""
    k = at
    k += np.int32(32) * np.int32(nu >= edges[k + 31])
    k += np.int32(16) * np.int32(nu >= edges[k + 15])
    k += np.int32(8) * np.int32(nu >= edges[k + 7])
    k += np.int32(4) * np.int32(nu >= edges[k + 3])
    k += np.int32(2) * np.int32(nu >= edges[k + 1])
    return k + np.int32(nu >= edges[k]) - at


@_quick
def by_tanh(w, d, key, L, counts):
    """Move the states w, (n,) float32, in place, with p = tanh(3 nu); return whether one of them was no state.

    d : (n,) float32, the wanted changes. counts : (2,) int64, to which states that moved and steps drawn are added.
    """
    words = np.empty(WORDS, np.uint64)
    draws, per_step = words.view(np.int32), F(1.0) / L
    for first in range(0, w.size, 2 * WORDS):
        _hash(key, first, words)
        some, wanted = w[first : first + 2 * WORDS], d[first : first + 2 * WORDS]
        moved, drawn, off = np.int32(0), np.int32(0), np.int32(0)
        for j in range(some.size):
            size = abs(wanted[j]) * per_step
            kappa = np.floor(size)
            u = F((draws[j] >> np.int32(1)) & np.int32(UNIT - 1))
            more = u < F(UNIT) * tanh(F(3.0) * (size - kappa))
            new = _moved(some[j], wanted[j], kappa + (F(1.0) if more else F(0.0)), L)
            off += np.int32(_off(some[j], per_step))
            drawn += np.int32(more)
            moved += np.int32(new != some[j])
            some[j] = new
        counts[0] += moved
        counts[1] += drawn
        if off:
            return True
    return False


@_quick
def by_table(w, d, key, L, edges, table, types, counts):
    """As `by_tanh`, with the probability of one of 64 pulses on one of several types of cells.

    edges : (63,) float32, ascending; pulse k is that of nu from edges[k - 1] on. table : (types * 64,) uint32,
    probabilities times 2^31. types : (n,) uint16.
    """
    words, entries = np.empty(WORDS, np.uint64), np.empty(2 * WORDS, np.int32)
    draws, per_step = words.view(np.uint32), F(1.0) / L
    for first in range(0, w.size, 2 * WORDS):
        _hash(key, first, words)
        some, wanted = w[first : first + 2 * WORDS], d[first : first + 2 * WORDS]
        kinds = types[first : first + 2 * WORDS]
        moved, drawn, off = np.int32(0), np.int32(0), np.int32(0)
        for j in range(some.size):
            size = abs(wanted[j]) * per_step
            k = _pulse(size - np.floor(size), edges, np.int32(0))
            entries[j] = k + np.int32(64) * np.int32(kinds[j])
        for j in range(some.size):
            more = (draws[j] >> np.uint32(1)) < table[entries[j]]
            steps = np.floor(abs(wanted[j]) * per_step) + (F(1.0) if more else F(0.0))
            new = _moved(some[j], wanted[j], steps, L)
            off += np.int32(_off(some[j], per_step))
            drawn += np.int32(more)
            moved += np.int32(new != some[j])
            some[j] = new
        counts[0] += moved
        counts[1] += drawn
        if off:
            return True
    return False


@_quick
def by_pairs(w, d, key, edges, table, types, cells, pulses, turns, given):
    """Move ternary states, each stored in two junctions, "plus" and "minus": one pulse on the one that has to turn.

    From -1 "minus" is turned off, from +1 "plus"; a 0 of (0, 0) is left by turning one on, of (1, 1) by turning one
    off.

    edges : (126,) float32, 63 of writes of 0, then of 1. table : (types, 2, 64) uint32, probabilities times 2^31.
    types (2, n) uint16, cells (2, n) uint8: of the two junctions. pulses, turns (2, n) uint32 and given (2, 64) int64,
    pulses by kind, are counts, which are added to. Returns how many moved, and whether w is not what the cells are.
    """
    words, moved, off = np.empty(WORDS, np.uint64), 0, np.int32(0)
    draws = words.view(np.uint32)
    number, place = np.empty(2 * WORDS, np.int32), np.empty(2 * WORDS, np.int32)
    for first in range(0, w.size, 2 * WORDS):
        _hash(key, first, words)
        some, wanted = w[first : first + 2 * WORDS], d[first : first + 2 * WORDS]
        plus, minus = cells[0, first : first + 2 * WORDS], cells[1, first : first + 2 * WORDS]
        for j in range(some.size):  # which junction, and by which pulse: without branches
            up, p, m = np.int32(wanted[j] > F(0.0)), np.int32(plus[j]), np.int32(minus[j])
            falling, rising = up * m + (1 - up) * p, up * p + (1 - up) * m
            turn_on = (1 - falling) * (1 - rising)
            free = (falling | turn_on) * np.int32(wanted[j] != F(0.0))
            k = _pulse(min(abs(wanted[j]), F(0.99999994)), edges, np.int32(63) * turn_on)
            number[j] = k * free
            place[j] = turn_on + np.int32(2) * (up ^ turn_on)  # bit, and 2 if the junction is "minus"
            off |= np.int32(some[j] != F(p - m))
        for j in range(some.size):
            k = number[j]
            if k == 0:
                continue
            bit, cell, n = place[j] & 1, place[j] >> 1, first + j
            pulses[cell, n] += np.uint32(1)
            given[bit, k] += 1
            if (draws[j] >> np.uint32(1)) < table[types[cell, n], bit, k]:
                cells[cell, n] = bit
                turns[cell, n] += np.uint32(1)
                some[j] = F(np.int32(plus[j]) - np.int32(minus[j]))
                moved += 1
    return moved, off != 0


@_quick
def by_junctions(w, d, key, edges, table, types, pulses, turns, given):
    """Move binary states, +1 as a 1 of one junction; as `by_pairs`, with (n,) arrays. nu is |d|/2."""
    words, moved, off = np.empty(WORDS, np.uint64), 0, np.int32(0)
    draws, number = words.view(np.uint32), np.empty(2 * WORDS, np.int32)
    for first in range(0, w.size, 2 * WORDS):
        _hash(key, first, words)
        some, wanted = w[first : first + 2 * WORDS], d[first : first + 2 * WORDS]
        for j in range(some.size):
            bit = np.int32(wanted[j] > F(0.0))
            free = np.int32(some[j] * wanted[j] < F(0.0))
            number[j] = free * _pulse(min(abs(wanted[j]) * F(0.5), F(0.99999994)), edges, np.int32(63) * bit)
            off |= np.int32(abs(some[j]) != F(1.0))
        for j in range(some.size):
            k = number[j]
            if k == 0:
                continue
            bit, n = np.int32(wanted[j] > F(0.0)), first + j
            pulses[n] += np.uint32(1)
            given[bit, k] += 1
            if (draws[j] >> np.uint32(1)) < table[types[n], bit, k]:
                turns[n] += np.uint32(1)
                some[j] = -some[j]
                moved += 1
    return moved, off != 0


def uniforms(key: int, count: int) -> NDArray[np.int64]:
    """Return the draws of weights 0, 1 ... of a key, whole numbers below 2^31: one of them after the other.

    For tests and for other ways to move weights by the same draws; slow.
    """
    words = np.empty((count + 1) // 2, np.uint64)
    with np.errstate(over="ignore"):
        for j in range(len(words)):
            words[j] = _one_hash(np.uint64(key), np.uint64(j))
    return (words.view(np.uint32)[:count] >> np.uint32(1)).astype(np.int64)


@nb.njit(cache=True)
def _one_hash(key, number):
    return _hashed(U(key) + U(number) * U(GOLDEN), U(key))
