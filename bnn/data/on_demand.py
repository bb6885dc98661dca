"""Images that are read again for each batch, because all of them do not fit in memory: files, torch data sets.

NumPy only: nothing here imports torch.
"""

import hashlib
import sys
import zlib
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bnn.data.image_files import ImageFiles, decoders
from bnn.data.images import Labels
from bnn.data.labelled import checked_classes, checked_images, dataset_of, item_of
from mtjsim.checks import ArgumentError

LARGEST = 4 * 2**30  # bytes of the images of a torch Dataset that are kept in memory


class OnDemand(Protocol):
    """Images of which any are read at any time."""

    labels: Labels
    ahead: bool  # whether another thread may read

    @property
    def identity(self) -> str:
        """A text that is equal for equal images and labels."""

    def read(self, numbers: NDArray[np.int64]) -> NDArray[Any]:
        """Return images by their numbers, (k, ...), contiguous: convolutions round by the order in memory."""


class OfFiles:
    """Labelled image files, decoded when they are needed."""

    ahead = True

    def __init__(self, files: ImageFiles) -> None:
        self.files, self.labels = files, files.labels

    @property
    def identity(self) -> str:
        """Of the files and of what decodes them."""
        return identity_of_files(self.files)

    def read(self, numbers: NDArray[np.int64]) -> NDArray[np.float32]:
        """Decode images, scaled to [-1, 1]."""
        return np.ascontiguousarray(next(self.files.subset(numbers).batches(len(numbers))).scaled())


class OfDataset:
    """A torch Dataset, read once for its labels and its identity, and then when its images are needed.

    Parameters
    ----------
    argument : str
        Its name, for messages.
    data : Dataset
        Of pairs (image, label).

    Raises
    ------
    TypeError, ValueError
        As `labelled`.

    Notes
    -----
    A check sum of each image is kept: one that is another image when it is read again, by a random transform for
    example, is refused.
    """

    ahead = False  # it may be usable in its own thread only

    def __init__(self, argument: str, data: Any) -> None:
        self.argument, self.data = argument, data
        first, _ = item_of(argument, data, 0)
        digest, labels = hashlib.sha256(f"{first.dtype.str} {first.shape}".encode()), []
        self._sums = np.empty(len(data), np.uint32)
        for i in range(len(data)):
            image, label = item_of(argument, data, i)
            if image.shape != first.shape or image.dtype != first.dtype:
                got = f"{first.dtype} {first.shape} for image 0 and {image.dtype} {image.shape} for image {i}"
                raise ArgumentError(argument, f"must have images of one type and shape, got {got}.")
            checked_images(argument, image[np.newaxis], first=i)
            labels.append(label)
            self._sums[i] = zlib.crc32(image.data)
            digest.update(image.data)
        self.labels = checked_classes(argument, np.array(labels), len(data))
        digest.update(np.ascontiguousarray(self.labels, dtype="<i8").data)
        self.identity = f"{len(data)} items {first.dtype} {first.shape} sha256 {digest.hexdigest()}"

    def read(self, numbers: NDArray[np.int64]) -> NDArray[Any]:
        """Read images; ArgumentError for one that is another image than before."""
        images = [item_of(self.argument, self.data, i)[0] for i in numbers.tolist()]
        for i, image in zip(numbers, images, strict=True):
            if zlib.crc32(image.data) != self._sums[i]:
                rule = f"must return the same image each time, got two different ones for image {i}"
                raise ArgumentError(self.argument, f"{rule} (a random transform?). See augment= of bnn.TrainConfig.")
        return np.stack(images)


def on_demand(argument: str, data: Any) -> OnDemand | None:
    """Return images that exceed the memory as what reads them when they are needed; None for others.

    Parameters
    ----------
    argument : str
        Name of `data`, for messages.
    data : labelled images
        `ImageFiles` exceed it if their `scaled()` images are larger than their `memory_limit`, a torch Dataset, or a
        DataLoader of one, if its images are larger than 4 GiB.
    """
    if isinstance(data, ImageFiles):
        return OfFiles(data) if data.memory() > data.memory_limit else None
    torch_data = getattr(getattr(sys.modules.get("torch"), "utils", None), "data", None)
    if torch_data is None or not isinstance(data, (torch_data.Dataset, torch_data.DataLoader)):
        return None
    if isinstance(data, torch_data.DataLoader):
        data = dataset_of(argument, data, torch_data)
    whole = isinstance(data, (torch_data.IterableDataset, torch_data.TensorDataset))  # refused; in memory
    if whole or not hasattr(data, "__len__") or len(data) == 0:
        return None
    return OfDataset(argument, data) if len(data) * item_of(argument, data, 0)[0].nbytes > LARGEST else None


def identity_of_files(files: ImageFiles) -> str:
    """Return the identity of files and of what decodes them."""
    return f"{len(files)} files sha256 {files.identity}, decoded by {decoders()}"
