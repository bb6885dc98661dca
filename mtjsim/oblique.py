"""Writes that are not axisymmetric: from a device to a probability that is known to 1e-4, or a refusal.

A write is solved on the sphere (spherical.py) with more and more degrees, orders and ramp steps until two solves agree
to `RELATIVE`. Their difference is the estimate of the error, and the finer one is the answer: usually a hundred times
better than the estimate. The density is known to `ROUNDING` of the whole mass, absolutely, so that no probability below
ROUNDING/RELATIVE can be promised; such a tail takes multilevel splitting, `rare_write_errors`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from mtjsim.chebyshev import ellipse
from mtjsim.checks import DIRECTIONS, Array, Direction, checked_choice, checked_number
from mtjsim.device import MTJ
from mtjsim.fokker_planck import one_blas_thread
from mtjsim.pulse import Pulse
from mtjsim.reduced import STRONGEST, require_modelled
from mtjsim.spherical import Drive, Pieces, Resolution, SphericalSolver, Write
from mtjsim.torques import Torque, torque_of
from mtjsim.transport import junction_resistance

RELATIVE = 1e-4  # of every probability that is returned
ROUNDING = 1e-14  # absolute error of a probability by rounding: three times what was seen down to 1e-9
SCOUT = 1e-6  # share of the mass that the first basis may miss; its error is about a thousandth of that
FINEST = 1e-14  # the same of the largest basis that is worth its time
LARGEST_DEGREE = 300  # L: beyond, a solve takes minutes
MOST_PRODUCTS = 1e12  # multiplications of one solve: about ten minutes

Tail = Literal["stayed", "switched"]


@dataclass(frozen=True)
class Tails:
    """Both probabilities, and what is known about their error.

    Attributes
    ----------
    stayed, switched : arrays
        They add up to 1.
    error : array
        Estimated absolute error of either.
    """

    stayed: Array
    switched: Array
    error: Array


def oblique_write(
    device: MTJ, direction: Direction, current: float, temperature: float, rise_time: float, relax_time: float
) -> Write:
    """Return a current-driven write with linear ramps; ValueError if it makes no sense.

    Parameters
    ----------
    device, direction, temperature
        As in `write_error_rate`.
    current : float
        Amplitude >= 0 that drives the direction [A].
    rise_time, relax_time : float
        [s].
    """
    ramps: tuple[Pieces, Pieces] = ((), ())
    if rise_time > 0:
        ramps = (((rise_time, 0.0, current),), ((rise_time, current, 0.0),))
    rest: Pieces = ((relax_time, 0.0, 0.0),) if relax_time > 0 else ()
    torque, side = torque_of(device, temperature), 1.0 if direction == "p_to_ap" else -1.0
    write = Write(torque, Drive(-side * torque.per_ampere), side, ramps[0], current, ramps[1] + rest)
    require_sense(write)
    return write


def tail_probability(write: Write, plateaus: Array, tail: str) -> Array:
    """Probability to have "stayed" or "switched" for each length of the plateau [s], to `RELATIVE`; shape (k,)."""
    tails = solve(write, plateaus, tail)
    values = tails.stayed if tail == "stayed" else tails.switched
    require_depth(values, tails.error, tail)
    return np.minimum(values, 1.0)


def solve(write: Write, plateaus: Array, tail: str) -> Tails:
    """Both probabilities for each length of the plateau [s], the error of the `tail` made as small as it can be."""
    lengths, place = np.unique(plateaus, return_inverse=True)

    def answer(solver: SphericalSolver) -> Array:
        stayed = solver.stayed(lengths)
        return stayed if tail == "stayed" else 1 - stayed

    values, error = settle(write, answer, float(lengths[-1]))
    asked, other = values[place], 1 - values[place]
    stayed, switched = (asked, other) if tail == "stayed" else (other, asked)
    return Tails(stayed, switched, error[place])


def solve_pulse(
    device: MTJ,
    pulse: Pulse,
    *,
    direction: Direction = "p_to_ap",
    temperature: float = 300.0,
    relax_time: float = 0.0,
    tail: Tail = "stayed",
) -> Tails:
    """Write with any current-driven pulse; the error is an estimate, and how deep that goes is for the caller to judge.

    Parameters
    ----------
    device : MTJ
        Any junction.
    pulse : Pulse
        Piecewise linear current.
    direction : {"p_to_ap", "ap_to_p"}
        Of the write: it starts in the first.
    temperature : float
        [K].
    relax_time : float
        Time at zero current before the state is judged [s].
    tail : {"stayed", "switched"}
        Whose relative error is made small.

    Returns
    -------
    Tails
        Of arrays of shape (1,).

    Raises
    ------
    ValueError
        If the pulse is a voltage; or as in `write_error_rate`.
    """
    if pulse.drive != "current":
        raise ValueError("the pulse must be a current: build it with current=... in place of voltage=.")
    checked_choice("tail", tail, ("stayed", "switched"))
    checked_choice("direction", direction, DIRECTIONS)
    require_modelled(device)
    temperature = checked_number("temperature", temperature, "K", zero_allowed=False)
    torque, side = torque_of(device, temperature), 1.0 if direction == "p_to_ap" else -1.0
    pieces = tuple((end - start, a, b) for start, end, a, b in pulse.followed_by(relax_time=relax_time).segments)
    write = Write(torque, Drive(pulse.sign(direction) * torque.per_ampere), side, pieces, 0.0, ())
    require_sense(write)
    return solve(write, np.zeros(1), tail)


def mean_energy(device: MTJ, write: Write, plateaus: Array) -> Array:
    """Mean Joule energy in the junction [J] for each length of the plateau [s]: the time integral of I^2 <R(m_z)>."""
    lengths, place = np.unique(plateaus, return_inverse=True)

    def resistance(m_z: Array, current: float) -> Array:
        return junction_resistance(device, m_z=np.clip(m_z, -1.0, 1.0), current=current)

    if write.peak == 0:
        return 0 * plateaus
    unit = write.peak**2 * device.resistance_p * max(float(lengths[-1]), 1e-12)
    values, _ = settle(write, lambda solver: solver.dissipation(resistance, lengths) / unit, float(lengths[-1]))
    return unit * values[place]


# ---- convergence ----------------------------------------------------------------------------------------------------


def settle(write: Write, answer: Callable[[SphericalSolver], Array], longest: float) -> tuple[Array, Array]:
    """Refine until two answers agree to `RELATIVE`, or until nothing more can be gained: the answer and its error."""
    resolution, finest = write.resolution(SCOUT), write.resolution(FINEST)
    most = int(1.2 * finest.degree)
    with one_blas_thread():
        before = answer(_solver(write, resolution, longest))
        while True:
            # a basis that will do as the coarser of two, unless the one before already does
            aim = write.resolution(min(SCOUT, max(FINEST, 30 * RELATIVE * float(before.min()))))
            exhausted = resolution.degree >= most and resolution.order in (0, most)
            resolution = resolution.finer(aim, most)
            values = answer(_solver(write, resolution, longest))
            change = np.abs(values - before)
            error = change + ROUNDING
            hopeless = (values + change < 0.5 * ROUNDING / RELATIVE).any()
            if (error <= RELATIVE * values).all() or hopeless or exhausted:
                return values, error
            before = values


def _solver(write: Write, resolution: Resolution, longest: float) -> SphericalSolver:
    t = write.torque
    if resolution.degree > LARGEST_DEGREE:
        raise ValueError(
            f"this write cannot be resolved: a thermal stability of {t.energy_scale * t.anisotropy_field / 2:.3g} and "
            f"this current need harmonics of degree {resolution.degree}, more than {LARGEST_DEGREE}. Ask for a smaller "
            "current or a higher temperature, or count failures of the macrospin."
        )
    solver = SphericalSolver(write, resolution)
    phases = [(max(abs(a), abs(b)), duration) for duration, a, b in (*write.before, *write.after)]
    terms = 0.0
    for level, duration in [*phases, (write.level, longest)]:
        shape = ellipse(solver.forward, level)
        terms += 1.2 * (shape.real + shape.imaginary) * duration
    products = terms * solver.forward.still.size
    if products > MOST_PRODUCTS:
        raise ValueError(
            f"the pulse is too long for the full sphere: {longest:.3g} s of precession take {products:.2g} products, "
            f"more than {MOST_PRODUCTS:g}. Ask for a shorter pulse or relax_time."
        )
    return solver


# ---- what makes no sense --------------------------------------------------------------------------------------------


def require_depth(values: Array, error: Array, tail: str) -> None:
    """Raise ValueError if a probability is known to less than `RELATIVE`."""
    lost = ~(error <= RELATIVE * values)
    if lost.any() and error.max() > 1e4 * ROUNDING and (values > error.max()).all():
        raise ValueError(
            f"this write cannot be resolved: the largest basis knows the probability to have {tail} to "
            f"{(error / values).max():.1e} only, while {RELATIVE:g} is promised. Ask for a less extreme write."
        )
    if lost.any():
        worst = int(np.argmax(np.where(lost, error / np.maximum(values, 1e-300), 0.0)))
        # a tail that is surely too deep was not refined to the end: what it could have reached is the floor
        floor = ROUNDING / RELATIVE
        if values[worst] + error[worst] > floor:
            floor = error[worst] / RELATIVE
        raise ValueError(
            f"the probability to have {tail} is too small for the full-sphere solver: about "
            f"{max(values[worst], 0):.1e} +- {error[worst]:.1e}, while {RELATIVE:g} of it is promised: "
            f"nothing below {floor:.1e} is resolved. "
            "For deeper tails use rare_write_errors (multilevel splitting)."
        )


def require_sense(write: Write) -> None:
    """Raise ValueError, with the physics, if the junction has no two states or the drive is beyond any macrospin."""
    t = write.torque
    if t.in_plane_anisotropy_field >= t.anisotropy_field:
        raise ValueError(
            f"in_plane_anisotropy_field of {t.in_plane_anisotropy_field:g} T exceeds the perpendicular one of "
            f"{t.anisotropy_field:g} T: the layer lies in the plane, so m_z is no bit."
        )
    for side, name in ((1.0, "P"), (-1.0, "AP")):
        if settled(t, side)[2] * side < 0.02:
            raise ValueError(
                f"stray_field {t.field} T is too strong for an anisotropy field of {t.anisotropy_field:g} T: {name} is "
                "not stable at zero current, so there is no bit to write."
            )
    if 1 + t.damping * t.field_like_ratio <= 0:
        raise ValueError(
            f"field_like_ratio of {t.field_like_ratio:g} turns the torque around: 1 + alpha beta must be > 0."
        )
    largest = t.damping * t.anisotropy_field * STRONGEST / abs(write.drive.constant or 1.0)
    if write.drive.constant and write.peak > largest:
        raise ValueError(
            f"current must be <= {STRONGEST:g} critical currents ({largest:.3g} A here), got {write.peak:g} A: no "
            "junction survives it and no macrospin describes it."
        )


def settled(torque: Torque, side: float) -> Array:
    """Where m comes to rest from near the pole of one side, without current and noise: steepest descent; (3,)."""
    m = np.array([0.01, 0.007, side])
    B_k2, B_k = torque.in_plane_anisotropy_field, torque.anisotropy_field
    step = 0.3 / (B_k + abs(B_k2) + float(np.linalg.norm(torque.field)))
    for _ in range(1000):
        before = m
        m = m + step * (np.array([B_k2 * m[0], 0.0, B_k * m[2]]) + torque.field)
        m /= np.linalg.norm(m)
        if np.abs(m - before).max() < 1e-9:
            break
    return m
