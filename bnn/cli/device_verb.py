"""Verbs of one junction: `mtj-bnn device | wer | fit`."""

import argparse
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from bnn.cli.portrait import FORMATS, check_drawable, device_portrait, error_rate_figure, left_out, save_figure
from bnn.cli.typed import announce, name_of, named_device, print_json, quantities, quantity
from bnn.files import checked_file
from mtjsim.checks import DIRECTIONS
from mtjsim.fokker_planck.reduced import is_axisymmetric
from mtjsim.presets import device_toml, list_presets, preset_file
from mtjsim.pulse import UNITS, Drive
from mtjsim.switching import write_error_rate

AXIAL_FORMULA = "axial formula, not the threshold of a torque across the easy axis: about 1/(2 alpha) times more"


def device(options: argparse.Namespace) -> None:
    """Show a junction and what follows from its declaration; without a name, list the presets."""
    plot = None if options.plot is None else checked_file(options.plot, FORMATS, option="--plot")
    if options.device is None:
        if plot is not None:
            raise ValueError("--plot needs a device: name a preset or a TOML file.")
        entries = {name: preset_file(name).title for name in list_presets()}
        if options.json:
            print_json(entries)
        else:
            print("\n".join(f"{name:20} {title}" for name, title in entries.items()))
        return
    chosen = named_device(options.device)
    d = chosen.device
    if plot is not None:
        save_figure(device_portrait(d, title=chosen.title or name_of(options.device)), plot)
        announce(plot)
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
        print_json({**described, "device": d.model_dump(), "derived": derived, "provenance": dict(chosen.provenance)})
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
    chosen = named_device(options.device)
    drive: Drive = "current" if options.voltage is None else "voltage"
    levels = quantities(getattr(options, drive), UNITS[drive], f"--{drive}")
    widths = quantities(options.pulse_width, "s", "--pulse-width")
    pulse: dict[str, Any] = {
        "temperature": quantity(options.temperature, "K", "--temperature"),
        "rise_time": quantity(options.rise_time, "s", "--rise-time"),
        "relax_time": quantity(options.relax_time, "s", "--relax-time"),
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
        title = f"{name_of(options.device)}, {pulse['temperature']:g} K"
        save_figure(error_rate_figure(levels, widths, rates, title=title, drive=drive), plot)
        announce(plot)
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
        print_json({"device_identity": chosen.device.identity, **pulse, "write_error_rate": rows})
        return
    scale, digits, unit = (1e6, "7.2f", "µA") if drive == "current" else (1.0, "7.4f", "V ")
    print(f"   {drive}   pulse width   " + "   ".join(f"{name:>12}" for name in directions))
    for row in rows:
        rate_text = "   ".join(f"{row[name]:12.4e}" for name in directions)
        print(f"{row[column] * scale:{digits}} {unit}   {row['pulse_width_s'] * 1e9:8.3f} ns   {rate_text}")


def fit(options: argparse.Namespace) -> None:
    """Fit a junction to measured write counts."""
    from mtjsim.calibration.fit import CalibrationWarning, calibrate
    from mtjsim.calibration.measurement import read_counts

    out = None if options.out is None else checked_file(options.out, (".toml",), option="--out")
    counts = read_counts(options.data)
    start = None if options.device is None else named_device(options.device).device
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
        announce(out)
    if options.json:
        print_json(result.as_dict())
        return
    print(result.summary())


def _cost_of_a_fit(device: str, pulses: Mapping[str, Any]) -> str:
    columns = [values.tolist() for name, values in pulses.items() if name != "pulse_width"]
    solves = len(set(zip(*columns, strict=True)))
    return (
        f"note: {name_of(device)} is not axisymmetric, so each computation of the table takes {solves} solves on the "
        "full sphere, each seconds to minutes, and a fit takes some hundred computations. In Python, "
        'calibrate(..., scan=False, intervals="wald") takes the fewest.'
    )


def _progress(text: str) -> None:
    print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
