"""Writes simulated one by one: an ensemble of macrospins through a pulse, to error counts or to trajectories.

The second method besides the Fokker-Planck solvers, and the only one where temperature follows each trajectory.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from tqdm import tqdm

from mtjsim.calls import shows_its_call
from mtjsim.checks import (
    DIRECTIONS,
    Array,
    Direction,
    Suggesting,
    checked_choice,
    checked_kind,
    checked_number,
    checked_whole,
)
from mtjsim.counts import ErrorCount
from mtjsim.device import MTJ, require_junction
from mtjsim.fokker_planck.reduced import STARTS, require_known_well
from mtjsim.macrospin.kernels import CHUNK, PRECISIONS, Ensemble
from mtjsim.macrospin.start import BoltzmannStart, require_two_states
from mtjsim.macrospin.time_steps import step_table
from mtjsim.plausibility import doubt
from mtjsim.pulse import Pulse, pulse_of
from mtjsim.rng import checked_seed
from mtjsim.torques import torque_of
from mtjsim.wording import number_of


@shows_its_call
def simulate_writes(
    device: MTJ,
    *,
    trials: int,
    seed: int,
    direction: Direction = "p_to_ap",
    current: float | None = None,
    voltage: float | None = None,
    pulse_width: float | None = None,
    pulse: Pulse | None = None,
    temperature: float = 300.0,
    rise_time: float = 0.0,
    relax_time: float = 0.0,
    time_step: float | None = None,
    precision: str = "double",
    energy: bool = False,
    threads: int | None = None,
    start: str = "side",
) -> ErrorCount:
    """Write `trials` times and count the writes that failed.

    Parameters
    ----------
    device : MTJ
        Any junction; every effect it declares is simulated.
    trials : int
        Independent writes.
    seed : int
        Same seed, same counts, for any number of threads; the first trials of a longer run are those of a shorter one.
    direction : {"p_to_ap", "ap_to_p"}
        Of the write.
    current, voltage : float
        Amplitude of the pulse [A] or [V], >= 0; one of the two, with `pulse_width`.
    pulse_width : float
        Full width at half maximum [s].
    pulse : Pulse
        In place of current or voltage, pulse_width and rise_time.
    temperature : float
        Of the surroundings [K].
    rise_time, relax_time : float
        As in `write_error_rate` [s].
    time_step : float, optional
        Largest step [s]; default: as long as the magnetisation turns by 0.1 rad at most. It is in the result.
    precision : {"double", "single"}
        Of the trajectories; single is twice as fast and good to error rates of 1e-5.
    energy : bool
        Whether to sum the joules of each write too (slower).
    threads : int, optional
        Default: one a core.
    start : {"side", "well"}
        As in `write_error_rate`.

    Returns
    -------
    ErrorCount
        With exact binomial interval; `mean_energy` and its standard error if `energy`.

    Raises
    ------
    ValueError
        If an argument is out of its range, the time step is too coarse for the precession (with the largest allowed),
        only one state is stable at zero current, or a heated junction comes too near its Curie temperature.

    Examples
    --------
    >>> device = MTJ.from_effective(thermal_stability=60, critical_current=30e-6, characteristic_time=2e-9)
    >>> count = simulate_writes(device, current=75e-6, pulse_width=4e-9, trials=4096, seed=1)
    >>> count.low < 0.168 < count.high  # the Fokker-Planck solver's
    True
    """
    pulse = pulse_of(current, voltage, pulse_width, pulse, rise_time).followed_by(relax_time=relax_time)
    checked_whole("trials", trials, least=1)
    run = Run.checked(device, pulse, seed, direction, temperature, precision, start)
    table = step_table(device, pulse, direction=direction, temperature=temperature, time_step=time_step, energy=energy)

    def job(chunk: int) -> tuple[int, float, float]:
        ensemble = run.start(chunk)
        ensemble.advance(table)
        last = min(CHUNK, trials - chunk * CHUNK)
        joules = ensemble.joules[:last]
        failed = run.side * ensemble.vectors[:last, 2] > 0
        return int(failed.sum()), float(joules.sum()), float((joules**2).sum())

    sums = np.array(in_threads(job, -(-trials // CHUNK), threads, "writes")).sum(axis=0)
    if not energy:
        return ErrorCount(int(sums[0]), trials, table.time_step)
    mean = float(sums[1] / trials)
    if trials == 1:
        return ErrorCount(int(sums[0]), trials, table.time_step, mean, math.nan)
    variance = max(sums[2] / trials - mean**2, 0.0) / (trials - 1)
    return ErrorCount(int(sums[0]), trials, table.time_step, mean, math.sqrt(variance))


@dataclass(frozen=True)
class Trajectories(Suggesting):
    """Magnetisation in time.

    Attributes
    ----------
    time : (k,) array
        [s].
    m : (trials, k, 3) array
        Unit vectors.
    level : (k,) array
        Of the pulse, in the direction of the write [A or V].
    temperature, energy : (trials, k) arrays
        Of each trajectory [K], and joules dissipated until then [J].
    """

    time: Array
    m: Array
    level: Array
    temperature: Array
    energy: Array

    def __repr__(self) -> str:
        writes, end = number_of(len(self.m), "write"), f"{self.time[-1] * 1e9:.4g} ns"
        return f"Trajectories({writes}, {self.time.size} instants up to {end})"


@shows_its_call
def trajectories(
    device: MTJ,
    pulse: Pulse | None = None,
    *,
    trials: int,
    seed: int,
    direction: Direction = "p_to_ap",
    current: float | None = None,
    voltage: float | None = None,
    pulse_width: float | None = None,
    rise_time: float = 0.0,
    temperature: float = 300.0,
    time_step: float | None = None,
    samples: int = 400,
    threads: int | None = None,
) -> Trajectories:
    """Simulate single writes: m(t), for plots and teaching.

    Parameters
    ----------
    device : MTJ
        Any junction; every effect it declares is simulated.
    pulse : Pulse, optional
        A current or a voltage in time; `followed_by(relax_time=...)` adds time after it.
    current, voltage, pulse_width, rise_time : float, optional
        In its place, as in `simulate_writes`.
    trials : int
        Number of writes.
    seed : int
        Same seed, same trajectories, for any number of threads.
    direction : {"p_to_ap", "ap_to_p"}
        Of the write; the start is drawn from the Boltzmann law of the state that is left.
    temperature : float
        Of the surroundings [K].
    time_step : float, optional
        Largest step [s]; default: as long as the magnetisation turns by 0.1 rad at most.
    samples : int
        Instants to keep after the start, at most; the steps in between are taken but not kept.
    threads : int, optional
        Default: one a core.

    Returns
    -------
    Trajectories
        `time` (k,) [s] from 0 to the end of the pulse, `m` (trials, k, 3), `level` (k,) [A or V], `temperature`
        (trials, k) [K] and `energy` (trials, k) [J], with k <= samples + 1.

    Raises
    ------
    ValueError
        As in `simulate_writes`; or if `pulse` is not a Pulse, or `samples` not a whole number >= 1.

    Examples
    --------
    >>> device = MTJ.from_effective(thermal_stability=60, critical_current=30e-6, characteristic_time=2e-9)
    >>> seen = trajectories(device, current=90e-6, pulse_width=8e-9, trials=3, seed=1, samples=50)
    >>> seen.m.shape, bool((seen.m[:, 0, 2] > 0.8).all()), bool((seen.m[:, -1, 2] < -0.8).all())
    ((3, 51, 3), True, True)
    """
    pulse = pulse_of(current, voltage, pulse_width, pulse, rise_time)
    checked_whole("trials", trials, least=1)
    run = Run.checked(device, pulse, seed, direction, temperature, "double")
    table = step_table(device, pulse, direction=direction, temperature=temperature, time_step=time_step, energy=True)
    samples = checked_whole("samples", samples, least=1)
    stops = np.unique(np.linspace(0, len(table.rows), min(samples, len(table.rows)) + 1).astype(int))

    def job(chunk: int) -> tuple[Array, Array, Array]:
        ensemble = run.start(chunk)
        last = min(CHUNK, trials - chunk * CHUNK)
        kept = [(ensemble.vectors[:last], ensemble.kelvins[:last], ensemble.joules[:last])]
        for first, stop in pairwise(stops):
            ensemble.advance(table.cut(first, stop))
            kept.append((ensemble.vectors[:last], ensemble.kelvins[:last], ensemble.joules[:last]))
        m, kelvins, joules = zip(*kept, strict=True)
        return np.stack(m, axis=1), np.stack(kelvins, axis=1), np.stack(joules, axis=1)

    m, kelvins, joules = zip(*in_threads(job, -(-trials // CHUNK), threads, "trajectories"), strict=True)
    time = table.edges[stops]
    return Trajectories(time, np.concatenate(m), pulse.at(time), np.concatenate(kelvins), np.concatenate(joules))


@dataclass(frozen=True)
class Run:
    """Common to all chunks, here and in `splitting.py`: the start of trajectories and the seed of their streams."""

    law: BoltzmannStart
    side: float
    seed: int
    temperature: float
    precision: str

    @classmethod
    def checked(
        cls,
        device: MTJ,
        pulse: Pulse,
        seed: int,
        direction: Direction,
        temperature: float,
        precision: str,
        start: str = "side",
    ) -> Run:
        """Check the arguments common to all simulations; ValueError as in `simulate_writes`."""
        require_junction(device)
        checked_choice("precision", precision, PRECISIONS)
        checked_kind("pulse", pulse, Pulse, remedy="Pulse.rectangular() makes one.")
        checked_choice("direction", direction, DIRECTIONS)
        temperature = checked_number("temperature", temperature, "K", zero_allowed=False)
        doubt("temperature", temperature)
        side = 1.0 if direction == "p_to_ap" else -1.0
        torque = torque_of(device, temperature)
        require_two_states(device, torque, temperature)
        checked_choice("start", start, STARTS)
        above = 0.0
        if start == "well":
            require_known_well(device)
            above = -side * torque.field[2] / torque.anisotropy_field
        return cls(BoltzmannStart(torque, side, above), side, checked_seed(seed), temperature, precision)

    def start(self, chunk: int) -> Ensemble:
        """Return the trajectories of a chunk at the beginning of the pulse."""
        return Ensemble.start(
            self.law, seed=self.seed, chunk=chunk, temperature=self.temperature, precision=self.precision
        )


def in_threads(job: Callable[[int], Any], count: int, threads: int | None, label: str) -> list[Any]:
    """Results of `job(0)`, ..., `job(count - 1)` in order, computed by threads (default: one a core)."""
    workers = (os.cpu_count() or 1) if threads is None else checked_whole("threads", threads, least=1)
    with ThreadPoolExecutor(min(count, workers)) as pool:
        return list(tqdm(pool.map(job, range(count)), total=count, desc=label, disable=count == 1 or None, leave=False))
