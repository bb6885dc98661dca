"""Another number of epochs on the same checkpoint: equal to the bit where the steps done would have been the same."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from torch.optim.lr_scheduler import MultiStepLR, OneCycleLR, StepLR

import bnn
from bnn.models import mlp
from bnn.training.config import TrainConfig
from bnn.training.loop import Trainer
from bnn.training.phases import MRAM, SRAM, Phase
from networks import Interruption, blobs, interrupt_at, same_state, write_errors
from physics import point

TRAIN, VALIDATION = blobs(60, seed=1), blobs(80, seed=2, noise=1.5)  # 3 batches of 20
CONFIG = TrainConfig(epochs=2, batch_size=20, learning_rate=0.05, seed=4, schedule="constant", progress=False)
WEAK = MRAM(point=point(0.01), holds=("weights", "activations"), protection="parity")


def network():
    return mlp(16, (12,), seed=1, activation_memory=write_errors(0.02))


def same(found, expected):
    assert same_state(found.model, expected.model)
    assert found.history == expected.history
    assert (found.chosen, found.ledger, found.stopped) == (expected.chosen, expected.ledger, expected.stopped)


CONTINUED = {
    "constant": {},
    "the best epoch": {"choose": "best"},
    "patience": {"patience": 6},
    "augmented and clipped": {"augment": bnn.Augment(shift=1), "clip_gradient": 0.5, "loss": "margin_hinge"},
    "a torch scheduler": {"schedule": lambda optimizer: MultiStepLR(optimizer, [1, 3], gamma=0.1)},
    "a torch scheduler by steps": {"schedule": partial(StepLR, step_size=2, gamma=0.7), "schedule_every": "step"},
    "a factor that was the same": {"schedule": lambda done: 1.0 if done < 0.99 else 0.5},
    "one phase": {"phases": (Phase(memory=WEAK),)},
}


@pytest.mark.parametrize("name", CONTINUED)
def test_more_epochs_are_those_of_a_training_of_the_larger_number(tmp_path, name):
    config = replace(CONFIG, checkpoint=tmp_path / "run.pt", **CONTINUED[name])
    whole = Trainer(network(), replace(config, epochs=5, checkpoint=None)).fit(TRAIN, VALIDATION)
    Trainer(network(), config).fit(TRAIN, VALIDATION)
    longer = Trainer(network(), replace(config, epochs=5)).fit(TRAIN, VALIDATION)
    assert longer.steps == 9
    same(longer, whole)
    again = Trainer(network(), replace(config, epochs=5)).fit(TRAIN, VALIDATION)
    assert again.steps == 0
    assert again.identity == longer.identity


def test_an_interrupted_training_and_the_same_model_go_on_to_more_epochs(tmp_path):
    config = replace(CONFIG, epochs=3, checkpoint=tmp_path / "run.pt", checkpoint_steps=1, choose="best")
    whole = Trainer(network(), replace(config, epochs=5, checkpoint=None)).fit(TRAIN, VALIDATION)
    model = network()
    with pytest.raises(Interruption):
        Trainer(model, config).fit(TRAIN, VALIDATION, on_step=interrupt_at(step=4))
    longer = Trainer(model, replace(config, epochs=4)).fit(TRAIN, VALIDATION)
    assert longer.steps == 12 - 5
    same(Trainer(model, replace(config, epochs=5)).fit(TRAIN, VALIDATION), whole)


def test_phases_go_on_while_their_beginnings_do_not_move(tmp_path):
    def phases(share):
        return Phase(memory=WEAK, until=share), Phase(memory=SRAM(), scrub=True)

    config = replace(CONFIG, epochs=4, checkpoint=tmp_path / "run.pt", phases=phases(0.5), checkpoint_steps=1)
    whole = Trainer(network(), replace(config, epochs=6, checkpoint=None)).fit(TRAIN)
    with pytest.raises(Interruption):  # in the first phase, which is to end at step 6 of 12
        Trainer(network(), config).fit(TRAIN, on_step=interrupt_at(step=4))
    same(Trainer(network(), replace(config, epochs=6)).fit(TRAIN), whole)  # it ended at step 9 of 18
    with pytest.raises(ValueError, match="its phases began at the steps 0, 9, and would have begun at 0, 12"):
        Trainer(network(), replace(config, epochs=8)).fit(TRAIN)


def test_fewer_epochs_while_they_are_not_done(tmp_path):
    config = replace(CONFIG, epochs=5, checkpoint=tmp_path / "run.pt")
    with pytest.raises(Interruption):
        Trainer(network(), config).fit(TRAIN, on_epoch=interrupt_at(epoch=2))
    with pytest.raises(ValueError, match="it has done 9 steps, more than 2 epochs have"):
        Trainer(network(), replace(config, epochs=2)).fit(TRAIN)
    shorter = Trainer(network(), replace(config, epochs=4)).fit(TRAIN)
    same(shorter, Trainer(network(), replace(config, epochs=4, checkpoint=None)).fit(TRAIN))


@pytest.mark.parametrize(
    ("schedule", "reason"),
    [
        (
            "one_cycle",
            r"its learning rates depend on the number of epochs, in step 1 by the factor 0\.\d+, which would",
        ),
        ("cosine", "its learning rates depend on the number of epochs, in step 1 "),
        (lambda done: 1.0 if done < 0.4 else 0.1, "in step 3 by the factor 0.1, which would be 1"),
    ],
)
def test_rates_that_depend_on_the_number_of_epochs_are_refused_with_the_remedy(tmp_path, schedule, reason):
    config = replace(CONFIG, schedule=schedule, checkpoint=tmp_path / "run.pt")
    first = Trainer(network(), config).fit(TRAIN)
    rule = rf"is of a training of 2 epochs, not of 4, and cannot go on: .*{reason}.* Name another file to start over"
    with pytest.raises(ValueError, match=rule):
        Trainer(network(), replace(config, epochs=4)).fit(TRAIN)
    assert Trainer(network(), config).fit(TRAIN).history == first.history  # the file is as it was


def test_a_scheduler_of_a_fixed_length_is_another_one_for_more_epochs(tmp_path):
    def config(epochs):
        made = partial(OneCycleLR, max_lr=0.05, total_steps=epochs)
        return replace(CONFIG, epochs=epochs, schedule=made, checkpoint=tmp_path / "run.pt")

    Trainer(network(), config(2)).fit(TRAIN)
    with pytest.raises(ValueError, match="of another training: "):
        Trainer(network(), config(4)).fit(TRAIN)


def test_another_difference_than_the_epochs_is_refused_as_such(tmp_path):
    config = replace(CONFIG, checkpoint=tmp_path / "run.pt")
    Trainer(network(), config).fit(TRAIN)
    with pytest.raises(ValueError, match="of another training: "):
        Trainer(network(), replace(config, epochs=4, learning_rate=0.01)).fit(TRAIN)


@pytest.mark.parametrize("ends", ["early", "callback"])
def test_an_end_in_the_last_epoch_is_the_end_of_more_epochs_too(tmp_path, ends):
    settings, callbacks = {"patience": 3}, {}
    if ends == "callback":
        settings, callbacks = {}, {"on_epoch": lambda epoch: epoch.epoch == 3}
    config = replace(CONFIG, epochs=30, **settings)
    whole = Trainer(network(), config).fit(TRAIN, VALIDATION, **callbacks)
    assert whole.stopped.reason == ends
    last = whole.stopped.epoch + 1
    config = replace(config, checkpoint=tmp_path / "run.pt")
    shorter = Trainer(network(), replace(config, epochs=last)).fit(TRAIN, VALIDATION, **callbacks)
    assert shorter.stopped is None
    longer = Trainer(network(), config).fit(TRAIN, VALIDATION)
    assert longer.steps == 0
    same(longer, whole)


def test_a_training_that_ended_stays_at_its_end(tmp_path):
    config = replace(CONFIG, epochs=3, checkpoint=tmp_path / "run.pt")
    first = Trainer(network(), config).fit(TRAIN, on_epoch=lambda epoch: epoch.epoch == 1)
    longer = Trainer(network(), replace(config, epochs=9)).fit(TRAIN)
    assert (longer.steps, longer.stopped) == (0, first.stopped)
    torch.testing.assert_close(longer.model.state_dict(), first.model.state_dict(), rtol=0, atol=0)
