"""Updates of a weight by a junction: from the wanted change to a pulse, and from the pulse to a switching probability.

A training wants to move a weight by the share nu of a step, with probability p(nu), tanh(3 nu) in GXNOR-Net [1]. Its
junction is given one pulse and turns with the probability of `mtjsim` [2]. The width of the pulse carries nu, and an
*encoding* says which width: edges, from each of which on the next longer pulse is taken. Pulse 0 is none.

References
----------
.. [1] Deng, Jiao, Pei, Wu, Li, "GXNOR-Net", arXiv:1705.09283 (2017).
.. [2] Greenberg-Toledo, Perach, Hubara, Soudry, Kvatinsky, arXiv:1912.12636 (2019).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.polynomial.hermite_e import hermegauss
from numpy.typing import ArrayLike, NDArray

from bridge.checks import checked_list
from bridge.dies.spread import Spread
from bridge.dies.variability import Population
from bridge.write import WriteSetting
from mtjsim.checks import (
    ArgumentError,
    Array,
    Suggesting,
    checked_choice,
    checked_kind,
    checked_number,
    checked_probability,
    checked_whole,
)
from mtjsim.device import MTJ, require_junction
from mtjsim.energy import dissipated_energy
from mtjsim.rng import checked_seed, generator
from mtjsim.switching import switching_probability

ENCODINGS = ("proportional", "offset", "nominal", "population")
DIRECTIONS = ("ap_to_p", "p_to_ap")  # of a write of 0 and of 1
NODES = 9  # of the amplitudes of a noisy driver
MOST_TYPES = 1 << 16  # their numbers are 16 bits

Wanted = Callable[[Array], Array]


def gxnor(nu: ArrayLike) -> Array:
    """Probability of a jump in GXNOR-Net, tanh(3 nu)."""
    return np.tanh(3.0 * np.asarray(nu, dtype=float))


@dataclass(frozen=True, kw_only=True)
class UpdateDriver(Suggesting):
    """The pulses that a driver can give: one amplitude for each direction, and some widths.

    Parameters
    ----------
    pulse_widths : sequence of float
        Ascending [s]; of pulses 1, 2 ... Pulse 0 is none.
    current_0, current_1 : float, optional
        Amplitude of a write of 0 (AP to P) and of 1 (P to AP) [A].
    voltage_0, voltage_1 : float, optional
        Across the junction [V], in place of the currents.
    rise_time : float
        Of each ramp [s], at most the shortest width.

    Raises
    ------
    ValueError
        For widths that do not ascend, amplitudes of both kinds or of none, or ramps longer than a pulse.

    Examples
    --------
    >>> driver = UpdateDriver.even(longest=10e-9, current_0=40e-6, current_1=50e-6)
    >>> len(driver.pulse_widths), driver.pulse_widths[0]
    (63, 1.5873015873015874e-10)
    """

    pulse_widths: tuple[float, ...]
    current_0: float | None = None
    current_1: float | None = None
    voltage_0: float | None = None
    voltage_1: float | None = None
    rise_time: float = 0.0

    def __post_init__(self) -> None:
        widths = checked_list("pulse_widths", self.pulse_widths, "s")
        if (np.diff(widths) <= 0).any():
            raise ArgumentError("pulse_widths", "must ascend, each wider than the one before.")
        object.__setattr__(self, "pulse_widths", tuple(widths.tolist()))
        self.setting(float(widths[0]))  # checks amplitudes and ramps

    @classmethod
    def even(cls, *, longest: float, count: int = 63, shortest: float | None = None, **amplitudes: Any) -> Self:
        """Return a driver with widths in equal steps, from `shortest` (default: one step) to `longest` [s]."""
        checked_number("longest", longest, "s", zero_allowed=False)
        checked_whole("count", count, least=1)
        first = longest / count if shortest is None else checked_number("shortest", shortest, "s", zero_allowed=False)
        if count > 1 and not first < longest:
            raise ArgumentError("shortest", f"must be less than longest = {longest:g} s, got {first:g}.")
        return cls(pulse_widths=tuple(np.linspace(first, longest, count) if count > 1 else [longest]), **amplitudes)

    @property
    def drive(self) -> str:
        """What is imposed, a current or a voltage."""
        return "current" if self.current_0 is not None else "voltage"

    @property
    def amplitudes(self) -> tuple[float, float]:
        """Of a write of 0 and of 1 [A] or [V]."""
        pair = (self.current_0, self.current_1) if self.drive == "current" else (self.voltage_0, self.voltage_1)
        assert pair[0] is not None
        assert pair[1] is not None
        return pair[0], pair[1]

    def setting(self, pulse_width: float) -> WriteSetting:
        """Return the write setting of one width [s]."""
        names = "current_0", "current_1", "voltage_0", "voltage_1"
        given = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        return WriteSetting(pulse_width=pulse_width, rise_time=self.rise_time, **given)


@dataclass(frozen=True, eq=False)
class SwitchingTable(Suggesting):
    """Switching probabilities of junctions of several types under each pulse of a driver.

    Attributes
    ----------
    driver : UpdateDriver
    probabilities : (types, 2, pulses) array
        Of a write of 0 and of 1, pulse 0 included (0).
    nominal : (2, pulses) array
        Of the nominal junction.
    energies : (2, pulses) array
        Mean energy of such a pulse on the nominal junction, which has to turn [J]; of the junction alone.
    """

    driver: UpdateDriver
    probabilities: Array
    nominal: Array
    energies: Array

    @property
    def types(self) -> int:
        """Types of junctions."""
        return len(self.probabilities)

    @property
    def mean(self) -> Array:
        """Of the population, (2, pulses): the mean over the types."""
        return self.probabilities.mean(axis=0)

    def encoded(
        self, encoding: str, *, wanted: Wanted = gxnor, offset: float | None = None, foot: float = 0.0
    ) -> Array:
        """Return the edges of an encoding, (2, pulses - 1), for writes of 0 and of 1.

        Parameters
        ----------
        encoding : {"proportional", "offset", "nominal", "population"}
            "proportional": the width nearest to nu times the longest. "offset": nearest to `offset` + nu (longest -
            `offset`). "nominal", "population": the pulse whose switching probability, of the nominal junction or of the
            mean of the population, is nearest to p(nu).
        wanted : callable
            p of an array of nu.
        offset : float, optional
            [s]; of "offset" only.
        foot : float
            Of "nominal" and "population": pulses that turn a junction less often than this are not used.

        Returns
        -------
        array
            Pulse k is that of nu from edges[k - 1] on; inf where a pulse is never taken.

        Raises
        ------
        ValueError
            For an unknown encoding, or an offset that is missing, without a use, or outside the driver's widths.
        """
        checked_choice("encoding", encoding, ENCODINGS)
        if (offset is None) == (encoding == "offset"):
            raise ArgumentError("offset", 'must be given for the encoding "offset", and for no other one.')
        widths = np.array(self.driver.pulse_widths)
        if encoding in ("nominal", "population"):
            curves = self.nominal if encoding == "nominal" else self.mean
            return np.stack([_inverse(curve, wanted, checked_probability("foot", foot)) for curve in curves])
        if foot:
            raise ArgumentError("foot", f'must be 0 for the encoding "{encoding}", which has no table, got {foot:g}.')
        start = 0.0
        if offset is not None:
            start = checked_number("offset", offset, "s", zero_allowed=True)
            if not start < widths[-1]:
                raise ArgumentError("offset", f"must be less than the longest pulse, {widths[-1]:g} s, got {start:g}.")
        before = np.concatenate([[0.0], widths[:-1]])
        edges = ((before + widths) / 2 - start) / (widths[-1] - start)
        return np.stack([np.maximum(edges, 0.0)] * 2)

    def pulses(self, nu: ArrayLike, edges: ArrayLike, bit: int) -> NDArray[np.int64]:
        """Return the number of the pulse of each nu, for a write of `bit`."""
        return np.asarray(np.searchsorted(np.asarray(edges)[bit], np.asarray(nu, dtype=float), side="right"))

    def realized(self, nu: ArrayLike, edges: ArrayLike, bit: int) -> Array:
        """Return the probability with which the junctions of the population turn, on average, for each nu."""
        return self.mean[bit][self.pulses(nu, edges, bit)]


def switching_table(
    device: MTJ,
    driver: UpdateDriver,
    *,
    spread: Spread | None = None,
    types: int = 1024,
    temperature: float = 300.0,
    seed: int = 0,
) -> SwitchingTable:
    """Solve the switching probabilities of a population under the pulses of a driver.

    Parameters
    ----------
    device : MTJ
        The nominal junction, axisymmetric.
    driver : UpdateDriver
    spread : Spread, optional
        From device to device, and of the drive from write to write (`drive_c2c`), which is averaged over: each write
        has its own. `pulse_width_c2c` must be 0. None: all junctions are nominal, one type.
    types : int, from 1 to 65,536
        Junctions that are drawn from the population, each a type: a weight's junctions are of one of them. A curve
        takes some milliseconds.
    temperature : float
        [K].
    seed : int, >= 0
        Of the junctions that are drawn.

    Returns
    -------
    SwitchingTable

    Raises
    ------
    ValueError
        For numbers out of range, a junction that is not axisymmetric, or a spread of the transistor.

    Examples
    --------
    >>> device = MTJ.from_effective(thermal_stability=40, critical_current=30e-6, characteristic_time=2e-9)
    >>> driver = UpdateDriver.even(longest=12e-9, current_0=45e-6, current_1=45e-6)
    >>> table = switching_table(device, driver)
    >>> table.mean[1, [10, 30, 63]].round(4)
    array([0.    , 0.4242, 0.9736])
    """
    require_junction(device)
    checked_kind("driver", driver, UpdateDriver)
    checked_number("temperature", temperature, "K", zero_allowed=False)
    checked_seed(seed)
    if not checked_whole("types", types, least=1) <= MOST_TYPES:
        raise ArgumentError("types", f"must be at most {MOST_TYPES:,}, got {types:,}.")
    noise = 0.0
    devices = [device]
    if spread is not None:
        checked_kind("spread", spread, Spread)
        if spread.pulse_width_c2c:
            raise ArgumentError("spread", "must have pulse_width_c2c = 0: the widths are those of the driver's clock.")
        noise = spread.drive_c2c
        population = Population(device, spread, driver.setting(driver.pulse_widths[-1]), temperature)
        if spread.properties:
            z = generator(seed, "d2d").standard_normal((types, len(spread.properties)))
            devices = [population.cell_device(each) for each in z]  # type: ignore[misc]  # of a bare junction
    probabilities = np.stack([_curves(each, driver, noise, temperature) for each in devices])
    nominal = _curves(device, driver, noise, temperature)
    energies = np.zeros_like(nominal)
    for bit, direction in enumerate(DIRECTIONS):
        given: Any = {driver.drive: driver.amplitudes[bit], "pulse_width": np.array(driver.pulse_widths)}
        energies[bit, 1:] = dissipated_energy(
            device, **given, direction=direction, temperature=temperature, rise_time=driver.rise_time
        )
    return SwitchingTable(driver, probabilities, nominal, energies)


def _curves(device: MTJ, driver: UpdateDriver, noise: float, temperature: float) -> Array:
    """Return the switching probabilities of one junction, (2, pulses), averaged over the noise of the amplitude."""
    nodes, weights = hermegauss(NODES) if noise else (np.zeros(1), np.ones(1))
    weights = weights / weights.sum()
    found = np.zeros((2, len(driver.pulse_widths) + 1))
    for bit, direction in enumerate(DIRECTIONS):
        for node, weight in zip(nodes, weights, strict=True):
            given: Any = {driver.drive: driver.amplitudes[bit] * max(1.0 + noise * node, 0.0)}
            found[bit, 1:] += weight * np.asarray(
                switching_probability(
                    device,
                    **given,
                    pulse_width=np.array(driver.pulse_widths),
                    direction=direction,
                    temperature=temperature,
                    rise_time=driver.rise_time,
                )
            )
    return found


def _inverse(curve: Array, wanted: Wanted, foot: float) -> Array:
    """Return the edges by which the pulse is taken whose probability is nearest to the wanted one; p must rise."""
    used = np.flatnonzero((curve >= foot) & (curve > 0))
    grid = np.concatenate([np.geomspace(1e-12, 1e-3, 4001), np.linspace(1e-3, 1.0, 20_001)[1:]])
    p = np.asarray(wanted(grid), dtype=float)
    if p.shape != grid.shape or (np.diff(p) < 0).any() or p[0] < 0 or p[-1] > 1:
        raise ArgumentError("wanted", "must rise with nu, from 0 to 1, and give one probability for each nu.")
    edges = np.full(len(curve) - 1, math.inf)
    before = 0.0
    for k in used:  # ascending; a pulse that turns less often than a shorter one is not used
        if curve[k] > before:
            middle = (before + curve[k]) / 2
            edges[k - 1] = np.interp(middle, p, grid, left=0.0) if middle <= p[-1] else math.inf
            before = curve[k]
    return np.minimum.accumulate(edges[::-1])[::-1]  # of a pulse that is not used: that of the next one
