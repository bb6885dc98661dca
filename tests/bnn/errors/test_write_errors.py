"""Counts against exact binomial laws.

Every statistical test below has a fixed seed and a false-alarm chance of 1e-6 (`FALSE_ALARM`), two-sided.
"""

import copy
import io
import math

import numpy as np
import pytest
import torch
from scipy import stats

from bnn.errors.bits import select
from bnn.errors.keys import address, forget_address
from bnn.errors.write_errors import WriteErrors
from bnn.streams import torch_generator
from networks import rates
from physics import FALSE_ALARM, within_binomial


def bits(n, seed=0):
    """Return n bits, half of them +1."""
    x = torch.ones(n)
    x[torch.randperm(n, generator=torch.Generator().manual_seed(seed))[: n // 2]] = -1.0
    return x


def flips(memory, x, writes):
    """Count the flips of +1 and of -1 in `writes` writes of x."""
    ones = zeros = 0
    for _ in range(writes):
        flipped = memory(x) != x
        ones += int((flipped & (x == 1)).sum())
        zeros += int((flipped & (x == -1)).sum())
    return ones, zeros


@pytest.mark.parametrize(
    # 5e5 bits of each sign. Smallest relative effect caught, 4.9 / sqrt(trials p / (1 - p)): 0.3 % at 0.5 (2e6),
    # 0.5 % at 0.3 (2e6), 3 % at 1e-2 (2e6), 40 % at 1e-6 (1.5e8), 0.1 % at 0.9 and 0.99 (2e6).
    ("rate_0", "rate_1", "writes"),
    [
        (0.5, 0.3, 4),
        (0.3, 0.5, 4),
        (0.3, 0.3, 4),
        (1e-2, 0.3, 4),
        (1e-2, 1e-2, 4),
        (1e-6, 1e-2, 300),
        (0.0, 1e-6, 300),
        (0.9, 1e-2, 4),
        (0.3, 0.99, 4),
        (0.9, 0.9, 4),
        (1.0, 0.5, 4),
    ],
)
@pytest.mark.parametrize("path", ["numba", "torch"])
def test_flipped_fraction_of_each_sign(rate_0, rate_1, writes, path):
    x = bits(1_000_000)
    memory = WriteErrors(error_rate_0=rate_0, error_rate_1=rate_1, seed=12, path=path)
    ones, zeros = flips(memory, x, writes)
    assert within_binomial(ones, writes * 500_000, rate_1)
    assert within_binomial(zeros, writes * 500_000, rate_0)


def test_negative_control_the_binomial_test_sees_swapped_rates():
    ones, _ = flips(WriteErrors(error_rate_0=0.3, error_rate_1=0.32, seed=12), bits(1_000_000), 4)
    assert not within_binomial(ones, 2_000_000, 0.3)


def selections(rate, seed, cells, writes):
    """Count positions drawn for `cells` bits without touching them (an expanded tensor takes no memory)."""
    x, stream = torch.ones(1).expand(cells), torch_generator(seed, "bit_writes")
    return [len(select(x, rate, stream)[0]) for _ in range(writes)]


def test_count_law_at_1e_9():
    # 20,000 writes of 1e6 bits: 2e10 trials, 20 expected, 3 to 46 accepted; catches a rate 2.5 times too high.
    counts = selections(1e-9, 3, 1_000_000, 20_000)
    assert within_binomial(sum(counts), 20_000 * 1_000_000, 1e-9)


def test_count_law_at_1e_15():
    # 1,000 writes of 2e16 bits: the mean is 20 a write, 20,000 in all; catches 3.5 %.
    total = sum(selections(1e-15, 5, 2 * 10**16, 1_000))
    low, high = stats.poisson.ppf([FALSE_ALARM / 2, 1 - FALSE_ALARM / 2], 20_000)
    assert low <= total <= high


def test_negative_control_a_float32_mask_fires_too_often_at_1e_9():
    # Why there is no dense mask: float32 uniforms are multiples of 2^-24, so "< 1e-9" means "== 0", 6e-8.
    # 4e8 trials: 0.4 expected at 1e-9, at most 6 accepted; the mask gives about 24.
    generator, count = torch.Generator().manual_seed(6), 0
    buffer = torch.empty(1_000_000)
    for _ in range(400):
        count += int((buffer.uniform_(generator=generator) < 1e-9).sum())
    assert not within_binomial(count, 400_000_000, 1e-9)


def test_a_position_drawn_twice_flips_once():
    # 20 cells at 1/2: 14 positions drawn on average, so nearly every write has duplicates. An even number of hits that
    # undid the flip would give (1 - exp(-2 log 2)) / 2 = 0.375 instead of 0.5. 1e5 trials catch 1.6 %.
    x = bits(20)
    memory = WriteErrors(error_rate_0=0.5, error_rate_1=0.5, seed=7, path="torch")
    hits = select(x, 0.5, torch_generator(7, "bit_writes"))[0]
    assert len(hits) > len(hits.unique())
    ones, zeros = flips(memory, x, 5_000)
    assert within_binomial(ones + zeros, 100_000, 0.5)


@pytest.mark.parametrize(("rate_0", "rate_1"), [(0.3, 0.3), (0.2, 0.4), (0.8, 0.3)])
@pytest.mark.parametrize("path", ["numba", "torch"])
def test_cells_err_independently(rate_0, rate_1, path):
    # Three cells, +1 -1 +1, 12,000 writes against the product law of their 8 outcomes: chi2, 7 degrees of freedom.
    # Catches a correlation coefficient between two cells of about 0.065.
    x = torch.tensor([1.0, -1.0, 1.0])
    memory = WriteErrors(error_rate_0=rate_0, error_rate_1=rate_1, seed=8, path=path)
    flipped = torch.stack([memory(x) != x for _ in range(12_000)]).long()
    observed = torch.bincount(flipped @ torch.tensor([1, 2, 4]), minlength=8).tolist()
    rates = (rate_1, rate_0, rate_1)
    expected = [
        12_000 * math.prod(p if outcome >> i & 1 else 1 - p for i, p in enumerate(rates)) for outcome in range(8)
    ]
    assert stats.chisquare(observed, expected).pvalue > FALSE_ALARM


def test_positions_are_uniform():
    # 1e6 hits over 64 slices of 3 * 2^26 cells: chi2 with 63 degrees of freedom, catches slices that differ by 1 %.
    # torch.randint puts 3 % too many in the first third here: 32-bit draws, modulo.
    cells = 3 * 2**26
    hits = select(torch.ones(1).expand(cells), 0.005, torch_generator(9, "bit_writes"))[0]
    counts = torch.bincount(hits // (cells // 64), minlength=64)
    assert int(hits.max()) < cells
    assert stats.chisquare(counts.numpy()).pvalue > FALSE_ALARM


@pytest.mark.parametrize("x", [bits(1000), bits(1000).view(10, 5, 20).transpose(0, 2), torch.ones(0)])
def test_rate_0_returns_the_same_bits_without_a_draw(x):
    memory = WriteErrors(error_rate_0=0.0, error_rate_1=0.0, seed=1)
    state = memory.get_extra_state()
    assert torch.equal(memory(x), x)
    assert torch.equal(memory.get_extra_state(), state)


def test_one_rate_0_draws_nothing_for_that_sign():
    x = bits(100_000)
    out = WriteErrors(error_rate_0=0.0, error_rate_1=0.5, seed=1)(x)
    assert (out[x == -1] == -1).all()
    assert (out[x == 1] == -1).any()


@pytest.mark.parametrize(("rate_0", "rate_1"), [(1.0, 1.0), (1.0, 0.0), (0.0, 1.0)])
def test_rate_1_flips_all_of_that_sign(rate_0, rate_1):
    x = bits(1000)
    out = WriteErrors(error_rate_0=rate_0, error_rate_1=rate_1, seed=1)(x)
    assert (out[x == 1] == (-1 if rate_1 else 1)).all()
    assert (out[x == -1] == (1 if rate_0 else -1)).all()


def test_input_is_not_touched_and_shape_is_kept():
    x = bits(600).view(2, 3, 10, 10).contiguous(memory_format=torch.channels_last)
    before = x.clone()
    out = WriteErrors(error_rate_0=0.4, error_rate_1=0.2, seed=1)(x)
    assert torch.equal(x, before)
    assert out.shape == x.shape
    assert set(out.unique().tolist()) == {-1.0, 1.0}


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.int8])
def test_every_signed_dtype(dtype):
    x = bits(1000)
    expected = WriteErrors(error_rate_0=0.4, error_rate_1=0.2, seed=1)(x)
    assert torch.equal(WriteErrors(error_rate_0=0.4, error_rate_1=0.2, seed=1)(x.to(dtype)), expected.to(dtype))


def test_same_seed_same_bits_and_every_write_is_new():
    x, make = bits(1000), lambda seed: WriteErrors(error_rate_0=0.1, error_rate_1=0.2, seed=seed)
    first, second = make(5), make(5)
    a, b = first(x), first(x)
    assert torch.equal(second(x), a)
    assert not torch.equal(a, b)
    assert not torch.equal(make(6)(x), a)
    first.reseed(5)
    assert torch.equal(first(x), a)


def test_global_stream_is_neither_used_nor_moved():
    state = torch.get_rng_state()
    WriteErrors(error_rate_0=0.1, error_rate_1=0.2, seed=5)(bits(100))
    assert torch.equal(torch.get_rng_state(), state)


def test_mode_does_not_matter():
    x, memory = bits(1000), WriteErrors(error_rate_0=0.1, error_rate_1=0.1, seed=5)
    trained = memory.train()(x)
    memory.reseed(5)
    assert torch.equal(memory.eval()(x), trained)


def test_stream_goes_on_through_state_dict_bit_for_bit():
    x, memory = bits(1000), WriteErrors(error_rate_0=0.1, error_rate_1=0.2, seed=5)
    memory(x)
    file = io.BytesIO()
    torch.save(memory.state_dict(), file)
    expected = memory(x)
    file.seek(0)
    other = WriteErrors(error_rate_0=0.1, error_rate_1=0.2, seed=5)
    other.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(other(x), expected)


def test_copy_has_its_own_stream_at_the_same_place():
    x, memory = bits(1000), WriteErrors(error_rate_0=0.1, error_rate_1=0.2, seed=5)
    memory(x)
    twin = copy.deepcopy(memory)
    expected = memory(x)
    assert torch.equal(twin(x), expected)


@pytest.mark.parametrize(("rate_0", "rate_1"), [(0.3, 0.3), (0.1, 0.4), (0.9, 0.4)])
@pytest.mark.parametrize("path", ["numba", "torch"])
def test_gradient_identity_or_flipped(rate_0, rate_1, path):
    weight = torch.arange(1.0, 101.0)
    for gradient in ("identity", "flipped"):
        x = bits(100).requires_grad_()
        out = WriteErrors(error_rate_0=rate_0, error_rate_1=rate_1, seed=2, gradient=gradient, path=path)(x)
        assert (out != x).any()
        (weight * out).sum().backward()
        flipped = torch.where(out.detach() == x.detach(), weight, -weight)
        assert torch.equal(x.grad, weight if gradient == "identity" else flipped)


def test_operating_point_is_a_duck():
    memory = WriteErrors.from_operating_point(rates(0.1, 0.2), seed=3)
    assert (memory.error_rate_0, memory.error_rate_1) == (0.1, 0.2)


@pytest.mark.parametrize("rate", [1.2, -1e-9, math.nan, math.inf, 5.0])
def test_a_rate_outside_0_to_1_is_refused(rate):
    with pytest.raises(
        ValueError, match=r"error_rate_1 must be in \[0, 1\], got .*: rates are probabilities, not perc"
    ):
        WriteErrors(error_rate_0=0.0, error_rate_1=rate, seed=1)
    with pytest.raises(ValueError, match="error_rate_0"):
        WriteErrors(error_rate_0=rate, error_rate_1=0.0, seed=1)


@pytest.mark.parametrize("seed", [1.5, -1, None, "1", True])
def test_a_seed_that_is_no_whole_number_is_refused(seed):
    with pytest.raises(ValueError, match="seed must be a whole number"):
        WriteErrors(error_rate_0=0.0, error_rate_1=0.0, seed=seed)


def test_unknown_gradient_is_refused():
    with pytest.raises(ValueError, match="gradient must be one of 'identity', 'flipped', got 'none'"):
        WriteErrors(error_rate_0=0.0, error_rate_1=0.0, seed=1, gradient="none")


@pytest.mark.parametrize("value", [0.0, 0.5, 2.0, math.inf])
def test_values_that_are_no_bits_are_refused(value):
    with pytest.raises(ValueError, match=r"\+1 or -1"):
        WriteErrors(error_rate_0=0.1, error_rate_1=0.1, seed=1)(torch.tensor([1.0, value]))


@pytest.mark.parametrize(("rate_0", "rate_1"), [(0.5, 0.5), (0.9, 0.4), (1.0, 1.0)])
def test_nan_passes_through(rate_0, rate_1):
    memory = WriteErrors(error_rate_0=rate_0, error_rate_1=rate_1, seed=1)
    x = torch.tensor([1.0, math.nan, -1.0])
    assert all(memory(x).isnan().tolist() == [False, True, False] for _ in range(50))


@pytest.mark.parametrize("most", [0.4, 1.0])
@pytest.mark.parametrize("path", ["numba", "torch"])
def test_each_cell_errs_with_its_own_rate_and_independently(path, most):
    # 40,000 samples of 2 x 3 cells, with rates up to `most`: catches 5 % at 0.3. Chi2 of the pairs of neighbours.
    rates_0 = most * torch.tensor([[0.0, 0.1, 1.0], [0.3, 0.02, 0.9]])
    rates_1 = most * torch.tensor([[0.5, 0.001, 0.7], [0.0, 1.0, 0.2]])
    memory = WriteErrors(error_rate_0=rates_0, error_rate_1=rates_1, seed=3, path=path)
    x = bits(240_000).view(40_000, 2, 3)
    wrong = memory(x) != x
    for row, column in ((i, k) for i in range(2) for k in range(3)):
        for value, own in ((-1, rates_0), (1, rates_1)):
            target = x[:, row, column] == value
            p = float(own.double()[row, column])
            assert within_binomial(int(wrong[target, row, column].sum()), int(target.sum()), p)
    chance = torch.where(x > 0, rates_1, rates_0).double().view(-1, 6)
    flat = wrong.view(-1, 6)
    both, expected = (flat[:, 1:] & flat[:, :-1]).sum(0), (chance[:, 1:] * chance[:, :-1]).sum(0)
    for count, mean in zip(both.tolist(), expected.tolist(), strict=True):
        low, high = stats.norm.interval(1 - FALSE_ALARM, mean, max(mean, 1.0) ** 0.5)  # wider than the exact law
        assert low - 3 <= count <= high + 3


@pytest.mark.parametrize("path", ["numba", "torch"])
def test_rows_of_rates_are_for_samples_in_turn(path):
    rates = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    memory = WriteErrors(error_rate_0=rates, error_rate_1=rates, seed=3, path=path)
    x = bits(8).view(4, 2)
    assert torch.equal(memory(x) != x, rates[[0, 1, 2, 0]] == 1.0)
    assert torch.equal(copy.deepcopy(memory)(x) != x, rates[[0, 1, 2, 0]] == 1.0)


def test_rates_of_other_cells_are_refused():
    memory = WriteErrors(error_rate_0=0.1, error_rate_1=torch.full((2, 3), 0.1), seed=3)
    with pytest.raises(ValueError, match=r"error_rate_1 must have a value for each cell of a sample of shape \(3, 2\)"):
        memory(bits(12).view(2, 3, 2))
    with pytest.raises(ValueError, match=r"error_rate_1 must be in \[0, 1\], got 2 in a cell"):
        WriteErrors(error_rate_0=0.1, error_rate_1=torch.tensor([0.1, 2.0]), seed=3)
    with pytest.raises(ValueError, match=r"error_rate_1 must be in \[0, 1\], got no cell"):
        WriteErrors(error_rate_0=0.1, error_rate_1=torch.ones(0), seed=3)


def test_printed_memories_of_other_cells_differ():
    a, b = (
        repr(WriteErrors(error_rate_0=0.1, error_rate_1=torch.tensor(rates), seed=3))
        for rates in ([0.1, 0.2], [0.2, 0.1])
    )
    assert a != b


def test_addressed_the_stream_gives_a_step_and_samples_the_same_errors_again():
    memory, x = WriteErrors(error_rate_0=0.3, error_rate_1=0.2, seed=3, path="torch"), bits(400).view(4, 100)
    drawn = {}
    for _ in range(2):
        for step, first in ((0, 0), (1, 0), (0, 4)):
            memory.address(step=step, samples=torch.arange(first, first + 4))
            out = memory(x)
            assert torch.equal(drawn.setdefault((step, first), out), out)
    a, b, c = drawn.values()
    assert not any(torch.equal(one, other) for one, other in ((a, b), (a, c), (b, c)))


@pytest.mark.parametrize("path", ["numba", "torch"])
@pytest.mark.parametrize("addressed", [False, True])
def test_a_checkpoint_does_not_change_the_seed(path, addressed):
    """Models of other seeds, loaded from one checkpoint, draw other errors, and say which seed they have."""
    x, drawn = torch.ones(3, 400), []
    checkpoint = WriteErrors(error_rate_0=0.1, error_rate_1=0.1, seed=1, path=path).state_dict()
    for seed in (1, 2, 3):
        memory = WriteErrors(error_rate_0=0.1, error_rate_1=0.1, seed=seed, path=path)
        memory.load_state_dict(checkpoint)
        if addressed:
            memory.address(step=5, samples=np.arange(3))
        assert memory.seed == seed
        drawn.append(memory(x) != x)
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert 0 < int((drawn[one] & drawn[other]).sum()) < 40  # 1,200 cells, 12 expected at 0.01


def test_the_state_of_another_version_is_refused():
    memory = WriteErrors(error_rate_0=0.1, error_rate_1=0.1, seed=1)
    with pytest.raises(ValueError, match=r"state must be that of the same kind of memory in this version, WriteErr"):
        memory.load_state_dict({"_extra_state": torch.zeros(5072, dtype=torch.uint8)})


@pytest.mark.parametrize("path", ["numba", "torch"])
def test_each_call_of_a_step_is_a_write_of_its_own(path):
    """Cells that err in both calls: 4,000 at 0.1, so 40 expected; 5 standard deviations."""
    memory, x = WriteErrors(error_rate_0=0.1, error_rate_1=0.1, seed=3, path=path), bits(4000).view(10, 400)
    memory.address(step=2, samples=np.arange(10))
    first, second = memory(x) != x, memory(x) != x
    assert abs(int((first & second).sum()) - 40) < 32
    memory.address(step=2, samples=np.arange(10))
    assert torch.equal(memory(x) != x, first)
    assert torch.equal(memory(x) != x, second)


def test_memories_of_one_seed_in_a_model_draw_apart_at_an_address():
    rates = {"error_rate_0": 0.1, "error_rate_1": 0.1, "seed": 3}
    model, x = torch.nn.Sequential(WriteErrors(**rates), WriteErrors(**rates)), bits(4000).view(10, 400)
    address(model, step=0, samples=np.arange(10))
    first = model[0](x)
    assert abs(int(((first != x) & (model[1](first) != first)).sum()) - 40) < 32


def test_a_sample_of_several_rows_has_them_in_a_row():
    memory, x = WriteErrors(error_rate_0=0.3, error_rate_1=0.3, seed=3), bits(24_000).view(60, 400)
    memory.address(step=0, samples=np.arange(20))
    whole = memory(x)
    for part in (slice(0, 7), slice(7, 20)):
        memory.address(step=0, samples=np.arange(20)[part])
        assert torch.equal(memory(x[3 * part.start : 3 * part.stop]), whole[3 * part.start : 3 * part.stop])


def test_on_the_torch_path_blocks_of_samples_have_their_own_streams():
    rates = torch.rand(3, 50, generator=torch.Generator().manual_seed(1))
    memory, x = WriteErrors(error_rate_0=rates, error_rate_1=0.1, seed=3, path="torch"), bits(30_000).view(600, 50)
    memory.address(step=0, samples=np.arange(600))
    whole = memory(x)
    memory.address(step=0, samples=np.arange(512))
    assert torch.equal(memory(x[:512]), whole[:512])


def test_ranks_draw_apart_without_an_address(monkeypatch):
    x, drawn = bits(4000).view(10, 400), []
    monkeypatch.setattr("torch.distributed.is_initialized", lambda: True)
    for rank in (0, 1):
        monkeypatch.setattr("torch.distributed.get_rank", lambda rank=rank: rank)
        drawn.append(WriteErrors(error_rate_0=0.1, error_rate_1=0.1, seed=3)(x) != x)
    assert abs(int((drawn[0] & drawn[1]).sum()) - 40) < 32


def test_an_address_is_checked_and_forgotten():
    memory = WriteErrors(error_rate_0=0.1, error_rate_1=0.1, seed=1)
    for wrong in ({"step": -1}, {"step": 0.5}, {"samples": [0.5, 1.0]}, {"samples": [[1, 2]]}):
        with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be"):
            memory.address(**{"step": 0, "samples": None, **wrong})
    memory.address(step=0, samples=[4, 5])
    with pytest.raises(ValueError, match=r"each of the 3 samples.*forget_address"):
        memory(torch.ones(3, 4))
    forget_address(torch.nn.Sequential(memory))
    fresh = WriteErrors(error_rate_0=0.1, error_rate_1=0.1, seed=1)
    x = torch.ones(3, 400)
    assert torch.equal(memory(x), fresh(x))
