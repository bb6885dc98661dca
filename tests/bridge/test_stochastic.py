"""Stochastic rounding: unbiased, exact where nothing is to be rounded, and drawn by seed, write and word alone."""

import numpy as np
import pytest
from scipy.stats import binom

from bridge.memory.formats import ROUNDED, format_of
from bridge.memory.in_place import NO_LIMIT
from bridge.memory.mram import Memory
from bridge.memory.rounding import INT8, drawn, fill_draws, round_in_place
from bridge.memory.sram import SRAM
from bridge.memory.stochastic import BLOCK, int8_steps, key_of
from physics import point

N = 1 << 18
FALSE_ALARM = 1e-6
SCALE = 1 / 127
BETWEEN = {  # a number, and the two numbers of the format around it
    "int8": [
        (0.25 * SCALE, 0.0, SCALE),
        (-99.9 * SCALE, -100 * SCALE, -99 * SCALE),
        (126.01 * SCALE, 126 * SCALE, 1.0),
    ],
    "fp16": [
        (1 + 2**-12, 1.0, 1 + 2**-10),
        (-3.1e-5, *sorted(-k * 2.0**-24 for k in (520, 521))),
        (65530.0, 65504.0, np.inf),
        (2.0**-26, 0.0, 2.0**-24),
    ],
    "bf16": [(1 + 2**-10, 1.0, 1 + 2**-7), (-0.3, -154 / 512, -153 / 512), (2.0**-140, 0.0, 2.0**-133)],
}


def form_of(name, overflow="saturate"):
    int8 = {"scale": SCALE, "overflow": overflow} if name == "int8" else {}
    return format_of(name, rounding="stochastic", **int8)


def written(name, values, seed=0, **declared):
    memory = Memory(np.shape(values), format=form_of(name), point=point(0.0), seed=seed, **declared)
    memory.write(values)
    return memory.read()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ROUNDED)
def test_the_mean_is_the_number(name, dtype):
    """2^18 words of a number each; false alarm 1e-6 in all. A probability that is off by 0.006 is seen."""
    for x, below, above in BETWEEN[name]:
        below, above = np.float32(below), np.float32(above)
        read = written(name, np.full(N, x, dtype))
        assert set(np.unique(read)) <= {below, above}
        top = 65536.0 if np.isinf(above) else float(above)
        chance = (float(dtype(x)) - float(below)) / (top - float(below))
        least, most = binom.interval(1 - FALSE_ALARM / (2 * sum(map(len, BETWEEN.values()))), N, chance)
        assert least <= np.count_nonzero(read == above) <= most


def test_the_comparison_would_see_a_bias():
    """Negative control: the chance of a number that is 0.006 of the gap away."""
    least, most = binom.interval(1 - FALSE_ALARM, N, 0.25)
    ups = np.count_nonzero(written("int8", np.full(N, 0.256 * SCALE)) > 0)
    assert not least <= ups <= most


@pytest.mark.parametrize("name", ROUNDED)
def test_what_the_format_has_stays(name):
    """All its numbers, infinities and NaN with their payload included, whatever is drawn."""
    form = form_of(name)
    words = np.arange(1 << form.bits, dtype=form.word_dtype)
    draws = drawn(words.size, key_of(3, 4))
    for extreme in (draws, np.zeros_like(draws), np.full_like(draws, 2**32 - 1)):
        np.testing.assert_array_equal(form.encode(form.decode(words), draws=extreme), words)


@pytest.mark.parametrize("name", ROUNDED)
def test_every_number_becomes_a_neighbour(name):
    """What is drawn is the nearest or the one on the other side: the latter with a mean chance of 1/4 (1e-6)."""
    rng = np.random.default_rng(0)
    values = rng.uniform(-1, 1, N).astype(np.float32)
    if name != "int8":
        values *= np.float32(2.0) ** rng.integers(-10, 15, N).astype(np.float32)
    nearest = format_of(name, scale=SCALE if name == "int8" else None)
    by_draw = written(name, values)
    steps = np.abs(nearest.encode(by_draw).astype(np.int64) - nearest.encode(values).astype(np.int64))
    if name == "int8":
        steps = np.minimum(steps, 256 - steps)
    signs = np.signbit(by_draw) != np.signbit(values)
    assert steps[~signs].max() == 1
    assert (by_draw[signs] == 0).all()  # of int8 only, which has no -0.0
    least, most = binom.interval(1 - FALSE_ALARM / len(ROUNDED), N, 0.25)
    assert least <= np.count_nonzero(steps) <= most


def test_the_ends_of_int8():
    values = np.array([1.004, -1.009, 5.0, -1e30, 127.0 * SCALE, -128.0 * SCALE], np.float32)
    ends = np.array([127, -128, 127, -128, 127, -128], np.float32)
    for seed in range(20):
        np.testing.assert_allclose(written("int8", values, seed) / SCALE, ends, rtol=1e-6)
    strict = form_of("int8", overflow="error")
    draws = np.zeros(1, np.uint32)
    strict.encode(np.float32([1.0]), draws=draws)
    for value in (1.004, -1.009):  # to nearest they would be the ends
        with pytest.raises(ValueError, match=r"values must round to -128\.\.127 steps.*at \(0,\)"):
            strict.encode([value], draws=draws)
    for value in (np.inf, np.nan):
        with pytest.raises(ValueError, match="values must be finite for int8"):
            form_of("int8").encode([value], draws=draws)


@pytest.mark.parametrize("scale", [SCALE, 1 / 50, 0.25, 1e-3, 3e-38, 1.234e-30, 2.6e36])
def test_the_kernel_of_int8_has_the_numbers_of_numpy(scale):
    """Multiples of 3e-38 are not exact in float32 parts: the other loop. Ties and a rest of a block are there too."""
    key, rng = key_of(2, 3), np.random.default_rng(5)
    values = np.concatenate([rng.uniform(-120, 120, 2 * BLOCK), np.arange(-260, 260) / 2]) * scale
    values = values.astype(np.float32)
    expected = (int8_steps(values, drawn(values.size, key), scale=scale) * scale).astype(np.float32)
    assert round_in_place(values.view(np.uint32), INT8, scale, True, key, NO_LIMIT, np.zeros(3, bool)) == -1
    np.testing.assert_array_equal(values.view(np.uint32), expected.view(np.uint32))


def test_philox_as_published():
    """Known answers of Random123, philox2x32 with seven rounds: counter, key and output."""
    draws = np.empty(BLOCK, np.uint32)
    for first, second, key, answer in (
        (0, 0, 0, (0x257A3673, 0xCD26BE2A)),
        (0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, (0xAB302C4D, 0x3DC9D239)),
        (0x243F6A88, 0x85A308D3, 0x13198A2E, (0xBEDBBE6B, 0xE4C770B3)),
    ):
        block, j = divmod(first, BLOCK // 2)
        fill_draws(block, np.array([key, second], np.uint32), draws)
        assert (draws[j], draws[j + BLOCK // 2]) == answer


def test_draws_are_of_seed_write_and_word_alone():
    key = key_of(5, 2)
    whole = drawn(3 * BLOCK + 17, key)
    for n in (1, BLOCK - 1, BLOCK, 2 * BLOCK + 5):
        np.testing.assert_array_equal(drawn(n, key), whole[:n])
    for other in (key_of(5, 3), key_of(6, 2)):
        assert (drawn(whole.size, other) == whole).mean() < 1e-3
    values = np.random.default_rng(0).standard_normal((50, 200)).astype(np.float32)
    alone, together = written("bf16", values.ravel(), seed=7), written("bf16", values, seed=7)
    np.testing.assert_array_equal(alone, together.ravel())


def test_a_load_is_to_nearest_and_a_write_goes_on_from_a_checkpoint():
    values = np.random.default_rng(0).standard_normal(1000).astype(np.float32)
    arguments = dict(format="bf16", rounding="stochastic", seed=3, point=point(0.01))
    memories = [Memory(1000, initial=values, **arguments) for _ in range(2)]
    nearest = format_of("bf16")
    np.testing.assert_array_equal(memories[0].stored, nearest.decode(nearest.encode(values)))
    memories[0].write(values)
    memories[1].restore(memories[0].state())
    for memory in memories:
        memory.write(2 * values)
    np.testing.assert_array_equal(memories[0].read(), memories[1].read())
    memories[0].load(values)
    np.testing.assert_array_equal(memories[0].stored, nearest.decode(nearest.encode(values)))


def test_refusals():
    for name in ("fp32", "binary", "ternary"):
        with pytest.raises(ValueError, match=f"rounding must be 'nearest' for {name}, got 'stochastic'"):
            format_of(name, rounding="stochastic")
    with pytest.raises(ValueError, match="rounding must be one of 'nearest', 'stochastic'"):
        format_of("bf16", rounding="up")
    with pytest.raises(ValueError, match="draws must be left out with rounding to nearest"):
        format_of("bf16").encode([1.0], draws=np.zeros(1, np.uint32))
    for draws in (None, np.zeros(2, np.uint32), np.zeros(1)):
        with pytest.raises(ValueError, match=r"draws must be an array of uint32 of \(1,\) for stochastic rounding"):
            form_of("bf16").encode([1.0], draws=draws)
    with pytest.raises(ValueError, match="format must round to nearest: an SRAM has no seed"):
        SRAM(3, format=form_of("bf16"))
