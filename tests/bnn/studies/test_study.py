"""Studies: every point once, whatever ends a worker; the same table for any number of them; what comes out."""

import importlib
import json
import logging
import platform
import stat
import sys

import numpy as np
import pytest
from scipy.stats import t as student_t

import bnn
from bnn.studies import worker
from bnn.studies.run import UnfinishedStudy, run_study
from bnn.studies.space import Study
from bnn.studies.status import status_of
from bnn.training.result import Epoch

RATE = "memory.activations.error_rate"
TINY = {"training.epochs": 1, "training.batch_size": 256, "model.hidden": [12]}
HELD_OUT = {"data.validation": 0.2, "test": [{"name": "held_out", "images": "validation"}]}


def study(**tables):
    return Study(**{"name": "mine", "recipe": "digits_mlp", "space": {RATE: [0.01, 0.1, 0.2]}, **tables})


def falling(recipe):
    """An accuracy that falls with the rate, a little different for each seed."""
    rate = recipe.value(RATE)
    return {
        "error_free.accuracy": 0.95,
        "with_errors.accuracy": 0.95 - rate + recipe.seed % 7 / 1000,
        "activations.error_rate_0": rate,
        "held_out.accuracy": 0.9 - (rate - 0.05) ** 2,
        "training.loss": rate,
    }


def run(mine, out, **options):
    return run_study(mine, out=out, **{"workers": 1, **options})


def tables(folder):
    return {name: (folder / name).read_bytes() for name in ("table.csv", "summary.csv")}


# ---- what comes out --------------------------------------------------------------------------------------------------


def test_a_study_has_a_row_for_each_point_and_repeat_and_means_over_repeats(tmp_path, counted_points):
    calls = counted_points(falling)
    result = run(study(repeats=3, arm={"a": {}, "b": {"training.epochs": 2}}, space={RATE: [0.01, 0.1]}), tmp_path)
    assert len(calls) == len(set(calls)) == len(result.rows) == 12
    assert [(row["arm"], row[RATE], row["repeat"]) for row in result.rows] == [
        (arm, rate, repeat) for arm in "ab" for rate in (0.01, 0.1) for repeat in range(3)
    ]
    assert len({row["seed"] for row in result.rows}) == 3
    first = [row["with_errors.accuracy"] for row in result.rows[:3]]
    half = student_t.ppf(0.975, 2) * np.std(first, ddof=1) / 3**0.5
    row = result.summary[0]
    assert (row["repeats"], row["error_free.accuracy.low"], row["error_free.accuracy.high"]) == (3, 0.95, 0.95)
    assert row["with_errors.accuracy"] == pytest.approx(np.mean(first))
    assert row["with_errors.accuracy.high"] - row["with_errors.accuracy"] == pytest.approx(half)
    assert "activations.error_rate_0" not in row
    assert [path.name for path in result.files] == ["table.csv", "summary.csv", "run.json", "figure.png"]
    saved = json.loads((tmp_path / "run.json").read_text())
    assert (saved["points"], saved["finished"], saved["identity"]) == (12, 12, result.study.identity)
    assert len(saved["seeds"]) == 3
    assert bnn.run_study is run_study


def test_arms_in_another_order_are_the_same_points(tmp_path):
    """A finished point is not run again, and the table has the new order."""
    arms = {"a": {}, "b": {"training.epochs": 2}}
    first = run(study(repeats=1, arm=arms, space={RATE: [0.1]}), tmp_path)
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "results").iterdir()}
    again = run(study(repeats=1, arm=dict(reversed(arms.items())), space={RATE: [0.1]}), tmp_path)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "results").iterdir()} == stamps
    assert [row["arm"] for row in again.rows] == ["b", "a"]
    assert [row["seed"] for row in again.rows] == [row["seed"] for row in first.rows]


def test_the_report_chooses_the_values_of_the_summary(tmp_path, counted_points):
    counted_points(falling)
    values = ["activations.error_rate_0", "with_errors.accuracy"]
    result = run(study(report={"values": values}), tmp_path)
    assert list(result.summary[0]) == [RATE, "repeats"] + [
        name + end for name in values for end in ("", ".low", ".high")
    ]
    assert result.summary[1]["activations.error_rate_0"] == 0.1
    assert result.summary[1]["activations.error_rate_0.low"] == ""


# ---- every point once ------------------------------------------------------------------------------------------------


def test_a_finished_study_runs_nothing_and_a_larger_one_what_is_new(tmp_path, counted_points):
    calls = counted_points(falling)
    run(study(), tmp_path)
    before = tables(tmp_path)
    run(study(title="by another title"), tmp_path)
    assert len(calls) == 3
    assert tables(tmp_path) == before
    run(study(space={RATE: [0.05, 0.1, 0.2, 0.01]}, repeats=2), tmp_path)
    assert sorted(calls[3:]) == [(0.01, 1), (0.05, 0), (0.05, 1), (0.1, 1), (0.2, 1)]
    run(study(), tmp_path)
    assert len(calls) == 8
    assert tables(tmp_path) == before


def test_a_storage_that_was_deleted_and_a_result_that_was_lost_are_replaced_by_each_other(tmp_path, counted_points):
    calls = counted_points(falling)
    run(study(), tmp_path)
    before = tables(tmp_path)
    (tmp_path / "study.db").unlink()
    run(study(), tmp_path)
    assert len(calls) == 3
    run(study(space={RATE: [0.01, 0.1, 0.2, 0.3]}), tmp_path)
    assert calls[3:] == [(0.3, 0)]
    for path in (tmp_path / "results").iterdir():
        path.unlink()
    run(study(), tmp_path)
    assert tables(tmp_path) == before


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"key": "other", "values": {}}', b"\xff\xfe"])
def test_a_damaged_result_is_made_again_with_a_warning(tmp_path, counted_points, caplog, damage):
    counted_points(falling)
    run(study(), tmp_path)
    before = tables(tmp_path)
    path = sorted((tmp_path / "results").glob("*.json"))[1]
    content = path.read_bytes()
    path.write_bytes(damage)
    with caplog.at_level(logging.WARNING):
        run(study(), tmp_path)
    assert "is damaged" in caplog.text
    assert tables(tmp_path) == before
    assert json.loads(path.read_bytes())["values"] == json.loads(content)["values"]


class Interruption(KeyboardInterrupt):
    """In place of a kill."""


def test_a_run_that_was_ended_is_continued_and_loses_nothing(tmp_path, counted_points):
    seen = []

    def values_of(recipe):
        seen.append(recipe.value(RATE))
        if len(seen) == 2:
            raise Interruption
        return falling(recipe)

    calls = counted_points(values_of)
    with pytest.raises(Interruption):
        run(study(), tmp_path)
    assert len(list((tmp_path / "results").iterdir())) == 1
    result = run(study(), tmp_path)
    assert seen == [0.01, 0.1, 0.1, 0.2]
    assert len(calls) == 4
    assert [row[RATE] for row in result.rows] == [0.01, 0.1, 0.2]


# ---- points that fail ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("retries", [0, 1, 3])
def test_a_point_that_fails_is_tried_again_and_reported_while_the_others_are_finished(
    tmp_path, counted_points, retries
):
    def values_of(recipe):
        if recipe.value(RATE) == 0.1:
            raise FloatingPointError("the loss is nan\nin epoch 3")
        return falling(recipe)

    calls = counted_points(values_of)
    wanted = r"1 points of mine failed, the first at .*error_rate=0\.1: .*the loss is nan"
    with pytest.raises(UnfinishedStudy, match=wanted) as caught:
        run(study(retries=retries), tmp_path)
    assert "\n" not in str(caught.value)
    assert sorted(calls) == sorted([(0.01, 0), (0.2, 0)] + [(0.1, 0)] * (1 + retries))
    state = status_of(study(retries=retries), out=tmp_path)
    assert (state["points"], state["finished"], state["running"]) == (3, 2, 0)
    assert state["failed"] == {"FloatingPointError: the loss is nan in epoch 3": 1 + retries}
    assert [row.split(",")[0] for row in (tmp_path / "table.csv").read_text().splitlines()[1:]] == ["0.01", "0.2"]
    calls = counted_points(falling)  # what was wrong is mended: the same call runs what is left
    assert len(run(study(retries=retries), tmp_path).rows) == 3
    assert calls == [(0.1, 0)]


def test_a_point_that_fails_once_is_in_the_table(tmp_path, counted_points):
    failed = []

    def values_of(recipe):
        if recipe.value(RATE) == 0.1 and not failed:
            failed.append(1)
            raise OSError("the disk was away")
        return falling(recipe)

    calls = counted_points(values_of)
    assert len(run(study(), tmp_path).rows) == 3
    assert len(calls) == 4


# ---- other studies, folders and storages -----------------------------------------------------------------------------


def test_a_folder_of_another_study_is_refused_and_left_as_it_is(tmp_path, counted_points):
    calls = counted_points(falling)
    run(study(), tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and path.suffix == ".json"}
    for other in (study(seed=1), study(set={"training.epochs": 2})):
        with pytest.raises(ValueError, match="holds another study, 'mine' of another recipe or seed"):
            run(other, tmp_path)
        with pytest.raises(ValueError, match="holds another study"):
            status_of(other, out=tmp_path)
    assert len(calls) == 3
    assert {path: path.read_bytes() for path in before} == before
    (tmp_path / "study.json").write_text("{")
    with pytest.raises(ValueError, match=r"has a damaged file, .*study\.json: .* Delete it"):
        run(study(), tmp_path)


def contents(folder):
    files = [path for path in folder.rglob("*") if path.is_file() and "study.db" not in path.name]
    return {path.name: path.read_bytes() for path in files}


def as_in_git(folder):
    """Leave what git keeps of a stored study: tables, figure and record."""
    (folder / "study.json").unlink()
    for path in (*folder.glob("study.db*"), *folder.glob("*/*.json")):
        path.unlink()


@pytest.mark.parametrize("name", ["other", "other --set training.epochs=2", "mine --set training.epochs=2"])
def test_a_stored_table_of_another_study_is_refused_without_its_study_json_too(tmp_path, counted_points, name):
    calls = counted_points(falling)
    run(study(), tmp_path)
    as_in_git(tmp_path)
    before = contents(tmp_path)
    fixed = {"training.epochs": 2} if "--set" in name else {}
    with pytest.raises(ValueError, match=r"out .* holds another study, 'mtj-bnn study mine', see its run\.json\. Name"):
        run(study(name=name, set=fixed), tmp_path)
    assert len(calls) == 3
    assert contents(tmp_path) == before


def test_a_stored_table_is_made_again_by_a_newer_version_of_its_study_and_former_tables_are_removed(
    tmp_path, counted_points, caplog
):
    crossing = {"field": RATE, "value": "with_errors.accuracy", "loss": 0.1}
    counted_points(falling)
    run(study(crossing=crossing), tmp_path)
    as_in_git(tmp_path)
    saved = json.loads((tmp_path / "run.json").read_text())
    for name in ("of_a_task.csv", "notes.csv", "threshold.csv"):
        (tmp_path / name).write_text("a,b\n1,2\n")
    outside = tmp_path.parent / f"{tmp_path.name}.csv"
    outside.write_text("")
    saved["tables"] |= {"of_a_task.csv": {}, "notes.txt": {}, f"../{outside.name}": {}}
    (tmp_path / "run.json").write_text(json.dumps(saved))
    newer = study(set={"training.epochs": 2}, arm={"a": {}, "b": {"training.batch_size": 32}})
    assert newer.identity != saved["identity"]
    with caplog.at_level(logging.WARNING):
        run(newer, tmp_path)
    kept = sorted(path.name for path in tmp_path.glob("*.csv"))
    assert kept == ["notes.csv", "summary.csv", "table.csv"]
    assert json.loads((tmp_path / "run.json").read_text())["identity"] == newer.identity
    for name in ("crossing.csv", "of_a_task.csv", "threshold.csv"):
        assert f"{name} is removed: it is a former table" in caplog.text
    assert outside.exists()
    with pytest.raises(ValueError, match="holds another study, 'mine' of another recipe or seed"):
        run(study(), tmp_path)  # from now on the folder has results of the newer one


def test_a_study_that_shares_results_with_another_does_not_replace_its_table(tmp_path, counted_points):
    calls = counted_points(falling)
    run(study(), tmp_path)
    before = contents(tmp_path)
    other = study(name="other", space={RATE: [0.01, 0.3]})
    assert other.identity == study().identity
    with pytest.raises(ValueError, match=r"out .* holds another study, 'mine', see its study\.json"):
        run(other, tmp_path)
    assert len(calls) == 3
    assert contents(tmp_path) == before


def test_the_order_in_which_fields_were_set_does_not_matter(tmp_path, counted_points):
    calls = counted_points(falling)
    one = {"training.epochs": 2, "training.batch_size": 32}
    run(study().replaced(one), tmp_path)
    run(study().replaced(dict(reversed(one.items()))), tmp_path)
    assert len(calls) == 3


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"run.json": '{"command": "mtj-bnn run recipe.toml", "title": "t"}'}, r"holds a run, 't', see its run\.json"),
        ({"recipe.toml": ""}, r"holds a run, see its recipe\.toml"),
        ({"run.json": '{"command": "mtj-bnn demo"}'}, "holds a demo"),
        ({"threshold.csv": ""}, r"holds threshold\.csv and no run\.json"),
        ({"run.json": "{"}, r"has a damaged file, .*run\.json"),
    ],
)
def test_a_folder_of_anything_else_is_refused_before_any_work(tmp_path, counted_points, files, message):
    calls = counted_points(falling)
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=message):
        run(study(), tmp_path)
    with pytest.raises(ValueError, match=message):
        status_of(study(), out=tmp_path)
    assert calls == []
    assert {name: (tmp_path / name).read_text() for name in files} == files
    assert len(list(tmp_path.iterdir())) == len(files)


def test_a_table_that_a_task_may_write_is_refused_without_a_record(tmp_path):
    (tmp_path / "of_my_own.csv").write_text("1")
    task = Study(name="mine", task="mtjsim.presets:load_preset", space={"name": ["arm_2021"]})
    with pytest.raises(ValueError, match=r"holds of_my_own\.csv and no run\.json"):
        run(task, tmp_path)


def test_two_studies_of_one_name_in_one_storage_are_refused(tmp_path, counted_points):
    calls, url = counted_points(falling), f"sqlite:///{tmp_path / 'shared.db'}"
    run(study(), tmp_path / "a", storage=url)
    with pytest.raises(ValueError, match="storage has another study of the name 'mine', of another recipe or seed"):
        run(study(seed=1), tmp_path / "b", storage=url)
    assert len(calls) == 3
    assert len(run(study(name="other", seed=1), tmp_path / "b", storage=url).rows) == 3


def test_results_come_from_the_storage_to_another_machine(tmp_path, counted_points):
    calls, url = counted_points(falling), f"sqlite:///{tmp_path / 'shared.db'}"
    run(study(), tmp_path / "a", storage=url)
    run(study(), tmp_path / "b", storage=url)
    assert len(calls) == 3
    assert tables(tmp_path / "a") == tables(tmp_path / "b")
    assert status_of(study(), out=tmp_path / "b", storage=url)["finished"] == 3


@pytest.mark.parametrize(
    ("storage", "message"),
    [
        ("sqlite:////nowhere/study.db", "storage .* cannot be reached"),
        ("study.db", "storage .*(must be an address|cannot be reached)"),
        ("", "storage .*(must be an address|cannot be reached)"),
        ("nosql://x", "storage"),
    ],
)
def test_a_storage_that_cannot_be_reached_is_refused_before_any_work(tmp_path, counted_points, storage, message):
    calls = counted_points(falling)
    with pytest.raises(ValueError, match=message) as caught:
        run(study(), tmp_path / "out", storage=storage)
    assert "\n" not in str(caught.value)
    assert calls == []
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file", tmp_path / "absent" / "out"):
        with pytest.raises(OSError, match=r"out .* cannot be written"):
            run(study(), out)
    with pytest.raises(FileNotFoundError, match="does not exist: nothing of mine was run there"):
        status_of(study(), out=tmp_path / "absent")
    assert stat.S_ISREG((tmp_path / "file").stat().st_mode)


@pytest.mark.parametrize("workers", [0, 1.5, True])
def test_a_wrong_number_of_workers_is_refused(tmp_path, workers):
    with pytest.raises(ValueError, match="workers must be a whole number >= 1"):
        run(study(), tmp_path, workers=workers)


# ---- the other samplers ----------------------------------------------------------------------------------------------


def test_a_bisection_is_a_study(tmp_path, counted_points):
    bisect = {"field": RATE, "low": 0.01, "high": 0.41, "value": "with_errors.accuracy", "level": 0.8, "rounds": 4}
    calls = counted_points(falling)
    result = run(study(sampler="bisection", bisect=bisect, space={}, repeats=2), tmp_path)
    assert len(calls) == len(set(calls)) == len(result.rows) == 2 * 6
    assert [row[RATE] for row in result.summary] == [0.01, 0.41, 0.21, 0.11, 0.16, 0.135]
    run(study(sampler="bisection", bisect={**bisect, "rounds": 5}, space={}, repeats=2), tmp_path)
    assert len(calls) == 14


def test_random_points_are_kept_when_trials_grow(tmp_path, counted_points):
    calls = counted_points(falling)
    mine = {"sampler": "random", "objective": {"held_out.accuracy": "maximize"}, "set": HELD_OUT}
    mine["space"] = {RATE: {"low": 0.001, "high": 0.3, "log": True}}
    first = run(study(**mine, trials=3), tmp_path)
    more = run(study(**mine, trials=5), tmp_path)
    assert more.rows[:3] == first.rows
    assert len(calls) == len(set(calls)) == 5


@pytest.mark.parametrize("sampler", ["tpe", "nsga2"])
@pytest.mark.parametrize("space", [{"low": 0.001, "high": 0.3}, [0.01, 0.05, 0.1, 0.2]])
def test_optuna_chooses_points_on_validation_values(tmp_path, counted_points, sampler, space):
    calls = counted_points(falling)
    mine = study(
        sampler=sampler,
        trials=8,
        repeats=2,
        set=HELD_OUT,
        objective={"held_out.accuracy": "maximize", "training.loss": "minimize"},
        constraint={"training.loss": {"max": 0.15}},
        space={RATE: space},
    )
    result = run(mine, tmp_path)
    assert len(calls) == len(set(calls))  # a point that is chosen again is not run again
    assert {(row[RATE], row["repeat"]) for row in result.rows} == set(calls)
    assert all(row["repeats"] == 2 for row in result.summary)
    assert len(result.summary) == (8 if isinstance(space, dict) else len({call[0] for call in calls}))
    before = len(calls)
    run(mine, tmp_path)
    assert len(calls) == before
    assert status_of(mine, out=tmp_path)["finished"] == 8


def test_a_sampler_of_optuna_searches_lists_too(tmp_path, counted_points):
    calls = counted_points(lambda recipe: falling(recipe) | {"training.loss": len(recipe.value("model.hidden"))})
    space = {"model.hidden": [[12], [12, 12]]}
    mine = study(sampler="tpe", trials=6, set=HELD_OUT, objective={"training.loss": "minimize"}, space=space)
    result = run(mine, tmp_path)
    assert len(calls) == len(result.rows) == len({str(row["model.hidden"]) for row in result.rows}) <= 2


# ---- one real study --------------------------------------------------------------------------------------------------


def test_the_table_of_a_real_study_is_the_same_for_one_and_two_workers(tmp_path):
    mine = study(set=TINY, repeats=2, space={RATE: [0.01, 0.3]})
    one = run(mine, tmp_path / "one", workers=1)
    run(mine, tmp_path / "two", workers=2)
    assert tables(tmp_path / "one") == tables(tmp_path / "two")
    plain = bnn.run_recipe(mine.recipe_at(mine.grid()[2]), threads=1, progress=False)
    row = one.rows[2]
    assert {name: row[name] for name in plain.values()} == {
        k: "" if v is None else v for k, v in plain.values().items()
    }
    assert [path.name for path in (tmp_path / "two" / "networks").iterdir() if path.suffix == ".pt"] == []


def test_points_that_differ_in_their_tests_share_a_training(tmp_path, monkeypatch):
    from bnn.training.loop import Trainer

    trained, fit = [], Trainer.fit

    def counted(self, *args, **kw):
        result = fit(self, *args, **kw)
        trained.append(result.steps)
        return result

    monkeypatch.setattr(Trainer, "fit", counted)
    tests = {"test": [{"name": "t", "draws": 2}], **TINY}
    mine = study(set=tests, space={"test.t.memory.activations.error_rate": [0.01, 0.3]})
    low, high = run(mine, tmp_path).rows
    assert low["t.accuracy"] > high["t.accuracy"]
    assert [bool(steps) for steps in trained] == [True, False]


def test_a_trial_that_is_behind_ends_early(tmp_path, monkeypatch):
    seen = []

    def run_point(study, point, folder, data_dir, *, on_epoch=None):
        behind = len(seen) in (5, 6)  # after the first five trials, which set the median
        seen.append(dict(point.shown)[RATE])
        for epoch in range(3):
            on_epoch(Epoch(epoch, 0.5, 0.5, 0.2 if behind else 0.9))
        own = {"key": study.key(point), "parameters": dict(point.shown), "repeat": 0, "seed": 0}
        values = {"held_out.accuracy": 0.9, "error_free.accuracy": 0.9}
        return own | {"values": values, "version": "0", "seconds": 0.0, "core_seconds": 0.0}

    monkeypatch.setattr(worker, "run_point", run_point)
    choice = {"sampler": "tpe", "trials": 8, "set": HELD_OUT, "objective": {"held_out.accuracy": "maximize"}}
    mine = study(**choice, space={RATE: {"low": 0.01, "high": 0.3}}, prune={"warmup": 0})
    result = run(mine, tmp_path)
    assert [row[RATE] for row in result.rows] == [*seen[:5], seen[7]]
    assert len(seen) == 8
    assert status_of(mine, out=tmp_path)["failed"] == {}


@pytest.mark.parametrize("sampler", ["tpe", "nsga2"])
def test_a_sampler_of_optuna_chooses_the_same_points_again_with_one_worker(tmp_path, monkeypatch, sampler):
    def of_a_parabola(study, point, folder, data_dir, *, on_epoch=None):
        rate = dict(point.fields)["training.learning_rate"]
        fixed = {"study": study.identity, "seed": 1, "version": "", "code": {}, "seconds": 0.0, "core_seconds": 0.0}
        values = {"training.validation_accuracy": 1.0 - (rate - 0.01) ** 2, "clean.accuracy": 0.5}
        return fixed | {"key": study.key(point), "parameters": dict(point.shown), "repeat": 0, "values": values}

    monkeypatch.setattr("bnn.studies.worker.run_point", of_a_parabola)
    space = {"training.learning_rate": {"low": 1e-3, "high": 1e-1, "log": True}}
    objective = {"training.validation_accuracy": "maximize"}
    study = Study(
        name="mine",
        recipe="digits_mlp",
        sampler=sampler,
        trials=12,  # ten are drawn before TPE looks at them
        set={"data.validation": 0.2},
        space=space,
        objective=objective,
    )
    found = [
        [row["training.learning_rate"] for row in run_study(study, out=tmp_path / name, workers=1).rows]
        for name in ("a", "b")
    ]
    assert found[0] == found[1]
    assert len(set(found[0])) == 12


def test_results_of_a_task_whose_code_has_changed_are_made_again(tmp_path, monkeypatch):
    """The old results stay in their files, under another key."""
    monkeypatch.syspath_prepend(tmp_path)
    source = tmp_path / "task_of_this_test.py"

    def rows(factor):
        source.write_text(f"def f(x): return {{'y.accuracy': {factor} * x}}\n")
        sys.modules.pop("task_of_this_test", None)
        importlib.invalidate_caches()
        study = Study(name="mine", task="task_of_this_test:f", space={"x": [0.1, 0.2]})
        return [row["y.accuracy"] for row in run_study(study, out=tmp_path / "out", workers=1).rows]

    assert rows(2) == [0.2, 0.4]
    assert rows(3) == [pytest.approx(0.3), pytest.approx(0.6)]
    assert rows(2) == [0.2, 0.4]
    assert len(list((tmp_path / "out" / "results").glob("*.json"))) == 4


def test_results_of_other_code_of_ours_are_kept_with_a_warning(tmp_path, caplog, counted_points):
    study = Study(name="mine", recipe="digits_mlp", space={"memory.activations.error_rate": [0.1, 0.2]})
    run_study(study, out=tmp_path, workers=1)
    for path in (tmp_path / "results").glob("*.json"):
        result = json.loads(path.read_text())
        path.write_text(json.dumps(result | {"code": {"bnn.errors.keys": "other", "bnn.studies.table": "other"}}))
    with caplog.at_level(logging.WARNING):
        run_study(study, out=tmp_path, workers=1)
    (line,) = [record.getMessage() for record in caplog.records if "were made before" in record.getMessage()]
    assert line.startswith("2 of 2 results in ")
    assert "these modules changed: bnn.errors.keys. To make them again" in line


def test_a_divergence_is_the_worst_of_an_objective_and_below_every_level(tmp_path, monkeypatch):
    def diverges_beyond(study, point, folder, data_dir, *, on_epoch=None):
        rate = dict(point.fields)["training.learning_rate"]
        values = {"training.diverged": int(rate > 0.03)}
        if rate <= 0.03:
            values |= {"training.validation_accuracy": rate, "error_free.accuracy": 0.9}
        fixed = {"study": study.identity, "seed": 1, "version": "", "code": {}, "seconds": 0.0, "core_seconds": 0.0}
        return fixed | {
            "key": study.key(point),
            "parameters": dict(point.shown),
            "repeat": point.repeat,
            "values": values,
        }

    monkeypatch.setattr("bnn.studies.worker.run_point", diverges_beyond)
    wide = {"low": 1e-3, "high": 1e-1, "log": True}
    chosen = Study(
        name="mine",
        recipe="digits_mlp",
        sampler="tpe",
        trials=14,
        set={"data.validation": 0.2},
        space={"training.learning_rate": wide},
        objective={"training.validation_accuracy": "maximize"},
    )
    rows = run_study(chosen, out=tmp_path / "tpe", workers=1).rows
    assert len(rows) == 14
    assert {row["training.diverged"] for row in rows} == {0, 1}
    bisect = {"field": "training.learning_rate", "value": "error_free.accuracy", "level": 0.5, "rounds": 6, **wide}
    halved = Study(name="other", recipe="digits_mlp", sampler="bisection", bisect=bisect)
    rows = run_study(halved, out=tmp_path / "halved", workers=1).rows
    low = max(row["training.learning_rate"] for row in rows if not row["training.diverged"])
    high = min(row["training.learning_rate"] for row in rows if row["training.diverged"])
    assert low < 0.03 < high < 1.1 * low


def test_a_call_that_is_refused_leaves_no_folder(tmp_path):
    with pytest.raises(ValueError, match=r"memory.activations.holds"):
        run(study(space={"memory.activations.holds": ["activations", "biasses"]}), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    (tmp_path / "own").mkdir()
    with pytest.raises(ValueError, match=r"memory.activations.holds"):
        run(study(space={"memory.activations.holds": ["activations", "biasses"]}), tmp_path / "own")
    assert (tmp_path / "own").exists()


def test_results_say_on_which_machine_they_were_made_and_several_are_a_warning(tmp_path, caplog):
    mine = study(space={RATE: [0.01, 0.1]}, set=TINY)
    run(mine, tmp_path)
    (first, _) = (tmp_path / "results").glob("*.json")
    result = json.loads(first.read_text())
    assert result["machine"].startswith(platform.machine())
    assert json.loads((tmp_path / "run.json").read_text())["machines"] == [result["machine"]]
    first.write_text(json.dumps(result | {"machine": "another"}))
    caplog.clear()
    run(mine, tmp_path)
    assert "are of several machines (another, " in caplog.text
    assert json.loads((tmp_path / "run.json").read_text())["machines"] == sorted(["another", result["machine"]])
