"""Write settings and operating points: the error rates and energies of a write, all that a network takes of a junction.

Bit 1 is AP (high resistance), bit 0 is P. Writing a 1 drives P->AP, writing a 0 drives AP->P.
"""

from __future__ import annotations

import hashlib
import html
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np
from scipy.special import roots_legendre

from bridge.checks import STATED, checked_declaration, checked_or_unknown, checked_stated, with_digest
from mtjsim.calls import shows_its_call
from mtjsim.checks import (
    ArgumentError,
    Array,
    Direction,
    Suggesting,
    checked_array,
    checked_fields,
    checked_kind,
    checked_probability,
    checked_ramps,
)
from mtjsim.device import MTJ
from mtjsim.energy import dissipated_energy
from mtjsim.equality import NanEqual
from mtjsim.plausibility import doubt
from mtjsim.pulse import UNITS, Drive
from mtjsim.switching import write_error_rate
from mtjsim.transport import conductance_terms, junction_resistance

DIRECTION_OF_BIT: dict[int, Direction] = {0: "ap_to_p", 1: "p_to_ap"}
M_Z_OF_BIT = {0: 1.0, 1: -1.0}
MEASURED = "measured "  # begins the identity of a point of a measured map
PARTS = ("junction", "transistor", "driver")  # that dissipate the energy of a write
INVERTED = ", a 1 stored as P"  # ends the identity of the device of a point with inverted bits


@dataclass(frozen=True, kw_only=True, init=False)
class WriteSetting(Suggesting):
    """What the write driver receives: an amplitude for each bit value, two currents or two voltages, and one pulse.

    Parameters
    ----------
    current_0, current_1 : float
        Amplitude that writes a 0 (AP->P) and a 1 (P->AP) [A], >= 0; None in a setting of voltages.
    voltage_0, voltage_1 : float
        In their place [V]: across the junction (the channel, of three terminals), or, of a `Cell`, the supply of its
        driver.
    pulse_width : float
        Full width at half maximum [s], > 0.
    rise_time : float
        Of each linear ramp [s], at most the pulse width.
    relax_time : float
        Time at zero current before the bit is judged [s].
    current, voltage : float, optional
        One amplitude for both bits, in place of the pair.

    Raises
    ------
    ValueError
        If a value is not finite or out of its range, or the amplitudes are not exactly one pair.

    Examples
    --------
    >>> WriteSetting(current=60e-6, pulse_width=10e-9).amplitudes
    (6e-05, 6e-05)
    >>> WriteSetting(voltage_0=0.4, voltage_1=0.6, pulse_width=10e-9).drive
    'voltage'
    """

    # `| Any` in place of `| None`: code for one drive need not prove to the type checker that its pair is there
    current_0: float | Any = None
    current_1: float | Any = None
    pulse_width: float
    rise_time: float = 0.0
    relax_time: float = 0.0
    voltage_0: float | Any = None
    voltage_1: float | Any = None

    def __init__(
        self,
        *,
        pulse_width: float,
        current_0: float | None = None,
        current_1: float | None = None,
        voltage_0: float | None = None,
        voltage_1: float | None = None,
        rise_time: float = 0.0,
        relax_time: float = 0.0,
        current: float | None = None,
        voltage: float | None = None,
    ) -> None:
        pairs = {"current": [current_0, current_1], "voltage": [voltage_0, voltage_1]}
        for drive, both in (("current", current), ("voltage", voltage)):
            if both is not None and pairs[drive] != [None, None]:
                raise ArgumentError(drive, f"is for both bits: leave {drive}_0 and {drive}_1 out, or give these two.")
            pairs[drive] = pairs[drive] if both is None else [both, both]
        for drive, pair in pairs.items():
            for bit in (0, 1):
                object.__setattr__(self, f"{drive}_{bit}", pair[bit])
        for name, value in (("pulse_width", pulse_width), ("rise_time", rise_time), ("relax_time", relax_time)):
            object.__setattr__(self, name, value)
        self._check()

    def _check(self) -> None:
        amplitudes = ("current_0", "current_1", "voltage_0", "voltage_1")
        given = tuple(name for name in amplitudes if getattr(self, name) is not None)
        if given not in (amplitudes[:2], amplitudes[2:]):
            pair = (
                "exactly one pair of amplitudes, current_0 and current_1 [A] or voltage_0 and voltage_1 [V], or one "
                "for both bits, current or voltage"
            )
            raise ValueError(f"give {pair}; got {' and '.join(given) or 'none'}.")
        checked_fields(self, zero_allowed=True, **{name: UNITS[name[:-2]] for name in given})
        checked_fields(self, pulse_width="s")
        checked_fields(self, zero_allowed=True, rise_time="s", relax_time="s")
        checked_ramps(self.rise_time, self.pulse_width)
        for name in (*given, "pulse_width", "rise_time", "relax_time"):
            doubt(name.removesuffix("_0").removesuffix("_1"), getattr(self, name), name=name)

    @classmethod
    def of_drive(cls, drive: Drive, amplitudes: tuple[float, float], **pulse: float) -> Self:
        """Return the setting with amplitudes (for 0, for 1) of a "current" [A] or a "voltage" [V]."""
        return cls(**{f"{drive}_0": amplitudes[0], f"{drive}_1": amplitudes[1]}, **pulse)

    @property
    def drive(self) -> Drive:
        """Kind of the amplitudes, "current" or "voltage"."""
        return "current" if self.voltage_0 is None else "voltage"

    @property
    def amplitudes(self) -> tuple[float, float]:
        """Of a 0 and of a 1 [A] or [V]."""
        return getattr(self, f"{self.drive}_0"), getattr(self, f"{self.drive}_1")

    @property
    def latency(self) -> float:
        """From the start of the rising ramp until the bit is judged: width + one ramp + relaxation [s]."""
        return self.pulse_width + self.rise_time + self.relax_time

    def as_dict(self) -> dict[str, float]:
        """Return the numbers of the setting, without the pair of amplitudes that is not used."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return the setting of an `as_dict`, also after JSON; ValueError as in `WriteSetting`, or for another name."""
        return cls(**checked_declaration(cls, values))


@dataclass(frozen=True, kw_only=True, eq=False)
class OperatingPoint(NanEqual):
    """Error rates, energies and latency of the writes of one setting. It crosses from the device to the network.

    Attributes
    ----------
    error_rate_0, error_rate_1 : float
        Probability that a cell that is written to 0 (1) keeps the opposite bit, given that it held the opposite bit.
    energy_0, energy_1 : float
        Mean Joule energy in the junction of such a write [J]; device only, without transistor, driver and lines.
    latency : float
        [s], see `WriteSetting.latency`.
    setting : WriteSetting or None
        The amplitudes and the pulse; None where the rates were given (`of_rates`).
    device_identity : str
        `MTJ.identity` of the junction, `Cell.identity` of a cell, or where given rates come from.
    temperature : float
        Of junction and transistor [K].
    junction_identity : str
        `MTJ.identity` of the junction of a cell; "" without a cell.
    layout : str
        `Cell.layout`, such as "1T-1MTJ"; "" without a cell.
    energies : dict of str to (2, 2) array
        Mean joules of a pulse by part, "junction", "transistor", "driver", indexed [bit, kept]: kept = 0 is the write
        above, kept = 1 a pulse on a cell that holds the bit already, whose layer rests in its well [J]. Transistor and
        driver are 0 without a cell. Left out: the junction's are energy_0 and energy_1 in both columns. NaN is
        an unknown energy (a map without energies).

    Raises
    ------
    ValueError
        If a rate is not in [0, 1]; an energy or the latency is negative or not finite (an energy may be NaN: unknown);
        the temperature is not > 0 K; or `energies` are not (2, 2) arrays of numbers >= 0 or NaN that agree with
        energy_0 and energy_1.
    """

    error_rate_0: float
    error_rate_1: float
    energy_0: float
    energy_1: float
    latency: float
    setting: WriteSetting | Any
    device_identity: str
    temperature: float
    energies: Mapping[str, Array] = field(default_factory=dict, compare=False)  # follows from device and setting
    junction_identity: str = ""
    layout: str = ""

    def __post_init__(self) -> None:
        for name in ("error_rate_0", "error_rate_1"):
            object.__setattr__(self, name, checked_probability(name, getattr(self, name)))
        checked_or_unknown(self, energy_0="J", energy_1="J")
        checked_fields(self, zero_allowed=True, latency="s")
        checked_fields(self, temperature="K")
        if self.setting is not None:
            checked_kind(
                "setting", self.setting, WriteSetting, remedy="WriteSetting.from_dict(...) makes one of a dict."
            )
        checked_kind("device_identity", self.device_identity, str)
        junction = np.array([[self.energy_0] * 2, [self.energy_1] * 2], dtype=float)
        checked_kind("energies", self.energies, Mapping, remedy="A part and its (2, 2) array [bit, kept] are an item.")
        given = {"junction": junction} | dict(self.energies)
        if set(given) - set(PARTS):
            raise ArgumentError("energies", f"must be of {', '.join(PARTS)}, got {', '.join(given)}.")
        energies = {}
        for part in PARTS:
            table = np.array(given.get(part, np.zeros((2, 2))), dtype=float)
            if table.shape != (2, 2):
                raise ArgumentError(f"energies[{part!r}]", f"must be a (2, 2) array [bit, kept], got {table.shape}.")
            checked_array(f"energies[{part!r}]", np.where(np.isnan(table), 0.0, table), "J", zero_allowed=True)
            table.flags.writeable = False
            energies[part] = table
        if not np.array_equal(energies["junction"][:, 0], junction[:, 0], equal_nan=True):
            got = f"{energies['junction'][:, 0]} and {junction[:, 0]} J: leave `energies` out, or change both"
            raise ArgumentError("energies['junction'][:, 0]", f"must be energy_0 and energy_1, got {got}.")
        object.__setattr__(self, "energies", energies)

    @classmethod
    def of_rates(
        cls,
        *,
        error_rate_0: float,
        error_rate_1: float,
        energy_0: float = 0.0,
        energy_1: float = 0.0,
        latency: float = 0.0,
        temperature: float = 300.0,
        energies: Mapping[str, Array] | None = None,
        source: str = "by hand",
    ) -> Self:
        """Return the operating point of rates that were typed or measured.

        Parameters
        ----------
        error_rate_0, error_rate_1 : float
            In [0, 1], as the attributes.
        energy_0, energy_1, latency, temperature, energies
            As the attributes; 0 J and 0 s unless given, so that a ledger of such a point counts writes and no joules.
            Energies of NaN are unknown, and so are then the totals of a ledger.
        source : str
            Where the rates come from; kept in `device_identity`. The `setting` is None.

        Raises
        ------
        ValueError
            If a rate is not in [0, 1], or a number not finite or negative.

        Examples
        --------
        >>> OperatingPoint.of_rates(error_rate_0=1e-3, error_rate_1=2e-3).device_identity
        'rates given by hand'
        """
        return cls(
            error_rate_0=error_rate_0,
            error_rate_1=error_rate_1,
            energy_0=energy_0,
            energy_1=energy_1,
            latency=latency,
            temperature=temperature,
            setting=None,
            device_identity=f"rates given {source}",
            energies=energies or {},
        )

    def __repr__(self) -> str:
        rates = f"error_rate_0={self.error_rate_0:.3g}, error_rate_1={self.error_rate_1:.3g}"
        priced = self.energy_0 or self.energy_1
        energies = f"{self.energy_0 * 1e15:.4g} and {self.energy_1 * 1e15:.4g} fJ, {self.latency * 1e9:.4g} ns"
        origin = self.device_identity if self.setting is None else _amplitudes_as_text(self.setting)
        return f"OperatingPoint({rates}{', ' + energies if priced else ''}, {origin}, {self.temperature:g} K)"

    def _repr_html_(self) -> str:
        """Return a table for notebooks: a row for each bit."""
        rows = "".join(
            f"<tr><td>{bit}</td><td>{rate:.3g}</td><td>{energy * 1e15:.4g}</td></tr>"
            for bit, rate, energy in ((0, self.error_rate_0, self.energy_0), (1, self.error_rate_1, self.energy_1))
        )
        origin = self.device_identity if self.setting is None else _amplitudes_as_text(self.setting)
        caption = f"OperatingPoint: {html.escape(origin)}, {self.temperature:g} K, latency {self.latency * 1e9:.4g} ns"
        head = "<tr><th>bit</th><th>error rate</th><th>energy in the junction (fJ)</th></tr>"
        return f"<table><caption>{caption}</caption>{head}{rows}</table>"

    @property
    def mean_error_rate(self) -> float:
        """Of a write whose bit is 0 or 1 with equal chance, and differs from the bit that the cell held."""
        return (self.error_rate_0 + self.error_rate_1) / 2

    @property
    def inverts(self) -> bool:
        """Whether a cell that held the opposite bit holds the inverse of the written bit more often than the bit.

        Then error_rate_0 + error_rate_1 > 1: what is read is anticorrelated with what was written.
        """
        return self.error_rate_0 + self.error_rate_1 > 1

    @property
    def worst_error_rate(self) -> float:
        """Of the direction that fails more often."""
        return max(self.error_rate_0, self.error_rate_1)

    @property
    def mean_energy(self) -> float:
        """Of the same write as `mean_error_rate`, in the junction [J]."""
        return (self.energy_0 + self.energy_1) / 2

    @property
    def mean_energy_with_driver(self) -> float:
        """Of the same write, in junction, transistor and driver together [J]; without a cell, the junction's."""
        return float(sum(self.energies.values())[:, 0].mean())  # type: ignore[index]

    @property
    def differential(self) -> bool:
        """Whether a cell is a pair of junctions, written one each way."""
        return "-2MTJ" in self.layout

    @property
    def solved(self) -> bool:
        """Whether the rates are those of a junction or a cell, and not given or measured."""
        return self.setting is not None and not self.device_identity.startswith(MEASURED)

    @property
    def identity(self) -> str:
        """SHA-256 over device, setting and temperature: equal identities, the same write of the same junction.

        The rates follow from these, to the accuracy of the solver or the map. Given rates are part of it themselves.
        """
        parts: list[Any] = [self.device_identity, self.temperature]
        if self.setting is not None:
            parts.insert(1, self.setting.as_dict())
        else:  # only the numbers identify them
            parts += [self.error_rate_0, self.error_rate_1, self.latency, _as_lists(self.energies)]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def with_inverted_bits(self) -> Self:
        """Return the point of a memory that stores each bit inverted, a 1 as P and a 0 as AP.

        Rates, energies and amplitudes of the two bits change places. `device_identity` says so, and no dies can be
        drawn for it. A network that writes more zeros than ones may need less energy so: the two directions differ.

        Examples
        --------
        >>> point = OperatingPoint.of_rates(error_rate_0=1e-3, error_rate_1=2e-3, energy_0=3e-13, energy_1=1e-13)
        >>> inverted = point.with_inverted_bits()
        >>> inverted.error_rate_0, inverted.energy_0, inverted.with_inverted_bits() == point
        (0.002, 1e-13, True)
        """
        setting = self.setting
        if setting is not None:
            pulse = {name: getattr(setting, name) for name in ("pulse_width", "rise_time", "relax_time")}
            setting = WriteSetting.of_drive(setting.drive, setting.amplitudes[::-1], **pulse)
        return replace(
            self,
            error_rate_0=self.error_rate_1,
            error_rate_1=self.error_rate_0,
            energy_0=self.energy_1,
            energy_1=self.energy_0,
            setting=setting,
            device_identity=inverted_identity(self.device_identity),
            energies={part: table[::-1] for part, table in self.energies.items()},
        )

    def as_dict(self) -> dict[str, Any]:
        """All attributes, the identity, and `sha256` over all of them, ready for JSON; an unknown energy is None."""
        setting = None if self.setting is None else self.setting.as_dict()
        numbers = {**asdict(self), "setting": setting, "energies": _as_lists(self.energies), "identity": self.identity}
        return with_digest(_with(numbers, lambda x: None if x is None or math.isnan(x) else x))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return the operating point of an `as_dict`, also after JSON, of an equal identity.

        Raises
        ------
        ValueError
            As in `OperatingPoint`; for another name or a missing one; if an `identity` is given, and it or the `sha256`
            next to it is not that of the other values. A record of before 0.6.0 has no `sha256`: its rates are taken
            as they are. So are all values of a record without an `identity`.

        Examples
        --------
        >>> point = OperatingPoint.of_rates(error_rate_0=1e-3, error_rate_1=2e-3)
        >>> OperatingPoint.from_dict(json.loads(json.dumps(point.as_dict()))) == point
        True
        """
        checked_kind("values", values, Mapping, remedy="as_dict() of an OperatingPoint gives one.")
        rest = {name: value for name, value in values.items() if name not in STATED}
        parts = checked_declaration(cls, rest)
        unknown = {name: math.nan for name in ("energy_0", "energy_1") if parts[name] is None}
        checked_kind("energies", parts.get("energies", {}), Mapping)
        energies = _with(dict(parts.get("energies", {})), lambda x: math.nan if x is None else x)
        setting = None if parts["setting"] is None else WriteSetting.from_dict(parts["setting"])
        point = cls(**{**parts, **unknown, "energies": energies, "setting": setting})
        if values.get("identity") is not None:
            checked_stated(point.as_dict(), values)
        return point


def inverted_identity(device_identity: str) -> str:
    """Return the identity of a device whose bits are stored inverted, or of an inverted one as it was."""
    if device_identity.endswith(INVERTED):
        return device_identity.removesuffix(INVERTED)
    return device_identity + INVERTED


def _with(tree: Any, change: Callable[[Any], Any]) -> Any:
    """Return nested dicts and lists with every number, and every None, changed."""
    if isinstance(tree, Mapping):
        return {name: _with(part, change) for name, part in tree.items()}
    if isinstance(tree, (list, tuple)):
        return [_with(part, change) for part in tree]
    return change(tree) if tree is None or isinstance(tree, float) else tree


def _amplitudes_as_text(setting: WriteSetting) -> str:
    scale, unit = (1e6, "µA") if setting.drive == "current" else (1.0, "V")
    zero, one = (f"{scale * amplitude:.4g} {unit}" for amplitude in setting.amplitudes)
    return f"{zero if zero == one else f'{zero} (0) and {one} (1)'} for {setting.pulse_width * 1e9:.4g} ns"


def _as_lists(energies: Mapping[str, Array]) -> dict[str, list[list[float]]]:
    return {part: table.tolist() for part, table in energies.items()}


@runtime_checkable
class SolvesWrites(Protocol):
    """Anything with an `operating_point` of its own, such as a `Cell`."""

    def operating_point(self, setting: WriteSetting, *, temperature: float = 300.0) -> OperatingPoint:
        """Solve the two writes of a setting."""


@shows_its_call
def operating_point(device: MTJ | SolvesWrites, setting: WriteSetting, *, temperature: float = 300.0) -> OperatingPoint:
    """Solve the two writes of a setting.

    Parameters
    ----------
    device : MTJ or Cell
        Any junction (one that is not axisymmetric takes seconds a write), bare or in a cell with its own
        `operating_point`.
    setting : WriteSetting
        Amplitudes and pulse.
    temperature : float
        [K].

    Returns
    -------
    OperatingPoint
        Rates and mean energies over the Fokker-Planck density. A pulse on a cell that holds its bit already (kept = 1)
        dissipates I^2 R or V^2 G of that state at rest: its thermal wobble of 1/(2 Delta) is left out.

    Raises
    ------
    ValueError
        As in `mtjsim.write_error_rate`, and as in `Cell.operating_point`.

    Examples
    --------
    >>> from mtjsim import load_preset
    >>> setting = WriteSetting(current_0=50e-6, current_1=50e-6, pulse_width=10e-9)
    >>> point = operating_point(load_preset("arm_2021"), setting)
    >>> print(f"{point.error_rate_1:.2e} {point.energy_0 * 1e15:.0f} fJ {point.energy_1 * 1e15:.0f} fJ")
    1.54e-02 326 fJ 301 fJ
    """
    if isinstance(device, SolvesWrites):
        return device.operating_point(setting, temperature=temperature)
    rates, energies = [], np.empty((2, 2))
    for bit, amplitude in enumerate(setting.amplitudes):
        pulse: dict[str, Any] = {
            setting.drive: amplitude,
            "pulse_width": setting.pulse_width,
            "direction": DIRECTION_OF_BIT[bit],
            "temperature": temperature,
            "rise_time": setting.rise_time,
        }
        rates.append(float(write_error_rate(device, relax_time=setting.relax_time, **pulse)))
        energies[bit] = dissipated_energy(device, **pulse), resting_energy(device, setting, bit=bit)
    return OperatingPoint(
        error_rate_0=rates[0],
        error_rate_1=rates[1],
        energy_0=float(energies[0, 0]),
        energy_1=float(energies[1, 0]),
        latency=setting.latency,
        setting=setting,
        device_identity=device.identity,
        temperature=float(temperature),
        energies={"junction": energies},
    )


def resting_energy(device: MTJ, setting: WriteSetting, *, bit: int) -> float:
    """Joule energy of a pulse on a junction that holds the `bit` already, the layer at the pole of its well [J]."""
    level, m_z = setting.amplitudes[bit], np.array(M_Z_OF_BIT[bit])

    def power(part: float) -> float:  # at a part of the plateau's level
        if setting.drive == "current":
            R = device.channel_resistance or float(junction_resistance(device, m_z=m_z, current=part * level))
            return (part * level) ** 2 * R
        constant, slope = conductance_terms(device, part * level)
        G = constant + slope * float(m_z) if device.channel_resistance is None else 1 / device.channel_resistance
        return (part * level) ** 2 * G

    return pulse_energy(setting, power)


def pulse_energy(setting: WriteSetting, power: Callable[[float], float]) -> float:
    """Integral over the pulse of a `power` [W] that depends on the level relative to the plateau's alone [J]."""
    plateau = (setting.pulse_width - setting.rise_time) * power(1.0)
    if setting.rise_time == 0:
        return plateau
    x, weights = roots_legendre(8)
    return plateau + setting.rise_time * sum(w * power((1 + part) / 2) for part, w in zip(x, weights, strict=True))
