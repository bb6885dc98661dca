"""Losses: against plain NumPy, refused options, and functions of the caller."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from bnn.models import mlp
from bnn.training.config import TrainConfig
from bnn.training.loop import Trainer
from bnn.training.losses import made_loss
from networks import Interruption, blobs, interrupt_at, normal, same_state

TRAIN = blobs(60, seed=1)
CONFIG = TrainConfig(epochs=2, batch_size=20, learning_rate=0.02, seed=4, progress=False)


def network():
    return mlp(16, (12,), seed=1)


def by_hand(name, logits, labels, *, smoothing=0.0, margin=None):
    """Mean over the images, image by image and class by class."""
    total, classes = 0.0, logits.shape[1]
    for z, label in zip(logits, labels, strict=True):
        log_softmax = z - math.log(sum(math.exp(v) for v in z))
        for c in range(classes):
            y = 1.0 if c == label else -1.0
            if name == "cross_entropy":
                share = (1.0 - smoothing) * (c == label) + smoothing / classes
                total -= share * log_softmax[c]
            elif name == "margin_hinge":
                b = 128.0 if margin is None else margin
                total += max(0.0, b - y * z[c]) / (classes * b)
            else:
                total += max(0.0, (1.0 if margin is None else margin) - y * z[c]) ** 2 / classes
    return total / len(labels)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("cross_entropy", {}),
        ("cross_entropy", {"label_smoothing": 0.1}),
        ("margin_hinge", {}),
        ("margin_hinge", {"margin": 3.0}),
        ("squared_hinge", {}),
        ("squared_hinge", {"margin": 2.5}),
    ],
)
def test_a_loss_is_its_definition(name, options):
    logits = 4.0 * normal(50, 7, seed=3).double()  # on both sides of every margin but 128
    labels = torch.arange(50) % 7
    expected = by_hand(
        name,
        logits.numpy(),
        labels.numpy(),
        smoothing=options.get("label_smoothing", 0.0),
        margin=options.get("margin"),
    )
    assert made_loss(name, **options)(logits, labels).item() == pytest.approx(expected, rel=1e-12)
    inputs = logits.requires_grad_()
    assert torch.autograd.gradcheck(lambda z: made_loss(name, **options)(z, labels), inputs)
    # what a training minimises: with a rate too small to move anything, the loss of its first epoch
    config = replace(CONFIG, epochs=1, batch_size=60, learning_rate=1e-30, loss=name, **options)
    model = network().train()
    with torch.no_grad():
        answers = model(torch.from_numpy(TRAIN.scaled())).double().numpy()
    found = Trainer(network(), config).fit(TRAIN).history[0].loss
    wanted = by_hand(
        name, answers, TRAIN.labels, smoothing=options.get("label_smoothing", 0.0), margin=options.get("margin")
    )
    assert found == pytest.approx(wanted, rel=1e-5)  # float32


def test_a_function_is_a_loss_and_is_resumed(tmp_path):
    def own(logits, labels):
        return F.cross_entropy(logits, labels)

    whole = Trainer(network(), CONFIG).fit(TRAIN).model
    assert same_state(Trainer(network(), replace(CONFIG, loss=own)).fit(TRAIN).model, whole)
    config = replace(CONFIG, loss=own, checkpoint=tmp_path / "run.pt", checkpoint_steps=2)
    with pytest.raises(Interruption):
        Trainer(network(), config).fit(TRAIN, on_step=interrupt_at(step=4))
    other = replace(config, loss=lambda logits, labels: 2.0 * F.cross_entropy(logits, labels))
    with pytest.raises(ValueError, match="of another training: loss was"):
        Trainer(network(), other).fit(TRAIN)
    assert same_state(Trainer(network(), config).fit(TRAIN).model, whole)
    weighted = replace(CONFIG, loss=nn.CrossEntropyLoss(weight=torch.linspace(0.1, 1.0, 10)))
    assert not same_state(Trainer(network(), weighted).fit(TRAIN).model, whole)


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (lambda z, y: F.cross_entropy(z, y, reduction="none"), r"got torch.float32 of shape \(20,\). Use loss.mean"),
        (lambda z, y: F.cross_entropy(z, y).item(), "got float. Compute it with torch"),
        (lambda z, y: (z.argmax(1) == y).sum(), "got torch.int64 of shape"),
        (lambda z, y: F.cross_entropy(z.detach(), y), "got one without. Compute it from the logits"),
    ],
)
def test_a_function_that_returns_no_loss_is_refused_before_any_update(loss, message):
    model = network()
    with pytest.raises(ValueError, match=f"loss must return one number with a gradient.*{message}"):
        Trainer(model, replace(CONFIG, loss=loss)).fit(TRAIN)
    for own, fresh in zip(model.parameters(), network().parameters(), strict=True):
        assert torch.equal(own, fresh)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss": "hinge"}, "loss must be one of 'cross_entropy', 'margin_hinge', 'squared_hinge', got 'hinge'"),
        ({"loss": "margin_hinge", "label_smoothing": 0.1}, 'label_smoothing must be 0 unless loss is "cross_entropy"'),
        ({"loss": F.cross_entropy, "label_smoothing": 0.1}, "label_smoothing must be 0 .* got a loss of a callable"),
        ({"label_smoothing": 1.0}, "label_smoothing must be < 1, got 1"),
        ({"label_smoothing": -0.1}, "label_smoothing must be finite and >= 0"),
        ({"margin": 1.0}, "margin must be None unless loss is 'margin_hinge' or 'squared_hinge', got a loss of 'cross"),
        ({"loss": F.cross_entropy, "margin": 1.0}, "margin must be None"),
        ({"loss": "margin_hinge", "margin": 0.0}, "margin must be finite and > 0"),
    ],
)
def test_options_of_another_loss_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        replace(CONFIG, **options)


def test_a_network_learns_from_a_margin_hinge_and_less_of_it_is_left_than_after_cross_entropy():
    config = replace(CONFIG, epochs=20)
    images, labels = torch.from_numpy(TRAIN.scaled()), torch.tensor(TRAIN.labels)
    assert Trainer(network(), replace(config, loss="margin_hinge")).fit(TRAIN).history[-1].train_accuracy > 0.9
    losses = {}
    for loss in ("margin_hinge", "cross_entropy"):
        model = Trainer(network(), replace(config, loss=loss)).fit(TRAIN).model
        with torch.no_grad():
            losses[loss] = made_loss("margin_hinge")(model(images), labels).item()
    assert losses["margin_hinge"] < losses["cross_entropy"]
