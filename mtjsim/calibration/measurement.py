"""Measured write counts: pulses and failures at each setting; and their table as a CSV file (`read_counts`)."""

from __future__ import annotations

import csv
import hashlib
import io
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mtjsim.checks import (
    DIRECTIONS,
    ArgumentError,
    Array,
    checked_array,
    checked_choice,
    checked_names,
    checked_ramps,
)
from mtjsim.device import MTJ
from mtjsim.files import read_text, write_whole
from mtjsim.pulse import one_drive
from mtjsim.rng import generator
from mtjsim.switching import write_error_rate
from mtjsim.units import NUMBER, to_si

UNITS = {"current": "A", "voltage": "V", "pulse_width": "s", "temperature": "K", "rise_time": "s", "relax_time": "s"}
COUNTED = ("trials", "errors", "switched")
COLUMNS = (*UNITS, "direction", *COUNTED)
MOST_REPORTED = 8  # problems of one file that are named before the rest are only counted
MOST_TRIALS = 2**53  # beyond, a count is no longer exact in double precision

COUNTS_NEEDED = "Give whole numbers: trials, and how many of them are errors (or switched)."
WRITES = "p_to_ap (P->AP) writes a 1 and ap_to_p (AP->P) a 0, if bit 1 is the AP state; write the one that was meant."

Counts = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class WriteCounts:
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
    text = read_text(path, kind="file of write counts")
    lines = [(number, line) for number, line in enumerate(text.splitlines(), 1) if not line.startswith("#")]
    while lines and not lines[-1][1].strip():
        lines.pop()
    if len(lines) < 2:
        raise ValueError(f"{path}: needs a line of headings ({', '.join(COLUMNS)}) and at least one line of counts.")
    try:
        readers = _headings(next(csv.reader([lines[0][1]])))
    except ValueError as error:
        raise ValueError(f"{path}, line {lines[0][0]}: {error}") from None
    return _table(readers, lines[1:], str(path))


def _headings(cells: list[str]) -> dict[str, Callable[[str], Any]]:
    """By column, in the order of the file, the function that reads its cells."""
    if len(cells) == 1 and ";" in cells[0]:
        raise ValueError("columns are separated by commas and decimals by points, got semicolons.")
    readers: dict[str, Callable[[str], Any]] = {}
    for cell in cells:
        name, unit = _heading(cell.strip())
        if name in readers:
            raise ValueError(f"column {name} is given twice.")
        if unit:
            to_si(f"1 {unit}", UNITS[name], name=f"column {cell.strip()!r}: its unit")
        readers[name] = _cell_reader(name, unit)
    for either in (("current", "voltage"), ("errors", "switched"), ("pulse_width",), ("direction",), ("trials",)):
        if sum(name in readers for name in either) != 1:
            raise ValueError(f"needs exactly one of the columns {' and '.join(either)}.")
    return readers


def _heading(cell: str) -> tuple[str, str]:
    """Name of a column and its unit, "" without one."""
    found = re.fullmatch(rf"({'|'.join(COLUMNS)})(?:\s*\[(.+)\]|\s*\((.+)\)|_(\S+))?", cell)
    if not found:
        if re.search("rate|prob|percent|%", cell.lower()):
            raise ValueError(f"column {cell!r} is not a count. {COUNTS_NEEDED}")
        name = checked_choice("a column", re.split(r"[\s\[(]", cell, maxsplit=1)[0], COLUMNS)
        raise ValueError(f"column {cell!r} must have its unit in brackets, as in '{name} [{UNITS.get(name, '')}]'.")
    name, unit = found[1], (found[2] or found[3] or found[4] or "").strip()
    if unit and name not in UNITS:
        remedy = COUNTS_NEEDED if name in COUNTED else "Leave it out."
        raise ValueError(f"column {name} has no unit, got {cell!r}. {remedy}")
    return name, unit


def _cell_reader(name: str, unit: str) -> Callable[[str], Any]:
    def direction(cell: str) -> str:
        written = re.sub(r"\s*(?:->|→)\s*", "_to_", cell.lower())
        if written in ("0", "1"):
            raise ValueError(f"{name} must be named, got {cell!r}. {WRITES}")
        if written not in DIRECTIONS:
            checked_choice(name, cell, DIRECTIONS)
        return written

    def count(cell: str) -> int:
        number = float(cell) if re.fullmatch(NUMBER, cell) else np.nan
        least = 1 if name == "trials" else 0
        if not (number == np.floor(number) and least <= number <= MOST_TRIALS):
            raise ValueError(f"{name} must be a whole number >= {least}, got {cell!r}.")
        return int(number)

    def quantity(cell: str) -> float:
        if unit and not re.fullmatch(NUMBER, cell):
            raise ValueError(f"{name} must be a plain number, its unit is in the heading, got {cell!r}.")
        value = to_si(f"{cell} {unit}" if unit else cell, UNITS[name], name=name)
        may_be_zero = name not in ("pulse_width", "temperature")
        return float(checked_array(name, value, UNITS[name], zero_allowed=may_be_zero))

    return direction if name == "direction" else count if name in COUNTED else quantity


def _table(readers: dict[str, Callable[[str], Any]], lines: list[tuple[int, str]], where: str) -> WriteCounts:
    columns: dict[str, list[Any]] = {name: [] for name in readers}
    problems: list[str] = []
    for number, line in lines:
        cells = [cell.strip() for cell in next(csv.reader([line]), [])]
        if len(cells) != len(readers):
            problems.append(f"line {number}: needs {len(readers)} cells, got {len(cells)}")
            continue
        row, wrong = _row(readers, cells)
        problems += [f"line {number}: {text}" for text in wrong]
        if not wrong:
            for name, value in row.items():
                columns[name].append(value)
    if problems:
        more = f"; and {len(problems) - MOST_REPORTED} more" if len(problems) > MOST_REPORTED else ""
        raise ValueError(f"{where}: {'; '.join(p.rstrip('.') for p in problems[:MOST_REPORTED])}{more}.")
    if "switched" in columns:
        switched = columns.pop("switched")
        columns["errors"] = [n - s for n, s in zip(columns["trials"], switched, strict=True)]
    return WriteCounts(**columns)


def _row(readers: dict[str, Callable[[str], Any]], cells: Iterable[str]) -> tuple[dict[str, Any], list[str]]:
    """Values of one line, and its problems."""
    row: dict[str, Any] = {}
    wrong: list[str] = []
    for (name, reader), cell in zip(readers.items(), cells, strict=True):
        try:
            row[name] = reader(cell)
        except ValueError as error:
            wrong.append(str(error) if str(error).startswith(name) else f"column {name}: {error}")
    for name in ("errors", "switched"):
        if name in row and "trials" in row and row[name] > row["trials"]:
            wrong.append(f"{name} must be <= trials, got {row[name]} of {row['trials']}")
    if {"rise_time", "pulse_width"} <= row.keys() and row["rise_time"] > row["pulse_width"]:
        wrong.append(f"rise_time must be <= pulse_width, got {row['rise_time']:g} s > {row['pulse_width']:g} s")
    return row, wrong
