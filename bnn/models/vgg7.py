"""VGG-7, the small VGG that binary and ternary networks are compared on."""

from torch import nn

from bnn.layers.binary import BinaryConv2d, BinaryLinear
from bnn.models.arguments import POLICIES, LayerArguments, MakeMemory
from mtjsim.checks import checked_choice


def vgg7(
    classes: int = 10,
    *,
    seed: int,
    width: int = 128,
    first: str = "real",
    last: str = "real",
    activation_memory: MakeMemory | None = None,
    weight_memory: MakeMemory | None = None,
) -> nn.Sequential:
    """VGG-7 for 32 x 32 colour images: 2x128C3-MP2-2x256C3-MP2-2x512C3-MP2-1024FC-classes, as in [1].

    Parameters
    ----------
    classes : int
    seed : int, >= 0
        Of the initial weights and of the memories' streams.
    width : int
        Channels of the first two convolutions, 128 in [1]; the others are multiples.
    first, last : {"real", "binary"}
        Weights of the first and of the last layer; those between are binary. The first layer reads the real image, the
        last reads bits from a memory. A binary last layer is followed by a BatchNorm.
    activation_memory, weight_memory : callable, optional
        ``activation_memory(seed=child)`` makes the memory of one layer. None: activations (weights) are without errors.

    Returns
    -------
    Sequential
        Images, shape (n, 3, 32, 32) -> logits, shape (n, classes).

    Raises
    ------
    ValueError
        For an unknown policy or an invalid seed.

    Notes
    -----
    convolution -> [maxpool] -> BatchNorm -> sign -> [memory] -> convolution: the sign is the activation function.

    References
    ----------
    .. [1] Deng, Jiao, Pei, Wu, Li, "GXNOR-Net", arXiv:1705.09283 (2017).
    """
    checked_choice("first", first, POLICIES)
    checked_choice("last", last, POLICIES)
    arguments = LayerArguments(seed, 8, activation_memory, weight_memory)
    channels = (3, width, width, 2 * width, 2 * width, 4 * width, 4 * width)
    layers: list[nn.Module] = []
    for i in range(6):
        given = arguments(i) if i else arguments(0, inputs="real", weights=first)
        layers.append(BinaryConv2d(channels[i], channels[i + 1], 3, padding=1, **given))
        if i % 2:
            layers.append(nn.MaxPool2d(2))
        layers.append(nn.BatchNorm2d(channels[i + 1]))
    layers += [
        nn.Flatten(),
        BinaryLinear(4 * width * 16, 8 * width, **arguments(6)),
        nn.BatchNorm1d(8 * width),
        BinaryLinear(8 * width, classes, bias=last == "real", **arguments(7, weights=last)),
    ]
    if last == "binary":
        layers.append(nn.BatchNorm1d(classes))
    return nn.Sequential(*layers)
