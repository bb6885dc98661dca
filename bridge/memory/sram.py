"""Error-free memory: an energy for every access, contents lost without power."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bridge.checks import checked_shape
from bridge.ledger import Entry, Ledger
from bridge.memory.formats import Format, format_of
from bridge.memory.state import checked_arrays, checked_parts
from mtjsim.checks import (
    ArgumentError,
    Suggesting,
    checked_choice,
    checked_fields,
    checked_kind,
    checked_number,
    checked_whole,
)

HOROWITZ = (
    "M. Horowitz, 'Computing's energy problem', ISSCC 2014, table for 45 nm: 64-bit access of an 8 kB, 32 kB and 1 MB "
    "cache 10, 20 and 100 pJ, DRAM 1.3 to 2.6 nJ (the mean is taken); seen at second hand; per bit by division"
)
ACCESS_ENERGY = {  # J a bit
    "8kB": 10e-12 / 64,
    "32kB": 20e-12 / 64,
    "1MB": 100e-12 / 64,
    "off-chip DRAM": 1.95e-9 / 64,
}


@dataclass(frozen=True)
class SRAM(Suggesting):
    """An array of words in memory that does not err, or, without a shape, the declaration of such a memory.

    Parameters
    ----------
    shape : int or tuple of int
        Of the array of numbers. 0: no words of its own, where it is only named or counts accesses.
    format : str or Format
        As in `Memory`: what does not fit the format is rounded by it, exactly as in MRAM.
    kind : {"8kB", "32kB", "1MB", "off-chip DRAM"}
        Whose energy an access has; on chip the size of the macro, off chip an error-free DRAM.
    energy_per_bit : float, optional
        Of a read or a write, in place of the kind's [J].
    source : str
        Where that constant comes from; needed with it.
    latency : float
        Of an access to one word [s].
    name : str
        In the ledger.

    Raises
    ------
    ValueError
        For an unknown kind or format, or a constant without a source.

    Notes
    -----
    All energy is in the column `periphery`: compare memories in the scope "system". Leakage is left out. Two are equal
    if they are declared alike, whatever they contain: words and counts are their `state`.

    Examples
    --------
    >>> cache = SRAM((2, 3), format="fp32")
    >>> cache.write(np.ones((2, 3)))
    >>> cache.read().sum(), f"{cache.ledger.joules('system') * 1e12:.0f} pJ"
    (np.float32(6.0), '120 pJ')
    """

    shape: tuple[int, ...] | Any = 0
    _: KW_ONLY
    format: Format | Any = "fp32"  # `| Any`: a name when declared, a Format from then on; `shape` likewise
    kind: str = "32kB"
    energy_per_bit: float | None = None
    source: str = ""
    latency: float = 0.0
    name: str = "SRAM"

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", checked_shape(self.shape, least=0))
        if isinstance(self.format, str):
            object.__setattr__(self, "format", format_of(self.format))
        checked_kind("format", self.format, Format, str, remedy='"fp32" is one.')
        if self.format.rounding == "stochastic":
            raise ArgumentError("format", "must round to nearest: an SRAM has no seed to draw from. Use a Memory.")
        checked_choice("kind", self.kind, ACCESS_ENERGY)
        if self.energy_per_bit is not None:
            checked_fields(self, zero_allowed=True, energy_per_bit="J")
            if not self.source:
                raise ArgumentError("source", 'of energy_per_bit must be given; "assumed" is allowed.')
        checked_fields(self, zero_allowed=True, latency="s")

    @cached_property
    def _words(self) -> NDArray[Any]:
        return np.zeros(self.shape, self.format.word_dtype)

    @cached_property
    def _accesses(self) -> dict[str, int]:
        return {"write": 0, "read": 0}

    def write(self, values: ArrayLike) -> None:
        """Store numbers, of the memory's shape; ValueError for another one, or for numbers the format does not have."""
        words = self.format.encode(values)
        if words.shape != self.shape:
            raise ArgumentError("values", f"must have the memory's shape {self.shape}, got {words.shape}.")
        self._words[...] = words
        self._accesses["write"] += words.size

    def read(self) -> NDArray[np.float32]:
        """Return the numbers, a new array of the memory's shape."""
        self._accesses["read"] += self._words.size
        return self.format.decode(self._words.copy())

    def count(self, *, written: int = 0, read: int = 0) -> None:
        """Account for accesses to words that are kept elsewhere, in the tensors of a network for example."""
        self._accesses["write"] += checked_whole("written", written, least=0)
        self._accesses["read"] += checked_whole("read", read, least=0)

    def wait(self, duration: float) -> None:
        """Leave the cells alone for `duration` [s]; while it is powered nothing happens."""
        checked_number("duration", duration, "s", zero_allowed=True)

    @property
    def energy_of_a_bit(self) -> tuple[float, str]:
        """Energy of a read or a write of one bit [J], and its source."""
        if self.energy_per_bit is None:
            return ACCESS_ENERGY[self.kind], f"{self.kind}: {HOROWITZ}"
        return self.energy_per_bit, self.source

    @property
    def ledger(self) -> Ledger:
        """Accesses so far, and their cost."""
        per_bit, source = self.energy_of_a_bit
        price: dict[str, Any] = {"periphery": per_bit * self.format.bits, "seconds": self.latency, "source": source}
        return Ledger(
            Entry(memory=self.name, event=f"{verb} access", count=count, **price)
            for verb, count in self._accesses.items()
            if count
        )

    def state(self) -> dict[str, Any]:
        """Return all that changes, and the kind of memory."""
        return {"kind": self._kind, "words": self._words.copy(), "accesses": dict(self._accesses)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restore a `state()` of a memory like this one; ValueError for another, nothing changed then."""
        parts = checked_parts(state, "words", "accesses", kind=self._kind)
        checked_arrays("words", [parts["words"]], [self._words])
        saved = checked_parts(parts["accesses"], *self._accesses)
        accesses = {verb: checked_whole(f"{verb} of state", saved[verb], least=0) for verb in self._accesses}
        self._words[...] = parts["words"]
        self._accesses.update(accesses)

    @property
    def _kind(self) -> str:
        return f"shape {self.shape}, {self.format}"
