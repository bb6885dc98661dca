"""The inverse questions: which pulse, which current, which setting reaches a target error rate, at what energy."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.optimize import brentq, minimize_scalar
from tqdm.auto import tqdm

from bridge.write import DIRECTION_OF_BIT, OperatingPoint, WriteSetting, operating_point
from mtjsim.checks import Direction, checked_array, checked_choice
from mtjsim.device import MTJ
from mtjsim.switching import write_error_rate

OBJECTIVES = ("energy", "latency")
STRONGEST_DRIVE = 14.9  # in I_c0: where a search for a current gives up unless told otherwise
SMALLEST_TARGET = 1e-60  # error rates below this are nobody's, and underflow is near
ITERATION_TOLERANCE = 1e-7  # of currents in I_c0, and of widths, relative
COARSE_TOLERANCE = 1e-4  # of currents while the width is still searched
SCANNED_WIDTHS = 9
WIDTH_TOLERANCE = 0.01  # relative: at the minimum the energy does not feel it


def pulse_width_for(
    device: MTJ,
    *,
    error_rate: float,
    current: float,
    direction: Direction = "p_to_ap",
    longest: float = 1e-6,
    **pulse: Any,
) -> float:
    """Shortest pulse whose write error rate is at most a target, at a fixed current.

    Parameters
    ----------
    device : MTJ
        Any junction (one that is not axisymmetric takes seconds a write).
    error_rate : float
        Target, between 0 and 1.
    current : float
        Amplitude [A].
    direction : {"p_to_ap", "ap_to_p"}
        Of the write.
    longest : float
        Where the search gives up [s].
    **pulse
        `temperature`, `rise_time`, `relax_time` as in `mtjsim.write_error_rate`.

    Returns
    -------
    float
        [s].

    Raises
    ------
    ValueError
        If the target is not reached at `longest`; says what was reached.

    Examples
    --------
    >>> from mtjsim import MTJ
    >>> device = MTJ.from_effective(thermal_stability=60, critical_current=30e-6, characteristic_time=2e-9)
    >>> deep, shallow = (pulse_width_for(device, error_rate=p, current=60e-6) for p in (1e-8, 1e-3))
    >>> round(deep / shallow, 3)
    2.067
    """
    target = _checked_rate("error_rate", error_rate)
    shortest = max(pulse.get("rise_time", 0.0), 1e-4 * device.characteristic_time(pulse.get("temperature")))

    def excess(log_width: float) -> float:
        rate = write_error_rate(
            device, current=current, pulse_width=max(math.exp(log_width), shortest), direction=direction, **pulse
        )
        return math.log(max(float(rate), 1e-300) / target)

    if excess(math.log(shortest)) <= 0:
        return shortest
    # walk up in octaves: a solve costs little more for a long pulse, but the root is found in a narrow bracket
    low, high = shortest, min(2 * shortest, longest)
    while excess(math.log(high)) > 0:
        if high >= longest:
            reached = target * math.exp(excess(math.log(longest)))
            raise ValueError(
                f"error_rate {target:g} is not reached at {current:g} A within {longest:g} s ({direction}): it is "
                f"{reached:.3g} there. Give more than the critical current, {device.critical_current(direction):.3g} A."
            )
        low, high = high, min(2 * high, longest)
    return math.exp(brentq(excess, math.log(low), math.log(high), xtol=ITERATION_TOLERANCE))


def current_for(
    device: MTJ,
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
    device, error_rate, direction, **pulse
        As in `pulse_width_for`.
    pulse_width : float
        [s].
    strongest : float, optional
        Where the search gives up [A]; 14.9 critical currents.
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
        If the target is not reached at `strongest`; says what was reached.
    """
    target = _checked_rate("error_rate", error_rate)
    critical = device.critical_current(direction, pulse.get("temperature"))
    limit = (
        STRONGEST_DRIVE * critical
        if strongest is None
        else float(checked_array("strongest", strongest, "A", zero_allowed=False))
    )

    def excess(current: float) -> float:
        rate = write_error_rate(device, current=current, pulse_width=pulse_width, direction=direction, **pulse)
        return math.log(max(float(rate), 1e-300) / target)

    low, high = 0.0, min(critical if near is None else 1.05 * near, limit)
    if near is not None and excess(0.95 * near) > 0:
        low = 0.95 * near
    if low == 0.0 and excess(0.0) <= 0:
        return 0.0
    while excess(high) > 0:
        if high >= limit:
            reached = target * math.exp(excess(limit))
            raise ValueError(
                f"error_rate {target:g} is not reached with {pulse_width:g} s and at most {limit:g} A ({direction}): "
                f"it is {reached:.3g} there. Allow a longer pulse or more current."
            )
        low, high = high, min(1.5 * high, limit)
    return float(brentq(excess, low, high, xtol=tolerance * critical))


def find_setting(
    device: MTJ,
    error_rate: float | tuple[float, float] = 1e-3,
    *,
    minimize: str = "energy",
    pulse_width: float | tuple[float, float] | None = None,
    max_current: float | None = None,
    temperature: float = 300.0,
    rise_time: float = 0.0,
    relax_time: float = 0.0,
) -> OperatingPoint:
    """Find the cheapest write setting that reaches target error rates in both directions.

    At each pulse width the two weakest sufficient currents are found; the width is then chosen.

    Parameters
    ----------
    device : MTJ
        Any junction (one that is not axisymmetric takes seconds a write).
    error_rate : float or (float, float)
        Target for both bits, or for 0 and for 1.
    minimize : {"energy", "latency"}
        Mean energy of writing a 0 and a 1, or the pulse width (then `max_current` decides).
    pulse_width : float or (float, float), optional
        Fixed, or the range to search [s]; 0.2 to 50 characteristic times.
    max_current : float, optional
        Limit on both currents [A]; 14.9 critical currents.
    temperature, rise_time, relax_time : float
        As in `mtjsim.write_error_rate`.

    Returns
    -------
    OperatingPoint
        Its `setting` has the currents and the width; its rates are solved anew at that setting.

    Raises
    ------
    ValueError
        If a target or a limit is out of range, or no setting reaches the targets; says what limits it.

    Notes
    -----
    The energy as a function of the width has one minimum: a shorter pulse needs a current that grows as 1/width, a
    longer one wastes energy near the threshold. A scan in log width finds its neighbourhood, a bounded Brent search
    the minimum.
    """
    checked_choice("minimize", minimize, OBJECTIVES)
    targets = error_rate if isinstance(error_rate, (tuple, list)) else (error_rate, error_rate)
    if len(targets) != 2:
        raise ValueError(f"error_rate must be one number or (for 0, for 1), got {len(targets)} numbers.")
    targets = (_checked_rate("error_rate_0", targets[0]), _checked_rate("error_rate_1", targets[1]))
    if max_current is not None:
        checked_array("max_current", max_current, "A", zero_allowed=False)
    tau = device.characteristic_time(temperature)
    low, high = _width_range(pulse_width, rise_time, tau)
    pulse = {"temperature": temperature, "rise_time": rise_time, "relax_time": relax_time}

    def at_width(
        width: float, tolerance: float = ITERATION_TOLERANCE, near: Sequence[float | None] = (None, None)
    ) -> OperatingPoint:
        currents = [
            current_for(
                device,
                error_rate=targets[bit],
                pulse_width=width,
                direction=DIRECTION_OF_BIT[bit],
                strongest=max_current,
                near=near[bit],
                tolerance=tolerance,
                **pulse,
            )
            for bit in (0, 1)
        ]
        setting = WriteSetting(
            current_0=currents[0], current_1=currents[1], pulse_width=width, rise_time=rise_time, relax_time=relax_time
        )
        return operating_point(device, setting, temperature=temperature)

    if low == high:
        return at_width(low)
    if minimize == "latency":
        shortest = max(
            pulse_width_for(
                device,
                error_rate=targets[bit],
                current=max_current or STRONGEST_DRIVE * device.critical_current(DIRECTION_OF_BIT[bit], temperature),
                direction=DIRECTION_OF_BIT[bit],
                longest=high,
                **pulse,
            )
            for bit in (0, 1)
        )
        return at_width(max(shortest * (1 + 1e-6), low))

    near: list[float | None] = [None, None]
    bar = tqdm(desc="widths tried", unit="width", disable=None, leave=False)

    def cost(log_width: float) -> float:
        bar.update()
        try:
            point = at_width(math.exp(log_width), COARSE_TOLERANCE, near)
        except ValueError:  # the limit on the current cannot be kept at this width
            return math.inf
        near[:] = point.setting.current_0, point.setting.current_1
        return float(point.mean_energy)

    # from the longest width down, where currents are weak and solves cheap, until the energy rises again
    scan = np.linspace(math.log(high), math.log(low), SCANNED_WIDTHS)
    costs = [cost(scan[0])]
    while len(costs) < len(scan) and not costs[-1] > min(costs):
        costs.append(cost(scan[len(costs)]))
    best = int(np.argmin(costs))
    if not math.isfinite(costs[best]):
        bar.close()
        return at_width(high)  # raises, with what limits it
    bounds = (scan[min(best + 1, len(costs) - 1)], scan[max(best - 1, 0)])
    found = minimize_scalar(cost, bounds=bounds, method="bounded", options={"xatol": WIDTH_TOLERANCE})
    bar.close()
    return at_width(math.exp(found.x if found.fun <= costs[best] else scan[best]))


def _width_range(pulse_width: float | tuple[float, float] | None, rise_time: float, tau: float) -> tuple[float, float]:
    if pulse_width is None:
        return max(0.2 * tau, 1.0001 * rise_time), max(50 * tau, 2 * rise_time)
    checked = checked_array("pulse_width", pulse_width, "s", zero_allowed=False)
    low, high = float(checked.min()), float(checked.max())
    if checked.ndim and (checked.shape != (2,) or checked[0] > checked[1]):
        raise ValueError(f"pulse_width must be one number or (shortest, longest) in s, got {pulse_width}.")
    return low, high


def _checked_rate(name: str, rate: float) -> float:
    value = float(checked_array(name, rate, "", zero_allowed=False, way_out="Rates are probabilities, not percent."))
    if not SMALLEST_TARGET <= value < 1:
        raise ValueError(
            f"{name} must be >= {SMALLEST_TARGET:g} and < 1, got {value:g}. Rates are probabilities, not percent."
        )
    return value
