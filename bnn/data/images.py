"""Labelled images in memory: sets of them, their halves, and how they are split.

NumPy only: nothing here imports torch.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images with their labels, as they are in the files.

    Parameters
    ----------
    images : ndarray of uint8, shape (n, channels, height, width)
        Grey levels, 0 to `full_scale`. At least one image.
    labels : ndarray of int64, shape (n,)
        Class of each image, counted from 0.
    name : str
        Its name in results, such as ``"mnist/test"``.
    full_scale : int
        The largest level a pixel of this data set can have: 255, or 16 for the digits.

    Raises
    ------
    TypeError
        If an array has another dtype: nothing is converted silently.
    ValueError
        If shapes do not belong together, or a value is outside its range.

    Notes
    -----
    The arrays are read-only, because results quote `identity`. ``torch.tensor(labels)`` copies them without complaint;
    ``torch.from_numpy`` warns. `scaled` returns a new, writable array.
    """

    images: Images
    labels: Labels
    name: str
    full_scale: int = 255

    def __post_init__(self) -> None:
        images = _read_only("images", self.images, np.uint8, "n", "channels", "height", "width")
        if not 1 <= self.full_scale <= 255:
            raise ValueError(f"full_scale must be 1 to 255, got {self.full_scale!r}.")
        if (brightest := int(self.images.max())) > self.full_scale:
            raise ValueError(f"images must not exceed full_scale={self.full_scale}, got a pixel of {brightest}.")
        object.__setattr__(self, "images", images)
        object.__setattr__(self, "labels", checked_labels(self.labels, len(images), "image"))

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        size = "x".join(map(str, self.images.shape[1:]))
        classes = len(np.unique(self.labels))
        return (
            f"ImageSet({self.name!r}, {len(self)} images of {size}, {classes} classes, levels 0 to {self.full_scale})"
        )

    @cached_property
    def identity(self) -> str:
        """SHA-256 (hex) over pixels, labels and full scale; the name does not enter."""
        digest = hashlib.sha256(f"{self.images.shape} {self.full_scale}".encode())
        digest.update(np.ascontiguousarray(self.images).data)
        digest.update(np.ascontiguousarray(self.labels, dtype="<i8").data)
        return digest.hexdigest()

    def scaled(self) -> NDArray[np.float32]:
        """Return the images as numbers in [-1, 1]: level 0 becomes -1, `full_scale` becomes +1.

        Returns
        -------
        ndarray of float32, shape (n, channels, height, width)
            A new array. The map is the data set's own and fixed, so train, validation and test get the same one.
        """
        middle = np.float32(self.full_scale / 2)
        values = self.images.astype(np.float32)
        values -= middle
        values /= middle
        return values

    def subset(self, indices: ArrayLike, *, name: str | None = None) -> ImageSet:
        """Return the chosen images, in the order given.

        Parameters
        ----------
        indices : array_like of int, shape (k,)
            Positions from 0 to n - 1. For a mask use ``np.flatnonzero(mask)``.
        name : str, optional
            Name of the result; the same name by default.

        Raises
        ------
        TypeError
            If the indices are not integers.
        IndexError
            If an index is outside 0 to n - 1; negative ones are, too.
        """
        chosen = checked_indices(indices, len(self))
        return ImageSet(self.images[chosen], self.labels[chosen], name or self.name, self.full_scale)

    def split(self, fraction: float, *, seed: int | np.random.SeedSequence) -> tuple[ImageSet, ImageSet]:
        """Cut in two at random, each class in the same proportion.

        Parameters
        ----------
        fraction : float
            Share of the first part, between 0 and 1; rounding as in `stratified_choice`.
        seed : int or SeedSequence
            Same seed, same parts.

        Returns
        -------
        first, second : ImageSet
            Disjoint, together everything, both in the original order.

        Raises
        ------
        ValueError
            If a part would be empty.

        Examples
        --------
        >>> from bnn.data import load
        >>> train, validation = load("digits").train.split(0.9, seed=0)
        >>> len(train), len(validation)
        (1078, 120)
        """
        in_first = stratified_choice(self.labels, fraction, random=split_stream(seed))
        return self.subset(np.flatnonzero(in_first)), self.subset(np.flatnonzero(~in_first))


class LabelledImages(Protocol):
    """Images and labels, `bnn.data.ImageSet` for example."""

    @property
    def labels(self) -> Labels:
        """Classes, int64, shape (n,)."""

    def scaled(self) -> np.ndarray:
        """Return the images as the input of a network, float32, shape (n, c, h, w)."""


def checked_indices(indices: ArrayLike, length: int) -> NDArray[Any]:
    """Return positions among `length` images as an array; TypeError or IndexError as in `ImageSet.subset`."""
    chosen = np.asarray(indices)
    if chosen.dtype.kind not in "iu" or chosen.ndim != 1:
        got = f"got {chosen.dtype} of shape {chosen.shape}. For a mask use np.flatnonzero(mask)."
        raise TypeError(f"indices must be a one-dimensional array of integers, {got}")
    outside = chosen[(chosen < 0) | (chosen >= length)]
    if outside.size:
        raise IndexError(f"indices must be 0 to {length - 1}, got {outside[0]}.")
    return chosen


def checked_labels(labels: Any, count: int, of: str) -> Labels:
    """Return a read-only view; TypeError or ValueError unless it has one class >= 0 for each of `count` images."""
    view = _read_only("labels", labels, np.int64, "n")
    if len(view) != count:
        raise ValueError(f"labels must be one for each {of}, got {len(view)} for {count}.")
    if (smallest := int(view.min())) < 0:
        raise ValueError(f"labels must be >= 0, got {smallest}.")
    return view


def _read_only(argument: str, array: Any, dtype: type[np.generic], *axes: str) -> NDArray[Any]:
    """Return a read-only view of an array of this type, with these axes; TypeError or ValueError for another."""
    if not isinstance(array, np.ndarray) or array.dtype != dtype:
        got = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
        raise TypeError(f"{argument} must be an array of {np.dtype(dtype)}, got {got}.")
    if array.ndim != len(axes) or array.size == 0:
        raise ValueError(f"{argument} must have the axes ({', '.join(axes)}), none empty; got shape {array.shape}.")
    view = array.view()
    view.flags.writeable = False
    return view


def split_stream(seed: int | np.random.SeedSequence) -> np.random.Generator:
    """Return the generator that splits images; TypeError unless `seed` is an integer or a SeedSequence."""
    from mtjsim.rng import ROLES, checked_seed  # here: reading data starts without scipy

    if not isinstance(seed, (int, np.integer, np.random.SeedSequence)):
        raise TypeError(f"seed must be an integer or a SeedSequence, got {seed!r}.")
    root = seed if isinstance(seed, np.random.SeedSequence) else np.random.SeedSequence(checked_seed(seed))
    key = (*root.spawn_key, ROLES.index("image_split"))
    return np.random.default_rng(np.random.SeedSequence(entropy=root.entropy, spawn_key=key))


def stratified_choice(labels: Labels, fraction: float, *, random: np.random.Generator) -> NDArray[np.bool_]:
    """Choose a share of the images at random, of each class in the same proportion.

    Parameters
    ----------
    labels : ndarray of int64, shape (n,)
        Class of each image, counted from 0.
    fraction : float
        Share to choose, between 0 and 1: ``round(fraction * n)`` images in all, and of each class its exact share
        rounded down or up.
    random : Generator

    Returns
    -------
    ndarray of bool, shape (n,)
        True where chosen.

    Raises
    ------
    ValueError
        If nothing or everything would be chosen.
    """
    n = len(labels)
    if not 0 < fraction < 1 or round(fraction * n) in (0, n):
        raise ValueError(f"fraction must be between 0 and 1 and leave images on both sides, got {fraction!r} of {n}.")
    chosen = np.zeros(len(labels), dtype=bool)
    for label, count in enumerate(_shares(np.bincount(labels), fraction)):
        chosen[random.permutation(np.flatnonzero(labels == label))[:count]] = True
    return chosen


def _shares(counts: NDArray[np.int64], fraction: float) -> NDArray[np.int64]:
    """Whole-number shares of `counts` that add up to the rounded share of their sum (largest remainder first)."""
    exact = fraction * counts
    shares = np.floor(exact).astype(np.int64)
    left_over = round(fraction * int(counts.sum())) - int(shares.sum())
    shares[np.argsort(shares - exact, kind="stable")[:left_over]] += 1
    return shares


@dataclass(frozen=True, eq=False)
class DataSet:
    """A published data set: images to train on, images to report on, and its source.

    Parameters
    ----------
    name : str
        The name it was loaded by.
    train, test : ImageSet
        Its two halves; for a validation set, `ImageSet.split` the first.
    class_names : tuple of str
        Meaning of label 0, 1, ...
    source : str
        Citation and licence.

    Raises
    ------
    ValueError
        If the halves differ in image shape or full scale, or a label has no class name.
    """

    name: str
    train: ImageSet
    test: ImageSet
    class_names: tuple[str, ...]
    source: str

    def __post_init__(self) -> None:
        shapes = [(half.images.shape[1:], half.full_scale) for half in (self.train, self.test)]
        if shapes[0] != shapes[1]:
            raise ValueError(f"train and test must have equal image shapes and full scales, got {shapes}.")
        if (largest := max(int(half.labels.max()) for half in (self.train, self.test))) >= len(self.class_names):
            raise ValueError(f"labels must be below the {len(self.class_names)} class names, got {largest}.")

    def __repr__(self) -> str:
        size = "x".join(map(str, self.train.images.shape[1:]))
        count = f"{len(self.train)} to train and {len(self.test)} to test"
        return f"DataSet({self.name!r}, images of {size}, {count}, {len(self.class_names)} classes)"

    @cached_property
    def identity(self) -> str:
        """SHA-256 (hex) over the contents of both halves and the class names, for the records of results."""
        parts = (self.train.identity, self.test.identity, *self.class_names)
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()
