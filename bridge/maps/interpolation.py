"""Interpolation between the nodes of a map: its variable, its polynomials, and an estimate of their error.

The variable is v = ln(-ln(1 - W)) of the write error rate W (`bridge/log_log.py`), because in the closed form of Butler
et al. (2012), W = 1 - exp(-A / (i exp(2(i-1) tau) - 1)), v is linear in the pulse width and nearly so in the current,
from W near 1 down to any depth.

Along current or voltage (as it is, 0 included) and along the logarithm of the width six neighbouring nodes carry a
polynomial of degree five; along the logarithm of the temperature up to six do, mostly three. Where the nodes around a
place fall with current and width, as the physics does, the value is kept between the corners of its cell: no overshoot.

The estimate of the error compares two interpolations of the map itself at the middle of each interval: six nodes and
four, and takes the largest difference of a cell and its neighbours, because a difference may change its sign; it is
mostly the error of the four. Along an axis of three nodes it compares parabolas in two coordinates, logarithm and
reciprocal, and doubles the difference. The sum over the axes is the bound. Between two nodes no estimate is possible:
the bound is infinite.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtjsim.checks import Array

NODES = 6  # that carry the polynomial along each axis
FEWER = 4  # that carry the one it is compared with
SAFETY_OF_THREE = 2.0  # nodes: they give a rough estimate of the error of a parabola
LEAST_SWITCHED = 1e-8  # a stored W nearer to 1 has rounding and solver noise in place of 1 - W
CHUNK = 1 << 14  # places at once: keeps the gathered nodes in cache and memory

Indices = NDArray[np.intp]


def _stretched(axis: int, x: Array, other: bool = False) -> Array:
    """Coordinate in which axis 0 (level), 1 (width) or 2 (temperature) is interpolated, or a second one to compare."""
    if axis == 0:
        return np.sqrt(x) if other else x
    return 1 / x if other else np.log(x)


def weights(axis: int, nodes: Array, x: Array, most: int, other: bool = False) -> tuple[Indices, Array]:
    """Lagrange weights of the `most` nodes around each x; indices and weights (n, m), m <= number of nodes."""
    m = min(most, len(nodes))
    cell = np.clip(np.searchsorted(nodes, x, side="right") - 1, 0, max(len(nodes) - 2, 0))
    first = np.clip(cell - (m // 2 - 1), 0, len(nodes) - m)
    index = first[:, None] + np.arange(m)
    at, X = _stretched(axis, x, other), _stretched(axis, nodes, other)[index]
    w = np.ones((len(x), m))
    for a in range(m):
        for b in range(m):
            if a != b:
                w[:, a] *= (at - X[:, b]) / (X[:, a] - X[:, b])
    return index, w


def interpolate(
    values: Array, axes: tuple[Array, Array, Array], direction: Indices, places: tuple[Array, ...]
) -> Array:
    """Interpolate nodes `values` (direction, level, width, temperature) at n places inside the grid; shape (n,)."""
    out = np.empty(len(direction))
    for start in range(0, len(out), CHUNK):
        part = slice(start, start + CHUNK)
        out[part] = _interpolate(values, axes, direction[part], tuple(x[part] for x in places))
    return out


def _interpolate(
    values: Array, axes: tuple[Array, Array, Array], direction: Indices, places: tuple[Array, ...]
) -> Array:
    (i, wi), (t, wt), (T, wT) = (
        weights(a, nodes, x, NODES) for a, (nodes, x) in enumerate(zip(axes, places, strict=True))
    )
    around = values[direction[:, None, None, None], i[:, :, None, None], t[:, None, :, None], T[:, None, None, :]]
    plane = np.einsum("nabc,nc->nab", around, wT)
    v = np.einsum("nab,na,nb->n", plane, wi, wt)
    falling = (np.diff(plane, axis=1) <= 0).all((1, 2)) & (np.diff(plane, axis=2) <= 0).all((1, 2))
    n = np.arange(len(v))
    a, b = _cell(axes[0], places[0]) - i[:, 0], _cell(axes[1], places[1]) - t[:, 0]
    highest = plane[n, a, b]
    lowest = plane[n, np.minimum(a + 1, plane.shape[1] - 1), np.minimum(b + 1, plane.shape[2] - 1)]
    return np.where(falling, np.clip(v, np.minimum(lowest, highest), highest), v)


def _cell(nodes: Array, x: Array) -> Indices:
    """Index of the node below each x."""
    return np.clip(np.searchsorted(nodes, x, side="right") - 1, 0, max(len(nodes) - 2, 0))


@dataclass(frozen=True)
class Uncertainty:
    """Estimated error of the interpolation in v (or any variable), by cell.

    Attributes
    ----------
    by_axis : three arrays
        Over (direction, level cells, width cells, temperature cells): the part that each axis adds. An axis of one
        node counts as one cell.
    """

    by_axis: tuple[Array, Array, Array]

    @property
    def total(self) -> Array:
        """Bound on the error in each cell."""
        return self.by_axis[0] + self.by_axis[1] + self.by_axis[2]

    def at(self, axes: tuple[Array, Array, Array], direction: Indices, places: tuple[Array, ...]) -> Array:
        """Bound at n places: 0 along an axis whose node is hit."""
        where: Any = (direction, *(_cell(nodes, x) for nodes, x in zip(axes, places, strict=True)))
        parts = zip(self.by_axis, axes, places, strict=True)
        return sum(
            (np.where(np.isin(x, nodes), 0.0, part[where]) for part, nodes, x in parts), np.zeros(len(direction))
        )


def uncertainty(values: Array, axes: tuple[Array, Array, Array]) -> Uncertainty:
    """Estimate the error of `interpolate` from the map itself; the method is at the top of this file."""
    return Uncertainty(tuple(_one_axis(values, axes, axis) for axis in range(3)))  # type: ignore[arg-type]


def _one_axis(values: Array, axes: tuple[Array, Array, Array], axis: int) -> Array:
    nodes = axes[axis]
    shape = [values.shape[0], *(max(len(x) - 1, 1) for x in axes)]
    if len(nodes) <= 2:
        return np.full(shape, 0.0 if len(nodes) == 1 else np.inf)
    x = (nodes[1:] + nodes[:-1]) / 2
    found = []
    coarser = (FEWER, False) if len(nodes) > FEWER else (3, False) if len(nodes) == FEWER else (3, True)
    for most, other in ((NODES, False), coarser):
        index, w = weights(axis, nodes, x, most, other)
        around = np.moveaxis(values, axis + 1, -1)[..., index]
        found.append(np.moveaxis((around * w).sum(-1), -1, axis + 1))
    change = np.moveaxis(np.abs(found[1] - found[0]), axis + 1, 0)
    if len(nodes) == 3:
        change = SAFETY_OF_THREE * change
    around = np.pad(change, [(1, 1)] + [(0, 0)] * 3, mode="edge")
    change = np.maximum(np.maximum(around[:-2], around[2:]), change)
    return corners(np.moveaxis(change, 0, axis + 1), axis, np.maximum)


def corners(values: Array, but: int | None, choose: Any) -> Array:
    """Largest or smallest over the corners of each cell, along every axis of more than one node except `but`."""
    for axis in range(3):
        if axis != but and values.shape[axis + 1] > 1:
            v = np.moveaxis(values, axis + 1, 0)
            values = np.moveaxis(choose(v[1:], v[:-1]), 0, axis + 1)
    return values


def points_needed(nodes: int, error: float, target: float) -> int:
    """Nodes of an axis that bring its estimated error to the target: as if it fell as spacing^3, and a fifth more."""
    if nodes <= 2:
        return nodes if error == 0 else 4
    if error <= target:
        return nodes
    return int(np.ceil(1.2 * (nodes - 1) * (error / target) ** (1 / 3))) + 1
