"""Differential pairs: the error rates of two junctions that store one bit, written one each way, and their faults.

The first junction of a pair is written to the bit, the second to the other. A read compares them: the pair is a 0 where
the first conducts better, a 1 where the second does, and either with equal chance where they agree.

A fault is one of a junction. A short conducts better than P and an open worse than AP, so that one of them decides what
the pair reads as. A junction that is stuck agrees with the other one for one of the two bits. What such a pair reads as
then is decided by the offset of its sense amplifier, which is drawn with the die and stays: half of these pairs always
read as one bit, the others work with the error rates of the other junction. (Drawn again at each write, a pair would
come right in the end when it is written again and again.) A transistor that never conducts makes its junction an open.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bridge.dies.cells import Cells
from bridge.dies.rate_distribution import MeanRate
from mtjsim.checks import Array

P, AP = 1, 2  # levels of conduction, from the best
LEVEL = {"short": 0, "open": 3, "stuck_p": P, "stuck_ap": AP}


def pair_error_rates(rates: Array) -> Array:
    """Error rates of pairs, (2, n) by bit, from those of junctions that follow in turn, (2, 2 n)."""
    first, second = rates[:, ::2], rates[:, 1::2]
    return (first + second[::-1]) / 2


def pair_cells(junctions: Cells) -> Cells:
    """Return differential pairs of junctions that were drawn in turn."""
    R_p, R_ap, stability = (
        of_each.reshape(-1, 2).T.copy()
        for of_each in (junctions.resistance_p, junctions.resistance_ap, junctions.thermal_stability)
    )
    return Cells(pair_error_rates(junctions.error_rates), R_p, R_ap, stability)


def mean_of_pairs(zero: MeanRate, one: MeanRate) -> tuple[MeanRate, MeanRate]:
    """Mean error rates of pairs, for a 0 and a 1, from those of a junction."""
    both = MeanRate(
        (zero.rate + one.rate) / 2, (zero.error + one.error) / 2, zero.points + one.points, max(zero.shift, one.shift)
    )
    return both, both


def faulty_pair_rates(rates: Array, levels: NDArray[Any], offsets: NDArray[Any]) -> Array:
    """Error rates of pairs with faults.

    Parameters
    ----------
    rates : (2, k, 2) array
        Error rates by written bit, pair and junction.
    levels : (k, 2) array of int
        `LEVEL` of a junction that never changes, -1 of one that is written.
    offsets : (k,) array of 0 and 1
        What each pair reads as where its junctions agree, if one of them never changes; of other pairs it is either
        bit with equal chance.

    Returns
    -------
    (2, k) array
    """
    k = len(levels)
    chances = np.zeros((2, k, 2, 4))  # by written bit of the junction, pair, junction, level
    for bit, written, old in ((0, P, AP), (1, AP, P)):
        chances[bit, :, :, written], chances[bit, :, :, old] = 1 - rates[bit], rates[bit]
    fixed = levels >= 0
    chances[:, fixed] = 0.0
    where = np.argwhere(fixed)
    for bit in (0, 1):
        chances[bit, where[:, 0], where[:, 1], levels[fixed]] = 1.0
    first, second = chances[:, :, 0], chances[::-1, :, 1]  # by bit of the pair
    agree = (first * second).sum(axis=-1)
    below = [np.cumsum(of_each, axis=-1) - of_each for of_each in (first, second)]  # chance of a level that is better
    second_better, first_better = (first * below[1]).sum(axis=-1), (second * below[0]).sum(axis=-1)
    unlike = np.stack([offsets, 1 - offsets])  # by bit: whether the offset reads as the other one
    wrong = np.stack([second_better[0], first_better[1]]) + agree * np.where(fixed.any(axis=1), unlike, 0.5)
    return np.where(wrong > 1 - 1e-12, 1.0, wrong)  # a sum of outcomes: 1 but for rounding


def with_faults(
    junctions: Cells,
    faulty: NDArray[np.int64],
    levels: NDArray[Any],
    factors: tuple[Array, Array],
    offsets: NDArray[Any],
) -> tuple[Cells, NDArray[np.int64], Array]:
    """Return pairs with the faults of their junctions in their rates, which pairs they are, and their rates.

    Parameters
    ----------
    junctions : Cells
        Drawn in turn, two for each pair.
    faulty : (k,) array of int
        Numbers of the junctions with a fault.
    levels : (k,) array of int
        `LEVEL` of each, -1 for a weak one.
    factors : two (k,) arrays
        On the error rates and on the thermal stability of a weak one; 1 elsewhere.
    offsets : (n,) array of 0 and 1
        What each pair reads as where its junctions agree, see `faulty_pair_rates`.

    Returns
    -------
    Cells
    pairs : (m,) array of int
        Those with a fault, ascending.
    rates : (2, m) array
        Theirs.
    """
    rates, stability = junctions.error_rates.copy(), junctions.thermal_stability.copy()
    rates[:, faulty] = np.minimum(rates[:, faulty] * factors[0], 1.0)
    stability[faulty] *= factors[1]
    cells = pair_cells(Cells(rates, junctions.resistance_p, junctions.resistance_ap, stability))
    pairs = np.unique(faulty // 2)
    of_all = np.full(rates.shape[1], -1)
    of_all[faulty] = levels
    both = pairs[:, None] * 2 + np.arange(2)
    cells.error_rates[:, pairs] = found = faulty_pair_rates(rates[:, both], of_all[both], offsets[pairs])
    return cells, pairs, found
