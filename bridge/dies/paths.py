"""The write paths of cells that differ: the current that each of them gets, and the voltage that its junction takes.

A driver that regulates a current cannot push it through every cell: where junction and transistor of a cell leave it
too little voltage, the cell is written with what its supply drives into the AP state, the most that `Cell.current`
allows there. (While the layer is elsewhere more may flow: the error rate is an upper bound.) Under a voltage each cell
has its own load line: its currents at three magnetisations are found here, for a million cells at once.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from bridge.cell.cell import Cell
from bridge.cell.circuit import Circuit
from bridge.dies.rate_distribution import SURFACE, quasi_normals
from bridge.dies.spread import OF_CELL, OF_TRANSISTOR, Spread
from bridge.dies.spread_line import FITTED, LOWER, NODES, LineShapes
from bridge.write import M_Z_OF_BIT, WriteSetting
from mtjsim.checks import ArgumentError, Array
from mtjsim.rng import child

AP = np.array(M_Z_OF_BIT[1])
BLOCK = 1 << 13  # cells at a time: their arrays fit a cache
SAMPLE, WIDER = 512, 1.4  # cells, and their distance from the nominal one, of the shapes of load lines
SECANT_STEPS, CLOSE = 8, 1e-8  # of the current, relative: beyond, a cell is solved with a bracket
STEP = 1e-4  # of a logarithm, for the slopes of the first guess
LINE_FACTORS = ("resistance_area_product", "diameter", "tunnel_magnetoresistance", *OF_TRANSISTOR)


@dataclass(frozen=True)
class WritePath:
    """Write path of one bit, for every cell of a population.

    Parameters
    ----------
    cell : Cell
        The nominal one.
    setting : WriteSetting
    bit : int
    temperature : float
        [K].
    spread : Spread
        From cell to cell.
    """

    cell: Cell
    setting: WriteSetting
    bit: int
    temperature: float
    spread: Spread
    _known: dict[tuple[float, float], tuple[float, ...]] = field(default_factory=dict, repr=False, compare=False)

    @cached_property
    def circuit(self) -> Circuit:
        """Of the nominal cell."""
        return self.cell.circuit(self.bit, temperature=self.temperature)

    @property
    def level(self) -> float:
        """Amplitude of the bit [A] or [V]."""
        return self.setting.amplitudes[self.bit]

    def circuits(self, f: Mapping[str, Array]) -> Circuit:
        """Return the paths of all cells at once, from the factors of what spreads (`Spread.factors`)."""
        return replace(
            self.circuit,
            resistance=f["resistance_area_product"] / f["diameter"] ** 2,
            tunnel_magnetoresistance=f["tunnel_magnetoresistance"],
            drive=f["drive_per_width"],
            threshold_shift=self.cell.transistor.threshold_voltage * (f["threshold_voltage"] - 1),
        )

    def current_ratio(self, f: Mapping[str, Array]) -> Array:
        """Return the current of each cell over the nominal one, where it does not depend on the magnetisation; (n,).

        Raises
        ------
        ValueError
            If a cell gets no current at all.
        """
        n = len(f["diameter"])
        if self.level == 0:
            return np.ones(n)
        if self.setting.drive == "voltage":
            nominal = self.circuit.largest_current(self.level)
            return self._conducting(self.circuits(f).driven_by_voltage(AP, self.level)[0] / nominal)
        ratio, starved = np.ones(n), self._starved(self.circuits(f))
        if starved.any():
            some = self.circuits({name: factor[starved] for name, factor in f.items()})
            reached = some.driven_by_voltage(AP, self.cell.supply_voltage)[0] / self.level
            ratio[starved] = np.minimum(self._conducting(reached), 1.0)
        return ratio

    @property
    def ramped(self) -> bool:
        """Whether the voltage of a write has more than one level."""
        return self.setting.rise_time > 0 or self.spread.drive_c2c > 0

    def current_ratios(self, f: Mapping[str, Array]) -> Array:
        """Return the currents of each cell under its voltage over the nominal one, at `spread_line.NODES`; (6, n).

        The last three are those under `LOWER` of the voltage, if there are ramps; else they are 1.

        Raises
        ------
        ValueError
            If a cell gets no current at all.
        """
        ratios = np.ones((2 * len(NODES), len(f["diameter"])))
        for k, part in enumerate((1.0, LOWER) if self.ramped else (1.0,)):
            for j, m_z in enumerate(NODES):
                ratios[len(NODES) * k + j] = self._conducting(self._load_currents(f, m_z, part * self.level))
        return ratios

    @cached_property
    def shapes(self) -> LineShapes:
        """How the load lines of the cells differ from the nominal one."""
        p = len(self.spread.properties)
        z = WIDER * quasi_normals(p, SAMPLE, child(0, "rate_quadrature", SURFACE))
        f = dict.fromkeys(OF_CELL, np.ones(SAMPLE)) | self.spread.factors(z)

        parts = (1.0, LOWER) if self.ramped else (1.0, 1.0)
        currents = [
            np.array([self._load_currents(f, m_z, part * self.level) for m_z in nodes])
            for nodes in (FITTED, NODES)
            for part in parts
        ]
        conducts = np.all([(table > 0).all(axis=0) for table in currents], axis=0)  # the others are refused when drawn
        full, lower, full_at_nodes, lower_at_nodes = (np.log(table[:, conducts]) for table in currents)
        return LineShapes.of(full, lower, nodes=(full_at_nodes, lower_at_nodes))

    def _load_currents(self, f: Mapping[str, Array], m_z: float, supply: float) -> Array:
        """Return the current of each cell at a magnetisation and a supply [V], over the nominal one."""
        n = len(f["diameter"])
        ratio = np.empty(n)
        for start in range(0, n, BLOCK):
            part = slice(start, start + BLOCK)
            ratio[part] = self._block_currents({name: factor[part] for name, factor in f.items()}, m_z, supply)
        return ratio

    def _block_currents(self, f: Mapping[str, Array], m_z: float, supply: float) -> Array:
        """Secant steps from a first guess, which is linear in the logarithms; what does not converge gets a bracket."""
        circuits, at = self.circuits(f), np.array(m_z)
        load, nominal, *slopes = self._slopes(m_z, supply)
        powers = sum(slope * np.log(f[name]) for slope, name in zip(slopes, LINE_FACTORS, strict=True))
        V = load * np.exp(powers)

        def spare(V: Array) -> tuple[Array, Array]:
            I = circuits.load_current(at, V)
            return circuits.transistor_current(V, supply - I * circuits.driver_resistance - V) - I, I

        before = V * (1 + STEP)
        f_before, _ = spare(before)
        with np.errstate(divide="ignore", invalid="ignore"):
            for _ in range(SECANT_STEPS):
                f_here, I = spare(V)
                lost = ~(np.abs(f_here) <= CLOSE * I)
                if not lost.any():
                    break
                step = f_here * (V - before) / (f_here - f_before)
                before, f_before, V = V, f_here, np.clip(np.where(np.isfinite(step), V - step, V), 0.0, supply)
        if lost.any():
            some = self.circuits({name: factor[lost] for name, factor in f.items()})
            I[lost] = some.driven_by_voltage(at, supply)[0]
        return I / nominal

    def _slopes(self, m_z: float, supply: float) -> tuple[float, ...]:
        """Nominal voltage of the load [V], its current [A], and d ln voltage / d ln factor of `LINE_FACTORS`."""
        if (m_z, supply) not in self._known:
            stepped = dict.fromkeys(OF_CELL, np.ones(len(LINE_FACTORS) + 1))
            for k, name in enumerate(LINE_FACTORS):
                stepped[name] = np.exp(STEP * (np.arange(len(LINE_FACTORS) + 1) == k + 1))
            I, load, _ = self.circuits(stepped).driven_by_voltage(m_z, supply)
            self._known[m_z, supply] = (float(load[0]), float(I[0]), *(np.log(load[1:] / load[0]) / STEP).tolist())
        return self._known[m_z, supply]

    def _starved(self, circuits: Circuit) -> Array:
        """Whether the AP state of each cell cannot get the regulated current."""
        load = circuits.load_voltage(AP, self.level)
        across = self.cell.supply_voltage - self.level * circuits.driver_resistance - load
        return np.broadcast_to(
            circuits.transistor_current(load, across) < self.level, np.shape(circuits.drive)
        )  # a transistor at a negative voltage carries nothing

    def _conducting(self, ratio: Array) -> Array:
        if not (ratio > 0).all():
            problem = f"leaves {np.mean(ratio <= 0):.2g} of the cells with a transistor that does not conduct"
            remedy = "Boost word_line_voltage, or give a smaller threshold_voltage_d2d."
            raise ArgumentError("spread", f"{problem}. {remedy}")
        return ratio

    def require_intact(self, f: Mapping[str, Array], ratio: Array) -> None:
        """Raise ArgumentError if a cell would have more than the breakdown voltage across its junction in AP."""
        limit = self.cell.breakdown_voltage
        if limit is None or self.level == 0 or self.cell.device.channel_resistance is not None:
            return
        circuits = self.circuits(f)
        if self.setting.drive == "current":
            stress = circuits.load_voltage(AP, self.level * ratio)
        else:
            stress = circuits.driven_by_voltage(AP, self.level)[1]
        if (over := stress > limit * (1 + 1e-9)).any():
            found = f"of {limit:g} V is exceeded in {over.sum()} of {over.size} cells, by up to {stress.max():.3g} V"
            remedy = "Take a weaker and longer pulse or a smaller spread; cells that broke down are shorts of a Process"
            raise ArgumentError("breakdown_voltage", f"{found} across the AP state (bit {self.bit}). {remedy}.")
