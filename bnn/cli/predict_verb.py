"""`mtj-bnn predict`: a packed model scores images, with or without write errors."""

import argparse
import csv
import io
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from bnn.cli.shared_options import add_data_dir
from bnn.cli.typed import announce, checked_data_dir, checked_file, number, option_of, print_json, whole_numbers
from mtjsim.checks import ArgumentError
from mtjsim.files import write_whole
from mtjsim.wording import number_of

EXAMPLE = "mtj-bnn predict model.npz digits --errors 1e-3 --dies 100"
FILES = (".npy", ".npz")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    parser.set_defaults(verb=predict, option_of={"path": "MODEL", "name": "DATA"})
    parser.add_argument("model", metavar="MODEL", help="packed model, as bnn.pack(model).save(FILE) writes it")
    parser.add_argument(
        "data",
        metavar="DATA",
        help="data set, of which the test half is taken; or .npy of images; or .npz of images, and labels if there are",
    )
    add_data_dir(parser)
    rate = "error rate of writing {}: one rate, or those of a 0 and a 1 as in 1e-3,1e-2"
    for name, what in (("--errors", "activations"), ("--weight-errors", "binary weights, once a die")):
        parser.add_argument(name, metavar="RATE", help=rate.format(what))
    for name, default, metavar, text in (
        ("--dies", "36", "COUNT", "dies that the errors are drawn for"),
        ("--seed", "0", "SEED", "seed of the errors"),
        ("--workers", "1", "COUNT", "threads, each with a die at a time"),
    ):
        parser.add_argument(name, default=default, metavar=metavar, help=f"{text}; default {default}")
    parser.add_argument("--out", metavar="FILE", help="CSV to write the predictions to: image, predicted, label")


def predict(options: argparse.Namespace) -> None:
    """Predict the classes of images with a packed model; with labels, count the right ones."""
    counts = whole_numbers(options, dies=1, seed=0, workers=1)
    out = None if options.out is None else checked_file(options.out, (".csv",), option="--out")
    errors, weight_errors = (_rates(options, name) for name in ("errors", "weight_errors"))
    data = _data(options.data, options.data_dir)
    if data.labels is None and (errors or weight_errors):
        raise ArgumentError(
            "--errors" if errors else "--weight-errors",
            f"needs labels to count right answers, and {options.data!r} has none: give an .npz file with images and "
            "labels, or a data set.",
        )
    from bnn.packed.predictor import load_packed

    model = load_packed(options.model)
    logits = model.logits(data.scaled())
    predicted, classes = logits.argmax(axis=1), logits.shape[1]
    if data.labels is not None and not 0 <= data.labels.min() <= data.labels.max() < classes:
        raise ValueError(
            f"labels of {options.data!r} must be in 0 ... {classes - 1}, the classes of the model; got "
            f"{data.labels.min()} ... {data.labels.max()}. Take a model of these classes, or images alone."
        )
    facts: dict[str, Any] = {"model": options.model, "data": data.name, "images": len(predicted)}
    if data.labels is not None:
        facts["correct"] = int((predicted == data.labels).sum())
        facts["accuracy"] = facts["correct"] / len(predicted)
    if errors or weight_errors:
        counted = model.evaluate_dies(data, errors=errors, weight_errors=weight_errors, **counts)
        facts["with_errors"] = {
            "kind": "independent",
            "error_rates": None if errors is None else [errors.error_rate_0, errors.error_rate_1],
            "weight_error_rates": (
                None if weight_errors is None else [weight_errors.error_rate_0, weight_errors.error_rate_1]
            ),
            "seed": counts["seed"],
            "dies": counted.draws,
            "correct": counted.correct.tolist(),
            "accuracy": counted.mean,
            "low": None if math.isnan(counted.low) else counted.low,  # of one die with weight errors
            "high": None if math.isnan(counted.high) else counted.high,
        }
    if out is not None:
        write_whole(out, _table(predicted, data.labels))
        announce(out)
    if options.json:
        print_json({**facts, "predictions": predicted.tolist()})
    else:
        _print(facts, predicted)


def _rates(options: argparse.Namespace, name: str) -> Any:
    """Read one rate, or two, of writing a 0 and a 1."""
    text = getattr(options, name)
    if text is None:
        return None
    rates = [number(part, option_of(name)) for part in text.split(",")]
    if len(rates) > 2 or not all(0.0 <= rate <= 1.0 for rate in rates):
        rule = "must be one rate, or those of writing a 0 and a 1 as in 1e-3,1e-2, each in [0, 1]"
        raise ArgumentError(option_of(name), f"{rule}; got {text!r}.")
    return SimpleNamespace(error_rate_0=rates[0], error_rate_1=rates[-1])


def _data(name: str, directory: str | None) -> Any:
    """Return the test half of a data set, or what a file holds: labels (or None), scaled(), name."""
    if Path(name).suffix.lower() not in FILES:
        if Path(name).suffix or "/" in name:
            raise ArgumentError(
                "DATA", f"must be a data set's name or a file ending in {', '.join(FILES)}; got {name!r}."
            )
        from bnn.data.loading import load

        checked_data_dir(name, directory)
        return load(name, directory).test
    if directory is not None:
        raise ArgumentError("--data-dir", f"is for data sets, and must not be given with a file; got {directory!r}.")
    images, labels = _arrays(Path(name))
    if images.dtype.kind not in "fu" or (images.dtype.kind == "u" and images.dtype != np.uint8):
        raise ValueError(f"images of {name!r} must be floating point, or uint8 from 0 to 255; got {images.dtype}.")
    if labels is not None and (labels.shape != images.shape[:1] or labels.dtype.kind not in "iu"):
        raise ValueError(
            f"labels of {name!r} must be whole numbers, one for each of {len(images)} images; got {labels.dtype} of "
            f"shape {labels.shape}."
        )
    values = images.astype(np.float32)
    if images.dtype == np.uint8:
        values = (values - np.float32(127.5)) / np.float32(127.5)
    return SimpleNamespace(labels=labels, scaled=lambda: values, name=name)


def _arrays(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    """Read images, and labels if there are any."""
    if not path.is_file():
        raise FileNotFoundError(f"DATA {str(path)!r} does not exist, or is not a file.")
    from bnn.packed.files import read_arrays  # here, for it imports torch

    try:
        arrays = read_arrays(path)
    except ValueError as error:
        raise ValueError(f"DATA {str(path)!r} is not a whole .npy or .npz file of numbers ({error}).") from None
    if isinstance(arrays, np.ndarray):
        return arrays, None
    if "images" not in arrays or not set(arrays) <= {"images", "labels"}:
        raise ValueError(
            f"DATA {str(path)!r} must have the array images, and may have labels; got {', '.join(arrays) or 'none'}."
        )
    return arrays["images"], arrays.get("labels")


def _table(predicted: np.ndarray, labels: np.ndarray | None) -> bytes:
    """Return the predictions as CSV."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["image", "predicted"] + ["label"] * (labels is not None))
    columns = [range(len(predicted)), predicted.tolist()] + ([] if labels is None else [labels.tolist()])
    rows.writerows(zip(*columns, strict=True))
    return text.getvalue().encode()


def _print(facts: dict[str, Any], predicted: np.ndarray) -> None:
    """Print accuracies, or without labels the class of each image, one a line."""
    if "correct" not in facts:
        print("\n".join(map(str, predicted.tolist())))
        return
    print(f"{facts['data']}: {facts['correct']} of {facts['images']} right without errors, {facts['accuracy']:.4f}")
    if "with_errors" in facts:
        e = facts["with_errors"]
        which = [
            f"{what} {rates[0]:g} (write 0), {rates[1]:g} (write 1)"
            for what, rates in (("activations", e["error_rates"]), ("weights", e["weight_error_rates"]))
            if rates
        ]
        print(f"independent errors, {'; '.join(which)}:")
        interval = "no interval" if e["low"] is None else f"95 % {e['low']:.4f} to {e['high']:.4f}"
        dies = number_of(e["dies"], "die")
        print(f"  {e['accuracy']:.4f}, {interval}, {dies}, seed {e['seed']}")
