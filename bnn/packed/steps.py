"""Steps of a packed model, from values to a value; a value is a float tensor or packed bits."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from bnn.layers.binary import stored
from bnn.layers.ternary import DiscreteActivation
from bnn.packed.kernels import pack_signs, unpack_signs

Words = NDArray[np.uint64]


@dataclass(frozen=True, eq=False)
class Bits:
    """Packed +-1 values of a batch; of ternary values the two cells, "plus" of all channels, then "minus" of them.

    Parameters
    ----------
    words : (n, pixels, words) uint64
        Channel c of a pixel is bit c % 64 of word c // 64; bits beyond the last channel are 0.
    channels : int
    shape : tuple of int
        Of one sample in torch: (channels, h, w), or (features,), feature k being pixel k % pixels of channel
        k // pixels.
    """

    words: Words
    channels: int
    shape: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Step:
    """One step: an operation, its inputs, and its numbers.

    Parameters
    ----------
    op : str
        One of `FLOAT`, or "sign" (tensor to bits), "ternary" (tensor to the two cells of ternary values), "write" (the
        activation memory of a layer), "unpack" (bits or cells to tensor), "binary" (bits times binary weights), "gated"
        (bits or cells times binary or ternary weights), "signed" (a tensor times either).
    inputs : tuple of int
        Numbers of the steps whose values it uses; -1 is the images.
    options : dict
        Numbers and words, as in JSON.
    arrays : dict of str to ndarray
    """

    op: str
    inputs: tuple[int, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)


FLOAT: dict[str, Callable[..., Tensor]] = {  # name -> function (inputs, **arrays, **options) of torch
    "linear": F.linear,
    "conv2d": F.conv2d,
    "batch_norm": lambda x, *, last=False, **others: _batch_norm(x, last, others),
    "relu": F.relu,
    "hardtanh": F.hardtanh,
    "max_pool2d": lambda x, **window: _max_pool(x, **window),
    "avg_pool2d": F.avg_pool2d,
    "adaptive_avg_pool2d": F.adaptive_avg_pool2d,
    "adaptive_max_pool2d": F.adaptive_max_pool2d,
    "flatten": torch.flatten,
    "add": torch.add,
    "scale": lambda x, *, by, last=False: x * _of_channels(by, x, last),
    "shift": lambda x, *, by, last=False: x + _of_channels(by, x, last),
}


def _batch_norm(x: Tensor, last: bool, others: Any) -> Tensor:
    """Normalise dimension 1, or the last."""
    return F.batch_norm(x.reshape(-1, x.shape[-1]), **others).view(x.shape) if last else F.batch_norm(x, **others)


def _max_pool(x: Tensor, **window: Any) -> Tensor:
    """Pool as torch, at a twelfth of its time: rows first, then columns; torch's own where windows pass the edges."""
    if window["padding"] not in (0, [0, 0]) or window["dilation"] not in (1, [1, 1]) or window["ceil_mode"]:
        return F.max_pool2d(x, **window)
    pairs = (
        value if isinstance(value, list) else [value, value] for value in (window["kernel_size"], window["stride"])
    )
    for dim, (kernel, stride) in enumerate(zip(*pairs, strict=True), start=x.dim() - 2):
        last = x.shape[dim] - kernel  # where the last window may begin
        if last < 0:
            return F.max_pool2d(x, **window)  # torch's message
        taps = (x.narrow(dim, k, last + 1)[(slice(None),) * dim + (slice(None, None, stride),)] for k in range(kernel))
        x = reduce(torch.maximum, taps)
    return x


def _of_channels(by: Tensor, x: Tensor, last: bool) -> Tensor:
    """Return numbers of dimension 1 of x, or of its last, in a shape that fits x."""
    return by if last else by.view(-1, *[1] * (x.dim() - 2))


def run_float(step: Step, *values: Tensor) -> Tensor:
    """Do a step of `FLOAT`, in torch."""
    arrays = {name: torch.from_numpy(array) for name, array in step.arrays.items()}
    return FLOAT[step.op](*values, **arrays, **step.options)


def packed_signs(x: Tensor) -> Bits:
    """Pack x >= 0; x is (n, features) or (n, channels, h, w), float32."""
    shape = tuple(x.shape[1:])
    cells = x.reshape(len(x), shape[0], -1).contiguous().numpy()
    words = np.empty((len(x), cells.shape[2], -(-shape[0] // 64)), np.uint64)
    if pack_signs(cells, words):
        raise ValueError("a value before a sign is NaN, which has no bit.")
    return Bits(words, shape[0], shape)


def unpacked(bits: Bits) -> Tensor:
    """Return the +-1 of packed bits, float32, in torch's shape."""
    n, pixels, _ = bits.words.shape
    out = np.empty((n, bits.channels, pixels), np.float32)
    unpack_signs(bits.words, out)
    return torch.from_numpy(out).reshape(n, *bits.shape)


def packed_ternary(x: Tensor, *, threshold: float) -> Bits:
    """Pack the cells of ternary values: `stored` of the signs of what is beyond the threshold."""
    values = DiscreteActivation(threshold=threshold).forward(x)
    return packed_signs(stored(values, 3).flatten(1, 2))


def unpacked_ternary(bits: Bits) -> Tensor:
    """Return the values of packed cells, -1, 0 and +1, in torch's shape."""
    plus, minus = unpacked(bits).chunk(2, dim=1)
    return (plus - minus) / 2


def packed_rows(weight: Tensor) -> Words:
    """Pack +-1 weights, (outputs, ...), in rows: (outputs, words), cells in torch's order."""
    return packed_signs(weight.flatten(1)).words[:, 0]
