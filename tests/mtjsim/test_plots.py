"""What is drawn: the data of the artists, the labels with their units, the meaning of dashes and triangles."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from mtjsim.counts import ErrorCount
from mtjsim.motion_plots import plot_magnetization, plot_magnetization_histogram, plot_pulse, plot_sphere
from mtjsim.plots import (
    DIRECTION_STYLE,
    plot_error_counts,
    plot_error_map,
    plot_holding,
    plot_switching_probability,
    plot_write_error_rate,
)
from physics import approx


@pytest.fixture
def ax():
    return Figure().subplots()


def interval(bars):
    """Ends of the vertical bars of an errorbar container, (n, 2)."""
    return np.array([segment[:, 1] for segment in bars.lines[2][0].get_segments()])


def test_write_error_rate_draws_the_rates(ax):
    x, rates = [1.0, 2.0, 3.0], {"p_to_ap": [0.5, 1e-3, 1e-7], "ap_to_p": [0.4, 1e-4, 1e-9]}
    lines = plot_write_error_rate(ax, x, rates, x_label="write voltage (V)", floor=1e-10)
    assert [list(line.get_ydata()) for line in lines] == list(rates.values())
    assert all(list(line.get_xdata()) == x and line.get_marker() == "o" for line in lines)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("write voltage (V)", "write error rate")
    assert ax.get_yscale() == "log"
    assert ax.get_ylim()[0] == 1e-10


def test_only_extrapolations_are_dashed(ax):
    fine = np.linspace(1, 4, 50)
    rates = {name: 10.0**-fine for name in DIRECTION_STYLE}
    further = {"ap_to_p": ([4.0, 5.0], [1e-4, 1e-5])}
    *solved, dashed = plot_write_error_rate(ax, fine, rates, x_label="x (ns)", extrapolated=further)
    assert dashed.get_linestyle() == "--"
    assert list(dashed.get_ydata()) == [1e-4, 1e-5]
    assert "extrapolated" in dashed.get_label()
    assert all(line.get_linestyle() != "--" and line.get_marker() in ("None", "") for line in solved)


def test_counts_have_their_exact_intervals(ax):
    counts = [ErrorCount(50, 100), ErrorCount(3, 1000), ErrorCount(0, 1000)]
    bars, bound = plot_error_counts(ax, [1.0, 2.0, 3.0], counts, label="counted")
    assert list(bars.lines[0].get_ydata()) == [0.5, 3e-3]
    assert interval(bars) == approx(np.array([[c.low, c.high] for c in counts[:2]]), rel=1e-12)
    assert (list(bound.get_xdata()), bound.get_marker()) == ([3.0], "v")
    assert bound.get_ydata()[0] == counts[2].high  # never 0, which a logarithmic axis would swallow
    assert "upper bound" in bound.get_label()
    assert len(plot_error_counts(ax, [1.0], counts[:1])) == len(plot_error_counts(ax, [1.0], counts[2:])) == 1
    with pytest.raises(ValueError, match="one value for each count"):
        plot_error_counts(ax, [1.0], counts)


def test_counts_are_drawn_over_the_curve_of_their_direction(ax):
    counted = {"p_to_ap": ([1.5], [ErrorCount(7, 70)])}
    line, bars = plot_write_error_rate(ax, [1.0, 2.0], {"p_to_ap": [0.2, 0.05]}, x_label="x (ns)", counted=counted)
    assert bars.lines[0].get_color() == line.get_color()
    assert list(bars.lines[0].get_ydata()) == [0.1]


def test_map_has_units_and_leaves_out_contours_that_it_does_not_reach(ax):
    I, t = np.linspace(1e-5, 1e-4, 6), np.linspace(1e-9, 1e-8, 5)
    rates = 10.0 ** -(np.linspace(0, 5, 6)[:, None] + np.linspace(0, 0.5, 5))
    mesh, contours, bar = plot_error_map(ax, I, t, rates)
    assert np.asarray(mesh.get_array()).reshape(5, 6) == approx(np.log10(rates).T)
    assert list(10**contours.levels) == approx([1e-3, 1e-2, 1e-1, 0.5])
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("write current (µA)", "pulse width (ns)")
    assert ax.get_xlim() == approx((10, 100))
    assert bar.ax.get_ylabel() == "write error rate"
    flat = plot_error_map(ax, I, t, np.ones((6, 5)), drive="voltage")
    assert len(flat) == 2
    assert ax.get_xlabel() == "write voltage (V)"


def test_s_curves_have_a_signed_axis(ax):
    """I > 0 favours P: AP->P is on the right."""
    x, p = [10.0, 20.0, 30.0], {"p_to_ap": [0.0, 0.5, 1.0], "ap_to_p": [0.1, 0.6, 1.0]}
    counted = {"p_to_ap": ([20.0], [ErrorCount(40, 100)])}
    left, right, bars = plot_switching_probability(ax, x, p, x_label="current (µA)", counted=counted, label="10 ns")
    assert list(left.get_xdata()) == [-10, -20, -30]
    assert list(right.get_xdata()) == x
    assert list(left.get_ydata()) == p["p_to_ap"]
    assert (list(bars.lines[0].get_xdata()), list(bars.lines[0].get_ydata())) == ([-20.0], [0.6])
    failed = counted["p_to_ap"][1][0]
    assert interval(bars)[0] == approx([1 - failed.high, 1 - failed.low], rel=1e-9)
    assert ax.get_xlabel() == "current (µA), > 0 favours P"
    assert "10 ns" in left.get_label()


def test_holding(ax):
    at_rest, read, mark = plot_holding(
        ax, [1.0, 1e8], {"at rest": [1e-20, 1e-12], "read": [1e-10, 1e-2]}, x_label="time (s)", marks={"10 years": 3e8}
    )
    assert list(at_rest.get_ydata()) == [1e-20, 1e-12]
    assert read.get_label() == "read"
    assert {at_rest.get_linestyle(), read.get_linestyle()} == {"-"}
    assert at_rest.get_color() != read.get_color()
    assert not {at_rest.get_color(), read.get_color()} & {style[0] for style in DIRECTION_STYLE.values()}
    assert set(mark.get_xdata()) == {3e8}
    assert [text.get_text() for text in ax.texts] == ["10 years"]
    assert (ax.get_xscale(), ax.get_yscale(), ax.get_xlabel()) == ("log", "log", "time (s)")
    linear = Figure().subplots()
    plot_holding(linear, [0.0, 10.0], {"P": [1e-20, 1e-12]}, x_label="read current (µA)", log_x=False)
    assert linear.get_xscale() == "linear"


def test_sphere_is_seen_from_above_the_plane(ax):
    """P is up; a point in front (y < 0) is lower than one behind, and the far side is pale."""
    m = np.array([[0, 0, 1], [0, -1, 0], [1, 0, 0], [0, 1, 0], [0, 0, -1]], dtype=float)
    time = np.arange(5) * 1e-9
    trace, start, end, bar, *wells = plot_sphere(ax, time, m, well_angle=0.3, elevation=30.0)
    points = np.array([segment[0] for segment in trace.get_segments()])
    c, s = np.cos(np.pi / 6), np.sin(np.pi / 6)
    assert points == approx(np.array([[0, c], [0, -s], [1, 0], [0, s]]), abs=1e-12)
    assert list(trace.get_array()) == approx([0.5, 1.5, 2.5, 3.5])
    assert list(trace.get_alpha()) == [1.0, 1.0, 1.0, 0.25]
    assert (start.get_ydata()[0], end.get_ydata()[0]) == approx((c, -c))
    assert bar.ax.get_ylabel() == "time (ns)"
    last = np.dot(trace.get_cmap()(1.0)[:3], (0.299, 0.587, 0.114))  # lightness
    assert last < 0.8  # on white
    near = np.array(wells[0].get_xydata())
    assert np.nanmax(near[:, 0]) == approx(np.sin(0.3), abs=1e-3)
    assert len(wells) == 4


def test_the_projection_keeps_every_point_in_the_disc(ax):
    m = np.random.default_rng(5).normal(size=(200, 3))
    m /= np.linalg.norm(m, axis=1, keepdims=True)
    segments = np.array(plot_sphere(ax, np.arange(200.0), m, elevation=-35.0)[0].get_segments())
    assert (np.linalg.norm(segments, axis=2) <= 1 + 1e-12).all()


def test_magnetization_and_pulse(ax):
    time, m_z = np.array([0, 1e-9, 2e-9]), np.array([[1, 0.5, -1], [1, 1, 1]])
    lines = plot_magnetization(ax, time, m_z, names=("switched",))
    assert [list(line.get_ydata()) for line in lines] == m_z.tolist()
    assert list(lines[0].get_xdata()) == approx([0, 1, 2])
    assert ax.get_xlabel() == "time (ns)"
    assert "m_z" in ax.get_ylabel()
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["switched"]
    below = Figure().subplots()
    line, _ = plot_pulse(below, time, [0.0, 5e-5, 0.0])
    assert list(line.get_ydata()) == approx([0, 50, 0])
    assert below.get_ylabel() == "current (µA)"
    plot_pulse(below, time, [0.0, 0.5, 0.0], drive="voltage")
    assert below.get_ylabel() == "voltage (V)"


def test_histogram_is_a_density_with_intervals(ax):
    m_z, edges = [0.1, 0.2, 0.6, 0.6], [0.0, 0.5, 0.75, 1.0]
    law = ([0.0, 1.0], [0.5, 1.5])
    bars, bound, line = plot_magnetization_histogram(ax, m_z, edges, law=law)
    assert list(bars.lines[0].get_ydata()) == approx([0.5 / 0.5, 0.5 / 0.25])
    half = ErrorCount(2, 4)
    assert interval(bars)[1] == approx([half.low / 0.25, half.high / 0.25])
    assert bound.get_ydata()[0] == approx(ErrorCount(0, 4).high / 0.25)
    assert list(line.get_ydata()) == [0.5, 1.5]
    assert (ax.get_xlabel(), ax.get_yscale()) == ("m_z", "log")
