"""Independent write errors on +-1 tensors: exact for every rate from 0 to 1, asymmetric, seeded, resumable.

Bit 1 is +1, bit 0 is -1. The errors are *independent*: every written cell is taken to have held the opposite bit, so
each bit errs with its full rate (the worst case, and the one simulated in the literature [1]); for cells that keep
their former bit see `bnn.OverwriteErrors`. Rates are probabilities, never percent.

References
----------
.. [1] Tzoufras, Gajek, Walker, "Magnetoresistive RAM for error resilient XNOR-Nets", arXiv:1905.10927 (2019).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from bnn.errors.bits import BitMemory, as_rows, check_bits, select
from bnn.errors.keys import PastWrite, WriteKey
from bnn.errors.rates import HasEnergies, as_arrays, rates_from
from bnn.errors.transforms import drawn, exported, one_node

if TYPE_CHECKING:
    from bridge.ledger import Ledger


class WriteErrors(BitMemory):
    """A memory that is written with errors: +-1 in, +-1 out, each bit wrong with the rate of its value.

    Active in training and in evaluation mode: errors depend on the memory in a layer's slot, never on the mode of the
    network (see `bnn.memories`).

    Parameters
    ----------
    error_rate_0, error_rate_1 : float, or array of the shape of one sample; in [0, 1]
        Probability that a cell written to 0 (-1) ends as 1 (+1), and that a cell written to 1 (+1) ends as 0 (-1). Of
        all cells, or of each. An array may be flat, and may have rows for s samples, used in turn: one row a filter for
        a memory of weights.
    seed : int, >= 0
        Of this memory's stream. Torch's global stream is not used.
    gradient : {"identity", "flipped"}
        "identity" hands the gradient through unchanged, as in [1]; "flipped" multiplies it by -1 where the bit was
        flipped. Forward and backward always use the same draw.
    layer : int, >= 0
        Number of the memory in its network; part of the key, so that one seed serves a whole network.
    path : {"auto", "numba", "torch"}
        Two methods with the same distribution, and different draws. "numba", on the CPU: drawn *by key*
        (`bnn/errors/uniforms.py`), from (seed, layer, step, sample) alone, so that the draw of a sample is the same
        however a batch is split over forward passes and processes; and *nested*: a cell that fails at a rate fails at
        every larger one. "torch", on any device: drawn for blocks of 256 samples, from a stream of their key, and not
        nested. "auto": "numba" for a tensor on the CPU.
    counted : bool
        Count the written bits, `counts[bit]`, for the `ledger`: one more pass over them.

    Raises
    ------
    ValueError
        For a rate outside [0, 1] or NaN, a seed that is not a whole number >= 0, an unknown gradient, or (in the
        forward pass) values other than +-1, or rates of other cells than those that are written.

    Notes
    -----
    *By key.* Dimension 0 counts samples (of a vector: one sample). `address` sets their numbers and the step. Without
    an address a write's step is the number of writes before it, and its samples are 0, 1, 2 ... For one key each cell
    has one uniform number u, whatever the rates, and its write fails where u is below the rate of its bit: exact for
    every rate. So results at several rates, with the same seed, are compared with the same draws.

    *From a torch stream.* To select each of N cells independently with probability p, draw ``K ~ Poisson(-N log(1 -
    p))`` and then K positions with replacement: each cell is hit by its own Poisson number of positions, hence at least
    once with probability exactly p, independently of the others. A position drawn twice writes the same value twice.
    For p <= 1/2 the selected cells err; for p > 1/2 the selected cells (now with 1 - p) are those that succeed. Unequal
    rates take one pass for each bit value, both decided on the original tensor. A rate of 0 or 1 draws nothing.

    Everything is drawn in float64. A dense mask ``torch.rand(N) < p`` in float32 cannot do this: its uniforms are
    multiples of 2^-24, so it fires with probability 6e-8 at any smaller p. Here the count is resolved to 2^-53 per call
    (a relative 1e-16 / (N p)) and the positions to N / 2^53.

    Draws are made on the CPU and moved to the device of the input. The number of writes is in the `state_dict`, so that
    a resumed training continues bit for bit; the rates are not, since they describe the memory and not its contents.

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

    @one_node
    def forward(self, x: Tensor) -> Tensor:
        """Write `x` and return the contents of the cells; see `BitMemory.forward`."""
        if not self._never:
            return super().forward(x)
        return self._unchanged(x) if self.counted or not exported() else x

    @drawn
    def _unchanged(self, x: Tensor) -> Tensor:
        """Check and count the bits of a write that cannot fail."""
        check_bits(x)
        if self.counted and torch._C._current_graph_task_id() == -1:
            self._count(x)
        return x

    def _count(self, x: Tensor) -> None:
        ones = int((x > 0).sum())
        self.counts = self.counts + np.array([x.numel() - ones, ones])

    def ledger(self, *, point: HasEnergies | None = None, name: str = "bits") -> Ledger:
        """Return what was written so far and what it cost, if it is `counted`.

        Parameters
        ----------
        point : OperatingPoint, optional
            Prices the pulses; default: the one that the memory was made from. Without one they are free.
        name : str
            Of this memory in the ledger.

        Returns
        -------
        Ledger
            The events of a `bridge.Memory` with independent errors: every write is one of a cell that has to turn.
        """
        from bnn.errors.ledger import bit_ledger

        counts = np.zeros((2, 3), np.int64)
        counts[:, 0] = self.counts
        return bit_ledger(counts, errors="independent", name=name, point=point or self.point)

    def _by_key(self, x: Tensor, key: WriteKey, past: PastWrite | None) -> tuple[Tensor, Tensor | None]:
        """Write x, (samples, ...) or one sample (n,)."""
        from bnn.errors.kernels import write_at, write_samples  # here: numba takes half a second

        rates, where = self._rates(x), (np.uint64(key.root), key.layer, key.step, key.samples)
        if (
            isinstance(rates[0], float)
            and isinstance(rates[1], float)
            and type(x) is Tensor
            and x.dtype == torch.float32
            and x.is_contiguous()
            and not x.is_neg()
        ):
            out = torch.empty_like(x)
            others = write_at(x.data_ptr(), out.data_ptr(), x.numel(), *where, *rates)
        else:
            rows, out = as_rows(x), torch.empty(x.shape)
            others = write_samples(rows, *where, *as_arrays(rates), out=out.numpy().reshape(rows.shape))
        if others:
            check_bits(x)
        if self.counted and not key.again:
            self._count(x)
        written = out if x.dtype == torch.float32 else out.to(x.dtype)
        return written, x * written if self.gradient == "flipped" else None

    def _from_stream(self, x: Tensor, key: WriteKey, past: PastWrite | None) -> tuple[Tensor, Tensor | None]:
        """Write x, of any shape; in `select` it is flat."""
        check_bits(x)
        rows, rates = x.reshape(len(key.samples), -1), self._rates(x)
        out = torch.cat([self._flipped(rows[part], rates, part.start, stream) for part, stream in self._parts(key)])
        if self.counted and not key.again:
            self._count(x)
        out = out.view(x.shape)
        return out, x * out if self.gradient == "flipped" else None

    def _flipped(self, rows: Tensor, rates: list[Any], start: int, stream: torch.Generator) -> Tensor:
        """Return rows, (n, f), the first of which is number `start`, with errors."""
        flat, rates = rows.reshape(-1), rates_from(rates, start)
        if all(isinstance(rate, float) for rate in rates) and rates[0] == rates[1]:  # the value does not matter
            hits, default, hit = select(flat, rates[0], stream)
            out = flat.clone() if default == 1 else flat * default
            return out.index_copy_(0, hits, flat.index_select(0, hits) * hit).view(rows.shape)
        out = flat.clone()
        for value, rate in zip((1, -1), rates, strict=True):
            hits, default, hit = select(flat, rate, stream)
            if default == -1:
                out.masked_fill_(flat == value, -value)
            # Where the original is `value`, write value * hit; elsewhere what is there. That is a min or a max.
            extreme = torch.minimum if value * hit < 0 else torch.maximum
            out.index_copy_(0, hits, extreme(flat.index_select(0, hits) * hit, out.index_select(0, hits)))
        return out.view(rows.shape)
