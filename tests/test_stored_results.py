"""Stored results: digests of the code that made them, which are out of date, and the shipped studies end to end."""

import csv
import json
import math
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

import bnn.studies.tasks.sot_80nm as sot
from bnn.recipes.code import changed_since, digest_of, digest_of_module, loaded_code, merged_code
from bnn.recipes.recipe import load_recipe
from bnn.recipes.record import Record
from bnn.recipes.result import value_names
from bnn.recipes.run import run_recipe
from bnn.studies.crossing import crossing
from bnn.studies.figure import plot_study
from bnn.studies.run import run_study
from bnn.studies.space import Study, load_study
from bnn.studies.table import written
from mtjsim.presets import load_preset
from physics import approx
from stored import DIGITS, ROOT, script, small_study

SHIPPED = (
    *("batch_norm", "batch_norm_networks", "error_modes", "factor_two"),
    *("junction_to_memory", "sot_80nm", "weight_words"),
)
SOURCE = '''
"""A module."""
import math  # for pi


def area(r):
    """Of a disc."""
    return math.pi * r**2
'''


def rows(folder, name):
    with (folder / f"{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_digest_is_of_the_code_and_not_of_its_words_or_layout():
    assert digest_of(SOURCE) == digest_of("import math\ndef area(r): return math.pi * r ** 2")
    assert digest_of(SOURCE) == digest_of(SOURCE.replace("Of a disc", "In m^2").replace("# for pi", ""))
    for old, new in (("r**2", "r**3"), ("area", "disc"), ("math.pi", "3"), ("(r)", "(r=1)"), ("r**2", "r**2.0")):
        assert digest_of(SOURCE) != digest_of(SOURCE.replace(old, new))
    text = "def f():\n    return 1\n"
    assert digest_of(text + "'not a docstring'") != digest_of(text)  # after the first statement it is code


def test_the_digest_is_the_same_for_every_python():
    """Equal in Python 3.9 to 3.13, whose trees have more and more fields."""
    source = "def f(a, *, b=1, **c):\n    with a as d, b:\n        return [*c, f'{d!r:>3}']\n"
    assert digest_of(source) == "3a04a27c1d01d3f6"


def stale(tmp_path, code):
    folder = tmp_path / "one"
    folder.mkdir()
    Record(title="One", identity="1", seeds=0, seconds=1.0, core_seconds=1.0, command="make it", code=code).write(
        folder
    )
    return folder


def test_a_stored_result_is_current_until_a_module_changes(tmp_path):
    state_of, report = (script("stored_results")[name] for name in ("state_of", "report"))
    code = loaded_code()
    folder = stale(tmp_path, code)
    assert state_of(folder) == ("current", [])
    assert list(report(tmp_path)) == [f"{'one':22} current"]
    record = json.loads((folder / "run.json").read_text())
    record["code"] |= {"mtjsim.device": "0" * 16, "bnn.that_is_gone": "1" * 16}
    (folder / "run.json").write_text(json.dumps(record))
    assert state_of(folder) == ("out of date", ["bnn.that_is_gone", "mtjsim.device"])
    lines = list(report(tmp_path))
    assert lines[0].split() == ["one", "out", "of", "date"]
    assert lines[1].endswith("made by: make it")
    assert lines[2].endswith("changed: bnn.that_is_gone, mtjsim.device")
    del record["code"]
    (folder / "run.json").write_text(json.dumps(record))
    assert state_of(folder) == ("older format", [])


def test_parts_made_with_different_code_are_never_current():
    name = "mtjsim.device"
    own = digest_of_module(name)
    assert changed_since(merged_code([{name: own}, {name: own}])) == []
    assert changed_since(merged_code([{name: own}, {name: "0" * 16}])) == [name]


def test_make_results_loads_no_torch(tmp_path):
    code = (
        f"import runpy, sys; runpy.run_path({str(ROOT / 'notebooks' / 'stored_results.py')!r}, run_name='__main__'); "
    )
    check = "assert 'torch' not in sys.modules"
    run = [sys.executable, "-c", f"import sys; sys.argv = ['x', {str(tmp_path)!r}]; {code}{check}"]
    subprocess.run(run, check=True, env={"PYTHONPATH": str(ROOT), "PATH": ""})


def test_a_study_records_the_code_of_its_points_and_not_that_of_the_table_alone(tmp_path):
    study = Study(name="one", task="mtjsim.presets:load_preset", space={"name": ["arm_2021"]})
    (point,) = study.grid()
    result = {
        "key": "k",
        "study": "s",
        "seed": 0,
        "values": {"v": 1.0},
        "version": "1",
        "seconds": 0,
        "core_seconds": 0,
    }
    done = [(point, result | {"code": {"mtjsim.device": "of the point"}})]
    results = SimpleNamespace(all=lambda points: done, folder=tmp_path)
    study.tables["report"] = {"values": ["v"]}
    study.tables["figure"] = {"y": "v"}
    written(study, results, [point])
    record = json.loads((tmp_path / "run.json").read_text())
    assert record["code"]["mtjsim.device"] == "of the point"
    assert record["code"]["bnn.studies.table"] == digest_of_module("bnn.studies.table")
    assert record["identity"] == study.identity
    result["tables"] = {"summary": [{"a": 1}]}
    with pytest.raises(ValueError, match=r"tables of a task must not be named .*, got 'summary'"):
        written(study, SimpleNamespace(all=lambda points: [(point, result)], folder=tmp_path), [point])


def test_every_stored_folder_belongs_to_a_study_a_verb_or_the_benchmarks():
    folders = {path.parent.name for path in (ROOT / "notebooks" / "results").glob("*/run.json")}
    for name in folders - {"demo", "bench"}:
        assert load_study(name).title
    assert not list((ROOT / "notebooks" / "results").glob("*/*.py"))


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_study_can_be_read(name):
    assert len(load_study(name).grid()) >= 1


# ---- crossings -------------------------------------------------------------------------------------------------------


def test_a_crossing_is_linear_in_the_logarithm_and_bounded_where_there_is_none():
    places = np.array([0.0, 1e-6, 1e-4, 1e-2])
    assert crossing(places, np.array([0.9, 0.9, 0.9, 0.88]), 0.01) == (approx(-3.0), "")
    assert crossing(places, np.array([0.9, 0.895, 0.885, 0.7]), 0.01) == (approx(-5.0), "")
    assert crossing(places, np.array([0.9, 0.9, 0.9, 0.895]), 0.01) == (approx(-2.0), ">")
    assert crossing(places, np.array([0.9, 0.5, 0.9, 0.9]), 0.01) == (approx(-6.0), "<")
    assert (
        crossing(places, np.array([0.1, 0.9, 0.9, 0.9]), 0.0)[1] == "reference failed"
    )  # chance, of which nothing is kept


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"field": "training.epochs", "value": "v"}, r"crossing.loss must be given alone, or keep .* got field, value"),
        ({"field": "seed", "value": "v", "loss": 0.1}, r"crossing.field must be one of .*got 'seed'"),
        ({"field": "training.epochs", "value": "v", "loss": 0.0}, r"crossing.loss must be a number > 0, got 0.0"),
        ({"fields": "training.epochs"}, r"a field of crossing must be one of .*Did you mean 'field'"),
    ],
)
def test_a_wrong_crossing_is_refused_before_any_work(tmp_path, table, message):
    study = Study(name="one", recipe="digits_mlp", space={"training.epochs": [1, 2]}, crossing=table)
    with pytest.raises(ValueError, match=message):
        run_study(study, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_figure_has_a_row_and_a_column_of_panels():
    study = Study(
        name="one",
        recipe="digits_mlp",
        space={"training.epochs": [1, 2], "training.batch_size": [32, 64, 128], "seed": [0, 1]},
        figure={"x": "seed", "y": "a.accuracy", "panel": "training.batch_size", "row": "training.epochs"},
    )
    summary = [{**dict(point.shown), "repeats": 1, "a.accuracy": 0.5} for point in study.grid()]
    summary = [row | {"a.accuracy.low": "", "a.accuracy.high": ""} for row in summary]
    axes = plot_study(study, summary).axes
    assert len(axes) == 6
    assert [ax.get_title() for ax in axes[2:4]] == ["epochs 1; batch size 128", "epochs 2; batch size 32"]
    assert [bool(ax.get_ylabel()) for ax in axes] == [True, False, False] * 2


# ---- re-estimations --------------------------------------------------------------------------------------------------


def test_a_test_says_how_a_re_estimation_is_done(monkeypatch):
    seen = []

    def watched(model, images, *, draws, seed):
        seen.append((len(images), draws))
        return model

    monkeypatch.setattr("bnn.evaluation.batch_norm.reestimate_batch_norm", watched)
    test = {"name": "again", "correct": "reestimate", "correct_images": 30, "correct_draws": 7, "draws": 1}
    fields = {"training.epochs": 1, "data.train_images": 100, "test": [test, {**test, "name": "clean", "memory": []}]}
    result = run_recipe(recipe := load_recipe("digits_mlp").replaced(fields))
    known, found = set(value_names(recipe)), set(result.values())  # what a study may report
    assert found < known
    assert {name.removesuffix("_at_least") for name in found} == {name.removesuffix("_at_least") for name in known}
    assert seen[-2:] == [(30, 7), (30, 1)]  # without errors one draw says it
    with pytest.raises(ValueError, match=r"test.again.correct_draws must be .*>= 1"):
        load_recipe("digits_mlp").replaced({"test": [{**test, "correct_draws": 0}]})


# ---- the shipped studies, small --------------------------------------------------------------------------------------


def test_weight_words_end_to_end_a_training_that_diverges_is_a_row(tmp_path):
    """Independent errors at 1e-2: a quarter of the words is wrong after a write, a quarter of these in the exponent."""
    space = {"memory.words.error_rate": [0.0, 1e-2], "memory.words.protection": ["none"]}
    small_study("weight_words", tmp_path, fixed={"training.epochs": 1}, space=space, repeats=1)
    table = rows(tmp_path, "table")
    assert len(table) == 2 * 2 * 2
    for row in table:
        harsh = row["memory.words.errors"] == "independent" and float(row["memory.words.error_rate"]) > 0
        diverged = row["training.diverged"] == "1"
        assert diverged == harsh or row["memory.words.errors"] == "overwrite"
        assert (row["error_free.accuracy"] == "") == diverged
    independent = [row for row in rows(tmp_path, "crossing") if row["memory.words.errors"] == "independent"]
    assert [(row["bound"], float(row["log10_memory.words.error_rate"])) for row in independent] == [("<", -2.0)] * 2


def test_batch_norm_end_to_end(tmp_path):
    small = {"data.train_images": 200, "test.run.draws": 2, "test.run.correct_draws": 1, "test.run.correct_images": 40}
    rates = {"memory.bits.error_rate": [0.1], "test.run.memory.bits.error_rate": [0.0, 0.2]}
    small_study("batch_norm", tmp_path, fixed=DIGITS | small, space=rates, repeats=1)
    table = rows(tmp_path, "table")
    assert len(table) == 2 * 1 * 2 * 3
    ways = {(row["memory.bits.holds"], row["test.run.correct"]): row["run.accuracy"] for row in table}
    assert len(set(ways.values())) > 3  # the corrections do something


def test_error_modes_end_to_end(tmp_path):
    small = {"data": "digits", "model": "mlp", "epochs": 1, "rates": [0.2], "test_images": 60, "draws": 1}
    small_study("error_modes", tmp_path, fixed=small, space={"trained_at": [0.0]}, repeats=1)
    found = {row["mode"]: row for row in rows(tmp_path, "modes")}
    assert list(found) == ["overwrite", "same share", "same in a cell", "full rate"]
    share = {mode: float(row["effective_rate"]) for mode, row in found.items()}
    bits = int(found["full rate"]["bits"])
    assert abs(share["full rate"] - 0.2) < 4.9 * (0.16 / bits) ** 0.5  # 1e-6
    for mode in ("same share", "same in a cell"):
        assert abs(share[mode] - share["overwrite"]) < 4.9 * (0.16 / bits) ** 0.5
    assert share["overwrite"] < 0.5 * share["full rate"]


def test_wer_accuracy_end_to_end_and_needs_the_references(tmp_path):
    result = small_study("wer_accuracy", tmp_path, space={"kind": ["axial"]}, data_dir=ROOT / "tests" / "golden")
    assert result.rows[0]["largest_deviation"] < 1e-6
    assert len(rows(tmp_path, "cases")) == result.rows[0]["cases"] == 14


def test_sot_80nm_end_to_end_without_its_fit(tmp_path, monkeypatch):
    """The fit takes minutes; here it returns another preset, under a rectangular pulse."""
    device = load_preset("arm_2021")
    estimates = {name: {"value": 2.0, "low": 1.0, "high": 3.0} for name in sot.FREE}
    goodness = {"deviance": 9.0, "degrees_of_freedom": 4, "p_value": 0.06}
    content = {"estimates": estimates, "goodness": goodness, "counts_identity": "c"}
    monkeypatch.setattr(
        sot, "calibrate", lambda *given, **options: SimpleNamespace(device=device, as_dict=lambda: content)
    )
    small = {"voltages": 3, "relax_time": 0.0}
    small_study("sot_80nm", tmp_path, fixed=small, space={"rise_time": [0.0]}, data_dir=ROOT / "notebooks" / "data")
    (row,) = rows(tmp_path, "table")
    assert type(device)(**json.loads(row["device"])) == device
    assert (float(row["critical_current.low"]), float(row["p_value"])) == (1.0, 0.06)
    assert len(rows(tmp_path, "curve")) == 3
    assert all(0.0 <= float(line["switching_probability"]) <= 1.0 for line in rows(tmp_path, "rows"))


@pytest.mark.slow
def test_junction_to_memory_end_to_end(tmp_path):
    small = {"most_attempts": 3, "scanned": 2, "spread_attempts": [1]}
    small_study("junction_to_memory", tmp_path, fixed=small, space={"sizing": ["same cell"]})
    ways = {row["way"]: row for row in rows(tmp_path, "ways")}
    assert math.isclose(float(ways["strong pulse"]["lost_bits"]), 1e-9, rel_tol=1e-3)
    assert [row["way"] for row in rows(tmp_path, "spread")] == ["unprotected", "strong pulse", "SECDED"]
    assert {row["part"] for row in rows(tmp_path, "sources")} >= {"junction", "read", "code"}
