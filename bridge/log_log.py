"""The complementary log-log transform of an error rate, v = ln(-ln(1 - W)), and back.

W << 1: v = ln W, so that an error of v is a relative error of W. W near 1: v = ln(-ln P) with P = 1 - W, so that P
keeps its relative accuracy as well, and W never exceeds 1.
"""

import numpy as np

from mtjsim.checks import Array

LEAST_RATE = 1e-300  # below, the logarithm of a stored W is lost
SMALL = -30.0  # ln W, from which on v = ln W to 1e-13


def log_log(rate: Array, *, least_switched: float) -> Array:
    """V of an error rate; clipped where W itself, or 1 - W below `least_switched`, is lost in rounding."""
    return np.log(-np.log1p(-np.clip(rate, LEAST_RATE, 1 - least_switched)))


def log_log_of_log(log_rate: Array, *, least_switched: float) -> Array:
    """V of the natural logarithm of an error rate, of any depth."""
    return np.where(log_rate < SMALL, log_rate, log_log(np.exp(log_rate), least_switched=least_switched))


def log_rate(v: Array) -> Array:
    """Natural logarithm of the error rate at v, with its own relative accuracy at both ends."""
    return np.where(v < SMALL, v, np.log(-np.expm1(-np.exp(np.clip(v, SMALL, 5.0)))))  # at 5 the rate is 1 - 1e-64


def log_switched(v: Array) -> Array:
    """Natural logarithm of the switching probability 1 - W at v."""
    return -np.exp(v)
