"""Writing results: tried before the work, and never half a file."""

import tempfile
from pathlib import Path


def require_writable(folder: Path, *, option: str) -> None:
    """Make the folder and try to write in it; OSError that names the option and the folder, before any work is lost."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        reason = error.strerror or error
        raise OSError(f"{option} {str(folder)!r} cannot be written ({reason}). Name another folder.") from None


def write_whole(path: Path, content: bytes) -> None:
    """Write under a temporary name, then rename: the file is the old one or the new one, whole."""
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(content)
    partial.replace(path)
