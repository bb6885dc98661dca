"""A point of a curve: one operating point, and the accuracy of networks of one training on it, with intervals."""

from __future__ import annotations

from dataclasses import dataclass

from bridge.write import OperatingPoint
from mtjsim.checks import Suggesting

CLEAN, WITH_ERRORS = "clean", "with errors"


@dataclass(frozen=True)
class Interval:
    """A mean and its 95 % interval."""

    mean: float
    low: float
    high: float

    def within(self, lowest: float, highest: float) -> Interval:
        """Cut the interval of a quantity that cannot leave [lowest, highest]."""
        return Interval(self.mean, max(self.low, lowest), min(self.high, highest))


@dataclass(frozen=True)
class CurvePoint(Suggesting):
    """One operating point, and the accuracy of networks of one training on it.

    Attributes
    ----------
    point : OperatingPoint
        Error rates and energies of both bits.
    training : {"clean", "with errors"}
        Whether they were trained with the point's errors; all are evaluated with them.
    accuracy : Interval
        Over trained networks, images and error draws.
    loss : Interval
        Accuracy lost against the same networks trained and evaluated without errors, paired by network and image.
    networks, draws : int
        Number of trained networks, and of writes of each image.
    correct : tuple of tuples of int
        Correct answers of each network in each draw.
    """

    point: OperatingPoint
    training: str
    accuracy: Interval
    loss: Interval
    networks: int
    draws: int
    correct: tuple[tuple[int, ...], ...]
