"""Overwrite errors against independent errors in the activations of a network, at the same share of wrong bits.

A network is trained without errors or with independent errors in its activations. It reads the test images in the order
of the file, with write errors of several rates in four ways:

overwrite        one image after the other into the same cells, a failed cell keeps the bit of the image before
same share       independent errors with the share of wrong bits that the overwrite errors had, in each layer
same in a cell   independent errors with the share of wrong bits that each cell had, of each bit on its own
full rate        independent errors with the write error rate itself: the worst case

Effective rate: wrong bits read / bits read. Nothing is chosen on the test images.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bnn import models
from bnn.data.loading import load
from bnn.errors.overwrite import OverwriteErrors
from bnn.errors.write_errors import WriteErrors
from bnn.evaluation.accuracy import Accuracy, evaluate
from bnn.layers.slots import activation_memories, memories
from bnn.training.config import TrainConfig
from bnn.training.loop import Trainer
from mtjsim.checks import checked_choice
from mtjsim.rng import child_seed

MODES = ("overwrite", "same share", "same in a cell", "full rate")
BATCH = 500  # images of a pass


class Watched(nn.Module):
    """A memory, and how often each cell read wrong, of each bit: (2, [written, wrong], cells)."""

    counts: Any

    def __init__(self, memory: nn.Module) -> None:
        super().__init__()
        self.memory, self.counts = memory, 0

    def forward(self, x: Tensor) -> Tensor:
        """Write and count."""
        out = self.memory(x)
        data, wrong = (x > 0).flatten(1), (out != x).flatten(1)
        rows = [[(data == bit).sum(0), ((data == bit) & wrong).sum(0)] for bit in (False, True)]
        self.counts = self.counts + np.array([[count.numpy() for count in row] for row in rows])
        return out

    @property
    def effective(self) -> float:
        """Share of wrong bits."""
        return float(self.counts[:, 1].sum() / self.counts[:, 0].sum())


def error_modes(
    *,
    trained_at: float,
    rates: Sequence[float],
    data: str = "mnist",
    model: str = "lenet4",
    epochs: int = 3,
    batch_size: int = 128,
    learning_rate: float = 3e-3,
    draws: int = 2,
    test_images: int | None = None,
    seed: int = 0,
    data_dir: str | os.PathLike[str] | None = None,
) -> dict[str, Any]:
    """Train one network, and return its accuracies in every way and at every rate.

    Parameters
    ----------
    trained_at : float
        Rate of the independent errors of the training.
    rates : sequence of float
        Write error rates of the test, the same for both bits.
    data, model : str
        A data set, and a model of `bnn.models` that takes no other argument than a seed.
    epochs, batch_size, learning_rate
        As of `bnn.TrainConfig`; the rate goes up and down in one cycle.
    draws : int
        Passes over the test images in each way.
    test_images : int, optional
        The first of the test images; None: all.
    seed : int
        Of weights, order of the images and errors.
    data_dir : path
        As for `bnn.load`.

    Returns
    -------
    dict
        `clean.accuracy`; for each rate and way "RATE WAY.accuracy" and "RATE WAY.effective_rate"; the table "modes".
    """
    checked_choice("model", model, [name for name in models.__all__ if name != "MakeMemory"])
    whole = load(data, data_dir)
    test = whole.test if test_images is None else whole.test.subset(range(test_images))
    memory = partial(WriteErrors, error_rate_0=trained_at, error_rate_1=trained_at) if trained_at else None
    config = TrainConfig(
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        schedule="one_cycle",
        seed=seed,
        progress=False,
    )
    network = getattr(models, model)(seed=seed, activation_memory=memory)
    network = Trainer(network, config).fit(whole.train).model.eval()
    images, labels = torch.from_numpy(test.scaled()), torch.tensor(test.labels)
    values: dict[str, Any] = {"clean.accuracy": evaluate(network, test).mean}
    rows = []
    for rate in rates:
        for mode, accuracy, cells in in_every_way(network, images, labels, rate, draws, seed):
            head = {"trained_at": trained_at, "write_error_rate": rate, "mode": mode, "seed": seed}
            row = head | row_of(accuracy, cells)
            rows.append(row)
            for name in ("accuracy", "effective_rate"):
                values[f"{rate:g} {mode}.{name}"] = row[name]
    return {**values, "tables": {"modes": rows}}


def read(
    model: nn.Module, images: Tensor, labels: Tensor, make: Callable[[int, int], nn.Module], draws: int
) -> tuple[Accuracy, list[Watched]]:
    """Run the model on all images `draws` times, memories made by make(index, draw); return accuracy and memories."""
    right, watched = [], list[Watched]()
    layers = len(activation_memories(model))
    for draw in range(draws):
        fresh = [Watched(make(layer, draw)) for layer in range(layers)]
        with memories(model, partial(_of_index, fresh)), torch.inference_mode():
            batches = zip(images.split(BATCH), labels.split(BATCH), strict=True)
            right.append(torch.cat([model(x).argmax(1) == y for x, y in batches]))
        for own, former in zip(fresh, watched, strict=False):
            own.counts = own.counts + former.counts
        watched = fresh
    found = torch.stack(right)
    return Accuracy(found.sum(1).numpy(), found.sum(0).numpy()), watched


def _of_index(made: Sequence[nn.Module], name: str, index: int) -> nn.Module:
    return made[index]


def in_every_way(
    model: nn.Module, images: Tensor, labels: Tensor, rate: float, draws: int, seed: int
) -> Iterator[tuple[str, Accuracy, list[Watched]]]:
    """Yield mode, accuracy and memories; the draws of all modes have the same seeds."""
    alike: dict[str, Any] = {"error_rate_0": rate, "error_rate_1": rate}

    def where(layer: int, draw: int) -> dict[str, Any]:
        return {"seed": child_seed(seed, "test", draw), "layer": layer}

    def overwritten(layer: int, draw: int) -> nn.Module:
        return OverwriteErrors(**alike, **where(layer, draw))

    accuracy, cells = read(model, images, labels, overwritten, draws)
    yield "overwrite", accuracy, cells

    def same_share(layer: int, draw: int) -> nn.Module:
        share = cells[layer].effective
        return WriteErrors(error_rate_0=share, error_rate_1=share, **where(layer, draw))

    def same_in_a_cell(layer: int, draw: int) -> nn.Module:
        written, wrong = cells[layer].counts[:, 0], cells[layer].counts[:, 1]
        zeros, ones = wrong / np.maximum(written, 1)
        return WriteErrors(error_rate_0=zeros, error_rate_1=ones, **where(layer, draw))

    def full_rate(layer: int, draw: int) -> nn.Module:
        return WriteErrors(**alike, **where(layer, draw))

    for mode, make in zip(MODES[1:], (same_share, same_in_a_cell, full_rate), strict=True):
        yield mode, *read(model, images, labels, make, draws)


def row_of(accuracy: Accuracy, cells: Sequence[Watched]) -> dict[str, Any]:
    """Return the counts of one way."""
    written, wrong = (int(sum(own.counts[:, kind].sum() for own in cells)) for kind in (0, 1))
    return {
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
