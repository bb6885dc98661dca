"""Networks whose weights and activations are on discrete states, after GXNOR-Net.

References
----------
.. [1] Deng, Jiao, Pei, Wu, Li, "GXNOR-Net", arXiv:1705.09283 (2017).
.. [2] Greenberg-Toledo, Perach, Hubara, Soudry, Kvatinsky, arXiv:1912.12636 (2019).
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from torch import nn

from bnn.layers.binary import BinaryConv2d, BinaryLinear
from bnn.layers.ternary import TERNARY, DiscreteActivation, TernaryConv2d, TernaryLinear, checked_levels
from bnn.models.arguments import LayerArguments, MakeMemory
from mtjsim.checks import ArgumentError


def gxnor(
    classes: int = 10,
    *,
    seed: int,
    levels: int = TERNARY,
    threshold: float = 0.5,
    window: float = 0.5,
    activation_memory: MakeMemory | None = None,
    weight_memory: MakeMemory | None = None,
) -> nn.Sequential:
    """Convolutional network 32C5-MP2-64C5-MP2-512FC for 28 x 28 images, as in [1] and [2], all weights on states.

    Parameters
    ----------
    classes : int
    seed : int, >= 0
        Of the initial states and of the memories' streams.
    levels : int
        3: ternary weights and activations; 2: binary ones; 5, 9 ....
    threshold, window : float
        Of `DiscreteActivation`; not used with 2 levels, whose activation is `ste_sign`.
    activation_memory, weight_memory : callable, optional
        ``activation_memory(seed=child)`` makes the memory of one layer. None: no errors.

    Returns
    -------
    Sequential
        Images, shape (n, 1, 28, 28), real -> logits, shape (n, classes), outputs of a BatchNorm.

    Raises
    ------
    ValueError
        For a number of levels that is none, a threshold or window out of range, or an invalid seed.

    Notes
    -----
    Each layer reads maxima, then BatchNorm, then levels. For weights without a latent value train it with
    `bnn.DiscreteStateTransition`.

    Examples
    --------
    >>> import torch
    >>> gxnor(seed=1)(torch.zeros(2, 1, 28, 28)).shape
    torch.Size([2, 10])
    """
    own = _Layers(4, levels, threshold, window, seed, activation_memory, weight_memory)
    return nn.Sequential(
        own.conv(1, 32, 5),
        nn.MaxPool2d(2),
        nn.BatchNorm2d(32),
        own.conv(32, 64, 5),
        nn.MaxPool2d(2),
        nn.BatchNorm2d(64),
        nn.Flatten(),
        own.linear(1024, 512),
        nn.BatchNorm1d(512),
        own.linear(512, classes),
        nn.BatchNorm1d(classes),
    )


def gxnor_mlp(
    inputs: int = 784,
    hidden: Sequence[int] = (512, 512),
    classes: int = 10,
    *,
    seed: int,
    levels: int = TERNARY,
    threshold: float = 0.5,
    window: float = 0.5,
    activation_memory: MakeMemory | None = None,
    weight_memory: MakeMemory | None = None,
) -> nn.Sequential:
    """Multilayer perceptron with all weights on states; the other parameters as `gxnor`.

    Parameters
    ----------
    inputs : int
        Values of one image, flattened; they stay real-valued.
    hidden : sequence of int
        Widths of the hidden layers, at least one.
    classes : int

    Examples
    --------
    >>> import torch
    >>> gxnor_mlp(64, (32,), seed=1)(torch.zeros(2, 1, 8, 8)).shape
    torch.Size([2, 10])
    """
    if not hidden:
        raise ArgumentError("hidden", "must name at least one layer, got none: without it no activation is written.")
    own = _Layers(len(hidden) + 1, levels, threshold, window, seed, activation_memory, weight_memory)
    layers: list[nn.Module] = [nn.Flatten()]
    for width, following in pairwise((inputs, *hidden, classes)):
        layers += [own.linear(width, following), nn.BatchNorm1d(following)]
    return nn.Sequential(*layers)


class _Layers:
    """Makes the layers of one network, one after the other; the first reads real values."""

    def __init__(
        self,
        count: int,
        levels: int,
        threshold: float,
        window: float,
        seed: int,
        activation_memory: MakeMemory | None,
        weight_memory: MakeMemory | None,
    ) -> None:
        self.levels = checked_levels(levels, least=2)
        self.arguments = LayerArguments(seed, count, activation_memory, weight_memory)
        activation = DiscreteActivation(max(self.levels, TERNARY), threshold, window)
        self.others: dict[str, Any] = {} if self.levels == 2 else {"input_quantizer": activation}
        self.made = 0

    def linear(self, *sizes: int) -> nn.Module:
        """Return the next layer, a fully connected one."""
        given = self._next()
        return BinaryLinear(*sizes, **given) if self.levels == 2 else TernaryLinear(*sizes, levels=self.levels, **given)

    def conv(self, *sizes: int) -> nn.Module:
        """Return the next layer, a convolution."""
        given = self._next()
        return BinaryConv2d(*sizes, **given) if self.levels == 2 else TernaryConv2d(*sizes, levels=self.levels, **given)

    def _next(self) -> dict[str, Any]:
        inputs = {"inputs": "binary" if self.made else "real"} | (self.others if self.made else {})
        self.made += 1
        return self.arguments(self.made - 1, **inputs)
