"""A LeNet-4 for fast training on a CPU: one BatchNorm for each layer, in place of XNOR-Net's scale."""

from torch import nn

from bnn.layers.binary import BinaryConv2d, BinaryLinear
from bnn.models.arguments import POLICIES, LayerArguments, MakeMemory
from mtjsim.checks import checked_choice


def fast_lenet4(
    classes: int = 10,
    *,
    seed: int,
    first: str = "real",
    last: str = "real",
    activation_memory: MakeMemory | None = None,
    weight_memory: MakeMemory | None = None,
) -> nn.Sequential:
    """LeNet-4 for 28 x 28 images with the sizes of `bnn.models.lenet4`, and a third less work a step.

    Parameters
    ----------
    classes : int
    seed : int, >= 0
        Of the initial weights and of the memories' streams.
    first, last : {"real", "binary"}
        Weights of the first and of the last layer. A binary last layer reads bits, 500 more of an image, and is
        followed by a BatchNorm; a real one reads real values. The first layer reads the real image.
    activation_memory, weight_memory : callable, optional
        ``activation_memory(seed=child)`` makes the memory of one layer. None: no errors.

    Returns
    -------
    Sequential
        Images, shape (n, 1, 28, 28) -> logits, shape (n, classes).

    Raises
    ------
    ValueError
        For an unknown policy or an invalid seed.

    Notes
    -----
    conv 1->20 5x5, maxpool, BatchNorm; binary conv 20->50 5x5, maxpool, BatchNorm; binary fully connected 800->500,
    BatchNorm, ReLU; fully connected 500->classes. First and last layer are real, unless said otherwise; real ones
    never err. Each binary layer reads BatchNorm -> sign -> [memory]. 2,880 + 800 bits are written for each image.

    Not in it, but in `lenet4`: XNOR-Net's mean |W|, which the BatchNorm after a product divides out again; the ReLU
    before a sign; and a separate BatchNorm before the first ReLU.
    """
    checked_choice("first", first, POLICIES)
    checked_choice("last", last, POLICIES)
    arguments = LayerArguments(seed, 4, activation_memory, weight_memory)
    layers: list[nn.Module] = [
        BinaryConv2d(1, 20, 5, **arguments(0, inputs="real", weights=first)),
        nn.MaxPool2d(2),
        nn.BatchNorm2d(20, eps=1e-4),
        BinaryConv2d(20, 50, 5, **arguments(1)),
        nn.MaxPool2d(2),
        nn.BatchNorm2d(50, eps=1e-4),
        nn.Flatten(),
        BinaryLinear(800, 500, **arguments(2)),
        nn.BatchNorm1d(500),
    ]
    if last == "real":
        layers += [nn.ReLU(), BinaryLinear(500, classes, bias=True, **arguments(3, inputs="real", weights="real"))]
    else:
        layers += [BinaryLinear(500, classes, **arguments(3)), nn.BatchNorm1d(classes)]
    return nn.Sequential(*layers)
