"""The front door: the probability that a write fails or succeeds, whatever the depth.

One question, two roads. `spectral` (fokker_planck.py) is exact to about 1e-9 and fast, and keeps relative accuracy for
write errors at any depth wherever what crosses the barrier does not come back. `finite_volume` (finite_volume.py) is
good to about 1e-5 and slower, and never loses relative accuracy, for neither tail. "auto" takes the first and falls
back on the second for those pulse widths where the first cannot promise 1e-6.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mtjsim.checks import DIRECTIONS, Direction, checked_array, checked_choice, checked_number
from mtjsim.device import MTJ
from mtjsim.fokker_planck import (
    ABSOLUTE,
    FULL_SPHERE,
    RAMP_STEPS_ENERGY,
    RELATIVE,
    WALLS,
    SpectralSolver,
    basis_size,
    one_blas_thread,
    returning_mass,
)
from mtjsim.reduced import Array, AxialWrite
from mtjsim.transport import junction_resistance

METHODS = ("auto", "spectral", "finite_volume")
FORGOTTEN = 1e-9  # relative weight of what an absorbing wall forgets, above which it is not used
SMALLEST_DIFFERENCE = 1e-5  # a probability below this is not taken from the full sphere, whose errors are absolute
MOST_STABLE = 1e4  # Delta: beyond, the start is narrower than any mesh
LARGEST_BASIS = 800  # polynomials: beyond, a solve takes seconds
STRONGEST = 100.0  # in I_c0: beyond, no mesh resolves the drift, and no macrospin describes the junction
STRONGEST_SPECTRAL = 15.0  # in I_c0 at the strongest point of the torque: beyond, rounding errors exceed 1e-6
LARGEST_ERROR = 0.01  # estimated relative error above which the finite volume gives no number
LONGEST_SPECTRAL = 1e4  # in tau_D, of any phase: beyond, the repeated squaring of the propagator has lost ten digits
LONGEST_ENERGY = 1e5  # the same, for the dissipated energy


def write_error_rate(
    device: MTJ,
    *,
    current: ArrayLike,
    pulse_width: ArrayLike,
    direction: str | ArrayLike = "p_to_ap",
    temperature: ArrayLike = 300.0,
    rise_time: ArrayLike = 0.0,
    relax_time: ArrayLike = 0.0,
    method: str = "auto",
) -> float | Array:
    """Probability that a write pulse leaves the junction in the state it started from.

    Parameters
    ----------
    device : MTJ
        An axisymmetric junction: polarizer along z, no in-plane field or anisotropy.
    current : float or array
        Amplitude >= 0 that drives the named direction [A].
    pulse_width : float or array
        Full width at half maximum [s], > 0.
    direction : {"p_to_ap", "ap_to_p"} or array of these
        Of the write.
    temperature : float or array
        [K]; enters the barrier, the start, the noise and the declared laws.
    rise_time : float or array
        Of each of the two linear ramps [s]; the pulse takes pulse_width + rise_time in all.
    relax_time : float or array
        Time at zero current, static fields on, before the state is judged [s].
    method : {"auto", "spectral", "finite_volume"}
        See the module's docstring.

    Returns
    -------
    float or array
        Of the broadcast shape of all arguments. Relative accuracy: 1e-6 (finite volume: 1e-4) at any depth.

    Raises
    ------
    ValueError
        If an argument is out of its range, the ramps are longer than the pulse, the device is not axisymmetric,
        declares an effect that a current-driven write does not model, or has only one stable state at zero current.

    Notes
    -----
    The start is the Boltzmann law on the starting side of m_z = 0 with the static fields on and the current off (with
    an opposing field of more than half B_k that side is no longer one well, and the rate no longer that of a bit); the
    state is judged by the sign of m_z at the end of the falling ramp and `relax_time`, so this is not first passage.
    Equations and sources: fokker_planck.py. Equal (device, current, direction, temperature, ramps) share one solve, so
    ask for many pulse widths in one call. Not modelled: incoherent reversal, heating, VCMA, a current that follows a
    voltage.

    Examples
    --------
    >>> device = MTJ.from_effective(thermal_stability=60, critical_current=30e-6, characteristic_time=2e-9)
    >>> rate = write_error_rate(device, current=75e-6, pulse_width=[7.45e-9, 16.64e-9])
    >>> print(*(f"{r:.2e}" for r in rate))
    9.97e-04 1.00e-09
    """
    tails = _tails(device, current, pulse_width, direction, temperature, rise_time, relax_time, method, "stayed")
    return float(tails) if tails.ndim == 0 else tails


def switching_probability(
    device: MTJ,
    *,
    current: ArrayLike,
    pulse_width: ArrayLike,
    direction: str | ArrayLike = "p_to_ap",
    temperature: ArrayLike = 300.0,
    rise_time: ArrayLike = 0.0,
    relax_time: ArrayLike = 0.0,
    method: str = "auto",
) -> float | Array:
    """Probability that a pulse switches the junction: the complement of `write_error_rate`, whose arguments it takes.

    Where it is the small one of the two it is not computed as a difference, and keeps its own relative accuracy: 1e-6
    down to 1e-5 and 1e-4 below.

    Returns
    -------
    float or array
        Of the broadcast shape of all arguments.

    Raises
    ------
    ValueError
        As in `write_error_rate`.

    Examples
    --------
    >>> device = MTJ.from_effective(thermal_stability=60, critical_current=30e-6, characteristic_time=2e-9)
    >>> print(f"{switching_probability(device, current=10e-6, pulse_width=20e-9):.2e}")
    2.26e-11
    """
    tails = _tails(device, current, pulse_width, direction, temperature, rise_time, relax_time, method, "switched")
    return float(tails) if tails.ndim == 0 else tails


def dissipated_energy(
    device: MTJ,
    *,
    current: float,
    pulse_width: ArrayLike,
    direction: Direction = "p_to_ap",
    temperature: float = 300.0,
    rise_time: float = 0.0,
) -> float | Array:
    """Mean Joule energy in the junction of a current-driven write, its resistance following the magnetisation.

    E = int I(t)^2 <R(m_z, I)> dt, the mean over the Fokker-Planck density, of writes that fail as well as of those that
    succeed. Device only: no transistor, driver or line. Relative accuracy 1e-6, with ramps 1e-4.

    Parameters
    ----------
    device, current, direction, temperature, rise_time
        As in `write_error_rate`, scalars.
    pulse_width : float or array
        [s].

    Returns
    -------
    float or array
        Shape of `pulse_width` [J].

    Raises
    ------
    ValueError
        As in `write_error_rate`.
    """
    grid = _validated(current, pulse_width, direction, temperature, rise_time, 0.0, "auto")
    current = checked_number("current", current, "A", zero_allowed=True)
    temperature = checked_number("temperature", temperature, "K", zero_allowed=False)
    rise_time = checked_number("rise_time", rise_time, "s", zero_allowed=True)
    require_axisymmetric(device)
    write, tau = reduced_write(device, direction, current, temperature, rise_time, 0.0)
    plateaus = (grid.pulse_width - rise_time) / tau
    if current == 0.0:
        return float(0 * plateaus) if plateaus.ndim == 0 else 0 * plateaus
    sign = 1.0 if direction == "p_to_ap" else -1.0

    def resistance(y: Array, relative_current: float) -> Array:
        return junction_resistance(device, m_z=sign * y, current=relative_current * current)

    longest = float(plateaus.max())
    size = basis_size(write, FULL_SPHERE, RELATIVE)
    if size > LARGEST_BASIS:
        raise ValueError(
            f"the energy of this write cannot be resolved: a thermal stability of {write.thermal_stability:.3g} and "
            f"{write.drive:.3g} critical currents need {size} polynomials, more than {LARGEST_BASIS}. Ask for a less "
            "extreme current or temperature."
        )
    if longest > LONGEST_ENERGY:
        raise ValueError(
            f"pulse_width must be <= {LONGEST_ENERGY * tau:.3g} s ({LONGEST_ENERGY:g} characteristic times), got "
            f"{grid.pulse_width.max():g} s: nothing changes by then, so add I^2 R t of the final state."
        )
    with one_blas_thread():
        dissipated = SpectralSolver(write, FULL_SPHERE, ramp_steps=RAMP_STEPS_ENERGY).dissipation(
            longest or 1e-9, resistance
        )
        energy = current**2 * tau * dissipated(np.atleast_1d(plateaus)).reshape(plateaus.shape)
    return float(energy) if energy.ndim == 0 else energy


# ---- from SI to reduced units --------------------------------------------------------------------------------


def require_axisymmetric(device: MTJ) -> None:
    """Raise ValueError, with the physics, unless the device is axisymmetric and all it declares is modelled here."""
    reasons = []
    if max(abs(device.stray_field[0]), abs(device.stray_field[1])) > 0:
        reasons.append(f"stray_field {device.stray_field} T has an in-plane part")
    if abs(device.polarizer[2]) < 1 - 1e-12:
        reasons.append(f"polarizer {device.polarizer} is not along z")
    if device.in_plane_anisotropy_field != 0:
        reasons.append(f"in_plane_anisotropy_field is {device.in_plane_anisotropy_field:g} T")
    if reasons:
        raise ValueError(
            f"the device is not axisymmetric: {'; '.join(reasons)}. Then m_z alone no longer decides the write, and "
            "the axisymmetric solvers would be wrong; a full-sphere solver is not part of this version."
        )
    if device.vcma_coefficient != 0:
        raise ValueError(
            f"vcma_coefficient is {device.vcma_coefficient:g} J/(V m), but a current-driven write does not model VCMA; "
            "declare the device without it to leave the effect out knowingly."
        )
    if device.thermal_resistance is not None or device.thermal_capacity is not None:
        raise ValueError(
            "thermal_resistance or thermal_capacity is declared, but a current-driven write does not model "
            "self-heating; declare the device without them and give the junction's own temperature instead."
        )


def reduced_write(
    device: MTJ, direction: Direction, current: float, temperature: float, rise_time: float, relax_time: float
) -> tuple[AxialWrite, float]:
    """Return the write in reduced units, and tau_D [s]; ValueError if only one state is stable at zero current."""
    sign = 1.0 if direction == "p_to_ap" else -1.0
    B_k = device.anisotropy_field_at(temperature)
    h = device.stray_field[2] / B_k
    if abs(h) >= 1:
        lost = "AP" if h > 0 else "P"
        raise ValueError(
            f"stray_field z of {device.stray_field[2]:g} T exceeds the anisotropy field of {B_k:g} T at "
            f"{temperature:g} K: {lost} is not stable, so there is no bit to write."
        )
    tau = device.characteristic_time(temperature)
    symmetric = device.critical_current(direction, temperature)
    asymmetry = sign * device.spin_torque_asymmetry * device.polarizer[2]
    symmetric /= 1 + asymmetry
    drive = current / symmetric * (1 + device.damping * device.field_like_ratio)
    if drive < 0:
        raise ValueError(
            f"field_like_ratio of {device.field_like_ratio:g} turns the torque around: 1 + alpha beta must be > 0."
        )
    stability = device.thermal_stability(temperature)
    if stability > MOST_STABLE:
        raise ValueError(
            f"the thermal stability must be <= {MOST_STABLE:g}, got {stability:.3g} at {temperature:g} K: is a length "
            "missing its unit, or the temperature too low for a thermal model?"
        )
    if drive > STRONGEST:
        raise ValueError(
            f"current must be <= {STRONGEST:g} critical currents ({STRONGEST * symmetric:.3g} A here), got "
            f"{current:g} A: no junction survives it and no macrospin describes it."
        )
    write = AxialWrite(
        thermal_stability=stability,
        drive=drive,
        field=sign * h,
        asymmetry=asymmetry,
        rise_time=rise_time / tau,
        relax_time=relax_time / tau,
    )
    return write, tau


@dataclass(frozen=True)
class _Grid:
    direction: np.ndarray
    current: Array
    pulse_width: Array
    temperature: Array
    rise_time: Array
    relax_time: Array


def _validated(
    current: ArrayLike,
    pulse_width: ArrayLike,
    direction: str | ArrayLike,
    temperature: ArrayLike,
    rise_time: ArrayLike,
    relax_time: ArrayLike,
    method: str,
) -> _Grid:
    """Check every argument and broadcast them."""
    checked_choice("method", method, METHODS)
    for name in np.unique(np.asarray(direction)):
        checked_choice("direction", str(name), DIRECTIONS)
    arrays = [
        np.asarray(direction),
        checked_array(
            "current", current, "A", zero_allowed=True, way_out="It is an amplitude; `direction` has the sign."
        ),
        checked_array("pulse_width", pulse_width, "s", zero_allowed=False),
        checked_array("temperature", temperature, "K", zero_allowed=False),
        checked_array("rise_time", rise_time, "s", zero_allowed=True),
        checked_array("relax_time", relax_time, "s", zero_allowed=True),
    ]
    grid = _Grid(*np.broadcast_arrays(*arrays))
    long = grid.rise_time > grid.pulse_width
    if long.any():
        raise ValueError(
            f"rise_time must be <= pulse_width, got {grid.rise_time[long].flat[0]:g} s for a pulse of "
            f"{grid.pulse_width[long].flat[0]:g} s: the width is at half maximum, so the plateau would be negative."
        )
    return grid


# ---- one solve a group of equal currents ----------------------------------------------------------------------


def _tails(
    device: MTJ,
    current: ArrayLike,
    pulse_width: ArrayLike,
    direction: str | ArrayLike,
    temperature: ArrayLike,
    rise_time: ArrayLike,
    relax_time: ArrayLike,
    method: str,
    tail: str,
) -> Array:
    grid = _validated(current, pulse_width, direction, temperature, rise_time, relax_time, method)
    require_axisymmetric(device)
    groups: dict[tuple, list[int]] = {}
    columns = (grid.direction, grid.current, grid.temperature, grid.rise_time, grid.relax_time)
    for index, key in enumerate(zip(*(column.ravel().tolist() for column in columns), strict=True)):
        groups.setdefault(key, []).append(index)
    widths = grid.pulse_width.ravel()
    out = np.empty(widths.size)
    for key, members in groups.items():
        write, tau = reduced_write(device, *key)
        plateaus = (widths[members] - key[3]) / tau
        with one_blas_thread():
            out[members] = tail_probability(write, np.maximum(plateaus, 0.0), method=method, tail=tail)
    return out.reshape(grid.pulse_width.shape)


def tail_probability(write: AxialWrite, plateaus: Array, *, method: str = "auto", tail: str = "stayed") -> Array:
    """Probability to have "stayed" or "switched" for each plateau length (units of tau_D); shape (k,)."""
    if method == "finite_volume":
        return _finite_volume(write, plateaus, tail)
    longest = max(float(plateaus.max()), 1e-9)
    strongest = write.drive / (1 - abs(write.asymmetry))
    size = basis_size(write, FULL_SPHERE, ABSOLUTE)
    if (
        max(longest, write.rise_time, write.relax_time) > LONGEST_SPECTRAL
        or strongest > STRONGEST_SPECTRAL
        or size > LARGEST_BASIS
    ):
        if method == "spectral":
            raise ValueError(
                f"method='spectral' needs a pulse of at most {LONGEST_SPECTRAL:g} tau_D, a drive of at most "
                f"{STRONGEST_SPECTRAL:g} critical currents and at most {LARGEST_BASIS} polynomials, got {longest:.3g}, "
                f"{strongest:.3g} and {size}; use 'auto'."
            )
        return _finite_volume(write, plateaus, tail)
    if tail == "stayed":
        value, exact = _stayed(write, plateaus, longest)
    else:
        value, exact = _switched(write, plateaus, longest)
    if method == "spectral" and not exact.all():
        raise ValueError(
            f"method='spectral' cannot promise 1e-6: at {(~exact).sum()} of {exact.size} pulse widths the "
            f"probability to have {tail} is below {SMALLEST_DIFFERENCE:g} and no wall protects it; use 'auto'."
        )
    if not exact.all():
        value[~exact] = _finite_volume(write, plateaus[~exact], tail)
    return value


def _stayed(write: AxialWrite, plateaus: Array, longest: float) -> tuple[Array, NDArray[np.bool_]]:
    """Stay probability behind a wall where that is exact, on the full sphere elsewhere; and whether 1e-6 is sure."""
    returning = {wall: returning_mass(write, wall, longest) for wall in WALLS}
    wall = next((wall for wall in WALLS if returning[wall].excursion < FORGOTTEN), None)
    stayed = np.full(plateaus.shape, np.nan)
    exact: NDArray[np.bool_] = np.zeros(plateaus.shape, dtype=bool)
    if wall is not None:
        log_survival = SpectralSolver(write, wall).log_survival(longest)
        stayed = np.exp(np.minimum(log_survival(plateaus), 0.0))  # cut what rounding adds to 1
        if write.drives_everywhere() and write.rise_time == write.relax_time == 0.0:
            # what returns is in equilibrium with the other well long before it can be compared with what stayed
            stayed = stayed + (1 - stayed) * write.stationary_ratio()
            exact = np.ones(plateaus.shape, dtype=bool)
        else:
            exact = returning[wall].activation < FORGOTTEN * stayed
    if not exact.all():
        log_survival = SpectralSolver(write, FULL_SPHERE, ABSOLUTE).log_survival(longest)
        stayed[~exact] = np.exp(np.minimum(log_survival(plateaus[~exact]), 0.0))
        exact[~exact] = stayed[~exact] > SMALLEST_DIFFERENCE
    return stayed, exact


def _switched(write: AxialWrite, plateaus: Array, longest: float) -> tuple[Array, NDArray[np.bool_]]:
    """Switch probability as one minus the other on the full sphere; and whether 1e-6 is sure."""
    log_survival = SpectralSolver(write, FULL_SPHERE, ABSOLUTE).log_survival(longest)
    log_stayed = log_survival(plateaus)
    lost = np.isnan(log_stayed)  # the survivors are below rounding: the switched ones are all
    switched = np.where(lost, 1.0, -np.expm1(np.minimum(log_stayed, 0.0)))
    return switched, switched > SMALLEST_DIFFERENCE


def _finite_volume(write: AxialWrite, plateaus: Array, tail: str) -> Array:
    from mtjsim.finite_volume import solve_tails  # here: numba takes half a second, and most calls never need it

    tails = solve_tails(write, plateaus)
    worst = float((tails.error_stayed if tail == "stayed" else tails.error_switched).max())
    if not worst < LARGEST_ERROR:
        raise ValueError(
            f"this write cannot be resolved: at a thermal stability of {write.thermal_stability:.3g} and "
            f"{write.drive:.3g} critical currents, for {plateaus.max():.3g} characteristic times, the estimated "
            f"relative error of the probability to have {tail} is {worst:.2g}. Ask for a less extreme current, width "
            "or temperature."
        )
    return np.exp(np.minimum(tails.log_stayed if tail == "stayed" else tails.log_switched, 0.0))
