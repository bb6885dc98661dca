"""Run a recipe: solve its writes, train its network, test it, write the record."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tomli_w

from bnn.data.image_files import ImageFiles
from bnn.data.images import ImageSet
from bnn.recipes.memories import check_memories, check_process, mram_of, names_in_phase, phases_of, sram_of
from bnn.recipes.network import RecipeData, config_of, data_of, network_of, optimizer_of
from bnn.recipes.out_folder import DECLARED, RECORD, check_folder, held
from bnn.recipes.recipe import Recipe, load_recipe
from bnn.recipes.record import Record
from bnn.recipes.result import RecipeResult, counted
from bnn.recipes.tables import BITS
from bnn.recipes.tests import RecipeTest, images_of, in_test, memories_of, placed, run_test, tests_of
from bridge.ledger import Ledger
from mtjsim.checks import ArgumentError
from mtjsim.files import made_folder, write_whole
from mtjsim.rng import child_seed

if TYPE_CHECKING:
    from torch import nn

    from bnn.counting.accuracy import Accuracy
    from bnn.data.labelled import Labelled
    from bnn.training.config import TrainConfig
    from bnn.training.phases import MRAM, Phase
    from bnn.training.result import Epoch

RECIPE = DECLARED["run"]
FILES = ("table.csv", "figure.png", "model.npz")  # of a run, besides recipe, record and checkpoint
COUNTED = 1000  # inferences whose accesses are counted


def run_recipe(
    recipe: Recipe | str | os.PathLike[str],
    *,
    data_dir: str | os.PathLike[str] | None = None,
    out: str | os.PathLike[str] | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    seed: int | None = None,
    threads: int | None = None,
    accelerator: str = "cpu",
    progress: bool | None = None,
    on_epoch: Callable[[Epoch], None] | None = None,
) -> RecipeResult:
    """Train a recipe to its end, then run its tests, once.

    Parameters
    ----------
    recipe : Recipe, name or path
        As for `load_recipe`.
    data_dir : path, optional
        Where the data set's files are; as for `bnn.load`.
    out : path, optional
        Folder for `recipe.toml` (as it is run, written before the work), `checkpoint.pt`, and at the end `table.csv`,
        `figure.png`, `model.npz` (packed, if it can be) and `run.json`. A run that was ended there is continued, to the
        same bits; of one that is finished nothing is trained, and its files are left as they are. A run that is
        refused leaves no new folder. None: nothing is written.
    checkpoint : path, optional
        File in place of that in `out`.
    seed : int, optional
        In place of the recipe's own.
    threads : int, optional
        Of torch. Some sums depend on it, so another number gives another result within the spread of seeds. None: one
        below 1e9 products a batch, which is fastest and the same on every machine; else torch's own number.
    accelerator : str
        torch's name of what trains, "cuda" for example; not tried on one. The tests run on the CPU. Sums are in another
        order there, so that the result is another one, within the spread of seeds.
    progress, on_epoch : optional
        As for `bnn.TrainConfig` and `Trainer.fit`.

    Returns
    -------
    RecipeResult

    Raises
    ------
    ValueError
        Before any training: for a recipe that cannot be read, a field that does not exist, a setting that the junction
        or its cell does not allow, an unknown model or wrong arguments of it, a layer that it lacks, a model that does
        not fit the data, phases without a memory, or an `out` that holds another run, a study, a demo, or such files
        without a record of what made them.
    OSError
        If data are missing, or `out` cannot be written.

    Notes
    -----
    Nothing is chosen here on the test images. What chooses is the validation split, ``data.validation``.

    Examples
    --------
    >>> recipe = load_recipe("digits_mlp").replaced({"training.epochs": 2, "test": None})
    >>> result = run_recipe(recipe, seed=1)
    >>> len(result.history), list(result.tests), result.tests["error_free"].mean > 0.7
    (2, ['error_free', 'with_errors'], True)
    """
    recipe = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    recipe = recipe if seed is None else recipe.replaced({"seed": seed})
    given: dict[str, Any] = {"data_dir": data_dir, "checkpoint": checkpoint, "threads": threads}
    given |= {"accelerator": accelerator, "progress": progress, "on_epoch": on_epoch}
    if out is None:
        return _run(recipe, None, **given)
    with made_folder(Path(out), option="out"):
        _check_own(Path(out), recipe)
        return _run(recipe, Path(out), **given)


def _run(
    recipe: Recipe,
    folder: Path | None,
    *,
    data_dir: str | os.PathLike[str] | None,
    checkpoint: str | os.PathLike[str] | None,
    threads: int | None,
    accelerator: str,
    progress: bool | None,
    on_epoch: Callable[[Epoch], None] | None,
) -> RecipeResult:
    """Run a recipe in a folder that is its own, or in none."""
    prepared = Prepared.of(recipe, data_dir)
    if folder is not None:
        checkpoint = checkpoint or folder / "checkpoint.pt"
    import torch

    from bnn.recipes.threads import threads_for, torch_threads
    from bnn.training.loop import Trainer

    of_this_run = {"checkpoint": None if checkpoint is None else Path(checkpoint), "progress": progress}
    config = config_of(recipe, phases_of(recipe, prepared.mrams), **of_this_run)
    data, model = prepared.data, _moved(prepared.model, accelerator)
    threads = threads_for(config.batch_size * prepared.products) if threads is None else threads
    with torch_threads(threads):
        trainer = Trainer(model, config, optimizer_of(recipe))
        with nullcontext() if folder is None else _declared(folder, recipe, config.checkpoint):
            trained = trainer.fit(data.train, data.validation, on_epoch=on_epoch)
        trained.model.to("cpu", memory_format=torch.contiguous_format)  # type: ignore[call-overload]  # as packed bits need
        tests = {} if trained.diverged else prepared.tested(trained.model)
        inferences = {} if trained.diverged else prepared.inferred(trained.model)
    result = RecipeResult(
        recipe,
        trained.model,
        trained.history,
        {name: mram.point for name, mram in prepared.mrams.items()},
        tests,
        trained.ledger,
        trained.ledger_in_sram,
        inferences,
        ended=trained.stopped or trained.diverged,
        seconds=round(trained.seconds, 1),
        core_seconds=round(trained.core_seconds, 1),
        threads=trained.threads,
        already_finished=trained.steps == 0,
        files=(),
    )
    return result if folder is None else _kept(result, folder, data, trained.identity)


@dataclass(frozen=True)
class Prepared:
    """All of a run that can be checked before the training: data, network, memories with their points, tests."""

    recipe: Recipe
    data: RecipeData
    model: nn.Module
    products: int
    mrams: Mapping[str, MRAM]
    images: Mapping[str, ImageSet | ImageFiles]  # of each test

    @classmethod
    def of(cls, recipe: Recipe, data_dir: str | os.PathLike[str] | None = None) -> Prepared:
        """Load, build, solve and check; nothing is trained. ValueError and OSError as `run_recipe`."""
        data = data_of(recipe, data_dir)  # before torch, so that missing files are reported at once
        from bnn.layers.table import summary

        mrams, phases, tests = cls.declared(recipe)
        config = config_of(recipe, phases)
        _check_training(config, data)
        classes = len(data.whole.class_names)
        model = network_of(recipe, classes)
        shape = data.train.subset([0]).scaled().shape[1:]
        totals = summary(model, input_shape=shape).totals  # ValueError if they do not fit
        if totals.output_shape != (classes,):
            rule = f"must give a logit for each of the {classes} classes of {recipe.value('data.name')}"
            got = f"got {totals.output_shape} for an image"
            raise ArgumentError("model", f"{rule}, {got}. See its arguments.")
        from bnn.training.updates import made_optimizers

        check_memories(recipe, model, made_optimizers(model, config, optimizer_of(recipe)), mrams, phases)
        images = {test.name: images_of(recipe, test, data, data_dir) for test in tests}
        prepared = cls(recipe, data, model, totals.binary_macs + totals.float_macs, mrams, images)
        for test in tests:
            prepared._try(test)
        prepared.inferred(model, images=2)
        return prepared

    @staticmethod
    def declared(recipe: Recipe) -> tuple[dict[str, MRAM], tuple[Phase, ...], tuple[RecipeTest, ...]]:
        """Return memories with their points solved, phases and tests; ValueError for a declaration that is wrong."""
        names = [table["name"] for table in recipe.tables.get("memory", [])]
        mrams = {
            name: mram_of(recipe, name, seed=child_seed(recipe.seed, "recipe_memories", number))
            for number, name in enumerate(names)
        }
        phases, tests = phases_of(recipe, mrams), tests_of(recipe)
        config_of(recipe, phases)
        optimizer_of(recipe)
        check_process(recipe)
        for test in tests:
            try:
                memories_of(recipe, test)
            except ValueError as error:
                raise in_test(test, error, changes=True) from None
        return mrams, phases, tests

    def tested(self, model: nn.Module) -> dict[str, Accuracy]:
        """Run all tests of the trained network."""
        return {
            test.name: self._run(test, model, self.images[test.name], self.data.train) for test in tests_of(self.recipe)
        }

    def _run(self, test: RecipeTest, model: nn.Module, images: Labelled, train: ImageSet | ImageFiles) -> Accuracy:
        last = [name for name in names_in_phase(self.recipe, -1) if set(self.mrams[name].holds) <= set(BITS)]
        trained = {name: self.mrams[name] for name in last}
        return run_test(self.recipe, test, model, images, train=train, trained=trained)

    def _try(self, test: RecipeTest) -> None:
        """Run a test of the untrained network on two images, so that what it refuses is refused before the training."""
        images, once = self.images[test.name], replace(test, draws=1)
        two = images.subset([0, int(images.labels.argmax())])
        try:
            self._run(once, self.model, two, self.data.train.subset(range(min(2, len(self.data.train)))))
        except ValueError as error:
            raise in_test(test, error) from None

    def inferred(self, model: nn.Module, images: int = COUNTED) -> dict[str, tuple[Ledger, int]]:
        """Count the accesses of inferences in the memories of each test, on the first test images."""
        from bnn.training.accesses import inference_ledger

        recipe, first = self.recipe, self.data.whole.test.subset(range(min(images, len(self.data.whole.test))))
        last = [self.mrams[name] for name in names_in_phase(recipe, -1)]
        words = [mram for mram in last if not set(mram.holds) & set(BITS)]
        found = {}
        for test in tests_of(recipe):
            memory = (*memories_of(recipe, test).values(), *words)
            found[test.name] = inference_ledger(model, first, memory=memory, sram=sram_of(recipe)), len(first)
        return found


def _moved(model: nn.Module, accelerator: str) -> nn.Module:
    """Move a model to where it is trained; ArgumentError for a name that torch does not have here."""
    import torch

    try:
        torch.zeros(1, device=accelerator)
    except (RuntimeError, AssertionError) as error:  # torch's own, of an unknown name and of a missing one
        problem = str(error).partition("\n")[0]
        raise ArgumentError("accelerator", f"must be one that torch has here, got {accelerator!r}: {problem}") from None
    return model.to(accelerator)


def _check_training(config: TrainConfig, data: RecipeData) -> None:
    """ArgumentError for what the trainer would refuse, or find in its first step."""
    import torch

    from bnn.training.losses import made_loss

    for field, used in (("choose", config.choose == "best"), ("patience", config.patience is not None)):
        if used and data.validation is None:
            rule = "needs data.validation, a share of the training images, which chooses"
            raise ArgumentError(f"training.{field}", f"{rule}.")
    try:
        if config.augment is not None:
            config.augment.check_images("data", torch.from_numpy(data.train.subset([0]).scaled()))
        logits = torch.zeros(2, len(data.whole.class_names), requires_grad=True)
        made_loss(config.loss, label_smoothing=config.label_smoothing, margin=config.margin)(
            logits, torch.tensor([0, 1])
        )
    except ArgumentError as error:
        raise ArgumentError(f"training.{error.argument}", error.problem) from None
    except Exception as error:
        raise ArgumentError("training.loss", f"must take logits and labels, and raised {error!r}.") from None


def _check_own(folder: Path, recipe: Recipe) -> None:
    """ArgumentError for a folder that holds anything but a run of the same identity."""
    declared = folder / RECIPE
    if declared.exists():
        try:
            same = load_recipe(declared).identity == recipe.identity
        except (ValueError, OSError):
            same = False
        if not same:
            raise held(folder, "another run", RECIPE)
    check_folder(folder, "run", same=lambda record: record.get("identity") == recipe.identity, files=FILES)


@contextmanager
def _declared(folder: Path, recipe: Recipe, checkpoint: Path | None) -> Iterator[None]:
    """Write what is run; a training that ends by an error before its first checkpoint leaves no file."""
    declared = folder / RECIPE
    began = not declared.exists()
    if began:
        write_whole(declared, toml_of(recipe))
    try:
        yield
    except BaseException:
        if began and checkpoint is not None and not checkpoint.exists():
            declared.unlink()
        raise


def toml_of(recipe: Recipe) -> bytes:
    """Return a recipe as a file that `load_recipe` reads, without what is expected."""
    return tomli_w.dumps({name: table for name, table in recipe.tables.items() if name != "expected"}).encode()


def _kept(result: RecipeResult, folder: Path, data: RecipeData, identity: str | None) -> RecipeResult:
    """Write the files of a run, unless they were written when the training was finished; run.json is the last."""
    if result.already_finished and (folder / RECORD).exists():
        return result
    from bnn.recipes.plots import plot_recipe
    from mtjsim.plot_style import png_of

    packed, reason = packed_model(result.model)
    record = Record(
        title=result.recipe.title,
        identity=result.recipe.identity,
        seeds=result.recipe.seed,
        command=f"mtj-bnn run {RECIPE}",
        data=data.whole,
        contents={
            "recipe": json.loads(json.dumps(result.recipe.tables)),
            "points": {name: point.as_dict() for name, point in result.points.items()},
            "ended": None if result.ended is None else asdict(result.ended),
            "history": [asdict(epoch) for epoch in result.history],
            "tests": {name: counted(accuracy) for name, accuracy in result.tests.items()},
            "ledger": result.ledger.table(),
            "inferences": {name: {"images": n, "ledger": own.table()} for name, (own, n) in result.inferences.items()},
            "values": result.values(),
            "packed": reason or "model.npz",
            "threads": result.threads,
            "training_identity": identity,
        },
        tables={"table.csv": result.rows()},
        seconds=result.seconds,
        core_seconds=result.core_seconds,
    )
    files = [folder / RECIPE]
    if packed is None:
        (folder / "model.npz").unlink(missing_ok=True)  # of an older version, which could
    else:
        packed.save(folder / "model.npz")
        files.append(folder / "model.npz")
    write_whole(folder / "figure.png", png_of(plot_recipe(result)))
    files += [folder / "figure.png", *record.write(folder)]
    return replace(result, files=tuple(files))


def packed_model(model: nn.Module) -> tuple[Any, str]:
    """Return the packed model and "", or None and why it cannot be packed."""
    from bnn.packed.trace import pack

    try:
        with placed(model, {}):
            return pack(model), ""
    except ValueError as error:
        return None, f"not packed: {error}"
