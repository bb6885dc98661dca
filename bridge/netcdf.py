"""NetCDF files: written whole, read whole."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from mtjsim.files import write_whole

if TYPE_CHECKING:
    import xarray as xr


def write_netcdf(dataset: "xr.Dataset", path: str | os.PathLike[str]) -> None:
    """Write a dataset; the file is the old one or the new one, whole.

    Raises
    ------
    OSError
        If the file cannot be written, a full disk included: the file is built in memory, because libhdf5 does not
        survive a failed write.
    """
    write_whole(path, bytes(dataset.to_netcdf(engine="h5netcdf")))


def read_netcdf(path: str | os.PathLike[str]) -> "xr.Dataset":
    """Read a dataset into memory.

    Raises
    ------
    FileNotFoundError
        If the file does not exist.
    ValueError
        If the file is not NetCDF, or damaged.
    """
    import xarray as xr  # here: it takes half a second

    if not Path(path).is_file():
        raise FileNotFoundError(f"file {str(path)!r} does not exist.")
    try:
        with xr.open_dataset(path, engine="h5netcdf") as stored:
            return stored.load()
    except Exception as error:  # the reader raises many types for a file of another format
        raise ValueError(f"{path}: cannot be read as NetCDF ({type(error).__name__}: {error}).") from None
