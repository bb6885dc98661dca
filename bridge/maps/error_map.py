"""Write error rates and energies over direction, current or voltage, pulse width and temperature, labelled.

One solve gives all pulse widths of one level, direction and temperature: a slice. Slices are independent, so that any
number of workers gives the same bits.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from bridge.maps.axes import labelled
from bridge.maps.bound import described_bound
from bridge.maps.files import METHOD, FinishedSlices, MapQuestion, cached_map, save_map
from bridge.netcdf import checked_netcdf_path
from mtjsim.calls import shows_its_call
from mtjsim.checks import DIRECTIONS, ArgumentError, Array, checked_whole
from mtjsim.device import MTJ
from mtjsim.energy import dissipated_energy
from mtjsim.files import require_writable
from mtjsim.fokker_planck.spectral import one_blas_thread
from mtjsim.switching import write_error_rate

if TYPE_CHECKING:
    import xarray as xr

WORKERS = 2  # threads: the solvers release the interpreter's lock, the rest does not, so that more do not help


@shows_its_call
def write_error_map(
    device: MTJ,
    currents: ArrayLike | None = None,
    pulse_widths: ArrayLike | None = None,
    temperatures: ArrayLike = 300.0,
    *,
    voltages: ArrayLike | None = None,
    rise_time: float = 0.0,
    relax_time: float = 0.0,
    energy: bool = False,
    cache: str | os.PathLike[str] | None = None,
    workers: int = WORKERS,
) -> xr.Dataset:
    """Solve a junction on a grid.

    Parameters
    ----------
    device : MTJ
        Any junction (one that is not axisymmetric takes seconds a write).
    currents, pulse_widths, temperatures : (n,) arrays or floats
        Axes [A], [s], [K]; strictly increasing.
    voltages : (n,) array or float
        In place of `currents` [V]; the axis is then called voltage.
    rise_time, relax_time : float
        As in `mtjsim.write_error_rate` [s].
    energy : bool
        Also the mean Joule energy in the junction; costs about as much again.
    cache : str or path, optional
        File of the map (NetCDF): read if it is the map of exactly these arguments, refused if it is another, written
        if it does not exist. A run that was killed resumes.
    workers : int
        Threads, >= 1. The same bits for any number.

    Returns
    -------
    xarray.Dataset
        `write_error_rate`, and `energy` [J] with `energy=True`, over direction, current (or voltage), pulse_width,
        temperature, with units as attributes, the junction and the identity of the map. The attribute
        `interpolation_bound` is the largest relative error of `ErrorMap.rate` between the nodes, down to 1e-30, and
        `interpolation_advice` names the axes to make finer.

    Raises
    ------
    ValueError
        If an axis is empty, not strictly increasing or out of range; if the cache is another map (names what
        differs, with both values); and as in `mtjsim.write_error_rate`. Nothing is written then.
    OSError
        If the cache's folder cannot be written.

    Notes
    -----
    A slice of a rectangular pulse takes milliseconds. With ramps or relaxation a slice that reaches below about 1e-17
    (thermal activation over the barrier no longer negligible) is solved by the finite volume, in ten seconds and more;
    one on the full sphere takes seconds too. Then a bar shows the progress, and a `cache` keeps what is done.

    Examples
    --------
    >>> device = MTJ.from_effective(thermal_stability=60, critical_current=30e-6, characteristic_time=2e-9)
    >>> rates = write_error_map(device, [60e-6, 75e-6], [5e-9, 10e-9]).write_error_rate
    >>> print(f"{float(rates.sel(direction='p_to_ap', current=75e-6, pulse_width=10e-9).item()):.2e}")
    2.16e-05
    """
    if (currents is None) == (voltages is None):
        raise ArgumentError("currents", "or voltages must be given, one of them: the first axis of the map [A] or [V].")
    if pulse_widths is None:
        raise ArgumentError("pulse_widths", "is missing: give the second axis of the map in s.")
    drive, levels = ("current", currents) if voltages is None else ("voltage", voltages)
    axes: Any = {"levels": levels, "pulse_widths": pulse_widths, "temperatures": temperatures}
    question = MapQuestion(device, drive, **axes, rise_time=rise_time, relax_time=relax_time, energy=bool(energy))
    checked_whole("workers", workers, least=1)
    path = None if cache is None else checked_netcdf_path("cache", cache)
    if path is not None:
        if (stored := cached_map(path, question)) is not None:
            _slices_file(question, path).discard()  # of a run that was killed after the map was saved
            return stored
        require_writable(path.parent, option="cache folder")
    dataset = _dataset(question, _solved(question, path, workers))
    if path is not None:
        save_map(dataset, path)
        _slices_file(question, path).discard()
    return dataset


def _dataset(question: MapQuestion, values: Array) -> xr.Dataset:
    energies = {}
    if question.energy:
        energies["energy"] = (values[1], {"units": "J", "scope": "junction only, mean over all writes"})
    q = question
    dataset = labelled(values[0], q.drive, q.levels, q.pulse_widths, q.temperatures, DIRECTIONS, **energies)
    bound, advice = described_bound(dataset)
    return dataset.assign_attrs(
        kind="solved",
        device_identity=q.device.identity,
        device=q.device.model_dump_json(),
        rise_time=q.rise_time,
        relax_time=q.relax_time,
        method=METHOD,
        identity=q.identity,
        interpolation_bound=bound,
        interpolation_advice=advice,
    )


# ---- slices ----------------------------------------------------------------------------------------------------------


def _slices_file(question: MapQuestion, path: Path) -> FinishedSlices:
    return FinishedSlices(path, question.identity, (1 + question.energy) * len(question.pulse_widths))


def _solved(question: MapQuestion, path: Path | None, workers: int) -> Array:
    """Rates, and energies with `energy`: (1 or 2, direction, level, width, temperature)."""
    q = question
    # the strongest write first: a write that cannot be solved is refused before anything is saved
    places = [
        (d, i, t)
        for i in reversed(range(len(q.levels)))
        for t in range(len(q.temperatures))
        for d in range(len(DIRECTIONS))
    ]
    kept = None if path is None else _slices_file(q, path)
    done = {} if kept is None else kept.read()
    todo = [number for number in range(len(places)) if number not in done]
    try:
        for number, values in _in_threads(q, places, todo, workers):
            done[number] = values
            if kept is not None:
                kept.add(number, values)
    except ValueError:
        if kept is not None:
            kept.discard()
        raise
    out = np.empty((1 + q.energy, len(DIRECTIONS), len(q.levels), len(q.pulse_widths), len(q.temperatures)))
    for number, (d, i, t) in enumerate(places):
        out[:, d, i, :, t] = done[number].reshape(1 + q.energy, -1)
    return out


def _in_threads(
    question: MapQuestion, places: list[tuple[int, int, int]], todo: list[int], workers: int
) -> Iterator[tuple[int, Array]]:
    from tqdm import tqdm

    bar = tqdm(total=len(places), initial=len(places) - len(todo), desc="write error map", disable=None, leave=False)
    # the limit on BLAS belongs to the process: it is set once around all threads
    with bar, one_blas_thread(), ThreadPoolExecutor(workers) as pool:
        waiting: dict[Future[Array], int] = {}
        queue = iter(todo)
        try:
            for number in islice(queue, 2 * workers):
                waiting[pool.submit(_slice, question, *places[number])] = number
            while waiting:
                finished, _ = wait(waiting, return_when=FIRST_COMPLETED)
                for future in finished:
                    number, values = waiting.pop(future), future.result()
                    if (following := next(queue, None)) is not None:
                        waiting[pool.submit(_slice, question, *places[following])] = following
                    bar.update()
                    yield number, values
        finally:
            pool.shutdown(cancel_futures=True)


def _slice(question: MapQuestion, d: int, i: int, t: int) -> Array:
    """All widths of one level, direction and temperature: the rates, then the energies with `energy`."""
    q = question
    common: Any = {
        q.drive: float(q.levels[i]),
        "pulse_width": q.pulse_widths,
        "direction": DIRECTIONS[d],
        "temperature": float(q.temperatures[t]),
        "rise_time": q.rise_time,
    }
    rates = np.asarray(write_error_rate(q.device, relax_time=q.relax_time, **common))
    if not q.energy:
        return rates
    return np.concatenate([rates, np.asarray(dissipated_energy(q.device, **common))])
