"""Cells: the series circuit, which direction suffers, rates by two other roads, where the joules go, areas, refusals.

Trajectories of the last road are counted: 20,000 of them at a rate near 0.08 see 12 % with a false alarm of 1e-6.
"""

import json
import math

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import binom

from bridge import Transistor, WriteSetting, narrowest_transistor, operating_point
from bridge.cell.cell import within_area
from bridge.cell.cell_write import axial_write, circuit_error_rate
from mtjsim import dissipated_energy, load_preset, write_error_rate
from mtjsim.fokker_planck.axial import tail_probability
from physics import approx, cell, damped_junction, junction

AP, P = -1.0, 1.0
NS = 1e-9


ARM = load_preset("arm_2021")
VOLTS = WriteSetting(voltage_0=1.0, voltage_1=0.8, pulse_width=6 * NS)
AMPERES = WriteSetting(current_0=60e-6, current_1=65e-6, pulse_width=10 * NS, rise_time=NS)


# ---- the circuit -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bit", [0, 1])
@pytest.mark.parametrize("half", [None, 0.4])
def test_voltages_add_up_and_one_current_flows(bit, half):
    circuit = cell(junction(tmr_half_voltage=half)).circuit(bit)
    m_z = np.linspace(-1, 1, 9)
    I, load, across = circuit.driven_by_voltage(m_z, 1.1)
    assert load + across + 300.0 * I == approx(np.full(9, 1.1), rel=1e-12)
    assert circuit.load_voltage(m_z, float(I[4]))[4] == approx(load[4], rel=1e-9)
    gate = 1.5 - (load if bit else 0)
    drawn = circuit.transistor.current(gate_source=gate, drain_source=across, source=load if bit else 0.0)
    assert drawn == approx(I, rel=1e-9)
    assert (np.diff(I) > 0).all()  # P conducts best


def test_source_degeneration_weakens_the_write_of_a_one_or_reversed_of_a_zero():
    """The junction at the source takes its voltage from the gate."""
    usual, reversed_ = cell(), cell(connection="free_at_drain")
    assert usual.current(1, m_z=P) < 0.75 * usual.current(0, m_z=P)
    for bit in (0, 1):
        assert reversed_.current(bit) == usual.current(1 - bit)
    boosted = cell(word_line_voltage=2.5)
    assert usual.current(1) / usual.current(0) < 0.8 < boosted.current(1) / boosted.current(0)


def test_a_wide_transistor_without_driver_is_a_bare_junction_under_voltage():
    wide = cell(width=1e-3, driver_resistance=0.0, word_line_voltage=3.0)
    setting = WriteSetting(voltage_0=0.5, voltage_1=0.4, pulse_width=6 * NS, rise_time=NS, relax_time=NS)
    inside, bare = operating_point(wide, setting), operating_point(wide.device, setting)
    assert inside.error_rate_0 == approx(bare.error_rate_0, rel=2e-3)
    assert inside.error_rate_1 == approx(bare.error_rate_1, rel=2e-3)
    assert inside.energies["junction"] == approx(bare.energies["junction"], rel=1e-3)
    assert inside.energies["transistor"].max() < 1e-3 * inside.energy_0


def test_vcma_acts_through_the_voltage_of_the_junction():
    device = junction(vcma_coefficient=60e-15, barrier_thickness=1.4e-9)
    wide = cell(device, width=1e-3, driver_resistance=0.0, word_line_voltage=3.0)
    setting = WriteSetting(voltage_0=0.5, voltage_1=0.4, pulse_width=6 * NS)
    inside, bare = operating_point(wide, setting), operating_point(device, setting)
    plain = operating_point(junction(), setting)
    assert abs(plain.error_rate_1 / bare.error_rate_1 - 1) > 0.1
    assert inside.error_rate_0 == approx(bare.error_rate_0, rel=2e-3)
    assert inside.error_rate_1 == approx(bare.error_rate_1, rel=2e-3)


# ---- rates by other roads --------------------------------------------------------------------------------------------


def chain_and_polynomials(device, bit, rise):
    setting = WriteSetting(voltage_0=1.1, voltage_1=0.7, pulse_width=8 * NS, rise_time=rise)
    write, tau = axial_write(cell(device).circuit(bit), setting, bit, 300.0)
    plateau = np.array([setting.pulse_width - rise]) / tau
    chain = float(tail_probability(write, plateau, method="finite_volume")[0])
    return chain, circuit_error_rate(cell(device).circuit(bit), setting, bit, temperature=300.0)


@pytest.mark.parametrize("device", [ARM, junction(50.0, spin_torque_asymmetry=0.2, tmr_half_voltage=0.5)])
@pytest.mark.parametrize("bit", [0, 1])
def test_the_load_line_against_the_birth_death_chain(device, bit):
    chain, polynomials = chain_and_polynomials(device, bit, 0.0)
    assert polynomials == approx(chain, rel=2e-4)


@pytest.mark.slow
def test_the_load_line_with_ramps_against_the_birth_death_chain():
    """The circuit is solved at every step of the chain: two minutes."""
    chain, polynomials = chain_and_polynomials(ARM, 1, 2 * NS)
    assert polynomials == approx(chain, rel=2e-4)


def own_current(one, m_z, supply):
    """AP->P by hand: the current at which what is left for the transistor makes it carry that current."""
    R = 1 / (
        (1 / ARM.resistance_p + 1 / ARM.resistance_ap) / 2 + (1 / ARM.resistance_p - 1 / ARM.resistance_ap) / 2 * m_z
    )

    def excess(I):
        across = max(supply - I * (R + one.driver_resistance), 0.0)
        return float(one.transistor.current(gate_source=one.word_line_voltage, drain_source=across)) - I

    return brentq(excess, 0.0, supply / R)


def test_against_trajectories_that_solve_the_circuit_as_they_turn():
    """Ito: dy = [(1 - y^2) G - y/Delta] dtau + sqrt((1 - y^2)/Delta) dW, with the current at each y."""
    one, width, trials, steps = cell(ARM), 6 * NS, 20_000, 1500
    Delta, tau = ARM.thermal_stability(), ARM.characteristic_time()
    grid = np.linspace(-1, 1, 801)  # y = -m_z: from AP at +1
    drive = np.array([own_current(one, -y, 1.2) for y in grid[::20]]) / ARM.critical_current()
    force = grid - np.interp(grid, grid[::20], drive)
    rng = np.random.default_rng(7)
    law = np.exp(Delta * (grid[400:] ** 2 - 1))
    y = np.interp(rng.random(trials), np.cumsum(law) / law.sum(), grid[400:])
    dt = width / tau / steps
    for _ in range(steps):
        G = force[np.rint((y + 1) * 400).astype(int)]
        side = 1 - y * y
        y = y + (side * G - y / Delta) * dt + np.sqrt(side / Delta * dt) * rng.standard_normal(trials)
        y = np.clip(y, -1, 1)
    failed = int((y > 0).sum())
    setting = WriteSetting(voltage_0=1.2, voltage_1=1.2, pulse_width=width)
    exact = circuit_error_rate(one.circuit(0), setting, 0, temperature=300.0)
    low, high = binom.ppf([5e-7, 1 - 5e-7], trials, [exact * 0.97, exact * 1.03])  # 3 %: the step of the trajectories
    assert low <= failed <= high
    start = write_error_rate(ARM, current=one.current(0, voltage=1.2), pulse_width=width, direction="ap_to_p")
    assert not low <= start * trials <= high  # the current of the start, held constant, would be seen


@pytest.mark.parametrize(
    ("device", "bit", "of_current", "of_voltage"),
    [
        (ARM, 0, (2.4, 3.5), (0.93, 0.96)),
        (ARM, 1, (0.60, 0.65), (1.18, 1.24)),
        (junction(), 0, (1.6, 2.0), (0.92, 0.95)),
        (junction(), 1, (0.70, 0.76), (1.13, 1.18)),
    ],
)
def test_how_far_the_short_cuts_are_off(device, bit, of_current, of_voltage):
    """The figures of `cell_write`: a constant current, or a constant voltage of the junction, of the starting state."""
    one, start = cell(device), AP if bit == 0 else P
    for width in (6 * NS, 10 * NS):
        exact = circuit_error_rate(
            one.circuit(bit), WriteSetting(voltage_0=1.2, voltage_1=1.2, pulse_width=width), bit, temperature=300
        )
        write = {"pulse_width": width, "direction": ("ap_to_p", "p_to_ap")[bit]}
        I, load, _ = (float(part) for part in one.circuit(bit).driven_by_voltage(start, 1.2))
        assert of_current[0] < write_error_rate(device, current=I, **write) / exact < of_current[1]
        assert of_voltage[0] < write_error_rate(device, voltage=load, **write) / exact < of_voltage[1]


# ---- joules ----------------------------------------------------------------------------------------------------------


def test_a_regulated_current_draws_supply_times_charge():
    """Whatever the state: the driver takes what junction and transistor leave; the junction's are those it has bare."""
    point, bare = operating_point(cell(), AMPERES), operating_point(junction(), AMPERES)
    assert (point.error_rate_0, point.error_rate_1) == (bare.error_rate_0, bare.error_rate_1)
    assert point.energies["junction"] == approx(bare.energies["junction"], rel=1e-6)
    total = sum(point.energies.values())
    drawn = 1.2 * np.array([60e-6, 65e-6]) * 10 * NS  # the mean of a trapezoid is its full width at half maximum
    assert total == approx(np.stack([drawn, drawn], axis=1), rel=1e-4)
    assert point.mean_energy_with_driver == approx(drawn.mean(), rel=1e-4)
    assert (point.energies["transistor"] > 0).all()


def test_a_supply_draws_voltage_times_charge():
    """A pulse on a cell that holds its bit: V I t with the current of that state; the parts are I V of each."""
    point = operating_point(cell(), VOLTS)
    for bit, V in enumerate(VOLTS.amplitudes):
        I, load, across = (float(x) for x in cell().circuit(bit).driven_by_voltage(P if bit == 0 else AP, V))
        kept = {part: table[bit, 1] for part, table in point.energies.items()}
        assert kept["junction"] == approx(I * load * 6 * NS, rel=1e-9)
        assert kept["transistor"] == approx(I * across * 6 * NS, rel=1e-9)
        assert kept["driver"] == approx(I * I * 300 * 6 * NS, rel=1e-9)
        assert sum(kept.values()) == approx(V * I * 6 * NS, rel=1e-9)
        other = float(cell().circuit(bit).driven_by_voltage(AP if bit == 0 else P, V)[0])
        turned = sum(table[bit, 0] for table in point.energies.values()) / (V * 6 * NS)  # mean current
        assert min(I, other) < turned < max(I, other)


def test_energy_of_a_long_pulse_grows_by_that_of_the_final_state():
    short, long = (
        operating_point(cell(), WriteSetting(voltage_0=1.0, voltage_1=0.8, pulse_width=w)) for w in (20 * NS, 30 * NS)
    )
    for part in ("junction", "transistor", "driver"):
        grown = long.energies[part][:, 0] - short.energies[part][:, 0]
        assert grown == approx(long.energies[part][:, 1] / 3, rel=0.02)


def test_a_bit_that_is_not_driven_costs_nothing():
    point = operating_point(cell(), WriteSetting(voltage_0=0.0, voltage_1=0.8, pulse_width=6 * NS))
    assert point.error_rate_0 == approx(1.0, abs=1e-6)
    assert all(not table[0].any() for table in point.energies.values())


# ---- layouts ---------------------------------------------------------------------------------------------------------


def test_area():
    one = cell(width=180e-9)
    assert (one.layout, one.area_f2) == ("1T-1MTJ", approx(15.0))
    assert one.area == approx(15 * 45e-9**2)
    assert cell(width=45e-9).area_f2 == approx(6.0)
    pair = one.replace(differential=True)
    assert (pair.layout, pair.area_f2) == ("2T-2MTJ", approx(30.0))


@pytest.mark.parametrize("setting", [VOLTS, AMPERES])
def test_a_differential_pair_costs_both_writes_and_fails_with_their_mean(setting):
    one, pair = operating_point(cell(), setting), operating_point(cell(differential=True), setting)
    assert pair.error_rate_0 == pair.error_rate_1 == approx(one.mean_error_rate)
    for part, table in one.energies.items():
        assert pair.energies[part] == approx(np.stack([table.sum(axis=0)] * 2))
    assert pair.latency == one.latency
    assert pair.device_identity != one.device_identity


SOT = junction(channel_resistance=800.0)


def test_three_terminals_write_through_the_channel_and_read_through_the_junction():
    one = cell(SOT, width=270e-9, breakdown_voltage=0.3)
    I = one.current(0, voltage=0.3)
    setting = WriteSetting(voltage_0=0.3, voltage_1=0.3, pulse_width=6 * NS)
    point = operating_point(one, setting)
    assert point.error_rate_0 == write_error_rate(SOT, current=I, pulse_width=6 * NS, direction="ap_to_p")
    assert point.energies["junction"][0] == approx(np.full(2, I * I * 800 * 6 * NS), rel=1e-9)
    assert sum(table[0, 0] for table in point.energies.values()) == approx(0.3 * I * 6 * NS, rel=1e-9)
    assert (one.layout, one.area_f2) == ("2T-1MTJ SOT", approx(21 + 6))
    assert one.current(1) < one.current(0)  # the channel hangs at the source for a 1
    reads = [one.read_current(bit, voltage=0.2) for bit in (0, 1)]
    wider = one.replace(read_transistor=Transistor(width=180e-9))
    assert reads[1] < reads[0] < wider.read_current(0, voltage=0.2) < 0.2 / SOT.resistance_p


def test_a_read_current_tells_the_states_apart():
    P_reads, AP_reads = (cell().read_current(bit, voltage=0.1) for bit in (0, 1))
    assert 1.6 < P_reads / AP_reads < 2.0  # TMR 100 %, less what is in series


def test_a_junction_that_is_not_axisymmetric():
    """Regulated currents only; the transistor is taken at the junction's mean voltage. Symmetric limit: TMR 0."""
    tilted = damped_junction(20.0, stray_field=(0.02, 0.0, 0.0))
    setting = WriteSetting(current_0=90e-6, current_1=90e-6, pulse_width=0.65 * NS)
    one = cell(tilted, width=400e-9)
    point = one.operating_point(setting)
    joules = dissipated_energy(tilted, current=90e-6, pulse_width=0.65 * NS, direction="ap_to_p")
    assert point.energy_0 == approx(joules, rel=1e-9)
    assert sum(table[0, 0] for table in point.energies.values()) == approx(1.2 * 90e-6 * 0.65 * NS, rel=1e-6)
    plain = cell(damped_junction(20.0), width=400e-9).operating_point(setting)
    assert point.energies["transistor"][:, 0] == approx(plain.energies["transistor"][:, 0], rel=0.15)
    with pytest.raises(ValueError, match=r"needs an axisymmetric junction.*Give a setting of currents"):
        one.operating_point(WriteSetting(voltage_0=0.5, voltage_1=0.5, pulse_width=NS))


# ---- the narrowest transistor ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("connection", ["reference_at_drain", "free_at_drain"])
@pytest.mark.parametrize("current", [40e-6, 60e-6, 80e-6])
def test_the_narrowest_transistor_just_carries_the_current(connection, current):
    setting = WriteSetting(current_0=current, current_1=current, pulse_width=10 * NS)
    one = cell(connection=connection, word_line_voltage=1.7)
    W = narrowest_transistor(one, setting).width
    one.with_width(W).operating_point(setting)
    if W > 45e-9:
        assert min(one.with_width(W).current(bit) for bit in (0, 1)) == approx(current, rel=1e-6)
        with pytest.raises(ValueError, match=r"cannot be driven: at most .* A reach the AP state"):
            one.with_width(max(0.99 * W, 45e-9)).operating_point(setting)


def test_a_weaker_write_allows_a_narrower_transistor():
    widths = [
        narrowest_transistor(cell(), WriteSetting(current_0=I, current_1=I, pulse_width=10 * NS)).width
        for I in (1e-6, 50e-6, 65e-6, 80e-6)
    ]
    assert widths[0] == 45e-9
    assert sorted(widths) == widths
    assert widths[3] > 3 * widths[0]


def test_within_area():
    one = cell(width=450e-9)
    assert within_area(one, 1.0) is one
    assert within_area(one, 20 * 45e-9**2).area_f2 == approx(20.0)
    pair = within_area(one.replace(differential=True), 30 * 45e-9**2)
    assert pair.area_f2 == approx(30.0)
    assert within_area(cell(SOT, width=450e-9), 21 * 45e-9**2).area_f2 == approx(21.0)
    with pytest.raises(ValueError, match=r"max_area must be >= 1.22e-14 m\^2.*got 1e-15.*smaller node"):
        within_area(one, 1e-15)


# ---- what cannot be had ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "setting", "message"),
    [
        ({}, {"voltage_0": 1.3, "voltage_1": 1.0}, "voltage_0 must be <= supply_voltage of the cell .1.2 V., got 1.3"),
        ({}, {"current_0": 60e-6, "current_1": 130e-6}, "current_1 of 0.00013 A.*AP state takes 1.3 V.*Raise supply"),
        (
            {"word_line_voltage": 1.2, "driver_resistance": 10.0},
            {"current_0": 60e-6, "current_1": 95e-6},
            "current_1 of 9.5e-05 A.*lifts the source of the transistor to 0.95 V.*1.2 V does not open it.*Boost",
        ),
        ({}, {"current_0": 60e-6, "current_1": 90e-6}, "current_1 .* at most 8.26e-05 A reach.*180 nm. Take a wider"),
        (
            {"breakdown_voltage": 0.6},
            {"current_0": 50e-6, "current_1": 70e-6},
            "current_1 of 7e-05 puts 0.7 V across the AP state, above its breakdown_voltage, 0.6 V. Take",
        ),
        ({"breakdown_voltage": 0.6}, {"voltage_0": 0.9, "voltage_1": 0.5}, "voltage_0 of 0.9 puts 0.8.* V across"),
    ],
)
def test_a_setting_that_cannot_be_had(changes, setting, message):
    with pytest.raises(ValueError, match=message):
        cell(**changes).operating_point(WriteSetting(pulse_width=5 * NS, **setting))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"word_line_voltage": 0.28}, "word_line_voltage must be > threshold_voltage .*does not conduct. Boost"),
        ({"supply_voltage": 0.0}, "supply_voltage must be .*> 0 V"),
        ({"driver_resistance": -1.0}, "driver_resistance must be .*>= 0 ohm"),
        ({"connection": "drain"}, "connection must be one of 'reference_at_drain', 'free_at_drain', got 'drain'"),
        ({"breakdown_voltage": 0.0}, "breakdown_voltage must be .*> 0 V"),
        ({"read_transistor": Transistor(width=1e-7)}, "read_transistor is for three terminals"),
        ({"device": 3}, "device must be an MTJ, got int"),
    ],
)
def test_bad_cell(changes, message):
    with pytest.raises(ValueError, match=message):
        cell().replace(**changes)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (VOLTS, r"setting must be one of currents.*minimize='area'"),
        (WriteSetting(current_0=2e-4, current_1=1e-6, pulse_width=NS), "current_0 of 0.0002 A cannot.*Raise supply"),
        (WriteSetting(current_0=1e-6, current_1=1.15e-4, pulse_width=NS), "current_1 of 0.000115 A .*any width"),
    ],
)
def test_no_transistor_is_wide_enough(setting, message):
    with pytest.raises(ValueError, match=message):
        narrowest_transistor(cell(word_line_voltage=1.3, driver_resistance=10.0), setting)


def test_identity_and_json():
    one = cell()
    changed = [
        one.with_width(190e-9),
        one.replace(device=junction(61.0)),
        one.replace(connection="free_at_drain"),
        one.replace(differential=True),
        one.replace(breakdown_voltage=1.0),
        one.replace(word_line_voltage=1.6),
    ]
    assert len({c.identity for c in [one, *changed]}) == 7
    assert cell().identity == one.identity
    point = operating_point(one, VOLTS)
    assert point.device_identity == one.identity
    assert math.isclose(
        json.loads(json.dumps(point.as_dict()))["energies"]["driver"][0][0], point.energies["driver"][0, 0]
    )
