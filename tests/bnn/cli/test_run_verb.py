"""`mtj-bnn run`: a recipe from the command line."""

import json
import re

import pytest

from bnn.cli import main
from bnn.cli.typed import fields_of
from bnn.recipes.recipe import list_recipes

SMALL = """title = "small"
data = "digits"

[model]
name = "mlp"
hidden = [16]

[device]
preset = "arm_2021"

[[memory]]
holds = "activations"
current = "42uA"
pulse_width = "10ns"

[training]
epochs = 2
batch_size = 256
learning_rate = 0.02

[[test]]
name = "clean"
memory = []

[[test]]
name = "with_errors"
draws = 2

[expected]
seeds = [0, 1]
clean = [0.5, 0.6]
"""


@pytest.fixture
def small(tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(SMALL)
    return path


def run(capsys, *words):
    code = main(["run", *map(str, words)])
    return code, *capsys.readouterr()


def test_without_a_name_the_recipes_are_listed_with_their_titles(capsys):
    code, out, err = run(capsys)
    assert (code, err) == (0, "")
    assert [line.split()[0] for line in out.splitlines()] == list_recipes()
    assert "Multilayer perceptron" in out
    assert list(json.loads(run(capsys, "--json")[1])) == list_recipes()


def test_it_prints_memories_and_accuracies_with_what_is_expected(capsys, small, tmp_path):
    code, out, err = run(capsys, small, "--out", tmp_path / "out", "--seed", "1")
    assert code == 0
    assert out.startswith("small: seed 1, 2 epochs\nmemory activations: ")
    assert "; expected 50.00% to 60.00% over 2 seeds" in out
    assert "599 images, 2 draws" in out
    assert "core-seconds, 1 thread\n" in out
    assert "epoch 2: loss" in err
    for name in ("recipe.toml", "table.csv", "figure.png", "model.npz", "run.json"):
        assert f"written: {tmp_path / 'out' / name}" in err
    code, again, err = run(capsys, small, "--out", tmp_path / "out", "--seed", "1")
    assert (code, err) == (0, "already finished, nothing trained\n")
    *before, _ = out.splitlines()  # the last line is of times: the checkpoint was written before the first run ended
    assert again.splitlines()[:-1] == before


def test_fields_are_set_and_what_is_expected_is_of_the_recipe_as_it_was(capsys, small):
    words = ["training.epochs=1", "memory.activations.current=50uA", "model.hidden=[12]", "title=another one"]
    code, out, _ = run(capsys, small, *(part for word in words for part in ("--set", word)))
    assert code == 0
    assert out.startswith("another one: seed 0, 1 epoch\n")
    assert "50 µA" in out
    assert "expected" not in out


def test_json_has_the_values_of_the_run(capsys, small):
    code, out, _ = run(capsys, small, "--json", "--set", "training.epochs=1")
    content = json.loads(out)
    assert code == 0
    assert content["tests"]["clean"]["images"] == 599
    assert content["values"]["clean.accuracy"] == content["tests"]["clean"]["mean"]
    assert content["recipe"]["memory"][0]["current"] == 42e-6
    assert (len(content["history"]), content["already_finished"], content["files"]) == (1, False, [])


def test_a_recipe_without_a_test_is_trained(capsys, small):
    code, out, _ = run(capsys, small, "--set", "test=[]", "--set", "training.epochs=1")
    assert code == 0
    assert out.count("\n") == 3


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["digit_mlp"], "RECIPE must be one of .*Did you mean 'digits_mlp'|Did you mean 'digits_mlp'"),
        (["absent.toml"], "recipe 'absent.toml' does not exist"),
        (["digits_mlp", "--seed", "-1"], "--seed must be a whole number >= 0, got -1"),
        (["digits_mlp", "--seed", "x"], "--seed must be a whole number >= 0, got 'x'"),
        (["digits_mlp", "--threads", "0"], "--threads must be a whole number >= 1, got 0"),
        (["digits_mlp", "--data-dir", "."], "--data-dir must not be given for digits"),
        (["digits_mlp", "--out", "no/such/folder"], "--out 'no/such/folder' cannot be written"),
        (["digits_mlp", "--sed", "1"], "there is no option --sed. Did you mean --seed"),
        (["digits_mlp", "--set", "training.epochs"], "--set must be FIELD=VALUE, as in training.epochs=3"),
        (["digits_mlp", "--set", "=3"], "--set must be FIELD=VALUE"),
        (["digits_mlp", "--set", "training.epochs=1", "--set", "training.epochs=2"], "--set must give each field once"),
        (["digits_mlp", "--set", "training.epoch=1"], "a field of training must be one of .*Did you mean 'epochs'"),
        (["digits_mlp", "--set", "training.epochs=many"], "training.epochs must be a whole number >= 1, got 'many'"),
        (["digits_mlp", "--set", "training.epochs=2020-01-01"], "training.epochs must be a number, a text"),
        (["digits_mlp", "--set", "training.learning_rate=nan"], "training.learning_rate must not be nan: a number"),
        (["digits_mlp", "--set", "training.learning_rate=five"], r"must be a number .*, got 'five'\.$"),
        (
            ["digits_mlp", "--set", "memory.activations.error_rate=nan"],
            r"error: memory\.activations\.error_rate must be a finite number from 0 to 1, got nan\. Rates are probab",
        ),
        (
            ["digits_mlp", "--set", "memory.activations.error_rate=five"],
            r"error: memory\.activations\.error_rate must be a finite number from 0 to 1, such as 0\.05, got 'five'",
        ),
        (["digits_mlp", "--set", "phase=[]"], "phase must have at least one table, got none. Leave it out"),
        (["digits_mlp", "--set", "memory.x.error_rate=0.1"], "must be one of 'activations', got 'x'"),
        (["digits_mlp", "--set", "memory.activations.layers=x"], "error: memory.activations.layers must name l"),
        (["digits_mlp", "--set", "memory.activations.current=50uA"], "must say in one way how it is written"),
        (["digits_mlp", "--set", "phase=[{until=1.0}]"], "phase.0.memory must be given"),
        (["digits_mlp", "--set", "model.inputs=60"], r"input_shape must fit the model, got \(1, 8, 8\)"),
        (["digits_mlp", "--set", "model.classes=3"], r"each of the 10 classes of digits, got \(3,\)"),
        (["digits_mlp", "--set", "title=\udcff"], "title must be a text in UTF-8"),
        (["digits_mlp", "--set", "training..epochs=1"], "field must be a path such as training.epochs"),
    ],
)
def test_what_is_wrong_is_one_line_and_leaves_no_folder(capsys, monkeypatch, tmp_path, words, message):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, *words, *(["--out", "new"] if "--out" not in words else []))
    assert (code, out) == (2, "")
    assert re.search(message, err), err
    assert err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_folder_of_a_study_is_refused_and_a_refusal_leaves_a_folder_that_was_there(capsys, small, tmp_path):
    folder = tmp_path / "own"
    folder.mkdir()
    assert run(capsys, small, "--out", folder, "--set", "model.inputs=60")[0] == 2
    assert folder.exists()
    (folder / "run.json").write_text('{"command": "mtj-bnn study mine"}')
    code, out, err = run(capsys, small, "--out", folder)
    assert (code, out) == (2, "")
    held = f"--out {str(folder)!r} holds a study, 'mtj-bnn study mine', see its run.json. Name another folder."
    assert err == f"mtj-bnn run: error: {held}\n"


def test_a_value_is_toml_or_a_text():
    words = ["a=3", "b=0.5", "c=true", "d=[1, 2]", "e={x = 1}", "f=50uA", 'g="3"', "h=", "i=a=b", "j=1\nk = 2"]
    values = [3, 0.5, True, [1, 2], {"x": 1}, "50uA", "3", "", "a=b", "1\nk = 2"]
    assert list(fields_of(words).values()) == values
