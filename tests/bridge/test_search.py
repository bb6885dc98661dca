"""The inverse questions against brute force on a grid, and against the checkpoints of pulse width ratios."""

import math
import re
from bisect import bisect_left
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge import (
    Cell,
    Transistor,
    WriteSetting,
    current_for,
    find_setting,
    narrowest_transistor,
    operating_point,
    pulse_width_for,
    smallest_cell,
    voltage_for,
)
from bridge.cell.cell import within_area
from bridge.cell.cell_write import circuit_error_rate
from bridge.search.reach import Reach
from mtjsim import MTJ, dissipated_energy, write_error_rate
from physics import I_C, TAU, approx, cell, junction

LOPSIDED = junction(50.0, spin_torque_asymmetry=0.25)


@pytest.mark.parametrize(
    ("deep", "shallow", "ratio"),
    [(1e-8, 1e-3, 2.067), (1e-8, 1e-2, 2.628), (1e-8, 5e-2, 3.251), (1e-6, 1e-3, 1.640)],
)
@pytest.mark.parametrize("direction", ["p_to_ap", "ap_to_p"])
def test_ratios_of_pulse_widths(deep, shallow, ratio, direction):
    """Delta 60, i = 2."""
    widths = [pulse_width_for(junction(), error_rate=p, current=2 * I_C, direction=direction) for p in (deep, shallow)]
    assert widths[0] / widths[1] == approx(ratio, abs=5e-4)


@pytest.mark.parametrize("direction", ["p_to_ap", "ap_to_p"])
@pytest.mark.parametrize("pulse", [{}, {"rise_time": 1e-9, "relax_time": 1e-9}, {"temperature": 360.0}])
def test_pulse_width_against_a_grid(direction, pulse):
    width = pulse_width_for(LOPSIDED, error_rate=1e-4, current=80e-6, direction=direction, **pulse)
    grid = np.linspace(0.95, 1.05, 41) * width
    rates = write_error_rate(LOPSIDED, current=80e-6, pulse_width=grid, direction=direction, **pulse)
    shortest = grid[np.argmax(rates <= 1e-4)]
    assert width == approx(shortest, rel=0.003)
    at = write_error_rate(LOPSIDED, current=80e-6, pulse_width=width, direction=direction, **pulse)
    assert at == approx(1e-4, rel=1e-5)


@pytest.mark.parametrize("direction", ["p_to_ap", "ap_to_p"])
@pytest.mark.parametrize("pulse", [{}, {"rise_time": 1e-9, "temperature": 360.0}])
def test_current_against_a_grid(direction, pulse):
    current = current_for(LOPSIDED, error_rate=1e-4, pulse_width=6e-9, direction=direction, **pulse)
    grid = np.linspace(0.97, 1.03, 13) * current
    rates = write_error_rate(LOPSIDED, current=grid, pulse_width=6e-9, direction=direction, **pulse)
    assert current == approx(grid[np.argmax(rates <= 1e-4)], rel=0.006)
    at = write_error_rate(LOPSIDED, current=current, pulse_width=6e-9, direction=direction, **pulse)
    assert at == approx(1e-4, rel=1e-4)


def test_current_and_width_are_inverse():
    width = pulse_width_for(LOPSIDED, error_rate=1e-6, current=90e-6)
    assert current_for(LOPSIDED, error_rate=1e-6, pulse_width=width) == approx(90e-6, rel=1e-5)


def test_any_rise_time_can_be_searched():
    """The search starts at the shortest pulse the ramps allow, which must survive exp(log(width))."""
    rises = np.linspace(0.2e-9, 3e-9, 64).tolist()
    shorter = [rise for rise in rises if math.exp(math.log(rise)) < rise]
    for rise in (shorter[0], shorter[-1]):
        assert rise < pulse_width_for(junction(), error_rate=1e-3, current=60e-6, rise_time=rise) < 30e-9


def test_a_rate_reached_by_the_ramps_alone():
    """The shortest pulse there is: nothing but ramps."""
    assert pulse_width_for(junction(), error_rate=0.5, current=150e-6, rise_time=4e-9) == approx(4e-9, rel=1e-9)


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
    assert best.mean_energy == approx(min(energies), rel=0.01)
    assert best.setting.pulse_width == approx(widths[np.argmin(energies)], rel=0.15)
    assert (best.error_rate_0, best.error_rate_1) == approx(targets, rel=1e-4)
    again = operating_point(LOPSIDED, best.setting)
    assert again == best


def test_fixed_width():
    point = find_setting(LOPSIDED, 1e-3, pulse_width=6e-9)
    assert point.setting.pulse_width == 6e-9
    assert point.setting.current_1 == approx(current_for(LOPSIDED, error_rate=1e-3, pulse_width=6e-9), rel=1e-6)
    assert point.setting.current_1 > point.setting.current_0  # lambda > 0: the 1 is the harder write
    assert point.latency == 6e-9


def test_latency_is_limited_by_the_current():
    """The harder direction at the largest current sets the width."""
    point = find_setting(LOPSIDED, 1e-3, minimize="latency", max_current=100e-6)
    hard = pulse_width_for(LOPSIDED, error_rate=1e-3, current=100e-6, direction="p_to_ap")
    assert point.setting.pulse_width == approx(hard, rel=1e-5)
    assert max(point.setting.current_0, point.setting.current_1) <= 100e-6
    assert point.setting.current_1 == approx(100e-6, rel=1e-4)
    assert point.error_rate_1 == approx(1e-3, rel=1e-4)


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
        ({"pulse_width": (5e-9, 2e-9)}, r"pulse_width must be one number or \(low, high\)"),
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


# ---- energy ratios, voltages, cells, areas, temperatures -------------------------------------------------------------


@pytest.mark.parametrize(("direction", "ratio"), [("p_to_ap", 2.362), ("ap_to_p", 1.781)])
def test_ratios_of_energies(direction, ratio):
    """Delta 60, i = 2, TMR 100 %: 1e-8 in place of 1e-3 costs most where the longer pulse meets the AP state.

    "About 2.35 and 1.75" is what the project was told; trajectories agree with these to their 0.1 %.
    """
    widths = [pulse_width_for(junction(), error_rate=p, current=2 * I_C, direction=direction) for p in (1e-8, 1e-3)]
    deep, shallow = dissipated_energy(junction(), current=2 * I_C, pulse_width=widths, direction=direction)
    assert deep / shallow == approx(ratio, abs=0.002)
    assert deep / shallow == approx({"p_to_ap": 2.35, "ap_to_p": 1.75}[direction], rel=0.02)


def by_brute_force(device, targets, widths, amplitudes, *, drive="current", temperature=300.0):
    """Least mean energy over a grid of widths and, for each bit, of amplitudes [A or V]."""
    best = np.full(len(widths), 0.0)
    for target, direction in zip(targets, ("ap_to_p", "p_to_ap"), strict=True):
        write = {drive: amplitudes[:, None], "pulse_width": widths, "direction": direction, "temperature": temperature}
        rates, energies = write_error_rate(device, **write), dissipated_energy(device, **write)
        best = best + np.where(rates <= target, energies, np.inf).min(axis=0) / 2
    return best.min()


SLOW = {"marks": pytest.mark.slow}
MANY = [
    pytest.param(LOPSIDED, (1e-3, 1e-3), {}, id="lopsided", **SLOW),
    pytest.param(LOPSIDED, (1e-6, 1e-2), {"max_current": 75e-6}, id="unequal-targets-limited", **SLOW),
    pytest.param(junction(80.0, tmr_half_voltage=0.5), (1e-8, 1e-8), {"max_latency": 9e-9}, id="stable-fast", **SLOW),
    pytest.param(junction(40.0, resistance_p=2e3), (0.05, 0.05), {"breakdown_voltage": 0.19}, id="shallow-breakdown"),
    pytest.param(LOPSIDED, (1e-3, 1e-3), {"drive": "voltage"}, id="voltage", **SLOW),
    pytest.param(junction(), (1e-5, 1e-5), {"drive": "voltage", "max_voltage": 0.55}, id="voltage-limited", **SLOW),
]


@pytest.mark.parametrize(("device", "targets", "limits"), MANY)
def test_never_dearer_than_the_best_of_a_grid(device, targets, limits):
    found = find_setting(device, targets, **limits)
    drive = limits.get("drive", "current")
    high = min(limits.get("max_latency", 1.0), 50 * TAU)
    widths = np.geomspace(2e-9, high, 25)
    top = {"current": 6 * I_C, "voltage": 6 * I_C * device.resistance_p}[drive]
    amplitudes = np.linspace(0.15, 1.0, 60) * top
    if "max_current" in limits:
        amplitudes = amplitudes[amplitudes <= limits["max_current"]]
    if "max_voltage" in limits:
        amplitudes = amplitudes[amplitudes <= limits["max_voltage"]]
    if "breakdown_voltage" in limits:
        amplitudes = amplitudes[amplitudes * device.resistance_ap <= limits["breakdown_voltage"]]
    best = by_brute_force(device, targets, widths, amplitudes, drive=drive)
    assert found.mean_energy <= best * (1 + 1e-3)
    assert found.mean_energy >= 0.9 * best  # the grid is not far off: 1.4 % in amplitude, 15 % in width
    assert (found.error_rate_0, found.error_rate_1) <= targets
    assert max(found.error_rate_0 / targets[0], found.error_rate_1 / targets[1]) <= 1
    assert found.latency <= high * (1 + 1e-12)


@given(
    target=st.sampled_from([0.1, 1e-3, 1e-7]),
    drive=st.sampled_from(["current", "voltage"]),
    most=st.floats(0.2, 4.0),
    latency=st.floats(0.1e-9, 30e-9),
)
@settings(max_examples=15)
def test_a_limit_is_kept_or_named(target, drive, most, latency):
    """Whatever the limits: a setting within them that reaches the targets, or an error with a rate that misses it."""
    limit = {"max_current": most * I_C} if drive == "current" else {"max_voltage": most * I_C * junction().resistance_p}
    try:
        point = find_setting(junction(), target, minimize="latency", drive=drive, max_latency=latency, **limit)
    except ValueError as error:
        text = str(error)
        assert "limited by max_" in text or "limited by 14.9" in text
        assert "the pulse by max_latency" in text
        reached = float(re.search(r"it is (\S+) there", text).group(1))
        assert reached > target * 0.999
        return
    assert point.worst_error_rate <= target
    assert point.latency <= latency * (1 + 1e-12)
    assert max(point.setting.amplitudes) <= next(iter(limit.values())) * (1 + 1e-12)


@pytest.mark.slow
def test_a_cell_under_voltages_against_a_grid():
    """With the driver's joules: 7 widths, 30 supplies for each bit."""
    best = np.inf
    for width in np.geomspace(6e-9, 25e-9, 7):
        mean = 0.0
        supplies = [WriteSetting(voltage_0=V, voltage_1=V, pulse_width=width) for V in np.linspace(0.25, 1.2, 30)]
        for bit in (0, 1):  # a higher supply fails less and costs more: the lowest one that will do, by bisection
            rate = partial(circuit_error_rate, cell().circuit(bit), bit=bit, temperature=300.0)
            lowest = bisect_left(supplies, True, key=lambda setting, rate=rate: rate(setting) <= 1e-4)
            if lowest == len(supplies):
                mean = np.inf
                continue
            point = operating_point(cell(), supplies[lowest])
            mean += sum(table[bit, 0] for table in point.energies.values()) / 2
        best = min(best, mean)
    found = find_setting(cell(), 1e-4, drive="voltage", minimize="energy_with_driver", pulse_width=(6e-9, 25e-9))
    assert 0.88 * best < found.mean_energy_with_driver <= best * (1 + 1e-3)
    assert found.worst_error_rate <= 1e-4


@pytest.mark.slow
def test_energy_with_the_driver_wants_a_shorter_pulse():
    """A regulated current draws the supply whatever the junction takes: the charge counts, not I^2."""
    junction_only, whole = (find_setting(cell(), 1e-4, minimize=m) for m in ("energy", "energy_with_driver"))
    assert whole.setting.pulse_width < 0.8 * junction_only.setting.pulse_width
    assert whole.mean_energy_with_driver < 0.9 * junction_only.mean_energy_with_driver
    assert whole.mean_energy > junction_only.mean_energy


@pytest.mark.parametrize("drive", ["current", pytest.param("voltage", marks=pytest.mark.slow)])
def test_the_smallest_cell(drive):
    """A deeper target takes a wider transistor; 2 % less width no longer reaches it."""
    sizes = []
    for target in (1e-3, 1e-8):
        small, point = smallest_cell(cell(), target, max_latency=9e-9, drive=drive)
        assert point == operating_point(small, point.setting)
        assert point.worst_error_rate <= target
        sizes.append(small.area_f2)
        assert find_setting(cell(), target, minimize="area", max_latency=9e-9, drive=drive) == point
    assert sizes[0] < 0.75 * sizes[1]
    less = small.with_width(0.98 * small.transistor.width)
    with pytest.raises(ValueError, match=r"is not reached with 9e-09 s .*A longer pulse alone would do"):
        find_setting(less, 1e-8, pulse_width=9e-9, drive=drive)


def test_area_as_a_limit():
    area = 12 * 45e-9**2
    point = find_setting(cell(), 1e-4, pulse_width=15e-9, max_area=area)
    assert point.device_identity == within_area(cell(), area).identity
    assert within_area(cell(), area).transistor.width == approx(135e-9)
    with pytest.raises(ValueError, match=r"max_area of .* is too small: the targets need .* m\^2"):
        smallest_cell(cell(), 1e-8, max_latency=9e-9, max_area=area)


def test_each_junction_of_a_pair_meets_the_smaller_target():
    point = find_setting(cell(differential=True), (1e-3, 1e-4), pulse_width=12e-9)
    assert point.error_rate_0 == point.error_rate_1 == approx(1e-4, rel=1e-4)


def test_a_temperature_range_holds_at_both_ends_and_between():
    """Ms and B_k fall with temperature here, so the cold end is the hard one."""
    device = junction(curie_temperature=1100.0, anisotropy_exponent=2.0)
    point = find_setting(device, 1e-4, pulse_width=10e-9, temperature=(263.0, 358.0))
    assert point.temperature == 263.0
    rates = [operating_point(device, point.setting, temperature=T).worst_error_rate for T in (263, 290, 320, 358)]
    assert max(rates) <= 1e-4
    assert rates[0] > 5 * rates[-1]
    assert point.mean_energy > find_setting(device, 1e-4, pulse_width=10e-9, temperature=358.0).mean_energy


def test_voltage_and_width_are_inverse():
    volts = voltage_for(LOPSIDED, error_rate=1e-5, pulse_width=8e-9, direction="ap_to_p", rise_time=1e-9)
    width = pulse_width_for(LOPSIDED, error_rate=1e-5, voltage=volts, direction="ap_to_p", rise_time=1e-9)
    assert width == approx(8e-9, rel=1e-5)
    inside = voltage_for(cell(), error_rate=1e-5, pulse_width=8e-9)
    assert pulse_width_for(cell(), error_rate=1e-5, voltage=inside) == approx(8e-9, rel=1e-5)


@pytest.mark.parametrize(("search", "limit", "unit"), [(current_for, 50e-6, "A"), (voltage_for, 0.1, "V")])
def test_a_limit_is_named_as_the_caller_names_it(search, limit, unit):
    with pytest.raises(ValueError, match=rf"The amplitude is limited by strongest = {limit:g} {unit}"):
        search(junction(), error_rate=1e-6, pulse_width=5e-9, strongest=limit)


def test_a_three_terminal_junction_is_searched_in_its_channel():
    device = junction(channel_resistance=800.0)
    current = find_setting(device, 1e-3, pulse_width=6e-9).setting
    voltage = find_setting(device, 1e-3, pulse_width=6e-9, drive="voltage", breakdown_voltage=0.01).setting
    assert voltage.voltage_1 == approx(800 * current.current_1, rel=1e-5)
    with pytest.raises(ValueError, match=r"limited by max_voltage = 0.03 V"):
        find_setting(device, 1e-3, pulse_width=6e-9, max_voltage=0.03)


@pytest.mark.parametrize(
    ("device", "question", "message"),
    [
        (
            junction(),
            {"max_latency": 2e-9, "relax_time": 3e-9},
            "max_latency of 2e-09 s contradicts the pulse: .*3e-09 s",
        ),
        (junction(), {"max_latency": 2e-9, "pulse_width": 3e-9}, "max_latency of 2e-09 s contradicts the pulse"),
        (junction(), {"max_latency": 2e-9, "rise_time": 3e-9}, "max_latency of 2e-09 s contradicts the pulse: a ramp"),
        (junction(), {"breakdown_voltage": 0.2}, "limited by breakdown_voltage = 0.2 V in the AP state.*No pulse of"),
        (junction(), {"minimize": "area"}, "minimize needs the area of a Cell: a bare junction"),
        (junction(), {"max_area": 1e-14}, "max_area needs the area of a Cell: a bare junction"),
        (junction(), {"drive": "volts"}, "drive must be one of 'current', 'voltage', got 'volts'"),
        (junction(), {"temperature": (358.0, 263.0)}, r"temperature must be one number or \(low, high\)"),
        (junction(), {"max_current": 0.0}, "max_current must be .*> 0 A"),
        (cell(), {"max_voltage": 1.0}, "max_voltage limits a search for voltages.*supply_voltage"),
        (cell(), {"max_area": 1e-15}, r"max_area must be >= 1.22e-14 m\^2"),
        (cell(), {"error_rate": 1e-9, "pulse_width": 5e-9}, "limited by what the transistor of 180 nm passes"),
        (
            cell(),
            {"error_rate": 1e-9, "pulse_width": 5e-9, "drive": "voltage"},
            "limited by supply_voltage = 1.2 V, the pulse by pulse_width. A longer pulse alone would do: ",
        ),
        (
            cell(breakdown_voltage=0.25),
            {"pulse_width": 5e-9, "breakdown_voltage": 0.5},
            "limited by breakdown_voltage = 0.25 V in the AP state",
        ),
        (3, {}, "device must be an MTJ, got int"),
    ],
)
def test_questions_that_contradict_themselves(device, question, message):
    with pytest.raises(ValueError, match=message):
        find_setting(device, **question)


# ---- the transistor's temperature -----------------------------------------------------------------------------------


def thirsty_cell(**changes):
    """60 uA of critical current at 1500 ohm: the transistor limits the write."""
    device = MTJ.from_effective(
        thermal_stability=60, critical_current=60e-6, characteristic_time=2e-9, resistance_p=1500
    )
    transistor = Transistor.of_node("45nm_lop", width=360e-9, **changes)
    return Cell(device=device, transistor=transistor, supply_voltage=1.1, word_line_voltage=1.1)


def test_the_hot_transistor_decides_over_a_range_of_temperatures():
    """Junction alone: the cold is worst. With the transistor the hot end is, and the rates hold at both and between."""
    cell = thirsty_cell()
    point = find_setting(cell, 1e-6, drive="voltage", pulse_width=10e-9, temperature=(233.15, 398.15))
    assert point.temperature == 398.15
    for T in (233.15, 270.0, 350.0, 398.15):
        assert cell.operating_point(point.setting, temperature=T).worst_error_rate < 1.002e-6
    flat = thirsty_cell(drive_temperatures=[(200, 1.0), (300, 1.0), (400, 1.0)], threshold_slope=0.0)
    without = find_setting(flat, 1e-6, drive="voltage", pulse_width=10e-9, temperature=(233.15, 398.15))
    assert without.temperature == 233.15
    assert cell.operating_point(without.setting, temperature=398.15).worst_error_rate > 2e-6


def test_what_the_transistor_passes_is_that_of_the_hottest():
    cell = thirsty_cell()
    reach = Reach(device=cell, drive="current", temperatures=(233.15, 398.15))
    assert reach.ceiling(1).amplitude == cell.current(1, temperature=398.15) < cell.current(1)
    assert "398.15 K" in reach.ceiling(1).reason
    setting = WriteSetting(current_0=70e-6, current_1=70e-6, pulse_width=1e-8)
    cold, hot = (narrowest_transistor(cell, setting, temperature=T) for T in (233.15, 398.15))
    assert cold.width < hot.width


def test_a_transistor_without_a_law_is_refused_over_temperatures():
    cell = thirsty_cell(drive_temperatures=None)
    with pytest.raises(ValueError, match=r"temperature must be 300 K, got 398\.15: the transistor has no"):
        find_setting(cell, 1e-3, pulse_width=1e-8, temperature=(300.0, 398.15))
    with pytest.raises(ValueError, match="temperature must be from 200 to 400 K"):
        find_setting(thirsty_cell(), 1e-3, pulse_width=1e-8, temperature=423.0)
