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
    [constraint]          value -> { max } or { min }, for the same; the summary says which points are feasible
    [prune]               warmup: epochs; a trial of "tpe" or "nsga2" ends early if its validation accuracy is below
                          the median of the former ones
    [bisect]              field, low, high, log, rounds, value, level: where a mean crosses a level, or a share of the
                          repeats fails against their own runs at low: see `plans.py`
    [figure]              x, y, by, panel, row, labels and words: what is drawn, see `look.py`; of thresholds see
                          `threshold_figure.py`
    [report]              values: those of the summary; all accuracies unless given
    [crossing]            field, value, loss: a further table, see `crossing.py`

A field is a path, "training.epochs" or "memory.activations.current"; quotation marks around it are optional.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any, Self

from bnn.recipes.code import own_code
from bnn.recipes.declared import checked_table, in_si, plain_values
from bnn.recipes.recipe import Recipe, load_recipe, read_toml, recipe_of, shipped
from bnn.recipes.tests import tests_of
from bnn.studies.dimensions import ARM, MOST, Dimension, dimension_of, flat, is_number, plain
from bnn.studies.task import Task
from mtjsim.checks import ArgumentError, Suggesting, checked_choice, checked_whole
from mtjsim.rng import checked_seed, child_seed

SAMPLERS = ("grid", "random", "bisection", "tpe", "nsga2")
CHOOSING = ("random", "tpe", "nsga2")  # they look for the best
BY_OPTUNA = ("tpe", "nsga2")
OF_SAMPLER = {  # table -> samplers that use it; any other would leave it out silently
    "trials": CHOOSING,
    "objective": CHOOSING,
    "constraint": CHOOSING,
    "prune": BY_OPTUNA,
    "bisect": ("bisection",),
}
OF_THE_REPORT = ("title", "source", "figure", "report", "crossing", "trials", "retries")  # the points stay the same
TABLES = (
    *("title", "source", "seed", "recipe", "task", "sampler", "repeats", "trials", "retries"),
    *("set", "space", "arm", "objective", "constraint", "prune", "bisect", "figure", "report", "crossing"),
)


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

    def __init__(self, /, *, name: str = "own", recipe: Any = None, task: str | None = None, **tables: Any) -> None:
        for key in tables:
            checked_choice("a field of the study", key, TABLES)
        if (recipe is None) == (task is None):
            raise ArgumentError("recipe", "must be given, a name, a path or a table; or a task, and not both.")
        found = {key: plain_values(key, table) for key, table in tables.items() if table is not None}
        for key in ("title", "source"):
            if not isinstance(found.get(key, ""), str):
                raise ArgumentError(key, f"must be a text, got {found[key]!r}.")
        found["seed"] = checked_seed(found.get("seed", 0))
        checked_choice("sampler", found.setdefault("sampler", "grid"), SAMPLERS)
        for key, default in (("repeats", 1), ("retries", 1)):
            found[key] = checked_whole(key, found.get(key, default), least=0 if key == "retries" else 1)
        if not isinstance(name, str) or not name:
            raise ArgumentError("name", f"must be a text, got {name!r}.")
        for key in ("prune", "figure", "report"):
            if not isinstance(found.get(key, {}), Mapping):
                raise ArgumentError(key, f"must be a table, got {found[key]!r}.")
        fixed = flat("set", found.get("set", {}))
        if "seed" in fixed:
            raise ArgumentError("set.seed", "must be left out: seeds follow from that of the study, its field seed.")
        object.__setattr__(self, "name", name)
        experiment = _recipe(recipe) if task is None else Task(task)
        object.__setattr__(self, "recipe", experiment.replaced(fixed))
        object.__setattr__(self, "tables", found)
        self._check()

    def _check(self) -> None:
        sampler, ranges = self.sampler, [d.path for d in self.dimensions if not d.values]
        for key, samplers in OF_SAMPLER.items():
            if key in self.tables and sampler not in samplers:
                raise ArgumentError(key, f"is for the sampler {' or '.join(map(repr, samplers))}, got {sampler!r}.")
        if sampler in ("grid", "bisection") and ranges:
            kind = "a grid" if sampler == "grid" else "a bisection, which moves one field for each point of a grid"
            raise ArgumentError(f"space.{ranges[0]}", f"must be a list or have a count for {kind}.")
        if sampler == "bisection" and "bisect" not in self.tables:
            raise ArgumentError("bisect", "must be given for the sampler 'bisection': the field that it moves.")
        if sampler in CHOOSING:
            if "trials" not in self.tables:
                raise ArgumentError("trials", f"must be given for the sampler {sampler!r}: how many points.")
            checked_whole("trials", self.tables["trials"], least=1)
            self._check_choice()
        if not self.dimensions and sampler != "bisection":
            raise ArgumentError("space", "must have a field: without one there is only a recipe, for `mtj-bnn run`.")
        self._check_fields()
        count = self.tables.get("trials", math.prod(len(d.values) for d in self.dimensions)) * self.repeats
        if count > MOST:
            raise ArgumentError("space", f"must have at most {MOST:,} points, repeats included, got {count:,}.")
        for recipe in self.experiments():  # each value alone; a wrong one is refused before any work
            if "prune" in self.tables and "validation" not in recipe.tables.get("data", {}):
                raise ArgumentError("prune", "needs data.validation: a trial ends early by its validation accuracy.")

    def _check_fields(self) -> None:
        """ArgumentError for a field in two places, or a seed where it does not belong."""
        places: dict[str, set[Any]] = {f"space.{d.path}": {d.path} for d in self.dimensions if d.path != ARM}
        places["arm"] = {path for fields in self.arms.values() for path in fields}
        bisect = self.tables.get("bisect")
        if isinstance(bisect, Mapping) and isinstance(bisect.get("field"), str):  # else refused by `Bisection.of`
            places["bisect.field"] = {bisect["field"]}
        found: dict[Any, str] = {}
        for place, fields in places.items():
            for path in fields:
                if path == "seed" and self.repeats > 1:
                    raise ArgumentError(place, "must not be of the seed with repeats, which are seeds.")
                if path in found:
                    raise ArgumentError(place, f"must be of another field than {found[path]}, got {path!r} in both.")
                found[path] = place

    def experiments(self) -> Iterator[Recipe | Task]:
        """Yield the recipe of [set], and that of each value of each dimension alone; ValueError for a wrong one."""
        yield self.recipe
        for dimension in self.dimensions:
            for value in dimension.values or (dimension.low, dimension.high):
                yield self.recipe_at(self.point({dimension.path: plain(value)}, 0))

    def _check_choice(self) -> None:
        """ArgumentError for a wrong objective, constraint or pruning, and for a choice on test images."""
        if not self.objective:
            raise ArgumentError("objective", f'must be given for the sampler {self.sampler!r}: value -> "maximize".')
        for value, direction in self.objective.items():
            checked_choice(f"objective.{value}", direction, ("maximize", "minimize"))
        for value, limit in self.constraint.items():
            wanted = isinstance(limit, Mapping) and list(limit) in (["max"], ["min"])
            if not wanted or not all(is_number(end) for end in limit.values()):
                rule = "must be { max = NUMBER } or { min = NUMBER }"
                raise ArgumentError(f"constraint.{value}", f"{rule}, got {limit!r}.")
        prune = checked_table("prune", self.tables.get("prune", {}), ("warmup",))
        checked_whole("prune.warmup", prune.get("warmup", 1), least=0)
        if "prune" in self.tables and len(self.objective) > 1:
            raise ArgumentError("prune", f"needs one objective, by which a trial is behind, got {len(self.objective)}.")
        self._check_images()

    def _check_images(self) -> None:
        recipes = [recipe for recipe in self.experiments() if isinstance(recipe, Recipe)]
        on_test = {test.name for recipe in recipes for test in tests_of(recipe) if test.images == "test"}
        for table, values in (("objective", self.objective), ("constraint", self.constraint)):
            for value in values:
                if value.rpartition(".")[0] in on_test:
                    rule = "is of test images, and nothing may be chosen on them"
                    remedy = 'Give data.validation, and a [[test]] with images = "validation"'
                    raise ArgumentError(f"{table}.{value}", f"{rule}. {remedy}.")

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

    @property
    def constraint(self) -> Mapping[str, Any]:
        """Value -> { max } or { min }."""
        return flat("constraint", self.tables.get("constraint", {}))

    @cached_property
    def arms(self) -> Mapping[str, Mapping[str, Any]]:
        """Name of an arm -> fields of the recipe."""
        table = self.tables.get("arm", {})
        if not isinstance(table, Mapping):
            raise ArgumentError("arm", f"must be a table of arms, [arm.NAME], got {table!r}.")
        arms = {name: flat(f"arm.{name}", fields) for name, fields in table.items()}
        return {
            name: {path: in_si(f"arm.{name}.{path}", path.rpartition(".")[2], value) for path, value in fields.items()}
            for name, fields in arms.items()
        }

    @cached_property
    def dimensions(self) -> tuple[Dimension, ...]:
        """Of the space; the arms come first."""
        found = [Dimension(ARM, tuple(self.arms))] if self.arms else []
        found += [dimension_of(path, given) for path, given in flat("space", self.tables.get("space", {})).items()]
        return tuple(found)

    @cached_property
    def identity(self) -> str:
        """SHA-256 of the recipe, with [set], and of the seed."""
        return hashlib.sha256(f"{self.recipe.identity} {self.seed}".encode()).hexdigest()

    @cached_property
    def declaration(self) -> str:
        """SHA-256 of the identity and of all that says which points there are, in which order of the arms."""
        parts = [
            self.identity,
            {name: table for name, table in self.tables.items() if name not in OF_THE_REPORT},
            list(self.tables.get("arm", ())),  # Optuna's choices have an order
        ]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def replaced(self, values: Mapping[str, Any]) -> Self:
        """Return the study with other values of some fields of its recipe, as [set] has them, and a name that says so.

        Raises
        ------
        ArgumentError
            For a field that the points of the study have, or that its recipe cannot have.

        Examples
        --------
        >>> load_study("digits_grid").replaced({"training.epochs": 3}).name
        'digits_grid --set training.epochs=3'
        """
        if not values:
            return self
        moving = [field for dimension in self.dimensions for field in self._fields_of(dimension)]
        moving += [bisect["field"]] if (bisect := self.tables.get("bisect", {})).get("field") else []
        for path in values:
            if own := [field for field in moving if f"{path}.".startswith(f"{field}.") or field.startswith(f"{path}.")]:
                rule = f"must be the same at every point of {self.name}, and the points differ in {own[0]}"
                raise ArgumentError(path, f"{rule}. Change its values in a file of your own.")
        words = [f"{path}={value if isinstance(value, str) else json.dumps(value)}" for path, value in values.items()]
        name = " ".join([self.name, *(f"--set {shlex.quote(word)}" for word in words)])
        experiment = {"task": self.recipe.function} if isinstance(self.recipe, Task) else {"recipe": self.recipe}
        kept = flat("set", self.tables.get("set", {})).items()
        fixed = {field: own for field, own in kept if not any(field.startswith(f"{path}.") for path in values)}
        fixed |= values
        return type(self)(name=name, **experiment, **{**self.tables, "set": fixed})

    def _fields_of(self, dimension: Dimension) -> list[str]:
        if dimension.path == ARM:
            return [field for fields in self.arms.values() for field in fields]
        return [dimension.path]

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

    @cached_property
    def own_code(self) -> dict[str, str]:
        """Digests of the modules of one's own that the experiment calls: a model, a loss, a task."""
        return own_code([self.recipe.tables, self.tables.get("arm", {}), self.tables.get("space", {})])

    def key(self, point: Point) -> str:
        """Return the key of a result, a hash: of the identity, the fields, the repeat, and code of one's own."""
        parts = [self.identity, sorted(dict(point.fields).items()), point.repeat]
        parts += [self.own_code] * bool(self.own_code)
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
        if "name" in given:  # of the file
            checked_choice("a field of the study", "name", TABLES)
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
