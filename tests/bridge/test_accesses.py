"""Accesses: what is pulsed or sensed at the same time, counted once, with its time."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge import READ_BEFORE_WRITE, InPlaceMemory, Memory, Protection, ReadPoint, WritePolicy
from bridge.memory.placement import CHECK, DATA, Placement
from physics import point, within_binomial

TWICE = WritePolicy(attempts=2)
LATENCY = 1e-8


def words(n, seed):
    return np.random.default_rng(seed).integers(1 << 32, size=n, dtype=np.uint32).view(np.float32)


def written(n, p, at_once, **declared):
    memory = Memory(
        n,
        format="fp32",
        point=point(p, latency=LATENCY),
        words_at_once=at_once,
        initial=words(n, 1),
        seed=1,
        **declared,
    )
    memory.write(words(n, 2))
    return memory


@pytest.mark.parametrize("at_once", [1, 4, 16])
@pytest.mark.parametrize(
    ("protection", "cells"), [("none", [32, 32]), ("parity", [33, 33]), ("secded", [32, 40])], ids=str
)
def test_a_second_attempt_takes_an_access_for_each_group_of_words_with_a_failed_cell(protection, cells, at_once):
    """Half of the cells must turn, so an access of c cells is repeated with 1 - (1 - p/2)^c.

    2^16 words in 4096 accesses and more; nine tests of 1e-7 each. Counted in words, or without the check cells of
    SECDED, it is more than 5.8 sd away.
    """
    p, n = 0.01, 1 << 16
    memory = written(n, p, at_once, policy=TWICE, protection=protection)
    pairs = n // 2
    repeated = memory.ledger.count("write access") - n / at_once
    per_access = [cells[0], cells[1]] if at_once == 1 else [sum(cells) * at_once // 2] * 2
    chances = [1 - (1 - p / 2) ** c for c in per_access]
    expected = pairs / at_once * sum(chances)
    sd = math.sqrt(pairs / at_once * sum(q * (1 - q) for q in chances))
    assert abs(repeated - expected) < 5.4 * sd
    assert memory.ledger.seconds == pytest.approx(LATENCY * (n / at_once + repeated))


@pytest.mark.parametrize("at_once", [1, 3, 16])
def test_a_masked_write_takes_no_time_for_words_that_stay(at_once):
    """3 of 10 words change: an access is left out if all its words stay. 2^16 words; three tests of 1e-6."""
    n = 1 << 16
    old, change = words(n, 1), np.random.default_rng(5).random(n) < 0.3
    declared = dict(format="fp32", initial=old, words_at_once=at_once, point=point(0.0, latency=LATENCY))
    memory = Memory(n, policy=READ_BEFORE_WRITE, reading=ReadPoint(latency=2e-9), **declared)
    memory.write(np.where(change, words(n, 2), old))
    accesses = math.ceil(n / at_once)
    assert memory.ledger.count("read access") == accesses
    assert within_binomial(int(memory.ledger.count("write access")), accesses, 1 - 0.7**at_once, 3)
    assert memory.ledger.seconds == pytest.approx(accesses * 2e-9 + memory.ledger.count("write access") * LATENCY)


def test_check_cells_alone_can_need_another_access():
    """Data cells that cannot fail and check cells that always do, by a point of each: a die would do the same."""
    memory = written(64, 0.0, 1, policy=TWICE, protection="secded")
    before = memory.ledger.count("write access")
    failing = written(64, 0.5, 1, policy=TWICE, protection="secded")
    memory._arrays[CHECK].write_errors = failing._arrays[CHECK].write_errors
    memory.write(words(64, 3))
    again = memory.ledger.count("write access") - before - 64
    assert memory.ledger.count("cell pulsed again", memory="MRAM") == 0
    assert 0 < again <= 32
    assert memory.ledger.seconds == pytest.approx(LATENCY * (128 + again))


def test_four_numbers_in_one_code_word_are_four_accesses():
    memory = Memory(4, format="bf16", point=point(0.0), protection="secded")
    memory.write(np.ones(4))
    memory.read()
    assert [memory.ledger.count(f"{verb} access") for verb in ("write", "read")] == [4, 4]


def test_a_verify_reads_what_was_pulsed_only():
    """Read first, all equal: no pulse, no verify. One word of eight differs: one pulse and one verify."""
    memory = Memory(8, format="int8", scale=1.0, point=point(0.0), policy=WritePolicy(read_first=True, attempts=3))
    memory.write(np.zeros(8))
    assert (memory.ledger.count("write access"), memory.ledger.count("read access")) == (0, 8)
    memory.write(np.eye(8)[0])
    assert (memory.ledger.count("write access"), memory.ledger.count("read access")) == (1, 8 + 8 + 1)


@settings(max_examples=100)
@given(
    bits=st.sampled_from([1, 2, 8, 16, 32]),
    n=st.integers(0, 200),
    at_once=st.integers(1, 70),
    protection=st.sampled_from(["none", "parity", "secded"]),
    seed=st.integers(0, 2**32),
    boolean=st.booleans(),
)
def test_accesses_are_those_of_a_list_of_cells(bits, n, at_once, protection, seed, boolean):
    """Against a loop: the access of a word is its number // at_once, of a code word the access of its last word."""
    placement, draw = Placement((n,), bits, Protection(protection)), np.random.default_rng(seed)
    sizes = {DATA: n, CHECK: placement.code_words}
    touched = [draw.random(sizes[kind]) < draw.random() ** 3 for kind in placement.kinds]
    of_code = 64 // bits if protection == "secded" else 1
    slow = {int(w) // at_once for w in np.flatnonzero(touched[DATA])}
    if len(touched) > 1:
        slow |= {(min((int(c) + 1) * of_code, n) - 1) // at_once for c in np.flatnonzero(touched[CHECK])}
    given_as = touched if boolean else [np.flatnonzero(part) for part in touched]
    assert placement.accesses(given_as, at_once=at_once) == len(slow)
    assert placement.accesses([None, *touched[1:]], at_once=at_once) == math.ceil(n / at_once)


@pytest.mark.parametrize("at_once", [1, 7])
def test_in_place_counts_the_accesses_of_write_and_read(at_once):
    declared = dict(point=point(0.01, latency=LATENCY), reading=ReadPoint(latency=2e-9), words_at_once=at_once, seed=2)
    plain, twin = Memory(100, format="fp32", **declared), InPlaceMemory(100, **declared)
    plain.write(np.ones(100))
    plain.read()
    with twin.rewriting() as values:
        values[...] = 1.0
    assert plain.ledger.entries == twin.ledger.entries
    assert twin.ledger.seconds == pytest.approx(math.ceil(100 / at_once) * (LATENCY + 2e-9))


def test_a_state_that_counted_words_is_refused():
    memory = Memory(8, format="fp32", point=point(0.0))
    state = memory.state()
    state["tallies"] = state["tallies"][:-1]
    with pytest.raises(ValueError, match=r"state must be of this version: up to 0\.5\.0 words were counted"):
        memory.restore(state)


# ---- scrub ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["binary", "ternary", "int8", "fp16", "bf16", "fp32"])
def test_a_scrub_mends_what_the_code_corrects_and_leaves_the_rest(form):
    """Cells of 2 % wrong, then a perfect write: afterwards every wrong word is one that the scrub returned."""
    n, scale = 4096, 0.25 if form == "int8" else None
    memory = Memory(n, format=form, scale=scale, point=point(0.02), protection="secded", seed=3)
    memory.write(np.ones(n))
    before, ones = memory.stored, np.ones(n, np.float32)
    memory.set_point(point(0.0))
    lost = memory.scrub()
    after = memory.stored
    assert 0 < lost.sum() < n
    assert (before[~lost] != ones[~lost]).any()
    np.testing.assert_array_equal(after[lost], before[lost])
    np.testing.assert_array_equal(memory.scrub(), lost)
    miscorrected = (after[~lost] != ones[~lost]).mean()  # three wrong cells of 72 look like one
    assert miscorrected < 0.2 * (before != ones).mean()


def test_a_scrub_writes_the_corrected_code_words_only():
    memory = Memory(640, format="binary", point=point(0.0), protection="secded", seed=3)
    memory.write(np.ones(640))
    memory._arrays[DATA].words[[5, 70, 71]] = 0  # one wrong cell in the first code word, two in the second
    lost = memory.scrub()
    assert lost.nonzero()[0].tolist() == list(range(64, 128))
    assert memory.ledger.count("write access") == 640 + 64
    assert (memory.ledger.count("error corrected"), memory.ledger.count("error detected")) == (1, 1)
    assert (memory.stored != 1).nonzero()[0].tolist() == [70, 71]


@pytest.mark.parametrize("protection", ["secded", "parity"])
def test_a_binary_word_found_wrong_names_the_scrub(protection):
    memory = Memory(640, format="binary", point=point(0.05), protection=protection, seed=1)
    memory.write(np.ones(640))
    with pytest.raises(ValueError, match=r"values must be -1 or \+1 for binary, got 0 at .* use scrub\(\)"):
        memory.write(memory.read())


@pytest.mark.parametrize("protection", ["none", "parity", Protection("range", limit=1.5)], ids=str)
def test_without_a_code_that_corrects_a_scrub_reads_only(protection):
    plain = Memory(999, format="fp32", point=point(0.05), protection=protection, seed=1)
    twin = InPlaceMemory(999, point=point(0.05), protection=protection, seed=1)
    for memory in (plain, twin):
        memory.write(np.ones(999))
        if memory is plain:
            memory.read()
    stored, written = plain.stored, plain.ledger.count("write access")
    np.testing.assert_array_equal(plain.scrub(), twin.scrub())
    np.testing.assert_array_equal(plain.stored, stored)
    assert plain.ledger.count("write access") == written == 999
    assert plain.ledger.entries == twin.ledger.entries


@pytest.mark.parametrize("form", ["ternary", "int8", "fp16", "bf16"])
def test_every_pattern_that_is_read_is_written_back_as_it_is(form):
    """All words of the format, NaN with their payloads included; the two zeros of ternary become the written one."""
    bits = {"ternary": 2, "int8": 8}.get(form, 16)
    memory = Memory(1 << bits, format=form, scale=0.37 if form == "int8" else None, point=point(0.0))
    patterns = np.arange(1 << bits)
    memory._arrays[DATA].words[...] = patterns
    memory.write(memory.read())
    expected = np.where(patterns == 3, 0, patterns) if form == "ternary" else patterns
    np.testing.assert_array_equal(memory._arrays[DATA].words, expected)


def test_fp32_words_are_written_back_bit_for_bit():
    patterns = np.random.default_rng(0).integers(1 << 32, size=1 << 16, dtype=np.uint32)
    patterns[:4] = 0x7F800001, 0xFFC00000, 0x80000000, 0x00000001  # signalling and quiet NaN, -0.0, subnormal
    memory = Memory(patterns.size, format="fp32", point=point(0.0))
    memory._arrays[DATA].words[...] = patterns
    memory.write(memory.read())
    np.testing.assert_array_equal(memory._arrays[DATA].words, patterns)
