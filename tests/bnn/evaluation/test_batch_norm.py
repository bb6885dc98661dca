import copy
from functools import partial
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import orthogonal

from bnn.errors.write_errors import WriteErrors
from bnn.evaluation.batch_norm import reestimate_batch_norm, rescale_batch_norm
from bnn.layers.binary import BinaryConv2d, BinaryLinear
from bnn.layers.dropout import SeededDropout
from bnn.layers.slots import activation_memories, memories, weight_memories
from bnn.models import lenet4, mlp
from mtjsim.rng import child_seed
from networks import binary_mlp, integer_images, rates

NONE = rates(0.0)
RATES = st.floats(0.0, 0.45)


def written(bits, rates):
    """Return every content that cells can have after `bits` were written, with its probability."""
    wrong = np.where(bits > 0, rates.error_rate_1, rates.error_rate_0)
    for errs in product([0, 1], repeat=bits.size):
        errs = np.array(errs).reshape(bits.shape)
        yield np.where(errs, -bits, bits), np.prod(np.where(errs, wrong, 1 - wrong))


def mean_product(x, w, activations, weights):
    """Mean of w' x' over all contents of both memories, by counting them out."""
    return sum(p * q * (b @ a) for a, p in written(x, activations) for b, q in written(w, weights))


def trained(layer, channels, dims=1, **settings):
    norm = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d}[dims](channels, **settings).double()
    stream = np.random.default_rng(3)
    norm.running_mean.copy_(torch.from_numpy(stream.normal(0, 1, channels)))
    norm.running_var.copy_(torch.from_numpy(stream.uniform(0.5, 3, channels)))
    return nn.Sequential(layer.double(), nn.Identity(), norm).eval()


@settings(max_examples=40, deadline=None)
@given(
    a=RATES, b=RATES, c=RATES, d=RATES, w=RATES, v=RATES, scale=st.sampled_from(["none", "xnor"]), bias=st.booleans()
)
def test_the_mean_behind_the_batch_norm_is_that_of_the_training(a, b, c, d, w, v, scale, bias):
    # Oracle: all 2^3 x 2^6 contents of the two memories. Activations with unequal rates, weights with equal ones.
    layer = BinaryLinear(3, 2, seed=4, bias=bias, scale=scale)
    if bias:
        layer.bias.data = torch.tensor([0.3, -0.7])
    model = trained(layer, 2, eps=1e-3)
    moved = rescale_batch_norm(
        model,
        trained_at={"activations": rates(a, b), "weights": rates(w)},
        run_at={"activations": rates(c, d), "weights": rates(v)},
    )
    bits = torch.sign(layer.weight).detach().numpy()

    def output(net, x, activations, weights):
        mean = torch.from_numpy(mean_product(x, bits, activations, weights))
        return net[2](net[0].finished(mean[None])).detach().numpy()[0]

    for x in ([1.0, 1.0, -1.0], [-1.0, -1.0, -1.0], [1.0, -1.0, 1.0]):
        before = output(model, np.array(x), rates(a, b), rates(w))
        np.testing.assert_allclose(output(moved, np.array(x), rates(c, d), rates(v)), before, rtol=1e-9, atol=1e-9)


def test_the_control_plain_statistics_miss_the_mean():
    x = torch.tensor([[1.0, 1.0, -1.0]]).double()
    model = trained(BinaryLinear(3, 2, seed=4), 2)
    moved = rescale_batch_norm(model, trained_at={"weights": rates(0.1)})
    assert not torch.allclose(model(x), moved(x), rtol=1e-2)
    expected = model[2].running_mean / 0.8
    torch.testing.assert_close(moved[2].running_mean, expected)
    torch.testing.assert_close(moved[2].running_var + 1e-5, (model[2].running_var + 1e-5) / 0.64)


class Mean(nn.Module):
    """What a memory of these rates holds in the mean."""

    def __init__(self, rates):
        super().__init__()
        self.a, self.b = 1 - rates.error_rate_0 - rates.error_rate_1, rates.error_rate_0 - rates.error_rate_1

    def forward(self, x):
        return self.a * x + self.b


def in_the_mean(model, activations, weights, x):
    with (
        memories(model, lambda name, index: Mean(activations)),
        memories(model, lambda name, index: Mean(weights), slot="weight_memory"),
        torch.no_grad(),
    ):
        return model.eval()(x)


def test_a_layer_with_a_scale_of_its_own_gets_its_mean_back_whatever_follows():
    # LeNet-4's binary layers are read by a ReLU. The last layer has real weights: none of them is touched.
    model = lenet4(seed=1).double().eval()
    with torch.no_grad():
        model[5].bias.normal_(generator=torch.Generator().manual_seed(2))
    x = torch.randn(5, 1, 28, 28, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    train, run = (rates(0.05), rates(0.1)), (rates(0.15), NONE)
    moved = rescale_batch_norm(
        model,
        trained_at={"activations": train[0], "weights": train[1]},
        run_at={"activations": run[0], "weights": run[1]},
    )
    before = in_the_mean(model[:6], *train, x)
    torch.testing.assert_close(in_the_mean(moved[:6], *run, x), before)
    assert not torch.allclose(in_the_mean(model[:6], *run, x), before)
    torch.testing.assert_close(in_the_mean(moved, *run, x), in_the_mean(model, *train, x))
    for a, b in ((model[5], moved[5]), (model[10], moved[10])):
        assert torch.equal(torch.sign(a.weight), torch.sign(b.weight))
    assert torch.equal(model[12].weight, moved[12].weight)


@pytest.mark.parametrize("bias", [True, False])
def test_real_weights_on_written_bits_take_the_factor_and_the_offset(bias):
    layer = BinaryLinear(20, 3, seed=1, bias=bias, weight_quantizer=None).double()
    x = torch.randn(6, 20, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    moved = rescale_batch_norm(
        nn.Sequential(layer),
        trained_at={"activations": rates(0.1, 0.3)},
        run_at={"activations": rates(0.02, 0.0)},
    )
    before = in_the_mean(nn.Sequential(layer), rates(0.1, 0.3), NONE, x)
    torch.testing.assert_close(in_the_mean(moved, rates(0.02, 0.0), NONE, x), before)


def test_a_convolution_without_padding_takes_unequal_rates_and_with_padding_equal_ones():
    x = torch.randn(4, 3, 6, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for padding, train, run in ((0, rates(0.1, 0.2), rates(0.3, 0.05)), (1, rates(0.1), rates(0.3))):
        model = trained(BinaryConv2d(3, 5, 3, seed=1, padding=padding), 5, dims=2)
        moved = rescale_batch_norm(model, trained_at={"activations": train}, run_at={"activations": run})
        torch.testing.assert_close(in_the_mean(moved, run, NONE, x), in_the_mean(model, train, NONE, x))
    with pytest.raises(ValueError, match="before a zero padding"):
        rescale_batch_norm(model, trained_at={"activations": rates(0.1, 0.2)})


def test_as_trained_reads_the_slots_and_nothing_is_touched():
    model = mlp(seed=1, hidden=(16, 16), first="binary")
    for layer in weight_memories(model).values():
        layer.weight_memory = WriteErrors(error_rate_0=0.1, error_rate_1=0.1, seed=0)
    model(torch.randn(8, 64, generator=torch.Generator().manual_seed(1)))
    before = copy.deepcopy(model.state_dict())
    moved = rescale_batch_norm(model)
    named = rescale_batch_norm(model, trained_at={"weights": rates(0.1)})
    same = rescale_batch_norm(model, run_at="as_trained")
    for key, value in before.items():
        assert torch.equal(model.state_dict()[key], value)
        assert torch.equal(moved.state_dict()[key], named.state_dict()[key])
        assert torch.equal(same.state_dict()[key], value)
    torch.testing.assert_close(moved[2].running_mean, model[2].running_mean / 0.8)
    assert moved.training == model.training


class Residual(nn.Module):
    def __init__(self, inside):
        super().__init__()
        self.layer = BinaryLinear(4, 4, seed=1)
        self.norm = nn.BatchNorm1d(4)
        self.inside = inside

    def forward(self, x):
        return x + self.norm(self.layer(x)) if self.inside else self.norm(x + self.layer(x))


class Branching(Residual):
    def forward(self, x):
        return self.norm(self.layer(x)) if x.sum() > 0 else x


class Twice(Residual):
    def forward(self, x):
        return self.norm(self.layer(self.norm(self.layer(x))))


def test_a_batch_norm_is_found_within_a_branch_and_not_behind_a_sum():
    moved = rescale_batch_norm(Residual(inside=True), trained_at={"weights": rates(0.1)})
    torch.testing.assert_close(moved.norm.running_var + 1e-5, (torch.ones(4) + 1e-5) / 0.64)
    dropout = nn.Sequential(BinaryLinear(4, 4, seed=1), SeededDropout(0.5, seed=2), nn.BatchNorm1d(4))
    moved = rescale_batch_norm(dropout, trained_at={"weights": rates(0.1)})
    torch.testing.assert_close(moved[2].running_var + 1e-5, (torch.ones(4) + 1e-5) / 0.64)
    for model, why in (
        (Residual(inside=False), "add follows"),
        (Branching(True), "cannot be followed"),
        (Twice(True), "is called 2 times"),
        (nn.Sequential(BinaryLinear(4, 4, seed=1), nn.ReLU(), nn.BatchNorm1d(4)), "a ReLU, follows"),
        (nn.Sequential(BinaryLinear(4, 4, seed=1)), "the model's output follows"),
        (
            nn.Sequential(BinaryConv2d(1, 4, 3, seed=1), nn.MaxPool2d(2), nn.BatchNorm2d(4)),
            "a MaxPool2d, follows",
        ),
        (nn.Sequential(BinaryConv2d(1, 4, 3, seed=1), nn.Flatten(), nn.BatchNorm1d(16)), "each of its outputs"),
        (
            nn.Sequential(BinaryLinear(4, 4, seed=1), nn.BatchNorm1d(4, track_running_stats=False)),
            "each of its outputs",
        ),
    ):
        with pytest.raises(ValueError, match=why):
            rescale_batch_norm(model, trained_at={"weights": rates(0.1)})
        rescale_batch_norm(model, trained_at={"weights": rates(0.1)}, run_at={"weights": rates(0.1)})  # nothing to do


def test_wrong_errors_are_refused():
    model = trained(BinaryLinear(3, 2, seed=4), 2)
    for errors, why in (
        ({"weights": rates(0.1, 0.2)}, "of weights must be equal"),
        ({"weights": rates(0.5)}, "must have error rates that add up to < 1"),
        ({"weights": rates(torch.tensor([0.1]))}, "must have one error_rate_0"),
        ({"weights": nn.Identity()}, "must have one error_rate_0"),
        ({"weight": rates(0.1)}, "must have the keys activations and weights, got 'weight'"),
        ("trained", "must be a mapping"),
        (0.1, "must be a mapping"),
    ):
        with pytest.raises(ValueError, match=why):
            rescale_batch_norm(model, trained_at=errors)


# ---- from data -------------------------------------------------------------------------------------------------------


network = partial(binary_mlp, (32, 24))


def plain_statistics(model, x):
    """Oracle: layer by layer with NumPy's mean and variance, in float64."""
    found = []
    for module in model.double().eval():
        if isinstance(module, nn.BatchNorm1d):
            found.append((x.mean(0), x.var(0, ddof=1)))
            module.running_mean, module.running_var = (torch.from_numpy(s).float().double() for s in found[-1])
        with torch.no_grad():
            x = module(torch.from_numpy(x)).numpy()
    return found


def test_statistics_against_numpy():
    data = integer_images(700)
    result = reestimate_batch_norm(network(), data, batch_size=100)
    norms = [module for module in result if isinstance(module, nn.BatchNorm1d)]
    expected = plain_statistics(network(), data.scaled().astype(float))
    assert len(norms) == len(expected) == 3
    for norm, (mean, var) in zip(norms[:1], expected[:1], strict=True):  # exact sums
        np.testing.assert_allclose(norm.running_mean, mean, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(norm.running_var, var, rtol=1e-6)
    for norm, (mean, var) in zip(norms, expected, strict=True):  # a sign at a threshold's rounding may differ
        np.testing.assert_allclose(norm.running_mean, mean, atol=0.02)
        np.testing.assert_allclose(norm.running_var, var, rtol=0.01)


def test_a_convolution_counts_every_place():
    model = nn.Sequential(BinaryConv2d(1, 3, 3, seed=1, input_quantizer=None), nn.BatchNorm2d(3))
    data = integer_images(300)
    result = reestimate_batch_norm(model, data)
    out = model[0](torch.from_numpy(data.scaled())).detach().double()
    torch.testing.assert_close(result[1].running_mean.double(), out.mean(dim=(0, 2, 3)), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(result[1].running_var.double(), out.var(dim=(0, 2, 3)), rtol=1e-6, atol=0.0)


def test_statistics_depend_on_the_seed_and_not_on_the_batch_size():
    def run(**settings):
        norm = reestimate_batch_norm(
            network(), integer_images(700), errors=rates(0.1), weight_errors=rates(0.1), **settings
        )[2]
        return norm.running_mean.tolist(), norm.running_var.tolist()

    assert run(seed=3) == run(seed=3, batch_size=1) == run(seed=3, batch_size=300)
    assert run(seed=3) != run(seed=4)


def test_draws_are_averaged_and_are_those_of_the_evaluation():
    # Oracle: one programming of the first layer after the other, by the evaluation's keys.
    data, model = integer_images(300), network()
    result = reestimate_batch_norm(model, data, weight_errors=rates(0.2), draws=4, seed=7)
    means, variances = [], []
    for draw in range(4):
        memory = WriteErrors(error_rate_0=0.2, error_rate_1=0.2, seed=child_seed(7, "evaluated_weights", 0))
        memory.address(step=draw, samples=None)
        out = F.linear(torch.from_numpy(data.scaled()).flatten(1), memory(torch.sign(model[1].weight.detach())))
        means.append(out.double().mean(0))
        variances.append(out.double().var(0))
    torch.testing.assert_close(result[2].running_mean.double(), torch.stack(means).mean(0), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(result[2].running_var.double(), torch.stack(variances).mean(0), rtol=1e-6, atol=0.0)


def test_the_model_is_not_touched_and_the_copy_differs_in_its_statistics_only():
    model = network(activation_memory=lambda seed: WriteErrors(error_rate_0=0.1, error_rate_1=0.1, seed=seed))
    model = nn.Sequential(*model, nn.Dropout(0.5))
    before, stream = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    result = reestimate_batch_norm(model, integer_images(300), draws=2)
    assert torch.equal(torch.get_rng_state(), stream)
    assert model.training
    assert result.training
    assert len(activation_memories(result)) == 2
    for key, value in before.items():
        assert torch.equal(model.state_dict()[key], value)
        assert torch.equal(result.state_dict()[key], value) == (not key.endswith(("running_mean", "running_var")))


def test_reestimation_refuses_what_it_cannot_do():
    with pytest.raises(ValueError, match="no BatchNorm that keeps statistics"):
        reestimate_batch_norm(nn.Sequential(nn.Flatten(), BinaryLinear(64, 2, seed=1)), integer_images(10))
    shared = nn.BatchNorm1d(64)
    with pytest.raises(ValueError, match="called more than once"):
        reestimate_batch_norm(nn.Sequential(nn.Flatten(), shared, shared), integer_images(10))
    with pytest.raises(ValueError, match="draws must be a whole number >= 1, got 0"):
        reestimate_batch_norm(network(), integer_images(10), draws=0)
    with pytest.raises(ValueError, match="at least two images"):
        reestimate_batch_norm(network(), integer_images(1))


def test_weights_of_several_layers_are_not_scaled_for_one():
    """Each of two layers would divide the same weight by its factor."""
    layers = [BinaryLinear(4, 4, seed=seed, scale="xnor") for seed in (1, 2)]
    layers[1].weight = layers[0].weight
    computed = orthogonal(BinaryLinear(4, 4, seed=1, scale="xnor"))
    for model in (nn.Sequential(*layers), nn.Sequential(computed)):
        with pytest.raises(ValueError, match=r"layer '0' has weights of several layers or of .* reestimate_batch_norm"):
            rescale_batch_norm(model, trained_at={"weights": rates(0.1)})
    norm = nn.BatchNorm1d(4).eval()
    norm.running_mean.fill_(2.0)
    model = rescale_batch_norm(nn.Sequential(computed, norm), trained_at={"weights": rates(0.1)})  # the norm is moved
    assert torch.allclose(model[1].running_mean, torch.full((4,), 2.0 / 0.8))


def test_images_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match=r"data must have images that fit the model, got shape \(1, 7, 7\)"):
        reestimate_batch_norm(binary_mlp(), np.zeros((3, 1, 7, 7), np.float32), errors=None, weight_errors=None)
