"""Checks that memories, dies, maps and searches share, next to those of `mtjsim.checks`."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from mtjsim.checks import NOT_PERCENT, ArgumentError, Array, checked_array, checked_signed, checked_whole


def checked_shape(shape: Any, *, least: int) -> tuple[int, ...]:
    """Return a whole number, or a sequence of them, as a tuple; ArgumentError unless each is >= `least`."""
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


def checked_bit(bit: int) -> int:
    """Return a bit; ArgumentError unless it is 0 or 1."""
    if bit not in (0, 1) or isinstance(bit, bool):
        raise ArgumentError("bit", f"must be 0 or 1, got {bit!r}.")
    return bit
