"""`mtj-bnn run`: train a recipe to its last epoch, and print its accuracy with the expected one."""

import argparse
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bnn.cli.shared_options import add_data_dir
from bnn.cli.typed import announce, checked_data_dir, print_json, whole_numbers
from bnn.studies.recipe import Recipe, list_recipes, load_recipe
from bnn.studies.recipe_run import counted, run_recipe
from mtjsim.files import require_writable
from mtjsim.wording import number_of

if TYPE_CHECKING:
    from bnn.counting.accuracy import Accuracy
    from bnn.training.loop import Epoch

EXAMPLE = "mtj-bnn run digits_mlp --out digits_mlp"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    parser.set_defaults(verb=run)
    parser.add_argument(
        "recipe",
        nargs="?",
        metavar="RECIPE",
        help="name of a recipe, or a TOML file; without it the recipes are listed",
    )
    add_data_dir(parser)
    parser.add_argument(
        "--out",
        metavar="FOLDER",
        help="folder for config.json, checkpoint.pt, result.json; a run that was interrupted there is continued",
    )
    text = "seed of weights, order of the images and errors; default: the recipe's"
    parser.add_argument("--seed", metavar="SEED", help=text)
    text = (
        "threads of torch, on which the result depends; default: 1 below 1e9 products a batch, else torch's own number"
    )
    parser.add_argument("--threads", metavar="COUNT", help=text)


def run(options: argparse.Namespace) -> None:
    """Train a recipe to its last epoch and test it once."""
    if options.recipe is None:
        _list(options)
        return
    counts = whole_numbers(options, seed=0, threads=1)
    recipe = load_recipe(options.recipe)
    checked_data_dir(recipe.data, options.data_dir)
    if options.out is not None:
        require_writable(Path(options.out), option="--out", make=True)
    result = run_recipe(recipe, data_dir=options.data_dir, out=options.out, **counts, on_epoch=_print_epoch)
    announce(*result.files)
    if result.already_finished:
        print("already finished, nothing trained", file=sys.stderr)
    tests = {"error_free": result.error_free, "with_errors": result.with_errors}
    if options.json:
        content = {
            "recipe": result.recipe.model_dump(mode="json"),
            "history": [asdict(epoch) for epoch in result.history],
            "test": {name: counted(accuracy) for name, accuracy in tests.items() if accuracy is not None},
            "core_seconds": result.core_seconds,
            "threads": result.threads,
            "already_finished": result.already_finished,
            "files": [str(file) for file in result.files],
        }
        print_json(content)
        return
    print(
        f"{recipe.title}: seed {result.recipe.seed}, epoch {len(result.history)} of {recipe.training.epochs}, the last"
    )
    for name, accuracy in tests.items():
        if accuracy is not None:
            print(_line(name, accuracy, recipe))
    threads = f"{result.threads} thread{'s' * (result.threads > 1)}"
    print(f"training      {result.core_seconds:8.1f} core-seconds, {threads}")


def _list(options: argparse.Namespace) -> None:
    titles = {name: load_recipe(name).title for name in list_recipes()}
    if options.json:
        print_json(titles)
        return
    width = max(map(len, titles))
    for name, title in titles.items():
        print(f"{name:{width}}  {title}")


def _print_epoch(epoch: "Epoch") -> None:
    print(
        f"epoch {epoch.epoch + 1}: loss {epoch.loss:.4f}, {epoch.train_accuracy:.2%} of the training images",
        file=sys.stderr,
    )


def _line(name: str, accuracy: "Accuracy", recipe: Recipe) -> str:
    interval = "" if accuracy.low != accuracy.low else f", 95 % {accuracy.low:.2%} to {accuracy.high:.2%}"
    text = f"{name.replace('_', ' '):<13} {accuracy.mean:8.2%}{interval}, {number_of(accuracy.images, 'test image')}"
    text += f", {accuracy.draws} draws" if accuracy.draws > 1 else ""
    expected: Any = getattr(recipe.expected, name, ())
    if expected:
        text += f"; expected {min(expected):.2%} to {max(expected):.2%} over {number_of(len(expected), 'seed')}"
    return text
