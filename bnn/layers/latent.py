"""Latent weights of the binary layers of a model: clipped after an update, or replaced by their bits."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from bnn.layers.quantizers import center_latent_


@torch.no_grad()
def clip_latent_(module: nn.Module) -> None:
    """Clip the latent weights of every binary layer in `module` to [-1, 1], in place.

    A binary layer is one with a `weight_quantizer`. Layers with real weights (``weight_quantizer=None``, `nn.Linear`)
    and biases are left alone. Outside the window of `ste_sign` a latent weight has no gradient and could not come back.
    A layer with ``center=True`` is centered first.
    """
    for layer in module.modules():
        if getattr(layer, "weight_quantizer", None) is not None:
            if getattr(layer, "center", False):
                center_latent_(layer.weight)  # type: ignore[arg-type]
            layer.weight.clamp_(-1.0, 1.0)  # type: ignore[operator]


@contextmanager
def quantized_scope(model: nn.Module) -> Iterator[nn.Module]:
    """Let ``layer.weight``, and a `state_dict`, of every binary layer in `model` be its bits, for a while.

    Outside, they are the latent weights: floating point, of which only the quantized values reach the product.

    Parameters
    ----------
    model : Module

    Yields
    ------
    Module
        The model. Its predictions are the same inside. The latent weights return at the end of the block, also after an
        exception; what is done to the weights inside is lost, so do not train there.

    Notes
    -----
    The scale of a layer with ``scale="xnor"`` follows from its latent weights and is no weight: inside it is kept, and
    ``layer.output_scale()`` returns it, but a `state_dict` does not hold it.

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
    layers: list[Any] = [layer for layer in model.modules() if getattr(layer, "weight_quantizer", None) is not None]
    latent = [(layer, layer.weight.data, getattr(layer, "_scale_of_scope", None)) for layer in layers]
    with torch.no_grad():  # all of them before any is changed: layers may share a weight
        bits = [layer.weight_quantizer(layer.weight) for layer in layers]
        scales = [layer.output_scale() if hasattr(layer, "output_scale") else None for layer in layers]
    try:
        for layer, bit, scale in zip(layers, bits, scales, strict=True):
            layer.weight.data, layer._scale_of_scope = bit, scale
        yield model
    finally:
        for layer, weight, scale in latent:
            layer.weight.data, layer._scale_of_scope = weight, scale
