import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from bnn.data.augmentation import Augment
from bnn.layers.slots import activation_memories
from bnn.models import mlp
from bnn.optimizers.bop import Bop, binary_parameters, split_parameters
from bnn.training.config import SCHEDULES, TrainConfig
from bnn.training.loop import Trainer
from networks import Images, Interruption, blobs, interrupt_at, same_state, write_errors
from physics import approx

ERRORS = write_errors(0.05, 0.1)
CONFIG = TrainConfig(epochs=6, batch_size=32, learning_rate=0.02, seed=4, progress=False)
RAISING = replace(CONFIG, on_divergence="raise")


TRAIN, VALIDATION = blobs(250, 1), blobs(100, 2)  # 250 = 8 batches of 31 or 32


def network(seed=1, memory=ERRORS):
    return mlp(16, (48, 32), seed=seed, activation_memory=memory)


def test_it_learns_and_keeps_a_history():
    seen = []
    result = Trainer(network(), CONFIG).fit(TRAIN, VALIDATION, on_epoch=seen.append)
    assert tuple(seen) == result.history
    assert [epoch.epoch for epoch in result.history] == list(range(6))
    assert result.history[-1].loss < 0.5 * result.history[0].loss
    assert result.history[-1].validation_accuracy > 0.9
    assert result.seconds > 0
    assert not result.model.training


def test_same_seed_same_bits_and_validation_changes_nothing():
    a, b, c = (
        Trainer(network(), config).fit(TRAIN, validation)
        for config, validation in ((CONFIG, VALIDATION), (CONFIG, None), (replace(CONFIG, seed=5), None))
    )
    assert same_state(a.model, b.model)
    assert [e.loss for e in a.history] == [e.loss for e in b.history]
    assert not same_state(a.model, c.model)


def test_global_stream_is_neither_used_nor_moved():
    state = torch.get_rng_state()
    Trainer(network(), replace(CONFIG, epochs=1)).fit(TRAIN, VALIDATION)
    assert torch.equal(torch.get_rng_state(), state)


def test_zero_errors_train_like_no_memory_bit_for_bit():
    none = write_errors(0.0)
    clean, zero = (Trainer(network(memory=memory), CONFIG).fit(TRAIN).model for memory in (None, none))
    assert all(torch.equal(a, b) for a, b in zip(clean.parameters(), zero.parameters(), strict=True))


@pytest.mark.parametrize("last_epoch", [0, 2, 4])
def test_an_interrupted_training_resumes_bit_for_bit(tmp_path, last_epoch):
    whole = Trainer(network(), CONFIG).fit(TRAIN, VALIDATION)
    config = replace(CONFIG, checkpoint=tmp_path / "deep" / "run.pt")
    with pytest.raises(Interruption):
        Trainer(network(), config).fit(TRAIN, VALIDATION, on_epoch=interrupt_at(epoch=last_epoch))
    other = network()
    for layer in activation_memories(other).values():
        layer.activation_memory(torch.ones(999))  # nothing of the new model's streams may survive
    resumed = Trainer(other, config).fit(TRAIN, VALIDATION)
    assert same_state(resumed.model, whole.model)
    assert resumed.history == whole.history
    assert [path.name for path in config.checkpoint.parent.iterdir()] == ["run.pt"]
    assert torch.load(config.checkpoint, weights_only=True)["content"]["state"]["seconds"] <= resumed.seconds


def test_between_checkpoints_it_resumes_from_the_last_one(tmp_path):
    whole = Trainer(network(), CONFIG).fit(TRAIN)
    config = replace(CONFIG, checkpoint=tmp_path / "run.pt", checkpoint_every=2)
    with pytest.raises(Interruption):
        Trainer(network(), config).fit(TRAIN, on_epoch=interrupt_at(epoch=2))
    epochs = []
    resumed = Trainer(network(), config).fit(TRAIN, on_epoch=lambda record: epochs.append(record.epoch))
    assert epochs == [2, 3, 4, 5]
    assert same_state(resumed.model, whole.model)


def test_a_finished_training_is_returned_at_once(tmp_path):
    config = replace(CONFIG, epochs=2, checkpoint=tmp_path / "run.pt")
    first = Trainer(network(), config).fit(TRAIN)
    again = Trainer(network(), config).fit(TRAIN, on_epoch=interrupt_at(epoch=0))
    assert same_state(again.model, first.model)
    assert again.history == first.history


@pytest.mark.parametrize(
    ("change", "model", "data", "message"),
    [
        ({"learning_rate": 0.01}, network(), TRAIN, r"learning_rate was 0\.02, is 0\.01"),
        ({"epochs": 3}, network(), TRAIN, "of a training of 2 epochs, not of 3, and cannot go on: its learning rates"),
        ({"loss": "squared_hinge"}, network(), TRAIN, "loss was 'cross_entropy', is 'squared_hinge'"),
        ({"clip_gradient": 1.0}, network(), TRAIN, r"clip_gradient was None, is 1\.0"),
        ({"augment": Augment(shift=1)}, network(), TRAIN, "augment was None, is bnn.data.augmentation.Augment"),
        (
            {},
            mlp(16, (48, 40), seed=1, activation_memory=ERRORS),
            TRAIN,
            r"model was 4\.num_features = 32, is 4\.num_features = 40\.",
        ),
        ({}, network(memory=write_errors(0.05, 0.2)), TRAIN, r"is 3\.activation_memory\.error_rate_1 = 0\.2\."),
        ({}, network(memory=None), TRAIN, "model was"),
        ({}, network(), blobs(250, 3), "training images was"),
    ],
)
def test_a_checkpoint_of_another_training_is_refused(tmp_path, change, model, data, message):
    config = replace(CONFIG, epochs=2, checkpoint=tmp_path / "run.pt")
    Trainer(network(), config).fit(TRAIN)
    with pytest.raises(ValueError, match=message):
        Trainer(model, replace(config, **change)).fit(data)


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "text", "foreign"])
def test_a_damaged_checkpoint_is_refused(tmp_path, damage):
    config = replace(CONFIG, epochs=1, checkpoint=tmp_path / "run.pt")
    Trainer(network(), config).fit(TRAIN)
    content = bytearray(config.checkpoint.read_bytes())
    if damage == "flipped":
        at = content.index(network_bytes(config.checkpoint))
        content[at] ^= 1
    if damage == "foreign":
        torch.save({"weights": torch.ones(2)}, config.checkpoint)
    else:
        damaged = {"truncated": content[: len(content) // 2], "flipped": content, "empty": b"", "text": b"hello"}
        config.checkpoint.write_bytes(damaged[damage])
    with pytest.raises(ValueError, match=r"checkpoint .*run\.pt cannot be read"):
        Trainer(network(), config).fit(TRAIN)


def network_bytes(checkpoint):
    """Return how the first weights look in the file."""
    weights = next(
        value
        for name, value in torch.load(checkpoint, weights_only=True)["content"]["model"].items()
        if "weight" in name
    )
    return weights.numpy().tobytes()


def test_latent_weights_stay_in_the_window_and_real_ones_do_not():
    model = mlp(16, (48, 32), seed=1, last="real")
    Trainer(model, replace(CONFIG, learning_rate=0.5, schedule="constant")).fit(TRAIN)
    assert model[3].weight.abs().max() == 1.0
    assert model[5].weight.abs().max() > 1.0


@pytest.mark.parametrize("layer", [1, 3, 5])
def test_a_weight_that_is_not_finite_is_named(layer):
    model = network()

    def poison(record):
        with torch.no_grad():
            model[layer].weight[0, 0] = math.nan

    with pytest.raises(FloatingPointError, match=rf"{layer}\.weight is not finite, in epoch 1, step 0 \(loss nan\)"):
        Trainer(model, RAISING).fit(TRAIN, on_epoch=poison)


class Overflow(nn.Module):
    def __init__(self, backward):
        super().__init__()
        self.calls, self.backward = 0, backward

    def forward(self, x):
        self.calls += 1
        if self.calls < 4:
            return x
        if self.backward:
            x.register_hook(lambda gradient: gradient * math.inf)
            return x
        return x * math.inf


def test_an_output_that_overflows_is_named():
    model = network()
    model.insert(2, Overflow(backward=False))
    with pytest.raises(FloatingPointError, match=r"the output of 2 is not finite, in epoch 0, step 3"):
        Trainer(model, RAISING).fit(TRAIN)


def test_a_gradient_that_overflows_is_named_where_the_backward_pass_met_it_first():
    model = network()
    model.insert(3, Overflow(backward=True))  # after BatchNorm 2: its parameters are the first behind the overflow
    with pytest.raises(FloatingPointError, match=r"the gradient of 2\.bias in the step before is not finite"):
        Trainer(model, RAISING).fit(TRAIN)


def test_a_clipped_gradient_that_overflows_is_named_too():
    model = network()
    model.insert(3, Overflow(backward=True))
    with pytest.raises(FloatingPointError, match=r"the gradient of 2\.bias in the step before is not finite"):
        Trainer(model, replace(RAISING, clip_gradient=1.0)).fit(TRAIN)


def test_out_of_memory_says_what_was_computed():
    class Large(nn.Module):
        def forward(self, x):
            return x.new_empty(1 << 50) if len(x) > 31 else x

    model = network()
    model.insert(2, Large())
    rule = r"^For step \d of the training, a batch of 32 images of \(1, 4, 4\): .*allocate \d+ bytes.* smaller"
    with pytest.raises(MemoryError, match=rule):
        Trainer(model, CONFIG).fit(TRAIN)


def test_images_are_checked():
    bad = blobs(50, 1)
    bad.pixels[7, 0, 1, 1] = math.nan
    with pytest.raises(ValueError, match="image 7"):
        Trainer(network(), CONFIG).fit(bad)
    with pytest.raises(ValueError, match="at least one image"):
        Trainer(network(), CONFIG).fit(blobs(0, 1))
    for n in (49, 51):  # one more would never be seen, and never be missed
        with pytest.raises(ValueError, match=f"a label for each image, got {n} for 50"):
            Trainer(network(), CONFIG).fit(Images(blobs(50, 1).pixels, np.zeros(n, np.int64)))


def test_a_clean_network_of_another_seed_is_another_training(tmp_path):
    config = replace(CONFIG, epochs=2, checkpoint=tmp_path / "run.pt")
    Trainer(network(memory=None), config).fit(TRAIN)
    with pytest.raises(ValueError, match=r"of another training: model was 1\.seed = \d+, is 1\.seed = "):
        Trainer(network(seed=2, memory=None), config).fit(TRAIN)


def test_every_epoch_has_an_order_of_its_own():
    seen = []

    class Watch(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(16, 10)

        def forward(self, x):
            seen.append(x.flatten(1)[0, 0].item())  # which image comes first in the batch
            return self.layer(x.flatten(1))

    Trainer(Watch(), replace(CONFIG, epochs=3)).fit(TRAIN)
    epochs = [tuple(seen[8 * e : 8 * (e + 1)]) for e in range(3)]
    assert len(set(epochs)) == 3


def test_no_image_is_dropped():
    seen = []

    class Count(nn.Module):
        def forward(self, x):
            seen.append(len(x))
            return x

    model = network()
    model.insert(0, Count())
    Trainer(model, replace(CONFIG, epochs=1, batch_size=83)).fit(TRAIN)  # 3 x 83 = 249
    assert sorted(seen) == [62, 62, 63, 63]


@pytest.mark.parametrize(
    ("schedule", "values"),
    [
        ("constant", (1, 1, 1, 1)),
        ("cosine", (1, 0.5 * (1 + math.cos(0.3 * math.pi)), 0.5 * (1 + math.cos(0.65 * math.pi)), 0)),
        ("one_cycle", (0.04, 1, 0.5, 0)),
    ],
)
def test_schedules(schedule, values):
    assert [SCHEDULES[schedule](done) for done in (0.0, 0.3, 0.65, 1.0)] == approx(values)
    assert all(0 <= SCHEDULES[schedule](i / 100) <= 1 for i in range(100))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 0),
        ("epochs", 1.5),
        ("batch_size", 0),
        ("learning_rate", 0.0),
        ("learning_rate", math.nan),
        ("weight_decay", -1.0),
        ("schedule", "step"),
        ("seed", -1),
        ("checkpoint_every", 0),
        ("checkpoint", "run.pt"),
        ("metrics", "metrics"),
    ],
)
def test_config_is_validated(name, value):
    with pytest.raises(ValueError, match=name):
        replace(CONFIG, **{name: value})


def test_silent_without_a_terminal(capfd):
    Trainer(network(), replace(CONFIG, epochs=1, progress=None)).fit(TRAIN)
    assert capfd.readouterr() == ("", "")
    Trainer(network(), replace(CONFIG, epochs=1, progress=True)).fit(TRAIN)
    assert "train" in capfd.readouterr().err


def test_binary_weights_by_bop_beside_adam(tmp_path):
    """Bop has no learning rate; what it has is resumed."""

    def both(model, config):
        binary, real = split_parameters(model)
        return Bop(binary, threshold=1e-6, gamma=0.05), torch.optim.Adam(real, lr=config.learning_rate)

    whole = Trainer(network(), CONFIG, both).fit(TRAIN).model
    config = replace(CONFIG, checkpoint=tmp_path / "run.pt")
    with pytest.raises(Interruption):
        Trainer(network(), config, both).fit(TRAIN, on_epoch=interrupt_at(epoch=2))
    assert same_state(Trainer(network(), config, both).fit(TRAIN).model, whole)
    assert all((weight.abs() == 1.0).all() for weight in binary_parameters(whole))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda model, config: torch.optim.SGD(network().parameters()),
            r"got 9 of 9 that are others \(bnn.binarize ret",
        ),
        (lambda model, config: [], r"returns an Optimizer, or several, got \[\]"),
        (lambda model, config: None, "returns an Optimizer, or several, got None"),
        (torch.optim.SGD, "called so, it raised TypeError"),
        (lambda model, config: torch.optim.LBFGS(model.parameters()), "not an LBFGS"),
    ],
)
def test_an_optimizer_that_trains_something_else_is_refused(make, message):
    with pytest.raises(ValueError, match=f"optimizer must .*{message}"):
        Trainer(network(), CONFIG, make).fit(TRAIN)


def test_what_cannot_be_trained_is_named():
    with pytest.raises(ValueError, match="model must have parameters with requires_grad=True"):
        Trainer(nn.Sequential(nn.Flatten()), CONFIG).fit(TRAIN)
    with pytest.raises(ValueError, match="model must have parameters with requires_grad=True"):
        Trainer(network().requires_grad_(False), CONFIG).fit(TRAIN)
    with (
        pytest.raises(RuntimeError, match=r"needs gradients: call fit\(\) outside of torch.no_grad\(\)"),
        torch.no_grad(),
    ):
        Trainer(network(), CONFIG).fit(TRAIN)
    with pytest.raises(ValueError, match="config must be of type TrainConfig"):
        Trainer(network(), {"epochs": 3})
    with pytest.raises(TypeError, match="model must be an instance of Module"):
        Trainer(network, CONFIG)


def test_a_batch_of_one_image_and_a_batch_norm_are_named():
    images = Images(TRAIN.pixels[:3], TRAIN.labels[:3])
    with pytest.raises(
        ValueError, match=r"batch_size must give each batch two images .* step 1 .* a batch of 1 images"
    ):
        Trainer(network(), replace(CONFIG, batch_size=2)).fit(images)  # batches of 2 and 1


class Locked(nn.BatchNorm1d):
    """Stays in evaluation mode by itself."""

    def train(self, mode=True):
        return super().train(False)


def test_modules_in_evaluation_mode_stay_in_it():
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.BatchNorm1d(8), nn.Linear(8, 10), nn.BatchNorm1d(10))
    model[2].eval()
    with pytest.warns(UserWarning, match=r"^'2' of the model are in evaluation mode, and stay in it") as caught:
        Trainer(model, replace(CONFIG, epochs=2)).fit(TRAIN, VALIDATION)
    assert caught[0].filename == __file__
    assert torch.equal(model[2].running_mean, torch.zeros(8))
    assert not torch.equal(model[4].running_mean, torch.zeros(10))
    Trainer(model, replace(CONFIG, epochs=1)).fit(TRAIN)  # the whole model was in evaluation mode: all of it is trained
    assert not torch.equal(model[2].running_mean, torch.zeros(8))
    locked = nn.Sequential(nn.Flatten(), nn.Linear(16, 10), Locked(10))
    Trainer(locked, replace(CONFIG, epochs=1)).fit(TRAIN)
    assert torch.equal(locked[2].running_mean, torch.zeros(10))


@pytest.mark.filterwarnings("ignore:'2' of the model are in evaluation mode")
def test_an_interrupted_model_keeps_its_modes(tmp_path):
    """The validation of a callback may leave the whole model in evaluation mode."""
    config = replace(CONFIG, epochs=3, checkpoint=tmp_path / "run.pt")
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 10), nn.BatchNorm1d(10))
    model[2].eval()

    def stop(epoch):
        model.eval()
        raise Interruption

    with pytest.raises(Interruption):
        Trainer(model, config).fit(TRAIN, on_epoch=stop)
    assert Trainer(model, config).fit(TRAIN).steps == 16  # of 24
    assert torch.equal(model[2].running_mean, torch.zeros(10))
    again = nn.Sequential(nn.Flatten(), nn.Linear(16, 10), nn.BatchNorm1d(10))
    again[1].load_state_dict(model[1].state_dict())
    with pytest.raises(ValueError, match="is of another training: model was"):
        Trainer(again, config).fit(TRAIN)


def test_a_checkpoint_is_written_after_so_many_steps_also_where_an_epoch_ends(tmp_path):
    config = replace(CONFIG, checkpoint=tmp_path / "run.pt", checkpoint_every=100)
    for steps, saved in ((None, False), (7, False), (16, True)):  # an epoch has 8
        config.checkpoint.unlink(missing_ok=True)
        with pytest.raises(Interruption):
            Trainer(network(), replace(config, checkpoint_steps=steps)).fit(
                TRAIN, on_epoch=interrupt_at(epoch=1), on_step=lambda step: config.checkpoint.unlink(missing_ok=True)
            )
        assert config.checkpoint.exists() == saved


def test_a_trained_model_takes_batches_of_any_size():
    """The memories forget which images the last batch was of."""
    model = Trainer(network(), CONFIG).fit(TRAIN).model
    x = torch.from_numpy(TRAIN.scaled())
    for n in (1, 7, len(x)):
        assert len(model(x[:n])) == n


def test_a_checkpoint_of_another_process_is_refused(tmp_path, monkeypatch):
    """The cells of overwritten activations belong to their process."""
    config = replace(CONFIG, epochs=1, checkpoint=tmp_path / "run.pt")
    Trainer(network(), config).fit(TRAIN)
    monkeypatch.setattr("bnn.training.run.rank", lambda: 1)
    with pytest.raises(ValueError, match="process was 0, is 1"):
        Trainer(network(), config).fit(TRAIN)
