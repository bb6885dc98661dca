"""Ends of a training before its last epoch: out of patience, by a callback, by a divergence."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from bnn.models import mlp
from bnn.optimizers.bop import Bop, split_parameters
from bnn.training.config import TrainConfig
from bnn.training.loop import Trainer
from bnn.training.phases import MRAM, SRAM, Phase
from bnn.training.result import Divergence, Epoch, Stopped, out_of_patience
from networks import Interruption, blobs, interrupt_at, same_state, write_errors
from physics import point

TRAIN, VALIDATION = blobs(60, seed=1), blobs(80, seed=2, noise=1.5)  # 3 batches of 20
CONFIG = TrainConfig(epochs=30, batch_size=20, learning_rate=0.05, seed=4, schedule="constant", progress=False)


def network():
    return mlp(16, (12,), seed=1, activation_memory=write_errors(0.02))


# ---- early -----------------------------------------------------------------------------------------------------------


def epochs(*accuracies, phase=0):
    return tuple(Epoch(number, 1.0, 0.5, accuracy, phase) for number, accuracy in enumerate(accuracies))


@pytest.mark.parametrize(
    ("accuracies", "patience", "out"),
    [
        ((), 1, False),
        ((0.0,), 1, False),
        ((0.5, 0.5), 1, True),  # equal is not better
        ((0.5, 0.4, 0.6), 2, False),
        ((0.5, 0.4, 0.45), 2, True),
        ((0.5, 0.4, 0.45, 0.3), 4, False),
        ((0.5, 0.4), None, False),
    ],
)
def test_patience_counts_epochs_since_the_first_of_the_best(accuracies, patience, out):
    assert out_of_patience(epochs(*accuracies), patience, phase=0) is out


def test_patience_counts_epochs_of_the_last_phase():
    history = epochs(0.9, 0.1, 0.1) + epochs(0.2, 0.3, phase=1)
    assert not out_of_patience(history, 1, phase=1)
    assert out_of_patience(history + epochs(0.3, phase=1), 1, phase=1)


@pytest.mark.parametrize("choose", ["last", "best"])
def test_a_training_ends_early_and_trains_nothing_when_it_is_resumed(tmp_path, choose):
    config = replace(CONFIG, choose=choose, checkpoint=tmp_path / "run.pt", checkpoint_every=100)
    free = Trainer(network(), replace(config, checkpoint=None, schedule="constant")).fit(TRAIN, VALIDATION)
    accuracies = [epoch.validation_accuracy for epoch in free.history]
    last = next(n for n in range(30) if n - int(np.argmax(accuracies[: n + 1])) >= 3)  # by hand
    early = Trainer(network(), replace(config, patience=3)).fit(TRAIN, VALIDATION, test=VALIDATION)
    assert last < 29, "the training did not end early: this shows nothing"
    assert early.stopped == Stopped("early", last, 3 * (last + 1))
    assert early.history == free.history[: last + 1]
    assert early.chosen == (last if choose == "last" else last - 3)
    assert early.test["clean"].mean > 0
    assert f"{last + 1} of 30 epochs, stopped in epoch {last} (early)" in repr(early)
    again = Trainer(network(), replace(config, patience=3)).fit(TRAIN, VALIDATION)
    assert again.steps == 0
    assert again.stopped == early.stopped
    assert again.chosen == early.chosen
    assert same_state(again.model, early.model)
    if choose == "last":  # the model is that of a training of so many epochs
        plain = Trainer(network(), replace(config, checkpoint=None, epochs=last + 1)).fit(TRAIN, VALIDATION)
        assert plain.stopped is None
        assert same_state(plain.model, early.model)


def test_a_training_that_was_interrupted_ends_early_where_it_would_have(tmp_path):
    config = replace(CONFIG, patience=3, choose="best", metrics=tmp_path / "whole")
    whole = Trainer(network(), config).fit(TRAIN, VALIDATION)
    config = replace(config, checkpoint=tmp_path / "run.pt", metrics=tmp_path / "resumed")
    with pytest.raises(Interruption):
        Trainer(network(), config).fit(TRAIN, VALIDATION, on_epoch=interrupt_at(epoch=whole.stopped.epoch - 1))
    resumed = Trainer(network(), config).fit(TRAIN, VALIDATION)
    assert (resumed.stopped, resumed.history, resumed.chosen) == (whole.stopped, whole.history, whole.chosen)
    assert same_state(resumed.model, whole.model)
    lines = [(tmp_path / name / "metrics.jsonl").read_text() for name in ("whole", "resumed")]
    assert lines[0] == lines[1]
    assert json.loads(lines[0].splitlines()[-1]) == {"event": "stopped", **vars(whole.stopped)}


def test_patience_needs_validation_images_and_a_number():
    with pytest.raises(ValueError, match="validation must be given where patience is given"):
        Trainer(network(), replace(CONFIG, patience=3)).fit(TRAIN)
    for wrong in (0, 1.5, True):
        with pytest.raises(ValueError, match="patience must be a whole number >= 1"):
            replace(CONFIG, patience=wrong)


# ---- a callback ------------------------------------------------------------------------------------------------------


def test_a_callback_that_returns_true_ends_the_training_after_its_epoch(tmp_path):
    config = replace(CONFIG, epochs=5, checkpoint=tmp_path / "run.pt", checkpoint_every=4)
    stopped = Trainer(network(), config).fit(TRAIN, on_epoch=lambda epoch: np.bool_(epoch.epoch == 2))
    assert stopped.stopped == Stopped("callback", 2, 9)
    assert stopped.chosen == 2
    assert same_state(stopped.model, Trainer(network(), replace(CONFIG, epochs=3)).fit(TRAIN).model)
    again = Trainer(network(), config).fit(TRAIN)
    assert (again.steps, again.stopped, again.history) == (0, stopped.stopped, stopped.history)
    assert same_state(again.model, stopped.model)


def test_a_callback_that_returns_true_ends_the_training_after_its_step(tmp_path):
    config = replace(CONFIG, epochs=5, checkpoint=tmp_path / "run.pt")
    seen = []
    stopped = Trainer(network(), config).fit(TRAIN, on_step=lambda step: seen.append(step) or step.step == 4)
    assert [step.step for step in seen] == [0, 1, 2, 3, 4]
    assert stopped.stopped == Stopped("callback", 1, 5)
    assert (len(stopped.history), stopped.chosen, stopped.steps) == (1, 1, 5)
    again = Trainer(network(), config).fit(TRAIN)
    assert (again.steps, again.stopped) == (0, stopped.stopped)
    assert same_state(again.model, stopped.model)
    # at the last step of an epoch the epoch is complete
    whole = Trainer(network(), replace(CONFIG, epochs=5)).fit(TRAIN, on_step=lambda step: step.step == 5)
    assert (len(whole.history), whole.stopped) == (2, Stopped("callback", 1, 6))


def test_what_else_a_callback_returns_changes_nothing():
    config = replace(CONFIG, epochs=2)
    whole = Trainer(network(), config).fit(TRAIN)
    for value in (False, 1, "stop", [0], None):
        result = Trainer(network(), config).fit(TRAIN, on_step=lambda step, value=value: value)
        assert result.stopped is None
        assert same_state(result.model, whole.model)
    ended = Trainer(network(), config).fit(TRAIN, on_epoch=lambda epoch: epoch.epoch == 1)
    assert ended.stopped is None, "all epochs were trained"


# ---- a divergence ----------------------------------------------------------------------------------------------------


class Overflow(nn.Module):
    """Multiplies by infinity from the n-th training batch on."""

    def __init__(self, n):
        super().__init__()
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))
        self.n = n

    def forward(self, x):
        if self.training:
            self.calls += 1
        return x * math.inf if self.calls > self.n else x


def overflowing(n):
    model = network()
    model.insert(2, Overflow(n))
    return model


def diverged(model, config, **others):
    with pytest.warns(UserWarning, match="The training diverged: .* its model is as it was left") as caught:
        result = Trainer(model, config).fit(TRAIN, VALIDATION, test=VALIDATION, **others)
    assert caught[0].filename == __file__
    return result


def test_a_training_that_diverges_is_a_result_and_so_is_its_checkpoint(tmp_path):
    config = replace(CONFIG, choose="best", checkpoint=tmp_path / "run.pt", metrics=tmp_path / "metrics")
    first = diverged(overflowing(7), config)
    where = first.diverged
    assert isinstance(where, Divergence)
    assert (where.epoch, where.step) == (2, 1)  # the eighth batch, three in an epoch
    assert where.message.startswith("the output of 2 is not finite, in epoch 2, step 1 (loss nan)")
    assert (len(first.history), first.test, first.chosen, first.steps, first.stopped) == (2, {}, 2, 7, None)
    assert "diverged in epoch 2, step 1" in repr(first)
    assert first.history == Trainer(network(), replace(CONFIG, epochs=2)).fit(TRAIN, VALIDATION).history
    assert json.loads((tmp_path / "metrics" / "metrics.jsonl").read_text().splitlines()[-1])["event"] == "diverged"
    again = diverged(overflowing(7), config)
    assert again.steps == 0
    assert (again.diverged, again.history, again.chosen) == (where, first.history, first.chosen)
    for name, value in first.model.state_dict().items():
        other = again.model.state_dict()[name]
        assert torch.equal(value.nan_to_num() if value.is_floating_point() else value, other.nan_to_num())
    with pytest.raises(FloatingPointError, match="the output of 2 is not finite, in epoch 2, step 1"):
        Trainer(overflowing(7), replace(config, on_divergence="raise")).fit(TRAIN, VALIDATION)


def test_where_it_raises_the_checkpoint_before_is_kept(tmp_path):
    config = replace(CONFIG, checkpoint=tmp_path / "run.pt", on_divergence="raise")
    with pytest.raises(FloatingPointError, match="the output of 2 is not finite, in epoch 2, step 1"):
        Trainer(overflowing(7), config).fit(TRAIN, VALIDATION)
    again = diverged(overflowing(7), replace(config, on_divergence="result"))
    assert (again.steps, len(again.history)) == (1, 2)  # from the end of the second epoch
    with pytest.raises(ValueError, match="on_divergence must be one of 'result', 'raise', got 'ignore'"):
        replace(CONFIG, on_divergence="ignore")


def test_a_weight_that_diverges_in_the_last_step_of_an_epoch_is_a_result(tmp_path):
    def poison(step):
        if step.step == 4:
            with torch.no_grad():
                model[1].weight[0, 0] = 3e38
                model[1].weight[0, 1] = math.inf

    model = network()
    plain = replace(CONFIG, checkpoint=tmp_path / "run.pt")
    first = diverged(model, plain, on_step=poison)
    assert (first.diverged.epoch, first.diverged.step, len(first.history)) == (1, 2, 1)
    assert "is not finite" in first.diverged.message


class Grows(nn.Module):
    """Finite in training, not in evaluation."""

    def forward(self, x):
        return x if self.training else x * math.inf


def test_validation_logits_that_are_not_finite_are_a_divergence(tmp_path):
    def model():
        network_ = network()
        network_.append(Grows())
        return network_

    config = replace(CONFIG, checkpoint=tmp_path / "run.pt")
    first = diverged(model(), config)
    assert (first.diverged.epoch, first.diverged.step, len(first.history)) == (0, 2, 0)
    assert first.diverged.message.startswith("After epoch 0, on the validation images: the output of 5 is not finite")
    assert diverged(model(), config).diverged == first.diverged


def test_what_an_optimizer_finds_is_a_divergence_in_words_too(tmp_path):
    """Bop raises within the update of a memory, whose words are then lost; the result is the same after a resume."""

    def make(model, config):
        binary, real = split_parameters(model)
        return [Bop(binary), torch.optim.Adam(real, lr=config.learning_rate)]

    def model():
        torch.manual_seed(0)
        made = mlp(16, (12, 12), seed=1, last="binary")
        made.insert(4, Explodes(5))
        return made

    phases = (Phase(memory=MRAM(point=point(1e-3), holds=("weights", "biases"))),)
    rule = r"The training diverged: In epoch 1, step 2: .*parameter 0 of group \d, shape \(12, 12\), is not finite"
    for number, plan in enumerate(((), phases)):
        config = replace(CONFIG, checkpoint=tmp_path / f"{number}.pt", phases=plan)
        found = []
        for _ in range(2):
            with pytest.warns(UserWarning, match=rule):
                found.append(Trainer(model(), config, make).fit(TRAIN))
        assert found[0].diverged == found[1].diverged
        assert (found[0].steps, found[1].steps) == (5, 0)
        assert found[0].ledger == found[1].ledger
        for (name, a), b in zip(found[0].model.state_dict().items(), found[1].model.state_dict().values(), strict=True):
            assert torch.equal(a, b), name


class Explodes(nn.Module):
    """Finite forwards; its gradient overflows from the n-th training batch on."""

    def __init__(self, n):
        super().__init__()
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))
        self.n = n

    def forward(self, x):
        if self.training:
            self.calls += 1
            if self.calls > self.n and x.requires_grad:
                x.register_hook(lambda gradient: gradient * math.inf)
        return x


def test_words_of_a_format_without_nan_are_no_other_error(tmp_path):
    def model():
        made = network()
        made.insert(2, Explodes(5))
        return made

    words = MRAM(point=point(1e-3), holds=("weights", "biases"), format="int8", scale=0.01)
    config = replace(CONFIG, checkpoint=tmp_path / "run.pt", phases=(Phase(memory=words),))
    first = diverged(model(), config)
    assert (first.diverged.epoch, first.diverged.step, first.steps) == (1, 2, 5)
    assert first.diverged.message.startswith("the gradient of 1.weight is not finite, in epoch 1, step 2 (loss ")
    again = diverged(model(), config)
    assert (again.diverged, again.ledger, again.steps) == (first.diverged, first.ledger, 0)


@pytest.mark.parametrize("format", ["fp32", "bf16"])
def test_a_divergence_in_error_prone_words_is_resumed(tmp_path, format):
    broken = Phase(memory=MRAM(point=point(0.2), errors="independent", format=format), until=0.5)
    config = replace(CONFIG, phases=(broken, Phase(memory=SRAM())), checkpoint=tmp_path / "run.pt")
    first = diverged(network(), config)
    assert "give its MRAM a protection" in first.diverged.message
    again = diverged(network(), config)
    assert (again.diverged, again.ledger, again.steps) == (first.diverged, first.ledger, 0)


# ---- clipped gradients -----------------------------------------------------------------------------------------------


def test_gradients_are_clipped_together_before_the_step():
    """One step of plain gradient descent, by hand: its length is the rate times the largest norm."""

    def sgd(model, config):
        return torch.optim.SGD(model.parameters(), lr=config.learning_rate)

    def step(clip):
        model = nn.Sequential(nn.Flatten(), nn.Linear(16, 10))
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.copy_(torch.linspace(-1.0, 1.0, parameter.numel()).view_as(parameter))
        before = torch.cat([p.detach().flatten().clone() for p in model.parameters()])
        config = replace(CONFIG, epochs=1, batch_size=60, learning_rate=1.0, clip_gradient=clip)
        Trainer(model, config, sgd).fit(TRAIN)
        return before - torch.cat([p.detach().flatten() for p in model.parameters()])

    free = step(None)
    norm = float(free.norm())
    assert norm > 0.5
    assert torch.equal(step(2.0 * norm), free)
    torch.testing.assert_close(step(0.25), free * 0.25 / (norm + 1e-6), rtol=1e-5, atol=1e-6)
    for wrong in (0.0, -1.0, math.nan):
        with pytest.raises(ValueError, match="clip_gradient must be finite and > 0"):
            replace(CONFIG, clip_gradient=wrong)


def test_a_clipped_training_resumes_bit_for_bit(tmp_path):
    config = replace(CONFIG, epochs=3, clip_gradient=0.1, loss="squared_hinge")
    whole = Trainer(network(), config).fit(TRAIN)
    kept = replace(config, checkpoint=tmp_path / "run.pt", checkpoint_steps=1)
    with pytest.raises(Interruption):
        Trainer(network(), kept).fit(TRAIN, on_step=interrupt_at(step=4))
    assert same_state(Trainer(network(), kept).fit(TRAIN).model, whole.model)
    assert not same_state(Trainer(network(), replace(config, clip_gradient=None)).fit(TRAIN).model, whole.model)
