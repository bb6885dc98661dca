"""The full sphere: its operators, its exponential, its physics against other roads, what it refuses.

Golden writes are in test_golden.py. The promise is 1e-4 at any probability above 1e-10; where a test holds more, it is
because the solver does.
"""

import math
import re
import sys
import time
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.linalg import expm
from scipy.sparse import csr_array
from tqdm import tqdm

from mtjsim import dissipated_energy, switching_probability, write_error_rate
from mtjsim.fokker_planck import oblique, spherical
from mtjsim.fokker_planck.chebyshev import Flow, ellipse, field_of_values, flow_of, propagate, steps
from mtjsim.fokker_planck.harmonics import MARGIN, Harmonics, Operator
from mtjsim.fokker_planck.oblique import ROUNDING, oblique_write, settled, solve
from mtjsim.fokker_planck.spherical import DriveTerms, Resolution, SphericalSolver, generators
from mtjsim.pulse import Pulse
from mtjsim.torques import rotation, torque_of
from physics import approx
from physics import small_junction as junction

TILTED = (math.sin(0.3), 0.0, math.cos(0.3))


WRITE = {"current": 6e-5, "pulse_width": 1.5e-9}  # 1.9 I_c0 and 2.6 tau_D: about one write in ten fails


def rate(changes=None, **arguments):
    return write_error_rate(junction(**(changes or {})), **(WRITE | arguments))


def solver(device=None, resolution=None, **arguments):
    given = {"direction": "p_to_ap", "level": 6e-5, "temperature": 300.0, "rise_time": 0.0, "relax_time": 0.0}
    write = oblique_write(device or junction(stray_field=(0.02, 0.0, 0.0)), **(given | arguments))
    return SphericalSolver(write, resolution or write.resolution(1e-8))


def fixed(changes, size=36, **arguments):
    """A rate on a basis of one size, which is what a symmetry compares."""
    return solver(junction(**changes), Resolution(size, size, 1.0), **arguments).stayed(np.array([1.5e-9]))[0]


# ---- functions as operators -----------------------------------------------------------------------------------------


def inner(harmonics, margin=MARGIN):
    return Harmonics(harmonics.degree - margin, harmonics.order - margin).among(harmonics)


def difference(one, other, keep):
    one, other = (csr_array(getattr(matrix, "matrix", matrix)) for matrix in (one, other))
    return abs(one - other)[keep][:, keep].max()


def on_the_sphere(harmonics, function):
    return sum(harmonics.hemisphere(side, function) for side in (1.0, -1.0))


def test_coordinates_multiply_as_numbers_do():
    harmonics = Harmonics(14, 14)
    keep = inner(harmonics)
    x, y, z = harmonics.coordinates()
    one = Operator(np.eye(harmonics.size))
    assert difference(x * x + y * y + z * z, one, keep) < 1e-14
    assert difference(x * y, y * x, keep) < 1e-14
    assert difference(2 * x - (x + 1) + 1 - x / 1, 0 * x, keep) < 1e-14
    assert difference(3 - x, -(x - 3), keep) < 1e-14
    assert difference(harmonics.polar_function(lambda u: 1 / (1 + 0.3 * u)) * (1 + 0.3 * z), one, keep) < 1e-5
    wide = Harmonics(40, 14)  # the truncated product is wrong near the last degree only
    exact = wide.polar_function(lambda u: 1 / (1 + 0.3 * u)) * (1 + 0.3 * wide.coordinates()[2])
    assert difference(exact, np.eye(wide.size), Harmonics(10, 10).among(wide)) < 1e-11


def test_products_are_those_of_the_functions():
    harmonics = Harmonics(24, 20)
    x, y, z = harmonics.coordinates()

    def smooth(x, y, z):
        return np.exp(0.3 * x - 0.2 * y + 0.5 * z)

    product = (x * y + 0.5 * z).matrix @ on_the_sphere(harmonics, smooth)
    expected = on_the_sphere(harmonics, lambda x, y, z: (x * y + 0.5 * z) * smooth(x, y, z))
    assert product[inner(harmonics)] == approx(expected[inner(harmonics)], abs=1e-13)


def test_rotations():
    """R = m x grad: R_z x = -y and cyclic, antisymmetric, [R_x, R_y] = -R_z, R.R the Laplacian."""
    harmonics = Harmonics(9, 9)
    keep = inner(harmonics, 2)
    R, m = harmonics.rotations(), harmonics.coordinates()
    for i in range(3):
        j, k = (i + 1) % 3, (i + 2) % 3
        assert difference(R[i] @ m[j].matrix - m[j].matrix @ R[i], -m[k], keep) < 1e-13
        assert difference(R[i] @ R[j] - R[j] @ R[i], -R[k], keep) < 1e-13
        assert abs(R[i] + R[i].T).max() < 1e-13
    assert difference(sum(r @ r for r in R), harmonics.laplacian(), keep) < 1e-12


def test_generator_is_the_torque_at_every_point():
    """B f of f = x y + z^2 against W x m . grad f + D Laplacian f with W from the scalar function, as one reads it."""
    device = junction(
        stray_field=(0.02, -0.01, 0.03),
        in_plane_anisotropy_field=0.03,
        polarizer=(0.6, 0.48, 0.64),
        field_like_ratio=0.4,
    )
    t, drive, level = torque_of(device, 300.0), DriveTerms(0.03, 0.01, -0.02), 0.7

    def moved(x, y, z):
        a = level * (drive.constant + drive.linear * z)
        B_k = t.anisotropy_field + level * drive.anisotropy
        B = (t.field[0] + t.in_plane_anisotropy_field * x, t.field[1] + 0 * x, t.field[2] + B_k * z)
        W = rotation.py_func(x, y, z, *B, a, *t.polarizer, t.damping, t.field_like_ratio)
        velocity = t.rate * np.cross(np.stack(W), np.stack([x, y, z]), axis=0)
        laplacian = -6 * (x * y + z**2) + 2
        return velocity[0] * y + velocity[1] * x + velocity[2] * 2 * z + t.diffusion * laplacian

    harmonics = Harmonics(12, 12)
    still, driven = generators(t, drive, harmonics)
    f = on_the_sphere(harmonics, lambda x, y, z: x * y + z**2)
    expected = on_the_sphere(harmonics, moved)
    assert (still + level * driven) @ f == approx(expected, abs=1e-12 * np.abs(expected).max())


def test_a_turned_frame_is_the_same_physics():
    """An asymmetry of 1e-9 turns the pole of the harmonics to p and changes nothing else."""
    device = junction(polarizer=(0.48, 0.36, 0.8), stray_field=(0.01, 0.02, -0.01))
    turned = device.replace(spin_torque_asymmetry=1e-9)
    resolution = Resolution(44, 44, 1.0)
    times = np.array([0.0, 0.5e-9, 1.5e-9])
    straight = solver(device, resolution, relax_time=0.3e-9)
    aside = solver(turned, resolution, relax_time=0.3e-9)
    assert straight.axes is None
    assert aside.axes is not None
    assert aside.stayed(times) == approx(straight.stayed(times), rel=1e-7)
    straight_mean, aside_mean = (s.polar(lambda z: z**3) @ s.start() for s in (straight, aside))
    assert aside_mean == approx(straight_mean, rel=1e-8)


# ---- the exponential ------------------------------------------------------------------------------------------------


def random_matrix(precession, seed=3, starts=(0, 9, 17, 24)):
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(24, 24)) * (rng.random((24, 24)) < 0.3)
    skew = matrix - matrix.T
    return csr_array(precession * skew - matrix @ matrix.T), np.array(starts)


@pytest.mark.parametrize("precession", [0.0, 0.3, 1.0, 10.0])
def test_exponential(precession):
    """From pure diffusion (foci on the real axis) to precession (on the imaginary one)."""
    still, starts = random_matrix(precession)
    driven, _ = random_matrix(0.1, seed=4)
    flow = flow_of(still, driven, starts)
    c = np.random.default_rng(5).normal(size=24)
    for level, t in [(0.0, 0.1), (0.5, 3.0), (-0.02, 20.0)]:
        exact = expm((still + level * driven).toarray() * t) @ c
        assert propagate(flow, level, c, t) == approx(exact, abs=1e-10 * max(1, np.abs(exact).max()))


def test_moments_give_every_time_of_a_step():
    still, starts = random_matrix(3.0)
    flow = flow_of(still, 0 * still, starts)
    c, rows = np.random.default_rng(6).normal(size=24), np.random.default_rng(7).normal(size=(2, 24))
    times = np.array([0.0, 0.013, 0.5, 0.5, 1.7, 2.0])
    values = np.concatenate([value for *_, value in steps(flow, 0.0, c, 2.0, rows, times) if value.size])
    exact = [rows @ expm(still.toarray() * t) @ c for t in times]
    assert values == approx(np.array(exact), abs=1e-10)


def test_box_holds_the_field_of_values():
    matrix, starts = random_matrix(1.0)
    low, high, spin = field_of_values(matrix)
    dense = matrix.toarray()
    exact = np.linalg.eigvalsh((dense + dense.T) / 2)
    assert low <= exact[0]
    assert high >= exact[-1]
    assert spin >= np.abs(np.linalg.eigvals((dense - dense.T) / 2)).max()
    shape = ellipse(flow_of(matrix, 0 * matrix, starts), 1.0)
    corner = ((high - low) / 2 / shape.real) ** 2 + (spin / shape.imaginary) ** 2
    assert corner == approx(1.0)
    assert isinstance(flow_of(matrix, matrix, starts), Flow)


@pytest.mark.parametrize(("level", "rests"), [(1.5e-4, True), (2e-5, False)])
def test_a_density_is_followed_until_it_rests(monkeypatch, level, rests):
    """Rates of a long pulse are those of a solve to its end; where the bit still escapes it is followed to the end."""
    short, ends = solver(resolution=Resolution(24, 20, 1.0), level=level), np.array([1e-9, 2e-8, 4e-8])
    taken = []
    monkeypatch.setattr(spherical, "steps", lambda *a: (taken.append(step[1]) or step for step in steps(*a)))
    rested, last = short.stayed(ends), taken[-1]
    monkeypatch.setattr(spherical, "AT_REST", 0.0)
    assert rested == approx(short.stayed(ends), rel=1e-6, abs=1e-12)
    assert taken[-1] == approx(ends[-1])
    assert (last < 0.9 * ends[-1]) == rests


def test_a_density_that_seems_to_rest_and_still_escapes_is_followed(monkeypatch):
    """Barrier of 22 kT: a step moves 1e-9 of the density, and all steps together fifty times the first tail."""
    B_k = junction().anisotropy_field * 22 / junction().thermal_stability()
    device, ends = junction(stray_field=(0.02, 0.0, 0.0)).replace(anisotropy_field=B_k), np.array([1e-9, 4e-8])
    short = solver(device, Resolution(40, 14, 1.0), level=0.0)
    switched = 1 - short.stayed(ends)
    monkeypatch.setattr(spherical, "AT_REST", 0.0)
    assert switched == approx(1 - short.stayed(ends), rel=1e-5)
    assert switched[1] > 30 * switched[0]


def test_the_cost_of_a_long_solve_is_said_beforehand(monkeypatch, capsys):
    monkeypatch.setattr(oblique, "LONG", 0.0)
    monkeypatch.setattr(oblique, "tqdm", partial(tqdm, file=sys.stderr, ncols=100))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    rate({"stray_field": (0.02, 0.0, 0.0)})
    assert re.search(r"full sphere, degree \d+, about \d+ s at most: 0 %", capsys.readouterr().err)


# ---- conservation and equilibrium -----------------------------------------------------------------------------------


def test_probability_is_conserved():
    s = solver(junction(polarizer=TILTED, spin_torque_asymmetry=0.3), Resolution(30, 24, 1.0))
    for generator in s.generators:  # the mean of a constant does not change
        assert abs(csr_array(generator)[:, [0]]).max() <= 1e-15 * abs(generator).max()
    c = s.risen()
    after = propagate(s.forward, s.write.level, c, 2e-9)
    assert after[0] == approx(1 / math.sqrt(4 * math.pi), rel=1e-12)


def test_boltzmann_is_stationary_without_current():
    """With an oblique field and a second anisotropy; a wrong noise (a factor two) would be seen."""
    device = junction(stray_field=(0.02, 0.01, -0.015), in_plane_anisotropy_field=0.04)
    s = solver(device, Resolution(48, 40, 1.0))
    t = s.write.torque

    def density(x, y, z):
        anisotropy = (t.anisotropy_field * z**2 + t.in_plane_anisotropy_field * x**2) / 2
        energy = anisotropy + t.field[0] * x + t.field[1] * y + t.field[2] * z
        return np.exp(t.energy_scale * (energy - t.anisotropy_field / 2))

    c = on_the_sphere(s.harmonics, density)
    still = s.generators[0].T
    terms = abs(still) @ np.abs(c)
    assert np.abs(still @ c).max() < 1e-9 * terms.max()
    doubled = still + t.diffusion * s.harmonics.laplacian()
    assert np.abs(doubled @ c).max() > 1e-3 * terms.max()


def test_start_is_the_boltzmann_law_of_its_side():
    s = solver(junction(stray_field=(0.03, 0.0, 0.0)), Resolution(60, 40, 1.0), direction="ap_to_p")
    c = s.start()
    north = s.harmonics.hemisphere(1.0, lambda x, y, z: np.ones_like(x))
    assert c[0] * math.sqrt(4 * math.pi) == approx(1.0)
    assert abs(north @ c) < 1e-4  # the density jumps at the equator, where it is e^-Delta
    mean_x = on_the_sphere(s.harmonics, lambda x, y, z: x) @ c
    rest = settled(s.write.torque, -1.0)
    assert rest[0] == approx(0.03 / 0.196, rel=1e-4)  # sin(theta) = h, Stoner and Wohlfarth
    assert mean_x == approx(rest[0], rel=0.2)


# ---- against the axisymmetric solver --------------------------------------------------------------------------------

AXIAL = {
    "plain": ({}, {}),
    "other direction": ({}, {"direction": "ap_to_p"}),
    "field": ({"stray_field": (0.0, 0.0, 0.02)}, {}),
    "asymmetry": ({"spin_torque_asymmetry": 0.4}, {"direction": "ap_to_p"}),
    "polarizer down": ({"spin_torque_asymmetry": -0.3, "polarizer": (0.0, 0.0, -1.0)}, {}),
    "field-like": ({"field_like_ratio": -0.7}, {}),
    "ramps": ({}, {"rise_time": 0.7e-9}),
    "relaxation": ({"stray_field": (0.0, 0.0, -0.03)}, {"relax_time": 2e-9}),
    "hot": ({"curie_temperature": 1100.0, "anisotropy_exponent": 2.5}, {"temperature": 400.0, "rise_time": 0.3e-9}),
}


@pytest.mark.parametrize("name", [name for name in AXIAL if name != "polarizer down"])
def test_axial_device(name):
    changes, arguments = AXIAL[name]
    widths = {"pulse_width": [0.8e-9, 3e-9, 1.5e-9]}
    spherical, axial = (rate(changes, method=method, **(widths | arguments)) for method in ("spherical", "auto"))
    assert spherical == approx(axial, rel=1e-6)


def test_polarizer_down():
    """The amplitude drives the named direction whatever the polarizer; p = -z turns the asymmetry only."""
    for direction in ("p_to_ap", "ap_to_p"):
        down = junction(polarizer=(0.0, 0.0, -1.0), spin_torque_asymmetry=0.3, stray_field=(0.0, 0.0, 0.01))
        expected = write_error_rate(down, direction=direction, **WRITE)
        assert write_error_rate(down, direction=direction, method="spherical", **WRITE) == approx(expected)
        turned = down.replace(polarizer=(0.0, 0.0, 1.0), spin_torque_asymmetry=-0.3)
        assert write_error_rate(turned, direction=direction, **WRITE) == approx(expected, rel=1e-9)


def test_small_switching_probability():
    disturb = {"current": 1e-5, "pulse_width": [0.5e-9, 2e-9]}
    spherical = switching_probability(junction(), method="spherical", **disturb)
    assert spherical == approx(switching_probability(junction(), **disturb), rel=1e-4)
    assert (spherical < 1e-2).all()


@pytest.mark.parametrize("rise_time", [0.0, 0.2e-9])
def test_energy_of_an_axial_device(rise_time):
    device = junction(tmr_half_voltage=0.6)
    widths = np.array([3e-9, 1.5e-9])
    write = oblique_write(device, "p_to_ap", 6e-5, 300.0, rise_time, 0.0)
    energy = oblique.mean_energy(device, write, widths - rise_time)
    assert energy == approx(
        dissipated_energy(device, current=6e-5, pulse_width=widths, rise_time=rise_time),
        rel=1e-4 if rise_time else 1e-6,
    )


@pytest.mark.parametrize("rise_time", [0.0, 0.2e-9])
def test_the_energy_of_a_long_pulse_ends_where_the_density_rests(rise_time):
    """All has switched and settled within 20 ns: of a pulse of 60 ns the rest is not followed."""
    write, steps_taken = oblique_write(junction(), "p_to_ap", 6e-5, 300.0, rise_time, 0.0), []
    solver = SphericalSolver(write, write.resolution(1e-6))
    solver.bar = SimpleNamespace(update=steps_taken.append)
    solver.dissipation(lambda m_z, level: 1 - m_z, np.array([60e-9]))
    assert 0 < sum(steps_taken) < 30e-9


def test_energy_through_the_front_door():
    """A field in the plane of 1 mT changes nothing that is seen; a resistance that follows m_z bounds the rest."""
    device, write = junction(stray_field=(1e-3, 0.0, 0.0)), {"current": 6e-5, "pulse_width": [1e-9, 2e-9]}
    energy = dissipated_energy(device, **write)
    assert energy == approx(dissipated_energy(junction(), **write), rel=1e-3)
    in_p = WRITE["current"] ** 2 * device.resistance_p * np.array(write["pulse_width"])
    assert (in_p < energy).all()
    assert (energy < 2 * in_p).all()
    assert dissipated_energy(device, current=0.0, pulse_width=1e-9) == 0.0


# ---- symmetries -----------------------------------------------------------------------------------------------------


def turned_about_z(v, angle):
    c, s = math.cos(angle), math.sin(angle)
    return (c * v[0] - s * v[1], s * v[0] + c * v[1], v[2])


@pytest.mark.parametrize("asymmetry", [0.0, 0.3])
def test_turning_everything_about_z_changes_nothing(asymmetry):
    field, p = (0.03, -0.01, 0.01), (0.36, 0.48, 0.8)
    common = {"spin_torque_asymmetry": asymmetry, "field_like_ratio": 0.3}
    rates = [
        fixed({"stray_field": turned_about_z(field, angle), "polarizer": turned_about_z(p, angle), **common})
        for angle in (0.0, 2.0)
    ]
    assert rates[1] == approx(rates[0], rel=1e-6)
    assert 1e-3 < rates[0] < 0.99


@pytest.mark.parametrize("asymmetry", [0.0, 0.3])
def test_turning_the_world_upside_down(asymmetry):
    """By pi about x, with I -> -I and lambda -> -lambda undoing the turn of p: (P, B, p) -> (AP, ...)."""
    (bx, by, bz), (px, py, pz) = (0.02, 0.01, 0.02), (0.36, 0.48, 0.8)
    common = {"in_plane_anisotropy_field": 0.02, "field_like_ratio": -0.4}
    upright = {"stray_field": (bx, by, bz), "polarizer": (px, py, pz), "spin_torque_asymmetry": asymmetry}
    turned = {"stray_field": (bx, -by, -bz), "polarizer": (-px, py, pz), "spin_torque_asymmetry": -asymmetry}
    here = fixed(upright | common, direction="p_to_ap")
    assert fixed(turned | common, direction="ap_to_p") == approx(here, rel=1e-6)
    assert abs(fixed(turned | common, direction="p_to_ap") / here - 1) > 1e-3


def test_a_field_in_the_plane_speeds_the_write_up():
    """It tilts the start off the pole, where the torque vanishes."""
    rates = [rate({"stray_field": (b, 0.0, 0.0)}, pulse_width=1e-9) for b in (1e-9, 0.02, 0.04)]
    assert rates[0] == approx(rate(pulse_width=1e-9), rel=1e-6)
    assert rates[0] > 1.02 * rates[1] > 1.05 * rates[2]


# ---- convergence, measured ------------------------------------------------------------------------------------------


def test_convergence_in_degree_and_order():
    """Faster than any power; and the estimate that the front door trusts is larger than the true error."""
    device, times = junction(stray_field=(0.03, 0.0, 0.0)), np.array([2.5e-9])
    exact = solver(device, Resolution(80, 24, 1.0)).stayed(times)
    by_degree = [abs(solver(device, Resolution(L, 18, 1.0)).stayed(times) / exact - 1)[0] for L in (20, 29, 38, 47)]
    by_order = [abs(solver(device, Resolution(60, M, 1.0)).stayed(times) / exact - 1)[0] for M in (1, 3, 5, 7)]
    assert (np.diff(np.log(by_degree)) < -1.5).all(), by_degree
    assert (np.diff(np.log(by_order)) < -1.5).all(), by_order
    stayed, error = solve(solver(device).write, times, "stayed")
    assert abs(stayed - exact) < error < 1e-4 * exact


def test_ramps_are_of_order_four():
    device, times = junction(polarizer=TILTED), np.array([0.5e-9])
    rates = [
        solver(device, Resolution(40, 14, steps), rise_time=1e-9, level=2e-4).stayed(times)[0]
        for steps in (0.2, 0.4, 0.8, 3.2)
    ]
    errors = np.abs(np.array(rates[:3]) - rates[3])
    orders = np.log2(errors[:-1] / errors[1:])
    assert (orders > 3.3).all(), (orders, errors)


def test_depth():
    """1e-4 at 1e-9, against the axisymmetric solver, which is relative at any depth; orders at work by a tiny field."""
    device = junction(stray_field=(1e-7, 0.0, 0.0))
    widths = [3e-9, 7.2e-9]
    deep = rate({}, pulse_width=widths)
    assert 2e-10 < deep[1] < 1e-8
    assert write_error_rate(device, **(WRITE | {"pulse_width": widths})) == approx(deep, rel=1e-4)
    with pytest.raises(ValueError, match=r"too small for the full.*nothing below 1.0e-10 .*rare_write_errors"):
        write_error_rate(device, **(WRITE | {"pulse_width": [3e-9, 15e-9]}))


# ---- any pulse ------------------------------------------------------------------------------------------------------


def test_pulse_in_pieces():
    device = junction(stray_field=(0.02, 0.0, 0.0))
    pulse = Pulse.trapezoidal(current=6e-5, pulse_width=1.5e-9, rise_time=0.4e-9)
    front = write_error_rate(device, **WRITE, rise_time=0.4e-9, relax_time=0.5e-9)
    assert write_error_rate(device, pulse=pulse, relax_time=0.5e-9) == approx(front, rel=1e-9)
    knots = np.array([0.0, 0.2, 0.4, 1.0, 1.5, 1.9]) * 1e-9
    sampled = Pulse.sampled(knots, current=pulse.at(knots))
    assert write_error_rate(device, pulse=sampled, relax_time=0.5e-9) == approx(front, rel=1e-5)
    energies = dissipated_energy(device, pulse=pulse), dissipated_energy(device, pulse=sampled)
    assert energies[0] == approx(energies[1], rel=1e-4)


def test_pulse_that_drives_back():
    device = junction(stray_field=(0.02, 0.0, 0.0))
    there = Pulse.rectangular(current=9e-5, pulse_width=2e-9)
    back = Pulse.sampled([0.0, 2e-9], current=[-9e-5, -9e-5])
    assert write_error_rate(device, pulse=there) < 0.02
    assert write_error_rate(device, pulse=there.followed_by(back)) > 0.9
    opposed = Pulse.rectangular(current=9e-5, pulse_width=2e-9, polarity="ap_to_p")
    assert write_error_rate(device, pulse=opposed) > 0.999


BIASED = {
    "resistance_area_product": 3e-12,
    "tunnel_magnetoresistance": 1.2,
    "vcma_coefficient": 30e-15,
    "barrier_thickness": 1e-9,
    "tmr_half_voltage": 0.5,
    "spin_torque_asymmetry": 0.2,
}


@pytest.mark.parametrize("direction", ["p_to_ap", "ap_to_p"])
@pytest.mark.parametrize("drive", [{"voltage": 0.4}, {"current": 1e-4}])
def test_bias_on_the_sphere_is_bias_on_the_axis(direction, drive):
    """A current that follows the resistance, VCMA under either drive, and the joules: the axisymmetric road."""
    device = junction(**BIASED)
    write = {"pulse_width": [1.5e-9, 2.5e-9], "direction": direction, **drive}
    expected = write_error_rate(device, **write)
    assert write_error_rate(device, method="spherical", **write) == approx(expected, rel=1e-5, abs=ROUNDING)
    tilted = junction(**BIASED, stray_field=(1e-7, 0.0, 0.0))
    assert write_error_rate(tilted, **write) == approx(expected, rel=1e-4)
    assert dissipated_energy(tilted, **write) == approx(dissipated_energy(device, **write), rel=1e-4)


def test_ramps_of_a_voltage():
    device = junction(**(BIASED | {"tmr_half_voltage": None}))
    write = {"voltage": 0.4, "pulse_width": 2e-9, "rise_time": 0.5e-9}
    expected = write_error_rate(device, **write)
    assert write_error_rate(device, method="spherical", **write) == approx(expected, rel=1e-4)
    with pytest.raises(ValueError, match="solved for rectangular pulses only: omit rise_time"):
        write_error_rate(junction(**BIASED), method="spherical", **write)


# ---- a second road: trajectories ------------------------------------------------------------------------------------

OBLIQUE = {
    "spin orbit": {"polarizer": (0.0, 1.0, 0.0), "stray_field": (0.03, 0.0, 0.0), "field_like_ratio": 0.3},
    "all at once": {
        "polarizer": (0.36, 0.48, 0.8),
        "stray_field": (0.02, -0.02, 0.01),
        "in_plane_anisotropy_field": 0.04,
        "spin_torque_asymmetry": 0.4,
        "field_like_ratio": -0.5,
    },
}
DRIVEN = {
    "spin orbit": {"current": 2.5e-4, "pulse_width": 0.4e-9, "relax_time": 0.2e-9},
    "all at once": {"current": 1.2e-4, "pulse_width": 0.7e-9, "relax_time": 0.0},
}


def boltzmann_start(t, side, trials, rng):
    """Samples of the starting law from fine cells in (z, phi)."""
    z = side * (np.arange(800) + 0.5) / 800
    phi = 2 * np.pi * (np.arange(256) + 0.5) / 256
    Z, P = np.meshgrid(z, phi, indexing="ij")
    X, Y = np.sqrt(1 - Z**2) * np.cos(P), np.sqrt(1 - Z**2) * np.sin(P)
    energy = t.anisotropy_field * Z**2 / 2 + t.in_plane_anisotropy_field * X**2 / 2
    energy = energy + t.field[0] * X + t.field[1] * Y + t.field[2] * Z
    weight = np.exp(t.energy_scale * (energy - energy.max())).ravel()
    cell = rng.choice(weight.size, size=trials, p=weight / weight.sum())
    z = Z.ravel()[cell] + (rng.random(trials) - 0.5) / 800
    phi = P.ravel()[cell] + (rng.random(trials) - 0.5) * 2 * np.pi / 256
    return np.stack([np.sqrt(1 - z**2) * np.cos(phi), np.sqrt(1 - z**2) * np.sin(phi), z])


def trajectories(device, current, pulse_width, relax_time, trials, dt, seed):
    """Share of writes P -> AP that stay: Heun in the vector form of the LLGS, written here without torques.py.

    dm/dt = (T + alpha m x T)/(1 + alpha^2), T = -gamma m x (B + beta a p) - gamma a m x (m x p), noise in B.
    """
    rng = np.random.default_rng(seed)
    t, alpha = torque_of(device, 300.0), device.damping
    p = np.array(device.polarizer)[:, None]
    B = np.array(device.stray_field)[:, None]
    gamma = t.rate * (1 + alpha**2)
    sigma = math.sqrt(2 * alpha / (gamma * t.energy_scale * dt))  # of B_th: variance 2 alpha k T/(gamma Ms V dt)
    m = boltzmann_start(t, 1.0, trials, rng)

    def slope(m, noise, amplitude):
        a = amplitude / (1 + t.asymmetry * (p * m).sum(axis=0))
        field = B + noise + np.stack([t.in_plane_anisotropy_field * m[0], 0 * m[0], t.anisotropy_field * m[2]])
        torque = -gamma * np.cross(m, field + t.field_like_ratio * a * p, axis=0)
        torque = torque - gamma * a * np.cross(m, np.cross(m, p, axis=0), axis=0)
        return (torque + alpha * np.cross(m, torque, axis=0)) / (1 + alpha**2)

    for amplitude, duration in ((-t.per_ampere * current, pulse_width), (0.0, relax_time)):
        for _ in range(round(duration / dt)):
            noise = sigma * rng.standard_normal(m.shape)
            first = slope(m, noise, amplitude)
            guess = m + dt * first
            m = m + dt / 2 * (first + slope(guess, noise, amplitude))
            m /= np.sqrt((m * m).sum(axis=0))
    return float((m[2] > 0).mean())


@pytest.mark.parametrize("name", OBLIQUE)
def test_trajectories(name):
    """10,000 writes within 5 sigma (a false alarm in 1.7 million): sees 2.5 percentage points at 1/2."""
    compare_with_trajectories(name, 10_000)


@pytest.mark.slow
@pytest.mark.parametrize("name", OBLIQUE)
def test_many_trajectories(name):
    """200,000 writes within 5 sigma: sees half a percentage point at 1/2."""
    compare_with_trajectories(name, 200_000)


def compare_with_trajectories(name, trials):
    device = junction(**OBLIQUE[name])
    solved = on_one_basis(name)
    counted = trajectories(device, **DRIVEN[name], trials=trials, dt=2e-12, seed=11)
    assert 0.05 < solved < 0.95
    assert counted == approx(solved, abs=5 * math.sqrt(solved * (1 - solved) / trials))


def on_one_basis(name):
    """Good to 1e-4, as the last of the tests below sees."""
    current, width, relax_time = DRIVEN[name].values()
    s = solver(junction(**OBLIQUE[name]), Resolution(48, 40, 1.0), level=current, relax_time=relax_time)
    return s.stayed(np.array([width]))[0]


# ---- negative controls ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", ["beta - alpha", "alpha beta", "field"])
def test_a_wrong_sign_in_the_torque_would_be_seen(monkeypatch, wrong):
    """By the golden writes' own tolerance a hundred times over; the field-like torque of a spin-orbit device."""
    healthy = on_one_basis("spin orbit")

    def twin(x, y, z, Bx, By, Bz, a, px, py, pz, alpha, beta):
        if wrong == "beta - alpha":
            beta = 2 * alpha - beta  # (beta - alpha) changes its sign
        if wrong == "alpha beta":
            alpha = -alpha
        if wrong == "field":
            By, Bx = Bx, By
        return rotation.py_func(x, y, z, Bx, By, Bz, a, px, py, pz, alpha, beta)

    monkeypatch.setattr(spherical, "rotation", SimpleNamespace(py_func=twin))
    assert abs(on_one_basis("spin orbit") / healthy - 1) > 0.01


def test_too_few_orders_would_be_seen(monkeypatch):
    """A first guess of M that is far too small is noticed, because the next one disagrees."""
    healthy = on_one_basis("spin orbit")
    first = spherical.Write.resolution
    monkeypatch.setattr(spherical.Write, "resolution", lambda self, missed: replace(first(self, missed), order=7))
    monkeypatch.setattr(oblique, "SCOUT", 1e-4)
    few = solver(junction(**OBLIQUE["spin orbit"]), level=2.5e-4, relax_time=0.2e-9, resolution=Resolution(38, 7, 1.0))
    assert abs(few.stayed(np.array([0.4e-9]))[0] / healthy - 1) > 1e-3
    assert rate(OBLIQUE["spin orbit"], **DRIVEN["spin orbit"]) == approx(healthy, rel=2e-4)


# ---- refusals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "arguments", "message"),
    [
        ({"stray_field": (0.25, 0.0, 0.0)}, {}, "stray_field .* too strong .*is not stable.*not bistable"),
        ({"stray_field": (0.06, 0.0, -0.12)}, {}, "stray_field .* too strong .*: P is not stable"),
        ({"in_plane_anisotropy_field": 0.2}, {}, "in_plane_anisotropy_field of 0.2 T exceeds .* lies in the plane"),
        ({"polarizer": TILTED, "field_like_ratio": -30.0}, {}, "turns the torque around"),
        ({"polarizer": TILTED}, {"current": 0.05}, "level must be <= .* A or V, 100 critical currents"),
        ({"polarizer": TILTED, "diameter": 300e-9}, {}, "stability of .* need harmonics of degree"),
        ({"polarizer": TILTED}, {"pulse_width": 1e-2}, "too long for the full sphere"),
        ({"polarizer": TILTED, "thermal_resistance": 1e6}, {}, "use simulate_writes"),
        ({"polarizer": TILTED}, {"method": "spherica"}, "method must be one of .*'spherical'"),
        ({"polarizer": TILTED}, {"rise_time": 3e-9}, "rise_time must be <= pulse_width"),
    ],
)
def test_refusals(changes, arguments, message):
    start = time.perf_counter()
    with pytest.raises(ValueError, match=message):
        rate(changes, **arguments)
    assert time.perf_counter() - start < 20


def test_a_strong_field_along_x_leaves_two_states_until_it_exceeds_the_anisotropy():
    assert rate({"stray_field": (0.12, 0.0, 0.0)}, pulse_width=0.3e-9) < 1
