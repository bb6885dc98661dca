"""Encodings of an update against `mtjsim`: tables, noise, populations, edges, and what is refused."""

import numpy as np
import pytest
from scipy.special import ndtri

from bridge import Population, Spread, WriteSetting
from bridge.update_pulse import SwitchingTable, UpdateDriver, gxnor, switching_table
from mtjsim import MTJ, dissipated_energy, switching_probability
from physics import approx

DEVICE = MTJ.from_effective(thermal_stability=40, critical_current=30e-6, characteristic_time=2e-9)
DRIVER = UpdateDriver.even(longest=12e-9, count=15, current_0=45e-6, current_1=60e-6)


@pytest.fixture(scope="module")
def table():
    return switching_table(DEVICE, DRIVER)


@pytest.fixture(scope="module")
def spread_table():
    return switching_table(DEVICE, DRIVER, spread=Spread(critical_current_d2d=0.1), types=40, seed=3)


def test_a_table_is_the_switching_probability_of_each_pulse(table):
    widths = np.array(DRIVER.pulse_widths)
    for bit, (direction, current) in enumerate((("ap_to_p", 45e-6), ("p_to_ap", 60e-6))):
        given = {"current": current, "pulse_width": widths, "direction": direction}
        assert table.nominal[bit, 1:] == approx(switching_probability(DEVICE, **given))
        assert table.energies[bit, 1:] == approx(dissipated_energy(DEVICE, **given))
    assert (table.nominal[:, 0] == 0).all()
    assert np.array_equal(table.probabilities[0], table.nominal)
    assert table.types == 1


def test_another_temperature_and_ramps():
    driver = UpdateDriver(pulse_widths=(2e-9, 6e-9), current_0=45e-6, current_1=45e-6, rise_time=1e-9)
    hot = switching_table(DEVICE, driver, temperature=360.0)
    given = {"current": 45e-6, "pulse_width": [2e-9, 6e-9], "rise_time": 1e-9, "temperature": 360.0}
    assert hot.nominal[1, 1:] == approx(switching_probability(DEVICE, **given), rel=1e-5)


def test_voltages():
    device = MTJ.from_effective(
        thermal_stability=40,
        critical_current=30e-6,
        characteristic_time=2e-9,
        resistance_p=5e3,
        tunnel_magnetoresistance=1.0,
    )
    driver = UpdateDriver(pulse_widths=(5e-9,), voltage_0=0.3, voltage_1=0.2)
    found = switching_table(device, driver).nominal[:, 1]
    expected = [
        switching_probability(device, voltage=v, pulse_width=5e-9, direction=d)
        for v, d in ((0.3, "ap_to_p"), (0.2, "p_to_ap"))
    ]
    assert found == approx(expected)


def test_the_mean_of_a_population_is_that_of_its_error_rates(spread_table):
    """40 drawn junctions against the quadrature over the population, at one width: within four standard errors."""
    k = 8
    setting = WriteSetting(pulse_width=DRIVER.pulse_widths[k - 1], current_0=45e-6, current_1=60e-6)
    zero, one = Population(DEVICE, Spread(critical_current_d2d=0.1), setting).mean_error_rates()
    for bit, mean in enumerate((zero, one)):
        own = spread_table.probabilities[:, bit, k]
        assert abs(own.mean() - (1 - mean.rate)) < 4 * own.std(ddof=1) / len(own) ** 0.5
        assert own.std() > 0.01
    again = switching_table(DEVICE, DRIVER, spread=Spread(critical_current_d2d=0.1), types=3, seed=3)
    assert np.array_equal(again.probabilities, spread_table.probabilities[:3])


def test_noise_of_the_drive_is_averaged_over():
    driver = UpdateDriver(pulse_widths=(6e-9,), current_0=45e-6, current_1=45e-6)
    found = switching_table(DEVICE, driver, spread=Spread(drive_c2c=0.05)).nominal[1, 1]
    u = (np.arange(400) + 0.5) / 400
    currents = 45e-6 * (1 + 0.05 * ndtri(u))
    assert found == approx(switching_probability(DEVICE, current=currents, pulse_width=6e-9).mean(), rel=2e-3)


def test_inverse_tables_take_the_nearest_probability(table, spread_table):
    nu = np.concatenate([np.geomspace(1e-5, 1e-1, 50), np.linspace(0.1, 0.9999, 200)])
    for found, encoding, curves in (
        (table, "nominal", table.nominal),
        (spread_table, "nominal", spread_table.nominal),
        (spread_table, "population", spread_table.mean),
    ):
        edges = found.encoded(encoding)
        for bit in (0, 1):
            distance = np.abs(curves[bit][found.pulses(nu, edges, bit)] - gxnor(nu))
            nearest = np.abs(curves[bit][:, None] - gxnor(nu)).min(axis=0)
            assert distance == pytest.approx(nearest, abs=2e-4)  # of the grid on which p is inverted


def test_a_foot_leaves_rare_pulses_out(table):
    edges = table.encoded("nominal", foot=0.05)
    nu = np.linspace(0, 0.9999, 1000)
    for bit in (0, 1):
        used = np.unique(table.pulses(nu, edges, bit))
        assert all(k == 0 or table.nominal[bit, k] >= 0.05 for k in used)
        assert 0 in used


def test_proportional_and_offset_widths(table):
    nu = np.linspace(0.0, 0.9999, 777)
    widths = np.concatenate([[0.0], DRIVER.pulse_widths])
    for encoding, given, wanted in (
        ("proportional", {}, nu * 12e-9),
        ("offset", {"offset": 4e-9}, 4e-9 + nu * 8e-9),
    ):
        pulses = table.pulses(nu, table.encoded(encoding, **given), 1)
        assert np.abs(widths[pulses] - wanted).max() <= 0.4e-9 * (1 + 1e-9)  # half a step of the clock


def test_the_nominal_table_of_spread_junctions_jumps_too_often_at_the_foot(spread_table):
    """The mean over a convex foot is above the nominal curve; the table of the population corrects it."""
    nu = 3e-3
    by_nominal = spread_table.realized(nu, spread_table.encoded("nominal"), 1)
    by_population = spread_table.realized(nu, spread_table.encoded("population"), 1)
    assert abs(by_population - gxnor(nu)) <= abs(by_nominal - gxnor(nu))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda t: UpdateDriver(pulse_widths=(2e-9, 1e-9), current_0=1e-5, current_1=1e-5), "pulse_widths must ascend"),
        (lambda t: UpdateDriver(pulse_widths=(1e-9,)), "current"),
        (lambda t: UpdateDriver(pulse_widths=(1e-9,), current_0=1e-5), "current_1"),
        (lambda t: UpdateDriver(pulse_widths=(1e-9,), current_0=1e-5, current_1=1e-5, rise_time=2e-9), "rise_time"),
        (lambda t: UpdateDriver.even(longest=1e-9, shortest=2e-9, current_0=1e-5, current_1=1e-5), "shortest must be"),
        (lambda t: t.encoded("linear"), "encoding must be one of"),
        (lambda t: t.encoded("offset"), "offset must be given"),
        (lambda t: t.encoded("nominal", offset=1e-9), "offset must be given for the encoding"),
        (lambda t: t.encoded("offset", offset=20e-9), "offset must be less than the longest pulse"),
        (lambda t: t.encoded("proportional", foot=0.1), "foot must be 0"),
        (lambda t: t.encoded("nominal", wanted=lambda nu: 1 - nu), "wanted must rise with nu"),
        (lambda t: switching_table(DEVICE, DRIVER, types=0), "types must be"),
        (lambda t: switching_table(DEVICE, DRIVER, spread=Spread(pulse_width_c2c=0.1)), "pulse_width_c2c = 0"),
        (lambda t: switching_table(DEVICE, DRIVER, spread=Spread(threshold_voltage_d2d=0.1)), "threshold_voltage_d2d"),
        (lambda t: switching_table(DEVICE, 3), "driver must be of type UpdateDriver"),
    ],
)
def test_what_is_refused(table, make, words):
    with pytest.raises((ValueError, TypeError), match=words):
        make(table)


def test_it_is_a_table(table):
    assert isinstance(table, SwitchingTable)
    assert DRIVER.amplitudes == (45e-6, 60e-6)
