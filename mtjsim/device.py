"""One magnetic tunnel junction: a frozen declaration in SI, and its derived figures.

Legend: V volume, B_k net perpendicular anisotropy field, Delta thermal stability factor, I_c0 critical current, tau_D
characteristic time; definitions and their sources are in the docstring of each method.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from pydantic import ConfigDict, Field, ValidationError, field_validator
from pydantic_core import from_json
from scipy.constants import elementary_charge, hbar, k, physical_constants

from mtjsim.checks import (
    DIRECTIONS,
    ArgumentError,
    Direction,
    checked_choice,
    checked_number,
    checked_positive,
)
from mtjsim.cylinder import axial_demagnetising_factor as axial_demagnetising_factor
from mtjsim.cylinder import demagnetising_field as demagnetising_field
from mtjsim.cylinder import effective_anisotropy_field as effective_anisotropy_field
from mtjsim.declaration import Declaration
from mtjsim.plausibility import USUAL, doubt
from mtjsim.spin_torque import ROUNDING, current_sense
from mtjsim.spin_torque import spin_hall_efficiency as spin_hall_efficiency

NOT_BISTABLE = "The junction is not bistable, so it stores no bit."
GYROMAGNETIC_RATIO = float(physical_constants["electron gyromag. ratio"][0])  # gamma = g mu_B / hbar [rad/(s T)]


def _positive(unit: str, text: str) -> Any:
    return Field(gt=0, description=text, json_schema_extra={"unit": unit})


def _optional(unit: str, text: str, default: Any = None, **rule: Any) -> Any:
    return Field(default, description=text, json_schema_extra={"unit": unit}, **rule)


SYMBOLS = {  # without underscores and capitals, but for single letters
    "d": "diameter",
    "t": "thickness",
    "T": "reference_temperature",
    "temperature": "reference_temperature",
    "ms": "saturation_magnetization",
    **dict.fromkeys(("bk", "hk", "bkeff", "hkeff"), "anisotropy_field"),
    "alpha": "damping",
    "eta": "spin_torque_efficiency",
    "ra": "resistance_area_product",
    "tmr": "tunnel_magnetoresistance",
    **dict.fromkeys(("lambda", "lam"), "spin_torque_asymmetry"),
    "beta": "field_like_ratio",
    "bk2": "in_plane_anisotropy_field",
    "xi": "vcma_coefficient",
    "tox": "barrier_thickness",
    "tc": "curie_temperature",
}
DERIVED = {
    **dict.fromkeys(("delta", "thermalstability"), "thermal_stability"),
    **dict.fromkeys(("ic", "ic0", "criticalcurrent"), "critical_current"),
    **dict.fromkeys(("tau", "taud", "characteristictime"), "characteristic_time"),
}
POLARIZATION = ("P", "p", "polarization", "polarisation", "spinpolarization", "spinpolarisation")


class MTJ(Declaration):
    """A magnetic tunnel junction with one free layer, treated as a macrospin. Keyword-only, SI units, frozen.

    P means m_z > 0, parallel to a reference layer along +z. The fields hold at `reference_temperature`.

    Parameters
    ----------
    diameter, thickness : float
        Of the free layer, a circular disc [m].
    saturation_magnetization : float
        Ms [A/m].
    anisotropy_field : float
        B_k = mu0 Hk_eff, *net* perpendicular anisotropy with the demagnetisation included [T]. From an interface
        anisotropy: `effective_anisotropy_field`.
    damping : float
        Gilbert damping alpha.
    spin_torque_efficiency : float
        eta in a_J = hbar eta I / (2 e Ms V). It is the spin polarization P of the reference layer, if lambda is its
        product with that of the free layer, about P^2: `tunnel_spin_torque` gives both.
    resistance_area_product : float
        RA in the P state [ohm m^2].
    tunnel_magnetoresistance : float
        TMR at low bias, (R_AP - R_P)/R_P; 1.0 is 100 %.
    spin_torque_asymmetry : float
        lambda in a_J/(1 + lambda m.p); -1 < lambda < 1. Default: 0, both directions alike.
    field_like_ratio : float
        beta = b_J / a_J.
    in_plane_anisotropy_field : float
        B_k2 [T], a second easy axis along x.
    stray_field : (float, float, float)
        Of the reference layer and anything else that is static [T].
    polarizer : (float, float, float)
        Unit vector p.
    vcma_coefficient : float
        xi [J/(V m)].
    barrier_thickness : float, optional
        t_ox [m].
    tmr_half_voltage : float, optional
        Bias at which the TMR has halved [V]; without it the TMR does not depend on bias.
    reference_temperature : float
        Temperature at which the fields hold [K].
    curie_temperature : float, optional
        T_c [K] of the law Ms ~ 1 - (T/T_c)^(3/2) (Bloch); without it Ms and B_k do not depend on temperature.
    anisotropy_exponent : float
        n of the law B_k ~ Ms^(n-1) (Callen-Callen); 1, the default, keeps B_k constant.
    channel_resistance : float, optional
        Of the heavy-metal channel that carries the write current of a three-terminal (spin-orbit torque) device [ohm];
        with it, currents and voltages of a write are the channel's and not the junction's. The torque is then
        eta = theta_SH A/(w t_c) along a `polarizer` that lies in the plane (`spin_hall_efficiency`).
    thermal_resistance, thermal_capacity : float, optional
        Of the junction to its surroundings [K/W], [J/K].

    Raises
    ------
    ValueError
        If a field is missing, unknown, not a finite number or out of its range; names the field, the rule, the value.

    Notes
    -----
    Above about 40 to 50 nm reversal is no longer coherent and the measured Delta stops growing with the diameter.
    Where an effective barrier is known, use `MTJ.from_effective`. VCMA needs `barrier_thickness`. A junction with
    `thermal_resistance` or `thermal_capacity` heats itself in every write (with one of them alone: at once, or without
    loss); its writes are simulated (`simulate_writes`, `rare_write_errors`), and the Fokker-Planck solvers refuse it.

    Examples
    --------
    >>> device = MTJ(diameter=40e-9, thickness=1.3e-9, saturation_magnetization=1.1e6, anisotropy_field=0.27,
    ...              damping=0.01, spin_torque_efficiency=0.6, resistance_area_product=10e-12,
    ...              tunnel_magnetoresistance=1.0)
    >>> round(device.thermal_stability(), 2), round(device.critical_current() * 1e6, 2)
    (58.57, 24.57)
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=False)

    diameter: float = _positive("m", "diameter of the free layer")
    thickness: float = _positive("m", "thickness of the free layer")
    saturation_magnetization: float = _positive("A/m", "Ms")
    anisotropy_field: float = _positive("T", "B_k, net perpendicular")
    damping: float = Field(gt=0, lt=1, description="alpha", json_schema_extra={"unit": ""})
    spin_torque_efficiency: float = _positive("", "eta")
    resistance_area_product: float = _positive("ohm m^2", "RA of the P state")
    tunnel_magnetoresistance: float = Field(ge=0, description="TMR at low bias", json_schema_extra={"unit": ""})
    spin_torque_asymmetry: float = _optional("", "lambda", 0.0, gt=-1, lt=1)
    field_like_ratio: float = _optional("", "beta", 0.0)
    in_plane_anisotropy_field: float = _optional("T", "B_k2, easy axis along x", 0.0)
    stray_field: tuple[float, float, float] = _optional("T", "static field (x, y, z)", (0.0, 0.0, 0.0))
    polarizer: tuple[float, float, float] = _optional("", "unit vector p", (0.0, 0.0, 1.0))
    vcma_coefficient: float = _optional("J/(V m)", "xi", 0.0)
    barrier_thickness: float | None = _optional("m", "t_ox", gt=0)
    tmr_half_voltage: float | None = _optional("V", "bias that halves the TMR", gt=0)
    reference_temperature: float = _optional("K", "temperature at which the fields hold", 300.0, gt=0)
    curie_temperature: float | None = _optional("K", "T_c of Bloch's law for Ms", gt=0)
    anisotropy_exponent: float = _optional("", "n in B_k ~ Ms^(n-1)", 1.0, ge=0)
    channel_resistance: float | None = _optional("ohm", "of the write channel of a three-terminal device", gt=0)
    thermal_resistance: float | None = _optional("K/W", "to the surroundings", gt=0)
    thermal_capacity: float | None = _optional("J/K", "of the junction", gt=0)

    def __init__(self, **fields: Any) -> None:
        self._fill(fields, doubted=fields)

    def _fill(self, fields: Mapping[str, Any], *, doubted: Iterable[str]) -> None:
        """Validate all fields, and doubt those that a person gave."""
        try:
            super().__init__(**fields)
        except ValidationError as error:
            raise ValueError(_explain_all(error.errors())) from None
        for name in doubted:
            if name in USUAL and getattr(self, name) is not None:
                doubt(name, getattr(self, name))

    @classmethod
    def _of(cls, fields: Mapping[str, Any], *, doubted: Iterable[str]) -> Self:
        device = cls.__new__(cls)
        device._fill(fields, doubted=doubted)
        return device

    @field_validator("*", mode="before")
    @classmethod
    def _numbers_only(cls, value: Any) -> Any:
        parts = value if isinstance(value, (tuple, list)) else [value]
        if any(isinstance(part, (str, bool)) for part in parts):
            raise ValueError(f"must be a number in SI, got {value!r}; units are read in TOML and on the command line")
        return value.item() if isinstance(value, np.generic) else value

    @field_validator("polarizer")
    @classmethod
    def _unit_vector(cls, p: tuple[float, float, float]) -> tuple[float, float, float]:
        if abs(math.hypot(*p) - 1.0) > 1e-9:
            raise ValueError(f"must be a unit vector, got {p} of length {math.hypot(*p):g}; divide it by its length")
        return p

    def model_post_init(self, _: Any) -> None:
        """Check a rule between two fields."""
        if self.curie_temperature is not None and self.curie_temperature <= self.reference_temperature:
            rule = f"must be > reference_temperature ({self.reference_temperature:g} K)"
            raise ArgumentError("curie_temperature", f"{rule}, got {self.curie_temperature:g}.")

    # ---- construction -------------------------------------------------------------------------------------------

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Raise the error of a mistyped attribute, or of a symbol, with the name that was meant."""
            meant = (SYMBOLS | DERIVED).get(_plain(name))
            if meant is not None and meant != name:
                raise AttributeError(f"'MTJ' object has no attribute {name!r}. Did you mean {meant!r}?")
            return super().__getattr__(name)

    @classmethod
    def from_effective(
        cls,
        *,
        thermal_stability: float,
        critical_current: float,
        characteristic_time: float,
        damping: float = 0.01,
        resistance_p: float = 5e3,
        tunnel_magnetoresistance: float = 1.0,
        reference_temperature: float = 300.0,
        diameter: float = 40e-9,
        thickness: float = 1.3e-9,
        **optional: Any,
    ) -> Self:
        """Build a junction from its effective figures: Delta, I_c0 and tau_D.

        Parameters
        ----------
        thermal_stability : float
            Delta at `reference_temperature`, without an in-plane field or anisotropy, which lower it.
        critical_current : float
            I_c0 at lambda = 0 of the polarizer along z, also without them [A].
        characteristic_time : float
            tau_D = (1 + alpha^2)/(gamma alpha B_k) [s].
        damping : float
            alpha; splits tau_D into precession and damping, and matters to axisymmetric switching only through beta.
        resistance_p : float
            [ohm].
        tunnel_magnetoresistance, reference_temperature
            As in `MTJ`.
        diameter, thickness : float
            *Nominal*: only Ms V enters the physics, so Ms is chosen to give Delta with this volume [m].
        **optional
            Any optional field of `MTJ`.

        Returns
        -------
        MTJ

        Raises
        ------
        ValueError
            As in `MTJ`; names the effective parameter.

        Examples
        --------
        >>> device = MTJ.from_effective(thermal_stability=60, critical_current=30e-6, characteristic_time=2e-9)
        >>> round(device.thermal_stability(), 9), round(device.critical_current() * 1e6, 9)
        (60.0, 30.0)
        """
        checked_positive("", thermal_stability=thermal_stability, damping=damping)
        checked_positive("A", critical_current=critical_current)
        doubt("current", critical_current, name="critical_current")
        checked_positive("s", characteristic_time=characteristic_time)
        checked_positive("ohm", resistance_p=resistance_p)
        checked_positive("K", reference_temperature=reference_temperature)
        checked_positive("m", diameter=diameter, thickness=thickness)
        energy = k * reference_temperature * thermal_stability  # the barrier [J]
        scale = hbar * critical_current / (4 * elementary_charge * damping)  # [J]
        field = (1 + damping**2) / (GYROMAGNETIC_RATIO * damping * characteristic_time)
        efficiency = energy / max(scale, 1e-300)
        if not (0 < efficiency < 1e6 and 1e-6 < field < 1e6):
            wrong = f"thermal_stability {thermal_stability:g}, critical_current {critical_current:g} A and "
            wrong += f"characteristic_time {characteristic_time:g} s"
            found = f"an anisotropy field of {field:.3g} T and a spin torque efficiency of {efficiency:.3g}"
            raise ValueError(f"{wrong} give {found}. Is a unit missing?")
        area = math.pi / 4 * diameter**2
        given = {
            "diameter": diameter,
            "thickness": thickness,
            "damping": damping,
            "tunnel_magnetoresistance": tunnel_magnetoresistance,
            "reference_temperature": reference_temperature,
            **optional,
        }
        derived = {
            "saturation_magnetization": 2 * energy / (field * area * thickness),
            "anisotropy_field": field,
            "spin_torque_efficiency": efficiency,
            "resistance_area_product": resistance_p * area,
        }
        if taken := sorted(derived.keys() & optional.keys()):
            raise ArgumentError(taken[0], "follows from the effective parameters: leave it out, or use MTJ().")
        return cls._of(given | derived, doubted=given)

    def replace(self, **changes: Any) -> Self:
        """Return the junction with some fields changed, validated as a new one (`model_copy` would not)."""
        return type(self)._of({**self.model_dump(), **changes}, doubted=changes)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return the junction of ``model_dump_json()``: validated, and not doubted, as its numbers were not typed.

        Raises
        ------
        ValueError
            If the text is not JSON, or a field is missing, unknown or wrong.
        """
        return cls._of(from_json(text), doubted=())

    def with_computed(self, **changes: Any) -> Self:
        """Return the same with values that were computed and not typed, as of a fit or a spread: not doubted."""
        return type(self)._of({**self.model_dump(), **changes}, doubted=())

    # ---- derived figures ----------------------------------------------------------------------------------------

    @property
    def area(self) -> float:
        """Of the junction, pi/4 d^2 [m^2]."""
        return math.pi / 4 * self.diameter**2

    @property
    def volume(self) -> float:
        """V of the free layer [m^3]."""
        return self.area * self.thickness

    @property
    def resistance_p(self) -> float:
        """R_P = RA / A [ohm]."""
        return self.resistance_area_product / self.area

    @property
    def resistance_ap(self) -> float:
        """R_AP at low bias, R_P (1 + TMR) [ohm]."""
        return self.resistance_p * (1 + self.tunnel_magnetoresistance)

    @property
    def identity(self) -> str:
        """SHA-256 over all fields: results with the same identity belong to the same junction."""
        canonical = json.dumps(self.model_dump(), sort_keys=True, separators=(",", ":"))
        canonical = re.sub(r"-0\.0(?=[,\]}])", "0.0", canonical)  # the two zeros are one junction
        return hashlib.sha256(canonical.encode()).hexdigest()

    def magnetization_at(self, temperature: float) -> float:
        """Ms [A/m] at a temperature [K]; Ms ~ 1 - (T/T_c)^(3/2) if `curie_temperature` is given, else constant."""
        checked_number("temperature", temperature, "K", zero_allowed=False)
        T_c = self.curie_temperature
        if T_c is None:
            return self.saturation_magnetization
        if temperature >= T_c:
            raise ArgumentError("temperature", f"must be < curie_temperature ({T_c:g} K), got {temperature:g}.")
        return (
            self.saturation_magnetization
            * (1 - (temperature / T_c) ** 1.5)
            / (1 - (self.reference_temperature / T_c) ** 1.5)
        )

    def anisotropy_field_at(self, temperature: float) -> float:
        """B_k [T] at a temperature [K]: B_k ~ Ms^(n-1), n = `anisotropy_exponent`."""
        ratio = self.magnetization_at(temperature) / self.saturation_magnetization
        return float(self.anisotropy_field * ratio ** (self.anisotropy_exponent - 1))

    def thermal_stability(self, temperature: float = 300.0, *, state: str | None = None) -> float:
        """Delta, the energy barrier between the two states over k T.

        Ms V B_k/(2 k T) of a layer whose only anisotropy is B_k. A second easy axis opens a lower path through the
        plane, Ms V (B_k - B_k2)/(2 k T) for B_k2 > 0; a second *hard* axis (B_k2 < 0) leaves the path across it, and
        the barrier, alone. An in-plane static field B lowers it to (1 - B/B_k)^2 times Ms V B_k/(2 k T); in general it
        is the height of the lowest saddle above the well (`stability.py`).

        Parameters
        ----------
        temperature : float
            [K].
        state : {"p", "ap"}, optional
            Out of which state, with the whole static field. Default: without B_z, which raises the barrier out of one
            state and lowers the other, (1 +- B_z/B_k)^2 times; both states are then alike.

        Returns
        -------
        float

        Raises
        ------
        ValueError
            If there are no two stable states.

        Examples
        --------
        >>> device = MTJ.from_effective(thermal_stability=60, critical_current=30e-6, characteristic_time=2e-9)
        >>> half = device.replace(in_plane_anisotropy_field=device.anisotropy_field / 2)
        >>> opposed = device.replace(stray_field=(0.0, 0.0, -0.1 * device.anisotropy_field))
        >>> round(half.thermal_stability(), 6), round(opposed.thermal_stability(state="p"), 6)
        (30.0, 48.6)
        """
        if state is not None:
            checked_choice("state", state, ("p", "ap"))
        moment = self.magnetization_at(temperature) * self.volume
        doubt("temperature", temperature)
        B_k = self.anisotropy_field_at(temperature)
        upright = float(moment * B_k / (2 * k * temperature))
        if state is None and self._is_upright(B_k):
            return upright
        from mtjsim.stability import barrier_height  # here: numba is slow to import

        field, second = self._fields_over(B_k, whole=state is not None)
        height = barrier_height(field, second, -1.0 if state == "ap" else 1.0)
        if height is None:
            raise self._not_bistable(temperature)
        return upright * 2 * height

    def critical_current(self, direction: Direction = "p_to_ap", temperature: float | None = None) -> float:
        """I_c0 [A], where the starting state loses its stability at T = 0 in an endless pulse.

        Of an axisymmetric junction, I_c0 = (2 e/hbar)(alpha/eta) Ms V B_k, times (1 + lambda p_z) for P->AP and
        (1 - lambda p_z) for AP->P; without field and field-like torque. It is not the measured I_c50 of a finite pulse,
        which is larger. A magnitude.

        Of any other junction it is found from the linearised torque (`stability.py`), with everything that is declared
        but B_z: a tilted polarizer (1/p_z times more), a second anisotropy (1 - B_k2/2 B_k times), in-plane fields,
        field-like torque, and spin-orbit torque, where it is the current that turns the layer into the plane, about
        a_J = B_k/2 - B_x/sqrt(2) (K.-S. Lee et al., Appl. Phys. Lett. 102, 112410, 2013).

        Parameters
        ----------
        direction : {"p_to_ap", "ap_to_p"}
            Of the write.
        temperature : float, optional
            [K]; enters through the laws for Ms and B_k only. Default: `reference_temperature`.

        Returns
        -------
        float

        Raises
        ------
        ValueError
            If there are no two stable states, or no current makes the starting one unstable.
        """
        checked_choice("direction", direction, DIRECTIONS)
        T = self.reference_temperature if temperature is None else temperature
        moment = self.magnetization_at(T) * self.volume
        symmetric = 2 * elementary_charge / hbar * self.damping / self.spin_torque_efficiency
        sign = 1.0 if direction == "p_to_ap" else -1.0
        B_k = self.anisotropy_field_at(T)
        if self._is_upright(B_k) and abs(self.polarizer[2]) >= 1 - 1e-12:
            asymmetry = 1 + sign * self.spin_torque_asymmetry * self.polarizer[2]
            return float(symmetric * moment * B_k * asymmetry)
        from mtjsim.stability import threshold  # here: numba is slow to import

        self.thermal_stability(300.0 if temperature is None else temperature)  # raises unless there are two states
        turn = current_sense(self)
        p = (turn * self.polarizer[0], turn * self.polarizer[1], turn * self.polarizer[2])
        field, second = self._fields_over(B_k, whole=False)
        lam, beta = turn * self.spin_torque_asymmetry, self.field_like_ratio
        a = threshold(field, second, sign, p, lam, self.damping, beta)
        if a is None:
            problem = f"{self.polarizer} with a field-like ratio of {beta:g} leaves the {direction[: -len('_to_ap')]}"
            raise ArgumentError("polarizer", f"{problem} state stable at any current: there is no critical current.")
        return float(symmetric * moment * B_k * a / self.damping)

    def _is_upright(self, B_k: float) -> bool:
        """Whether the energy depends on m_z alone."""
        in_plane = max(abs(b) for b in (*self.stray_field[:2], self.in_plane_anisotropy_field))
        return in_plane <= ROUNDING * B_k

    def _fields_over(self, B_k: float, *, whole: bool) -> tuple[tuple[float, float, float], float]:
        """Return the static field over B_k, without B_z unless `whole`; and B_k2 over B_k."""
        x, y, z = self.stray_field
        return (x / B_k, y / B_k, z / B_k if whole else 0.0), self.in_plane_anisotropy_field / self.anisotropy_field

    def _not_bistable(self, temperature: float) -> ArgumentError:
        B_k2 = self.in_plane_anisotropy_field
        with_what = f"an anisotropy field of {self.anisotropy_field_at(temperature):g} T at {temperature:g} K"
        if abs(B_k2) >= self.anisotropy_field:
            name, problem = "in_plane_anisotropy_field", f"of {B_k2:g} T"
        else:
            name, problem = "stray_field", f"{self.stray_field} T"
        return ArgumentError(name, f"{problem} with {with_what} leaves no two stable states. {NOT_BISTABLE}")

    def characteristic_time(self, temperature: float | None = None) -> float:
        """tau_D = (1 + alpha^2)/(gamma alpha B_k) [s]; temperature [K] enters through the law for B_k only."""
        T = self.reference_temperature if temperature is None else temperature
        return (1 + self.damping**2) / (GYROMAGNETIC_RATIO * self.damping * self.anisotropy_field_at(T))


def require_junction(device: object, *, name: str = "device") -> None:
    """Raise ArgumentError unless `device` is an `MTJ`, with how to get one."""
    if not isinstance(device, MTJ):
        remedy = "load_preset(name) returns one; load_device(path) returns one as `.device`."
        raise ArgumentError(name, f"must be an MTJ, got {type(device).__name__}: {remedy}")


def require_forward_torque(device: MTJ) -> float:
    """Return 1 + alpha beta; ArgumentError unless it is > 0, so that a current drives the direction it should."""
    ratio = 1 + device.damping * device.field_like_ratio
    if ratio <= 0:
        problem = f"of {device.field_like_ratio:g} turns the torque around: 1 + alpha beta must be > 0."
        raise ArgumentError("field_like_ratio", problem)
    return ratio


def _plain(symbol: str) -> str:
    """Return a symbol as it stands in `SYMBOLS` and `DERIVED`."""
    return symbol.replace("_", "").casefold() if len(symbol) > 1 else symbol


def _nearest_field(name: str) -> str | None:
    near = difflib.get_close_matches(name.casefold(), MTJ.model_fields, n=1)
    return SYMBOLS.get(_plain(name)) or (near[0] if near else None)


def _explain_all(problems: Sequence[Any]) -> str:
    """Explain unknown fields first; a missing field that one of them means is not reported too."""
    unknown = [p for p in problems if p["type"] == "extra_forbidden"]
    meant = {_nearest_field(str(p["loc"][0])) for p in unknown}
    missing = [p for p in problems if p["type"] == "missing" and len(p["loc"]) == 1]
    others = [p for p in problems if p not in unknown and p not in missing]
    missing = [p for p in missing if p["loc"][0] not in meant]
    texts = [explain(problem) for problem in (*unknown, *others, *(missing if len(missing) == 1 else ()))]
    if len(missing) > 1:
        fields = [str(p["loc"][0]) for p in missing]
        texts.append(f"Missing: {', '.join(f'{name} [{_unit(name)}]' if _unit(name) else name for name in fields)}")
    return "; ".join(texts).replace("?;", "?").replace(".;", ".")


def explain(problem: Any) -> str:
    """One pydantic problem as the field, the rule, the value, the remedy."""
    name = ".".join(str(part) for part in problem["loc"]) or "device"
    kind, value, context = problem["type"], problem.get("input"), problem.get("ctx", {})
    unit = _unit(name)
    bounds = {"greater_than": ("gt", ">"), "greater_than_equal": ("ge", ">="), "less_than": ("lt", "<")}
    if kind == "missing" and len(problem["loc"]) == 1:
        return f"{name} is missing: give it in {unit}" if unit else f"{name} is missing: give it as a pure number"
    if kind == "extra_forbidden":
        if derived := DERIVED.get(_plain(name)):
            remedy = f"{derived} follows from the fields. MTJ.from_effective takes it."
        elif _plain(name) in POLARIZATION:
            remedy = "mtjsim.tunnel_spin_torque gives the fields that follow from a spin polarization."
        elif near := _nearest_field(name):
            remedy = f"Did you mean {near!r}?"
        else:
            remedy = f"Its fields: {', '.join(MTJ.model_fields)}."
        return f"{name} is not a field of MTJ. {remedy}"
    if kind in bounds:
        key, sign = bounds[kind]
        return f"{name} must be {sign} {context[key]:g} {unit}".rstrip() + f", got {value!r}"
    if kind == "value_error":
        return f"{name} {context['error']}" if problem["loc"] else str(context["error"])
    if kind in ("tuple_type", "too_short", "too_long", "missing"):  # "missing" of one of the three
        name = str(problem["loc"][0])
        return f"{name} must be three numbers (x, y, z){' in ' + unit if unit else ''}, got {value!r}"
    if kind in ("float_type", "float_parsing"):
        return f"{name} must be one number{' in ' + unit if unit else ''}, got {value!r}"
    if kind == "finite_number":
        return f"{name} must be a finite number, got {value!r}"
    return f"{name}: {problem['msg']}, got {value!r}"


def _unit(name: str) -> str:
    field = MTJ.model_fields.get(name.split(".")[0])
    extra = field.json_schema_extra if field else None
    return str(extra["unit"]) if isinstance(extra, dict) else ""
