"""What the cheapest setting costs. Times are recorded, never judged; ratios are of one process."""

from functools import partial

import pytest

from bridge import Cell, Transistor, WriteSetting, find_setting
from bridge.cell.cell_write import circuit_error_rate
from mtjsim import dissipated_energy, load_preset, write_error_rate
from physics import junction

ARM = Cell(load_preset("arm_2021"), transistor=Transistor(width=270e-9), supply_voltage=1.2)
CASES = {
    "plain": {},
    "deep": {"error_rate": 1e-9},
    "with driver": {"minimize": "energy_with_driver"},
    "temperatures": {"temperature": (290.0, 310.0)},
    "ramps": {"rise_time": 1e-9},
}


@pytest.mark.parametrize("options", CASES.values(), ids=CASES)
def test_find_setting_under_voltages(benchmark, sized, least_seconds, options):
    """A cell under voltages, over one solve of its harder write."""
    narrow = {} if benchmark.enabled else {"pulse_width": 20e-9, "error_rate": 1e-2}
    if not benchmark.enabled and "rise_time" in options:
        narrow["rise_time"] = 0.1e-9
    search = partial(find_setting, ARM, **({"error_rate": 1e-6, "drive": "voltage"} | options | narrow))
    setting = WriteSetting(voltage_0=1.15, voltage_1=1.15, pulse_width=19e-9)
    solve = partial(circuit_error_rate, ARM.circuit(0), setting, 0, temperature=300.0)
    seconds, of_one = least_seconds([search], 2, peers=[solve])
    benchmark.extra_info.update(cpu_seconds=seconds, search_over_solve=seconds / of_one)
    point = benchmark.pedantic(search, rounds=1)
    assert point.worst_error_rate <= 1e-2


def test_joules_of_a_ramp(benchmark, least_seconds):
    """Over those of a rectangular pulse, and over its error rate."""
    write = {"current": 60e-6, "pulse_width": 9e-9}
    ramps = partial(dissipated_energy, junction(), rise_time=1e-9, **write)
    peers = [partial(dissipated_energy, junction(), **write), partial(write_error_rate, junction(), **write)]
    ramped, plain, rate = least_seconds([ramps], 5, peers=peers)
    benchmark.extra_info.update(ramps_over_plain=ramped / plain, ramps_over_rate=ramped / rate)
    assert benchmark.pedantic(ramps, rounds=1) > 0
