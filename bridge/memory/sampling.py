"""Draws of the cells that are hit, each on its own with a small chance: exact, without a draw per cell.

Legend: n cells, p the chance of one, b the bit that decides which of two chances a cell has.

A set of cells in which each of n is contained with probability p, whatever the others do: draw K ~ Poisson(-n log(1 -
p)) and K positions with replacement. Each cell is drawn its own Poisson number of times, hence at least once with
probability 1 - exp(log(1 - p)) = p, exactly. Cells of smaller chance are then thinned. Where p is not small (`DENSE`),
one uniform number a cell costs less. The count is resolved to 2^-53 a call, at any p.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bridge.checks import checked_probabilities
from mtjsim.checks import ArgumentError

Positions = NDArray[np.int64]
BitsAt = Callable[[Positions], NDArray[np.integer]]

DENSE = 0.1  # above this chance a uniform number for every cell is cheaper than positions that must be made unique
BLOCK = 1 << 22  # cells drawn densely at a time


@dataclass(frozen=True, eq=False)
class BitRates:
    """The chance of an event in each cell, by the bit that is written or held there.

    Parameters
    ----------
    rates : (2,) array, or (2, cells) array
        Chance for bit 0 and for bit 1, of all cells alike or of each cell.
    own : ((k,) array, (2, k) array), optional
        Next to a chance of all alike: increasing numbers of cells that have one of their own, and these.

    Raises
    ------
    ValueError
        If a rate is outside [0, 1], or the shape is another one.
    """

    rates: NDArray[np.float64]
    own: "tuple[Positions, BitRates] | None"

    def __init__(
        self, rates: ArrayLike, *, own: tuple[Positions, ArrayLike] | None = None, name: str = "error_rate"
    ) -> None:
        checked = checked_probabilities(name, rates)
        if checked.ndim not in (1, 2) or checked.shape[0] != 2:
            raise ArgumentError(name, f"must have the shape (2,) or (2, cells), got {checked.shape}.")
        object.__setattr__(self, "rates", checked)
        object.__setattr__(self, "own", (own[0], BitRates(own[1])) if own is not None and own[0].size else None)

    @cached_property
    def never(self) -> bool:
        """Whether no cell is ever hit."""
        return not self.rates.any() and (self.own is None or self.own[1].never)

    def at(self, cells: Positions) -> "BitRates":
        """Return the chances of some of the cells, (k,) numbers."""
        if self.rates.ndim == 2:
            return BitRates(self.rates[:, cells])
        if self.own is None:
            return self
        found, member = _found(cells, self.own[0])
        return BitRates(np.where(member, self.own[1].rates[:, found], self.rates[:, None]))

    def hits(self, rng: np.random.Generator, cells: int, bits_at: BitsAt) -> Positions:
        """Draw the cells that are hit.

        Parameters
        ----------
        rng : numpy.random.Generator
        cells : int
            How many there are.
        bits_at : callable
            Positions, (k,) -> the bit of each of these cells, (k,).

        Returns
        -------
        (k,) int64 array
            Positions, increasing, each once.
        """
        if self.never or cells == 0:
            return np.empty(0, np.int64)
        if self.rates.ndim == 1:
            hits = self.confirmed(rng, self.candidates(rng, cells), bits_at)
            if self.own is None:
                return hits
            others, rates = self.own
            return np.union1d(
                hits[~_found(hits, others)[1]], others[rates.hits(rng, others.size, lambda k: bits_at(others[k]))]
            )
        found = [
            _thinned(rng, members[chosen(rng, members.size, most)], most, self._cell_rate(bits_at))
            for members, most in self._octaves
        ]
        return np.sort(np.concatenate([np.empty(0, np.int64), *found]))

    def candidates(self, rng: np.random.Generator, cells: int) -> Positions:
        """Draw the first half of `hits`, without the bits: the cells that are hit if their bits have the larger rate.

        Of rates of all cells alike: ``confirmed(rng, candidates(rng, cells), bits_at)`` is ``hits(rng, cells,
        bits_at)``, and the bits may be decided in between.
        """
        return np.empty(0, np.int64) if self.never or cells == 0 else chosen(rng, cells, self.rates.max())

    def confirmed(self, rng: np.random.Generator, candidates: Positions, bits_at: BitsAt) -> Positions:
        """Draw the second half of `hits`: which candidates are hit, by their bits."""
        return _thinned(rng, candidates, self.rates.max(), self._uniform_rate(bits_at))

    def _uniform_rate(self, bits_at: BitsAt) -> Callable[[Positions], NDArray[np.float64]]:
        return lambda positions: self.rates[bits_at(positions)]

    def _cell_rate(self, bits_at: BitsAt) -> Callable[[Positions], NDArray[np.float64]]:
        return lambda positions: self.rates[bits_at(positions), positions]

    @cached_property
    def _octaves(self) -> list[tuple[Positions, float]]:
        """Cells whose larger rate is within a factor of two, and the largest rate among them: thinning loses little."""
        most = self.rates.max(axis=0)
        octave = np.where(most > 0, np.frexp(most)[1], np.iinfo(np.int32).min)
        order = np.argsort(octave, kind="stable")
        groups = np.split(order, np.flatnonzero(np.diff(octave[order])) + 1)
        return [(group, float(most[group].max())) for group in groups if most[group[0]] > 0]


def _found(positions: Positions, among: Positions) -> tuple[Positions, NDArray[np.bool_]]:
    """Return where each position is, or would be, among increasing ones, and whether it is there."""
    at = np.minimum(np.searchsorted(among, positions), among.size - 1)
    return at, among[at] == positions


def chosen(rng: np.random.Generator, cells: int, chance: float) -> Positions:
    """Draw a set of positions below `cells` that contains each with probability `chance`; increasing, (k,) int64."""
    if chance >= 1:
        return np.arange(cells)
    if chance > DENSE:
        return np.concatenate([np.empty(0, np.int64), *_densely(rng, cells, chance)])
    count = rng.poisson(-cells * math.log1p(-chance))
    positions = np.sort(rng.integers(cells, size=count))
    return positions[np.diff(positions, prepend=-1) > 0]  # faster than np.unique by far


def _densely(rng: np.random.Generator, cells: int, chance: float) -> Iterator[Positions]:
    for start in range(0, cells, BLOCK):
        yield start + np.flatnonzero(rng.random(min(BLOCK, cells - start)) < chance)


def _thinned(
    rng: np.random.Generator, positions: Positions, most: float, rate_at: Callable[[Positions], NDArray[np.float64]]
) -> Positions:
    """Keep each position with the chance that its rate is of the largest."""
    rate = rate_at(positions)
    if (rate == most).all():  # nothing to decide, nothing drawn
        return positions
    return positions[rng.random(positions.size) * most < rate]
