"""Studies: a space over the fields of a recipe, declared in a TOML file or in Python.

    title, source, seed   as of a recipe; the seed is that of the repeats and of random points
    recipe                name, path, or a table: the experiment
    task                  in its place "module:function" of your own, see `task.py`; the fields are its arguments
    sampler               "grid", "random", "bisection"; "tpe" and "nsga2" are Optuna's
    repeats               networks of each point, each with another seed, the same ones at every point; 1 unless given
    trials                points of "random", "tpe", "nsga2"
    retries               times that a point is tried again after an exception; 1 unless given
    [set]                 fields of the recipe that are the same at every point
    [space]               field -> list of values, or { low, high, log, count }; without count a range for the samplers
    [arm.NAME]            fields of the recipe; the arms are one dimension of the space, "arm"
    [objective]           value -> "maximize" or "minimize", for "random", "tpe" and "nsga2"
    [constraint]          value -> { max } or { min }, for the same
    [prune]               warmup: epochs; a trial of "tpe" or "nsga2" ends early if its validation accuracy is below
                          the median of the former ones
    [bisect]              field, low, high, log, rounds, value, level: see `plans.py`
    [figure]              x, y, by, panel, row, log_x, y_scale, x_label, y_label: what is drawn
    [report]              values: those of the summary; all accuracies unless given
    [crossing]            field, value, loss: a further table, see `crossing.py`

A field is a path, "training.epochs" or "memory.activations.current"; quotation marks around it are optional.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from bnn.recipes.declared import checked_table, in_si
from bnn.recipes.recipe import Recipe, load_recipe, read_toml, recipe_of, shipped
from bnn.recipes.tests import tests_of
from bnn.studies.task import Task
from mtjsim.checks import ArgumentError, Suggesting, checked_choice, checked_whole
from mtjsim.rng import checked_seed, child_seed

SAMPLERS = ("grid", "random", "bisection", "tpe", "nsga2")
CHOOSING = ("random", "tpe", "nsga2")  # they look for the best
TABLES = (
    *("title", "source", "seed", "recipe", "task", "sampler", "repeats", "trials", "retries"),
    *("set", "space", "arm", "objective", "constraint", "prune", "bisect", "figure", "report", "crossing"),
)
RANGE = ("low", "high", "log", "count")
ARM = "arm"


@dataclass(frozen=True)
class Dimension:
    """One field of a space: its values, or a range.

    Attributes
    ----------
    path : str
        Of the field, or "arm".
    values : tuple
        In order; empty for a range.
    low, high : float
    log : bool
    whole : bool
        Whether the range is of whole numbers.
    """

    path: str
    values: tuple[Any, ...] = ()
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    whole: bool = False


@dataclass(frozen=True)
class Point:
    """A point of a space, and the number of its repeat.

    Attributes
    ----------
    shown : tuple of (str, value)
        Dimension -> value, as in the table.
    fields : tuple of (str, value)
        Field of the recipe -> value, those of an arm included.
    repeat : int
    """

    shown: tuple[tuple[str, Any], ...]
    fields: tuple[tuple[str, Any], ...]
    repeat: int


@dataclass(frozen=True, init=False)
class Study(Suggesting):
    """A space over a recipe's fields, and how it is searched.

    Parameters
    ----------
    name : str
    recipe : Recipe, name, path or mapping
    task : str
        In its place "module:function".
    **tables
        Those of the file, see the docstring of `bnn/studies/space.py`.

    Raises
    ------
    ValueError
        For an unknown name, a field that the recipe cannot have, a sampler without what it needs, an objective on test
        images: nothing is chosen on them.

    Notes
    -----
    The result of a point is a pure function of the study's `identity`, the point's fields and its repeat. The identity
    is that of the recipe with [set], and of the seed: more values, more repeats or another sampler keep the results
    that there are.

    Examples
    --------
    >>> study = Study(
    ...     name="mine",
    ...     recipe="digits_mlp",
    ...     repeats=2,
    ...     space={"memory.activations.error_rate": [0.01, 0.1]},
    ... )
    >>> len(study.grid()), dict(study.grid()[-1].shown)
    (4, {'memory.activations.error_rate': 0.1})
    """

    name: str
    recipe: Recipe | Task
    tables: Mapping[str, Any] = field(hash=False)

    def __init__(self, *, name: str = "own", recipe: Any = None, task: str | None = None, **tables: Any) -> None:
        for key in tables:
            checked_choice("a field of the study", key, TABLES)
        if (recipe is None) == (task is None):
            raise ArgumentError("recipe", "must be given, a name, a path or a table; or a task, and not both.")
        found = dict(tables)
        found["seed"] = checked_seed(found.get("seed", 0))
        checked_choice("sampler", found.setdefault("sampler", "grid"), SAMPLERS)
        for key, default in (("repeats", 1), ("retries", 1)):
            found[key] = checked_whole(key, found.get(key, default), least=0 if key == "retries" else 1)
        fixed = flat("set", found.get("set", {}))
        object.__setattr__(self, "name", name)
        experiment = _recipe(recipe) if task is None else Task(task)
        object.__setattr__(self, "recipe", experiment.replaced(fixed))
        object.__setattr__(self, "tables", found)
        self._check()

    def _check(self) -> None:
        sampler, ranges = self.sampler, [d.path for d in self.dimensions if not d.values]
        if sampler == "grid" and ranges:
            raise ArgumentError(f"space.{ranges[0]}", "must be a list or have a count for a grid.")
        if sampler == "bisection" and "bisect" not in self.tables:
            raise ArgumentError("bisect", "must be given for the sampler 'bisection': the field that it moves.")
        if sampler in CHOOSING:
            if "trials" not in self.tables:
                raise ArgumentError("trials", f"must be given for the sampler {sampler!r}: how many points.")
            checked_whole("trials", self.tables["trials"], least=1)
            self._check_objective()
        if not self.dimensions and sampler != "bisection":
            raise ArgumentError("space", "must have a field: without one there is only a recipe, for `mtj-bnn run`.")
        if self.repeats > 1 and any(d.path == "seed" for d in self.dimensions):
            raise ArgumentError("space.seed", "must be left out with repeats, which are seeds.")
        for dimension in self.dimensions:  # each value alone; a wrong one is refused before any work
            for value in dimension.values or (dimension.low, dimension.high):
                self.recipe_at(self.point({dimension.path: plain(value)}, 0))

    def _check_objective(self) -> None:
        if not self.objective:
            raise ArgumentError("objective", f'must be given for the sampler {self.sampler!r}: value -> "maximize".')
        for value, direction in self.objective.items():
            checked_choice(f"objective.{value}", direction, ("maximize", "minimize"))
        on_test = set()
        if isinstance(self.recipe, Recipe):
            on_test = {test.name for test in tests_of(self.recipe) if test.images == "test"}
        for value in self.objective:
            if value.rpartition(".")[0] in on_test:
                rule = "is of test images, and nothing may be chosen on them"
                remedy = 'Give data.validation, and a [[test]] with images = "validation"'
                raise ArgumentError(f"objective.{value}", f"{rule}. {remedy}.")

    @property
    def title(self) -> str:
        """In one line."""
        return self.tables.get("title", self.name)

    @property
    def sampler(self) -> str:
        """What chooses the points."""
        return self.tables["sampler"]

    @property
    def repeats(self) -> int:
        """Networks of each point."""
        return self.tables["repeats"]

    @property
    def seed(self) -> int:
        """Of the repeats, and of random points."""
        return self.tables["seed"]

    @property
    def objective(self) -> Mapping[str, str]:
        """Value -> "maximize" or "minimize"."""
        return flat("objective", self.tables.get("objective", {}))

    @cached_property
    def arms(self) -> Mapping[str, Mapping[str, Any]]:
        """Name of an arm -> fields of the recipe."""
        table = self.tables.get("arm", {})
        if not isinstance(table, Mapping):
            raise ArgumentError("arm", f"must be a table of arms, [arm.NAME], got {table!r}.")
        return {name: flat(f"arm.{name}", fields) for name, fields in table.items()}

    @cached_property
    def dimensions(self) -> tuple[Dimension, ...]:
        """Of the space; the arms come first."""
        found = [Dimension(ARM, tuple(self.arms))] if self.arms else []
        found += [_dimension(path, given) for path, given in flat("space", self.tables.get("space", {})).items()]
        return tuple(found)

    @cached_property
    def identity(self) -> str:
        """SHA-256 of the recipe, with [set], and of the seed."""
        return hashlib.sha256(f"{self.recipe.identity} {self.seed}".encode()).hexdigest()

    @cached_property
    def declaration(self) -> str:
        """SHA-256 of the identity and of all that says which points there are."""
        parts = [
            self.identity,
            {k: v for k, v in self.tables.items() if k not in ("title", "source", "figure", "report", "crossing")},
        ]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def grid(self) -> list[Point]:
        """Return every combination of the values, with its repeats; the last dimension changes first."""
        values = [[(d.path, plain(value)) for value in d.values] for d in self.dimensions]
        return [self.point(dict(shown), repeat) for shown in product(*values) for repeat in range(self.repeats)]

    def point(self, shown: Mapping[str, Any], repeat: int) -> Point:
        """Return a point: dimension -> value, an arm by its name."""
        fields: dict[str, Any] = {}
        for path, value in shown.items():
            fields |= self.arms[value] if path == ARM else {path: value}
        return Point(tuple(shown.items()), tuple(fields.items()), repeat)

    def recipe_at(self, point: Point) -> Recipe | Task:
        """Return the recipe of a point, with the seed of its repeat."""
        fields = dict(point.fields)
        if "seed" not in fields:
            fields["seed"] = child_seed(self.seed, "study", point.repeat) % (1 << 53)  # a number that JSON keeps
        try:
            return self.recipe.replaced(fields)
        except ValueError as error:
            where = ", ".join(f"{path}={value!r}" for path, value in point.shown)
            raise ValueError(f"at {where}: {error}") from None

    def key(self, point: Point) -> str:
        """Return the key of a result, a hash: of the identity, the fields and the repeat."""
        parts = [self.identity, sorted(dict(point.fields).items()), point.repeat]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def list_studies() -> list[str]:
    """Names of the studies that ship with the package, sorted.

    Examples
    --------
    >>> "digits_grid" in list_studies()
    True
    """
    return shipped("bnn.studies")


def load_study(name: str | os.PathLike[str]) -> Study:
    """Read a study that ships with the package, by its name, or a file of your own, by its path.

    Raises
    ------
    ValueError
        For an unknown name, a file that is not TOML, or a wrong field, of the study or of its recipe.
    FileNotFoundError
        If there is no such file.
    """
    stem, where, tables, folder = read_toml("study", "bnn.studies", name)
    return study_of(stem, where, tables, folder)


def study_of(name: str, where: str, tables: Mapping[str, Any], folder: Path | None) -> Study:
    """Return the study of the tables of a file; a recipe's file is looked for from its `folder`."""
    given, recipe = dict(tables), tables.get("recipe")
    try:
        if isinstance(recipe, Mapping):
            given["recipe"] = recipe_of(name, "recipe", recipe, folder)
        elif isinstance(recipe, str) and folder is not None and recipe.endswith(".toml"):
            given["recipe"] = load_recipe(folder / recipe)
        return Study(name=name, **given)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def _recipe(given: Any) -> Recipe:
    if isinstance(given, Recipe):
        return given
    return Recipe(**given) if isinstance(given, Mapping) else load_recipe(given)


def flat(where: str, table: Any, path: str = "") -> dict[str, Any]:
    """Return nested tables as path -> value; a table with low or high is a value.

    Examples
    --------
    >>> flat("space", {"training": {"epochs": [1, 2]}, "seed": {"low": 0, "high": 9}})
    {'training.epochs': [1, 2], 'seed': {'low': 0, 'high': 9}}
    """
    if not isinstance(table, Mapping):
        raise ArgumentError(where, f"must be a table, got {table!r}.")
    found: dict[str, Any] = {}
    for name, value in table.items():
        own = f"{path}.{name}" if path else str(name)
        if isinstance(value, Mapping) and not {"low", "high", "max", "min"} & set(value):
            found |= flat(where, value, own)
        else:
            found[own] = value
    return found


def _dimension(path: str, given: Any) -> Dimension:
    where, last = f"space.{path}", path.rpartition(".")[2]
    if path == ARM:
        raise ArgumentError(where, "is the dimension of the arms: name the field otherwise.")
    if isinstance(given, (list, tuple)):
        if not given:
            raise ArgumentError(where, "must have a value, got an empty list.")
        values = in_si(where, last, list(given))
        if len({json.dumps(value, sort_keys=True) for value in values}) < len(values):
            raise ArgumentError(where, f"must have different values, got {list(given)}.")
        return Dimension(path, tuple(_frozen(value) for value in values))
    table = checked_table(where, given, RANGE)
    if not {"low", "high"} <= set(table):
        raise ArgumentError(where, f"must be a list of values, or a table with low and high, got {given!r}.")
    low, high = (in_si(where, last, table[name]) for name in ("low", "high"))
    log = bool(table.get("log", False))
    if not all(isinstance(end, (int, float)) for end in (low, high)) or not low < high or (log and low <= 0):
        rule = "must have numbers low < high" + (", > 0 for log" if log else "")
        raise ArgumentError(where, f"{rule}, got {table['low']!r} and {table['high']!r}.")
    if "count" in table:
        count = checked_whole(f"{where}.count", table["count"], least=2)
        spaced = np.geomspace(low, high, count) if log else np.linspace(low, high, count)
        return Dimension(path, tuple(float(f"{value:.12g}") for value in spaced))
    return Dimension(path, (), low, high, log, whole=isinstance(low, int) and isinstance(high, int))


def _frozen(value: Any) -> Any:
    """Return a value of a list; lists and tables, which have no hash, as JSON."""
    return _Json(json.dumps(value, sort_keys=True)) if isinstance(value, (list, dict)) else value


class _Json(str):
    """A list or a table, as text."""


def plain(value: Any) -> Any:
    """Return a value of a dimension as the recipe has it."""
    return json.loads(value) if isinstance(value, _Json) else value
