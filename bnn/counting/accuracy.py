"""Accuracy over many error draws: counts, with intervals over images and draws.

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
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import stdtrit

from mtjsim.checks import Suggesting
from mtjsim.wording import number_of

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
    method : {"torch", "packed"}
        What computed the answers; they are the same.
    predictions : int array, shape (draws, images), or None
        The class that each draw gave to each image, if asked for.

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
    method: str = "torch"
    predictions: np.ndarray | None = None

    @classmethod
    def of(cls, answers: Iterable[np.ndarray], labels: np.ndarray, *, predictions: bool, **others: Any) -> Accuracy:
        """Count the answers of each draw, each an int array of shape (images,)."""
        correct, per_image, kept = [], np.zeros(len(labels), np.int64), []
        for answer in answers:
            right = answer == labels
            correct.append(right.sum())
            per_image += right
            if predictions:
                kept.append(answer)
        return cls(np.array(correct), per_image, predictions=np.stack(kept) if predictions else None, **others)

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
    def spread(self) -> float:
        """Standard deviation of the accuracy over draws (n - 1 in the denominator); NaN for one draw."""
        return float(np.std(self.correct / self.images, ddof=1)) if self.draws > 1 else math.nan

    @property
    def worst(self) -> float:
        """Lowest accuracy of a draw: with weight errors or a process, that of the worst die among them."""
        return float(self.correct.min() / self.images)

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
        over = f", spread {self.spread:.4f}, worst {self.worst:.4f}" if self.draws > 1 else ""
        return f"Accuracy({self.mean:.4f}, {interval}, {images}, {draws}{over})"


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
