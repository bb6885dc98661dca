"""Typed quantities: `40nm`, `60uA`, `5 ns` on the command line and in TOML, converted to SI floats."""

from __future__ import annotations

import math
import re
from functools import lru_cache
from typing import Any

from mtjsim.checks import ArgumentError

NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
PREFIXES = {"": 1.0, "f": 1e-15, "p": 1e-12, "n": 1e-9, "u": 1e-6, "µ": 1e-6, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9}
# a number, then a unit: words, products, quotients and powers of one digit; pint would evaluate anything else
TYPED = re.compile(r"\s*[-+]?[\d.]+(?:[eE][-+]?\d+)?\s*[A-Za-zµμΩ%](?:[A-Za-zµμΩ_ */().]|(?:\^|\*\*)-?\d(?!\d))*")
TOWER = re.compile(r"[\d)]\s*(?:\^|\*\*)")  # the power of a power or of a bracket: pint could take forever
LONGEST = 80  # characters of a quantity
CELSIUS = re.compile(rf"({NUMBER})\s*(?:°\s*C|℃|deg\s*C|degree_?[Cc]elsius|[Cc]elsius|C)")
OFFSET = re.compile(r"deg|fahrenheit|rankine|r[eé]aumur", re.IGNORECASE)  # read by some versions of pint only
ABSOLUTE_ZERO = -273.15  # in degrees Celsius


@lru_cache(maxsize=1)
def _registry() -> Any:
    import pint  # here, because it takes a third of a second and most calls need no units

    return pint.UnitRegistry()


USUAL = {"s": "ns", "A": "uA", "m": "nm"}  # units that a bare number probably lacks
EXAMPLES = {"K": "'300 K' or '27 degC'"}


def to_si(text: str | float, unit: str, *, name: str = "value", unit_required: bool = False) -> float:
    """Read a typed quantity and return it in SI.

    Parameters
    ----------
    text : str or float
        `"40nm"`, `"61 fJ/(V m)"`, `"18 ohm um^2"`; a bare number is taken to be in `unit` already. A temperature
        also in degrees Celsius: `"85degC"`, `"85C"`, `"85 °C"` (a charge is in `C`, coulomb).
    unit : str
        The SI unit of the result, as in `"m"` or `"ohm m^2"`; `""` for a pure number.
    name : str
        Name of the quantity in an error message.
    unit_required : bool
        Whether a bare number in a text is refused, as on the command line. Zero needs no unit.

    Returns
    -------
    float
        In `unit`.

    Raises
    ------
    ValueError
        If the text is not a quantity, or has another dimension, or lacks a required unit.

    Examples
    --------
    >>> to_si("40nm", "m")
    4e-08
    >>> to_si("-40 degC", "K")
    233.15
    >>> to_si("40 ns", "m", name="diameter")
    Traceback (most recent call last):
    ...
    mtjsim.checks.ArgumentError: diameter must be a quantity in m, got '40 ns', whose unit does not convert. ...
    >>> to_si("10", "s", name="--pulse-width", unit_required=True)
    Traceback (most recent call last):
    ...
    mtjsim.checks.ArgumentError: --pulse-width must have a unit, got '10'. Write it as in '10ns', ...
    """
    if isinstance(text, bool) or not isinstance(text, (int, float, str)):
        raise ArgumentError(name, f"must be a number or a quantity with a unit, got {text!r}.")
    if not isinstance(text, str):
        try:
            return float(text)
        except OverflowError:
            raise ArgumentError(name, f"must be finite, got an integer of {len(str(text))} digits.") from None
    try:
        number = float(text)
    except ValueError:
        pass  # it has a unit
    else:
        if not (unit_required and unit and number and math.isfinite(number)):
            return number
        typed = text.strip()
        usual = f"'{typed}{USUAL[unit]}', or '{typed}{unit}' if that is meant" if unit in USUAL else f"'{typed}{unit}'"
        usual += f", or '{typed}degC'" if unit == "K" else ""
        raise ArgumentError(name, f"must have a unit, got {text!r}. Write it as in {usual}.")
    first = unit.split()[0] if unit else ""
    # a prefix belongs to a unit before its power is taken: um^2 is (um)^2, and pint's
    quick = rf"({NUMBER})\s*([{''.join(PREFIXES)}]?){re.escape(unit)}"
    plain = re.fullmatch(quick, text.strip()) if unit and "^" not in first else None
    if plain:  # the SI unit itself, with a prefix or without: the usual case, without pint
        return float(f"{float(plain[1]) * PREFIXES[plain[2]]:.15g}")
    wanted = f"must be {f'a quantity in {unit}' if unit else 'a pure number'}, got {text!r}"
    bare = "" if unit_required else f", or as a bare number in {unit}"
    example = EXAMPLES.get(unit, f"'1.5 {unit}', with any SI prefix")
    example = f"Write it as in {example}{bare}." if unit else ""
    if len(text) > LONGEST:
        wanted = f"{wanted.split(', got')[0]}, got {len(text)} characters, more than {LONGEST}"
        raise ArgumentError(name, f"{wanted}. {example}".rstrip())
    celsius = CELSIUS.fullmatch(text.strip()) if unit == "K" else None
    if celsius:
        if float(celsius[1]) < ABSOLUTE_ZERO:
            raise ArgumentError(name, f"must be above absolute zero, {ABSOLUTE_ZERO} degC, got {text!r}.")
        return float(f"{float(celsius[1]) - ABSOLUTE_ZERO:.12g}")
    import pint

    try:
        if not TYPED.fullmatch(text) or TOWER.search(text) or (unit == "K" and OFFSET.search(text)):
            raise ValueError
        magnitude = float(_registry().Quantity(text.replace("Ohm", "ohm")).to(unit).magnitude)
    except pint.DimensionalityError:
        raise ArgumentError(name, f"{wanted}, whose unit does not convert. {example}".rstrip()) from None
    except Exception as error:  # pint raises tokenizer, syntax, attribute and lookup errors alike
        raise ArgumentError(name, f"{wanted}. {example}".rstrip()) from error
    return float(f"{magnitude:.15g}")  # so that 40nm is 4e-08 and not 4.0000000000000004e-08
