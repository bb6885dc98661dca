"""Levels of a bisection: on which side of its threshold a place is, from the values of its repeats.

    number                is the mean over the repeats at it or above?
    { of, keep, above }   the same of above + keep (v - above), where v is the mean of the value `of` at low, and above
                          a number or "chance", 1 / classes
    { lose, share }       does a share of the repeats, or more, fail?

A repeat is compared with the same one at low, which has its seed. It fails if its training diverged, if its value is
missing, or is below that at low by more than `lose` (their difference has 12 digits). If its run at low diverged or has
no value, it fails everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bnn.recipes.declared import checked_table
from bnn.recipes.recipe import Recipe
from bnn.recipes.result import DIVERGED
from bnn.recipes.tables import CLASSES
from bnn.studies.dimensions import is_number
from bnn.studies.task import Task
from mtjsim.checks import ArgumentError

Repeats = Sequence[Mapping[str, Any]]  # the values of each repeat of a place
OF_MEAN = ("of", "keep", "above")
OF_LOSSES = ("lose", "share")
REFERENCE_FAILED = "reference failed"  # it is not above `above`, so that there is no share to keep


def chance_of(experiment: Recipe | Task) -> float:
    """Return the accuracy of a guess, 1 / classes of the data of a recipe; 0 for a task, which has no classes."""
    if not isinstance(experiment, Recipe):
        return 0.0
    data = experiment.tables["data"]
    return 1.0 / data.get("classes", CLASSES[data["name"]])


def checked_level(level: Any) -> Any:
    """Return the level of a bisection: a number, or a table of one of the two kinds; ArgumentError for another."""
    if not isinstance(level, Mapping):
        if not is_number(level):
            raise ArgumentError("bisect.level", f"must be a number, or a table with `of` or `lose`, got {level!r}.")
        return level
    level = checked_table("bisect.level", level, (*OF_MEAN, *OF_LOSSES))
    if not is_of_losses(level):
        return _checked_mean(level)
    if mixed := [name for name in OF_MEAN if name in level]:
        rule = f"must be left out where the level is of losses, {' and '.join(n for n in OF_LOSSES if n in level)}"
        raise ArgumentError(f"bisect.level.{mixed[0]}", f"{rule}, got {level[mixed[0]]!r}.")
    for name, most, rule in (("lose", math.inf, "a number > 0"), ("share", 1.0, "a number > 0 and <= 1")):
        if name not in level:
            raise ArgumentError(f"bisect.level.{name}", f"must be given, {rule}: a level of losses has both.")
        if not is_number(level[name]) or not 0.0 < level[name] <= most:
            raise ArgumentError(f"bisect.level.{name}", f"must be {rule}, got {level[name]!r}.")
    return level


def _checked_mean(level: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(level.get("of"), str):
        raise ArgumentError("bisect.level.of", "must be given: the value at low that the level is a share of.")
    for name, least in (("keep", 0.9), ("above", 0.0)):
        if not is_number(level.get(name, least)) and (name, level[name]) != ("above", "chance"):
            word = ', or "chance"' * (name == "above")
            raise ArgumentError(f"bisect.level.{name}", f"must be a number{word}, got {level[name]!r}.")
    if not 0.0 < level.get("keep", 0.9) < 1.0:
        raise ArgumentError("bisect.level.keep", f"must be between 0 and 1, a share, got {level['keep']!r}.")
    return level


def is_of_losses(level: Any) -> bool:
    """Whether a level is that of { lose, share }."""
    return isinstance(level, Mapping) and any(name in level for name in OF_LOSSES)


def mean_of(repeats: Repeats, value: str) -> float:
    """Return the mean of a value; -inf, below any level, if a training diverged; ArgumentError if it is missing."""
    if any(own.get(DIVERGED) for own in repeats):
        return -math.inf
    numbers = [own[value] for own in repeats if isinstance(own.get(value), (int, float))]
    if len(numbers) < len(repeats) or not np.isfinite(numbers).all():
        raise _missing(repeats, value)
    return float(np.mean(numbers))


def failures(repeats: Repeats, at_low: Repeats, value: str, *, lose: float) -> int:
    """Return how many repeats fail against those at low; ArgumentError if the value is missing in all of these.

    Examples
    --------
    >>> at_low = [{"a": 0.9}, {"a": 0.8}, {"training.diverged": 1}]
    >>> failures([{"a": 0.89}, {"a": 0.7}, {"a": 0.9}], at_low, "a", lose=0.01)
    2
    """
    if not any(own.get(DIVERGED) or is_number(own.get(value)) for own in at_low):
        raise _missing(at_low, value)
    return sum(_fails(own, first, value, lose) for own, first in zip(repeats, at_low, strict=True))


def _fails(own: Mapping[str, Any], first: Mapping[str, Any], value: str, lose: float) -> bool:
    if own.get(DIVERGED) or first.get(DIVERGED) or not (is_number(own.get(value)) and is_number(first.get(value))):
        return True
    return round(first[value] - own[value], 12) > lose  # 0.96 - 0.95 is a little more than 0.01


def _missing(repeats: Repeats, value: str) -> ArgumentError:
    known = ", ".join(repeats[0])
    return ArgumentError("bisect.value", f"must be a number of the run, got {value!r}; there are {known}.")
