"""Signs that would be constant, found by a forward pass of images, whatever made them so."""

import warnings

import pytest
import torch
from torch import nn

from bnn.conversion.constant_sign import DroppedActivation
from bnn.conversion.convert import binarize
from bnn.errors.write_errors import WriteErrors
from bnn.layers.binary import BinaryConv2d, BinaryLinear
from bnn.layers.feature_norm import FeatureNorm
from bnn.layers.quantizers import ste_sign
from bnn.training.config import TrainConfig
from bnn.training.loop import Trainer
from networks import blobs, normal

X = normal(8, 1, 8, 8)


class Between(nn.Module):
    """A function between a ReLU and a convolution that becomes binary."""

    def __init__(self, function):
        super().__init__()
        self.function = function
        self.a, self.r, self.b, self.c = nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 1), nn.Conv2d(8, 2, 1)

    def forward(self, x):
        return self.c(self.b(self.function(self.r(self.a(x)))))


class Branches(nn.Module):
    """A model that `torch.fx` cannot trace; its second layer reads a ReLU, which a shortcut may read too."""

    def __init__(self, *, shortcut=False):
        super().__init__()
        self.shortcut = shortcut
        self.a, self.r, self.b, self.o = nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 32), nn.Linear(32, 10)

    def forward(self, x):
        if len(x) == 0:
            return x
        h = self.r(self.a(x.flatten(1)))
        return self.o(self.b(h) + h if self.shortcut else self.b(h))


LISTED = {  # functions that keep values >= 0: the graph shows it
    "chunk": lambda x: torch.cat(x.chunk(2, 1), 1),
    "unpacked": lambda x: torch.cat([part for part in (x.chunk(2, 1)[0], x.chunk(2, 1)[1])], 1),
    "times two": lambda x: 2 * x,
    "gate": lambda x: x * torch.sigmoid(x.mean((2, 3), keepdim=True)),
    "slice": lambda x: x[:, torch.arange(7, -1, -1)],
}
OTHERS = {  # only the data show it
    "log1p": lambda x: x.log1p(),
    "negative": lambda x: -x - 0.1,
    "custom": lambda x: torch.logaddexp(x, x),
}
SEVERAL_SIGNS = {
    "centred": lambda x: x - x.mean(),
    "times -1 and up": lambda x: 0.1 - x,
    "tanh": lambda x: x.tanh() - 0.1,
}


def read_by_b(model):
    """The mean of the bits that layer b of a model reads."""
    bits, layer = [], model.b
    layer.register_forward_pre_hook(lambda module, inputs: bits.append(inputs[0]))
    model(X)
    written = ste_sign(layer[0](bits[0]) if isinstance(layer, nn.Sequential) else bits[0])
    return written.mean().item()


@pytest.mark.parametrize("function", [*LISTED.values(), *OTHERS.values()], ids=[*LISTED, *OTHERS])
def test_a_constant_sign_is_named_normalised_or_refused_with_an_example(function):
    with pytest.raises(ValueError, match="the sign of layer 'b' is"):
        binarize(Between(function), activation="refuse", example=X)
    with pytest.warns(UserWarning, match=r"the sign of layer 'b' is constant: all its 2304 input bits were [+-]1") as w:
        kept = binarize(Between(function), activation="keep", example=X)
    assert len(w) == 1
    assert abs(read_by_b(kept)) == 1.0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        normalised = binarize(Between(function), activation="norm", example=X)
    assert isinstance(normalised.b[0], nn.BatchNorm2d)
    assert isinstance(normalised.b[1], BinaryConv2d)
    assert abs(read_by_b(normalised)) < 0.9


@pytest.mark.parametrize("function", LISTED.values(), ids=LISTED)
def test_what_keeps_values_above_zero_is_found_without_an_example(function):
    with pytest.raises(ValueError, match=r"the sign of layer 'b' is \+1 throughout: its input comes from 'r' .ReLU."):
        binarize(Between(function), activation="refuse")
    assert isinstance(binarize(Between(function), activation="norm").b, nn.Sequential)


@pytest.mark.parametrize("function", SEVERAL_SIGNS.values(), ids=SEVERAL_SIGNS)
def test_what_leaves_both_signs_is_left_alone(function):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for example in (None, X):
            copied = binarize(Between(function), activation="refuse", example=example)
            assert isinstance(copied.r, nn.ReLU)
            assert isinstance(copied.b, BinaryConv2d)


def test_a_product_with_a_gate_does_not_drop_the_relu():
    """The sign of relu(x) * gate(relu(x)) is not that of x * gate(x), where the gate reads the dropped values."""
    with pytest.warns(UserWarning, match="constant"):
        copied = binarize(Between(LISTED["gate"]), example=X)
    assert isinstance(copied.r, nn.ReLU)
    assert isinstance(binarize(Between(LISTED["times two"])).r, DroppedActivation)


def test_a_model_that_cannot_be_traced_needs_an_example_or_gets_a_norm_everywhere():
    with pytest.raises(ValueError, match=r"cannot be followed .* Pass example=images"):
        binarize(Branches(), activation="refuse")
    with pytest.warns(UserWarning, match=r"cannot be followed .* Pass example=images"):
        binarize(Branches())
    normalised = binarize(Branches(), activation="norm")
    assert [type(layer) for layer in normalised.b] == [FeatureNorm, BinaryLinear]
    assert abs(read_by_b(normalised)) < 0.9


def test_of_a_model_that_cannot_be_traced_the_example_shows_which_relu_can_be_dropped():
    dropped = binarize(Branches(), example=X)
    assert isinstance(dropped.r, DroppedActivation)
    assert abs(read_by_b(dropped)) < 0.9
    with pytest.warns(UserWarning, match="the sign of layer 'b' is constant"):
        shared = binarize(Branches(shortcut=True), example=X)  # the shortcut needs its values
    assert isinstance(shared.r, nn.ReLU)
    with pytest.raises(ValueError, match="the sign of layer 'b' is constant"):
        binarize(Branches(shortcut=True), activation="refuse", example=X)
    assert isinstance(binarize(Branches(), activation="norm", example=X).b, nn.Sequential)


def test_the_example_changes_nothing_else():
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.BatchNorm1d(64), nn.Linear(64, 64), nn.Linear(64, 10))
    model[2].register_forward_hook(lambda module, inputs, output: output * (1 + 0 * torch.rand(())))
    stream = torch.get_rng_state()
    plain, shown = binarize(model), binarize(model, example=X)
    assert torch.equal(torch.get_rng_state(), stream)
    assert all(torch.equal(a, b) for a, b in zip(plain.state_dict().values(), shown.state_dict().values(), strict=True))


@pytest.mark.parametrize(
    ("example", "message"),
    [
        (X[:0], "example must have at least one image"),
        (X[..., :7], r"example must be images that fit the model, \(n, ...\), got \(8, 1, 8, 7\)"),
        ((X > 0), "example must have floating-point images, got bool"),
        (X[:1], r"example must be more images: layer 'b' reads 32 bits of 1 of them, and 64 are needed"),
    ],
)
def test_examples_that_show_nothing_are_refused(example, message):
    with pytest.raises(ValueError, match=message):
        binarize(Branches(), example=example)


def test_labelled_images_are_an_example():
    data = blobs(40, seed=1)
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 16), nn.Softsign(), nn.Linear(16, 16), nn.Linear(16, 2))
    model[1].bias.data += 100.0
    with pytest.warns(UserWarning, match=r"the sign of layer '3' is constant: all its 640 input bits were \+1"):
        binarize(model, example=data)


class Tokens(nn.Module):
    """Images of 4 tokens of 16 values."""

    def __init__(self, features):
        super().__init__()
        self.e, self.r, self.f, self.o = nn.Linear(16, features), nn.ReLU(), nn.Linear(features, 32), nn.Linear(32, 10)

    def forward(self, x):
        return self.o(self.f(self.r(self.e(x))).mean(1))


@pytest.mark.parametrize("features", [32, 4])  # 4: as many as tokens
def test_the_norm_of_tokens_is_over_their_features(features):
    model = binarize(Tokens(features), activation="norm")
    x, written = normal(50, 4, 16), []
    model.f[0].register_forward_hook(lambda module, inputs, output: written.append((inputs[0], output)))
    model(x)
    read, normalised = written[0]
    expected = (read - read.mean((0, 1))) / (read.var((0, 1), correction=0) + 1e-5).sqrt()
    assert torch.allclose(normalised, expected, atol=1e-5)
    assert model.f[0].running_mean.shape == (features,)


def test_the_first_batch_of_a_training_names_a_constant_sign_once():
    model = nn.Sequential(
        nn.Flatten(), nn.Linear(16, 16), nn.Softplus(), BinaryLinear(16, 16, seed=1), nn.Linear(16, 10)
    )
    config = TrainConfig(epochs=2, batch_size=20, learning_rate=0.01, seed=0)
    with pytest.warns(
        UserWarning, match=r"the sign of layer '3' is constant: all its 320 input bits were \+1, in the"
    ) as w:
        Trainer(model, config).fit(blobs(60, seed=1))
    assert len(w) == 1
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_the_check_of_the_first_batch_moves_no_draw():
    """The watched forward pass writes the memories once, as every other."""
    memory = WriteErrors(error_rate_0=0.1, error_rate_1=0.1, seed=3)
    layer = BinaryLinear(16, 16, seed=1, activation_memory=memory)
    model = nn.Sequential(nn.Flatten(), layer, nn.Linear(16, 10))
    Trainer(model, TrainConfig(epochs=1, batch_size=20, learning_rate=0.01, seed=0)).fit(blobs(60, seed=1))
    assert memory.keys.writes == 3
