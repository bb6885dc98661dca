"""A process: fault rates of junctions, and the spread of the working ones. It is a distribution of dies.

Rates are per junction: counts are binomial. The kinds of faults, and their order of precedence, are in die.py. A
differential pair has two junctions, and its faults follow from theirs (pairs.py). Left out: clustered defects (rows,
columns, edges of a wafer) and differences between whole dies; make such a `Die` from indices with `Die.of` and join it
with `|`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from bridge.checks import checked_declaration, checked_shape
from bridge.dies.die import FAULTS, Die, checked_law, digest, fault_columns
from bridge.dies.pairs import LEVEL, with_faults
from bridge.dies.variability import Population
from mtjsim.checks import ArgumentError, Suggesting, checked_fields, checked_kind, checked_whole
from mtjsim.device import MTJ
from mtjsim.rng import checked_seed, child, generator

CHUNK = 1 << 18  # cells that share one stream of defects


@dataclass(frozen=True, kw_only=True)
class Process(Suggesting):
    """A distribution of dies: the rate of each fault, and the spread of the working junctions.

    Parameters
    ----------
    short_rate, open_rate, stuck_p_rate, stuck_ap_rate, weak_rate : float
        Probability that a junction is one of these, each 0 to 1 and at most 1 together: a junction is one or none of
        them, independently of its neighbours.
    short_conductance : float, optional
        Of a short [S]; needed if there are shorts.
    weak_error_rate_factor : float, optional
        On both write error rates of a weak cell, >= 1.
    weak_stability_factor : float, optional
        On the thermal stability of a weak cell, in (0, 1]. One of the two is needed if there are weak cells.
    population : Population, optional
        Of the working cells; without it all are alike and a die has no per-cell rates. Of differential pairs it is
        needed.

    Raises
    ------
    ValueError
        If a rate is outside [0, 1], they sum to more than 1, or a parameter is missing or out of its range.

    Examples
    --------
    >>> process = Process(short_rate=1e-3, short_conductance=1e-3, stuck_ap_rate=2e-3)
    >>> die = process.die((100, 200), seed=1)
    >>> die.counts["short"], die.counts["stuck_ap"]
    (25, 45)
    """

    short_rate: float = 0.0
    open_rate: float = 0.0
    stuck_p_rate: float = 0.0
    stuck_ap_rate: float = 0.0
    weak_rate: float = 0.0
    short_conductance: float | None = None
    weak_error_rate_factor: float | None = None
    weak_stability_factor: float | None = None
    population: Population | None = None

    def __post_init__(self) -> None:
        for name in FAULTS:
            argument = f"{name}_rate"
            checked_fields(self, zero_allowed=True, **{argument: ""})
            if (rate := getattr(self, argument)) > 1:
                hint = f"Is it {rate:g} %? Then give {rate / 100:g}." if rate <= 100 else "It is not a count either."
                raise ArgumentError(argument, f"must be a probability, 0 to 1 a junction, got {rate:g}. {hint}")
        if sum(self.rates) > 1 + 1e-12:
            problem = f"the rates must sum to at most 1, got {sum(self.rates):g}: a junction has one fault or none"
            raise ValueError(f"{problem}. For faults that may meet, draw two dies and join them with |.")
        law = self.short_conductance, self.weak_error_rate_factor, self.weak_stability_factor
        checked_law(self.short_rate > 0, self.weak_rate > 0, *law)
        if self.population is not None:
            checked_kind("population", self.population, Population)

    @property
    def rates(self) -> tuple[float, ...]:
        """Rates in the order of `FAULTS`."""
        return tuple(getattr(self, f"{name}_rate") for name in FAULTS)

    def as_dict(self) -> dict[str, Any]:
        """All that defines the process, ready for JSON."""
        numbers = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "population"}
        return numbers | {"population": None if self.population is None else self.population.as_dict()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], *, device: MTJ | None = None) -> Self:
        """Return the process of an `as_dict` (a die's `process`), also after JSON.

        Its population needs the `device`, of which `as_dict` has the identity only, see `Population.from_dict`.
        """
        numbers = checked_declaration(cls, values)
        population = numbers.pop("population", None)
        if population is None:
            return cls(**numbers)
        if device is None:
            raise ArgumentError("device", "must be given: the process has a population, with its identity only.")
        return cls(**numbers, population=Population.from_dict(population, device=device))

    @property
    def identity(self) -> str:
        """SHA-256 over all that defines the process."""
        return digest(json.dumps(self.as_dict(), sort_keys=True).encode())

    def die(self, shape: tuple[int, ...], *, seed: int) -> Die:
        """Draw one die.

        Parameters
        ----------
        shape : tuple of int
            Of the array of cells.
        seed : int
            Same seed, same die; a larger die has the same faults in the cells (flat indices) of the smaller one.

        Returns
        -------
        Die
        """
        shape, seed = checked_shape(shape, least=1), checked_seed(seed)
        size, population = math.prod(shape), self.population
        law = self.short_conductance, self.weak_error_rate_factor, self.weak_stability_factor
        if population is not None and population.pairs:
            where, kind = self._drawn(2 * size, seed)
            _, error_factor, stability_factor = fault_columns(kind, *law)
            levels = np.array([LEVEL.get(name, -1) for name in FAULTS])[kind]
            junctions = population.junctions(2 * size, seed=seed)
            chunks = range(-(-size // CHUNK))
            offsets = np.concatenate([generator(seed, "agreeing_pairs", c).integers(2, size=CHUNK) for c in chunks])
            factors = error_factor, stability_factor
            cells, pairs, rates = with_faults(junctions, where, levels, factors, offsets)
            kind = np.full(len(pairs), FAULTS.index("weak"), dtype=np.uint8)
            for bit, name in enumerate(("stuck_p", "stuck_ap")):
                kind[(rates[bit] == 0) & (rates[1 - bit] == 1)] = FAULTS.index(name)
            return Die(shape, pairs, kind, *fault_columns(kind, None, None, None), cells, seed, self.as_dict())
        where, kind = self._drawn(size, seed)
        working = None if population is None else population.cells(size, seed=seed)
        return Die(shape, where, kind, *fault_columns(kind, *law), working, seed, self.as_dict())

    def _drawn(self, junctions: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
        """Numbers and kinds of the junctions with a fault."""
        total, edges = min(sum(self.rates), 1.0), np.cumsum(self.rates)
        where, kinds = [np.empty(0, np.int64)], [np.empty(0, np.uint8)]
        for chunk in range(-(-junctions // CHUNK) if total > 0 else 0):
            draw = generator(seed, "defects", chunk)
            count = int(draw.binomial(CHUNK, total))
            if count == 0:
                continue
            at = np.sort(draw.choice(CHUNK, count, replace=False, shuffle=False))
            which = np.searchsorted(edges, draw.random(count) * edges[-1], side="right")
            kept = at < junctions - chunk * CHUNK
            where.append(at[kept].astype(np.int64) + chunk * CHUNK)
            kinds.append(np.minimum(which[kept], len(FAULTS) - 1).astype(np.uint8))
        return np.concatenate(where), np.concatenate(kinds)

    def dies(self, shape: tuple[int, ...], *, count: int, seed: int) -> Iterator[Die]:
        """Draw `count` independent dies, one after the other; the first ones do not depend on how many follow."""
        seed, count = checked_seed(seed), checked_whole("count", count, least=1)
        for k in range(count):
            low, high = child(seed, "dies", k).generate_state(2, np.uint64).tolist()
            yield self.die(shape, seed=(high << 64) | low)
