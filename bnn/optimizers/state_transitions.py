"""Discrete state transitions: training of weights that are on a few states and have no latent value.

References
----------
.. [1] Deng, Jiao, Pei, Wu, Li, "GXNOR-Net", arXiv:1705.09283 (2017); the rule as in its published code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bnn.layers.binary import BinaryLayer, OnStates
from bnn.layers.quantizers import ste_sign
from bnn.layers.ternary import checked_levels
from bnn.optimizers.transition_kernels import by_tanh
from mtjsim.checks import ArgumentError, checked_kind
from mtjsim.rng import checked_seed, child_seed

Array32 = NDArray[np.float32]


class Moves(NamedTuple):
    """What one step did to a tensor of weights."""

    moved: int  # weights that changed their state
    drawn: int  # steps beyond the sure ones that were drawn, at an end of the states too


@runtime_checkable
class Jumps(Protocol):
    """How weights move by less than a step: by a probability, or by pulses on the weights' own junctions."""

    def move(self, number: int, states: Array32, wanted: Array32, step: float, key: int) -> Moves:
        """Move `states`, (n,), of tensor `number` in place, by the `wanted` changes; draws follow from `key`.

        Raises
        ------
        ValueError
            For a weight that is on no state.
        """

    def state(self) -> Any:
        """Return what changes from step to step, for `restore`."""

    def restore(self, state: Any) -> None:
        """Go on from a `state`."""


class TanhJumps:
    """One more step with probability tanh(3 nu), nu the rest of the wanted change in steps: the rule of [1]."""

    def move(self, number: int, states: Array32, wanted: Array32, step: float, key: int) -> Moves:
        """See `Jumps`."""
        counts = np.zeros(2, np.int64)
        if by_tanh(states, wanted, np.uint64(key), np.float32(step), counts):
            refuse_other_states(f"weight {number}", states, step)
        return Moves(*counts.tolist())

    def state(self) -> Any:
        """Nothing changes."""
        return None

    def restore(self, state: Any) -> None:
        """Do nothing."""

    def __repr__(self) -> str:
        return "tanh(3 nu)"


class DiscreteStateTransition(torch.optim.Optimizer):
    """Turns the step of any optimizer into jumps between states [1].

    For a weight w on states with distance L, and the change delta that the optimizer would make,

        kappa = floor(abs(delta)/L),   nu = abs(delta)/L - kappa,   p = tanh(3 nu),
        w <- clip(w + sign(delta) L (kappa + 1 with probability p, else kappa), -1, 1).

    No latent weight is kept; the moments of the optimizer stay real numbers.

    Parameters
    ----------
    optimizer : Optimizer
        Any of torch's, made from `state_groups`: groups with "levels" are moved so, all other parameters change as
        without this class. Its learning rate is in units of the weights. Of groups with levels the weight decay must be
        0: the optimizer sees weights of 0 there, so that delta is not rounded.
    seed : int, >= 0
        Of the draws. Those of a weight follow from the seed, the number of its tensor, the step, and its place.
    jumps : Jumps, optional
        In place of the tanh.

    Raises
    ------
    ValueError
        If no group has levels; for a number of levels that is none; for weights of such a group that are on no state
        (of two levels each weight is replaced by its sign, in place), are not float32 on the CPU, or decay.
    FloatingPointError
        From `step`, for a gradient that is not finite; then nothing is changed.

    Attributes
    ----------
    moved, drawn : int
        Weights that changed their state, and steps that were drawn, in all steps.

    Notes
    -----
    The state of the optimizer, the number of steps and the counts are in the `state_dict`: a training resumes bit for
    bit. Parameter groups and state are those of `optimizer`: schedules of the learning rate work on either.

    Examples
    --------
    >>> from bnn.layers import TernaryLinear
    >>> model = nn.Sequential(TernaryLinear(16, 8, seed=1), nn.BatchNorm1d(8), TernaryLinear(8, 4, seed=2))
    >>> optimizer = DiscreteStateTransition(torch.optim.Adam(state_groups(model), lr=0.01), seed=1)
    >>> model(torch.randn(32, 16, generator=torch.Generator().manual_seed(0))).square().mean().backward()
    >>> optimizer.step()
    >>> sorted(set(model[0].weight.flatten().tolist())), 0 < optimizer.moved < 160
    ([-1.0, 0.0, 1.0], True)
    """

    def __init__(self, optimizer: torch.optim.Optimizer, *, seed: int, jumps: Jumps | None = None) -> None:
        checked_kind("optimizer", optimizer, torch.optim.Optimizer)
        if isinstance(optimizer, torch.optim.LBFGS):
            raise ArgumentError("optimizer", "must not be an LBFGS, which steps along a line of weights.")
        self.optimizer, self.seed = optimizer, checked_seed(seed)
        self.jumps: Jumps = TanhJumps() if jumps is None else jumps
        if not isinstance(self.jumps, Jumps):
            raise ArgumentError("jumps", f"must have the methods move, state and restore, got {jumps!r}.")
        self.steps, self.moved, self.drawn = 0, 0, 0
        super().__init__(optimizer.param_groups, optimizer.defaults)
        self._share()
        for group in self.param_groups:
            _check_group(group)
        if not any(True for _ in self._discrete()):
            rule = 'must have a group with "levels", as state_groups(model) makes them'
            raise ArgumentError("optimizer", f"{rule}: it moves no weight from state to state.")
        for weight, levels in self._discrete():
            _check_states(weight, levels)

    def _share(self) -> None:
        self.param_groups, self.state = self.optimizer.param_groups, self.optimizer.state

    def _discrete(self) -> Iterator[tuple[Tensor, int]]:
        """Yield each weight on states, and its number of states."""
        for group in self.param_groups:
            if "levels" in group:
                yield from ((weight, group["levels"]) for weight in group["params"])

    @property
    def without_latent(self) -> list[Tensor]:
        """The weights that are stored as states, without a latent value."""
        return [weight for weight, _ in self._discrete()]

    @property
    def identity(self) -> tuple[Any, ...]:
        """What decides the result besides the parameter groups: seed, jumps, and the class of the optimizer."""
        return self.seed, self.jumps, type(self.optimizer)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Move the weights; return the result of `closure`, which is called first, if there is one."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        weights = [(number, w, levels) for number, (w, levels) in enumerate(self._discrete()) if w.grad is not None]
        for number, weight, _ in weights:
            if not weight.grad.isfinite().all():  # type: ignore[union-attr]
                rule = "is not finite: no weight was moved. bnn.guard_finite names the layer in which it began."
                raise FloatingPointError(f"the gradient of weight {number}, shape {tuple(weight.shape)}, {rule}")
        held = [weight.clone(memory_format=torch.contiguous_format) for _, weight, _ in weights]
        for _, weight, _ in weights:
            weight.zero_()  # what the optimizer adds is then delta, not rounded by the weight
        try:
            self.optimizer.step()
            for (number, weight, levels), states in zip(weights, held, strict=True):
                key = child_seed(self.seed, "state_transitions", number, *divmod(self.steps, 1 << 32))
                given = states.view(-1).numpy(), weight.contiguous().view(-1).numpy(), 2.0 / (levels - 1)
                moves = self.jumps.move(number, *given, key)
                self.moved, self.drawn = self.moved + moves.moved, self.drawn + moves.drawn
        finally:
            for (_, weight, _), states in zip(weights, held, strict=True):
                weight.copy_(states)
        self.steps += 1
        return loss

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the optimizer, and `transitions`: steps, counts, and the state of the jumps."""
        own = {"steps": self.steps, "moved": self.moved, "drawn": self.drawn, "jumps": self.jumps.state()}
        return {**self.optimizer.state_dict(), "transitions": own}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a `state_dict`; ValueError for one of another class."""
        if "transitions" not in state_dict:
            raise ArgumentError("state_dict", "must be one of a DiscreteStateTransition: it has no 'transitions'.")
        own = state_dict["transitions"]
        self.optimizer.load_state_dict({key: value for key, value in state_dict.items() if key != "transitions"})
        self._share()
        self.steps, self.moved, self.drawn = own["steps"], own["moved"], own["drawn"]
        self.jumps.restore(own["jumps"])

    def __repr__(self) -> str:
        inner = repr(self.optimizer).replace("\n", "\n  ")
        return f"DiscreteStateTransition(\n  {inner}\n  seed={self.seed}, jumps={self.jumps!r}\n)"


def state_groups(model: nn.Module, *, binary: bool = False) -> list[dict[str, Any]]:
    """Sort the parameters of `model` into groups for `DiscreteStateTransition`: with "levels", and all others.

    Parameters
    ----------
    model : Module
    binary : bool
        Whether weights of binary layers (`ste_sign`) are moved from sign to sign too, with 2 levels; else they keep
        their latent values.

    Returns
    -------
    list of dict
        One for each number of levels, ascending, and one for the others, in the order of the model. Weights of
        layers that are frozen are in none.

    Raises
    ------
    ValueError
        If no weight would have levels.
    """
    found: dict[int, dict[int, Tensor]] = {}
    for layer in model.modules():
        if not isinstance(layer, BinaryLayer) or not layer.weight.requires_grad:
            continue
        if isinstance(layer.weight_quantizer, OnStates) or (binary and layer.weight_quantizer is ste_sign):
            found.setdefault(layer.levels_of("weight_quantizer"), {}).setdefault(id(layer.weight), layer.weight)
    if not found:
        remedy = "Use TernaryLinear and TernaryConv2d, or binary=True for the signs of binary layers."
        raise ArgumentError("model", f"must have a layer with weights on states. {remedy}")
    groups: list[dict[str, Any]] = [{"params": list(found[n].values()), "levels": n} for n in sorted(found)]
    known = {key for weights in found.values() for key in weights}
    others = [p for p in model.parameters() if id(p) not in known and p.requires_grad]
    return groups + [{"params": others}] * bool(others)


def refuse_other_states(name: str, states: Array32, step: float) -> None:
    """Raise ValueError for the first value that is on no state."""
    number = (states.astype(float) + 1.0) / step
    wrong = states[(number != np.floor(number)) | (np.abs(states) > 1.0)]
    if len(wrong):
        remedy = "It was changed by something else, or drawn as a latent weight: reset_parameters of a layer on states"
        raise ArgumentError(name, f"must be on states from -1 to 1 in steps of {step:g}, got {wrong[0]:g}. {remedy}.")


def _check_group(group: dict[str, Any]) -> None:
    if "levels" not in group:
        return
    checked_levels(group["levels"], least=2)
    if group.get("weight_decay", 0):
        rule = "must be 0 in a group with levels: a state cannot shrink"
        raise ArgumentError("weight_decay", f"{rule}, got {group['weight_decay']:g}.")


@torch.no_grad()
def _check_states(weight: Tensor, levels: int) -> None:
    if weight.device.type != "cpu" or weight.dtype != torch.float32:
        raise ArgumentError(
            "optimizer", f"must have weights of float32 on the CPU, got {weight.dtype}, {weight.device}."
        )
    if levels == 2:
        weight.copy_(ste_sign(weight))
    refuse_other_states("weight", weight.contiguous().view(-1).numpy(), 2 / (levels - 1))
