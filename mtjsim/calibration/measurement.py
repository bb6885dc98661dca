"""Measured write counts: pulses and failures at each setting; and their table as a CSV file (`read_counts`)."""

from __future__ import annotations

import csv
import hashlib
import io
import os
import re
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mtjsim.calibration.table import UNITS, Reader, Row, read_columns
from mtjsim.checks import DIRECTIONS, ArgumentError, Array, Suggesting, checked_array, checked_names, checked_ramps
from mtjsim.device import MTJ
from mtjsim.files import write_whole
from mtjsim.pulse import one_drive
from mtjsim.rng import generator
from mtjsim.switching import write_error_rate
from mtjsim.units import NUMBER

COUNTED = ("trials", "errors", "switched")
MOST_TRIALS = 2**53  # beyond, a count is no longer exact in double precision

COUNTS_NEEDED = "Give whole numbers: trials, and how many of them are errors (or switched)."

Counts = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class WriteCounts(Suggesting):
    """Write errors counted at some settings. SI units; every array has shape (n,), scalars are spread over the rows.

    Attributes
    ----------
    current, voltage : (n,) array or None
        Amplitude >= 0 that drives the direction of the row [A] or [V]; exactly one of the two.
    pulse_width : (n,) array
        Full width at half maximum [s], > 0.
    direction : (n,) array of str
        "p_to_ap" or "ap_to_p".
    trials, errors : (n,) array of int
        Pulses, and those that left the junction in the state it started from; 0 <= errors <= trials, trials >= 1.
    temperature : (n,) array
        [K].
    rise_time, relax_time : (n,) array
        As in `write_error_rate` [s].

    Raises
    ------
    ValueError
        If a value is out of its range or the shapes do not match; names the argument, the rule and the value.

    Examples
    --------
    >>> counts = WriteCounts(current=60e-6, pulse_width=[5e-9, 10e-9], direction="p_to_ap", trials=1000,
    ...                      errors=[812, 95])
    >>> counts.rows, counts.error_rate.tolist()
    (2, [0.812, 0.095])
    """

    pulse_width: ArrayLike
    direction: ArrayLike
    trials: ArrayLike
    errors: ArrayLike
    current: ArrayLike | None = None
    voltage: ArrayLike | None = None
    temperature: ArrayLike = 300.0
    rise_time: ArrayLike = 0.0
    relax_time: ArrayLike = 0.0

    def __repr__(self) -> str:
        return f"WriteCounts({self.rows} rows, {np.sum(self.errors)} errors in {np.sum(self.trials)} trials)"

    def __post_init__(self) -> None:
        one_drive(self.current, self.voltage)
        columns: dict[str, Any] = {}
        for name, unit in UNITS.items():
            value = getattr(self, name)
            if value is not None:
                may_be_zero = name not in ("pulse_width", "temperature")
                columns[name] = checked_array(name, value, unit, zero_allowed=may_be_zero)
        columns["direction"] = checked_names("direction", self.direction, DIRECTIONS)
        columns["trials"] = _whole("trials", self.trials, least=1)
        columns["errors"] = _whole("errors", self.errors, least=0)
        try:
            spread = np.broadcast_arrays(*columns.values())
        except ValueError:
            shapes = ", ".join(f"{name} {value.shape}" for name, value in columns.items() if value.ndim)
            raise ValueError(f"the columns must have one length, got {shapes}.") from None
        if spread[0].ndim > 1 or spread[0].size == 0:
            raise ValueError(f"the columns must be one-dimensional with at least one row, got shape {spread[0].shape}.")
        for name, value in zip(columns, spread, strict=True):
            kept = np.atleast_1d(value).copy()
            kept.setflags(write=False)
            object.__setattr__(self, name, kept)
        over = np.flatnonzero(self.errors > self.trials)  # type: ignore[operator]
        if over.size:
            k, n = (np.asarray(counts)[over[0]] for counts in (self.errors, self.trials))
            raise ArgumentError("errors", f"must be <= trials, got {k} of {n} in row {over[0] + 1}.")
        checked_ramps(self.rise_time, self.pulse_width)

    @property
    def rows(self) -> int:
        """Number of settings, n."""
        return int(np.asarray(self.trials).size)

    @property
    def error_rate(self) -> Array:
        """Fraction of the pulses that failed, shape (n,)."""
        return np.asarray(self.errors) / np.asarray(self.trials)

    @property
    def pulses(self) -> dict[str, NDArray[Any]]:
        """The settings, as `write_error_rate` takes them: arrays of shape (n,) by the names of its arguments."""
        names = ("current", "voltage", "pulse_width", "direction", "temperature", "rise_time", "relax_time")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}

    @property
    def identity(self) -> str:
        """SHA-256 over all columns: equal for equal tables, whatever file or unit they came from."""
        digest = hashlib.sha256()
        for name, value in [*sorted(self.pulses.items()), ("trials", self.trials), ("errors", self.errors)]:
            digest.update(f"{name}:{np.asarray(value).tolist()!r};".encode())
        return digest.hexdigest()


def _whole(name: str, value: ArrayLike, *, least: int) -> Counts:
    array = checked_array(name, value, "", zero_allowed=True)
    for bad in array[(array != np.floor(array)) | (array < least) | (array > MOST_TRIALS)].flat:
        raise ArgumentError(name, f"must be whole numbers >= {least}, got {bad:g}.")
    return array.astype(np.int64)


def simulate_counts(
    device: MTJ,
    *,
    pulse_width: ArrayLike,
    direction: ArrayLike,
    trials: ArrayLike,
    seed: int,
    **amplitude_and_optional: Any,
) -> WriteCounts:
    """Draw the counts that a measurement of `device` would give: to plan one, and to test a fit.

    Parameters
    ----------
    device : MTJ
        The junction.
    pulse_width, direction, trials
        As in `WriteCounts`.
    seed : int
        The same seed gives the same counts.
    **amplitude_and_optional
        `current` or `voltage`, and any of `temperature`, `rise_time`, `relax_time`, as in `WriteCounts`.

    Returns
    -------
    WriteCounts
        With binomial errors.

    Raises
    ------
    ValueError
        As in `WriteCounts` and `write_error_rate`.

    Examples
    --------
    >>> device = MTJ.from_effective(thermal_stability=60, critical_current=30e-6, characteristic_time=2e-9)
    >>> simulate_counts(device, current=75e-6, pulse_width=[3e-9, 9e-9], direction="p_to_ap", trials=100, seed=1).rows
    2
    """
    settings = {"pulse_width": pulse_width, "direction": direction, "trials": trials, **amplitude_and_optional}
    planned = WriteCounts(errors=0, **settings)
    rate = write_error_rate(device, **planned.pulses)  # type: ignore[arg-type]
    return WriteCounts(**{**settings, "errors": generator(seed, "data").binomial(np.asarray(planned.trials), rate)})


# ---- the table as a file ---------------------------------------------------------------------------------------------


def write_counts(counts: WriteCounts, path: str | os.PathLike[str], *, source: str = "") -> None:
    """Write the table in SI, whole, so that `read_counts` returns an equal one.

    Parameters
    ----------
    counts : WriteCounts
        The table.
    path : str or path
        Of the CSV file.
    source : str
        Source of the counts; each line becomes a comment on top.
    """
    columns = {name: np.asarray(value).tolist() for name, value in counts.pulses.items()}
    columns |= {"trials": np.asarray(counts.trials).tolist(), "errors": np.asarray(counts.errors).tolist()}
    text = io.StringIO()
    for line in source.splitlines():
        text.write(f"# {line}\n")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(f"{name} [{UNITS[name]}]" if name in UNITS else name for name in columns)
    writer.writerows(zip(*columns.values(), strict=True))
    write_whole(path, text.getvalue().encode())


def read_counts(path: str | os.PathLike[str]) -> WriteCounts:
    r"""Read a table of write counts.

    Parameters
    ----------
    path : str or path
        Of the CSV file; its format is in the notes.

    Returns
    -------
    WriteCounts

    Raises
    ------
    FileNotFoundError, IsADirectoryError
        If there is no such file, or it is a folder.
    ValueError
        If a column is missing, unknown or given twice, or a cell breaks a rule: every bad cell is named by its line,
        column, rule and value. Bad lines are neither skipped nor repaired.

    Notes
    -----
    The file has a line of headings and one line for each setting, cells separated by commas, in these columns, in any
    order:

    ======================  =========================================================================
    current or voltage      amplitude >= 0 that drives the named direction [A] or [V]
    pulse_width             full width at half maximum [s]
    direction               p_to_ap (or P->AP; writes a 1) or ap_to_p (or AP->P; writes a 0)
    trials                  pulses, each from the freshly initialised starting state
    errors or switched      number of them that failed to switch, or number that switched
    temperature             [K], optional, 300 K where the column is absent
    rise_time, relax_time   [s], optional, 0 s where the column is absent
    ======================  =========================================================================

    A unit is in the heading, as `current [uA]`, `current (uA)` or `current_uA`, or in each cell, as `60uA`; without one
    it is SI. Lines that start with # are comments, for the source of the counts; all other lines are read.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> lines = [
    ...     "# wafer 7, die 3",
    ...     "current (uA),pulse_width (ns),direction,trials,errors",
    ...     "60,5,p_to_ap,1000,812",
    ...     "60,10,p_to_ap,1000,95",
    ... ]
    >>> path = pathlib.Path(tempfile.mkdtemp(), "counts.csv")
    >>> _ = path.write_text("\n".join(lines))
    >>> read_counts(path).error_rate.tolist()
    [0.812, 0.095]
    """
    columns = read_columns(
        path,
        kind="file of write counts",
        own={name: partial(_count_reader, name) for name in COUNTED},
        needed=(("errors", "switched"), ("trials",)),
        problems_of=_misfits,
        unknown=_not_counts,
    )
    if "switched" in columns:
        switched = columns.pop("switched")
        columns["errors"] = [n - s for n, s in zip(columns["trials"], switched, strict=True)]
    return WriteCounts(**columns)


def _not_counts(heading: str) -> str:
    rate = re.search("rate|prob|percent|%", heading.lower())
    return f"column {heading!r} is not a count. {COUNTS_NEEDED}" if rate else ""


def _count_reader(name: str, unit: str, heading: str) -> Reader:
    if unit:
        raise ValueError(f"column {name} has no unit, got {heading!r}. {COUNTS_NEEDED}")
    least = 1 if name == "trials" else 0

    def count(cell: str) -> int:
        number = float(cell) if re.fullmatch(NUMBER, cell) else np.nan
        if not (number == np.floor(number) and least <= number <= MOST_TRIALS):
            raise ValueError(f"{name} must be a whole number >= {least}, got {cell!r}.")
        return int(number)

    return count


def _misfits(row: Row) -> list[str]:
    return [
        f"{name} must be <= trials, got {row[name]} of {row['trials']}"
        for name in ("errors", "switched")
        if name in row and "trials" in row and row[name] > row["trials"]
    ]
