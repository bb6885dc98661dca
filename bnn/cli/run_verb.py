"""`mtj-bnn run`: train a recipe to its end, test it, and print its accuracies with the expected ones."""

import argparse
import sys
import warnings
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bnn.cli.shared_options import add_data_dir
from bnn.cli.typed import announce, checked_data_dir, fields_of, print_json, whole_numbers
from mtjsim.files import made_folder
from mtjsim.wording import number_of

if TYPE_CHECKING:
    from bnn.counting.accuracy import Accuracy
    from bnn.recipes.recipe import Recipe
    from bnn.training.result import Epoch

EXAMPLE = "mtj-bnn run digits_mlp --set training.epochs=3 --seed 4 --out digits_mlp"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    parser.set_defaults(verb=run)
    text = "name of a recipe, or a TOML file; without it the recipes are listed"
    parser.add_argument("recipe", nargs="?", metavar="RECIPE", help=text)
    text = "another value of a field, as in training.epochs=3 or memory.activations.current=50uA; may be repeated"
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help=text)
    add_data_dir(parser)
    text = "folder for table.csv, run.json, figure.png, model.npz ...; a run that was interrupted there is continued"
    parser.add_argument("--out", metavar="FOLDER", help=text)
    text = "seed of weights, order of the images and errors; default: the recipe's"
    parser.add_argument("--seed", metavar="SEED", help=text)
    text = (
        "threads of torch, on which the result depends; default: 1 below 1e9 products a batch, else torch's own number"
    )
    parser.add_argument("--threads", metavar="COUNT", help=text)
    text = "torch's name of what trains, as in cuda; default: cpu"
    parser.add_argument("--accelerator", metavar="NAME", default="cpu", help=text)


def run(options: argparse.Namespace) -> None:
    """Train a recipe to its end and test it once."""
    from bnn.recipes.recipe import list_recipes, load_recipe, title_of

    if options.recipe is None:
        titles = {name: title_of("bnn.recipes", name) for name in list_recipes()}
        if options.json:
            print_json(titles)
            return
        width = max(map(len, titles))
        print("\n".join(f"{name:{width}}  {title}" for name, title in titles.items()))
        return
    counts = whole_numbers(options, seed=0, threads=1)
    recipe = load_recipe(options.recipe).replaced(fields_of(options.set))
    checked_data_dir(recipe.value("data.name"), options.data_dir)
    place = nullcontext() if options.out is None else made_folder(Path(options.out), option="--out")
    with place, warnings.catch_warnings():
        from bnn.recipes.result import counted
        from bnn.recipes.run import run_recipe

        warnings.filterwarnings("ignore", "The training diverged")  # it is printed
        given = {"data_dir": options.data_dir, "out": options.out, "accelerator": options.accelerator}
        result = run_recipe(recipe, **given, **counts, on_epoch=_print_epoch)
    announce(*result.files)
    if result.already_finished:
        print("already finished, nothing trained", file=sys.stderr)
    if options.json:
        content = {
            "recipe": result.recipe.tables,
            "identity": result.recipe.identity,
            "history": [asdict(epoch) for epoch in result.history],
            "points": {name: point.as_dict() for name, point in result.points.items()},
            "tests": {name: counted(accuracy) for name, accuracy in result.tests.items()},
            "values": result.values(),
            "core_seconds": result.core_seconds,
            "threads": result.threads,
            "already_finished": result.already_finished,
            "files": [str(file) for file in result.files],
        }
        print_json(content)
        return
    print(f"{recipe.title}: seed {result.recipe.seed}, {number_of(len(result.history), 'epoch')}")
    for name, point in result.points.items():
        print(f"memory {name}: {point}")
    if result.ended is not None:
        print(f"ended before the last epoch: {getattr(result.ended, 'message', '') or result.ended}")
    width = max(map(len, result.tests), default=0)
    for name, accuracy in result.tests.items():
        print(_line(name, accuracy, recipe, width))
    threads = f"{result.threads} thread{'s' * (result.threads > 1)}"
    print(f"training: {result.core_seconds:.1f} core-seconds, {threads}")


def _print_epoch(epoch: "Epoch") -> None:
    print(
        f"epoch {epoch.epoch + 1}: loss {epoch.loss:.4f}, {epoch.train_accuracy:.2%} of the training images",
        file=sys.stderr,
    )


def _line(name: str, accuracy: "Accuracy", recipe: "Recipe", width: int) -> str:
    interval = "" if accuracy.low != accuracy.low else f", 95 % {accuracy.low:.2%} to {accuracy.high:.2%}"
    text = f"{name:<{width}} {accuracy.mean:8.2%}{interval}, {number_of(accuracy.images, 'image')}"
    text += f", {accuracy.draws} draws" if accuracy.draws > 1 else ""
    expected: Any = recipe.expected.get(name, ())
    if expected:
        text += f"; expected {min(expected):.2%} to {max(expected):.2%} over {number_of(len(expected), 'seed')}"
    return text
