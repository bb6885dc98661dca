"""Currents of an array of pairs whose wires have a resistance: Kirchhoff's law at every crossing.

Each row is driven from its left end, each column read at its lower end by an amplifier that holds it at 0 V. The
columns of an output, "plus" and "minus", are neighbours. Between two neighbouring crossings, and between an end and
the first one, a wire has the resistance of one segment. A crossing has two nodes, on the row and on the column, with
the junction between them.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sparse
from numpy.typing import ArrayLike
from scipy.sparse.linalg import splu

from bridge.crossbar.array import PairArray
from mtjsim.checks import ArgumentError, Array, checked_number

LARGEST = 400_000  # nodes: some seconds and 1 GB


def wired_currents(
    array: PairArray, voltages: ArrayLike, signs: ArrayLike, *, row_segment: float, column_segment: float
) -> Array:
    """Return the currents of the outputs [A], for row voltages [V], with the resistance of the wires.

    Parameters
    ----------
    array : PairArray
    voltages : (..., inputs) array
    signs : (outputs, inputs) array of +-1
        Stored weights.
    row_segment, column_segment : float
        Resistance of a wire from one crossing to the next [ohm], > 0.

    Returns
    -------
    (..., outputs) array
        The current into the "plus" column less that into the "minus" column. For resistances that go to 0 it is
        `array.currents`.

    Raises
    ------
    ValueError
        For a resistance that is not > 0, arguments that do not fit the array, or more than 400,000 nodes.

    Notes
    -----
    A linear circuit: conductances at low bias, whatever the voltage across a junction. One sparse factorization for all
    voltages.

    Examples
    --------
    >>> array = PairArray.of((3, 64), conductance_p=1e-4, conductance_ap=4e-5, seed=1)
    >>> v, s = np.full(64, 0.1), np.ones((3, 64))
    >>> ideal, real = array.currents(v, s), wired_currents(array, v, s, row_segment=1.0, column_segment=1.0)
    >>> (100 * (1 - real / ideal)).round(1)
    array([16.5, 16.5, 16.6])
    """
    for name, value in (("row_segment", row_segment), ("column_segment", column_segment)):
        checked_number(name, value, "ohm", zero_allowed=False)
    array.weights(signs)  # checks them
    v = np.asarray(voltages, dtype=float)
    if v.ndim < 1 or v.shape[-1] != array.shape[1]:
        raise ArgumentError("voltages", f"must be one for each of the {array.shape[1]} rows, got shape {v.shape}.")
    G = _columns(array, np.asarray(signs))  # (rows, columns)
    rows, columns = G.shape
    if 2 * G.size > LARGEST:
        raise ArgumentError("array", f"must have at most {LARGEST:,} nodes, two a junction, got {2 * G.size:,}.")
    g_row, g_column = 1 / row_segment, 1 / column_segment
    on_row = np.arange(G.size).reshape(G.shape)
    on_column = on_row + G.size
    links = [  # first node, second node, conductance
        (on_row, on_column, G),
        (on_row[:, :-1], on_row[:, 1:], np.full((rows, columns - 1), g_row)),
        (on_column[:-1], on_column[1:], np.full((rows - 1, columns), g_column)),
    ]
    first, second, g = (np.concatenate([np.ravel(link[k]) for link in links]) for k in range(3))
    to_ends = np.zeros(2 * G.size)
    to_ends[on_row[:, 0]] = g_row  # to the drivers
    to_ends[on_column[-1]] = g_column  # to the amplifiers, at 0 V
    n = 2 * G.size
    off = sparse.coo_array((np.concatenate([g, g]), (np.concatenate([first, second]), np.concatenate([second, first]))))
    total = sparse.csc_array(off, shape=(n, n)).sum(axis=1) + to_ends
    solve = splu(sparse.csc_matrix(sparse.diags_array(total) - off.tocsc())).solve
    flat = v.reshape(-1, rows)
    given = np.zeros((n, len(flat)))
    given[on_row[:, 0]] = g_row * flat.T
    found = g_column * solve(given)[on_column[-1]]  # (columns, samples)
    return (found[0::2] - found[1::2]).T.reshape(*v.shape[:-1], array.shape[0])


def _columns(array: PairArray, signs: Array) -> Array:
    """Return the conductance at each crossing, (inputs, 2 outputs): "plus" and "minus" of an output side by side."""
    plus, minus = array.conductances
    up = signs > 0
    pairs = np.stack([np.where(up, plus[0], plus[1]), np.where(up, minus[1], minus[0])])  # (2, outputs, inputs)
    pairs = np.where(array.connected, pairs, 0.0)
    return pairs.transpose(2, 1, 0).reshape(array.shape[1], -1)
