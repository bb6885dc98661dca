"""The slots of a whole model: which layers have one, and an exchange of the memories in them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import nn

from bnn.layers.binary import QUANTIZER_OF, BinaryLayer
from bnn.layers.whole_model import checked_model
from mtjsim.checks import checked_choice


def activation_memories(model: nn.Module) -> dict[str, BinaryLayer]:
    """Find the layers that have a slot for an activation memory, empty or not.

    Returns
    -------
    dict
        Name of the layer in the model -> layer, in the model's own order. Layers with a real-valued input have no slot.
    """
    return _layers_with("activation_memory", model)


def weight_memories(model: nn.Module) -> dict[str, BinaryLayer]:
    """Find the layers that have a slot for a weight memory, empty or not.

    Returns
    -------
    dict
        Name of the layer in the model -> layer, in the model's own order. Layers with real weights have no slot.
    """
    return _layers_with("weight_memory", model)


def _layers_with(slot: str, model: nn.Module) -> dict[str, BinaryLayer]:
    checked_choice("slot", slot, QUANTIZER_OF)
    return {
        name: layer
        for name, layer in checked_model(model).named_modules()
        if isinstance(layer, BinaryLayer) and getattr(layer, QUANTIZER_OF[slot]) is not None
    }


@contextmanager
def memories(
    model: nn.Module, make: Callable[[str, int], nn.Module | None], *, slot: str = "activation_memory"
) -> Iterator[nn.Module]:
    """Exchange the memories in every slot of one kind in `model` until the end of the block.

    Parameters
    ----------
    model : Module
    make : callable
        ``make(name, index)`` returns the memory of the layer of that name, the index-th slot of the model, or None.
    slot : {"activation_memory", "weight_memory"}

    Yields
    ------
    Module
        The model. The former memories return at the end of the block, also after an exception.

    Raises
    ------
    ValueError
        For an unknown slot.
    TypeError
        For a model that is no Module.

    Examples
    --------
    >>> from bnn.layers import BinaryLinear
    >>> layer = BinaryLinear(8, 2, seed=0)
    >>> with memories(layer, lambda name, index: nn.Identity()):
    ...     print(layer.activation_memory, layer.weight_memory)
    Identity() None
    >>> print(layer.activation_memory)
    None
    """
    layers = _layers_with(slot, model)
    former = {name: getattr(layer, slot) for name, layer in layers.items()}
    try:
        for index, (name, layer) in enumerate(layers.items()):
            layer.register_module(slot, make(name, index))
        yield model
    finally:
        for name, layer in layers.items():
            layer.register_module(slot, former[name])
