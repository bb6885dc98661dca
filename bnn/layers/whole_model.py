"""A model of the user's: checked, and copied."""

import copy
from types import MethodType
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.lazy import LazyModuleMixin

from mtjsim.checks import ArgumentError


def checked_model(model: Any) -> nn.Module:
    """Return the model; TypeError unless it is an nn.Module."""
    if isinstance(model, nn.Module):
        return model
    remedy = ""
    if isinstance(model, type):
        remedy = f" Make one of the class: {model.__name__}(...)."
    elif hasattr(model, "evaluate_dies"):
        remedy = " Of a packed model use its own evaluate_dies, logits and predict."
    raise TypeError(f"model must be an instance of Module, got {model!r}.{remedy}")


def copied_model(model: Any) -> nn.Module:
    """Return a copy of a model.

    Raises
    ------
    TypeError
        If it is no nn.Module.
    ValueError
        If it has lazy layers without a shape, weights that a hook computes, which torch cannot copy, or a function in
        place of a forward, which would run the original.
    """
    for name, module in checked_model(model).named_modules():
        if isinstance(module, LazyModuleMixin) and module.has_uninitialized_params():  # type: ignore[misc]
            rule = f"must have layers with a shape, got the {type(module).__name__} {name!r} without one"
            raise ArgumentError("model", f"{rule}. Run one batch of images through it first.")
        own = vars(module).get("forward")
        if own is not None and not (isinstance(own, MethodType) or hasattr(module, "_orig_mod")):
            rule = "must have forwards that a copy runs with its own layers, got a function in place of that of"
            remedy = "Bind it, as in types.MethodType(function, module), or make a class"
            raise ArgumentError("model", f"{rule} {name or 'the model'!r}. {remedy}.")
        for key, value in vars(module).items():
            if isinstance(value, Tensor) and not value.is_leaf:
                rule = f"must have parameters that can be copied, got {f'{name}.{key}'.lstrip('.')!r} of a computation"
                remedy = "Make it permanent (torch.nn.utils.prune.remove, remove_weight_norm, remove_spectral_norm)"
                raise ArgumentError("model", f"{rule}. {remedy}, or use torch.nn.utils.parametrizations.")
    return copy.deepcopy(model)
