"""Points and trials: parameters and distributions of a point as Optuna has them, its samplers, constraints."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.trial import Trial

from bnn.studies.dimensions import Dimension, flat, plain
from bnn.studies.plans import Bisection
from bnn.studies.space import Point, Study
from mtjsim.checks import ArgumentError
from mtjsim.rng import child_seed


def distribution_of(dimension: Dimension) -> BaseDistribution:
    """Return a dimension as Optuna has it."""
    if dimension.values:
        return CategoricalDistribution([_text(plain(value)) for value in dimension.values])
    if dimension.whole:
        return IntDistribution(int(dimension.low), int(dimension.high), log=dimension.log)
    return FloatDistribution(dimension.low, dimension.high, log=dimension.log)


def trial_of(study: Study, point: Point) -> tuple[dict[str, Any], dict[str, BaseDistribution]]:
    """Return the parameters of a planned point and their distributions."""
    given, dimensions = dict(point.shown), list(study.dimensions)
    if study.sampler == "bisection":
        plan = Bisection.of(study)
        dimensions.append(Dimension(plan.path, (), plan.low, plan.high, plan.log))
    params = {d.path: _text(given[d.path]) for d in dimensions}
    distributions = {d.path: distribution_of(d) for d in dimensions}
    for d in dimensions:
        if not d.values:  # 12 digits may be rounded to beyond an end
            params[d.path] = min(max(params[d.path], d.low), d.high)
    if study.repeats > 1:
        params["repeat"], distributions["repeat"] = point.repeat, IntDistribution(0, study.repeats - 1)
    return params, distributions


def suggested(trial: Trial, dimension: Dimension) -> Any:
    """Return the value of a dimension that Optuna chooses in a trial."""
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


def value_of(dimension: Dimension, kept: Any) -> Any:
    """Return the value that Optuna keeps as a text, or the number itself."""
    by_text = {_text(plain(value)): plain(value) for value in dimension.values}
    return by_text.get(kept, kept)


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


class ByNumber(optuna.samplers.BaseSampler):
    """TPE or NSGA-II, for each trial seeded by the study and the number of the trial.

    So a study of one worker has the same points whenever it is run, and workers draw different ones. With several
    workers the points depend on which trials were finished when another began.
    """

    def __init__(self, study: Study) -> None:
        self.study = study
        self._of_trial = self._made(0)

    def _made(self, number: int) -> optuna.samplers.BaseSampler:
        options: dict[str, Any] = {"seed": child_seed(self.study.seed, "study", 2, number) % (1 << 32)}
        if "constraint" in self.study.tables:
            options["constraints_func"] = lambda trial: trial.user_attrs.get("constraints", (0.0,))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            warnings.simplefilter("ignore", FutureWarning)  # Optuna 5 has another way, which Optuna 4 has not
            if self.study.sampler == "nsga2":
                return optuna.samplers.NSGAIISampler(**options)
            return optuna.samplers.TPESampler(**options)

    def before_trial(self, study: Any, trial: Any) -> None:
        """Seed."""
        self._of_trial = self._made(trial.number)
        self._of_trial.before_trial(study, trial)

    def infer_relative_search_space(self, study: Any, trial: Any) -> dict[str, BaseDistribution]:
        """Return that of the sampler."""
        return self._of_trial.infer_relative_search_space(study, trial)

    def sample_relative(self, study: Any, trial: Any, search_space: Any) -> dict[str, Any]:
        """Return the values of the sampler."""
        return self._of_trial.sample_relative(study, trial, search_space)

    def sample_independent(self, study: Any, trial: Any, param_name: str, param_distribution: Any) -> Any:
        """Return the value of the sampler."""
        return self._of_trial.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(self, study: Any, trial: Any, state: Any, values: Any) -> None:
        """Let the sampler keep the constraints of a trial."""
        self._of_trial.after_trial(study, trial, state, values)
