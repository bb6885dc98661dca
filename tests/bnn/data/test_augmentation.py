"""Augmentation: draws by key, and what they do to images."""

import numpy as np
import pytest
import torch

import bnn
from bnn.training.batches import moved


def by_hand(image, move, flip, shift, fill):
    """One image, (channels, height, width), by padding, mirroring and cutting out."""
    image = image[:, :, ::-1] if flip else image
    mode = {"background": {"mode": "constant", "constant_values": -1.0}, "edge": {"mode": "edge"}}
    wide = np.pad(image, ((0, 0), (shift, shift), (shift, shift)), **mode.get(fill, {"mode": "reflect"}))
    top, left = shift - move[0], shift - move[1]
    return wide[:, top : top + image.shape[1], left : left + image.shape[2]]


@pytest.mark.parametrize("fill", ["background", "edge", "reflect"])
@pytest.mark.parametrize(("shift", "flip"), [(3, True), (3, False), (0, True), (1, True)])
def test_images_are_flipped_and_shifted(fill, shift, flip):
    images = np.random.default_rng(0).normal(size=(200, 2, 5, 7)).astype(np.float32)
    moves, flips = bnn.Augment(shift=shift, flip=flip, fill=fill).draws(seed=1, epoch=2, images=200)
    found = moved(torch.from_numpy(images), torch.from_numpy(moves), torch.from_numpy(flips), shift=shift, fill=fill)
    expected = [by_hand(*each, shift, fill) for each in zip(images, moves, flips, strict=True)]
    np.testing.assert_array_equal(found.numpy(), np.stack(expected))


def test_draws_are_uniform_and_independent():
    """90,000 images in 49 shifts times 2 flips: chi-square with 97 degrees of freedom, 178.2 with a chance of 1e-6.

    One cell that is 1.3 times as likely as the others adds some 80 to the mean of 97: seen in half of the cases.
    """
    moves, flips = bnn.Augment(shift=3, flip=True).draws(seed=5, epoch=0, images=90_000)
    cells = ((moves[:, 0] + 3) * 7 + moves[:, 1] + 3) * 2 + flips
    counts = np.bincount(cells, minlength=98)
    expected = 90_000 / 98
    assert len(counts) == 98
    assert ((counts - expected) ** 2 / expected).sum() < 178.2


def test_a_draw_follows_from_seed_epoch_and_number():
    augment = bnn.Augment(shift=4, flip=True)
    moves, flips = augment.draws(seed=1, epoch=2, images=1000)
    for images in (1, 17, 999):  # the first ones of more images
        fewer = augment.draws(seed=1, epoch=2, images=images)
        np.testing.assert_array_equal(fewer[0], moves[:images])
        np.testing.assert_array_equal(fewer[1], flips[:images])
    for other in ({"seed": 2, "epoch": 2}, {"seed": 1, "epoch": 3}):
        another = augment.draws(**other, images=1000)
        assert (another[0] != moves).any(axis=1).mean() > 0.9  # 80 of 81 differ by chance
        assert 0.3 < (another[1] != flips).mean() < 0.7
    assert not bnn.Augment(shift=4).draws(seed=1, epoch=2, images=1000)[1].any()
    assert not bnn.Augment(flip=True).draws(seed=1, epoch=2, images=1000)[0].any()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "shift must be >= 1 where flip is False"),
        ({"shift": -1}, "shift must be a whole number >= 0, got -1"),
        ({"shift": 1.5}, "shift must be a whole number >= 0"),
        ({"flip": 1}, "flip must be of type bool"),
        ({"shift": 1, "fill": "zero"}, "fill must be one of 'background', 'edge', 'reflect', got 'zero'"),
    ],
)
def test_what_is_no_augmentation_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        bnn.Augment(**fields)
