"""From a memory to a network: binarized networks trained and run on memories that err, and what that saves.

Names are imported on first use, so that `mtj-bnn device` and its like start without torch.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bnn.codesign import energy_accuracy_curve
    from bnn.data import fetch, load
    from bnn.errors import WriteErrors
    from bnn.evaluate import Accuracy, evaluate, paired_loss
    from bnn.images import DataSet, ImageSet
    from bnn.layers import BinaryConv2d, BinaryLinear
    from bnn.packed.predictor import PackedModel, load_packed
    from bnn.packed.trace import pack
    from bnn.train import TrainConfig, Trainer

_HOME = {
    "Accuracy": "evaluate",
    "BinaryConv2d": "layers",
    "BinaryLinear": "layers",
    "DataSet": "images",
    "ImageSet": "images",
    "PackedModel": "packed.predictor",
    "TrainConfig": "train",
    "Trainer": "train",
    "WriteErrors": "errors",
    "energy_accuracy_curve": "codesign",
    "evaluate": "evaluate",
    "fetch": "data",
    "load": "data",
    "load_packed": "packed.predictor",
    "pack": "packed.trace",
    "paired_loss": "evaluate",
}

__all__ = [
    "Accuracy",
    "BinaryConv2d",
    "BinaryLinear",
    "DataSet",
    "ImageSet",
    "PackedModel",
    "TrainConfig",
    "Trainer",
    "WriteErrors",
    "energy_accuracy_curve",
    "evaluate",
    "fetch",
    "load",
    "load_packed",
    "pack",
    "paired_loss",
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
