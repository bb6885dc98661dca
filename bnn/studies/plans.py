"""Which points of a study come next: a grid, random points, a bisection for thresholds.

A plan is a function of the finished results alone, so the points of a study are the same for any number of workers.

A bisection looks for the value of one field, [bisect] field, between low and high, at which a value of the run (the
mean of its repeats) crosses a level, for each point of the grid of the other fields. It evaluates low, then high, then
the middle of the interval that contains the crossing, `rounds` times. `level` is a number, or

    level = { of = "error_free.accuracy", keep = 0.9, above = 0.1 }

above + keep (v - above), where v is the value `of` at low, and above is a number or "chance", 1 / classes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Protocol

import numpy as np

from bnn.recipes.declared import checked_flag, checked_table, in_si
from bnn.recipes.result import DIVERGED
from bnn.recipes.tables import CLASSES
from bnn.studies.dimensions import Dimension, is_number, plain
from bnn.studies.space import Point, Study
from mtjsim.checks import ArgumentError, checked_whole
from mtjsim.rng import generator

Results = Mapping[str, Mapping[str, Any]]  # key of a point -> its values
BISECT = ("field", "low", "high", "log", "rounds", "value", "level")
LEVEL = ("of", "keep", "above")
ROUNDS = 8
MOST_ROUNDS = 40  # the places have 12 digits


class Plan(Protocol):
    """The points of a study."""

    def points(self, results: Results) -> list[Point]:
        """Return all points that are known to be needed so far, in the order of the table, finished or not."""


def plan_of(study: Study) -> Plan:
    """Return the plan of a study with the sampler "grid", "random" or "bisection"."""
    if study.sampler == "random":
        return Fixed(tuple(_random_points(study)))
    return Bisection.of(study) if study.sampler == "bisection" else Fixed(tuple(study.grid()))


def unique(study: Study, points: Iterable[Point]) -> list[Point]:
    """Return the points, those with the same key once."""
    return list({study.key(point): point for point in points}.values())


@dataclass(frozen=True)
class Fixed:
    """Points that are known before."""

    all_points: tuple[Point, ...]

    def points(self, results: Results) -> list[Point]:
        """Return all points."""
        return list(self.all_points)


def _random_points(study: Study) -> list[Point]:
    """Draw the points of a study, each by its number, so that more trials keep the former ones; equal ones are one."""
    found = []
    for number in range(study.tables["trials"]):
        stream = generator(study.seed, "study", 1, number)
        shown = {dimension.path: _drawn(dimension, stream) for dimension in study.dimensions}
        found += [study.point(shown, repeat) for repeat in range(study.repeats)]
    return unique(study, found)


def _drawn(dimension: Dimension, stream: np.random.Generator) -> Any:
    if dimension.values:
        return plain(dimension.values[int(stream.integers(len(dimension.values)))])
    if dimension.whole and not dimension.log:
        return int(stream.integers(int(dimension.low), int(dimension.high) + 1))
    value = between(dimension.low, dimension.high, float(stream.random()), log=dimension.log)
    return round(value) if dimension.whole else value


def between(low: float, high: float, share: float, *, log: bool) -> float:
    """Return the number at a share of the way, linear or in the logarithm, with 12 digits."""
    value = low * (high / low) ** share if log else low + share * (high - low)
    return float(f"{value:.12g}")


def checked_level(level: Any) -> Any:
    """Return the level of a bisection: a number, or a table."""
    if not isinstance(level, Mapping):
        if not is_number(level):
            raise ArgumentError("bisect.level", f"must be a number, or a table with `of`, got {level!r}.")
        return level
    level = checked_table("bisect.level", level, LEVEL)
    if not isinstance(level.get("of"), str):
        raise ArgumentError("bisect.level.of", "must be given: the value at low that the level is a share of.")
    for name, least in (("keep", 0.9), ("above", 0.0)):
        if not is_number(level.get(name, least)) and (name, level[name]) != ("above", "chance"):
            word = ', or "chance"' * (name == "above")
            raise ArgumentError(f"bisect.level.{name}", f"must be a number{word}, got {level[name]!r}.")
    return level


@dataclass(frozen=True)
class Bisection:
    """A bisection for each point of a grid.

    Attributes
    ----------
    study : Study
    path : str
        Field that moves.
    low, high : float
    log : bool
    rounds : int
        Halvings.
    value : str
        Of the run, whose mean over the repeats crosses the level.
    level : float or mapping
    """

    study: Study
    path: str
    low: float
    high: float
    log: bool
    rounds: int
    value: str
    level: Any

    @classmethod
    def of(cls, study: Study) -> Bisection:
        """Return the bisection of a study; ArgumentError for a wrong [bisect]."""
        table = checked_table("bisect", study.tables["bisect"], BISECT)
        for name in ("field", "low", "high", "value", "level"):
            if name not in table:
                raise ArgumentError(f"bisect.{name}", "must be given.")
        for name in ("field", "value"):
            if not isinstance(table[name], str):
                raise ArgumentError(f"bisect.{name}", f"must be a text, got {table[name]!r}.")
        last, log = table["field"].rpartition(".")[2], checked_flag("bisect.log", table.get("log", False))
        low, high = (in_si(f"bisect.{name}", last, table[name]) for name in ("low", "high"))
        if not (is_number(low) and is_number(high)) or not low < high or (log and low <= 0):
            rule = f"must be a number < high{', and > 0 for log' * log}"
            raise ArgumentError("bisect.low", f"{rule}, got {low!r} and {high!r}.")
        rounds = checked_whole("bisect.rounds", table.get("rounds", ROUNDS), least=1)
        if rounds > MOST_ROUNDS:
            raise ArgumentError("bisect.rounds", f"must be at most {MOST_ROUNDS}, got {rounds}.")
        level = checked_level(table["level"])
        for end in (low, high):
            study.recipe_at(study.point({table["field"]: end}, 0))
        return cls(study, table["field"], float(low), float(high), log, rounds, table["value"], level)

    def points(self, results: Results) -> list[Point]:
        """Return the points of all bisections, as far as they are known."""
        values = [[(d.path, plain(value)) for value in d.values] for d in self.study.dimensions]
        return [point for others in product(*values) for point in self._path(dict(others), results)]

    def bracket(self, others: Mapping[str, Any], results: Results) -> tuple[float, float] | None:
        """Return the interval that contains the crossing, as far as it is known; None if the ends do not differ."""
        return self._walk(others, results)[1]

    def _path(self, others: Mapping[str, Any], results: Results) -> list[Point]:
        return [
            self.study.point({**others, self.path: at}, repeat)
            for at in self._walk(others, results)[0]
            for repeat in range(self.study.repeats)
        ]

    def _walk(self, others: Mapping[str, Any], results: Results) -> tuple[list[float], tuple[float, float] | None]:
        """Return the places of a bisection in their order, and its last interval."""
        path = [self.low]
        first = self._mean(others, self.low, results, self.value)
        if first is None:
            return path, None
        path.append(self.high)
        level, last = self._level(others, results), self._mean(others, self.high, results, self.value)
        if last is None or level is None or (first >= level) == (last >= level):
            return path, None
        low, high = self.low, self.high
        for _ in range(self.rounds):
            middle = between(low, high, 0.5, log=self.log)
            path.append(middle)
            found = self._mean(others, middle, results, self.value)
            if found is None:
                break
            low, high = (middle, high) if (found >= level) == (first >= level) else (low, middle)
        return path, (low, high)

    def _level(self, others: Mapping[str, Any], results: Results) -> float | None:
        if not isinstance(self.level, Mapping):
            return float(self.level)
        clean = self._mean(others, self.low, results, self.level["of"])
        above = self.level.get("above", 0.0)
        if above == "chance":
            data: Any = self.study.recipe_at(self.study.point({**others, self.path: self.low}, 0)).tables["data"]
            above = 1.0 / data.get("classes", CLASSES[data["name"]])
        return None if clean is None else above + self.level.get("keep", 0.9) * (clean - above)

    def _mean(self, others: Mapping[str, Any], at: float, results: Results, value: str) -> float | None:
        """Return the mean of a value over the repeats; None unless all of them are finished."""
        point = self.study.point({**others, self.path: at}, 0)
        found = [results.get(self.study.key(replace(point, repeat=repeat))) for repeat in range(self.study.repeats)]
        if any(values is None for values in found):
            return None
        if any(values.get(DIVERGED) for values in found if values):
            return -math.inf  # below any level
        numbers = [values[value] for values in found if values and isinstance(values.get(value), (int, float))]
        if len(numbers) < len(found) or not np.isfinite(numbers).all():
            known = ", ".join(found[0] or {})
            raise ArgumentError("bisect.value", f"must be a number of the run, got {value!r}; there are {known}.")
        return float(np.mean(numbers))
