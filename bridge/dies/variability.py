"""Populations of junctions: the spread from device to device, and the error rates of a memory's cells.

`Spread` (spread.py) declares the spread of each property, `Population` applies it to a junction and a write setting and
gives the mean error rate (`mean_error_rates`), the distribution of cell rates (`distribution`) and the cells of a die
(`cells`), all through one fitted surface of ln WER (rate_surface.py), whose error against direct solves is measured.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np

from bridge.checks import checked_bit
from bridge.dies.rate_distribution import (
    DISTRIBUTION,
    SURFACE,
    MeanRate,
    RateDistribution,
    mean_rate,
    quasi_normals,
)
from bridge.dies.rate_surface import RateSurface
from bridge.dies.spread import PROPERTIES, Spread
from bridge.dies.spread_write import COORDINATES, CellWrite
from bridge.write import DIRECTION_OF_BIT, WriteSetting
from mtjsim.checks import ArgumentError, Array, checked_kind, checked_number, checked_whole
from mtjsim.device import MTJ, demagnetising_field, require_junction
from mtjsim.fokker_planck.reduced import reduced_write, require_axisymmetric, require_unheated
from mtjsim.fokker_planck.spectral import one_blas_thread
from mtjsim.rng import checked_seed, child, generator

CHUNK = 1 << 16  # cells that share one stream of random numbers
SAMPLE = 1 << 13  # quasi-random cells that fix the axes of a surface


@dataclass(frozen=True, eq=False)
class Cells:
    """Properties of the cells of a die, from one draw.

    Attributes
    ----------
    error_rates : (2, n) array
        By bit and cell, as `OperatingPoint.error_rate_0` and `error_rate_1`.
    resistance_p, resistance_ap : (n,) arrays
        At low bias [ohm].
    thermal_stability : (n,) array
        Delta at the population's temperature, for retention and read disturb.
    """

    error_rates: Array
    resistance_p: Array
    resistance_ap: Array
    thermal_stability: Array


@dataclass(frozen=True, eq=False)
class Population:
    """Junctions that spread around a nominal one, written by one setting.

    Parameters
    ----------
    device : MTJ
        The nominal junction; axisymmetric (others take seconds a write, and are refused).
    spread : Spread
        Around it.
    setting : WriteSetting
        Of currents or of voltages: under a voltage a junction of low resistance takes a larger current. A voltage is
        across the junction; the drop over an access transistor is not modelled here.
    temperature : float
        [K].

    Raises
    ------
    ValueError
        If the device is not axisymmetric or heats itself, or a cell would have no perpendicular anisotropy.

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

    device: MTJ
    spread: Spread
    setting: WriteSetting
    temperature: float = 300.0

    def __post_init__(self) -> None:
        require_junction(self.device)
        require_unheated(self.device)
        require_axisymmetric(self.device)
        checked_kind("spread", self.spread, Spread)
        checked_kind("setting", self.setting, WriteSetting)
        checked_number("temperature", self.temperature, "K", zero_allowed=False)

    @property
    def identity(self) -> str:
        """SHA-256 over device, spread, setting and temperature."""
        return hashlib.sha256(json.dumps(self.as_dict(), sort_keys=True).encode()).hexdigest()

    def as_dict(self) -> dict[str, Any]:
        """All that defines the population, ready for JSON."""
        return {
            "device_identity": self.device.identity,
            "spread": self.spread.as_dict(),
            "setting": {name: value for name, value in asdict(self.setting).items() if value is not None},
            "temperature": float(self.temperature),
        }

    # ---- one cell ------------------------------------------------------------------------------------------------

    def coordinates(self, z: Array) -> Array:
        """Logarithms of the coordinates of each cell, relative to the nominal junction; (n, p) normals -> (n, 7).

        See `spread_write.COORDINATES`; the same for both bits.
        """
        one = np.ones(len(z))
        f = dict.fromkeys(PROPERTIES, one) | self.spread.factors(z)
        volume = f["diameter"] ** 2 * f["thickness"]
        B = self._anisotropy(f)
        stability = f["thermal_stability"] * volume * B
        critical = f["critical_current"] * f["damping"] * volume * B
        alpha, beta = self.device.damping, self.device.field_like_ratio
        torque = (1 + alpha * f["damping"] * beta) / (1 + alpha * beta)
        time = f["characteristic_time"] / (f["damping"] * B)
        time = time * (1 + (alpha * f["damping"]) ** 2) / (1 + alpha**2)
        B_cell = B / f["characteristic_time"]
        R = f["resistance_area_product"] / f["diameter"] ** 2
        voltage_driven = self.setting.drive == "voltage"
        own_channel = self.device.channel_resistance is not None
        current = 1 / R if voltage_driven and not own_channel else one
        bias = one if voltage_driven else R
        # 2 xi V/(Ms t_f t_ox B_k): Ms B_k goes with Delta / V
        softening = bias / (stability / f["diameter"] ** 2)
        ratios = (
            stability,
            current * torque / critical,
            1 / B_cell,
            f["tunnel_magnetoresistance"],
            bias,
            softening,
            time,
        )
        return np.log(np.column_stack(ratios))

    def _anisotropy(self, f: Mapping[str, Array]) -> Array:
        """B_k over nominal."""
        if self.spread.anisotropy == "net":
            return f["anisotropy"]
        device = self.device
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

    def cell_device(self, z: Array) -> MTJ:
        """Return the junction of one cell, (p,) normals, for a direct solve."""
        drawn = dict.fromkeys(PROPERTIES, np.ones(1)) | self.spread.factors(np.asarray(z, dtype=float)[None])
        B = float(self._anisotropy(drawn)[0])
        f = {name: float(value[0]) for name, value in drawn.items()}
        device, Ms = self.device, self.device.saturation_magnetization
        return device.with_computed(
            diameter=device.diameter * f["diameter"],
            thickness=device.thickness * f["thickness"],
            saturation_magnetization=Ms * f["thermal_stability"] * f["characteristic_time"],
            anisotropy_field=device.anisotropy_field * B / f["characteristic_time"],
            damping=device.damping * f["damping"],
            spin_torque_efficiency=device.spin_torque_efficiency * f["thermal_stability"] / f["critical_current"],
            resistance_area_product=device.resistance_area_product * f["resistance_area_product"],
            tunnel_magnetoresistance=device.tunnel_magnetoresistance * f["tunnel_magnetoresistance"],
        )

    def write(self, bit: int) -> CellWrite:
        """Return the write of a bit in reduced units, for any cell."""
        direction, s = DIRECTION_OF_BIT[checked_bit(bit)], self.setting
        nominal, tau = reduced_write(self.device, direction, s.amplitudes[bit], self.temperature, 0.0, 0.0, s.drive)
        c2c = self.spread.drive_c2c, self.spread.pulse_width_c2c
        return CellWrite(nominal, tau, s.pulse_width, s.rise_time, s.relax_time, *c2c)

    # ---- all cells -----------------------------------------------------------------------------------------------

    @cached_property
    def _sample(self) -> Array:
        """Independent standard normals of a quasi-random sample, (n, p)."""
        return quasi_normals(len(self.spread.properties), SAMPLE, child(0, "rate_quadrature", SURFACE))

    @cached_property
    def surfaces(self) -> tuple[RateSurface, RateSurface]:
        """Fitted ln WER of writing a 0 and a 1; solved on first use, once."""
        x = self.coordinates(self._sample)
        zero, one = self.write(0), self.write(1)
        first = RateSurface.fit(zero, _relevant(zero, x))
        return first, first if zero == one else RateSurface.fit(one, _relevant(one, x))

    def log_rates(self, bit: int, z: Array) -> Array:
        """Ln WER of cells with standard normals `z` (n, p), by the surface, beyond it by direct solves; (n,)."""
        surface = self.surfaces[checked_bit(bit)]
        return surface.log_rates(_relevant(surface.write, self.coordinates(z)))

    def direct_log_rates(self, bit: int, z: Array) -> Array:
        """Ln WER of the same cells, solved one by one: milliseconds each, or tens of them with ramps."""
        write = self.write(bit)
        return write(self.coordinates(z))

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
        x = self.coordinates
        p = len(self.spread.properties)
        seed = checked_seed(seed)

        def mean(surface: RateSurface) -> MeanRate:
            return mean_rate(surface, lambda z: _relevant(surface.write, x(z)), p, points=points, seed=seed)

        first = mean(zero)
        return first, first if one is zero else mean(one)

    def distribution(self, bit: int, *, cells: int = 1 << 16, seed: int = 0) -> RateDistribution:
        """Distribution of the cells' error rates of one bit, over a quasi-random sample of a power of two of cells."""
        z = quasi_normals(len(self.spread.properties), cells, child(seed, "rate_quadrature", DISTRIBUTION))
        return RateDistribution.of(self.log_rates(bit, z))

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
        zero, one = self.surfaces
        rates = np.empty((2, count))
        R_p, R_ap, stability = np.empty((3, count))
        p = len(self.spread.properties)
        nominal_stability = self.device.thermal_stability(self.temperature)

        def fill(chunk: int) -> None:
            z = generator(seed, "d2d", chunk).standard_normal((CHUNK, p))
            part = slice(chunk * CHUNK, min((chunk + 1) * CHUNK, count))
            kept = part.stop - part.start
            x = self.coordinates(z)
            rates[0, part] = np.exp(zero.log_rates(_relevant(zero.write, x), kept))
            rates[1, part] = rates[0, part] if one is zero else np.exp(one.log_rates(_relevant(one.write, x), kept))
            f = dict.fromkeys(PROPERTIES, np.ones(1)) | self.spread.factors(z)
            resistance = self.device.resistance_p * f["resistance_area_product"] / f["diameter"] ** 2
            R_p[part] = np.broadcast_to(resistance, CHUNK)[:kept]
            tmr = self.device.tunnel_magnetoresistance * f["tunnel_magnetoresistance"]
            R_ap[part] = np.broadcast_to(resistance * (1 + tmr), CHUNK)[:kept]
            stability[part] = (nominal_stability * np.exp(x[:, 0]))[:kept]

        _in_threads(fill, -(-count // CHUNK), workers)
        return Cells(rates, R_p, R_ap, stability)


def _in_threads(work: Callable[[int], None], chunks: int, workers: int) -> None:
    with one_blas_thread(), ThreadPoolExecutor(workers) as pool:
        for _ in pool.map(work, range(chunks)):
            pass


def _relevant(write: CellWrite, x: Array) -> Array:
    """Coordinates without the spread of those that do not affect this write."""
    law = write.nominal.conduction
    silent = {
        "drive": write.nominal.drive == 0,
        "field": write.nominal.field == 0,
        "tmr": law is None or law.tunnel_magnetoresistance == 0,
        "bias": law is None or law.bias == 0,
        "softening": law is None or law.softening == 0,
    }
    x = x.copy()
    x[:, [COORDINATES.index(name) for name, is_silent in silent.items() if is_silent]] = 0.0
    return x
