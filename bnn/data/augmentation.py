"""Random shifts and flips of training images, drawn by key: the declaration and its draws.

NumPy only: nothing here imports torch. `bnn/training/batches.py` moves the images.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtjsim.checks import ArgumentError, Suggesting, checked_choice, checked_kind, checked_whole
from mtjsim.rng import generator

FILLS = ("background", "edge", "reflect")


@dataclass(frozen=True, kw_only=True)
class Augment(Suggesting):
    """Random shifts and flips of the training images, other ones in each epoch.

    Parameters
    ----------
    shift : int, >= 0
        Largest shift [pixels]: of rows and of columns, each uniform over -shift ... shift, independently.
    flip : bool
        Mirror half of the images at the vertical axis (left and right change places): not for digits or text.
    fill : {"background", "edge", "reflect"}
        Value of the pixels that a shift uncovers: -1, which is level 0 of an `ImageSet` after `scaled()`; the nearest
        pixel of the image; or the image mirrored at its outer pixels.

    Raises
    ------
    ValueError
        For a shift that is not a whole number >= 0, an unknown fill, or an augmentation that changes nothing.

    Notes
    -----
    The draws follow from the seed of the training, the epoch and the number of the image: not from batches, processes
    or interruptions. They change the images of the steps only; those from which a phase estimates statistics of a
    BatchNorm, and those of evaluations, are the images as they are.

    Examples
    --------
    >>> augment = Augment(shift=2, flip=True)
    >>> moves, flips = augment.draws(seed=0, epoch=3, images=1000)
    >>> moves.shape, int(moves.min()), int(moves.max()), flips.shape
    ((1000, 2), -2, 2, (1000,))
    """

    shift: int = 0
    flip: bool = False
    fill: str = "background"

    def __post_init__(self) -> None:
        object.__setattr__(self, "shift", checked_whole("shift", self.shift, least=0))
        checked_kind("flip", self.flip, bool)
        checked_choice("fill", self.fill, FILLS)
        if not self.shift and not self.flip:
            raise ArgumentError("shift", "must be >= 1 where flip is False, got 0. Use augment=None for no changes.")

    def draws(self, *, seed: int, epoch: int, images: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Return the shifts and flips of all images in an epoch.

        Parameters
        ----------
        seed, epoch : int
        images : int
            Number of images n; the draws of an image do not depend on it.

        Returns
        -------
        moves : ndarray of int64, shape (n, 2)
            Rows down, columns to the right [pixels]; a flip is made before the shift.
        flips : ndarray of bool, shape (n,)
        """
        of_shifts, of_flips = (generator(seed, "augmentation", epoch, kind) for kind in (0, 1))
        moves = of_shifts.integers(-self.shift, self.shift, (images, 2), endpoint=True)
        flips = of_flips.integers(0, 2, images, dtype=np.int64) == 1
        return moves, flips if self.flip else np.zeros(images, dtype=bool)

    def check_images(self, argument: str, images: Any) -> None:
        """Raise ArgumentError unless images have rows and columns, more of each than `shift`."""
        shape = tuple(images.shape)
        if len(shape) != 4:
            rule = "must have images of shape (n, channels, height, width) where augment is given"
            raise ArgumentError(argument, f"{rule}, got {shape}. Reshape them, or leave augment out.")
        if self.shift >= min(shape[2:]):
            rule = f"must be < {min(shape[2:])}, the shorter side of the images"
            raise ArgumentError("augment", f"has a shift that {rule}, got {self.shift}.")
