"""Pictures of maps: labels with units, artists returned, bounds as triangles, nothing simulated."""

import matplotlib

from physics import approx, junction

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest

from bridge import measured_map, write_error_map
from bridge.maps.plots import plot_energy_contours, plot_iso_error, plot_map, plot_map_cut, plot_measured_places
from mtjsim import WriteCounts

DEVICE = junction()


@pytest.fixture(scope="module")
def solved():
    return write_error_map(DEVICE, np.linspace(40e-6, 90e-6, 8), np.geomspace(2e-9, 20e-9, 9), energy=True)


@pytest.fixture(scope="module")
def measured():
    rows = {"current": [60e-6, 60e-6, 80e-6, 60e-6], "pulse_width": [5e-9, 10e-9, 5e-9, 5e-9]}
    ways = ["p_to_ap", "p_to_ap", "p_to_ap", "ap_to_p"]
    return measured_map(WriteCounts(**rows, direction=ways, trials=1000, errors=[300, 0, 12, 290]))


@pytest.fixture
def ax():
    figure, ax = plt.subplots()
    yield ax
    figure.canvas.draw()  # labels and effects are drawn without a warning
    plt.close(figure)


@pytest.fixture(autouse=True)
def no_simulation(monkeypatch, solved, measured):
    monkeypatch.setattr("mtjsim.switching.reduced_write", lambda *_, **__: pytest.fail("a plot simulates"))


def test_map_with_energies_and_measured_places(ax, solved, measured):
    mesh, contours, *_, bar = plot_map(ax, solved)
    assert ax.get_xlabel() == "write current (µA)"
    assert ax.get_ylabel() == "pulse width (ns)"
    assert bar.ax.get_ylabel() == "write error rate"
    assert np.isin(np.round(contours.levels, 6), np.round(np.log10([1e-12, 1e-9, 1e-6, 1e-3, 0.1, 0.5]), 6)).all()
    lines, *labels = plot_energy_contours(ax, solved, energies=[100e-15, 300e-15])
    assert lines.levels.tolist() == approx([100, 300])
    assert all(label.get_text().endswith(" fJ") for label in labels)
    points, bounds, *texts = plot_measured_places(ax, measured, mesh=mesh)
    assert points.get_offsets().tolist() == approx(np.array([[60, 5], [80, 5]]))
    assert bounds.get_offsets().tolist() == approx(np.array([[60, 10]]))
    assert "< 3.7e-03" in {text.get_text() for text in texts}
    assert len(texts) == 3


def test_iso_error(ax, solved):
    *_, legend = plot_iso_error(ax, solved)
    assert [text.get_text() for text in legend.get_texts()] == ["write 1 (P→AP)", "write 0 (AP→P)"]
    assert legend.get_title().get_text() == "write error rate, 300 K"


def test_levels_that_are_not_reached(ax, solved):
    assert len(plot_map(ax, solved, levels=[1e-300, 1e-290])) == 2


@pytest.mark.parametrize(("along", "at"), [("pulse_width", 60e-6), ("current", 5e-9)])
def test_cut(ax, measured, along, at):
    artists = plot_map_cut(ax, measured=measured, along=along, at=at)
    assert ax.get_xlabel() == {"pulse_width": "pulse width (ns)", "current": "write current (µA)"}[along]
    assert len(artists) == {"pulse_width": 3, "current": 2}[along]  # bars of both, a triangle of one
    low, high = ax.get_xlim()
    assert low < (5 if along == "pulse_width" else 60) < high  # what is moved on paper is inside the axes


def test_a_cut_in_a_colour_of_its_own_fills_the_marks_of_a_1(ax, measured):
    artists = plot_map_cut(ax, measured=measured, at=60e-6, color="green", beside=30.0)
    marks = sorted((a if hasattr(a, "get_marker") else a[0] for a in artists), key=lambda mark: mark.get_marker())
    assert [mark.get_marker() for mark in marks] == ["o", "o", "v"]
    assert [mark.get_color() for mark in marks] == ["green"] * 3
    assert {mark.get_markerfacecolor() for mark in marks} == {"green", "white"}
    moved = [mark.get_transform().transform((5.0, 1e-3))[0] for mark in marks]
    assert moved[2] - max(moved[:2]) > 20.0


def test_cut_of_a_solved_map(ax, solved, measured):
    at = float(solved.current[0])
    (line, other) = plot_map_cut(ax, solved, at=at)
    assert line.get_ydata() == approx(solved.write_error_rate.values[0, 0, :, 0])
    assert other.get_xdata() == approx(solved.pulse_width.values * 1e9)


def test_what_is_not_in_the_map(ax, solved, measured):
    with pytest.raises(ValueError, match="temperature must be a node of the map, got 310 K; the nearest is 300"):
        plot_map(ax, solved, temperature=310.0)
    with pytest.raises(ValueError, match="direction must be one of"):
        plot_map(ax, solved, direction="up")
    with pytest.raises(ValueError, match="a measured map has points and no contours"):
        plot_map(ax, measured)
    with pytest.raises(ValueError, match="contours need at least two"):
        plot_iso_error(ax, solved.isel(current=[0]))
    with pytest.raises(ValueError, match="this map has no energies"):
        plot_energy_contours(ax, solved.drop_vars("energy"))
    with pytest.raises(ValueError, match="give a solved map, a measured map or both"):
        plot_map_cut(ax, at=1.0)
    with pytest.raises(ValueError, match="along must be one of 'pulse_width', 'current', got 'voltage'"):
        plot_map_cut(ax, solved, along="voltage", at=5e-9)
