"""The properties of the cells of a die, from one draw."""

from dataclasses import dataclass

from mtjsim.checks import Array


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
    """

    error_rates: Array
    resistance_p: Array
    resistance_ap: Array
    thermal_stability: Array
