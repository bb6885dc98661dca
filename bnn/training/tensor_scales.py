"""The value of one int8 step for each tensor of a network, from its numbers at the start."""

import math
from collections.abc import Iterable
from dataclasses import replace

from torch import nn

from bnn.layers.slots import weight_memories
from bnn.training.tensor_words import Held, parameters_by_kind
from bridge.memory.declaration import PER_TENSOR, WordMemory
from bridge.memory.formats import int8_scale
from mtjsim.checks import ArgumentError

HEADROOM = 2.0  # of the largest magnitude at the start: how far the numbers of a tensor may grow before they saturate
UNIT = 1 / 127  # of the range -1..1: latent weights of binary layers, and tensors that are all 0 at the start


def with_chosen_scales(words: WordMemory, model: nn.Module, holds: Iterable[str]) -> WordMemory:
    """Return a declaration with a scale for each tensor that is held, by name, where it has ``scale="tensor"``.

    Parameters
    ----------
    words : WordMemory
    model : Module
        With the numbers of the start.
    holds : iterable of str
        Kinds of tensors, see `parameters_by_kind`.

    Returns
    -------
    WordMemory
        The latent weights of binary layers are clipped to [-1, 1] by a training: their scale is 1/127. That of another
        tensor is twice the one that holds its largest magnitude, `int8_scale`, so that it may grow to twice that; of a
        tensor that is all 0 it is 1/127. Another declaration is returned as it is.

    Raises
    ------
    ValueError
        For a tensor with numbers that are not finite.
    """
    if words.scale != PER_TENSOR:
        return words
    latent = {f"{name}.weight" if name else "weight" for name in weight_memories(model)}
    kinds = parameters_by_kind(model)
    held = {name: where for kind in holds for name, where in kinds[kind].items()}
    return replace(words, scale={name: UNIT if name in latent else _scale(name, at) for name, at in held.items()})


def _scale(name: str, where: Held) -> float:
    tensor = where.get().detach()
    largest = float(tensor.abs().max()) if tensor.numel() else 0.0
    if not math.isfinite(largest):
        raise ArgumentError(name, f'must be finite for scale="{PER_TENSOR}", got {largest}.')
    return HEADROOM * int8_scale([largest]) if largest else UNIT
