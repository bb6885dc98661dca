"""Populations of cells: the spread from device to device, and the error rates of a memory's cells.

`Spread` (spread.py) declares the spread of each property, `Population` applies it to a junction or a cell and a write
setting and gives the mean error rate (`mean_error_rates`), the distribution of cell rates (`distribution`) and the
cells of a die (`cells`), all through one fitted surface of ln WER (rate_surface.py), whose error against direct solves
is measured.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np

from bridge.cell.cell import Cell
from bridge.cell.cell_write import axial_write, require_deliverable
from bridge.checks import checked_bit
from bridge.dies.cells import Cells
from bridge.dies.pairs import mean_of_pairs, pair_cells
from bridge.dies.paths import WritePath
from bridge.dies.rate_distribution import (
    DISTRIBUTION,
    SURFACE,
    MeanRate,
    RateDistribution,
    mean_rate,
    quasi_normals,
)
from bridge.dies.rate_surface import RateSurface
from bridge.dies.spread import OF_CELL, OF_TRANSISTOR, Spread
from bridge.dies.spread_write import CellWrite
from bridge.write import DIRECTION_OF_BIT, WriteSetting
from mtjsim.checks import ArgumentError, Array, Suggesting, checked_kind, checked_number, checked_whole
from mtjsim.cylinder import demagnetising_field
from mtjsim.device import MTJ, require_junction
from mtjsim.fokker_planck.reduced import reduced_write, require_axisymmetric, require_unheated
from mtjsim.fokker_planck.spectral import one_blas_thread
from mtjsim.rng import checked_seed, child, generator

CHUNK = 1 << 16  # cells that share one stream of random numbers
SAMPLE = 1 << 13  # quasi-random cells that fix the axes of a surface


@dataclass(frozen=True, eq=False)
class Population(Suggesting):
    """Cells that spread around a nominal one, written by one setting.

    Parameters
    ----------
    device : MTJ or Cell
        The nominal junction, bare or in a cell; axisymmetric (others take seconds a write, and are refused).
    spread : Spread
        Around it, of junction and transistor.
    setting : WriteSetting
        Of currents or of voltages: under a voltage a junction of low resistance takes a larger current. The voltage of
        a bare junction is across it, that of a `Cell` is its supply's. A cell whose circuit cannot carry a regulated
        current is written with what it can carry (paths.py). The two junctions of a differential pair, and their
        transistors, spread independently.
    temperature : float
        Of junction and transistor [K].

    Raises
    ------
    ValueError
        If the device is not axisymmetric or heats itself, or a cell would have no perpendicular anisotropy; if the
        nominal cell cannot be written so (`Cell.operating_point`), or transistors spread that are not there; and, where
        cells are drawn, if one of them exceeds the breakdown voltage of the cell, or its transistor does not conduct.

    Examples
    --------
    >>> device = MTJ.from_effective(thermal_stability=60, critical_current=30e-6, characteristic_time=2e-9)
    >>> setting = WriteSetting(current_0=75e-6, current_1=75e-6, pulse_width=7.45e-9)
    >>> population = Population(device, Spread(diameter_d2d=0.03, damping_d2d=0.05), setting)
    >>> zero, one = population.mean_error_rates()
    >>> print(f"{zero.rate:.3g} {one.error / one.rate < 0.01}")
    0.00168 True
    >>> cells = population.cells(100_000, seed=1)
    >>> cells.error_rates.shape
    (2, 100000)
    """

    device: MTJ | Cell
    spread: Spread
    setting: WriteSetting
    temperature: float = 300.0

    def __post_init__(self) -> None:
        require_junction(self.junction)
        require_unheated(self.junction)
        require_axisymmetric(self.junction)
        checked_kind("spread", self.spread, Spread)
        checked_kind("setting", self.setting, WriteSetting)
        checked_number("temperature", self.temperature, "K", zero_allowed=False)
        if self.cell is not None:
            zero, one = (path.circuit for path in self.paths)
            limit = self.cell.breakdown_voltage
            require_deliverable((zero, one), self.cell.supply_voltage, self.setting, breakdown_voltage=limit)
        elif of_transistor := [name for name in OF_TRANSISTOR if name in self.spread.properties]:
            problem = f"has {of_transistor[0]}_d2d, of a transistor, and the device is a bare junction"
            raise ArgumentError("spread", f"{problem}. Give its Cell.")

    @property
    def cell(self) -> Cell | None:
        """The nominal cell, if there is one."""
        return self.device if isinstance(self.device, Cell) else None

    @property
    def junction(self) -> MTJ:
        """The nominal junction, bare or in a cell."""
        return self.device.device if isinstance(self.device, Cell) else self.device

    @property
    def pairs(self) -> bool:
        """Whether a cell is a differential pair of junctions."""
        return self.cell is not None and self.cell.differential

    @cached_property
    def paths(self) -> tuple[WritePath, ...]:
        """Write paths of a 0 and of a 1; none without a cell."""
        if self.cell is None:
            return ()
        return tuple(WritePath(self.cell, self.setting, bit, self.temperature, self.spread) for bit in (0, 1))

    @property
    def _on_load_line(self) -> bool:
        """Whether the current of a cell changes with the magnetisation as its circuit lets it."""
        return self.cell is not None and self.setting.drive == "voltage" and self.junction.channel_resistance is None

    @property
    def identity(self) -> str:
        """SHA-256 over device, spread, setting and temperature."""
        return hashlib.sha256(json.dumps(self.as_dict(), sort_keys=True).encode()).hexdigest()

    def as_dict(self) -> dict[str, Any]:
        """All that defines the population, ready for JSON."""
        of_cell = {} if self.cell is None else {"junction_identity": self.junction.identity, "layout": self.cell.layout}
        return {
            "device_identity": self.device.identity,
            **of_cell,
            "spread": self.spread.as_dict(),
            "setting": {name: value for name, value in asdict(self.setting).items() if value is not None},
            "temperature": float(self.temperature),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], *, device: MTJ) -> Self:
        """Return the population of an `as_dict` around the `device`; ValueError unless all is as it was."""
        checked_kind("values", values, Mapping, remedy="as_dict() of a Population gives one.")
        if missing := [name for name in ("spread", "setting", "temperature") if name not in values]:
            raise ArgumentError("values", f"must have {', '.join(missing)}, as every Population has.")
        spread, setting = Spread.from_dict(values["spread"]), WriteSetting.from_dict(values["setting"])
        population = cls(device, spread, setting, values["temperature"])
        found = population.as_dict()
        if values.get("device_identity") != found["device_identity"]:
            got = f"{values.get('device_identity')!s:.12}, got {found['device_identity'][:12]}"
            raise ArgumentError("device", f"must be the population's, of identity {got}.")
        if other := [name for name in values if values[name] != found.get(name)]:
            raise ArgumentError("values", f"must be those of a Population, got {other[0]} {values[other[0]]!r}.")
        return population

    # ---- one cell ------------------------------------------------------------------------------------------------

    def coordinates(self, z: Array, bit: int = 0) -> Array:
        """Logarithms of the coordinates of each cell, relative to the nominal one; (n, p) normals -> (n, d).

        See `spread_write.py`; of bare junctions the same for both bits.
        """
        return self._coordinates(self._factors(z), bit)

    def _factors(self, z: Array) -> dict[str, Array]:
        """Value over nominal of every property, (n,) each."""
        return dict.fromkeys(OF_CELL, np.ones(len(z))) | self.spread.factors(z)

    def _coordinates(self, f: Mapping[str, Array], bit: int, current_ratio: Array | None = None) -> Array:
        one = np.ones(len(f["diameter"]))
        volume = f["diameter"] ** 2 * f["thickness"]
        B = self._anisotropy(f)
        stability = f["thermal_stability"] * volume * B
        critical = f["critical_current"] * f["damping"] * volume * B
        alpha, beta = self.junction.damping, self.junction.field_like_ratio
        torque = (1 + alpha * f["damping"] * beta) / (1 + alpha * beta)
        time = f["characteristic_time"] / (f["damping"] * B)
        time = time * (1 + (alpha * f["damping"]) ** 2) / (1 + alpha**2)
        B_cell = B / f["characteristic_time"]
        R = f["resistance_area_product"] / f["diameter"] ** 2
        moment = stability / f["diameter"] ** 2  # 2 xi V/(Ms t_f t_ox B_k): Ms B_k goes with Delta / V
        tmr = f["tunnel_magnetoresistance"]
        if self._on_load_line and self.setting.amplitudes[bit] > 0:
            of_ampere = torque / critical
            currents = self.paths[bit].current_ratios(f) * of_ampere
            return np.log(np.column_stack((stability, *currents, 1 / B_cell, tmr, R / of_ampere, 1 / moment, time)))
        own_channel = self.junction.channel_resistance is not None
        if self.cell is not None:
            current = self.paths[bit].current_ratio(f) if current_ratio is None else current_ratio
            bias = R * current
        else:
            voltage_driven = self.setting.drive == "voltage"
            current = 1 / R if voltage_driven and not own_channel else one
            bias = one if voltage_driven else R
        softening = bias / moment
        return np.log(np.column_stack((stability, current * torque / critical, 1 / B_cell, tmr, bias, softening, time)))

    def _anisotropy(self, f: Mapping[str, Array]) -> Array:
        """B_k over nominal."""
        if self.spread.anisotropy == "net":
            return f["anisotropy"]
        device = self.junction
        Ms, t, d = device.saturation_magnetization, device.thickness, device.diameter
        nominal = demagnetising_field(saturation_magnetization=Ms, aspect_ratio=t / d)
        interface = (device.anisotropy_field + nominal) * f["anisotropy"] / f["thickness"]
        ratio = t / d * f["thickness"] / f["diameter"]
        B_k = interface - demagnetising_field(saturation_magnetization=Ms, aspect_ratio=ratio)
        if not (B_k > 0).all():
            problem = f"leaves {np.mean(B_k <= 0):.2g} of the cells without perpendicular anisotropy"
            remedy = "Give a smaller thickness_d2d or anisotropy_d2d, or anisotropy='net'."
            raise ArgumentError("spread", f"{problem}. {remedy}")
        return B_k / device.anisotropy_field

    def cell_device(self, z: Array) -> MTJ | Cell:
        """Return one cell, (p,) normals, for a direct solve: a junction, or a `Cell` with it.

        A shift of the threshold is that of the word line, in the other direction.
        """
        drawn = self._factors(np.asarray(z, dtype=float)[None])
        B = float(self._anisotropy(drawn)[0])
        f = {name: float(value[0]) for name, value in drawn.items()}
        device, Ms = self.junction, self.junction.saturation_magnetization
        junction = device.with_computed(
            diameter=device.diameter * f["diameter"],
            thickness=device.thickness * f["thickness"],
            saturation_magnetization=Ms * f["thermal_stability"] * f["characteristic_time"],
            anisotropy_field=device.anisotropy_field * B / f["characteristic_time"],
            damping=device.damping * f["damping"],
            spin_torque_efficiency=device.spin_torque_efficiency * f["thermal_stability"] / f["critical_current"],
            resistance_area_product=device.resistance_area_product * f["resistance_area_product"],
            tunnel_magnetoresistance=device.tunnel_magnetoresistance * f["tunnel_magnetoresistance"],
        )
        if self.cell is None:
            return junction
        transistor = self.cell.transistor
        return self.cell.replace(
            device=junction,
            transistor=replace(transistor, drive_per_width=transistor.drive_per_width * f["drive_per_width"]),
            word_line_voltage=self.cell.word_line_voltage - transistor.threshold_voltage * (f["threshold_voltage"] - 1),
        )

    def write(self, bit: int) -> CellWrite:
        """Return the write of a bit in reduced units, for any cell; of a pair, of one of its junctions."""
        direction, s = DIRECTION_OF_BIT[checked_bit(bit)], self.setting
        level, imposed = s.amplitudes[bit], s.drive
        pulse = s.pulse_width, s.rise_time, s.relax_time, self.spread.drive_c2c, self.spread.pulse_width_c2c
        if self.cell is not None and imposed == "voltage":
            circuit = self.paths[bit].circuit
            if self._on_load_line and level > 0:
                plain = replace(s, rise_time=0.0, relax_time=0.0)
                nominal, tau = axial_write(circuit, plain, bit, self.temperature)
                return CellWrite(nominal, tau, *pulse, shapes=self.paths[bit].shapes)
            level, imposed = circuit.largest_current(level), "current"
        nominal, tau = reduced_write(self.junction, direction, level, self.temperature, 0.0, 0.0, imposed)
        return CellWrite(nominal, tau, *pulse)

    # ---- all cells -----------------------------------------------------------------------------------------------

    @cached_property
    def _sample(self) -> Array:
        """Independent standard normals of a quasi-random sample, (n, p)."""
        return quasi_normals(len(self.spread.properties), SAMPLE, child(0, "rate_quadrature", SURFACE))

    @cached_property
    def surfaces(self) -> tuple[RateSurface, RateSurface]:
        """Fitted ln WER of writing a 0 and a 1, of one junction; solved on first use, once."""
        writes = self.write(0), self.write(1)

        def fitted(bit: int) -> RateSurface:
            return RateSurface.fit(writes[bit], writes[bit].relevant(self.coordinates(self._sample, bit)))

        if writes[0] == writes[1] and self.cell is None:
            return (first := fitted(0)), first
        with one_blas_thread(), ThreadPoolExecutor(2) as pool:
            first, second = pool.map(fitted, (0, 1))
        return first, second

    def log_rates(self, bit: int, z: Array) -> Array:
        """Ln WER of cells with standard normals `z` (n, p), by the surface, beyond it by direct solves; (n,).

        Of pairs: of one junction each.
        """
        surface = self.surfaces[checked_bit(bit)]
        return surface.log_rates(surface.write.relevant(self.coordinates(z, bit)))

    def direct_log_rates(self, bit: int, z: Array) -> Array:
        """Ln WER of the same cells, solved one by one: milliseconds each, or tens of them with ramps."""
        write = self.write(bit)
        return write(self.coordinates(z, bit))

    def mean_error_rates(self, *, points: int = 1 << 11, seed: int = 0) -> tuple[MeanRate, MeanRate]:
        """Mean error rate of writing a 0 and a 1 over the population: that of a large memory.

        Parameters
        ----------
        points : int
            Of each of 2 x 16 quasi-random sequences, a power of two.
        seed : int
            Of their scrambling.

        Returns
        -------
        (MeanRate, MeanRate)
            Each with an error estimate.
        """
        zero, one = self.surfaces
        p = len(self.spread.properties)
        seed = checked_seed(seed)

        def mean(bit: int, surface: RateSurface) -> MeanRate:
            write = surface.write
            return mean_rate(surface, lambda z: write.relevant(self.coordinates(z, bit)), p, points=points, seed=seed)

        first = mean(0, zero)
        second = first if one is zero else mean(1, one)
        return mean_of_pairs(first, second) if self.pairs else (first, second)

    def distribution(self, bit: int, *, cells: int = 1 << 16, seed: int = 0) -> RateDistribution:
        """Distribution of the cells' error rates of one bit, over a quasi-random sample of a power of two of cells."""
        p, stream = len(self.spread.properties), child(seed, "rate_quadrature", DISTRIBUTION)
        if not self.pairs:
            return RateDistribution.of(self.log_rates(bit, quasi_normals(p, cells, stream)))
        z = quasi_normals(2 * p, cells, stream)
        of_both = self.log_rates(bit, z[:, :p]), self.log_rates(1 - checked_bit(bit), z[:, p:])
        return RateDistribution.of(np.logaddexp(*of_both) - np.log(2))

    def cells(self, count: int, *, seed: int, workers: int = 2) -> Cells:
        """Draw the cells of a die.

        Parameters
        ----------
        count : int
            Cells.
        seed : int
            Same seed, same cells, whatever `workers`; a larger die begins with the cells of the smaller one.
        workers : int
            Threads.

        Returns
        -------
        Cells
        """
        count = checked_whole("count", count, least=1)
        seed, workers = checked_seed(seed), checked_whole("workers", workers, least=1)
        drawn = self.junctions(2 * count if self.pairs else count, seed=seed, workers=workers)
        return replace(pair_cells(drawn) if self.pairs else drawn, origin=self.as_dict())

    def junctions(self, count: int, *, seed: int, workers: int = 2) -> Cells:
        """Draw junctions with their paths: the cells, or of pairs their junctions, two in turn for each pair."""
        zero, one = self.surfaces
        rates = np.empty((2, count))
        R_p, R_ap, stability = np.empty((3, count))
        p = len(self.spread.properties)
        nominal_stability = self.junction.thermal_stability(self.temperature)

        def of_bit(bit: int, f: Mapping[str, Array], kept: int) -> Array:
            surface, current = self.surfaces[bit], None
            if self.cell is not None:
                current = self.paths[bit].current_ratio(f) if not self._on_load_line else np.ones(CHUNK)
                self.paths[bit].require_intact({name: factor[:kept] for name, factor in f.items()}, current[:kept])
            x = self._coordinates(f, bit, current)
            return np.exp(surface.log_rates(surface.write.relevant(x), kept))

        def fill(chunk: int) -> None:
            z = generator(seed, "d2d", chunk).standard_normal((CHUNK, p))
            part = slice(chunk * CHUNK, min((chunk + 1) * CHUNK, count))
            kept = part.stop - part.start
            f = self._factors(z)
            rates[0, part] = of_bit(0, f, kept)
            rates[1, part] = rates[0, part] if one is zero else of_bit(1, f, kept)
            resistance = self.junction.resistance_p * f["resistance_area_product"] / f["diameter"] ** 2
            R_p[part] = resistance[:kept]
            tmr = self.junction.tunnel_magnetoresistance * f["tunnel_magnetoresistance"]
            R_ap[part] = (resistance * (1 + tmr))[:kept]
            volume = f["diameter"] ** 2 * f["thickness"]
            Delta = nominal_stability * f["thermal_stability"] * volume * self._anisotropy(f)
            stability[part] = Delta[:kept]

        _in_threads(fill, -(-count // CHUNK), workers)
        return Cells(rates, R_p, R_ap, stability)


def _in_threads(work: Callable[[int], None], chunks: int, workers: int) -> None:
    with one_blas_thread(), ThreadPoolExecutor(workers) as pool:
        for _ in pool.map(work, range(chunks)):
            pass
