"""Write errors on +-1 tensors: exact for every rate from 0 to 1, asymmetric, seeded, resumable.

Bit 1 is +1, bit 0 is -1. The errors are *independent*: every written cell is taken to have held the opposite bit, so
each bit errs with its full rate (the worst case, and what the literature simulates [1]); for cells that keep what they
held see `bnn.overwrite`. Rates are probabilities, never percent.

References
----------
.. [1] Tzoufras, Gajek, Walker, "Magnetoresistive RAM for error resilient XNOR-Nets", arXiv:1905.10927 (2019).
"""

import math
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from mtjsim.checks import checked_choice, checked_whole

if TYPE_CHECKING:
    from bridge.dies.die import Die
    from bridge.ledger import Ledger
    from bridge.write import OperatingPoint

Written = Callable[[Tensor], tuple[Tensor, Tensor | None]]  # bits -> what the cells hold, factor of the gradient


class BitMemory(nn.Module, ABC):
    """What every memory of bits has: rates, a stream, keys, and an address. See `WriteErrors` for the parameters."""

    gradients: tuple[str, ...] = ()
    point: "OperatingPoint | None" = None

    def __init__(
        self, *, error_rate_0: Any, error_rate_1: Any, seed: int, gradient: str, layer: int, path: str
    ) -> None:
        super().__init__()
        self.gradient = checked_choice("gradient", gradient, self.gradients)
        self.path = checked_choice("path", path, ("auto", "numba", "torch"))
        self.error_rate_0 = _rate("error_rate_0", error_rate_0)
        self.error_rate_1 = _rate("error_rate_1", error_rate_1)
        self.layer = checked_whole("layer", layer, least=0)
        self.reseed(seed)

    @classmethod
    def from_operating_point(
        cls, point: "OperatingPoint", *, seed: int, die: "Die | None" = None, **others: Any
    ) -> Any:
        """Make the memory that a `bridge` operating point describes; anything with the two error rates will do.

        Parameters
        ----------
        point : OperatingPoint
        seed : int, >= 0
        die : Die, optional
            Of the cells of one sample, or of s samples: a rate for each cell, weak cells in it. A cell that always
            reads as one bit fails always for the other and never for its own.
        **others
            As the class takes them.
        """
        rates = (point.error_rate_0, point.error_rate_1) if die is None else rates_of_die(die, point)
        memory = cls(error_rate_0=rates[0], error_rate_1=rates[1], seed=seed, **others)
        memory.point = point if hasattr(point, "energies") else None  # prices the ledger
        return memory

    def reseed(self, seed: int) -> None:
        """Start the stream of `seed`, and forget the address."""
        self.seed = check_seed(seed)
        self._generator = seeded_generator(seed)
        self._root = np.random.SeedSequence(self.seed).generate_state(1, np.uint64)[0]
        self._writes = 0
        self._address: tuple[int, np.ndarray | None] | None = None

    def address(self, *, step: int, samples: Tensor | np.ndarray | None) -> None:
        """Say which samples are written next, and in which step; holds until it is said anew.

        Parameters
        ----------
        step : int, >= 0
        samples : (n,) whole numbers, or None
            One for each sample of the batch, the same for the same sample in any batch, on any process. None: the rows
            are 0, 1, 2 ..., as the filters of a weight.

        Raises
        ------
        ValueError
            For numbers that are not whole, or a step below 0.
        """
        numbers = None if samples is None else np.asarray(samples)
        if numbers is not None and (numbers.dtype.kind not in "iu" or numbers.ndim != 1):
            raise ValueError(
                "samples must be whole numbers in one dimension, or None, got "
                f"{numbers.dtype} of shape {numbers.shape}."
            )
        self._address = checked_whole("step", step, least=0), None if numbers is None else numbers.astype(np.int64)

    def forget_address(self) -> None:
        """Go back to numbers of its own: a write's step is the number of writes before it, its samples are 0, 1 ..."""
        self._address = None

    def forward(self, x: Tensor) -> Tensor:
        """Write `x` and return what the cells hold.

        Parameters
        ----------
        x : Tensor, any shape, values +1 and -1 (NaN passes through, so that a diverged training is seen)

        Returns
        -------
        Tensor, same shape, dtype and device
            A new tensor; the very same bits, without a draw, if all rates are 0.
        """
        if x.numel() == 0:
            return x
        by_key = self.path == "numba" or (self.path == "auto" and x.device.type == "cpu")
        if self.path == "numba" and x.device.type != "cpu":
            raise ValueError(f'path must be "auto" or "torch" for a tensor on {x.device}: "numba" is for the CPU.')
        write = self._by_key if by_key else self._from_stream
        return _Write.apply(x, write) if x.requires_grad and torch.is_grad_enabled() else write(x)[0]

    @abstractmethod
    def _by_key(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Write x with draws by key; return what the cells hold, and a factor of the gradient (None: 1)."""

    @abstractmethod
    def _from_stream(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Do the same with draws from the stream."""

    def _samples(self, rows: int) -> tuple[int, np.ndarray]:
        """Step and numbers of the samples of a write of so many rows."""
        step, samples = self._address or (self._writes, None)
        if samples is None:
            samples = np.arange(rows)
        if len(samples) != rows:
            raise ValueError(
                f"samples must name each of the {rows} samples that are written, got {len(samples)}. Call address() "
                "for each batch, or forget_address()."
            )
        return step, samples

    def _key(self, rows: int) -> tuple[np.uint64, int, int, np.ndarray]:
        """Return what a write of so many rows is keyed by: root of the seed, layer, step, samples."""
        return self._root, self.layer, *self._samples(rows)

    def _stream(self, rows: int) -> torch.Generator:
        """Return the one stream, or that of the step and the samples of the address."""
        if self._address is None:
            return self._generator
        step, samples = self._samples(rows)
        return seeded_generator(int(self._root), self.layer, step, zlib.crc32(np.ascontiguousarray(samples).tobytes()))

    def _rates(self, x: Tensor) -> list[Any]:
        """Rates of a 1 and of a 0 for a write of x: numbers, or (s, cells) float64 tensors."""
        if isinstance(self.error_rate_1, float) and isinstance(self.error_rate_0, float):
            return [self.error_rate_1, self.error_rate_0]
        sample = x.shape[1:] if x.dim() > 1 else x.shape
        return [
            rate if isinstance(rate, float) else fitted(name, rate, sample)
            for name, rate in (("error_rate_1", self.error_rate_1), ("error_rate_0", self.error_rate_0))
        ]

    def _select(self, x: Tensor, rate: Any, generator: torch.Generator) -> tuple[Tensor, int, int]:
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

    def get_extra_state(self) -> Tensor:
        """Return the state of the stream, the root of the keys and the number of writes; part of `state_dict`."""
        by_key = torch.from_numpy(np.array([self._root, self._writes], dtype=np.uint64).view(np.uint8))
        return torch.cat([self._generator.get_state(), by_key])

    def set_extra_state(self, state: Tensor) -> None:
        """Continue from `state`; part of `load_state_dict`."""
        stream, by_key = state.cpu()[:-16].clone(), state.cpu()[-16:].numpy().copy().view(np.uint64)
        self._generator.set_state(stream)
        self._root, self._writes = by_key[0], int(by_key[1])

    def __getstate__(self) -> dict[str, Any]:
        # A generator is neither copied nor pickled by every torch we support; its state is.
        return {**self.__dict__, "_generator": self._generator.get_state()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._generator = torch.Generator()
        self._generator.set_state(state["_generator"])

    def extra_repr(self) -> str:
        """Show rates, gradient and seed in the printed model."""
        rates = f"error_rate_0={_shown(self.error_rate_0)}, error_rate_1={_shown(self.error_rate_1)}"
        return f"{rates}, gradient={self.gradient}, seed={self.seed}, layer={self.layer}, path={self.path}"


class WriteErrors(BitMemory):
    """A memory that is written with errors: +-1 in, +-1 out, each bit wrong with the rate of its value.

    Active in training and in evaluation mode alike: whether a memory errs is decided by which memory sits in a layer's
    slot, never by the mode of the network (see `bnn.layers.memories`).

    Parameters
    ----------
    error_rate_0, error_rate_1 : float, or array of the shape of one sample; in [0, 1]
        Probability that a bit told to become 0 (-1) ends as 1 (+1); that a bit told to become 1 (+1) ends as 0 (-1). Of
        all cells, or of each. An array may be flat, and may have rows for s samples, used in turn: one row a filter for
        a memory of weights.
    seed : int, >= 0
        Of this memory's own stream. Never torch's global stream.
    gradient : {"identity", "flipped"}
        "identity" hands the gradient through unchanged, as in [1]; "flipped" multiplies it by -1 where the bit was
        flipped. Forward and backward always see the same draw.
    layer : int, >= 0
        Which memory of a network this is; part of the key, so that one seed serves a whole network.
    path : {"auto", "numba", "torch"}
        Two roads to the same law, with different draws. "numba", on the CPU: drawn *by key* (`error_kernels.py`), from
        (seed, layer, step, sample) and nothing else, so that the draw of a sample is the same however a batch is split
        over forward passes and processes. "torch", on any device: drawn from one stream, in the order of the writes, or
        after `address` from a stream of that step and these samples: written again, they err alike.
        "auto": "numba" for a tensor on the CPU.
    counted : bool
        Count the bits that are told, `counts[bit]`, for the `ledger`: one more pass over them.

    Raises
    ------
    ValueError
        For a rate outside [0, 1] or NaN, a seed that is not a whole number >= 0, an unknown gradient, or (in the
        forward pass) values other than +-1, or rates of other cells than those that are written.

    Notes
    -----
    *By key.* Dimension 0 counts samples (of a vector: one sample). `address` says which samples they are, and of which
    step; without an address a write's step is the number of writes before it, its samples are 0, 1, 2 ...

    *From the stream.* The tensor is not touched cell by cell. To select each of N cells independently with probability
    p, draw ``K ~ Poisson(-N log(1 - p))`` and then K positions with replacement: each cell is hit by its own Poisson
    number of positions, hence at least once with probability exactly p, whatever the others do. A position drawn twice
    writes the same value twice. For p <= 1/2 the selected cells err; for p > 1/2 the selected cells (now with 1 - p)
    are those that succeed. Unequal rates take one pass for each bit value, both decided on the original tensor. A rate
    of 0 or 1 draws nothing.

    Everything is drawn in float64. A dense mask ``torch.rand(N) < p`` in float32 cannot do this: its uniforms are
    multiples of 2^-24, so it fires with probability 6e-8 at any smaller p. Here the count is resolved to 2^-53 per call
    (a relative 1e-16 / (N p)) and the positions to N / 2^53.

    Draws are made on the CPU and moved to the device of the input. The stream's state and the number of writes are in
    the `state_dict`, so that a resumed training continues bit for bit; the rates are not, since they describe the
    memory and not its contents.

    Examples
    --------
    >>> memory = WriteErrors(error_rate_0=0.0, error_rate_1=0.5, seed=7)
    >>> memory(torch.tensor([1.0, 1.0, 1.0, 1.0, -1.0, -1.0])).shape
    torch.Size([6])
    >>> WriteErrors(error_rate_0=1.0, error_rate_1=0.0, seed=7)(torch.tensor([1.0, -1.0]))
    tensor([1., 1.])
    """

    gradients = ("identity", "flipped")

    def __init__(
        self,
        *,
        error_rate_0: float | Tensor | np.ndarray,
        error_rate_1: float | Tensor | np.ndarray,
        seed: int,
        gradient: str = "identity",
        layer: int = 0,
        path: str = "auto",
        counted: bool = False,
    ) -> None:
        super().__init__(
            error_rate_0=error_rate_0, error_rate_1=error_rate_1, seed=seed, gradient=gradient, layer=layer, path=path
        )
        self.counted, self.counts = counted, np.zeros(2, np.int64)
        self._never = not (np.any(np.asarray(self.error_rate_0)) or np.any(np.asarray(self.error_rate_1)))

    def forward(self, x: Tensor) -> Tensor:
        """Write `x` and return what the cells hold.

        Parameters
        ----------
        x : Tensor, any shape, values +1 and -1 (NaN passes through, so that a diverged training is seen)

        Returns
        -------
        Tensor, same shape, dtype and device
            A new tensor; the very same bits, without a draw, if all rates are 0.
        """
        if self.counted:
            ones = int((x > 0).sum())
            self.counts = self.counts + np.array([x.numel() - ones, ones])
        if self._never:
            check_bits(x)
            return x
        return super().forward(x)

    def ledger(self, *, point: "OperatingPoint | None" = None, name: str = "bits") -> "Ledger":
        """Return what was written so far and what it cost, if it is `counted`.

        Parameters
        ----------
        point : OperatingPoint, optional
            Prices the pulses; left out, the one that the memory was made from, or none (then they are free).
        name : str
            Of this memory in the ledger.

        Returns
        -------
        Ledger
            The events of a `bridge.Memory` with independent errors: every write is one of a cell that has to turn.
        """
        from bridge.ledger import Entry, Ledger
        from bridge.write import PARTS

        point = point or self.point
        source = "no operating point" if point is None else f"operating point {point.identity[:12]}"
        entries = []
        for bit, count in enumerate(self.counts):
            price: dict[str, Any] = {} if point is None else {p: float(point.energies[p][bit, 0]) for p in PARTS}
            price["source"] = f"independent errors; {source}"
            entries.append(Entry(memory=name, event=f"write {bit} turned", count=int(count), **price))
        return Ledger(entry for entry in entries if entry.count)

    def get_extra_state(self) -> Tensor:
        """Return the state of the stream, of the keys, and the counts; part of `state_dict`."""
        return torch.cat([super().get_extra_state(), torch.from_numpy(self.counts.view(np.uint8).copy())])

    def set_extra_state(self, state: Tensor) -> None:
        """Continue from `state`; part of `load_state_dict`."""
        self.counts = state.cpu()[-self.counts.nbytes :].numpy().copy().view(np.int64)
        super().set_extra_state(state[: -self.counts.nbytes])

    def _by_key(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Write x, (samples, ...) or one sample (n,)."""
        from bnn.error_kernels import write_samples  # here: numba takes half a second

        rows, out = as_rows(x), torch.empty(x.shape)
        key, rates = self._key(len(rows)), as_arrays(self._rates(x))
        if write_samples(rows, *key, *rates, out=out.numpy().reshape(rows.shape)):
            check_bits(x)
        self._writes += 1
        written = out if x.dtype == torch.float32 else out.to(x.dtype)
        return written, x * written if self.gradient == "flipped" else None

    def _from_stream(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Write x, of any shape; in `_select` it is flat."""
        check_bits(x)
        flat, rates = x.reshape(-1), self._rates(x)
        stream = self._stream(len(x) if x.dim() > 1 else 1)
        if all(isinstance(rate, float) for rate in rates) and rates[0] == rates[1]:  # the value does not matter
            hits, default, hit = self._select(flat, rates[0], stream)
            out = flat.clone() if default == 1 else flat * default
            out.index_copy_(0, hits, flat.index_select(0, hits) * hit)
        else:
            out = flat.clone()
            for value, rate in zip((1, -1), rates, strict=True):
                hits, default, hit = self._select(flat, rate, stream)
                if default == -1:
                    out.masked_fill_(flat == value, -value)
                # Where the original is `value`, write value * hit; elsewhere what is there. That is a min or a max.
                extreme = torch.minimum if value * hit < 0 else torch.maximum
                out.index_copy_(0, hits, extreme(flat.index_select(0, hits) * hit, out.index_select(0, hits)))
        out = out.view(x.shape)
        return out, x * out if self.gradient == "flipped" else None


class _Write(torch.autograd.Function):
    """x -> what the cells hold; its gradient is the identity, or a factor of each bit."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, written: Written) -> Tensor:
        out, factor = written(x)
        if factor is not None:
            ctx.save_for_backward(factor)
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return (gradient * ctx.saved_tensors[0] if ctx.saved_tensors else gradient), None


def address(model: nn.Module, *, step: int, samples: Tensor | np.ndarray) -> None:
    """Tell every memory of `model` what is written next, and in which step.

    Parameters
    ----------
    model : Module
    step : int, >= 0
    samples : (n,) whole numbers
        Of the batch, for activation memories; the rows of weights (memories in a `weight_memory` slot) are numbered 0,
        1, 2 ....
    """
    slots = (getattr(layer, "weight_memory", None) for layer in model.modules())
    of_weights = {id(part) for memory in slots if isinstance(memory, nn.Module) for part in memory.modules()}
    for module in model.modules():
        tell = getattr(module, "address", None)
        if callable(tell):
            tell(step=step, samples=None if id(module) in of_weights else samples)


def forget_address(model: nn.Module) -> None:
    """Undo `address`: every memory of `model` counts its writes itself again, and takes batches of any size."""
    for module in model.modules():
        forget = getattr(module, "forget_address", None)
        if callable(forget):
            forget()


def rates_of_die(die: "Die", point: "OperatingPoint") -> np.ndarray:
    """Error rates (2, cells) by bit and cell: of a die's own cells, or of the point where it has no population.

    Weak cells are in it; a cell that always reads as b has the rate 0 for b and 1 for the other bit.
    """
    if die.error_rates is not None:
        rates = die.error_rates.copy()
    else:
        rates = np.repeat([[point.error_rate_0], [point.error_rate_1]], die.size, axis=1)
        where, weak = die.weak_error_rates(point.error_rate_0, point.error_rate_1)
        rates[:, where] = weak
    where, bits = die.fixed_cells
    rates[bits, where], rates[1 - bits, where] = 0.0, 1.0
    return rates


def as_rows(x: Tensor) -> np.ndarray:
    """Return x as the kernels want it: (samples, cells) float32 in C order, shared where it can be."""
    cells = (x if x.dtype == torch.float32 else x.to(torch.float32)).detach().numpy()
    rows = cells.shape[0] if cells.ndim > 1 else 1
    return np.ascontiguousarray(cells).reshape(rows, -1)


def as_arrays(rates: list[Any]) -> list[Any]:
    """Return rates as the kernels want them."""
    return [rate if isinstance(rate, float) else rate.numpy() for rate in rates]


def fitted(name: str, values: Tensor, sample: torch.Size) -> Tensor:
    """Return what each cell has as (s, cells), for samples of that shape; ValueError unless it is for such samples."""
    cells, flat = sample.numel(), values.dim() == 1
    if not (values.numel() % cells == 0 if flat else values.shape in (sample, (values.shape[0], *sample))):
        raise ValueError(
            f"{name} must have a value for each cell of a sample of shape {tuple(sample)}, got shape "
            f"{tuple(values.shape)}. Draw the die, or the values, for that shape."
        )
    return values.reshape(-1, cells)


def check_bits(x: Tensor) -> None:
    """Raise ValueError where x is not +1, -1 or NaN."""
    if x.numel() == 0:
        return
    low, high = torch.aminmax(x.detach().abs())
    if low != low:  # a NaN hides the others
        low, high = torch.aminmax(x.detach().abs().nan_to_num(1.0))
    if not (low == high == 1):
        raise ValueError(
            f"x must be +1 or -1 everywhere, got magnitudes from {low:g} to {high:g}: this is a memory of bits. "
            "Binarize first, with ste_sign()."
        )


def check_seed(seed: object) -> int:
    """Return `seed` as an int, or raise: seeds are whole numbers >= 0."""
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise ValueError(f"seed must be a whole number >= 0, got {seed!r}.")
    return int(seed)


def seeded_generator(*key: int) -> torch.Generator:
    """Return a CPU stream for a seed and, optionally, its children's numbers: ``(seed, role, epoch)`` for example.

    torch's CPU generator takes 32 bits of a seed: of a thousand streams, two are the same with probability 1e-4.
    """
    seed, *children = key
    state = np.random.SeedSequence(check_seed(seed), spawn_key=tuple(children)).generate_state(1, np.uint32)
    return torch.Generator().manual_seed(int(state[0]))


def _rate(name: str, rate: Any) -> Any:
    """Return a rate as a float, or those of cells as a float64 tensor on the CPU; ValueError unless in [0, 1]."""
    if isinstance(rate, (Tensor, np.ndarray)) and rate.ndim > 0:
        cells = torch.as_tensor(rate).detach().to("cpu", torch.float64, copy=True)
        outside = cells[~((cells >= 0.0) & (cells <= 1.0))]
        if cells.numel() == 0 or len(outside):
            found = f"{outside[0]:g} in a cell" if len(outside) else "no cell"
            raise ValueError(f"{name} must be in [0, 1], got {found}: rates are probabilities, not percent.")
        return cells
    number = isinstance(rate, (int, float, np.number, Tensor, np.ndarray)) and not isinstance(rate, bool)
    if not number or not 0.0 <= rate <= 1.0:  # NaN: false
        raise ValueError(f"{name} must be in [0, 1], got {rate}: rates are probabilities, not percent.")
    return float(rate)


def _shown(rate: Any) -> str:
    """Show a rate, or the mean of those of cells and a check sum that tells them from others."""
    if isinstance(rate, float):
        return f"{rate}"
    return f"{tuple(rate.shape)} of mean {rate.mean():.3g} ({zlib.crc32(rate.numpy().tobytes()):08x})"
