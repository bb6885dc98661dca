"""Cells in rows of words: their bits when they are written, sensed and left alone.

Legend: word w has `bits` cells, cell k of it is bit k; the cell's number in the array is w * bits + k.

**A write is a pulse that may fail.** A cell that is written to b and holds b already cannot fail: the torque holds it
there. One that holds the other bit keeps it with probability error_rate_b. With *independent* errors every written cell
is taken to have held the other bit. Either way a failed cell ends as the opposite of the bit that was written; the two
differ in the cells that may fail, one line in `CellArray._pulse`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bridge.memory.formats import Words
from bridge.memory.sampling import BitRates, Positions
from mtjsim.checks import Suggesting, checked_whole

Selected = NDArray[np.intp] | None  # words of an array; None: all of them
Step = tuple[str, Selected | NDArray[np.bool_]]  # "write" or "read", and the words that are pulsed or sensed by it
Kinds = Callable[[Any], tuple[Any, ...]]  # a part of an array -> words whose set bits are counted, one array an event

SAMPLE = 1 << 13  # words in the sample of a large array
RUN = 64  # words of a sample in a row: the first access of a row is slow, the others are fast
EXACT = 1 << 22  # cells up to which all are counted by default
COUNTED = 1 << 15  # words counted at a time: they stay in the cache
PULSES = ("write 1 turned", "write 0 turned", "write 1 held", "write 0 held")
READS = ("read 1", "read 0")


@dataclass(frozen=True, kw_only=True)
class WritePolicy(Suggesting):
    """Reads and pulses of a controller that writes a word.

    Parameters
    ----------
    read_first : bool
        Read before write: only cells that read as the other bit are pulsed.
    attempts : int
        Pulses a cell gets at most. From two on, every pulse but the last is followed by a read that verifies the words
        that were pulsed, and the cells that read wrong are pulsed again. Without a `ReadPoint` in the memory these
        reads are exact, free and take no time, and the printed ledger notes it.

    Raises
    ------
    ValueError
        If there is not at least one attempt.

    Examples
    --------
    >>> WritePolicy(attempts=2) == PLAIN, WritePolicy(read_first=True) == READ_BEFORE_WRITE
    (False, True)
    """

    read_first: bool = False
    attempts: int = 1

    def __post_init__(self) -> None:
        checked_whole("attempts", self.attempts, least=1)

    @property
    def reads(self) -> bool:
        """Whether it ever reads."""
        return self.read_first or self.attempts > 1


PLAIN = WritePolicy()
READ_BEFORE_WRITE = WritePolicy(read_first=True)
WRITE_VERIFY_RETRY = WritePolicy(attempts=3)


@dataclass
class Tally:
    """Events counted so far, and the variance of those that were estimated from a sample."""

    counts: dict[str, float] = field(default_factory=lambda: defaultdict(int))
    variances: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    def add(self, event: str, count: float, variance: float = 0.0) -> None:
        """Add events of one kind."""
        if count:
            self.counts[event] += count
        if variance:
            self.variances[event] += variance

    def state(self) -> dict[str, dict[str, float]]:
        """Return copies of both."""
        return {"counts": dict(self.counts), "variances": dict(self.variances)}

    def restore(self, state: dict[str, dict[str, float]]) -> None:
        """Restore a `state()`."""
        for mine, saved in ((self.counts, state["counts"]), (self.variances, state["variances"])):
            mine.clear()
            mine.update(saved)


class CellArray:
    """Words of cells with their errors.

    Parameters
    ----------
    words : (n,) array of unsigned integers
        First contents of the cells. Owned by the array from now on.
    bits : int
        Cells a word.
    write_errors : BitRates
        error_rate_b of the pulse that writes b.
    read_errors, disturbs : BitRates, optional
        Chance that a stored b is sensed wrongly; that a read turns it.
    fixed : (indices, bits) pair of arrays, optional
        Cells that never change, and the bits they read as.
    independent : bool
        Which of the two kinds of write errors.
    exact : bool or None
        Count turned cells exactly, from a sample of words, or (None) exactly up to `EXACT` cells.
    wear : bool
        Count the pulses of each cell.
    """

    def __init__(
        self,
        words: Words,
        *,
        bits: int,
        write_errors: BitRates,
        read_errors: BitRates | None = None,
        disturbs: BitRates | None = None,
        fixed: tuple[Positions, NDArray[np.integer[Any]]] | None = None,
        independent: bool = False,
        exact: bool | None = None,
        wear: bool = False,
    ) -> None:
        self.words = words
        self.bits = bits
        self.write_errors, self.read_errors, self.disturbs = write_errors, read_errors, disturbs
        self.independent = independent
        self.exact = words.size * bits <= EXACT if exact is None else exact
        self.tally = Tally()
        self.pulses = np.zeros((words.size, bits), np.uint32) if wear else None
        self._fixed = None if fixed is None or fixed[0].size == 0 else _fixed_words(*fixed, bits, words.dtype)
        self._hold_fixed()

    @property
    def cells(self) -> int:
        """Cells in all."""
        return self.words.size * self.bits

    # ---- writing -----------------------------------------------------------------------------------------------------

    def write(self, target: Words, policy: WritePolicy, rng: np.random.Generator, *, at: Selected = None) -> list[Step]:
        """Write `target`, (n,) words, to the words `at` (all if None); the contents afterwards are in `words`.

        Returns
        -------
        list of (str, words)
            The pulses ("write") and reads one after another, and the words of each: None for all, a boolean array over
            all words, or their numbers.
        """
        steps: list[Step] = []
        mask: Words | None = None
        pulsed: Any = at
        if policy.read_first:
            mask = self.sense(rng, at) ^ target
            steps.append(("read", at))
        self._pulse(target, mask, rng, at=at, independent=self.independent)
        if mask is not None:
            differs = mask != 0
            pulsed = differs if at is None else at[differs]
            if policy.attempts > 1:  # a word without a pulse is not verified
                at = pulsed = np.flatnonzero(differs) if at is None else pulsed
                target = target[differs]
        steps.append(("write", pulsed))
        for _ in range(policy.attempts - 1):
            wrong = self.sense(rng, at) ^ target
            steps.append(("read", at))
            again = np.flatnonzero(wrong)
            if again.size == 0:
                break
            at, target, wrong = again if at is None else at[again], target[again], wrong[again]
            self.tally.add("cell pulsed again", int(np.bitwise_count(wrong).sum(dtype=np.int64)))
            self._pulse(target, wrong, rng, at=at)  # the contents of each cell are known from the read
            steps.append(("write", at))
        return steps

    def _pulse(
        self,
        target: Words,
        mask: Words | None,
        rng: np.random.Generator,
        *,
        at: Selected = None,
        independent: bool = False,
    ) -> None:
        """Pulse the cells of `mask` (all if None) in the words `at` (all if None) towards `target`."""
        old = self.words if at is None else self.words[at]
        sample = self.sample(old.size, rng)
        looked_at = [looked_at_of(words, sample) for words in (old, target) + (() if mask is None else (mask,))]
        self.count(PULSES, pulse_kinds(*looked_at, full=self.full, independent=independent), old.size, sample)
        written = self._bits_in(target)
        failed = self._rates_at(self.write_errors, at).hits(rng, old.size * self.bits, written)
        if mask is not None:
            failed = failed[self._bits_in(mask)(failed) == 1]
        if not independent:  # a cell that holds its bit already cannot fail
            failed = failed[self._bits_in(old)(failed) != written(failed)]
        failed = self._free(failed, at)
        failed_ones = int(written(failed).sum())
        self.tally.add("failed write 1", failed_ones)
        self.tally.add("failed write 0", failed.size - failed_ones)
        if self.pulses is not None:
            all_or_masked = np.broadcast_to(self.full, old.shape) if mask is None else mask
            self.pulses[slice(None) if at is None else at] += _unpacked(all_or_masked, self.bits)
        new = target if mask is None else (target & mask) | (old & ~mask)
        if at is None:
            self.words[...] = new
            self.flip(self.words, failed)
        else:
            new = new.copy()
            self.flip(new, failed)
            self.words[at] = new
        self._hold_fixed()

    # ---- reading and waiting -----------------------------------------------------------------------------------------

    def sense(self, rng: np.random.Generator, at: Selected = None, *, out: Words | None = None) -> Words:
        """Read the words `at` (all if None): a copy, or `out`, as sensed. The read may disturb the cells."""
        if out is not None:
            out[...] = self.words
        seen = out if out is not None else self.words.copy() if at is None else self.words[at]
        if self.read_errors is not None:  # of free reads only the accesses are counted, by the memory
            sample = self.sample(seen.size, rng)
            self.count(READS, read_kinds(looked_at_of(seen, sample), full=self.full), seen.size, sample)
        cells = seen.size * self.bits
        wrong = turned = np.empty(0, np.int64)
        if self.read_errors is not None:
            wrong = self._free(self._rates_at(self.read_errors, at).hits(rng, cells, self._bits_in(seen)), at)
        if self.disturbs is not None:
            turned = self._free(self._rates_at(self.disturbs, at).hits(rng, cells, self._bits_in(seen)), at)
        if turned.size:
            after = seen.copy()
            self.flip(after, turned)
            self.words[slice(None) if at is None else at] = after
        self.flip(seen, wrong)
        self.tally.add("read error", wrong.size)
        self.tally.add("disturbed by a read", turned.size)
        return seen

    def hold_words(self, words: Words) -> None:
        """Load `words`, (n,), into the cells, at once and without a pulse; broken cells keep their bits."""
        self.words[...] = words
        self._hold_fixed()

    def hold(self, rates: BitRates, rng: np.random.Generator) -> None:
        """Let each cell lose its bit with the rate of that bit."""
        lost = self._free(rates.hits(rng, self.cells, self._bits_in(self.words)), None)
        self.flip(self.words, lost)
        self.tally.add("lost while waiting", lost.size)

    # ---- cells -------------------------------------------------------------------------------------------------------

    @property
    def full(self) -> Any:
        """A word of ones."""
        return self.words.dtype.type((1 << self.bits) - 1)

    def _bits_in(self, words: Words) -> Callable[[Positions], NDArray[np.integer[Any]]]:
        """Return the function that gives the bits of `words` at positions."""

        def bits_at(positions: Positions) -> NDArray[np.integer[Any]]:
            w, k = np.divmod(positions, self.bits)
            return (words[w] >> k.astype(words.dtype)) & 1

        return bits_at

    def flip(self, words: Words, positions: Positions) -> None:
        """Turn the cells at positions in words of this width."""
        if positions.size:
            w, k = np.divmod(positions, self.bits)
            np.bitwise_xor.at(words, w, np.left_shift(1, k).astype(words.dtype))

    def _rates_at(self, rates: BitRates, at: Selected) -> BitRates:
        return rates if at is None else rates.at((at[:, None] * self.bits + np.arange(self.bits)).ravel())

    def _free(self, positions: Positions, at: Selected) -> Positions:
        """Leave out the cells that never change."""
        if self._fixed is None or positions.size == 0:
            return positions
        w, k = np.divmod(positions, self.bits)
        w = w if at is None else at[w]
        found = np.minimum(np.searchsorted(self._fixed[0], w), self._fixed[0].size - 1)
        stuck = (self._fixed[0][found] == w) & ((self._fixed[1][found] >> k.astype(self.words.dtype)) & 1 == 1)
        return positions[~stuck]

    def _hold_fixed(self) -> None:
        if self._fixed is not None:
            w, mask, value = self._fixed
            self.words[w] = (self.words[w] & ~mask) | value

    def sample(self, n: int, rng: np.random.Generator) -> Selected:
        """Draw the runs of words of a sample of n, see `looked_at_of`; None: every word."""
        if self.exact or n <= SAMPLE:
            return None
        return rng.spawn(1)[0].integers(n // RUN, size=SAMPLE // RUN)  # a stream of its own: counting changes no bit

    def count(self, events: tuple[str, ...], kinds: Kinds, n: int, sample: Selected) -> None:
        """Count the set bits of kinds(words of a part), all of n words, or estimate them from those of a sample."""
        if sample is not None:
            for event, words in zip(events, kinds(slice(None)), strict=False):
                runs = np.bitwise_count(words.view(np.uint64)).sum(axis=1, dtype=np.int64)  # one observation each
                mean, square = int(runs.sum()) / runs.size, int(runs.dot(runs)) / runs.size
                factor = n / RUN
                self.tally.add(event, factor * mean, factor**2 * (square - mean**2) / (runs.size - 1))
            return
        for start in range(0, n, COUNTED):
            for event, words in zip(events, kinds(slice(start, start + COUNTED)), strict=False):
                self.tally.add(event, int(np.bitwise_count(words).sum(dtype=np.int64)))


def looked_at_of(words: Words, sample: Selected) -> Words:
    """Return the words of a sample, (runs, RUN), the run r being words r * RUN and on; all words if it is None.

    The last words, fewer than a run, are never in a sample; they are taken to be like the others.
    """
    return words if sample is None else words[: words.size // RUN * RUN].reshape(-1, RUN).take(sample, axis=0)


def read_kinds(seen: Words, *, full: Any) -> Kinds:
    """Return the `kinds` of `CellArray.count` for the events `READS`."""
    return lambda part: (seen[part], ~seen[part] & full)


def pulse_kinds(old: Words, target: Words, mask: Words | None = None, *, full: Any, independent: bool) -> Kinds:
    """Return the `kinds` of `CellArray.count` for the events `PULSES`, in the cells of `mask` (all if None)."""

    def kinds(part: Any) -> tuple[Any, ...]:
        t, m = target[part], full if mask is None else mask[part]
        if independent:
            return t & m, ~t & m
        o = old[part]
        return t & ~o & m, ~t & o & m, t & o & m, ~t & ~o & m

    return kinds


def _unpacked(words: Words, bits: int) -> NDArray[np.uint8]:
    return ((words[:, None] >> np.arange(bits, dtype=words.dtype)) & 1).astype(np.uint8)


def _fixed_words(
    indices: Positions, values: NDArray[np.integer[Any]], bits: int, dtype: np.dtype[Any]
) -> tuple[NDArray[np.intp], Words, Words]:
    """Return the words that have fixed cells, (k,), a mask of these cells and their bits."""
    w, k = np.divmod(np.asarray(indices, np.int64), bits)
    words, inverse = np.unique(w, return_inverse=True)
    mask, value = np.zeros(words.size, dtype), np.zeros(words.size, dtype)
    np.bitwise_or.at(mask, inverse, np.left_shift(1, k).astype(dtype))
    np.bitwise_or.at(value, inverse, np.left_shift(np.asarray(values, np.int64), k).astype(dtype))
    return words, mask, value
