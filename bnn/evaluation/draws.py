"""Error draws of an evaluation: memories that replace those of a model, each draw by its key.

Activations are written for each image, weights once a draw: a draw is one programming of one die. The model is left as
it was, bit for bit: mode, memories and their streams.
"""

import copy
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from bnn.errors.bits import BLOCK, BitMemory
from bnn.errors.dies import Dies, check_process
from bnn.errors.overwrite import OverwriteErrors
from bnn.errors.rates import HasRates, points_of_layers
from bnn.errors.write_errors import WriteErrors
from bnn.layers.slots import activation_memories, memories, weight_memories
from mtjsim.checks import ArgumentError
from mtjsim.rng import Role, child_seed

if TYPE_CHECKING:
    from bridge.dies.faults import Process


@runtime_checkable
class Reseeded(Protocol):
    """A module with its own random stream."""

    def reseed(self, seed: int) -> None:
        """Start the stream of `seed`."""


class EvaluatedMemory(nn.Module):
    """A memory during an evaluation: each draw starts with the first state of the cells, and is a step of the key.

    Parameters
    ----------
    memory : Module
        Of one slot; a `BitMemory` or a module with some in it.
    seed : int, >= 0
        Of the draws of this slot.
    """

    def __init__(self, memory: nn.Module, seed: int) -> None:
        super().__init__()
        self.original, self.seed = memory.eval(), seed
        # Cells with a state, and rates of several samples in turn, depend on the place in a batch.
        self.in_blocks = any(
            isinstance(part, OverwriteErrors)
            or not (isinstance(part.error_rate_0, float) and isinstance(part.error_rate_1, float))
            for part in _bit_memories(memory)
        )
        for index, part in enumerate(_bit_memories(self.original)):
            part.use_stream(seed, layer=index, part=0)

    def begin(self, draw: int) -> None:
        """Begin a draw."""
        self.memory, self.draw = copy.deepcopy(self.original), draw
        for part in self.memory.modules():
            if isinstance(part, Reseeded) and not isinstance(part, BitMemory):
                part.reseed(child_seed(self.seed, "evaluation", draw))

    def address(self, samples: Tensor) -> None:
        """Set which images of the draw are written next."""
        self.samples, self.call = samples, 0

    def forward(self, x: Tensor) -> Tensor:
        """Write x, of the images of the address, and return what is read."""
        for part in _bit_memories(self.memory):
            part.address(step=self.draw, samples=self.samples, call=self.call)
        self.call += 1
        return self.memory(x)


class ProgrammedMemory(EvaluatedMemory):
    """A weight memory that is written once a draw, and read for all its images."""

    def begin(self, draw: int) -> None:
        """Begin a draw: the next forward pass writes."""
        super().begin(draw)
        self.held: Tensor | None = None
        for part in _bit_memories(self.memory):
            part.address(step=draw, samples=None)

    def address(self, samples: Tensor) -> None:
        """Do nothing: the weights are the same for all images."""

    def forward(self, x: Tensor) -> Tensor:
        """Write x, once a draw, and return what the cells hold."""
        if self.held is None:
            self.held = self.memory(x).detach()
        return self.held


class OnDie(EvaluatedMemory):
    """A memory on another die in each draw; its cells are those of the first sample that is written."""

    def __init__(self, memory: nn.Module, seed: int, process: "Process") -> None:
        super().__init__(memory, seed)
        self.dies = Dies(process, memory, seed)

    def begin(self, draw: int) -> None:
        """Begin a draw: the next forward pass takes a die."""
        super().begin(draw)
        self.cells: tuple[int, ...] | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Write x to the cells of the die; ValueError for samples of another shape than the first one's."""
        sample = tuple(x.shape[1:])
        if self.cells is None:
            self.memory, self.cells = self.dies.memory(sample, self.draw), sample
        if sample != self.cells:
            rule = f"must be left out where a layer has inputs of several shapes, got {self.cells} and {sample}"
            raise ArgumentError("process", f"{rule}: the cells of a die are those of one.")
        return super().forward(x)


class ProgrammedOnDie(ProgrammedMemory):
    """A weight memory on another die in each draw."""

    def __init__(self, memory: nn.Module, seed: int, process: "Process") -> None:
        super().__init__(memory, seed)
        self.dies = Dies(process, memory, seed)

    def forward(self, x: Tensor) -> Tensor:
        """Write x, once a draw, and return what the cells of the die hold."""
        if self.held is None:
            self.memory = self.dies.memory(tuple(x.shape), self.draw)
            self.memory.address(step=self.draw, samples=None)
        return super().forward(x)


def _bit_memories(memory: nn.Module) -> list[BitMemory]:
    return [part for part in memory.modules() if isinstance(part, BitMemory)]


class Draws:
    """The memories of an evaluation, one for each slot of a model."""

    def __init__(
        self, model: nn.Module, errors: Any, weight_errors: Any, seed: int, process: "Process | None" = None
    ) -> None:
        self.on_dies = process is not None
        on_die: Any = EvaluatedMemory if process is None else partial(OnDie, process=process)
        programmed: Any = ProgrammedMemory if process is None else partial(ProgrammedOnDie, process=process)
        kinds: tuple[tuple[str, Any, str, Role, Callable[..., EvaluatedMemory]], ...] = (
            ("errors", errors, "activation_memory", "evaluated_activations", on_die),
            ("weight_errors", weight_errors, "weight_memory", "evaluated_weights", programmed),
        )
        self.activations, self.weights = (
            [
                None if memory is None else wrap(memory, child_seed(seed, role, slot))
                for slot, memory in enumerate(_memories_of(model, argument, given, kind))
            ]
            for argument, given, kind, role, wrap in kinds
        )

    @property
    def shared(self) -> bool:
        """Whether there are errors that all images of a draw share."""
        return self.on_dies or any(memory is not None for memory in self.weights)

    @property
    def any(self) -> bool:
        """Whether there is a memory."""
        return bool(self._present)

    @property
    def _present(self) -> list[EvaluatedMemory]:
        return [memory for memory in (*self.activations, *self.weights) if memory is not None]

    def begin(self, draw: int) -> None:
        """Begin a draw in every memory."""
        for memory in self._present:
            memory.begin(draw)

    def batches(self, images: Tensor, batch_size: int) -> Iterator[Tensor]:
        """Yield copies of the images of a draw, in batches; a model may change its input in place.

        The memories have the address of the batch that was yielded last.
        """
        yield from self.each(images.split(self.batch_size(batch_size)))

    def batch_size(self, wanted: int) -> int:
        """Return the images in a forward pass: whole blocks, or one if a memory depends on the place in a batch."""
        in_blocks = any(memory is not None and memory.in_blocks for memory in self.activations)
        return BLOCK if in_blocks else whole_blocks(wanted)

    def each(self, batches: Iterable[Tensor]) -> Iterator[Tensor]:
        """Do what `batches` does with images that are cut already, in sizes of `batch_size`."""
        first = 0
        for batch in batches:
            self._samples, self._batch = torch.arange(first, first + len(batch)), batch
            yield self.again()
            first += len(batch)

    def again(self) -> Tensor:
        """Return the batch that was yielded last once more, for which the memories have their address again."""
        self.address()
        return self._batch.clone()

    def address(self) -> None:
        """Give the memories the address of the batch that was yielded last, so that it is written as before."""
        for memory in self._present:
            memory.address(self._samples)


@contextmanager
def error_draws(
    model: nn.Module, errors: Any, weight_errors: Any, *, seed: int, process: "Process | None" = None
) -> Iterator[Draws]:
    """Put `model` into evaluation mode, without gradients, with the memories of an evaluation.

    Parameters
    ----------
    model : Module
        Restored at the end of the block, also after an exception.
    errors, weight_errors : point, mapping of points, "as_trained" or None
        As for `bnn.evaluate`.
    seed : int, >= 0
    process : Process, optional
        Of the dies: one for each draw and memory.

    Raises
    ------
    ValueError
        For unknown errors, or errors that would touch nothing.
    """
    check_process(process, errors=errors, weight_errors=weight_errors)
    draws = Draws(model, errors, weight_errors, seed, process)
    modes = [(module, module.training) for module in model.modules()]
    try:
        with (
            memories(model, lambda name, index: draws.activations[index]),
            memories(model, lambda name, index: draws.weights[index], slot="weight_memory"),
            torch.no_grad(),
        ):
            model.eval()
            yield draws
    finally:
        for module, mode in modes:
            module.training = mode


def whole_blocks(batch_size: int) -> int:
    """Round up to blocks of images that share a torch generator, so that the errors do not depend on the batches."""
    return -(-batch_size // BLOCK) * BLOCK


def _memories_of(model: nn.Module, argument: str, errors: Any, slot: str) -> list[nn.Module | None]:
    """One memory for each slot of a kind, in the model's order; None where the slot stays empty."""
    layers = (activation_memories if slot == "activation_memory" else weight_memories)(model)
    if errors is None:
        return [None] * len(layers)
    if isinstance(errors, str) and errors == "as_trained":
        return [copy.deepcopy(getattr(layer, slot)) for layer in layers.values()]
    if not layers:
        kind = slot.removesuffix("_memory")
        rule = f"would touch nothing: the model has no {kind} slot"
        raise ArgumentError(argument, f"{rule}. Build it of bnn.layers, or pass {argument}=None.")
    rule = 'must be None, "as_trained", an operating point or a WriteErrors, a pair of rates or a mapping of layers'
    points = points_of_layers(argument, errors, list(layers), rule=rule)
    return [_memory(points[name]) if name in points else None for name in layers]


def _memory(point: HasRates) -> BitMemory:
    """Return a memory of a point; a copy of one whose cells have a state."""
    if isinstance(point, OverwriteErrors):
        return copy.deepcopy(point)
    return WriteErrors.from_operating_point(point, seed=0)
