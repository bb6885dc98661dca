"""Tasks: an experiment that is a Python function, for studies of what no recipe trains.

A task takes fields as keywords, `seed` and `data_dir` if it has such arguments, and returns a mapping: values by name
(numbers and texts), and under "tables" further tables, name -> rows, which are written next to the table of the study.
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from bnn.recipes.declared import imported, in_si, names_of
from mtjsim.checks import checked_choice

OF_A_RUN = ("seed", "data_dir")


@dataclass(frozen=True)
class Task:
    """A function of fields, by its place.

    Parameters
    ----------
    function : str
        "module:function", importable.
    fields : mapping
        Its arguments so far; quantities in SI.

    Raises
    ------
    ValueError
        If there is no such function, or it does not have such an argument.

    Examples
    --------
    >>> task = Task("mtjsim.presets:load_preset", {"name": "arm_2021"})
    >>> task.replaced({"name": "w_sot_80nm"}).fields
    {'name': 'w_sot_80nm'}
    """

    function: str
    fields: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        names = names_of(self.called)
        for name in self.fields:
            checked_choice(f"a field of the task {self.function}", name, names)

    @property
    def called(self) -> Callable[..., Any]:
        """The function."""
        return imported("task", self.function)

    @property
    def identity(self) -> str:
        """SHA-256 of the function's place and its fields."""
        return hashlib.sha256(json.dumps([self.function, self.fields], sort_keys=True).encode()).hexdigest()

    @property
    def tables(self) -> dict[str, Any]:
        """What a record has of it."""
        return {"task": self.function, **self.fields}

    @property
    def seed(self) -> int:
        """Of this run; 0 if there is none."""
        return int(self.fields.get("seed", 0))

    def replaced(self, values: Mapping[str, Any]) -> Self:
        """Return the task with other fields; a seed is left out if the function takes none."""
        known = names_of(self.called)
        given = {name: in_si(name, name, value) for name, value in values.items() if name != "seed" or name in known}
        return type(self)(self.function, {**copy.deepcopy(dict(self.fields)), **given})

    def run(self, *, data_dir: str | os.PathLike[str] | None) -> Mapping[str, Any]:
        """Call the function; TypeError unless it returns a mapping of values and tables."""
        more = {"data_dir": data_dir} if "data_dir" in names_of(self.called) else {}
        found = self.called(**self.fields, **more)
        if not isinstance(found, Mapping):
            raise TypeError(f"the task {self.function} must return a mapping of values, got {type(found).__name__}.")
        return found
