"""Accuracy over many error draws, with intervals over images and draws.

References
----------
.. [1] Wilson, "Probable inference, the law of succession, and statistical inference", J. Am. Stat. Assoc. 22, 209
   (1927).
.. [2] Korn, Graubard, "Confidence intervals for proportions with small expected number of positive counts estimated
   from survey data", Survey Methodology 24, 193 (1998): the effective sample size.
.. [3] Agresti, Min, "Simple improved confidence intervals for comparing matched proportions", Stat. Med. 24, 729
   (2005).
.. [4] Searle, Casella, McCulloch, "Variance Components" (1992), ch. 4: two crossed random factors.
.. [5] Banerjee, "Approximate confidence interval for linear functions of means of k populations when the population
   variances are not equal", Sankhya 22, 357 (1960).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.special import stdtrit
from torch import Tensor, nn

from bnn.data.labelled import Labelled
from bnn.errors.write_errors import WriteErrors
from bnn.evaluation.draws import error_draws
from bnn.evaluation.logits import check_fits, checked_logits, first_non_finite
from bnn.layers.inputs import labelled_tensors
from mtjsim.calls import shows_its_call
from mtjsim.checks import Suggesting, checked_whole
from mtjsim.rng import checked_seed
from mtjsim.wording import number_of

if TYPE_CHECKING:
    from bridge.dies.faults import Process
    from bridge.write import OperatingPoint

Z95 = 1.959963984540054  # two-sided 95 % of the normal distribution


@dataclass(frozen=True, eq=False)
class Accuracy(Suggesting):
    """Correct answers of one model on a set of images, over error draws.

    Parameters
    ----------
    correct : int array, shape (draws,)
        Correct answers of each draw.
    correct_per_image : int array, shape (images,)
        Draws in which each image was answered correctly.
    shared_draws : bool
        True if the images of a draw share errors (weights, written once a draw; cells of a die); False if each image
        has its own (activations).

    Notes
    -----
    The interval is for the expected accuracy over images *and* error draws of one trained network; the spread over
    trainings is not included.

    *Separate errors for each image.* The images are the independent units: with c_i in [0, 1] the share of draws that
    answer image i correctly,

        p = mean(c),  SE^2 = var(c) / n,  n_eff = p (1 - p) / SE^2,

    and `low`, `high` are Wilson's score interval [1] at p with n_eff in place of the count [2]. n_eff lies between n
    (further draws give the same answers) and n times the draws (all answers are independent); it is n where SE is 0.

    *Shared draws.* Images and draws are two crossed random factors, and both are samples. With n images, D draws and
    the mean squares of the two-way table of answers between images, between draws and of the rest [4],

        V_i = max(0, MS_i - MS_e) / (n D),   V_d = MS_d / (n D),   SE^2 = V_i + V_d,

    each with its own degrees of freedom. With t_k the two-sided 95 % quantile of Student's t, the half width
    sqrt(t_{n-1}^2 V_i + t_{D-1}^2 V_d) covers at least 95 % for normal effects, for any number of draws [5]. So n_eff =
    1.96^2 p (1 - p) / half^2 is used in Wilson's interval. t_{D-1} is 12.7 for two draws, 2.03 for 36. For one draw
    `low` and `high` are NaN. A rare bad draw that is not among the D is not covered.
    """

    correct: np.ndarray
    correct_per_image: np.ndarray
    shared_draws: bool = False

    def __post_init__(self) -> None:
        if self.correct.sum() != self.correct_per_image.sum():
            sums = f"{self.correct.sum()} and {self.correct_per_image.sum()}"
            raise ValueError(f"correct and correct_per_image must count the same answers, got {sums}.")

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
        if self.shared_draws:
            variance = self._variance_of_images() + _variance_of_draws(self)
        else:
            variance = float(np.var(self.correct_per_image / self.draws, ddof=1)) / n if n > 1 else 0.0
        n_eff = min(p * (1.0 - p) / variance, n * self.draws) if variance > 0.0 else n
        shift = Z95**2 / n_eff
        centre = (p + 0.5 * shift) / (1.0 + shift)
        half = Z95 / (1.0 + shift) * math.sqrt(p * (1.0 - p) / n_eff + 0.25 * shift / n_eff)
        return (math.nan, math.nan) if math.isnan(variance) else (max(0.0, centre - half), min(1.0, centre + half))

    def _variance_of_images(self) -> float:
        """Return V_i of crossed images and draws, widened to the normal quantile; NaN for one image or one draw."""
        p, n, D = self.mean, self.images, self.draws
        if n == 1 or D == 1:
            return math.nan
        between = D * np.square(self.correct_per_image / D - p).sum()
        rest = n * D * p * (1.0 - p) - between - n * np.square(self.correct / n - p).sum()  # 0 or 1 is its own square
        mean_square = between / (n - 1) - rest / ((n - 1) * (D - 1))
        return max(0.0, float(mean_square)) / (n * D) * _widening(n)

    def __repr__(self) -> str:
        interval = "no interval" if math.isnan(self.low) else f"95 % {self.low:.4f} to {self.high:.4f}"
        images, draws = number_of(self.images, "image"), number_of(self.draws, "draw")
        return f"Accuracy({self.mean:.4f}, {interval}, {images}, {draws})"


@shows_its_call
def evaluate(
    model: nn.Module,
    data: Labelled,
    *,
    errors: OperatingPoint | WriteErrors | str | None = None,
    weight_errors: OperatingPoint | WriteErrors | str | None = None,
    process: Process | None = None,
    draws: int = 36,
    seed: int = 0,
    batch_size: int = 1024,
) -> Accuracy:
    """Count the correct answers of `model`, with chosen errors in every activation and every weight memory.

    Parameters
    ----------
    model : Module
        Left as it was, bit for bit: mode, memories and their streams.
    data : pair, Dataset, DataLoader, or object with ``scaled()`` and ``labels``
        A pair (images, labels) of arrays or tensors; a torch Dataset of pairs (image, label), or a DataLoader of one; a
        `bnn.ImageSet`, such as ``bnn.load("digits").test``, or another object whose ``scaled()`` returns the images,
        (n, ...), and whose ``labels`` are their classes, (n,) whole numbers from 0. Images are cast to the type of the
        model's parameters.
    errors : operating point, WriteErrors, "as_trained" or None
        Errors of the activations. None: no memories. An operating point or a `WriteErrors`: its two rates, in every
        activation slot, as independent errors. An `OverwriteErrors`: a copy of it in every slot. "as_trained": copies
        of the model's memories.
    weight_errors : operating point, WriteErrors, "as_trained" or None
        The same for the binary weights. They are written once a draw and are the same for all its images: a draw is one
        programming of one die.
    process : Process, optional
        `bridge.Process` of the cells in which `errors` and `weight_errors` are: each draw has other dies, one a memory,
        with its faults (shorts, stuck cells ...) and its spread. The images of a draw share them.
    draws : int, >= 1
        Times that each image, and the weights, are written. Without any memory, one draw is made. With weight errors
        there is an interval from two draws on.
    seed : int, >= 0
        The errors of draw d, layer l and image i are drawn by the key (seed, l, d, i), those of the weights of draw d,
        layer l and filter f by (seed, l, d, f): the same as on packed bits (`PackedModel.evaluate_dies`).
    batch_size : int, >= 1
        Images in a forward pass, rounded up to a multiple of 256. The errors do not depend on it.

    Returns
    -------
    Accuracy

    Raises
    ------
    ValueError
        For errors that would touch nothing (a model without such slots), unknown `errors` or `weight_errors`, images or
        labels that are none, numbers out of range, or a model that does not return logits of shape (n, classes) with
        two classes or more. For a process of another junction, setting or layout of cells than that of the point.
    TypeError
        For data of another kind.
    FloatingPointError
        For logits that are not finite; with the layer, the draw and the image.

    Notes
    -----
    A memory with state starts each draw from a copy of its state in the model.

    Examples
    --------
    >>> from bnn.data import load
    >>> from bnn.models import mlp
    >>> from bridge import OperatingPoint
    >>> point = OperatingPoint.of_rates(error_rate_0=0.05, error_rate_1=0.1)
    >>> evaluate(mlp(seed=1), load("digits").test, errors=point, draws=3, seed=2)  # untrained
    Accuracy(0.0..., 95 % 0.0... to 0.1..., 599 images, 3 draws)
    """
    checked_seed(seed)
    checked_whole("draws", draws, least=1)
    checked_whole("batch_size", batch_size, least=1)
    images, labels = labelled_tensors(model, "data", data)
    right: list[Tensor] = []
    with error_draws(model, errors, weight_errors, seed=seed, process=process) as written:
        for draw in range(draws if written.any else 1):
            written.begin(draw)
            answers: list[Tensor] = []
            for batch in written.batches(images, batch_size):
                try:
                    logits = checked_logits(model(batch), batch, None if right or answers else labels)
                except RuntimeError:
                    check_fits(model, "data", images)
                    raise
                if not logits.isfinite().all():
                    written.address()
                    first = sum(map(len, answers))
                    again = images[first : first + len(batch)].clone()
                    where = first_non_finite(model, again, logits, first=first)
                    raise FloatingPointError(f"{where}, in draw {draw}.")
                answers.append(logits.argmax(dim=1))
            right.append(torch.cat(answers) == labels)
    counts = torch.stack(right)
    return Accuracy(counts.sum(dim=1).cpu().numpy(), counts.sum(dim=0).cpu().numpy(), written.shared)


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
    answers on n images give an interval of about +-2 / n, never of width 0. Where draws are shared by all images,
    t_{D-1}^2 V_d (see `Accuracy`) of each such accuracy is added to (1.96 SE)^2: the draws of the two are taken as
    independent.
    """
    n = reference.images
    if n != other.images:
        raise ValueError(f"reference and other must be of the same images, got {n} and {other.images} of them.")
    d = reference.correct_per_image / reference.draws - other.correct_per_image / other.draws
    centre = d.sum() / (n + 2)
    variance = (np.square(d).sum() + 1.0) / (n + 2) - centre**2
    shared = sum(_variance_of_draws(accuracy) for accuracy in (reference, other) if accuracy.shared_draws)
    half = Z95 * math.sqrt(variance / (n + 2) + shared)
    if math.isnan(half):
        return float(d.mean()), math.nan, math.nan
    return float(d.mean()), max(-1.0, float(centre - half)), min(1.0, float(centre + half))


def _variance_of_draws(accuracy: Accuracy) -> float:
    """Return V_d of crossed images and draws, widened to the normal quantile; NaN for one draw."""
    D = accuracy.draws
    return float(np.var(accuracy.correct / accuracy.images, ddof=1) / D) * _widening(D) if D > 1 else math.nan


def _widening(units: int) -> float:
    """Squared 95 % quantile of Student's t for a mean of `units` values, over that of the normal distribution."""
    return float(stdtrit(units - 1, 0.975) / Z95) ** 2
