"""Units where people type: `40nm`, `60uA`, `5 ns` on the command line and in TOML become SI floats. SI inside."""

from functools import lru_cache
from typing import Any


@lru_cache(maxsize=1)
def _registry() -> Any:
    import pint  # here, because it takes a third of a second and most calls need no units

    return pint.UnitRegistry()


def to_si(text: str | float, unit: str, *, name: str = "value") -> float:
    """Read a typed quantity and return it in SI.

    Parameters
    ----------
    text : str or float
        `"40nm"`, `"61 fJ/(V m)"`, `"18 ohm um^2"`; a bare number is taken to be in `unit` already.
    unit : str
        The SI unit asked for, as in `"m"` or `"ohm m^2"`; `""` for a pure number.
    name : str
        What the quantity is called in an error message.

    Returns
    -------
    float
        In `unit`.

    Raises
    ------
    ValueError
        If the text is no quantity, or one of another dimension.

    Examples
    --------
    >>> to_si("40nm", "m")
    4e-08
    >>> to_si("40 ns", "m", name="diameter")
    Traceback (most recent call last):
    ...
    ValueError: diameter must be a length-like quantity in m, got '40 ns', which is in s. Write it as in '1.5 m', ...
    """
    if isinstance(text, bool):
        raise ValueError(f"{name} must be a number, got {text}.")
    if isinstance(text, (int, float)):
        return float(text)
    try:
        return float(text)
    except ValueError:
        pass
    import pint

    example = f"Write it as in '1.5 {unit}', with any SI prefix, or as a bare number in {unit or 'no unit'}."
    try:
        quantity = _registry().Quantity(text.replace("Ohm", "ohm").replace("µ", "u"))
        base = quantity.to_base_units()
    except Exception as error:  # pint raises tokenizer, syntax, attribute and lookup errors alike
        raise ValueError(f"{name} must be a quantity in {unit or 'no unit'}, got {text!r}. {example}") from error
    try:
        # through the decimal string, so that 40nm is 4e-08 and not 4.0000000000000004e-08
        magnitude = float(quantity.to(unit).magnitude)
    except pint.DimensionalityError as error:
        kind = "length-like quantity" if unit == "m" else "quantity"
        raise ValueError(
            f"{name} must be a {kind} in {unit or 'no unit'}, got {text!r}, which is in {base.units:~}. {example}"
        ) from error
    return float(f"{magnitude:.15g}")
