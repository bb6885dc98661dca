"""Samplers of a study: Optuna's own, and one that gives a trial the point that its worker has chosen."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Mapping
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.trial import Trial

from bnn.studies.dimensions import Dimension, flat, plain
from bnn.studies.space import Point, Study
from mtjsim.checks import ArgumentError


class PlannedSampler(optuna.samplers.BaseSampler):
    """Gives each trial the values of the point that its worker has chosen."""

    point: Point | None = None

    def infer_relative_search_space(self, study: Any, trial: Any) -> dict[str, Any]:
        """Return none: every value is given on its own."""
        return {}

    def sample_relative(self, study: Any, trial: Any, search_space: Any) -> dict[str, Any]:
        """Return none."""
        return {}

    def sample_independent(self, study: Any, trial: Any, param_name: str, param_distribution: Any) -> Any:
        """Return the value of the point."""
        assert self.point is not None
        values = {**dict(self.point.shown), "repeat": self.point.repeat}
        return _text(values[param_name])


def suggested(trial: Trial, dimension: Dimension) -> Any:
    """Return the value of a dimension in a trial."""
    if dimension.values:
        return value_of(
            dimension, trial.suggest_categorical(dimension.path, [_text(plain(v)) for v in dimension.values])
        )
    if dimension.whole:
        return trial.suggest_int(dimension.path, int(dimension.low), int(dimension.high), log=dimension.log)
    return float(f"{trial.suggest_float(dimension.path, dimension.low, dimension.high, log=dimension.log):.12g}")


def _text(value: Any) -> Any:
    """Return a value as Optuna takes it: lists and tables as JSON."""
    return json.dumps(value, sort_keys=True) if isinstance(value, (list, dict)) else value


def value_of(dimension: Dimension, told: Any) -> Any:
    """Return the value that Optuna keeps as a text, or the number itself."""
    by_text = {_text(plain(value)): plain(value) for value in dimension.values}
    return by_text.get(told, told)


def constraints(study: Study, values: list[Mapping[str, Any]]) -> list[float]:
    """Return by how much each constraint is violated, > 0, in the mean of the repeats."""
    excess = []
    for name, limit in flat("constraint", study.tables.get("constraint", {})).items():
        if not isinstance(limit, Mapping) or set(limit) not in ({"max"}, {"min"}):
            raise ArgumentError(f"constraint.{name}", f"must be {{ max = ... }} or {{ min = ... }}, got {limit!r}.")
        numbers = [own[name] for own in values if isinstance(own.get(name), (int, float))]
        if len(numbers) < len(values):
            raise ArgumentError(f"constraint.{name}", f"must be a value of the run: {', '.join(values[0])}.")
        mean = sum(numbers) / len(numbers)
        excess.append(mean - limit["max"] if "max" in limit else limit["min"] - mean)
    return excess


def sampler_of(study: Study) -> Any:
    """Return Optuna's sampler of a study, TPE or NSGA-II."""
    seed = study.seed + os.getpid() if study.sampler == "nsga2" else None
    options: dict[str, Any] = {}
    if "constraint" in study.tables:
        options["constraints_func"] = lambda trial: trial.user_attrs.get("constraints", (0.0,))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        warnings.simplefilter("ignore", FutureWarning)  # Optuna 5 has another way, which Optuna 4 has not
        if study.sampler == "nsga2":
            return optuna.samplers.NSGAIISampler(seed=seed, **options)
        return optuna.samplers.TPESampler(seed=None, **options)
