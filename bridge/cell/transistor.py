"""The access transistor: an n-channel MOSFET by the n-th power law, with its body effect.

Legend: V_GS, V_DS, V_BS gate, drain and body to source; V_T threshold; n velocity saturation index; V_0, I_0, V_S0 the
voltage, the current per width and the drain saturation voltage of the reference point V_GS = V_DS = V_0.

    V_T    = V_T0 + gamma (sqrt(2 phi_F - V_BS) - sqrt(2 phi_F))
    I_sat  = W I_0/(1 + lambda V_0) ((V_GS - V_T)/(V_0 - V_T0))^n
    V_sat  = V_S0 ((V_GS - V_T)/(V_0 - V_T0))^(n/2)
    I_D    = I_sat (1 + lambda V_DS)                                       V_DS >= V_sat
    I_D    = I_sat (1 + lambda V_DS) (2 - V_DS/V_sat) V_DS/V_sat           V_DS <  V_sat

T. Sakurai, A. R. Newton, IEEE Trans. Electron Devices 38, 887 (1991), with their m = n/2 as in the alpha-power law
(IEEE J. Solid-State Circuits 25, 584, 1990). Left out: current below the threshold, drain-induced barrier lowering.

Temperature. I_0(T) is the node's table of the drive at V_GS = V_DS = V_0, linear between its columns, and

    V_T0(T) = V_T0 + K (T - 300 K)

so that the current falls more than the table's where the gate is above V_0 (less mobility), and less where it is below
(a lower threshold). From 200 K to 300 K the table is continued by the power law of its part from 300 K to 350 K:
assumed. K: -0.11 V over 300 K, read as KT1 in public model cards of BSIM4 (its law is
V_T(T) = V_T + KT1 (T/T_nom - 1)). V_S0, lambda, n, gamma and 2 phi_F do not change.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np

from bridge.checks import checked_between
from mtjsim.checks import (
    ArgumentError,
    Array,
    Suggesting,
    checked_array,
    checked_choice,
    checked_fields,
    checked_number,
    checked_signed,
)
from mtjsim.plausibility import doubt

T_REFERENCE = 300.0  # at which the parameters of a transistor hold [K]
COLDEST = 200.0  # to which a table that begins at 300 K is continued [K]
TABLE_K = (300.0, 310.0, 320.0, 330.0, 340.0, 350.0, 360.0, 370.0, 380.0, 390.0, 400.0)  # columns of DRIVE [K]
SLOPE_TO = 350.0  # end of the part of a table that gives the power law below 300 K [K]

# F [m], V_0 [V], V_T0 [V], I_0 [A/m] of n-channel transistors at 300 K: read in NVSim's Technology.cpp, which has them
# from MASTAR 5 for ITRS devices. HP high performance, LOP low operating power, LSTP low standby power.
NODES: dict[str, tuple[float, float, float, float]] = {
    "45nm_hp": (45e-9, 1.0, 0.12679, 1823.8),
    "45nm_lop": (45e-9, 0.7, 0.28894, 682.1),
    "45nm_lstp": (45e-9, 1.0, 0.56452, 527.5),
    "32nm_hp": (32e-9, 0.9, 0.13172, 1785.8),
    "32nm_lop": (32e-9, 0.7, 0.27852, 760.3),
    "32nm_lstp": (32e-9, 1.0, 0.58181, 560.0),
}
# I_0 [A/m] at TABLE_K, from the same file
DRIVE: dict[str, tuple[float, ...]] = {
    "45nm_hp": (1823.8, 1808.2, 1792.6, 1777.0, 1761.4, 1745.8, 1730.3, 1714.7, 1699.1, 1683.2, 1666.6),
    "45nm_lop": (682.1, 672.3, 662.5, 652.8, 643.0, 632.8, 620.9, 605.0, 583.6, 561.0, 542.7),
    "45nm_lstp": (527.5, 520.2, 512.9, 505.8, 498.6, 491.4, 483.7, 474.4, 461.2, 442.6, 421.3),
    "32nm_hp": (1785.8, 1771.8, 1757.8, 1743.8, 1729.8, 1715.7, 1701.7, 1687.6, 1673.5, 1659.4, 1645.0),
    "32nm_lop": (760.3, 750.4, 740.5, 730.7, 720.8, 710.9, 700.3, 687.6, 670.5, 647.4, 623.6),
    "32nm_lstp": (560.0, 553.0, 546.1, 539.3, 532.5, 525.8, 518.9, 511.5, 502.3, 489.2, 469.7),
}


def _relative_drive(node: str) -> tuple[tuple[float, float], ...]:
    """Pairs of temperature [K] and I_0(T)/I_0(300 K) of a node."""
    return tuple((T, I / DRIVE[node][0]) for T, I in zip(TABLE_K, DRIVE[node], strict=True))


@dataclass(frozen=True, kw_only=True)
class Transistor(Suggesting):
    """An n-channel access transistor; the defaults are those of `of_node("45nm_lop")` where that table has them.

    Parameters
    ----------
    width : float
        W of the channel [m], at least the feature size.
    feature_size : float
        F, half the metal pitch [m]; the length of the channel is the node's, and is in the drive.
    threshold_voltage : float
        V_T0 [V].
    reference_voltage : float
        V_0 [V].
    drive_per_width : float
        I_0 [A/m]; 682.1 A/m is 682.1 uA/um.
    saturation_index : float
        n, between 1 (velocity saturation) and 2 (Shockley). Assumed: 1.3, usual for short channels.
    saturation_voltage : float
        V_S0 [V]. Assumed: half of V_0.
    channel_length_modulation : float
        lambda [1/V]. Assumed: 0.1.
    body_effect : float
        gamma [V^0.5]; the body is grounded. Assumed: 0.2.
    surface_potential : float
        2 phi_F [V]. Assumed: 0.85.
    drive_temperatures : sequence of (float, float), or None
        (T, I_0(T)/I_0(300 K)), T ascending, 300 K among them, at least two [K]. Default: the table of 45nm_lop, as for
        the other parameters. None: a transistor that is known at 300 K alone, so that a cell with it is refused at any
        other temperature.
    threshold_slope : float
        K = dV_T0/dT [V/K], <= 0.

    Raises
    ------
    ValueError
        If a number is out of its range, the transistor narrower than F, or the threshold above the reference voltage.

    Examples
    --------
    >>> transistor = Transistor.of_node("45nm_lop", width=180e-9)
    >>> for T in (300.0, 400.0):
    ...     print(f"{float(transistor.at(T).current(gate_source=0.7, drain_source=0.7)) * 1e6:.1f} uA")
    122.8 uA
    97.7 uA
    """

    width: float
    feature_size: float = 45e-9
    threshold_voltage: float = 0.28894
    reference_voltage: float = 0.7
    drive_per_width: float = 682.1
    saturation_index: float = 1.3
    saturation_voltage: float = 0.35
    channel_length_modulation: float = 0.1
    body_effect: float = 0.2
    surface_potential: float = 0.85
    drive_temperatures: Sequence[tuple[float, float]] | None = field(
        default_factory=lambda: _relative_drive("45nm_lop"), repr=False
    )
    threshold_slope: float = -0.11 / T_REFERENCE

    def __post_init__(self) -> None:
        checked_fields(self, width="m", feature_size="m", reference_voltage="V", drive_per_width="A/m")
        checked_fields(self, saturation_voltage="V", surface_potential="V")
        checked_fields(self, zero_allowed=True, threshold_voltage="V", channel_length_modulation="1/V")
        checked_fields(self, zero_allowed=True, body_effect="V^0.5")
        doubt("transistor_width", self.width, name="width")
        doubt("feature_size", self.feature_size)
        doubt("voltage", self.reference_voltage, name="reference_voltage")
        checked_between("saturation_index", self.saturation_index, 1, 2)
        if self.width < self.feature_size * (1 - 1e-9):
            raise ArgumentError("width", f"must be >= feature_size ({self.feature_size:g} m), got {self.width:g}.")
        if (V_T := self.threshold_voltage) >= (V_0 := self.reference_voltage):
            reason = "the reference drive would be that of a transistor that does not conduct"
            raise ArgumentError("threshold_voltage", f"must be < reference_voltage ({V_0:g} V), got {V_T:g}: {reason}.")
        if (slope := checked_signed("threshold_slope", self.threshold_slope, "V/K")) > 0:
            raise ArgumentError("threshold_slope", f"must be <= 0 V/K, got {slope:g}: a threshold falls with heat.")
        object.__setattr__(self, "threshold_slope", slope)
        if self.drive_temperatures is not None:
            object.__setattr__(self, "drive_temperatures", _checked_table(self.drive_temperatures))

    @classmethod
    def of_node(cls, node: str, *, width: float, **changes: Any) -> Self:
        """Return a transistor of a node in `NODES`, V_S0 = V_0/2; `changes` to any other parameter.

        A changed `drive_per_width` is that at 300 K; the node's table is relative to it.

        Raises
        ------
        ValueError
            If the node is unknown; lists the nodes.
        """
        checked_choice("node", node, NODES)
        F, V_0, V_T0, I_0 = NODES[node]
        given: dict[str, Any] = {
            "feature_size": F,
            "reference_voltage": V_0,
            "threshold_voltage": V_T0,
            "drive_per_width": I_0,
            "saturation_voltage": V_0 / 2,
            "drive_temperatures": _relative_drive(node),
        }
        return cls(width=width, **(given | changes))

    def with_width(self, width: float) -> Self:
        """Return the same transistor with another channel width [m]."""
        return replace(self, width=width)

    def at(self, temperature: float) -> Self:
        """Return the transistor whose I_0 and V_T0 are those at a temperature [K]; itself at 300 K.

        Raises
        ------
        ValueError
            If it has no table (`drive_temperatures` is None), or the temperature is outside of it (one that begins at
            300 K is continued to 200 K); names the range.
        """
        T = checked_number("temperature", temperature, "K", zero_allowed=False)
        if T == T_REFERENCE:
            return self
        if self.drive_temperatures is None:
            problem = f"must be {T_REFERENCE:g} K, got {T:g}: the transistor has no drive_temperatures"
            raise ArgumentError("temperature", f"{problem}. Give its table, or take one of_node.")
        V_T = self.threshold_voltage + self.threshold_slope * (T - T_REFERENCE)
        if not 0 <= V_T < self.reference_voltage:
            problem = f"of {T:g} K gives a threshold of {V_T:.3g} V, outside of 0 to {self.reference_voltage:g} V"
            raise ArgumentError("temperature", f"{problem}. Give the transistor its own threshold_slope.")
        drive = self.drive_per_width * _interpolated(self.drive_temperatures, T)
        return replace(self, drive_per_width=drive, threshold_voltage=V_T)

    def current(self, *, gate_source: float | Array, drain_source: float | Array, source: float | Array = 0.0) -> Array:
        """Drain current [A]; 0 below the threshold.

        Parameters
        ----------
        gate_source, drain_source : float or array
            V_GS and V_DS >= 0 [V].
        source : float or array
            Of the source over the grounded body, -V_BS >= 0 [V].
        """
        phi = self.surface_potential
        V_T = self.threshold_voltage + self.body_effect * (np.sqrt(phi + source) - np.sqrt(phi))
        over = np.maximum(gate_source - V_T, 0.0) / (self.reference_voltage - self.threshold_voltage)
        slope = self.channel_length_modulation
        saturated = self.width * self.drive_per_width / (1 + slope * self.reference_voltage)
        V_sat = np.maximum(self.saturation_voltage * over ** (self.saturation_index / 2), 1e-300)
        x = np.minimum(np.asarray(drain_source) / V_sat, 1.0)
        return saturated * over**self.saturation_index * (1 + slope * np.asarray(drain_source)) * (2 - x) * x


def _checked_table(table: Any) -> tuple[tuple[float, float], ...]:
    """Return pairs of temperature and relative drive; ArgumentError unless they are a table with 300 K in it."""
    pairs = checked_array("drive_temperatures", table, "", zero_allowed=False)
    rule = f"must be pairs (T in K, drive over that at {T_REFERENCE:g} K), at least two, T ascending"
    if pairs.ndim != 2 or pairs.shape[1] != 2 or len(pairs) < 2 or (np.diff(pairs[:, 0]) <= 0).any():
        raise ArgumentError("drive_temperatures", f"{rule}; got an array of shape {pairs.shape}.")
    if (T_REFERENCE, 1.0) not in (kept := tuple((float(T), float(ratio)) for T, ratio in pairs)):
        raise ArgumentError("drive_temperatures", f"{rule}, ({T_REFERENCE:g}, 1) among them.")
    return kept


def _interpolated(table: Sequence[tuple[float, float]], T: float) -> float:
    """Relative drive at a temperature; ArgumentError outside of the table and its continuation."""
    at, ratio = np.array(table).T
    if at[0] == T_REFERENCE and COLDEST <= T < T_REFERENCE:
        warm = int(np.searchsorted(at, SLOPE_TO, side="right")) - 1 or 1  # the last column up to 350 K, or the second
        return float((T / T_REFERENCE) ** (np.log(ratio[warm]) / np.log(at[warm] / T_REFERENCE)))
    low = COLDEST if at[0] == T_REFERENCE else at[0]
    if not low <= T <= at[-1]:
        remedy = "Give drive_temperatures that cover it."
        raise ArgumentError(
            "temperature", f"must be from {low:g} to {at[-1]:g} K for this transistor, got {T:g}. {remedy}"
        )
    return float(np.interp(T, at, ratio))
