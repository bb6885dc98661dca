"""The comparisons and interruptions that the tests of `bnn` share, where they must say no."""

from types import SimpleNamespace

import pytest
import torch

from networks import Interruption, binary_mlp, interrupt_at, measured_mlp, rates, same_state


def test_same_state_sees_one_changed_bit_and_the_statistics():
    a, b = binary_mlp(), binary_mlp()
    assert same_state(a, b)
    assert not same_state(a, measured_mlp())
    weight = b[1].weight.detach()
    weight[0, 0] = torch.nextafter(weight[0, 0], torch.tensor(2.0))
    assert not same_state(a, b)


def test_an_interruption_is_at_its_place_only():
    callback = interrupt_at(step=3)
    callback(SimpleNamespace(step=2, epoch=3))
    with pytest.raises(Interruption):
        callback(SimpleNamespace(step=3, epoch=0))


def test_one_rate_is_that_of_both_bits():
    assert (rates(0.2).error_rate_1, rates(0.2, 0.0).error_rate_1) == (0.2, 0.0)
