"""Labelled images of any origin, checked: arrays, tensors, data sets of torch, objects with ``scaled()`` and labels."""

import hashlib
import sys
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Union

import numpy as np
from numpy.typing import NDArray

from bnn.data.images import DataSet, LabelledImages, Labels
from mtjsim.checks import ArgumentError

if TYPE_CHECKING:
    from torch.utils.data import DataLoader, Dataset

Labelled = Union[LabelledImages, tuple[Any, Any], "Dataset[Any]", "DataLoader[Any]"]
READ_TWICE = 16  # images of a torch Dataset that are read twice, to find random transforms
WANTED = (
    "must be images with their labels: a pair (images, labels) of arrays or tensors, a torch Dataset or DataLoader, "
    "or an object with scaled() and labels, such as a bnn.ImageSet"
)


@dataclass(frozen=True, eq=False)
class LabelledArrays:
    """Images and labels that were checked by `labelled`.

    Parameters
    ----------
    images : ndarray, shape (n, ...)
        Floating point, finite; or whole numbers, for a model that begins with an embedding.
    labels : ndarray of int64, shape (n,)
        Class of each image, counted from 0.
    """

    images: NDArray[Any]
    labels: Labels

    def __len__(self) -> int:
        return len(self.images)

    def scaled(self) -> NDArray[Any]:
        """Return the images; not a copy."""
        return self.images

    @cached_property
    def identity(self) -> str:
        """SHA-256 (hex) over type, shape and values of the images, and the labels."""
        digest = hashlib.sha256(f"{self.images.dtype.str} {self.images.shape}".encode())
        digest.update(np.ascontiguousarray(self.images).data)
        digest.update(np.ascontiguousarray(self.labels, dtype="<i8").data)
        return digest.hexdigest()


def labelled(argument: str, data: Any) -> LabelledArrays:
    """Return images and labels of `data` as arrays, checked.

    Parameters
    ----------
    argument : str
        Name of `data` in the caller's signature, for messages.
    data : pair, Dataset, DataLoader, or object with ``scaled()`` and ``labels``
        A pair (images, labels) of arrays or tensors. A torch Dataset of pairs (image, label), read once, in its order.
        A DataLoader: its dataset; order and batches are those of the caller. An object whose ``scaled()`` returns the
        images, (n, ...), and whose ``labels`` are their classes.

    Returns
    -------
    LabelledArrays
        Floating-point images keep their type.

    Raises
    ------
    TypeError
        For an object of another kind; with what to pass instead.
    ValueError
        For images that are no numbers, not finite, not of one shape or not scaled (uint8), labels that are not one
        whole number >= 0 for each image, no images, a Dataset that returns other values each time it is read, or a
        DataLoader that does more than to cut its dataset into batches.

    Examples
    --------
    >>> data = labelled("data", (np.zeros((3, 2)), [0, 1, 1]))
    >>> data.scaled().shape, data.labels
    ((3, 2), array([0, 1, 1]))
    >>> labelled("data", (np.zeros((2, 2)), [[0], [1]]))
    Traceback (most recent call last):
    ...
    mtjsim.checks.ArgumentError: data must have labels of shape (n,), one class an image, got (2, 1). Use ...
    """
    images, labels = _parts(argument, data)
    if labels is None:
        raise TypeError(f"{argument} {WANTED}; got {_shown(data)}, which has no labels.")
    images = checked_images(argument, images)
    return LabelledArrays(images, checked_classes(argument, labels, len(images)))


def unlabelled(argument: str, data: Any) -> NDArray[Any]:
    """Return the images of `data`, checked, which may also be an array or a tensor without labels; see `labelled`."""
    return checked_images(argument, data if _is_array(data) else _parts(argument, data)[0])


def check_data_set(argument: str, data: Any) -> None:
    """Raise TypeError unless `data` is a `bnn.DataSet`, of images to train on and images to test on."""
    if not isinstance(data, DataSet):
        rule = 'must be a bnn.DataSet, of images to train on and images to test on, such as bnn.load("digits")'
        remedy = 'For your own images: bnn.DataSet("mine", train, test, class_names, source), two bnn.ImageSet'
        raise DataSetError(argument, f"{rule}, got {_shown(data)}. {remedy}.")


class DataSetError(ArgumentError, TypeError):
    """Something else where a `DataSet` is needed; also an `ArgumentError`, as it was."""


def _parts(argument: str, data: Any) -> tuple[Any, Any]:
    """Return images and labels, as they are; None for labels that are not there."""
    if isinstance(data, DataSet):
        remedy = "Pass one of them: data.train or data.test."
        raise TypeError(f"{argument} must be one set of images, got the data set {data.name!r}, of two. {remedy}")
    if callable(getattr(data, "scaled", None)) and hasattr(data, "labels"):
        return data.scaled(), data.labels
    if isinstance(data, (tuple, list)) and len(data) == 2:
        return data[0], data[1]
    if _is_array(data):
        return data, None
    torch_data = getattr(sys.modules.get("torch"), "utils", None)
    if torch_data is not None and isinstance(data, torch_data.data.DataLoader):
        data = dataset_of(argument, data, torch_data.data)
    if torch_data is not None and isinstance(data, torch_data.data.Dataset):
        return _read(argument, data, torch_data.data)
    raise TypeError(f"{argument} {WANTED}; got {_shown(data)}.")


def _is_array(value: Any) -> bool:
    return hasattr(value, "__array__") and hasattr(value, "shape")


def _array(value: Any) -> NDArray[Any]:
    """Return an array or tensor as a NumPy array that can be written to, copied only if necessary."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        value = (value.float() if str(value.dtype) == "torch.bfloat16" else value).numpy()  # NumPy has no bfloat16
    array = np.asarray(value)
    if array.dtype.kind in "iuf":
        array = array.astype(array.dtype.newbyteorder("="), copy=False)
    return np.require(array, requirements=["C", "W"])


def _dense(argument: str, value: Any) -> NDArray[Any]:
    """Return an array or tensor as `_array`; ArgumentError for one in which values are missing."""
    if isinstance(value, np.ma.MaskedArray):
        raise ArgumentError(argument, "must have arrays without a mask, got a masked one. Use array.filled(0).")
    if str(getattr(value, "layout", "torch.strided")) != "torch.strided":
        raise ArgumentError(argument, f"must have dense tensors, got {value.layout}. Use tensor.to_dense().")
    return _array(value)


def checked_images(argument: str, value: Any, *, first: int = 0) -> NDArray[Any]:
    """Return images as an array that can be written to, checked as `labelled` says; `first`: number of the first."""
    if not _is_array(value):
        raise TypeError(f"{argument} must have images as an array or a tensor, got {_shown(value)}.")
    images = _dense(argument, value)
    if images.ndim and len(images) == 0:
        raise ArgumentError(argument, "must have at least one image, got none.")
    if images.ndim < 2 or images.size == 0:
        rule = f"must have images of shape (n, ...), one row an image, got {images.shape}"
        raise ArgumentError(argument, f"{rule}. Use images.reshape(len(labels), -1).")
    if images.dtype == np.uint8:
        remedy = "Scale them, as in images / 255, or pass bnn.ImageSet(images, labels, name)."
        raise ArgumentError(argument, f"must have floating-point images, got levels from 0 to 255 (uint8). {remedy}")
    if images.dtype.kind not in "fi" or images.dtype.itemsize > 8:
        most = " of at most 64 bits" * (images.dtype.kind == "f")
        rule = f"must have floating-point images{most}, got {images.dtype}"
        raise ArgumentError(argument, f"{rule}. Use images.astype('float32').")
    if images.dtype.kind == "f" and not np.isfinite([images.min(), images.max()]).all():
        wrong = first + int(np.flatnonzero(~np.isfinite(images).reshape(len(images), -1).all(axis=1))[0])
        raise ArgumentError(argument, f"must have finite values, got NaN or infinity in image {wrong}.")
    return images


def checked_classes(argument: str, value: Any, count: int) -> Labels:
    """Return labels as int64, checked as `labelled` says."""
    labels = _dense(argument, value)
    if labels.ndim == 0:
        raise ArgumentError(argument, f"must have labels of shape (n,), one class an image, got {value!r}.")
    if labels.ndim != 1:
        remedy = "Use labels.ravel()." if labels.size == len(labels) else "Of one-hot labels use labels.argmax(1)."
        rule = f"must have labels of shape (n,), one class an image, got {labels.shape}"
        raise ArgumentError(argument, f"{rule}. {remedy}")
    if len(labels) != count:
        raise ArgumentError(argument, f"must have a label for each image, got {len(labels)} for {count} images.")
    if labels.dtype.kind not in "iu":
        rule = f"must have labels that are whole numbers, one class an image, got {labels.dtype}"
        raise ArgumentError(argument, f"{rule}. Use labels.astype('int64').")
    if (smallest := int(labels.min())) < 0:
        raise ArgumentError(argument, f"must have labels >= 0, got {smallest} for image {int(labels.argmin())}.")
    if (largest := int(labels.max())) > np.iinfo(np.int64).max:
        raise ArgumentError(argument, f"must have labels of 63 bits, got {largest} for image {int(labels.argmax())}.")
    return labels.astype(np.int64)


def dataset_of(argument: str, loader: Any, torch_data: Any) -> Any:
    """Return the dataset of a DataLoader that only cuts it into batches; ArgumentError for another."""
    if not hasattr(loader.dataset, "__len__"):
        return loader.dataset  # `_read` refuses it
    n = len(loader.dataset)
    sampler, plain = loader.sampler, (torch_data.SequentialSampler, torch_data.RandomSampler)
    problem = None
    if loader.batch_size is None and loader.batch_sampler is None:
        problem = "batch_size=None, which cuts none"
    elif type(loader.batch_sampler) is not torch_data.BatchSampler or type(sampler) not in plain:
        problem = "a sampler of its own"
    elif isinstance(sampler, torch_data.RandomSampler) and (sampler.replacement or sampler.num_samples != n):
        problem = "a sampler that does not draw each image once"
    elif loader.collate_fn is not torch_data.default_collate:
        problem = "a collate_fn of its own"
    elif loader.drop_last and n % loader.batch_size:
        problem = f"drop_last, which would leave out {n % loader.batch_size} images"
    if problem is not None:
        rule = f"must be a DataLoader that cuts its dataset into batches, got one with {problem}"
        raise ArgumentError(argument, f"{rule}. Pass loader.dataset: each image is used once an epoch.")
    return loader.dataset


def _read(argument: str, data: Any, torch_data: Any) -> tuple[Any, Any]:
    """Read a torch Dataset in its order."""
    if isinstance(data, torch_data.IterableDataset) or not hasattr(data, "__len__"):
        raise TypeError(f"{argument} must be a Dataset with a length, got {_shown(data)}, which can only be iterated.")
    if type(data) is torch_data.TensorDataset and len(data.tensors) == 2:
        return data.tensors
    n = len(data)
    if n == 0:
        raise ArgumentError(argument, "must have at least one image, got none.")
    first, _ = item_of(argument, data, 0)
    images, labels = np.empty((n, *first.shape), first.dtype), []
    for i in range(n):
        image, label = item_of(argument, data, i)
        if image.shape != first.shape:
            rule = f"must have images of one shape, got {first.shape} for image 0 and {image.shape} for image {i}"
            raise ArgumentError(argument, f"{rule}. Resize them in the transform.")
        images[i] = image
        labels.append(label)
    for i in range(min(n, READ_TWICE)):
        if not np.array_equal(item_of(argument, data, i)[0], images[i], equal_nan=images.dtype.kind == "f"):
            rule = f"must return the same image each time, got two different ones for image {i} (a random transform?)"
            raise ArgumentError(argument, f"{rule}. Leave augmentation out: see augment= of bnn.TrainConfig.")
    return images, np.array(labels)


def item_of(argument: str, data: Any, i: int) -> tuple[NDArray[Any], Any]:
    """Return image and label of an item of a torch Dataset."""
    item = data[i]
    pair = isinstance(item, (tuple, list)) and len(item) == 2
    if not pair or not hasattr(item[0], "shape"):
        found = f"({', '.join(type(part).__name__ for part in item)})" if pair else _shown(item)
        remedy = "An image that is not a tensor needs a transform, such as torchvision's ToTensor."
        if not pair:
            remedy = "Pass (images, labels), or a Dataset that returns these two."
        raise TypeError(f"{argument} must be a Dataset of pairs (tensor, label), got {found} for image {i}. {remedy}")
    label = _array(item[1]) if hasattr(item[1], "shape") else np.asarray(item[1])
    return _array(item[0]), label


def _shown(value: Any) -> str:
    shape = f" of shape {tuple(value.shape)}" if _is_array(value) else ""
    length = f" of {len(value)}" if isinstance(value, (tuple, list)) else ""
    return f"{type(value).__name__}{shape}{length}"
