"""Held bits: quadrature against the chain, limits, symmetries, the inversions, and the traps of small probabilities.

The two roads share the reduced write (`reduced.py`) and nothing else. Everything is deterministic.
"""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtjsim import closed_form_escape_rate, list_presets, load_preset
from mtjsim.device import MTJ
from mtjsim.fokker_planck import axial_hold, escape, finite_volume
from mtjsim.fokker_planck.axial import tail_probability
from mtjsim.fokker_planck.axial_hold import FASTEST_ESCAPE, SETTLED, log_switched
from mtjsim.fokker_planck.chain import CUTS, extrapolate
from mtjsim.fokker_planck.escape import barrier_position, make_panels, solve_escape
from mtjsim.fokker_planck.finite_volume import Schedule, Strides, solve_switched, solve_tails
from mtjsim.fokker_planck.reduced import AxialWrite
from mtjsim.holding import (
    read_disturb_rate,
    retention_failure_rate,
    retention_time,
    thermal_stability_for_retention,
)
from mtjsim.switching import switching_probability
from physics import GOLDEN_CASES, TAU, approx, junction

TEN_YEARS = 10 * 365.25 * 86400
TWO_ROADS = 1e-4  # promised; measured about 2e-6


def held(Delta, share=0.0, H=0.0, L=0.0):
    """In reduced units; `share` of the threshold current."""
    return AxialWrite(thermal_stability=Delta, drive=share * (1 + H) * (1 + L), field=H, asymmetry=L).held()


# ---- two roads -----------------------------------------------------------------------------------------------------

ROADS = [  # Delta, share of the threshold, H, L
    pytest.param(20, 0.0, 0.0, 0.0, id="shallow"),
    pytest.param(60, 0.0, 0.0, 0.0, id="retention", marks=pytest.mark.slow),
    pytest.param(60, 0.3, 0.0, 0.0, id="read"),
    pytest.param(60, 0.0, -0.4, 0.0, id="field-opposes"),
    pytest.param(60, 0.4, 0.3, 0.0, id="field-holds", marks=pytest.mark.slow),
    pytest.param(80, 0.5, 0.1, 0.5, id="lambda-hard"),
    pytest.param(80, 0.4, 0.1, -0.5, id="lambda-easy", marks=pytest.mark.slow),
    pytest.param(100, 0.65, 0.0, 0.0, id="strong-read"),
]


@pytest.mark.parametrize(("Delta", "share", "H", "L"), ROADS)
def test_two_roads(Delta, share, H, L):
    """From 25 relaxation times to 1e17 tau_D."""
    write = held(Delta, share, H, L)
    durations = np.append(SETTLED * solve_escape(write).relaxation_time, [1e4, 1e17])
    chain, error = solve_switched(write, durations)
    assert log_switched(write, durations, method="quadrature") == approx(chain, abs=1e-5)
    assert (error < 5e-4).all()


@st.composite
def held_bits(draw):
    return held(
        draw(st.floats(15, 100)), draw(st.floats(0, 0.9)), draw(st.floats(-0.45, 0.45)), draw(st.floats(-0.6, 0.6))
    )


def agree(write, exponent):
    bit = solve_escape(write)
    if bit is None or bit.fast_escape > FASTEST_ESCAPE:
        return
    durations = bit.relaxation_time * np.array([SETTLED, 10**exponent])
    chain, _ = solve_switched(write, durations)
    assert bit.log_switched(durations) == approx(chain, abs=1e-5)


@settings(max_examples=4)
@given(held_bits(), st.floats(2, 17))
def test_roads_agree(write, exponent):
    agree(write, exponent)


@pytest.mark.slow
@settings(max_examples=150)
@given(held_bits(), st.floats(2, 17))
def test_roads_agree_widely(write, exponent):
    agree(write, exponent)


@pytest.mark.parametrize(("Delta", "share"), [(60, 0.35), (40, 0.0), (30, 0.9), (30, 1.2)])
def test_chain_at_short_durations(Delta, share):
    """Against the polynomials above 1e-5, and against a finer chain below, from one tau_D on."""
    write, durations = held(Delta, share), np.array([1.0, 3.0, 10.0])
    chain, _ = solve_switched(write, durations)
    spectral = tail_probability(write, durations, tail="switched")
    shallow = spectral > 1e-5
    assert np.exp(chain[shallow]) == approx(spectral[shallow], rel=TWO_ROADS)
    deep = ~shallow & (chain > math.log(1e-23))
    finer = solve_tails(write, durations, tail="switched", peclet=0.25, change=0.025).log_switched
    assert chain[deep] == approx(finer[deep], abs=TWO_ROADS)


@pytest.mark.parametrize(("Delta", "share", "H"), [(60, 0.3, 0.0), (30, 0.2, 0.1), (80, 0.5, -0.1), (60, 0.0, -0.3)])
def test_no_jump_where_the_road_changes(Delta, share, H):
    write = held(Delta, share, H)
    change = SETTLED * solve_escape(write).relaxation_time
    before, after = log_switched(write, change * np.array([1 - 1e-9, 1 + 1e-9]))
    assert after - before == approx(0, abs=1e-5)
    assert after != before


def test_no_jump_where_the_barrier_gets_too_low():
    """Along the current, at a fixed duration, across k tau_r = 1e-5: steps of the same size on both sides."""
    shares = np.linspace(0.38, 0.50, 9)
    escapes = [solve_escape(held(40, share)).fast_escape for share in shares]
    assert escapes[0] < FASTEST_ESCAPE < escapes[-1]
    logs = [log_switched(held(40, share), np.array([200.0]))[0] for share in shares]
    assert np.abs(np.diff(logs, 5)).max() < 1e-4


# ---- golden, limits, symmetries ------------------------------------------------------------------------------------


def golden():
    case = next(c for c in GOLDEN_CASES if c["name"] == "C disturb")
    d = case["device"]
    device = MTJ(
        diameter=d["diameter"],
        thickness=d["thickness"],
        saturation_magnetization=d["Ms"],
        anisotropy_field=d["Bk"],
        damping=d["alpha"],
        spin_torque_efficiency=d["eta"],
        resistance_area_product=10e-12,
        tunnel_magnetoresistance=1.0,
    )
    pulse = {"current": abs(case["current_A"]), "duration": case["pulse_s"], "temperature": case["T"], "state": "p"}
    return device, pulse, case["value"]


@pytest.mark.parametrize("method", ["auto", "finite_volume"])
def test_golden_disturb(method):
    device, pulse, expected = golden()
    assert read_disturb_rate(device, method=method, **pulse) == approx(expected, rel=2e-5)


@pytest.mark.parametrize("state", ["p", "ap"])
def test_agrees_with_the_write(state):
    """The same question where both functions answer it: without field the barrier is at m_z = 0."""
    device, direction = junction(40, 0.0, 0.2), {"p": "p_to_ap", "ap": "ap_to_p"}[state]
    for current, duration in [(12e-6, 100e-9), (40e-6, 8e-9)]:
        write = switching_probability(device, current=current, pulse_width=duration, direction=direction)
        assert read_disturb_rate(device, current=current, duration=duration, state=state) == approx(write, rel=1e-4)


@settings(max_examples=15)
@given(st.floats(25, 90), st.floats(-0.3, 0.3), st.floats(-0.5, 0.5), st.floats(0, 8e-6), st.floats(2, 17))
def test_mirror_symmetry(Delta, h, lam, current, exponent):
    """(I, B_z, lambda, P) -> (-I, -B_z, -lambda, AP) changes nothing; `current` already follows the state."""
    read = {"current": current, "duration": 10**exponent * TAU}
    one = read_disturb_rate(junction(Delta, h, lam), state="p", **read)
    other = read_disturb_rate(junction(Delta, -h, -lam), state="ap", **read)
    assert one == approx(other, rel=1e-9)


def test_each_sign_alone_matters():
    read = {"current": 8e-6, "duration": 1e-6}
    base = read_disturb_rate(junction(60, 0.1, 0.3), **read)
    for device, state in [
        (junction(60, -0.1, 0.3), "p"),
        (junction(60, 0.1, -0.3), "p"),
        (junction(60, 0.1, 0.3), "ap"),
    ]:
        assert abs(read_disturb_rate(device, state=state, **read) / base - 1) > 0.5


def test_for_ever_is_equilibrium():
    """After very long the mass of the other side, whatever the start: detailed balance between the two states."""
    device = junction(30, 0.1)
    p, ap = (retention_failure_rate(device, duration=1e15, state=state) for state in ("p", "ap"))
    assert p + ap == approx(1, rel=1e-12)
    assert p / ap == approx(1 / held(30, H=0.1).stationary_ratio(), rel=1e-8)
    assert retention_failure_rate(junction(20), duration=1e6) == approx(0.5, rel=1e-12)


def test_without_current_a_read_is_retention():
    device, durations = junction(45, 0.05), np.array([1e-9, 1e-6, 1.0])
    read = read_disturb_rate(device, current=0.0, duration=durations, state="ap")
    assert read == approx(retention_failure_rate(device, duration=durations, state="ap"), rel=1e-12)


def test_brown():
    """Small failure rates grow as Brown's rate, sqrt(Delta/pi) e^-Delta (1 - 1/Delta) per tau_D."""
    rate = math.sqrt(60 / math.pi) * math.exp(-60) * (1 - 1 / 60)
    assert retention_failure_rate(junction(60), duration=1e5) == approx(rate * 1e5 / TAU, rel=3e-4)


WELLS = [(-0.3, 2.304187e-10), (-0.4, 4.396471e-07), (-0.45, 1.194310e-05)]  # of a solve from the metastable well


@pytest.mark.parametrize(("h", "expected"), WELLS)
def test_a_bit_starts_in_its_well_and_is_lost_beyond_the_barrier(h, expected):
    """Delta 60, 1 us. From the whole side of m_z = 0 it would be 3.27e-10, 1.00e-5, 3.1e-3."""
    device = junction(60, h)
    for method in ("quadrature", "finite_volume"):
        assert retention_failure_rate(device, duration=1e-6, method=method) == approx(expected, rel=TWO_ROADS)
    assert read_disturb_rate(device, current=0.0, duration=1e-6) == approx(expected, rel=TWO_ROADS)
    assert retention_failure_rate(junction(60, -h), duration=1e-6, state="ap") == approx(expected, rel=TWO_ROADS)
    assert retention_time(device, failure_rate=expected) == approx(1e-6, rel=TWO_ROADS)


def test_the_start_in_the_well_is_browns_rate():
    """Behind Delta (1 - 0.4)^2 = 36 kT at B_z = -0.4 B_k: sqrt(Delta/pi)(1 - H^2)(1 + H) e^(-36), to 1/36 or so."""
    write, duration = held(100, H=-0.4), 1e4
    rate = closed_form_escape_rate(thermal_stability=100, field=-0.4)
    assert math.exp(log_switched(write, np.array([duration]))[0]) == approx(rate * duration, rel=2e-3)
    from_side = replace(write, start_above=0.0)
    assert solve_escape(from_side).log_ahead > solve_escape(write).log_ahead + 5


def test_the_tail_of_a_well_beyond_the_equator_is_not_lost():
    """Delta 1, B_z = 0.3 B_k: 12 % of the well lies at m_z < 0, and after a moment 0.5 % is beyond m_z = -0.3."""
    write = held(1, H=0.3)
    chain, error = solve_switched(write, np.array([1e-3]))
    y = np.linspace(-0.3, 1.0, 20_001)
    density = write.starting_density(y)
    assert np.trapezoid(density[y < 0], y[y < 0]) / np.trapezoid(density, y) == approx(0.118, abs=1e-3)
    assert math.exp(chain[0]) == approx(4.59e-3, rel=2e-3)
    assert error[0] < TWO_ROADS


@pytest.mark.parametrize(
    ("H", "L", "i"),
    [(0.1, 0.0, 0.3), (0.0, 0.6, 0.5), (-0.2, -0.6, 0.2), (0.3, 1e-12, 0.0), (0.0, -0.9, 0.2), (0.0, 0.9, -0.2)],
)
def test_barrier_position(H, L, i):
    write = AxialWrite(thermal_stability=60, drive=i, field=H, asymmetry=L)
    y = barrier_position(write)
    assert write.force(np.array([y]), i)[0] == approx(0, abs=1e-12)
    below, above = write.force(np.array([y - 1e-3, y + 1e-3]), i)
    assert below < 0 < above


def test_running_integrals():
    """Of exp(40 y) from either end, against the closed form, in relative accuracy."""
    panels = make_panels(held(60), 0.0)
    up, down = (panels.running(40 * panels.y, towards) for towards in ("up", "down"))
    y = panels.y
    assert up == approx(40 * y + np.log(-np.expm1(-40 * (1 + y)) / 40), abs=1e-11)
    assert down == approx(40 + np.log(-np.expm1(40 * (y - 1)) / 40), abs=1e-11)
    assert panels.total(40 * y) == approx(40 + math.log(-math.expm1(-80) / 40), abs=1e-12)


# ---- inversions ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("Delta", "h", "state"), [(30, 0.0, "p"), (60, 0.1, "ap"), (30, 0.1, "p"), (300, -0.2, "p"), (300, 0.2, "ap")]
)
@pytest.mark.parametrize("rate", [1e-9, 1e-6])
def test_retention_time_is_the_inverse(Delta, h, state, rate):
    device = junction(Delta, h)
    reached = retention_time(device, failure_rate=rate, state=state)
    assert retention_failure_rate(device, duration=reached, state=state) == approx(rate, rel=TWO_ROADS)


def test_retention_time_by_the_chain():
    """A barrier too low for the quadrature."""
    for Delta, rate in [(8, 0.05)]:
        reached = retention_time(junction(Delta), failure_rate=rate)
        again = retention_failure_rate(junction(Delta), duration=reached, method="finite_volume")
        assert again == approx(rate, rel=TWO_ROADS)


def test_retention_times_broadcast_and_saturate():
    times = retention_time(junction(40), failure_rate=[[1e-9], [0.49999]], state=["p", "ap"], temperature=[300, 330])
    assert times.shape == (2, 2)
    assert (times[0] < times[1]).all()
    assert (times[:, 0] > times[:, 1]).all()  # hot
    assert retention_time(junction(40), failure_rate=[0.5, 0.9]).tolist() == [math.inf, math.inf]
    favoured, opposed = retention_time(junction(40, 0.1), failure_rate=1e-3, state=["p", "ap"])
    assert favoured == math.inf
    assert 0 < opposed < 1e8
    assert retention_time(junction(2000), failure_rate=1e-9) == math.inf


@pytest.mark.parametrize("opposing", [0.0, 0.1, 0.4])
def test_stability_for_retention_is_the_inverse(opposing):
    Delta = thermal_stability_for_retention(
        duration=TEN_YEARS, failure_rate=1e-12, opposing_field_ratio=opposing, characteristic_time=TAU
    )
    rate = retention_failure_rate(junction(Delta, -opposing), duration=TEN_YEARS, state="p")
    assert rate == approx(1e-12, rel=TWO_ROADS)
    easier = retention_failure_rate(junction(Delta, -opposing), duration=TEN_YEARS, state="ap")
    assert easier <= rate * (1 + 1e-9)


def test_stability_for_retention_behaves():
    kwargs = {"duration": TEN_YEARS, "failure_rate": np.array([1e-6, 1e-12])}
    low, high = thermal_stability_for_retention(**kwargs)
    assert high - low == approx(math.log(1e6), rel=0.02)
    faster = thermal_stability_for_retention(**kwargs, characteristic_time=0.5e-9)
    assert faster - np.array([low, high]) == approx(math.log(2), rel=0.02)


# ---- messages ------------------------------------------------------------------------------------------------------

READ = {"current": 8e-6, "duration": 1e-6}
BAD = [
    (READ | {"current": -1e-6}, "current must be finite and >= 0 A.*amplitude"),
    (READ | {"duration": 0.0}, "duration must be finite and > 0 s"),
    (READ | {"duration": "5ns"}, "duration must be a number.*SI"),
    (READ | {"state": "P"}, r"state must be one of 'p', 'ap', got 'P'"),
    (READ | {"temperature": 0}, "temperature must be finite and > 0 K"),
    (READ | {"method": "quadratur"}, "Did you mean 'quadrature'"),
    (READ | {"method": "quadrature", "current": 31e-6}, "needs a barrier.*1.03.*write_error_rate.*use 'auto'"),
    (READ | {"method": "quadrature", "current": 25e-6}, "barrier is too low.*use 'auto'"),
    (READ | {"method": "quadrature", "duration": 1e-9}, "at least 25 relaxation times.*not settled"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD)
def test_bad_read(arguments, message):
    with pytest.raises(ValueError, match=message):
        read_disturb_rate(junction(60), **arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"opposing_field_ratio": 0.5}, r"opposing_field_ratio must be .* < 0\.5, got 0\.5"),
        ({"opposing_field_ratio": -0.1}, "opposing_field_ratio must be finite, >= 0 and < 0.5, got -0.1"),
        ({"failure_rate": 0.5}, r"failure_rate must be .* < 0\.5, got 0\.5"),
        ({"failure_rate": 12.0}, "must be .* < 0.5, got 12. .*percent"),
        ({"failure_rate": 0.0}, "failure_rate must be finite, > 0 and < 0.5, got 0"),
        ({"duration": 1e-9}, ">= 50 characteristic times.*read_disturb_rate"),
        ({"duration": 1.0, "characteristic_time": 1e-305, "failure_rate": 1e-300}, "no thermal stability from"),
    ],
)
def test_bad_design(arguments, message):
    with pytest.raises(ValueError, match=message):
        thermal_stability_for_retention(**({"duration": TEN_YEARS, "failure_rate": 1e-9} | arguments))


def test_no_retention_to_speak_of():
    with pytest.raises(ValueError, match=r"within one characteristic time.*larger failure rate"):
        retention_time(junction(8), failure_rate=1e-9)


def test_what_no_road_resolves():
    with pytest.raises(ValueError, match=r"cannot be resolved.*longer duration"):
        retention_failure_rate(junction(800), duration=1e-9)


def test_what_is_not_axisymmetric_is_refused():
    tilted = junction(60, stray_field=(0.01, 0.0, 0.0))
    for call in (
        lambda: read_disturb_rate(tilted, **READ),
        lambda: retention_failure_rate(tilted, duration=1.0),
        lambda: retention_time(tilted, failure_rate=1e-9),
    ):
        with pytest.raises(ValueError, match=r"not axisymmetric: .*in-plane part"):
            call()


def test_broadcasting():
    device = junction(40, 0.1)
    table = read_disturb_rate(device, current=np.array([[2e-6], [5e-6]]), duration=[1e-6, 1e-3, 1.0], state="ap")
    assert table.shape == (2, 3)
    assert table[1, 2] == approx(read_disturb_rate(device, current=5e-6, duration=1.0, state="ap"), rel=1e-12)
    assert isinstance(retention_failure_rate(device, duration=1.0), float)
    states = retention_failure_rate(device, duration=1.0, state=["p", "ap"], temperature=[300, 350])
    assert states[1] == approx(retention_failure_rate(device, duration=1.0, state="ap", temperature=350), rel=1e-12)


def test_depth():
    """1e-26 within a tau_D, and Delta 300 for ten years: below 1e-100."""
    assert 1e-27 < read_disturb_rate(junction(60), current=1e-6, duration=2e-9) < 1e-24
    assert 1e-120 < retention_failure_rate(junction(300), duration=TEN_YEARS) < 1e-100


# ---- negative controls ---------------------------------------------------------------------------------------------


def test_one_minus_nearly_one_would_be_seen():
    """Trap 7: pi_other - a_1 e^(-k tau) with a_1 as any number near one is rounded: a disturb of 1e-13 is lost."""
    write, durations = held(60, 0.2), np.array([50.0])
    bit = solve_escape(write)
    right = math.exp(bit.log_switched(durations)[0])
    assert 1e-20 < right < 1e-12
    other, ahead = math.exp(bit.log_other), bit.sign_ahead * math.exp(bit.log_ahead)
    wrong = other - (other - ahead) * math.exp(-math.exp(bit.log_rate) * durations[0])
    assert abs(wrong / right - 1) > 1e-2


@pytest.mark.parametrize("wrong", [0.5, 2.0])
def test_a_factor_two_in_the_diffusion_would_be_seen(monkeypatch, wrong):
    """Trap 5: the golden case with 1/Delta for 1/(2 Delta), and with the inverse mistake."""
    device, pulse, expected = golden()
    healthy = AxialWrite.__init__

    def mistaken(self, thermal_stability, *args, **kwargs):
        healthy(self, thermal_stability * wrong, *args, **kwargs)

    monkeypatch.setattr(AxialWrite, "__init__", mistaken)
    assert abs(read_disturb_rate(device, **pulse) / expected - 1) > 0.5


def test_a_rate_without_offset_would_be_seen():
    """The start has to settle in the read current: 1 - e^(-k t) alone is 26 % high after 25 relaxation times."""
    write = held(60, 0.3)
    bit = solve_escape(write)
    duration = SETTLED * bit.relaxation_time
    bare = bit.log_other + bit.log_rate + math.log(duration)
    assert math.expm1(bare - solve_switched(write, np.array([duration]))[0][0]) > 0.2


def test_a_step_at_the_equator_would_be_seen(monkeypatch):
    """The slow function belongs to the barrier, not to m_z = 0: with the equator in its place a strong read is lost."""
    write, duration = held(100, 0.65), np.array([1e3])
    right = solve_switched(write, duration)[0][0]
    assert log_switched(write, duration, method="quadrature")[0] == approx(right, abs=1e-5)
    monkeypatch.setattr(escape, "barrier_position", lambda write: 0.0)
    assert not abs(solve_escape(write).log_switched(duration)[0] - right) < 0.01


def test_too_early_would_be_seen(monkeypatch):
    """At 8 relaxation times the quadrature is per cents off: hence the 25."""
    write = held(60, 0.3)
    early = 8 * solve_escape(write).relaxation_time * np.ones(1)
    right = solve_switched(write, early)[0][0]
    assert log_switched(write, early)[0] == approx(right, abs=1e-12)
    monkeypatch.setattr(axial_hold, "SETTLED", 5.0)
    assert abs(log_switched(write, early)[0] - right) > 0.01


def test_steps_that_do_not_follow_the_time_would_be_seen():
    """One stride to 10 tau_D has lost the start; those that grow with the time take 1e6 tau_D in less than 150."""
    write, duration = held(30, 0.3), np.array([10.0])
    assert Schedule.of(write, np.array([1e6]), "switched", 0.1).work < 150
    schedule = Schedule.of(write, duration, "switched", 0.1)
    one = Schedule(write, schedule.before, (Strides(duration, np.ones(1), np.ones(1)),), schedule.after)
    cells = finite_volume.mesh_size(write) // 2
    coarse, grown = (extrapolate(s.solve(cells, 2), 1 / np.array(CUTS), 1)[0][1, 0] for s in (one, schedule))
    assert abs(coarse - grown) > 5e-5


@pytest.mark.parametrize("wrong", [None, {}, "file.toml"])
def test_what_is_no_junction_is_named(wrong):
    for ask in (
        lambda: read_disturb_rate(wrong, current=1e-6, duration=1e-8),
        lambda: retention_failure_rate(wrong, duration=1.0),
        lambda: retention_time(wrong, failure_rate=1e-6),
    ):
        with pytest.raises(ValueError, match="device must be"):
            ask()


@pytest.mark.parametrize("wrong", [[1, None], ["p", None], [["p"], ["p", "ap"]]])
def test_a_list_of_no_states_is_named(wrong):
    with pytest.raises(ValueError, match="state must be one of"):
        retention_failure_rate(load_preset(list_presets()[0]), duration=1.0, state=wrong)
