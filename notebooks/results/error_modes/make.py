"""Overwrite errors against independent errors in the activations of LeNet-4 on MNIST, at the same share of wrong bits.

python notebooks/results/error_modes/make.py MNIST_FOLDER [CHECKPOINT_FOLDER]   # about ten minutes

Two networks, three epochs each: one trained without errors, one with 5 % independent errors in its two memories. Each
reads the test images in the order of the file, with write errors of several rates in four ways:

overwrite        one image after the other into the same cells, a failed cell keeps the bit of the image before
same share       independent errors with the share of wrong bits that the overwrite errors had, in each layer
same in a cell   independent errors with the share of wrong bits that each cell had, of each bit on its own
full rate        independent errors with the write error rate itself: the worst case

Effective rate: wrong bits read / bits read. Nothing is chosen on the test images. Writes table.csv, run.json and
error_modes.png to the folder of this file.
"""

import hashlib
import json
import sys
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn

import bnn
from bnn.errors.overwrite import OverwriteErrors
from bnn.errors.write_errors import WriteErrors
from bnn.layers.slots import memories
from bnn.models import lenet4
from bnn.recipes.record import Clock, Record
from mtjsim.files import write_whole
from mtjsim.plot_style import BLACK, GREEN, PURPLE, RED, include, png_of, sideways

HERE = Path(__file__).parent
TRAINED_AT = (0.0, 0.05)
RATES = (0.01, 0.05, 0.1, 0.2, 0.3)
DRAWS, BATCH = 2, 500
TRAINING = {"epochs": 3, "batch_size": 128, "learning_rate": 3e-3, "schedule": "one_cycle", "seed": 1}
MODES = ("overwrite", "same share", "same in a cell", "full rate")
STYLE = dict(zip(MODES, ((RED, "o"), (GREEN, "s"), (PURPLE, "^"), (BLACK, "x")), strict=True))


class Watched(nn.Module):
    """A memory, and how often each cell read wrong, of each bit: (2, [written, wrong], cells)."""

    def __init__(self, memory):
        super().__init__()
        self.memory, self.counts = memory, 0

    def forward(self, x):
        """Write and count."""
        out = self.memory(x)
        data, wrong = (x > 0).flatten(1), (out != x).flatten(1)
        rows = [[(data == bit).sum(0), ((data == bit) & wrong).sum(0)] for bit in (False, True)]
        self.counts = self.counts + np.array([[count.numpy() for count in row] for row in rows])
        return out

    @property
    def effective(self):
        """Share of wrong bits."""
        return float(self.counts[:, 1].sum() / self.counts[:, 0].sum())


def trained(rate, train, folder):
    """Return the network of the last epoch."""
    memory = partial(WriteErrors, error_rate_0=rate, error_rate_1=rate) if rate else None
    checkpoint = None if folder is None else folder / f"lenet4_{rate:g}.pt"
    config = bnn.TrainConfig(**TRAINING, checkpoint=checkpoint, progress=False, on_divergence="raise")
    return bnn.Trainer(lenet4(seed=1, activation_memory=memory), config).fit(train)


def read(model, images, labels, make):
    """Run the model on all images DRAWS times, memories made by make(index, seed); return accuracy and memories."""
    right, watched = [], None
    for draw in range(DRAWS):
        fresh = [Watched(make(index, draw)) for index in (0, 1)]
        with memories(model, lambda name, index, own=fresh: own[index]), torch.inference_mode():
            batches = zip(images.split(BATCH), labels.split(BATCH), strict=True)
            right.append(torch.cat([model(x).argmax(1) == y for x, y in batches]))
        for own, former in zip(fresh, watched or fresh, strict=True):
            own.counts = own.counts + former.counts if watched else own.counts
        watched = fresh
    right = torch.stack(right)
    return bnn.Accuracy(right.sum(1).numpy(), right.sum(0).numpy()), watched


def in_every_way(model, images, labels, rate):
    """Yield mode, accuracy and memories."""
    alike = {"error_rate_0": rate, "error_rate_1": rate}
    accuracy, cells = read(model, images, labels, lambda layer, seed: OverwriteErrors(**alike, seed=seed, layer=layer))
    yield "overwrite", accuracy, cells

    def same_share(layer, seed):
        share = cells[layer].effective
        return WriteErrors(error_rate_0=share, error_rate_1=share, seed=seed, layer=layer)

    def same_in_a_cell(layer, seed):
        written, wrong = cells[layer].counts[:, 0], cells[layer].counts[:, 1]
        zeros, ones = wrong / np.maximum(written, 1)
        return WriteErrors(error_rate_0=zeros, error_rate_1=ones, seed=seed, layer=layer)

    def full_rate(layer, seed):
        return WriteErrors(**alike, seed=seed, layer=layer)

    for mode, make in zip(MODES[1:], (same_share, same_in_a_cell, full_rate), strict=True):
        yield mode, *read(model, images, labels, make)


def rows_of(model, trained_at, rate, images, labels, folder):
    """Return the rows of one network at one write error rate; kept in the folder, since a set takes a minute."""
    kept = None if folder is None else folder / f"rows_{trained_at:g}_{rate:g}.json"
    if kept is not None and kept.exists():
        return json.loads(kept.read_text("utf-8"))
    rows = []
    for mode, accuracy, cells in in_every_way(model, images, labels, rate):
        written, wrong = (int(sum(own.counts[:, kind].sum() for own in cells)) for kind in (0, 1))
        rows.append(
            {
                "trained_at": trained_at,
                "write_error_rate": rate,
                "mode": mode,
                "bits": written,
                "wrong_bits": wrong,
                "effective_rate": wrong / written,
                **{f"effective_layer_{i}": own.effective for i, own in enumerate(cells, 1)},
                "images": accuracy.images,
                "draws": accuracy.draws,
                "correct": " ".join(str(n) for n in accuracy.correct),
                "accuracy": accuracy.mean,
                "low": accuracy.low,
                "high": accuracy.high,
            }
        )
        print(f"{trained_at:g} {rate:4g} {mode:15} {wrong / written:.4f} {accuracy}", flush=True)
    if kept is not None:
        write_whole(kept, json.dumps(rows).encode())
    return rows


def main() -> None:
    """Train, read, write the table, draw."""
    torch.set_num_threads(1)
    clock = Clock()
    data = bnn.load("mnist", sys.argv[1])
    folder = Path(sys.argv[2]) if len(sys.argv) > 2 else None
    images, labels = torch.from_numpy(data.test.scaled()), torch.tensor(data.test.labels)
    rows, networks = [], []
    for trained_at in TRAINED_AT:
        result = trained(trained_at, data.train, folder)
        model = result.model.eval()
        clean = bnn.evaluate(model, data.test)
        state = b"".join(p.detach().numpy().tobytes() for p in model.parameters())
        networks.append(
            {
                "trained_at": trained_at,
                "training_seconds": round(result.seconds, 1),
                "parameters_sha256": hashlib.sha256(state).hexdigest(),
                "clean_test": [int(clean.correct[0]), clean.images],
            }
        )
        for rate in RATES:
            rows += rows_of(model, trained_at, rate, images, labels, folder)
    record = Record(
        title="Overwrite errors against independent errors at the same share of wrong bits, LeNet-4 on MNIST",
        command="python notebooks/results/error_modes/make.py MNIST_FOLDER",
        seeds=TRAINING["seed"],
        data=data,
        contents={
            "training": TRAINING,
            "networks": networks,
            "draws": "draw d has seed d, the layers 0 and 1",
            "intervals": "95 %, over images and draws, of one trained network",
        },
        tables={"table.csv": rows},
        **clock.spent(),
    )
    record.write(HERE)
    draw(rows, networks)


def draw(rows, networks) -> None:
    """Draw one panel a network: error of the network against the write error rate."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9, 4), sharey=True, layout="constrained")
    for ax, network in zip(axes, networks, strict=True):
        for shift, (mode, (colour, marker)) in zip((-4.5, -1.5, 1.5, 4.5), STYLE.items(), strict=True):
            own = [row for row in rows if (row["trained_at"], row["mode"]) == (network["trained_at"], mode)]
            x, y = [100 * row["write_error_rate"] for row in own], np.array([row["accuracy"] for row in own])
            bars = [y - [row["low"] for row in own], [row["high"] for row in own] - y]
            label = {
                "overwrite": "overwrite: leaves the image before",
                "same share": "independent, same share of wrong bits",
                "same in a cell": "independent, same share in each cell and bit",
                "full rate": "independent, full rate",
            }[mode]
            style = {"color": colour, "marker": marker, "ms": 4, "lw": 1.2, "capsize": 2}
            ax.errorbar(x, y, bars, label=label, transform=sideways(ax, shift), **style)
            include(ax, x, y)
        right, images = network["clean_test"]
        ax.axhline(right / images, color=BLACK, lw=0.8, ls=":", label="no errors")
        how = "without errors" if network["trained_at"] == 0 else f"with {100 * network['trained_at']:g} % errors"
        ax.set_title(f"trained {how}", fontsize=10)
        ax.set_xlabel("write error rate (%)")
        ax.grid(alpha=0.3)
    axes[0].set_yscale("logit")
    ticks = [t for t in (0.2, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99) if t > 0.9 * min(row["low"] for row in rows)]
    axes[0].set_yticks(ticks, [f"{100 * t:g}" for t in ticks])
    axes[0].minorticks_off()
    axes[0].set_ylabel("test accuracy (%), logit scale")
    axes[0].legend(frameon=False, fontsize=8, loc="lower left")
    figure.suptitle(f"LeNet-4, MNIST: one network each, {DRAWS} draws of 10,000 images", fontsize=10)
    write_whole(HERE / "error_modes.png", png_of(figure, dpi=150))
    plt.close(figure)


if __name__ == "__main__":
    main()
