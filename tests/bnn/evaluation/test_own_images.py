"""A model may change its input in place: the images are the user's, and each draw reads them again."""

from contextlib import nullcontext

import numpy as np
import pytest
import torch
from torch import nn

import bnn
from networks import integer_images, rates

IMAGES = integer_images(300)


class Normalised(nn.Module):
    """Normalises its input in place, as many networks do."""

    def __init__(self):
        super().__init__()
        self.inner = bnn.models.mlp(seed=1, hidden=(16, 16))

    def forward(self, x):
        return self.inner(x.mul_(0.5).sub_(1.0))


def calls(model, pair):
    config = bnn.TrainConfig(epochs=2, batch_size=100, learning_rate=0.01, seed=0, progress=False)
    no_errors = {"errors": None, "weight_errors": None}
    return {
        "evaluate": lambda: bnn.evaluate(model, pair, errors=rates(0.1), draws=2),
        "fit": lambda: bnn.Trainer(model, config).fit(pair, pair, test=pair),
        "reestimate": lambda: bnn.reestimate_batch_norm(model, pair, **no_errors),
        "example": lambda: bnn.binarize(nn.Sequential(model, *(nn.Linear(10, 10) for _ in range(3))), example=pair[0]),
        "rows that do not fit": lambda: bnn.evaluate(nn.Sequential(model, nn.Linear(3, 2)), pair),
    }


@pytest.mark.filterwarnings("ignore:the sign of layer")
@pytest.mark.parametrize("call", calls(None, (None, None)))
@pytest.mark.parametrize("kind", [np.array, torch.tensor])
def test_images_of_the_user_stay_as_they_were(kind, call):
    pair = kind(IMAGES.pixels), kind(IMAGES.labels)
    refused = pytest.raises(ValueError, match="must have images that fit the model")
    with refused if call == "rows that do not fit" else nullcontext():
        calls(Normalised(), pair)[call]()
    assert np.array_equal(np.asarray(pair[0]), IMAGES.pixels)


def test_every_draw_reads_the_same_images():
    model = Normalised()
    assert len(set(bnn.evaluate(model, IMAGES, errors=rates(0.0), draws=3).correct.tolist())) == 1
    written = bnn.WriteErrors(error_rate_0=0.0, error_rate_1=0.0, seed=0)
    errors = {"errors": written, "weight_errors": None}
    once, thrice = (bnn.reestimate_batch_norm(model, IMAGES, draws=draws, **errors) for draws in (1, 3))
    for a, b in zip(once.buffers(), thrice.buffers(), strict=True):
        assert torch.allclose(a, b, rtol=1e-6)


def test_an_image_that_is_not_finite_is_found_in_the_images():
    model = Normalised()
    with torch.no_grad():
        model.inner[1].weight.fill_(torch.inf)
    with pytest.raises(FloatingPointError, match=r"the output of inner\.1 is not finite for image 0, in draw 0"):
        bnn.evaluate(model, IMAGES)
