"""Equality of dataclasses in which a number may be unknown."""

import dataclasses
import math
from typing import Any

from mtjsim.checks import Suggesting


class NanEqual(Suggesting):
    """Base of a frozen dataclass with ``eq=False``: two instances are equal if all compared fields are, NaN included.

    NaN is an unknown number here. IEEE 754 makes NaN differ from itself, and so did a dataclass with one: up to
    Python 3.12 unless it was the same object, from 3.13 on always.

    Examples
    --------
    >>> @dataclasses.dataclass(frozen=True, eq=False)
    ... class Price(NanEqual):
    ...     joules: float
    >>> Price(float("nan")) == Price(float("nan")), Price(1.0) == Price(float("nan"))
    (True, False)
    """

    def _compared(self) -> tuple[Any, ...]:
        values = [getattr(self, field.name) for field in dataclasses.fields(self) if field.compare]  # type: ignore[arg-type]
        return tuple("unknown" if isinstance(value, float) and math.isnan(value) else value for value in values)

    def __eq__(self, other: object) -> bool:
        if other.__class__ is not self.__class__:
            return NotImplemented
        return self._compared() == other._compared()

    def __hash__(self) -> int:
        return hash((type(self), self._compared()))
