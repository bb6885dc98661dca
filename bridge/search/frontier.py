"""Trade-offs: energy and latency over the target error rate, and the Pareto front of operating points."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from tqdm import tqdm

from bridge.cell.cell import Cell
from bridge.checks import checked_list
from bridge.search.inquiry import LIMITS, Inquiry, require_named
from bridge.search.reach import ITERATION_TOLERANCE, weakest_amplitude
from bridge.write import OperatingPoint
from mtjsim.checks import ArgumentError, checked_choice, checked_number
from mtjsim.device import MTJ

FIGURES: dict[str, Callable[[OperatingPoint], float]] = {
    "energy": lambda point: point.mean_energy,
    "energy_with_driver": lambda point: point.mean_energy_with_driver,
    "latency": lambda point: point.latency,
    "error_rate": lambda point: point.worst_error_rate,
}


def trade_off(
    device: MTJ | Cell,
    error_rates: ArrayLike,
    pulse_widths: ArrayLike | None = None,
    **limits: Any,
) -> list[OperatingPoint]:
    """Solve the weakest sufficient write for every target error rate and pulse width.

    Parameters
    ----------
    device : MTJ or Cell
        Any junction (one that is not axisymmetric takes seconds a write), bare or in a cell.
    error_rates : (n,) array
        Targets, for both bits.
    pulse_widths : (m,) array, optional
        [s]; 12 from 0.5 to 20 characteristic times, those of them that the limits allow.
    **limits
        As in `find_setting`, `pulse_width` and `max_area` excepted.

    Returns
    -------
    list of OperatingPoint
        Those that exist (a pulse may be too short for the limits), by target, then by width.

    Raises
    ------
    ValueError
        As in `find_setting`, if no target is reached at any width.

    Examples
    --------
    >>> from mtjsim import MTJ
    >>> device = MTJ.from_effective(thermal_stability=60, critical_current=30e-6, characteristic_time=2e-9)
    >>> points = trade_off(device, [1e-3, 1e-6], [5e-9, 10e-9])
    >>> for row in as_records(points):
    ...     print(f"{row['error_rate']:.0e} {row['latency'] * 1e9:.0f} ns {row['energy'] * 1e15:.0f} fJ")
    1e-03 5 ns 359 fJ
    1e-03 10 ns 285 fJ
    1e-06 5 ns 746 fJ
    1e-06 10 ns 530 fJ
    """
    require_named(limits, [name for name in LIMITS if name not in ("pulse_width", "max_area")])
    targets = checked_list("error_rates", error_rates, "")
    questions = [Inquiry.checked(device, float(target), **limits) for target in targets]
    tau = questions[0].reach.junction.characteristic_time(questions[0].reach.temperatures[0])
    given = np.geomspace(0.5, 20, 12) * tau if pulse_widths is None else pulse_widths
    widths = checked_list("pulse_widths", given, "s")
    points: dict[tuple[int, int], OperatingPoint] = {}
    refusals = []
    with tqdm(total=widths.size * targets.size, desc="trade-off", disable=None, leave=False) as bar:
        for w, width in enumerate(widths):
            near: list[float | None] = [None, None]  # the amplitude of the next target is near that of the last
            for t, question in enumerate(questions):
                bar.update()
                if not question.reach.rise_time <= width <= question.high * (1 + 1e-12):
                    continue
                try:
                    points[t, w] = _weakest(question, float(width), near)
                except ValueError as refusal:
                    refusals.append(refusal)
    if not points:
        if refusals:
            raise refusals[-1]
        raise ValueError(f"no pulse width is allowed: the longest is {questions[0].high:g} s ({questions[0].reason}).")
    return [points[key] for key in sorted(points)]


def _weakest(question: Inquiry, width: float, near: list[float | None]) -> OperatingPoint:
    reach, targets = question.reach, question.targets
    found = [
        weakest_amplitude(reach, bit, targets[bit], width, near=near[bit], tolerance=ITERATION_TOLERANCE)
        for bit in (0, 1)
    ]
    near[:] = found
    return reach.point((found[0], found[1]), width)


def pareto(
    points: Iterable[OperatingPoint],
    figures: Sequence[str] = ("energy", "latency", "error_rate"),
    *,
    tolerance: float = 1e-5,
) -> list[OperatingPoint]:
    """Return the Pareto front, in the order of the points: no other point is better in one figure and as good in all.

    Parameters
    ----------
    points : iterable of OperatingPoint
    figures : sequence of {"energy", "energy_with_driver", "latency", "error_rate"}
        All to be small: mean energies [J], latency [s], the error rate of the worse direction.
    tolerance : float
        Relative; figures that differ by less are equal, as two rates are that were searched for one target.

    Raises
    ------
    ValueError
        If the tolerance is negative, a figure is unknown, or there is none.
    """
    if not figures:
        raise ArgumentError("figures", f"must be at least one of {', '.join(FIGURES)}.")
    for name in figures:
        checked_choice("a figure", name, FIGURES)
    tolerance = checked_number("tolerance", tolerance, "", zero_allowed=True)
    points = list(points)
    table = np.array([[FIGURES[name](point) for name in figures] for point in points]).reshape(
        len(points), len(figures)
    )
    kept = []
    for k, row in enumerate(table):
        no_worse = (table <= row * (1 + tolerance)).all(axis=1)
        better = (table < row * (1 - tolerance)).any(axis=1)
        twin = (table[:k] == row).all(axis=1).any()
        if not (no_worse & better).any() and not twin:
            kept.append(points[k])
    return kept


def as_records(points: Iterable[OperatingPoint]) -> list[dict[str, Any]]:
    """Return a row for each point, in SI: amplitudes, width, rates of both bits, joules by part, figures, identity."""
    rows = []
    for point in points:
        row: dict[str, Any] = dict(point.setting.as_dict()) if point.setting is not None else {}
        row |= {name: figure(point) for name, figure in FIGURES.items()}
        row |= {f"error_rate_{bit}": getattr(point, f"error_rate_{bit}") for bit in (0, 1)}
        for part, table in point.energies.items():
            row |= {f"{part}_energy_{bit}": float(table[bit, 0]) for bit in (0, 1)}
        rows.append(row | {"temperature": point.temperature, "identity": point.identity})
    return rows
