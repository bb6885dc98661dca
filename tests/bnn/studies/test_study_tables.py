"""What a study writes: columns of the summary, the best points, thresholds, crossings."""

import csv

import numpy as np
import pytest

from bnn.recipes.result import DIVERGED
from bnn.studies.choice import choice_of
from bnn.studies.figure import plot_study
from bnn.studies.run import run_study
from bnn.studies.space import Study

RATE = "memory.activations.error_rate"
RATE_RANGE = {"low": 0.001, "high": 0.3, "log": True}
HELD_OUT = {"data.validation": 0.2, "test": [{"name": "held_out", "images": "validation"}]}
CROSSING = {"field": RATE, "value": "error_free.accuracy", "loss": 0.1}


def study(**tables):
    return Study(**{"name": "mine", "recipe": "digits_mlp", "space": {RATE: [0.01, 0.1, 0.2]}, **tables})


def rows(folder, name):
    with (folder / f"{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def squares(number=1, *, seed=0):
    """A task without an accuracy."""
    return {"square": number**2, "half": number / 2, "word": "text", "nothing": None}


def words(number=1, *, seed=0):
    """A task without a number."""
    return {"word": "text"}


def limit_of(seed):
    """A rate between 1e-8 and 1e-3."""
    return 10.0 ** -(3.0 + seed % 5 + seed % 7 / 7)


def falling(kind="falls", rate=0.0, *, seed=0):
    """A task whose score, another one for each seed, falls by 0.02 above a rate of the seed."""
    if kind == "diverges":
        return {"training.diverged": 1}
    return {"score": 0.9 - seed % 11 / 20 - 0.02 * (kind == "falls" and rate > limit_of(seed)), "training.diverged": 0}


def accuracy_of(recipe):
    rate = recipe.value(RATE)
    return {"error_free.accuracy": 0.95 - rate, "held_out.accuracy": 0.9 - (rate - 0.1) ** 2, "training.loss": rate}


def diverged(recipe):
    return {"training.epochs": 0, "training.diverged": 1, "training.joules_system": 1e-6}


# ---- the summary, and whether there is a figure ----------------------------------------------------------------------


def test_a_task_without_accuracies_has_all_its_numbers_in_the_summary_and_a_figure(tmp_path):
    task = Study(name="mine", task=f"{__name__}:squares", space={"number": [3, 1, 2]})
    result = run_study(task, out=tmp_path, workers=1)
    assert [name for name in result.summary[0] if not name.endswith((".low", ".high"))] == [
        "number",
        "repeats",
        "square",
        "half",
    ]
    assert [path.name for path in result.files] == ["table.csv", "summary.csv", "run.json", "figure.png"]
    (axes,) = plot_study(task, result.summary).axes
    assert axes.get_ylabel() == "square"
    assert axes.lines[0].get_xdata().tolist() == [1, 2, 3]


def test_without_a_number_there_are_tables_and_no_figure_and_an_older_one_is_removed(tmp_path):
    mine = Study(name="mine", task=f"{__name__}:words", space={"number": [1, 2]})
    run_study(mine, out=tmp_path, workers=1)
    (tmp_path / "figure.png").write_bytes(b"older")
    result = run_study(mine, out=tmp_path, workers=1)
    assert [path.name for path in result.files] == ["table.csv", "summary.csv", "run.json"]
    assert not (tmp_path / "figure.png").exists()


@pytest.mark.parametrize("more", [{}, {"report": {"values": ["error_free.accuracy"]}}, {"figure": {"x": RATE}}])
def test_trainings_that_all_diverged_are_tables_without_a_figure(tmp_path, counted_points, more):
    counted_points(diverged)
    tables = {"figure": {"y": "with_errors.accuracy"}} | more
    tables |= {"figure": {}} if "report" in more else {}
    result = run_study(study(**tables), out=tmp_path, workers=1)
    assert [path.name for path in result.files] == ["table.csv", "summary.csv", "run.json"]
    assert {row["error_free.accuracy"] for row in result.summary} == {""}


def test_intervals_of_accuracies_are_cut_at_0_and_1_and_others_are_not(tmp_path, counted_points):
    counted_points(
        lambda recipe: {"error_free.accuracy": 0.9 if recipe.seed % 2 else 0.2, "training.loss": recipe.seed % 2}
    )
    seeds = study(repeats=4, report={"values": ["error_free.accuracy", "training.loss"]}, space={RATE: [0.1]})
    assert len({seeds.recipe_at(point).seed % 2 for point in seeds.grid()}) == 2
    (row,) = run_study(seeds, out=tmp_path, workers=1).summary
    low, mean, high = (row[f"error_free.accuracy{end}"] for end in (".low", "", ".high"))
    assert 0.0 <= low < mean < high <= 1.0
    assert low == 0.0 or high == 1.0
    assert row["training.loss.low"] < 0.0 or row["training.loss.high"] > 1.0


def test_a_mean_over_repeats_of_which_one_diverged_is_empty(tmp_path, counted_points):
    counted_points(lambda recipe: diverged(recipe) if recipe.seed == first else accuracy_of(recipe) | {DIVERGED: 0})
    seeds = study(repeats=3, report={"values": ["error_free.accuracy", DIVERGED]}, space={RATE: [0.1]})
    first = seeds.recipe_at(seeds.grid()[0]).seed
    (row,) = run_study(seeds, out=tmp_path, workers=1).summary
    assert [row[f"error_free.accuracy{end}"] for end in ("", ".low", ".high")] == ["", "", ""]
    assert row[DIVERGED] == pytest.approx(1 / 3)
    assert (row[f"{DIVERGED}.low"], row[f"{DIVERGED}.high"]) == (0.0, 1.0)  # Student's t leaves 0 to 1


def test_the_write_current_may_be_reported_and_is_empty_where_rates_are_given(tmp_path, counted_points):
    written = {"device": {"preset": "arm_2021"}, "memory": [{"current": "42uA", "pulse_width": "10ns"}]}
    name = "activations.current_0"
    counted_points(lambda recipe: {"a.accuracy": 0.5} | ({name: 42e-6} if "device" in recipe.tables else {}))
    space = {"training.epochs": [1, 2]}
    mine = study(arm={"given": {}, "written": written}, space=space, report={"values": [name]})
    summary = run_study(mine, out=tmp_path / "a", workers=1).summary
    assert [(row["arm"], row[name]) for row in summary] == [("given", "")] * 2 + [("written", 42e-6)] * 2
    with pytest.raises(ValueError, match=r"a value of report.values must be one of .*got 'activations.voltage_0'"):
        run_study(study(space=space, report={"values": ["activations.voltage_0"]}), out=tmp_path / "b", workers=1)


# ---- what was found --------------------------------------------------------------------------------------------------


def choosing(objective, **more):
    return study(sampler="random", trials=6, set=HELD_OUT, space={RATE: RATE_RANGE}, objective=objective, **more)


def test_the_best_point_keeps_the_constraints_and_is_marked(tmp_path, counted_points):
    counted_points(accuracy_of)
    mine = choosing({"held_out.accuracy": "maximize"}, constraint={"training.loss": {"max": 0.02}})
    summary = run_study(mine, out=tmp_path, workers=1).summary
    assert [row["feasible"] for row in summary] == [int(row[RATE] <= 0.02) for row in summary]
    kept = [row for row in summary if row["feasible"]]
    assert 0 < len(kept) < len(summary)
    (best,) = (row for row in summary if row["best"])
    assert best["held_out.accuracy"] == max(row["held_out.accuracy"] for row in kept)
    assert "training.loss.low" in best


def test_the_front_of_several_objectives_has_no_dominated_or_infeasible_point():
    mine = choosing(
        {"held_out.accuracy": "maximize", "training.loss": "minimize"}, constraint={"energy": {"min": 1.0}}, repeats=2
    )

    def point(accuracy, loss, energy=1.0):
        return [{"held_out.accuracy": accuracy + d, "training.loss": loss, "energy": energy} for d in (-0.01, 0.01)]

    groups = [point(0.9, 2.0), point(0.8, 1.0), point(0.8, 2.0), point(0.99, 0.1, 0.5), point(0.9, 2.0)]
    groups += [point(0.99, 0.1)[:1], [point(0.99, 0.1)[0], {"training.loss": 0.1, "energy": 1.0}]]
    found = choice_of(mine, groups)
    assert [row["on_front"] for row in found] == [1, 1, 0, 0, 1, 0, 0]
    assert [row["feasible"] for row in found] == [1, 1, 1, 0, 1, 0, 1]
    assert choice_of(study(), groups)[0] == {}


def test_a_bisection_writes_its_thresholds(tmp_path, counted_points, monkeypatch):
    counted_points(
        lambda recipe: {"a.accuracy": (0.95 if recipe.value("training.epochs") == 1 else 0.5) - recipe.value(RATE)}
    )
    bisect = {"field": RATE, "low": 0.01, "high": 0.41, "value": "a.accuracy", "level": 0.8, "rounds": 4}
    mine = study(sampler="bisection", bisect=bisect, space={"training.epochs": [1, 2]}, repeats=2)
    monkeypatch.setattr("bnn.studies.run.value_names", lambda recipe: ["a.accuracy"])
    run_study(mine, out=tmp_path, workers=1)
    crossed, other = rows(tmp_path, "threshold")
    assert list(crossed) == ["training.epochs", "low", "high", "why"]
    assert (float(crossed["low"]), float(crossed["high"]), crossed["why"]) == (0.135, 0.16, "")
    assert (other["low"], other["high"], other["why"]) == ("", "", "both ends on one side: below low")


def test_a_bisection_of_losses_writes_how_many_repeats_fail_at_its_ends(tmp_path):
    bisect = {"field": "rate", "low": 1e-9, "high": 1e-1, "log": True, "rounds": 3, "value": "score"}
    mine = Study(
        name="mine",
        task=f"{__name__}:falling",
        sampler="bisection",
        bisect=bisect | {"level": {"lose": 0.01, "share": 0.5}},
        space={"kind": ["falls", "stays", "diverges"]},
        repeats=4,
    )
    limits = [limit_of(mine.recipe_at(mine.point({"kind": "falls"}, repeat)).seed) for repeat in range(4)]
    run_study(mine, out=tmp_path, workers=1)
    falls, stays, diverges = rows(tmp_path, "threshold")
    assert list(falls) == ["kind", "low", "high", "why", "failed_low", "failed_high", "repeats"]
    low, high = float(falls["low"]), float(falls["high"])
    assert low <= sorted(limits)[1] < high
    assert high / low == pytest.approx(10.0)
    assert (int(falls["failed_low"]), int(falls["failed_high"])) == tuple(
        sum(end > limit for limit in limits) for end in (low, high)
    )
    assert (falls["why"], falls["repeats"]) == ("", "4")
    assert list(stays.values()) == ["stays", "", "", "both ends on one side: above high", "0", "0", "4"]
    assert list(diverges.values()) == ["diverges", "", "", "fails at low", "4", "", "4"]


# ---- crossings -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"value": "error_free.acuracy"}, r"crossing.value must be one of .*Did you mean 'error_free.accuracy'"),
        ({"value": 3}, r"crossing.value must be a text, got 3"),
        ({"field": "data.name"}, r"crossing.field must have two numbers or more, none below 0, got \['digits'"),
    ],
)
def test_a_crossing_of_an_unknown_value_or_of_texts_is_refused_before_any_work(tmp_path, change, message):
    space = {RATE: [0.01, 0.1], "data.name": ["digits"]}
    with pytest.raises(ValueError, match=message):
        run_study(study(space=space, crossing=CROSSING | change), out=tmp_path / "out", workers=1)
    assert not list((tmp_path / "out").glob("*"))


def test_a_missing_value_is_0_for_a_training_that_diverged_alone(tmp_path, counted_points):
    counted_points(lambda recipe: diverged(recipe) if recipe.value(RATE) == 0.2 else accuracy_of(recipe))
    run_study(study(crossing=CROSSING | {"loss": 0.5}), out=tmp_path / "a", workers=1)
    (row,) = rows(tmp_path / "a", "crossing")
    assert (row["bound"], -1.0 < float(row[f"log10_{RATE}"]) < np.log10(0.2)) == ("", True)
    counted_points(lambda recipe: {"error_free.accuracy": None, "training.diverged": 0})
    with pytest.raises(ValueError, match=r"crossing.value must be a number of each run, got 'error_free.accuracy'"):
        run_study(study(crossing=CROSSING), out=tmp_path / "b", workers=1)


def test_a_repeat_that_never_falls_or_falls_at_once_is_an_open_end_of_the_range(tmp_path, counted_points):
    def score(recipe):
        lost = 0.1 * (recipe.value(RATE) >= limits[recipe.seed])
        return {"error_free.accuracy": 0.9 - lost, DIVERGED: 0}

    counted_points(score)
    for own, ends in (((0.1, 0.2), ("-inf", "")), ((0.2, 1.0), ("", "inf")), ((0.1, 1.0), ("-inf", "inf"))):
        two = study(repeats=2, crossing=CROSSING | {"loss": 0.05})
        limits = dict(zip((two.recipe_at(point).seed for point in two.grid()[:2]), own, strict=True))
        run_study(two, out=tmp_path / str(own), workers=1)
        (row,) = rows(tmp_path / str(own), "crossing")
        assert tuple(row[end] if "inf" in row[end] else "" for end in ("lowest", "highest")) == ends
