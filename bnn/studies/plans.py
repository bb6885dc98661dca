"""Which points of a study come next: a grid, random points, a bisection for thresholds.

A plan is a function of the finished results alone, so the points of a study are the same for any number of workers.

A bisection looks for the value of one field, [bisect] field, between low and high, at which the repeats cross a level,
for each point of the grid of the other fields. It evaluates low, then high, then the middle of the interval that
contains the crossing, `rounds` times. `level` is a number or a table, see `level.py`:

    level = 0.8                                                       of the mean of `value`
    level = { of = "error_free.accuracy", keep = 0.9, above = 0.1 }   the same, from another value at low
    level = { lose = 0.01, share = 0.5 }                              half of the repeats lose more than 0.01 of `value`
                                                                      against their own run at low, or diverge

If that share of the repeats fails at low, by divergences, no other place is evaluated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Protocol

import numpy as np

from bnn.recipes.declared import checked_flag, checked_table, in_si
from bnn.studies.dimensions import Dimension, is_number, plain
from bnn.studies.level import REFERENCE_FAILED, Repeats, chance_of, checked_level, failures, is_of_losses, mean_of
from bnn.studies.space import Point, Study
from mtjsim.checks import ArgumentError, checked_whole
from mtjsim.rng import generator

Results = Mapping[str, Mapping[str, Any]]  # key of a point -> its values
BISECT = ("field", "low", "high", "log", "rounds", "value", "level")
ROUNDS = 8
MOST_ROUNDS = 40  # the places have 12 digits
UNFINISHED = "not finished"  # why there is no interval, or a wide one
ONE_SIDE = "both ends on one side"
ABOVE_HIGH, BELOW_LOW = f"{ONE_SIDE}: above high", f"{ONE_SIDE}: below low"
FAILS_AT_LOW = "fails at low"


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
        Of the run, in which the repeats cross the level.
    level : float or mapping
        See `level.py`.
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

    def why(self, others: Mapping[str, Any], results: Results) -> str:
        """Return why there is no interval or it is not the last one, and on which side of the ends the threshold is.

        Of a level that a mean crosses this is the side of the end whose mean is nearer to the level; none is named if
        both are as near, or diverged. The last interval has no reason, "".
        """
        path, bracket = self._walk(others, results)
        if bracket is not None:
            return UNFINISHED if self._repeats(others, path[-1], results) is None else ""
        at_low, at_high = (self._repeats(others, end, results) for end in (self.low, self.high))
        if at_low is not None and is_of_losses(self.level) and self._rule(others, at_low)(at_low):
            return FAILS_AT_LOW
        if at_low is not None and self._reference_failed(others, at_low):
            return REFERENCE_FAILED
        if at_low is None or at_high is None:
            return UNFINISHED
        if is_of_losses(self.level):
            return ABOVE_HIGH
        level = self._level(others, at_low)
        first, last = (abs(mean_of(end, self.value) - level) for end in (at_low, at_high))
        return BELOW_LOW if first < last else ABOVE_HIGH if last < first else ONE_SIDE

    def failed(self, others: Mapping[str, Any], at: float, results: Results) -> int | None:
        """Return how many repeats fail at a place, of a level of losses; None unless all of them are finished."""
        here, at_low = (self._repeats(others, place, results) for place in (at, self.low))
        if here is None or at_low is None:
            return None
        return failures(here, at_low, self.value, lose=self.level["lose"])

    def _path(self, others: Mapping[str, Any], results: Results) -> list[Point]:
        return [
            self.study.point({**others, self.path: at}, repeat)
            for at in self._walk(others, results)[0]
            for repeat in range(self.study.repeats)
        ]

    def _walk(self, others: Mapping[str, Any], results: Results) -> tuple[list[float], tuple[float, float] | None]:
        """Return the places of a bisection in their order, and its last interval."""
        path = [self.low]
        at_low = self._repeats(others, self.low, results)
        if at_low is None:
            return path, None
        beyond = self._rule(others, at_low)
        first = beyond(at_low)
        if (first and is_of_losses(self.level)) or self._reference_failed(others, at_low):  # and then everywhere
            return path, None
        path.append(self.high)
        at_high = self._repeats(others, self.high, results)
        if at_high is None or beyond(at_high) == first:
            return path, None
        low, high = self.low, self.high
        for _ in range(self.rounds):
            middle = between(low, high, 0.5, log=self.log)
            path.append(middle)
            here = self._repeats(others, middle, results)
            if here is None:
                break
            low, high = (middle, high) if beyond(here) == first else (low, middle)
        return path, (low, high)

    def _rule(self, others: Mapping[str, Any], at_low: Repeats) -> Callable[[Repeats], bool]:
        """Return what says on which side the repeats of a place are: at a level or above, or failed."""
        if is_of_losses(self.level):
            lose, share = self.level["lose"], self.level["share"]
            return lambda here: failures(here, at_low, self.value, lose=lose) / len(here) >= share
        level = self._level(others, at_low)
        return lambda here: mean_of(here, self.value) >= level

    def _level(self, others: Mapping[str, Any], at_low: Repeats) -> float:
        if not isinstance(self.level, Mapping):
            return float(self.level)
        clean, above = mean_of(at_low, self.level["of"]), self._above(others)
        return above + self.level.get("keep", 0.9) * (clean - above)

    def _above(self, others: Mapping[str, Any]) -> float:
        above = self.level.get("above", 0.0)
        if above == "chance":
            above = chance_of(self.study.recipe_at(self.study.point({**others, self.path: self.low}, 0)))
        return float(above)

    def _reference_failed(self, others: Mapping[str, Any], at_low: Repeats) -> bool:
        if not isinstance(self.level, Mapping) or is_of_losses(self.level):
            return False
        return not mean_of(at_low, self.level["of"]) > self._above(others)

    def _repeats(self, others: Mapping[str, Any], at: float, results: Results) -> Repeats | None:
        """Return the values of the repeats at a place; None unless all of them are finished."""
        point = self.study.point({**others, self.path: at}, 0)
        found = [results.get(self.study.key(replace(point, repeat=repeat))) for repeat in range(self.study.repeats)]
        present = [values for values in found if values is not None]
        return present if len(present) == len(found) else None
