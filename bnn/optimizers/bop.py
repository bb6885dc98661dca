"""Bop: an optimizer of bits, without latent weights.

References
----------
.. [1] Helwegen, Widdicombe, Geiger, Liu, Cheng, Nusselder, "Latent weights do not exist: rethinking binarized neural
   network optimization", arXiv:1906.02107 (2019), algorithm 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from bnn.layers.binary import BinaryLayer, OnStates
from bnn.layers.quantizers import ste_sign
from mtjsim.checks import ArgumentError, checked_number


class Bop(torch.optim.Optimizer):
    """Flips a weight when the average of its gradient exceeds a threshold [1].

    For each weight w = +-1 with gradient g,

        m <- (1 - gamma) m + gamma g,   w <- -w  where |m| >= threshold and sign(m) = sign(w),

    with m = 0 at first; m = 0 flips nothing.

    Parameters
    ----------
    params : iterable of Parameter, or of parameter groups
        Binary weights, see `binary_parameters`. Each is replaced by its sign, in place: the magnitude of the latent
        weight is lost.
    threshold : float, >= 0
        tau in [1], in units of the gradient: a larger one flips less. [1] uses 1e-8 on CIFAR-10.
    gamma : float, in (0, 1]
        Share of the newest gradient in the average. [1] starts at 1e-4 on CIFAR-10, with decay.

    Raises
    ------
    ValueError
        For a number out of range or a parameter that is not finite.
    FloatingPointError
        From `step`, for a gradient that is not finite; then nothing is changed.

    Notes
    -----
    Groups may differ in threshold and gamma. Averages and counts are in the `state_dict`: a training resumes
    bit for bit. The weights' quantizer must pass a gradient at +-1: `ste_sign` does, `approx_sign` gives 0 there and
    `swish_sign` one of the wrong sign.

    Examples
    --------
    Binary weights by Bop, everything else by Adam:

    >>> from bnn.models import mlp
    >>> model = mlp(inputs=16, hidden=(8, 8), seed=1)
    >>> binary, real = split_parameters(model)
    >>> optimizers = Bop(binary, threshold=1e-6, gamma=1e-3), torch.optim.Adam(real, lr=1e-3)
    >>> model(torch.ones(4, 16)).square().mean().backward()
    >>> for optimizer in optimizers:
    ...     optimizer.step()
    >>> 0 <= optimizers[0].flip_ratio <= 1
    True
    """

    def __init__(self, params: Iterable[Any], *, threshold: float = 1e-8, gamma: float = 1e-4) -> None:
        super().__init__(params, {"threshold": threshold, "gamma": gamma})
        with torch.no_grad():
            for group in self.param_groups:
                for weight in group["params"]:
                    weight.copy_(ste_sign(weight))

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group, after a check of its numbers."""
        numbers = self.defaults | param_group
        checked_number("threshold", numbers["threshold"], "", zero_allowed=True)
        if not 0.0 < numbers["gamma"] <= 1.0:
            raise ArgumentError("gamma", f"must be in (0, 1], got {numbers['gamma']}.")
        super().add_param_group(param_group)
        if not all(weight.isfinite().all() for weight in self.param_groups[-1]["params"]):
            del self.param_groups[-1]
            raise ArgumentError("params", "must be finite, got a weight that is not.")

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Average the gradients and flip; return the result of `closure`, which is called first, if there is one."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        self._refuse_nan()
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._flip(weight, group["threshold"], group["gamma"])
        return loss

    def _flip(self, weight: Tensor, threshold: float, gamma: float) -> None:
        state = self.state[weight]
        if not state:
            state |= {"m": torch.zeros_like(weight), "flips": 0, "last_flips": 0}
        m = state["m"].mul_(1.0 - gamma).add_(weight.grad, alpha=gamma)
        push = m * weight  # > 0: the gradient points to the other bit
        flips = (push >= threshold) & (push > 0)
        weight.mul_(1.0 - 2.0 * flips.to(weight.dtype))
        count = int(flips.sum())
        state |= {"flips": state["flips"] + count, "last_flips": count}

    def _refuse_nan(self) -> None:
        for g, group in enumerate(self.param_groups):
            for i, weight in enumerate(group["params"]):
                if weight.grad is not None and not weight.grad.isfinite().all():
                    raise FloatingPointError(
                        f"the gradient of parameter {i} of group {g}, shape {tuple(weight.shape)}, is not finite: no "
                        "bit was flipped. bnn.guard_finite names the layer in which it began."
                    )

    @property
    def without_latent(self) -> list[Tensor]:
        """The weights, which are bits without a latent value."""
        return [weight for group in self.param_groups for weight in group["params"]]

    @property
    def flips(self) -> int:
        """Bits flipped in all steps."""
        return sum(state["flips"] for state in self.state.values())

    @property
    def flip_ratio(self) -> float:
        """Share of the weights with a gradient that the last step flipped; 0 before the first."""
        states = self.state.values()
        return sum(state["last_flips"] for state in states) / max(1, sum(state["m"].numel() for state in states))


def binary_parameters(model: nn.Module) -> list[nn.Parameter]:
    """Return the latent weights of the binary layers of `model`, in its order, each once.

    Raises
    ------
    ValueError
        For a layer whose weight quantizer passes no gradient at +-1, so that `Bop` could not flip a bit back, or has
        other states than two.
    """
    found: dict[int, nn.Parameter] = {}
    for name, layer in model.named_modules():
        if not isinstance(layer, BinaryLayer) or layer.weight_quantizer is None:
            continue
        if isinstance(layer.weight_quantizer, OnStates):
            rule = f"must be a sign, for Bop; that of layer {name!r} has {layer.levels_of('weight_quantizer')} states"
            raise ArgumentError("weight_quantizer", f"{rule}. Use DiscreteStateTransition(state_groups(model)).")
        ends = torch.tensor([-1.0, 1.0], requires_grad=True)
        (slope,) = torch.autograd.grad(layer.weight_quantizer(ends).sum(), ends)
        if not (slope > 0).all():
            rule = f"must have a gradient > 0 at -1 and +1, where Bop's weights are; that of layer {name!r} has"
            raise ArgumentError("weight_quantizer", f"{rule} {slope.tolist()}. Use ste_sign.")
        found.setdefault(id(layer.weight), layer.weight)
    return list(found.values())


def split_parameters(model: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Return the parameters of `model` in two lists: `binary_parameters`, for `Bop`, and the others, for Adam."""
    binary = binary_parameters(model)
    known = {id(weight) for weight in binary}
    return binary, [parameter for parameter in model.parameters() if id(parameter) not in known]
