"""Declarations check what they are made of, whoever makes them, and come back from `as_dict` with an equal identity."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from bridge import (
    Cell,
    Die,
    Entry,
    OperatingPoint,
    Population,
    Process,
    ReadPoint,
    ReadSetting,
    Spread,
    Transistor,
    WriteSetting,
    operating_point,
    read_point,
)
from physics import junction

SETTING = WriteSetting(current_0=60e-6, current_1=65e-6, pulse_width=6e-9, rise_time=1e-9)
POINT = OperatingPoint(
    error_rate_0=1e-3,
    error_rate_1=2e-3,
    energy_0=1e-13,
    energy_1=2e-13,
    latency=7e-9,
    setting=SETTING,
    device_identity="x",
    temperature=300.0,
)


def through_json(values):
    return json.loads(json.dumps(values, allow_nan=False))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"error_rate_0": 5.0}, r"error_rate_0 must be <= 1, got 5\. Rates are probabilities"),
        ({"error_rate_1": math.nan}, "error_rate_1 must be finite and >= 0, got nan"),
        ({"error_rate_1": -1e-9}, "error_rate_1 must be finite and >= 0"),
        ({"error_rate_0": None}, "error_rate_0 must be a number"),
        ({"energy_0": -1e-15}, "energy_0 must be finite and >= 0 J"),
        ({"energy_1": math.inf}, r"energy_1 must be finite .* NaN is unknown"),
        ({"latency": -3}, "latency must be finite and >= 0 s, got -3"),
        ({"latency": math.nan}, "latency must be finite and >= 0 s, got nan"),
        ({"temperature": -300}, "temperature must be finite and > 0 K, got -300"),
        ({"temperature": 0}, "temperature must be finite and > 0 K, got 0"),
        ({"setting": SETTING.as_dict()}, r"setting must be of type WriteSetting, .* WriteSetting\.from_dict"),
        ({"device_identity": None}, "device_identity must be of type str"),
    ],
)
def test_the_constructor_of_an_operating_point_checks(change, message):
    with pytest.raises(ValueError, match=message):
        replace(POINT, energies={}, **change)


POINTS = {
    "of a junction": lambda: operating_point(junction(), SETTING, temperature=330.0),
    "of a voltage": lambda: operating_point(
        junction(), WriteSetting(voltage_0=0.3, voltage_1=0.4, pulse_width=1e-8, relax_time=1e-9)
    ),
    "of a cell": lambda: operating_point(
        Cell(device=junction(), transistor=Transistor(width=360e-9), supply_voltage=1.5), SETTING
    ),
    "of rates": lambda: OperatingPoint.of_rates(
        error_rate_0=1e-3, error_rate_1=2e-3, energy_1=1e-13, source="in a table"
    ),
    "of unknown energies": lambda: OperatingPoint.of_rates(
        error_rate_0=0, error_rate_1=1, energy_0=math.nan, energy_1=math.nan, temperature=350
    ),
    "of a priced driver": lambda: OperatingPoint.of_rates(
        error_rate_0=0.1, error_rate_1=0.1, energies={"driver": np.full((2, 2), 1e-13)}
    ),
}


@pytest.mark.parametrize("name", POINTS)
def test_an_operating_point_comes_back_from_its_dict(name):
    point = POINTS[name]()
    back = OperatingPoint.from_dict(through_json(point.as_dict()))
    assert back.identity == point.identity
    assert back == point
    for part, table in point.energies.items():
        np.testing.assert_array_equal(back.energies[part], table)
    without = {key: value for key, value in point.as_dict().items() if key not in ("identity", "energies")}
    if "driver" not in name:
        assert OperatingPoint.from_dict(without).error_rate_0 == point.error_rate_0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"temperature": 301.0}, "identity must be that of the other values, .*changed, or are of another version"),
        ({"setting": {**SETTING.as_dict(), "pulse_width": 7e-9}}, "identity must be that of the other values"),
        ({"setting": {"current_0": 1e-6}}, "values must have pulse_width, as every WriteSetting has"),
        ({"setting": {**SETTING.as_dict(), "pulse": 1}}, r"a field of WriteSetting must be one of .*Did you mean"),
        ({"error_rate": 0.1}, r"a field of OperatingPoint must be one of .*Did you mean 'error_rate_1'"),
        ({"error_rate_0": 5.0}, "error_rate_0 must be <= 1"),
        ({"energies": 3}, "energies must be of type Mapping, got 3"),
        ({"energies": []}, "energies must be of type Mapping"),
        ({"energies": {"junction": [[1, 2]]}}, r"energies\['junction'\] must be a \(2, 2\) array"),
    ],
)
def test_a_dict_that_is_not_of_an_operating_point(change, message):
    with pytest.raises(ValueError, match=message):
        OperatingPoint.from_dict(POINT.as_dict() | change)


def test_a_record_whose_values_were_changed_is_refused():
    rules = "must be that of the other values, .* Without its identity a record is taken as it is"
    other = {"error_rate_1": 0.25, "latency": 1e-9, "junction_identity": "y", "layout": "1T-1MTJ"}
    other["energies"] = {"junction": [[1e-13, 1e-13], [2e-13, 2e-15]]}
    for point in (POINT, OperatingPoint.of_rates(error_rate_0=1e-3, error_rate_1=2e-3, energy_0=1e-13, energy_1=2e-13)):
        record = through_json(point.as_dict())
        for name, value in other.items():
            with pytest.raises(ValueError, match=f"(identity|sha256) {rules}"):
                OperatingPoint.from_dict(record | {name: value})
        with pytest.raises(ValueError, match=f"sha256 {rules}"):
            OperatingPoint.from_dict(record | {"sha256": "0"})
    by_hand = {**record, **other, "identity": None}
    assert OperatingPoint.from_dict(by_hand).error_rate_1 == 0.25


def test_a_record_of_a_former_version_states_no_sha256_of_its_rates():
    former = through_json(POINT.as_dict())
    del former["sha256"]
    assert OperatingPoint.from_dict(former) == POINT


def test_a_read_point_whose_rate_was_changed_is_refused():
    record = through_json(ReadPoint(error_rate_0=1e-3).as_dict())
    with pytest.raises(ValueError, match="sha256 must be that of the other values"):
        ReadPoint.from_dict(record | {"error_rate_0": 1e-4})


def test_what_is_not_a_dict_or_lacks_a_number():
    for kind in (OperatingPoint, ReadPoint, WriteSetting, Spread, Process):
        with pytest.raises(
            ValueError, match=rf"values must be of type Mapping, got 3\. as_dict\(\) of an? {kind.__name__}"
        ):
            kind.from_dict(3)
    values = POINT.as_dict()
    del values["latency"]
    with pytest.raises(ValueError, match="values must have latency, as every OperatingPoint has"):
        OperatingPoint.from_dict(values)


def test_a_read_point_checks_and_comes_back():
    setting = ReadSetting(voltage=0.2, duration=5e-9, sense_noise=1e-6, resistance_d2d=0.05)
    for point in (read_point(junction(), setting, temperature=330.0), ReadPoint(error_rate_0=1e-3)):
        assert ReadPoint.from_dict(through_json(point.as_dict())) == point
    for change, message in (
        ({"temperature": -3}, "temperature must be finite and > 0 K, got -3"),
        ({"setting": 3}, "values must be of type Mapping, got 3"),
        ({"error": 0.1}, "a field of ReadPoint must be one of .*Did you mean"),
    ):
        with pytest.raises(ValueError, match=message):
            ReadPoint.from_dict(point.as_dict() | change)
    with pytest.raises(ValueError, match="setting must be of type ReadSetting"):
        ReadPoint(setting={"voltage": 0.1})


def test_settings_spreads_populations_and_processes_come_back():
    spread = Spread(
        diameter_d2d=0.03,
        resistance_area_product_d2d=0.02,
        drive_c2c=0.01,
        correlations={("resistance_area_product", "diameter"): -0.3},
    )
    assert WriteSetting.from_dict(through_json(SETTING.as_dict())) == SETTING
    assert Spread.from_dict(through_json(spread.as_dict())) == spread
    population = Population(junction(), spread, SETTING, 330)
    back = Population.from_dict(through_json(population.as_dict()), device=junction())
    assert back.identity == population.identity
    with pytest.raises(ValueError, match="values must be those of a Population, got cells 3"):
        Population.from_dict(population.as_dict() | {"cells": 3}, device=junction())
    with pytest.raises(ValueError, match="values must have temperature, as every Population has"):
        Population.from_dict({"spread": spread.as_dict(), "setting": SETTING.as_dict()}, device=junction())
    for process in (
        Process(open_rate=0.1),
        Process(short_rate=0.01, short_conductance=1e-3, population=population),
    ):
        assert Process.from_dict(through_json(process.as_dict()), device=junction()).identity == process.identity
    with pytest.raises(ValueError, match="device must be given: the process has a population"):
        Process.from_dict(process.as_dict())
    with pytest.raises(ValueError, match="device must be the population's, of identity"):
        Process.from_dict(process.as_dict(), device=junction(damping=0.02))
    with pytest.raises(ValueError, match=r"a field of Process must be one of .*Did you mean"):
        Process.from_dict({"short": 0.1})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"count": -1}, "count must be finite and >= 0, got -1"),
        ({"count": math.nan}, "count must be finite"),
        ({"variance": -1.0}, "variance must be finite and >= 0"),
        ({"junction": -1e-15}, "junction must be finite and >= 0 J"),
        ({"periphery": math.inf}, "periphery must be finite"),
        ({"seconds": -1e-9}, "seconds must be finite and >= 0 s"),
    ],
)
def test_the_constructor_of_an_entry_checks_as_transfer_does(change, message):
    with pytest.raises(ValueError, match=message):
        Entry(**({"memory": "m", "event": "e", "count": 1} | change))


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        (0, -1e-3, "conductance must be finite and >= 0 S, or NaN, got -0.001"),
        (1, 0.5, "error_rate_factor must be finite and >= 1, got 0.5"),
        (1, math.nan, "error_rate_factor must be finite and >= 1, got nan"),
        (2, 1.5, r"stability_factor must be in \(0, 1\], got 1.5"),
        (2, 0.0, r"stability_factor must be in \(0, 1\], got 0"),
    ],
)
def test_the_constructor_of_a_die_checks_as_die_of_does(column, value, message):
    columns = [np.array([1e-3]), np.array([2.0]), np.array([0.9])]
    Die((4,), np.array([1]), np.array([4]), *columns)
    columns[column][0] = value
    with pytest.raises(ValueError, match=message):
        Die((4,), np.array([1]), np.array([4]), *columns)
