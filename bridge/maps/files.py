"""Maps as files: the question that a map answers, its identity, and the refusal of a map of another question.

A finished map is NetCDF, written whole. While it is made, finished slices (one level, direction and temperature, all
widths) are appended to a second file in the same folder, NAME.IDENTITY.partial, with the identity of the question: a
run that was killed resumes from it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import zlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bridge.maps.axes import AXES, DRIVES, axis_of, checked_dataset
from bridge.netcdf import checked_netcdf_path, named_error, read_netcdf, write_netcdf
from mtjsim.checks import ArgumentError, Array, checked_choice, checked_fields, checked_number, checked_ramps
from mtjsim.device import MTJ, require_junction
from mtjsim.pulse import UNITS

if TYPE_CHECKING:
    import xarray as xr

METHOD = "fokker-planck 1"  # raise the number when a change of the solvers moves a rate by more than it promised
EXPECTED = ("device", "currents", "voltages", "pulse_widths", "temperatures", "rise_time", "relax_time", "energy")


@dataclass(frozen=True, eq=False)
class MapQuestion:
    """The question that a map answers.

    Parameters
    ----------
    device : MTJ
    drive : {"current", "voltage"}
    levels, pulse_widths, temperatures : (n,) arrays
        [A] or [V], [s], [K].
    rise_time, relax_time : float
        [s].
    energy : bool

    Raises
    ------
    ValueError
        If an axis is empty, not strictly increasing or out of range, a time negative, or a ramp longer than a pulse.
    """

    device: MTJ
    drive: str
    levels: Array
    pulse_widths: Array
    temperatures: Array
    rise_time: float
    relax_time: float
    energy: bool

    def __post_init__(self) -> None:
        require_junction(self.device)
        for field, name in (("levels", f"{self.drive}s"), ("pulse_widths",) * 2, ("temperatures",) * 2):
            object.__setattr__(self, field, axis_of(name, getattr(self, field)))
        checked_fields(self, zero_allowed=True, rise_time="s", relax_time="s")
        checked_ramps(self.rise_time, self.pulse_widths)

    @property
    def parts(self) -> dict[str, Any]:
        """All that decides the map, by name, in SI: numbers, words and lists of numbers."""
        fields = {f"device {name}": value for name, value in json.loads(self.device.model_dump_json()).items()}
        axes = {self.drive: self.levels, "pulse_width": self.pulse_widths, "temperature": self.temperatures}
        return {
            **fields,
            **{name: values.tolist() for name, values in axes.items()},
            "rise_time": self.rise_time,
            "relax_time": self.relax_time,
            "energy": self.energy,
            "method": METHOD,
        }

    @property
    def identity(self) -> str:
        """SHA-256 of the question: equal identities, equal maps, bit for bit on one machine."""
        return _digest(self.parts, self.device.identity)


def _digest(parts: Mapping[str, Any], device_identity: str) -> str:
    rest = {name: value for name, value in parts.items() if not name.startswith("device ")}
    return hashlib.sha256(json.dumps([device_identity, rest], sort_keys=True).encode()).hexdigest()


def _parts_of(dataset: xr.Dataset) -> dict[str, Any]:
    drive = checked_dataset(dataset)
    fields = json.loads(str(dataset.attrs["device"]))
    return {
        **{f"device {name}": value for name, value in fields.items()},
        **{name: dataset[name].values.tolist() for name in (drive, "pulse_width", "temperature")},
        "rise_time": float(dataset.attrs["rise_time"]),
        "relax_time": float(dataset.attrs["relax_time"]),
        "energy": "energy" in dataset,
        "method": str(dataset.attrs["method"]),
    }


def map_identity(dataset: xr.Dataset) -> str:
    """SHA-256 over junction, axes, ramps, what was solved and how, recomputed: a part of a map has its own.

    Raises
    ------
    ValueError
        If the dataset is not a solved map, or its junction does not have the `device_identity`.
    """
    missing = {"device", "device_identity", "rise_time", "relax_time", "method"} - set(dataset.attrs)
    if missing:
        raise ValueError(f"this is not a solved map: it has no attributes {', '.join(sorted(missing))}.")
    identity = MTJ.from_json(str(dataset.attrs["device"])).identity
    if identity != str(dataset.attrs["device_identity"]):
        reason = "the file was changed or damaged, or is of another version"
        raise ValueError(f"its device does not have its device_identity: {reason}. Make the map again.")
    return _digest(_parts_of(dataset), identity)


def _content(dataset: xr.Dataset) -> str:
    """SHA-256 over the numbers of a map, axes included."""
    found = hashlib.sha256()
    for name in sorted(str(name) for name in dataset.variables):
        values = dataset[name].values
        words = values.dtype.kind not in "biuf"
        found.update(json.dumps([name, list(values.shape)]).encode())
        found.update(json.dumps(values.tolist()).encode() if words else values.astype("<f8").tobytes())
    return found.hexdigest()


def map_differences(have: Mapping[str, Any], want: Mapping[str, Any]) -> list[str]:
    """Name the differences between two sets of parts, with both values; only the parts of `want` are compared."""
    found = []
    for name in want:
        a, b = have.get(name, "absent"), want[name]
        if a == b:
            continue
        if isinstance(a, list) and isinstance(b, list) and not name.startswith("device "):
            unit = {**UNITS, **AXES}[name]
            if len(a) != len(b):
                ends = (f"{len(x)} values from {x[0]:g} to {x[-1]:g} {unit}" for x in (a, b))
                found.append("{}: {} in the map, {} expected".format(name, *ends))
            else:
                k = next(k for k in range(len(a)) if a[k] != b[k])
                found.append(f"{name}: value {k + 1} of {len(a)} is {a[k]!r} {unit} in the map, {b[k]!r} expected")
        else:
            a, b = (f"an axis of {len(x)} values" if name in DRIVES and x != "absent" else repr(x) for x in (a, b))
            found.append(f"{name}: {a} in the map, {b} expected")
    return found


def save_map(dataset: xr.Dataset, path: str | os.PathLike[str]) -> None:
    """Write a map as NetCDF; the file is the old one or the new one, whole.

    Parameters
    ----------
    dataset : xarray.Dataset
        Of `write_error_map` (also a part of one) or `measured_map`.
    path : str or path
        Of the file; its folder must exist.

    Raises
    ------
    ValueError
        If the dataset is not a map, or the path ends as a file of another format does; then nothing is written.
    OSError
        If the file cannot be written.
    """
    checked_netcdf_path("path", path)
    checked_dataset(dataset)
    if dataset.attrs.get("kind") != "measured":
        dataset = dataset.assign_attrs(identity=map_identity(dataset))
    dataset = dataset.assign_attrs(content=_content(dataset))
    write_netcdf(dataset, path)


def load_map(path: str | os.PathLike[str], *, expect: MTJ | Mapping[str, Any] | None = None) -> xr.Dataset:
    """Read a map, and refuse it if it is damaged or not the expected one.

    Parameters
    ----------
    path : str or path
        Of a file of `save_map`, or the cache of `write_error_map`.
    expect : MTJ or dict, optional
        The junction, or any of the arguments of `write_error_map` by name: device, currents or voltages, pulse_widths,
        temperatures, rise_time, relax_time, energy. Only these are compared, and the version of the method.

    Returns
    -------
    xarray.Dataset

    Raises
    ------
    FileNotFoundError
        If the file does not exist.
    ValueError
        If the file is not a map, was changed or damaged since it was saved (by its checksum, before it is parsed), its
        identity is not that of its junction and axes, or it differs from the expected one: each differing parameter is
        named with both values.

    Notes
    -----
    A file of version 0.5.0 has no checksum of its bytes: its numbers, its junction and its identity are checked.
    """
    path = Path(path)
    dataset = _read(path)
    if dataset.attrs.get("kind") == "measured":
        if expect is not None:
            raise ArgumentError("expect", f"must be left out for {path}: a measured map has no junction to compare.")
        return dataset
    _refuse_other(path, _parts_of(dataset), {"method": METHOD, **_expected(expect)})
    return dataset


def cached_map(path: Path, question: MapQuestion) -> xr.Dataset | None:
    """Return the map in the file if it is that of the question; None without a file; ValueError otherwise."""
    if not path.exists():
        return None
    dataset = load_map(path)
    if dataset.attrs.get("kind") == "measured":
        raise ValueError(f"{path}: a measured map. Name another file.")
    _refuse_other(path, _parts_of(dataset), question.parts)
    return dataset


def _refuse_other(path: Path, have: Mapping[str, Any], want: Mapping[str, Any]) -> None:
    if differences := map_differences(have, want):
        raise ValueError(f"{path}: another map. {'; '.join(differences)}. Name another file, or delete it.")


def _read(path: Path) -> xr.Dataset:
    """Read a map and check what it says of itself; every error is a ValueError that names the file."""
    dataset = read_netcdf(path)
    try:
        checked_dataset(dataset)
        content = _content(dataset)
        if str(dataset.attrs.pop("content", content)) != content:  # a file that `save_map` did not write has none
            raise ValueError("its numbers are not those that were saved: the file was changed or damaged.")
        if str(dataset.attrs.get("kind")) != "measured" and str(dataset.attrs.get("identity")) != map_identity(dataset):
            raise ValueError("its identity is not that of its contents: the file was changed or damaged.")
    except Exception as error:  # attributes may be of any type and contain anything
        raise named_error(path, error) from None
    return dataset


def _expected(expect: MTJ | Mapping[str, Any] | None) -> dict[str, Any]:
    if expect is None:
        return {}
    given: dict[str, Any] = {"device": expect} if isinstance(expect, MTJ) else dict(expect)
    parts: dict[str, Any] = {}
    names = {"currents": "current", "voltages": "voltage", "pulse_widths": "pulse_width", "temperatures": "temperature"}
    for name, value in given.items():
        checked_choice("a name in expect", name, EXPECTED)
        if name == "device":
            fields = json.loads(value.model_dump_json())
            parts |= {f"device {field}": x for field, x in fields.items()}
        elif name in names:
            parts[names[name]] = axis_of(name, value).tolist()
        elif name == "energy":
            parts[name] = bool(value)
        else:
            parts[name] = checked_number(name, value, "s", zero_allowed=True)
    return parts


# ---- slices of a map that is being made ------------------------------------------------------------------------------


class FinishedSlices:
    """Slices that are done, appended to a file one by one, each with a checksum, so that a torn last one is left out.

    Parameters
    ----------
    path : Path
        Of the finished map; the slices are in the same folder.
    identity : str
        Of the question.
    size : int
        Numbers in a slice.
    """

    def __init__(self, path: Path, identity: str, size: int) -> None:
        self.path = path.with_name(f"{path.name}.{identity[:16]}.partial")
        self._alike = re.compile(rf"{re.escape(path.name)}\.[0-9a-f]{{16}}\.partial")
        self._record = 8 * (size + 1) + 4

    def read(self) -> dict[int, Array]:
        """Whole slices by number; a torn last one is cut off the file."""
        found: dict[int, Array] = {}
        if self.path.is_symlink():  # its name can be foreseen: somebody else's file would be cut and appended to
            raise OSError(f"{str(self.path)!r} is a link, not the file of a run that was killed. Remove it.")
        if not self.path.exists():
            return found
        content = self.path.read_bytes()
        good = 0
        for start in range(0, len(content) - self._record + 1, self._record):
            body, check = (
                content[start : start + self._record - 4],
                content[start + self._record - 4 : start + self._record],
            )
            if zlib.crc32(body).to_bytes(4, "little") != check:
                break
            numbers = np.frombuffer(body, dtype="<f8")
            found[int(numbers[0])] = numbers[1:].astype(float)
            good = start + self._record
        if good < len(content):
            os.truncate(self.path, good)
        return found

    def add(self, number: int, values: Array) -> None:
        """Append one slice."""
        body = np.concatenate([[number], values]).astype("<f8").tobytes()
        with os.fdopen(os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o666), "ab") as file:
            file.write(body + zlib.crc32(body).to_bytes(4, "little"))

    def discard(self) -> None:
        """Remove the file, and those of other maps that were begun under this name: the finished one has it now."""
        self.path.unlink(missing_ok=True)
        with suppress(OSError):  # a folder may be written and not listed; a file may be another user's
            for path in self.path.parent.iterdir():
                if self._alike.fullmatch(path.name):
                    path.unlink(missing_ok=True)
