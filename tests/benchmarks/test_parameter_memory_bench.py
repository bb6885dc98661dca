"""What it costs to keep 25 million parameters in error-prone words, beside the fused Adam step that updates them.

The share is what `memory.update()` takes beyond the step within it, of that step: thread CPU time, one thread, each the
least of interleaved rounds. Twenty tensors, as a network has them.
"""

import time

import pytest
import torch
from torch import nn

from bnn.training.parameter_memory import ParameterMemory
from bridge.memory.protection import Protection
from bridge.write import OperatingPoint

TENSORS, WORDS = 20, 25_000_000


pytestmark = pytest.mark.usefixtures("one_torch_thread")


def parameters(words):
    stream = torch.Generator().manual_seed(0)
    tensors = [torch.randn(words // TENSORS, generator=stream) * 0.1 for _ in range(TENSORS)]
    model = nn.ParameterList(nn.Parameter(tensor) for tensor in tensors)
    for parameter in model:
        parameter.grad = torch.randn(parameter.shape, generator=stream) * 0.01
    return model


@pytest.fixture
def measured(benchmark, sized):
    """Record the least seconds of an Adam step and of what the memory adds to it, round by round."""

    def measure(rounds, **arguments):
        model = parameters(sized(WORDS, 2000))
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
        memory = ParameterMemory(model, **arguments)
        memory.bind(optimizer)
        least = [float("inf")] * 2

        def update():
            began = time.thread_time()
            with memory.update():
                entered = time.thread_time()
                optimizer.step()
                stepped = time.thread_time()
            ended = time.thread_time()
            for i, spent in enumerate((stepped - entered, ended - stepped + entered - began)):
                least[i] = min(least[i], spent)

        for _ in range(sized(rounds, 1)):
            update()
        step, own = least
        benchmark.extra_info.update(adam_milliseconds=step * 1e3, own_milliseconds=own * 1e3, share_of_adam=own / step)
        benchmark.pedantic(update, rounds=3)
        assert all(parameter.isfinite().float().mean() > 0.9 for parameter in model)  # errors make a few of them inf

    return measure


@pytest.mark.parametrize("rate", [1e-8, 1e-6, 1e-5, 1e-4])
@pytest.mark.parametrize("errors", ["overwrite", "independent"])
def test_fp32_words_in_place(measured, errors, rate):
    point = OperatingPoint.of_rates(error_rate_0=rate, error_rate_1=rate / 2)
    measured(25, point=point, errors=errors, format="fp32", seed=1)


@pytest.mark.parametrize("protection", ["none", "parity", "range", "secded"])
def test_fp32_words_protected(measured, protection):
    guard = Protection("range", limit=10.0) if protection == "range" else Protection(protection)
    point = OperatingPoint.of_rates(error_rate_0=1e-6, error_rate_1=1e-6)
    measured(25, point=point, protection=guard, seed=1)


@pytest.mark.parametrize("rounding", ["nearest", "stochastic"])
@pytest.mark.parametrize("errors", ["overwrite", "independent"])
@pytest.mark.parametrize("name", ["bf16", "fp16", "int8"])
def test_other_words(measured, name, errors, rounding):
    point, scale = OperatingPoint.of_rates(error_rate_0=1e-6, error_rate_1=1e-6), 1 / 127 if name == "int8" else None
    measured(25, point=point, format=name, scale=scale, errors=errors, rounding=rounding, seed=1)


@pytest.mark.parametrize("name", ["bf16", "int8"])
@pytest.mark.parametrize("protection", ["range", "secded"])
def test_other_words_protected(measured, name, protection):
    guard = Protection("range", limit=10.0) if protection == "range" else Protection(protection)
    point, scale = OperatingPoint.of_rates(error_rate_0=1e-6, error_rate_1=1e-6), 1 / 127 if name == "int8" else None
    measured(25, point=point, format=name, scale=scale, protection=guard, seed=1)


@pytest.mark.parametrize("name", ["fp32", "bf16"])
def test_moments_of_adam_too(measured, name):
    point = OperatingPoint.of_rates(error_rate_0=1e-6, error_rate_1=1e-6)
    measured(25, point=point, format=name, holds=("weights", "optimizer"), protection="parity", seed=1)
