"""Measured counts as a map: the labels of a solved one, with exact binomial intervals; or rates without counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from bridge.maps.axes import labelled
from mtjsim.checks import DIRECTIONS, ArgumentError
from mtjsim.counts import clopper_pearson

if TYPE_CHECKING:
    import xarray as xr

    from bridge.maps.rate_table import WriteRates
    from mtjsim.calibration.measurement import WriteCounts

NO_INTERVALS = "none: rates without counts"


def measured_map(
    counts: WriteCounts | WriteRates, *, confidence: float = 0.95, directions: tuple[str, ...] = DIRECTIONS
) -> xr.Dataset:
    """Arrange measured counts as a map.

    Parameters
    ----------
    counts : WriteCounts or WriteRates
        Of `mtjsim.read_counts(path)` for a CSV file. Rows of one setting are independent trials and are added. Of
        `bridge.read_rates(path)`, where only rates are known: the map has no `trials` and `errors`, `low` and `high`
        are not-a-number, and the attribute `intervals` is "none: rates without counts".
    confidence : float
        Of the intervals, between 0 and 1.
    directions : tuple of str
        Those of the table; give one if only one was measured.

    Returns
    -------
    xarray.Dataset
        Over direction, current (or voltage), pulse_width, temperature, whose values are all that occur:
        `trials`, `errors`; `write_error_rate`, their ratio; `low` and `high`, the exact (Clopper-Pearson) interval;
        `upper_bound`, true where no error was counted: then `high` is the result, and 0 is not a rate. Settings without
        measurement have 0 trials and not-a-number.

    Raises
    ------
    ValueError
        If the directions are not those of the table, its ramps differ, or the confidence is out of range.

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
    if sorted(directions) != np.unique(way).tolist():
        table = tuple(np.unique(way).tolist())
        raise ArgumentError("directions", f"must be those of the table, {table}, got {tuple(directions)}.")
    ramps = {name: np.unique(np.asarray(getattr(counts, name), float)) for name in ("rise_time", "relax_time")}
    for name, values in ramps.items():
        if len(values) > 1:
            got = f"{values[0]:g} and {values[1]:g} s"
            raise ArgumentError(name, f"must be one number in a map, got {got}: split the table.")
    columns = [np.asarray(getattr(counts, name), float) for name in (drive, "pulse_width", "temperature")]
    axes, index = zip(*(np.unique(column, return_inverse=True) for column in columns), strict=True)
    place: Any = (np.array([directions.index(name) for name in way.tolist()]), *index)
    shape = len(directions), *(len(axis) for axis in axes)
    given, common = getattr(counts, "write_error_rate", None), (drive, *axes, directions)
    single = {name: float(values[0]) for name, values in ramps.items()} | {"identity": counts.identity}
    if given is not None:
        rate, unknown = np.full(shape, np.nan), np.full(shape, np.nan)
        rate[place] = given
        none: dict[str, Any] = {"units": "1", "interval": NO_INTERVALS}
        bound = np.zeros(shape, bool), {"meaning": "no error was counted: not known of rates"}
        dataset = labelled(rate, *common, low=(unknown, none), high=(unknown, none), upper_bound=bound)
        return dataset.assign_attrs(kind="measured", intervals=NO_INTERVALS, **single)
    counted: Any = counts
    trials = np.zeros(shape, dtype=np.int64)
    errors = np.zeros_like(trials)
    np.add.at(trials, place, np.asarray(counted.trials))
    np.add.at(errors, place, np.asarray(counted.errors))
    measured = trials > 0
    rate = np.divide(errors, trials, out=np.full(trials.shape, np.nan), where=measured)
    low, high = clopper_pearson(errors, trials, confidence=confidence)
    about = {"units": "1", "confidence": confidence, "interval": "exact binomial (Clopper-Pearson)"}
    dataset = labelled(
        rate,
        *common,
        trials=(trials, {"units": "1"}),
        errors=(errors, {"units": "1"}),
        low=(low, about),
        high=(high, about),
        upper_bound=(measured & (errors == 0), {"meaning": "no error was counted: read `high`"}),
    )
    return dataset.assign_attrs(kind="measured", **single)
