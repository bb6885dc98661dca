"""Probability that a trajectory still fails: a map of the sphere at each of many instants, estimated by a pilot run.

Legend: h_k(m) probability that a trajectory which is at m at instant k ends on its starting side, s = +1 for a start in
P and -1 in AP, (u, v) place on the map in units of its cells.

The map is Lambert's equal-area projection about the starting pole, (X, Y) = (m_x, m_y) sqrt(2/(1 + s m_z)), cut into
square cells a quarter to a third of the thermal angle 1/sqrt(2 Delta) wide: every interval blurs h by about one. At
every instant the pilot spreads its trajectories evenly over the cells that they have reached (a weighted ensemble
without its weights), so that the cells near the starting pole stay populated however soon a write empties them; it
records where each trajectory goes by the next instant. Backwards from the end,

    h_k(cell) = mean over the trajectories that left the cell at k of h_(k+1)(where they were at k + 1).

No genealogy has to reach back further than one interval, and the only assumption about device and pulse is that m
determines the further law (less true if a temperature follows each trajectory). h need not be exact: the estimate of
`splitting.py` is unbiased for any h, and good where ln h is right to a few tenths.

References
----------
G. A. Huber, S. Kim, Biophys. J. 70, 97 (1996), weighted ensembles; P. Guarniero, A. M. Johansen, A. Lee, J. Am. Stat.
Assoc. 112, 1636 (2017), iterated auxiliary particle filters: an optimal potential learnt from earlier runs.
"""

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, gaussian_filter
from tqdm import tqdm

from mtjsim.checks import Array
from mtjsim.macrospin.kernels import LANES, Ensemble
from mtjsim.macrospin.time_steps import StepTable
from mtjsim.torques import Torque

FEWEST_CELLS, MOST_CELLS = 60, 200  # across the map
BLUR = 0.8  # of the counts in the cells, in cells
SEEN = 0.05  # trajectories in a cell, after the blur, below which it takes the value of the nearest
SLICES = 8  # of the pilot's trajectories, for threads


def cells_across(torque: Torque) -> int:
    """Cells across the map, three or four to a thermal angle of the starting well."""
    B = abs(torque.anisotropy_field) + abs(torque.in_plane_anisotropy_field) + max(abs(b) for b in torque.field)
    return int(min(max(14 * math.sqrt(torque.energy_scale * B), FEWEST_CELLS), MOST_CELLS))


@njit(nogil=True, cache=True, error_model="numpy")
def places(m, side, across):
    """Positions of the trajectories `m` (blocks, 3, LANES) on a map; (trajectories, 2) in cells, inside the map."""
    out = np.empty((m.shape[0] * m.shape[2], 2))
    for b in range(m.shape[0]):
        for j in range(m.shape[2]):
            x, y, z = float(m[b, 0, j]), float(m[b, 1, j]), side * m[b, 2, j]
            if z > 0:
                stretch = math.sqrt(2 / (1 + z))
            else:  # exact where 1 + z has lost its digits, at the other pole
                r = math.sqrt(x * x + y * y)
                if r == 0:
                    x = r = 1.0
                stretch = math.sqrt(2 * min(1 - z, 2.0)) / r
            row = b * m.shape[2] + j
            out[row, 0] = min(max((x * stretch + 2) * across / 4, 0.0), across - 1e-6)
            out[row, 1] = min(max((y * stretch + 2) * across / 4, 0.0), across - 1e-6)
    return out


@njit(nogil=True, cache=True, error_model="numpy")
def read_map(h, where):
    """Read `h` (across, across) at `where` (n, 2), linearly between the centres of its cells; (n,)."""
    out = np.empty(len(where))
    last = h.shape[0] - 1
    for i in range(len(where)):
        u = min(max(where[i, 0] - 0.5, 0.0), last - 1e-6)
        v = min(max(where[i, 1] - 0.5, 0.0), last - 1e-6)
        a, b = int(u), int(v)
        u, v = u - a, v - b
        near = (1 - v) * h[a, b] + v * h[a, b + 1]
        out[i] = (1 - u) * near + u * ((1 - v) * h[a + 1, b] + v * h[a + 1, b + 1])
    return out


@njit(nogil=True, cache=True, error_model="numpy")
def draw(g, offset):
    """Return n indices, i about n g_i/sum(g) times: systematic resampling with one `offset` in [0, 1); (n,)."""
    n = len(g)
    out = np.empty(n, np.int64)
    step = g.sum() / n
    total, i = g[0], 0
    for j in range(n):
        while total < (j + offset) * step and i < n - 1:
            i += 1
            total += g[i]
        out[j] = i
    return out


def copy_states(ensemble: Ensemble, origin: NDArray[np.int64]) -> None:
    """Give trajectory j the state of trajectory origin[j]; every lane keeps its own random generator."""
    block, lane = np.divmod(origin, LANES)
    for states in (ensemble.m, ensemble.state):
        chosen = states[block, :, lane]
        states[:] = chosen.reshape(len(states), LANES, -1).transpose(0, 2, 1)


@dataclass(frozen=True)
class Importance:
    """Maps of h at the instants where trajectories are chosen.

    Attributes
    ----------
    maps : (instants, across, across) array
        h_k >= 0.
    side : float
        s.
    """

    maps: Array
    side: float

    def __call__(self, k: int, m: NDArray[np.floating]) -> Array:
        """h_k at `m` (blocks, 3, LANES); (trajectories,)."""
        return read_map(self.maps[k], places(m, self.side, self.maps.shape[1]))


def learn(
    ensemble: Ensemble,
    parts: list[StepTable],
    *,
    side: float,
    across: int,
    random: np.random.Generator,
    threads: int | None = None,
) -> Importance:
    """Run the pilot `ensemble` through the `parts` of a write, one an interval, and learn h at the start of each.

    Parameters
    ----------
    ensemble : Ensemble
        Of any size, at the start of the write; used up.
    parts : list of StepTable
        The write, cut at the instants.
    side : float
        s.
    across : int
        Cells across the map.
    random : numpy Generator
        Decides which trajectories are kept.
    threads : int, optional
        Does not change the result. Default: the executor's.

    Returns
    -------
    Importance
    """
    left, reached = [], []
    cuts = np.array_split(np.arange(len(ensemble.m)), min(SLICES, len(ensemble.m)))
    slices = [slice(cut[0], cut[-1] + 1) for cut in cuts]
    views = [Ensemble(ensemble.m[s], ensemble.words[s], ensemble.state[s]) for s in slices]
    here = places(ensemble.m, side, across)
    with ThreadPoolExecutor(threads) as pool:
        for part in tqdm(parts, desc="pilot", disable=None, leave=False):
            cell = _cell(here, across)
            origin = draw(1 / np.bincount(cell)[cell], random.random())
            copy_states(ensemble, origin)
            left.append(cell[origin])
            list(pool.map(lambda view, part=part: view.advance(part), views))
            here = places(ensemble.m, side, across)
            reached.append(here.astype(np.float32))
    end = (side * ensemble.vectors[:, 2] > 0).astype(float)
    return Importance(_backwards(left, reached, end, across), side)


def _cell(where: Array, across: int) -> NDArray[np.int64]:
    u, v = where.astype(int).T
    return u * across + v


def _backwards(left: list[NDArray[np.int64]], reached: list[NDArray[np.float32]], end: Array, across: int) -> Array:
    """Average h over where the trajectories of each cell went, interval by interval; `end` is h of each at the end."""
    maps = np.zeros((len(left), across, across))
    for k in range(len(left) - 1, -1, -1):
        h = end if k == len(left) - 1 else read_map(maps[k + 1], reached[k])
        shape = (across, across)
        fails = gaussian_filter(np.bincount(left[k], h, across**2).reshape(shape), BLUR, truncate=3.0)
        count = gaussian_filter(np.bincount(left[k], minlength=across**2).reshape(shape) + 0.0, BLUR, truncate=3.0)
        mean = fails / np.maximum(count, SEEN)
        nearest = distance_transform_edt(count < SEEN, return_distances=False, return_indices=True)
        maps[k] = mean[tuple(nearest)]
    return maps
