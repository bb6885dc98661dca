"""Write settings and operating points: which current writes which bit, what it costs, what identifies it."""

import hashlib
import json
import math
from dataclasses import replace

import numpy as np
import pytest

from bridge import OperatingPoint, WriteSetting, operating_point
from mtjsim import dissipated_energy, junction_resistance, write_error_rate
from physics import approx
from physics import lopsided_junction as junction

SETTING = WriteSetting(current_0=50e-6, current_1=65e-6, pulse_width=6e-9, rise_time=1e-9, relax_time=2e-9)
PULSE = {"pulse_width": 6e-9, "rise_time": 1e-9}


@pytest.fixture(scope="module")
def point():
    return operating_point(junction(), SETTING, temperature=330.0)


def test_bit_1_is_ap_and_bit_0_is_p(point):
    """Writing a 1 drives P->AP with current_1; writing a 0 drives AP->P with current_0. The device is lopsided."""
    one = write_error_rate(junction(), current=65e-6, direction="p_to_ap", temperature=330.0, relax_time=2e-9, **PULSE)
    zero = write_error_rate(junction(), current=50e-6, direction="ap_to_p", temperature=330.0, relax_time=2e-9, **PULSE)
    assert point.error_rate_1 == approx(one, rel=1e-9)
    assert point.error_rate_0 == approx(zero, rel=1e-9)
    assert one / zero > 3  # a swap would be seen


def test_energies_are_of_the_same_writes(point):
    one = dissipated_energy(junction(), current=65e-6, direction="p_to_ap", temperature=330.0, **PULSE)
    zero = dissipated_energy(junction(), current=50e-6, direction="ap_to_p", temperature=330.0, **PULSE)
    assert point.energy_1 == approx(one, rel=1e-9)
    assert point.energy_0 == approx(zero, rel=1e-9)
    assert abs(one / zero - 1) > 0.05


def test_lambda_makes_the_write_of_a_one_the_harder():
    """I_c0 (1 + lambda) for P->AP; a magnetic field along +z holds P, the 0."""
    equal = WriteSetting(current_0=60e-6, current_1=60e-6, pulse_width=5e-9)
    by_lambda = operating_point(junction(stray_field=(0, 0, 0)), equal)
    by_field = operating_point(junction(spin_torque_asymmetry=0.0), equal)
    assert by_lambda.error_rate_1 > 3 * by_lambda.error_rate_0
    assert by_field.error_rate_1 > 1.1 * by_field.error_rate_0
    swapped = operating_point(junction(spin_torque_asymmetry=-0.3, stray_field=(0, 0, -0.01)), equal)
    both = operating_point(junction(), equal)
    assert (swapped.error_rate_0, swapped.error_rate_1) == approx((both.error_rate_1, both.error_rate_0))


def test_what_crosses(point):
    assert point.latency == SETTING.latency == approx(9e-9, rel=1e-12)
    assert point.setting == SETTING
    assert point.device_identity == junction().identity
    assert point.temperature == 330.0
    assert point.mean_error_rate == approx((point.error_rate_0 + point.error_rate_1) / 2)
    assert point.mean_energy == approx((point.energy_0 + point.energy_1) / 2)
    loaded = json.loads(json.dumps(point.as_dict()))
    assert loaded["identity"] == point.identity
    assert loaded["error_rate_1"] == point.error_rate_1
    assert loaded["setting"]["current_1"] == 65e-6


def test_identity_changes_with_each_ingredient(point):
    changed = {
        "current_0": 51e-6,
        "current_1": 66e-6,
        "pulse_width": 6.1e-9,
        "rise_time": 0.9e-9,
        "relax_time": 2.1e-9,
    }
    points = [replace(point, setting=replace(SETTING, **{name: value})) for name, value in changed.items()]
    points += [replace(point, temperature=331.0), replace(point, device_identity=junction(damping=0.02).identity)]
    assert len({p.identity for p in points} | {point.identity}) == len(points) + 1
    assert replace(point).identity == point.identity


def test_equal_settings_have_equal_identities(point):
    one, other = (replace(SETTING, relax_time=zero) for zero in (0, 0.0))
    assert one == other
    assert replace(point, setting=one).identity == replace(point, setting=other).identity


def test_frozen_and_keyword_only():
    with pytest.raises(AttributeError):
        SETTING.current_0 = 1.0
    with pytest.raises(TypeError):
        WriteSetting(50e-6, 65e-6, 6e-9)
    with pytest.raises(TypeError):
        OperatingPoint(0.1, 0.1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"current_0": -1e-6}, "current_0 must be .*>= 0 A, got -1e-06"),
        ({"current_1": math.nan}, "current_1 must be finite"),
        ({"pulse_width": 0.0}, "pulse_width must be .*> 0 s, got 0"),
        ({"rise_time": 7e-9}, "rise_time must be <= pulse_width, got 7e-09 s for a pulse of 6e-09 s.*plateau"),
        ({"relax_time": -1e-9}, "relax_time must be .*>= 0 s, got -1e-09"),
        ({"current_0": "50uA"}, "current_0 must be a number"),
    ],
)
def test_bad_setting(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(SETTING, **changes)


@pytest.mark.parametrize(
    "value",
    [
        [50e-6, 60e-6],
        "50e-6",
    ],
)
def test_setting_that_is_no_number(value):
    with pytest.raises(ValueError, match="current_0"):
        replace(SETTING, current_0=value)


def test_bad_temperature_and_device():
    with pytest.raises(ValueError, match="temperature must be"):
        operating_point(junction(), SETTING, temperature=0.0)
    with pytest.raises(ValueError, match="use simulate_writes"):
        operating_point(junction(thermal_resistance=1e6), SETTING)


# ---- voltages, parts, given rates ----------------------------------------------------------------------------------


def test_a_setting_of_voltages():
    """The current follows the resistance, so the rates are not those of the starting current."""
    setting = WriteSetting(voltage_0=0.5, voltage_1=0.5, pulse_width=6e-9, rise_time=1e-9)
    assert (setting.drive, setting.amplitudes) == ("voltage", (0.5, 0.5))
    point = operating_point(junction(), setting)
    assert point.error_rate_0 == write_error_rate(junction(), voltage=0.5, direction="ap_to_p", **PULSE)
    assert point.error_rate_1 == write_error_rate(junction(), voltage=0.5, direction="p_to_ap", **PULSE)
    assert point.energy_1 == dissipated_energy(junction(), voltage=0.5, direction="p_to_ap", **PULSE)
    assert "current_0" not in json.loads(json.dumps(point.as_dict()))["setting"]


def test_of_drive_is_the_same_setting():
    assert (
        WriteSetting.of_drive("current", (50e-6, 65e-6), pulse_width=6e-9, rise_time=1e-9, relax_time=2e-9) == SETTING
    )
    assert WriteSetting.of_drive("voltage", (0.4, 0.5), pulse_width=6e-9).voltage_1 == 0.5


@pytest.mark.parametrize(
    "amplitudes",
    [
        {},
        {"current_0": 1e-6},
        {"voltage_1": 0.5},
        {"current_0": 1e-6, "voltage_1": 0.5},
        {"current_0": 1e-6, "current_1": 1e-6, "voltage_0": 0.5, "voltage_1": 0.5},
    ],
)
def test_exactly_one_pair_of_amplitudes(amplitudes):
    with pytest.raises(ValueError, match="exactly one pair of amplitudes"):
        WriteSetting(pulse_width=1e-9, **amplitudes)


def test_a_bare_junction_has_no_transistor(point):
    assert set(point.energies) == {"junction", "transistor", "driver"}
    assert not point.energies["transistor"].any()
    assert not point.energies["driver"].any()
    assert point.energies["junction"][:, 0].tolist() == [point.energy_0, point.energy_1]
    assert point.mean_energy_with_driver == approx(point.mean_energy)
    with pytest.raises(ValueError, match="read-only"):
        point.energies["junction"][0, 0] = 0.0


@pytest.mark.parametrize("half", [None, 0.4])
def test_a_pulse_on_a_cell_that_holds_the_bit(half):
    """I^2 R of the resting state, against a midpoint sum over the ramps; and V^2 G."""
    device = junction(tmr_half_voltage=half)
    levels = (np.arange(400) + 0.5) / 400

    def joules(bit, current):
        def power(a):
            R = junction_resistance(device, m_z=1.0 - 2 * bit, current=a * current)
            return (a * current) ** 2 * float(R)

        return power(1.0) * 5e-9 + 2 * 1e-9 * np.mean([power(a) for a in levels])

    kept = operating_point(device, SETTING).energies["junction"][:, 1]
    assert kept == approx([joules(0, 50e-6), joules(1, 65e-6)], rel=1e-5)
    assert kept[0] == approx((50e-6) ** 2 * device.resistance_p * (5e-9 + 2 / 3 * 1e-9), rel=1e-9)
    volts = operating_point(device, WriteSetting(voltage_0=0.5, voltage_1=0.5, pulse_width=6e-9))
    R_ap = device.resistance_p * (1 + device.tunnel_magnetoresistance / (1 + (0.5 / half) ** 2 if half else 1))
    assert volts.energies["junction"][:, 1] == approx(0.25 * 6e-9 / np.array([device.resistance_p, R_ap]))


def test_the_channel_of_three_terminals_dissipates_the_same_whatever_the_state():
    device = junction(channel_resistance=800.0)
    joules = operating_point(device, SETTING).energies["junction"]
    assert joules[:, 0] == approx(joules[:, 1], rel=1e-9)


def test_rates_that_were_given():
    point = OperatingPoint.of_rates(error_rate_0=1e-3, error_rate_1=2e-3, energy_1=1e-13, source="in a table")
    assert point.setting is None
    assert point.device_identity == "rates given in a table"
    assert point.energies["junction"].tolist() == [[0, 0], [1e-13, 1e-13]]
    others = [
        OperatingPoint.of_rates(error_rate_0=1e-3, error_rate_1=3e-3, energy_1=1e-13, source="in a table"),
        OperatingPoint.of_rates(error_rate_0=1e-3, error_rate_1=2e-3, energy_1=2e-13, source="in a table"),
        OperatingPoint.of_rates(error_rate_0=1e-3, error_rate_1=2e-3, energy_1=1e-13),
        OperatingPoint.of_rates(
            error_rate_0=1e-3, error_rate_1=2e-3, energy_1=1e-13, energies={"driver": np.ones((2, 2))}
        ),
    ]
    assert len({p.identity for p in [*others, point]}) == 5
    assert json.loads(json.dumps(point.as_dict()))["identity"] == point.identity
    assert others[3].mean_energy_with_driver == approx(1.0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"error_rate_0": 5}, "error_rate_0 must be <= 1, got 5.*not percent"),
        ({"error_rate_1": -0.1}, "error_rate_1 must be .*>= 0, got -0.1"),
        ({"energy_0": math.inf}, "energy_0 must be finite"),
        ({"energies": {"line": np.zeros((2, 2))}}, "energies must be of junction, transistor, driver, got .*line"),
        ({"energies": {"driver": np.zeros(2)}}, r"energies\['driver'\] must be a \(2, 2\) array"),
        ({"energies": {"driver": -np.ones((2, 2))}}, r"energies\['driver'\] must be .*>= 0 J"),
        ({"energies": {"junction": np.ones((2, 2))}}, "must be energy_0 and energy_1"),
    ],
)
def test_bad_given_rates(changes, message):
    with pytest.raises(ValueError, match=message):
        OperatingPoint.of_rates(**({"error_rate_0": 0.1, "error_rate_1": 0.1} | changes))


def test_the_identity_of_a_setting_of_currents_is_what_it_was(point):
    """Results saved before settings could be voltages keep their meaning."""
    parts = [junction().identity, SETTING.as_dict(), 330.0]
    assert point.identity == hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    assert set(SETTING.as_dict()) == {"current_0", "current_1", "pulse_width", "rise_time", "relax_time"}
