"""The first forward pass of a training: what is checked with its logits, before any update."""

import warnings
from collections.abc import Mapping

from torch import Tensor, nn

from bnn.counting.logits import checked_logits
from bnn.evaluation.logits import check_fits
from bnn.layers.constant_bits import bits_of_eager_copy, constant_layers, watched_bits
from bnn.layers.graph import is_compiled


def first_logits(model: nn.Module, x: Tensor, labels: Mapping[str, Tensor], *, stacklevel: int) -> Tensor:
    """Return the logits of the first batch; images, labels and signs are checked with them.

    Parameters
    ----------
    model : Module
    x : Tensor
        The images.
    labels : mapping of str to Tensor
        All labels of the training, by argument.
    stacklevel : int
        As for a warning of the caller's own; it is about a layer whose input bits are all alike.

    Raises
    ------
    ValueError
        For images that do not fit the model, outputs that are no logits, or labels that are no classes of it.
    """
    try:
        with bits_of_eager_copy(model, x) if is_compiled(model) else watched_bits(model) as found:
            logits = checked_logits(model(x), x)
    except RuntimeError:
        check_fits(model, "train", x)
        raise
    for argument, classes in labels.items():
        checked_logits(logits, x, classes, argument=argument)
    for text in constant_layers(found).values():
        remedy = "Put a BatchNorm before it, or see activation= of bnn.binarize."
        warnings.warn(f"{text}, in the first batch. {remedy}", stacklevel=stacklevel + 1)
    return logits


def keep_frozen(model: nn.Module, frozen: list[nn.Module], *, stacklevel: int | None) -> None:
    """Put the modules that were in evaluation mode back into it; warn, unless `stacklevel` is None.

    They may be so by mistake.
    """
    forced = [module for module in frozen if module.training]
    for module in forced:
        module.training = False
    if forced and stacklevel is not None:
        names = [name for name, module in model.named_modules() if module in set(forced)]
        others = f" and {len(names) - 1} more modules" * (len(names) > 1)
        warnings.warn(
            f"{names[0]!r}{others} of the model are in evaluation mode, and stay in it. Call model.train() before "
            "fit() to train them too.",
            stacklevel=stacklevel + 1,
        )
