"""Axisymmetric Fokker-Planck as a birth-death chain: an independent method without subtractions.

[-1, 1] is cut into cells of equal width (to a thousandth, where a judgement off y = 0 is an edge). The equation of
`reduced.py` becomes a chain that hops between neighbours with exponentially fitted rates (Scharfetter & Gummel 1969),
so the Boltzmann law is its exact stationary state. Implicit Euler steps (chain.py) only add positive terms; hence both
tails, the bits that failed to switch and the bits that switched too early, keep their relative accuracy at any depth.

Time is cut into strides, chosen on a coarse mesh such that the logarithm of the wanted probability changes little
between one step and two: short while the density moves, long while it rests. The errors of step and mesh are both
smooth: the logarithms are extrapolated (Neville) over nine cuts of every stride and over three meshes, and the last
corrections are the error estimate. Above `TARGET` strides or mesh are refined.

References
----------
D. L. Scharfetter, H. K. Gummel, IEEE Trans. Electron Devices 16, 64 (1969).
W. K. Grassmann, M. I. Taksar, D. P. Heyman, Oper. Res. 33, 1107 (1985).
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.polynomial.chebyshev import chebpts1, chebvander
from scipy.special import exprel, roots_legendre

from mtjsim.checks import Array
from mtjsim.fokker_planck.chain import CUTS, LARGEST_RISE, advance, choose_strides, extrapolate
from mtjsim.fokker_planck.reduced import AxialWrite, Piece, unresolved

CELL_PECLET = 0.5  # 2 Delta |G| h, change of log density across a cell of the coarsest mesh
MESHES = (2, 3, 4)  # parts into which the cells are cut
CELLS = (200, 60_000)  # fewest and most of the coarsest mesh
CHANGE = 0.1  # by which one step and two differ at most in a stride
MOST_STRIDES = 16_000
PILOT_CELLS = 400  # most cells of the mesh that chooses the strides
LEVEL_TERMS = 17  # Chebyshev polynomials of the level, where the force is not linear in it
SCALE = 2.0**150  # of all masses: 1e-300 of them is far above the smallest doubles
TARGET = 3e-5  # estimated relative error above which mesh or strides are refined; the true one is a twentieth, about
CHEAP_TARGET = 1e-6  # the same of steps, where strides are cheap: the estimate was seen six times too small at 2e-6
CHEAP = 2e6  # cells of the three meshes times strides: a tenth of a second
REFINEMENTS = 3
MOST_WORK = 1e8  # cells of the three meshes times strides: beyond, a solve takes ten seconds
RAMP_WORK = 10  # a stride of a ramp over one at a constant level
UNDERFLOW = -760.0  # log of a probability below which it is 0


@dataclass(frozen=True)
class Tails:
    """Both probabilities at each pulse width, each with its own relative accuracy.

    Attributes
    ----------
    log_stayed, log_switched : (k,) arrays
        Log of the probability to be on the starting side, and on the other side, when the pulse is judged.
    error_stayed, error_switched : (k,) arrays
        Estimated relative errors of the two.
    """

    log_stayed: Array
    log_switched: Array
    error_stayed: Array
    error_switched: Array


def mesh_size(write: AxialWrite, peclet: float = CELL_PECLET) -> int:
    """Cells of the coarsest mesh: enough that the log density changes by at most `peclet` in one; a multiple of 4."""
    levels = [a for piece in (*write.before, *write.after) for a in piece[1:]] + ([] if write.shape else [1.0])
    y = np.linspace(-1.0, 1.0, 65)
    largest_force = max(np.abs(write.force(y, a * write.drive)).max() for a in {0.0, min(levels), max(levels)})
    needed = 4 * int(np.ceil(write.thermal_stability * largest_force / peclet))
    return min(max(needed, CELLS[0]), CELLS[1])


def solve_tails(
    write: AxialWrite, plateaus: Array, *, tail: str = "both", peclet: float = CELL_PECLET, change: float = CHANGE
) -> Tails:
    """Stay and switch probabilities for plateau lengths in any order, extrapolated in step and mesh.

    Parameters
    ----------
    write : AxialWrite
        The write in reduced units.
    plateaus : (k,) array
        Plateau lengths in units of tau_D, >= 0.
    tail : {"both", "stayed", "switched"}
        What the strides of time follow; the other has a larger error.
    peclet, change : float
        In place of `CELL_PECLET` and `CHANGE`.

    Returns
    -------
    Tails
    """
    ends, place = np.unique(np.asarray(plateaus, dtype=float), return_inverse=True)
    wanted = {"stayed": [0], "switched": [1], "both": [0, 1]}[tail]
    for remaining in range(REFINEMENTS, -1, -1):
        cells = mesh_size(write, peclet) // MESHES[0]
        schedule = Schedule.of(write, ends, tail, change)
        work = cells * sum(MESHES) * schedule.work
        if work > MOST_WORK:
            raise unresolved(write, f"it takes {schedule.work} steps on {cells * MESHES[-1]} cells")
        coarsest = schedule.solve(cells, MESHES[0])
        of_step = _of_larger(*_without_steps(coarsest))
        target = CHEAP_TARGET if 2 * work <= CHEAP else TARGET
        if remaining and 2 * work <= MOST_WORK and not of_step[wanted].max() < target:
            change /= 4  # twice as many strides
            continue
        solved = [coarsest, *(schedule.solve(cells, refined) for refined in MESHES[1:])]
        logs, of_mesh, of_step = _extrapolated(solved)
        if not remaining or 2 * work > MOST_WORK or of_mesh[wanted].max() < TARGET or cells * MESHES[0] >= CELLS[1]:
            break
        peclet /= 2
    logs, error = logs[:, place], (of_mesh + of_step)[:, place]
    return Tails(logs[0], logs[1], error[0], error[1])


def _extrapolated(solved: list[Array]) -> tuple[Array, Array, Array]:
    """Log of (stayed, switched), and the last corrections for the mesh and for the step; (2, k) each."""
    by_mesh = [_without_steps(logs) for logs in solved]
    logs, of_mesh = extrapolate([value for value, _ in by_mesh], 1 / np.array(MESHES), 2)
    lost = by_mesh[-1][0] == -np.inf
    logs, of_mesh = np.where(lost, -np.inf, logs), np.where(lost, 0.0, of_mesh)
    return logs, _of_larger(logs, of_mesh), _of_larger(logs, by_mesh[-1][1])


def _without_steps(logs: Array) -> tuple[Array, Array]:
    """Extrapolate the logs (cuts, 2, k) of one mesh to steps of length 0: (2, k), and the last correction."""
    value, error = extrapolate(logs, 1 / np.array(CUTS), 1)
    lost = logs[0] < UNDERFLOW  # by the finest steps, which leave more than there is
    return np.where(lost, -np.inf, value), np.where(lost, 0.0, error)


def _of_larger(logs: Array, error: Array) -> Array:
    """Relative errors (2, k): the two probabilities add up to one, so the larger has the smaller's absolute error."""
    with np.errstate(invalid="ignore"):
        shared = error[::-1] * np.exp(np.minimum(logs[::-1] - logs, 0.0))
    return np.where(logs < logs[::-1], error, np.fmin(error, shared))


def solve_switched(write: AxialWrite, durations: Array) -> tuple[Array, Array]:
    """Log of the switch probability at constant drive for durations of any length, and its relative error; (k,) each.

    Ramps and relaxation of the write are left out; `durations` are in units of tau_D, in any order.
    """
    constant = replace(write, rise_time=0.0, relax_time=0.0, shape=())
    tails = solve_tails(constant, durations, tail="switched")
    return tails.log_switched, tails.error_switched


class Strides(NamedTuple):
    """Consecutive pieces of time, each cut into equal steps by every entry of `CUTS`.

    Attributes
    ----------
    time, first, last : (s,) arrays
        Duration in tau_D, level at the beginning and at the end.
    """

    time: Array
    first: Array
    last: Array


class Mesh:
    """Rates on a mesh at every level of a write.

    Parameters
    ----------
    write : AxialWrite
        The write.
    cells, refined : int
        Cells of a mesh with `judged_at` as an edge, and the number of parts into which each is cut.
    """

    def __init__(self, write: AxialWrite, cells: int, refined: int) -> None:
        pieces = (*write.before, *write.after)
        levels = [a for piece in pieces for a in piece[1:]] + ([] if write.shape else [1.0])
        self.lowest, self.highest = min(levels), max(levels)
        self.cells, self.lower = refined * cells, refined * lower_cells(write.judged_at, cells)
        edges = mesh_edges(write, self.cells, self.lower)
        width, centres = np.diff(edges), (edges[1:] + edges[:-1]) / 2
        hop = (1 - edges[1:-1] ** 2) / (2 * write.thermal_stability * np.diff(centres))
        self.hops = np.stack([hop / width[:-1], hop / width[1:]])
        terms = 1 if self.lowest == self.highest else 2 if write.conduction is None else LEVEL_TERMS
        nodes = (self.lowest + self.highest + (self.highest - self.lowest) * chebpts1(terms)) / 2
        rises = np.array([np.diff(write.log_equilibrium(centres, a * write.drive)) for a in nodes])
        self.series = np.linalg.solve(chebvander(chebpts1(terms), terms - 1), rises)
        self.flat = bool(np.abs(self.series).sum(axis=0).max() <= LARGEST_RISE)
        self.start = masses_between(write, edges) * SCALE

    @property
    def rates(self) -> tuple[Array, float, float, Array]:
        """What the kernels of `chain.py` take: series, lowest and highest level, hops."""
        return self.series, self.lowest, self.highest, self.hops


@dataclass(frozen=True)
class Schedule:
    """A write cut into strides: before the plateau, between its lengths (`None` if two are equal), and after it."""

    write: AxialWrite
    before: Strides
    between: tuple[Strides, ...]
    after: Strides

    @property
    def work(self) -> int:
        """Number of strides, those of ramps with their weight."""
        every = (self.before, *self.between, self.after)
        return sum(int(np.where(s.first == s.last, 1, RAMP_WORK).sum()) for s in every)

    @classmethod
    def of(cls, write: AxialWrite, ends: Array, tail: str, change: float) -> "Schedule":
        """Choose the strides on a coarse mesh; `ends` are the plateau's lengths in rising order."""
        mesh = Mesh(write, min(PILOT_CELLS, mesh_size(write)), 1)
        m = np.zeros((mesh.start.size, 4))
        m[:, 0] = mesh.start
        tails = np.array([tail != "switched", tail != "stayed"])
        buffer = np.empty(MOST_STRIDES)
        stride = 0.25 / np.abs(write.force(np.array([-1.0, 1.0]), write.drive)).max()

        def cut(piece: Piece) -> Strides:
            nonlocal stride
            duration, a, b = piece
            if duration <= 0:
                return Strides(*np.zeros((3, 0)))
            count, stride = choose_strides(
                m, *mesh.rates, mesh.flat, mesh.lower, duration, a, b, stride, change, tails, buffer
            )
            if count < 0:
                raise unresolved(write, f"a phase of {duration:.3g} characteristic times takes too many steps")
            time = buffer[:count].copy()
            at = a + (b - a) * np.minimum(np.cumsum(time) / duration, 1.0)
            return Strides(time, np.concatenate([[a], at[:-1]]), at)

        def joined(pieces: Iterable[Piece]) -> Strides:
            parts = [cut(piece) for piece in pieces]
            return Strides(*np.concatenate(parts, axis=1)) if parts else cut((0.0, 0.0, 0.0))

        before = joined(write.before)
        between = tuple(cut((span, 1.0, 1.0)) for span in np.diff(ends, prepend=0.0))
        return cls(write, before, between, joined(write.after))

    def solve(self, cells: int, refined: int) -> Array:
        """Log of (stayed, switched) on one mesh, for each of the `CUTS` and lengths of the plateau: (cuts, 2, k)."""
        mesh = Mesh(self.write, cells, refined)
        m = np.repeat(mesh.start[:, None], len(CUTS), axis=1)
        rows = np.zeros((2, mesh.cells, len(CUTS)))
        rows[0, mesh.lower :] = rows[1, : mesh.lower] = 1.0
        for row in rows:
            advance(row, *mesh.rates, *self.after, mesh.flat, True)
        advance(m, *mesh.rates, *self.before, mesh.flat, False)
        out = np.empty((len(CUTS), 2, len(self.between)))
        for k, strides in enumerate(self.between):
            advance(m, *mesh.rates, *strides, mesh.flat, False)
            out[:, :, k] = np.einsum("tcn,cn->nt", rows, m)
        with np.errstate(divide="ignore"):
            return np.log(out) - np.log(SCALE)


def lower_cells(y: float, cells: int) -> int:
    """Cells below y, which is an edge."""
    return min(max(round(cells * (1 + y) / 2), 1), cells - 1)


def mesh_edges(write: AxialWrite, cells: int, lower: int | None = None) -> Array:
    """Edges of the cells, (cells + 1,): `lower` of equal width below `judged_at`, and equal ones above."""
    divide = write.judged_at
    lower = lower_cells(divide, cells) if lower is None else lower
    return np.append(np.linspace(-1.0, divide, lower + 1), np.linspace(divide, 1.0, cells - lower + 1)[1:])


def starting_masses(write: AxialWrite, cells: int) -> Array:
    """Boltzmann mass of every cell on y > `start_above`, normalised; nothing below."""
    return masses_between(write, mesh_edges(write, cells))


def masses_between(write: AxialWrite, edges: Array) -> Array:
    """Boltzmann mass of the start between edges (Gauss-Legendre inside each cell), normalised."""
    x, w = roots_legendre(8)
    edges = np.maximum(edges, write.start_above)
    width = np.diff(edges)
    y = edges[:-1, None] + width[:, None] * (1 + x) / 2
    mass = width * (write.starting_density(y) @ w)
    return mass / mass.sum()


def hopping_rates(write: AxialWrite, drive: float, cells: int) -> tuple[Array, Array]:
    """Rates, per tau_D, from each cell to the next higher and to the next lower one; two (cells,) arrays.

    Scharfetter-Gummel: across the face at y_f, (1 - y_f^2)/(2 Delta h^2) B(+-d) with d the rise of log-equilibrium from
    centre to centre and B(x) = x/(e^x - 1) the Bernoulli function; h^2 is width times distance of centres.
    """
    edges = mesh_edges(write, cells)
    width, centres = np.diff(edges), (edges[1:] + edges[:-1]) / 2
    rise = np.diff(write.log_equilibrium(centres, drive))
    hop = (1 - edges[1:-1] ** 2) / (2 * write.thermal_stability * np.diff(centres))
    up, down = np.zeros(cells), np.zeros(cells)
    up[:-1] = hop / exprel(-rise) / width[:-1]
    down[1:] = hop / exprel(rise) / width[1:]
    return up, down


@njit(cache=True)
def march(mass, up, down, step, count):
    """Advance `mass` in place by `count` implicit Euler steps, without a subtraction.

    Column j of 1 + dt L has 1 + u_j + l_j on the diagonal, -u_j below and -l_j above (u, l = dt times the rates).
    With the pivots p_j = u_j + s_j, s_0 = 1, s_j = 1 + l_j s_(j-1)/p_(j-1), elimination needs no difference.
    """
    n = mass.size
    inverse = np.empty(n)
    forward = np.empty(n)  # u_(j-1)/p_(j-1)
    backward = np.empty(n)  # l_(j+1)/p_j
    s = 1.0
    for j in range(n):
        if j > 0:
            s = 1.0 + step * down[j] * s * inverse[j - 1]
            forward[j] = step * up[j - 1] * inverse[j - 1]
        inverse[j] = 1.0 / (step * up[j] + s)
        if j < n - 1:
            backward[j] = step * down[j + 1] * inverse[j]
    for _ in range(count):
        for j in range(1, n):
            mass[j] += forward[j] * mass[j - 1]
        mass[n - 1] *= inverse[n - 1]
        for j in range(n - 2, -1, -1):
            mass[j] = mass[j] * inverse[j] + backward[j] * mass[j + 1]
