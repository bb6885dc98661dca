"""Checks of arguments, once, at the public boundary: the argument, the rule, the value, what to do instead."""

import difflib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

Direction = Literal["p_to_ap", "ap_to_p"]
DIRECTIONS: tuple[Direction, ...] = ("p_to_ap", "ap_to_p")
NOT_PERCENT = "Rates are probabilities, not percent."


class ArgumentError(ValueError):
    """A wrong argument, by name, so that a command line can name its option instead.

    Parameters
    ----------
    argument : str
        Name in the signature.
    problem : str
        The rest of the message: the rule, the value, what to do.

    Examples
    --------
    >>> error = ArgumentError("pulse_width", "must be > 0 s, got -5e-09.")
    >>> str(error), error.argument
    ('pulse_width must be > 0 s, got -5e-09.', 'pulse_width')
    """

    def __init__(self, argument: str, problem: str) -> None:
        super().__init__(argument, problem)  # both in `args`: the error is pickled between processes
        self.argument, self.problem = argument, problem

    def __str__(self) -> str:
        return f"{self.argument} {self.problem}"


def checked_array(
    name: str, value: ArrayLike, unit: str, *, zero_allowed: bool, below: float = np.inf, remedy: str = ""
) -> Array:
    """Return `value` as a float array; ArgumentError unless every element is finite, > 0 (or >= 0) and < `below`."""
    array = _numbers(name, value, unit)
    bad = ~np.isfinite(array) | ((array < 0) if zero_allowed else (array <= 0)) | (array >= below)
    if bad.any():
        lowest = f"{'>=' if zero_allowed else '>'} 0 {unit}".rstrip()
        rule = f"finite and {lowest}" if below == np.inf else f"finite, {lowest} and < {below:g}"
        raise ArgumentError(name, f"must be {rule}, got {array[bad].flat[0]:g}. {remedy}".rstrip())
    return array


def checked_numbers(name: str, value: ArrayLike, unit: str) -> Array:
    """Return `value` as a float array; ArgumentError unless every element is finite, of either sign."""
    array = _numbers(name, value, unit)
    if not np.isfinite(array).all():
        raise ArgumentError(name, f"must be finite, got {array[~np.isfinite(array)].flat[0]:g}.")
    return array


def checked_signed(name: str, value: ArrayLike, unit: str) -> float:
    """As `checked_numbers`, for what must be one number."""
    return _one(name, checked_numbers(name, value, unit), unit)


def _numbers(name: str, value: ArrayLike, unit: str) -> Array:
    try:
        array = np.asarray(value)
        if array.size and array.dtype.kind not in "iuf":  # text and booleans are not numbers
            raise TypeError
        array = array.astype(float)
    except (TypeError, ValueError):
        typed = " Give SI numbers: units are read in TOML and on the command line."
        typed = typed if unit and isinstance(value, str) else ""
        wanted = f"a number or an array of numbers{' in ' + unit if unit else ''}"
        raise ArgumentError(name, f"must be {wanted}, got {value!r}.{typed}") from None
    return array


def checked_number(
    name: str, value: ArrayLike, unit: str, *, zero_allowed: bool, below: float = np.inf, remedy: str = ""
) -> float:
    """As `checked_array`, for what must be one number."""
    return _one(name, checked_array(name, value, unit, zero_allowed=zero_allowed, below=below, remedy=remedy), unit)


def _one(name: str, array: Array, unit: str) -> float:
    if array.ndim:
        raise ArgumentError(name, f"must be one number{' in ' + unit if unit else ''}, got an array of {array.size}.")
    return float(array)


def checked_probability(name: str, value: ArrayLike) -> float:
    """Return `value` as a float; ArgumentError unless it is one number from 0 to 1."""
    number = checked_number(name, value, "", zero_allowed=True, remedy=NOT_PERCENT)
    if number > 1:
        raise ArgumentError(name, f"must be <= 1, got {number:g}. {NOT_PERCENT}")
    return number


def checked_confidence(value: ArrayLike) -> float:
    """Return a confidence level as a float; ArgumentError unless it is one number between 0 and 1."""
    return checked_number("confidence", value, "", zero_allowed=False, below=1, remedy="0.95 is 95 %.")


def checked_positive(unit: str, **values: ArrayLike) -> None:
    """Raise ArgumentError unless every named argument is one finite number > 0 in the unit."""
    for name, value in values.items():
        checked_number(name, value, unit, zero_allowed=False)


def checked_fields(owner: object, *, zero_allowed: bool = False, **units: str) -> None:
    """Check fields of a frozen dataclass, each one number > 0 (or >= 0), and keep them as floats; name = unit."""
    for name, unit in units.items():
        object.__setattr__(owner, name, checked_number(name, getattr(owner, name), unit, zero_allowed=zero_allowed))


def checked_kind(name: str, value: object, *kinds: type, remedy: str = "") -> None:
    """Raise ArgumentError unless `value` is an instance of one of the classes."""
    if not isinstance(value, kinds):
        wanted = " or ".join(kind.__name__ for kind in kinds)
        raise ArgumentError(name, f"must be of type {wanted}, got {value!r}. {remedy}".rstrip())


def checked_whole(name: str, value: object, *, least: int) -> int:
    """Return `value` as a Python int; ValueError unless it is a whole number >= `least`."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)) or value < least:
        raise ArgumentError(name, f"must be a whole number >= {least}, got {value!r}.")
    return int(value)


def checked_ramps(rise_time: ArrayLike, pulse_width: ArrayLike) -> None:
    """Raise ValueError unless every ramp fits its pulse: the width is at half maximum, so rise_time <= pulse_width."""
    rise, width = np.broadcast_arrays(rise_time, pulse_width)
    long = rise > width
    if long.any():
        got = f"{rise[long].flat[0]:g} s for a pulse of {width[long].flat[0]:g} s"
        raise ArgumentError("rise_time", f"must be <= pulse_width, got {got}: the plateau would be negative.")


def checked_choice(name: str, value: str, valid: Iterable[str]) -> str:
    """Return `value` if it is one of the `valid` names; otherwise a ValueError that lists them and the nearest."""
    names = list(valid)
    if value in names:
        return value
    by_case = {name.casefold(): name for name in reversed(names)}
    near = [by_case[name] for name in difflib.get_close_matches(str(value).casefold(), by_case, n=3, cutoff=0.4)]
    hint = f" Did you mean {' or '.join(repr(n) for n in near)}?" if near else ""
    raise ArgumentError(name, f"must be one of {', '.join(repr(n) for n in names)}, got {value!r}.{hint}")


def checked_names(name: str, values: ArrayLike, valid: Iterable[str]) -> NDArray[np.str_]:
    """As `checked_choice`, for one name or an array of them; returns the array."""
    array, names = np.asarray(values, dtype=object), list(valid)
    for value in dict.fromkeys(map(str, array.ravel().tolist())):
        checked_choice(name, value, names)
    return array.astype(np.str_)


def missing_attribute(owner: str, name: str, names: Iterable[str]) -> AttributeError:
    """Return the error of a name that `owner` does not have; of its public `names` it contains the nearest."""
    near = [] if name.startswith("_") else difflib.get_close_matches(name, list(names), n=1)
    hint = f". Did you mean {near[0]!r}?" if near else ""
    return AttributeError(f"{owner} has no attribute {name!r}{hint}")


class Suggesting:
    """Base of the public classes: the error of a mistyped attribute has the nearest name, in notebooks too.

    Examples
    --------
    >>> class Disc(Suggesting):
    ...     diameter = 1e-8
    >>> Disc().diamter
    Traceback (most recent call last):
    ...
    AttributeError: 'Disc' object has no attribute 'diamter'. Did you mean 'diameter'?
    """

    if not TYPE_CHECKING:  # type checkers know the attributes

        def __getattr__(self, name: str) -> Any:
            """Raise the error; of a property that fails, its own."""
            names = dir(self)
            if name in names:
                return object.__getattribute__(self, name)
            raise missing_attribute(f"{type(self).__name__!r} object", name, names)
