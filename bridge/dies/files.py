"""Dies on disk: NetCDF with an identity, so that a wrong or damaged file is refused, and says what differs."""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from bridge.dies.die import Die
from bridge.dies.faults import Process
from bridge.dies.variability import Cells
from bridge.netcdf import read_netcdf, write_netcdf

FORMAT = "mtj-bnn die 1"
UNITS = {"conductance": "S", "resistance_p": "ohm", "resistance_ap": "ohm"}


def save_die(die: Die, path: str | os.PathLike[str]) -> Path:
    """Write a die as NetCDF; the file is the old one or the new one, whole.

    Parameters
    ----------
    die : Die
        Faults, drawn cells and what it was drawn from are all kept.
    path : path
        Of the file; one that is there is replaced.

    Returns
    -------
    Path

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    import xarray as xr  # here: it takes half a second, and drawing needs none of it

    variables: dict[str, Any] = {}
    for name, array in die.arrays().items():
        dimension = "fault" if len(array) == len(die.faulty) and name in _FAULT_COLUMNS else "cell"
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
    return Path(path)


_FAULT_COLUMNS = ("faulty", "kind", "conductance", "error_rate_factor", "stability_factor")


def load_die(
    path: str | os.PathLike[str],
    *,
    shape: tuple[int, ...] | None = None,
    process: Process | None = None,
    seed: int | None = None,
) -> Die:
    """Read a die, and check that it is what was saved and what is expected.

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
    ValueError
        If the file is no die, was changed or damaged (names the parts), or is not the expected one (names what
        differs).
    """
    data = read_netcdf(path)
    if data.attrs.get("format") != FORMAT:
        raise ValueError(f"{path} is no die: its format is {data.attrs.get('format')!r}, not {FORMAT!r}.")
    arrays = {str(name): variable.values for name, variable in data.data_vars.items()}
    names = [f.name for f in fields(Cells)]
    missing = [name for name in _FAULT_COLUMNS if name not in arrays]
    if missing:
        raise ValueError(f"{path} lacks {', '.join(missing)}: it is no whole die.")
    die = Die(
        shape=tuple(json.loads(data.attrs["shape"])),
        **{name: arrays[name] for name in _FAULT_COLUMNS},
        cells=Cells(**{name: arrays[name] for name in names}) if names[0] in arrays else None,
        seed=json.loads(data.attrs["seed"]),
        process=json.loads(data.attrs["process"]),
    )
    stored, found = json.loads(data.attrs["digests"]), die.digests()
    changed = sorted(name for name in stored.keys() | found.keys() if stored.get(name) != found.get(name))
    if changed or die.identity != data.attrs["identity"]:
        raise ValueError(
            f"{path} is not what was saved: {', '.join(changed) or 'its identity'} changed since. Draw or save it anew."
        )
    _require(path, die, shape, process, seed)
    return die


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
