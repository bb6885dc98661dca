"""Errors drawn by key: the law at every rate, and that a sample's draw depends on its key alone.

Statistical tests have fixed seeds and a false-alarm chance of 1e-6, two-sided.
"""

from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib.stride_tricks import as_strided
from scipy import stats

from bnn.errors.kernels import FREQUENT, sample_keys, thresholds, write_bits, write_frequent, write_packed, write_rare
from bnn.errors.keys import address
from bnn.errors.write_errors import WriteErrors
from bnn.models import lenet4
from physics import FALSE_ALARM, within_binomial

ROOT = np.uint64(2026)


def keys(n, step=0, layer=0):
    return sample_keys(ROOT, layer, step, np.arange(n))


def written(x, own, p01, p10):
    """Write x to new cells."""
    out = np.empty_like(x)
    assert not write_bits(x, own, p01, p10, out=out)
    return out


def test_a_rate_that_is_an_int_is_that_of_every_cell():
    """Not an array of one cell, behind which other memory would be read."""
    x = np.where(np.arange(1000) % 3 == 0, 1.0, -1.0).astype(np.float32).reshape(1, -1)
    assert np.array_equal(written(x, keys(1), 1, 0), np.full_like(x, -1.0))
    assert not write_packed(packed(x), 1000, keys(1), 1, 0.0)[0, :15].any()


@pytest.mark.parametrize("p", [1e-9, 1e-6, 1e-15])
def test_the_count_of_rare_errors(p):
    """Thirty errors expected among 3e10, 3e7 and 3e16 cells, which are one float: nothing is copied."""
    cells = round(30 / p)
    n = 1000
    shared = np.ones(1, np.float32).view(np.uint32)
    x, out = (as_strided(a, (n, cells // n), (0, 0)) for a in (shared, shared.copy()))
    count = write_rare(x, out, None, None, keys(n), p, p, p)
    low, high = stats.poisson.ppf([FALSE_ALARM / 2, 1 - FALSE_ALARM / 2], 30)
    assert low <= count <= high


def packed(x):
    """Pack +-1, (n, f): cell k is bit k % 64 of word k // 64; the padding is set in every other sample."""
    words = np.zeros((len(x), -(-x.shape[1] // 64)), np.uint64)
    for k in range(64 * words.shape[1]):
        bit = x[:, k] > 0 if k < x.shape[1] else np.arange(len(x)) % 2 == 1
        words[:, k // 64] |= bit.astype(np.uint64) << np.uint64(k % 64)
    return words


LAWS = [(0.3, 0.5), (1e-3, 2e-3), (0.5, 1e-3), (1e-3, 1e-6), (0.97, 0.0), (1e-3, 0.0)]


@pytest.mark.parametrize(
    ("kernel", "p01", "p10"),
    [(kernel, *law) for kernel in ("rare", "frequent", "each") for law in LAWS]
    + [("frequent", 1.0, 1.0), ("each", 1.0, 1.0), ("each", 0.01, 1.0)],  # distances are for rates below 1
)
def test_every_kernel_has_the_law(kernel, p01, p10):
    """4e6 cells of each sign: catches 0.4 % at 0.3, 8 % at 1e-3."""
    x = np.where(np.arange(8_000_000).reshape(1000, 8000) % 3 % 2, 1, -1).astype(np.float32)
    out = x.copy()
    bits, written = x.view(np.uint32), out.view(np.uint32)
    if kernel == "rare":
        assert write_rare(bits, written, None, None, keys(1000), p01, p10, max(p01, p10)) == (out != x).sum()
    elif kernel == "frequent":
        assert not write_frequent(bits, written, None, None, keys(1000), *thresholds(p01, p10))
    else:
        write_bits(x, keys(1000), np.full((1, 8000), p01), np.full((1, 8000), p10), out=out)
    wrong = out != x
    assert (out[wrong] == -x[wrong]).all()
    for sign, p in ((1, p01), (-1, p10)):
        assert within_binomial(int(wrong[x == sign].sum()), int((x == sign).sum()), p)


@pytest.mark.parametrize(("p01", "p10"), [(0.0, 1e-6), (1e-6, 0.02), (1e-6, 1e-2)])
def test_the_rate_of_one_direction_beside_a_larger_one(p01, p10):
    """3e8 cells of each sign, of one row, with the frequent kernel too: 300 errors at 1e-6, catches 28 %."""
    x = np.ones((1, 1_000_000), np.float32)
    x[:, ::2] = -1
    count = np.zeros(2, np.int64)
    out = np.empty_like(x)
    for step in range(600):
        write_bits(x, keys(1, step), p01, p10, out=out)
        wrong = out != x
        count += wrong[:, 1::2].sum(), wrong[:, ::2].sum()
    for found, p in zip(count.tolist(), (p01, p10), strict=True):
        assert within_binomial(found, 300_000_000, p)


RATES = st.one_of(st.sampled_from([0.0, 1e-3, 0.019, FREQUENT, 0.5, 1.0]), st.floats(0.0, 1.0))


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 6), st.integers(1, 300), RATES, RATES, st.integers(0, 2**32), st.booleans())
def test_packed_bits_are_hit_where_their_numbers_are(n, cells, p01, p10, seed, each):
    x = np.where(np.random.default_rng(seed).random((n, cells)) < 0.5, 1, -1).astype(np.float32)
    rates = (p01, p10)
    if each:  # those of two samples, in turn
        rates = tuple(np.random.default_rng(seed + i).random((2, cells)) * p for i, p in enumerate(rates))
    own = sample_keys(np.uint64(seed), 0, 0, np.arange(n))
    words = packed(x)
    before = words.copy()
    expected = written(x, own, *rates)
    assert (write_packed(words, cells, own, *rates) == packed(expected)).all()
    assert (words == before).all()
    write_packed(words, cells, own, *rates, out=words)
    assert (words == packed(expected)).all()


@pytest.mark.parametrize("p", [1e-3, 0.3])
def test_equal_rates_of_cells_hit_what_one_rate_hits(p):
    x = np.ones((500, 333), np.float32)
    each = written(x, keys(500), np.full((1, 333), p), np.full((1, 333), p))
    assert (each == written(x, keys(500), p, p)).all()


def test_the_slow_decision_where_a_part_equals_the_threshold():
    """2^16 p = 0.5: all that errs is decided by the 53 bits more, one cell in 131,072. 3e7 cells catch 33 %."""
    x = np.ones((1000, 30_000), np.float32)
    p = 0.5 / 65536
    out = np.empty_like(x)
    write_frequent(*(a.view(np.uint32) for a in (x, out)), None, None, keys(1000), *thresholds(p, 1.0))
    assert within_binomial(int((out < 0).sum()), 30_000_000, p)


@pytest.mark.parametrize("p", [1e-2, 0.3])
def test_errors_are_uniform_over_cells_and_samples_and_independent(p):
    x = np.ones((20_000, 64), np.float32)
    wrong = written(x, keys(20_000), p, p) < 0
    assert stats.chisquare(wrong.sum(axis=0)).pvalue > FALSE_ALARM
    assert within_binomial(int((wrong[:, :-1] & wrong[:, 1:]).sum()), 20_000 * 63, p * p)
    assert within_binomial(int((wrong[:-1] & wrong[1:]).sum()), 19_999 * 64, p * p)
    per_sample = np.bincount(wrong.sum(axis=1), minlength=65)
    expected = 20_000 * stats.binom.pmf(np.arange(65), 64, p)
    common = expected > 10
    observed, expected = per_sample[common], expected[common]
    assert ((observed - expected) ** 2 / expected).sum() < stats.chi2.isf(FALSE_ALARM, common.sum())


def test_steps_and_layers_are_independent():
    x = np.ones((1000, 1000), np.float32)
    draws = [written(x, keys(1000, step, layer), 0.1, 0.1) < 0 for step in (0, 1) for layer in (0, 1)]
    for i in range(4):
        for j in range(i):
            assert within_binomial(int((draws[i] & draws[j]).sum()), 1_000_000, 0.01)


def test_each_cell_has_its_own_rate():
    x = np.ones((20_000, 5), np.float32)
    x[:, 3] = -1
    p01, p10 = np.array([0.0, 0.1, 0.9, 0.5, 1.0]), np.array([1.0, 1.0, 1.0, 0.2, 1.0])
    wrong = written(x, keys(20_000), p01[None], p10[None]) != x
    for cell, p in enumerate([0.0, 0.1, 0.9, 0.2, 1.0]):
        assert within_binomial(int(wrong[:, cell].sum()), 20_000, p)


@pytest.mark.parametrize("p", [FREQUENT / 2, 0.3])
def test_a_sample_is_written_alike_in_any_batch(p):
    x = torch.where(torch.rand(60, 3, 5, 5, generator=torch.Generator().manual_seed(0)) < 0.5, 1.0, -1.0)
    ids = np.random.default_rng(0).permutation(1000)[:60]
    memory = WriteErrors(error_rate_0=p, error_rate_1=p / 2, seed=4)

    def written(part, order=None):
        memory.address(step=7, samples=ids[part])
        return memory(x[part])

    whole = written(np.arange(60))
    split = torch.cat([written(np.arange(60)[part]) for part in (slice(0, 7), slice(7, 50), slice(50, 60))])
    assert torch.equal(split, whole)
    order = np.random.default_rng(1).permutation(60)
    assert torch.equal(written(order), whole[order])
    channels_last = x.contiguous(memory_format=torch.channels_last)
    memory.address(step=7, samples=ids)
    assert torch.equal(memory(channels_last), whole)


def test_a_networks_layers_differ_and_its_gradients_add_up_over_parts():
    """Two halves of a batch, as two processes would have them: the same errors, so the same sum of gradients."""
    point = {"error_rate_0": 0.05, "error_rate_1": 0.1}
    model = lenet4(seed=0, activation_memory=partial(WriteErrors, **point)).eval()
    x = torch.rand(8, 1, 28, 28, generator=torch.Generator().manual_seed(1))
    ids = torch.arange(100, 108)

    def gradients(parts):
        model.zero_grad()
        for part in parts:
            address(model, step=5, samples=ids[part])
            model(x[part]).square().sum().backward()
        return torch.cat([p.grad.flatten() for p in model.parameters()])

    whole, halves = gradients([slice(0, 8)]), gradients([slice(0, 4), slice(4, 8)])
    assert torch.allclose(whole, halves, rtol=1e-4, atol=1e-6 * float(whole.abs().max()))


def test_an_address_of_another_batch_is_refused():
    memory = WriteErrors(error_rate_0=0.1, error_rate_1=0.1, seed=4)
    memory.address(step=0, samples=np.arange(3))
    with pytest.raises(
        ValueError, match=r"samples must name each of the 2 samples that are written, got 3\. A layer writes every"
    ):
        memory(torch.ones(2, 5))


def test_unknown_path():
    with pytest.raises(ValueError, match="path must be one of 'auto', 'numba', 'torch'"):
        WriteErrors(error_rate_0=0.1, error_rate_1=0.1, seed=4, path="cuda")
