"""Words updated in place against a `Memory` that is written and read: the same cells, numbers, ledger and state."""

from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.memory.cells import SAMPLE, WritePolicy
from bridge.memory.formats import format_of
from bridge.memory.in_place import InPlaceMemory
from bridge.memory.mram import AT_ONCE, Memory
from bridge.memory.protection import Protection
from bridge.memory.read import ReadPoint, Retention
from physics import junction, point

PROTECTIONS = ("none", "parity", "secded", Protection("range", limit=2.0))
FORMATS = ("fp32", "bf16", "fp16", "int8")
JUNCTION = junction()
rates = st.sampled_from([0.0, 1e-9, 1e-3, 0.04, 0.3, 0.9, 1.0])
shapes = st.lists(st.integers(0, 6), min_size=1, max_size=3).map(tuple)
priced_point = partial(point, latency=1e-8, energy_0=2e-13, energy_1=3e-13)


def twins(shape, **arguments):
    return Memory(shape, **arguments), InPlaceMemory(shape, **arguments)


def words_of(name, rounding="nearest"):
    """Fields of a declaration."""
    int8 = {"scale": 1 / 50, "overflow": "saturate"} if name == "int8" else {}
    return {"format": name, "rounding": "nearest" if name == "fp32" else rounding, **int8}


def bits(values):
    return np.ascontiguousarray(values).view(np.uint32)


def assert_equal(plain, twin):
    """NaN are equal to themselves: compared as bits."""
    np.testing.assert_array_equal(bits(plain.stored), bits(twin.stored))
    assert plain.ledger.entries == twin.ledger.entries
    a, b = plain.state(), twin.state()
    for words, others in zip(a.pop("words"), b.pop("words"), strict=True):
        np.testing.assert_array_equal(words, others)
    assert a == b


def update(plain, twin, new):
    """Write `new` by both roads, and read it."""
    plain.write(new)
    read = plain.read()
    with twin.rewriting() as values:
        values[...] = new
    np.testing.assert_array_equal(bits(read), bits(twin.values))


@settings(max_examples=300)
@given(
    shape=shapes,
    name=st.sampled_from(FORMATS),
    rounding=st.sampled_from(["nearest", "stochastic"]),
    protection=st.sampled_from(PROTECTIONS),
    errors=st.sampled_from(["overwrite", "independent"]),
    p0=rates,
    p1=rates,
    seed=st.integers(0, 2**32),
    start=st.booleans(),
    restored=st.integers(0, 4),
)
def test_in_place_is_write_and_read(shape, name, rounding, protection, errors, p0, p1, seed, start, restored):
    rng = np.random.default_rng(seed)
    initial = rng.standard_normal(shape).astype(np.float32) * 2 if start else None
    arguments = dict(protection=protection, errors=errors, seed=seed, initial=initial, point=priced_point(p0, p1))
    arguments |= words_of(name, rounding)
    odd = [-0.0, 5.0, 1e-7] + ([] if name == "int8" else [np.nan, np.inf, 7e4])
    plain, twin = twins(shape, **arguments)
    assert_equal(plain, twin)
    for step in range(4):
        with np.errstate(all="ignore"):  # of infinities and signalling NaN
            new = np.array(twin.values + np.float32(0.5) * rng.standard_normal(shape).astype(np.float32))
        new[rng.random(shape) < 0.05] = rng.choice(odd)
        update(plain, twin, new)
        assert_equal(plain, twin)
        if step == restored:  # a state of either goes on in either
            states = plain.state(), twin.state()
            plain, twin = twins(shape, **arguments)
            plain.restore(states[1])
            twin.restore(states[0])
            assert_equal(plain, twin)
            np.testing.assert_array_equal(bits(plain.read()), bits(twin.read()))
            np.testing.assert_array_equal(plain.scrub(), twin.scrub())
            assert_equal(plain, twin)
        if step == 1:
            for memory in (plain, twin):
                memory.set_point(priced_point(p1, p0))
    np.testing.assert_array_equal(bits(plain.read()), bits(twin.read(out=np.empty(plain.shape, np.float32))))
    assert_equal(plain, twin)


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("errors", ["overwrite", "independent"])
@pytest.mark.parametrize("protection", PROTECTIONS, ids=str)
@pytest.mark.parametrize("name", FORMATS)
def test_counted_and_estimated_alike_in_a_large_memory(exact, errors, protection, name):
    n, rng = 8 * SAMPLE + 7, np.random.default_rng(1)  # more than a sample of the blocks of int8, too
    plain, twin = twins(
        n,
        protection=protection,
        errors=errors,
        seed=5,
        exact_counts=exact,
        reading=ReadPoint(energy_1=1e-15),
        point=priced_point(1e-3, 2e-3),
        **words_of(name, "stochastic"),
    )
    for _ in range(3):
        update(plain, twin, rng.standard_normal(n).astype(np.float32))
        assert_equal(plain, twin)
    assert any(entry.variance for entry in twin.ledger) is not exact
    assert twin.ledger.count("failed write 1") > 0
    if protection != "none":
        assert 0 < twin.ledger.count("word read as zero") == plain.ledger.count("word read as zero")


@pytest.mark.parametrize("protection", ["parity", "secded"])
def test_the_comparison_would_see_a_forgotten_check_cell(monkeypatch, protection):
    """Negative control: a code that forgets its own failed cells differs from the memory's."""
    plain, twin = twins(2000, protection=protection, seed=5, point=priced_point(0.02))
    whole = InPlaceMemory.syndromes
    monkeypatch.setattr(InPlaceMemory, "syndromes", lambda self, failed: whole(self, [failed[0], failed[1][:0]]))
    with pytest.raises(AssertionError):
        update(plain, twin, np.random.default_rng(0).standard_normal(2000))


def test_what_it_cannot_do_in_place():
    for change in (
        {"format": "binary"},
        {"format": "ternary"},
        {"policy": WritePolicy(attempts=2)},
        {"wear": True},
        {"retention": Retention(junction())},
        {"reading": ReadPoint(error_rate_1=1e-3)},
        {"reading": ReadPoint(disturb_rate_0=1e-9)},
    ):
        with pytest.raises(ValueError, match=f"must be PLAIN.*in place, got {next(iter(change))}=.*Use a Memory"):
            InPlaceMemory(8, point=priced_point(0.1), **change)
    priced = ReadPoint(energy_0=1e-15, energy_1=2e-15)
    plain, twin = twins(8, point=priced_point(0.1), reading=priced)
    update(plain, twin, np.ones(8))
    assert_equal(plain, twin)
    assert twin.ledger.joules("device") > 0


def test_an_array_of_another_kind_to_read_into():
    for memory in twins((2, 3), point=priced_point(0.0)):
        for out in (np.empty((3, 2), np.float32), np.empty((2, 3)), np.empty((3, 2), np.float32).T, [0.0]):
            with pytest.raises(ValueError, match="out must be a writeable, contiguous array of float32"):
                memory.read(out=out)


@pytest.mark.parametrize("name", ["bf16", "fp16", "int8", "fp32"])
@pytest.mark.parametrize("protection", ["none", "parity", "secded", Protection("range", limit=2.0)], ids=str)
def test_a_large_memory_reads_into_an_array_what_it_reads_into_a_new_one(name, protection):
    form = format_of(name, scale=1 / 32 if name == "int8" else None)
    shape, rng = (3, AT_ONCE - 7), np.random.default_rng(0)
    values = rng.standard_normal(shape).astype(np.float32) / 2
    memories = [Memory(shape, format=form, protection=protection, seed=3, point=priced_point(1e-3)) for _ in range(2)]
    for memory in memories:
        memory.write(values)
    out = np.empty(shape, np.float32)
    assert memories[1].read(out=out) is out
    np.testing.assert_array_equal(bits(memories[0].read()), bits(out))
    clean = Memory(shape, format=form, point=priced_point(0.0))
    clean.write(values)
    np.testing.assert_array_equal(clean.read(), form.decode(form.encode(values)))
    assert memories[0].ledger.entries == memories[1].ledger.entries


def test_a_number_that_the_format_lacks_is_named_with_its_place_in_the_whole():
    memory = Memory(3 * AT_ONCE, format=format_of("int8", scale=1.0), point=priced_point(0.0))
    values = np.zeros(3 * AT_ONCE)
    values[2 * AT_ONCE + 5] = 1000.0
    with pytest.raises(ValueError, match=rf"got 1000 at \({2 * AT_ONCE + 5},\)"):
        memory.write(values)
