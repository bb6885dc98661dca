"""Kernels on packed bits: products, signs, patches, pools.

Legend: bit 1 is +1, bit 0 is -1. n samples; h, w pixels, p = h w; c channels in words of 64, channel i is bit i % 64 of
word i // 64, and the bits beyond the last channel are 0. Packed activations are (n, p, words). A product has m rows
(samples times output pixels) of t words, and its outputs in blocks of 64 lanes, weights (blocks, t, 64).

With d = popcount(x XOR w) over k bits, the product of the +-1 vectors is k - 2 d. One vector instruction handles one
word of x against that word of eight outputs, so that no sum runs across a vector; the sums of 4 rows and 8 outputs
stay in registers. They are bytes, since every processor counts the bits of bytes; a byte can count those of 31 words.
"""

from typing import Any

import numba as nb
import numpy as np
from llvmlite import ir
from numba.core import cgutils
from numba.extending import intrinsic

U = nb.uint64
LANES = 64  # outputs in a block: one word of the next layer
ROWS = 4  # rows in a tile
VECTOR = 8  # outputs in a vector
WORDS = 31  # whose bits a byte can count: 31 times 8 < 256

I64 = ir.IntType(64)
EIGHT, BYTES = ir.VectorType(I64, VECTOR), ir.VectorType(ir.IntType(8), 8 * VECTOR)


def _tile(rows: int) -> Any:
    """Make tile(x, w, i, b, first, last, counts).

    It adds to counts[r, j] the popcount of row i + r of x against output j of block b of w, over the words from `first`
    to `last` - 1, at most WORDS. The loop over words is written in LLVM's vector types, which LLVM turns into whatever
    the processor has: left to itself it keeps the sums in memory, at a third of the speed.
    """

    @intrinsic
    def tile(_, x, w, i, b, first, last, counts):
        def generate(context, builder, signature, arguments):
            x, w, counts = (
                cgutils.create_struct_proxy(signature.args[k])(context, builder, arguments[k]) for k in (0, 1, 6)
            )
            i, b, first, last = arguments[2:6]
            t = cgutils.unpack_tuple(builder, x.shape)[1]
            row = builder.gep(x.data, [builder.mul(i, t)])
            block = builder.gep(w.data, [builder.mul(b, builder.mul(t, I64(LANES)))])
            for lane in range(0, LANES, VECTOR):
                sums = _loop(builder, rows, row, builder.gep(block, [I64(lane)]), t, first, last)
                for r, bytes_ in enumerate(sums):
                    at = I64(r * LANES + lane)
                    _vector(builder, counts.data, at, builder.add(_vector(builder, counts.data, at), bytes_))
            return context.get_dummy_value()

        return nb.void(x, w, nb.int64, nb.int64, nb.int64, nb.int64, counts), generate

    return tile


def _loop(builder: Any, rows: int, x: Any, w: Any, t: Any, first: Any, last: Any) -> list[Any]:
    """Build the loop over words, against eight outputs; return the sums of each row."""
    popcount = cgutils.get_or_insert_function(builder.module, ir.FunctionType(BYTES, [BYTES]), "llvm.ctpop.v64i8")
    before, loop, after = builder.block, builder.append_basic_block("word"), builder.append_basic_block("done")
    builder.branch(loop)
    builder.position_at_end(loop)
    k = builder.phi(I64)
    k.add_incoming(first, before)
    sums = [builder.phi(BYTES) for _ in range(rows)]
    weights = _vector(builder, w, builder.mul(k, I64(LANES)))
    done = []
    for r in range(rows):
        word = builder.load(builder.gep(x, [builder.add(k, builder.mul(t, I64(r)))]))
        lane = builder.insert_element(ir.Constant(EIGHT, ir.Undefined), word, ir.IntType(32)(0))
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), VECTOR), [0] * VECTOR)
        differing = builder.xor(builder.shuffle_vector(lane, lane, zeros), weights)
        done.append(builder.add(sums[r], builder.call(popcount, [builder.bitcast(differing, BYTES)])))
    following = builder.add(k, I64(1))
    k.add_incoming(following, loop)
    for r in range(rows):
        sums[r].add_incoming(ir.Constant(BYTES, [0] * BYTES.count), before)
        sums[r].add_incoming(done[r], loop)
    builder.cbranch(builder.icmp_signed("<", following, last), loop, after)
    builder.position_at_end(after)
    return [_sum_of_bytes(builder, builder.bitcast(each, EIGHT)) for each in done]


def _sum_of_bytes(builder: Any, bytes_: Any) -> Any:
    """Add the eight bytes of each word: in pairs, then the four pairs."""

    def same(value: int) -> Any:
        return ir.Constant(EIGHT, [value] * VECTOR)

    even = same(0x00FF00FF00FF00FF)
    pairs = builder.add(builder.and_(bytes_, even), builder.and_(builder.lshr(bytes_, same(8)), even))
    for shift in (32, 16):
        pairs = builder.add(pairs, builder.lshr(pairs, same(shift)))
    return builder.and_(pairs, same(0xFFFF))


def _vector(builder: Any, base: Any, offset: Any, value: Any = None) -> Any:
    """Load the vector at base[offset], or store `value` there; aligned as a word is."""
    place = builder.bitcast(builder.gep(base, [offset]), EIGHT.as_pointer())
    if value is not None:
        return builder.store(value, place, align=8)
    return builder.load(place, align=8)


_tile_of_rows, _tile_of_one = _tile(ROWS), _tile(1)
_inline = nb.njit(inline="always", cache=True)


@_inline
def _count(x, w, i, b, counts):
    """Fill counts for as many rows from i on as there are, up to ROWS; return how many."""
    counts[:] = 0
    for first in range(0, x.shape[1], WORDS):
        last = min(first + WORDS, x.shape[1])
        if i + ROWS <= x.shape[0]:
            _tile_of_rows(x, w, i, b, first, last, counts)
        else:
            _tile_of_one(x, w, i, b, first, last, counts)
    return ROWS if i + ROWS <= x.shape[0] else 1


@nb.njit(cache=True, nogil=True)
def product_bits(x, w, limits, classes, flip, out):
    """Bit of each output: popcount <= limit, turned where `flip` is set.

    Parameters
    ----------
    x : (m, t) uint64
    w : (blocks, t, 64) uint64
    limits : (border classes, 64 blocks) int64
        Of the outputs that do not exist: -1, and flip 0, so that their bits are 0.
    classes : (p,) int64
        Border class of each output pixel; row i is pixel i % p.
    flip : (blocks,) uint64
    out : (m, blocks) uint64
    """
    counts = np.empty((ROWS, LANES), np.int64)
    p = classes.size
    for b in range(w.shape[0]):
        i = 0
        while i < x.shape[0]:
            rows = _count(x, w, i, b, counts)
            for r in range(rows):
                limit = limits[classes[(i + r) % p], b * LANES : (b + 1) * LANES]
                word = U(0)
                for j in range(LANES):
                    word |= U(counts[r, j] <= limit[j]) << U(j)
                out[i + r, b] = word ^ flip[b]
            i += rows


@nb.njit(cache=True, nogil=True)
def product_sums(x, w, base, classes, out):
    """Products themselves, base - 2 popcount, exact in float32.

    `out` is (m, outputs), `base` (border classes, 64 blocks) int64; the others as `product_bits`.
    """
    counts = np.empty((ROWS, LANES), np.int64)
    p, outputs = classes.size, out.shape[1]
    for b in range(w.shape[0]):
        first, last = b * LANES, min((b + 1) * LANES, outputs)
        i = 0
        while i < x.shape[0]:
            rows = _count(x, w, i, b, counts)
            for r in range(rows):
                start, count = base[classes[(i + r) % p], first:last], counts[r]
                row = out[i + r, first:last]
                for j in range(row.size):
                    row[j] = np.float32(start[j] - 2 * count[j])
            i += rows


def _ones(_: Any, word: Any) -> Any:
    """Return the number of bits that are set."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return nb.uint64(nb.uint64), generate


_ones_of: Any = intrinsic(_ones)


@nb.njit(cache=True, nogil=True)
def gated_sums(gates, signs, gates_w, signs_w, out):
    """Products of values that may be 0, as a gated XNOR: where both gates are set, +1 for equal signs, else -1.

    gates, signs (m, t) against gates_w, signs_w (blocks, t, 64), into out (m, outputs) float32.
    """
    counts, outputs = np.empty(LANES, np.int64), out.shape[1]
    for i in range(out.shape[0]):
        for b in range(gates_w.shape[0]):
            counts[:] = 0
            for k in range(gates.shape[1]):
                gate, sign = gates[i, k], signs[i, k]
                if gate == U(0):
                    continue
                open_, negative = gates_w[b, k], signs_w[b, k]
                for j in range(LANES):
                    both = gate & open_[j]
                    counts[j] += np.int64(_ones_of(both)) - 2 * np.int64(_ones_of(both & (sign ^ negative[j])))
            first = b * LANES
            for j in range(min(LANES, outputs - first)):
                out[i, first + j] = np.float32(counts[j])


@nb.njit(cache=True, nogil=True)
def split_planes(words, channels, gates, signs):
    """Split the two cells of ternary values, (n, p, words) of 2 c channels, into gate and sign, (n, p, words of c).

    The gate is set where the cells differ, the sign is the "plus" cell.
    """
    size, shift, rest = gates.shape[2], U(channels & 63), channels & 63
    last = (U(1) << U(rest)) - U(1) if rest else ~U(0)
    for i in range(words.shape[0]):
        for q in range(words.shape[1]):
            for k in range(size):
                at = k + channels // 64
                minus = words[i, q, at] >> shift
                if rest and at + 1 < words.shape[2]:
                    minus |= words[i, q, at + 1] << (U(64) - shift)
                plus, mask = words[i, q, k], last if k == size - 1 else ~U(0)
                gates[i, q, k], signs[i, q, k] = (plus ^ minus) & mask, plus & mask


@nb.njit(cache=True, nogil=True)
def by_channel(rows, out):
    """Lay rows, (n p, channels), out by channel, (n, channels, p): runs of pixels long enough for the cache."""
    n, c, p = out.shape
    for i in range(n):
        for first in range(0, p, 128):
            last = min(first + 128, p)
            run = rows[i * p + first : i * p + last]
            for j in range(c):
                pixels = out[i, j, first:last]
                for q in range(pixels.size):
                    pixels[q] = run[q, j]


@nb.njit(cache=True, nogil=True)
def pack_signs(x, out):
    """Pack x >= 0 of x, (n, c, p) float32, into out, (n, p, words); return whether an x is NaN, which has no sign."""
    n, c, p = x.shape
    nan = False
    for i in range(n):
        for k in range(out.shape[2]):
            channels = min(64, c - 64 * k)
            if p == 1:
                word, cells = U(0), x[i, 64 * k : 64 * k + channels, 0]
                for j in range(channels):
                    word |= U(cells[j] >= 0.0) << U(j)
                    nan |= cells[j] != cells[j]
                out[i, 0, k] = word
                continue
            out[i, :, k] = U(0)
            for j in range(channels):
                pixels, words = x[i, 64 * k + j], out[i, :, k]
                for q in range(p):
                    words[q] |= U(pixels[q] >= 0.0) << U(j)
                    nan |= pixels[q] != pixels[q]
    return nan


@nb.njit(cache=True, nogil=True)
def unpack_signs(words, out):
    """+-1 of the packed words, (n, p, words), into out, (n, c, p) float32."""
    n, c, p = out.shape
    for i in range(n):
        for j in range(c):
            for q in range(p):
                bit = (words[i, q, j >> 6] >> U(j & 63)) & U(1)
                out[i, j, q] = np.float32(1.0) if bit else np.float32(-1.0)


@nb.njit(cache=True, nogil=True)
def patches(words, kernel, stride, padding, out):
    """Lay the patch of every output pixel in a row: words, (n, h, w, words), into out, (n, h', w', taps words).

    kernel, stride, padding are pairs (vertical, horizontal). Padded pixels are 0 in all bits; the product subtracts
    their popcount.
    """
    n, h, w, size = words.shape
    run, width = kernel[1] * size, w * size  # taps of one row of the kernel are adjacent
    for i in range(n):
        for y in range(out.shape[1]):
            for ky in range(kernel[0]):
                v = y * stride[0] + ky - padding[0]
                inside = 0 <= v < h
                row = words[i, v if inside else 0].reshape(width)
                for x in range(out.shape[2]):
                    first = (x * stride[1] - padding[1]) * size
                    to = out[i, y, x]
                    for k in range(run):
                        at = first + k
                        to[U(ky * run + k)] = row[U(at)] if inside and 0 <= at < width else U(0)


@nb.njit(cache=True, nogil=True)
def pool_bits(words, kernel, stride, padding, every, out):
    """Any of the bits of each window, or every one of them where `every` is set.

    words (n, h, w, words) are pooled to out, (n, h', w', words); kernel, stride, padding are pairs (vertical,
    horizontal). A pixel in the padding is in no window.
    """
    n, h, w, size = words.shape
    for i in range(n):
        for y in range(out.shape[1]):
            top = y * stride[0] - padding[0]
            for x in range(out.shape[2]):
                left = x * stride[1] - padding[1]
                for k in range(size):
                    seen = U(0)
                    for v in range(max(top, 0), min(top + kernel[0], h)):
                        for u in range(max(left, 0), min(left + kernel[1], w)):
                            seen |= words[i, v, u, k] ^ every[k]
                    out[i, y, x, k] = seen ^ every[k]


@nb.njit(cache=True, nogil=True)
def weight_lanes(rows, channels, taps, out):
    """Weights as a product reads them: rows, (outputs, words) of cells k = channel taps + tap, into out.

    `out`, (blocks, taps words_of_channels, 64), is zero before.
    """
    size = out.shape[1] // taps
    for o in range(rows.shape[0]):
        b, lane = o // LANES, o % LANES
        if taps == 1:
            for k in range(size):
                out[b, k, lane] = rows[o, k]
            continue
        k = 0
        for c in range(channels):
            for tap in range(taps):
                bit = (rows[o, k >> 6] >> U(k & 63)) & U(1)
                out[b, tap * size + (c >> 6), lane] |= bit << U(c & 63)
                k += 1
