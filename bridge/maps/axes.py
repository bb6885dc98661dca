"""The shape of a map: direction x current (or voltage) x pulse width x temperature, and what is refused as none."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from mtjsim.checks import DIRECTIONS, Array, checked_array
from mtjsim.pulse import UNITS

if TYPE_CHECKING:
    import xarray as xr

DRIVES = ("current", "voltage")
AXES = {"pulse_width": "s", "temperature": "K"}
ARGUMENTS = {
    "currents": ("A", True),
    "voltages": ("V", True),
    "pulse_widths": ("s", False),
    "temperatures": ("K", False),
}


def dimensions(drive: str) -> tuple[str, str, str, str]:
    """Names of the four dimensions, in the order of the arrays."""
    return ("direction", drive, "pulse_width", "temperature")


def axis_of(name: str, values: ArrayLike) -> Array:
    """Check an axis given by the argument `name`; ValueError unless it is a number or strictly increasing numbers."""
    unit, zero_allowed = ARGUMENTS[name]
    axis = np.atleast_1d(checked_array(name, values, unit, zero_allowed=zero_allowed))
    if axis.ndim != 1 or axis.size == 0:
        raise ValueError(f"{name} must be a number or a one-dimensional array with at least one element in {unit}.")
    if (np.diff(axis) <= 0).any():
        raise ValueError(f"{name} must be strictly increasing, as an axis of a map is.")
    return axis


def labelled(
    rates: Array, drive: str, levels: Array, pulse_widths: Array, temperatures: Array, directions: Any, **variables: Any
) -> "xr.Dataset":
    """Return a dataset with units on every label."""
    import xarray as xr  # here: it takes half a second, and the error-rate verbs never need it

    dims = dimensions(drive)
    about = {"units": "1", "errors": "a failed write leaves the old bit"}
    return xr.Dataset(
        {
            "write_error_rate": (dims, rates, about),
            **{name: (dims, array, about) for name, (array, about) in variables.items()},
        },
        coords={
            "direction": list(directions),
            drive: (drive, levels, {"units": UNITS[drive]}),
            "pulse_width": ("pulse_width", pulse_widths, {"units": "s"}),
            "temperature": ("temperature", temperatures, {"units": "K"}),
        },
    )


def checked_dataset(dataset: "xr.Dataset") -> str:
    """Return the drive of a map, "current" or "voltage"; ValueError unless labels, units, axes and rates fit."""
    if "write_error_rate" not in dataset:
        raise ValueError("this is no map: there is no write_error_rate.")
    rate = dataset["write_error_rate"]
    drive = next((name for name in DRIVES if tuple(rate.dims) == dimensions(name)), None)
    if drive is None:
        raise ValueError(
            f"a map is over direction, current or voltage, pulse_width, temperature, in this order; got {rate.dims}. "
            "Take parts with lists, as in sel(temperature=[300]), which keep the axis."
        )
    for name, unit in {drive: UNITS[drive], **AXES}.items():
        axis_of(f"{name}s", dataset[name].values)
        if dataset[name].attrs.get("units") != unit:
            raise ValueError(f"{name} of a map must be in {unit}, got units {dataset[name].attrs.get('units')!r}.")
    unknown = set(dataset["direction"].values.tolist()) - set(DIRECTIONS)
    if unknown or len(set(dataset["direction"].values.tolist())) < dataset.sizes["direction"]:
        raise ValueError(
            f"directions of a map must be among {DIRECTIONS}, each once, got {dataset['direction'].values}."
        )
    values = rate.values
    if dataset.attrs.get("kind") == "measured":
        values = values[dataset["trials"].values > 0]
    if not ((values >= 0) & (values <= 1)).all():
        bad = values[~((values >= 0) & (values <= 1))][0]
        raise ValueError(f"write_error_rate must be a probability between 0 and 1, got {bad:g}.")
    return drive
