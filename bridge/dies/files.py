"""Dies as files: NetCDF with an identity; a wrong or damaged file is refused, and the difference named."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bridge.dies.cells import COLUMNS, Cells
from bridge.dies.die import FAULT_COLUMNS, Die
from bridge.dies.faults import Process
from bridge.netcdf import checked_netcdf_path, named_error, read_netcdf, write_netcdf

if TYPE_CHECKING:
    import xarray as xr

FORMAT = "mtj-bnn die 1"
UNITS = {"conductance": "S", "resistance_p": "ohm", "resistance_ap": "ohm"}


def save_die(die: Die, path: str | os.PathLike[str]) -> Path:
    """Write a die as NetCDF; the file is the old one or the new one, whole.

    Parameters
    ----------
    die : Die
        Faults, drawn cells and origin are all kept.
    path : path
        Of the file; an old one is replaced.

    Returns
    -------
    Path

    Raises
    ------
    ValueError
        If the path ends as a file of another format does.
    OSError
        If the file cannot be written.
    """
    import xarray as xr  # here: it takes half a second, and drawing does not need it

    path = checked_netcdf_path("path", path)
    variables: dict[str, Any] = {}
    for name, array in die.arrays().items():
        dimension = "fault" if len(array) == len(die.faulty) and name in FAULT_COLUMNS else "cell"
        dimensions = ("bit", "cell") if array.ndim == 2 else (dimension,)
        variables[name] = (dimensions, array, {"units": UNITS.get(name, "1")})
    attributes = {
        "format": FORMAT,
        "shape": json.dumps(list(die.shape)),
        "seed": json.dumps(die.seed),
        "process": json.dumps(dict(die.process), sort_keys=True),
        "digests": json.dumps(die.digests(), sort_keys=True),
        "identity": die.identity,
    }
    write_netcdf(xr.Dataset(variables, attrs=attributes), path)
    return path


def load_die(
    path: str | os.PathLike[str],
    *,
    shape: tuple[int, ...] | None = None,
    process: Process | None = None,
    seed: int | None = None,
) -> Die:
    """Read a die, and check that it is unchanged and the expected one.

    Parameters
    ----------
    path : path
        Of a file that `save_die` wrote.
    shape : tuple of int, optional
        Expected.
    process : Process, optional
        Expected origin.
    seed : int, optional
        Expected.

    Returns
    -------
    Die

    Raises
    ------
    FileNotFoundError
        If the file does not exist.
    ValueError
        If the file is not a die, was changed or damaged since it was saved (by its checksum, before it is parsed), or
        is not the expected one (names the differences). A file of version 0.5.0 has no checksum of its bytes: then each
        array is checked.
    """
    data = read_netcdf(path)
    try:
        die = _die_of(data)
    except Exception as error:  # attributes may be of any type and contain anything
        raise named_error(path, error) from None
    _require(path, die, shape, process, seed)
    return die


def _die_of(data: xr.Dataset) -> Die:
    """Return the die of a dataset; ValueError if its parts are not those that were saved."""
    if str(form := data.attrs.get("format")) != FORMAT:
        raise ValueError(f"this is not a die: its format is {form!r}, not {FORMAT!r}.")
    arrays = {str(name): variable.values for name, variable in data.data_vars.items()}
    if missing := [name for name in FAULT_COLUMNS if name not in arrays]:
        raise ValueError(f"this is not a whole die: it lacks {', '.join(missing)}.")
    if missing := [name for name in ("shape", "seed", "process", "digests", "identity") if name not in data.attrs]:
        raise ValueError(f"this is not a whole die: it has no attributes {', '.join(missing)}.")
    die = Die(
        shape=tuple(json.loads(data.attrs["shape"])),
        **{name: arrays[name] for name in FAULT_COLUMNS},
        cells=_cells(arrays) if COLUMNS[0] in arrays else None,
        seed=json.loads(data.attrs["seed"]),
        process=json.loads(data.attrs["process"]),
    )
    stored, found = json.loads(data.attrs["digests"]), die.digests()
    changed = sorted(name for name in stored.keys() | found.keys() if stored.get(name) != found.get(name))
    if changed or die.identity != str(data.attrs["identity"]):
        what = ", ".join(changed) or "its identity"
        raise ValueError(f"not what was saved: {what} changed since. Draw or save it again.")
    return die


def _cells(arrays: Mapping[str, Any]) -> Cells:
    rates, resistance_p, resistance_ap, stability = (arrays[name] for name in COLUMNS)
    return Cells(rates, resistance_p, resistance_ap, stability)


def _require(
    path: str | os.PathLike[str], die: Die, shape: tuple[int, ...] | None, process: Process | None, seed: int | None
) -> None:
    differences = []
    if shape is not None and tuple(shape) != die.shape:
        differences.append(f"shape {die.shape} in the file, {tuple(shape)} expected")
    if seed is not None and seed != die.seed:
        differences.append(f"seed {die.seed} in the file, {seed} expected")
    if process is not None:
        expected, there = dict(_leaves(process.as_dict())), dict(_leaves(die.process))
        for name in sorted(expected.keys() | there.keys()):
            if expected.get(name) != there.get(name):
                differences.append(f"{name} {there.get(name)!r} in the file, {expected.get(name)!r} expected")
    if differences:
        raise ValueError(f"{path} is another die: {'; '.join(differences)}.")


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
