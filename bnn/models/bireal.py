"""A small residual network with a real-valued shortcut around every binary convolution, as in Bi-Real Net."""

from collections.abc import Sequence
from itertools import count

from torch import Tensor, nn

from bnn.layers.binary import BinaryConv2d, BinaryLinear
from bnn.layers.quantizers import approx_sign
from bnn.models.arguments import POLICIES, LayerArguments, MakeMemory
from mtjsim.checks import ArgumentError, checked_choice, checked_whole

POOLS = {  # within the network, at its end
    "average": (nn.AvgPool2d, nn.AdaptiveAvgPool2d),
    "max": (nn.MaxPool2d, nn.AdaptiveMaxPool2d),
}


class BiRealBlock(nn.Module):
    """x -> shortcut(x) + BatchNorm(convolution(sign(x))).

    Parameters
    ----------
    convolution : BinaryConv2d
        With a stride of 2 the side is halved.
    shortcut : Module or None
        Maps the real values to the shape of the convolution's outputs; None if they have it.
    """

    def __init__(self, convolution: BinaryConv2d, shortcut: nn.Module | None = None) -> None:
        super().__init__()
        self.convolution = convolution
        self.norm = nn.BatchNorm2d(convolution.weight.shape[0])
        self.shortcut = nn.Identity() if shortcut is None else shortcut

    def forward(self, x: Tensor) -> Tensor:
        """Map x, shape (n, channels, h, w), to shape (n, channels', h', w')."""
        return self.shortcut(x) + self.norm(self.convolution(x))


def bireal(
    classes: int = 10,
    *,
    seed: int,
    widths: Sequence[int] = (64, 128, 256),
    blocks: int = 2,
    inputs: int = 3,
    stem: str = "full",
    pool: str = "average",
    first: str = "real",
    last: str = "real",
    activation_memory: MakeMemory | None = None,
    weight_memory: MakeMemory | None = None,
) -> nn.Sequential:
    """Build a small residual network for 32 x 32 images: one shortcut for each binary 3x3 convolution, as in [1].

    Parameters
    ----------
    classes : int
    seed : int, >= 0
        Of the initial weights and of the memories' streams.
    widths : sequence of int
        Channels of each stage. Every stage but the first halves the side.
    blocks : int, >= 1
        Convolutions, each with its shortcut, of a stage.
    inputs : int
        Channels of the image.
    stem : {"full", "quarter"}
        Side of the first stage: that of the image, after a 3x3 convolution, or a quarter of it, after a 5x5 convolution
        with a stride of 2 and a max pool 2/2. The second trains in a fraction of the time.
    pool : {"average", "max"}
        The pools: 2/2 on the shortcuts between stages, and of all places before the last layer; average in [1].
    first : {"real", "binary"}
        Weights of the first convolution; its inputs are real. The 1x1 convolutions on the shortcuts between stages are
        real.
    last : {"real", "binary"}
        Weights and inputs of the last layer: real pooled values, or their signs after a BatchNorm, from a memory.
    activation_memory, weight_memory : callable, optional
        ``activation_memory(seed=child)`` makes the memory of one layer. None: activations (weights) are without errors.

    Returns
    -------
    Sequential
        Images, shape (n, inputs, side, side) -> logits, shape (n, classes).

    Raises
    ------
    ValueError
        For no stage, no block, an unknown stem, pool or policy, or an invalid seed.

    Notes
    -----
    Only signs are written to the memories: the sums on the shortcuts are real values without errors. The gradient of
    the inputs' sign is `approx_sign`'s, as in [1]. Between stages the shortcut is a pool 2/2, a real 1x1 convolution
    and a BatchNorm. Max pools are the only steps on the way of the real values that are not linear.

    References
    ----------
    .. [1] Liu, Wu, Luo, Yang, Liu, Cheng, "Bi-Real Net", arXiv:1808.00278 (2018).
    """
    checked_choice("stem", stem, ("full", "quarter"))
    checked_choice("pool", pool, POOLS)
    checked_choice("first", first, POLICIES)
    checked_choice("last", last, POLICIES)
    if not widths:
        raise ArgumentError("widths", "must name at least one stage, got none.")
    checked_whole("blocks", blocks, least=1)
    arguments = LayerArguments(seed, len(widths) * (blocks + 1) + 1, activation_memory, weight_memory)
    number = count()
    channels = widths[0]
    side, stride = (3, 1) if stem == "full" else (5, 2)
    given = arguments(next(number), inputs="real", weights=first)
    layers: list[nn.Module] = [BinaryConv2d(inputs, channels, side, stride=stride, padding=side // 2, **given)]
    if stem == "quarter":
        layers.append(nn.MaxPool2d(2))
    layers.append(nn.BatchNorm2d(channels))
    for stage, width in enumerate(widths):
        for block in range(blocks):
            halves = stage > 0 and block == 0
            shortcut, given = None, arguments(next(number), input_quantizer=approx_sign)
            if halves:
                projection = BinaryConv2d(channels, width, 1, **arguments(next(number), inputs="real", weights="real"))
                shortcut = nn.Sequential(POOLS[pool][0](2), projection, nn.BatchNorm2d(width))
            convolution = BinaryConv2d(channels, width, 3, stride=2 if halves else 1, padding=1, **given)
            layers.append(BiRealBlock(convolution, shortcut))
            channels = width
    layers += [POOLS[pool][1](1), nn.Flatten()]
    if last == "real":
        end = arguments(next(number), inputs="real", weights="real")
        return nn.Sequential(*layers, BinaryLinear(channels, classes, bias=True, **end))
    end = arguments(next(number))
    layers += [nn.BatchNorm1d(channels), BinaryLinear(channels, classes, **end), nn.BatchNorm1d(classes)]
    return nn.Sequential(*layers)
