import copy

import pytest
import torch
from torch import nn

from bnn.layers.binary import BinaryLinear
from bnn.training.finite import guard_finite

NAN = float("nan")


class Spoil(torch.autograd.Function):
    """The identity; NaN in the forward or in the backward pass, where asked for."""

    @staticmethod
    def forward(ctx, x, forward, backward):
        ctx.bad = backward
        return x * NAN if forward else x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return (gradient * NAN if ctx.bad else gradient), None, None


class Stage(nn.Module):
    def __init__(self):
        super().__init__()
        self.forward_bad = self.backward_bad = False

    def forward(self, x):
        return Spoil.apply(x, self.forward_bad, self.backward_bad)


def network():
    return nn.Sequential(
        nn.Linear(4, 6), nn.ReLU(inplace=True), nn.Sequential(BinaryLinear(6, 5, seed=1), Stage()), nn.Linear(5, 2)
    )


def step(model):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model(torch.ones(3, 4)).sum().backward()
    optimizer.step()


def test_born_in_the_forward_pass():
    model = network()
    with guard_finite(model):
        step(model)
        step(model)
        model[2][1].forward_bad = True
        with pytest.raises(FloatingPointError, match=r"output of 2\.1 \(Stage\) is not .* in step 2: 15 NaN, 0 inf"):
            step(model)


def test_born_in_the_backward_pass():
    model = network()
    with guard_finite(model) as guard:
        guard.step = 40
        step(model)
        model[2][1].backward_bad = True
        with pytest.raises(FloatingPointError, match=r"the output of 2\.0 \(BinaryLinear\) .* in step 40: 15 NaN"):
            step(model)


def test_born_in_a_gradient_of_a_parameter():
    model = network()
    model[3].weight.register_hook(lambda gradient: gradient * NAN)
    with guard_finite(model), pytest.raises(FloatingPointError, match=r"gradient of 3\.weight is not finite in step 0"):
        step(model)


def test_born_in_a_weight():
    model = network()
    with guard_finite(model):
        step(model)
        with torch.no_grad():
            model[2][0].weight[3, 1] = float("inf")
        with pytest.raises(
            FloatingPointError, match=r"parameter 2\.0\.weight is not finite before step 1: 0 NaN, 1 infinite of 30"
        ):
            step(model)


def test_an_input_is_named_as_such():
    model = network()
    with (
        guard_finite(model),
        pytest.raises(FloatingPointError, match=r"the input of the model is not .* step 0"),
    ):
        model(torch.full((1, 4), NAN))


def test_a_sound_training_is_not_touched_and_the_guard_leaves_nothing_behind():
    plain = network()
    guarded = copy.deepcopy(plain)
    guard = guard_finite(guarded)
    for _ in range(3):
        step(plain)
        step(guarded)
    assert guard.step == 2
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), guarded.parameters(), strict=True))
    guard.close()
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in guarded.modules())
    guarded[2][1].forward_bad = True
    step(guarded)  # without the guard


def test_large_sums_of_finite_values_are_finite():
    model = nn.Identity()
    with guard_finite(model):
        model(torch.full((4,), 3e38))
