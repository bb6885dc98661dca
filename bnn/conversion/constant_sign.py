"""Constant signs: a ReLU directly before a binary layer makes all its bits +1.

The graph of the model is followed back from each binary layer, through what keeps a sign (pooling, reshaping, dropout,
concatenation, sums, products), to a function whose values are >= 0. A list of functions is never complete:
`example_bits.py` finds every constant sign from images, in any model.
"""

from collections.abc import Collection

from torch import fx, nn

from bnn.layers.dropout import SeededDropout
from bnn.layers.graph import UntraceableError, called_layers

NONNEGATIVE = (nn.ReLU, nn.Sigmoid, nn.Hardsigmoid, nn.Softplus, nn.Softmax, nn.Softmax2d)
KEEPS_SIGN = (
    *(nn.Identity, nn.Flatten, nn.Unflatten, nn.Dropout, nn.Dropout1d, nn.Dropout2d, SeededDropout),
    *(nn.MaxPool1d, nn.MaxPool2d, nn.AvgPool1d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d),
    *(nn.Upsample, nn.PixelShuffle, nn.ChannelShuffle, nn.ZeroPad2d, nn.ReflectionPad2d, nn.ReplicationPad2d),
)
NONNEGATIVE_CALLS = {
    *("relu", "relu_", "relu6", "sigmoid", "hardsigmoid", "softplus", "softmax", "abs", "square", "exp", "norm"),
}
KEEPS_SIGN_CALLS = {
    *("flatten", "view", "reshape", "contiguous", "permute", "transpose", "squeeze", "unsqueeze", "clone", "mean"),
    *("max_pool1d", "max_pool2d", "avg_pool2d", "adaptive_avg_pool2d", "adaptive_max_pool2d", "dropout", "dropout2d"),
    *("chunk", "split", "tensor_split", "unbind", "getitem", "select", "narrow", "sum", "amax", "amin", "sqrt"),
    *("expand", "expand_as", "repeat", "tile", "roll", "flip", "detach", "movedim", "interpolate", "pixel_shuffle"),
}
JOINS = {"cat", "concat", "stack", "add", "add_", "iadd"}
PRODUCTS = {"mul", "mul_", "imul", "truediv", "div", "matmul", "bmm"}


def is_nonnegative(module: nn.Module) -> bool:
    """Whether all values that a module returns are >= 0."""
    if isinstance(module, nn.Hardtanh):  # ReLU6 among them
        return module.min_val >= 0
    if isinstance(module, nn.Threshold):
        return min(module.threshold, module.value) >= 0
    return isinstance(module, NONNEGATIVE)


class DroppedActivation(nn.Identity):
    """In place of an activation function that was dropped because a sign follows."""

    def __init__(self, dropped: str) -> None:
        super().__init__()
        self.dropped = dropped

    def extra_repr(self) -> str:
        """Show the former function in the printed model."""
        return f"{self.dropped}, the sign of the next layer takes its place"


def constant_signs(
    model: nn.Module, graph: fx.Graph | UntraceableError, layers: Collection[str], policy: str
) -> tuple[set[str], set[str], list[str]]:
    """Find what keeps the signs of `layers` from being constant; see `activation` of `bnn.binarize`.

    Parameters
    ----------
    model : Module
    graph : Graph or UntraceableError
        From `traced`.
    layers : names
        Of the layers that will begin with a sign, in order.
    policy : {"drop", "norm", "refuse", "keep"}

    Returns
    -------
    activations : set of names
        With "drop", those that the sign of a layer replaces.
    without_norm : set of names
        With "norm", the layers that need a BatchNorm before them; all, if the model cannot be traced.

    warned : list of str
        A warning for each sign that stays constant, or if the model cannot be traced.

    Raises
    ------
    ValueError
        With "refuse", for a sign that would be constant, or if the model cannot be traced.
    """
    activations: set[str] = set()
    without_norm: set[str] = set()
    warned: list[str] = []
    if isinstance(graph, UntraceableError):
        text = (
            f"{graph}, so it was not checked whether the input of a binary layer comes from a ReLU, which would make "
            "all its bits +1. Pass example=images."
        )
        if layers and policy == "refuse":
            raise ValueError(text)
        if policy == "norm":
            return activations, set(layers), warned
        return activations, without_norm, [text] if layers else []
    for name, node in called_layers(graph):
        found = _sources(model, node.args[0] if node.args else None) if name in layers else None
        if found and policy == "norm":
            without_norm.add(name)
            continue
        dropped = [s for s in found or () if policy == "drop" and _drops(model, graph, s, layers)]
        activations.update(str(source.target) for source in dropped)
        left = list(dict.fromkeys(_shown(model, source) for source in found or () if source not in dropped))
        if left:
            text = (
                f"the sign of layer {name!r} is +1 throughout: its input comes from {' and '.join(left)}, "
                'whose values are >= 0. Use activation="norm", leave that out, or exclude the layer.'
            )
            if policy == "refuse":
                raise ValueError(text)
            warned.append(text)
    return activations, without_norm, warned


def _is(model: nn.Module, node: fx.Node, types: tuple[type, ...], calls: set[str]) -> bool:
    if node.op == "call_module":
        return isinstance(model.get_submodule(str(node.target)), types)
    return node.op in ("call_function", "call_method") and _called(node) in calls


def _called(node: fx.Node) -> str:
    return node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")


def _joined(node: fx.Node) -> list[object]:
    inputs = node.args[0] if node.args and isinstance(node.args[0], (list, tuple)) else node.args
    return list(inputs)


def _bounded(model: nn.Module, node: fx.Node) -> bool:
    """Whether a module is one of values >= 0, or a call has arguments that make its values so."""
    if node.op == "call_module":
        return is_nonnegative(model.get_submodule(str(node.target)))
    given = [*node.args[1:2], *(node.kwargs[name] for name in ("min", "min_val", "exponent") if name in node.kwargs)]
    number = given[0] if given and isinstance(given[0], (int, float)) else -1
    if _is(model, node, (), {"pow"}):
        return number >= 0 and number % 2 == 0
    return _is(model, node, (), {"clamp", "clamp_", "clip", "clamp_min", "hardtanh"}) and number >= 0


def _sources(model: nn.Module, node: object) -> list[fx.Node] | None:
    """Return the nodes that make the values of `node` >= 0; None if they may be negative."""
    if not isinstance(node, fx.Node):
        return [] if isinstance(node, (int, float)) and node >= 0 else None
    if _is(model, node, (), NONNEGATIVE_CALLS) or _bounded(model, node):
        return [node]
    if _is(model, node, KEEPS_SIGN, KEEPS_SIGN_CALLS) and node.args:
        return _sources(model, node.args[0])
    if _is(model, node, (), JOINS | PRODUCTS):
        numbers = _is(model, node, (), PRODUCTS)  # of cat, an integer is the dimension
        kinds = (fx.Node, float, int) if numbers else (fx.Node, float)
        found = [_sources(model, value) for value in _joined(node) if isinstance(value, kinds)]
        if not any(part is None for part in found):
            return [source for part in found for source in part or ()]
    return None


def _drops(model: nn.Module, graph: fx.Graph, source: fx.Node, layers: Collection[str]) -> bool:
    """Whether `source` is a module of which only the signs of `layers` read the output."""
    calls = [node for name, node in called_layers(graph) if source.op == "call_module" and name == source.target]
    return bool(calls) and all(_only_signs_read(model, call, layers) for call in calls)


def _only_signs_read(model: nn.Module, node: fx.Node, layers: Collection[str]) -> bool:
    def passes(user: fx.Node) -> bool:
        scaled = _is(model, user, (), PRODUCTS) and sum(isinstance(value, fx.Node) for value in user.args) == 1
        kept = scaled or _is(model, user, KEEPS_SIGN, KEEPS_SIGN_CALLS | JOINS)
        kept = kept and _sources(model, user) is not None
        signed = user.op == "call_module" and user.target in layers
        return signed or (kept and _only_signs_read(model, user, layers))

    return bool(node.users) and all(passes(user) for user in node.users)


def _shown(model: nn.Module, source: fx.Node) -> str:
    if source.op == "call_module":
        return f"{str(source.target)!r} ({type(model.get_submodule(str(source.target))).__name__})"
    return f"{_called(source)}()"
