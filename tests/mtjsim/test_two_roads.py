"""Polynomials against the birth-death chain, limits, symmetries, measured orders of convergence, and the traps.

The two roads share the reduced write (`reduced.py`) and nothing else, so what they share is tested here on its own:
the equilibrium by quadrature, the symmetries by the front door. Everything is deterministic: no sampling, no seed.
"""

import itertools
import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.constants import k as k_B
from scipy.integrate import quad
from scipy.linalg import expm

from mtjsim.device import MTJ
from mtjsim.fokker_planck import axial, finite_volume, spectral
from mtjsim.fokker_planck.axial import tail_probability
from mtjsim.fokker_planck.chain import CUTS, advance
from mtjsim.fokker_planck.finite_volume import SCALE, Mesh, Schedule, hopping_rates, solve_tails
from mtjsim.fokker_planck.reduced import AxialWrite, reduced_write
from mtjsim.fokker_planck.spectral import FULL_SPHERE, SpectralSolver, build_basis, returning_mass
from mtjsim.switching import switching_probability, write_error_rate
from physics import TAU, approx, junction

TWO_ROADS = 1e-5  # what the finite volume promises


def write_of(i, tau, *, rise=0.0, relax=0.0, **more):
    """Arguments of the front door from reduced units (`tau`, `rise`, `relax` over tau_D, i over 30 uA)."""
    return {"current": i * 30e-6, "pulse_width": tau * TAU, "rise_time": rise * TAU, "relax_time": relax * TAU, **more}


def both(device, **write):
    spectral = write_error_rate(device, **write)
    return spectral, write_error_rate(device, method="finite_volume", **write)


# ---- deep cases of our own ---------------------------------------------------------------------------------------

DEEP = [  # Delta, h, lambda, direction, i, pulse / tau_D, rise / tau_D, relax / tau_D
    pytest.param(20, 0.0, 0.0, "p_to_ap", 2.0, 20.0, 0, 0, id="shallow-well"),
    pytest.param(60, 0.0, 0.0, "p_to_ap", 2.5, 24.0, 0, 0, id="1e-30"),
    pytest.param(100, 0.0, 0.0, "ap_to_p", 4.0, 12.0, 0, 0, id="stiff"),
    pytest.param(60, 0.2, 0.0, "p_to_ap", 2.5, 20.0, 0, 0, id="field-holds"),
    pytest.param(60, 0.2, 0.0, "ap_to_p", 2.5, 20.0, 0, 0, id="field-helps"),
    pytest.param(60, -0.1, 0.4, "p_to_ap", 3.0, 12.0, 0, 0, id="lambda-p-to-ap"),
    pytest.param(60, -0.1, 0.4, "ap_to_p", 2.0, 12.0, 0, 0, id="lambda-ap-to-p"),
    pytest.param(60, 0.0, 0.0, "p_to_ap", 2.0, 14.0, 2.0, 0, id="ramps"),
    pytest.param(50, 0.05, 0.3, "p_to_ap", 2.5, 14.0, 1.0, 5.0, id="everything", marks=pytest.mark.slow),
    pytest.param(50, 0.05, 0.3, "ap_to_p", 2.5, 8.0, 8.0, 0, id="triangle", marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("Delta", "h", "lam", "direction", "i", "tau", "rise", "relax"), DEEP)
def test_deep_tails(Delta, h, lam, direction, i, tau, rise, relax):
    device = junction(Delta, h, lam)
    spectral, chain = both(device, **write_of(i, tau, rise=rise, relax=relax, direction=direction))
    assert spectral == approx(chain, rel=TWO_ROADS)
    assert 1e-45 < spectral < 1e-9


def test_depth_reached():
    assert 1e-31 < write_error_rate(junction(60), **write_of(2.5, 24.5)) < 1e-30


def test_a_plain_expansion_would_be_seen():
    """Without a wall the spectral answer has an absolute floor near 1e-15: useless at 1e-30 (trap 11)."""
    write = AxialWrite(thermal_stability=60, drive=2.5)
    with np.errstate(all="ignore"):
        floor = np.exp(SpectralSolver(write, FULL_SPHERE).log_survival(24.0)(np.array([24.0])))[0]
    right = tail_probability(write, np.array([24.0]))[0]
    assert not abs(floor / right - 1) < 0.5


def test_numerical_diffusion_would_be_seen():
    """Trap 11: a mesh that is 1 % off at 1e-2, not extrapolated, is far off at 1e-30; the extrapolated one is not."""
    write = AxialWrite(thermal_stability=60, drive=2.5)
    plateaus = np.array([2.95653, 24.0])
    right = np.log(tail_probability(write, plateaus))
    coarse = Schedule.of(write, plateaus, "stayed", 0.1).solve(400, 1)[-1, 0]
    error = np.abs(np.expm1(coarse - right))
    assert error[1] > 0.5
    assert error[1] > 5 * error[0]
    assert solve_tails(write, plateaus).log_stayed == approx(right, abs=TWO_ROADS)


# ---- properties over random writes --------------------------------------------------------------------------------


@st.composite
def random_writes(draw, ramps=False, weakest=12, longest=30.0):
    """(device, keywords): writes from read disturb to 8 critical currents, 0.05 to `longest` tau_D."""
    Delta = draw(st.floats(weakest, 100))
    h = draw(st.floats(-0.35, 0.35))
    lam = draw(st.floats(-0.6, 0.6))
    direction = draw(st.sampled_from(["p_to_ap", "ap_to_p"]))
    i = draw(st.one_of(st.floats(0.0, 1.0), st.floats(1.0, 8.0)))
    tau = math.exp(draw(st.floats(math.log(0.05), math.log(longest))))
    rise = tau * draw(st.floats(0, 1)) if ramps else 0.0
    relax = draw(st.floats(0, 10)) if ramps else 0.0
    device = junction(Delta, h, lam, damping=draw(st.floats(0.005, 0.1)))
    return device, write_of(i, tau, rise=rise, relax=relax, direction=direction)


@settings(max_examples=12)
@given(random_writes(weakest=25, longest=8.0))
def test_probabilities_are_probabilities(case):
    device, write = case
    stay, switch = write_error_rate(device, **write), switching_probability(device, **write)
    assert 0 <= stay <= 1 + 1e-9  # exactly: see test_no_probability_exceeds_one
    assert 0 <= switch <= 1 + 1e-9
    if min(stay, switch) > 1e-9:
        assert stay + switch == approx(1, abs=1e-9)


LOPSIDED = junction(12, lam=-0.5)  # a strong torque on a shallow well: hypothesis found three ways to break here


def test_no_probability_exceeds_one():
    device = junction(12, lam=-0.5, damping=0.0625)
    assert switching_probability(device, current=240e-6, pulse_width=5.43656365691809e-09) <= 1


def test_no_warning_where_nothing_survives():
    assert 0 <= write_error_rate(LOPSIDED, current=150e-6, pulse_width=1.4778112197861302e-08) < 1e-30


def test_an_ordinary_pulse_on_a_shallow_well():
    assert 0 <= write_error_rate(LOPSIDED, current=120e-6, pulse_width=1.4778112197861302e-08) < 1e-30


@settings(max_examples=20)
@given(random_writes(weakest=25, longest=8.0))
def test_error_rate_falls_with_width_and_current(case):
    """Without relaxation a longer pulse can only have switched more, and a stronger one too.

    Above the floor: for what happens there, see `test_the_floor_under_a_long_pulse`.
    """
    device, write = case
    widths = write["pulse_width"] * np.array([1.0, 1.1, 1.5])
    rates = write_error_rate(device, **(write | {"pulse_width": widths}))
    assert (np.diff(rates) <= 1e-9 * rates[:-1]).all()
    stronger = write_error_rate(device, **(write | {"current": 1.1 * write["current"]}))
    assert stronger <= rates[0] * (1 + 1e-7)


def agree(case):
    """Both tails by both roads, to 1e-40; below, the chain has lost its fourth digit (5e-4 at 1e-52)."""
    device, write = case
    stay = write_error_rate(device, **write)
    assume(stay > 1e-40)
    reduced, tau = reduced_write(
        device, write["direction"], write["current"], 300.0, write["rise_time"], write["relax_time"]
    )
    chain = solve_tails(reduced, np.array([write["pulse_width"] - write["rise_time"]]) / tau)
    assert stay == approx(math.exp(chain.log_stayed[0]), rel=TWO_ROADS)
    assume(stay < 1 - 1e-12)  # the small ones have their own cases below
    switch = switching_probability(device, **write)
    assert switch == approx(math.exp(chain.log_switched[0]), rel=TWO_ROADS)


@settings(max_examples=6)
@given(random_writes(weakest=25, longest=8.0))
def test_roads_agree(case):
    agree(case)


@pytest.mark.slow
@settings(max_examples=150)
@given(random_writes(weakest=25, longest=8.0))
def test_roads_agree_widely(case):
    agree(case)


@pytest.mark.slow
@settings(max_examples=15)
@given(random_writes(ramps=True, weakest=25, longest=8.0))
def test_roads_agree_widely_with_ramps(case):
    agree(case)


@settings(max_examples=20)
@given(random_writes(), st.floats(-0.35, 0.35), st.floats(-0.6, 0.6), st.floats(15, 90))
def test_mirror_symmetry(case, h, lam, Delta):
    """(I, B_z, lambda, P) -> (-I, -B_z, -lambda, AP) changes nothing."""
    _, write = case
    mirrored = write | {"direction": {"p_to_ap": "ap_to_p", "ap_to_p": "p_to_ap"}[write["direction"]]}
    one = write_error_rate(junction(Delta, h, lam), **write)
    other = write_error_rate(junction(Delta, -h, -lam), **mirrored)
    assert one == approx(other, rel=1e-9)


def test_each_sign_alone_matters():
    """The negative control of the mirror: turning only the field, only lambda or only the direction is seen."""
    write = write_of(2.0, 5.0)
    base = write_error_rate(junction(60, 0.1, 0.3), **write)
    for device, direction in [
        (junction(60, -0.1, 0.3), "p_to_ap"),
        (junction(60, 0.1, -0.3), "p_to_ap"),
        (junction(60, 0.1, 0.3), "ap_to_p"),
    ]:
        assert abs(write_error_rate(device, direction=direction, **write) / base - 1) > 0.5


def test_which_way_the_signs_point():
    """B_z > 0 holds P; lambda > 0 with p = +z makes P->AP the harder write (I_c0 (1 + lambda))."""
    write = write_of(2.0, 5.0)
    holds, free = write_error_rate(junction(h=0.1), **write), write_error_rate(junction(), **write)
    helps = write_error_rate(junction(h=0.1), direction="ap_to_p", **write)
    assert holds > free > helps
    hard, easy = (write_error_rate(junction(lam=0.3), direction=d, **write) for d in ("p_to_ap", "ap_to_p"))
    assert hard > free > easy


@pytest.mark.parametrize("p_z", [1, -1])
@pytest.mark.parametrize(("direction", "s"), [("p_to_ap", 1), ("ap_to_p", -1)])
def test_reduced_write(direction, s, p_z):
    """From SI: i = (I / I_c0)(1 + alpha beta) with I_c0 at lambda = 0, H = s B_z/B_k, L = s p_z lambda."""
    device = junction(60, 0.1, 0.3, damping=0.02, field_like_ratio=5.0, polarizer=(0.0, 0.0, float(p_z)))
    write, tau_D = reduced_write(device, direction, 75e-6, 300.0, 1e-9, 3e-9)
    assert tau_D == approx(TAU, rel=1e-12)
    assert write.thermal_stability == approx(60, rel=1e-12)
    assert write.drive == approx(2.5 * (1 + 0.02 * 5), rel=1e-12)
    assert write.field == approx(s * 0.1, rel=1e-12)
    assert write.asymmetry == approx(s * p_z * 0.3, rel=1e-12)
    assert (write.rise_time, write.relax_time) == approx((0.5, 1.5), rel=1e-12)
    y = np.linspace(-1, 1, 5)
    assert write.force(y, write.drive) == approx(y + s * 0.1 - 2.75 / (1 + s * p_z * 0.3 * y), rel=1e-12)


def test_threshold():
    """The starting pole loses its stability at i = (1 + H)(1 + L)."""
    for h, lam, direction, s in [(0.1, 0.3, "p_to_ap", 1), (0.1, 0.3, "ap_to_p", -1), (-0.2, 0.0, "p_to_ap", 1)]:
        write, _ = reduced_write(junction(60, h, lam), direction, 30e-6 * (1 + s * h) * (1 + s * lam), 300.0, 0.0, 0.0)
        assert write.force(np.ones(1), write.drive) == approx(0, abs=1e-12)


def test_polarizer_downwards_turns_lambda_only():
    """`current` drives the named direction whatever the polarizer; lambda m.p changes sign with p."""
    for direction in ("p_to_ap", "ap_to_p"):
        write = write_of(2.0, 5.0, direction=direction)
        down = write_error_rate(junction(h=0.1, lam=0.3, polarizer=(0.0, 0.0, -1.0)), **write)
        assert down == approx(write_error_rate(junction(h=0.1, lam=-0.3), **write), rel=1e-9)


@settings(max_examples=12)
@given(random_writes(), st.floats(0.2, 5), st.floats(0.2, 5), st.floats(0.1, 10), st.floats(0.1, 10))
def test_only_the_reduced_write_matters(case, wider, thicker, slower, easier):
    """Another nominal geometry, another time scale, another current scale: the same reduced write, the same rate."""
    device, write = case
    expected = write_error_rate(device, **write)
    scaled = MTJ.from_effective(
        thermal_stability=device.thermal_stability(),
        critical_current=30e-6 * easier,
        characteristic_time=TAU * slower,
        damping=device.damping,
        diameter=40e-9 * wider,
        thickness=1.3e-9 * thicker,
        spin_torque_asymmetry=device.spin_torque_asymmetry,
        stray_field=(0.0, 0.0, device.stray_field[2] / slower),
    )
    answer = write_error_rate(
        scaled,
        current=write["current"] * easier,
        pulse_width=write["pulse_width"] * slower,
        direction=write["direction"],
    )
    assert answer == approx(expected, rel=1e-6)


def test_an_answer_does_not_depend_on_its_neighbours():
    """A width asked alone or within a long curve: other nodes, maybe another wall, the same rate."""
    device = junction()
    widths = np.geomspace(0.2, 20.0, 9) * TAU
    together = write_error_rate(device, current=50e-6, pulse_width=np.append(widths, 2e-6))[:-1]
    alone = [write_error_rate(device, current=50e-6, pulse_width=w) for w in widths]
    assert together == approx(alone, rel=1e-7)
    assert write_error_rate(device, current=50e-6, pulse_width=widths[::-1]) == approx(alone[::-1], rel=1e-7)


def test_broadcasting():
    device = junction()
    currents, widths = np.array([40e-6, 60e-6]), np.array([3e-9, 8e-9, 5e-9])
    table = write_error_rate(device, current=currents[:, None], pulse_width=widths, direction=["p_to_ap"] * 3)
    assert table.shape == (2, 3)
    for a, I in enumerate(currents):
        for b, w in enumerate(widths):
            assert table[a, b] == approx(write_error_rate(device, current=I, pulse_width=w), rel=1e-8)
    both_ways = write_error_rate(
        junction(h=0.1), current=60e-6, pulse_width=5e-9, direction=["p_to_ap", "ap_to_p"], temperature=[300, 350]
    )
    assert both_ways[0] == approx(write_error_rate(junction(h=0.1), current=60e-6, pulse_width=5e-9), rel=1e-8)
    hot = {"direction": "ap_to_p", "temperature": 350}
    assert both_ways[1] == approx(write_error_rate(junction(h=0.1), current=60e-6, pulse_width=5e-9, **hot), rel=1e-8)
    assert isinstance(write_error_rate(device, current=60e-6, pulse_width=5e-9), float)


# ---- the small switched probability (trap 7) -----------------------------------------------------------------------

READS = [  # Delta, h, i, tau
    (60, 0.0, 0.3, 1.0),
    (60, 0.0, 0.3, 10.0),
    (40, 0.0, 0.2, 3.0),
    (80, 0.05, 0.5, 20.0),
    (60, -0.1, 0.0, 50.0),
    (60, 0.0, 2.0, 0.4),
]


@pytest.mark.parametrize(("Delta", "h", "i", "tau"), READS)
def test_small_switched_probability(Delta, h, i, tau):
    """1e-10 to 1e-25, against a finer mesh and twice the steps."""
    device, write = junction(Delta, h), write_of(i, tau)
    answer = switching_probability(device, **write)
    reduced, _ = reduced_write(device, "p_to_ap", write["current"], 300.0, 0.0, 0.0)
    finer = math.exp(solve_tails(reduced, np.array([tau]), peclet=0.25, change=0.025).log_switched[0])
    assert answer == approx(finer, rel=TWO_ROADS)
    assert 1e-25 < answer < 1e-7


def test_one_minus_p_would_be_seen():
    """Trap 7: the complement of the stay probability at 1e-22 is round-off."""
    device, write = junction(60), write_of(0.3, 1.0)
    right = switching_probability(device, **write)
    assert right < 1e-20
    assert not abs((1 - write_error_rate(device, **write)) / right - 1) < 0.5


# ---- limits ----------------------------------------------------------------------------------------------------------


def brown(Delta, H=0.0):
    """Escape rate times tau_D from a well held by H = s h (> 0 holds), with Brown's first correction in 1/Delta."""
    return math.sqrt(Delta / math.pi) * (1 - H * H) * (1 + H) * math.exp(-Delta * (1 + H) ** 2) * (1 - 1 / Delta)


@pytest.mark.parametrize("Delta", [20, 30])
def test_retention_is_browns(Delta):
    """No current: the switched fraction grows with Brown's rate once the well has relaxed (0.25 % at Delta 20)."""
    tau = np.array([200.0, 1200.0])
    p = switching_probability(junction(Delta), current=0.0, pulse_width=tau * TAU)
    both_ways = -np.diff(np.log1p(-2 * p)) / 2 / np.diff(tau)  # the other well fills: dp/dt = r (1 - 2 p)
    assert both_ways[0] == approx(brown(Delta), rel=0.004)


def test_endless_retention_is_half():
    assert write_error_rate(junction(8), current=0.0, pulse_width=5e4 * TAU) == approx(0.5, abs=1e-6)


@pytest.mark.parametrize("relax", [1e3, 1e4])
def test_relaxation_leaves_back_hopping(relax):
    """A pulse that cannot fail: what is wrong after the wait has hopped back, at Brown's rate of the target well."""
    Delta = 20
    floor = write_error_rate(junction(Delta), **write_of(4.0, 20.0, relax=relax))
    assert write_error_rate(junction(Delta), **write_of(4.0, 20.0)) < 1e-30
    assert floor == approx(brown(Delta) * relax, rel=0.03)


def test_back_hopping_follows_the_field():
    """B_z > 0 holds P: after P->AP the AP well is the shallow one."""
    hold, relax = 0.1, 1e3
    floor = write_error_rate(junction(25, h=hold), **write_of(4.0, 20.0, relax=relax))
    assert floor == approx(brown(25, -hold) * relax, rel=0.05)


@pytest.mark.parametrize(("Delta", "i", "tau"), [(20, 2.0, [60.0]), (12, 4.0, [14.926, 16.419, 22.39, 29.85])])
def test_the_floor_under_a_long_pulse(Delta, i, tau):
    """An endless pulse leaves the stationary mass of its own equilibrium on the starting side, and never less."""
    write = AxialWrite(thermal_stability=Delta, drive=i)

    def mass(lo, hi):
        return quad(lambda y: math.exp(2 * Delta * ((y * y - 1) / 2 - i * (y + 1))), lo, hi, epsabs=0, epsrel=1e-11)[0]

    floor = mass(0.0, 1.0) / mass(-1.0, 0.0)
    rates = tail_probability(write, np.array(tau))
    assert rates[-1] == approx(floor, rel=2e-3)
    assert (np.diff(rates) <= 0).all()


@pytest.mark.filterwarnings("ignore::mtjsim.ImplausibleValue")  # seconds, on purpose
@pytest.mark.parametrize("seconds", [1e-3, 1.0])
def test_relaxation_of_seconds(seconds):
    """At Delta 60 nothing happens within a second that did not happen within a microsecond."""
    pulse = {"current": 90e-6, "pulse_width": 3e-9}
    short = write_error_rate(junction(60), relax_time=1e-6, **pulse)
    assert write_error_rate(junction(60), relax_time=seconds, **pulse) == approx(short, rel=1e-5)


def test_field_that_leaves_one_state_is_refused():
    for h, lost in ((1.2, "AP"), (-1.2, "P")):
        with pytest.raises(ValueError, match=rf"stray_field z .* exceeds the anisotropy field .* {lost} is not stable"):
            write_error_rate(junction(h=h), **write_of(2.0, 5.0))


# ---- what the two roads share: the equilibrium ---------------------------------------------------------------------


@pytest.mark.parametrize(("H", "L", "i"), [(0, 0, 0), (0.2, 0, 1.5), (-0.1, 0.4, 2), (0.1, -0.4, 0.7), (0.1, 1e-9, 2)])
def test_log_equilibrium_is_the_integral_of_the_force(H, L, i):
    write = AxialWrite(thermal_stability=37.0, drive=i, field=H, asymmetry=L)
    for y in (-0.9, -0.2, 0.5, 1.0):
        work = quad(lambda z: z + H - i / (1 + L * z), 0.0, y)[0]
        ends = write.log_equilibrium(np.array([y, 0.0]), i)
        assert ends[0] - ends[1] == approx(2 * 37.0 * work, rel=1e-7, abs=1e-7)


@pytest.mark.parametrize(("Delta", "h", "s"), [(10, 0.0, 1), (60, 0.1, 1), (60, 0.1, -1), (100, -0.3, 1)])
@pytest.mark.parametrize("temperature", [300.0, 400.0])
def test_start_is_boltzmann(Delta, h, s, temperature):
    """Trap 4. The weight in SI, exp[(Ms V / k T)(B_k m_z^2 / 2 + B_z m_z)], by quadrature on the starting side."""
    device = junction(Delta, h)
    direction = "p_to_ap" if s > 0 else "ap_to_p"
    write, _ = reduced_write(device, direction, 1e-4, temperature, 1e-9, 0.0)
    moment = device.saturation_magnetization * device.volume / (k_B * temperature)
    B_k, B_z = device.anisotropy_field, device.stray_field[2]

    def weight(m_z):
        return math.exp(moment * (B_k * (m_z**2 - 1) / 2 + B_z * (m_z - s)))

    def mass(lo, hi):  # of y = s m_z
        return quad(lambda y: weight(s * y), lo, hi, epsabs=0, epsrel=1e-10)[0]

    total = mass(0.0, 0.8) + mass(0.8, 1.0)
    edges = np.array([0.8, 0.9, 0.95, 0.99, 1.0])
    expected = np.array([mass(a, b) for a, b in itertools.pairwise(edges)]) / total

    cells = 4000
    masses = finite_volume.starting_masses(write, cells)
    at = np.rint((edges + 1) / 2 * cells).astype(int)
    chain = [masses[a:b].sum() for a, b in itertools.pairwise(at)]
    assert chain == approx(expected, rel=1e-8, abs=1e-14)
    assert masses.sum() == approx(1, rel=1e-13)
    assert (masses[: cells // 2] == 0).all()

    solver = SpectralSolver(write, -0.6)
    density = solver.start() @ solver.basis.trial
    moments = [density @ (solver.basis.weights_all * solver.basis.y_all**n) for n in range(4)]
    inside = [quad(lambda y, n=n: y**n * weight(s * y), 0, 1, epsrel=1e-10, points=[0.8])[0] for n in range(4)]
    assert moments == approx(np.array(inside) / total, rel=1e-7)


@pytest.mark.parametrize(("i", "H", "L"), [(0.0, 0.1, 0.0), (0.7, -0.1, 0.3), (3.0, 0.0, -0.3)])
def test_hopping_rates_are_in_detailed_balance(i, H, L):
    """Trap 5 on the chain: up/down between two cells is the ratio of their equilibria, exp of 2 Delta int G dy."""
    write = AxialWrite(thermal_stability=45, drive=i, field=H, asymmetry=L)
    cells = 512
    up, down = hopping_rates(write, i, cells)
    y = -1 + 2 / cells * (np.arange(cells) + 0.5)
    equilibrium = 2 * 45 * (y**2 / 2 + H * y - i * (np.log1p(L * y) / L if L else y))
    assert np.log(up[:-1] / down[1:]) == approx(np.diff(equilibrium), abs=1e-9)
    assert up[-1] == down[0] == 0
    assert (up[:-1] > 0).all()
    assert (down[1:] > 0).all()


def test_hopping_rates_are_the_diffusion():
    """Where the force vanishes a hop is (1 - y^2)/(2 Delta h^2) both ways: not 1/Delta (trap 5)."""
    Delta, cells = 30.0, 2000
    up, down = hopping_rates(AxialWrite(thermal_stability=Delta, drive=0.0), 0.0, cells)
    middle, width = cells // 2, 2 / cells
    assert up[middle - 1] == approx(1 / (2 * Delta * width**2), rel=1e-3)
    assert down[middle] == approx(1 / (2 * Delta * width**2), rel=1e-3)


def test_chain_conserves_probability():
    write = AxialWrite(thermal_stability=45, drive=1.7, field=0.1, asymmetry=0.2)
    mass = finite_volume.starting_masses(write, 800)
    finite_volume.march(mass, *hopping_rates(write, 1.7, 800), 0.01, 500)
    assert mass.sum() == approx(1, abs=1e-12)
    assert (mass > 0).all()


def test_chain_solves_the_implicit_step():
    """The subtraction-free elimination against a dense solve."""
    rng = np.random.default_rng(5)
    n, step = 40, 0.3
    up, down = rng.uniform(0, 5, n), rng.uniform(0, 5, n)
    up[-1] = down[0] = 0.0
    L = np.diag(up + down) - np.diag(up[:-1], -1) - np.diag(down[1:], 1)
    mass = rng.uniform(0, 1, n)
    expected = np.linalg.solve(np.eye(n) + step * L, np.linalg.solve(np.eye(n) + step * L, mass))
    finite_volume.march(mass, up, down, step, 2)
    assert mass == approx(expected, rel=1e-12)


def test_full_sphere_generator_conserves_and_keeps_boltzmann():
    """No wall: the total is conserved, and the equilibrium at the drive is the null vector."""
    write = AxialWrite(thermal_stability=20, drive=0.6, field=0.1, asymmetry=0.3)
    solver = SpectralSolver(write, FULL_SPHERE)
    A, basis = solver.generator(0.6), solver.basis
    total = basis.trial @ basis.weights_all
    assert np.abs(total @ A).max() < 1e-9 * np.abs(A).max()
    log_p = write.log_equilibrium(basis.y_all, 0.6)
    density = np.exp(log_p - log_p.max())
    c = basis.trial @ (basis.weights_all * density)  # orthonormal without a wall
    assert np.abs(A @ c).max() < 1e-9 * np.abs(A).max() * np.abs(c).max()


# ---- order of convergence, measured ---------------------------------------------------------------------------------


def orders(errors):
    return np.log2(np.array(errors[:-1]) / np.array(errors[1:]))


def test_ramps_converge_with_order_four():
    """Commutator-free Magnus: halving the step divides the error by 16."""
    write = AxialWrite(thermal_stability=40, drive=2.0, rise_time=4.0)

    def log_rate(steps):
        density = (steps - 0.5) / (write.drive * write.rise_time) ** 0.6  # rounded up to `steps`
        return SpectralSolver(write, -0.75, ramp_steps=density).log_survival(3.0)(np.array([3.0]))[0]

    reference = log_rate(128)
    errors = [abs(log_rate(steps) - reference) for steps in (4, 8, 16, 32)]
    assert orders(errors)[1:] == approx(4, abs=0.3)


def test_a_staircase_would_be_seen():
    """Trap 12: 24 stairs at the middle of their step are 1e-4 off; the product of the shipped ramp is not."""
    write = AxialWrite(thermal_stability=60, drive=2.5, rise_time=1.0)
    plateau = 6.0
    right = tail_probability(write, np.array([plateau]))[0]
    solver = SpectralSolver(write, -0.9)
    c, row, stairs = solver.start(), solver.basis.survive, 24
    levels = (np.arange(stairs) + 1) / stairs  # the current at the end of each step
    for a in levels:
        c = expm(solver.generator(a * write.drive) / stairs) @ c
    c = expm(solver.generator(write.drive) * plateau) @ c
    for a in levels[::-1]:
        c = expm(solver.generator(a * write.drive) / stairs) @ c
    assert abs(row @ c / right - 1) > 1e-4


def test_finite_volume_converges_with_order_two():
    """In the width of a cell, steps fixed: each halving divides the error of the logarithm by four."""
    write = AxialWrite(thermal_stability=40, drive=2.0, field=0.1, asymmetry=0.2)
    schedule = Schedule.of(write, np.array([6.0]), "both", 0.1)
    logs = [schedule.solve(cells, 1)[0, :, 0] for cells in (400, 800, 1600, 3200, 6400)]
    steps = np.abs(np.diff(logs, axis=0))
    assert orders(steps[:, 0]) == approx(2, abs=0.1)
    assert orders(steps[:, 1]) == approx(2, abs=0.1)


def test_implicit_euler_converges_with_order_one():
    """In the parts of a stride: 1, 2, 4 and 8 of them."""
    write = AxialWrite(thermal_stability=40, drive=2.0)
    logs = Schedule.of(write, np.array([6.0]), "stayed", 0.02).solve(800, 1)[:, 0, 0]
    steps = np.abs(np.diff([logs[CUTS.index(k)] for k in (1, 2, 4, 8)]))
    assert orders(steps) == approx(1, abs=0.15)


@pytest.mark.parametrize("change", [0.1, 0.05])
def test_extrapolation_gains_what_it_promises(change):
    """Nine step sizes and three meshes: below 2e-6 where the finest of them alone is off by 1e-2."""
    write = AxialWrite(thermal_stability=60, drive=2.5)
    right = np.log(tail_probability(write, np.array([8.0])))
    tails = solve_tails(write, np.array([8.0]), tail="stayed", change=change)
    assert abs(tails.log_stayed - right)[0] < 2e-6
    assert abs(tails.log_stayed - right)[0] < tails.error_stayed[0]
    cells = finite_volume.mesh_size(write)
    finest = Schedule.of(write, np.array([8.0]), "stayed", change).solve(cells, 2)[0, 0]
    assert abs(finest - right)[0] > 1e-3


def test_extrapolation_with_several_widths():
    write, tau = AxialWrite(thermal_stability=12, drive=4.0), np.array([14.926, 16.419, 22.39, 29.85])
    right = math.log(tail_probability(write, tau[:1])[0])
    assert solve_tails(write, tau).log_stayed[0] == approx(right, abs=TWO_ROADS)


@pytest.mark.parametrize("flat", [True, False])
@pytest.mark.parametrize("back", [True, False])
def test_lanes_take_the_steps_of_one_chain(flat, back):
    """Nine cuts in four lanes, forwards and as functionals, against the elimination of one chain."""
    write = AxialWrite(thermal_stability=20, drive=1.5, field=0.1, asymmetry=0.2)
    mesh = Mesh(write, 60, 1)
    up, down = hopping_rates(write, 1.5, 60)
    L = np.diag(up + down) - np.diag(up[:-1], -1) - np.diag(down[1:], 1)
    start = np.random.default_rng(5).uniform(0, 1, 60)
    m = np.repeat(start[:, None], len(CUTS), axis=1)
    time, one = np.array([0.2, 0.2, 0.05]), np.ones(3)
    advance(m, *mesh.rates, time, one, one, flat, back)
    for column, cuts in zip(m.T, CUTS, strict=True):
        expected = start
        for stride in time[::-1] if back else time:
            matrix = np.linalg.inv(np.eye(60) + stride / cuts * (L.T if back else L))
            expected = np.linalg.matrix_power(matrix, cuts) @ expected
        assert column == approx(expected, rel=1e-9)


def test_functionals_are_the_transposed_masses():
    """A ramp forwards on the masses, or backwards on the judge: the same probability."""
    write = AxialWrite(thermal_stability=20, drive=2.0, rise_time=1.0)
    mesh = Mesh(write, 100, 1)
    ramp = np.full(4, 0.25), np.array([1.0, 0.75, 0.5, 0.25]), np.array([0.75, 0.5, 0.25, 0.0])
    m, row = (np.repeat(v[:, None], len(CUTS), axis=1) for v in (mesh.start / SCALE, np.arange(100) >= mesh.lower))
    row = row.astype(float)
    ahead, judged = m.copy(), row.copy()
    advance(ahead, *mesh.rates, *ramp, mesh.flat, False)
    advance(judged, *mesh.rates, *ramp, mesh.flat, True)
    assert (row * ahead).sum(axis=0) == approx((judged * m).sum(axis=0), rel=1e-12)


@pytest.mark.parametrize(
    ("Delta", "i", "H", "L"),
    [(20, 2, 0, 0), (60, 1.5, 0.1, 0.3), (100, 4, 0, -0.3), pytest.param(80, 10, 0, 0, marks=pytest.mark.slow)],
)
def test_basis_is_converged(monkeypatch, Delta, i, H, L):
    """48 polynomials more change nothing, with and without a ramp."""
    healthy = spectral.basis_size
    for rise in (0.0, 1.0):
        write = AxialWrite(thermal_stability=Delta, drive=i, field=H, asymmetry=L, rise_time=rise)
        plateau = np.array([10.0 / i])
        shipped = SpectralSolver(write, -0.75).log_survival(plateau[0])(plateau)
        with monkeypatch.context() as patch:
            patch.setattr(spectral, "basis_size", lambda *given: healthy(*given) + 48)
            larger = SpectralSolver(write, -0.75).log_survival(plateau[0])(plateau)
        assert shipped == approx(larger, abs=1e-6)


def test_wall_does_not_matter_where_it_holds():
    """Every wall that `returning_mass` allows gives the same rate; one that it forbids need not."""
    write = AxialWrite(thermal_stability=40, drive=2.0, relax_time=1.0)
    tau = np.array([5.0])
    answers = {w: SpectralSolver(write, w).log_survival(tau[0])(tau)[0] for w in spectral.WALLS}
    bounds = {w: returning_mass(write, w, tau[0]).excursion for w in answers}
    allowed = [answers[w] for w in answers if bounds[w] < axial.FORGOTTEN]
    assert len(allowed) >= 2
    assert np.ptp(allowed) < 1e-7
    first = spectral.WALLS[0]
    assert bounds[first] > axial.FORGOTTEN
    assert abs(answers[first] - allowed[-1]) > 1e-4


@pytest.mark.parametrize(("Delta", "i", "rise"), [(15, 6.0, 1.0), (25, 3.0, 4.0)])
def test_wall_remembers_the_falling_ramp(Delta, i, rise):
    """What the plateau can forget may still come back while the current falls: 3e-3 with the plateau's wall alone."""
    write, tau = AxialWrite(thermal_stability=Delta, drive=i, rise_time=rise), np.array([2.0])
    near, far = (SpectralSolver(write, wall).log_survival(2.0)(tau) for wall in (spectral.WALLS[0], -0.9))
    assert np.log(tail_probability(write, tau)) == approx(far, abs=TWO_ROADS)
    assert abs(near - far)[0] > 1e-3


def test_interpolation_between_nodes(monkeypatch):
    """Quintic Hermite: twice the nodes change nothing."""
    write, tau = AxialWrite(thermal_stability=60, drive=2.5), np.linspace(0.05, 9.0, 200)
    shipped = tail_probability(write, tau)
    monkeypatch.setattr(spectral, "STEPS_PER_OCTAVE", 40)
    assert shipped == approx(tail_probability(write, tau), rel=1e-7)


def test_basis_shapes_and_cache():
    basis = build_basis(32, -0.6)
    assert basis.diffusion.shape == basis.linear.shape == (32, 32)
    assert build_basis(32, -0.6) is basis


# ---- temperature in each of its four places (trap 14) ----------------------------------------------------------------

LAWS = {"curie_temperature": 1000.0, "anisotropy_exponent": 2.5}


def reduced_at(device, temperature):
    return reduced_write(device, "p_to_ap", 60e-6, temperature, 0.0, 0.0)


def test_temperature_in_the_barrier():
    write, tau = reduced_at(junction(60), 400.0)
    assert write.thermal_stability == approx(60 * 300 / 400, rel=1e-12)
    assert write.drive == approx(2, rel=1e-9)  # I_c0 and tau_D move through the laws only
    assert tau == approx(TAU, rel=1e-12)


def test_temperature_in_the_start():
    """Mean of 1 - y in the well is about 1/(2 Delta): it doubles with the temperature."""
    tilts = []
    for T in (200.0, 400.0):
        masses = finite_volume.starting_masses(reduced_at(junction(60), T)[0], 4000)
        tilts.append(masses @ (1 - np.linspace(-1, 1, 4001)[:-1] - 1 / 4000))
    assert tilts[1] / tilts[0] == approx(2, rel=0.03)


def test_temperature_in_the_noise():
    """The hop at the equator is 1/(2 Delta h^2): it doubles with the temperature."""
    hops = [hopping_rates(reduced_at(junction(60), T)[0], 0.0, 2000)[0][999] for T in (200.0, 400.0)]
    assert hops[1] / hops[0] == approx(2, rel=1e-3)


def test_temperature_in_the_laws():
    """Ms by Bloch, B_k ~ Ms^(n-1): I_c0 ~ Ms B_k falls, tau_D ~ 1/B_k grows, Delta ~ Ms B_k / T."""
    device = junction(60, **LAWS)
    ms = (1 - (400 / 1000) ** 1.5) / (1 - (300 / 1000) ** 1.5)
    write, tau = reduced_at(device, 400.0)
    assert write.thermal_stability == approx(60 * ms * ms**1.5 * 300 / 400, rel=1e-9)
    assert write.drive == approx(2 / (ms * ms**1.5), rel=1e-9)
    assert tau == approx(TAU / ms**1.5, rel=1e-9)
    h = reduced_at(junction(60, h=0.1, **LAWS), 400.0)[0].field
    assert h == approx(0.1 / ms**1.5, rel=1e-9)


def test_forgetting_the_temperature_anywhere_would_be_seen():
    """One place at a time is left at 300 K while the rest is at 400 K: the rate moves by a per cent and more."""
    device = junction(60, **LAWS)
    hot, tau = reduced_at(device, 400.0)
    cold, cold_tau = reduced_at(device, 300.0)
    seconds = 8e-9
    right = tail_probability(hot, np.array([seconds / tau]))[0]
    assert write_error_rate(device, current=60e-6, pulse_width=seconds, temperature=400.0) == approx(right)

    class ColdStart(AxialWrite):
        def starting_density(self, y):
            return cold.starting_density(y)

    fields = ("thermal_stability", "drive", "field", "asymmetry", "rise_time", "relax_time")
    values = {name: getattr(hot, name) for name in fields}
    mutants = {
        "start": (ColdStart(**values), tau),
        "barrier and noise": (AxialWrite(**(values | {"thermal_stability": cold.thermal_stability})), tau),
        "laws: drive": (AxialWrite(**(values | {"drive": cold.drive})), tau),
        "laws: time": (hot, cold_tau),
    }
    for name, (write, scale) in mutants.items():
        wrong = tail_probability(write, np.array([seconds / scale]))[0]
        assert abs(wrong / right - 1) > 0.01, name
