"""Ternary and finer states: values, gradients, two cells in a memory, counts, and what is refused."""

import numpy as np
import pytest
import torch
from torch import nn

import bnn
from bnn.errors import WriteErrors
from bnn.layers import BinaryLinear, DiscreteActivation, DiscreteStates, TernaryConv2d, TernaryLinear
from bnn.layers.binary import read_back, stored
from bnn.models import gxnor, gxnor_mlp
from networks import normal
from physics import within_binomial


@pytest.mark.parametrize("levels", [3, 5, 17])
def test_activation_against_a_literal_transcription(levels):
    """Each value by itself: the number of thresholds below its size, times the height of a jump."""
    quantizer = DiscreteActivation(levels, threshold=0.3, window=0.1)
    x = torch.cat([normal(500, seed=1), torch.tensor(quantizer.thresholds), torch.tensor([-0.0, 0.0, 1.0, -1.0, 50.0])])
    parts = (levels - 1) // 2
    for value, found, slope in zip(x.tolist(), quantizer(x).tolist(), quantizer.slope(x).tolist(), strict=True):
        size = np.float32(abs(value))
        over = sum(size > np.float32(0.3 + 0.7 * k / parts) for k in range(parts))
        assert found == np.copysign(over / parts, value) + 0.0
        near = sum(abs(float(size) - (0.3 + 0.7 * k / parts)) < 0.1 - 1e-6 for k in range(parts))
        far = sum(abs(float(size) - (0.3 + 0.7 * k / parts)) <= 0.1 + 1e-6 for k in range(parts))
        assert near / parts / 0.2 - 1e-5 <= slope <= far / parts / 0.2 + 1e-5


def test_gradient_of_an_activation_integrates_to_its_jumps():
    """A window of any width around a threshold has the area of the jump."""
    x = torch.linspace(-3.0, 3.0, 60_001, dtype=torch.float64)
    for window in (0.05, 0.5, 1.0):
        area = torch.trapezoid(DiscreteActivation(5, 0.5, window).slope(x[x >= 0]), x[x >= 0])
        inside = DiscreteActivation(5, 0.5, window).thresholds[0] >= window  # else a part of it is below 0
        assert area.item() == pytest.approx(1.0, abs=2e-3) if inside else area.item() < 1.0


def test_gradients_are_the_same_under_torch_func():
    quantizer, x = DiscreteActivation(), normal(64, seed=2)
    plain = x.clone().requires_grad_()
    quantizer(plain).sum().backward()
    assert torch.equal(torch.func.grad(lambda value: quantizer(value).sum())(x), plain.grad)
    assert torch.func.grad(lambda value: DiscreteStates()(value).sum())(x).eq(1).all()


def test_nan_and_infinities():
    x = torch.tensor([float("nan"), float("inf"), -float("inf")], requires_grad=True)
    for quantizer in (DiscreteActivation(), DiscreteStates(5)):
        found = quantizer(x)
        assert found[0].isnan()
        assert found[1:].tolist() == [1.0, -1.0]
    assert stored(torch.tensor([[float("nan")]]), 3).isnan().all()


@pytest.mark.parametrize("levels", [3, 5, 9])
def test_layers_begin_on_states_with_equal_chance(levels):
    layer = TernaryLinear(300, 200, levels=levels, seed=3)
    assert torch.equal(layer.quantized_weight(), layer.weight)
    states, counts = layer.weight.detach().unique(return_counts=True)
    assert states.tolist() == [-1 + 2 * k / (levels - 1) for k in range(levels)]
    assert all(within_binomial(count, 60_000, 1 / levels, tests=17) for count in counts.tolist())
    again = layer.weight.clone()
    layer.reset_parameters(seed=4)
    assert not torch.equal(layer.weight, again)


def test_two_cells_hold_a_value():
    """+1 is (1, 0), -1 is (0, 1), 0 is (0, 0), and (1, 1) is read as 0 too."""
    values = torch.tensor([[1.0, 0.0, -1.0]])
    cells = stored(values, 3)
    assert cells.tolist() == [[[1.0, -1.0, -1.0], [-1.0, -1.0, 1.0]]]
    assert torch.equal(read_back(cells, 3), values)
    assert read_back(torch.ones(1, 2, 3), 3).tolist() == [[0.0, 0.0, 0.0]]


@pytest.mark.parametrize("make", [lambda: TernaryLinear(70, 5, seed=1), lambda: TernaryConv2d(3, 5, 3, seed=1)])
def test_a_memory_without_errors_changes_nothing(make):
    layer = make()
    x = (normal(4, 70, seed=1) if layer.weight.dim() == 2 else normal(4, 3, 8, 8, seed=1)).requires_grad_()
    layer(x).square().sum().backward()
    expected = layer(x), x.grad.clone(), layer.weight.grad.clone()
    memory = {"error_rate_0": 0.0, "error_rate_1": 0.0}
    layer.activation_memory, layer.weight_memory = WriteErrors(**memory, seed=1), WriteErrors(**memory, seed=2)
    x.grad, layer.weight.grad = None, None
    found = layer(x)
    found.square().sum().backward()
    assert all(torch.equal(a, b) for a, b in zip((found, x.grad, layer.weight.grad), expected, strict=True))


def test_errors_of_cells():
    """A 1 that fails in a cell of a +1 or -1 makes a 0; a 0 that fails makes +1, -1, or the other zero."""
    layer = TernaryLinear(50_000, 1, seed=1, weight_quantizer=None)
    layer.weight.data.fill_(1.0)
    layer.activation_memory = WriteErrors(error_rate_0=0.1, error_rate_1=0.3, seed=1)
    seen = {}
    for value in (1.0, 0.0, -1.0):
        x = torch.full((1, 50_000), value)
        read = read_back(layer.activation_memory(stored(x, 3)), 3)
        seen[value] = {state: int((read == state).sum()) for state in (-1.0, 0.0, 1.0)}
    # rates of the four outcomes of two independent cells
    for value, state, rate in (
        (1.0, 1.0, 0.7 * 0.9),
        (1.0, -1.0, 0.3 * 0.1),
        (0.0, 1.0, 0.1 * 0.9),
        (0.0, 0.0, 0.81 + 0.01),
        (-1.0, 0.0, 0.3 * 0.9 + 0.7 * 0.1),
    ):
        assert within_binomial(seen[value][state], 50_000, rate, tests=5)


def test_closed_form_of_batch_norm_for_ternary_errors():
    """The mean of a product with errors, restored: exact for ternary values at unequal rates, with a padding too."""
    layer = TernaryConv2d(4, 6, 3, padding=1, seed=1)
    model = nn.Sequential(layer, nn.BatchNorm2d(6)).eval()
    model[1].running_mean.copy_(normal(6, seed=3))
    point = WriteErrors(error_rate_0=0.02, error_rate_1=0.2, seed=5)
    moved = bnn.rescale_batch_norm(model, trained_at=None, run_at={"activations": point})
    assert torch.allclose(moved[1].running_mean, model[1].running_mean * 0.78)
    x = normal(1, 4, 6, 6, seed=7).repeat(20_000, 1, 1, 1)
    clean = layer(x[:1])[0]
    layer.activation_memory = point
    with torch.no_grad():
        read = layer(x)
    error = (read.mean(dim=0) - 0.78 * clean) / (read.std(dim=0) / len(x) ** 0.5 + 1e-9)
    assert error.abs().max() < 5.5  # 216 normals: exceeded with a chance of 1e-5


def test_summary_counts_two_bits_a_value():
    rows = {row.name: row for row in bnn.summary(gxnor(seed=1), input_shape=(1, 28, 28), batch_size=10).rows}
    conv = rows["3"]
    assert (conv.weight_bits, conv.activation_bits) == (2 * 51_200, 2 * 32 * 12 * 12)
    assert (conv.binary_macs, conv.ternary_macs, conv.float_macs) == (0, 51_200 * 64, 0)
    assert conv.error_prone_bits_training_step == 20 * 32 * 12 * 12 + 2 * 51_200
    assert (rows["0"].weight_bits, rows["0"].ternary_macs, rows["0"].float_macs) == (1600, 0, 800 * 24 * 24)
    assert rows["0"].packed_bytes == 200
    finer = bnn.summary(gxnor_mlp(64, (32,), levels=9, seed=1), input_shape=64)
    assert finer.totals.weight_bits == 4 * (64 * 32 + 32 * 10)
    assert finer.totals.ternary_macs == 0
    assert "ternary" in str(bnn.summary(gxnor(seed=1), input_shape=(1, 28, 28)))
    assert "ternary" not in str(finer)


@pytest.mark.parametrize("levels", [2, 3, 5])
@pytest.mark.parametrize("make", [gxnor, gxnor_mlp])
def test_models_have_their_levels(make, levels):
    model = make(seed=2, levels=levels)
    x = normal(8, 1, 28, 28, seed=1)
    assert model(x).shape == (8, 10)
    own = [layer for layer in model if hasattr(layer, "weight_quantizer")]
    assert [layer.input_quantizer is None for layer in own] == [True] + [False] * (len(own) - 1)
    assert {layer.levels_of("weight_quantizer") for layer in own} == {levels}
    assert own[1].weight[0].numel() in (800, 512)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: DiscreteStates(4), "levels must be 3"),
        (lambda: DiscreteStates(2), "levels must be"),
        (lambda: DiscreteActivation(3, threshold=1.0), "threshold must be in"),
        (lambda: DiscreteActivation(3, window=0.0), "window must be"),
        (lambda: TernaryLinear(3, 3, seed=1, center=True), "center must be False for weights on states"),
        (lambda: gxnor(seed=1, levels=7), "levels must be 2"),
        (lambda: gxnor_mlp(hidden=(), seed=1), "hidden must"),
        (
            lambda: TernaryLinear(
                3, 3, levels=5, seed=1, weight_memory=WriteErrors(error_rate_0=0, error_rate_1=0, seed=1)
            ),
            "weight_memory must be None where weight_quantizer has 5 levels",
        ),
        (lambda: bnn.pack(gxnor_mlp(4, (4,), levels=5, seed=1)), "levels"),
        (lambda: bnn.binary_parameters(gxnor_mlp(4, (4,), seed=1)), "Use DiscreteStateTransition"),
    ],
)
def test_what_is_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_binary_layers_are_as_they_were():
    layer = BinaryLinear(8, 2, seed=1)
    assert layer.weight.abs().max() <= 8**-0.5
    assert layer.levels_of("weight_quantizer") == 2
