"""Spread of the cells of a population, junctions and transistors: a declaration, and cells drawn from it.

Suffix `_d2d`: from device to device, drawn once and frozen for a cell's life. Suffix `_c2c`: from cycle to cycle, drawn
by nature at every write and therefore averaged over inside each cell's rate. All are relative standard deviations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Self

import numpy as np
from scipy.special import ndtr, ndtri

from bridge.checks import checked_between, checked_declaration
from mtjsim.checks import ArgumentError, Array, Suggesting, checked_choice, checked_fields

PROPERTIES = (
    "diameter",
    "thickness",
    "anisotropy",
    "resistance_area_product",
    "tunnel_magnetoresistance",
    "damping",
    "thermal_stability",
    "critical_current",
    "characteristic_time",
)
OF_TRANSISTOR = ("drive_per_width", "threshold_voltage")
OF_CELL = (*PROPERTIES, *OF_TRANSISTOR)
ANISOTROPIES = ("net", "interface")
WIDEST = {"d2d": 0.3, "c2c": 0.2}  # relative standard deviations: beyond, a normal goes negative too often
LARGEST_DEPARTURE = 0.9  # of a property from its nominal value, relative
NEVER_CUT = 8.0  # standard deviations: beyond those of double-precision normals


@dataclass(frozen=True, kw_only=True)
class Spread(Suggesting):
    """Spread of the cells of a population. Relative standard deviations: 0.05 is 5 %.

    Every property is its nominal value times 1 + sd z, with z a standard normal that is cut at abs(sd z) < 0.9, on both
    sides: a normal would go negative, and the mean stays the nominal value. An sd of at most 0.3 is allowed (cycle to
    cycle: 0.2); at 0.3 the cut takes 3 cells in 1000, at 0.2 7 in a million.

    Parameters
    ----------
    diameter_d2d : float
        Changes area and volume: Delta and I_c0 go with d^2, resistances with 1/d^2.
    thickness_d2d : float
        Of the free layer: Delta and I_c0 go with it.
    anisotropy_d2d : float
        Of B_k, or of K_i if `anisotropy` is "interface": Delta and I_c0 go with B_k, tau_D with 1/B_k, and so does the
        weight of a stray field.
    resistance_area_product_d2d, tunnel_magnetoresistance_d2d : float
        Resistances; under a voltage, the current too. The barrier's thickness in VCMA is held.
    damping_d2d : float
        I_c0 goes with alpha, tau_D with 1/alpha.
    thermal_stability_d2d, critical_current_d2d, characteristic_time_d2d : float
        The rest of a *measured* spread of Delta, I_c0, tau_D when the properties above are accounted for; each
        changes its own figure, not the other two (in `MTJ` through Ms and eta; eta; B_k and Ms). For junctions
        of `MTJ.from_effective` these are the natural ones. The properties above act on them too, and it does not matter
        that their diameter and thickness are nominal: only ratios enter.
    drive_per_width_d2d, threshold_voltage_d2d : float
        Of I_0 and V_T0 of the access transistor (`Transistor`), for the population of a `Cell`. I_0 changes the current
        at each gate voltage; V_T0 shifts the gate voltage, at an unchanged gain and by the same volts at any
        temperature.
    drive_c2c : float
        Of the pulse's amplitude (current, or voltage in a setting of voltages), from write to write.
    pulse_width_c2c : float
        Of its width, from write to write.
    correlations : mapping of (property, property) to float, optional
        Of the normals z, before the cut, for example {("diameter", "resistance_area_product"): -0.3}.
    anisotropy : {"net", "interface"}
        "net": B_k is its own number, which diameter and thickness leave alone. "interface": the K_i that gives the
        declared B_k is what spreads, and B_k = 2 K_i/(Ms t_f) - mu0 (N_z - N_x) Ms follows thickness and diameter; not
        for `MTJ.from_effective`, whose Ms is nominal.

    Raises
    ------
    ValueError
        If a deviation is negative, not finite, or looks like percent; if correlations name an unknown property or one
        that does not spread, are outside [-1, 1], or do not make a positive semidefinite matrix.

    Notes
    -----
    Left out: spread of Ms by itself and of the stray field; gradients over a wafer, neighbours that are alike; drift.

    Examples
    --------
    >>> Spread(diameter_d2d=0.03, damping_d2d=0.05).properties
    ('diameter', 'damping')
    """

    diameter_d2d: float = 0.0
    thickness_d2d: float = 0.0
    anisotropy_d2d: float = 0.0
    resistance_area_product_d2d: float = 0.0
    tunnel_magnetoresistance_d2d: float = 0.0
    damping_d2d: float = 0.0
    thermal_stability_d2d: float = 0.0
    critical_current_d2d: float = 0.0
    characteristic_time_d2d: float = 0.0
    drive_per_width_d2d: float = 0.0
    threshold_voltage_d2d: float = 0.0
    drive_c2c: float = 0.0
    pulse_width_c2c: float = 0.0
    correlations: Mapping[tuple[str, str], float] = field(default_factory=dict, hash=False)
    anisotropy: str = "net"

    def __post_init__(self) -> None:
        for name in (f.name for f in fields(self) if f.name.endswith(("_d2d", "_c2c"))):
            checked_fields(self, zero_allowed=True, **{name: ""})
            if (value := getattr(self, name)) > (widest := WIDEST[name[-3:]]):
                hint = (
                    f"Is it {value:g} %? Then give {value / 100:g}"
                    if 0.5 <= value <= 100 * widest
                    else "A normal would go negative"
                )
                rule = f"must be <= {widest:g}, got {value:g}: a relative standard deviation, not percent"
                raise ArgumentError(name, f"{rule}. {hint}.")
        checked_choice("anisotropy", self.anisotropy, ANISOTROPIES)
        pairs: dict[tuple[str, str], float] = {}
        for pair, value in dict(self.correlations).items():
            if not (isinstance(pair, tuple) and len(pair) == 2 and pair[0] != pair[1]):
                raise ArgumentError("correlations", f"must be of pairs of two different properties, got {pair!r}.")
            for name in pair:
                if getattr(self, f"{checked_choice('correlations of', name, OF_CELL)}_d2d") == 0:
                    raise ArgumentError("correlations", f"are of {name}, which does not spread: give {name}_d2d > 0.")
            first, second = sorted(pair, key=OF_CELL.index)
            rho = checked_between(f"correlation of {pair[0]} and {pair[1]}", value, -1, 1)
            if (known := pairs.setdefault((first, second), rho)) != rho:
                raise ArgumentError("correlations", f"of {first} and {second} are given twice: {known:g}, {rho:g}.")
        object.__setattr__(self, "correlations", dict(sorted(pairs.items())))
        lowest = float(np.linalg.eigvalsh(self._correlation_matrix(OF_CELL)).min())
        if lowest < -1e-9:
            rule = f"must make a positive semidefinite matrix, got an eigenvalue of {lowest:.3g}"
            raise ArgumentError("correlations", f"{rule}. Make the largest of them smaller.")

    @property
    def properties(self) -> tuple[str, ...]:
        """Properties that spread from device to device."""
        return tuple(name for name in OF_CELL if getattr(self, f"{name}_d2d") > 0)

    def as_dict(self) -> dict[str, Any]:
        """All numbers, ready for JSON; correlations by "first, second"; of transistors only if they spread."""
        transistors = {f"{name}_d2d" for name in OF_TRANSISTOR if name not in self.properties}
        numbers = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in {"correlations", *transistors}}
        return numbers | {"correlations": {", ".join(pair): rho for pair, rho in self.correlations.items()}}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return the spread of an `as_dict`, also after JSON; ValueError as in `Spread`, or for another name."""
        numbers = checked_declaration(cls, values)
        correlations = dict(numbers.get("correlations") or {})
        pairs = {tuple(str(pair).split(", ")): rho for pair, rho in correlations.items()}
        return cls(**{**numbers, "correlations": pairs})

    def factors(self, z: Array) -> dict[str, Array]:
        """Value over nominal of each property that spreads, from independent standard normals.

        Parameters
        ----------
        z : (n, p) array
            One column for each of `properties`.

        Returns
        -------
        dict of (n,) arrays
        """
        names = self.properties
        if self.correlations:
            values, vectors = np.linalg.eigh(self._correlation_matrix(names))
            z = z @ ((vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T)
        out = {}
        for k, name in enumerate(names):
            deviation = getattr(self, f"{name}_d2d")
            cut = LARGEST_DEPARTURE / deviation
            column = z[:, k]
            if cut < NEVER_CUT:  # map the normal on the cut one, quantile by quantile
                low = ndtr(-cut)
                upper = -ndtri(low + ndtr(-np.abs(column)) * (1 - 2 * low))  # of the side of z, exact in its tail
                column = np.copysign(upper, column)
            out[name] = 1 + deviation * column
        return out

    def _correlation_matrix(self, names: tuple[str, ...]) -> Array:
        matrix = np.eye(len(names))
        for (first, second), rho in self.correlations.items():
            if first in names and second in names:
                i, j = names.index(first), names.index(second)
                matrix[i, j] = matrix[j, i] = rho
        return matrix
