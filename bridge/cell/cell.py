"""A memory cell: a junction behind its access transistor and driver; its currents, energies and area.

In series from supply to ground: the driver (with its line), then, by the direction of the current, junction and
transistor or transistor and junction. Where the junction hangs at the *source* of the n-channel transistor its voltage
is taken from the gate drive (source degeneration), and that direction gets the smaller current.

connection     "reference_at_drain", the usual one: the reference layer is on the transistor, the free layer on the bit
               line. AP->P (a 0) then sinks its current into the drain, and P->AP (a 1) is degenerated. "free_at_drain",
               the reversed one: the 0 is. (Recalled: C. J. Lin et al., IEDM 2009, for the harder P->AP.)
               Of a three-terminal device: the end of the channel that is on the transistor; the channel hangs at its
               source for a 1, or, reversed, for a 0.
one junction   1T-1MTJ. Rates and joules are those of the junction in its circuit.
differential   2T-2MTJ: two such cells, one written each way at once; twice the area, and the energy of a 0 and a 1 for
               either. A pair whose junctions agree, since one write failed, reads as either bit with equal chance, so
               that the error rate of both bits is e_0 e_1 + (e_0 (1 - e_1) + e_1 (1 - e_0))/2 = (e_0 + e_1)/2.
three terminals  a device with `channel_resistance`: write path through the channel, read path through a second
               transistor and the junction.

Area: 3 (W/F + 1) F^2 a transistor, as NVSim takes it (X. Dong et al., IEEE Trans. CAD 31, 994, 2012; the formula is
from memory: assumed); a three-terminal cell is the sum of its two transistors (assumed). The junction is above them.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import KW_ONLY, asdict, dataclass, fields, replace
from typing import Any, Literal, Self

import numpy as np

from bridge.cell.cell_write import require_deliverable, solved_writes
from bridge.cell.circuit import Circuit
from bridge.cell.transistor import Transistor
from bridge.write import M_Z_OF_BIT, PARTS, OperatingPoint, WriteSetting
from mtjsim.checks import ArgumentError, Suggesting, checked_choice, checked_fields, checked_number
from mtjsim.device import MTJ, require_junction
from mtjsim.plausibility import doubt

Connection = Literal["reference_at_drain", "free_at_drain"]
CONNECTIONS: tuple[Connection, ...] = ("reference_at_drain", "free_at_drain")
DRIVER_RESISTANCE = 300.0  # of driver and line [ohm]; assumed


@dataclass(frozen=True)
class Cell(Suggesting):
    """One bit of an array: a junction (or a differential pair), its access transistor, its driver.

    Parameters
    ----------
    device : MTJ
        The junction; with `channel_resistance` the cell has three terminals.
    transistor : Transistor
        Access transistor of the write path, one for each junction.
    supply_voltage : float
        Of the driver [V]: the largest voltage of a setting of voltages, and the source of a regulated current.
    word_line_voltage : float, optional
        On the gate during a write [V]; may be boosted. Default: the supply.
    driver_resistance : float
        Of driver and line in series [ohm]. Assumed: 300.
    connection : {"reference_at_drain", "free_at_drain"}
        See above.
    differential : bool
        Two junctions and two transistors, written one each way.
    read_transistor : Transistor, optional
        Of the read path of a three-terminal cell; default: the narrowest, W = F. A two-terminal cell reads through its
        access transistor.
    breakdown_voltage : float, optional
        Of the junction [V]; a write that exceeds it is refused. A write through a channel does not stress the junction.

    Raises
    ------
    ValueError
        If a number is out of its range, or the word line does not open the transistor.

    Examples
    --------
    >>> from mtjsim import load_preset
    >>> cell = Cell(load_preset("arm_2021"), transistor=Transistor(width=270e-9), supply_voltage=1.2)
    >>> print(*(f"{cell.current(bit, voltage=1.2) * 1e6:.0f} uA" for bit in (0, 1)), f"{cell.area_f2:.0f} F^2")
    54 uA 34 uA 21 F^2
    """

    device: MTJ
    _: KW_ONLY
    transistor: Transistor
    supply_voltage: float
    word_line_voltage: float = None  # type: ignore[assignment]
    driver_resistance: float = DRIVER_RESISTANCE
    connection: Connection = "reference_at_drain"
    differential: bool = False
    read_transistor: Transistor | None = None
    breakdown_voltage: float | None = None

    def __post_init__(self) -> None:
        require_junction(self.device)
        checked_choice("connection", self.connection, CONNECTIONS)
        if self.word_line_voltage is None:
            object.__setattr__(self, "word_line_voltage", self.supply_voltage)
        checked_fields(self, supply_voltage="V", word_line_voltage="V")
        checked_fields(self, zero_allowed=True, driver_resistance="ohm")
        for name in ("supply_voltage", "word_line_voltage"):
            doubt("voltage", getattr(self, name), name=name)
        if self.breakdown_voltage is not None:
            checked_fields(self, breakdown_voltage="V")
        if (V := self.word_line_voltage) <= (V_T := self.transistor.threshold_voltage):
            rule = f"must be > threshold_voltage of the transistor ({V_T:g} V), got {V:g}"
            raise ArgumentError("word_line_voltage", f"{rule}: it does not conduct. Boost the word line.")
        if self.read_transistor is not None and self.device.channel_resistance is None:
            raise ArgumentError("read_transistor", "is for three terminals (a device with channel_resistance) only.")

    def replace(self, **changes: Any) -> Self:
        """Return the cell with some fields changed, validated as a new one."""
        return replace(self, **changes)

    def with_width(self, width: float) -> Self:
        """Return the cell with another channel width of its access transistor [m]."""
        return replace(self, transistor=self.transistor.with_width(width))

    # ---- figures ------------------------------------------------------------------------------------------------

    @property
    def layout(self) -> str:
        """Transistors and junctions, such as "1T-1MTJ"; a channel makes it "SOT"."""
        three, n = self.device.channel_resistance is not None, 2 if self.differential else 1
        return f"{n * (2 if three else 1)}T-{n}MTJ" + (" SOT" if three else "")

    @property
    def area_f2(self) -> float:
        """Area of the cell in F^2: 3 (W/F + 1) a transistor."""
        transistors = [self.transistor]
        if self.device.channel_resistance is not None:
            transistors.append(self.read_transistor or self.transistor.with_width(self.transistor.feature_size))
        area = sum(3 * (t.width / t.feature_size + 1) for t in transistors)
        return area * (2 if self.differential else 1)

    @property
    def area(self) -> float:
        """Area of the cell [m^2]."""
        return self.area_f2 * self.transistor.feature_size**2

    @property
    def identity(self) -> str:
        """SHA-256 over the junction and its circuit."""
        parts = {field.name: getattr(self, field.name) for field in fields(self)} | {"device": self.device.identity}
        parts |= {name: asdict(part) for name, part in parts.items() if isinstance(part, Transistor)}
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def circuit(self, bit: int, *, temperature: float = 300.0) -> Circuit:
        """Return the write path of a `bit`, its transistor at a temperature [K] (`Transistor.at`)."""
        degenerated = bit == (1 if self.connection == "reference_at_drain" else 0)
        transistor = self.transistor.at(temperature)
        return Circuit(self.device, transistor, self.word_line_voltage, self.driver_resistance, degenerated)

    def current(
        self, bit: int, *, voltage: float | None = None, m_z: float = M_Z_OF_BIT[1], temperature: float = 300.0
    ) -> float:
        """Write current [A] at a supply [V], the layer at `m_z`; by default the most that reaches the AP state.

        AP has the highest resistance and every write passes through it, so this limits a setting of currents.
        """
        supply = self.supply_voltage if voltage is None else checked_number("voltage", voltage, "V", zero_allowed=True)
        return float(self.circuit(bit, temperature=temperature).driven_by_voltage(m_z, supply)[0])

    def read_circuit(self, *, temperature: float = 300.0) -> Circuit:
        """Return the read path at a temperature [K]: the junction, never a channel, at the drain of its transistor."""
        transistor = self.transistor
        if self.device.channel_resistance is not None:
            transistor = self.read_transistor or transistor.with_width(transistor.feature_size)
        junction = self.device.replace(channel_resistance=None)
        at = transistor.at(temperature)
        return Circuit(junction, at, self.word_line_voltage, self.driver_resistance, degenerated=False)

    def read_current(self, bit: int, *, voltage: float, temperature: float = 300.0) -> float:
        """Return the current [A] of a cell that holds `bit`, read with a `voltage` [V] on its bit line.

        The transistor is the read path's, the junction at its drain and never in a channel.
        """
        V = checked_number("voltage", voltage, "V", zero_allowed=True)
        return float(self.read_circuit(temperature=temperature).driven_by_voltage(M_Z_OF_BIT[bit], V)[0])

    def operating_point(self, setting: WriteSetting, *, temperature: float = 300.0) -> OperatingPoint:
        """Solve the writes of a setting in this cell.

        Parameters
        ----------
        setting : WriteSetting
            Voltages: of the supply of the driver, for each bit. Currents: regulated by the driver, which takes from
            the supply of the cell whatever junction and transistor leave over.
        temperature : float
            Of junction and transistor [K].

        Returns
        -------
        OperatingPoint
            `energies` of junction, transistor and driver apart; `energy_0` and `energy_1` are the junction's.

        Raises
        ------
        ValueError
            If the setting needs more than the supply, more current than reaches the junction, or more than its
            breakdown voltage; if the transistor has no law for the temperature (`Transistor.at`); if a voltage is to
            drive a two-terminal junction that is not axisymmetric; and as in `mtjsim.write_error_rate`. Names the
            remedy.
        """
        zero, one = (self.circuit(bit, temperature=temperature) for bit in (0, 1))
        circuits, supply = (zero, one), self.supply_voltage
        require_deliverable(circuits, supply, setting, breakdown_voltage=self.breakdown_voltage)
        rates, joules = solved_writes(circuits, supply, setting, temperature=temperature)
        if self.differential:  # one junction of the pair is written each way
            rates = np.full(2, (rates[0] + rates[1]) / 2)
            joules = np.stack([joules.sum(axis=0)] * 2)
        return OperatingPoint(
            error_rate_0=float(rates[0]),
            error_rate_1=float(rates[1]),
            energy_0=float(joules[0, 0, 0]),
            energy_1=float(joules[1, 0, 0]),
            latency=setting.latency,
            setting=setting,
            device_identity=self.identity,
            temperature=float(temperature),
            junction_identity=self.device.identity,
            layout=self.layout,
            energies={part: joules[:, :, k] for k, part in enumerate(PARTS)},
        )


def narrowest_transistor(cell: Cell, setting: WriteSetting, *, temperature: float = 300.0) -> Transistor:
    """Return the narrowest access transistor with which a cell carries the currents of a setting.

    Parameters
    ----------
    cell : Cell
        Its own width does not matter.
    setting : WriteSetting
        Of currents. (A lower current of a setting of voltages is not a failure but another error rate: see
        `find_setting(cell, minimize="area")`.)
    temperature : float
        At which the transistor carries them [K].

    Returns
    -------
    Transistor
        At least F wide; carries both currents into the AP state, through which every write passes.

    Raises
    ------
    ValueError
        If the setting is one of voltages, or no width is enough: names the supply or the word line as the limit.

    Examples
    --------
    >>> from mtjsim import load_preset
    >>> cell = Cell(load_preset("arm_2021"), transistor=Transistor(width=270e-9), supply_voltage=1.2)
    >>> setting = WriteSetting(current_0=35e-6, current_1=35e-6, pulse_width=20e-9)
    >>> print(f"{narrowest_transistor(cell, setting).width * 1e9:.0f} nm")
    365 nm
    """
    if setting.drive == "voltage":
        raise ArgumentError("setting", "must be one of currents; for voltages: find_setting(cell, minimize='area').")
    F, supply, widths = cell.transistor.feature_size, cell.supply_voltage, []
    for bit, I in enumerate(setting.amplitudes):
        circuit = cell.circuit(bit, temperature=temperature)
        widths.append(circuit.width_for(I, supply) if I else F)
        if math.isinf(widths[-1]):
            raise ArgumentError(f"current_{bit}", circuit.why_not(I, supply))
    return cell.transistor.with_width(max(F, *(W * (1 + 1e-12) for W in widths)))


def within_area(cell: Cell, max_area: float) -> Cell:
    """Return the cell, its access transistor narrowed if it has to be, so that its area is at most `max_area` [m^2].

    Raises
    ------
    ValueError
        If even the narrowest transistor, W = F, is too large.
    """
    limit = checked_number("max_area", max_area, "m^2", zero_allowed=False)
    if cell.area <= limit:
        return cell
    F = cell.transistor.feature_size
    smallest = cell.with_width(F).area
    if smallest > limit * (1 + 1e-12):
        rule = f"must be >= {smallest:.3g} m^2, the cell with the narrowest transistor (W = F = {F:g} m)"
        raise ArgumentError("max_area", f"{rule}, got {limit:g}. Take a smaller node.")
    width = F + (cell.transistor.width - F) * (limit - smallest) / (cell.area - smallest)  # the area is linear in W
    return cell.with_width(max(width, F))
