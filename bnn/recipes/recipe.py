"""Recipes: one experiment each, declared whole in a TOML file or in Python.

A recipe is a set of tables. Their names are those of Python declarations, which check them:

    title, source, seed       text, text, whole number
    data                      name of a data set, or [data] name, classes, train_images, validation; of imagenet, whose
                              folder is given to the run, also complete, resize, crop of `bnn.open_imagenet`
    [device]                  `preset` or `file`, and fields of `mtjsim.MTJ` that differ; or those of a device file
    [cell]                    fields of `bridge.Cell`, and of `bridge.Transistor.of_node`
    [process]                 fields of `bridge.Process`; [process.spread]: fields of `bridge.Spread`
    [[memory]]                what it holds, and how it is written: see `memories.py`
    [sram]                    fields of `bridge.SRAM` (kind ...): where everything else is
    [[phase]]                 fields of `bnn.Phase`; `memory` is a list of names, empty for SRAM
    model                     a function of `bnn.models`, or "module:function" of one's own; or [model] name, arguments
    [binarize]                fields of `bnn.BinarizeConfig`, and arguments of `bnn.binarize`, for a model of one's own
    [training]                fields of `bnn.TrainConfig`
    [optimizer]               name, and arguments of the optimizer
    [[test]]                  of the trained network: see `tests.py`
    [expected]                what was measured with it

Quantities may have units ("60uA"); a bare number is in SI.
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, Self

from bnn.recipes.declared import named_tables, plain_values
from bnn.recipes.tables import (
    checked_data,
    checked_device,
    checked_expected,
    checked_memory,
    checked_model,
    checked_phases,
    checked_test,
    name_of_memory,
)
from mtjsim.checks import ArgumentError, Suggesting, checked_choice
from mtjsim.rng import checked_seed

TEXTS = ("title", "source")
TABLES = (
    *TEXTS,
    *("seed", "data", "device", "cell", "process", "memory", "sram", "phase", "model", "binarize"),
    *("training", "optimizer", "test", "expected"),
)
NAMED = ("memory", "test")  # arrays of tables with names


@dataclass(frozen=True, init=False)
class Recipe(Suggesting):
    """An experiment: a network, its data, its memories, its training and its tests.

    Parameters
    ----------
    name : str
    **tables
        The tables of the file, see the docstring of `bnn/recipes/recipe.py`, as mappings and lists of plain values.

    Raises
    ------
    ValueError
        For an unknown name, a value of another kind, a quantity in another unit, `data` or `model` that are missing.
        What needs the network or the solvers is checked by `run_recipe`, before any training.

    Notes
    -----
    A run is a pure function of `tables`, which contain the seed. `identity` is their hash, without title, source and
    what is expected.

    Examples
    --------
    >>> recipe = Recipe(
    ...     name="mine",
    ...     data="digits",
    ...     model={"name": "mlp", "hidden": [32]},
    ...     device={"preset": "arm_2021"},
    ...     memory=[{"holds": "activations", "current": "50uA", "pulse_width": "10ns"}],
    ...     training={"epochs": 2, "batch_size": 64, "learning_rate": 0.02},
    ... )
    >>> recipe.value("memory.activations.current")
    5e-05
    >>> recipe.replaced({"training.epochs": 3}).value("training.epochs")
    3
    """

    name: str
    tables: Mapping[str, Any] = field(hash=False)

    def __init__(self, /, *, name: str = "own", **tables: Any) -> None:
        for key in tables:
            checked_choice("a field of the recipe", key, TABLES)
        given = {key: plain_values(key, table) for key, table in tables.items() if table is not None}
        for key in ("data", "model"):
            if key not in given:
                raise ArgumentError(key, "must be given: a recipe trains a network on a data set.")
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "tables", _checked(given))

    @property
    def title(self) -> str:
        """In one line."""
        return self.tables.get("title", self.name)

    @property
    def source(self) -> str:
        """The publication that it follows, and where it does not."""
        return self.tables.get("source", "")

    @property
    def seed(self) -> int:
        """Of weights, order of the images, augmentation and errors, each a child of it."""
        return self.tables.get("seed", 0)

    @property
    def expected(self) -> Mapping[str, Any]:
        """What was measured: seeds, and for each test its mean accuracies, one a seed."""
        return self.tables.get("expected", {})

    @property
    def identity(self) -> str:
        """SHA-256 of all that the numbers follow from."""
        return _digest({name: table for name, table in self.tables.items() if name not in (*TEXTS, "expected")})

    @property
    def training_identity(self) -> str:
        """SHA-256 of all that the trained network follows from: `identity` without the tests."""
        free = (*TEXTS, "expected", "test")
        return _digest({name: table for name, table in self.tables.items() if name not in free})

    def value(self, path: str) -> Any:
        """Return the value of a field by its path, such as "training.epochs" or "memory.activations.current".

        Raises
        ------
        ArgumentError
            If the recipe does not have it.
        """
        place: Any = self.tables
        for part in path.split("."):
            if isinstance(place, (list, tuple)):
                place = _by_name(place)
            if not isinstance(place, Mapping) or part not in place:
                known = list(place) if isinstance(place, Mapping) else []
                checked_choice(f"{part} of {path}", part, known)
            place = place[part]
        return place

    def replaced(self, values: Mapping[str, Any]) -> Self:
        """Return the recipe with other values of some fields.

        Parameters
        ----------
        values : mapping
            Path of the field -> value; None takes the field out. A table of an array is named: "memory.activations.x",
            a phase has its number: "phase.0.until". [expected] is of the recipe as it was: it is left out if more than
            the seed and texts are replaced.

        Raises
        ------
        ValueError
            As `Recipe`; for a path that leads nowhere.
        """
        tables, origins = copy.deepcopy(dict(self.tables)), ("device.preset", "device.file")
        for path in values:
            if not isinstance(path, str) or not all(path.split(".")):
                raise ArgumentError("field", f"must be a path such as training.epochs, got {path!r}.")
            checked_choice("a field of the recipe", path.partition(".")[0], TABLES)
        if set(values) - {*TEXTS, "seed", "expected"}:
            tables.pop("expected", None)
        for origin in origins:
            if origin in values:  # another junction, whole; other fields of it are then set in that one
                tables["device"] = {}
        for path in sorted(values, key=lambda path: path not in origins):
            _set(tables, path, values[path])
        return type(self)(name=self.name, **tables)


def list_recipes() -> list[str]:
    """Names of the recipes that ship with the package, sorted.

    Examples
    --------
    >>> "digits_mlp" in list_recipes()
    True
    """
    return shipped("bnn.recipes")


def load_recipe(name: str | os.PathLike[str]) -> Recipe:
    """Read a recipe that ships with the package, by its name, or a file of your own, by its path.

    Parameters
    ----------
    name : str or path
        One of `list_recipes`; anything that ends in .toml or has a folder is a path.

    Returns
    -------
    Recipe

    Raises
    ------
    ValueError
        For an unknown name (lists the valid ones and the nearest), a file that is not TOML, or a wrong field.
    FileNotFoundError
        If there is no such file.

    Examples
    --------
    >>> recipe = load_recipe("digits_mlp")
    >>> recipe.value("model.name"), recipe.value("data.name")
    ('mlp', 'digits')
    """
    stem, where, tables, folder = read_toml("recipe", "bnn.recipes", name)
    return recipe_of(stem, where, tables, folder)


def recipe_of(name: str, where: str, tables: Mapping[str, Any], folder: Path | None) -> Recipe:
    """Return the recipe of the tables of a file; a device file is looked for from its `folder`, and put in."""
    try:
        given = dict(tables)
        if "name" in given:  # of the file
            checked_choice("a field of the recipe", "name", TABLES)
        device = given.get("device")
        if isinstance(device, Mapping) and "file" in device and folder is not None:
            given["device"] = {**device, "file": str(folder / str(device["file"]))}
        return Recipe(name=name, **given)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def shipped(room: str) -> list[str]:
    """Names of the TOML files that ship in a package, in its folder `shipped`, sorted."""
    entries = files(room).joinpath("shipped").iterdir()
    return sorted(entry.name.removesuffix(".toml") for entry in entries if entry.name.endswith(".toml"))


def title_of(room: str, name: str) -> str:
    """Return the title of a shipped file; nothing else of it is read."""
    content = tomllib.loads(files(room).joinpath("shipped", f"{name}.toml").read_text("utf-8"))
    return content.get("title", name)


def read_toml(kind: str, room: str, name: str | os.PathLike[str]) -> tuple[str, str, dict[str, Any], Path | None]:
    """Return name, place for messages, content and folder of a TOML file: a shipped one, or one's own by its path.

    Raises
    ------
    ValueError
        For an unknown name, or a file that is not TOML.
    FileNotFoundError
        If there is no such file.
    """
    if not isinstance(name, (str, os.PathLike)):
        raise ArgumentError(kind, f"must be a name or a path, got {name!r}.")
    text = os.fspath(name)
    if not text.endswith(".toml") and os.sep not in text:
        checked_choice(kind, text, shipped(room))
        content = files(room).joinpath("shipped", f"{text}.toml").read_text("utf-8")
        return text, f"{kind} {text}", tomllib.loads(content), None
    path = Path(text)
    if not path.is_file():
        raise FileNotFoundError(f"{kind} {text!r} does not exist.")
    try:
        return path.stem, text, tomllib.loads(path.read_text("utf-8")), path.parent
    except UnicodeDecodeError as error:
        raise ValueError(f"{text}: not a text in UTF-8 ({error.reason} at byte {error.start}).") from None
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{text} is not TOML: {error}") from None


# ---- inside ----------------------------------------------------------------------------------------------------------


def _checked(tables: dict[str, Any]) -> dict[str, Any]:
    """Return the tables with quantities in SI, names of arrays filled in, and short forms written out."""
    found = dict(tables)
    for name in TEXTS:
        if not isinstance(found.get(name, ""), str):
            raise ArgumentError(name, f"must be a text, got {found[name]!r}.")
    if "seed" in found:
        found["seed"] = checked_seed(found["seed"])
    found["data"] = checked_data(found["data"])
    found["model"] = checked_model(found["model"])
    if "device" in found:
        found["device"] = checked_device(found["device"])
    if "memory" in found:
        named = named_tables("memory", found["memory"], name_of_memory)
        found["memory"] = [checked_memory(name, table) for name, table in named.items()]
    if "test" in found:
        named = named_tables("test", found["test"], lambda table, number: f"test_{number}")
        found["test"] = [checked_test(name, table) for name, table in named.items()]
    for name in ("cell", "process", "sram", "binarize", "training", "optimizer", "expected"):
        if name in found and not isinstance(found[name], Mapping):
            raise ArgumentError(name, f"must be a table, got {found[name]!r}.")
    if "phase" in found:
        checked_phases(found["phase"], [table["name"] for table in found.get("memory", [])])
    checked_expected(found.get("expected", {}))
    return found


def _set(tables: dict[str, Any], path: str, value: Any) -> None:
    """Set a field by its path; tables that are missing on the way are made, tables of an array are not."""
    *way, last = path.split(".")
    place: Any = tables
    for number, part in enumerate(way):
        if isinstance(place, list):
            named = _by_name(place)
            if part not in named:
                checked_choice(f"{'.'.join(way[:number])} of {path}", part, named)
            place = named[part]
        elif isinstance(place, dict):
            place = place.setdefault(part, {})
        else:
            break
        if isinstance(place, tuple):
            break
    if not isinstance(place, dict):
        whole = ".".join(way)
        raise ArgumentError(path, f"must be the path of a field, and {whole} is {place!r}, not a table.")
    if value is None:
        place.pop(last, None)
    else:
        place[last] = value


def _by_name(tables: Sequence[Any]) -> dict[str, Any]:
    """Return the tables of an array by their names, those without one, such as phases, by their numbers."""
    named = [table.get("name") if isinstance(table, Mapping) else None for table in tables]
    return {name or str(number): table for number, (name, table) in enumerate(zip(named, tables, strict=True))}


def _digest(tables: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(tables, sort_keys=True).encode()).hexdigest()
