"""Doubts about values: warned of or refused where they enter, with the unit that is meant, once, and else quiet."""

import warnings

import numpy as np
import pytest

import bridge
from mtjsim import (
    MTJ,
    ImplausibleValue,
    Pulse,
    dissipated_energy,
    list_presets,
    load_preset,
    read_disturb_rate,
    retention_failure_rate,
    retention_time,
    simulate_writes,
    write_error_rate,
)
from mtjsim.plausibility import USUAL, doubt
from mtjsim.question import Question

ARM = load_preset("arm_2021")
WRITE = {"current": 60e-6, "pulse_width": 1e-8}


def doubts(ask):
    """Return the warnings of a call, whatever the filter."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ask()
    assert {c.category for c in caught} <= {ImplausibleValue}
    return caught


FIELDS = [
    ({"saturation_magnetization": 1.1}, "saturation_magnetization of 1.1 A/m", "If 1.1 MA/m is meant, give 1100000."),
    ({"saturation_magnetization": 800.0}, "magnetization of 800 A/m", "800 kA/m or emu/cm^3 is meant, give 800000."),
    ({"anisotropy_field": 350.0}, "anisotropy_field of 350 T", "If 350 mT is meant, give 0.35."),
    ({"tunnel_magnetoresistance": 120.0}, "tunnel_magnetoresistance of 120", "120 percent is meant, give 1.2."),
    ({"resistance_area_product": 5.0}, "area_product of 5 ohm m^2", "If 5 ohm um^2 is meant, give 5e-12."),
    ({"reference_temperature": 25.0}, "temperature of 25 K", "25 degrees Celsius is meant, give 298.15."),
    ({"stray_field": (0.0, 0.0, -20.0)}, "stray_field of 20 T", "If 20 mT is meant, give 0.02."),
    ({"barrier_thickness": 1.0}, "barrier_thickness of 1 m", "If 1 nm is meant, give 1e-09."),
]


@pytest.mark.parametrize(("changes", "value", "meant"), FIELDS)
def test_an_implausible_field_is_doubted_once_where_it_is_given(changes, value, meant):
    for build in (lambda: ARM.replace(**changes), lambda: MTJ(**(ARM.model_dump() | changes))):
        (caught,) = doubts(build)
        assert value in str(caught.message)
        assert meant in str(caught.message)
        assert caught.filename == __file__
    odd = []
    doubts(lambda: odd.append(ARM.replace(**changes)))
    assert doubts(lambda: odd[0].replace(damping=0.02)) == []  # no second doubt of the same field


@pytest.mark.parametrize(("field", "value", "given"), [("diameter", 40.0, "4e-08"), ("thickness", 1.2, "1.2e-09")])
def test_a_junction_of_metres_is_refused(field, value, given):
    with pytest.raises(ValueError, match=rf"{field} of {value:g} m .* nm is meant, give {given}. Nothing has such"):
        ARM.replace(**{field: value})


ASKED = {"current": 60e-6, "pulse_width": 10.0, "direction": "p_to_ap", "temperature": 300.0}  # of every question
CELL = {"device": ARM, "transistor": bridge.Transistor(width=180e-9), "word_line_voltage": 1.5}
QUESTIONS = {
    "width": (lambda: Question.checked(**ASKED), "pulse_width of 10 s", "10 ns"),
    "temperature": (lambda: write_error_rate(ARM, temperature=85.0, **WRITE), "temperature of 85 K", "358.15"),
    "one of two": (lambda: write_error_rate(ARM, temperature=[300.0, 125.0], **WRITE), "of 125 K", "398.15"),
    "energy": (lambda: dissipated_energy(ARM, temperature=125.0, **WRITE), "temperature of 125 K", ""),
    "trajectories": (lambda: simulate_writes(ARM, temperature=25, trials=8, seed=1, **WRITE), "of 25 K", "298.15"),
    "pulse": (lambda: Pulse.rectangular(current=60e-6, pulse_width=5.0), "pulse_width of 5 s", "5e-09"),
    "samples": (lambda: Pulse.sampled([0, 5.0], current=[0, 1e-5]), "times of 5 s", "5e-09"),
    "millivolts": (lambda: Pulse.rectangular(voltage=500.0, pulse_width=5e-9), "voltage of 500 V", "give 0.5."),
    "stability": (lambda: ARM.thermal_stability(85.0), "temperature of 85 K", ""),
    "retention": (lambda: retention_failure_rate(ARM, duration=1.0, temperature=125.0), "of 125 K", ""),
    "retention time": (lambda: retention_time(ARM, failure_rate=1e-9, temperature=125.0), "of 125 K", ""),
    "disturb": (lambda: read_disturb_rate(ARM, current=1e-6, duration=1e-6, temperature=125.0), "of 125 K", ""),
    "bridge.Retention": (lambda: bridge.Retention(ARM, temperature=85.0), "temperature of 85 K", ""),
    "bridge.ReadSetting": (lambda: bridge.ReadSetting(voltage=0.1, duration=5.0), "duration of 5 s", "5 ns"),
    "bridge.Transistor": (lambda: bridge.Transistor(width=180.0), "width of 180 m", "1.8e-07"),
    "bridge.Cell": (lambda: bridge.Cell(supply_voltage=1200.0, **CELL), "supply_voltage of 1200 V", "give 1.2."),
    "bridge.WriteSetting": (
        lambda: bridge.WriteSetting(current_0=60e-6, current_1=60e-6, pulse_width=10.0),
        "pulse_width of 10 s",
        "10 ns",
    ),
}


@pytest.mark.parametrize("name", QUESTIONS)
def test_an_implausible_argument_is_doubted_once_in_a_call(name):
    ask, value, meant = QUESTIONS[name]
    (caught,) = doubts(ask)
    assert value in str(caught.message)
    assert meant in str(caught.message)
    assert caught.filename == __file__


def test_the_presets_and_scans_of_effective_figures_are_not_doubted():
    def scan():
        for name in list_presets():
            load_preset(name)
        for stability in np.geomspace(0.5, 1e4, 9):
            MTJ.from_effective(thermal_stability=stability, critical_current=1e-6, characteristic_time=1e-7)

    assert doubts(scan) == []


def test_a_temperature_among_effective_figures_is_doubted():
    figures = {"thermal_stability": 60, "critical_current": 3e-5, "characteristic_time": 2e-9}
    with pytest.warns(ImplausibleValue, match="reference_temperature of 85 K"):
        MTJ.from_effective(reference_temperature=85.0, **figures)


def test_the_standard_filter_silences_it():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ImplausibleValue)
        assert ARM.thermal_stability(77.0) > 300
    with pytest.raises(ImplausibleValue):  # the tests make errors of warnings
        ARM.thermal_stability(77.0)


@pytest.mark.parametrize("quantity", USUAL)
def test_the_ends_of_a_range_are_usual(quantity):
    usual = USUAL[quantity]
    for value in (usual.low, usual.high, -usual.high):
        doubt(quantity, value)
    for value in (1.01 * usual.high, 0.99 * usual.low):
        if value:
            with pytest.warns(ImplausibleValue, match=f"{quantity} of "):
                doubt(quantity, value)


def test_a_search_points_at_the_line_that_asked_for_it():
    # the search calls the solver from within scipy, whose lines the user has not written
    caught = doubts(lambda: bridge.find_setting(ARM, 0.1, pulse_width=1e-8, temperature=85.0))
    assert caught
    assert {c.filename for c in caught} == {__file__}


def test_an_effective_critical_current_without_its_unit():
    (caught,) = doubts(lambda: MTJ.from_effective(thermal_stability=60, critical_current=30, characteristic_time=2e-9))
    assert "critical_current of 30 A" in str(caught.message)
    assert "If 30 uA is meant, give 3e-05." in str(caught.message)
