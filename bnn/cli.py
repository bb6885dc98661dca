"""Verbs that people type: `mtj-bnn demo | device | wer | setting | fit | fetch`.

Only `demo` needs torch, and only it imports it.
"""

import argparse
import difflib
import json
import os
import re
import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from bnn.files import checked_file, require_writable
from bnn.portrait import FORMATS, check_drawable, device_portrait, error_rate_figure, left_out, save_figure
from mtjsim.checks import DIRECTIONS, checked_choice
from mtjsim.fokker_planck.reduced import is_axisymmetric
from mtjsim.presets import DeviceFile, device_toml, list_presets, load_device, preset_file
from mtjsim.pulse import UNITS, Drive
from mtjsim.switching import write_error_rate
from mtjsim.units import to_si

AXIAL_FORMULA = "axial formula, not the threshold of a torque across the easy axis: about 1/(2 alpha) times more"
DATA_SETS = ("digits", "mnist", "fashion-mnist", "cifar10")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; 0 if it did what it was asked, 2 with one line on stderr if it could not.

    The answer goes to stdout; what else there is to say, such as `written: PATH` of each file, to stderr.
    """
    words = _joined(sys.argv[1:] if arguments is None else arguments)
    parser, known = _parser()
    if words and (wrong := _unknown_option(words[1:], known.get(words[0], ()))):
        print(f"mtj-bnn {words[0]}: error: {wrong} See mtj-bnn {words[0]} --help.", file=sys.stderr)
        return 2
    options = parser.parse_args(words)
    try:
        options.verb(options)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader had enough, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, OSError) as error:
        print(f"mtj-bnn {options.name}: error: {_as_typed(str(error), known[options.name])}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"mtj-bnn {options.name}: interrupted", file=sys.stderr)
        return 130
    return 0


# ---- the verbs -------------------------------------------------------------------------------------------------------


def demo(options: argparse.Namespace) -> None:
    """Run the main job: from a write current to an energy/accuracy curve."""
    from bnn.data import load  # before torch, so that a wrong word is said at once

    for name, least in (("--seed", 0), ("--networks", 2), ("--draws", 1), ("--workers", 1)):
        value = getattr(options, name.removeprefix("--"))
        if value is not None and value < least:
            raise ValueError(f"{name} must be >= {least}, got {value}.")
    chosen = _device(options.device)
    pulse_width = _quantity(options.pulse_width, "s", "--pulse-width")
    temperature = _quantity(options.temperature, "K", "--temperature")
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
    _announce(*result.files)
    if options.json:
        print(result.files[1].read_text("utf-8"), end="")
        return
    conditions = f"{pulse_width * 1e9:g} ns, {temperature:g} K"
    print(f"{_name(options.device)}, {conditions}; {data.name}, every hidden activation written to that memory")
    print(result.table)
    print(result.summary)


def device(options: argparse.Namespace) -> None:
    """Show a junction and what follows from its declaration; without a name, list the presets."""
    plot = None if options.plot is None else checked_file(options.plot, FORMATS, option="--plot")
    if options.device is None:
        if plot is not None:
            raise ValueError("--plot needs a device: name a preset or a TOML file.")
        entries = {name: preset_file(name).title for name in list_presets()}
        if options.json:
            _print_json(entries)
        else:
            print("\n".join(f"{name:20} {title}" for name, title in entries.items()))
        return
    chosen = _device(options.device)
    d = chosen.device
    if plot is not None:
        save_figure(device_portrait(d, title=chosen.title or _name(options.device)), plot)
        _announce(plot)
        for panel, reason in left_out(d).items():
            print(f"not drawn: {panel}, because {reason}", file=sys.stderr)
    derived: dict[str, Any] = {
        "resistance_p_ohm": d.resistance_p,
        "resistance_ap_ohm": d.resistance_ap,
        "thermal_stability_300K": d.thermal_stability(),
        "critical_current_p_to_ap_A": d.critical_current("p_to_ap"),
        "critical_current_ap_to_p_A": d.critical_current("ap_to_p"),
        "characteristic_time_s": d.characteristic_time(),
        "identity": d.identity,
    }
    across = abs(d.polarizer[2]) < 1
    if across:
        derived["critical_current_is"] = AXIAL_FORMULA
    if options.json:
        described = {"title": chosen.title, "reference": chosen.reference, "not_modelled": chosen.not_modelled}
        _print_json({**described, "device": d.model_dump(), "derived": derived, "provenance": dict(chosen.provenance)})
        return
    for line in (chosen.title, chosen.reference):
        if line:
            print(line)
    print(device_toml(d).rstrip())
    print("\n[derived]")
    for name, value in derived.items():
        if name == "critical_current_is":
            continue
        note = f"  # {AXIAL_FORMULA}" if across and name.startswith("critical_current") else ""
        print(f"{name} = {value:.6g}{note}" if isinstance(value, float) else f"{name} = {value}")
    if chosen.provenance:
        print("\n[provenance]")
        print("\n".join(f"{name}: {text}" for name, text in chosen.provenance.items()))
    for text in chosen.not_modelled:
        print(f"not modelled: {text}")


def wer(options: argparse.Namespace) -> None:
    """Print write error rates for currents or voltages and pulse widths."""
    chosen = _device(options.device)
    drive: Drive = "current" if options.voltage is None else "voltage"
    levels = _quantities(getattr(options, drive), UNITS[drive], f"--{drive}")
    widths = _quantities(options.pulse_width, "s", "--pulse-width")
    pulse: dict[str, Any] = {
        "temperature": _quantity(options.temperature, "K", "--temperature"),
        "rise_time": _quantity(options.rise_time, "s", "--rise-time"),
        "relax_time": _quantity(options.relax_time, "s", "--relax-time"),
    }
    directions = DIRECTIONS if options.direction == "both" else (options.direction,)
    plot = None if options.plot is None else checked_file(options.plot, FORMATS, option="--plot")
    if plot is not None:
        check_drawable(levels, widths, drive=drive)
    rates = {name: np.empty((len(levels), len(widths))) for name in directions}
    slow = not is_axisymmetric(chosen.device)
    solves = [(name, i) for name in directions for i in range(len(levels))]
    for name, i in tqdm(solves, desc="solves", disable=None, leave=False, delay=0.0 if slow else 1.0):
        one: dict[str, Any] = {drive: levels[i], "direction": name, **pulse}
        rates[name][i] = write_error_rate(chosen.device, pulse_width=widths, **one)
    if plot is not None:
        title = f"{_name(options.device)}, {pulse['temperature']:g} K"
        save_figure(error_rate_figure(levels, widths, rates, title=title, drive=drive), plot)
        _announce(plot)
    column = f"{drive}_{UNITS[drive]}"
    rows = [
        {
            column: levels[i],
            "pulse_width_s": widths[j],
            **{name: float(rates[name][i, j]) for name in directions},
        }
        for i in range(len(levels))
        for j in range(len(widths))
    ]
    if options.json:
        _print_json({"device_identity": chosen.device.identity, **pulse, "write_error_rate": rows})
        return
    scale, digits, unit = (1e6, "7.2f", "µA") if drive == "current" else (1.0, "7.4f", "V ")
    print(f"   {drive}   pulse width   " + "   ".join(f"{name:>12}" for name in directions))
    for row in rows:
        rate_text = "   ".join(f"{row[name]:12.4e}" for name in directions)
        print(f"{row[column] * scale:{digits}} {unit}   {row['pulse_width_s'] * 1e9:8.3f} ns   {rate_text}")


def setting(options: argparse.Namespace) -> None:
    """Find the cheapest write setting for target error rates."""
    from bridge.search.find import find_setting

    chosen = _device(options.device)
    both = to_si(options.error_rate, "", name="--error-rate")
    targets = tuple(
        both if given is None else to_si(given, "", name=name)
        for name, given in (("--error-rate-0", options.error_rate_0), ("--error-rate-1", options.error_rate_1))
    )
    point = find_setting(
        chosen.device,
        (targets[0], targets[1]),
        minimize=options.minimize,
        pulse_width=None if options.pulse_width is None else _quantity(options.pulse_width, "s", "--pulse-width"),
        max_current=None if options.max_current is None else _quantity(options.max_current, "A", "--max-current"),
        temperature=_quantity(options.temperature, "K", "--temperature"),
        rise_time=_quantity(options.rise_time, "s", "--rise-time"),
        relax_time=_quantity(options.relax_time, "s", "--relax-time"),
    )
    if options.json:
        _print_json(point.as_dict())
        return
    s = point.setting
    print(f"pulse width   {s.pulse_width * 1e9:8.3f} ns   latency {point.latency * 1e9:.3f} ns")
    for bit, current, rate, energy in (
        (0, s.current_0, point.error_rate_0, point.energy_0),
        (1, s.current_1, point.error_rate_1, point.energy_1),
    ):
        print(f"write {bit}       {current * 1e6:8.3f} µA   error rate {rate:.3e}   {energy * 1e15:8.2f} fJ")
    print(f"mean          {point.mean_energy * 1e15:.2f} fJ a bit, in the junction")


def fit(options: argparse.Namespace) -> None:
    """Fit a junction to measured write counts."""
    from mtjsim.calibration.fit import CalibrationWarning, calibrate
    from mtjsim.calibration.measurement import read_counts

    out = None if options.out is None else checked_file(options.out, (".toml",), option="--out")
    counts = read_counts(options.data)
    start = None if options.device is None else _device(options.device).device
    if start is None and counts.voltage is not None:
        raise ValueError(
            "--device is missing: a table by voltage needs a junction with its resistances to start from. Name a "
            "preset or a TOML file."
        )
    if start is not None and not is_axisymmetric(start):
        print(_cost_of_a_fit(options.device, counts.pulses), file=sys.stderr)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CalibrationWarning)  # they are in the summary and in the JSON
        result = calibrate(
            counts,
            start=start,
            free=[name.strip() for name in options.free.split(",")],
            progress=_progress if sys.stderr.isatty() else None,
        )
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr)
    if out is not None:
        result.save(out, title=f"Fitted to {Path(options.data).name}")
        _announce(out)
    if options.json:
        _print_json(result.as_dict())
        return
    print(result.summary())


def fetch(options: argparse.Namespace) -> None:
    """Download a data set, check it, and print where it is."""
    from bnn.data import fetch as fetch_data

    checked_choice("data", options.data, DATA_SETS)
    if options.out is not None:
        require_writable(Path(options.out), option="--out", make=True)
    folder = fetch_data(options.data, options.out)
    if options.json:
        _print_json({"data": options.data, "folder": str(folder)})
    else:
        print(folder)


# ---- what they are told ----------------------------------------------------------------------------------------------


def _parser() -> tuple[argparse.ArgumentParser, dict[str, list[str]]]:
    """Return the parser, and the options of each verb."""
    parser = argparse.ArgumentParser(prog="mtj-bnn", description=__doc__.splitlines()[0])
    verbs = parser.add_subparsers(dest="name", required=True, metavar="VERB")

    def verb(function: Any) -> argparse.ArgumentParser:
        text = function.__doc__.splitlines()[0]
        sub = verbs.add_parser(function.__name__, help=text, description=text, allow_abbrev=False)
        sub.set_defaults(verb=function)
        sub.add_argument("--json", action="store_true", help="print JSON, in SI units")
        return sub

    def pulse(sub: argparse.ArgumentParser) -> None:
        sub.add_argument("--temperature", default="300K", help="default 300K")
        sub.add_argument("--rise-time", default="0s", help="of each linear ramp; default 0s")
        sub.add_argument("--relax-time", default="0s", help="at zero current before the bit is judged; default 0s")

    which = "a preset's name or a TOML file"
    sub = verb(demo)
    sub.add_argument("--device", default="arm_2021", help=f"{which}; default arm_2021")
    sub.add_argument("--pulse-width", default="10ns", help="of every write; default 10ns")
    sub.add_argument("--temperature", default="300K", help="default 300K")
    sub.add_argument("--out", default="demo", help="folder for curve.csv, run.json, curve.png; default demo")
    sub.add_argument("--seed", type=int, default=0, help="the same seed gives the same curve.csv; default 0")
    sub.add_argument("--data", default="digits", help=f"{', '.join(DATA_SETS)}; default digits")
    sub.add_argument("--data-dir", default=None, help="where the data set's files are; default: the download cache")
    sub.add_argument("--networks", type=int, default=3, help="trained for each point; default 3")
    sub.add_argument("--draws", type=int, default=20, help="error draws a network; default 20")
    sub.add_argument("--workers", type=int, default=None, help="processes; default: one a core")

    sub = verb(device)
    sub.add_argument("device", nargs="?", help=f"{which}; without it the presets are listed")
    sub.add_argument(
        "--plot",
        default=None,
        metavar="FILE",
        help="also draw its portrait, what is not axisymmetric from counted writes: .png, .pdf or .svg",
    )

    sub = verb(wer)
    sub.add_argument("device", help=which)
    level = sub.add_mutually_exclusive_group(required=True)
    level.add_argument("--current", help="one or several, as in 40uA,50uA")
    level.add_argument("--voltage", help="in its place, as in 0.5V,600mV: the current follows the resistance")
    sub.add_argument("--pulse-width", required=True, help="one or several, as in 5ns,10ns")
    sub.add_argument("--direction", choices=[*DIRECTIONS, "both"], default="both")
    sub.add_argument("--plot", default=None, metavar="FILE", help="also draw a curve or a map: .png, .pdf or .svg")
    pulse(sub)

    sub = verb(setting)
    sub.add_argument("device", help=which)
    sub.add_argument("--error-rate", default="1e-3", help="target for both bits, a probability; default 1e-3")
    sub.add_argument("--error-rate-0", default=None, help="target for writing a 0")
    sub.add_argument("--error-rate-1", default=None, help="target for writing a 1")
    sub.add_argument("--minimize", choices=["energy", "latency"], default="energy")
    sub.add_argument("--pulse-width", default=None, help="fix it, as in 5ns; default: searched")
    sub.add_argument("--max-current", default=None, help="limit on both currents, as in 100uA")
    pulse(sub)

    sub = verb(fit)
    sub.add_argument("data", help="CSV of write counts: current, pulse_width, direction, trials, errors")
    sub.add_argument("--device", default=None, help=f"start, {which}; default: guessed from the data")
    usual = "thermal_stability,critical_current,characteristic_time"
    sub.add_argument("--free", default=usual, help=f"parameters to fit; default {usual}")
    sub.add_argument("--out", default=None, help="device file to write, as in device.toml")

    sub = verb(fetch)
    sub.add_argument("data", help=", ".join(DATA_SETS))
    sub.add_argument("--out", default=None, help="folder; default: the download cache")
    return parser, {name: re.findall(r"--[a-z][a-z0-9-]*", sub.format_help()) for name, sub in verbs.choices.items()}


def _unknown_option(words: Sequence[str], known: Sequence[str]) -> str:
    """Name the first option that the verb does not have, and the nearest that it has; empty if there is none."""
    for word in words if known else ():
        option = word.split("=")[0]
        if re.fullmatch(r"--[A-Za-z][\w-]*", option) and option not in known:
            near = difflib.get_close_matches(option, known, n=1)
            return f"there is no option {option}." + (f" Did you mean {near[0]}?" if near else "")
    return ""


def _as_typed(message: str, known: Sequence[str]) -> str:
    """Say the arguments of a message as they are typed: `--pulse-width` for pulse_width.

    A name with an underscore can only be an argument. One that is also an English word is one where the message begins
    with it, as ours do: `current must be ...`, and not in `critical current`. Quoted texts and paths stay.
    """
    for option in known:
        name = option.removeprefix("--").replace("-", "_")
        if "_" in name:
            pattern = rf"(?<![\w'\"/.-]){name}(?![\w'\"/(=]|\.\w)"
        else:
            pattern = rf"^{name}(?= (?:must|is|needs|has)\b)"
        message = re.sub(pattern, option, message)
    return message


def _joined(words: Sequence[str]) -> list[str]:
    """Glue a negative quantity to its option, so that `--current -4uA` is a wrong current and not an unknown option."""
    glued: list[str] = []
    for word in words:
        if re.match(r"-(\.?\d|inf|nan)", word) and glued and glued[-1].startswith("--"):
            glued[-1] += "=" + word
        else:
            glued.append(word)
    return glued


def _device(name: str) -> DeviceFile:
    """Look `name` up as a file if it looks like one, as a preset otherwise."""
    return load_device(name) if name.endswith(".toml") or "/" in name else preset_file(name)


def _name(device_argument: str) -> str:
    return Path(device_argument).stem


def _quantity(text: str, unit: str, option: str) -> float:
    return to_si(text.strip(), unit, name=option, unit_required=True)


def _quantities(text: str, unit: str, option: str) -> list[float]:
    return [_quantity(part, unit, option) for part in text.split(",")]


def _announce(*files: Path) -> None:
    for file in files:
        print(f"written: {file}", file=sys.stderr)


def _cost_of_a_fit(device: str, pulses: Mapping[str, Any]) -> str:
    columns = [values.tolist() for name, values in pulses.items() if name != "pulse_width"]
    solves = len(set(zip(*columns, strict=True)))
    return (
        f"note: {_name(device)} is not axisymmetric, so each computation of the table takes {solves} solves on the "
        "full sphere, each seconds to minutes, and a fit takes some hundred computations. In Python, "
        'calibrate(..., scan=False, intervals="wald") takes the fewest.'
    )


def _progress(text: str) -> None:
    print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def _print_json(content: Any) -> None:
    print(json.dumps(content, indent=1))


if __name__ == "__main__":
    sys.exit(main())
