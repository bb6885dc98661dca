"""What a layer, a guard and an optimizer of bits cost in a training step of LeNet-4: ratios in one process."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from bnn.layers.latent import clip_latent_
from bnn.models import lenet4
from bnn.optimizers.bop import Bop, split_parameters
from bnn.training.finite import guard_finite


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def real_lenet4():
    model = lenet4(seed=1)
    for layer in model.modules():
        if hasattr(layer, "weight_quantizer"):
            layer.weight_quantizer = layer.input_quantizer = None
            layer.scale = "none"
    return model


def training_step(model, optimizers):
    x, y = torch.randn(128, 1, 28, 28, generator=torch.Generator().manual_seed(0)), torch.arange(128) % 10

    def step():
        for optimizer in optimizers:
            optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        for optimizer in optimizers:
            optimizer.step()
        clip_latent_(model)

    return step


def with_adam(model: nn.Module):
    return training_step(model, [torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)])


def with_bop(model: nn.Module):
    binary, real = split_parameters(model)
    return training_step(model, [Bop(binary), torch.optim.Adam(real, lr=1e-3, fused=True)])


def test_a_training_step_of_lenet4(benchmark, least_seconds):
    guarded = lenet4(seed=1)
    guard_finite(guarded)
    steps = [with_adam(lenet4(seed=1)), with_adam(real_lenet4()), with_adam(guarded), with_bop(lenet4(seed=1))]
    binary, real, watched, bop = least_seconds(steps, 15)
    benchmark.extra_info.update(
        binary_against_real=binary / real, guarded_against_not=watched / binary, bop_against_adam=bop / binary
    )
    benchmark.pedantic(steps[0], rounds=5)
