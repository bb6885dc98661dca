import math

import pytest
import torch

from bnn.layers.binary import BinaryConv2d, BinaryLinear
from bnn.layers.latent import clip_latent_
from bnn.layers.quantizers import approx_sign, center_latent_, ste_sign, swish_sign, xnor_scale
from physics import approx

SIGNS = (ste_sign, approx_sign, swish_sign)
DTYPES = (torch.float32, torch.float64, torch.bfloat16)


@pytest.mark.parametrize("sign", SIGNS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_sign_is_a_bit_for_every_number(sign, dtype):
    tiny = torch.finfo(dtype).smallest_normal
    x = torch.tensor([0.0, -0.0, tiny, -tiny, 3.0, -3.0, math.inf, -math.inf], dtype=dtype)
    assert sign(x).tolist() == [1, 1, 1, -1, 1, -1, 1, -1]
    assert sign(x).dtype == dtype


@pytest.mark.parametrize("sign", SIGNS)
def test_nan_stays_nan(sign):
    x = torch.tensor([math.nan, -math.nan, 1.0])
    assert sign(x).isnan().tolist() == [True, True, False]


@pytest.mark.parametrize("sign", SIGNS)
def test_input_is_not_touched(sign):
    x = torch.tensor([-0.0, 0.3, -2.0])
    sign(x)
    assert x.tolist() == [0.0, approx(0.3), -2.0]
    assert math.copysign(1, x[0].item()) == -1


def gradient(sign, x):
    x = x.clone().requires_grad_()
    sign(x).sum().backward()
    return x.grad


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_ste_window_is_closed_at_one(dtype):
    one = torch.ones((), dtype=dtype)
    outside = torch.nextafter(one, 2 * one)
    x = torch.stack([-outside, -one, -one / 2, 0 * one, one, outside, 9 * one])
    assert gradient(ste_sign, x).tolist() == [0, 1, 1, 1, 1, 0, 0]


@pytest.mark.parametrize(
    ("sign", "antiderivative", "kinks"),
    [
        (ste_sign, lambda x: x.clamp(-1, 1), (-1, 1)),
        (approx_sign, lambda x: 2 * x.clamp(-1, 1) - x.clamp(-1, 1) * x.clamp(-1, 1).abs(), (-1, 1)),
        # BNN+: SS(x) = 2 sigmoid(beta x) (1 + beta x (1 - sigmoid(beta x))) - 1
        (swish_sign, lambda x: 2 * torch.sigmoid(5 * x) * (1 + 5 * x * (1 - torch.sigmoid(5 * x))) - 1, ()),
    ],
)
def test_gradient_is_the_slope_of_the_papers_curve(sign, antiderivative, kinks):
    x = torch.linspace(-3, 3, 601, dtype=torch.float64)
    x = x[[all(abs(v - kink) > 1e-3 for kink in kinks) for v in x.tolist()]]
    step = 1e-6
    slope = (antiderivative(x + step) - antiderivative(x - step)) / (2 * step)
    torch.testing.assert_close(gradient(sign, x), slope, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(
    ("sign", "closed_form"),
    [
        (ste_sign, lambda x: (x.abs() <= 1).double()),
        (approx_sign, lambda x: torch.where(x.abs() <= 1, 2 - 2 * x.abs(), 0.0)),
        # BNN+, eq. for d SS / dx: beta (2 - beta x tanh(beta x / 2)) / (1 + cosh(beta x))
        (swish_sign, lambda x: 5 * (2 - 5 * x * torch.tanh(2.5 * x)) / (1 + torch.cosh(5 * x))),
    ],
)
def test_gradient_is_the_closed_form(sign, closed_form):
    x = torch.cat([torch.linspace(-3, 3, 1201, dtype=torch.float64), torch.tensor([-1.0, 0.0, 1.0]).double()])
    torch.testing.assert_close(gradient(sign, x), closed_form(x), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(gradient(sign, x.float()), closed_form(x.float().double()).float(), rtol=1e-5, atol=1e-6)


def test_swish_gradient_is_finite_far_out():
    assert gradient(swish_sign, torch.tensor([1e30, -1e30, math.inf])).abs().max() < 1e-30


@pytest.mark.parametrize("sign", SIGNS)
def test_incoming_gradient_is_a_factor(sign):
    x = torch.tensor([0.3, -0.2], requires_grad=True)
    sign(x).backward(torch.tensor([2.0, -5.0]))
    assert torch.allclose(x.grad, gradient(sign, x.detach()) * torch.tensor([2.0, -5.0]))


def test_xnor_scale_is_the_mean_magnitude_of_each_filter():
    weight = torch.tensor([[[[1.0, -3.0]]], [[[0.0, 0.5]]]], requires_grad=True)
    scale = xnor_scale(weight)
    assert scale.tolist() == [2.0, 0.25]
    scale.sum().backward()
    assert weight.grad.tolist() == [[[[0.5, -0.5]]], [[[0.0, 0.5]]]]


def test_clipping_really_clips_and_only_binary_layers():
    binary, real = BinaryLinear(2, 1, seed=0, bias=True), BinaryLinear(2, 1, seed=0, weight_quantizer=None)
    plain = torch.nn.Linear(2, 1)
    model = torch.nn.ModuleList([binary, real, plain])
    with torch.no_grad():
        for layer in model:
            layer.weight.copy_(torch.tensor([[-3.0, 0.25]]))
        binary.bias.fill_(7.0)
    storage = binary.weight.data_ptr()
    clip_latent_(model)
    assert binary.weight.tolist() == [[-1.0, 0.25]]
    assert binary.weight.data_ptr() == storage
    assert real.weight.tolist() == plain.weight.tolist() == [[-3.0, 0.25]]
    assert binary.bias.item() == 7.0


def test_clipped_weights_can_turn_back():
    """Beyond the window there is no gradient: a clamp that is not in place leaves a weight stuck."""
    layer, x = BinaryLinear(1, 1, seed=0, input_quantizer=None), torch.ones(1, 1)
    optimizer = torch.optim.SGD(layer.parameters(), lr=1.0)
    signs = []
    for target in (1.0, 1.0, 1.0, -1.0, -1.0, -1.0):
        optimizer.zero_grad()
        (-target * layer(x)).sum().backward()
        optimizer.step()
        clip_latent_(layer)
        assert layer.weight.abs().item() <= 1.0
        signs.append(ste_sign(layer.weight).item())
    assert signs == [1, 1, 1, 1, -1, -1]


def test_a_centered_layer_is_centered_before_it_is_clipped():
    layer, plain = BinaryConv2d(3, 2, 2, seed=1, center=True), BinaryConv2d(3, 2, 2, seed=1)
    expected = plain.weight - plain.weight.mean(dim=1, keepdim=True)
    torch.testing.assert_close(layer.weight, expected)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([4.0, 1.0, 1.0]).view(1, 3, 1, 1).expand_as(layer.weight))
    clip_latent_(layer)
    assert layer.weight[:, :, 1, 1].tolist() == [[1.0, -1.0, -1.0]] * 2
    weight = torch.tensor([[1.0, 3.0]])
    center_latent_(weight)
    assert weight.tolist() == [[-1.0, 1.0]]
    assert "center=True" in repr(layer)
    assert "center" not in repr(plain)
    with pytest.raises(ValueError, match="center=True needs a weight_quantizer"):
        BinaryLinear(2, 1, seed=0, weight_quantizer=None, center=True)
