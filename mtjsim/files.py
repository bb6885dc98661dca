"""Atomic writes, so that readers never see half a file; text files read with clear errors."""

import os
import re
import secrets
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: temporary files of killed writers stay
    fcntl = None  # type: ignore[assignment]

UNPACKED = 1 << 30  # bytes a compressed file may become in memory
TEMPORARY = re.compile(r"\.mtj-bnn-[0-9a-f]{16}\.partial")


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
    last rename wins. The content is on the disk before the rename. A killed writer leaves its temporary file; the next
    write in that folder removes it, which it finds by the lock that a writer holds and the kernel releases.
    """
    target = Path(os.path.realpath(path))
    mode = None
    if os.path.lexists(target):
        found = target.stat()  # OSError for a circle of links
        if not stat.S_ISREG(found.st_mode):  # a pipe, a device: there is no file to replace
            target.write_bytes(content)
            return
        mode = stat.S_IMODE(found.st_mode)
    remove_abandoned(target.parent)
    partial, number = _opened_temporary(target.parent)
    try:
        with os.fdopen(number, "wb") as file:
            if mode is not None:
                os.fchmod(file.fileno(), mode)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            partial.replace(target)  # while the lock is held
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def remove_abandoned(folder: Path) -> None:
    """Remove the temporary files of writers that were killed: those that no process has locked."""
    found: list[Path] = []
    if fcntl is None:
        return
    with suppress(OSError), os.scandir(folder) as entries:  # a folder may be written and not listed
        found = [Path(entry.path) for entry in entries if TEMPORARY.fullmatch(entry.name)]
    for path in found:
        with suppress(OSError):  # its writer is at work or has just finished, or it is another user's
            number = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()
            finally:
                os.close(number)


def _opened_temporary(folder: Path) -> tuple[Path, int]:
    """Create a file with a random name, locked as long as it is open; its path and descriptor."""
    while True:
        path = folder / f".mtj-bnn-{secrets.token_hex(8)}.partial"
        number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
        if fcntl is None:
            return path, number
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(number).st_nlink:
                return path, number
        except BlockingIOError:  # between the two calls another process took it for an abandoned one
            pass
        except OSError:  # a file system without locks: there nothing is removed either
            return path, number
        os.close(number)


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


def require_writable(folder: Path, *, option: str) -> None:
    """Try to write in a folder; OSError that names the option and the folder, before any work is lost."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise _unwritable(folder, option, error) from None


@contextmanager
def made_folder(folder: Path, *, option: str, parents: bool = False) -> Iterator[None]:
    """Make a folder, unless it is there, and try to write in it; if the block raises, a new folder is removed again.

    Parameters
    ----------
    folder : Path
    option : str
        That names it, for messages.
    parents : bool
        Whether missing parents are made, and removed, too; else they are an error.

    Raises
    ------
    OSError
        If the folder cannot be made or written, before the block.

    Notes
    -----
    A folder that was there before stays, and so does a new one in which the block has left a file.

    Examples
    --------
    >>> with tempfile.TemporaryDirectory() as place:
    ...     new = Path(place) / "new"
    ...     with suppress(ValueError), made_folder(new, option="out"):
    ...         raise ValueError("refused")
    ...     new.exists()
    False
    """
    new = [path for path in (folder, *folder.parents) if not os.path.lexists(path)]
    try:
        try:
            folder.mkdir(parents=parents, exist_ok=True)
        except OSError as error:
            raise _unwritable(folder, option, error) from None
        require_writable(folder, option=option)
        yield
    except BaseException:
        with suppress(OSError):  # it is not empty, or was not made
            for path in new:
                path.rmdir()
        raise


def _unwritable(folder: Path, option: str, error: OSError) -> OSError:
    missing = [str(path) for path in (folder, *folder.parents) if not path.exists()]
    if missing and isinstance(error, FileNotFoundError):
        reason, remedy = f"there is no folder {missing[-1]!r}", "Make it, or name another folder."
    else:
        reason, remedy = error.strerror or str(error), "Name another folder."
    return OSError(f"{option} {str(folder)!r} cannot be written ({reason}). {remedy}")


def check_unpacked(unpacked: int, size: int) -> None:
    """ValueError if what a file of `size` bytes unpacks to is more than 1 GiB, and more than the file."""
    if unpacked > max(UNPACKED, size):
        rule = f"{size:,} bytes cannot contain {unpacked:,} bytes of numbers"
        raise ValueError(f"{rule}: more than 1 GiB must be stored uncompressed")
