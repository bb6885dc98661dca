"""The memory beside MRAM: no errors, an energy for every access, gone when the power is."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bridge.ledger import Entry, Ledger
from bridge.memory.formats import Format, format_of
from bridge.shape import checked_shape
from mtjsim.checks import checked_choice, checked_number, checked_whole

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


class SRAM:
    """An array of words in memory that does not err.

    Parameters
    ----------
    shape : int or tuple of int
        Of the array of numbers.
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
    All energy is in the column `periphery`: compare memories in the scope "system". Leakage is left out.

    Examples
    --------
    >>> cache = SRAM((2, 3), format="fp32")
    >>> cache.write(np.ones((2, 3)))
    >>> cache.read().sum(), f"{cache.ledger.joules('system') * 1e12:.0f} pJ"
    (np.float32(6.0), '120 pJ')
    """

    def __init__(
        self,
        shape: int | Sequence[int],
        *,
        format: str | Format,
        kind: str = "32kB",
        energy_per_bit: float | None = None,
        source: str = "",
        latency: float = 0.0,
        name: str = "SRAM",
    ) -> None:
        self.shape = checked_shape(shape, least=0)
        self.format = format_of(format) if isinstance(format, str) else format
        checked_choice("kind", kind, ACCESS_ENERGY)
        if energy_per_bit is None:
            self.energy_per_bit, self.source = ACCESS_ENERGY[kind], f"{kind}: {HOROWITZ}"
        elif not source:
            raise ValueError('source must say where energy_per_bit comes from; "assumed" is an answer.')
        else:
            self.energy_per_bit = checked_number("energy_per_bit", energy_per_bit, "J", zero_allowed=True)
            self.source = source
        self.latency = checked_number("latency", latency, "s", zero_allowed=True)
        self.name = name
        self._words = np.zeros(self.shape, self.format.word_dtype)
        self._accesses = {"write": 0, "read": 0}

    def write(self, values: ArrayLike) -> None:
        """Store numbers, of the memory's shape; ValueError for another one, or for numbers the format does not have."""
        words = self.format.encode(values)
        if words.shape != self.shape:
            raise ValueError(f"values must have the memory's shape {self.shape}, got {words.shape}.")
        self._words[...] = words
        self._accesses["write"] += words.size

    def read(self) -> NDArray[np.float32]:
        """Return the numbers, a new array of the memory's shape."""
        self._accesses["read"] += self._words.size
        return self.format.decode(self._words.copy())

    def count(self, *, written: int = 0, read: int = 0) -> None:
        """Account for accesses to so many words that are kept elsewhere, in the tensors of a network for example."""
        self._accesses["write"] += checked_whole("written", written, least=0)
        self._accesses["read"] += checked_whole("read", read, least=0)

    def wait(self, duration: float) -> None:
        """Leave the cells alone for so long [s]; while it is powered nothing happens."""
        checked_number("duration", duration, "s", zero_allowed=True)

    @property
    def ledger(self) -> Ledger:
        """What was done so far, and what it cost."""
        joules = self.energy_per_bit * self.format.bits
        return Ledger(
            Entry(
                memory=self.name,
                event=f"{verb} access",
                count=count,
                periphery=joules,
                seconds=self.latency,
                source=self.source,
            )
            for verb, count in self._accesses.items()
            if count
        )

    def state(self) -> dict[str, Any]:
        """Return all that changes."""
        return {"words": self._words.copy(), "accesses": dict(self._accesses)}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a `state()` of a memory like this one."""
        words = state["words"]
        if words.shape != self.shape or words.dtype != self._words.dtype:
            raise ValueError(
                f"state must be of a memory like this one, got {words.shape} words of {words.dtype} for {self.shape} "
                f"of {self._words.dtype}."
            )
        self._words[...] = words
        self._accesses = dict(state["accesses"])
