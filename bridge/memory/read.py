"""Reads and retention of a cell: wrong sensing, read disturb, loss of the bit with time.

A read puts a small voltage on the junction and compares the current with a reference halfway between those of the two
states. It is wrong where noise and spread exceed half their distance, and it may turn the layer.
"""

import math
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.special import ndtr

from mtjsim.checks import Array, checked_choice, checked_fields, checked_number, checked_probability
from mtjsim.device import MTJ, require_junction
from mtjsim.holding import read_disturb_rate, retention_failure_rate
from mtjsim.plausibility import doubt
from mtjsim.transport import junction_conductance

STATES = ("p", "ap")  # of bit 0 and of bit 1
NODES = 65  # stabilities that are solved; more are interpolated


@dataclass(frozen=True, kw_only=True)
class ReadSetting:
    """How a cell is read.

    Parameters
    ----------
    voltage : float
        On the junction [V], > 0.
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

    def __post_init__(self) -> None:
        checked_fields(self, voltage="V", duration="s")
        checked_fields(self, zero_allowed=True, sense_noise="A", resistance_d2d="", sense_energy="J")
        checked_choice("disturbs", self.disturbs, STATES)
        doubt("voltage", self.voltage)
        doubt("read_duration", self.duration, name="duration")


@dataclass(frozen=True, kw_only=True)
class ReadPoint:
    """Errors, disturbs, energy and latency of a read.

    Attributes
    ----------
    error_rate_0, error_rate_1 : float
        Probability that a stored 0 (1) is sensed as the other bit; the cell keeps it.
    disturb_rate_0, disturb_rate_1 : float
        Probability that a stored 0 (1) is the other bit after the read.
    energy_0, energy_1 : float
        In the junction [J].
    sense_energy : float
        In the sense amplifier, a bit [J].
    latency : float
        [s].
    setting : ReadSetting or None
        None if the rates were given and not derived.
    device_identity : str
        `MTJ.identity`, or "" if the rates were given.
    temperature : float
        [K].

    Raises
    ------
    ValueError
        If a rate is outside [0, 1], or an energy or the latency is negative.
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

    def __post_init__(self) -> None:
        for name in ("error_rate_0", "error_rate_1", "disturb_rate_0", "disturb_rate_1"):
            checked_probability(name, getattr(self, name))
        checked_fields(self, zero_allowed=True, energy_0="J", energy_1="J", sense_energy="J", latency="s")

    def as_dict(self) -> dict[str, Any]:
        """All attributes, ready for JSON."""
        return asdict(self)


def read_point(device: MTJ, setting: ReadSetting, *, temperature: float = 300.0) -> ReadPoint:
    """Derive the errors, disturbs and energy of a read of a junction.

    Parameters
    ----------
    device : MTJ
        An axisymmetric junction, whose read disturb can be solved (`mtjsim.read_disturb_rate`). For any other, give a
        `ReadPoint` with rates of your own.
    setting : ReadSetting
    temperature : float
        [K].

    Returns
    -------
    ReadPoint

    Raises
    ------
    ValueError
        As in `mtjsim.read_disturb_rate`.

    Notes
    -----
    With I_b = V / R_b the layer at rest in its state, the reference (I_0 + I_1)/2 and a normal error of variance
    sense_noise^2 + (resistance_d2d I_b)^2, a stored b is sensed wrongly with Q(|I_0 - I_1| / (2 sd)). The spread is
    drawn at each read, which is right for the mean over cells and not for one cell's life. The state that the read
    current holds in place is taken never to be disturbed.

    Examples
    --------
    >>> device = MTJ.from_effective(thermal_stability=60, critical_current=30e-6, characteristic_time=2e-9)
    >>> point = read_point(device, ReadSetting(voltage=0.1, duration=5e-9, sense_noise=1e-6))
    >>> print(f"{point.error_rate_0:.1e} {point.disturb_rate_1:.1e} {point.energy_0 * 1e15:.0f} fJ")
    2.9e-07 3.7e-14 10 fJ
    """
    require_junction(device)
    ends = junction_conductance(device, m_z=np.array([1.0, -1.0]), voltage=setting.voltage)
    currents = [setting.voltage * float(conductance) for conductance in ends]
    half = abs(currents[0] - currents[1]) / 2
    errors, disturbs = [], []
    for state, current in zip(STATES, currents, strict=True):
        sd = math.hypot(setting.sense_noise, setting.resistance_d2d * current)
        errors.append(float(ndtr(-half / sd)) if sd > 0 else 0.0)
        disturbs.append(
            float(
                read_disturb_rate(
                    device, voltage=setting.voltage, duration=setting.duration, state=state, temperature=temperature
                )
            )
            if state == setting.disturbs
            else 0.0
        )
    energies = [setting.voltage * current * setting.duration for current in currents]
    return ReadPoint(
        error_rate_0=errors[0],
        error_rate_1=errors[1],
        disturb_rate_0=disturbs[0],
        disturb_rate_1=disturbs[1],
        energy_0=energies[0],
        energy_1=energies[1],
        sense_energy=setting.sense_energy,
        latency=setting.duration,
        setting=setting,
        device_identity=device.identity,
        temperature=float(temperature),
    )


@dataclass(frozen=True)
class Retention:
    """Probability that a cell loses its bit while it is left alone.

    Parameters
    ----------
    device : MTJ
        An axisymmetric junction.
    temperature : float
        [K].

    Examples
    --------
    >>> device = MTJ.from_effective(thermal_stability=40, critical_current=30e-6, characteristic_time=2e-9)
    >>> print(*(f"{rate:.1e}" for rate in Retention(device, temperature=330.0).rates(3600.0)))
    9.6e-04 9.6e-04
    """

    device: MTJ
    temperature: float = 300.0
    _known: dict[float, tuple[float, float]] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        require_junction(self.device)
        object.__setattr__(
            self, "temperature", checked_number("temperature", self.temperature, "K", zero_allowed=False)
        )
        doubt("temperature", self.temperature)

    def rates(self, duration: float) -> tuple[float, float]:
        """Probability that a 0 and that a 1 is the other bit after `duration` [s]."""
        if duration not in self._known:
            both = [
                float(retention_failure_rate(self.device, duration=duration, state=s, temperature=self.temperature))
                for s in STATES
            ]
            self._known[duration] = (both[0], both[1])
        return self._known[duration]

    def rates_of(self, duration: float, stability: Array) -> Array:
        """Return the same for cells whose Delta is the device's times `stability`, (k,); (2, k), by bit and cell.

        The moment of the layer differs (the attempt time is the device's). Up to 65 values are solved one by
        one; more are interpolated in ln rate between 65, to better than 1 % where they span a factor of two.
        """
        nodes, place = np.unique(np.asarray(stability, dtype=float), return_inverse=True)
        solved = nodes if nodes.size <= NODES else np.linspace(nodes[0], nodes[-1], NODES)
        Ms = self.device.saturation_magnetization
        cells = [self.device.with_computed(saturation_magnetization=Ms * f) for f in solved]
        rates = np.array([replace(self, device=cell, _known={}).rates(duration) for cell in cells]).reshape(-1, 2)
        if nodes.size > NODES:
            rates = np.exp(PchipInterpolator(solved, np.log(np.maximum(rates, 1e-300)))(nodes))
        return np.minimum(rates, 1.0).T[:, place]
