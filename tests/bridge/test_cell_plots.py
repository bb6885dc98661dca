"""Pictures of cells: the data they show are the data they were given, labels carry units."""

import numpy as np
import pytest

from bridge import OperatingPoint
from bridge.search.plots import plot_area, plot_cell_currents, plot_energy_parts, plot_trade_off
from physics import approx


@pytest.fixture
def ax():
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    return Figure().subplots()


def of(energy, latency, rate, driver=0.0):
    return OperatingPoint.of_rates(
        error_rate_0=rate,
        error_rate_1=rate,
        energy_0=energy,
        energy_1=energy,
        latency=latency,
        energies={"driver": np.full((2, 2), driver)},
    )


POINTS = [of(3e-13, 5e-9, 1e-3), of(2e-13, 9e-9, 1e-3), of(4e-13, 12e-9, 1e-3), of(6e-13, 5e-9, 1e-6)]


def test_trade_off(ax):
    lines = plot_trade_off(ax, POINTS)
    assert len(lines) == 3
    assert lines[0].get_xdata() == approx([5, 9, 12])
    assert lines[0].get_ydata() == approx([300, 200, 400])
    assert lines[2].get_xdata() == approx([5, 9, 5])  # the third is beaten
    assert "ns" in ax.get_xlabel()
    assert "fJ" in ax.get_ylabel()
    assert "10^{-6}" in lines[1].get_label()


def test_trade_off_against_error_rates_without_a_front(ax):
    lines = plot_trade_off(ax, [*POINTS, of(1e-13, 1e-9, 2.5e-2)], x="error_rate", y="energy_with_driver", front=False)
    assert lines[0].get_label() == "0.025"
    assert len(lines) == 3


@pytest.mark.parametrize("critical", [{0: 30e-6, 1: 30e-6}, {0: 25e-6, 1: 35e-6}])
def test_cell_currents(ax, critical):
    V = np.linspace(0, 1, 5)
    currents = {(bit, state): V * 1e-4 / (bit + 1) for bit in (0, 1) for state in ("p", "ap")}
    lines = plot_cell_currents(ax, V, currents, critical=critical)
    assert len(lines) == 4 + len(set(critical.values()))
    assert lines[2].get_ydata() == approx(V * 50)
    assert "V" in ax.get_xlabel()
    assert "µA" in ax.get_ylabel()


def test_area(ax):
    lines = plot_area(ax, [1e-3, 1e-6], {"10 ns": [6.0, 9.0], "20 ns": [6.0, 6.5]})
    assert lines[0].get_ydata().tolist() == [6.0, 9.0]
    assert "F²" in ax.get_ylabel()


def test_energy_parts_are_stacked(ax):
    bars = plot_energy_parts(ax, {"a": of(1e-13, 1e-9, 0.1, driver=2e-13), "b": of(3e-13, 1e-9, 0.1)})
    tops = [bar.get_y() + bar.get_height() for bar in bars[-1]]
    assert tops == approx([300, 300])
