"""Memories under torch's transforms of a model: outside of compiled graphs, refused in exports and in `torch.func`.

A write is numbered, drawn and counted in Python. A graph that is traced once would repeat one draw for ever.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from torch import Tensor

Forward = Callable[[Any, Tensor], Tensor]


@torch._disable_dynamo  # as torch.compiler.disable, but without an import of seconds
def _in_eager(forward: Forward, module: Any, x: Tensor) -> Tensor:
    return forward(module, x)


def drawn(forward: Forward) -> Forward:
    """Decorate a forward that draws: a break in a compiled graph; RuntimeError where it would be traced once for all.

    Refused are `torch.export` and ONNX, `torch.jit.trace`, transforms of `torch.func`, and replicas of
    `nn.DataParallel`.
    """

    @wraps(forward)
    def guarded(module: Any, x: Tensor) -> Tensor:
        name = f"A {type(module).__name__}"
        if torch.compiler.is_exporting() or torch.jit.is_tracing():
            raise RuntimeError(f"{name} cannot be exported or traced: it would repeat one draw. {_without(module)}.")
        if torch.compiler.is_compiling():
            return _in_eager(forward, module, x)
        if torch._C._are_functorch_transforms_active():
            rule = f"{name} cannot be used in transforms of torch.func (grad, vmap, jvp): its draws are numbered"
            raise RuntimeError(f"{rule}. Use backward() or torch.autograd.grad, or an error-free model.")
        if getattr(module, "_is_replica", False):
            rule = f"{name} cannot be used in nn.DataParallel: replicas would draw the same errors"
            raise RuntimeError(f"{rule}. Use torch.distributed, a process for each device.")
        return forward(module, x)

    return guarded


def _without(module: Any) -> str:
    if not hasattr(module, "error_rate_0"):
        return "Use model.eval()"
    slot = ', slot="weight_memory"' if module.of_weights else ""
    return f"Leave the memories out, within bnn.memories(model, lambda name, index: None{slot})"


def refuse_script(module: Any) -> Any:
    """Raise RuntimeError: `torch.jit.script` calls this as `__prepare_scriptable__`."""
    raise RuntimeError(
        f"A {type(module).__name__} cannot be scripted. Use torch.export.export, or torch.jit.trace, without memories."
    )
