"""Arguments of a network's layers: seeds, quantizers and memories."""

from collections.abc import Callable
from typing import Any

from torch import nn

from bnn.layers.binary import Quantizer
from bnn.layers.dropout import SeededDropout
from bnn.layers.quantizers import ste_sign
from mtjsim.rng import Role, child_seed

MakeMemory = Callable[..., nn.Module]  # called as make(seed=child)
POLICIES = ("real", "binary")


class LayerArguments:
    """Arguments of a network's layers, numbered from 0.

    Parameters
    ----------
    seed : int, >= 0
        Of the network. Each layer has four children: for its initial weights, activation memory, weight memory and
        dropout, used or not.
    layers : int
    activation_memory, weight_memory : callable or None
        ``activation_memory(seed=child)`` makes the memory of one layer.

    Raises
    ------
    ValueError
        For an invalid seed.
    """

    def __init__(
        self, seed: int, layers: int, activation_memory: MakeMemory | None, weight_memory: MakeMemory | None
    ) -> None:
        roles: tuple[Role, ...] = ("initial_weights", "activation_errors", "weight_errors", "dropout")
        self._seeds = [[child_seed(seed, role, layer) for layer in range(layers)] for role in roles]
        self._make = activation_memory, weight_memory

    def __call__(
        self,
        layer: int,
        *,
        inputs: str = "binary",
        weights: str = "binary",
        input_quantizer: Quantizer = ste_sign,
        dropout: float = 0.0,
    ) -> dict[str, Any]:
        """Return the arguments of a `BinaryLinear` or `BinaryConv2d` whose inputs and weights are real or binary."""
        own, of_activations, of_weights, of_dropout = (seeds[layer] for seeds in self._seeds)
        activation_memory, weight_memory = self._make
        given: dict[str, Any] = {"seed": own}
        if inputs == "real":
            given["input_quantizer"] = None
        else:
            given["input_quantizer"] = input_quantizer
            given["activation_memory"] = activation_memory and activation_memory(seed=of_activations)
        if weights == "real":
            given["weight_quantizer"] = None
        else:
            given["weight_memory"] = weight_memory and weight_memory(seed=of_weights)
        if dropout > 0.0:
            given["dropout"] = SeededDropout(dropout, seed=of_dropout)
        return given
