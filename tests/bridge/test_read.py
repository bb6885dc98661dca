"""Reads: the tail of the cells' own law, by closed forms, quadrature and drawn cells; the path through a transistor.

Counts of 2^17 cells see 15 % of a rate of 1e-2 at a false alarm of 1e-6.
"""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import ndtr

from bridge import Cell, Population, ReadSetting, Retention, Spread, Transistor, WriteSetting, read_point
from bridge.memory.sensing import wrong_sense_rate
from mtjsim import load_preset, read_disturb_rate
from physics import approx, junction, within_binomial

ARM = load_preset("arm_2021")
THIN = Cell(device=ARM, transistor=Transistor(width=90e-9), supply_voltage=1.2)
NOISY = ReadSetting(
    voltage=0.2,
    duration=2e-7,  # long: its disturb is a quadrature
    sense_noise=1e-6,
    resistance_d2d=0.05,
)
AMPERES = WriteSetting(current_0=60e-6, current_1=60e-6, pulse_width=1e-8)


# ---- the tail --------------------------------------------------------------------------------------------------------


def test_a_wide_spread_of_resistances_by_the_packages_own_cells():
    """Both bits 2.3e-4: where R is normal, 1/R is not, and 2^21 cells count 470 wrong ones of each."""
    device, V, sd, n = junction(), 0.05, 0.095, 1 << 21
    cells = Population(device, Spread(resistance_area_product_d2d=sd), AMPERES).cells(n, seed=3)
    reference = (V / device.resistance_p + V / device.resistance_ap) / 2
    point = read_point(device, ReadSetting(voltage=V, duration=2e-7, resistance_d2d=sd))
    assert within_binomial(int((V / cells.resistance_p < reference).sum()), n, point.error_rate_0, 2)
    assert within_binomial(int((V / cells.resistance_ap > reference).sum()), n, point.error_rate_1, 2)
    for rate in (point.error_rate_0, point.error_rate_1):  # R/R_P > 4/3, R/R_AP < 2/3
        assert rate == approx(ndtr(-1 / 3 / sd), rel=1e-6)


def test_noise_alone_is_a_normal_tail_at_any_depth():
    device = junction()
    for noise in (1e-6, 2e-7):
        point = read_point(device, ReadSetting(voltage=0.1, duration=2e-7, sense_noise=noise))
        half = 0.1 * (1 / device.resistance_p - 1 / device.resistance_ap) / 2
        assert point.error_rate_0 == approx(ndtr(-half / noise), rel=1e-9)
        assert point.error_rate_1 == approx(ndtr(-half / noise), rel=1e-9)
    quiet = read_point(device, ReadSetting(voltage=0.1, duration=2e-7))
    assert (quiet.error_rate_0, quiet.error_rate_1) == (0.0, 0.0)


def by_quadrature(current, bit, reference, noise, sd):
    """Integral over the resistance's normal z of the noise's tail, by the trapezoidal rule."""
    z = np.linspace(-9.0, 15.0, 4801)
    I = np.array([current(1 + sd * zk) for zk in z[::20]])
    I = np.interp(z, z[::20], I) if len(I) < len(z) else I
    sign = 1 if bit == 0 else -1
    integrand = np.exp(-z * z / 2) / np.sqrt(2 * np.pi) * ndtr(-sign * (I - reference) / noise)
    return float(np.trapezoid(integrand, z))


@pytest.mark.parametrize("bit", [0, 1])
def test_noise_and_spread_together_against_a_quadrature(bit):
    """A cell of R times r is a cell of another RA; 241 of them, linear between: 1e-3 of a current, 3 % of a rate."""
    sd, noise = NOISY.resistance_d2d, NOISY.sense_noise
    point = read_point(THIN, NOISY)
    RA = ARM.resistance_area_product

    def current(ratio):
        return THIN.replace(device=ARM.replace(resistance_area_product=RA * ratio)).read_current(bit, voltage=0.2)

    reference = (THIN.read_current(0, voltage=0.2) + THIN.read_current(1, voltage=0.2)) / 2
    expected = by_quadrature(current, bit, reference, noise, sd)
    assert getattr(point, f"error_rate_{bit}") == approx(expected, rel=0.03)


def test_the_transistor_takes_from_the_margin_and_its_spread_more():
    bare, inside = read_point(ARM, NOISY), read_point(THIN, NOISY)
    assert inside.error_rate_0 > 500 * bare.error_rate_0
    spread = replace(NOISY, drive_per_width_d2d=0.1, threshold_voltage_d2d=0.2)
    assert read_point(THIN, spread).error_rate_0 > 2 * inside.error_rate_0


def test_four_spreads_against_cells_drawn_one_by_one():
    setting = ReadSetting(
        voltage=0.2,
        duration=2e-7,
        sense_noise=3e-6,
        resistance_d2d=0.1,
        tunnel_magnetoresistance_d2d=0.1,
        drive_per_width_d2d=0.1,
        threshold_voltage_d2d=0.1,
    )
    n, point = 1 << 17, read_point(THIN, setting)
    rng = np.random.default_rng(4)
    f = setting.spread.factors(rng.standard_normal((n, 4)))
    path, V_T = THIN.read_circuit(), THIN.transistor.threshold_voltage
    cells = replace(
        path,
        resistance=f["resistance_area_product"],
        tunnel_magnetoresistance=f["tunnel_magnetoresistance"],
        drive=f["drive_per_width"],
        threshold_shift=V_T * (f["threshold_voltage"] - 1),
    )
    reference = (THIN.read_current(0, voltage=0.2) + THIN.read_current(1, voltage=0.2)) / 2
    for bit, sign in ((0, 1), (1, -1)):
        I = cells.driven_by_voltage(1.0 - 2 * bit, 0.2)[0] + setting.sense_noise * rng.standard_normal(n)
        assert within_binomial(int((sign * (I - reference) < 0).sum()), n, getattr(point, f"error_rate_{bit}"), 2)


def test_line_sampling_of_a_bent_margin():
    """Margin 3 - z_1 - z_2^2/20: P is the integral over z_2 of Q(3 - z_2^2/20), by the trapezoidal rule."""
    y = np.linspace(-12, 12, 4001)
    expected = np.trapezoid(np.exp(-y * y / 2) / np.sqrt(2 * np.pi) * ndtr(y * y / 20 - 3), y)
    rate = wrong_sense_rate(lambda z: 3 - z[:, 0] - z[:, 1] ** 2 / 20, 2)
    assert rate == approx(expected, rel=1e-6)
    flat = wrong_sense_rate(lambda z: 6 - z.sum(axis=1) / 2, 4)
    assert flat == approx(ndtr(-6.0), rel=1e-9)


# ---- the path --------------------------------------------------------------------------------------------------------


def test_the_energy_of_a_read_is_that_of_voltage_and_current():
    point = read_point(THIN, NOISY)
    for bit in (0, 1):
        parts = [getattr(point, f"{part}energy_{bit}") for part in ("", "transistor_", "driver_")]
        assert sum(parts) == approx(0.2 * THIN.read_current(bit, voltage=0.2) * 2e-7, rel=1e-9)


def test_the_disturb_is_that_of_the_current_that_flows():
    """Of AP: less than under the voltage of the start held constant, more than under its current."""
    read = replace(NOISY, voltage=0.2, duration=1e-7)
    cell = THIN.replace(device=junction(tunnel_magnetoresistance=1.5))
    found = read_point(cell, read).disturb_rate_1
    I, V, _ = (float(x) for x in cell.read_circuit().driven_by_voltage(-1.0, 0.2))
    limits = {"duration": 1e-7, "state": "ap"}
    assert 1.2 * read_disturb_rate(cell.device, current=I, **limits) < found
    assert found < read_disturb_rate(cell.device, voltage=V, **limits) / 1.05
    assert found < read_disturb_rate(cell.device, voltage=0.2, **limits) / 10


def test_a_hot_transistor_reads_with_less_current():
    hot, cold = read_point(THIN, NOISY, temperature=390.0), read_point(THIN, NOISY)
    assert hot.energy_0 < cold.energy_0
    assert hot.error_rate_0 > cold.error_rate_0


def test_a_threshold_that_spreads_is_that_of_the_read_transistor():
    """A channel cell is read through its second transistor: the write transistor does not matter."""
    read = Transistor(width=90e-9, threshold_voltage=0.35)
    channel = ARM.replace(channel_resistance=1000.0)
    setting = replace(NOISY, threshold_voltage_d2d=0.1)
    rates = [
        read_point(replace(THIN, device=channel, transistor=write, read_transistor=read), setting).error_rate_0
        for write in (read, Transistor(width=90e-9, threshold_voltage=0.1))
    ]
    assert rates[0] == approx(rates[1], rel=1e-9)


def test_a_pair_compares_its_junctions():
    """Twice the margin against the noise of one amplifier; one junction of two is in the state that is disturbed."""
    pair = THIN.replace(differential=True)
    noise = ReadSetting(voltage=0.2, duration=2e-7, sense_noise=4e-6)
    single, both = read_point(THIN, noise), read_point(pair, noise)
    margin = THIN.read_current(0, voltage=0.2) - THIN.read_current(1, voltage=0.2)
    assert both.error_rate_0 == both.error_rate_1 == approx(ndtr(-margin / 4e-6), rel=1e-9)
    assert both.error_rate_0 < single.error_rate_0
    assert both.disturb_rate_0 == both.disturb_rate_1 == approx(single.disturb_rate_1 / 2, rel=1e-9)
    assert both.energy_0 == both.energy_1 == approx(single.energy_0 + single.energy_1, rel=1e-12)
    wide = replace(noise, sense_noise=0.0, resistance_d2d=0.15)
    n, rng = 1 << 16, np.random.default_rng(1)
    f = wide.spread.factors(rng.standard_normal((2 * n, 1)))["resistance_area_product"]
    path = THIN.read_circuit()
    zero, one = (replace(path, resistance=r).driven_by_voltage(m_z, 0.2)[0] for r, m_z in ((f[:n], 1.0), (f[n:], -1.0)))
    assert within_binomial(int((zero < one).sum()), n, read_point(pair, wide).error_rate_0)


def test_what_a_read_refuses():
    with pytest.raises(ValueError, match=r"drive_per_width_d2d is of a transistor.*Give its Cell"):
        read_point(ARM, replace(NOISY, drive_per_width_d2d=0.1))
    with pytest.raises(ValueError, match=r"resistance_d2d must be <= 0\.3, got 5.*percent"):
        ReadSetting(voltage=0.1, duration=2e-7, resistance_d2d=5)
    with pytest.raises(ValueError, match="temperature must be from 200 to 400 K"):
        read_point(THIN, NOISY, temperature=500.0)


# ---- retention -------------------------------------------------------------------------------------------------------


def test_a_pair_at_rest_loses_half_of_what_its_junctions_lose():
    device = junction(40, stray_field=(0, 0, 0.01))
    cell = Cell(device=device, transistor=Transistor(width=90e-9), supply_voltage=1.2)
    one, pair = Retention(device).rates(3600.0), Retention(cell.replace(differential=True)).rates(3600.0)
    assert one[0] != approx(one[1], rel=0.1)
    assert pair == approx(((one[0] + one[1]) / 2,) * 2, rel=1e-12)
    assert Retention(cell).rates(3600.0) == one
    stability = np.array([[0.9, 1.0], [1.0, 1.1]])
    first, second = (Retention(device).rates_of(3600.0, s) for s in stability)
    assert Retention(cell).rates_of(3600.0, stability) == approx((first + second[::-1]) / 2, rel=1e-12)
