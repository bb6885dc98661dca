"""A memory of bits in a layer's slot: rates, keyed draws, and the gradient through a write.

Bit 1 is +1, bit 0 is -1. Rates are probabilities, never percent.
"""

import math
import weakref
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from bnn.errors.keys import PastWrite, WriteKey, WriteKeys, load_without_count
from bnn.errors.rates import HasEnergies, HasRates, checked_error_rate, fitted, rates_of_die, shown_rate
from bnn.errors.transforms import drawn, one_node, refuse_script
from bnn.streams import torch_generator
from mtjsim.checks import ArgumentError, checked_choice

if TYPE_CHECKING:
    from bridge.dies.die import Die

Written = Callable[[Tensor], tuple[Tensor, Tensor | None]]  # bits -> contents of the cells, factor of the gradient
BLOCK = 256  # rows that share a torch generator


class BitMemory(nn.Module, ABC):
    """Base class of memories of bits: rates, keys of the writes, an address. See `WriteErrors` for the parameters."""

    gradients: tuple[str, ...] = ()
    point: HasEnergies | None = None
    counts: np.ndarray
    of_weights = False  # set by a layer for the memory in its weight slot: rows are filters, not samples

    def __init__(
        self, *, error_rate_0: Any, error_rate_1: Any, seed: int, gradient: str, layer: int, path: str
    ) -> None:
        super().__init__()
        self.gradient = checked_choice("gradient", gradient, self.gradients)
        self.path = checked_choice("path", path, ("auto", "numba", "torch"))
        self.error_rate_0 = checked_error_rate("error_rate_0", error_rate_0)
        self.error_rate_1 = checked_error_rate("error_rate_1", error_rate_1)
        self.keys = WriteKeys(seed, layer)

    @classmethod
    def from_operating_point(cls, point: HasRates, *, seed: int, die: "Die | None" = None, **others: Any) -> Any:
        """Make the memory of a `bridge` operating point.

        Parameters
        ----------
        point : OperatingPoint
            Or anything else with the two error rates.
        seed : int, >= 0
        die : Die, optional
            Of the cells of one sample, or of s samples: a rate for each cell, weak cells included. A cell that always
            reads as one bit always fails for the other bit, and never for this one.
        **others
            Further arguments of the class.
        """
        rates = (point.error_rate_0, point.error_rate_1) if die is None else rates_of_die(die, point)
        memory = cls(error_rate_0=rates[0], error_rate_1=rates[1], seed=seed, **others)
        memory.point = point if isinstance(point, HasEnergies) else getattr(point, "point", None)  # prices the ledger
        return memory

    @property
    def seed(self) -> int:
        """Seed of the draws; `reseed` and `use_stream` change it, `load_state_dict` never does."""
        return self.keys.seed

    @property
    def layer(self) -> int:
        """Number of the memory in its network; part of the key."""
        return self.keys.layer

    def use_stream(self, seed: int, *, layer: int | None = None, part: int | None = None) -> None:
        """Draw from the start of the stream of `seed` (and layer, and part), without an address; cells stay."""
        self.keys = WriteKeys(seed, self.layer if layer is None else layer, self.keys.part if part is None else part)

    def reseed(self, seed: int) -> None:
        """Start the stream of `seed`, without an address."""
        self.use_stream(seed)

    def address(self, *, step: int, samples: Tensor | np.ndarray | None, twin: int = 0, call: int = 0) -> None:
        """Set step and samples of the next writes, until changed.

        Parameters
        ----------
        step : int, >= 0
        samples : (n,) whole numbers, or None
            One for each sample of the batch, the same for the same sample in any batch, on any process. A batch of k n
            rows has k of each. None: the rows are 0, 1, 2 ..., as for the filters of a weight.
        twin : int, >= 0
            Distinguishes memories of the same seed and layer in one model; see `bnn.errors.address`.
        call : int, >= 0
            Number of the next write among those of these samples in this step.

        Raises
        ------
        ValueError
            For numbers that are not whole, or a step below 0.

        Notes
        -----
        Further writes at one address are different writes (call 1, 2 ... of the layer), until the address is set again;
        but rows of weights are the same write each time in a step.
        """
        self.keys.address(step=step, samples=samples, twin=twin, call=call)

    def forget_address(self) -> None:
        """Return to automatic numbers: a write's step is the number of writes before it, its samples are 0, 1 ..."""
        self.keys.forget_address()

    __prepare_scriptable__ = refuse_script

    @one_node
    @drawn
    def forward(self, x: Tensor) -> Tensor:
        """Write `x` and return the contents of the cells.

        Parameters
        ----------
        x : Tensor, any shape, values +1 and -1
            NaN passes through, so that a diverged training is visible.

        Returns
        -------
        Tensor, same shape, dtype and device
            The same bits, without a draw, if all rates are 0.
        """
        if x.numel() == 0:
            return x
        on_cpu = x.is_cpu
        by_key = self.path == "numba" or (self.path == "auto" and on_cpu)
        if self.path == "numba" and not on_cpu:
            raise ArgumentError("path", f'must be "auto" or "torch" for a tensor on {x.device}: "numba" needs the CPU.')
        key, past = self.keys.next(x, weights=self.of_weights)

        def write(bits: Tensor) -> tuple[Tensor, Tensor | None]:
            return (self._by_key if by_key else self._from_stream)(bits, key, past)

        return _Write.apply(x, write, past) if x.requires_grad and torch.is_grad_enabled() else write(x)[0]

    @abstractmethod
    def _by_key(self, x: Tensor, key: WriteKey, past: PastWrite | None) -> tuple[Tensor, Tensor | None]:
        """Write x with draws by key; return the contents of the cells and a factor of the gradient (None: 1)."""

    @abstractmethod
    def _from_stream(self, x: Tensor, key: WriteKey, past: PastWrite | None) -> tuple[Tensor, Tensor | None]:
        """Do the same with draws from torch generators."""

    def _parts(self, key: WriteKey) -> list[tuple[slice, torch.Generator]]:
        """Cut the rows of a write into blocks, each with a generator of the key and of the samples in it."""
        found = []
        for start in range(0, len(key.samples), BLOCK):
            part = slice(start, start + BLOCK)
            samples = zlib.crc32(np.ascontiguousarray(key.samples[part]).tobytes())
            found.append((part, torch_generator(key.root, "bit_writes", key.layer, key.step, samples)))
        return found

    def _rates(self, x: Tensor) -> list[Any]:
        """Rates of a 1 and of a 0 for a write of x: numbers, or (s, cells) float64 tensors."""
        if isinstance(self.error_rate_1, float) and isinstance(self.error_rate_0, float):
            return [self.error_rate_1, self.error_rate_0]
        sample = x.shape[1:] if x.dim() > 1 else x.shape
        return [
            rate if isinstance(rate, float) else fitted(name, rate, sample)
            for name, rate in (("error_rate_1", self.error_rate_1), ("error_rate_0", self.error_rate_0))
        ]

    def get_extra_state(self) -> Tensor:
        """Return the number of writes and the counts, (n,) int64; part of `state_dict`. The seed is not in it."""
        return torch.from_numpy(np.append(self.keys.writes, self.counts).astype(np.int64))

    def set_extra_state(self, state: Tensor) -> None:
        """Continue from `state`, with the seed of this memory; part of `load_state_dict`."""
        if state.dtype != torch.int64 or len(state) != 1 + self.counts.size:
            rule = f"must be that of the same kind of memory in this version, {type(self).__name__}"
            remedy = "To load the network alone, leave out the keys of its memories, which have '_memory.' in them"
            raise ArgumentError("state", f"{rule}, got {len(state)} numbers, {state.dtype}. {remedy}.")
        self.keys.writes = int(state[0])
        self.counts = state[1:].cpu().numpy().copy().reshape(self.counts.shape)

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *others: Any) -> None:
        load_without_count(super()._load_from_state_dict, state_dict, prefix, *others)

    def extra_repr(self) -> str:
        """Show rates, gradient and seed in the printed model."""
        rates = f"error_rate_0={shown_rate(self.error_rate_0)}, error_rate_1={shown_rate(self.error_rate_1)}"
        part = f", part={self.keys.part}" if self.keys.part else ""
        return f"{rates}, gradient={self.gradient}, seed={self.seed}, layer={self.layer}{part}, path={self.path}"


class _Graph:
    """Exists as long as the graph of a write."""


class _Write(torch.autograd.Function):
    """x -> contents of the cells; the gradient is the identity, or a factor of each bit."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, written: Written, past: PastWrite | None) -> Tensor:
        out, factor = written(x)
        if past is not None and past.graph is None:
            ctx.graph = _Graph()
            past.graph = weakref.ref(ctx.graph)
        if factor is not None:
            ctx.save_for_backward(factor)
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        saved = ctx.saved_tensors  # once: under activation checkpointing a second access is an error
        return (gradient * saved[0] if saved else gradient), None, None


def select(x: Tensor, rate: Any, generator: torch.Generator) -> tuple[Tensor, int, int]:
    """Positions (with repeats) of the rarer outcome, and the factors of the common and of the rarer outcome."""
    n, largest = x.numel(), float(rate if isinstance(rate, float) else rate.max())
    if largest > 0.5 and not isinstance(rate, float):
        chance = rate.flatten().repeat(-(-n // rate.numel()))[:n]
        hit = torch.rand(n, dtype=torch.float64, generator=generator) < chance
        return hit.nonzero().flatten().to(x.device), 1, -1
    intensity = -math.log1p(-largest) if largest <= 0.5 else -math.log(largest)
    count = 0
    if intensity > 0.0:
        count = int(torch.poisson(torch.tensor(n * intensity, dtype=torch.float64), generator=generator))
    uniform = torch.rand(count, dtype=torch.float64, generator=generator)
    positions = uniform.mul_(n).long()  # torch.randint has a bias of n / 2^32
    if not isinstance(rate, float):
        own = torch.log1p(-rate.flatten()[positions % rate.numel()]).neg_()
        kept = torch.rand(count, dtype=torch.float64, generator=generator) * intensity < own
        positions = positions[kept]
    positions = positions.to(x.device)
    return (positions, 1, -1) if largest <= 0.5 else (positions, -1, 1)


def as_rows(x: Tensor) -> np.ndarray:
    """Return x for the kernels: (samples, cells) float32 in C order, without a copy if possible."""
    cells = (x if x.dtype == torch.float32 else x.to(torch.float32)).detach().numpy()
    rows = cells.shape[0] if cells.ndim > 1 else 1
    return np.ascontiguousarray(cells).reshape(rows, -1)


def check_bits(x: Tensor) -> None:
    """Raise ValueError where x is not +1, -1 or NaN."""
    if x.numel() == 0:
        return
    low, high = torch.aminmax(x.detach().abs())
    if low != low:  # a NaN hides the others
        low, high = torch.aminmax(x.detach().abs().nan_to_num(1.0))
    if not (low == high == 1):
        rule = f"must be +1 or -1 everywhere, got magnitudes from {low:g} to {high:g}: this is a memory of bits"
        raise ArgumentError("x", f"{rule}. Binarize first, with ste_sign().")
