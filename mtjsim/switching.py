"""The front door: the probability that a write fails or succeeds, whatever the depth, and what it dissipates.

Arguments are checked and broadcast here, and equal writes share one solve; `reduced.py` turns them into reduced units,
`axial.py` decides which solver answers, and `oblique.py` answers for what is not axisymmetric.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from mtjsim import axial
from mtjsim.axial import LARGEST_BASIS, tail_probability
from mtjsim.checks import DIRECTIONS, Direction, checked_array, checked_choice, checked_number, checked_ramps
from mtjsim.device import MTJ
from mtjsim.fokker_planck import FULL_SPHERE, RAMP_STEPS_ENERGY, RELATIVE, SpectralSolver, basis_size, one_blas_thread
from mtjsim.reduced import Array, is_axisymmetric, reduced_write, require_axisymmetric, require_modelled
from mtjsim.transport import junction_resistance

METHODS = (*axial.METHODS, "spherical")
LONGEST_ENERGY = 1e5  # in tau_D: the longest pulse whose dissipated energy is solved


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
        Any junction; one that is not axisymmetric (polarizer off z, in-plane field or anisotropy) takes seconds in
        place of milliseconds.
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
    method : {"auto", "spectral", "finite_volume", "spherical"}
        See `axial.py` and `oblique.py`; "auto" is right unless you compare.

    Returns
    -------
    float or array
        Of the broadcast shape of all arguments. Relative accuracy at any depth: 1e-6 (2e-6 was seen at abs(lambda) near
        0.6). Where "auto" has to fall back on the finite volume, see `axial.py`: about 1e-4, and never a number whose
        estimated error is above 1e-2. For a device that is not axisymmetric: 1e-4, down to about 1e-9.

    Raises
    ------
    ValueError
        If an argument is out of its range, the ramps are longer than the pulse, the device declares an effect that a
        current-driven write does not model, or has only one stable state at zero current; if the write is so extreme
        that no solver resolves it (says by how much); or if the device is not axisymmetric and the error rate too small
        for 1e-4 (names the floor).

    Notes
    -----
    The start is the Boltzmann law on the starting side of m_z = 0 with the static fields on and the current off (with
    an opposing field of more than half B_k that side is no longer one well, and the rate no longer that of a bit); the
    state is judged by the sign of m_z at the end of the falling ramp and `relax_time`, so this is not first passage.
    Equations and sources: fokker_planck.py and spherical.py. Equal (device, current, direction, temperature, ramps)
    share one solve, so ask for many pulse widths in one call. Not modelled: incoherent reversal, heating, VCMA, a
    current that follows a voltage.

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
    succeed. Device only: no transistor, driver or line. Relative accuracy 1e-6, with ramps 1e-4; 1e-4 if the device is
    not axisymmetric.

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
    if not is_axisymmetric(device) and device.channel_resistance is None:
        return _spherical_energy(device, (direction, current, temperature, rise_time, 0.0), grid.pulse_width)
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
    checked_ramps(grid.rise_time, grid.pulse_width)
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
    spherical = method == "spherical" or (method == "auto" and not is_axisymmetric(device))
    (require_modelled if spherical else require_axisymmetric)(device)
    groups: dict[tuple, list[int]] = {}
    columns = (grid.direction, grid.current, grid.temperature, grid.rise_time, grid.relax_time)
    for index, key in enumerate(zip(*(column.ravel().tolist() for column in columns), strict=True)):
        groups.setdefault(key, []).append(index)
    widths = grid.pulse_width.ravel()
    out = np.empty(widths.size)
    for key, members in groups.items():
        if spherical:
            out[members] = _spherical(device, key, widths[members], tail)
            continue
        write, tau = reduced_write(device, *key)
        plateaus = (widths[members] - key[3]) / tau
        with one_blas_thread():
            out[members] = tail_probability(write, np.maximum(plateaus, 0.0), method=method, tail=tail)
    return out.reshape(grid.pulse_width.shape)


def _spherical(device: MTJ, key: tuple, widths: Array, tail: str) -> Array:
    from mtjsim import oblique  # here: numba takes half a second, and most calls never need it

    write = oblique.oblique_write(device, *key)
    return oblique.tail_probability(write, np.maximum(widths - key[3], 0.0), tail)


def _spherical_energy(device: MTJ, key: tuple, widths: Array) -> float | Array:
    from mtjsim import oblique

    require_modelled(device)
    plateaus = np.maximum(widths - key[3], 0.0)
    energy = oblique.mean_energy(device, oblique.oblique_write(device, *key), plateaus.ravel()).reshape(widths.shape)
    return float(energy) if energy.ndim == 0 else energy
