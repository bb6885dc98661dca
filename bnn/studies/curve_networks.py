"""Untrained networks of a curve: copies of a torch model, or of a function, with the memory of the curve in every slot.

A model function may ignore its arguments: then networks would be trained without the errors of their point, or from
the same weights. So what it returns is examined.
"""

import copy
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from bnn.conversion.config import BinarizeConfig
from bnn.conversion.convert import binarize
from bnn.data.images import DataSet
from bnn.errors.bits import BitMemory
from bnn.errors.write_errors import WriteErrors
from bnn.layers.binary import BinaryLayer
from bnn.layers.slots import activation_memories, weight_memories
from bridge.write import OperatingPoint
from mtjsim.checks import ArgumentError
from mtjsim.rng import child_seed

MakeModel = Callable[..., nn.Module]  # called as make_model(seed=, activation_memory=)
PLACE = "Pass activation_memory to the binary layers, or give the torch model itself in place of a function"


@dataclass(frozen=True)
class Copies:
    """A model function that copies a binarized model: other initial weights, the memory in every activation slot."""

    model: nn.Module

    def __call__(self, *, seed: int, activation_memory: Callable[..., nn.Module] | None = None) -> nn.Module:
        """Return a copy with the initial weights of `seed`, and a memory with its own stream in each slot."""
        model = copy.deepcopy(self.model)
        for index, module in enumerate(model.modules()):
            if isinstance(module, BinaryLayer):
                module.reset_parameters(seed=child_seed(seed, "initial_weights", index))
            elif reset := _reset_of(module):
                reset()  # from torch's stream, which `network` seeds
        for index, layer in enumerate(activation_memories(model).values()):
            memory = activation_memory and activation_memory(seed=child_seed(seed, "activation_errors", index))
            layer.register_module("activation_memory", memory)
        return model


def _reset_of(module: nn.Module) -> Callable[[], Any] | None:
    return getattr(module, "reset_parameters", None) or getattr(module, "_reset_parameters", None)


def model_maker(model: object, config: BinarizeConfig | None) -> MakeModel:
    """Return the model function of a curve.

    Parameters
    ----------
    model : Module or callable
        A torch model, which is binarized if it has no binary layer; or a model function, which is returned.
    config : BinarizeConfig, optional
        Of the binary layers of a torch model.

    Raises
    ------
    ArgumentError
        For a model with weights that cannot be initialized again, a config that already writes with errors, a function
        with other arguments, or anything else.
    """
    if isinstance(model, nn.Module):
        return Copies(_binarized(model, config))
    if not callable(model):
        rule = "must be a torch model, or a function with the keywords seed and activation_memory"
        raise ArgumentError("make_model", f"{rule}, got {model!r}. A BinarizeConfig is given as config=.")
    if config is not None:
        raise ArgumentError("config", "must be None with a model function: it is for a torch model.")
    try:
        inspect.signature(model).bind(seed=0, activation_memory=None)
    except TypeError as error:
        rule = "must take the keywords seed and activation_memory"
        raise ArgumentError("make_model", f"{rule}: {error}. A torch model can be given itself.") from None
    except ValueError:
        pass  # a function without a signature: its call decides
    return model


def _binarized(model: nn.Module, config: BinarizeConfig | None) -> nn.Module:
    for write in ("activation_write", "weight_write"):
        if config is not None and getattr(config, write) is not None:
            raise ArgumentError("config", f"must have {write}=None: a curve writes activations at its points.")
    if config is not None and (config.mode, config.gradient) != ("independent", "identity"):
        rule = 'must have mode="independent" and gradient="identity", as the errors of a curve'
        raise ArgumentError("config", f"{rule}, got {config.mode!r} and {config.gradient!r}.")
    binary = any(isinstance(module, BinaryLayer) for module in model.modules())
    if binary and config is not None:
        raise ArgumentError("config", "must be None with a model that has binary layers already.")
    for name, module in model.named_modules():
        own = any(True for _ in module.parameters(recurse=False))
        if own and not isinstance(module, BinaryLayer) and _reset_of(module) is None:
            problem = f"has weights in {name or 'itself'} ({type(module).__name__}) without a method reset_parameters"
            remedy = "and each network of a curve needs its own. Give a function that makes the model."
            raise ArgumentError("make_model", f"{problem}, {remedy}")
    return model if binary else binarize(model, config)


def network(make_model: MakeModel, seed: int, point: OperatingPoint | None) -> nn.Module:
    """Return an untrained network whose activations are written at `point`; without errors where it is None.

    Weights that are drawn from torch's global stream follow from the seed too; the state of that stream is restored.

    Raises
    ------
    ArgumentError
        If the network has other memories than those of `point` in a slot.
    """
    memory: Any = None
    if point is not None:
        memory = partial(WriteErrors, error_rate_0=point.error_rate_0, error_rate_1=point.error_rate_1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = make_model(seed=seed, activation_memory=memory)
    if not isinstance(model, nn.Module):
        raise ArgumentError("make_model", f"must return a torch model, got {model!r}.")
    _check_slots(model, point)
    return model


def _check_slots(model: nn.Module, point: OperatingPoint | None) -> None:
    slots = activation_memories(model)
    if not slots:
        rule = "must give a network with binary layers that read bits"
        raise ArgumentError("make_model", f"{rule}: without them no activation is written. See bnn.binarize.")
    held = [name for name, layer in weight_memories(model).items() if layer.weight_memory is not None]
    if held:
        problem = f"put a memory into the weight slot of {_listed(held)}, and a curve is of errors in activations"
        raise ArgumentError("make_model", f"{problem}. Leave weight slots empty.")
    filled = [name for name, layer in slots.items() if layer.activation_memory is not None]
    if point is None and filled:
        problem = f"put a memory into {_listed(filled)} where activation_memory is None"
        raise ArgumentError("make_model", f"{problem}: networks of the clean training have none.")
    if point is None:
        return
    empty = [name for name in slots if name not in filled]
    if empty:
        which = "any layer" if not filled else f"the layer {_listed(empty)}"
        problem = f"did not put the memory into {which}, so it would be trained without errors"
        raise ArgumentError("make_model", f"{problem}. {PLACE}.")
    rates = (point.error_rate_0, point.error_rate_1)
    other = [name for name in filled if _rates_in(slots[name].activation_memory) != {rates}]
    if other:
        problem = f"put another memory than activation_memory(seed=) into {_listed(other)}"
        rule = f"the point has the rates {rates[0]:g} and {rates[1]:g}, and independent errors"
        raise ArgumentError("make_model", f"{problem}: {rule}. {PLACE}.")


def _rates_in(memory: nn.Module | None) -> set[Any]:
    parts = [] if memory is None else [part for part in memory.modules() if isinstance(part, BitMemory)]
    return {
        (part.error_rate_0, part.error_rate_1)
        if isinstance(part, WriteErrors) and isinstance(part.error_rate_0, float)
        else type(part)  # cells that keep their bit, or rates of single cells
        for part in parts
    }


def _listed(names: list[str]) -> str:
    return ", ".join(repr(name) for name in names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def check_model_function(make_model: MakeModel, data: DataSet, point: OperatingPoint, seeds: list[int]) -> bool:
    """Examine a model function before any work: memories that write, weights that follow from the seed.

    Parameters
    ----------
    make_model : callable
    data : DataSet
    point : OperatingPoint
        One of the curve.
    seeds : list of int
        Of two networks.

    Returns
    -------
    bool
        Whether networks of different seeds have different weights.

    Raises
    ------
    ArgumentError
        If the memory is not in the network or is not used by it, networks of one seed differ or are one object, or the
        network does not take the images.
    """
    clean, again = network(make_model, seeds[0], None), network(make_model, seeds[0], point)
    other = network(make_model, seeds[1], None)
    pointers = [{parameter.data_ptr() for parameter in model.parameters()} for model in (clean, again, other)]
    if clean is again or clean is other or pointers[0] & pointers[1] or pointers[0] & pointers[2]:
        problem = "returned the same weights twice, so that a second training would continue the first"
        raise ArgumentError("make_model", f"{problem}. Make or copy the model inside the function.")
    if not _equal(clean, again):
        problem = "gave other initial weights for the same seed with a memory than without one: losses are paired"
        raise ArgumentError("make_model", f"{problem}. Draw the weights from the seed.")
    _check_writes(again, data)
    return not _equal(clean, other)


def _equal(one: nn.Module, other: nn.Module) -> bool:
    first, second = (dict(model.named_parameters()) for model in (one, other))
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def _check_writes(model: nn.Module, data: DataSet) -> None:
    """Run two images through the network; ArgumentError unless a memory is written and there is a logit per class."""
    images = torch.from_numpy(data.train.subset(range(min(2, len(data.train)))).scaled())
    written: list[nn.Module] = []
    memories = [layer.activation_memory for layer in activation_memories(model).values()]
    for memory in memories:
        if memory is not None:
            memory.register_forward_pre_hook(lambda module, _: written.append(module))
    with torch.no_grad():
        logits = model.eval()(images)
    if not written:
        problem = "gave a network that does not use the memories in its slots"
        raise ArgumentError("make_model", f"{problem}: its forward pass must call the binary layers.")
    if logits.ndim != 2 or logits.shape[1] < len(data.class_names):
        got = tuple(logits.shape[1:])
        raise ArgumentError("make_model", f"must give {len(data.class_names)} logits an image, got shape {got}.")
