"""Dimensions of a study: fields of its recipe by their paths, with lists of values or ranges."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from bnn.recipes.declared import checked_flag, checked_table, in_si
from mtjsim.checks import ArgumentError, checked_whole

RANGE = ("low", "high", "log", "count")
ARM = "arm"
MOST = 1_000_000  # points


@dataclass(frozen=True)
class Dimension:
    """One field of a space: its values, or a range.

    Attributes
    ----------
    path : str
        Of the field, or "arm".
    values : tuple
        In order; empty for a range.
    low, high : float
    log : bool
    whole : bool
        Whether the range is of whole numbers.
    """

    path: str
    values: tuple[Any, ...] = ()
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    whole: bool = False


def flat(where: str, table: Any, path: str = "") -> dict[str, Any]:
    """Return nested tables as path -> value; a table with low or high is a value.

    Examples
    --------
    >>> flat("space", {"training": {"epochs": [1, 2]}, "seed": {"low": 0, "high": 9}})
    {'training.epochs': [1, 2], 'seed': {'low': 0, 'high': 9}}
    """
    if not isinstance(table, Mapping):
        raise ArgumentError(where, f"must be a table, got {table!r}.")
    found: dict[str, Any] = {}
    for name, value in table.items():
        own = f"{path}.{name}" if path else str(name)
        table = isinstance(value, Mapping) and not {"low", "high", "max", "min"} & set(value)
        for field, part in (flat(where, value, own) if table else {own: value}).items():
            if field in found:
                raise ArgumentError(f"{where}.{field}", "must be given once: with or without quotation marks.")
            found[field] = part
    return found


def dimension_of(path: str, given: Any) -> Dimension:
    """Return the dimension of a field of [space]: a list of values, or a table with low and high.

    Raises
    ------
    ArgumentError
        For an empty list, a value twice, a wrong range, or too many values.
    """
    where, last = f"space.{path}", path.rpartition(".")[2]
    if path == ARM:
        raise ArgumentError(where, "is the dimension of the arms: name the field otherwise.")
    if isinstance(given, (list, tuple)):
        if not given:
            raise ArgumentError(where, "must have a value, got an empty list.")
        values = in_si(where, last, list(given))
        if len({json.dumps(value, sort_keys=True) for value in values}) < len(values):
            raise ArgumentError(where, f"must have different values, got {list(given)}.")
        return Dimension(path, tuple(_frozen(value) for value in values))
    table = checked_table(where, given, RANGE)
    if not {"low", "high"} <= set(table):
        raise ArgumentError(where, f"must be a list of values, or a table with low and high, got {given!r}.")
    low, high = (in_si(where, last, table[name]) for name in ("low", "high"))
    log = checked_flag(f"{where}.log", table.get("log", False))
    if not (is_number(low) and is_number(high)) or not low < high or (log and low <= 0):
        rule = "must have numbers low < high" + (", > 0 for log" if log else "")
        raise ArgumentError(where, f"{rule}, got {table['low']!r} and {table['high']!r}.")
    if "count" in table:
        if (count := checked_whole(f"{where}.count", table["count"], least=2)) > MOST:
            raise ArgumentError(f"{where}.count", f"must be at most {MOST:,}, got {count:,}.")
        spaced = np.geomspace(low, high, count) if log else np.linspace(low, high, count)
        values = [float(f"{value:.12g}") for value in spaced]
        if isinstance(low, int) and isinstance(high, int) and all(value.is_integer() for value in values):
            return Dimension(path, tuple(int(value) for value in values))  # such as epochs, which must be whole
        return Dimension(path, tuple(values))
    return Dimension(path, (), low, high, log, whole=isinstance(low, int) and isinstance(high, int))


def is_number(value: Any) -> bool:
    """Whether a value is a finite number, true and false not being numbers."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _frozen(value: Any) -> Any:
    """Return a value of a list; lists and tables, which have no hash, as JSON."""
    return _Json(json.dumps(value, sort_keys=True)) if isinstance(value, (list, dict)) else value


class _Json(str):
    """A list or a table, as text."""


def plain(value: Any) -> Any:
    """Return a value of a dimension as the recipe has it."""
    return json.loads(value) if isinstance(value, _Json) else value


def words_of(value: Any) -> str:
    """Return a value as a reader takes it: of a table its values, that of `name` first; of a list its values.

    Examples
    --------
    >>> words_of({"limit": 4.0, "name": "range"}), words_of(["weights", "biases"]), words_of([0.01, 0.2])
    ('range 4', 'weights, biases', '0.01, 0.2')
    """
    if isinstance(value, (list, tuple)):
        return ", ".join(map(words_of, value))
    if isinstance(value, Mapping):
        return " ".join(words_of(value[name]) for name in sorted(value, key=lambda name: name != "name"))
    return f"{value:g}" if is_number(value) else str(value)
