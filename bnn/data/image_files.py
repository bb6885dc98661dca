"""Labelled image files, decoded on demand: all at once or batch by batch.

NumPy and Pillow only: nothing here imports torch.
"""

import hashlib
import os
import struct
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bnn.data.images import Images, ImageSet, Labels, checked_indices, checked_labels, split_stream, stratified_choice

SUFFIXES = (".jpeg", ".jpg", ".png")
MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")  # of Pillow: those of 8 bits
AT_ONCE = 64  # images decoded before they are copied to the whole array


@dataclass(frozen=True, eq=False)
class ImageFiles:
    """Labelled image files, decoded on demand: all at once if they fit, or batch by batch.

    It has ``labels`` and ``scaled()``, and so can be evaluated as an `ImageSet` can, within `memory_limit`. A training
    decodes more images than that batch by batch. Only `decoded`, `scaled`, `batches` and `identity` open the files.

    Parameters
    ----------
    paths : tuple of Path, length n
        The files. At least one.
    labels : ndarray of int64, shape (n,)
        Class of each image, counted from 0.
    name : str
        Its name in results, such as ``"imagenet/val"``.
    resize : int
        Length of the shorter side after resizing [pixels].
    crop : int
        Side of the square cut from the middle [pixels], at most `resize`.
    memory_limit : int
        Largest size of the array of all images [bytes].

    Raises
    ------
    TypeError, ValueError
        If labels and paths do not belong together, or a number is outside its range.

    Notes
    -----
    Resizing is Pillow's bilinear filter, whose support grows with the reduction; the longer side is rounded down, and
    the crop's corner to the nearest pixel: the usual preparation of ImageNet for evaluation. Grey images become three
    equal channels; transparency, colour profiles and the orientation in EXIF are ignored. There is no augmentation, and
    no scaling by the mean and deviation of the channels: `scaled` is that of `ImageSet`.
    """

    paths: tuple[Path, ...]
    labels: Labels
    name: str
    resize: int = 256
    crop: int = 224
    memory_limit: int = 4 * 2**30

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", checked_labels(self.labels, len(self.paths), "path"))
        if not 1 <= self.crop <= self.resize:
            raise ValueError(f"crop must be 1 to resize={self.resize!r} pixels, got {self.crop!r}.")
        if self.memory_limit <= 0:
            raise ValueError(f"memory_limit must be > 0 bytes, got {self.memory_limit!r}.")

    def __len__(self) -> int:
        return len(self.paths)

    def __repr__(self) -> str:
        return f"ImageFiles({self.name!r}, {len(self):,} files, {self.crop} x {self.crop}, not verified by hash)"

    @cached_property
    def identity(self) -> str:
        """SHA-256 (hex) over the contents of the files, labels, resize and crop: reads every file; names do not enter.

        Two decoders may return pixels that differ by a level; the identity is that of their input.
        """
        digest = hashlib.sha256(f"{len(self)} {self.resize} {self.crop}".encode())
        for path in self.paths:
            with path.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
        digest.update(np.ascontiguousarray(self.labels, dtype="<i8").data)
        return digest.hexdigest()

    def memory(self, dtype: type[np.generic] = np.float32) -> int:
        """Return the size of all images as one array [bytes], of float32 as `scaled` makes it or of another type."""
        return len(self) * 3 * self.crop**2 * np.dtype(dtype).itemsize

    def decoded(self) -> ImageSet:
        """Return the images, decoded, in memory: a byte for each channel of each pixel.

        Raises
        ------
        ValueError
            If they would take more than `memory_limit`, before anything is read; or if a file is not an image, is
            truncated or damaged.
        """
        return ImageSet(self._whole(np.uint8), self.labels, self.name)

    def scaled(self) -> NDArray[np.float32]:
        """Return the images as numbers in [-1, 1], in memory: level 0 becomes -1, level 255 becomes +1.

        Returns
        -------
        ndarray of float32, shape (n, 3, crop, crop)

        Raises
        ------
        ValueError
            As in `decoded`; of four times the size.
        """
        return self._whole(np.float32)

    def _whole(self, dtype: type[np.generic]) -> NDArray:
        if (needed := self.memory(dtype)) > self.memory_limit:
            raise ValueError(
                f"memory_limit of {self.name} must be at least {needed:,} bytes, got {self.memory_limit:,}: its "
                f"{len(self):,} images of 3 x {self.crop} x {self.crop} {np.dtype(dtype)} make one array. Choose fewer "
                "classes=, smaller resize= and crop=, or a subset(); use batches(); or raise the limit."
            )
        whole = np.empty((len(self), 3, self.crop, self.crop), dtype)
        for start, batch in zip(range(0, len(self), AT_ONCE), self.batches(AT_ONCE), strict=True):
            whole[start : start + len(batch)] = batch.images if dtype == np.uint8 else batch.scaled()
        return whole

    def batches(self, size: int) -> Iterator[ImageSet]:
        """Decode the images in their order, `size` at a time; the last batch may be smaller.

        Parameters
        ----------
        size : int, >= 1

        Returns
        -------
        iterator of ImageSet
            For another order use ``subset(order).batches(size)``.

        Raises
        ------
        ValueError
            If a file is not an image, is truncated or damaged; the message names it.
        """
        if size < 1:
            raise ValueError(f"size must be >= 1, got {size!r}.")
        return self._batches(size)

    def _batches(self, size: int) -> Iterator[ImageSet]:
        with ThreadPoolExecutor(os.cpu_count()) as threads:  # Pillow releases the interpreter lock
            for start in range(0, len(self), size):
                paths, labels = self.paths[start : start + size], self.labels[start : start + size]
                images = list(threads.map(lambda path: read_image(path, self.resize, self.crop), paths))
                yield ImageSet(np.stack(images), labels, self.name)

    def subset(self, indices: ArrayLike, *, name: str | None = None) -> "ImageFiles":
        """Return the chosen images, in the order given, as `ImageSet.subset` does."""
        chosen = checked_indices(indices, len(self))
        paths = tuple(self.paths[index] for index in chosen)
        return replace(self, paths=paths, labels=self.labels[chosen], name=name or self.name)

    def split(self, fraction: float, *, seed: int | np.random.SeedSequence) -> tuple["ImageFiles", "ImageFiles"]:
        """Cut in two at random, each class in the same proportion, as `ImageSet.split` does."""
        in_first = stratified_choice(self.labels, fraction, random=split_stream(seed))
        return self.subset(np.flatnonzero(in_first)), self.subset(np.flatnonzero(~in_first))


def decoders() -> str:
    """Return the versions of what decodes the files: two of them may return pixels that differ by a level."""
    from PIL import __version__, features

    return f"Pillow {__version__}, libjpeg {features.version('libjpeg_turbo') or features.version('jpg')}"


def read_image(path: Path, resize: int, crop: int) -> Images:
    """Decode one file, resize it to a shorter side of `resize` and cut a square from the middle.

    Returns
    -------
    ndarray of uint8, shape (3, crop, crop)

    Raises
    ------
    ValueError
        If the file is neither JPEG nor PNG of 8 bits, is truncated or damaged.
    OSError
        If it cannot be read.
    """
    from PIL import Image

    broken = (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError)
    try:
        with Image.open(path, formats=("JPEG", "PNG")) as file:
            if file.mode not in MODES:
                raise ValueError(f"mode {file.mode}, more than 8 bits")
            image = file.convert("RGB")
    except broken as error:
        if isinstance(error, OSError) and error.errno is not None:  # an error of the disk
            raise
        cause = f"or is truncated or damaged ({type(error).__name__}: {error})"
        remedy = "Get the file again, or take it out of the folder."
        raise ValueError(f"{path} is not a JPEG or PNG image of 8 bits, {cause}. {remedy}") from error
    width, height = (side * resize // min(image.size) for side in image.size)
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = round((width - crop) / 2), round((height - crop) / 2)
    return np.asarray(image.crop((left, top, left + crop, top + crop))).transpose(2, 0, 1)
