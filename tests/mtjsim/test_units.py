"""Typed quantities: degrees Celsius where a temperature is read, and no unit that could be computed for ever."""

import pytest

from mtjsim import load_device, read_counts, to_si
from physics import approx

CELSIUS = [
    ("25C", 298.15),
    ("25 C", 298.15),
    ("-40degC", 233.15),
    ("125 °C", 398.15),
    ("85degC", 358.15),
    ("85 deg C", 358.15),
    ("85 Celsius", 358.15),
    ("0C", 273.15),
    ("+85.5°C", 358.65),
    ("300K", 300.0),
    ("0.3 kK", 300.0),
]


@pytest.mark.parametrize(("text", "kelvin"), CELSIUS)
def test_a_temperature_may_be_in_degrees_celsius(text, kelvin):
    assert to_si(text, "K", unit_required=True) == kelvin


def test_c_stays_coulomb_for_charges():
    assert to_si("25C", "C") == 25.0
    assert to_si("25 mC", "C") == approx(0.025)
    for text, unit in (("25degC", "C"), ("25C", "A"), ("25C", "K/W"), ("25 mC", "K")):
        with pytest.raises(ValueError, match="must be a quantity in"):
            to_si(text, unit)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("-300C", r"must be above absolute zero, -273.15 degC, got '-300C'"),
        ("25", r"--temperature must have a unit, got '25'. Write it as in '25K', or '25degC'"),
        ("25 V", r"whose unit does not convert. Write it as in '300 K' or '27 degC'"),
        ("77degF", r"must be a quantity in K, got '77degF'. Write it as in '300 K'"),
    ],
)
def test_a_wrong_temperature_is_named_with_a_temperature_as_example(text, message):
    with pytest.raises(ValueError, match=message):
        to_si(text, "K", name="--temperature", unit_required=True)


TOWERS = ["1A^9^9^9", "1A**9**9**9", "1 A^9 ^9", "1 A^-9^9", "1 (A^9)^9", "1 A*((m^9)^9)^9", "1A^99", "1 A^9 **9"]


@pytest.mark.parametrize("text", TOWERS)
def test_a_power_of_a_power_is_refused_before_it_is_computed(text, monkeypatch):
    monkeypatch.setattr("mtjsim.units._registry", lambda: pytest.fail("the unit was evaluated"))
    with pytest.raises(ValueError, match="must be a quantity in A, got "):
        to_si(text, "A")


def test_a_long_text_is_refused_by_its_length():
    with pytest.raises(ValueError, match=r"got 201 characters, more than 80. Write it as in '1.5 m'"):
        to_si("1" + "m" * 200, "m")


COMPOUND = [
    ("61 fJ/(V m)", "J/(V m)", 6.1e-14),
    ("18 ohm um^2", "ohm m^2", 1.8e-11),
    ("2 A*s/s", "A", 2.0),
    ("3 J/m**2", "J/m^2", 3.0),
]


@pytest.mark.parametrize(("text", "unit", "value"), COMPOUND)
def test_compound_units_are_read_as_before(text, unit, value):
    assert to_si(text, unit) == approx(value)


def test_files_read_celsius_and_refuse_towers(tmp_path):
    device = tmp_path / "d.toml"
    text = '[effective]\nthermal_stability = 60\ncritical_current = "30 uA"\ncharacteristic_time = "2 ns"\n'
    device.write_text(text + 'reference_temperature = "85 degC"\n')
    assert load_device(device).device.reference_temperature == 358.15
    device.write_text(text.replace("30 uA", "1A^9^9^9"))
    with pytest.raises(ValueError, match="critical_current must be a quantity in A"):
        load_device(device)
    counts = tmp_path / "c.csv"
    table = "current [uA],pulse_width [ns],temperature [degC],direction,trials,errors\n50,10,85,p_to_ap,10,1\n"
    counts.write_text(table)
    assert read_counts(counts).temperature.tolist() == [358.15]
    counts.write_text(table.replace("[uA]", "[A^9^9^9]"))
    with pytest.raises(ValueError, match="its unit must be a quantity in A"):
        read_counts(counts)
