"""Writes under an imposed voltage, VCMA, and pulses of any shape: limits, symmetries, two roads, three joules.

Everything but the last section is deterministic. The last one counts: 1e5 writes, held to five standard errors (false
alarm 6e-7 a comparison); the smallest effect it sees is 7 % of a rate of 5 %, and 0.1 % of an energy.
"""

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mtjsim import Pulse, dissipated_energy, rare_write_errors, read_disturb_rate, simulate_writes
from mtjsim.fokker_planck import spectral
from mtjsim.fokker_planck.finite_volume import solve_tails
from mtjsim.fokker_planck.reduced import AxialWrite, Conduction, reduced_write, unresolved
from mtjsim.switching import switching_probability, write_error_rate
from mtjsim.transport import conductance_terms, junction_conductance, junction_resistance, vcma_slope
from physics import approx
from physics import biased_junction as junction
from physics import junction as plain_junction

DIRECTIONS = ("p_to_ap", "ap_to_p")


PLAIN = {"vcma_coefficient": 0.0, "tmr_half_voltage": None}
CONSTANT = {**PLAIN, "tunnel_magnetoresistance": 0.0}
VOLTS = {"p_to_ap": 0.40, "ap_to_p": 0.35}


# ---- limits ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("rise_time", [0.0, 1e-9])
def test_without_magnetoresistance_a_voltage_is_a_current(direction, rise_time):
    device = junction(**CONSTANT)
    write = {"pulse_width": 5e-9, "direction": direction, "rise_time": rise_time}
    by_voltage = write_error_rate(device, voltage=0.3, **write)
    assert by_voltage == approx(write_error_rate(device, current=0.3 / 3e3, **write), rel=1e-9)
    energy = dissipated_energy(device, voltage=0.3, **write)
    assert energy == approx(0.3**2 / 3e3 * (5e-9 + 2 / 3 * rise_time - rise_time), rel=1e-6)


def test_without_magnetoresistance_vcma_does_not_ask_what_is_imposed():
    """V = I R_P in every state: softening by an imposed current and by an imposed voltage are one."""
    device = junction(tunnel_magnetoresistance=0.0)
    for direction in DIRECTIONS:
        write = {"pulse_width": 5e-9, "direction": direction, "rise_time": 1e-9}
        by_voltage = write_error_rate(device, voltage=0.3, **write)
        assert by_voltage == approx(write_error_rate(device, current=1e-4, **write), rel=1e-9)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_softening_is_a_smaller_anisotropy(direction):
    """The tail's slope is that of a junction whose B_k the bias has changed, in seconds: only the start differs."""
    device = junction(tunnel_magnetoresistance=0.0, vcma_coefficient=60e-15)
    volts = 0.36
    lowered = vcma_slope(device, 300.0) * volts * (1 if direction == "ap_to_p" else -1)
    biased = device.replace(anisotropy_field=device.anisotropy_field - lowered, vcma_coefficient=0.0)
    widths = np.array([12e-9, 14e-9])
    slopes = [
        np.diff(np.log(write_error_rate(d, voltage=volts, pulse_width=widths, direction=direction)))
        for d in (device, biased, device.replace(vcma_coefficient=0.0))
    ]
    assert abs(lowered / device.anisotropy_field) > 0.05
    assert slopes[0] == approx(slopes[1], rel=1e-6)
    assert abs(slopes[0] / slopes[2] - 1) > 0.05  # the control: without VCMA it is another slope


def test_vcma_lowers_the_barrier_of_the_polarity_that_drives_ap_to_p():
    """xi > 0 helps AP->P and hinders P->AP; xi < 0 the other way round."""
    for direction, sign in (("ap_to_p", 1), ("p_to_ap", -1)):
        rates = [
            write_error_rate(
                junction(vcma_coefficient=sign * xi), voltage=VOLTS[direction], pulse_width=5e-9, direction=direction
            )
            for xi in (-30e-15, 0.0, 30e-15)
        ]
        assert rates[0] > rates[1] > rates[2]


def test_vcma_slope_from_its_definition():
    device = junction()
    field = 2 * 30e-15 / (device.saturation_magnetization * device.thickness * 1e-9)
    assert vcma_slope(device, 300.0) == approx(field, rel=1e-12)
    with pytest.raises(ValueError, match="barrier_thickness is missing"):
        write_error_rate(junction(barrier_thickness=None), voltage=0.3, pulse_width=5e-9)


def test_trap_8_current_follows_the_resistance():
    """WER(V) is not WER(I) at any constant current: the current of a P->AP write falls as it succeeds, and conversely.

    The write starts with the same current; the other direction ends with more of it, and fails less.
    """
    device = junction(**PLAIN, spin_torque_asymmetry=0.0)
    volts = 0.5
    for direction, start in (("p_to_ap", 3e3), ("ap_to_p", 3e3 * 2.2)):
        rates = [
            write_error_rate(device, pulse_width=[3e-9, 6e-9], direction=direction, **drive)
            for drive in ({"voltage": volts}, {"current": volts / start})
        ]
        ratio = rates[0] / rates[1]
        assert (ratio > 1.02).all() if direction == "p_to_ap" else (ratio < 0.98).all()


def test_a_channel_knows_no_magnetoresistance():
    device = junction(channel_resistance=500.0)
    write = {"pulse_width": 5e-9, "rise_time": 1e-9, "direction": "ap_to_p"}
    by_voltage = write_error_rate(device, voltage=0.045, **write)
    assert by_voltage == approx(write_error_rate(device, current=90e-6, **write), rel=1e-12)
    square = 90e-6**2 * (4e-9 + 2 / 3 * 1e-9)
    assert dissipated_energy(device, current=90e-6, **write) == approx(square * 500, rel=1e-12)
    assert dissipated_energy(device, voltage=0.045, **write) == approx(square * 500, rel=1e-12)
    pulse = Pulse.sampled([0, 1e-9, 3e-9], current=[0.0, 9e-5, -3e-5])
    whole = 9e-5**2 * 1e-9 / 3 + 2e-9 / 3 * (9e-5**2 - 9e-5 * 3e-5 + 3e-5**2)
    assert dissipated_energy(device, pulse=pulse) == approx(500 * whole, rel=1e-12)
    with pytest.raises(ValueError, match=r"channel_resistance is declared.*two-terminal copy"):
        read_disturb_rate(device, current=1e-5, duration=1e-8)


# ---- transport ---------------------------------------------------------------------------------------------------


def test_conductance_and_resistance_are_inverse():
    device, m_z = junction(), np.linspace(-1, 1, 9)
    for volts in (0.0, 0.2, 1.0):
        G = junction_conductance(device, m_z=m_z, voltage=volts)
        g0, g1 = conductance_terms(device, volts)
        assert approx(g0 + g1 * m_z, rel=1e-14) == G
        R = np.array([junction_resistance(device, m_z=m, current=volts * g)[()] for m, g in zip(m_z, G, strict=True)])
        assert approx(1, rel=1e-12) == R * G
    assert junction_conductance(device, m_z=np.ones(1), voltage=0.7) == approx(1 / 3e3)
    assert 1 / junction_conductance(device, m_z=-np.ones(1), voltage=0.5) == approx(3e3 * 1.6)  # half the TMR
    with pytest.raises(ValueError, match=r"m_z must be in \[-1, 1\], got 1.5"):
        junction_conductance(device, m_z=np.array([1.5]), voltage=0.1)
    with pytest.raises(ValueError, match="m_z must be a number or an array of numbers, got 'a'"):
        junction_conductance(device, m_z="a", voltage=0.1)
    with pytest.raises(ValueError, match="voltage must be finite, got nan"):
        junction_conductance(device, m_z=np.ones(1), voltage=math.nan)


def test_reduced_conduction_is_the_transport_of_the_junction():
    device, y = junction(), np.linspace(-1, 1, 7)
    for direction, s in (("p_to_ap", 1.0), ("ap_to_p", -1.0)):
        law = reduced_write(device, direction, 0.4, 300.0, 0.0, 0.0, "voltage")[0].conduction
        expected = junction_conductance(device, m_z=s * y, voltage=0.4 * 0.7) * 3e3 * 0.7
        assert law.current(y, 0.7) == approx(expected, rel=1e-12)
        law = reduced_write(device, direction, 1e-4, 300.0, 0.0, 0.0)[0].conduction
        expected = junction_resistance(device, m_z=s * y, current=0.7e-4) / 3e3
        assert (1 - law.anisotropy(y, 0.7)) / (0.7 * law.softening) == approx(expected, rel=1e-12)


def test_resistance_solves_the_circuit():
    """V = I R(m_z, V), against the conductance at that voltage."""
    device, m_z = junction(), np.linspace(-1, 1, 7)
    for I in (0.0, 1e-5, 1e-4, 1e-3):
        R = junction_resistance(device, m_z=m_z, current=I)
        G = [float(junction_conductance(device, m_z=m, voltage=I * r)) for m, r in zip(m_z, R, strict=True)]
        assert approx(np.array(G), rel=1e-14) == 1 / R


@pytest.mark.parametrize("imposed", ["voltage", "current"])
@pytest.mark.parametrize("L", [0.0, 0.3, -0.6])
def test_log_equilibrium_is_the_integral_of_the_force_under_bias(imposed, L):
    law = Conduction(side=-1.0, tunnel_magnetoresistance=1.5, bias=0.8, imposed=imposed, softening=0.1)
    write = AxialWrite(thermal_stability=40, drive=2.0, field=0.1, asymmetry=L, conduction=law)
    for drive in (2.0, 0.7, -1.0):
        y = np.linspace(-0.9, 0.9, 2001)
        force = write.force(y, drive)
        middle = write.force((y[1:] + y[:-1]) / 2, drive)
        simpson = np.sum((force[1:] + force[:-1] + 4 * middle) / 6 * np.diff(y)) * 2 * 40
        assert np.diff(write.log_equilibrium(y[[0, -1]], drive)) == approx(simpson, rel=1e-9)


# ---- two roads ---------------------------------------------------------------------------------------------------


@st.composite
def biased_writes(draw):
    device = junction(
        thermal_stability=draw(st.floats(25, 80)),
        tunnel_magnetoresistance=draw(st.floats(0.0, 2.5)),
        tmr_half_voltage=draw(st.one_of(st.none(), st.floats(0.2, 2.0))),
        vcma_coefficient=draw(st.floats(-60e-15, 60e-15)),
        spin_torque_asymmetry=draw(st.floats(-0.5, 0.5)),
    )
    direction = draw(st.sampled_from(DIRECTIONS))
    start = {"p_to_ap": device.resistance_p, "ap_to_p": device.resistance_ap}[direction]
    amperes = draw(st.floats(0.2, 5.0)) * device.critical_current(direction)
    drive = draw(st.sampled_from([{"voltage": amperes * start}, {"current": amperes}]))
    return device, {"pulse_width": draw(st.floats(0.5e-9, 12e-9)), "direction": direction, **drive}


def agree(case, tolerance=1e-4):
    device, write = case
    drive = "voltage" if "voltage" in write else "current"
    reduced, tau = reduced_write(device, write["direction"], write[drive], 300.0, 0.0, 0.0, drive)
    chain = solve_tails(reduced, np.array([write["pulse_width"]]) / tau)
    for question, log_tail in ((write_error_rate, chain.log_stayed), (switching_probability, chain.log_switched)):
        one = question(device, **write)
        assert 0 <= one <= 1
        assume(one > 1e-30)
        assert one == approx(math.exp(log_tail[0]), rel=tolerance)


@settings(max_examples=5)
@given(biased_writes())
def test_roads_agree_under_bias(case):
    agree(case)


@pytest.mark.slow
@settings(max_examples=120)
@given(biased_writes())
def test_roads_agree_under_bias_widely(case):
    agree(case)


@settings(max_examples=8)
@given(biased_writes())
def test_longer_pulses_fail_less_under_bias(case):
    device, write = case
    widths = write.pop("pulse_width") * np.array([1.0, 1.2, 1.6])
    rates = write_error_rate(device, pulse_width=widths, **write)
    assert (np.diff(rates) <= 1e-9 * rates[:-1]).all()


@settings(max_examples=8)
@given(biased_writes())
def test_mirror_symmetry_under_bias(case):
    """(I, B_z, lambda, P) -> (-I, -B_z, -lambda, AP), and with it xi -> -xi; the resistance must not depend on m_z."""
    device, write = case
    device = device.replace(tunnel_magnetoresistance=0.0)
    mirrored = device.replace(
        vcma_coefficient=-device.vcma_coefficient, spin_torque_asymmetry=-device.spin_torque_asymmetry
    )
    other = {"p_to_ap": "ap_to_p", "ap_to_p": "p_to_ap"}[write["direction"]]
    one = write_error_rate(device, **write)
    assert one == approx(write_error_rate(mirrored, **{**write, "direction": other}), rel=1e-9)


# ---- pulses of any shape -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("drive", ["current", "voltage"])
def test_a_pulse_says_what_the_numbers_say(drive):
    device, level = junction(), {"current": 1e-4, "voltage": 0.35}[drive]
    numbers = {drive: level, "pulse_width": 4e-9, "rise_time": 1e-9}
    expected = write_error_rate(device, relax_time=2e-9, **numbers)
    pulse = Pulse.trapezoidal(**numbers)
    assert write_error_rate(device, pulse=pulse, relax_time=2e-9) == approx(expected, rel=1e-12)
    assert write_error_rate(device, pulse=pulse.followed_by(relax_time=2e-9)) == approx(expected, rel=1e-12)
    assert dissipated_energy(device, pulse=pulse) == approx(dissipated_energy(device, **numbers), rel=1e-12)


def test_a_sampled_trapezoid_is_a_trapezoid():
    """Cut in pieces, and so on the general road; the energy to its 1e-4."""
    device = junction(**PLAIN)
    for depth, level in ((1e-2, 1e-4), (1e-9, 2.2e-4)):
        numbers = {"current": level, "pulse_width": 5e-9, "rise_time": 1e-9}
        expected = write_error_rate(device, **numbers)
        assert 1e-3 < expected / depth < 1e3
        pulse = Pulse.sampled(
            np.array([0, 0.5, 1, 2, 5, 5.5, 6]) * 1e-9, current=np.array([0, 0.5, 1, 1, 1, 0.5, 0]) * level
        )
        assert pulse.as_trapezoid() is None
        assert write_error_rate(device, pulse=pulse) == approx(expected, rel=1e-6)
        energy = dissipated_energy(device, pulse=pulse)
        assert energy == approx(dissipated_energy(device, **numbers), rel=1e-4)


def test_ramps_of_a_resistance_that_follows_the_bias_are_of_order_four(monkeypatch):
    """Twice the steps move nothing: with operators frozen at 1/6 and 5/6 of a step, 2e-4 moved."""
    pulse = Pulse.sampled(np.array([0, 0.5, 2, 4, 5]) * 1e-9, voltage=[0.0, 0.5, 0.35, 0.45, -0.1])
    device = junction(thermal_stability=20)
    rate = write_error_rate(device, pulse=pulse, direction="ap_to_p")
    monkeypatch.setattr(spectral, "RAMP_STEPS", 2 * spectral.RAMP_STEPS)
    assert write_error_rate(device, pulse=pulse, direction="ap_to_p") == approx(rate, rel=3e-6)


@pytest.mark.parametrize("drive", ["current", "voltage"])
def test_joules_of_ramps_where_the_resistance_follows_the_bias(drive, monkeypatch):
    """Four times the steps move little: where joules were of order two in the steps, 3.1e-4 and 1.4e-4 moved."""
    levels = np.array([0.2, 1.0, -0.4, 0.7, 0.0]) * {"current": 6e-5, "voltage": 0.36}[drive]
    pulse = Pulse.sampled(np.array([0, 0.9, 1.5, 2.4, 3.6]) * 1e-9, **{drive: levels})
    device = plain_junction(20, lam=-0.3, tunnel_magnetoresistance=2.5, tmr_half_voltage=0.5)
    joules = dissipated_energy(device, pulse=pulse, direction="ap_to_p")
    monkeypatch.setattr("mtjsim.energy.RAMP_STEPS_ENERGY", 4 * spectral.RAMP_STEPS_ENERGY)
    assert dissipated_energy(device, pulse=pulse, direction="ap_to_p") == approx(joules, rel=2e-5, abs=0.0)


def test_joules_of_ramps_under_a_bias_that_lowers_the_barrier(monkeypatch):
    """Where joules were of order two in the steps 1.5e-4 moved; the full sphere has 5.222977e-14 J with many steps."""
    vcma = {"vcma_coefficient": 30e-15, "barrier_thickness": 1e-9}
    device = plain_junction(10, damping=0.05, tunnel_magnetoresistance=2.5, **vcma)
    write = {"current": 60e-6, "pulse_width": 3e-9, "rise_time": 2e-9}
    joules = dissipated_energy(device, **write)
    assert joules == approx(5.222977e-14, rel=2e-6, abs=0.0)
    monkeypatch.setattr("mtjsim.energy.RAMP_STEPS_ENERGY", 4 * spectral.RAMP_STEPS_ENERGY)
    assert dissipated_energy(device, **write) == approx(joules, rel=2e-6, abs=0.0)


@pytest.mark.slow
def test_roads_agree_on_a_sampled_pulse():
    pulse = Pulse.sampled(np.array([0, 0.5, 2, 4, 5]) * 1e-9, voltage=[0.0, 0.5, 0.35, 0.45, -0.1])
    for direction in DIRECTIONS:
        rate = write_error_rate(junction(), pulse=pulse, direction=direction)
        by_volumes = write_error_rate(junction(), pulse=pulse, direction=direction, method="finite_volume")
        assert by_volumes == approx(rate, rel=1e-4)


@pytest.mark.parametrize("imposed", ["current", "voltage"])
def test_the_potentials_of_a_sampled_pulse_are_those_of_its_levels(imposed):
    law = Conduction(side=-1.0, tunnel_magnetoresistance=1.2, bias=0.9, imposed=imposed, softening=-0.15)
    write, y = AxialWrite(70, 1.8, field=-0.1, asymmetry=0.3, conduction=law), np.linspace(-1.0, 0.0, 11)
    drives = 1.8 * np.random.default_rng(1).uniform(-0.1, 1.0, 40)
    single = np.array([write.log_equilibrium(y, drive) for drive in drives])
    assert spectral._log_equilibria(write, y, drives) == approx(single, abs=1e-6)


def test_two_pulses_in_sequence_against_their_chain():
    """Far apart they are two attempts; what failed once and settled starts again from the Boltzmann law."""
    device = junction(**PLAIN, thermal_stability=30)
    pulse = Pulse.rectangular(current=8e-5, pulse_width=4e-9)
    once = write_error_rate(device, pulse=pulse, relax_time=30e-9)
    twice = write_error_rate(device, pulse=pulse.followed_by(pulse, relax_time=30e-9), relax_time=30e-9)
    # those that the first has written are disturbed by the second, towards where they are: nothing comes back
    assert twice == approx(once**2, rel=1e-3)
    together = write_error_rate(device, pulse=pulse.followed_by(pulse))
    assert together == approx(write_error_rate(device, current=8e-5, pulse_width=8e-9), rel=1e-6)


def test_a_pulse_that_drives_back():
    """Levels below 0 undo the write; a polarity of its own turns the pulse around."""
    device = junction(**PLAIN)
    forth = Pulse.rectangular(current=1.2e-4, pulse_width=6e-9)
    back = Pulse.sampled([0, 8e-9], current=[-1.2e-4, -1.2e-4])
    assert write_error_rate(device, pulse=forth) < 0.02
    assert write_error_rate(device, pulse=forth.followed_by(back)) > 0.9
    opposite = Pulse.rectangular(current=1.2e-4, pulse_width=6e-9, polarity="ap_to_p")
    assert switching_probability(device, pulse=opposite, direction="p_to_ap") < 1e-12
    same = write_error_rate(device, pulse=opposite, direction="ap_to_p")
    assert same == approx(write_error_rate(device, current=1.2e-4, pulse_width=6e-9, direction="ap_to_p"), rel=1e-12)


def test_a_knot_more_changes_nothing():
    """A ramp that drives back brings writes back over the barrier at its end.

    A wall that is chosen by the middle of the ramp forgets them: 9e-5 between the pulses, and 5e-6 of the sum.
    """
    device = plain_junction(90, damping=0.05)
    pulse = Pulse.sampled(np.array([0, 5, 5, 45]) * 1e-9, current=[75e-6, 75e-6, 0.0, -24e-6])
    knots = np.array([0, 5, 5, 25, 45]) * 1e-9
    cut = Pulse.sampled(knots, current=[75e-6, 75e-6, 0.0, -12e-6, -24e-6])
    rate = write_error_rate(device, pulse=pulse)
    assert write_error_rate(device, pulse=cut) == approx(rate, rel=1e-5)
    assert 1 - rate == approx(switching_probability(device, pulse=pulse), abs=1e-9)


@pytest.mark.parametrize("field", [0.0, 1e-9])
def test_energy_of_a_pulse_cut_in_two(field):
    """The layer turns within a level piece: its joules are an integral, not the mean of both ends."""
    device = plain_junction(40, characteristic_time=1e-9, damping=0.05, stray_field=(field, 0, 0))
    whole = dissipated_energy(device, current=75e-6, pulse_width=5e-9)
    cut = dissipated_energy(device, pulse=Pulse.sampled(np.array([0, 2, 5]) * 1e-9, current=[75e-6] * 3))
    assert cut == approx(whole, rel=1e-5)


def test_waiting_is_a_pulse_too():
    device = junction()
    pulse = Pulse.sampled([0, 1e-9, 2e-9], current=[0.0, 0.0, 0.0])
    assert write_error_rate(device, pulse=pulse) == approx(1.0, abs=1e-9)
    assert dissipated_energy(device, pulse=pulse) == 0.0


def test_where_there_is_no_bit_every_road_says_so():
    write = {"current": 1e-4, "pulse_width": 2e-9, "trials": 10, "seed": 1}
    for changes, message in (
        ({"stray_field": (0.0, 0.0, 5.0)}, "not bistable"),
        ({"field_like_ratio": -200.0}, "turns the torque around"),
    ):
        device = junction(**PLAIN).replace(**changes)
        with pytest.raises(ValueError, match=message):
            simulate_writes(device, **write)
        with pytest.raises(ValueError, match=message):
            rare_write_errors(device, current=1e-4, pulse_width=2e-9, seed=1)
        with pytest.raises(ValueError, match=message):
            write_error_rate(device, current=1e-4, pulse_width=2e-9)


@pytest.mark.parametrize("question", [write_error_rate, dissipated_energy])
def test_what_is_no_device_and_no_pulse(question):
    with pytest.raises(ValueError, match="device must be an MTJ, got str: load_preset"):
        question("arm_2021", current=1e-4, pulse_width=1e-9)
    with pytest.raises(ValueError, match="pulse must be of type Pulse, got 'abc'"):
        question(junction(), pulse="abc")


def test_simulated_writes_take_one_rise_time_and_none_beside_a_pulse():
    pulse = Pulse.rectangular(current=1e-4, pulse_width=1e-9)
    for rise_time, message in (
        (np.zeros(2), "rise_time must be one number in s, got an array of 2"),
        (1e-10, "pulse replaces .*omit rise_time"),
    ):
        with pytest.raises(ValueError, match=message):
            simulate_writes(junction(), pulse=pulse, rise_time=rise_time, trials=1, seed=0)


def test_a_reversed_pulse_holds_and_its_refusal_names_a_magnitude():
    device = junction()
    reversed_pulse = Pulse.rectangular(current=60 * device.critical_current(), pulse_width=1e-10, polarity="ap_to_p")
    assert write_error_rate(device, pulse=reversed_pulse, direction="p_to_ap") == 1
    assert "at a thermal stability of 60 and 60 critical currents" in str(unresolved(AxialWrite(60, -60.0), "no mesh"))


def test_broadcasting_of_a_pulse():
    device = junction()
    pulse = Pulse.rectangular(voltage=0.4, pulse_width=4e-9)
    rates = write_error_rate(device, pulse=pulse, direction=["p_to_ap", "ap_to_p"], temperature=[[300.0], [350.0]])
    assert rates.shape == (2, 2)
    assert rates[1, 0] == write_error_rate(device, pulse=pulse, temperature=350.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"current": 1e-4}, "pulse_width is missing"),
        ({"pulse_width": 5e-9}, "give exactly one of current and voltage, got neither"),
        ({"current": 1e-4, "voltage": 0.3, "pulse_width": 5e-9}, "exactly one of current and voltage, got both"),
        ({"voltage": -0.3, "pulse_width": 5e-9}, "voltage must be finite and >= 0 V, got -0.3"),
        (
            {"pulse": Pulse.rectangular(current=1e-4, pulse_width=1e-9), "current": 1e-4},
            "pulse replaces .*omit current",
        ),
        (
            {"pulse": Pulse.rectangular(current=1e-4, pulse_width=1e-9), "rise_time": 1e-9},
            "pulse replaces .*omit rise_time",
        ),
    ],
)
@pytest.mark.parametrize("question", [write_error_rate, switching_probability, dissipated_energy])
def test_contradictions_are_errors(question, arguments, message):
    with pytest.raises(ValueError, match=message):
        question(junction(), **arguments)


# ---- against trajectories ----------------------------------------------------------------------------------------

COUNTED = [
    pytest.param({"voltage": 0.40, "pulse_width": 4e-9}, "p_to_ap", id="voltage"),
    pytest.param({"current": 9e-5, "pulse_width": 4e-9, "rise_time": 1e-9}, "p_to_ap", id="current-vcma-ramps"),
    pytest.param({"voltage": 0.35, "pulse_width": 4e-9, "rise_time": 1e-9}, "ap_to_p", id="voltage-ramps"),
    pytest.param(
        {"pulse": Pulse.sampled(np.array([0, 1, 2, 4, 5]) * 1e-9, voltage=[0.0, 0.5, 0.3, 0.45, -0.1])},
        "p_to_ap",
        id="sampled",
    ),
]


@pytest.mark.parametrize(("write", "direction"), COUNTED)
def test_trajectories_fail_and_dissipate_as_the_density_says(write, direction):
    device, trials = junction(), 100_000
    rate = write_error_rate(device, direction=direction, **write)
    energy = dissipated_energy(device, direction=direction, **write)
    count = simulate_writes(device, direction=direction, trials=trials, seed=5, energy=True, **write)
    assert abs(count.rate - rate) < 5 * math.sqrt(rate * (1 - rate) / trials)
    assert abs(count.mean_energy - energy) < 5 * count.energy_error
    assert count.energy_error < 2e-3 * energy
