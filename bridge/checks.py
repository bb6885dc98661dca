"""Checks that memories, dies, maps and searches share, next to those of `mtjsim.checks`."""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from mtjsim.checks import (
    NOT_PERCENT,
    ArgumentError,
    Array,
    checked_array,
    checked_choice,
    checked_kind,
    checked_number,
    checked_signed,
    checked_whole,
)

STATED = ("identity", "sha256")  # of a record, next to its values


def checked_shape(shape: Any, *, least: int) -> tuple[int, ...]:
    """Return a whole number, or a sequence of them, as a tuple; ArgumentError unless each is >= `least`."""
    if isinstance(shape, str):
        rule = f"must be a whole number >= {least}, or several, one a side"
        raise ArgumentError("shape", f"{rule}, got {shape!r}. Write 2**20 for a Mi.")
    sides = tuple(shape) if isinstance(shape, (Sequence, np.ndarray)) else (shape,)
    return tuple(checked_whole("shape", side, least=least) for side in sides)


def checked_list(name: str, values: ArrayLike, unit: str, *, zero_allowed: bool = False) -> Array:
    """Return a number, or a list of at least one, as (n,) array; ArgumentError unless each is > 0 (or >= 0)."""
    array = np.atleast_1d(checked_array(name, values, unit, zero_allowed=zero_allowed))
    if array.ndim != 1 or array.size == 0:
        raise ArgumentError(name, f"must be a number or a list of at least one, one-dimensional, got {array.shape}.")
    return array


def checked_ends(name: str, value: ArrayLike, unit: str) -> tuple[float, float]:
    """Return one number > 0, or the two ends of a range, as (low, high); ArgumentError for anything else."""
    ends = checked_array(name, value, unit, zero_allowed=False)
    if ends.ndim and (ends.shape != (2,) or ends[0] > ends[1]):
        raise ArgumentError(name, f"must be one number or (low, high) in {unit}, got {value!r}.")
    return float(ends.min()), float(ends.max())


def checked_between(name: str, value: ArrayLike, least: float, most: float, *, remedy: str = "") -> float:
    """Return one number from `least` to `most` as a float; ArgumentError for any other."""
    number = checked_signed(name, value, "")
    if not least <= number <= most:
        rule = f"between {least:g} and {most:g}" if most < np.inf else f">= {least:g}"
        raise ArgumentError(name, f"must be {rule}, got {number:g}.{remedy and ' ' + remedy}")
    return number


def checked_probabilities(name: str, values: ArrayLike) -> Array:
    """Return probabilities as an array; ArgumentError unless each is from 0 to 1."""
    array = checked_array(name, values, "", zero_allowed=True, remedy=NOT_PERCENT)
    if (array > 1).any():
        raise ArgumentError(name, f"must be <= 1, got {array.max():g}. {NOT_PERCENT}")
    return array


def checked_or_unknown(owner: object, **units: str) -> None:
    """Check fields of a frozen dataclass, each one finite number >= 0 or NaN (unknown), and keep them as floats."""
    for name, unit in units.items():
        value = getattr(owner, name)
        unknown = isinstance(value, (float, np.floating)) and math.isnan(value)
        # one object, so that equal dataclasses with an unknown number are equal
        number = math.nan if unknown else checked_number(name, value, unit, zero_allowed=True, remedy="NaN is unknown.")
        object.__setattr__(owner, name, number)


def checked_declaration(kind: type, values: Any) -> dict[str, Any]:
    """Return the fields of a dataclass from what its `as_dict` gave; ArgumentError for other names, or missing ones."""
    checked_kind("values", values, Mapping, remedy=f"as_dict() of a {kind.__name__} gives one.")
    declared: Any = fields(kind)
    for name in values:
        checked_choice(f"a field of {kind.__name__}", name, [field.name for field in declared])
    needed = [f.name for f in declared if f.default is MISSING and f.default_factory is MISSING]
    if missing := [name for name in needed if name not in values]:
        raise ArgumentError("values", f"must have {', '.join(missing)}, as every {kind.__name__} has.")
    return dict(values)


def with_digest(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record that is ready for JSON with the SHA-256 of all its values, as `sha256`."""
    digest = hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()
    return {**record, "sha256": digest}


def checked_stated(found: Mapping[str, Any], stated: Mapping[str, Any]) -> None:
    """ArgumentError unless a record that was read has the identity and the `sha256`, if any, that it states."""
    names = [name for name in STATED if stated.get(name) is not None]
    for name in names:
        if stated[name] != found[name]:
            reason = "the numbers were changed, or are of another version"
            rule = f"must be that of the other values, {found[name]:.12}, got {stated[name]!s:.12}: {reason}."
            raise ArgumentError(name, f"{rule} Without its {names[0]} a record is taken as it is.")


def checked_bit(bit: int) -> int:
    """Return a bit; ArgumentError unless it is 0 or 1."""
    if bit not in (0, 1) or isinstance(bit, bool):
        raise ArgumentError("bit", f"must be 0 or 1, got {bit!r}.")
    return bit
