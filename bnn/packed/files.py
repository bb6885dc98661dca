"""Files of packed models: a NumPy .npz archive of the steps' arrays and one JSON text. No pickle."""

import io
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bnn.packed.steps import FLOAT, Step
from mtjsim.checks import ArgumentError
from mtjsim.files import write_whole

FORMAT = "mtj-bnn packed model 1"
OPS = ("sign", "write", "unpack", "binary", "signed")


def save_steps(steps: Sequence[Step], path: str | os.PathLike[str]) -> None:
    """Write the steps of a model to `path`, whole or not at all."""
    described = [{"op": step.op, "inputs": step.inputs, "options": step.options} for step in steps]
    header = json.dumps({"format": FORMAT, "steps": described}).encode()
    arrays: dict[str, Any] = {
        f"{i}.{name}": array for i, step in enumerate(steps) for name, array in step.arrays.items()
    }
    content = io.BytesIO()
    np.savez_compressed(content, header=np.frombuffer(header, np.uint8), **arrays)
    write_whole(Path(path), content.getvalue())


def load_steps(path: str | os.PathLike[str]) -> list[Step]:
    """Read the steps of a model; FileNotFoundError if there is none, ValueError if it is not a whole packed model."""
    try:
        arrays = read_arrays(Path(path))
        if not isinstance(arrays, dict) or "header" not in arrays:
            raise ValueError("it has no header")
        header = json.loads(arrays.pop("header").tobytes())
        if header["format"] != FORMAT:
            raise ValueError(f"its format is {header['format']!r}, not {FORMAT!r}")
        if unknown := {step["op"] for step in header["steps"]} - {*OPS, *FLOAT}:
            raise ValueError(f"it has steps of another version, {sorted(unknown)}")
        own: list[dict[str, np.ndarray]] = [{} for _ in header["steps"]]
        for key, array in arrays.items():
            i, _, name = key.partition(".")
            own[int(i)][name] = array
        return [
            Step(step["op"], tuple(step["inputs"]), step["options"], arrays)
            for step, arrays in zip(header["steps"], own, strict=True)
        ]
    except FileNotFoundError:
        raise FileNotFoundError(
            f"path {str(path)!r} does not exist: make it with bnn.pack(model).save(path)."
        ) from None
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as e:
        rule = "must be a packed model, whole, as bnn.pack(model).save(path) writes it"
        raise ArgumentError("path", f"{rule}; got {str(path)!r} ({e}).") from None


def read_arrays(path: Path) -> np.ndarray | dict[str, np.ndarray]:
    """Return the array of a .npy file, or those of an .npz file by name; ValueError for a file that is not whole."""
    content = path.read_bytes()
    try:
        loaded = np.load(io.BytesIO(content), allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded
        with loaded:
            return {name: loaded[name] for name in loaded.files}
    except Exception as error:  # of a damaged file: SyntaxError, TokenError, zlib.error, MemoryError ...
        raise ValueError(f"damaged, or not a file of numbers: {type(error).__name__}") from None
