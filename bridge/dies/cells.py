"""The properties of the cells of a die, from one draw."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mtjsim.checks import Array

COLUMNS = ("error_rates", "resistance_p", "resistance_ap", "thermal_stability")


@dataclass(frozen=True, eq=False)
class Cells:
    """Error rate, resistances and thermal stability of each cell.

    Attributes
    ----------
    error_rates : (2, n) array
        By bit and cell, as `OperatingPoint.error_rate_0` and `error_rate_1`.
    resistance_p, resistance_ap : (n,) arrays
        Of the junction at low bias [ohm]. Of differential pairs (2, n), as the next: the junction that holds the bit,
        and the one that holds the other.
    thermal_stability : (n,) or (2, n) array
        Delta at the population's temperature, for retention and read disturb.
    origin : dict
        `Population.as_dict` of what they were drawn from; empty for numbers of one's own.
    """

    error_rates: Array
    resistance_p: Array
    resistance_ap: Array
    thermal_stability: Array
    origin: Mapping[str, Any] = field(default_factory=dict)

    def arrays(self) -> dict[str, Array]:
        """Return the four arrays by name."""
        return {name: getattr(self, name) for name in COLUMNS}
