"""The graph of a model's calls, as `torch.fx` traces it."""

import copy

import torch
from torch import fx, nn

from bnn.layers.dropout import SeededDropout

IDENTITIES = (  # layers that return their input in evaluation mode
    *(nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.AlphaDropout, SeededDropout),
)


class UntraceableError(ValueError):
    """The model's forward cannot be followed: it branches on values, for example."""


def is_compiled(model: nn.Module) -> bool:
    """Whether a module of the model was compiled, by `torch.compile` or its own `compile`."""
    return any(hasattr(m, "_orig_mod") or getattr(m, "_compiled_call_impl", None) for m in model.modules())


def eager_copy(model: nn.Module) -> nn.Module:
    """Return a copy of which no module is compiled, named as before `torch.compile`."""
    whole = nn.ModuleDict({"model": copy.deepcopy(model)})  # without what `compile` of a module made
    for parent in list(whole.modules()):
        for key, child in parent._modules.items():
            parent._modules[key] = getattr(child, "_orig_mod", child)
    return whole["model"]


def traced(model: nn.Module) -> fx.Graph | UntraceableError:
    """Trace the calls of a model's layers, on a copy of it and with a copy of torch's random state.

    Returns
    -------
    Graph
        Its nodes name the layers as `model` does.
    UntraceableError
        If the model cannot be traced: not raised, since not every caller needs the graph.

    Examples
    --------
    >>> [node.target for node in traced(nn.Sequential(nn.Flatten(), nn.Linear(4, 2))).nodes]
    ['input', '0', '1', 'output']
    """
    try:
        with torch.random.fork_rng(devices=[]):  # tracing runs the model's code
            return fx.Tracer().trace(copy.deepcopy(model))
    except Exception as error:  # the model's code may raise anything when its input has no values
        return UntraceableError(f"the model's forward cannot be followed ({type(error).__name__}: {error})")


def called_layers(graph: fx.Graph) -> list[tuple[str, fx.Node]]:
    """Return each call of a layer, in order: the layer's name, and the node."""
    return [(str(node.target), node) for node in graph.nodes if node.op == "call_module"]


def call_order(graph: fx.Graph | UntraceableError, names: list[str]) -> list[str]:
    """Return those of the layers `names` that are called, in order; `names` itself if the graph has none of them."""
    calls = [] if isinstance(graph, UntraceableError) else [name for name, _ in called_layers(graph) if name in names]
    return list(dict.fromkeys(calls)) or names
