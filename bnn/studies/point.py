"""Run one point of a study: a pure function of the study's identity, the point's fields and its repeat."""

from __future__ import annotations

import json
import os
import platform
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import filelock

from bnn.recipes.code import loaded_code
from bnn.recipes.recipe import Recipe
from bnn.recipes.result import DIVERGED, counted
from bnn.recipes.run import run_recipe
from bnn.studies.dimensions import Dimension
from bnn.studies.space import Point, Study
from bnn.studies.task import Task

if TYPE_CHECKING:
    from bnn.training.result import Epoch


def run_point(
    study: Study,
    point: Point,
    folder: Path,
    data_dir: str | os.PathLike[str] | None,
    *,
    on_epoch: Callable[[Epoch], None] | None = None,
) -> dict[str, Any]:
    """Run one point: a pure function of the study's identity, the point's fields and its repeat.

    The checkpoint in `folder` is of the training alone, so that points that differ in their tests share it. It is
    removed with the point's result, unless it is a shared one. A training that diverged is a result: its value
    "training.diverged" is 1, and it has no accuracies.
    """
    recipe = study.recipe_at(point)
    began, busy = time.perf_counter(), time.process_time()
    if isinstance(recipe, Task):
        found = dict(recipe.run(data_dir=data_dir))
        more = {"tables": found.pop("tables", {})}
        return _result(study, point, recipe, found, began, busy) | json.loads(json.dumps(more))
    network = folder / "networks" / f"{recipe.training_identity}.pt"
    given: dict[str, Any] = {"data_dir": data_dir, "checkpoint": network, "threads": 1, "progress": False}
    try:
        with filelock.FileLock(network.with_suffix(".lock")), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The training diverged")  # the result says so
            result = run_recipe(recipe, **given, on_epoch=on_epoch)
    except FloatingPointError:  # logits of a test that are not finite
        return _result(study, point, recipe, {DIVERGED: 1}, began, busy)
    moving = [field for dimension in study.dimensions for field in _fields(study, dimension)]
    moving.append(str(dict(study.tables.get("bisect", {})).get("field", "")))
    if not any(field.startswith("test") for field in moving):
        network.unlink(missing_ok=True)
    more = {
        "tests": {name: counted(accuracy) for name, accuracy in result.tests.items()},
        "points": {name: own.identity for name, own in result.points.items()},
    }
    return _result(study, point, recipe, result.values(), began, busy) | more


def _result(
    study: Study, point: Point, recipe: Recipe | Task, values: Mapping[str, Any], began: float, busy: float
) -> dict[str, Any]:
    return {
        "key": study.key(point),
        "study": study.identity,
        "parameters": dict(point.shown),
        "repeat": point.repeat,
        "seed": recipe.seed,
        "recipe": recipe.identity,
        "values": {name: _finite(value) for name, value in values.items()},
        "version": version("mtj-bnn"),
        "machine": machine(),
        "code": loaded_code(),
        "seconds": round(time.perf_counter() - began, 2),
        "core_seconds": round(time.process_time() - busy, 2),
    }


def machine() -> str:
    """Return what decides the last digits of sums in torch: the kind of processor, and the vectors that torch uses.

    Equal seeds give equal bits where this is equal; elsewhere trainings differ as those of other seeds do.
    """
    torch = sys.modules.get("torch")
    vectors = [torch.backends.cpu.get_cpu_capability()] if torch else []
    return " ".join([platform.machine(), *vectors])


def _fields(study: Study, dimension: Dimension) -> Iterable[str]:
    if dimension.path == "arm":
        return [field for arm in study.arms.values() for field in arm]
    return [dimension.path]


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and value != value else value


def place_of(point: Point) -> str:
    """Return a point as text."""
    fields = ", ".join(f"{path}={value!r}" for path, value in point.shown)
    return f"{fields}, repeat {point.repeat}" if point.repeat else fields
