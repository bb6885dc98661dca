"""Learning rates: named schedules, functions, torch schedulers, and rates that a callback changes."""

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR, MultiStepLR, OneCycleLR, ReduceLROnPlateau, StepLR

from bnn.optimizers.bop import Bop, split_parameters
from bnn.training.config import Steps, TrainConfig
from bnn.training.loop import Trainer
from networks import Interruption, binary_mlp, blobs, interrupt_at, same_state

TRAIN = blobs(60, seed=1)  # 3 batches of 20


def fit(schedule, *, epochs=3, checkpoint=None, optimizer=None, model=None, callbacks=None, **settings):
    """The learning rates of each step, and the model."""
    made, rates = [], []

    def sgd(model, config):
        made.append(torch.optim.SGD(model.parameters(), lr=config.learning_rate))
        return made[0]

    def note(step):
        rates.append(round(made[0].param_groups[0]["lr"], 12))
        (callbacks or {}).get("on_step", lambda step: None)(step)

    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 10)) if model is None else model
    config = TrainConfig(
        epochs=epochs, batch_size=20, learning_rate=0.5, seed=0, schedule=schedule, checkpoint=checkpoint, **settings
    )
    others = {name: call for name, call in (callbacks or {}).items() if name != "on_step"}
    Trainer(model, config, optimizer or sgd).fit(TRAIN, on_step=note, **others)
    return rates, model


def test_a_function_gives_the_factor_of_the_peak():
    for number in (float, np.float32, np.float64):
        rates, _ = fit(lambda done, number=number: number(1.0 - done))
        assert rates == pytest.approx([0.5 * (1 - step / 9) for step in range(9)], rel=1e-6)  # float32: 6e-8


@pytest.mark.parametrize(
    ("schedule", "every", "factors"),
    [
        (lambda optimizer: MultiStepLR(optimizer, [1, 2], gamma=0.1), "epoch", [1] * 3 + [0.1] * 3 + [0.01] * 3),
        (partial(StepLR, step_size=2, gamma=0.5), "step", [1, 1, 0.5, 0.5, 0.25, 0.25, 0.125, 0.125, 0.0625]),
        (lambda optimizer: LambdaLR(optimizer, lambda n: 1 / (1 + n)), "epoch", [1] * 3 + [1 / 2] * 3 + [1 / 3] * 3),
    ],
)
def test_a_torch_scheduler_is_stepped(schedule, every, factors):
    rates, _ = fit(schedule, schedule_every=every)
    assert rates == [round(0.5 * factor, 12) for factor in factors]


def test_steps_multiply_the_rate_at_their_shares_and_resume(tmp_path):
    schedule, path = Steps(at=[0.25, 0.5], factor=0.1), tmp_path / "run.pt"
    whole, expected = fit(schedule, epochs=4)
    assert whole == pytest.approx([0.5] * 3 + [0.05] * 3 + [0.005] * 6)  # 3 steps an epoch
    with pytest.raises(Interruption):
        fit(schedule, epochs=4, checkpoint=path, callbacks={"on_epoch": interrupt_at(epoch=1)})
    with pytest.raises(ValueError, match=r"schedule was .*Steps.*0\.25.*, is .*Steps.*0\.75"):
        fit(Steps(at=(0.5, 0.75)), epochs=4, checkpoint=path)
    rates, model = fit(Steps(at=(0.25, 0.5)), epochs=4, checkpoint=path)  # an equal one, made again
    assert rates == whole[6:]
    assert same_state(model, expected)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"at": ()}, "at must be one or more shares of the training that increase, got \\(\\)"),
        ({"at": 0.5}, "at must be one or more shares of the training that increase, got 0.5"),
        ({"at": (0.5, 0.5)}, "at must be one or more shares of the training that increase"),
        ({"at": (0.5, 0.2)}, "at must be one or more shares of the training that increase"),
        ({"at": (0.0, 0.2)}, "at must be finite, > 0 and < 1, got 0"),
        ({"at": (0.5, 1.0)}, "at must be finite, > 0 and < 1, got 1"),
        ({"at": (0.5, float("nan"))}, "at must be finite, > 0 and < 1, got nan"),
        ({"at": ("0.5",)}, "at must be a number or an array of numbers"),
        ({"at": (0.5,), "factor": 0.0}, "factor must be finite and > 0, got 0"),
        ({"at": (0.5,), "factor": 2.0}, "factor must be <= 1, got 2"),
    ],
)
def test_wrong_steps_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        Steps(**given)


def test_a_one_cycle_of_torch_ends_with_the_training():
    rates, _ = fit(lambda optimizer: OneCycleLR(optimizer, 0.5, total_steps=9), schedule_every="step")
    plain = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
    scheduler, expected = OneCycleLR(plain, 0.5, total_steps=9), []
    for _ in range(9):
        expected.append(round(plain.param_groups[0]["lr"], 12))
        plain.step()
        scheduler.step()
    assert rates == expected


def test_what_a_callback_sets_is_used_by_a_constant_schedule_and_refused_by_another():
    box = {}

    def make(model, config):
        box["optimizer"] = torch.optim.SGD(model.parameters(), lr=config.learning_rate)
        box["scheduler"] = MultiStepLR(box["optimizer"], [1], gamma=1e-6)
        return box["optimizer"]

    def run(schedule):
        rates = []
        torch.manual_seed(0)
        config = TrainConfig(epochs=3, batch_size=20, learning_rate=0.02, seed=0, schedule=schedule)
        Trainer(nn.Sequential(nn.Flatten(), nn.Linear(16, 10)), config, make).fit(
            TRAIN,
            on_epoch=lambda epoch: box["scheduler"].step(),
            on_step=lambda step: rates.append(box["optimizer"].param_groups[0]["lr"]),
        )
        return rates

    assert run("constant") == [0.02] * 3 + [0.02 * 1e-6] * 6
    for schedule in ("one_cycle", lambda done: 1.0):
        with pytest.raises(
            ValueError, match=r'schedule must be "constant" where learning rates are changed.* was set to'
        ):
            run(schedule)


def test_a_resumed_training_has_the_rates_and_the_bits_of_an_uninterrupted_one(tmp_path):
    def schedule(optimizer):
        return MultiStepLR(optimizer, [1, 2], gamma=0.1)

    whole, expected = fit(schedule, epochs=4)
    path = tmp_path / "run.pt"
    for epoch in (0, 2):  # before and after the first step of the scheduler
        with pytest.raises(Interruption):
            fit(schedule, epochs=4, checkpoint=path, callbacks={"on_epoch": interrupt_at(epoch=epoch)})
    rates, model = fit(schedule, epochs=4, checkpoint=path)
    assert rates == whole[9:]
    assert same_state(model, expected)


def test_a_scheduler_by_steps_resumes_within_an_epoch(tmp_path):
    schedule, path = partial(OneCycleLR, max_lr=0.5, total_steps=9), tmp_path / "run.pt"
    whole, expected = fit(schedule, schedule_every="step")
    for step in (1, 4):
        with pytest.raises(Interruption):
            fit(
                schedule,
                schedule_every="step",
                checkpoint=path,
                checkpoint_steps=1,
                callbacks={"on_step": interrupt_at(step=step)},
            )
    rates, model = fit(schedule, schedule_every="step", checkpoint=path, checkpoint_steps=1)
    assert rates == whole[5:]
    assert same_state(model, expected)


def test_rates_that_a_callback_set_are_resumed(tmp_path):
    """The checkpoint is written before the callback, and once more after one that changes a rate."""
    box, path = {}, tmp_path / "run.pt"

    def make(model, config):
        box["optimizer"] = torch.optim.SGD(model.parameters(), lr=config.learning_rate)
        return box["optimizer"]

    def fit_halving(interrupted=None, **settings):
        rates, model = [], nn.Sequential(nn.Flatten(), nn.Linear(16, 10))
        with torch.no_grad():
            model[1].weight.fill_(0.1)
            model[1].bias.fill_(0.0)

        def halve(step):
            rates.append(box["optimizer"].param_groups[0]["lr"])
            if step.step == interrupted:
                raise Interruption
            box["optimizer"].param_groups[0]["lr"] /= 2.0

        config = TrainConfig(epochs=3, batch_size=20, learning_rate=0.5, seed=0, schedule="constant", **settings)
        Trainer(model, config, make).fit(TRAIN, on_step=halve)
        return rates, model

    whole, expected = fit_halving()
    assert whole == [0.5 / 2**step for step in range(9)]
    with pytest.raises(Interruption):
        fit_halving(5, checkpoint=path, checkpoint_steps=2)  # the last checkpoint is of four steps
    rates, model = fit_halving(checkpoint=path, checkpoint_steps=2)
    assert rates == whole[4:]
    assert same_state(model, expected)


def test_of_two_optimizers_each_has_its_scheduler_and_bop_none():
    def make(model, config):
        binary, rest = split_parameters(model)
        made.extend([Bop(binary, threshold=1e-8, gamma=1e-4), torch.optim.Adam(rest, lr=config.learning_rate)])
        return made

    made, model = [], binary_mlp(inputs=16)
    config = TrainConfig(epochs=2, batch_size=20, learning_rate=0.5, seed=0, schedule=partial(StepLR, step_size=1))
    Trainer(model, config, make).fit(TRAIN)
    assert [group["lr"] for group in made[1].param_groups] == pytest.approx([0.05])


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        ("linear", "schedule must be one of 'constant', 'cosine', 'one_cycle', got 'linear'"),
        (lambda done: float("nan"), "a finite factor >= 0 for a share of the training.*returned nan"),
        (lambda done: -done, "a finite factor >= 0 .*returned -0.5"),
        (lambda done: None, "a finite factor >= 0 .*returned None"),
        (lambda optimizer, epochs: None, "must be a name, a function of .* called with either, it raised"),
        (lambda optimizer: optimizer.param_groups, "or return a torch LRScheduler for an optimizer, got"),
        (ReduceLROnPlateau, 'must not need a metric, got a ReduceLROnPlateau. Use schedule="constant"'),
        (lambda optimizer: OneCycleLR(optimizer, 0.5, total_steps=9), "total_steps=3 with schedule_every='epoch', got"),
    ],
)
def test_what_is_no_schedule_is_refused_before_the_training(schedule, message):
    with pytest.raises(ValueError, match=message):
        fit(schedule)
