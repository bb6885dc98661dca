"""Resistance and Joule energy of a write, against closed forms and against the masses of the finite volume."""

import itertools
import math
from functools import cache

import numpy as np
import pytest
from scipy.linalg import expm

from bridge.search.find import pulse_width_for
from mtjsim import dissipated_energy, junction_resistance
from mtjsim.energy import axial_dissipation
from mtjsim.fokker_planck import spectral
from mtjsim.fokker_planck.axial import tail_probability
from mtjsim.fokker_planck.finite_volume import hopping_rates, march, starting_masses
from mtjsim.fokker_planck.reduced import reduced_write
from physics import I_C, TAU, approx, junction

R_P = 5e3
DIRECTIONS = ("p_to_ap", "ap_to_p")


# ---- R(m_z, I) -----------------------------------------------------------------------------------------------------


def test_resistance_without_bias_dependence():
    d = junction(tunnel_magnetoresistance=1.5)
    m = np.linspace(-1, 1, 9)
    conductance = (1 / R_P + 1 / (2.5 * R_P)) / 2 + (1 / R_P - 1 / (2.5 * R_P)) / 2 * m  # Slonczewski 1989
    assert junction_resistance(d, m_z=m, current=1e-5) == approx(1 / conductance, rel=1e-12)
    assert junction_resistance(d, m_z=np.array(1.0), current=0.0) == approx(d.resistance_p, rel=1e-12)
    assert junction_resistance(d, m_z=np.array(-1.0), current=0.0) == approx(d.resistance_ap, rel=1e-12)


@pytest.mark.parametrize("current", [0.0, 1e-6, 3e-5, 1e-4, 1e-3])
def test_resistance_solves_its_own_voltage(current):
    """V = I R(V) with TMR(V) = TMR_0/(1 + (V/V_h)^2), at every angle."""
    d = junction(tunnel_magnetoresistance=1.5, tmr_half_voltage=0.4)
    m = np.linspace(-1, 1, 21)
    R = junction_resistance(d, m_z=m, current=current)
    tmr = 1.5 / (1 + (current * R / 0.4) ** 2)
    conductance = ((1 + m) / 2 + (1 - m) / 2 / (1 + tmr)) / R_P
    assert approx(1 / conductance, rel=1e-10) == R
    assert (np.diff(R) < 0).all() or current == 0 or current >= 1e-3
    assert R[-1] == approx(R_P, rel=1e-12)


def test_bias_lowers_the_antiparallel_resistance():
    d = junction(tunnel_magnetoresistance=1.0, tmr_half_voltage=0.3)
    R = [junction_resistance(d, m_z=np.array(-1.0), current=I) for I in (0.0, 2e-5, 5e-5, 2e-4)]
    assert R[0] == approx(2 * R_P)
    assert (np.diff(R) < 0).all()
    assert R[-1] > R_P


# ---- energy --------------------------------------------------------------------------------


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("current", [1e-5, 6e-5, 3e-4])
def test_zero_tmr_is_joules_law(direction, current):
    widths = np.array([0.1e-9, 3e-9, 40e-9])
    energy = dissipated_energy(
        junction(tunnel_magnetoresistance=0.0), current=current, pulse_width=widths, direction=direction
    )
    assert energy == approx(current**2 * R_P * widths, rel=1e-9)


RAMPS = [(10e-9, 1e-9), (10e-9, 5e-9), (2e-9, 2e-9), (1e-9, 1e-9), (0.2e-9, 0.2e-9)]


@pytest.mark.parametrize(("width", "rise"), RAMPS)
def test_zero_tmr_with_ramps(width, rise):
    """int I^2 dt over a trapezoid, a third of each ramp: I^2 R (width - rise + 2 rise / 3)."""
    energy = dissipated_energy(junction(tunnel_magnetoresistance=0.0), current=6e-5, pulse_width=width, rise_time=rise)
    assert energy == approx(6e-5**2 * R_P * (width - rise + 2 * rise / 3), rel=1e-9)


def test_no_current_no_energy():
    assert dissipated_energy(junction(), current=0.0, pulse_width=5e-9) == 0.0
    assert (dissipated_energy(junction(), current=0.0, pulse_width=[5e-9, 6e-9]) == 0).all()


@pytest.mark.parametrize(("direction", "start", "end"), [("p_to_ap", R_P, 2 * R_P), ("ap_to_p", 2 * R_P, R_P)])
def test_first_and_last_watt(direction, start, end):
    """dE/dt / I^2 is the resistance of the starting state at first and of the final state at last."""
    I = 4 * I_C
    first = dissipated_energy(junction(), current=I, pulse_width=0.01 * TAU, direction=direction)
    late = dissipated_energy(junction(), current=I, pulse_width=np.array([30, 31]) * TAU, direction=direction)
    tilt = 1 / 120  # mean of 1 - y in the well, 1/(2 Delta); R moves by tilt/4 up from P, by tilt/2 down from AP
    near = {R_P: 1 + tilt / 4, 2 * R_P: 1 - tilt / 2}
    assert first / (I**2 * 0.01 * TAU) == approx(start * near[start], rel=3e-4)
    assert np.diff(late)[0] / (I**2 * TAU) == approx(end, rel=5e-3)


@pytest.mark.parametrize("i", [0.0, 0.55, 0.7, 1.5])
@pytest.mark.parametrize("more", [{}, {"rise_time": 5e-9}, {"direction": "ap_to_p"}], ids=["plain", "ramps", "ap_to_p"])
@pytest.mark.parametrize(
    "device", [junction(), junction(40.0, 0.1, spin_torque_asymmetry=0.3)], ids=["plain", "lopsided"]
)
def test_a_long_pulse_is_continued_by_its_escape(monkeypatch, i, more, device):
    """Escapes over a millionth, a third and all of the pulse: the same by following the density to the end."""
    pulse = {"current": i * I_C, "pulse_width": np.array([1e4, 3e4]) * TAU, **more}
    followed = dissipated_energy(device, **pulse)
    monkeypatch.setattr(spectral, "LONGEST_ENERGY", 3e3)
    assert dissipated_energy(device, **pulse) == approx(followed, rel=1e-7)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_long_pulse_is_continued_by_the_escape_from_a_cone(monkeypatch, direction):
    """At lambda 0.9 the layer precesses around its pole first, and leaves that cone by 2 % within 3e4 tau_D."""
    device = junction(100.0, 0.1 if direction == "p_to_ap" else -0.1, spin_torque_asymmetry=0.9)
    device = device.replace(polarizer=(0, 0, -1)) if direction == "p_to_ap" else device
    pulse = {"direction": direction, "pulse_width": np.array([1e4, 3e4]) * TAU}
    pulse["current"] = 0.25 / 0.1 * device.critical_current(direction) / 1.1
    followed = dissipated_energy(device, **pulse)
    monkeypatch.setattr(spectral, "LONGEST_ENERGY", 3e3)
    assert dissipated_energy(device, **pulse) == approx(followed, rel=1e-7)
    monkeypatch.setattr(spectral, "solve_escape", lambda write, cones: None)
    with pytest.raises(ValueError, match="its power is not steady after 3000 characteristic times"):
        dissipated_energy(device, **pulse)


def test_joules_of_a_second_are_the_watts_of_the_final_state():
    """At 0.8 I_c all has switched after a millisecond: I^2 R_AP t, R_AP at a mean 1 - y of 1/(2 Delta 1.8)."""
    energy = dissipated_energy(junction(), current=0.8 * I_C, pulse_width=[1e-3, 1.1e-3])
    tilt = 1 / (2 * 60 * 1.8)
    assert np.diff(energy)[0] == approx((0.8 * I_C) ** 2 * 2 * R_P * (1 - tilt / 2) * 1e-4, rel=1e-4)


def test_the_wrong_way_costs_more():
    """P->AP ends in the high resistance: at long pulses it costs more than AP->P, at short ones less."""
    long, short = (
        [dissipated_energy(junction(), current=2 * I_C, pulse_width=w, direction=d) for d in DIRECTIONS]
        for w in (40 * TAU, 0.5 * TAU)
    )
    assert long[0] > 1.5 * long[1]
    assert short[1] > 1.5 * short[0]


def test_energy_ratio_of_the_checkpoint():
    """Delta 60, i 2, TMR 100 %: 1e-8 against 1e-3 costs 2.36 times for P->AP and 1.78 for AP->P; width alone 2.067."""
    for direction, ratio in (("p_to_ap", 2.36), ("ap_to_p", 1.78)):
        d = junction(tunnel_magnetoresistance=1.0)
        widths = [pulse_width_for(d, error_rate=p, current=2 * I_C, direction=direction) for p in (1e-8, 1e-3)]
        deep, shallow = dissipated_energy(d, current=2 * I_C, pulse_width=widths, direction=direction)
        assert deep / shallow == approx(ratio, abs=0.03)


def test_bias_dependence_lowers_the_energy():
    pulse = {"current": 2 * I_C, "pulse_width": 10e-9}
    for direction in DIRECTIONS:
        flat = dissipated_energy(junction(tunnel_magnetoresistance=1.0), direction=direction, **pulse)
        bent = dissipated_energy(
            junction(tunnel_magnetoresistance=1.0, tmr_half_voltage=0.3), direction=direction, **pulse
        )
        bare = dissipated_energy(junction(tunnel_magnetoresistance=0.0), direction=direction, **pulse)
        assert bare < bent < flat


@pytest.mark.parametrize(("direction", "rise"), [("p_to_ap", 0.0), ("ap_to_p", 1.0)])
def test_energy_against_the_chain(direction, rise):
    """<R>(t) from the cells' masses, marched by implicit steps and the trapezoid, extrapolated in the step."""
    d = junction(
        tunnel_magnetoresistance=1.2, tmr_half_voltage=0.4, spin_torque_asymmetry=0.2, stray_field=(0, 0, 0.02)
    )
    I, width = 2.2 * I_C, 4.0 * TAU
    write, tau = reduced_write(d, direction, I, 320.0, rise * TAU, 0.0)
    cells = 1600
    y = -1 + 2 / cells * (np.arange(cells) + 0.5)
    s = 1 if direction == "p_to_ap" else -1

    @cache
    def resistance(a):
        return junction_resistance(d, m_z=s * y, current=a * I)

    @cache
    def rates(a):
        return hopping_rates(write, a * write.drive, cells)

    def power(mass, a):
        return a * a * (mass @ resistance(a))

    def energy(steps):
        """Phases in units of tau: (duration, relative current at its start, at its end)."""
        phases = [(rise, 0, 1), (4.0 - rise, 1, 1), (rise, 1, 0)] if rise else [(4.0, 1, 1)]
        mass, joule = starting_masses(write, cells), 0.0
        for duration, a0, a1 in phases:
            n = steps
            levels = np.linspace(a0, a1, n + 1)
            for before, after in itertools.pairwise(levels):
                first = power(mass, before)
                march(mass, *rates(after), duration / n, 1)
                joule += duration / n * (first + power(mass, after)) / 2
        return I**2 * tau * joule

    coarse, middle, fine = (energy(n) for n in (50, 100, 200))
    once = [2 * middle - coarse, 2 * fine - middle]
    expected = (4 * once[1] - once[0]) / 3
    answer = dissipated_energy(
        d, current=I, pulse_width=width, direction=direction, temperature=320.0, rise_time=rise * TAU
    )
    assert answer == approx(expected, rel=2e-4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"current": -1e-5}, "current must be"),
        ({"pulse_width": 0.0}, "pulse_width must be"),
        ({"direction": "up"}, "direction must be one of"),
        ({"rise_time": 6e-9}, "rise_time must be <= pulse_width"),
        ({"temperature": math.nan}, "temperature must be"),
    ],
)
def test_energy_refuses(changes, message):
    with pytest.raises(ValueError, match=message):
        dissipated_energy(junction(), **({"current": 6e-5, "pulse_width": 5e-9} | changes))


def test_energies_broadcast():
    both = dissipated_energy(junction(), current=[6e-5, 7e-5], pulse_width=5e-9)
    assert both.tolist() == [dissipated_energy(junction(), current=I, pulse_width=5e-9) for I in (6e-5, 7e-5)]


def test_a_three_terminal_device_heats_its_channel():
    device = junction(polarizer=(0.0, 1.0, 0.0), channel_resistance=800.0)
    assert dissipated_energy(device, current=6e-5, pulse_width=5e-9) == approx(6e-5**2 * 800 * 5e-9)


def test_loads_of_one_solve_are_those_of_their_own():
    """Two loads with ramps, in one solve and one by one; the steps of the ramps are shared."""
    write, tau = reduced_write(junction(), "p_to_ap", 2 * I_C, 300.0, 1e-9, 0.0)
    loads = [lambda y, a: 3e3 + 2e3 * y, lambda y, a: np.exp(y) * (1 + a)]
    plateaus = np.array([0.0, 2e-9, 20e-9])
    together = axial_dissipation(write, tau, plateaus, loads)
    for joules, load in zip(together, loads, strict=True):
        assert joules == approx(axial_dissipation(write, tau, plateaus, [load])[0], rel=1e-11)


@pytest.mark.parametrize("duration", [1e-3, 0.03, 1.0])
def test_the_series_of_an_exponential(duration):
    """Taylor's series of a step against the matrix exponential, or left to it where the step is long."""
    write, _ = reduced_write(junction(), "p_to_ap", 2 * I_C, 300.0, 1e-9, 0.0)
    solver = spectral.SpectralSolver(write, -1.0)
    A, c = solver.generator(write.drive), solver.start()
    moved, exact = spectral.apply_exponential(A, duration, c), expm(A * duration) @ c
    if duration == 1.0:
        assert moved is None
    else:
        assert moved == approx(exact, abs=1e-13 * np.abs(exact).max())


@pytest.mark.parametrize("direction", ["p_to_ap", "ap_to_p"])
@pytest.mark.parametrize("current", [45e-6, 75e-6, 140e-6])
def test_coarse_ramps_are_good_to_their_promise(direction, current):
    """1e-4 of a rate; what a search and a population start from."""
    write, tau = reduced_write(junction(), direction, current, 300.0, 1e-9, 0.0)
    plateaus = np.array([1e-9, 4e-9, 8e-9]) / tau
    with spectral.one_blas_thread():
        coarse = tail_probability(write, plateaus, density=spectral.COARSE_RAMP_STEPS)
        fine = tail_probability(write, plateaus)
    assert coarse == approx(fine, rel=1e-4)
    assert (coarse != fine).all()
