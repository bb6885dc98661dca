"""Binary layers with slots: what quantizes their input and weights, and which memories the bits are written to.

A layer quantizes its input and its weights, writes the bits of each to a memory (if one sits in the slot), and
multiplies what the two memories return. `memories` exchanges the memories of a whole model, for a while.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bnn.binarize import ste_sign, xnor_scale
from bnn.errors import check_seed, seeded_generator

Quantizer = Callable[[Tensor], Tensor]
QUANTIZER_OF = {"activation_memory": "input_quantizer", "weight_memory": "weight_quantizer"}  # slot -> whose bits


class _BinaryLayer(nn.Module):
    """What the two layers share: the slots, the latent weights, and the steps before and after the product."""

    weight: Tensor
    bias: Tensor | None
    activation_memory: nn.Module | None
    weight_memory: nn.Module | None

    def __init__(
        self,
        shape: tuple[int, ...],
        *,
        bias: bool,
        weight_quantizer: Quantizer | None,
        input_quantizer: Quantizer | None,
        activation_memory: nn.Module | None,
        weight_memory: nn.Module | None,
        scale: str,
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
        self.scale = scale
        self.register_module("activation_memory", activation_memory)
        self.register_module("weight_memory", weight_memory)
        self._check_slots()
        self.seed = check_seed(seed)
        generator = seeded_generator(seed)
        bound = torch.Size(shape[1:]).numel() ** -0.5
        self.weight = nn.Parameter(torch.empty(shape).uniform_(-bound, bound, generator=generator))
        self.register_parameter("bias", nn.Parameter(torch.zeros(shape[0])) if bias else None)

    def _check_slots(self) -> None:
        for slot, quantizer in QUANTIZER_OF.items():
            if getattr(self, quantizer) is None and getattr(self, slot) is not None:
                raise ValueError(
                    f"{slot} must be None where {quantizer} is None: a real value is not a bit, and cannot be written "
                    f"to a memory of bits. Use {quantizer}=ste_sign, or leave the slot empty."
                )

    def _written_input(self, x: Tensor) -> Tensor:
        """Quantize the input and write it to its memory."""
        self._check_slots()
        if self.input_quantizer is not None:
            x = self.input_quantizer(x)
        return x if self.activation_memory is None else self.activation_memory(x)

    def _written_weight(self) -> Tensor:
        """Quantize the weights and write them to their memory."""
        weight = self.weight if self.weight_quantizer is None else self.weight_quantizer(self.weight)
        return weight if self.weight_memory is None else self.weight_memory(weight)

    def _finished(self, product: Tensor) -> Tensor:
        """Scale and bias, one value for each output channel (dimension 1)."""
        per_channel = (-1,) + (1,) * (self.weight.dim() - 2)
        if self.scale == "xnor":
            product = product * xnor_scale(self.weight).view(per_channel)
        return product if self.bias is None else product + self.bias.view(per_channel)

    def extra_repr(self) -> str:
        """Show sizes and policy in the printed model."""
        quantizers = ", ".join(
            f"{role}={getattr(quantizer, '__name__', quantizer)}"
            for role, quantizer in (("input", self.input_quantizer), ("weight", self.weight_quantizer))
        )
        shape, bias = tuple(self.weight.shape), self.bias is not None
        return f"{shape}, {quantizers}, bias={bias}, scale={self.scale}, seed={self.seed}"


class BinaryLinear(_BinaryLayer):
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
    scale : {"none", "xnor"}
        "xnor" multiplies each output by the mean absolute latent weight of its filter (XNOR-Net). No hidden scaling.
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
        scale: str = "none",
    ) -> None:
        super().__init__(
            (out_features, in_features),
            bias=bias,
            weight_quantizer=weight_quantizer,
            input_quantizer=input_quantizer,
            activation_memory=activation_memory,
            weight_memory=weight_memory,
            scale=scale,
            seed=seed,
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map x, shape (n, in_features), to shape (n, out_features)."""
        return self._finished(F.linear(self._written_input(x), self._written_weight()))


class BinaryConv2d(_BinaryLayer):
    """Two-dimensional convolution on bits; the other parameters as `BinaryLinear`.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size : int
        Side of the square kernel.
    stride : int
    padding : int
        Zeros on each side, added *after* the input was quantized and written: a padded zero is neither bit, adds
        nothing to the product, and is never written to the memory.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        seed: int,
        stride: int = 1,
        padding: int = 0,
        bias: bool = False,
        weight_quantizer: Quantizer | None = ste_sign,
        input_quantizer: Quantizer | None = ste_sign,
        activation_memory: nn.Module | None = None,
        weight_memory: nn.Module | None = None,
        scale: str = "none",
    ) -> None:
        super().__init__(
            (out_channels, in_channels, kernel_size, kernel_size),
            bias=bias,
            weight_quantizer=weight_quantizer,
            input_quantizer=input_quantizer,
            activation_memory=activation_memory,
            weight_memory=weight_memory,
            scale=scale,
            seed=seed,
        )
        self.stride, self.padding = stride, padding

    def forward(self, x: Tensor) -> Tensor:
        """Map x, shape (n, in_channels, h, w), to shape (n, out_channels, h', w')."""
        bits = self._written_input(x)
        return self._finished(F.conv2d(bits, self._written_weight(), stride=self.stride, padding=self.padding))

    def extra_repr(self) -> str:
        """Show sizes and policy in the printed model."""
        return f"{super().extra_repr()}, stride={self.stride}, padding={self.padding}"


def activation_memories(model: nn.Module) -> dict[str, nn.Module]:
    """Find the layers that have a slot for an activation memory, empty or not.

    Returns
    -------
    dict
        Name of the layer in the model -> layer, in the model's own order. Layers with a real-valued input have no slot.
    """
    return _layers_with("activation_memory", model)


def weight_memories(model: nn.Module) -> dict[str, nn.Module]:
    """Find the layers that have a slot for a weight memory, empty or not.

    Returns
    -------
    dict
        Name of the layer in the model -> layer, in the model's own order. Layers with real weights have no slot.
    """
    return _layers_with("weight_memory", model)


def _layers_with(slot: str, model: nn.Module) -> dict[str, nn.Module]:
    return {
        name: layer
        for name, layer in model.named_modules()
        if hasattr(layer, slot) and getattr(layer, QUANTIZER_OF[slot], None) is not None
    }


@contextmanager
def memories(
    model: nn.Module, make: Callable[[str, int], nn.Module | None], *, slot: str = "activation_memory"
) -> Iterator[nn.Module]:
    """Put other memories into every slot of one kind in `model`, and the former ones back afterwards.

    Parameters
    ----------
    model : Module
    make : callable
        ``make(name, index)`` returns the memory of the layer of that name, the index-th slot of the model, or None.
    slot : {"activation_memory", "weight_memory"}

    Yields
    ------
    Module
        The model. The former memories return at the end of the block, also after an exception.

    Raises
    ------
    ValueError
        For an unknown slot.

    Examples
    --------
    >>> layer = BinaryLinear(8, 2, seed=0)
    >>> with memories(layer, lambda name, index: nn.Identity()):
    ...     print(layer.activation_memory, layer.weight_memory)
    Identity() None
    >>> print(layer.activation_memory)
    None
    """
    if slot not in QUANTIZER_OF:
        raise ValueError(f"slot must be one of {', '.join(QUANTIZER_OF)}, got {slot!r}.")
    layers = _layers_with(slot, model)
    former = {name: layer._modules[slot] for name, layer in layers.items()}
    try:
        for index, (name, layer) in enumerate(layers.items()):
            layer.register_module(slot, make(name, index))
        yield model
    finally:
        for name, layer in layers.items():
            layer.register_module(slot, former[name])
