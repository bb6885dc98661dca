"""The write path as a circuit: driver, access transistor and junction in series, solved at each magnetisation.

Quasi-static: lines charge in picoseconds, the layer turns in nanoseconds, so at each m_z the current is the one that
the three in series carry. `LoadLine` hands it to the Fokker-Planck solver, so that neither a
constant current nor a constant voltage of the junction is assumed while the layer turns.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from bridge.cell.transistor import Transistor
from bridge.write import M_Z_OF_BIT
from mtjsim.checks import Array
from mtjsim.device import MTJ
from mtjsim.transport import conductance_terms, junction_resistance

MOST_ITERATIONS = 150  # of which a third halve the bracket; ten are usual
TABLE = 2049  # m_z at which a load line is solved for more points than that; linear between them, 1e-7 off


@dataclass(frozen=True)
class Circuit:
    """A write path in one direction; the load is the junction, or the channel of a three-terminal device.

    Parameters
    ----------
    device : MTJ
        The device that is written.
    transistor : Transistor
        Of the path.
    word_line_voltage, driver_resistance : float
        [V], [ohm].
    degenerated : bool
        Whether the load hangs at the source of the transistor, whose gate then loses the voltage of the load.
    """

    device: MTJ
    transistor: Transistor
    word_line_voltage: float
    driver_resistance: float
    degenerated: bool

    def load_current(self, m_z: Array, voltage: ArrayLike) -> Array:
        """Return the current [A] of the load at a voltage [V] across it; rises with it."""
        V = np.asarray(voltage, dtype=float)
        if self.device.channel_resistance is not None:
            return V / self.device.channel_resistance * np.ones_like(m_z)
        constant, slope = conductance_terms(self.device, V)  # type: ignore[arg-type]
        return V * (constant + slope * m_z)

    def load_voltage(self, m_z: Array, current: float) -> Array:
        """Voltage [V] across the load at a current [A]; shape of `m_z`."""
        if self.device.channel_resistance is not None:
            return np.full_like(m_z, current * self.device.channel_resistance)
        return current * junction_resistance(self.device, m_z=np.clip(m_z, -1, 1), current=current)

    def transistor_current(self, load: ArrayLike, across: ArrayLike) -> Array:
        """Return the current [A] that the transistor carries with voltages [V] of the load and across itself."""
        source = np.asarray(load, dtype=float) if self.degenerated else np.zeros_like(load, dtype=float)
        V_DS = np.maximum(np.asarray(across, dtype=float), 0.0)
        return self.transistor.current(gate_source=self.word_line_voltage - source, drain_source=V_DS, source=source)

    def driven_by_voltage(self, m_z: ArrayLike, supply: float) -> tuple[Array, Array, Array]:
        """Return current [A], voltage of the load and of the transistor [V] at a supply [V]; shape of `m_z`."""
        at = np.clip(np.asarray(m_z, dtype=float), -1.0, 1.0)

        def spare(V: Array) -> Array:  # more voltage of the load: more current through it, less through the transistor
            I = self.load_current(at, V)
            return self.transistor_current(V, supply - I * self.driver_resistance - V) - I

        load = _root(spare, np.zeros_like(at), np.full_like(at, supply))
        I = self.load_current(at, load)
        return I, load, np.maximum(supply - I * self.driver_resistance - load, 0.0)

    def driven_by_current(self, m_z: ArrayLike, current: float, supply: float) -> tuple[Array, Array]:
        """Voltage of the load and of the transistor [V] under a regulated current [A]; shape of `m_z`."""
        m_z = np.asarray(m_z, dtype=float)
        load = self.load_voltage(m_z, current)
        most = np.maximum(supply - current * self.driver_resistance - load, 0.0)
        return load, _root(lambda V: current - self.transistor_current(load, V), np.zeros_like(load), most)

    def largest_current(self, supply: float) -> float:
        """Return the current [A] that a supply [V] drives in the AP state, through which every write passes."""
        return float(self.driven_by_voltage(M_Z_OF_BIT[1], supply)[0])

    def width_for(self, current: float, supply: float) -> float:
        """Width of the transistor [m] that carries a current [A] from a supply [V] in the AP state; inf: none does."""
        load = float(self.load_voltage(np.array(M_Z_OF_BIT[1]), current))
        across = supply - current * self.driver_resistance - load
        per_width = float(self.transistor_current(load, across)) / self.transistor.width
        return current / per_width if across > 0 and per_width > 0 else np.inf

    def why_not(self, current: float, supply: float) -> str:
        """Return why a supply [V] does not drive a current [A] through the AP state, and the remedy."""
        start = f"of {current:g} A cannot be driven: "
        load, line = float(self.load_voltage(np.array(M_Z_OF_BIT[1]), current)), current * self.driver_resistance
        if load + line >= supply:
            return start + (
                f"the AP state takes {load:.3g} V and the driver {line:.3g} V, and the supply has {supply:g} V. Raise "
                "supply_voltage, or take a weaker and longer pulse."
            )
        if np.isinf(self.width_for(current, supply)):
            return start + (
                f"the AP state lifts the source of the transistor to {load:.3g} V, and a word line at "
                f"{self.word_line_voltage:g} V does not open it at any width. Boost word_line_voltage, or reverse the "
                "connection."
            )
        return start + (
            f"at most {self.largest_current(supply):.3g} A reach the AP state through a transistor of "
            f"{self.transistor.width * 1e9:.0f} nm. Take a wider one (narrowest_transistor gives its width), or boost "
            "word_line_voltage or supply_voltage."
        )


@dataclass(frozen=True)
class LoadLine:
    """A circuit in place of `mtjsim`'s `Conduction`: how current and anisotropy of an axial write follow y = s m_z.

    Parameters
    ----------
    circuit : Circuit
        The write path.
    supply : float
        Of the plateau [V]; ramps ramp the supply, under a word line that is on.
    side : float
        s.
    softening : float
        Part of B_k that a volt across the junction takes away (VCMA), < 0 if it adds.
    reference : float
        Current of the P state on the plateau [A], which is the drive of the write.
    """

    circuit: Circuit
    supply: float
    side: float
    softening: float
    reference: float

    def current(self, y: Array, level: float) -> Array:
        """Over that of the P state on the plateau; shape of `y`."""
        return self._solved(y, level, 0) / self.reference

    def anisotropy(self, y: Array, level: float) -> Array:
        """B_k under bias over B_k; shape of `y`."""
        if self.softening == 0:
            return np.ones_like(y)
        return 1 - self.softening * self._solved(y, level, 1)

    def _solved(self, y: Array, level: float, which: int) -> Array:
        """Return current (0) or voltage of the load (1); shape of `y`."""
        if y.size <= TABLE:
            return self.circuit.driven_by_voltage(self.side * y, level * self.supply)[which]
        m_z = np.linspace(-1.0, 1.0, TABLE)
        return np.interp(self.side * y, m_z, self.circuit.driven_by_voltage(m_z, level * self.supply)[which])


def _root(falling: Callable[[Array], Array], low: Array, high: Array) -> Array:
    """Zero of a function that falls from low to high, element by element: false position, safe by halving."""
    f_low, f_high = falling(low), falling(high)
    scale = np.maximum(np.abs(f_low), np.abs(f_high))
    x = np.where(f_low <= 0, low, high)
    for k in range(MOST_ITERATIONS):
        with np.errstate(divide="ignore", invalid="ignore"):
            x = (low * f_high - high * f_low) / (f_high - f_low) if k % 3 < 2 else (low + high) / 2
        x = np.where(np.isfinite(x), np.clip(x, low, high), (low + high) / 2)
        f = falling(x)
        right = f > 0  # the zero is to the right of x
        low, high = np.where(right, x, low), np.where(right, high, x)
        # Illinois: the end that stays loses half its weight, else it would stay for ever
        f_low, f_high = np.where(right, f, f_low / 2), np.where(right, f_high / 2, f)
        if ((np.abs(f) <= 1e-14 * scale) | (high - low <= 1e-15 * np.abs(high))).all():
            break
    return x
