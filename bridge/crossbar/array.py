"""Differential pairs of junctions as weights: what a die makes of them.

A weight of +1 is stored in two junctions: "plus" in P (it conducts well), "minus" in AP; -1 the other way round. The
inputs are voltages on the rows; each output has two columns, and is the difference of their currents. In units of
V (G_P - G_AP) of nominal junctions a pair amounts to

    w = (G_plus - G_minus) / (G_P - G_AP) = A + B s,   s = +-1 the stored weight,

with A = 0, B = 1 for nominal junctions. Junctions that differ move both; a short or an open makes |A| large, B small,
and adds a constant, whatever is stored. A pair that is disconnected has A = B = 0.

The bits are stored without write errors here; those of a write are given by the stored weights.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bridge.checks import checked_shape
from bridge.dies.die import Die
from bridge.dies.faults import Process
from mtjsim.checks import ArgumentError, Array, Suggesting, checked_kind, checked_number, checked_whole
from mtjsim.rng import checked_seed, generator

CHUNK = 1 << 14  # junctions that share one stream of conductances
WIDEST = 1.0  # standard deviation of ln G: beyond it a mean conductance is no typical one


@dataclass(frozen=True, eq=False)
class PairArray(Suggesting):
    """The pairs of junctions that store the weights of one layer, on one die.

    Parameters
    ----------
    conductances : (2, 2, outputs, inputs) array
        [S]: of the "plus" and the "minus" junction of each pair, in P and in AP; faults are in it.
    conductance_p, conductance_ap : float
        Of a nominal junction [S]; their difference is the unit of a weight.
    connected : (outputs, inputs) array of bool
        Pairs that are connected to their columns. Default: all.

    Raises
    ------
    ValueError
        For shapes that do not fit, conductances below 0, or nominal ones unless 0 < conductance_ap < conductance_p.

    Examples
    --------
    >>> process = Process(short_rate=0.01, short_conductance=3e-4)
    >>> array = PairArray.of((90, 100), conductance_p=1e-4, conductance_ap=4e-5, process=process, seed=1)
    >>> array.shorted(2e-4).sum(), array.junctions
    (np.int64(195), 18000)
    >>> signs = np.ones((90, 100))
    >>> float(array.weights(signs)[~array.shorted(2e-4)].min())
    1.0
    """

    conductances: NDArray[Any]
    conductance_p: float
    conductance_ap: float
    connected: NDArray[np.bool_] = field(default=None)  # type: ignore[arg-type]  # all, from `__post_init__` on

    def __post_init__(self) -> None:
        checked_contrast(self.conductance_p, self.conductance_ap)
        G = np.asarray(self.conductances, dtype=float)
        if G.ndim != 4 or G.shape[:2] != (2, 2) or 0 in G.shape:
            raise ArgumentError("conductances", f"must be of shape (2, 2, outputs, inputs), got {G.shape}.")
        if not (np.isfinite(G) & (G >= 0)).all():
            raise ArgumentError("conductances", "must be finite and >= 0 S.")
        object.__setattr__(self, "conductances", G)
        kept = np.ones(G.shape[2:], bool) if self.connected is None else np.asarray(self.connected)
        if kept.shape != G.shape[2:] or kept.dtype != bool:
            rule = f"must be true or false for each pair, of shape {G.shape[2:]}"
            raise ArgumentError("connected", f"{rule}, got {kept.dtype} of {kept.shape}.")
        object.__setattr__(self, "connected", kept)

    @classmethod
    def of(
        cls,
        shape: tuple[int, int],
        *,
        conductance_p: float,
        conductance_ap: float,
        spread: float = 0.0,
        process: Process | None = None,
        seed: int,
    ) -> Self:
        """Draw the pairs of a die.

        Parameters
        ----------
        shape : (outputs, inputs)
        conductance_p, conductance_ap : float
            Of a nominal junction [S].
        spread : float
            Standard deviation of ln G from junction to junction, at most 1. It is one factor for both states of a
            junction (its area, its barrier); the mean conductance is the nominal one.
        process : Process, optional
            Of the faults; weak cells work as others here. With a population its junctions have their own resistances,
            and `spread` must be 0.
        seed : int, >= 0
            Same process and seed, same die.

        Returns
        -------
        PairArray

        Raises
        ------
        ValueError
            For numbers out of range, a spread beside a population, or a population of differential pairs.
        """
        outputs, inputs = _checked_pairs("shape", shape)
        checked_contrast(conductance_p, conductance_ap)
        checked_seed(seed)
        if not 0 <= checked_number("spread", spread, "", zero_allowed=True) <= WIDEST:
            hint = f"Is it {spread:g} %? Then give {spread / 100:g}." if spread <= 100 else ""
            raise ArgumentError("spread", f"must be at most {WIDEST:g}, got {spread:g}. {hint}".rstrip())
        junctions = (2, outputs, inputs)
        die = None
        if process is not None:
            checked_kind("process", process, Process)
            die = process.die(junctions, seed=seed)
            if die.cells is not None and die.cells.resistance_p.ndim > 1:
                raise ArgumentError("process", "must have a population of single junctions: the pairs are made here.")
        if die is not None and die.cells is not None:
            if spread:
                raise ArgumentError("spread", "must be 0 where the process has a population: its junctions differ.")
            states = [1 / die.cells.resistance_p, 1 / die.cells.resistance_ap]
        else:
            factor = log_normal(math.prod(junctions), spread, seed)
            states = [conductance_p * factor, conductance_ap * factor]
        G = np.stack([state.reshape(junctions) for state in states], axis=1)  # (2, 2, outputs, inputs)
        if die is not None:
            _put_faults(G, die)
        return cls(G, conductance_p, conductance_ap)

    # ---- weights -------------------------------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, int]:
        """(outputs, inputs)."""
        return self.conductances.shape[2], self.conductances.shape[3]

    @property
    def junctions(self) -> int:
        """Junctions of the array, two a pair."""
        return 2 * math.prod(self.shape)

    @cached_property
    def _ends(self) -> tuple[Array, Array]:
        """Weights of pairs that store +1 and -1."""
        (plus_p, plus_ap), (minus_p, minus_ap) = self.conductances
        unit = self.conductance_p - self.conductance_ap
        kept = self.connected
        return np.where(kept, (plus_p - minus_ap) / unit, 0.0), np.where(kept, (plus_ap - minus_p) / unit, 0.0)

    @cached_property
    def offset(self) -> Array:
        """A of each pair, (outputs, inputs): what it adds whatever is stored."""
        up, down = self._ends
        return (up + down) / 2

    @cached_property
    def gain(self) -> Array:
        """B of each pair, (outputs, inputs): what the stored weight is multiplied by."""
        up, down = self._ends
        return (up - down) / 2

    def weights(self, signs: ArrayLike) -> Array:
        """Weights that the pairs amount to, (outputs, inputs), for stored weights of +-1; A + B s.

        Raises
        ------
        ValueError
            For stored weights of another shape, or other values than +-1.
        """
        s = np.asarray(signs)
        if s.shape != self.shape:
            raise ArgumentError("signs", f"must be of the shape of the array, {self.shape}, got {s.shape}.")
        if not (np.abs(s) == 1).all():
            raise ArgumentError("signs", "must be -1 or +1. Bits of 0 and 1 are 2 bits - 1.")
        up, down = self._ends
        return np.where(s > 0, up, down)

    def currents(self, voltages: ArrayLike, signs: ArrayLike) -> Array:
        """Currents of the outputs [A], differences of their two columns, for row voltages [V]; no wire resistance.

        Parameters
        ----------
        voltages : (..., inputs) array
        signs : (outputs, inputs) array of +-1

        Returns
        -------
        (..., outputs) array
        """
        v = np.asarray(voltages, dtype=float)
        if v.ndim < 1 or v.shape[-1] != self.shape[1]:
            raise ArgumentError("voltages", f"must be one for each of the {self.shape[1]} rows, got shape {v.shape}.")
        return v @ self.weights(signs).T * (self.conductance_p - self.conductance_ap)

    # ---- repair --------------------------------------------------------------------------------------------------

    def shorted(self, limit: float) -> NDArray[np.bool_]:
        """Pairs with a junction that conducts more than `limit` [S] in both states, (outputs, inputs)."""
        checked_number("limit", limit, "S", zero_allowed=False)
        return np.asarray((self.conductances > limit).all(axis=1).any(axis=0))

    def disconnected(self, pairs: ArrayLike) -> PairArray:
        """Return the array with some pairs disconnected as well: (outputs, inputs) of bool, such as `shorted` ones."""
        cut = np.asarray(pairs)
        if cut.dtype != bool or cut.shape != self.shape:
            raise ArgumentError("pairs", f"must be true or false, of shape {self.shape}, got {cut.dtype}, {cut.shape}.")
        return replace(self, connected=self.connected & ~cut)

    def __repr__(self) -> str:
        cut = int((~self.connected).sum())
        cut_ = f", {cut} disconnected" if cut else ""
        return f"PairArray({self.shape[0]}x{self.shape[1]} pairs, G_P={self.conductance_p:g} S{cut_})"


def checked_contrast(conductance_p: float, conductance_ap: float) -> None:
    """Raise ValueError unless 0 < conductance_ap < conductance_p."""
    checked_number("conductance_p", conductance_p, "S", zero_allowed=False)
    checked_number("conductance_ap", conductance_ap, "S", zero_allowed=False)
    if not conductance_ap < conductance_p:
        rule = f"must be less than conductance_p = {conductance_p:g} S"
        raise ArgumentError("conductance_ap", f"{rule}, got {conductance_ap:g}: AP is the state of high resistance.")


def log_normal(count: int, spread: float, seed: int) -> Array:
    """Draw factors of mean 1, (count,), with the standard deviation `spread` of their logarithm."""
    if spread == 0.0:
        return np.ones(count)
    chunks = range(-(-count // CHUNK))
    z = np.concatenate([generator(seed, "conductances", c).standard_normal(CHUNK) for c in chunks])[:count]
    return np.exp(spread * z - spread**2 / 2)


def _put_faults(G: Array, die: Die) -> None:
    """Put the faults of junctions, a die of shape (2, outputs, inputs), into G, (2, 2, outputs, inputs), in place."""
    flat = [G[:, state].reshape(-1) for state in (0, 1)]  # copies
    for kind, source in (("stuck_p", 0), ("stuck_ap", 1)):
        where = die.where(kind)
        flat[1 - source][where] = flat[source][where]
    given = np.isfinite(die.conductance)  # of shorts, and 0 of opens
    for state in (0, 1):
        flat[state][die.faulty[given]] = die.conductance[given]
        G[:, state] = flat[state].reshape(G[:, state].shape)


def junctions_of(layers: Iterable[Sequence[int]], *, capacity: int | None = None) -> int:
    """Return the junctions that layers need, two a weight.

    Parameters
    ----------
    layers : iterable of (outputs, inputs)
    capacity : int, optional
        Junctions that a die has, 20,000 for example.

    Raises
    ------
    ValueError
        For layers that do not fit on the die.

    Examples
    --------
    >>> junctions_of([(90, 100), (10, 90)], capacity=20_000)
    19800
    """
    shapes = [_checked_pairs("layers", shape) for shape in layers]
    need = sum(2 * math.prod(shape) for shape in shapes)
    if capacity is not None and need > checked_whole("capacity", capacity, least=1):
        rule = f"must fit on a die of {capacity:,} junctions, got {need:,} for {shapes}"
        raise ArgumentError("layers", f"{rule}. Take fewer inputs or hidden units, or several dies.")
    return need


def _checked_pairs(argument: str, shape: Any) -> tuple[int, int]:
    found = checked_shape(tuple(shape), least=1)
    if len(found) != 2:
        raise ArgumentError(argument, f"must be (outputs, inputs), got {found}.")
    return found[0], found[1]
