"""Held bits: read disturb, retention, and the barrier that a retention needs.

A bit starts in its well, in equilibrium there, and is lost if it is beyond the barrier at the end of `duration`: beyond
m_z = -B_z/B_k, the barrier without current. Arguments are checked and broadcast here; `reduced.py` converts them to
reduced units, `axial_hold.py` chooses the solver.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from mtjsim.calls import shows_its_call
from mtjsim.checks import (
    DIRECTIONS,
    NOT_PERCENT,
    ArgumentError,
    Array,
    Direction,
    checked_array,
    checked_choice,
    checked_names,
)
from mtjsim.device import MTJ, require_junction
from mtjsim.fokker_planck.axial_hold import METHODS, log_switched, stability_for, time_to_fail
from mtjsim.fokker_planck.reduced import at_rest, reduced_write, require_axisymmetric, require_unheated
from mtjsim.fokker_planck.spectral import one_blas_thread
from mtjsim.plausibility import doubt
from mtjsim.pulse import UNITS, Drive, one_drive

YEAR = 365.25 * 86400.0  # [s]
LOWEST_BARRIER = 15.0  # in kT, left by `strongest_read`
OUT_OF: dict[str, Direction] = {"p": "p_to_ap", "ap": "ap_to_p"}  # the direction that loses a state
SHORTEST_DESIGN = 50.0  # in tau_D: the same for the choice of a barrier, with room for the field
MOST_OPPOSING = 0.5  # B_z/B_k: beyond, less than a quarter of the barrier is left


@shows_its_call
def read_disturb_rate(
    device: MTJ,
    *,
    current: ArrayLike | None = None,
    duration: ArrayLike,
    state: str | ArrayLike = "p",
    temperature: ArrayLike = 300.0,
    voltage: ArrayLike | None = None,
    method: str = "auto",
) -> float | Array:
    """Probability that one read pulse leaves the bit beyond the barrier between the two states.

    Parameters
    ----------
    device : MTJ
        An axisymmetric junction: polarizer along z, no in-plane field or anisotropy.
    current : float or array
        Amplitude >= 0 [A], in the direction that destabilises `state`: the worst case. The other direction holds it.
    duration : float or array
        Of the rectangular pulse [s], > 0.
    state : {"p", "ap"} or array of these
        What is stored.
    temperature : float or array
        [K]; enters the barrier, the start, the noise and the declared laws.
    voltage : float or array
        In place of `current` [V]: the current then follows the resistance.
    method : {"auto", "quadrature", "finite_volume"}
        See `axial_hold.py`; the others are for comparisons.

    Returns
    -------
    float or array
        Of the broadcast shape of all arguments. Relative accuracy: 1e-5 at any depth to 1e-300 for durations of 25
        relaxation times and more behind a barrier, by quadrature; elsewhere 1e-4 from one characteristic time and 1e-22
        on. A result whose estimated error is above 1e-2 is refused.

    Raises
    ------
    ValueError
        If an argument is out of its range, the device is not axisymmetric, heats itself, is read through its write
        channel or has one stable state only; if "quadrature" does not apply; or if neither method resolves the pulse.

    Notes
    -----
    The start is the Boltzmann law of the stored well with the current off, and a bit is lost that is beyond the barrier
    at the very end of the pulse; both end at m_z = -B_z/B_k, the top of the barrier without current. In the read
    current the top is nearer to the stored state; a bit between the two counts as held, which most such bits are after
    a pause. Above I_c0 (1 + s h) there is no barrier and no rate: the pulse is a write, solved by the finite
    volume. `switching_probability` starts from the whole side of m_z = 0 and judges by its sign: the same without
    field; with an opposing field it counts the part of the start beyond the barrier as switched, at Delta = 60 1.0e-10
    of the bits at B_z = -0.3 B_k, 1e-5 at -0.4 and 3e-3 at -0.45.
    For n reads with pauses of a few characteristic times the bit fails with 1 - (1 - p)^n, about n p.

    Examples
    --------
    >>> device = MTJ.from_effective(thermal_stability=60, critical_current=30e-6, characteristic_time=2e-9)
    >>> print(f"{read_disturb_rate(device, current=10e-6, duration=20e-9):.3e}")
    2.265e-11
    """
    require_junction(device)
    require_unheated(device)
    if device.channel_resistance is not None:
        remedy = "Model the read with a two-terminal copy of the device, without it and with the junction's own torque."
        raise ArgumentError("channel_resistance", f"is declared, so currents are the write channel's. {remedy}")
    imposed, level = one_drive(current, voltage)
    remedy = "It is an amplitude that destabilises `state`."
    amplitude = checked_array(imposed, level, UNITS[imposed], zero_allowed=True, remedy=remedy)
    return _failure_rate(device, amplitude, duration, state, temperature, method, imposed)


@shows_its_call
def retention_failure_rate(
    device: MTJ,
    *,
    duration: ArrayLike,
    state: str | ArrayLike = "p",
    temperature: ArrayLike = 300.0,
    method: str = "auto",
) -> float | Array:
    """Probability that a bit at rest is beyond the barrier, in the other state, after `duration`.

    Parameters
    ----------
    device, duration, state, temperature, method
        As in `read_disturb_rate`.

    Returns
    -------
    float or array
        Of the broadcast shape of all arguments; saturates at the equilibrium mass of the other state.

    Raises
    ------
    ValueError
        As in `read_disturb_rate`.

    Examples
    --------
    >>> device = MTJ.from_effective(thermal_stability=60, critical_current=30e-6, characteristic_time=2e-9)
    >>> ten_years = 10 * 365.25 * 86400
    >>> print(f"{retention_failure_rate(device, duration=ten_years):.2e}")
    5.94e-09
    """
    require_junction(device)
    return _failure_rate(at_rest(device), np.zeros(()), duration, state, temperature, method)


def retention_time(
    device: MTJ, *, failure_rate: ArrayLike, state: str | ArrayLike = "p", temperature: ArrayLike = 300.0
) -> float | Array:
    """Duration at which a bit at rest has failed with probability `failure_rate`.

    Parameters
    ----------
    device, state, temperature
        As in `retention_failure_rate`.
    failure_rate : float or array
        Per bit, 0 < failure_rate < 1. An array of n bits
        loses its first with probability f after the time at which one bit has failed with 1 - (1 - f)^(1/n), about f/n.

    Returns
    -------
    float or array
        [s], of the broadcast shape of all arguments; 1e-4 relative. The inverse of `retention_failure_rate`. It is inf
        where the failure rate exceeds the equilibrium mass of the other state (1/2 without field, tiny for the state
        that a field favours), and above 1e300 characteristic times.

    Raises
    ------
    ValueError
        As there; or if the failure rate is reached within one characteristic time.

    Examples
    --------
    >>> device = MTJ.from_effective(thermal_stability=60, critical_current=30e-6, characteristic_time=2e-9)
    >>> print(f"{retention_time(device, failure_rate=1e-9) / 86400:.0f} days")
    615 days
    """
    rates, states, temperatures = np.broadcast_arrays(
        checked_array("failure_rate", failure_rate, "", zero_allowed=False, below=1, remedy=NOT_PERCENT),
        checked_names("state", state, OUT_OF),
        checked_array("temperature", temperature, "K", zero_allowed=False),
    )
    doubt("temperature", temperatures)
    require_junction(device)
    device = at_rest(device)
    require_axisymmetric(device)
    out = np.empty(rates.size)
    with one_blas_thread():
        for index, key in enumerate(zip(rates.flat, states.flat, temperatures.flat, strict=True)):
            rate, name, T = float(key[0]), str(key[1]), float(key[2])
            write, tau = reduced_write(device, OUT_OF[name], 0.0, T, 0.0, 0.0)
            out[index] = tau * time_to_fail(write.held(), rate, tau)
    return float(out[0]) if rates.ndim == 0 else out.reshape(rates.shape)


def thermal_stability_for_retention(
    *,
    duration: ArrayLike,
    failure_rate: ArrayLike,
    opposing_field_ratio: ArrayLike = 0.0,
    characteristic_time: ArrayLike = 1e-9,
) -> float | Array:
    """Thermal stability factor that a bit needs to survive `duration` with a failure probability of `failure_rate`.

    Parameters
    ----------
    duration : float or array
        [s], at least 50 characteristic times.
    failure_rate : float or array
        Per bit, 0 < failure_rate < 1/2. For an array of n bits that may lose one with probability f, take f/n.
    opposing_field_ratio : float or array
        abs(B_z)/B_k of the static field that opposes the worse of the two states, 0 <= ratio < 0.5.
    characteristic_time : float or array
        tau_D [s]; a factor of two changes Delta by about ln 2 only.

    Returns
    -------
    float or array
        Delta *at the temperature at which the bit must hold*, of the broadcast shape of all arguments: to 1e-5. It is
        Ms V B_k/(2 k T) without the field; the barrier left with it is Delta (1 - ratio)^2.

    Raises
    ------
    ValueError
        If an argument is out of its range, or no Delta from 2 to 1000 gives the failure rate.

    Notes
    -----
    `retention_failure_rate` inverted numerically; not a closed form. It is one junction's Delta: in a population the
    weakest junctions dominate, so take the mean of the *rate* over the spread, not the rate of the mean.

    Examples
    --------
    Ten years, one bit of a gigabit lost with probability 1e-3:

    >>> print(f"{thermal_stability_for_retention(duration=10 * 365.25 * 86400, failure_rate=1e-12):.2f}")
    69.46
    """
    columns = np.broadcast_arrays(
        checked_array("duration", duration, "s", zero_allowed=False),
        checked_array("failure_rate", failure_rate, "", zero_allowed=False, below=0.5, remedy=NOT_PERCENT),
        checked_array("opposing_field_ratio", opposing_field_ratio, "", zero_allowed=True, below=MOST_OPPOSING),
        checked_array("characteristic_time", characteristic_time, "s", zero_allowed=False),
    )
    seconds, _, _, taus = columns
    if (seconds < SHORTEST_DESIGN * taus).any():
        limit = f"must be >= {SHORTEST_DESIGN:g} characteristic times, got {(seconds / taus).min():.3g}"
        raise ArgumentError("duration", f"{limit}: the start has not settled. For a pulse use read_disturb_rate().")
    with one_blas_thread():
        found = [stability_for(*map(float, case)) for case in zip(*(column.flat for column in columns), strict=True)]
    return found[0] if seconds.ndim == 0 else np.array(found).reshape(seconds.shape)


def strongest_read(device: MTJ, *, temperature: float) -> float:
    """Largest read current to consider [A]: half the smaller I_c0, or less, so that `LOWEST_BARRIER` kT remain.

    Parameters
    ----------
    device : MTJ
        Any junction.
    temperature : float
        [K].

    Returns
    -------
    float
        0 where the barrier is too low even without current.

    Raises
    ------
    ValueError
        If the temperature is not > 0, or above `curie_temperature`.

    Notes
    -----
    The barrier that a read current leaves is Delta (1 - |h| - i)^2; both states and directions are allowed for.

    Examples
    --------
    >>> device = MTJ.from_effective(thermal_stability=60, critical_current=30e-6, characteristic_time=2e-9)
    >>> print(f"{strongest_read(device, temperature=300.0) * 1e6:.1f} uA")
    15.0 uA
    """
    require_junction(device)
    smallest = min(device.critical_current(direction, temperature) for direction in DIRECTIONS)
    field = abs(device.stray_field[2]) / device.anisotropy_field_at(temperature)
    room = 1 - field - np.sqrt(LOWEST_BARRIER / device.thermal_stability(temperature))
    return float(smallest * np.clip(room, 0.0, 0.5) / abs(1 + device.damping * device.field_like_ratio))


# ---- arguments and groups -----------------------------------------------------------------------------------------


def _failure_rate(
    device: MTJ,
    amplitude: Array,
    duration: ArrayLike,
    state: ArrayLike,
    temperature: ArrayLike,
    method: str,
    imposed: Drive = "current",
) -> float | Array:
    """Equal states, currents and temperatures share one solve."""
    checked_choice("method", method, METHODS)
    columns = np.broadcast_arrays(
        checked_names("state", state, OUT_OF),
        amplitude,
        checked_array("temperature", temperature, "K", zero_allowed=False),
        checked_array("duration", duration, "s", zero_allowed=False),
    )
    require_axisymmetric(device)
    doubt("temperature", columns[2])
    doubt(imposed, amplitude)
    seconds = columns[3].ravel()
    groups: dict[tuple, list[int]] = {}
    for index, key in enumerate(zip(*(column.ravel().tolist() for column in columns[:3]), strict=True)):
        groups.setdefault(key, []).append(index)
    out = np.empty(seconds.size)
    with one_blas_thread():
        for (name, level, T), members in groups.items():
            write, tau = reduced_write(device, OUT_OF[name], level, T, 0.0, 0.0, imposed)
            out[members] = np.exp(log_switched(write.held(), seconds[members] / tau, method=method, tau=tau))
    return float(out[0]) if columns[3].ndim == 0 else out.reshape(columns[3].shape)
