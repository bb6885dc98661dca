"""Choice between the two methods for an axisymmetric write, and refusal where neither applies.

`spectral` (spectral.py) is exact to about 1e-9 and fast for many pulse widths; each result comes with an estimate of
its error by rounding, by the end of the basis and by interpolation. `finite_volume` (finite_volume.py) subtracts
nothing, keeps relative accuracy in both tails at any depth, and is good to about 1e-6; its estimate, from the last
extrapolation, is larger. "auto" takes the first, and the second for those pulse widths where the first does not reach
1e-6: where rounding errors of the start or of the other well are as large as what survived, as with a field of more
than half B_k along the write, after a time in which the density has not become smooth yet, or at large drives.
"""

import numpy as np

from mtjsim.checks import ArgumentError, Array
from mtjsim.fokker_planck.basis import ABSOLUTE, FULL_SPHERE, RELATIVE, basis_size
from mtjsim.fokker_planck.reduced import AxialWrite, unresolved
from mtjsim.fokker_planck.spectral import (
    WALLS,
    Evolution,
    SpectralSolver,
    ramp_steps,
    returning_mass,
)

METHODS = ("auto", "spectral", "finite_volume")
FORGOTTEN = 1e-9  # relative weight lost at an absorbing wall, above which it is not used
ACCURATE = 3e-7  # estimated relative error up to which a spectral result is returned
SUBTRACTION = 1e-13  # absolute error of one minus a probability near one
LARGEST_BASIS = 800  # polynomials: beyond, a solve takes seconds
QUICK_BASIS = 320  # polynomials: beyond, the finite volume is faster
QUICK_RAMPS = 60  # steps of slow ramps: beyond, the finite volume is faster
LARGEST_ERROR = 1e-4  # estimated relative error above which the finite volume refuses
LONGEST_SPECTRAL = 1e4  # in tau_D, of any phase: beyond, the repeated squaring of the propagator has lost ten digits


def tail_probability(
    write: AxialWrite,
    plateaus: Array,
    *,
    method: str = "auto",
    tail: str = "stayed",
    density: float | None = None,
) -> Array:
    """Probability to have "stayed" or "switched" for each plateau length (units of tau_D); shape (k,).

    `density` is that of the steps of ramps in place of `RAMP_STEPS`; `COARSE_RAMP_STEPS` is good to 1e-4 in a third of
    the time.
    """
    if method == "finite_volume":
        return _finite_volume(write, plateaus, tail)
    longest = max(float(plateaus.max()), *(duration for duration, _, _ in write.before + write.after), 0.0)
    if longest > LONGEST_SPECTRAL:
        if method == "spectral":
            problem = f"'spectral' is limited to {LONGEST_SPECTRAL:g} tau_D, got {longest:.3g}. Use 'auto'."
            raise ArgumentError("method", problem)
        return _finite_volume(write, plateaus, tail)
    if method == "auto" and ramp_steps(write, density) > QUICK_RAMPS:
        return _finite_volume(write, plateaus, tail)
    largest = LARGEST_BASIS if method == "spectral" else QUICK_BASIS
    value, error = (_stayed if tail == "stayed" else _switched)(write, plateaus, largest, density)
    lost = ~(error <= ACCURATE)
    if method == "spectral" and lost.any():
        size = basis_size(write, FULL_SPHERE, ABSOLUTE)
        if size > LARGEST_BASIS:
            problem = f"'spectral' is limited to {LARGEST_BASIS} polynomials, and {size} are needed. Use 'auto'."
            raise ArgumentError("method", problem)
        found = f"the probability to have {tail} has an estimated relative error of {np.nanmax(error):.2g}"
        raise ArgumentError("method", f"'spectral' does not reach 1e-6: {found}. Use 'auto'.")
    if lost.any():
        value[lost] = _finite_volume(write, plateaus[lost], tail)
    return value


def _stayed(write: AxialWrite, plateaus: Array, largest: int, density: float | None) -> tuple[Array, Array]:
    """Stay probability behind a wall where that is exact, on the full sphere elsewhere; and its relative error."""
    longest = max(float(plateaus.max()), 1e-9)
    masses = ((wall, returning_mass(write, wall, longest)) for wall in WALLS)
    wall, returning = next((one for one in masses if one[1].excursion < FORGOTTEN), (None, None))
    stayed, error = np.full(plateaus.shape, np.nan), np.full(plateaus.shape, np.inf)
    if wall is not None and returning is not None and basis_size(write, wall, RELATIVE) <= largest:
        stayed, error = _survival(SpectralSolver(write, wall, RELATIVE, density).log_survival(longest), plateaus)
        if write.drives_everywhere() and not write.before and not write.after:
            # the returned mass is in equilibrium with the other well long before it is comparable with what stayed
            survived, stayed = stayed, stayed + (1 - stayed) * write.stationary_ratio()
            with np.errstate(invalid="ignore"):  # 0 of what survived, with an infinite error: still not known
                error = error * np.divide(survived, stayed, out=np.ones_like(stayed), where=stayed > 0)
        else:
            error = np.where(returning.activation < FORGOTTEN * stayed, error, np.inf)
    lost = ~(error <= ACCURATE)
    if lost.any() and basis_size(write, FULL_SPHERE, ABSOLUTE) <= largest:
        evolution = SpectralSolver(write, FULL_SPHERE, ABSOLUTE, density).log_survival(longest)
        other, doubt = _survival(evolution, plateaus)
        better = lost & (doubt < error)
        stayed[better], error[better] = other[better], doubt[better]
    return stayed, error


def _survival(evolution: Evolution, plateaus: Array) -> tuple[Array, Array]:
    """Stay probability, and its relative error: infinite where it is below rounding."""
    stayed = np.exp(np.minimum(evolution(plateaus), 0.0))  # rounding may exceed 1
    error = evolution.error(plateaus)
    return stayed, np.where(np.isfinite(stayed) & np.isfinite(error), error, np.inf)


def _switched(write: AxialWrite, plateaus: Array, largest: int, density: float | None) -> tuple[Array, Array]:
    """Switch probability as one minus the other on the full sphere, and its relative error."""
    if basis_size(write, FULL_SPHERE, ABSOLUTE) > largest:
        return np.full(plateaus.shape, np.nan), np.full(plateaus.shape, np.inf)
    evolution = SpectralSolver(write, FULL_SPHERE, ABSOLUTE, density).log_survival(max(float(plateaus.max()), 1e-9))
    log_stayed, error = evolution(plateaus), evolution.error(plateaus)
    lost = np.isnan(log_stayed)  # the surviving mass is below rounding: all has switched
    switched = np.where(lost, 1.0, -np.expm1(np.minimum(log_stayed, 0.0)))
    absolute = np.where(lost, 0.0, error * (1 - switched) + SUBTRACTION)
    return switched, np.where(switched > 0, absolute / np.maximum(switched, 1e-300), np.inf)


def _finite_volume(write: AxialWrite, plateaus: Array, tail: str) -> Array:
    from mtjsim.fokker_planck.finite_volume import solve_tails  # here: numba is slow to import

    tails = solve_tails(write, plateaus, tail=tail)
    worst = float((tails.error_stayed if tail == "stayed" else tails.error_switched).max())
    if not worst < LARGEST_ERROR:
        found = f"the probability to have {tail} has an estimated relative error of {worst:.2g}"
        raise unresolved(write, f"{found} after {plateaus.max():.3g} characteristic times")
    return np.exp(np.minimum(tails.log_stayed if tail == "stayed" else tails.log_switched, 0.0))
