"""Data sets by name: one small set shipped inside, well-known ones by path or by checked download.

Every file is recognised by the SHA-256 of its *decompressed* contents, so that a re-compressed copy loads and a damaged
one does not. The published files are listed in origins.py; ImageNet, a folder of files, is in imagenet.py. NumPy only:
nothing here imports torch.
"""

from __future__ import annotations

import bz2
import difflib
import gzip
import hashlib
import importlib.resources
import lzma
import os
import sys
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any, NamedTuple

from bnn.data.images import DataSet, ImageSet
from bnn.data.origins import ORIGINS, DataFile, Origin

PIECE = 1 << 20  # bytes that are decompressed at a time
CACHE_VARIABLE = "MTJ_BNN_DATA"
"""Environment variable that names the download folder; unset or empty: the user's cache folder."""

IMAGENET = (
    "imagenet cannot be fetched, nor loaded by its name: its images are given to registered users only, for "
    "non-commercial research, and are too many for most memories. Get ILSVRC2012 from image-net.org, lay it out as "
    "train/<wnid>/*.JPEG and val/<wnid>/*.JPEG, and open that folder in Python with bnn.open_imagenet(FOLDER), "
    "or name it in data_dir= (--data-dir) of a recipe."
)


def _origin(name: str) -> Origin:
    if name in ORIGINS:
        return ORIGINS[name]
    if name == "imagenet":
        raise ValueError(IMAGENET)
    nearest = difflib.get_close_matches(str(name).lower(), ORIGINS, n=1, cutoff=0.4)
    hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
    from mtjsim.checks import ArgumentError  # here, for it imports SciPy

    raise ArgumentError("name", f"must be one of {', '.join(map(repr, ORIGINS))}, got {name!r}.{hint}")


# --- Reading --------------------------------------------------------------------------------------------------------

OPENERS: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {"": open, ".gz": gzip.open, ".xz": lzma.open, ".bz2": bz2.open}
)


def load(name: str, directory: str | os.PathLike[str] | None = None) -> DataSet:
    """Load a data set, every file checked against its published SHA-256.

    Parameters
    ----------
    name : {"digits", "mnist", "fashion-mnist", "cifar10", "cifar100", "cifar100-coarse", "svhn"}
        ``"digits"`` ships inside the package: 1,797 images of 8 x 8 pixels. ``"cifar100"`` has its 100 fine classes,
        ``"cifar100-coarse"`` the 20 coarse ones of the same images.
    directory : path, optional
        Folder with the official files, or with their customary sub-folder (``mnist``, ``fashion-mnist``,
        ``cifar-10-batches-bin``, ``cifar-100-binary``, ``svhn``). Each file may be as it is, or compressed as .gz, .xz
        or .bz2. By default the download cache: the folder that ``MTJ_BNN_DATA`` names, or the user's cache.

    Returns
    -------
    DataSet
        In the order of the files.

    Raises
    ------
    ValueError
        If the name is unknown, if a file is truncated, damaged or another one, or if `directory` is given for digits.
    FileNotFoundError
        If the folder or a file is not there.

    Notes
    -----
    The digits are the test half of the UCI set, divided once (a column in the shipped file) into 1,198 to train and 599
    to test, a third of each class. The 13 writers are on both sides: accuracies are higher than with UCI's own halves,
    which have no writer in common.

    Of SVHN the cropped digits are read, 73,257 to train and 26,032 to test, without the ``extra`` images. Label d is
    the digit d: the files' 10 becomes 0.

    Examples
    --------
    >>> digits = load("digits")
    >>> digits.train.images.shape, digits.test.images.shape
    ((1198, 1, 8, 8), (599, 1, 8, 8))
    >>> digits.identity[:12]
    '0b86b59aa560'
    """
    origin = _origin(name)
    contents = _all_contents(name, origin, directory)
    train_images, train_labels, test_images, test_labels = origin.parse(contents)
    return DataSet(
        name=name,
        train=ImageSet(train_images, train_labels, f"{name}/train", origin.full_scale),
        test=ImageSet(test_images, test_labels, f"{name}/test", origin.full_scale),
        class_names=origin.class_names,
        source=f"{origin.citation}. Licence: {origin.licence}.",
    )


def _all_contents(name: str, origin: Origin, directory: str | os.PathLike[str] | None) -> list[bytes]:
    folder = _folder(name, origin, directory)
    found = [_find(file, folder) for file in origin.files]
    absent = [file.name for file, path in zip(origin.files, found, strict=True) if path is None]
    if absent:
        where = str(folder) if folder.is_dir() else f"{folder.parent} or its sub-folder {folder.name}"
        where = f"the download cache {where}" if directory is None else where
        raise FileNotFoundError(
            f"{name}: no {', '.join(absent)} in {where} (looked for each as it is and with .gz, .xz, .bz2). "
            f"Get the data with `mtj-bnn fetch {name}`, or pass directory= (--data-dir) their folder."
        )
    paths = [path for path in found if path is not None]
    with ThreadPoolExecutor(os.cpu_count()) as threads:  # decompressing and hashing release the interpreter lock
        return list(threads.map(lambda path, file: _contents(path, file, _remedy(name)), paths, origin.files))


def _remedy(name: str) -> str:
    if name == "digits":
        return "It belongs to the package: install mtj-bnn again."
    return f"Delete the file and get it again with `mtj-bnn fetch {name}`."


def _folder(name: str, origin: Origin, directory: str | os.PathLike[str] | None, *, create: bool = False) -> Path:
    """Find the folder of the files: the root or its customary sub-folder, the one that has a file of them.

    If neither does, the sub-folder (unless the root already has its name): that is where `fetch` puts the files.
    """
    if name == "digits":
        if directory is not None:
            from mtjsim.checks import ArgumentError  # here, for it imports SciPy

            raise ArgumentError("directory", f"must not be given for digits, which ship inside; got '{directory}'.")
        return Path(str(importlib.resources.files("bnn.data").joinpath("digits")))
    root = _cache() if directory is None else Path(directory).expanduser()
    if root.exists() and not root.is_dir():
        raise NotADirectoryError(f"directory must be a folder, got the file {str(root)!r}.")
    if directory is not None and not create and not root.exists():
        raise FileNotFoundError(f"directory {str(root)!r} does not exist: name one that holds the official files.")
    for folder in (root / origin.folder, root):
        if any(_find(file, folder) for file in origin.files):
            return folder
    return root if root.name == origin.folder else root / origin.folder


def _cache() -> Path:
    if chosen := os.environ.get(CACHE_VARIABLE):
        return Path(chosen).expanduser()
    import pooch

    return Path(pooch.os_cache("mtj-bnn"))


def _find(file: DataFile, folder: Path) -> Path | None:
    candidates = (folder / (file.name + suffix) for suffix in OPENERS)
    return next((path for path in candidates if path.is_file()), None)


def _contents(path: Path, file: DataFile, remedy: str, *, subject: str = "") -> bytes:
    """Decompress a file and compare it with what was published; the error calls it `subject`."""
    found = _decompressed(path, file.size)
    if not found.problem and found.sha256 == file.sha256:
        return found.contents
    problem = found.problem or ("has the wrong size" if found.size != file.size else "has the wrong contents")
    others = ((name, other) for name, origin in ORIGINS.items() for other in origin.files)
    known = next((f" (that is {other.name} of {name})" for name, other in others if other.sha256 == found.sha256), "")
    got = f"{found.size:,} bytes with sha256 {found.sha256}{known}" if found.whole else f"{found.size:,} and more bytes"
    raise ValueError(
        f"{subject or path} {problem}. Decompressed it must be {file.size:,} bytes with sha256 {file.sha256}, "
        f"got {got}. {remedy}"
    )


class _Decompressed(NamedTuple):
    """What is in a file: its contents if they are not larger than expected, their size and SHA-256, and the problem."""

    contents: bytes
    size: int
    sha256: str
    whole: bool
    problem: str


def _decompressed(path: Path, expected: int) -> _Decompressed:
    """Decompress a file, by its suffix, and keep at most `expected` bytes of it.

    What is larger is hashed only, up to the largest published file, to name a file that was put in another's place.
    """
    opener = OPENERS.get(path.suffix, open)
    largest = max(file.size for origin in ORIGINS.values() for file in origin.files)
    pieces: list[bytes] = []
    size, digest, problem = 0, hashlib.sha256(), ""
    try:
        with opener(path, "rb") as stream:
            while size <= largest and (piece := stream.read1(PIECE)):  # read() would lose what is before an error
                size += len(piece)
                digest.update(piece)
                if size > expected:
                    pieces.clear()
                else:
                    pieces.append(piece)
    except (EOFError, OSError, zlib.error, lzma.LZMAError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # of the disk; those of gzip and bz2 have no number
            raise
        problem = f"is truncated or corrupt ({type(error).__name__}: {error})"
    return _Decompressed(b"".join(pieces), size, digest.hexdigest(), size <= largest, problem)


# --- Downloading ----------------------------------------------------------------------------------------------------


def fetch(
    name: str,
    directory: str | os.PathLike[str] | None = None,
    *,
    download: Callable[[str, Path], None] | None = None,
) -> Path:
    """Download the missing files of a data set from its official host, and check them.

    Parameters
    ----------
    name : {"digits", "mnist", "fashion-mnist", "cifar10", "cifar100", "cifar100-coarse", "svhn"}
        The digits ship inside, so for them nothing is done.
    directory : path, optional
        Folder to put the files in: in its customary sub-folder, unless the files are there already or the folder itself
        has that name. Created if need be. By default the download cache, as in `load`.
    download : callable, optional
        ``download(url, path)`` writes the content of a URL to a file and raises ConnectionError if it cannot. By
        default pooch, with a progress bar if the standard error stream is a terminal.

    Returns
    -------
    Path
        The folder of the files (for digits: the file). One line on standard error reports the result.

    Raises
    ------
    ConnectionError
        If the host cannot be reached or does not have the file.
    ValueError
        If the download is not the published file: then nothing of it is kept. Also if the folder has a damaged copy
        under another name than the download's, which is not deleted.

    Notes
    -----
    A file gets its final name after its contents were checked, so that a broken download is never used.
    """
    origin = _origin(name)
    folder = _folder(name, origin, directory, create=True)
    if name == "digits":
        path = folder / "digits.csv.bz2"
        _report(f"digits ships inside the package, there is nothing to fetch: {path}")
        return path
    missing = [file for file in origin.files if not _is_here(file, folder, _remedy(name))]
    if not missing:
        _report(f"{name} is here already, checksums verified: {folder}")
        return folder
    from mtjsim.files import made_folder  # here: mtjsim imports scipy, which a data set does not need

    with made_folder(folder, option="directory", parents=True):
        for url in dict.fromkeys(file.url for file in missing):
            _report(f"{name}: downloading {url}")
            with tempfile.TemporaryDirectory(prefix=".fetch-", dir=folder) as scratch:
                wanted = [file for file in missing if file.url == url]
                _fetch_url(url, wanted, folder, Path(scratch), download or _download)
    _report(f"{name} downloaded, checksums verified: {folder}")
    return folder


def _report(line: str) -> None:
    print(line, file=sys.stderr)


def _is_here(file: DataFile, folder: Path, remedy: str) -> bool:
    """Whether a good copy is there; ValueError for a damaged one that the download would not replace."""
    path = _find(file, folder)
    if path is None:
        return False
    try:
        _contents(path, file, remedy)
    except ValueError:
        if path.name == file.saved_as:
            return False
        raise
    return True


def _fetch_url(
    url: str, wanted: Sequence[DataFile], folder: Path, scratch: Path, download: Callable[[str, Path], None]
) -> None:
    """Download one URL into `scratch`, and move the files wanted from it to `folder` once they are verified."""
    arrived = scratch / PurePosixPath(url).name
    download(url, arrived)
    if url.endswith(".tar.gz"):
        _unpack(arrived, url, wanted, scratch)
    for file in wanted:
        _contents(scratch / file.saved_as, file, "Nothing of it was kept.", subject=f"{file.name} from {url}")
    for file in wanted:
        os.replace(scratch / file.saved_as, folder / file.saved_as)


def _unpack(archive: Path, url: str, wanted: Sequence[DataFile], scratch: Path) -> None:
    """Extract the wanted files from an archive, and nothing else."""
    sizes = {file.name: file.size for file in wanted}
    absent = set(sizes)
    try:
        with tarfile.open(archive, "r:gz") as members:
            for member in members:
                name = PurePosixPath(member.name).name
                if name in absent and (stream := members.extractfile(member)) is not None:
                    if member.size != sizes[name]:
                        raise ValueError(
                            f"{name} from {url} has the wrong size, {member.size:,} bytes. Nothing was kept."
                        )
                    (scratch / name).write_bytes(stream.read())
                    absent.remove(name)
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        kind = type(error).__name__
        raise ValueError(f"{url} is truncated or corrupt ({kind}: {error}). Nothing was kept.") from error
    if absent:
        raise ValueError(f"{url} must hold {', '.join(sorted(absent))}, but does not. Nothing was kept.")


def _download(url: str, path: Path) -> None:
    """Get a URL with pooch; a progress bar only on a terminal."""
    import pooch
    import requests  # what pooch downloads with

    try:
        pooch.HTTPDownloader(progressbar=sys.stderr.isatty(), chunk_size=1 << 16)(url, str(path), None)
    except requests.RequestException as error:
        raise ConnectionError(
            f"{url} could not be downloaded ({error}). Without a network, copy the official files from elsewhere and "
            "pass directory= (--data-dir) their folder."
        ) from error
