"""Random changes of packed models, for `test_structure.py`: run in a process of its own."""

import copy
import io
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import nn

from bnn.layers.binary import BinaryConv2d, BinaryLinear
from bnn.layers.ternary import TernaryConv2d, TernaryLinear
from bnn.models import mlp
from bnn.packed.files import digest_of
from bnn.packed.predictor import load_packed
from bnn.packed.steps import Step
from bnn.packed.trace import pack

DTYPES = ("u1", "i4", "u4", "i8", "u8", "f2", "f4", "f8", ">f4", ">u8", "?", "c8", "S3", "M8[s]")
VALUES = (0, -1, 1, 2, 63, 65, 2**31, 2**63, -(2**63), 10**30, 0.5, 1e400, float("nan"), None, True, "", "same", [], {})


def models():
    """Return models with every kind of step, and the shape of a sample."""
    images = nn.Sequential(
        BinaryConv2d(2, 6, 3, padding=1, seed=1),
        nn.MaxPool2d(2),
        nn.BatchNorm2d(6),
        BinaryConv2d(6, 70, 3, seed=2),
        nn.BatchNorm2d(70),
        nn.Hardtanh(),
        nn.Flatten(),
        BinaryLinear(70 * 4, 5, seed=3, scale="xnor", bias=True),
    )
    real = nn.Sequential(
        nn.Conv2d(2, 4, 3),
        nn.ReLU(),
        nn.AvgPool2d(2),
        BinaryConv2d(4, 6, 2, seed=1, dilation=2, input_quantizer=None),
        nn.AdaptiveAvgPool2d(2),
        nn.AdaptiveMaxPool2d(1),
        nn.Flatten(),
        nn.Linear(6, 3),
    )
    ternary = nn.Sequential(
        TernaryConv2d(2, 5, 3, seed=1, input_quantizer=None),
        nn.BatchNorm2d(5),
        TernaryConv2d(5, 70, 3, seed=2, dilation=2),
        TernaryConv2d(70, 3, 2, seed=3),
        nn.Flatten(),
        TernaryLinear(27, 3, seed=4),
    )
    torch.manual_seed(0)
    return [
        (mlp(64, (70, 70), seed=1).eval(), (64,)),
        (images.eval(), (2, 8, 8)),
        (real.eval(), (2, 12, 12)),
        (ternary.eval(), (2, 10, 10)),
    ]


def leaves(tree, path=()):
    """Yield the path to every value of a JSON tree."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in items:
        yield (*path, key)
        yield from leaves(value, (*path, key))


def change_array(array, stream):
    """Return an array of another shape, dtype or content."""
    kind = stream.integers(8)
    if kind == 0:
        return array.astype(DTYPES[stream.integers(len(DTYPES))]) if array.dtype.kind != "?" else array.view("u1")
    if kind == 1:
        return np.concatenate([array] * int(stream.integers(2, 4000 // max(1, len(array)) + 3)))
    if kind == 2:
        return array[: stream.integers(len(array) + 1)]
    if kind == 3:
        return array.reshape(-1) if array.ndim > 1 else array[:, np.newaxis]
    if kind == 4:
        return np.asfortranarray(np.stack([array, array], axis=-1))
    content = bytearray(array.tobytes())
    if kind == 5:
        content[stream.integers(len(content))] ^= 1 << int(stream.integers(8))
    elif kind == 6:
        at = stream.integers(len(content))
        content[at : at + 8] = stream.bytes(len(content[at : at + 8]))
    else:
        return array.T
    return np.frombuffer(bytes(content), array.dtype).reshape(array.shape)


def change(header, arrays, stream):
    """Change a header or an array, in place; return what."""
    name = sorted(arrays)[stream.integers(len(arrays))]
    kind = stream.integers(10)
    if kind < 6:
        arrays[name] = change_array(arrays[name], stream)
    elif kind == 6:
        other = sorted(arrays)[stream.integers(len(arrays))]
        arrays[name], arrays[other] = arrays[other], arrays[name]
    elif kind == 7:
        arrays[f"{stream.integers(-1, 9)}.{('weight', 'by', 'more')[stream.integers(3)]}"] = arrays[name]
    else:
        paths = [path for path in leaves(header["steps"]) if len(path) > 1]
        *path, last = paths[stream.integers(len(paths))]
        place = header["steps"]
        for key in path:
            place = place[key]
        place[last] = VALUES[stream.integers(len(VALUES))]
    return f"{kind}:{name}"


def outcome(path, expected, images):
    """Load and predict; ValueErrors are refusals, everything else ends the process."""
    try:
        logits = load_packed(path).logits(images, batch_size=7)
    except ValueError:
        return "refused"
    return "same" if np.array_equal(logits, expected) else "other"


def digest(header, arrays):
    """Return the digest of changed steps, or nothing where they are no steps at all."""
    own = [{key.partition(".")[2]: a for key, a in arrays.items() if key.startswith(f"{i}.")} for i in range(99)]
    try:
        return digest_of(
            [Step(s["op"], tuple(s["inputs"]), s["options"], a) for s, a in zip(header["steps"], own, strict=False)]
        )
    except Exception:
        return ""


def main(first, count):
    """Print the outcome of each change: with the digest of the original kept, and with one that was made again."""
    sys.setrecursionlimit(2000)
    with tempfile.TemporaryDirectory() as folder:
        path, originals = Path(folder) / "model.npz", []
        for model, shape in models():
            pack(model).save(path)
            images = torch.randn(20, *shape, generator=torch.Generator().manual_seed(1))
            with np.load(path) as saved:
                arrays = dict(saved)
            originals.append((arrays, images, load_packed(path).logits(images, batch_size=7)))
        for seed in range(first, first + count):
            stream = np.random.default_rng(seed)
            saved, images, expected = originals[stream.integers(len(originals))]
            arrays = dict(saved)
            header = copy.deepcopy(json.loads(arrays.pop("header").tobytes()))
            what = change(header, arrays, stream)
            for kind in ("kept", "made"):
                if kind == "made":
                    header["sha256"] = digest(header, arrays)
                text, content = np.frombuffer(json.dumps(header).encode(), np.uint8), io.BytesIO()
                np.savez(content, header=text, **arrays)
                path.write_bytes(content.getvalue())
                print(kind, outcome(path, expected, images), f"{seed}:{what}", flush=True)
