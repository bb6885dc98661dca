"""Files of packed models: a NumPy .npz archive of the steps' arrays and one JSON text. No pickle."""

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bnn.packed.steps import FLOAT, Step
from mtjsim.checks import ArgumentError
from mtjsim.files import UNPACKED, check_unpacked, write_whole

FORMAT = "mtj-bnn packed model 2"
FORMER = "mtj-bnn packed model 1"  # without a digest
LONGEST_HEADER = 1 << 22  # bytes: one step takes a few hundred
OPS = ("sign", "ternary", "write", "unpack", "binary", "gated", "signed")


def save_steps(steps: Sequence[Step], path: str | os.PathLike[str]) -> None:
    """Write the steps of a model to `path`, whole or not at all."""
    header = json.dumps({"format": FORMAT, "sha256": digest_of(steps), "steps": _described(steps)}).encode()
    arrays: dict[str, Any] = {
        f"{i}.{name}": array for i, step in enumerate(steps) for name, array in step.arrays.items()
    }
    content = io.BytesIO()
    large = sum(array.nbytes for array in arrays.values()) > UNPACKED // 2
    (np.savez if large else np.savez_compressed)(content, header=np.frombuffer(header, np.uint8), **arrays)
    write_whole(Path(path), content.getvalue())


def digest_of(steps: Sequence[Step]) -> str:
    """Return the SHA-256 (hex) of operations, inputs, options and arrays."""
    digest = hashlib.sha256(json.dumps(_described(steps), sort_keys=True).encode())
    for i, step in enumerate(steps):
        for name, array in sorted(step.arrays.items()):
            digest.update(f"{i}.{name} {array.dtype.str} {array.shape}".encode())
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _described(steps: Sequence[Step]) -> list[dict[str, Any]]:
    return [{"op": step.op, "inputs": list(step.inputs), "options": dict(step.options)} for step in steps]


def load_steps(path: str | os.PathLike[str]) -> list[Step]:
    """Read the steps of a model; FileNotFoundError if there is none, ValueError if it is not a whole packed model."""
    try:
        arrays = read_arrays(Path(path))
        if not isinstance(arrays, dict) or "header" not in arrays:
            raise ValueError("it has no header")
        text = arrays.pop("header").tobytes()
        if len(text) > LONGEST_HEADER:
            raise ValueError(f"its header has {len(text):,} bytes")
        header = json.loads(text)
        if header["format"] not in (FORMAT, FORMER):
            raise ValueError(f"its format is {header['format']!r}, not {FORMAT!r}")
        if unknown := {step["op"] for step in header["steps"]} - {*OPS, *FLOAT}:
            raise ValueError(f"it has steps of another version, {sorted(unknown)}")
        own: list[dict[str, np.ndarray]] = [{} for _ in header["steps"]]
        for key, array in arrays.items():
            i, _, name = key.partition(".")
            if not i.isdecimal():
                raise ValueError(f"it has an array {key!r}")
            own[int(i)][name] = array
        steps = [
            Step(step["op"], tuple(step["inputs"]), step["options"], arrays)
            for step, arrays in zip(header["steps"], own, strict=True)
        ]
        if header["format"] == FORMAT and header["sha256"] != digest_of(steps):
            raise ValueError("it was changed, or damaged")
        return steps
    except FileNotFoundError:
        raise FileNotFoundError(
            f"path {str(path)!r} does not exist: make it with bnn.pack(model).save(path)."
        ) from None
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as e:
        rule = "must be a packed model, whole, as bnn.pack(model).save(path) writes it"
        raise ArgumentError("path", f"{rule}; got {str(path)!r} ({e}).") from None


def read_arrays(path: Path) -> np.ndarray | dict[str, np.ndarray]:
    """Return the array of a .npy file, or those of an .npz file by name.

    ValueError for a file that is not whole, or that unpacks to more than 1 GiB and more than its own size.
    """
    content = path.read_bytes()
    if zipped := content.startswith(b"PK"):
        _check_members(content)
    try:
        loaded = np.load(io.BytesIO(content), allow_pickle=False)
        if not zipped:
            return loaded
        with loaded:
            return {name: loaded[name] for name in loaded.files}
    except Exception as error:  # of a damaged file: SyntaxError, TokenError, zlib.error, MemoryError ...
        raise _damaged(error) from None


def _check_members(content: bytes) -> None:
    """ValueError for an archive that is damaged, of other compressions than NumPy's, or too large unpacked."""
    try:
        members = zipfile.ZipFile(io.BytesIO(content)).infolist()
    except Exception as error:
        raise _damaged(error) from None
    if any(member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) for member in members):
        raise ValueError("its compression is not NumPy's")  # of these a member is cut after it was unpacked
    check_unpacked(sum(member.file_size for member in members), len(content))


def _damaged(error: Exception) -> ValueError:
    return ValueError(f"it cannot be read: {type(error).__name__}")
