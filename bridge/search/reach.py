"""The range of a search: error rates over an amplitude and a width, and the limit of the amplitude.

An amplitude is a current or a voltage; of a `Cell` it is what its driver regulates or supplies. Error rates fall with
amplitude and width, so a limit on anything that rises with the amplitude is a ceiling on the amplitude.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.optimize import brentq

from bridge.cell.cell import Cell
from bridge.cell.cell_write import circuit_error_rates, junction_error_rates, junction_voltage, written_energies
from bridge.write import DIRECTION_OF_BIT, M_Z_OF_BIT, PARTS, OperatingPoint, WriteSetting, operating_point
from mtjsim.checks import ArgumentError, Array, checked_choice, checked_fields
from mtjsim.device import MTJ, require_junction
from mtjsim.energy import dissipated_energy
from mtjsim.fokker_planck.reduced import STRONGEST, is_axisymmetric
from mtjsim.fokker_planck.spectral import COARSE_RAMP_STEPS
from mtjsim.pulse import DRIVES, UNITS, Drive
from mtjsim.transport import junction_conductance, junction_resistance

STRONGEST_DRIVE = 14.9  # in I_c0: limit of a search by default
FIRST_STEP = 1e-3  # of a secant, relative
MOST_SECANTS = 6
CURVED = 0.03  # a step of the secant over the product of the two before, relative to the guess, is less than 1/CURVED
COARSE_TOLERANCE = 1e-4  # the same, where the solves are coarse too
COARSE_RATE = 1e-3  # relative error of a coarse rate, with a margin
LONGEST_STRETCH, SHORTEST_STRETCH = 4.0, 1.1  # of the widths that are solved at once in the search for one
STRETCH_WIDTHS = 49
ITERATION_TOLERANCE = 1e-7  # of amplitudes in those of I_c0, and of widths, relative


class Ceiling(NamedTuple):
    """Largest amplitude of a bit [A or V], the limit in words, and whether the caller or the cell set it."""

    amplitude: float
    reason: str
    given: bool


@dataclass(frozen=True, kw_only=True)
class Reach:
    """Rates and limits of the writes of a junction or a cell.

    Parameters
    ----------
    device : MTJ or Cell
        The device that is written.
    drive : {"current", "voltage"}
        Kind of the amplitudes.
    temperatures : tuple of float
        The rate is the worst over these [K].
    rise_time, relax_time : float
        Of every pulse [s].
    max_current : float, optional
        Largest current at any time [A]: of a voltage, in the P state.
    max_voltage : float, optional
        Largest voltage [V]: of the supply of a cell; else across junction (in the AP state) or channel.
    breakdown_voltage : float, optional
        Across the junction [V]; the lower one, if the cell has its own.
    limit_names : (str, str)
        What the caller calls `max_current` and `max_voltage`, for messages.
    """

    device: MTJ | Cell
    drive: Drive = "current"
    temperatures: tuple[float, ...] = (300.0,)
    rise_time: float = 0.0
    relax_time: float = 0.0
    max_current: float | None = None
    max_voltage: float | None = None
    breakdown_voltage: float | None = None
    limit_names: tuple[str, str] = ("max_current", "max_voltage")

    def __post_init__(self) -> None:
        require_junction(self.junction)
        checked_choice("drive", self.drive, DRIVES)
        checked_fields(self, zero_allowed=True, rise_time="s", relax_time="s")
        for name, unit in (("max_current", "A"), ("max_voltage", "V"), ("breakdown_voltage", "V")):
            if getattr(self, name) is not None:
                checked_fields(self, zero_allowed=False, **{name: unit})
        if isinstance(self.device, Cell) and self.drive == "current" and self.max_voltage is not None:
            remedy = "Regulated currents come from the supply of the cell: give cell.replace(supply_voltage=...)."
            raise ArgumentError("max_voltage", f"limits a search for voltages. {remedy}")

    @property
    def junction(self) -> MTJ:
        """The junction, in a cell or bare."""
        return self.device.device if isinstance(self.device, Cell) else self.device

    @property
    def unit(self) -> str:
        """Of an amplitude."""
        return UNITS[self.drive]

    def setting(self, amplitudes: tuple[float, float], width: float) -> WriteSetting:
        """Return the setting of two amplitudes and a width [s]."""
        pulse = {"pulse_width": width, "rise_time": self.rise_time, "relax_time": self.relax_time}
        return WriteSetting.of_drive(self.drive, amplitudes, **pulse)

    def rate(self, bit: int, amplitude: float, width: float, *, coarse: bool = False) -> float:
        """Worst error rate over the temperatures, of one junction; `coarse`: to 1e-4, with fewer steps in its ramps."""
        return float(self.rates(bit, amplitude, np.array([width]), coarse=coarse)[0])

    def rates(self, bit: int, amplitude: float, widths: Array, *, coarse: bool = False) -> Array:
        """Worst error rates over the temperatures at many widths [s], by one solve a temperature; shape of `widths`."""
        return np.max([self.rates_at(bit, amplitude, widths, T, coarse=coarse) for T in self.temperatures], axis=0)

    def rate_at(self, bit: int, amplitude: float, width: float, temperature: float) -> float:
        """Error rate at one temperature [K]."""
        return float(self.rates_at(bit, amplitude, np.array([width]), temperature)[0])

    def rates_at(self, bit: int, amplitude: float, widths: Array, temperature: float, *, coarse: bool = False) -> Array:
        """Error rates at one temperature [K]; shape of `widths`."""
        setting = self.setting((amplitude, amplitude), float(widths.max()))
        solve: dict[str, Any] = {"temperature": temperature, "density": COARSE_RAMP_STEPS if coarse else None}
        if isinstance(self.device, Cell):
            circuit = self.device.circuit(bit, temperature=temperature)
            return circuit_error_rates(circuit, setting, bit, widths, **solve)
        return junction_error_rates(self.device, setting, bit, widths, **solve)

    def energy(self, bit: int, amplitude: float, width: float, *, with_driver: bool) -> float:
        """Mean energy of a write [J], in the junction or with its circuit, at the temperature of the worst rate."""
        temperature = self.temperatures[0]
        if len(self.temperatures) > 1:
            at = np.array([width])
            rates = {T: float(self.rates_at(bit, amplitude, at, T, coarse=True)[0]) for T in self.temperatures}
            temperature = max(rates, key=lambda T: rates[T])
        if isinstance(self.device, Cell):
            setting = self.setting((amplitude, amplitude), width)
            circuit, supply = self.device.circuit(bit, temperature=temperature), self.device.supply_voltage
            parts = PARTS if with_driver else PARTS[:1]
            return float(sum(written_energies(circuit, supply, setting, bit, temperature, parts)))
        pulse: dict[str, Any] = {self.drive: amplitude, "pulse_width": width, "rise_time": self.rise_time}
        way = DIRECTION_OF_BIT[bit]
        return float(dissipated_energy(self.device, direction=way, temperature=temperature, **pulse))

    def point(self, amplitudes: tuple[float, float], width: float) -> OperatingPoint:
        """Operating point at the temperature where the worse of the two rates is worst."""
        points = [
            operating_point(self.device, self.setting(amplitudes, width), temperature=T) for T in self.temperatures
        ]
        return max(points, key=lambda point: point.worst_error_rate)

    # ---- ceilings ---------------------------------------------------------------------------------------------------

    def critical(self, bit: int) -> float:
        """Amplitude that puts about one critical current through the P state: the scale of a search."""
        I_c = self.junction.critical_current(DIRECTION_OF_BIT[bit], self.temperatures[0])
        load = self.junction.channel_resistance or self.junction.resistance_p
        line = self.device.driver_resistance if isinstance(self.device, Cell) else 0.0
        return I_c if self.drive == "current" else I_c * (load + line)

    def ceiling(self, bit: int) -> Ceiling:
        """Return the lowest of all limits on the amplitude of a `bit`."""
        return _ceiling(self, bit)

    def _lowest_limit(self, bit: int) -> Ceiling:
        I_c = self.junction.critical_current(DIRECTION_OF_BIT[bit], self.temperatures[0])
        strongest = min(STRONGEST_DRIVE * I_c, self._strongest_solved())
        found = [self._below(bit, self._current, strongest, f"{strongest / I_c:.3g} critical currents", False)]
        if self.max_current is not None:
            found.append(
                self._below(bit, self._current, self.max_current, f"{self.limit_names[0]} = {self.max_current:g} A")
            )
        if self.max_voltage is not None:
            found.append(
                self._below(bit, self._voltage, self.max_voltage, f"{self.limit_names[1]} = {self.max_voltage:g} V")
            )
        own = self.device.breakdown_voltage if isinstance(self.device, Cell) else None
        weakest = min((V for V in (self.breakdown_voltage, own) if V is not None), default=None)
        if weakest is not None and self.junction.channel_resistance is None:
            found.append(self._below(bit, self._stress, weakest, f"breakdown_voltage = {weakest:g} V in the AP state"))
        if isinstance(self.device, Cell):
            cell = self.device
            if self.drive == "voltage":
                found.append(Ceiling(cell.supply_voltage, f"supply_voltage = {cell.supply_voltage:g} V", True))
            else:
                passed = {T: cell.current(bit, temperature=T) for T in self.temperatures}
                T = min(passed, key=lambda T: passed[T])
                heat = f" at {T:g} K" if len(passed) > 1 else ""
                reason = f"what the transistor of {cell.transistor.width * 1e9:.0f} nm passes{heat}"
                found.append(Ceiling(passed[T], reason, True))
        return min(found, key=lambda limit: limit.amplitude)

    def _strongest_solved(self) -> float:
        """Return the current that the full-sphere solver still takes [A]."""
        if is_axisymmetric(self.junction):
            return math.inf
        from mtjsim.torques import torque_of  # here: numba is slow to import

        torque = torque_of(self.junction, self.temperatures[0])
        return STRONGEST * torque.damping * torque.anisotropy_field / torque.per_ampere * (1 - 1e-9)

    def _below(
        self, bit: int, measure: Callable[[int, float], float], limit: float, reason: str, given: bool = True
    ) -> Ceiling:
        """Largest amplitude at which a `measure` that rises with it is within its `limit`."""
        high = self.critical(bit)
        while measure(bit, high) < limit:
            high *= 2
            if high > 1e6 * self.critical(bit):  # a transistor in saturation never gets there
                return Ceiling(math.inf, reason, given)
        return Ceiling(float(brentq(lambda a: measure(bit, a) - limit, 0.0, high, xtol=1e-14 * high)), reason, given)

    def _current(self, bit: int, amplitude: float) -> float:
        if self.drive == "current":
            return amplitude
        if isinstance(self.device, Cell):
            cell, p = self.device, M_Z_OF_BIT[0]
            return max(cell.current(bit, voltage=amplitude, m_z=p, temperature=T) for T in self.temperatures)
        if self.junction.channel_resistance is not None:
            return amplitude / self.junction.channel_resistance
        return amplitude * float(junction_conductance(self.junction, m_z=np.array(M_Z_OF_BIT[0]), voltage=amplitude))

    def _voltage(self, bit: int, amplitude: float) -> float:
        if self.drive == "voltage":
            return amplitude
        if self.junction.channel_resistance is not None:
            return amplitude * self.junction.channel_resistance
        return self._stress(bit, amplitude)

    def _stress(self, bit: int, amplitude: float) -> float:
        if isinstance(self.device, Cell):
            setting = self.setting((amplitude, amplitude), 2 * self.rise_time or 1e-9)
            circuits = (self.device.circuit(bit, temperature=T) for T in self.temperatures)
            return max(junction_voltage(circuit, setting, bit) for circuit in circuits)
        if self.drive == "voltage":
            return amplitude
        return amplitude * float(junction_resistance(self.junction, m_z=np.array(M_Z_OF_BIT[1]), current=amplitude))


@lru_cache(maxsize=256)
def _ceiling(reach: Reach, bit: int) -> Ceiling:
    return reach._lowest_limit(bit)


def weakest_amplitude(
    reach: Reach, bit: int, target: float, width: float, *, near: float | None = None, tolerance: float
) -> float:
    """Weakest amplitude whose rate is at most the target at a width [s].

    Parameters
    ----------
    near : float, optional
        A guess, which saves solves if it is within 5 %, and most if it is within 1e-3.
    tolerance : float
        Of the result, in the amplitude of a critical current.

    Raises
    ------
    ValueError
        If the ceiling does not reach the target; gives the rate that is reached, and its limit.
    """
    scale, limit, coarse = reach.critical(bit), reach.ceiling(bit).amplitude, tolerance >= COARSE_TOLERANCE

    def excess(amplitude: float) -> float:
        return math.log(max(reach.rate(bit, amplitude, width, coarse=coarse), 1e-300) / target)

    if not coarse and near is None and reach.rise_time > 0:  # most solves with few steps in the ramps
        near = weakest_amplitude(reach, bit, target, width, tolerance=COARSE_TOLERANCE) or None
    near = near or None  # a guess of 0 does not bracket anything
    if near is not None and (root := _by_secant(excess, near, limit, tolerance * scale)) is not None:
        return min(root + 2 * tolerance * scale, limit)
    low, high = 0.0, min(scale if near is None else 1.05 * near, limit)
    if near is not None and 0.95 * near < limit and excess(0.95 * near) > 0:
        low = 0.95 * near
    if low == 0.0 and excess(0.0) <= 0:
        return 0.0
    while excess(high) > 0:
        if high >= limit:
            raise unreached(reach, bit, target, width)
        low, high = high, min(1.5 * high, limit)
    root = float(brentq(excess, low, high, xtol=tolerance * scale))
    return min(root + 2 * tolerance * scale, limit)  # on the right side of the target


def _by_secant(falling: Callable[[float], float], near: float, limit: float, tolerance: float) -> float | None:
    """Zero of a falling function within 5 % of a guess, in three or four evaluations; None if it is not found so."""
    last, value = near, falling(near)
    at = min(near * (1 + math.copysign(FIRST_STEP, value)), limit)
    step = at - last
    for _ in range(MOST_SECANTS):
        if at == last or (slope := ((here := falling(at)) - value) / step) >= 0:
            return None
        step, before = -here / slope, step
        last, value, at = at, here, at + step
        if not 0.95 * near < at <= limit:
            return None
        if abs(step) * (abs(before) + abs(step)) < CURVED * near * tolerance:  # the next step is of that order
            return at
    return None


def shortest_width(
    reach: Reach,
    bit: int,
    target: float,
    amplitude: float,
    *,
    longest: float,
    shortest: float | None = None,
    coarse: bool = False,
) -> float | None:
    """Shortest pulse [s] whose rate is at most the target at an amplitude; None if `longest` [s] is too short.

    `coarse`: at rates that are good to 1e-4.
    """
    tau = reach.junction.characteristic_time(reach.temperatures[0])
    least = max(reach.rise_time, 1e-4 * tau if shortest is None else shortest)

    def excess(width: float) -> float:
        return math.log(max(reach.rate(bit, amplitude, max(width, least), coarse=coarse), 1e-300) / target)

    if not coarse and excess(least) <= 0:
        return least
    # walk up: one solve gives all widths of a stretch, but longer ones may have rates that no solver resolves
    low, stretch = least, LONGEST_STRETCH
    while True:
        high = min(stretch * low, longest)
        at = np.geomspace(low, high, STRETCH_WIDTHS)
        at[0], at[-1] = low, high
        try:
            rates = reach.rates(bit, amplitude, at, coarse=True)
        except ValueError:
            if stretch < SHORTEST_STRETCH:
                raise
            stretch = math.sqrt(stretch)
            continue
        reached = np.flatnonzero(rates <= target * (1 if coarse else 1 + COARSE_RATE))
        if reached.size:
            break
        if high >= longest:
            return None
        low = high
    if coarse:
        return math.exp(crossing(np.log(at), rates, target)) if reached[0] else low
    k = max(int(reached[0]), 1)
    found = _by_secant(excess, float(at[k]), longest, ITERATION_TOLERANCE * float(at[k]))
    if found is None:
        low, near = float(at[k - 1]), float(at[k])
        while excess(low) <= 0 and low > least:  # the coarse rate was above the target by less than its error
            low = max(low * float(at[0] / at[1]), least)
        while excess(near) > 0:
            if near >= longest:
                return None
            low, near = near, min(near * float(at[1] / at[0]), longest)
        found = float(brentq(excess, low, near, xtol=ITERATION_TOLERANCE * low))
    return min(found * (1 + 2 * ITERATION_TOLERANCE), longest)  # on the right side of the target


def crossing(log_width: Array, rates: Array, target: float) -> float:
    """Log of the width at which falling rates, above the target at the first width, cross it; interpolated."""
    excess = np.log(np.maximum(rates, 1e-300) / target)
    k = int(np.flatnonzero(excess <= 0)[0])
    near = slice(max(k - 4, 0), k + 4)
    smooth = PchipInterpolator(log_width[near], excess[near])
    return float(brentq(lambda x: float(smooth(x)), log_width[k - 1], log_width[k], xtol=1e-9))


def unreached(reach: Reach, bit: int, target: float, width: float, *, width_reason: str = "") -> ArgumentError:
    """Return the error of a target that is not reached: the nearest rate, its limits, what alone would be enough."""
    ceiling, direction = reach.ceiling(bit), DIRECTION_OF_BIT[bit]
    reached = reach.rate(bit, ceiling.amplitude, width)
    longest = max(50 * reach.junction.characteristic_time(reach.temperatures[0]), 10 * width)
    longer = shortest_width(reach, bit, target, ceiling.amplitude, longest=longest, shortest=width)
    remedy = f"No pulse of {longest:.3g} s would do either: allow more {reach.drive}."
    if longer is not None:
        remedy = f"A longer pulse alone would do: {longer:.3g} s."
    at = f"with {width:g} s and at most {ceiling.amplitude:.6g} {reach.unit} ({direction}): it is {reached:.3g} there"
    limits = f"The amplitude is limited by {ceiling.reason}{f', the pulse by {width_reason}' if width_reason else ''}."
    return ArgumentError("error_rate", f"{target:g} of a {bit} is not reached {at}. {limits} {remedy}")
