"""Mean Joule energy of a write, from the Fokker-Planck density, which tracks the magnetisation.

Device only: no transistor, driver or line.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from mtjsim.calls import shows_its_call
from mtjsim.checks import Array
from mtjsim.device import MTJ, require_junction
from mtjsim.fokker_planck.axial import LARGEST_BASIS
from mtjsim.fokker_planck.basis import FULL_SPHERE, RELATIVE, basis_size
from mtjsim.fokker_planck.reduced import AxialWrite, is_axisymmetric, reduced_write, require_unheated, unresolved
from mtjsim.fokker_planck.spectral import RAMP_STEPS_ENERGY, SpectralSolver, one_blas_thread
from mtjsim.pulse import Pulse
from mtjsim.question import OneWrite, Question
from mtjsim.transport import conductance_terms, junction_resistance


@shows_its_call
def dissipated_energy(
    device: MTJ,
    *,
    current: ArrayLike | None = None,
    pulse_width: ArrayLike | None = None,
    direction: str | ArrayLike = "p_to_ap",
    temperature: ArrayLike = 300.0,
    rise_time: ArrayLike = 0.0,
    voltage: ArrayLike | None = None,
    pulse: Pulse | None = None,
) -> float | Array:
    """Mean Joule energy of a write, the resistance following the magnetisation.

    E = int <V I> dt, the mean over the Fokker-Planck density, of writes that fail as well as of those that succeed:
    I^2 <R(m_z, V)> under an imposed current, V^2 <G(m_z, V)> under a voltage, I^2 R_channel in a three-terminal device.
    Relative accuracy 1e-6, with ramps 1e-4; 1e-4 if the device is not axisymmetric. Pulses of any length: beyond 1e5
    characteristic times an axisymmetric write is continued by its escape rate (escape.py).

    Parameters
    ----------
    device, current, pulse_width, direction, temperature, rise_time, voltage, pulse
        As in `write_error_rate`; arrays broadcast.

    Returns
    -------
    float or array
        Of the broadcast shape of all arguments [J].

    Raises
    ------
    ValueError
        As in `write_error_rate`.

    Examples
    --------
    >>> device = MTJ.from_effective(thermal_stability=60, critical_current=30e-6, characteristic_time=2e-9)
    >>> print(f"{dissipated_energy(device, current=75e-6, pulse_width=10e-9) * 1e15:.0f} fJ")
    466 fJ
    """
    question = Question.checked(
        current=current,
        voltage=voltage,
        pulse_width=pulse_width,
        pulse=pulse,
        direction=direction,
        temperature=temperature,
        rise_time=rise_time,
    )
    require_junction(device)
    out = np.empty(question.pulse_width.size)
    if device.channel_resistance is None:
        require_unheated(device)
    axial = is_axisymmetric(device)
    for one, members, plateaus in question.writes():
        if one.level == 0.0:
            out[members] = 0.0
        elif device.channel_resistance is not None:
            out[members] = _channel_energy(one, plateaus, device.channel_resistance)
        elif axial:
            out[members] = _axial_energy(device, one, plateaus)
        else:
            out[members] = _oblique_energy(device, one, plateaus)
    return float(out[0]) if question.pulse_width.ndim == 0 else out.reshape(question.pulse_width.shape)


def _channel_energy(one: OneWrite, plateaus: Array, resistance: float) -> Array:
    """I^2 R t, each linear piece from a to b with the mean square (a^2 + ab + b^2)/3."""
    square_time = one.level**2 * (plateaus + 2 / 3 * one.rise_time)
    if one.pulse is not None:
        whole = sum((t1 - t0) * (a * a + a * b + b * b) / 3 for t0, t1, a, b in one.pulse.segments)
        square_time = np.full(plateaus.shape, whole)
    return square_time * (resistance if one.imposed == "current" else 1 / resistance)


def _axial_energy(device: MTJ, one: OneWrite, plateaus: Array) -> Array:
    write, tau = reduced_write(device, **vars(one))
    sign = 1.0 if one.direction == "p_to_ap" else -1.0

    def ohms_or_siemens(y: Array, level: float) -> Array:
        if one.imposed == "current":
            return junction_resistance(device, m_z=sign * y, current=abs(level) * one.level)
        constant, slope = conductance_terms(device, level * one.level)
        return constant + slope * sign * y

    return one.level**2 * axial_dissipation(write, tau, plateaus, [ohms_or_siemens])[0]


def axial_dissipation(
    write: AxialWrite, tau: float, plateaus: Array, loads: Sequence[Callable[[Array, float], Array]]
) -> list[Array]:
    """Mean over the density of an axial write of int a^2 load(y, a) dt, for each load: power over level squared.

    Parameters
    ----------
    write : AxialWrite
        In reduced units, y = s m_z.
    tau : float
        tau_D [s].
    plateaus : (k,) array
        Pulse widths less a ramp [s].
    loads : sequence of functions of (y, level)
        Such as R(y) of an imposed current, or the resistance of a circuit around the junction; a is the level over
        the plateau's.

    Returns
    -------
    list of (k,) arrays
        One for each load, in its unit times s.

    Raises
    ------
    ValueError
        If the write is too extreme to be resolved.
    """
    longest = float(plateaus.max()) / tau
    _require_resolved(write)
    with one_blas_thread():
        solver = SpectralSolver(write, FULL_SPHERE, ramp_steps=RAMP_STEPS_ENERGY)
        return [tau * joules for joules in solver.dissipation(longest or 1e-9, loads)(plateaus / tau)]


def _require_resolved(write: AxialWrite) -> None:
    size = basis_size(write, FULL_SPHERE, RELATIVE)
    if size > LARGEST_BASIS:
        raise unresolved(write, f"its energy needs {size} polynomials, more than {LARGEST_BASIS}")


def _oblique_energy(device: MTJ, one: OneWrite, plateaus: Array) -> Array:
    from mtjsim.fokker_planck import oblique  # here: numba is slow to import

    return oblique.mean_energy(device, oblique.oblique_write(device, **vars(one)), plateaus, one.imposed)
