"""Doubts about numbers: values that no junction has are refused, and values that few have are warned of.

One table has the usual range of each quantity, wide enough for every published junction, and the units that people mean
when a number is outside. It is read at the public boundary of all three packages, where numbers enter. Effective
parameters (`MTJ.from_effective`) are not in it: a scan of Delta from 0.5 to 10,000 is a usual question.
"""

import sys
import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from mtjsim.checks import ArgumentError

PACKAGES = ("mtjsim", "bridge", "bnn", "pydantic")
CELSIUS = 273.15


class ImplausibleValue(UserWarning):
    """A number that is possible, but outside of what junctions have: its unit may be wrong.

    Examples
    --------
    The standard filter silences it, in a program or for a few lines:

    >>> import warnings
    >>> from mtjsim import load_preset
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore", ImplausibleValue)
    ...     cold = load_preset("arm_2021").thermal_stability(temperature=77.0)
    """


@dataclass(frozen=True)
class Usual:
    """Range of a quantity in SI, 0 aside; beyond `impossible` it is refused. `meant` are units with their size."""

    low: float
    high: float
    unit: str
    meant: tuple[tuple[str, float], ...] = ()
    impossible: float = np.inf


LENGTHS = (("nm", 1e-9), ("um", 1e-6))
TIMES = (("ns", 1e-9), ("ps", 1e-12), ("us", 1e-6))
FIELDS = (("mT", 1e-3), ("Oe", 1e-4), ("A/m", 4e-7 * np.pi))
AMPERES = (("uA", 1e-6), ("mA", 1e-3))
VOLTS = (("mV", 1e-3),)

PULSE = Usual(0.0, 0.1, "s", TIMES)
VOLTAGE = Usual(0.0, 20.0, "V", VOLTS)
CURRENT = Usual(0.0, 0.1, "A", AMPERES)
FIELD = Usual(0.0, 10.0, "T", FIELDS, impossible=1e6)
TEMPERATURE = Usual(150.0, 700.0, "K", (("degrees Celsius", 1.0),), impossible=1e4)
USUAL: dict[str, Usual] = {
    "diameter": Usual(5e-9, 1e-6, "m", LENGTHS, impossible=1e-3),
    "thickness": Usual(0.2e-9, 100e-9, "m", LENGTHS, impossible=1e-3),
    "saturation_magnetization": Usual(1e4, 4e6, "A/m", (("MA/m", 1e6), ("kA/m or emu/cm^3", 1e3)), impossible=1e9),
    "anisotropy_field": Usual(1e-5, 10.0, "T", FIELDS, impossible=1e6),
    "in_plane_anisotropy_field": FIELD,
    "stray_field": FIELD,
    "resistance_area_product": Usual(1e-14, 1e-6, "ohm m^2", (("ohm um^2", 1e-12),)),
    "tunnel_magnetoresistance": Usual(0.0, 10.0, "", (("percent", 0.01),)),
    "spin_torque_efficiency": Usual(1e-4, 100.0, ""),
    "vcma_coefficient": Usual(0.0, 1e-11, "J/(V m)", (("fJ/(V m)", 1e-15),)),
    "barrier_thickness": Usual(0.3e-9, 20e-9, "m", LENGTHS),
    "tmr_half_voltage": Usual(0.01, 20.0, "V", VOLTS),
    "reference_temperature": TEMPERATURE,
    "curie_temperature": Usual(150.0, 2500.0, "K", (("degrees Celsius", 1.0),)),
    "channel_resistance": Usual(1.0, 1e7, "ohm", (("kohm", 1e3),)),
    "temperature": TEMPERATURE,
    "current": CURRENT,
    "voltage": VOLTAGE,
    "pulse_width": PULSE,
    "rise_time": PULSE,
    "relax_time": PULSE,
    "read_duration": PULSE,
    "transistor_width": Usual(5e-9, 1e-3, "m", LENGTHS),
    "feature_size": Usual(1e-9, 1e-5, "m", LENGTHS),
}


def doubt(quantity: str, value: ArrayLike, *, name: str = "") -> None:
    """Warn of a value outside the usual range of a quantity, with the unit that is probably meant; once, of the first.

    Parameters
    ----------
    quantity : str
        A key of `USUAL`.
    value : float or array
        In SI, checked; 0 and either sign are usual where the range begins at 0.
    name : str, optional
        Of the argument; default: the quantity.

    Raises
    ------
    ValueError
        If the value is one that nothing has.

    Warns
    -----
    ImplausibleValue
    """
    usual = USUAL[quantity]
    size = np.abs(np.asarray(value, dtype=float))
    outside = (size < usual.low) | (size > usual.high)
    if not outside.any():
        return
    name, worst = name or quantity, float(size[outside].flat[0])
    text = f"of {worst:g} {usual.unit}".rstrip() + f" is outside the usual {_range(usual)}.{_meant(usual, worst)}"
    if worst > usual.impossible:
        raise ArgumentError(name, f"{text} Nothing has such a value.")
    remedy = "If it is right, silence mtjsim.ImplausibleValue with warnings.filterwarnings."
    warnings.warn(f"{name} {text} {remedy}", ImplausibleValue, stacklevel=_caller())


def _range(usual: Usual) -> str:
    low = f"{usual.low:g} to " if usual.low else "range up to "
    return f"{low}{usual.high:g} {usual.unit}".rstrip()


def _meant(usual: Usual, value: float) -> str:
    """Return the first unit in which the value is usual, as a question; "" without one."""
    for unit, factor in usual.meant:
        in_si = value + CELSIUS if unit == "degrees Celsius" else value * factor
        if usual.low <= in_si <= usual.high:
            return f" If {value:g} {unit} is meant, give {in_si:.12g}."
    return ""


def _caller() -> int:
    """Return the stack level, for `doubt`, of the frame that called the packages first.

    A search calls them again from within a library, such as scipy: a line that the user has not written.
    """
    frame, level, found = sys._getframe(2), 2, 2
    while frame.f_back is not None:
        ours = frame.f_globals.get("__name__", "").split(".")[0] in PACKAGES
        frame, level = frame.f_back, level + 1
        found = level if ours else found
    return found
