from functools import partial

import pytest
import torch

from bnn.errors.write_errors import WriteErrors
from bnn.layers.slots import activation_memories, weight_memories
from bnn.models import lenet4
from bnn.models.fast_lenet4 import fast_lenet4


def test_fast_lenet4_has_the_layers_of_lenet4():
    shapes = [
        [tuple(module.weight.shape) for module in model if hasattr(module, "weight_quantizer")]
        for model in (fast_lenet4(seed=1), lenet4(seed=1))
    ]
    assert shapes[0] == shapes[1]
    model = fast_lenet4(classes=7, seed=1)
    assert model(torch.zeros(2, 1, 28, 28)).shape == (2, 7)
    assert list(activation_memories(model)) == list(weight_memories(model)) == ["3", "7"]


def test_fast_lenet4_is_its_seed():
    a, b, c = (fast_lenet4(seed=seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not torch.equal(a["3.weight"], c["3.weight"])


def test_fast_lenet4_writes_what_it_says():
    written = []

    class Counting(torch.nn.Module):
        def forward(self, x):
            written.append(x[0].numel())
            assert set(x.unique().tolist()) <= {-1.0, 1.0}
            return x

    fast_lenet4(seed=1, activation_memory=lambda seed: Counting())(torch.randn(4, 1, 28, 28))
    assert written == [2880, 800]


@pytest.mark.parametrize("rate", [0.0, 0.3])
def test_memories_have_streams_of_their_own(rate):
    model = fast_lenet4(seed=3, activation_memory=partial(WriteErrors, error_rate_0=rate, error_rate_1=rate))
    seeds = {layer.activation_memory.seed for layer in activation_memories(model).values()}
    assert len(seeds) == 2
