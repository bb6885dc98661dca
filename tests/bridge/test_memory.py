"""Memories: numbers in and out through formats, protection, policies, faults; what they report; what they refuse."""

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from bridge.cell.cell import Cell
from bridge.cell.transistor import Transistor
from bridge.dies.die import Die
from bridge.dies.faults import Process
from bridge.dies.spread import Spread
from bridge.dies.variability import Population
from bridge.ledger import Entry, Ledger, transfer
from bridge.memory.cells import READ_BEFORE_WRITE, WRITE_VERIFY_RETRY, WritePolicy
from bridge.memory.codes import encode_secded, pack_blocks, parity_bit
from bridge.memory.declaration import WordMemory
from bridge.memory.formats import FORMATS, format_of
from bridge.memory.mram import Memory
from bridge.memory.protection import Protection
from bridge.memory.read import ReadPoint, Retention
from bridge.memory.sram import SRAM
from bridge.write import OperatingPoint, WriteSetting, operating_point
from mtjsim.presets import load_preset
from physics import approx, junction, point, within_binomial

PROTECTIONS = ("none", "parity", "secded", Protection("range", limit=1e30))
FAINT = junction(25)


def of(name):
    return format_of(name, scale=0.5) if name == "int8" else format_of(name)


def numbers(name, shape, seed=0):
    rng = np.random.default_rng(seed)
    if name == "binary":
        return rng.choice([-1.0, 1.0], shape)
    if name == "ternary":
        return rng.choice([-1.0, 0.0, 1.0], shape)
    if name == "int8":
        return rng.integers(-128, 128, shape) * 0.5
    return of(name).decode(of(name).encode(rng.standard_normal(shape)))


formats = st.sampled_from(FORMATS)
shapes = st.lists(st.integers(0, 5), min_size=1, max_size=3).map(tuple)


@settings(max_examples=100)
@given(formats, shapes, st.sampled_from(PROTECTIONS), st.booleans(), st.integers(0, 99))
def test_without_errors_what_is_written_is_read(name, shape, protection, independent, seed):
    memory = Memory(
        shape,
        format=of(name),
        point=point(),
        errors="independent" if independent else "overwrite",
        protection=protection,
        seed=seed,
    )
    for turn in range(2):
        values = numbers(name, shape, seed + turn)
        memory.write(values)
        np.testing.assert_array_equal(memory.read(), values)
        np.testing.assert_array_equal(memory.stored, values)


@settings(max_examples=60)
@given(formats, shapes, st.sampled_from([0.0, 1.0]), st.sampled_from([0.0, 1.0]))
def test_rates_of_one_leave_the_old_bit(name, shape, p0, p1):
    """Overwrite errors at rate 1: a told 1 that was 0 stays 0. Independent ones: every told 1 ends as 0."""
    form = of(name)
    old, new = (numbers(name, shape, seed) for seed in (1, 2))
    a, b = form.encode(old).astype(np.int64), form.encode(new).astype(np.int64)
    full = (1 << form.bits) - 1
    stays = (b & ~a if p1 else 0) | (~b & a if p0 else 0)
    fails = (b if p1 else 0) | (~b & full if p0 else 0)
    for errors, wrong in (("overwrite", stays), ("independent", fails)):
        memory = Memory(shape, format=form, point=point(p0, p1), errors=errors, initial=old)
        memory.write(new)
        words = np.asarray((b ^ wrong) & full, form.word_dtype)
        np.testing.assert_array_equal(memory.stored, form.decode(words))


class SlowMemory:
    """Words of Python ints and one obvious write: what fails keeps its old bit; then parity, one word at a time."""

    def __init__(self, words):
        self.words, self.parity = list(words), [int(w).bit_count() % 2 for w in words]

    def write(self, words, failed, failed_parity):
        """`failed`: cells that would fail if they had to turn."""
        for n, word in enumerate(words):
            for cells, new, bits, fails in (
                (self.words, int(word), 16, failed[n]),
                (self.parity, int(word).bit_count() % 2, 1, failed_parity[n]),
            ):
                out = 0
                for k in range(bits):
                    old_bit, new_bit = cells[n] >> k & 1, new >> k & 1
                    out |= (old_bit if old_bit != new_bit and k in fails else new_bit) << k
                cells[n] = out

    def read(self):
        return [0.0 if w.bit_count() % 2 != p else None for w, p in zip(self.words, self.parity, strict=True)]


def test_parity_reads_as_zero_what_a_slow_memory_says():
    """Which cells fail is read off the cells afterwards; that the words are zeroed or not, is the slow memory's."""
    values = [numbers("bf16", (300,), seed) for seed in range(4)]
    memory = Memory(300, format="bf16", point=point(0.02), protection="parity", initial=values[0], seed=8)
    slow = SlowMemory([int(w) for w in of("bf16").encode(values[0])])
    for new in values[1:]:
        told = of("bf16").encode(new)
        memory.write(new)
        data, check = memory.state()["words"]
        failed = [{k for k in range(16) if (int(w) ^ int(t)) >> k & 1} for w, t in zip(data, told, strict=True)]
        failed_parity = [{0} if c != t else set() for c, t in zip(check, parity_bit(told), strict=True)]
        slow.write(told, failed, failed_parity)
        assert [int(w) for w in data] == slow.words
        read = memory.read()
        for n, zero in enumerate(slow.read()):
            assert read[n] == (0.0 if zero is not None else memory.stored[n])
    counts = memory.ledger
    assert counts.count("error detected") == counts.count("word read as zero") > 30


@pytest.mark.parametrize("name", ["binary", "ternary", "int8", "bf16", "fp32"])
def test_secded_corrects_one_error_in_a_block_and_zeroes_two(name):
    form = of(name)
    count = 64 // form.bits * 3
    values = numbers(name, (count,), 3)
    values[values == 0] = 1.0
    for wrong_cells, right in (([5], True), ([5, 40], False)):
        memory = Memory(count, format=form, point=point(), protection="secded", initial=values)
        state = memory.state()
        for cell in np.array(wrong_cells) + 64:
            state["words"][0][cell // form.bits] ^= 1 << (cell % form.bits)
        memory.restore(state)
        read = memory.read().reshape(3, -1)
        np.testing.assert_array_equal(read[[0, 2]], values.reshape(3, -1)[[0, 2]])
        np.testing.assert_array_equal(read[1], values.reshape(3, -1)[1] if right else 0.0)
        assert memory.ledger.count("error corrected") == right
        assert memory.ledger.count("error detected") == (not right)


def test_secded_makes_a_weak_memory_a_good_one():
    """At 1e-3 one block of 72 cells in 400 has two errors and more, and is lost; all others are right."""
    values = numbers("fp32", (200_000,), 1)
    raw = 1e-3
    memory = Memory(
        200_000, format="fp32", point=point(raw), errors="independent", protection="secded", seed=4, initial=values
    )
    memory.write(values)
    wrong = np.flatnonzero((memory.read() != values).reshape(-1, 2).any(axis=1)).size
    assert within_binomial(wrong, 100_000, binom.sf(1, 72, raw), 2)
    looks_single = binom.pmf(1, 72, raw) + 33_568 / 59_640 * binom.pmf(3, 72, raw)  # some triple errors pass for one
    assert within_binomial(memory.ledger.count("error corrected"), 100_000, looks_single, 2)


def test_range_check_zeroes_what_is_too_large():
    memory = Memory(4, format="fp32", point=point(), protection=Protection("range", limit=2.0))
    memory.write([1.0, -3.0, np.inf, np.nan])
    assert memory.read().tolist() == [1.0, 0.0, 0.0, 0.0]
    assert memory.ledger.count("word read as zero") == 3


# ---- counts, joules, seconds -----------------------------------------------------------------------------------------


def test_a_ledger_by_hand():
    """Ten cells: 6 told 1, of which 4 held 0; 4 told 0, of which 1 held 1."""
    old = np.array([0, 0, 0, 0, 1, 1, 1, 0, 0, 0]) * 2.0 - 1
    new = np.array([1, 1, 1, 1, 1, 1, 0, 0, 0, 0]) * 2.0 - 1
    energies = {
        "junction": [[2e-13, 1e-13], [4e-13, 3e-13]],
        "transistor": [[1e-14, 1e-14], [2e-14, 2e-14]],
        "driver": [[0, 0], [1e-15, 0]],
    }
    cost = point(energy_0=2e-13, energy_1=4e-13, latency=1e-8, energies=energies)
    reading = ReadPoint(energy_0=1e-15, energy_1=5e-16, sense_energy=1e-16, latency=2e-9)
    memory = Memory(10, format="binary", point=cost, reading=reading, initial=old)
    memory.write(new)
    ledger = memory.ledger
    assert [ledger.count(f"write {b} {k}") for b in (0, 1) for k in ("turned", "held")] == [1, 3, 4, 2]
    assert ledger.joules("device") == approx(1 * 2e-13 + 3 * 1e-13 + 4 * 4e-13 + 2 * 3e-13)
    with_driver = ledger.joules("device") + 4 * 1e-14 + 6 * 2e-14 + 4 * 1e-15
    assert ledger.joules("with_driver") == ledger.joules("system") == approx(with_driver)
    assert ledger.seconds == approx(10 * 1e-8)
    memory.read()
    assert memory.ledger.joules("device") - ledger.joules("device") == approx(4 * 1e-15 + 6 * 5e-16)
    assert memory.ledger.joules("system") - memory.ledger.joules("with_driver") == approx(10 * 1e-16)
    assert memory.ledger.seconds - ledger.seconds == approx(10 * 2e-9)


def test_reading_first_saves_what_needs_no_write():
    values = numbers("bf16", (1000,))
    cost = point(energy_0=1e-13, energy_1=1e-13)
    for policy, pulses in ((WritePolicy(), 16_000), (READ_BEFORE_WRITE, 0)):
        memory = Memory(1000, format="bf16", point=cost, policy=policy, initial=values)
        memory.write(values)
        assert memory.ledger.joules("device") == approx(pulses * 1e-13)


def test_check_cells_cost_what_cells_cost():
    memory = Memory(
        100, format="fp32", point=point(energy_0=1e-13, energy_1=1e-13), protection="parity", code_energy=1e-15
    )
    memory.write(numbers("fp32", (100,)))
    memory.read()
    assert memory.ledger.joules("device") == approx(3300e-13)
    assert memory.ledger.joules("system") == approx(3300e-13 + 200e-15)


def test_retries_are_paid_for():
    memory = Memory(
        100_000, format="binary", point=point(0.1, energy_0=1.0, energy_1=1.0), policy=WRITE_VERIFY_RETRY, seed=1
    )
    memory.write(np.ones(100_000))
    again = memory.ledger.count("cell pulsed again")
    assert within_binomial(again, 111_111, 0.1)  # 0.1 + 0.01 of the cells; a little wider than exact
    assert memory.ledger.joules("device") == 100_000 + again


def test_wear():
    memory = Memory((3, 2), format="ternary", point=point(), wear=True, policy=READ_BEFORE_WRITE)
    memory.write(np.array([[1, 0], [0, -1], [1, 1]]))
    assert memory.pulses.tolist() == [[[1, 0], [0, 0]], [[0, 0], [0, 1]], [[1, 0], [1, 0]]]
    with pytest.raises(ValueError, match="wear must be True"):
        _ = Memory(3, format="binary", point=point()).pulses


# ---- time, reads, faults ---------------------------------------------------------------------------------------------


def test_retention_loses_bits_at_the_rate_of_the_junction():
    device = junction(20)
    retention = Retention(device)
    rate = retention.rates(0.01)[0]
    assert 1e-3 < rate < 0.3
    memory = Memory(200_000, format="binary", point=point(), retention=retention)
    memory.wait(0.01)
    assert within_binomial((memory.read() == 1).sum(), 200_000, rate)
    with pytest.raises(ValueError, match="retention must be given"):
        Memory(2, format="binary", point=point()).wait(1.0)


def test_reads_disturb_the_cells_and_are_wrong_for_once():
    reading = ReadPoint(error_rate_0=0.05, disturb_rate_1=0.02)
    memory = Memory(100_000, format="binary", point=point(), reading=reading, seed=6)
    assert within_binomial((memory.read() == 1).sum(), 100_000, 0.05, 2)
    assert (memory.stored == -1).all()
    memory.write(np.ones(100_000))
    assert (memory.read() == 1).all()
    assert within_binomial((memory.stored == -1).sum(), 100_000, 0.02, 2)


@pytest.mark.parametrize("protection", ["none", "parity", "secded"])
@pytest.mark.parametrize("name", ["binary", "int8", "fp32"])
def test_faults_stay_whatever_is_written(name, protection):
    """Stuck data cells have their bit, stuck check cells theirs, wherever the die says they are."""
    form, rng = of(name), np.random.default_rng(5)
    count = 128 // form.bits * 2
    blank = Memory(count, format=form, point=point(), protection=protection)
    shape = blank.cells_shape
    size = int(np.prod(shape))
    stuck = rng.permutation(size)[: size // 4]
    die = Die.of(shape, stuck_p=stuck[::2], stuck_ap=stuck[1::2])
    memory = Memory(count, format=form, point=point(), protection=protection, die=die)
    values = numbers(name, (count,))
    memory.write(values)
    words = form.encode(values)
    bits = (words[:, None] >> np.arange(form.bits, dtype=words.dtype)) & 1
    if protection == "parity":
        bits = np.concatenate([bits, parity_bit(words)[:, None]], axis=1)
    if protection == "secded":
        check = encode_secded(pack_blocks(words, bits=form.bits))
        bits = np.concatenate([bits.reshape(-1, 64), (check[:, None] >> np.arange(8, dtype=np.uint8)) & 1], axis=1)
    cells = bits.reshape(-1).astype(int)
    cells[stuck[::2]], cells[stuck[1::2]] = 0, 1
    rows = cells.reshape(-1, memory.placement.cells_in_row)
    data = memory.placement.cells_in_row - memory.protection.check_bits
    held = rows[:, :data].reshape(count, form.bits)
    stored = memory.state()["words"]
    assert stored[0].tolist() == [sum(int(b) << k for k, b in enumerate(row)) for row in held]
    if protection != "none":
        assert stored[1].tolist() == [sum(int(b) << k for k, b in enumerate(r)) for r in rows[:, data:]]


def test_weak_cells_fail_more_often():
    weak = np.arange(0, 200_000, 2)
    die = Die.of((200_000,), weak=weak, weak_error_rate_factor=20.0)
    memory = Memory(200_000, format="binary", point=point(1e-3), die=die)
    memory.write(np.ones(200_000))
    failed = memory.read() == -1
    assert within_binomial(failed[weak].sum(), 100_000, 0.02, 2)
    assert within_binomial(failed[weak + 1].sum(), 100_000, 1e-3, 2)


def test_a_die_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"\(3, 4\).*\(3, 32\)|\(3, 32\).*\(3, 4\)"):
        Memory(3, format="fp32", point=point(), die=Die.of((3, 4)))


def test_cells_that_differ_and_a_point_for_another_write():
    device = junction()
    setting = WriteSetting(current_0=75e-6, current_1=75e-6, pulse_width=7.45e-9)
    population = Population(device, Spread(damping_d2d=0.1), setting)
    die = Process(population=population).die((100_000,), seed=3)
    there = operating_point(device, setting)
    memory = Memory(100_000, format="binary", point=there, die=die)
    memory.write(np.ones(100_000))
    rates = die.error_rates[1]
    failed = memory.read() == -1
    assert rates.max() > 10 * rates.min()
    likely = rates > np.median(rates)
    for part in (likely, ~likely):
        assert abs(failed[part].sum() - rates[part].sum()) < 5 * rates[part].sum() ** 0.5
    weaker = replace(setting, pulse_width=7e-9)
    with pytest.raises(ValueError, match="die must have cells that are written as the point's are"):
        Memory(100_000, format="binary", point=operating_point(device, weaker), die=die)


def test_a_die_drawn_for_another_junction_temperature_or_circuit_is_refused():
    device = load_preset("arm_2021")
    amps = WriteSetting(current_0=30e-6, current_1=30e-6, pulse_width=20e-9)
    volts = WriteSetting(voltage_0=1.0, voltage_1=1.2, pulse_width=20e-9)
    cell = Cell(device=device, transistor=Transistor(width=450e-9), supply_voltage=1.2)

    def refused(words, point, die):
        with pytest.raises(ValueError, match=words):
            Memory(8, format="binary", point=point, die=die)

    die = Process(population=Population(device, Spread(damping_d2d=0.1), amps)).die((8,), seed=3)
    Memory(8, format="binary", point=operating_point(device, amps), die=die | Die.of((8,), open=[0]))
    refused("those of a bare junction, .* for a Cell 1T-1MTJ", operating_point(cell, amps), die)
    of_cells = Process(population=Population(cell, Spread(damping_d2d=0.1), amps)).die((8,), seed=3)
    Memory(8, format="binary", point=operating_point(cell, amps), die=of_cells)
    refused("those of a Cell 1T-1MTJ, .* for a bare junction", operating_point(device, amps), of_cells)
    refused("those of a Cell", operating_point(cell.with_width(540e-9), amps), of_cells)
    twice = die | Die.of((8,), open=[0]) | Die.of((8,), open=[1])
    refused("written as the point's are", operating_point(device, replace(amps, pulse_width=10e-9)), twice)
    refused("temperature 300.0 for 350.0", operating_point(device, amps, temperature=350.0), die)
    refused("bare junction, .* for a bare .*Draw the die", operating_point(device.replace(damping=0.02), amps), die)
    of_volts = Process(population=Population(device, Spread(damping_d2d=0.1), volts)).die((8,), seed=3)
    refused("those of a bare junction", operating_point(cell, volts), of_volts)


@pytest.mark.parametrize(("name", "protection"), [("fp16", "secded"), ("fp32", "parity"), ("binary", "none")])
def test_weak_cells_lose_their_bits_earlier_and_the_others_do_not(name, protection):
    holding = Retention(junction(80))
    shape = Memory(500, format=name, point=point(), protection=protection).cells_shape
    n = int(np.prod(shape))
    weak = np.arange(0, n, 3)
    die = Die.of(shape, weak=weak, weak_stability_factor=0.3)  # Delta 24: half of them are random in an hour
    memory = Memory(500, format=name, point=point(), protection=protection, die=die, retention=holding, seed=2)
    memory.wait(3600.0)
    cells = len(memory.placement.located(weak, 0)[0]) + (
        len(memory.placement.located(weak, 1)[0]) if protection != "none" else 0
    )
    assert within_binomial(int(memory.ledger.count("lost while waiting")), cells, 0.5)
    data = memory.state()["words"][0]
    lost = np.flatnonzero((data[:, None] >> np.arange(memory.format.bits, dtype=data.dtype)) & 1)
    assert np.isin(lost, memory.placement.located(weak, 0)[0]).all()


def test_drawn_cells_lose_their_bits_by_their_own_stability():
    device = junction(32)
    population = Population(
        device, Spread(thermal_stability_d2d=0.1), WriteSetting(current_0=75e-6, current_1=75e-6, pulse_width=7e-9)
    )
    die = Process(population=population).die((100_000,), seed=5)
    holding = Retention(device)
    rates = holding.rates_of(3600.0, die.thermal_stability / 32)[0]
    np.testing.assert_allclose(rates[:40], holding.rates_of(3600.0, die.thermal_stability[:40] / 32)[0], rtol=0.01)
    memory = Memory(100_000, format="binary", point=point(), die=die, retention=holding, seed=5)
    memory.wait(3600.0)
    assert within_binomial(int(memory.ledger.count("lost while waiting")), 100_000, rates.mean())
    nominal = int(100_000 * holding.rates(3600.0)[0])
    assert not within_binomial(nominal, 100_000, rates.mean())
    with pytest.raises(ValueError, match="retention must be of the junction"):
        Memory(100_000, format="binary", point=point(), die=die, retention=Retention(device.replace(damping=0.02)))


# ---- streams, checkpoints --------------------------------------------------------------------------------------------


def test_same_seed_same_bits_and_a_checkpoint_goes_on():
    def memory():
        return Memory(
            (50, 7),
            format="fp16",
            point=point(0.05),
            protection="parity",
            reading=ReadPoint(error_rate_0=0.01, disturb_rate_0=0.01),
            wear=True,
            seed=11,
        )

    first, second = memory(), memory()
    for turn in range(3):
        first.write(numbers("fp16", (50, 7), turn))
        first.read()
    saved = first.state()
    for turn in range(3, 6):
        first.write(numbers("fp16", (50, 7), turn))
    second.restore(saved)
    for turn in range(3, 6):
        second.write(numbers("fp16", (50, 7), turn))
    np.testing.assert_array_equal(first.read(), second.read())
    assert first.ledger == second.ledger
    np.testing.assert_array_equal(first.pulses, second.pulses)
    with pytest.raises(ValueError, match="state must be of a memory like this one"):
        Memory(3, format="fp32", point=point(), protection="parity", wear=True).restore(saved)


@pytest.mark.parametrize(
    "other",
    [{"format": "bf16"}, {"protection": "parity"}, {"wear": True}, {"shape": (2, 4)}, {"format": of("int8")}],
)
def test_a_state_of_another_memory_is_refused_and_nothing_changed(other):
    saved = Memory(8, format="fp16", point=point(), initial=np.arange(8), seed=1).state()
    shape = other.get("shape", 8)
    mine = Memory(**({"shape": shape, "format": "fp16", "point": point(), "initial": np.ones(shape)} | other))
    with pytest.raises(ValueError, match="state must be of a memory like this one"):
        mine.restore(saved)
    assert (mine.stored == 1).all()


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (3, "state must be of type Mapping, got 3"),
        ({}, "state must have operations, words, pulses, tallies, past, kind, as state"),
        ({"words": 3}, r"with words uint16 \(8,\), uint8 \(8,\), got int"),
        ({"words": [np.ones(1, np.uint16), np.ones(1, np.uint8)]}, r"got uint16 \(1,\), uint8 \(1,\)"),
        ({"pulses": [None, np.ones(8, np.uint32)]}, "with pulses NoneType, NoneType, got NoneType, uint32"),
        ({"operations": -1}, "operations of state must be a whole number >= 0"),
        ({"tallies": 3}, "tallies of state must be of type list"),
        ({"tallies": [3] * 4}, "state must be of type Mapping, got 3"),
        ({"tallies": [{"counts": {"e": -1}, "variances": {}}] * 4}, "e of state must be finite and >= 0, got -1"),
        ({"past": [3]}, "values must be of type Mapping, got 3"),
        ({"past": [{"memory": "m"}]}, "values must have event, count, as every Entry has"),
    ],
)
def test_a_state_that_is_none_is_refused_and_nothing_changed(state, message):
    memory = Memory(8, format="fp16", point=point(0.3), protection="parity", seed=1)
    memory.write(np.ones(8))
    before = memory.state()
    with pytest.raises(ValueError, match=message):
        memory.restore({**before, **state} if isinstance(state, dict) and state else state)
    after = memory.state()
    assert all(np.array_equal(one, other) for one, other in zip(before["words"], after["words"], strict=True))
    assert {**after, "words": 0} == {**before, "words": 0}


def test_a_ledger_is_written_to_one_file_by_several_at_once(tmp_path):
    ledger = Ledger(Entry(memory="m", event=f"e{i}", count=i) for i in range(20))
    with ThreadPoolExecutor(4) as threads:
        texts = set(threads.map(lambda _: ledger.to_csv(tmp_path / "ledger.csv"), range(200)))
    assert texts == {(tmp_path / "ledger.csv").read_text()}
    assert [path.name for path in tmp_path.iterdir()] == ["ledger.csv"]


def test_a_ledger_is_of_entries():
    for entries in (3, [3], "ab"):
        with pytest.raises(ValueError, match=r"entries must be of type (Iterable|Entry), got"):
            Ledger(entries)
    with pytest.raises(ValueError, match="event must be of type str, got 3"):
        Entry(memory="m", event=3, count=1)


@pytest.mark.parametrize("policy", [WRITE_VERIFY_RETRY, READ_BEFORE_WRITE])
def test_whether_cells_are_counted_or_estimated_changes_no_bit(policy):
    values = numbers("fp16", 40_000, 3)
    stored = []
    for exact in (True, False):
        memory = Memory(40_000, format="fp16", point=point(0.1), policy=policy, exact_counts=exact, seed=4)
        memory.write(values)
        stored.append(memory.stored)
    np.testing.assert_array_equal(*stored)


def test_the_interval_of_joules_adds_the_widths_of_sampled_kinds():
    """1.96 standard deviations of each count, times its price in the scope; a counted kind adds none."""
    ledger = Ledger(
        [
            Entry(memory="m", event="write 1 turned", count=100, variance=25.0, junction=2.0, driver=1.0),
            Entry(memory="m", event="write 0 turned", count=50, variance=4.0, junction=3.0),
            Entry(memory="m", event="read access", count=10, junction=1.0),
        ]
    )
    for scope, total, width in (("device", 360, 5 * 2 + 2 * 3), ("with_driver", 460, 5 * 3 + 2 * 3)):
        low, high = ledger.joules_interval(scope)
        assert (low + high) / 2 == approx(total)
        assert (high - low) / 2 == approx(1.959964 * width, rel=1e-6)
    low, high = ledger.joules_interval("device", confidence=0.99)
    assert (high - low) / 2 == approx(2.575829 * 16, rel=1e-6)
    counted = Ledger(ledger.entries[2:])
    assert counted.joules_interval("device") == (10.0, 10.0)
    with pytest.raises(ValueError, match="confidence must be finite, > 0 and < 1, got 95"):
        ledger.joules_interval(confidence=95)


def test_ledgers_of_unknown_energies_add_up_and_are_equal_to_themselves():
    unknown = OperatingPoint(
        error_rate_0=0.1,
        error_rate_1=0.1,
        energy_0=float("nan"),
        energy_1=float("nan"),
        latency=1e-8,
        setting=None,
        device_identity="a map without energies",
        temperature=300.0,
    )
    memory = Memory(100, format="binary", point=unknown)
    memory.write(np.ones(100))
    assert memory.ledger == memory.ledger
    both = memory.ledger + memory.ledger
    assert len(both.entries) == len(memory.ledger.entries)
    assert both.count("write 1 turned") == 200
    assert np.isnan(both.joules("device"))
    assert both.seconds == approx(200 * 1e-8)


def test_what_a_memory_returns_is_not_its_cells():
    memory = Memory(4, format="fp32", point=point())
    values = np.ones(4, np.float32)
    memory.write(values)
    values[:] = 5
    memory.read()[:] = 7
    assert memory.read().tolist() == [1, 1, 1, 1]


# ---- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": "fp64"}, "format must be one of"),
        ({"format": 16}, 'format must be of type str or Format, got 16. "fp16" is one'),
        ({"policy": "plain"}, "policy must be of type WritePolicy, got 'plain'. PLAIN"),
        ({"point": 1e-3}, r"point must be of type OperatingPoint, got 0.001. OperatingPoint\.of_rates\(...\) makes"),
        ({"protection": None}, "protection must be of type Protection or str"),
        ({"reading": 1e-3}, "reading must be of type ReadPoint"),
        ({"reading": 0}, "reading must be of type ReadPoint"),
        ({"retention": 85.0}, "retention must be of type Retention"),
        ({"scale": 0.1}, "scale must be None for binary"),
        ({"shape": 10.5}, "shape must be a whole number >= 0, got 10.5"),
        ({"shape": None}, "shape must be a whole number >= 0, got None"),
        ({"errors": "flips"}, "errors must be one of"),
        ({"protection": "ecc"}, "protection must be one of"),
        ({"protection": "range"}, "limit must be given"),
        ({"errors": "independent", "policy": READ_BEFORE_WRITE}, "policy must not read first"),
        ({"seed": -1}, "seed must be a whole number"),
        ({"words_at_once": 0}, "words_at_once must be a whole number"),
        ({"code_energy": -1.0}, "code_energy must be"),
        ({"initial": np.ones(3)}, "initial must have the memory's shape"),
    ],
)
def test_refusals(change, words):
    with pytest.raises(ValueError, match=words):
        Memory(**({"shape": 4, "format": "binary", "point": point()} | change))


# ---- the declaration -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FORMATS)
def test_a_memory_of_a_declaration_is_the_one_of_its_fields(name):
    fields = {
        "point": point(0.03, 0.1, energy_0=1e-13, energy_1=2e-13, latency=1e-8),
        "format": of(name),
        "errors": "overwrite",
        "policy": WRITE_VERIFY_RETRY,
        "protection": "secded",
        "reading": ReadPoint(error_rate_0=0.01, disturb_rate_1=0.01, energy_1=1e-15, latency=1e-9),
        "retention": Retention(junction(25)),
        "exact_counts": False,
        "wear": True,
        "words_at_once": 3,
        "code_energy": 1e-15,
    }
    assert set(fields) | {"scale", "overflow", "rounding"} == {field.name for field in dataclasses.fields(WordMemory)}
    memories = Memory((300, 40), WordMemory(**fields), seed=5), Memory((300, 40), **fields, seed=5)
    for memory in memories:
        memory.write(numbers(name, (300, 40)))
        memory.wait(1e-3)
    np.testing.assert_array_equal(memories[0].read(), memories[1].read())
    np.testing.assert_array_equal(memories[0].pulses, memories[1].pulses)
    assert memories[0].ledger.to_csv() == memories[1].ledger.to_csv()


def test_a_declaration_and_its_fields_are_not_mixed():
    declaration = WordMemory(point=point(), format="fp16")
    with pytest.raises(ValueError, match="declaration must have format, wear in it"):
        Memory(3, declaration, format="fp16", wear=True)
    with pytest.raises(ValueError, match="declaration must be of type WordMemory"):
        Memory(3, "fp16")
    with pytest.raises(TypeError, match="unexpected keyword argument 'fromat'"):
        Memory(3, point=point(), fromat="fp16")


def test_a_format_and_a_protection_by_name_or_as_they_are():
    whole = WordMemory(
        point=point(), format=format_of("int8", scale=0.5, overflow="saturate"), protection=Protection("parity")
    )
    named = WordMemory(point=point(), format="int8", scale=0.5, overflow="saturate", protection="parity")
    assert whole == named
    assert hash(whole) == hash(named)
    assert whole.word_format == format_of("int8", scale=0.5, overflow="saturate")
    other = replace(whole, scale=0.25)  # a change of one field keeps the others
    assert (other.word_format.scale, other.overflow, other.protection) == (0.25, "saturate", Protection("parity"))
    assert replace(whole, point=point(0.5)).word_format == whole.word_format
    with pytest.raises(ValueError, match="scale must be left out with a Format, and so must overflow and rounding"):
        WordMemory(point=point(), format=format_of("fp16"), scale=1.0)


def test_arrays_of_int8_words_have_a_scale_each():
    declaration = WordMemory(point=point(), format="int8", scale={"a": 0.5, "b": 2.0})
    assert [declaration.for_array(name).word_format.scale for name in "ab"] == [0.5, 2.0]
    alike = WordMemory(point=point(), format="int8", scale=0.5)
    assert alike.for_array("a") is alike
    with pytest.raises(ValueError, match="scale must name each array of int8 words, got none for c"):
        declaration.for_array("c")
    with pytest.raises(ValueError, match="scale must be one number for one array"):
        Memory(3, declaration)
    with pytest.raises(ValueError, match="scale must be between"):
        WordMemory(point=point(), format="int8", scale={"a": 0.5, "b": 1e38})


def test_values_of_another_shape_or_kind():
    memory = Memory((2, 2), format="binary", point=point())
    with pytest.raises(ValueError, match=r"values must have the memory's shape \(2, 2\), got \(4,\)"):
        memory.write(np.ones(4))
    with pytest.raises(ValueError, match="-1"):
        memory.write(np.zeros((2, 2)))
    with pytest.raises(ValueError, match="shape must be a whole number"):
        Memory((2.5,), format="binary", point=point())


# ---- the error-free memory -------------------------------------------------------------------------------------------


def test_sram_rounds_as_its_format_and_never_errs():
    cache = SRAM((2, 50), format="bf16", kind="1MB")
    values = np.random.default_rng(0).standard_normal((2, 50))
    cache.write(values)
    np.testing.assert_array_equal(cache.read(), of("bf16").decode(of("bf16").encode(values)))
    assert cache.ledger.joules("system") == approx(2 * 1600 * 100e-12 / 64)
    assert cache.ledger.joules("with_driver") == 0
    both = cache.ledger + SRAM(1, format="fp32", name="other").ledger
    assert both.count("read access") == 100
    with pytest.raises(ValueError, match="state must be of a memory like this one"):
        SRAM(3, format="bf16").restore(cache.state())
    for state, message in (({}, "must have words, accesses, kind"), (cache.state() | {"words": [1]}, "got list")):
        with pytest.raises(ValueError, match=message):
            cache.restore(state)
    with pytest.raises(ValueError, match="bits must be finite and >= 0"):
        transfer(-5, energy_per_bit=1e-12, source="assumed")
    with pytest.raises(ValueError, match="source of energy_per_bit must be given"):
        SRAM(1, format="fp32", energy_per_bit=1e-12)
    with pytest.raises(ValueError, match="kind must be one of"):
        SRAM(1, format="fp32", kind="2MB")


def test_sram_is_a_declaration_until_it_is_used():
    """Of its words and counts nothing is in equality, hash and text: a training is named by what it declares."""
    declared, used = SRAM(), SRAM()
    used.count(written=10, read=20)
    assert used == declared
    assert hash(used) == hash(declared)
    assert repr(used) == repr(declared)
    assert SRAM(kind="1MB") != declared
    assert [used.ledger.count(f"{verb} access") for verb in ("write", "read")] == [10, 20]
    assert used.ledger.joules("system") == approx(30 * 32 * 20e-12 / 64)
    assert not declared.ledger.entries
    assert not replace(used).ledger.entries  # another one, declared alike
    cache = SRAM(3)
    cache.write([1.0, 2.0, 3.0])
    assert cache.read().tolist() == [1.0, 2.0, 3.0]
    with pytest.raises(ValueError, match="format must be of type Format or str, got 32"):
        SRAM(format=32)


# ---- what a ledger does not know -------------------------------------------------------------------------------------


def test_columns_without_a_price_are_dashes_and_their_totals_lower_bounds():
    """Without a cell the three columns were equal, as if transistor and driver took no energy."""
    memory = Memory(10, format="binary", point=point(energy_0=1e-13, energy_1=1e-13))
    memory.write(np.ones(10))
    ledger = memory.ledger
    assert [ledger.known(scope) for scope in ("device", "with_driver", "system")] == [True, False, False]
    lines = str(ledger).splitlines()
    assert lines[2].split()[-3:] == ["1e-12", "-", "-"]
    assert lines[3].split() == ["total", "1e-12", "≥", "1e-12", "≥", "1e-12"]
    assert "The operating point of a bridge.Cell has those of transistor and driver" in str(ledger)
    row = next(row for row in ledger.table() if row["event"] == "write 1 turned")
    assert row["joules_device"] == approx(1e-12)
    assert np.isnan([row["joules_with_driver"], row["joules_system"]]).all()
    assert ledger.joules("system") == ledger.joules("device") == approx(1e-12)


def test_a_priced_cell_has_no_dashes_in_its_totals():
    energies = {part: np.full((2, 2), 1e-13) for part in ("junction", "transistor", "driver")}
    memory = Memory(10, format="binary", point=point(energy_0=1e-13, energy_1=1e-13, energies=energies))
    memory.write(np.ones(10))
    assert all(memory.ledger.known(scope) for scope in ("device", "with_driver", "system"))
    assert str(memory.ledger).splitlines()[-1].split() == ["total", "1e-12", "3e-12", "3e-12"]
    with_cache = memory.ledger + SRAM(1, energy_per_bit=1e-13, source="assumed").ledger
    assert with_cache.known("system")


def test_unknown_and_missing_energies_are_dashes():
    nothing, unknown = point(), point(energy_0=np.nan, energy_1=np.nan)
    for cost in (nothing, unknown):
        memory = Memory(10, format="binary", point=cost)
        memory.write(np.ones(10))
        total = next(line for line in str(memory.ledger).splitlines() if "total" in line)
        assert total.split() == ["total", "-", "-", "-"]


def test_reads_that_are_taken_to_be_free_are_noted():
    for reading, noted in ((None, True), (ReadPoint(latency=1e-9), False)):
        memory = Memory(10, format="binary", point=point(), policy=WRITE_VERIFY_RETRY, reading=reading)
        memory.write(np.ones(10))
        assert ("taken to be exact and free, without a ReadPoint" in str(memory.ledger)) is noted


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"protection": "SECDED"}, "protection must be one of .*, got 'SECDED'. Did you mean 'secded'"),
        ({"protection": "hamming"}, "got 'hamming'. The code that corrects is 'secded'"),
        ({"protection": "ECC"}, "got 'ECC'. The code that corrects is 'secded'"),
        ({"shape": "1Mb"}, "shape must be a whole number >= 0, or several, one a side, got '1Mb'"),
        ({"format": "FP32"}, "format must be one of .* Did you mean 'fp32'"),
    ],
)
def test_names_that_are_nearly_right(changes, message):
    given = {"shape": 8, "format": "fp32", "point": point()} | changes
    with pytest.raises(ValueError, match=message):
        Memory(given.pop("shape"), **given)
