"""Pictures of dies: what is drawn is what is there."""

import matplotlib as mpl
import numpy as np
import pytest

from bridge.dies.die import Die
from bridge.dies.faults import Process
from bridge.dies.plots import plot_die, plot_rate_distribution
from bridge.dies.rate_distribution import MeanRate, RateDistribution
from bridge.dies.variability import Cells
from physics import approx

mpl.use("Agg")
import matplotlib.pyplot as plt


@pytest.fixture
def ax():
    figure, axes = plt.subplots()
    yield axes
    figure.canvas.draw()  # a bad artist fails here
    plt.close(figure)


def test_a_fault_is_drawn_at_its_row_and_column(ax):
    cells = Cells(np.geomspace(1e-6, 1e-2, 24).reshape(2, 12), *np.ones((3, 12)))
    image, short, weak = plot_die(
        ax, Die.of((3, 4), short=[6], weak=[0, 11], short_conductance=1e-3, weak_error_rate_factor=2, cells=cells)
    )
    assert image.get_array().shape == (3, 4)
    assert image.get_array()[0, 0] == approx(2 * cells.error_rates[1, 0])
    assert (short.get_xdata().tolist(), short.get_ydata().tolist()) == ([2], [1])
    assert (weak.get_xdata().tolist(), weak.get_ydata().tolist()) == ([0, 3], [0, 2])
    assert "short (1)" in [text.get_text() for text in ax.get_legend().get_texts()]


def test_large_and_flat_and_faultless_dies(ax):
    (opens,) = plot_die(ax, Process(open_rate=0.3).die((100_000,), seed=1))
    assert len(opens.get_xdata()) <= 2000
    assert "every" in opens.get_label()
    ax.clear()
    assert plot_die(ax, Die.of((5, 5))) == []
    none = Cells(np.zeros((2, 25)), *np.ones((3, 25)))
    assert len(plot_die(ax, Die.of((5, 5), cells=none))) == 1


def test_histogram_log_normal_and_mean(ax):
    y = np.random.default_rng(1).normal(-7, 1, 5000)
    distribution = RateDistribution.of(y)
    histogram, curve, line, _ = plot_rate_distribution(
        ax, distribution, mean=MeanRate(rate=1.5e-3, error=1e-4, points=1, shift=1.0)
    )
    assert ax.get_xscale() == "log"
    assert line.get_xdata()[0] == 1.5e-3
    x, density = curve.get_data()
    assert np.trapezoid(density, np.log10(x)) == approx(1, abs=1e-3)
    assert histogram.get_data().edges[0] == approx(np.exp(y.min()))
    assert len(histogram.get_data().values) == 60
    box = ax.get_legend().get_bbox_to_anchor()
    assert box.y1 <= ax.bbox.y0  # not on the histogram
    ax.clear()
    few = plot_rate_distribution(ax, RateDistribution.of(y[:256]))[0].get_data().values
    assert len(few) == 16
    ax.clear()
    assert len(plot_rate_distribution(ax, RateDistribution.of(np.full(10, -7.0)))) == 1
