"""The tables of a recipe: which names each may have, short forms written out, quantities in SI."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from bnn.data.origins import ORIGINS
from bnn.recipes.declared import check_flags, checked_flag, checked_table, names_of, plain_values
from bridge.cell.cell import Cell
from bridge.cell.transistor import Transistor
from bridge.dies.faults import Process
from bridge.memory.declaration import WordMemory
from bridge.memory.read import ReadSetting
from bridge.search.find import find_setting
from mtjsim.checks import ArgumentError, checked_choice, checked_whole
from mtjsim.presets import junction_of

DATA = ("name", "classes", "train_images", "validation")
OF_FILES = ("complete", "resize", "crop")  # of imagenet, see `bnn.open_imagenet`
CLASSES = {**{name: len(origin.class_names) for name, origin in ORIGINS.items()}, "imagenet": 1000}  # of a data set
AMPLITUDES = ("current", "current_0", "current_1", "voltage", "voltage_0", "voltage_1")
GIVEN = ("error_rate_0", "error_rate_1", "energy_0", "energy_1")
WRITES = (*AMPLITUDES, *GIVEN, "error_rate")
PULSE = ("pulse_width", "rise_time", "relax_time")
LIMITS = tuple(names_of(find_setting, without=("device", "error_rate", "temperature", *PULSE)))
WORDS = tuple(names_of(WordMemory, without=("point", "reading", "retention")))
OWN = ("name", "holds", "layers", "slots", "gradient", "temperature", "cell", "read", "inverted")
NAMES = (*OWN, *WRITES, *PULSE, *LIMITS, *WORDS)
BITS = ("activations", "signs")
CELL = tuple(names_of(Cell, Transistor.of_node, without=("device", "transistor", "read_transistor")))
TRANSISTOR = tuple(names_of(Transistor.of_node))
READ = tuple(names_of(ReadSetting))
PROCESS = tuple(names_of(Process, without=("population",)))


def name_of_memory(table: Mapping[str, Any], number: int) -> str:
    """Return the name of a memory that has none: what it holds."""
    holds = table.get("holds", "activations")
    return "_".join(map(str, listed(holds)))


def checked_memory(name: str, table: Mapping[str, Any]) -> dict[str, Any]:
    """Return a [[memory]] with its name, lists of what it holds and of layers, and quantities in SI."""
    where = f"memory.{name}"
    found = {"name": name, **_checked_fields(where, table, NAMES)}
    found.setdefault("holds", ["activations"])
    if not any(key in found for key in WRITES):
        ways = "current (or current_0 and current_1, or voltage), error_rate, or error_rate_0 and error_rate_1"
        raise ArgumentError(where, f"must have {ways}: how it is written.")
    return found


def _checked_fields(where: str, table: Any, names: Iterable[str]) -> dict[str, Any]:
    """Return fields of a [[memory]]: lists of what it holds and of layers, tables, quantities in SI."""
    found = checked_table(where, table, names)
    for key in ("holds", "layers"):
        if isinstance(found.get(key), str):
            found[key] = [found[key]]
        own = found.get(key, [])
        if not isinstance(own, list) or not all(isinstance(part, str) for part in own):
            raise ArgumentError(f"{where}.{key}", f"must be a name or a list of names, got {own!r}.")
    check_flags(where, WordMemory, found)
    checked_flag(f"{where}.inverted", found.get("inverted", False))
    for key, own in (("cell", CELL), ("read", READ)):
        if key in found:
            found[key] = checked_table(f"{where}.{key}", found[key], own)
    return found


def listed(value: Any) -> list[Any]:
    """Return a list, or one value as a list."""
    return list(value) if isinstance(value, (list, tuple)) else [value]


def checked_device(table: Any) -> dict[str, Any]:
    """Return a [device] as the fields of the junction that differ from the defaults, in SI: no file is needed again."""
    if not isinstance(table, Mapping):
        raise ArgumentError("device", f"must be a table, such as preset = 'arm_2021', got {table!r}.")
    return plain_values("device", junction_of(table).model_dump(exclude_defaults=True))


TEST = ("name", "memory", "correct", "correct_images", "correct_draws", "draws", "dies", "images", "data")
CHANGES = tuple(name for name in NAMES if name not in ("name", "holds"))  # of a memory, in a test
CORRECTIONS = ("none", "rescale", "reestimate")
HALVES = ("test", "validation")
EXPECTED = ("seeds", "machine", "core_seconds")  # and the names of tests


def checked_test(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return a [[test]] with its name, `memory` as a table, and quantities in SI."""
    where = f"test.{name}"
    table = {"name": name, **checked_table(where, given, TEST)}
    if name == "training":
        raise ArgumentError(f"{where}.name", "must be another one: training.accuracy is that of the training images.")
    if "memory" in table:
        table["memory"] = _checked_changes(f"{where}.memory", table["memory"])
    if "data" in table:
        checked_choice(f"{where}.data", table["data"], ORIGINS)
    checked_choice(f"{where}.correct", table.get("correct", "none"), CORRECTIONS)
    checked_choice(f"{where}.images", table.get("images", "test"), HALVES)
    if "draws" in table and "dies" in table:
        raise ArgumentError(f"{where}.dies", "and draws must not both be given: each die is a draw.")
    for count in ("draws", "dies", "correct_images", "correct_draws"):
        if count in table:
            checked_whole(f"{where}.{count}", table[count], least=1)
    return table


def _checked_changes(where: str, memory: Any) -> dict[str, dict[str, Any]]:
    """Return name of a memory -> its fields that differ, of a table, a list of names or one name."""
    if not isinstance(memory, Mapping):
        if not all(isinstance(of, str) for of in listed(memory)):
            raise ArgumentError(where, f"must be names of [[memory]], or a table of them, got {memory!r}.")
        memory = {of: {} for of in listed(memory)}
    found = {of: _checked_fields(f"{where}.{of}", changes, CHANGES) for of, changes in memory.items()}
    for of, changes in found.items():
        for key, value in changes.items():
            if value == []:
                raise ArgumentError(f"{where}.{of}.{key}", "must have a value, got an empty list.")
    return found


def checked_phases(given: Any, memories: list[str]) -> None:
    """ArgumentError unless [[phase]] is an array of tables, each with names of memories."""
    if not isinstance(given, list) or not all(isinstance(table, Mapping) for table in given):
        raise ArgumentError("phase", f"must be an array of tables, [[phase]] in TOML, got {given!r}.")
    if not given:
        remedy = "Leave it out for one phase with all memories, or give one with memory = [] for SRAM alone"
        raise ArgumentError("phase", f"must have at least one table, got none. {remedy}.")
    for number, table in enumerate(given):
        where = f"phase.{number}.memory"
        if "memory" not in table:
            raise ArgumentError(where, "must be given: a list of names of [[memory]], empty for SRAM.")
        for name in listed(table["memory"]):
            if not memories:
                raise ArgumentError(where, f"must be empty without a [[memory]], got {name!r}.")
            checked_choice(where, name, memories)


def checked_expected(table: Mapping[str, Any]) -> None:
    """ArgumentError unless [expected] has lists of numbers for its tests."""
    for name, values in table.items():
        numbers = isinstance(values, list) and all(isinstance(value, (int, float)) for value in values)
        if name not in EXPECTED and not numbers:
            raise ArgumentError(f"expected.{name}", f"must be a list of accuracies, one a seed, got {values!r}.")


def checked_data(given: Any) -> dict[str, Any]:
    """Return [data] as a table."""
    table: dict[str, Any] = dict(given) if isinstance(given, Mapping) else {"name": given}
    table = checked_table("data", table, (*DATA, *OF_FILES) if table.get("name") == "imagenet" else DATA)
    if "name" not in table:
        raise ArgumentError("data.name", f"must be given: one of {', '.join(CLASSES)}.")
    checked_choice("data", table["name"], CLASSES)
    checked_flag("data.complete", table.get("complete", True))
    for name, least in (("classes", 2), ("train_images", 1), ("resize", 1), ("crop", 1)):
        if name in table:
            checked_whole(f"data.{name}", table[name], least=least)
    share = table.get("validation", 0.5)
    if not isinstance(share, (int, float)) or not 0.0 < share < 1.0:
        raise ArgumentError(
            "data.validation", f"must be between 0 and 1, a share of the training images, got {share!r}."
        )
    return table


def checked_model(given: Any) -> dict[str, Any]:
    """Return [model] as a table."""
    table = {"name": given} if isinstance(given, str) else given
    if not isinstance(table, Mapping) or not isinstance(table.get("name"), str):
        raise ArgumentError("model", f"must be a name, or a table with one, got {given!r}.")
    checked_flag("model.channels_last", table.get("channels_last", False))
    return dict(table)
