"""The transistor: its reference point, its two regions and their seam, its limits; input that is refused."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.cell.transistor import DRIVE, NODES, TABLE_K, Transistor
from physics import approx

ONE = Transistor(width=180e-9)


@pytest.mark.parametrize("node", NODES)
def test_the_reference_current_is_that_of_the_table(node):
    F, V_0, V_T0, I_0 = NODES[node]
    transistor = Transistor.of_node(node, width=4 * F)
    assert float(transistor.current(gate_source=V_0, drain_source=V_0)) == approx(4 * F * I_0, rel=1e-12)
    assert (transistor.threshold_voltage, transistor.feature_size) == (V_T0, F)


def test_saturation_and_the_linear_region_by_hand():
    """n-th power law: V_GS 1.0 V, threshold 0.28894 V, (V_GS - V_T)/(V_0 - V_T0) = 1.73."""
    over = (1.0 - 0.28894) / (0.7 - 0.28894)
    V_sat, saturated = 0.35 * over**0.65, 180e-9 * 682.1 / 1.07 * over**1.3
    assert float(ONE.current(gate_source=1.0, drain_source=1.0)) == approx(saturated * 1.1, rel=1e-12)
    low = float(ONE.current(gate_source=1.0, drain_source=0.1))
    assert low == approx(saturated * 1.01 * (2 - 0.1 / V_sat) * 0.1 / V_sat, rel=1e-12)


def test_the_regions_meet_with_one_slope():
    over = (0.9 - 0.28894) / (0.7 - 0.28894)
    V_sat = 0.35 * over**0.65
    around = V_sat + np.array([-2e-5, -1e-5, 0.0, 1e-5, 2e-5])
    slopes = np.diff(ONE.current(gate_source=0.9, drain_source=around)) / 1e-5
    assert np.ptp(slopes) < 1e-3 * ONE.current(gate_source=0.9, drain_source=V_sat) / V_sat


def test_it_does_not_conduct_below_its_threshold():
    assert float(ONE.current(gate_source=0.28, drain_source=1.0)) == 0.0
    assert float(ONE.current(gate_source=1.0, drain_source=0.0)) == 0.0


def test_the_body_effect_takes_from_the_gate():
    """A source 0.4 V above the body raises the threshold by gamma (sqrt(1.25) - sqrt(0.85)), 39 mV."""
    lifted = float(ONE.current(gate_source=0.9, drain_source=1.0, source=0.4))
    shift = 0.2 * (np.sqrt(1.25) - np.sqrt(0.85))
    assert lifted == approx(float(ONE.current(gate_source=0.9 - shift, drain_source=1.0)), rel=1e-12)


@given(
    gate=st.floats(0.0, 1.5),
    drain=st.one_of(st.just(0.0), st.floats(1e-12, 1.5)),
    more=st.floats(1e-3, 0.3),
    width=st.floats(45e-9, 1e-6),
)
@settings(max_examples=60)
def test_current_rises_with_gate_and_drain_and_width(gate, drain, more, width):
    transistor = ONE.with_width(width)
    here = float(transistor.current(gate_source=gate, drain_source=drain))
    assert float(transistor.current(gate_source=gate + more, drain_source=drain)) >= here
    assert float(transistor.current(gate_source=gate, drain_source=drain + more)) >= here
    assert here == approx(float(ONE.current(gate_source=gate, drain_source=drain)) * width / 180e-9, rel=1e-12)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 40e-9}, "width must be >= feature_size .4.5e-08 m., got 4e-08"),
        ({"width": 0.0}, "width must be .*> 0 m, got 0"),
        ({"saturation_index": 2.5}, "saturation_index must be between 1 and 2"),
        ({"threshold_voltage": 0.8}, "threshold_voltage must be < reference_voltage .0.7 V., got 0.8"),
        ({"drive_per_width": -1.0}, "drive_per_width must be"),
        ({"body_effect": np.nan}, "body_effect must be finite"),
    ],
)
def test_bad_transistor(changes, message):
    with pytest.raises(ValueError, match=message):
        Transistor(**({"width": 180e-9} | changes))


def test_unknown_node():
    with pytest.raises(ValueError, match=r"node must be one of '45nm_hp'.*got '45nm-lop'. Did you mean '45nm_lop'"):
        Transistor.of_node("45nm-lop", width=1e-7)


# ---- temperature -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("node", NODES)
def test_the_drive_at_a_temperature_is_that_of_the_table(node):
    """At V_GS = V_DS = V_0, at a column and halfway between two; the threshold falls by 0.11 V over 300 K."""
    F, V_0, V_T0, _ = NODES[node]
    transistor = Transistor.of_node(node, width=4 * F)
    for T, expected in ((400.0, DRIVE[node][10]), (345.0, (DRIVE[node][4] + DRIVE[node][5]) / 2)):
        hot = transistor.at(T)
        assert float(hot.current(gate_source=V_0, drain_source=V_0)) == approx(4 * F * expected, rel=1e-12)
        assert hot.threshold_voltage == approx(V_T0 - 0.11 * (T - 300) / 300, rel=1e-12)
    assert transistor.at(300.0) is transistor
    assert TABLE_K[10] == 400.0


def test_heat_costs_more_where_the_gate_is_boosted_and_little_near_the_threshold():
    """At 400 K, 80 % at the reference gate of 0.7 V; the lower threshold helps near it, the mobility decides above."""
    ratio = [
        float(ONE.at(400.0).current(gate_source=V, drain_source=1.0) / ONE.current(gate_source=V, drain_source=1.0))
        for V in (0.4, 0.7, 1.5)
    ]
    assert ratio[0] > 1 > ratio[1] > ratio[2] > 0.7
    assert ratio[1] == approx(542.7 / 682.1, rel=1e-9)


def test_the_cold_continues_the_slope_of_the_table():
    """(T/300)^(ln(632.8/682.1)/ln(350/300)): 1.131 at 233.15 K."""
    cold = ONE.at(233.15)
    exponent = np.log(632.8 / 682.1) / np.log(350 / 300)
    assert cold.drive_per_width / ONE.drive_per_width == approx((233.15 / 300) ** exponent, rel=1e-12)
    assert cold.drive_per_width / ONE.drive_per_width == approx(1.1306, rel=1e-3)
    just = ONE.at(300 - 1e-9).drive_per_width
    assert just == approx(ONE.drive_per_width, rel=1e-9)


def test_a_changed_drive_keeps_the_relative_table():
    other = Transistor.of_node("32nm_hp", width=64e-9, drive_per_width=1000.0)
    assert other.at(400.0).drive_per_width == approx(1000 * 1645.0 / 1785.8, rel=1e-12)


@pytest.mark.parametrize(
    ("change", "temperature", "message"),
    [
        ({}, 401.0, r"temperature must be from 200 to 400 K for this transistor, got 401"),
        ({}, 199.0, r"temperature must be from 200 to 400 K"),
        ({}, -40.0, "temperature must be finite and > 0 K, got -40"),
        ({"drive_temperatures": None}, 310.0, "temperature must be 300 K, got 310: the transistor has no drive_temp"),
        ({"drive_temperatures": [(250, 1.1), (300, 1.0)]}, 249.0, "temperature must be from 250 to 300 K"),
        ({"threshold_slope": -0.01}, 400.0, r"temperature of 400 K gives a threshold of -0\.711 V"),
    ],
)
def test_temperatures_without_a_law_are_refused(change, temperature, message):
    with pytest.raises(ValueError, match=message):
        replace(ONE, **change).at(temperature)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"drive_temperatures": [(300, 1.0)]}, "drive_temperatures must be pairs .*at least two"),
        ({"drive_temperatures": [(310, 1.0), (300, 1.0)]}, "drive_temperatures must be pairs .*T ascending"),
        ({"drive_temperatures": [(300, 0.9), (400, 0.8)]}, r"drive_temperatures .*\(300, 1\) among them"),
        ({"drive_temperatures": [300, 400]}, "drive_temperatures must be pairs"),
        ({"drive_temperatures": [(300, 1.0), (400, -0.8)]}, "drive_temperatures must be finite and > 0"),
        ({"threshold_slope": 1e-3}, "threshold_slope must be <= 0 V/K"),
    ],
)
def test_bad_laws_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        replace(ONE, **change)
