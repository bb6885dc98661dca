"""Implicit steps of a birth-death chain without a subtraction, nine step sizes at once in four lanes.

Legend
    m        (n,) masses of the cells; or a functional of them, moved backwards by the transposed steps
    x        (n - 1,) rise of log-equilibrium across each face, from centre to centre
    u, d     rates up and down across a face: B(-x), B(x) times `hops`, with the Bernoulli function B(x) = x/(e^x - 1)
    p        pivots of 1 + step L: p_j = u_j + s_j, s_0 = 1, s_(j+1) = 1 + d_j s_j/p_j, all positive
    f, b     u_(j-1)/p_(j-1) and d_j/p_j (steps included); q = 1/p

One implicit Euler step is an upward sweep m_j += f_j m_(j-1) and a downward one m_j = q_j m_j + b_j m_(j+1): sums of
positive terms only (Grassmann, Taksar & Heyman 1985), so that every mass keeps its relative accuracy at any depth.

A *stride* is a piece of time that is cut into k equal steps, for each k of `CUTS`. The error of the logarithm of a mass
is a series in 1/k, which `extrapolate` removes. A sweep waits for its last result, so four of them are run side by
side; `LANES` deals the cuts out such that each lane takes twelve steps a stride.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numba import njit

from mtjsim.checks import Array

LANES = ((12,), (8, 4), (7, 5), (6, 3, 2, 1))
CUTS = (12, 8, 4, 7, 5, 6, 3, 2, 1)  # the same in one row
LANE_STARTS = np.array([0, 1, 3, 5, 9])  # of each lane in CUTS
_CUTS = np.array(CUTS)
LARGEST_RISE = 4.0  # up to here B is a continued fraction, beyond an exponential


@njit(cache=True)
def _rates(series, levels, lowest, highest, hops, up, down, flat):
    # x is a Chebyshev series in the level, on [lowest, highest]; `levels` has one for each lane
    terms, above, below = series.shape[0], hops[0], hops[1]
    T = np.ones((terms, 4))
    for lane in range(4):
        t = 0.0 if highest == lowest else (2 * levels[lane] - lowest - highest) / (highest - lowest)
        for k in range(1, terms):
            T[k, lane] = t if k == 1 else 2 * t * T[k - 1, lane] - T[k - 2, lane]
    for j in range(above.size):
        for lane in range(4):
            x = series[0, j]
            for k in range(1, terms):
                x += T[k, lane] * series[k, j]
            up[j, lane] = x
    if flat:  # (x/2) coth(x/2) = 1 + z/(3 + z/(5 + ...)), z = (x/2)^2, collapsed into one division; B(+-x) is it -+ x/2
        for j in range(above.size):
            for lane in range(4):
                h = 0.5 * up[j, lane]
                z = h * h
                top = 34459425.0 + z * (16216200.0 + z * (945945.0 + z * (13860.0 + z * 45.0)))
                even = top / (34459425.0 + z * (4729725.0 + z * (135135.0 + z * (990.0 + z))))
                up[j, lane] = above[j] * (even + h)
                down[j, lane] = below[j] * (even - h)
        return
    for j in range(above.size):
        for lane in range(4):
            x = up[j, lane]
            size = abs(x)
            if size < 1e-4:
                less = 1.0 - 0.5 * size + size * size / 12.0
            elif size > 700.0:
                less = 0.0
            else:
                less = size / math.expm1(size)
            more = less + size
            up[j, lane] = above[j] * (more if x >= 0.0 else less)
            down[j, lane] = below[j] * (less if x >= 0.0 else more)


@njit(cache=True)
def _factors(up, down, step, f, b, q, back):
    # transposed, if `back`: f and b change places
    n = q.shape[0]
    s = np.ones(4)
    for j in range(n - 1):
        for lane in range(4):
            u, d = step[lane] * up[j, lane], step[lane] * down[j, lane]
            inverse = 1.0 / (u + s[lane])
            q[j, lane] = inverse
            f[j + 1, lane] = d * inverse if back else u * inverse
            b[j, lane] = u * inverse if back else d * inverse
            s[lane] = 1.0 + d * s[lane] * inverse
    for lane in range(4):
        q[n - 1, lane] = 1.0 / s[lane]


@njit(cache=True)
def _steps(m, f, b, q, count):
    n = m.shape[0]
    for _ in range(count):
        a0, a1, a2, a3 = m[0, 0], m[0, 1], m[0, 2], m[0, 3]
        for j in range(1, n):
            a0 = m[j, 0] + f[j, 0] * a0
            a1 = m[j, 1] + f[j, 1] * a1
            a2 = m[j, 2] + f[j, 2] * a2
            a3 = m[j, 3] + f[j, 3] * a3
            m[j, 0], m[j, 1], m[j, 2], m[j, 3] = a0, a1, a2, a3
        a0, a1, a2, a3 = a0 * q[n - 1, 0], a1 * q[n - 1, 1], a2 * q[n - 1, 2], a3 * q[n - 1, 3]
        m[n - 1, 0], m[n - 1, 1], m[n - 1, 2], m[n - 1, 3] = a0, a1, a2, a3
        for j in range(n - 2, -1, -1):
            a0 = m[j, 0] * q[j, 0] + b[j, 0] * a0
            a1 = m[j, 1] * q[j, 1] + b[j, 1] * a1
            a2 = m[j, 2] * q[j, 2] + b[j, 2] * a2
            a3 = m[j, 3] * q[j, 3] + b[j, 3] * a3
            m[j, 0], m[j, 1], m[j, 2], m[j, 3] = a0, a1, a2, a3


@njit(cache=True)
def _copy(source, i, target, k):
    # column i to column k, by a loop: a slice on the left costs seconds of compilation
    for j in range(source.shape[0]):
        target[j, k] = source[j, i]


@njit(cache=True)
def advance(masses, series, lowest, highest, hops, strides, first, last, flat, back):
    """Advance `masses` (n, 9), one column a cut, over strides from level `first` to `last`; backwards if `back`."""
    n = masses.shape[0]
    f, b, q = np.zeros((n, 4)), np.zeros((n, 4)), np.empty((n, 4))
    up, down, levels = np.empty((n, 4)), np.empty((n, 4)), np.empty(4)
    m, step = np.empty((n, 4)), np.empty(4)
    column, left = np.empty(4, np.int64), np.empty(4, np.int64)
    at = 0
    while at < strides.size:
        i = strides.size - 1 - at if back else at
        level = first[i] == last[i]
        count = 1  # of equal strides
        while level and at + count < strides.size:
            k = strides.size - 1 - at - count if back else at + count
            if strides[k] != strides[i] or first[k] != first[i] or last[k] != last[i]:
                break
            count += 1
        at += count
        if level:
            levels[:] = first[i]
            _rates(series, levels, lowest, highest, hops, up, down, flat)
        for lane in range(4):
            column[lane] = LANE_STARTS[lane]
            left[lane] = _CUTS[column[lane]] * count
            _copy(masses, column[lane], m, lane)
        done, changed = 0, True
        while done < 12 * count:
            if changed or not level:
                for lane in range(4):
                    cuts = _CUTS[column[lane]]
                    step[lane] = strides[i] / cuts
                    k = left[lane] if back else cuts - left[lane] + 1
                    levels[lane] = first[i] + (last[i] - first[i]) * k / cuts  # implicit
                if not level:
                    _rates(series, levels, lowest, highest, hops, up, down, flat)
                _factors(up, down, step, f, b, q, back)
            many = min(left[0], left[1], left[2], left[3]) if level else 1
            _steps(m, f, b, q, many)
            done += many
            changed = False
            for lane in range(4):
                left[lane] -= many
                if left[lane] == 0:
                    _copy(m, lane, masses, column[lane])
                    column[lane] += 1
                    if column[lane] < LANE_STARTS[lane + 1]:
                        left[lane] = _CUTS[column[lane]] * count
                        _copy(masses, column[lane], m, lane)
                        changed = True
                    else:
                        column[lane] -= 1


@njit(cache=True)
def choose_strides(m, series, lowest, highest, hops, flat, lower, duration, a, b, stride, change, tails, strides):
    """Cut a linear piece of the pulse into strides, by one step against two on a coarse mesh; advances `m` (n, 4).

    A stride is accepted if the logarithms of the masses on both sides (those marked in `tails`) differ by at most
    `change`, and the density by a third of it. `strides` is filled; returns the count, or -1 if it is full, and the
    stride to begin with next.
    """
    n = m.shape[0]
    f, r, q = np.zeros((n, 4)), np.zeros((n, 4)), np.empty((n, 4))
    up, down, levels = np.empty((n, 4)), np.empty((n, 4)), np.empty(4)
    trial, before, once, step = np.empty((n, 4)), np.empty((n, 4)), np.empty(n), np.empty(4)
    one, two = np.empty(2), np.empty(2)
    time, count, grown = 0.0, 0, stride
    back, single = count < 0, count + 1  # literals would be compiled again
    _copy(m, 0, before, 0)
    while time < duration * (1 - 1e-12):
        if count == strides.size:
            return -1, stride
        stride = grown
        rest = duration - time
        if stride > 0.75 * rest:
            stride = rest
        elif stride > 0.5 * rest:
            stride = 0.5 * rest
        for j in range(n):
            trial[j, 0], trial[j, 1], trial[j, 2], trial[j, 3] = before[j, 0], before[j, 0], 0.0, 0.0
        step[0], step[1], step[2], step[3] = stride, stride / 2, 1.0, 1.0
        for part in range(2):
            if a != b or part == 0:
                levels[:] = a + (b - a) * (time + stride * (0.5 + 0.5 * part)) / duration
                levels[0] = a + (b - a) * (time + stride) / duration
                _rates(series, levels, lowest, highest, hops, up, down, flat)
                _factors(up, down, step, f, r, q, back)
            _steps(trial, f, r, q, single)
            if part == 0:
                for j in range(n):
                    once[j] = trial[j, 0]
        moved, one[0], one[1], two[0], two[1] = 0.0, 0.0, 0.0, 0.0, 0.0
        for j in range(n):
            moved += abs(once[j] - trial[j, 1])
            one[int(j < lower)] += once[j]
            two[int(j < lower)] += trial[j, 1]
        difference = 3.0 * moved / (two[0] + two[1])
        for tail in range(2):
            if tails[tail] and one[tail] > 1e-290 and two[tail] > 1e-290:
                difference = max(difference, abs(math.log(one[tail] / two[tail])))
        if difference > change and stride > 1e-9 * duration:
            grown = stride / 2
            continue
        _copy(trial, 1, before, 0)
        time += stride
        strides[count] = stride
        count += 1
        if difference < 0.3 * change:
            grown = max(grown, 2 * stride)
    _copy(before, 0, m, 0)
    return count, grown


def extrapolate(values: Sequence[Array] | Array, sizes: Array, power: int) -> tuple[Array, Array]:
    """Value at size 0 of a series in powers of size^power (Neville), and the change by the last of the `values`.

    The change is against the extrapolation that leaves out the value of the largest size.
    """
    x = sizes**power
    order = np.argsort(-x)
    x, table = x[order], [np.asarray(values[k], dtype=float) for k in order]
    with np.errstate(invalid="ignore"):  # -inf - -inf, where all mass is lost
        for reach in range(1, len(x)):
            before = table[-1]
            table = [
                new + (new - old) * x[k + reach] / (x[k] - x[k + reach]) for k, (old, new) in enumerate(pairwise(table))
            ]
        return table[0], np.abs(table[0] - before)
