"""Stochastic rounding: the draws of a write, and numbers rounded by them.

A number between two that a format has becomes the upper one with a chance equal to its distance from the lower one, in
units of the gap, to 2^-32: the mean is the number. One that the format has stays.

**Draws by key.** The draw of word i in write w of a memory is one half of Philox2x32-7 [1], keyed by 64 bits that follow
from the memory's seed and w; i decides the counter and the half. It depends on nothing else.

References
----------
.. [1] Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC'11 (Philox2x32 with seven rounds
   passes BigCrush).
"""

from typing import Any

import numba as nb
import numpy as np
from numpy.typing import NDArray

from mtjsim.rng import child

BLOCK = 1 << 12  # words at a time: numbers and draws stay in the first cache
DRAWS = 2.0**32  # how many values a draw has

Draws = NDArray[np.uint32]


def key_of(seed: int, operation: int) -> Draws:
    """Return the key of the draws of one write, (2,)."""
    return child(seed, "rounding", operation).generate_state(2, np.uint32).astype(np.uint32)


@nb.njit(cache=True, nogil=True)
def fill_draws(block, key, draws):
    """Fill the draws of the words of a block, (BLOCK,)."""
    for j in range(BLOCK // 2):
        a = (np.uint64(block) * np.uint64(BLOCK // 2) + np.uint64(j)) & np.uint64(0xFFFFFFFF)
        b, k = np.uint64(key[1]), np.uint64(key[0])
        for _ in range(7):
            product = (a & np.uint64(0xFFFFFFFF)) * np.uint64(0xD256D193)
            a = (product >> np.uint64(32)) ^ k ^ b
            b = product & np.uint64(0xFFFFFFFF)
            k = (k + np.uint64(0x9E3779B9)) & np.uint64(0xFFFFFFFF)
        draws[j], draws[j + BLOCK // 2] = a, b


@nb.njit(cache=True, nogil=True)
def drawn(words, key):
    """Return the draws of a memory of this number of words, in the write of this key; (words,) uint32."""
    blocks = (words + BLOCK - 1) // BLOCK
    draws = np.empty(blocks * BLOCK, np.uint32)
    for block in range(blocks):
        fill_draws(block, key, draws[block * BLOCK : (block + 1) * BLOCK])
    return draws[:words]


def turned(distance: NDArray[np.float64], gap: Any, draws: Draws) -> NDArray[np.bool_]:
    """Whether numbers at a distance from a neighbour become the one across the gap."""
    return np.asarray(draws * gap < distance * DRAWS)


def floating(values: NDArray[Any], draws: Draws, *, fraction_bits: int, least_exponent: int) -> NDArray[np.float64]:
    """Round finite numbers to a floating-point format; NaN and infinities pass.

    Parameters
    ----------
    values, draws : array
        Of the same shape.
    fraction_bits, least_exponent : int
        Of the format; the exponent that of its least normal number.

    Returns
    -------
    array of float64
        Numbers of the format. A finite number beyond the largest one becomes that, or the next power of two, which the
        format writes as infinity.
    """
    with np.errstate(invalid="ignore"):  # of a signalling NaN
        magnitude = np.abs(values.astype(np.float64))
    finite = np.isfinite(magnitude)
    magnitude[~finite] = 0.0
    place = np.maximum(np.frexp(magnitude)[1] - 1, least_exponent) - fraction_bits  # of the last bit
    steps = np.ldexp(magnitude, -place)
    whole = np.floor(steps)
    rounded = np.ldexp(whole + turned(steps - whole, 1.0, draws), place)
    with np.errstate(invalid="ignore"):
        return np.where(finite, np.copysign(rounded, values), values)


def int8_steps(values: NDArray[Any], draws: Draws, *, scale: float) -> NDArray[np.float64]:
    """Round finite numbers to -128..127 steps of a scale, as float64; what is beyond becomes the end.

    The distances are those of the float32 numbers that the words are read as.
    """
    x = values.astype(np.float64)
    with np.errstate(over="ignore"):
        steps = np.clip(np.rint(x * (1.0 / scale)), -128.0, 127.0) + 0.0
    near = _single(steps * scale)
    other = steps + np.where(x > near, 1.0, -1.0)
    turns = turned(np.abs(x - near), np.abs(_single(other * scale) - near), draws)
    return np.where(turns & (other >= -128.0) & (other <= 127.0), other, steps)


def _single(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return values.astype(np.float32).astype(np.float64)
