"""Barriers and thresholds of layers with fields, a second axis, any polarizer: against grids, integrals and counts."""

import math

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.ndimage import label

from mtjsim import MTJ, load_preset, simulate_writes, switching_probability
from mtjsim.stability import barrier_height, threshold
from mtjsim.torques import rotation, torque_of
from physics import approx, junction

LAYER = MTJ(
    diameter=50e-9,
    thickness=1.1e-9,
    saturation_magnetization=8e5,
    anisotropy_field=0.35,
    damping=0.02,
    spin_torque_efficiency=0.6,
    resistance_area_product=5e-12,
    tunnel_magnetoresistance=1.0,
)
B_K = LAYER.anisotropy_field


# ---- barriers -------------------------------------------------------------------------------------------------------


def by_flooding(b, k_2, side, n=400):
    """Lowest level at which both wells are one region of a grid on the sphere, above the well of one side."""
    theta = np.pi * (np.arange(n) + 0.5) / n
    z = np.cos(theta)
    phi = 2 * np.pi * np.arange(2 * n) / (2 * n)
    r = np.sin(theta)[:, None]
    x, y, z = np.broadcast_arrays(r * np.cos(phi), r * np.sin(phi), z[:, None])
    e = -(z**2 + k_2 * x**2) / 2 - b[0] * x - b[1] * y - b[2] * z
    wells = [np.unravel_index(np.where(s * z > 0.7, e, np.inf).argmin(), e.shape) for s in (1, -1)]
    low, high = e.min(), e.max()
    while high - low > 1e-5:
        level = (low + high) / 2
        regions, _ = label(np.tile(e <= level, 2))  # twice around, for the seam
        ids = [regions[w[0], w[1] + shift] for w in wells for shift in (0, 2 * n)]
        joined = 0 not in ids and len({*ids[:2]} & {*ids[2:]}) > 0
        low, high = (low, level) if joined else (level, high)
    return high - e[wells[0] if side > 0 else wells[1]]


CASES = [
    ((0.0, 0.0, 0.0), 0.5),
    ((0.0, 0.0, 0.0), -0.5),
    ((0.3, 0.0, 0.0), 0.0),
    ((0.0, 0.25, 0.1), 0.4),
    ((0.2, 0.1, -0.1), 0.3),
    ((-0.1, 0.3, 0.15), -0.6),
    ((0.05, 0.0, 0.5), 0.0),
]


@pytest.mark.parametrize(("b", "k_2"), CASES)
@pytest.mark.parametrize("side", [1.0, -1.0])
def test_the_barrier_is_the_lowest_pass_of_the_energy(b, k_2, side):
    """The grid is good to 1e-3 of a barrier of 0.5 or so."""
    assert barrier_height(b, k_2, side) == approx(by_flooding(b, k_2, side), abs=1e-3)


def test_thermal_stability_is_that_of_the_declared_layer():
    bare = LAYER.thermal_stability()
    assert bare == approx(73.004, abs=1e-3)
    assert LAYER.replace(in_plane_anisotropy_field=0.5 * B_K).thermal_stability() == approx(bare / 2, rel=1e-12)
    assert LAYER.replace(in_plane_anisotropy_field=-0.5 * B_K).thermal_stability() == approx(bare, rel=1e-12)
    for angle in (0.0, 0.7, math.pi / 2):
        field = (0.2 * B_K * math.cos(angle), 0.2 * B_K * math.sin(angle), 0.0)
        assert LAYER.replace(stray_field=field).thermal_stability() == approx(bare * 0.8**2, rel=1e-9)
    opposed = LAYER.replace(stray_field=(0.0, 0.0, -0.1 * B_K))
    assert opposed.thermal_stability() == bare
    assert opposed.thermal_stability(state="p") == approx(bare * 0.9**2, rel=1e-12)
    assert opposed.thermal_stability(state="ap") == approx(bare * 1.1**2, rel=1e-12)


def test_rounding_of_a_field_changes_no_figure():
    rounded = LAYER.replace(stray_field=(6e-17, 0.0, 0.0), in_plane_anisotropy_field=1e-18)
    assert rounded.thermal_stability() == LAYER.thermal_stability()
    assert rounded.critical_current() == LAYER.critical_current()
    write = {"current": 1e-4, "pulse_width": 5e-9}
    assert switching_probability(rounded, **write) == switching_probability(LAYER, **write)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"in_plane_anisotropy_field": 0.36}, "in_plane_anisotropy_field of 0.36 T .* no two stable states"),
        ({"in_plane_anisotropy_field": 0.35}, "in_plane_anisotropy_field of 0.35 T .* no two stable states"),
        ({"stray_field": (0.36, 0.0, 0.0)}, "stray_field .* no two stable states"),
    ],
)
def test_a_layer_without_two_states_has_no_barrier(changes, message):
    lone = LAYER.replace(**changes)
    for figure in (lone.thermal_stability, lone.critical_current):
        with pytest.raises(ValueError, match=message):
            figure()
    with pytest.raises(ValueError, match=r"stray_field .* no two stable states"):
        LAYER.replace(stray_field=(0.0, 0.0, 0.36)).thermal_stability(state="p")


def test_trajectories_cross_the_lowered_barrier():
    """Delta 14, B_k2 = B_k/2, 20 ns at rest: 7 kT. 2,000 trials, of which 26 switch; without B_k2 0.02 would.

    Any other seed has 6 or fewer with probability 1e-6, and more than 60 with less.
    """
    small = junction(14, damping=0.05)
    half = small.replace(in_plane_anisotropy_field=small.anisotropy_field / 2)
    rest = {"current": 0.0, "pulse_width": 20e-9, "trials": 2000, "seed": 4}
    switched = rest["trials"] - simulate_writes(half, **rest).errors
    assert half.thermal_stability() == approx(7.0)
    assert 6 < switched < 60
    assert simulate_writes(small, **rest).errors > rest["trials"] - 3


@pytest.mark.slow
@pytest.mark.parametrize(("b", "k_2"), [((0.0, 0.0, 0.0), 0.5), ((0.25, 0.0, 0.0), 0.0), ((0.1, 0.1, -0.1), 0.3)])
def test_escape_on_the_full_sphere_follows_the_barrier(b, k_2):
    """ln rate against Ms V at equal fields, from Delta 26 to 32: the slope is the barrier, but for a prefactor.

    A prefactor as sqrt(Delta) is 0.017 in the slope; without B_k2 and field it would be 1 instead of about 0.5.
    """
    base = junction(26, damping=0.1)
    field = tuple(base.anisotropy_field * x for x in b)
    base = base.replace(stray_field=field, in_plane_anisotropy_field=k_2 * base.anisotropy_field)

    def rate(factor):
        layer = base.replace(saturation_magnetization=factor * base.saturation_magnetization)
        early, late = (switching_probability(layer, current=0.0, pulse_width=t) for t in (4e-9, 12e-9))
        return (late - early) / 8e-9

    slope = -(math.log(rate(32 / 26)) - math.log(rate(1.0))) / 6
    assert slope == approx(base.thermal_stability(state="p") / 26, abs=0.03)


# ---- thresholds -----------------------------------------------------------------------------------------------------


def after_long(device, share, direction="p_to_ap"):
    """m_z, at T = 0, from near the well, while the current rises slowly to a share of the critical one, and stays."""
    t, side = torque_of(device, 300.0), 1.0 if direction == "p_to_ap" else -1.0
    a = -side * t.per_ampere * share * device.critical_current(direction)
    static = device.replace(stray_field=(*device.stray_field[:2], 0.0)).stray_field

    rise = 20 * device.characteristic_time()

    def slope(time, m):
        m = m / np.linalg.norm(m)
        B = m * [t.in_plane_anisotropy_field, 0, t.anisotropy_field] + np.array(static)
        g = a * min(1.0, time / rise) / (1 + t.asymmetry * (m @ np.array(t.polarizer)))
        W = np.array(rotation.py_func(*m, *B, g, *t.polarizer, t.damping, t.field_like_ratio))
        return t.rate * np.cross(W, m)

    m = np.array([0.0, 0.0, side])
    for span in ((0, rise), (rise, 4 * rise)):  # displaced a little at the start of each
        m = m / np.linalg.norm(m) + np.array([0.02, 0.01, 0.0])
        solved = solve_ivp(slope, span, m / np.linalg.norm(m), rtol=1e-6, atol=1e-8, method="LSODA")
        m = solved.y[:, -1]
    return side * solved.y[2]


def torqued(**changes):
    return LAYER.replace(damping=0.1, **changes)


THRESHOLDS = {
    "second axis": torqued(in_plane_anisotropy_field=0.4 * B_K),
    "field in the plane": torqued(stray_field=(0.1 * B_K, 0.05 * B_K, 0.0)),
    "tilted polarizer": torqued(polarizer=(0.6, 0.0, 0.8), spin_torque_asymmetry=0.3),
    "spin-orbit": torqued(polarizer=(0.0, 1.0, 0.0), stray_field=(0.08 * B_K, 0.0, 0.0)),
    "spin-orbit with field-like": torqued(
        polarizer=(0.0, 1.0, 0.0), stray_field=(0.08 * B_K, 0.0, 0.0), field_like_ratio=0.8
    ),
}


@pytest.mark.parametrize("name", THRESHOLDS)
def test_a_layer_leaves_its_state_above_the_critical_current_only(name):
    """At 0.95 and 1.15 of it, integrated from the equation of motion: it stays, or it leaves the side."""
    device = THRESHOLDS[name]
    assert after_long(device, 0.95).min() > 0.3
    assert after_long(device, 1.15).min() < 0.1


def test_thresholds_that_are_known():
    """1/p_z for a tilt, 1 - k_2/2 for a second axis (damping acts on the mean field), Lee's for spin-orbit torque."""
    rest = {"second": 0.0, "side": 1.0, "asymmetry": 0.0, "damping": 0.02, "beta": 0.0}
    none = (0.0, 0.0, 0.0)
    assert threshold(none, polarizer=(0.0, 0.6, 0.8), **rest) == approx(0.02 / 0.8, rel=1e-3)
    assert threshold(none, polarizer=(0.0, 0.0, 1.0), **(rest | {"second": 0.5})) == approx(0.75 * 0.02, rel=1e-6)
    upright = {"polarizer": (0.0, 0.0, 1.0), **(rest | {"asymmetry": 0.3})}
    assert threshold((0.0, 0.0, -0.3), **upright) == approx(0.7 * 1.3 * 0.02, rel=1e-6)
    for h_x in (0.0, 0.02, 0.05):
        lee = 0.5 - h_x / math.sqrt(2)
        assert threshold((h_x, 0.0, 0.0), polarizer=(0.0, 1.0, 0.0), **rest) == approx(lee, abs=0.2 * h_x**2 + 1e-6)


def test_the_figure_has_no_jump_where_a_device_stops_being_axisymmetric():
    for small in ({"stray_field": (1e-5, 0.0, 0.0)}, {"polarizer": (1e-4, 0.0, math.sqrt(1 - 1e-8))}):
        near = LAYER.replace(spin_torque_asymmetry=0.3, **small)
        straight = LAYER.replace(spin_torque_asymmetry=0.3)
        for direction in ("p_to_ap", "ap_to_p"):
            assert near.critical_current(direction) == approx(straight.critical_current(direction), rel=1e-4)
        assert near.thermal_stability() == approx(straight.thermal_stability(), rel=1e-4)


def test_mirrored_directions_have_the_asymmetry():
    """A turn by pi about y leaves p = y and exchanges the states: both directions alike, with lambda too."""
    sot = load_preset("w_sot_80nm").replace(stray_field=(0.0, 0.0, 0.0))
    assert sot.critical_current("p_to_ap") == approx(sot.critical_current("ap_to_p"), rel=1e-6)
    tilted = torqued(polarizer=(0.6, 0.0, 0.8), spin_torque_asymmetry=0.3)
    assert tilted.critical_current("p_to_ap") > 1.3 * tilted.critical_current("ap_to_p")


def test_a_state_that_no_current_turns_over_is_refused():
    """With a strong field-like torque the layer follows the field into the plane, and is stable all the way."""
    with pytest.raises(ValueError, match=r"polarizer .* field-like ratio of 5 leaves the p state stable"):
        LAYER.replace(polarizer=(0.0, 1.0, 0.0), field_like_ratio=5.0).critical_current()
