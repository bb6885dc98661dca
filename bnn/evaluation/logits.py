"""Logits of a model, checked: one row for each image, one column for each class, finite."""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from bnn.evaluation.draws import error_draws
from mtjsim.checks import ArgumentError


def checked_logits(logits: Any, images: Tensor, labels: Tensor | None = None, *, argument: str = "data") -> Tensor:
    """Return the output of a model; ValueError unless it is (n, classes) and the labels are below the classes."""
    if not isinstance(logits, Tensor):
        raise ArgumentError("model", f"must return its logits as one tensor, got {type(logits).__name__}.")
    n, rule = len(images), "must return logits of shape (n, classes), one row an image"
    if logits.dim() != 2 or len(logits) != n:
        raise ArgumentError("model", f"{rule}, got {tuple(logits.shape)} for {n} images.{_remedy(logits, n)}")
    if logits.shape[1] < 2:
        remedy = "Give the last layer an output for each class; a single logit z is the pair (0, z): F.pad(z, (1, 0))"
        raise ArgumentError("model", f"{rule} and two classes or more, got {tuple(logits.shape)}. {remedy}.")
    if labels is not None and int(labels.max()) >= logits.shape[1]:
        first = int((labels >= logits.shape[1]).nonzero()[0])
        rule = f"must have labels from 0 to {logits.shape[1] - 1}, the model's classes"
        raise ArgumentError(argument, f"{rule}, got {int(labels[first])} for image {first}.")
    return logits


def _remedy(logits: Tensor, n: int) -> str:
    if logits.dim() > 2 and logits.numel() == n * logits.shape[1]:
        return " Add nn.Flatten() at the end."
    if logits.dim() > 2:
        return " Reduce the other dimensions, as in logits.mean(dim=1)."
    if logits.dim() == 2 and n and len(logits) % n == 0:
        return f" Gather the {len(logits) // n} rows of an image, as in logits.view(n, -1, classes).mean(dim=1)."
    return ""


def first_non_finite(model: nn.Module, images: Tensor, logits: Tensor, *, first: int = 0) -> str:
    """Return which layer's output is not finite first, and for which image; runs the images of `logits` again."""
    image = first + int((~logits.isfinite()).any(dim=1).nonzero()[0])
    return f"the output of {first_non_finite_layer(model, images) or 'the model'} is not finite for image {image}"


def first_non_finite_layer(model: nn.Module, images: Tensor) -> str | None:
    """Return the name of the first layer whose output is not finite, in a forward pass; None if all are."""
    found: list[str] = []

    def look(name: str) -> Callable[..., None]:
        def note(module: nn.Module, inputs: object, output: object) -> None:
            if isinstance(output, Tensor) and not output.isfinite().all():
                found.append(name)

        return note

    hooks = [module.register_forward_hook(look(name)) for name, module in model.named_modules() if name]
    try:
        model(images)
    finally:
        for hook in hooks:
            hook.remove()
    return found[0] if found else None


class MisfitError(ArgumentError, RuntimeError):
    """Images that do not fit the model; also a RuntimeError, which is what torch raises."""


@torch.no_grad()
def check_fits(model: nn.Module, argument: str, images: Tensor) -> None:
    """Run the first image through the model in evaluation mode, without memories, and check its logits.

    Parameters
    ----------
    model : Module
        Copied; torch's random state is left as it was.
    argument : str
        Name of the images, for the message.
    images : Tensor, (n, ...)

    Raises
    ------
    ValueError
        For images that do not fit the model, or outputs that are no logits.
    """
    model = copy.deepcopy(model)  # a forward pass may change a module of the user's
    with error_draws(model, None, None, seed=0), torch.random.fork_rng(devices=[]):
        try:
            logits = model(images[:1].clone())
        except RuntimeError as error:
            found = f"shape {tuple(images.shape[1:])}, {images.dtype}: {str(error).splitlines()[0]}"
            raise MisfitError(argument, f"must have images that fit the model, got {found}") from error
        checked_logits(logits, images[:1])
