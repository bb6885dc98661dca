"""Measured write error rates without their counts: the table, and its CSV file.

The columns are those of a table of counts (`mtjsim.read_counts`), with `write_error_rate` in place of `trials` and
`errors`: a probability, or with the unit % a percentage. A unit is in the heading, `current [uA]`, `current (uA)` or
`current_uA`, or in each cell, `60uA`; without one it is SI. Lines that start with # are comments.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bridge.checks import checked_probabilities
from mtjsim.calibration.measurement import WriteCounts
from mtjsim.calibration.table import Reader, read_columns
from mtjsim.checks import ArgumentError, Suggesting
from mtjsim.files import read_text
from mtjsim.units import to_si

RATE = "write_error_rate"


@dataclass(frozen=True, kw_only=True, eq=False)
class WriteRates(Suggesting):
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
    lines = read_text(path, kind="table of write error rates").splitlines()
    headings = next((line for line in lines if line.strip() and not line.startswith("#")), "")
    return any(cell.strip().strip('"').startswith(RATE) for cell in headings.split(","))


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
    columns = read_columns(path, kind="table of write error rates", own={RATE: _rate_reader}, needed=((RATE,),))
    try:
        return WriteRates(**columns)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _rate_reader(unit: str, heading: str) -> Reader:
    if unit not in ("", "%", "percent"):
        raise ValueError(f"column {heading!r} must be a probability, or a percentage with the unit %.")
    scale = 0.01 if unit else 1.0
    return lambda cell: scale * to_si(cell, "", name=RATE)
