"""Files of maps and dies: a changed byte is refused before HDF5 parses it, and every error names the file."""

import os
import warnings

import h5netcdf
import h5py
import numpy as np
import pytest

from bridge import Process, load_die, load_map, save_die, save_map, write_error_map
from bridge.maps.files import _content
from bridge.netcdf import LENGTH, MARK, read_netcdf
from physics import junction

with warnings.catch_warnings():  # not about us: what xarray imports
    warnings.simplefilter("ignore")
    import xarray as xr

AXES = {"currents": [50e-6, 60e-6], "pulse_widths": [5e-9, 10e-9]}


@pytest.fixture(scope="module")
def solved():
    return write_error_map(junction(), **AXES)


@pytest.fixture(scope="module")
def die():
    rates = {"short_rate": 0.02, "open_rate": 0.05, "weak_rate": 0.05}
    factors = {"short_conductance": 1e-3, "weak_error_rate_factor": 10.0, "weak_stability_factor": 0.9}
    return Process(**rates, **factors).die((20, 20), seed=3)


@pytest.fixture
def saved(request, solved, die, tmp_path):
    """The path of a saved map or die, its loader, and whether a loaded one is the one that was saved."""
    path = tmp_path / f"{request.param}.nc"
    if request.param == "map":
        save_map(solved, path)
        return path, load_map, solved.identical
    save_die(die, path)
    return path, load_die, lambda found: found.identity == die.identity


both = pytest.mark.parametrize("saved", ["map", "die"], indirect=True)


def mutated(content, draw):
    """Flipped, zeroed, random or cut off: somewhere, 1 to 512 bytes."""
    content = bytearray(content)
    start, length = int(draw.integers(len(content))), int(2 ** draw.integers(10))
    part = slice(start, min(start + length, len(content)))
    match draw.integers(5):
        case 0:
            content[start] ^= 1 << int(draw.integers(8))
        case 1:
            content[part] = bytes(part.stop - start)
        case 2:
            content[part] = draw.bytes(part.stop - start)
        case 3:
            del content[start:]
        case _:
            del content[part]
    return bytes(content)


def loads(path, load, same):
    """Whether the file loads, as the one that was saved; False if it is refused in one line that names the file."""
    try:
        found = load(path)
    except ValueError as error:
        message = str(error)
    else:
        assert same(found)
        return True
    assert str(path) in message
    assert "\n" not in message
    return False


def fuzz(saved, count):
    path, load, same = saved
    content, draw = path.read_bytes(), np.random.default_rng(7)
    for _ in range(count):
        changed = mutated(content, draw)
        path.write_bytes(changed)
        assert loads(path, load, same) == (changed == content)


@both
def test_damaged_files_are_refused(saved):
    fuzz(saved, 40)


@pytest.mark.slow
@both
def test_four_hundred_damaged_files_are_refused(saved):
    fuzz(saved, 400)


@both
def test_sixteen_zeroed_bytes_do_not_reach_hdf5(saved, monkeypatch):
    """At most places between bytes 2680 and 2840, libhdf5 went on for ever: here at every 64th byte of the file."""
    path, load, _ = saved
    content = path.read_bytes()
    monkeypatch.setattr("xarray.open_dataset", lambda *_, **__: pytest.fail("a damaged file was parsed"))
    for start in range(0, len(content) - LENGTH, 64):
        if any(content[start : start + 16]):
            path.write_bytes(content[:start] + bytes(16) + content[start + 16 :])
            with pytest.raises(ValueError, match="the file was changed or damaged"):
                load(path)


def test_another_junction_in_the_file_is_refused(solved, tmp_path):
    """One byte of the attribute `device`: the cache would answer for a junction of three times the damping."""
    path, other = tmp_path / "m.nc", junction(damping=0.03)
    save_map(solved, path)
    content = path.read_bytes()
    assert content.count(b'"damping":0.01') == 1
    path.write_bytes(content.replace(b'"damping":0.01', b'"damping":0.03'))
    for read in (lambda: load_map(path, expect=other), lambda: write_error_map(other, **AXES, cache=path)):
        with pytest.raises(ValueError, match=r"m\.nc: the file was changed or damaged"):
            read()


def test_a_file_that_hdf5_changed_is_refused(solved, tmp_path):
    """libhdf5 cuts off or overwrites what is after the end of its file; the mark remains."""
    path = tmp_path / "m.nc"
    for change in (
        lambda file: file.attrs.__setitem__("device", file.attrs["device"].replace("0.01", "0.09")),
        lambda file: file.__setitem__("more", np.arange(1000)),
    ):
        save_map(solved, path)
        with h5py.File(path, "r+") as file:
            change(file)
        with pytest.raises(ValueError, match="the file was changed or damaged"):
            load_map(path)


def test_other_readers_read_the_file(solved, tmp_path):
    path = tmp_path / "m.nc"
    save_map(solved, path)
    with xr.open_dataset(path) as found:
        assert found.write_error_rate.identical(solved.write_error_rate)
        assert found.attrs["mtj_bnn_checksum"] == MARK
    with h5py.File(path) as file:
        assert file["write_error_rate"].shape == solved.write_error_rate.shape
    assert path.read_bytes()[-LENGTH:].startswith(b"\nmtj-bnn SHA-256 ")
    assert "mtj_bnn_checksum" not in load_map(path).attrs


# ---- files of 0.5.0: no checksum of the bytes ----------------------------------------------------------------------


def older(dataset, path):
    """Write as 0.5.0 did."""
    dataset.to_netcdf(path, engine="h5netcdf")
    return path


@pytest.fixture
def older_map(solved, tmp_path):
    return older(solved.assign_attrs(content=_content(solved)), tmp_path / "old.nc")


@pytest.fixture
def older_die(die, tmp_path):
    path = save_die(die, tmp_path / "new.nc")
    return older(read_netcdf(path), tmp_path / "old.nc")


def test_files_of_the_former_version_load(older_map, solved):
    assert load_map(older_map, expect=junction()).identical(solved)


def test_dies_of_the_former_version_load(older_die, die):
    assert load_die(older_die).identity == die.identity


def test_a_junction_that_is_not_that_of_its_identity_is_refused(older_map):
    with h5py.File(older_map, "r+") as file:
        file.attrs["device"] = file.attrs["device"].replace('"damping":0.01', '"damping":0.09')
    for expect in (None, junction(damping=0.09)):
        with pytest.raises(ValueError, match="its device does not have its device_identity"):
            load_map(older_map, expect=expect)


def test_a_map_whose_junction_was_exchanged_is_not_saved(solved, tmp_path):
    other = solved.assign_attrs(device=junction(damping=0.09).model_dump_json())
    with pytest.raises(ValueError, match="its device does not have its device_identity"):
        save_map(other, tmp_path / "m.nc")
    assert os.listdir(tmp_path) == []


def with_attributes_damaged(path, load, same, values):
    """Refused values by the name of the attribute, each replaced by each of the values, or deleted (None)."""
    content = path.read_bytes()
    with h5py.File(path) as file:
        names = [name for name in file.attrs if not name.startswith("_")]
    refused = dict.fromkeys(names, 0)
    for name in names:
        for value in values:
            path.write_bytes(content)
            with h5py.File(path, "r+") as file:
                del file.attrs[name]
                if value is not None:
                    file.attrs[name] = value
            refused[name] += not loads(path, load, same)
    return refused


BAD = (None, "x")
MORE = ("", "[]", "{}", "null", 3, np.array([1.0, 2.0]))
fast_and_slow = pytest.mark.parametrize(
    "values", [BAD, pytest.param(MORE, marks=pytest.mark.slow)], ids=["bad", "more"]
)


@fast_and_slow
def test_every_damaged_attribute_of_a_map_is_one_line_with_the_file(older_map, solved, values):
    rates = solved.write_error_rate
    refused = with_attributes_damaged(older_map, load_map, lambda found: found.write_error_rate.equals(rates), values)
    assert all(refused[name] == len(values) for name in ("device", "device_identity", "identity", "method"))


@fast_and_slow
def test_every_damaged_attribute_of_a_die_is_one_line_with_the_file(older_die, die, values):
    refused = with_attributes_damaged(older_die, load_die, lambda found: found.identity == die.identity, values)
    assert all(count == len(values) for name, count in refused.items() if name != "seed")


def test_declared_numbers_that_the_file_cannot_contain(tmp_path):
    """6 kB that declare 8 TB: refused before they are allocated."""
    path = tmp_path / "huge.nc"
    with h5netcdf.File(path, "w") as file:
        file.dimensions = {"x": 10**12}
        file.create_variable("write_error_rate", ("x",), "f8", chunks=(1 << 20,))
    with pytest.raises(ValueError, match=r"huge\.nc: cannot be read as NetCDF .* cannot contain"):
        load_map(path)


def test_numbers_that_unpack_to_more_than_the_limit_are_not_read(tmp_path, monkeypatch):
    """The limit is 1 GiB; here 1 MB, of which the file is a hundredth."""
    monkeypatch.setattr("mtjsim.files.UNPACKED", 1_000_000)
    path = tmp_path / "bomb.nc"
    with h5netcdf.File(path, "w") as file:
        file.dimensions = {"x": 125_001}
        file.create_variable("write_error_rate", ("x",), "f8", data=np.zeros(125_001), compression="gzip")
    with pytest.raises(ValueError, match=r"bomb\.nc: .* cannot contain 1,000,008 bytes of numbers"):
        load_map(path)


# ---- names ----------------------------------------------------------------------------------------------------------


def test_a_name_of_another_format_is_refused_before_anything_is_solved(solved, die, tmp_path, monkeypatch):
    monkeypatch.setattr("bridge.maps.error_map.write_error_rate", lambda *_, **__: pytest.fail("solved"))
    for argument, save in (
        ("path", lambda path: save_map(solved, path)),
        ("path", lambda path: save_die(die, path)),
        ("cache", lambda path: write_error_map(junction(), **AXES, cache=path)),
    ):
        for name in ("x.csv", "x.json", "x.npz", "x.NC.txt"):
            with pytest.raises(ValueError, match=rf"{argument} must end in \.nc, got .*{name}"):
                save(tmp_path / name)
    assert os.listdir(tmp_path) == []


def test_missing_files_and_folders(tmp_path):
    for load in (load_map, load_die):
        with pytest.raises(FileNotFoundError, match=r"file '.*none\.nc' does not exist"):
            load(tmp_path / "none.nc")
        with pytest.raises(IsADirectoryError, match="is a folder"):
            load(tmp_path)
        (tmp_path / "empty.nc").touch()
        with pytest.raises(ValueError, match=r"empty\.nc: cannot be read as NetCDF"):
            load(tmp_path / "empty.nc")


def test_slices_of_a_run_that_was_killed_after_its_map_was_saved_are_removed(tmp_path, monkeypatch):
    path = tmp_path / "m.nc"
    with monkeypatch.context() as patched:
        patched.setattr("bridge.maps.files.FinishedSlices.discard", lambda self: None)
        write_error_map(junction(), **AXES, cache=path)
    assert len(os.listdir(tmp_path)) == 2
    write_error_map(junction(), **AXES, cache=path)
    assert os.listdir(tmp_path) == ["m.nc"]


def test_a_link_in_place_of_the_slices_is_not_followed(tmp_path, monkeypatch):
    """The name of that file can be foreseen by others who may write in the folder."""
    path, victim = tmp_path / "m.nc", tmp_path / "victim"
    victim.write_bytes(b"precious")
    with monkeypatch.context() as patched:
        patched.setattr("bridge.maps.files.FinishedSlices.discard", lambda self: None)
        write_error_map(junction(), **AXES, cache=path)
    (slices,) = tmp_path.glob("*.partial")
    for file in (path, slices):
        file.unlink()
    slices.symlink_to(victim)
    with pytest.raises(OSError, match=r"\.partial' is a link"):
        write_error_map(junction(), **AXES, cache=path)
    assert victim.read_bytes() == b"precious"
