"""Jumps of discrete weights by their own junctions: a pulse for each wanted change, and what it costs.

References
----------
.. [1] Greenberg-Toledo, Perach, Hubara, Soudry, Kvatinsky, arXiv:1912.12636 (2019): a ternary weight in two junctions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from bnn.optimizers.state_transitions import Array32, Moves, refuse_other_states
from bnn.optimizers.transition_kernels import UNIT, by_junctions, by_pairs
from bridge.ledger import Entry, Ledger
from bridge.update_pulse import SwitchingTable
from mtjsim.checks import ArgumentError, Suggesting, checked_kind
from mtjsim.rng import checked_seed, generator

PULSES = 64  # the kernels search as many


@dataclass
class Cells:
    """The junctions of one tensor of weights: `bits` are None for binary weights, whose states say them.

    Attributes
    ----------
    types : (2, n) or (n,) array of uint16
    bits : (2, n) array of uint8, or None
    pulses, turns : arrays like types, of uint32
        Pulses and turns of each junction so far.
    """

    types: NDArray[np.uint16]
    bits: NDArray[np.uint8] | None
    pulses: NDArray[np.uint32]
    turns: NDArray[np.uint32]


class JunctionJumps(Suggesting):
    """For `DiscreteStateTransition`: each weight jumps if its own junction turns under one pulse.

    A ternary weight is two junctions, +1 as (1, 0), -1 as (0, 1), 0 as (0, 0) or (1, 1) [1]; a binary weight is one.
    Only the junction that has to turn is pulsed; see `by_pairs` of transition_kernels.py for which one. A change of a
    step or more is the longest pulse.

    Parameters
    ----------
    table : SwitchingTable
        Of `bridge.switching_table`: the types of junctions, of at most 63 pulses. Each junction is of one of the types,
        drawn once.
    edges : (2, pulses - 1) array
        Of an encoding, `SwitchingTable.encoded`.
    seed : int, >= 0
        Of the types of the junctions, and of which zeros are (1, 1) at first.

    Raises
    ------
    ValueError
        For edges that do not fit the table or do not ascend, or more pulses than 63; from `move`, for weights of other
        levels than two or three.

    Examples
    --------
    >>> from bnn.models import gxnor_mlp
    >>> from bnn.optimizers.state_transitions import DiscreteStateTransition, state_groups
    >>> from bridge import UpdateDriver, switching_table
    >>> from mtjsim import MTJ
    >>> device = MTJ.from_effective(thermal_stability=40, critical_current=30e-6, characteristic_time=2e-9)
    >>> table = switching_table(device, UpdateDriver.even(longest=12e-9, current_0=60e-6, current_1=60e-6))
    >>> jumps = JunctionJumps(table, table.encoded("nominal"), seed=1)
    >>> model = gxnor_mlp(16, (8,), seed=1)
    >>> optimizer = DiscreteStateTransition(torch.optim.Adam(state_groups(model), lr=0.1), seed=1, jumps=jumps)
    >>> model(torch.ones(4, 1, 4, 4)).square().mean().backward()
    >>> optimizer.step()
    >>> optimizer.moved == sum(int(cells.turns.sum()) for cells in jumps.cells.values())
    True
    """

    def __init__(self, table: SwitchingTable, edges: ArrayLike, *, seed: int) -> None:
        checked_kind("table", table, SwitchingTable)
        self.table, self.seed = table, checked_seed(seed)
        found = np.asarray(edges, dtype=float)
        pulses = table.nominal.shape[1]
        if found.shape != (2, pulses - 1):
            raise ArgumentError("edges", f"must be of shape (2, {pulses - 1}), as encoded() gives, got {found.shape}.")
        if np.isnan(found).any() or (found < 0).any() or (found[:, 1:] < found[:, :-1]).any():
            raise ArgumentError("edges", "must be >= 0 and ascend, for each of the two directions.")
        if pulses > PULSES:
            raise ArgumentError("table", f"must be of at most {PULSES - 1} pulses, got {pulses - 1}.")
        padded = np.full((2, PULSES - 1), np.inf, np.float32)
        padded[:, : pulses - 1] = found
        self.edges = padded.ravel()
        self._thresholds = np.zeros((table.types, 2, PULSES), np.uint32)
        self._thresholds[:, :, :pulses] = np.round(table.probabilities * UNIT)
        self.cells: dict[int, Cells] = {}
        self.given = np.zeros((2, PULSES), np.int64)

    def move(self, number: int, states: Array32, wanted: Array32, step: float, key: int) -> Moves:
        """See `Jumps` of state_transitions.py."""
        if step not in (1.0, 2.0):
            raise ArgumentError("levels", f"must be 2 or 3 for junctions, got {2 / step + 1:g}.")
        if number not in self.cells:
            refuse_other_states(f"weight {number}", states, step)
            self.cells[number] = self._made(number, states, step)
        cells, before = self.cells[number], int(self.given.sum())
        shared = np.uint64(key), self.edges, self._thresholds, cells.types
        if cells.bits is not None:
            moved, off = by_pairs(states, wanted, *shared, cells.bits, cells.pulses, cells.turns, self.given)
        else:
            moved, off = by_junctions(states, wanted, *shared, cells.pulses, cells.turns, self.given)
        if off:
            refuse_other_states(f"weight {number}", states, step)
            raise ArgumentError(f"weight {number}", "must be what its junctions store: something else changed it.")
        return Moves(int(moved), int(self.given.sum()) - before)

    def _made(self, number: int, states: Array32, step: float) -> Cells:
        draws = generator(self.seed, "d2d", number)
        shape = (2, len(states)) if step == 1.0 else (len(states),)
        types = draws.integers(self.table.types, size=shape, dtype=np.uint16)
        bits = None
        if step == 1.0:
            bits = np.stack([states > 0, states < 0]).astype(np.uint8)
            bits[:, (states == 0) & draws.integers(2, size=len(states)).astype(bool)] = 1
        return Cells(types, bits, np.zeros(shape, np.uint32), np.zeros(shape, np.uint32))

    @property
    def pulses_a_junction(self) -> float:
        """Mean number of pulses of a junction so far."""
        return self._mean("pulses")

    @property
    def turns_a_junction(self) -> float:
        """Mean number of turns of a junction so far."""
        return self._mean("turns")

    @property
    def most_pulses(self) -> int:
        """Pulses of the junction that had most: its wear."""
        return max((int(cells.pulses.max()) for cells in self.cells.values()), default=0)

    def _mean(self, what: str) -> float:
        counts = [getattr(cells, what) for cells in self.cells.values()]
        return sum(int(each.sum(dtype=np.int64)) for each in counts) / max(1, sum(each.size for each in counts))

    @property
    def ledger(self) -> Ledger:
        """Pulses of each width and direction; prices are mean energies of the nominal junction, without its driver."""
        pulses = self.table.energies.shape[1]
        return Ledger(
            Entry(
                memory="junctions of weights",
                event=f"update {bit}, {1e9 * self.table.driver.pulse_widths[k - 1]:.3g} ns",
                count=int(self.given[bit, k]),
                junction=float(self.table.energies[bit, k]),
                seconds=self.table.driver.pulse_widths[k - 1],
                source="mtjsim.dissipated_energy of the nominal junction",
            )
            for bit in (0, 1)
            for k in range(1, pulses)
            if self.given[bit, k]
        )

    def state(self) -> dict[str, Any]:
        """Return cells and counts; the types follow from the seed."""
        return {
            "given": torch.from_numpy(self.given.copy()),
            "cells": {
                number: {
                    "bits": None if cells.bits is None else torch.from_numpy(cells.bits.copy()),
                    "pulses": torch.from_numpy(cells.pulses.astype(np.int64)),
                    "turns": torch.from_numpy(cells.turns.astype(np.int64)),
                }
                for number, cells in self.cells.items()
            },
        }

    def restore(self, state: Any) -> None:
        """Go on from a `state`."""
        if not isinstance(state, dict) or set(state) != {"given", "cells"}:
            raise ArgumentError("state_dict", "must be one of a training with JunctionJumps: its jumps are others.")
        self.given = state["given"].numpy().copy()
        self.cells = {}
        for number, saved in state["cells"].items():
            pulses, turns = (saved[name].numpy().astype(np.uint32) for name in ("pulses", "turns"))
            types = generator(self.seed, "d2d", number).integers(self.table.types, size=pulses.shape, dtype=np.uint16)
            bits = None if saved["bits"] is None else saved["bits"].numpy().copy()
            self.cells[number] = Cells(types, bits, pulses, turns)

    def __repr__(self) -> str:
        return f"JunctionJumps({self.table.types} types, {self.table.nominal.shape[1] - 1} pulses, seed={self.seed})"
