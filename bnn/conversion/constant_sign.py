"""Signs that say nothing: a ReLU directly before a binary layer makes all its bits +1.

The graph of the model is traced, and followed back from each binary layer, through what keeps a sign (pooling,
reshaping, dropout, concatenation, sums), to a function whose values are >= 0.
"""

import copy
import warnings
from collections.abc import Collection

import torch
from torch import fx, nn

NONNEGATIVE = (nn.ReLU, nn.ReLU6, nn.Sigmoid, nn.Hardsigmoid, nn.Softplus)
KEEPS_SIGN = (
    *(nn.Identity, nn.Flatten, nn.Unflatten, nn.Dropout, nn.Dropout2d),
    *(nn.MaxPool1d, nn.MaxPool2d, nn.AvgPool1d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d),
)
NONNEGATIVE_CALLS = {"relu", "relu_", "relu6", "sigmoid", "hardsigmoid", "softplus", "softmax", "abs", "square", "exp"}
KEEPS_SIGN_CALLS = {
    *("flatten", "view", "reshape", "contiguous", "permute", "transpose", "squeeze", "unsqueeze", "clone", "mean"),
    *("max_pool1d", "max_pool2d", "avg_pool2d", "adaptive_avg_pool2d", "adaptive_max_pool2d", "dropout", "dropout2d"),
}
JOINS = {"cat", "concat", "add", "add_", "iadd"}


class DroppedActivation(nn.Identity):
    """Stands where an activation function stood whose place a sign has taken."""

    def __init__(self, dropped: str) -> None:
        super().__init__()
        self.dropped = dropped

    def extra_repr(self) -> str:
        """Show what stood here in the printed model."""
        return f"{self.dropped}, the sign of the next layer takes its place"


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return m.__module__ in ("bnn.layers.binary", "bnn.layers.dropout") or super().is_leaf_module(
            m, module_qualified_name
        )


def traced(model: nn.Module) -> fx.Graph | Exception:
    """Return the graph of the model's calls, or why it cannot be traced."""
    try:
        with torch.random.fork_rng(devices=[]):  # tracing runs the model's code
            return _Tracer().trace(copy.deepcopy(model))
    except Exception as error:  # whatever the model's code raises when it is not given numbers
        return error


def call_order(graph: fx.Graph | Exception, names: list[str]) -> list[str]:
    """Return the names of the layers that are called, in that order; as they are, if none is known to be."""
    nodes = () if isinstance(graph, Exception) else graph.nodes
    calls = [node.target for node in nodes if node.op == "call_module" and node.target in names]
    return list(dict.fromkeys(calls)) or names


def drop_activations(model: nn.Module, graph: fx.Graph | Exception, layers: Collection[str], policy: str) -> set[str]:
    """See to it that no sign of one of the `layers` is constant, in place; see `bnn.convert.binarize`.

    Parameters
    ----------
    model : Module
    graph : Graph or Exception
        From `traced`.
    layers : names
        Of the layers that will begin with a sign.
    policy : {"drop", "norm", "refuse", "keep"}

    Returns
    -------
    set of names
        With "norm", the layers that need a BatchNorm before them.

    Raises
    ------
    ValueError
        With "refuse", for a sign that would be constant.

    Warns
    -----
    UserWarning
        For a sign that stays constant, or if the graph is not known.
    """
    if isinstance(graph, Exception):
        if layers:
            warnings.warn(
                f"the model cannot be traced ({type(graph).__name__}: {graph}), so nobody has looked whether the input "
                "of a binary layer comes from a ReLU, which would make all its bits +1.",
                stacklevel=3,
            )
        return set()
    droppable: set[str] = set()
    needy: set[str] = set()
    for node in graph.nodes:
        found = _sources(model, node.args[0] if node.args else None) if _is_call_of(node, layers) else None
        if found and policy == "norm":
            needy.add(str(node.target))
            continue
        for source in found or ():
            free = policy == "drop" and _drops(model, graph, source, layers)
            if free:
                droppable.add(str(source.target))
                continue
            text = (
                f"the sign of layer {node.target!r} is +1 throughout: its input comes from {_shown(model, source)}, "
                'whose values are >= 0. Use activation="norm", leave that function out, or exclude the layer.'
            )
            if policy == "refuse":
                raise ValueError(text)
            warnings.warn(text, stacklevel=3)
    for name in droppable:
        former = model.get_submodule(name)
        stand_in = DroppedActivation(repr(former))
        for parent in list(model.modules()):
            for key, child in parent._modules.items():
                if child is former:
                    parent._modules[key] = stand_in
    return needy


def _is_call_of(node: fx.Node, layers: Collection[str]) -> bool:
    return node.op == "call_module" and node.target in layers


def _is(model: nn.Module, node: fx.Node, types: tuple[type, ...], calls: set[str]) -> bool:
    if node.op == "call_module":
        return isinstance(model.get_submodule(str(node.target)), types)
    return node.op in ("call_function", "call_method") and _called(node) in calls


def _called(node: fx.Node) -> str:
    return node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")


def _joined(node: fx.Node) -> list[object]:
    inputs = node.args[0] if node.args and isinstance(node.args[0], (list, tuple)) else node.args
    return list(inputs)


def _sources(model: nn.Module, node: object) -> list[fx.Node] | None:
    """Return the nodes that make the values of `node` >= 0; None if they may be negative."""
    if not isinstance(node, fx.Node):
        return [] if isinstance(node, (int, float)) and node >= 0 else None
    if _is(model, node, NONNEGATIVE, NONNEGATIVE_CALLS):
        return [node]
    if _is(model, node, KEEPS_SIGN, KEEPS_SIGN_CALLS) and node.args:
        return _sources(model, node.args[0])
    if _is(model, node, (), JOINS):
        found = [_sources(model, value) for value in _joined(node) if isinstance(value, (fx.Node, float))]
        if not any(part is None for part in found):
            return [source for part in found for source in part or ()]
    return None


def _drops(model: nn.Module, graph: fx.Graph, source: fx.Node, layers: Collection[str]) -> bool:
    """Whether `source` is a module that nothing reads but the signs of `layers`."""
    if source.op != "call_module":
        return False
    calls = [node for node in graph.nodes if node.op == "call_module" and node.target == source.target]
    return all(_only_signs_read(model, call, layers) for call in calls)


def _only_signs_read(model: nn.Module, node: fx.Node, layers: Collection[str]) -> bool:
    def passes(user: fx.Node) -> bool:
        kept = _is(model, user, KEEPS_SIGN, KEEPS_SIGN_CALLS | JOINS) and _sources(model, user) is not None
        return _is_call_of(user, layers) or (kept and _only_signs_read(model, user, layers))

    return bool(node.users) and all(passes(user) for user in node.users)


def _shown(model: nn.Module, source: fx.Node) -> str:
    if source.op == "call_module":
        return f"{str(source.target)!r} ({type(model.get_submodule(str(source.target))).__name__})"
    return f"{_called(source)}()"
