"""Interpolation in a map: error rates, energies and operating points between its nodes, with a bound on the error."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bridge.log_log import log_log, log_rate, log_switched
from bridge.maps.axes import checked_dataset, measured_places
from bridge.maps.bound import TARGET, describe, relative_error
from bridge.maps.interpolation import LEAST_SWITCHED, interpolate, uncertainty
from bridge.write import DIRECTION_OF_BIT, MEASURED, OperatingPoint, WriteSetting, resting_energy
from mtjsim.checks import (
    DIRECTIONS,
    ArgumentError,
    Array,
    Suggesting,
    checked_array,
    checked_choice,
    checked_kind,
    checked_names,
)
from mtjsim.device import MTJ
from mtjsim.pulse import UNITS, one_drive

if TYPE_CHECKING:
    import xarray as xr


class CoarseMapWarning(UserWarning):
    """The grid of a map is too coarse for 1 %."""


@dataclass(frozen=True)
class _Places:
    """Checked and broadcast arguments of a look-up; `index` has the direction's."""

    shape: tuple[int, ...]
    index: NDArray[np.intp]
    level: Array
    pulse_width: Array
    temperature: Array

    @property
    def coordinates(self) -> tuple[Array, Array, Array]:
        return self.level, self.pulse_width, self.temperature

    def shaped(self, values: Array) -> float | Array:
        return float(values[0]) if self.shape == () else values.reshape(self.shape)


class ErrorMap(Suggesting):
    """A solved or measured map that is interpolated between its nodes, by the method of `interpolation.py`.

    Parameters
    ----------
    dataset : xarray.Dataset
        Of `write_error_map`, `load_map` or `measured_map`, or a part of one that kept its axes.

    Attributes
    ----------
    dataset : xarray.Dataset
    drive : {"current", "voltage"}
        The first axis.
    error_bound : float
        Largest relative error of `rate` in any cell of the grid down to 1e-30, as estimated from the map; `inf` where
        an axis has two nodes only.
    advice : str
        The axes that need more points for 1 %, and how many; empty if the grid is fine enough.

    Raises
    ------
    ValueError
        If the dataset is not a map: a missing or non-monotone axis, a rate outside [0, 1], another unit.

    Warns
    -----
    CoarseMapWarning
        If the bound is above 1 %; gives the advice.

    Notes
    -----
    Nothing is extrapolated. A measured map has values at its measured points only.

    Examples
    --------
    >>> import numpy as np
    >>> from mtjsim import MTJ, write_error_rate
    >>> from bridge import write_error_map
    >>> device = MTJ.from_effective(thermal_stability=60, critical_current=30e-6, characteristic_time=2e-9)
    >>> dataset = write_error_map(device, np.linspace(40e-6, 90e-6, 20), np.geomspace(2e-9, 20e-9, 20))
    >>> error_map = ErrorMap(dataset)
    >>> print(f"{error_map.rate(current=61.7e-6, pulse_width=12.3e-9):.3e}")
    1.074e-04
    >>> print(f"{write_error_rate(device, current=61.7e-6, pulse_width=12.3e-9):.3e}")
    1.074e-04
    """

    def __init__(self, dataset: xr.Dataset) -> None:
        self.drive = checked_dataset(dataset)
        self.dataset = dataset
        self.measured = dataset.attrs.get("kind") == "measured"
        self._axes: Any = tuple(
            np.asarray(dataset[x].values, float) for x in (self.drive, "pulse_width", "temperature")
        )
        self._directions = [str(name) for name in dataset["direction"].values]
        self.error_bound, self.advice = np.inf, ""
        if self.measured:
            return
        self._v = log_log(dataset["write_error_rate"].values, least_switched=LEAST_SWITCHED)
        self._uncertainty = uncertainty(self._v, self._axes)
        self.error_bound, self.advice = describe(self._v, self._uncertainty, self._axes, self.drive)
        self._resistance: tuple[Array, tuple[Array, Array, Array]] | None = None
        if "energy" in dataset:
            self._resistance = self._reduced_energy(dataset["energy"].values)
        if self.error_bound > TARGET:
            warnings.warn(
                f"the map is good to {self.error_bound:.2g} only. {self.advice}", CoarseMapWarning, stacklevel=2
            )

    def __repr__(self) -> str:
        drive = (1e6, "µA") if self.drive == "current" else (1.0, "V")
        axes = zip(self._axes, (drive, (1e9, "ns"), (1.0, "K")), strict=True)
        spans = ", ".join(
            f"{len(x)} from {x.min() * scale:.4g} to {x.max() * scale:.4g} {unit}"
            if len(x) > 1
            else f"{x[0] * scale:.4g} {unit}"
            for x, (scale, unit) in axes
        )
        known = "measured" if self.measured else f"solved, error {self.error_bound:.2g}"
        return f"ErrorMap({known}: {spans}; {' and '.join(self._directions)})"

    # ---- look-ups ----------------------------------------------------------------------------------------------------

    def rate(
        self,
        *,
        current: ArrayLike | None = None,
        pulse_width: ArrayLike,
        temperature: ArrayLike = 300.0,
        direction: str | ArrayLike = "p_to_ap",
        voltage: ArrayLike | None = None,
    ) -> float | Array:
        """Write error rate inside the grid.

        Parameters
        ----------
        current, voltage : float or array
            The one that is an axis of this map [A] or [V].
        pulse_width, temperature : float or array
            [s], [K].
        direction : {"p_to_ap", "ap_to_p"} or array of these
            Of the write.

        Returns
        -------
        float or array
            Of the broadcast shape of all arguments; relative error at most `bound` of the same arguments. Of a measured
            map: errors over trials, and where no error was counted the upper end of the interval, never 0; or the rate
            of a table without counts.

        Raises
        ------
        ValueError
            If a place is outside the grid, or not a measured point of a measured map; names the nearest ones.
        """
        p = self._places(current, voltage, pulse_width, temperature, direction)
        if self.measured:
            return p.shaped(self._counted(p))
        return p.shaped(np.exp(log_rate(interpolate(self._v, self._axes, p.index, p.coordinates))))

    def switching_probability(
        self,
        *,
        current: ArrayLike | None = None,
        pulse_width: ArrayLike,
        temperature: ArrayLike = 300.0,
        direction: str | ArrayLike = "p_to_ap",
        voltage: ArrayLike | None = None,
    ) -> float | Array:
        """One minus the rate, not taken as a difference; arguments as in `rate`; its error is `bound(tail="switched")`.

        A map contains write error rates, so that probabilities below 1e-8 are lost in rounding: 1e-8 is returned.
        """
        p = self._places(current, voltage, pulse_width, temperature, direction)
        if self.measured:
            return p.shaped(1 - self._counted(p))
        return p.shaped(np.exp(log_switched(interpolate(self._v, self._axes, p.index, p.coordinates))))

    def bound(
        self,
        *,
        current: ArrayLike | None = None,
        pulse_width: ArrayLike,
        temperature: ArrayLike = 300.0,
        direction: str | ArrayLike = "p_to_ap",
        voltage: ArrayLike | None = None,
        tail: str = "stayed",
    ) -> float | Array:
        """Bound on the relative error of `rate` (or of `switching_probability`, with tail="switched") at each place.

        0 at a node, up to the solver's 1e-6 (1e-4 where it fell back on the finite volume); `inf` where an axis has
        two nodes only.
        """
        checked_choice("tail", tail, ("stayed", "switched"))
        self._require_solved("bound on interpolation")
        p = self._places(current, voltage, pulse_width, temperature, direction)
        v = interpolate(self._v, self._axes, p.index, p.coordinates)
        error = self._uncertainty.at(self._axes, p.index, p.coordinates)
        return p.shaped(relative_error(v, error, log_rate if tail == "stayed" else log_switched))

    def energy(
        self,
        *,
        current: ArrayLike | None = None,
        pulse_width: ArrayLike,
        temperature: ArrayLike = 300.0,
        direction: str | ArrayLike = "p_to_ap",
        voltage: ArrayLike | None = None,
    ) -> float | Array:
        """Mean Joule energy in the junction [J], of a map with energies; arguments as in `rate`.

        Interpolated as E / (I^2 t), a mean resistance (with voltages E / (V^2 t), a conductance), which hardly varies.

        Raises
        ------
        ValueError
            If the map has no energies, a place is outside the grid, or between zero and the first level above it.
        """
        self._require_solved("energy")
        if self._resistance is None:
            raise ValueError("this map has no energies: make it with write_error_map(..., energy=True).")
        p = self._places(current, voltage, pulse_width, temperature, direction)
        reduced, axes = self._resistance
        low = (p.level > 0) & (p.level < axes[0][0])
        if low.any():
            rule = f"must be 0 or >= {axes[0][0]:g} {UNITS[self.drive]} for an energy, got {p.level[low][0]:g}"
            raise ArgumentError(self.drive, f"{rule}: the map has no energy below its first positive level.")
        level = np.maximum(p.level, axes[0][0])
        mean = np.exp(interpolate(reduced, axes, p.index, (level, p.pulse_width, p.temperature)))
        return p.shaped(mean * p.level**2 * p.pulse_width)

    def operating_point(self, setting: WriteSetting, *, temperature: float = 300.0) -> OperatingPoint:
        """Return the operating point of a setting from the map, in place of `bridge.operating_point(device, setting)`.

        Parameters
        ----------
        setting : WriteSetting
            Its amplitudes are those of the map's drive, its ramps those of the map.
        temperature : float
            [K].

        Returns
        -------
        OperatingPoint
            Rates to `bound`; energies are not-a-number (unknown) if the map has none. Of a measured map, at its
            measured points: the rates as of `rate` (where no error was counted, the upper end of the interval), unknown
            energies, and "measured" with the identity of the table as `device_identity`.

        Raises
        ------
        ValueError
            If the setting is outside the grid, has other ramps or another drive; in a measured map, unless both writes
            were measured.

        Examples
        --------
        >>> from mtjsim import WriteCounts
        >>> from bridge import measured_map
        >>> pulses = {"voltage": 0.5, "pulse_width": 1e-8, "direction": ["ap_to_p", "p_to_ap"]}
        >>> counts = WriteCounts(**pulses, trials=10**6, errors=[300, 1200])
        >>> setting = WriteSetting(voltage_0=0.5, voltage_1=0.5, pulse_width=1e-8)
        >>> point = ErrorMap(measured_map(counts)).operating_point(setting)
        >>> point.error_rate_0, point.error_rate_1, point.energy_1
        (0.0003, 0.0012, nan)
        """
        checked_kind("setting", setting, WriteSetting)
        attrs = self.dataset.attrs
        for name in ("rise_time", "relax_time"):
            ours, theirs = float(attrs[name]), getattr(setting, name)
            if ours != theirs:
                raise ArgumentError(name, f"of the setting must be that of the map, {ours:g} s, got {theirs:g} s.")
        if setting.drive != self.drive:
            raise ArgumentError("setting", f"must be of {self.drive}s, as the map is, got one of {setting.drive}s.")
        rates, energies, tables = [], [], {}
        for bit, level in enumerate(setting.amplitudes):
            write: Any = {
                self.drive: level,
                "pulse_width": setting.pulse_width,
                "temperature": temperature,
                "direction": DIRECTION_OF_BIT[bit],
            }
            rates.append(float(self.rate(**write)))
            energies.append(float(self.energy(**write)) if "energy" in self.dataset and not self.measured else np.nan)
        if not np.isnan(energies).any():  # those of pulses on cells that hold the bit follow from the junction
            device = MTJ.from_json(str(attrs["device"]))
            held = [resting_energy(device, setting, bit=bit) for bit in (0, 1)]
            tables["junction"] = np.column_stack((energies, held))
        return OperatingPoint(
            error_rate_0=rates[0],
            error_rate_1=rates[1],
            energy_0=energies[0],
            energy_1=energies[1],
            latency=setting.latency,
            setting=setting,
            device_identity=f"{MEASURED}{attrs['identity']}" if self.measured else str(attrs["device_identity"]),
            temperature=float(temperature),
            energies=tables,
        )

    # ---- parts -------------------------------------------------------------------------------------------------------

    def _require_solved(self, what: str) -> None:
        if self.measured:
            raise ValueError(f"a measured map has no {what}: fit a junction to its counts (calibrate).")

    def _places(
        self,
        current: ArrayLike | None,
        voltage: ArrayLike | None,
        pulse_width: ArrayLike,
        temperature: ArrayLike,
        direction: str | ArrayLike,
    ) -> _Places:
        drive, level = one_drive(current, voltage)
        if drive != self.drive:
            raise ArgumentError(drive, f"must be left out: this map is over {self.drive}.")
        for name in map(str, np.unique(checked_names("direction", direction, DIRECTIONS))):
            if name not in self._directions:
                raise ArgumentError("direction", f"{name!r} is not in this map, only {', '.join(self._directions)} is.")
        names = {drive: UNITS[drive], "pulse_width": "s", "temperature": "K"}
        given = (level, pulse_width, temperature)
        checked = [
            checked_array(name, value, unit, zero_allowed=name == drive)
            for (name, unit), value in zip(names.items(), given, strict=True)
        ]
        way, *spread = np.broadcast_arrays(np.asarray(direction), *checked)
        index = np.zeros(way.size, dtype=np.intp)
        for k, name in enumerate(self._directions):
            index[way.ravel() == name] = k
        places = _Places(way.shape, index, *(x.ravel() for x in spread))
        for (name, unit), axis, x in zip(names.items(), self._axes, places.coordinates, strict=True):
            outside = (x < axis[0]) | (x > axis[-1])
            if outside.any():
                rule = f"must be inside the map, {axis[0]:g} to {axis[-1]:g} {unit}, got {x[outside][0]:g}"
                remedy = "Make a larger one, or solve the place with mtjsim.write_error_rate."
                if self.measured:
                    remedy = "For rates of your own, OperatingPoint.of_rates()."
                raise ArgumentError(name, f"{rule}: a map is never extrapolated. {remedy}")
        return places

    def _counted(self, p: _Places) -> Array:
        where = tuple(
            np.argmin(np.abs(axis[:, None] - x), axis=0) for axis, x in zip(self._axes, p.coordinates, strict=True)
        )
        hit = [
            np.isclose(axis[k], x, rtol=1e-9, atol=0)
            for axis, k, x in zip(self._axes, where, p.coordinates, strict=True)
        ]
        at = (p.index, *where)
        known = np.all(hit, axis=0) & measured_places(self.dataset)[at]
        if not known.all():
            self._refuse_between(p, int(np.flatnonzero(~known)[0]))
        rate = np.asarray(self.dataset["write_error_rate"].values[at])
        if "errors" not in self.dataset:  # rates without counts
            return rate
        return np.where(self.dataset["errors"].values[at] > 0, rate, self.dataset["high"].values[at])

    def _refuse_between(self, p: _Places, k: int) -> NoReturn:
        d, *near = np.nonzero(measured_places(self.dataset))
        at = [float(x[k]) for x in p.coordinates]
        points = np.stack([axis[i] for axis, i in zip(self._axes, near, strict=True)], axis=1)
        spans = np.array([max(axis[-1] - axis[0], 1e-300) for axis in self._axes])
        distance = (((points - at) / spans) ** 2).sum(1) + 1e9 * (d != p.index[k])
        I, t, T = points[int(np.argmin(distance))]
        unit = UNITS[self.drive]
        place = f"{at[0]:g} {unit}, {at[1]:g} s, {at[2]:g} K ({self._directions[p.index[k]]})"
        nearest = f"{I:g} {unit}, {t:g} s, {T:g} K"
        problem = f"{place} was not measured, and nothing is interpolated between measured points"
        remedy = "To go between them, calibrate(); for rates of your own, OperatingPoint.of_rates()"
        raise ValueError(f"{problem}. The nearest measured one is {nearest}. {remedy}.")

    def _reduced_energy(self, energy: Array) -> tuple[Array, tuple[Array, Array, Array]]:
        """Log of E / (level^2 t) at the nodes with a level above 0, and their axes."""
        level, width, temperature = self._axes
        first = int(level[0] == 0)
        if first == len(level):
            raise ArgumentError(self.drive, "must have a value above 0 in a map with energies.")
        positive = level[first:]
        reduced = energy[:, first:] / (positive[:, None, None] ** 2 * width[:, None])
        return np.log(reduced), (positive, width, temperature)
