"""Binary layers with slots: what quantizes their input and weights, and which memories the bits are written to.

A layer quantizes its input and its weights, writes the bits of each to a memory (if one sits in the slot), and
multiplies what the two memories return. `memories` exchanges the memories of a whole model, for a while.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bnn.errors.bits import BitMemory
from bnn.layers.quantizers import center_latent_, ste_sign, xnor_scale
from bnn.streams import torch_generator
from mtjsim.rng import checked_seed

Quantizer = Callable[[Tensor], Tensor]
QUANTIZER_OF = {"activation_memory": "input_quantizer", "weight_memory": "weight_quantizer"}  # slot -> whose bits


class BinaryLayer(nn.Module):
    """What the two layers share: the slots, the latent weights, and the steps before and after the product."""

    weight: Tensor
    bias: Tensor | None
    activation_memory: nn.Module | None
    weight_memory: nn.Module | None
    dropout: nn.Module | None

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
        if scale not in ("none", "xnor"):
            raise ValueError(f'scale must be "none" or "xnor", got {scale!r}.')
        if scale == "xnor" and weight_quantizer is None:
            raise ValueError('scale="xnor" needs a weight_quantizer: real weights have their scale already.')
        self.weight_quantizer = weight_quantizer
        self.input_quantizer = input_quantizer
        if center and weight_quantizer is None:
            raise ValueError("center=True needs a weight_quantizer: it is for the latent weights of a binary layer.")
        self.scale, self.center = scale, center
        self._scale_of_scope: Tensor | None = None  # see bnn.quantized_scope
        self.register_module("activation_memory", activation_memory)
        self.register_module("weight_memory", weight_memory)
        self.dropout = dropout
        self._check_slots()
        self.seed = checked_seed(seed)
        generator = torch_generator(seed, "initial_weights")
        bound = torch.Size(shape[1:]).numel() ** -0.5
        self.weight = nn.Parameter(torch.empty(shape).uniform_(-bound, bound, generator=generator))
        if center:
            center_latent_(self.weight)
        self.register_parameter("bias", nn.Parameter(torch.zeros(shape[0])) if bias else None)

    def _check_slots(self) -> None:
        for slot, quantizer in QUANTIZER_OF.items():
            if getattr(self, quantizer) is None and getattr(self, slot) is not None:
                raise ValueError(
                    f"{slot} must be None where {quantizer} is None: a real value is not a bit, and cannot be written "
                    f"to a memory of bits. Use {quantizer}=ste_sign, or leave the slot empty."
                )

    def _written_input(self, x: Tensor) -> Tensor:
        """Quantize the input, write it to its memory, and drop some of what is read."""
        self._check_slots()
        if self.input_quantizer is not None:
            x = self.input_quantizer(x)
        if self.activation_memory is not None:
            x = self.activation_memory(x)
        return x if self.dropout is None else self.dropout(x)

    def _written_weight(self) -> Tensor:
        """Quantize the weights and write them to their memory."""
        weight = self.weight if self.weight_quantizer is None else self.weight_quantizer(self.weight)
        if self.weight_memory is None:
            return weight
        for part in self.weight_memory.modules():
            if isinstance(part, BitMemory):
                part.of_weights = True
        slots = getattr(self.weight_memory, "slots", None)  # of cells with a state
        if isinstance(slots, int) and slots < len(weight):
            raise ValueError(
                f"weight_memory must have a slot for each of the {len(weight)} filters, got slots={slots}: they are "
                "all there at once. Use slots=None."
            )
        return self.weight_memory(weight)

    def _finished(self, product: Tensor) -> Tensor:
        """Scale and bias, one value for each output channel (dimension 1)."""
        per_channel = (-1,) + (1,) * (self.weight.dim() - 2)
        scale = self.output_scale()
        if scale is not None:
            product = product * scale.view(per_channel)
        return product if self.bias is None else product + self.bias.view(per_channel)

    def output_scale(self) -> Tensor | None:
        """Return what each output is multiplied by, shape (outputs,); None without a scale."""
        if self.scale == "none":
            return None
        return xnor_scale(self.weight) if self._scale_of_scope is None else self._scale_of_scope

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
        What the quantized input is written to and read from, `bnn.errors.WriteErrors` for example. None never errs.
    weight_memory : Module or None
        The same for the quantized weights, written in every forward pass, a row for each output; None for real weights.
        The memory holds bits: scale and bias are not in it.
    dropout : Module or None
        What is done to the bits that were read, before the product: `bnn.dropout.SeededDropout` for example.
    scale : {"none", "xnor"}
        "xnor" multiplies each output by the mean absolute latent weight of its filter (XNOR-Net). No hidden scaling.
    center : bool
        Subtract from the latent weights their mean over the inputs (input channels), now and at each
        `bnn.binarize.clip_latent_`, before the clipping. The published XNOR-Net code does; half the bits of a filter
        are then +1, more or less.
    seed : int
        Of the initial latent weights, uniform in +-1/sqrt(inputs of one output). The bias starts at 0.

    Raises
    ------
    ValueError
        For an unknown scale, a size below 1, or a memory for a real-valued input or real weights.

    Notes
    -----
    The weights stay floating point ("latent") and are quantized in every forward pass; clip them after each update with
    `bnn.binarize.clip_latent_`.
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

    def forward(self, x: Tensor) -> Tensor:
        """Map x, shape (n, in_features), to shape (n, out_features)."""
        return self._finished(F.linear(self._written_input(x), self._written_weight()))


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
        Parts of the channels that do not see each other; divides both numbers of channels.

    Attributes
    ----------
    stride, padding, dilation : int or (int, int)
        One number where rows and columns agree. "valid" is 0, and "same" the number of zeros; it stays "same" where an
        even kernel needs more zeros on one side.
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
            raise ValueError(
                f"groups must divide in_channels and out_channels, got {groups} for {in_channels} and {out_channels}."
            )
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

    def forward(self, x: Tensor) -> Tensor:
        """Map x, shape (n, in_channels, h, w), to shape (n, out_channels, h', w')."""
        bits, weight = self._written_input(x), self._written_weight()
        return self._finished(F.conv2d(bits, weight, None, self.stride, self.padding, self.dilation, self.groups))

    def extra_repr(self) -> str:
        """Show sizes and policy in the printed model."""
        dilation = "" if self.dilation == 1 else f", dilation={self.dilation}"
        groups = "" if self.groups == 1 else f", groups={self.groups}"
        return f"{super().extra_repr()}, stride={self.stride}, padding={self.padding}{dilation}{groups}"


def _pair(name: str, value: int | tuple[int, int], *, least: int) -> tuple[int, int]:
    pair = value if isinstance(value, (tuple, list)) else (value, value)
    if len(pair) != 2 or any(isinstance(v, bool) or not isinstance(v, int) or v < least for v in pair):
        raise ValueError(f"{name} must be a whole number >= {least}, or two of them, got {value!r}.")
    return pair[0], pair[1]


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
        raise ValueError(f'padding must be a number of zeros, two of them, "same" or "valid", got {padding!r}.')
    return 0 if padding == "valid" else _one_if_equal(_pair("padding", padding, least=0))  # type: ignore[arg-type]
