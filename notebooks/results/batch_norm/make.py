"""BatchNorm away from the error rate it was trained at: plain, rescaled in closed form, re-estimated from data.

python notebooks/results/batch_norm/make.py MNIST_FOLDER   # writes table.csv, run.json and figure.png here

Networks are trained on MNIST with errors of one kind, in all binary weights (new draws in every step) or in all binary
activations, and run with errors of the same kind at another rate. Errors are independent and equal for both bits.

plain         as trained
rescaled      bnn.rescale_batch_norm, no data
re-estimated  bnn.reestimate_batch_norm at the rate it is run with, training images
"""

import sys
from functools import cache
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import matplotlib
import numpy as np
import torch

matplotlib.use("Agg")
import matplotlib.pyplot as plt

import bnn
from bnn.errors.write_errors import WriteErrors
from bnn.layers.slots import activation_memories, weight_memories
from bnn.models import lenet4, mlp
from bnn.recipes.record import Clock, Record, csv_of
from mtjsim.files import write_whole
from mtjsim.plot_style import BLACK, BLUE, RED, include, png_of, sideways

HERE = Path(__file__).parent
KINDS = ("weights", "activations")
TRAINED, RUN = (0.0, 0.01, 0.05, 0.1), (0.0, 0.01, 0.05, 0.1, 0.2)
METHODS = ("plain", "rescaled", "re-estimated")
HIDDEN = (256, 256)
NETS: dict[str, dict[str, Any]] = {  # name -> how it is built and trained, and the rows that are wanted of it
    "mlp, binary": {
        "build": lambda seed: mlp(784, HIDDEN, seed=seed, first="binary", last="binary"),
        "training": {"epochs": 3, "batch_size": 128, "learning_rate": 0.003},
        "seeds": (0, 1),
        "kinds": KINDS,
        "trained": TRAINED,
        "run": RUN,
    },
    "mlp, first layer real": {
        "build": lambda seed: mlp(784, HIDDEN, seed=seed, first="real", last="binary"),
        "training": {"epochs": 3, "batch_size": 128, "learning_rate": 0.003},
        "seeds": (0,),
        "kinds": KINDS,
        "trained": (0.1,),
        "run": (0.0, 0.1),
    },
    "lenet4": {
        "build": lambda seed: lenet4(seed=seed).to(memory_format=torch.channels_last),
        "training": {"epochs": 1, "batch_size": 128, "learning_rate": 0.003, "schedule": "cosine"},
        "seeds": (0,),
        "kinds": ("weights",),
        "trained": (0.1,),
        "run": (0.0, 0.1),
    },
}
DRAWS, PASSES, GATHERED = 4, 20, 2_000  # of each test; of each re-estimation; its images
COLUMNS = ["net", "kind", "trained_rate", "run_rate", "method", "seed", "accuracy", "low", "high", "images", "draws"]


@cache
def trained_net(net: str, kind: str, rate: float, seed: int, train):
    """Return a network that was trained with errors of one kind, its memories taken out again."""
    choice = NETS[net]
    model = choice["build"](seed)
    slot, find = {
        "weights": ("weight_memory", weight_memories),
        "activations": ("activation_memory", activation_memories),
    }[kind]
    layers = list(find(model).values()) if rate else []
    for index, layer in enumerate(layers):
        memory = WriteErrors(error_rate_0=rate, error_rate_1=rate, seed=1000 + seed, layer=index)
        layer.register_module(slot, memory)
    config = bnn.TrainConfig(**choice["training"], seed=seed, progress=False, on_divergence="raise")
    model = bnn.Trainer(model, config).fit(train).model
    for layer in layers:
        layer.register_module(slot, None)
    return model


def rows_of(net: str, kind: str, rate: float, seed: int, data, gathered):
    """Run one trained network at every rate, in the three ways."""
    model = trained_net(net, kind if rate else KINDS[0], rate, seed, data.train)
    argument = {"weights": "weight_errors", "activations": "errors"}[kind]
    for run_rate in NETS[net]["run"]:
        was, now = (SimpleNamespace(error_rate_0=p, error_rate_1=p) for p in (rate, run_rate))
        errors = {argument: now if run_rate else None}
        none = {"errors": None, "weight_errors": None}
        models = {
            "plain": model,
            "rescaled": bnn.rescale_batch_norm(model, trained_at={kind: was}, run_at={kind: now}),
            "re-estimated": bnn.reestimate_batch_norm(model, gathered, **(none | errors), draws=PASSES, seed=seed + 1),
        }
        for method in METHODS:
            result = bnn.evaluate(models[method], data.test, **errors, draws=DRAWS, seed=seed)
            numbers = [result.mean, result.low, result.high]
            row = [net, kind, rate, run_rate, method, seed, *(round(x, 6) for x in numbers)]
            yield dict(zip(COLUMNS, [*row, result.images, result.draws], strict=True))


def draw(rows):
    """One panel for each kind of errors and rate of the training; mean and range over seeds."""
    figure, panels = plt.subplots(2, len(TRAINED), figsize=(11, 5.2), sharex=True, sharey=True, layout="constrained")
    looks = {"plain": (BLACK, "o"), "rescaled": (BLUE, "s"), "re-estimated": (RED, "^")}
    for panel_row, kind in zip(panels, KINDS, strict=True):
        for ax, rate in zip(panel_row, TRAINED, strict=True):
            for shift, (method, (colour, marker)) in zip((-3.0, 0.0, 3.0), looks.items(), strict=True):
                chosen = [
                    [r["accuracy"] for r in rows if (r["net"], r["kind"], r["trained_rate"], r["run_rate"], r["method"])
                     == ("mlp, binary", kind, rate, q, method)] for q in RUN
                ]  # fmt: skip
                mean = np.array([np.mean(values) for values in chosen])
                ends = np.abs(np.array([[min(values), max(values)] for values in chosen]).T - mean)
                style = {"color": colour, "marker": marker, "ms": 4, "lw": 1.2, "label": method}
                x = 100 * np.array(RUN)
                ax.errorbar(x, 100 * mean, 100 * ends, transform=sideways(ax, shift), **style)
                include(ax, x, 100 * mean)
            ax.axvline(100 * rate, color="0.8", lw=6, zorder=0)
            ax.set_title(f"trained at {100 * rate:g} % in {kind}", fontsize=9)
            ax.grid(color="0.92")
    panels[0, 0].set_xlim(-1.2, 21.2)
    for ax in panels[1]:
        ax.set_xlabel("error rate in use (%)")
    for ax in panels[:, 0]:
        ax.set_ylabel("MNIST test accuracy (%)")
    panels[0, 0].legend(frameon=False, fontsize=8)
    seeds = NETS["mlp, binary"]["seeds"]
    figure.suptitle(
        f"784-{HIDDEN[0]}-{HIDDEN[1]}-10, all weights and hidden activations binary: mean and range of {len(seeds)} "
        f"networks, {DRAWS} error draws each",
        fontsize=10,
    )
    write_whole(HERE / "figure.png", png_of(figure, dpi=130))


def contents():
    """Return for the record how the table was made."""
    return {
        "nets": {
            name: {key: value for key, value in choice.items() if key != "build"} for name, choice in NETS.items()
        },
        "hidden": HIDDEN,
        "errors": "independent, equal for both bits, in every binary layer; new draws in the weights in every step",
        "run_rates": RUN,
        "draws": DRAWS,
        "re-estimation": {"draws": PASSES, "training images": GATHERED},
        "interval": "of one network, over images and draws; the spread over networks is that of the seeds",
    }


def main(folder: str) -> None:
    """Train, run, and write."""
    torch.set_num_threads(1)
    clock = Clock()
    data = bnn.load("mnist", folder)
    gathered = data.train.subset(np.arange(GATHERED))
    rows = []
    for seed, (net, choice) in product(range(2), NETS.items()):
        for kind, rate in product(choice["kinds"], choice["trained"]) if seed in choice["seeds"] else ():
            rows += rows_of(net, kind, rate, seed, data, gathered)
            write_whole(HERE / "table.csv", csv_of(rows))
            print(net, kind, rate, seed, f"{clock.spent()['core_seconds']:.0f} core-s", file=sys.stderr)
    record = Record(
        title="BatchNorm away from the error rate it was trained at: plain, rescaled, re-estimated",
        command="python notebooks/results/batch_norm/make.py MNIST_FOLDER",
        seeds=sorted({row["seed"] for row in rows}),
        data=data,
        contents=contents(),
        tables={"table.csv": rows},
        **clock.spent(),
    )
    record.write(HERE)
    draw(rows)


if __name__ == "__main__":
    main(sys.argv[1])
