"""Choice between the two methods for an axisymmetric write, and refusal where neither applies.

`spectral` (spectral.py) is exact to about 1e-9 and fast, and keeps relative accuracy for write errors at any depth if
no magnetisation returns over the barrier. `finite_volume` (finite_volume.py) is good to about 1e-5 and slower, and
keeps relative accuracy in both tails. "auto" takes the first, and the second for those pulse widths where the first
does not guarantee 1e-6.
"""

import numpy as np
from numpy.typing import NDArray

from mtjsim.checks import ArgumentError, Array
from mtjsim.fokker_planck.reduced import AxialWrite, unresolved
from mtjsim.fokker_planck.spectral import ABSOLUTE, FULL_SPHERE, WALLS, SpectralSolver, basis_size, returning_mass

METHODS = ("auto", "spectral", "finite_volume")
FORGOTTEN = 1e-9  # relative weight lost at an absorbing wall, above which it is not used
SMALLEST_DIFFERENCE = 1e-5  # a probability below this is not taken from the full sphere, whose errors are absolute
LARGEST_BASIS = 800  # polynomials: beyond, a solve takes seconds
STRONGEST_SPECTRAL = 15.0  # in I_c0 at the strongest point of the torque: beyond, rounding errors exceed 1e-6
LARGEST_ERROR = 0.01  # estimated relative error above which the finite volume refuses
LONGEST_SPECTRAL = 1e4  # in tau_D, of any phase: beyond, the repeated squaring of the propagator has lost ten digits


def tail_probability(write: AxialWrite, plateaus: Array, *, method: str = "auto", tail: str = "stayed") -> Array:
    """Probability to have "stayed" or "switched" for each plateau length (units of tau_D); shape (k,)."""
    if method == "finite_volume":
        return _finite_volume(write, plateaus, tail)
    longest = max(float(plateaus.max()), 1e-9)
    strongest = abs(write.drive) / (1 - abs(write.asymmetry))
    size = basis_size(write, FULL_SPHERE, ABSOLUTE)
    if (
        max(longest, *(duration for duration, _, _ in write.before + write.after), 0.0) > LONGEST_SPECTRAL
        or strongest > STRONGEST_SPECTRAL
        or size > LARGEST_BASIS
    ):
        if method == "spectral":
            limits = f"{LONGEST_SPECTRAL:g} tau_D, {STRONGEST_SPECTRAL:g} I_c0 and {LARGEST_BASIS} polynomials"
            found = f"{longest:.3g}, {strongest:.3g} and {size}"
            raise ArgumentError("method", f"'spectral' is limited to {limits}, got {found}. Use 'auto'.")
        return _finite_volume(write, plateaus, tail)
    if tail == "stayed":
        value, exact = _stayed(write, plateaus, longest)
    else:
        value, exact = _switched(write, plateaus, longest)
    if method == "spectral" and not exact.all():
        found = f"the probability to have {tail} is below {SMALLEST_DIFFERENCE:g} without a wall to protect it"
        raise ArgumentError("method", f"'spectral' does not reach 1e-6: {found}. Use 'auto'.")
    if not exact.all():
        value[~exact] = _finite_volume(write, plateaus[~exact], tail)
    return value


def _stayed(write: AxialWrite, plateaus: Array, longest: float) -> tuple[Array, NDArray[np.bool_]]:
    """Stay probability behind a wall where that is exact, on the full sphere elsewhere; and where 1e-6 is certain."""
    returning = {wall: returning_mass(write, wall, longest) for wall in WALLS}
    wall = next((wall for wall in WALLS if returning[wall].excursion < FORGOTTEN), None)
    stayed = np.full(plateaus.shape, np.nan)
    exact: NDArray[np.bool_] = np.zeros(plateaus.shape, dtype=bool)
    if wall is not None:
        log_survival = SpectralSolver(write, wall).log_survival(longest)
        stayed = np.exp(np.minimum(log_survival(plateaus), 0.0))  # rounding may exceed 1
        if write.drives_everywhere() and not write.before and not write.after:
            # the returned mass is in equilibrium with the other well long before it is comparable with what stayed
            stayed = stayed + (1 - stayed) * write.stationary_ratio()
            exact = np.isfinite(stayed)
        else:
            exact = returning[wall].activation < FORGOTTEN * stayed
    if not exact.all():
        log_survival = SpectralSolver(write, FULL_SPHERE, ABSOLUTE).log_survival(longest)
        stayed[~exact] = np.exp(np.minimum(log_survival(plateaus[~exact]), 0.0))
        exact[~exact] = stayed[~exact] > SMALLEST_DIFFERENCE
    return stayed, exact


def _switched(write: AxialWrite, plateaus: Array, longest: float) -> tuple[Array, NDArray[np.bool_]]:
    """Switch probability as one minus the other on the full sphere; and where 1e-6 is certain."""
    log_survival = SpectralSolver(write, FULL_SPHERE, ABSOLUTE).log_survival(longest)
    log_stayed = log_survival(plateaus)
    lost = np.isnan(log_stayed)  # the surviving mass is below rounding: all has switched
    switched = np.where(lost, 1.0, -np.expm1(np.minimum(log_stayed, 0.0)))
    return switched, switched > SMALLEST_DIFFERENCE


def _finite_volume(write: AxialWrite, plateaus: Array, tail: str) -> Array:
    from mtjsim.fokker_planck.finite_volume import solve_tails  # here: numba is slow to import

    tails = solve_tails(write, plateaus)
    worst = float((tails.error_stayed if tail == "stayed" else tails.error_switched).max())
    if not worst < LARGEST_ERROR:
        found = f"the probability to have {tail} has an estimated relative error of {worst:.2g}"
        raise unresolved(write, f"{found} after {plateaus.max():.3g} characteristic times")
    return np.exp(np.minimum(tails.log_stayed if tail == "stayed" else tails.log_switched, 0.0))
