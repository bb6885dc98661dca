"""Every closed form against the solver: the error that its docstring states, no more and hardly less."""

import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import brentq

from mtjsim.analytic import closed_form_escape_rate, closed_form_write_error_rate, drift_time, tail_slope
from mtjsim.fokker_planck.axial import tail_probability
from mtjsim.fokker_planck.escape import solve_escape
from mtjsim.fokker_planck.reduced import AxialWrite
from physics import approx


def errors(Delta, i, drift):
    """Relative errors of the closed write error rate at rates from 0.1 to 1e-12."""
    longest = (math.log(1e12) + math.log(4 * Delta)) / (2 * (i - 1))
    tau = np.linspace(0.1, longest, 60)
    solved = tail_probability(AxialWrite(thermal_stability=Delta, drive=i), tau)
    tau, solved = tau[(solved < 0.1) & (solved > 1e-12)], solved[(solved < 0.1) & (solved > 1e-12)]
    assert solved.max() > 0.02
    assert solved.min() < 1e-10
    return closed_form_write_error_rate(thermal_stability=Delta, overdrive=i, duration=tau, drift=drift) / solved - 1


@pytest.mark.parametrize("Delta", [40, 100])
@pytest.mark.parametrize(
    ("drift", "i", "least", "most"),
    [
        ("exact", 1.5, 0.0, 4.0),
        ("exact", 2.0, 0.0, 0.40),
        ("exact", 2.5, 0.0, 0.09),
        ("exact", 3.0, -0.04, 0.04),
        ("exact", 4.0, -0.04, 0.04),
        ("exact", 6.0, -0.04, 0.04),
        ("linear", 2.0, 0.5, 1.2),
        ("linear", 4.0, -0.12, -0.08),
        ("linear", 6.0, -0.24, -0.19),
    ],
)
def test_closed_write_error_rate(Delta, drift, i, least, most):
    measured = errors(Delta, i, drift)
    assert least <= measured.min()
    assert measured.max() <= most


def test_the_improved_drift_is_an_improvement():
    """The negative control: at i = 4 the linear drift is not within the 4 % that the exact one is."""
    assert np.abs(errors(60, 4.0, "exact")).max() < 0.04 < np.abs(errors(60, 4.0, "linear")).min()


def test_closed_write_error_rate_at_its_ends():
    """At tau = 0 nothing has switched but exp(-Delta psi^2); a pulse of any length underflows quietly."""
    rate = closed_form_write_error_rate(thermal_stability=60, overdrive=4.0, duration=[0.0, 1e4])
    assert rate[0] == approx(1)
    assert rate[1] == 0


@pytest.mark.parametrize("Delta", [40, 100])
@pytest.mark.parametrize(
    ("i", "h", "worst"), [(1.5, 0, 0.06), (2, 0, 0.013), (2.5, 0, 5e-3), (6, 0, 5e-3), (3, 0.3, 5e-3)]
)
def test_tail_slope(Delta, i, h, worst):
    write = AxialWrite(thermal_stability=Delta, drive=i, field=h)
    ends = np.array([35.0, 45.0]) / (2 * (i - h - 1))
    solved = -np.diff(np.log(tail_probability(write, ends)))[0] / np.diff(ends)[0]
    assert abs(tail_slope(overdrive=i, field=h) / solved - 1) < worst


def test_tail_slope_without_the_field_would_be_seen():
    assert tail_slope(overdrive=3.0, field=0.3) == approx(3.4)
    assert tail_slope(overdrive=3.0) == approx(4.0)


@pytest.mark.parametrize("i", [1.1, 2.0, 6.0])
@pytest.mark.parametrize("angle", [0.001, 0.1, 1.0, math.pi / 2])
def test_drift_time_is_the_integral(i, angle):
    """In the angle: d theta / d tau = sin(theta) (i - cos(theta))."""
    whole = quad(
        lambda x: 1 / (math.sin(x) * (i - math.cos(x))), angle, math.pi / 2, epsabs=1e-12, epsrel=1e-11, limit=200
    )
    assert drift_time(overdrive=i, polar_angle=angle) == approx(whole[0], rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("Delta", [40, 100])
@pytest.mark.parametrize("i", [2.0, 6.0])
def test_drift_time_is_near_the_median(Delta, i):
    write = AxialWrite(thermal_stability=Delta, drive=i)
    median = brentq(lambda tau: tail_probability(write, np.array([tau]))[0] - 0.5, 0.1, 8.0)
    assert abs(drift_time(overdrive=i, polar_angle=Delta**-0.5) / median - 1) < 0.09


def forward_rate(Delta, i, h):
    """Exact rate out of the starting well, k (pi_other - D): what of the well lies beyond m_z = 0 has not left it."""
    escape = solve_escape(AxialWrite(thermal_stability=Delta, drive=i, field=h))
    ahead = escape.sign_ahead * math.exp(escape.log_ahead - escape.log_other)
    return math.exp(escape.log_rate + escape.log_other) * (1 - ahead)


def correction(H):
    return 1 / (2 * (1 + H) ** 2) + 1 / (2 * (1 - H * H)) + 2 * H * H / (1 - H * H) ** 2


@pytest.mark.parametrize("Delta", [15, 20, 40, 100])
@pytest.mark.parametrize(
    ("i", "h"), [(0, 0), (0.1, 0), (0.25, 0), (0.5, 0), (0, -0.2), (0, 0.2), (0.3, 0.2), (0.3, -0.1), (0, 0.4)]
)
def test_closed_escape_rate(Delta, i, h):
    H = h - i
    if Delta * (1 - abs(H)) ** 2 < 10 or correction(H) > 0.15 * Delta:
        with pytest.raises(ValueError, match="does not hold"):
            closed_form_escape_rate(thermal_stability=Delta, overdrive=i, field=h)
        return
    error = closed_form_escape_rate(thermal_stability=Delta, overdrive=i, field=h) / forward_rate(Delta, i, h) - 1
    assert 0 < error < 2.5 * (correction(H) / Delta) ** 2


@pytest.mark.parametrize(("Delta", "worst"), [(20, 0.0025), (40, 0.00053)])
def test_browns_rate(Delta, worst):
    """sqrt(Delta/pi) e^-Delta (1 - 1/Delta)."""
    rate = closed_form_escape_rate(thermal_stability=Delta)
    assert rate == approx(math.sqrt(Delta / math.pi) * math.exp(-Delta) * (1 - 1 / Delta), rel=1e-12)
    assert abs(rate / forward_rate(Delta, 0.0, 0.0) - 1) < worst


@pytest.mark.parametrize(("i", "c"), [(0.0, 1.0), (0.25, 1.6), (0.5, 3.8)])
def test_the_rate_without_correction_would_be_seen(i, c):
    """High by c/Delta (physics.md: c about 1, 1.6, 3.8), which is more than the corrected one is off."""
    Delta = 100
    corrected = closed_form_escape_rate(thermal_stability=Delta, overdrive=i)
    leading = corrected / (1 - correction(-i) / Delta)
    exact = forward_rate(Delta, i, 0.0)
    assert (leading / exact - 1) * Delta == approx(c, rel=0.03)
    assert abs(corrected / exact - 1) < 0.05 * (leading / exact - 1)


def test_a_linear_barrier_would_be_seen():
    """(1 - i) in place of (1 - i)^2."""
    exact = forward_rate(60, 0.5, 0.0)
    assert math.exp(-60 * 0.5) < 1e-6 * math.exp(-60 * 0.25)
    assert closed_form_escape_rate(thermal_stability=60, overdrive=0.5) == approx(exact, rel=0.01)


WRITE = {"thermal_stability": 60, "overdrive": 3, "duration": 3}
OUTSIDE = [
    (closed_form_write_error_rate, WRITE | {"overdrive": 1.4}, r"overdrive must be >= 1\.5.*1\.4.*write_error_rate"),
    (closed_form_write_error_rate, WRITE | {"overdrive": 1.9, "drift": "linear"}, "overdrive must be >= 2"),
    (closed_form_write_error_rate, WRITE | {"thermal_stability": 10}, "thermal_stability must be >= 40"),
    (closed_form_write_error_rate, WRITE | {"duration": -1}, "duration must be finite and >= 0"),
    (closed_form_write_error_rate, WRITE | {"drift": "exakt"}, "Did you mean 'exact'"),
    (tail_slope, {"overdrive": 1.4}, r"overdrive - field must be >= 1\.5, got 1\.4.*write_error_rate"),
    (tail_slope, {"overdrive": 1.7, "field": 0.3}, r"must be >= 1\.5, got 1\.4"),
    (tail_slope, {"overdrive": 3, "field": 1.0}, "field must be between -1 and 1"),
    (tail_slope, {"overdrive": 3, "field": "a"}, "field must be a number.*got 'a'"),
    (tail_slope, {"overdrive": 3, "field": math.nan}, "field must be finite, got nan"),
    (closed_form_escape_rate, {"thermal_stability": 60, "field": None}, "field must be a number.*got None"),
    (drift_time, {"overdrive": 1.0, "polar_angle": 0.1}, "overdrive must be > 1.*closed_form_escape_rate"),
    (drift_time, {"overdrive": 2.0, "polar_angle": 2.0}, "polar_angle must be <= pi/2"),
    (closed_form_escape_rate, {"thermal_stability": 60, "overdrive": 1.0}, "no barrier.*read_disturb_rate"),
    (closed_form_escape_rate, {"thermal_stability": 60, "overdrive": 0.7}, "does not hold.*read_disturb_rate"),
    (closed_form_escape_rate, {"thermal_stability": 9}, "does not hold"),
    (closed_form_escape_rate, {"thermal_stability": 60, "field": -1.0}, "field must be between -1 and 1"),
]


@pytest.mark.parametrize(("function", "arguments", "message"), OUTSIDE)
def test_outside_the_range(function, arguments, message):
    with pytest.raises(ValueError, match=message):
        function(**arguments)
