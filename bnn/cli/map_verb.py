"""`mtj-bnn map`: write error rates on a grid, solved once or measured, kept in a file."""

import argparse
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bnn.cli.portrait import check_drawable
from bnn.cli.shared_options import DEVICE, SEVERAL, add_plot, add_pulse_conditions
from bnn.cli.typed import (
    UNITS_SHOWN,
    announce,
    checked_file,
    counts_of,
    figure_file,
    given,
    name_of,
    named_device,
    option_of,
    print_json,
    quantities,
    save_figure,
)
from mtjsim.checks import DIRECTIONS, ArgumentError, Array
from mtjsim.pulse import UNITS, Drive
from mtjsim.wording import number_of

if TYPE_CHECKING:
    import xarray as xr

EXAMPLE = "mtj-bnn map arm_2021 --current 40uA:90uA:5 --pulse-width 2ns:20ns:5:log --out map.nc"
AXES = ("current", "voltage", "pulse_width", "temperature")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    parser.set_defaults(verb=error_map, option_of={f"{axis}s": option_of(axis) for axis in AXES})
    parser.add_argument("device", nargs="?", metavar="DEVICE", help=f"junction to solve: {DEVICE}; none with --counts")
    for name, metavar, what, examples in (
        ("--current", "CURRENT", "write current", ("40uA,50uA", "20uA:100uA:50")),
        ("--voltage", "VOLTAGE", "write voltage", ("400mV,0.5V", "0.3V:0.8V:50")),
        ("--pulse-width", "TIME", "width at half maximum", ("5ns,10ns", "1ns:20ns:50:log")),
    ):
        parser.add_argument(name, metavar=metavar, help=f"{what}: {SEVERAL.format(*examples)}")
    add_pulse_conditions(parser, fill=False)
    parser.add_argument(
        "--energy", action="store_true", default=None, help="also solve the energy in the junction; takes twice as long"
    )
    parser.add_argument(
        "--counts",
        metavar="CSV",
        help="keep measured write counts, a table as for mtj-bnn fit, or one with a column write_error_rate",
    )
    parser.add_argument(
        "--out", required=True, metavar="FILE", help="file to write, .nc; reused if it has this map, refused otherwise"
    )
    add_plot(parser, "the map")


def error_map(options: argparse.Namespace) -> None:
    """Solve write error rates on a grid and keep them in a file, or keep measured ones."""
    plot = figure_file(options)
    out = checked_file(options.out, (".nc",), option="--out")
    reused = out.exists()
    if options.counts is not None:
        dataset, name = _measured(options, out), Path(options.counts).name
    else:
        dataset, name = _solved(options, out), name_of(options.device or "")
    if reused:
        print(f"reused: {out}, it holds exactly this map", file=sys.stderr)
    else:
        announce(out)
    if plot is not None:
        from bnn.cli.memory_portrait import map_figure

        save_figure(map_figure(dataset, title=name), plot)
    facts = _map_facts(dataset)
    if options.json:
        print_json({"file": str(out), "reused": reused, **facts})
    else:
        _print_map(name, dataset, facts)


def _solved(options: argparse.Namespace, out: Path) -> "xr.Dataset":
    if options.device is None:
        raise ValueError("a device is missing: name a preset or a TOML file, or give measured --counts.")
    chosen = named_device(options.device)
    if options.pulse_width is None or (options.current is None) == (options.voltage is None):
        raise ValueError("--pulse-width and one of --current and --voltage are needed: the axes of the map.")
    drive: Drive = "current" if options.voltage is None else "voltage"
    axes: dict[str, Any] = {
        f"{drive}s": quantities(getattr(options, drive), UNITS[drive], f"--{drive}"),
        "pulse_widths": quantities(options.pulse_width, "s", "--pulse-width"),
        "temperatures": quantities(options.temperature or "300K", "K", "--temperature"),
    }
    if options.plot is not None:
        check_drawable(axes[f"{drive}s"], axes["pulse_widths"], drive=drive)
    ramps = given(options, rise_time="s", relax_time="s")
    from bridge.maps.error_map import write_error_map

    return write_error_map(chosen.device, **axes, **ramps, energy=bool(options.energy), cache=out)


def _measured(options: argparse.Namespace, out: Path) -> "xr.Dataset":
    """Keep counts as a map, in the file; the table is complete, so that other options are refused."""
    typed = ["a device"] * (options.device is not None)
    typed += [
        option_of(name) for name in (*AXES, "rise_time", "relax_time", "energy") if getattr(options, name) is not None
    ]
    if typed:
        raise ArgumentError("--counts", f"has its own settings and no junction: leave {typed[0]} out.")
    from bridge.maps.files import load_map, save_map
    from bridge.maps.measured import measured_map
    from bridge.maps.rate_table import has_rates, read_rates

    counts = read_rates(options.counts) if has_rates(options.counts) else counts_of(options.counts)
    there = tuple(name for name in DIRECTIONS if name in np.asarray(counts.direction))
    dataset = measured_map(counts, directions=there)
    if not out.exists():
        save_map(dataset, out)
        return dataset
    stored = load_map(out)
    if stored.attrs.get("identity") != dataset.attrs["identity"]:
        other = "a solved map" if stored.attrs.get("kind") != "measured" else "other counts"
        raise ValueError(f"{out}: holds {other}, not {options.counts}. Name another file, or delete it.")
    return stored


def _map_facts(dataset: "xr.Dataset") -> dict[str, Any]:
    """Return what a map is, in SI, ready for JSON."""
    rate = dataset["write_error_rate"]
    kind = str(dataset.attrs.get("kind"))
    facts: dict[str, Any] = {"kind": kind, "identity": dataset.attrs["identity"]}
    facts["axes"] = {str(name): dataset[name].values.tolist() for name in rate.dims}
    counted = "trials" in dataset
    if kind == "measured" and not counted:
        seen = rate
        facts |= {"points": int(np.isfinite(rate.values).sum()), "intervals": dataset.attrs["intervals"]}
    elif kind == "measured":
        seen = rate.where(dataset["errors"] > 0)  # no error is an upper bound, not a rate of 0
        sums = {name: int(dataset[name].values.sum()) for name in ("trials", "errors")}
        none = dataset["upper_bound"].values
        facts |= {"points": int((dataset["trials"].values > 0).sum()), **sums, "points_without_errors": int(none.sum())}
        facts["highest_upper_bound"] = float(dataset["high"].values[none].max()) if none.any() else None
    else:
        seen = rate
    facts["write_error_rate"] = {str(name): _ends(seen.sel(direction=name).values) for name in seen["direction"].values}
    if kind == "measured":
        return facts
    bound = float(dataset.attrs["interpolation_bound"])
    facts["device_identity"] = dataset.attrs["device_identity"]
    facts["interpolation_bound"] = bound if math.isfinite(bound) else None
    facts["interpolation_advice"] = dataset.attrs["interpolation_advice"]
    if "energy" in dataset:
        facts["energy_J"] = _ends(dataset["energy"].values)
    return facts


def _ends(values: Array) -> list[float] | None:
    known = values[np.isfinite(values)]
    return [float(known.min()), float(known.max())] if known.size else None


def _print_map(name: str, dataset: "xr.Dataset", facts: dict[str, Any]) -> None:
    print(f"{name}, {facts['kind']}")
    for axis, values in facts["axes"].items():
        if axis == "direction":
            continue
        scale, unit = UNITS_SHOWN[axis]
        ends = f"{values[0] * scale:g}" + (f" to {values[-1] * scale:g}" if len(values) > 1 else "")
        print(f"{axis.replace('_', ' '):14} {ends} {unit}" + (f", {len(values)} values" if len(values) > 1 else ""))
    for direction, ends in facts["write_error_rate"].items():
        if ends is not None:
            print(f"{direction:14} write error rate {ends[0]:.3g} to {ends[1]:.3g}")
    if "intervals" in facts:
        print(f"intervals      {facts['intervals']}, {number_of(facts['points'], 'point')}")
        return
    if facts["kind"] == "measured":
        errors, trials = number_of(facts["errors"], "error"), number_of(facts["trials"], "trial")
        print(f"counted        {errors} in {trials}, {number_of(facts['points'], 'point')}")
        if facts["points_without_errors"]:
            bound = facts["highest_upper_bound"]
            print(f"no errors      at {facts['points_without_errors']} of them: rates below {bound:.3g}, and not 0")
        return
    if "energy_J" in facts:
        print("energy         {:.4g} to {:.4g} fJ, in the junction".format(*(E * 1e15 for E in facts["energy_J"])))
    bound = facts["interpolation_bound"]
    if all(len(values) == 1 for name, values in facts["axes"].items() if name != "direction"):
        return
    size = "unknown, an axis has two values only" if bound is None else f"at most {bound:.2g}, relative, down to 1e-30"
    print(f"between nodes  error {size}")
    if facts["interpolation_advice"]:
        print(f"advice         {facts['interpolation_advice']}")
