"""Arguments of a write, as of `write_error_rate`: checked, broadcast, and grouped into writes that share one solve."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mtjsim.checks import (
    DIRECTIONS,
    ArgumentError,
    Array,
    Direction,
    checked_array,
    checked_names,
    checked_ramps,
)
from mtjsim.plausibility import doubt
from mtjsim.pulse import UNITS, Drive, Pulse, one_drive, require_alone

AMPLITUDE = "It is an amplitude; `direction` has the sign."


@dataclass(frozen=True)
class OneWrite:
    """One solve: everything but the width of the pulse.

    Attributes
    ----------
    direction : {"p_to_ap", "ap_to_p"}
    level : float
        Of the plateau [A or V], >= 0.
    temperature, rise_time, relax_time : float
        [K], [s], [s].
    imposed : {"current", "voltage"}
        Quantity of `level`.
    polarity : {"p_to_ap", "ap_to_p"} or None
        The direction that the level drives, where it is not that of the write.
    pulse : Pulse or None
        A pulse that is not a trapezoid; `level` is then its peak.
    """

    direction: Direction
    level: float
    temperature: float
    rise_time: float
    relax_time: float
    imposed: Drive = "current"
    polarity: Direction | None = None
    pulse: Pulse | None = None


@dataclass(frozen=True)
class Question:
    """Arguments broadcast to one shape; the attributes are those of `write_error_rate`."""

    direction: NDArray[np.str_]
    level: Array
    pulse_width: Array
    temperature: Array
    rise_time: Array
    relax_time: Array
    imposed: Drive
    polarity: Direction | None
    pulse: Pulse | None

    @classmethod
    def checked(
        cls,
        *,
        current: ArrayLike | None = None,
        voltage: ArrayLike | None = None,
        pulse_width: ArrayLike | None = None,
        pulse: Pulse | None = None,
        direction: str | ArrayLike,
        temperature: ArrayLike,
        rise_time: ArrayLike = 0.0,
        relax_time: ArrayLike = 0.0,
    ) -> "Question":
        """Check every argument; ValueError with the argument, the rule, the value, the remedy."""
        both = isinstance(direction, str) and direction == "both"
        ways = checked_names("direction", DIRECTIONS if both else direction, (*DIRECTIONS, "both"))
        if (ways == "both").any():
            raise ArgumentError("direction", "must be 'both' alone, not in an array.")
        level: ArrayLike
        shape: Pulse | None = None
        polarity: Direction | None = None
        if pulse is not None:
            ramp = rise_time if np.any(rise_time) else None
            require_alone(pulse, current=current, voltage=voltage, pulse_width=pulse_width, rise_time=ramp)
            imposed, polarity = pulse.drive, pulse.polarity
            if pulse.peak == 0:  # waiting
                level, pulse_width, rise_time = 0.0, pulse.duration, 0.0
            elif (plain := pulse.as_trapezoid()) is not None:
                level, pulse_width, rise_time, rest = plain
                relax_time = np.asarray(relax_time, dtype=float) + rest
            else:
                level, pulse_width, shape = pulse.peak, pulse.duration, pulse
        else:
            imposed, level = one_drive(current, voltage)
            if pulse_width is None:
                raise ArgumentError("pulse_width", "is missing: give it in s, or a whole pulse.")
        arrays = [
            ways,
            checked_array(imposed, level, UNITS[imposed], zero_allowed=True, remedy=AMPLITUDE),
            checked_array("pulse_width", pulse_width, "s", zero_allowed=False),
            checked_array("temperature", temperature, "K", zero_allowed=False),
            checked_array("rise_time", rise_time, "s", zero_allowed=True),
            checked_array("relax_time", relax_time, "s", zero_allowed=True),
        ]
        if both:  # a first axis for the directions, before those of the other arguments
            arrays[0] = ways.reshape(-1, *(1 for _ in np.broadcast_shapes(*(array.shape for array in arrays[1:]))))
        way, level, pulse_width, temperature, rise_time, relax_time = np.broadcast_arrays(*arrays)
        question = cls(way, level, pulse_width, temperature, rise_time, relax_time, imposed, polarity, shape)
        checked_ramps(question.rise_time, question.pulse_width)
        doubt("temperature", question.temperature)
        if pulse is None:  # a pulse was doubted when it was made
            for name, values in ((imposed, question.level), ("pulse_width", question.pulse_width)):
                doubt(name, values)
            doubt("rise_time", question.rise_time)
        doubt("relax_time", question.relax_time)
        return question

    def writes(self) -> Iterator[tuple[OneWrite, list[int], Array]]:
        """Distinct writes, each with the flat indices of its elements and their plateaus [s]."""
        groups: dict[tuple, list[int]] = {}
        columns = (self.direction, self.level, self.temperature, self.rise_time, self.relax_time)
        for index, key in enumerate(zip(*(column.ravel().tolist() for column in columns), strict=True)):
            groups.setdefault(key, []).append(index)
        widths = self.pulse_width.ravel()
        for key, members in groups.items():
            way, level, temperature, rise_time, relax_time = key
            write = OneWrite(way, level, temperature, rise_time, relax_time, self.imposed, self.polarity, self.pulse)
            plateaus = np.zeros(len(members)) if self.pulse else np.maximum(widths[members] - write.rise_time, 0.0)
            yield write, members, plateaus
