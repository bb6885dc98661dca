"""The access transistor: an n-channel MOSFET by the n-th power law, with its body effect.

Legend: V_GS, V_DS, V_BS gate, drain and body to source; V_T threshold; n velocity saturation index; V_0, I_0, V_S0 the
voltage, the current per width and the drain saturation voltage of the reference point V_GS = V_DS = V_0.

    V_T    = V_T0 + gamma (sqrt(2 phi_F - V_BS) - sqrt(2 phi_F))
    I_sat  = W I_0/(1 + lambda V_0) ((V_GS - V_T)/(V_0 - V_T0))^n
    V_sat  = V_S0 ((V_GS - V_T)/(V_0 - V_T0))^(n/2)
    I_D    = I_sat (1 + lambda V_DS)                                       V_DS >= V_sat
    I_D    = I_sat (1 + lambda V_DS) (2 - V_DS/V_sat) V_DS/V_sat           V_DS <  V_sat

T. Sakurai, A. R. Newton, IEEE Trans. Electron Devices 38, 887 (1991), with their m = n/2 as in the alpha-power law
(IEEE J. Solid-State Circuits 25, 584, 1990). Left out: current below the threshold, drain-induced barrier lowering, and
the temperature of the transistor.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from bridge.checks import checked_between
from mtjsim.checks import ArgumentError, Array, checked_choice, checked_fields

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


@dataclass(frozen=True, kw_only=True)
class Transistor:
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

    Raises
    ------
    ValueError
        If a number is out of its range, the transistor narrower than F, or the threshold above the reference voltage.

    Examples
    --------
    >>> transistor = Transistor.of_node("45nm_lop", width=180e-9)
    >>> print(f"{float(transistor.current(gate_source=0.7, drain_source=0.7)) * 1e6:.1f} uA")
    122.8 uA
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

    def __post_init__(self) -> None:
        checked_fields(self, width="m", feature_size="m", reference_voltage="V", drive_per_width="A/m")
        checked_fields(self, saturation_voltage="V", surface_potential="V")
        checked_fields(self, zero_allowed=True, threshold_voltage="V", channel_length_modulation="1/V")
        checked_fields(self, zero_allowed=True, body_effect="V^0.5")
        checked_between("saturation_index", self.saturation_index, 1, 2)
        if self.width < self.feature_size * (1 - 1e-9):
            raise ArgumentError("width", f"must be >= feature_size ({self.feature_size:g} m), got {self.width:g}.")
        if (V_T := self.threshold_voltage) >= (V_0 := self.reference_voltage):
            reason = "the reference drive would be that of a transistor that does not conduct"
            raise ArgumentError("threshold_voltage", f"must be < reference_voltage ({V_0:g} V), got {V_T:g}: {reason}.")

    @classmethod
    def of_node(cls, node: str, *, width: float, **changes: float) -> Self:
        """Return a transistor of a node in `NODES`, V_S0 = V_0/2; `changes` to any other parameter.

        Raises
        ------
        ValueError
            If the node is unknown; lists the nodes.
        """
        checked_choice("node", node, NODES)
        F, V_0, V_T0, I_0 = NODES[node]
        given = {
            "feature_size": F,
            "reference_voltage": V_0,
            "threshold_voltage": V_T0,
            "drive_per_width": I_0,
            "saturation_voltage": V_0 / 2,
        }
        return cls(width=width, **(given | changes))

    def with_width(self, width: float) -> Self:
        """Return the same transistor with another channel width [m]."""
        return replace(self, width=width)

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
