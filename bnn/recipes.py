"""Recipes: trainings written down with what they gave, so that anybody can run them again.

A recipe is a TOML file: network, data, errors, training, and the results that were measured with it, one for each seed.
`run_recipe` trains it to the last epoch and looks at the test images once, at the end.
"""

import json
import os
import platform
import time
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mtjsim.checks import checked_choice

if TYPE_CHECKING:
    from torch import nn

    from bnn.evaluate import Accuracy
    from bnn.train import Epoch

DATA_SETS = ("digits", "mnist", "fashion-mnist", "cifar10")
PACKAGES = ("mtj-bnn", "numpy", "scipy", "numba", "pydantic", "torch")
SHARE = Field(ge=0.0, le=1.0)


class _Declared(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ErrorRates(_Declared):
    """Error rates of one memory; independent errors.

    Attributes
    ----------
    error_rate_0, error_rate_1 : float, in [0, 1]
        As for `bnn.WriteErrors`.
    """

    error_rate_0: float = SHARE
    error_rate_1: float = SHARE


class RecipeTraining(_Declared):
    """How a recipe trains; the fields of `bnn.TrainConfig`, and what is done to the network before.

    Attributes
    ----------
    channels_last : bool
        Keep the weights of convolutions in torch's channels_last order: the same mathematics, faster on a CPU, rounded
        otherwise.
    """

    epochs: int = Field(ge=1)
    batch_size: int = Field(ge=1)
    learning_rate: float = Field(gt=0.0)
    weight_decay: float = Field(default=0.0, ge=0.0)
    schedule: Literal["one_cycle", "cosine", "constant"] = "one_cycle"
    channels_last: bool = False


class Expected(_Declared):
    """What was measured with a recipe: test accuracies of the last epoch, one for each seed, none left out.

    Attributes
    ----------
    seeds : tuple of int
    error_free : tuple of float
        Without errors at the test.
    with_errors : tuple of float
        With the errors of the training at the test; empty if it had none.
    core_seconds : tuple of float
        Of the training, all epochs, processor time [s].
    machine : str
        What they were measured on.
    """

    seeds: tuple[int, ...]
    error_free: tuple[float, ...]
    with_errors: tuple[float, ...] = ()
    core_seconds: tuple[float, ...]
    machine: str


class Recipe(_Declared):
    """A training that somebody else can run.

    Attributes
    ----------
    name : str
        Of the file, without its extension.
    title, source : str
        What it is, and whose idea: paper, and what of it is not followed.
    data : {"digits", "mnist", "fashion-mnist", "cifar10"}
    model : str
        A function of `bnn.models` or `bnn.models_small`.
    arguments : mapping
        Of that function; without the seed.
    activation_errors, weight_errors : ErrorRates or None
        What the memories do during the training, in every slot.
    training : RecipeTraining
    draws : int, >= 1
        Error draws of the test with errors.
    seed : int, >= 0
        Of weights, order of the images and errors, each a child of it.
    expected : Expected or None
    """

    name: str
    title: str
    source: str
    data: Literal["digits", "mnist", "fashion-mnist", "cifar10"]
    model: str
    arguments: dict[str, Any] = {}
    activation_errors: ErrorRates | None = None
    weight_errors: ErrorRates | None = None
    training: RecipeTraining
    draws: int = Field(default=10, ge=1)
    seed: int = Field(default=0, ge=0)
    expected: Expected | None = None


@dataclass(frozen=True)
class RecipeResult:
    """A recipe that was run.

    Attributes
    ----------
    recipe : Recipe
        As it was run.
    model : Module
        Of the last epoch, in eval mode, with its memories.
    history : tuple of Epoch
    error_free, with_errors : Accuracy
        On the test images; `with_errors` is None where the training had none.
    core_seconds : float
        Processor time of the training in this process [s]; less than the whole if it was resumed.
    files : tuple of Path
        What was written.
    """

    recipe: Recipe
    model: "nn.Module"
    history: "tuple[Epoch, ...]"
    error_free: "Accuracy"
    with_errors: "Accuracy | None"
    core_seconds: float
    files: tuple[Path, ...]


def list_recipes() -> list[str]:
    """Names of the recipes that ship with the package, sorted.

    Examples
    --------
    >>> "digits_mlp" in list_recipes()
    True
    """
    return sorted(entry.name.removesuffix(".toml") for entry in _folder().iterdir() if entry.name.endswith(".toml"))


def load_recipe(name: str | os.PathLike[str]) -> Recipe:
    """Read a recipe that ships with the package, by its name, or a file of your own, by its path.

    Parameters
    ----------
    name : str or path
        One of `list_recipes`; anything that ends in .toml or has a folder is a path.

    Returns
    -------
    Recipe

    Raises
    ------
    ValueError
        For an unknown name (lists the valid ones and the nearest), a file that is not TOML, or a wrong field.
    FileNotFoundError
        If there is no such file.

    Examples
    --------
    >>> recipe = load_recipe("digits_mlp")
    >>> recipe.model, recipe.data
    ('mlp', 'digits')
    """
    text = os.fspath(name)
    if not text.endswith(".toml") and os.sep not in text:
        checked_choice("recipe", text, list_recipes())
        return _parsed(text, _folder().joinpath(f"{text}.toml").read_text("utf-8"), f"recipe {text}")
    path = Path(text)
    if not path.is_file():
        raise FileNotFoundError(f"recipe {text!r} does not exist.")
    return _parsed(path.stem, path.read_text("utf-8"), text)


def run_recipe(
    recipe: Recipe | str | os.PathLike[str],
    *,
    data_dir: str | os.PathLike[str] | None = None,
    out: str | os.PathLike[str] | None = None,
    seed: int | None = None,
    progress: bool | None = None,
    on_epoch: "Callable[[Epoch], None] | None" = None,
) -> RecipeResult:
    """Train a recipe to its last epoch, then look at the test images.

    Parameters
    ----------
    recipe : Recipe, name or path
        As for `load_recipe`.
    data_dir : path, optional
        Where the data set's files are; as for `bnn.load`.
    out : path, optional
        Folder for `config.json` (the recipe as it is run, written before the work), `checkpoint.pt` and `result.json`.
        A run that was ended there is continued, to the same bits. None: nothing is written.
    seed : int, optional
        In place of the recipe's own.
    progress, on_epoch : optional
        As for `bnn.TrainConfig` and `Trainer.fit`.

    Returns
    -------
    RecipeResult

    Raises
    ------
    ValueError
        For a recipe that cannot be read, an unknown model or wrong arguments of it, or an `out` that holds another run.
    OSError
        If data are missing, or `out` cannot be written.

    Notes
    -----
    All training images train. Nothing is chosen here, and least of all on the test images: what a recipe says was
    chosen beforehand, on images held out from the training set.
    """
    recipe = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    recipe = Recipe.model_validate({**recipe.model_dump(), **({} if seed is None else {"seed": seed})})
    folder = None if out is None else _prepared(Path(out), recipe)
    from bnn.data import load

    data = load(recipe.data, data_dir)  # before torch, so that missing files are said at once
    from bnn.evaluate import evaluate
    from bnn.train import TrainConfig, Trainer

    model = built(recipe)
    settings = recipe.training.model_dump(exclude={"channels_last"})
    checkpoint = None if folder is None else folder / "checkpoint.pt"
    config = TrainConfig(**settings, seed=_child(recipe, 1), checkpoint=checkpoint, progress=progress)
    started = time.process_time()
    trained = Trainer(model, config).fit(data.train, on_epoch=on_epoch)
    core_seconds = time.process_time() - started
    test_seed = _child(recipe, 4)
    error_free = evaluate(model, data.test)
    with_errors = None
    if recipe.activation_errors is not None or recipe.weight_errors is not None:
        with_errors = evaluate(
            model, data.test, errors="as_trained", weight_errors="as_trained", draws=recipe.draws, seed=test_seed
        )
    result = RecipeResult(recipe, trained.model, trained.history, error_free, with_errors, core_seconds, ())
    return result if folder is None else _kept(result, folder, data.identity)


def built(recipe: Recipe) -> "nn.Module":
    """Return the untrained network of a recipe, with memories in its slots.

    Raises
    ------
    ValueError
        For an unknown model, arguments that it does not take, or errors that would touch nothing.
    """
    import torch

    from bnn import models, models_small
    from bnn.errors import WriteErrors
    from bnn.layers import activation_memories, weight_memories

    known = {
        name: value
        for module in (models, models_small)
        for name, value in vars(module).items()
        if getattr(value, "__module__", "") == module.__name__ and not name.startswith("_")
    }
    checked_choice("model", recipe.model, known)
    try:
        model = known[recipe.model](**recipe.arguments, seed=_child(recipe, 0))
    except TypeError as error:
        raise ValueError(f"recipe {recipe.name}: arguments of {recipe.model} are wrong ({error}).") from None
    for role, kind, rates, layers in (
        (2, "activation", recipe.activation_errors, activation_memories(model)),
        (3, "weight", recipe.weight_errors, weight_memories(model)),
    ):
        if rates is not None and not layers:
            raise ValueError(f"recipe {recipe.name}: {kind}_errors would touch nothing: {recipe.model} has no slot.")
        for index, layer in enumerate(layers.values()):
            if rates is not None:
                memory = WriteErrors(**rates.model_dump(), seed=_child(recipe, role, index), layer=index)
                layer.register_module(f"{kind}_memory", memory)
    return model.to(memory_format=torch.channels_last) if recipe.training.channels_last else model


def _folder() -> Any:
    return files("bnn").joinpath("recipes")


def _parsed(name: str, text: str, where: str) -> Recipe:
    try:
        return Recipe.model_validate({**tomllib.loads(text), "name": name})
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{where} is not TOML: {error}") from None
    except ValidationError as error:
        problem = error.errors()[0]
        field = ".".join(str(part) for part in problem["loc"])
        raise ValueError(f"{where}: {field}: {problem['msg']}, got {problem['input']!r}.") from None


def _child(recipe: Recipe, *key: int) -> int:
    """Return a seed for one role: 0 weights, 1 order, 2 activations' and 3 weights' errors, 4 the test."""
    import numpy as np

    return int(np.random.SeedSequence(recipe.seed, spawn_key=key).generate_state(1, np.uint64)[0])


def _prepared(folder: Path, recipe: Recipe) -> Path:
    """Make the folder and put the frozen config into it, or see that it is there already."""
    from bnn.files import require_writable, write_whole

    require_writable(folder, option="--out", make=True)
    config = folder / "config.json"
    text = json.dumps(recipe.model_dump(mode="json", exclude={"expected"}), indent=1) + "\n"
    if config.exists() and config.read_text("utf-8") != text:
        raise ValueError(f"--out {str(folder)!r} holds another run, see its config.json. Name another folder.")
    write_whole(config, text.encode())
    return folder


def _kept(result: RecipeResult, folder: Path, data_identity: str) -> RecipeResult:
    """Write result.json."""
    from dataclasses import asdict, replace

    from bnn.files import write_whole

    content = {
        "recipe": result.recipe.model_dump(mode="json"),
        "data_identity": data_identity,
        "history": [asdict(epoch) for epoch in result.history],
        "test": {
            name: counted(accuracy)
            for name, accuracy in (("error_free", result.error_free), ("with_errors", result.with_errors))
            if accuracy is not None
        },
        "core_seconds": round(result.core_seconds, 1),
        "versions": {name: version(name) for name in PACKAGES} | {"python": platform.python_version()},
    }
    write_whole(folder / "result.json", (json.dumps(content, indent=1) + "\n").encode())
    return replace(result, files=tuple(folder / name for name in ("config.json", "checkpoint.pt", "result.json")))


def counted(accuracy: "Accuracy") -> dict[str, Any]:
    """Return an accuracy as counts, with its interval; NaN, where there is none, becomes None."""
    ends = [None if end != end else end for end in (accuracy.low, accuracy.high)]
    return {
        "mean": accuracy.mean,
        "low": ends[0],
        "high": ends[1],
        "images": accuracy.images,
        "draws": accuracy.draws,
        "correct": accuracy.correct.tolist(),
    }
