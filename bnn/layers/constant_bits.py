"""Layers whose input bits are all alike, found by a forward pass of images."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from bnn.layers.binary import BinaryLayer

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
    """Watch the input bits of every binary layer, by its name, in the forward passes of the block."""
    found: dict[str, InputBits] = {}

    def watch(name: str) -> Any:
        def note(layer: Any, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
            with torch.no_grad():
                bits = layer.input_quantizer((*inputs, *named.values())[0])
                found.setdefault(name, InputBits()).add(bits)

        return note

    layers = {name: m for name, m in model.named_modules() if isinstance(m, BinaryLayer) and m.input_quantizer}
    hooks = [layer.register_forward_pre_hook(watch(name), with_kwargs=True) for name, layer in layers.items()]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def constant_layers(found: dict[str, InputBits]) -> dict[str, str]:
    """Return name -> what was found, of the layers whose bits were all alike."""
    return {
        name: f"the sign of layer {name!r} is constant: all its {bits.count} input bits were {bits.low:+g}"
        for name, bits in found.items()
        if bits.constant
    }
