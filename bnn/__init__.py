"""From a memory to a network: binarized networks trained and run on memories that err, and the energy saved.

the images      `data/` sets by name, from folders, from downloads
one bit         `errors/` errors of single bits in a layer's memory
one network     `layers/` binary layers, quantizers, counts · `models/` published networks ·
                `conversion/` any torch model, binarized · `packed/` the same predictions on packed bits
its accuracy    `evaluation/` under chosen errors, over many draws · `counting/` counts with intervals
its training    `training/` the loop, its phases and memories of words · `optimizers/` of binary weights
experiments     `recipes/` one experiment, declared whole · `studies/` spaces over the fields of a recipe,
                energy/accuracy curves, the demo
shared          `streams.py` torch generators · `cli/` the command line

Names are imported on first use, so that verbs such as `mtj-bnn device` start without torch.
"""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

if _TYPE_CHECKING:
    from bnn.conversion.config import BinarizeConfig
    from bnn.conversion.convert import binarize
    from bnn.counting.accuracy import Accuracy, paired_loss
    from bnn.data.augmentation import Augment
    from bnn.data.imagenet import open_imagenet
    from bnn.data.images import DataSet, ImageSet
    from bnn.data.loading import fetch, load
    from bnn.errors.keys import address, forget_address
    from bnn.errors.overwrite import OverwriteErrors
    from bnn.errors.write_errors import WriteErrors
    from bnn.evaluation.accuracy import evaluate
    from bnn.evaluation.batch_norm import reestimate_batch_norm, rescale_batch_norm
    from bnn.layers.binary import BinaryConv2d, BinaryLinear
    from bnn.layers.crossbar import CrossbarLinear, DieMemory, PairProcess, calibrate_offsets, put_on_dies
    from bnn.layers.dropout import SeededDropout
    from bnn.layers.latent import clip_latent_, quantized_scope
    from bnn.layers.quantizers import approx_sign, ste_sign, swish_sign
    from bnn.layers.slots import memories
    from bnn.layers.table import summary
    from bnn.layers.ternary import DiscreteActivation, DiscreteStates, TernaryConv2d, TernaryLinear
    from bnn.optimizers.bop import Bop, binary_parameters, split_parameters
    from bnn.optimizers.junction_jumps import JunctionJumps
    from bnn.optimizers.state_transitions import DiscreteStateTransition, state_groups
    from bnn.packed.predictor import PackedModel, load_packed
    from bnn.packed.trace import pack
    from bnn.recipes.recipe import Recipe, list_recipes, load_recipe
    from bnn.recipes.run import run_recipe
    from bnn.studies.curve import energy_accuracy_curve
    from bnn.studies.curve_point import CurvePoint
    from bnn.studies.curve_result import EnergyAccuracyCurve
    from bnn.studies.run import run_study
    from bnn.studies.space import Study, list_studies, load_study
    from bnn.training.accesses import inference_ledger
    from bnn.training.config import Steps, TrainConfig
    from bnn.training.finite import guard_finite
    from bnn.training.loop import Trainer
    from bnn.training.parameter_memory import ParameterMemory
    from bnn.training.phases import MRAM, SRAM, Phase

_HOME = {
    name: module
    for module, names in {
        "conversion.config": ("BinarizeConfig",),
        "conversion.convert": ("binarize",),
        "data.augmentation": ("Augment",),
        "data.images": ("DataSet", "ImageSet"),
        "data.imagenet": ("open_imagenet",),
        "data.loading": ("fetch", "load"),
        "errors.keys": ("address", "forget_address"),
        "errors.overwrite": ("OverwriteErrors",),
        "errors.write_errors": ("WriteErrors",),
        "counting.accuracy": ("Accuracy", "paired_loss"),
        "evaluation.accuracy": ("evaluate",),
        "evaluation.batch_norm": ("reestimate_batch_norm", "rescale_batch_norm"),
        "layers.binary": ("BinaryConv2d", "BinaryLinear"),
        "layers.crossbar": ("CrossbarLinear", "DieMemory", "PairProcess", "calibrate_offsets", "put_on_dies"),
        "layers.dropout": ("SeededDropout",),
        "layers.latent": ("clip_latent_", "quantized_scope"),
        "layers.quantizers": ("approx_sign", "ste_sign", "swish_sign"),
        "layers.slots": ("memories",),
        "layers.table": ("summary",),
        "layers.ternary": ("DiscreteActivation", "DiscreteStates", "TernaryConv2d", "TernaryLinear"),
        "optimizers.bop": ("Bop", "binary_parameters", "split_parameters"),
        "optimizers.junction_jumps": ("JunctionJumps",),
        "optimizers.state_transitions": ("DiscreteStateTransition", "state_groups"),
        "packed.predictor": ("PackedModel", "load_packed"),
        "packed.trace": ("pack",),
        "studies.curve": ("energy_accuracy_curve",),
        "studies.curve_point": ("CurvePoint",),
        "studies.curve_result": ("EnergyAccuracyCurve",),
        "recipes.recipe": ("Recipe", "list_recipes", "load_recipe"),
        "recipes.run": ("run_recipe",),
        "studies.run": ("run_study",),
        "studies.space": ("Study", "list_studies", "load_study"),
        "training.accesses": ("inference_ledger",),
        "training.config": ("Steps", "TrainConfig"),
        "training.finite": ("guard_finite",),
        "training.loop": ("Trainer",),
        "training.parameter_memory": ("ParameterMemory",),
        "training.phases": ("MRAM", "SRAM", "Phase"),
    }.items()
    for name in names
}
_ROOMS = ("codesign", "data", "errors", "layers", "models", "plots")
_INNER_ROOMS = (
    *(
        "cli",
        "conversion",
        "counting",
        "evaluation",
        "optimizers",
        "packed",
        "recipes",
        "streams",
        "studies",
        "training",
    ),
)

__all__ = sorted(_HOME)


def __getattr__(name: str) -> _Any:
    if name in _HOME:
        return getattr(_import_module(f"bnn.{_HOME[name]}"), name)
    if name in _ROOMS or name in _INNER_ROOMS:
        return _import_module(f"bnn.{name}")
    if name == "__version__":
        from importlib.metadata import version

        return version("mtj-bnn")
    from mtjsim.checks import missing_attribute

    raise missing_attribute(f"module {__name__!r}", name, __dir__())


def __dir__() -> list[str]:
    return [*__all__, *_ROOMS]
