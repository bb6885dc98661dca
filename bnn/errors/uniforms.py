"""Which cells fail, by key: each cell has one uniform number, and its write fails where that is below its rate.

Legend: key 64 bits a sample; a block is 64 cells, u the uniform number of a cell, in [0, 1).

The draws are *nested*: u depends on the key and the number of the cell alone, so a cell that fails at a rate fails at
every larger one, in either direction, whether its rate is its own or that of all cells. Curves over the rate are then
smooth, and two rates are compared with the same draws.

u is drawn bit by bit. Word k of a block is a hash of (key, block, k), and bit j of it is place k + 1 of the binary u of
cell j, so 64 cells are compared with their rates by a few operations on words: a cell is decided at the first place
where u and its rate differ. Of 64 cells, 16 are left after two places, and 1/4 of a cell after eight: these few are
compared further, one by one. The comparison is exact for every float64 from 0 to 1, however small, and its cost does
not depend on the rate.

The hash is SplitMix64's finaliser of a counter [1], whose start is half of a 128-bit key and into which the other half
is added between the two multiplications. For one key it is a bijection of the counter, so that no two words of a sample
coincide; two keys have different halves, so that no stream is a part of another.

References
----------
.. [1] Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
"""

from typing import Any

import numba as nb
import numpy as np
from llvmlite import ir
from numba.extending import intrinsic

U: Any = nb.uint64
GOLDEN = 0x9E3779B97F4A7C15  # step of a counter
PLACES = 2049  # counters of a block: more than the 1,074 places of a float64; odd, like GOLDEN
AT_ONCE = 8  # places that are compared for 64 cells at once
LANES = 8  # words of a vector instruction, at most

_jit = nb.njit(inline="always", cache=True)


@_jit
def _hashed(z, b):
    """SplitMix64's finaliser of z, with b added between its multiplications."""
    z = (z ^ (z >> U(30))) * U(0xBF58476D1CE4E5B9) + b
    z = (z ^ (z >> U(27))) * U(0x94D049BB133111EB)
    return z ^ (z >> U(31))


@nb.njit(cache=True)
def sample_keys(seed, layer, step, samples):
    """Return the key of each sample, (n,) uint64, from whole numbers >= 0 and the samples' numbers, (n,) int64."""
    golden, zero = U(GOLDEN), U(0)
    root = _hashed(U(seed) + golden, zero)
    root = _hashed(_hashed(root + U(layer) * golden + golden, zero) + U(step) * golden + golden, zero)
    keys = np.empty(samples.size, np.uint64)
    for i in range(samples.size):
        keys[i] = _hashed(root + U(samples[i]) * golden + golden, zero)
    return keys


@nb.njit(cache=True, nogil=True)
def padded(cells):
    """Return the words for the cells of a sample: a multiple of the lanes, so that vector loops leave no rest."""
    return LANES * ((cells + 64 * LANES - 1) // (64 * LANES))


@nb.njit(cache=True, nogil=True)
def first_places(p, cells):
    """Return the first places of rates, p (s, 1) or (s, cells): bit j of [r, k, w] is place k + 1 of cell 64 w + j.

    Of the padded words; the rates of what is after the last cell are 0.
    """
    s, width = p.shape
    places = np.empty((s, AT_ONCE, padded(cells)), np.uint64)
    each = np.zeros(64, np.uint8)
    eights = each.view(np.uint64)
    for r in range(s):
        for w in range(places.shape[2] if width > 1 else 1):
            here = p[r, 64 * w : 64 * w + 64]
            each[:] = 0
            for j in range(here.size):
                each[j] = np.uint8(min(here[j] * 256.0, 255.0))  # a rate of 1 is 0.111...
            for k in range(AT_ONCE):
                word = U(0)
                for e in range(8):  # gather a bit of each of 8 bytes
                    bits = (eights[e] >> U(AT_ONCE - 1 - k)) & U(0x0101010101010101)
                    word |= ((bits * U(0x0102040810204080)) >> U(56)) << U(8 * e)
                places[r, k, w] = word
        if width == 1:
            for k in range(AT_ONCE):
                places[r, k] = U(0) - (places[r, k, 0] & U(1))
    return places


def _lowest(_: Any, word: Any) -> Any:
    """Return the number of the lowest bit that is set."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return nb.uint64(nb.uint64), generate


_place_of: Any = intrinsic(_lowest)


@nb.njit(cache=True, nogil=True)
def below(z, b, j, rate):
    """Whether u < rate in cell j, where the first places of both agree; z is the counter of the next place."""
    if rate >= 1.0:
        return True
    rest = rate * 256.0
    rest -= np.floor(rest)
    while rest > 0.0:  # exact: a float64 is doubled, and loses its leading place
        rest *= 2.0
        place = rest >= 1.0
        if place:
            rest -= 1.0
        if place != ((_hashed(z, b) >> U(j)) & U(1) == U(1)):
            return place
        z += U(GOLDEN)
    return False


@nb.njit(cache=True, nogil=True)
def decide(key, places, rates, cells, ones, fails, equal):
    """Decide which cells of a sample fail, as they are written.

    places : two (AT_ONCE, w) uint64, from `first_places`, of cells that are written to 0 and to 1; w words, `padded`.
    rates : two (1,) or (cells,) float64.
    ones : (w,) uint64: bit j of word w is set if cell 64 w + j is written to 1.
    fails : (w,) uint64 for the result: bit j of word w is set if cell 64 w + j fails; 0 after the last cell.
    equal : (w,) uint64, for use here.
    """
    golden = U(GOLDEN)
    a, b = _hashed(key, U(0)), _hashed(key + golden, U(0))
    t0, t1 = places
    for w in range(fails.size):
        z = a + U(w) * U(PLACES) * golden
        less, same, one = U(0), ~U(0), ones[w]
        for k in range(AT_ONCE):
            u = _hashed(z, b)
            z += golden
            place = t0[k, w] ^ (one & (t0[k, w] ^ t1[k, w]))
            less |= same & place & ~u
            same &= ~(place ^ u)
        fails[w], equal[w] = less, same
    words = (cells + 63) // 64
    inside = ~U(0) >> U(64 * words - cells)
    fails[words:] = U(0)
    fails[words - 1] &= inside
    equal[words - 1] &= inside
    for w in range(words):
        left = equal[w]
        while left:
            lowest = left & (U(0) - left)
            left ^= lowest
            j = _place_of(lowest)
            p = rates[1] if ones[w] & lowest else rates[0]
            rate = p[0] if p.size == 1 else p[U(64) * U(w) + j]
            if below(a + (U(w) * U(PLACES) + U(AT_ONCE)) * golden, b, j, rate):
                fails[w] |= lowest
