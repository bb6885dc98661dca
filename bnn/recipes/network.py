"""The network of a recipe, its data, its configuration and its optimizer."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from bnn.data.image_files import ImageFiles
from bnn.data.imagenet import FolderSet, open_imagenet
from bnn.data.images import DataSet, ImageSet, stratified_choice
from bnn.data.loading import IMAGENET, load
from bnn.recipes.declared import checked_table, imported, made, names_of
from bnn.recipes.recipe import Recipe
from bnn.recipes.tables import OF_FILES
from mtjsim.checks import ArgumentError, checked_choice
from mtjsim.rng import child_seed, generator

if TYPE_CHECKING:
    import torch
    from torch import nn

    from bnn.training.config import TrainConfig
    from bnn.training.phases import Phase

OF_A_RUN = ("seed", "phases", "checkpoint", "checkpoint_every", "checkpoint_steps", "metrics", "progress")
OPTIMIZERS = ("adam", "adamw", "sgd", "bop", "state_transitions")
STEPPING = ("adam", "sgd")  # whose steps become transitions


@dataclass(frozen=True)
class RecipeData:
    """The images of a recipe: those that train, those that choose (or None), those that are reported, all classes."""

    train: ImageSet | ImageFiles
    validation: ImageSet | ImageFiles | None
    whole: DataSet | FolderSet


def data_of(recipe: Recipe, data_dir: str | os.PathLike[str] | None = None, *, name: str | None = None) -> RecipeData:
    """Load the images of a recipe, or of another data set in its place, of which all images train.

    Raises
    ------
    ValueError
        For more classes or images than there are.
    OSError
        If data are missing.
    """
    table: Mapping[str, Any] = recipe.tables["data"]
    of_files = {} if name else {key: table[key] for key in OF_FILES if key in table}
    whole: Any = _loaded(name or table["name"], None if data_dir is None else os.fspath(data_dir), **of_files)
    if (classes := table.get("classes")) is not None:
        if classes > len(whole.class_names):
            got = f"got {classes} of {len(whole.class_names)}"
            raise ArgumentError("data.classes", f"must be at most the number of classes, {got}.")
        train, test = (half.subset(np.flatnonzero(half.labels < classes)) for half in (whole.train, whole.test))
        whole = replace(whole, train=train, test=test, class_names=whole.class_names[:classes])
    train, validation = whole.train, None
    if (share := table.get("validation")) is not None:
        train, validation = train.split(1.0 - share, seed=child_seed(recipe.seed, "validation"))
    if name is None and (images := table.get("train_images")) is not None and images != len(train):
        if images > len(train):
            raise ArgumentError("data.train_images", f"must be at most {len(train)}, got {images}.")
        stream = generator(recipe.seed, "image_split")
        train = train.subset(np.flatnonzero(stratified_choice(train.labels, images / len(train), random=stream)))
    return RecipeData(train, validation, whole)


@lru_cache(maxsize=2)
def _loaded(name: str, data_dir: str | None, **of_files: Any) -> DataSet | FolderSet:
    """Load a data set once a process: its arrays are read-only. Files of images are opened, and decoded when used."""
    if name != "imagenet":
        return load(name, data_dir)
    if data_dir is None:
        raise FileNotFoundError(IMAGENET)
    return open_imagenet(data_dir, **of_files)


def network_of(recipe: Recipe, classes: int) -> nn.Module:
    """Return the untrained network of a recipe, without memories in its slots.

    `classes` is that of the data, for a function that has such an argument and is not given it.

    Raises
    ------
    ValueError
        For an unknown model, arguments that it does not take, a function that returns no model, or a wrong [binarize].
    """
    import torch
    from torch import nn

    table = dict(recipe.tables["model"])
    name, channels_last = table.pop("name"), table.pop("channels_last", False)
    function = _function(name)
    taken, seed = inspect.signature(function).parameters, child_seed(recipe.seed, "initial_weights")
    for own, place in (("seed", "seed"), ("activation_memory", "[[memory]]"), ("weight_memory", "[[memory]]")):
        if own in table:
            raise ArgumentError(f"model.{own}", f"must be left out: it follows from {place} of the recipe.")
    table |= {own: value for own, value in (("seed", seed), ("classes", classes)) if own in taken and own not in table}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = made("model", function, table)
    if not isinstance(model, nn.Module):
        raise ArgumentError("model", f"must be a function that returns a torch model, got {model!r} of {name}.")
    if (given := recipe.tables.get("binarize")) is not None:
        model = _binarized(model, given)
    return model.to(memory_format=torch.channels_last) if channels_last else model  # type: ignore[call-overload]


def _function(name: str) -> Callable[..., Any]:
    from bnn import models

    if ":" in name:
        return imported("model", name)
    known = {own: getattr(models, own) for own in models.__all__ if own != "MakeMemory"}
    return known[checked_choice("model", name, known)]


def _binarized(model: nn.Module, given: Mapping[str, Any]) -> nn.Module:
    from bnn.conversion.config import BinarizeConfig
    from bnn.conversion.convert import binarize
    from bnn.layers import quantizers

    quantizer = ("weight_quantizer", "input_quantizer")
    without = ("weight_write", "activation_write", "mode", "gradient", "seed")  # of the memories, and of the seed
    of_config = names_of(BinarizeConfig, without=without)
    of_call = names_of(binarize, without=("model", "config", "example"))
    table = checked_table("binarize", given, [*of_config, *of_call])
    for name in quantizer:
        if isinstance(table.get(name), str):
            known = {own: getattr(quantizers, own) for own in ("ste_sign", "approx_sign", "swish_sign")}
            table[name] = {**known, "none": None}[checked_choice(f"binarize.{name}", table[name], [*known, "none"])]
    config = made("binarize", BinarizeConfig, {name: table[name] for name in of_config if name in table})
    call = {name: table[name] for name in of_call if name in table}
    return made("binarize", binarize, {"model": model, "config": config, **call})


def config_of(recipe: Recipe, phases: tuple[Phase, ...], **of_this_run: Any) -> TrainConfig:
    """Return the configuration of the training; `of_this_run` is checkpoint, progress and so on."""
    from bnn.data.augmentation import Augment
    from bnn.training.config import Steps, TrainConfig

    table = checked_table("training", recipe.tables.get("training", {}), names_of(TrainConfig, without=OF_A_RUN))
    for name, declaration in (("augment", Augment), ("schedule", Steps)):
        if isinstance(table.get(name), Mapping):
            table[name] = made(f"training.{name}", declaration, table[name])
    for name in ("loss", "schedule"):
        if ":" in str(table.get(name, "")):
            table[name] = imported(f"training.{name}", table[name])
    return made(
        "training",
        TrainConfig,
        {**table, "phases": phases, "seed": child_seed(recipe.seed, "training"), **of_this_run},
    )


@dataclass(frozen=True)
class RecipeOptimizer:
    """Makes the optimizers of a recipe; learning rate and weight decay are those of the training."""

    name: str
    arguments: tuple[tuple[str, Any], ...]

    def __call__(self, model: nn.Module, config: TrainConfig) -> list[torch.optim.Optimizer]:
        """Return the optimizer; Bop for the binary weights and Adam for all others; or transitions of an optimizer."""
        import torch

        from bnn.optimizers.bop import Bop, split_parameters
        from bnn.optimizers.state_transitions import DiscreteStateTransition, state_groups

        given = dict(self.arguments)
        kind: Any
        usual: dict[str, Any] = {"lr": config.learning_rate, "weight_decay": config.weight_decay}
        if self.name == "bop":
            binary, real = split_parameters(model)
            adam = torch.optim.Adam(real, **usual, fused=True)
            return [made("optimizer", Bop, {"params": binary, **given}), adam]
        if self.name == "state_transitions":
            groups = state_groups(model, binary=given.pop("binary", False))
            for group in groups:
                group |= {"weight_decay": 0.0} if "levels" in group else {}
            kind = _torch_optimizer(given.pop("of", "adam"))
            inner = made("optimizer", kind, {"params": groups, **usual, **given})
            return [DiscreteStateTransition(inner, seed=child_seed(config.seed, "state_transitions"))]
        kind = _torch_optimizer(self.name)
        fused = {} if self.name == "sgd" else {"fused": True}
        return [made("optimizer", kind, {"params": list(model.parameters()), **usual, **fused, **given})]


def _torch_optimizer(name: str) -> Any:
    import torch

    return {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}[name]


def optimizer_of(recipe: Recipe) -> RecipeOptimizer | None:
    """Return what makes the optimizers; None for the trainer's own, Adam.

    Raises
    ------
    ValueError
        For an unknown optimizer, or an argument that it does not take.
    """
    given = recipe.tables.get("optimizer")
    if given is None:
        return None
    from bnn.optimizers.bop import Bop

    name = checked_choice("optimizer.name", str(given.get("name", "adam")), OPTIMIZERS)
    own: list[str] = []
    if name == "state_transitions":
        stepping, own = checked_choice("optimizer.of", str(given.get("of", "adam")), STEPPING), ["of", "binary"]
        if not isinstance(given.get("binary", False), bool):
            raise ArgumentError("optimizer.binary", f"must be true or false, got {given['binary']!r}.")
    kind = Bop if name == "bop" else _torch_optimizer(stepping if own else name)
    names = names_of(kind, without=("params", "lr", "weight_decay", "fused", "foreach", "capturable", "differentiable"))
    table = checked_table("optimizer", {k: v for k, v in given.items() if k != "name"}, [*own, *names])
    values = {key: tuple(value) if isinstance(value, list) else value for key, value in table.items()}
    return RecipeOptimizer(name, tuple(values.items()))
