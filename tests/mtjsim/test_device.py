"""The declaration: derived figures against formulas written out here, every message of every refusal, files, units."""

import copy
import itertools
import math
import pickle
import re
import tomllib
from importlib.resources import files

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.constants import e as q_e
from scipy.constants import hbar, mu_0, physical_constants
from scipy.constants import k as k_B
from scipy.integrate import quad
from scipy.special import j1

from mtjsim import (
    MTJ,
    effective_anisotropy_field,
    list_presets,
    load_device,
    load_preset,
    preset_file,
    save_device,
    spin_hall_efficiency,
    switching_probability,
    to_si,
    write_error_rate,
)
from mtjsim.cylinder import axial_demagnetising_factor
from mtjsim.presets import device_toml, parse_device
from mtjsim.torques import rotation, torque_of
from physics import approx

GAMMA = physical_constants["electron gyromag. ratio"][0]

REQUIRED = {
    "diameter": 40e-9,
    "thickness": 1.3e-9,
    "saturation_magnetization": 1.1e6,
    "anisotropy_field": 0.27,
    "damping": 0.01,
    "spin_torque_efficiency": 0.6,
    "resistance_area_product": 10e-12,
    "tunnel_magnetoresistance": 1.0,
}
ODD = pytest.mark.filterwarnings("ignore::mtjsim.ImplausibleValue")  # extreme values, on purpose
EFFECTIVE = {"thermal_stability": 60.0, "critical_current": 30e-6, "characteristic_time": 2e-9}
PULSE = {"current": 60e-6, "pulse_width": 5e-9}


def device(**changes):
    return MTJ(**(REQUIRED | changes))


# ---- derived figures -------------------------------------------------------------------------------------------------


@ODD
def test_derived_figures():
    V = math.pi / 4 * (40e-9) ** 2 * 1.3e-9
    d = device()
    assert d.volume == approx(V, rel=1e-14)
    assert d.area == approx(V / 1.3e-9, rel=1e-14)
    assert d.thermal_stability() == approx(1.1e6 * V * 0.27 / (2 * k_B * 300), rel=1e-12)
    assert d.thermal_stability(77.0) == approx(1.1e6 * V * 0.27 / (2 * k_B * 77), rel=1e-12)
    assert d.critical_current() == approx(2 * q_e / hbar * 0.01 / 0.6 * 1.1e6 * V * 0.27, rel=1e-12)
    by_delta = 4 * q_e * 0.01 * d.thermal_stability() * k_B * 300 / (hbar * 0.6)
    assert d.critical_current() == approx(by_delta, rel=1e-12)
    assert d.characteristic_time() == approx((1 + 0.01**2) / (GAMMA * 0.01 * 0.27), rel=1e-12)
    assert d.resistance_p == approx(10e-12 / (math.pi / 4 * 1.6e-15), rel=1e-12)
    assert device(tunnel_magnetoresistance=1.5).resistance_ap == approx(2.5 * d.resistance_p, rel=1e-14)


def test_gyromagnetic_ratio():
    assert approx(1.76085963e11, rel=1e-8) == GAMMA


def test_asymmetry_in_the_critical_current():
    """I_c0 (1 + lambda) for P->AP and I_c0 (1 - lambda) for AP->P; the other way round with p = -z."""
    up, down = device(spin_torque_asymmetry=0.3), device(spin_torque_asymmetry=0.3, polarizer=(0, 0, -1))
    bare = device().critical_current()
    assert up.critical_current("p_to_ap") == approx(1.3 * bare, rel=1e-12)
    assert up.critical_current("ap_to_p") == approx(0.7 * bare, rel=1e-12)
    assert down.critical_current("p_to_ap") == approx(0.7 * bare, rel=1e-12)
    assert down.critical_current("ap_to_p") == approx(1.3 * bare, rel=1e-12)


@pytest.mark.parametrize("direction", ["p_to_ap", "ap_to_p"])
def test_critical_current_is_where_the_well_loses_its_stability(direction):
    """Linear stability written out: d/dy [y + H - i/(1 + L y)] (1 - y^2) at y = 1 changes sign at I_c0, B_z = 0."""
    d = device(spin_torque_asymmetry=0.3)
    s = 1 if direction == "p_to_ap" else -1
    a_J_over_I = hbar * 0.6 / (2 * q_e * 1.1e6 * d.volume)
    force_at_pole = 0.01 * 0.27 - a_J_over_I * d.critical_current(direction) / (1 + s * 0.3)  # alpha B_k - a_J g
    assert force_at_pole == approx(0, abs=1e-15)


@pytest.mark.parametrize("aspect", [1e-3, 0.02, 0.1, 1.0, 5.0])
def test_demagnetising_factor_against_its_integral(aspect):
    """N_z = (2R/t) int_0^inf J1(q)^2 (1 - e^(-q t/R))/q^2 dq; the tail beyond Q by its mean, J1^2 ~ 1/(pi q)."""
    t_over_R, Q = 2 * aspect, 400.0
    edges = np.linspace(0, Q, 401)
    integral = sum(
        quad(lambda q: j1(q) ** 2 * -math.expm1(-q * t_over_R) / q**2, a, b, epsrel=1e-11)[0]
        for a, b in itertools.pairwise(edges)
    )
    tail = quad(lambda q: -math.expm1(-q * t_over_R) / (math.pi * q**3), Q, np.inf)[0]
    expected = 2 / t_over_R * (integral + tail)
    assert axial_demagnetising_factor(aspect_ratio=aspect) == approx(expected, rel=2e-6)


def test_effective_anisotropy_field_is_net_of_the_demagnetisation():
    """2 K_i/(Ms t) - mu0 (N_z - N_x) Ms, N_x = (1 - N_z)/2: not N_z, which would be 15 % low here."""
    Ms, K, d, t = 1.2e6, 1e-3, 50e-9, 1e-9
    N_z = axial_demagnetising_factor(aspect_ratio=t / d)
    B_k = effective_anisotropy_field(interface_anisotropy=K, saturation_magnetization=Ms, diameter=d, thickness=t)
    assert B_k == approx(2 * K / (Ms * t) - mu_0 * (N_z - (1 - N_z) / 2) * Ms, rel=1e-12)
    assert (2 * K / (Ms * t) - mu_0 * N_z * Ms) / B_k == approx(0.85, abs=0.02)


def test_published_figures_of_the_arm_stack():
    """Read: exact cylinder B_k 0.2969 T, Delta 84.4, I_c0 28.3 uA, tau_D 1.91 ns, R_P 6 kohm."""
    d = load_preset("arm_2021")
    assert d.anisotropy_field == approx(0.2969, abs=5e-5)
    assert d.thermal_stability() == approx(84.4, abs=0.05)
    assert d.critical_current() == approx(28.3e-6, abs=0.05e-6)
    assert d.characteristic_time() == approx(1.91e-9, abs=0.005e-9)
    assert d.resistance_p == approx(6e3, rel=1e-4)


def test_thin_disc_figures_of_the_arm_stack():
    """Read: with their thin-disc N_z = 1/(1 + 2 t/(R sqrt(pi))), B_k 0.2564 T, Delta 72.9, I_c0 24.5 uA, 2.22 ns."""
    N_z = 1 / (1 + 2 * 1e-9 / (25e-9 * math.sqrt(math.pi)))
    B_k = 2 * 1e-3 / (1.2e6 * 1e-9) - mu_0 * (3 * N_z - 1) / 2 * 1.2e6
    assert B_k == approx(0.2564, abs=5e-5)
    d = MTJ(**(load_preset("arm_2021").model_dump() | {"anisotropy_field": B_k}))
    assert d.thermal_stability() == approx(72.9, abs=0.05)
    assert d.critical_current() == approx(24.5e-6, abs=0.05e-6)
    assert d.characteristic_time() == approx(2.22e-9, abs=0.005e-9)


def test_spin_hall_efficiency():
    """The spin current that enters the layer, theta_SH J_c A, over the current w t_c J_c that pays for it."""
    J_c, A = 1.3e11, math.pi / 4 * (65e-9) ** 2
    channel = {"channel_width": 200e-9, "channel_thickness": 4.3e-9}
    eta = spin_hall_efficiency(spin_hall_angle=0.3, diameter=65e-9, **channel)
    assert eta == approx(0.3 * J_c * A / (J_c * 200e-9 * 4.3e-9), rel=1e-12)


def test_in_plane_layer_has_a_negative_field():
    thick = {"interface_anisotropy": 1e-4, "saturation_magnetization": 1.1e6, "diameter": 40e-9, "thickness": 2e-9}
    assert effective_anisotropy_field(**thick) < -0.5


@ODD
@settings(max_examples=50)
@given(
    Delta=st.floats(5, 200),
    I_c=st.floats(1e-7, 1e-3),
    tau=st.floats(1e-11, 1e-7),
    alpha=st.floats(1e-3, 0.5),
    T=st.floats(100, 450),
)
def test_from_effective_round_trip(Delta, I_c, tau, alpha, T):
    d = MTJ.from_effective(
        thermal_stability=Delta,
        critical_current=I_c,
        characteristic_time=tau,
        damping=alpha,
        reference_temperature=T,
        resistance_p=4321.0,
    )
    assert d.thermal_stability(T) == approx(Delta, rel=1e-12)
    assert d.critical_current() == approx(I_c, rel=1e-12)
    assert d.characteristic_time() == approx(tau, rel=1e-12)
    assert d.resistance_p == approx(4321.0, rel=1e-12)


def test_from_effective_passes_optional_fields_on():
    d = MTJ.from_effective(**EFFECTIVE, spin_torque_asymmetry=0.2, tmr_half_voltage=0.5, stray_field=(0, 0, 0.01))
    assert (d.spin_torque_asymmetry, d.tmr_half_voltage, d.stray_field) == (0.2, 0.5, (0, 0, 0.01))
    assert d.critical_current("p_to_ap") == approx(36e-6, rel=1e-12)


def test_laws_of_temperature():
    """Ms by Bloch's law through its value at the reference, B_k ~ Ms^(n-1)."""
    d = device(curie_temperature=1100.0, anisotropy_exponent=2.2)
    ratio = (1 - (400 / 1100) ** 1.5) / (1 - (300 / 1100) ** 1.5)
    assert d.magnetization_at(300.0) == approx(1.1e6, rel=1e-14)
    assert d.magnetization_at(400.0) == approx(1.1e6 * ratio, rel=1e-13)
    assert d.anisotropy_field_at(400.0) == approx(0.27 * ratio**1.2, rel=1e-13)
    Delta = 1.1e6 * ratio * d.volume * 0.27 * ratio**1.2 / (2 * k_B * 400)
    assert d.thermal_stability(400.0) == approx(Delta, rel=1e-12)
    assert d.critical_current(temperature=400.0) == approx(d.critical_current() * ratio**2.2, rel=1e-12)
    assert d.characteristic_time(400.0) == approx(d.characteristic_time() / ratio**1.2, rel=1e-12)


def test_without_laws_only_delta_moves():
    d = device()
    assert d.critical_current(temperature=400.0) == d.critical_current()
    assert d.characteristic_time(400.0) == d.characteristic_time()
    assert d.thermal_stability(400.0) == approx(0.75 * d.thermal_stability(300.0), rel=1e-13)
    linear = device(curie_temperature=1100.0)  # n = 1: Ms moves, B_k does not
    assert linear.anisotropy_field_at(400.0) == 0.27
    assert linear.magnetization_at(400.0) < 1.1e6


# ---- identity, frozen ---------------------------------------------------------------------------------------------


def test_identity():
    d = device()
    assert d.identity == device().identity == device(stray_field=[0, 0, 0], diameter=np.float64(40e-9)).identity
    assert len(d.identity) == 64
    changed = {name: value * 1.001 for name, value in REQUIRED.items()}
    changed |= {
        "spin_torque_asymmetry": 0.1,
        "field_like_ratio": 0.1,
        "in_plane_anisotropy_field": 0.1,
        "stray_field": (0, 0, 1e-3),
        "polarizer": (0, 0, -1),
        "vcma_coefficient": 1e-15,
        "barrier_thickness": 1e-9,
        "tmr_half_voltage": 0.5,
        "reference_temperature": 295.0,
        "curie_temperature": 1000.0,
        "anisotropy_exponent": 2.0,
        "channel_resistance": 800.0,
        "thermal_resistance": 1e6,
        "thermal_capacity": 1e-15,
    }
    assert set(changed) == set(MTJ.model_fields)
    identities = {device(**{name: value}).identity for name, value in changed.items()}
    assert len(identities | {d.identity}) == len(changed) + 1


def test_identity_is_fixed():
    """Written down: results on somebody's disk carry it. Change it only together with the CHANGELOG."""
    assert device().identity == device(**tomllib.loads("anisotropy_field = 0.27")).identity
    assert copy.deepcopy(device()).identity == pickle.loads(pickle.dumps(device())).identity == device().identity


def test_frozen_and_hashable():
    d = device()
    with pytest.raises(ValueError, match="frozen"):
        d.damping = 0.02
    assert {d: 1}[device()] == 1
    assert d != device(damping=0.02)


def test_keyword_only():
    with pytest.raises(TypeError):
        MTJ(40e-9, 1.3e-9)


# ---- refusals: the argument, the rule, the value, the way out ------------------------------------------------------


@pytest.mark.parametrize("name", REQUIRED)
def test_missing_field(name):
    with pytest.raises(ValueError, match=f"{name} is missing"):
        MTJ(**{key: value for key, value in REQUIRED.items() if key != name})


@pytest.mark.parametrize("name", REQUIRED)
@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf, -math.inf, "40nm", "1", True, None, [1.0], 1j])
def test_bad_value(name, value):
    with pytest.raises(ValueError, match=name) as caught:
        device(**{name: value})
    assert repr(value) in str(caught.value)


@pytest.mark.parametrize("name", [n for n in REQUIRED if n != "tunnel_magnetoresistance"])
def test_zero_is_refused(name):
    with pytest.raises(ValueError, match=f"{name} must be > 0.*got 0"):
        device(**{name: 0})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"damping": 1.0}, "damping must be < 1, got 1"),
        ({"spin_torque_asymmetry": 1.0}, "spin_torque_asymmetry must be < 1, got 1"),
        ({"spin_torque_asymmetry": -1.0}, "spin_torque_asymmetry must be > -1, got -1"),
        ({"polarizer": (0, 1, 1)}, r"polarizer must be a unit vector, got .* of length 1.41421; divide"),
        ({"polarizer": (0, 1)}, r"polarizer must be three numbers \(x, y, z\), got \(0, 1\)"),
        ({"stray_field": (0, 0, math.nan)}, "stray_field.* finite"),
        ({"stray_field": 0.02}, "stray_field"),
        ({"reference_temperature": 0}, "reference_temperature must be > 0 K, got 0"),
        ({"curie_temperature": 300.0}, r"curie_temperature must be > reference_temperature \(300 K\), got 300"),
        ({"tmr_half_voltage": 0}, "tmr_half_voltage must be > 0 V, got 0"),
        ({"anisotropy_exponent": -1}, "anisotropy_exponent must be >= 0, got -1"),
        ({"diamter": 40e-9}, "diamter is not a field of MTJ.*Did you mean 'diameter'"),
    ],
)
def test_bad_combination(changes, message):
    with pytest.raises(ValueError, match=message):
        device(**changes)


@pytest.mark.parametrize(
    ("symbol", "message"),
    [
        (
            "Ms",
            "Ms is not a field of MTJ. Did you mean 'saturation_magnetization'? Missing: thickness [m], anisotropy_",
        ),
        ("H_k", "H_k is not a field of MTJ. Did you mean 'anisotropy_field'? Missing: thickness [m], saturation_magn"),
        ("alpha", "alpha is not a field of MTJ. Did you mean 'damping'? Missing: "),
        ("TMR", "TMR is not a field of MTJ. Did you mean 'tunnel_magnetoresistance'? Missing: "),
        (
            "Delta",
            "Delta is not a field of MTJ. thermal_stability follows from the fields. MTJ.from_effective takes it.",
        ),
        ("polarization", "polarization is not a field of MTJ. mtjsim.tunnel_spin_torque gives the fields"),
        ("zzz", "zzz is not a field of MTJ. Its fields: diameter, thickness, "),
    ],
)
def test_a_symbol_is_answered_with_its_field(symbol, message):
    """First what is wrong, then what is missing; the field that was meant is not called missing."""
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        MTJ(**{"diameter": 40e-9, symbol: 1.0})
    meant = re.search(r"Did you mean '(\w+)'\?", message)
    if meant:
        with pytest.raises(AttributeError, match=f"no attribute '{symbol}'. {re.escape(meant.group())}"):
            getattr(device(), symbol)


@pytest.mark.parametrize("vector", [("0", "0", "0.02"), (0, 0, True)])
def test_bad_value_inside_a_vector(vector):
    with pytest.raises(ValueError, match="stray_field"):
        device(stray_field=vector)


@pytest.mark.parametrize("name", EFFECTIVE)
@pytest.mark.parametrize("value", [-1.0, 0.0, math.nan, math.inf])
def test_bad_effective_value(name, value):
    with pytest.raises(ValueError, match=f"{name} must be finite and > 0"):
        MTJ.from_effective(**(EFFECTIVE | {name: value}))


@pytest.mark.parametrize("value", ["60", True, [60.0]])
def test_effective_value_that_is_no_number(value):
    with pytest.raises(ValueError, match="thermal_stability"):
        MTJ.from_effective(**(EFFECTIVE | {"thermal_stability": value}))


def test_effective_refusals():
    with pytest.raises(ValueError, match="damping must be < 1"):
        MTJ.from_effective(**EFFECTIVE, damping=1.5)
    with pytest.raises(ValueError, match="not a field of MTJ"):
        MTJ.from_effective(**EFFECTIVE, colour="blue")


@pytest.mark.parametrize("question", [write_error_rate, switching_probability])
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"current": -1e-6}, "current must be .*>= 0 A, got -1e-06. .*`direction`"),
        ({"current": math.nan}, "current must be finite .*got nan"),
        ({"current": [1e-6, math.inf]}, "current must be finite .*got inf"),
        ({"current": "60uA"}, "current must be a number .*got '60uA'.*SI"),
        ({"pulse_width": 0.0}, "pulse_width must be .*> 0 s, got 0"),
        ({"pulse_width": -5e-9}, "pulse_width must be .*> 0 s, got -5e-09"),
        ({"temperature": 0.0}, "temperature must be .*> 0 K, got 0"),
        ({"temperature": -300.0}, "temperature must be .*> 0 K, got -300"),
        ({"rise_time": -1e-9}, "rise_time must be .*>= 0 s, got -1e-09"),
        ({"relax_time": -1e-9}, "relax_time must be .*>= 0 s, got -1e-09"),
        ({"rise_time": 6e-9}, "rise_time must be <= pulse_width, got 6e-09 s for a pulse of 5e-09 s.*plateau"),
        ({"direction": "up"}, "direction must be one of 'p_to_ap', 'ap_to_p', 'both', got 'up'"),
        ({"direction": "p_to_pa"}, "got 'p_to_pa'.*Did you mean 'p_to_ap'"),
        ({"method": "spectrl"}, "method must be one of 'auto', 'spectral', 'finite_volume'.*Did you mean 'spectral'"),
        ({"current": [1e-6, 2e-6], "pulse_width": [1e-9, 2e-9, 3e-9]}, "broadcast"),
    ],
)
def test_bad_argument(question, changes, message):
    with pytest.raises(ValueError, match=message):
        question(device(), **(PULSE | changes))


@pytest.mark.parametrize("value", ["60e-6", True])
def test_current_that_is_no_number(value):
    with pytest.raises(ValueError, match="current must be a number"):
        write_error_rate(device(), current=value, pulse_width=5e-9, method="finite_volume")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vcma_coefficient": 61e-15}, "barrier_thickness is missing: vcma_coefficient 6.1e-14"),
        ({"thermal_resistance": 1e6}, "heats itself.*use simulate_writes"),
        ({"thermal_capacity": 1e-15}, "heats itself.*use simulate_writes"),
        (
            {"stray_field": (0, 0, 0.3)},
            "stray_field z of 0.3 T exceeds the anisotropy field of 0.27 T.*AP is not stable",
        ),
        ({"stray_field": (0, 0, -0.3)}, "stray_field z of -0.3 T exceeds.*: P is not stable"),
        ({"field_like_ratio": -200.0}, "field_like_ratio of -200 turns the torque around"),
    ],
)
@pytest.mark.parametrize("question", [write_error_rate, switching_probability])
def test_device_that_the_front_door_refuses(question, changes, message):
    with pytest.raises(ValueError, match=message):
        question(device(**changes), **PULSE)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stray_field": (0.01, 0, 0)}, r"not axisymmetric: stray_field .* in-plane part.*method='auto'"),
    ],
)
@pytest.mark.parametrize("method", ["spectral", "finite_volume"])
def test_device_that_the_axisymmetric_solvers_refuse(method, changes, message):
    with pytest.raises(ValueError, match=message):
        write_error_rate(device(**changes), **PULSE, method=method)


def test_refusals_of_the_derived_figures():
    with pytest.raises(ValueError, match="direction must be one of"):
        device().critical_current("up")
    with pytest.raises(ValueError, match=r"temperature must be .*> 0 K, got -3"):
        device().characteristic_time(-3)
    with pytest.raises(ValueError, match=r"temperature must be .*> 0 K, got 0"):
        device().thermal_stability(0)
    with pytest.raises(ValueError, match=r"temperature must be < curie_temperature \(900 K\), got 900"):
        device(curie_temperature=900.0).thermal_stability(900.0)
    with pytest.raises(ValueError, match=r"interface_anisotropy must be .*> 0 J/m"):
        effective_anisotropy_field(interface_anisotropy=-1, saturation_magnetization=1e6, diameter=1e-8, thickness=1e-9)
    channel = {"diameter": 5e-8, "channel_width": 1e-7, "channel_thickness": 3e-9}
    with pytest.raises(ValueError, match=r"spin_hall_angle must be .*> 0, got -0.3. Its sign is that of the polarizer"):
        spin_hall_efficiency(spin_hall_angle=-0.3, **channel)
    for name in channel:
        with pytest.raises(ValueError, match=f"{name} must be .*> 0 m, got 0"):
            spin_hall_efficiency(spin_hall_angle=0.3, **(channel | {name: 0.0}))


# ---- files --------------------------------------------------------------------------------

FILE = """\
title = "mine"
[device]
diameter = "40nm"
thickness = "1.3 nm"
saturation_magnetization = "1.1 MA/m"
anisotropy_field = "270 mT"
damping = 0.01
spin_torque_efficiency = 0.6
resistance_area_product = "10 ohm um^2"
tunnel_magnetoresistance = 1
"""
EFFECTIVE_FILE = """\
[effective]
thermal_stability = 60
critical_current = "30 uA"
characteristic_time = "2 ns"
tmr_half_voltage = "500 mV"
"""


def read(tmp_path, text):
    path = tmp_path / "junction.toml"
    path.write_text(text, "utf-8")
    return load_device(path)


def test_device_file(tmp_path):
    content = read(tmp_path, FILE)
    assert content.device == device()
    assert content.title == "mine"


def test_effective_file(tmp_path):
    assert read(tmp_path, EFFECTIVE_FILE).device == MTJ.from_effective(**EFFECTIVE, tmr_half_voltage=0.5)


def test_vectors_with_units(tmp_path):
    d = read(tmp_path, FILE + 'stray_field = [0, "0 T", "20 mT"]\npolarizer = [0, 0, -1]\n').device
    assert d.stray_field == (0, 0, 0.02)
    assert d.polarizer == (0, 0, -1)


def test_interface_anisotropy_in_a_file(tmp_path):
    text = FILE.replace('anisotropy_field = "270 mT"', 'interface_anisotropy = "1.4 mJ/m^2"')
    given = {"saturation_magnetization": 1.1e6, "diameter": 40e-9, "thickness": 1.3e-9}
    expected = effective_anisotropy_field(interface_anisotropy=1.4e-3, **given)
    assert read(tmp_path, text).device.anisotropy_field == approx(expected, rel=1e-12)


CHANNEL = 'channel_width = "100 nm"\nchannel_thickness = "3 nm"\npolarizer = [0, -1, 0]\n'
SOT_FILE = FILE.replace("spin_torque_efficiency = 0.6", "spin_hall_angle = 0.3") + CHANNEL


def test_channel_in_a_file(tmp_path):
    d = read(tmp_path, SOT_FILE + 'channel_resistance = "667 ohm"\n').device
    assert d.spin_torque_efficiency == approx(0.3 * math.pi / 4 * 1.6e-15 / 3e-16, rel=1e-12)
    assert (d.channel_resistance, d.polarizer) == (667.0, (0, -1, 0))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (SOT_FILE.replace("[0, -1, 0]", "[0, 0, 1]"), "spin_hall_angle needs a polarizer across the channel"),
        (FILE.replace("spin_torque_efficiency = 0.6", "spin_hall_angle = 0.3"), "spin_hall_angle needs a polarizer"),
        (SOT_FILE.replace('channel_width = "100 nm"\n', ""), "channel_width is missing: spin_hall_angle needs it"),
        (SOT_FILE.replace('diameter = "40nm"\n', ""), "diameter is missing: spin_hall_angle needs it to give spin_t"),
        (FILE + CHANNEL, "channel_width and spin_torque_efficiency are two ways to declare one property"),
        (SOT_FILE.replace('"100 nm"', '"100 ns"'), "channel_width must be a .* in m, got '100 ns'"),
        (SOT_FILE.replace("angle = 0.3", "angle = -0.3"), "spin_hall_angle must be .*> 0, got -0.3"),
        (SOT_FILE.replace("[0, -1, 0]", "[0, -2, 0]"), "polarizer must be a unit vector"),
        (SOT_FILE.replace("[0, -1, 0]", "1"), "polarizer must be three numbers"),
        (FILE.replace('"40nm"', '"40 ns"'), "diameter must be a .* in m, got '40 ns'"),
        (FILE.replace('"270 mT"', '"270 kA/m"'), "anisotropy_field must be a .* in T, got '270 kA/m'"),
        (FILE.replace("damping = 0.01\n", ""), "damping is missing"),
        (FILE + "colour = 1\n", "a field of .device. must be one of .* got 'colour'"),
        (FILE.replace('"270 mT"', '"-270 mT"'), "anisotropy_field must be > 0 T, got -0.27"),
        (FILE.replace("0.01", "nan"), "damping must be a finite number"),
        (FILE.replace("0.01", "true"), "damping must be a number or a quantity with a unit, got True"),
        (FILE + 'interface_anisotropy = "1 mJ/m^2"\n', "interface_anisotropy and anisotropy_field are two ways"),
        (FILE + EFFECTIVE_FILE, r"exactly one of the tables \[device\] and \[effective\]"),
        ('title = "nothing"\n', r"exactly one of the tables \[device\] and \[effective\]"),
        ("volume = 1\n" + FILE, "one of .*'device'.*got 'volume'"),
        (FILE.replace("= 0.01", "="), "not valid TOML"),
        (EFFECTIVE_FILE.replace("thermal_stability = 60\n", ""), r"thermal_stability is missing"),
        (EFFECTIVE_FILE + "anisotropy_field = 0.3\n", "anisotropy_field follows from the effective parameters"),
        (EFFECTIVE_FILE + "colour = 1\n", "colour"),
        (EFFECTIVE_FILE.replace('"30 uA"', '"30 uV"'), "critical_current must be a .* in A, got '30 uV'"),
    ],
)
def test_bad_file(tmp_path, text, message):
    """Each names the file, the field and the rule."""
    with pytest.raises(ValueError, match=message) as caught:
        read(tmp_path, text)
    assert "junction.toml" in str(caught.value)


def test_misspelt_field_with_a_unit(tmp_path):
    with pytest.raises(ValueError, match="diamter") as caught:
        read(tmp_path, FILE.replace("diameter", "diamter"))
    assert "Did you mean 'diameter'" in str(caught.value)


def test_device_that_is_no_table(tmp_path):
    with pytest.raises(ValueError, match="device"):
        read(tmp_path, "device = 5\n")


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere.toml.*Presets: .*arm_2021"):
        load_device(tmp_path / "nowhere.toml")


@ODD
@settings(max_examples=30)
@given(values=st.lists(st.floats(1e-12, 1e-3), min_size=6, max_size=6), z=st.floats(-1, 1))
def test_saved_file_gives_the_same_junction_bit_for_bit(tmp_path_factory, values, z):
    names = [n for n in REQUIRED if n not in ("damping", "tunnel_magnetoresistance")]
    original = device(
        **dict(zip(names, values, strict=True)), stray_field=(0.1 + 0.2, 1 / 3, z), tmr_half_voltage=1 / 7
    )
    path = tmp_path_factory.mktemp("saved") / "junction.toml"
    save_device(original, path, title='a "quoted" \\ title')
    back = load_device(path)
    assert back.device == original
    assert back.device.identity == original.identity
    assert back.title == 'a "quoted" \\ title'
    assert [p.name for p in path.parent.iterdir()] == ["junction.toml"]


def test_numpy_numbers_are_saved_as_numbers(tmp_path):
    original = device(diameter=np.float64(41e-9), stray_field=(np.float64(0), np.float32(0), np.float64(0.01)))
    save_device(original, tmp_path / "junction.toml")
    assert load_device(tmp_path / "junction.toml").device.identity == original.identity


# ---- presets --------------------------------------------------------------------------------


def test_unknown_preset_lists_the_near_ones():
    with pytest.raises(ValueError, match=r"preset must be one of .*'arm_2021'.*got 'arm2021'. Did you mean 'arm_2021'"):
        load_preset("arm2021")
    assert list_presets() == sorted(list_presets())


@pytest.mark.parametrize("name", list_presets())
def test_preset_is_sane_and_sourced(name):
    content = preset_file(name)
    d = content.device
    assert d == load_preset(name)
    assert 20 < d.thermal_stability() < 200
    assert 1e-6 < d.critical_current() < 2e-3  # the largest turns over a layer of spin-orbit torque
    assert 1e-11 < d.characteristic_time() < 1e-8
    assert 1e2 < d.resistance_p < 1e6
    assert content.reference
    assert content.not_modelled
    assert all(content.not_modelled)
    declared = tomllib.loads(files("mtjsim").joinpath("presets", f"{name}.toml").read_text("utf-8"))
    numbers = declared.get("device", declared.get("effective"))
    assert set(content.provenance) == set(numbers), "every number says where it comes from, and nothing else does"
    for field, source in content.provenance.items():
        assert source.split(":")[0] in {"read", "derived", "assumed"}, field
        assert source.split(":", 1)[1].strip(), field


@pytest.mark.parametrize("name", list_presets())
def test_preset_says_its_kind_first(name):
    """The title begins with what writes the junction, and the declaration agrees."""
    content = preset_file(name)
    d, kinds = content.device, set(content.title.split(": ")[0].split("+"))
    assert kinds
    assert kinds <= {"STT", "SOT", "VCMA"}
    assert ("SOT" in kinds) == (d.channel_resistance is not None) == (d.polarizer[2] == 0)
    assert ("VCMA" in kinds) == (d.vcma_coefficient != 0) == (d.barrier_thickness is not None)
    if kinds == {"STT"}:
        assert 0 < write_error_rate(d, current=3 * d.critical_current(), pulse_width=3 * d.characteristic_time()) < 0.1


def test_there_is_a_preset_of_every_kind():
    kinds = [preset_file(name).title.split(": ")[0] for name in list_presets()]
    assert len(kinds) >= 8
    assert all(sum(kind in said for said in kinds) >= 3 for kind in ("STT", "SOT", "VCMA"))


def driven(d, current, duration, step=1e-12):
    """m after a rectangular pulse of signed current at T = 0, by the midpoint rule on dm/dt = W x m, from near +-z."""
    t = torque_of(d, 300.0)
    (Bx, By, Bz), p, a = t.field, t.polarizer, t.per_ampere * current

    def slope(m):
        along_z = Bz + t.anisotropy_field * m[2]
        return t.rate * np.cross(rotation.py_func(*m, Bx, By, along_z, a, *p, t.damping, t.field_like_ratio), m)

    m = np.array([0.1, 0.0, math.copysign(0.99**0.5, -current)])  # I < 0 writes P->AP, so it starts in P
    for _ in range(round(duration / step)):
        m = m + step * slope(m + step / 2 * slope(m))
        m /= np.linalg.norm(m)
    return m


@pytest.mark.parametrize("name", ["beihang_vgsot_2020", "umn_sot_2017", "w_sot_80nm"])
@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_positive_current_in_the_channel_favours_p(name, sign):
    """Twice the threshold a_J = B_k/2 lays m along sign(I) p, tilted by the field to where that current writes.

    I > 0 toward P (m_z > 0), I < 0 toward AP, as in every junction here; with the field turned over, the other way.
    """
    d = load_preset(name)
    current = sign * d.anisotropy_field / torque_of(d, 300.0).per_ampere
    for turned in (1.0, -1.0):
        m = driven(d.replace(stray_field=(turned * d.stray_field[0], 0.0, 0.0)), current, duration=1e-9)
        assert sign * m @ np.array(d.polarizer) > 0.9
        assert sign * turned * m[2] > 0.01


def test_effective_preset_meets_the_point_it_was_read_from():
    d = load_preset("ibm_11nm_2016")
    for direction in ("p_to_ap", "ap_to_p"):
        rate = write_error_rate(d, current=7.5e-6, pulse_width=10e-9, direction=direction)
        assert rate == approx(7e-10, rel=1e-3)


def test_read_figures_of_the_sot_presets():
    """Channel resistances and R_P that their sources print beside the numbers they follow from."""
    w, uta, gated = (load_preset(name) for name in ("w_sot_80nm", "ut_austin_sot", "beihang_vgsot_2020"))
    assert w.channel_resistance == approx(278e-8 * 240e-9 / (200e-9 * 4.3e-9), rel=1e-3)
    assert w.resistance_p == approx(4.9e3, rel=0.03)
    assert w.spin_torque_efficiency == approx(0.14 * math.pi / 4 * 65**2 / (200 * 4.3), rel=1e-12)
    assert uta.channel_resistance == approx(200e-8 * 100e-9 / (100e-9 * 3e-9), rel=1e-4)
    assert gated.channel_resistance == approx(278e-8 * 60e-9 / (50e-9 * 3e-9), rel=1e-12)


def test_derived_numbers_of_the_minnesota_presets():
    """Ms0 (1 - T/1420)^0.4, P0 (1 - 2e-5 T^1.5), mu0 Ms^2 tc/2 and the disc of the square's area, written out."""
    for name, side, Ms0, P0 in [("umn_ipmtj_2015", 65e-9, 1.21e6, 0.69), ("umn_vcma_2018", 70e-9, 0.95e6, 0.54)]:
        d = load_preset(name)
        Ms, P = Ms0 * (1 - 300 / 1420) ** 0.4, P0 * (1 - 2e-5 * 300**1.5)
        K = mu_0 * Ms**2 * 1.5e-9 / 2
        given = {"saturation_magnetization": Ms, "diameter": d.diameter, "thickness": d.thickness}
        assert d.area == approx(side**2, rel=1e-4)
        assert d.saturation_magnetization == approx(Ms, rel=1e-5)
        expected = effective_anisotropy_field(interface_anisotropy=K, **given)
        assert d.anisotropy_field == approx(expected, rel=1e-3)
        assert d.spin_torque_efficiency == approx(0.8 * P, rel=1e-4)
        upright = d.replace(stray_field=(0.0, 0.0, 0.0))  # the field in the plane tilts the layer against p
        assert upright.critical_current("p_to_ap") == approx(1.5 * upright.critical_current("ap_to_p"), rel=1e-12)
        assert d.critical_current("p_to_ap") == approx(1.5 * d.critical_current("ap_to_p"), rel=0.03)
        assert d.tunnel_magnetoresistance == approx(2 * P**2 / (1 - P**2), rel=1e-4)
    sot = load_preset("umn_sot_2017")
    spin = 0.4 * (1 - 1 / math.cosh(5 / 3.5))
    assert sot.spin_torque_efficiency == approx(spin * (45e-9) ** 2 / (45e-9 * 5e-9), rel=1e-4)
    assert sot.channel_resistance == approx(2000e-9 * 60e-9 / (45e-9 * 5e-9), rel=1e-3)
    assert sot.saturation_magnetization == approx(1.145e6 * (1 - 300 / 1420) ** 0.4, rel=1e-4)


def test_read_figure_of_the_ut_austin_stack():
    assert load_preset("ut_austin_pmtj").resistance_p == approx(5e3, rel=1e-3)


# ---- units --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "unit", "value"),
    [
        ("40nm", "m", 4e-8),
        ("40 nm", "m", 4e-8),
        ("60uA", "A", 6e-5),
        ("60µA", "A", 6e-5),
        ("5 ns", "s", 5e-9),
        ("200 ps", "s", 2e-10),
        ("0.27 T", "T", 0.27),
        ("20 mT", "T", 0.02),
        ("1.1 MA/m", "A/m", 1.1e6),
        ("61 fJ/(V m)", "J/(V m)", 6.1e-14),
        ("18 Ohm um^2", "ohm m^2", 1.8e-11),
        ("0.03um^2", "m^2", 3e-14),
        ("5 kOhm", "ohm", 5e3),
        ("300 K", "K", 300.0),
        ("1e-9", "s", 1e-9),
        (5, "s", 5.0),
        ("-3", "", -3.0),
    ],
)
def test_to_si(text, unit, value):
    assert to_si(text, unit) == value


@pytest.mark.parametrize(
    ("text", "unit"),
    [("40 ns", "m"), ("40", None), ("abc", "m"), ("", "m"), ("5 m", ""), ("100 Oe", "T"), ("5 nn", "m"), (True, "m")],
)
def test_to_si_refuses(text, unit):
    if unit is None:
        assert to_si(text, "m") == 40.0  # a bare number is in the unit already
        return
    with pytest.raises(ValueError, match="diameter must be") as caught:
        to_si(text, unit, name="diameter")
    assert str(text) in str(caught.value)


def test_any_text_survives_a_device_file(tmp_path):
    """Control characters in a title, spaces and quotes in a name of the provenance."""
    path = tmp_path / "odd.toml"
    save_device(device(), path, title='bell\x07, "quoted", back\\slash, \x7f', provenance={"a b": "said \n twice"})
    read = load_device(path)
    assert read.device == device()
    assert read.title == 'bell\x07, "quoted", back\\slash, \x7f'
    assert read.provenance == {"a b": "said \n twice"}


def test_a_device_file_in_usual_units_gives_every_bit_back():
    """300 junctions of random numbers, with 15 digits and with all: each is read back equal."""
    random = np.random.default_rng(1)
    for digits in (3, 15, 17):
        for _ in range(100):
            scaled = [float(f"{x:.{digits}g}") for x in random.uniform(0.5, 2.0, 9)]
            a, b, c, d, e, f, g, h, i = scaled
            device = MTJ(
                diameter=a * 4e-8,
                thickness=b * 1e-9,
                saturation_magnetization=c * 1e6,
                anisotropy_field=d * 0.3,
                damping=e * 0.01,
                spin_torque_efficiency=0.3 * f,
                resistance_area_product=g * 1e-11,
                tunnel_magnetoresistance=h,
                vcma_coefficient=i * 6e-14,
                stray_field=(a * 0.01, 0.0, -b * 0.01),
            )
            assert parse_device(device_toml(device), where="text").device == device
