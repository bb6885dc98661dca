import pytest
import torch
import torch.nn.functional as F
from torch import nn

from bnn.errors.overwrite import OverwriteErrors
from bnn.errors.write_errors import WriteErrors
from bnn.layers.binary import BinaryConv2d, BinaryLinear
from bnn.layers.quantizers import approx_sign, ste_sign
from bnn.layers.slots import activation_memories, memories, weight_memories
from bnn.models import lenet4, mlp
from networks import normal, write_errors
from physics import within_binomial

NO_ERRORS = write_errors(0.0)
ERRORS = write_errors(0.1, 0.2)


class Recorder(nn.Module):
    """A memory that keeps what is written to it, and returns the opposite bits."""

    def forward(self, x):
        self.written = x.detach()
        return -x


def test_linear_is_the_product_of_signs():
    layer, x = BinaryLinear(30, 7, seed=1), normal(4, 30)
    assert torch.equal(layer(x), ste_sign(x) @ ste_sign(layer.weight).T)
    assert layer(x).unique().remainder(2).eq(0).all()  # 30 products of +-1: even integers


def test_conv_pads_with_zeros_after_binarization():
    layer, x = BinaryConv2d(3, 5, 3, seed=1, stride=2, padding=1), normal(2, 3, 8, 8)
    signs = F.pad(ste_sign(x), (1, 1, 1, 1), value=0.0)
    assert torch.equal(layer(x), F.conv2d(signs, ste_sign(layer.weight), stride=2))


@pytest.mark.parametrize(
    "geometry",
    [
        {"kernel_size": (3, 2), "stride": (1, 2), "padding": (2, 0)},
        {"kernel_size": 3, "padding": "same", "dilation": 2},
        {"kernel_size": (1, 5), "padding": "same", "groups": 2},
        {"kernel_size": 3, "padding": "valid", "dilation": (1, 2), "groups": 4},
        {"kernel_size": (3, 3), "stride": 2, "padding": 1, "groups": 2},
    ],
)
def test_every_geometry_is_torchs(geometry):
    plain = nn.Conv2d(4, 8, **geometry)
    layer, x = BinaryConv2d(4, 8, **geometry, seed=1, bias=True), normal(2, 4, 9, 10)
    with torch.no_grad():
        plain.weight.copy_(ste_sign(layer.weight))
        plain.bias.copy_(layer.bias)
    assert torch.equal(layer(x), plain(ste_sign(x)))


def test_geometry_is_kept_as_one_number_where_it_is_one():
    layer = BinaryConv2d(2, 2, (3, 3), seed=1, stride=(2, 2), padding=(1, 1), dilation=(1, 1))
    assert (layer.stride, layer.padding, layer.dilation) == (2, 1, 1)
    assert BinaryConv2d(2, 2, (3, 5), seed=1, padding="same").padding == (1, 2)
    assert BinaryConv2d(2, 2, 3, seed=1, padding="valid").padding == 0
    assert BinaryConv2d(2, 2, 2, seed=1, padding="same").padding == "same"
    assert "dilation=2, groups=2" in repr(BinaryConv2d(2, 2, 2, seed=1, dilation=2, groups=2))
    for wrong, message in (
        ({"groups": 3}, "groups must divide"),
        ({"stride": 0}, "stride must be a whole number >= 1"),
        ({"stride": (1, 2, 3)}, "stride must be a whole number"),
        ({"padding": "reflect"}, "padding must be a number of zeros"),
        ({"padding": -1}, "padding must be a whole number >= 0"),
        ({"padding": "same", "stride": 2}, 'padding="same" needs stride 1'),
    ):
        with pytest.raises(ValueError, match=message):
            BinaryConv2d(2, 4, 3, seed=1, **wrong)


LAYERS = [
    (BinaryLinear(300, 200, seed=1), (200, 300)),
    (BinaryConv2d(20, 40, 5, seed=1, padding=2), (20, 20, 12, 12)),
    (BinaryConv2d(64, 64, (3, 5), seed=1, groups=2, stride=2), (10, 64, 12, 12)),
]


@pytest.mark.parametrize(("layer", "shape"), LAYERS)
@pytest.mark.parametrize("slot", ["activation_memory", "weight_memory"])
@pytest.mark.parametrize("path", ["numba", "torch"])
@pytest.mark.parametrize("rates", [(0.1, 0.02), (1e-3, 0.3)])
def test_flipped_fractions_are_binomial_in_every_slot(layer, shape, slot, path, rates):
    """At least 9,000 bits of each value; 48 intervals, each missed with 1e-7: a false alarm in 2e5 runs."""
    seen = []
    memory = WriteErrors(error_rate_0=rates[0], error_rate_1=rates[1], seed=5, path=path)
    memory.register_forward_hook(lambda module, inputs, output: seen.append((inputs[0], output)))
    with memories(layer, lambda name, index: memory, slot=slot):
        out = layer(normal(*shape))
    ((written, read),) = seen
    for bit, rate in ((-1, rates[0]), (1, rates[1])):
        cells = written == bit
        assert within_binomial(int((read[cells] != bit).sum()), int(cells.sum()), rate, alarm=1e-7)
    x, weight = ste_sign(normal(*shape)), ste_sign(layer.weight)  # and what was read is what is multiplied
    x, weight = (read, weight) if slot == "activation_memory" else (x, read)
    if isinstance(layer, BinaryLinear):
        assert torch.equal(out, x @ weight.T)
    else:
        assert torch.equal(out, F.conv2d(x, weight, None, layer.stride, layer.padding, layer.dilation, layer.groups))


@pytest.mark.parametrize("layer", [BinaryLinear(6, 4, seed=1, scale="xnor", bias=True)])
def test_scale_and_bias_of_a_linear_layer(layer):
    with torch.no_grad():
        layer.bias.copy_(torch.arange(4.0))
    x = normal(3, 6)
    expected = ste_sign(x) @ ste_sign(layer.weight).T * layer.weight.abs().mean(1) + torch.arange(4.0)
    torch.testing.assert_close(layer(x), expected)


def test_scale_and_bias_of_a_convolution():
    layer, x = BinaryConv2d(3, 4, 2, seed=1, scale="xnor", bias=True), normal(2, 3, 5, 5)
    with torch.no_grad():
        layer.bias.copy_(torch.arange(4.0))
    alpha = layer.weight.abs().mean((1, 2, 3))
    expected = F.conv2d(ste_sign(x), ste_sign(layer.weight) * alpha[:, None, None, None], layer.bias)
    torch.testing.assert_close(layer(x), expected)


@pytest.mark.parametrize(
    ("layer", "x"),
    [(BinaryLinear(6, 4, seed=1), normal(3, 6)), (BinaryConv2d(3, 4, 2, seed=1, padding=1), normal(2, 3, 5, 5))],
)
def test_the_memory_is_written_with_the_bits_and_its_answer_is_used(layer, x):
    clean, memory = layer(x), Recorder()
    layer.activation_memory = memory
    assert torch.equal(layer(x), -clean)
    assert torch.equal(memory.written, ste_sign(x))  # no padding in it


@pytest.mark.parametrize(
    ("layer", "x"),
    [
        (BinaryLinear(6, 4, seed=1, scale="xnor"), normal(3, 6)),
        (BinaryConv2d(3, 4, 2, seed=1, padding=1, scale="xnor"), normal(2, 3, 5, 5)),
    ],
)
def test_the_weight_memory_holds_the_bits_and_not_the_scale(layer, x):
    clean, memory = layer(x), Recorder()
    layer.weight_memory = memory
    assert torch.equal(layer(x), -clean)
    assert torch.equal(memory.written, ste_sign(layer.weight))


def test_weight_errors_are_drawn_row_by_row_and_their_gradient_reaches_the_latent_weights():
    layer, x = BinaryLinear(200, 40, seed=1), normal(1, 200)
    layer.weight_memory = WriteErrors(error_rate_0=0.2, error_rate_1=0.2, seed=3)
    layer.weight_memory.address(step=5, samples=torch.arange(40))
    first, again = layer(x), layer(x)
    assert torch.equal(first, again)  # one step, one draw
    assert not torch.equal(first, ste_sign(x) @ ste_sign(layer.weight).T)
    first.sum().backward()
    assert torch.equal(layer.weight.grad, ste_sign(x).expand(40, 200))  # the latent weights are within the window


def test_weight_slots_are_where_weights_are_bits():
    model = lenet4(seed=1)
    assert list(weight_memories(model)) == ["5", "10"]
    with memories(model, lambda name, index: nn.Identity(), slot="weight_memory"):
        assert [type(layer.weight_memory) for layer in weight_memories(model).values()] == [nn.Identity] * 2
        assert all(layer.activation_memory is None for layer in activation_memories(model).values())
    assert all(layer.weight_memory is None for layer in weight_memories(model).values())
    with (
        pytest.raises(ValueError, match="slot must be one of 'activation_memory', 'weight_memory'"),
        memories(model, lambda name, index: None, slot="bias_memory"),
    ):
        pass
    with pytest.raises(ValueError, match="weight_memory must be None where weight_quantizer is None"):
        BinaryLinear(6, 4, seed=1, weight_quantizer=None, weight_memory=nn.Identity())


def test_quantizers_are_slots():
    x = normal(3, 6)
    real = BinaryLinear(6, 4, seed=1, weight_quantizer=None, input_quantizer=None)
    assert torch.equal(real(x), x @ real.weight.T)
    assert BinaryLinear(6, 4, seed=1, input_quantizer=approx_sign).input_quantizer is approx_sign


def test_a_real_value_is_not_written_to_a_memory_of_bits():
    with pytest.raises(ValueError, match="a real value is not a bit"):
        BinaryLinear(6, 4, seed=1, input_quantizer=None, activation_memory=NO_ERRORS(seed=1))
    layer = BinaryLinear(6, 4, seed=1, input_quantizer=None)
    layer.activation_memory = NO_ERRORS(seed=1)
    with pytest.raises(ValueError, match="a real value is not a bit"):
        layer(normal(1, 6))


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="scale must be one of 'none', 'xnor'"):
        BinaryLinear(6, 4, seed=1, scale="xnr")
    with pytest.raises(ValueError, match="needs a weight_quantizer"):
        BinaryLinear(6, 4, seed=1, scale="xnor", weight_quantizer=None)
    with pytest.raises(ValueError, match="sizes >= 1"):
        BinaryConv2d(0, 4, 3, seed=1)
    with pytest.raises(ValueError, match="seed"):
        BinaryLinear(6, 4, seed=-1)
    with pytest.raises(ValueError, match="hidden must name"):
        mlp(hidden=(), seed=1)
    with pytest.raises(ValueError, match="last must be one of 'real', 'binary'"):
        mlp(last="ternary", seed=1)


def test_initial_weights_come_from_the_seed_alone():
    state = torch.get_rng_state()
    a, b, c = BinaryLinear(30, 7, seed=1), BinaryLinear(30, 7, seed=1), BinaryLinear(30, 7, seed=2)
    models = mlp(seed=3, activation_memory=ERRORS), mlp(seed=3), mlp(seed=4)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(a.weight, b.weight)
    assert not torch.equal(a.weight, c.weight)
    weights = [[p for p in model.parameters() if p.dim() > 1] for model in models]
    assert all(torch.equal(p, q) for p, q in zip(weights[0], weights[1], strict=True))
    assert not any(torch.equal(p, q) for p, q in zip(weights[0], weights[2], strict=True))


def test_models_have_their_papers_shapes_and_policies():
    network = lenet4(seed=1, activation_memory=ERRORS)
    assert network(normal(2, 1, 28, 28)).shape == (2, 10)
    assert [tuple(p.shape) for p in network.parameters() if p.dim() > 1] == [
        (20, 1, 5, 5),
        (50, 20, 5, 5),
        (500, 800),
        (10, 500),
    ]
    for last, binary in (("real", [False, True, False]), ("binary", [False, True, True])):
        model = mlp(seed=1, hidden=(32, 16), last=last)
        layers = [layer for layer in model if isinstance(layer, BinaryLinear)]
        assert [layer.weight_quantizer is not None for layer in layers] == binary
        assert [layer.input_quantizer is not None for layer in layers] == [False, True, True]
        assert model(normal(5, 1, 8, 8)).shape == (5, 10)


@pytest.mark.parametrize("build", [mlp, lenet4])
def test_errors_reach_every_layer_type(build):
    x = normal(16, 1, *((8, 8) if build is mlp else (28, 28)))
    model = build(seed=1)
    for _ in range(10):
        model(x)  # BatchNorm statistics: without them ReLU leaves nothing but +1
    clean = model.eval()(x)
    for name in activation_memories(model):
        make = lambda slot, index, name=name: ERRORS(seed=1) if slot == name else None  # noqa: E731
        with memories(model, make):
            assert not torch.equal(model(x), clean), name
    assert torch.equal(model(x), clean)


def test_memories_are_restored_also_after_an_exception():
    model = mlp(seed=1, activation_memory=ERRORS)
    model[-2].activation_memory = None  # an empty slot stays empty
    former = [layer.activation_memory for layer in activation_memories(model).values()]
    keys = list(model.state_dict())
    seen = []

    def inside():
        with memories(model, lambda name, index: seen.append((name, index))):
            seen.append([layer.activation_memory for layer in activation_memories(model).values()])
            raise KeyError

    with pytest.raises(KeyError):
        inside()
    assert seen.pop() == [None, None]
    assert seen == [(name, index) for index, name in enumerate(activation_memories(model))]
    assert all(
        a is layer.activation_memory for a, layer in zip(former, activation_memories(model).values(), strict=True)
    )
    assert list(model.state_dict()) == keys


def test_memories_are_restored_if_making_one_fails():
    model = mlp(seed=1, activation_memory=ERRORS)
    former = [layer.activation_memory for layer in activation_memories(model).values()]

    def make(name, index):
        if index == 1:
            raise KeyError(name)

    with pytest.raises(KeyError), memories(model, make):
        pass
    assert all(
        a is layer.activation_memory for a, layer in zip(former, activation_memories(model).values(), strict=True)
    )


def test_the_printed_model_shows_its_policy():
    text = repr(mlp(seed=1, activation_memory=ERRORS))
    assert "input=ste_sign, weight=ste_sign" in text
    assert "error_rate_0=0.1, error_rate_1=0.2" in text


def test_a_weight_memory_with_fewer_slots_than_filters_is_refused():
    """A filter would overwrite another one of the same weight."""
    memory = OverwriteErrors(error_rate_0=0.1, error_rate_1=0.1, seed=0)  # one slot, as activations have it
    layer = BinaryLinear(8, 3, seed=0, weight_memory=memory)
    with pytest.raises(ValueError, match="each of the 3 filters, got slots=1"):
        layer(torch.ones(2, 8))
