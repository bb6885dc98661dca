"""Losses of a training: cross entropy, hinges with a margin, and functions of the caller.

With logits z of C classes and targets y, +1 for the image's class and -1 for every other one ("one versus all"):

    cross_entropy   -sum_c q_c log softmax(z)_c,  q = (1 - s) [c is the class] + s / C,  label_smoothing s
    margin_hinge    1 / (C b) sum_c max(0, b - y_c z_c),                                 margin b, 128 by default [1]
    squared_hinge   1 / C sum_c max(0, m - y_c z_c)^2,                                   margin m, 1 by default [2]

each averaged over the images of a batch. A large margin makes a binarized network tolerate bit errors that were not in
its training [1]. b is in units of the logits, which are sums of +-1 or normalised if the last layer is binary. While
all logits are far below b the hinge is linear: without such a layer a network may learn "no class" for every image.

References
----------
.. [1] Buschjager et al., Margin-Maximization in Binarized Neural Networks for Optimizing Bit Error Tolerance, DATE
   2021: the modified hinge loss with b = 128.
.. [2] Courbariaux et al., Binarized Neural Networks, arXiv:1602.02830: the square hinge loss, m = 1.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mtjsim.checks import ArgumentError, checked_choice

Loss = Callable[[Tensor, Tensor], Tensor]
MARGINS = {"margin_hinge": 128.0, "squared_hinge": 1.0}
LOSSES = ("cross_entropy", *MARGINS)


def check_loss(loss: Any, label_smoothing: float, margin: float | None) -> None:
    """ArgumentError unless `loss` is a name or callable, and takes the options that are given."""
    if not callable(loss):
        checked_choice("loss", loss, LOSSES)
    if label_smoothing >= 1.0:
        raise ArgumentError("label_smoothing", f"must be < 1, got {label_smoothing:g}: nothing of the label is left.")
    shown = "a callable" if callable(loss) else repr(loss)
    if label_smoothing and loss != "cross_entropy":
        raise ArgumentError("label_smoothing", f'must be 0 unless loss is "cross_entropy", got a loss of {shown}.')
    if margin is not None and (callable(loss) or loss not in MARGINS):
        rule = f"must be None unless loss is {' or '.join(map(repr, MARGINS))}"
        raise ArgumentError("margin", f"{rule}, got a loss of {shown}.")


def made_loss(loss: str | Loss, *, label_smoothing: float = 0.0, margin: float | None = None) -> Loss:
    """Return the function (logits, labels) -> mean over the batch, of checked options.

    Parameters
    ----------
    loss : {"cross_entropy", "margin_hinge", "squared_hinge"}, or callable
    label_smoothing, margin : float
        As in `bnn.TrainConfig`.

    Returns
    -------
    callable
        Of logits, (n, classes), and labels, (n,). It raises ArgumentError where a callable returns anything but one
        number with a gradient.

    Examples
    --------
    >>> logits, labels = torch.tensor([[3.0, -1.0]]), torch.tensor([0])
    >>> made_loss("margin_hinge", margin=4.0)(logits, labels)  # (1 + 3) / (2 * 4)
    tensor(0.5000)
    >>> made_loss("squared_hinge", margin=4.0)(logits, labels)  # (1 + 9) / 2
    tensor(5.)
    """
    if callable(loss):
        return _checked(loss)
    if loss == "cross_entropy":
        return lambda logits, labels: F.cross_entropy(logits, labels, label_smoothing=label_smoothing)
    wide = MARGINS[loss] if margin is None else margin
    if loss == "margin_hinge":
        return lambda logits, labels: _lacking(logits, labels, wide).mean() / wide
    return lambda logits, labels: _lacking(logits, labels, wide).square().mean()


def _lacking(logits: Tensor, labels: Tensor, margin: float) -> Tensor:
    """Return max(0, margin - y z), (n, classes), of targets y of +-1."""
    targets = torch.full_like(logits, -1.0).scatter_(1, labels[:, None], 1.0)
    return F.relu(margin - targets * logits)


def _checked(loss: Loss) -> Loss:
    def checked(logits: Tensor, labels: Tensor) -> Tensor:
        value: Any = loss(logits, labels)
        rule = "must return one number with a gradient, the mean over the batch"
        if not isinstance(value, Tensor):
            raise ArgumentError("loss", f"{rule}, got {type(value).__name__}. Compute it with torch, without .item().")
        if value.dim() != 0 or not value.is_floating_point():
            raise ArgumentError("loss", f"{rule}, got {value.dtype} of shape {tuple(value.shape)}. Use loss.mean().")
        if not value.requires_grad:
            raise ArgumentError("loss", f"{rule}, got one without. Compute it from the logits, without .detach().")
        return value

    return checked
