"""Network in Network of the work on activations written with errors."""

from torch import nn

from bnn.layers.binary import BinaryConv2d
from bnn.models.arguments import LayerArguments, MakeMemory

# Of the binary convolutions: inputs, outputs, kernel, dropout or not.
CONVOLUTIONS = (
    *((192, 160, 1, False), (160, 96, 1, False), (96, 192, 5, True)),
    *((192, 192, 1, False), (192, 192, 1, False), (192, 192, 3, True), (192, 192, 1, False)),
)
POOLS_AFTER = {2: nn.MaxPool2d, 5: nn.AvgPool2d}  # 3/2, to half the side


def nin(
    classes: int = 10,
    *,
    seed: int,
    dropout: float = 0.5,
    center: bool = False,
    activation_memory: MakeMemory | None = None,
    weight_memory: MakeMemory | None = None,
) -> nn.Sequential:
    """Network in Network for 32 x 32 colour images, as in [1]: all convolutions but the first and last are binary.

    Parameters
    ----------
    classes : int
    seed : int, >= 0
        Of the initial weights, the memories' streams and the dropout.
    dropout : float, in [0, 1)
        Of the bits that the binary 5x5 and 3x3 convolutions read, in training.
    center : bool
        Subtract from the latent weights of the binary layers their mean over input channels, see `bnn.BinaryLinear`.
    activation_memory, weight_memory : callable, optional
        ``activation_memory(seed=child)`` makes the memory of one layer. None: activations (weights) are without errors.

    Returns
    -------
    Sequential
        Images, shape (n, 3, 32, 32) -> logits, shape (n, classes).

    Notes
    -----
    conv 3->192 5x5, BatchNorm, ReLU; binary 192->160 1x1, 160->96 1x1; maxpool 3/2; binary 96->192 5x5 (dropout), 192->
    192 1x1, 192->192 1x1; avgpool 3/2; binary 192->192 3x3 (dropout), 192->192 1x1; conv 192->classes 1x1; avgpool 8.
    Convolutions keep the side, pooling halves it. Each binary convolution reads BatchNorm -> sign -> [memory] ->
    [dropout], scales by XNOR-Net's mean |W| and is followed by a ReLU. First and last convolution are real and never
    err. 507,904 bits are written for each image. Of the BatchNorms, [1] gives eps = 1e-4; that they have weights and
    biases is our choice.

    References
    ----------
    .. [1] Tzoufras, Gajek, Walker, arXiv:1905.10927 (2019).
    """
    last = len(CONVOLUTIONS) + 1
    arguments = LayerArguments(seed, last + 1, activation_memory, weight_memory)
    layers: list[nn.Module] = [
        BinaryConv2d(3, 192, 5, padding=2, bias=True, **arguments(0, inputs="real", weights="real")),
        nn.BatchNorm2d(192, eps=1e-4),
        nn.ReLU(),
    ]
    for i, (inputs, outputs, side, drops) in enumerate(CONVOLUTIONS, start=1):
        given = arguments(i, dropout=dropout if drops else 0.0)
        layers += [
            nn.BatchNorm2d(inputs, eps=1e-4),
            BinaryConv2d(inputs, outputs, side, padding=side // 2, bias=True, scale="xnor", center=center, **given),
            nn.ReLU(),
        ]
        if i in POOLS_AFTER:
            layers.append(POOLS_AFTER[i](3, 2, padding=1))
    layers += [
        BinaryConv2d(192, classes, 1, bias=True, **arguments(last, inputs="real", weights="real")),
        nn.AvgPool2d(8),
        nn.Flatten(),
    ]
    return nn.Sequential(*layers)
