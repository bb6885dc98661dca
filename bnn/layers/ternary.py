"""Discrete states: weights and activations of three or 2^N + 1 equal steps from -1 to 1, and layers on ternary values.

A ternary value is stored in two cells, "plus" and "minus": +1 as (1, 0), -1 as (0, 1), 0 as (0, 0). Two equal bits are
read as 0, so that (1, 1), which an error can make, is a second physical zero.

References
----------
.. [1] Deng, Jiao, Pei, Wu, Li, "GXNOR-Net: training deep neural networks with ternary weights and activations without
   full-precision memory under a unified discretization framework", arXiv:1705.09283 (2017). Abstract and code were
   read for this project, its equations' numbers were not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function_unary

from bnn.errors.transforms import exported
from bnn.layers.binary import BinaryConv2d, BinaryLinear
from mtjsim.checks import ArgumentError, Suggesting, checked_number, checked_whole

TERNARY = 3
MOST_LEVELS = 2**15 + 1  # every state is exact in float32, with room for sums of them


def checked_levels(levels: Any, *, least: int = TERNARY) -> int:
    """Return the number of states; ValueError unless it is 2 (if `least` is 2), or 2^N + 1 from 3 to 32,769."""
    checked_whole("levels", levels, least=least)
    if levels != 2 and (levels > MOST_LEVELS or (levels - 1) & (levels - 2)):
        which = "2 (binary), 3 (ternary)" if least == 2 else "3 (ternary)"
        raise ArgumentError("levels", f"must be {which} or another 2^N + 1 up to {MOST_LEVELS}, got {levels}.")
    return int(levels)


@dataclass(frozen=True)
class DiscreteStates(Suggesting):
    """Quantizer of weights without a latent value: the nearest of `levels` states, with the gradient of the identity.

    Parameters
    ----------
    levels : int
        3 for -1, 0, +1; 5, 9 ... for steps of 1/2, 1/4 ...: the spaces Z_N of [1] with N >= 1.

    Raises
    ------
    ValueError
        For another number of levels.

    Notes
    -----
    The parameter itself is on the states, and `bnn.DiscreteStateTransition` moves it from state to state. A layer with
    this quantizer starts on them, each with equal chance. A parameter that another optimizer moves is a latent weight
    here: its nearest state is what the product reads.

    Examples
    --------
    >>> DiscreteStates()(torch.tensor([-1.0, 0.0, 0.3, 0.7, 4.0])).tolist()
    [-1.0, 0.0, 0.0, 1.0, 1.0]
    """

    levels: int = TERNARY

    def __post_init__(self) -> None:
        checked_levels(self.levels)

    @property
    def step(self) -> float:
        """Distance of neighbours, L in [1]."""
        return 2.0 / (self.levels - 1)

    @property
    def __name__(self) -> str:
        return f"states_{self.levels}"

    def __call__(self, x: Tensor) -> Tensor:
        """Return the nearest states; halves go to the even multiple of the step, NaN stays NaN."""
        states = torch.round(x.detach().clamp(-1.0, 1.0) / self.step) * self.step
        if exported():
            return states
        finite = x.clamp(torch.finfo(x.dtype).min, torch.finfo(x.dtype).max)
        return states + (finite - finite.detach())  # the last is 0, with a gradient

    def random(self, shape: Any, generator: torch.Generator) -> Tensor:
        """Draw states, each with equal chance; float32."""
        return torch.randint(self.levels, tuple(shape), generator=generator) * self.step - 1.0


@dataclass(frozen=True)
class DiscreteActivation(Suggesting):
    """Quantizer of activations with 2^N + 1 levels, and a window of gradient around each of its thresholds [1].

    Parameters
    ----------
    levels : int
        3 for -1, 0, +1; 5, 9 ....
    threshold : float, in (0, 1)
        r: values with ``abs(x) <= r`` become 0. Beyond it the range up to 1 is divided into (levels - 1)/2 equal parts;
        larger values have the last level.
    window : float, > 0
        Half-width a: within a of a threshold, ends included, the derivative of its jump of height L is L/(2 a); windows
        that overlap add up.

    Raises
    ------
    ValueError
        For numbers out of range.

    Notes
    -----
    The multi-step activation of [1], and the rectangle that stands there for the delta function of its derivative.
    Threshold and window are free in [1]; its code has windows of 1. NaN stays NaN.

    Examples
    --------
    >>> x = torch.tensor([-2.0, -0.5, 0.2, 0.8], requires_grad=True)
    >>> y = DiscreteActivation(threshold=0.5, window=0.25)(x)
    >>> y.sum().backward()
    >>> y.tolist(), x.grad.tolist()
    ([-1.0, 0.0, 0.0, 1.0], [0.0, 2.0, 0.0, 0.0])
    """

    levels: int = TERNARY
    threshold: float = 0.5
    window: float = 0.5

    def __post_init__(self) -> None:
        checked_levels(self.levels)
        checked_number("window", self.window, "", zero_allowed=False)
        if not 0.0 < checked_number("threshold", self.threshold, "", zero_allowed=False) < 1.0:
            raise ArgumentError("threshold", f"must be in (0, 1), got {self.threshold}.")

    @property
    def step(self) -> float:
        """Height of a jump, L."""
        return 2.0 / (self.levels - 1)

    @property
    def thresholds(self) -> tuple[float, ...]:
        """Of the absolute value, ascending: a value above k of them has the level k L."""
        parts = (self.levels - 1) // 2
        return tuple(self.threshold + (1.0 - self.threshold) * k / parts for k in range(parts))

    @property
    def __name__(self) -> str:
        return f"levels_{self.levels}"

    def __call__(self, x: Tensor) -> Tensor:
        """Return the levels of `x`."""
        if has_torch_function_unary(x):  # one node in a graph of torch.fx, with its gradient
            return handle_torch_function(self.__call__, (x,), x)
        to_export = exported()
        if not to_export and not torch._C._are_functorch_transforms_active():
            return _Levels.apply(x, self)
        levels = self.forward(x.detach())
        if to_export:
            return levels
        finite = x.clamp(torch.finfo(x.dtype).min, torch.finfo(x.dtype).max)
        return levels + self.slope(x.detach()) * (finite - finite.detach())  # the last is 0, with a gradient

    def forward(self, x: Tensor) -> Tensor:
        """Return the levels of values without a gradient."""
        size = x.abs()
        found = torch.zeros_like(x)
        for threshold in self.thresholds:
            found += size > threshold
        found *= self.step
        return torch.where(x.isnan(), x, torch.copysign(found, x) + 0.0)  # -0.0 + 0.0 = 0.0

    def slope(self, x: Tensor) -> Tensor:
        """Return the derivative at x."""
        size = x.abs()
        inside = torch.zeros_like(x)
        for threshold in self.thresholds:
            inside += (size - threshold).abs() <= self.window
        return inside * (self.step / (2.0 * self.window))


class _Levels(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, levels: DiscreteActivation) -> Tensor:
        ctx.save_for_backward(x)
        ctx.levels = levels
        return levels.forward(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        return gradient * ctx.levels.slope(x), None


class TernaryLinear(BinaryLinear):
    """Fully connected layer on ternary values, with weights that have no latent value; see `BinaryLinear`.

    Parameters
    ----------
    in_features, out_features : int
    levels : int
        Of the weights.
    input_quantizer : callable or None
        Default: `DiscreteActivation` of as many levels; None for a real-valued input.
    **others
        As for `BinaryLinear`.

    Notes
    -----
    A memory in a slot has two cells for each ternary value, see the module's docstring: a sample of shape s is written
    with shape (2, *s), all "plus" cells first.

    Examples
    --------
    >>> layer = TernaryLinear(4, 2, seed=1)
    >>> sorted(set(layer.weight.flatten().tolist()))
    [-1.0, 0.0, 1.0]
    >>> layer.weight.data = torch.tensor([[1.0, 0.0, -1.0, 1.0], [0.0, 0.0, 1.0, 1.0]])
    >>> layer(torch.tensor([[0.9, -0.2, 0.4, -4.0]])).tolist()  # reads 1, 0, 0, -1
    [[0.0, -1.0]]
    """

    def __init__(self, in_features: int, out_features: int, *, seed: int, levels: int = TERNARY, **others: Any) -> None:
        super().__init__(in_features, out_features, seed=seed, **_ternary(levels, others))


class TernaryConv2d(BinaryConv2d):
    """Two-dimensional convolution on ternary values; the other parameters as `TernaryLinear` and `BinaryConv2d`.

    Examples
    --------
    >>> layer = TernaryConv2d(1, 1, 3, padding=1, seed=1)
    >>> layer.weight.data.fill_(1.0)
    tensor(...)
    >>> layer(torch.tensor([[[[1.0, 0.1], [-1.0, 0.7]]]])).tolist()  # reads 1, 0, -1, 1
    [[[[1.0, 1.0], [1.0, 1.0]]]]
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        *,
        seed: int,
        levels: int = TERNARY,
        **others: Any,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, seed=seed, **_ternary(levels, others))


def _ternary(levels: int, others: dict[str, Any]) -> dict[str, Any]:
    states = DiscreteStates(levels)
    return {"weight_quantizer": states, "input_quantizer": DiscreteActivation(levels), **others}
