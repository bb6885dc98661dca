"""Checkpoints: written atomically, locked while a training runs, and refused for another training."""

import io
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import torch

from bnn.training.identity import Parts, difference
from bnn.training.processes import all_passed, gathered, world
from mtjsim.checks import ArgumentError
from mtjsim.files import remove_abandoned, write_whole

FORMAT = "mtj-bnn checkpoint 3"
REMEDY = {
    "threads": " Call torch.set_num_threads({was}), or type --threads {was} for `mtj-bnn run`, to go on as it began."
}

WhyNot = Callable[[int, dict[str, Any]], str | None]


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a checkpoint for one training; the lock ends with the process, however that ends.

    Raises
    ------
    ValueError
        In all processes of the training, if another one has it.
    OSError
        If the folder cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.lock")
    lock = filelock.FileLock(beside, timeout=0)
    try:
        lock.acquire()
        free = True
    except filelock.Timeout:
        free = False
    try:
        if not all_passed(free):
            problem = f"{path} is in use by another training, which runs now. Wait for its end, or name another file."
            raise ArgumentError("checkpoint", problem)
        remove_abandoned(path.parent)
        yield
    finally:
        if free:
            beside.unlink(missing_ok=True)  # while it is held: who waits for it sees that it is gone
            lock.release()


def load_checkpoint(
    path: Path, same: Sequence[Parts], device: torch.device, *, why_not: WhyNot | None = None
) -> dict[str, Any] | None:
    """Return the content of a checkpoint, the last that all processes of the training have; None if there is none.

    Parameters
    ----------
    path : Path
        Of this process.
    same : sequence of identities
        Of which the checkpoint must have one.
    device : device
        Of the tensors.
    why_not : callable, optional
        Of a checkpoint that differs in its number of epochs alone: a function of that number and the content that
        returns the reason why it cannot be continued, or None if it can. Without it such a checkpoint is refused.

    Raises
    ------
    ValueError
        If the file is damaged, of an earlier version, or of another training, with the first difference; if a process
        has none of the steps that the others have. Where the first save of all was interrupted there is none.
    """
    mine, problem = {}, None
    try:
        for file in (path, _following(path)) if world() > 1 else (path,):  # of one process there is no following
            if file.exists():
                content = _loaded(file, same, device, why_not)
                mine[content["state"]["step"]] = content
    except ArgumentError as error:
        problem = error
    if not all_passed(problem is None):
        raise problem or ArgumentError("checkpoint", "of another process cannot be continued, see its message.")
    others = gathered(sorted(mine))
    common = set.intersection(*map(set, others))
    if not common and any(others) and not all_passed(not path.exists()):  # else the first save of all was interrupted
        rule = f"must have a step that all {world()} processes have, got {others}. Delete those of all processes."
        raise ArgumentError("checkpoint", rule)
    return mine[max(common)] if common else None


def save_checkpoint(path: Path, identity: Parts, content: dict[str, Any]) -> None:
    """Write the file whole. `content` may hold tensors, arrays and plain values.

    Of several processes each keeps its last file until all have the next one.
    """
    file = io.BytesIO()  # torch makes a RuntimeError of a full disk
    torch.save({"format": FORMAT, "identity": identity, "content": _with_tensors(content)}, file)
    if world() == 1:
        write_whole(path, file.getvalue())
        return
    write_whole(_following(path), file.getvalue())
    gathered(None)
    _following(path).replace(path)


def _following(path: Path) -> Path:
    """Return the file of a checkpoint that not all processes have written yet."""
    return path.with_name(f"{path.stem}.next{path.suffix}")


def _loaded(path: Path, same: Sequence[Parts], device: torch.device, why_not: WhyNot | None) -> dict[str, Any]:
    try:
        with zipfile.ZipFile(path) as archive:  # torch writes check sums, and does not compare them
            if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
                raise EOFError("it is compressed, and torch's files are not")
            if damaged := archive.testzip():
                raise EOFError(f"{damaged} is damaged")
        saved = torch.load(path, weights_only=True, map_location=device)
        written, identity, content = saved.get("format"), saved["identity"], _with_arrays(saved["content"])
    except Exception as error:  # torch raises half a dozen types for a damaged file
        raise ArgumentError("checkpoint", f"{path} cannot be read, delete it to start over ({error}).") from error
    if written != FORMAT:
        problem = f"{path} is of another version of mtj-bnn, whose trainings have other settings"
        raise ArgumentError("checkpoint", f"{problem}. End it with that version, or name another file to start over.")
    if identity in same:
        return content
    expected = same[0]
    if why_not is not None and any(_but_for_epochs(identity) == _but_for_epochs(one) for one in same):
        reason = why_not(int(identity["epochs"]), content)
        if reason is None:
            return content
        problem = f"{path} is of a training of {identity['epochs']} epochs, not of {expected['epochs']}"
        remedy = "Name another file to start over; with a constant schedule the number of epochs can change."
        raise ArgumentError("checkpoint", f"{problem}, and cannot go on: {reason}. {remedy}")
    name = next(name for name in (*expected, *identity) if identity.get(name) != expected.get(name))
    was, now = difference(str(identity.get(name)), str(expected.get(name)))
    remedy = REMEDY.get(name, " Name another file, or delete it.").format(was=was)
    raise ArgumentError("checkpoint", f"{path} is of another training: {name} was {was}, is {now}.{remedy}")


def _but_for_epochs(identity: Parts) -> Parts:
    return {name: text for name, text in identity.items() if name != "epochs"}


ARRAY = "a NumPy array of"  # marks an array that became a tensor of its bytes: `weights_only` reads no arrays


def _with_tensors(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {key: _with_tensors(value) for key, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        return [_with_tensors(value) for value in tree]
    if isinstance(tree, np.generic):
        tree = np.asarray(tree)
    if isinstance(tree, np.ndarray):
        content = torch.from_numpy(np.frombuffer(tree.tobytes() or b"\0", np.uint8).copy())
        return {ARRAY: tree.dtype.str, "shape": list(tree.shape), "bytes": content}
    return tree


def _with_arrays(tree: Any) -> Any:
    if isinstance(tree, dict) and ARRAY in tree:
        content, shape = tree["bytes"].cpu().numpy().tobytes(), tuple(tree["shape"])
        count = int(np.prod(shape, dtype=np.int64))
        return np.frombuffer(content, tree[ARRAY], count=count).reshape(shape).copy()
    if isinstance(tree, dict):
        return {key: _with_arrays(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_with_arrays(value) for value in tree]
    return tree
