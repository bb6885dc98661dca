"""Write errors on packed activations: the draws of `bnn/errors/kernels.py`, whose cells have another order.

In torch, and in the draws, cell k of a sample is channel p + pixel; packed, the channels of a pixel are adjacent. The
conversion is the transpose of a matrix of bits, (pixels, channels) to (channels, pixels), in blocks of 64 by 64 bits:
six passes, which exchange halves, quarters ... of the block.
"""

import numba as nb
import numpy as np

from bnn.errors.kernels import Rate, Words, write_packed
from bnn.packed.kernels import U


@nb.njit(cache=True, nogil=True)
def _transpose(block):
    """Transpose 64 x 64 bits in place: bit c of word r becomes bit r of word c."""
    half, mask = 32, U(0xFFFFFFFF)
    while half:
        for first in range(0, 64, 2 * half):
            upper, lower = block[first : first + half], block[first + half : first + 2 * half]
            for r in range(half):
                swapped = ((upper[r] >> U(half)) ^ lower[r]) & mask
                upper[r] ^= swapped << U(half)
                lower[r] ^= swapped
        half >>= 1
        mask ^= mask << U(half)


@nb.njit(cache=True, nogil=True)
def to_cells(words, channels, out):
    """Lay packed pixels, (n, p, words), in the order of the cells, out (n, ceil(channels p / 64)), zeros before."""
    n, p, _ = words.shape
    block = np.empty(64, np.uint64)
    for i in range(n):
        for k in range(words.shape[2]):
            for first in range(0, p, 64):
                pixels = min(64, p - first)
                block[:pixels] = words[i, first : first + pixels, k]
                block[pixels:] = U(0)
                _transpose(block)
                for c in range(min(64, channels - 64 * k)):
                    at = (64 * k + c) * p + first
                    shift = at & 63
                    out[i, at >> 6] |= block[c] << U(shift)
                    if shift + pixels > 64:
                        out[i, (at >> 6) + 1] |= block[c] >> U(64 - shift)


@nb.njit(cache=True, nogil=True)
def from_cells(cells, channels, out):
    """Pack cells in their order, (n, ceil(channels p / 64)), by pixels: out (n, p, words)."""
    n, p, _ = out.shape
    block = np.empty(64, np.uint64)
    for i in range(n):
        for k in range(out.shape[2]):
            for first in range(0, p, 64):
                pixels = min(64, p - first)
                block[:] = U(0)
                for c in range(min(64, channels - 64 * k)):
                    at = (64 * k + c) * p + first
                    shift = at & 63
                    block[c] = cells[i, at >> 6] >> U(shift)
                    if shift + pixels > 64:
                        block[c] |= cells[i, (at >> 6) + 1] << U(64 - shift)
                _transpose(block)
                out[i, first : first + pixels, k] = block[:pixels]


def write_words(words: Words, channels: int, keys: Words, p01: Rate, p10: Rate) -> Words:
    """Return what the cells hold after `words` were written with independent errors.

    Parameters
    ----------
    words : (n, p, words) uint64
        Packed bits; left alone.
    channels : int
        Bits of a pixel.
    keys : (n,) uint64
        One a sample, from `sample_keys` of `bnn/errors/uniforms.py`: the errors are those of `write_samples` for the
        same keys.
    p01, p10 : float, or (1, channels p) arrays
        error_rate_1 and error_rate_0, of all cells or of each.
    """
    n, p, _ = words.shape
    if p == 1:
        return write_packed(words[:, 0], channels, keys, p01, p10)[:, np.newaxis]
    cells = np.zeros((n, -(-channels * p // 64)), np.uint64)
    to_cells(words, channels, cells)
    write_packed(cells, channels * p, keys, p01, p10, out=cells)
    out = np.empty_like(words)
    from_cells(cells, channels, out)
    return out
