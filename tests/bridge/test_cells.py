"""Cells that are pulsed, sensed and left alone: against slow, obvious cells, and against chance."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.memory.cells import PLAIN, READ_BEFORE_WRITE, SAMPLE, WRITE_VERIFY_RETRY, CellArray, WritePolicy
from bridge.memory.sampling import DENSE, BitRates, chosen
from physics import within_binomial

NONE = BitRates([0.0, 0.0])


def rng(seed=0):
    return np.random.default_rng(seed)


class SlowCells:
    """One Python list of bits, one cell after another. Which cells *would* err is asked of the same stream."""

    def __init__(self, bits_of_words, bits, write, read, disturb, fixed, independent):
        self.state = [b for word in bits_of_words for b in ((word >> k) & 1 for k in range(bits))]
        self.bits, self.write_errors, self.read_errors, self.disturbs = bits, write, read, disturb
        self.fixed, self.independent = dict(fixed), independent
        self.state = [self.fixed.get(c, b) for c, b in enumerate(self.state)]
        self.failed = self.turned = self.held = self.sensed = 0

    def sense(self, rng, words):
        cells = [w * self.bits + k for w in words for k in range(self.bits)]
        stored = np.array([self.state[c] for c in cells])
        self.sensed += len(cells)
        wrong = set(self.at(self.read_errors, cells).hits(rng, len(cells), lambda p: stored[p]))
        turned = set(self.at(self.disturbs, cells).hits(rng, len(cells), lambda p: stored[p]))
        seen = {}
        for n, cell in enumerate(cells):
            stays = cell in self.fixed
            seen[cell] = self.state[cell] ^ (n in wrong and not stays)
            self.state[cell] ^= n in turned and not stays
        return seen

    def at(self, rates, cells):
        return rates if rates.rates.ndim == 1 else BitRates(rates.rates[:, cells])

    def write(self, target, policy, rng):
        words = range(len(target))
        told = [(int(word) >> k) & 1 for word in target for k in range(self.bits)]
        seen = self.sense(rng, words) if policy.read_first else None
        self.pulse(words, told, seen, rng, self.independent)
        if seen is not None:
            words = [w for w in words if any(seen[c] != told[c] for c in self.cells(w))]
        for _ in range(policy.attempts - 1):
            if not words and seen is not None:
                break
            seen = self.sense(rng, words)
            words = [w for w in words if any(seen[c] != told[c] for c in self.cells(w))]
            if not words:
                break
            self.pulse(words, told, seen, rng, False)

    def cells(self, word):
        return range(word * self.bits, (word + 1) * self.bits)

    def pulse(self, words, told, seen, rng, independent):
        cells = [c for w in words for c in self.cells(w)]
        order = np.array([told[c] for c in cells])
        would_fail = set(self.at(self.write_errors, cells).hits(rng, len(cells), lambda p: order[p]))
        for n, cell in enumerate(cells):
            if seen is not None and seen[cell] == told[cell]:
                continue
            holds = self.state[cell] == told[cell] and not independent
            self.held += holds
            self.turned += not holds
            if cell in self.fixed:
                continue
            if n in would_fail and not holds:
                self.failed += 1
                self.state[cell] = 1 - told[cell]
            else:
                self.state[cell] = told[cell]

    @property
    def words(self):
        return [
            sum(self.state[c] << k for k, c in enumerate(self.cells(w))) for w in range(len(self.state) // self.bits)
        ]


rates = st.sampled_from([0.0, 1e-3, 0.05, 0.3, 0.7, 1.0])
pairs = st.tuples(rates, rates)


@settings(max_examples=150)
@given(
    seed=st.integers(0, 2**32),
    bits=st.sampled_from([1, 2, 8, 16, 32]),
    words=st.integers(0, 20),
    write=pairs,
    read=pairs,
    disturb=pairs,
    policy=st.builds(WritePolicy, read_first=st.booleans(), attempts=st.integers(1, 4)),
    independent=st.booleans(),
    broken=st.integers(0, 5),
    each=st.booleans(),
)
def test_every_policy_does_what_slow_cells_do(
    seed, bits, words, write, read, disturb, policy, independent, broken, each
):
    draw = rng(seed)
    dtype = {1: np.uint8, 2: np.uint8, 8: np.uint8, 16: np.uint16, 32: np.uint32}[bits]
    contents = [draw.integers(1 << bits, size=words, dtype=np.uint64).astype(dtype) for _ in range(4)]
    cells = words * bits
    fixed = draw.permutation(cells)[:broken]
    values = draw.integers(2, size=fixed.size)
    write_rates = BitRates(np.array(write)[:, None] * draw.random((2, cells)) if each and cells else write)
    common = (write_rates, BitRates(read), BitRates(disturb))
    fast = CellArray(
        contents[0].copy(),
        bits=bits,
        write_errors=common[0],
        read_errors=common[1],
        disturbs=common[2],
        fixed=(fixed, values),
        independent=independent,
        wear=True,
    )
    slow = SlowCells(
        [int(w) for w in contents[0]], bits, *common, zip(fixed.tolist(), values.tolist(), strict=True), independent
    )
    for n, target in enumerate(contents[1:]):
        fast.write(target, policy, rng(n))
        slow.write(target, policy, rng(n))
        assert fast.words.tolist() == slow.words
    tally = fast.tally.counts
    assert tally["failed write 0"] + tally["failed write 1"] == slow.failed
    assert tally["write 0 turned"] + tally["write 1 turned"] == slow.turned
    assert tally["write 0 held"] + tally["write 1 held"] == slow.held
    assert tally["read 0"] + tally["read 1"] == slow.sensed
    assert fast.pulses.sum() == slow.turned + slow.held


@pytest.mark.parametrize("p", [0.3, 1e-2, 1e-6])
@pytest.mark.parametrize("independent", [False, True])
def test_failures_are_binomial_in_each_direction(p, independent):
    """2^22 words of 32 cells, all told to turn: 2 x 6.7e7 trials, so 67 failures at 1e-6. Four counts: 1e-6 in all."""
    n = 1 << (18 if p > 0.1 else 22)
    up = np.full(n, 0xFFFF0000, np.uint32)
    array = CellArray(~up, bits=32, write_errors=BitRates([p, p / 2]), independent=independent)
    array.write(up, PLAIN, rng(3))
    assert within_binomial(array.tally.counts["failed write 0"], 16 * n, p, 12)
    assert within_binomial(array.tally.counts["failed write 1"], 16 * n, p / 2, 12)
    wrong = np.bitwise_count(array.words ^ up).sum(dtype=np.int64)
    assert wrong == array.tally.counts["failed write 0"] + array.tally.counts["failed write 1"]


def test_a_cell_that_holds_its_bit_cannot_fail_unless_errors_are_independent():
    word = np.full(1000, 0xA5, np.uint8)
    for independent, failed in ((False, 0), (True, 8000)):
        array = CellArray(word.copy(), bits=8, write_errors=BitRates([1.0, 1.0]), independent=independent)
        array.write(word, PLAIN, rng())
        assert np.bitwise_count(array.words ^ word).sum(dtype=int) == failed


@pytest.mark.parametrize(("attempts", "left"), [(1, 0.1), (2, 0.01), (3, 0.001)])
def test_each_attempt_multiplies_the_rate(attempts, left):
    n = 1_000_000
    array = CellArray(np.zeros(n, np.uint8), bits=1, write_errors=BitRates([0.1, 0.1]))
    array.write(np.ones(n, np.uint8), WritePolicy(attempts=attempts), rng(5))
    assert within_binomial(n - array.words.sum(dtype=int), n, left, 3)
    assert (array.tally.counts["cell pulsed again"] > 0) == (attempts > 1)


def test_read_before_write_pulses_only_what_differs():
    old, new = rng(1).integers(256, size=(2, 5000), dtype=np.uint64).astype(np.uint8)
    array = CellArray(old.copy(), bits=8, write_errors=NONE)
    (read, everywhere), (write, pulsed) = array.write(new, READ_BEFORE_WRITE, rng())
    assert array.tally.counts["write 0 held"] == array.tally.counts["write 1 held"] == 0
    assert array.tally.counts["write 1 turned"] == np.bitwise_count(new & ~old).sum(dtype=int)
    assert (read, everywhere, write, pulsed.tolist()) == ("read", None, "write", (old != new).tolist())
    assert (array.words == new).all()


def test_a_wrong_read_leaves_a_cell_unwritten():
    """The price of reading first: what is misread as right keeps its old bit."""
    array = CellArray(np.zeros(100, np.uint8), bits=1, write_errors=NONE, read_errors=BitRates([1.0, 0.0]))
    array.write(np.ones(100, np.uint8), READ_BEFORE_WRITE, rng())
    assert not array.words.any()


def test_retries_end_when_nothing_reads_wrong():
    array = CellArray(np.zeros(100, np.uint8), bits=1, write_errors=NONE)
    steps = array.write(np.ones(100, np.uint8), WRITE_VERIFY_RETRY, rng())
    assert steps == [("write", None), ("read", None)]
    assert array.tally.counts["cell pulsed again"] == 0


def test_waiting_loses_each_bit_at_its_own_rate():
    n = 1 << 20
    array = CellArray(np.full(n, 0x0F, np.uint8), bits=8, write_errors=NONE)
    array.hold(BitRates([1e-3, 1e-2]), rng(2))
    ones = np.bitwise_count(array.words & 0x0F).sum(dtype=np.int64)
    zeros = np.bitwise_count(array.words & 0xF0).sum(dtype=np.int64)
    assert within_binomial(4 * n - ones, 4 * n, 1e-2, 2)
    assert within_binomial(zeros, 4 * n, 1e-3, 2)


def test_sampled_counts_agree_with_exact_ones_within_their_own_error():
    """20 memories, 4 kinds of pulses: no |z| above 5.7 (1e-6 in all), and z has about the spread of a normal law."""
    z = []
    for seed in range(20):
        old, new = rng(seed).integers(2**32, size=(2, 4 * SAMPLE), dtype=np.uint64).astype(np.uint32)
        new = np.where(rng(seed + 100).random(new.size) < 0.5, old, new)  # words differ: some change, some do not
        tallies = []
        for exact in (True, False):
            array = CellArray(old.copy(), bits=32, write_errors=NONE, exact=exact)
            array.write(new, PLAIN, rng(seed))
            tallies.append(array.tally)
        for event, right in tallies[0].counts.items():
            if event.startswith("write "):
                z.append((tallies[1].counts[event] - right) / tallies[1].variances[event] ** 0.5)
    assert len(z) == 80
    assert np.abs(z).max() < 5.7
    assert 0.6 < np.std(z) < 1.4


# ---- which cells are hit ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("p", [1e-15, 1e-9, 1e-6, 1e-3, 0.09, DENSE + 0.01, 0.5, 0.9])
def test_the_count_of_chosen_cells(p):
    cells, draws = (10**15 if p < 1e-6 else 10**5), 300
    if p < 1e-6:  # so many cells that something happens; positions are 64 bits wide
        cells = int(50 / p)
    total = sum(chosen(rng(seed), cells, p).size for seed in range(draws))
    if cells < 1e6:
        assert within_binomial(total, cells * draws, p, 8)
    else:
        assert abs(total - cells * draws * p) < 5.5 * (cells * draws * p) ** 0.5


@pytest.mark.parametrize("p", [0.03, 0.4])
def test_each_cell_is_chosen_alike_and_on_its_own(p):
    """Cell by cell within 1e-6 in all; neighbours together p^2; no position twice; in order."""
    cells, draws = 50, 20_000
    hit = np.zeros((draws, cells), bool)
    for n in range(draws):
        positions = chosen(rng(n), cells, p)
        assert (np.diff(positions) > 0).all()
        hit[n, positions] = True
    assert all(within_binomial(count, draws, p, 2 * cells) for count in hit.sum(axis=0))
    both = hit[:, ::2] & hit[:, 1::2]
    assert within_binomial(both.sum(), draws * cells // 2, p * p, 2)


def test_cells_of_unequal_rates():
    """Rates over eight decades, another one for each bit: the hits of each decade are as many as they should be."""
    draw = rng(9)
    cells = 200_000
    rates = np.minimum(10 ** draw.uniform(-8, 0, (2, cells)), 1.0)
    bits = draw.integers(2, size=cells)
    own = rates[bits, np.arange(cells)]
    counted = np.zeros(cells)
    for seed in range(200):
        counted[BitRates(rates).hits(rng(seed), cells, lambda p: bits[p])] += 1
    decade = np.floor(np.log10(own)).astype(int)
    for d in range(-8, 0):
        expected = 200 * own[decade == d].sum()
        variance = 200 * (own * (1 - own))[decade == d].sum()
        assert abs(counted[decade == d].sum() - expected) < 5.5 * variance**0.5 + 8
    assert counted[own < 1e-7].sum() < 60


def test_rates_of_zero_and_one_draw_nothing_else():
    array = np.arange(6)
    assert BitRates([0.0, 0.0]).hits(rng(), 6, lambda p: array[p] % 2).size == 0
    assert BitRates([0.0, 1.0]).hits(rng(), 6, lambda p: array[p] % 2).tolist() == [1, 3, 5]


@pytest.mark.parametrize("bad", [[0.1, 1.5], [-0.1, 0.0], [0.1], [[0.1, 0.2]], [float("nan"), 0.0], "a"])
def test_rates_that_are_none(bad):
    with pytest.raises(ValueError, match="error_rate must"):
        BitRates(bad)


def test_no_attempt_is_no_policy():
    with pytest.raises(ValueError, match="attempts must be a whole number >= 1, got 0"):
        WritePolicy(attempts=0)
