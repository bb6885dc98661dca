"""Recipes with the networks and schedule of the work on activations with errors: their first steps, and a resume."""

import numpy as np
import pytest
from PIL import Image

from bnn.data.images import DataSet, ImageSet
from bnn.recipes import network
from bnn.recipes.network import config_of
from bnn.recipes.recipe import load_recipe
from bnn.recipes.run import run_recipe
from bnn.training.config import Steps
from networks import Interruption, interrupt_at, same_state

PUBLISHED = ("nin_cifar10", "alexnet_imagenet")
SHORT = {"training.epochs": 3, "training.batch_size": 2, "test": []}  # of two images: a step an epoch


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_training_is_the_published_one(name):
    recipe = load_recipe(name)
    config = config_of(recipe, ())
    numbers = config.epochs, config.batch_size, config.learning_rate, config.weight_decay
    assert numbers == (200, 128, 0.01, 1e-5)
    assert config.schedule == Steps(at=(0.2, 0.4, 0.6, 0.8), factor=0.1)
    steps = 391  # in an epoch of CIFAR-10
    factors = [config.schedule(step / (200 * steps)) for step in range(200 * steps)]
    drops = [step for step in range(1, len(factors)) if factors[step] < factors[step - 1]]
    assert drops == [epoch * steps for epoch in (40, 80, 120, 160)]
    assert factors[-1] == pytest.approx(1e-4)
    assert recipe.value("model.center")
    assert recipe.value("memory.activations.error_rate") == 0.05


def three_steps(recipe, path, **given):
    """Three steps without a break, and with one after the second: the same bits. Return the loss of each step."""
    whole = run_recipe(recipe, progress=False, **given)
    with pytest.raises(Interruption):
        run_recipe(recipe, progress=False, checkpoint=path, on_epoch=interrupt_at(epoch=1), **given)
    seen = []
    resumed = run_recipe(recipe, progress=False, checkpoint=path, on_epoch=lambda e: seen.append(e.epoch), **given)
    path.unlink()  # of AlexNet it has 750 MB
    assert seen == [2]
    assert resumed.history == whole.history
    assert same_state(resumed.model, whole.model)
    assert {name: point.error_rate_1 for name, point in whole.points.items()} == {"activations": 0.05}
    return [epoch.loss for epoch in whole.history]


def test_nin_takes_three_steps_and_is_resumed_to_the_bit(monkeypatch, tmp_path):
    pixels = np.random.default_rng(1).integers(0, 256, (2, 3, 32, 32), dtype=np.uint8)
    two = ImageSet(pixels, np.array([3, 8]), "two")
    names = tuple("0123456789")
    monkeypatch.setattr(network, "_loaded", lambda name, data_dir, **given: DataSet(name, two, two, names, "a test"))
    losses = three_steps(load_recipe("nin_cifar10").replaced(SHORT), tmp_path / "run.pt")
    assert len(set(losses)) == 3


@pytest.fixture
def imagenet(tmp_path):
    """A folder laid out like ImageNet: two classes, an image of each in both halves."""
    stream = np.random.default_rng(2)
    for place in ("train/n01", "train/n02", "val/n01", "val/n02"):
        (tmp_path / "images" / place).mkdir(parents=True)
        pixels = stream.integers(0, 256, (230, 260, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / place / "a.png")
    return tmp_path / "images"


@pytest.mark.slow
def test_alexnet_takes_three_steps_and_is_resumed_to_the_bit(imagenet, tmp_path):
    recipe = load_recipe("alexnet_imagenet").replaced({**SHORT, "data.complete": False})
    losses = three_steps(recipe, tmp_path / "run.pt", data_dir=imagenet, threads=1)
    assert len(set(losses)) == 3


def test_a_recipe_on_image_files_is_run_tested_and_recorded(imagenet, tmp_path):
    """The files are decoded batch by batch, or all at once, to the same bits."""
    recipe = load_recipe("alexnet_imagenet").replaced(
        {"model": {"name": "mlp", "inputs": 3 * 24 * 24, "hidden": [8, 8]}, "training.epochs": 2}
        | {"data.complete": False, "data.resize": 32, "data.crop": 24}
    )
    result = run_recipe(recipe, data_dir=imagenet, out=tmp_path / "run", progress=False)
    assert sorted(path.name for path in result.files) == [
        *("figure.png", "model.npz", "recipe.toml", "run.json", "table.csv"),
    ]
    assert result.tests["error_free"].images == result.tests["with_errors"].images == 2
    one = recipe.replaced({"data.classes": 2, "data.validation": 0.5})
    assert len(network.data_of(one, imagenet).train) == 1
    with pytest.raises(ValueError, match=r"data.classes must be at most the number of classes, got 3 of 2"):
        network.data_of(recipe.replaced({"data.classes": 3}), imagenet)


def test_image_files_need_their_folder_and_only_they_have_its_fields(imagenet):
    recipe = load_recipe("alexnet_imagenet")
    with pytest.raises(FileNotFoundError, match=r"imagenet cannot be fetched.* data_dir= \(--data-dir\) of a recipe"):
        run_recipe(recipe, progress=False)
    with pytest.raises(ValueError, match=r"class n01 must have 732 to 1,300 images"):
        run_recipe(recipe, data_dir=imagenet, progress=False)
    for change, message in (
        ({"data": {"name": "digits", "crop": 8}}, "a field of data must be one of .*got 'crop'"),
        ({"data.crop": 0}, "data.crop must be a whole number >= 1, got 0"),
        ({"data.complete": "no"}, "data.complete must be true or false, got 'no'"),
    ):
        with pytest.raises(ValueError, match=message):
            recipe.replaced(change)
