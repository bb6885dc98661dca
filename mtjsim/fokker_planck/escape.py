"""Escape from a well by quadrature: the switched probability after any time that is long against the relaxation.

If a barrier of several kT exists, one eigenvalue k of the equation in `reduced.py` is far below all others, and

    P_other(tau) = pi_other (1 - e^{-k tau}) + D e^{-k tau}     up to e^{-tau/tau_r} and relative errors of k tau_r,

with tau_r the slowest relaxation inside a well. Everything in it is an integral of a positive function.

Legend (the rest in `reduced.py`)
    w      stationary density under the drive, exp(2 Delta int G dy), of total 1; <.> is the mean over it
    y_b    top of the barrier, G(y_b) = 0; a well is a pole, or with an asymmetry or VCMA a cone where G falls through 0
    h, c   the slow eigenfunction, which falls from 1 in the starting well to 0 in the other one, and 1 - h
    chi    1 at y < `judged_at`, else 0: the other state, of a held bit what lies beyond the barrier without current
    <.>_0  mean over the start, Boltzmann on y > `start_above` with the current off

The slow function is one inverse iteration of the backward operator on the step at the barrier,

    h' = W / (g (1 - y^2) w),    W = <y > y_b> int_-1^y w below y_b,   <y < y_b> int_y^1 w above,   g for h(1) = 1,

and its Rayleigh quotient is k = <(1 - y^2) h'^2> / (2 Delta Var h), with Var h = <h^2><c^2> - <h c>^2. The mass on the
other side after the fast modes have decayed, before k matters, is the projection of chi on h and c, with the start:

    D = p_h <h>_0 + p_c <c>_0,   p_h <h^2> + p_c <h c> = <chi h>,   p_h <h c> + p_c <c^2> = <chi c>.

So the part of the start beyond the barrier counts as switched, and the start's relaxation in the read current as lost
or gained time. Each term of D is of the order of the mass that switches in one tau_r, or that starts beyond the
barrier; none is of order 1, so a probability of 1e-22 has the relative accuracy of one of 0.1.

References
----------
W. F. Brown, Phys. Rev. 130, 1677 (1963), for the rate over a high barrier, of which this is the exact form.
"""

import itertools
import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq
from scipy.special import logsumexp, roots_legendre

from mtjsim.checks import Array
from mtjsim.fokker_planck.reduced import AxialWrite

NODES = 10  # Gauss points in a panel
PANEL_PECLET = 2.0  # change of log density across a panel; with ten points its error is below 1e-11
FEWEST_PANELS = 24  # in each of the pieces between the poles, the equator and the barrier


@dataclass(frozen=True)
class Escape:
    """The slow part of P_other(tau), in reduced units; formula and symbols in the module's docstring.

    Attributes
    ----------
    log_rate : float
        Log of k, the sum of both directions' rates, in 1/tau_D.
    log_other : float
        Log of pi_other, the mass of y < `judged_at` in the equilibrium under the drive.
    log_ahead, sign_ahead : float
        Log of abs(D), and the sign of D: whether the start is ahead of steady escape or behind.
    relaxation_time : float
        tau_r, in tau_D.
    """

    log_rate: float
    log_other: float
    log_ahead: float
    sign_ahead: float
    relaxation_time: float

    @property
    def fast_escape(self) -> float:
        """The figure k tau_r, of the order of the relative error."""
        return math.exp(self.log_rate) * self.relaxation_time

    def log_switched(self, duration: Array) -> Array:
        """Log of P_other after `duration` (units of tau_D, any shape), which must be many relaxation times."""
        log_gone = self.log_rate + np.log(duration)
        gone = np.exp(np.minimum(log_gone, 14.0))  # 1e6 is as good as infinity
        steady = self.log_other + np.where(gone > 1e-9, np.log(-np.expm1(-np.maximum(gone, 1e-9))), log_gone)
        ahead = np.minimum(self.log_ahead - gone - steady, 700.0)
        with np.errstate(invalid="ignore"):
            return steady + np.log1p(self.sign_ahead * np.exp(ahead)) + (self.log_ahead - gone - steady - ahead)

    def log_duration(self, log_probability: float) -> float:
        """Log of the duration (in tau_D) at which P_other is reached: inf if never, nan if the start exceeds it."""
        if log_probability >= self.log_other:
            return math.inf
        behind = 1 - self.sign_ahead * math.exp(min(self.log_ahead - log_probability, 700.0))  # (p - D)/p
        if behind <= 0:
            return math.nan
        log_share = log_probability + math.log(behind) - self.log_other
        log_share -= math.log1p(-self.sign_ahead * math.exp(self.log_ahead - self.log_other))
        share = math.exp(log_share)  # 1 - e^(-k tau)
        return (math.log(-math.log1p(-share)) if share > 1e-9 else log_share) - self.log_rate


def barrier_position(write: AxialWrite) -> float | None:
    """Find y_b, where G rises through 0, at the drive; None without a barrier, or with several."""
    rising, _ = _zeros(write)
    return rising[0] if len(rising) == 1 else None


def _zeros(write: AxialWrite) -> tuple[list[float], list[float]]:
    """Return the zeros where G rises (barriers), and those where it falls (wells on a cone), at the drive."""

    def force(y: float) -> float:
        return float(write.force(np.array([y]), write.drive)[0])

    y = np.linspace(-1.0, 1.0, 401)
    G = write.force(y, write.drive)
    below = np.append(G[:-1] < 0, G[-1] <= 0)  # a zero at the upper pole is no barrier
    rises, falls = np.flatnonzero(below[:-1] & ~below[1:]), np.flatnonzero(~below[:-1] & below[1:])
    rising, falling = ([brentq(force, y[k], y[k + 1], xtol=1e-15) for k in at] for at in (rises, falls))
    return rising, falling


def relaxation_time(write: AxialWrite, barrier: float) -> float:
    """tau_r in tau_D: one over the slowest of the linearised rates, 2 abs(G) at a pole and (1 - y^2) abs(G') at a zero.

    Of the poles those that are stable count, of the zeros the barrier and the wells.
    """
    step = 1e-5
    zeros = np.array([barrier, *_zeros(write)[1]])
    below, above = write.force(zeros - step, write.drive), write.force(zeros + step, write.drive)
    bottom, top = write.force(np.array([-1.0, 1.0]), write.drive)
    rates = [
        *(1 - zeros**2) * np.abs(above - below) / (2 * step),
        *(rate for rate in (-2 * bottom, 2 * top) if rate > 0),
    ]
    return float(1 / min(rates))


def solve_escape(write: AxialWrite, *, cones: bool = False) -> Escape | None:
    """Rate, equilibrium and offset of the start, at the drive; None without a barrier.

    None, too, where a well is a cone, unless `cones`.
    """
    barrier = barrier_position(write)
    if barrier is None or (not cones and _zeros(write)[1]):
        return None
    panels = make_panels(write, barrier)
    log_w = write.log_equilibrium(panels.y, write.drive)
    log_w -= panels.total(log_w)
    h, c, log_slope = _slow_function(write, panels, log_w, barrier)
    hh, hc, cc = (panels.total(log_w + product) for product in (2 * h, h + c, 2 * c))
    independent = math.log1p(-math.exp(2 * hc - hh - cc))  # Var h = <h^2><c^2> e^independent
    flux = panels.log_one_minus_y2 - math.log(2 * write.thermal_stability) + log_w + 2 * log_slope

    other = np.where(panels.y < write.judged_at, log_w, -np.inf)
    chi_h, chi_c = panels.total(other + h) - hh, panels.total(other + c) - cc  # <chi h>/<h^2>, <chi c>/<c^2>
    start = np.where(panels.y > write.start_above, write.log_equilibrium(panels.y), -np.inf)
    start -= panels.total(start)
    h_0, c_0 = panels.total(start + h), panels.total(start + c)
    terms = [chi_h + h_0, hc - hh + chi_c + h_0, chi_c + c_0, hc - cc + chi_h + c_0]
    log_ahead, sign = logsumexp(terms, b=[1, -1, 1, -1], return_sign=True)
    return Escape(
        log_rate=panels.total(flux) - hh - cc - independent,
        log_other=panels.total(other),
        log_ahead=float(log_ahead) - independent,
        sign_ahead=float(sign),
        relaxation_time=relaxation_time(write, barrier),
    )


def _slow_function(write: AxialWrite, panels: "Panels", log_w: Array, barrier: float) -> tuple[Array, Array, Array]:
    """Return the logs of h, of c = 1 - h, neither as a difference, and of the slope h'; shapes of `panels.y`."""
    upper = panels.y > barrier
    log_upper = panels.total(np.where(upper, log_w, -np.inf))
    log_lower = panels.total(np.where(upper, -np.inf, log_w))
    log_W = np.where(upper, log_lower + panels.running(log_w, "down"), log_upper + panels.running(log_w, "up"))
    log_slope = log_W - panels.log_one_minus_y2 - log_w
    log_slope -= panels.total(log_slope)
    return panels.running(log_slope, "up"), panels.running(log_slope, "down"), log_slope


class Panels(NamedTuple):
    """Gauss points y (p, n) on p panels of [-1, 1], with the weights to integrate functions given by their logarithm.

    `log_half` (p, 1) is the log of half a panel's width, `weights` (n,) are Gauss's, `inside` (n, n) integrates the
    interpolating polynomial from the left end of [-1, 1] to each node; `log_one_minus_y2` (p, n) is exact at the poles.
    """

    y: Array
    log_one_minus_y2: Array
    log_half: Array
    weights: Array
    inside: Array

    def total(self, log_f: Array) -> float:
        """Log of the integral of exp(log_f) over [-1, 1]; `log_f` (p, n)."""
        log_f = log_f + self.log_half  # not by scipy's logsumexp, whose checks take longer than the sum
        largest = log_f.max()
        return float(largest + np.log((np.exp(log_f - largest) @ self.weights).sum())) if largest > -np.inf else -np.inf

    def running(self, log_f: Array, towards: str) -> Array:
        """Log of the integral to every node from -1 ("up") or from 1 ("down"); shape of `log_f`."""
        turn = 1 if towards == "up" else -1
        log_f = log_f + self.log_half
        largest = log_f.max(axis=1, keepdims=True)
        f = np.exp(log_f - largest)
        panel = (largest + np.log(f @ self.weights)[:, None])[::turn]
        before = np.logaddexp.accumulate(np.concatenate([[[-np.inf]], panel[:-1]]))[::turn]
        return np.logaddexp(before, largest + np.log(f @ self.inside[::turn, ::turn].T))


def make_panels(write: AxialWrite, barrier: float) -> Panels:
    """Cut [-1, 1] at barrier, start and judgement, and so finely that a density changes by e^2 in a panel at most."""
    y = np.linspace(-1.0, 1.0, 65)
    steepest = 2 * write.thermal_stability * max(np.abs(write.force(y, drive)).max() for drive in (0.0, write.drive))
    inner = {write.start_above, write.judged_at}
    inner |= {barrier} if min(abs(barrier - y) for y in inner) > 1e-9 else set()
    cuts = sorted({-1.0, *inner, 1.0})
    pieces = [
        np.linspace(a, b, 1 + max(FEWEST_PANELS, math.ceil(steepest * (b - a) / PANEL_PECLET)))
        for a, b in itertools.pairwise(cuts)
    ]
    edges: Array = np.concatenate([pieces[0], *(piece[1:] for piece in pieces[1:])])[:, None]
    x, weights = roots_legendre(NODES)
    half = np.diff(edges, axis=0) / 2
    from_below, from_above = 1 + edges[:-1] + half * (1 + x), 1 - edges[1:] + half * (1 - x)
    P = np.polynomial.legendre.legvander(x, NODES)  # int_-1^x P_n = (P_(n+1) - P_(n-1))/(2n + 1), and P_0 -> 1 + x
    integrals: Array = np.column_stack([1 + x, (P[:, 2:] - P[:, :-2]) / (2 * np.arange(1, NODES) + 1)])
    return Panels(
        y=edges[:-1] + half * (1 + x),
        log_one_minus_y2=np.log(from_below) + np.log(from_above),
        log_half=np.log(half),
        weights=weights,
        inside=np.linalg.solve(P[:, :-1].T, integrals.T).T.astype(float),
    )
