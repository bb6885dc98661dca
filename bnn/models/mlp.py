"""The multilayer perceptron."""

from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from bnn.layers.binary import BinaryLinear
from bnn.models.arguments import POLICIES, LayerArguments, MakeMemory
from mtjsim.checks import ArgumentError, checked_choice


def mlp(
    inputs: int = 64,
    hidden: Sequence[int] = (256, 256),
    classes: int = 10,
    *,
    seed: int,
    first: str = "real",
    last: str = "binary",
    activation_memory: MakeMemory | None = None,
    weight_memory: MakeMemory | None = None,
) -> nn.Sequential:
    """Multilayer perceptron with binary hidden activations, each written to the memory of the layer that reads it.

    Parameters
    ----------
    inputs : int
        Values of one image, flattened; they stay real-valued.
    hidden : sequence of int
        Widths of the hidden layers, at least one.
    classes : int
    seed : int, >= 0
        Of the initial weights and of the memories' streams.
    first, last : {"real", "binary"}
        Weights of the first and of the last layer; those between are binary. The last layer reads bits from a memory in
        either case. A binary last layer is followed by a BatchNorm, which scales the logits; on the digits it is as
        accurate as a real one.
    activation_memory, weight_memory : callable, optional
        ``activation_memory(seed=child)`` makes the memory of one layer. None: activations (weights) are without errors.

    Returns
    -------
    Sequential
        Images, shape (n, ...) with `inputs` values each -> logits, shape (n, classes).

    Raises
    ------
    ValueError
        For no hidden layer, an unknown policy, or an invalid seed.

    Examples
    --------
    >>> import torch
    >>> from functools import partial
    >>> from bnn.errors import WriteErrors
    >>> model = mlp(seed=1, activation_memory=partial(WriteErrors, error_rate_0=0.05, error_rate_1=0.05))
    >>> model(torch.zeros(3, 1, 8, 8)).shape
    torch.Size([3, 10])
    """
    if not hidden:
        raise ArgumentError("hidden", "must name at least one layer, got none: without it no activation is written.")
    checked_choice("first", first, POLICIES)
    checked_choice("last", last, POLICIES)
    arguments = LayerArguments(seed, len(hidden) + 1, activation_memory, weight_memory)
    layers: list[nn.Module] = [
        nn.Flatten(),
        BinaryLinear(inputs, hidden[0], **arguments(0, inputs="real", weights=first)),
    ]
    for i, (width, following) in enumerate(pairwise((*hidden, classes)), start=1):
        weights = last if i == len(hidden) else "binary"
        layers += [
            nn.BatchNorm1d(width),
            BinaryLinear(width, following, bias=weights == "real", **arguments(i, weights=weights)),
        ]
    if last == "binary":
        layers.append(nn.BatchNorm1d(classes))
    return nn.Sequential(*layers)
