"""One training in several processes: each takes its part of every batch, and all have the same weights.

Without `torch.distributed` there is one process, and every function here is the identity.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from bnn.training.identity import Parts, difference
from bnn.training.tensor_words import running_statistics
from mtjsim.checks import ArgumentError


def rank() -> int:
    """Return the number of this process, from 0."""
    return dist.get_rank() if _several() else 0


def world() -> int:
    """Return how many processes train together."""
    return dist.get_world_size() if _several() else 1


def part_of(batch: Tensor) -> Tensor:
    """Return this process's part of a batch; the parts are equal within one."""
    return batch.tensor_split(world())[rank()]


@torch.no_grad()
def average_gradients(model: nn.Module) -> None:
    """Make every gradient its mean over the processes, in place: one message a step."""
    if not _several():
        return
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    flat = torch.cat([parameter.grad.flatten() for parameter in parameters if parameter.grad is not None])
    dist.all_reduce(flat)
    flat /= world()
    for parameter, mean in zip(parameters, flat.split([p.numel() for p in parameters]), strict=True):
        assert parameter.grad is not None
        parameter.grad.copy_(mean.view_as(parameter))


def require_equal(parts: Callable[[], Parts]) -> None:
    """ValueError, in all processes, unless all have the same parts of a training: each takes its part of a batch."""
    if not _several():
        return
    first, *others = gathered(parts())
    for other in others:
        for name in (*first, *other):
            if first.get(name) != other.get(name):
                got = " and ".join(difference(str(first.get(name)), str(other.get(name))))
                remedy = "Give each the whole training: the same model, images and config."
                raise ArgumentError(name, f"must be the same in every process, got {got}. {remedy}")


def summed(value: Tensor) -> Tensor:
    """Return the sum over all processes."""
    if _several():
        value = value.clone()
        dist.all_reduce(value)
    return value


@torch.no_grad()
def average_batch_norm(model: nn.Module) -> None:
    """Make the running statistics of every BatchNorm layer of any kind, their mean over the processes, in place."""
    if not _several():
        return
    for module in model.modules():
        for statistics in running_statistics(module).values():
            dist.all_reduce(statistics)
            statistics /= world()


def from_first(value: float | str | None) -> float | str | None:
    """Return the value that process 0 has; the others may pass None."""
    if not _several():
        return value
    shared = [value]
    dist.broadcast_object_list(shared)
    return shared[0]


def gathered(value: Any) -> list[Any]:
    """Return the value of each process, in all of them, once all have come here."""
    if not _several():
        return [value]
    values: list[Any] = [None] * world()
    dist.all_gather_object(values, value)
    return values


def all_passed(passed: bool) -> bool:
    """Whether a check passed in every process."""
    return all(gathered(passed))


def any_of(flag: bool, device: torch.device) -> bool:
    """Whether a flag is set in any process: a message without pickling, for every step."""
    return flag if not _several() else bool(summed(torch.tensor(int(flag), device=device)))


def own_file(path: Path) -> Path:
    """Return the file of this process: `path` itself for the first; for `run.pt`, the second has `run.rank1.pt`."""
    return path if rank() == 0 else path.with_name(f"{path.stem}.rank{rank()}{path.suffix}")


def _several() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
