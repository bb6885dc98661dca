"""Logits of a model, checked: one row for each image, one column for each class."""

from typing import Any

from torch import Tensor

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
