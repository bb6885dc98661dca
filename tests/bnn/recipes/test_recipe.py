import json

import pytest
import torch

import bnn
from bnn.cli import main
from bnn.errors.write_errors import WriteErrors
from bnn.layers.slots import activation_memories, weight_memories
from bnn.recipes import threads
from bnn.recipes.recipe import Recipe, list_recipes, load_recipe
from bnn.recipes.run import built, run_recipe

SMALL = """title = "small"
source = "this test"
data = "digits"
model = "mlp"
arguments = { inputs = 64, hidden = [32] }
activation_errors = { error_rate_0 = 0.05, error_rate_1 = 0.1 }
draws = 2

[training]
epochs = 3
batch_size = 64
learning_rate = 0.02
"""
WRITTEN_WEIGHTS = "weight_errors = { error_rate_0 = 0.1, error_rate_1 = 0.2 }"


@pytest.fixture
def small(tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(SMALL)
    return path


def counts(result):
    return result.error_free.correct.tolist(), result.with_errors.correct.tolist()


@pytest.mark.parametrize("name", list_recipes())
def test_shipped_recipes_can_be_built_and_expect_what_was_measured(name):
    recipe = load_recipe(name)
    model = built(recipe)
    assert recipe.name == name
    assert recipe.source
    for rates, slot, layers in (
        (recipe.activation_errors, "activation_memory", activation_memories(model)),
        (recipe.weight_errors, "weight_memory", weight_memories(model)),
    ):
        for layer in layers.values():
            memory = getattr(layer, slot)
            assert (memory is None) == (rates is None)
            if memory is not None:
                assert isinstance(memory, WriteErrors)
                assert (memory.error_rate_0, memory.error_rate_1) == (rates.error_rate_0, rates.error_rate_1)
    if (expected := recipe.expected) is not None:
        assert len(expected.seeds) == len(expected.error_free) == len(expected.core_seconds) >= 3
        erring = recipe.activation_errors or recipe.weight_errors
        assert len(expected.with_errors) == (len(expected.seeds) if erring else 0)


def test_every_slot_has_a_memory_with_a_stream_of_its_own(small):
    small.write_text(SMALL.replace("draws = 2", WRITTEN_WEIGHTS).replace("[32]", "[32, 32]"))
    model = built(load_recipe(small))
    memories = [layer.activation_memory for layer in activation_memories(model).values()]
    memories += [layer.weight_memory for layer in weight_memories(model).values()]
    assert len({memory.seed for memory in memories}) == len(memories) == 4
    assert memories[-1].error_rate_1 == 0.2


def test_a_run_is_its_seed_and_leaves_its_config_and_result(small, tmp_path):
    result = run_recipe(small, out=tmp_path / "a", progress=False)
    again = run_recipe(load_recipe(small), seed=0, progress=False)
    other = run_recipe(small, seed=1, progress=False)
    assert counts(result) == counts(again) != counts(other)
    assert len(result.history) == 3
    config, saved = (json.loads((tmp_path / "a" / name).read_text()) for name in ("config.json", "result.json"))
    assert Recipe.model_validate(config) == result.recipe
    assert saved["recipe"]["training"]["schedule"] == "one_cycle"  # what the file left out is written out
    assert saved["test"]["error_free"]["correct"] == result.error_free.correct.tolist()
    assert saved["test"]["with_errors"]["draws"] == 2
    assert saved["versions"]["torch"]


def test_a_run_that_was_ended_is_continued_to_the_same_bits(small, tmp_path):
    def end(epoch):
        if epoch.epoch == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_recipe(small, out=tmp_path / "run", progress=False, on_epoch=end)
    seen = []
    result = run_recipe(small, out=tmp_path / "run", progress=False, on_epoch=lambda epoch: seen.append(epoch.epoch))
    plain = run_recipe(small, progress=False)
    assert seen == [2]
    assert result.history == plain.history
    assert counts(result) == counts(plain)
    assert all(torch.equal(a, b) for a, b in zip(result.model.parameters(), plain.model.parameters(), strict=True))


def test_a_finished_run_trains_nothing_and_leaves_its_record(small, tmp_path):
    first = run_recipe(small, out=tmp_path / "run", progress=False)
    files = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in (tmp_path / "run").iterdir()}
    again = run_recipe(small, out=tmp_path / "run", progress=False)
    assert (first.already_finished, again.already_finished) == (False, True)
    assert (again.core_seconds, again.history, counts(again)) == (first.core_seconds, first.history, counts(first))
    assert again.files == ()
    assert files == {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in (tmp_path / "run").iterdir()}


def test_a_run_that_ended_between_its_training_and_its_record_gets_one(small, tmp_path):
    first = run_recipe(small, out=tmp_path / "run", progress=False)
    (tmp_path / "run" / "result.json").unlink()
    again = run_recipe(small, out=tmp_path / "run", progress=False)
    assert again.already_finished
    saved = json.loads((tmp_path / "run" / "result.json").read_text())
    assert saved["core_seconds"] == pytest.approx(first.core_seconds, abs=0.11)  # rounded; the last save is not in it
    assert saved["test"]["error_free"]["correct"] == first.error_free.correct.tolist()


def test_threads_are_one_for_a_small_network_chosen_by_hand_and_recorded(small, tmp_path):
    seen = []
    torch.set_num_threads(2)
    try:
        result = run_recipe(
            small, out=tmp_path / "run", progress=False, on_epoch=lambda e: seen.append(torch.get_num_threads())
        )
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
    saved = json.loads((tmp_path / "run" / "result.json").read_text())
    assert (seen, result.threads, saved["threads"]) == ([1, 1, 1], 1, 1)
    assert len(saved["training_identity"]) == 64
    with pytest.raises(ValueError, match=r"threads was 1, is 2\. .* type --threads 1 for `mtj-bnn run`"):
        run_recipe(small, out=tmp_path / "run", threads=2, progress=False)
    for wrong in (0, 1.5, 10**6):
        with pytest.raises(ValueError, match="threads must be"):
            run_recipe(small, threads=wrong, progress=False)


def test_a_large_network_has_the_threads_of_torch():
    found = [threads.threads_for(products) for products in (0, threads.SMALL - 1, threads.SMALL)]
    assert found == [1, 1, torch.get_num_threads()]
    assert torch.get_num_threads() == 1
    torch.set_num_threads(2)
    try:
        assert (threads.threads_for(threads.SMALL - 1), threads.threads_for(threads.SMALL)) == (1, 2)
    finally:
        torch.set_num_threads(1)


def test_a_folder_with_another_run_is_refused(small, tmp_path):
    run_recipe(small, out=tmp_path / "run", progress=False)
    with pytest.raises(ValueError, match="holds another run"):
        run_recipe(small, out=tmp_path / "run", seed=1, progress=False)


@pytest.mark.parametrize(
    ("was", "now", "message"),
    [
        ("epochs = 3", "epochs = 0", "training.epochs: Input should be greater than or equal to 1, got 0"),
        ("epochs = 3", "epoch = 3", "training.epochs: Field required"),
        ('data = "digits"', 'data = "digit"', "data: must be one of 'digits', .*, got 'digit'. Did you mean 'digits'"),
        ("0.05", "5", "activation_errors.error_rate_0: Input should be less than or equal to 1"),
        ("draws = 2", "draw = 2", "draw: Extra inputs are not permitted"),
        ("title", "title =", "is not TOML"),
        ("hidden", "hiden", "arguments of mlp are wrong"),
        ('"mlp"', '"mpl"', "model must be one of .* Did you mean 'mlp'"),
    ],
)
def test_wrong_recipes_are_refused_in_words(small, was, now, message):
    small.write_text(SMALL.replace(was, now, 1))
    with pytest.raises(ValueError, match=message):
        built(load_recipe(small))


def test_unknown_recipes_are_refused():
    with pytest.raises(ValueError, match="Did you mean 'digits_mlp'"):
        load_recipe("digit_mlp")
    with pytest.raises(FileNotFoundError, match=r"absent\.toml"):
        load_recipe("absent.toml")


def test_a_recipe_that_is_not_text_is_named(tmp_path):
    (tmp_path / "bad.toml").write_bytes(b'title = "\xff"\n')
    with pytest.raises(ValueError, match=r"bad\.toml: not a text in UTF-8"):
        load_recipe(tmp_path / "bad.toml")


def test_the_front_door():
    assert bnn.load_recipe is load_recipe
    assert bnn.run_recipe is run_recipe
    assert bnn.list_recipes() == list_recipes()


# ---- the verb --------------------------------------------------------------------------------------------------------


def test_verb_runs_a_recipe(capsys, small, tmp_path):
    assert main(["run", str(small), "--out", str(tmp_path / "out"), "--seed", "2"]) == 0
    out, err = capsys.readouterr()
    assert "small: seed 2, epoch 3 of 3, the last" in out
    assert "with errors" in out
    assert "599 test images, 2 draws" in out
    assert "epoch 3: loss" in err
    assert f"written: {tmp_path / 'out' / 'result.json'}" in err


def test_verb_says_that_nothing_was_trained(capsys, small, tmp_path):
    words = ["run", str(small), "--out", str(tmp_path / "out")]
    assert main([*words, "--threads", "1"]) == 0
    first, _ = capsys.readouterr()
    assert "core-seconds, 1 thread\n" in first
    assert main(words) == 0
    assert capsys.readouterr() == (first, "already finished, nothing trained\n")


def test_verb_gives_json(capsys, small):
    assert main(["run", str(small), "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["test"]["error_free"]["images"] == 599
    assert len(content["history"]) == 3
    assert main(["run", "--json"]) == 0
    assert "digits_mlp" in json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["digit_mlp"], "Did you mean 'digits_mlp'"),
        (["absent.toml"], "'absent.toml' does not exist"),
        (["digits_mlp", "--seed", "-1"], "--seed must be a whole number >= 0, got -1"),
        (["digits_mlp", "--data-dir", "."], "--data-dir must not be given for digits"),
        (["digits_mlp", "--out", "no/such/folder"], "--out 'no/such/folder' cannot be written"),
        (["digits_mlp", "--sed", "1"], "there is no option --sed"),
    ],
)
def test_verb_refuses_in_one_line(capsys, words, message):
    assert main(["run", *words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("inputs = 64", "inputs = 60"), "input_shape must fit the model, got (1, 8, 8)"),
        (("inputs = 64", "inputs = 64, classes = 3"), "each of the 10 classes of digits, got (3,)"),
        (("learning_rate = 0.02", "learning_rate = 1e30"), "is not finite, in epoch 0"),
    ],
)
def test_a_recipe_that_cannot_be_trained_is_said_in_one_line(capsys, tmp_path, change, message):
    (tmp_path / "own.toml").write_text(SMALL.replace(*change))
    code = main(("run", str(tmp_path / "own.toml")))
    captured = capsys.readouterr()
    assert (code, captured.out) == (2, "")
    assert message in captured.err
    assert captured.err.count("\n") == 1
