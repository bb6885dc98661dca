"""What a study found: its best point or Pareto front within the constraints, and the thresholds of its bisections."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bnn.studies.dimensions import is_number, plain
from bnn.studies.level import is_of_losses
from bnn.studies.plans import Bisection
from bnn.studies.results import Results
from bnn.studies.space import Study


def choice_of(study: Study, groups: Sequence[Sequence[Mapping[str, Any]]]) -> list[dict[str, int]]:
    """Return what each point is among the others: `feasible`, and `best` or `on_front`, each 1 or 0.

    Parameters
    ----------
    study : Study
    groups : sequence of sequences of mappings
        For each point the values of its repeats.

    Returns
    -------
    list of dict
        Empty dicts for a study without objectives; `feasible` only with constraints; `best` for one objective (of equal
        ones, each), `on_front` for several. They follow from the means over the repeats. A point that lacks a repeat,
        or in one of them an objective or a value of a constraint, is neither.
    """
    if not study.objective:
        return [{} for _ in groups]
    whole = [len(group) == study.repeats for group in groups]
    feasible = np.array([own and _keeps(study, group) for own, group in zip(whole, groups, strict=True)], dtype=bool)
    costs = np.array([[_cost(study, group, name) for name in study.objective] for group in groups])
    allowed = feasible & np.isfinite(costs).all(1)
    column = "best" if len(study.objective) == 1 else "on_front"
    first = [{"feasible": int(own)} if study.constraint else {} for own in feasible]
    return [own | {column: int(best)} for own, best in zip(first, on_front(costs, allowed), strict=True)]


def on_front(costs: NDArray[np.float64], allowed: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which points are allowed and not dominated by another allowed one.

    Parameters
    ----------
    costs : array, shape (points, objectives)
        The less the better.
    allowed : array of bool, shape (points,)

    Examples
    --------
    >>> costs = np.array([[1.0, 3.0], [2.0, 2.0], [2.0, 3.0], [0.0, 0.0]])
    >>> on_front(costs, np.array([True, True, True, False])).tolist()
    [True, True, False, False]
    """
    others = costs[allowed]
    dominated = [bool(((others <= own).all(1) & (others < own).any(1)).any()) for own in costs]
    return allowed & ~np.array(dominated, dtype=bool)


def _mean(group: Sequence[Mapping[str, Any]], name: str) -> float:
    """Return the mean of a value over the repeats; NaN if one does not have it."""
    numbers = [own[name] if is_number(own.get(name)) else np.nan for own in group]
    return float(np.mean(numbers))


def _keeps(study: Study, group: Sequence[Mapping[str, Any]]) -> bool:
    means = {name: _mean(group, name) for name in study.constraint}
    return all(
        means[name] <= limit["max"] if "max" in limit else means[name] >= limit["min"]
        for name, limit in study.constraint.items()
    )


def _cost(study: Study, group: Sequence[Mapping[str, Any]], name: str) -> float:
    return (-1.0 if study.objective[name] == "maximize" else 1.0) * _mean(group, name)


def thresholds(study: Study, results: Results) -> list[dict[str, Any]]:
    """Return a row for each bisection: the other dimensions, low and high of the interval with the crossing, why none.

    Without an interval low and high are empty, and `why` says that the ends are on one side of the level, and which, or
    that they are not finished; an interval that is to be halved again is "not finished" too. Of a level of losses there
    are also `failed_low` and `failed_high`, how many repeats fail at the two ends of the interval, or without one at
    those of the range, and `repeats`.
    """
    plan, known = Bisection.of(study), results.values()
    rows = []
    for values in product(*([(d.path, plain(value)) for value in d.values] for d in study.dimensions)):
        others = dict(values)
        bracket = plan.bracket(others, known)
        low, high = bracket or ("", "")
        row = {**cells(values), "low": low, "high": high, "why": plan.why(others, known)}
        if is_of_losses(plan.level):
            failed = [plan.failed(others, end, known) for end in bracket or (plan.low, plan.high)]
            row |= {f"failed_{end}": "" if n is None else n for end, n in zip(("low", "high"), failed, strict=True)}
            row["repeats"] = study.repeats
        rows.append(row)
    return rows


def cells(shown: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Return the dimensions of a point as cells of a table; lists as texts."""
    return {path: value if isinstance(value, (int, float, str, bool)) else str(value) for path, value in shown}
