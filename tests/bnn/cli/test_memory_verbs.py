"""`mtj-bnn setting | map | die` as they are typed: what they print, draw and keep, and what they refuse."""

import json
import subprocess
import sys

import numpy as np
import pytest

from bnn.cli import main
from bnn.cli.command import parser_of
from bnn.cli.memory_portrait import map_figure
from bnn.cli.typed import quantities, quantity_or_ends
from bridge.dies.files import load_die
from bridge.dies.spread import OF_CELL
from bridge.maps.error_map import write_error_map
from bridge.maps.files import load_map
from bridge.maps.measured import measured_map
from bridge.search.find import find_setting
from mtjsim import WriteCounts, load_preset, write_error_rate
from physics import approx

LEVEL = ("--current", "80uA", "--pulse-width", "10ns")
SPREAD = ("--diameter-d2d", "0.03", "--damping-d2d", "0.04")
GRID = ("--current", "40uA:90uA:5", "--pulse-width", "2ns:20ns:5:log")
COUNTS = """current [uA],pulse_width [ns],direction,trials,errors
50,5,p_to_ap,1000,700
50,10,p_to_ap,1000,0
50,5,ap_to_p,1000,690
50,10,ap_to_p,1000,12
"""


def run(capsys, *words):
    code = main(words)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


# ---- what is typed ---------------------------------------------------------------------------------------------------


def test_ranges_are_even_or_in_equal_ratios_and_include_their_ends():
    assert quantities("20uA:100uA:5", "A", "--current") == approx([20e-6, 40e-6, 60e-6, 80e-6, 100e-6])
    assert quantities("1ns:100ns:3:log", "s", "--pulse-width") == approx([1e-9, 1e-8, 1e-7])
    assert quantities("20uA,30uA", "A", "--current") == [20e-6, 30e-6]
    assert quantities("20uA:100uA:50", "A", "--current") == np.linspace(20e-6, 100e-6, 50).tolist()
    assert quantity_or_ends("263K:358K", "K", "--temperature") == (263.0, 358.0)
    assert quantity_or_ends("263K,358K", "K", "--temperature") == (263.0, 358.0)
    assert quantity_or_ends("300K", "K", "--temperature") == 300.0


def test_die_spreads_what_a_spread_has():
    known = [option for action in parser_of("die")._actions for option in action.option_strings]
    expected = [f"--{name.replace('_', '-')}-d2d" for name in OF_CELL] + ["--drive-c2c", "--pulse-width-c2c"]
    assert [option for option in known if option.endswith(("-d2d", "-c2c"))] == expected


OUT = ("--out", "OUT.nc")
DIE = ("die", "arm_2021", "--shape", "4x4")
CELL = ("--transistor-width", "270nm")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("setting", "arm_2021", "--max-curent", "1uA"), "no option --max-curent. Did you mean --max-current?"),
        (("setting", "arm_2021", "--max-voltage", "1"), "--max-voltage must have a unit, got '1'"),
        (("setting", "arm_2021", "--max-latency", "0ns"), "--max-latency must be finite and > 0 s"),
        (("setting", "arm_2021", "--max-area", "1um^2"), "--max-area is of a cell: give --transistor-width"),
        (("setting", "arm_2021", "--minimize", "area"), "--minimize area is of a cell"),
        (("setting", "arm_2021", "--node", "45nm_lop"), "--node is of a cell"),
        (("setting", "arm_2021", *CELL), "--supply-voltage is missing"),
        (("setting", "arm_2021", "--transistor-width", "20nm", "--supply-voltage", "1V"), "must be >= 45 nm"),
        (("setting", "arm_2021", *CELL, "--supply-voltage", "0.2V"), "--word-line-voltage must be > threshold_voltage"),
        (
            ("setting", "arm_2021", *CELL, "--supply-voltage", "1.2V", "--node", "45nm"),
            "Did you mean '45nm_hp'",
        ),
        (
            ("setting", "arm_2021", *CELL, "--supply-voltage", "1.2V", "--max-voltage", "1V"),
            "--max-voltage limits --drive voltage",
        ),
        (("setting", "arm_2021", "--temperature", "358K:263K"), "--temperature must be one quantity or LOWEST:HIGHEST"),
        (
            ("setting", "arm_2021", "--max-current", "20uA", "--max-latency", "10ns"),
            "limited by max_current = 2e-05 A",
        ),
        (("map", "arm_2021", *GRID), "the following arguments are required: --out. See mtj-bnn map --help."),
        (("map", *GRID, *OUT), "a device is missing"),
        (("map", "arm_2022", *GRID, *OUT), "arm_2021"),
        (("map", "arm_2021", "--current", "50uA", *OUT), "--pulse-width and one of --current and --voltage are needed"),
        (("map", "arm_2021", "--current", "20uA:90uA", "--pulse-width", "5ns", *OUT), "START:STOP:COUNT:log, got"),
        (("map", "arm_2021", "--current", "20:90uA:5", "--pulse-width", "5ns", *OUT), "--current must have a unit"),
        (("map", "arm_2021", "--current", "90uA:20uA:5", "--pulse-width", "5ns", *OUT), "must have START < STOP"),
        (("map", "arm_2021", "--current", "0uA:20uA:5:log", "--pulse-width", "5ns", *OUT), "0 < START < STOP"),
        (("map", "arm_2021", "--current", "1uA:20uA:1", "--pulse-width", "5ns", *OUT), "COUNT from 2 to 10000, got 1"),
        (("map", "arm_2021", "--current", "1uA:2uA:5:lin", "--pulse-width", "5ns", *OUT), "START:STOP:COUNT:log, got"),
        (
            ("map", "arm_2021", "--current", "50uA,40uA", "--pulse-width", "5ns", *OUT),
            "--current must be strictly incr",
        ),
        (
            ("map", "arm_2021", "--current", "50uA", "--pulse-width", "6ns,5ns", *OUT),
            "--pulse-width must be strictly increasing",
        ),
        (("map", "arm_2021", *GRID, "--out", "map.csv"), "--out must end in .nc, got 'map.csv'"),
        (("map", "arm_2021", *GRID, "--out", "nowhere/map.nc"), "there is no folder 'nowhere'"),
        (("map", "arm_2021", *GRID, *OUT, "--plot", "nowhere/map.png"), "there is no folder 'nowhere'"),
        (("map", "arm_2021", *LEVEL, *OUT, "--plot", "map.png"), "one point is not a curve"),
        (
            ("map", "arm_2021", "--counts", "a.csv", *OUT),
            "--counts has its own settings and no junction: leave a device",
        ),
        (("map", "--counts", "missing.csv", *OUT), "missing.csv"),
        (("map", "--counts", "a.csv", "--current", "5uA", *OUT), "leave --current out"),
        ((*DIE, "--pulse-width", "5ns", *OUT), "one of --current and --voltage is needed"),
        (
            (*DIE, "--pulse-width", "5ns", "--transistor-width", "270nm", "--supply-voltage", "1.2V", *OUT),
            "--current-1). Of a cell --voltage is the supply of its driver.",
        ),
        ((*DIE, *LEVEL, "--voltage", "0.5V", *OUT), "--current and --voltage must not be given together"),
        ((*DIE, "--current-0", "50uA", "--pulse-width", "5ns", *OUT), "--current-1 is missing"),
        ((*DIE, "--current", "50", "--pulse-width", "5ns", *OUT), "--current must have a unit"),
        ((*DIE, "--current", "-1uA", "--pulse-width", "5ns", *OUT), "error: --current must be finite and >= 0 A"),
        ((*DIE, *LEVEL, "--current-0", "-1uA", *OUT), "error: --current-0 must be finite and >= 0 A"),
        ((*DIE, *LEVEL, *OUT, "--seed", "-1"), "--seed must be a whole number >= 0"),
        ((*DIE, *LEVEL, *OUT, "--diametr-d2d", "0.1"), "Did you mean --diameter-d2d?"),
        ((*DIE, *LEVEL, *OUT, "--diameter-d2d", "5"), "--diameter-d2d must be <= 0.3, got 5"),
        ((*DIE, *LEVEL, *OUT, "--short-rate", "1e-5"), "--short-conductance is missing"),
        ((*DIE, *LEVEL, *OUT, "--short-rate", "5"), "--short-rate must be a probability"),
        (
            (*DIE, *LEVEL, *OUT, "--weak-rate", "0.1"),
            "--weak-rate needs --weak-error-rate-factor or --weak-stability-factor",
        ),
        ((*DIE, *LEVEL, *OUT, "--correlation", "diameter=0.2"), "--correlation must be as in diameter,damping=-0.3"),
        ((*DIE, *LEVEL, *OUT, "--correlation", "diameter,damping=0.2"), "does not spread: give --diameter-d2d > 0"),
        (("die", "arm_2021", "--shape", "1024*8", *LEVEL, *OUT), "--shape must be whole numbers joined by x"),
        (("die", "arm_2021", "--shape", "0x8", *LEVEL, *OUT), "--shape must be whole numbers joined by x"),
        (("die", "arm_2021", "--shape", "99999x99999", *LEVEL, *OUT), "--shape must have at most 134217728 cells"),
        (("die", "ut_austin_sot", "--shape", "4x4", *LEVEL, *OUT), "axisymmetric"),
        (("die", "arm_2021", "--shape", "1", *LEVEL, *OUT, "--plot", "a.png"), "--plot needs several cells"),
        ((*DIE, *LEVEL, "--out", "nowhere/die.nc"), "there is no folder 'nowhere'"),
    ],
)
def test_wrong_input(capsys, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, *words)
    assert (code, out) == (2, "")
    assert message in err
    assert len(err.splitlines()) == 1
    assert not list(tmp_path.iterdir())


# ---- setting ---------------------------------------------------------------------------------------------------------


def test_setting_under_limits_in_a_cell(capsys):
    cell = (
        "--transistor-width",
        "270nm",
        "--supply-voltage",
        "1.8V",
        "--max-area",
        "0.03um^2",
        "--pulse-width",
        "20ns",
    )
    code, out, _ = run(capsys, "setting", "arm_2021", "--error-rate", "1e-4", *cell, "--json")
    assert code == 0
    found = json.loads(out)
    assert found["cell"]["area_m2"] == approx(0.03e-12, rel=1e-6, abs=0)
    assert found["error_rate_1"] == approx(1e-4, rel=1e-3)
    assert found["energies"]["driver"][1][0] > 0
    _, out, _ = run(capsys, "setting", "arm_2021", *cell)
    assert "with transistor and driver" in out
    assert "0.0300 um^2" in out
    _, out, _ = run(capsys, "setting", "arm_2021", *cell, "--minimize", "area")
    assert float(out.splitlines()[-1].split("= ")[-1].split()[0]) < 0.03


def test_setting_of_voltages_over_a_range_of_temperatures(capsys):
    words = ("--drive", "voltage", "--temperature", "263K:358K", "--pulse-width", "10ns")
    code, out, _ = run(capsys, "setting", "arm_2021", *words, "--json")
    assert code == 0
    device = load_preset("arm_2021")
    expected = find_setting(device, drive="voltage", temperature=(263.0, 358.0), pulse_width=10e-9)
    assert json.loads(out)["setting"]["voltage_1"] == approx(expected.setting.voltage_1, rel=1e-6)
    _, out, _ = run(capsys, "setting", "arm_2021", *words)
    assert out.splitlines()[1].split()[3] == "V"


def test_setting_draws_its_trade_off(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("bnn.cli.setting_verb.WIDTHS_AROUND", np.array([0.8, 1.25]))
    monkeypatch.setattr("bnn.cli.setting_verb.DECADES_AROUND", (0, -1))
    words = ("setting", "arm_2021", "--pulse-width", "10ns", "--max-latency", "15ns", "--json")
    code, out, err = run(capsys, *words, "--plot", str(tmp_path / "a.png"))
    assert code == 0
    assert json.loads(out)["latency"] == 10e-9
    assert err == f"written: {tmp_path / 'a.png'}\n"
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


# ---- map -------------------------------------------------------------------------------------------------------------


def test_map_is_solved_once_then_reused_and_another_is_refused(capsys, tmp_path):
    out = tmp_path / "map.nc"
    words = ("map", "arm_2021", *GRID, "--temperature", "300K,358K", "--energy", "--out", str(out))
    code, printed, err = run(capsys, *words)
    assert (code, err) == (0, f"written: {out}\n")
    assert "5 values" in printed
    assert "between nodes" in printed
    assert "fJ, in the junction" in printed
    dataset = load_map(out, expect=load_preset("arm_2021"))
    assert dict(dataset.sizes) == {"direction": 2, "current": 5, "pulse_width": 5, "temperature": 2}
    place = {"current": 90e-6, "pulse_width": 20e-9, "temperature": 358.0, "method": "nearest"}
    kept = float(dataset.write_error_rate.sel(direction="p_to_ap").sel(**place))
    solved = write_error_rate(load_preset("arm_2021"), current=90e-6, pulse_width=20e-9, temperature=358.0)
    assert kept == approx(solved, rel=1e-6)
    before = out.read_bytes()

    code, printed, err = run(capsys, *words, "--json", "--plot", str(tmp_path / "map.svg"))
    assert code == 0
    assert err.splitlines() == [f"reused: {out}, it holds exactly this map", f"written: {tmp_path / 'map.svg'}"]
    facts = json.loads(printed)
    assert facts["reused"] is True
    assert facts["identity"] == dataset.attrs["identity"]
    assert facts["write_error_rate"]["p_to_ap"][1] == float(dataset.write_error_rate.sel(direction="p_to_ap").max())
    assert (tmp_path / "map.svg").read_bytes().startswith(b"<?xml")

    code, printed, err = run(capsys, *words, "--rise-time", "1ns")
    assert (code, printed) == (2, "")
    assert "rise_time: 0.0 in the map, 1e-09 expected" in err
    assert out.read_bytes() == before


def test_map_of_one_row_is_drawn_as_a_curve_and_its_unknown_bound_is_json(capsys, tmp_path):
    words = ("--voltage", "0.4V,0.5V", "--pulse-width", "10ns", "--out", str(tmp_path / "a.nc"))
    code, out, _ = run(capsys, "map", "arm_2021", *words, "--json", "--plot", str(tmp_path / "a.png"))
    assert code == 0
    facts = json.loads(out, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    assert facts["interpolation_bound"] is None
    assert facts["axes"]["voltage"] == [0.4, 0.5]
    assert (tmp_path / "a.png").stat().st_size > 1000
    _, out, _ = run(capsys, "map", "arm_2021", *words)
    assert "unknown, an axis has two values only" in out


def test_map_of_counts(capsys, tmp_path):
    (tmp_path / "a.csv").write_text(COUNTS)
    words = ("map", "--counts", str(tmp_path / "a.csv"), "--out", str(tmp_path / "a.nc"))
    code, out, err = run(capsys, *words, "--plot", str(tmp_path / "a.png"))
    assert code == 0
    assert len(err.splitlines()) == 2
    assert "write error rate 0.7 to 0.7" in out  # the other one is an upper bound, and not 0
    assert "at 1 of them: rates below 0.00368" in out
    _, out, err = run(capsys, *words, "--json")
    assert err.startswith("reused: ")
    facts = json.loads(out)
    assert (facts["points"], facts["points_without_errors"], facts["errors"]) == (4, 1, 1402)
    (tmp_path / "a.csv").write_text(COUNTS.replace("700", "701"))
    code, _, err = run(capsys, *words)
    assert code == 2
    assert "holds other counts" in err
    (tmp_path / "a.csv").write_text(COUNTS.replace("1000,700", "1000,-7"))
    code, _, err = run(capsys, "map", "--counts", str(tmp_path / "a.csv"), "--out", str(tmp_path / "b.nc"))
    assert code == 2
    assert not (tmp_path / "b.nc").exists()


@pytest.mark.parametrize("widths", [1, 3, 20])
def test_counts_are_drawn_on_one_axis_with_a_colour_for_each_width(widths):
    """Equal upper bounds are all seen: each at another place."""
    from matplotlib.colors import to_hex

    from bnn.cli.memory_portrait import MOST_CUTS, map_figure

    drawn = min(widths, MOST_CUTS)
    grid = np.meshgrid(np.linspace(50e-6, 80e-6, 21), 1e-9 * np.arange(1, widths + 1), ["p_to_ap", "ap_to_p"])
    current, width, direction = (each.ravel() for each in grid)
    errors = np.where(current < 51e-6, 100, 0)
    counts = WriteCounts(current=current, pulse_width=width, direction=direction, trials=1000, errors=errors)
    figure = map_figure(measured_map(counts), title="counts.csv")
    (ax,) = figure.axes
    bounds = [line for line in ax.lines if line.get_marker() == "v"]
    assert len(bounds) == 2 * drawn
    assert len({to_hex(line.get_color()) for line in bounds}) == max(drawn, 2)  # directions, if there is one width
    places = {tuple(line.get_transform().transform((50.0, 1e-3)).round(6)) for line in bounds}
    assert len(places) == 2 * drawn
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert len(labels) == (0 if widths == 1 else drawn) + 4
    assert ax.get_title() == {1: "counts.csv, 1 ns, 300 K", 3: "counts.csv, 300 K"}.get(
        widths, f"counts.csv, {MOST_CUTS} of 20 pulse widths, 300 K"
    )


def test_damaged_map_is_refused(capsys, tmp_path):
    (tmp_path / "a.nc").write_text("no map")
    code, out, err = run(capsys, "map", "arm_2021", *GRID, "--out", str(tmp_path / "a.nc"))
    assert (code, out) == (2, "")
    assert "cannot be read as NetCDF" in err


# ---- die -------------------------------------------------------------------------------------------------------------


def test_die_is_drawn_reused_and_another_is_refused(capsys, tmp_path):
    out = tmp_path / "die.nc"
    faults = (
        "--short-rate",
        "1e-2",
        "--short-conductance",
        "1mS",
        "--weak-rate",
        "1e-2",
        "--weak-error-rate-factor",
        "9",
    )
    words = ("die", "arm_2021", "--shape", "64x64", *LEVEL, *SPREAD, *faults, "--seed", "3", "--out", str(out))
    code, printed, err = run(capsys, *words, "--json", "--plot", str(tmp_path / "die.png"))
    assert code == 0
    assert err.splitlines() == [f"written: {out}", f"written: {tmp_path / 'die.png'}"]
    assert (tmp_path / "die.png").read_bytes().startswith(b"\x89PNG")
    facts, kept = json.loads(printed), load_die(out)
    assert facts["identity"] == kept.identity
    assert facts["faults"] == kept.counts
    assert facts["faults"]["short"] > 0
    row = facts["error_rate_1"]
    assert 0 < row["mean_error"] < 0.01 * row["mean"]
    works = np.setdiff1d(np.arange(kept.size), kept.fixed_cells[0])
    assert row["mean_of_die"] == approx(kept.error_rates[1][works].mean(), rel=1e-12)
    assert row["quantiles"]["1"] == kept.error_rates[1][works].max()

    code, printed, err = run(capsys, *words)
    assert (code, err) == (0, f"reused: {out}, it holds exactly this die\n")
    assert f"{facts['faults']['short']} short" in printed
    assert f"{row['mean']:.4e}" in printed
    code, printed, err = run(capsys, *words, "--seed", "4", "--stuck-p-rate", "1e-3")
    assert (code, printed) == (2, "")
    assert "seed 3 in the file, 4 expected" in err
    assert "stuck_p_rate 0.0 in the file, 0.001 expected" in err


def test_die_with_a_current_for_each_bit_and_correlated_spread(capsys, tmp_path):
    currents = ("--current-0", "70uA", "--current", "80uA", "--pulse-width", "10ns")
    words = ("die", "arm_2021", "--shape", "4096", *currents, *SPREAD, "--correlation", "diameter,damping=-0.5")
    plot = ("--plot", str(tmp_path / "a.pdf"))
    code, out, _ = run(capsys, *words, "--out", str(tmp_path / "a.nc"), "--json", *plot)
    assert code == 0
    facts = json.loads(out)
    population = facts["process"]["population"]
    assert (population["setting"]["current_0"], population["setting"]["current_1"]) == (70e-6, 80e-6)
    assert population["spread"]["correlations"] == {"diameter, damping": -0.5}
    assert facts["error_rate_0"]["mean"] > facts["error_rate_1"]["mean"]
    assert (tmp_path / "a.pdf").read_bytes().startswith(b"%PDF")


def test_die_without_spread_or_with_fixed_cells_only_is_still_said(capsys, tmp_path):
    words = ("die", "arm_2021", "--shape", "8x8", *LEVEL)
    code, out, _ = run(capsys, *words, "--out", str(tmp_path / "a.nc"), "--plot", str(tmp_path / "a.png"))
    assert code == 0
    rate = write_error_rate(load_preset("arm_2021"), current=80e-6, pulse_width=10e-9)
    assert f"{rate:.4e}" in out
    code, out, _ = run(capsys, *words, "--open-rate", "1", "--out", str(tmp_path / "b.nc"), "--json")
    assert code == 0
    assert json.loads(out)["error_rate_0"]["mean_of_die"] is None


def test_memory_verbs_start_without_torch(tmp_path):
    program = (
        "import sys; from bnn.cli import main\n"
        "pulse = ['--current', '50uA', '--pulse-width', '5ns']\n"
        "for words in (['setting', 'arm_2021', '--pulse-width', '10ns'],\n"
        "              ['map', 'arm_2021', *pulse, '--out', sys.argv[1] + '/a.nc'],\n"
        "              ['die', 'arm_2021', '--shape', '4x4', *pulse, '--out', sys.argv[1] + '/b.nc']):\n"
        "    assert main(words) == 0\n"
        "print('torch' in sys.modules)"
    )
    words = [sys.executable, "-c", program, str(tmp_path)]
    result = subprocess.run(words, capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "False"


def test_a_die_of_cells_has_the_spread_of_their_transistors(tmp_path, capsys):
    out = tmp_path / "die.nc"
    cell = ("--transistor-width", "360nm", "--supply-voltage", "1.5V", "--word-line-voltage", "1.8V")
    typed = ("die", "arm_2021", "--shape", "8x8", "--current", "40uA", "--pulse-width", "12ns", "--out", str(out))
    spread = ("--drive-per-width-d2d", "0.05", "--stuck-p-rate", "0.05")
    code, text, _ = run(capsys, *typed, *spread, *cell, "--differential", "--json")
    assert code == 0
    population = json.loads(text)["process"]["population"]
    assert population["layout"] == "2T-2MTJ"
    assert population["spread"]["drive_per_width_d2d"] == 0.05
    code, _, error = run(capsys, *typed, *spread)
    assert code == 2
    assert "drive_per_width_d2d" in error
    assert "bare junction" in error


@pytest.mark.slow  # solves energies
def test_labels_of_a_map_with_logarithmic_widths_are_inside_their_axes():
    """Their places are found on the axes that are drawn; on linear ones they were cut at the upper edge."""
    found = write_error_map(
        load_preset("arm_2021"), np.linspace(25e-6, 130e-6, 4), np.geomspace(1e-9, 40e-9, 4), energy=True
    )
    figure = map_figure(found, title="")
    figure.draw_without_rendering()
    panels = [ax for ax in figure.axes if ax.get_ylabel() == "pulse width (ns)"]
    assert {ax.get_yscale() for ax in panels} == {"log"}
    for ax in panels:
        inside = ax.get_window_extent()
        centres = [text.get_window_extent() for text in ax.texts]
        assert len(centres) >= 4
        for box in centres:
            assert inside.x0 < (box.x0 + box.x1) / 2 < inside.x1
            assert inside.y0 + 0.04 * inside.height < (box.y0 + box.y1) / 2 < inside.y1 - 0.04 * inside.height
