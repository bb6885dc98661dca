"""Tests of a trained recipe: accuracy without errors, corrected, with errors, on dies, at other rates, on other data.

A [[test]] has

    name      "test_0", "test_1" ... unless given
    memory    names of memories of bits that are in use: a list, or a table of names, each with fields of its [[memory]]
              that differ; a field that says how it is written replaces all of these. A list of values in such a field
              gives a row for each. Unless given: the memories of bits of the last phase
    correct   "none", "rescale" (`bnn.rescale_batch_norm`) or "reestimate" (`bnn.reestimate_batch_norm`): BatchNorm is
              moved from the errors of the last phase to those of the test
    correct_images, correct_draws
              of "reestimate": training images, 2,000 unless given, and draws of errors, 4 unless given
    draws     error draws; 10 unless given
    dies      in place of draws: dies of [process], one a draw
    images    "test", or "validation" for what chooses something
    data      another data set, whose images are tested

Without any [[test]] there are `error_free`, and `with_errors` if the last phase has memories of bits.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING, Any

from bnn.recipes.memories import check_layers_of, mram_of, names_in_phase, process_of
from bnn.recipes.recipe import Recipe
from bnn.recipes.tables import BITS
from mtjsim.checks import ArgumentError, checked_choice
from mtjsim.rng import child_seed

if TYPE_CHECKING:
    from torch import nn

    from bnn.counting.accuracy import Accuracy
    from bnn.data.image_files import ImageFiles
    from bnn.data.images import ImageSet
    from bnn.recipes.network import RecipeData
    from bnn.training.phases import MRAM

DRAWS = 10
GATHERED, PASSES = 2_000, 4  # training images, and draws of errors, of a re-estimation
COPIED = ("correct", "correct_images", "correct_draws", "images", "data")  # from a [[test]] to a `RecipeTest`


@dataclass(frozen=True)
class RecipeTest:
    """A test of a trained network.

    Attributes
    ----------
    name : str
    memory : mapping
        Name of each memory of bits that is in use -> its fields that differ.
    correct : {"none", "rescale", "reestimate"}
    correct_images, correct_draws : int
        Training images and draws of errors of a re-estimation.
    draws : int
    dies : bool
        Whether each draw is another die of the process.
    images : {"test", "validation"}
    data : str
        Another data set, or "".
    """

    name: str
    memory: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    correct: str = "none"
    correct_images: int = GATHERED
    correct_draws: int = PASSES
    draws: int = DRAWS
    dies: bool = False
    images: str = "test"
    data: str = ""


def tests_of(recipe: Recipe) -> tuple[RecipeTest, ...]:
    """Return the tests of a recipe: a test with lists of values gives one for each combination.

    Raises
    ------
    ValueError
        For a memory that is not in the recipe or holds words, dies without a [process], validation images without a
        validation split.
    """
    blocks = {table["name"]: table for table in recipe.tables.get("memory", [])}
    last = [name for name in names_in_phase(recipe, -1) if set(blocks[name]["holds"]) <= set(BITS)]
    tables = recipe.tables.get("test")
    if tables is None:
        tables = [{"name": "error_free", "memory": {}}]
        tables += [{"name": "with_errors", "memory": {name: {} for name in last}}] if last else []
    found: list[RecipeTest] = []
    for table in tables:
        where = f"test.{table['name']}"
        memory = table.get("memory", {name: {} for name in last})
        for name in memory:
            checked_choice(f"{where}.memory", name, blocks)
            if words := set(blocks[name]["holds"]) - set(BITS):
                rule = f"must be of memories of bits, and {name} holds {', '.join(sorted(words))}"
                raise ArgumentError(f"{where}.memory", f"{rule}: a test runs with what the training left in them.")
        if "dies" in table and not recipe.tables.get("process"):
            raise ArgumentError(f"{where}.dies", "needs a [process]: faults or a spread, in which dies differ.")
        if table.get("images") == "validation" and "validation" not in recipe.tables["data"]:
            raise ArgumentError(
                f"{where}.images", "of validation need data.validation, a share of the training images."
            )
        found += _expanded(table, memory)
    names = [test.name for test in found]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ArgumentError("test", f"must have different names, got {twice[0]!r} twice.")
    return tuple(found)


def _expanded(table: Mapping[str, Any], memory: Mapping[str, Mapping[str, Any]]) -> Iterator[RecipeTest]:
    """Yield a test for each combination of the values in lists; `holds` and `layers` are lists themselves."""
    lists = [
        (name, key, value)
        for name, changes in memory.items()
        for key, value in changes.items()
        if isinstance(value, list) and key not in ("holds", "layers")
    ]
    fixed = {key: table[key] for key in COPIED if key in table}
    fixed |= {"draws": table.get("dies", table.get("draws", DRAWS)), "dies": "dies" in table}
    for values in product(*(values for _, _, values in lists)):
        own = {name: dict(changes) for name, changes in memory.items()}
        labels = [table["name"]]
        for (name, key, _), value in zip(lists, values, strict=True):
            own[name][key] = value
            labels.append(f"{key}={value:g}" if isinstance(value, (int, float)) else f"{key}={value}")
        yield RecipeTest(name=" ".join(labels), memory=own, **fixed)


def images_of(
    recipe: Recipe, test: RecipeTest, data: RecipeData, data_dir: str | os.PathLike[str] | None
) -> ImageSet | ImageFiles:
    """Return the images of a test; `data` are those of the recipe."""
    from bnn.recipes.network import data_of

    other = data_of(recipe, data_dir, name=test.data) if test.data else data
    images = other.validation if test.images == "validation" else other.whole.test
    assert images is not None, "checked by tests_of"
    return images


def memories_of(recipe: Recipe, test: RecipeTest) -> dict[str, MRAM]:
    """Return the declarations of a test's memories; errors are drawn anew in each test, by the same keys."""
    seed = child_seed(recipe.seed, "test")
    return {name: mram_of(recipe, name, seed=seed, changes=changes) for name, changes in test.memory.items()}


def in_test(test: RecipeTest, error: ValueError, *, changes: bool = False) -> ValueError:
    """Return an error of a test by its place in the recipe: a field of the test, a field of a memory, or the test.

    `changes` says that the error is of what the test changes in its memories, which were right without it.

    Examples
    --------
    >>> test = RecipeTest("dies", {"weights": {"errors": "x"}})
    >>> for field in ("errors", "layers"):
    ...     print(in_test(test, ArgumentError(f"memory.weights.{field}", "must be others.")))
    test.dies.memory.weights.errors must be others.
    memory.weights.layers must be others. See test.dies.
    >>> print(in_test(test, ArgumentError("images", "must be others.")))
    test.dies: images must be others.
    """
    if not isinstance(error, ArgumentError) or not error.argument.startswith("memory."):
        return ValueError(f"test.{test.name}: {error}")
    name, _, field = error.argument.removeprefix("memory.").partition(".")
    if changes or field in test.memory.get(name, {}):
        return ArgumentError(f"test.{test.name}.{error.argument}", error.problem)
    return ArgumentError(error.argument, f"{error.problem} See test.{test.name}.")


def run_test(
    recipe: Recipe, test: RecipeTest, model: nn.Module, images: Any, *, train: Any, trained: Mapping[str, MRAM]
) -> Accuracy:
    """Evaluate a trained network.

    Parameters
    ----------
    recipe : Recipe
    test : RecipeTest
        One of `tests_of`.
    model : Module
        Left as it is. The memories in its slots do not matter.
    images : ImageSet
        Of the test.
    train : ImageSet
        For a re-estimation.
    trained : mapping of str to MRAM
        The memories of bits of the last phase, for a correction.

    Returns
    -------
    Accuracy
    """
    from bnn.evaluation.accuracy import evaluate

    seed, mrams = child_seed(recipe.seed, "test"), memories_of(recipe, test)
    in_use: dict[str, Any] = {"errors": "as_trained", "weight_errors": "as_trained"}
    if test.correct != "none":
        model = _corrected(model, test, trained, mrams, train=train, seed=child_seed(recipe.seed, "test", 1))
    with placed(model, mrams):
        if not test.dies:
            return evaluate(model, images, **in_use, draws=test.draws, seed=seed)
    name, mram = _only(f"test.{test.name}.dies", mrams)
    process = process_of(recipe, name, mram.point)
    if mram.words.errors != "independent":
        raise ArgumentError(f"memory.{name}.errors", 'must be "independent" for a test on dies.')
    errors: dict[str, Any] = {"errors" if mram.holds == ("activations",) else "weight_errors": mram.point}
    return evaluate(model, images, **errors, process=process, draws=test.draws, seed=seed)


@contextmanager
def placed(model: nn.Module, mrams: Mapping[str, MRAM]) -> Iterator[None]:
    """Put memories of bits into the slots of a model, to the end of the block; the other slots are empty."""
    from bnn.layers.slots import activation_memories, memories, weight_memories
    from bnn.training.phase_memories import memory_in_slot
    from bnn.training.phases import IN_SLOTS

    check_layers_of(model, mrams)
    slots_of = {"activations": activation_memories, "signs": weight_memories}
    for name, mram in mrams.items():
        if not any(mram.covers(layer) for what in mram.holds for layer in slots_of[what](model)):
            rule = f"must be of a layer of the model, which has no {' and no '.join(mram.holds)} that are bits"
            raise ArgumentError(f"memory.{name}.holds", f"{rule}.")
    with ExitStack() as slots:
        for what, slot in IN_SLOTS.items():

            def make(name: str, index: int, what: str = what) -> Any:
                own = (mram for mram in mrams.values() if what in mram.holds and mram.covers(name))
                mram = next(own, None)
                return None if mram is None else memory_in_slot(mram, what, index)

            slots.enter_context(memories(model, make, slot=slot))
        yield


def _corrected(
    model: nn.Module,
    test: RecipeTest,
    trained: Mapping[str, MRAM],
    mrams: Mapping[str, MRAM],
    *,
    train: Any,
    seed: int,
) -> nn.Module:
    """Return a copy with BatchNorm for the errors of the test."""
    from bnn.evaluation.batch_norm import reestimate_batch_norm, rescale_batch_norm

    if test.correct == "rescale":
        run_at = _by_kind(mrams)
        with placed(model, trained):
            moved = rescale_batch_norm(model, run_at=run_at)
        if run_at is not None:
            return moved
        with placed(moved, mrams):  # layers differ: from no errors to those of each
            return rescale_batch_norm(moved, trained_at=None, run_at="as_trained")
    with placed(model, mrams):
        some = train.subset(range(min(test.correct_images, len(train))))
        return reestimate_batch_norm(model, some, draws=test.correct_draws if mrams else 1, seed=seed)


def _by_kind(mrams: Mapping[str, MRAM]) -> dict[str, Any] | None:
    """Return the rates of each kind of bits, for a correction in closed form; None where layers differ."""
    found: dict[str, Any] = {}
    for what, kind in (("activations", "activations"), ("signs", "weights")):
        points = {mram.point for mram in mrams.values() if what in mram.holds}
        if len(points) > 1 or any(mram.layers for mram in mrams.values() if what in mram.holds):
            return None
        if points:
            found[kind] = points.pop()
    return found


def _only(where: str, mrams: Mapping[str, MRAM]) -> tuple[str, MRAM]:
    if len(mrams) != 1 or len(next(iter(mrams.values())).holds) != 1 or next(iter(mrams.values())).layers:
        got = ", ".join(mrams) or "none"
        raise ArgumentError(where, f"must be of one memory of one kind of bits, of all layers, got {got}.")
    return next(iter(mrams.items()))
