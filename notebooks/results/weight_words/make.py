"""Train with fp32 weights in error-prone words: failed writes that leave the old bit, against independent errors.

python notebooks/results/weight_words/make.py   # minutes on one core; writes the CSVs, run.json and the figure here

Weights and biases are read, updated and written back in each iteration, all of them, at one error rate for 0 and for 1;
BatchNorm and Adam's moments are kept without errors. Two networks on the shipped digits (1198 images to train, 599 to
test), 64-256-256-10: *real* has real weights and ReLU; *binary* is `bnn.models.mlp`, whose latent weights (clipped to
+-1) are in the memory and whose signs compute. Accuracy is that of the last weights as they are read, on the test half;
nothing is chosen by it. A network that answers NaN answers wrong.

errors      overwrite: a cell that holds its bit already cannot fail. independent: each bit errs with the full rate.
protection  none; parity: one check cell a word, a word found wrong reads as zero; range: a number beyond +-4 reads as 0
tolerated   the rate at which the mean accuracy of the seeds has fallen by `LOSS`, linear in log10 of the rate between
            the first rate of the scan that lost more and the one before it; "<" or ">" where the scan has none
"""

import math
import os
from collections.abc import Iterator
from itertools import product
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import matplotlib
import numpy as np
import torch
from torch import Tensor, nn

import bnn
from bnn.layers.latent import clip_latent_
from bnn.recipes.record import Clock, Record
from bridge.memory.protection import Protection
from bridge.write import OperatingPoint
from mtjsim.files import write_whole
from mtjsim.plot_style import BLACK, BLUE, GREEN, SMALL, TITLE, png_of, sideways

HERE = Path(__file__).parent
RATES = (1e-9, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2)
ERRORS = ("overwrite", "independent")
PROTECTIONS = {"none": "none", "parity": "parity", "range": Protection("range", limit=4.0)}
NETWORKS = ("real", "binary")
SEEDS = (0, 1)
EPOCHS, BATCH, LEARNING_RATE = 10, 64, 3e-3  # Adam, down to 0 on half a cosine
LOSS = 0.01
LOOKS = {"none": (BLACK, "o"), "parity": (BLUE, "s"), "range": (GREEN, "^")}
ENDS = ("lowest", "highest")


def network(kind: str, seed: int) -> nn.Module:
    """Return a network with initial weights of this seed."""
    if kind == "binary":
        return bnn.models.mlp(seed=seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        blocks = [layer for n in (64, 256) for layer in (nn.Linear(n, 256), nn.BatchNorm1d(256), nn.ReLU())]
        return nn.Sequential(nn.Flatten(), *blocks, nn.Linear(256, 10))


def batches(images: Tensor, labels: Tensor, seed: int) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Yield number, images and labels of each iteration."""
    stream = torch.Generator().manual_seed(1000 + seed)
    per_epoch = math.ceil(len(images) / BATCH)
    for epoch in range(EPOCHS):
        for n, chosen in enumerate(torch.randperm(len(images), generator=stream).chunk(per_epoch)):
            yield epoch * per_epoch + n, images[chosen], labels[chosen]


def trained(kind: str, seed: int, errors: str, protection: str, rate: float, data: dict[str, tuple[Tensor, Tensor]]):
    """Train one network, and return its row."""
    model = network(kind, seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE, fused=True)
    point = OperatingPoint.of_rates(error_rate_0=rate, error_rate_1=rate)
    guard = PROTECTIONS[protection]
    memory = bnn.ParameterMemory(model, point=point, errors=errors, protection=guard, seed=seed, exact_counts=False)
    steps = EPOCHS * math.ceil(len(data["train"][0]) / BATCH)
    for step, x, y in batches(*data["train"], seed):
        optimizer.param_groups[0]["lr"] = LEARNING_RATE * 0.5 * (1 + math.cos(math.pi * step / steps))
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        with memory.update(step=step):
            optimizer.step()
            clip_latent_(model)
    model.eval()
    x, y = data["test"]
    with torch.no_grad():
        logits = model(x)
    right = int(((logits.argmax(1) == y) & ~logits.isnan().any(1)).sum())
    pulses = {kind: sum(memory.ledger.count(f"write {bit} {kind}") for bit in (0, 1)) for kind in ("turned", "held")}
    return {
        "network": kind,
        "errors": errors,
        "protection": protection,
        "error_rate": rate,
        "seed": seed,
        "right": right,
        "images": len(y),
        "accuracy": right / len(y),
        "cells_written": sum(pulses.values()),
        "cells_turned_estimated": pulses["turned"] if errors == "overwrite" else "",
        "failed": sum(memory.ledger.count(f"failed write {bit}") for bit in (0, 1)),
        "words_read_as_zero": memory.ledger.count("word read as zero"),
    }


def summary(rows: list[dict]) -> list[dict]:
    """Return mean accuracy over the seeds, and its range, of each way and rate."""
    lines = []
    for kind, errors, protection, rate in product(NETWORKS, ERRORS, PROTECTIONS, (0.0, *RATES)):
        here = [
            row
            for row in rows
            if row["network"] == kind
            and row["error_rate"] == rate
            and (rate == 0 or (row["errors"], row["protection"]) == (errors, protection))
        ]
        accuracies = [row["accuracy"] for row in here]
        lines.append(
            {
                "network": kind,
                "errors": errors,
                "protection": protection,
                "error_rate": rate,
                "trained_networks": len(here),
                "mean_accuracy": float(np.mean(accuracies)),
                "lowest": min(accuracies),
                "highest": max(accuracies),
            }
        )
    return lines


def tolerated(lines: list[dict]) -> list[dict]:
    """Return the rate that costs `LOSS`, of each way, and the decades between the two kinds of errors."""
    found = []
    for kind, protection in product(NETWORKS, PROTECTIONS):
        row: dict[str, object] = {"network": kind, "protection": protection}
        for errors in ERRORS:
            curve = [
                line["mean_accuracy"]
                for line in lines
                if (line["network"], line["errors"], line["protection"]) == (kind, errors, protection)
            ]
            row[f"log10_{errors}"], row[f"bound_{errors}"] = _crossing(curve[0] - LOSS, curve[1:])
        row["decades"] = row["log10_overwrite"] - row["log10_independent"]
        found.append(row)
    return found


def _crossing(least: float, accuracies: list[float]) -> tuple[float, str]:
    logs = np.log10(RATES)
    lost = [n for n, accuracy in enumerate(accuracies) if accuracy < least]
    if not lost:
        return float(logs[-1]), ">"
    if lost[0] == 0:
        return float(logs[0]), "<"
    n, before, after = lost[0], accuracies[lost[0] - 1], accuracies[lost[0]]
    return float(logs[n - 1] + (before - least) / (before - after) * (logs[n] - logs[n - 1])), ""


def draw(lines: list[dict], path: Path) -> None:
    """Draw accuracy against the error rate: a row of panels for each kind of errors, a column for each network."""
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(2, 2, figsize=(9.5, 6.2), sharex=True, sharey=True, layout="constrained")
    for (row, errors), (column, kind) in product(enumerate(ERRORS), enumerate(NETWORKS)):
        ax = axes[row, column]
        for shift, protection in zip((-5.0, 0.0, 5.0), PROTECTIONS, strict=True):
            curve = [
                line
                for line in lines
                if (line["network"], line["errors"], line["protection"]) == (kind, errors, protection)
            ]
            (colour, marker), place = LOOKS[protection], sideways(ax, shift)
            mean, low, high = (100 * np.array([line[n] for line in curve[1:]]) for n in ("mean_accuracy", *ENDS))
            x, whole, some = np.array(RATES), low > 0, high > 0
            style = {"color": colour, "marker": marker, "ms": 5, "lw": 1.2, "transform": place}
            bars = [mean - low, high - mean]
            ax.errorbar(x[whole], mean[whole], np.array(bars)[:, whole], capsize=2, label=protection, **style)
            ax.plot(x[some & ~whole], high[some & ~whole], **style | {"ls": "none"})  # the network that can answer
            ax.plot(x[~whole], np.zeros((~whole).sum()), "x", color=colour, transform=place)
        ax.axhline(100 * curve[0]["mean_accuracy"], color=BLACK, lw=0.8, ls=":", label="no errors")
        ax.set(xscale="log", xlim=(5e-10, 2e-2), ylim=(-5, 105))
        network = "real weights" if kind == "real" else "latent weights of a binary network"
        ax.set_title(f"{errors} errors, {network}", fontsize=TITLE)
        ax.grid(alpha=0.3)
        ax.plot([], [], "x", color="0.4", label="a network that answers NaN")
    for ax in axes[1]:
        ax.set_xlabel("write error rate of a cell that must turn")
    for ax in axes[:, 0]:
        ax.set_ylabel("test accuracy (%)")
    title = f"protection; mean and range of {len(SEEDS)} networks"
    handles = axes[0, 0].get_legend_handles_labels()
    where = {"loc": "outside lower center", "ncols": 5, "fontsize": SMALL, "title_fontsize": SMALL, "frameon": False}
    figure.legend(*handles, title=title, **where)
    write_whole(path, png_of(figure, dpi=140))


def main() -> None:
    """Train, then keep."""
    torch.set_num_threads(1)
    clock = Clock()
    digits = bnn.load("digits")
    data = {
        half: (torch.from_numpy(images.scaled()), torch.tensor(images.labels))
        for half, images in (("train", digits.train), ("test", digits.test))
    }
    ways = [(kind, seed, "overwrite", "none", 0.0) for kind, seed in product(NETWORKS, SEEDS)]
    ways += list(product(NETWORKS, SEEDS, ERRORS, PROTECTIONS, RATES))
    rows = []
    for way in ways:
        rows.append(trained(*way, data))
        print(*way, rows[-1]["accuracy"], flush=True)
    lines = summary(rows)
    rates = tolerated(lines)
    clean = [row for row in rows if row["error_rate"] == 0]
    record = Record(
        title="fp32 weights in error-prone words: overwrite errors against independent errors",
        command="python notebooks/results/weight_words/make.py",
        seeds=SEEDS,
        data=digits,
        contents={
            "epochs": EPOCHS,
            "batch": BATCH,
            "learning_rate": LEARNING_RATE,
            "loss": LOSS,
            "range_limit": 4.0,
            "holds": "weights, biases",
            "share_of_cells_turned_by_an_update": {
                kind: sum(r["cells_turned_estimated"] for r in clean if r["network"] == kind)
                / sum(r["cells_written"] for r in clean if r["network"] == kind)
                for kind in NETWORKS
            },
        },
        tables={"runs.csv": rows, "accuracy.csv": lines, "tolerated.csv": rates},
        digits=9,
        **clock.spent(),
    )
    record.write(HERE)
    draw(lines, HERE / "accuracy.png")
    for row in rates:
        print(*(f"{v:.3g}" if isinstance(v, float) else v for v in row.values()))
    print(f"{record.core_seconds} core-seconds")


if __name__ == "__main__":
    main()
