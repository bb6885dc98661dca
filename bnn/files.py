"""Files: writing tried before the work, and never half a file; arrays read whole or not at all."""

import io
import tempfile
from pathlib import Path

import numpy as np


def require_writable(folder: Path, *, option: str, make: bool = False) -> None:
    """Try to write in a folder; OSError that names the option and the folder, before any work is lost.

    With `make` the folder itself is made, for an option that names one; what is above it never is.
    """
    try:
        if make:
            folder.mkdir(exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        missing = [str(path) for path in (folder, *folder.parents) if not path.exists()]
        if missing and isinstance(error, FileNotFoundError):
            reason, way_out = f"there is no folder {missing[-1]!r}", "Make it, or name another folder."
        else:
            reason, way_out = error.strerror or str(error), "Name another folder."
        raise OSError(f"{option} {str(folder)!r} cannot be written ({reason}). {way_out}") from None


def write_whole(path: Path, content: bytes) -> None:
    """Write under a temporary name, then rename: the file is the old one or the new one, whole."""
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(content)
    partial.replace(path)


def read_arrays(path: Path) -> np.ndarray | dict[str, np.ndarray]:
    """Return what a .npy or .npz file holds, by name; OSError of the disk, ValueError for a file that is not whole."""
    content = path.read_bytes()
    try:
        loaded = np.load(io.BytesIO(content), allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded
        with loaded:
            return {name: loaded[name] for name in loaded.files}
    except Exception as error:  # damage has many names: SyntaxError, TokenError, zlib.error, MemoryError ...
        raise ValueError(f"damaged, or no file of numbers: {type(error).__name__}") from None
