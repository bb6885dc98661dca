"""Networks of a curve: what a model function may do, and what is refused before any training."""

import copy
import subprocess
import sys

import pytest
import torch
from torch import nn

import bnn
from bnn.data.images import DataSet
from bnn.data.loading import load
from bnn.errors.write_errors import WriteErrors
from bnn.layers.slots import activation_memories
from bnn.studies.curve import energy_accuracy_curve
from bnn.studies.curve_networks import Copies, model_maker, network
from bnn.training.config import TrainConfig
from bridge.write import OperatingPoint

POINT = OperatingPoint.of_rates(error_rate_0=0.25, error_rate_1=0.2)
TRAINING = TrainConfig(epochs=1, batch_size=50, learning_rate=0.02, seed=0)


def real(width=16):
    layers = (nn.Linear(64, width), nn.BatchNorm1d(width), nn.Linear(width, width), nn.Linear(width, 10))
    return nn.Sequential(nn.Flatten(), *layers)


def fill(model, activation_memory):
    for index, layer in enumerate(activation_memories(model).values()):
        layer.activation_memory = activation_memory and activation_memory(seed=index)
    return model


@pytest.fixture(scope="module")
def small():
    digits = load("digits")
    return DataSet(
        "small", digits.train.subset(range(100)), digits.test.subset(range(50)), digits.class_names, digits.source
    )


def curve(make_model, data, **options):
    return energy_accuracy_curve(
        make_model, data, [POINT], TRAINING, **{"networks": 2, "draws": 2, "workers": 1, **options}
    )


def test_a_torch_model_is_copied_with_the_memory_in_every_slot_and_weights_of_each_seed():
    model = real()
    before = copy.deepcopy(model.state_dict())
    make = model_maker(model, bnn.BinarizeConfig(scale="xnor"))
    one, again, other = network(make, 1, POINT), network(make, 1, None), network(make, 2, POINT)
    slots = activation_memories(one)
    assert list(slots) == ["3"]
    assert (slots["3"].activation_memory.error_rate_0, slots["3"].activation_memory.error_rate_1) == (0.25, 0.2)
    assert slots["3"].scale == "xnor"
    for name in ("1.weight", "1.bias", "3.weight", "4.weight"):
        assert torch.equal(one.get_parameter(name), again.get_parameter(name))
        assert not torch.equal(one.get_parameter(name), other.get_parameter(name)) or name == "3.bias"
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


def test_a_model_that_is_binarized_already_is_taken_as_it_is(small):
    model = bnn.binarize(real(), per_layer={"3": {"scale": "xnor"}}, last="binary")
    result = curve(model, small)
    assert [layer.activation_memory for layer in activation_memories(model).values()] == [None, None]
    assert result == curve(Copies(model), small)


def test_a_torch_model_and_a_function_that_makes_it_give_the_same_kind_of_curve(small):
    def make(seed, activation_memory=None):
        return fill(bnn.binarize(real()), activation_memory)  # weights from torch's global stream

    state = torch.random.get_rng_state()
    result = curve(make, small)
    assert result == curve(make, small)  # the stream is seeded for each network
    assert torch.equal(state, torch.random.get_rng_state())


SHARED = fill(bnn.binarize(real()), None)


def ignores(seed, activation_memory=None):
    return bnn.binarize(real())


def fills_one_of_two(seed, activation_memory=None):
    model = bnn.binarize(real(), last="binary")
    model[3].activation_memory = activation_memory and activation_memory(seed=seed)
    return model


def other_rates(seed, activation_memory=None):
    return fill(bnn.binarize(real()), activation_memory and (lambda seed: rates(seed=seed, error_rate_0=0.5)))


def rates(seed, error_rate_0=0.25, error_rate_1=0.2, kind=WriteErrors, **others):
    return kind(error_rate_0=error_rate_0, error_rate_1=error_rate_1, seed=seed, **others)


def overwrites(seed, activation_memory=None):
    return fill(
        bnn.binarize(real()), activation_memory and (lambda seed: rates(seed, kind=bnn.OverwriteErrors, slots=1))
    )


def always(seed, activation_memory=None):
    return fill(bnn.binarize(real()), rates)


def writes_weights(seed, activation_memory=None):
    model = fill(bnn.binarize(real()), activation_memory)
    model[3].weight_memory = rates(seed=seed)
    return model


def one_object(seed, activation_memory=None):
    return fill(SHARED, activation_memory)


def shared_layers(seed, activation_memory=None):
    return fill(nn.Sequential(*SHARED), activation_memory)


def unseeded(seed, activation_memory=None):
    torch.seed()
    return fill(bnn.binarize(real()), activation_memory)


class Bypass(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner, self.outer = nn.Linear(64, 10), bnn.BinaryLinear(8, 8, seed=0)

    def forward(self, x):
        return self.inner(x.flatten(1))


def bypasses(seed, activation_memory=None):
    return fill(Bypass(), activation_memory)


@pytest.mark.parametrize(
    ("make_model", "message"),
    [
        (ignores, "did not put the memory into any layer, so it would be trained without errors"),
        (fills_one_of_two, "did not put the memory into the layer '4'"),
        (other_rates, "put another memory than activation_memory.* into '3': the point has the rates 0.25 and 0.2"),
        (overwrites, "put another memory than activation_memory"),
        (always, "put a memory into '3' where activation_memory is None"),
        (writes_weights, "put a memory into the weight slot of '3'"),
        (one_object, "returned the same weights twice"),
        (shared_layers, "returned the same weights twice"),
        (unseeded, "gave other initial weights for the same seed"),
        (bypasses, "gave a network that does not use the memories in its slots"),
        (lambda: None, "must take the keywords seed and activation_memory"),
        (lambda seed, activation_memory: None, "must return a torch model, got None"),
        (lambda seed, activation_memory: real(), "must give a network with binary layers that read bits"),
        (lambda seed, activation_memory: fill(bnn.binarize(real(8))[:4], activation_memory), "must give 10 logits"),
        (bnn.BinarizeConfig(), "must be a torch model, or a function .* given as config="),
    ],
)
def test_refuses_before_any_training(small, monkeypatch, make_model, message):
    monkeypatch.setattr("bnn.studies.curve.Trainer", None)
    with pytest.raises(ValueError, match=f"make_model {message}"):
        curve(make_model, small)


def test_refuses_what_a_curve_would_not_use(small):
    for config, message in (
        (bnn.BinarizeConfig(activation_write=(0.1, 0.1)), "config must have activation_write=None"),
        (bnn.BinarizeConfig(weight_write=(0.1, 0.1)), "config must have weight_write=None"),
        (bnn.BinarizeConfig(gradient="flipped"), 'config must have mode="independent"'),
    ):
        with pytest.raises(ValueError, match=message):
            curve(real(), small, config=config)
    with pytest.raises(ValueError, match="config must be None with a model function"):
        curve(ignores, small, config=bnn.BinarizeConfig())
    with pytest.raises(ValueError, match="config must be None with a model that has binary layers"):
        curve(bnn.binarize(real()), small, config=bnn.BinarizeConfig())
    with pytest.raises(ValueError, match=r"data must be a bnn\.DataSet"):
        curve(real(), small.train)
    phases = TrainConfig(epochs=1, batch_size=50, learning_rate=0.1, seed=0, phases=(bnn.Phase(memory=None),))
    with pytest.raises(ValueError, match="training must have no phases"):
        energy_accuracy_curve(real(), small, [POINT], phases)


def test_weights_without_a_method_that_draws_them_are_refused(small):
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.factor, self.inner = nn.Parameter(torch.ones(64)), real()

        def forward(self, x):
            return self.inner(x.flatten(1) * self.factor)

    with pytest.raises(ValueError, match=r"has weights in itself \(Scaled\) without a method reset_parameters"):
        curve(Scaled(), small)


def test_equal_initial_weights_of_all_networks_are_warned_of(small):
    model = bnn.binarize(real())
    with pytest.warns(UserWarning, match="same initial weights for every seed"):
        curve(lambda seed, activation_memory: fill(copy.deepcopy(model), activation_memory), small)


SCRIPT = """
print("script begins")
import bnn, bridge
def make(seed, activation_memory=None):
    return bnn.models.mlp(64, (8,), seed=seed, activation_memory=activation_memory)
point = bridge.OperatingPoint.of_rates(error_rate_0=0.1, error_rate_1=0.1)
training = bnn.TrainConfig(epochs=1, batch_size=64, learning_rate=0.02, seed=0)
options = dict(data=bnn.load("digits"), points=[point], training=training, networks=2, draws=2)
print(bnn.energy_accuracy_curve(make, **options, workers=2) == bnn.energy_accuracy_curve(make, **options, workers=1))
"""


@pytest.mark.slow
def test_a_script_without_a_main_guard_runs_once_and_its_functions_work_in_processes(tmp_path):
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    for command in ([str(path)], ["-c", SCRIPT]):  # as a file; as the cells of a notebook, which no process can import
        done = subprocess.run([sys.executable, *command], capture_output=True, text=True, timeout=300, check=False)
        assert done.stdout == "script begins\nTrue\n", done.stderr
