"""Kernels on packed bits: products, signs, patches, pools.

Legend: bit 1 is +1, bit 0 is -1. n samples; h, w pixels, p = h w; c channels in words of 64, channel i is bit i % 64 of
word i // 64, and the bits beyond the last channel are 0. Packed activations are (n, p, words). A product has m rows
(samples times output pixels) of t words, and its outputs in blocks of 64 lanes, weights (blocks, t, 64).

With d = popcount(x XOR w) over k bits, the product of the +-1 vectors is k - 2 d. One vector instruction handles one
word of x against that word of eight outputs, so that no sum runs across a vector; a tile of 4 rows and 16 outputs stays
in registers over all t words.
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
VECTOR, VECTORS = 8, 2  # outputs in a vector, vectors in a tile

I64 = ir.IntType(64)
EIGHT = ir.VectorType(I64, VECTOR)


def _tile(rows: int) -> Any:
    """Make tile(x, w, i, b, counts): counts[r, j] = popcount of row i + r of x against output j of block b of w.

    The loop over words is written in LLVM's vector types, which LLVM turns into whatever the processor has: left to
    itself it keeps the sums in memory, at a third of the speed.
    """

    @intrinsic
    def tile(_, x, w, i, b, counts):
        def generate(context, builder, signature, arguments):
            x, w, counts = (
                cgutils.create_struct_proxy(signature.args[k])(context, builder, arguments[k]) for k in (0, 1, 4)
            )
            t = cgutils.unpack_tuple(builder, x.shape)[1]
            row = builder.gep(x.data, [builder.mul(arguments[2], t)])
            block = builder.gep(w.data, [builder.mul(arguments[3], builder.mul(t, I64(LANES)))])
            for first in range(0, LANES, VECTOR * VECTORS):
                sums = _loop(builder, rows, row, builder.gep(block, [I64(first)]), t)
                for (r, v), sum_ in sums.items():
                    _vector(builder, counts.data, I64(r * LANES + first + v * VECTOR), sum_)
            return context.get_dummy_value()

        return nb.void(x, w, nb.int64, nb.int64, counts), generate

    return tile


def _loop(builder: Any, rows: int, x: Any, w: Any, t: Any) -> dict[tuple[int, int], Any]:
    """Build the loop over the t words of a row; return the sums of each (row, vector)."""
    popcount = cgutils.get_or_insert_function(builder.module, ir.FunctionType(EIGHT, [EIGHT]), "llvm.ctpop.v8i64")
    before, loop, after = builder.block, builder.append_basic_block("word"), builder.append_basic_block("done")
    builder.branch(loop)
    builder.position_at_end(loop)
    k = builder.phi(I64)
    k.add_incoming(I64(0), before)
    sums = {(r, v): builder.phi(EIGHT) for r in range(rows) for v in range(VECTORS)}
    at = builder.mul(k, I64(LANES))
    weights = [_vector(builder, w, builder.add(at, I64(v * VECTOR))) for v in range(VECTORS)]
    done = {}
    for r in range(rows):
        word = builder.load(builder.gep(x, [builder.add(k, builder.mul(t, I64(r)))]))
        lane = builder.insert_element(ir.Constant(EIGHT, ir.Undefined), word, ir.IntType(32)(0))
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), VECTOR), [0] * VECTOR)
        everywhere = builder.shuffle_vector(lane, lane, zeros)
        for v in range(VECTORS):
            differing = builder.call(popcount, [builder.xor(everywhere, weights[v])])
            done[r, v] = builder.add(sums[r, v], differing)
    following = builder.add(k, I64(1))
    k.add_incoming(following, loop)
    for key, phi in sums.items():
        phi.add_incoming(ir.Constant(EIGHT, [0] * VECTOR), before)
        phi.add_incoming(done[key], loop)
    builder.cbranch(builder.icmp_signed("<", following, t), loop, after)
    builder.position_at_end(after)
    return done


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
    if i + ROWS <= x.shape[0]:
        _tile_of_rows(x, w, i, b, counts)
        return ROWS
    _tile_of_one(x, w, i, b, counts)
    return 1


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

    kernel, stride, padding are pairs (vertical, horizontal). What lies in the padding is 0 in all bits; the product
    takes what that adds to the popcount off again.
    """
    n, h, w, size = words.shape
    run, width = kernel[1] * size, w * size  # taps of one row of the kernel lie side by side
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
