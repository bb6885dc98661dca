"""Parts of recipes: phases, words, corrections, dies, other rates and data, models and optimizers of one's own."""

import numpy as np
import pytest
import torch

from bnn.data.loading import load
from bnn.evaluation.accuracy import evaluate
from bnn.evaluation.batch_norm import reestimate_batch_norm, rescale_batch_norm
from bnn.layers.binary import BinaryLayer
from bnn.optimizers.bop import Bop
from bnn.optimizers.state_transitions import DiscreteStateTransition
from bnn.recipes.memories import mram_of, process_of
from bnn.recipes.network import data_of, network_of, optimizer_of
from bnn.recipes.run import Prepared, run_recipe
from bnn.recipes.tests import placed
from bnn.recipes.tests import tests_of as declared_tests
from bridge import OperatingPoint, WriteSetting, operating_point
from mtjsim.presets import load_preset
from mtjsim.rng import child_seed
from networks import counts
from physics import approx

HALF = {"error_rate": 0.3, "errors": "independent"}


def run(recipe, **options):
    return run_recipe(recipe, progress=False, **options)


# ---- phases ----------------------------------------------------------------------------------------------------------


def test_words_with_parity_in_mram_then_everything_in_sram_with_new_statistics(small):
    cheap = {"holds": "weights", "error_rate": 1e-3, "protection": "parity", "format": "fp32"}
    phases = [{"memory": "weights", "until": 0.5}, {"memory": [], "scrub": True, "reestimate": 64}]
    result = run(small(device=None, memory=[cheap], phase=phases, test=[{"name": "clean"}]))
    assert [epoch.phase for epoch in result.history] == [0, 1]
    assert result.ledger.joules("device") == 0.0  # of rates without energies; the accesses are counted
    memories = {entry.memory for entry in result.ledger.entries}
    assert {name for name in memories if "MRAM" in name} == {"MRAM, weights", "MRAM, weights, check cells"}
    assert {"SRAM 32kB, weights", "SRAM 32kB, batch_norm", "SRAM 32kB, optimizer"} <= memories
    in_sram = sum(entry.joules("system") for entry in result.ledger if entry.memory.startswith("SRAM"))
    of_mram = result.values()["training.joules_of_mram_at_least"]  # its code is priced, its pulses are not
    assert of_mram == approx(result.ledger.joules("system") - in_sram, rel=1e-9)
    exact = run(small(device=None, memory=None, test=[{"name": "clean"}]))
    assert exact.values()["training.joules_of_mram"] == 0.0
    plain = run(small(device=None, memory=[cheap], phase=[phases[0], {"memory": []}], test=[{"name": "clean"}]))
    assert len({str(counts(r.tests["clean"])) for r in (result, exact, plain)}) == 3
    assert exact.ledger == exact.ledger_in_sram
    assert exact.values()["training.joules_system"] == exact.values()["training.joules_in_sram"] > 0.0


def test_without_phases_all_memories_are_in_one(small):
    recipe = small(device=None, memory=[HALF, {"holds": "signs", **HALF}])
    whole = recipe.replaced({"phase": [{"memory": ["activations", "signs"]}]})
    assert counts(run(recipe).tests["clean"]) == counts(run(whole).tests["clean"])
    last = recipe.replaced({"phase": [{"memory": "activations", "until": 0.5}, {"memory": "signs"}], "test": None})
    (_, errors) = declared_tests(last)
    assert (errors.name, dict(errors.memory)) == ("with_errors", {"signs": {}})
    assert [test.name for test in declared_tests(last.replaced({"phase": [{"memory": []}]}))] == ["error_free"]


def test_a_memory_that_no_phase_has_can_be_in_a_test_alone(small):
    recipe = small(
        device=None,
        memory=[{"holds": "signs", **HALF}],
        phase=[{"memory": []}],
        test=[{"name": "clean"}, {"name": "signs", "memory": "signs", "draws": 3}],
    )
    result = run(recipe)
    exact = run(small(device=None, memory=None, test=[{"name": "clean"}]))
    assert counts(result.tests["clean"]) == counts(exact.tests["clean"])
    assert result.tests["signs"].mean < result.tests["clean"].mean - 0.1
    point = OperatingPoint.of_rates(error_rate_0=0.3, error_rate_1=0.3)
    seed = child_seed(recipe.seed, "test")
    expected = evaluate(result.model, load("digits").test, weight_errors=point, draws=3, seed=seed)
    assert counts(result.tests["signs"]) == counts(expected)


# ---- corrections -----------------------------------------------------------------------------------------------------


def test_corrections_are_those_of_the_library(small):
    tests = [{"name": kind, "memory": [], "correct": kind} for kind in ("none", "rescale", "reestimate")]
    recipe = small(device=None, memory=[HALF], test=tests)
    result = run(recipe)
    model, images = result.model, load("digits").test
    mrams = {"activations": mram_of(recipe, "activations", seed=0)}
    with placed(model, mrams):
        rescaled = rescale_batch_norm(model, run_at=None)
    with placed(model, {}):
        data = data_of(recipe).train
        estimated = reestimate_batch_norm(
            model, data.subset(range(len(data))), draws=1, seed=child_seed(recipe.seed, "test", 1)
        )
    for name, other in (("none", model), ("rescale", rescaled), ("reestimate", estimated)):
        assert counts(result.tests[name]) == counts(evaluate(other, images)), name
    assert result.tests["reestimate"].mean > result.tests["none"].mean


def test_a_correction_does_not_change_the_trained_network(small):
    recipe = small(device=None, memory=[HALF], test=[{"name": "clean", "memory": []}])
    corrected = recipe.replaced(
        {"test": [{"name": "corrected", "memory": [], "correct": "reestimate"}, {"name": "clean", "memory": []}]}
    )
    assert counts(run(recipe).tests["clean"]) == counts(run(corrected).tests["clean"])


# ---- other rates, dies, other images ---------------------------------------------------------------------------------


def test_a_list_of_values_is_a_test_of_each(small):
    pulse = {"pulse_width": "10ns"}
    changes = {"activations": {"current": ["40uA", "60uA"], **pulse}}
    recipe = small(test=[{"name": "at", "memory": changes, "draws": 2}, {"name": "as_trained", "draws": 2}])
    names = [test.name for test in declared_tests(recipe)]
    assert names == ["at current=4e-05", "at current=6e-05", "as_trained"]
    result = run(recipe)
    low, high, own = (result.tests[name].mean for name in names)
    assert low < own < high
    junction = load_preset("arm_2021")
    for test, current in zip(declared_tests(recipe), (40e-6, 60e-6), strict=False):
        mram = mram_of(recipe, "activations", seed=0, changes=test.memory["activations"])
        assert mram.point == operating_point(junction, WriteSetting(current=current, pulse_width=10e-9))


def test_a_test_may_write_in_another_way_and_keeps_what_it_does_not_change(small):
    recipe = small(memory=[{"current": "42uA", "pulse_width": "10ns", "temperature": 330, "errors": "independent"}])
    other = mram_of(recipe, "activations", seed=0, changes={"error_rate_0": 0.1, "error_rate_1": 0.2})
    assert (other.point.error_rate_0, other.point.error_rate_1, other.point.temperature) == (0.1, 0.2, 330)
    assert other.words.errors == "independent"
    shorter = mram_of(recipe, "activations", seed=0, changes={"pulse_width": 8e-9})
    setting = WriteSetting(current=42e-6, pulse_width=8e-9)
    assert shorter.point == operating_point(load_preset("arm_2021"), setting, temperature=330)


@pytest.mark.parametrize("holds", ["activations", "signs"])
def test_dies_have_the_faults_of_the_process(small, holds):
    block = {"holds": holds, "error_rate": 1e-6, "errors": "independent"}
    recipe = small(
        device=None,
        memory=[block],
        process={"stuck_p_rate": 0.2},
        test=[{"name": "dies", "dies": 3}, {"name": "drawn", "draws": 3}],
    )
    result = run(recipe)
    process = process_of(recipe, holds, result.points[holds])
    assert process.stuck_p_rate == 0.2
    errors = {"errors" if holds == "activations" else "weight_errors": result.points[holds]}
    expected = evaluate(
        result.model, load("digits").test, **errors, process=process, draws=3, seed=child_seed(recipe.seed, "test")
    )
    assert counts(result.tests["dies"]) == counts(expected)
    assert result.tests["dies"].draws == 3
    assert result.tests["dies"].mean < result.tests["drawn"].mean


def test_a_spread_is_around_the_junction_and_its_write(small):
    recipe = small(process={"spread": {"diameter_d2d": 0.05}}, test=[{"name": "dies", "dies": 2}])
    result = run(recipe)
    population = process_of(recipe, "activations", result.points["activations"]).population
    assert population.device == load_preset("arm_2021")
    assert population.spread.diameter_d2d == 0.05
    assert population.setting == result.points["activations"].setting
    assert result.tests["dies"].shared_draws


def test_other_data_validation_images_and_fewer_of_them(small, monkeypatch):
    from bnn.recipes import network

    digits = load("digits")
    turned = [
        type(half)(np.ascontiguousarray(half.images[:, :, ::-1]), half.labels, "turned", half.full_scale)
        for half in (digits.train, digits.test)
    ]
    other = type(digits)(**{**vars(digits), "train": turned[0], "test": turned[1]})
    monkeypatch.setattr(network, "load", lambda name, folder=None: digits if name == "digits" else other)
    recipe = small(
        data={"name": "digits", "classes": 4, "validation": 0.2, "train_images": 200},
        test=[
            {"name": "clean", "memory": []},
            {"name": "held_out", "memory": [], "images": "validation"},
            {"name": "turned", "memory": [], "data": "mnist"},
            {"name": "turned_held_out", "memory": [], "data": "mnist", "images": "validation"},
        ],
    )
    data = data_of(recipe)
    assert (len(data.train), set(data.train.labels), len(data.whole.class_names)) == (200, {0, 1, 2, 3}, 4)
    assert not {image.tobytes() for image in data.train.images} & {image.tobytes() for image in data.validation.images}
    result = run(recipe)
    images = {name: accuracy.images for name, accuracy in result.tests.items()}
    held_out = len(data.validation)
    test_images = int((digits.test.labels < 4).sum())
    assert images == {"clean": test_images, "held_out": held_out, "turned": test_images, "turned_held_out": held_out}
    assert result.tests["turned"].mean < result.tests["clean"].mean
    assert result.values()["training.validation_accuracy"] == result.history[-1].validation_accuracy


def test_other_data_that_do_not_fit_are_refused_before_the_training(small, monkeypatch):
    from bnn.recipes import network

    digits = load("digits")
    wide = type(digits.test)(np.zeros((3, 1, 9, 9), np.uint8), np.zeros(3, np.int64), "wide", 16)
    other = type(digits)(**{**vars(digits), "train": wide, "test": wide})
    monkeypatch.setattr(network, "load", lambda name, folder=None: digits if name == "digits" else other)
    with pytest.raises(ValueError, match=r"test\.wide: .*\(1, 9, 9\)"):
        Prepared.of(small(test=[{"name": "wide", "memory": [], "data": "mnist"}]))


# ---- models and optimizers -------------------------------------------------------------------------------------------

OWN = """
from torch import nn

def net(width=12, classes=10):
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, width), nn.BatchNorm1d(width), nn.ReLU(),
        nn.Linear(width, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, classes),
    )

def text():
    return "no model"
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    (tmp_path / "own_network_of_a_test.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    return "own_network_of_a_test:net"


def test_a_model_of_ones_own_is_binarized_and_its_weights_follow_from_the_seed(small, own):
    recipe = small(model={"name": own, "width": 16}, binarize={"last": "real", "weight_quantizer": "approx_sign"})
    model = network_of(recipe, 10)
    assert sum(isinstance(module, BinaryLayer) for module in model.modules()) == 1
    other = network_of(recipe.replaced({"seed": 1}), 10)
    again = network_of(recipe, 10)
    for a, b, c in zip(model.parameters(), again.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)
        if a.dim() > 1:
            assert not torch.equal(a, c)
    state = torch.get_rng_state()
    result = run(recipe)
    assert torch.equal(state, torch.get_rng_state())
    assert set(result.tests) == {"clean", "with_errors"}
    assert result.tests["clean"].mean > 0.3


def test_a_function_that_returns_no_model_is_refused(small, own):
    with pytest.raises(ValueError, match="must be a function that returns a torch model, got 'no model'"):
        Prepared.of(small(model=own.replace(":net", ":text")))
    with pytest.raises(ValueError, match=r"model must be module:function, which can be imported"):
        Prepared.of(small(model=own.replace(":net", ":nets")))


def test_transitions_are_of_an_optimizer_and_their_states_do_not_decay(small):
    from bnn.recipes.network import config_of

    training = {"epochs": 2, "batch_size": 64, "learning_rate": 0.02, "weight_decay": 1e-4}
    model = {"name": "gxnor_mlp", "inputs": 64, "hidden": [32]}
    recipe = small(
        model=model, memory=None, device=None, test=[{"name": "clean"}],
        optimizer={"name": "state_transitions", "of": "adam", "betas": [0.9, 0.99]}, training=training,
    )  # fmt: skip
    (made,) = optimizer_of(recipe)(Prepared.of(recipe).model, config_of(recipe, ()))
    assert isinstance(made, DiscreteStateTransition)
    assert isinstance(made.optimizer, torch.optim.Adam)
    assert [(group.get("levels"), group["weight_decay"]) for group in made.param_groups] == [(3, 0.0), (None, 1e-4)]
    weight = run(recipe).model[1].weight
    assert set(weight.unique().tolist()) == {-1.0, 0.0, 1.0}
    for table, words in (
        ({"name": "state_transitions", "of": "bop"}, "optimizer.of must be one of"),
        ({"name": "state_transitions", "binary": 1}, "optimizer.binary must be true or false"),
        ({"name": "adam", "binary": True}, "optimizer.*binary"),
    ):
        with pytest.raises(ValueError, match=words):
            Prepared.of(small(optimizer=table))


@pytest.mark.parametrize(
    ("table", "kinds"),
    [
        ({}, [torch.optim.Adam]),
        ({"name": "adamw", "betas": [0.9, 0.99]}, [torch.optim.AdamW]),
        ({"name": "sgd", "momentum": 0.9}, [torch.optim.SGD]),
        ({"name": "bop", "threshold": 1e-6}, [Bop, torch.optim.Adam]),
    ],
)
def test_optimizers_have_their_arguments_and_the_rates_of_the_training(small, table, kinds):
    recipe = small(
        optimizer=table, training={"epochs": 1, "batch_size": 256, "learning_rate": 0.01, "weight_decay": 1e-4}
    )
    prepared = Prepared.of(recipe)
    from bnn.recipes.network import config_of

    made = optimizer_of(recipe)(prepared.model, config_of(recipe, ()))
    assert [type(optimizer) for optimizer in made] == kinds
    assert (made[-1].defaults["lr"], made[-1].defaults["weight_decay"]) == (0.01, 1e-4)
    for name, value in table.items():
        if name != "name":
            given = made[0].defaults[name]
            assert (list(given) if isinstance(value, list) else given) == value
    assert run(recipe).history[0].loss < 10


def test_the_best_epoch_is_chosen_by_the_validation_images(small):
    training = {"epochs": 3, "batch_size": 128, "learning_rate": 0.02, "choose": "best"}
    held_out = [{"name": "held_out", "images": "validation"}]
    data = {"name": "digits", "validation": 0.2}
    result = run(small(data=data, training=training, memory=None, device=None, test=held_out))
    assert result.tests["held_out"].mean == max(epoch.validation_accuracy for epoch in result.history)
