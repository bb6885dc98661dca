"""The rates that a recipe trains and tests with are those of `bridge.operating_point`, to the last bit."""

import pytest

from bnn.errors.overwrite import OverwriteErrors
from bnn.errors.write_errors import WriteErrors
from bnn.layers.slots import activation_memories, weight_memories
from bnn.recipes.memories import mram_of, point_of
from bnn.recipes.result import value_names
from bnn.recipes.run import run_recipe
from bridge import Cell, OperatingPoint, Transistor, WriteSetting, operating_point
from bridge.memory.read import ReadSetting, read_point
from bridge.search.find import find_setting
from mtjsim.presets import load_preset

ARM = load_preset("arm_2021")
CELL = {"node": "45nm_lop", "width": "400nm", "supply_voltage": "1.2V", "word_line_voltage": "1.5V"}
THE_CELL = Cell(
    device=ARM,
    transistor=Transistor.of_node("45nm_lop", width=400e-9),
    supply_voltage=1.2,
    word_line_voltage=1.5,
)
TEN = {"pulse_width": "10ns"}


def rates(point):
    return point.error_rate_0, point.error_rate_1, point.energy_0, point.energy_1, point.latency, point.device_identity


def trained(recipe):
    result = run_recipe(recipe.replaced({"training.epochs": 1, "test": []}), progress=False)
    slots = [layer.activation_memory for layer in activation_memories(result.model).values()]
    return result, slots


@pytest.mark.parametrize("errors", ["independent", "overwrite"])
def test_currents_give_the_rates_of_an_operating_point_in_every_slot(small, errors):
    block = {"holds": "activations", "current_0": "41uA", "current_1": 4.3e-5, "errors": errors, **TEN}
    result, slots = trained(small(memory=[block]))
    expected = operating_point(ARM, WriteSetting(current_0=41e-6, current_1=43e-6, pulse_width=10e-9))
    assert result.points == {"activations": expected}
    assert expected.error_rate_0 != expected.error_rate_1 > 1e-4
    assert len(slots) == 2
    for memory in slots:
        assert type(memory) is (WriteErrors if errors == "independent" else OverwriteErrors)
        assert (memory.error_rate_0, memory.error_rate_1) == (expected.error_rate_0, expected.error_rate_1)


def test_a_temperature_and_ramps_are_those_of_the_write(small):
    block = {"current": "42uA", "rise_time": "1ns", "relax_time": "2ns", "temperature": 330, **TEN}
    setting = WriteSetting(current=42e-6, pulse_width=10e-9, rise_time=1e-9, relax_time=2e-9)
    assert point_of(small(memory=[block]), "activations") == operating_point(ARM, setting, temperature=330.0)


def test_a_voltage_is_that_of_a_cell_and_a_memory_may_have_another_one(small):
    blocks = [
        {"name": "wide", "holds": "activations", "voltage": "1.1V", **TEN},
        {"name": "warm", "holds": "signs", "voltage": "1.1V", "cell": {"supply_voltage": 1.3}, **TEN},
    ]
    recipe, setting = small(cell=CELL, memory=blocks), WriteSetting(voltage=1.1, pulse_width=10e-9)
    wide, warm = point_of(recipe, "wide"), point_of(recipe, "warm")
    assert rates(wide) == rates(operating_point(THE_CELL, setting))
    changed = Cell(device=ARM, transistor=THE_CELL.transistor, supply_voltage=1.3, word_line_voltage=1.5)
    assert rates(warm) == rates(operating_point(changed, setting))


@pytest.mark.parametrize("target", [1e-3, [1e-3, 1e-2]])
def test_a_target_is_the_cheapest_setting_that_reaches_it(small, target):
    recipe = small(memory=[{"error_rate": target, "max_current": "100uA", **TEN}])
    pair = tuple(target) if isinstance(target, list) else target
    expected = find_setting(ARM, error_rate=pair, pulse_width=10e-9, max_current=100e-6)
    assert rates(point_of(recipe, "activations")) == rates(expected)


def test_given_rates_are_used_as_they_are_and_need_no_device(small):
    blocks = [
        {"error_rate_0": 0.01, "error_rate_1": 0.02, "energy_0": "1pJ", "energy_1": 2e-12},
        {"holds": "signs", "error_rate": 0.03},
    ]
    recipe = small(device=None, memory=blocks)
    first, second = point_of(recipe, "activations"), point_of(recipe, "signs")
    assert (first.error_rate_0, first.error_rate_1, first.energy_0, first.energy_1) == (0.01, 0.02, 1e-12, 2e-12)
    assert (second.error_rate_0, second.error_rate_1) == (0.03, 0.03)
    alike = OperatingPoint.of_rates(error_rate_0=0.03, error_rate_1=0.03, source="in a recipe")
    assert second == alike


def test_layers_have_settings_of_their_own(small):
    blocks = [
        {"name": "first", "layers": "3", "current": "40uA", "errors": "independent", **TEN},
        {"name": "rest", "layers": ["5"], "current": "46uA", "errors": "independent", **TEN},
    ]
    result, slots = trained(small(memory=blocks))
    assert list(activation_memories(result.model)) == ["3", "5"]
    for memory, name, current in zip(slots, ("first", "rest"), (40e-6, 46e-6), strict=True):
        point = operating_point(ARM, WriteSetting(current=current, pulse_width=10e-9))
        assert result.points[name] == point
        assert (memory.error_rate_0, memory.error_rate_1) == (point.error_rate_0, point.error_rate_1)


def test_words_are_written_and_read_at_the_points_of_the_bridge(small):
    block = {
        "holds": ["weights", "biases"],
        "current": "60uA",
        "format": "bf16",
        "protection": "parity",
        "policy": "read_before_write",
        "read": {"voltage": "100mV", "duration": "5ns", "sense_noise": "1uA"},
        **TEN,
    }
    recipe = small(memory=[block], test=[{"name": "clean", "memory": []}])
    words = mram_of(recipe, "weights_biases", seed=0).words
    assert words.point == operating_point(ARM, WriteSetting(current=60e-6, pulse_width=10e-9))
    assert words.reading == read_point(ARM, ReadSetting(voltage=0.1, duration=5e-9, sense_noise=1e-6))
    assert (words.word_format.bits, words.policy.read_first, words.protection.name) == (16, True, "parity")
    result, _ = trained(recipe)
    assert result.points == {"weights_biases": words.point}
    assert result.ledger.entries
    assert result.values()["training.joules_device"] == result.ledger.joules("device") > 0.0


def test_signs_have_the_rates_in_the_weight_slots(small):
    recipe = small(memory=[{"holds": "signs", "current": "42uA", "errors": "independent", **TEN}])
    result, _ = trained(recipe)
    point = operating_point(ARM, WriteSetting(current=42e-6, pulse_width=10e-9))
    slots = [layer.weight_memory for layer in weight_memories(result.model).values()]
    assert slots
    assert {(memory.error_rate_0, memory.error_rate_1) for memory in slots} == {
        (point.error_rate_0, point.error_rate_1)
    }


def test_the_values_of_a_run_say_which_write_gave_its_rates(small):
    blocks = [
        {"name": "first", "layers": "3", "current_0": "41uA", "current_1": "43uA", "errors": "independent", **TEN},
        {"name": "rest", "layers": "5", "voltage": "0.2V", "errors": "independent", "pulse_width": "20ns"},
        {"name": "signs", "holds": "signs", "error_rate_0": 0.01, "error_rate_1": 0.02},
    ]
    recipe = small(memory=blocks)
    values = trained(recipe)[0].values()
    endings = ("current_0", "current_1", "voltage_0", "voltage_1", "pulse_width")
    found = {name: value for name, value in values.items() if name.endswith(endings)}
    assert found == {
        "first.current_0": 41e-6,
        "first.current_1": 43e-6,
        "first.pulse_width": 10e-9,
        "rest.voltage_0": 0.2,
        "rest.voltage_1": 0.2,
        "rest.pulse_width": 20e-9,
    }
    assert [name for name in value_names(recipe) if name.endswith(endings)] == list(found)


@pytest.mark.parametrize("drive", ["current", "voltage"])
def test_a_setting_that_is_searched_has_the_names_of_its_drive(small, drive):
    recipe = small(memory=[{"error_rate": 1e-2, "drive": drive, **TEN}])
    assert point_of(recipe, "activations").setting.drive == drive
    names = {name for name in value_names(recipe) if "current" in name or "voltage" in name or "pulse" in name}
    assert names == {f"activations.{drive}_0", f"activations.{drive}_1", "activations.pulse_width"}
    given = small(memory=[{"error_rate": 1e-2}], device=None)
    assert not names & set(value_names(given))
