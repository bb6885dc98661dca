"""The cells of a memory: which of them hold a word and which its check bits, and their rates on a die."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bridge.dies.origin import populations, require_one_junction, require_one_write
from bridge.memory.codes import BLOCK_BITS
from bridge.memory.protection import Protection
from bridge.memory.read import Retention
from bridge.memory.sampling import BitRates
from bridge.write import OperatingPoint

if TYPE_CHECKING:
    from bridge.dies.die import Die

DATA, CHECK = 0, 1  # the two cell arrays of a memory


@dataclass(frozen=True)
class Placement:
    """Words in rows of cells, each row with its check cells after the data cells.

    Parameters
    ----------
    shape : tuple of int
        Of the array of numbers.
    bits : int
        Cells a word.
    protection : Protection
    die : Die, optional
        Whose cells they are; without it all cells are alike.
    """

    shape: tuple[int, ...]
    bits: int
    protection: Protection
    die: "Die | None" = None

    @property
    def cells_shape(self) -> tuple[int, ...]:
        """Shape of the array of cells, as a die must have it."""
        bits, check = self.bits, self.protection.check_bits
        if self.protection.name == "secded":
            return (self.code_words, BLOCK_BITS + check)
        return self.shape if bits + check == 1 else (*self.shape, bits + check)

    @property
    def data_in_row(self) -> int:
        """Data cells of one code word, or of one word without a code."""
        return BLOCK_BITS if self.protection.name == "secded" else self.bits

    @property
    def cells_in_row(self) -> int:
        """The same with the check cells."""
        return self.data_in_row + self.protection.check_bits

    @property
    def kinds(self) -> range:
        """The cell arrays that there are: `DATA`, and `CHECK` where a code has check cells."""
        return range(2 if self.protection.check_bits else 1)

    @property
    def code_words(self) -> int:
        """Code words that hold all words; 0 without a code."""
        return self.protection.code_words(math.prod(self.shape), self.bits)

    def cells(self, kind: int) -> int:
        """Cells of the data array (`DATA`) or of the array of check cells (`CHECK`)."""
        if kind == DATA:
            return math.prod(self.shape) * self.bits
        return self.code_words * self.protection.check_bits

    def part(self, cells: NDArray[Any], kind: int) -> NDArray[Any]:
        """Return the elements of one cell array, from a flat array over all cells."""
        rows, data = cells.reshape(-1, self.cells_in_row), self.data_in_row
        return (rows[:, :data] if kind == DATA else rows[:, data:]).reshape(-1)[: self.cells(kind)]

    def located(self, indices: NDArray[np.int64], kind: int) -> tuple[NDArray[np.int64], NDArray[np.intp]]:
        """Return which of the die's cells are in one array: their numbers there, and their places in `indices`."""
        row, column = np.divmod(indices, self.cells_in_row)
        data = self.data_in_row
        width, first = (data, 0) if kind == DATA else (self.protection.check_bits, data)
        cells = row * width + column - first
        here = np.flatnonzero(((column < data) == (kind == DATA)) & (cells < self.cells(kind)))  # SECDED pads a row
        return cells[here], here

    # ---- accesses ----------------------------------------------------------------------------------------------------

    def accesses(self, touched: Sequence[Any], *, at_once: int) -> int:
        """Count the accesses that pulse or sense some cells, at the same time in all cell arrays.

        Parameters
        ----------
        touched : sequence
            By kind: the words of the data array, the code words of the check cells. None for all, a boolean array over
            all, or their numbers.
        at_once : int
            Neighbouring words, in C order, of one access. The check cells of a code word are in the access of its last
            word.
        """
        words = math.prod(self.shape)
        if touched[DATA] is None:
            return -(-words // at_once)
        hit = np.zeros(-(-words // at_once), bool)
        for kind, part in enumerate(touched):
            if kind == DATA and part.dtype == bool:
                padded = np.concatenate([part, np.zeros(hit.size * at_once - words, bool)])
                hit |= padded.reshape(hit.size, at_once).any(axis=1)
                continue
            numbers = (
                np.arange(self.code_words) if part is None else np.flatnonzero(part) if part.dtype == bool else part
            )
            if kind == CHECK:
                numbers = np.minimum((numbers + 1) * (self.data_in_row // self.bits), words) - 1
            hit[numbers // at_once] = True
        return int(np.count_nonzero(hit))

    # ---- the die -----------------------------------------------------------------------------------------------------

    def fixed(self, kind: int) -> tuple[NDArray[np.int64], NDArray[Any]] | None:
        """Cells of one array that never change: their numbers in it, and their bits."""
        if self.die is None:
            return None
        indices, values = self.die.fixed_cells
        cells, here = self.located(indices, kind)
        return cells, np.asarray(values)[here]

    def write_errors(self, point: OperatingPoint, kind: int) -> BitRates:
        """Write error rates of the cells of one array."""
        alike = point.error_rate_0, point.error_rate_1
        if self.die is None:
            return BitRates(alike)
        if self.die.error_rates is not None:
            return BitRates(np.stack([self.part(rates, kind) for rates in self.die.error_rates]))
        weak, rates = self.die.weak_error_rates(*alike)
        cells, here = self.located(weak, kind)
        return BitRates(alike, own=(cells, rates[:, here]))

    def retention_failures(self, retention: Retention, duration: float) -> list[BitRates]:
        """Loss rates of the cells of each array; the cells of a die have thermal stabilities of their own."""
        name, die, kinds = "retention failure rate", self.die, self.kinds
        if die is not None and die.thermal_stability is not None:
            drawn = populations(die.process)
            at = drawn[0]["temperature"] if drawn else retention.temperature
            stability = die.thermal_stability / retention.junction.thermal_stability(temperature=at)
            rates = retention.rates_of(duration, stability)
            return [BitRates(np.stack([self.part(of_bit, kind) for of_bit in rates]), name=name) for kind in kinds]
        alike = retention.rates(duration)
        if die is None:
            return [BitRates(alike, name=name) for _ in kinds]
        weak, _, stability = die.weak_cells
        rates = retention.rates_of(duration, stability)
        located = [self.located(weak, kind) for kind in kinds]
        return [BitRates(alike, own=(cells, rates[:, here]), name=name) for cells, here in located]

    def require_die_fits(self, point: OperatingPoint, retention: Retention | None) -> None:
        """Raise ValueError unless the die has the shape of the cells and was drawn for this write and this junction."""
        if self.die is not None:
            self.die.require_shape(self.cells_shape)
            require_one_write(self.die, point)
            if retention is not None:
                require_one_junction(self.die, retention.junction.identity)
