"""Rounding of float32 numbers to those of a format, in place: one pass over memory, range check included.

The rules are those of `Format.encode`, whose NumPy code is the reference; these kernels give its numbers bit for bit.
Legend: b the bits of a number, m those of its magnitude. Loops are free of branches, one format each, so that they
become vector instructions. Those that compute much read a copy of the block, `work`: measured, in place they take up
to two and a half times as long.
"""

from typing import Any

import numba as nb
import numpy as np
from numba.extending import intrinsic

from bridge.memory.fetch import LINE, fetch
from bridge.memory.stochastic import BLOCK, DRAWS

FP32, BF16, FP16, INT8 = range(4)
KINDS = {"fp32": FP32, "bf16": BF16, "fp16": FP16, "int8": INT8}

U: Any = np.uint32
F: Any = np.float32
D: Any = np.float64
MAGNITUDE, SIGN, INFINITY, LARGEST = 0x7FFFFFFF, 0x80000000, 0x7F800000, 0x7F7FFFFF
ROUNDER = 1.5 * 2**23  # float32 numbers of its size are whole
AT_ONCE, AHEAD = 64, 256  # numbers: fetched together, and how far ahead
NEAR_TIE = 0.5 - 1e-9  # of a step: the error of a product in place of a quotient is 1e-13


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


@nb.njit(cache=True, nogil=True, inline="always")
def _cut(b, kept, first):
    """Bits of a NaN cut to the bits `kept`; the quiet bit is set if nothing is left of the payload `first`."""
    cut = U(b & U(kept))
    return U(cut | U(0x400000)) if U(cut & U(first)) == U(0) else cut


@nb.njit(cache=True, nogil=True)
def _bf16(bits, draws):
    for i in range(bits.size):
        b = bits[i]
        carry = U(0x7FFF) + U((b >> U(16)) & U(1)) if draws is None else U(~draws[i]) >> U(16)
        cut = _cut(b, 0xFFFF0000, 0x7F0000)
        bits[i] = cut if U(b & U(MAGNITUDE)) > U(INFINITY) else U(U(b + carry) & U(0xFFFF0000))


@nb.njit(cache=True, nogil=True, inline="always")
def _half(b, carry, small):
    """Bits of a number rounded to fp16: the carry is added if it is normal there, `small` taken if it is subnormal."""
    m = U(b & U(MAGNITUDE))
    normal = U(U(m + carry) & U(0xFFFFE000))
    normal = U(INFINITY) if normal >= U(0x47800000) else normal  # 65536
    rounded = small if m < U(0x38800000) else normal  # 2^-14
    return _cut(b, 0xFFFFE000, 0x7FE000) if m > U(INFINITY) else U(rounded | U(b & U(SIGN)))


@nb.njit(cache=True, nogil=True)
def _fp16(bits):
    for i in range(bits.size):
        m = U(bits[i] & U(MAGNITUDE))
        small = F(F(U(m).view(F) + F(0.5)) - F(0.5))  # in [0.5, 1) the last place is 2^-24, the step of subnormal fp16
        bits[i] = _half(bits[i], U(0xFFF) + U((m >> U(13)) & U(1)), F(small).view(U))


@nb.njit(cache=True, nogil=True)
def _fp16_drawn(bits, work, draws):
    for i in range(bits.size):
        work[i] = bits[i]
    for i in range(bits.size):
        steps = F(U(work[i] & U(MAGNITUDE)).view(F) * F(2.0**24))
        whole = F(np.floor(steps))
        turns = draws[i] < U(np.ceil(F(F(steps - whole) * F(DRAWS))))
        small = F((whole + F(1.0) if turns else whole) * F(2.0**-24))
        bits[i] = _half(work[i], U(~draws[i]) >> U(19), F(small).view(U))


@nb.njit(cache=True, nogil=True)
def _int8(bits, scale, least, most, work):
    """Return the first value that int8 does not have, or -1: those from `least` to `most` steps are taken.

    A product takes the place of the quotient. Numbers for which the two may differ, and those that are not finite or
    not sure to be in range, stay as they are, and the block is gone through again: the others do not change then.
    """
    inverse, left = 1.0 / scale, np.int64(0)
    bound = np.int64(LARGEST if most > 127.0 else F(most * scale).view(U))
    for i in range(bits.size):
        work[i] = bits[i]
    for i in range(bits.size):
        b = work[i]
        x = D(U(b).view(F))
        whole = np.rint(x * inverse)
        odd = D(NEAR_TIE - abs(x * inverse - whole)).view(np.int64) | (bound - np.int64(b & U(MAGNITUDE)))
        left |= odd
        rounded = (min(max(whole, -128.0), 127.0) + 0.0) * scale  # + 0.0: no -0.0
        stays = U(odd >> np.int64(63))
        bits[i] = U(U(b & stays) | U(F(rounded).view(U) & U(~stays)))
    if left >= 0:
        return -1
    for i in range(bits.size):
        whole = np.rint(D(U(bits[i]).view(F)) / scale)
        if not (whole >= least and whole <= most):
            return i
        bits[i] = F((min(max(whole, -128.0), 127.0) + 0.0) * scale).view(U)
    return -1


def _fused(_: Any, a: Any, b: Any, c: Any) -> Any:
    """Return a b + c of float32, rounded once."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.fma(*arguments)

    return nb.float32(nb.float32, nb.float32, nb.float32), generate


_fma: Any = intrinsic(_fused)


@nb.njit(cache=True, nogil=True, inline="always")
def _multiple(steps, scale, low):
    """Return the float32 next to a multiple of the scale, which is one number, or two that add up to it."""
    return F(D(steps) * scale) if low is None else _fma(steps, scale, F(steps * low))


@nb.njit(cache=True, nogil=True, inline="always")
def _by_draw(x, draw, inverse, scale, low):
    """Return the number of int8 that x becomes, as bits: see `int8_steps`."""
    steps = F(min(max(F(x * inverse), F(-128.0)), F(127.0)))
    steps = F(F(steps + F(ROUNDER)) - F(ROUNDER))  # to a whole number, ties to even
    away = F(x - F(_multiple(steps, scale, low)))
    chance = F(F(F(abs(away)) * inverse) * F(DRAWS))
    turns = draw < U(np.ceil(min(chance, F(4294967040.0))))  # more is beyond the ends
    step = U(F(away).view(U) & U(SIGN)) | U(0x3F800000)
    other = F(steps + (U(step).view(F) if turns else F(0.0)))
    return F(_multiple(F(min(max(other, F(-128.0)), F(127.0))), scale, low)).view(U)


@nb.njit(cache=True, nogil=True)
def _in_parts(scale):
    """Return two float32 that add up to the scale, and whether all its multiples are exact by them."""
    high = F(scale)
    low, exact = F(scale - D(high)), True
    for k in range(-128, 128):
        exact &= F(_multiple(F(k), high, low)).view(U) == F(_multiple(F(k), scale, None)).view(U)
    return high, low, exact


@nb.njit(cache=True, nogil=True)
def _int8_drawn(bits, scale, least, most, work, draws):
    """Do the same by draws; what is between the numbers that the ends are read as is taken.

    The vector loops have numbers of 32 bits only: one of 64 would halve what an instruction does. They are two, for one
    that does both has too much at hand at once: measured, it takes twice as long.
    """
    inverse, left, (high, low, exact) = F(1.0 / scale), U(0), _in_parts(scale)
    bound = U(LARGEST) if most > 127.0 else F(most * scale).view(U)
    whole = bits.size // AT_ONCE * AT_ONCE
    for start in range(0, whole, AT_ONCE):
        for line in range(0, AT_ONCE, LINE):
            fetch(bits, np.uint64(start + AHEAD + line))
        for i in range(start, start + AT_ONCE):
            work[i] = bits[i]
            left |= U(bound - U(bits[i] & U(MAGNITUDE)))
    for i in range(whole, bits.size):
        work[i] = bits[i]
        left |= U(bound - U(bits[i] & U(MAGNITUDE)))
    if exact and left < U(SIGN):
        for i in range(bits.size):
            bits[i] = _by_draw(U(work[i]).view(F), draws[i], inverse, high, low)
        return -1
    least, most = D(F(least * scale)), D(F(most * scale))
    for i in range(bits.size):
        x = U(bits[i]).view(F)
        if not (x >= least and x <= most and abs(x) < np.inf):
            return i
        bits[i] = _by_draw(x, draws[i], inverse, scale, None)
    return -1


@nb.njit(cache=True, nogil=True)
def _exceeds(bits, limit):
    """Whether a magnitude is above the limit, as bits; NaN are."""
    sign, whole = U(0), bits.size // AT_ONCE * AT_ONCE
    for start in range(0, whole, AT_ONCE):
        for line in range(0, AT_ONCE, LINE):
            fetch(bits, np.uint64(start + AHEAD + line))
        for i in range(AT_ONCE):
            sign |= U(limit - U(bits[start + i] & U(MAGNITUDE)))
    for i in range(whole, bits.size):
        sign |= U(limit - U(bits[i] & U(MAGNITUDE)))
    return sign >> U(31) == U(1)


@nb.njit(cache=True, nogil=True)
def round_in_place(bits, kind, scale, saturate, key, limit, beyond):
    """Round numbers to those of a format, and mark the blocks that have one beyond a limit.

    Parameters
    ----------
    bits : (n,) array of uint32
        Of float32 numbers.
    kind : int
        Of `KINDS`.
    scale, saturate : float, bool
        Of int8.
    key : (2,) array of uint32
        Of stochastic rounding; empty: to nearest.
    limit : int
        Bits of the largest magnitude; above `MAGNITUDE`: no limit.
    beyond : (blocks,) array of bool
        Filled.

    Returns
    -------
    int
        Index of the first number that the format does not have, where it stops, or -1.
    """
    draws, work = np.empty(BLOCK, np.uint32), np.empty(BLOCK, np.uint32)
    least, most = (-1e300, 1e300) if saturate else (-128.0, 127.0)  # steps; a float32 has up to 3e76
    for block in range((bits.size + BLOCK - 1) // BLOCK):
        part = bits[block * BLOCK : (block + 1) * BLOCK]
        found = -1
        if key.size:
            fill_draws(block, key, draws)
            if kind == BF16:
                _bf16(part, draws)
            elif kind == FP16:
                _fp16_drawn(part, work, draws)
            elif kind == INT8:
                found = _int8_drawn(part, scale, least, most, work, draws)
        elif kind == BF16:
            _bf16(part, None)
        elif kind == FP16:
            _fp16(part)
        elif kind == INT8:
            found = _int8(part, scale, least, most, work)
        if found >= 0:
            return block * BLOCK + found
        if limit <= MAGNITUDE:
            beyond[block] = _exceeds(part, U(limit))
    return -1
