"""LeNet-4 of the work on activations written with errors."""

from typing import Any

from torch import nn

from bnn.layers.binary import BinaryConv2d, BinaryLinear
from bnn.models.arguments import LayerArguments, MakeMemory


def lenet4(
    classes: int = 10,
    *,
    seed: int,
    center: bool = False,
    activation_memory: MakeMemory | None = None,
    weight_memory: MakeMemory | None = None,
) -> nn.Sequential:
    """LeNet-4 for 28 x 28 images, as in the error-prone-activation work [1]: its two inner layers are binary.

    Parameters
    ----------
    classes : int
    seed : int, >= 0
        Of the initial weights and of the memories' streams.
    center : bool
        Subtract from the latent weights of the binary layers their mean over input channels, see `bnn.BinaryLinear`.
    activation_memory, weight_memory : callable, optional
        ``activation_memory(seed=child)`` makes the memory of one layer. None: activations (weights) are without errors.

    Returns
    -------
    Sequential
        Images, shape (n, 1, 28, 28) -> logits, shape (n, classes).

    Notes
    -----
    conv 1->20 5x5, BatchNorm, ReLU, maxpool; binary conv 20->50 5x5, ReLU, maxpool; binary fully connected 800->500,
    ReLU; fully connected 500->classes. Each binary layer reads BatchNorm -> sign -> [memory] and scales its product by
    XNOR-Net's mean |W|; first and last layer are real and never err. 2,880 + 800 bits are written for each image.

    The authors' code also subtracts from each weight its mean over input channels, here ``center=True``, and has
    sign(0) = 0, which is not done here.

    References
    ----------
    .. [1] Tzoufras, Gajek, Walker, arXiv:1905.10927 (2019).
    """
    arguments = LayerArguments(seed, 4, activation_memory, weight_memory)
    binary: dict[str, Any] = {"bias": True, "scale": "xnor", "center": center}
    return nn.Sequential(
        BinaryConv2d(1, 20, 5, bias=True, **arguments(0, inputs="real", weights="real")),
        nn.BatchNorm2d(20, eps=1e-4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.BatchNorm2d(20, eps=1e-4),
        BinaryConv2d(20, 50, 5, **binary, **arguments(1)),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.BatchNorm2d(50, eps=1e-4),
        nn.Flatten(),
        BinaryLinear(800, 500, **binary, **arguments(2)),
        nn.ReLU(),
        BinaryLinear(500, classes, bias=True, **arguments(3, inputs="real", weights="real")),
    )
