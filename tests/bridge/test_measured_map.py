"""Counts in the labels of a map: exact intervals, zero errors as a bound, and nothing between what was measured."""

import warnings

import numpy as np
import pytest

from bridge import ErrorMap, load_map, measured_map, save_map
from mtjsim import ErrorCount, WriteCounts, read_counts
from physics import approx

with warnings.catch_warnings():  # not about us: what xarray imports
    warnings.simplefilter("ignore")
    import xarray as xr

TABLE = """# an invented table
current [uA],pulse_width [ns],direction,trials,errors,temperature [K]
80,5,p_to_ap,1000,31,300
60,5,p_to_ap,1000,120,300
60,10,p_to_ap,1000,0,300
60,5,ap_to_p,500,500,300
60,5,p_to_ap,1000,130,300
60,5,p_to_ap,1000,90,350
"""


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "counts.csv"
    path.write_text(TABLE)
    return measured_map(read_counts(path))


def test_counts_and_intervals(table):
    assert dict(table.sizes) == {"direction": 2, "current": 2, "pulse_width": 2, "temperature": 2}
    place = {"direction": "p_to_ap", "current": 60e-6, "pulse_width": 5e-9, "temperature": 300.0}
    here = table.sel(place, method=None)
    assert (int(here.trials), int(here.errors)) == (2000, 250)  # two rows of one setting
    count = ErrorCount(errors=250, trials=2000)
    assert (float(here.low), float(here.high)) == approx((count.low, count.high), rel=1e-12)
    assert int((table.trials > 0).sum()) == 5
    assert np.isnan(table.write_error_rate.values[table.trials.values == 0]).all()
    all_failed = table.sel(place | {"direction": "ap_to_p"})
    assert float(all_failed.high) == 1
    assert float(all_failed.low) == approx(ErrorCount(errors=500, trials=500).low, rel=1e-12)


def test_no_errors_are_an_upper_bound(table):
    none = {"current": 60e-6, "pulse_width": 10e-9}
    rate = ErrorMap(table).rate(**none)
    assert rate == approx(ErrorCount(errors=0, trials=1000).high, rel=1e-12)
    assert bool(table.upper_bound.sel(direction="p_to_ap", temperature=300.0, **none))
    assert not table.upper_bound.values[table.trials.values == 0].any()


def test_measured_points_only(table):
    error_map = ErrorMap(table)
    assert error_map.rate(current=60.0e-6, pulse_width=[5e-9, 5e-9], temperature=[300, 350]) == approx([0.125, 0.09])
    with pytest.raises(
        ValueError, match=r"was not measured, and nothing is interpolated.*nearest measured one is 6e-05 A"
    ):
        error_map.rate(current=65e-6, pulse_width=5e-9)
    with pytest.raises(ValueError, match="was not measured"):
        error_map.rate(current=80e-6, pulse_width=10e-9)  # of the grid, but nobody measured it
    with pytest.raises(ValueError, match="never extrapolated"):
        error_map.rate(current=90e-6, pulse_width=5e-9)
    with pytest.raises(ValueError, match="a measured map has no bound"):
        error_map.bound(current=60e-6, pulse_width=5e-9)
    with pytest.raises(ValueError, match="setting must be of type WriteSetting"):
        error_map.operating_point(None)


def test_round_trip(table, tmp_path):
    save_map(table, tmp_path / "map.nc")
    back = load_map(tmp_path / "map.nc")
    xr.testing.assert_equal(back, table)
    assert ErrorMap(back).rate(current=60e-6, pulse_width=5e-9) == 0.125


def test_voltages():
    counts = WriteCounts(
        voltage=[0.3, 0.4], pulse_width=5e-9, direction=["p_to_ap", "ap_to_p"], trials=10, errors=[3, 4]
    )
    dataset = measured_map(counts, confidence=0.5)
    assert dataset.voltage.attrs["units"] == "V"
    assert ErrorMap(dataset).rate(voltage=0.4, pulse_width=5e-9, direction="ap_to_p") == 0.4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"direction": "p_to_ap"},
            r"directions must be .* the table, \('p_to_ap',\), got \('p_to_ap', 'ap_to_p'\)",
        ),
        ({"rise_time": [0.0, 1e-9]}, "rise_time must be one number in a map"),
        ({"errors": [-1, 0]}, "errors must be"),
        ({"errors": [11, 0]}, "errors must be <= trials"),
        ({"current": [np.nan, 1e-6]}, "current must be finite"),
    ],
)
def test_bad_tables(change, message):
    rows = {"current": 6e-5, "pulse_width": 5e-9, "direction": ["p_to_ap", "ap_to_p"], "trials": 10, "errors": [1, 2]}
    with pytest.raises(ValueError, match=message):
        measured_map(WriteCounts(**(rows | change)))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("1000,31", "1000,-31", "line 3: errors must be a whole number >= 0"),
        ("80,5,p_to_ap", "80,5,", "line 3: .*direction must be one of"),
        ("current [uA]", "current [ns]", "current"),
        ("80,5", "nan,5", "line 3: .*current"),
        (",direction,", ",way,", "a column must be one of"),
    ],
)
def test_bad_files(old, new, message, tmp_path):
    path = tmp_path / "counts.csv"
    path.write_text(TABLE.replace(old, new, 1))
    with pytest.raises(ValueError, match=message):
        read_counts(path)


def test_one_direction_if_it_is_said():
    counts = WriteCounts(current=6e-5, pulse_width=5e-9, direction="p_to_ap", trials=10, errors=1)
    one = ErrorMap(measured_map(counts, directions=("p_to_ap",)))
    with pytest.raises(ValueError, match="direction 'ap_to_p' is not in this map, only p_to_ap is"):
        one.rate(current=6e-5, pulse_width=5e-9, direction="ap_to_p")
    both = WriteCounts(current=6e-5, pulse_width=5e-9, direction=["p_to_ap", "ap_to_p"], trials=10, errors=1)
    with pytest.raises(ValueError, match=r"directions must be .* \('ap_to_p', 'p_to_ap'\), got \('p_to_ap',\)"):
        measured_map(both, directions=("p_to_ap",))
    with pytest.raises(ValueError, match="confidence must be finite, > 0 and < 1"):
        measured_map(both, confidence=95)
