"""Error rates and joules of writes through a cell's circuit, whose current changes while the layer turns.

A supply of voltages drives the series circuit of `circuit.py`; the Fokker-Planck solver gets its load line, so the
current changes with m_z as the layer turns, and the answer is that of the solver (1e-6, with ramps 1e-4). How far
approximations without a load line would be off is measured in the tests (a supply of 1.2 V, W = 4 F, TMR 100 % and
257 %): the current of the starting state held constant gives an AP->P error rate 1.7 to 4.3 times too high and a P->AP
one 0.6 to 0.75 of the right one; the starting voltage of the junction held constant, one 4 to 8 % too low and one 13 to
24 % too high.

A regulated current does not depend on the circuit; the circuit decides whether the driver can supply it, and what it
costs: the supply times the current, of which the driver takes what junction and transistor leave over.
"""

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from bridge.cell.circuit import Circuit, LoadLine
from bridge.write import DIRECTION_OF_BIT, M_Z_OF_BIT, PARTS, WriteSetting, pulse_energy
from mtjsim.checks import ArgumentError, Array
from mtjsim.device import MTJ
from mtjsim.energy import axial_dissipation, dissipated_energy
from mtjsim.fokker_planck.axial import tail_probability
from mtjsim.fokker_planck.reduced import AxialWrite, is_axisymmetric, reduced_write, require_unheated
from mtjsim.fokker_planck.spectral import one_blas_thread
from mtjsim.switching import write_error_rate
from mtjsim.transport import vcma_slope


def solved_writes(
    circuits: tuple[Circuit, Circuit], supply: float, setting: WriteSetting, *, temperature: float
) -> tuple[Array, Array]:
    """Solve the writes of both bits of one junction.

    Parameters
    ----------
    circuits : (Circuit, Circuit)
        Write path of a 0 and of a 1.
    supply : float
        Of the driver under a regulated current [V]; a setting of voltages has its own.
    setting : WriteSetting
    temperature : float
        Of the junction [K].

    Returns
    -------
    rates : (2,) array
        Error rate by bit.
    joules : (2, 2, 3) array
        [bit, kept, part] as in `OperatingPoint.energies`, parts in the order of `PARTS` [J].
    """
    rates = [circuit_error_rate(circuits[bit], setting, bit, temperature=temperature) for bit in (0, 1)]
    joules = [_energies(circuits[bit], supply, setting, bit, temperature) for bit in (0, 1)]
    return np.array(rates), np.array(joules)


def circuit_error_rate(circuit: Circuit, setting: WriteSetting, bit: int, *, temperature: float) -> float:
    """Error rate of one junction written to `bit`; raises as `Cell.operating_point`, without limits of the supply."""
    widths = np.array([setting.pulse_width])
    return float(circuit_error_rates(circuit, setting, bit, widths, temperature=temperature)[0])


def circuit_error_rates(
    circuit: Circuit,
    setting: WriteSetting,
    bit: int,
    widths: Array,
    *,
    temperature: float,
    density: float | None = None,
) -> Array:
    """Error rates at many pulse widths [s] in place of that of the setting, by one solve; shape of `widths`.

    `density` is that of the steps of ramps, as in `tail_probability`.
    """
    level = setting.amplitudes[bit]
    if _follows_load_line(circuit, setting) and circuit.largest_current(level) > 0:
        write, tau = axial_write(circuit, setting, bit, temperature)
        with one_blas_thread():
            return tail_probability(write, np.maximum(widths - setting.rise_time, 0.0) / tau, density=density)
    current = level if setting.drive == "current" else circuit.largest_current(level)
    at_current = replace(setting, current_0=current, current_1=current, voltage_0=None, voltage_1=None)
    return junction_error_rates(circuit.device, at_current, bit, widths, temperature=temperature, density=density)


def junction_error_rates(
    device: MTJ,
    setting: WriteSetting,
    bit: int,
    widths: Array,
    *,
    temperature: float,
    density: float | None = None,
) -> Array:
    """Return the same of a bare junction."""
    drive, level, ramps = setting.drive, setting.amplitudes[bit], (setting.rise_time, setting.relax_time)
    if setting.rise_time > 0 and density is not None and is_axisymmetric(device):
        write, tau = reduced_write(device, DIRECTION_OF_BIT[bit], level, temperature, *ramps, drive)
        with one_blas_thread():
            return tail_probability(write, np.maximum(widths - setting.rise_time, 0.0) / tau, density=density)
    pulse: dict[str, Any] = {drive: level, "pulse_width": widths, "direction": DIRECTION_OF_BIT[bit]}
    rates = write_error_rate(device, temperature=temperature, rise_time=ramps[0], relax_time=ramps[1], **pulse)
    return np.asarray(rates)


def _follows_load_line(circuit: Circuit, setting: WriteSetting) -> bool:
    """Whether the current of a write changes with the magnetisation; a channel's and a regulated one do not."""
    if setting.drive == "current" or circuit.device.channel_resistance is not None:
        return False
    if not is_axisymmetric(circuit.device):
        raise ValueError("a cell under voltages needs an axisymmetric junction. Give a setting of currents.")
    return True


def axial_write(circuit: Circuit, setting: WriteSetting, bit: int, temperature: float) -> tuple[AxialWrite, float]:
    """Return the write with the load line of its circuit, in reduced units, and tau_D [s]."""
    ramps = setting.rise_time, setting.relax_time
    return driven_write(circuit, setting.amplitudes[bit], bit, temperature, *ramps)


def driven_write(
    circuit: Circuit, supply: float, bit: int, temperature: float, rise_time: float = 0.0, relax_time: float = 0.0
) -> tuple[AxialWrite, float]:
    """Return the same of a supply [V] that drives towards `bit`: a write, or a read of a cell that holds the other."""
    device = circuit.device
    require_unheated(device)
    of_p = float(circuit.driven_by_voltage(M_Z_OF_BIT[0], supply)[0])
    write, tau = reduced_write(device, DIRECTION_OF_BIT[bit], of_p, temperature, rise_time, relax_time)
    softening = vcma_slope(device, temperature) / device.anisotropy_field_at(temperature)
    line = LoadLine(
        circuit=circuit,
        supply=supply,
        side=-M_Z_OF_BIT[bit],
        softening=softening if bit == 0 else -softening,
        reference=of_p,
    )
    return replace(write, conduction=line), tau  # type: ignore[arg-type]


# ---- joules ----------------------------------------------------------------------------------------------------------


def _energies(circuit: Circuit, supply: float, setting: WriteSetting, bit: int, temperature: float) -> Array:
    """Joules [kept, part] of a pulse on one junction that turns, and on one that holds the bit already."""
    kept = _resting_energies(circuit, supply, setting, bit)
    return np.array([written_energies(circuit, supply, setting, bit, temperature), kept])


def _resting_energies(circuit: Circuit, supply: float, setting: WriteSetting, bit: int) -> list[float]:
    """Joules by part of a pulse on a junction that rests in the state of the bit."""
    level, rest = setting.amplitudes[bit], np.array(M_Z_OF_BIT[bit])

    def power(k: int, part: float) -> float:
        return float(_powers(circuit, supply, setting, part * level, rest)[k])

    return [pulse_energy(setting, partial(power, k)) if level else 0.0 for k in range(len(PARTS))]


def written_energies(
    circuit: Circuit,
    supply: float,
    setting: WriteSetting,
    bit: int,
    temperature: float,
    parts: tuple[str, ...] = PARTS,
) -> list[float]:
    """Mean joules of a pulse on one junction that turns, for some of the `PARTS`."""
    device, level = circuit.device, setting.amplitudes[bit]
    columns = [PARTS.index(part) for part in parts]
    if level == 0:
        return [0.0] * len(parts)
    if device.channel_resistance is not None:  # the load is the same in every state
        at_rest = _resting_energies(circuit, supply, setting, bit)
        return [at_rest[k] for k in columns]
    if not is_axisymmetric(device):
        oblique = _oblique_energies(circuit, supply, setting, bit, temperature)
        return [oblique[k] for k in columns]
    side = -M_Z_OF_BIT[bit]
    solved: dict[tuple[float, int], tuple[Array, ...]] = {}

    def over_level_squared(k: int, y: Array, part: float) -> Array:
        key = (part, y.size)
        if key not in solved:
            solved[key] = _powers(circuit, supply, setting, part * level, side * y)
        return solved[key][k] / part**2

    if setting.drive == "voltage":  # nothing is dissipated while the layer relaxes
        write, tau = axial_write(circuit, replace(setting, relax_time=0.0), bit, temperature)
    else:
        write, tau = reduced_write(device, DIRECTION_OF_BIT[bit], level, temperature, setting.rise_time, 0.0)
    plateau = np.array([setting.pulse_width - setting.rise_time])
    turned = axial_dissipation(write, tau, plateau, [partial(over_level_squared, k) for k in columns])
    return [float(joules[0]) for joules in turned]


def _powers(circuit: Circuit, supply: float, setting: WriteSetting, level: float, m_z: Array) -> tuple[Array, ...]:
    """Power [W] of junction, transistor and driver at a level of the pulse [A] or [V]; shapes of `m_z`."""
    if setting.drive == "voltage":
        I, load, across = circuit.driven_by_voltage(m_z, level)
        return I * load, I * across, I * I * circuit.driver_resistance
    load, across = circuit.driven_by_current(m_z, level, supply)
    return level * load, level * across, level * (supply - load - across)


def _oblique_energies(
    circuit: Circuit, supply: float, setting: WriteSetting, bit: int, temperature: float
) -> list[float]:
    """Joules by part under a regulated current, with the transistor at the junction's mean resistance.

    For a junction that is not axisymmetric only that mean is solved.
    """
    device, I = circuit.device, setting.amplitudes[bit]
    junction = dissipated_energy(
        device,
        current=I,
        pulse_width=setting.pulse_width,
        direction=DIRECTION_OF_BIT[bit],
        temperature=temperature,
        rise_time=setting.rise_time,
    )
    charge = I * setting.pulse_width
    mean = float(junction) / (I * I * (setting.pulse_width - setting.rise_time / 3))  # its resistance
    G_p, G_ap = 1 / device.resistance_p, 1 / device.resistance_ap
    m_z = 0.0 if G_p == G_ap else float(np.clip((2 / mean - G_p - G_ap) / (G_p - G_ap), -1, 1))
    across = float(circuit.driven_by_current(m_z, I, supply)[1])
    return [float(junction), across * charge, max(supply * charge - float(junction) - across * charge, 0.0)]


# ---- limits of supply and breakdown ----------------------------------------------------------------------------------


def require_deliverable(
    circuits: tuple[Circuit, Circuit], supply: float, setting: WriteSetting, *, breakdown_voltage: float | None
) -> None:
    """Raise ArgumentError, with the remedy, if the circuits cannot carry a setting or its junction would break down."""
    remedy = "Take a weaker and longer pulse, or"
    for bit, level in enumerate(setting.amplitudes):
        circuit, amplitude = circuits[bit], f"{setting.drive}_{bit}"
        if setting.drive == "voltage" and level > supply * (1 + 1e-12):
            rule = f"must be <= supply_voltage of the cell ({supply:g} V), got {level:g}"
            raise ArgumentError(amplitude, f"{rule}. {remedy} raise supply_voltage.")
        if setting.drive == "current" and level > circuit.largest_current(supply) * (1 + 1e-9):
            raise ArgumentError(amplitude, circuit.why_not(level, supply))
        stress = junction_voltage(circuit, setting, bit)
        if breakdown_voltage is not None and stress > breakdown_voltage * (1 + 1e-9):
            problem = f"of {level:g} puts {stress:.3g} V across the AP state, above its breakdown_voltage"
            raise ArgumentError(amplitude, f"{problem}, {breakdown_voltage:g} V. {remedy} a smaller resistance.")


def junction_voltage(circuit: Circuit, setting: WriteSetting, bit: int) -> float:
    """Largest voltage across the junction in the write of a `bit` [V]: in the AP state; 0 if a channel is written."""
    if circuit.device.channel_resistance is not None:
        return 0.0
    level = setting.amplitudes[bit]
    if setting.drive == "current":
        return float(circuit.load_voltage(np.array(M_Z_OF_BIT[1]), level))
    return float(circuit.driven_by_voltage(M_Z_OF_BIT[1], level)[1])
