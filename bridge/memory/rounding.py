"""Rounding of float32 numbers to those of a format, in place: one pass over memory, range check included.

The rules are those of `Format.encode`, whose NumPy code is the reference; these kernels give its numbers bit for bit.
Legend: b the bits of a number, m those of its magnitude. Loops are branch-free, one format each, so that they become
vector instructions.
"""

from typing import Any

import numba as nb
import numpy as np

from bridge.memory.stochastic import BLOCK, DRAWS, fill_draws

NEVER = 0xFFFFFFFF  # a limit that nothing exceeds
FP32, BF16, FP16, INT8 = range(4)
KINDS = {"fp32": FP32, "bf16": BF16, "fp16": FP16, "int8": INT8}

U: Any = np.uint32
F: Any = np.float32
D: Any = np.float64
MAGNITUDE, SIGN, INFINITY = 0x7FFFFFFF, 0x80000000, 0x7F800000
NEAR_TIE = 0.5 - 1e-9  # of a step: the error of a product in place of a quotient is 1e-13


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
def _fp16_drawn(bits, draws):
    for i in range(bits.size):
        steps = F(U(bits[i] & U(MAGNITUDE)).view(F) * F(2.0**24))
        whole = F(np.floor(steps))
        turns = D(draws[i]) < D(steps - whole) * DRAWS
        small = F(F(whole + F(turns)) * F(2.0**-24))
        bits[i] = _half(bits[i], U(~draws[i]) >> U(19), F(small).view(U))


@nb.njit(cache=True, nogil=True)
def _int8(bits, scale, saturate):
    """Return the first value that int8 does not have, or -1."""
    inverse, odd, away = 1.0 / scale, np.int64(0), np.int32(0)
    bound = np.inf if saturate else 127.25
    for i in range(bits.size):
        away |= np.int32(0x7F7FFFFF) - np.int32(bits[i] & U(MAGNITUDE))
        steps = D(U(bits[i]).view(F)) * inverse
        odd |= D(NEAR_TIE - abs(steps - np.rint(steps))).view(np.int64) | D(bound - abs(steps)).view(np.int64)
    if away < 0 or odd < 0:
        return _int8_one_by_one(bits, scale, saturate)
    for i in range(bits.size):
        steps = np.rint(D(U(bits[i]).view(F)) * inverse)
        steps = min(max(steps, -128.0), 127.0)
        bits[i] = F((steps + 0.0) * scale).view(U)  # + 0.0: no -0.0
    return -1


@nb.njit(cache=True, nogil=True)
def _int8_one_by_one(bits, scale, saturate):
    for i in range(bits.size):
        steps = np.rint(D(U(bits[i]).view(F)) / scale)
        if not np.isfinite(steps) or (not saturate and (steps < -128.0 or steps > 127.0)):
            return i
        steps = min(max(steps, -128.0), 127.0)
        bits[i] = F((steps + 0.0) * scale).view(U)
    return -1


@nb.njit(cache=True, nogil=True)
def _int8_drawn(bits, scale, saturate, draws):
    """Return the first value that int8 does not have, or -1."""
    inverse, away, beyond = 1.0 / scale, np.int32(0), np.int64(0)
    least = -np.inf if saturate else D(F(-128.0 * scale))
    most = np.inf if saturate else D(F(127.0 * scale))
    for i in range(bits.size):
        away |= np.int32(0x7F7FFFFF) - np.int32(bits[i] & U(MAGNITUDE))
        x = D(U(bits[i]).view(F))
        beyond |= D(most - x).view(np.int64) | D(x - least).view(np.int64)
    if away < 0 or beyond < 0:
        for i in range(bits.size):
            x = D(U(bits[i]).view(F))
            if not np.isfinite(x) or x < least or x > most:
                return i
    for i in range(bits.size):
        x = D(U(bits[i]).view(F))
        steps = min(max(np.rint(x * inverse), -128.0), 127.0) + 0.0
        other = steps + (1.0 if x > D(F(steps * scale)) else -1.0)
        near, far = D(F(steps * scale)), D(F(other * scale))
        turns = (D(draws[i]) * abs(far - near) < abs(x - near) * DRAWS) & (other >= -128.0) & (other <= 127.0)
        bits[i] = F(far if turns else near).view(U)
    return -1


@nb.njit(cache=True, nogil=True)
def _exceeds(bits, limit):
    """Whether a magnitude is above the limit, as bits; NaN are."""
    sign = U(0)
    for i in range(bits.size):
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
    draws = np.empty(BLOCK, np.uint32)
    for block in range((bits.size + BLOCK - 1) // BLOCK):
        part = bits[block * BLOCK : (block + 1) * BLOCK]
        found = -1
        if key.size:
            fill_draws(block, key, draws)
            if kind == BF16:
                _bf16(part, draws)
            elif kind == FP16:
                _fp16_drawn(part, draws)
            elif kind == INT8:
                found = _int8_drawn(part, scale, saturate, draws)
        elif kind == BF16:
            _bf16(part, None)
        elif kind == FP16:
            _fp16(part)
        elif kind == INT8:
            found = _int8(part, scale, saturate)
        if found >= 0:
            return block * BLOCK + found
        if limit <= MAGNITUDE:
            beyond[block] = _exceeds(part, U(limit))
    return -1
