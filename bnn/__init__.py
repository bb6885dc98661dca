"""From a memory to a network: binarized networks trained and run on memories that err, and what that saves.

Names are imported on first use, so that `mtj-bnn device` and its like start without torch.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bnn.batch_norm import reestimate_batch_norm, rescale_batch_norm
    from bnn.binarize import approx_sign, ste_sign, swish_sign
    from bnn.bop import Bop, binary_parameters, split_parameters
    from bnn.codesign import energy_accuracy_curve
    from bnn.convert import BinarizeConfig, binarize
    from bnn.data import fetch, load
    from bnn.datasets.imagenet import open_imagenet
    from bnn.dropout import SeededDropout
    from bnn.errors import WriteErrors
    from bnn.evaluate import Accuracy, evaluate, paired_loss
    from bnn.images import DataSet, ImageSet
    from bnn.layers import BinaryConv2d, BinaryLinear
    from bnn.overwrite import OverwriteErrors
    from bnn.packed.predictor import PackedModel, load_packed
    from bnn.packed.trace import pack
    from bnn.parameter_memory import ParameterMemory
    from bnn.quantized_scope import quantized_scope
    from bnn.recipes.recipe import Recipe, list_recipes, load_recipe
    from bnn.recipes.run import run_recipe
    from bnn.summary import summary
    from bnn.train import TrainConfig, Trainer
    from bnn.training.finite import guard_finite
    from bnn.training.phases import MRAM, SRAM, Phase

_HOME = {
    "MRAM": "training.phases",
    "Phase": "training.phases",
    "SRAM": "training.phases",
    "Accuracy": "evaluate",
    "BinarizeConfig": "convert",
    "BinaryConv2d": "layers",
    "BinaryLinear": "layers",
    "Bop": "bop",
    "DataSet": "images",
    "ImageSet": "images",
    "OverwriteErrors": "overwrite",
    "PackedModel": "packed.predictor",
    "ParameterMemory": "parameter_memory",
    "Recipe": "recipes.recipe",
    "SeededDropout": "dropout",
    "TrainConfig": "train",
    "Trainer": "train",
    "WriteErrors": "errors",
    "approx_sign": "binarize",
    "binarize": "convert",
    "binary_parameters": "bop",
    "energy_accuracy_curve": "codesign",
    "evaluate": "evaluate",
    "fetch": "data",
    "guard_finite": "training.finite",
    "list_recipes": "recipes.recipe",
    "load": "data",
    "load_packed": "packed.predictor",
    "load_recipe": "recipes.recipe",
    "open_imagenet": "datasets.imagenet",
    "pack": "packed.trace",
    "paired_loss": "evaluate",
    "quantized_scope": "quantized_scope",
    "reestimate_batch_norm": "batch_norm",
    "rescale_batch_norm": "batch_norm",
    "run_recipe": "recipes.run",
    "split_parameters": "bop",
    "ste_sign": "binarize",
    "summary": "summary",
    "swish_sign": "binarize",
}

__all__ = [
    "MRAM",
    "SRAM",
    "Accuracy",
    "BinarizeConfig",
    "BinaryConv2d",
    "BinaryLinear",
    "Bop",
    "DataSet",
    "ImageSet",
    "OverwriteErrors",
    "PackedModel",
    "ParameterMemory",
    "Phase",
    "Recipe",
    "SeededDropout",
    "TrainConfig",
    "Trainer",
    "WriteErrors",
    "approx_sign",
    "binarize",
    "binary_parameters",
    "energy_accuracy_curve",
    "evaluate",
    "fetch",
    "guard_finite",
    "list_recipes",
    "load",
    "load_packed",
    "load_recipe",
    "open_imagenet",
    "pack",
    "paired_loss",
    "quantized_scope",
    "reestimate_batch_norm",
    "rescale_batch_norm",
    "run_recipe",
    "split_parameters",
    "ste_sign",
    "summary",
    "swish_sign",
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
