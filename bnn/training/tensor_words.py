"""Tensors as the words of a memory: where the parameters of a model are, how they are written and read back."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from bridge.memory.codes import range_fails
from bridge.memory.in_place import InPlaceMemory
from bridge.memory.mram import Memory
from bridge.memory.state import checked_arrays, checked_parts
from mtjsim.checks import ArgumentError, checked_kind

ARRAYS = ("words", "pulses")  # of unsigned numbers, in the state of a memory
HOLDS = ("weights", "biases", "batch_norm", "running_statistics", "optimizer")
NORMS = (_NormBase, nn.GroupNorm, nn.LayerNorm)


class Held(Protocol):
    """Where a tensor is; `movable`: another may be put in its place, and only the update changes it."""

    movable: bool

    def get(self) -> Any:
        """Return the tensor, or None if it is gone."""

    def put(self, tensor: Tensor) -> None:
        """Put another one there."""


@dataclass(frozen=True)
class OfParameter:
    """The data of a parameter."""

    parameter: nn.Parameter
    movable = True

    def get(self) -> Tensor:
        """Return the parameter."""
        return self.parameter

    def put(self, tensor: Tensor) -> None:
        """Exchange its data; the parameter stays the same object, for optimizers and for hooks."""
        self.parameter.data = tensor


@dataclass(frozen=True)
class OfBuffer:
    """A buffer of a module; the forward pass changes it."""

    module: nn.Module
    name: str
    movable = False

    def get(self) -> Tensor:
        """Return the buffer."""
        return self.module.get_buffer(self.name)

    def put(self, tensor: Tensor) -> None:
        """Exchange it."""
        self.module._buffers[self.name] = tensor


@dataclass(frozen=True)
class OfState:
    """A state tensor of an optimizer, of one parameter."""

    optimizer: torch.optim.Optimizer
    parameter: nn.Parameter
    name: str
    movable = True

    def get(self) -> Tensor | None:
        """Return it, or None if the state was exchanged."""
        return self.optimizer.state[self.parameter].get(self.name)

    def put(self, tensor: Tensor) -> None:
        """Exchange it."""
        self.optimizer.state[self.parameter][self.name] = tensor


class Bank:
    """Tensors as the words of one memory.

    Where possible the tensors become views of `values`, float32, all words in a row: one draw of errors for all of
    them, and no copies. The others are copied there and back.

    Parameters
    ----------
    held : dict of str to Held
        Where they are, by name.
    memory : Memory
        Of as many words.
    initial_write : bool
        Write them now, with errors; else they are loaded without a write.
    """

    def __init__(self, held: dict[str, Held], memory: Memory, *, initial_write: bool) -> None:
        self.held, self.memory = held, memory
        self.array = memory.values if isinstance(memory, InPlaceMemory) else np.zeros(memory.shape, np.float32)
        self.values = torch.from_numpy(self.array)
        self._views: dict[str, Tensor] = {}
        self._versions: dict[str, int] = {}  # of those that are views: torch counts the changes of a tensor
        start = 0
        for name, where in held.items():
            tensor = where.get()
            part = self.values[start : start + tensor.numel()]
            stride = tensor.stride() if _dense(tensor) else torch.empty(tensor.shape, device="meta").stride()
            self._views[name] = part.as_strided(tensor.size(), stride).data
            start += tensor.numel()
        if initial_write:
            with self.rewriting():
                pass
        else:
            self.load()
        for name, where in held.items():
            if where.movable and where.get().device.type == "cpu" and _dense(where.get()):
                where.put(self._views[name])
                self._versions[name] = where.get()._version

    @contextmanager
    def rewriting(self) -> Iterator[None]:
        """Enclose a change of the tensors: at the end they are written, and hold what is then read."""
        if isinstance(self.memory, InPlaceMemory):
            with self.memory.rewriting():
                yield
                self._gather()
        else:
            yield
            self._gather()
            self.memory.write(self.array)
            self.memory.read(out=self.array)
        self._scatter()

    def load(self) -> None:
        """Load the tensors into the cells without a write, and round the tensors to what format and range can hold."""
        self._gather()
        self.memory.load(self.array)
        if not isinstance(self.memory, InPlaceMemory):
            self.array[...] = self.memory.stored
            if self.memory.protection.limit is not None:
                self.array[range_fails(self.array, limit=self.memory.protection.limit)] = 0.0
        self._scatter()

    def state(self) -> dict[str, Any]:
        """Return the memory's state and, unless they follow from it, the numbers last read; arrays as tensors."""
        state = self.memory.state()
        arrays = {part: [array if array is None else _signed(array) for array in state[part]] for part in ARRAYS}
        values = None if isinstance(self.memory, InPlaceMemory) else self.values.clone()
        return {"memory": {**state, **arrays}, "values": values}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restore a `state()`; ValueError if it is one of another memory."""
        parts = checked_parts(state, "memory", "values")
        memory, values = checked_parts(parts["memory"], *ARRAYS), parts["values"]
        arrays = {part: [array if array is None else _unsigned(array) for array in memory[part]] for part in ARRAYS}
        numbers = None if isinstance(self.memory, InPlaceMemory) else _of_tensor(values)
        if numbers is not None:
            checked_arrays("values", [numbers], [self.array])
        self.memory.restore({**memory, **arrays})
        if numbers is not None:
            self.array[...] = numbers
        self._scatter()

    def check_unchanged(self, when: str) -> None:
        """ValueError for tensors that are not the words of the memory any more, or hold what it did not return."""
        for name, version in self._versions.items():
            tensor = self.held[name].get()
            if tensor is None or tensor.data_ptr() != self._views[name].data_ptr():
                remedy = (
                    "Convert a model before its ParameterMemory is made; if an optimizer was restored, bind() it again."
                )
                raise ArgumentError(name, f"must be the tensor that the memory holds, but was replaced{when}. {remedy}")
            if tensor._version != version:
                remedy = "To go on from its new values call load(), from a checkpoint restore()."
                raise ArgumentError(name, f"must change within update() only, but was changed outside{when}. {remedy}")

    def _gather(self) -> None:
        """Copy the tensors that are not views to the words."""
        for name, view in self._views.items():
            if name not in self._versions:
                view.copy_(self.held[name].get().detach())

    def _scatter(self) -> None:
        """Copy what was read to the tensors that are not views."""
        for name, view in self._views.items():
            tensor = self.held[name].get()
            if name in self._versions:
                self._versions[name] = tensor._version
            else:
                tensor.detach().copy_(view)


def _signed(array: NDArray[Any]) -> Tensor:
    """Return unsigned numbers as a tensor: torch has few unsigned types, they are saved as signed ones."""
    return torch.from_numpy(array.view(f"i{array.itemsize}"))


def _unsigned(tensor: Tensor) -> NDArray[Any]:
    array = _of_tensor(tensor)
    return array.view(f"u{array.itemsize}")


def _of_tensor(tensor: Any) -> NDArray[Any]:
    checked_kind("words, pulses and values of state", tensor, Tensor)
    return tensor.cpu().numpy()


def running_statistics(module: nn.Module) -> dict[str, Tensor]:
    """Return mean and variance of a BatchNorm that keeps them, by name; of another module nothing."""
    if not isinstance(module, _NormBase):
        return {}
    found = {"running_mean": module.running_mean, "running_var": module.running_var}
    return {name: tensor for name, tensor in found.items() if tensor is not None}


def parameters_by_kind(model: nn.Module) -> dict[str, dict[str, Held]]:
    """Sort parameters, each once, and running statistics by kind, see `HOLDS`, under their names in the model."""
    found: dict[str, dict[str, Held]] = {kind: {} for kind in HOLDS}
    seen = set()
    for prefix, module in model.named_modules():
        dotted = f"{prefix}." if prefix else ""
        for name, parameter in module.named_parameters(recurse=False):
            kind = "batch_norm" if isinstance(module, NORMS) else "biases" if "bias" in name else "weights"
            if id(parameter) not in seen:
                found[kind][dotted + name] = OfParameter(parameter)
            seen.add(id(parameter))
        for name in running_statistics(module):
            found["running_statistics"][dotted + name] = OfBuffer(module, name)
    return found


def state_tensors(model: nn.Module, optimizer: torch.optim.Optimizer | None) -> dict[str, Held]:
    """Return the state of an optimizer that has the shape of a parameter of the model."""
    if optimizer is None:
        return {}
    return {
        f"{name}.{key}": OfState(optimizer, parameter, key)
        for name, parameter in model.named_parameters()
        for key, value in optimizer.state.get(parameter, {}).items()
        if key != "step" and isinstance(value, Tensor) and value.shape == parameter.shape
    }


def without_latent(optimizers: Sequence[torch.optim.Optimizer]) -> list[Tensor]:
    """Return the weights that the optimizers move as bits or states, without a latent value."""
    return [weight for optimizer in optimizers for weight in getattr(optimizer, "without_latent", ())]


def _dense(tensor: Tensor) -> bool:
    """Whether the tensor fills its storage without gaps, in either of torch's two orders."""
    return tensor.is_contiguous() or (tensor.dim() == 4 and tensor.is_contiguous(memory_format=torch.channels_last))
