"""Bias, current, heat and energy of every trajectory: limits, closed forms, and the solvers that can answer too."""

import math

import numpy as np
import pytest
from numba import njit

from mtjsim.energy import dissipated_energy
from mtjsim.macrospin import kernels
from mtjsim.macrospin.kernels import Ensemble
from mtjsim.macrospin.simulate import simulate_writes, trajectories
from mtjsim.macrospin.start import BoltzmannStart
from mtjsim.macrospin.time_steps import step_table
from mtjsim.pulse import Pulse
from mtjsim.switching import write_error_rate
from mtjsim.torques import torque_of
from mtjsim.transport import anisotropy_lowering, junction_conductance, junction_resistance
from physics import I_C, approx, within_binomial
from physics import damped_junction as junction

ALARM = 1e-6
R_P = 5e3
VCMA = {"vcma_coefficient": 60e-15, "barrier_thickness": 1.4e-9}


WRITE = {"current": 2.5 * I_C, "pulse_width": 1e-9}
PULSE = Pulse.rectangular(**WRITE)


def ends(device, pulse, *, energy, temperature=300.0, direction="p_to_ap", **options):
    """Magnetisations at the end of a pulse, one chunk, one seed."""
    table = step_table(device, pulse, direction=direction, temperature=temperature, energy=energy, **options)
    ensemble = Ensemble.start(
        BoltzmannStart(torque_of(device, temperature), 1.0), seed=1, chunk=0, temperature=temperature
    )
    ensemble.advance(table)
    return ensemble


# ---- nothing couples -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "optional",
    [
        {},
        {"tmr_half_voltage": 0.4},
        {"curie_temperature": 1000.0, "anisotropy_exponent": 3.0},
        {"stray_field": (0.03, 0.01, 0.02), "polarizer": (0.6, 0.0, 0.8), "field_like_ratio": 0.5},
    ],
)
def test_energy_does_not_change_the_path(optional):
    """A current-driven write: the same magnetisations to rounding, whether joules are summed or not."""
    device = junction(**optional)
    with_energy, without = (ends(device, PULSE, energy=e, temperature=350.0) for e in (True, False))
    assert with_energy.vectors == approx(without.vectors, abs=1e-9)
    assert (with_energy.kelvins == 350.0).all()
    counts = [simulate_writes(device, trials=3000, seed=2, energy=e, **WRITE) for e in (True, False)]
    assert counts[0].errors == counts[1].errors
    assert counts[0].mean_energy > 0
    assert counts[1].mean_energy is None


def test_both_voltage_kernels_count_the_same():
    device, write = junction(), {"voltage": 0.45, "pulse_width": 0.7e-9}
    counts = [simulate_writes(device, trials=30_000, seed=3, energy=e, **write).errors for e in (True, False)]
    assert 1000 < counts[0] < 29_000
    assert counts[0] == counts[1]


# ---- bias ------------------------------------------------------------------------------------------------------


@njit
def _bias_of(level, z, by_voltage, G_p, tmr, half, calls):
    V, current = np.zeros(z.size), np.empty(z.size)
    for _ in range(calls):
        for j in range(z.size):
            V[j], current[j] = kernels.solve_circuit(z[j], V[j], level, by_voltage, G_p, tmr, half)
    return V, current


@pytest.mark.parametrize("tmr", [0.0, 0.5, 1.5, 4.0])
@pytest.mark.parametrize("half", [0.2, 0.5, math.inf])
@pytest.mark.parametrize("current", [0.0, 1e-6, -5e-5, 2e-4, -2e-3])
def test_bias_is_that_of_the_resistance(tmr, half, current):
    """Newton against 60 bisections, from a tenth of the half voltage to fifty times it.

    1e-4 in the first step, exact from the second on.
    """
    device = junction(tunnel_magnetoresistance=tmr, tmr_half_voltage=None if half == math.inf else half)
    z = np.linspace(-1, 1, 41)
    V, I = _bias_of(current, z, 0.0, 1 / R_P, tmr, min(half, 1e30), 2)  # twice in a step
    expected = current * junction_resistance(device, m_z=z, current=abs(current))
    assert approx(expected, rel=1e-4, abs=1e-15) == V
    V, I = _bias_of(current, z, 0.0, 1 / R_P, tmr, min(half, 1e30), 4)
    assert approx(expected, rel=1e-9, abs=1e-15) == V
    assert approx(np.full(41, current), rel=1e-9, abs=1e-18) == I


@pytest.mark.parametrize("voltage", [-1.0, 0.0, 0.3, 2.0])
def test_current_is_that_of_the_conductance(voltage):
    device = junction(tunnel_magnetoresistance=1.5, tmr_half_voltage=0.5)
    z = np.linspace(-1, 1, 41)
    V, I = _bias_of(voltage, z, 1.0, 1 / R_P, 1.5, 0.5, 1)
    assert (voltage == V).all()
    assert approx(voltage * junction_conductance(device, m_z=z, voltage=voltage), rel=1e-12) == I


# ---- energy ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("direction", ["p_to_ap", "ap_to_p"])
@pytest.mark.parametrize("half", [None, 0.4])
def test_energy_is_fokker_plancks(direction, half):
    """20,000 writes against the mean over the density, 4.9 standard errors: 0.15 % of the energy is caught."""
    device = junction(tunnel_magnetoresistance=1.2, tmr_half_voltage=half)
    count = simulate_writes(device, trials=20_000, seed=6, direction=direction, energy=True, **WRITE)
    right = dissipated_energy(device, direction=direction, **WRITE)
    assert 0 < count.energy_error < 1e-3 * right
    assert abs(count.mean_energy - right) < 4.9 * count.energy_error + 1e-4 * right  # the step's own order one


def test_resistance_of_the_wrong_state_would_be_seen():
    right = [
        dissipated_energy(junction(tunnel_magnetoresistance=1.2), direction=d, **WRITE) for d in ("p_to_ap", "ap_to_p")
    ]
    assert abs(right[0] / right[1] - 1) > 0.01


@pytest.mark.parametrize("rise", [0.0, 0.4e-9])
def test_zero_tmr_is_joules_law(rise):
    """Every write the same: I^2 R (width - rise/3), to the midpoint rule over a ramp; no spread."""
    count = simulate_writes(
        junction(tunnel_magnetoresistance=0.0), trials=500, seed=1, energy=True, rise_time=rise, **WRITE
    )
    expected = WRITE["current"] ** 2 * R_P * (WRITE["pulse_width"] - rise / 3)
    assert count.mean_energy == approx(expected, rel=1e-4)
    assert count.energy_error < 1e-8 * expected


def test_voltage_driven_energy_at_zero_tmr():
    count = simulate_writes(
        junction(tunnel_magnetoresistance=0.0), trials=64, seed=1, energy=True, voltage=0.5, pulse_width=1e-9
    )
    assert count.mean_energy == approx(0.5**2 / R_P * 1e-9, rel=1e-9)


def test_three_terminals():
    """Current and energy are the channel's: V = I R_channel is the same write, and TMR and VCMA have no part in it."""
    device = junction(
        polarizer=(0.0, 1.0, 0.0), stray_field=(0.03, 0.0, 0.0), channel_resistance=800.0, tmr_half_voltage=0.3, **VCMA
    )
    by_current = ends(device, Pulse.rectangular(current=6e-4, pulse_width=0.4e-9), energy=True)
    by_voltage = ends(device, Pulse.rectangular(voltage=0.48, pulse_width=0.4e-9), energy=True, time_step=1e-13)
    assert by_current.joules == approx(6e-4**2 * 800 * 0.4e-9, rel=1e-9)
    assert by_voltage.joules == approx(by_current.joules, rel=1e-9)
    step = 0.5e-12
    plain = device.replace(tunnel_magnetoresistance=0.0, vcma_coefficient=0.0)
    paths = [
        ends(d, pulse, energy=energy, time_step=step).vectors
        for d, pulse, energy in (
            (device, Pulse.rectangular(current=6e-4, pulse_width=0.4e-9), True),
            (device, Pulse.rectangular(voltage=0.48, pulse_width=0.4e-9), True),
            (device, Pulse.rectangular(voltage=0.48, pulse_width=0.4e-9), False),
            (plain, Pulse.rectangular(current=6e-4, pulse_width=0.4e-9), False),
        )
    ]
    for path in paths[1:]:
        assert path == approx(paths[0], abs=1e-8)


# ---- heat ------------------------------------------------------------------------------------------------------

R_TH, C_TH = 8e5, 1e-15  # 28 uW heat it by 22 K, in 0.8 ns


def test_temperature_follows_the_closed_form():
    """TMR = 0, so that the power is constant: T = T_0 + R_th P (1 - exp(-t/RC)), then exp(-t/RC) down."""
    device = junction(tunnel_magnetoresistance=0.0, thermal_resistance=R_TH, thermal_capacity=C_TH)
    pulse = PULSE.followed_by(relax_time=0.7e-9)
    paths = trajectories(device, pulse, trials=5, seed=1, temperature=320.0)
    RC, hot = R_TH * C_TH, R_TH * WRITE["current"] ** 2 * R_P
    on, t = WRITE["pulse_width"], paths.time
    rising = hot * -np.expm1(-np.minimum(t, on) / RC)
    expected = 320 + rising * np.exp(-np.maximum(t - on, 0) / RC)
    assert paths.temperature == approx(np.broadcast_to(expected, paths.temperature.shape), rel=1e-9)
    assert paths.temperature.max() - 320 == approx(16, abs=1)
    assert paths.energy[:, -1] == approx(WRITE["current"] ** 2 * R_P * on, rel=1e-9)


def test_without_capacity_it_is_instant():
    device = junction(tunnel_magnetoresistance=0.0, thermal_resistance=R_TH)
    paths = trajectories(device, PULSE.followed_by(relax_time=0.2e-9), trials=3, seed=1)
    on = paths.time <= WRITE["pulse_width"]
    assert paths.temperature[:, on][:, 1:] == approx(300 + R_TH * WRITE["current"] ** 2 * R_P, rel=1e-12)
    assert (paths.temperature[:, ~on] == 300).all()
    nearly = trajectories(
        device.replace(thermal_capacity=1e-22), PULSE.followed_by(relax_time=0.2e-9), trials=3, seed=1
    )
    assert nearly.m == approx(paths.m, abs=1e-9)


def test_without_resistance_it_is_adiabatic():
    """All the energy stays: T = T_0 + E/C, with the resistance of every trajectory."""
    device = junction(thermal_capacity=1e-15)
    paths = trajectories(device, PULSE.followed_by(relax_time=0.2e-9), trials=6, seed=1)
    assert paths.temperature == approx(300 + paths.energy / 1e-15, rel=1e-9)
    assert np.ptp(paths.energy[:, -1]) > 0


def test_a_good_heat_sink_changes_nothing():
    """R_th -> 0 is the write of a junction that declares no heat."""
    cold, sunk = junction(), junction(thermal_resistance=1e-6, thermal_capacity=1e-15)
    assert ends(sunk, PULSE, energy=False).vectors == approx(ends(cold, PULSE, energy=False).vectors, abs=1e-7)


def test_instant_heat_is_a_higher_temperature_after_a_cold_start():
    """Trap 14, with the laws: C_th = 0 and TMR = 0 give the path of a junction at T_0 + R_th P, same noise."""
    laws = {"curie_temperature": 900.0, "anisotropy_exponent": 3.0, "in_plane_anisotropy_field": 0.05}
    hot = 300 + R_TH * WRITE["current"] ** 2 * R_P * 5
    heated = junction(tunnel_magnetoresistance=0.0, thermal_resistance=5 * R_TH, **laws)
    plain = junction(tunnel_magnetoresistance=0.0, **laws)
    start = BoltzmannStart(torque_of(plain, 300.0), 1.0)
    paths = []
    for device, temperature in ((heated, 300.0), (plain, hot), (plain, 300.0)):
        table = step_table(device, PULSE, direction="p_to_ap", temperature=temperature, time_step=1.5e-12)
        ensemble = Ensemble.start(start, seed=1, chunk=0, temperature=300.0)
        ensemble.state[:, 0] = hot if device is heated else temperature  # a step has the temperature at its beginning
        ensemble.advance(table)
        paths.append(ensemble.vectors)
    assert paths[0] == approx(paths[1], abs=1e-8)
    assert np.abs(paths[0] - paths[2]).max() > 0.5


def test_too_hot_is_refused():
    """The moment vanishes at T_c: no macrospin, and torques per moment without bound."""
    device = junction(curie_temperature=800.0, thermal_resistance=3e7, thermal_capacity=1e-17)
    message = r"heated to more than 7[89]\d\.?\d* K, too near its Curie temperature 800 K .* Lower the current"
    with pytest.raises(ValueError, match=message):
        simulate_writes(device, trials=10, seed=1, **WRITE)
    with pytest.raises(ValueError, match=message):
        trajectories(device, PULSE, trials=10, seed=1)
    assert simulate_writes(device, trials=10, seed=1, current=1e-6, pulse_width=1e-9).errors == 10


# ---- voltage-controlled anisotropy -------------------------------------------------------------------------------


@pytest.mark.parametrize("direction", ["p_to_ap", "ap_to_p"])
def test_vcma_by_current_and_by_voltage(direction):
    """TMR = 0: V = I R exactly, so both drives are one write."""
    device = junction(tunnel_magnetoresistance=0.0, **VCMA)
    paths = [
        ends(device, pulse, energy=energy, direction=direction, time_step=1.5e-12).vectors
        for pulse, energy in (
            (PULSE, False),
            (Pulse.rectangular(voltage=WRITE["current"] * R_P, pulse_width=WRITE["pulse_width"]), False),
            (Pulse.rectangular(voltage=WRITE["current"] * R_P, pulse_width=WRITE["pulse_width"]), True),
        )
    ]
    assert paths[1] == approx(paths[0], abs=1e-8)
    assert paths[2] == approx(paths[0], abs=1e-8)


@pytest.mark.parametrize("direction", ["p_to_ap", "ap_to_p"])
def test_vcma_is_another_anisotropy_during_the_pulse(direction):
    """At TMR = 0 the barrier is that of B_k - 2 xi V/(Ms t_f t_ox): lower for AP -> P, higher for P -> AP."""
    device = junction(tunnel_magnetoresistance=0.0, **VCMA)
    sign = 1 if direction == "ap_to_p" else -1
    lowered = anisotropy_lowering(device, voltage=sign * WRITE["current"] * R_P, temperature=300.0)
    by_hand = 2 * 60e-15 * sign * 0.375 / (device.saturation_magnetization * device.thickness * 1.4e-9)
    assert lowered == approx(by_hand, rel=1e-12)
    changed = junction(tunnel_magnetoresistance=0.0).replace(anisotropy_field=device.anisotropy_field - lowered)
    one = ends(device, PULSE, energy=False, direction=direction, time_step=1.5e-12)
    law = BoltzmannStart(torque_of(device, 300.0), 1.0)  # the start has no voltage
    other = Ensemble.start(law, seed=1, chunk=0, temperature=300.0)
    other.advance(step_table(changed, PULSE, direction=direction, temperature=300.0, time_step=1.5e-12))
    assert one.vectors == approx(other.vectors, abs=1e-8)
    assert abs(lowered) > 0.01


def test_voltage_drive_is_not_a_current_drive():
    """Trap 8: at TMR 100 % the current halves or doubles on the way, and so does the error rate; exact at TMR = 0."""
    for tmr, same in ((0.0, True), (1.0, False)):
        device = junction(tunnel_magnetoresistance=tmr)
        voltage = WRITE["current"] * R_P
        count = simulate_writes(device, voltage=voltage, pulse_width=WRITE["pulse_width"], trials=20_000, seed=9)
        by_current = write_error_rate(device, **WRITE)
        assert within_binomial(count.errors, count.trials, by_current) == same


def test_vcma_needs_a_barrier():
    with pytest.raises(ValueError, match="barrier_thickness is missing: vcma_coefficient 6e-14"):
        simulate_writes(junction(vcma_coefficient=60e-15), trials=1, seed=1, **WRITE)
    with pytest.raises(ValueError, match="barrier_thickness is missing"):
        anisotropy_lowering(junction(vcma_coefficient=60e-15), voltage=1.0, temperature=300.0)


def test_conductance_of_a_wrong_m_z():
    with pytest.raises(ValueError, match=r"m_z must be in \[-1, 1\], got 1.5"):
        junction_conductance(junction(), m_z=np.array([0.0, 1.5]), voltage=0.1)


def test_slope_grows_as_the_moment_falls():
    device = junction(curie_temperature=900.0, **VCMA)
    cold, hot = (anisotropy_lowering(device, voltage=1.0, temperature=T) for T in (300.0, 600.0))
    assert hot / cold == approx(device.magnetization_at(300) / device.magnetization_at(600), rel=1e-12)
