"""Parts of one memory: of one junction or cell, or refused by name."""

import numpy as np
import pytest

from bridge import (
    Cell,
    ErrorMap,
    Memory,
    OperatingPoint,
    Population,
    Process,
    ReadPoint,
    ReadSetting,
    Retention,
    Spread,
    Transistor,
    WordMemory,
    WriteSetting,
    measured_map,
    operating_point,
    read_point,
)
from mtjsim import WriteCounts, load_preset
from physics import junction

ARM, OTHER = load_preset("arm_2021"), junction()
CELL = Cell(device=ARM, transistor=Transistor(width=450e-9), supply_voltage=1.2)
PAIR = CELL.replace(differential=True)
AMPERES = WriteSetting(current_0=3e-5, current_1=3e-5, pulse_width=2e-8)
READ = ReadSetting(voltage=0.1, duration=2e-7, sense_noise=1e-6)


@pytest.fixture(scope="module")
def points():
    return {one: operating_point(device, AMPERES) for one, device in (("arm", ARM), ("cell", CELL), ("pair", PAIR))}


@pytest.fixture(scope="module")
def readings():
    return {
        "arm": read_point(ARM, READ),
        "cell": read_point(CELL, READ),
        "hot": read_point(ARM, READ, temperature=398.0),
    }


@pytest.mark.parametrize(
    ("of", "read", "rule"),
    [
        ("arm", "cell", "reading must be of what the point is of, a bare junction"),
        ("cell", "arm", r"reading must be of what the point is of, a Cell 1T-1MTJ, .*read_point\(cell"),
        ("pair", "cell", "a Cell 2T-2MTJ"),
        ("arm", "hot", "reading must be at the temperature of the point, 300 K, got 398 K"),
    ],
)
def test_a_reading_of_another_device_or_temperature_is_refused(points, readings, of, read, rule):
    with pytest.raises(ValueError, match=rule):
        WordMemory(point=points[of], reading=readings[read])


@pytest.mark.parametrize(
    ("of", "retention", "rule"),
    [
        ("arm", Retention(OTHER), "retention must be of the junction of the point"),
        ("cell", Retention(OTHER, 233.15), "retention must be of the junction of the point"),
        ("pair", Retention(ARM), "retention must be of the pairs of the point"),
    ],
)
def test_a_retention_of_another_junction_is_refused(points, of, retention, rule):
    with pytest.raises(ValueError, match=rule):
        WordMemory(point=points[of], retention=retention)


def test_parts_that_belong_together(points, readings):
    """At rest the circuit does not matter, and the cells may be stored at another temperature, which is recorded."""
    WordMemory(point=points["cell"], reading=readings["cell"], retention=Retention(ARM))
    WordMemory(point=points["pair"], retention=Retention(PAIR))
    WordMemory(point=points["arm"], reading=ReadPoint(error_rate_0=0.1))
    given = OperatingPoint.of_rates(error_rate_0=0.1, error_rate_1=0.1)
    WordMemory(point=given, reading=readings["arm"], retention=Retention(OTHER, 233.15))
    leaky = Retention(ARM.replace(saturation_magnetization=ARM.saturation_magnetization / 3), 358.0)
    memory = Memory(1000, format="binary", point=given, retention=leaky)
    memory.wait(10.0)
    (entry,) = [entry for entry in memory.ledger if entry.event == "lost while waiting"]
    assert entry.count > 0
    assert "retention at 358 K" in entry.source


def test_a_point_of_another_junction_cannot_be_set_later(points, readings):
    memory = Memory(8, format="binary", point=points["arm"], reading=readings["arm"])
    with pytest.raises(ValueError, match="reading must be of what the point is of"):
        memory.set_point(points["cell"])


def test_a_read_through_a_transistor_pays_for_it(points, readings):
    memory = Memory(1000, format="binary", point=points["cell"], reading=readings["cell"])
    memory.write(np.ones(1000))
    before = memory.ledger.joules("with_driver") - memory.ledger.joules("device")
    memory.read()
    reading = readings["cell"]
    paid = memory.ledger.joules("with_driver") - memory.ledger.joules("device") - before
    written = memory.stored == 1
    of_ones = reading.transistor_energy_1 + reading.driver_energy_1
    of_zeros = reading.transistor_energy_0 + reading.driver_energy_0
    assert paid == pytest.approx(written.sum() * of_ones + (~written).sum() * of_zeros, rel=1e-9)


def test_pairs_of_a_die_are_held_by_both_junctions(points):
    population = Population(PAIR, Spread(thermal_stability_d2d=0.05), AMPERES)
    die = Process(population=population).die((12,), seed=1)
    memory = Memory(12, format="binary", point=points["pair"], die=die, retention=Retention(PAIR, 398.0))
    rates = memory.placement.retention_failures(Retention(PAIR, 398.0), 1e9)[0]
    stability = die.thermal_stability / ARM.thermal_stability(temperature=300.0)
    of_all = np.array(Retention(PAIR, 398.0).rates_of(1e9, stability))
    assert of_all.shape == (2, 12)
    assert np.array_equal(np.array(rates.rates), of_all)


def test_measured_rates_fit_any_read_and_retention_but_no_drawn_cells():
    pulses = {"voltage": 0.5, "pulse_width": 1e-8, "direction": ["ap_to_p", "p_to_ap"]}
    counts = WriteCounts(**pulses, trials=10**6, errors=[300, 1200])
    setting = WriteSetting(voltage=0.5, pulse_width=1e-8)
    point = ErrorMap(measured_map(counts)).operating_point(setting)
    reading, retention = read_point(OTHER, READ, temperature=350.0), Retention(OTHER, 350.0)
    faults = Process(stuck_p_rate=0.5).die((8,), seed=1)
    Memory(8, format="binary", point=point, reading=reading, retention=retention, die=faults)
    drawn = Process(population=Population(OTHER, Spread(), setting)).die((8,), seed=1)
    with pytest.raises(ValueError, match="die must be of faults alone for rates that were measured"):
        Memory(8, format="binary", point=point, die=drawn)
