"""Why logits are not finite, or images do not fit: the layer and the image."""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from bnn.counting.logits import checked_logits
from bnn.evaluation.draws import error_draws
from mtjsim.checks import ArgumentError


def first_non_finite(model: nn.Module, images: Tensor, logits: Tensor, *, first: int = 0) -> str:
    """Return which layer's output is not finite first, and for which image; runs the images of `logits` again."""
    image = first + int((~logits.isfinite()).any(dim=1).nonzero()[0])
    return f"the output of {first_non_finite_layer(model, images) or 'the model'} is not finite for image {image}"


def first_non_finite_layer(model: nn.Module, images: Tensor) -> str | None:
    """Return the name of the first layer whose output is not finite, in a forward pass; None if all are."""
    found: list[str] = []

    def look(name: str) -> Callable[..., None]:
        def note(module: nn.Module, inputs: object, output: object) -> None:
            if isinstance(output, Tensor) and not output.isfinite().all():
                found.append(name)

        return note

    hooks = [module.register_forward_hook(look(name)) for name, module in model.named_modules() if name]
    try:
        model(images)
    finally:
        for hook in hooks:
            hook.remove()
    return found[0] if found else None


class MisfitError(ArgumentError, RuntimeError):
    """Images that do not fit the model; also a RuntimeError, which is what torch raises."""


@torch.no_grad()
def check_fits(model: nn.Module, argument: str, images: Tensor) -> None:
    """Run the first image through the model in evaluation mode, without memories, and check its logits.

    Parameters
    ----------
    model : Module
        Copied; torch's random state is left as it was.
    argument : str
        Name of the images, for the message.
    images : Tensor, (n, ...)

    Raises
    ------
    ValueError
        For images that do not fit the model, or outputs that are no logits.
    """
    model = copy.deepcopy(model)  # a forward pass may change a module of the user's
    with error_draws(model, None, None, seed=0), torch.random.fork_rng(devices=[]):
        try:
            logits = model(images[:1].clone())
        except RuntimeError as error:
            found = f"shape {tuple(images.shape[1:])}, {images.dtype}: {str(error).splitlines()[0]}"
            raise MisfitError(argument, f"must have images that fit the model, got {found}") from error
        checked_logits(logits, images[:1])
