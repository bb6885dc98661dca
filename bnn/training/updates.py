"""Updates of a step: the optimizers of a training, and gradients that are clipped before them."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from bnn.layers.latent import clip_latent_
from bnn.training.config import TrainConfig
from mtjsim.checks import ArgumentError

MakeOptimizers = Callable[[nn.Module, TrainConfig], torch.optim.Optimizer | Sequence[torch.optim.Optimizer]]


def made_optimizers(model: nn.Module, config: TrainConfig, make: MakeOptimizers | None) -> list[torch.optim.Optimizer]:
    """Return the optimizers; ArgumentError unless they change parameters of the model, and nothing else."""
    rule = "must be a function (model, config) that returns an Optimizer, or several"
    try:
        made = (make or _adam)(model, config)
    except TypeError as error:
        raise ArgumentError("optimizer", f"{rule}; called so, it raised {error!r}.") from error
    optimizers: list[Any] = list(made) if isinstance(made, (list, tuple)) else [made]
    if not optimizers or not all(isinstance(optimizer, torch.optim.Optimizer) for optimizer in optimizers):
        raise ArgumentError("optimizer", f"{rule}, got {made!r}.")
    own = {id(parameter) for parameter in model.parameters()}
    for optimizer in optimizers:
        if isinstance(optimizer, torch.optim.LBFGS):
            raise ArgumentError("optimizer", f"{rule}; not an LBFGS, which runs a batch several times a step.")
        given = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        if others := sum(id(parameter) not in own for parameter in given):
            rule = "must have parameters of the model that it is called with"
            got = f"got {others} of {len(given)} that are others (bnn.binarize returns a copy)"
            raise ArgumentError("optimizer", f"{rule}, {got}.")
    return optimizers


def clip_gradients_(model: nn.Module, largest: float) -> None:
    """Scale the gradients of all parameters to a common norm of at most `largest`, in place.

    The factor is torch's, largest / (norm + 1e-6). A norm that is not finite is left to the diagnosis: scaled, every
    gradient would be NaN, and the layer where it began could not be named.
    """
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    norm = torch.nn.utils.get_total_norm(gradients)
    if norm.isfinite():
        torch.nn.utils.clip_grads_with_norm_(model.parameters(), largest, norm)


@torch.no_grad()
def clip_weights_(model: nn.Module, largest: float | None) -> None:
    """Clip latent weights to [-1, 1]; with `largest`, also every weight and BatchNorm scale to +-`largest`, in place.

    The scale of a BatchNorm is what makes the logits of a binary network larger. Where it is limited, the loss falls
    only by more bits that agree: this is weight clipping against bit errors [1], taken to binary weights.

    References
    ----------
    .. [1] Stutz, Chandramoorthy, Hein, Schiele, arXiv:2104.08323 (2021), for quantized weights.
    """
    clip_latent_(model)
    if largest is None:
        return
    for name, parameter in model.named_parameters():
        if "bias" not in name.rpartition(".")[2] and parameter.requires_grad:
            parameter.clamp_(-largest, largest)


def _adam(model: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    return torch.optim.Adam(model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True)
