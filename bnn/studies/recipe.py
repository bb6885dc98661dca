"""Recipes: declared trainings with their results, so that they can be run again.

A recipe is a TOML file: network, data, errors, training, and the results that were measured with it, one for each seed.
`bnn.run_recipe` trains it to the last epoch and evaluates on the test images once, at the end.
"""

from __future__ import annotations

import os
import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, ValidationError

from bnn.data.origins import ORIGINS
from mtjsim.checks import ArgumentError, checked_choice
from mtjsim.declaration import Declaration

SHARE = Field(ge=0.0, le=1.0)


class _Declared(Declaration):
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
    """Training of a recipe: fields of `bnn.TrainConfig`, and the memory order of the network.

    Attributes
    ----------
    channels_last : bool
        Keep the weights of convolutions in torch's channels_last order: the same mathematics, faster on a CPU, with
        other rounding.
    """

    epochs: int = Field(ge=1)
    batch_size: int = Field(ge=1)
    learning_rate: float = Field(gt=0.0)
    weight_decay: float = Field(default=0.0, ge=0.0)
    schedule: Literal["one_cycle", "cosine", "constant"] = "one_cycle"
    channels_last: bool = False


class Expected(_Declared):
    """Measured results of a recipe: test accuracies of the last epoch, one for each seed, none left out.

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
        On which they were measured.
    """

    seeds: tuple[int, ...]
    error_free: tuple[float, ...]
    with_errors: tuple[float, ...] = ()
    core_seconds: tuple[float, ...]
    machine: str


class Recipe(_Declared):
    """A training, declared whole, that others can run.

    Attributes
    ----------
    name : str
        Of the file, without its extension.
    title : str
    source : str
        The paper it follows, and where it does not follow it.
    data : {"digits", "mnist", "fashion-mnist", "cifar10", "cifar100", "cifar100-coarse", "svhn"}
        A data set of `bnn.load`.
    model : str
        A function of `bnn.models`.
    arguments : mapping
        Of that function; without the seed.
    activation_errors, weight_errors : ErrorRates or None
        Of the memories during the training, in every slot.
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
    data: Annotated[str, AfterValidator(lambda name: checked_choice("data", name, ORIGINS))]
    model: str
    arguments: dict[str, Any] = Field(default_factory=dict)
    activation_errors: ErrorRates | None = None
    weight_errors: ErrorRates | None = None
    training: RecipeTraining
    draws: int = Field(default=10, ge=1)
    seed: int = Field(default=0, ge=0)
    expected: Expected | None = None


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
    try:
        return _parsed(path.stem, path.read_text("utf-8"), text)
    except UnicodeDecodeError as error:
        raise ValueError(f"{text}: not a text in UTF-8 ({error.reason} at byte {error.start}).") from None


def _folder() -> Any:
    return files("bnn.studies").joinpath("recipes")


def _parsed(name: str, text: str, where: str) -> Recipe:
    try:
        return Recipe.model_validate({**tomllib.loads(text), "name": name})
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{where} is not TOML: {error}") from None
    except ValidationError as error:
        problem = error.errors()[0]
        field = ".".join(str(part) for part in problem["loc"])
        cause = problem.get("ctx", {}).get("error")  # of a check of ours
        text = cause.problem if isinstance(cause, ArgumentError) else f"{problem['msg']}, got {problem['input']!r}."
        raise ValueError(f"{where}: {field}: {text}") from None
