"""A memory: numbers in, numbers out, through cells that fail as MRAM cells do, and a ledger of what it cost.

The road of a number: `formats.py` makes it a word of bits, `protection.py` adds check cells, `cells.py` pulses the
cells (a failed write *leaves the old bit*), reads and time disturb them, and the way back ends in `Memory.read`.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bridge.ledger import Entry, Ledger
from bridge.memory.cells import PLAIN, CellArray, Tally, WritePolicy
from bridge.memory.codes import range_fails
from bridge.memory.formats import Format, format_of
from bridge.memory.protection import Protection
from bridge.memory.read import ReadPoint, Retention
from bridge.memory.sampling import BitRates
from bridge.write import PARTS, OperatingPoint
from mtjsim.checks import checked_choice, checked_number, checked_whole
from mtjsim.rng import checked_seed, generator

if TYPE_CHECKING:
    from bridge.dies.faults import Die

ERRORS = ("overwrite", "independent")
DATA, CHECK = 0, 1  # the two cell arrays of a memory
AT_ONCE = 1 << 15  # numbers that are converted at a time: they stay in the cache


class Memory:
    """An array of words in MRAM.

    Parameters
    ----------
    shape : int or tuple of int
        Of the array of numbers.
    format : str or Format
        How a number is laid out in cells: "binary", "ternary", "fp16", "bf16", "fp32", or a `Format` (int8 needs a
        scale).
    point : OperatingPoint
        Error rates, energies and latency of a write.
    errors : {"overwrite", "independent"}
        *overwrite*: a failed cell keeps its old bit, so a cell that holds the bit already cannot fail. *independent*:
        every written cell is taken to have held the other bit, so that each errs with its full rate: the worst case,
        and what the literature simulates. Which of the two it was stands in the ledger.
    policy : WritePolicy
        `PLAIN`, `READ_BEFORE_WRITE`, `WRITE_VERIFY_RETRY`, or one of your own.
    protection : str or Protection
        "none", "parity", "secded", or `Protection("range", limit=...)`. What is detected and not corrected reads as
        zero.
    reading : ReadPoint, optional
        Read errors, read disturb, energy and latency of a read; without it reads are exact and free.
    retention : Retention, optional
        What `wait` needs.
    die : Die, optional
        Broken cells, and an error rate and a thermal stability for each cell; of the shape `cells_shape`. Broken cells
        cost what healthy ones do. Read errors and disturbs stay those of `reading`, the same in every cell.
    initial : array_like, optional
        Numbers the cells hold at first, without a write; left out, every cell holds a 0.
    seed : int
        Of this memory's own streams. Give every memory another one.
    exact_counts : bool, optional
        Whether turned cells are counted, or estimated from 8192 words a write; left out, binary memories and those of
        up to 4 million cells are counted. Failed writes are always counted.
    wear : bool
        Count the pulses of each cell (`pulses`); the total is in the ledger in any case.
    words_at_once : int
        Words that one access writes or reads; divides the seconds of the ledger.
    code_energy : float
        Of encoding or decoding the check cells of one code word [J].
    name : str
        In the ledger.

    Raises
    ------
    ValueError
        For unknown names, a die of another shape, read-before-write with independent errors, rates that are none.

    Notes
    -----
    Every operation has its own stream, keyed by the seed and the operation's number: equal histories give equal bits,
    and a checkpoint is `state()`. The pulses of a retry find the cells as they are, whatever `errors` says.

    Examples
    --------
    >>> point = OperatingPoint.of_rates(error_rate_0=0.1, error_rate_1=0.1, energy_0=2e-13, energy_1=3e-13)
    >>> weights = Memory(10000, format="binary", point=point, seed=1)
    >>> ones = np.ones(10000)
    >>> for _ in range(3):  # what failed is written again; what holds its bit cannot fail
    ...     weights.write(ones)
    ...     print(round((weights.read() != ones).mean(), 2), end=" ")
    0.1 0.01 0.0
    >>> print(f"{weights.ledger.joules('device') * 1e9:.1f} nJ")
    9.0 nJ
    """

    def __init__(
        self,
        shape: int | Sequence[int],
        *,
        format: str | Format,
        point: OperatingPoint,
        errors: str = "overwrite",
        policy: WritePolicy = PLAIN,
        protection: str | Protection = "none",
        reading: ReadPoint | None = None,
        retention: Retention | None = None,
        die: "Die | None" = None,
        initial: ArrayLike | None = None,
        seed: int = 0,
        exact_counts: bool | None = None,
        wear: bool = False,
        words_at_once: int = 1,
        code_energy: float = 0.0,
        name: str = "MRAM",
    ) -> None:
        self.shape = checked_shape(shape)
        self.format = format_of(format) if isinstance(format, str) else format
        self.protection = Protection(protection) if isinstance(protection, str) else protection
        for argument, value, kind, way_out in (
            ("format", self.format, Format, 'a name such as "fp16" or a Format'),
            ("protection", self.protection, Protection, 'a name such as "secded" or a Protection'),
            (
                "point",
                point,
                OperatingPoint,
                "an OperatingPoint; OperatingPoint.of_rates(...) makes one",
            ),
            ("policy", policy, WritePolicy, "PLAIN, READ_BEFORE_WRITE, WRITE_VERIFY_RETRY or a WritePolicy"),
            (
                "reading",
                ReadPoint() if reading is None else reading,
                ReadPoint,
                "a ReadPoint; read_point() derives one",
            ),
            ("retention", retention, Retention | None, "a Retention, of a junction and a temperature"),
        ):
            if not isinstance(value, kind):
                raise ValueError(f"{argument} must be {way_out}, got {value!r}.")
        self.errors = checked_choice("errors", errors, ERRORS)
        if policy.read_first and errors == "independent":
            raise ValueError(
                "policy must not read first where errors are independent: a read tells which cells differ, and "
                'independent errors take every cell to differ. Use errors="overwrite".'
            )
        self.point, self.policy, self.reading, self.retention = point, policy, reading, retention
        self.words_at_once = checked_whole("words_at_once", words_at_once, least=1)
        self.code_energy = checked_number("code_energy", code_energy, "J", zero_allowed=True)
        self.name, self.seed, self._operations, self._codes = name, checked_seed(seed), 0, Tally()
        self._die, self._past = die, Ledger()  # _past: what was done under former settings
        self._retained: dict[float, list[BitRates]] = {}
        if die is not None:
            die.require_shape(self.cells_shape)
            _require_one_write(die, point)
            _require_one_junction(die, retention)
        words = np.zeros(math.prod(self.shape), self.format.word_dtype)
        if initial is not None:
            words[...] = self._encoded("initial", initial)
        exact = True if self.format.name == "binary" else exact_counts
        check = self.protection.encode(words, self.format.bits)
        self._arrays = [
            CellArray(
                content,
                bits=bits,
                write_errors=self._write_errors(die, kind),
                read_errors=None if reading is None else BitRates([reading.error_rate_0, reading.error_rate_1]),
                disturbs=None if reading is None else BitRates([reading.disturb_rate_0, reading.disturb_rate_1]),
                fixed=self._fixed(die, kind),
                independent=errors == "independent",
                exact=exact,
                wear=wear,
            )
            for kind, content, bits in ((DATA, words, self.format.bits), (CHECK, check, self.protection.check_bits))
            if bits
        ]

    @property
    def cells_shape(self) -> tuple[int, ...]:
        """Shape of the array of cells, as a die must have it.

        The cells of a word are the last axis, its parity after them; a memory of single bits has no such axis. With
        SECDED the data cells, in their order, stand in rows of 64, each with its 8 check cells after it.
        """
        bits, check = self.format.bits, self.protection.check_bits
        if self.protection.name == "secded":
            return (self.protection.code_words(math.prod(self.shape), bits), 64 + check)
        return self.shape if bits + check == 1 else (*self.shape, bits + check)

    # ---- what it does ------------------------------------------------------------------------------------------------

    def write(self, values: ArrayLike) -> None:
        """Store numbers, of the memory's shape; ValueError for another one, or for numbers the format does not have."""
        words = self._encoded("values", values)
        targets = [words, self.protection.encode(words, self.format.bits)]
        self._codes.add("word encoded", self.protection.code_words(words.size, self.format.bits))
        for kind, array in enumerate(self._arrays):
            array.write(targets[kind], self.policy, self._stream("write_errors", kind))
        self._operations += 1

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
        into = None if out is None else self._checked_out(out)
        sensed = [
            array.sense(self._stream("read_errors", kind), out=into if kind == DATA else None)
            for kind, array in enumerate(self._arrays)
        ]
        self._operations += 1
        words, zeroed = sensed[DATA], None
        if len(sensed) > 1:
            decoded = self.protection.decode(words, sensed[CHECK], self.format.bits)
            words, zeroed = decoded.words, decoded.zeroed
            self._codes.add("word decoded", self.protection.code_words(words.size, self.format.bits))
            self._codes.add("error corrected", decoded.corrected)
            self._codes.add("error detected", decoded.detected)
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

    def load(self, values: ArrayLike) -> None:
        """Have the cells hold numbers, of the memory's shape, without a write: no errors, and nothing in the ledger."""
        words = self._encoded("values", values)
        contents = [words, self.protection.encode(words, self.format.bits)]
        for array, content in zip(self._arrays, contents, strict=False):
            array.hold_words(content)

    def wait(self, duration: float) -> None:
        """Leave the cells alone for so long [s]; each may lose its bit (`mtjsim.retention_failure_rate`)."""
        checked_number("duration", duration, "s", zero_allowed=True)
        if self.retention is None:
            raise ValueError("retention must be given to wait: Memory(..., retention=Retention(device, temperature)).")
        if duration == 0:
            return
        if duration not in self._retained:  # the last duration only: a die's rates are as large as it
            self._retained = {duration: self._retention_rates(self.retention, float(duration))}
        for kind, array in enumerate(self._arrays):
            array.hold(self._retained[duration][kind], self._stream("retention", kind))
        self._operations += 1

    @property
    def pulses(self) -> NDArray[np.uint32]:
        """Pulses each data cell has had, of shape (*shape, bits); ValueError unless `wear` was asked for."""
        pulses = self._arrays[DATA].pulses
        if pulses is None:
            raise ValueError("wear must be True for pulses to be counted cell by cell.")
        return pulses.reshape(*self.shape, self.format.bits)

    @property
    def stored(self) -> NDArray[np.float32]:
        """The numbers that the data cells hold: what a perfect read would return, without protection, at no cost."""
        return self.format.decode(self._arrays[DATA].words.copy()).reshape(self.shape)

    def set_point(self, point: OperatingPoint) -> None:
        """Write with another setting from now on; the cells and what was paid so far stay.

        ValueError if the cells are those of a die whose rates were drawn for another write.
        """
        if not isinstance(point, OperatingPoint):
            raise ValueError(f"point must be an OperatingPoint; OperatingPoint.of_rates(...) makes one, got {point!r}.")
        if self._die is not None:
            _require_one_write(self._die, point)
        self._past, self.point = self.ledger, point
        for tally in self._tallies:
            tally.restore(Tally().state())
        for kind, array in enumerate(self._arrays):
            array.write_errors = self._write_errors(self._die, kind)

    # ---- what it costs -----------------------------------------------------------------------------------------------

    @property
    def ledger(self) -> Ledger:
        """What was done so far, and what it cost."""
        entries = list(self._past)
        for kind, array in enumerate(self._arrays):
            memory = self.name if kind == DATA else f"{self.name}, check cells"
            for event, count in array.tally.counts.items():
                variance = array.tally.variances.get(event, 0.0)
                price = self._price(event, parallel=kind == CHECK)
                entries.append(Entry(memory=memory, event=event, count=count, variance=variance, **price))
        for event, count in self._codes.counts.items():
            price = {"periphery": self.code_energy, "source": "code_energy"} if event.startswith("word ") else {}
            entries.append(Entry(memory=self.name, event=event, count=count, **price))
        return Ledger(entries)

    def _price(self, event: str, *, parallel: bool) -> dict[str, Any]:
        verb, what, *turned = event.split()
        write_source = f"{self.errors} errors; operating point {self.point.identity[:12]}"
        if verb == "write" and what in "01":
            cost = {part: float(self.point.energies[part][int(what), int(turned == ["held"])]) for part in PARTS}
            return {**cost, "source": write_source}
        if verb == "write":
            return {"seconds": 0.0 if parallel else self.point.latency / self.words_at_once, "source": write_source}
        if verb != "read" or what == "error":
            return {"source": "counted"}
        if self.reading is None:
            return {"source": "reads taken to be free"}
        if what == "access":
            return {"seconds": 0.0 if parallel else self.reading.latency / self.words_at_once, "source": "read point"}
        energy = (self.reading.energy_0, self.reading.energy_1)[int(what)]
        return {"junction": energy, "periphery": self.reading.sense_energy, "source": "read point"}

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
        """Go on from a `state()` of a memory like this one, bit for bit; ValueError for another, nothing changed then.

        Like this one: of its shape, format, protection and wear. Give it the same seed, rates and die, too.
        """
        if state["kind"] != self._kind:
            raise ValueError(f"state must be of a memory like this one, {self._kind}, got one of {state['kind']}.")
        for array, words, pulses in zip(self._arrays, state["words"], state["pulses"], strict=True):
            array.words[...] = words
            array.pulses = None if pulses is None else pulses.copy()
        self._operations = state["operations"]
        self._past = Ledger(Entry(**entry) for entry in state["past"])
        for tally, saved in zip(self._tallies, state["tallies"], strict=True):
            tally.restore(saved)

    @property
    def _tallies(self) -> list[Tally]:
        return [*(array.tally for array in self._arrays), self._codes]

    @property
    def _kind(self) -> str:
        """What must be equal for a state to fit."""
        wear = ", wear" if self._arrays[DATA].pulses is not None else ""
        return f"shape {self.shape}, {self.format}, {self.protection}{wear}"

    # ---- inside ------------------------------------------------------------------------------------------------------

    def _stream(self, role: Any, kind: int) -> np.random.Generator:
        return generator(self.seed, role, 2 * self._operations + kind)

    def _checked_out(self, out: NDArray[np.float32]) -> NDArray[Any] | None:
        """Refuse an array that cannot take the numbers; return it as words where a number is its word."""
        fits = (
            isinstance(out, np.ndarray) and out.dtype == np.float32 and out.flags.c_contiguous and out.flags.writeable
        )
        if not fits or out.shape != self.shape:
            got = f"{out.dtype} of {out.shape}" if isinstance(out, np.ndarray) else type(out).__name__
            raise ValueError(f"out must be a writeable, contiguous array of float32 of shape {self.shape}, got {got}.")
        return out.reshape(-1).view(np.uint32) if self.format.name == "fp32" else None

    def _encoded(self, name: str, values: ArrayLike) -> NDArray[Any]:
        if (
            isinstance(values, np.ndarray)
            and values.size > AT_ONCE
            and values.shape == self.shape
            and values.flags.c_contiguous
            and self.format.name != "fp32"
        ):
            words = np.empty(values.size, self.format.word_dtype)
            with suppress(ValueError):  # else once more as a whole, to name the place
                return _in_parts(self.format.encode, values.reshape(-1), words)
        words = self.format.encode(values)
        if words.shape != self.shape:
            raise ValueError(f"{name} must have the memory's shape {self.shape}, got {words.shape}.")
        return words.reshape(-1)

    def _decoded(self, words: NDArray[Any], out: NDArray[np.float32] | None) -> NDArray[np.float32]:
        """Return the numbers of (n,) words; where a number is its word it is a view."""
        if self.format.name == "fp32":
            return self.format.decode(words)
        values = np.empty(words.size, np.float32) if out is None else out.reshape(-1)
        return _in_parts(self.format.decode, words, values)

    def _write_errors(self, die: "Die | None", kind: int) -> BitRates:
        alike = self.point.error_rate_0, self.point.error_rate_1
        if die is None:
            return BitRates(alike)
        if die.error_rates is not None:
            return BitRates(np.stack([self._part(rates, kind) for rates in die.error_rates]))
        weak, rates = die.weak_error_rates(*alike)
        cells, here = self._located(weak, kind)
        return BitRates(alike, own=(cells, rates[:, here]))

    def _retention_rates(self, retention: Retention, duration: float) -> list[BitRates]:
        """Of each cell array; cells of a die by their own thermal stability."""
        name, die, kinds = "retention failure rate", self._die, range(len(self._arrays))
        if die is not None and die.thermal_stability is not None:
            drawn = _populations(die.process)
            at = drawn[0]["temperature"] if drawn else retention.temperature
            stability = die.thermal_stability / retention.device.thermal_stability(temperature=at)
            rates = retention.rates_of(duration, stability)
            return [BitRates(np.stack([self._part(of_bit, kind) for of_bit in rates]), name=name) for kind in kinds]
        alike = retention.rates(duration)
        if die is None:
            return [BitRates(alike, name=name) for _ in kinds]
        weak, _, stability = die.weak_cells
        rates = retention.rates_of(duration, stability)
        located = [self._located(weak, kind) for kind in kinds]
        return [BitRates(alike, own=(cells, rates[:, here]), name=name) for cells, here in located]

    def _fixed(self, die: "Die | None", kind: int) -> tuple[NDArray[np.int64], NDArray[Any]] | None:
        """Cells of one array that never change: their numbers in it, and their bits."""
        if die is None:
            return None
        indices, values = die.fixed_cells
        cells, here = self._located(indices, kind)
        return cells, np.asarray(values)[here]

    def _located(self, indices: NDArray[np.int64], kind: int) -> tuple[NDArray[np.int64], NDArray[np.intp]]:
        """Which of the die's cells are in one array, as their numbers there and their places in `indices`."""
        row, column = np.divmod(indices, self.cells_in_row)
        data = self.cells_in_row - self.protection.check_bits
        width, first = (data, 0) if kind == DATA else (self.protection.check_bits, data)
        cells = row * width + column - first
        here = np.flatnonzero(((column < data) == (kind == DATA)) & (cells < self._cells(kind)))  # SECDED pads a row
        return cells[here], here

    @property
    def cells_in_row(self) -> int:
        """Cells of one code word, or of one word without a code."""
        return (64 if self.protection.name == "secded" else self.format.bits) + self.protection.check_bits

    def _part(self, cells: NDArray[Any], kind: int) -> NDArray[Any]:
        """Of a flat array over all cells, those of one cell array."""
        rows = cells.reshape(-1, self.cells_in_row)
        data = self.cells_in_row - self.protection.check_bits
        return (rows[:, :data] if kind == DATA else rows[:, data:]).reshape(-1)[: self._cells(kind)]

    def _cells(self, kind: int) -> int:
        """How many cells the data array or the array of check cells has."""
        words = math.prod(self.shape)
        if kind == DATA:
            return words * self.format.bits
        return self.protection.code_words(words, self.format.bits) * self.protection.check_bits


def _in_parts(convert: Callable[[Any], Any], source: NDArray[Any], out: NDArray[Any]) -> NDArray[Any]:
    for start in range(0, source.size, AT_ONCE):
        out[start : start + AT_ONCE] = convert(source[start : start + AT_ONCE])
    return out


def _populations(process: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return what the cells of a die were drawn from, however often it was joined with others."""
    if "joined" in process:
        return [population for part in process["joined"] for population in _populations(part)]
    return [process["population"]] if process.get("population") else []


def _require_one_write(die: "Die", point: OperatingPoint) -> None:
    """Raise ValueError if the rates of the die's cells were drawn for another write than the point's."""
    if die.cells is None or point.setting is None:
        return
    for drawn in _populations(die.process):
        if point.setting.as_dict() != drawn["setting"]:
            raise ValueError(
                f"die must have cells that are written as the point's are, got rates for {drawn['setting']} and a "
                f"point for {point.setting.as_dict()}. Draw the die from a Population with the point's setting."
            )
        if point.temperature != drawn["temperature"]:
            raise ValueError(
                f"die must have cells at the point's temperature, got rates at {drawn['temperature']:g} K and a point "
                f"at {point.temperature:g} K. Draw the die from a Population at the point's temperature."
            )
        in_a_cell = point.energies["transistor"].any() or point.energies["driver"].any()
        if point.device_identity == drawn["device_identity"] or (in_a_cell and point.setting.drive == "current"):
            continue  # a regulated current is that of the bare junction
        if in_a_cell:
            raise ValueError(
                "die must not have cells under a voltage where the point is of a Cell: a Population takes the voltage "
                "to be the junction's, and a cell's is its supply's. Draw both with a setting of currents."
            )
        raise ValueError(
            f"die must have cells of the point's junction, got rates of {drawn['device_identity'][:12]} and a point of "
            f"{point.device_identity[:12]}. Draw the die from a Population of the point's device."
        )


def _require_one_junction(die: "Die", retention: Retention | None) -> None:
    """Raise ValueError if the stabilities of the die's cells are around another junction than the one that holds."""
    if retention is None:
        return
    for drawn in _populations(die.process):
        if drawn["device_identity"] != retention.device.identity:
            raise ValueError(
                f"retention must be of the junction that the die was drawn around, {drawn['device_identity'][:12]}, "
                f"got {retention.device.identity[:12]}: give Retention(population.device)."
            )


def checked_shape(shape: int | Sequence[int]) -> tuple[int, ...]:
    """Return `shape` as a tuple; ValueError unless it is whole numbers >= 0."""
    sides = tuple(shape) if isinstance(shape, (Sequence, np.ndarray)) else (shape,)
    return tuple(checked_whole("shape", side, least=0) for side in sides)
