"""What a notebook prints of the public objects: one short line with their sizes and rates."""

import numpy as np
import pytest

import bnn
import bridge
import mtjsim

DEVICE = mtjsim.load_preset("arm_2021")
POINT = bridge.operating_point(DEVICE, bridge.WriteSetting(current=60e-6, pulse_width=10e-9))
PULSE = mtjsim.Pulse.rectangular(current=1e-5, pulse_width=1e-9)
COUNTS = mtjsim.WriteCounts(current=5e-5, pulse_width=[1e-8, 1.1e-8], direction="p_to_ap", trials=100, errors=[3, 5])
GIVEN = bridge.OperatingPoint.of_rates(error_rate_0=0.1, error_rate_1=0.2)


@pytest.mark.parametrize(
    ("make", "parts"),
    [
        (lambda: POINT, ["error_rate_0=0.00062", "405.2 and 513 fJ", "60 µA for 10 ns", "300 K"]),
        (lambda: GIVEN, ["error_rate_0=0.1", "error_rate_1=0.2", "rates given by hand"]),
        (lambda: bnn.load("digits"), ["'digits'", "1198 to train", "599 to test", "1x8x8", "10 classes"]),
        (lambda: bnn.load("digits").test, ["599 images", "1x8x8"]),
        (lambda: bridge.Memory((20, 3), format="bf16", point=POINT, protection="parity"), ["(20, 3)", "bf16, parity"]),
        (lambda: bridge.InPlaceMemory(7, point=POINT), ["InPlaceMemory((7,), fp32"]),
        (lambda: bridge.Process(open_rate=0.5).die((8, 9), seed=3), ["8x9 cells", " open", "seed=3"]),
        (lambda: bridge.Die.of((2, 2)), ["no faults", "without rates"]),
        (lambda: bnn.ParameterMemory(bnn.models.mlp(64, (8,), seed=0), point=POINT), ["words fp32 of weights, biases"]),
        (lambda: mtjsim.trajectories(DEVICE, PULSE, trials=2, seed=0), ["2 writes", "up to 1 ns"]),
        (
            lambda: mtjsim.rare_write_errors(DEVICE, pulse=PULSE, seed=0, trajectories=16, repeats=4),
            ["rate=1", "4 repeats"],
        ),
        (lambda: COUNTS, ["2 rows", "8 errors in 200 trials"]),
        (
            lambda: mtjsim.calibrate(COUNTS, start=DEVICE, free=("critical_current",), intervals="wald"),
            ["2 rows", " A"],
        ),
        (
            lambda: bridge.WriteRates(current=5e-5, pulse_width=1e-8, direction="p_to_ap", write_error_rate=0.1),
            ["1 rows"],
        ),
        (lambda: DEVICE, ["MTJ(diameter=5e-08", "damping=0.01"]),
    ],
)
def test_a_public_object_prints_one_short_line(make, parts):
    text = repr(make())
    assert len(text) < 260
    assert "\n" not in text
    assert not [part for part in parts if part not in text]


def test_a_map_prints_its_axes():
    with pytest.warns(bridge.CoarseMapWarning):
        text = repr(bridge.ErrorMap(bridge.write_error_map(DEVICE, [50e-6, 70e-6, 90e-6], [5e-9, 10e-9])))
    assert "3 from 50 to 90 µA, 2 from 5 to 10 ns, 300 K" in text


def test_an_operating_point_is_a_table_in_a_notebook():
    assert POINT._repr_html_().count("<tr>") == 3
    assert "<td>405.2</td>" in POINT._repr_html_()


def test_a_setting_of_one_amplitude_for_both_bits():
    setting = bridge.WriteSetting(current=60e-6, pulse_width=10e-9)
    assert setting == bridge.WriteSetting(current_0=60e-6, current_1=60e-6, pulse_width=10e-9)
    assert bridge.WriteSetting(voltage=0.5, pulse_width=1e-9).amplitudes == (0.5, 0.5)
    with pytest.raises(ValueError, match="current is for both bits: leave current_0 and current_1 out"):
        bridge.WriteSetting(current=60e-6, current_1=50e-6, pulse_width=10e-9)
    with pytest.raises(ValueError, match="exactly one pair of amplitudes"):
        bridge.WriteSetting(current=60e-6, voltage=0.5, pulse_width=10e-9)


def test_both_directions_are_a_first_axis():
    asymmetric = DEVICE.replace(spin_torque_asymmetry=0.3)
    for function in (mtjsim.write_error_rate, mtjsim.switching_probability, mtjsim.dissipated_energy):
        both = function(asymmetric, current=[[50e-6], [60e-6]], pulse_width=[5e-9, 10e-9, 15e-9], direction="both")
        each = [
            function(asymmetric, current=[[50e-6], [60e-6]], pulse_width=[5e-9, 10e-9, 15e-9], direction=direction)
            for direction in ("p_to_ap", "ap_to_p")
        ]
        assert both.shape == (2, 2, 3)
        assert np.array_equal(both, each)
        assert function(asymmetric, current=50e-6, pulse_width=5e-9, direction="both").shape == (2,)
    with pytest.raises(ValueError, match="direction must be 'both' alone"):
        mtjsim.write_error_rate(DEVICE, current=5e-5, pulse_width=5e-9, direction=["both", "p_to_ap"])


def test_a_cell_takes_its_junction_first():
    declared = {"transistor": bridge.Transistor(width=270e-9), "supply_voltage": 1.2}
    assert bridge.Cell(DEVICE, **declared) == bridge.Cell(device=DEVICE, **declared)
