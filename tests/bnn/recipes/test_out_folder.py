"""Whose a folder of results is: runs, studies and demos do not replace each other's files."""

import json

import pytest

from bnn.recipes.out_folder import check_folder

STUDY = {"title": "A grid", "identity": "1", "command": "mtj-bnn study digits_grid"}
RUN = {"title": "small", "identity": "2", "command": "mtj-bnn run recipe.toml"}
DEMO = {"title": "The demo", "identity": "3", "command": "mtj-bnn demo --seed 0"}
BENCH = {"title": "Ratios", "identity": "4", "command": "make bench"}


def check(folder, kind, *, same=lambda record: record["identity"] == "own"):
    check_folder(folder, kind, same=same, files=("table.csv", "*.png"))


@pytest.mark.parametrize("kind", ["run", "study", "demo"])
@pytest.mark.parametrize(
    ("record", "held"),
    [
        (STUDY, "{} study, 'mtj-bnn study digits_grid'"),
        (RUN, "{} run, 'small'"),
        (DEMO, "{} demo, 'mtj-bnn demo --seed 0'"),
        (BENCH, "something else, 'make bench'"),
        ({}, "something else"),
    ],
)
def test_the_record_of_anything_else_is_refused(tmp_path, kind, record, held):
    (tmp_path / "run.json").write_text(json.dumps(record))
    own = f"mtj-bnn {kind}" in record.get("command", "")
    what = held.format("another" if own else "a")
    with pytest.raises(ValueError, match="holds") as caught:
        check(tmp_path, kind)
    assert str(caught.value) == f"out {str(tmp_path)!r} holds {what}, see its run.json. Name another folder."
    if own:
        check(tmp_path, kind, same=lambda found: found == record)


@pytest.mark.parametrize(
    ("kind", "file", "held"),
    [
        ("run", "study.json", "a study"),
        ("study", "recipe.toml", "a run"),
        ("demo", "study.json", "a study"),
        ("demo", "recipe.toml", "a run"),
    ],
)
def test_what_another_kind_has_begun_is_refused(tmp_path, kind, file, held):
    (tmp_path / file).write_text("")
    with pytest.raises(ValueError, match=f"out .* holds {held}, see its {file}. Name another folder"):
        check(tmp_path, kind)


@pytest.mark.parametrize(("kind", "declared"), [("run", "recipe.toml"), ("study", "study.json"), ("demo", None)])
def test_files_without_a_record_are_somebody_elses_unless_the_work_was_begun(tmp_path, kind, declared):
    check(tmp_path / "absent", kind)
    (tmp_path / "other.csv").write_text("")
    check(tmp_path, kind)
    for name in ("table.csv", "b.png"):
        (tmp_path / name).write_text("")
    with pytest.raises(ValueError, match=r"out .* holds b\.png, table\.csv and no run\.json, which says what"):
        check(tmp_path, kind)
    if declared:
        (tmp_path / declared).write_text("")
        check(tmp_path, kind)


@pytest.mark.parametrize("damage", ["{", "[]"])
def test_a_damaged_record_is_refused(tmp_path, damage):
    (tmp_path / "run.json").write_text(damage)
    with pytest.raises(ValueError, match=r"out has a damaged file, .*run\.json: .* Delete it"):
        check(tmp_path, "run")
