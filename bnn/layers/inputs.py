"""Images as the input of a model: on its device, of the type of its parameters."""

from typing import Any

import torch
from torch import Tensor, nn

from bnn.data.labelled import LabelledArrays, labelled, unlabelled
from bnn.layers.whole_model import checked_model
from mtjsim.checks import ArgumentError


def labelled_tensors(model: nn.Module, argument: str, data: Any) -> tuple[Tensor, Tensor]:
    """Return images and labels of anything that `labelled` of `bnn/data/labelled.py` takes, on the model's device.

    Floating-point images are cast to the type of the model's parameters.

    Raises
    ------
    TypeError, ValueError
        As `labelled`; for images of whole numbers, unless the model has an embedding; and for a model that is no
        Module.
    """
    checked_model(model)
    checked = data if isinstance(data, LabelledArrays) else labelled(argument, data)
    return _tensor(model, argument, checked.images), torch.from_numpy(checked.labels).to(_like(model).device)


def image_tensor(model: nn.Module, argument: str, data: Any) -> Tensor:
    """Return the images of `data`, which needs no labels, as `labelled_tensors`."""
    return _tensor(checked_model(model), argument, unlabelled(argument, data))


def _like(model: nn.Module) -> Tensor:
    return next((p for p in model.parameters() if p.is_floating_point()), torch.zeros(()))


def _tensor(model: nn.Module, argument: str, images: Any) -> Tensor:
    like = _like(model)
    if images.dtype.kind == "i":
        if not any(isinstance(module, (nn.Embedding, nn.EmbeddingBag)) for module in model.modules()):
            remedy = "Use images.astype('float32')."
            raise ArgumentError(argument, f"must have floating-point images, got {images.dtype}. {remedy}")
        return torch.from_numpy(images).to(like.device)
    tensor = torch.from_numpy(images).to(like.device, like.dtype)
    if tensor.dtype.itemsize < images.dtype.itemsize and not tensor.isfinite().all():
        raise ArgumentError(argument, f"must have values in the range of the model's {like.dtype}: scale the images.")
    return tensor
