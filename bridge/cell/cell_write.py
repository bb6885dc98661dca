"""Writes of a cell: error rates and joules of a junction whose current follows from its circuit while it turns.

A supply of voltages drives the series circuit of `circuit.py`; the Fokker-Planck solver gets its load line, so the
current changes with m_z as the layer turns, and the answer is that of the solver (1e-6, with ramps 1e-4). How far
short cuts would be off, which need no load line, is measured in the tests (a supply of 1.2 V, W = 4 F, TMR 100 % and
257 %): the current of the starting state held constant gives an AP->P error rate 1.7 to 4.3 times too high and a P->AP
one 0.6 to 0.75 of the right one; the starting voltage of the junction held constant, one 4 to 8 % too low and one 13 to
24 % too high.

A regulated current imposes itself, whatever the circuit; the circuit only says whether it can be had, and what it
costs: the supply times the current, of which the driver takes what junction and transistor leave over.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from bridge.cell.circuit import LoadLine
from bridge.write import DIRECTION_OF_BIT, M_Z_OF_BIT, PARTS, OperatingPoint, WriteSetting, pulse_energy
from mtjsim.checks import Array
from mtjsim.energy import axial_dissipation, dissipated_energy
from mtjsim.fokker_planck.axial import tail_probability
from mtjsim.fokker_planck.reduced import AxialWrite, is_axisymmetric, reduced_write, require_unheated
from mtjsim.fokker_planck.spectral import one_blas_thread
from mtjsim.switching import write_error_rate
from mtjsim.transport import vcma_slope

if TYPE_CHECKING:
    from bridge.cell.cell import Cell

AP = -1.0  # m_z of the state that takes most voltage


def cell_operating_point(cell: "Cell", setting: WriteSetting, *, temperature: float) -> OperatingPoint:
    """As `Cell.operating_point`."""
    require_deliverable(cell, setting)
    rates = [cell_error_rate(cell, setting, bit, temperature=temperature) for bit in (0, 1)]
    joules = np.array([_energies(cell, setting, bit, temperature) for bit in (0, 1)])  # [bit, kept, part]
    if cell.differential:  # one junction of the pair is written each way
        rates = [(rates[0] + rates[1]) / 2] * 2
        joules = np.stack([joules.sum(axis=0)] * 2)
    return OperatingPoint(
        error_rate_0=rates[0],
        error_rate_1=rates[1],
        energy_0=float(joules[0, 0, 0]),
        energy_1=float(joules[1, 0, 0]),
        latency=setting.latency,
        setting=setting,
        device_identity=cell.identity,
        temperature=float(temperature),
        energies={part: joules[:, :, k] for k, part in enumerate(PARTS)},
    )


def cell_error_rate(cell: "Cell", setting: WriteSetting, bit: int, *, temperature: float) -> float:
    """Error rate of one junction of the cell; raises as `Cell.operating_point`, but asks for no compliance."""
    level, width = setting.amplitudes[bit], setting.pulse_width
    if follows_load_line(cell, setting) and level > 0:
        write, tau = _axial_write(cell, setting, bit, temperature)
        with one_blas_thread():
            return float(tail_probability(write, np.array([width - setting.rise_time]) / tau)[0])
    return float(
        write_error_rate(
            cell.device,
            current=level if setting.drive == "current" else cell.current(bit, voltage=level),
            pulse_width=width,
            direction=DIRECTION_OF_BIT[bit],
            temperature=temperature,
            rise_time=setting.rise_time,
            relax_time=setting.relax_time,
        )
    )


def follows_load_line(cell: "Cell", setting: WriteSetting) -> bool:
    """Whether the current of a write changes with the magnetisation; a channel's and a regulated one do not."""
    if setting.drive == "current" or cell.device.channel_resistance is not None:
        return False
    if not is_axisymmetric(cell.device):
        raise ValueError(
            "a setting of voltages needs an axisymmetric junction in a two-terminal cell: only there is the current "
            "solved that follows the layer through the circuit. Give a setting of currents."
        )
    return True


def _axial_write(cell: "Cell", setting: WriteSetting, bit: int, temperature: float) -> tuple[AxialWrite, float]:
    """Return the write with the load line of its circuit, in reduced units, and tau_D [s]."""
    device, circuit, supply = cell.device, cell.circuit(bit), setting.amplitudes[bit]
    require_unheated(device)
    of_p = float(circuit.driven_by_voltage(1.0, supply)[0])
    write, tau = reduced_write(device, DIRECTION_OF_BIT[bit], of_p, temperature, setting.rise_time, setting.relax_time)
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


def _energies(cell: "Cell", setting: WriteSetting, bit: int, temperature: float) -> Array:
    """Joules [kept, part] of a pulse on one junction that turns, and on one that holds the bit already."""
    level = setting.amplitudes[bit]
    if level == 0:
        return np.zeros((2, len(PARTS)))

    def power(m_z: Array, part: float) -> tuple[Array, ...]:
        return _powers(cell, setting, bit, np.asarray(m_z, dtype=float), part)

    rest = np.array(M_Z_OF_BIT[bit])
    kept = [pulse_energy(setting, lambda part, k=k: float(power(rest, part)[k])) for k in range(len(PARTS))]  # type: ignore[misc]
    if cell.device.channel_resistance is not None:  # the load is the same in every state
        return np.array([kept, kept])
    if not is_axisymmetric(cell.device):
        return np.array([_oblique_energies(cell, setting, bit, temperature), kept])
    side = -M_Z_OF_BIT[bit]
    solved: dict[tuple[float, int], tuple[Array, ...]] = {}

    def load(k: int) -> Callable[[Array, float], Array]:
        def over_level_squared(y: Array, part: float) -> Array:
            key = (part, y.size)
            if key not in solved:
                solved[key] = power(side * y, part)
            return solved[key][k] / part**2

        return over_level_squared

    if setting.drive == "voltage":  # nothing is dissipated while the layer relaxes
        write, tau = _axial_write(cell, replace(setting, relax_time=0.0), bit, temperature)
    else:
        write, tau = reduced_write(cell.device, DIRECTION_OF_BIT[bit], level, temperature, setting.rise_time, 0.0)
    plateau = np.array([setting.pulse_width - setting.rise_time])
    turned = axial_dissipation(write, tau, plateau, [load(k) for k in range(len(PARTS))])
    return np.array([[float(joules[0]) for joules in turned], kept])


def _powers(cell: "Cell", setting: WriteSetting, bit: int, m_z: Array, part: float) -> tuple[Array, ...]:
    """Power [W] of junction, transistor and driver at a part of the plateau's level; shapes of `m_z`."""
    circuit, level = cell.circuit(bit), part * setting.amplitudes[bit]
    if setting.drive == "voltage":
        I, load, across = circuit.driven_by_voltage(m_z, level)
        return I * load, I * across, I * I * circuit.driver_resistance
    load, across = circuit.driven_by_current(m_z, level, cell.supply_voltage)
    return level * load, level * across, level * (cell.supply_voltage - load - across)


def _oblique_energies(cell: "Cell", setting: WriteSetting, bit: int, temperature: float) -> list[float]:
    """Joules by part under a regulated current where only the mean resistance is known: the transistor is at it."""
    I, supply = setting.amplitudes[bit], cell.supply_voltage
    junction = dissipated_energy(
        cell.device,
        current=I,
        pulse_width=setting.pulse_width,
        direction=DIRECTION_OF_BIT[bit],
        temperature=temperature,
        rise_time=setting.rise_time,
    )
    charge = I * setting.pulse_width
    mean = float(junction) / (I * I * (setting.pulse_width - setting.rise_time / 3))  # its resistance
    G_p, G_ap = 1 / cell.device.resistance_p, 1 / cell.device.resistance_ap
    m_z = 0.0 if G_p == G_ap else float(np.clip((2 / mean - G_p - G_ap) / (G_p - G_ap), -1, 1))
    across = float(cell.circuit(bit).driven_by_current(m_z, I, supply)[1])
    return [float(junction), across * charge, max(supply * charge - float(junction) - across * charge, 0.0)]


# ---- what cannot be had ----------------------------------------------------------------------------------------------


def require_deliverable(cell: "Cell", setting: WriteSetting) -> None:
    """Raise ValueError, with the way out, if a cell cannot carry a setting or its junction would not stand it."""
    for bit, level in enumerate(setting.amplitudes):
        if setting.drive == "voltage" and level > cell.supply_voltage * (1 + 1e-12):
            raise ValueError(
                f"voltage_{bit} must be <= supply_voltage of the cell ({cell.supply_voltage:g} V), got {level:g}. "
                "Raise supply_voltage, or take a weaker and longer pulse."
            )
        if setting.drive == "current" and level > cell.current(bit) * (1 + 1e-9):
            raise ValueError(f"current_{bit} {why_not(cell, bit, level)}")
        stress = junction_voltage(cell, setting, bit)
        if cell.breakdown_voltage is not None and stress > cell.breakdown_voltage * (1 + 1e-9):
            raise ValueError(
                f"{setting.drive}_{bit} of {level:g} puts {stress:.3g} V across the junction in the AP state, its "
                f"breakdown_voltage is {cell.breakdown_voltage:g} V. Take a weaker and longer pulse, or a junction of "
                "smaller resistance-area product."
            )


def why_not(cell: "Cell", bit: int, current: float) -> str:
    """Say why a current [A] does not reach the junction of a cell, and the way out."""
    path, start = cell.circuit(bit), f"of {current:g} A cannot be driven: "
    load = float(path.load_voltage(np.array(AP), current))
    line = current * cell.driver_resistance
    if load + line >= cell.supply_voltage:
        return start + (
            f"the AP state takes {load:.3g} V and the driver {line:.3g} V, and the supply has "
            f"{cell.supply_voltage:g} V. Raise supply_voltage, or take a weaker and longer pulse."
        )
    if math.isinf(path.width_for(AP, current, cell.supply_voltage)):
        return start + (
            f"the AP state lifts the source of the transistor to {load:.3g} V, and a word line at "
            f"{cell.word_line_voltage:g} V does not open it at any width. Boost word_line_voltage, or reverse the "
            "connection."
        )
    return start + (
        f"at most {cell.current(bit):.3g} A reach the AP state through a transistor of "
        f"{cell.transistor.width * 1e9:.0f} nm. Take a wider one (narrowest_transistor gives its width), or boost "
        "word_line_voltage or supply_voltage."
    )


def junction_voltage(cell: "Cell", setting: WriteSetting, bit: int) -> float:
    """Largest voltage across the junction in the write of a `bit` [V]: in the AP state; 0 if a channel is written."""
    if cell.device.channel_resistance is not None:
        return 0.0
    level = setting.amplitudes[bit]
    if setting.drive == "current":
        return float(cell.circuit(bit).load_voltage(np.array(AP), level))
    return float(cell.circuit(bit).driven_by_voltage(AP, level)[1])
