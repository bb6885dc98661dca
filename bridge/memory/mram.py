"""A memory: numbers in, numbers out, through cells that fail as MRAM cells do, and a ledger of its events.

The path of a number: `formats.py` makes it a word of bits, `protection.py` adds check cells, `cells.py` pulses the
cells (a failed write *leaves the old bit*), reads and time disturb them, and `Memory.read` decodes them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bridge.checks import checked_declaration, checked_shape
from bridge.ledger import FREE_READS, Entry, Ledger
from bridge.memory.cells import CellArray, Selected, Step, Tally
from bridge.memory.codes import BLOCK_BITS, CORRECTED, range_fails
from bridge.memory.declaration import WordMemory
from bridge.memory.formats import AT_ONCE
from bridge.memory.placement import CHECK, DATA, Placement
from bridge.memory.protection import Decoded
from bridge.memory.sampling import BitRates
from bridge.memory.state import checked_arrays, checked_counts, checked_parts
from bridge.memory.stochastic import Draws, key_of
from bridge.write import PARTS, OperatingPoint
from mtjsim.checks import ArgumentError, Suggesting, checked_kind, checked_number, checked_whole
from mtjsim.rng import checked_seed, generator

if TYPE_CHECKING:
    from bridge.dies.die import Die


class Memory(Suggesting):
    """An array of words in MRAM.

    Parameters
    ----------
    shape : int or tuple of int
        Of the array of numbers.
    declaration : WordMemory, optional
        All but the other parameters here. In its place the fields of a `WordMemory` as keywords: `point`, `format`,
        `errors`, `policy`, `protection`, `reading`, `retention`, `exact_counts`, `wear`, `words_at_once`,
        `code_energy`, `rounding`, and for int8 `scale`, `overflow`.
    die : Die, optional
        Broken cells, and an error rate and a thermal stability for each cell; of the shape `cells_shape`, drawn for the
        cells and the write of the point. Every cell costs what the nominal one does. Read errors and disturbs stay
        those of `reading`, the same in every cell.
    initial : array_like, optional
        Numbers the cells hold at first, without a write; left out, every cell holds a 0.
    seed : int
        Of this memory's own streams. Give every memory another one.
    name : str
        In the ledger.

    Raises
    ------
    ValueError
        As `WordMemory`; for a declaration and its fields together, or a die that was drawn for another shape, write or
        junction.

    Notes
    -----
    Every operation has its own stream, keyed by the seed and the operation's number: equal histories give equal bits,
    and a checkpoint is `state()`. The pulses of a retry act on the cells as they are, whatever `errors` is.

    Examples
    --------
    >>> point = OperatingPoint.of_rates(error_rate_0=0.1, error_rate_1=0.1, energy_0=2e-13, energy_1=3e-13)
    >>> weights = Memory(10000, format="binary", point=point, seed=1)
    >>> ones = np.ones(10000)
    >>> for _ in range(3):  # failed cells are written again; a cell that holds its bit cannot fail
    ...     weights.write(ones)
    ...     print(round((weights.read() != ones).mean(), 2), end=" ")
    0.1 0.01 0.0
    >>> print(f"{weights.ledger.joules('device') * 1e9:.1f} nJ")
    9.0 nJ
    """

    def __init__(
        self,
        shape: int | Sequence[int],
        declaration: WordMemory | None = None,
        *,
        die: Die | None = None,
        initial: ArrayLike | None = None,
        seed: int = 0,
        name: str = "MRAM",
        **declared: Any,
    ) -> None:
        if declaration is None:
            declaration = WordMemory(**declared)
        elif declared:
            raise ArgumentError("declaration", f"must have {', '.join(declared)} in it: dataclasses.replace sets them.")
        checked_kind("declaration", declaration, WordMemory)
        self.shape, self.declaration, self.name = checked_shape(shape, least=0), declaration, name
        self.format, self.protection = declaration.word_format, declaration.protection
        self.placement = Placement(self.shape, self.format.bits, self.protection, die)
        self.placement.require_die_fits(declaration.point, declaration.retention)
        self.seed, self._operations = checked_seed(seed), 0
        self._accesses, self._codes = Tally(), Tally()
        self._past = Ledger()  # under former settings
        self._retained: dict[float, list[BitRates]] = {}
        words = np.zeros(math.prod(self.shape), self.format.word_dtype)
        if initial is not None:
            words[...] = self._encoded("initial", initial)
        reading, check = declaration.reading, self.protection.encode(words, self.format.bits)
        contents = (words, self.format.bits), (check, self.protection.check_bits)
        self._arrays = [
            CellArray(
                contents[kind][0],
                bits=contents[kind][1],
                write_errors=self.placement.write_errors(declaration.point, kind),
                read_errors=None if reading is None else BitRates([reading.error_rate_0, reading.error_rate_1]),
                disturbs=None if reading is None else BitRates([reading.disturb_rate_0, reading.disturb_rate_1]),
                fixed=self.placement.fixed(kind),
                independent=declaration.errors == "independent",
                exact=True if self.format.name == "binary" else declaration.exact_counts,
                wear=declaration.wear,
            )
            for kind in self.placement.kinds
        ]

    def __repr__(self) -> str:
        declared, protection = self.declaration, self.protection.name
        point = f"error rates {declared.point.error_rate_0:.3g} and {declared.point.error_rate_1:.3g}"
        extra = "" if protection == "none" else f", {protection}"
        kind = f"{type(self).__name__}({self.shape}, {self.format.name}{extra}"
        return f"{kind}, {point}, {declared.errors}, name={self.name!r}, seed={self.seed})"

    @property
    def cells_shape(self) -> tuple[int, ...]:
        """Shape of the array of cells, as a die must have it.

        The cells of a word are the last axis, its parity after them; a memory of single bits has no such axis. With
        SECDED the data cells, in their order, are in rows of 64, each followed by its 8 check cells.
        """
        return self.placement.cells_shape

    @property
    def point(self) -> OperatingPoint:
        """Error rates and energies of the writes now, see `set_point`."""
        return self.declaration.point

    # ---- operations --------------------------------------------------------------------------------------------------

    def write(self, values: ArrayLike) -> None:
        """Store numbers, of the memory's shape; ValueError for another one, or for numbers the format does not have.

        What `read` returns can be written, but for the 0 of a binary word that was found wrong: `scrub` writes back.
        """
        words = self._encoded("values", values, written=True)
        targets = [words, self.protection.encode(words, self.format.bits)]
        self._codes.add("word encoded", self.protection.code_words(words.size, self.format.bits))
        self._write(targets, [None, None])

    def read(self, *, out: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """Return the numbers as they are sensed and decoded.

        Parameters
        ----------
        out : array of float32, optional
            Contiguous, of the memory's shape; the numbers are put there, and it is returned. Left out: a new array.

        Raises
        ------
        ValueError
            If `out` is another kind of array.
        """
        decoded = self._sensed(None if out is None else self._checked_out(out))
        words, zeroed = decoded.words, decoded.zeroed
        values = self._decoded(words, out)
        if self.protection.limit is not None:
            zeroed = range_fails(values, limit=self.protection.limit)
        if zeroed is not None:
            self._codes.add("word read as zero", int(np.count_nonzero(zeroed)))
            values[zeroed] = 0.0
        if out is None:
            return values.reshape(self.shape)
        if not np.may_share_memory(values, out):
            out[...] = values.reshape(self.shape)
        return out

    def scrub(self) -> NDArray[np.bool_]:
        """Read all words and write back those that the code corrected; return where it could not.

        Returns
        -------
        array of bool
            Of the memory's shape: words that were found wrong and not corrected. Their cells are left as they are, and
            so are those of words without an error. What was lost is written again from a copy, with `write`.

        Notes
        -----
        It takes a read of all words, and a write of each corrected code word as a whole, check cells included, by the
        policy of the memory. That write may fail, too. Only SECDED corrects; without it nothing is written.

        Examples
        --------
        >>> point = OperatingPoint.of_rates(error_rate_0=0.01, error_rate_1=0.01)
        >>> memory = Memory(6400, format="binary", point=point, protection="secded", seed=1)
        >>> memory.write(np.ones(6400))
        >>> before, lost = int((memory.stored != 1).sum()), memory.scrub()
        >>> print(before, int((memory.stored != 1).sum()), int(lost.sum()))
        76 44 1088
        """
        decoded = self._sensed(None)
        if decoded.corrected:
            check = self.protection.encode(decoded.words, self.format.bits)
            again = decoded.status == CORRECTED
            words = np.flatnonzero(np.repeat(again, BLOCK_BITS // self.format.bits)[: decoded.words.size])
            blocks = np.flatnonzero(again)
            self._codes.add("word encoded", blocks.size)
            self._write([decoded.words[words], check[blocks]], [words, blocks])
        if self.protection.limit is not None:
            return range_fails(self._decoded(decoded.words, None), limit=self.protection.limit).reshape(self.shape)
        lost = np.zeros(decoded.words.size, bool) if decoded.zeroed is None else decoded.zeroed
        return lost.reshape(self.shape)

    def load(self, values: ArrayLike) -> None:
        """Load numbers, of the memory's shape, into the cells without a write: no errors, no entry in the ledger."""
        words = self._encoded("values", values)
        contents = [words, self.protection.encode(words, self.format.bits)]
        for array, content in zip(self._arrays, contents, strict=False):
            array.hold_words(content)

    def wait(self, duration: float) -> None:
        """Leave the cells alone for `duration` [s]; each may lose its bit (`mtjsim.retention_failure_rate`)."""
        checked_number("duration", duration, "s", zero_allowed=True)
        retention = self.declaration.retention
        if retention is None:
            raise ArgumentError("retention", "must be given to wait: Memory(..., retention=Retention(device, ...)).")
        if duration == 0:
            return
        if duration not in self._retained:  # the last duration only: a die's rates are as large as it
            self._retained = {duration: self.placement.retention_failures(retention, float(duration))}
        for kind, array in enumerate(self._arrays):
            array.hold(self._retained[duration][kind], self._stream("retention", kind))
        self._operations += 1

    @property
    def pulses(self) -> NDArray[np.uint32]:
        """Pulses of each data cell, of shape (*shape, bits); ValueError unless the memory counts `wear`."""
        pulses = self._arrays[DATA].pulses
        if pulses is None:
            raise ArgumentError("wear", "must be True for pulses to be counted cell by cell.")
        return pulses.reshape(*self.shape, self.format.bits)

    @property
    def stored(self) -> NDArray[np.float32]:
        """The numbers that the data cells hold, as by a perfect read without protection, at no cost."""
        return self.format.decode(self._arrays[DATA].words.copy()).reshape(self.shape)

    def set_point(self, point: OperatingPoint) -> None:
        """Write with another setting from now on; the cells and the ledger so far stay.

        ValueError if the cells are those of a die whose rates were drawn for another write.
        """
        declaration = replace(self.declaration, point=point)
        self.placement.require_die_fits(point, None)
        self._past, self.declaration = self.ledger, declaration
        for tally in self._tallies:
            tally.restore(Tally().state())
        for kind, array in enumerate(self._arrays):
            array.write_errors = self.placement.write_errors(point, kind)

    # ---- costs -------------------------------------------------------------------------------------------------------

    @property
    def ledger(self) -> Ledger:
        """Events so far, and their cost."""
        entries = list(self._past)
        for event, count in self._accesses.counts.items():
            entries.append(Entry(memory=self.name, event=event, count=count, **self._price(event)))
        for kind, array in enumerate(self._arrays):
            memory = self.name if kind == DATA else f"{self.name}, check cells"
            for event, count in array.tally.counts.items():
                variance = array.tally.variances.get(event, 0.0)
                price = self._price(event)
                entries.append(Entry(memory=memory, event=event, count=count, variance=variance, **price))
        for event, count in self._codes.counts.items():
            code_energy = self.declaration.code_energy if event.startswith("word ") else None
            price = {} if code_energy is None else {"periphery": code_energy, "source": "code_energy"}
            entries.append(Entry(memory=self.name, event=event, count=count, **price))
        return Ledger(entries)

    def _price(self, event: str) -> dict[str, Any]:
        verb, what, *turned = event.split()
        point, reading = self.point, self.declaration.reading
        write_source = f"{self.declaration.errors} errors; operating point {point.identity[:12]}"
        if verb == "write" and what in "01":
            cost = {part: float(point.energies[part][int(what), int(turned == ["held"])]) for part in PARTS}
            return {**cost, "source": write_source}
        if verb == "write":
            return {"seconds": point.latency, "source": write_source}
        if event == "lost while waiting" and (retention := self.declaration.retention) is not None:
            return {"source": f"counted; retention at {retention.temperature:g} K"}
        if verb != "read" or what == "error":
            return {"source": "counted"}
        if reading is None:
            return {"source": FREE_READS}
        if what == "access":
            return {"seconds": reading.latency, "source": "read point"}
        parts = (("junction", "energy"), ("transistor", "transistor_energy"), ("driver", "driver_energy"))
        cost = {part: getattr(reading, f"{field}_{what}") for part, field in parts}
        return {**cost, "periphery": reading.sense_energy, "source": "read point"}

    # ---- a checkpoint ------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Return all that changes: cells, counts, the number of operations. Arrays are copies."""
        return {
            "kind": self._kind,
            "operations": self._operations,
            "words": [array.words.copy() for array in self._arrays],
            "pulses": [None if array.pulses is None else array.pulses.copy() for array in self._arrays],
            "tallies": [tally.state() for tally in self._tallies],
            "past": [asdict(entry) for entry in self._past],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restore a `state()` of a memory like this one, bit for bit; ValueError for another, nothing changed then.

        Like this one: of its shape, format, protection and wear. Give it the same seed, rates and die, too.
        """
        parts = checked_parts(state, "operations", "words", "pulses", "tallies", "past", kind=self._kind)
        checked_kind("tallies of state", parts["tallies"], list)
        if len(parts["tallies"]) != len(self._tallies):
            raise ArgumentError("state", "must be of this version: up to 0.5.0 words were counted and not accesses.")
        for saved in parts["tallies"]:
            for counts in checked_parts(saved, "counts", "variances").values():
                checked_counts(counts)
        checked_arrays("words", parts["words"], [array.words for array in self._arrays])
        checked_arrays("pulses", parts["pulses"], [array.pulses for array in self._arrays])
        checked_kind("past of state", parts["past"], list)
        past = Ledger(Entry(**checked_declaration(Entry, entry)) for entry in parts["past"])
        self._operations = checked_whole("operations of state", parts["operations"], least=0)
        for array, words, pulses in zip(self._arrays, parts["words"], parts["pulses"], strict=True):
            array.words[...] = words
            array.pulses = None if pulses is None else pulses.copy()
        self._past = past
        for tally, saved in zip(self._tallies, parts["tallies"], strict=True):
            tally.restore(saved)

    @property
    def _tallies(self) -> list[Tally]:
        return [*(array.tally for array in self._arrays), self._codes, self._accesses]

    @property
    def _kind(self) -> str:
        """Description that must be equal for a state to fit."""
        wear = ", wear" if self._arrays[DATA].pulses is not None else ""
        return f"shape {self.shape}, {self.format}, {self.protection}{wear}"

    # ---- inside ------------------------------------------------------------------------------------------------------

    def _stream(self, role: Any, kind: int) -> np.random.Generator:
        return generator(self.seed, role, 2 * self._operations + kind)

    @property
    def _rounding_key(self) -> Draws:
        """Key of the draws of this write."""
        return key_of(self.seed, self._operations)

    def _write(self, targets: Sequence[NDArray[Any]], at: Sequence[Selected]) -> None:
        """Write the words and the check cells `at` these places, by the policy."""
        policy, steps = self.declaration.policy, []
        for kind, array in enumerate(self._arrays):
            steps.append(array.write(targets[kind], policy, self._stream("write_errors", kind), at=at[kind]))
        self._count_accesses(steps)
        self._operations += 1

    def _sensed(self, into: NDArray[Any] | None) -> Decoded:
        """Read all cells, the words `into` an array if it is given, and decode them."""
        sensed = [
            array.sense(self._stream("read_errors", kind), out=into if kind == DATA else None)
            for kind, array in enumerate(self._arrays)
        ]
        self._count_accesses([[("read", None)]])
        self._operations += 1
        if len(sensed) == 1:
            return Decoded(sensed[DATA])
        decoded = self.protection.decode(sensed[DATA], sensed[CHECK], self.format.bits)
        self._codes.add("word decoded", self.placement.code_words)
        self._codes.add("error corrected", decoded.corrected)
        self._codes.add("error detected", decoded.detected)
        return decoded

    def _count_accesses(self, steps: Sequence[Sequence[Step]]) -> None:
        """Count accesses: the steps of each cell array, of which those of one number are at the same time."""
        for parts in zip_longest(*steps):
            verb = next(part[0] for part in parts if part is not None)
            touched = [np.empty(0, np.intp) if part is None else part[1] for part in parts]
            count = self.placement.accesses(touched, at_once=self.declaration.words_at_once)
            self._accesses.add(f"{verb} access", count)

    def _checked_out(self, out: NDArray[np.float32]) -> NDArray[Any] | None:
        """Refuse an array that cannot take the numbers; return it as words where a number is its word."""
        array = isinstance(out, np.ndarray)
        if not array or out.dtype != np.float32 or out.shape != self.shape or not out.flags.carray:
            got = f"{out.dtype} of {out.shape}" if array else type(out).__name__
            raise ArgumentError("out", f"must be a writeable, contiguous array of float32 of {self.shape}, got {got}.")
        return out.reshape(-1).view(np.uint32) if self.format.name == "fp32" else None

    def _encoded(self, name: str, values: ArrayLike, *, written: bool = False) -> NDArray[Any]:
        """Return the words of numbers; what is loaded without a write is rounded to the nearest."""
        form, draws = self.format, None
        if form.rounding == "stochastic" and written:
            from bridge.memory.rounding import drawn  # here: numba takes half a second

            draws = drawn(math.prod(np.shape(values)), self._rounding_key).reshape(np.shape(values))
        elif form.rounding == "stochastic":
            form = replace(form, rounding="nearest")
        try:
            words = form.encode(values, draws=draws)
        except ArgumentError as error:
            if self.format.name != "binary" or self.protection.name == "none" or " got 0 " not in f"{error} ":
                raise
            remedy = "A word that is found wrong reads as 0: to write back what was read, use scrub()."
            raise ArgumentError(name, f"{error.problem} {remedy}") from None
        if words.shape != self.shape:
            raise ArgumentError(name, f"must have the memory's shape {self.shape}, got {words.shape}.")
        return words.reshape(-1)

    def _decoded(self, words: NDArray[Any], out: NDArray[np.float32] | None) -> NDArray[np.float32]:
        """Return the numbers of (n,) words; where a number is its word it is a view."""
        if self.format.name == "fp32":
            return self.format.decode(words)
        values = np.empty(words.size, np.float32) if out is None else out.reshape(-1)
        for start in range(0, words.size, AT_ONCE):
            values[start : start + AT_ONCE] = self.format.decode(words[start : start + AT_ONCE])
        return values
