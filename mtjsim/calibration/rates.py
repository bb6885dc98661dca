"""Error rates of a table of writes for several junctions at once, with as few solves as possible.

Writes that are equal in reduced units (`reduced.py`) share one solve, whichever junction and row they belong to: one
solve serves all pulse widths at a current, both directions of a symmetric junction, and junctions that differ in their
characteristic time alone. Steady escape over a barrier is computed by quadrature (escape.py), wherever `_is_steady`.
Ramps and relaxation are left to the solvers of axial.py.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtjsim.checks import Array
from mtjsim.device import MTJ
from mtjsim.fokker_planck.axial import LONGEST_SPECTRAL, tail_probability
from mtjsim.fokker_planck.escape import Escape, solve_escape
from mtjsim.fokker_planck.reduced import AxialWrite, is_axisymmetric, reduced_write, require_unheated
from mtjsim.fokker_planck.spectral import one_blas_thread
from mtjsim.question import Question
from mtjsim.switching import switching_probability, write_error_rate

SMALLEST = 1e-300  # a probability below is taken as this one: the deviance of one contrary count is then 1400
NEAR_ONE = 1e-6  # q below is not taken as 1 - p, whose error is 1e-9
ROUNDED = 1e-8  # smallest q where that slower computation is not wanted
SETTLED = 25.0  # relaxation times after which the escape is steady to 1e-7
FASTEST = 1e-5  # k tau_r up to which the escape has the accuracy of a small q
NEGLIGIBLE = 1e-7  # error of p
SAME = 12  # digits to which two writes are equal

Pulses = Mapping[str, NDArray[Any]]


Logs = tuple[Array, Array]  # ln p and ln q


def log_rates(
    devices: Sequence[MTJ], pulses: Pulses, *, deep: NDArray[np.bool_] | None = None
) -> list[Logs | ValueError]:
    """Ln p and ln q of every row for every junction, p the error rate and q = 1 - p.

    Parameters
    ----------
    devices : sequence of MTJ
        The junctions.
    pulses : mapping
        Arguments of `write_error_rate`, each of shape (n,).
    deep : (n,) array of bool, optional
        Rows whose q keeps its own relative accuracy where it is small. In the others, and everywhere by default, q is
        at least ROUNDED.

    Returns
    -------
    list
        For each junction two (n,) arrays, or the ValueError of the solver that refused it.
    """
    wanted = np.zeros(len(pulses["pulse_width"]), dtype=bool) if deep is None else deep
    found: list[Logs | ValueError] = []
    shared: dict[AxialWrite, list[tuple[int, NDArray[Any], Array]]] = {}
    for number, device in enumerate(devices):
        try:
            if is_axisymmetric(device):
                found.append((np.empty(wanted.shape), np.empty(wanted.shape)))
                for write, rows, plateaus in reduced_rows(device, pulses):
                    shared.setdefault(write, []).append((number, rows, plateaus))
            else:
                found.append(_on_sphere(device, pulses, wanted))
        except ValueError as error:
            found[number:] = [error]
    with one_blas_thread():
        for write, members in shared.items():
            numbers = np.concatenate([np.full(rows.size, number) for number, rows, _ in members])
            rows, plateaus = (np.concatenate([member[k] for member in members]) for k in (1, 2))
            tails: Logs | ValueError
            try:
                tails = _tails(write, plateaus, wanted[rows])
            except ValueError as error:
                tails = error
            for number in dict.fromkeys(numbers.tolist()):
                logs, own = found[number], numbers == number
                if isinstance(tails, ValueError) or isinstance(logs, ValueError):
                    found[number] = tails if isinstance(tails, ValueError) else logs
                    continue
                for log, tail in zip(logs, tails, strict=True):
                    log[rows[own]] = tail[own]
    return found


def reduced_rows(device: MTJ, pulses: Pulses) -> list[tuple[AxialWrite, NDArray[Any], Array]]:
    """Distinct writes of the table in reduced units, to SAME digits; their rows and plateaus (units of tau_D)."""
    require_unheated(device)
    found = []
    for one, rows, plateaus in Question.checked(**{"direction": "p_to_ap", "temperature": 300.0, **pulses}).writes():  # type: ignore[arg-type]
        write, tau = reduced_write(device, **vars(one))
        same: dict[str, Any] = {
            name: _rounded(value) for name, value in vars(write).items() if isinstance(value, float)
        }
        law = write.conduction
        if law is not None:
            law = replace(law, bias=_rounded(law.bias), softening=_rounded(law.softening))
        found.append((replace(write, **same, conduction=law), np.asarray(rows), plateaus / tau))
    return found


def _rounded(value: float) -> float:
    return float(f"{value:.{SAME}g}")


def _on_sphere(device: MTJ, pulses: Pulses, deep: NDArray[np.bool_]) -> Logs:
    def switched(rows: NDArray[np.bool_]) -> Array:
        some = {name: value[rows] for name, value in pulses.items()}
        return np.asarray(switching_probability(device, **some))  # type: ignore[arg-type]

    return _logs(np.atleast_1d(write_error_rate(device, **pulses)), deep, switched)  # type: ignore[arg-type]


def _logs(p: Array, deep: NDArray[np.bool_], switched: Callable[[NDArray[np.bool_]], Array]) -> Logs:
    """Ln p and ln q from p, and from `switched` where q is small and its accuracy wanted."""
    q = 1 - p
    small = deep & (q < NEAR_ONE)
    if small.any():
        q[small] = switched(small)
    log_p = np.where(q < 0.5, np.log1p(-np.minimum(q, 0.5)), np.log(np.maximum(p, SMALLEST)))
    least = np.where(deep, SMALLEST, ROUNDED)
    log_q = np.where(p < 0.5, np.log1p(-np.minimum(p, 0.5)), np.log(np.maximum(q, least)))
    return log_p, log_q


def _tails(write: AxialWrite, plateaus: Array, deep: NDArray[np.bool_]) -> Logs:
    """Ln p and ln q after each plateau (units of tau_D)."""
    rectangular, barrier = not write.before and not write.after, not write.drives_everywhere()
    if rectangular and not barrier:
        plateaus = np.minimum(plateaus, LONGEST_SPECTRAL)
    escape = solve_escape(write) if rectangular and barrier and plateaus.max() > SETTLED / 2 else None
    steady = np.zeros(plateaus.shape, dtype=bool) if escape is None else _is_steady(escape, plateaus)
    log_p, log_q = np.empty(plateaus.shape), np.empty(plateaus.shape)
    if escape is not None and steady.any():
        log_p[steady], log_q[steady] = _escaped(write, escape, plateaus[steady])
    rest = ~steady
    if rest.any():
        p = tail_probability(write, plateaus[rest])

        def switched(rows: NDArray[np.bool_]) -> Array:
            return tail_probability(write, plateaus[rest][rows], tail="switched")

        log_p[rest], log_q[rest] = _logs(p, deep[rest], switched)
    return log_p, log_q


def _is_steady(escape: Escape, plateaus: Array) -> NDArray[np.bool_]:
    """Whether the slow mode of an escape is exact enough for counts, for each plateau.

    Its rate k has a relative error of about k tau_r, so p one of x k tau_r e^(-x) with x = k t. That is enough if
    k tau_r <= FASTEST (p and q to 1e-5), if it is <= NEGLIGIBLE (all has switched), or beyond the spectral solver's
    limit: with t > 1e4 tau_r it is at most x^2 e^(-x) / 1e4 <= 5e-5, a hundredth of the counting error of 1e4 writes.
    """
    gone = np.exp(min(escape.log_rate, 0.0)) * plateaus
    slow = escape.fast_escape
    decayed = ((slow <= 0.1) & (gone * slow * np.exp(-gone) <= NEGLIGIBLE)) | (gone >= 100)
    exact = (slow <= FASTEST) | decayed | (plateaus > LONGEST_SPECTRAL)
    return np.asarray((plateaus >= SETTLED * escape.relaxation_time) & exact)


def _escaped(write: AxialWrite, escape: Escape, plateaus: Array) -> Logs:
    """Return both tails: q = pi_other - (pi_other - D) e^(-k t), p = 1 - pi_other + (pi_other - D) e^(-k t)."""
    log_q = np.minimum(escape.log_switched(plateaus), 0.0)
    pi_other = np.exp(escape.log_other)
    left = pi_other - escape.sign_ahead * np.exp(escape.log_ahead)
    p = left * np.exp(-np.exp(escape.log_rate) * plateaus)
    if p.min() < NEGLIGIBLE:  # pi_start without a difference
        ratio = write.stationary_ratio()
        p += ratio / (1 + ratio)
    else:
        p += 1 - pi_other
    return np.where(p < 0.5, np.log(np.maximum(p, SMALLEST)), np.log1p(-np.minimum(np.exp(log_q), 0.5))), log_q
