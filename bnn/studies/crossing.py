"""Where a value has fallen by a given loss along one field: a further table of a study, [crossing].

    field   of the space, with numbers > 0; the value at the lowest of them is the reference
    value   of a run, such as "error_free.accuracy"
    loss    by which it falls; or, in its place,
    keep    share of it that is kept, above `above`: a number, 0 unless given, or "chance", 1 / classes

For each combination of the other fields `crossing.csv` has log10 of the first number at which the mean over the repeats
has fallen by more, linear in log10 between it and the number before. `bound` is ">" where the mean does not fall so
far, "<" where it has at the second number, and "reference failed" where the mean at the lowest number is not above
`above`: then there is no crossing. `lowest` and `highest` are those of the repeats' own: highest is inf if one of them
does not fall so far, lowest is -inf if one has at the second number. The reference may be at 0, which stands for no
errors. A training that diverged has no such value and counts as 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bnn.recipes.declared import checked_table
from bnn.recipes.recipe import Recipe
from bnn.recipes.result import DIVERGED
from bnn.studies.dimensions import is_number
from bnn.studies.level import REFERENCE_FAILED, chance_of
from bnn.studies.space import Point, Study
from mtjsim.checks import ArgumentError, checked_choice

CROSSING = ("field", "value", "loss", "keep", "above")


def crossings(study: Study, done: Sequence[tuple[Point, Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """Return the rows of [crossing]: the other fields, repeats, log10 of the crossing, bound, lowest and highest.

    Raises
    ------
    ArgumentError
        For a field that the space does not have, and for a run without the value that did not diverge.
    """
    path, value, loss_of = declared(study)
    groups: dict[str, tuple[dict[str, Any], dict[float, list[float]]]] = {}
    points: dict[str, Point] = {}
    for point, result in done:
        shown = {name: own if isinstance(own, (int, float, str)) else str(own) for name, own in point.shown}
        at, number = float(shown.pop(path)), _number(result["values"], value)
        found = groups.setdefault(repr(shown), (shown, {}))[1]
        points.setdefault(repr(shown), point)
        found.setdefault(at, []).append(number)
    rows = []
    for shown, found in groups.values():
        places, repeats = np.array(sorted(found)), min(map(len, found.values()))
        curves = np.array([found[at][:repeats] for at in sorted(found)])
        chance = chance_of(study.recipe_at(points[repr(shown)]))
        mean = curves.mean(1)
        log10, bound = crossing(places, mean, loss_of(mean[0], chance))
        own = [crossing(places, curve, loss_of(curve[0], chance)) for curve in curves.T]
        ends = {"bound": bound, "lowest": _lowest(own), "highest": _highest(own)}
        rows.append({**shown, "repeats": repeats, f"log10_{path}": _cell(log10), **ends})
    return rows


def _lowest(own: Sequence[tuple[float, str]]) -> float | str:
    ends = [-math.inf if bound == "<" else log10 for log10, bound in own]
    return "" if any(map(math.isnan, ends)) else min(ends)


def _highest(own: Sequence[tuple[float, str]]) -> float | str:
    ends = [math.inf if bound == ">" else log10 for log10, bound in own]
    return "" if any(map(math.isnan, ends)) else max(ends)


def _cell(number: float) -> float | str:
    return "" if math.isnan(number) else number


def _number(values: Mapping[str, Any], name: str) -> float:
    """Return a value of a run; 0 for a training that diverged without it."""
    if is_number(values.get(name)):
        return float(values[name])
    if values.get(DIVERGED) == 1:
        return 0.0
    raise ArgumentError("crossing.value", f"must be a number of each run, got {name!r}; there are {', '.join(values)}.")


def check_crossing(study: Study) -> None:
    """ArgumentError for a wrong [crossing]."""
    if "crossing" in study.tables:
        declared(study)


def declared(study: Study) -> tuple[str, str, Callable[[float, float], float]]:
    """Return field and value of [crossing], and the loss as a function of the first value and of chance.

    ArgumentError for a wrong [crossing].
    """
    table = checked_table("crossing", study.tables["crossing"], CROSSING)
    for name in ("field", "value"):
        if name not in table:
            raise ArgumentError(f"crossing.{name}", "must be given.")
    field = checked_choice("crossing.field", table["field"], [d.path for d in study.dimensions])
    (numbers,) = (d.values or (d.low, d.high) for d in study.dimensions if d.path == field)
    if not all(is_number(number) and number >= 0 for number in numbers) or len(numbers) < 2:
        raise ArgumentError("crossing.field", f"must have two numbers or more, none below 0, got {list(numbers)}.")
    if not isinstance(table["value"], str):
        raise ArgumentError("crossing.value", f"must be a text, got {table['value']!r}.")
    return field, table["value"], _loss(study, table)


def _loss(study: Study, table: Mapping[str, Any]) -> Callable[[float, float], float]:
    if ("loss" in table) == ("keep" in table) or ("above" in table and "loss" in table):
        rule = "must be given alone, or keep (with above, if any) in its place"
        raise ArgumentError("crossing.loss", f"{rule}, got {', '.join(table)}.")
    name = "loss" if "loss" in table else "keep"
    number, most = table[name], math.inf if name == "loss" else 1.0
    if not is_number(number) or not 0.0 < number < most:
        rule = "a number > 0" if name == "loss" else "between 0 and 1"
        raise ArgumentError(f"crossing.{name}", f"must be {rule}, got {number!r}.")
    above = table.get("above", 0.0)
    if above != "chance" and not is_number(above):
        raise ArgumentError("crossing.above", f'must be a number or "chance", got {above!r}.')
    if above == "chance" and not isinstance(study.recipe, Recipe):
        raise ArgumentError("crossing.above", 'must be a number for a task: "chance" is of the data of a recipe.')
    if name == "loss":
        return lambda first, chance: float(number)
    return lambda first, chance: (1.0 - number) * (first - (chance if above == "chance" else above))


def crossing(places: NDArray[np.float64], values: NDArray[np.float64], loss: float) -> tuple[float, str]:
    """Return log10 of the place where values have fallen by `loss` below the first one, and "", "<" or ">".

    For a loss that is not > 0 they are NaN and "reference failed".

    Examples
    --------
    >>> crossing(np.array([0.0, 1e-4, 1e-3, 1e-2]), np.array([0.98, 0.98, 0.98, 0.96]), 0.01)
    (-2.5, '')
    >>> crossing(np.array([0.0, 1e-4, 1e-3]), np.array([0.98, 0.9, 0.5]), 0.01)
    (-4.0, '<')
    """
    if not loss > 0.0:
        return math.nan, REFERENCE_FAILED
    least = values[0] - loss
    lost = np.flatnonzero(values[1:] < least)
    with np.errstate(divide="ignore"):
        logs = np.log10(places)
    if len(lost) and lost[0] == 0:
        return float(logs[1]), "<"
    if not len(lost):
        return float(logs[-1]), ">"
    n = int(lost[0]) + 1
    before, after = values[n - 1], values[n]
    share = (before - least) / (before - after)
    return round(float(logs[n - 1] + share * (logs[n] - logs[n - 1])), 9), ""
