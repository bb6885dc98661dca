"""Rules that all figures share, by properties of the artists."""

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure

from mtjsim import ErrorCount
from mtjsim.plot_style import (
    DIRECTION_STYLE,
    alike,
    direction_line,
    legend_below,
    legend_beside,
    ordered_colours,
    plain_ticks,
    rate_text,
    round_ticks,
    sideways,
    smooth,
    temperature_colours,
)
from mtjsim.plots import plot_error_map, plot_write_error_rate
from physics import approx


@pytest.fixture
def ax():
    return Figure(layout="constrained").subplots()


def lightness(colour):
    return np.dot(mpl.colors.to_rgb(colour), (0.299, 0.587, 0.114))


def test_curves_that_coincide_are_both_seen(ax):
    """The lower one is at least two points wider than the one over it, and each has the colour of its direction."""
    rate = [1e-1, 1e-3, 1e-5]
    one, zero = plot_write_error_rate(ax, [1, 2, 3], {"p_to_ap": rate, "ap_to_p": rate}, x_label="x")
    assert one.get_zorder() < zero.get_zorder()
    assert one.get_linewidth() >= zero.get_linewidth() + 2
    assert (one.get_color(), zero.get_color()) == tuple(DIRECTION_STYLE[d][0] for d in ("p_to_ap", "ap_to_p"))
    assert {one.get_linestyle(), zero.get_linestyle()} == {"-"}  # dashes are extrapolations
    (alone,) = plot_write_error_rate(ax, [1, 2, 3], {"p_to_ap": rate}, x_label="x")  # counts over it are seen
    assert (alone.get_linewidth(), alone.get_alpha()) == (zero.get_linewidth(), 1.0)
    assert alike(rate, np.array(rate) * 1.001)
    assert not alike(rate, np.array(rate) * 1.1)


def test_counts_at_one_place_are_moved_apart_on_paper_and_not_in_the_data(ax):
    counted = {d: ([1.0, 2.0], [ErrorCount(10, 100), ErrorCount(0, 100)]) for d in DIRECTION_STYLE}
    artists = plot_write_error_rate(ax, [], {}, x_label="x", counted=counted)
    ax.figure.draw_without_rendering()
    assert ax.get_xlim()[0] < 1.0 < 2.0 < ax.get_xlim()[1]
    marks = [artist.lines[0] if hasattr(artist, "lines") else artist for artist in artists]
    assert [list(mark.get_xdata()) for mark in marks] == [[1.0], [2.0], [1.0], [2.0]]
    places = [mark.get_transform().transform(mark.get_xydata())[0, 0] for mark in marks]
    points = 72 / ax.figure.dpi
    assert (places[2] - places[0]) * points == approx(5.0)
    assert (places[3] - places[1]) * points == approx(5.0)
    assert sideways(ax, 0.0).transform((1.0, 0.1)) == approx(ax.transData.transform((1.0, 0.1)))


def test_a_scale_that_ends_above_the_smallest_rate_ends_in_an_arrow(ax):
    I, t = np.linspace(1e-5, 1e-4, 6), np.linspace(1e-9, 1e-8, 5)
    depth = np.linspace(0, 5, 6)[:, None] + np.linspace(0, 0.5, 5)
    assert plot_error_map(ax, I, t, 10.0**-depth)[-1].extend == "neither"
    bar = plot_error_map(ax, I, t, 10.0 ** -(4 * depth))[-1]
    assert bar.extend == "min"
    assert bar.ax.get_ylabel() == "write error rate"
    labels = [text.get_text() for text in bar.ax.get_yticklabels()]
    assert labels[-1] == "1"
    assert all(label.startswith("$10^{-") for label in labels[:-1])


@pytest.mark.parametrize(
    ("rate", "text"),
    [
        *((1e-9, "$10^{-9}$"), (0.01, "$10^{-2}$"), (0.1, "$10^{-1}$"), (0.5, "0.5"), (1, "1"), (0.0807, "0.081")),
        *((9.99e-4, "$10^{-3}$"), (3e-3, r"$3\times10^{-3}$"), (0.25, "0.25"), (0.999, "1")),
    ],
)
def test_one_notation_of_rates(rate, text):
    assert rate_text(rate) == text


@pytest.mark.parametrize(
    ("low", "high"), [(6, 60), (490, 2500), (505, 1620), (40, 70), (49.5, 52), (1, 4000), (3e-3, 0.2)]
)
def test_a_logarithmic_axis_has_five_labels_or_more_which_follow_its_limits(ax, low, high):
    """Decades and their 2 and 5 are two labels between 500 and 1600, and none between 40 and 49."""
    ax.set_xscale("log")
    plain_ticks(ax.xaxis)
    ax.set_xlim(low, high)  # after the ticks were set
    ax.figure.draw_without_rendering()
    shown = [tick.label1.get_text() for tick in ax.xaxis.get_major_ticks()]
    assert 4 <= len(shown) <= 12
    assert [float(text) for text in shown] == approx(round_ticks(low, high))
    assert all(low <= float(text) <= high for text in shown)


def test_contours_pass_through_the_nodes_and_never_overshoot():
    x, y = np.array([0.0, 1.0, 3.0, 4.0]), np.array([0.0, 2.0, 5.0])
    z = np.array([[0.0, -1, -9, -9], [0, -2, -10, -12], [0, -3, -20, -20]])
    fine_x, fine_y, fine = smooth(x, y, z, parts=4)
    assert fine[::4, ::4] == approx(z)
    assert (fine_x[::4], fine_y[::4]) == (approx(x), approx(y))
    assert fine.min() >= z.min()
    assert fine.max() <= z.max()


@pytest.mark.parametrize("scale", ["linear", "log"])
def test_labels_of_contours_are_whole_and_apart(ax, scale):
    """At the right edge, where the contours of a map end, labels were cut."""
    ax.set_yscale(scale)
    I, t = np.linspace(25e-6, 130e-6, 40), np.linspace(1e-9, 20e-9, 40)
    rates = 10.0 ** -(np.maximum(I[:, None] / 28e-6 - 1, 0) * t / 4e-9)
    plot_error_map(ax, I, t, rates)
    ax.figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in ax.texts]
    assert len(boxes) == 6
    inside = ax.get_window_extent()
    assert all(inside.x0 < b.x0 and b.x1 < inside.x1 and inside.y0 < b.y0 and b.y1 < inside.y1 for b in boxes)
    centres = np.array([((b.x0 + b.x1) / 2, (b.y0 + b.y1) / 2) for b in boxes])
    apart = np.hypot(*(centres[:, None] - centres).T)[np.triu_indices(6, 1)]
    assert apart.min() > 0.1 * inside.height


def test_ordered_colours_rise_in_lightness_and_are_seen_on_white():
    colours = [lightness(colour) for colour in ordered_colours(5)]
    assert (np.diff(colours) > 0.05).all()
    assert colours[-1] < 0.85
    of = temperature_colours([398.0, 300.0, 358.0])
    assert lightness(of[300.0]) < lightness(of[358.0]) < lightness(of[398.0])
    assert len({*of.values(), *(style[0] for style in DIRECTION_STYLE.values())}) == 5


@pytest.mark.parametrize("put", [lambda ax: legend_below(ax, ncols=2), legend_beside])
def test_legends_outside_do_not_touch_the_axes(ax, put):
    for direction in DIRECTION_STYLE:
        ax.plot([0, 1], [0, 1], **direction_line(direction))
    legend = put(ax)
    ax.figure.draw_without_rendering()
    inside, box = ax.get_window_extent(), legend.get_window_extent()
    assert box.y1 <= inside.y0 or box.x0 >= inside.x1
