"""A bound on the interpolation error of a whole map, and advice on a finer grid."""

from typing import TYPE_CHECKING, Any

import numpy as np

from bridge.log_log import log_log, log_rate
from bridge.maps.axes import checked_dataset
from bridge.maps.interpolation import LEAST_SWITCHED, Uncertainty, corners, points_needed, uncertainty
from mtjsim.checks import Array

if TYPE_CHECKING:
    import xarray as xr

TARGET = 0.01  # promised relative error of an interpolated rate
DEEPEST = 1e-30  # rates below this do not enter the bound of the whole map
MOST_ADVISED = 2000  # points of an axis: beyond, the advice is another range


def relative_error(v: Array, error: Array, log_probability: Any) -> Array:
    """Relative error of a probability whose v is off by `error`."""
    with np.errstate(over="ignore", invalid="ignore"):
        changes = [np.abs(log_probability(v + side * error) - log_probability(v)) for side in (-1, 1)]
        worst = np.nan_to_num(np.maximum(*changes), nan=np.inf, posinf=np.inf)
        return np.expm1(np.minimum(worst, 700.0)) + np.where(worst > 700, np.inf, 0.0)


def describe(v: Array, found: Uncertainty, axes: tuple[Array, Array, Array], drive: str) -> tuple[float, str]:
    """Largest relative error over the cells that reach above `DEEPEST`, and the advice."""
    deepest, highest = corners(v, None, np.minimum), corners(v, None, np.maximum)
    counted = highest >= np.log(DEEPEST)
    low = np.maximum(deepest, np.log(DEEPEST))

    def largest(error: Array) -> float:
        return float(relative_error(low, error, log_rate)[counted].max(initial=0.0))

    bound = largest(found.total)
    if bound <= TARGET:
        return bound, ""
    varied = sum(len(axis) > 1 for axis in axes)
    lines = []
    for name, axis, part in zip((drive, "pulse_width", "temperature"), axes, found.by_axis, strict=True):
        needed = points_needed(len(axis), largest(part), TARGET / varied)
        if needed > MOST_ADVISED:
            lines.append(f"{name} far more than {len(axis)}, or a shorter range")
        elif needed > len(axis):
            about = "at least" if len(axis) <= 2 else "about"
            lines.append(f"{name} {about} {needed} points in place of {len(axis)}")
    return bound, f"For {TARGET:.0%} take: {'; '.join(lines)}."


def described_bound(dataset: "xr.Dataset") -> tuple[float, str]:
    """Bound of a solved map and the advice, as `ErrorMap` has them, without a warning."""
    drive = checked_dataset(dataset)
    axes: Any = tuple(np.asarray(dataset[name].values, float) for name in (drive, "pulse_width", "temperature"))
    v = log_log(dataset["write_error_rate"].values, least_switched=LEAST_SWITCHED)
    return describe(v, uncertainty(v, axes), axes, drive)
