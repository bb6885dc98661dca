"""Products with binary and ternary weights: of packed bits by XNOR and popcount, of floats by torch."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from bnn.layers.binary import cells_of, read_back
from bnn.packed.kernels import (
    LANES,
    by_channel,
    gated_sums,
    patches,
    pool_bits,
    product_bits,
    product_sums,
    split_planes,
    weight_lanes,
)
from bnn.packed.steps import Bits, Step, Words, packed_rows, unpacked

ROWS_AT_ONCE = 4096  # output pixels whose patches are laid out at a time: some 100 kB, which stay in the cache


class SignedProduct:
    """Binary or ternary weights times a float input: torch's product, of the unpacked weights."""

    def __init__(self, step: Step, rows: Words) -> None:
        self.step = step
        self.weight = _values(rows, step.options["shape"], step.options.get("levels", 2))

    def __call__(self, x: Tensor) -> Tensor:
        """Multiply."""
        o = self.step.options
        if len(o["shape"]) == 2:
            return F.linear(x, self.weight)
        return F.conv2d(x, self.weight, **o["window"])


class BinaryProduct:
    """Binary weights times packed bits, by XNOR and popcount: the sums, or, folded, the bits of the next layer.

    Parameters
    ----------
    step : Step
        Options: `shape` of the weights; of a convolution `window`, its stride and padding as pairs; of a folded step
        `pool` (three pairs or None) and `flatten`. Arrays of a folded step: `threshold`, `invert`, `every`; see
        `bnn/packed/folding.py`.
    rows : (outputs, words) uint64
        The weights, cells in torch's order.

    Notes
    -----
    A row of patches has zero bits for a padded pixel, so that its popcount is that of the weights there. To make its
    product zero, the sums of each border class, the set of taps outside the image, start from a constant:

        sum = (channels x taps inside) + 2 x (popcount of the weights of the taps outside) - 2 popcount(x XOR w).
    """

    def __init__(self, step: Step, rows: Words) -> None:
        self.step, self.rows = step, rows
        self.outputs, self.cells = step.options["shape"][0], int(np.prod(step.options["shape"][1:]))
        self._lanes: dict[int, Words] = {}
        self._starts: dict[tuple[int, ...], tuple[np.ndarray, np.ndarray]] = {}

    def __call__(self, bits: Bits) -> Tensor | Bits:
        """Multiply."""
        shape = self.step.options["shape"]
        if len(shape) == 2:
            return self._linear(bits)
        if len(bits.shape) != 3 or bits.channels != shape[1]:
            raise ValueError(f"a convolution of {shape[1]} channels cannot take samples of shape {bits.shape}.")
        return self._conv(bits)

    def _linear(self, bits: Bits) -> Tensor | Bits:
        n, pixels, words = bits.words.shape
        if bits.shape != (self.cells,):
            raise ValueError(f"a packed layer takes samples of shape ({self.cells},), not {bits.shape}.")
        starts = np.full((1, self.outputs), self.cells, np.int64)
        if bits.channels * pixels != self.cells or words != -(-bits.channels // LANES):
            raise ValueError(f"{bits.channels} channels of {pixels} pixels are not the {self.cells} inputs of a layer.")
        product = self._product(bits.words.reshape(n, pixels * words), pixels, starts, np.zeros(1, np.int64))
        if "threshold" not in self.step.arrays:
            return torch.from_numpy(product)
        return Bits(product[:, np.newaxis], self.outputs, (self.outputs,))

    def _conv(self, bits: Bits) -> Tensor | Bits:
        kernel, stride, padding = self._window
        taps = kernel[0] * kernel[1]
        n, _, words = bits.words.shape
        h, w = bits.shape[1:]
        oh, ow = _sides((h, w), kernel, stride, padding)
        if min(oh, ow) < 1:
            raise ValueError(f"a kernel of {kernel} does not fit into samples of shape {bits.shape}.")
        starts, classes = self._border(h, w, oh, ow)
        images = bits.words.reshape(n, h, w, words)
        some = max(1, ROWS_AT_ONCE // (oh * ow))
        folded = "threshold" in self.step.arrays
        sums = np.empty((0 if folded else n, self.outputs, oh * ow), np.float32)
        bits_ = np.empty((n if folded else 0, oh, ow, -(-self.outputs // LANES)), np.uint64)
        for first in range(0, n, some):
            image = images[first : first + some]
            x = np.empty((len(image), oh, ow, taps * words), np.uint64)
            patches(image, kernel, stride, padding, x)
            product = self._product(x.reshape(-1, x.shape[3]), taps, starts, classes)
            if folded:
                bits_[first : first + some] = product.reshape(-1, oh, ow, bits_.shape[3])
            else:
                by_channel(product, sums[first : first + some])
        return self._pooled(bits_) if folded else torch.from_numpy(sums.reshape(n, self.outputs, oh, ow))

    @property
    def _window(self) -> list[tuple[int, ...]]:
        """Kernel, stride and padding, each of rows and columns."""
        o = self.step.options
        return [tuple(pair) for pair in (o["shape"][2:], o["window"]["stride"], o["window"]["padding"])]

    def _product(self, x: Words, taps: int, starts: np.ndarray, classes: np.ndarray) -> np.ndarray:
        """Rows times weights: float32 sums (m, outputs), or words (m, blocks) of a folded step."""
        lanes, arrays = self._weight_lanes(taps), self.step.arrays
        if "threshold" not in arrays:
            sums = np.empty((len(x), self.outputs), np.float32)
            product_sums(x, lanes, _in_lanes(starts, 0), classes, sums)
            return sums
        limits = _in_lanes((starts - arrays["threshold"]) // 2, -1)  # start - 2 d >= t as d <= limit; // is floor
        out = np.empty((len(x), len(lanes)), np.uint64)
        product_bits(x, lanes, limits, classes, _mask(arrays["invert"]), out)
        return out

    def _pooled(self, words: Words) -> Bits:
        o = self.step.options
        if o["pool"] is not None:
            kernel, stride, padding = (tuple(pair) for pair in o["pool"])
            sides = _sides(words.shape[1:3], kernel, stride, padding)
            out = np.empty((len(words), *sides, words.shape[3]), np.uint64)
            pool_bits(words, kernel, stride, padding, _mask(self.step.arrays["every"]), out)
            words = out
        n, h, w, size_ = words.shape
        shape = (self.outputs * h * w,) if o["flatten"] else (self.outputs, h, w)
        return Bits(words.reshape(n, h * w, size_), self.outputs, shape)

    def _weight_lanes(self, taps: int) -> Words:
        if taps not in self._lanes:
            channels = self.cells // taps
            lanes = np.zeros((-(-self.outputs // LANES), taps * -(-channels // 64), LANES), np.uint64)
            weight_lanes(self.rows, channels, taps, lanes)
            self._lanes[taps] = lanes
        return self._lanes[taps]

    def _border(self, h: int, w: int, oh: int, ow: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the starts of each border class, (classes, outputs), and the class of each output pixel."""
        key = (h, w)
        if key not in self._starts:
            kernel, stride, padding = self._window
            count = kernel[0] * kernel[1]
            lanes = self._weight_lanes(count)
            ones = np.bitwise_count(lanes).reshape(len(lanes), count, -1, LANES).sum(axis=2, dtype=np.int64)
            ones = ones.transpose(1, 0, 2).reshape(count, -1)[:, : self.outputs]  # (taps, outputs)
            y, x = (
                np.arange(out)[:, np.newaxis] * stride[k] + np.arange(kernel[k]) - padding[k]
                for k, out in enumerate((oh, ow))
            )
            rows, columns = (y >= 0) & (y < h), (x >= 0) & (x < w)  # (output, tap)
            taps = (rows[:, np.newaxis, :, np.newaxis] & columns[np.newaxis, :, np.newaxis]).reshape(oh * ow, -1)
            kinds, classes = np.unique(taps, axis=0, return_inverse=True)
            channels = self.cells // count
            starts = channels * kinds.sum(axis=1)[:, np.newaxis] + 2 * (~kinds).astype(np.int64) @ ones
            self._starts[key] = starts, classes.reshape(-1).astype(np.int64)
        return self._starts[key]


class GatedProduct:
    """Binary or ternary weights times packed bits or cells, zeros gated: the sums, which are whole numbers.

    Parameters
    ----------
    step : Step
        Options: `shape` of the weights, `levels` of inputs and of weights (2 or 3), `window` of a convolution.
    rows : (outputs, words) uint64
        The cells of the weights in torch's order, as they are written.
    """

    def __init__(self, step: Step, rows: Words) -> None:
        self.step = step
        self.inputs, weights = step.options["levels"]
        shape = step.options["shape"]
        self.outputs, self.channels, self.kernel = shape[0], shape[1], tuple(shape[2:]) or (1, 1)
        values = _values(rows, shape, weights).flatten(1)
        self.gates, self.signs = self._lanes(values.abs() - 0.5), self._lanes(values)

    def _lanes(self, x: Tensor) -> Words:
        taps = self.kernel[0] * self.kernel[1]
        lanes = np.zeros((-(-self.outputs // LANES), taps * -(-self.channels // 64), LANES), np.uint64)
        weight_lanes(packed_rows(x), self.channels, taps, lanes)
        return lanes

    def __call__(self, bits: Bits) -> Tensor:
        """Multiply."""
        n, pixels, _ = bits.words.shape
        cells = 1 if self.inputs == 2 else 2
        conv = len(self.step.options["shape"]) == 4
        if bits.shape[0] != cells * self.channels or len(bits.shape) != (3 if conv else 1):
            raise ValueError(f"a product of {self.channels} channels cannot take cells of shape {bits.shape}.")
        planes = np.empty((2, n, pixels, -(-self.channels // 64)), np.uint64)
        if cells == 2:
            split_planes(bits.words, self.channels, *planes)
        else:
            planes[0], planes[1] = _mask(np.ones(self.channels, bool)), bits.words
        if not conv:
            return torch.from_numpy(self._sums(*planes[:, :, 0]))
        stride, padding = (tuple(self.step.options["window"][name]) for name in ("stride", "padding"))
        h, w = bits.shape[1:]
        sides = _sides((h, w), self.kernel, stride, padding)
        if min(sides) < 1:
            raise ValueError(f"a kernel of {self.kernel} does not fit into samples of shape {bits.shape}.")
        out = np.empty((n, self.outputs, sides[0] * sides[1]), np.float32)
        some = max(1, ROWS_AT_ONCE // (sides[0] * sides[1]))
        for first in range(0, n, some):
            laid = []
            for plane in planes[:, first : first + some]:
                x = np.empty((len(plane), *sides, self.gates.shape[1]), np.uint64)
                patches(plane.reshape(len(plane), h, w, -1), self.kernel, stride, padding, x)
                laid.append(x.reshape(-1, x.shape[3]))
            by_channel(self._sums(*laid), out[first : first + some])
        return torch.from_numpy(out.reshape(n, self.outputs, *sides))

    def _sums(self, gates: Words, signs: Words) -> np.ndarray:
        sums = np.empty((len(gates), self.outputs), np.float32)
        gated_sums(gates, signs, self.gates, self.signs, sums)
        return sums


def weight_shape(step: Step) -> tuple[int, ...]:
    """Return the shape in which the weights of a product are written: (outputs, 2, ...) of ternary ones."""
    outputs, *others = step.options["shape"]
    levels = step.options.get("levels", 2)
    return (outputs, *([2] * (3 in (levels if step.op == "gated" else [levels])[-1:])), *others)


def _values(rows: Words, shape: Sequence[int], levels: int) -> Tensor:
    """Unpack weights, -1, 0 and +1, in torch's shape, from their cells."""
    cells = cells_of(levels) * int(np.prod(shape[1:]))
    bits = unpacked(Bits(rows[:, np.newaxis], cells, (cells,)))
    return read_back(bits.view(shape[0], cells_of(levels), -1), levels).view(*shape)


def _sides(sides: Sequence[int], kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int]) -> list[int]:
    return [(side + 2 * p - k) // s + 1 for side, k, s, p in zip(sides, kernel, stride, padding, strict=True)]


def _in_lanes(values: np.ndarray, beyond: int) -> np.ndarray:
    """Values of outputs, (classes, outputs), for all lanes of all blocks."""
    out = np.full((len(values), -(-values.shape[1] // LANES) * LANES), beyond, np.int64)
    out[:, : values.shape[1]] = values
    return out


def _mask(flags: np.ndarray) -> Words:
    """Pack flags of channels into words, (words,)."""
    bits = np.zeros((-(-len(flags) // 64), 64), np.uint64)
    bits.reshape(-1)[: len(flags)] = flags
    return np.bitwise_or.reduce(bits << np.arange(64, dtype=np.uint64), axis=1)
