"""What packing gains: ratios of thread CPU time in one process, one thread, the least of interleaved rounds."""

import time
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from bnn.evaluation.accuracy import evaluate
from bnn.layers.binary import BinaryConv2d, BinaryLinear
from bnn.models import lenet4
from bnn.packed.products import BinaryProduct
from bnn.packed.steps import Step, packed_signs, run_float
from bnn.packed.trace import pack

pytestmark = pytest.mark.usefixtures("one_torch_thread")


def products(packed):
    """The products of a packed model of two layers: to the bits of the next layer, and to numbers."""
    first, second = (BinaryProduct(step, step.arrays["weight"]) for step in packed.steps if step.op == "binary")
    assert "threshold" in first.step.arrays
    assert "threshold" not in second.step.arrays
    return first, second


@pytest.mark.parametrize("inputs", [784, 1024])
def test_binary_matrix_product_against_mkl(benchmark, sized, least_seconds, inputs):
    """10,000 rows times (inputs, 1024), against torch's float32 product of the same values."""
    x = torch.randn(sized(10_000, 70), inputs, generator=torch.Generator().manual_seed(0)).sign_()
    layers = [BinaryLinear(inputs, 1024, seed=1), nn.BatchNorm1d(1024), BinaryLinear(1024, 1024, seed=2)]
    to_bits, _ = products(pack(nn.Sequential(*layers).eval()))
    to_numbers = BinaryProduct(Step("binary", (-1,), {"shape": [1024, inputs]}), to_bits.rows)  # the same, not folded
    weight = layers[0].weight.detach().sign().T.contiguous()
    bits = packed_signs(x)
    runs = [lambda: to_bits(bits), lambda: to_numbers(bits)]
    folded, numbers, mkl = least_seconds(runs, 9, peers=[lambda: x @ weight])
    benchmark.extra_info.update(inputs=inputs, times_mkl_to_bits=mkl / folded, times_mkl_to_numbers=mkl / numbers)
    benchmark.pedantic(runs[0], rounds=5)
    assert torch.equal(to_numbers(bits), x @ weight)


@pytest.mark.parametrize(("channels", "side", "images"), [(64, 32, 16), (64, 16, 32), (128, 16, 32), (256, 8, 64)])
def test_binary_convolution_against_conv2d(benchmark, sized, least_seconds, channels, side, images):
    """3 x 3, padding 1, against torch's float32 conv2d of the same values in the faster of its memory formats."""
    conv = BinaryConv2d(channels, channels, 3, padding=1, seed=1)
    to_bits, to_numbers = products(pack(nn.Sequential(conv, nn.BatchNorm2d(channels), conv).eval()))
    x = torch.randn(sized(images, 1), channels, side, side, generator=torch.Generator().manual_seed(0)).sign_()
    weight, bits = conv.weight.detach().sign(), packed_signs(x)
    last = torch.channels_last
    xl, weightl = x.contiguous(memory_format=last), weight.contiguous(memory_format=last)
    peers = [lambda: F.conv2d(x, weight, padding=1), lambda: F.conv2d(xl, weightl, padding=1)]
    runs = [lambda: to_bits(bits), lambda: to_numbers(bits)]
    folded, numbers, first, second = least_seconds(runs, 15, peers=peers)
    torch_ = min(first, second)
    benchmark.extra_info.update(
        channels=channels, side=side, times_conv2d_to_bits=torch_ / folded, times_conv2d_to_numbers=torch_ / numbers
    )
    benchmark.pedantic(runs[0], rounds=5)
    assert torch.equal(to_numbers(bits), peers[0]())


@pytest.mark.parametrize("rate", [1e-3, 1e-2, 1e-1])
def test_dies_of_a_perceptron(benchmark, sized, least_seconds, rate):
    """784-1024-1024-10 on binary inputs, 10,000 images; every weight and every activation written with errors."""
    sizes, layers = sized((784, 1024, 1024, 10), (784, 128, 128, 10)), []
    for k in range(3):
        layers += [BinaryLinear(sizes[k], sizes[k + 1], seed=k), nn.BatchNorm1d(sizes[k + 1])]
    model = nn.Sequential(*layers).eval()
    packed = pack(model)
    images = sized(10_000, 64)
    x = torch.randn(images, 784, generator=torch.Generator().manual_seed(0)).sign_()
    data = SimpleNamespace(labels=np.zeros(images, np.int64), scaled=lambda: x.numpy())
    errors = SimpleNamespace(error_rate_0=rate, error_rate_1=rate)

    def dies(count):
        return lambda: packed.evaluate_dies(data, errors=errors, weight_errors=errors, dies=count)

    def in_torch():
        with torch.no_grad():
            model(x)

    one, nine, clean = least_seconds([dies(1)], 3, peers=[dies(9), in_torch])
    per_die = (nine - one) / 8  # the images are packed once, however many dies there are
    benchmark.extra_info.update(
        rate=rate, dies_per_core_second=1 / per_die, times_a_clean_pass_in_torch=clean / per_die
    )
    assert len(benchmark.pedantic(dies(1), rounds=3).correct) == 1


@pytest.mark.parametrize("rate", [1e-3, 1e-1])
def test_evaluation_of_lenet4_on_packed_bits(benchmark, sized, rate):
    """`bnn.evaluate` with activation errors, 10,000 images: seconds of a draw in torch over those on packed bits."""
    model, images = lenet4(seed=1).eval(), sized(10_000, 64)
    x = torch.randn(images, 1, 28, 28, generator=torch.Generator().manual_seed(0)).numpy()
    run = partial(evaluate, model, (x, np.arange(images) % 10), errors=(rate / 2, rate))

    def seconds(method):
        found = []
        for draws in (1, 5) if benchmark.enabled else (1,):
            started = time.thread_time()
            assert run(draws=draws, method=method).method == method
            found.append(time.thread_time() - started)
        return found

    seconds("packed")
    (packed, packed_5), (torch_, torch_5) = (np.resize(seconds(method), 2) for method in ("packed", "torch"))
    if benchmark.enabled:
        times = {"draw": (torch_5 - torch_) / (packed_5 - packed), "one_draw": torch_ / packed, "5": torch_5 / packed_5}
        benchmark.extra_info.update(rate=rate, **{f"times_torch_{name}": ratio for name, ratio in times.items()})
    assert benchmark.pedantic(partial(run, draws=1, method="packed"), rounds=1).draws == 1


def test_max_pool_of_real_values(benchmark, sized, least_seconds):
    """2 x 2 windows of the outputs of a first layer, as in a packed LeNet-4, over torch's function."""
    x = torch.randn(sized(1024, 8), 20, 24, 24, generator=torch.Generator().manual_seed(0))
    window = {"kernel_size": 2, "stride": 2, "padding": 0, "dilation": 1, "ceil_mode": False}
    step = Step("max_pool2d", (-1,), window)
    own, torch_ = least_seconds([lambda: run_float(step, x)], 5, peers=[lambda: F.max_pool2d(x, **window)])
    benchmark.extra_info.update(times_torch=torch_ / own)
    assert torch.equal(benchmark.pedantic(run_float, (step, x), rounds=5), F.max_pool2d(x, **window))
