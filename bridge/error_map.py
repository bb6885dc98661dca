"""Write error rates and energies over direction, current, pulse width and temperature, labelled."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from mtjsim.checks import DIRECTIONS, checked_array
from mtjsim.device import MTJ
from mtjsim.energy import dissipated_energy
from mtjsim.switching import write_error_rate

if TYPE_CHECKING:
    import xarray as xr

DIMENSIONS = ("direction", "current", "pulse_width", "temperature")


def write_error_map(
    device: MTJ,
    currents: ArrayLike,
    pulse_widths: ArrayLike,
    temperatures: ArrayLike = 300.0,
    *,
    rise_time: float = 0.0,
    relax_time: float = 0.0,
    energy: bool = False,
) -> "xr.Dataset":
    """Solve a junction on a grid.

    Parameters
    ----------
    device : MTJ
        Any junction (one that is not axisymmetric takes seconds a write).
    currents, pulse_widths, temperatures : (n,) arrays or floats
        Axes [A], [s], [K]; strictly increasing.
    rise_time, relax_time : float
        As in `mtjsim.write_error_rate` [s].
    energy : bool
        Also the mean Joule energy in the junction; costs about as much again.

    Returns
    -------
    xarray.Dataset
        `write_error_rate`, and `energy` [J] if asked for, over direction, current, pulse_width, temperature, with units
        as attributes and the junction's identity.

    Raises
    ------
    ValueError
        If an axis is empty, not strictly increasing or out of range, and as in `mtjsim.write_error_rate`.
    """
    import xarray as xr  # here: it takes half a second, and the error-rate verbs never need it
    from tqdm.auto import tqdm

    I = _axis("currents", currents, "A", zero_allowed=True)
    width = _axis("pulse_widths", pulse_widths, "s", zero_allowed=False)
    T = _axis("temperatures", temperatures, "K", zero_allowed=False)
    shape = (len(DIRECTIONS), len(I), len(width), len(T))
    rate, joule = np.empty(shape), np.empty(shape)
    cells = [(d, i, t) for d in range(len(DIRECTIONS)) for i in range(len(I)) for t in range(len(T))]
    for d, i, t in tqdm(cells, desc="write error map", disable=None, leave=False):
        common: Any = {"direction": DIRECTIONS[d], "temperature": float(T[t]), "rise_time": rise_time}
        rate[d, i, :, t] = write_error_rate(device, current=I[i], pulse_width=width, relax_time=relax_time, **common)
        if energy:
            joule[d, i, :, t] = dissipated_energy(device, current=float(I[i]), pulse_width=width, **common)
    variables = {"write_error_rate": (DIMENSIONS, rate, {"units": "1", "errors": "a failed write leaves the old bit"})}
    if energy:
        variables["energy"] = (DIMENSIONS, joule, {"units": "J", "scope": "junction only, mean over all writes"})
    return xr.Dataset(
        variables,
        coords={
            "direction": list(DIRECTIONS),
            "current": ("current", I, {"units": "A"}),
            "pulse_width": ("pulse_width", width, {"units": "s"}),
            "temperature": ("temperature", T, {"units": "K"}),
        },
        attrs={"device_identity": device.identity, "rise_time": rise_time, "relax_time": relax_time},
    )


def _axis(name: str, values: ArrayLike, unit: str, *, zero_allowed: bool) -> np.ndarray:
    axis = np.atleast_1d(checked_array(name, values, unit, zero_allowed=zero_allowed))
    if axis.ndim != 1 or axis.size == 0:
        raise ValueError(f"{name} must be a number or a one-dimensional array with at least one element in {unit}.")
    if (np.diff(axis) <= 0).any():
        raise ValueError(f"{name} must be strictly increasing, as an axis of a map is.")
    return axis
