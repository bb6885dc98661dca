"""One training in several processes: each takes its part of every batch, and all hold the same weights.

Without `torch.distributed` there is one process, and every function here is the identity.
"""

from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


def rank() -> int:
    """Number of this process, from 0."""
    return dist.get_rank() if _several() else 0


def world() -> int:
    """How many processes train together."""
    return dist.get_world_size() if _several() else 1


def part_of(batch: Tensor) -> Tensor:
    """Return this process's part of a batch; the parts are equal within one."""
    return batch.tensor_split(world())[rank()]


def parallel(model: nn.Module) -> nn.Module:
    """Return the model as it is called in training: gradients are averaged over the processes."""
    if not _several():
        return model
    # Buffers are not broadcast: those of a memory are the cells of this process's own array.
    return nn.parallel.DistributedDataParallel(model, broadcast_buffers=False)


def summed(value: Tensor) -> Tensor:
    """Return the sum over all processes."""
    if _several():
        value = value.clone()
        dist.all_reduce(value)
    return value


@torch.no_grad()
def average_batch_norm(model: nn.Module) -> None:
    """Make the running statistics of every BatchNorm their mean over the processes, in place."""
    if not _several():
        return
    for module in model.modules():
        if isinstance(module, _BatchNorm) and module.running_mean is not None and module.running_var is not None:
            for statistics in (module.running_mean, module.running_var):
                dist.all_reduce(statistics)
                statistics /= world()


def from_first(value: float | None) -> float | None:
    """Return the number that process 0 has; the others may pass None."""
    if not _several():
        return value
    shared = [value]
    dist.broadcast_object_list(shared)
    return shared[0]


def check_same(what: str, number: int, way_out: str) -> None:
    """ValueError, in all processes, unless all of them have the same number."""
    if not _several():
        return
    numbers: list[int] = [0] * world()
    dist.all_gather_object(numbers, number)
    if len(set(numbers)) > 1:
        raise ValueError(f"{what} must be of the same step in every process, got {numbers}. {way_out}")


def own_file(path: Path) -> Path:
    """Return the file of this process: `path` itself for the first, `run.rank1.pt` beside `run.pt` for the second."""
    return path if rank() == 0 else path.with_name(f"{path.stem}.rank{rank()}{path.suffix}")


def _several() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
