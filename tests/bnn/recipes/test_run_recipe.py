"""Runs of recipes: a pure function of recipe and seed, resumed to the same bits, with files that can be used."""

import json

import numpy as np
import pytest
import torch

import bnn
from bnn.cli import main
from bnn.data.loading import load
from bnn.packed.predictor import load_packed
from bnn.recipes import threads
from bnn.recipes.recipe import load_recipe
from bnn.recipes.record import csv_of
from bnn.recipes.run import run_recipe
from networks import Interruption, counts, interrupt_at, same_state

FILES = ["checkpoint.pt", "figure.png", "model.npz", "recipe.toml", "run.json", "table.csv"]


def files_of(folder):
    """Name -> content and time of change of the files of a run, without the lock of its checkpoint."""
    found = [path for path in folder.iterdir() if path.suffix != ".lock"]
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in found}


def same_run(a, b):
    assert a.history == b.history
    assert a.tests.keys() == b.tests.keys()
    assert [counts(accuracy) for accuracy in a.tests.values()] == [counts(accuracy) for accuracy in b.tests.values()]
    assert same_state(a.model, b.model)
    assert a.values() == b.values()


@pytest.fixture
def finished(small, tmp_path):
    """A small run that is finished, and its folder."""
    return run_recipe(small(), out=tmp_path / "run", progress=False), tmp_path / "run"


def test_a_run_is_a_pure_function_of_recipe_and_seed(small, finished):
    result, folder = finished
    assert sorted(files_of(folder)) == FILES
    same_run(result, run_recipe(small(), progress=False))
    same_run(result, run_recipe(small(seed=3), seed=0, progress=False))
    other = run_recipe(small(), seed=1, progress=False)
    assert other.recipe.seed == 1
    assert counts(other.tests["clean"]) != counts(result.tests["clean"])


def test_the_record_has_all_that_the_numbers_follow_from(finished):
    result, folder = finished
    saved = json.loads((folder / "run.json").read_text())
    assert (saved["title"], saved["seeds"], saved["identity"]) == ("small", 0, result.recipe.identity)
    assert saved["recipe"] == json.loads(json.dumps(result.recipe.tables))
    assert saved["tests"]["with_errors"]["correct"] == result.tests["with_errors"].correct.tolist()
    assert saved["points"]["activations"]["error_rate_1"] == result.points["activations"].error_rate_1
    assert saved["values"] == {k: None if v != v else v for k, v in result.values().items()}
    assert saved["packed"] == "model.npz"
    assert saved["versions"]["torch"]
    assert len(saved["training_identity"]) == 64
    assert (folder / "table.csv").read_bytes() == csv_of(result.rows())
    assert [row["test"] for row in result.rows()] == ["clean", "with_errors"]
    assert result.rows()[1]["worst"] == result.tests["with_errors"].correct.min() / 599


def test_the_packed_model_gives_the_same_right_answers_to_predict(finished, capsys):
    result, folder = finished
    right = int(result.tests["clean"].correct[0])
    assert right > 300
    answers = load_packed(folder / "model.npz").predict(load("digits").test.scaled())
    assert int((np.asarray(answers) == load("digits").test.labels).sum()) == right
    assert main(["predict", str(folder / "model.npz"), "digits", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["correct"] == right


def test_the_recipe_that_was_written_runs_to_the_same_table(finished, tmp_path):
    _, folder = finished
    again = run_recipe(folder / "recipe.toml", out=tmp_path / "again", progress=False)
    assert not again.already_finished
    for name in ("table.csv", "recipe.toml"):
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()


@pytest.mark.parametrize("epoch", [0, 1])
def test_a_run_that_was_ended_is_continued_to_the_same_bits(small, tmp_path, epoch):
    recipe, seen = small(training={"epochs": 3, "batch_size": 128, "learning_rate": 0.02}), []
    with pytest.raises(Interruption):
        run_recipe(recipe, out=tmp_path, progress=False, on_epoch=interrupt_at(epoch=epoch))
    assert not (tmp_path / "run.json").exists()
    result = run_recipe(recipe, out=tmp_path, progress=False, on_epoch=lambda e: seen.append(e.epoch))
    assert seen == list(range(epoch + 1, 3))
    same_run(result, run_recipe(recipe, progress=False))
    assert sorted(files_of(tmp_path)) == FILES


def test_a_finished_run_trains_nothing_and_leaves_its_files(small, finished):
    first, folder = finished
    before = files_of(folder)
    again = run_recipe(small(), out=folder, progress=False)
    assert (first.already_finished, again.already_finished, again.files) == (False, True, ())
    assert again.core_seconds == pytest.approx(first.core_seconds, abs=0.21)
    same_run(first, again)
    assert files_of(folder) == before
    run_recipe(small(title="another title"), out=folder, progress=False)  # the same run by another title
    assert files_of(folder) == before


def test_a_run_that_ended_before_its_record_gets_one(small, finished):
    first, folder = finished
    (folder / "run.json").unlink()
    table = (folder / "table.csv").read_bytes()
    assert run_recipe(small(), out=folder, progress=False).already_finished
    assert json.loads((folder / "run.json").read_text())["values"] == first.values()
    assert (folder / "table.csv").read_bytes() == table


def test_a_network_trained_in_channels_last_is_tested_on_bits_and_packed(small, tmp_path):
    recipe = small(model={"name": "bireal", "inputs": 1, "widths": [8], "blocks": 1, "channels_last": True})
    result = run_recipe(recipe, out=tmp_path / "run", progress=False)
    assert {accuracy.method for accuracy in result.tests.values()} == {"packed"}
    test = load("digits").test
    packed = load_packed(tmp_path / "run" / "model.npz")
    assert packed.evaluate_dies(test).correct.tolist() == result.tests["clean"].correct.tolist()
    same_run(result, run_recipe(recipe, out=tmp_path / "run", progress=False))


def test_a_folder_with_another_run_is_refused_and_left_as_it_is(small, finished):
    _, folder = finished
    before = files_of(folder)
    with pytest.raises(ValueError, match=r"holds another run, see its recipe\.toml\. Name another folder"):
        run_recipe(small(), seed=1, out=folder, progress=False)
    (folder / "recipe.toml").write_text("damaged")
    with pytest.raises(ValueError, match="holds another run"):
        run_recipe(small(), out=folder, progress=False)
    del before["recipe.toml"]
    assert {name: file for name, file in files_of(folder).items() if name != "recipe.toml"} == before


def test_a_folder_whose_recipe_is_not_there_is_that_of_its_record(small, finished):
    """As in a git checkout that keeps tables and records alone."""
    first, folder = finished
    for name in ("recipe.toml", "checkpoint.pt"):
        (folder / name).unlink()
    before = files_of(folder)
    with pytest.raises(ValueError, match=r"out .* holds another run, 'small', see its run\.json\. Name another folder"):
        run_recipe(small(), seed=1, out=folder, progress=False)
    assert files_of(folder) == before
    same_run(first, run_recipe(small(), out=folder, progress=False))
    assert sorted(files_of(folder)) == FILES


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"run.json": '{"command": "mtj-bnn study mine"}', "table.csv": "a"}, "holds a study, 'mtj-bnn study mine'"),
        ({"study.json": "{}"}, r"holds a study, see its study\.json"),
        ({"run.json": '{"command": "mtj-bnn demo"}', "curve.csv": "a"}, "holds a demo"),
        ({"table.csv": "a", "model.npz": "b"}, r"holds model\.npz, table\.csv and no run\.json"),
    ],
)
def test_a_folder_of_anything_else_is_refused_before_any_work(small, tmp_path, monkeypatch, files, message):
    monkeypatch.setattr("bnn.recipes.run.Prepared.of", lambda *_: pytest.fail("worked first"))
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    before = files_of(tmp_path)
    with pytest.raises(ValueError, match=message):
        run_recipe(small(), out=tmp_path, progress=False)
    assert files_of(tmp_path) == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"memory.activations.layers": "features"}, "memory.activations.layers must name layers of the model"),
        ({"phase": [{"memory": [], "until": 1e-6}, {"memory": []}]}, "at least one of 20 iterations"),
        (
            {"memory": [{"holds": "optimizer", "error_rate": 1e-6}], "device": None, "optimizer.name": "bop"},
            "optimizer",
        ),
    ],
)
def test_a_wrong_recipe_leaves_no_file(small, tmp_path, changes, message):
    with pytest.raises((ValueError, FloatingPointError), match=message):
        run_recipe(small(test=[]).replaced(changes), out=tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()


@pytest.mark.filterwarnings("ignore:The training diverged")
def test_a_training_that_diverges_is_a_result_without_tests(small, tmp_path):
    recipe = small().replaced({"training.learning_rate": 1e30})
    result = run_recipe(recipe, out=tmp_path / "run", progress=False)
    saved = json.loads((tmp_path / "run" / "run.json").read_text())
    assert "is not finite, in epoch 0" in result.ended.message == saved["ended"]["message"]
    assert (result.tests, result.values()["training.diverged"]) == ({}, 1)
    assert run_recipe(recipe, out=tmp_path / "run", progress=False).ended == result.ended


def test_a_folder_that_cannot_be_written_is_refused_before_any_work(small, tmp_path):
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file", tmp_path / "absent" / "run"):
        with pytest.raises(OSError, match=r"out .* cannot be written"):
            run_recipe(small(), out=out, progress=False)


def test_threads_are_one_for_a_small_network_chosen_by_hand_and_recorded(small, tmp_path):
    seen = []
    torch.set_num_threads(2)
    try:
        result = run_recipe(
            small(), out=tmp_path / "run", progress=False, on_epoch=lambda e: seen.append(torch.get_num_threads())
        )
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
    saved = json.loads((tmp_path / "run" / "run.json").read_text())
    assert (seen, result.threads, saved["threads"]) == ([1, 1], 1, 1)
    with pytest.raises(ValueError, match=r"threads was 1, is 2\. .* type --threads 1 for `mtj-bnn run`"):
        run_recipe(small(), out=tmp_path / "run", threads=2, progress=False)
    for wrong in (0, 1.5, 10**6):
        with pytest.raises(ValueError, match="threads must be"):
            run_recipe(small(), threads=wrong, progress=False)


def test_a_large_network_has_the_threads_of_torch():
    found = [threads.threads_for(products) for products in (0, threads.SMALL - 1, threads.SMALL)]
    assert found == [1, 1, torch.get_num_threads()]
    assert torch.get_num_threads() == 1
    torch.set_num_threads(2)
    try:
        assert (threads.threads_for(threads.SMALL - 1), threads.threads_for(threads.SMALL)) == (1, 2)
    finally:
        torch.set_num_threads(1)


def test_the_front_door_runs_a_shipped_recipe_by_its_name():
    assert bnn.run_recipe is run_recipe
    recipe = load_recipe("digits_mlp").replaced({"training.epochs": 1})
    result = bnn.run_recipe(recipe, progress=False)
    assert list(result.tests) == ["error_free", "with_errors"]
    assert result.tests["with_errors"].draws == 10


def test_joules_without_a_price_are_lower_bounds_and_named_so(small):
    """A junction without a cell has no price of transistor and driver; a read without a ReadPoint has none at all."""
    bare = run_recipe(small(), progress=False).values()
    assert bare["with_errors.joules_device_at_least"] > 0.0
    assert "with_errors.joules_device" not in bare
    assert bare["clean.joules_system"] > 0.0  # everything in SRAM
    cell = {"width": "360nm", "supply_voltage": "1.5V", "word_line_voltage": "1.8V"}
    read = {"voltage": "0.1V", "duration": "5ns", "sense_energy": "10fJ"}
    priced = run_recipe(small(cell=cell).replaced({"memory.activations.read": read}), progress=False).values()
    assert priced["with_errors.joules_with_driver"] > priced["with_errors.joules_device"] > 0.0
    assert priced["training.joules_system"] > 0.0
    rates = {"memory": [{"holds": "activations", "error_rate": 0.05}], "device": None}
    assert "training.joules_device_at_least" in run_recipe(small(**rates), progress=False).values()


def test_an_accelerator_that_is_not_here_is_refused_before_any_training(small, tmp_path):
    for name in ("cudda", "cuda:99"):
        with pytest.raises(ValueError, match=f"accelerator must be one that torch has here, got '{name}'"):
            run_recipe(small(), accelerator=name, out=tmp_path, progress=False)
    assert not list(tmp_path.iterdir())
