"""The write path as a circuit: driver, access transistor and junction in series, solved at each magnetisation.

Quasi-static: lines charge in picoseconds, the layer turns in nanoseconds, so at each m_z the current is the one that
the three in series carry. `LoadLine` hands it to the Fokker-Planck solver, which then needs no approximation: neither
a constant current nor a constant voltage of the junction is assumed while the layer turns.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from bridge.transistor import Transistor
from mtjsim.checks import Array
from mtjsim.device import MTJ
from mtjsim.transport import conductance_terms, junction_resistance

HALVINGS = 52  # of a voltage by bisection: to the last bit


@dataclass(frozen=True)
class Circuit:
    """A write path in one direction; the load is the junction, or the channel of a three-terminal device.

    Parameters
    ----------
    device : MTJ
        What is written.
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
        low, high = np.zeros_like(at), np.full_like(at, supply)
        for _ in range(HALVINGS):  # more voltage of the load: more current through it, less through the transistor
            V = (low + high) / 2
            I = self.load_current(at, V)
            carries = self.transistor_current(V, supply - I * self.driver_resistance - V) > I
            low, high = np.where(carries, V, low), np.where(carries, high, V)
        I = self.load_current(at, low)
        return I, low, np.maximum(supply - I * self.driver_resistance - low, 0.0)

    def driven_by_current(self, m_z: ArrayLike, current: float, supply: float) -> tuple[Array, Array]:
        """Voltage of the load and of the transistor [V] under a regulated current [A]; shape of `m_z`."""
        m_z = np.asarray(m_z, dtype=float)
        load = self.load_voltage(m_z, current)
        low, high = np.zeros_like(load), np.maximum(supply - current * self.driver_resistance - load, 0.0)
        for _ in range(HALVINGS):
            V = (low + high) / 2
            enough = self.transistor_current(load, V) >= current
            low, high = np.where(enough, low, V), np.where(enough, V, high)
        return load, high

    def width_for(self, m_z: float, current: float, supply: float) -> float:
        """Width of the transistor [m] that carries a current [A] from a supply [V]; inf if none does."""
        load = float(self.load_voltage(np.array(m_z), current))
        across = supply - current * self.driver_resistance - load
        per_width = float(self.transistor_current(load, across)) / self.transistor.width
        return current / per_width if across > 0 and per_width > 0 else np.inf


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
        return self.circuit.driven_by_voltage(self.side * y, level * self.supply)[0] / self.reference

    def anisotropy(self, y: Array, level: float) -> Array:
        """B_k under bias over B_k; shape of `y`."""
        if self.softening == 0:
            return np.ones_like(y)
        return 1 - self.softening * self.circuit.driven_by_voltage(self.side * y, level * self.supply)[1]
