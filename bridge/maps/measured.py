"""Measured counts as a map: the same labels as a solved one, with counts and exact binomial intervals."""

from typing import TYPE_CHECKING, Any

import numpy as np

from bridge.maps.axes import labelled
from mtjsim.checks import DIRECTIONS
from mtjsim.counts import clopper_pearson

if TYPE_CHECKING:
    import xarray as xr

    from mtjsim.calibration.measurement import WriteCounts


def measured_map(
    counts: "WriteCounts", *, confidence: float = 0.95, directions: tuple[str, ...] = DIRECTIONS
) -> "xr.Dataset":
    """Arrange measured counts as a map.

    Parameters
    ----------
    counts : WriteCounts
        Of `mtjsim.read_counts(path)` for a CSV file. Rows of one setting are independent trials and are added.
    confidence : float
        Of the intervals, between 0 and 1.
    directions : tuple of str
        That must have been measured; give one if only one was.

    Returns
    -------
    xarray.Dataset
        Over direction, current (or voltage), pulse_width, temperature, whose values are all that occur:
        `trials`, `errors`; `write_error_rate`, their ratio; `low` and `high`, the exact (Clopper-Pearson) interval;
        `upper_bound`, true where no error was counted: then `high` is what is known, and 0 is not a rate. Settings that
        nobody measured have 0 trials and not-a-number.

    Raises
    ------
    ValueError
        If a direction is missing, the ramps of the rows differ, or the confidence is out of range.

    Examples
    --------
    >>> from mtjsim import WriteCounts
    >>> pulses = {"current": 60e-6, "pulse_width": [5e-9, 10e-9], "direction": "p_to_ap"}
    >>> counts = WriteCounts(**pulses, trials=1000, errors=[812, 0])
    >>> one_way = measured_map(counts, directions=("p_to_ap",))
    >>> one_way.upper_bound.values.ravel().tolist(), round(float(one_way.high[0, 0, 1, 0]), 5)
    ([False, True], 0.00368)
    """
    drive = "voltage" if counts.current is None else "current"
    way = np.asarray(counts.direction)
    for name in directions:
        if name not in way:
            raise ValueError(
                f"no row of the table has direction {name!r}: a map needs {' and '.join(directions)}. If only one was "
                f"measured, say so: directions={tuple(np.unique(way).tolist())}."
            )
    others = sorted(set(way.tolist()) - set(directions))
    if others:
        raise ValueError(f"the table has direction {others[0]!r}, which `directions` leaves out.")
    ramps = {name: np.unique(np.asarray(getattr(counts, name), float)) for name in ("rise_time", "relax_time")}
    for name, values in ramps.items():
        if len(values) > 1:
            raise ValueError(
                f"{name} must be one number in a map, got {values[0]:g} and {values[1]:g} s: split the table."
            )
    columns = [np.asarray(getattr(counts, name), float) for name in (drive, "pulse_width", "temperature")]
    axes, index = zip(*(np.unique(column, return_inverse=True) for column in columns), strict=True)
    place: Any = (np.array([directions.index(name) for name in way.tolist()]), *index)
    trials = np.zeros((len(directions), *(len(axis) for axis in axes)), dtype=np.int64)
    errors = np.zeros_like(trials)
    np.add.at(trials, place, np.asarray(counts.trials))
    np.add.at(errors, place, np.asarray(counts.errors))
    measured = trials > 0
    rate = np.divide(errors, trials, out=np.full(trials.shape, np.nan), where=measured)
    low, high = clopper_pearson(errors, trials, confidence=confidence)
    about = {"units": "1", "confidence": confidence, "interval": "exact binomial (Clopper-Pearson)"}
    dataset = labelled(
        rate,
        drive,
        axes[0],
        axes[1],
        axes[2],
        directions,
        trials=(trials, {"units": "1"}),
        errors=(errors, {"units": "1"}),
        low=(low, about),
        high=(high, about),
        upper_bound=(measured & (errors == 0), {"meaning": "no error was counted: read `high`"}),
    )
    single = {name: float(values[0]) for name, values in ramps.items()}
    return dataset.assign_attrs(kind="measured", identity=counts.identity, **single)
