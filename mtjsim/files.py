"""Atomic writes, so that readers never see half a file; text files read with clear errors."""

import os
import re
import secrets
import stat
import tempfile
from pathlib import Path


def write_whole(path: str | os.PathLike[str], content: bytes) -> None:
    """Write `content` to `path`; the file is the old one or the new one, whole.

    Parameters
    ----------
    path : str or path
        A symbolic link is followed, the permissions of a file that is there are kept. The folder must exist.
    content : bytes

    Raises
    ------
    OSError
        If the file cannot be written. Nothing is left behind.

    Notes
    -----
    The temporary name is random and opened exclusively, so that several threads and processes may write one path: the
    last rename wins. The content is on the disk before the rename.
    """
    target = Path(os.path.realpath(path))
    mode = None
    if os.path.lexists(target):
        found = target.stat()  # OSError for a circle of links
        if not stat.S_ISREG(found.st_mode):  # a pipe, a device: there is no file to replace
            target.write_bytes(content)
            return
        mode = stat.S_IMODE(found.st_mode)
    partial = target.with_name(f".{_short(target.name)}.{secrets.token_hex(8)}.partial")
    try:
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), "wb") as file:
            if mode is not None:
                os.fchmod(file.fileno(), mode)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(target)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def partial_files(path: str | os.PathLike[str]) -> list[Path]:
    """Return the temporary files of `path`: of writes that go on now, or were killed."""
    target = Path(os.path.realpath(path))
    pattern = re.compile(rf"\.{re.escape(_short(target.name))}\.[0-9a-f]{{16}}\.partial")
    return [file for file in target.parent.iterdir() if pattern.fullmatch(file.name)]


def _short(name: str) -> str:
    """Return a name, cut so that more of it fits into the name of a file."""
    return os.fsdecode(os.fsencode(name)[:200])


def read_text(path: str | os.PathLike[str], *, kind: str, remedy: str = "") -> str:
    """Return the text of a UTF-8 file, without a byte order mark; errors name the `kind` of file and the path."""
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{kind} {str(path)!r} is a folder. Name a file in it.")
    if not path.is_file():
        raise FileNotFoundError(f"{kind} {str(path)!r} does not exist. {remedy}".rstrip())
    try:
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not a text in UTF-8 ({error.reason} at byte {error.start}).") from None


def require_writable(folder: Path, *, option: str, make: bool = False) -> None:
    """Try to write in a folder; OSError that names the option and the folder, before any work is lost.

    With `make` the folder itself is made, for an option that names one; its parents are not.
    """
    try:
        if make:
            folder.mkdir(exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        missing = [str(path) for path in (folder, *folder.parents) if not path.exists()]
        if missing and isinstance(error, FileNotFoundError):
            reason, remedy = f"there is no folder {missing[-1]!r}", "Make it, or name another folder."
        else:
            reason, remedy = error.strerror or str(error), "Name another folder."
        raise OSError(f"{option} {str(folder)!r} cannot be written ({reason}). {remedy}") from None
