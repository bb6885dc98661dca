"""Checkpoints: written atomically, and refused for another training."""

import hashlib
import io
import zipfile
from collections.abc import Iterable
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mtjsim.checks import ArgumentError
from mtjsim.files import write_whole


def identity_of(settings: Iterable[tuple[str, object]], model: nn.Module, images: Tensor, labels: Tensor) -> Any:
    """Return what must be equal for a checkpoint to be continued, each as text."""
    digest = hashlib.sha256(images.cpu().numpy().tobytes() + labels.cpu().numpy().tobytes()).hexdigest()
    return {
        **{name: repr(value) for name, value in settings},
        "model": repr(model),
        "training images": f"{tuple(images.shape)}, sha256 {digest}",
    }


def load_checkpoint(path: Path, identity: dict[str, str], device: torch.device) -> dict[str, Any] | None:
    """Return the content of the checkpoint `path`, or None if there is none.

    Raises
    ------
    ValueError
        If the file is damaged, or of another training; with the first difference.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        return None
    try:
        with zipfile.ZipFile(path) as archive:  # torch writes check sums, and does not compare them
            if damaged := archive.testzip():
                raise EOFError(f"{damaged} is damaged")
        saved = torch.load(path, weights_only=True, map_location=device)
        found, content = saved["identity"], _with_arrays(saved["content"])
    except Exception as error:  # torch raises half a dozen types for a damaged file
        raise ArgumentError("checkpoint", f"{path} cannot be read, delete it to start over ({error}).") from error
    for name in identity:
        if found.get(name) != identity[name]:
            was, now = _difference(str(found.get(name)), identity[name])
            other = f"{path} is of another training: {name} was {was}, is {now}. Name another file, or delete it."
            raise ArgumentError("checkpoint", other)
    return content


def save_checkpoint(path: Path, identity: dict[str, str], content: dict[str, Any]) -> None:
    """Write the file whole. `content` may hold tensors, arrays and plain values."""
    file = io.BytesIO()
    torch.save({"identity": identity, "content": _with_tensors(content)}, file)
    write_whole(path, file.getvalue())


def _difference(was: str, now: str) -> tuple[str, str]:
    """Return the first lines in which two texts differ."""
    for a, b in zip_longest(was.splitlines(), now.splitlines(), fillvalue="nothing"):
        if a != b:
            return a.strip(), b.strip()
    return was, now


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
