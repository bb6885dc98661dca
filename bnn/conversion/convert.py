"""A binarized copy of any torch model, each binary layer with its own quantizers, memories and write settings."""

from __future__ import annotations

import copy
import hashlib
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import FunctionType
from typing import Any

import torch
from torch import Tensor, nn

from bnn.conversion.config import BinarizeConfig, memory_of
from bnn.conversion.constant_sign import DroppedActivation, constant_signs
from bnn.conversion.example_bits import constant_bits
from bnn.conversion.selection import Selection, ancestors, check_type, configs_of, excluded, names_of
from bnn.layers.binary import QUANTIZER_OF, BinaryConv2d, BinaryLinear
from bnn.layers.feature_norm import FeatureNorm
from bnn.layers.graph import UntraceableError, call_order, eager_copy, traced
from bnn.layers.inputs import image_tensor
from bnn.layers.quantizers import center_latent_
from bnn.layers.whole_model import copied_model
from mtjsim.checks import ArgumentError, checked_choice

ENDS = ("real", "binary")


def binarize(
    model: nn.Module,
    config: BinarizeConfig | None = None,
    *,
    exclude: Selection | Iterable[Selection] = (),
    per_layer: Mapping[str, BinarizeConfig | Mapping[str, Any]] | None = None,
    first: str = "real",
    last: str = "real",
    activation: str = "drop",
    example: Any = None,
) -> nn.Module:
    """Return a copy of `model` in which `nn.Linear` and `nn.Conv2d` are `BinaryLinear` and `BinaryConv2d`.

    Parameters
    ----------
    model : Module
        Left as it is. Its weights and biases become latent weights and biases of the copy.
    config : BinarizeConfig, optional
        Of every layer that `per_layer` does not name. Default: `ste_sign` on weights and inputs, no scale, no errors.
    exclude : name, type or predicate, or several
        Layers that stay real: those of that name or glob pattern, and all within a module of that name; those of that
        type, and all within a module of it; those for which ``predicate(name, layer)`` is true.
    per_layer : mapping, optional
        Name or glob pattern -> a `BinarizeConfig`, or a mapping of those of its fields that differ. Of several patterns
        that match a layer, the later overrides the earlier.
    first, last : {"real", "binary"}
        The first and the last layer of the model, in the order of the calls if the model can be traced, otherwise in
        that of its definition. A binary first layer has binary weights, but reads the real input, unless `per_layer`
        gives it an `input_quantizer`.
    activation : {"drop", "norm", "refuse", "keep"}
        A ReLU (or another function with values >= 0) directly before a binary layer would make all its bits +1. "drop":
        the copy has a `DroppedActivation` in place of the function, since the sign replaces it; a warning where it
        cannot be dropped, because it is not a module or other layers read it too. "norm": all functions stay, and such
        a layer becomes an `nn.Sequential` of a new BatchNorm and the binary layer, as in XNOR-Net; for residual
        networks. "refuse": an error. "keep": a warning. A model that cannot be traced needs an `example`: without one,
        "refuse" is an error, "norm" puts a BatchNorm before every binary layer, the others give a warning.
    example : array or Tensor (n, ...), or labelled images as for `bnn.evaluate`, optional
        A batch of real images. The copy is run on them once, in the model's mode, and each layer whose input bits are
        all alike is treated as `activation` says, whatever function made them so.

    Returns
    -------
    Module
        A binarized copy, on the same device, in the same mode, with modules shared where the model shares them; not
        compiled, if the model is.

    Raises
    ------
    ValueError
        For a name that matches no layer, a layer with a feature that no binary layer has, layers in a plain list, or if
        nothing is left to binarize.
    TypeError
        For an argument of another type.

    Warns
    -----
    UserWarning
        If a sign would be constant, see `activation`, or if the model cannot be traced to check that and there is no
        `example`.

    Notes
    -----
    Only these two types are exchanged. Their subclasses, which may compute something else, stay real; so does a layer
    with a parametrization. A layer that the model shares has several names, and each can be used. Zeros that a
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
    checked_choice("first", first, ENDS)
    checked_choice("last", last, ENDS)
    checked_choice("activation", activation, ("drop", "norm", "refuse", "keep"))
    config = BinarizeConfig() if config is None else config
    check_type("config", config, BinarizeConfig)
    check_type("per_layer", per_layer or {}, Mapping)
    copied = eager_copy(copied_model(model))
    layers = {name: layer for name, layer in copied.named_modules() if type(layer) in (nn.Linear, nn.Conv2d)}
    if not layers:
        raise ArgumentError("model", "must have an nn.Linear or an nn.Conv2d: there is nothing to binarize.")
    names = names_of(copied, layers)
    graph = traced(copied)
    order = call_order(graph, list(layers))
    ends = [end for end, policy in ((order[0], first), (order[-1], last)) if policy == "real"]
    real = excluded(copied, layers, names, exclude) | set(
        ends if len(order) > 1 or "binary" not in (first, last) else ()
    )
    defaults = dict.fromkeys(layers, config)
    defaults[order[0]] = replace(config, input_quantizer=None, activation_write=None)
    configs = configs_of(defaults, names, per_layer or {}, real)
    chosen = {name: layer for name, layer in layers.items() if name not in real}
    if not chosen:
        stay = ", ".join(map(repr, layers))
        remedy = 'Use first="binary" or last="binary", or exclude less.'
        raise ValueError(f"nothing is left to binarize: {stay} stay real, as first, last or excluded. {remedy}")
    _check_lists(copied)
    for name, layer in chosen.items():
        _check_layer(copied, name, layer)
    signed = [name for name in chosen if configs[name].input_quantizer is not None]
    images = None if example is None else image_tensor(copied, "example", example)
    activations, without_norm = set[str](), set[str]()
    if images is None or not isinstance(graph, UntraceableError):
        activations, without_norm, warned = constant_signs(copied, graph, signed, activation)
        for text in warned if images is None else ():  # the images will show
            warnings.warn(text, stacklevel=2)
    part, shared_modules = _part(copied), dict[int, Any]()
    dropped = [copied.get_submodule(name) for name in activations]
    made: dict[nn.Module, nn.Module] = {former: _dropped(former) for former in dropped} | {
        layer: _binary_layer(layer, configs[name], index, part, shared_modules, norm=name in without_norm)
        for index, (name, layer) in enumerate(layers.items())
        if name in chosen
    }
    copied = _exchanged(copied, made)
    return copied if images is None else _checked_on(copied, images, activation)


def _exchanged(model: nn.Module, made: Mapping[nn.Module, nn.Module]) -> nn.Module:
    """Put other modules in the places of some, in place."""
    for parent in list(model.modules()):
        for key, child in parent._modules.items():
            parent._modules[key] = made.get(child, child) if child is not None else None
    return made.get(model, model)


def _dropped(activation: nn.Module) -> DroppedActivation:
    return DroppedActivation(repr(activation))


def _checked_on(model: nn.Module, images: Tensor, policy: str) -> nn.Module:
    """Return the model in which no sign is constant for these images, as far as the policy allows."""
    found, activations = constant_bits(model, images)
    if found and policy == "drop" and activations:
        model = _exchanged(model, {(former := model.get_submodule(name)): _dropped(former) for name in activations})
        found, _ = constant_bits(model, images)
    elif found and policy == "norm":
        layers: list[Any] = [model.get_submodule(name) for name in found]
        model = _exchanged(model, {layer: nn.Sequential(_norm_before(layer), layer) for layer in layers})
        found, _ = constant_bits(model, images)
    for text in found.values():
        remedy = 'Use activation="norm", leave out what makes it so, or exclude the layer.'
        if policy == "refuse":
            raise ValueError(f"{text}. {remedy}")
        warnings.warn(f"{text}. {remedy}", stacklevel=3)
    return model


def _norm_before(layer: Any) -> nn.Module:
    """Return a BatchNorm of the inputs of a layer."""
    if isinstance(layer, (nn.Conv2d, BinaryConv2d)):
        norm: nn.Module = nn.BatchNorm2d(layer.weight.shape[1] * layer.groups)
    else:
        norm = FeatureNorm(layer.weight.shape[1])
    return norm.to(layer.weight).train(layer.training)


def _binary_layer(
    layer: nn.Module, config: BinarizeConfig, index: int, part: int, shared_modules: dict[int, Any], *, norm: bool
) -> nn.Module:
    """Return a binary layer with the parameters of `layer`, preceded by a BatchNorm if `norm` is set."""
    shared: dict[str, Any] = {
        "bias": layer.bias is not None,
        **{slot: memory_of(config, slot, layer=index, part=part) for slot in QUANTIZER_OF},
        **{key: _own_quantizer(config, key, layer, shared_modules) for key in QUANTIZER_OF.values()},
        **{key: getattr(config, key) for key in ("scale", "center", "seed")},
    }
    new: Any
    if isinstance(layer, nn.Conv2d):
        sizes = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups")
        new = BinaryConv2d(**{key: getattr(layer, key) for key in sizes}, **shared)
    else:
        new = BinaryLinear(**{key: getattr(layer, key) for key in ("in_features", "out_features")}, **shared)
    new.weight, new.bias = layer.weight, layer.bias
    if config.center:
        center_latent_(new.weight)
    return (nn.Sequential(_norm_before(layer), new) if norm else new).train(layer.training)


def _own_quantizer(config: BinarizeConfig, key: str, layer: nn.Module, made: dict[int, Any]) -> Any:
    """Return a function as it is; of a Module, or an object with one in it, a copy: for each layer, or in `made`."""
    quantizer = getattr(config, key)
    if isinstance(quantizer, FunctionType):
        return quantizer
    if config.shared_quantizers and id(quantizer) in made:
        return made[id(quantizer)]
    copied = copy.deepcopy(quantizer)
    made[id(quantizer)] = copied.to(next(layer.parameters())) if isinstance(copied, nn.Module) else copied
    return copied


def _part(model: nn.Module) -> int:
    """Return a 32-bit hash of the model's parameters, so that models of the same config err independently."""
    digest = hashlib.blake2b(digest_size=4)
    for name, parameter in model.named_parameters():
        digest.update(name.encode())
        digest.update(parameter.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    return int.from_bytes(digest.digest(), "little")


def _check_lists(model: nn.Module) -> None:
    """Refuse layers in plain lists or dictionaries, which torch does not find: they would stay real."""
    own = set(vars(nn.Module()))
    for name, module in model.named_modules():
        for key, value in vars(module).items():
            plain = value if isinstance(value, (list, tuple, set, dict)) else ()
            values = plain.values() if isinstance(plain, dict) else plain
            if key not in own and any(isinstance(v, nn.Module) and _has_a_layer(v) for v in values):
                rule = f"must not be a plain {type(value).__name__} of layers: torch does not find them there"
                raise ArgumentError(f"{name}.{key}".lstrip("."), f"{rule}. Use nn.ModuleList or nn.ModuleDict.")


def _has_a_layer(module: nn.Module) -> bool:
    return any(type(inner) in (nn.Linear, nn.Conv2d) for inner in module.modules())


def _check_layer(model: nn.Module, name: str, layer: nn.Module) -> None:
    """Refuse a layer with a feature that no binary layer has."""
    problem = None
    if isinstance(layer, nn.Conv2d) and layer.padding_mode != "zeros":
        problem = f"padding_mode {layer.padding_mode!r}, and binary layers pad zeros: use padding_mode='zeros'"
    elif layer._forward_hooks or layer._forward_pre_hooks or layer._backward_hooks or layer._backward_pre_hooks:
        problem = "hooks (weight_norm makes one), which would be lost: remove them first"
    elif "forward" in vars(layer):
        problem = "a forward of its own, which would be lost: make a class of it, which stays real"
    elif not layer.weight.is_floating_point():  # type: ignore[operator]
        problem = f"weights of {layer.weight.dtype}, which have no sign: use a real model"
    elif any(isinstance(model.get_submodule(part), nn.TransformerEncoderLayer) for part in ancestors(name)[1:]):
        problem = "a TransformerEncoderLayer around it, which reads its weights directly in evaluation"
    if problem is not None:
        raise ValueError(f"layer {name!r} has {problem}; or leave it real with exclude={name!r}.")
