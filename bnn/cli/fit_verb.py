"""`mtj-bnn fit`: a junction from measured write counts."""

import argparse
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bnn.cli.shared_options import DEVICE, add_plot
from bnn.cli.typed import announce, checked_file, counts_of, figure_file, name_of, named_device, print_json, save_figure
from mtjsim.calibration.parameters import PARAMETERS
from mtjsim.checks import ArgumentError
from mtjsim.fokker_planck.reduced import is_axisymmetric

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from mtjsim.calibration.report import Calibration

EXAMPLE = "mtj-bnn fit counts.csv --out junction.toml"
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
