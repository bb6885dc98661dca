"""Write errors drawn by key: the errors of a sample depend on its key alone, on any number of processes.

Legend: n samples, f cells a sample, p01 = error_rate_1 (a 1 that ends as 0), p10 = error_rate_0, key 64 bits a sample.

Each sample has its own stream, a xoshiro-family generator (xoroshiro128++) seeded from its key, and its cells are
decided in order. Two methods, each exact to 2^-53 and better at any rate:

* rare errors: the distance to the next cell that is hit is geometric with the largest rate, floor(log u / log(1 - p));
  a hit is then thinned to the rate of its cell and bit. The cost is that of the hits.
* frequent errors: 16 bits a cell against floor(2^16 p); where they are equal, with chance 2^-16, 53 more bits are
  compared with the fraction of 2^16 p. The cost is a quarter of a random word a cell: 64 cells at a time, without a
  branch, as if none were equal; blocks of 64 cells with an equal one, one in a thousand, are repeated cell by cell.

Both give the cells whose write *fails*. A failed cell ends as the other bit (independent errors), or as the bit that it
held (overwrite errors, `held`): the same cells for the same key. Bits are +1 and -1, or packed (`write_packed`). The
four kernels, two methods for two layouts, repeat each other's steps for the sake of speed.

Rates are numbers, or arrays (s, f): row i % s of them is for sample i.

References
----------
Blackman, Vigna, "Scrambled linear pseudorandom number generators", ACM Trans. Math. Softw. 47, 36 (2021).
Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014 (SplitMix64, for seeds and keys).
"""

from typing import Any

import numba as nb
import numpy as np
from numba.extending import overload
from numpy.typing import NDArray

FREQUENT = 0.02  # largest rate from which a decision for every cell costs less than distances
U: Any = nb.uint64
ONE, SIGN = 0x3F800000, 31  # of a float32: the bits of 1.0; the place of its sign, which is set in a -1

Rate = float | NDArray[np.float64]
Words = NDArray[np.uint64]

_jit = nb.njit(inline="always", cache=True)


@_jit
def _mixed(z):
    """SplitMix64's finaliser of z."""
    z = U(z)
    z = (z ^ (z >> U(30))) * U(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> U(27))) * U(0x94D049BB133111EB)
    return z ^ (z >> U(31))


@_jit
def _seeded(key):
    """State of the stream of a key."""
    return _mixed(key), _mixed(key + U(0x9E3779B97F4A7C15))


@_jit
def _next(a, b):
    """Return a word of xoroshiro128++ and the state after it."""
    s = a + b
    word = ((s << U(17)) | (s >> U(47))) + a
    b ^= a
    return word, ((a << U(49)) | (a >> U(15))) ^ b ^ (b << U(21)), (b << U(28)) | (b >> U(36))


@_jit
def _unit(word):
    """Uniform in (0, 1], a multiple of 2^-53."""
    return (nb.float64(word >> U(11)) + 1.0) * 1.1102230246251565e-16


def _row(p, i):
    """Rates of sample i: a number, or a row of an array (s, f)."""
    return p[i % len(p)] if np.ndim(p) else p


@overload(_row, inline="always")
def _(p, i):
    return (lambda p, i: p[i % p.shape[0]]) if isinstance(p, nb.types.Array) else (lambda p, i: p)


def _at(p, k):
    """Rate of cell k: a number, or an element of a row."""
    return p[k] if np.ndim(p) else p


@overload(_at, inline="always")
def _(p, k):
    return (lambda p, k: p[k]) if isinstance(p, nb.types.Array) else (lambda p, k: p)


def _whole(p):
    """Whole parts, int32."""
    return p.astype(np.int32) if np.ndim(p) else np.int32(p)


@overload(_whole, inline="always")
def _(p):
    return (lambda p: p.astype(np.int32)) if isinstance(p, nb.types.Array) else (lambda p: np.int32(p))


@nb.njit(cache=True)
def sample_keys(seed, layer, step, samples):
    """Return the key of each sample, (n,) uint64, from whole numbers >= 0 and the samples' numbers, (n,) int64."""
    golden = U(0x9E3779B97F4A7C15)
    root = _mixed(_mixed(_mixed(U(seed) + golden) + U(layer) * golden + golden) + U(step) * golden + golden)
    keys = np.empty(samples.size, np.uint64)
    for i in range(samples.size):
        keys[i] = _mixed(root + U(samples[i]) * golden + golden)
    return keys


# ---- +1 and -1, as the unsigned integers of their bits, (n, f) uint32 ------------------------------------------------


@nb.njit(cache=True, nogil=True)
def copy_bits(x, out):
    """Copy x to out; return whether a value is not +1 or -1."""
    others = np.uint32(0)
    for i in range(x.shape[0]):
        for k in range(x.shape[1]):
            others |= (x[i, k] & np.uint32(0x7FFFFFFF)) ^ np.uint32(ONE)
            out[i, k] = x[i, k]
    return others != 0


@nb.njit(cache=True, nogil=True)
def write_rare(x, out, held, failed, keys, p01, p10, largest):
    """Make cells of out, a copy of x, fail, where all rates are <= `largest`, < 1; return how many failed.

    held : (slots, f) uint32 or None, the former bits; those of sample i >= slots are sample i - slots as written.
    failed : (n, f) uint8 or None, 1 where a write fails; zeros before.
    """
    n, f = x.shape
    count = 0
    if largest <= 0.0:
        return count
    scale = 1.0 / np.log1p(-largest)
    for i in range(n):
        a, b = _seeded(keys[i])
        r01, r10 = _row(p01, i), _row(p10, i)
        at = -1
        while True:
            word, a, b = _next(a, b)
            gap = np.log(_unit(word)) * scale
            if gap >= f - 1 - at:
                break
            at += 1 + int(gap)
            rate = _at(r10, at) if x[i, at] >> np.uint32(SIGN) else _at(r01, at)
            if rate < largest:
                word, a, b = _next(a, b)
                if _unit(word) * largest > rate:
                    continue
            count += 1
            if failed is not None:
                failed[i, at] = 1
            if held is None:
                out[i, at] = x[i, at] ^ np.uint32(1 << SIGN)
            else:
                slots = held.shape[0]
                out[i, at] = held[i, at] if i < slots else out[i - slots, at]
    return count


@nb.njit(cache=True, nogil=True)
def write_frequent(x, out, held, failed, keys, t01, t10, rest01, rest10):
    """Copy x to out, with cells that fail; return whether a value of x is not +1 or -1. See `write_rare`.

    t, rest : whole and fractional part of 65536 times each rate, int32 and float64.
    """
    n, f = x.shape
    sign, others = np.uint32(SIGN), np.uint32(0)
    words, wrong = np.empty(16, np.uint64), np.empty(f, np.uint32)
    parts = words.view(np.uint16)
    for i in range(n):
        a, b = _seeded(keys[i])
        target, new, t1, t0 = x[i], out[i], _row(t01, i), _row(t10, i)
        for start in range(0, f, 64):
            m = min(64, f - start)
            first_a, first_b = a, b
            for j in range((m + 3) // 4):
                words[j], a, b = _next(a, b)
            ties = np.uint32(0)
            for j in range(m):
                k = U(start) + U(j)
                t = np.int32(_at(t0, k) if target[k] >> sign else _at(t1, k))
                over = np.int32(np.int32(parts[j]) - t)
                ties |= np.uint32(over == 0)
                wrong[k] = np.uint32(over) >> sign  # 1 where the part is below the threshold
            if ties:
                a, b = first_a, first_b
                word = U(0)
                for k in range(start, start + m):
                    if k & 3 == 0:
                        word, a, b = _next(a, b)
                    zero = target[k] >> sign
                    over = np.int32(np.int32(word & U(0xFFFF)) - (_at(t0, k) if zero else _at(t1, k)))
                    word >>= U(16)
                    wrong[k] = np.uint32(over) >> sign
                    if over == 0:
                        more, a, b = _next(a, b)
                        rest = _at(_row(rest10, i), k) if zero else _at(_row(rest01, i), k)
                        wrong[k] = np.uint32(_unit(more) <= rest)
        for k in range(f):
            others |= (target[k] & np.uint32(0x7FFFFFFF)) ^ np.uint32(ONE)
        if failed is not None:
            for k in range(f):
                failed[i, k] = wrong[k]
        if held is None:
            for k in range(f):
                new[k] = target[k] ^ (wrong[k] << sign)
        else:
            slots = held.shape[0]
            old = held[i] if i < slots else out[i - slots]
            for k in range(f):
                new[k] = target[k] ^ ((target[k] ^ old[k]) & (np.uint32(0) - wrong[k]))
    return others != 0


@nb.njit(cache=True, nogil=True)
def count_writes(x, out, held, counts):
    """Add to counts, (2, 3) int64 [bit, (turned, held, failed)]; the failed are among the turned."""
    n, f = x.shape
    slots = held.shape[0]
    for i in range(n):
        old = held[i] if i < slots else out[i - slots]
        zeros = turned = turned_0 = failed = failed_0 = np.uint32(0)
        for k in range(f):
            zero, differs, missed = x[i, k], x[i, k] ^ old[k], x[i, k] ^ out[i, k]
            zeros += zero >> np.uint32(SIGN)
            turned += differs >> np.uint32(SIGN)
            turned_0 += (differs & zero) >> np.uint32(SIGN)
            failed += missed >> np.uint32(SIGN)
            failed_0 += (missed & zero) >> np.uint32(SIGN)
        counts[0, 0] += turned_0
        counts[0, 1] += zeros - turned_0
        counts[0, 2] += failed_0
        counts[1, 0] += turned - turned_0
        counts[1, 1] += f - zeros - (turned - turned_0)
        counts[1, 2] += failed - failed_0


@nb.njit(cache=True, nogil=True)
def write(x, out, held, failed, counts, keys, p01, p10, largest):
    """Write x to out, at any rates; return whether a value of x is not +1 or -1."""
    if largest < FREQUENT:
        others = copy_bits(x, out)
        write_rare(x, out, held, failed, keys, p01, p10, largest)
    else:
        a, b = p01 * 65536.0, p10 * 65536.0
        t01, t10 = _whole(a), _whole(b)
        others = write_frequent(x, out, held, failed, keys, t01, t10, a - t01, b - t10)
    if counts is not None:
        count_writes(x, out, held, counts)
    return others


@nb.njit(cache=True, nogil=True)
def _write_samples(x, out, held, failed, counts, root, layer, step, samples, p01, p10, largest):
    keys = sample_keys(root, layer, step, samples)
    return write(x, out, held, failed, counts, keys, p01, p10, largest)


def write_bits(
    x: NDArray[np.float32],
    keys: Words,
    p01: Rate,
    p10: Rate,
    *,
    out: NDArray[np.float32],
    held: NDArray[np.float32] | None = None,
    failed: NDArray[np.uint8] | None = None,
    counts: NDArray[np.int64] | None = None,
) -> bool:
    """Write x to cells.

    Parameters
    ----------
    x : (n, f) float32 array, C order
        +1 and -1. Of other values the sign is what errs.
    keys : (n,) uint64 array
        One a sample, from `sample_keys`.
    p01, p10 : float, or (s, f) arrays
        error_rate_1 and error_rate_0, of all cells, or of each; row i % s for sample i.
    out : array like x
        The contents of the cells after the write of each sample.
    held : (slots, f) float32 array, optional
        The contents of the cells before, for overwrite errors: sample i is written to row i % slots, in order. Not
        changed here.
    failed : (n, f) uint8 array of zeros, optional
        Set to 1 where a write fails, whether or not the cell held the bit.
    counts : (2, 3) int64 array, optional
        With `held`: see `count_writes`.

    Returns
    -------
    bool
        Whether x has values other than +1 and -1.
    """
    p01, p10 = _alike(p01, p10)
    old = None if held is None else held.view(np.uint32)
    return write(x.view(np.uint32), out.view(np.uint32), old, failed, counts, keys, p01, p10, _largest(p01, p10))


def write_samples(
    x: NDArray[np.float32],
    root: np.uint64,
    layer: int,
    step: int,
    samples: NDArray[np.int64],
    p01: Rate,
    p10: Rate,
    *,
    out: NDArray[np.float32],
    held: NDArray[np.float32] | None = None,
    failed: NDArray[np.uint8] | None = None,
    counts: NDArray[np.int64] | None = None,
) -> bool:
    """Do what `write_bits` does with the keys of (root, layer, step, samples): one call, which is half the cost."""
    p01, p10 = _alike(p01, p10)
    old = None if held is None else held.view(np.uint32)
    return _write_samples(
        x.view(np.uint32),
        out.view(np.uint32),
        old,
        failed,
        counts,
        root,
        layer,
        step,
        samples,
        p01,
        p10,
        _largest(p01, p10),
    )


# ---- packed words ----------------------------------------------------------------------------------------------------


@nb.njit(cache=True, nogil=True)
def _packed_rare(words, out, cells, keys, p01, p10, largest):
    scale = 1.0 / np.log1p(-largest)
    for i in range(words.shape[0]):
        out[i] = words[i]
        a, b = _seeded(keys[i])
        r01, r10 = _row(p01, i), _row(p10, i)
        at = -1
        while True:
            word, a, b = _next(a, b)
            gap = np.log(_unit(word)) * scale
            if gap >= cells - 1 - at:
                break
            at += 1 + int(gap)
            bit = U(1) << U(at & 63)
            rate = _at(r01, at) if words[i, at >> 6] & bit else _at(r10, at)
            if rate < largest:
                word, a, b = _next(a, b)
                if _unit(word) * largest > rate:
                    continue
            out[i, at >> 6] ^= bit


@nb.njit(cache=True, nogil=True)
def _packed_frequent(words, out, cells, keys, t01, t10, rest01, rest10):
    draws = np.empty(16, np.uint64)
    parts = draws.view(np.uint16)
    for i in range(words.shape[0]):
        a, b = _seeded(keys[i])
        t1, t0 = _row(t01, i), _row(t10, i)
        for w in range((cells + 63) // 64):
            m = min(64, cells - 64 * w)
            first_a, first_b = a, b
            for j in range((m + 3) // 4):
                draws[j], a, b = _next(a, b)
            ties, wrong, target = 0, U(0), words[i, w]
            for j in range(m):
                k = U(64 * w) + U(j)
                t = _at(t1, k) if (target >> U(j)) & U(1) else _at(t0, k)
                over = np.int64(parts[j]) - np.int64(t)
                ties |= over == 0
                wrong |= (U(over) >> U(63)) << U(j)
            if ties:
                a, b = first_a, first_b
                word, wrong = U(0), U(0)
                for j in range(m):
                    if j & 3 == 0:
                        word, a, b = _next(a, b)
                    over = np.int64(word & U(0xFFFF))
                    word >>= U(16)
                    one = (target >> U(j)) & U(1)
                    k = 64 * w + j
                    over -= np.int64(_at(t1, k) if one else _at(t0, k))
                    fails = over < 0
                    if over == 0:
                        more, a, b = _next(a, b)
                        fails = _unit(more) <= (_at(_row(rest01, i), k) if one else _at(_row(rest10, i), k))
                    wrong |= U(fails) << U(j)
            out[i, w] = target ^ wrong


def write_packed(words: Words, cells: int, keys: Words, p01: Rate, p10: Rate, out: Words | None = None) -> Words:
    """Write packed bits to cells, with independent errors: the cells that `write_bits` hits for the same keys.

    Parameters
    ----------
    words : (n, w) uint64 array, w = ceil(cells / 64)
        Cell k of a sample is bit k % 64 of word k // 64; set in a +1. The bits after the last cell stay as they are.
    cells : int
        Of a sample.
    keys : (n,) uint64 array
        One a sample, from `sample_keys`.
    p01, p10 : float, or (s, cells) arrays
        As in `write_bits`.
    out : array like words, optional
        For the result; may be `words`.

    Returns
    -------
    (n, w) uint64 array
        The contents of the cells.
    """
    out = np.empty_like(words) if out is None else out
    p01, p10 = _alike(p01, p10)
    largest = _largest(p01, p10)
    if largest <= 0.0:
        out[...] = words
    elif largest < FREQUENT:
        _packed_rare(words, out, cells, keys, p01, p10, largest)
    else:
        _packed_frequent(words, out, cells, keys, *thresholds(p01, p10))
    return out


# ---- rates -----------------------------------------------------------------------------------------------------------


def _alike(p01: Rate, p10: Rate) -> tuple[Rate, Rate]:
    """Both as floats, or both as (s, f) arrays."""
    if np.ndim(p01) == np.ndim(p10) == 0:  # an int among them: as an array it would have one cell
        return float(p01), float(p10)
    a, b = np.broadcast_arrays(np.atleast_2d(p01), np.atleast_2d(p10))
    return np.ascontiguousarray(a, dtype=float), np.ascontiguousarray(b, dtype=float)


def _largest(p01: Rate, p10: Rate) -> float:
    if isinstance(p01, float) and isinstance(p10, float):
        return max(p01, p10)
    return float(max(np.max(p01), np.max(p10)))


def thresholds(p01: Rate, p10: Rate) -> tuple[Any, Any, Any, Any]:
    """Whole and fractional parts of 65536 times each rate."""
    a, b = p01 * 65536.0, p10 * 65536.0
    return _whole(a), _whole(b), a - _whole(a), b - _whole(b)
