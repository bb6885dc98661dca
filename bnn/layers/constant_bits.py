"""Layers whose input bits are all alike, found by a forward pass of images."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from bnn.layers.binary import BinaryLayer
from bnn.layers.graph import eager_copy

FEWEST_BITS = 64  # of fewer bits all may be alike by chance: of 64 fair ones with probability 1e-19


class InputBits:
    """Bits that one layer has read."""

    def __init__(self) -> None:
        self.count, self.low, self.high = 0, float("inf"), -float("inf")

    def add(self, bits: Tensor) -> None:
        """Take the bits of one call."""
        if bits.numel():
            low, high = torch.aminmax(bits)
            self.count += bits.numel()
            self.low, self.high = min(self.low, low.item()), max(self.high, high.item())

    @property
    def constant(self) -> bool:
        """Whether there were enough bits, all alike."""
        return self.count >= FEWEST_BITS and self.low == self.high


@contextmanager
def watched_bits(model: nn.Module) -> Iterator[dict[str, InputBits]]:
    """Watch the input bits of every binary layer, by its name, in the forward passes of the block.

    Each quantizer is called as often as without: one with a state or a random stream has the same afterwards.
    """
    found: dict[str, InputBits] = {}
    layers = {name: m for name, m in model.named_modules() if isinstance(m, BinaryLayer)}
    quantizers = {name: m.input_quantizer for name, m in layers.items() if m.input_quantizer is not None}
    try:
        for name, quantizer in quantizers.items():
            recorder = _Recorder(quantizer, found, name)
            layers[name].input_quantizer = recorder if isinstance(quantizer, nn.Module) else recorder.forward
        yield found
    finally:
        for name, quantizer in quantizers.items():
            layers[name].input_quantizer = quantizer


class _Recorder(nn.Module):
    """A quantizer whose bits are recorded."""

    def __init__(self, quantizer: Any, found: dict[str, InputBits], name: str) -> None:
        super().__init__()
        self.quantizer, self.found, self.name = quantizer, found, name

    def forward(self, x: Tensor) -> Any:
        """Quantize."""
        bits = self.quantizer(x)
        self.found.setdefault(self.name, InputBits()).add(bits.detach())
        return bits


@contextmanager
def bits_of_eager_copy(model: nn.Module, images: Tensor) -> Iterator[dict[str, InputBits]]:
    """Yield what `watched_bits` finds in a pass of a copy that is not compiled: a graph would keep the watch."""
    model = eager_copy(model)
    with torch.no_grad(), torch.random.fork_rng(devices=[]), watched_bits(model) as found:
        model(images.clone())
    yield found


def constant_layers(found: dict[str, InputBits]) -> dict[str, str]:
    """Return name -> what was found, of the layers whose bits were all alike."""
    return {
        name: f"the sign of layer {name!r} is constant: all its {bits.count} input bits were {bits.low:+g}"
        for name, bits in found.items()
        if bits.constant
    }
