"""What error injection costs: ratios measured in one process, never a verdict on absolute seconds.

The share of a LeNet-4 training step is (step with errors - step without) / step with errors, each the least of many
interleaved runs, at error_rate_1 = p and error_rate_0 = p / 2 in both binary layers, batch 128, one thread.
"""

import time
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from bnn.binarize import clip_latent_
from bnn.errors import WriteErrors
from bnn.layers import activation_memories
from bnn.models import lenet4, mlp

RATES = (1e-6, 1e-4, 1e-3, 1e-2, 1e-1, 0.5)


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


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def training_step(model, x, y):
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)

    def step():
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        clip_latent_(model)

    return step


def least_seconds(steps, rounds):
    """Thread CPU time of each step, the least of interleaved rounds."""
    least = [float("inf")] * len(steps)
    for _ in range(rounds):
        for i, step in enumerate(steps):
            started = time.thread_time()
            step()
            least[i] = min(least[i], time.thread_time() - started)
    return least


def shares(build, x, rate, rounds):
    y = torch.arange(len(x)) % 10
    makes = {
        "share_by_key": lambda: WriteErrors(error_rate_0=rate / 2, error_rate_1=rate, seed=1, path="numba"),
        "share_in_torch": lambda: WriteErrors(error_rate_0=rate / 2, error_rate_1=rate, seed=1, path="torch"),
        "share_of_a_torch_rand_mask": lambda: DenseMask(rate / 2, rate),
    }
    models = [build(seed=1) for _ in range(4)]
    for model, make in zip(models[1:], makes.values(), strict=True):
        for layer in activation_memories(model).values():
            layer.activation_memory = make()
    steps = [training_step(model, x, y) for model in models]
    clean, *others = least_seconds(steps, rounds)
    return steps[1], {name: (own - clean) / own for name, own in zip(makes, others, strict=True)}


@pytest.mark.parametrize("rate", RATES)
def test_share_of_a_lenet4_training_step(benchmark, rate):
    x = torch.randn(128, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    step, ratios = shares(lenet4, x, rate, 12)
    benchmark.extra_info.update(rate=rate, **ratios)
    benchmark.pedantic(step, rounds=5)


@pytest.mark.parametrize("rate", RATES)
def test_share_of_the_digits_mlp_training_step(benchmark, rate):
    x = torch.randn(64, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    step, ratios = shares(mlp, x, rate, 200)
    benchmark.extra_info.update(rate=rate, **ratios)
    benchmark.pedantic(step, rounds=50)


@pytest.mark.parametrize("rate", [*RATES, 0.5])
@pytest.mark.parametrize("cells", [16_384, 368_640])
def test_write_against_a_torch_rand_mask(benchmark, cells, rate):
    x = torch.ones(cells)
    x[::2] = -1.0
    sparse = partial(WriteErrors(error_rate_0=rate / 2, error_rate_1=rate, seed=1), x)
    dense = partial(DenseMask(rate / 2, rate), x)
    a, b = least_seconds([sparse, dense], 50)
    benchmark.extra_info.update(cells=cells, rate=rate, times_faster_than_a_mask=b / a)
    benchmark.pedantic(sparse, rounds=20)
