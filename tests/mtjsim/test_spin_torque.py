"""The sense of a write current, and efficiencies from polarizations. Everything but the counts is deterministic."""

import math

import numpy as np
import pytest

from mtjsim import (
    MTJ,
    junction_conductance,
    load_preset,
    rare_write_errors,
    simulate_writes,
    tunnel_spin_torque,
    write_error_rate,
)
from mtjsim.fokker_planck.oblique import oblique_write
from mtjsim.spin_torque import current_sense, write_sense
from mtjsim.torques import torque_of
from physics import approx, junction

NOISE = (0.0, math.cos(math.pi / 2), -math.cos(math.pi / 2))
SOT = load_preset("umn_sot_2017").replace(stray_field=(0.08, 0.0, 0.0), damping=0.1)


def tilted(device, p_z, p_y=1.0):
    return device.replace(polarizer=(0.0, p_y * math.sqrt(1 - p_z**2), p_z))


WRITE = {"current": 1.5e-3, "pulse_width": 1e-9, "relax_time": 2e-9}


def test_rounding_of_the_polarizer_leaves_the_counts_alone():
    """512 writes with one seed: the same count for p_z = 0 and for what cos(pi/2) leaves of it, of either sign."""
    errors = {simulate_writes(tilted(SOT, p_z), trials=512, seed=1, **WRITE).errors for p_z in NOISE}
    assert len(errors) == 1


def test_rounding_of_the_polarizer_is_no_direction_without_a_field():
    """Nothing else decides then: a p_z of 6e-17 would."""
    free = SOT.replace(stray_field=(0.0, 0.0, 0.0))
    assert {current_sense(tilted(free, p_z)) for p_z in NOISE} == {1.0}


def test_a_small_tilt_of_the_polarizer_changes_a_count_a_little():
    """2,048 writes a point with one seed; a reversed current would differ by 0.15, thirteen standard errors."""
    down, flat, up = (
        simulate_writes(tilted(SOT, p_z), trials=2048, seed=1, **WRITE).rate for p_z in (-1e-2, 0.0, 1e-2)
    )
    assert abs(down - flat) < 0.03
    assert abs(up - flat) < 0.03


@pytest.mark.parametrize("p_z", [*NOISE, 1e-2, -1e-2])
def test_every_method_takes_the_polarizer_of_the_torque(p_z):
    """Sphere, trajectories and splitting start from one `Torque`; its p is the declared one."""
    device = tilted(SOT, p_z)
    assert torque_of(device, 300.0).polarizer == device.polarizer
    write = oblique_write(device, "p_to_ap", 1e-3, 300.0, 0.0, 0.0)
    assert write.torque.polarizer == device.polarizer
    assert write.drive.constant < 0


@pytest.mark.slow
def test_rounding_of_the_polarizer_leaves_the_full_sphere_alone():
    small = junction(12, damping=0.15, polarizer=(0.0, 1.0, 0.0), stray_field=(0.01, 0.0, 0.0))
    write = {"current": 40 * 30e-6, "pulse_width": 0.2e-9}
    rates = [write_error_rate(tilted(small, p_z), **write) for p_z in NOISE]
    assert max(rates) - min(rates) < 1e-9
    assert 0.01 < rates[0] < 0.99


@pytest.mark.slow
def test_rounding_of_the_polarizer_leaves_splitting_alone():
    """Up to rounding: a p_z of 6e-17 is a term of the torque."""
    rates = [rare_write_errors(tilted(SOT, p_z), seed=1, trajectories=1024, repeats=4, **WRITE).rate for p_z in NOISE]
    assert rates == approx([rates[0]] * 3, rel=1e-9)


def test_a_polarizer_along_the_axis_has_the_sense_of_its_sign():
    for p_z in (1.0, 0.6, -0.6, -1.0):
        assert current_sense(tilted(SOT, p_z)) == math.copysign(1.0, p_z)
        assert write_sense(tilted(SOT, p_z)) == 1.0


def test_without_a_field_the_tilt_decides_and_p_and_minus_p_are_one_junction():
    free = SOT.replace(stray_field=(0.0, 0.0, 0.0), spin_torque_asymmetry=0.3)
    up, down = tilted(free, 0.1), tilted(free, -0.1, p_y=-1.0)
    assert (current_sense(up), current_sense(down)) == (1.0, -1.0)
    assert (write_sense(up), write_sense(down)) == (1.0, 1.0)
    one, other = torque_of(up, 300.0), torque_of(down.replace(spin_torque_asymmetry=-0.3), 300.0)
    assert np.array(one.polarizer) == approx(np.array(other.polarizer))
    assert one.asymmetry == other.asymmetry


def test_a_tilt_that_competes_with_the_field_is_refused_with_the_way_out():
    device = tilted(SOT, -0.25)
    with pytest.raises(ValueError, match=r"p_z < 0 that competes with stray_field .*Declare \(0\.0, -0\.9.*, 0\.25\)"):
        simulate_writes(device, trials=10, seed=1, **WRITE)
    assert current_sense(device.replace(polarizer=tuple(-x for x in device.polarizer))) == 1.0


@pytest.mark.parametrize("field", [0.08, -0.08])
@pytest.mark.parametrize("p_y", [1.0, -1.0])
def test_the_field_across_the_polarizer_decides_what_is_driven(field, p_y):
    """Strong writes: 400 trials at a damping of 0.1; the driven state is reached by more than 0.5 + 5 standard errors.

    Measured 0.57 without field-like torque, so the field is 40 % of B_k here: about 0.9.
    """
    device = tilted(SOT, 0.0, p_y).replace(stray_field=(math.copysign(0.2, field), 0.0, 0.0))
    assert write_sense(device) == math.copysign(1.0, field * p_y)
    reached = 1 - simulate_writes(device, trials=400, seed=2, **WRITE).rate
    assert (reached - 0.5) * write_sense(device) > 0.125


def test_a_field_along_the_polarizer_decides_nothing():
    turned = [(0.08 * math.cos(a), 0.08 * math.sin(a), 0.0) for a in (0.3, 1.0, 2.5)]
    for field in turned:
        p = tuple(np.array(field) / 0.08)
        assert write_sense(SOT.replace(polarizer=p, stray_field=field)) == 0.0


# ---- polarization ---------------------------------------------------------------------------------------------------


def test_slonczewskis_torque_at_a_voltage_is_the_same_at_every_angle():
    """Per ampere eta/(1 + lambda cos), per volt times the conductance 1 + P^2 cos, with Julliere's TMR."""
    P = 0.6
    efficiency = tunnel_spin_torque(polarization=P)
    tmr = 2 * P * P / (1 - P * P)
    device = MTJ(
        diameter=40e-9,
        thickness=1.3e-9,
        saturation_magnetization=1.1e6,
        anisotropy_field=0.27,
        damping=0.01,
        resistance_area_product=10e-12,
        tunnel_magnetoresistance=tmr,
        **efficiency,
    )
    m_z = np.linspace(-1, 1, 9)
    per_volt = junction_conductance(device, m_z=m_z, voltage=0.1) / (1 + device.spin_torque_asymmetry * m_z)
    assert per_volt == approx(np.full(9, per_volt[0]), rel=1e-12)
    ratio = device.critical_current("p_to_ap") / device.critical_current("ap_to_p")
    assert ratio == approx((1 + P * P) / (1 - P * P), rel=1e-12)


def test_two_electrodes():
    both = tunnel_spin_torque(polarization=0.6, free_layer_polarization=0.5)
    assert both == {"spin_torque_efficiency": 0.6, "spin_torque_asymmetry": approx(0.3)}


@pytest.mark.parametrize("wrong", [60, 0.0, -0.6, 1.0, math.nan, "0.6"])
def test_a_polarization_is_a_fraction(wrong):
    with pytest.raises(ValueError, match="polarization must be"):
        tunnel_spin_torque(polarization=wrong)
