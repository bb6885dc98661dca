"""Layers and memories under torch's transforms of a model.

In a graph of `torch.fx` each is one node. Memories are outside of compiled graphs, refused in exports and in
`torch.func`: a write is numbered, drawn and counted in Python, and a graph that is traced once would repeat one draw
for ever.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from torch import Tensor, fx

Forward = Callable[[Any, Tensor], Tensor]


def exported() -> bool:
    """Whether a graph is made to run elsewhere: by `torch.export`, an ONNX exporter or `torch.jit.trace`."""
    return torch.compiler.is_exporting() or torch.jit.is_tracing()


@torch._disable_dynamo  # as torch.compiler.disable, but without an import of seconds
def _in_eager(forward: Forward, module: Any, x: Tensor) -> Tensor:
    return forward(module, x)


def one_node(forward: Forward) -> Forward:
    """Decorate a forward that is one call in a graph of `torch.fx`, like those of torch's own layers.

    Its gradient, its draws and its mode are then those of the layer whenever the graph runs. A subclass with a forward
    of its own is followed into.
    """

    @wraps(forward)
    def recorded(module: Any, x: Tensor) -> Tensor:
        if isinstance(x, fx.Proxy) and type(module).forward is recorded:
            tracer: Any = x.tracer
            return tracer.create_proxy("call_module", tracer.path_of_module(module), (x,), {})
        return forward(module, x)

    return recorded


def drawn(forward: Forward) -> Forward:
    """Decorate a forward that draws: a break in a compiled graph; RuntimeError where it would be traced once for all.

    Refused are `torch.export` and ONNX, `torch.jit.trace`, transforms of `torch.func`, and replicas of
    `nn.DataParallel`.
    """

    @wraps(forward)
    def guarded(module: Any, x: Tensor) -> Tensor:
        if exported():
            name = f"A {type(module).__name__}"
            raise RuntimeError(f"{name} cannot be exported or traced: it would repeat one draw. {_without(module)}.")
        if torch.compiler.is_compiling():
            return _in_eager(forward, module, x)
        if torch._C._are_functorch_transforms_active():
            name = f"A {type(module).__name__}"
            rule = f"{name} cannot be used in transforms of torch.func (grad, vmap, jvp): its draws are numbered"
            raise RuntimeError(f"{rule}. Use backward() or torch.autograd.grad, or an error-free model.")
        if module.__dict__.get("_is_replica"):  # faster than getattr of what is not there
            rule = f"A {type(module).__name__} cannot be used in nn.DataParallel: replicas would draw the same errors"
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
