"""The packed model against torch: the same logits to the last bit, the same errors bit for bit, the same file back."""

import io
import json
import re
import tracemalloc
import zipfile
from types import MethodType

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

import bnn
from bnn.errors.kernels import write_samples
from bnn.errors.uniforms import sample_keys
from bnn.errors.write_errors import WriteErrors
from bnn.evaluation.accuracy import evaluate
from bnn.layers.binary import BinaryConv2d, BinaryLinear
from bnn.layers.feature_norm import FeatureNorm
from bnn.layers.quantizers import approx_sign, ste_sign, swish_sign
from bnn.layers.slots import activation_memories, memories
from bnn.models import bireal, lenet4, mlp, nin, vgg7
from bnn.packed.bit_errors import write_words
from bnn.packed.predictor import PackedModel, load_packed
from bnn.packed.steps import Bits, Step, packed_signs, run_float, unpacked
from bnn.packed.trace import pack
from networks import Branch, Images, normal, rates

some = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def written_to_cells(x, p01, p10, seed=1, layer=0, step=0):
    """Return what cells hold after +-1 was written to them, samples 0, 1 ...."""
    out = np.empty_like(x.numpy())
    write_samples(x.numpy(), np.uint64(seed), layer, step, np.arange(len(x)), p01, p10, out=out)
    return out


def trained_like(model, seed=0):
    """BatchNorms as a training leaves them, among them gammas < 0 and = 0; evaluation mode."""
    generator = torch.Generator().manual_seed(seed)
    for layer in model.modules():
        if isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d)):
            c = layer.num_features
            layer.running_mean = 4.0 * torch.randn(c, generator=generator)
            layer.running_var = 0.1 + 30.0 * torch.rand(c, generator=generator)
            layer.weight.data = torch.randn(c, generator=generator)
            layer.weight.data[::7] = 0.0
            layer.bias.data = torch.randn(c, generator=generator) * (torch.rand(c, generator=generator) < 0.8)
        elif isinstance(layer, (BinaryLinear, BinaryConv2d)) and layer.bias is not None:
            layer.bias.data = 3.0 * torch.randn(len(layer.bias), generator=generator)
    return model.eval()


def same(model, images, **options):
    """The packed model, whose logits are the model's to the last bit."""
    packed = pack(model)
    with torch.no_grad():
        expected = model(images)
    assert np.array_equal(packed.logits(images, **options), expected.numpy())
    assert np.array_equal(packed.predict(images, **options), expected.argmax(dim=1).numpy())
    return packed


def folded(packed):
    return sum("threshold" in step.arrays for step in packed.steps)


# ---- random networks -------------------------------------------------------------------------------------------------

SIZES = st.sampled_from([1, 3, 20, 63, 64, 65, 130])
SIGNS = st.sampled_from([ste_sign, approx_sign, swish_sign])


@st.composite
def binary_options(draw):
    return {
        "seed": draw(st.integers(0, 2**32)),
        "bias": draw(st.booleans()),
        "scale": draw(st.sampled_from(["none", "xnor"])),
        "input_quantizer": draw(SIGNS),
        "weight_quantizer": draw(SIGNS),
    }


@st.composite
def multilayer_perceptrons(draw):
    width = inputs = draw(SIZES)
    layers = [nn.Flatten()] if draw(st.booleans()) else []
    for _ in range(draw(st.integers(1, 3))):
        following = draw(SIZES)
        layers.append(BinaryLinear(width, following, **draw(binary_options())))
        layers += draw(st.lists(st.sampled_from([nn.ReLU(), nn.Hardtanh(), nn.Dropout()]), max_size=1))
        layers += [nn.BatchNorm1d(following)] * draw(st.booleans())
        width = following
    if draw(st.booleans()):
        layers.append(nn.Linear(width, 5))
    return inputs, nn.Sequential(*layers)


@st.composite
def conv_nets(draw):
    channels = draw(st.sampled_from([1, 3]))
    layers, c, side = [], channels, 12
    if draw(st.booleans()):
        layers += [nn.Conv2d(channels, 20, 3, padding=1), nn.BatchNorm2d(20)]
        c = 20
    for _ in range(draw(st.integers(1, 2))):
        following, kernel, stride = draw(SIZES), draw(st.integers(1, 5)), draw(st.integers(1, 2))
        padding = draw(st.integers(0, kernel))
        layers.append(
            BinaryConv2d(c, following, kernel, stride=stride, padding=padding, **draw(binary_options())),
        )
        side, c = (side + 2 * padding - kernel) // stride + 1, following
        between = [nn.BatchNorm2d(c), nn.ReLU(), nn.Hardtanh(-2.0, 3.0)]
        if side >= 3:
            pool = draw(st.sampled_from([nn.MaxPool2d(2), nn.MaxPool2d(3, 2, 1), nn.AvgPool2d(2), nn.Identity()]))
            between.append(pool)
            if not isinstance(pool, nn.Identity):
                side = (side - 1) // 2 + 1 if isinstance(pool, nn.MaxPool2d) and pool.padding else side // 2
        layers += draw(st.permutations(between))[: draw(st.integers(0, 4))] if side > 4 else []
        side = int(nn.Sequential(*layers).eval()(torch.zeros(1, channels, 12, 12)).shape[-1])
        if side < 6:
            break
    layers += [nn.Flatten(), BinaryLinear(c * side * side, 7, **draw(binary_options()))]
    return channels, nn.Sequential(*layers)


@some
@given(multilayer_perceptrons(), st.integers(0, 2**32), st.integers(1, 9))
def test_perceptrons_predict_as_in_torch(net, seed, n):
    inputs, model = net
    same(trained_like(model, seed), normal(n, inputs, seed=seed))


@some
@given(conv_nets(), st.integers(0, 2**32))
def test_conv_nets_predict_as_in_torch(net, seed):
    channels, model = net
    same(trained_like(model, seed), normal(5, channels, 12, 12, seed=seed))


class Residual(nn.Module):
    """A block of a binary residual network, with a shortcut of real values."""

    def __init__(self, c, following, stride):
        super().__init__()
        self.first = BinaryConv2d(c, following, 3, stride=stride, padding=1, seed=1)
        self.norms = nn.ModuleList([nn.BatchNorm2d(following), nn.BatchNorm2d(following)])
        self.second = BinaryConv2d(following, following, 3, padding=1, seed=2, scale="xnor", bias=True)
        self.shortcut = nn.Sequential(nn.AvgPool2d(stride), nn.Conv2d(c, following, 1)) if stride > 1 else nn.Identity()

    def forward(self, x):
        y = self.norms[0](self.first(x))
        y = self.norms[1](self.second(y))
        y += self.shortcut(x)
        return F.relu(y)


class ResNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 20, 3, padding=1, bias=False), nn.BatchNorm2d(20))
        self.blocks = nn.Sequential(Residual(20, 20, 1), Residual(20, 70, 2))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(70, 10)

    def forward(self, x):
        x = self.pool(self.blocks(self.stem(x)))
        return self.classifier(x.view(x.size(0), -1))


def test_a_residual_net_predicts_as_in_torch():
    packed = same(trained_like(ResNet()), normal(7, 3, 16, 16))
    assert folded(packed) == 2  # what is added to a shortcut stays a number
    assert packed.activation_layers == ["blocks.0.first", "blocks.0.second", "blocks.1.first", "blocks.1.second"]


@pytest.mark.parametrize(
    ("model", "shape", "folds"),
    [
        (mlp(seed=1), (1, 8, 8), 1),
        (mlp(seed=2, first="binary", last="real"), (1, 8, 8), 1),
        (lenet4(seed=3), (1, 28, 28), 1),
        (nin(seed=4), (3, 32, 32), None),
        (vgg7(seed=5), (3, 32, 32), None),
        (bireal(seed=6, widths=(20, 70)), (3, 32, 32), 0),
        (bireal(seed=6, widths=(20, 70), stem="quarter", pool="max"), (3, 32, 32), 0),
        (BinaryLinear(70, 3, seed=4), (70,), 0),
    ],
)
def test_our_models_predict_as_in_torch(model, shape, folds):
    packed = same(trained_like(model), normal(40 if folds else 3, *shape))
    assert folds is None or folded(packed) == folds
    assert packed.activation_layers == list(activation_memories(model))


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@pytest.mark.parametrize(
    "window",
    [
        {"kernel_size": (2, 5), "stride": (2, 1), "padding": (0, 3)},
        {"kernel_size": 3, "padding": 2, "dilation": 2},
        {"kernel_size": 3, "padding": 1, "groups": 10},
        {"kernel_size": 4, "padding": "same"},
    ],
)
def test_windows_of_every_kind(window):
    """Holes and groups are multiplied by torch."""
    conv = BinaryConv2d(20, 70, seed=1, scale="xnor", center=True, dropout=nn.Dropout(), **window)
    model = nn.Sequential(conv, nn.BatchNorm2d(70), BinaryConv2d(70, 3, 3, seed=2), nn.Flatten())
    packed = same(trained_like(model), normal(6, 20, 9, 11))
    assert folded(packed) == ("stride" in window)


def test_memories_in_the_model_are_left_out_and_left_alone():
    model = trained_like(
        mlp(seed=1, activation_memory=lambda seed: WriteErrors(error_rate_0=1, error_rate_1=1, seed=3))
    )
    packed, images = pack(model), normal(20, 64)
    with memories(model, lambda name, index: None), torch.no_grad():
        expected = model(images)
    assert np.array_equal(packed.logits(images), expected.numpy())
    assert all(isinstance(layer.activation_memory, WriteErrors) for layer in activation_memories(model).values())
    assert not model.training


@some
@given(st.data())
def test_max_pools_are_those_of_torch(data):
    """Every window, with infinities and NaN among the values, and a window that does not fit."""
    numbers = st.integers(1, 4)
    kernel, stride = data.draw(st.tuples(numbers, numbers)), data.draw(st.tuples(numbers, numbers))
    x = normal(3, 2, data.draw(st.integers(1, 9)), data.draw(st.integers(1, 9)), seed=data.draw(st.integers(0, 99)))
    x.view(-1)[:: data.draw(st.integers(3, 50))] = data.draw(st.sampled_from([0.0, float("nan"), float("-inf")]))
    window = {"kernel_size": list(kernel), "stride": list(stride), "dilation": 1, "ceil_mode": data.draw(st.booleans())}
    window["padding"] = data.draw(st.sampled_from([0, [0, 0], [kernel[0] // 2, kernel[1] // 2]]))
    step = Step("max_pool2d", (-1,), window)
    try:
        expected = F.max_pool2d(x, **window)
    except RuntimeError as problem:
        with pytest.raises(RuntimeError, match=re.escape(str(problem).splitlines()[0])):
            run_float(step, x)
    else:
        assert torch.equal(run_float(step, x).nan_to_num(7.5), expected.nan_to_num(7.5))


# ---- what is folded --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "between",
    [
        lambda: [nn.BatchNorm2d(9)],
        lambda: [nn.BatchNorm2d(9), nn.MaxPool2d(2)],
        lambda: [nn.MaxPool2d(3, 1, 1), nn.BatchNorm2d(9)],
        lambda: [nn.ReLU(), nn.MaxPool2d((2, 3), (1, 2)), nn.BatchNorm2d(9)],
        lambda: [nn.BatchNorm2d(9), nn.ReLU(), nn.MaxPool2d(2), nn.BatchNorm2d(9)],
        lambda: [nn.BatchNorm2d(9), nn.Hardtanh(), nn.BatchNorm2d(9)],
    ],
)
def test_channels_of_every_kind_fold_exactly(between):
    """Rising, falling and constant channels (inverted or not, with a threshold out of reach or not)."""
    kinds = set()
    for seed in range(6):
        model = nn.Sequential(
            BinaryConv2d(3, 9, 3, padding=1, seed=seed, bias=True),
            *between(),
            BinaryConv2d(9, 4, 2, seed=seed),
        )
        packed = same(trained_like(model, seed), normal(30, 3, 8, 8, seed=seed))
        assert folded(packed) == 1
        arrays = next(step.arrays for step in packed.steps if "threshold" in step.arrays)
        kinds |= set(zip(arrays["invert"].tolist(), (abs(arrays["threshold"]) >= 27).tolist(), strict=True))
    assert {(False, False), (True, False), (False, True)} <= kinds


def test_thresholds_at_every_integer():
    """Every product of 9 bits with 9 bits, against torch's sign, for BatchNorms whose zero lies on an integer."""
    means = torch.tensor([-9.0, -3.0, 0.0, 1.0, 9.0, 10.0, 1.0, 1.0])
    model = nn.Sequential(BinaryLinear(9, 8, seed=0), nn.BatchNorm1d(8), BinaryLinear(8, 8, seed=1)).eval()
    model[0].weight.data.fill_(0.5)
    model[1].running_mean = means
    model[1].weight.data = torch.tensor([1.0, -1.0, 1.0, -1.0, 1.0, 1.0, 0.0, -0.0])
    images = torch.ones(10, 9)
    for ones in range(10):
        images[ones, ones:] = -1.0
    packed = same(model, images)
    assert folded(packed) == 1


def test_a_wrong_threshold_would_be_seen():
    model, images = trained_like(mlp(seed=1)), normal(300, 64)
    packed = pack(model)
    at = next(i for i, step in enumerate(packed.steps) if "threshold" in step.arrays)
    step = packed.steps[at]
    moved = Step(step.op, step.inputs, step.options, {**step.arrays, "threshold": step.arrays["threshold"] + 2})
    wrong = PackedModel([*packed.steps[:at], moved, *packed.steps[at + 1 :]])
    assert not np.array_equal(wrong.logits(images), packed.logits(images))


def test_what_has_no_threshold_stays_in_float():
    """The same values through two pools, or a BatchNorm that sees features rather than channels, are not folded."""
    for between in (
        [nn.MaxPool2d(2), nn.BatchNorm2d(6), nn.MaxPool2d(2), nn.Flatten()],
        [nn.MaxPool2d(4), nn.Flatten(), nn.BatchNorm1d(6 * 4)],
        [nn.AvgPool2d(4), nn.BatchNorm2d(6), nn.Flatten()],
        [nn.MaxPool2d(4, ceil_mode=True), nn.Flatten()],
    ):
        model = nn.Sequential(BinaryConv2d(2, 6, 3, padding=1, seed=1), *between, BinaryLinear(24, 3, seed=2))
        assert folded(same(trained_like(model), normal(20, 2, 8, 8))) == 0


@pytest.mark.parametrize("inputs", [1, 64, 31 * 64, 31 * 64 + 1, 62 * 64, 5000])
def test_long_products_do_not_overflow(inputs):
    """All bits differ, or none: 31 words fill a byte."""
    layer = BinaryLinear(inputs, 3, seed=0)
    layer.weight.data.fill_(1.0)
    logits = pack(layer).logits(torch.ones(6, inputs) * torch.tensor([1.0, -1.0] * 3)[:, None])
    assert (logits == np.array([[inputs], [-inputs]] * 3)).all()
    layer = BinaryLinear(inputs, 70, seed=0)
    same(layer, normal(11, inputs))


def test_a_padded_zero_is_neither_bit():
    """All weights and inputs +1: the sums count the pixels inside."""
    conv = BinaryConv2d(65, 2, 3, padding=2, seed=0)
    conv.weight.data.fill_(1.0)
    logits = pack(nn.Sequential(conv, nn.Flatten())).logits(torch.ones(1, 65, 2, 2)).reshape(2, 4, 4)
    assert logits[0].tolist() == [[65, 130, 130, 65], [130, 260, 260, 130], [130, 260, 260, 130], [65, 130, 130, 65]]


@some
@given(st.integers(1, 5), st.sampled_from([1, 2, 63, 64, 65, 200]), st.sampled_from([(), (1, 1), (3, 5)]))
def test_bits_come_back(n, channels, sides):
    x = normal(n, channels, *sides)
    x[0, 0] = -0.0
    bits = packed_signs(x)
    assert torch.equal(unpacked(bits), torch.where(x >= 0, 1.0, -1.0))
    assert int(np.bitwise_count(bits.words).sum()) == int((x >= 0).sum())


# ---- errors ----------------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([(1, 1), (3, 1), (64, 1), (130, 1), (5, 9), (67, 12), (64, 4), (2, 64), (65, 130), (1, 700)]),
    st.sampled_from(
        [(1e-3, 1e-3), (0.0, 0.015), (0.01, 0.0), (0.02, 0.1), (0.5, 0.5), (0.3, 0.0), (1.0, 0.1), (0.75, 1)]
    ),
    st.integers(0, 2**32),
)
def test_errors_are_those_on_a_tensor(size, both, seed):
    c, p = size
    x = torch.where(normal(40, c, p, seed=seed) >= 0, 1.0, -1.0)
    keys = sample_keys(seed, 3, 5, np.arange(40))
    expected = written_to_cells(x.reshape(40, -1), both[1], both[0], seed, 3, 5).reshape(40, c, p)
    bits = packed_signs(x.reshape(40, c, p, 1))
    written = Bits(write_words(bits.words, c, keys, both[1], both[0]), c, (c, p))
    assert np.array_equal(unpacked(written).numpy(), expected)
    assert torch.equal(unpacked(bits), x[..., None])  # the original is left alone


def test_cells_that_need_many_places_are_decided_alike():
    """Of 4 million cells some 60 agree with their rate in 16 places."""
    x = torch.where(normal(1000, 4001) >= 0, 1.0, -1.0)
    keys = sample_keys(1, 0, 0, np.arange(1000))
    expected = written_to_cells(x, 0.1, 0.3)
    assert np.array_equal(
        unpacked(Bits(write_words(packed_signs(x).words, 4001, keys, 0.1, 0.3), 4001, (4001,))), expected
    )


def test_rates_of_each_cell():
    x = torch.where(normal(50, 6, 5, 1) >= 0, 1.0, -1.0)
    p01, p10 = np.linspace(0, 1, 30)[np.newaxis], np.linspace(0.5, 0, 30)[np.newaxis]
    keys = sample_keys(1, 0, 0, np.arange(50))
    expected = written_to_cells(x.reshape(50, 30), p01, p10)
    written = Bits(write_words(packed_signs(x).words, 6, keys, p01, p10), 6, (6, 5, 1))
    assert np.array_equal(unpacked(written).reshape(50, 30).numpy(), expected)


@pytest.mark.parametrize("both", [(1e-2, 1e-2), (0.0, 0.3), (0.1, 0.04)])
@pytest.mark.parametrize(
    ("build", "shape"),
    [
        (lambda: mlp(seed=1, first="binary"), (64,)),
        (lambda: lenet4(seed=2), (1, 28, 28)),
        (lambda: bireal(seed=3, widths=(9, 70), blocks=1, last="binary"), (3, 12, 12)),
    ],
)
def test_dies_are_those_of_torch(build, shape, both):
    model, images = trained_like(build()), normal(60, *shape)
    labels, pair, packed = np.arange(60) % 10, rates(*both), pack(model)
    for own in ((pair, None), (None, pair), (pair, pair)):
        data, errors = Images(images, labels), {"errors": own[0], "weight_errors": own[1], "seed": 11}
        counted, in_torch = (
            packed.evaluate_dies(data, dies=3, **errors),
            evaluate(model, data, draws=3, method="torch", **errors),
        )
        assert counted.correct.tolist() == in_torch.correct.tolist()
        assert counted.correct_per_image.tolist() == in_torch.correct_per_image.tolist()
        assert (counted.shared_draws, counted.low, counted.high) == (own[1] is not None, in_torch.low, in_torch.high)


def test_no_errors_are_the_clean_net_on_one_die():
    model, images = trained_like(lenet4(seed=2)), normal(50, 1, 28, 28)
    data = Images(images, pack(model).predict(images))
    clean = pack(model).evaluate_dies(data)
    assert (clean.draws, clean.mean) == (1, 1.0)
    assert pack(model).evaluate_dies(data, errors=rates(0.0, 0.0), weight_errors=rates(0, 0), dies=2).mean == 1.0
    assert evaluate(model, data).correct.tolist() == clean.correct.tolist()


def test_errors_depend_on_neither_batch_nor_workers():
    model, images = trained_like(mlp(seed=1, first="binary")), normal(90, 64)
    data, packed = Images(images, np.arange(90) % 10), pack(model)
    options = {"errors": rates(0.05, 0.1), "weight_errors": rates(0.01, 0.0), "dies": 5, "seed": 4}
    one = packed.evaluate_dies(data, **options)
    for others in ({"batch_size": 7}, {"workers": 3}, {"batch_size": 1, "workers": 2}):
        again = packed.evaluate_dies(data, **options, **others)
        assert (again.correct == one.correct).all()
        assert (again.correct_per_image == one.correct_per_image).all()
    assert (packed.evaluate_dies(data, **{**options, "seed": 5}).correct_per_image != one.correct_per_image).any()


def test_errors_in_chosen_layers_only():
    """A rate of 1 in both values turns every bit of that layer: the product changes its sign, and nothing else."""
    model = nn.Sequential(
        BinaryLinear(65, 8, seed=1), nn.BatchNorm1d(8, affine=False), BinaryLinear(8, 3, seed=2)
    ).eval()
    model[1].running_mean += 5.0
    images, packed = normal(40, 65), pack(model)
    turned = rates(1.0, 1.0)
    with torch.no_grad():
        first = torch.where(model[:2](images) >= 0, 1.0, -1.0)
        other = F.linear(-first, ste_sign(model[2].weight)).argmax(dim=1).numpy()
    data = Images(images, other)
    assert packed.evaluate_dies(data, errors={"2": turned}, dies=1).mean == 1.0
    assert packed.evaluate_dies(data, weight_errors={"2": turned}, dies=1).mean == 1.0
    assert packed.evaluate_dies(data, errors={"0": turned}, weight_errors={"0": turned, "2": turned}).mean == 1.0
    assert packed.evaluate_dies(data, errors={"0": turned}, dies=1).mean < 1.0


@pytest.mark.parametrize(
    ("given_", "message"),
    [
        ({"errors": rates(1.1, 0.0)}, r"errors\.error_rate_0 must be in \[0, 1\], got 1\.1"),
        ({"weight_errors": rates(0.0, float("nan"))}, r"weight_errors\.error_rate_1 must be in \[0, 1\], got nan"),
        ({"errors": {"nowhere": rates(0, 0)}}, "no layer 'nowhere'"),
        ({"errors": rates(np.full(7, 0.1), 0.0)}, "for each of the 256 cells of layer '3', got 7"),
        ({"errors": rates(0.0, np.full((1, 1), 0.1))}, "for each of the 256 cells of layer '3', got 1"),
        ({"weight_errors": rates(np.full(9, 0.1), 0.0)}, "^weight_errors must .* 256 cells of layer '3', got 9"),
        ({"errors": 0.1}, "errors must have error_rate_0 and error_rate_1, got 0.1"),
        ({"dies": 0}, "dies must be a whole number >= 1, got 0"),
        ({"workers": 0}, "workers must be a whole number >= 1, got 0"),
        ({"batch_size": 0}, "batch_size must be a whole number >= 1, got 0"),
        ({"seed": -1}, "seed must be a whole number"),
    ],
)
def test_wrong_errors_are_refused(given_, message):
    packed = pack(trained_like(mlp(seed=1)))
    with pytest.raises(ValueError, match=message):
        packed.evaluate_dies(Images(normal(3, 64), [0, 1, 2]), **given_)


def test_errors_that_would_touch_nothing_are_refused():
    packed = pack(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)))
    with pytest.raises(ValueError, match="errors would touch nothing"):
        packed.evaluate_dies(Images(normal(3, 4), [0, 1, 0]), errors=rates(0.1, 0.1))


# ---- what cannot be packed -------------------------------------------------------------------------------------------


class Inplace(nn.Module):
    def forward(self, x):
        return F.relu(x, inplace=True) + x


class Shifted(nn.Module):
    def __init__(self):
        super().__init__()
        self.by = nn.Parameter(torch.ones(2))

    def forward(self, x):
        return F.relu(x) + self.by


class Cut(nn.Module):
    def forward(self, x):
        return F.relu(x) + x[:, :1]


class HeadOfACut(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 2)

    def forward(self, x):
        return self.layer(x[:, :2])


def test_what_cannot_be_packed_is_named():
    nan = mlp(seed=1)
    nan[1].weight.data[0, 0] = float("nan")
    for model, message in (
        (nn.Sequential(nn.Linear(2, 2), nn.Softmax(dim=1)), "layer '1' is a Softmax, which cannot be packed"),
        (Branch(), "cannot be followed"),
        (Inplace(), "works in place on a value that is used again"),
        (nn.Identity(), "must return the result of a layer"),
        (nn.Sequential(nn.BatchNorm1d(2, track_running_stats=False)), "must have running statistics"),
        (nn.Sequential(nn.Conv2d(1, 1, 3, padding=1, padding_mode="circular")), 'padding_mode="zeros"'),
        (BinaryLinear(2, 2, seed=0, input_quantizer=torch.sign), "must be a sign, with sign\\(0\\) = \\+1"),
        (BinaryLinear(2, 2, seed=0, weight_quantizer=torch.tanh), "must give \\+1 and -1"),
        (nan, "1.weight must be finite"),
        (Shifted(), "add takes a parameter"),
        (Cut(), "add takes a parameter, a part of a tensor"),
        (HeadOfACut(), "takes a parameter, a part of a tensor"),
        (nn.Linear(2, 2).double(), "weight must be float32, got torch.float64"),
    ):
        with pytest.raises(ValueError, match=message):
            pack(model)


def with_hook(kind):
    model = nn.Sequential(nn.Linear(4, 4), BinaryLinear(4, 2, seed=0))
    getattr(model[1], kind)(lambda module, inputs, *out: None)
    return model


def with_forward(owner):
    model = nn.Sequential(nn.Linear(4, 4), BinaryLinear(4, 2, seed=0))
    layer = model if owner == "model" else model[1]
    layer.forward = MethodType(lambda self, x: x, layer)
    return model


class Doubled(BinaryLinear):
    def forward(self, x):
        return 2.0 * super().forward(x)


class Scaled(BinaryLinear):
    def finished(self, product):
        return 2.0 * super().finished(product)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (with_hook("register_forward_hook"), "layer '1', a BinaryLinear, has hooks"),
        (with_hook("register_forward_pre_hook"), "layer '1', a BinaryLinear, has hooks"),
        (with_forward("layer"), "layer '1', a BinaryLinear, has a forward of its own"),
        (with_forward("model"), "the model has a forward of its own"),
        (nn.Sequential(Doubled(4, 2, seed=0)), "layer '0', a Doubled, has a forward of its own"),
        (nn.Sequential(Scaled(4, 2, seed=0)), "layer '0', a Scaled, has a forward of its own"),
    ],
)
def test_what_a_packed_model_would_leave_out_is_refused(model, message):
    with pytest.raises(ValueError, match=message):
        pack(model)


@pytest.mark.parametrize("reduced", [0, 1, (0, 1)])
@pytest.mark.parametrize("features", [1, 4, 17])
def test_a_quantizer_that_depends_on_other_values_is_no_sign(features, reduced):
    layer = BinaryLinear(features, 2, seed=0, input_quantizer=lambda x: ste_sign(x - x.mean(dim=reduced, keepdim=True)))
    with pytest.raises(ValueError, match=r"input_quantizer of '' must be a sign"):
        pack(layer)


class Threshold(nn.Module):
    """A learned threshold of each feature, of one shape of inputs."""

    def __init__(self, features):
        super().__init__()
        self.by = nn.Parameter(torch.zeros(1, features))

    def forward(self, x):
        return ste_sign(x + self.by)


def test_a_quantizer_of_one_shape_of_inputs_is_compared_with_a_sign_there():
    layer = BinaryLinear(5, 2, seed=0, input_quantizer=Threshold(5))
    same(layer, normal(6, 5), batch_size=6)
    with torch.no_grad():
        layer.input_quantizer.by.fill_(0.25)
    with pytest.raises(ValueError, match="must be a sign"):
        pack(layer)


def as_trained(*layers):
    model = nn.Sequential(*layers)
    for layer in model:
        if isinstance(layer, BinaryLinear):
            layer.bias.data = torch.arange(float(len(layer.bias)))
    return trained_like(model)


@pytest.mark.parametrize("tokens", [4, 6])
@pytest.mark.parametrize("scale", ["none", "xnor"])
def test_features_of_tokens_are_the_last_dimension(scale, tokens):
    """With as many tokens as features, numbers of dimension 1 would fit too."""
    first = BinaryLinear(3, 4, seed=0, input_quantizer=None, bias=True, scale=scale)
    rest = (nn.Flatten(), BinaryLinear(4 * tokens, 10, seed=1, bias=True))
    packed = same(as_trained(first, FeatureNorm(4), *rest), normal(5, tokens, 3), batch_size=5)
    assert not folded(packed)
    with pytest.raises(ValueError, match=r"a packed layer takes samples of shape \(4,\), not"):
        pack(as_trained(first, BinaryLinear(4, 4, seed=1, bias=True))).logits(normal(5, tokens, 3))


def test_a_norm_of_features_folds_as_one_of_channels():
    layers = BinaryLinear(9, 8, seed=0, bias=True), FeatureNorm(8), BinaryLinear(8, 3, seed=1, bias=True)
    assert folded(same(as_trained(*layers), normal(7, 9), batch_size=7))


class Ends(nn.Module):
    def __init__(self, *ends, **named):
        super().__init__()
        self.ends, self.named = ends, named

    def forward(self, x):
        return F.relu(torch.flatten(x, *self.ends, **self.named))


def test_only_flattening_to_the_end_is_a_step():
    for right in (Ends(1), Ends(1, -1), Ends(start_dim=1), Ends(1, end_dim=-1)):
        same(right, normal(2, 3, 4, 5))
    for wrong in (Ends(), Ends(1, 2), Ends(1, end_dim=2), Ends(2)):
        with pytest.raises(ValueError, match="the model calls flatten, which cannot be packed"):
            pack(wrong)


@pytest.mark.filterwarnings("ignore")  # torch's compiler warns about itself
def test_a_compiled_model_is_packed_as_it_was_before():
    model = nn.Sequential(nn.Linear(6, 8), BinaryLinear(8, 4, seed=0), BinaryLinear(4, 3, seed=1)).eval()
    packed = pack(torch.compile(model, backend="eager"))
    assert packed.identity == pack(model).identity
    inside = nn.Sequential(nn.Linear(6, 8), torch.compile(model[1:], backend="eager")).eval()
    assert pack(inside).weight_layers == ["1.1", "1.2"]  # a slice keeps its names


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (normal(3, 63), "images must fit the model, got samples of shape \\(63,\\)"),
        (torch.zeros(3, 64, dtype=torch.uint8), "images must be floating point"),
        (torch.full((3, 64), float("nan")), "images must be finite"),
        (torch.zeros(0, 64), "at least one"),
    ],
)
def test_images_that_do_not_fit_are_refused(images, message):
    with pytest.raises(ValueError, match=message):
        pack(trained_like(mlp(seed=1))).predict(images)
    with pytest.raises(ValueError, match=message):
        pack(trained_like(mlp(seed=1, first="binary"))).predict(images)


def test_read_only_images_are_taken_without_a_warning():
    packed, images = pack(trained_like(mlp(seed=1))), normal(5, 64).numpy()
    expected = packed.predict(images.copy())
    images.flags.writeable = False
    np.testing.assert_array_equal(packed.predict(images), expected)


def test_a_nan_inside_is_no_bit():
    model = nn.Sequential(nn.BatchNorm1d(3), BinaryLinear(3, 2, seed=1)).eval()
    model[0].running_var.fill_(-1.0)
    with pytest.raises(ValueError, match="a value before a sign is NaN"):
        pack(model).predict(normal(2, 3))


# ---- files -----------------------------------------------------------------------------------------------------------


def test_a_saved_model_comes_back(tmp_path):
    for model, shape in ((lenet4(seed=3), (1, 28, 28)), (ResNet(), (3, 16, 16)), (mlp(seed=1), (64,))):
        packed, images = pack(trained_like(model)), normal(10, *shape)
        packed.save(tmp_path / "model.npz")
        loaded = load_packed(tmp_path / "model.npz")
        assert np.array_equal(loaded.logits(images), packed.logits(images))
        assert repr(loaded) == repr(packed)
        data = Images(images, np.arange(10))
        options = {"errors": rates(0.1, 0.1), "weight_errors": rates(0.1, 0.1), "dies": 2}
        assert (loaded.evaluate_dies(data, **options).correct == packed.evaluate_dies(data, **options).correct).all()
    assert [file.name for file in tmp_path.iterdir()] == ["model.npz"]


def test_damaged_files_are_refused(tmp_path):
    path = tmp_path / "model.npz"
    with pytest.raises(FileNotFoundError, match=r"make it with bnn.pack\(model\).save"):
        load_packed(path)
    pack(trained_like(mlp(seed=1))).save(path)
    whole = path.read_bytes()
    middle = len(whole) // 2
    for content in (b"", b"text", whole[:-40], whole[:middle], whole[:middle] + b"\0\xff" + whole[middle + 2 :]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="path must be a packed model, whole"):
            load_packed(path)
    np.savez(path, x=np.zeros(3))
    with pytest.raises(ValueError, match="path must be a packed model"):
        load_packed(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("header.npy", b"no array")
    with pytest.raises(ValueError, match="path must be a packed model"):
        load_packed(path)
    np.savez(path, header=np.frombuffer(json.dumps({"format": "another 2", "steps": []}).encode(), np.uint8))
    with pytest.raises(ValueError, match="its format is 'another 2'"):
        load_packed(path)
    steps = [{"op": "fft", "inputs": [-1], "options": {}}]
    header = json.dumps({"format": "mtj-bnn packed model 1", "steps": steps})
    np.savez(path, header=np.frombuffer(header.encode(), np.uint8))
    with pytest.raises(ValueError, match=r"of another version, \['fft'\]"):
        load_packed(path)


@pytest.mark.parametrize(
    ("compression", "message"),
    [
        (zipfile.ZIP_DEFLATED, "cannot contain 8,0.* bytes of numbers"),
        (zipfile.ZIP_LZMA, "its compression is not NumPy's"),
    ],
)
def test_a_file_that_unpacks_to_more_than_the_limit_is_refused_before(tmp_path, monkeypatch, compression, message):
    """The limit is 1 GiB; here 1 MiB, and a file of 10 kB."""
    monkeypatch.setattr("mtjsim.files.UNPACKED", 1 << 20)
    path = tmp_path / "bomb.npz"
    pack(trained_like(mlp(seed=1))).save(path)
    with zipfile.ZipFile(path, "a", compression) as archive:
        content = io.BytesIO()
        np.save(content, np.zeros(1_000_000))
        archive.writestr("9.weight.npy", content.getvalue())
    tracemalloc.start()
    with pytest.raises(ValueError, match=f"path must be a packed model.*{message}"):
        load_packed(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


def test_a_model_beyond_the_limit_is_saved_uncompressed_and_loads(tmp_path, monkeypatch):
    for module in ("mtjsim.files", "bnn.packed.files"):
        monkeypatch.setattr(f"{module}.UNPACKED", 1000)
    packed = pack(trained_like(mlp(seed=1)))
    packed.save(tmp_path / "large.npz")
    assert (tmp_path / "large.npz").stat().st_size > packed.bytes > 1000
    assert load_packed(tmp_path / "large.npz").identity == packed.identity


def test_a_header_of_megabytes_is_refused_before_it_is_parsed(tmp_path):
    np.savez_compressed(tmp_path / "header.npz", header=np.frombuffer(b"[" * (1 << 22) + b"]", np.uint8))
    with pytest.raises(ValueError, match="its header has 4,194,305 bytes"):
        load_packed(tmp_path / "header.npz")


def test_the_front_door():
    assert bnn.pack is pack
    assert bnn.load_packed is load_packed
    assert bnn.PackedModel is PackedModel
