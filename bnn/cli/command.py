"""Verbs that people type: `mtj-bnn demo | device | wer | fit | setting | map | die | fetch | run | predict`.

Each is in a file of `bnn/cli`, but for `demo` and `fetch`, which are here. Only `demo`, `run` and `predict`
need torch; only they import it.
"""

import argparse
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bnn.cli.device_verb import device, fit, wer
from bnn.cli.die_verb import die
from bnn.cli.map_verb import error_map
from bnn.cli.predict_verb import predict
from bnn.cli.run_verb import run
from bnn.cli.setting_verb import setting
from bnn.cli.typed import (
    announce,
    as_typed,
    joined,
    name_of,
    named_device,
    print_json,
    quantity,
    unknown_option,
)
from bnn.files import require_writable
from mtjsim.checks import DIRECTIONS, checked_choice

DATA_SETS = ("digits", "mnist", "fashion-mnist", "cifar10", "cifar100", "cifar100-coarse", "svhn")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; 0 if it did what it was asked, 2 with one line on stderr if it could not.

    The answer goes to stdout; what else there is to say, such as `written: PATH` of each file, to stderr.
    """
    words = joined(sys.argv[1:] if arguments is None else arguments)
    parser, known = _parser()
    if words and (wrong := unknown_option(words[1:], known.get(words[0], ()))):
        print(f"mtj-bnn {words[0]}: error: {wrong} See mtj-bnn {words[0]} --help.", file=sys.stderr)
        return 2
    options = parser.parse_args(words)
    try:
        options.verb(options)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader had enough, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, OSError, FloatingPointError) as error:
        print(f"mtj-bnn {options.name}: error: {as_typed(str(error), known[options.name])}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"mtj-bnn {options.name}: interrupted", file=sys.stderr)
        return 130
    return 0


# ---- the verbs -------------------------------------------------------------------------------------------------------


def demo(options: argparse.Namespace) -> None:
    """Run the main job: from a write current to an energy/accuracy curve."""
    from bnn.data import IMAGENET, load  # before torch, so that a wrong word is said at once

    for name, least in (("--seed", 0), ("--networks", 2), ("--draws", 1), ("--workers", 1)):
        value = getattr(options, name.removeprefix("--"))
        if value is not None and value < least:
            raise ValueError(f"{name} must be >= {least}, got {value}.")
    chosen = named_device(options.device)
    pulse_width = quantity(options.pulse_width, "s", "--pulse-width")
    temperature = quantity(options.temperature, "K", "--temperature")
    if options.data == "imagenet":
        raise ValueError(IMAGENET)
    checked_choice("--data", options.data, DATA_SETS)
    require_writable(Path(options.out), option="--out", make=True)
    data = load(options.data, options.data_dir)
    from bnn.demo import run_demo

    result = run_demo(
        chosen.device,
        data,
        Path(options.out),
        pulse_width=pulse_width,
        temperature=temperature,
        seed=options.seed,
        networks=options.networks,
        draws=options.draws,
        workers=options.workers,
        device_name=options.device,
    )
    announce(*result.files)
    if options.json:
        print(result.files[1].read_text("utf-8"), end="")
        return
    conditions = f"{pulse_width * 1e9:g} ns, {temperature:g} K"
    print(f"{name_of(options.device)}, {conditions}; {data.name}, every hidden activation written to that memory")
    print(result.table)
    print(result.summary)


def fetch(options: argparse.Namespace) -> None:
    """Download a data set, check it, and print where it is."""
    from bnn.data import IMAGENET
    from bnn.data import fetch as fetch_data

    if options.data == "imagenet":
        raise ValueError(IMAGENET)
    checked_choice("data", options.data, DATA_SETS)
    if options.out is not None:
        require_writable(Path(options.out), option="--out", make=True)
    folder = fetch_data(options.data, options.out)
    if options.json:
        print_json({"data": options.data, "folder": str(folder)})
    else:
        print(folder)


# ---- what they are told ----------------------------------------------------------------------------------------------

WHICH = "a preset's name or a TOML file"
SEVERAL = "one, a list, or START:STOP:COUNT, evenly spaced, or START:STOP:COUNT:log, in equal ratios"
PLOT: dict[str, Any] = {"default": None, "metavar": "FILE"}
SPREADING = (
    "diameter_d2d",
    "thickness_d2d",
    "anisotropy_d2d",
    "resistance_area_product_d2d",
    "tunnel_magnetoresistance_d2d",
    "damping_d2d",
    "thermal_stability_d2d",
    "critical_current_d2d",
    "characteristic_time_d2d",
    "drive_c2c",
    "pulse_width_c2c",
)  # of `bridge.Spread`, here so that no verb but `die` imports it


def _parser() -> tuple[argparse.ArgumentParser, dict[str, list[str]]]:
    """Return the parser, and the options of each verb."""
    parser = argparse.ArgumentParser(prog="mtj-bnn", description=__doc__.splitlines()[0])
    verbs = parser.add_subparsers(dest="name", required=True, metavar="VERB")
    for name, function, add in (
        ("demo", demo, _add_demo),
        ("device", device, _add_device),
        ("wer", wer, _add_wer),
        ("fit", fit, _add_fit),
        ("setting", setting, _add_setting),
        ("map", error_map, _add_map),
        ("die", die, _add_die),
        ("fetch", fetch, _add_fetch),
        ("run", run, _add_run),
        ("predict", predict, _add_predict),
    ):
        text = str(function.__doc__).splitlines()[0]
        sub = verbs.add_parser(name, help=text, description=text, allow_abbrev=False)
        sub.set_defaults(verb=function)
        sub.add_argument("--json", action="store_true", help="print JSON, in SI units")
        add(sub)
    return parser, {name: re.findall(r"--[a-z][a-z0-9-]*", sub.format_help()) for name, sub in verbs.choices.items()}


def _add_demo(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--device", default="arm_2021", help=f"{WHICH}; default arm_2021")
    sub.add_argument("--pulse-width", default="10ns", help="of every write; default 10ns")
    sub.add_argument("--temperature", default="300K", help="default 300K")
    sub.add_argument("--out", default="demo", help="folder for curve.csv, run.json, curve.png; default demo")
    sub.add_argument("--seed", type=int, default=0, help="the same seed gives the same curve.csv; default 0")
    sub.add_argument("--data", default="digits", help=f"{', '.join(DATA_SETS)}; default digits")
    sub.add_argument("--data-dir", default=None, help="where the data set's files are; default: the download cache")
    sub.add_argument("--networks", type=int, default=3, help="trained for each point; default 3")
    sub.add_argument("--draws", type=int, default=20, help="error draws a network; default 20")
    sub.add_argument("--workers", type=int, default=None, help="processes; default: one a core")


def _add_device(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("device", nargs="?", help=f"{WHICH}; without it the presets are listed")
    sub.add_argument(
        "--plot",
        default=None,
        metavar="FILE",
        help="also draw its portrait, what is not axisymmetric from counted writes: .png, .pdf or .svg",
    )


def _add_wer(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("device", help=WHICH)
    level = sub.add_mutually_exclusive_group(required=True)
    level.add_argument("--current", help=f"{SEVERAL}: 40uA,50uA or 20uA:100uA:9")
    level.add_argument("--voltage", help="in its place, as in 0.5V,600mV: the current follows the resistance")
    sub.add_argument("--pulse-width", required=True, help="the same, as in 5ns,10ns")
    sub.add_argument("--direction", choices=[*DIRECTIONS, "both"], default="both")
    sub.add_argument("--plot", **PLOT, help="also draw a curve or a map: .png, .pdf or .svg")
    _add_pulse(sub)


def _add_fit(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("data", help="CSV of write counts: current, pulse_width, direction, trials, errors")
    sub.add_argument("--device", default=None, help=f"start, {WHICH}; default: guessed from the data")
    usual = "thermal_stability,critical_current,characteristic_time"
    sub.add_argument("--free", default=usual, help=f"parameters to fit; default {usual}")
    sub.add_argument("--out", default=None, help="device file to write, as in device.toml")


def _add_setting(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("device", help=WHICH)
    sub.add_argument("--error-rate", default="1e-3", help="target for both bits, a probability; default 1e-3")
    sub.add_argument("--error-rate-0", default=None, help="target for writing a 0")
    sub.add_argument("--error-rate-1", default=None, help="target for writing a 1")
    what = ["energy", "latency", "energy_with_driver", "area"]
    sub.add_argument("--minimize", choices=what, default="energy", help="the last two of a cell; default energy")
    sub.add_argument("--drive", choices=["current", "voltage"], default="current", help="default current")
    sub.add_argument("--pulse-width", default=None, help="fix it, as in 5ns, or search in 2ns:20ns; default: searched")
    sub.add_argument("--temperature", default="300K", help="or the range to hold in, as in 263K:358K; default 300K")
    _add_ramps(sub)
    sub.add_argument("--plot", **PLOT, help="also draw energy against latency, for several error rates")
    limit = sub.add_argument_group("limits, none unless given")
    limit.add_argument("--max-current", default=None, help="on both currents, as in 100uA")
    limit.add_argument("--max-voltage", default=None, help="across a bare junction, or of a cell's supply, as in 0.8V")
    limit.add_argument("--breakdown-voltage", default=None, help="of the barrier, as in 1.1V")
    limit.add_argument("--max-latency", default=None, help="of pulse, ramp and relaxation, as in 20ns")
    limit.add_argument("--max-area", default=None, help="of a cell, as in 0.04um^2; its transistor is then narrowed")
    cell = sub.add_argument_group("a cell around the junction, none unless --transistor-width is given")
    cell.add_argument("--transistor-width", default=None, help="of the access transistor, as in 270nm")
    cell.add_argument("--supply-voltage", default=None, help="of the driver, as in 1.2V")
    cell.add_argument("--word-line-voltage", default=None, help="on the gate; default: the supply")
    cell.add_argument("--node", default=None, help="of the transistor, as in 32nm_hp; default 45nm_lop")
    cell.add_argument("--connection", default=None, help="reference_at_drain (default) or free_at_drain")
    cell.add_argument("--differential", action="store_true", help="two junctions a bit, written one each way")


def _add_map(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("device", nargs="?", help=f"{WHICH}; none with --counts")
    sub.add_argument("--current", default=None, help=f"{SEVERAL}: 20uA:100uA:50")
    sub.add_argument("--voltage", default=None, help="in its place, as in 0.3V:0.8V:50")
    sub.add_argument("--pulse-width", default=None, help="the same, as in 1ns:20ns:50:log")
    sub.add_argument("--temperature", default=None, help="the same, as in 263K,300K,358K; default 300K")
    sub.add_argument("--rise-time", default=None, help="of each linear ramp; default 0s")
    sub.add_argument("--relax-time", default=None, help="at zero current before the bit is judged; default 0s")
    sub.add_argument("--energy", action="store_true", help="also the joules in the junction; takes twice as long")
    sub.add_argument(
        "--counts", default=None, metavar="CSV", help="measured counts in place of all these: the table of `fit`"
    )
    sub.add_argument("--out", required=True, help="file, .nc; one that holds this map is reused, another refused")
    sub.add_argument("--plot", **PLOT, help="also draw it: .png, .pdf or .svg")


def _add_die(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("device", help=WHICH)
    sub.add_argument("--shape", required=True, help="of the array of cells, as in 1024x1024")
    for name, unit in (("current", "as in 50uA"), ("voltage", "in its place, as in 0.5V")):
        sub.add_argument(f"--{name}", default=None, help=f"of the write of both bits, {unit}")
        for bit in (0, 1):
            sub.add_argument(f"--{name}-{bit}", default=None, help=f"of writing a {bit}")
    sub.add_argument("--pulse-width", required=True, help="as in 10ns")
    _add_pulse(sub)
    sub.add_argument("--seed", type=int, default=0, help="same seed, same die; default 0")
    sub.add_argument("--out", required=True, help="file, .nc; one that holds this die is reused, another refused")
    sub.add_argument("--plot", **PLOT, help="also draw cells, faults and rates: .png, .pdf or .svg")
    spread = sub.add_argument_group("spread, relative standard deviations: 0.02 is 2 %")
    for name in SPREADING:
        how = "from cell to cell" if name.endswith("d2d") else "from write to write"
        spread.add_argument("--" + name.replace("_", "-"), default=None, help=how)
    spread.add_argument("--correlation", action="append", metavar="A,B=RHO", help="diameter,damping=-0.3; repeatable")
    spread.add_argument("--anisotropy", choices=["net", "interface"], default="net", help="what anisotropy-d2d is of")
    fault = sub.add_argument_group("faults, each the probability that a junction is one")
    for name in ("short", "open", "stuck-p", "stuck-ap", "weak"):
        fault.add_argument(f"--{name}-rate", default="0", help="as in 1e-5; default 0")
    fault.add_argument("--short-conductance", default=None, help="of a short, as in 1mS")
    fault.add_argument("--weak-error-rate-factor", default=None, help="on the error rates of a weak cell, >= 1")
    fault.add_argument("--weak-stability-factor", default=None, help="on the barrier of a weak cell, at most 1")


def _add_fetch(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("data", help=", ".join(DATA_SETS))
    sub.add_argument("--out", default=None, help="folder; default: the download cache")


def _add_run(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("recipe", nargs="?", help="a recipe's name or a TOML file; without it the recipes are listed")
    sub.add_argument("--data-dir", default=None, help="where the data set's files are; default: the download cache")
    sub.add_argument(
        "--out", default=None, help="folder for config.json, checkpoint.pt, result.json; continues what was ended there"
    )
    sub.add_argument("--seed", type=int, default=None, help="of weights, order and errors; default: the recipe's")


def _add_predict(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("model", help="packed model, as bnn.pack(model).save(FILE) writes it")
    sub.add_argument("data", help="data set, its test half; or .npy of images; or .npz of images, and labels")
    sub.add_argument("--data-dir", default=None, help="where the data set's files are; default: the download cache")
    sub.add_argument("--errors", default=None, help="of written activations: a rate, or of 0 and 1, as in 1e-3,1e-2")
    sub.add_argument("--weight-errors", default=None, help="of written binary weights, once a die: the same")
    sub.add_argument("--dies", type=int, default=36, help="to write with errors; default 36")
    sub.add_argument("--seed", type=int, default=0, help="of the errors; default 0")
    sub.add_argument("--workers", type=int, default=1, help="threads, a die each; default 1")
    sub.add_argument("--out", default=None, metavar="CSV", help="also write the predictions: image, predicted, label")


def _add_pulse(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--temperature", default="300K", help="default 300K")
    _add_ramps(sub)


def _add_ramps(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--rise-time", default="0s", help="of each linear ramp; default 0s")
    sub.add_argument("--relax-time", default="0s", help="at zero current before the bit is judged; default 0s")


if __name__ == "__main__":
    sys.exit(main())
