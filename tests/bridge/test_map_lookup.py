"""Between the nodes: against direct solves at random places, bounds that hold, and no word about what is outside.

2,048 random places over four junctions, eight widths to a solve. A place fails if the map is off by more than its own
bound there (plus the solvers' 1e-5), or, on a grid that promises it, by 1 %; no statistics are involved, the seed is
fixed.
"""

import warnings
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge import CoarseMapWarning, ErrorMap, WriteSetting, operating_point, write_error_map
from bridge.log_log import log_log, log_rate, log_switched
from bridge.maps.interpolation import LEAST_SWITCHED, points_needed
from mtjsim import dissipated_energy, load_preset, write_error_rate
from physics import approx, junction

SOLVER = 2e-5
WIDTHS = 8  # of a solve
DIRECTIONS = np.array(["p_to_ap", "ap_to_p"])
TEMPERATURES = [260.0, 300.0, 350.0]


DEVICES = {
    "preset": load_preset("arm_2021"),
    "lopsided": junction(spin_torque_asymmetry=0.3),
    "field": junction(40, stray_field=(0, 0, 0.01)),
    "cold laws": junction(45, curie_temperature=1100.0, anisotropy_exponent=3.0),
}


@lru_cache
def asked(name, nodes=50):
    device = DEVICES[name]
    I, tau = device.critical_current(), device.characteristic_time()
    currents, widths = np.linspace(0.8 * I, 4 * I, nodes), np.geomspace(0.3 * tau, 11 * tau, nodes)
    dataset = write_error_map(device, currents, widths, TEMPERATURES)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CoarseMapWarning)
        return dataset, ErrorMap(dataset)


def random_places(dataset, count, seed, *, between):
    draw = np.random.default_rng(seed)
    I, t, T = (dataset[name].values for name in ("current", "pulse_width", "temperature"))
    solves = (count // WIDTHS, 1)
    return {
        "current": draw.uniform(I[0], I[-1], solves),
        "pulse_width": np.exp(draw.uniform(np.log(t[0]), np.log(t[-1]), (solves[0], WIDTHS))),
        "temperature": draw.uniform(T[0], T[-1], solves) if between else draw.choice(T, solves),
        "direction": draw.choice(DIRECTIONS, solves),
    }


def direct(device, places):
    return np.asarray(write_error_rate(device, **places))


@pytest.mark.parametrize("name", DEVICES)
@pytest.mark.parametrize("between", [False, True], ids=["at temperatures of the map", "between them"])
def test_random_places(name, between):
    dataset, error_map = asked(name)
    places = random_places(dataset, 256, 5, between=between)
    solved, found, bound = direct(DEVICES[name], places), error_map.rate(**places), error_map.bound(**places)
    there = solved > 1e-30
    assert there.mean() > 0.8
    assert solved.max() > 1 - 1e-9
    assert solved[there].min() < 1e-15
    error = np.abs(found / solved - 1)[there]
    assert (error <= bound[there] + SOLVER).all()
    promised = not between or name != "cold laws"
    assert error.max() < (0.01 if promised else 0.2)
    assert (bound[there].max() < 0.01) == promised


@pytest.mark.parametrize("name", ["preset", "lopsided"])
def test_near_one_the_switching_probability_keeps_its_own_accuracy(name):
    dataset, error_map = asked(name)
    places = random_places(dataset, 200, 9, between=False)
    places["pulse_width"] = np.random.default_rng(4).uniform(0.3, 1.5, (25, 8)) * DEVICES[name].characteristic_time()
    switched = 1 - direct(DEVICES[name], places)
    seen = (switched > 1e-6) & (switched < 0.5)
    assert seen.sum() > 50
    error = np.abs(error_map.switching_probability(**places)[seen] / switched[seen] - 1)
    assert (error <= error_map.bound(**places, tail="switched")[seen] + 1e-4).all()
    assert error[switched[seen] > 1e-4].max() < 0.01


def test_the_temperatures_of_a_junction_with_laws_are_too_few_and_it_says_so():
    dataset, _ = asked("cold laws")
    assert dataset.attrs["interpolation_bound"] > 0.02
    with pytest.warns(CoarseMapWarning, match="temperature about .* points in place of 3"):
        ErrorMap(dataset)


def test_a_coarse_grid_says_what_would_do_and_that_does():
    device = DEVICES["lopsided"]
    currents, widths = np.linspace(30e-6, 110e-6, 7), np.geomspace(1e-9, 20e-9, 7)
    with pytest.warns(CoarseMapWarning, match="current about") as caught:
        coarse = ErrorMap(write_error_map(device, currents, widths))
    places = random_places(coarse.dataset, 160, 2, between=False)
    solved = direct(device, places)
    error = np.abs(coarse.rate(**places) / solved - 1)
    assert error.max() > 0.01
    assert (error <= coarse.bound(**places) + SOLVER)[solved > 1e-30].mean() > 0.98
    assert "points in place of 7" in str(caught[0].message)
    points = [int(word.split(" about ")[1].split()[0]) for word in coarse.advice.split(";")]
    finer = write_error_map(device, np.linspace(30e-6, 110e-6, points[0]), np.geomspace(1e-9, 20e-9, points[1]))
    assert finer.attrs["interpolation_bound"] < 0.01
    assert np.abs(ErrorMap(finer).rate(**places) / solved - 1)[solved > 1e-30].max() < 0.01


def test_two_nodes_know_nothing_between_them():
    dataset = write_error_map(
        DEVICES["preset"], np.linspace(40e-6, 80e-6, 12), np.geomspace(2e-9, 9e-9, 12), [300, 350]
    )
    with pytest.warns(CoarseMapWarning, match="temperature at least 4 points in place of 2"):
        error_map = ErrorMap(dataset)
    write = {"current": 57e-6, "pulse_width": 5e-9}
    assert error_map.bound(**write, temperature=320.0) == np.inf
    assert error_map.bound(**write, temperature=350.0) < 0.01


def test_with_ramps_and_relaxation():
    pulse = {"rise_time": 0.5e-9, "relax_time": 1e-9}
    device = DEVICES["lopsided"]
    dataset = write_error_map(device, np.linspace(35e-6, 70e-6, 18), np.geomspace(1.5e-9, 12e-9, 18), **pulse)
    error_map = ErrorMap(dataset)
    places = random_places(dataset, 64, 3, between=False)
    solved = direct(device, places | pulse)
    error = np.abs(error_map.rate(**places) / solved - 1)
    assert (error <= error_map.bound(**places) + SOLVER).all()
    assert error.max() < 0.01
    setting = WriteSetting(current_0=50e-6, current_1=55e-6, pulse_width=5e-9, **pulse)
    point = error_map.operating_point(setting)
    assert point.latency == operating_point(device, setting).latency == approx(6.5e-9)


def test_nodes_come_back():
    dataset, error_map = asked("lopsided")
    some = dataset.isel(current=[0, 20, 49], pulse_width=[0, 7, 30], temperature=[0, 2])
    d, I, t, T = np.meshgrid(*(some[name].values for name in some["write_error_rate"].dims), indexing="ij")
    found = error_map.rate(current=I, pulse_width=t, temperature=T, direction=d)
    assert found.shape == (2, 3, 3, 2)
    np.testing.assert_allclose(found, some["write_error_rate"].values, rtol=2e-8)  # near 1 they are 1
    assert not np.any(error_map.bound(current=I, pulse_width=t, temperature=T, direction=d))
    one = error_map.rate(current=I[0, 0, 0, 0], pulse_width=3e-9)
    assert isinstance(one, float)


@settings(max_examples=40)
@given(st.floats(0.8, 4.0), st.floats(0.3, 10.0), st.floats(0.01, 0.2), st.sampled_from(["p_to_ap", "ap_to_p"]))
def test_never_rises_with_current_or_width(i, tau, step, direction):
    device, error_map = DEVICES["preset"], asked("preset")[1]
    I = np.array([i, min(i + step, 3.99)]) * device.critical_current()
    t = np.array([tau, tau + step]) * device.characteristic_time()
    grid = error_map.rate(current=np.sort(I)[:, None], pulse_width=t, direction=direction)
    assert ((grid >= 0) & (grid <= 1)).all()
    assert (np.diff(grid, axis=0) <= 1e-9).all()
    assert (np.diff(grid, axis=1) <= 1e-9).all()


@given(st.floats(1e-290, 1 - 1e-7))
def test_the_variable_and_back(rate):
    v = log_log(np.array([rate]), least_switched=LEAST_SWITCHED)
    assert np.exp(log_rate(v))[0] == approx(rate, rel=1e-11)
    assert np.exp(log_switched(v))[0] == approx(1 - rate, rel=1e-8)


def test_points_needed_grow_with_the_third_root():
    assert points_needed(50, 0.009, 0.01) == 50
    assert points_needed(11, 0.08, 0.01) == 25
    assert points_needed(3, 0.08, 0.01) == 6
    assert points_needed(2, np.inf, 0.01) == 4
    assert points_needed(1, 0.0, 0.01) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"current": 5e-4}, "current must be inside the map, .* got 0.0005: a map is never extrapolated"),
        ({"pulse_width": 1e-12}, "pulse_width must be inside the map"),
        ({"temperature": 400.0}, "temperature must be inside the map, 260 to 350 K, got 400"),
        ({"temperature": float("nan")}, "temperature must be finite"),
        ({"current": None, "voltage": 0.4}, "voltage must be left out: this map is over current"),
        ({"direction": "up"}, "direction must be one of"),
        ({"current": "60uA"}, "current must be a number"),
    ],
)
def test_outside_or_wrong(change, message):
    write = {"current": 60e-6, "pulse_width": 5e-9, "temperature": 300.0, "direction": "p_to_ap"}
    with pytest.raises(ValueError, match=message):
        asked("preset")[1].rate(**(write | change))


# ---- energies and operating points -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def costed():
    dataset = write_error_map(
        DEVICES["lopsided"], np.linspace(40e-6, 90e-6, 16), np.geomspace(3e-9, 15e-9, 14), [290, 300, 320], energy=True
    )
    return dataset, ErrorMap(dataset)


def test_energies_between_nodes(costed):
    dataset, error_map = costed
    places = random_places(dataset, 40, 8, between=True)
    solved = dissipated_energy(DEVICES["lopsided"], **places)
    np.testing.assert_allclose(error_map.energy(**places), solved, rtol=1e-3)


def test_operating_point_is_that_of_the_solver(costed):
    setting = WriteSetting(current_0=55.3e-6, current_1=61.7e-6, pulse_width=7.77e-9)
    device, error_map = DEVICES["lopsided"], costed[1]
    for temperature in (300.0, 317.0):
        solved = operating_point(device, setting, temperature=temperature)
        found = error_map.operating_point(setting, temperature=temperature)
        for bit, direction in enumerate(("ap_to_p", "p_to_ap")):
            place = {"current": (55.3e-6, 61.7e-6)[bit], "pulse_width": 7.77e-9, "temperature": temperature}
            bound = error_map.bound(**place, direction=direction)
            rates = [getattr(point, f"error_rate_{bit}") for point in (found, solved)]
            assert abs(rates[0] / rates[1] - 1) <= bound + SOLVER < 0.01
            assert getattr(found, f"energy_{bit}") == approx(getattr(solved, f"energy_{bit}"), rel=1e-3)
        assert found.energies["junction"] == approx(solved.energies["junction"], rel=1e-3)  # also where the bit is held
        assert found.identity == solved.identity
        assert found.latency == solved.latency


def test_operating_point_without_energies_or_with_other_ramps():
    error_map = asked("preset")[1]
    setting = WriteSetting(current_0=60e-6, current_1=60e-6, pulse_width=5e-9)
    bare = error_map.operating_point(setting)
    assert np.isnan(bare.energy_0)
    with pytest.raises(ValueError, match="this map has no energies"):
        error_map.energy(current=60e-6, pulse_width=5e-9)
    with pytest.raises(ValueError, match="rise_time of the setting must be that of the map, 0 s, got 1e-09 s"):
        error_map.operating_point(replace(setting, rise_time=1e-9))


def test_over_voltage():
    device = junction(vcma_coefficient=30e-15, barrier_thickness=1.4e-9)
    dataset = write_error_map(
        device, voltages=np.linspace(0.2, 0.6, 20), pulse_widths=np.geomspace(2e-9, 20e-9, 20), energy=True
    )
    error_map = ErrorMap(dataset)
    write = {"voltage": [0.313, 0.457], "pulse_width": [8.1e-9, 5.7e-9], "direction": ["p_to_ap", "ap_to_p"]}
    solved = write_error_rate(device, **write)
    assert error_map.rate(**write) == approx(solved, rel=0.01)
    assert error_map.energy(**write) == approx(dissipated_energy(device, **write), rel=1e-3)
    with pytest.raises(ValueError, match="setting must be of voltages, as the map is, got one of currents"):
        error_map.operating_point(WriteSetting(current_0=6e-5, current_1=6e-5, pulse_width=5e-9))


def test_energy_below_the_first_level():
    device = DEVICES["preset"]
    dataset = write_error_map(
        device, np.r_[0.0, np.linspace(40e-6, 80e-6, 10)], np.geomspace(2e-9, 9e-9, 8), energy=True
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CoarseMapWarning)
        error_map = ErrorMap(dataset)
    assert error_map.energy(current=0.0, pulse_width=5e-9) == 0
    with pytest.raises(ValueError, match="current must be 0 or >= 4e-05 A for an energy"):
        error_map.energy(current=20e-6, pulse_width=5e-9)
