"""The recipes and studies of published works, small: 28 x 28 images made of the digits in the place of MNIST."""

from dataclasses import replace

import numpy as np
import pytest

from bnn.data.loading import load
from bnn.recipes import network
from bnn.recipes.memories import device_of
from bnn.recipes.recipe import load_recipe
from bnn.recipes.run import Prepared, run_recipe
from bnn.studies.run import checked_points, run_study
from bnn.studies.space import Study, list_studies, load_study
from bridge.write import operating_point
from networks import same_state
from physics import approx

WORKS = ("activation_writes", "two_phase", "weight_storage")
ON_MNIST = [
    name
    for name in list_studies()
    if name.startswith((*WORKS, "activation_joules")) and load_study(name).recipe.value("data.name") == "mnist"
]
SMALL = {"data.train_images": 256, "training.epochs": 2, "training.batch_size": 64, "seed": 1}


@pytest.fixture(autouse=True)
def large_digits(monkeypatch):
    """The digits, each pixel 3 x 3 and a frame of 2, under the name of MNIST."""
    digits = load("digits")

    def enlarged(half):
        large = np.pad(np.kron(half.images, np.ones((1, 1, 3, 3), np.uint8)), ((0, 0), (0, 0), (2, 2), (2, 2)))
        return replace(half, images=large)

    whole = replace(digits, train=enlarged(digits.train), test=enlarged(digits.test))
    monkeypatch.setattr(network, "_loaded", lambda name, data_dir: whole)


def small(name, **more):
    return load_recipe(name).replaced({**SMALL, **more})


def run(recipe, **given):
    return run_recipe(recipe, progress=False, threads=1, **given)


def joules(values, name):
    return values[name] if name in values else values[f"{name}_at_least"]


# ---- what each recipe and study is -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", WORKS)
def test_everything_of_a_work_can_be_prepared_and_its_rates_are_those_of_the_device(name):
    prepared = Prepared.of(small(name))
    for memory, mram in prepared.mrams.items():
        device = device_of(prepared.recipe, memory=memory)
        again = operating_point(device, mram.point.setting)
        assert (again.error_rate_0, again.error_rate_1) == approx((mram.point.error_rate_0, mram.point.error_rate_1))


@pytest.mark.slow  # `run_study` does this before any work
@pytest.mark.parametrize("name", ON_MNIST)
def test_every_value_of_every_study_of_a_work_can_be_prepared(name, monkeypatch):
    few = network._loaded("mnist", None)
    many = few.train.subset(np.arange(60_000) % len(few.train))  # as many as MNIST has
    monkeypatch.setattr(network, "_loaded", lambda name, data_dir: replace(few, train=many))
    assert checked_points(load_study(name), None)


# ---- activations -----------------------------------------------------------------------------------------------------


def test_the_four_columns_and_the_polarity_of_activation_writes():
    result = run(small("activation_writes", **{"memory.activations.error_rate": 0.2}))
    values = result.values()
    for name in ("clean", "clean_corrected", "independent", "overwrite"):
        assert 0.3 < values[f"{name}.accuracy"] <= 1.0
    ledger, images = result.inferences["independent"]
    ones = sum(entry.count for entry in ledger if entry.event.startswith("write 1")) / (3680 * images)
    point = result.points["activations"]
    upright = (1 - ones) * point.energy_0 + ones * point.energy_1  # each write turns its cell: independent errors
    inverted = (1 - ones) * point.energy_1 + ones * point.energy_0
    assert values["independent.joules_device"] > 0
    assert values["inverted.joules_device"] / values["independent.joules_device"] == approx(inverted / upright, rel=0.1)
    assert (inverted < upright) == (values["inverted.joules_device"] < values["independent.joules_device"])


WRITES = (
    {"error_rate": [0.01, 0.2]},
    {"error_rate": None, "current_0": "35uA", "current_1": "30uA"},
    {"error_rate": None, "voltage_0": "0.6V", "voltage_1": "0.5V"},
)


@pytest.mark.parametrize("writes", WRITES)
def test_inverted_bits_keep_what_is_declared_of_a_bit_and_exchange_what_follows_from_its_state(writes):
    own = {f"memory.activations.{name}": value for name, value in writes.items()}
    other = {"_0": "_1", "_1": "_0"}
    crossed = {name[:-2] + other[name[-2:]] if name[-2:] in other else name: value for name, value in own.items()}
    crossed |= {name: value[::-1] for name, value in own.items() if isinstance(value, list)}
    inverted, states = (
        Prepared.declared(small("activation_writes", **fields))[0]["activations"]
        for fields in (own | {"memory.activations.inverted": True}, crossed)
    )
    bits, cells = inverted.point, states.point  # a 0 is written as the cell's 1
    assert bits == cells.with_inverted_bits()
    assert (bits.error_rate_0, bits.energy_0) == (cells.error_rate_1, cells.energy_1)
    assert bits.identity != cells.identity
    if writes.get("error_rate"):
        assert (bits.error_rate_0, bits.error_rate_1) == approx((0.01, 0.2), rel=1e-3)
    else:
        name = "current" if "current_0" in writes else "voltage"
        first, second = (getattr(bits.setting, f"{name}_{bit}") for bit in (0, 1))
        assert first > second  # as declared
    read, plain = inverted.words.reading, states.words.reading
    assert (plain.energy_0, plain.disturb_rate_1) == (read.energy_1, read.disturb_rate_0)


def test_bits_that_are_inverted_need_a_device_and_a_flag():
    recipe = small("activation_writes")
    with pytest.raises(ValueError, match=r"memory.activations.inverted must be true or false, got 'yes'"):
        recipe.replaced({"memory.activations.inverted": "yes"})
    given = {"name": "bits", "holds": "activations", "error_rate_0": 0.01, "error_rate_1": 0.2, "inverted": True}
    alone = load_recipe("digits_mlp").replaced({"memory": [given], "test": None})
    with pytest.raises(ValueError, match=r"memory.bits.inverted must be false without a \[device\]"):
        run(alone)


def test_two_layers_have_a_current_each():
    study = load_study("activation_writes_layers")
    (point,) = (point for point in study.grid() if point.shown[0] == ("arm", "real_layers_1_20") and point.repeat == 0)
    mrams = Prepared.declared(study.recipe_at(point))[0]
    assert mrams["conv"].point.error_rate_0 == approx(0.01, rel=1e-3)
    assert mrams["linear"].point.error_rate_0 == approx(0.2, rel=1e-3)
    assert mrams["conv"].point.setting.current_0 > mrams["linear"].point.setting.current_0


# ---- two phases ------------------------------------------------------------------------------------------------------


class Killed(Exception):
    """Stands for a process that is killed."""


@pytest.mark.parametrize("killed_after", [1, 3])
def test_a_resumed_run_equals_the_undisturbed_one_before_and_across_the_switch(tmp_path, killed_after):
    recipe = small("two_phase", **{"training.epochs": 4, "phase.0.until": 0.6, "memory.words.error_rate": 1e-3})
    whole = run(recipe, checkpoint=tmp_path / "whole.pt")
    assert [epoch.phase for epoch in whole.history] == [0, 0, 1, 1]

    def kill(epoch):
        if epoch.epoch + 1 == killed_after:
            raise Killed

    with pytest.raises(Killed):
        run(recipe, checkpoint=tmp_path / "killed.pt", on_epoch=kill)
    resumed = run(recipe, checkpoint=tmp_path / "killed.pt")
    assert same_state(whole.model, resumed.model)
    assert resumed.values() == whole.values()


def test_all_in_sram_has_joules_and_reading_first_saves_some():
    study = load_study("two_phase_joules")
    points = {dict(point.shown)["arm"]: point for point in reversed(study.grid())}  # those of the first rate, 1e-9
    found = {}
    for arm, point in points.items():
        recipe = study.recipe_at(point).replaced({"data.train_images": 128, "training.batch_size": 64})
        found[arm] = run(recipe).values()
    system = {arm: joules(values, "training.joules_system") for arm, values in found.items()}
    assert all(value > 0 for value in system.values())
    assert found["sram"]["training.joules_device"] == 0.0
    assert system["sram"] < system["dram"]
    with_driver = {arm: found[arm]["training.joules_with_driver"] for arm in ("mram_plain", "mram_read_first")}
    assert with_driver["mram_read_first"] < with_driver["mram_plain"]
    assert (
        found["mram_plain"]["clean.accuracy"] == found["mram_read_first"]["clean.accuracy"]
    )  # no write fails: the same bits


@pytest.mark.parametrize("protection", ["none", "parity", "secded"])
def test_inferences_from_int8_words_with_a_scale_a_tensor_are_counted_with_their_check_cells(protection):
    int8 = {"memory.words.format": "int8", "memory.words.scale": "tensor", "memory.words.rounding": "stochastic"}
    read = {"voltage": 0.1, "duration": "5ns", "sense_energy": 1e-14}
    more = {"memory.words.protection": protection, "phase": [{"memory": ["words"]}], "memory.words.read": read}
    result = run(small("two_phase", **{**int8, **more, "training.epochs": 1}))
    ledger, images = result.inferences["clean"]
    (entry,) = [entry for entry in ledger if entry.memory == "MRAM, weights"]
    cells = {"none": 8.0, "parity": 9.0, "secded": 9.0}[protection]
    assert entry.count == images * 784 * 256  # the last layer is binary: its signs are read, not its latent weights
    assert entry.periphery == approx(cells * 1e-14)


# ---- stored weights --------------------------------------------------------------------------------------------------


def test_stored_weights_lose_with_the_rate_and_a_training_with_errors_needs_a_phase():
    rates = [1e-5, 0.1]
    test = [{"name": "run", "memory": {"weights": {"error_rate": rates}}, "draws": 3}]
    values = run(small("weight_storage", **{"test": test, "model.hidden": [64, 64]})).values()
    least, most = (values[f"run error_rate={rate:g}.accuracy"] for rate in rates)
    assert least > most > 0.1
    assert values["run error_rate=0.1.worst"] <= most
    assert values["run error_rate=0.1.spread"] > 0


def test_clipped_weights_stay_in_their_range_and_shifts_do_not():
    clipped = run(
        small("weight_storage", **{"training.clip_weights": 0.004, "test": [{"name": "clean", "memory": []}]})
    )
    sizes = {name: float(p.detach().abs().max()) for name, p in clipped.model.named_parameters()}
    assert all(size <= np.float32(0.004) for name, size in sizes.items() if "bias" not in name)
    assert max(size for name, size in sizes.items() if "bias" in name) > 0.004
    with pytest.raises(ValueError, match=r"training.clip_weights must be finite and > 0"):
        run(small("weight_storage", **{"training.clip_weights": 0.0}))


def test_thresholds_are_rescaled_layer_by_layer_where_memories_differ(tmp_path):
    """The protected layer keeps its thresholds; with one memory of all layers the two ways agree."""
    test = [{"name": "run", "memory": {"weights": {"error_rate": 0.1}}, "correct": "rescale", "draws": 3}]
    whole = small("weight_storage", **{"test": test, "model.hidden": [64, 64]})
    named = whole.replaced({"memory.weights.layers": ["1", "3", "5"]})
    same = [run(recipe, checkpoint=tmp_path / f"{n}.pt").values() for n, recipe in enumerate((whole, named))]
    assert same[0]["run.accuracy"] == approx(same[1]["run.accuracy"], abs=2e-3)
    protected = run(whole.replaced({"memory.weights.layers": ["3", "5"]})).values()
    assert protected["run.accuracy"] > same[0]["run.accuracy"]


# ---- wrong input, killed runs ----------------------------------------------------------------------------------------

WRONG = (
    ("activation_writes", {"memory.activations.layers": ["conv9"]}, r"conv9"),
    (
        "activation_writes",
        {"memory.activations.error_rate": None, "memory.activations.current": "500uA"},
        r"memory.activations.*500|memory.activations.*0.0005",
    ),
    ("activation_writes", {"memory.activations.error_rate": 1e-25}, r"error_rate 1e-25 .* is not reached"),
    ("two_phase", {"phase": [{"until": 0.5}, {"memory": []}]}, r"phase.0.memory must be given"),
    ("two_phase", {"phase": [{"memory": ["sram"]}]}, r"phase.0.memory must be one of 'words'"),
    ("weight_storage", {"test": [{"name": "run", "memory": {"weigths": {}}}]}, r"Did you mean 'weights'"),
)


@pytest.mark.parametrize(("name", "changes", "message"), WRONG)
def test_wrong_input_is_refused_before_any_training(name, changes, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        run(small(name, **changes), out=tmp_path / "out")
    assert not list(tmp_path.glob("out/*"))


def test_dies_are_of_bits_that_are_stored_as_they_are():
    """Stuck and open cells of a process are those of states: with inverted bits they would be others."""
    dies = {"name": "run", "memory": {"weights": {"inverted": True}}, "dies": 2}
    for process in ({"stuck_p_rate": 0.2}, {"spread": {"diameter_d2d": 0.02}}):
        recipe = small("weight_storage", **{"process": process, "test": [dies], "model.hidden": [8, 8]})
        with pytest.raises(ValueError, match=r"memory.weights.inverted must be false on dies of \[process\]"):
            run(recipe)


def test_a_sweep_over_an_unknown_field_is_refused(tmp_path):
    for field in ("memory.activation.error_rate", "training.epoch"):
        with pytest.raises(ValueError, match="Did you mean"):
            run_study(Study(name="wrong", recipe="activation_writes", space={field: [1, 2]}), out=tmp_path / "out")
    assert not list(tmp_path.glob("out/*"))


def test_a_kind_of_tensor_that_the_model_lacks_is_refused_before_any_work(tmp_path):
    """One value of a list alone: the others would run for minutes before it."""
    fixed = {field: value for field, value in SMALL.items() if field != "seed"}
    kinds = Study(name="kinds", recipe="two_phase", set=fixed, space={"memory.words.holds": [["weights"], ["biases"]]})
    with pytest.raises(ValueError, match=r"kinds at memory.words.holds=\['biases'\]: memory.words.holds must name"):
        run_study(kinds, out=tmp_path / "out", workers=1)
    assert not list(tmp_path.glob("out/*"))


def tiny_study(**more):
    fixed = {"data.train_images": 64, "training.epochs": 1, "training.batch_size": 32, "model.hidden": [8, 8]}
    test = [{"name": "run", "memory": {"weights": {"error_rate": 1e-3}}, "draws": 2}]
    return Study(
        name="tiny",
        recipe="weight_storage",
        set={**fixed, "test": test, **more},
        space={"test.run.memory.weights.error_rate": [1e-3, 0.1]},
        repeats=2,
    )


def test_a_folder_of_another_recipe_is_refused_and_left_alone(tmp_path):
    run_study(tiny_study(), out=tmp_path, workers=1, progress=False)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.csv")}
    with pytest.raises(ValueError, match="another"):
        run_study(tiny_study(**{"training.learning_rate": 0.01}), out=tmp_path, workers=1, progress=False)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.csv")} == before
