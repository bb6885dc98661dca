"""Reads and retention of a cell: wrong sensing, read disturb, loss of the bit with time.

A read puts a small voltage on the junction, or on the bit line of a cell, and compares the current with a reference
halfway between those of the two states of the nominal cell; a differential pair compares its two junctions. It is wrong
where noise and spread exceed the margin (sensing.py), and it may turn the layer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Self

import numpy as np
from scipy.interpolate import PchipInterpolator

from bridge.cell.cell import Cell
from bridge.cell.cell_write import driven_write
from bridge.checks import STATED, checked_declaration, checked_stated, with_digest
from bridge.dies.spread import LARGEST_DEPARTURE, Spread
from bridge.memory.sensing import wrong_sense_rate
from bridge.write import M_Z_OF_BIT, inverted_identity
from mtjsim.calls import shows_its_call
from mtjsim.checks import (
    ArgumentError,
    Array,
    Suggesting,
    checked_choice,
    checked_fields,
    checked_kind,
    checked_number,
    checked_probability,
)
from mtjsim.device import MTJ, require_junction
from mtjsim.fokker_planck.axial_hold import log_switched
from mtjsim.fokker_planck.spectral import one_blas_thread
from mtjsim.holding import read_disturb_rate, retention_failure_rate
from mtjsim.plausibility import doubt
from mtjsim.transport import conductance_ratio

STATES = ("p", "ap")  # of bit 0 and of bit 1
NODES = 65  # stabilities that are solved; more are interpolated


@dataclass(frozen=True, kw_only=True)
class ReadSetting(Suggesting):
    """How a cell is read.

    Parameters
    ----------
    voltage : float
        On the junction, or of a cell on its bit line, before driver and transistor [V], > 0.
    duration : float
        Of the read pulse [s], > 0.
    disturbs : {"ap", "p"}
        The state that the read current destabilises: "ap" if it flows as when a 0 is written.
    sense_noise : float
        Standard deviation of the sense amplifier's offset and noise, as a current at its input [A].
    resistance_d2d : float
        Relative standard deviation of the cells' resistance against the reference's.
    sense_energy : float
        Of the sense amplifier, a bit [J].
    tunnel_magnetoresistance_d2d, drive_per_width_d2d, threshold_voltage_d2d : float
        The same of the TMR, and of the transistor of a cell, as in `Spread`, whose law of cells all four follow.

    Raises
    ------
    ValueError
        If a value is out of its range.
    """

    voltage: float
    duration: float
    disturbs: str = "ap"
    sense_noise: float = 0.0
    resistance_d2d: float = 0.0
    sense_energy: float = 0.0
    tunnel_magnetoresistance_d2d: float = 0.0
    drive_per_width_d2d: float = 0.0
    threshold_voltage_d2d: float = 0.0

    def __post_init__(self) -> None:
        checked_fields(self, voltage="V", duration="s")
        checked_fields(self, zero_allowed=True, sense_noise="A", resistance_d2d="", sense_energy="J")
        checked_choice("disturbs", self.disturbs, STATES)
        doubt("voltage", self.voltage)
        doubt("read_duration", self.duration, name="duration")
        try:
            _ = self.spread
        except ArgumentError as error:  # its name here
            name = error.argument.replace("resistance_area_product", "resistance")
            raise ArgumentError(name, error.problem) from None

    @property
    def spread(self) -> Spread:
        """Spread of the cells, the resistance's as that of RA."""
        own = {f.name: getattr(self, f.name) for f in fields(self) if f.name.endswith("_d2d")}
        return Spread(resistance_area_product_d2d=own.pop("resistance_d2d"), **own)


@dataclass(frozen=True, kw_only=True)
class ReadPoint(Suggesting):
    """Errors, disturbs, energy and latency of a read.

    Attributes
    ----------
    error_rate_0, error_rate_1 : float
        Probability that a stored 0 (1) is sensed as the other bit; the cell keeps it.
    disturb_rate_0, disturb_rate_1 : float
        Probability that a stored 0 (1) is the other bit after the read.
    energy_0, energy_1 : float
        In the junction, or in both of a pair [J].
    sense_energy : float
        In the sense amplifier, a bit [J].
    transistor_energy_0, transistor_energy_1, driver_energy_0, driver_energy_1 : float
        In transistor and driver of the read path of a cell [J].
    latency : float
        [s].
    setting : ReadSetting or None
        None if the rates were given and not derived.
    device_identity : str
        `MTJ.identity`, or of a cell `Cell.identity`; "" if the rates were given.
    temperature : float
        [K].

    Raises
    ------
    ValueError
        If a rate is outside [0, 1], an energy or the latency is negative, or the temperature is not > 0 K.
    """

    error_rate_0: float = 0.0
    error_rate_1: float = 0.0
    disturb_rate_0: float = 0.0
    disturb_rate_1: float = 0.0
    energy_0: float = 0.0
    energy_1: float = 0.0
    sense_energy: float = 0.0
    latency: float = 0.0
    setting: ReadSetting | None = None
    device_identity: str = ""
    temperature: float = 300.0
    transistor_energy_0: float = 0.0
    transistor_energy_1: float = 0.0
    driver_energy_0: float = 0.0
    driver_energy_1: float = 0.0

    def __post_init__(self) -> None:
        for name in ("error_rate_0", "error_rate_1", "disturb_rate_0", "disturb_rate_1"):
            object.__setattr__(self, name, checked_probability(name, getattr(self, name)))
        checked_fields(self, zero_allowed=True, energy_0="J", energy_1="J", sense_energy="J", latency="s")
        checked_fields(self, zero_allowed=True, transistor_energy_0="J", transistor_energy_1="J")
        checked_fields(self, zero_allowed=True, driver_energy_0="J", driver_energy_1="J")
        checked_fields(self, temperature="K")
        checked_kind("device_identity", self.device_identity, str)
        if self.setting is not None:
            checked_kind("setting", self.setting, ReadSetting)

    def with_inverted_bits(self) -> Self:
        """Return the reads of a memory that stores each bit inverted, as `OperatingPoint.with_inverted_bits`."""
        pairs = ("error_rate", "disturb_rate", "energy", "transistor_energy", "driver_energy")
        swapped = {f"{name}_{bit}": getattr(self, f"{name}_{1 - bit}") for name in pairs for bit in (0, 1)}
        return replace(self, **swapped, device_identity=inverted_identity(self.device_identity))

    def as_dict(self) -> dict[str, Any]:
        """All attributes, and `sha256` over all of them, ready for JSON."""
        return with_digest(asdict(self))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return the read point of an `as_dict`, also after JSON.

        ValueError as in `ReadPoint`, for another name, or if a `sha256` is given and is not that of the other values.
        """
        checked_kind("values", values, Mapping, remedy="as_dict() of a ReadPoint gives one.")
        parts = checked_declaration(cls, {name: value for name, value in values.items() if name not in STATED})
        if parts.get("setting") is not None:
            parts["setting"] = ReadSetting(**checked_declaration(ReadSetting, parts["setting"]))
        point = cls(**parts)
        checked_stated(point.as_dict(), values)
        return point


@shows_its_call
def read_point(device: MTJ | Cell, setting: ReadSetting, *, temperature: float = 300.0) -> ReadPoint:
    """Derive the errors, disturbs and energy of a read of a junction, bare or in a cell.

    Parameters
    ----------
    device : MTJ or Cell
        An axisymmetric junction, whose read disturb can be solved (`mtjsim.read_disturb_rate`); in a cell, it is read
        through driver and transistor, whose current `Cell.read_current` is, and a pair as two. For any other, give a
        `ReadPoint` with rates of your own.
    setting : ReadSetting
    temperature : float
        Of junction and transistor [K].

    Returns
    -------
    ReadPoint

    Raises
    ------
    ValueError
        As in `mtjsim.read_disturb_rate`; for a spread of the transistor without a cell; if the transistor has no law
        for the temperature.

    Notes
    -----
    With I_b(z) the current of a cell that holds b, its layer at rest, its resistance and what else spreads drawn as
    `Population` draws it, and the nominal reference (I_0 + I_1)/2, a stored b is sensed wrongly where I_b(z) plus the
    noise is on the other side; of a pair, where the junction that holds 0 plus the noise has the smaller current. The
    spread is drawn at each read, which is right for the mean over cells and not for one cell's life. The state that the
    read current holds in place is taken never to be disturbed; of a pair, one junction is in the other state. In a cell
    the current changes with the magnetisation as the circuit lets it (`Circuit`), while the layer is disturbed too.

    Examples
    --------
    >>> device = MTJ.from_effective(thermal_stability=60, critical_current=30e-6, characteristic_time=2e-9)
    >>> point = read_point(device, ReadSetting(voltage=0.1, duration=5e-9, sense_noise=1e-6))
    >>> print(f"{point.error_rate_0:.1e} {point.disturb_rate_1:.1e} {point.energy_0 * 1e15:.0f} fJ")
    2.9e-07 3.7e-14 10 fJ
    """
    checked_kind("setting", setting, ReadSetting)
    cell = device if isinstance(device, Cell) else None
    if cell is None:
        require_junction(device)
        if setting.drive_per_width_d2d or setting.threshold_voltage_d2d:
            name = "drive_per_width_d2d" if setting.drive_per_width_d2d else "threshold_voltage_d2d"
            raise ArgumentError(name, "is of a transistor, and the device is a bare junction. Give its Cell.")
        current, disturb, powers = _bare_read(device, setting, temperature)  # type: ignore[arg-type]
    else:
        current, disturb, powers = _cell_read(cell, setting, temperature)
    pair = cell is not None and cell.differential
    disturbs = [disturb if state == setting.disturbs else 0.0 for state in STATES]
    joules = setting.duration * np.array(powers)  # [bit, part]
    if pair:
        disturbs, joules = [disturb / 2] * 2, np.stack([joules.sum(axis=0)] * 2)
    errors = _wrong_senses(current, setting, pair)
    return ReadPoint(
        error_rate_0=errors[0],
        error_rate_1=errors[1],
        disturb_rate_0=disturbs[0],
        disturb_rate_1=disturbs[1],
        energy_0=float(joules[0, 0]),
        energy_1=float(joules[1, 0]),
        sense_energy=setting.sense_energy,
        latency=setting.duration,
        setting=setting,
        device_identity=device.identity,
        temperature=float(temperature),
        transistor_energy_0=float(joules[0, 1]),
        transistor_energy_1=float(joules[1, 1]),
        driver_energy_0=float(joules[0, 2]),
        driver_energy_1=float(joules[1, 2]),
    )


Current = Callable[[int, Mapping[str, Array]], Array]  # of a bit, and of the factors of what spreads [A]


def _bare_read(device: MTJ, setting: ReadSetting, temperature: float) -> tuple[Current, float, list[list[float]]]:
    """Return the current of a junction, its read disturb, and the power [bit][part] [W]."""
    V, half = setting.voltage, device.tmr_half_voltage or np.inf

    def current(bit: int, f: Mapping[str, Array]) -> Array:
        tmr = device.tunnel_magnetoresistance * f["tunnel_magnetoresistance"]
        ratio = conductance_ratio(np.array(M_Z_OF_BIT[bit]), tmr, V / half)
        return V * ratio / (device.resistance_p * f["resistance_area_product"])

    limits: dict[str, Any] = {"duration": setting.duration, "state": setting.disturbs, "temperature": temperature}
    disturb = float(read_disturb_rate(device, voltage=V, **limits))
    return current, disturb, [[V * float(current(bit, _NOMINAL)[0]), 0.0, 0.0] for bit in (0, 1)]


def _cell_read(cell: Cell, setting: ReadSetting, temperature: float) -> tuple[Current, float, list[list[float]]]:
    """Return the same of a cell, through the circuit of its read path."""
    path, V = cell.read_circuit(temperature=temperature), setting.voltage
    V_T = (cell.read_transistor or cell.transistor).threshold_voltage

    def current(bit: int, f: Mapping[str, Array]) -> Array:
        cells = replace(
            path,
            resistance=f["resistance_area_product"],
            tunnel_magnetoresistance=f["tunnel_magnetoresistance"],
            drive=f["drive_per_width"],
            threshold_shift=V_T * (f["threshold_voltage"] - 1),
        )
        return cells.driven_by_voltage(M_Z_OF_BIT[bit], V)[0]

    stored = STATES.index(setting.disturbs)
    write, tau = driven_write(path, V, 1 - stored, temperature)
    with one_blas_thread():
        disturb = float(np.exp(log_switched(write, np.array([setting.duration / tau]), tau=tau))[0])
    powers = []
    for bit in (0, 1):
        I, load, across = (float(part) for part in path.driven_by_voltage(M_Z_OF_BIT[bit], V))
        powers.append([I * load, I * across, I * I * path.driver_resistance])
    return current, disturb, powers


_READ_PROPERTIES = ("resistance_area_product", "tunnel_magnetoresistance", "drive_per_width", "threshold_voltage")
_NOMINAL = dict.fromkeys(_READ_PROPERTIES, np.ones(1))


def _wrong_senses(current: Current, setting: ReadSetting, pair: bool) -> list[float]:
    """Probability that a stored 0 and a stored 1 are sensed wrongly."""
    spread, noise = setting.spread, setting.sense_noise
    p = len(spread.properties)
    zero, one = (float(current(bit, _NOMINAL)[0]) for bit in (0, 1))
    if zero == one:
        return [0.5, 0.5]  # the states cannot be told apart

    def cells(bit: int, z: Array) -> Array:
        drawn = spread.factors(z)  # cut at both ends, as the cells of a die are from 8 standard deviations on
        kept = {name: np.clip(f, 1 - LARGEST_DEPARTURE, 1 + LARGEST_DEPARTURE) for name, f in drawn.items()}
        return current(bit, dict.fromkeys(_READ_PROPERTIES, np.ones(len(z))) | kept)

    def noisy(z: Array) -> Array:
        return noise * z[:, -1] if noise else np.zeros(len(z))

    if pair:
        rate = wrong_sense_rate(
            lambda z: cells(0, z[:, :p]) - cells(1, z[:, p : 2 * p]) + noisy(z), 2 * p + (noise > 0)
        )
        return [rate, rate]
    reference = (zero + one) / 2
    return [
        wrong_sense_rate(lambda z, b=b, s=s: s * (cells(b, z[:, :p]) - reference) + noisy(z), p + (noise > 0))  # type: ignore[misc]
        for b, s in ((0, 1.0), (1, -1.0))
    ]


@dataclass(frozen=True)
class Retention(Suggesting):
    """Probability that a cell loses its bit while it is left alone.

    Parameters
    ----------
    device : MTJ or Cell
        An axisymmetric junction, bare or in a cell: at rest its circuit does not matter, but a differential pair has
        two junctions, one of each state. Where one of them is lost, the pair reads as either bit with equal chance.
    temperature : float
        At which the cells are left alone [K]; it may differ from that of writes and reads.

    Examples
    --------
    >>> device = MTJ.from_effective(thermal_stability=40, critical_current=30e-6, characteristic_time=2e-9)
    >>> print(*(f"{rate:.1e}" for rate in Retention(device, temperature=330.0).rates(3600.0)))
    9.6e-04 9.6e-04
    """

    device: MTJ | Cell
    temperature: float = 300.0
    _known: dict[float, tuple[float, float]] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        require_junction(self.junction)
        object.__setattr__(
            self, "temperature", checked_number("temperature", self.temperature, "K", zero_allowed=False)
        )
        doubt("temperature", self.temperature)

    @property
    def junction(self) -> MTJ:
        """The junction, bare or in a cell."""
        return self.device.device if isinstance(self.device, Cell) else self.device

    @property
    def pairs(self) -> bool:
        """Whether a bit is stored in two junctions."""
        return isinstance(self.device, Cell) and self.device.differential

    def rates(self, duration: float) -> tuple[float, float]:
        """Probability that a 0 and that a 1 is the other bit after `duration` [s]."""
        if duration not in self._known:
            both = [
                float(retention_failure_rate(self.junction, duration=duration, state=s, temperature=self.temperature))
                for s in STATES
            ]
            self._known[duration] = ((both[0] + both[1]) / 2,) * 2 if self.pairs else (both[0], both[1])
        return self._known[duration]

    def rates_of(self, duration: float, stability: Array) -> Array:
        """Return the same for cells whose Delta is the device's times `stability`; (2, k), by bit and cell.

        `stability` is (k,); of the pairs of a die it is (2, k), by junction, the first of which holds the bit.


        The moment of the layer differs (the attempt time is the device's). Up to 65 values are solved one by
        one; more are interpolated in ln rate between 65, to better than 1 % where they span a factor of two.
        """
        of_each = np.asarray(stability, dtype=float)
        if of_each.ndim == 2:
            single = replace(self, device=self.junction, _known={})
            first, second = (single.rates_of(duration, of_junction) for of_junction in of_each)
            return (first + second[::-1]) / 2
        nodes, place = np.unique(of_each, return_inverse=True)
        solved = nodes if nodes.size <= NODES else np.linspace(nodes[0], nodes[-1], NODES)
        Ms = self.junction.saturation_magnetization
        rates = np.array(
            [replace(self, device=self._in_place(Ms * f), _known={}).rates(duration) for f in solved]
        ).reshape(-1, 2)
        if nodes.size > NODES:
            rates = np.exp(PchipInterpolator(solved, np.log(np.maximum(rates, 1e-300)))(nodes))
        return np.minimum(rates, 1.0).T[:, place]

    def _in_place(self, Ms: float) -> MTJ | Cell:
        junction = self.junction.with_computed(saturation_magnetization=Ms)
        return self.device.replace(device=junction) if isinstance(self.device, Cell) else junction
