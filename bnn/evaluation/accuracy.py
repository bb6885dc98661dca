"""Accuracy of a model under chosen errors, over many error draws."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bnn.counting.accuracy import Accuracy, paired_loss
from bnn.counting.logits import checked_logits
from bnn.data.labelled import Labelled
from bnn.errors.rates import Point
from bnn.evaluation.draws import Draws, error_draws
from bnn.evaluation.images import EvaluatedImages, evaluated_images
from bnn.evaluation.logits import check_fits, first_non_finite
from bnn.evaluation.on_bits import NotOnBitsError, accuracy_on_bits
from mtjsim.calls import shows_its_call
from mtjsim.checks import ArgumentError, checked_choice, checked_whole
from mtjsim.rng import checked_seed

if TYPE_CHECKING:
    from bridge.dies.faults import Process

__all__ = ["Accuracy", "evaluate", "paired_loss"]

Errors = Point | Mapping[str, Point] | str | None


@shows_its_call
def evaluate(
    model: nn.Module,
    data: Labelled,
    *,
    errors: Errors = None,
    weight_errors: Errors = None,
    process: Process | None = None,
    draws: int = 36,
    seed: int = 0,
    batch_size: int = 1024,
    method: str = "auto",
    predictions: bool = False,
) -> Accuracy:
    """Count the correct answers of `model`, with chosen errors in every activation and every weight memory.

    Parameters
    ----------
    model : Module
        Left as it was, bit for bit: mode, memories and their streams.
    data : pair, Dataset, DataLoader, or object with ``scaled()`` and ``labels``
        A pair (images, labels) of arrays or tensors; a torch Dataset of pairs (image, label), or a DataLoader of one; a
        `bnn.ImageSet`, such as ``bnn.load("digits").test``, or another object whose ``scaled()`` returns the images,
        (n, ...), and whose ``labels`` are their classes, (n,) whole numbers from 0. Images are cast to the type of the
        model's parameters. Image files (`bnn.open_imagenet`) larger than their `memory_limit` are decoded batch by
        batch, in every draw.
    errors : operating point, WriteErrors, pair, mapping, "as_trained" or None
        Errors of the activations. None: no memories. An operating point or a `WriteErrors`: its two rates, in every
        activation slot, as independent errors. An `OverwriteErrors`: a copy of it in every slot. A pair of numbers:
        the two rates (error_rate_0, error_rate_1). A mapping, name of the layer -> one of these: errors in these layers
        alone. "as_trained": copies of the model's memories.
    weight_errors : operating point, WriteErrors, pair, mapping, "as_trained" or None
        The same for the binary weights. They are written once a draw and are the same for all its images: a draw is one
        programming of one die.
    process : Process, optional
        `bridge.Process` of the cells in which `errors` and `weight_errors` are: each draw has other dies, one a memory,
        with its faults (shorts, stuck cells ...) and its spread. The images of a draw share them.
    draws : int, >= 1
        Times that each image, and the weights, are written. Without any memory, one draw is made. With weight errors
        there is an interval from two draws on.
    seed : int, >= 0
        The errors of draw d, layer l and image i are drawn by the key (seed, l, d, i), those of the weights of draw d,
        layer l and filter f by (seed, l, d, f): the same as on packed bits (`PackedModel.evaluate_dies`).
    batch_size : int, >= 1
        Images in a forward pass, rounded up to a multiple of 256. The errors do not depend on it.
    method : {"auto", "packed", "torch"}
        "packed": on packed bits (`bnn.pack`), the same answers in less time; refused, with the reason, where they could
        differ: for a model that cannot be packed, is not on the CPU in float32 and contiguous, or has memories other
        than `WriteErrors` drawn by key. "auto": "packed" where it is not refused, otherwise "torch".
        `Accuracy.method` says which it was.
    predictions : bool
        Keep the class that each draw gave to each image, in `Accuracy.predictions`.

    Returns
    -------
    Accuracy

    Raises
    ------
    ValueError
        For errors that would touch nothing (a model without such slots or layers), unknown `errors` or `weight_errors`,
        images or labels that are none, numbers out of range, a model that does not return logits of shape (n, classes)
        with two classes or more, or ``method="packed"`` where that is refused. For a process of another junction,
        setting or layout of cells than that of the point.
    TypeError
        For data of another kind.
    FloatingPointError
        For logits that are not finite; with the layer, the draw and the image.

    Notes
    -----
    A memory with state starts each draw from a copy of its state in the model.

    *Nested draws.* With the same seed, a cell that fails at one rate fails at every larger one (see `bnn.WriteErrors`),
    so accuracies at several rates differ by the rates and not by the draws.

    *On packed bits* the products are the same integers, and what is not a product of bits is computed by torch on the
    same batches. Before the draws, the logits of the first images are compared with those of torch, bit for bit.

    Examples
    --------
    >>> from bnn.data import load
    >>> from bnn.models import mlp
    >>> from bridge import OperatingPoint
    >>> point = OperatingPoint.of_rates(error_rate_0=0.05, error_rate_1=0.1)
    >>> evaluate(mlp(seed=1), load("digits").test, errors=point, draws=3, seed=2)  # untrained
    Accuracy(0.0..., 95 % 0.0... to 0.1..., 599 images, 3 draws, spread 0..., worst 0...)
    """
    checked_seed(seed)
    checked_whole("draws", draws, least=1)
    checked_whole("batch_size", batch_size, least=1)
    checked_choice("method", method, ("auto", "packed", "torch"))
    images = evaluated_images(model, "data", data)
    if method != "torch":
        try:
            given: dict[str, Any] = {"process": process, "draws": draws, "seed": seed, "batch_size": batch_size}
            return accuracy_on_bits(model, images, errors, weight_errors, predictions=predictions, **given)
        except NotOnBitsError as reason:
            if method == "packed":
                rule = f'must be "torch" or "auto" here, got "packed": {reason}'
                raise ArgumentError("method", rule) from reason.__cause__
    with error_draws(model, errors, weight_errors, seed=seed, process=process) as written:
        answers = (_answers(model, images, written, draw, batch_size) for draw in range(draws if written.any else 1))
        return Accuracy.of(answers, images.labels, predictions=predictions, shared_draws=written.shared)


def _answers(
    model: nn.Module, images: EvaluatedImages, written: Draws, draw: int, batch_size: int
) -> NDArray[np.int64]:
    """Return the class that the model gives to each image in a draw."""
    written.begin(draw)
    answers: list[Tensor] = []
    labels = torch.from_numpy(images.labels)
    for batch in written.each(images.cut(written.batch_size(batch_size))):
        try:
            logits = checked_logits(model(batch), batch, None if draw or answers else labels)
        except RuntimeError:
            check_fits(model, "data", written.again())
            raise
        if not logits.isfinite().all():
            where = first_non_finite(model, written.again(), logits, first=sum(map(len, answers)))
            raise FloatingPointError(f"{where}, in draw {draw}.")
        answers.append(logits.argmax(dim=1))
    return torch.cat(answers).cpu().numpy()
