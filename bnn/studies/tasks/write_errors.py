"""Write errors are not bit flips: overwrite errors against independent errors, at equal and at equal effective rate.

A cell that holds its bit already cannot be written wrong, so that a memory that is written over and over has fewer
wrong bits than its write error rate says. Three ways at one write error rate:

overwrite             a failed write leaves the bit that the cell held
equal rate            independent errors of the same rate: each bit is wrong with it
equal effective rate  independent errors of the share of wrong bits that the overwrite errors had

where
activations   of LeNet-4, in training and in the test (recipe activation_writes); image after image in the same cells
words         fp32 weights of an MLP, in training (recipe two_phase); iteration after iteration. A number
              beyond +-4 reads as zero: without that independent errors end the training
stored        binary weights of an MLP (recipe weight_storage), written once over random bits, read ever after
"""

import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from bnn.errors.overwrite import OverwriteErrors
from bnn.evaluation.accuracy import evaluate
from bnn.layers.slots import weight_memories
from bnn.recipes.recipe import Recipe, load_recipe
from bnn.recipes.result import DIVERGED, PULSE
from bnn.recipes.run import Prepared, run_recipe
from bridge.ledger import Ledger
from mtjsim.checks import checked_choice
from mtjsim.rng import generator

WAYS = ("overwrite", "equal rate", "equal effective rate")
WHERE = ("activations", "words", "stored")


def write_errors(
    *,
    where: str,
    error_rate: float,
    data: str = "mnist",
    train_images: int | None = None,
    epochs: int = 2,
    draws: int = 4,
    seed: int = 0,
    data_dir: str | os.PathLike[str] | None = None,
) -> dict[str, Any]:
    """Return the accuracies of the three ways, and the effective rate.

    Parameters
    ----------
    where : {"activations", "words", "stored"}
    error_rate : float
        Of a write of a cell that holds the other bit.
    data : str
    train_images : int, optional
        None: all.
    epochs, draws : int
        Of each training, and of the tests with errors.
    seed : int
    data_dir : path

    Returns
    -------
    dict
        "WAY.accuracy" of each way, "effective_rate", and where a test can leave the errors out "clean.accuracy", of the
        network that was trained with overwrite errors (of stored weights: without errors). A training that diverged has
        no accuracy, and "WAY.diverged" is 1.
    """
    checked_choice("where", where, WHERE)
    fields = {"data.name": data, "data.train_images": train_images, "training.epochs": epochs, "seed": seed}
    ways = _stored if where == "stored" else _trained
    return dict(ways(where, error_rate, fields, draws, data_dir))


def _trained(where: str, rate: float, fields: dict[str, Any], draws: int, data_dir: Any) -> Iterator[tuple[str, Any]]:
    """Yield the values of trainings in the memory itself."""
    if where == "activations":
        memory, recipe = "activations", load_recipe("activation_writes")
        tests = [{"name": "clean", "memory": []}, {"name": "own", "draws": draws}]
    else:
        memory, recipe = "words", load_recipe("two_phase")
        tests = [{"name": "own", "memory": []}]  # with what the training left in the words
    recipe = recipe.replaced({**fields, "test": tests, "phase": [{"memory": [memory]}]})
    if where == "words":
        recipe = recipe.replaced({"memory.words.protection": {"name": "range", "limit": 4.0}})
    effective = rate
    for way in WAYS:
        errors, own = ("overwrite", rate) if way == "overwrite" else ("independent", rate)
        own = effective if way == "equal effective rate" else own
        changes = {f"memory.{memory}.errors": errors, f"memory.{memory}.error_rate": own}
        result = run_recipe(recipe.replaced(changes), data_dir=data_dir, threads=1, progress=False)
        values = result.values()
        yield f"{way}.diverged", values[DIVERGED]
        if not values[DIVERGED]:
            yield f"{way}.accuracy", values["own.accuracy"]
        if way == "overwrite":
            effective = rate * share_turned(result.ledger)
            yield "effective_rate", effective
            if "clean.accuracy" in values:
                yield "clean.accuracy", values["clean.accuracy"]


def share_turned(ledger: Ledger) -> float:
    """Return the share of the written cells that held the other bit.

    Examples
    --------
    >>> from bridge.ledger import Entry
    >>> share_turned(Ledger([Entry(memory="a", event="write 1 turned", count=1),
    ...                      Entry(memory="a", event="write 0 held", count=3)]))
    0.25
    """
    counts = {"turned": 0.0, "held": 0.0}
    for entry in ledger:
        if found := PULSE.fullmatch(entry.event):
            counts[found[1]] += entry.count
    return counts["turned"] / sum(counts.values())


def _stored(where: str, rate: float, fields: dict[str, Any], draws: int, data_dir: Any) -> Iterator[tuple[str, Any]]:
    """Yield the values of weights that are written once, over random bits: half of the cells hold their bit already."""
    recipe = load_recipe("weight_storage").replaced({**fields, "test": [{"name": "clean", "memory": []}]})
    result = run_recipe(recipe, data_dir=data_dir, threads=1, progress=False)
    images = _test_images(recipe, data_dir)
    alike: dict[str, Any] = {"error_rate_0": rate, "error_rate_1": rate, "seed": 0}
    former, turned = {}, []
    for number, (name, layer) in enumerate(weight_memories(result.model).items()):
        bits = 2.0 * generator(recipe.seed, "study", 2, number).integers(0, 2, tuple(layer.weight.shape)) - 1.0
        former[name] = OverwriteErrors(**alike, slots=None, initial=torch.from_numpy(bits))
        turned.append((bits != np.where(layer.weight.detach().numpy() >= 0, 1.0, -1.0)).ravel())
    effective = rate * float(np.concatenate(turned).mean())
    yield "effective_rate", effective
    yield "clean.accuracy", result.values()["clean.accuracy"]
    ways: tuple[Any, ...] = (former, (rate, rate), (effective, effective))
    for way, errors in zip(WAYS, ways, strict=True):
        own = evaluate(result.model, images, weight_errors=errors, draws=draws, seed=recipe.seed)
        yield f"{way}.diverged", 0
        yield f"{way}.accuracy", own.mean


def _test_images(recipe: Recipe, data_dir: Any) -> Any:
    return Prepared.of(recipe, data_dir).images["clean"]
