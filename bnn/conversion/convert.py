"""A binarized copy of any torch model, each binary layer with quantizers, memories and write settings of its own."""

import copy
import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from fnmatch import fnmatchcase
from importlib import import_module
from typing import TYPE_CHECKING, Any, Union

import torch
from torch import nn

from bnn.conversion.constant_sign import call_order, drop_activations, traced
from bnn.errors.bits import BitMemory
from bnn.errors.write_errors import WriteErrors
from bnn.layers.binary import BinaryConv2d, BinaryLinear, Quantizer
from bnn.layers.quantizers import center_latent_, ste_sign
from mtjsim.rng import Role, checked_seed, child_seed

if TYPE_CHECKING:
    from bridge.write import OperatingPoint

Write = Union["OperatingPoint", tuple[float, float], None]
Selection = str | type | Callable[[str, nn.Module], bool]


@dataclass(frozen=True, kw_only=True)
class BinarizeConfig:
    """How a layer is made binary, and what its bits are written with.

    Parameters
    ----------
    weight_quantizer, input_quantizer : callable or None
        See `bnn.layers.BinaryLinear`; None leaves weights or inputs real.
    scale : {"none", "xnor"}
    center : bool
        As in `bnn.layers.BinaryLinear`.
    weight_write, activation_write : OperatingPoint, (float, float) or None
        What the bits of the weights and of the activations are written with: an operating point, which a `WriteSetting`
        with a current for 0 and one for 1 becomes by `bridge.operating_point`; its two rates alone, ``(error_rate_0,
        error_rate_1)``; or None, a memory that never errs.
    mode : {"independent", "overwrite"}
        What a failed write leaves: the wrong bit, whatever was there (`bnn.errors.WriteErrors`), or the old bit
        (`bnn.overwrite.OverwriteErrors`, with cells for all weights, and for the activations of one sample: each sample
        is written over the one before).
    gradient : {"identity", "flipped", "masked"}
        Through a write, see those two; "flipped" is of "independent", "masked" of "overwrite".
    seed : int, >= 0
        Of the errors. Each memory has a stream of its own, keyed by seed, role, place of its layer in the model, and
        the model's parameters: parts that are binarized apart with one config err independently.

    Raises
    ------
    ValueError
        For an unknown choice, or a write of what is not quantized.
    """

    weight_quantizer: Quantizer | None = ste_sign
    input_quantizer: Quantizer | None = ste_sign
    scale: str = "none"
    center: bool = False
    weight_write: Write = None
    activation_write: Write = None
    mode: str = "independent"
    gradient: str = "identity"
    seed: int = 0

    def __post_init__(self) -> None:
        checked_seed(self.seed)
        for name in ("weight_quantizer", "input_quantizer"):
            if not (getattr(self, name) is None or callable(getattr(self, name))):
                raise ValueError(
                    f"{name} must be a function, such as bnn.ste_sign, or None, got {getattr(self, name)!r}."
                )
        gradients = ("identity", "masked" if self.mode == "overwrite" else "flipped")
        for name, value, allowed in (
            ("scale", self.scale, ("none", "xnor")),
            ("mode", self.mode, ("independent", "overwrite")),
            ("gradient", self.gradient, gradients),
        ):
            if value not in allowed:
                raise ValueError(f'{name} must be "{allowed[0]}" or "{allowed[1]}", got {value!r}.')
        for write, quantizer in (("weight_write", "weight_quantizer"), ("activation_write", "input_quantizer")):
            if getattr(self, write) is None:
                continue
            _check_write(write, getattr(self, write))
            if getattr(self, quantizer) is None:
                raise ValueError(f"{write} must be None where {quantizer} is None: only bits are written to memory.")


def binarize(
    model: nn.Module,
    config: BinarizeConfig | None = None,
    *,
    exclude: Selection | Iterable[Selection] = (),
    per_layer: Mapping[str, BinarizeConfig | Mapping[str, Any]] | None = None,
    first: str = "real",
    last: str = "real",
    activation: str = "drop",
) -> nn.Module:
    """Return a copy of `model` in which `nn.Linear` and `nn.Conv2d` are `BinaryLinear` and `BinaryConv2d`.

    Parameters
    ----------
    model : Module
        Left as it is. Its weights and biases become latent weights and biases of the copy.
    config : BinarizeConfig, optional
        Of every layer that `per_layer` does not name. Default: `ste_sign` on weights and inputs, no scale, no errors.
    exclude : name, type or predicate, or several
        What stays real: layers of that name or glob pattern, and all within a module of that name; layers of that
        type, and all within a module of it; layers for which ``predicate(name, layer)`` is true.
    per_layer : mapping, optional
        Name or glob pattern -> a `BinarizeConfig`, or a mapping of those of its fields that differ. Of several patterns
        that match a layer, the later overrides the earlier.
    first, last : {"real", "binary"}
        The first and the last layer of the model, in the order of the calls where the model can be traced, else in that
        of its definition. A binary first layer has binary weights, but reads the real input, unless `per_layer` gives
        it an `input_quantizer`.
    activation : {"drop", "norm", "refuse", "keep"}
        A ReLU (or another function with values >= 0) directly before a binary layer would make all its bits +1. "drop":
        the sign takes its place, the copy holds a `DroppedActivation` there; where a function cannot be dropped, since
        it is not a module or others read it too, a warning. "norm": all functions stay, and such a layer becomes an
        `nn.Sequential` of a new BatchNorm and the binary layer, as in XNOR-Net; for residual networks. "refuse": an
        error. "keep": a warning.

    Returns
    -------
    Module
        A binarized copy, on the same device, in the same mode, with modules shared where the model shares them.

    Raises
    ------
    ValueError
        For a name that matches no layer, a layer with a feature that no binary layer has, layers that sit in a plain
        list, or if nothing is left to binarize.
    TypeError
        For an argument of another kind.

    Warns
    -----
    UserWarning
        If a sign would be constant, see `activation`, or if the model cannot be traced to see that.

    Notes
    -----
    Exactly these two types are exchanged; their subclasses, which may compute something else, stay real, a layer with a
    parametrization among them. A layer that the model shares has several names, and each will do. Zeros that a
    convolution pads stay zeros: they are added after the sign.

    Examples
    --------
    >>> model = nn.Sequential(
    ...     nn.Linear(16, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Linear(8, 2)
    ... )
    >>> copy = binarize(model, BinarizeConfig(activation_write=(0.01, 0.02), seed=1))
    >>> [type(layer).__name__ for layer in copy]
    ['Linear', 'BatchNorm1d', 'DroppedActivation', 'BinaryLinear', 'BatchNorm1d', 'Linear']
    >>> copy[3].activation_memory.error_rate_1
    0.02
    """
    for name, value, allowed in (
        ("first", first, ("real", "binary")),
        ("last", last, ("real", "binary")),
        ("activation", activation, ("drop", "norm", "refuse", "keep")),
    ):
        if value not in allowed:
            raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {value!r}.")
    config = BinarizeConfig() if config is None else config
    for role, given, kind in (("model", model, nn.Module), ("config", config, BinarizeConfig)):
        if not isinstance(given, kind):
            raise TypeError(f"{role} must be an instance of {kind.__name__}, got {given!r}.")
    copied = copy.deepcopy(model)
    layers = {name: layer for name, layer in copied.named_modules() if type(layer) in (nn.Linear, nn.Conv2d)}
    if not layers:
        raise ValueError("model must hold an nn.Linear or an nn.Conv2d, got one without: there is nothing to binarize.")
    names = _all_names(copied, layers)
    graph = traced(model)
    order = call_order(graph, list(layers))
    ends = [end for end, policy in ((order[0], first), (order[-1], last)) if policy == "real"]
    real = _excluded(copied, layers, names, exclude) | set(
        ends if len(order) > 1 or "binary" not in (first, last) else ()
    )
    defaults = dict.fromkeys(layers, config)
    defaults[order[0]] = replace(config, input_quantizer=None, activation_write=None)
    configs = _configs(defaults, names, per_layer or {}, real)
    chosen = {name: layer for name, layer in layers.items() if name not in real}
    if not chosen:
        raise ValueError(
            f"nothing is left to binarize: {', '.join(map(repr, layers))} stay real, as first, last or excluded. "
            'Use first="binary" or last="binary", or exclude less.'
        )
    _check_lists(copied)
    for name, layer in chosen.items():
        _check_layer(copied, name, layer)
    signed = {name for name in chosen if configs[name].input_quantizer is not None}
    needy = drop_activations(copied, graph, signed, activation)
    part = _part(model)
    made: dict[nn.Module, nn.Module] = {
        layer: _binary_layer(layer, configs[name], index, part, norm=name in needy)
        for index, (name, layer) in enumerate(layers.items())
        if name in chosen
    }
    for parent in list(copied.modules()):
        for key, child in parent._modules.items():
            parent._modules[key] = made.get(child, child) if child is not None else None
    return made.get(copied, copied)


def _binary_layer(layer: nn.Module, config: BinarizeConfig, index: int, part: int, *, norm: bool) -> nn.Module:
    """Return the binary twin of `layer`, with the very parameters of it, perhaps with a BatchNorm before it."""
    shared: dict[str, Any] = {
        "bias": layer.bias is not None,
        "activation_memory": _memory(config, config.activation_write, "activation_errors", index, part),
        "weight_memory": _memory(config, config.weight_write, "weight_errors", index, part),
        **{key: getattr(config, key) for key in ("weight_quantizer", "input_quantizer", "scale", "center", "seed")},
    }
    new: Any
    before: nn.Module
    if isinstance(layer, nn.Conv2d):
        before = nn.BatchNorm2d(layer.in_channels)
        sizes = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups")
        new = BinaryConv2d(**{key: getattr(layer, key) for key in sizes}, **shared)
    else:
        before = nn.BatchNorm1d(layer.in_features)  # type: ignore[arg-type]
        new = BinaryLinear(**{key: getattr(layer, key) for key in ("in_features", "out_features")}, **shared)
    new.weight, new.bias = layer.weight, layer.bias
    if config.center:
        center_latent_(new.weight)
    return (nn.Sequential(before.to(new.weight), new) if norm else new).train(layer.training)


def _memory(config: BinarizeConfig, write: Write, role: Role, index: int, part: int) -> nn.Module | None:
    if write is None:
        return None
    seed = child_seed(config.seed, role, index)
    others: dict[str, Any] = {"seed": seed, "gradient": config.gradient, "layer": index}
    kind: Any = WriteErrors
    if config.mode == "overwrite":
        kind = import_module("bnn.errors.overwrite").OverwriteErrors
        others["slots"] = None if role == "weight_errors" else 1  # all weights are there at once; image follows image
    if isinstance(write, (tuple, list)):
        memory = kind(error_rate_0=write[0], error_rate_1=write[1], **others)
    else:
        memory = kind.from_operating_point(write, **others)
    if isinstance(memory, BitMemory):
        memory.use_stream(seed, part=part)
    return memory


def _part(model: nn.Module) -> int:
    """Return 32 bits of the model's parameters, which tell it from other models of the same config."""
    digest = hashlib.blake2b(digest_size=4)
    for name, parameter in model.named_parameters():
        digest.update(name.encode())
        digest.update(parameter.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    return int.from_bytes(digest.digest(), "little")


def _check_write(name: str, write: Any) -> None:
    point = hasattr(write, "error_rate_0") and hasattr(write, "error_rate_1")
    rates = (write.error_rate_0, write.error_rate_1) if point else write
    if not (isinstance(rates, (tuple, list)) and len(rates) == 2):
        raise ValueError(
            f"{name} must be an operating point, (error_rate_0, error_rate_1) or None, got {write!r}. "
            "bridge.operating_point(device, setting) makes one of a WriteSetting."
        )
    WriteErrors(error_rate_0=rates[0], error_rate_1=rates[1], seed=0)  # checks the rates


def _ancestors(name: str) -> list[str]:
    """Return the name and those of the modules it sits in, the model itself left out: a.b.c, a.b, a."""
    parts = name.split(".")
    return [".".join(parts[:n]) for n in range(len(parts), 0, -1)]


def _all_names(model: nn.Module, layers: Mapping[str, nn.Module]) -> dict[str, list[str]]:
    """Return all names of each layer: where modules are shared, it has several, and each may be meant."""
    names: dict[str, list[str]] = {name: [] for name in layers}
    first = {layer: name for name, layer in layers.items()}
    for name, module in model.named_modules(remove_duplicate=False):
        if module in first:
            names[first[module]].append(name)
    return names


def _excluded(
    model: nn.Module,
    layers: Mapping[str, nn.Module],
    all_names: Mapping[str, list[str]],
    exclude: Selection | Iterable[Selection],
) -> set[str]:
    around = {name: [part for own in all_names[name] for part in _ancestors(own)] for name in layers}
    single = isinstance(exclude, (str, type)) or callable(exclude) or not isinstance(exclude, Iterable)
    found: set[str] = set()
    for selection in (exclude,) if single else exclude:  # type: ignore[union-attr]
        if isinstance(selection, str):
            names = {name for name in layers if any(fnmatchcase(part, selection) for part in around[name])}
            if not names:
                raise ValueError(_unknown("exclude", selection, [part for name in layers for part in around[name]]))
        elif isinstance(selection, type):
            kinds = [(name, [model.get_submodule(part) for part in around[name] if part]) for name in layers]
            names = {name for name, modules in kinds if any(isinstance(module, selection) for module in modules)}
        elif callable(selection) and not isinstance(selection, nn.Module):
            names = {name for name, layer in layers.items() if selection(name, layer)}
        else:
            raise ValueError(f"exclude must hold names, types or predicates (name, layer) -> bool, got {selection!r}.")
        found |= names
    return found


def _configs(
    defaults: dict[str, BinarizeConfig],
    all_names: Mapping[str, list[str]],
    per_layer: Mapping[str, BinarizeConfig | Mapping[str, Any]],
    real: set[str],
) -> dict[str, BinarizeConfig]:
    """Return each layer's config: its default, overridden by the patterns that match one of its names."""
    if not isinstance(per_layer, Mapping):
        raise TypeError(f"per_layer must be a mapping, name or pattern -> config, got {per_layer!r}.")
    configs, known = dict(defaults), [field.name for field in fields(BinarizeConfig)]
    for pattern, override in per_layer.items():
        if not isinstance(override, (BinarizeConfig, Mapping)):
            raise TypeError(
                f"per_layer[{pattern!r}] must be a BinarizeConfig or a mapping of its fields, as in "
                f'{{"activation_write": point}}, got {override!r}.'
            )
        matched = [name for name in defaults if any(fnmatchcase(own, pattern) for own in all_names[name])]
        if not matched:
            raise ValueError(_unknown("per_layer", pattern, [own for name in defaults for own in all_names[name]]))
        if real.issuperset(matched):
            raise ValueError(
                f"per_layer names {pattern!r}, but {', '.join(map(repr, matched))} stays real, as first, last or "
                'excluded layer. Use first="binary" or last="binary", or take it from exclude.'
            )
        for name in matched:
            if isinstance(override, BinarizeConfig):
                configs[name] = override
                continue
            for key in override:
                if key not in known:
                    raise ValueError(_unknown(f"per_layer[{pattern!r}]", key, known))
            configs[name] = replace(configs[name], **override)
    return configs


def _unknown(argument: str, name: str, known: list[str]) -> str:
    nearest = get_close_matches(name, known, n=1, cutoff=0.0)
    listed = ", ".join(dict.fromkeys(known))
    return f"{argument} names {name!r}, which is none of {listed}. The nearest is {', '.join(map(repr, nearest))}."


def _check_lists(model: nn.Module) -> None:
    """Refuse layers that torch does not see, or sees twice: they would be left as they are."""
    own = set(vars(nn.Module()))
    for name, module in model.named_modules():
        for key, value in vars(module).items():
            if key in own or not isinstance(value, (list, tuple, dict, set)):
                continue
            values = value.values() if isinstance(value, dict) else value
            if any(isinstance(v, nn.Module) and _holds_a_layer(v) for v in values):
                raise ValueError(
                    f"{f'{name}.{key}'.lstrip('.')} must not be a plain {type(value).__name__} of layers: torch does "
                    "not see what is in it, and it would stay real. Use nn.ModuleList or nn.ModuleDict."
                )


def _holds_a_layer(module: nn.Module) -> bool:
    return any(type(inner) in (nn.Linear, nn.Conv2d) for inner in module.modules())


def _check_layer(model: nn.Module, name: str, layer: nn.Module) -> None:
    """Refuse what a binary layer would silently not do."""
    problem = None
    if isinstance(layer, nn.Conv2d) and layer.padding_mode != "zeros":
        problem = f"padding_mode {layer.padding_mode!r}, and binary layers pad zeros: use padding_mode='zeros'"
    elif layer._forward_hooks or layer._forward_pre_hooks or layer._backward_hooks or layer._backward_pre_hooks:
        problem = "hooks (weight_norm makes one), which would be lost: remove them first"
    elif not layer.weight.is_floating_point():  # type: ignore[operator]
        problem = f"weights of {layer.weight.dtype}, which have no sign: use a real model"
    elif any(isinstance(model.get_submodule(part), nn.TransformerEncoderLayer) for part in _ancestors(name)[1:]):
        problem = "a TransformerEncoderLayer around it, which reads its weights directly in evaluation"
    if problem is not None:
        raise ValueError(f"layer {name!r} has {problem}; or leave it real with exclude={name!r}.")
