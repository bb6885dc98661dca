"""Maps as files: reused if they answer the question, refused with the difference named, taken up again after a kill."""

import multiprocessing
import os
import signal
import time
import warnings

import h5py
import numpy as np
import pytest

from bridge import ErrorMap, load_map, measured_map, save_map, write_error_map
from bridge.maps import error_map
from bridge.netcdf import read_netcdf
from mtjsim import WriteCounts, write_error_rate
from physics import junction

with warnings.catch_warnings():  # not about us: what xarray imports
    warnings.simplefilter("ignore")
    import xarray as xr

GRID = {"currents": [20e-6, 45e-6, 70e-6], "pulse_widths": [2e-9, 5e-9], "temperatures": [280.0, 350.0]}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "map.nc"


@pytest.fixture
def counted(monkeypatch):
    """Slices that were solved: a call of the solver for each."""
    solved = []

    def counting(*device, **write):
        solved.append(write)
        return write_error_rate(*device, **write)

    monkeypatch.setattr(error_map, "write_error_rate", counting)
    return solved


def test_cache_is_reused(path, counted):
    first = write_error_map(junction(), **GRID, energy=True, cache=path)
    assert len(counted) == 12
    assert os.listdir(path.parent) == ["map.nc"]
    again = write_error_map(junction(), **GRID, energy=True, cache=path)
    assert len(counted) == 12
    xr.testing.assert_identical(first, again)
    xr.testing.assert_identical(first, load_map(path, expect=junction()))
    xr.testing.assert_identical(first, load_map(path, expect={"device": junction(), **GRID, "rise_time": 0.0}))


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_same_bits_for_any_number_of_workers(workers):
    expected = write_error_map(junction(), **GRID, energy=True, workers=1)
    assert write_error_map(junction(), **GRID, energy=True, workers=workers).equals(expected)


OTHER = [
    ({"device": junction(spin_torque_asymmetry=0.1)}, "device spin_torque_asymmetry: 0.0 in the map, 0.1 expected"),
    ({"currents": [20e-6, 46e-6, 70e-6]}, "current: value 2 of 3 is 4.5e-05 A in the map, 4.6e-05 expected"),
    (
        {"temperatures": [300.0]},
        "temperature: 2 values from 280 to 350 K in the map, 1 values from 300 to 300 K expected",
    ),
    ({"rise_time": 1e-9}, "rise_time: 0.0 in the map, 1e-09 expected"),
    ({"relax_time": 2e-9}, "relax_time: 0.0 in the map, 2e-09 expected"),
    ({"energy": True}, "energy: False in the map, True expected"),
    ({"voltages": [0.1, 0.2], "currents": None}, "voltage: 'absent' in the map, an axis of 2 values expected"),
]


@pytest.mark.parametrize(("change", "message"), OTHER)
def test_another_map_is_refused_by_name(path, change, message, counted):
    write_error_map(junction(), **GRID, cache=path)
    content, solved = path.read_bytes(), len(counted)
    asked = {"device": junction(), **GRID} | change
    with pytest.raises(ValueError, match=message):
        write_error_map(**asked, cache=path)
    assert len(counted) == solved
    expect = {name: value for name, value in change.items() if value is not None}
    with pytest.raises(ValueError, match=message):
        load_map(path, expect=expect)
    assert path.read_bytes() == content


def test_another_method_is_refused(path, monkeypatch):
    write_error_map(junction(), **GRID, cache=path)
    monkeypatch.setattr("bridge.maps.files.METHOD", "fokker-planck 2")
    with pytest.raises(ValueError, match="method: 'fokker-planck 1' in the map, 'fokker-planck 2' expected"):
        load_map(path)


def test_a_part_of_a_map_has_its_own_identity(path):
    whole = write_error_map(junction(), **GRID)
    save_map(whole.isel(temperature=[1]), path)
    part = load_map(path, expect={"temperatures": [350.0]})
    assert part.attrs["identity"] != whole.attrs["identity"]
    assert part.attrs["identity"] == write_error_map(junction(), **(GRID | {"temperatures": 350.0})).attrs["identity"]


def test_changed_numbers_are_refused(path):
    counts = WriteCounts(current=60e-6, pulse_width=5e-9, direction="p_to_ap", trials=1000, errors=[12])
    for dataset in (write_error_map(junction(), **GRID), measured_map(counts, directions=("p_to_ap",))):
        save_map(dataset, path)
        assert load_map(path).identical(dataset)
        with h5py.File(path, "r+") as file:
            file["write_error_rate"][0, 0, 0, 0] = 0.123
        with pytest.raises(ValueError, match="the file was changed or damaged"):
            load_map(path)
        save_map(dataset, path)
        read_netcdf(path).to_netcdf(path, engine="h5netcdf")  # as 0.5.0 wrote it: without a checksum of its bytes
        assert load_map(path).identical(dataset)
        with h5py.File(path, "r+") as file:
            file["write_error_rate"][0, 0, 0, 0] = 0.123
        with pytest.raises(ValueError, match="its numbers are not those that were saved"):
            load_map(path)


def test_changed_or_foreign_files(path):
    dataset = write_error_map(junction(), **GRID)
    dataset.assign_coords(temperature=("temperature", [280.0, 351.0], {"units": "K"})).to_netcdf(
        path, engine="h5netcdf"
    )
    with pytest.raises(ValueError, match="its identity is not that of its contents"):
        load_map(path)
    path.write_text("no map")
    with pytest.raises(ValueError, match="cannot be read as NetCDF"):
        load_map(path)
    with pytest.raises(ValueError, match="cannot be read as NetCDF"):
        write_error_map(junction(), **GRID, cache=path)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        load_map(path.with_name("other.nc"))
    good = path.with_name("good.nc")
    write_error_map(junction(), **GRID, cache=good)
    with pytest.raises(ValueError, match=r"a name in expect must be one of .*Did you mean 'currents'"):
        load_map(good, expect={"current": [1e-6]})


def broken(what):
    dataset = write_error_map(junction(), **GRID)
    if what == "axis":
        return dataset.isel(current=[1, 0, 2])
    if what == "nan":
        dataset["write_error_rate"][0, 0, 0, 0] = np.nan
    if what == "percent":
        dataset["write_error_rate"] = dataset["write_error_rate"] * 100
    if what == "units":
        dataset["current"].attrs["units"] = "uA"
    if what == "dimension":
        return dataset.isel(temperature=0)
    return dataset


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("axis", "currents must be strictly increasing"),
        ("nan", "write_error_rate must be a probability between 0 and 1, got nan"),
        ("percent", "write_error_rate must be a probability"),
        ("units", "current of a map must be in A, got units 'uA'"),
        ("dimension", r"a map is over direction, current or voltage.*Take parts with lists"),
    ],
)
def test_what_is_no_map_is_not_saved_nor_asked(what, message, path):
    with pytest.raises(ValueError, match=message):
        save_map(broken(what), path)
    with pytest.raises(ValueError, match=message):
        ErrorMap(broken(what))
    assert os.listdir(path.parent) == []


@pytest.mark.parametrize(
    "change",
    [
        {"currents": [20e-6, 60.0]},
        {"currents": ["20uA"]},
        {"pulse_widths": [np.nan]},
        {"pulse_widths": None},
        {"workers": 0},
    ],
)
@pytest.mark.filterwarnings("ignore::mtjsim.ImplausibleValue")  # 60 A, on purpose
def test_bad_input_writes_nothing(change, path):
    with pytest.raises(ValueError, match=r"must be|missing|critical currents"):
        write_error_map(junction(), **(GRID | change), cache=path)
    assert os.listdir(path.parent) == []


def test_a_folder_that_is_not_there(tmp_path, counted):
    with pytest.raises(OSError, match=r"cache .* cannot be written"):
        write_error_map(junction(), **GRID, cache=tmp_path / "none" / "map.nc")
    assert not counted


# ---- killed and taken up again ---------------------------------------------------------------------------------------


def slowly(path):
    def slow(*device, **write):
        time.sleep(0.2)
        return write_error_rate(*device, **write)

    error_map.write_error_rate = slow
    write_error_map(junction(), **GRID, cache=path, workers=1)


def test_a_killed_run_goes_on(path, counted):
    run = multiprocessing.get_context("spawn").Process(target=slowly, args=(path,))
    run.start()
    deadline = time.monotonic() + 100
    while not any(p.stat().st_size > 48 for p in path.parent.glob("*.partial")) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(run.pid, signal.SIGKILL)
    run.join()
    run.close()
    (kept,) = path.parent.iterdir()
    whole = kept.stat().st_size // 28  # the number, two widths and the checksum
    assert 1 <= whole < 12
    kept.write_bytes(kept.read_bytes()[: whole * 28] + b"torn")
    resumed = write_error_map(junction(), **GRID, cache=path)
    assert len(counted) == 12 - whole
    assert resumed.equals(write_error_map(junction(), **GRID))
    assert os.listdir(path.parent) == ["map.nc"]


def test_slices_of_another_question_are_not_taken(path, counted, monkeypatch):
    counting = error_map.write_error_rate

    def interrupted(*device, **write):
        if len(counted) == 5:
            raise KeyboardInterrupt
        return counting(*device, **write)

    monkeypatch.setattr(error_map, "write_error_rate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_error_map(junction(), **GRID, cache=path, workers=1)
    assert len(list(path.parent.glob("*.partial"))) == 1
    monkeypatch.setattr(error_map, "write_error_rate", counting)
    before = len(counted)
    (path.parent / "other.nc.0123456789abcdef.partial").touch()  # of another file
    write_error_map(junction(damping=0.02), **GRID, cache=path)
    assert len(counted) == before + 12
    assert sorted(os.listdir(path.parent)) == ["map.nc", "other.nc.0123456789abcdef.partial"]
