"""AlexNet of the work on activations written with errors."""

from typing import Any

from torch import nn

from bnn.layers.binary import BinaryConv2d, BinaryLinear
from bnn.models.arguments import LayerArguments, MakeMemory


def alexnet(
    classes: int = 1000,
    *,
    seed: int,
    dropout: float = 0.5,
    center: bool = False,
    activation_memory: MakeMemory | None = None,
    weight_memory: MakeMemory | None = None,
) -> nn.Sequential:
    """AlexNet for 224 x 224 colour images (227 x 227 as well), as in [1]: all layers but the first and last are binary.

    Parameters
    ----------
    classes : int
    seed : int, >= 0
        Of the initial weights, the memories' streams and the dropout.
    dropout : float, in [0, 1)
        Of the bits that the two binary fully connected layers read, in training.
    center : bool
        Subtract from the latent weights of the binary layers their mean over input channels, see `bnn.BinaryLinear`.
    activation_memory, weight_memory : callable, optional
        ``activation_memory(seed=child)`` makes the memory of one layer. None: activations (weights) are without errors.

    Returns
    -------
    Sequential
        Images, shape (n, 3, 224, 224) -> logits, shape (n, classes).

    Notes
    -----
    conv 3->96 11x11/4, BatchNorm, ReLU, maxpool; binary 96->256 5x5, maxpool; binary 256->384, 384->384, 384->256 3x3,
    maxpool; binary fully connected 9216->4096, 4096->4096; fully connected 4096->classes. All pools are 3/2; their
    sides are 27, 13 and 6. Each binary layer reads BatchNorm -> sign -> [memory], scales by XNOR-Net's mean |W| and is
    followed by a ReLU. First and last layer are real and never err. 256,352 bits are written for each image (derived
    from these shapes). Padding 2 before the first layer and where dropout acts are our choice.

    References
    ----------
    .. [1] Tzoufras, Gajek, Walker, arXiv:1905.10927 (2019).
    """
    arguments = LayerArguments(seed, 8, activation_memory, weight_memory)
    binary: dict[str, Any] = {"bias": True, "scale": "xnor", "center": center}
    layers: list[nn.Module] = [
        BinaryConv2d(3, 96, 11, stride=4, padding=2, bias=True, **arguments(0, inputs="real", weights="real")),
        nn.BatchNorm2d(96, eps=1e-4),
        nn.ReLU(),
        nn.MaxPool2d(3, 2),
    ]
    convolutions = ((96, 256, 5, True), (256, 384, 3, False), (384, 384, 3, False), (384, 256, 3, True))
    for i, (inputs, outputs, side, pools) in enumerate(convolutions, start=1):
        layers += [
            nn.BatchNorm2d(inputs, eps=1e-4),
            BinaryConv2d(inputs, outputs, side, padding=side // 2, **binary, **arguments(i)),
            nn.ReLU(),
        ]
        if pools:
            layers.append(nn.MaxPool2d(3, 2))
    layers.append(nn.Flatten())
    for i, inputs in ((5, 256 * 6 * 6), (6, 4096)):
        layers += [
            nn.BatchNorm1d(inputs, eps=1e-4),
            BinaryLinear(inputs, 4096, **binary, **arguments(i, dropout=dropout)),
            nn.ReLU(),
        ]
    layers.append(BinaryLinear(4096, classes, bias=True, **arguments(7, inputs="real", weights="real")))
    return nn.Sequential(*layers)
