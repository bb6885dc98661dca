"""Shipped studies with small settings, and the scripts of notebooks/, for the tests of stored results and claims."""

import runpy
import tomllib
from importlib.resources import files
from pathlib import Path

from bnn.studies.run import run_study
from bnn.studies.space import flat, study_of

ROOT = Path(__file__).parents[1]
DIGITS = {"data.name": "digits", "model.inputs": 64, "model.hidden": [16], "training.epochs": 1}


def script(name):
    """Return the names of a script in notebooks/, which is not run."""
    return runpy.run_path(str(ROOT / "notebooks" / f"{name}.py"))


def small_study(name, folder, *, fixed=None, space=None, data_dir=None, **tables):
    """Run a shipped study with other fields, values of its space and tables."""
    found = tomllib.loads(files("bnn.studies").joinpath("shipped", f"{name}.toml").read_text("utf-8"))
    found["set"] = {**found.get("set", {}), **(fixed or {})}
    found["space"] = {**flat("space", found.get("space", {})), **(space or {})}
    return run_study(study_of(name, name, found | tables, None), out=folder, data_dir=data_dir, workers=1)
