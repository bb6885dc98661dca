"""Packed models that were changed: refused before a kernel uses them, or the same predictions; never a crash."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from packed_fuzz import models

from bnn.models import mlp
from bnn.packed.predictor import PackedModel, load_packed
from bnn.packed.trace import pack
from networks import normal

ROOT = Path(__file__).parents[3]


def fuzzed(first, count):
    """Return what became of changed models, in a process of its own, in which a crash can be seen."""
    program = f"from packed_fuzz import main; main({first}, {count})"
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": ":".join([str(Path(__file__).parent), *sys.path]), "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return [line.split() for line in done.stdout.splitlines()]


@pytest.mark.parametrize(("first", "count"), [(0, 40), pytest.param(1000, 400, marks=pytest.mark.slow)])
def test_a_changed_model_is_refused_or_predicts_the_same_and_never_crashes(first, count):
    """A file whose digest was not made again is as it was; with a new digest it is at least a model."""
    rows = fuzzed(first, count)
    assert len(rows) == 2 * count
    kept = [outcome for kind, outcome, _ in rows if kind == "kept"]
    assert set(kept) <= {"refused", "same"}
    made = [outcome for kind, outcome, _ in rows if kind == "made"]
    assert {"refused", "other"} <= set(made) <= {"refused", "same", "other"}  # the changes reach what is computed


def changed(steps, number, **changes):
    step = steps[number]
    arrays = {**step.arrays, **changes.pop("arrays", {})}
    options = {**step.options, **changes.pop("options", {})}
    return [*steps[:number], replace(step, arrays=arrays, options=options, **changes), *steps[number + 1 :]]


def number_of(steps, op, key=None):
    return next(i for i, step in enumerate(steps) if step.op == op and (key is None or key in step.arrays))


@pytest.mark.parametrize(
    ("op", "key", "changes", "message"),
    [
        ("binary", "threshold", {"arrays": {"weight": np.zeros((3_000_000, 1), np.uint64)}}, r"needs weight of uint64"),
        (
            "binary",
            "threshold",
            {"arrays": {"weight": np.zeros((100, 1), np.uint64)}},
            "needs weight of uint64 and sha",
        ),
        ("binary", None, {"arrays": {"weight": np.full((70, 1), 2**64 - 1, np.uint64)}}, "needs weight"),
        ("binary", "threshold", {"options": {"shape": [70, 69]}}, "has weights after its last cell"),
        ("binary", "threshold", {"options": {"shape": [70, 2**70]}}, "needs weight"),
        ("binary", "threshold", {"options": {"slot": -1}}, "needs slot from 0"),
        ("binary", "threshold", {"arrays": {"threshold": np.full(70, 2**62)}}, "threshold far beyond every product"),
        ("binary", "threshold", {"arrays": {"invert": np.zeros(70, np.uint8)}}, "needs invert of bool"),
        ("binary", "threshold", {"arrays": {"more": np.zeros(70)}}, "see more"),
        ("binary", "threshold", {"inputs": (7,)}, r"has the inputs \(7,\)"),
        ("binary", "threshold", {"inputs": (-1,)}, "needs bits as input, got a tensor"),
        ("sign", None, {"inputs": (-2,)}, "has the inputs"),
        ("sign", None, {"op": "unpack"}, "needs bits as input, got a tensor"),
        ("sign", None, {"op": "fft"}, "is of another version"),
        ("sign", None, {"options": {"more": 1}}, "see more"),
        ("write", None, {"options": {"call": 2**40}}, "needs call from 0"),
        ("batch_norm", None, {"options": {"eps": float("nan")}}, "needs a number for eps"),
        ("batch_norm", None, {"arrays": {"running_var": np.ones(3, np.float32)}}, "needs running_var"),
        ("batch_norm", None, {"arrays": {"weight": np.full(10, np.nan, np.float32)}}, "weight that are not finite"),
    ],
)
def test_what_does_not_fit_is_named(op, key, changes, message):
    steps = pack(mlp(64, (70, 70), seed=1, first="binary").eval()).steps
    with pytest.raises(ValueError, match=f"steps must fit each other: number .*{message}"):
        PackedModel(changed(list(steps), number_of(steps, op, key), **changes))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pool": [[2, 2], [0, 2], [0, 0]]}, "needs stride from 1"),
        ({"pool": [[2, 2], [2, 2], [2, 2]]}, "padding of at most half"),
        ({"pool": [[2, 2], [2, 2]]}, "has a wrong pool"),
        ({"window": {"stride": [1, 0], "padding": [1, 1]}}, "needs stride from 1"),
        ({"window": {"stride": [1, 1], "padding": [-1, 1]}}, "needs padding from 0"),
        ({"window": {"stride": [1, 1]}}, "see padding"),
        ({"flatten": 1}, "needs true or false for flatten"),
        ({"shape": [6, 2, 3]}, "must have layer, slot, shape"),
    ],
)
def test_a_window_that_does_not_fit_is_named(options, message):
    steps = pack(models()[1][0]).steps
    with pytest.raises(ValueError, match=message):
        PackedModel(changed(list(steps), number_of(steps, "binary", "threshold"), options=options))


def test_a_model_without_steps_or_that_ends_in_bits_is_refused():
    steps = pack(mlp(seed=1).eval()).steps
    for part in ((), steps[: number_of(steps, "sign") + 1]):
        with pytest.raises(ValueError, match="must end with one that gives a tensor"):
            PackedModel(part)


def test_every_model_of_the_fuzz_is_a_model_and_comes_back_with_its_identity(tmp_path):
    identities = set()
    for model, shape in models():
        packed = pack(model)
        packed.save(tmp_path / "model.npz")
        loaded = load_packed(tmp_path / "model.npz")
        assert loaded.identity == packed.identity
        assert np.array_equal(loaded.logits(normal(5, *shape)), packed.logits(normal(5, *shape)))
        identities.add(packed.identity)
    assert len(identities) == len(models())


def test_models_with_other_numbers_have_another_identity():
    a, b = (pack(mlp(seed=seed).eval()) for seed in (1, 2))
    assert repr(a) == repr(b)
    assert a.identity != b.identity
    assert a.identity == pack(mlp(seed=1).eval()).identity
