"""Stochastic rounding: the draws of a write, and numbers rounded by them.

A number between two that a format has becomes the upper one with a chance equal to its distance from the lower one, in
units of the gap, to 2^-32: the mean is the number. One that the format has stays. The gap of int8 is its scale; its
numbers are multiples of it to the rounding of float32, chances are rounded to float32 too (2^-24 of each), and the mean
is the number to that rounding.

**Draws by key.** The draw of word i in write w of a memory is one half of an output of Philox2x32-7 [1], keyed by 64
bits that follow from the memory's seed and w; i decides the counter and the half. It depends on nothing else. Here are
the key and the rounding; `rounding.py` has the draws, and the same rounding as kernels.

References
----------
.. [1] Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC'11 (Philox2x32 with seven rounds
   passes BigCrush).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtjsim.rng import child

BLOCK = 1 << 12  # words at a time: numbers and draws stay in the first cache
DRAWS = 2.0**32  # how many values a draw has

Draws = NDArray[np.uint32]


def key_of(seed: int, operation: int) -> Draws:
    """Return the key of the draws of one write, (2,)."""
    return child(seed, "rounding", operation).generate_state(2, np.uint32).astype(np.uint32)


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
    rounded = np.ldexp(whole + (draws < (steps - whole) * DRAWS), place)
    with np.errstate(invalid="ignore"):
        return np.where(finite, np.copysign(rounded, values), values)


def int8_steps(values: NDArray[Any], draws: Draws, *, scale: float) -> NDArray[np.float64]:
    """Round finite numbers to -128..127 steps of a scale, as float64; what is beyond becomes the end.

    In float32, but for the multiples of the scale: the number's distance from the nearest of them is exact. A number
    that a word is read as, the float32 next to a multiple of the scale, stays.
    """
    with np.errstate(over="ignore"):
        x, inverse = values.astype(np.float32), np.float32(1.0 / scale)
        steps = np.clip(np.rint(x * inverse), np.float32(-128.0), np.float32(127.0)) + np.float32(0.0)
        away = x - (steps * np.float64(scale)).astype(np.float32)
        turns = draws < np.abs(away) * inverse * np.float32(DRAWS)
    other = steps.astype(np.float64) + np.where(away > 0, 1.0, -1.0)
    return np.where(turns & (other >= -128.0) & (other <= 127.0), other, steps)
