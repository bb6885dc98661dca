"""What augmentation and a hinge cost in a training step of LeNet-4: ratios in one process."""

import pytest
import torch
import torch.nn.functional as F

from bnn.data.augmentation import Augment
from bnn.models import lenet4
from bnn.training.batches import moved
from bnn.training.losses import made_loss

pytestmark = pytest.mark.usefixtures("one_torch_thread")


def test_augmentation_in_a_training_step_of_lenet4(benchmark, sized, least_seconds):
    batch, model = sized(128, 2), lenet4(seed=1)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    x, y = torch.randn(batch, 1, 28, 28, generator=torch.Generator().manual_seed(0)), torch.arange(batch) % 10
    colours = torch.randn(batch, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    augment = Augment(shift=4, flip=True)
    moves, flips = map(torch.from_numpy, augment.draws(seed=0, epoch=0, images=batch))

    def step(loss):
        optimizer.zero_grad()
        loss(model(x), y).backward()
        optimizer.step()

    def move(images, fill):
        return lambda: moved(images, moves, flips, shift=4, fill=fill)

    functions = [
        lambda: step(F.cross_entropy),
        lambda: step(made_loss("margin_hinge")),
        move(x, "background"),
        move(x, "reflect"),
        move(colours, "background"),
        lambda: augment.draws(seed=0, epoch=0, images=sized(60_000, 60)),
    ]
    plain, hinge, background, reflect, colour, draws = least_seconds(functions, 20)
    benchmark.extra_info.update(
        hinge_against_cross_entropy=hinge / plain,
        background_of_a_step=background / plain,
        reflect_of_a_step=reflect / plain,
        colour_32_of_a_step=colour / plain,
        draws_of_an_epoch_of_60000=draws / (plain * sized(60_000, 60) / batch),
    )
    assert benchmark.pedantic(functions[2], rounds=5).shape == x.shape
