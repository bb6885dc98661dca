"""Networks: what is binary, what is real, and where the activations are written.

Every binary layer reads BatchNorm -> sign -> [activation memory]. Each layer gets a memory of its own, with its own
child of the model's seed.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
from torch import nn

from bnn.binarize import ste_sign
from bnn.errors import check_seed
from bnn.layers import BinaryConv2d, BinaryLinear

MakeMemory = Callable[..., nn.Module]  # called as make(seed=child)


def mlp(
    inputs: int = 64,
    hidden: Sequence[int] = (256, 256),
    classes: int = 10,
    *,
    seed: int,
    first: str = "real",
    last: str = "binary",
    activation_memory: MakeMemory | None = None,
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
        Weights of the first and of the last layer; those between are binary. Whatever `last` is, the last layer reads
        bits from a memory. A binary last layer is followed by a BatchNorm, which gives the logits their scale; it
        trains as well on the digits as a real one.
    activation_memory : callable, optional
        ``activation_memory(seed=child)`` makes the memory of one layer. None: activations never err.

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
        raise ValueError("hidden must name at least one layer, got none: without it no activation is written.")
    for name, policy in (("first", first), ("last", last)):
        if policy not in ("real", "binary"):
            raise ValueError(f'{name} must be "real" or "binary", got {policy!r}.')
    quantizer = {"real": None, "binary": ste_sign}
    weights, errors = _layer_seeds(seed, len(hidden) + 1)
    layers: list[nn.Module] = [
        nn.Flatten(),
        BinaryLinear(inputs, hidden[0], seed=weights[0], weight_quantizer=quantizer[first], input_quantizer=None),
    ]
    for i, (width, following) in enumerate(pairwise((*hidden, classes)), start=1):
        policy = last if i == len(hidden) else "binary"
        memory = None if activation_memory is None else activation_memory(seed=errors[i])
        layers += [
            nn.BatchNorm1d(width),
            BinaryLinear(
                width,
                following,
                seed=weights[i],
                bias=policy == "real",
                weight_quantizer=quantizer[policy],
                activation_memory=memory,
            ),
        ]
    if last == "binary":
        layers.append(nn.BatchNorm1d(classes))
    return nn.Sequential(*layers)


def lenet4(classes: int = 10, *, seed: int, activation_memory: MakeMemory | None = None) -> nn.Sequential:
    """LeNet-4 for 28 x 28 images, as in the error-prone-activation work [1]: its two inner layers are binary.

    Parameters
    ----------
    classes : int
    seed : int, >= 0
        Of the initial weights and of the memories' streams.
    activation_memory : callable, optional
        ``activation_memory(seed=child)`` makes the memory of one layer. None: activations never err.

    Returns
    -------
    Sequential
        Images, shape (n, 1, 28, 28) -> logits, shape (n, classes).

    Notes
    -----
    conv 1->20 5x5, BatchNorm, ReLU, maxpool; binary conv 20->50 5x5, ReLU, maxpool; binary fully connected 800->500,
    ReLU; fully connected 500->classes. Each binary layer reads BatchNorm -> sign -> [memory] and scales its product by
    XNOR-Net's mean |W|; first and last layer are real and never err. 2,880 + 800 bits are written for each image.

    The authors' code also subtracts from each weight its mean over input channels, and has sign(0) = 0; neither is done
    here.

    References
    ----------
    .. [1] Tzoufras, Gajek, Walker, arXiv:1905.10927 (2019).
    """
    weights, errors = _layer_seeds(seed, 4)
    memory = [None if activation_memory is None else activation_memory(seed=child) for child in errors]
    return nn.Sequential(
        BinaryConv2d(1, 20, 5, seed=weights[0], bias=True, input_quantizer=None, weight_quantizer=None),
        nn.BatchNorm2d(20, eps=1e-4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.BatchNorm2d(20, eps=1e-4),
        BinaryConv2d(20, 50, 5, seed=weights[1], bias=True, scale="xnor", activation_memory=memory[1]),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.BatchNorm2d(50, eps=1e-4),
        nn.Flatten(),
        BinaryLinear(800, 500, seed=weights[2], bias=True, scale="xnor", activation_memory=memory[2]),
        nn.ReLU(),
        BinaryLinear(500, classes, seed=weights[3], bias=True, input_quantizer=None, weight_quantizer=None),
    )


def _layer_seeds(seed: int, layers: int) -> tuple[list[int], list[int]]:
    """One seed for each layer's weights and one for each layer's memory."""
    roles = np.random.SeedSequence(check_seed(seed)).spawn(2)
    weights, errors = ([int(child.generate_state(1, np.uint64)[0]) for child in role.spawn(layers)] for role in roles)
    return weights, errors
