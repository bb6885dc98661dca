"""Batches: augmented images of a training, and images that are decoded while it runs."""

import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

import bnn
from bnn.data.image_files import ImageFiles
from bnn.models import mlp
from bnn.training.batches import Batches, moved
from bnn.training.config import TrainConfig
from bnn.training.loop import Trainer
from networks import Images, Interruption, blobs, interrupt_at, same_state

TRAIN = blobs(50, seed=1)
AUGMENT = bnn.Augment(shift=1, flip=True)
CONFIG = TrainConfig(epochs=3, batch_size=20, learning_rate=0.02, seed=4, progress=False, augment=AUGMENT)


class Seen(nn.Module):
    """Keeps the images it is given, while it is trained."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, x):
        if self.training:
            self.seen.extend(x.numpy().copy())
        return x


def network():
    return mlp(16, (12,), seed=1)


def shown(config, data=TRAIN, **others):
    """The images of each epoch, sorted: an epoch is the same set whatever its batches are."""
    watch = Seen()
    Trainer(nn.Sequential(watch, nn.Flatten(), nn.Linear(16, 10)), config).fit(data, **others)
    epochs = np.stack(watch.seen).reshape(config.epochs, -1, 16)
    return [epoch[np.lexsort(epoch.T)] for epoch in epochs]


def test_each_image_of_an_epoch_has_its_own_draw_whatever_the_batches_are():
    found = shown(CONFIG)
    for batch_size in (7, 50):
        np.testing.assert_array_equal(shown(replace(CONFIG, batch_size=batch_size)), found)
    for epoch, images in enumerate(found):
        moves, flips = map(torch.from_numpy, AUGMENT.draws(seed=4, epoch=epoch, images=50))
        expected = moved(torch.from_numpy(TRAIN.scaled()), moves, flips, shift=1, fill="background").numpy()
        expected = expected.reshape(50, 16)
        np.testing.assert_array_equal(images, expected[np.lexsort(expected.T)])
    assert not np.array_equal(found[0], found[1])


def test_only_the_images_of_the_steps_are_augmented():
    plain, augmented = (replace(CONFIG, augment=augment, epochs=1, learning_rate=1e-30) for augment in (None, AUGMENT))
    results = [Trainer(network(), config).fit(TRAIN, TRAIN, test=TRAIN) for config in (plain, augmented)]
    assert results[0].history[0].loss != results[1].history[0].loss
    # statistics of the BatchNorm follow the steps; with its weights alone both evaluate the same images
    weights = nn.Sequential(nn.Flatten(), nn.Linear(16, 10))
    torch.manual_seed(0)
    same = [Trainer(weights, config).fit(TRAIN, TRAIN).history[0].validation_accuracy for config in (plain, augmented)]
    assert same[0] == same[1]


def test_an_augmented_training_resumes_bit_for_bit(tmp_path):
    whole = Trainer(network(), CONFIG).fit(TRAIN)
    config = replace(CONFIG, checkpoint=tmp_path / "run.pt", checkpoint_steps=1)
    for step in (1, 5):  # within an epoch, and at the end of one
        with pytest.raises(Interruption):
            Trainer(network(), config).fit(TRAIN, on_step=interrupt_at(step=step))
    with pytest.raises(ValueError, match=r"augment was .*shift.* 1.*, is .*"):
        Trainer(network(), replace(config, augment=bnn.Augment(shift=2))).fit(TRAIN)
    resumed = Trainer(network(), config).fit(TRAIN)
    assert same_state(resumed.model, whole.model)
    assert resumed.history == whole.history


def test_images_that_cannot_be_augmented_are_refused():
    flat = Images(TRAIN.scaled().reshape(50, 16), TRAIN.labels)
    with pytest.raises(ValueError, match=r"train must have images of shape \(n, channels, height, width\) where aug"):
        Trainer(network(), CONFIG).fit(flat)
    with pytest.raises(ValueError, match=r"augment has a shift that must be < 4, the shorter side"):
        Trainer(network(), replace(CONFIG, augment=bnn.Augment(shift=4))).fit(TRAIN)
    with pytest.raises(ValueError, match="augment must be of type Augment"):
        replace(CONFIG, augment=3)


# ---- files -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path):
    """Fifty PNG files of 4 by 5 pixels."""
    from PIL import Image

    stream, paths = np.random.default_rng(0), []
    for number in range(50):
        paths.append(tmp_path / f"{number}.png")
        Image.fromarray(stream.integers(0, 256, (4, 5, 3), np.uint8)).save(paths[-1])
    return ImageFiles(tuple(paths), np.arange(50) % 10, "fifty", resize=4, crop=4)


class Contiguous(nn.Module):
    def forward(self, x):
        assert x.is_contiguous(), "a convolution rounds by the order of the memory"
        return x


def of_files():
    return nn.Sequential(Contiguous(), *mlp(48, (12,), seed=1))


@pytest.mark.parametrize("augment", [None, AUGMENT])
def test_files_that_exceed_the_memory_are_decoded_batch_by_batch(files, augment, monkeypatch, tmp_path):
    config = replace(CONFIG, augment=augment)
    whole = Trainer(of_files(), config).fit(files, files)
    small = replace(files, memory_limit=files.memory() - 1)
    opened = []
    read = ImageFiles.scaled
    monkeypatch.setattr(ImageFiles, "scaled", lambda self: opened.append(len(self)) or read(self))
    streamed = Trainer(of_files(), config).fit(small, files)
    assert same_state(streamed.model, whole.model)
    assert streamed.history == whole.history
    assert opened == [1, 50, 50, 50]  # the validation images only
    kept = replace(config, checkpoint=tmp_path / "run.pt", checkpoint_steps=1)
    with pytest.raises(Interruption):
        Trainer(of_files(), kept).fit(small, files, on_step=interrupt_at(step=4))
    resumed = Trainer(of_files(), kept).fit(files, files)  # its identity is that of the files, not of where they are
    assert same_state(resumed.model, whole.model)
    moved_labels = replace(small, labels=np.roll(small.labels, 1))
    with pytest.raises(ValueError, match="training images was 50 files sha256"):
        Trainer(of_files(), kept).fit(moved_labels, files)


def test_batches_of_files_may_be_taken_in_any_order_and_no_thread_is_left(files):
    whole, streamed = (
        Batches(of_files(), CONFIG, each) for each in (files, replace(files, memory_limit=files.memory() - 1))
    )
    for batches in (whole, streamed):
        assert batches.begin(2)
        assert not batches.begin(2)
    for step in (0, 2, 0, 1, 2):
        one, other = whole.batch(step), streamed.batch(step)
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.labels, other.labels)
    streamed.close()
    before = threading.active_count()
    with pytest.raises(Interruption):
        Trainer(of_files(), CONFIG).fit(streamed.source, on_step=interrupt_at(step=3))
    assert threading.active_count() == before


def test_batch_norm_is_estimated_from_the_first_files(files):
    phases = (bnn.Phase(memory=None, until=0.5), bnn.Phase(memory=bnn.SRAM(), reestimate=20))
    config = replace(CONFIG, phases=phases)
    small = replace(files, memory_limit=files.memory() - 1)
    assert same_state(*(Trainer(of_files(), config).fit(each).model for each in (files, small)))


def test_a_file_that_cannot_be_read_ends_the_training_with_its_name(files):
    small = replace(files, memory_limit=files.memory() - 1)
    small.paths[31].write_bytes(b"not an image")
    with pytest.raises(ValueError, match=r"31\.png is not a JPEG or PNG image"):
        Trainer(of_files(), CONFIG).fit(small)


# ---- torch data sets -------------------------------------------------------------------------------------------------


class Items(Dataset):
    """Reads one image at a time, and counts it; `noisy`: the number of an image that is another one each time."""

    def __init__(self, noisy=None, labels=TRAIN.labels, pixels=TRAIN.pixels):
        self.read, self.noisy, self.labels, self.pixels = [], noisy, labels, pixels

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        self.read.append(i)
        image = torch.from_numpy(self.pixels[i])
        return image + len(self.read) * (i == self.noisy), int(self.labels[i])


def test_a_dataset_that_exceeds_the_memory_is_read_batch_by_batch(monkeypatch, tmp_path):
    whole = Trainer(network(), CONFIG).fit(TRAIN, TRAIN)
    monkeypatch.setattr("bnn.data.on_demand.LARGEST", TRAIN.pixels.nbytes - 1)
    data = Items()
    streamed = Trainer(network(), CONFIG).fit(DataLoader(data, batch_size=20, shuffle=True), TRAIN)
    assert same_state(streamed.model, whole.model)
    assert streamed.history == whole.history
    assert np.bincount(data.read)[1:].tolist() == [1 + 3] * 49  # once at first, and once an epoch
    kept = replace(CONFIG, checkpoint=tmp_path / "run.pt", checkpoint_steps=1)
    with pytest.raises(Interruption):
        Trainer(network(), kept).fit(Items(), TRAIN, on_step=interrupt_at(step=4))
    with pytest.raises(ValueError, match="training images was 50 items float32"):
        Trainer(network(), kept).fit(Items(labels=TRAIN.labels[::-1].copy()), TRAIN)
    assert same_state(Trainer(network(), kept).fit(Items(), TRAIN).model, whole.model)
    monkeypatch.setattr("bnn.data.on_demand.LARGEST", TRAIN.pixels.nbytes)
    data = Items()
    assert same_state(Trainer(network(), CONFIG).fit(data, TRAIN).model, whole.model)
    assert len(data.read) == 50 + 16 + 2, "read once, the first sixteen twice, the first for its type and shape"


def test_a_dataset_that_changes_or_cannot_be_trained_on_is_refused(monkeypatch):
    monkeypatch.setattr("bnn.data.on_demand.LARGEST", 0)
    with pytest.raises(ValueError, match=r"train must return the same image each time, got two .* for image 31 \(a"):
        Trainer(network(), CONFIG).fit(Items(noisy=31))
    for labels, message in (
        (TRAIN.labels - 1, "train must have labels >= 0, got -1"),
        (TRAIN.labels * 2, "train must have labels from 0 to 9, the model's classes, got"),
    ):
        with pytest.raises(ValueError, match=message):
            Trainer(network(), CONFIG).fit(Items(labels=labels))
    bad = TRAIN.pixels.copy()
    bad[7, 0, 1, 1] = np.nan
    with pytest.raises(ValueError, match="train must have finite values, got NaN or infinity in image 7"):
        Trainer(network(), CONFIG).fit(Items(pixels=bad))


@pytest.mark.parametrize("argument", ["validation", "test"])
def test_files_of_an_evaluation_that_exceed_the_memory_are_refused_before_any_work(files, argument):
    small, steps = replace(files, memory_limit=files.memory() - 1), []
    with pytest.raises(ValueError, match=f"{argument} must fit in its memory_limit of 9,599 bytes, got 9,600"):
        Trainer(of_files(), CONFIG).fit(small, **{argument: small}, on_step=steps.append)
    assert not steps
