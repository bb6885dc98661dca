"""Targets and limits of a search, checked against each other before any work."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Self, TypeVar

import numpy as np

from bridge.cell.cell import Cell, within_area
from bridge.checks import checked_ends
from bridge.search.reach import Reach, shortest_width, unreached
from bridge.write import OperatingPoint
from mtjsim.checks import NOT_PERCENT, ArgumentError, checked_choice, checked_number
from mtjsim.device import MTJ
from mtjsim.pulse import Drive

SMALLEST_TARGET = 1e-60  # error rates below this are out of any use, and underflow is near
INNER_TEMPERATURES = 3  # between the two ends of a range, where a setting is checked in the end
LIMITS = (
    "drive",
    "pulse_width",
    "max_current",
    "max_voltage",
    "max_latency",
    "max_area",
    "breakdown_voltage",
    "temperature",
    "rise_time",
    "relax_time",
)
NO_AREA = "needs the area of a Cell: a bare junction has no transistor."
WORSE = 1e-3  # relative: by which a rate inside the range may exceed its target

Found = TypeVar("Found", bound=MTJ | Cell)


@dataclass(frozen=True, kw_only=True)
class Inquiry:
    """Targets, limits and the range of widths of a search; built by `checked`.

    Attributes
    ----------
    reach : Reach
        Rates and ceilings of the amplitudes.
    targets : (float, float)
        Error rate for a 0 and for a 1, of one junction.
    low, high : float
        Range of pulse widths [s]; equal, if the width is fixed.
    reason : str
        Limit that sets the longest width.
    max_area : float, optional
        Of a cell [m^2].
    """

    reach: Reach
    targets: tuple[float, float]
    low: float
    high: float
    reason: str
    max_area: float | None = None

    @classmethod
    def checked(
        cls,
        device: MTJ | Cell,
        error_rate: float | tuple[float, float],
        *,
        drive: Drive = "current",
        pulse_width: float | tuple[float, float] | None = None,
        max_latency: float | None = None,
        max_area: float | None = None,
        temperature: float | tuple[float, float] = 300.0,
        rise_time: float = 0.0,
        relax_time: float = 0.0,
        **limits: float | None,
    ) -> Self:
        """Check the arguments of `find_setting`; `limits` are those of `Reach`."""
        targets = _checked_targets(error_rate)
        if isinstance(device, Cell):
            targets = (min(targets), min(targets)) if device.differential else targets
            device = device if max_area is None else within_area(device, max_area)
        elif max_area is not None:
            raise ArgumentError("max_area", NO_AREA)
        reach = Reach(
            device=device,
            drive=drive,
            temperatures=tuple(dict.fromkeys(checked_ends("temperature", temperature, "K"))),
            rise_time=rise_time,
            relax_time=relax_time,
            **limits,  # type: ignore[arg-type]
        )
        low, high, reason = _width_range(reach, pulse_width, max_latency)
        return cls(reach=reach, targets=targets, low=low, high=high, reason=reason, max_area=max_area)

    @property
    def limited(self) -> bool:
        """Whether the caller set a limit that bounds the amplitudes."""
        return any(self.reach.ceiling(bit).given for bit in (0, 1))

    def require_reachable(self) -> None:
        """Raise ValueError if the largest amplitudes and the longest pulse miss a target; names the limit."""
        if not self.limited:
            return
        try:
            self.shortest(coarse=True)
        except ValueError:  # it is missed by the error of a coarse rate, or more
            self.shortest()

    def shortest(self, *, coarse: bool = False) -> float:
        """Shortest width that the ceilings of the amplitudes allow [s]; ValueError, with the limit, if none does."""
        widths, given = [], {"longest": self.high, "shortest": self.low}
        for bit in (0, 1):
            amplitude, target = self.reach.ceiling(bit).amplitude, self.targets[bit]
            width = shortest_width(self.reach, bit, target, amplitude, coarse=coarse, **given)
            if width is None:
                raise unreached(self.reach, bit, target, self.high, width_reason=self.reason)
            widths.append(width)
        return max(widths)

    def at_all_temperatures(
        self, search: Callable[["Inquiry"], tuple[Found, OperatingPoint]]
    ) -> tuple[Found, OperatingPoint]:
        """Search; where a rate between the ends of the temperature range exceeds its target, search with it too."""
        question = self
        while True:
            device, point = search(question)
            worse = question._worse_inside(device, point)
            if worse is None:
                return device, point
            reach = replace(question.reach, temperatures=(*question.reach.temperatures, worse))
            question = replace(question, reach=reach)

    def _worse_inside(self, device: MTJ | Cell, point: OperatingPoint) -> float | None:
        temperatures = self.reach.temperatures
        if len(temperatures) == 1:
            return None
        reach = replace(self.reach, device=device)
        for T in np.linspace(min(temperatures), max(temperatures), INNER_TEMPERATURES + 2)[1:-1]:
            for bit, amplitude in enumerate(point.setting.amplitudes):
                rate = reach.rate_at(bit, amplitude, point.setting.pulse_width, float(T))
                if rate > self.targets[bit] * (1 + WORSE) and float(T) not in temperatures:
                    return float(T)
        return None


def require_named(given: Iterable[str], valid: Iterable[str]) -> None:
    """Raise ValueError for an unknown argument of a search; lists the valid ones and names the nearest."""
    for name in given:
        checked_choice("an argument of the search", name, valid)


def checked_rate(name: str, rate: float) -> float:
    """Return a target as a float; ValueError unless it is from `SMALLEST_TARGET` to 1."""
    value = checked_number(name, rate, "", zero_allowed=False, remedy=NOT_PERCENT)
    if not SMALLEST_TARGET <= value < 1:
        raise ArgumentError(name, f"must be >= {SMALLEST_TARGET:g} and < 1, got {value:g}. {NOT_PERCENT}")
    return value


def _checked_targets(error_rate: Any) -> tuple[float, float]:
    targets = error_rate if isinstance(error_rate, (tuple, list)) else (error_rate, error_rate)
    if len(targets) != 2:
        raise ArgumentError("error_rate", f"must be one number or (for 0, for 1), got {len(targets)} numbers.")
    return checked_rate("error_rate_0", targets[0]), checked_rate("error_rate_1", targets[1])


def _width_range(
    reach: Reach, pulse_width: float | tuple[float, float] | None, max_latency: float | None
) -> tuple[float, float, str]:
    tau, rise = reach.junction.characteristic_time(reach.temperatures[0]), reach.rise_time
    cap, reason = np.inf, f"max_latency = {max_latency} s"
    if max_latency is not None:
        cap = checked_number("max_latency", max_latency, "s", zero_allowed=False) - rise - reach.relax_time
    if pulse_width is None:
        low, high = max(min(0.2 * tau, cap / 4), 1.0001 * rise), max(50 * tau, 2 * rise)
        set_by = "50 characteristic times"
    else:
        (low, high), set_by = checked_ends("pulse_width", pulse_width, "s"), "pulse_width"
    if cap < low * (1 - 1e-12) or cap <= 0:
        parts = f"a ramp of {rise:g} s, {reach.relax_time:g} s of relaxation and a pulse of at least {low:g} s"
        raise ArgumentError("max_latency", f"of {max_latency:g} s contradicts the pulse: {parts} take longer.")
    return (low, high, set_by) if high <= cap else (min(low, cap), cap, reason)
