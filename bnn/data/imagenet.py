"""ImageNet, and folders laid out like it: which file is of which class, in which half.

NumPy and Pillow only: nothing here imports torch.
"""

from __future__ import annotations

import difflib
import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from bnn.data.image_files import SUFFIXES, ImageFiles
from bnn.data.images import DataSet

PER_CLASS = {"train": (732, 1300), "val": (50, 50)}  # images of each class in ILSVRC2012, fewest and most

SOURCE = (
    "O. Russakovsky et al., ImageNet Large Scale Visual Recognition Challenge, IJCV 115, 211 (2015), as found in a "
    "folder, contents not verified by hash. Licence: non-commercial research, image-net.org."
)


@dataclass(frozen=True, eq=False)
class FolderSet:
    """A data set of image files: a `DataSet` that is not decoded yet.

    Its contents were not verified: no hashes of ImageNet's single files are published.

    Parameters
    ----------
    name : str
        Its name in results.
    train, test : ImageFiles
        Its two halves, ``train/`` and ``val/``; for a validation set, `ImageFiles.split` the first.
    class_names : tuple of str
        Meaning of label 0, 1, ...: the names of the class folders, WordNet ids in ImageNet.
    source : str
        Citation, licence, and that the contents were not verified.
    """

    name: str
    train: ImageFiles
    test: ImageFiles
    class_names: tuple[str, ...]
    source: str

    @cached_property
    def identity(self) -> str:
        """SHA-256 (hex) over the contents of all files and the class names: reads every file."""
        parts = (self.train.identity, self.test.identity, *self.class_names)
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def decoded(self) -> DataSet:
        """Return both halves decoded, in memory; ValueError as in `ImageFiles.decoded`."""
        return DataSet(self.name, self.train.decoded(), self.test.decoded(), self.class_names, self.source)


def open_imagenet(
    directory: str | os.PathLike[str],
    *,
    classes: Sequence[str] | None = None,
    val_labels: str | os.PathLike[str] | None = None,
    complete: bool = True,
    resize: int = 256,
    crop: int = 224,
    memory_limit: int = 4 * 2**30,
) -> FolderSet:
    """Open a folder of ImageNet (ILSVRC2012), or one laid out like it. Nothing is decoded yet.

    Parameters
    ----------
    directory : path
        Holds ``train/<class>/<image>`` and ``val/<class>/<image>``, or ``val/<image>`` with `val_labels`. Images end in
        .jpeg, .jpg or .png; names that begin with a dot are ignored.
    classes : sequence of str, optional
        Names of the class folders to use; all by default. Fewer classes tolerate more errors.
    val_labels : path, optional
        Table of the class of each image of a flat ``val/``: a line for each, ``image class`` or ``image,class``, the
        rest of the line is ignored (so Kaggle's ``LOC_val_solution.csv`` works); or the class alone, in the order of
        the images' names.
    complete : bool
        Whether each class must have ILSVRC2012's number of images: 732 to 1,300 in ``train``, 50 in ``val``. False for
        a reduced copy, or another data set laid out like it.
    resize, crop : int
        As in `ImageFiles` [pixels].
    memory_limit : int
        Largest size of the array of all images of a half [bytes]; by default 4 GiB.

    Returns
    -------
    FolderSet
        Classes sorted by name, images by class, then by name: the order does not depend on the machine, nor on the
        layout of ``val``. Label k is the k-th of the classes used. **Not verified by hash**: the layout is checked, and
        each image when it is decoded; whether its contents are the published ones is not.

    Raises
    ------
    FileNotFoundError
        If the folder, ``train`` or ``val`` is not there, or `val_labels` is not.
    ValueError
        If a class is unknown, missing in ``val``, empty or incomplete, if a file is not named as an image, or if
        `val_labels` does not fit the images.

    Notes
    -----
    Small images of few classes fit into memory, for a training on one machine::

        imagenet = bnn.open_imagenet(folder, classes=ten, resize=72, crop=64)
        train, validation = imagenet.train.split(0.9, seed=0)
        Trainer(model, config).fit(train, validation)
        bnn.evaluate(model, imagenet.test, errors=point)

    Training images that exceed `memory_limit` are decoded batch by batch; those of an evaluation must fit.
    """
    root = Path(directory).expanduser()
    for half in ("train", "val"):
        if not (root / half).is_dir():
            raise FileNotFoundError(
                f"directory must hold the folders train and val, but {str(root)!r} has no {half}. Lay ImageNet out as "
                "train/<wnid>/*.JPEG and val/<wnid>/*.JPEG, or keep val flat and pass val_labels=."
            )
    known = _class_folders(root / "train")
    chosen = known if classes is None else _chosen(classes, known)
    train = {name: _images(root / "train" / name) for name in chosen}
    if val_labels is None:
        val = _in_folders(root / "val", known, chosen)
    else:
        val = _in_table(root / "val", Path(val_labels).expanduser(), known, chosen)
    halves = {}
    for half, files in (("train", train), ("val", val)):
        _check_counts(root / half, files, PER_CLASS[half] if complete else None)
        labels = np.repeat(np.arange(len(chosen)), [len(files[name]) for name in chosen]).astype(np.int64)
        paths = tuple(path for name in chosen for path in files[name])
        halves[half] = ImageFiles(paths, labels, f"imagenet/{half}", resize, crop, memory_limit)
    return FolderSet("imagenet", halves["train"], halves["val"], tuple(chosen), SOURCE)


def _names(folder: Path) -> list[str]:
    return sorted(name for name in os.listdir(folder) if not name.startswith("."))


def _class_folders(folder: Path) -> list[str]:
    """Return the names of the class folders; ValueError for anything else in the folder, or for none."""
    names = _names(folder)
    flat = "; or, where val is flat, pass val_labels=." if folder.name == "val" else "."
    if files := [name for name in names if not (folder / name).is_dir()]:
        raise ValueError(f"{folder} must hold class folders only, but has the file {files[0]}. Take it out{flat}")
    if not names:
        raise ValueError(f"{folder} must hold a folder for each class, but is empty.")
    return names


def _chosen(classes: Sequence[str], known: Sequence[str]) -> list[str]:
    if isinstance(classes, str):
        raise TypeError(f"classes must be a sequence of names, got the string {classes!r}. Write [{classes!r}].")
    for name in classes:
        if name not in known:
            near = difflib.get_close_matches(str(name), known, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"classes must be among the {len(known)} folders of train, got {name!r}.{hint}")
    if len(set(classes)) < max(1, len(classes)):
        raise ValueError(f"classes must be at least one, none twice; got {list(classes)!r}.")
    return sorted(classes)


def _images(folder: Path) -> list[Path]:
    """Return the files of a folder, sorted by name; ValueError unless all are named as images."""
    names, endings = _names(folder), ", ".join(SUFFIXES)
    if strange := [name for name in names if not name.lower().endswith(SUFFIXES)]:
        raise ValueError(f"{folder / strange[0]} is not an image: its name must end in {endings}. Take it out.")
    return [folder / name for name in names]


def _in_folders(val: Path, known: Sequence[str], chosen: Sequence[str]) -> dict[str, list[Path]]:
    """Return the images of ``val`` by class, from its class folders; ValueError for a class that ``train`` has not."""
    present = _class_folders(val)
    if strange := sorted(set(present) - set(known)):
        raise ValueError(f"{val} must have the classes of train, but has {strange[0]}, which train has not.")
    return {name: _images(val / name) if name in present else [] for name in chosen}


def _in_table(val: Path, table: Path, known: Sequence[str], chosen: Sequence[str]) -> dict[str, list[Path]]:
    """Return the images of a flat folder by class, from a table as `open_imagenet` describes it."""
    paths = _images(val)
    images = {path.stem: path for path in paths}
    if len(images) < len(paths):
        raise ValueError(f"{val} must not hold two images that differ in their ending only. Rename one of each pair.")
    files: dict[str, list[Path]] = {name: [] for name in known}
    got = f"but {table} has"
    for image, name in _table(table, list(images)):
        if name not in files:
            kit = "The class numbers of the development kit are in another order."
            raise ValueError(f"val_labels must name classes of train, {got} {name!r} for {image!r}. {kit}")
        stem = image[: -len(Path(image).suffix)] if image.lower().endswith(SUFFIXES) else image
        if (path := images.pop(stem, None)) is None:
            raise ValueError(
                f"val_labels must name each image of {val} once, {got} {image!r} twice, or without a file."
            )
        files[name].append(path)
    if images:
        raise ValueError(f"val_labels must name each image of {val} once, {got} no {min(images.values()).name}.")
    return {name: sorted(files[name]) for name in chosen}


def _table(table: Path, images: Sequence[str]) -> list[tuple[str, str]]:
    """Return image and class of each line of a table; lines of a class alone are those of `images`, in their order."""
    lines = [re.split(r"[,\s]+", line.strip()) for line in table.read_text("utf-8").splitlines() if line.strip()]
    if lines and lines[0][0] == "ImageId":  # Kaggle's heading
        lines = lines[1:]
    if any(len(words) > 1 for words in lines):
        return [(words[0], words[1] if len(words) > 1 else "") for words in lines]
    if len(lines) != len(images):
        raise ValueError(f"val_labels must be {len(images)} lines, one for each image of val, got {len(lines)}.")
    return [(image, words[0]) for image, words in zip(images, lines, strict=True)]


def _check_counts(half: Path, files: Mapping[str, list[Path]], limits: tuple[int, int] | None) -> None:
    """ValueError if a class has no image, or fewer or more than the complete ImageNet has."""
    for name, paths in files.items():
        if not paths:
            raise ValueError(f"class {name} must have images, but {half} has none of it. Get them, or choose classes=.")
        if limits and not limits[0] <= len(paths) <= limits[1]:
            wanted = " to ".join(f"{limit:,}" for limit in dict.fromkeys(limits))
            got = f"got {len(paths):,}. For a copy of other images pass complete=False."
            raise ValueError(f"class {name} must have {wanted} images in {half}, as in ILSVRC2012, {got}")
