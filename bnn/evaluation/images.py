"""Images of an evaluation, batch by batch: cut from an array, or decoded from files that do not fit into memory."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor, nn

from bnn.data.image_files import ImageFiles
from bnn.layers.inputs import image_tensor, labelled_tensors
from bnn.layers.whole_model import checked_model


@dataclass(frozen=True)
class EvaluatedImages:
    """Labelled images as the input of a model.

    Parameters
    ----------
    labels : (n,) int64
    cut : callable
        ``cut(size)`` gives the images in their order, `size` at a time.
    """

    labels: np.ndarray
    cut: Callable[[int], Iterable[Tensor]]


def evaluated_images(model: nn.Module, argument: str, data: Any) -> EvaluatedImages:
    """Return the images of anything that `labelled` takes; files above `memory_limit` are decoded each time.

    Raises
    ------
    TypeError, ValueError
        As `labelled_tensors`.
    """
    if isinstance(data, ImageFiles) and data.memory() > data.memory_limit:
        checked_model(model)
        return EvaluatedImages(
            data.labels.copy(), lambda size: (image_tensor(model, argument, part) for part in data.batches(size))
        )
    images, labels = labelled_tensors(model, argument, data)
    return EvaluatedImages(labels.cpu().numpy(), images.split)
