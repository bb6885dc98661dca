"""Figure of a curve: every interval has both ends, nothing hides anything, the axis fits the accuracies."""

import json

import numpy as np
import pytest
from matplotlib.figure import Figure

from bnn.studies.curve_point import CLEAN, WITH_ERRORS, CurvePoint, Interval
from bnn.studies.curve_result import EnergyAccuracyCurve
from bnn.studies.plots import TRAINING_STYLE, accuracy_limits, plot_energy_accuracy
from bridge.write import OperatingPoint
from physics import approx


def row(energy, rate, training, accuracy):
    point = OperatingPoint.of_rates(error_rate_0=rate, error_rate_1=rate, energy_0=energy, energy_1=energy)
    return CurvePoint(point, training, Interval(*accuracy), Interval(0.0, -0.1, 0.1), 3, 2, ((1, 2),) * 3)


def curve(accuracies, free=(0.97, 0.95, 0.99), energies=(1e-13, 2e-13, 4e-13), rates=(0.2, 0.02, 1e-6)):
    points = [
        row(E, p, training, accuracy)
        for E, p, accuracy in zip(energies, rates, accuracies, strict=True)
        for training in (CLEAN, WITH_ERRORS)
    ]
    return EnergyAccuracyCurve(Interval(*free), tuple(points))


def drawn(of, **options):
    ax = Figure(layout="constrained").subplots()
    artists = plot_energy_accuracy(ax, of, **options)
    ax.figure.draw_without_rendering()
    return ax, artists


def bars_of(ax):
    """Ends of every interval on paper, (2, intervals), and those of the axes."""
    ends = [
        line.get_transform().transform(segment)[:, 1]
        for container in ax.containers
        for line in container[2]
        for segment in line.get_segments()
    ]
    return np.array(ends).T, ax.get_window_extent()


TYPICAL = [(0.35, 0.0, 0.865), (0.9, 0.85, 0.95), (0.97, 0.95, 1.0)]  # the first and the last leave a logit axis


@pytest.mark.parametrize(
    "accuracies",
    [
        TYPICAL,
        [(0.01, 0.0, 0.03), (0.05, 0.03, 0.07), (0.08, 0.05, 0.1)],  # a hundred classes
        [(0.9781, 0.97, 0.985), (0.9782, 0.97, 0.985), (0.9783, 0.97, 0.985)],  # flat
        [(0.0, 0.0, 0.1), (0.5, 0.0, 1.0), (1.0, 0.9, 1.0)],
    ],
)
def test_every_interval_has_both_ends_inside_the_axes(accuracies):
    ax, _ = drawn(curve(accuracies, free=accuracies[-1]))
    ends, box = bars_of(ax)
    assert ends.shape == (2, 6)
    assert np.isfinite(ends).all()
    assert (ends >= box.y0 - 1).all()
    assert (ends <= box.y1 + 1).all()
    for mean in (i for container in ax.containers for i in container[0].get_ydata()):
        assert ax.get_ylim()[0] <= mean <= ax.get_ylim()[1]


def test_an_interval_that_is_cut_ends_in_an_arrow():
    ax, _ = drawn(curve(TYPICAL))
    arrows = {
        line.get_marker(): (list(line.get_xdata()), set(line.get_ydata()))
        for line in ax.lines
        if line.get_label().startswith("_cut")
    }
    low, high = accuracy_limits(curve(TYPICAL))
    assert arrows == {"v": (approx([100]), {low}), "^": (approx([400]), {high})}


def test_a_flat_curve_fills_its_axis_and_has_labels():
    flat = curve([(0.978 + k * 1e-4, 0.97, 0.985) for k in range(3)], free=(0.98, 0.975, 0.985))
    ax, _ = drawn(flat)
    assert ax.get_ylim()[0] > 0.9
    assert len(ax.get_yticks()) >= 3
    ends, box = bars_of(ax)
    assert (ends[1] - ends[0] > 0.25 * box.height).all()


def test_the_trainings_of_one_point_do_not_hide_each_other():
    ax, _ = drawn(curve([(0.9, 0.8, 0.95)] * 3))
    by_label = {container.get_label(): container[0] for container in ax.containers if container.get_label()[0] != "_"}
    assert set(by_label) == {label for _, _, label in TRAINING_STYLE.values()}
    places = [line.get_transform().transform(line.get_xydata())[:, 0] for line in by_label.values()]
    assert np.abs(places[0] - places[1]) * 72 / ax.figure.dpi == approx(3.0)
    assert all(
        list(line.get_xdata()) == approx([100, 200, 400]) for line in by_label.values()
    )  # the data are not moved
    assert {line.get_color() for line in by_label.values()} == {colour for colour, _, _ in TRAINING_STYLE.values()}


def test_two_points_of_one_energy_keep_both_rates():
    ax, _ = drawn(curve(TYPICAL, energies=(1e-13, 1e-13, 4e-13)))
    (top,) = ax.child_axes
    assert [text.get_text() for text in top.get_xticklabels()] == ["0.02, 0.2", "$10^{-6}$"]


def test_everything_drawn_is_in_the_legend():
    of = curve(TYPICAL)
    ax, _ = drawn(of, marked=of.points[2], largest_loss=0.02)
    legend = ax.get_legend()
    names = [text.get_text() for text in legend.get_texts()]
    assert {"no errors at all", "its 95 % interval", "cheapest point, loss < 2 points"} <= set(names)
    assert legend.get_window_extent().y1 <= ax.get_window_extent().y0


def test_a_curve_as_table_file_and_figure(tmp_path):
    of = curve(TYPICAL)
    table = of.to_dataframe()
    assert list(table["training"]) == [CLEAN, WITH_ERRORS] * 3
    assert list(table["accuracy"])[::2] == approx([0.35, 0.9, 0.97])
    assert list(table["energy_per_bit_J"])[::2] == approx([1e-13, 2e-13, 4e-13])
    assert table["current_A"].isna().all()  # rates that were given have no setting
    of.save(tmp_path / "curve.csv")
    assert (tmp_path / "curve.csv").read_text().splitlines()[0] == ",".join(table.columns)
    assert len((tmp_path / "curve.csv").read_text().splitlines()) == 7
    saved = json.loads((tmp_path / "curve.json").read_text())
    assert (saved["identity"], len(saved["points"])) == (of.identity, 6)
    assert saved["tables"]["curve.csv"]["rows"] == 6
    assert curve(TYPICAL, energies=(1e-13, 2e-13, 5e-13)).identity != of.identity
    with pytest.raises(ValueError, match=r"path must end in .csv, got 'curve.xlsx'"):
        of.save("curve.xlsx")
    ax = Figure().subplots()
    assert of.plot(ax) is ax
    assert ax.containers
    assert repr(of) == "EnergyAccuracyCurve(3 operating points, 3 networks each, 97.0 % [95.0, 99.0] without errors)"
    assert of._repr_html_().count("<tr") == 7
