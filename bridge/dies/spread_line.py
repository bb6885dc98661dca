"""The load line of a cell that differs from the nominal one, from a few numbers: its currents relative to the nominal.

A load line I(m_z) of a million cells depends on resistance, TMR and both parameters of the transistor, and yet differs
from the nominal one in little more than two numbers. The logarithm v(m_z) of its ratio to the nominal current follows
from the three values at `NODES` by a linear regression over a sample of the population; between the levels a of a ramp
it is linear in a, through v at the full voltage and at a lower one. So a few coordinates serve for what spreads in a
circuit. How far a rate is off, against the cell's own circuit: tests/bridge/test_cell_dies.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Self

import numpy as np
from scipy.interpolate import CubicSpline

from bridge.cell.circuit import TABLE, Circuit, LoadLine
from mtjsim.checks import Array
from mtjsim.transport import resistance_ratio

NODES = (1.0, 0.0, -1.0)  # m_z; more add less than 1e-4 of a current
LOWER = 0.6  # part of the full voltage: a ramp of 2 ns is 1 % off at 0.5, and as much the other way at 0.7
FITTED = np.linspace(-1.0, 1.0, 41)  # m_z at which the regression is made
M_Z = np.linspace(-1.0, 1.0, TABLE)


@dataclass(frozen=True, eq=False)
class LineShapes:
    """How v at any m_z follows from v at `NODES`.

    Attributes
    ----------
    full, lower : (TABLE, 3) arrays
        Weights of the node values at each of `M_Z`, under the full voltage and under the lower one.
    """

    full: Array
    lower: Array

    @classmethod
    def of(cls, full: Array, lower: Array, *, nodes: tuple[Array, Array]) -> Self:
        """Fit to v of a sample of cells at `FITTED`, (41, n) each; `nodes` are v at `NODES`, (3, n)."""
        return cls(_weights(full, nodes[0]), _weights(lower, nodes[1]))


def _weights(v: Array, at_nodes: Array) -> Array:
    fitted = np.linalg.lstsq(at_nodes.T, v.T, rcond=1e-10)[0].T
    return np.asarray(CubicSpline(FITTED, fitted)(M_Z), dtype=np.float64)


@dataclass(frozen=True)
class SpreadLine:
    """A load line in place of `mtjsim`'s `Conduction`, of one cell; levels a are relative to its plateau.

    Parameters
    ----------
    line : LoadLine
        Of the nominal cell.
    level : float
        Of the plateau, over the nominal amplitude.
    shapes : LineShapes
    full, lower : tuple of float
        Ln of the drive over the nominal cell's at `NODES`, under the full voltage and under the lower one.
    tmr, resistance, softening : float
        Over the nominal ones: of the junction, times the unit of the drives, and of a volt's part of B_k (VCMA).
    """

    line: LoadLine
    level: float
    shapes: LineShapes
    full: tuple[float, ...]
    lower: tuple[float, ...]
    tmr: float
    resistance: float
    softening: float

    @classmethod
    def of(cls, line: LoadLine, shapes: LineShapes, x: Mapping[str, float], level: float) -> Self:
        """Return the line of a cell from its coordinates by name, logarithms."""
        full, lower = (tuple(x[f"{name}_{k}"] for k in range(len(NODES))) for name in ("full", "lower"))
        tmr, resistance, softening = (float(np.exp(x[name])) for name in ("tmr", "resistance", "softening"))
        return cls(line, level, shapes, full, lower, tmr, resistance, softening)

    @cached_property
    def current_of_p(self) -> float:
        """Drive of the P state on the plateau, over the nominal cell's."""
        return float(self._drive(np.ones(1), 1.0)[0])

    @cached_property
    def _plateau(self) -> Array:
        return self._table(self.level)

    def current(self, y: Array, level: float) -> Array:
        """Over that of the P state on the plateau; shape of `y`."""
        return self._drive(self.line.side * y, level) / self.current_of_p

    def anisotropy(self, y: Array, level: float) -> Array:
        """B_k under bias over B_k; shape of `y`."""
        if self.line.softening == 0:
            return np.ones_like(y)
        m_z, device = self.line.side * y, self.line.circuit.device
        of_p = self._drive(m_z, level) * self.line.reference * device.resistance_p * self.resistance  # a bias [V]
        half = np.inf if device.tmr_half_voltage is None else device.tmr_half_voltage
        load = of_p * resistance_ratio(m_z, device.tunnel_magnetoresistance * self.tmr, of_p / half)
        return 1 - self.line.softening * self.softening * load

    def _drive(self, m_z: Array, level: float) -> Array:
        return np.interp(m_z, M_Z, self._plateau if level == 1 else self._table(level * self.level))

    def _table(self, a: float) -> Array:
        """Drive over that of the nominal P state at the full voltage, at `M_Z`."""
        v = self.shapes.full @ self.full
        if a != 1:
            v = v + (a - 1) / (1 - LOWER) * (v - self.shapes.lower @ self.lower)
        return _nominal_currents(self.line.circuit, a * self.line.supply) / self.line.reference * np.exp(v)


@lru_cache(maxsize=512)
def _nominal_currents(circuit: Circuit, supply: float) -> Array:
    """Return the current [A] at `M_Z`."""
    return circuit.driven_by_voltage(M_Z, supply)[0]
