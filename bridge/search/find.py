"""Inverse searches: the pulse, the current or the setting that reaches a target error rate, and its cost.

How an amplitude is bounded and found is in `reach.py`; trade-off curves are in `frontier.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from scipy.optimize import brentq

from bridge.cell.cell import Cell, narrowest_transistor
from bridge.search.contour import Contour, cheapest_width
from bridge.search.inquiry import LIMITS, NO_AREA, Inquiry, checked_rate, require_named
from bridge.search.reach import ITERATION_TOLERANCE, Reach, shortest_width, weakest_amplitude
from bridge.write import DIRECTION_OF_BIT, OperatingPoint
from mtjsim.calls import shows_its_call
from mtjsim.checks import ArgumentError, Direction, checked_choice, checked_number
from mtjsim.device import MTJ
from mtjsim.pulse import Drive, one_drive

OBJECTIVES = ("energy", "energy_with_driver", "latency", "area")
COARSE_MARGIN = 1e-4  # relative, of a width at a coarse rate, which the full accuracy then allows
WIDEST = 1e3  # in F: a transistor that does not limit the current
BIT_OF_DIRECTION = {direction: bit for bit, direction in DIRECTION_OF_BIT.items()}


def pulse_width_for(
    device: MTJ | Cell,
    *,
    error_rate: float,
    current: float | None = None,
    voltage: float | None = None,
    direction: Direction = "p_to_ap",
    longest: float = 1e-6,
    **pulse: Any,
) -> float:
    """Shortest pulse whose write error rate is at most a target, at a fixed current or voltage.

    Parameters
    ----------
    device : MTJ or Cell
        Any junction (one that is not axisymmetric takes seconds a write), or one in a cell.
    error_rate : float
        Target, between 0 and 1.
    current, voltage : float
        Amplitude [A] or [V], one of the two; of a cell, what its driver regulates or supplies.
    direction : {"p_to_ap", "ap_to_p"}
        Of the write.
    longest : float
        Longest pulse of the search [s].
    **pulse
        `temperature`, `rise_time`, `relax_time` as in `mtjsim.write_error_rate`.

    Returns
    -------
    float
        [s].

    Raises
    ------
    ValueError
        If the target is not reached at `longest`; gives the rate that is reached.

    Examples
    --------
    >>> from mtjsim import MTJ
    >>> device = MTJ.from_effective(thermal_stability=60, critical_current=30e-6, characteristic_time=2e-9)
    >>> deep, shallow = (pulse_width_for(device, error_rate=p, current=60e-6) for p in (1e-8, 1e-3))
    >>> round(deep / shallow, 3)
    2.067
    """
    target = checked_rate("error_rate", error_rate)
    drive, given = one_drive(current, voltage)
    amplitude = checked_number(drive, given, "A" if drive == "current" else "V", zero_allowed=True)
    longest = checked_number("longest", longest, "s", zero_allowed=False)
    reach, bit = _reach_of_one(device, drive, direction, pulse)
    width = shortest_width(reach, bit, target, amplitude, longest=longest)
    if width is None:
        reached = reach.rate(bit, amplitude, longest)
        at = f"at {amplitude:g} {reach.unit} within {longest:g} s ({direction}): it is {reached:.3g} there"
        remedy = f"Give more than the critical current, {reach.junction.critical_current(direction):.3g} A."
        raise ArgumentError("error_rate", f"{target:g} is not reached {at}. {remedy}")
    return width


def current_for(
    device: MTJ | Cell,
    *,
    error_rate: float,
    pulse_width: float,
    direction: Direction = "p_to_ap",
    strongest: float | None = None,
    near: float | None = None,
    tolerance: float = ITERATION_TOLERANCE,
    **pulse: Any,
) -> float:
    """Weakest current whose write error rate is at most a target, at a fixed pulse width.

    Parameters
    ----------
    device : MTJ or Cell
        The junction, or a cell around it.
    error_rate : float
        Largest write error rate, in (0, 1).
    direction : {"p_to_ap", "ap_to_p"}
        Of the write.
    **pulse
        `temperature` [K], and `rise_time` and `relax_time` [s], as in `mtjsim.write_error_rate`.
    pulse_width : float
        [s].
    strongest : float, optional
        Largest current of the search [A]; 14.9 critical currents.
    near : float, optional
        A guess [A], which saves solves if it is within 5 %.
    tolerance : float
        Of the result, in critical currents.

    Returns
    -------
    float
        [A].

    Raises
    ------
    ValueError
        If the target is not reached at `strongest`; gives the rate that is reached, and its limit.
    """
    target = checked_rate("error_rate", error_rate)
    limit = None if strongest is None else checked_number("strongest", strongest, "A", zero_allowed=False)
    reach, bit = _reach_of_one(device, "current", direction, pulse, max_current=limit)
    return weakest_amplitude(reach, bit, target, pulse_width, near=near, tolerance=tolerance)


def voltage_for(
    device: MTJ | Cell,
    *,
    error_rate: float,
    pulse_width: float,
    direction: Direction = "p_to_ap",
    strongest: float | None = None,
    **pulse: Any,
) -> float:
    """Lowest voltage whose write error rate is at most a target [V]; `strongest` [V], the rest as in `current_for`.

    Raises
    ------
    ValueError
        As in `current_for`.
    """
    target = checked_rate("error_rate", error_rate)
    limit = None if strongest is None else checked_number("strongest", strongest, "V", zero_allowed=False)
    reach, bit = _reach_of_one(device, "voltage", direction, pulse, max_voltage=limit)
    return weakest_amplitude(reach, bit, target, pulse_width, tolerance=ITERATION_TOLERANCE)


def _reach_of_one(
    device: MTJ | Cell, drive: Drive, direction: Direction, pulse: dict[str, Any], **limits: Any
) -> tuple[Reach, int]:
    checked_choice("direction", direction, BIT_OF_DIRECTION)
    require_named(pulse, ("temperature", "rise_time", "relax_time"))
    pulse = dict(pulse)
    temperature = checked_number("temperature", pulse.pop("temperature", 300.0), "K", zero_allowed=False)
    names = ("strongest", "strongest")
    reach = Reach(device=device, drive=drive, temperatures=(temperature,), limit_names=names, **pulse, **limits)
    return reach, BIT_OF_DIRECTION[direction]


@shows_its_call
def find_setting(
    device: MTJ | Cell,
    error_rate: float | tuple[float, float] = 1e-3,
    *,
    minimize: str = "energy",
    drive: Drive = "current",
    pulse_width: float | tuple[float, float] | None = None,
    max_current: float | None = None,
    max_voltage: float | None = None,
    max_latency: float | None = None,
    max_area: float | None = None,
    breakdown_voltage: float | None = None,
    temperature: float | tuple[float, float] = 300.0,
    rise_time: float = 0.0,
    relax_time: float = 0.0,
) -> OperatingPoint:
    """Find the cheapest write setting that reaches target error rates in both directions.

    At each pulse width the two weakest sufficient amplitudes are found; the width is then chosen.

    Parameters
    ----------
    device : MTJ or Cell
        Any junction (one that is not axisymmetric takes seconds a write), bare or in a cell.
    error_rate : float or (float, float)
        Target for both bits, or for 0 and for 1. (Each junction of a differential cell meets the smaller one.)
    minimize : {"energy", "energy_with_driver", "latency", "area"}
        Mean energy of writing a 0 and a 1, in the junction or in junction, transistor and driver; the pulse width
        (then the limits decide); or, of a cell, its area: the point is then that of the cell that `smallest_cell`
        returns with it.
    drive : {"current", "voltage"}
        Of the setting.
    pulse_width : float or (float, float), optional
        Fixed, or the range to search [s]; 0.2 to 50 characteristic times.
    max_current, max_voltage, breakdown_voltage : float, optional
        Limits on both bits [A], [V]: the current at any time; the supply of a cell, or the voltage across the bare
        junction or channel; the voltage across the junction, largest in the AP state. A cell adds its own: its supply,
        what its transistor passes, its breakdown voltage. Without any, 14.9 critical currents.
    max_latency : float, optional
        Of pulse, one ramp and relaxation [s].
    max_area : float, optional
        Of a cell [m^2]: its transistor is made narrower if it has to be (`within_area`), and the point is that cell's.
    temperature : float or (float, float)
        Of the junction, and of the transistor of a cell [K]; of a range, the rates hold at both ends and in between,
        and the point is that of the worst.
    rise_time, relax_time : float
        As in `mtjsim.write_error_rate`.

    Returns
    -------
    OperatingPoint
        Its `setting` has the amplitudes and the width; its rates are solved at that setting.

    Raises
    ------
    ValueError
        If a target or a limit is out of range or the two contradict each other, or the transistor of a cell has no law
        for a temperature (`Transistor.at`), before any search; if no setting
        reaches the targets: gives the nearest rate, its limit, and whether a longer pulse alone would be enough.

    Notes
    -----
    The energy as a function of the width has one minimum: a shorter pulse needs a current that grows as 1/width, a
    longer one wastes energy near the threshold. A walk in log width, from the longest down to the shortest that the
    limits allow, finds its neighbourhood, a spline through more points the minimum (contour.py): to 1 % of the width.

    Examples
    --------
    >>> from mtjsim import MTJ
    >>> device = MTJ.from_effective(thermal_stability=60, critical_current=30e-6, characteristic_time=2e-9)
    >>> point = find_setting(device, 1e-6, max_current=60e-6)
    >>> s = point.setting
    >>> print(f"{s.current_1 * 1e6:.0f} uA, {s.pulse_width * 1e9:.0f} ns, {point.mean_energy * 1e15:.0f} fJ")
    55 uA, 21 ns, 464 fJ
    """
    checked_choice("minimize", minimize, OBJECTIVES)
    question = Inquiry.checked(
        device,
        error_rate,
        drive=drive,
        pulse_width=pulse_width,
        max_current=max_current,
        max_voltage=max_voltage,
        max_latency=max_latency,
        max_area=max_area,
        breakdown_voltage=breakdown_voltage,
        temperature=temperature,
        rise_time=rise_time,
        relax_time=relax_time,
    )
    if minimize == "area":
        return question.at_all_temperatures(_smallest)[1]
    return question.at_all_temperatures(partial(_cheapest, minimize=minimize))[1]


def smallest_cell(
    cell: Cell, error_rate: float | tuple[float, float] = 1e-3, **limits: Any
) -> tuple[Cell, OperatingPoint]:
    """Find the narrowest transistor, and so the smallest cell, that reaches target error rates in both directions.

    The pulse is the longest that is allowed, so that the write is the weakest; give `max_latency` or `pulse_width`.

    Parameters
    ----------
    cell : Cell
        Its transistor's width does not matter.
    error_rate, **limits
        As in `find_setting`.

    Returns
    -------
    (Cell, OperatingPoint)
        The cell with its narrowest transistor, and its operating point.

    Raises
    ------
    ValueError
        As in `find_setting`, and if the cell would be larger than `max_area`.
    """
    require_named(limits, LIMITS)
    cell, point = Inquiry.checked(cell, error_rate, **limits).at_all_temperatures(_smallest)
    return cell, point


def _cheapest(question: Inquiry, *, minimize: str) -> tuple[MTJ | Cell, OperatingPoint]:
    reach, targets, low, high = question.reach, question.targets, question.low, question.high

    def at_width(width: float, near: Sequence[float | None] = (None, None)) -> OperatingPoint:
        amplitudes = [
            weakest_amplitude(reach, bit, targets[bit], width, near=near[bit], tolerance=ITERATION_TOLERANCE)
            for bit in (0, 1)
        ]
        return reach.point((amplitudes[0], amplitudes[1]), width)

    if low == high:
        question.require_reachable()
        return reach.device, at_width(low)
    if minimize == "latency":
        return reach.device, at_width(min(max(low, question.shortest() * (1 + 1e-6)), high))
    if question.limited:
        low = max(low, question.shortest(coarse=True) * (1 + COARSE_MARGIN))

    contours = tuple(Contour(reach, bit, targets[bit], with_driver=minimize == "energy_with_driver") for bit in (0, 1))
    width = cheapest_width((contours[0], contours[1]), min(low, high), high)
    if width is None:
        return reach.device, at_width(high)  # raises, with what limits it
    return reach.device, at_width(width, [contour.amplitude(math.log(width)) for contour in contours])


def _smallest(question: Inquiry) -> tuple[Cell, OperatingPoint]:
    """Smallest cell at the longest width."""
    reach, targets, width = question.reach, question.targets, question.high
    if not isinstance(reach.device, Cell):
        raise ArgumentError("minimize", NO_AREA)
    cell, F = reach.device, reach.device.transistor.feature_size

    def weakest(cell: Cell) -> tuple[float, float]:
        within = replace(reach, device=cell)
        found = [weakest_amplitude(within, b, targets[b], width, tolerance=ITERATION_TOLERANCE) for b in (0, 1)]
        return found[0], found[1]

    widest = cell.with_width(WIDEST * F)
    replace(question, reach=replace(reach, device=widest)).require_reachable()
    if reach.drive == "current":
        setting = reach.setting(weakest(widest), width)
        enough = [narrowest_transistor(cell, setting, temperature=T) for T in reach.temperatures]
        small = cell.replace(transistor=max(enough, key=lambda transistor: transistor.width))
    else:

        def excess(log_width: float) -> float:
            within = replace(reach, device=cell.with_width(max(math.exp(log_width), F)))
            rates = [within.rate(bit, within.ceiling(bit).amplitude, width) / targets[bit] for bit in (0, 1)]
            return math.log(max(*rates, 1e-300))

        ends = math.log(F), math.log(WIDEST * F)
        narrow = excess(ends[0]) <= 0
        small = cell.with_width(F) if narrow else cell.with_width(math.exp(brentq(excess, *ends, xtol=1e-6) + 2e-6))
    if question.max_area is not None and small.area > question.max_area * (1 + 1e-9):
        needed = f"{small.area:.3g} m^2, W = {small.transistor.width * 1e9:.0f} nm, at {width:g} s"
        raise ArgumentError("max_area", f"of {question.max_area:g} m^2 is too small: the targets need {needed}.")
    return small, replace(reach, device=small).point(weakest(small), width)
