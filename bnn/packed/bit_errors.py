"""Write errors on packed bits: the very draws of `bnn/error_kernels.py`, with the cells in words of 64.

Cells are decided in the order in which torch has them, k = channel p + pixel, wherever their bits are: the same key
gives the same errors as on a tensor. Legend as there: p01 = error_rate_1, p10 = error_rate_0, one key a sample.

Frequent errors take four cells at a time, one random word of four 16-bit parts (SWAR): `a < b` in each part is the
borrow of a subtraction that no part passes on.
"""

import numba as nb
import numpy as np
from numpy.typing import NDArray

from bnn.error_kernels import FREQUENT, _mixed, _next, _unit, write_bits
from bnn.packed.kernels import U, pack_signs, unpack_signs

ONES, TOPS = 0x0001000100010001, 0x8000800080008000
_inline = nb.njit(inline="always", cache=True)


@nb.njit(cache=True, nogil=True)
def write_rare(words, channels, keys, p01, p10):
    """Write errors of small rates to words, (n, p, words), in place."""
    n, p, _ = words.shape
    f = channels * p
    largest = max(p01, p10)
    if largest <= 0.0:
        return
    scale = 1.0 / np.log1p(-largest)
    for i in range(n):
        a, b = _mixed(keys[i]), _mixed(keys[i] + U(0x9E3779B97F4A7C15))
        at = -1
        while True:
            word, a, b = _next(a, b)
            gap = np.log(_unit(word)) * scale
            if gap >= f - 1 - at:
                break
            at += 1 + int(gap)
            c, q = (at, 0) if p == 1 else (at // p, at % p)
            rate = p01 if (words[i, q, c >> 6] >> U(c & 63)) & U(1) else p10
            if rate < largest:
                word, a, b = _next(a, b)
                if _unit(word) * largest > rate:
                    continue
            words[i, q, c >> 6] ^= U(1) << U(c & 63)


@_inline
def _below(x, y):
    """Top bit of each 16-bit part of x that is below that part of y; all unsigned."""
    difference = (x | U(TOPS)) - (y & ~U(TOPS))
    return ((~x & y) | (~(x ^ y) & ~difference)) & U(TOPS)


@_inline
def _equal(x, y):
    """Top bit of each 16-bit part in which x and y agree."""
    other = x ^ y
    return ~(((other & ~U(TOPS)) + ~U(TOPS)) | other) & U(TOPS)


@_inline
def _apart(bits):
    """Spread 4 bits to the lowest bits of the four parts."""
    return (bits | (bits << U(15)) | (bits << U(30)) | (bits << U(45))) & U(ONES)


@_inline
def _together(tops):
    """Gather the top bits of the four parts."""
    low = tops >> U(15)
    return (low | (low >> U(15)) | (low >> U(30)) | (low >> U(45))) & U(15)


@_inline
def _four(bits, cells, a, b, t01, t10, rest01, rest10):
    """Return which of up to four cells that are told `bits` err, and the state of the stream after that."""
    word, a, b = _next(a, b)
    set_ = _apart(bits)
    threshold = set_ * t01 + (U(ONES) ^ set_) * t10
    wrong = _together(_below(word, threshold))
    ties = _together(_equal(word, threshold))
    if ties:
        for k in range(cells):
            if (ties >> U(k)) & U(1):
                more, a, b = _next(a, b)
                rest = rest01 if (bits >> U(k)) & U(1) else rest10
                wrong |= U(_unit(more) <= rest) << U(k)
    return wrong, a, b


@nb.njit(cache=True, nogil=True)
def write_frequent(words, channels, keys, p01, p10):
    """Write errors of any rates below 1 to words, (n, p, words), in place."""
    n, p, _ = words.shape
    f = channels * p
    t01, t10 = U(p01 * 65536.0), U(p10 * 65536.0)
    rest01, rest10 = p01 * 65536.0 - np.float64(t01), p10 * 65536.0 - np.float64(t10)
    for i in range(n):
        a, b = _mixed(keys[i]), _mixed(keys[i] + U(0x9E3779B97F4A7C15))
        if p == 1:
            for k in range(words.shape[2]):
                word, errors = words[i, 0, k], U(0)
                left = min(64, f - 64 * k)
                for j in range(0, left, 4):
                    cells = min(4, left - j)
                    wrong, a, b = _four((word >> U(j)) & U(15), cells, a, b, t01, t10, rest01, rest10)
                    errors |= wrong << U(j)
                if left < 64:
                    errors &= (U(1) << U(left)) - U(1)
                words[i, 0, k] = word ^ errors
            continue
        c, q = 0, 0
        for k in range(0, f, 4):
            cells = min(4, f - k)
            bits, c4, q4 = U(0), c, q
            for j in range(cells):
                bits |= ((words[i, q4, c4 >> 6] >> U(c4 & 63)) & U(1)) << U(j)
                q4 += 1
                if q4 == p:
                    c4, q4 = c4 + 1, 0
            wrong, a, b = _four(bits, cells, a, b, t01, t10, rest01, rest10)
            for j in range(cells):
                words[i, q, c >> 6] ^= ((wrong >> U(j)) & U(1)) << U(c & 63)
                q += 1
                if q == p:
                    c, q = c + 1, 0


def write_words(
    words: NDArray[np.uint64], channels: int, keys: NDArray[np.uint64], p01: float | NDArray, p10: float | NDArray
) -> NDArray[np.uint64]:
    """Return what the cells hold after `words` were written; the errors are those of `bnn.error_kernels.write_bits`.

    Parameters
    ----------
    words : (n, p, words) uint64
        Packed bits; left alone.
    channels : int
        Bits of a pixel.
    keys : (n,) uint64
        One a sample, from `sample_keys`.
    p01, p10 : float, or arrays of the cells of one sample, channel p + pixel
        error_rate_1 and error_rate_0. Rates of each cell, and a rate of 1, go by way of a tensor, more slowly.
    """
    out = np.ascontiguousarray(words).copy()
    if np.ndim(p01) or np.ndim(p10) or max(p01, p10) >= 1.0:
        n, p, _ = words.shape
        cells = np.empty((n, channels, p), np.float32)
        unpack_signs(out, cells)
        written = write_bits(cells.reshape(n, -1), keys, _flat(p01), _flat(p10))
        pack_signs(written.reshape(cells.shape), out)
    elif max(p01, p10) < FREQUENT:
        write_rare(out, channels, keys, float(p01), float(p10))
    else:
        write_frequent(out, channels, keys, float(p01), float(p10))
    return out


def _flat(rate: float | NDArray) -> float | NDArray:
    return np.asarray(rate, dtype=float).reshape(-1) if np.ndim(rate) else rate
