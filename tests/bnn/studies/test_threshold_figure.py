"""The figure of thresholds: bars, arrows beyond the range, names of tables; when it is drawn."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from bnn.studies.axes import LOOKS
from bnn.studies.figure import in_words, plot_study
from bnn.studies.plans import Bisection
from bnn.studies.run import run_study
from bnn.studies.space import Study
from bnn.studies.threshold_figure import has_thresholds, is_of_thresholds, plot_intervals, plot_thresholds

RATE = "memory.activations.error_rate"
RANGE = {"name": "range", "limit": 4.0}
BISECT = {"field": RATE, "low": 1e-4, "high": 1e-1, "log": True, "value": "with_errors.accuracy", "level": 0.9}


def bisecting(space, figure=None, **changes):
    tables = {"sampler": "bisection", "bisect": BISECT | changes, "space": space, "figure": figure or {}}
    return Study(name="mine", recipe="digits_mlp", **tables)


def row(low="", high="", why="", **shown):
    return {**shown, "low": low, "high": high, "why": why}


def drawn(rows, plan=None, **look):
    axes = Figure().subplots()
    return axes, plot_intervals(axes, rows, plan=plan or Bisection.of(bisecting({})), **{"x": "x", **look})


def bars(artist):
    """Low and high of each bar."""
    return [(float(a[1]), float(b[1])) for a, b in artist.lines[2][0].get_segments()]


def caps(artist):
    return {line.get_marker() for line in artist.lines[1]}


def test_a_bar_is_the_interval_and_its_mark_is_in_the_middle():
    rows = [row(1e-3, 1e-2, x="b"), row(1e-4, 1e-3, x="a")]
    axes, (artist,) = drawn(rows)
    assert bars(artist) == [pytest.approx((1e-3, 1e-2)), pytest.approx((1e-4, 1e-3))]
    assert artist.lines[0].get_ydata() == pytest.approx([10**-2.5, 10**-3.5])
    assert [label.get_text() for label in axes.get_xticklabels()] == ["b", "a"]
    assert (axes.get_yscale(), axes.get_ylabel()) == ("log", "error rate at the threshold, log scale")
    linear = Bisection.of(bisecting({}, log=False))
    axes, (artist,) = drawn(rows, linear)
    assert artist.lines[0].get_ydata() == pytest.approx([5.5e-3, 5.5e-4])
    assert axes.get_yscale() == "linear"


@pytest.mark.parametrize(
    ("why", "end", "marker"),
    [
        ("both ends on one side: above high", 1e-1, "CARETUPBASE"),
        ("both ends on one side: below low", 1e-4, "CARETDOWNBASE"),
        ("fails at low", 1e-4, "CARETDOWNBASE"),
    ],
)
def test_a_threshold_beyond_the_range_is_an_arrow_at_its_end(why, end, marker):
    from matplotlib import markers

    axes, (bar, arrow) = drawn([row(1e-3, 1e-2, x=1), row(why=why, x=2)])
    assert arrow.lines[0].get_ydata() == pytest.approx([end])
    ((low, high),) = bars(arrow)
    assert (low, high) == pytest.approx((end, high) if end == 1e-1 else (low, end))
    assert high > 1.2 * low
    assert getattr(markers, marker) in caps(arrow)
    assert not caps(bar) & {markers.CARETUPBASE, markers.CARETDOWNBASE}
    assert np.all(axes.dataLim.intervaly == pytest.approx([min(low, 1e-3), max(high, 1e-2)]))


def test_what_is_not_finished_or_on_no_side_is_not_drawn():
    assert not has_thresholds([row(why="not finished", x=1), row(why="both ends on one side", x=2)])
    axes, artists = drawn([row(why="not finished", x=1)])
    assert (artists, axes.texts[0].get_text()) == ([], "no thresholds")
    assert has_thresholds([row(1e-3, 1e-2, "not finished", x=1)])


def places(artists, at):
    """Where each line has the mark of a place, on paper."""
    return np.array([artist.lines[0].get_transform().transform((at, 1e-3))[0] for artist in artists])


@pytest.mark.parametrize("kind", [int, str])
def test_bars_of_several_lines_are_beside_each_other_and_never_joined(kind):
    rows = [row(1e-3 * x, 2e-3 * x, x=kind(x), arm=arm) for arm in "abcdefgh" for x in (1, 2, 3)]
    _, artists = drawn(rows, by=["arm"])
    assert [artist.get_label() for artist in artists] == list("abcdefgh")
    assert {artist.lines[0].get_linestyle() for artist in artists} == {"None"}
    first, second = (places(artists, at) for at in ((1, 2) if kind is int else (0, 1)))
    assert np.all(np.diff(first) > 1.0)
    assert first[-1] - first[0] < 0.8 * (second[0] - first[0])


def test_a_line_has_its_look_in_each_panel_whatever_is_in_it():
    space = {"training.epochs": [1, 2], "training.learning_rate": [0.01, 0.1], "model.hidden": [[8], [9]]}
    mine = bisecting(space, {"x": "model.hidden", "panel": "training.epochs", "by": "training.learning_rate"})
    rows = [
        {"training.epochs": epochs, "training.learning_rate": rate, "model.hidden": "[8]"} | row(1e-3, 1e-2)
        for epochs, rate in ((1, 0.01), (1, 0.1), (2, 0.1))
    ]
    for ax in plot_thresholds(mine, rows).axes:
        colours = {bar.get_label(): bar.lines[0].get_color() for bar in ax.containers}
        assert colours["learning rate 0.1"] == LOOKS[1][0]


def test_panels_have_the_same_names_at_the_same_places_whatever_is_finished():
    space = {"training.epochs": [1, 2], "training.learning_rate": [0.01, 0.1], "model.hidden": [[8], [9], [16]]}
    mine = bisecting(space, {"x": "model.hidden", "panel": "training.epochs", "by": "training.learning_rate"})
    rows = [
        {"training.epochs": epochs, "training.learning_rate": rate, "model.hidden": str(hidden)}
        | (row(1e-3, 1e-2) if epochs == 1 or hidden == [16] else row(why="not finished"))
        for epochs in (1, 2)
        for rate in (0.01, 0.1)
        for hidden in ([8], [9], [16])
    ]
    figure = plot_thresholds(mine, rows)
    axes = figure.axes
    assert [ax.get_title() for ax in axes] == ["epochs 1", "epochs 2"]
    assert [[label.get_text() for label in ax.get_xticklabels()] for ax in axes] == [["8", "9", "16"]] * 2
    assert axes[1].containers[0].lines[0].get_xdata().round().tolist() == [2]
    (legend,) = figure.legends  # one for both panels
    assert [text.get_text() for text in legend.get_texts()] == ["learning rate 0.01", "learning rate 0.1"]


@pytest.mark.parametrize(
    ("level", "words"),
    [
        (0.9, "the mean with errors accuracy of 1 trainings crosses 0.9"),
        ({"of": "error_free.accuracy"}, "the mean with errors accuracy of 1 trainings crosses its level"),
        ({"lose": 0.01, "share": 0.5}, "50 % of 1 trainings diverge or lose more than 1 point of with errors accuracy"),
        (
            {"lose": 0.02, "share": 0.5},
            "50 % of 1 trainings diverge or lose more than 2 points of with errors accuracy",
        ),
    ],
)
def test_the_title_says_what_is_crossed(level, words):
    mine = bisecting({"training.epochs": [1, 2]}, level=level)
    figure = plot_thresholds(mine, [row(1e-3, 1e-2, **{"training.epochs": 1})])
    assert figure.get_suptitle() == f"mine\nbars: brackets in which {words}"
    arrows = plot_thresholds(mine, [row(why="both ends on one side: above high", **{"training.epochs": 1})])
    assert arrows.get_suptitle().endswith("arrows: beyond the range tried")


def test_thresholds_may_be_multiplied_by_a_number_for_each_value():
    space = {"training.epochs": [1, 2], "model.hidden": [[8], [9]]}
    times = {"training.epochs": [10, 20], "model": {"hidden": [3.0, 5.0]}}
    rows = [
        {"training.epochs": epochs, "model.hidden": str(hidden)} | row(1e-3, 1e-2)
        for epochs in (1, 2)
        for hidden in ([8], [9])
    ]
    rows[-1] |= row(why="both ends on one side: above high")
    mine = bisecting(space, {"x": "training.epochs", "by": "model.hidden", "times": times})
    first, second, arrow = plot_thresholds(mine, rows).axes[0].containers
    assert bars(first) == [pytest.approx((30e-3, 30e-2)), pytest.approx((60e-3, 60e-2))]
    assert bars(second) == [pytest.approx((50e-3, 50e-2))]
    assert bars(arrow)[0][0] == pytest.approx(100 * 1e-1)


# ---- tables in words -------------------------------------------------------------------------------------------------


def protected(protection="none", other="none", rate=0.0, *, seed=0):
    """A task whose score falls at a rate."""
    return {"score": float(rate < (1e-3 if protection == "none" else 1e-2))}


def test_tables_are_shown_in_words():
    mine = Study(name="mine", task=f"{__name__}:protected", space={"protection": ["none", RANGE], "other": [RANGE]})
    numbers = {"repeats": 1, "score": 0.5, "score.low": "", "score.high": ""}
    shown = str({"limit": 4.0, "name": "range"})  # as in the tables
    summary = [{"protection": kind, "other": shown, **numbers} for kind in ("none", shown)]
    figure = plot_study(mine, summary)
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["range 4"]
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["no check", "check of a word: range 4"]
    across = Study(**{**mine.tables, "task": mine.recipe.function, "figure": {"x": "other", "panel": "protection"}})
    assert [ax.get_title() for ax in plot_study(across, summary).axes] == labels


def test_tables_with_the_same_words_stay_as_they_are():
    tables = [{"name": "range", "limit": 4.0}, {"name": "range", "attempts": 4}]
    mine = Study(name="mine", task=f"{__name__}:protected", space={"protection": tables, "other": [[1, 2]]})
    rows = [{"protection": str(dict(sorted(table.items()))), "other": "[1, 2]"} for table in tables]
    assert in_words(mine, rows) == [row | {"other": "1, 2"} for row in rows]


# ---- when it is drawn ------------------------------------------------------------------------------------------------


def test_the_figure_of_a_bisection_is_that_of_its_thresholds(tmp_path, monkeypatch):
    seen = []

    def watched(study, rows):
        seen.append(rows)
        return plot_thresholds(study, rows)

    monkeypatch.setattr("bnn.studies.threshold_figure.plot_thresholds", watched)
    bisect = {"field": "rate", "low": 1e-4, "high": 1e-1, "log": True, "rounds": 2, "value": "score", "level": 0.5}
    mine = {"name": "mine", "task": f"{__name__}:protected", "sampler": "bisection", "bisect": bisect}
    study = Study(**mine, space={"protection": ["none", RANGE]})
    result = run_study(study, out=tmp_path, workers=1)
    ((first, second),) = seen
    assert first["low"] <= 1e-3 <= first["high"] < 1e-2 <= second["high"]
    assert result.files[-1].read_bytes().startswith(b"\x89PNG")
    run_study(Study(**mine, space={"protection": ["none", RANGE]}, figure={"x": "rate"}), out=tmp_path, workers=1)
    assert len(seen) == 1  # the score against the rate
    assert is_of_thresholds(study)
    assert not is_of_thresholds(Study(**mine))
    out_of_range = Study(**{**mine, "bisect": bisect | {"level": 2.0}}, space={"protection": ["none"]})
    files = run_study(out_of_range, out=tmp_path, workers=1).files
    assert (files[-1].name, len(seen)) == ("figure.png", 2)
