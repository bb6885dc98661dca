"""Overwrite errors: a failed write leaves the former bit in the cell.

Bit 1 is +1, bit 0 is -1. The cells that *fail* are those of `WriteErrors` with the same key, nested over the rates;
there each of them ends as the wrong bit, here only one that held the wrong bit. A cell holds the bit of the last write
that succeeded, so errors repeat the past: of an activation memory, the image before; of a weight memory, the weight of
the last step, which is nearly always the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from bnn.errors.bits import BitMemory, as_rows, check_bits, select
from bnn.errors.keys import PastWrite, WriteKey
from bnn.errors.rates import HasEnergies, HasRates, as_arrays, fitted, rates_from
from mtjsim.checks import ArgumentError, checked_whole

if TYPE_CHECKING:
    from bridge.ledger import Ledger
    from bridge.memory.cells import WritePolicy
    from bridge.memory.read import ReadPoint


class OverwriteErrors(BitMemory):
    """A memory of cells that keep their bits until a write succeeds: +-1 in, +-1 out.

    Parameters
    ----------
    error_rate_0, error_rate_1, seed, layer, path
        As `WriteErrors`: the rates are those of a cell that holds the other bit. Cells of an array of rates with s rows
        are those of s slots, and s divides `slots`.
    slots : int, >= 1, or None
        Number of samples that the memory has cells for. Sample i of a batch is written to slot i mod `slots`, in order:
        with 1, image after image overwrites the same cells, and sample i overwrites sample i - 1; with the size of the
        batch, each sample overwrites that of the former batch in its place. A smaller batch leaves the other slots
        unchanged. None: a slot for every row of the largest write so far, as weights need, whose rows (filters) are all
        stored at once. New slots hold `initial`.
    initial : float, array or Tensor of +1 and -1
        Contents of the cells before the first write, and after `reseed`: of all, or of each, as arrays of rates.
    gradient : {"identity", "masked"}
        "identity" hands the gradient through unchanged; "masked" gives 0 where the write failed, which is the gradient
        of the expected loss, with the former contents of the cells as a constant.

    Raises
    ------
    ValueError
        As `WriteErrors`, and for samples of another shape than the cells are for.

    Notes
    -----
    *State.* `held`, (slots, *sample), is made by the first write; it and the counts are part of the `state_dict`, so
    that a training is resumed bit for bit. `reseed` sets the cells back to `initial` and keeps the counts.

    *The same write again.* If rows are written again to the same cells in the same step (`address`), the same cells
    fail, and nothing changes: a second forward pass of a step reads the same weights. This needs a slot for every row.

    *Several processes.* Each has its own cells. `held` is a buffer: with DistributedDataParallel use
    ``broadcast_buffers=False``, or the first process overwrites the cells of the others.

    *Counts.* `counts[bit, kind]`, kind one of turned (the cell held the other bit: the write was needed), held (it was
    not), failed (of the turned). Every write of a cell is turned or held, so one simulation gives the energy of each
    policy: see `ledger`.

    Examples
    --------
    >>> memory = OverwriteErrors(error_rate_0=1.0, error_rate_1=0.0, seed=7)  # every write of a 0 fails
    >>> memory(torch.tensor([[1.0, -1.0], [-1.0, -1.0]]))  # the second image overwrites the first
    tensor([[ 1., -1.],
            [ 1., -1.]])
    """

    gradients = ("identity", "masked")
    held: Tensor | None
    _last: WriteKey | None = None

    def __init__(
        self,
        *,
        error_rate_0: float | Tensor | np.ndarray,
        error_rate_1: float | Tensor | np.ndarray,
        seed: int,
        slots: int | None = 1,
        initial: float | Tensor | np.ndarray = -1.0,
        gradient: str = "identity",
        layer: int = 0,
        path: str = "auto",
    ) -> None:
        super().__init__(
            error_rate_0=error_rate_0, error_rate_1=error_rate_1, seed=seed, gradient=gradient, layer=layer, path=path
        )
        self.slots = None if slots is None else checked_whole("slots", slots, least=1)
        self.initial = torch.as_tensor(initial).to("cpu", torch.float32, copy=True)
        if not (self.initial.abs() == 1.0).all():
            raise ArgumentError("initial", "must be +1 or -1 everywhere: cells hold bits.")
        self.counts = np.zeros((2, 3), np.int64)
        self.register_buffer("held", None)

    @classmethod
    def from_operating_point(cls, point: HasRates, *, seed: int, **others: Any) -> Any:
        """Make the memory of a `bridge` operating point, whose energies price the `ledger`; see `WriteErrors`.

        With a `die`, its cells that always read as one bit hold that bit from the start.
        """
        die = others.get("die")
        if die is not None and len(die.fixed_cells[0]):
            where, bits = die.fixed_cells
            initial = np.full(die.size, -1.0)
            initial[where] = 2.0 * bits - 1.0
            others = {"initial": initial.reshape(die.shape), **others}
        return super().from_operating_point(point, seed=seed, **others)

    def reseed(self, seed: int) -> None:
        """Start the stream of `seed`, without an address, and set the cells back to `initial`."""
        super().reseed(seed)
        self.held = None

    def _by_key(self, x: Tensor, key: WriteKey, past: PastWrite) -> tuple[Tensor, Tensor | None]:
        from bnn.errors.kernels import write_samples  # here: numba takes half a second

        held, rows = self._before(x, key, past), as_rows(x)
        written, counts = torch.empty(x.shape), np.zeros_like(self.counts)
        failed = np.zeros(rows.shape, np.uint8) if self.gradient == "masked" else None
        out, cells, rates = as_rows(written), as_rows(held), as_arrays(self._rates(x))
        where = np.uint64(key.root), key.layer, key.step, key.samples
        if write_samples(rows, *where, *rates, out=out, held=cells, failed=failed, counts=counts):
            check_bits(x)
        if not key.again:
            n, slots = len(out), len(cells)
            if n < slots:
                cells[:n] = out
            else:  # the last sample of each slot
                turn = n % slots
                cells[turn:], cells[:turn] = out[n - slots : n - turn], out[n - turn :]
            self._keep(held, counts, key)
        factor = None if failed is None else torch.from_numpy(1 - failed).view(x.shape).to(x.dtype)
        return written if x.dtype == torch.float32 else written.to(x.dtype), factor

    def _from_stream(self, x: Tensor, key: WriteKey, past: PastWrite) -> tuple[Tensor, Tensor | None]:
        check_bits(x)
        held, rates = self._before(x, key, past), self._rates(x)
        rows = x.detach().reshape(len(key.samples), -1).to(torch.float32)
        failed = torch.cat([_failed(rows[part], rates_from(rates, part.start), own) for part, own in self._parts(key)])
        out, before = torch.empty_like(rows), torch.empty_like(rows)
        cells = held.view(len(held), -1)
        for start in range(0, len(rows), len(held)):  # a sample for each slot at a time
            part = slice(start, start + len(held))
            before[part] = cells[: len(rows[part])]
            out[part] = torch.where(failed[part], before[part], rows[part])
            cells = torch.cat([out[part], cells[len(rows[part]) :]])
        if not key.again:
            turned, missed = rows != before, rows != out
            counts = [[int((bit & kind).sum()) for kind in (turned, ~turned, missed)] for bit in (rows < 0, rows > 0)]
            self._keep(cells.view(held.shape), np.array(counts), key)
        factor = (~failed).view(x.shape).to(x.dtype) if self.gradient == "masked" else None
        return out.view(x.shape).to(x.dtype), factor

    def _before(self, x: Tensor, key: WriteKey, past: PastWrite) -> Tensor:
        """Return the contents of the cells before this write, (slots, *sample), also if it is recomputed."""
        if key.again and past.held is not None:
            return past.held.to(x.device)
        if key.again and (self._last is None or self._last.identity != past.key.identity):
            raise RuntimeError(
                "A write of cells was recomputed after these cells were written again: their former bits are lost. Run "
                "backward() before the next forward pass, or do not recompute layers with overwrite errors."
            )
        held = self._found(x)
        if len(held) < len(key.samples):  # else a repeated write changes nothing
            past.held = held.clone()
        return held

    def _found(self, x: Tensor) -> Tensor:
        """Return the contents of the cells before x is written, (slots, *sample); made or enlarged if necessary."""
        n, sample = (len(x), x.shape[1:]) if x.dim() > 1 else (1, x.shape)
        held = self.held
        if held is not None and held.shape[1:] != sample:
            rule = f"must have samples of shape {tuple(held.shape[1:])}, which the cells are for, got {tuple(sample)}"
            raise ArgumentError("x", f"{rule}. reseed() empties the memory; another layer needs another one.")
        slots = self.slots or max(n, 0 if held is None else len(held))
        if self.of_weights and slots < n:
            rule = f"must be None or >= {n}: a weight memory has a slot for each of the {n} filters"
            raise ArgumentError("slots", f"{rule}, got slots={slots}.")
        for rate in self._rates(x):
            if not isinstance(rate, float) and slots % len(rate):
                rule = f"must be a multiple of the {len(rate)} samples that have rates"
                raise ArgumentError("slots", f"{rule}, got {slots}.")
        if held is not None and len(held) == slots:
            return held.to(x.device, torch.float32)
        if held is not None and self.slots:
            raise ArgumentError("slots", f"must be the {len(held)} whose state was loaded, got {slots}.")
        new = self._initial(slots, sample).to(x.device)
        if held is not None:
            new[: len(held)] = held
        return new

    def _initial(self, slots: int, sample: torch.Size) -> Tensor:
        if self.initial.dim() == 0:
            return self.initial.expand(slots, *sample).clone()
        own = fitted("initial", self.initial, sample)
        if slots % len(own):
            rule = f"must be a multiple of the {len(own)} samples that initial is for"
            raise ArgumentError("slots", f"{rule}, got {slots}.")
        return own.repeat(slots // len(own), 1).view(slots, *sample)

    def _keep(self, held: Tensor, counts: np.ndarray, key: WriteKey) -> None:
        self._last = key
        self.held = held
        self.counts = self.counts + counts

    def ledger(
        self,
        *,
        policy: WritePolicy | None = None,
        reading: ReadPoint | None = None,
        point: HasEnergies | None = None,
        name: str = "bits",
    ) -> Ledger:
        """Return what was written so far and what it cost.

        Parameters
        ----------
        policy : WritePolicy, optional
            `bridge.PLAIN` (default): every cell is pulsed. `READ_BEFORE_WRITE`: every cell is read, and pulsed if it
            has to turn. The bits are the same: a cell that holds its bit cannot fail.
        reading : ReadPoint, optional
            Prices the reads; without it they are free. Its error rates are not used: a read is taken to be right.
        point : OperatingPoint, optional
            Prices the pulses; default: the one that the memory was made from. Without one they are free.
        name : str
            Of this memory in the ledger.

        Returns
        -------
        Ledger
            The events of a `bridge.Memory`, without seconds: the number of bits of one access is not known here.

        Raises
        ------
        ValueError
            For a policy that writes again.
        """
        from bnn.errors.ledger import bit_ledger

        point = point or self.point
        return bit_ledger(self.counts, errors="overwrite", name=name, point=point, policy=policy, reading=reading)

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *others: Any) -> None:
        saved = state_dict.get(prefix + "held")
        self.held = None if saved is None else torch.empty_like(saved)
        super()._load_from_state_dict(state_dict, prefix, *others)

    def extra_repr(self) -> str:
        """Show rates, slots, gradient and seed in the printed model."""
        return f"{super().extra_repr()}, slots={self.slots}"


def _failed(rows: Tensor, rates: list[Any], stream: torch.Generator) -> Tensor:
    """Return where a write of rows, (n, f), fails, from a generator."""
    flat = rows.reshape(-1)
    failed = torch.zeros_like(flat, dtype=torch.bool)
    for value, rate in zip((1, -1), rates, strict=True):
        hits, default, hit = select(flat, rate, stream)
        chosen = torch.full_like(failed, default == -1).index_fill_(0, hits, hit == -1)
        failed |= chosen & (flat == value)
    return failed.view(rows.shape)
