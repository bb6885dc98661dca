"""The graph of a model's calls, as `torch.fx` traces it."""

import copy

import torch
from torch import fx, nn

from bnn.layers.binary import BinaryLayer
from bnn.layers.dropout import SeededDropout
from bnn.layers.feature_norm import FeatureNorm

IDENTITIES = (  # layers that return their input in evaluation mode
    *(nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.AlphaDropout, SeededDropout),
)


class UntraceableError(ValueError):
    """The model's forward cannot be followed: it branches on values, for example."""


class _Tracer(fx.Tracer):
    """Stops at torch's own layers and at those of `bnn.layers`; follows everything else."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, (BinaryLayer, SeededDropout, FeatureNorm)) or super().is_leaf_module(
            m, module_qualified_name
        )


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
            return _Tracer().trace(copy.deepcopy(model))
    except Exception as error:  # the model's code may raise anything when its input has no values
        return UntraceableError(f"the model's forward cannot be followed ({type(error).__name__}: {error})")


def called_layers(graph: fx.Graph) -> list[tuple[str, fx.Node]]:
    """Return each call of a layer, in order: the layer's name, and the node."""
    return [(str(node.target), node) for node in graph.nodes if node.op == "call_module"]


def call_order(graph: fx.Graph | UntraceableError, names: list[str]) -> list[str]:
    """Return those of the layers `names` that are called, in order; `names` itself if the graph has none of them."""
    calls = [] if isinstance(graph, UntraceableError) else [name for name, _ in called_layers(graph) if name in names]
    return list(dict.fromkeys(calls)) or names
