"""Faults: rates per junction give binomial counts, faults compose by a written order, a wrong file is refused."""

import json
import math
import resource
from itertools import islice

import h5py
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2

from bridge.dies.die import FAULTS, Die
from bridge.dies.faults import Process
from bridge.dies.files import load_die, save_die
from bridge.dies.spread import Spread
from bridge.dies.variability import Cells, Population
from bridge.netcdf import read_netcdf
from bridge.write import WriteSetting
from physics import approx, junction, within_binomial

RATES = {"short_rate": 0.01, "open_rate": 0.02, "stuck_p_rate": 0.005, "stuck_ap_rate": 0.04, "weak_rate": 0.03}
PROCESS = Process(**RATES, short_conductance=1e-3, weak_error_rate_factor=20.0)
POPULATION = Population(
    junction(),
    Spread(diameter_d2d=0.03),
    WriteSetting(current_0=75e-6, current_1=75e-6, pulse_width=7.45e-9),
)


def counts_vary_binomially(counts, trials, rate, alarm=1e-6):
    """Chi-squared of the counts of many dies: too regular (a fixed count) is as wrong as too irregular."""
    spread = ((counts - trials * rate) ** 2).sum() / (trials * rate * (1 - rate))
    return chi2.ppf(alarm / 2, len(counts)) < spread < chi2.isf(alarm / 2, len(counts))


# ---- rates, not counts -----------------------------------------------------------------------------------------------


def test_counts_are_binomial():
    """300 dies of 1000 cells: each kind's total in its exact interval, and its scatter from die to die binomial."""
    dies = list(PROCESS.dies((20, 50), count=300, seed=5))
    for name in FAULTS:
        counts = np.array([die.counts[name] for die in dies])
        rate = RATES[f"{name}_rate"]
        assert within_binomial(counts.sum(), 300_000, rate), name
        assert counts_vary_binomially(counts, 1000, rate), name
        assert not counts_vary_binomially(np.full(300, round(1000 * rate)), 1000, rate)  # a count in place of a rate


@pytest.mark.parametrize("rate", [0.3, 1e-2, 1e-6])
def test_counts_at_all_rates(rate):
    cells = 5_000_000
    die = Process(stuck_p_rate=rate).die((cells,), seed=3)
    assert within_binomial(die.counts["stuck_p"], cells, rate)
    assert len(np.unique(die.faulty)) == len(die.faulty)


def test_rates_of_zero_and_one():
    assert not Process().die((100,), seed=1).faulty.size
    everything = Process(open_rate=0.5, stuck_ap_rate=0.5).die((1000,), seed=1)
    assert np.array_equal(everything.faulty, np.arange(1000))
    assert within_binomial(everything.counts["open"], 1000, 0.5)


def test_positions_are_uniform_and_kinds_independent_of_them():
    die = PROCESS.die((3_000_000,), seed=9)
    halves = die.faulty < 1_500_000
    assert within_binomial(halves.sum(), len(halves), 0.5)
    assert within_binomial((die.faulty % 7 == 0).sum(), len(halves), 1 / 7)
    for name in FAULTS:
        assert within_binomial((die.where(name) < 1_500_000).sum(), die.counts[name], 0.5), name


def test_a_very_large_die_is_cheap():
    """8e8 cells at 1e-6: 800 faults, and nothing of the size of the die in memory."""
    die = Process(stuck_p_rate=5e-7, open_rate=5e-7).die((25_000_000, 32), seed=4)
    assert within_binomial(len(die.faulty), 800_000_000, 1e-6)
    assert die.error_rates is None
    assert sum(array.nbytes for array in die.arrays().values()) < 100_000


def test_same_seed_same_die_and_a_larger_one_begins_with_it():
    one, two, larger = (PROCESS.die(shape, seed=6) for shape in ((40, 50), (40, 50), (3000, 1000)))
    assert one.identity == two.identity
    first = larger.faulty < 2000
    assert np.array_equal(larger.faulty[first], one.faulty)
    assert np.array_equal(larger.kind[first], one.kind)
    assert PROCESS.die((40, 50), seed=7).identity != one.identity


def test_dies_of_a_process_differ_and_can_be_continued():
    three = [die.identity for die in PROCESS.dies((30, 30), count=3, seed=2)]
    more = [die.identity for die in islice(PROCESS.dies((30, 30), count=10, seed=2), 3)]
    assert three == more
    assert len(set(three)) == 3


# ---- what a die is ---------------------------------------------------------------------------------------------------


def test_what_faults_read_as():
    assert [Die.reads_as(kind) for kind in FAULTS[:4]] == [0, 1, 0, 1]
    assert [Die.reads_as(kind) for kind in range(4)] == [0, 1, 0, 1]
    with pytest.raises(ValueError, match="'weak' has no fixed bit"):
        Die.reads_as("weak")
    with pytest.raises(ValueError, match=r"kind must be one of .* Did you mean 'stuck_p'"):
        Die.reads_as("stuckp")


def test_fixed_cells():
    die = Die.of(
        (10,),
        short=[3],
        open=[1],
        stuck_p=[9],
        stuck_ap=[0],
        weak=[5],
        short_conductance=1e-3,
        weak_error_rate_factor=2,
    )
    where, bits = die.fixed_cells
    assert where.tolist() == [0, 1, 3, 9]
    assert bits.tolist() == [1, 1, 0, 0]
    assert die.faulty.dtype == np.int64
    assert die.kind.dtype == np.uint8
    assert die.where("weak").tolist() == [5]


def test_weak_cells_fail_more_often_and_hold_less():
    law = {"weak_error_rate_factor": 20.0, "weak_stability_factor": 0.6}
    die = Process(weak_rate=0.1, population=POPULATION, **law).die((50, 20), seed=1)
    drawn, weak = die.cells, die.where("weak")
    strong = np.setdiff1d(np.arange(1000), weak)
    assert within_binomial(len(weak), 1000, 0.1)
    assert die.error_rates[:, weak] == approx(np.minimum(20 * drawn.error_rates[:, weak], 1))
    assert np.array_equal(die.error_rates[:, strong], drawn.error_rates[:, strong])
    assert die.thermal_stability[weak] == approx(0.6 * drawn.thermal_stability[weak])
    assert np.array_equal(die.thermal_stability[strong], drawn.thermal_stability[strong])
    alone = Die.of((9,), weak=[2, 7], **law)
    assert alone.error_rates is None
    assert alone.thermal_stability is None
    where, rates = alone.weak_error_rates(1e-3, 0.2)
    assert where.tolist() == [2, 7]
    assert rates == approx(np.array([[0.02, 0.02], [1.0, 1.0]]))  # a rate ends at 1


def test_cells_of_a_die_are_those_of_its_population():
    die = Process(stuck_p_rate=0.01, population=POPULATION).die((30, 40), seed=11)
    expected = POPULATION.cells(1200, seed=11)
    assert np.array_equal(die.error_rates, expected.error_rates)
    assert np.array_equal(die.cells.resistance_ap, expected.resistance_ap)


def test_conductances():
    die = Die.of((2, 3), short=[0], open=[1], stuck_p=[2], stuck_ap=[3], short_conductance=5e-3)
    bits = [[1, 0, 1], [0, 1, 0]]
    G = die.conductances(bits, resistance_p=1e3, resistance_ap=2e3)
    assert G.ravel() == approx([5e-3, 0, 1e-3, 5e-4, 5e-4, 1e-3])
    spread = Process(population=POPULATION).die((2, 3), seed=1)
    expected = np.where(np.ravel(bits), 1 / spread.cells.resistance_ap, 1 / spread.cells.resistance_p)
    assert spread.conductances(bits).ravel() == approx(expected)
    with pytest.raises(ValueError, match="resistance_p and resistance_ap must be given"):
        die.conductances(bits)
    with pytest.raises(ValueError, match="resistance_p and resistance_ap must be left out"):
        spread.conductances(bits, resistance_p=1e3, resistance_ap=2e3)
    with pytest.raises(ValueError, match=r"bits must be 0 or 1.*-1 and \+1"):
        die.conductances([[1, -1, 1], [1, 1, 1]], resistance_p=1e3, resistance_ap=2e3)


def test_a_die_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"die must be of .*\(8, 4\), got \(4, 8\)"):
        Die.of((4, 8)).require_shape((8, 4))
    Die.of((4, 8)).require_shape((4, 8))


# ---- joining ---------------------------------------------------------------------------------------------------------


def test_the_first_of_the_order_wins():
    """Every pair of kinds in one cell, both ways round and in one declaration."""
    law = {"short_conductance": 1e-3, "weak_error_rate_factor": 3.0}
    for a, first in enumerate(FAULTS):
        for b, second in enumerate(FAULTS):
            one, two = Die.of((4,), **{first: [1]}, **law), Die.of((4,), **{second: [1]}, **law)
            for joined in (one | two, two | one):
                assert joined.kind.tolist() == [min(a, b)]
                assert joined.error_rate_factor.tolist() == [3.0 if first == second == "weak" else 1.0]
            if a != b:
                assert Die.of((4,), **{first: [1], second: [1]}, **law).kind.tolist() == [min(a, b)]


cells_of_kind = st.fixed_dictionaries({name: st.lists(st.integers(0, 11), max_size=4) for name in FAULTS})
made_by_hand = st.builds(
    lambda cells, G, factor, stability: Die.of(
        (3, 4), **cells, short_conductance=G, weak_error_rate_factor=factor, weak_stability_factor=stability
    ),
    cells_of_kind,
    st.floats(1e-5, 1e-2),
    st.floats(1, 100),
    st.floats(0.1, 1),
)


def same_faults(one, two):
    return (
        all(np.array_equal(value, two.arrays()[name], equal_nan=True) for name, value in one.arrays().items())
        if (one.faulty.size == two.faulty.size and one.faulty.size)
        else one.faulty.size == two.faulty.size
    )


@settings(max_examples=60)
@given(made_by_hand, made_by_hand, made_by_hand)
def test_joining_is_commutative_associative_and_idempotent(a, b, c):
    assert same_faults(a | b, b | a)
    assert same_faults((a | b) | c, a | (b | c))
    assert same_faults(a | a, a)
    assert same_faults(a | Die.of((3, 4)), a)
    assert set((a | b).faulty.tolist()) == set(a.faulty.tolist()) | set(b.faulty.tolist())


def test_joining_keeps_the_drawn_cells():
    drawn = Process(population=POPULATION).die((3, 4), seed=1)
    by_hand = Die.of((3, 4), weak=[5], weak_error_rate_factor=10.0)
    for joined in (drawn | by_hand, by_hand | drawn):
        assert joined.error_rates[:, 5] == approx(10 * drawn.error_rates[:, 5])
    with pytest.raises(ValueError, match="other must be without drawn cells"):
        drawn | Process(population=POPULATION).die((3, 4), seed=2)
    with pytest.raises(ValueError, match=r"die must be of .*\(4, 3\), got \(3, 4\)"):
        drawn | Die.of((4, 3))


# ---- bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"short_rate": 2.0, "short_conductance": 1e-3},
            r"short_rate must be a probability.*got 2. Is it 2 %\? Then give 0.02",
        ),
        ({"open_rate": 800}, "open_rate must be a probability.*not a count"),
        ({"open_rate": -0.1}, "open_rate must be finite and >= 0"),
        ({"stuck_p_rate": math.nan}, "stuck_p_rate must be finite"),
        ({"open_rate": 0.6, "stuck_p_rate": 0.6}, "the rates must sum to at most 1, got 1.2"),
        ({"short_rate": 1e-3}, "short_conductance is missing"),
        ({"short_rate": 1e-3, "short_conductance": -1.0}, "short_conductance must be finite and > 0 S"),
        ({"weak_rate": 1e-3}, "weak cells need weak_error_rate_factor"),
        ({"weak_rate": 1e-3, "weak_error_rate_factor": 0.5}, "weak_error_rate_factor must be >= 1, got 0.5"),
        ({"weak_rate": 1e-3, "weak_stability_factor": 1.5}, r"weak_stability_factor must be in \(0, 1\], got 1.5"),
        ({"population": 0.1}, "population must be of type Population"),
    ],
)
def test_bad_processes(arguments, message):
    with pytest.raises(ValueError, match=message):
        Process(**arguments)


def test_bad_dies():
    with pytest.raises(ValueError, match=r"open must be flat indices from 0 to 5 .*, got 6"):
        Die.of((2, 3), open=[1, 6])
    with pytest.raises(ValueError, match=r"weak must be flat indices from 0 to 5 .*, got -1"):
        Die.of((2, 3), weak=[-1], weak_error_rate_factor=2)
    with pytest.raises(ValueError, match="open must be a one-dimensional array of flat indices, got bool"):
        Die.of((2, 3), open=[True, False])
    with pytest.raises(ValueError, match=r"shape must be a whole number >= 1, .* got '6'"):
        Die.of("6")
    with pytest.raises(ValueError, match="shape must be a whole number >= 1, got 0"):
        PROCESS.die((4, 0), seed=1)
    with pytest.raises(ValueError, match="seed must be a whole number"):
        PROCESS.die((4,), seed=0.5)
    with pytest.raises(ValueError, match=r"cells must be 6, as shape \(2, 3\), got 5"):
        Die.of((2, 3), cells=Cells(np.zeros((2, 5)), *np.ones((3, 5))))
    one, columns = np.ones(2), [np.ones(2)] * 3
    with pytest.raises(ValueError, match="faulty must be ascending"):
        Die((9,), np.array([3, 3]), one, *columns)
    with pytest.raises(ValueError, match=r"kind must be < 5.*got 7"):
        Die((9,), np.array([3, 4]), 7 * one, *columns)
    with pytest.raises(ValueError, match="conductance must have 2 elements"):
        Die((9,), np.array([3, 4]), one, np.ones(3), *columns[1:])


# ---- files -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def process():
    return Process(**RATES, short_conductance=1e-3, weak_error_rate_factor=20.0, population=POPULATION)


@pytest.mark.parametrize(
    "die",
    [
        PROCESS.die((30, 20), seed=1),
        Die.of((7,)),
        PROCESS.die((30, 20), seed=1) | Die.of((30, 20), open=[0]),
        next(PROCESS.dies((5, 5), count=1, seed=1)),
        Process(population=POPULATION).die((3, 4), seed=8),
    ],
    ids=["drawn", "empty", "joined", "long seed", "cells"],
)
def test_round_trip(tmp_path, die):
    found = load_die(save_die(die, tmp_path / "die.nc"))
    assert found.identity == die.identity
    assert found.shape == die.shape
    assert found.seed == die.seed
    for name, value in die.arrays().items():
        assert np.array_equal(found.arrays()[name], value, equal_nan=True), name
        assert found.arrays()[name].dtype == value.dtype, name
    assert [path.name for path in tmp_path.iterdir()] == ["die.nc"]


def test_an_expected_die_is_accepted(tmp_path, process):
    path = save_die(process.die((10, 10), seed=3), tmp_path / "die.nc")
    assert load_die(path, shape=(10, 10), process=process, seed=3).counts


def test_another_die_is_refused_with_the_difference_named(tmp_path, process):
    path = save_die(process.die((10, 10), seed=3), tmp_path / "die.nc")
    with pytest.raises(ValueError, match=r"shape \(10, 10\) in the file, \(5, 20\) expected"):
        load_die(path, shape=(5, 20))
    with pytest.raises(ValueError, match="seed 3 in the file, 4 expected"):
        load_die(path, seed=4)
    other = Process(
        **(RATES | {"open_rate": 0.03}),
        short_conductance=1e-3,
        weak_error_rate_factor=20.0,
        population=Population(POPULATION.device, Spread(diameter_d2d=0.04), POPULATION.setting),
    )
    with pytest.raises(ValueError, match="another die") as caught:
        load_die(path, process=other)
    assert "open_rate 0.02 in the file, 0.03 expected" in str(caught.value)
    assert "population.spread.diameter_d2d 0.03 in the file, 0.04 expected" in str(caught.value)
    assert "short_rate" not in str(caught.value)


def test_a_changed_file_of_the_former_version_is_refused_with_the_part_named(tmp_path, process):
    """0.5.0 wrote no checksum of the bytes."""
    path = save_die(process.die((10, 10), seed=3), tmp_path / "die.nc")
    former = read_netcdf(path)
    former.to_netcdf(path, engine="h5netcdf")
    with h5py.File(path, "r+") as file:
        file["error_rates"][1, 7] *= 1.0001
    with pytest.raises(ValueError, match="not what was saved: error_rates changed"):
        load_die(path)
    former.to_netcdf(path, engine="h5netcdf")
    with h5py.File(path, "r+") as file:
        file.attrs["process"] = json.dumps(process.as_dict() | {"open_rate": 0.5})
    with pytest.raises(ValueError, match="not what was saved: process changed"):
        load_die(path)


def test_what_is_no_die_is_refused(tmp_path):
    text = tmp_path / "text.nc"
    text.write_text("no netcdf")
    with pytest.raises(ValueError, match=r"text.nc: cannot be read as NetCDF"):
        load_die(text)
    xr.Dataset({"a": ("x", [1.0])}).to_netcdf(tmp_path / "other.nc", engine="h5netcdf")
    with pytest.raises(ValueError, match="is not a die: its format is None"):
        load_die(tmp_path / "other.nc")
    with pytest.raises(FileNotFoundError):
        load_die(tmp_path / "none.nc")


def test_a_full_disk_leaves_the_old_file(tmp_path):
    """A limit on the size of files fails as a full disk does, in the middle of a write."""
    old = Die.of((7,), open=[3])
    path = save_die(old, tmp_path / "die.nc")
    size = path.stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, hard))
    try:
        with pytest.raises(OSError, match="too large"):
            save_die(Die.of((7,)), path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert load_die(path).identity == old.identity
    assert [p.name for p in tmp_path.iterdir()] == ["die.nc"]
