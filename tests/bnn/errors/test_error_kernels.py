"""Errors drawn by key: the law at every rate, and that a sample's draw depends on its key alone.

Statistical tests have fixed seeds and a false-alarm chance of 1e-6, two-sided.
"""

from fractions import Fraction
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib.stride_tricks import as_strided
from scipy import stats

from bnn.errors.kernels import write_packed, write_samples
from bnn.errors.keys import address
from bnn.errors.uniforms import sample_keys
from bnn.errors.write_errors import WriteErrors
from bnn.models import lenet4
from physics import FALSE_ALARM, within_binomial

ROOT = np.uint64(2026)


def keys(n, step=0, layer=0):
    return sample_keys(ROOT, layer, step, np.arange(n))


def written(x, p01, p10, *, step=0, layer=0, root=ROOT):
    """Write x to new cells."""
    out = np.empty_like(x)
    assert not write_samples(x, root, layer, step, np.arange(len(x)), p01, p10, out=out)
    return out


def failures(n, cells, p, step=0):
    """Packed cells of +1 whose write fails, (n, w), without an array of the cells: the words are one word."""
    words = as_strided(np.full(1, ~np.uint64(0)), (n, -(-cells // 64)), (0, 0))
    return words ^ write_packed(words, cells, keys(n, step), p, 0.0)


# ---- u, place by place, in plain NumPy -------------------------------------------------------------------------------


def hashed(z, b):
    z, b = np.asarray(z, np.uint64), np.asarray(b, np.uint64)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9) + b
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def places(key, block, place):
    """Word of 64 cells: bit j is the place (0, 1 ...) of the binary u of cell 64 block + j; broadcasts."""
    key, block, place = (np.asarray(a, np.uint64) for a in (key, block, place))
    golden = np.uint64(0x9E3779B97F4A7C15)
    with np.errstate(over="ignore"):
        a, b = hashed(key, 0), hashed(key + golden, 0)
        return hashed(a + (block * np.uint64(2049) + place) * golden, b)


def exact(key, cell, count=1100):
    """The first places of u of one cell, as a fraction."""
    bits = (places(key, cell // 64, np.arange(count)) >> np.uint64(cell % 64)) & np.uint64(1)
    return Fraction(int("".join(map(str, bits.tolist())), 2), 2**count)


def test_a_cell_fails_where_u_is_below_its_rate():
    """Rates at and next to u, and tiny ones, against exact fractions; 1,100 places settle every float64."""
    own, cells = keys(6), 70
    rng = np.random.default_rng(1)
    rates, expected = np.empty((6, cells)), np.empty((6, cells), bool)
    for i in range(6):
        for k in range(cells):
            u = exact(own[i], k)
            rates[i, k] = rng.choice([float(u), np.nextafter(float(u), 0), np.nextafter(float(u), 1), float(u) / 3,
                                      1e-15, 5e-324, 2.0**-8, 0.0, 1.0, min(1.0, 3 * float(u))])  # fmt: skip
            expected[i, k] = u < Fraction(rates[i, k])
    assert 0.2 < expected.mean() < 0.8
    for bit, both in ((1.0, (rates, 0.0)), (-1.0, (0.0, rates))):
        x = np.full((6, cells), bit, np.float32)
        assert np.array_equal(written(x, *both) != x, expected)
    for _ in range(300):  # one rate of all cells
        i, k = rng.integers(6), rng.integers(cells)
        assert (written(np.ones((6, cells), np.float32), rates[i, k], 0.0)[i, k] < 0) == expected[i, k]


NESTED = [
    0.0,
    5e-324,
    1e-300,
    1e-15,
    1e-9,
    1e-6,
    1e-4,
    1e-3,
    0.0039,
    2.0**-8,
    0.004,
    0.02,
    0.1,
    0.3,
    0.5,
    0.7,
    0.99,
    1.0,
]


def test_a_cell_that_fails_at_a_rate_fails_at_every_larger_one():
    """In both directions, with one rate for all cells, with rates of cells and of the other bit; 120,000 cells."""
    x = np.where(np.random.default_rng(0).random((40, 3001)) < 0.5, 1, -1).astype(np.float32)
    former, counts = np.zeros(x.shape, bool), []
    for p in NESTED:
        failed = written(x, p, p) != x
        each = np.full((1, 3001), p)
        assert np.array_equal(written(x, each, p) != x, failed)
        assert (failed >= former).all()
        smaller = written(x, p, p / 2) != x
        assert (smaller <= failed).all()
        assert np.array_equal(smaller[x > 0], failed[x > 0])
        assert np.array_equal(written(-x, p / 2, p) != -x, smaller)  # u is that of the cell, not of the bit
        spread = written(x, each * np.random.default_rng(1).random((1, 3001)), p / 3) != x
        assert (spread <= failed).all()
        former = failed
        counts.append(int(failed.sum()))
    assert counts[0] == 0
    assert counts[-1] == x.size
    assert len(set(counts)) >= len(NESTED) - 5


def test_the_memory_is_nested_too():
    x = torch.where(torch.rand(50, 8, 9, generator=torch.Generator().manual_seed(0)) < 0.5, 1.0, -1.0)
    former = torch.zeros(x.shape, dtype=torch.bool)
    for p in (1e-3, 0.01, 0.1, 0.5, 0.9):
        failed = WriteErrors(error_rate_0=p, error_rate_1=p / 2, seed=4)(x) != x
        assert (failed >= former).all()
        assert failed.sum() > former.sum()
        former = failed


# ---- laws ------------------------------------------------------------------------------------------------------------


def test_a_rate_that_is_an_int_is_that_of_every_cell():
    """Not an array of one cell, behind which other memory would be read."""
    x = np.where(np.arange(1000) % 3 == 0, 1.0, -1.0).astype(np.float32).reshape(1, -1)
    assert np.array_equal(written(x, 1, 0), np.full_like(x, -1.0))
    assert not write_packed(packed(x), 1000, keys(1), 1, 0.0)[0, :15].any()


@pytest.mark.parametrize("p", [1e-6, 1e-8, pytest.param(1e-9, marks=pytest.mark.slow)])
def test_the_count_of_rare_errors(p):
    """Thirty errors expected among 3e7, 3e9 and 3e10 cells; catches a rate that is twice as high."""
    cells, steps = 1_000_000, round(30 / p / 30_000_000)
    count = sum(int(np.bitwise_count(failures(30, cells, p, step)).sum()) for step in range(steps))
    low, high = stats.poisson.ppf([FALSE_ALARM / 2, 1 - FALSE_ALARM / 2], 30)
    assert low <= count <= high


def test_places_after_the_sixteenth_are_uniform_too():
    """Of 3e8 cells those with u < 2^-16, some 4,578: the rest of u is uniform, each of its 64 places a fair coin.

    With the exact comparison this is the law at any smaller rate, such as 1e-15 (50 places). The Kolmogorov test
    catches 4 % of a share, each place 4 %.
    """
    own, tests = keys(300), 66
    found = np.nonzero(np.unpackbits(failures(300, 1_000_000, 2.0**-16).view(np.uint8), axis=1, bitorder="little"))
    assert within_binomial(len(found[0]), 300_000_000, 2.0**-16, tests)
    sample, cell = (a[:, None].astype(np.uint64) for a in found)
    words = places(own[sample.astype(int)], cell >> np.uint64(6), np.arange(80))
    bits = ((words >> (cell & np.uint64(63))) & np.uint64(1)).astype(float)
    assert not bits[:, :16].any()
    assert stats.kstest(bits[:, 16:] @ 0.5 ** np.arange(1, 65), "uniform").pvalue > FALSE_ALARM / tests
    assert all(within_binomial(int(ones), len(bits), 0.5, tests) for ones in bits[:, 16:].sum(axis=0))


LAGS = {"place": (0, 0, 1), "two places": (0, 0, 2), "block": (0, 1, 0), "sample": (1, 0, 0), "all": (1, 1, 1)}


@pytest.mark.parametrize("lag", LAGS)
def test_words_of_neighbours_are_independent(lag):
    """100 samples, 100 blocks, 20 places, 1.2e7 pairs of bits: a correlation of 0.0015 is seen, and equal bytes too."""
    words = places(keys(101)[:, None, None], np.arange(101)[:, None], np.arange(22))
    i, j, k = LAGS[lag]
    differing = words[:100, :100, :20] ^ words[i : 100 + i, j : 100 + j, k : 20 + k]
    assert within_binomial(int(np.bitwise_count(differing).sum()), 64 * differing.size, 0.5, 2)
    by_cell = np.unpackbits(differing.reshape(-1, 1).view(np.uint8), axis=1, bitorder="little").sum(axis=0)
    assert all(within_binomial(int(count), differing.size, 0.5, 128) for count in by_cell)


def test_no_word_is_drawn_twice():
    """Keys that differ by a little, blocks and places: 1e6 words, whose chance of two equal ones is 3e-8."""
    own = np.concatenate([sample_keys(root, layer, step, np.arange(50)) for root in (0, 1) for layer in (0, 1)
                          for step in (0, 1)])  # fmt: skip
    words = places(own[:, None, None], np.arange(50)[:, None], np.arange(50))
    assert len(np.unique(words)) == words.size


def packed(x):
    """Pack +-1, (n, f): cell k is bit k % 64 of word k // 64; the padding is set in every other sample."""
    words = np.zeros((len(x), -(-x.shape[1] // 64)), np.uint64)
    for k in range(64 * words.shape[1]):
        bit = x[:, k] > 0 if k < x.shape[1] else np.arange(len(x)) % 2 == 1
        words[:, k // 64] |= bit.astype(np.uint64) << np.uint64(k % 64)
    return words


LAWS = [(0.3, 0.5), (1e-3, 2e-3), (0.5, 1e-3), (1e-3, 1e-6), (0.97, 0.0), (1e-3, 0.0)]


@pytest.mark.parametrize(("p01", "p10"), [*LAWS, (1.0, 1.0), (0.01, 1.0)])
@pytest.mark.parametrize("each", [False, True])
def test_every_rate_has_its_law(p01, p10, each):
    """4e6 cells of each sign: catches 0.4 % at 0.3, 8 % at 1e-3."""
    x = np.where(np.arange(8_000_000).reshape(1000, 8000) % 3 % 2, 1, -1).astype(np.float32)
    rates = (np.full((1, 8000), p01), np.full((1, 8000), p10)) if each else (p01, p10)
    out = written(x, *rates)
    wrong = out != x
    assert (out[wrong] == -x[wrong]).all()
    for sign, p in ((1, p01), (-1, p10)):
        assert within_binomial(int(wrong[x == sign].sum()), int((x == sign).sum()), p)


@pytest.mark.parametrize(("p01", "p10"), [(0.0, 1e-6), (1e-6, 0.02), (1e-6, 1e-2)])
def test_the_rate_of_one_direction_beside_a_larger_one(p01, p10):
    """3e8 cells of each sign, of one row: 300 errors at 1e-6, catches 28 %."""
    x = np.ones((1, 1_000_000), np.float32)
    x[:, ::2] = -1
    count = np.zeros(2, np.int64)
    out = np.empty_like(x)
    for step in range(600):
        write_samples(x, ROOT, 0, step, np.arange(1), p01, p10, out=out)
        wrong = out != x
        count += wrong[:, 1::2].sum(), wrong[:, ::2].sum()
    for found, p in zip(count.tolist(), (p01, p10), strict=True):
        assert within_binomial(found, 300_000_000, p)


RATES = st.one_of(st.sampled_from([0.0, 1e-3, 2.0**-8, 0.5, 1.0]), st.floats(0.0, 1.0))


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
    expected = written(x, *rates, root=np.uint64(seed))
    assert (write_packed(words, cells, own, *rates) == packed(expected)).all()
    assert (words == before).all()
    write_packed(words, cells, own, *rates, out=words)
    assert (words == packed(expected)).all()


@pytest.mark.parametrize("p", [1e-3, 0.3])
def test_equal_rates_of_cells_hit_what_one_rate_hits(p):
    x = np.ones((500, 333), np.float32)
    each = written(x, np.full((1, 333), p), np.full((1, 333), p))
    assert (each == written(x, p, p)).all()


@pytest.mark.parametrize("p", [1e-2, 0.3])
def test_errors_are_uniform_over_cells_and_samples_and_independent(p):
    x = np.ones((20_000, 64), np.float32)
    wrong = written(x, p, p) < 0
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
    draws = [written(x, 0.1, 0.1, step=step, layer=layer) < 0 for step in (0, 1) for layer in (0, 1)]
    for i in range(4):
        for j in range(i):
            assert within_binomial(int((draws[i] & draws[j]).sum()), 1_000_000, 0.01)


def test_each_cell_has_its_own_rate():
    x = np.ones((20_000, 5), np.float32)
    x[:, 3] = -1
    p01, p10 = np.array([0.0, 0.1, 0.9, 0.5, 1.0]), np.array([1.0, 1.0, 1.0, 0.2, 1.0])
    wrong = written(x, p01[None], p10[None]) != x
    for cell, p in enumerate([0.0, 0.1, 0.9, 0.2, 1.0]):
        assert within_binomial(int(wrong[:, cell].sum()), 20_000, p)


@pytest.mark.parametrize("p", [0.01, 0.3])
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
