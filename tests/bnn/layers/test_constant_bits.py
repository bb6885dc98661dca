"""Layers whose input bits are all alike, found in the first batch of a training."""

import warnings
from dataclasses import replace

import pytest
import torch
from torch import nn

from bnn.conversion.config import BinarizeConfig
from bnn.conversion.convert import binarize
from bnn.layers.quantizers import ste_sign
from bnn.training.config import TrainConfig
from bnn.training.loop import Trainer
from networks import blobs, same_state

TRAIN = blobs(100, 1)
CONFIG = TrainConfig(epochs=1, batch_size=25, learning_rate=0.02, seed=4, progress=False)
OF_TORCH = "ignore::DeprecationWarning"  # of its compiler, about itself


class Normalized(nn.Module):
    """A sign with a state, which each call changes."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(16)

    def forward(self, x):
        return ste_sign(self.norm(x))


def numbered():
    calls = []

    def sign(x):
        calls.append(len(x))
        return ste_sign(x)

    return sign, calls


def network(quantizer, *, activation="keep", relu=False):
    torch.manual_seed(0)
    layers = nn.Linear(16, 16), nn.ReLU() if relu else nn.Identity(), nn.Linear(16, 16), nn.Linear(16, 10)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return binarize(
            nn.Sequential(nn.Flatten(), *layers), BinarizeConfig(input_quantizer=quantizer), activation=activation
        )


def test_a_quantizer_with_a_state_is_resumed_bit_for_bit(tmp_path):
    # The first batch of every call is watched: a resumed training has one more such batch.
    config = replace(CONFIG, checkpoint=tmp_path / "run.pt", checkpoint_steps=1)

    def stop(step):
        if step.step == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Trainer(network(Normalized()), config).fit(TRAIN, on_step=stop)
    resumed = Trainer(network(Normalized()), config).fit(TRAIN).model
    assert same_state(resumed, Trainer(network(Normalized()), CONFIG).fit(TRAIN).model)
    assert isinstance(resumed[3].input_quantizer, Normalized)


def test_a_quantizer_is_called_once_a_step_and_is_the_same_afterwards():
    sign, calls = numbered()
    model = network(sign)
    Trainer(model, CONFIG).fit(TRAIN)
    assert calls == [25] * 4
    assert model[3].input_quantizer is sign


def test_a_constant_sign_is_found_in_the_first_batch():
    with pytest.warns(UserWarning, match=r"sign of layer '3' is constant: all its 400 input bits were \+1, in the"):
        Trainer(network(ste_sign, relu=True), CONFIG).fit(TRAIN)


def whole(model):
    return torch.compile(model, backend="eager")


def in_place(model):
    model.compile(backend="eager")
    return model


def layer(model):
    model[3] = torch.compile(model[3], backend="eager")
    return model


@pytest.mark.slow  # seconds each
@pytest.mark.filterwarnings(OF_TORCH)
@pytest.mark.parametrize("compiled", [whole, in_place, layer])
def test_a_constant_sign_is_found_in_a_compiled_model_too_and_nothing_else_changes(compiled):
    torch.compiler.reset()
    with pytest.warns(UserWarning, match=r"sign of layer '3' is constant: all its 400 input bits were \+1, in the"):
        model = Trainer(compiled(network(ste_sign, relu=True)), CONFIG).fit(TRAIN).model
    with pytest.warns(UserWarning, match="is constant"):
        plain = Trainer(network(ste_sign, relu=True), CONFIG).fit(TRAIN).model
    pairs = zip(model.parameters(), plain.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)
