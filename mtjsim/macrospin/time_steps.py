"""Time steps of a write: the largest step allowed, and the coefficients of each step for the macrospin kernels."""

import math
from dataclasses import dataclass

import numpy as np

from mtjsim.checks import ArgumentError, Array, Direction, checked_number
from mtjsim.device import MTJ
from mtjsim.pulse import Pulse
from mtjsim.torques import Torque, torque_of
from mtjsim.transport import conductance_terms, is_heated, vcma_slope

BYTES_MEAN, BYTES_VARIANCE = 510.0, (256.0**2 - 1) / 3  # of the sum of four random bytes, the thermal increment
FINEST_ANGLE = 0.1  # rotation in one step [rad] that `time_step=None` chooses
COARSEST_ANGLE = 0.5  # beyond, a step is refused
MOST_STEPS = 20_000_000


@dataclass(frozen=True)
class StepTable:
    """A write cut into steps, with the coefficients of each.

    Attributes
    ----------
    rows : (n, 5) or (n, 7) array
        rate dt/2 [1/T] and noise; then `lowered` (B_k - B_k(V)) [T], a_0 and a_1 [T]. Where a circuit couples: signed
        level [A or V], dt [s], and T -> T keeps + power warms + ambient.
    constants : (11,) array
        Static field, B_k, B_k2 [T], lambda, p, alpha, beta.
    circuit : (7,) array or None
        Coupling of bias, current and temperature to the trajectory; None without any.
    laws : (3,) array or None
        T_c [K], n of B_k ~ Ms^(n-1), and the temperature [K] beyond which a step would turn a junction too far.
    edges : (n + 1,) array
        Times [s].
    time_step : float
        Largest step [s].
    """

    rows: Array
    constants: Array
    circuit: Array | None
    laws: Array | None
    edges: Array
    time_step: float

    def cut(self, first: int, last: int) -> "StepTable":
        """Return the steps first, ..., last - 1 as a table of their own."""
        edges = self.edges[first : last + 1]
        return StepTable(self.rows[first:last], self.constants, self.circuit, self.laws, edges, self.time_step)


def choose_time_step(
    torque: Torque, device: MTJ, pulse: Pulse, temperature: float, time_step: float | None
) -> tuple[float, float]:
    """Time step [s] for a write, and the fastest rotation rate [rad/s] that decides it.

    Without a `time_step` the magnetisation turns by at most `FINEST_ANGLE` in a step.

    Raises
    ------
    ValueError
        If the given step is not a number > 0 or lets it turn by more than `COARSEST_ANGLE`, or the write takes more
        than `MOST_STEPS` steps.
    """
    fastest = _fastest(torque, device, pulse, temperature)
    finest = FINEST_ANGLE / fastest
    chosen = checked_number("time_step", finest if time_step is None else time_step, "s", zero_allowed=False)
    if chosen * fastest > COARSEST_ANGLE:
        limit = f"must be <= {COARSEST_ANGLE / fastest:.3g} s, got {chosen:g}"
        why = f"the magnetisation precesses at up to {fastest / (2 * math.pi) / 1e9:.3g} GHz"
        raise ArgumentError("time_step", f"{limit}: {why}. Leave it out for {finest:.2g} s.")
    if pulse.duration / chosen > MOST_STEPS:
        found = f"{pulse.duration / chosen:.3g} steps of {chosen:.2g} s, more than {MOST_STEPS:g}"
        remedy = "For rare or slow events use write_error_rate, read_disturb_rate or retention_failure_rate."
        raise ValueError(f"the write takes {found}: trajectories resolve the precession. {remedy}")
    return chosen, fastest


def _fastest(torque: Torque, device: MTJ, pulse: Pulse, temperature: float) -> float:
    """Upper bound of the rotation rate [rad/s] in a write."""
    current, lowered = pulse.peak, 0.0
    if pulse.drive == "voltage":
        lowered = abs(vcma_slope(device, temperature) * pulse.peak)
        g0, g1 = conductance_terms(device, pulse.peak)
        current *= (g0 + g1) if device.channel_resistance is None else 1 / device.channel_resistance
    elif device.vcma_coefficient != 0 and device.channel_resistance is None:
        lowered = abs(vcma_slope(device, temperature) * pulse.peak) * device.resistance_ap
    return torque.fastest(current, lowered)


def _hottest(device: MTJ, pulse: Pulse, temperature: float, time_step: float) -> float:
    """Temperature [K] at which a step would turn a junction too far: torque per moment diverges at T_c."""
    if device.curie_temperature is None:
        return math.inf
    low, high = temperature, device.curie_temperature
    for _ in range(40):
        T = (low + high) / 2
        fine = _fastest(torque_of(device, T), device, pulse, T) * time_step <= COARSEST_ANGLE
        low, high = (T, high) if fine else (low, T)
    return low


def step_table(
    device: MTJ,
    pulse: Pulse,
    *,
    direction: Direction,
    temperature: float,
    time_step: float | None = None,
    energy: bool = False,
) -> StepTable:
    """Cut a pulse into steps that end at its breakpoints; raises as `choose_time_step`.

    Parameters
    ----------
    device, pulse, direction, temperature, time_step
        Of the write.
    energy : bool
        Whether the joules of each trajectory are wanted.
    """
    torque = torque_of(device, temperature)
    largest, _ = choose_time_step(torque, device, pulse, temperature, time_step)
    dts, levels, edges = [], [], [np.zeros(1)]
    for t0, t1, a, b in pulse.segments:
        n = max(1, math.ceil((t1 - t0) / largest * (1 - 1e-12)))
        part = (np.arange(n) + 0.5) / n
        dts.append(np.full(n, (t1 - t0) / n))
        levels.append(a + (b - a) * part)
        edges.append(t0 + (t1 - t0) * np.arange(1, n + 1) / n)
    dt, level = np.concatenate(dts), pulse.sign(direction) * np.concatenate(levels)
    rows = np.zeros((dt.size, 5))
    rows[:, 0] = torque.rate * dt / 2
    circuit = laws = None
    if energy or is_coupled(device, pulse):  # the laws of temperature are then the kernel's
        torque = torque_of(device, device.reference_temperature)
        circuit = _circuit(device, pulse, torque)
        rows = np.column_stack([rows[:, :2], level, dt, *_heating(device, dt, temperature)])
        if device.curie_temperature is not None:
            hottest = _hottest(device, pulse, temperature, largest)
            laws = np.array([device.curie_temperature, device.anisotropy_exponent, hottest])
    else:
        rows[:, 2:] = _drive_terms(device, pulse, temperature, torque, level)
    spread = 2 * torque.diffusion * dt  # of each rotation; as a Cayley rotation it diffuses 3/4 of itself too little
    rows[:, 1] = np.sqrt(spread / BYTES_VARIANCE) / 2
    if circuit is None:  # a coupled kernel has the temperature and corrects for it itself
        rows[:, 1] *= 1 + 0.375 * spread
    fields = (*torque.field, torque.anisotropy_field, torque.in_plane_anisotropy_field)
    constants = np.array([*fields, torque.asymmetry, *torque.polarizer, torque.damping, torque.field_like_ratio])
    return StepTable(rows, constants, circuit, laws, np.concatenate(edges), float(dt.max()))


def _drive_terms(device: MTJ, pulse: Pulse, temperature: float, torque: Torque, level: Array) -> Array:
    """Columns `lowered`, a_0, a_1 [T] of each step, from signed levels; (n, 3)."""
    out = np.zeros((level.size, 3))
    if pulse.drive == "current":
        out[:, 1] = torque.per_ampere * level
    elif device.channel_resistance is not None:
        out[:, 1] = torque.per_ampere * level / device.channel_resistance
    else:
        values, where = np.unique(level, return_inverse=True)
        terms = np.array([conductance_terms(device, V) for V in values])
        out[:, 0] = vcma_slope(device, temperature) * level
        out[:, 1:] = torque.per_ampere * level[:, None] * terms[where]
    return out


def is_coupled(device: MTJ, pulse: Pulse) -> bool:
    """Whether bias or temperature depend on the trajectory in a way that is not linear in m_z."""
    by_bias = pulse.drive == "current" and device.vcma_coefficient != 0 and device.channel_resistance is None
    return by_bias or is_heated(device)


def _circuit(device: MTJ, pulse: Pulse, at_reference: Torque) -> Array:
    """G_P, TMR_0, V_h, VCMA slope, a_J / I, whether a voltage is imposed, T_ref; a channel is a bare resistor."""
    channel = device.channel_resistance
    return np.array(
        [
            1 / (channel or device.resistance_p),
            0.0 if channel else device.tunnel_magnetoresistance,
            device.tmr_half_voltage or 1e30,
            0.0 if channel else vcma_slope(device, device.reference_temperature),
            at_reference.per_ampere,
            float(pulse.drive == "voltage"),
            device.reference_temperature,
        ]
    )


def _heating(device: MTJ, dt: Array, ambient: float) -> tuple[Array, Array, Array]:
    """C dT/dt = P - (T - T_0)/R over a step at constant P: T -> T keeps + P warms + `ambient` (1 - keeps)."""
    R, C = device.thermal_resistance, device.thermal_capacity
    if R is None and C is not None:  # no heat is lost
        return np.ones_like(dt), dt / C, np.zeros_like(dt)
    keeps = np.zeros_like(dt) if R is None or C is None else np.exp(-dt / (R * C))
    return keeps, (R or 0.0) * (1 - keeps), ambient * (1 - keeps)
