import copy
import pickle
import warnings
from functools import partial
from types import MethodType

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import prune

import bnn
from bnn.conversion.config import BinarizeConfig
from bnn.conversion.constant_sign import DroppedActivation
from bnn.conversion.convert import binarize
from bnn.data.loading import load
from bnn.errors.overwrite import OverwriteErrors
from bnn.layers.binary import BinaryConv2d, BinaryLinear
from bnn.layers.dropout import SeededDropout
from bnn.layers.latent import clip_latent_
from bnn.layers.quantizers import approx_sign, ste_sign
from bnn.layers.slots import activation_memories, weight_memories
from bridge.write import OperatingPoint, WriteSetting, operating_point
from mtjsim.presets import load_preset
from networks import normal


def seeded(model, seed=0):
    """Weights of our own: torch draws them from its global stream."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.randn(p.shape, generator=generator) / p[0].numel() ** 0.5 if p.dim() > 1 else p)
    return model


def mlp():
    """Layers 0, 2, 4, 6; with BatchNorm before each sign."""
    return seeded(
        nn.Sequential(
            nn.Linear(64, 48), nn.BatchNorm1d(48), nn.Linear(48, 32), nn.BatchNorm1d(32), nn.Linear(32, 32),
            nn.BatchNorm1d(32), nn.Linear(32, 10),
        )
    )  # fmt: skip


def bits_of(model):
    return [name for name, module in model.named_modules() if isinstance(module, (BinaryLinear, BinaryConv2d))]


def test_first_and_last_stay_real_and_the_original_is_untouched():
    model = mlp()
    state, text = copy.deepcopy(model.state_dict()), repr(model)
    copied = binarize(model)
    assert bits_of(copied) == ["2", "4"]
    assert repr(model) == text
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), state.values(), strict=True))
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), copied.parameters(), strict=True))
    assert not {p.data_ptr() for p in model.parameters()} & {p.data_ptr() for p in copied.parameters()}
    assert list(copied.state_dict()) == list(model.state_dict())


def test_the_copy_computes_signs_of_inputs_and_weights():
    model, x = mlp().eval(), normal(5, 64)
    h = model[1](model[0](x))
    for linear, norm in ((model[2], model[3]), (model[4], model[5])):
        h = norm(F.linear(ste_sign(h), ste_sign(linear.weight)) + linear.bias)
    assert torch.equal(binarize(model)(x), model[6](h))


def test_ends_may_be_binary():
    copied = binarize(mlp(), first="binary", last="binary", config=BinarizeConfig(activation_write=(0.1, 0.1)))
    assert bits_of(copied) == ["0", "2", "4", "6"]
    assert copied[0].input_quantizer is None
    assert copied[0].activation_memory is None
    assert copied[6].activation_memory is not None
    with_sign = binarize(mlp(), first="binary", per_layer={"0": {"input_quantizer": approx_sign}})
    assert with_sign[0].input_quantizer is approx_sign


def test_a_single_layer_is_a_model_too():
    layer = nn.Linear(4, 2)
    assert isinstance(binarize(layer, last="binary"), BinaryLinear)
    assert isinstance(binarize(layer, first="binary"), BinaryLinear)
    with pytest.raises(ValueError, match="nothing is left to binarize"):
        binarize(layer)
    with pytest.raises(ValueError, match="there is nothing to binarize"):
        binarize(nn.ReLU())


@pytest.mark.parametrize(
    ("exclude", "binary"),
    [
        ("2", ["4"]),
        (["2"], ["4"]),
        ("[24]", []),
        (nn.BatchNorm1d, ["2", "4"]),
        (lambda name, layer: layer.in_features == 32, ["2"]),
        (("4", lambda name, layer: False), ["2"]),
    ],
)
def test_excluded_layers_stay_real(exclude, binary):
    if not binary:
        with pytest.raises(ValueError, match="nothing is left"):
            binarize(mlp(), exclude=exclude)
        return
    assert bits_of(binarize(mlp(), exclude=exclude)) == binary


class Net(nn.Module):
    """Nested, in lists, shared, and every feature of a convolution."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.blocks = nn.ModuleList(
            nn.ModuleDict({"conv": conv, "norm": nn.BatchNorm2d(8)})
            for conv in (
                nn.Conv2d(8, 8, (3, 1), stride=(1, 2), padding=(1, 0), bias=False),
                nn.Conv2d(8, 8, 3, padding="same", dilation=2, groups=4),
            )
        )
        self.again = nn.Sequential(nn.Linear(256, 256), nn.BatchNorm1d(256))
        self.alias = self.again[0]
        self.head = nn.Linear(256, 10)

    def forward(self, x):
        x = self.norm(self.stem(x))
        for block in self.blocks:
            x = block["norm"](block["conv"](x))
        x = self.again(self.again(x.flatten(1)))
        return self.head(self.alias(x))


def test_nested_listed_and_shared_modules_with_every_geometry():
    model = seeded(Net())
    copied = binarize(model, BinarizeConfig(scale="xnor", activation_write=(0.1, 0.2), weight_write=(0.01, 0.0)))
    assert bits_of(copied) == ["blocks.0.conv", "blocks.1.conv", "again.0"]
    assert copied.alias is copied.again[0]
    assert copied(normal(3, 1, 8, 8)).shape == (3, 10)
    for name in bits_of(copied):
        new, old = copied.get_submodule(name), model.get_submodule(name)
        assert (new.bias is None) == (old.bias is None)
        assert (new.activation_memory.error_rate_1, new.weight_memory.error_rate_0) == (0.2, 0.01)
        if isinstance(old, nn.Conv2d):
            plain, x = copy.deepcopy(old), normal(2, 8, 8, 8)
            with torch.no_grad():
                plain.weight.copy_(ste_sign(plain.weight) * old.weight.abs().mean((1, 2, 3), keepdim=True))
            new.activation_memory = new.weight_memory = None
            torch.testing.assert_close(new(x), plain(ste_sign(x)))
    assert bits_of(binarize(model, exclude="blocks")) == ["again.0"]
    assert bits_of(binarize(model, exclude=nn.ModuleDict)) == ["again.0"]
    assert bits_of(binarize(model, exclude=nn.Conv2d)) == ["again.0"]


class Shared(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(4, 4)
        self.encoder = nn.Sequential(nn.Linear(4, 4))
        self.decoder = nn.Sequential(self.encoder[0], nn.Linear(4, 4))
        self.tail = nn.Linear(4, 2)

    def forward(self, x):
        return self.tail(self.decoder(self.encoder(self.head(x))))


def test_a_shared_layer_goes_by_each_of_its_names():
    assert [type(layer) for layer in binarize(Shared(), exclude="decoder.0").decoder] == [nn.Linear, BinaryLinear]
    with pytest.raises(ValueError, match="nothing is left"):
        binarize(Shared(), exclude="decoder")  # the shared one too
    assert binarize(Shared(), per_layer={"decoder.*": {"scale": "xnor"}}).encoder[0].scale == "xnor"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"config": {"scale": "xnor"}}, "config must be an instance of BinarizeConfig, got {"),
        ({"per_layer": ["tail"]}, r"per_layer must be an instance of Mapping, got \['tail'\]"),
        (
            {"per_layer": {"decoder.1": (0.1, 0.1)}},
            r"per_layer\['decoder.1'\] must be an instance of BinarizeConfig or",
        ),
        ({"model": "net"}, "model must be an instance of Module, got 'net'"),
    ],
)
def test_arguments_of_another_kind_are_named(arguments, message):
    with pytest.raises(TypeError, match=message):
        binarize(**{"model": Shared(), **arguments})


def test_a_layer_is_no_selection_and_a_name_no_quantizer():
    model = Shared()
    with pytest.raises(ValueError, match=r"exclude must hold names, types or predicates"):
        binarize(model, exclude=model.head)
    with pytest.raises(ValueError, match=r"weight_quantizer must be a function, .* got 'ste_sign'"):
        BinarizeConfig(weight_quantizer="ste_sign")


def test_tied_weights_stay_tied_and_frozen_ones_frozen():
    tied = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4), nn.Linear(4, 2)).double().eval()
    tied[3].weight = tied[1].weight
    tied[1].weight.requires_grad_(False)
    copied = binarize(tied)
    assert copied[1].weight is copied[3].weight
    assert copied[1].weight.dtype == torch.float64
    assert not copied[1].weight.requires_grad
    assert not copied[1].training


def test_each_layer_has_its_own_setting_with_a_current_for_each_bit():
    device = load_preset("arm_2021")
    setting = WriteSetting(current_0=45e-6, current_1=60e-6, pulse_width=10e-9)
    point = operating_point(device, setting)
    assert 0 < point.error_rate_1 < point.error_rate_0
    copied = binarize(
        mlp(),
        BinarizeConfig(activation_write=(0.2, 0.1), gradient="flipped", seed=5),
        per_layer={"[24]": {"weight_write": point, "scale": "xnor"}, "4": {"activation_write": point}},
    )
    rates = {
        (name, slot): (m.error_rate_0, m.error_rate_1)
        for name in ("2", "4")
        for slot in ("activation_memory", "weight_memory")
        if (m := getattr(copied.get_submodule(name), slot))
    }
    own = (point.error_rate_0, point.error_rate_1)
    assert rates == {
        ("2", "activation_memory"): (0.2, 0.1),
        ("2", "weight_memory"): own,
        ("4", "activation_memory"): own,
        ("4", "weight_memory"): own,
    }
    assert copied[4].scale == "xnor"
    assert copied[2].activation_memory.gradient == "flipped"
    whole = binarize(mlp(), per_layer={"2": BinarizeConfig(input_quantizer=approx_sign)})
    assert (whole[2].input_quantizer, whole[4].input_quantizer) == (approx_sign, ste_sign)


def streams(model):
    slots = (("activation_memory", activation_memories), ("weight_memory", weight_memories))
    return {
        (name, slot): (layer._modules[slot].seed, layer._modules[slot].layer)
        for slot, layers in slots
        for name, layer in layers(model).items()
    }


def test_streams_differ_and_depend_on_nothing_but_seed_role_and_place():
    config, other = (BinarizeConfig(activation_write=(0.1, 0.1), weight_write=(0.1, 0.1), seed=seed) for seed in (3, 4))
    both, one = streams(binarize(mlp(), config)), streams(binarize(mlp(), config, exclude="2"))
    assert len(set(both.values())) == 4
    assert one == {key: value for key, value in both.items() if key[0] == "4"}
    assert not set(both.values()) & set(streams(binarize(mlp(), other)).values())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"exclude": "layer2"}, "exclude names 'layer2', which is none of .* The nearest is"),
        ({"exclude": 3.5}, "exclude must hold names, types or predicates"),
        ({"exclude": [3.5]}, "exclude must hold names, types or predicates"),
        ({"per_layer": {"22": {}}}, "per_layer names '22', .* The nearest is '2'"),
        ({"per_layer": {"2": {"weight_rite": None}}}, "'weight_rite', .* The nearest is 'weight_write'"),
        ({"per_layer": {"0": {"scale": "xnor"}}}, "per_layer names '0', but '0' stays real"),
        ({"per_layer": {"2": {"scale": "xnr"}}}, "scale must be one of 'none', 'xnor', got 'xnr'"),
        ({"first": "bits"}, "first must be one of 'real', 'binary'"),
        ({"activation": "no"}, "activation must be one of 'drop', 'norm', 'refuse', 'keep'"),
    ],
)
def test_what_would_be_ignored_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        binarize(mlp(), **arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mode": "both"}, "mode must be one of 'independent', 'overwrite'"),
        ({"gradient": "none"}, "gradient must be one of 'identity', 'flipped', got 'none'"),
        ({"seed": -1}, "seed must be a whole number"),
        ({"activation_write": 0.1}, "activation_write must be an operating point"),
        ({"weight_write": (0.1, 2.0)}, r"error_rate_1 must be in \[0, 1\]"),
        (
            {"weight_write": WriteSetting(current_0=1e-5, current_1=1e-5, pulse_width=1e-8)},
            r"bridge\.operating_point\(device, setting\)",
        ),
        ({"input_quantizer": None, "activation_write": (0.1, 0.1)}, "activation_write must be None where"),
    ],
)
def test_a_wrong_config_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        BinarizeConfig(**arguments)


def between(*inner):
    return nn.Sequential(nn.Conv2d(1, 4, 3), *inner, nn.Flatten(), nn.Linear(4 * 36, 2))


def test_what_a_binary_layer_cannot_do_is_refused_by_name():
    conv = nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect")
    with pytest.raises(ValueError, match=r"layer '1' has padding_mode 'reflect'.*exclude='1'"):
        binarize(between(conv, nn.Conv2d(4, 4, 1)))
    assert bits_of(binarize(between(conv, nn.Conv2d(4, 4, 1)), exclude="1")) == ["2"]
    hooked = nn.Conv2d(4, 4, 1)
    hooked.register_forward_hook(lambda module, inputs, output: output)
    with pytest.raises(ValueError, match="layer '1' has hooks"):
        binarize(between(hooked))
    patched = nn.Conv2d(4, 4, 1)
    patched.forward = MethodType(lambda layer, x: 2.0 * nn.Conv2d.forward(layer, x), patched)
    with pytest.raises(ValueError, match="layer '1' has a forward of its own"):
        binarize(between(patched))
    encoder = nn.Sequential(nn.Linear(8, 8), nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), nn.Linear(8, 2))
    with pytest.raises(ValueError, match=r"layer '1\.linear1' has a TransformerEncoderLayer around it"):
        binarize(encoder)

    class Listed(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2)
            self.inner = [self.b]

        def forward(self, x):
            return self.c(self.inner[0](self.a(x)))

    with pytest.raises(ValueError, match=r"inner must not be a plain list .* Use nn\.ModuleList"):
        binarize(Listed())


@pytest.mark.filterwarnings("ignore")  # torch's compiler warns about itself
@pytest.mark.parametrize("part", [nn.Sequential(nn.ReLU(), nn.Linear(6, 6)), nn.Linear(6, 6)])
def test_of_a_compiled_model_the_copy_is_binary_and_not_compiled(part):
    """A compiled layer computes with what it was made of: put into it, a binary layer would never be called."""
    plain = seeded(nn.Sequential(nn.Linear(4, 6), part, nn.Linear(6, 2)))
    inside = nn.Sequential(plain[0], torch.compile(plain[1], backend="eager"), plain[2])
    x, config = torch.randn(5, 4), BinarizeConfig(activation_write=(0.2, 0.3), seed=1)
    expected = binarize(plain, config)
    expected_out = expected(x)
    for compiled in (inside, torch.compile(plain, backend="eager")):
        made = binarize(compiled, config)
        assert [name for name, _ in made.named_modules()] == [name for name, _ in expected.named_modules()]
        assert torch.equal(made(x), expected_out)  # with the draws of the same stream


@pytest.mark.filterwarnings("ignore")  # the former norms are deprecated; lazy layers are said to change
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda layer: nn.utils.weight_norm(layer), "got '1.weight' of a computation. Make it permanent"),
        (lambda layer: prune.random_unstructured(layer, "weight", 0.5), "got '1.weight' of a computation"),
        (lambda layer: nn.LazyLinear(4), "got the LazyLinear '1' without one. Run one batch of images"),
    ],
)
def test_what_cannot_be_copied_is_named(change, message):
    model = nn.Sequential(nn.Linear(4, 4), change(nn.Linear(4, 4)), nn.Linear(4, 2))
    for call in (binarize, bnn.pack):
        with pytest.raises(ValueError, match=f"model must have .*{message}"):
            call(model)


def test_a_function_in_place_of_a_forward_would_run_the_original():
    model = seeded(nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2)))
    model.forward = lambda x: 2.0 * nn.Sequential.forward(model, x)
    for call in (binarize, bnn.pack, bnn.reestimate_batch_norm):
        with pytest.raises(
            ValueError, match=r"model must have forwards that a copy runs .* got a function in place of th"
        ):
            call(model, *[torch.zeros(2, 4)] * (call is bnn.reestimate_batch_norm))
    model.forward = MethodType(lambda self, x: 2.0 * nn.Sequential.forward(self, x), model)  # a copy has its own
    assert bits_of(binarize(model, activation="keep")) == ["1"]


@pytest.mark.parametrize("call", [binarize, bnn.pack, bnn.clip_latent_, bnn.rescale_batch_norm, bnn.guard_finite])
def test_a_model_of_another_kind_is_named(call):
    packed = bnn.pack(nn.Linear(2, 2))
    for model, remedy in (
        (packed, "use its own evaluate_dies"),
        (nn.Linear, r"Make one of the class: Linear"),
        (3, ""),
    ):
        with pytest.raises(TypeError, match=f"model must be an instance of Module, got .*{remedy}"):
            call(model)


def test_subclasses_stay_real():
    class Odd(nn.Linear):
        def forward(self, x):
            return 2 * super().forward(x)

    model = nn.Sequential(nn.Linear(2, 2), Odd(2, 2), nn.Linear(2, 2), nn.Linear(2, 2))
    assert bits_of(binarize(model)) == ["2"]


@pytest.mark.parametrize(
    "before",
    [
        [nn.ReLU()],
        [nn.ReLU(inplace=True), nn.MaxPool2d(1)],
        [nn.BatchNorm2d(4), nn.ReLU6(), nn.Dropout(0.5), nn.AvgPool2d(1)],
        [nn.Sigmoid(), nn.Identity()],
        [nn.ReLU(), SeededDropout(0.5, seed=1)],
        [nn.Hardtanh(0.0, 1.0), nn.Upsample(scale_factor=1)],
        [nn.Threshold(0.5, 0.0), nn.ZeroPad2d(0)],
        [nn.Softmax(dim=1)],
    ],
)
def test_a_relu_before_a_sign_makes_room_for_it(before):
    """A stand-in where the function was; it would have made every bit +1."""
    model = between(*before, nn.Conv2d(4, 4, 1), nn.ReLU()).eval()
    copied = binarize(model)
    stands = [name for name, module in copied.named_modules() if isinstance(module, DroppedActivation)]
    assert len(stands) == 1
    conv = copied.get_submodule(bits_of(copied)[0])
    written = []
    conv.register_forward_pre_hook(lambda module, inputs: written.append(ste_sign(inputs[0])))
    copied(normal(2, 1, 8, 8))
    assert written[0].unique().tolist() == [-1, 1]
    assert "the sign of the next layer takes its place" in repr(copied)
    with pytest.raises(ValueError, match=r"the sign of layer '\d' is \+1 throughout.*Use activation=.norm."):
        binarize(model, activation="refuse")
    with pytest.warns(UserWarning, match=r"is \+1 throughout"):
        kept = binarize(model, activation="keep")
    assert not any(isinstance(module, DroppedActivation) for module in kept.modules())


@pytest.mark.parametrize(
    "before",
    [
        [nn.ReLU(), nn.BatchNorm2d(4)],
        [nn.LeakyReLU()],
        [nn.Tanh()],
        [nn.Hardtanh()],
        [nn.Threshold(-1.0, 0.0)],
        [nn.Threshold(0.0, -1.0)],
        [],
    ],
)
def test_what_leaves_both_signs_is_left_alone(before):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        copied = binarize(between(*before, nn.Conv2d(4, 4, 1)), activation="refuse")
    assert [type(layer) for layer in copied[1 : 1 + len(before)]] == [type(layer) for layer in before]


class Residual(nn.Module):
    def __init__(self, how):
        super().__init__()
        self.how, self.relu = how, nn.ReLU()
        self.stem, self.a, self.b = nn.Conv2d(1, 4, 1), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)
        self.norm, self.head = nn.BatchNorm2d(4), nn.Linear(4, 2)

    def forward(self, x):
        x = self.stem(x)
        if self.how == "shared":  # the ReLU's values also go around the block
            x = self.relu(x)
            x = x + self.b(self.norm(self.a(x)))
        elif self.how == "function":
            x = self.b(self.norm(self.a(F.relu(x))))
        elif self.how == "joined":
            x = self.b(self.norm(self.a(torch.cat([self.relu(x[:, :2]), x[:, 2:].abs()], 1))))
        elif self.how == "clamped":
            x = self.b(self.norm(self.a(x.clamp(min=0.0))))
        elif self.how == "gated":
            x = self.relu(x)
            x = self.b(self.norm(self.a(x * torch.sigmoid(x.mean((2, 3), keepdim=True)))))
        elif self.how == "untraceable" and x.sum() > 0:
            x = self.b(self.norm(self.a(self.relu(x))))
        return self.head(x.mean((2, 3)))


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("shared", r"layer 'a' is \+1 throughout: its input comes from 'relu' \(ReLU\)"),
        ("function", r"layer 'a' is \+1 throughout: its input comes from relu\(\)"),
        ("joined", r"layer 'a' is \+1 throughout"),
        ("clamped", r"layer 'a' is \+1 throughout: its input comes from clamp\(\), whose"),
        ("gated", r"layer 'a' is \+1 throughout: its input comes from 'relu' \(ReLU\) and sigmoid\(\), whose"),
        ("untraceable", r"cannot be followed \(TraceError"),
    ],
)
def test_a_relu_that_cannot_make_room_gives_a_warning(how, message):
    with pytest.warns(UserWarning, match=message) as caught:
        copied = binarize(Residual(how))
    assert len(caught) == 1
    assert bits_of(copied) == ["a", "b"]
    if how == "shared":
        assert isinstance(copied.relu, nn.ReLU)


class BasicBlock(nn.Module):
    """As in ResNet: one ReLU module, called twice, once onto the shortcut."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = (nn.Conv2d(8, 8, 3, padding=1, bias=False) for _ in range(2))
        self.bn1, self.bn2, self.relu = nn.BatchNorm2d(8), nn.BatchNorm2d(8), nn.ReLU(inplace=True)

    def forward(self, x):
        return self.relu(x + self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x))))))


def test_a_residual_network_gets_norms_where_its_signs_would_be_constant():
    stem = [nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()]
    model = seeded(nn.Sequential(*stem, BasicBlock(), BasicBlock(), nn.Flatten(), nn.Linear(8 * 64, 10)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        copied = binarize(model, activation="norm", per_layer={"3.*": {"scale": "xnor"}})
    assert bits_of(copied) == ["3.conv1.1", "3.conv2.1", "4.conv1.1", "4.conv2.1"]
    written = []
    for name in bits_of(copied):
        copied.get_submodule(name).register_forward_pre_hook(
            lambda module, inputs: written.append(ste_sign(inputs[0]).mean().abs().item())
        )
    copied(normal(16, 1, 8, 8)).sum().backward()
    assert max(written) < 0.9
    assert all(parameter.grad is not None for parameter in copied.parameters())
    assert torch.equal(copied[3].conv1[1].weight, model[3].conv1.weight)


def test_overwrite_memories_have_cells_for_all_weights_and_for_one_sample():
    point = OperatingPoint.of_rates(error_rate_0=0.1, error_rate_1=0.2)
    config = BinarizeConfig(mode="overwrite", gradient="masked", activation_write=(0.1, 0.2), weight_write=point)
    layer = binarize(mlp(), config)[2]
    activations, weights = layer.activation_memory, layer.weight_memory
    for memory, slots in ((activations, 1), (weights, None)):
        assert isinstance(memory, OverwriteErrors)
        assert (memory.error_rate_0, memory.error_rate_1) == (0.1, 0.2)
        assert (memory.gradient, memory.slots, memory.layer) == ("masked", slots, 1)
    assert (activations.point, weights.point) == (None, point)
    assert activations.seed != weights.seed
    for mode, gradients in (("overwrite", "'identity', 'masked'"), ("independent", "'identity', 'flipped'")):
        with pytest.raises(ValueError, match=f"gradient must be one of {gradients}"):
            BinarizeConfig(mode=mode, gradient="flipped" if mode == "overwrite" else "masked")


def test_a_traced_model_draws_nothing_from_torchs_stream():
    class Noisy(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4))

        def forward(self, x):
            return self.layers(x + torch.randn(4))

    model = Noisy()
    state = torch.get_rng_state()
    binarize(model)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_binarized_copy_of_a_plain_net_trains():
    """Digits, 8 x 8: ten classes, so a net that has learned nothing is right in a tenth. Errors in both memories."""
    digits = load("digits")
    x, y = torch.from_numpy(digits.train.scaled())[:800], torch.tensor(digits.train.labels)[:800]
    plain = seeded(
        nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 32, 3), nn.BatchNorm2d(32),
            nn.ReLU(), nn.Flatten(), nn.Linear(32 * 36, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 10),
        )
    )  # fmt: skip
    model = binarize(plain, BinarizeConfig(activation_write=(0.02, 0.05), weight_write=(0.01, 0.01), seed=1))
    assert bits_of(model) == ["3", "7"]
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    before = [p.detach().clone() for p in model.parameters()]
    for step in range(40):
        batch = torch.arange(step * 80, step * 80 + 80) % 800
        optimizer.zero_grad()
        F.cross_entropy(model(x[batch]), y[batch]).backward()
        optimizer.step()
        clip_latent_(model)
    moved = [not torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True)]
    assert np.mean(moved) > 0.9
    with torch.no_grad():
        assert (model.eval()(x).argmax(1) == y).float().mean() > 0.8
    again = pickle.loads(pickle.dumps(model))
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))


def test_the_front_door_is_the_function():
    import bnn.layers.quantizers

    assert bnn.binarize is binarize
    assert isinstance(bnn.binarize(mlp())[2], bnn.BinaryLinear)


class Threshold(nn.Module):
    """A sign with a learned threshold, as ReActNet's RSign."""

    def __init__(self, features=8):
        super().__init__()
        self.threshold = nn.Parameter(torch.zeros(features))

    def forward(self, x):
        return ste_sign(x + self.threshold)


class Holds:
    """A callable with a Module in it, and no Module itself."""

    def __init__(self):
        self.inner = Threshold()

    def __call__(self, x):
        return self.inner(x)


def thresholds(config):
    """The quantizers of two models of three binary layers, made from one config."""
    model = nn.Sequential(*(nn.Linear(8, 8) for _ in range(5)))
    return [[layer.input_quantizer for layer in binarize(model, config)[1:4]] for _ in range(2)]


@pytest.mark.parametrize("make", [Threshold, Holds, lambda: partial(Threshold().forward)])
def test_every_layer_has_a_quantizer_of_its_own(make):
    config = BinarizeConfig(input_quantizer=make())
    first, second = thresholds(config)
    assert len({id(quantizer) for quantizer in (*first, *second, config.input_quantizer)}) == 7
    with torch.no_grad():
        before = second[0](torch.zeros(1, 8)), config.input_quantizer(torch.zeros(1, 8))
        for quantizer in first:
            inner = getattr(quantizer, "inner", quantizer)
            (inner if isinstance(inner, nn.Module) else inner.func.__self__).threshold.sub_(1.0)
        assert all((quantizer(torch.zeros(1, 8)) == -1).all() for quantizer in first)
        assert torch.equal(second[0](torch.zeros(1, 8)), before[0])
        assert torch.equal(config.input_quantizer(torch.zeros(1, 8)), before[1])


def test_quantizers_are_shared_in_a_model_if_asked():
    first, second = thresholds(BinarizeConfig(input_quantizer=Threshold(), shared_quantizers=True))
    assert len(set(map(id, first))) == len(set(map(id, second))) == 1
    assert first[0] is not second[0]
    plain, _ = thresholds(BinarizeConfig())
    assert all(quantizer is ste_sign for quantizer in plain)


def test_the_parameters_of_a_quantizer_have_the_type_of_the_model_and_are_trained():
    model = nn.Sequential(*(nn.Linear(8, 8) for _ in range(3))).double()
    copied = binarize(model, BinarizeConfig(input_quantizer=Threshold()))
    assert copied[1].input_quantizer.threshold.dtype == torch.float64
    assert len(list(copied.parameters())) == len(list(model.parameters())) + 1
