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
from mtjsim.transport import conductance_ratio, resistance_ratio

MOST_ITERATIONS = 150  # ten are usual
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
    resistance, tunnel_magnetoresistance, drive : float or (n,) array
        Of the junctions' RA/A, of their TMR and of the transistors' I_0, over those of `device` and `transistor`: other
        than 1 for the paths of cells that differ.
    threshold_shift : float or (n,) array
        V_T0 of these transistors minus that of `transistor` [V], at an unchanged gain.
    """

    device: MTJ
    transistor: Transistor
    word_line_voltage: float
    driver_resistance: float
    degenerated: bool
    resistance: float | Array = 1.0
    tunnel_magnetoresistance: float | Array = 1.0
    drive: float | Array = 1.0
    threshold_shift: float | Array = 0.0

    def load_current(self, m_z: Array, voltage: ArrayLike) -> Array:
        """Return the current [A] of the load at a voltage [V] across it; rises with it."""
        V = np.asarray(voltage, dtype=float)
        if self.device.channel_resistance is not None:
            return V / self.device.channel_resistance * np.ones_like(m_z)
        ratio = conductance_ratio(m_z, self._tmr, V / self._half_voltage)
        return V * ratio / (self.device.resistance_p * np.asarray(self.resistance))

    def load_voltage(self, m_z: Array, current: ArrayLike) -> Array:
        """Voltage [V] across the load at a current [A]; shape of both and of the cells, broadcast."""
        I = np.asarray(current, dtype=float)
        if self.device.channel_resistance is not None:
            return I * self.device.channel_resistance * np.ones_like(m_z)
        R_p = self.device.resistance_p * np.asarray(self.resistance)
        return I * R_p * resistance_ratio(np.clip(m_z, -1, 1), self._tmr, I * R_p / self._half_voltage)

    @property
    def _tmr(self) -> Array:
        return self.device.tunnel_magnetoresistance * np.asarray(self.tunnel_magnetoresistance)

    @property
    def _half_voltage(self) -> float:
        half = self.device.tmr_half_voltage
        return np.inf if half is None else half

    def transistor_current(self, load: ArrayLike, across: ArrayLike) -> Array:
        """Return the current [A] that the transistor carries with voltages [V] of the load and across itself."""
        source = np.asarray(load, dtype=float) if self.degenerated else np.zeros_like(load, dtype=float)
        V_DS = np.maximum(np.asarray(across, dtype=float), 0.0)
        gate = self.word_line_voltage - np.asarray(self.threshold_shift)
        return np.asarray(self.drive) * self.transistor.current(
            gate_source=gate - source, drain_source=V_DS, source=source
        )

    def driven_by_voltage(self, m_z: ArrayLike, supply: float) -> tuple[Array, Array, Array]:
        """Return current [A], voltage of the load and of the transistor [V] at a supply [V]; shape of `m_z`."""
        at = np.clip(np.asarray(m_z, dtype=float), -1.0, 1.0)

        def spare(V: Array) -> Array:  # more voltage of the load: more current through it, less through the transistor
            I = self.load_current(at, V)
            return self.transistor_current(V, supply - I * self.driver_resistance - V) - I

        low = np.zeros(np.broadcast_shapes(at.shape, *map(np.shape, self._of_cells)))
        load = root_of_falling(spare, low, np.full_like(low, supply))
        I = self.load_current(at, load)
        return I, load, np.maximum(supply - I * self.driver_resistance - load, 0.0)

    @property
    def _of_cells(self) -> tuple[float | Array, ...]:
        return self.resistance, self.tunnel_magnetoresistance, self.drive, self.threshold_shift

    def driven_by_current(self, m_z: ArrayLike, current: float, supply: float) -> tuple[Array, Array]:
        """Voltage of the load and of the transistor [V] under a regulated current [A]; shape of `m_z`."""
        m_z = np.asarray(m_z, dtype=float)
        load = self.load_voltage(m_z, current)
        most = np.maximum(supply - current * self.driver_resistance - load, 0.0)
        return load, root_of_falling(lambda V: current - self.transistor_current(load, V), np.zeros_like(load), most)

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


def root_of_falling(falling: Callable[[Array], Array], low: Array, high: Array, *, tolerance: float = 1e-15) -> Array:
    """Zero of a function that falls from low to high, element by element; an end, if the function has no zero between.

    Chandrupatla's method: inverse quadratic interpolation where it is safe, else halving; some eight evaluations.

    Parameters
    ----------
    falling : function of arrays
        All elements at once.
    low, high : arrays
        Of one shape.
    tolerance : float
        Of the zero, relative to `high` - `low`.

    References
    ----------
    T. R. Chandrupatla, Advances in Engineering Software 28, 145 (1997).
    """
    x1, x2, f1, f2 = low, high, falling(low), falling(high)
    x3, f3, t = x1, f1, np.full(np.shape(low), 0.5)
    outside = np.where(f1 <= 0, low, high), (f1 <= 0) | (f2 >= 0)
    close = np.maximum(tolerance * np.abs(high - low), 1e-300)
    for _ in range(MOST_ITERATIONS):
        x = x1 + t * (x2 - x1)
        f = falling(x)
        same = (f > 0) == (f1 > 0)
        x3, f3 = np.where(same, x1, x2), np.where(same, f1, f2)
        x2, f2 = np.where(same, x2, x1), np.where(same, f2, f1)
        x1, f1 = x, f
        with np.errstate(divide="ignore", invalid="ignore"):
            least = (close / 2 + 2e-16 * np.abs(x1)) / np.abs(x2 - x1)
            done = (least > 0.5) | (f1 == 0) | outside[1]
            if done.all():
                break
            xi, phi = (x1 - x2) / (x3 - x2), (f1 - f2) / (f3 - f2)
            t = f1 / (f2 - f1) * f3 / (f2 - f3) + (x3 - x1) / (x2 - x1) * f1 / (f3 - f1) * f2 / (f3 - f2)
            t = np.where((phi**2 < xi) & ((1 - phi) ** 2 < 1 - xi), t, 0.5)
            t = np.where(done, 0.0, np.clip(t, least, 1 - least))
    best = np.where(np.abs(f1) <= np.abs(f2), x1, x2)
    return np.where(outside[1], outside[0], best)
