"""Binary layers: quantizers for input and weights, and slots for the memories that their bits are written to.

A layer quantizes its input and its weights, writes the bits of each to the memory in its slot, if there is one, and
multiplies what the two memories return. `bnn.memories` exchanges the memories of a whole model.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bnn.errors.bits import BitMemory
from bnn.errors.transforms import one_node, refuse_script
from bnn.layers.quantizers import center_latent_, ste_sign, xnor_scale
from bnn.streams import torch_generator
from mtjsim.checks import ArgumentError, checked_choice, checked_whole
from mtjsim.rng import checked_seed

Quantizer = Callable[[Tensor], Tensor]
QUANTIZER_OF = {"activation_memory": "input_quantizer", "weight_memory": "weight_quantizer"}  # slot -> quantizer
SCALES = ("none", "xnor")


@runtime_checkable
class OnStates(Protocol):
    """A weight quantizer without latent weights: the parameter is on its states."""

    levels: int

    def random(self, shape: Any, generator: torch.Generator) -> Tensor:
        """Draw states."""


def stored(values: Tensor, levels: int) -> Tensor:
    """Return the bits of quantized values, +-1, as they are written; of three levels two cells, shape (n, 2, ...).

    The first cells have +1 where the value is +1, the second ones where it is -1. NaN is in both.
    """
    if levels == 2:
        return values
    pair = torch.stack([values, -values], dim=1)
    bits = torch.where(pair.detach() == 0.0, -1.0, pair.detach())  # +1, 0, -1 becomes 1, -1, -1: NaN stays
    return bits + (pair - pair.detach())  # the last is 0, with a gradient


def cells_of(levels: int) -> int:
    """Return the bits of a value with so many levels: 1 of two, 2 of three, N + 1 of 2^N + 1."""
    return (levels - 1).bit_length()


def read_back(bits: Tensor, levels: int) -> Tensor:
    """Return the values of cells that `stored` made of values with so many levels."""
    if levels == 2:
        return bits
    plus, minus = bits.unbind(dim=1)
    return (plus - minus) / 2


class BinaryLayer(nn.Module):
    """Base class of the layers: slots, latent weights, and the steps before and after the product."""

    __prepare_scriptable__ = refuse_script
    weight: nn.Parameter
    bias: Tensor | None
    activation_memory: nn.Module | None
    weight_memory: nn.Module | None
    dropout: nn.Module | None
    seed: int

    def __init__(
        self,
        shape: tuple[int, ...],
        *,
        bias: bool,
        weight_quantizer: Quantizer | None,
        input_quantizer: Quantizer | None,
        activation_memory: nn.Module | None,
        weight_memory: nn.Module | None,
        dropout: nn.Module | None,
        scale: str,
        center: bool,
        seed: int,
    ) -> None:
        super().__init__()
        if min(shape) < 1:
            raise ValueError(f"a layer needs sizes >= 1, got weights of shape {shape}.")
        self.scale, self.center = checked_choice("scale", scale, SCALES), center
        if weight_quantizer is None and (center or scale != "none"):
            given = "center=True" if center else f'scale="{scale}"'
            raise ValueError(f"{given} needs a weight_quantizer: it is for the latent weights of a binary layer.")
        if center and isinstance(weight_quantizer, OnStates):
            raise ArgumentError("center", "must be False for weights on states: there is no latent weight to center.")
        self.weight_quantizer, self.input_quantizer = weight_quantizer, input_quantizer
        self.scale_of_scope: Tensor | None = None  # see bnn.quantized_scope
        self.register_module("activation_memory", activation_memory)
        self.register_module("weight_memory", weight_memory)
        self.dropout = dropout
        self._check_slots()
        self.seed = seed
        self.weight = nn.Parameter(torch.empty(shape))
        self.register_parameter("bias", nn.Parameter(torch.empty(shape[0])) if bias else None)
        self.reset_parameters(seed=seed)

    def reset_parameters(self, *, seed: int | None = None) -> None:
        """Draw the initial latent weights or states, of another seed if one is given; the bias becomes 0."""
        self.seed = checked_seed(self.seed if seed is None else seed)
        bound = self.weight[0].numel() ** -0.5
        generator = torch_generator(self.seed, "initial_weights")
        if isinstance(self.weight_quantizer, OnStates):
            initial = self.weight_quantizer.random(self.weight.shape, generator)
        else:
            initial = torch.empty(self.weight.shape).uniform_(-bound, bound, generator=generator)
        with torch.no_grad():
            self.weight.copy_(initial)
            if self.bias is not None:
                self.bias.zero_()
        if self.center:
            center_latent_(self.weight)

    def _check_slots(self) -> None:
        if "weight_mask" in self._buffers and self.weight_quantizer is not None:  # of torch.nn.utils.prune
            raise ArgumentError("weight", "must not be pruned: a pruned weight is 0, and the sign of 0 is +1.")
        for slot, quantizer in QUANTIZER_OF.items():
            if getattr(self, quantizer) is None and getattr(self, slot) is not None:
                rule = f"must be None where {quantizer} is None: a real value is not a bit"
                raise ArgumentError(slot, f"{rule}. Use {quantizer}=ste_sign, or leave the slot empty.")
            if getattr(self, slot) is not None and self.levels_of(quantizer) > 3:
                rule = f"must be None where {quantizer} has {self.levels_of(quantizer)} levels"
                raise ArgumentError(slot, f"{rule}: a memory stores two, or three on two cells. Leave the slot empty.")

    def quantized_weight(self) -> Tensor:
        """Return the weights as they are written: bits, or real values where there is no quantizer."""
        return self.weight if self.weight_quantizer is None else self.weight_quantizer(self.weight)

    def _written_input(self, x: Tensor) -> Tensor:
        """Quantize the input, write it to its memory, and drop some of what is read."""
        self._check_slots()
        if self.input_quantizer is not None:
            x = self.input_quantizer(x)
        if self.activation_memory is not None:
            levels = self.levels_of("input_quantizer")
            x = read_back(self.activation_memory(stored(x, levels)), levels)
        return x if self.dropout is None else self.dropout(x)

    def _written_weight(self) -> Tensor:
        """Quantize the weights and write them to their memory."""
        weight = self.quantized_weight()
        if self.weight_memory is None:
            return weight
        for part in self.weight_memory.modules():
            if isinstance(part, BitMemory):
                part.of_weights = True
        levels = self.levels_of("weight_quantizer")
        return read_back(self.weight_memory(stored(weight, levels)), levels)

    def levels_of(self, quantizer: str) -> int:
        """Return how many values a quantizer gives, "input_quantizer" or "weight_quantizer": 2 for a sign."""
        return getattr(getattr(self, quantizer), "levels", 2)

    def finished(self, product: Tensor) -> Tensor:
        """Scale and bias, one value for each output channel (dimension 1)."""
        per_channel = (-1,) + (1,) * (self.weight.dim() - 2)
        scale = self.output_scale()
        if scale is not None:
            product = product * scale.view(per_channel)
        return product if self.bias is None else product + self.bias.view(per_channel)

    def output_scale(self) -> Tensor | None:
        """Return the factor of each output, shape (outputs,); None without a scale."""
        if self.scale == "none":
            return None
        return xnor_scale(self.weight) if self.scale_of_scope is None else self.scale_of_scope

    def extra_repr(self) -> str:
        """Show sizes and policy in the printed model."""
        quantizers = ", ".join(
            f"{role}={getattr(quantizer, '__name__', quantizer)}"
            for role, quantizer in (("input", self.input_quantizer), ("weight", self.weight_quantizer))
        )
        shape, bias = tuple(self.weight.shape), self.bias is not None
        center = ", center=True" if self.center else ""
        return f"{shape}, {quantizers}, bias={bias}, scale={self.scale}{center}, seed={self.seed}"


class BinaryLinear(BinaryLayer):
    """Fully connected layer on bits.

    Parameters
    ----------
    in_features, out_features : int
    bias : bool
    weight_quantizer : callable or None
        `ste_sign` and its relatives; None for real weights (a real last layer on binary activations).
    input_quantizer : callable or None
        None for a real-valued input (a first layer); `activation_memory` must then be None.
    activation_memory : Module or None
        The quantized input is written to it and read from it: `bnn.WriteErrors` for example. None: no errors.
    weight_memory : Module or None
        The same for the quantized weights, written in every forward pass, a row for each output; None for real weights.
        Scale and bias are not written.
    dropout : Module or None
        Applied to the bits that were read, before the product: `bnn.SeededDropout` for example.
    scale : {"none", "xnor"}
        "xnor" multiplies each output by the mean absolute latent weight of its filter (XNOR-Net).
    center : bool
        Subtract from the latent weights their mean over the inputs (input channels), at the start and at each
        `bnn.clip_latent_`, before the clipping, as the published code of XNOR-Net does. About half the bits of a filter
        are then +1.
    seed : int
        Of the initial latent weights, uniform in +-1/sqrt(inputs of one output). The bias starts at 0.

    Raises
    ------
    ValueError
        For an unknown scale, a size below 1, or a memory for a real-valued input or real weights.

    Notes
    -----
    The weights stay floating point ("latent") and are quantized in every forward pass; clip them after each update with
    `bnn.clip_latent_`.

    Examples
    --------
    >>> layer = BinaryLinear(4, 2, seed=1)
    >>> layer.weight.data = torch.tensor([[0.5, -0.1, 0.2, -0.7], [0.5, 0.1, 0.2, 0.7]])
    >>> x = torch.tensor([[0.3, -0.2, 0.0, -4.0]])  # bits 1 0 1 0
    >>> layer(x).tolist()
    [[4.0, 0.0]]

    With a memory in which every write of a 1 fails:

    >>> from bnn.errors import WriteErrors
    >>> layer.activation_memory = WriteErrors(error_rate_0=0.0, error_rate_1=1.0, seed=1)
    >>> layer(x).tolist()
    [[0.0, -4.0]]
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        seed: int,
        bias: bool = False,
        weight_quantizer: Quantizer | None = ste_sign,
        input_quantizer: Quantizer | None = ste_sign,
        activation_memory: nn.Module | None = None,
        weight_memory: nn.Module | None = None,
        dropout: nn.Module | None = None,
        scale: str = "none",
        center: bool = False,
    ) -> None:
        super().__init__(
            (out_features, in_features),
            bias=bias,
            weight_quantizer=weight_quantizer,
            input_quantizer=input_quantizer,
            activation_memory=activation_memory,
            weight_memory=weight_memory,
            dropout=dropout,
            scale=scale,
            center=center,
            seed=seed,
        )

    @one_node
    def forward(self, x: Tensor) -> Tensor:
        """Map x, shape (n, in_features), to shape (n, out_features)."""
        return self.finished(F.linear(self._written_input(x), self._written_weight()))


class BinaryConv2d(BinaryLayer):
    """Two-dimensional convolution on bits; the other parameters as `BinaryLinear`.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size, stride, dilation : int or (int, int)
        Of rows and columns; one number for both.
    padding : int, (int, int), "same" or "valid"
        Zeros on each side, added *after* the input was quantized and written: a padded zero is neither bit, adds
        nothing to the product, and is never written to the memory.
    groups : int
        Groups of channels with separate products; divides both numbers of channels.

    Attributes
    ----------
    stride, padding, dilation : int or (int, int)
        One number where rows and columns agree. "valid" is 0, and "same" the number of zeros; it stays "same" where an
        even kernel needs more zeros on one side.

    Examples
    --------
    >>> layer = BinaryConv2d(1, 1, 3, padding="same", seed=1)
    >>> layer.weight.data.fill_(0.1)
    tensor(...)
    >>> layer(torch.ones(1, 1, 3, 3)).tolist()  # padded zeros add nothing
    [[[[4.0, 6.0, 4.0], [6.0, 9.0, 6.0], [4.0, 6.0, 4.0]]]]
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        *,
        seed: int,
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] | str = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        bias: bool = False,
        weight_quantizer: Quantizer | None = ste_sign,
        input_quantizer: Quantizer | None = ste_sign,
        activation_memory: nn.Module | None = None,
        weight_memory: nn.Module | None = None,
        dropout: nn.Module | None = None,
        scale: str = "none",
        center: bool = False,
    ) -> None:
        if groups < 1 or in_channels % groups or out_channels % groups:
            rule = "must divide in_channels and out_channels"
            raise ArgumentError("groups", f"{rule}, got {groups} for {in_channels} and {out_channels}.")
        kernel = _pair("kernel_size", kernel_size, least=1)
        super().__init__(
            (out_channels, in_channels // groups, *kernel),
            bias=bias,
            weight_quantizer=weight_quantizer,
            input_quantizer=input_quantizer,
            activation_memory=activation_memory,
            weight_memory=weight_memory,
            dropout=dropout,
            scale=scale,
            center=center,
            seed=seed,
        )
        steps, gaps = _pair("stride", stride, least=1), _pair("dilation", dilation, least=1)
        if padding == "same" and steps != (1, 1):
            raise ValueError(f'padding="same" needs stride 1, got stride {stride}. Give the number of zeros.')
        self.stride, self.dilation, self.groups = _one_if_equal(steps), _one_if_equal(gaps), groups
        self.padding = _padding(padding, kernel, gaps)

    @one_node
    def forward(self, x: Tensor) -> Tensor:
        """Map x, shape (n, in_channels, h, w), to shape (n, out_channels, h', w')."""
        bits, weight = self._written_input(x), self._written_weight()
        return self.finished(F.conv2d(bits, weight, None, self.stride, self.padding, self.dilation, self.groups))

    def extra_repr(self) -> str:
        """Show sizes and policy in the printed model."""
        dilation = "" if self.dilation == 1 else f", dilation={self.dilation}"
        groups = "" if self.groups == 1 else f", groups={self.groups}"
        return f"{super().extra_repr()}, stride={self.stride}, padding={self.padding}{dilation}{groups}"


def _pair(name: str, value: int | tuple[int, int], *, least: int) -> tuple[int, int]:
    pair = value if isinstance(value, (tuple, list)) else (value, value)
    if len(pair) != 2:
        raise ArgumentError(name, f"must be a whole number, or two of them, got {value!r}.")
    return checked_whole(name, pair[0], least=least), checked_whole(name, pair[1], least=least)


def _one_if_equal(pair: tuple[int, int]) -> int | tuple[int, int]:
    return pair[0] if pair[0] == pair[1] else pair


def _padding(
    padding: int | tuple[int, int] | str, kernel: tuple[int, int], gaps: tuple[int, int]
) -> int | tuple[int, int] | str:
    """Zeros on each side; "same" where no such number exists."""
    if padding == "same":
        total = tuple(gap * (side - 1) for gap, side in zip(gaps, kernel, strict=True))
        return "same" if any(t % 2 for t in total) else _one_if_equal((total[0] // 2, total[1] // 2))
    if isinstance(padding, str) and padding != "valid":
        raise ArgumentError("padding", f'must be a number of zeros, two of them, "same" or "valid", got {padding!r}.')
    return 0 if padding == "valid" else _one_if_equal(_pair("padding", padding, least=0))  # type: ignore[arg-type]
