"""The verbs as a new user types them, wrong input too."""

import csv
import json
import subprocess
import sys

import pytest

import bnn.studies.demo
from bnn.cli import main
from bnn.data.images import DataSet
from bnn.data.loading import load
from bridge.write import WriteSetting, operating_point
from mtjsim import MTJ, list_presets, load_device, load_preset, preset_file, save_device, write_error_rate
from mtjsim.checks import ArgumentError
from physics import approx


def run(capsys, *words):
    code = main(words)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.fixture
def tiny(monkeypatch):
    """A demo of a few seconds: 60 images, three currents, one epoch."""
    digits = load("digits")
    data = DataSet("tiny", digits.train.subset(range(60)), digits.test.subset(range(40)), digits.class_names, "test")
    monkeypatch.setattr("bnn.data.loading.load", lambda name, directory=None: data)
    monkeypatch.setattr(bnn.studies.demo, "FEWEST_POINTS", 1)
    monkeypatch.setattr(bnn.studies.demo, "TARGETS", (0.6, 0.1, 1e-4))
    monkeypatch.setitem(bnn.studies.demo.EPOCHS, "tiny", 1)
    monkeypatch.setattr(bnn.studies.demo, "HIDDEN", (16,))


def test_demo_leaves_table_csv_json_and_figure(capsys, tiny, tmp_path):
    words = ("demo", "--networks", "2", "--draws", "2", "--workers", "1", "--out")
    code, out, err = run(capsys, *words, str(tmp_path / "a"))
    assert code == 0
    written = [f"written: {tmp_path / 'a' / name}" for name in ("curve.csv", "run.json", "curve.png")]
    assert err.splitlines() == written
    assert "no errors at all" in out
    rows = list(csv.DictReader((tmp_path / "a" / "curve.csv").read_text().splitlines()))
    assert len(rows) == 2 * 3
    device = load_preset("arm_2021")
    for row in rows:
        rate = write_error_rate(device, current=float(row["current_A"]), pulse_width=10e-9, direction="p_to_ap")
        assert float(row["error_rate_1"]) == approx(rate, rel=1e-8)
        mean = (float(row["energy_0_J"]) + float(row["energy_1_J"])) / 2
        assert float(row["energy_per_bit_J"]) == approx(mean, rel=1e-8)
    recorded = json.loads((tmp_path / "a" / "run.json").read_text())
    assert MTJ(**recorded["device"]).identity == recorded["device_identity"] == device.identity
    assert len(recorded["points"]) == len(rows)
    assert (tmp_path / "a" / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert not list((tmp_path / "a").glob("*.partial"))

    run(capsys, *words, str(tmp_path / "b"))
    assert (tmp_path / "a" / "curve.csv").read_bytes() == (tmp_path / "b" / "curve.csv").read_bytes()
    run(capsys, *words, str(tmp_path / "c"), "--seed", "1")
    assert (tmp_path / "a" / "curve.csv").read_bytes() != (tmp_path / "c" / "curve.csv").read_bytes()

    before = {path: path.read_bytes() for path in (tmp_path / "a").iterdir()}
    code, _, err = run(capsys, *words, str(tmp_path / "a"), "--seed", "1")
    assert (code, err.count("\n")) == (2, 1)
    assert f"--out {str(tmp_path / 'a')!r} holds another demo, 'mtj-bnn demo --device arm_2021" in err
    assert {path: path.read_bytes() for path in (tmp_path / "a").iterdir()} == before
    (tmp_path / "a" / "curve.csv").write_text("")
    assert run(capsys, *words, str(tmp_path / "a"))[0] == 0  # the same demo again
    assert (tmp_path / "a" / "curve.csv").read_bytes() == (tmp_path / "b" / "curve.csv").read_bytes()


def test_demo_of_an_asymmetric_junction_at_another_temperature(capsys, tiny, tmp_path):
    device = load_preset("arm_2021").replace(spin_torque_asymmetry=0.2, stray_field=(0.0, 0.0, 0.01))
    save_device(device, tmp_path / "mine.toml")
    where = ("--device", str(tmp_path / "mine.toml"), "--out", str(tmp_path / "out"))
    pulse = ("--pulse-width", "8ns", "--temperature", "350K")
    code, _, _ = run(capsys, "demo", *where, *pulse, "--networks", "2", "--draws", "2", "--workers", "1")
    assert code == 0
    rows = list(csv.DictReader((tmp_path / "out" / "curve.csv").read_text().splitlines()))
    recorded = json.loads((tmp_path / "out" / "run.json").read_text())
    for row, kept in zip(rows, recorded["points"], strict=True):
        setting = WriteSetting(current_0=float(row["current_A"]), current_1=float(row["current_A"]), pulse_width=8e-9)
        p = operating_point(device, setting, temperature=350.0)
        assert p.error_rate_1 > p.error_rate_0  # the field favours P, and so does the torque
        expected = [p.error_rate_0, p.error_rate_1, p.energy_0, p.energy_1, p.mean_energy, p.latency]
        columns = ["error_rate_0", "error_rate_1", "energy_0_J", "energy_1_J", "energy_per_bit_J", "latency_s"]
        assert [float(row[name]) for name in columns] == approx(expected, rel=1e-8)
        assert float(row["accuracy"]) == approx(kept["accuracy"]["mean"], abs=1e-6)
        assert kept["training"] == row["training"]
        assert kept["point"]["energy_0"] == approx(p.energy_0, rel=1e-9)
    assert "--pulse-width 8e-09s --temperature 350.0K" in recorded["command"]
    assert "mine.toml" in recorded["command"]


def test_demo_marks_the_cheapest_row_and_no_other(capsys, tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(bnn.studies.demo, "LARGEST_LOSS", 2.0)  # every point but the inverted one is good enough
    code, out, _ = run(capsys, "demo", "--out", str(tmp_path), "--networks", "2", "--draws", "2", "--workers", "1")
    assert code == 0
    marked = [line for line in out.splitlines() if "<- cheapest" in line]
    assert len(marked) == 1
    recorded = json.loads((tmp_path / "run.json").read_text())
    chosen = [p for p in recorded["points"] if p["identity"] == recorded["cheapest"]["identity"]]
    current = chosen[0]["point"]["setting"]["current_1"]
    assert marked[0].split()[0] == f"{current * 1e6:.1f}"
    energies = {p["point"]["setting"]["current_1"]: p["point"]["energy_1"] for p in recorded["points"]}
    assert current == sorted(energies)[1]


def test_demo_of_a_pulse_too_short_says_so_before_training(capsys, tmp_path):
    for folder in (tmp_path, tmp_path / "new"):
        code, _, err = run(capsys, "demo", "--pulse-width", "0.2ns", "--out", str(folder))
        assert code == 2
        assert "--pulse-width 2e-10 s at 300 K leaves no curve to draw" in err
        assert "Try a longer pulse" in err
        assert not list(tmp_path.iterdir())


def test_demo_does_not_replace_the_results_of_a_study(capsys, tmp_path):
    (tmp_path / "run.json").write_text('{"command": "mtj-bnn study digits_grid"}')
    code, _, err = run(capsys, "demo", "--out", str(tmp_path))
    assert (code, err.count("\n")) == (2, 1)
    assert f"--out {str(tmp_path)!r} holds a study, 'mtj-bnn study digits_grid', see its run.json" in err
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


def test_a_download_that_fails_leaves_no_folder(capsys, monkeypatch, tmp_path):
    def absent(url, path):
        raise ConnectionError(f"{url} could not be downloaded")

    monkeypatch.setattr("bnn.data.loading._download", absent)
    code, _, err = run(capsys, "fetch", "mnist", "--out", str(tmp_path / "new"))
    assert code == 2
    assert "could not be downloaded" in err
    assert not list(tmp_path.iterdir())


def test_demo_spans_the_currents_it_promises():
    currents = bnn.studies.demo.spanning_currents(load_preset("arm_2021"), pulse_width=10e-9, temperature=300.0)
    rates = write_error_rate(load_preset("arm_2021"), current=currents, pulse_width=10e-9)
    assert len(currents) >= 10
    assert ((rates > 1e-3) & (rates < 0.3)).sum() >= 5
    assert rates.max() > 0.5
    assert rates.min() < 1e-8


def test_demo_says_that_the_folder_cannot_be_written_before_the_work(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(bnn.studies.demo, "spanning_currents", lambda *_, **__: pytest.fail("worked first"))
    (tmp_path / "file").write_text("not a folder")
    code, _, err = run(capsys, "demo", "--out", str(tmp_path / "file" / "demo"))
    assert code == 2
    assert "cannot be written" in err
    assert "Name another folder" in err
    for words in (("demo",), ("fetch", "digits")):
        code, _, err = run(capsys, *words, "--out", str(tmp_path / "missing" / "demo"))
        assert code == 2
        assert f"there is no folder {str(tmp_path / 'missing')!r}). Make it" in err
        assert not (tmp_path / "missing").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["device", "arm"], "Did you mean 'arm_2021'"),
        (
            ["wer", "arm_2021", "--current", "-4uA", "--pulse-width", "5ns"],
            "--current must be finite and >= 0 A, got -4e-06",
        ),
        (["wer", "arm_2021", "--current", "nan", "--pulse-width", "5ns"], "--current must be finite"),
        (
            ["wer", "arm_2021", "--current", "4mV", "--pulse-width", "5ns"],
            "--current must be a quantity in A, got '4mV'",
        ),
        (["wer", "arm_2021", "--current", "4uA", "--pulse-width", "0ns"], "--pulse-width must be finite and > 0 s"),
        (
            ["wer", "arm_2021", "--current", "4uA", "--pulse-width", "1ns", "--temperature", "-3K"],
            "--temperature must be finite and > 0 K, got -3",
        ),
        (
            ["wer", "arm_2021", "--current", "4uA", "--pulse-width", "1ns", "--rise-time", "2ns"],
            "--rise-time must be <= pulse_width, got 2e-09 s",
        ),
        (["wer", "missing.toml", "--current", "4uA", "--pulse-width", "1ns"], "'missing.toml' does not exist"),
        (["setting", "arm_2021", "--error-rate", "5"], "Rates are probabilities, not percent"),
        (["setting", "arm_2021", "--pulse-width", "1ns", "--max-current", "30uA"], "is not reached"),
        (["fetch", "mnistt"], "DATA must be one of"),
        (["fetch", "imagenet"], "bnn.open_imagenet(FOLDER)"),
        (["demo", "--data", "imagenet"], "registered users only"),
        (["fetch", "cifar-100"], "Did you mean 'cifar100'"),
        (["wer", "arm_2021", "--voltage", "40uA", "--pulse-width", "1ns"], "--voltage must be a quantity in V"),
        (["device", "--plot", "portrait.png"], "--plot needs a device"),
        (["demo", "--data", "fashion"], "Did you mean 'fashion-mnist'"),
        (["demo", "--networks", "1"], "--networks must be a whole number >= 2, got 1"),
        (["demo", "--seed", "-1"], "--seed must be a whole number >= 0, got -1"),
        (["demo", "--workers", "0"], "--workers must be a whole number >= 1, got 0"),
        (["wer", "arm_2021", "--current", "1A", "--pulse-width", "5ns"], "--current must be <= 100 critical currents"),
        (["wer", "arm_2021", "--current", "9**9**9", "--pulse-width", "5ns"], "--current must be a quantity in A"),
        (["wer", "arm_2021", "--current", "-inf", "--pulse-width", "5ns"], "--current must be finite"),
        (
            ["wer", "arm_2021", "--current", "1uA", "--pulse-width", "5ns", "--temperature", "1e-6K"],
            "thermal stability",
        ),
        (["setting", "arm_2021", "--error-rate", "1e-300"], "--error-rate must be >= 1e-60"),
        (["setting", "arm_2021", "--max-current", "0"], "--max-current must be finite and > 0 A"),
        (["demo", "--pulse-width", "10uA"], "--pulse-width must be a quantity in s, got '10uA'"),
        (
            ["demo", "--pulse-width", "10"],
            "--pulse-width must have a unit, got '10'. Write it as in '10ns', or '10s' if",
        ),
        (["wer", "arm_2021", "--current", "50", "--pulse-width", "5ns"], "--current must have a unit, got '50'"),
        (["wer", "arm_2021", "--voltage", "0.5", "--pulse-width", "5ns"], "Write it as in '0.5V'"),
        (["setting", "arm_2021", "--temperature", "300"], "--temperature must have a unit, got '300'"),
        (
            ["wer", "arm_2021", "--curent", "50uA", "--pulse-width", "5ns"],
            "no option --curent. Did you mean --current?",
        ),
        (["setting", "arm_2021", "--pulsewidth=5ns"], "no option --pulsewidth. Did you mean --pulse-width?"),
        (["setting", "arm_2021", "--pulse-width", "1ns", "--rise-time", "2ns"], "--rise-time"),
    ],
)
@pytest.mark.filterwarnings("default::mtjsim.ImplausibleValue")
def test_wrong_input(capsys, words, message):
    code, out, err = run(capsys, *words)
    assert code == 2
    assert out == ""
    assert message in err
    assert len([line for line in err.splitlines() if ": warning: " not in line]) == 1


def test_device_file_with_a_wrong_unit_names_file_field_and_rule(capsys, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('[effective]\nthermal_stability = 60\ncritical_current = "30 uA"\ncharacteristic_time = "2 nm"\n')
    code, _, err = run(capsys, "device", str(path))
    assert code == 2
    assert "mine.toml" in err
    assert "characteristic_time must be a quantity in s, got '2 nm'" in err


@pytest.mark.parametrize("name", list_presets())
def test_what_device_prints_is_a_device_file_of_the_same_junction(capsys, tmp_path, name):
    assert main(["device", name]) == 0
    text = capsys.readouterr().out
    path = tmp_path / "mine.toml"
    path.write_text(text, "utf-8")
    file, preset = load_device(path), preset_file(name)
    assert file == preset  # device to the bit; title, reference, not_modelled, provenance
    assert f'diameter = "{preset.device.diameter * 1e9:.15g} nm"' in text
    assert f"# identity = {preset.device.identity}" in text
    assert main(["device", str(path)]) == 0
    assert capsys.readouterr().out == text


def test_json_of_every_verb(capsys):
    _, out, _ = run(capsys, "device", "--json")
    assert "arm_2021" in json.loads(out)
    _, out, _ = run(capsys, "device", "arm_2021", "--json")
    assert json.loads(out)["derived"]["identity"] == load_preset("arm_2021").identity
    _, out, _ = run(capsys, "wer", "arm_2021", "--current", "50uA,60uA", "--pulse-width", "10ns", "--json")
    rows = json.loads(out)["write_error_rate"]
    assert [row["current_A"] for row in rows] == [50e-6, 60e-6]
    assert rows[0]["p_to_ap"] == write_error_rate(load_preset("arm_2021"), current=50e-6, pulse_width=10e-9)
    _, out, _ = run(capsys, "setting", "arm_2021", "--pulse-width", "10ns", "--error-rate-1", "1e-4", "--json")
    point = json.loads(out)
    assert point["error_rate_0"] == approx(1e-3, rel=1e-4)
    assert point["error_rate_1"] == approx(1e-4, rel=1e-4)
    _, out, _ = run(capsys, "fetch", "digits", "--json")
    assert json.loads(out)["data"] == "digits"


def test_wer_takes_a_voltage(capsys):
    words = ("wer", "arm_2021", "--voltage", "0.4V,500mV", "--pulse-width", "5ns", "--direction", "p_to_ap")
    code, out, _ = run(capsys, *words, "--json")
    assert code == 0
    rows = json.loads(out)["write_error_rate"]
    rate = write_error_rate(load_preset("arm_2021"), voltage=0.5, pulse_width=5e-9)
    assert rows[1] == {"voltage_V": 0.5, "pulse_width_s": 5e-9, "p_to_ap": approx(rate, rel=1e-9)}
    _, out, _ = run(capsys, *words)
    assert out.splitlines()[0].split()[0] == "voltage"
    assert out.splitlines()[2].split()[:2] == ["0.5000", "V"]
    for wrong, message in (
        ((*words, "--current", "50uA"), "argument --current: not allowed with argument --voltage. See mtj-bnn wer"),
        (("wer", "arm_2021", "--pulse-width", "5ns"), "one of the arguments --current --voltage is required"),
    ):
        code, out, err = run(capsys, *wrong)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert message in err


CURVE = ("wer", "arm_2021", "--current", "50uA,60uA", "--pulse-width", "10ns")


@pytest.mark.parametrize(("name", "begins"), [("a.png", b"\x89PNG"), ("a.PDF", b"%PDF"), ("a.svg", b"<?xml")])
def test_wer_plots_what_it_prints(capsys, tmp_path, name, begins):
    _, plain, _ = run(capsys, *CURVE)
    code, out, err = run(capsys, *CURVE, "--plot", str(tmp_path / name))
    assert (code, out) == (0, plain)
    assert err == f"written: {tmp_path / name}\n"
    assert (tmp_path / name).read_bytes().startswith(begins)
    assert not list(tmp_path.rglob("*.partial"))


def test_plot_goes_with_json(capsys, tmp_path):
    code, out, _ = run(capsys, *CURVE, "--json", "--plot", str(tmp_path / "a.png"))
    assert code == 0
    assert len(json.loads(out)["write_error_rate"]) == 2
    assert (tmp_path / "a.png").stat().st_size > 1000


def test_portrait_of_a_device(capsys, tmp_path):
    code, out, _ = run(capsys, "device", "arm_2021", "--json", "--plot", str(tmp_path / "arm.png"))
    assert code == 0
    assert json.loads(out)["derived"]["identity"] == load_preset("arm_2021").identity
    assert (tmp_path / "arm.png").read_bytes().startswith(b"\x89PNG")


def test_plot_file_is_tried_before_the_work(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("bnn.cli.wer_verb.write_error_rate", lambda *_, **__: pytest.fail("worked first"))
    monkeypatch.setattr("bnn.cli.portrait.device_portrait", lambda *_, **__: pytest.fail("worked first"))
    (tmp_path / "file").write_text("not a folder")
    (tmp_path / "folder.png").mkdir()
    for words in (CURVE, ("device", "arm_2021")):
        for name, message in (
            ("a.bmp", "--plot must end in .pdf, .png, .svg, got"),
            ("a", "--plot must end in"),
            ("file/a.png", "cannot be written"),
            ("folder.png", "is a folder"),
            ("new/folder/a.png", f"there is no folder {str(tmp_path / 'new')!r}). Make it, or name another"),
        ):
            code, out, err = run(capsys, *words, "--plot", str(tmp_path / name))
            assert (code, out) == (2, "")
            assert message in err
            assert len(err.splitlines()) == 1
    for current, message in (("50uA", "one point is not a curve"), ("50uA,50uA", "--current has a value twice")):
        words = ("wer", "arm_2021", "--current", current, "--pulse-width", "10ns", "--plot", str(tmp_path / "a.png"))
        code, _, err = run(capsys, *words)
        assert code == 2
        assert message in err


def test_portrait_that_leaves_out_says_what_and_why(capsys, tmp_path):
    code, _, err = run(capsys, "device", "ut_austin_sot", "--plot", str(tmp_path / "sot.svg"))
    assert code == 0
    assert err.splitlines() == [
        f"written: {tmp_path / 'sot.svg'}",
        "not drawn: read disturb, because it is read through another path than its write channel",
    ]


def test_critical_current_of_a_torque_across_the_axis_is_labelled(capsys):
    _, out, _ = run(capsys, "device", "w_sot_80nm")
    labelled = [line for line in out.splitlines() if "into the plane, and leaves it to the state that a write" in line]
    assert [line.removeprefix("# ").split()[0] for line in labelled] == [
        "critical_current_p_to_ap_A",
        "critical_current_ap_to_p_A",
    ]
    _, out, _ = run(capsys, "device", "w_sot_80nm", "--json")
    assert json.loads(out)["derived"]["critical_current_is"].startswith("the layer turns into the plane")
    for words in (("device", "arm_2021"), ("device", "arm_2021", "--json")):
        assert "into the plane" not in run(capsys, *words)[1]
    assert "to either state" in run(capsys, "device", "ut_austin_sot")[1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("run", "mnist_lenet4", "--data-dir", "nowhere"), "--data-dir 'nowhere' does not exist: name one that holds"),
        (("predict", "model.npz", "digits", "--data-dir", "."), "--data-dir must not be given for digits"),
        (("fetch", "digits", "--out", "."), "--out must not be given for digits"),
    ],
)
def test_the_folder_of_a_data_set_is_called_as_it_is_typed(capsys, words, message):
    code, out, err = run(capsys, *words)
    assert (code, out) == (2, "")
    assert message in err
    assert "directory" not in err


@pytest.mark.parametrize(
    ("words", "argument", "subject"),
    [
        (("wer", "arm_2021", "--current", "5uA", "--pulse-width", "5ns"), "rise_time", "--rise-time"),
        (("wer", "arm_2021", "--current", "5uA", "--pulse-width", "5ns"), "damping", "damping"),
        (("map", "arm_2021", "--current", "5uA", "--pulse-width", "5ns", "--out", "a.nc"), "currents", "--current"),
        (("map", "arm_2021", "--current", "5uA", "--pulse-width", "5ns", "--out", "a.nc"), "voltages", "--voltage"),
        (("fetch", "mnist"), "name", "DATA"),
        (("fetch", "mnist"), "directory", "--out"),
        (("demo",), "name", "--data"),
        (("run", "digits_mlp"), "recipe", "RECIPE"),
    ],
)
def test_an_argument_is_called_by_the_option_that_sets_it(capsys, monkeypatch, tmp_path, words, argument, subject):
    """And by nothing else: the rest of the message, and messages about files, stay as they are."""
    monkeypatch.chdir(tmp_path)
    for error, said in (
        (ArgumentError(argument, "must fit rise_time."), f"{subject} must fit rise_time."),
        (ValueError(f"a.csv: line 2: {argument} must be > 0."), f"a.csv: line 2: {argument} must be > 0."),
        (ValueError(f"{argument} must be > 0."), f"{argument} must be > 0."),
    ):

        def stop(*_, error=error, **__):
            raise error

        for place in (
            *("bnn.cli.wer_verb.write_error_rate", "bnn.recipes.recipe.load_recipe"),
            *("bridge.maps.error_map.write_error_map", "bnn.data.loading.load", "bnn.data.loading.fetch"),
        ):
            monkeypatch.setattr(place, stop)
        code, out, err = run(capsys, *words)
        assert (code, out) == (2, "")
        assert err == f"mtj-bnn {words[0]}: error: {said}\n"


def test_progress_is_shown_on_a_terminal_and_nowhere_else(capsys, monkeypatch):
    seen = []

    def bar(jobs, **settings):
        seen.append((len(jobs), settings["disable"], settings["delay"]))
        return jobs

    monkeypatch.setattr("bnn.cli.wer_verb.tqdm", bar)
    monkeypatch.setattr("bnn.cli.wer_verb.write_error_rate", lambda *_, pulse_width, **__: [0.5] * len(pulse_width))
    words = ("--current", "50uA,60uA,70uA", "--pulse-width", "5ns,10ns")
    for name in ("arm_2021", "w_sot_80nm"):
        assert run(capsys, "wer", name, *words)[0] == 0
    assert seen == [(6, None, 1.0), (6, None, 0.0)]  # None: silent without a terminal; a slow one is shown at once


def test_device_verbs_start_without_torch():
    program = (
        "import sys; from bnn.cli import main\n"
        "for words in (['device'], ['wer', 'arm_2021', '--current', '50uA', '--pulse-width', '5ns'],\n"
        "              ['setting', 'arm_2021', '--pulse-width', '10ns'], ['fetch', 'digits']):\n"
        "    assert main(words) == 0\n"
        "print('torch' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "False"


@pytest.mark.filterwarnings("default::mtjsim.ImplausibleValue")
def test_a_doubt_about_a_value_is_one_line(capsys):
    """Rate and energy are computed apart, and each doubts the temperature."""
    code, _, err = run(
        capsys, "setting", "arm_2021", "--error-rate", "1e-3", "--temperature", "85K", "--pulse-width", "20ns"
    )
    assert code == 0
    assert err.count("If 85 degrees Celsius is meant") == err.count("warning") == 1
