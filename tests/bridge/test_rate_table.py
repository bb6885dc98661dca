"""Measured rates without counts: read, kept in a map, and crossing to a memory as an operating point."""

import math

import numpy as np
import pytest

from bridge import (
    ErrorMap,
    Memory,
    OperatingPoint,
    WriteRates,
    WriteSetting,
    load_map,
    measured_map,
    read_rates,
    save_map,
)
from mtjsim import ErrorCount, WriteCounts

TABLE = """# an invented table
current (uA),pulse_width [ns],direction,write_error_rate [%]
60,5,p_to_ap,1.2
60,5,ap_to_p,0.3
70,5,p_to_ap,0.1
"""
SETTING = WriteSetting(current_0=60e-6, current_1=60e-6, pulse_width=5e-9)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "rates.csv"
    path.write_text(TABLE)
    return path


def test_rates_become_a_map_without_intervals(path, tmp_path):
    dataset = measured_map(read_rates(path))
    save_map(dataset, tmp_path / "map.nc")
    dataset = load_map(tmp_path / "map.nc")
    assert (dataset.attrs["kind"], dataset.attrs["intervals"]) == ("measured", "none: rates without counts")
    assert not {"trials", "errors"} & set(dataset.variables)
    assert np.isnan(dataset.low.values).all()
    assert np.isnan(dataset.high.values).all()
    found = ErrorMap(dataset)
    assert found.rate(current=60e-6, pulse_width=5e-9, direction=["p_to_ap", "ap_to_p"]) == pytest.approx(
        [0.012, 0.003]
    )
    point = found.operating_point(SETTING)
    assert (point.error_rate_0, point.error_rate_1) == pytest.approx((0.003, 0.012))
    with pytest.raises(ValueError, match=r"was not measured, .* for rates of your own, OperatingPoint\.of_rates\(\)"):
        found.operating_point(WriteSetting(current_0=70e-6, current_1=70e-6, pulse_width=5e-9))


def test_counts_give_an_operating_point_at_measured_settings_only():
    """The rates of `rate`, unknown energies, an identity of the table, the same after a round trip."""
    pulses = {"voltage": 0.5, "pulse_width": 1e-8, "rise_time": 1e-9}
    counts = WriteCounts(**pulses, direction=["p_to_ap", "ap_to_p"], trials=10**6, errors=[1200, 0])
    measured = ErrorMap(measured_map(counts))
    setting = WriteSetting(voltage_0=0.5, voltage_1=0.5, pulse_width=1e-8, rise_time=1e-9)
    point = measured.operating_point(setting)
    assert point.error_rate_1 == 1.2e-3
    assert point.error_rate_0 == pytest.approx(ErrorCount(errors=0, trials=10**6).high)  # no error: the upper end
    assert point.setting == setting
    assert point.latency == pytest.approx(11e-9)
    assert all(math.isnan(energy) for energy in (point.energy_0, point.energy_1))
    assert point.device_identity == f"measured {counts.identity}"
    assert OperatingPoint.from_dict(point.as_dict()).identity == point.identity
    memory = Memory(64, format="binary", point=point)
    memory.write(np.ones(64))
    assert math.isnan(memory.ledger.joules("device"))
    for change, message in (
        ({"voltage_1": 0.6}, r"voltage must be inside the map, .* OperatingPoint\.of_rates\(\)"),
        ({"rise_time": 0.0}, "rise_time of the setting must be that of the map"),
    ):
        with pytest.raises(ValueError, match=message):
            measured.operating_point(WriteSetting(**(setting.as_dict() | change)))
    with pytest.raises(ValueError, match=r"temperature must be inside the map, .* OperatingPoint\.of_rates\(\)"):
        measured.operating_point(setting, temperature=350.0)


def test_a_table_of_rates_is_read_as_one_of_counts_is(path):
    """Arrows, units in headings, percentages; before, only tables of counts took the arrows."""
    path.write_text("current (uA),pulse_width_ns,direction,temperature,write_error_rate (%)\n60,5,P->AP,85C,1.5\n")
    rates = read_rates(path)
    assert rates.pulses["direction"].tolist() == ["p_to_ap"]
    assert rates.pulses["temperature"].tolist() == [358.15]
    assert np.asarray(rates.write_error_rate).tolist() == pytest.approx([0.015])
    path.write_text("current;pulse_width;direction;write_error_rate\n")
    with pytest.raises(ValueError, match="columns are separated by commas"):
        read_rates(path)


HEAD = "current,pulse_width,direction,write_error_rate\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEAD + "6e-5,5e-9,p_to_ap,0\n", "write_error_rate must be > 0, got 0: how small .* Give counts"),
        (HEAD + "6e-5,5e-9,p_to_ap,3\n", "write_error_rate must be <= 1, got 3. Rates are probabilities, not percent"),
        (HEAD + "6e-5,5e-9,p_to_ap,-1e-3\n", "write_error_rate must be finite and >= 0"),
        (HEAD + "6e-5,5e-9,p_to_ap\n", "line 2: needs 4 cells, got 3"),
        (HEAD + "# c\n\n6e-5,5 m,p_to_ap,0.1\n", "line 4: pulse_width must be a quantity in s"),
        (HEAD + "6e-5,5e-9,up,0.1\n", "line 2: direction must be one of 'p_to_ap', 'ap_to_p', got 'up'"),
        (
            HEAD + "6e-5,5e-9,p_to_ap,0.1\n60uA,5ns,p_to_ap,0.2\n",
            "must be one for each setting, got two of current 6e-05",
        ),
        (HEAD.replace("current", "pulse_width [ns]") + "5,5e-9,p_to_ap,0.1\n", "column pulse_width is given twice"),
        (HEAD.replace("current", "curent") + "5,5e-9,p_to_ap,0.1\n", "Did you mean 'current'"),
        (HEAD.replace("current,", "") + "5e-9,p_to_ap,0.1\n", "needs exactly one of the columns current and voltage"),
        (HEAD, "at least one line of values"),
        ("", "needs a line of headings"),
        ('"' + 140_000 * "x", "line 1: not a line of a CSV table"),
    ],
)
def test_bad_tables_of_rates(text, message, path):
    path.write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        read_rates(path)
    assert str(path) in str(caught.value)


def test_arrays_of_rates_must_fit():
    for change in ({"write_error_rate": [0.1, 0.2, 0.3]}, {"current": None}, {"rise_time": 6e-9}, {"direction": "up"}):
        given = {"current": 6e-5, "pulse_width": [5e-9, 6e-9], "direction": "p_to_ap", "write_error_rate": [0.1, 0.2]}
        with pytest.raises(ValueError, match=r"must|exactly"):
            WriteRates(**(given | change))
