"""From a torch model to a packed one: its graph becomes a list of steps, which are folded where that is exact."""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from bnn.layers.binary import BinaryConv2d, BinaryLayer, BinaryLinear, stored
from bnn.layers.feature_norm import FeatureNorm
from bnn.layers.graph import IDENTITIES, UntraceableError, eager_copy, traced
from bnn.layers.slots import activation_memories, weight_memories
from bnn.layers.ternary import DiscreteActivation
from bnn.layers.whole_model import copied_model
from bnn.packed.folding import fold, pair
from bnn.packed.predictor import PackedModel
from bnn.packed.steps import Step, packed_rows

BINARY = (BinaryLinear, BinaryConv2d)
WINDOW = ("stride", "padding", "dilation", "groups")
PRODUCT = ("forward", "finished", "_written_input", "_written_weight")  # of a binary layer, from input to output
FLATTEN = ("flatten", {"start_dim": 1, "end_dim": -1})


def pack(model: nn.Module) -> PackedModel:
    """Turn a model into a packed one, which predicts the same on bits.

    Parameters
    ----------
    model : Module
        A Sequential, or a module whose `forward` calls its layers and adds their results (a residual network), of
        `BinaryLinear`, `BinaryConv2d`, `TernaryLinear`, `TernaryConv2d`, Linear, Conv2d, BatchNorm1d and 2d, ReLU,
        Hardtanh, MaxPool2d, AvgPool2d, AdaptiveAvgPool2d, AdaptiveMaxPool2d, Flatten, Dropout and Identity. Left as it
        is.

    Returns
    -------
    PackedModel
        The model in evaluation mode, without its memories: errors are arguments of `PackedModel.evaluate_dies`.

    Raises
    ------
    ValueError
        For a layer of another kind, or with hooks or a forward of its own; a quantizer that is neither a sign nor
        ternary, a BatchNorm without running statistics, or a parameter that is not finite or not float32.
    TypeError
        For something else than a Module.

    Notes
    -----
    A product of bits with bits is an integer, the same in both (below 2^24, where float32 has every integer). The
    layers between it and the next sign are folded into a threshold if that gives torch's sign for every integer
    (`bnn/packed/folding.py`); all else is computed by torch, in the same order. Predictions are identical, and so are
    logits, to the last bit, as long as those of torch do not depend on the batch size: a *real* layer in front may
    round differently in batches of different size. Compare at equal `batch_size`.

    Examples
    --------
    >>> from bnn.models import mlp
    >>> model = mlp(seed=1).eval()
    >>> images = torch.linspace(-1.0, 1.0, 3 * 64).reshape(3, 1, 8, 8)
    >>> packed = pack(model)
    >>> bool((packed.predict(images) == model(images).argmax(dim=1).numpy()).all())
    True
    """
    copied = eager_copy(copied_model(model)).cpu().eval()
    copied.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    for name, values in copied.state_dict().items():
        if not isinstance(values, Tensor) or not values.is_floating_point():
            continue
        if values.dtype != torch.float32:
            raise ValueError(f"{name} must be float32, got {values.dtype}: use pack(model.float()).")
        if not values.isfinite().all():
            raise ValueError(f"{name} must be finite everywhere: this model has diverged.")
    for name, module in copied.named_modules():
        _check_plain(name, module)
    with torch.no_grad():
        return _Packing(copied).packed()


class _Packing:
    """The steps of one model."""

    def __init__(self, model: nn.Module) -> None:
        self.slots = {  # name -> number, in the order of the model
            "write": {name: number for number, name in enumerate(activation_memories(model))},
            "weight": {name: number for number, name in enumerate(weight_memories(model))},
        }
        self.root = nn.Sequential(model)  # so that a single layer is a layer of a model
        graph = traced(self.root)
        if isinstance(graph, UntraceableError):
            raise ValueError(f"{graph}. Build it of layers, without branches on values.")
        self.graph = graph
        self.steps: list[Step] = []
        self.signs: dict[tuple[int, float | None], int] = {}
        self.calls: Counter[int] = Counter()  # of each slot for activations
        self.at: dict[fx.Node, int] = {}

    def packed(self) -> PackedModel:
        """Follow the graph, fold, and leave out steps that are not used."""
        result = next(node for node in self.graph.nodes if node.op == "output").args[0]
        if not isinstance(result, fx.Node):
            raise ValueError(f"the model must return one tensor, got {type(result).__name__}.")
        for node in self.graph.nodes:  # in the order of use; size() and the like are not steps
            if node.op == "placeholder":
                self.at[node] = -1
            elif node.op in ("call_module", "call_function", "call_method") and not _is_shape(node):
                self.at[node] = self._node(node)
        output = self.at.get(result, -1)
        if output < 0:
            raise ValueError("the model must return the result of a layer, not its input or a part of a tensor.")
        return PackedModel(_needed(fold(self.steps, output), output))

    def _node(self, node: fx.Node) -> int:
        inputs = [self.at[argument] for argument in node.args if isinstance(argument, fx.Node) and argument in self.at]
        if _in_place(node, self.root) and isinstance(node.args[0], fx.Node) and len(node.args[0].users) > 1:
            raise ValueError(f"{node.name} works in place on a value that is used again: use the form that does not.")
        wanted = 2 if node.op != "call_module" and _function(node)[0] == "add" else 1
        if len(inputs) < wanted:
            rule = "takes a parameter, a part of a tensor or a size, which cannot be packed: only results of layers can"
            raise ValueError(f"{node.name} {rule}. Put it into a layer, or prepare the images with it.")
        if node.op != "call_module":
            op, options = _function(node)
            return self._add(op, inputs, options)
        module, name = self.root.get_submodule(str(node.target)), str(node.target).removeprefix("0").removeprefix(".")
        if isinstance(module, BINARY):
            return self._binary(name, module, inputs[0])
        if isinstance(module, IDENTITIES):
            return inputs[0]
        if type(module) not in LAYERS:
            kinds = ", ".join(kind.__name__ for kind in (*BINARY, *LAYERS, nn.Dropout, nn.Identity))
            problem = f"is a {type(module).__name__}, which cannot be packed"
            raise ValueError(f"layer {name!r} {problem}. These can: {kinds}.")
        op, options, tensors = LAYERS[type(module)](name, module)
        arrays = {key: tensor.detach().numpy() for key, tensor in tensors.items() if tensor is not None}
        return self._add(op, inputs[:1], options, arrays)

    def _add(self, op: str, inputs: Sequence[int], options: Any = None, arrays: Any = None) -> int:
        self.steps.append(Step(op, tuple(inputs), options or {}, arrays or {}))
        return len(self.steps) - 1

    def _binary(self, name: str, layer: BinaryLayer, x: int) -> int:
        """Add the steps of a binary layer: sign, memory, product, scale, bias."""
        if not isinstance(layer.dropout, (*IDENTITIES, type(None))):
            raise ValueError(f"dropout of {name!r} must do nothing in evaluation to be packed, got {layer.dropout!r}.")
        if layer.input_quantizer is not None:
            sign, options = self._sign(name, layer)
            key = x, options.get("threshold")
            if key not in self.signs:
                self.signs[key] = self._add(sign, [x], options)
            slot = self.slots["write"][name]
            self.calls[slot] += 1
            x = self._add("write", [self.signs[key]], {"layer": name, "slot": slot, "call": self.calls[slot] - 1})
        x = self._product(name, layer, x)
        last = {} if isinstance(layer, BinaryConv2d) else {"last": True}  # dimension of the outputs
        scale = layer.output_scale()
        if scale is not None:
            x = self._add("scale", [x], last, {"by": scale.numpy()})
        if layer.bias is not None:
            x = self._add("shift", [x], last, {"by": layer.bias.detach().numpy()})
        return x

    def _sign(self, name: str, layer: BinaryLayer) -> tuple[str, dict[str, Any]]:
        """Return the step of a layer's input quantizer."""
        quantizer = layer.input_quantizer
        if not isinstance(quantizer, DiscreteActivation):
            _check_sign(name, layer)
            return "sign", {}
        if quantizer.levels != 3:
            rule = "must be a sign or ternary to be packed"
            raise ValueError(f"input_quantizer of {name!r} {rule}, got {quantizer.levels} levels.")
        return "ternary", {"threshold": quantizer.threshold}

    def _product(self, name: str, layer: BinaryLayer, x: int) -> int:
        """Add the product: of bits if input and weights are bits and the window is a plain one; otherwise of floats."""
        conv = isinstance(layer, BinaryConv2d)
        window = {key: _plain(getattr(layer, key)) for key in WINDOW} if conv else {}
        plain = not conv or (window["dilation"] == window["groups"] == 1 and not isinstance(window["padding"], str))
        bits, binary = layer.input_quantizer is not None, layer.weight_quantizer is not None
        weight = layer.quantized_weight()
        levels = [layer.levels_of(quantizer) for quantizer in ("input_quantizer", "weight_quantizer")]
        if bits and not (binary and plain):
            x = self._add("unpack", [x], {"levels": 3} if levels[0] == 3 else {})
        if not binary:
            return self._add("conv2d" if conv else "linear", [x], window, {"weight": weight.numpy()})
        if not bool(((weight.abs() == 1) | ((weight == 0) & (levels[1] == 3))).all()):
            rule = (
                "must give +1 and -1, or three levels" if levels[1] <= 3 else "must have at most 3 levels to be packed"
            )
            raise ValueError(
                f"weight_quantizer of {name!r} {rule}, got other values: use ste_sign or DiscreteStates(3)."
            )
        options = {"layer": name, "slot": self.slots["weight"][name], "shape": list(weight.shape)}
        arrays = {"weight": packed_rows(stored(weight, levels[1]))}
        if not (bits and plain):
            ternary = {"levels": 3} if levels[1] == 3 else {}
            return self._add("signed", [x], {**options, **ternary, "window": window}, arrays)
        if conv:
            options["window"] = {key: pair(window[key]) for key in ("stride", "padding")}
        if levels == [2, 2]:
            return self._add("binary", [x], options, arrays)
        return self._add("gated", [x], {**options, "levels": levels}, arrays)


def _check_plain(name: str, module: nn.Module) -> None:
    """Refuse what torch would run besides the layers that steps are made of."""
    own = next((kind for kind in BINARY if isinstance(module, kind)), None)
    found = None
    if module._forward_hooks or module._forward_pre_hooks:
        found = "hooks"
    elif "forward" in vars(module) or (own and any(getattr(type(module), k) is not getattr(own, k) for k in PRODUCT)):
        found = "a forward of its own"
    if found is not None:
        whose = f"layer {name!r}, a {type(module).__name__}," if name else "the model"
        raise ValueError(f"{whose} has {found}, which a packed model would leave out. Remove it, or make it a layer.")


def _check_sign(name: str, layer: BinaryLayer) -> None:
    """Raise ValueError unless the quantizer of the input is the sign of each value, whatever the others are."""
    values = torch.tensor([-3.0, -1.0, -1e-30, -0.0, 0.0, 1e-30, 1.0, 3.0, 2.0, -2.0, 0.5, -0.5, 7.0, 9.0, 5.0, 4.0])
    features = layer.weight.shape[1] * getattr(layer, "groups", 1)
    x = values.repeat(3 * features).view(-1, features)  # 48 samples, of unequal means
    if isinstance(layer, BinaryConv2d):
        x = x.view(-1, features, 4, 4)
    quantizer: Any = layer.input_quantizer
    try:
        right = torch.equal(quantizer(x), torch.where(x >= 0, 1.0, -1.0))
    except Exception:  # of a quantizer with other shapes in mind
        right = False
    if not right:
        raise ValueError(f"input_quantizer of {name!r} must be a sign, with sign(0) = +1, to be packed: use ste_sign.")


def _in_place(node: fx.Node, root: nn.Module) -> bool:
    if node.op == "call_module":
        return getattr(root.get_submodule(str(node.target)), "inplace", False)
    return node.target in (operator.iadd, torch.relu_, "relu_", "add_") or node.kwargs.get("inplace", False) is True


def _is_shape(node: fx.Node) -> bool:
    return node.target in ("size", "dim") or node.target in (getattr, operator.getitem)


def _function(node: fx.Node) -> tuple[str, dict[str, Any]]:
    """Return the step of a function or method that a `forward` calls."""
    constants = [argument for argument in node.args[1:] if not isinstance(argument, fx.Node)]
    target = node.target
    if target in (operator.add, operator.iadd, torch.add, "add", "add_") and not constants and not node.kwargs:
        return "add", {}
    if target in (F.relu, torch.relu, torch.relu_, "relu", "relu_"):
        return "relu", {}
    ends = {"start_dim": 0, "end_dim": -1} | dict(zip(("start_dim", "end_dim"), constants, strict=False)) | node.kwargs
    if target in (torch.flatten, "flatten") and ends == FLATTEN[1]:
        return FLATTEN
    if target in ("view", "reshape") and len(node.args) == 3 and node.args[2] == -1:
        return FLATTEN
    name = getattr(target, "__name__", str(target))
    raise ValueError(f"the model calls {name}, which cannot be packed. These can: +, relu, flatten(1).")


def _needed(steps: Sequence[Step], output: int) -> list[Step]:
    """Keep the steps that `output` depends on, with consecutive numbers; `output` is the last."""
    wanted = {output}
    for i in range(output, -1, -1):
        if i in wanted:
            wanted.update(steps[i].inputs)
    number = {-1: -1, **{old: new for new, old in enumerate(sorted(wanted - {-1}))}}
    return [
        Step(steps[old].op, tuple(number[i] for i in steps[old].inputs), steps[old].options, steps[old].arrays)
        for old in sorted(wanted - {-1})
    ]


# ---- torch's own layers: (op, options, tensors) ----------------------------------------------------------------------


def _conv2d(name: str, layer: Any) -> Any:
    if layer.padding_mode != "zeros":
        raise ValueError(f'layer {name!r} must have padding_mode="zeros" to be packed, got {layer.padding_mode!r}.')
    options = {key: _plain(getattr(layer, key)) for key in WINDOW}
    return "conv2d", options, {"weight": layer.weight, "bias": layer.bias}


def _batch_norm(name: str, layer: Any) -> Any:
    if layer.running_mean is None:
        raise ValueError(f"layer {name!r} must have running statistics to be packed: it uses those of each batch.")
    tensors = {key: getattr(layer, key) for key in ("running_mean", "running_var", "weight", "bias")}
    return "batch_norm", {"eps": layer.eps, **({"last": True} if isinstance(layer, FeatureNorm) else {})}, tensors


def _max_pool(name: str, layer: Any) -> Any:
    keys = ("kernel_size", "stride", "padding", "dilation", "ceil_mode")
    if layer.return_indices:
        raise ValueError(f"layer {name!r} must have return_indices=False to be packed.")
    return "max_pool2d", {key: _plain(getattr(layer, key)) for key in keys}, {}


def _adaptive_max_pool(name: str, layer: Any) -> Any:
    if layer.return_indices:
        raise ValueError(f"layer {name!r} must have return_indices=False to be packed.")
    return "adaptive_max_pool2d", {"output_size": _plain(layer.output_size)}, {}


def _avg_pool(name: str, layer: Any) -> Any:
    keys = ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override")
    return "avg_pool2d", {key: _plain(getattr(layer, key)) for key in keys}, {}


def _plain(value: Any) -> Any:
    """Return a value as in JSON."""
    return list(value) if isinstance(value, tuple) else value


LAYERS: dict[type, Callable[[str, Any], Any]] = {
    nn.Linear: lambda name, layer: ("linear", {}, {"weight": layer.weight, "bias": layer.bias}),
    nn.Conv2d: _conv2d,
    nn.BatchNorm1d: _batch_norm,
    FeatureNorm: _batch_norm,
    nn.BatchNorm2d: _batch_norm,
    nn.ReLU: lambda name, layer: ("relu", {}, {}),
    nn.Hardtanh: lambda name, layer: ("hardtanh", {"min_val": layer.min_val, "max_val": layer.max_val}, {}),
    nn.MaxPool2d: _max_pool,
    nn.AvgPool2d: _avg_pool,
    nn.AdaptiveAvgPool2d: lambda name, layer: ("adaptive_avg_pool2d", {"output_size": _plain(layer.output_size)}, {}),
    nn.AdaptiveMaxPool2d: _adaptive_max_pool,
    nn.Flatten: lambda name, layer: ("flatten", {"start_dim": layer.start_dim, "end_dim": layer.end_dim}, {}),
}
