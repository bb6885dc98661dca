import copy
import io

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import bnn
from bnn.layers.binary import BinaryLinear
from bnn.layers.quantizers import approx_sign, ste_sign, swish_sign
from bnn.models import mlp
from bnn.optimizers.bop import Bop, binary_parameters, split_parameters
from networks import normal


def weight_of(values, grad=None):
    weight = nn.Parameter(torch.tensor(values, dtype=torch.float64))
    weight.grad = None if grad is None else torch.tensor(grad, dtype=torch.float64)
    return weight


eighths = st.integers(-16, 16).map(lambda n: n / 8)  # sums of them are exact


@settings(deadline=None)
@given(
    gradients=st.lists(st.lists(eighths, min_size=4, max_size=4), min_size=1, max_size=8),
    threshold=st.sampled_from([0.0, 0.125, 1.0]),
    gamma=st.sampled_from([0.25, 0.5, 1.0]),
)
def test_steps_are_the_papers_algorithm(gradients, threshold, gamma):
    weight = weight_of([1.0, -1.0, 1.0, -1.0])
    optimizer = Bop([weight], threshold=threshold, gamma=gamma)
    expected, m, flips = [1.0, -1.0, 1.0, -1.0], [0.0] * 4, 0
    for gradient in gradients:
        weight.grad = torch.tensor(gradient, dtype=torch.float64)
        optimizer.step()
        now = 0
        for i, g in enumerate(gradient):
            m[i] = np.float64(m[i]) * (1.0 - gamma) + gamma * g
            if abs(m[i]) >= threshold and np.sign(m[i]) == np.sign(expected[i]):
                expected[i], now = -expected[i], now + 1
        flips += now
        assert weight.tolist() == expected
        assert (optimizer.flips, optimizer.flip_ratio) == (flips, now / 4)


def test_a_threshold_is_met_by_its_own_value_and_zero_flips_nothing():
    weight = weight_of([1.0, 1.0, 1.0, -1.0], [0.5, 0.25, 0.0, 0.5])
    Bop([weight], threshold=0.5, gamma=1.0).step()
    assert weight.tolist() == [-1.0, 1.0, 1.0, -1.0]
    zero = weight_of([1.0, -1.0], [0.0, 0.0])
    Bop([zero], threshold=0.0, gamma=1.0).step()
    assert zero.tolist() == [1.0, -1.0]


def test_weights_become_signs_in_place():
    weight = weight_of([0.3, -0.0, -0.2])
    storage = weight.data_ptr()
    assert Bop([weight]).flip_ratio == 0.0
    assert weight.tolist() == [1.0, 1.0, -1.0]
    assert weight.data_ptr() == storage


def test_groups_have_their_own_numbers():
    slow, fast = weight_of([1.0], [0.5]), weight_of([1.0], [0.5])
    optimizer = Bop([{"params": [slow], "threshold": 1.0}, {"params": [fast]}], threshold=0.1, gamma=1.0)
    optimizer.step()
    assert (slow.item(), fast.item(), optimizer.flip_ratio) == (1.0, -1.0, 0.5)


def test_a_parameter_without_gradient_stays():
    idle, busy = weight_of([1.0]), weight_of([1.0], [1.0])
    optimizer = Bop([idle, busy], gamma=1.0)
    assert optimizer.step(lambda: 7.0) == 7.0
    assert (idle.item(), busy.item(), optimizer.flip_ratio) == (1.0, -1.0, 1.0)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_gradient_that_is_not_finite_changes_nothing(bad):
    first, second = weight_of([1.0], [1.0]), weight_of([[1.0, -1.0]], [[bad, 1.0]])
    optimizer = Bop([{"params": [first]}, {"params": [second]}], gamma=1.0)
    with pytest.raises(FloatingPointError, match=r"parameter 0 of group 1, shape \(1, 2\), is not finite"):
        optimizer.step()
    assert (first.item(), second.tolist(), optimizer.flips) == (1.0, [[1.0, -1.0]], 0)


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"threshold": -1.0}, "threshold must be finite and >= 0"),
        ({"threshold": float("nan")}, "threshold must be finite and >= 0"),
        ({"gamma": 0.0}, r"gamma must be in \(0, 1\]"),
        ({"gamma": 1.5}, r"gamma must be in \(0, 1\]"),
    ],
)
def test_wrong_numbers_are_refused(numbers, message):
    with pytest.raises(ValueError, match=message):
        Bop([weight_of([0.5])], **numbers)
    optimizer = Bop([weight_of([1.0])])
    with pytest.raises(ValueError, match=message):
        optimizer.add_param_group({"params": [weight_of([0.5])], **numbers})
    assert len(optimizer.param_groups) == 1
    with pytest.raises(ValueError, match="params must be finite"):
        Bop([weight_of([float("nan")])])


def teacher():
    x = ste_sign(normal(400, 31, seed=1))
    return x, ste_sign(x @ ste_sign(normal(31, seed=2)))


def train(layer, optimizers, steps):
    x, y = teacher()
    for _ in range(steps):
        for optimizer in optimizers:
            optimizer.zero_grad()
        F.soft_margin_loss(layer(x).squeeze(1) / 31**0.5, y).backward()
        for optimizer in optimizers:
            optimizer.step()


def test_a_binary_teacher_is_learned_without_latent_weights():
    """31 bits from 400 labels: guessing gives 0.5 +- 0.025, another binary vector that is 27/31 right about 0.85."""
    layer, (x, y) = BinaryLinear(31, 1, seed=3), teacher()
    optimizer = Bop(layer.parameters(), threshold=1e-4, gamma=0.05)
    train(layer, [optimizer], 300)
    assert layer.weight.abs().eq(1).all()
    assert (ste_sign(layer(x).squeeze(1)) == y).float().mean() > 0.85
    assert 0 < optimizer.flips < 31 * 300


def test_resume_is_exact_to_the_bit():
    def build():
        model = mlp(inputs=31, hidden=(16, 8), classes=1, seed=4)
        binary, real = split_parameters(model)
        return model, [Bop(binary, threshold=1e-4, gamma=0.05), torch.optim.Adam(real, lr=0.01)]

    whole, optimizers = build()
    train(whole, optimizers, 7)
    file = io.BytesIO()
    torch.save([whole.state_dict(), *(o.state_dict() for o in optimizers)], file)
    file.seek(0)
    train(whole, optimizers, 6)
    resumed, others = build()
    model_state, *states = torch.load(file, weights_only=True)
    resumed.load_state_dict(model_state)
    for optimizer, state in zip(others, states, strict=True):
        optimizer.load_state_dict(state)
    train(resumed, others, 6)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), resumed.parameters(), strict=True))
    assert optimizers[0].flips == others[0].flips > 0
    assert optimizers[0].flip_ratio == others[0].flip_ratio


def test_parameters_are_split_without_rest():
    model = mlp(seed=1)
    binary, real = split_parameters(model)
    assert [id(p) for p in binary] == [id(model[3].weight), id(model[5].weight)]
    assert {id(p) for p in binary} | {id(p) for p in real} == {id(p) for p in model.parameters()}
    assert len(binary) + len(real) == len(list(model.parameters()))
    shared = nn.Sequential(BinaryLinear(4, 4, seed=1), BinaryLinear(4, 4, seed=2))
    shared[1].weight = shared[0].weight
    assert len(binary_parameters(shared)) == 1


@pytest.mark.parametrize("quantizer", [approx_sign, swish_sign])
def test_a_quantizer_that_stops_the_gradient_at_one_is_refused(quantizer):
    model = nn.Sequential(BinaryLinear(4, 4, seed=1, weight_quantizer=quantizer))
    with pytest.raises(ValueError, match=r"that of layer '0' has .*Use ste_sign"):
        binary_parameters(model)


def test_bop_is_a_torch_optimizer_that_can_be_copied():
    weight = weight_of([1.0, -1.0], [1.0, 1.0])
    optimizer = bnn.Bop([weight], gamma=1.0)
    assert isinstance(optimizer, torch.optim.Optimizer)
    optimizer.step()
    assert copy.deepcopy(optimizer).flips == 1
