"""Trade-offs: every point is the weakest write of its target and width; the Pareto filter against its definition."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge import Cell, OperatingPoint, Transistor, current_for, find_setting, pareto, pulse_width_for, trade_off
from bridge.search.frontier import as_records
from physics import approx, junction

DEVICE = junction(50, lam=0.2)
TARGETS, WIDTHS = [1e-2, 1e-5], [3e-9, 6e-9, 12e-9]


def of(energy, latency, rate):
    return OperatingPoint.of_rates(
        error_rate_0=rate, error_rate_1=rate, energy_0=energy, energy_1=energy, latency=latency
    )


@pytest.fixture(scope="module")
def points():
    return trade_off(DEVICE, TARGETS, WIDTHS)


def test_every_target_at_every_width(points):
    assert len(points) == 6
    at = [(target, width) for target in TARGETS for width in WIDTHS]
    for point, (target, width) in zip(points, at, strict=True):
        assert point.setting.pulse_width == width
        assert target * (1 - 1e-4) < point.worst_error_rate <= target
        assert point.setting.current_1 == approx(current_for(DEVICE, error_rate=target, pulse_width=width), rel=1e-5)


def test_lower_rates_and_shorter_pulses_take_more_current(points):
    currents = np.array([point.setting.current_1 for point in points]).reshape(2, 3)
    assert (currents[1] > currents[0]).all()
    assert (np.diff(currents, axis=1) < 0).all()


def test_limits_leave_points_out():
    limited = trade_off(DEVICE, TARGETS, WIDTHS, max_current=90e-6, max_latency=10e-9)
    assert 0 < len(limited) < 4
    assert all(max(point.setting.amplitudes) <= 90e-6 and point.latency <= 10e-9 for point in limited)
    with pytest.raises(ValueError, match=r"is not reached .*limited by max_current = 3.1e-05 A"):
        trade_off(DEVICE, [1e-9], [3e-9], max_current=31e-6)
    with pytest.raises(ValueError, match=r"no pulse width is allowed: the longest is 2e-09 s .max_latency = 2e-09 s"):
        trade_off(DEVICE, [1e-2], WIDTHS, max_latency=2e-9)


def test_voltages_of_a_cell():
    cell = Cell(device=DEVICE, transistor=Transistor(width=360e-9), supply_voltage=1.2, word_line_voltage=1.5)
    (point,) = trade_off(cell, 1e-3, 8e-9, drive="voltage")
    same = find_setting(cell, 1e-3, pulse_width=8e-9, drive="voltage")
    assert point.setting.amplitudes == approx(same.setting.amplitudes, rel=1e-6)
    (row,) = as_records([point])
    assert row["energy_with_driver"] > row["energy"] > 0
    assert row["transistor_energy_1"] == point.energies["transistor"][1, 0] > 0


def test_records_are_numbers_for_a_table(points):
    rows = json.loads(json.dumps(as_records(points)))
    assert rows[0]["latency"] == 3e-9
    assert rows[0]["energy"] == points[0].mean_energy
    assert rows[0]["identity"] == points[0].identity
    assert as_records([of(1.0, 2.0, 0.1)])[0]["error_rate_1"] == 0.1


@given(st.lists(st.tuples(*[st.integers(1, 4)] * 3), max_size=12))
@settings(max_examples=60)
def test_pareto_by_its_definition(figures):
    some = [of(float(e), float(t), r / 10) for e, t, r in figures]
    kept = pareto(some)

    def beats(a, b):
        return all(x <= y for x, y in zip(a, b, strict=True)) and a != b

    expected = []
    for figure in figures:
        if not any(beats(other, figure) for other in figures) and figure not in expected:
            expected.append(figure)
    assert [(p.energy_0, p.latency, round(p.error_rate_0 * 10)) for p in kept] == expected


def test_pareto_takes_rates_of_one_target_as_equal():
    """The cheaper and faster of two points wins although its rate is larger in the eighth digit."""
    assert len(pareto([of(1.0, 1.0, 1e-3), of(2.0, 2.0, 1e-3 * (1 - 1e-8))])) == 1
    assert len(pareto([of(1.0, 1.0, 1e-3), of(2.0, 2.0, 1e-3 * (1 - 1e-8))], tolerance=0.0)) == 2


def test_the_front_of_a_real_trade_off(points):
    front = pareto(points, ("energy", "error_rate"))
    energies = {target: min(p.mean_energy for p in points[3 * t : 3 * t + 3]) for t, target in enumerate(TARGETS)}
    assert sorted(p.mean_energy for p in front) == approx(sorted(energies.values()))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: trade_off(DEVICE, []), "error_rates must be a number or a list of at least one"),
        (lambda: trade_off(DEVICE, [5.0]), "not percent"),
        (lambda: trade_off(DEVICE, [1e-3], [0.0]), "pulse_widths must be .*> 0 s"),
        (lambda: pareto([], ()), "figures must be at least one of energy"),
        (lambda: pareto([], ("enrgy",)), r"a figure must be one of .*got 'enrgy'. Did you mean 'energy'"),
        (lambda: pareto([], tolerance=-1.0), "tolerance must be"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda: trade_off(DEVICE, [1e-3], WIDTHS, pulse_width=5e-9), "'pulse_width'. Did you mean"),
        (lambda: trade_off(DEVICE, [1e-3], WIDTHS, minimize="energy"), "an argument of the search must be one of"),
        (lambda: trade_off(DEVICE, [1e-3], [WIDTHS]), "pulse_widths must be a number or a list"),
        (lambda: trade_off(DEVICE, [1e-3], []), "pulse_widths must be a number or a list"),
        (
            lambda: current_for(DEVICE, error_rate=1e-3, pulse_width=5e-9, temprature=350.0),
            "Did you mean 'temperature'",
        ),
        (lambda: pulse_width_for(DEVICE, error_rate=1e-3, current=60e-6, longest=-1.0), "longest must be"),
    ],
)
def test_what_a_search_does_not_have_is_refused_by_name(ask, words):
    with pytest.raises(ValueError, match=words):
        ask()
