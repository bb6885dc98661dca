"""Readers of the files of the published data sets: their decompressed contents in, images and labels out.

The hash of the bytes was checked before; each reader checks the structure it relies on. NumPy only, and SciPy where a
MATLAB file is read: nothing here imports torch.
"""

import io
from collections.abc import Sequence

import numpy as np

from bnn.data.images import Images, Labels

Parts = tuple[Images, Labels, Images, Labels]  # train images and labels, test images and labels


def parse_digits(contents: Sequence[bytes]) -> Parts:
    """Read the shipped table: a comment line, then label, half (0 train, 1 test) and 64 pixels on each line."""
    table = np.loadtxt(contents[0].decode("ascii").splitlines(), delimiter=",", dtype=np.uint8, comments="#")
    labels, images = table[:, 0].astype(np.int64), table[:, 2:].reshape(-1, 1, 8, 8)
    train, test = table[:, 1] == 0, table[:, 1] == 1
    return images[train], labels[train], images[test], labels[test]


def parse_idx(contents: Sequence[bytes]) -> Parts:
    """Read the four idx files of MNIST: big-endian header (type, axes, lengths), then bytes."""
    train_images, train_labels, test_images, test_labels = map(_idx_array, contents)
    return (
        train_images[:, np.newaxis],
        train_labels.astype(np.int64),
        test_images[:, np.newaxis],
        test_labels.astype(np.int64),
    )


def _idx_array(contents: bytes) -> Images:
    if contents[:3] != b"\0\0\x08":
        raise ValueError(f"an idx file of bytes must begin with 00 00 08, got {contents[:3].hex(' ')}.")
    axes = contents[3]
    lengths = np.frombuffer(contents, dtype=">u4", count=axes, offset=4)
    return np.frombuffer(contents, dtype=np.uint8, offset=4 + 4 * axes).reshape([int(length) for length in lengths])


def parse_cifar(contents: Sequence[bytes]) -> Parts:
    """Read the batches of CIFAR-10, the test batch last: records of a label byte and 32 x 32 red, green, blue bytes."""
    return _cifar_parts(contents, label_bytes=1, label=0)


def parse_cifar100_coarse(contents: Sequence[bytes]) -> Parts:
    """Read the two files of CIFAR-100, train and test: each record begins with the coarse label and the fine one."""
    return _cifar_parts(contents, label_bytes=2, label=0)


def parse_cifar100_fine(contents: Sequence[bytes]) -> Parts:
    """As `parse_cifar100_coarse`, with the fine labels."""
    return _cifar_parts(contents, label_bytes=2, label=1)


def _cifar_parts(contents: Sequence[bytes], *, label_bytes: int, label: int) -> Parts:
    """Read files of records, the test images in the last of them; `label` is the number of the label byte to use."""
    record = label_bytes + 3 * 32 * 32
    if wrong := [len(file) for file in contents if len(file) % record]:
        raise ValueError(f"a CIFAR file must hold records of {record:,} bytes, got {wrong[0]:,} bytes in all.")
    batches = [np.frombuffer(file, dtype=np.uint8).reshape(-1, record) for file in contents]
    images = [batch[:, label_bytes:].reshape(-1, 3, 32, 32) for batch in batches]
    labels = [batch[:, label].astype(np.int64) for batch in batches]
    return np.concatenate(images[:-1]), np.concatenate(labels[:-1]), images[-1], labels[-1]


def parse_svhn(contents: Sequence[bytes]) -> Parts:
    """Read the two MATLAB files of cropped digits, train and test: images X and labels y, of which 10 means a 0."""
    return *_mat_part(contents[0]), *_mat_part(contents[1])


def _mat_part(contents: bytes) -> tuple[Images, Labels]:
    """Read X, uint8 of shape (row, column, colour, image), and y, one label of 1 to 10 for each image."""
    from scipy.io import loadmat  # slow to import

    found = loadmat(io.BytesIO(contents), variable_names=["X", "y"])  # type: ignore[arg-type]  # its stubs forget it
    if absent := {"X", "y"} - found.keys():
        raise ValueError(f"a file of SVHN must hold X and y, but has no {', '.join(sorted(absent))}.")
    images, labels = found["X"], found["y"]
    if images.ndim != 4 or images.shape[:3] != (32, 32, 3) or images.dtype != np.uint8:
        raise ValueError(f"X must be uint8 of shape (32, 32, 3, n), got {images.dtype} of shape {images.shape}.")
    if labels.shape != (images.shape[3], 1):
        raise ValueError(f"y must have the shape ({images.shape[3]}, 1), got {labels.shape}.")
    if (strange := labels[~np.isin(labels, np.arange(1, 11))]).size:
        raise ValueError(f"y must be 1 to 10, where 10 means the digit 0; got {strange[0]}.")
    return np.ascontiguousarray(images.transpose(3, 2, 0, 1)), labels[:, 0].astype(np.int64) % 10
