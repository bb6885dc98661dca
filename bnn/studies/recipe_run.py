"""Run a recipe: train its network to the last epoch, evaluate once on the test images, write the record."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bnn.data.images import DataSet
from bnn.data.loading import load
from bnn.studies.recipe import Recipe, load_recipe
from bnn.studies.record import Record
from mtjsim.checks import ArgumentError, checked_choice
from mtjsim.files import require_writable, write_whole
from mtjsim.rng import Role, child_seed

if TYPE_CHECKING:
    from torch import nn

    from bnn.counting.accuracy import Accuracy
    from bnn.training.result import Epoch


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
    seconds, core_seconds : float
        Wall time and processor time of the training [s], of all parts if it was resumed.
    threads : int
        Of torch, in the training.
    already_finished : bool
        Whether the checkpoint was of the finished training, and nothing was trained now.
    files : tuple of Path
        The files written.
    """

    recipe: Recipe
    model: nn.Module
    history: tuple[Epoch, ...]
    error_free: Accuracy
    with_errors: Accuracy | None
    seconds: float
    core_seconds: float
    threads: int
    already_finished: bool
    files: tuple[Path, ...]


def run_recipe(
    recipe: Recipe | str | os.PathLike[str],
    *,
    data_dir: str | os.PathLike[str] | None = None,
    out: str | os.PathLike[str] | None = None,
    seed: int | None = None,
    threads: int | None = None,
    progress: bool | None = None,
    on_epoch: Callable[[Epoch], None] | None = None,
) -> RecipeResult:
    """Train a recipe to its last epoch, then evaluate on the test images, once.

    Parameters
    ----------
    recipe : Recipe, name or path
        As for `load_recipe`.
    data_dir : path, optional
        Where the data set's files are; as for `bnn.load`.
    out : path, optional
        Folder for `config.json` (the recipe as it is run, written before the work), `checkpoint.pt` and `result.json`.
        A run that was ended there is continued, to the same bits; of one that is finished nothing is trained, and its
        `result.json` is left as it is. None: nothing is written.
    seed : int, optional
        In place of the recipe's own.
    threads : int, optional
        Of torch. Some sums depend on it, so another number gives another result within the spread of seeds. None: one
        below 1e9 products a batch, which is fastest and the same on every machine; else torch's own number.
    progress, on_epoch : optional
        As for `bnn.TrainConfig` and `Trainer.fit`.

    Returns
    -------
    RecipeResult

    Raises
    ------
    ValueError
        For a recipe that cannot be read, an unknown model or wrong arguments of it, a model that does not fit the data,
        or an `out` that holds another run.
    OSError
        If data are missing, or `out` cannot be written.

    Notes
    -----
    All training images train. Nothing is chosen here, least of all on the test images: the recipe's numbers were chosen
    beforehand, on images held out from the training set.

    Examples
    --------
    >>> recipe = load_recipe("digits_mlp")
    >>> short = recipe.model_copy(update={"training": recipe.training.model_copy(update={"epochs": 2}), "draws": 2})
    >>> result = run_recipe(short, seed=1)
    >>> len(result.history), result.error_free.images, result.with_errors.draws, result.error_free.mean > 0.7
    (2, 599, 2, True)
    """
    recipe = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    recipe = Recipe.model_validate({**recipe.model_dump(), **({} if seed is None else {"seed": seed})})
    folder = None if out is None else _prepared(Path(out), recipe)
    data = load(recipe.data, data_dir)  # before torch, so that missing files are reported at once
    from bnn.evaluation.accuracy import evaluate
    from bnn.layers.table import summary
    from bnn.studies.threads import threads_for, torch_threads
    from bnn.training.config import TrainConfig
    from bnn.training.loop import Trainer

    model = built(recipe)
    totals = summary(model, input_shape=data.test.images.shape[1:]).totals  # ValueError if they do not fit
    if (logits := totals.output_shape) != (len(data.class_names),):
        rule = f"must give a logit for each of the {len(data.class_names)} classes of {recipe.data}, got {logits}"
        raise ArgumentError("model", f"{recipe.model} of recipe {recipe.name} {rule} for an image. See its arguments.")
    settings = recipe.training.model_dump(exclude={"channels_last"})
    if threads is None:
        threads = threads_for(recipe.training.batch_size * (totals.binary_macs + totals.float_macs))
    checkpoint = None if folder is None else folder / "checkpoint.pt"
    config = TrainConfig(**settings, seed=child_seed(recipe.seed, "training"), checkpoint=checkpoint, progress=progress)
    with torch_threads(threads):
        trained = Trainer(model, config).fit(data.train, on_epoch=on_epoch)
        error_free = evaluate(model, data.test)
        with_errors = None
        if recipe.activation_errors is not None or recipe.weight_errors is not None:
            as_trained: dict[str, Any] = {"errors": "as_trained", "weight_errors": "as_trained"}
            seed = child_seed(recipe.seed, "test")
            with_errors = evaluate(model, data.test, **as_trained, draws=recipe.draws, seed=seed)
    result = RecipeResult(
        recipe,
        trained.model,
        trained.history,
        error_free,
        with_errors,
        seconds=round(trained.seconds, 1),
        core_seconds=round(trained.core_seconds, 1),
        threads=trained.threads,
        already_finished=trained.steps == 0,
        files=(),
    )
    return result if folder is None else _kept(result, folder, data, trained.identity)


def built(recipe: Recipe) -> nn.Module:
    """Return the untrained network of a recipe, with memories in its slots.

    Raises
    ------
    ValueError
        For an unknown model, arguments that it does not take, or errors without a slot in the model.
    """
    import torch

    from bnn import models
    from bnn.errors.write_errors import WriteErrors
    from bnn.layers.slots import activation_memories, weight_memories

    known = {name: getattr(models, name) for name in models.__all__ if name != "MakeMemory"}
    checked_choice("model", recipe.model, known)
    try:
        model = known[recipe.model](**recipe.arguments, seed=child_seed(recipe.seed, "initial_weights"))
    except TypeError as error:
        raise ArgumentError("arguments", f"of {recipe.model} are wrong in recipe {recipe.name} ({error}).") from None
    slots: tuple[tuple[Role, str, Any, Any], ...] = (
        ("activation_errors", "activation", recipe.activation_errors, activation_memories(model)),
        ("weight_errors", "weight", recipe.weight_errors, weight_memories(model)),
    )
    for role, kind, rates, layers in slots:
        if rates is not None and not layers:
            raise ArgumentError(role, f"of recipe {recipe.name} must be left out: {recipe.model} has no slot for them.")
        for index, layer in enumerate(layers.values()):
            if rates is not None:
                memory = WriteErrors(**rates.model_dump(), seed=child_seed(recipe.seed, role, index), layer=index)
                layer.register_module(f"{kind}_memory", memory)
    return model.to(memory_format=torch.channels_last) if recipe.training.channels_last else model


def _prepared(folder: Path, recipe: Recipe) -> Path:
    """Make the folder and write the frozen config into it; refuse one with the config of another run."""
    require_writable(folder, option="out", make=True)
    config = folder / "config.json"
    text = json.dumps(recipe.model_dump(mode="json", exclude={"expected"}), indent=1) + "\n"
    if not config.exists():
        write_whole(config, text.encode())
    elif config.read_text("utf-8") != text:
        raise ArgumentError("out", f"{str(folder)!r} holds another run, see its config.json. Name another folder.")
    return folder


def _kept(result: RecipeResult, folder: Path, data: DataSet, identity: str | None) -> RecipeResult:
    """Write result.json, unless it was written when the training was finished."""
    if result.already_finished and (folder / "result.json").exists():
        return result
    tests = {"error_free": result.error_free, "with_errors": result.with_errors}
    record = Record(
        title=result.recipe.title,
        seeds=result.recipe.seed,
        data=data,
        contents={
            "recipe": result.recipe.model_dump(mode="json"),
            "history": [asdict(epoch) for epoch in result.history],
            "test": {name: counted(accuracy) for name, accuracy in tests.items() if accuracy is not None},
            "threads": result.threads,
            "training_identity": identity,
        },
        seconds=result.seconds,
        core_seconds=result.core_seconds,
    )
    record.write(folder, "result.json")
    return replace(result, files=tuple(folder / name for name in ("config.json", "checkpoint.pt", "result.json")))


def counted(accuracy: Accuracy) -> dict[str, Any]:
    """Return an accuracy as counts, with its interval; an end that is NaN becomes None."""
    ends = [None if end != end else end for end in (accuracy.low, accuracy.high)]
    return {
        "mean": accuracy.mean,
        "low": ends[0],
        "high": ends[1],
        "images": accuracy.images,
        "draws": accuracy.draws,
        "correct": accuracy.correct.tolist(),
    }
