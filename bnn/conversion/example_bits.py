"""Constant signs from example images: a forward pass finds the layers whose input bits are all alike, in any model."""

import copy
from collections import Counter
from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from bnn.conversion.constant_sign import is_nonnegative
from bnn.layers.binary import BinaryLayer
from bnn.layers.constant_bits import FEWEST_BITS, constant_layers, watched_bits
from bnn.layers.slots import memories
from mtjsim.checks import ArgumentError


def constant_bits(model: nn.Module, images: Tensor) -> tuple[dict[str, str], list[str]]:
    """Find the layers of a binarized model whose input bits are all alike, by a forward pass on a copy of it.

    Parameters
    ----------
    model : Module
        Not touched. Its memories are left out.
    images : Tensor, (n, ...)

    Returns
    -------
    layers : dict
        Name of the layer -> what was found.
    activations : list of names
        Modules with values >= 0 whose output such a layer reads, and that nothing but signs reads.

    Raises
    ------
    ValueError
        For images that do not fit, or so few that a layer reads less than 64 bits.
    """
    model = copy.deepcopy(model)
    empty = [memories(model, lambda name, index: None, slot=slot) for slot in ("activation_memory", "weight_memory")]
    quiet = torch.no_grad(), torch.random.fork_rng(devices=[])
    with empty[0], empty[1], quiet[0], quiet[1], _Readers(model) as readers, watched_bits(model) as found:
        try:
            model(images.clone())
        except RuntimeError as error:
            got = f"{tuple(images.shape)}: {str(error).splitlines()[0]}"
            raise ArgumentError("example", f"must be images that fit the model, (n, ...), got {got}") from error
        except ValueError as error:
            raise ArgumentError("example", f"must be several images, got {len(images)}: {error}") from error
    few = [name for name, bits in found.items() if bits.count < FEWEST_BITS]
    if few:
        rule = f"must be more images: layer {few[0]!r} reads {found[few[0]].count} bits of {len(images)} of them"
        raise ArgumentError("example", f"{rule}, and {FEWEST_BITS} are needed.")
    layers = constant_layers(found)
    return layers, readers.dropped(layers)


class _Readers(TorchFunctionMode):
    """Which module made the input of each sign, and whether anything else reads that."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.made: dict[int, tuple[str, Tensor]] = {}  # id of a tensor -> the module that made it, last
        self.others: Counter[int] = Counter()  # reads of it, outside of signs
        self.inputs: dict[str, set[str]] = {}  # layer -> the modules whose output it reads
        self.inside = 0
        for name, module in model.named_modules():
            if is_nonnegative(module):
                module.register_forward_hook(self._note_made(name))
            if isinstance(module, BinaryLayer) and module.input_quantizer is not None:
                module.register_forward_pre_hook(self._enter(name), with_kwargs=True)
                module.register_forward_hook(self._leave)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if not self.inside and isinstance(out, (Tensor, tuple, list)):
            for value in (*args, *(kwargs or {}).values()):
                for x in value if isinstance(value, (tuple, list)) else (value,):
                    self.others[id(x)] += 1
        return out

    def dropped(self, layers: Collection[str]) -> list[str]:
        """Return the modules before `layers` that only signs read."""
        read = {name for key, (name, _) in self.made.items() if self.others[key]}
        return sorted({name for layer in layers for name in self.inputs.get(layer, ())} - read)

    def _note_made(self, name: str) -> Any:
        def note(module: nn.Module, inputs: Any, output: Tensor) -> None:
            self.made[id(output)] = name, output  # kept, so that no other tensor gets its id
            self.others[id(output)] = 0

        return note

    def _enter(self, name: str) -> Any:
        def enter(module: nn.Module, inputs: Any, named: dict[str, Any]) -> None:
            self.inside += 1
            made = self.made.get(id((*inputs, *named.values())[0]))
            if made is not None:
                self.inputs.setdefault(name, set()).add(made[0])

        return enter

    def _leave(self, module: nn.Module, inputs: Any, output: Any) -> None:
        self.inside -= 1
