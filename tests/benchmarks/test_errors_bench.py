"""What error injection costs: ratios measured in one process, never a verdict on absolute seconds.

The share of a training step is taken *inside* the step: the time of the memories' forward and backward passes, as a
share of the whole step, the median over many steps; at error_rate_1 = p and error_rate_0 = p / 2, one thread. (The
difference between steps with and without memories drowns in the noise of the steps.)
"""

import time
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from bnn.errors.kernels import write_packed, write_samples
from bnn.errors.overwrite import OverwriteErrors
from bnn.errors.uniforms import sample_keys
from bnn.errors.write_errors import WriteErrors
from bnn.layers.latent import clip_latent_
from bnn.layers.slots import activation_memories
from bnn.models import lenet4, mlp

pytestmark = pytest.mark.usefixtures("one_torch_thread")
RATES = (1e-9, 1e-6, 1e-4, 1e-3, 1e-2, 0.019, 1e-1, 0.5)


class DenseMask(nn.Module):
    """The usual way: a float32 uniform for every bit. Wrong below 1e-7, here for its speed."""

    def __init__(self, rate_0, rate_1):
        super().__init__()
        self.rate_0, self.rate_1 = rate_0, rate_1
        self.generator = torch.Generator().manual_seed(1)

    def forward(self, x):
        uniform = torch.rand(x.shape, generator=self.generator)
        flip = uniform < torch.where(x > 0, self.rate_1, self.rate_0)
        return x + (torch.where(flip, -x, x) - x).detach()


def training_step(model, x, y):
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)

    def step():
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        clip_latent_(model)
        return loss

    return step


class Watch(nn.Module):
    """Adds up the time that a memory takes in the forward and in the backward pass."""

    seconds = 0.0

    def __init__(self, memory):
        super().__init__()
        self.memory = memory
        memory.register_full_backward_pre_hook(self.enter)
        memory.register_full_backward_hook(self.leave)

    def enter(self, *_):
        self.entered = time.thread_time()

    def leave(self, *_):
        Watch.seconds += time.thread_time() - self.entered

    def forward(self, x):
        self.enter()
        out = self.memory(x)
        self.leave()
        return out


def memories_of(rate):
    """Kind -> memory(layer's own shape) of it."""
    rates = {"error_rate_0": rate / 2, "error_rate_1": rate, "seed": 1}

    def each(shape):
        return WriteErrors(
            error_rate_0=torch.full(shape, rate / 2), error_rate_1=torch.full(shape, rate), seed=1, path="numba"
        )

    return {
        "nothing": lambda shape: nn.Identity(),  # the clock and the hooks alone, which are in every share
        "by_key": lambda shape: WriteErrors(**rates, path="numba"),
        "by_key_flipped_gradient": lambda shape: WriteErrors(**rates, path="numba", gradient="flipped"),
        "by_key_rates_of_cells": each,
        "in_torch": lambda shape: WriteErrors(**rates, path="torch"),
        "overwrite_1_slot": lambda shape: OverwriteErrors(**rates, slots=1),
        "overwrite_128_slots": lambda shape: OverwriteErrors(**rates, slots=128),
        "overwrite_masked_gradient": lambda shape: OverwriteErrors(**rates, slots=1, gradient="masked"),
        "torch_rand_mask": lambda shape: DenseMask(rate / 2, rate),
    }


def shares(build, shapes, x, rate, rounds):
    """Median share of the training step that each kind of memory takes; steps interleaved."""
    y, steps = torch.arange(len(x)) % 10, {}
    for kind, make in memories_of(rate).items():
        model = build(seed=1)
        for layer, shape in zip(activation_memories(model).values(), shapes, strict=True):
            layer.activation_memory = Watch(make(shape))
        steps[kind] = training_step(model, x, y)
        assert torch.isfinite(steps[kind]())
    found = {kind: [] for kind in steps}
    for _ in range(rounds):
        for kind, step in steps.items():
            Watch.seconds, started = 0.0, time.thread_time()
            step()
            found[kind].append(Watch.seconds / (time.thread_time() - started))
    return steps["by_key"], {kind: float(np.median(each)) for kind, each in found.items() if each}


@pytest.mark.parametrize("rate", RATES)
def test_share_of_a_lenet4_training_step(benchmark, sized, rate):
    x = torch.randn(sized(128, 2), 1, 28, 28, generator=torch.Generator().manual_seed(0))
    step, ratios = shares(lenet4, [(20, 12, 12), (800,)], x, rate, sized(15, 0))
    benchmark.extra_info.update(rate=rate, **ratios)
    assert torch.isfinite(benchmark.pedantic(step, rounds=5))


@pytest.mark.parametrize("rate", RATES)
def test_share_of_the_digits_mlp_training_step(benchmark, sized, rate):
    x = torch.randn(sized(128, 2), 1, 8, 8, generator=torch.Generator().manual_seed(0))
    step, ratios = shares(mlp, [(256,), (256,)], x, rate, sized(200, 0))
    benchmark.extra_info.update(rate=rate, **ratios)
    assert torch.isfinite(benchmark.pedantic(step, rounds=50))


@pytest.mark.parametrize("rate", RATES)
def test_packed_words_against_floats(benchmark, sized, least_seconds, rate):
    rng, cells, rows = np.random.default_rng(0), 1024, sized(1000, 4)
    x = np.where(rng.random((rows, cells)) < 0.5, 1, -1).astype(np.float32)
    words = rng.integers(2**63, size=(rows, cells // 64), dtype=np.uint64)
    where = np.uint64(1), 0, 0, np.arange(rows)
    keys, floats, packed = sample_keys(*where), np.empty_like(x), np.empty_like(words)
    in_words = partial(write_packed, words, cells, keys, rate, rate / 2, out=packed)
    in_floats = partial(write_samples, x, *where, rate, rate / 2, out=floats)
    a, b = least_seconds([in_words, in_floats], 30)
    benchmark.extra_info.update(rate=rate, times_faster_than_floats=b / a, nanoseconds_a_bit=1e9 * a / x.size)
    benchmark.pedantic(in_words, rounds=20)
    for flips in ((floats == -x).sum(), np.bitwise_count(packed ^ words).sum()):
        assert abs(flips - 0.75 * rate * x.size) < 6 * (rate * x.size) ** 0.5 + 20


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("cells", [16_384, 368_640])
def test_write_against_a_torch_rand_mask(benchmark, least_seconds, cells, rate):
    x = torch.ones(cells)
    x[::2] = -1.0
    sparse = partial(WriteErrors(error_rate_0=rate / 2, error_rate_1=rate, seed=1), x)
    dense = partial(DenseMask(rate / 2, rate), x)
    a, b = least_seconds([sparse], 50, peers=[dense])
    benchmark.extra_info.update(cells=cells, rate=rate, times_faster_than_a_mask=b / a)
    assert (benchmark.pedantic(sparse, rounds=20).abs() == 1).all()
