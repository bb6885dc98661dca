"""Parameters that a fit may vary, and their unbounded coordinates.

Legend
    theta   unbounded coordinate of a parameter: log of a positive one, ln((1 + v)/(1 - v)) = 2 atanh v of one in
            (-1, 1), log-odds of one in (0, 1). Steps of theta are relative changes (of the critical current, or of the
            ratio of its two directions), so that all parameters are of one size to an optimizer.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mtjsim.checks import ArgumentError, Array, checked_choice
from mtjsim.device import MTJ

NEAR = 0.7  # in theta: a factor of two
EFFECTIVE = ("thermal_stability", "critical_current", "characteristic_time", "damping")


@dataclass(frozen=True)
class Scale:
    """A one-to-one map between the values of a parameter and an unbounded coordinate.

    Attributes
    ----------
    to_theta, to_value : callable
        The map and its inverse.
    lowest, highest : float
        Ends of the range of values, not reached.
    """

    to_theta: Callable[[float], float]
    to_value: Callable[[float], float]
    lowest: float
    highest: float


LOG = Scale(math.log, math.exp, 0.0, math.inf)
ATANH = Scale(lambda v: 2 * math.atanh(v), lambda t: math.tanh(t / 2), -1.0, 1.0)
LOGIT = Scale(lambda v: math.log(v / (1 - v)), lambda t: 1 / (1 + math.exp(-t)), 0.0, 1.0)
LINEAR = Scale(float, float, -math.inf, math.inf)


@dataclass(frozen=True)
class Parameter:
    """A parameter by its name.

    Attributes
    ----------
    unit : str
        SI, "" for a number.
    scale : Scale
        Between values and theta.
    reach : float
        A fit searches this far from its start, in theta, either way.
    possible : (float, float)
        And within these values, of any magnetic tunnel junction, unless the start itself is nearer to them than NEAR.
    """

    unit: str
    scale: Scale
    reach: float
    possible: tuple[float, float] | None = None


PARAMETERS: dict[str, Parameter] = {
    "thermal_stability": Parameter("", LOG, 2.5, (5.0, 300.0)),
    "critical_current": Parameter("A", LOG, 2.5),
    "characteristic_time": Parameter("s", LOG, 4.0, (1e-11, 1e-6)),
    "spin_torque_asymmetry": Parameter("", ATANH, 2.2),
    "relative_stray_field": Parameter("", ATANH, 1.1),
    "damping": Parameter("", LOGIT, 3.0),
    "resistance_p": Parameter("ohm", LOG, 2.0),
    "tunnel_magnetoresistance": Parameter("", LOG, 2.0),
    "tmr_half_voltage": Parameter("V", LOG, 2.0),
    "vcma_coefficient": Parameter("J/(V m)", LINEAR, 2.0),
    "curie_temperature": Parameter("K", LOG, 2.0),
    "anisotropy_exponent": Parameter("", LOG, 2.0),
}


def values_of(device: MTJ, names: Sequence[str]) -> dict[str, float]:
    """Values that `device` has for the named parameters, in SI.

    Raises
    ------
    ValueError
        If a name is not a parameter, or the device does not declare a field that the parameter needs.
    """
    return {name: _value_of(device, checked_choice("a free parameter", name, PARAMETERS)) for name in names}


def _value_of(device: MTJ, name: str) -> float:
    if name in ("thermal_stability", "critical_current"):  # those of `MTJ.from_effective`
        upright = {"stray_field": (0.0, 0.0, 0.0), "in_plane_anisotropy_field": 0.0, "polarizer": (0.0, 0.0, 1.0)}
        bare = device.replace(spin_torque_asymmetry=0.0, **upright)
        return (
            bare.thermal_stability(device.reference_temperature)
            if name == "thermal_stability"
            else bare.critical_current()
        )
    if name == "characteristic_time":
        return device.characteristic_time()
    if name == "relative_stray_field":
        return device.stray_field[2] / device.anisotropy_field
    needs = {"anisotropy_exponent": "curie_temperature", "vcma_coefficient": "barrier_thickness"}.get(name, name)
    if getattr(device, needs) is None:
        raise ArgumentError("start", f"must declare {needs}, so that {name} can be free.")
    value = float(getattr(device, name))
    if PARAMETERS[name].scale is LOG and value <= 0:
        raise ArgumentError("start", f"must have {name} > 0, so that it can be free, got {value:g}.")
    return value


def device_with(start: MTJ, values: Mapping[str, float]) -> MTJ:
    """Return `start` with the named parameters changed; every other effective parameter and field stays as it is.

    So a stray field that is not named stays in tesla, and its ratio to B_k follows `characteristic_time`.

    Raises
    ------
    ValueError
        If a junction with these values is impossible.
    """
    changes: dict[str, object] = {}
    if any(name in values for name in EFFECTIVE):
        effective = {**values_of(start, EFFECTIVE), **{n: values[n] for n in EFFECTIVE if n in values}}
        same = {n: getattr(start, n) for n in ("reference_temperature", "diameter", "thickness")}
        fields = ("saturation_magnetization", "anisotropy_field", "spin_torque_efficiency", "damping")
        built = MTJ.from_effective(**effective, **same)
        changes |= {n: getattr(built, n) for n in fields}
    if "relative_stray_field" in values:
        B_k = changes.get("anisotropy_field", start.anisotropy_field)
        changes["stray_field"] = (*start.stray_field[:2], values["relative_stray_field"] * B_k)  # type: ignore[operator]
    if "resistance_p" in values:
        changes["resistance_area_product"] = values["resistance_p"] * start.area
    taken = (*EFFECTIVE, "relative_stray_field", "resistance_p")
    return start.with_computed(**changes, **{n: v for n, v in values.items() if n not in taken})


@dataclass(frozen=True)
class Coordinates:
    """The free parameters of one fit as a vector theta of shape (d,).

    Attributes
    ----------
    start : MTJ
        Gives every parameter that is not free.
    names : tuple of str
        Free parameters, in the order of theta.
    """

    start: MTJ
    names: tuple[str, ...]

    def theta(self, values: Mapping[str, float]) -> Array:
        """Vector of the values of the free parameters, shape (d,)."""
        return np.array([self.scale(name).to_theta(values[name]) for name in self.names])

    def values(self, theta: Array) -> dict[str, float]:
        """Values of the free parameters at theta, in SI."""
        return {name: self.scale(name).to_value(float(t)) for name, t in zip(self.names, theta, strict=True)}

    def device(self, theta: Array) -> MTJ:
        """Return the junction at theta."""
        return device_with(self.start, self.values(theta))

    def bounds(self, theta: Array) -> tuple[Array, Array]:
        """Return the ends of the search around theta, each of shape (d,)."""
        ends = [self._ends(name, float(t)) for name, t in zip(self.names, theta, strict=True)]
        return np.array([low for low, _ in ends]), np.array([high for _, high in ends])

    def _ends(self, name: str, theta: float) -> tuple[float, float]:
        about = PARAMETERS[name]
        low, high = theta - about.reach, theta + about.reach
        if about.possible is None:
            return low, high
        least, most = (about.scale.to_theta(value) for value in about.possible)
        return min(max(low, least), theta - NEAR), max(min(high, most), theta + NEAR)

    def scale(self, name: str) -> Scale:
        """Map between values and theta of one free parameter."""
        if name == "curie_temperature":  # above the reference temperature
            T = self.start.reference_temperature
            return Scale(lambda v: math.log(v / T - 1), lambda t: T * (1 + math.exp(t)), T, math.inf)
        if name == "vcma_coefficient":  # in units of the coefficient that moves B_k by all of it at 1 V
            s = self.start
            one = s.anisotropy_field * s.saturation_magnetization * s.thickness * (s.barrier_thickness or 0.0) / 2
            return Scale(lambda v: v / one, lambda t: t * one, -math.inf, math.inf)
        return PARAMETERS[name].scale
