"""The sampled start against quadrature of its law, axial and with every field that breaks the symmetry."""

import itertools
import math
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2

from mtjsim import simulate_writes, write_error_rate
from mtjsim.macrospin.start import RINGS, SECTORS, BoltzmannStart
from mtjsim.torques import torque_of
from physics import approx, junction, within_binomial

ALARM = 1e-6
CHUNKS, COUNT = 40, 5000


def law(Delta, side, field=(0.0, 0.0, 0.0), second=0.0, temperature=300.0):
    """Fields in units of B_k."""
    device = junction(Delta)
    B_k = device.anisotropy_field
    device = device.replace(stray_field=tuple(B_k * b for b in field), in_plane_anisotropy_field=second * B_k)
    return BoltzmannStart(torque_of(device, temperature), side)


def energy(m, Delta, field, second):
    """(Ms V/kT)(B_k m_z^2/2 + B_k2 m_x^2/2 + B.m), with Delta = Ms V B_k/(2 k T)."""
    return 2 * Delta * (m[..., 2] ** 2 / 2 + second * m[..., 0] ** 2 / 2 + m @ np.array(field))


def cell_probabilities(Delta, side, field, second, edges, sectors):
    """Of cells in m_z side (edges, rising) and azimuth, by Gauss-Legendre in m_z and midpoints in azimuth."""
    nodes, shares = np.polynomial.legendre.leggauss(100)
    out = np.empty((len(edges) - 1, sectors))
    phi = 2 * np.pi * (np.arange(sectors * 24) + 0.5) / (sectors * 24)
    for row, (low, high) in enumerate(itertools.pairwise(edges)):
        z = (low + (high - low) * (nodes + 1) / 2)[:, None]
        r = np.sqrt(1 - z**2)
        m = np.stack(np.broadcast_arrays(r * np.cos(phi), r * np.sin(phi), side * z), axis=-1)
        weight = np.exp(energy(m, Delta, field, second) - 2 * Delta * (0.5 + np.linalg.norm(field) + abs(second) / 2))
        out[row] = (high - low) * (shares @ weight).reshape(sectors, 24).sum(axis=1)
    return out / out.sum()


CASES = [
    pytest.param(60, 1.0, (0, 0, 0), 0.0, id="axial"),
    pytest.param(20, -1.0, (0, 0, 0.2), 0.0, id="axial-opposing-field"),
    pytest.param(2, 1.0, (0, 0, -0.3), 0.0, id="shallow"),
    pytest.param(20, 1.0, (0.3, 0, 0), 0.0, id="in-plane-x"),
    pytest.param(20, -1.0, (0, -0.4, 0), 0.0, id="in-plane-y"),
    pytest.param(20, 1.0, (0, 0, 0), 0.5, id="second-anisotropy"),
    pytest.param(20, 1.0, (0, 0, 0), -0.5, id="second-hard-axis"),
    pytest.param(12, 1.0, (0.25, -0.2, -0.2), 0.4, id="everything-and-opposing"),
    pytest.param(40, -1.0, (-0.2, 0.3, 0.15), -0.3, id="everything-AP"),
    pytest.param(3, 1.0, (0.6, 0.6, -0.7), 0.9, id="no-well-at-all"),
]


def misfit(samples, Delta, side, field, second, bins=16, sectors=8):
    """Chi-square probability over cells of m_z and azimuth, those of less than 20 expected counts merged."""
    fine = np.linspace(0, 1, 4001)
    weight = cell_probabilities(Delta, side, field, second, fine[::10], 4).sum(axis=1)
    cumulative = np.concatenate([[0], np.cumsum(weight)])
    edges = np.interp(np.linspace(0, 1, bins + 1), cumulative, fine[::10])
    expected = len(samples) * cell_probabilities(Delta, side, field, second, edges, sectors).ravel()
    azimuth = np.mod(np.arctan2(samples[:, 1], samples[:, 0]), 2 * np.pi)
    observed = np.histogram2d(side * samples[:, 2], azimuth, [edges, np.linspace(0, 2 * np.pi, sectors + 1)])[0].ravel()
    rare = expected < 20
    expected = np.append(expected[~rare], expected[rare].sum())
    observed = np.append(observed[~rare], observed[rare].sum())
    keep = expected > 0
    statistic = ((observed - expected)[keep] ** 2 / expected[keep]).sum()
    return chi2.sf(statistic, keep.sum() - 1)


def drawn(start, seed=1, chunks=CHUNKS):
    return np.concatenate([start.sample(COUNT, seed=seed, chunk=chunk) for chunk in range(chunks)])


@pytest.mark.parametrize(("Delta", "side", "field", "second"), CASES)
def test_sampled_start_is_the_law(Delta, side, field, second):
    """200,000 samples in 128 cells, alarm 1e-6: catches a redistribution of 2 % between any two halves of the law."""
    samples = drawn(law(Delta, side, field, second))
    assert (side * samples[:, 2] >= 0).all()
    assert np.linalg.norm(samples, axis=1) == approx(1, abs=1e-12)
    assert misfit(samples, Delta, side, field, second) > ALARM


@pytest.mark.parametrize(
    "wrong",
    [
        {"Delta": 12 * 1.05},
        {"field": (0.25, -0.2, 0.2)},
        {"field": (0.25, 0.2, -0.2)},
        {"field": (0.25, -0.2, 0.0)},
        {"second": 0.3},
        {"second": -0.4},
    ],
)
def test_another_law_would_be_seen(wrong):
    """Trap 4."""
    truth = {"Delta": 12, "side": 1.0, "field": (0.25, -0.2, -0.2), "second": 0.4}
    assert misfit(drawn(law(**(truth | wrong))), **truth) < 1e-9


def test_the_side_and_the_temperature():
    samples = drawn(law(40, 1.0, temperature=600.0))
    assert misfit(samples, 20, 1.0, (0, 0, 0), 0.0) > ALARM
    assert misfit(samples, 40, 1.0, (0, 0, 0), 0.0) < 1e-9


@settings(max_examples=40)
@given(
    st.floats(1, 100),
    st.sampled_from([1.0, -1.0]),
    st.tuples(*[st.floats(-1.5, 1.5)] * 3),
    st.floats(-1.5, 1.5),
)
def test_bound_of_a_cell_is_a_bound(Delta, side, field, second):
    """Rejection is exact only if no point of a cell exceeds its bound."""
    start = law(Delta, side, field, second)
    u, phi, bound, cumulative = start.cells
    assert cumulative[-1] == approx(1, rel=1e-12)
    random = np.random.default_rng(1)
    ring, sector = random.integers(0, RINGS, 4000), random.integers(0, phi.size - 1, 4000)
    shares = random.choice([0.0, 0.5, 1.0, 0.3], (2, 4000))
    z = 1 - (u[ring] ** 2 + (u[ring + 1] ** 2 - u[ring] ** 2) * shares[0])
    angle = phi[sector] + (phi[sector + 1] - phi[sector]) * shares[1]
    r = np.sqrt(np.maximum(1 - z**2, 0))
    m = np.stack([r * np.cos(angle), r * np.sin(angle), side * z], axis=1)
    assert (start.log_density(m) <= bound[ring, sector] + 1e-9 * Delta).all()


def test_few_are_rejected():
    """The cells are small where the law is narrow: even at Delta 100 most draws are kept."""
    for Delta, field, second in ((100, (0, 0, 0), 0.0), (60, (0.2, 0.1, -0.1), 0.3)):
        start = law(Delta, 1.0, field, second)
        _, phi, bound, _ = start.cells
        samples = start.sample(2000, seed=1, chunk=0)
        u = np.sqrt(1 - samples[:, 2])
        sector = (np.mod(np.arctan2(samples[:, 1], samples[:, 0]), 2 * np.pi) / (2 * np.pi) * (phi.size - 1)).astype(
            int
        )
        ring = np.minimum((u * RINGS).astype(int), RINGS - 1)
        kept = np.exp(start.log_density(samples) - bound[ring, sector])
        assert 1 / (1 / kept).mean() > 0.5


def test_same_chunk_same_bits():
    start = law(40, 1.0, (0.1, 0, 0))
    assert (start.sample(100, seed=1, chunk=2) == start.sample(100, seed=1, chunk=2)).all()
    for seed, chunk in ((1, 3), (2, 2)):
        assert not np.isin(
            start.sample(100, seed=1, chunk=2)[:, 0], start.sample(100, seed=seed, chunk=chunk)[:, 0]
        ).any()


def test_wells_are_those_of_the_astroid():
    """|h_x|^(2/3) + |h_z|^(2/3) < 1 (Stoner, Wohlfarth), on either side."""
    for h in (0.1, 0.3, 0.6, 0.9):
        edge = (1 - h ** (2 / 3)) ** 1.5
        for shift, wells in ((0.98, True), (1.02, False)):
            assert law(40, -1.0, (h, 0, shift * edge)).has_well() == wells
            assert law(40, 1.0, (h, 0, shift * edge)).has_well()
    assert law(40, 1.0, second=0.98).has_well()
    assert not law(40, 1.0, second=1.02).has_well()
    assert SECTORS % 4 == 0  # so that x and y lie on the grid
    assert math.isfinite(law(40, 1.0).log_density(np.array([0.0, 0.0, 1.0])))


# ---- the start inside the well --------------------------------------------------------------------------------------

OPPOSED = junction(20, -0.45)  # a fifth of the side of P lies beyond the barrier, at m_z = 0.45
WRITE = {"current": 25e-6, "pulse_width": 4e-9, "direction": "p_to_ap"}


def test_a_start_in_the_well_by_every_method():
    """20,000 writes: a rate of about 0.1 is known to 2 % (one standard error); the side's is some 15 % lower."""
    spectral = write_error_rate(OPPOSED, start="well", **WRITE)
    assert write_error_rate(OPPOSED, start="well", method="finite_volume", **WRITE) == approx(spectral, rel=1e-4)
    side = write_error_rate(OPPOSED, **WRITE)
    assert 0.6 < side / spectral < 0.9
    count = simulate_writes(OPPOSED, trials=20_000, seed=3, start="well", **WRITE)
    assert within_binomial(count.errors, count.trials, spectral)
    assert not within_binomial(count.errors, count.trials, side)


def test_the_two_starts_differ_by_the_share_beyond_the_barrier():
    """Write errors of Delta 60 at B_z = -0.45 B_k: 3e-3 of the side falls by itself, within 1 % of that share."""
    device = junction(60, -0.45)
    y = np.linspace(0, 1, 100_001)
    density = np.exp(2 * 60 * (y**2 / 2 - 0.45 * y))
    share = np.trapezoid(density[y < 0.45], y[y < 0.45]) / np.trapezoid(density, y)
    deep = {"current": 60e-6, "pulse_width": 15e-9}
    ratio = write_error_rate(device, **deep) / write_error_rate(device, start="well", **deep)
    assert share == approx(3.1e-3, rel=0.02)
    assert 1 - ratio == approx(share, rel=0.01)


def test_a_favouring_field_extends_the_well_beyond_the_equator():
    """Delta 2, B_z = 0.4 B_k: samples reach m_z = -0.4, and their share below 0 is the law's (4,000 of them)."""
    start = BoltzmannStart(torque_of(junction(2, 0.4), 300.0), 1.0, -0.4)
    z = start.sample(4000, seed=5, chunk=0)[:, 2]
    y = np.linspace(-0.4, 1, 100_001)
    density = np.exp(2 * 2 * (y**2 / 2 + 0.4 * y))
    share = float(np.trapezoid(density[y < 0], y[y < 0]) / np.trapezoid(density, y))
    assert z.min() >= -0.4
    assert within_binomial(int((z < 0).sum()), z.size, share)
    assert share > 0.04


@pytest.mark.parametrize("changes", [{"stray_field": (0.01, 0.0, 0.0)}, {"in_plane_anisotropy_field": 0.02}])
def test_a_well_that_is_not_axisymmetric_is_refused(changes):
    device = junction(20).replace(**changes)
    for ask in (write_error_rate, partial(simulate_writes, trials=10, seed=1)):
        with pytest.raises(ValueError, match="start 'well' is for axisymmetric devices, and "):
            ask(device, start="well", **WRITE)
    with pytest.raises(ValueError, match="start must be one of 'side', 'well', got 'wel'"):
        write_error_rate(junction(20), start="wel", **WRITE)
