"""A die: the map of the faulty cells of an array, and the drawn properties of every cell.

Fault     state of the cell                                         reads as
short     a broken barrier: it conducts with a given conductance    0 (low resistance, as P), and keeps no bit
open      no contact: it does not conduct                           1 (high resistance, as AP), and keeps no bit
stuck_p   a junction that never leaves P                            0
stuck_ap  a junction that never leaves AP                           1
weak      it works, with a write error rate multiplied by a factor, or a barrier reduced by one (it loses bits earlier)

Behind a transistor that never conducts a cell is an open. A differential pair with one junction that is stuck or weak
is weak, with its own rates in `cells`; one that always reads the same is stuck (pairs.py). A cell with two faults
is the first in this order: through a shorted barrier the free layer is not seen. A die keeps the faulty cells only
(sorted flat indices in C order, kinds, parameters), so that one in a million of 8e8 cells takes little memory. Dies are
drawn from a `Process` (faults.py), or made by hand (`Die.of`).
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bridge.checks import checked_between, checked_shape
from bridge.dies.cells import Cells
from mtjsim.checks import ArgumentError, Array, Suggesting, checked_choice, checked_number, checked_signed

FAULTS = ("short", "open", "stuck_p", "stuck_ap", "weak")  # `kind` is the place in it; the first wins
FAULT_COLUMNS = ("faulty", "kind", "conductance", "error_rate_factor", "stability_factor")
READS_AS = {"short": 0, "open": 1, "stuck_p": 0, "stuck_ap": 1}

Indices = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Die(Suggesting):
    """One array of cells: the faulty ones and their kinds, and the properties of every cell if a population was drawn.

    Parameters
    ----------
    shape : tuple of int
        Of the array of cells.
    faulty : (k,) array of int64
        Flat indices (C order) of the faulty cells, ascending.
    kind : (k,) array of uint8
        Of each, as its place in `FAULTS`.
    conductance : (k,) array
        [S]: of shorts, and 0 for opens; nan elsewhere.
    error_rate_factor : (k,) array
        Of weak cells, on both error rates (a product above 1 is 1); 1 elsewhere.
    stability_factor : (k,) array
        Of weak cells, on the thermal stability that holds their bits; 1 elsewhere. The write is not changed: a lower
        barrier is not harder to write.
    cells : Cells, optional
        Rates, resistances and stabilities before faults.
    seed : int, optional
        Of the draw.
    process : dict
        The origin, as `Process.as_dict`. Empty for a die made by hand, but for the population of its drawn cells.

    Raises
    ------
    ValueError
        If the arrays do not fit each other or the shape.
    """

    shape: tuple[int, ...]
    faulty: Indices
    kind: NDArray[np.uint8]
    conductance: Array
    error_rate_factor: Array
    stability_factor: Array
    cells: Cells | None = None
    seed: int | None = None
    process: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", checked_shape(self.shape, least=1))
        object.__setattr__(self, "faulty", _checked_indices("faulty", self.faulty, self.size))
        if (np.diff(self.faulty) <= 0).any():
            raise ArgumentError("faulty", "must be ascending, each cell once; `Die.of` sorts, `|` joins.")
        object.__setattr__(self, "kind", np.asarray(self.kind, dtype=np.uint8))
        if (self.kind >= len(FAULTS)).any():
            raise ArgumentError("kind", f"must be < {len(FAULTS)}, a place in {FAULTS}, got {self.kind.max()}.")
        for name in FAULT_COLUMNS[1:]:
            if len(getattr(self, name)) != len(self.faulty):
                raise ArgumentError(name, f"must have {len(self.faulty)} elements, one a faulty cell.")
        for name, right, rule in (
            ("conductance", lambda x: np.isnan(x) | ((x >= 0) & (x < np.inf)), "finite and >= 0 S, or NaN"),
            ("error_rate_factor", lambda x: (x >= 1) & (x < np.inf), "finite and >= 1"),
            ("stability_factor", lambda x: (x > 0) & (x <= 1), "in (0, 1]"),
        ):
            column = np.asarray(getattr(self, name), dtype=float)
            if not (good := right(column)).all():
                raise ArgumentError(name, f"must be {rule}, got {column[~good][0]:g}.")
        if self.cells is not None and (found := self.cells.error_rates.shape) != (2, self.size):
            raise ArgumentError("cells", f"must be {self.size}, as shape {self.shape}, got {found[1]}.")
        if self.cells is not None and self.cells.origin and not self.process:
            object.__setattr__(self, "process", {"population": dict(self.cells.origin)})

    def __repr__(self) -> str:
        faults = ", ".join(f"{count} {kind}" for kind, count in self.counts.items() if count) or "no faults"
        cells = "with rates of every cell" if self.cells is not None else "without rates of cells"
        seed = "" if self.seed is None else f", seed={self.seed}"
        return f"Die({'x'.join(map(str, self.shape))} cells, {faults}, {cells}{seed})"

    @classmethod
    def of(
        cls,
        shape: tuple[int, ...],
        *,
        short: ArrayLike = (),
        open: ArrayLike = (),  # the field's word
        stuck_p: ArrayLike = (),
        stuck_ap: ArrayLike = (),
        weak: ArrayLike = (),
        short_conductance: float | None = None,
        weak_error_rate_factor: float | None = None,
        weak_stability_factor: float | None = None,
        cells: Cells | None = None,
    ) -> Self:
        """Make a die by hand, from the flat indices of the faulty cells of each kind.

        Parameters
        ----------
        shape : tuple of int
            Of the array of cells.
        short, open, stuck_p, stuck_ap, weak : arrays of int
            Flat indices, in any order; a cell named twice is the first of `FAULTS`.
        short_conductance : float, optional
            Of every short [S]; needed if there is one.
        weak_error_rate_factor, weak_stability_factor : float, optional
            Of every weak cell, >= 1 and in (0, 1]; one of them is needed if there is one.
        cells : Cells, optional
            Properties of every cell.

        Raises
        ------
        ValueError
            If an index is outside the array, or a parameter missing or out of its range.

        Examples
        --------
        >>> die = Die.of((2, 3), stuck_p=[4], open=[1, 4])
        >>> die.faulty, die.fixed_cells[1]
        (array([1, 4]), array([1, 1], dtype=uint8))
        """
        shape = checked_shape(shape, least=1)
        size = math.prod(shape)
        by_kind = [
            _checked_indices(name, v, size)
            for name, v in zip(FAULTS, (short, open, stuck_p, stuck_ap, weak), strict=True)
        ]
        where = np.concatenate(by_kind)
        kinds = np.repeat(np.arange(len(FAULTS), dtype=np.uint8), [len(v) for v in by_kind])
        faulty, first = np.unique(where, return_index=True)  # the first of equals: the kind that wins
        law = short_conductance, weak_error_rate_factor, weak_stability_factor
        checked_law(len(by_kind[0]) > 0, len(by_kind[4]) > 0, *law)
        return cls(shape, faulty, kinds[first], *fault_columns(kinds[first], *law), cells)

    # ---- cells ---------------------------------------------------------------------------------------------------

    @property
    def size(self) -> int:
        """Cells."""
        return math.prod(self.shape)

    def require_shape(self, shape: tuple[int, ...]) -> None:
        """Raise ValueError unless the die has the shape of an array; names both."""
        if tuple(shape) != self.shape:
            raise ArgumentError("die", f"must be of the array's shape in cells, {tuple(shape)}, got {self.shape}.")

    @staticmethod
    def reads_as(kind: str | int) -> int:
        """Bit that a cell with a fault always reads as; ValueError for a weak cell, which reads as the bit it holds."""
        name = FAULTS[kind] if isinstance(kind, (int, np.integer)) and 0 <= kind < len(FAULTS) else str(kind)
        if checked_choice("kind", name, FAULTS) == "weak":
            raise ArgumentError("kind", "'weak' has no fixed bit: a weak cell reads as the bit it holds.")
        return READS_AS[name]

    def where(self, kind: str) -> Indices:
        """Flat indices of the cells with a fault of one kind."""
        checked_choice("kind", kind, FAULTS)
        return self.faulty[self.kind == FAULTS.index(kind)]

    @property
    def counts(self) -> dict[str, int]:
        """Faulty cells of each kind."""
        return {name: int((self.kind == k).sum()) for k, name in enumerate(FAULTS)}

    @cached_property
    def fixed_cells(self) -> tuple[Indices, NDArray[np.uint8]]:
        """Flat indices and bits of the cells that read the same whatever is written: all faults but weak."""
        fixed = self.kind < FAULTS.index("weak")
        bits = np.array([READS_AS.get(name, 0) for name in FAULTS], dtype=np.uint8)
        return self.faulty[fixed], bits[self.kind[fixed]]

    @property
    def weak_cells(self) -> tuple[Indices, Array, Array]:
        """Flat indices of the weak cells, the factors of their error rates and of their thermal stability."""
        weak = self.kind == FAULTS.index("weak")
        return self.faulty[weak], self.error_rate_factor[weak], self.stability_factor[weak]

    def weak_error_rates(self, error_rate_0: float, error_rate_1: float) -> tuple[Indices, Array]:
        """Flat indices (k,) of the weak cells and their rates (2, k), where all other cells have the given ones."""
        where, factor, _ = self.weak_cells
        return where, np.minimum(np.array([[error_rate_0], [error_rate_1]]) * factor, 1.0)

    @cached_property
    def error_rates(self) -> Array | None:
        """Error rates (2, cells) by bit and cell, spread and weak cells in it; None if no population was drawn.

        Fixed cells have the rates that they would have if they worked. Without a population see `weak_error_rates`.
        """
        if self.cells is None:
            return None
        where, factor, _ = self.weak_cells
        if not len(where):
            return self.cells.error_rates
        rates = self.cells.error_rates.copy()
        rates[:, where] = np.minimum(rates[:, where] * factor, 1.0)
        return rates

    @cached_property
    def thermal_stability(self) -> Array | None:
        """Delta of each cell (cells,), weak cells in it; of pairs (2, cells). None if no population was drawn."""
        if self.cells is None:
            return None
        where, _, factor = self.weak_cells
        stability = self.cells.thermal_stability.copy()
        stability[..., where] *= factor
        return stability

    def conductances(
        self, bits: ArrayLike, *, resistance_p: float | None = None, resistance_ap: float | None = None
    ) -> Array:
        """Conductance of each cell at low bias [S] when `bits` are written without error; in the die's shape.

        Parameters
        ----------
        bits : array of 0 and 1
            Of the die's shape.
        resistance_p, resistance_ap : float, optional
            Of every working cell [ohm]; in place of the drawn cells, if there are none.

        Returns
        -------
        array
            1/R_P, 1/R_AP; the given one for a short, 0 for an open.
        """
        data = np.array(bits)
        self.require_shape(data.shape)
        if not np.isin(data, (0, 1)).all():
            raise ArgumentError("bits", "must be 0 or 1: bit 1 is AP. Values of -1 and +1 are (value + 1) / 2.")
        R_p: Any = resistance_p
        R_ap: Any = resistance_ap
        if self.cells is not None:
            if R_p is not None or R_ap is not None:
                raise ArgumentError("resistance_p", "and resistance_ap must be left out: drawn cells have their own.")
            R_p, R_ap = self.cells.resistance_p, self.cells.resistance_ap
            if R_p.ndim > 1:
                raise ArgumentError("cells", "must be single junctions, got differential pairs: they have two each.")
        elif R_p is None or R_ap is None:
            raise ArgumentError("resistance_p", "and resistance_ap must be given [ohm]: the die has no drawn cells.")
        else:
            R_p = checked_number("resistance_p", R_p, "ohm", zero_allowed=False)
            R_ap = checked_number("resistance_ap", R_ap, "ohm", zero_allowed=False)
        state = data.astype(np.uint8).ravel()
        where, fixed = self.fixed_cells
        state[where] = fixed
        G = np.where(state == 1, 1 / R_ap, 1 / R_p)
        given = np.isfinite(self.conductance)
        G[self.faulty[given]] = self.conductance[given]
        return G.reshape(self.shape)

    # ---- joining -------------------------------------------------------------------------------------------------

    def __or__(self, other: Die) -> Die:
        """Join the faults of two dies of one shape. Where both have one in a cell, the first of `FAULTS` wins.

        Two shorts of one cell: the larger conductance. A cell weak in both: the larger error factor, the lower barrier.
        At most one of the two may have drawn cells.
        """
        if not isinstance(other, Die):
            return NotImplemented
        self.require_shape(other.shape)
        if self.cells is not None and other.cells is not None and self.cells is not other.cells:
            raise ArgumentError("other", "must be without drawn cells, as both dies have them: a cell is one junction.")
        faulty, inverse = np.unique(np.concatenate([self.faulty, other.faulty]), return_inverse=True)
        kinds = np.concatenate([self.kind, other.kind])
        kind = np.full(len(faulty), len(FAULTS), dtype=np.uint8)
        np.minimum.at(kind, inverse, kinds)
        wins = kinds == kind[inverse]

        def joined(name: str, blank: float, join: np.ufunc) -> Array:
            column = np.full(len(faulty), blank)
            join.at(column, inverse[wins], np.concatenate([getattr(self, name), getattr(other, name)])[wins])
            return column

        return Die(
            self.shape,
            faulty,
            kind,
            joined("conductance", np.nan, np.fmax),
            joined("error_rate_factor", 1.0, np.maximum),
            joined("stability_factor", 1.0, np.minimum),
            cells=self.cells if self.cells is not None else other.cells,
            seed=self.seed if self.seed == other.seed else None,
            process={"joined": [dict(self.process), dict(other.process)], "seeds": [self.seed, other.seed]},
        )

    # ---- identity ------------------------------------------------------------------------------------------------

    def digests(self) -> dict[str, str]:
        """SHA-256 of each part."""
        parts: dict[str, Any] = {"shape": list(self.shape), "seed": self.seed, "process": dict(self.process)}
        found = {name: digest(json.dumps(value, sort_keys=True).encode()) for name, value in parts.items()}
        for name, array in self.arrays().items():
            found[name] = digest(str((array.dtype.str, array.shape)).encode(), np.ascontiguousarray(array).data)
        return found

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All arrays by name, those of the drawn cells included."""
        drawn = {} if self.cells is None else self.cells.arrays()
        return {name: getattr(self, name) for name in FAULT_COLUMNS} | drawn

    @cached_property
    def identity(self) -> str:
        """SHA-256 over all parts: equal identities, equal dies."""
        return digest(json.dumps(self.digests(), sort_keys=True).encode())


def _checked_indices(name: str, values: ArrayLike, size: int) -> Indices:
    array = np.asarray(values)
    if array.size and (array.dtype.kind not in "iu" or array.ndim != 1):
        raise ArgumentError(name, f"must be a one-dimensional array of flat indices, got {array.dtype} {array.shape}.")
    outside = array[(array < 0) | (array >= size)]
    if outside.size:
        raise ArgumentError(name, f"must be flat indices from 0 to {size - 1} (ravel_multi_index), got {outside[0]}.")
    return array.astype(np.int64)


def checked_law(
    shorts: bool, weak: bool, conductance: float | None, error_factor: float | None, stability_factor: float | None
) -> None:
    """Raise ArgumentError unless shorts and weak cells have their parameters, in range."""
    if conductance is None and shorts:
        raise ArgumentError("short_conductance", "is missing: give that of a short, in S (R_P of 5 kohm is 2e-4 S).")
    if weak and error_factor is None and stability_factor is None:
        raise ArgumentError("weak", "cells need weak_error_rate_factor (>= 1) or weak_stability_factor (in (0, 1]).")
    if conductance is not None:
        checked_number("short_conductance", conductance, "S", zero_allowed=False)
    if error_factor is not None:
        checked_between("weak_error_rate_factor", error_factor, 1, np.inf, remedy="A weak cell fails more often.")
    if stability_factor is not None and not 0 < checked_signed("weak_stability_factor", stability_factor, "") <= 1:
        raise ArgumentError("weak_stability_factor", f"must be in (0, 1], got {stability_factor:g}.")


def fault_columns(
    kind: NDArray[np.uint8], conductance: float | None, *factors: float | None
) -> tuple[Array, Array, Array]:
    """Conductance and factors of each faulty cell."""
    G = np.full(len(kind), np.nan)
    G[kind == FAULTS.index("short")] = np.nan if conductance is None else conductance
    G[kind == FAULTS.index("open")] = 0.0
    weak = kind == FAULTS.index("weak")
    error_factor, stability_factor = (np.where(weak, 1.0 if f is None else f, 1.0) for f in factors)
    return G, error_factor, stability_factor


def digest(*parts: Any) -> str:
    """SHA-256 of bytes, in hexadecimal."""
    found = hashlib.sha256()
    for part in parts:
        found.update(part)
    return found.hexdigest()
