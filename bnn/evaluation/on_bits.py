"""An evaluation on packed bits, where it gives the answers of torch bit for bit, and the reason where it may not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from bnn.counting.accuracy import Accuracy
from bnn.errors.dies import check_process
from bnn.errors.rates import Rates
from bnn.errors.write_errors import WriteErrors
from bnn.evaluation.draws import Draws, error_draws
from bnn.evaluation.images import EvaluatedImages
from bnn.layers.slots import activation_memories, weight_memories

if TYPE_CHECKING:
    from bnn.packed.predictor import PackedModel
    from bridge.dies.faults import Process

COMPARED = 64  # images whose logits are compared with those of torch


class NotOnBitsError(Exception):
    """Why an evaluation is not done on packed bits."""


def accuracy_on_bits(
    model: nn.Module,
    images: EvaluatedImages,
    errors: Any,
    weight_errors: Any,
    *,
    process: Process | None,
    draws: int,
    seed: int,
    batch_size: int,
    predictions: bool,
) -> Accuracy:
    """Do `bnn.evaluate` on packed bits.

    Raises
    ------
    NotOnBitsError
        Where the answers could differ from those of torch, or where an error is to be found in torch.
    ValueError
        For errors that would touch nothing, or cannot be on the dies of the process.
    """
    check_process(process, errors=errors, weight_errors=weight_errors)
    written = Draws(model, errors, weight_errors, seed, process)
    _check_tensors(model)
    of_activations = _rates("activation", list(activation_memories(model)), written.activations)
    of_weights = _rates("weight", list(weight_memories(model)), written.weights)
    from bnn.packed.dies import Dies, count_dies, rates_of_layers  # here: numba takes half a second
    from bnn.packed.trace import pack

    try:
        packed = pack(model)
        for own, layers in ((of_activations, packed.activation_layers), (of_weights, packed.weight_layers)):
            if others := set(own) - set(layers):
                raise NotOnBitsError(f"the packed model has no layer {min(others)!r}: its names are others.")
        size = written.batch_size(batch_size)
        _check_logits(model, packed, images, size)
        names = list(of_activations), list(of_weights)
        rates = [
            rates_of_layers(name, own, layers) if own else {}
            for name, own, layers in zip(("errors", "weight_errors"), (of_activations, of_weights), names, strict=True)
        ]
        dies = Dies(rates[0], rates[1], process, seed)
        return count_dies(packed, lambda: images.cut(size), images.labels, dies, draws, predictions=predictions)
    except (ValueError, TypeError, RuntimeError, IndexError, FloatingPointError) as error:
        raise NotOnBitsError(str(error)) from error


def _check_tensors(model: nn.Module) -> None:
    """Raise NotOnBitsError unless the model computes on the CPU, in float32, in torch's usual memory format."""
    for name, values in model.state_dict().items():
        if not isinstance(values, torch.Tensor):
            continue
        if values.device.type != "cpu" or (values.is_floating_point() and values.dtype != torch.float32):
            raise NotOnBitsError(f"{name} is {values.dtype} on {values.device}, not float32 on the CPU.")
        if not values.is_contiguous():
            raise NotOnBitsError(f"{name} is not contiguous, so that torch may round in another order.")
    if torch.is_autocast_enabled("cpu"):
        raise NotOnBitsError("torch.autocast is on, so that torch does not compute in float32.")


def _rates(kind: str, layers: list[str], memories: list[Any]) -> dict[str, Any]:
    """Return the rates of each layer with a memory; NotOnBitsError for memories that draw otherwise."""
    rates = {}
    for layer, memory in zip(layers, memories, strict=True):
        if memory is None:
            continue
        original = memory.original
        if type(original) is not WriteErrors or original.path == "torch":
            path = " with path='torch'" if isinstance(original, WriteErrors) else ""
            raise NotOnBitsError(f"the {kind} memory of layer {layer!r} is {type(original).__name__}{path}.")
        rates[layer] = Rates(original.error_rate_0, original.error_rate_1)
    return rates


def _check_logits(model: nn.Module, packed: PackedModel, images: EvaluatedImages, size: int) -> None:
    """Raise NotOnBitsError unless the first images have the logits of torch, to the last bit, without errors."""
    batch = next(iter(images.cut(size)))[:COMPARED]
    with error_draws(model, None, None, seed=0):
        expected = model(batch.clone())
    if not isinstance(expected, torch.Tensor) or expected.dim() != 2 or expected.shape[1] < 2:
        raise NotOnBitsError("the model does not return logits of shape (n, classes).")
    if int(images.labels.max()) >= expected.shape[1]:
        raise NotOnBitsError("there are labels that are not classes of the model.")
    if not torch.equal(packed.run(batch), expected):
        raise NotOnBitsError("the packed model rounds otherwise: the first images have other logits in torch.")
