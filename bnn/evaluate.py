"""Accuracy over many error draws, with intervals over images and draws.

References
----------
.. [1] Wilson, "Probable inference, the law of succession, and statistical inference", J. Am. Stat. Assoc. 22, 209
   (1927).
.. [2] Korn, Graubard, "Confidence intervals for proportions with small expected number of positive counts estimated
   from survey data", Survey Methodology 24, 193 (1998): the effective sample size.
.. [3] Agresti, Min, "Simple improved confidence intervals for comparing matched proportions", Stat. Med. 24, 729
   (2005).
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, Union

import numpy as np
import torch
from torch import Tensor, nn

from bnn.errors import WriteErrors, check_seed
from bnn.layers import activation_memories, memories

if TYPE_CHECKING:
    from bridge.write import OperatingPoint

Z95 = 1.959963984540054  # two-sided 95 % of the normal distribution
BLOCK = 256  # images that share an error stream


class LabelledImages(Protocol):
    """Images and labels, `bnn.data.ImageSet` for example."""

    @property
    def labels(self) -> np.ndarray:
        """Classes, int64, shape (n,)."""

    def scaled(self) -> np.ndarray:
        """Return the images as the network wants them, float32, shape (n, c, h, w)."""


@dataclass(frozen=True, eq=False)
class Accuracy:
    """Correct answers of one model on a set of images, over error draws.

    Parameters
    ----------
    correct : int array, shape (draws,)
        Correct answers of each draw.
    correct_per_image : int array, shape (images,)
        Draws in which each image was answered correctly.

    Notes
    -----
    The interval is for the expected accuracy over images *and* error draws. The images are the independent units: with
    c_i in [0, 1] the share of draws that answer image i correctly,

        p = mean(c),  SE^2 = var(c) / n,  n_eff = p (1 - p) / SE^2,

    and `low`, `high` are Wilson's score interval [1] at p with n_eff in place of the count [2]. n_eff lies between n (a
    draw tells nothing new) and n times the draws (each answer is a coin of its own); it is n where SE is 0. It speaks
    of one trained network, and of errors drawn afresh for each image; the spread over trainings is not in it.
    """

    correct: np.ndarray
    correct_per_image: np.ndarray

    def __post_init__(self) -> None:
        if self.correct.sum() != self.correct_per_image.sum():
            raise ValueError(
                f"correct and correct_per_image must count the same answers, got {self.correct.sum()} and "
                f"{self.correct_per_image.sum()}."
            )

    @property
    def images(self) -> int:
        """Number of images."""
        return len(self.correct_per_image)

    @property
    def draws(self) -> int:
        """Number of error draws."""
        return len(self.correct)

    @property
    def mean(self) -> float:
        """Accuracy over all images and draws."""
        return float(self.correct.sum() / (self.images * self.draws))

    @property
    def low(self) -> float:
        """Lower end of the 95 % interval."""
        return self._interval()[0]

    @property
    def high(self) -> float:
        """Upper end of the 95 % interval."""
        return self._interval()[1]

    def _interval(self) -> tuple[float, float]:
        p, n = self.mean, self.images
        variance = np.var(self.correct_per_image / self.draws, ddof=1) / n if n > 1 else 0.0
        n_eff = min(p * (1.0 - p) / variance, n * self.draws) if variance > 0.0 else n
        shift = Z95**2 / n_eff
        centre = (p + 0.5 * shift) / (1.0 + shift)
        half = Z95 / (1.0 + shift) * np.sqrt(p * (1.0 - p) / n_eff + 0.25 * shift / n_eff)
        return max(0.0, float(centre - half)), min(1.0, float(centre + half))

    def __repr__(self) -> str:
        interval = f"95 % {self.low:.4f} to {self.high:.4f}"
        return f"Accuracy({self.mean:.4f}, {interval}, {self.images} images, {self.draws} draws)"


def evaluate(
    model: nn.Module,
    data: LabelledImages,
    *,
    errors: Union["OperatingPoint", WriteErrors, str, None] = None,
    draws: int = 36,
    seed: int = 0,
    batch_size: int = 1024,
) -> Accuracy:
    """Count the correct answers of `model`, with chosen errors in every activation memory.

    Parameters
    ----------
    model : Module
        Left as it was, bit for bit: mode, memories and their streams.
    data : object with ``scaled()`` and ``labels``
    errors : operating point, WriteErrors, "as_trained" or None
        What the activations are written with. None: all memories taken out. An operating point or a `WriteErrors`: its
        two rates, in every activation slot. "as_trained": copies of the memories that sit in the model.
    draws : int, >= 1
        Times each image is written. Where no memory is left, one is enough, and one is made.
    seed : int, >= 0
        The errors of draw d, layer l and block b of 256 images come from a stream of their own, keyed (seed, d, l, b).
    batch_size : int, >= 1
        Images a forward pass, rounded up to a multiple of 256. The errors do not depend on it.

    Returns
    -------
    Accuracy

    Raises
    ------
    ValueError
        For errors that would touch nothing (a model without activation slots), an unknown `errors`, no images, or
        numbers out of range.
    """
    check_seed(seed)
    for name, number in (("draws", draws), ("batch_size", batch_size)):
        if number < 1:
            raise ValueError(f"{name} must be >= 1, got {number}.")
    if len(data.labels) == 0:
        raise ValueError("data must hold at least one image, got none.")
    slots = _evaluation_memories(model, errors)
    if all(memory is None for memory in slots):
        draws = 1
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    batches = list(
        zip(
            torch.from_numpy(data.scaled()).to(device).split(-(-batch_size // BLOCK) * BLOCK),
            torch.tensor(data.labels).to(device).split(-(-batch_size // BLOCK) * BLOCK),
            strict=True,
        )
    )
    right = []
    with _evaluation_mode(model), memories(model, lambda name, index: slots[index]), torch.no_grad():
        for draw in range(draws):
            for index, memory in enumerate(slots):
                if memory is not None:
                    memory.start(seed, draw, index, len(data.labels))
            right.append(torch.cat([model(images).argmax(dim=1) == labels for images, labels in batches]))
    counts = torch.stack(right)
    return Accuracy(counts.sum(dim=1).cpu().numpy(), counts.sum(dim=0).cpu().numpy())


def paired_loss(reference: Accuracy, other: Accuracy) -> tuple[float, float, float]:
    """Accuracy that `other` loses against `reference` on the same images, with its 95 % interval.

    Parameters
    ----------
    reference, other : Accuracy
        Of the same images in the same order; the draws may differ in number.

    Returns
    -------
    mean, low, high : float
        ``reference.mean - other.mean`` > 0 is a loss.

    Raises
    ------
    ValueError
        If the two have different numbers of images.

    Notes
    -----
    With d_i the difference of image i's shares of correct draws, the interval is mean(d) +- 1.96 SE over a sample that
    has two images added, as Agresti and Min do for paired proportions [3]: half a loss, half a gain, one tie. So equal
    answers on n images give an interval of about +-2 / n, never one without width.
    """
    n = reference.images
    if n != other.images:
        raise ValueError(f"reference and other must be of the same images, got {n} and {other.images} of them.")
    d = reference.correct_per_image / reference.draws - other.correct_per_image / other.draws
    centre = d.sum() / (n + 2)
    variance = (np.square(d).sum() + 1.0) / (n + 2) - centre**2
    half = Z95 * np.sqrt(variance / (n + 2))
    return float(d.mean()), max(-1.0, float(centre - half)), min(1.0, float(centre + half))


class _BlockedMemory(nn.Module):
    """A memory whose stream starts anew at every block of images, so that batches do not change the errors."""

    def __init__(self, memory: Any) -> None:  # a Module, perhaps with reseed()
        super().__init__()
        self.memory: Any = memory.eval()

    def start(self, seed: int, draw: int, layer: int, images: int) -> None:
        key = np.random.SeedSequence(seed, spawn_key=(draw, layer))
        self.seeds = iter(key.generate_state(-(-images // BLOCK), np.uint64).tolist())

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self._write(part) for part in x.split(BLOCK)])

    def _write(self, block: Tensor) -> Tensor:
        if hasattr(self.memory, "reseed"):  # what has no stream needs no seed
            self.memory.reseed(next(self.seeds))
        return self.memory(block)


def _evaluation_memories(model: nn.Module, errors: Any) -> list[_BlockedMemory | None]:
    """One memory for each activation slot of the model, in its order."""
    layers = activation_memories(model).values()
    if errors is None:
        return [None] * len(layers)
    if isinstance(errors, str) and errors == "as_trained":
        present = [layer.activation_memory for layer in layers]
        return [None if memory is None else _BlockedMemory(copy.deepcopy(memory)) for memory in present]
    if not (hasattr(errors, "error_rate_0") and hasattr(errors, "error_rate_1")):
        raise ValueError(f'errors must be None, "as_trained", an operating point or a WriteErrors, got {errors!r}.')
    if not layers:
        raise ValueError(
            "errors would touch nothing: the model has no activation slot. Build it of bnn.layers, or pass errors=None."
        )
    return [_BlockedMemory(WriteErrors.from_operating_point(errors, seed=0)) for _ in layers]


@contextmanager
def _evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Put the model into eval mode, and each of its modules back into its own mode afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
