"""Populations: what spreads, what that does to a rate, and whether the fitted surface and the mean say their errors."""

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, norm

from bridge.dies.rate_distribution import RateDistribution, mean_rate
from bridge.dies.rate_surface import RateSurface
from bridge.dies.spread import PROPERTIES, Spread
from bridge.dies.variability import CHUNK, Population
from bridge.write import WriteSetting
from mtjsim import MTJ, effective_anisotropy_field, load_preset, write_error_rate
from mtjsim.fokker_planck.reduced import reduced_write
from physics import approx, junction

DEVICE = junction()
LOPSIDED = DEVICE.replace(stray_field=(0, 0, 0.01), spin_torque_asymmetry=0.3, field_like_ratio=2.0)
VCMA = LOPSIDED.replace(vcma_coefficient=2e-14, barrier_thickness=1.2e-9, tmr_half_voltage=0.6)
SETTING = WriteSetting(current_0=75e-6, current_1=75e-6, pulse_width=7.45e-9)  # 1e-3 at the nominal junction
SPREAD = Spread(
    diameter_d2d=0.03,
    thickness_d2d=0.01,
    anisotropy_d2d=0.03,
    resistance_area_product_d2d=0.05,
    tunnel_magnetoresistance_d2d=0.03,
    damping_d2d=0.05,
)


def normals(count, dimension, seed=0, within=None):
    z = np.random.default_rng(seed).standard_normal((count, dimension))
    if within:  # spread over a ball, so that the far cells are seen too
        length = np.linalg.norm(z, axis=1)
        z *= (within * np.random.default_rng(seed + 1).random(count) ** 0.3 / length)[:, None]
    return z


@pytest.fixture(scope="module")
def population():
    return Population(DEVICE, SPREAD, SETTING)


# ---- the spread ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"diameter_d2d": -0.01}, "diameter_d2d must be finite and >= 0, got -0.01"),
        ({"damping_d2d": math.nan}, "damping_d2d must be finite"),
        ({"damping_d2d": 5}, r"damping_d2d must be <= 0.3, got 5.* Is it 5 %\? Then give 0.05"),
        ({"damping_d2d": 0.4}, "A normal would go negative"),
        ({"drive_c2c": 0.25}, "drive_c2c must be <= 0.2"),
        ({"anisotropy": "bulk"}, "anisotropy must be one of 'net', 'interface'"),
        ({"correlations": {("diameter", "dampnig"): 0.1}, "diameter_d2d": 0.1}, "Did you mean 'damping'"),
        ({"correlations": {("diameter", "damping"): 1.1}, "diameter_d2d": 0.1, "damping_d2d": 0.1}, "between -1 and 1"),
        ({"correlations": {("diameter", "damping"): "x"}, "diameter_d2d": 0.1, "damping_d2d": 0.1}, "must be a number"),
        ({"correlations": {("diameter", "damping"): 0.5}, "diameter_d2d": 0.1}, "damping, which does not spread"),
        ({"correlations": {"diameter": 0.5}, "diameter_d2d": 0.1}, "pairs of two different properties"),
        (
            {
                "correlations": {("diameter", "damping"): 0.5, ("damping", "diameter"): 0.4},
                "diameter_d2d": 0.1,
                "damping_d2d": 0.1,
            },
            "given twice: 0.5, 0.4",
        ),
        (
            {
                "correlations": {
                    ("diameter", "damping"): 0.9,
                    ("thickness", "damping"): 0.9,
                    ("diameter", "thickness"): -0.9,
                },
                "diameter_d2d": 0.1,
                "damping_d2d": 0.1,
                "thickness_d2d": 0.1,
            },
            "positive semidefinite matrix, got an eigenvalue of -0.8",
        ),
    ],
)
def test_bad_spreads(arguments, message):
    with pytest.raises(ValueError, match=message):
        Spread(**arguments)


def test_a_spread_is_a_value():
    pair = {("damping", "diameter"): 0.5}
    one = Spread(diameter_d2d=0.1, damping_d2d=0.1, correlations=pair)
    assert one == Spread(diameter_d2d=0.1, damping_d2d=0.1, correlations={("diameter", "damping"): 0.5})
    assert hash(one) == hash(replace(one))
    assert one != replace(one, correlations={})


def test_factors_have_the_mean_the_deviation_and_the_correlation():
    """2e6 cells: the standard error of a mean is 7e-4 sd, of a correlation 7e-4; limits at 6 of them."""
    spread = Spread(diameter_d2d=0.05, damping_d2d=0.3, thickness_d2d=0.1, correlations={("diameter", "damping"): -0.6})
    f = spread.factors(normals(2_000_000, 3))
    assert all((value > 0.1).all() and (value < 1.9).all() for value in f.values())
    for name, value in f.items():
        sd = getattr(spread, f"{name}_d2d")
        cut = 0.9 / sd
        expected = sd * math.sqrt(1 - 2 * cut * norm.pdf(cut) / (norm.cdf(cut) - norm.cdf(-cut)))
        assert value.mean() == approx(1, abs=6 * 7.1e-4 * sd)
        assert value.std() == approx(expected, rel=6 * 5e-4)
    assert np.corrcoef(f["diameter"], f["damping"])[0, 1] == approx(-0.6, abs=5e-3)  # the cut takes 2e-3
    assert np.corrcoef(f["diameter"], f["thickness"])[0, 1] == approx(0, abs=5e-3)


@given(st.floats(-12, 12), st.floats(0.01, 0.3))
def test_no_cell_is_negative(z, sd):
    factor = Spread(damping_d2d=sd).factors(np.array([[z]]))["damping"][0]
    assert 0.1 - 1e-12 <= factor <= 1.9 + 1e-12 or (sd * abs(z) > 0.9 and sd < 0.9 / 8)  # normals end at 8 sd
    assert math.copysign(1, factor - 1) == math.copysign(1, z) or factor == 1


# ---- one cell --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("imposed", ["current", "voltage"])
@pytest.mark.parametrize("device", [DEVICE, LOPSIDED, VCMA], ids=["plain", "lopsided", "vcma"])
def test_coordinates_are_those_of_the_cells_junction(device, imposed):
    """Two roads from a draw to a reduced write: ratios to the nominal one, and the declaration of the cell."""
    spread = Spread(**{f"{name}_d2d": 0.05 for name in PROPERTIES})
    pulse = {"pulse_width": 7e-9, "rise_time": 1e-9, "relax_time": 2e-9}
    amplitudes = {f"{imposed}_0": 0.4, f"{imposed}_1": 0.5} if imposed == "voltage" else {}
    setting = WriteSetting(**amplitudes, **pulse) if amplitudes else replace(SETTING, **pulse)
    cells = Population(device, spread, setting, 350.0)
    level = {"current": 75e-6, "voltage": 0.5}[imposed]
    for z in normals(5, len(PROPERTIES), seed=3):
        x = cells.coordinates(z[None])[0]
        write = cells.write(1)
        tau = write.time * math.exp(x[-1])
        expected, expected_tau = reduced_write(cells.cell_device(z), "p_to_ap", level, 350.0, 1e-9, 2e-9, imposed)
        assert tau == approx(expected_tau, rel=1e-12)
        got = write.reduced(x[:-1], tau)
        for name in ("thermal_stability", "drive", "field", "asymmetry", "rise_time", "relax_time"):
            assert getattr(got, name) == approx(getattr(expected, name), rel=1e-11), name
        law, expected_law = got.conduction, expected.conduction
        assert (law is None) == (expected_law is None)
        if law is not None:
            for name in ("tunnel_magnetoresistance", "bias", "softening"):
                assert getattr(law, name) == approx(getattr(expected_law, name), rel=1e-11), name


def test_effective_figures_spread_one_by_one():
    for name, figure in [
        ("thermal_stability", MTJ.thermal_stability),
        ("critical_current", MTJ.critical_current),
        ("characteristic_time", MTJ.characteristic_time),
    ]:
        cell = Population(DEVICE, Spread(**{f"{name}_d2d": 0.1}), SETTING).cell_device(np.array([1.0]))
        for other in (MTJ.thermal_stability, MTJ.critical_current, MTJ.characteristic_time):
            assert other(cell) / other(DEVICE) == approx(1.1 if other is figure else 1.0, rel=1e-7)


def test_interface_anisotropy_follows_the_geometry():
    """arm_2021 is declared by K_i = 1 mJ/m^2: a cell's B_k is that of its own cylinder."""
    arm = load_preset("arm_2021")
    spread = Spread(diameter_d2d=0.05, thickness_d2d=0.01, anisotropy_d2d=0.01, anisotropy="interface")
    cells = Population(arm, spread, SETTING)
    for z in normals(4, 3, seed=2):
        cell = cells.cell_device(z)
        expected = effective_anisotropy_field(
            interface_anisotropy=1e-3 * (1 + 0.01 * z[2]),
            saturation_magnetization=arm.saturation_magnetization,
            diameter=cell.diameter,
            thickness=cell.thickness,
        )
        assert cell.anisotropy_field == approx(expected, rel=1e-9)
    with pytest.raises(ValueError, match=r"without perpendicular anisotropy.*smaller thickness_d2d"):
        Population(arm, replace(spread, thickness_d2d=0.1), SETTING).coordinates(normals(1000, 3))


def test_under_a_voltage_resistance_matters():
    """A junction of low RA takes more current from the same voltage, and fails less; a current source does not care."""
    spread = Spread(resistance_area_product_d2d=0.05)
    z = np.array([[-1.0], [0.0], [1.0]])
    by_voltage = Population(DEVICE, spread, WriteSetting(voltage_0=0.5, voltage_1=0.4, pulse_width=8e-9))
    rates = by_voltage.direct_log_rates(1, z)
    assert rates[0] < rates[1] - 0.1 < rates[2] - 0.2
    for bit, direction, voltage in ((0, "ap_to_p", 0.5), (1, "p_to_ap", 0.4)):
        for cell in z:
            device = by_voltage.cell_device(cell)
            expected = write_error_rate(device, voltage=voltage, pulse_width=8e-9, direction=direction)
            assert np.exp(by_voltage.direct_log_rates(bit, cell[None])[0]) == approx(expected, rel=1e-9)
    assert np.ptp(Population(DEVICE, spread, SETTING).direct_log_rates(1, z)) == 0


def test_cycles_are_averaged_inside_each_rate():
    """Against 121 currents and 121 widths under their normals. Averaging matters here: 1.25 and 1.08 times."""
    for name, factor in (("drive_c2c", 1.2), ("pulse_width_c2c", 1.05)):
        sd = 0.04
        cells = Population(DEVICE, Spread(**{name: sd}), SETTING)
        u = np.linspace(-6, 6, 121)
        weight = norm.pdf(u) / norm.pdf(u).sum()
        current, width = (75e-6 * (1 + sd * u), 7.45e-9) if name == "drive_c2c" else (75e-6, 7.45e-9 * (1 + sd * u))
        rates = write_error_rate(DEVICE, current=current, pulse_width=width)
        found = float(np.exp(cells.direct_log_rates(1, np.zeros((1, 0)))[0]))
        assert found == approx(weight @ rates, rel=1e-4)
        assert found > factor * write_error_rate(DEVICE, current=75e-6, pulse_width=7.45e-9)


def test_rates_below_the_smallest_number_carry_on_as_the_tail_does():
    """ln WER falls linearly in the pulse width; below e^-645 the solver's number is no longer a normal one."""
    device = junction(150)
    setting = replace(SETTING, current_1=120e-6)
    log_rate = [
        Population(device, Spread(), replace(setting, pulse_width=width)).direct_log_rates(1, np.zeros((1, 0)))[0]
        for width in (100e-9, 200e-9, 300e-9)
    ]
    assert -645 < log_rate[1] < -500
    assert log_rate[2] < -750
    assert log_rate[2] - log_rate[1] == approx(log_rate[1] - log_rate[0], rel=1e-6)


# ---- the surface -----------------------------------------------------------------------------------------------------

SURFACES = {
    "plain": (DEVICE, SPREAD, SETTING),
    "deep": (DEVICE, SPREAD, replace(SETTING, pulse_width=16.6e-9)),
    "near threshold": (
        DEVICE,
        Spread(diameter_d2d=0.05, anisotropy_d2d=0.05, damping_d2d=0.05),
        WriteSetting(current_0=39e-6, current_1=39e-6, pulse_width=20e-9),
    ),
    "wide": (DEVICE, Spread(diameter_d2d=0.1, anisotropy_d2d=0.08, damping_d2d=0.1), SETTING),
    "lopsided": (LOPSIDED, SPREAD, replace(SETTING, current_1=90e-6)),
    "voltage": (DEVICE, SPREAD, WriteSetting(voltage_0=0.75, voltage_1=0.45, pulse_width=8e-9)),
    "one axis": (DEVICE, Spread(characteristic_time_d2d=0.05), SETTING),
    "cycles": (DEVICE, Spread(diameter_d2d=0.03, drive_c2c=0.03, pulse_width_c2c=0.02), SETTING),
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in ("voltage", "one axis") else pytest.mark.slow) for name in SURFACES]
)
def test_the_surface_is_within_a_percent_of_direct_solves(name):
    """Cells as drawn and as far as 4.5 sd: the promise is 1 %, the stored error a bound within a factor 2."""
    cells = Population(*SURFACES[name])
    p, count = len(cells.spread.properties), 10 if name == "cycles" else 50
    z = np.concatenate([normals(count, p, seed=11), normals(count, p, seed=12, within=4.5)])
    for bit in (0, 1) if cells.surfaces[0] is not cells.surfaces[1] else (1,):
        error = np.abs(cells.log_rates(bit, z) - cells.direct_log_rates(bit, z))
        surface = cells.surfaces[bit]
        assert error.max() < 0.01
        assert error.max() < 2 * surface.worst_error + 1e-5
        assert surface.worst_error < 5e-3
        assert surface.solves < 500


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ramps", "relaxation", *SURFACES])
def test_the_surface_at_many_cells(name):
    cases = SURFACES | {
        "ramps": (DEVICE, SPREAD, replace(SETTING, rise_time=1e-9)),
        "relaxation": (LOPSIDED, SPREAD, replace(SETTING, rise_time=1e-9, relax_time=5e-9)),
    }
    cells = Population(*cases[name])
    count = 100 if name in ("ramps", "relaxation", "cycles") else 1000
    p = len(cells.spread.properties)
    z = np.concatenate([normals(count, p, seed=21), normals(count // 2, p, seed=22, within=5)])
    assert np.abs(cells.log_rates(1, z) - cells.direct_log_rates(1, z)).max() < 0.01


def test_a_poor_surface_says_so(population):
    """Negative control: a polynomial of degree 2 on a wide population is off, and its stored error knows."""
    wide = Population(*SURFACES["wide"])
    z = normals(60, 3, seed=5)
    x = wide.coordinates(normals(4096, 3, seed=6))
    x[:, [2, 3, 4, 5]] = 0.0  # what a current-driven write in no field does not feel
    poor = RateSurface.fit(wide.write(1), x, tolerance=100.0)
    at = wide.coordinates(z)
    at[:, [2, 3, 4, 5]] = 0.0
    error = np.abs(poor(at)[0] - wide.direct_log_rates(1, z)).max()
    assert poor.degree == 2
    assert 0.05 < error < 2 * poor.worst_error


def test_cells_beyond_the_surface_are_solved(population):
    z = np.zeros((3, 6))
    z[:, 0] = 0.0, 7.0, -9.0
    assert population.surfaces[1](population.coordinates(z))[1].tolist() == [True, False, False]
    assert population.log_rates(1, z)[1:] == approx(population.direct_log_rates(1, z)[1:], rel=1e-12)


def test_equal_writes_share_one_surface(population):
    assert population.surfaces[0] is population.surfaces[1]
    other = Population(DEVICE, Spread(damping_d2d=0.05), replace(SETTING, current_1=90e-6))
    assert other.surfaces[0] is not other.surfaces[1]


# ---- the mean --------------------------------------------------------------------------------------------------------


class LogNormal(SimpleNamespace):
    """A surface that is exactly linear: its mean rate is known."""

    def __init__(self, intercept, gradient):
        super().__init__(radius=40.0, axes=SimpleNamespace(dimension=len(gradient)), worst_error=0.0)
        self.intercept, self.gradient = intercept, np.asarray(gradient, dtype=float)

    def __call__(self, x):
        return self.intercept + x @ self.gradient, np.ones(len(x), dtype=bool)


@settings(max_examples=20)
@given(st.floats(0.1, 8), st.integers(1, 6), st.integers(0, 1000))
def test_mean_of_a_log_normal(sd, dimension, seed):
    """exp(mean + sd^2/2): at sd = 8 the cells that decide it are 8 sd out, one in 1e15. False alarms: 1e-3 each."""
    gradient = np.linspace(1, 2, dimension)
    gradient *= sd / np.linalg.norm(gradient)
    found = mean_rate(LogNormal(-40.0, gradient), lambda z: z, dimension, points=512, seed=seed)
    exact = math.exp(-40 + sd * sd / 2)
    assert abs(found.rate - exact) <= 2 * found.error + 1e-9 * exact
    assert found.error < 0.1 * exact
    assert found.shift == approx(sd, rel=0.2, abs=0.1)


def test_the_error_estimate_covers(population):
    """60 seeds at 64 points each against 2^14: the estimate is for 999 in 1000, so more than 3 misses: 2e-6."""
    surface = population.surfaces[1]
    reference = population.mean_error_rates(points=1 << 14, seed=99)[1].rate
    misses = 0
    for seed in range(60):
        found = population.mean_error_rates(points=64, seed=seed)[1]
        sampling = found.error - surface.worst_error * found.rate
        misses += abs(found.rate - reference) > sampling
    assert misses <= 3
    assert binom.sf(3, 60, 1e-3) < 1e-5


def test_mean_of_direct_samples(population):
    """1500 direct solves: their mean within 5 standard errors (6e-7) and the estimate; finds 20 % off."""
    rates = np.exp(population.direct_log_rates(1, normals(1500, 6, seed=31)))
    found = population.mean_error_rates()[1]
    standard_error = rates.std() / math.sqrt(len(rates))
    assert standard_error < 0.04 * found.rate
    assert abs(rates.mean() - found.rate) < 5 * standard_error + found.error
    assert found.error < 3e-3 * found.rate
    nominal = write_error_rate(DEVICE, current=75e-6, pulse_width=7.45e-9)
    assert found.rate > 1.5 * nominal  # the mean of a population is not the rate of its mean


@pytest.mark.slow
def test_mean_of_a_hundred_thousand_direct_samples():
    """Spread of all nine properties, some correlated; 5 standard errors, 6e-7; finds 2 % off."""
    device = junction(40)
    spread = Spread(
        **{f"{name}_d2d": 0.02 for name in PROPERTIES},
        correlations={("diameter", "damping"): 0.5, ("thickness", "anisotropy"): -0.5},
    )
    cells = Population(device, spread, SETTING)
    rates = np.exp(cells.direct_log_rates(1, normals(100_000, 9, seed=41)))
    found = cells.mean_error_rates()[1]
    standard_error = rates.std() / math.sqrt(len(rates))
    assert abs(rates.mean() - found.rate) < 5 * standard_error + found.error
    assert standard_error < 0.005 * found.rate


def test_mean_where_far_cells_decide():
    """sd of ln WER 4.5: cells 3 to 5 sd out decide, beyond a plain sample. Against the surface under a wide normal."""
    cells = Population(
        DEVICE, Spread(diameter_d2d=0.05, damping_d2d=0.05), replace(SETTING, current_1=100e-6, pulse_width=12e-9)
    )
    z = 2.2 * normals(1000, 2, seed=51)
    weight = 2.2**2 * np.exp(-(z**2).sum(axis=1) / 2 * (1 - 1 / 2.2**2))
    terms = weight * np.exp(cells.direct_log_rates(1, z))
    found = cells.mean_error_rates()[1]
    assert found.shift > 2.5
    assert abs(terms.mean() - found.rate) < 5 * terms.std() / math.sqrt(len(z)) + found.error
    assert terms.std() / math.sqrt(len(z)) < 0.2 * found.rate


# ---- the distribution ------------------------------------------------------------------------------------------------


def test_narrow_spreads_make_a_log_normal():
    """Imamura and Arai: to first order the sd of ln WER is that of its linear part, from the front door's slopes."""
    spread = Spread(diameter_d2d=0.01, anisotropy_d2d=0.01, damping_d2d=0.01)
    cells = Population(DEVICE, spread, SETTING)
    slopes = []
    for k in range(3):
        step = np.eye(3)[k] * 0.5
        pair = [
            write_error_rate(cells.cell_device(sign * step), current=75e-6, pulse_width=7.45e-9) for sign in (1, -1)
        ]
        slopes.append(math.log(pair[0] / pair[1]))
    found = cells.distribution(1)
    assert found.sd_log == approx(math.hypot(*slopes), rel=0.01)
    assert abs(found.skewness) < 0.15
    assert found.distance < 0.012
    assert found.log_normal_mean == approx(cells.mean_error_rates()[1].rate, rel=5e-3)
    assert found.median == approx(found.log_normal_quantile(0.5), rel=0.02)


def test_log_normality_fails_where_rates_saturate_and_where_spreads_are_wide():
    near_one = Population(DEVICE, SPREAD, replace(SETTING, pulse_width=3e-9)).distribution(1)
    assert near_one.skewness < -0.8
    assert near_one.distance > 0.04
    wide = Population(
        DEVICE, Spread(diameter_d2d=0.05, damping_d2d=0.05), replace(SETTING, current_1=100e-6, pulse_width=20e-9)
    )
    found = wide.distribution(1)
    assert found.sd_log > 5
    assert found.log_normal_mean > 10 * wide.mean_error_rates()[1].rate  # the tail that the log-normal has is not there


def test_quantiles_and_histogram(population):
    found = population.distribution(1, cells=1 << 12)
    q = found.quantile([0.01, 0.5, 0.99])
    assert (np.diff(q) > 0).all()
    edges, density = found.histogram(40)
    assert (density * np.diff(np.log10(edges))).sum() == approx(1)
    assert edges[0] == approx(found.quantile(0.0))
    with pytest.raises(ValueError, match=r"q must be between 0 and 1, got 99"):
        found.quantile(99)
    with pytest.raises(ValueError, match="power of two, got 1000"):
        population.distribution(1, cells=1000)
    exact = RateDistribution.of(-10 + 2 * norm.ppf((np.arange(4096) + 0.5) / 4096))
    assert (exact.mean_log, exact.sd_log) == approx((-10, 2), rel=1e-3)
    assert exact.distance < 1e-3
    with pytest.raises(ValueError, match="two finite numbers"):
        RateDistribution.of([-1.0, -math.inf])


# ---- the cells of a die ----------------------------------------------------------------------------------------------


def test_same_seed_same_bits_for_any_number_of_workers(population):
    count = 2 * CHUNK + 1000
    one, two = (population.cells(count, seed=7, workers=w) for w in (1, 3))
    short = population.cells(CHUNK + 10, seed=7)
    other = population.cells(1000, seed=8)
    assert one.origin == two.origin
    for name, value in vars(one).items():
        if name == "origin":
            continue
        assert np.array_equal(value, getattr(two, name)), name
        assert np.array_equal(value[..., : CHUNK + 10], getattr(short, name)), name
        assert not np.isin(getattr(other, name), value).any(), name


def test_cells_are_one_draw(population):
    """A cell's rate, resistances and stability belong to one junction."""
    cells = population.cells(200_000, seed=3)
    # diameter 3 % and RA 5 %: sd of R_P is hypot(0.05, 0.06); standard error of an sd at 2e5 cells: 0.16 %
    assert np.log(cells.resistance_p).std() == approx(math.hypot(0.05, 0.06), rel=0.01)
    tmr = cells.resistance_ap / cells.resistance_p - 1
    assert tmr.mean() == approx(1, rel=1e-3)
    assert tmr.std() == approx(0.03, rel=0.01)
    assert np.log(cells.thermal_stability).std() == approx(math.hypot(0.06, 0.01, 0.03), rel=0.01)
    # a wide junction is stable, hard to write and of low resistance
    assert np.corrcoef(np.log(cells.error_rates[1]), np.log(cells.thermal_stability))[0, 1] > 0.5
    assert np.corrcoef(np.log(cells.error_rates[1]), np.log(cells.resistance_p))[0, 1] < -0.3
    found = population.mean_error_rates()
    for bit in (0, 1):
        rates = cells.error_rates[bit]
        assert abs(rates.mean() - found[bit].rate) < 5 * rates.std() / math.sqrt(200_000) + found[bit].error


def test_no_spread_is_the_junction_itself():
    cells = Population(DEVICE, Spread(), SETTING).cells(10, seed=0)
    expected = write_error_rate(DEVICE, current=75e-6, pulse_width=7.45e-9)
    assert cells.error_rates == approx(np.full((2, 10), expected), rel=1e-9)
    assert cells.resistance_p == approx(np.full(10, 5e3))
    assert cells.thermal_stability == approx(np.full(10, 60.0))
    mean = Population(DEVICE, Spread(), SETTING).mean_error_rates()[0]
    assert mean.rate == approx(expected, rel=1e-9)


def test_bad_populations(population):
    with pytest.raises(ValueError, match="not axisymmetric"):
        Population(load_preset("w_sot_80nm"), SPREAD, SETTING)
    with pytest.raises(ValueError, match="thermal_resistance"):
        Population(DEVICE.replace(thermal_resistance=1e6), SPREAD, SETTING)
    with pytest.raises(ValueError, match="spread must be of type Spread"):
        Population(DEVICE, 0.05, SETTING)
    with pytest.raises(ValueError, match="setting must be of type WriteSetting, got 7e-05"):
        Population(DEVICE, SPREAD, 7e-5)
    with pytest.raises(ValueError, match="temperature must be finite and > 0 K"):
        Population(DEVICE, SPREAD, SETTING, -1.0)
    with pytest.raises(ValueError, match="bit must be 0 or 1, got 2"):
        population.log_rates(2, np.zeros((1, 6)))
    with pytest.raises(ValueError, match="count must be a whole number >= 1"):
        population.cells(0, seed=1)
    with pytest.raises(ValueError, match="seed must be a whole number >= 0"):
        population.cells(10, seed=-1)


def test_identity_is_of_what_matters(population):
    assert population.identity == Population(DEVICE, replace(SPREAD), replace(SETTING)).identity
    for other in (
        Population(LOPSIDED, SPREAD, SETTING),
        Population(DEVICE, replace(SPREAD, damping_d2d=0.04), SETTING),
        Population(DEVICE, SPREAD, replace(SETTING, pulse_width=8e-9)),
        Population(DEVICE, SPREAD, SETTING, 310.0),
    ):
        assert other.identity != population.identity
