"""Errors drawn for an evaluation: memories put into a model's slots for a while, each draw by its key.

Activations are written anew for each image, weights once a draw: a draw is one programming of one die. The model is
left as it was, bit for bit: mode, memories and their streams.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bnn.errors import WriteErrors
from bnn.layers import activation_memories, memories, weight_memories
from bnn.overwrite import OverwriteErrors

BLOCK = 256  # images that share an error stream
WEIGHTS = 1  # a role in the key of a stream; the activations' keys have none


class BlockedMemory(nn.Module):
    """An activation memory whose stream starts anew at every block of images: batches do not change the errors."""

    def __init__(self, memory: nn.Module) -> None:
        super().__init__()
        self.original = memory.eval()
        self.memory: Any = None  # a Module, perhaps with reseed()

    def start(self, seed: int, draw: int, layer: int, images: int) -> None:
        """Begin a draw: from the memory's first state, with the streams of (seed, draw, layer)."""
        key = np.random.SeedSequence(seed, spawn_key=(draw, layer))
        self.seeds = iter(key.generate_state(-(-images // BLOCK), np.uint64).tolist())
        self.memory = copy.deepcopy(self.original)

    def forward(self, x: Tensor) -> Tensor:
        """Write x, the next images of the draw, block by block."""
        return torch.cat([self._write(part) for part in x.split(BLOCK)])

    def _write(self, block: Tensor) -> Tensor:
        _restart_stream(self.memory, next(self.seeds))
        return self.memory(block)


class ProgrammedMemory(nn.Module):
    """A weight memory that is written once a draw; until the next one it returns what its cells hold."""

    def __init__(self, memory: nn.Module) -> None:
        super().__init__()
        self.original = memory.eval()
        self.held: Tensor | None = None

    def start(self, seed: int, draw: int, layer: int, images: int) -> None:
        """Begin a draw: the next forward pass writes, from the memory's first state, by the key (seed, draw, layer)."""
        self.key = int(np.random.SeedSequence(seed, spawn_key=(WEIGHTS, draw, layer)).generate_state(1, np.uint64)[0])
        self.held = None

    def forward(self, x: Tensor) -> Tensor:
        """Return what the cells hold after x was written to them, once."""
        if self.held is None:
            memory = copy.deepcopy(self.original)
            _restart_stream(memory, self.key)
            self.held = memory(x).detach()
        return self.held


def _restart_stream(memory: Any, seed: int) -> None:
    """Start the stream of `seed`, if there is one, and leave to the cells what they hold."""
    if not hasattr(memory, "reseed"):
        return
    cells = dict(memory.named_buffers(recurse=False))
    memory.reseed(seed)
    for name, held in cells.items():
        setattr(memory, name, held)


class Draws:
    """What a model's slots hold during an evaluation; called with a draw's number, it begins that draw."""

    def __init__(self, model: nn.Module, errors: Any, weight_errors: Any, seed: int, images: int) -> None:
        self.seed, self.images = seed, images
        self.activations = _memories_of(model, "errors", errors, "activation_memory", BlockedMemory)
        self.weights = _memories_of(model, "weight_errors", weight_errors, "weight_memory", ProgrammedMemory)

    @property
    def shared(self) -> bool:
        """Whether all images of a draw meet the same errors somewhere."""
        return any(memory is not None for memory in self.weights)

    @property
    def any(self) -> bool:
        """Whether a memory is left at all."""
        return self.shared or any(memory is not None for memory in self.activations)

    def __call__(self, draw: int) -> None:
        """Begin a draw in every memory."""
        for slots in (self.activations, self.weights):
            for index, memory in enumerate(slots):
                if memory is not None:
                    memory.start(self.seed, draw, index, self.images)


@contextmanager
def error_draws(model: nn.Module, errors: Any, weight_errors: Any, *, seed: int, images: int) -> Iterator[Draws]:
    """Put `model` into eval mode, without gradients, with memories that begin each draw by its key.

    Parameters
    ----------
    model : Module
        As it was again at the end of the block, also after an exception.
    errors, weight_errors : operating point, WriteErrors, "as_trained" or None
        As for `bnn.evaluate`.
    seed : int, >= 0
    images : int
        How many each draw writes.

    Raises
    ------
    ValueError
        For unknown errors, or errors that would touch nothing.
    """
    draws = Draws(model, errors, weight_errors, seed, images)
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


def in_batches(model: nn.Module, data: Any, batch_size: int) -> list[tuple[Tensor, Tensor]]:
    """Cut images and labels, on the model's device, into batches of `batch_size` rounded up to whole blocks."""
    size = -(-batch_size // BLOCK) * BLOCK
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    images, labels = torch.from_numpy(data.scaled()).to(device), torch.tensor(data.labels).to(device)
    return list(zip(images.split(size), labels.split(size), strict=True))


def _memories_of(model: nn.Module, argument: str, errors: Any, slot: str, wrap: Any) -> list[Any]:
    """One memory for each slot of a kind, in the model's order; None where the slot stays empty."""
    layers = (activation_memories if slot == "activation_memory" else weight_memories)(model).values()
    if errors is None:
        return [None] * len(layers)
    if isinstance(errors, str) and errors == "as_trained":
        present = [getattr(layer, slot) for layer in layers]
        return [None if memory is None else wrap(copy.deepcopy(memory)) for memory in present]
    if not (hasattr(errors, "error_rate_0") and hasattr(errors, "error_rate_1")):
        raise ValueError(f'{argument} must be None, "as_trained", an operating point or a WriteErrors, got {errors!r}.')
    if not layers:
        kind = slot.removesuffix("_memory")
        raise ValueError(
            f"{argument} would touch nothing: the model has no {kind} slot. Build it of bnn.layers, or pass "
            f"{argument}=None."
        )
    if isinstance(errors, OverwriteErrors):  # cells with a state: a copy for each slot
        rows = max(len(layer.weight) for layer in layers) if slot == "weight_memory" else 0  # type: ignore[arg-type]
        if errors.slots is not None and errors.slots < rows:
            raise ValueError(
                f"{argument} must have a slot for each of the {rows} rows of a weight, got slots={errors.slots}: they "
                "are all there at once. Use slots=None."
            )
        return [wrap(copy.deepcopy(errors)) for _ in layers]
    return [wrap(WriteErrors.from_operating_point(errors, seed=0)) for _ in layers]
