"""The figure of a study: what its [figure] may say, its words, marks beside each other, points without a value."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from bnn.recipes.result import value_names
from bnn.studies.axes import LOOKS
from bnn.studies.figure import is_drawable, plot_study, plot_values
from bnn.studies.look import look_of
from bnn.studies.space import Study, list_studies, load_study
from bnn.studies.threshold_figure import is_of_thresholds, look_of_thresholds

RATE = "memory.activations.error_rate"
RATE_RANGE = {"low": 0.001, "high": 0.3, "log": True}
HELD_OUT = {"data.validation": 0.2, "test": [{"name": "held_out", "images": "validation"}]}
A, B = "a.accuracy", "b.accuracy"


def study(**tables):
    return Study(**{"name": "mine", "recipe": "digits_mlp", "space": {RATE: [1e-9, 0.1]}, **tables})


def point(value=0.5, *, half=0.1, **shown):
    """A row of a summary, with two accuracies; "": without a value."""
    row = {**shown, "repeats": 3}
    for name in (A, B):
        ends = ("", "") if value == "" else (value - half, value + half)
        row |= {name: value, f"{name}.low": ends[0], f"{name}.high": ends[1]}
    return row


def drawn(summary, **look):
    axes = Figure().subplots()
    return axes, plot_values(axes, summary, **look)


def of_look(look, space=None):
    """The figure of a study in a space, with a point for each of its combinations."""
    default = {RATE: [1e-9, 0.1], "memory.activations.errors": ["independent", "overwrite"]}
    mine = study(space=space or default, figure=look)
    return plot_study(mine, [point(**dict(p.shown)) for p in mine.grid()])


def tick_names(ax):
    return [label.get_text() for label in ax.get_xticklabels()]


def names_in(legend):
    return [text.get_text() for text in legend.get_texts()]


# ---- lines -----------------------------------------------------------------------------------------------------------


def test_points_are_joined_in_the_order_of_x_and_every_line_differs():
    summary = [
        {"x": x, "arm": arm, "repeats": 1, "a": 0.5, "a.low": "", "a.high": ""} for arm in "abcdefgh" for x in (2, 3, 1)
    ]
    _, artists = drawn(summary, x="x", y=["a"], by=["arm"])
    assert artists[0].lines[0].get_xdata().tolist() == [1, 2, 3]
    looks = {
        (line.get_color(), line.get_marker(), line.get_markerfacecolor()) for line, *_ in (a.lines for a in artists)
    }
    assert len(looks) == 8 > len(LOOKS)


@pytest.mark.parametrize("lines", [2, 5, 30])
def test_marks_with_intervals_are_beside_each_other_and_nearest_to_their_own_number(lines):
    summary = [point(x=x, arm=str(arm)) for arm in range(lines) for x in (0.0, 0.05, 0.1, 1.0)]
    axes, artists = drawn(summary, x="x", y=[A], by=["arm"])
    places = np.array(
        [[artist.lines[0].get_transform().transform((x, 0.5))[0] for artist in artists] for x in (0.05, 0.1)]
    )
    assert np.all(np.diff(places) > 0.0)
    assert np.ptp(places[0]) < 0.7 * (places[1, 0] - places[0, 0])
    assert axes.get_xscale() == "linear"


def test_lines_without_intervals_are_where_their_numbers_are():
    summary = [{"x": x, "arm": arm, "repeats": 1, "a": 0.5, "a.low": "", "a.high": ""} for arm in "ab" for x in (1, 2)]
    axes, artists = drawn(summary, x="x", y=["a"], by=["arm"])
    places = [artist.lines[0].get_transform().transform((1.0, 0.5)) for artist in artists]
    assert np.ptp(places, axis=0) == pytest.approx([0.0, 0.0], abs=1e-9)
    assert places[0] == pytest.approx(axes.transData.transform((1.0, 0.5)))


def test_a_dimension_that_is_a_range_makes_points_and_no_lines():
    space = {"training.epochs": [1, 2], "training.learning_rate": {"low": 0.001, "high": 0.1}, RATE: RATE_RANGE}
    mine = study(sampler="random", trials=4, set=HELD_OUT, objective={"held_out.accuracy": "maximize"}, space=space)
    assert look_of(mine, list(space), value_names(mine.recipe))["by"] == ["training.epochs"]
    summary = [
        dict(zip(space, (1, rate, rate), strict=True))
        | {"repeats": 1, "a.accuracy": 0.5, "a.accuracy.low": "", "a.accuracy.high": ""}
        for rate in (0.01, 0.1)
    ]
    (axes,) = plot_study(mine, summary).axes
    assert [line.get_linestyle() for line in axes.containers[0].lines[:1]] == ["None"]


def test_a_point_without_a_value_is_a_cross_only_if_the_figure_says_why():
    summary = [point(x="a", arm="one"), point("", x="b", arm="one"), point(x="a", arm="two"), point(x="b", arm="two")]
    axes, artists = drawn(summary, x="x", y=[A], by=["arm"], missing="diverged")
    crosses = [artist for artist in artists if hasattr(artist, "get_marker")]
    assert [(c.get_marker(), c.get_color(), c.get_xdata().tolist()) for c in crosses] == [("x", LOOKS[0][0], [1])]
    assert axes.get_legend_handles_labels()[1] == ["diverged", "one", "two"]
    axes, artists = drawn(summary, x="x", y=[A], by=["arm"])
    assert (len(artists), axes.get_legend_handles_labels()[1]) == (2, ["one", "two"])


# ---- words -----------------------------------------------------------------------------------------------------------


def test_columns_and_values_are_in_words_and_scales_are_said():
    figure = of_look({"x": RATE, "panel": "memory.activations.errors", "y_scale": "logit"})
    assert [ax.get_title() for ax in figure.axes] == ["independent errors", "a failed write leaves the old bit"]
    first, second = figure.axes
    assert (first.get_xlabel(), first.get_ylabel()) == ("error rate, log scale", "accuracy (%), logit scale")
    assert second.get_ylabel() == ""
    (legend,) = figure.legends
    assert names_in(legend) == ["a", "b"]
    assert figure.get_suptitle() == "mine\nmean and 95 % interval of 3 networks"


def test_names_are_those_of_columns_and_of_values_and_numbers_are_compared_as_numbers():
    names = {RATE: "rate", "1e-9": "none", "0.10": "a tenth", "overwrite": "kept", "a": {"accuracy": "first"}}
    look = {"x": RATE, "even_x": True, "panel": "memory.activations.errors", "names": names, "legend": "test"}
    figure = of_look(look | {"y_label": "share (%)"})
    assert [ax.get_title() for ax in figure.axes] == ["independent errors", "kept"]
    assert (tick_names(figure.axes[0]), figure.axes[0].get_xlabel()) == (["none", "a tenth"], "rate")
    assert figure.axes[0].get_ylabel() == "share (%)"
    assert (names_in(figure.legends[0]), figure.legends[0].get_title().get_text()) == (["first", "b"], "test")


def test_several_fields_are_one_axis_and_only_some_values_are_shown():
    look = {"x": [RATE, "memory.activations.errors"], "only": {RATE: [0.1]}, "y": A, "names": {"overwrite": "kept"}}
    (axes,) = of_look(look).axes
    assert tick_names(axes) == ["error rate 0.1\nindependent errors", "error rate 0.1\nkept"]
    assert axes.get_xlabel() == ""


def test_a_table_of_values_makes_axes_each_and_sums_are_values():
    sums = {"loss": {A: 1.0, B: -0.5}}
    look = {"x": RATE, "by": [], "y": {"both": [A, B], "other": ["loss"]}, "sums": sums, "y_scale": "from_zero"}
    figure = of_look(look, {RATE: [0.01, 0.1]})
    assert [ax.get_title() for ax in figure.axes] == ["both", "other"]
    assert not figure.legends
    assert [len(ax.containers) for ax in figure.axes] == [2, 1]
    assert [ax.get_ylim()[0] for ax in figure.axes] == [0.0, 0.0]
    (bar,) = figure.axes[1].containers
    assert bar.lines[0].get_ydata() == pytest.approx([0.25, 0.25])
    ends = [(float(a[1]), float(b[1])) for a, b in bar.lines[2][0].get_segments()]
    assert ends == [pytest.approx((0.4 - 0.5 * 0.6, 0.6 - 0.5 * 0.4))] * 2  # the sum's interval is within


def test_a_sum_has_no_value_where_one_of_its_values_has_none():
    mine = study(figure={"y": "loss", "sums": {"loss": {A: 1, B: -1}}})
    assert is_drawable(mine, [point(**{RATE: 0.1})])
    assert not is_drawable(mine, [point("", **{RATE: 0.1})])


WRONG = [
    ({"names": 3}, "figure.names must be a table, got 3"),
    ({"names": {"plian": "x"}}, "a name of figure.names must be one of .*got 'plian'"),
    ({"names": {"a.acuracy": "x"}}, "a name of figure.names must be one of .*Did you mean 'a.accuracy'"),
    ({"names": {"0.2": "x"}}, "a name of figure.names must be one of .*'1e-09', '0.1', got '0.2'"),
    ({"names": {RATE: 3}}, f"figure.names.{RATE} must be a text, got 3"),
    ({"x": [RATE, "a.accuracy"]}, f"figure.x must be one of '{RATE}', got 'a.accuracy'"),
    ({"even_x": 1}, "figure.even_x must be true or false, got 1"),
    ({"legend": 3}, "figure.legend must be a text, got 3"),
    ({"missing": True}, "figure.missing must be a text, got True"),
    ({"only": {RATE: [0.2]}}, f"figure.only.{RATE} must be among 1e-09, 0.1, got 0.2"),
    ({"only": {"arm": ["a"]}}, f"a field of figure.only must be one of '{RATE}', got 'arm'"),
    ({"sums": 3}, "figure.sums must be a table of names and sums, got 3"),
    ({"sums": {A: {B: 1}}}, f"figure.sums.{A} must have another name than a value of the runs"),
    ({"sums": {"s": {"c": 1}}}, "a value of figure.sums.s must be one of 'a.accuracy', 'b.accuracy', got 'c'"),
    ({"sums": {"s": {A: "x"}}}, f"figure.sums.s.{A} must be a number, got 'x'"),
    ({"y": {"one": ["c"]}}, "figure.y must be one of 'a.accuracy', 'b.accuracy', got 'c'"),
    ({"y": {"one": [A]}, "panel": RATE}, f"figure.panel must be left out where y is a table of panels, got '{RATE}'"),
    ({"times": {RATE: [1, 2]}}, "a field of figure must be one of .*got 'times'"),
]


@pytest.mark.parametrize(("look", "message"), WRONG, ids=lambda value: str(value)[:50])
def test_a_wrong_figure_is_refused_in_one_line(look, message):
    with pytest.raises(ValueError, match=message) as caught:
        look_of(study(figure=look), [RATE], [A, B])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("look", "message"),
    [
        ({"times": {"training.epochs": [1, 2, 3]}}, r"must be a list of 2 numbers > 0, one for each .*got \[1, 2, 3\]"),
        ({"times": {"training.epochs": [1, 0]}}, r"figure.times.training.epochs must be a list of 2 .*got \[1, 0\]"),
        ({"times": {"training.epochs": 3}}, "figure.times.training.epochs must be a list of 2 .*got 3"),
        ({"times": {"training.epoch": [1, 2]}}, "a field of figure.times must be one of 'training.epochs', got"),
        ({"missing": "x"}, "a field of figure must be one of .*got 'missing'"),
        ({"sums": {}}, "a field of figure must be one of .*got 'sums'"),
    ],
    ids=str,
)
def test_a_wrong_figure_of_thresholds_is_refused(look, message):
    bisect = {"field": RATE, "low": 1e-4, "high": 1e-1, "value": "with_errors.accuracy", "level": 0.9}
    with pytest.raises(ValueError, match=message):
        look_of_thresholds(study(sampler="bisection", bisect=bisect, space={"training.epochs": [1, 2]}, figure=look))


@pytest.mark.parametrize("name", list_studies())
def test_the_figures_of_the_shipped_studies_have_known_names(name):
    mine = load_study(name)
    if is_of_thresholds(mine):
        look_of_thresholds(mine)
    elif "report" in mine.tables:
        look_of(mine, [dimension.path for dimension in mine.dimensions], mine.tables["report"]["values"])
