"""Transitions of discrete weights: nanoseconds a weight, and times of the same rule in plain torch."""

import numpy as np
import pytest
import torch

from bnn.optimizers.transition_kernels import by_table, by_tanh

pytestmark = pytest.mark.usefixtures("one_torch_thread")


def weights(n):
    rng = np.random.default_rng(1)
    return rng.integers(-1, 2, n).astype(np.float32), (0.1 * rng.standard_normal(n)).astype(np.float32), rng


def measured(benchmark, n, seconds):
    own, torch_ = seconds
    benchmark.extra_info.update(nanoseconds_a_weight=own / n * 1e9, times_torch=torch_ / own)


def test_transitions_by_tanh(benchmark, sized, least_seconds):
    """A million ternary weights, one pass, against six operations of torch."""
    n = sized(1_000_000, 1000)
    states, wanted, _ = weights(n)
    counts, w, delta = np.zeros(2, np.int64), torch.from_numpy(states.copy()), torch.from_numpy(wanted)
    generator = torch.Generator().manual_seed(1)

    def in_torch():
        size = delta.abs()
        kappa = size.floor()
        jump = torch.rand(n, generator=generator) < torch.tanh(3.0 * (size - kappa))
        w.add_(delta.sign() * (kappa + jump)).clamp_(-1.0, 1.0)

    def own():
        return by_tanh(states, wanted, np.uint64(1), np.float32(1.0), counts)

    measured(benchmark, n, least_seconds([own], 7, peers=[in_torch]))
    assert not benchmark.pedantic(own, rounds=5)


@pytest.mark.parametrize("types", [256, 4096])
def test_transitions_by_pulses(benchmark, sized, least_seconds, types):
    """64 pulses, a probability for each pulse and type of cell; every weight is of its own type."""
    n = sized(1_000_000, 1000)
    states, wanted, rng = weights(n)
    edges = np.linspace(0.0, 1.0, 65)[1:64].astype(np.float32)
    table = (rng.random(types * 64) * 2**31).astype(np.uint32)
    kinds, counts = rng.integers(0, types, n).astype(np.uint16), np.zeros(2, np.int64)
    w, delta, generator = torch.from_numpy(states.copy()), torch.from_numpy(wanted), torch.Generator().manual_seed(1)
    of_all, place = torch.from_numpy(table.astype(np.float32) / 2**31), torch.from_numpy(kinds.astype(np.int64)) * 64
    bounds = torch.from_numpy(edges)

    def in_torch():
        size = delta.abs()
        kappa = size.floor()
        chance = of_all[place + torch.bucketize(size - kappa, bounds, right=True)]
        w.add_(delta.sign() * (kappa + (torch.rand(n, generator=generator) < chance))).clamp_(-1.0, 1.0)

    def own():
        return by_table(states, wanted, np.uint64(1), np.float32(1.0), edges, table, kinds, counts)

    measured(benchmark, n, least_seconds([own], 7, peers=[in_torch]))
    assert not benchmark.pedantic(own, rounds=5)
