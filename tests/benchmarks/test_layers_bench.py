"""What a layer, a guard and an optimizer of bits cost in a training step of LeNet-4: ratios in one process."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from bnn.layers.latent import clip_latent_
from bnn.models import lenet4
from bnn.optimizers.bop import Bop, split_parameters
from bnn.training.finite import guard_finite

pytestmark = pytest.mark.usefixtures("one_torch_thread")


def real_lenet4():
    model = lenet4(seed=1)
    for layer in model.modules():
        if hasattr(layer, "weight_quantizer"):
            layer.weight_quantizer = layer.input_quantizer = None
            layer.scale = "none"
    return model


def training_step(model, optimizers, batch):
    x, y = torch.randn(batch, 1, 28, 28, generator=torch.Generator().manual_seed(0)), torch.arange(batch) % 10

    def step():
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
        clip_latent_(model)
        return loss

    return step


def with_adam(model: nn.Module, batch):
    return training_step(model, [torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)], batch)


def with_bop(model: nn.Module, batch):
    binary, real = split_parameters(model)
    return training_step(model, [Bop(binary), torch.optim.Adam(real, lr=1e-3, fused=True)], batch)


def test_a_training_step_of_lenet4(benchmark, sized, least_seconds):
    guarded, batch = lenet4(seed=1), sized(128, 2)
    guard_finite(guarded)
    steps = [with_adam(lenet4(seed=1), batch), with_adam(guarded, batch), with_bop(lenet4(seed=1), batch)]
    binary, watched, bop, real = least_seconds(steps, 15, peers=[with_adam(real_lenet4(), batch)])
    benchmark.extra_info.update(
        binary_against_real=binary / real, guarded_against_not=watched / binary, bop_against_adam=bop / binary
    )
    assert torch.isfinite(benchmark.pedantic(steps[0], rounds=5))
