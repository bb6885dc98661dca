"""Axisymmetric Fokker-Planck as a birth-death chain: an independent method without subtractions.

[-1, 1] is cut into cells of equal width (to a thousandth, where a judgement off y = 0 is an edge); the equation of
`reduced.py` becomes a chain that hops between neighbours with exponentially fitted rates (Scharfetter & Gummel 1969),
so the Boltzmann law is its exact stationary state.
Implicit Euler steps solve (1 + dt L) x = b with tridiagonal factors built from off-diagonals and column sums only (the
idea of Grassmann, Taksar & Heyman 1985): all terms are positive, hence *both* tails, the bits that failed to switch
and the bits that switched too early, keep their relative accuracy at any depth.

The errors of mesh and step remain, both smooth: the logarithms are extrapolated (Richardson) in the number of steps and
in the number of cells, and the last difference is the error estimate.

References
----------
D. L. Scharfetter, H. K. Gummel, IEEE Trans. Electron Devices 16, 64 (1969).
W. K. Grassmann, M. I. Taksar, D. P. Heyman, Oper. Res. 33, 1107 (1985).
"""

from dataclasses import dataclass

import numpy as np
from numba import njit
from scipy.special import exprel, roots_legendre

from mtjsim.checks import Array
from mtjsim.fokker_planck.reduced import AxialWrite, Piece

CELLS = (1600, 12800)  # fewest and most of the coarser mesh; the finer has twice as many
CELL_PECLET = 0.5  # 2 Delta |G| h, change of log density across a cell of the coarser mesh
RATE_STEPS = 0.75  # steps of the coarsest grid in the time in which the drift e-folds
MOST_STEPS = 1000
LEAST_SHARE = 16  # steps of the coarsest grid between two widths
STEPS = 96  # fewest of the coarsest time grid; each of the finer ones has twice as many as the one before
LEVELS = 6  # time grids
FIRST_BLOCK = 0.25  # of steps that double, over 1 + i, in tau_D
BLOCK_STEPS = (8, 16, 32, 64)  # steps of the coarsest grid in a block, between tau and 2 tau; more until
BLOCK_ERROR = 5e-5  # the last correction is below this, which leaves about a quarter of it
BLOCK_LEVELS = 5  # time grids of the doubling steps


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


def mesh_size(write: AxialWrite) -> int:
    """Cells of the coarser mesh: enough that the log density changes by at most CELL_PECLET in one; even."""
    largest_force = np.abs(write.force(np.linspace(-1.0, 1.0, 65), write.drive)).max()
    needed = int(np.ceil(2 * write.thermal_stability * largest_force / CELL_PECLET)) * 2
    return min(max(needed, CELLS[0]), CELLS[1])


def time_steps(write: AxialWrite, longest: float) -> int:
    """Return the steps of the coarsest time grid: enough to follow the drift at the poles, where tails originate."""
    fastest = 2 * np.abs(write.force(np.array([-1.0, 1.0]), write.drive)).max()
    return int(np.clip(np.ceil(RATE_STEPS * fastest * longest), STEPS, MOST_STEPS))


def solve_tails(write: AxialWrite, plateaus: Array, *, cells: int | None = None, steps: int | None = None) -> Tails:
    """Stay and switch probabilities for sorted plateau lengths, extrapolated in step and mesh.

    Parameters
    ----------
    write : AxialWrite
        The write in reduced units.
    plateaus : (k,) array
        Plateau lengths in units of tau_D, >= 0.
    cells, steps : int
        Cells of the coarser mesh (even; default: `mesh_size`), steps of the plateau's coarsest grid (`time_steps`).

    Returns
    -------
    Tails
    """
    plateaus = np.asarray(plateaus, dtype=float)
    by_mesh = []
    cells = mesh_size(write) if cells is None else cells
    steps = time_steps(write, float(plateaus.max())) if steps is None else steps
    for m in (cells, 2 * cells):
        logs = np.array([solve_grid(write, plateaus, m, steps, 2**level) for level in range(LEVELS)])
        by_mesh.append(_richardson_in_step(logs))
    (coarse, _), (fine, step_error) = by_mesh
    best = fine + (fine - coarse) / 3  # the scheme is of second order in the width of a cell
    error = np.abs(best - fine) / 4 + step_error
    # the two add up to one, so the larger has the absolute error of the smaller
    of_larger = error * np.exp(np.minimum(best - best[::-1], 0.0))
    error = np.where(best < best[::-1], error, of_larger[::-1])
    return Tails(best[0], best[1], error[0], error[1])


def solve_switched(write: AxialWrite, durations: Array, *, cells: int | None = None) -> tuple[Array, Array]:
    """Switch probability at constant drive for durations of any length, steps growing with the time passed.

    Blocks of equal steps end at tau, 2 tau, 4 tau ... and at each duration, so that 1e17 tau_D take 60 blocks. Inside
    a block the error of a step has the expansion that the Romberg table assumes, and blocks of all grids end together.

    Parameters
    ----------
    write : AxialWrite
        The write in reduced units; its ramps and relaxation are left out.
    durations : (k,) array
        In units of tau_D, > 0, in any order.
    cells : int
        Of the coarser mesh (even; default: `mesh_size`).

    Returns
    -------
    log_switched, error : (k,) arrays
        Log of the probability to be on the other side, and its estimated relative error.
    """
    cells = mesh_size(write) if cells is None else cells
    first = FIRST_BLOCK / (1.0 + write.drive)
    octaves = max(0, int(np.ceil(np.log2(durations.max() / first))))
    ends = np.union1d(first * 2.0 ** np.arange(octaves), durations)
    wanted = np.searchsorted(ends, durations)
    with np.errstate(invalid="ignore"):  # where less than 1e-308 has arrived the error is NaN
        for steps in BLOCK_STEPS:
            coarse, _ = _extrapolated_blocks(write, ends, cells, steps)
            fine, step_error = _extrapolated_blocks(write, ends, 2 * cells, steps)
            if not (step_error[wanted] > BLOCK_ERROR).any():
                break
        best = fine + (fine - coarse) / 3
        return best[wanted], (np.abs(best - fine) / 4 + step_error)[wanted]


def _extrapolated_blocks(write: AxialWrite, ends: Array, cells: int, steps: int) -> tuple[Array, Array]:
    """Log of the switched mass at the end of every block, and the last correction; shapes of `ends`."""
    return _richardson_in_step(
        np.array([march_blocks(write, ends, cells, steps * 2**level) for level in range(BLOCK_LEVELS)])
    )


def march_blocks(write: AxialWrite, ends: Array, cells: int, steps: int) -> Array:
    """Log of the switched mass at the end of every block of `steps` equal steps; shape of `ends`."""
    mass = starting_masses(write, cells)
    up, down = hopping_rates(write, write.drive, cells)
    switched, lower = np.empty(ends.size), lower_cells(write.judged_at, cells)
    for k, span in enumerate(np.diff(ends, prepend=0.0)):
        march(mass, up, down, span / steps, steps)
        switched[k] = mass[:lower].sum()
    with np.errstate(divide="ignore"):
        return np.log(switched)


def _richardson_in_step(logs: Array) -> tuple[Array, Array]:
    """Romberg table over axis 0, error series in powers 1, 2, 3 of the step; returns value and last correction."""
    table = logs
    for order in range(1, len(logs)):
        previous = table[-1]
        with np.errstate(invalid="ignore"):  # -inf - -inf where all mass is lost: NaN, which the caller refuses
            table = table[1:] + (table[1:] - table[:-1]) / (2.0**order - 1)
    with np.errstate(invalid="ignore"):
        return table[0], np.abs(table[0] - previous)


def solve_grid(write: AxialWrite, plateaus: Array, cells: int, coarsest: int, refined: int) -> Array:
    """Log of (stayed, switched), (2, k), on one mesh, with `refined` times the steps of the coarsest grid."""
    mass = starting_masses(write, cells)
    for piece in write.before:
        _march_piece(mass, write, piece, cells, refined)
    out = np.empty((2, len(plateaus)))
    up, down = hopping_rates(write, write.drive, cells)
    before = 0.0
    for k in np.argsort(plateaus):  # every width ends a segment with its share of the steps
        span = plateaus[k] - before
        if span > 0:
            share = refined * max(LEAST_SHARE, int(np.ceil(coarsest * span / plateaus.max())))
            march(mass, up, down, span / share, share)
            before = plateaus[k]
        final = mass.copy() if write.after else mass
        for piece in write.after:
            _march_piece(final, write, piece, cells, refined)
        lower = lower_cells(write.judged_at, cells)
        with np.errstate(divide="ignore"):
            out[:, k] = np.log(final[lower:].sum()), np.log(final[:lower].sum())
    return out


def _march_piece(mass: Array, write: AxialWrite, piece: Piece, cells: int, refined: int) -> None:
    """Advance `mass` in place over one linear piece of the pulse; implicit: the level at the end of each step."""
    duration, a, b = piece
    steps = refined * time_steps(write, duration)
    if a == b:
        march(mass, *hopping_rates(write, a * write.drive, cells), duration / steps, steps)
        return
    for k in range(steps):
        level = a + (b - a) * ((k + 1) / steps)
        march(mass, *hopping_rates(write, level * write.drive, cells), duration / steps, 1)


def lower_cells(y: float, cells: int) -> int:
    """Cells below y, which is an edge."""
    return min(max(round(cells * (1 + y) / 2), 1), cells - 1)


def mesh_edges(write: AxialWrite, cells: int) -> Array:
    """Edges of the cells, (cells + 1,): equal widths below `judged_at`, and equal ones above."""
    divide, lower = write.judged_at, lower_cells(write.judged_at, cells)
    return np.append(np.linspace(-1.0, divide, lower + 1), np.linspace(divide, 1.0, cells - lower + 1)[1:])


def starting_masses(write: AxialWrite, cells: int) -> Array:
    """Boltzmann mass of every cell on y > `start_above` (Gauss-Legendre inside each), normalised; nothing below."""
    x, w = roots_legendre(8)
    edges = np.maximum(mesh_edges(write, cells), write.start_above)
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
