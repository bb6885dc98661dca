"""The slots for memories of a whole model, and an exchange of what is in them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import nn

from bnn.layers.binary import QUANTIZER_OF


def activation_memories(model: nn.Module) -> dict[str, nn.Module]:
    """Find the layers that have a slot for an activation memory, empty or not.

    Returns
    -------
    dict
        Name of the layer in the model -> layer, in the model's own order. Layers with a real-valued input have no slot.
    """
    return _layers_with("activation_memory", model)


def weight_memories(model: nn.Module) -> dict[str, nn.Module]:
    """Find the layers that have a slot for a weight memory, empty or not.

    Returns
    -------
    dict
        Name of the layer in the model -> layer, in the model's own order. Layers with real weights have no slot.
    """
    return _layers_with("weight_memory", model)


def _layers_with(slot: str, model: nn.Module) -> dict[str, nn.Module]:
    return {
        name: layer
        for name, layer in model.named_modules()
        if hasattr(layer, slot) and getattr(layer, QUANTIZER_OF[slot], None) is not None
    }


@contextmanager
def memories(
    model: nn.Module, make: Callable[[str, int], nn.Module | None], *, slot: str = "activation_memory"
) -> Iterator[nn.Module]:
    """Put other memories into every slot of one kind in `model`, and the former ones back afterwards.

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
    if slot not in QUANTIZER_OF:
        raise ValueError(f"slot must be one of {', '.join(QUANTIZER_OF)}, got {slot!r}.")
    layers = _layers_with(slot, model)
    former = {name: layer._modules[slot] for name, layer in layers.items()}
    try:
        for index, (name, layer) in enumerate(layers.items()):
            layer.register_module(slot, make(name, index))
        yield model
    finally:
        for name, layer in layers.items():
            layer.register_module(slot, former[name])
