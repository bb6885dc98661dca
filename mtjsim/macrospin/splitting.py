"""Rare write errors of any device and any pulse, by splitting: trajectories that may still fail are copied.

Legend: h_k(m) probability that a trajectory at m at instant k still fails (`importance.py`), V weight of a trajectory,
N trajectories of a repeat.

At fixed instants N trajectories of weights V_i are drawn from the N that there are, i about g_i N/sum(g) times,

    g_i = (1 - DEFENSIVE) V_i h_k(m_i)/mean(V h_k) + DEFENSIVE V_i/mean(V),

and weigh V_i mean(g)/g_i from there on. For any h the expected weight at every place is unchanged: the mean of V over
the trajectories that end on their starting side is an *unbiased* estimate of the error rate, on any device, including
trajectories that come back. With an exact h (and dense instants) the relative variance would be about
2 ln(1/rate)/N; the estimated h comes near. The defensive part keeps every V below mean(V)/DEFENSIVE: where h is wrong,
the result is at most about ten times worse than plain counting.

h comes from a pilot run of another seed. The repeats are independent, each with its own random numbers; their spread
gives the interval. Copies differ from the next step on, because lanes keep their own generators.

References
----------
P. Del Moral, Feynman-Kac Formulae, Springer 2004, for splitting at fixed times and its unbiasedness; P. Grassberger,
Comput. Phys. Commun. 147, 64 (2002), "go with the winners"; T. Hesterberg, Technometrics 37, 185 (1995), defensive
mixtures.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from mtjsim.calls import shows_its_call
from mtjsim.checks import Array, Direction, Suggesting, checked_whole
from mtjsim.device import MTJ
from mtjsim.macrospin.importance import Importance, cells_across, copy_states, draw, learn
from mtjsim.macrospin.kernels import CHUNK, Ensemble
from mtjsim.macrospin.simulate import Run, in_threads
from mtjsim.macrospin.time_steps import StepTable, step_table
from mtjsim.pulse import Pulse, pulse_of
from mtjsim.rng import child, generator
from mtjsim.torques import Torque
from mtjsim.transport import conductance_terms

DEFENSIVE = 0.1  # share of the trajectories that are kept as in plain counting
PILOT = 32  # chunks of the pilot
STRIDE = 0.5  # contraction of the flow (1 in tau_D/(1 + i), about) between two instants
FEWEST, MOST = 8, 256  # instants
CONFIDENCE = 0.95


@dataclass(frozen=True)
class RareRate(Suggesting):
    """An error rate estimated by splitting.

    Attributes
    ----------
    rate : float
        Mean of the estimates. Where it is 0 nothing survived: read `high`, an upper bound, never a rate of 0.
    low, high : float
        Nominal 95 % interval: Student's t over the repeats, for ln(rate).
    estimates : tuple of float
        Of the independent repeats, each unbiased.
    instants : tuple of float
        Times at which trajectories were drawn [s].
    surviving : tuple of float
        Fraction of the trajectories that had a copy after each instant, mean over the repeats.
    trajectories : int
        In each repeat.
    time_step : float
        Largest step [s].
    """

    rate: float
    low: float
    high: float
    estimates: tuple[float, ...]
    instants: tuple[float, ...]
    surviving: tuple[float, ...]
    trajectories: int
    time_step: float

    def __repr__(self) -> str:
        found = f"rate={self.rate:.4g}, low={self.low:.4g}, high={self.high:.4g}"
        return f"RareRate({found}, {self.repeats} repeats of {self.trajectories} trajectories)"

    @property
    def repeats(self) -> int:
        """Number of independent estimates."""
        return len(self.estimates)

    @property
    def spread(self) -> float:
        """Standard error of ln(rate): relative standard deviation of one repeat over sqrt(repeats); inf at rate 0."""
        if self.rate == 0:
            return math.inf
        return float(np.std(self.estimates, ddof=1) / self.rate / math.sqrt(self.repeats))


@shows_its_call
def rare_write_errors(
    device: MTJ,
    *,
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
    trajectories: int = 4096,
    repeats: int = 16,
    precision: str = "double",
    threads: int | None = None,
    start: str = "side",
) -> RareRate:
    """Estimate how often a write fails, far below what can be counted, for any device and pulse.

    Parameters
    ----------
    device : MTJ
        Any junction; every effect it declares is simulated.
    seed : int
        Same seed, same bits, for any number of threads.
    direction : {"p_to_ap", "ap_to_p"}
        Of the write.
    current, voltage, pulse_width, pulse, temperature, rise_time, relax_time, time_step
        As in `simulate_writes`.
    trajectories : int
        In each repeat, rounded up to a multiple of 1024.
    repeats : int
        Independent estimates, >= 4: their spread is the interval.
    precision : {"double", "single"}
        Of the trajectories; single is good to error rates of 1e-5.
    threads : int, optional
        Default: one a core.
    start : {"side", "well"}
        As in `write_error_rate`.

    Returns
    -------
    RareRate

    Raises
    ------
    ValueError
        As in `simulate_writes`, and if `trajectories` or `repeats` is not a whole number in its range.

    Notes
    -----
    An error is what `simulate_writes` counts: the sign of m_z at the end of pulse and relaxation, not first passage.
    The relative standard error is about sqrt(50/(trajectories repeats)) at 1e-10 where the learnt potential is good:
    compare `spread`. It is worse where a write is ballistic (precessional or spin-orbit, over in a few turns): failures
    then follow spirals finer than the potential's map, and below 1e-5 `rate` may be 0 with the bound of plain counting.
    Above a few times 1e-3 plain counting costs less. Where a temperature follows each trajectory the potential depends
    on its magnetisation only: still unbiased.

    Examples
    --------
    >>> device = MTJ.from_effective(
    ...     thermal_stability=60, critical_current=30e-6, characteristic_time=0.4e-9, damping=0.05
    ... )
    >>> deep = rare_write_errors(device, current=75e-6, pulse_width=3.64e-9, seed=1, trajectories=1024)
    >>> abs(deep.rate / 9.63e-11 - 1) < 0.35  # the Fokker-Planck solver's; the standard error is 0.07
    True
    """
    pulse = pulse_of(current, voltage, pulse_width, pulse, rise_time).followed_by(relax_time=relax_time)
    run = _Run.checked(device, pulse, seed, direction, temperature, precision, trajectories, time_step, start)
    checked_whole("repeats", repeats, least=4)
    potential = run.learnt(threads)
    results = in_threads(lambda r: run.repeat(potential, r), repeats, threads, "repeats")
    estimates = np.array([estimate for estimate, _, _ in results])
    rate, low, high = rate_interval(
        estimates, max(heaviest for _, heaviest, _ in results), repeats * run.chunks * CHUNK
    )
    surviving = np.mean([fractions for _, _, fractions in results], axis=0)
    edges = run.table.edges[run.stops[:-1]]
    return RareRate(
        rate,
        low,
        high,
        tuple(estimates.tolist()),
        tuple(edges.tolist()),
        tuple(surviving.tolist()),
        run.chunks * CHUNK,
        run.table.time_step,
    )


def rate_interval(estimates: Array, heaviest: float, trajectories: int) -> tuple[float, float, float]:
    """Rate and interval; without survivors the bound is that of 0 errors in plain trials of the heaviest weight."""
    rate, repeats = float(estimates.mean()), len(estimates)
    if rate == 0:
        return 0.0, 0.0, min(1.0, -math.log((1 - CONFIDENCE) / 2) * heaviest / trajectories)
    error = float(estimates.std(ddof=1)) / rate / math.sqrt(repeats)
    factor = math.exp(error * float(student.ppf((1 + CONFIDENCE) / 2, repeats - 1)))
    return rate, rate / factor, min(1.0, rate * factor)


@dataclass(frozen=True)
class _Run:
    """Common to the pilot and the repeats."""

    common: Run
    chunks: int
    table: StepTable
    stops: NDArray[np.int64]

    @classmethod
    def checked(
        cls,
        device: MTJ,
        pulse: Pulse,
        seed: int,
        direction: Direction,
        temperature: float,
        precision: str,
        trajectories: int,
        time_step: float | None,
        start: str,
    ) -> _Run:
        common = Run.checked(device, pulse, seed, direction, temperature, precision, start)
        chunks = -(-checked_whole("trajectories", trajectories, least=1) // CHUNK)
        table = step_table(device, pulse, direction=direction, temperature=temperature, time_step=time_step)
        return cls(common, chunks, table, _stops(table, _contraction(device, pulse, common.law.torque, table)))

    @property
    def parts(self) -> list[StepTable]:
        return [self.table.cut(first, last) for first, last in pairwise(self.stops)]

    def start(self, job: int, chunks: int, precision: str) -> tuple[Ensemble, np.random.Generator]:
        """Trajectories of one job and the generator of its choices: job 0 is the pilot, r + 1 repeat r."""
        words = child(self.common.seed, "splitting", job).generate_state(4, np.uint32)
        seed = sum(int(word) << (32 * i) for i, word in enumerate(words))
        run = replace(self.common, seed=seed, precision=precision)
        parts = [run.start(chunk) for chunk in range(chunks)]
        joined = (np.concatenate([getattr(part, name) for part in parts]) for name in ("m", "words", "state"))
        return Ensemble(*joined), generator(seed, "splitting", 0)

    def learnt(self, threads: int | None) -> Importance:
        ensemble, random = self.start(0, PILOT, "single")
        across = cells_across(self.common.law.torque)
        return learn(ensemble, self.parts, side=self.common.side, across=across, random=random, threads=threads)

    def repeat(self, potential: Importance, r: int) -> tuple[float, float, list[float]]:
        """One estimate, the heaviest weight at the end, the fraction of trajectories copied at each instant."""
        ensemble, random = self.start(r + 1, self.chunks, self.common.precision)
        weight = np.ones(self.chunks * CHUNK)
        surviving = []
        for k, part in enumerate(self.parts):
            g = _chances(weight, potential(k, ensemble.m))
            origin = draw(g, random.random())
            weight = weight[origin] / g[origin]
            copy_states(ensemble, origin)
            surviving.append(float(np.count_nonzero(np.diff(origin)) + 1) / len(origin))
            ensemble.advance(part)
        failed = self.common.side * ensemble.vectors[:, 2] > 0
        return float((weight * failed).mean()), float(weight.max()), surviving


def _chances(weight: Array, h: Array) -> Array:
    """Return the copies to expect of each trajectory, mean 1."""
    plain, hopeful = weight / weight.mean(), weight * h
    if hopeful.max() == 0:  # no pilot trajectory fails from here
        return plain
    return (1 - DEFENSIVE) * hopeful / hopeful.mean() + DEFENSIVE * plain


def _contraction(device: MTJ, pulse: Pulse, torque: Torque, table: StepTable) -> Array:
    """Approximate rate at which damping and spin torque contract or expand the flow on the sphere, each step [1/s]."""
    static = sum(abs(b) for b in torque.field)
    level = np.abs(pulse.at((table.edges[1:] + table.edges[:-1]) / 2))
    if pulse.drive == "voltage":
        R = device.channel_resistance
        level = level * (sum(conductance_terms(device, pulse.peak)) if R is None else 1 / R)
    spin = torque.per_ampere * level / (1 - abs(torque.asymmetry))
    fields = static + abs(torque.anisotropy_field) + abs(torque.in_plane_anisotropy_field)
    return torque.rate * (torque.damping * fields + spin)


def _stops(table: StepTable, contraction: Array) -> NDArray[np.int64]:
    """Choose the steps after which trajectories are drawn, from 0 to the end, even in the contraction of the flow."""
    clock = np.concatenate([[0.0], np.cumsum(contraction * np.diff(table.edges))])
    count = int(min(max(math.ceil(clock[-1] / STRIDE), FEWEST), MOST))
    stops = np.searchsorted(clock, np.linspace(0, clock[-1], count + 1) * (1 - 1e-12))
    return np.unique(np.concatenate([[0], stops, [len(table.rows)]]))
