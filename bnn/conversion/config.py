"""Declaration of a binary layer: quantizers, scale, and the memories of its weights and activations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Union

from bnn.errors.bits import BitMemory
from bnn.errors.overwrite import OverwriteErrors
from bnn.errors.rates import HasRates
from bnn.errors.write_errors import WriteErrors
from bnn.layers.binary import QUANTIZER_OF, SCALES, Quantizer
from bnn.layers.quantizers import ste_sign
from mtjsim.checks import ArgumentError, Suggesting, checked_choice
from mtjsim.rng import Role, checked_seed, child_seed

if TYPE_CHECKING:
    from bridge.write import OperatingPoint

Write = Union["OperatingPoint", tuple[float, float], None]
MEMORIES: dict[str, type[BitMemory]] = {"independent": WriteErrors, "overwrite": OverwriteErrors}
ROLES: dict[str, Role] = {"activation_memory": "activation_errors", "weight_memory": "weight_errors"}


@dataclass(frozen=True, kw_only=True)
class BinarizeConfig(Suggesting):
    """Quantizers, scale, memories and write errors of a binary layer.

    Parameters
    ----------
    weight_quantizer, input_quantizer : callable or None
        See `bnn.BinaryLinear`; None leaves weights or inputs real. Of a Module, with parameters for example, each layer
        gets a copy of its own.
    shared_quantizers : bool
        One copy of a Module for all layers of a binarized model that are declared with it, instead of one for each.
    scale : {"none", "xnor"}
    center : bool
        As in `bnn.BinaryLinear`.
    weight_write, activation_write : OperatingPoint, (float, float) or None
        How the bits of the weights and of the activations are written: at an operating point, which
        `bridge.operating_point` makes of a `WriteSetting` with a current for 0 and one for 1; with its two rates alone,
        ``(error_rate_0, error_rate_1)``; or None, without errors.
    mode : {"independent", "overwrite"}
        After a failed write the cell holds the wrong bit, whatever it held before (`bnn.WriteErrors`), or its old bit
        (`bnn.OverwriteErrors`, with cells for all weights, and for the activations of one sample: each sample is
        written over the one before).
    gradient : {"identity", "flipped", "masked"}
        Through a write; "flipped" is a choice of "independent", "masked" of "overwrite".
    seed : int, >= 0
        Of the errors. Each memory has its own stream, keyed by seed, role, place of its layer in the model, and the
        model's parameters: parts that are binarized separately with one config err independently, unless their
        parameters are equal, as those of copies; give each copy its own seed.

    Raises
    ------
    ValueError
        For an unknown choice, a wrong rate, or a write of values that are not quantized.

    Examples
    --------
    >>> import bnn
    >>> from torch import nn
    >>> config = BinarizeConfig(scale="xnor", activation_write=(0.01, 0.02), seed=1)
    >>> model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2))
    >>> bnn.binarize(model, config)[1].activation_memory
    WriteErrors(error_rate_0=0.01, error_rate_1=0.02, gradient=identity, seed=..., layer=1, part=..., path=auto)
    """

    weight_quantizer: Quantizer | None = ste_sign
    input_quantizer: Quantizer | None = ste_sign
    scale: str = "none"
    center: bool = False
    weight_write: Write = None
    activation_write: Write = None
    mode: str = "independent"
    gradient: str = "identity"
    seed: int = 0
    shared_quantizers: bool = False

    def __post_init__(self) -> None:
        checked_seed(self.seed)
        checked_choice("scale", self.scale, SCALES)
        checked_choice("gradient", self.gradient, MEMORIES[checked_choice("mode", self.mode, MEMORIES)].gradients)
        for slot, quantizer in QUANTIZER_OF.items():
            function, write = getattr(self, quantizer), slot.replace("memory", "write")
            if not (function is None or callable(function)):
                raise ArgumentError(quantizer, f"must be a function, such as bnn.ste_sign, or None, got {function!r}.")
            if function is None and getattr(self, write) is not None:
                raise ArgumentError(write, f"must be None where {quantizer} is None: only bits are written to memory.")
            memory_of(self, slot, layer=0, part=0)  # checks the rates


def memory_of(config: BinarizeConfig, slot: str, *, layer: int, part: int) -> BitMemory | None:
    """Make the memory of a slot of one layer."""
    name = slot.replace("memory", "write")
    write = getattr(config, name)
    if write is None:
        return None
    seed = child_seed(config.seed, ROLES[slot], layer)
    others: dict[str, Any] = {"seed": seed, "gradient": config.gradient, "layer": layer}
    if config.mode == "overwrite":
        others["slots"] = None if slot == "weight_memory" else 1  # all weights are there at once; image follows image
    kind: Any = MEMORIES[config.mode]
    if isinstance(write, HasRates):
        memory = kind.from_operating_point(write, **others)
    elif isinstance(write, (tuple, list)) and len(write) == 2:
        memory = kind(error_rate_0=write[0], error_rate_1=write[1], **others)
    else:
        rule = "must be an operating point, (error_rate_0, error_rate_1) or None"
        raise ArgumentError(name, f"{rule}, got {write!r}. bridge.operating_point(device, setting) makes a point.")
    memory.use_stream(seed, part=part)
    return memory
