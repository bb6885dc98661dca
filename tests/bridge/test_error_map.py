"""Maps: labels, values of the front door, axes that are refused, a file that comes back equal."""

import warnings

import pytest

from bridge import write_error_map
from mtjsim import dissipated_energy, write_error_rate
from physics import approx
from physics import lopsided_junction as junction

with warnings.catch_warnings():  # not about us: what xarray imports
    warnings.simplefilter("ignore")
    xr = pytest.importorskip("xarray")

CURRENTS, WIDTHS, TEMPERATURES = [20e-6, 45e-6, 70e-6], [2e-9, 5e-9], [280.0, 350.0]


@pytest.fixture(scope="module")
def error_map():
    return write_error_map(junction(), CURRENTS, WIDTHS, TEMPERATURES, rise_time=0.5e-9, relax_time=1e-9, energy=True)


def test_labels(error_map):
    rate = error_map["write_error_rate"]
    assert rate.dims == error_map["energy"].dims == ("direction", "current", "pulse_width", "temperature")
    assert rate.shape == (2, 3, 2, 2)
    assert error_map.direction.values.tolist() == ["p_to_ap", "ap_to_p"]
    units = {"current": "A", "pulse_width": "s", "temperature": "K", "write_error_rate": "1", "energy": "J"}
    assert {name: error_map[name].attrs["units"] for name in units} == units
    assert error_map.attrs["device_identity"] == junction().identity
    assert error_map.attrs["rise_time"] == 0.5e-9
    assert error_map.attrs["relax_time"] == 1e-9


@pytest.mark.parametrize("direction", ["p_to_ap", "ap_to_p"])
@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_values_are_those_of_the_front_door(error_map, direction, temperature):
    for current in CURRENTS:
        here = error_map.sel(direction=direction, current=current, temperature=temperature)
        write = {"current": current, "pulse_width": WIDTHS, "direction": direction, "temperature": temperature}
        rate = write_error_rate(junction(), rise_time=0.5e-9, relax_time=1e-9, **write)
        assert here["write_error_rate"].values == approx(rate, rel=1e-9)
        energy = dissipated_energy(junction(), rise_time=0.5e-9, **write)
        assert here["energy"].values == approx(energy, rel=1e-9)


def test_scalars_make_axes_of_one():
    one = write_error_map(junction(), 60e-6, 5e-9)
    assert dict(one.sizes) == {"direction": 2, "current": 1, "pulse_width": 1, "temperature": 1}
    assert "energy" not in one
    expected = write_error_rate(junction(), current=60e-6, pulse_width=5e-9, direction="ap_to_p")
    assert float(one["write_error_rate"].sel(direction="ap_to_p").squeeze()) == approx(expected, rel=1e-9)


def test_file_round_trip(error_map, tmp_path):
    path = tmp_path / "map.nc"
    error_map.to_netcdf(path, engine="h5netcdf")
    with xr.open_dataset(path, engine="h5netcdf") as back:
        xr.testing.assert_identical(back.load(), error_map)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"currents": []}, "currents must be .* at least one"),
        ({"currents": [[1e-5], [2e-5]]}, "currents must be .*one-dimensional"),
        ({"currents": [2e-5, 1e-5]}, "currents must be strictly increasing"),
        ({"currents": [-1e-5, 1e-5]}, "currents must be .*>= 0 A, got -1e-05"),
        ({"pulse_widths": [1e-9, 1e-9]}, "pulse_widths must be strictly increasing"),
        ({"pulse_widths": [0.0, 1e-9]}, "pulse_widths must be .*> 0 s, got 0"),
        ({"temperatures": [300.0, 200.0]}, "temperatures must be strictly increasing"),
        ({"temperatures": [0.0, 200.0]}, "temperatures must be .*> 0 K, got 0"),
        ({"rise_time": 3e-9}, "rise_time must be <= pulse_width"),
    ],
)
def test_bad_axis(changes, message):
    grid = {"currents": CURRENTS, "pulse_widths": WIDTHS, "temperatures": TEMPERATURES}
    with pytest.raises(ValueError, match=message):
        write_error_map(junction(), **(grid | changes))
