"""Polynomials of the axisymmetric Fokker-Planck equation: their matrices, and how many are needed.

The equation, the expansion and its symbols are in the docstring of spectral.py.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from scipy.special import eval_jacobi, roots_legendre

from mtjsim.checks import Array
from mtjsim.fokker_planck.reduced import AxialWrite

FULL_SPHERE = -1.0  # position of the wall without a wall


@dataclass(frozen=True)
class Basis:
    """Matrices that depend on the number of polynomials and the wall only; the legend is the docstring of spectral.py.

    `diffusion`, `uniform` and `linear` are (n, n): the parts of A with 1/(2 Delta), H and 1 in front.
    `project` (n, q) turns a density sampled at the q nodes `y` of [0, 1] into coefficients; `weights` (q,) integrates
    it. `trial` (n, k) are the trial functions at the k nodes `y_all` of the whole interval, with weights
    `weights_all`. `flux` (n, k) tests a drift sampled at the k nodes.
    """

    flux: Array
    diffusion: Array
    uniform: Array
    linear: Array
    project: Array
    survive: Array
    y: Array
    weights: Array
    trial: Array
    y_all: Array
    weights_all: Array


def test_functions(size: int, b: int, x: Array) -> Array:
    """Orthonormal Jacobi polynomials (0, b), (size, len(x))."""
    k = np.arange(size)[:, None]
    return np.sqrt((2 * k + b + 1) / 2.0 ** (b + 1)) * eval_jacobi(k, 0, b, x)


@lru_cache(maxsize=64)
def build_basis(size: int, wall: float, rational: bool = False) -> Basis:
    """Assemble the matrices of `size` polynomials on [wall, 1]; `rational` if the drift is not a polynomial."""
    b = int(wall > FULL_SPHERE)
    half = (1.0 - wall) / 2

    def polynomials(x: Array) -> tuple[Any, Any, Any, Any]:
        """Test functions, their slopes, trial functions, their slopes (in x); each (size, len(x))."""
        k = np.arange(size)[:, None]
        norm = np.sqrt((2 * k + b + 1) / 2.0 ** (b + 1))
        test = test_functions(size, b, x)
        slope = norm * np.where(k > 0, (k + b + 1) / 2 * eval_jacobi(np.maximum(k - 1, 0), 1, b + 1, x), 0.0)
        if b == 0:
            return test, slope, test, slope
        return test, slope, (1 + x) * test, test + (1 + x) * slope

    quadrature = 2 * size + 64 if rational else size + 8
    x, w = roots_legendre(quadrature)
    y_all = wall + (1 + x) * half
    _, test_slope, trial, trial_slope = polynomials(x)
    flux = test_slope * ((1 - y_all**2) * w) / half
    diffusion = -flux @ trial_slope.T / half
    if b:  # at the wall the density vanishes and its flux does not
        test_w, _, _, trial_slope_w = polynomials(np.array([-1.0]))
        diffusion -= (1 - wall**2) * test_w @ trial_slope_w.T / half**2

    x_start, w_start = roots_legendre(max(256, size))
    y, weights = (1 + x_start) / 2, w_start / 2
    test_start, _, trial_start, _ = polynomials((y - wall) / half - 1)
    return Basis(
        flux=flux,
        diffusion=diffusion,
        uniform=flux @ trial.T,
        linear=(flux * y_all) @ trial.T,
        project=test_start * weights / half,
        survive=trial_start @ weights,
        y=y,
        weights=weights,
        trial=trial,
        y_all=y_all,
        weights_all=w * half,
    )


POLE_DIGITS = 13  # of the series of 1/(1 + L y)
RELATIVE, ABSOLUTE = 8.0, 12.0  # polynomials a resolved length: behind a wall; for 1e-11 of the mass on the full sphere


def basis_size(write: AxialWrite, wall: float, resolution: float) -> int:
    """Polynomials that resolve the narrowest structure, 1/sqrt(Delta max|G|) long, `resolution` times; multiple of 16.

    At least as many as the pole of 1/(1 + L y) needs, whose series falls as rho^-n (Bernstein's ellipse). The factors
    and the margin are set by convergence over the parameter space (tests: against 48 polynomials more).
    """
    largest_force = np.abs(write.force(np.linspace(wall, 1.0, 65), write.drive)).max() + 2.0
    needed = resolution * (1 - wall) / 2 * np.sqrt(write.thermal_stability * largest_force) + 16
    if write.asymmetry != 0:
        sign, distance = np.sign(write.asymmetry), 1 / max(abs(write.asymmetry), 1e-6)  # y = -1/L
        pole = (2 * distance + sign * (1 + wall)) / (1 - wall)
        needed = max(needed, POLE_DIGITS * np.log(10) / np.arccosh(pole))
    return 16 * int(np.ceil(needed / 16))
