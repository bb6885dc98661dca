"""The figure of a run: its training, and its tests with their intervals."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from mtjsim.plot_style import BLACK, BLUE, GREEN, SMALL, TITLE, legend_below

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from bnn.recipes.result import RecipeResult


def plot_recipe(result: RecipeResult) -> Figure:
    """Draw accuracy against the epoch, and each test with its 95 % interval.

    Parameters
    ----------
    result : RecipeResult

    Returns
    -------
    Figure
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.5, 1.8 + 0.3 * max(6, len(result.tests))), layout="constrained", dpi=130)
    left, right = figure.subplots(1, 2)
    plot_history(left, result.history)
    plot_tests(right, result.rows())
    figure.suptitle(f"{result.recipe.title}; seed {result.recipe.seed}", fontsize=TITLE, wrap=True)
    return figure


def plot_history(ax: Axes, history: Any) -> list[Any]:
    """Draw the accuracies of a training against its epochs; a line where a phase begins. Returns the artists."""
    epochs = [epoch.epoch + 1 for epoch in history]
    artists = ax.plot(
        epochs,
        [100 * e.train_accuracy for e in history],
        "o-",
        color=BLUE,
        ms=4,
        label="training images, under their errors",
    )
    if history and history[0].validation_accuracy is not None:
        validation = [100 * epoch.validation_accuracy for epoch in history]
        artists += ax.plot(epochs, validation, "s-", color=GREEN, ms=4, label="validation images")
    for before, epoch in pairwise(history):
        if epoch.phase != before.phase:
            label = f"phase {epoch.phase} begins"
            artists.append(ax.axvline(epoch.epoch + 0.5, color=BLACK, lw=0.8, ls=":", label=label))
    ax.set(xlabel="epoch", ylabel="accuracy (%)")
    ax.xaxis.get_major_locator().set_params(integer=True)  # type: ignore[call-arg]
    ax.grid(alpha=0.3)
    legend_below(ax, ncols=2)
    return artists


def plot_tests(ax: Axes, rows: Any) -> list[Any]:
    """Draw each test of `RecipeResult.rows` as a point with its 95 % interval; returns the artists."""
    places = np.arange(len(rows))[::-1]
    mean = np.array([100 * row["accuracy"] for row in rows])
    low, high = (
        np.array([m if row[end] is None else 100 * row[end] for m, row in zip(mean, rows, strict=True)])
        for end in ("low", "high")
    )
    artists: list[Any] = [
        ax.errorbar(mean, places, xerr=[mean - low, high - mean], fmt="o", color=BLACK, ms=5, capsize=3, lw=1.2)
    ]
    ax.set_yticks(places, [row["test"].replace("_", " ") for row in rows], fontsize=SMALL)
    ax.set_ylim(-0.7, len(rows) - 0.3)
    if not rows:
        ax.text(0.5, 0.5, "no tests: the training diverged", transform=ax.transAxes, ha="center")
    images = {row["images"] for row in rows}
    many = f"{images.pop():,} images" if len(images) == 1 else "images"
    ax.set_xlabel(f"accuracy (%), {many}, 95 % interval")
    ax.grid(alpha=0.3)
    return artists
