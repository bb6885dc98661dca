import pytest
import torch
from torch import nn
from torch.nn.utils import prune
from torch.nn.utils.parametrizations import orthogonal

from bnn.layers.binary import BinaryLinear
from bnn.layers.latent import clip_latent_, quantized_scope
from bnn.layers.quantizers import ste_sign, xnor_scale
from bnn.models import lenet4
from networks import normal


def test_inside_the_weights_are_bits_and_the_predictions_the_same():
    model, x = lenet4(seed=1).eval(), normal(4, 1, 28, 28)
    latent = {name: p.detach().clone() for name, p in model.named_parameters()}
    pointers = [p.data_ptr() for p in model.parameters()]
    outside, scale = model(x), xnor_scale(model[5].weight)
    with quantized_scope(model) as same:
        assert same is model
        state = model.state_dict()
        for name, p in model.named_parameters():
            binary = name in ("5.weight", "10.weight")
            assert torch.equal(state[name], ste_sign(latent[name]) if binary else latent[name]), name
            assert torch.equal(p, state[name])
        assert torch.equal(model(x), outside)
        assert torch.equal(model[5].output_scale(), scale)
        with quantized_scope(model):
            assert torch.equal(model(x), outside)
        assert torch.equal(model(x), outside)
    assert all(torch.equal(p, latent[name]) for name, p in model.named_parameters())
    assert [p.data_ptr() for p in model.parameters()] == pointers
    assert torch.equal(model[5].output_scale(), scale)


def test_weights_return_after_an_exception_and_what_was_done_inside_is_lost():
    layer = BinaryLinear(5, 3, seed=1)
    latent = layer.weight.detach().clone()

    def inside():
        with quantized_scope(layer), torch.no_grad():
            layer.weight.fill_(7.0)
            raise KeyError

    with pytest.raises(KeyError):
        inside()
    assert torch.equal(layer.weight, latent)
    assert layer.output_scale() is None


def test_a_shared_weight_is_quantized_once_and_scaled_by_its_latent_values():
    model, x = nn.Sequential(BinaryLinear(5, 5, seed=1, scale="xnor"), BinaryLinear(5, 5, seed=2, scale="xnor")), None
    model[1].weight = model[0].weight
    x = normal(3, 5)
    outside, latent = model(x), model[0].weight.detach().clone()
    with quantized_scope(model):
        assert torch.equal(model(x), outside)
    assert torch.equal(model[0].weight, latent)
    assert model[0].weight is model[1].weight


def test_training_goes_on_afterwards():
    layer = BinaryLinear(5, 3, seed=1)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.01)
    with quantized_scope(layer):
        pass
    layer(normal(2, 5)).sum().backward()
    before = layer.weight.detach().clone()
    optimizer.step()
    assert torch.equal(layer.weight, before - 0.01 * layer.weight.grad)


def test_a_weight_of_a_parametrization_has_no_bits_to_put_in_its_place():
    model = nn.Sequential(BinaryLinear(4, 4, seed=1), orthogonal(BinaryLinear(4, 4, seed=2)))
    with (
        pytest.raises(ValueError, match="weights that are parameters, got a parametrization in '1'"),
        quantized_scope(model),
    ):
        pass


def test_clipping_leaves_frozen_and_computed_weights_alone():
    model = nn.Sequential(*(BinaryLinear(4, 4, seed=seed, scale="xnor", center=seed == 1) for seed in range(3)))
    with torch.no_grad():
        for layer in model:
            layer.weight.mul_(9.0)
    model[1].weight.requires_grad_(False)
    orthogonal(model[2])
    before, x = [layer.weight.detach().clone() for layer in model], normal(3, 4)
    clip_latent_(model)
    assert model[0].weight.abs().max() == 1.0
    assert torch.equal(model[1].weight, before[1])
    assert torch.equal(model[2].weight, before[2])
    assert model[2](x).isfinite().all()


def test_a_pruned_weight_would_be_plus_one():
    layer = BinaryLinear(4, 4, seed=1)
    prune.random_unstructured(layer, "weight", 0.5)
    with pytest.raises(ValueError, match=r"weight must not be pruned: a pruned weight is 0, and the sign of 0 is \+1"):
        layer(normal(3, 4))
    real = BinaryLinear(4, 4, seed=1, weight_quantizer=None)
    prune.random_unstructured(real, "weight", 0.5)
    assert torch.equal(real(normal(3, 4)), nn.functional.linear(ste_sign(normal(3, 4)), real.weight))
