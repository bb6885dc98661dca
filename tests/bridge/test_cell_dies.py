"""Dies of cells: each against a direct solve of its own circuit; compliance, breakdown, pairs and their faults, limits.

A cell that is drawn is solved again, as a `Cell` of its own, from the same normals; 1 % is what a population promises.
"""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from bridge import (
    PLAIN,
    WRITE_VERIFY_RETRY,
    Cell,
    Memory,
    Population,
    Process,
    Spread,
    Transistor,
    WriteSetting,
    find_setting,
    load_die,
    operating_point,
    save_die,
)
from bridge.dies.cells import Cells
from bridge.dies.die import Die
from bridge.dies.faults import CHUNK as DEFECT_CHUNK
from bridge.dies.pairs import AP, LEVEL, P, faulty_pair_rates
from bridge.dies.variability import CHUNK
from mtjsim import load_preset
from mtjsim.rng import generator
from physics import approx, cell, junction, within_binomial

ARM = load_preset("arm_2021")
CELL = Cell(device=ARM, transistor=Transistor(width=360e-9), supply_voltage=1.5, word_line_voltage=1.8)
AMPERES = WriteSetting(current_0=40e-6, current_1=52e-6, pulse_width=12e-9)
VOLTS = WriteSetting(voltage_0=1.0, voltage_1=1.2, pulse_width=6e-9)
WIDE = Spread(
    diameter_d2d=0.02,
    resistance_area_product_d2d=0.05,
    tunnel_magnetoresistance_d2d=0.03,
    damping_d2d=0.05,
    drive_per_width_d2d=0.05,
    threshold_voltage_d2d=0.08,
)


def normals(population, seed, count):
    """The normals from which the first cells of `Population.junctions` are drawn."""
    return generator(seed, "d2d", 0).standard_normal((CHUNK, len(population.spread.properties)))[:count]


def agree(population, drawn, *, seed, chosen):
    z = normals(population, seed, max(chosen) + 1)
    for k in chosen:
        own = population.cell_device(z[k]).operating_point(population.setting, temperature=population.temperature)
        assert drawn.error_rates[:, k] == approx([own.error_rate_0, own.error_rate_1], rel=0.01)


# ---- under a supply --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def supply_driven():
    """Resistance and transistor spread: each cell gets another load line."""
    spread = Spread(resistance_area_product_d2d=0.06, drive_per_width_d2d=0.06)
    return Population(cell(junction(tmr_half_voltage=0.5)), spread, replace(VOLTS, voltage_1=1.1))


def test_cells_under_a_supply_against_the_solves_of_their_own_circuits(supply_driven):
    """The lowest, the highest and two other rates of 2000: a spread of more than four."""
    drawn = supply_driven.cells(2000, seed=7)
    order = np.argsort(drawn.error_rates[1])
    assert drawn.error_rates[1].max() > 4 * drawn.error_rates[1].min()
    agree(supply_driven, drawn, seed=7, chosen=order[[0, 600, 1400, -1]].tolist())


def test_a_higher_resistance_and_a_weaker_transistor_make_a_write_fail_more_often(supply_driven):
    z = np.array([[0.0, 0.0], [2.0, 0.0], [0.0, -2.0]])
    for bit in (0, 1):
        nominal, resistive, weak = supply_driven.log_rates(bit, z)
        assert min(resistive, weak) > nominal + 0.1


def test_the_hot_transistor_is_in_the_rates_of_a_hot_population():
    hot = Population(cell(), Spread(drive_per_width_d2d=0.05), VOLTS, 390.0)
    flat = Transistor(width=180e-9, drive_temperatures=[(300, 1.0), (400, 1.0)], threshold_slope=0.0)
    held = cell().replace(transistor=flat)
    z = np.zeros((1, 1))
    own = hot.cell_device(z[0]).operating_point(VOLTS, temperature=390.0)
    assert np.exp(hot.direct_log_rates(1, z)) == approx(own.error_rate_1, rel=1e-3)
    assert own.error_rate_1 > 1.5 * held.operating_point(VOLTS, temperature=390.0).error_rate_1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spread", "setting", "cells"),
    [
        (WIDE, VOLTS, 1_000_000),
        (replace(WIDE, drive_c2c=0.02), replace(VOLTS, rise_time=1e-9), 1000),
    ],
    ids=["a million cells, rectangular", "ramps, and cycles that differ"],
)
def test_a_supply_driven_array_with_six_spreads_against_direct_solves(spread, setting, cells):
    """Forty cells, with the highest and the lowest rates of a chunk; with cycles, direct solves of the coordinates."""
    population = Population(CELL, spread, setting)
    drawn = population.cells(cells, seed=5)
    first = drawn.error_rates[1, : min(CHUNK, cells)]
    order = np.argsort(first)
    chosen = [*order[:5], *order[-5:], *range(30)] if cells > 1000 else order[[0, 300, 700, -1]]
    if spread.drive_c2c:
        z = normals(population, 5, 1000)[chosen]
        for bit in (0, 1):
            assert drawn.error_rates[bit, chosen] == approx(np.exp(population.direct_log_rates(bit, z)), rel=0.01)
        return
    agree(population, drawn, seed=5, chosen=[int(k) for k in chosen])
    for bit, mean in enumerate(population.mean_error_rates()):
        sampled = drawn.error_rates[bit]  # of this die: 5 standard deviations of its own mean
        assert abs(mean.rate - sampled.mean()) < 5 * sampled.std() / cells**0.5 + mean.error


@pytest.mark.slow
def test_ramps_of_a_load_line_against_the_solve_of_the_cells_own_circuit():
    spread = Spread(resistance_area_product_d2d=0.05, threshold_voltage_d2d=0.08)
    population = Population(CELL, spread, replace(VOLTS, rise_time=2e-9))
    z = np.array([[2.0, 2.0], [-1.5, -2.0]])
    for bit in (0, 1):
        direct = np.exp(population.direct_log_rates(bit, z))
        own = [population.cell_device(one).operating_point(population.setting) for one in z]
        assert direct == approx([getattr(point, f"error_rate_{bit}") for point in own], rel=3e-3)


def test_a_wide_transistor_without_driver_gives_the_population_of_the_bare_junction():
    spread = Spread(diameter_d2d=0.05, tunnel_magnetoresistance_d2d=0.05)
    wide = cell(width=1e-3, driver_resistance=0.0, word_line_voltage=3.0)
    setting = WriteSetting(voltage_0=0.5, voltage_1=0.4, pulse_width=6e-9)
    z = np.array([[1.5, -1.0], [-1.0, 2.0]])
    inside, bare = Population(wide, spread, setting), Population(wide.device, spread, setting)
    for bit in (0, 1):
        assert inside.direct_log_rates(bit, z) == approx(bare.direct_log_rates(bit, z), rel=1e-3)


# ---- regulated currents ----------------------------------------------------------------------------------------------


def test_a_cell_that_cannot_carry_the_current_is_written_with_what_it_can():
    """The cell of a tenth more resistance: 5.0e-3 where the nominal one has 1e-3; the others have 1e-3 exactly."""
    point = find_setting(CELL, 1e-3, minimize="latency")
    population = Population(CELL, Spread(resistance_area_product_d2d=0.05), point.setting)
    drawn = Process(population=population).die((4096,), seed=1)
    Memory(4096, format="binary", point=point, die=drawn)
    high = drawn.cells.resistance_ap > ARM.resistance_ap
    assert drawn.error_rates[1][high].min() > 0.999e-3
    assert drawn.error_rates[1][high].max() > 8e-3
    assert drawn.error_rates[1][~high] == approx(1e-3, rel=2e-3)
    starved = population.cell_device(np.array([2.0]))
    with pytest.raises(ValueError, match="cannot be driven"):
        starved.operating_point(point.setting)
    reached = replace(point.setting, current_1=starved.current(1), current_0=starved.current(0))
    own = starved.operating_point(reached).error_rate_1
    assert np.exp(population.log_rates(1, np.array([[2.0]]))) == approx(own, rel=5e-3)
    assert own == approx(5.0e-3, rel=0.02)


def test_a_setting_far_from_the_limit_gives_the_rates_of_the_bare_junction():
    spread, z = Spread(damping_d2d=0.05, resistance_area_product_d2d=0.03), np.array([[1.0, 2.0], [-2.0, -1.0]])
    inside, bare = Population(CELL, spread, AMPERES), Population(ARM, spread, AMPERES)
    assert inside.direct_log_rates(0, z) == approx(bare.direct_log_rates(0, z), rel=1e-12)
    assert inside.identity != bare.identity


def test_a_channel_under_a_supply_gets_the_current_of_its_own_transistor():
    device = junction(channel_resistance=800.0)
    one = cell(device)
    population = Population(one, Spread(drive_per_width_d2d=0.1), replace(VOLTS, voltage_0=0.3, voltage_1=0.3))
    z = np.array([1.5])
    own = population.cell_device(z).operating_point(population.setting)
    for bit in (0, 1):
        assert np.exp(population.direct_log_rates(bit, z[None])) == approx(getattr(own, f"error_rate_{bit}"), rel=1e-6)


# ---- refusals --------------------------------------------------------------------------------------------------------


def test_what_a_population_of_cells_refuses():
    with pytest.raises(ValueError, match=r"drive_per_width_d2d, of a transistor, .*bare junction\. Give its Cell"):
        Population(ARM, Spread(drive_per_width_d2d=0.05), AMPERES)
    with pytest.raises(ValueError, match=r"current_1 .*cannot be driven"):
        Population(CELL.with_width(90e-9), WIDE, AMPERES)
    fragile = CELL.replace(breakdown_voltage=1.0)
    with pytest.raises(ValueError, match=r"current_0 .*breakdown_voltage"):
        Population(CELL.replace(breakdown_voltage=0.6), Spread(), AMPERES)
    population = Population(fragile, Spread(resistance_area_product_d2d=0.1), replace(AMPERES, current_1=45e-6))
    with pytest.raises(ValueError, match=r"breakdown_voltage of 1 V is exceeded in \d+ of \d+ cells, by up to 1"):
        population.cells(1000, seed=1)
    cold = CELL.replace(word_line_voltage=0.4)
    silent = Population(cold, Spread(threshold_voltage_d2d=0.2), replace(VOLTS, voltage_1=1.0))
    with pytest.raises(ValueError, match=r"transistor that does not conduct.*Boost word_line_voltage"):
        silent.cells(10, seed=1)
    with pytest.raises(ValueError, match="temperature must be from 200 to 400 K"):
        Population(CELL, WIDE, AMPERES, 450.0)


# ---- differential pairs ----------------------------------------------------------------------------------------------


def test_a_die_of_pairs_has_the_rates_of_the_pair():
    """2^18 cells at 0.0517, with and without a die of hardly any spread; two counts at 1e-6."""
    pair, n = CELL.replace(differential=True), 1 << 18
    point = pair.operating_point(AMPERES)
    population = Population(pair, Spread(damping_d2d=1e-4), AMPERES)
    drawn = Process(population=population).die((n,), seed=1)
    for die in (None, drawn):
        memory = Memory(n, format="binary", point=point, die=die, seed=1)
        memory.write(np.ones(n))
        wrong = int((memory.stored != 1).sum())
        assert within_binomial(wrong, n, point.error_rate_1, 2)
    mean = population.mean_error_rates()
    assert [m.rate for m in mean] == approx([point.error_rate_0] * 2, rel=0.01)


def test_a_pair_fails_as_half_of_its_two_junctions_which_spread_apart():
    pair = CELL.replace(differential=True)
    population = Population(pair, Spread(damping_d2d=0.05), AMPERES)
    cells, junctions = population.cells(500, seed=2), population.junctions(1000, seed=2)
    first, second = junctions.error_rates[:, ::2], junctions.error_rates[:, 1::2]
    assert cells.error_rates[0] == approx((first[0] + second[1]) / 2, rel=1e-12)
    assert cells.error_rates[1] == approx((first[1] + second[0]) / 2, rel=1e-12)
    assert cells.thermal_stability.shape == cells.resistance_p.shape == (2, 500)
    assert abs(np.corrcoef(first[1], second[1])[0, 1]) < 0.25  # 5 / sqrt(500)
    with pytest.raises(ValueError, match="single junctions, got differential pairs"):
        Die.of((500,), cells=cells).conductances(np.zeros(500, dtype=int))
    rates = np.exp(population.distribution(1, cells=1 << 10).log_rates)
    assert rates.mean() == approx(population.mean_error_rates()[1].rate, rel=0.02)


def test_pairs_with_faults_by_all_outcomes():
    """Every combination of two faults, or none, against a sum over what each junction may be."""
    names = [*LEVEL, None]
    e = {0: 0.1, 1: 0.03}
    for bit, offset, (a, b) in product((0, 1), (0, 1), product(names, repeat=2)):
        wrong = 0.0
        for up, down in product((0, 1), repeat=2):  # whether each write fails
            chance = np.prod([e[w] if fails else 1 - e[w] for w, fails in ((bit, up), (1 - bit, down))])
            held = (bit ^ up, 1 - bit ^ down)
            level = [(AP if h else P) if name is None else LEVEL[name] for h, name in zip(held, (a, b), strict=True)]
            agreed = 0.5 if a is None and b is None else offset
            read = agreed if level[0] == level[1] else float(level[0] > level[1])
            wrong += chance * abs(read - bit)
        rates = np.array([[[e[0], e[0]]], [[e[1], e[1]]]])
        levels = np.array([[-1 if name is None else LEVEL[name] for name in (a, b)]])
        assert faulty_pair_rates(rates, levels, np.array([offset]))[bit, 0] == approx(wrong, rel=1e-12, abs=1e-15)


def test_one_broken_junction_of_a_pair():
    """Rates by hand: where the junctions agree half of the pairs read as either bit; a short decides both bits."""
    pair = CELL.replace(differential=True)
    population = Population(pair, Spread(damping_d2d=1e-6), AMPERES)
    e_0, e_1 = (np.exp(population.log_rates(bit, np.zeros((1, 1))))[0] for bit in (0, 1))
    n, rate = 4 * DEFECT_CHUNK // 8, 0.01
    die = Process(population=population, stuck_p_rate=rate).die((n,), seed=3)
    found = die.error_rates[:, die.where("weak")].T
    ways = {"first": [e_1, e_0], "second": [e_0, e_1]}  # those whose offset is right for the bit of equal junctions
    counts = {way: np.isclose(found, rates, rtol=5e-3).all(axis=1).sum() for way, rates in ways.items()}
    assert sum(counts.values()) == len(found)
    assert within_binomial(int(counts["first"]), n, rate * (1 - rate) / 2, 4)
    assert within_binomial(int(counts["second"]), n, rate * (1 - rate) / 2, 4)
    for kind in ("stuck_p", "stuck_ap"):  # the first, or the second junction at P, and an offset to the same bit
        assert within_binomial(die.counts[kind], n, rate / 2, 4)
    shorts = Process(population=population, short_rate=rate, short_conductance=1e-3).die((n,), seed=3)
    fixed = shorts.counts["stuck_p"] + shorts.counts["stuck_ap"]
    assert within_binomial(fixed, n, 2 * rate * (1 - rate), 4)
    assert set(shorts.fixed_cells[1].tolist()) == {0, 1}


def test_a_broken_pair_does_not_come_right_when_it_is_written_again():
    """Of 4096 pairs those read as 0 for ever whose first junction is stuck at P and whose offset is to 0."""
    pair = CELL.replace(differential=True)
    population, point = Population(pair, Spread(damping_d2d=1e-6), AMPERES), pair.operating_point(AMPERES)
    die = Process(population=population, stuck_p_rate=0.1).die((4096,), seed=3)
    for policy in (PLAIN, WRITE_VERIFY_RETRY):
        memory = Memory(4096, format="binary", point=point, policy=policy, die=die, seed=1)
        for _ in range(30):
            memory.write(np.ones(4096))
        lost = int((memory.stored != 1).sum())
        assert lost == die.counts["stuck_p"]
        assert within_binomial(lost, 4096, 0.1 / 2, 2)


def test_a_weak_junction_of_a_pair_counts_half():
    pair = CELL.replace(differential=True)
    population = Population(pair, Spread(damping_d2d=1e-6), AMPERES)
    law = {"weak_error_rate_factor": 4.0, "weak_stability_factor": 0.5}
    die = Process(population=population, weak_rate=1e-3, **law).die((4000,), seed=1)
    weak = die.where("weak")
    assert len(weak) > 0
    healthy = np.setdiff1d(np.arange(4000), weak)[0]
    e_0, e_1 = (np.exp(population.log_rates(bit, np.zeros((1, 1))))[0] for bit in (0, 1))
    ways = np.array([[(4 * e_1 + e_0) / 2], [(e_1 + 4 * e_0) / 2]])
    assert np.isclose(die.error_rates[1, weak], ways, rtol=5e-3).any(axis=1).all()
    assert np.isclose(die.error_rates[1, weak], ways, rtol=5e-3).any(axis=0).all()
    assert die.error_rates[1, healthy] == approx((e_1 + e_0) / 2, rel=5e-3)
    assert (np.sort(die.thermal_stability[:, weak], axis=0)[0] < 0.6 * die.thermal_stability[0, healthy]).all()


def test_faults_of_pairs_without_a_population_are_refused():
    """A process draws faults of junctions; by hand they are those of cells."""
    point = CELL.replace(differential=True).operating_point(AMPERES)
    drawn = Process(stuck_p_rate=0.5).die((8,), seed=1)
    with pytest.raises(ValueError, match="die must be of the pairs of the point"):
        Memory(8, format="binary", point=point, die=drawn)
    Memory(8, format="binary", point=point, die=Die.of((8,), stuck_p=[1]))
    sound = Process(population=Population(CELL.replace(differential=True), Spread(), AMPERES)).die((8,), seed=1)
    with pytest.raises(ValueError, match="die must be of the pairs of the point"):
        Memory(8, format="binary", point=point, die=sound | drawn)
    Memory(8, format="binary", point=point, die=sound | Die.of((8,), stuck_p=[1]))


def test_drawn_cells_keep_their_origin_in_a_die_made_by_hand(tmp_path):
    """Cells of a bare junction are refused for a cell, also from a file and joined with other faults."""
    drawn = Population(ARM, Spread(damping_d2d=0.05), AMPERES).cells(8, seed=1)
    by_hand = Die.of((8,), cells=drawn)
    save_die(by_hand, tmp_path / "d.nc")
    Memory(8, format="binary", point=operating_point(ARM, AMPERES), die=by_hand)
    point = CELL.operating_point(AMPERES)
    for die in (by_hand, load_die(tmp_path / "d.nc"), by_hand | Die.of((8,), open=[1])):
        with pytest.raises(ValueError, match="got those of a bare junction"):
            Memory(8, format="binary", point=point, die=die)
    own = Cells(drawn.error_rates, drawn.resistance_p, drawn.resistance_ap, drawn.thermal_stability)
    Memory(8, format="binary", point=point, die=Die.of((8,), cells=own))
