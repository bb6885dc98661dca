"""The shape of a map, direction x current (or voltage) x pulse width x temperature, and its checks."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bridge.checks import checked_list
from mtjsim.checks import DIRECTIONS, ArgumentError, Array
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
    axis = checked_list(name, values, unit, zero_allowed=zero_allowed)
    if (np.diff(axis) <= 0).any():
        raise ArgumentError(name, "must be strictly increasing, as an axis of a map is.")
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


def measured_places(dataset: "xr.Dataset") -> NDArray[np.bool_]:
    """Where a measured map has a value, in the shape of its rates."""
    if "trials" in dataset:
        return np.asarray(dataset["trials"].values > 0)
    return ~np.isnan(dataset["write_error_rate"].values)


def checked_dataset(dataset: "xr.Dataset") -> str:
    """Return the drive of a map, "current" or "voltage"; ValueError unless labels, units, axes and rates fit."""
    if "write_error_rate" not in dataset:
        raise ValueError("this is not a map: it has no write_error_rate.")
    rate = dataset["write_error_rate"]
    drive = next((name for name in DRIVES if tuple(rate.dims) == dimensions(name)), None)
    if drive is None:
        order = "direction, current or voltage, pulse_width, temperature"
        raise ValueError(f"a map is over {order}, got {rate.dims}. Take parts with lists: sel(temperature=[300]).")
    for name, unit in {drive: UNITS[drive], **AXES}.items():
        axis_of(f"{name}s", dataset[name].values)
        if dataset[name].attrs.get("units") != unit:
            raise ArgumentError(name, f"of a map must be in {unit}, got units {dataset[name].attrs.get('units')!r}.")
    directions = dataset["direction"].values.tolist()
    if not set(directions) <= set(DIRECTIONS) or len(set(directions)) < len(directions):
        raise ArgumentError("directions", f"of a map must be among {DIRECTIONS}, each once, got {directions}.")
    values = rate.values[measured_places(dataset)] if dataset.attrs.get("kind") == "measured" else rate.values
    outside = values[~((values >= 0) & (values <= 1))]
    if outside.size:
        raise ArgumentError("write_error_rate", f"must be a probability between 0 and 1, got {outside[0]:g}.")
    return drive
