"""Networks, images, memories and interruptions that the tests of `bnn` share: `from networks import normal`.

The helpers of `physics` do without torch.
"""

from functools import partial
from types import SimpleNamespace

import numpy as np
import torch
from torch import nn

from bnn.errors.write_errors import WriteErrors
from bnn.models import mlp

EVERYTHING = (
    "weights",
    "biases",
    "batch_norm",
    "running_statistics",
    "optimizer",
)  # that words can hold


# ---- tensors and images ----------------------------------------------------------------------------------------------


def normal(*shape, seed=0):
    """Standard normal values of a stream of their own."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


class Images:
    """Images and their labels, as far as a training or an evaluation looks at them."""

    def __init__(self, pixels, labels):
        self.pixels, self.labels = np.asarray(pixels), np.asarray(labels)

    def scaled(self):
        return self.pixels.copy()


def integer_images(n, seed=0):
    """Images of 8 by 8 small integers, so that every sum of products is exact whatever the batch size."""
    stream = np.random.default_rng(seed)
    return Images(stream.integers(-4, 5, (n, 1, 8, 8)).astype(np.float32), stream.integers(0, 10, n))


def blobs(n, seed, *, noise=0.5):
    """Ten noisy patterns of 4 by 4: learnable, not trivial."""
    patterns = np.random.default_rng(0).choice([-1.0, 1.0], (10, 1, 4, 4))
    stream = np.random.default_rng(seed)
    labels = stream.integers(0, 10, n)
    labels.setflags(write=False)  # as bnn.data's are
    return Images((patterns[labels] + stream.normal(0, noise, (n, 1, 4, 4))).astype(np.float32), labels)


# ---- error rates and memories ----------------------------------------------------------------------------------------


def rates(rate_0, rate_1=None):
    """Two error rates, or one for both bits, and no more of an operating point than that."""
    return SimpleNamespace(error_rate_0=rate_0, error_rate_1=rate_0 if rate_1 is None else rate_1)


def write_errors(rate_0, rate_1=None):
    """A maker of `WriteErrors` of two error rates, or of one for both bits; it takes a seed."""
    return partial(WriteErrors, **vars(rates(rate_0, rate_1)))


# ---- networks --------------------------------------------------------------------------------------------------------


def binary_mlp(hidden=(64, 48), **settings):
    """An MLP for `integer_images` with binary layers only."""
    return mlp(seed=1, hidden=hidden, first="binary", last="binary", **settings)


def measured_mlp(**settings):
    """A binary MLP whose BatchNorms have the statistics of one batch."""
    model = binary_mlp(**settings)
    model(torch.from_numpy(integer_images(64, seed=5).scaled()))
    return model


class Branch(nn.Module):
    """A module that branches on its input, so that it cannot be traced."""

    def forward(self, x):
        return x if x.sum() > 0 else -x


def same_state(a, b):
    """Whether two modules have the same parameters and buffers, in the same order and to the last bit."""
    a, b = a.state_dict(), b.state_dict()
    return list(a) == list(b) and all(torch.equal(a[name], b[name]) for name in a)


def counts(accuracy):
    """The correct answers of each draw and of each image."""
    return accuracy.correct.tolist(), accuracy.correct_per_image.tolist()


# ---- killed trainings ------------------------------------------------------------------------------------------------


class Interruption(Exception):
    """Raised in a training in place of a kill."""


def interrupt_at(**place):
    """A callback of a training that interrupts it at the record with one value, such as `epoch=2` or `step=7`."""
    ((name, number),) = place.items()

    def look(record):
        if getattr(record, name) == number:
            raise Interruption

    return look
