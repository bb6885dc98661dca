"""The write pulse in time: rectangular, trapezoidal, sampled, or several in sequence; a current or a voltage.

A pulse is piecewise linear: breakpoints in time and the level at each, a jump being two breakpoints at one time. Levels
are amplitudes *in the direction of the write*: > 0 drives it, < 0 drives back.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, Self

import numpy as np
from numpy.typing import ArrayLike

from mtjsim.checks import (
    DIRECTIONS,
    ArgumentError,
    Array,
    Direction,
    Suggesting,
    checked_choice,
    checked_kind,
    checked_number,
    checked_numbers,
    checked_ramps,
)
from mtjsim.plausibility import doubt

Drive = Literal["current", "voltage"]
DRIVES: tuple[Drive, ...] = ("current", "voltage")
UNITS = {"current": "A", "voltage": "V"}


@dataclass(frozen=True)
class Pulse(Suggesting):
    """A current or a voltage in time; build it with `rectangular`, `trapezoidal`, `sampled` or `followed_by`.

    Parameters
    ----------
    times : tuple of float
        Breakpoints, from 0, never falling [s].
    levels : tuple of float
        Level at each [A or V], linear in between; > 0 drives the direction of the write.
    drive : {"current", "voltage"}
        The imposed quantity; the other follows from the resistance of the junction.
    polarity : {"p_to_ap", "ap_to_p"}, optional
        The direction that levels > 0 drive, whatever the direction of the write: for unipolar writes such as VCMA's.
        Default: the direction of the write.

    Raises
    ------
    ValueError
        If times and levels do not match, times fall or do not start at 0, or a number is not finite.

    Examples
    --------
    >>> pulse = Pulse.trapezoidal(current=50e-6, pulse_width=5e-9, rise_time=1e-9).followed_by(relax_time=2e-9)
    >>> round(pulse.duration * 1e9, 9), round(float(pulse.at(0.5e-9)) * 1e6, 9)
    (8.0, 25.0)
    """

    times: tuple[float, ...]
    levels: tuple[float, ...]
    drive: Drive = "current"
    polarity: Direction | None = None

    def __post_init__(self) -> None:
        checked_choice("drive", self.drive, DRIVES)
        if self.polarity is not None:
            checked_choice("polarity", self.polarity, DIRECTIONS)
        times = checked_numbers("times", self.times, "s")
        levels = checked_numbers("levels", self.levels, UNITS[self.drive])
        if times.ndim != 1 or times.shape != levels.shape or times.size < 2:
            shapes = f"{times.shape} and {levels.shape}"
            raise ValueError(f"times and levels must be two lists of one length >= 2, got shapes {shapes}.")
        if times[0] != 0 or (np.diff(times) < 0).any() or times[-1] <= 0:
            raise ArgumentError("times", "must start at 0 s, never fall, and end later than they start.")
        object.__setattr__(self, "times", tuple(times.tolist()))
        object.__setattr__(self, "levels", tuple(levels.tolist()))

    # ---- construction -------------------------------------------------------------------------------------------

    @classmethod
    def rectangular(
        cls,
        *,
        pulse_width: float,
        current: float | None = None,
        voltage: float | None = None,
        polarity: Direction | None = None,
    ) -> Self:
        """Return a pulse of one level, `current` [A] or `voltage` [V], for `pulse_width` [s]."""
        return cls.trapezoidal(pulse_width=pulse_width, current=current, voltage=voltage, polarity=polarity)

    @classmethod
    def trapezoidal(
        cls,
        *,
        pulse_width: float,
        rise_time: float = 0.0,
        current: float | None = None,
        voltage: float | None = None,
        polarity: Direction | None = None,
    ) -> Self:
        """Return a pulse with linear ramps.

        Parameters
        ----------
        pulse_width : float
            Full width at half maximum [s].
        rise_time : float
            Of each of the two ramps [s]; the pulse takes pulse_width + rise_time in all.
        current, voltage : float
            Level of the plateau [A] or [V], >= 0; one of the two.
        polarity
            As in `Pulse`.
        """
        drive, level = one_drive(current, voltage)
        pulse_width = checked_number("pulse_width", pulse_width, "s", zero_allowed=False)
        rise_time = checked_number("rise_time", rise_time, "s", zero_allowed=True)
        checked_ramps(rise_time, pulse_width)
        level = checked_number(drive, level, UNITS[drive], zero_allowed=True)
        for name, value in (("pulse_width", pulse_width), ("rise_time", rise_time), (drive, level)):
            doubt(name, value)
        if rise_time == 0:
            return cls((0.0, pulse_width), (level, level), drive, polarity)
        times = (0.0, rise_time, pulse_width, pulse_width + rise_time)
        return cls(times, (0.0, level, level, 0.0), drive, polarity)

    @classmethod
    def sampled(
        cls,
        times: ArrayLike,
        *,
        current: ArrayLike | None = None,
        voltage: ArrayLike | None = None,
        polarity: Direction | None = None,
    ) -> Self:
        """Return a waveform through samples: `times` (k,) [s] from 0, and as many levels [A] or [V], of any sign."""
        drive, levels = one_drive(current, voltage)
        levels = checked_numbers(drive, levels, UNITS[drive])
        pulse = cls(times, levels, drive, polarity)  # type: ignore[arg-type]
        doubt("pulse_width", pulse.duration, name="times")
        doubt(drive, levels)
        return pulse

    def followed_by(self, other: Pulse | None = None, *, relax_time: float = 0.0) -> Pulse:
        """Return this pulse, then nothing for `relax_time` [s], then the `other` pulse."""
        relax_time = checked_number("relax_time", relax_time, "s", zero_allowed=True)
        doubt("relax_time", relax_time)
        times, levels = list(self.times), list(self.levels)
        if relax_time > 0:
            times += [times[-1], times[-1] + relax_time]
            levels += [0.0, 0.0]
        if other is not None:
            checked_kind("other", other, Pulse)
            if (other.drive, other.polarity) != (self.drive, self.polarity):
                both = " and ".join(f"{pulse.drive}/{pulse.polarity}" for pulse in (self, other))
                raise ArgumentError("other", f"must have the same drive and polarity, got {both}.")
            times += [times[-1] + t for t in other.times]
            levels += list(other.levels)
        return Pulse(tuple(times), tuple(levels), self.drive, self.polarity)

    # ---- reading ------------------------------------------------------------------------------------------------

    @property
    def duration(self) -> float:
        """From the first breakpoint to the last [s]."""
        return self.times[-1]

    @property
    def peak(self) -> float:
        """Largest magnitude of the level [A or V]."""
        return max(abs(level) for level in self.levels)

    @property
    def segments(self) -> list[tuple[float, float, float, float]]:
        """Linear pieces as (start, end, level at start, level at end), jumps left out."""
        knots = list(zip(self.times, self.levels, strict=True))
        pieces = pairwise(knots)
        return [(t0, t1, a, b) for (t0, a), (t1, b) in pieces if t1 > t0]

    def as_trapezoid(self) -> tuple[float, float, float, float] | None:
        """Return (level, pulse_width, rise_time, time at zero afterwards) if the pulse is a trapezoid, else None."""
        pieces = self.segments
        rest = 0.0
        if len(pieces) > 1 and pieces[-1][2] == pieces[-1][3] == 0.0:
            rest = pieces[-1][1] - pieces[-1][0]
            pieces = pieces[:-1]
        if len(pieces) == 1 and pieces[0][2] == pieces[0][3] >= 0:
            return pieces[0][2], pieces[0][1], 0.0, rest
        if len(pieces) in (2, 3):
            (_, rise, zero, level), (start_fall, end, high, low) = pieces[0], pieces[-1]
            flat = len(pieces) == 2 or pieces[1][2] == pieces[1][3] == level
            even = np.isclose(end - start_fall, rise, rtol=1e-9, atol=0.0)
            if zero == low == 0 and high == level > 0 and flat and even:
                return level, start_fall, rise, rest
        return None

    def at(self, time: ArrayLike) -> Array:
        """Level at `time` [s], any shape; after a jump at the jump, 0 outside."""
        t = checked_numbers("time", time, "s")
        level = np.zeros(t.shape)
        for t0, t1, a, b in self.segments:
            level = np.where((t >= t0) & (t <= t1), a + (b - a) * (t - t0) / (t1 - t0), level)
        return level

    def sign(self, direction: Direction) -> float:
        """+1 if levels > 0 are currents I > 0, which favour P; -1 otherwise."""
        checked_choice("direction", direction, DIRECTIONS)
        return -1.0 if (self.polarity or direction) == "p_to_ap" else 1.0


def pulse_of(
    current: float | None, voltage: float | None, pulse_width: float | None, pulse: Pulse | None, rise_time: float = 0.0
) -> Pulse:
    """Return the `pulse` that was given, or the trapezoid that the numbers describe; ValueError if both or neither."""
    numbers = {"current": current, "voltage": voltage, "pulse_width": pulse_width}
    given = [name for name, value in numbers.items() if value is not None]
    if pulse is not None:
        ramp = checked_number("rise_time", rise_time, "s", zero_allowed=True) or None
        require_alone(pulse, **numbers, rise_time=ramp)
        return pulse
    if "pulse_width" not in given or len(given) != 2:
        raise ValueError(f"give pulse_width and one of current and voltage, or a pulse; got {given or 'nothing'}.")
    assert pulse_width is not None
    return Pulse.trapezoidal(current=current, voltage=voltage, pulse_width=pulse_width, rise_time=rise_time)


def require_alone(pulse: Pulse, **numbers: ArrayLike | None) -> None:
    """Raise ArgumentError unless `pulse` is a Pulse and every one of the `numbers` that it replaces is None."""
    checked_kind("pulse", pulse, Pulse, remedy="Pulse.rectangular() makes one.")
    given = [name for name, value in numbers.items() if value is not None]
    if given:
        raise ArgumentError("pulse", f"replaces {', '.join(numbers)}; omit {' and '.join(given)}.")


def one_drive(current: ArrayLike | None, voltage: ArrayLike | None) -> tuple[Drive, ArrayLike]:
    """Return which of the two was given, and its value; ValueError if both or neither."""
    if current is not None and voltage is None:
        return "current", current
    if voltage is not None and current is None:
        return "voltage", voltage
    raise ValueError(f"give exactly one of current and voltage, got {'neither' if current is None else 'both'}.")
