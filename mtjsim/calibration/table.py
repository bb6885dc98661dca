"""CSV tables of writes: headings with units, a line for each setting, and every bad cell named by its line."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from mtjsim.checks import DIRECTIONS, checked_array, checked_choice
from mtjsim.files import read_text
from mtjsim.units import NUMBER, to_si

UNITS = {"current": "A", "voltage": "V", "pulse_width": "s", "temperature": "K", "rise_time": "s", "relax_time": "s"}
SETTINGS = (*UNITS, "direction")
NEEDED = (("current", "voltage"), ("pulse_width",), ("direction",))
MOST_REPORTED = 8  # problems of one file that are named before the rest are only counted
WRITES = "p_to_ap (P->AP) writes a 1 and ap_to_p (AP->P) a 0, if bit 1 is the AP state; write the one that was meant."

Reader = Callable[[str], Any]
Row = dict[str, Any]


def read_columns(
    path: str | os.PathLike[str],
    *,
    kind: str,
    own: Mapping[str, Callable[[str, str], Reader]],
    needed: Iterable[tuple[str, ...]],
    problems_of: Callable[[Row], list[str]] = lambda row: [],
    unknown: Callable[[str], str] = lambda heading: "",
) -> dict[str, list[Any]]:
    """Read the columns of a table, in SI.

    Parameters
    ----------
    path : str or path
        Of the CSV file. Its columns are those of `SETTINGS` and `own`, in any order; a unit is in the heading, as
        `current [uA]`, `current (uA)` or `current_uA`, or in each cell. Lines that start with # are comments.
    kind : str
        What the file is, for messages.
    own : dict
        By column beside the settings, a function of (unit, heading) that returns the reader of a cell.
    needed : sequence of tuples
        Groups of own columns, of each of which exactly one must be there.
    problems_of : callable
        What is wrong with the values of a line, as a list of texts.
    unknown : callable
        What to say of a heading that is not one of the columns, or "".

    Returns
    -------
    dict of lists
        By column, one value for each line.

    Raises
    ------
    FileNotFoundError, IsADirectoryError
        If there is no such file, or it is a folder.
    ValueError
        If a column is missing, unknown or given twice, or a cell breaks a rule: up to 8 bad cells are named by line,
        column, rule and value. Bad lines are neither skipped nor repaired.
    """
    text = read_text(path, kind=kind)
    lines = [(number, line) for number, line in enumerate(text.splitlines(), 1) if not line.startswith("#")]
    while lines and not lines[-1][1].strip():
        lines.pop()
    needs = f"{path}: needs a line of headings ({', '.join([*SETTINGS, *own])}) and at least one line of values."
    if not lines:
        raise ValueError(needs)
    try:
        readers = _headings(_cells(lines[0][1]), own, (*NEEDED, *needed), unknown)
    except ValueError as error:
        raise ValueError(f"{path}, line {lines[0][0]}: {error}") from None
    if len(lines) < 2:
        raise ValueError(needs)
    return _columns(readers, lines[1:], str(path), problems_of)


def _cells(line: str) -> list[str]:
    try:
        return [cell.strip() for cell in next(csv.reader([line]), [])]
    except csv.Error as error:
        raise ValueError(f"not a line of a CSV table: {error}.") from None


def _headings(
    cells: list[str],
    own: Mapping[str, Callable[[str, str], Reader]],
    needed: Iterable[tuple[str, ...]],
    unknown: Callable[[str], str],
) -> dict[str, Reader]:
    """By column, in the order of the file, the function that reads its cells."""
    if len(cells) == 1 and ";" in cells[0]:
        raise ValueError("columns are separated by commas and decimals by points, got semicolons.")
    readers: dict[str, Reader] = {}
    for cell in cells:
        name, unit = _heading(cell, (*SETTINGS, *own), unknown)
        if name in readers:
            raise ValueError(f"column {name} is given twice.")
        if name in own:
            readers[name] = own[name](unit, cell)
        elif name == "direction":
            if unit:
                raise ValueError(f"column direction has no unit, got {cell!r}. Leave it out.")
            readers[name] = _direction
        else:
            if unit:
                to_si(f"1 {unit}", UNITS[name], name=f"column {cell!r}: its unit")
            readers[name] = _quantity(name, unit)
    for either in needed:
        if sum(name in readers for name in either) != 1:
            raise ValueError(f"needs exactly one of the columns {' and '.join(either)}.")
    return readers


def _heading(cell: str, columns: tuple[str, ...], unknown: Callable[[str], str]) -> tuple[str, str]:
    """Name of a column and its unit, "" without one."""
    found = re.fullmatch(rf"({'|'.join(columns)})(?:\s*\[(.+)\]|\s*\((.+)\)|_(\S+))?", cell)
    if not found:
        if problem := unknown(cell):
            raise ValueError(problem)
        name = checked_choice("a column", re.split(r"[\s\[(]", cell, maxsplit=1)[0], columns)
        raise ValueError(f"column {cell!r} must have its unit in brackets, as in '{name} [{UNITS.get(name, '')}]'.")
    return found[1], (found[2] or found[3] or found[4] or "").strip()


def _direction(cell: str) -> str:
    written = re.sub(r"\s*(?:->|→)\s*", "_to_", cell.lower())
    if written in ("0", "1"):
        raise ValueError(f"direction must be named, got {cell!r}. {WRITES}")
    if written not in DIRECTIONS:
        checked_choice("direction", cell, DIRECTIONS)
    return written


def _quantity(name: str, unit: str) -> Reader:
    def quantity(cell: str) -> float:
        if unit and not re.fullmatch(NUMBER, cell):
            raise ValueError(f"{name} must be a plain number, its unit is in the heading, got {cell!r}.")
        value = to_si(f"{cell} {unit}" if unit else cell, UNITS[name], name=name)
        may_be_zero = name not in ("pulse_width", "temperature")
        return float(checked_array(name, value, UNITS[name], zero_allowed=may_be_zero))

    return quantity


def _columns(
    readers: dict[str, Reader], lines: list[tuple[int, str]], where: str, problems_of: Callable[[Row], list[str]]
) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {name: [] for name in readers}
    problems: list[str] = []
    for number, line in lines:
        try:
            row, wrong = _row(readers, _cells(line), problems_of)
        except ValueError as error:
            row, wrong = {}, [str(error)]
        problems += [f"line {number}: {text}" for text in wrong]
        if not wrong:
            for name, value in row.items():
                columns[name].append(value)
    if problems:
        more = f"; and {len(problems) - MOST_REPORTED} more" if len(problems) > MOST_REPORTED else ""
        raise ValueError(f"{where}: {'; '.join(p.rstrip('.') for p in problems[:MOST_REPORTED])}{more}.")
    return columns


def _row(
    readers: dict[str, Reader], cells: list[str], problems_of: Callable[[Row], list[str]]
) -> tuple[Row, list[str]]:
    """Values of one line, and its problems."""
    if len(cells) != len(readers):
        return {}, [f"needs {len(readers)} cells, got {len(cells)}"]
    row: Row = {}
    wrong: list[str] = []
    for (name, reader), cell in zip(readers.items(), cells, strict=True):
        try:
            row[name] = reader(cell)
        except ValueError as error:
            wrong.append(str(error) if str(error).startswith(name) else f"column {name}: {error}")
    wrong += problems_of(row)
    if {"rise_time", "pulse_width"} <= row.keys() and row["rise_time"] > row["pulse_width"]:
        wrong.append(f"rise_time must be <= pulse_width, got {row['rise_time']:g} s > {row['pulse_width']:g} s")
    return row, wrong
