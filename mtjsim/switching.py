"""The probability that a write fails or succeeds, at any depth.

Arguments are checked and broadcast in `question.py`, and equal writes share one solve. The rest is in `fokker_planck/`:
`reduced.py` converts a write to reduced units, `axial.py` chooses the solver, and `oblique.py` solves writes that are
not axisymmetric.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from mtjsim.calls import shows_its_call
from mtjsim.checks import Array, checked_choice
from mtjsim.device import MTJ, require_junction
from mtjsim.fokker_planck import axial
from mtjsim.fokker_planck.axial import tail_probability
from mtjsim.fokker_planck.reduced import (
    STARTS,
    is_axisymmetric,
    reduced_write,
    require_axisymmetric,
    require_known_well,
    require_unheated,
)
from mtjsim.fokker_planck.spectral import one_blas_thread
from mtjsim.pulse import Pulse
from mtjsim.question import OneWrite, Question

METHODS = (*axial.METHODS, "spherical")


@shows_its_call
def write_error_rate(
    device: MTJ,
    *,
    current: ArrayLike | None = None,
    pulse_width: ArrayLike | None = None,
    direction: str | ArrayLike = "p_to_ap",
    temperature: ArrayLike = 300.0,
    rise_time: ArrayLike = 0.0,
    relax_time: ArrayLike = 0.0,
    voltage: ArrayLike | None = None,
    pulse: Pulse | None = None,
    method: str = "auto",
    start: str = "side",
) -> float | Array:
    """Probability that a write pulse leaves the junction in the state it started from.

    Parameters
    ----------
    device : MTJ
        Any junction; one that is not axisymmetric (polarizer off z, in-plane field or anisotropy) takes seconds instead
        of milliseconds.
    current : float or array
        Amplitude >= 0 that drives the named direction [A].
    pulse_width : float or array
        Full width at half maximum [s], > 0.
    direction : {"p_to_ap", "ap_to_p", "both"} or array of the first two
        Of the write. "both": the result has a first axis of these two, in this order.
    temperature : float or array
        [K]; enters the barrier, the start, the noise and the declared laws.
    rise_time : float or array
        Of each of the two linear ramps [s]; the pulse takes pulse_width + rise_time in all.
    relax_time : float or array
        Time at zero current, static fields on, before the state is judged [s].
    voltage : float or array
        In place of `current`: amplitude >= 0 across the junction (the channel of a three-terminal device) [V]. The
        current follows the resistance while the layer turns, and the bias lowers or raises the barrier (VCMA).
    pulse : Pulse
        In place of current or voltage, pulse_width and rise_time: a pulse of any shape.
    method : {"auto", "spectral", "finite_volume", "spherical"}
        See `axial.py` and `oblique.py`; the others are for comparisons.
    start : {"side", "well"}
        Where the layer is before the pulse, with the static fields on and the current off: in equilibrium on the whole
        starting side of m_z = 0, or in equilibrium in its well (axisymmetric devices), which ends at the barrier,
        m_z = -B_z/B_k, as a bit does that was written a while ago. See the notes.

    Returns
    -------
    float or array
        Of the broadcast shape of all arguments. Relative accuracy at any depth: 1e-6. Where "auto" uses the finite
        volume (`axial.py`): about 1e-6 too, and a result whose estimated error is above 1e-4 is refused. Below 1e-320
        the result is 0. For a device that is not axisymmetric: 1e-4, down to 1e-10.

    Raises
    ------
    ValueError
        If an argument is out of its range, the ramps are longer than the pulse, the device heats itself or has only one
        stable state at zero current; if no solver resolves the write (with the estimated error); or if the device is
        not axisymmetric and the probability too small for 1e-4 (with the smallest that is resolved).

    Notes
    -----
    The two starts are the same without field. With an opposing one a part of the side lies beyond the barrier, and
    falls to the other state by itself: at Delta = 60 1e-10 of it at B_z = -0.3 B_k, 1e-5 at -0.4, 3e-3 at -0.45, and a
    half near -0.5. By about that share a write error rate from the side is lower than one from the well, and by that
    much a small switching probability is higher. The state is judged by the sign of m_z at the end of the falling ramp
    and `relax_time`, so this is not first passage.
    Equations and sources: spectral.py and spherical.py of fokker_planck/. Equal (device, current, direction,
    temperature, ramps) share one solve: give many pulse widths in one call. VCMA acts if the device declares it, under
    an imposed current through V = I R. Not modelled: incoherent reversal; self-heating (see `simulate_writes`).

    Examples
    --------
    >>> device = MTJ.from_effective(thermal_stability=60, critical_current=30e-6, characteristic_time=2e-9)
    >>> rate = write_error_rate(device, current=75e-6, pulse_width=[7.45e-9, 16.64e-9])
    >>> print(*(f"{r:.2e}" for r in rate))
    9.97e-04 1.00e-09
    >>> p_to_ap, ap_to_p = write_error_rate(device, current=75e-6, pulse_width=5e-9, direction="both")
    """
    return _tail(
        "stayed",
        device,
        method,
        current=current,
        voltage=voltage,
        pulse_width=pulse_width,
        pulse=pulse,
        direction=direction,
        temperature=temperature,
        rise_time=rise_time,
        relax_time=relax_time,
        start=start,
    )


@shows_its_call
def switching_probability(
    device: MTJ,
    *,
    current: ArrayLike | None = None,
    pulse_width: ArrayLike | None = None,
    direction: str | ArrayLike = "p_to_ap",
    temperature: ArrayLike = 300.0,
    rise_time: ArrayLike = 0.0,
    relax_time: ArrayLike = 0.0,
    voltage: ArrayLike | None = None,
    pulse: Pulse | None = None,
    method: str = "auto",
    start: str = "side",
) -> float | Array:
    """Probability that a pulse switches the junction: the complement of `write_error_rate`, for when that is rare.

    Parameters
    ----------
    device : MTJ
        Any junction that does not heat itself.
    current, voltage : float or array
        Amplitude >= 0 that drives the named direction [A] or [V]; one of the two, with `pulse_width`.
    pulse_width : float or array
        Full width at half maximum [s], > 0.
    direction : {"p_to_ap", "ap_to_p", "both"} or array of the first two
        As in `write_error_rate`.
    temperature : float or array
        [K].
    rise_time, relax_time : float or array
        Of each of the two ramps, and at zero current before the state is judged [s].
    pulse : Pulse
        In place of current or voltage, pulse_width and rise_time.
    method : {"auto", "spectral", "finite_volume", "spherical"}
        As in `write_error_rate`.
    start : {"side", "well"}
        As in `write_error_rate`.

    Returns
    -------
    float or array
        Of the broadcast shape of all arguments. Where it is the smaller of the two probabilities it is not computed as
        a difference, and keeps its own relative accuracy. For a device that is not axisymmetric: 1e-4, down to 1e-10.

    Raises
    ------
    ValueError
        As in `write_error_rate`.

    Notes
    -----
    Start, judgement and limits of the model are those of `write_error_rate`; the two add up to 1. For a read current
    see `read_disturb_rate`, which takes any duration.

    Examples
    --------
    >>> device = MTJ.from_effective(thermal_stability=60, critical_current=30e-6, characteristic_time=2e-9)
    >>> print(f"{switching_probability(device, current=10e-6, pulse_width=20e-9):.2e}")
    2.26e-11
    """
    return _tail(
        "switched",
        device,
        method,
        current=current,
        voltage=voltage,
        pulse_width=pulse_width,
        pulse=pulse,
        direction=direction,
        temperature=temperature,
        rise_time=rise_time,
        relax_time=relax_time,
        start=start,
    )


def _tail(tail: str, device: MTJ, method: str, start: str, **arguments: Any) -> float | Array:
    """Probability of a tail, "stayed" or "switched"; further arguments as in `Question.checked`."""
    question = Question.checked(**arguments)
    checked_choice("start", start, STARTS)
    checked_choice("method", method, METHODS)
    require_junction(device)
    require_unheated(device)
    on_sphere = method == "spherical" or (method == "auto" and not is_axisymmetric(device))
    if not on_sphere:
        require_axisymmetric(device)
    elif start == "well":
        require_known_well(device, method == "spherical")
    out = np.empty(question.pulse_width.size)
    with one_blas_thread():
        for one, members, plateaus in question.writes():
            if on_sphere:
                out[members] = _on_sphere(device, one, plateaus, tail)
                continue
            write, tau = reduced_write(device, **vars(one))
            write = write.started_in_well() if start == "well" else write
            out[members] = tail_probability(write, plateaus / tau, method=method, tail=tail)
    return float(out[0]) if question.pulse_width.ndim == 0 else out.reshape(question.pulse_width.shape)


def _on_sphere(device: MTJ, one: OneWrite, plateaus: Array, tail: str) -> Array:
    from mtjsim.fokker_planck import oblique  # here: numba is slow to import

    return oblique.tail_probability(oblique.oblique_write(device, **vars(one)), plateaus, tail)
