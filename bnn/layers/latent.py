"""Latent weights of the binary layers of a model: clipped after an update, or replaced by their bits."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from bnn.layers.binary import BinaryLayer
from bnn.layers.quantizers import center_latent_
from bnn.layers.slots import weight_memories
from mtjsim.checks import ArgumentError


def _stored(layer: BinaryLayer) -> bool:
    """Whether the weight is a parameter, and not computed from others."""
    return "weight" in layer._parameters


@torch.no_grad()
def clip_latent_(module: nn.Module) -> None:
    """Clip the latent weights of every binary layer in `module` to [-1, 1], in place.

    Layers with real weights (``weight_quantizer=None``, `nn.Linear`) and biases are left alone, and so are frozen
    weights (``requires_grad=False``) and those that a parametrization computes, whose own parameters are not latent
    weights. Outside the window of `ste_sign` a latent weight has no gradient and could not come back. A layer with
    ``center=True`` is centered first.
    """
    for layer in weight_memories(module).values():
        if not (_stored(layer) and layer.weight.requires_grad):
            continue
        if layer.center:
            center_latent_(layer.weight)
        layer.weight.clamp_(-1.0, 1.0)


@contextmanager
def quantized_scope(model: nn.Module) -> Iterator[nn.Module]:
    """Replace the latent weights of every binary layer in `model` by their bits, in ``layer.weight`` and `state_dict`.

    Latent weights are floating point; only their quantized values reach the product.

    Parameters
    ----------
    model : Module

    Raises
    ------
    ValueError
        For a weight that a parametrization computes: there is none in the `state_dict`.

    Yields
    ------
    Module
        The model, with the same predictions. The latent weights return at the end of the block, also after an
        exception; changes of the weights inside the block are lost, so do not train there.

    Notes
    -----
    The scale of a layer with ``scale="xnor"`` follows from its latent weights. It is kept inside the block, and
    ``layer.output_scale()`` returns it, but it is not in the `state_dict`.

    Examples
    --------
    >>> from bnn.layers import BinaryLinear
    >>> layer = BinaryLinear(3, 1, seed=3)
    >>> with quantized_scope(layer):
    ...     layer.weight.tolist()
    [[1.0, -1.0, -1.0]]
    >>> (100 * layer.weight).round().tolist()
    [[14.0, -36.0, -11.0]]
    """
    named = weight_memories(model)
    if computed := [name for name, layer in named.items() if not _stored(layer)]:
        rule = f"must have weights that are parameters, got a parametrization in {computed[0]!r}"
        raise ArgumentError("model", f"{rule}. Remove it with torch.nn.utils.parametrize.remove_parametrizations.")
    layers = list(named.values())
    latent = [(layer, layer.weight.data, layer.scale_of_scope) for layer in layers]
    with torch.no_grad():  # all of them before any is changed: layers may share a weight
        bits = [(layer, layer.quantized_weight(), layer.output_scale()) for layer in layers]
    try:
        for layer, weight, scale in bits:
            layer.weight.data, layer.scale_of_scope = weight, scale
        yield model
    finally:
        for layer, weight, scale in latent:
            layer.weight.data, layer.scale_of_scope = weight, scale
