"""Writes with errors drawn by key: the errors of a sample depend on its key alone, on any number of processes.

Legend: n samples, f cells a sample, p01 = error_rate_1 (a 1 that ends as 0), p10 = error_rate_0, key 64 bits a sample.

Which cells fail is decided in `bnn/errors/uniforms.py`; the draws are nested over the rates. A failed cell ends as the
other bit (independent errors), or as the bit that it held (overwrite errors, `held`): the same cells for the same key.
Bits are +1 and -1, or packed (`write_packed`).

Rates are numbers, or arrays (s, f): row i % s of them is for sample i.
"""

from typing import Any

import numba as nb
import numpy as np
from llvmlite import ir
from numba.extending import intrinsic
from numpy.typing import NDArray

from bnn.errors.uniforms import U, decide, first_places, padded, sample_keys
from bridge.memory.fetch import LINE, fetch

ONE, SIGN = 0x3F800000, 31  # of a float32: the bits of 1.0; the place of its sign, which is set in a -1

VECTOR = ir.VectorType(ir.IntType(32), 32)  # 32 cells; LLVM makes instructions of the machine's own width of them

Rate = float | NDArray[np.float64]
Words = NDArray[np.uint64]


# ---- +1 and -1, as the unsigned integers of their bits, (n, f) uint32 ------------------------------------------------


def _lanes(builder: Any, context: Any, kind: Any, array: Any, k: Any) -> Any:
    """Pointer to 32 cells of an array, from number k."""
    data = context.make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [k]), VECTOR.as_pointer())


def _signs(_: Any, cells: Any, k: Any) -> Any:
    """Return the signs of 32 cells from number k, one bit each."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        values = builder.load(_lanes(builder, context, signature.args[0], *arguments), align=4)
        negative = builder.icmp_signed("<", values, ir.Constant(VECTOR, None))
        return builder.bitcast(negative, ir.IntType(32))

    return nb.uint32(cells, nb.uint64), generate


_signs_of: Any = intrinsic(_signs)


def _turned(_: Any, cells: Any, k: Any, wrong: Any, new: Any) -> Any:
    """Write 32 cells from number k, those whose bit is set in `wrong` with the other sign."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        cells, k, wrong, new = arguments
        values = builder.load(_lanes(builder, context, signature.args[0], cells, k), align=4)
        other = builder.xor(values, ir.Constant(VECTOR, [1 << SIGN] * 32))
        turn = builder.bitcast(wrong, ir.VectorType(ir.IntType(1), 32))
        written = builder.select(turn, other, values)
        builder.store(written, _lanes(builder, context, signature.args[3], new, k), align=4)
        return context.get_dummy_value()

    return nb.void(cells, nb.uint64, nb.uint32, new), generate


_turn: Any = intrinsic(_turned)


@nb.njit(cache=True, nogil=True)
def pack(target, ones, new):
    """Set the bits of the cells that are written to 1; return 0 if all values are +1 or -1.

    Meanwhile the cells after the write, and the next sample, are fetched.
    """
    halves, whole, others = ones.view(np.uint32), target.size // 32, np.uint32(0)
    for h in range(whole):
        for line in range(0, 32, LINE):
            fetch(new, U(32) * U(h) + U(line))
            fetch(target, U(32) * U(h) + U(target.size) + U(line))
        halves[h] = ~_signs_of(target, U(32) * U(h))
    if target.size % 32:
        last = np.uint32(0)
        for j in range(target.size % 32):
            last |= (~target[32 * whole + j] >> np.uint32(SIGN)) << np.uint32(j)
        halves[whole] = last
    for k in range(target.size):
        others |= (target[k] & np.uint32(0x7FFFFFFF)) ^ np.uint32(ONE)
    return others


@nb.njit(inline="always", cache=True)
def _written(k, j, fails, target, old, failed, new):
    """Write cell k, which fails if bit j is set."""
    wrong = (fails >> np.uint32(j)) & np.uint32(1)
    if failed is not None:
        failed[k] = wrong
    if old is None:
        new[k] = target[k] ^ (wrong << np.uint32(SIGN))
    else:
        new[k] = target[k] ^ ((np.uint32(0) - wrong) & (target[k] ^ old[k]))


@nb.njit(cache=True, nogil=True)
def write_row(fails, target, old, failed, new):
    """Write a sample."""
    parts, whole = fails.view(np.uint32), target.size // 32
    for h in range(whole):
        part = parts[h]
        if old is None and failed is None:
            _turn(target, U(32) * U(h), part, new)
        else:
            for j in range(32):
                _written(U(32) * U(h) + U(j), j, part, target, old, failed, new)
    for k in range(32 * whole, target.size):
        _written(U(k), k - 32 * whole, parts[whole], target, old, failed, new)


@nb.njit(cache=True, nogil=True)
def write(x, out, held, failed, counts, keys, p01, p10):
    """Write x to out, (n, f) uint32; return whether a value of x is not +1 or -1. See `write_samples`."""
    n, f = x.shape
    ones, others = np.zeros(padded(f), np.uint64), np.uint32(0)
    fails, equal = np.empty_like(ones), np.empty_like(ones)
    places = first_places(p10, f), first_places(p01, f)
    for i in range(n):
        r0, r1 = i % len(p10), i % len(p01)
        others |= pack(x[i], ones, out[i])
        decide(keys[i], (places[0][r0], places[1][r1]), (p10[r0], p01[r1]), f, ones, fails, equal)
        mark = None if failed is None else failed[i]
        if held is None:
            write_row(fails, x[i], None, mark, out[i])
        else:
            slots = held.shape[0]
            write_row(fails, x[i], held[i] if i < slots else out[i - slots], mark, out[i])
    if counts is not None:
        count_writes(x, out, held, counts)
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
def _write_samples(x, out, held, failed, counts, root, layer, step, samples, p01, p10):
    return write(x, out, held, failed, counts, sample_keys(root, layer, step, samples), p01, p10)


def _pointed(_: Any, address: Any) -> Any:
    """Return a pointer to the cells at an address."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], ir.IntType(32).as_pointer())

    return nb.types.CPointer(nb.uint32)(address), generate


_pointer: Any = intrinsic(_pointed)


@nb.njit(cache=True, nogil=True)
def write_at(x, out, cells, root, layer, step, samples, p01, p10):
    """Write `cells` float32 at address x to address out, as `write_samples`, with one rate of each bit.

    In the middle of a training step, where nothing of the interpreter is in a cache, each array that is made costs 10
    microseconds: an address does not.
    """
    shape = samples.size, cells // samples.size
    rates = np.array([[p01]]), np.array([[p10]])
    keys = sample_keys(root, layer, step, samples)
    return write(nb.carray(_pointer(x), shape), nb.carray(_pointer(out), shape), None, None, None, keys, *rates)


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
    """Write x to cells.

    Parameters
    ----------
    x : (n, f) float32 array, C order
        +1 and -1. Of other values the sign is what errs.
    root, layer, step, samples
        Of the keys, as in `sample_keys`.
    p01, p10 : float, or (s, f) arrays
        error_rate_1 and error_rate_0, of all cells, or of each; row i % s for sample i.
    out : array like x
        The contents of the cells after the write of each sample; may be `x` itself for independent errors.
    held : (slots, f) float32 array, optional
        The contents of the cells before, for overwrite errors: sample i is written to row i % slots, in order. Not
        changed here.
    failed : (n, f) uint8 array, optional
        Set to 1 where a write fails, whether or not the cell held the bit, and to 0 elsewhere.
    counts : (2, 3) int64 array, optional
        With `held`: see `count_writes`.

    Returns
    -------
    bool
        Whether x has values other than +1 and -1.
    """
    old = None if held is None else held.view(np.uint32)
    x, out = x.view(np.uint32), out.view(np.uint32)
    return _write_samples(x, out, old, failed, counts, root, layer, step, samples, _rows(p01), _rows(p10))


# ---- packed words ----------------------------------------------------------------------------------------------------


@nb.njit(cache=True, nogil=True)
def _write_packed(words, out, cells, keys, p01, p10):
    ones, width = np.zeros(padded(cells), np.uint64), words.shape[1]
    fails, equal = np.empty_like(ones), np.empty_like(ones)
    places = first_places(p10, cells), first_places(p01, cells)
    for i in range(words.shape[0]):
        r0, r1 = i % len(p10), i % len(p01)
        ones[:width] = words[i]
        decide(keys[i], (places[0][r0], places[1][r1]), (p10[r0], p01[r1]), cells, ones, fails, equal)
        for w in range(width):
            out[i, w] = ones[w] ^ fails[w]


def write_packed(words: Words, cells: int, keys: Words, p01: Rate, p10: Rate, out: Words | None = None) -> Words:
    """Write packed bits to cells, with independent errors: the cells that `write_samples` hits for the same keys.

    Parameters
    ----------
    words : (n, w) uint64 array, w = ceil(cells / 64)
        Cell k of a sample is bit k % 64 of word k // 64; set in a +1. The bits after the last cell stay as they are.
    cells : int
        Of a sample.
    keys : (n,) uint64 array
        One a sample, from `sample_keys`.
    p01, p10 : float, or (s, cells) arrays
        As in `write_samples`.
    out : array like words, optional
        For the result; may be `words`.

    Returns
    -------
    (n, w) uint64 array
        The contents of the cells.
    """
    out = np.empty_like(words) if out is None else out
    _write_packed(words, out, cells, keys, _rows(p01), _rows(p10))
    return out


def _rows(p: Rate) -> NDArray[np.float64]:
    """Return rates as an array (s, cells), or (1, 1) for one of all cells."""
    return np.array([[p]]) if isinstance(p, float) else np.ascontiguousarray(np.atleast_2d(p), dtype=np.float64)
