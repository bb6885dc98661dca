"""NetCDF files: written whole with a checksum of all bytes, which is compared before anything is parsed.

The checksum is in a line after the end of the HDF5 file, where NetCDF readers do not look:

    mtj-bnn SHA-256 <64 hexadecimal digits of all bytes before this line>

An attribute of the file, `mtj_bnn_checksum`, has the text `MARK`. A file with the mark and without a fitting line was
changed, by HDF5 tools too, or damaged. A file without either is of version 0.5.0 or earlier, or of another program: it
is read, and maps and dies check its contents.
"""

import hashlib
import mmap
import os
from pathlib import Path
from typing import TYPE_CHECKING

from mtjsim.checks import ArgumentError
from mtjsim.files import check_unpacked, write_whole

if TYPE_CHECKING:
    import xarray as xr

SUFFIXES = (".nc", ".nc4", ".h5", ".hdf5", "")
MARK = "mtj-bnn: SHA-256 of all bytes, in the last line of this file"
LINE = b"\nmtj-bnn SHA-256 %s\n"
LENGTH = len(LINE) - 2 + 64


def checked_netcdf_path(name: str, path: str | os.PathLike[str]) -> Path:
    """Return the path of a file to be written; ArgumentError if its ending names another format."""
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise ArgumentError(name, f"must end in .nc, got {str(path)!r}: the file is NetCDF.")
    return path


def write_netcdf(dataset: "xr.Dataset", path: str | os.PathLike[str]) -> None:
    """Write a dataset and the checksum of its file; the file is the old one or the new one, whole.

    Raises
    ------
    ArgumentError
        If the path ends as a file of another format does.
    OSError
        If the file cannot be written, a full disk included: the file is built in memory, because libhdf5 does not
        survive a failed write.
    """
    path = checked_netcdf_path("path", path)
    content = bytes(dataset.assign_attrs(mtj_bnn_checksum=MARK).to_netcdf(engine="h5netcdf"))
    write_whole(path, content + _line(content))


def read_netcdf(path: str | os.PathLike[str]) -> "xr.Dataset":
    """Read a dataset into memory, after its checksum was compared.

    Raises
    ------
    FileNotFoundError
        If the file does not exist.
    ValueError
        If the file is not NetCDF, was changed or damaged, or declares numbers of more than 1 GiB and more than its own
        size (compressed by another program).
    """
    import xarray as xr  # here: it takes half a second

    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{str(path)!r} is a folder. Name a file in it.")
    if not path.is_file():
        raise FileNotFoundError(f"file {str(path)!r} does not exist.")
    size = path.stat().st_size
    if size:  # an empty file is not NetCDF, and cannot be mapped
        _require_unchanged(path)
    try:
        with xr.open_dataset(path, engine="h5netcdf") as stored:
            check_unpacked(stored.nbytes, size)
            dataset = stored.load()
    except Exception as error:  # the reader raises many types for a file of another format
        reason = " ".join(str(error).split())
        raise ValueError(f"{path}: cannot be read as NetCDF ({type(error).__name__}: {reason}).") from None
    dataset.attrs.pop("mtj_bnn_checksum", None)
    return dataset


def named_error(path: str | os.PathLike[str], error: Exception) -> ValueError:
    """Return the error of a file's contents as one line that names the file."""
    line = " ".join(str(error).split())
    if not isinstance(error, ValueError) or "\n" in str(error):
        line = f"the file was changed or damaged ({type(error).__name__}: {line})."
    return ValueError(f"{path}: {line}")


def _line(content: bytes | memoryview) -> bytes:
    return LINE % hashlib.sha256(content).hexdigest().encode()


def _require_unchanged(path: Path) -> None:
    """Raise ValueError if the file has a checksum of another content, or its mark without a checksum."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        with memoryview(content) as view:
            unchanged = len(view) > LENGTH and view[-LENGTH:] == _line(view[:-LENGTH])
        marked = content.find(MARK.encode()) >= 0 or content.find(LINE[:17], max(len(content) - LENGTH, 0)) >= 0
    if marked and not unchanged:
        reason = "its checksum is not that of its bytes"
        remedy = "Make it again, or write a changed dataset with save_map() or save_die()"
        raise ValueError(f"{path}: the file was changed or damaged: {reason}. {remedy}.")
