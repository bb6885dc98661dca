"""Selection by name, type or predicate: which layers stay real, and the config of each of the others."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, replace
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any

from torch import nn

from bnn.conversion.config import BinarizeConfig
from mtjsim.checks import ArgumentError

Selection = str | type | Callable[[str, nn.Module], bool]


def ancestors(name: str) -> list[str]:
    """Return the name and those of the modules around it, without the model itself: a.b.c, a.b, a."""
    parts = name.split(".")
    return [".".join(parts[:n]) for n in range(len(parts), 0, -1)]


def names_of(model: nn.Module, layers: Mapping[str, nn.Module]) -> dict[str, list[str]]:
    """Return all names of each layer: several where modules are shared."""
    names: dict[str, list[str]] = {name: [] for name in layers}
    first = {layer: name for name, layer in layers.items()}
    for name, module in model.named_modules(remove_duplicate=False):
        if module in first:
            names[first[module]].append(name)
    return names


def excluded(
    model: nn.Module,
    layers: Mapping[str, nn.Module],
    all_names: Mapping[str, list[str]],
    exclude: Selection | Iterable[Selection],
) -> set[str]:
    """Return the names of the layers that `exclude` of `bnn.binarize` selects."""
    around = {name: [part for own in all_names[name] for part in ancestors(own)] for name in layers}
    single = isinstance(exclude, (str, type)) or callable(exclude) or not isinstance(exclude, Iterable)
    found: set[str] = set()
    for selection in (exclude,) if single else exclude:  # type: ignore[union-attr]
        if isinstance(selection, str):
            names = {name for name in layers if any(fnmatchcase(part, selection) for part in around[name])}
            if not names:
                raise _unknown("exclude", selection, [part for name in layers for part in around[name]])
        elif isinstance(selection, type):
            kinds = [(name, [model.get_submodule(part) for part in around[name] if part]) for name in layers]
            names = {name for name, modules in kinds if any(isinstance(module, selection) for module in modules)}
        elif callable(selection) and not isinstance(selection, nn.Module):
            names = {name for name, layer in layers.items() if selection(name, layer)}
        else:
            rule = "must hold names, types or predicates (name, layer) -> bool"
            raise ArgumentError("exclude", f"{rule}, got {selection!r}.")
        found |= names
    return found


def configs_of(
    defaults: dict[str, BinarizeConfig],
    all_names: Mapping[str, list[str]],
    per_layer: Mapping[str, BinarizeConfig | Mapping[str, Any]],
    real: set[str],
) -> dict[str, BinarizeConfig]:
    """Return each layer's config: its default, overridden by the patterns that match one of its names."""
    configs, known = dict(defaults), [field.name for field in fields(BinarizeConfig)]
    for pattern, override in per_layer.items():
        check_type(f"per_layer[{pattern!r}]", override, BinarizeConfig, Mapping)
        matched = [name for name in defaults if any(fnmatchcase(own, pattern) for own in all_names[name])]
        if not matched:
            raise _unknown("per_layer", pattern, [own for name in defaults for own in all_names[name]])
        if real.issuperset(matched):
            stay = f"{', '.join(map(repr, matched))} stays real, as first, last or excluded layer"
            remedy = 'Use first="binary" or last="binary", or take it from exclude.'
            raise ArgumentError("per_layer", f"names {pattern!r}, but {stay}. {remedy}")
        for name in matched:
            if isinstance(override, BinarizeConfig):
                configs[name] = override
                continue
            if unknown := [key for key in override if key not in known]:
                raise _unknown(f"per_layer[{pattern!r}]", unknown[0], known)
            configs[name] = replace(configs[name], **override)
    return configs


def _unknown(argument: str, name: str, known: list[str]) -> ArgumentError:
    nearest = ", ".join(map(repr, get_close_matches(name, known, n=1, cutoff=0.0)))
    listed = ", ".join(dict.fromkeys(known))
    return ArgumentError(argument, f"names {name!r}, which is none of {listed}. The nearest is {nearest}.")


def check_type(name: str, value: object, *kinds: type) -> None:
    """Raise TypeError unless `value` is an instance of one of the classes."""
    if not isinstance(value, kinds):
        raise TypeError(f"{name} must be an instance of {' or '.join(k.__name__ for k in kinds)}, got {value!r}.")
