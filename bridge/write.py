"""How a cell is written, and what comes of it: the operating point is all that a network needs to know of a junction.

Bit 1 is AP (high resistance), bit 0 is P. Writing a 1 drives P->AP, writing a 0 drives AP->P.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any

from mtjsim.checks import Direction, checked_number, checked_ramps
from mtjsim.device import MTJ
from mtjsim.energy import dissipated_energy
from mtjsim.switching import write_error_rate

DIRECTION_OF_BIT: dict[int, Direction] = {0: "ap_to_p", 1: "p_to_ap"}


@dataclass(frozen=True, kw_only=True)
class WriteSetting:
    """What the write driver is told: an amplitude for each bit value and one pulse.

    Parameters
    ----------
    current_0, current_1 : float
        Amplitude that writes a 0 (AP->P) and a 1 (P->AP) [A], >= 0.
    pulse_width : float
        Full width at half maximum [s], > 0.
    rise_time : float
        Of each linear ramp [s], at most the pulse width.
    relax_time : float
        Time at zero current before the bit is judged [s].

    Raises
    ------
    ValueError
        If a value is not finite or out of its range.
    """

    current_0: float
    current_1: float
    pulse_width: float
    rise_time: float = 0.0
    relax_time: float = 0.0

    def __post_init__(self) -> None:
        units = {"current_0": "A", "current_1": "A", "pulse_width": "s", "rise_time": "s", "relax_time": "s"}
        for name, unit in units.items():
            value = checked_number(name, getattr(self, name), unit, zero_allowed=name != "pulse_width")
            object.__setattr__(self, name, value)
        checked_ramps(self.rise_time, self.pulse_width)

    @property
    def latency(self) -> float:
        """From the start of the rising ramp until the bit can be relied on: width + one ramp + relaxation [s]."""
        return self.pulse_width + self.rise_time + self.relax_time


@dataclass(frozen=True, kw_only=True)
class OperatingPoint:
    """What a memory gives and takes at one write setting. It is what crosses from the device to the network.

    Attributes
    ----------
    error_rate_0, error_rate_1 : float
        Probability that a cell told to become 0 (1) keeps the opposite bit, given that it held the opposite bit.
    energy_0, energy_1 : float
        Mean Joule energy in the junction of such a write [J]; device only, without transistor, driver and lines.
    latency : float
        [s], see `WriteSetting.latency`.
    setting : WriteSetting
        The currents and the pulse.
    device_identity : str
        `MTJ.identity` of the junction.
    temperature : float
        [K].
    """

    error_rate_0: float
    error_rate_1: float
    energy_0: float
    energy_1: float
    latency: float
    setting: WriteSetting
    device_identity: str
    temperature: float

    @property
    def mean_error_rate(self) -> float:
        """Of a write whose bit is 0 or 1 with equal chance, and differs from the bit that was there."""
        return (self.error_rate_0 + self.error_rate_1) / 2

    @property
    def inverts(self) -> bool:
        """Whether a cell that held the opposite bit more often holds the inverse than what was written.

        Then error_rate_0 + error_rate_1 > 1: what is read is anticorrelated with what was written.
        """
        return self.error_rate_0 + self.error_rate_1 > 1

    @property
    def worst_error_rate(self) -> float:
        """Of the direction that fails more often."""
        return max(self.error_rate_0, self.error_rate_1)

    @property
    def mean_energy(self) -> float:
        """Of the same write [J]."""
        return (self.energy_0 + self.energy_1) / 2

    @property
    def identity(self) -> str:
        """SHA-256 over device, setting and temperature: equal identities, equal operating points."""
        parts = [self.device_identity, asdict(self.setting), self.temperature]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def as_dict(self) -> dict[str, Any]:
        """All attributes and the identity, ready for JSON."""
        return {**asdict(self), "identity": self.identity}


def operating_point(device: MTJ, setting: WriteSetting, *, temperature: float = 300.0) -> OperatingPoint:
    """Solve the two writes of a setting.

    Parameters
    ----------
    device : MTJ
        Any junction (one that is not axisymmetric takes seconds a write).
    setting : WriteSetting
        Currents and pulse.
    temperature : float
        [K].

    Returns
    -------
    OperatingPoint

    Raises
    ------
    ValueError
        As in `mtjsim.write_error_rate`.

    Examples
    --------
    >>> from mtjsim import load_preset
    >>> setting = WriteSetting(current_0=50e-6, current_1=50e-6, pulse_width=10e-9)
    >>> point = operating_point(load_preset("arm_2021"), setting)
    >>> print(f"{point.error_rate_1:.2e} {point.energy_0 * 1e15:.0f} fJ {point.energy_1 * 1e15:.0f} fJ")
    1.54e-02 326 fJ 301 fJ
    """
    rates, energies = [], []
    for bit, current in ((0, setting.current_0), (1, setting.current_1)):
        direction = DIRECTION_OF_BIT[bit]
        rates.append(
            write_error_rate(
                device,
                current=current,
                pulse_width=setting.pulse_width,
                direction=direction,
                temperature=temperature,
                rise_time=setting.rise_time,
                relax_time=setting.relax_time,
            )
        )
        energies.append(
            dissipated_energy(
                device,
                current=current,
                pulse_width=setting.pulse_width,
                direction=direction,
                temperature=temperature,
                rise_time=setting.rise_time,
            )
        )
    return OperatingPoint(
        error_rate_0=float(rates[0]),
        error_rate_1=float(rates[1]),
        energy_0=float(energies[0]),
        energy_1=float(energies[1]),
        latency=setting.latency,
        setting=setting,
        device_identity=device.identity,
        temperature=float(temperature),
    )
