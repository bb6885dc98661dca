"""Settings along the contour of a target: against settings that were found by a search at each width, and by theory."""

import math

import numpy as np
import pytest

from bridge import Cell, Transistor, find_setting, operating_point
from bridge.search.contour import Contour, cheapest_width
from bridge.search.reach import Reach, shortest_width, weakest_amplitude
from mtjsim import load_preset
from physics import approx, cell, junction

ARM = Cell(load_preset("arm_2021"), transistor=Transistor(width=270e-9), supply_voltage=1.2)
SHORT_OF_CURRENT = ARM.replace(connection="free_at_drain")
OTHER_NODE = Cell(
    junction(critical_current=60e-6, resistance_p=1500),
    transistor=Transistor.of_node("45nm_lop", width=360e-9),
    supply_voltage=1.1,
    word_line_voltage=1.1,
)
SLOW = {"marks": pytest.mark.slow}
# width [ns] and mean cost [fJ] that a search with a root at each of some 17 widths found, to 1 % of the width
SETTINGS = [
    pytest.param(ARM, 1e-3, {}, 12.160, 774.454, id="1e-3", **SLOW),
    pytest.param(ARM, 1e-6, {}, 18.952, 1432.228, id="1e-6"),
    pytest.param(ARM, 1e-9, {}, 26.022, 2088.888, id="1e-9", **SLOW),
    pytest.param(ARM.replace(differential=True), 1e-6, {}, 18.952, 2864.456, id="pair", **SLOW),
    pytest.param(ARM, 1e-6, {"minimize": "energy_with_driver"}, 19.083, 1641.962, id="with driver", **SLOW),
    pytest.param(ARM, (1e-3, 1e-7), {"max_latency": 25e-9}, 13.247, 820.252, id="two targets", **SLOW),
    pytest.param(ARM, 1e-4, {"rise_time": 1e-9}, 13.915, 977.196, id="ramps", **SLOW),
    pytest.param(ARM, 1e-5, {"relax_time": 2e-9}, 16.652, 1213.168, id="relaxation", **SLOW),
    pytest.param(ARM, 1e-4, {"temperature": (290.0, 310.0)}, 14.366, 999.007, id="temperatures", **SLOW),
    pytest.param(cell(), 1e-9, {}, 27.906, 808.967, id="soft supply"),
    pytest.param(SHORT_OF_CURRENT, 1e-6, {}, 54.645, 1551.916, id="saturated transistor"),
    pytest.param(OTHER_NODE, 1e-9, {}, 27.868, 869.821, id="other node", **SLOW),
]


@pytest.mark.parametrize(("cell", "target", "options", "width", "cost"), SETTINGS)
def test_the_setting_of_a_search_at_every_width(cell, target, options, width, cost):
    """Both rates are at most their targets, and nowhere below by more than the tolerance of the amplitudes."""
    found = find_setting(cell, target, drive="voltage", **options)
    targets = target if isinstance(target, tuple) else (target, target)
    if cell.differential:
        assert max(found.error_rate_0, found.error_rate_1) <= target
    else:
        assert found.error_rate_0 <= targets[0]
        assert found.error_rate_1 <= targets[1]
    assert found.worst_error_rate == approx(max(targets), rel=1e-4)
    of_driver = options.get("minimize") == "energy_with_driver"
    assert (found.mean_energy_with_driver if of_driver else found.mean_energy) <= cost * 1e-15 * (1 + 2e-4)
    assert found.setting.pulse_width == approx(width * 1e-9, rel=0.02)
    assert operating_point(cell, found.setting, temperature=found.temperature) == found


def contours(device, target, **pulse):
    reach = Reach(device=device, **pulse)
    return tuple(Contour(reach, bit, target, False) for bit in (0, 1))


def test_points_of_a_contour_meet_the_target():
    pair = contours(junction(), 1e-5)
    tau = junction().characteristic_time(300.0)
    cheapest_width(pair, 0.2 * tau, 50 * tau)
    for contour in pair:
        assert len(contour.points) >= 5
        assert (np.diff([point.amplitude for point in contour.points]) < 0).all()
        for point in contour.points:
            assert contour.reach.rate(contour.bit, point.amplitude, math.exp(point.log_width)) == approx(1e-5, rel=2e-2)


def test_a_contour_between_its_points():
    """What the spline gives at a width is what a root there gives, to the tolerance of a first guess."""
    pair = contours(cell(), 1e-4, drive="voltage")
    width = cheapest_width(pair, 2e-9, 60e-9)
    for contour in pair:
        exact = weakest_amplitude(contour.reach, contour.bit, 1e-4, width, tolerance=1e-7)
        assert contour.amplitude(math.log(width)) == approx(exact, rel=1e-3)


def test_a_width_that_no_amplitude_reaches():
    pair = contours(junction(), 1e-6, max_current=31e-6)
    assert cheapest_width(pair, 1e-9, 4e-9) is None


def test_an_optimum_at_the_longest_width_is_found_there():
    found = find_setting(junction(), 1e-6, pulse_width=(2e-9, 8e-9))
    assert found.setting.pulse_width == approx(8e-9, rel=1e-6)


@pytest.mark.parametrize("rise", [0.0, 1e-9])
def test_a_guess_changes_the_solves_and_not_the_amplitude(rise, monkeypatch):
    """Nor does a coarse start of a write with ramps."""
    reach = Reach(device=junction(), rise_time=rise)
    whole = weakest_amplitude(reach, 1, 1e-6, 9e-9, tolerance=1e-7)
    count, rates = [], Reach.rates
    monkeypatch.setattr(Reach, "rates", lambda *a, **k: count.append(1) or rates(*a, **k))
    for near in (0.97 * whole, 0.9995 * whole, 1.02 * whole):
        assert weakest_amplitude(reach, 1, 1e-6, 9e-9, near=near, tolerance=1e-7) == approx(whole, rel=3e-7)
    count.clear()
    weakest_amplitude(reach, 1, 1e-6, 9e-9, near=0.9995 * whole, tolerance=1e-7)
    assert len(count) <= 4


@pytest.mark.parametrize("rise", [0.0, 1e-9])
def test_the_shortest_width_is_the_weakest_amplitude_s(rise):
    reach = Reach(device=junction(), rise_time=rise)
    amplitude = weakest_amplitude(reach, 0, 1e-6, 9e-9, tolerance=1e-9)
    assert shortest_width(reach, 0, 1e-6, amplitude, longest=1e-7) == approx(9e-9, rel=1e-6)
    assert shortest_width(reach, 0, 1e-6, amplitude, longest=1e-7, coarse=True) == approx(9e-9, rel=3e-5)
    assert shortest_width(reach, 0, 1e-6, amplitude, longest=8e-9) is None


@pytest.mark.slow
def test_a_target_that_any_long_pulse_meets_at_a_rate_no_solver_resolves():
    """The ceiling at the longest width has a rate far below any that is resolved: it is not solved."""
    found = find_setting(cell(), 1e-6, drive="voltage", rise_time=0.5e-9)
    assert found.worst_error_rate <= 1e-6
    assert found.setting.pulse_width == approx(20.43e-9, rel=0.02)


@pytest.mark.parametrize("targets", [(0.9, 1e-3), (0.9, 0.9)])
def test_a_bit_that_falls_by_itself(targets):
    """At a barrier of 6 kT a long pulse of nothing meets 0.9; other widths are not cheaper."""
    device = junction(6.0)
    found = find_setting(device, targets)
    assert found.error_rate_0 <= targets[0]
    assert found.error_rate_1 <= targets[1]
    for factor in (0.5, 0.8, 1.25, 2.0):
        other = find_setting(device, targets, pulse_width=factor * found.setting.pulse_width)
        assert found.mean_energy <= other.mean_energy * (1 + 1e-4)
