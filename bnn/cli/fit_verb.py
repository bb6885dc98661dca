"""`mtj-bnn fit`: a junction from measured write counts."""

import argparse
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bnn.cli.shared_options import DEVICE, add_plot
from bnn.cli.typed import announce, checked_file, counts_of, figure_file, name_of, named_device, print_json, save_figure
from mtjsim.calibration.parameters import PARAMETERS
from mtjsim.checks import ArgumentError
from mtjsim.fokker_planck.reduced import is_axisymmetric

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from mtjsim.calibration.report import Calibration

EXAMPLE = "mtj-bnn fit counts.csv --out junction.toml"
SECONDS_A_SETTING = 0.3  # of a fit, for all pulse widths at one amplitude
RAMPED = 10.0  # as many times as long with ramps, whose propagators are built for each junction
WORTH_SAYING = 20.0  # [s]
USUAL = "thermal_stability,critical_current,characteristic_time"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    parser.set_defaults(verb=fit, option_of={"start": "--device"})
    columns = "current or voltage, pulse_width, direction, trials, errors"
    parser.add_argument("data", metavar="DATA", help=f"CSV table of write counts with the columns {columns}")
    parser.add_argument(
        "--device",
        metavar="DEVICE",
        help=f"junction to start from, {DEVICE}; default: guessed from the data",
    )
    parser.add_argument(
        "--free",
        default=USUAL,
        metavar="NAMES",
        help=f"parameters to fit, joined by commas: any of {', '.join(PARAMETERS)}; default {USUAL}",
    )
    add_plot(parser, "the counts over the fitted curves, with their intervals")
    parser.add_argument("--out", metavar="FILE", help="device file to write, as in device.toml")


def fit(options: argparse.Namespace) -> None:
    """Fit a junction to measured write counts."""
    from mtjsim.calibration.fit import CalibrationWarning, calibrate

    out = None if options.out is None else checked_file(options.out, (".toml",), option="--out")
    plot = figure_file(options)
    counts = counts_of(options.data)
    start = None if options.device is None else named_device(options.device).device
    if start is None and counts.voltage is not None:
        raise ArgumentError(
            "--device",
            "is missing: a table by voltage needs a junction with its resistances to start from. Name a preset or a "
            "TOML file.",
        )
    cost = _cost_of_a_fit(options.device, start is None or is_axisymmetric(start), counts.pulses)
    if cost:
        print(cost, file=sys.stderr)
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
    if plot is not None:
        save_figure(_figure(result, Path(options.data).name), plot)
    if options.json:
        print_json(result.as_dict())
    else:
        print(result.summary())


def _figure(result: "Calibration", table: str) -> "Figure":
    from matplotlib.figure import Figure

    from mtjsim.calibration.plots import plot_calibration

    figure = Figure(figsize=(7.2, 4.2), dpi=150, layout="constrained")
    ax = figure.add_subplot()
    plot_calibration(result, ax)
    p_value = result.goodness.p_value
    ax.set_title(table if p_value is None else f"{table}, goodness of fit p = {p_value:.2g}", fontsize=9)
    return figure


def _cost_of_a_fit(device: str | None, axisymmetric: bool, pulses: Mapping[str, Any]) -> str:
    """Return what the fit will cost, in words; empty if that is not worth a line."""
    columns = [values.tolist() for name, values in pulses.items() if name != "pulse_width"]
    solves = len(set(zip(*columns, strict=True)))
    if not axisymmetric:
        return (
            f"note: {name_of(str(device))} is not axisymmetric, so each computation of the table takes {solves} solves "
            "on the full sphere, each seconds to minutes, and a fit takes some hundred computations. In Python, "
            'calibrate(..., scan=False, intervals="wald") takes the fewest.'
        )
    seconds = solves * SECONDS_A_SETTING * (RAMPED if np.any(pulses["rise_time"]) else 1.0)
    if seconds < WORTH_SAYING:
        return ""
    return f"note: {solves} different amplitudes, directions and temperatures take about {seconds:.0f} s."


def _progress(text: str) -> None:
    print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
