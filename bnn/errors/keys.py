"""The key of each write of a memory of bits, and addresses: same key, same errors.

A key is (seed, layer, step, sample, call). Writes are numbered automatically, or by an address that a training sets.
"""

from __future__ import annotations

import itertools
import weakref
from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from mtjsim.checks import ArgumentError, checked_whole
from mtjsim.rng import checked_seed, child_seed

DISTRIBUTED = dist.is_available()
MOST_RECOMPUTED = 64  # writes of one memory that activation checkpointing can repeat


class WriteKey(NamedTuple):
    """The key of a write: its draws depend on nothing else."""

    root: int  # of the seed and the kind of numbering
    layer: int
    step: int
    samples: np.ndarray  # (rows,) int64
    again: bool = False  # a recomputation, by activation checkpointing

    @property
    def identity(self) -> tuple[int, int, int, bytes]:
        """Equal for the same write."""
        return self.root, self.layer, self.step, self.samples.tobytes()


class PastWrite:
    """A write that activation checkpointing may repeat.

    Parameters
    ----------
    mark : int
        Hash of its bits.
    key : WriteKey
    """

    counter = itertools.count()
    last_recomputed = (-1, -2)  # backward pass, and place of the write that was recomputed last in it, in any memory

    def __init__(self, mark: int, key: WriteKey) -> None:
        self.mark, self.key, self.recomputed = mark, key, False
        self.place = next(PastWrite.counter)  # among the writes of all memories
        self.held: Tensor | None = None  # former contents of the cells, if they are needed
        self.graph: weakref.ref[Any] | None = None  # of the backward pass; freed when that is done

    @property
    def over(self) -> bool:
        """Whether its backward pass is done; a write without a graph is recomputed once."""
        return self.recomputed if self.graph is None else self.graph() is None


def addressed_root(seed: int, *, part: int = 0, call: int = 0, twin: int = 0) -> int:
    """Return the root of the keys of writes at an address; `call` counts the writes at one address."""
    root = child_seed(seed, "addressed_bit_writes", part)
    return child_seed(root, "repeated_bit_writes", call, twin) if call or twin else root


class WriteKeys:
    """Numbers the writes of one memory: (seed, layer, step, sample, call).

    Without an address, a write's step is the number of writes before it, and its samples are its rows, numbered
    differently in each process. At an address, further writes of the same step and samples (a layer that is called
    twice) are calls 1, 2 ...; rows of weights are the same write each time. A write during a backward pass is a
    recomputation: it has the key of the write that it repeats, which is found by its bits, and is not counted.

    Parameters
    ----------
    seed, layer : int, >= 0
    part : int, from 0 to 2^32 - 1
        Distinguishes parts that were made separately with one seed.
    """

    _rows = np.arange(0)  # of the last write without an address

    def __init__(self, seed: int, layer: int, part: int = 0) -> None:
        self.seed, self.layer, self.part = checked_seed(seed), checked_whole("layer", layer, least=0), part
        self.writes = 0
        self.root = child_seed(self.seed, "bit_writes", part)  # of writes without an address
        self._first_root = addressed_root(self.seed, part=part)
        self._address: tuple[int, np.ndarray | None, int] | None = None
        self._calls = 0
        self._past: deque[PastWrite] = deque(maxlen=MOST_RECOMPUTED)

    def address(self, *, step: int, samples: Tensor | np.ndarray | None, twin: int = 0, call: int = 0) -> None:
        """See `BitMemory.address`."""
        numbers = None if samples is None else np.asarray(samples)
        if numbers is not None and (numbers.dtype.kind not in "iu" or numbers.ndim != 1):
            found = f"{numbers.dtype} of shape {numbers.shape}"
            raise ArgumentError("samples", f"must be whole numbers in one dimension, or None, got {found}.")
        step = checked_whole("step", step, least=0)
        self._address, self._calls = (step, None if numbers is None else numbers.astype(np.int64), twin), call

    def forget_address(self) -> None:
        """See `BitMemory.forget_address`."""
        self._address = None

    @property
    def stream(self) -> tuple[int, int, int]:
        """Seed, layer and part."""
        return self.seed, self.layer, self.part

    @property
    def addressed(self) -> bool:
        """Whether there is an address."""
        return self._address is not None

    def next(self, x: Tensor, *, weights: bool) -> tuple[WriteKey, PastWrite | None]:
        """Return the key of a write of x, whose rows are samples or those of weights; counts it.

        The second is what is needed to repeat it; None if that cannot happen.
        """
        if torch._C._current_graph_task_id() != -1:  # inside a backward pass
            return self._recomputed(_mark(x))
        rows = len(x) if x.dim() > 1 else 1
        key = self._numbered(rows, weights) if self._address is None else self._at_address(rows, weights)
        self.writes += 1
        if not _repeatable():
            return key, None
        past = PastWrite(_mark(x), key)
        self._past.append(past)
        return key, past

    def _numbered(self, rows: int, weights: bool) -> WriteKey:
        if len(self._rows) != rows:
            self._rows = np.arange(rows)
        samples = self._rows
        if DISTRIBUTED and not weights and dist.is_initialized():
            samples = samples + (dist.get_rank() << 40)
        return WriteKey(self.root, self.layer, self.writes, samples)

    def _at_address(self, rows: int, weights: bool) -> WriteKey:
        assert self._address is not None
        step, samples, twin = self._address
        if weights or samples is None:  # the same rows in the same step: the same write
            samples, call = np.arange(rows), 0
        else:
            samples, call = _of_rows(samples, rows), self._calls
            self._calls += 1
        root = self._first_root
        if call or twin:
            root = addressed_root(self.seed, part=self.part, call=call, twin=twin)
        return WriteKey(root, self.layer, step, samples)

    def _recomputed(self, mark: int) -> tuple[WriteKey, PastWrite]:
        """Return the write of these bits that is repeated: within a segment the writes are repeated in their order."""
        backward, place = PastWrite.last_recomputed
        task = torch._C._current_graph_task_id()
        same = [past for past in self._past if past.mark == mark and not past.over]
        found = [past for past in same if task == backward and past.place == place + 1] or same
        if len({past.key.identity for past in found}) != 1:
            raise RuntimeError(
                "A memory was written during a backward pass, and it is not clear which of its last "
                f"{MOST_RECOMPUTED} writes is recomputed ({len(found)} had the same bits): its errors cannot be "
                "repeated. Run backward() before the next forward pass of the same images, or write them without "
                "torch.utils.checkpoint. Weights that are written several times in a pass: give them an address, "
                "bnn.address(model, step=..., samples=...), at which they are one write."
            )
        past = found[-1]
        past.recomputed, PastWrite.last_recomputed = True, (task, past.place)
        return past.key._replace(again=True), past

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_past": deque(maxlen=MOST_RECOMPUTED)}  # of this object's own backward passes only


def _repeatable() -> bool:
    """Whether activation checkpointing may repeat what is done now: it works without gradients, or with hooks."""
    return not torch.is_grad_enabled() or _saved_by_hooks()


def _saved_by_hooks() -> bool:
    """Whether hooks save the tensors of this pass; True in a torch that does not say."""
    try:
        return torch._C._autograd._top_saved_tensors_default_hooks(True) is not None
    except (AttributeError, TypeError):
        return True


def _mark(x: Tensor) -> int:
    """Return a hash of the shape and some hundred values of a write, to find it again."""
    some = x.detach()
    if x.device.type != "cpu" or x.dtype == torch.bfloat16:
        some = some[:: max(1, len(x) // 16)].to("cpu", torch.float32) if x.dim() else some.to("cpu", torch.float32)
    values = some.numpy()
    values = values[:: max(1, len(values) // 16)].reshape(-1) if values.ndim else values.reshape(-1)
    return hash((x.shape, values[:: max(1, len(values) // 512)].tobytes()))


def _of_rows(samples: np.ndarray, rows: int) -> np.ndarray:
    """Return a number for each row; where a sample has several rows (tokens), they follow each other."""
    if len(samples) == rows:
        return samples
    if len(samples) == 0 or rows % len(samples):
        rule = f"must name each of the {rows} samples that are written, got {len(samples)}"
        remedy = (
            "A layer writes every image of a batch, or as many rows of each; in an own loop call address() for each"
        )
        raise ArgumentError("samples", f"{rule}. {remedy} batch, or forget_address().")
    each = rows // len(samples)
    return np.repeat(samples * each, each) + np.tile(np.arange(each), len(samples))


@runtime_checkable
class Addressed(Protocol):
    """A module whose draws have an address: a memory, a dropout."""

    def address(self, *, step: int, samples: Any, twin: int = 0) -> None:
        """Set step and samples of the next forward pass."""

    def forget_address(self) -> None:
        """Return to automatic numbers."""


@runtime_checkable
class Keyed(Addressed, Protocol):
    """A module whose draws have an address and `WriteKeys`."""

    keys: WriteKeys


def address(model: nn.Module, *, step: int, samples: Tensor | np.ndarray) -> None:
    """Set step and samples of the next writes, in every memory of `model`.

    Parameters
    ----------
    model : Module
    step : int, >= 0
    samples : (n,) whole numbers
        Of the batch, for activation memories; the rows of weights (memories in a `weight_memory` slot) are 0, 1, 2 ....

    Notes
    -----
    Memories with the same seed and layer, such as those of parts that were made separately, are numbered in the order
    of the model and draw independently.
    """
    of_weights = {
        id(part)
        for name, memory in model.named_modules(remove_duplicate=False)
        if name.rpartition(".")[2] == "weight_memory"
        for part in memory.modules()
    }
    twins: Counter[tuple[int, int, int]] = Counter()
    for module in model.modules():
        if isinstance(module, Addressed):
            stream = module.keys.stream if isinstance(module, Keyed) else (id(module), 0, 0)
            module.address(step=step, samples=None if id(module) in of_weights else samples, twin=twins[stream])
            twins[stream] += 1


def forget_address(model: nn.Module) -> None:
    """Undo `address`: every memory of `model` numbers its writes automatically again, for batches of any size."""
    for module in model.modules():
        if isinstance(module, Addressed):
            module.forget_address()


def load_without_count(load: Callable[..., None], state_dict: Mapping[str, Any], prefix: str, *others: Any) -> None:
    """Load a module from what there is: in a checkpoint of a plain network, the number of writes is not missing."""
    missing = others[2]
    before = len(missing)
    load(state_dict, prefix, *others)
    missing[before:] = [key for key in missing[before:] if not key.endswith("_extra_state")]
