"""`mtj-bnn predict` as a new user types it, wrong input too."""

import csv
import json

import numpy as np
import pytest

from bnn.cli import main
from bnn.data.loading import load
from bnn.models import mlp
from bnn.packed.predictor import load_packed
from bnn.packed.trace import pack
from networks import rates


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("packed") / "model.npz"
    pack(mlp(seed=1)).save(path)
    return str(path)


def run(capsys, *words):
    code = main(("predict", *map(str, words)))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_a_data_set_is_scored_on_its_test_half(capsys, model, tmp_path):
    digits = load("digits").test
    expected = load_packed(model).predict(digits.scaled())
    code, out, err = run(capsys, model, "digits", "--out", tmp_path / "out.csv")
    correct = int((expected == digits.labels).sum())
    assert (code, err) == (0, f"written: {tmp_path / 'out.csv'}\n")
    assert out == f"digits/test: {correct} of 599 right without errors, {correct / 599:.4f}\n"
    rows = list(csv.DictReader((tmp_path / "out.csv").read_text().splitlines()))
    assert [int(row["predicted"]) for row in rows] == expected.tolist()
    assert [int(row["label"]) for row in rows] == digits.labels.tolist()
    assert [int(row["image"]) for row in rows] == list(range(599))


def test_one_die_has_no_interval(capsys, model):
    words = ("predict", model, "digits", "--weight-errors", "1e-2", "--dies", "1")
    assert main(words) == 0
    assert ", no interval, 1 die, seed 0" in capsys.readouterr().out
    assert main((*words, "--json")) == 0
    found = json.loads(capsys.readouterr().out, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert (found["with_errors"]["low"], found["with_errors"]["high"]) == (None, None)


def test_errors_are_those_of_evaluate_dies(capsys, model):
    words = ("--errors", "1e-2,5e-2", "--weight-errors", "1e-3", "--dies", "4", "--seed", "3")
    code, out, _ = run(capsys, model, "digits", *words, "--json")
    facts = json.loads(out)["with_errors"]
    expected = load_packed(model).evaluate_dies(
        load("digits").test,
        errors=rates(1e-2, 5e-2),
        weight_errors=rates(1e-3),
        dies=4,
        seed=3,
    )
    assert code == 0
    assert facts["correct"] == expected.correct.tolist()
    assert (facts["accuracy"], facts["low"], facts["high"]) == (expected.mean, expected.low, expected.high)
    assert (facts["error_rates"], facts["weight_error_rates"]) == ([1e-2, 5e-2], [1e-3, 1e-3])
    _, out, _ = run(capsys, model, "digits", *words, "--workers", "2")
    assert "activations 0.01 (write 0), 0.05 (write 1); weights 0.001 (write 0), 0.001 (write 1)" in out
    assert f"{expected.mean:.4f}, 95 %" in out


def test_files_of_images(capsys, model, tmp_path):
    levels = np.random.default_rng(0).integers(0, 256, (6, 1, 8, 8), dtype=np.uint8)
    values = ((levels - 127.5) / 127.5).astype(np.float32)
    expected = load_packed(model).predict(values).tolist()
    np.save(tmp_path / "levels.npy", levels)
    np.save(tmp_path / "values.npy", values)
    np.savez(tmp_path / "labelled.npz", images=levels, labels=np.array(expected))
    for name in ("levels.npy", "values.npy"):
        code, out, _ = run(capsys, model, tmp_path / name)
        assert (code, out.split()) == (0, [str(each) for each in expected])
    code, out, _ = run(capsys, model, tmp_path / "labelled.npz", "--json")
    facts = json.loads(out)
    assert (code, facts["predictions"], facts["accuracy"]) == (0, expected, 1.0)


def test_wrong_input_gives_one_line(capsys, model, tmp_path):
    images = np.zeros((3, 1, 8, 8), np.float32)
    np.save(tmp_path / "images.npy", images)
    np.save(tmp_path / "empty.npy", images[:0])
    np.save(tmp_path / "flat.npy", np.zeros(64, np.float32))
    np.save(tmp_path / "whole.npy", np.zeros((3, 64), np.int32))
    np.save(tmp_path / "other.npy", np.zeros((3, 63), np.float32))
    np.save(tmp_path / "nan.npy", np.full((3, 64), np.nan, np.float32))
    np.savez(tmp_path / "labels.npz", images=images, labels=np.zeros(4, int))
    np.savez(tmp_path / "none.npz", x=images)
    (tmp_path / "text.npy").write_text("no array")
    (tmp_path / "text.npz").write_text("no model")
    np.savez(tmp_path / "others.npz", images=images, labels=np.array([0, 9, 10]))
    unclosed = b"{'descr': '<f4', 'fortran_order': False, 'shape': (3, (64), }".ljust(117) + b"\n"
    (tmp_path / "header.npy").write_bytes(b"\x93NUMPY\x01\x00\x76\x00" + unclosed)
    for words, message in (
        ((model, tmp_path / "others.npz"), "must be in 0 ... 9, the classes of the model; got 0 ... 10"),
        ((model, tmp_path / "header.npy"), "is not a whole .npy or .npz file"),
        ((tmp_path / "header.npy", "digits"), "must be a packed model, whole"),
        ((tmp_path / "absent.npz", "digits"), "does not exist: make it with bnn.pack(model).save"),
        ((tmp_path / "text.npz", "digits"), "must be a packed model, whole"),
        ((tmp_path / "labels.npz", "digits"), "must be a packed model, whole"),
        ((model, "digit"), "Did you mean 'digits'?"),
        ((model, "images.png"), "DATA must be a data set's name or a file ending in .npy, .npz"),
        ((model, tmp_path / "absent.npy"), "does not exist, or is not a file"),
        ((model, tmp_path / "text.npy"), "is not a whole .npy or .npz file of numbers (it cannot be read: ValueError)"),
        ((model, tmp_path / "whole.npy"), "must be floating point, or uint8"),
        ((model, tmp_path / "other.npy"), "images must fit the model, got samples of shape (63,)"),
        ((model, tmp_path / "nan.npy"), "images must be finite"),
        ((model, tmp_path / "labels.npz"), "one for each of 3 images"),
        ((model, tmp_path / "none.npz"), "must have the array images"),
        ((model, tmp_path / "images.npy", "--errors", "0.1"), "--errors needs labels"),
        ((model, tmp_path / "images.npy", "--weight-errors", "0.1"), "--weight-errors needs labels"),
        ((model, tmp_path / "images.npy", "--data-dir", tmp_path), "--data-dir is for data sets"),
        ((model, tmp_path / "empty.npy"), "images must be floating point, (n, ...), at least one; got"),
        ((model, tmp_path / "flat.npy"), "images must be floating point, (n, ...), at least one; got"),
        ((model, "digits", "--errors", "5"), "--errors must be one rate"),
        ((model, "digits", "--weight-errors", "0,0,0"), "--weight-errors must be one rate"),
        ((model, "digits", "--errors", "few"), "--errors"),
        ((model, "digits", "--dies", "0"), "--dies must be a whole number >= 1, got 0"),
        ((model, "digits", "--seed", "-1"), "--seed must be a whole number >= 0, got -1"),
        ((model, "digits", "--out", "out.txt"), "--out must end in .csv"),
        ((model, "digits", "--error", "0.1"), "Did you mean --errors?"),
    ):
        code, out, err = run(capsys, *words)
        assert (code, out) == (2, "")
        assert message in err
        assert err.count("\n") == 1
