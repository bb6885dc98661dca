"""Writes that are not axisymmetric: from a device to a probability good to 1e-4, or a refusal.

A write is solved on the sphere (spherical.py) with more and more degrees, orders and ramp steps until two solves agree
to `RELATIVE`. Their difference is the estimate of the error; the finer one is returned, usually a hundred times better
than the estimate. The absolute error of the density is `ROUNDING` of the whole mass, so that probabilities below
ROUNDING/RELATIVE are refused; for them use multilevel splitting, `rare_write_errors`.
"""

from collections.abc import Callable
from typing import NoReturn

import numpy as np
from tqdm import tqdm

from mtjsim.checks import ArgumentError, Array, Direction
from mtjsim.device import MTJ, NOT_BISTABLE, require_forward_torque
from mtjsim.fokker_planck.chebyshev import ellipse
from mtjsim.fokker_planck.reduced import STRONGEST
from mtjsim.fokker_planck.spectral import one_blas_thread
from mtjsim.fokker_planck.spherical import DriveTerms, Pieces, Resolution, SphericalSolver, Write
from mtjsim.pulse import Drive, Pulse
from mtjsim.torques import Torque, torque_of
from mtjsim.transport import conductance_terms, junction_resistance, vcma_slope

RELATIVE = 1e-4  # of every probability that is returned
ROUNDING = 1e-14  # absolute error of a probability by rounding: three times what was seen down to 1e-9
SCOUT = 1e-6  # share of the mass that the first basis may miss; its error is about a thousandth of that
FINEST = 1e-14  # the same of the largest basis
LARGEST_DEGREE = 300  # L: beyond, a solve takes minutes
MOST_PRODUCTS = 1e12  # multiplications of one solve: about ten minutes
PRODUCTS_PER_SECOND = 2e9  # on one core, about
BAR = "{desc}: {percentage:.0f} %|{bar}| {elapsed}"
LONG = 3.0  # seconds, from which a solve shows its progress


def oblique_write(
    device: MTJ,
    direction: Direction,
    level: float,
    temperature: float,
    rise_time: float,
    relax_time: float,
    imposed: Drive = "current",
    polarity: Direction | None = None,
    pulse: Pulse | None = None,
) -> Write:
    """Return a write on the sphere; ValueError if it is unphysical. Arguments as in `question.OneWrite`."""
    torque, side = torque_of(device, temperature), 1.0 if direction == "p_to_ap" else -1.0
    rest: Pieces = ((relax_time, 0.0, 0.0),) if relax_time > 0 else ()
    before: Pieces = ()
    if pulse is not None:
        before = tuple((t1 - t0, a, b) for t0, t1, a, b in pulse.segments)
    elif rise_time > 0:
        before, rest = ((rise_time, 0.0, level),), ((rise_time, level, 0.0), *rest)
    sign = -1.0 if (polarity or direction) == "p_to_ap" else 1.0
    drive = _drive_terms(device, torque, sign, level, temperature, imposed)
    write = Write(torque, drive, side, before, 0.0 if pulse else level, rest)
    _require_one_level(device, write, level, imposed)
    require_forward_torque(device)
    require_sense(write)
    return write


def _drive_terms(
    device: MTJ, torque: Torque, sign: float, level: float, temperature: float, imposed: Drive
) -> DriveTerms:
    """Return the effect of one ampere or volt of a pulse, linear about the plateau."""
    a_J = sign * torque.per_ampere
    if device.channel_resistance is not None:
        return DriveTerms(a_J if imposed == "current" else a_J / device.channel_resistance)
    slope = sign * vcma_slope(device, temperature)
    if imposed == "voltage":
        constant, linear = conductance_terms(device, level)
        return DriveTerms(a_J * constant, a_J * linear, -slope)
    if slope == 0:
        return DriveTerms(a_J)
    return DriveTerms(a_J, 0.0, lambda m_z: -slope * _ohms(device, m_z, level))


def _ohms(device: MTJ, m_z: Array, current: float) -> Array:
    return junction_resistance(device, m_z=np.clip(m_z, -1.0, 1.0), current=abs(current))


def _require_one_level(device: MTJ, write: Write, level: float, imposed: Drive) -> None:
    """Raise ValueError if the drive is not linear in the level and the pulse has other levels than 0 and one more."""
    by_bias = device.tmr_half_voltage is not None and device.channel_resistance is None
    if not by_bias or (imposed == "current" and device.vcma_coefficient == 0):
        return
    if any(a != b or a not in (0.0, level) for _, a, b in (*write.before, *write.after)):
        problem = "on the full sphere is solved for rectangular pulses only: omit rise_time or use simulate_writes."
        raise ArgumentError("tmr_half_voltage", problem)


def tail_probability(write: Write, plateaus: Array, tail: str) -> Array:
    """Probability to have "stayed" or "switched" for each length of the plateau [s], to `RELATIVE`; shape (k,)."""
    values, error = solve(write, plateaus, tail)
    require_depth(values, error, tail)
    return np.minimum(values, 1.0)


def solve(write: Write, plateaus: Array, tail: str) -> tuple[Array, Array]:
    """Probability of a tail for each length of the plateau [s], and its estimated absolute error; shape (k,) each."""
    lengths, place = np.unique(plateaus, return_inverse=True)

    def result(solver: SphericalSolver) -> Array:
        stayed = solver.stayed(lengths)
        return stayed if tail == "stayed" else 1 - stayed

    values, error = settle(write, result, float(lengths[-1]))
    return values[place], error[place]


def mean_energy(device: MTJ, write: Write, plateaus: Array, imposed: Drive = "current") -> Array:
    """Mean Joule energy in the junction [J] for each length of the plateau [s]: the time integral of <V I>."""
    lengths, place = np.unique(plateaus, return_inverse=True)

    def ohms_or_siemens(m_z: Array, level: float) -> Array:
        if imposed == "current":
            return _ohms(device, m_z, level)
        constant, linear = conductance_terms(device, level)
        return constant + linear * m_z

    if write.peak == 0:
        return 0 * plateaus
    R_P = device.resistance_p
    duration = float(lengths[-1]) + sum(piece[0] for piece in write.before)
    unit = write.peak**2 * (R_P if imposed == "current" else 1 / R_P) * max(duration, 1e-12)
    values, _ = settle(write, lambda solver: solver.dissipation(ohms_or_siemens, lengths) / unit, float(lengths[-1]))
    return unit * values[place]


# ---- convergence ----------------------------------------------------------------------------------------------------


def settle(write: Write, result: Callable[[SphericalSolver], Array], longest: float) -> tuple[Array, Array]:
    """Refine until two results agree to `RELATIVE`, or until refining no longer helps: the result and its error."""
    resolution, finest = write.resolution(SCOUT), write.resolution(FINEST)
    most = int(1.2 * finest.degree)
    with one_blas_thread():
        _require_pair(write, resolution, most)
        before = _solved(write, resolution, longest, result)
        while True:
            # a basis good enough as the coarser of two, unless the one before is already
            aim = write.resolution(min(SCOUT, max(FINEST, 30 * RELATIVE * float(before.min()))))
            exhausted = resolution.degree >= most and resolution.order in (0, most)
            resolution = resolution.finer(aim, most)
            if before.min() < -ROUNDING / RELATIVE and not exhausted:  # no result agrees with that: two more are needed
                _require_pair(write, resolution, most)
            values = _solved(write, resolution, longest, result)
            change = np.abs(values - before)
            error = change + ROUNDING
            hopeless = (values + change < 0.5 * ROUNDING / RELATIVE).any()
            if (error <= RELATIVE * values).all() or hopeless or exhausted:
                return values, error
            before = values


def _require_pair(write: Write, resolution: Resolution, most: int) -> None:
    """Raise ValueError, before anything is solved, if a basis has no finer one that it could agree with."""
    following = resolution.finer(resolution, most).degree
    if following > LARGEST_DEGREE:
        _refuse_degree(write, following)


def _refuse_degree(write: Write, degree: int) -> NoReturn:
    needed = f"need harmonics of degree {degree}, about, more than {LARGEST_DEGREE}"
    remedy = "Use a smaller current or a lower barrier; or simulate_writes, and rare_write_errors for rare failures."
    raise ValueError(f"a thermal stability of {write.stability:.3g} and this drive {needed}. {remedy}")


def _solved(write: Write, resolution: Resolution, longest: float, result: Callable[[SphericalSolver], Array]) -> Array:
    """Solve on one basis; if it takes more than a few seconds, a terminal shows beforehand how long, and a bar."""
    if resolution.degree > LARGEST_DEGREE:
        _refuse_degree(write, resolution.degree)
    solver = SphericalSolver(write, resolution)
    phases = [(max(abs(a), abs(b)), duration) for duration, a, b in (*write.before, *write.after)]
    terms = 0.0
    for level, duration in [*phases, (write.level, longest)]:
        shape = ellipse(solver.forward, level)
        terms += 1.2 * (shape.real + shape.imaginary) * duration
    products = terms * solver.forward.still.size
    if products > MOST_PRODUCTS:
        found = f"{longest:.3g} s of precession take {products:.2g} products, more than {MOST_PRODUCTS:g}"
        raise ArgumentError("pulse_width", f"is too long for the full sphere: {found}. Shorten it or relax_time.")
    seconds = products / PRODUCTS_PER_SECOND
    label = f"full sphere, degree {resolution.degree}, about {seconds:.0f} s at most"
    duration = longest + sum(part for _, part in phases)
    silent = None if seconds > LONG else True
    with tqdm(total=duration * (1 + 1e-6), desc=label, bar_format=BAR, disable=silent, leave=False) as solver.bar:
        return result(solver)


# ---- refusals -------------------------------------------------------------------------------------------------------


def require_depth(values: Array, error: Array, tail: str) -> None:
    """Raise ValueError if a probability is less accurate than `RELATIVE`."""
    lost = ~(error <= RELATIVE * values)
    if lost.any() and error.max() > 1e4 * ROUNDING and (values > error.max()).all():
        found = f"to {(error / values).max():.1e} only, instead of {RELATIVE:g}"
        remedy = "Use a smaller current, a shorter pulse or a lower barrier."
        raise ValueError(f"the largest basis resolves the probability to have {tail} {found}. {remedy}")
    if lost.any():
        worst = int(np.argmax(np.where(lost, error / np.maximum(values, 1e-300), 0.0)))
        # a tail that is certainly too deep was not refined to the end: the floor is what refining could reach
        floor = ROUNDING / RELATIVE
        if values[worst] + error[worst] > floor:
            floor = error[worst] / RELATIVE
        found = f"about {max(values[worst], 0):.1e} +- {error[worst]:.1e}; nothing below {floor:.1e} is resolved"
        problem = f"the probability to have {tail} is too small for the full-sphere solver: {found}."
        raise ValueError(f"{problem} Use rare_write_errors (multilevel splitting).")


def require_sense(write: Write) -> None:
    """Raise ValueError, with the physics, if the junction is not bistable or the drive is too strong."""
    t = write.torque
    if t.in_plane_anisotropy_field >= t.anisotropy_field:
        problem = f"of {t.in_plane_anisotropy_field:g} T exceeds the perpendicular one of {t.anisotropy_field:g} T"
        raise ArgumentError("in_plane_anisotropy_field", f"{problem}: the layer lies in the plane. {NOT_BISTABLE}")
    for side, name in ((1.0, "P"), (-1.0, "AP")):
        if settled(t, side)[2] * side < 0.02:
            problem = f"{t.field} T is too strong for an anisotropy field of {t.anisotropy_field:g} T"
            raise ArgumentError("stray_field", f"{problem}: {name} is not stable at zero current. {NOT_BISTABLE}")
    largest = t.damping * t.anisotropy_field * STRONGEST / (abs(write.drive.constant) + abs(write.drive.linear))
    if write.peak > largest:
        limit = f"{largest:.3g} A or V, {STRONGEST:g} critical currents"
        raise ValueError(f"the level must be <= {limit}, got {write.peak:g}: a junction does not survive it.")


def settled(torque: Torque, side: float) -> Array:
    """Rest position of m from near the pole of one side, without current and noise: steepest descent; (3,)."""
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
