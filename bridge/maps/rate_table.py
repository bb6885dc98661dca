"""Measured write error rates without their counts: the table, and its CSV file.

The columns are those of a table of counts (`mtjsim.read_counts`), with `write_error_rate` in place of `trials` and
`errors`: a probability, or with the unit % a percentage. A unit is in the heading, `current [uA]`, `current (uA)` or
`current_uA`, or in each cell, `60uA`; without one it is SI. Lines that start with # are comments.
"""

from __future__ import annotations

import csv
import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bridge.checks import checked_probabilities
from mtjsim.calibration.measurement import WriteCounts
from mtjsim.checks import DIRECTIONS, ArgumentError, checked_choice
from mtjsim.files import read_text
from mtjsim.pulse import UNITS as DRIVES
from mtjsim.units import to_si

RATE = "write_error_rate"
UNITS = {**DRIVES, "pulse_width": "s", "temperature": "K", "rise_time": "s", "relax_time": "s", RATE: ""}
COLUMNS = (*UNITS, "direction")


@dataclass(frozen=True, kw_only=True, eq=False)
class WriteRates:
    """Write error rates at some settings, of which the numbers of pulses and errors are not known.

    Attributes
    ----------
    write_error_rate : (n,) array
        In (0, 1]. A rate of 0 is an upper bound that depends on the number of pulses: give `mtjsim.WriteCounts` then.
    current, voltage, pulse_width, direction, temperature, rise_time, relax_time
        As of `mtjsim.WriteCounts`.

    Raises
    ------
    ValueError
        If a value is out of its range, the shapes do not match, or a setting is given twice.

    Examples
    --------
    >>> rates = WriteRates(current=60e-6, pulse_width=[5e-9, 10e-9], direction="p_to_ap", write_error_rate=[0.8, 0.1])
    >>> rates.pulses["pulse_width"].tolist()
    [5e-09, 1e-08]
    """

    write_error_rate: ArrayLike
    pulse_width: ArrayLike
    direction: ArrayLike
    current: ArrayLike | None = None
    voltage: ArrayLike | None = None
    temperature: ArrayLike = 300.0
    rise_time: ArrayLike = 0.0
    relax_time: ArrayLike = 0.0

    def __repr__(self) -> str:
        rates = np.asarray(self.write_error_rate)
        return f"WriteRates({rates.size} rows, rates {rates.min():.3g} to {rates.max():.3g})"

    def __post_init__(self) -> None:
        rates = checked_probabilities(RATE, self.write_error_rate)
        if (rates == 0).any():
            reason = "how small a rate is without an error depends on the number of pulses"
            raise ArgumentError(RATE, f"must be > 0, got 0: {reason}. Give counts, mtjsim.WriteCounts.")
        names = ("current", "voltage", "pulse_width", "direction", "temperature", "rise_time", "relax_time")
        # as many trials as rates: one column more that must fit the others
        counts = WriteCounts(**{name: getattr(self, name) for name in names}, trials=np.ones(rates.shape), errors=0)
        for name, column in counts.pulses.items():
            object.__setattr__(self, name, column)
        object.__setattr__(self, RATE, np.broadcast_to(rates, (counts.rows,)))
        rows = list(zip(*(np.asarray(column).tolist() for column in counts.pulses.values()), strict=True))
        if len(set(rows)) < len(rows):
            twice = next(row for row in rows if rows.count(row) > 1)
            got = ", ".join(f"{name} {value}" for name, value in zip(counts.pulses, twice, strict=True))
            raise ArgumentError(RATE, f"must be one for each setting, got two of {got}: give counts, which add up.")

    @property
    def pulses(self) -> dict[str, NDArray[Any]]:
        """The settings, arrays of shape (n,), as `WriteCounts.pulses`."""
        names = ("current", "voltage", "pulse_width", "direction", "temperature", "rise_time", "relax_time")
        return {name: np.asarray(getattr(self, name)) for name in names if getattr(self, name) is not None}

    @property
    def identity(self) -> str:
        """SHA-256 over all columns: equal for equal tables, whatever file or unit they came from."""
        digest = hashlib.sha256()
        for name, value in [*sorted(self.pulses.items()), (RATE, self.write_error_rate)]:
            digest.update(f"{name}:{np.asarray(value).tolist()!r};".encode())
        return digest.hexdigest()


def has_rates(path: str | os.PathLike[str]) -> bool:
    """Whether a CSV file has a column of rates in place of counts."""
    headings = next(_rows(path), (0, []))[1]
    return any(cell.strip().startswith(RATE) for cell in headings)


def read_rates(path: str | os.PathLike[str]) -> WriteRates:
    """Read a table of write error rates; the docstring of this module describes the format.

    Parameters
    ----------
    path : str or path
        Of the CSV file.

    Returns
    -------
    WriteRates

    Raises
    ------
    FileNotFoundError, IsADirectoryError
        If there is no such file, or it is a folder.
    ValueError
        If a column is missing, unknown or given twice, or a cell breaks a rule: the first one is named by its line.
    """
    rows = _rows(path)
    number, cells = next(rows, (1, []))
    columns: dict[str, list[Any]] = {}
    try:
        headings = [_heading(cell) for cell in cells]
        for name, _ in headings:
            if name in columns:
                raise ValueError(f"column {name} is given twice.")
            columns[name] = []
        if missing := [name for name in ("pulse_width", "direction", RATE) if name not in columns]:
            raise ValueError(f"needs the columns {', '.join(missing)}.")
        for number, cells in rows:  # noqa: B007  named in the error
            if len(cells) != len(headings):
                raise ValueError(f"needs {len(headings)} cells, got {len(cells)}.")
            for (name, unit), cell in zip(headings, cells, strict=True):
                columns[name].append(_value(name, unit, cell.strip()))
    except ValueError as error:
        raise ValueError(f"{path}, line {number}: {error}") from None
    if not columns[RATE]:
        raise ValueError(f"{path}: needs at least one line of rates.")
    try:
        return WriteRates(**columns)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _rows(path: str | os.PathLike[str]) -> Iterator[tuple[int, list[str]]]:
    """Lines that are not comments, by number, and their cells."""
    for number, line in enumerate(read_text(path, kind="table of write error rates").splitlines(), 1):
        if line.strip() and not line.startswith("#"):
            try:
                yield number, next(csv.reader([line]))
            except csv.Error as error:
                raise ValueError(f"{path}, line {number}: not a CSV table: {error}.") from None


def _heading(cell: str) -> tuple[str, str]:
    """Name and unit of a column."""
    found = re.fullmatch(rf"({'|'.join(COLUMNS)})(?:\s*\[(.*)\]|\s*\((.*)\)|_(\S+))?", cell.strip())
    if not found:
        name = re.split(r"[\s\[(]", cell.strip(), maxsplit=1)[0]
        return checked_choice("a column", name, COLUMNS), ""
    return found[1], found[2] or found[3] or found[4] or ""


def _value(name: str, unit: str, cell: str) -> Any:
    if name == "direction":
        return checked_choice(name, cell, DIRECTIONS)
    if name == RATE and unit.strip() in ("%", "percent"):
        return to_si(cell, "", name=name) / 100
    return to_si(f"{cell} {unit}".strip(), UNITS[name], name=name)
