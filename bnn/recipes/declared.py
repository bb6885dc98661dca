"""Tables of a recipe or a study: their names are those of Python declarations, their quantities may have units."""

from __future__ import annotations

import importlib
import inspect
import math
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from mtjsim.checks import NOT_PERCENT, ArgumentError, checked_choice
from mtjsim.device import MTJ
from mtjsim.units import to_si

OF_MTJ = {name: field.json_schema_extra for name, field in MTJ.model_fields.items()}
UNITS = {  # of the quantities that a table may give as text; a bare number is in SI
    **dict.fromkeys(("current", "current_0", "current_1", "max_current", "sense_noise"), "A"),
    **dict.fromkeys(("voltage", "voltage_0", "voltage_1", "supply_voltage", "word_line_voltage"), "V"),
    **dict.fromkeys(("breakdown_voltage", "max_voltage", "threshold_voltage"), "V"),
    **dict.fromkeys(("pulse_width", "rise_time", "relax_time", "duration", "latency", "max_latency"), "s"),
    **dict.fromkeys(("width", "feature_size"), "m"),
    **dict.fromkeys(("energy_0", "energy_1", "code_energy", "sense_energy", "energy_per_bit"), "J"),
    "temperature": "K",
    "driver_resistance": "ohm",
    "short_conductance": "S",
    "max_area": "m^2",
} | {name: str(extra["unit"]) for name, extra in OF_MTJ.items() if isinstance(extra, dict) and extra["unit"]}
PROBABILITIES = (
    *("error_rate", "error_rate_0", "error_rate_1"),
    *("short_rate", "open_rate", "stuck_p_rate", "stuck_ap_rate", "weak_rate"),
)
PROBABILITY = "must be a finite number from 0 to 1"


def plain_values(where: str, value: Any) -> Any:
    """Return a copy of a value as TOML and JSON have it: NumPy's numbers as Python's, arrays and tuples as lists.

    A field that is None is left out. An error names a table of an array as a path does: by its name, or its number.

    Raises
    ------
    ArgumentError
        For a value of another kind, such as a date or a function, a NaN, or a name that is not a text.

    Examples
    --------
    >>> plain_values("space", {"training.epochs": np.arange(1, 3), "model.hidden": (32,)})
    {'training.epochs': [1, 2], 'model.hidden': [32]}
    """
    if isinstance(value, Mapping):
        for name in value:
            if not isinstance(name, str):
                raise ArgumentError(where, f"must have texts as names of its fields, got {name!r}.")
        given = {name: part for name, part in value.items() if part is not None}
        return {_text(where, name): plain_values(f"{where}.{name}", part) for name, part in given.items()}
    value = value.tolist() if isinstance(value, (np.generic, np.ndarray)) else value
    if isinstance(value, (list, tuple)):
        return [plain_values(_place_of(where, part, number), part) for number, part in enumerate(value)]
    if isinstance(value, str):
        return _text(where, value)
    if isinstance(value, float) and math.isnan(value):
        if where.rpartition(".")[2] in PROBABILITIES:
            raise ArgumentError(where, f"{PROBABILITY}, got nan. {NOT_PERCENT}")
        raise ArgumentError(where, "must not be nan: a number must be finite.")
    if not isinstance(value, (bool, int, float)):
        raise ArgumentError(where, f"must be a number, a text, true or false, a list or a table, got {value!r}.")
    return value


def _place_of(where: str, part: Any, number: int) -> str:
    """Return the path of a part of an array: of a table with its name or number, else that of the array."""
    if not isinstance(part, Mapping):
        return where
    name = part.get("name")
    return f"{where}.{name if isinstance(name, str) else number}"


def _text(where: str, text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ArgumentError(where, f"must be a text in UTF-8, got {text!r} ({error.reason}).") from None
    return str(text)


def names_of(*declarations: Callable[..., Any], without: Iterable[str] = ()) -> list[str]:
    """Return the names of the arguments of classes or functions, each once, in their order.

    Examples
    --------
    >>> from bridge.write import WriteSetting
    >>> names_of(WriteSetting, without=("current_0", "current_1"))[:3]
    ['pulse_width', 'voltage_0', 'voltage_1']
    """
    plain = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    found = [
        name
        for declaration in declarations
        for name, parameter in inspect.signature(declaration).parameters.items()
        if parameter.kind in plain
    ]
    return [name for name in dict.fromkeys(found) if name not in set(without)]


def checked_table(where: str, table: object, names: Iterable[str]) -> dict[str, Any]:
    """Return a table with its quantities in SI.

    Parameters
    ----------
    where : str
        Its place, for messages, such as "memory.activations".
    table : object
        What stands there.
    names : iterable of str
        That it may have.

    Raises
    ------
    ArgumentError
        If it is not a table, has another name (the nearest is given), or a quantity in another unit.

    Examples
    --------
    >>> checked_table("memory", {"current": "60uA", "errors": "overwrite"}, ["current", "errors"])
    {'current': 6e-05, 'errors': 'overwrite'}
    >>> checked_table("training", {"epoch": 3}, ["epochs", "batch_size"])
    Traceback (most recent call last):
    ...
    mtjsim.checks.ArgumentError: a field of training must be one of 'epochs', 'batch_size', got 'epoch'. Did you ...
    """
    if not isinstance(table, Mapping):
        raise ArgumentError(where, f"must be a table of names and values, got {table!r}.")
    known = list(names)
    for name in table:
        checked_choice(f"a field of {where}", name, known)
    return {name: in_si(f"{where}.{name}", name, value) for name, value in table.items()}


def in_si(where: str, name: str, value: Any) -> Any:
    """Return a quantity in SI, or a list of them; anything else as it is. ArgumentError for a probability in words."""
    if isinstance(value, (list, tuple)):
        return [in_si(where, name, part) for part in value]
    if isinstance(value, str) and name in PROBABILITIES:
        raise ArgumentError(where, f"{PROBABILITY}, such as 0.05, got {value!r}. {NOT_PERCENT}")
    if isinstance(value, str) and name in UNITS:
        return to_si(value, UNITS[name], name=where)
    return value


def made(where: str, declaration: Callable[..., Any], arguments: Mapping[str, Any]) -> Any:
    """Call a declaration; an error names the place in the table.

    Raises
    ------
    ArgumentError
        As the declaration, and for an argument that is missing or that it does not have.
    """
    signature = inspect.signature(declaration)
    if not any(p.kind is inspect.Parameter.VAR_KEYWORD for p in signature.parameters.values()):
        for name in arguments:
            checked_choice(f"a field of {where}", name, signature.parameters)
    try:
        signature.bind(**arguments)
    except TypeError as error:
        raise ArgumentError(where, f"is not complete: {error}.") from None
    check_flags(where, declaration, arguments)
    try:
        return declaration(**arguments)
    except ArgumentError as error:
        raise ArgumentError(f"{where}.{error.argument}", error.problem) from None
    except (TypeError, AttributeError, LookupError, OverflowError) as error:  # that the declaration does not check
        problem = str(error).partition("\n")[0]
        raise ArgumentError(where, f"has a value of another kind: {type(error).__name__}: {problem}.") from error
    except ValueError as error:
        raise ArgumentError(where, f"is wrong: {error}") from None


def check_flags(where: str, declaration: Callable[..., Any], arguments: Mapping[str, Any]) -> None:
    """ArgumentError unless what a declaration has as `bool` is true or false: "false" would be true."""
    parameters = inspect.signature(declaration).parameters
    for name, value in arguments.items():
        if name in parameters and parameters[name].annotation in (bool, "bool", "bool | None") and value is not None:
            checked_flag(f"{where}.{name}", value)


def checked_flag(where: str, value: Any) -> bool:
    """Return true or false; ArgumentError for anything else."""
    if not isinstance(value, bool):
        raise ArgumentError(where, f"must be true or false, got {value!r}.")
    return value


def named_tables(where: str, tables: object, name_of: Callable[[Mapping[str, Any], int], str]) -> dict[str, dict]:
    """Return the tables of an array of tables by name.

    Raises
    ------
    ArgumentError
        Unless it is an array of tables, each with a name of its own.
    """
    if not isinstance(tables, (list, tuple)) or not all(isinstance(table, Mapping) for table in tables):
        raise ArgumentError(where, f"must be an array of tables, [[{where}]] in TOML, got {tables!r}.")
    found: dict[str, dict] = {}
    for number, table in enumerate(tables):
        name = table.get("name", name_of(table, number))
        if not isinstance(name, str) or not name or "." in name:
            raise ArgumentError(f"{where}.name", f"must be a text without a dot, got {name!r}.")
        if name in found:
            raise ArgumentError(f"{where}.name", f"must be different in each, got {name!r} twice.")
        found[name] = dict(table)
    return found


def imported(where: str, place: object) -> Callable[..., Any]:
    """Return a function of one's own by its place, "module:function"; the working folder is searched too.

    Raises
    ------
    ArgumentError
        If it cannot be imported, or is not a function.

    Examples
    --------
    >>> imported("training.loss", "math:sqrt")(4.0)
    2.0
    """
    module, colon, name = str(place).partition(":")
    if "" not in sys.path and os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # as `python -m` has it
    try:
        found = getattr(importlib.import_module(module), name) if colon and module else None
    except (ImportError, AttributeError) as error:
        rule = "must be module:function, which can be imported from this folder"
        raise ArgumentError(where, f"{rule}, got {place!r} ({error}).") from None
    if not callable(found):
        raise ArgumentError(where, f"must be module:function, got {place!r}.")
    return found
