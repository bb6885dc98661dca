"""The declaration of a memory of words: its format, its writes and reads, its protection, its accounts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self

from bridge.memory.cells import PLAIN, WritePolicy
from bridge.memory.formats import Format, Overflow, Rounding, bits_of
from bridge.memory.parts import require_one_device
from bridge.memory.protection import Protection
from bridge.memory.read import ReadPoint, Retention
from bridge.write import OperatingPoint
from mtjsim.checks import ArgumentError, Suggesting, checked_choice, checked_fields, checked_kind, checked_whole

ERRORS = ("overwrite", "independent")
PER_TENSOR = "tensor"  # a scale that is chosen for each tensor


@dataclass(frozen=True, kw_only=True)
class WordMemory(Suggesting):
    """All of a memory of words but its size, its seed and its contents.

    Parameters
    ----------
    point : OperatingPoint
        Error rates, energies and latency of a write.
    format : str or Format
        Layout of a number in cells: "binary", "ternary", "int8", "fp16", "bf16", "fp32", or a `Format`, from which
        name, scale, overflow and rounding are taken.
    scale : float, mapping of str to float, or "tensor", optional
        Value of one step of int8, and only of it. A mapping: for several arrays, by name, see `for_array`. "tensor":
        one for each tensor of a network, chosen by `bnn.ParameterMemory`.
    overflow : {"error", "saturate"}
        Of int8, see `Format`.
    rounding : {"nearest", "stochastic"}
        Of int8, fp16 and bf16, see `Format`: what is written is rounded to the nearest number, or by chance, drawn by
        seed, number of the write and word. What is loaded without a write is rounded to the nearest.
    errors : {"overwrite", "independent"}
        *overwrite*: a failed cell keeps its old bit, so a cell that holds the bit already cannot fail. *independent*:
        every written cell is taken to have held the other bit, so that each errs with its full rate: the worst case,
        and what the literature simulates. The ledger records which of the two it was.
    policy : WritePolicy
        `PLAIN`, `READ_BEFORE_WRITE`, `WRITE_VERIFY_RETRY`, or one of your own.
    protection : str or Protection
        "none", "parity", "secded", or ``Protection("range", limit=...)``. A word that is detected and not corrected
        reads as zero.
    reading : ReadPoint, optional
        Read errors, read disturb, energy and latency of a read; without it reads are exact and free, those that verify
        a write included.
    retention : Retention, optional
        Needed for `Memory.wait`.
    exact_counts : bool, optional
        Whether turned cells are counted, or estimated from 8192 words a write; left out, binary memories and those of
        up to 4 million cells are counted. Failed writes are always counted.
    wear : bool
        Count the pulses of each cell (`Memory.pulses`); the total is in the ledger in any case.
    words_at_once : int
        Neighbouring words that one access pulses or reads at the same time, with their check cells. The ledger counts
        accesses and their seconds: one is needed again as soon as one of its cells is.
    code_energy : float
        Of encoding or decoding the check cells of one code word [J].

    Raises
    ------
    ValueError
        For an unknown name, a value of another type or out of its range, read-before-write with independent errors, or
        a write, a read and a retention of different junctions or cells.

    Examples
    --------
    >>> point = OperatingPoint.of_rates(error_rate_0=1e-3, error_rate_1=1e-3)
    >>> declaration = WordMemory(point=point, format="int8", scale=0.01, overflow="saturate", protection="secded")
    >>> declaration.word_format.bits, declaration.protection.check_bits
    (8, 8)
    """

    # `| Any`: a name or a Format, a name or a Protection when declared, a name and a Protection from then on
    point: OperatingPoint
    format: str | Any = "fp32"
    scale: float | Mapping[str, float] | Literal["tensor"] | None = field(default=None, hash=False)
    overflow: Overflow = "error"
    rounding: Rounding = "nearest"
    errors: str = "overwrite"
    policy: WritePolicy = PLAIN
    protection: Protection | Any = "none"
    reading: ReadPoint | None = None
    retention: Retention | None = None
    exact_counts: bool | None = None
    wear: bool = False
    words_at_once: int = 1
    code_energy: float = 0.0

    def __post_init__(self) -> None:
        if isinstance(self.format, Format):
            if self.scale is not None or self.overflow != "error" or self.rounding != "nearest":
                rule = "must be left out with a Format, and so must overflow and rounding"
                raise ArgumentError("scale", f"{rule}: it has its own.")
            for name in ("scale", "overflow", "rounding"):
                object.__setattr__(self, name, getattr(self.format, name))
            object.__setattr__(self, "format", self.format.name)
        if isinstance(self.protection, str):
            object.__setattr__(self, "protection", Protection(self.protection))
        checked_kind("format", self.format, str, Format, remedy='"fp16" is one.')
        if isinstance(self.scale, str):
            checked_choice("scale", self.scale, (PER_TENSOR,))
        for scale in self._scales() or [None]:
            Format(name=self.format, scale=scale, overflow=self.overflow, rounding=self.rounding)
        checked_choice("errors", self.errors, ERRORS)
        checked_kind("point", self.point, OperatingPoint, remedy="OperatingPoint.of_rates(...) makes one.")
        checked_kind("policy", self.policy, WritePolicy, remedy="PLAIN is one.")
        checked_kind("protection", self.protection, Protection, str, remedy='"secded" is one.')
        if self.reading is not None:
            checked_kind("reading", self.reading, ReadPoint, remedy="read_point() derives one.")
        if self.retention is not None:
            checked_kind("retention", self.retention, Retention, remedy="It is of a junction and a temperature.")
        require_one_device(self.point, self.reading, self.retention)
        if self.policy.read_first and self.errors == "independent":
            reason = "independent errors take every cell to differ from its bit"
            raise ArgumentError("policy", f'must not read first: {reason}. Use errors="overwrite".')
        checked_whole("words_at_once", self.words_at_once, least=1)
        checked_fields(self, zero_allowed=True, code_energy="J")

    @property
    def cells_of_a_word(self) -> float:
        """Cells a word, its share of the check cells included; the same for every scale."""
        bits = bits_of(self.format)
        return bits * (1.0 + self.protection.overhead(bits))

    @property
    def word_format(self) -> Format:
        """Format of a word; ArgumentError if arrays have a scale each."""
        if isinstance(self.scale, Mapping):
            raise ArgumentError("scale", "must be one number for one array, got one a name. Use for_array(name).")
        if isinstance(self.scale, str):
            rule = "must be one number for one array, got 'tensor', a choice for each tensor of a network"
            raise ArgumentError("scale", f"{rule}. int8_scale(values) gives a number.")
        return Format(name=self.format, scale=self.scale, overflow=self.overflow, rounding=self.rounding)

    def for_array(self, name: str) -> Self:
        """Return the declaration of one of several arrays, with the scale of its name; itself if all are alike."""
        if not isinstance(self.scale, Mapping):
            return self
        if name not in self.scale:
            raise ArgumentError("scale", f"must name each array of int8 words, got none for {name}.")
        return replace(self, scale=self.scale[name])

    def _scales(self) -> list[float | None]:
        """Scales that are known; that of a tensor is not, and any will do to check the others."""
        if isinstance(self.scale, str):
            return [1.0]
        return [*self.scale.values()] if isinstance(self.scale, Mapping) else [self.scale]
