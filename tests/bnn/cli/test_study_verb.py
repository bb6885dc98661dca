"""`mtj-bnn study`: a study from the command line."""

import json
import re

import pytest

from bnn.cli import main
from bnn.cli.study_verb import table_of
from bnn.studies import worker
from bnn.studies.space import list_studies

STUDY = """title = "small study"
recipe = "digits_mlp"
repeats = 2

[set]
training.epochs = 1
model.hidden = [12]

[space]
memory.activations.error_rate = [0.01, 0.3]

[report]
values = ["with_errors.accuracy", "activations.error_rate_0"]
"""


@pytest.fixture
def mine(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(STUDY)
    return path


def study(capsys, *words):
    code = main(["study", *map(str, words)])
    return code, *capsys.readouterr()


def test_without_a_name_the_studies_are_listed_with_their_titles(capsys):
    code, out, err = study(capsys)
    assert (code, err) == (0, "")
    assert [line.split()[0] for line in out.splitlines()] == list_studies()
    assert "write current" in out
    assert list(json.loads(study(capsys, "--json")[1])) == list_studies()


def test_it_runs_what_is_left_and_prints_the_table(capsys, mine, tmp_path):
    folder = tmp_path / "out"
    code, _, err = study(capsys, mine, "--out", folder, "--status")
    assert (code, err) == (
        2,
        f"mtj-bnn study: error: --out {str(folder)!r} does not exist: nothing of mine was run there.\n",
    )
    code, out, err = study(capsys, mine, "--out", folder, "--workers", "1")
    assert code == 0
    title, names, low, high = out.splitlines()
    assert title == "small study"
    assert names.split() == [
        "memory.activations.error_rate",
        "repeats",
        "with_errors.accuracy",
        "activations.error_rate_0",
    ]
    assert re.search(r"0\.01 +2 +\d+\.\d\d % \[.*\] +0\.01$", low)
    assert re.search(r"0\.3 +2 +\d+\.\d\d % \[.*\] +0\.3$", high)
    for name in ("figure.png", "table.csv", "summary.csv", "run.json"):
        assert f"written: {folder / name}" in err
    before = (folder / "table.csv").read_bytes()
    assert study(capsys, mine, "--out", folder, "--workers", "2")[:2] == (0, out)
    assert (folder / "table.csv").read_bytes() == before
    assert study(capsys, mine, "--out", folder, "--status") == (0, "mine: 4 of 4 points finished, 0 at work\n", "")
    state = json.loads(study(capsys, mine, "--out", folder, "--status", "--json")[1])
    assert (state["study"], state["points"], state["finished"], state["failed"]) == ("mine", 4, 4, {})
    content = json.loads(study(capsys, mine, "--out", folder, "--json")[1])
    assert [row["memory.activations.error_rate"] for row in content["summary"]] == [0.01, 0.3]
    assert len(content["rows"]) == 4
    mine.write_text(STUDY.replace("epochs = 1", "epochs = 2"))
    code, out, err = study(capsys, mine, "--out", folder)
    assert (code, out) == (2, "")
    assert "holds another study, 'mine' of another recipe or seed, see its study.json" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["digit_grid", "--out", "x"], "Did you mean 'digits_grid'"),
        (["absent.toml", "--out", "x"], "study 'absent.toml' does not exist"),
        (["digits_grid"], "--out is missing: the folder of the results, as in --out digits_grid"),
        (["digits_grid", "--out", "no/such/folder"], "--out 'no/such/folder' cannot be written"),
        (["digits_grid", "--out", "x", "--workers", "0"], "--workers must be a whole number >= 1, got 0"),
        (["digits_grid", "--out", "x", "--storage", "sqlite:////no/such/study.db"], "--storage .* cannot be reached"),
        (["digits_grid", "--out", "x", "--data-dir", "."], "must not be given for digits"),
        (["digits_grid", "--out", "x", "--data-dir", "absent"], "--data-dir 'absent' does not exist"),
        (["write_errors", "--out", "x", "--data-dir", "absent"], "--data-dir 'absent' does not exist"),
        (["digits_grid", "--out", "x", "--set", "training.epoch=1"], "Did you mean 'epochs'"),
        (["digits_grid", "--out", "x", "--set", "model.inputs=60"], "input_shape must fit the model"),
        (["digits_grid", "--ot", "x"], "there is no option --ot. Did you mean --out"),
    ],
)
def test_what_is_wrong_is_one_line(capsys, monkeypatch, tmp_path, words, message):
    monkeypatch.chdir(tmp_path)
    code, out, err = study(capsys, *words)
    assert (code, out) == (2, "")
    assert re.search(message, err), err
    assert err.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("was", "now", "message"),
    [
        ("training.epochs", "training.epoch", "a field of training must be one of .*Did you mean 'epochs'"),
        ("memory.activations.error_rate =", "memory.activation.error_rate =", "Did you mean 'activations'"),
        ("[0.01, 0.3]", "[0.01, 3]", "error_rate=3: .*must be <= 1, got 3"),
        ("repeats", "repeat", "a field of the study must be one of .*Did you mean 'repeats'"),
        ('"digits_mlp"', '"digits_mpl"', "Did you mean 'digits_mlp'"),
        ("with_errors.accuracy", "with_error.accuracy", "Did you mean 'with_errors.accuracy'"),
        ("[space]", "[space", "mine.toml is not TOML"),
    ],
)
def test_a_wrong_study_is_one_line_and_leaves_no_file(capsys, mine, tmp_path, was, now, message):
    mine.write_text(STUDY.replace(was, now, 1))
    code, out, err = study(capsys, mine, "--out", tmp_path / "out", "--workers", "1")
    assert (code, out) == (2, "")
    assert re.search(message, err), err
    assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()
    (tmp_path / "out").mkdir()
    assert study(capsys, mine, "--out", tmp_path / "out", "--workers", "1")[0] == 2
    assert (tmp_path / "out").exists()


def test_points_that_failed_are_said_and_the_others_are_kept(capsys, mine, tmp_path, monkeypatch):
    def fails(study, point, *others, **more):
        if dict(point.shown)["training.learning_rate"] == 1e30:
            raise MemoryError("no room")
        return run_point(study, point, *others, **more)

    run_point = worker.run_point
    monkeypatch.setattr(worker, "run_point", fails)
    mine.write_text(
        STUDY.replace("[set]", "[set]\ntraining.schedule = 'constant'")
        .replace("memory.activations.error_rate = [0.01, 0.3]", "training.learning_rate = [0.02, 1e30]")
        .replace("repeats = 2", "retries = 0")
    )
    code, out, err = study(capsys, mine, "--out", tmp_path / "out", "--workers", "1")
    assert (code, out) == (2, "")
    assert re.search(r"1 points of mine failed, the first at training\.learning_rate=1e\+30: .*no room", err), err
    code, out, _ = study(capsys, mine, "--out", tmp_path / "out", "--status")
    assert out.startswith("mine: 1 of 2 points finished, 0 at work\nfailed 1 times: MemoryError: no room")


def test_a_table_has_intervals_only_where_there_are_some():
    rows = [
        {"arm": "a", "repeats": 3, "x.accuracy": 0.5, "x.accuracy.low": 0.4, "x.accuracy.high": 0.6, "e": 1e-12},
        {"arm": "b", "repeats": 1, "x.accuracy": "", "x.accuracy.low": "", "x.accuracy.high": "", "e": 2},
    ]
    assert table_of(rows).splitlines()[1].split(maxsplit=2)[2] == "50.00 % [40.00, 60.00]  1e-12"
    assert table_of([]) == "no point is finished"
