"""`mtj-bnn map`: write error rates on a grid, solved once or measured, kept in a file."""

import argparse
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bnn.cli.memory_portrait import UNITS_SHOWN
from bnn.cli.portrait import FORMATS, check_drawable, save_figure
from bnn.cli.typed import (
    announce,
    name_of,
    named_device,
    option_of,
    print_json,
    quantities,
    quantity,
)
from bnn.files import checked_file
from mtjsim.checks import DIRECTIONS, Array
from mtjsim.pulse import UNITS, Drive

if TYPE_CHECKING:
    import xarray as xr


def error_map(options: argparse.Namespace) -> None:
    """Solve write error rates on a grid and keep them in a file, or keep measured ones."""
    plot = None if options.plot is None else checked_file(options.plot, FORMATS, option="--plot")
    out = checked_file(options.out, (".nc",), option="--out")
    reused = out.exists()
    if options.counts is not None:
        dataset, name = _measured(options, out), Path(options.counts).name
    else:
        dataset, name = _solved(options, out), name_of(options.device or "")
    print(f"reused: {out}, it holds exactly this map", file=sys.stderr) if reused else announce(out)
    if plot is not None:
        from bnn.cli.memory_portrait import map_figure

        save_figure(map_figure(dataset, title=name), plot)
        announce(plot)
    facts = _map_facts(dataset)
    if options.json:
        print_json({"file": str(out), "reused": reused, **facts})
        return
    _print_map(name, dataset, facts)


def _solved(options: argparse.Namespace, out: Path) -> "xr.Dataset":
    if options.device is None:
        raise ValueError("a device is missing: name a preset or a TOML file, or give measured --counts.")
    chosen = named_device(options.device)
    if options.pulse_width is None or (options.current is None) == (options.voltage is None):
        raise ValueError("--pulse-width and one of --current and --voltage are needed: the axes of the map.")
    drive: Drive = "current" if options.voltage is None else "voltage"
    levels = quantities(getattr(options, drive), UNITS[drive], f"--{drive}")
    widths = quantities(options.pulse_width, "s", "--pulse-width")
    if options.plot is not None:
        check_drawable(levels, widths, drive=drive)
    temperatures = quantities(options.temperature or "300K", "K", "--temperature")
    ramps: dict[str, Any] = {
        name: quantity(getattr(options, name) or "0s", "s", option_of(name)) for name in ("rise_time", "relax_time")
    }
    from bridge.maps.error_map import write_error_map

    axes: dict[str, Any] = {f"{drive}s": levels, "pulse_widths": widths, "temperatures": temperatures}
    return write_error_map(chosen.device, **axes, **ramps, energy=options.energy, cache=out)


def _measured(options: argparse.Namespace, out: Path) -> "xr.Dataset":
    """Keep counts as a map, in the file: the table says all, so that nothing else may be given."""
    asked = ("device", "current", "voltage", "pulse_width", "temperature", "rise_time", "relax_time")
    given = [name for name in asked if getattr(options, name) is not None] + ["energy"] * options.energy
    if given:
        what = "a device" if given[0] == "device" else option_of(given[0])
        raise ValueError(f"--counts has its own settings and no junction: leave {what} out.")
    from bridge.maps.files import load_map, save_map
    from bridge.maps.measured import measured_map
    from mtjsim.calibration.measurement import read_counts

    counts = read_counts(options.counts)
    there = tuple(name for name in DIRECTIONS if name in np.asarray(counts.direction))
    dataset = measured_map(counts, directions=there)
    if out.exists():
        stored = load_map(out)
        if stored.attrs.get("identity") != dataset.attrs["identity"]:
            kind = stored.attrs.get("kind")
            other = "a solved map" if kind != "measured" else "other counts"
            raise ValueError(f"{out}: holds {other}, not {options.counts}. Name another file, or delete it.")
        return stored
    save_map(dataset, out)
    return dataset


def _map_facts(dataset: "xr.Dataset") -> dict[str, Any]:
    """Return what a map is, in SI, ready for JSON."""
    rate = dataset["write_error_rate"]
    kind = str(dataset.attrs.get("kind"))
    facts: dict[str, Any] = {"kind": kind, "identity": dataset.attrs["identity"]}
    facts["axes"] = {str(name): dataset[name].values.tolist() for name in rate.dims}
    if kind == "measured":
        seen = rate.where(dataset["errors"] > 0)  # no error is an upper bound, and no rate of 0
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
    if facts["kind"] == "measured":
        print(f"counted        {facts['errors']} errors in {facts['trials']} trials, {facts['points']} points")
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
