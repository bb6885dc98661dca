"""The command `mtj-bnn` before a verb does its work: help, wrong words, memory, interrupts, closed streams."""

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import pytest

from bnn.cli import main
from bnn.cli.command import VERBS, parser_of

WER = ("wer", "arm_2021", "--current", "50uA", "--pulse-width", "5ns")


def run(capsys, *words):
    code = main(words)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def process(command, folder):
    """Run a shell command, `mtj-bnn` in it, in a folder."""
    line = command.replace("mtj-bnn", f"{shlex.quote(sys.executable)} -m bnn")
    return subprocess.run(["bash", "-c", line], cwd=folder, capture_output=True, text=True, timeout=120)


# ---- help ------------------------------------------------------------------------------------------------------------


def test_without_a_verb_there_is_help_and_an_error_code(capsys):
    code, out, err = run(capsys)
    assert (code, out) == (2, "")
    assert [line.split()[0] for line in err.split("verbs:\n")[1].split("\n\n")[0].splitlines()] == list(VERBS)
    for words in (["--help"], ["-h"], ["help"]):
        assert run(capsys, *words) == (0, err, "")


def test_help_of_a_verb(capsys):
    for words in (["wer", "--help"], ["help", "wer"]):
        with pytest.raises(SystemExit, match="0"):
            main(words)
        assert capsys.readouterr().out.startswith("usage: mtj-bnn wer ")


def test_both_modules_run_as_the_command(tmp_path):
    done = [process(f"{sys.executable} -m {module} --version", tmp_path) for module in ("bnn", "bnn.cli")]
    assert [(each.returncode, each.stderr) for each in done] == [(0, "")] * 2
    assert done[0].stdout == done[1].stdout


def test_version(capsys):
    code, out, err = run(capsys, "--version")
    assert (code, err) == (0, "")
    assert re.fullmatch(r"mtj-bnn \d+\.\d+\.\d+\S*\n", out)


@pytest.mark.parametrize("verb", VERBS)
def test_every_option_is_explained_and_the_example_can_be_typed(verb):
    parser = parser_of(verb)
    assert all(action.help for action in parser._actions)
    text = parser.format_help()
    assert text.count("example: ") == 1
    command, same, *words = shlex.split(import_module(f"bnn.cli.{verb}_verb").EXAMPLE)
    assert (command, same) == ("mtj-bnn", verb)
    assert parser.parse_args(words).verb.__module__ == f"bnn.cli.{verb}_verb"


SLOW = ("demo", "fit", "run", "study", "predict")  # they fit, or train networks


@pytest.mark.parametrize(
    "verb", [pytest.param(verb, marks=[pytest.mark.slow] * (verb in SLOW)) for verb in VERBS if verb != "fetch"]
)
def test_the_example_of_every_help_runs(capsys, monkeypatch, tmp_path, verb):
    """All but fetch, which needs the network. The examples name two files: counts and a packed model."""
    monkeypatch.chdir(tmp_path)
    if verb == "fit":
        from mtjsim import load_preset, simulate_counts, write_counts

        where = {"current": [45e-6, 50e-6, 55e-6, 60e-6], "pulse_width": 10e-9, "direction": ["p_to_ap", "ap_to_p"] * 2}
        write_counts(simulate_counts(load_preset("arm_2021"), **where, trials=10_000, seed=0), "counts.csv")
    if verb == "predict":
        import bnn

        bnn.pack(bnn.models.mlp(seed=0).eval()).save("model.npz")
    words = shlex.split(import_module(f"bnn.cli.{verb}_verb").EXAMPLE)[1:]
    code, out, err = run(capsys, *words)
    assert (code, "error" in err) == (0, False), err
    assert out
    named = {word for option, word in pairwise(words) if option in ("--out", "--plot")}
    assert all((tmp_path / name).exists() for name in named)


def test_values_that_can_be_typed_are_listed():
    from bridge.cell.transistor import NODES
    from mtjsim.calibration.parameters import PARAMETERS

    for verb, option, names in (("fit", "--free", PARAMETERS), ("setting", "--node", NODES)):
        (text,) = [action.help for action in parser_of(verb)._actions if option in action.option_strings]
        assert ", ".join(names) in text


def test_help_is_fast_because_it_imports_nothing():
    program = (
        "import sys; from bnn.cli import main\n"
        "assert main(['--help']) == main(['--version']) == 0\n"
        "print('imported:', *sorted({'numpy', 'scipy', 'torch', 'pint', 'mtjsim'} & set(sys.modules)))\n"
        "from bnn.cli.command import VERBS, parser_of\n"
        "for verb in VERBS: parser_of(verb)\n"
        "print('imported:', *sorted({'torch', 'xarray', 'matplotlib', 'pint', 'numba'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert [line for line in done.stdout.splitlines() if line.startswith("imported:")] == ["imported:"] * 2


# ---- wrong words -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["wre"], "mtj-bnn: error: there is no verb wre. Did you mean wer? See mtj-bnn --help."),
        (["--json"], "mtj-bnn: error: there is no verb --json. See mtj-bnn --help."),
        (["help", "xyz"], "mtj-bnn: error: there is no verb xyz. See mtj-bnn --help."),
        (
            [*WER[:3], "50", "uA", "--pulse-width", "5ns"],
            "mtj-bnn wer: error: unexpected argument 'uA'. A quantity and its unit are one word, as in 50uA. See",
        ),
        ([*WER, "twice"], "mtj-bnn wer: error: unexpected argument 'twice'. See mtj-bnn wer --help."),
        (
            ["wer", "--curent"],
            "mtj-bnn wer: error: there is no option --curent. Did you mean --current? See",
        ),
        ([*WER, "--plot"], "mtj-bnn wer: error: argument --plot: expected one argument. See mtj-bnn wer --help."),
        (["demo", "--networks", "few"], "mtj-bnn demo: error: --networks must be a whole number >= 2, got 'few'."),
    ],
)
def test_wrong_words_are_one_line(capsys, words, message):
    code, out, err = run(capsys, *words)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(message)


def test_a_table_that_is_not_csv_is_named(capsys, tmp_path):
    (tmp_path / "q.csv").write_text('current,pulse_width,direction,trials,errors\n"' + 140_000 * "x")
    table = str(tmp_path / "q.csv")
    for words in (["map", "--counts", table, "--out", str(tmp_path / "q.nc")], ["fit", table]):
        code, out, err = run(capsys, *words)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert f"{table}: " in err


def test_a_missing_data_set_leaves_no_folder(capsys, tmp_path):
    words = ("demo", "--data", "mnist", "--data-dir", str(tmp_path / "none"), "--out", str(tmp_path / "out"))
    code, _, err = run(capsys, *words)
    assert code == 2
    assert "--data-dir" in err
    assert not list(tmp_path.iterdir())


# ---- what ends a verb ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (MemoryError("Unable to allocate 7 GiB"), 2, "mtj-bnn wer: error: out of memory. Unable to allocate 7 GiB\n"),
        (MemoryError(), 2, "mtj-bnn wer: error: out of memory.\n"),
        (
            RuntimeError("can't allocate memory: you tried to allocate 9 bytes"),
            2,
            "mtj-bnn wer: error: out of memory. can't allocate memory: you tried to allocate 9 bytes\n",
        ),
        (RuntimeError("CUDA out of memory"), 2, "mtj-bnn wer: error: out of memory. CUDA out of memory\n"),
        (KeyboardInterrupt(), 130, "mtj-bnn wer: interrupted\n"),
        (
            ImportError("libtorch.so: failed to map"),
            2,
            "mtj-bnn wer: error: libtorch.so: failed to map\n",
        ),
        (ValueError("two\nlines"), 2, "mtj-bnn wer: error: two lines\n"),
    ],
)
@pytest.mark.parametrize("place", ["bnn.cli.command.import_module", "bnn.cli.wer_verb.write_error_rate"])
def test_an_end_is_one_line_in_an_import_too(capsys, monkeypatch, place, error, code, message):
    def stop(*_, **__):
        raise error

    monkeypatch.setattr(place, stop)
    assert run(capsys, *WER) == (code, "", message)


def test_a_signal_to_terminate_is_one_line_and_the_second_one_ends_the_process(capsys, monkeypatch):
    before, seen = signal.getsignal(signal.SIGTERM), []

    def terminated(*_, **__):
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(60)
        finally:
            seen.append(signal.getsignal(signal.SIGTERM))

    monkeypatch.setattr("bnn.cli.wer_verb.write_error_rate", terminated)
    assert run(capsys, *WER) == (143, "", "mtj-bnn wer: terminated\n")
    assert seen == [signal.SIG_DFL]
    assert signal.getsignal(signal.SIGTERM) == before


def test_an_interrupt_of_the_first_import_is_one_line(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "bnn.cli.command", Interrupting("bnn.cli.command"))
    assert run(capsys, *WER) == (130, "", "mtj-bnn: interrupted\n")


class Interrupting(ModuleType):
    """A module in whose import the user typed Ctrl-C."""

    def __getattr__(self, name):
        raise KeyboardInterrupt


def test_a_mistake_of_ours_is_a_traceback(monkeypatch):
    def stop(*_, **__):
        raise RuntimeError("a mistake")

    monkeypatch.setattr("bnn.cli.wer_verb.write_error_rate", stop)
    with pytest.raises(RuntimeError, match="a mistake"):
        main(WER)


def test_closed_streams(tmp_path):
    done = process("mtj-bnn die arm_2021 --shape 4x4 --current 80uA --pulse-width 5ns --out d.nc >&-", tmp_path)
    assert done.returncode == 2
    assert done.stderr == ("mtj-bnn die: error: standard output is closed: send it to a file or to /dev/null.\n")
    assert not list(tmp_path.iterdir())
    done = process("mtj-bnn device arm_2022 2>&-", tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    done = process("mtj-bnn device 2>&-", tmp_path)
    assert (done.returncode, "arm_2021" in done.stdout) == (0, True)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_disk_under_the_answer(tmp_path):
    done = process("mtj-bnn device > /dev/full", tmp_path)
    assert done.returncode == 2
    assert done.stderr.splitlines() == ["mtj-bnn device: error: [Errno 28] No space left on device"]


def test_a_reader_that_has_enough(tmp_path):
    done = process("set -o pipefail; mtj-bnn device arm_2021 | true", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
