"""Read, update, write back, all words of a large memory again and again: a `Memory` whose words are updated in place.

A `Memory` copies the words that it is given, and once more when it is read. Here the values that were read *are* the
words of the memory, and their update is the write: before it, all draws that do not need the new bits are made (the
cells that fail if they must turn) and the few old words are noted; after it, the cells that failed get their old bit
back. Streams, bits and counts are those of `Memory`, one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bridge.memory.cells import PLAIN, PULSES, READS, CellArray, looked_at_of, pulse_kinds, read_kinds
from bridge.memory.codes import parity_bit, parity_fails, range_fails
from bridge.memory.declaration import WordMemory
from bridge.memory.formats import Words
from bridge.memory.mram import Memory
from bridge.memory.placement import CHECK, DATA
from bridge.memory.sampling import Positions
from mtjsim.checks import ArgumentError

Pick = Callable[[Words], Words]  # some of the words of an array
Picked = Callable[[Pick], Words]  # the bits that these cells hold, or are written to
READ_RATES = ("error", "disturb")
SCANNED = 1 << 17  # values that are compared with a limit at a time: they stay in the cache


class InPlaceMemory(Memory):
    """An array of fp32 words in MRAM, read and written back as a whole, without copies.

    Parameters
    ----------
    shape, declaration, initial, seed, name
        As of `Memory`, or the fields of the declaration as keywords. See `works_in_place` for what it may contain.

    Attributes
    ----------
    values : array of float32
        The numbers last read, of the memory's shape: the memory's own array. Change it within `rewriting` only.

    Raises
    ------
    ValueError
        As `Memory`; and for a declaration that does not work in place: take a `Memory`, its `write` and its `read`.

    Notes
    -----
    Equal to a `Memory` of the same arguments bit for bit, in its cells, its ledger and its `state`, which fits either.
    A word that is found wrong reads as zero while its cells are unchanged: these few words are kept in a second array.
    The bit of a check cell follows from its word, and from whether the two were found to disagree.

    Examples
    --------
    >>> from bridge import OperatingPoint
    >>> point = OperatingPoint.of_rates(error_rate_0=1e-3, error_rate_1=1e-3)
    >>> memory = InPlaceMemory(1000, point=point, seed=1)
    >>> with memory.rewriting() as values:
    ...     values += 1.0
    >>> int((memory.values != 1.0).sum())
    12
    """

    def __init__(
        self,
        shape: int | Sequence[int],
        declaration: WordMemory | None = None,
        *,
        initial: ArrayLike | None = None,
        seed: int = 0,
        name: str = "MRAM",
        **declared: Any,
    ) -> None:
        super().__init__(shape, declaration, initial=initial, seed=seed, name=name, **declared)
        if hindrances := _hindrances(self.declaration):
            got = ", ".join(f"{name}={getattr(self.declaration, name)!r}" for name in hindrances)
            rule = "must be of fp32 and PLAIN, without SECDED, errors of reads, retention and wear, to change in place"
            raise ArgumentError("declaration", f"{rule}, got {got}. Use a Memory, its write() and its read().")
        self._words = self._arrays[DATA].words
        self.values = self._words.view(np.float32).reshape(self.shape)
        self._hidden = np.empty(0, np.int64), self._words[:0]  # words that read as zero, and what their cells hold
        self._disagrees = np.zeros(self._words.size if len(self._arrays) > 1 else 0, np.uint8)
        for array in self._arrays[CHECK:]:
            array.words = self._disagrees  # the check cells less the parity of their words
        self._hide(self._beyond_range())

    # ---- operations --------------------------------------------------------------------------------------------------

    @contextmanager
    def rewriting(self) -> Iterator[NDArray[np.float32]]:
        """Yield `values` to be changed in place; at the end of the block they are written, and read.

        After an exception in the block nothing was written, and the old words are lost: go on from a `state`.
        """
        n = self._words.size
        with self._bare():
            pulses = [
                _Pulse(array, n, self._stream("write_errors", kind), self._held(kind))
                for kind, array in enumerate(self._arrays)
            ]
        yield self.values
        self._codes.add("word encoded", self.protection.code_words(n, 32))
        targets: list[Picked] = [lambda pick: pick(self._words), lambda pick: parity_bit(pick(self._words))]
        self._count_accesses([[("write", None)]])
        failed = [pulse.finish(target) for pulse, target in zip(pulses, targets, strict=False)]
        self._arrays[DATA].flip(self._words, failed[DATA])
        self._operations += 1
        if self._disagrees.size:
            self._disagrees[self._hidden[0]] = 0
        self._hidden = self._hidden[0][:0], self._hidden[1][:0]
        wrong = self.odd_words(failed) if len(failed) > 1 else self._beyond_range()
        self._sense(wrong.size)
        self._hide(wrong)

    def write(self, values: ArrayLike) -> None:
        """Store numbers, and read them, as `rewriting` does."""
        words = self._encoded("values", values)
        with self.rewriting():
            self._words[...] = words

    def read(self, *, out: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """Read once more: a copy of `values`, or `out`."""
        if out is not None:
            self._checked_out(out)
        self._sense(self._hidden[0].size)
        if out is None:
            return self.values.copy()
        out[...] = self.values
        return out

    def scrub(self) -> NDArray[np.bool_]:
        """Read once more, and return the words that are found wrong, as `Memory.scrub`; nothing can be corrected."""
        self._sense(self._hidden[0].size, returned=False)
        lost = np.zeros(self._words.size, bool)
        lost[self._hidden[0]] = True
        return lost.reshape(self.shape)

    def load(self, values: ArrayLike) -> None:
        """Load numbers into the cells without a write, as `Memory.load`."""
        self._words[...] = self._encoded("values", values)
        self._disagrees[...] = 0
        self._hide(self._beyond_range())

    @property
    def stored(self) -> NDArray[np.float32]:
        """The numbers that the data cells hold, as `Memory.stored`."""
        with self._bare():
            return self.values.copy()

    # ---- a checkpoint ------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Return all that changes, as `Memory.state`."""
        with self._bare():
            state = super().state()
            for check in state["words"][CHECK:]:
                check ^= parity_bit(self._words)
        return state

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restore a `state()` of this memory, or of a `Memory` like it."""
        super().restore(state)
        self._hidden = self._hidden[0][:0], self._hidden[1][:0]
        if len(self._arrays) > 1:
            self._disagrees[...] = parity_fails(self._words, self._disagrees)
        self._hide(np.flatnonzero(self._disagrees) if self._disagrees.size else self._beyond_range())

    # ---- inside ------------------------------------------------------------------------------------------------------

    def _held(self, kind: int) -> Picked:
        """Return the function that gives the bits of an array's cells; where words are hidden, only within `_bare`."""
        if kind == DATA:
            return lambda pick: pick(self._words)
        return lambda pick: parity_bit(pick(self._words)) ^ pick(self._disagrees)

    @contextmanager
    def _bare(self) -> Iterator[None]:
        """Show the contents of the cells instead of zeros."""
        where, words = self._hidden
        self._words[where] = words
        try:
            yield
        finally:
            self._words[where] = 0

    def _hide(self, found: Positions) -> None:
        """Let words read as zero."""
        self._hidden = found, self._words[found]
        self._words[found] = 0

    def odd_words(self, failed: list[Positions]) -> Positions:
        """Return the words that disagree with their parity: an odd number of cells failed, the check cell counted."""
        touched, count = np.unique(np.concatenate([failed[DATA] // 32, failed[CHECK]]), return_counts=True)
        odd = touched[count % 2 == 1]
        self._disagrees[odd] = 1
        return odd

    def _beyond_range(self) -> Positions:
        """Return the words whose value is beyond the limit of the range check."""
        limit, values = self.protection.limit, self.values.reshape(-1)
        if limit is None:
            return np.empty(0, np.int64)
        found = []
        with np.errstate(invalid="ignore"):  # of a signalling NaN
            for start in range(0, values.size, SCANNED):
                part = values[start : start + SCANNED]
                if not (part.max() <= limit and part.min() >= -limit):  # NaN: neither
                    found.append(start + np.flatnonzero(range_fails(part, limit=limit)))
        return np.concatenate([np.empty(0, np.int64), *found])

    def _sense(self, wrong: int, *, returned: bool = True) -> None:
        """Count a read that finds `wrong` words, and returns the numbers or only looks at them."""
        n = self._words.size
        for kind, array in enumerate(self._arrays):
            if array.read_errors is not None:
                sample = array.sample(n, self._stream("read_errors", kind))
                with self._bare():
                    seen = self._held(kind)(partial(looked_at_of, sample=sample)).copy()
                array.count(READS, read_kinds(seen, full=array.full), n, sample)
        self._count_accesses([[("read", None)]])
        self._operations += 1
        if len(self._arrays) > 1:
            self._codes.add("word decoded", n)
            self._codes.add("error detected", wrong)
        if returned:
            self._codes.add("word read as zero", wrong)


class _Pulse:
    """A pulse on every word of an array, in two halves: before its target is known, and after.

    Parameters
    ----------
    array : CellArray
    words : int
        Of the array.
    rng : numpy.random.Generator
        Of this write.
    held : callable
        Gives the bits that its cells hold.
    """

    def __init__(self, array: CellArray, words: int, rng: np.random.Generator, held: Picked) -> None:
        self.array, self.words, self.rng = array, words, rng
        self.sample = array.sample(words, rng)
        self.candidates = array.write_errors.candidates(rng, words * array.bits)
        self.word, self.bit = np.divmod(self.candidates, array.bits)
        self.old, self.kept = held(self._look), self._bits_of_candidates(held)

    def finish(self, written: Picked) -> Positions:
        """Return the cells that failed, given the bits that are written; counts the events."""
        array, target, bits = self.array, written(self._look), self._bits_of_candidates(written)
        kinds = pulse_kinds(self.old, target, full=array.full, independent=array.independent)
        array.count(PULSES, kinds, self.words, self.sample)
        failed = array.write_errors.confirmed(self.rng, self.candidates, lambda _: bits)
        which = np.searchsorted(self.candidates, failed)
        if not array.independent:  # a cell that holds its bit already cannot fail
            which = which[self.kept[which] != bits[which]]
        ones = int(bits[which].sum())
        array.tally.add("failed write 1", ones)
        array.tally.add("failed write 0", which.size - ones)
        return self.candidates[which]

    def _look(self, words: Words) -> Words:
        return words.copy() if self.sample is None else looked_at_of(words, self.sample)

    def _bits_of_candidates(self, picked: Picked) -> NDArray[np.integer[Any]]:
        words = picked(lambda words: words.take(self.word))
        return (words >> self.bit.astype(words.dtype)) & 1


def works_in_place(declaration: WordMemory) -> bool:
    """Whether an `InPlaceMemory` can do it: fp32, PLAIN, no code that corrects, exact reads, no retention, no wear."""
    return not _hindrances(declaration)


def _hindrances(declaration: WordMemory) -> list[str]:
    d, read = declaration, declaration.reading
    rates = () if read is None else (getattr(read, f"{kind}_rate_{bit}") for kind in READ_RATES for bit in (0, 1))
    fits = {
        "format": d.format == "fp32",
        "policy": d.policy == PLAIN,
        "protection": d.protection.name != "secded",
        "reading": not any(rates),
        "retention": d.retention is None,
        "wear": not d.wear,
    }
    return [name for name, does in fits.items() if not does]
