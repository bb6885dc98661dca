"""The inverse questions against brute force on a grid, and against the checkpoints of pulse width ratios."""

import numpy as np
import pytest

from bridge import WriteSetting, current_for, find_setting, operating_point, pulse_width_for
from mtjsim import MTJ, write_error_rate

TAU, I_C = 2e-9, 30e-6


def junction(Delta=60.0, **optional):
    return MTJ.from_effective(thermal_stability=Delta, critical_current=I_C, characteristic_time=TAU, **optional)


LOPSIDED = junction(50.0, spin_torque_asymmetry=0.25)


@pytest.mark.parametrize(
    ("deep", "shallow", "ratio"),
    [(1e-8, 1e-3, 2.067), (1e-8, 1e-2, 2.628), (1e-8, 5e-2, 3.251), (1e-6, 1e-3, 1.640)],
)
@pytest.mark.parametrize("direction", ["p_to_ap", "ap_to_p"])
def test_ratios_of_pulse_widths(deep, shallow, ratio, direction):
    """Delta 60, i = 2."""
    widths = [pulse_width_for(junction(), error_rate=p, current=2 * I_C, direction=direction) for p in (deep, shallow)]
    assert widths[0] / widths[1] == pytest.approx(ratio, abs=5e-4)


@pytest.mark.parametrize("direction", ["p_to_ap", "ap_to_p"])
@pytest.mark.parametrize("pulse", [{}, {"rise_time": 1e-9, "relax_time": 1e-9}, {"temperature": 360.0}])
def test_pulse_width_against_a_grid(direction, pulse):
    width = pulse_width_for(LOPSIDED, error_rate=1e-4, current=80e-6, direction=direction, **pulse)
    grid = np.linspace(0.95, 1.05, 41) * width
    rates = write_error_rate(LOPSIDED, current=80e-6, pulse_width=grid, direction=direction, **pulse)
    shortest = grid[np.argmax(rates <= 1e-4)]
    assert width == pytest.approx(shortest, rel=0.003)
    at = write_error_rate(LOPSIDED, current=80e-6, pulse_width=width, direction=direction, **pulse)
    assert at == pytest.approx(1e-4, rel=1e-5)


@pytest.mark.parametrize("direction", ["p_to_ap", "ap_to_p"])
@pytest.mark.parametrize("pulse", [{}, {"rise_time": 1e-9, "temperature": 360.0}])
def test_current_against_a_grid(direction, pulse):
    current = current_for(LOPSIDED, error_rate=1e-4, pulse_width=6e-9, direction=direction, **pulse)
    grid = np.linspace(0.97, 1.03, 13) * current
    rates = write_error_rate(LOPSIDED, current=grid, pulse_width=6e-9, direction=direction, **pulse)
    assert current == pytest.approx(grid[np.argmax(rates <= 1e-4)], rel=0.006)
    at = write_error_rate(LOPSIDED, current=current, pulse_width=6e-9, direction=direction, **pulse)
    assert at == pytest.approx(1e-4, rel=1e-4)


def test_current_and_width_are_inverse():
    width = pulse_width_for(LOPSIDED, error_rate=1e-6, current=90e-6)
    assert current_for(LOPSIDED, error_rate=1e-6, pulse_width=width) == pytest.approx(90e-6, rel=1e-5)


def test_any_rise_time_can_be_searched():
    """The search starts at the shortest pulse the ramps allow, which must survive exp(log(width))."""
    for rise in np.linspace(0.2e-9, 3e-9, 8):
        assert rise < pulse_width_for(junction(), error_rate=1e-3, current=60e-6, rise_time=float(rise)) < 30e-9


def test_a_rate_reached_by_the_ramps_alone():
    """The shortest pulse there is: nothing but ramps."""
    assert pulse_width_for(junction(), error_rate=0.5, current=150e-6, rise_time=4e-9) == pytest.approx(4e-9, rel=1e-9)


def test_setting_against_a_grid():
    """The cheapest of 17 widths, each with its two weakest sufficient currents, is not cheaper than the answer."""
    widths = np.geomspace(4e-9, 30e-9, 17)
    targets = (1e-4, 1e-3)
    energies = []
    for width in widths:
        currents = [
            current_for(LOPSIDED, error_rate=p, pulse_width=width, direction=d)
            for p, d in zip(targets, ("ap_to_p", "p_to_ap"), strict=True)
        ]
        setting = WriteSetting(current_0=currents[0], current_1=currents[1], pulse_width=width)
        energies.append(operating_point(LOPSIDED, setting).mean_energy)
    best = find_setting(LOPSIDED, targets, pulse_width=(4e-9, 30e-9))
    assert best.mean_energy <= min(energies) * (1 + 1e-6)
    assert best.mean_energy == pytest.approx(min(energies), rel=0.01)
    assert best.setting.pulse_width == pytest.approx(widths[np.argmin(energies)], rel=0.15)
    assert (best.error_rate_0, best.error_rate_1) == pytest.approx(targets, rel=1e-4)
    again = operating_point(LOPSIDED, best.setting)
    assert again == best


def test_fixed_width():
    point = find_setting(LOPSIDED, 1e-3, pulse_width=6e-9)
    assert point.setting.pulse_width == 6e-9
    assert point.setting.current_1 == pytest.approx(current_for(LOPSIDED, error_rate=1e-3, pulse_width=6e-9), rel=1e-6)
    assert point.setting.current_1 > point.setting.current_0  # lambda > 0: the 1 is the harder write
    assert point.latency == 6e-9


def test_latency_is_limited_by_the_current():
    """The harder direction at the largest current sets the width."""
    point = find_setting(LOPSIDED, 1e-3, minimize="latency", max_current=100e-6)
    hard = pulse_width_for(LOPSIDED, error_rate=1e-3, current=100e-6, direction="p_to_ap")
    assert point.setting.pulse_width == pytest.approx(hard, rel=1e-5)
    assert max(point.setting.current_0, point.setting.current_1) <= 100e-6
    assert point.setting.current_1 == pytest.approx(100e-6, rel=1e-4)
    assert point.error_rate_1 == pytest.approx(1e-3, rel=1e-4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"error_rate": 5}, "error_rate must be .*1, got 5.*not percent"),
        ({"error_rate": 1.0}, "error_rate must be .*1, got 1"),
        ({"error_rate": 0.0}, "error_rate must be .*> 0.*got 0. .*not percent"),
        ({"error_rate": -0.1}, "error_rate must be .*> 0.*got -0.1"),
        (
            {"current": 20e-6},
            "not reached at 2e-05 A within .* s .*: it is 0.6.* there. .*critical current, 3e-05 A",
        ),
        ({"longest": 3e-9}, "is not reached at 6e-05 A within 3e-09 s"),
        ({"direction": "up"}, "direction must be one of"),
    ],
)
def test_pulse_width_that_does_not_exist(changes, message):
    with pytest.raises(ValueError, match=message):
        pulse_width_for(junction(), **({"error_rate": 1e-3, "current": 60e-6} | changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"error_rate": 5}, "error_rate must be .*1, got 5.*not percent"),
        ({"strongest": 40e-6}, "is not reached with 5e-09 s and at most 4e-05 A .*: it is 0.* there. .*longer pulse"),
        ({"strongest": -1.0}, "strongest must be .*> 0 A, got -1"),
        ({"pulse_width": 0.0}, "pulse_width must be .*> 0 s, got 0"),
    ],
)
def test_current_that_does_not_exist(changes, message):
    with pytest.raises(ValueError, match=message):
        current_for(junction(), **({"error_rate": 1e-3, "pulse_width": 5e-9} | changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"error_rate": 5}, "error_rate.* must be .*1, got 5.*not percent"),
        ({"error_rate": (1e-3, 5)}, "error_rate_1 must be .*1, got 5.*not percent"),
        ({"minimize": "enregy"}, "minimize must be one of 'energy', .*, got 'enregy'. Did you mean 'energy'"),
        ({"pulse_width": (5e-9, 2e-9)}, r"pulse_width must be one number or \(shortest, longest\)"),
        ({"pulse_width": 5e-9, "max_current": 40e-6}, "is not reached with 5e-09 s and at most 4e-05 A"),
        ({"pulse_width": (2e-9, 4e-9), "max_current": 31e-6}, "is not reached with 4e-09 s and at most 3.1e-05 A"),
    ],
)
def test_setting_that_does_not_exist(changes, message):
    with pytest.raises(ValueError, match=message):
        find_setting(junction(), **changes)


@pytest.mark.parametrize("targets", [(1e-3,), (1e-3, 1e-3, 1e-3)])
def test_targets_that_are_not_two(targets):
    with pytest.raises(ValueError, match="error_rate"):
        find_setting(junction(), targets, pulse_width=5e-9)
