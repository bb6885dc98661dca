"""From a memory to a network: binarized networks trained and run on memories that err, and what that saves.

Names are imported on first use, so that `mtj-bnn device` and its like start without torch.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bnn.batch_norm import reestimate_batch_norm, rescale_batch_norm
    from bnn.codesign import energy_accuracy_curve
    from bnn.data import fetch, load
    from bnn.errors import WriteErrors
    from bnn.evaluate import Accuracy, evaluate, paired_loss
    from bnn.images import DataSet, ImageSet
    from bnn.layers import BinaryConv2d, BinaryLinear
    from bnn.recipes import Recipe, list_recipes, load_recipe, run_recipe
    from bnn.train import TrainConfig, Trainer

_HOME = {
    "Accuracy": "evaluate",
    "BinaryConv2d": "layers",
    "BinaryLinear": "layers",
    "DataSet": "images",
    "ImageSet": "images",
    "Recipe": "recipes",
    "TrainConfig": "train",
    "Trainer": "train",
    "WriteErrors": "errors",
    "energy_accuracy_curve": "codesign",
    "evaluate": "evaluate",
    "fetch": "data",
    "list_recipes": "recipes",
    "load": "data",
    "load_recipe": "recipes",
    "paired_loss": "evaluate",
    "reestimate_batch_norm": "batch_norm",
    "rescale_batch_norm": "batch_norm",
    "run_recipe": "recipes",
}

__all__ = [
    "Accuracy",
    "BinaryConv2d",
    "BinaryLinear",
    "DataSet",
    "ImageSet",
    "Recipe",
    "TrainConfig",
    "Trainer",
    "WriteErrors",
    "energy_accuracy_curve",
    "evaluate",
    "fetch",
    "list_recipes",
    "load",
    "load_recipe",
    "paired_loss",
    "reestimate_batch_norm",
    "rescale_batch_norm",
    "run_recipe",
]


def __getattr__(name: str) -> Any:
    if name in ("codesign", "data", "layers", "models", "plots"):
        return import_module(f"bnn.{name}")
    if name in _HOME:
        return getattr(import_module(f"bnn.{_HOME[name]}"), name)
    raise AttributeError(f"module 'bnn' has no attribute {name!r}")


class _FrontDoor(ModuleType):
    """Keeps `bnn.evaluate` the function: importing the module of the same name does not put it in its place."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOME and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _FrontDoor
