"""Read, update, write back all words of a large memory again and again: a `Memory` whose numbers are updated in place.

A `Memory` copies the numbers that it is given to words, and the words to numbers when it is read. Here the numbers that
were read *are* the words of the memory, float32 numbers that the format has, and their update is the write: before it,
all draws that do not need the new bits are made (the cells that fail if they must turn) and the few old bits are noted;
after it, one pass rounds the numbers to the format (`rounding.py`), and the cells that failed get their old bit back.

Check cells are kept as their difference from what their words demand, the *syndrome*: it is 0 but where a cell failed,
so that only those words are decoded. Streams, bits and counts are those of `Memory`, one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bridge.memory.cells import PLAIN, PULSES, READS, RUN, CellArray, pulse_kinds, read_kinds
from bridge.memory.codes import BLOCK_BITS, CHECK_BITS, HSIAO_COLUMNS, range_fails
from bridge.memory.declaration import WordMemory
from bridge.memory.formats import ROUNDED, Words
from bridge.memory.mram import Memory
from bridge.memory.placement import CHECK, DATA
from bridge.memory.sampling import Positions
from bridge.memory.stochastic import BLOCK
from mtjsim.checks import ArgumentError

At = NDArray[np.int64] | None  # numbers of words, or of code words, in an array of any shape; None: all, in a row
Held = Callable[[At], Words]  # the bits that the cells of an array hold, or are written to
READ_RATES = ("error", "disturb")
NO_LIMIT = 0xFFFFFFFF  # no magnitude has more, as bits
NO_KEY = np.empty(0, np.uint32)
_NONE_HIDDEN = np.empty(0, np.int64), NO_KEY, NO_KEY  # words; their bits in the cells, and as they are read


class InPlaceMemory(Memory):
    """An array of words in MRAM, read and written back as a whole, without copies.

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
    A word that is read as another than its cells hold, corrected or zero, is kept in a second array; there are few.

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
            rule = "must be PLAIN, of no single bits, without errors of reads, retention and wear, to change in place"
            raise ArgumentError("declaration", f"{rule}, got {got}. Use a Memory, its write() and its read().")
        self._exact = replace(self.format, rounding="nearest")  # of numbers that the format has
        self.values = np.zeros(self.shape, np.float32)
        self._flat = self.values.reshape(-1)
        self._bits = self._flat.view(np.uint32)
        self._syndrome = np.zeros(self.placement.code_words, np.uint8)
        self._beyond = np.zeros(-(-self._flat.size // BLOCK), bool)
        self._hidden = _NONE_HIDDEN
        self._wrong = np.empty(0, np.int64)  # code words whose syndrome is not 0
        self._refused = False  # whether the last update was refused, and the words are lost
        contents = [array.words for array in self._arrays]
        for array in self._arrays:
            array.words = array.words[:0].copy()
        self._take_over(contents)

    # ---- operations --------------------------------------------------------------------------------------------------

    @contextmanager
    def rewriting(self) -> Iterator[NDArray[np.float32]]:
        """Yield `values` to be changed in place; at the end of the block they are written, and read.

        After an exception in the block, or numbers that the format does not have, nothing was written, and the old
        words are lost: go on from a `state`.
        """
        with self._bare():
            pulses = [
                _Pulse(array, self._units(kind), self._stream("write_errors", kind), self._held(kind))
                for kind, array in enumerate(self._arrays)
            ]
        yield self.values
        suspects = self._rounded()
        self._codes.add("word encoded", self.protection.code_words(self._flat.size, self.format.bits))
        self._count_accesses([[("write", None)]])
        self._hidden = _NONE_HIDDEN
        self._syndrome[self._wrong] = 0
        self._wrong = np.empty(0, np.int64)
        failed = [pulse.finish(self._held(kind)) for kind, pulse in enumerate(pulses)]
        touched = self._turn(failed[DATA])
        self._operations += 1
        if len(failed) > 1:
            code_words, added = self.syndromes(failed)
            np.bitwise_xor.at(self._syndrome, code_words, added)
            code_words = np.unique(code_words)
            self._wrong = code_words[self._syndrome[code_words] != 0]
        elif self._limit != NO_LIMIT:
            suspects = np.union1d(suspects, touched)
            suspects = suspects[self._fails(self._flat[suspects])]
        self._decode(suspects)
        self._sense()

    def write(self, values: ArrayLike) -> None:
        """Store numbers, and read them, as `rewriting` does."""
        words = self._encoded("values", values, written=True)
        with self.rewriting():
            self._flat[...] = self._decoded(words, None)  # numbers of the format: rounding leaves them

    def read(self, *, out: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """Read once more: a copy of `values`, or `out`."""
        if out is not None:
            self._checked_out(out)
        self._sense()
        if out is None:
            return self.values.copy()
        out[...] = self.values
        return out

    def scrub(self) -> NDArray[np.bool_]:
        """Read once more, write back what is corrected, and return the words that could not be, as `Memory.scrub`."""
        with self._as_cells() as contents:
            lost = super().scrub()
        self._take_over(contents)
        return lost

    def load(self, values: ArrayLike) -> None:
        """Load numbers into the cells without a write, as `Memory.load`."""
        self._flat[...] = self._decoded(self._encoded("values", values), None)
        self._refused = False
        self._syndrome[...] = 0
        self._decode_all()

    @property
    def stored(self) -> NDArray[np.float32]:
        """The numbers that the data cells hold, as `Memory.stored`."""
        with self._bare():
            return self.values.copy()

    # ---- a checkpoint ------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Return all that changes, as `Memory.state`; after an update that was refused the words are lost, and 0."""
        if self._refused:
            numbers = self._flat.copy()
            self._flat[...] = 0.0
        with self._as_cells():
            state = super().state()
        if self._refused:
            self._flat[...] = numbers
        return state

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restore a `state()` of this memory, or of a `Memory` like it."""
        numbers = self._flat.copy()
        if self.format.name == "int8":
            self._flat[...] = 0.0  # what is there may be what a refused update left, which has no words
        try:
            with self._as_cells() as contents:
                super().restore(state)
        except ValueError:
            self._flat[...] = numbers
            raise
        self._take_over(contents)
        self._refused = False

    # ---- a write -----------------------------------------------------------------------------------------------------

    def _rounded(self) -> Positions:
        """Round the new numbers to the format; return the words that are beyond the limit of a range check."""
        form, limit = self.format, self._limit
        if form.name == "fp32" and limit == NO_LIMIT:
            return np.empty(0, np.int64)
        from bridge.memory.rounding import KINDS, round_in_place  # here: numba takes half a second

        key = self._rounding_key if form.rounding == "stochastic" else NO_KEY
        scale, saturate = form.scale or 1.0, form.overflow == "saturate"
        if round_in_place(self._bits, KINDS[form.name], scale, saturate, key, limit, self._beyond) >= 0:
            self._refused = True
            self._encoded("values", self.values, written=True)  # it names the number and its place
            raise AssertionError("a number of the format was refused")
        self._refused = False
        return self._beyond_range(np.flatnonzero(self._beyond)) if limit != NO_LIMIT else np.empty(0, np.int64)

    def _turn(self, failed: Positions) -> Positions:
        """Turn the data cells that failed; return their words."""
        word, bit = np.divmod(failed, self.format.bits)
        touched = word[np.diff(word, prepend=-1) > 0]
        words = self._data_at(touched).copy()
        np.bitwise_xor.at(words, np.searchsorted(touched, word), np.left_shift(1, bit).astype(words.dtype))
        self._bits[touched] = self.format.decode(words).view(np.uint32)
        return touched

    def syndromes(self, failed: list[Positions]) -> tuple[Positions, NDArray[np.uint8]]:
        """Return the code words of the cells that failed, and what each adds to the syndrome of its code word."""
        if self.protection.name == "parity":
            words = np.concatenate([failed[DATA] // self.format.bits, failed[CHECK]])
            return words, np.ones(words.size, np.uint8)
        (block, bit), (of_check, row) = np.divmod(failed[DATA], BLOCK_BITS), np.divmod(failed[CHECK], CHECK_BITS)
        column = np.concatenate([bit, BLOCK_BITS + row])
        return np.concatenate([block, of_check]), np.array(HSIAO_COLUMNS, np.uint8)[column]

    # ---- a read ------------------------------------------------------------------------------------------------------

    def _decode(self, suspects: Positions) -> None:
        """Let words that are found wrong, some of `suspects` or by their syndrome, read as corrected or as zero."""
        words, in_cells, found = suspects, self._bits[suspects], _Found(zeroed=suspects.size)
        as_read = np.zeros(suspects.size, np.uint32)
        if self._wrong.size:
            words = self._words_of(self._wrong)
            contents, bits = self._data_at(words), self.format.bits
            check = self.protection.encode(contents, bits) ^ self._syndrome[self._wrong]
            decoded = self.protection.decode(contents, check, bits)
            as_read = self.format.decode(decoded.words).view(np.uint32)
            zeroed = np.zeros(words.size, bool) if decoded.zeroed is None else decoded.zeroed
            as_read[zeroed] = 0
            there = words < self._flat.size  # the last block may be longer
            words, as_read = words[there], as_read[there]
            in_cells = self._bits[words]
            found = _Found(decoded.corrected, decoded.detected, int(np.count_nonzero(zeroed[there])))
        self._found, self._hidden = found, (words, in_cells, as_read)
        self._bits[words] = as_read

    def _beyond_range(self, blocks: Positions) -> Positions:
        """Return the words of some blocks whose value is beyond the limit of the range check."""
        if self._limit == NO_LIMIT:
            return np.empty(0, np.int64)
        found = [np.empty(0, np.int64)]
        for start in (blocks * BLOCK).tolist():
            found.append(start + np.flatnonzero(self._fails(self._flat[start : start + BLOCK])))
        return np.concatenate(found)

    def _fails(self, values: NDArray[np.float32]) -> NDArray[np.bool_]:
        assert self.protection.limit is not None
        with np.errstate(invalid="ignore"):  # of a signalling NaN
            return range_fails(values, limit=self.protection.limit)

    @property
    def _limit(self) -> int:
        """Bits of the largest magnitude that is accepted, or `NO_LIMIT`."""
        if self.protection.limit is None:
            return NO_LIMIT
        with np.errstate(over="ignore"):
            return int(np.float32(self.protection.limit).view(np.uint32))

    def _sense(self) -> None:
        """Count a read that finds what is `_found`."""
        for kind, array in enumerate(self._arrays):
            if array.read_errors is not None:
                units = self._units(kind)
                sample = array.sample(units, self._stream("read_errors", kind))
                with self._bare():
                    array.count(READS, read_kinds(self._held(kind)(_at(sample)), full=array.full), units, sample)
        self._count_accesses([[("read", None)]])
        self._operations += 1
        if len(self._arrays) > 1:
            self._codes.add("word decoded", self._units(CHECK))
            self._codes.add("error corrected", self._found.corrected)
            self._codes.add("error detected", self._found.detected)
        self._codes.add("word read as zero", self._found.zeroed)

    # ---- cells -------------------------------------------------------------------------------------------------------

    def _units(self, kind: int) -> int:
        """Words, or code words, of an array."""
        return self._flat.size if kind == DATA else self._syndrome.size

    def _held(self, kind: int) -> Held:
        """Return the function that gives the bits of an array's cells; where words are hidden, only within `_bare`."""
        return self._data_at if kind == DATA else self._check_at

    def _data_at(self, at: At) -> Words:
        """Words of the cells; beyond the last one 0."""
        if at is None:
            return self._exact.encode(self._flat)
        return self._exact.encode(np.where(at < self._flat.size, self._flat.take(at, mode="clip"), np.float32(0)))

    def _check_at(self, at: At) -> Words:
        """Check cells of code words, one uint8 each."""
        words = self._data_at(None if at is None else self._words_of(at)).reshape(-1)
        check = self.protection.encode(words, self.format.bits)
        return check ^ self._syndrome if at is None else check.reshape(at.shape) ^ self._syndrome[at]

    def _words_of(self, code_words: Positions) -> Positions:
        """Words of code words, all in a row."""
        k = BLOCK_BITS // self.format.bits if self.protection.name == "secded" else 1
        return (code_words[..., None] * k + np.arange(k)).reshape(-1)

    @contextmanager
    def _bare(self) -> Iterator[None]:
        """Show the contents of the cells instead of what is read."""
        words, in_cells, as_read = self._hidden
        self._bits[words] = in_cells
        try:
            yield
        finally:
            self._bits[words] = as_read

    @contextmanager
    def _as_cells(self) -> Iterator[list[Words]]:
        """Put words and check cells into the arrays of a `Memory`, for its methods to read and to change."""
        with self._bare():
            contents = [self._held(kind)(None).copy() for kind in self.placement.kinds]
        for array, words in zip(self._arrays, contents, strict=True):
            array.words = words
        try:
            yield contents
        finally:
            for array in self._arrays:
                array.words = array.words[:0].copy()

    def _take_over(self, contents: Sequence[Words]) -> None:
        """Take over the words, and the check cells, of a `Memory`."""
        self._bits[...] = self._decoded(contents[DATA], None).view(np.uint32)
        if len(contents) > 1:
            self._syndrome[...] = contents[CHECK] ^ self.protection.encode(contents[DATA], self.format.bits)
        self._decode_all()

    def _decode_all(self) -> None:
        """Look at every word, and let those that are found wrong read as corrected or as zero."""
        self._wrong = np.flatnonzero(self._syndrome)
        self._decode(self._beyond_range(np.arange(self._beyond.size)))


class _Pulse:
    """A pulse on every word of an array, in two halves: before its target is known, and after.

    Parameters
    ----------
    array : CellArray
    units : int
        Words, or code words, of the array.
    rng : numpy.random.Generator
        Of this write.
    held : callable
        Gives the bits that its cells hold.
    """

    def __init__(self, array: CellArray, units: int, rng: np.random.Generator, held: Held) -> None:
        self.array, self.units, self.rng = array, units, rng
        self.sample = array.sample(units, rng)
        self.candidates = array.write_errors.candidates(rng, units * array.bits)
        self.word, self.bit = np.divmod(self.candidates, array.bits)
        self.old, self.kept = held(_at(self.sample)).copy(), self._bits_of_candidates(held)

    def finish(self, written: Held) -> Positions:
        """Return the cells that failed, given the bits that are written; counts the events."""
        array, target, bits = self.array, written(_at(self.sample)), self._bits_of_candidates(written)
        kinds = pulse_kinds(self.old, target, full=array.full, independent=array.independent)
        array.count(PULSES, kinds, self.units, self.sample)
        failed = array.write_errors.confirmed(self.rng, self.candidates, lambda _: bits)
        which = np.searchsorted(self.candidates, failed)
        if not array.independent:  # a cell that holds its bit already cannot fail
            which = which[self.kept[which] != bits[which]]
        ones = int(bits[which].sum())
        array.tally.add("failed write 1", ones)
        array.tally.add("failed write 0", which.size - ones)
        return self.candidates[which]

    def _bits_of_candidates(self, held: Held) -> NDArray[np.integer[Any]]:
        words = held(self.word)
        return (words >> self.bit.astype(words.dtype)) & 1


class _Found(NamedTuple):
    """What a read finds: code words that are corrected and that are not, and words that read as zero."""

    corrected: int = 0
    detected: int = 0
    zeroed: int = 0


def _at(sample: NDArray[np.int64] | None) -> At:
    """Numbers of the words of a sample, a run a row."""
    return None if sample is None else sample[:, None] * RUN + np.arange(RUN)


def works_in_place(declaration: WordMemory) -> bool:
    """Whether an `InPlaceMemory` can do it: no single bits, PLAIN, exact reads, no retention, no wear."""
    return not _hindrances(declaration)


def _hindrances(declaration: WordMemory) -> list[str]:
    d, read = declaration, declaration.reading
    rates = () if read is None else (getattr(read, f"{kind}_rate_{bit}") for kind in READ_RATES for bit in (0, 1))
    fits = {
        "format": d.format in ("fp32", *ROUNDED),
        "policy": d.policy == PLAIN,
        "reading": not any(rates),
        "retention": d.retention is None,
        "wear": not d.wear,
    }
    return [name for name, does in fits.items() if not does]
