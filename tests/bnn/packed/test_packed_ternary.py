"""Packed ternary networks: logits, errors in both cells of a value, files, and models mixed of bits and states."""

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

import bnn
from bnn.errors import WriteErrors
from bnn.layers import BinaryConv2d, BinaryLinear, DiscreteActivation, TernaryConv2d, TernaryLinear
from bnn.layers.quantizers import ste_sign
from bnn.models import gxnor, gxnor_mlp
from bnn.packed.trace import pack
from networks import normal

some = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def after_a_training(model, seed=0):
    generator = torch.Generator().manual_seed(seed)
    for layer in model.modules():
        if isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d)):
            c = layer.num_features
            layer.running_mean = 2.0 * torch.randn(c, generator=generator)
            layer.running_var = 0.1 + 30.0 * torch.rand(c, generator=generator)
            layer.weight.data = torch.randn(c, generator=generator)
    return model.eval()


def same(model, x):
    packed = pack(model)
    with torch.no_grad():
        assert np.array_equal(packed.logits(x), model(x).numpy())
    return packed


def same_errors(model, x, **others):
    labels = np.arange(len(x)) % 5
    given = {"draws": 3, "seed": 5, "predictions": True, **others}
    own, torch_ = (bnn.evaluate(model, (x, labels), method=method, **given) for method in ("packed", "torch"))
    assert np.array_equal(own.predictions, torch_.predictions)
    return own


@st.composite
def quantizers(draw):
    """Inputs and weights of a layer: ternary ones of some threshold, or bits."""
    ternary = DiscreteActivation(3, draw(st.floats(0.05, 0.95)), 0.5)
    inputs = draw(st.sampled_from([ternary, ste_sign]))
    return draw(st.booleans()), {"input_quantizer": inputs}


@some
@given(st.data())
def test_perceptrons(data):
    widths = [data.draw(st.sampled_from([1, 3, 63, 64, 65, 130])) for _ in range(3)]
    layers = [TernaryLinear(20, widths[0], seed=1, input_quantizer=None), nn.BatchNorm1d(widths[0])]
    for k in range(2):
        ternary, inputs = data.draw(quantizers())
        kind = TernaryLinear if ternary else BinaryLinear
        layers += [kind(widths[k], widths[k + 1], seed=k, **inputs), nn.BatchNorm1d(widths[k + 1])]
    layers.append(TernaryLinear(widths[2], 5, seed=9, bias=True))
    model = after_a_training(nn.Sequential(*layers), data.draw(st.integers(0, 99)))
    x = normal(40, 20, seed=data.draw(st.integers(0, 99)))
    same(model, x)
    same_errors(model, x, errors=(0.03, 0.1), weight_errors=(0.05, 0.02))


@some
@given(st.data())
def test_conv_nets(data):
    c = [data.draw(st.sampled_from([1, 5, 64, 70])) for _ in range(2)]
    options = {
        "stride": data.draw(st.integers(1, 2)),
        "padding": data.draw(st.integers(0, 2)),
        "dilation": data.draw(st.sampled_from([1, 1, 2])),
    }
    ternary, inputs = data.draw(quantizers())
    kind = TernaryConv2d if ternary else BinaryConv2d
    layers = [
        TernaryConv2d(1, c[0], 3, seed=1, input_quantizer=None),
        nn.MaxPool2d(2),
        nn.BatchNorm2d(c[0]),
        kind(c[0], c[1], data.draw(st.integers(1, 2)), seed=2, **inputs, **options),
        nn.BatchNorm2d(c[1]),
        nn.Flatten(),
    ]
    width = nn.Sequential(*layers).eval()(torch.zeros(1, 1, 13, 13)).shape[1]
    model = after_a_training(nn.Sequential(*layers, TernaryLinear(width, 5, seed=3)), data.draw(st.integers(0, 99)))
    x = normal(20, 1, 13, 13, seed=data.draw(st.integers(0, 99)))
    same(model, x)
    same_errors(model, x, errors=(0.03, 0.1), weight_errors=(0.05, 0.02))


@pytest.mark.parametrize(("make", "shape"), [(gxnor, (1, 28, 28)), (gxnor_mlp, (1, 28, 28))])
def test_models_their_files_and_rates_by_cell(make, shape):
    model, x = after_a_training(make(seed=1)), normal(30, *shape, seed=2)
    packed = same(model, x)
    assert packed.bytes * 12 < sum(p.numel() * 4 for p in model.parameters())  # 2 bits in place of 32, and BatchNorm
    assert same_errors(model, x, errors=(0.2, 0.2)).method == "packed"
    layer = packed.weight_layers[-1]
    rates = torch.linspace(0.0, 0.2, 2 * 512).view(2, 512)  # of the cells of a row: all "plus", then all "minus"
    same_errors(model, x, weight_errors={layer: WriteErrors(error_rate_0=rates, error_rate_1=0.5 * rates, seed=0)})


def test_a_file_and_what_is_refused(tmp_path):
    packed = pack(after_a_training(gxnor_mlp(20, (9,), seed=1)))
    packed.save(tmp_path / "a.npz")
    again = bnn.load_packed(tmp_path / "a.npz")
    x = normal(5, 20, seed=1)
    assert again.identity == packed.identity
    assert np.array_equal(again.logits(x), packed.logits(x))
    with pytest.raises(ValueError, match="must be a sign or ternary to be packed, got 5 levels"):
        pack(nn.Sequential(TernaryLinear(4, 4, seed=1, input_quantizer=DiscreteActivation(5))).eval())
    with pytest.raises(ValueError, match="at most 3 levels to be packed"):
        pack(nn.Sequential(TernaryLinear(400, 4, seed=1, levels=5, input_quantizer=None)).eval())
    with pytest.raises(ValueError, match="NaN"):
        packed.run(torch.full((1, 20), float("nan")))
