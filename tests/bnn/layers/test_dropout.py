import copy

import pytest
import torch

from bnn.layers.binary import BinaryLinear
from bnn.layers.dropout import SeededDropout
from bnn.layers.quantizers import ste_sign
from physics import within_binomial


def test_the_dropped_share_is_binomial_and_the_rest_is_scaled():
    """100,000 values; the interval is missed with 1e-6."""
    state = torch.get_rng_state()
    x = torch.full((100, 1000), 3.0)
    for rate in (0.1, 0.5, 0.9):
        out = SeededDropout(rate, seed=2)(x)
        assert within_binomial(int((out == 0).sum()), x.numel(), rate)
        torch.testing.assert_close(out[out != 0], torch.full_like(out[out != 0], 3.0 / (1 - rate)))
    assert torch.equal(torch.get_rng_state(), state)


def test_each_pass_drops_others_and_evaluation_drops_nothing():
    dropout, x = SeededDropout(0.5, seed=1), torch.ones(4, 50)
    assert not torch.equal(dropout(x), dropout(x))
    assert dropout.eval()(x) is x
    assert SeededDropout(0.0, seed=1)(x) is x


def test_the_mask_belongs_to_the_sample():
    dropout, x = SeededDropout(0.5, seed=1), torch.ones(6, 40)
    dropout.address(step=3, samples=torch.arange(10, 16))
    whole = dropout(x)
    parts = []
    for part in (torch.arange(10, 12), torch.arange(12, 16)):
        dropout.address(step=3, samples=part)
        parts.append(dropout(x[: len(part)]))
    assert torch.equal(whole, torch.cat(parts))
    dropout.address(step=4, samples=torch.arange(10, 16))
    assert not torch.equal(dropout(x), whole)


def test_the_gradient_is_the_mask():
    x = torch.ones(3, 20, requires_grad=True)
    out = SeededDropout(0.5, seed=1)(x)
    out.sum().backward()
    assert torch.equal(x.grad, out.detach())


def test_the_stream_resumes():
    dropout, x = SeededDropout(0.5, seed=1), torch.ones(3, 40)
    dropout(x)
    other, copied = SeededDropout(0.5, seed=1), copy.deepcopy(dropout)
    other.load_state_dict(dropout.state_dict())
    expected = dropout(x)
    assert torch.equal(other(x), expected)
    assert torch.equal(copied(x), expected)
    dropout.reseed(9)
    assert torch.equal(dropout(x), SeededDropout(0.5, seed=9)(x))


def test_in_a_layer_it_acts_on_what_was_read():
    layer = BinaryLinear(40, 3, seed=1, dropout=SeededDropout(0.5, seed=1))
    plain, x = BinaryLinear(40, 3, seed=1), torch.ones(5, 40)
    layer.dropout.address(step=0, samples=torch.arange(5))
    bits = SeededDropout(0.5, seed=1)
    bits.address(step=0, samples=torch.arange(5))
    assert torch.equal(layer(x), bits(x) @ ste_sign(layer.weight).T)
    assert torch.equal(layer.eval()(x), plain(x))
    assert "SeededDropout(rate=0.5, seed=1, layer=0)" in repr(layer)
    with pytest.raises(ValueError, match=r"rate must be in \[0, 1\)"):
        SeededDropout(1.0, seed=1)
