"""Networks of shipped recipes that are not binary."""

from collections.abc import Sequence
from itertools import pairwise

from torch import nn


def real_mlp(inputs: int = 64, hidden: Sequence[int] = (256, 256), classes: int = 10) -> nn.Sequential:
    """Return a multilayer perceptron with real weights, BatchNorm and ReLU; its weights are torch's initial ones.

    Examples
    --------
    >>> len(real_mlp(hidden=(32, 16)))
    8
    """
    sizes = [inputs, *hidden]
    blocks = [layer for n, m in pairwise(sizes) for layer in (nn.Linear(n, m), nn.BatchNorm1d(m), nn.ReLU())]
    return nn.Sequential(nn.Flatten(), *blocks, nn.Linear(sizes[-1], classes))
