"""`mtj-bnn die`: a die drawn from a process, its faults and its write error rates."""

import argparse
import math
import sys
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np

from bnn.cli.cell_options import add_cell, in_a_cell
from bnn.cli.shared_options import add_device, add_plot, add_pulse_conditions
from bnn.cli.typed import (
    UNITS_SHOWN,
    announce,
    checked_file,
    figure_file,
    given,
    name_of,
    named_device,
    number,
    option_of,
    print_json,
    quantity,
    save_figure,
    shape_of,
    whole_numbers,
)
from bridge.dies.die import FAULTS
from bridge.dies.spread import ANISOTROPIES, Spread
from mtjsim.checks import ArgumentError
from mtjsim.pulse import UNITS

if TYPE_CHECKING:
    from bridge.dies.die import Die
    from bridge.dies.faults import Process
    from bridge.dies.variability import Population

EXAMPLE = "mtj-bnn die arm_2021 --shape 64x64 --current 80uA --pulse-width 10ns --diameter-d2d 0.03 --out die.nc"
SPREADING = tuple(field.name for field in fields(Spread) if field.name.endswith(("_d2d", "_c2c")))
MOST_CELLS = 1 << 27  # of a die: each takes some 40 bytes
QUANTILES = (0.5, 0.99, 0.9999)
FAULT_HELP = {
    "short": "is a short; needs --short-conductance",
    "open": "is open",
    "stuck_p": "is stuck at P",
    "stuck_ap": "is stuck at AP",
    "weak": "is weak; needs --weak-error-rate-factor or --weak-stability-factor",
}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    parser.set_defaults(verb=die, option_of={"correlations": "--correlation"})
    add_device(parser)
    parser.add_argument("--shape", required=True, metavar="SHAPE", help="shape of the array of cells, as in 1024x1024")
    for name, example in (("current", "50uA"), ("voltage", "0.5V")):
        text = f"write {name} of both bits, as in {example}"
        parser.add_argument(f"--{name}", metavar=name.upper(), help=text)
        for bit in (0, 1):
            parser.add_argument(
                f"--{name}-{bit}", metavar=name.upper(), help=f"write {name} of a {bit}, as in {example}"
            )
    parser.add_argument("--pulse-width", required=True, metavar="TIME", help="width at half maximum, as in 10ns")
    add_pulse_conditions(parser)
    parser.add_argument("--seed", default="0", metavar="SEED", help="the same seed draws the same die; default 0")
    parser.add_argument(
        "--out", required=True, metavar="FILE", help="file to write, .nc; reused if it has this die, refused otherwise"
    )
    add_plot(parser, "cells, faults and error rates")
    add_cell(parser)
    _add_spread(parser.add_argument_group("spread, relative standard deviations: 0.02 is 2 %"))
    _add_faults(parser.add_argument_group("faults, each with a probability as in 1e-5"))


def _add_spread(group: argparse._ArgumentGroup) -> None:
    for name in SPREADING:
        how = "from cell to cell" if name.endswith("d2d") else "from write to write"
        text = f"spread of {name[:-4].replace('_', ' ')}, {how}"
        group.add_argument(option_of(name), metavar="DEVIATION", help=text)
    group.add_argument(
        "--correlation",
        action="append",
        metavar="A,B=RHO",
        help="correlation of two properties that spread, as in diameter,damping=-0.3; repeatable",
    )
    text = "anisotropy that --anisotropy-d2d spreads, net or of the interface; default net"
    group.add_argument("--anisotropy", choices=ANISOTROPIES, default="net", help=text)


def _add_faults(group: argparse._ArgumentGroup) -> None:
    for name in FAULTS:
        text = f"probability that a junction {FAULT_HELP[name]}; default 0"
        group.add_argument(option_of(f"{name}_rate"), default="0", metavar="RATE", help=text)
    for option, metavar, text in (
        ("--short-conductance", "CONDUCTANCE", "conductance of a short, as in 1mS"),
        ("--weak-error-rate-factor", "FACTOR", "factor on the error rates of a weak cell, at least 1"),
        ("--weak-stability-factor", "FACTOR", "factor on the thermal stability of a weak cell, at most 1"),
    ):
        group.add_argument(option, metavar=metavar, help=text)


def die(options: argparse.Namespace) -> None:
    """Draw a die from a process: its cells, its faults and its write error rates."""
    plot = figure_file(options)
    out = checked_file(options.out, (".nc",), option="--out")
    shape, seed = shape_of(options.shape), whole_numbers(options, seed=0)["seed"]
    cells = math.prod(shape)
    if cells > MOST_CELLS:
        raise ArgumentError("--shape", f"must have at most {MOST_CELLS} cells, got {cells}: draw a part of it.")
    if plot is not None and cells == 1:
        raise ArgumentError("--plot", "needs several cells, as in --shape 64x64: one cell has no distribution.")
    from bridge.dies.files import load_die, save_die

    process = _process(options)
    population: Any = process.population
    reused = out.exists()
    if reused:
        drawn = load_die(out, shape=shape, process=process, seed=seed)
        print(f"reused: {out}, it holds exactly this die", file=sys.stderr)
    else:
        drawn = process.die(shape, seed=seed)
        save_die(drawn, out)
        announce(out)
    means = population.mean_error_rates()
    if plot is not None:
        from bnn.cli.memory_portrait import die_figure

        title = f"{name_of(options.device)}, {_size(drawn)} cells, {_pulse(population)}"
        save_figure(die_figure(drawn, means, title=title), plot)
    facts = _die_facts(drawn, population, means)
    if options.json:
        print_json({"file": str(out), "reused": reused, **facts})
    else:
        _print_die(options.device, drawn, population, facts)


def _process(options: argparse.Namespace) -> "Process":
    from bridge.dies.faults import Process

    names = [f"{name}_rate" for name in FAULTS]
    rates: dict[str, Any] = {name: number(getattr(options, name), option_of(name)) for name in names}
    law = given(options, short_conductance="S", weak_error_rate_factor="", weak_stability_factor="")
    if 0 < rates["short_rate"] <= 1 and "short_conductance" not in law:
        raise ArgumentError("--short-conductance", "is missing: give what a short conducts, as in 1mS.")
    if 0 < rates["weak_rate"] <= 1 and not law.keys() & {"weak_error_rate_factor", "weak_stability_factor"}:
        raise ArgumentError("--weak-rate", "needs --weak-error-rate-factor or --weak-stability-factor.")
    return Process(**rates, **law, population=_population(options))


def _population(options: argparse.Namespace) -> "Population":
    from bridge.dies.variability import Population
    from bridge.write import WriteSetting

    drives = [name for name in UNITS if any(getattr(options, f"{name}{end}") is not None for end in ("", "_0", "_1"))]
    if len(drives) == 2:
        raise ValueError("--current and --voltage must not be given together: a die is written with one of them.")
    if not drives:
        needed = "one of --current and --voltage is needed (or both of --current-0 and --current-1)."
        of_cell = "" if options.transistor_width is None else " Of a cell --voltage is the supply of its driver."
        raise ValueError(needed + of_cell)
    drive: Any = drives[0]
    levels = []
    for argument in (f"{drive}_0", f"{drive}_1"):
        name = drive if getattr(options, argument) is None else argument
        options.option_of[argument] = option_of(name)
        text = getattr(options, name)
        if text is None:
            raise ArgumentError(option_of(argument), f"is missing: give it, or --{drive} for both bits.")
        levels.append(quantity(text, UNITS[drive], option_of(name)))
    pulse = given(options, pulse_width="s", rise_time="s", relax_time="s")
    temperature = given(options, temperature="K")["temperature"]
    setting = WriteSetting.of_drive(drive, (levels[0], levels[1]), **pulse)
    device = in_a_cell(options, named_device(options.device).device)
    return Population(device, _spread(options), setting, temperature)


def _spread(options: argparse.Namespace) -> Spread:
    typed = {name: getattr(options, name) for name in SPREADING}
    deviations: dict[str, Any] = {n: number(text, option_of(n)) for n, text in typed.items() if text is not None}
    pairs = {}
    for text in options.correlation or ():
        names, _, rho = text.partition("=")
        pair = tuple(name.strip() for name in names.split(","))
        if len(pair) != 2 or not rho:
            raise ArgumentError("--correlation", f"must be as in diameter,damping=-0.3, got {text!r}.")
        for option in (f"{name}_d2d" for name in pair):
            if option in SPREADING and option not in deviations:
                raise ArgumentError(
                    "--correlation", f"{text} has a property that does not spread: give {option_of(option)} > 0."
                )
        pairs[pair] = number(rho, "--correlation")
    return Spread(**deviations, correlations=pairs, anisotropy=options.anisotropy)


def _die_facts(drawn: "Die", population: "Population", means: Any) -> dict[str, Any]:
    """Return what a die is, in SI, ready for JSON; rates of the cells that are not fixed, weak ones in them."""
    facts: dict[str, Any] = {
        "identity": drawn.identity,
        "shape": list(drawn.shape),
        "seed": drawn.seed,
        "process": dict(drawn.process),
        "faults": drawn.counts,
    }
    works = np.ones(drawn.size, dtype=bool)
    works[drawn.fixed_cells[0]] = False
    rates: Any = drawn.error_rates
    for bit in (0, 1):
        here = rates[bit][works]
        facts[f"error_rate_{bit}"] = {
            "mean": means[bit].rate,
            "mean_error": means[bit].error,
            "mean_of_die": float(here.mean()) if here.size else None,
            "quantiles": {f"{q:g}": float(np.quantile(here, q)) for q in (*QUANTILES, 1.0)} if here.size else {},
        }
    return facts


def _print_die(name: str, drawn: "Die", population: "Population", facts: dict[str, Any]) -> None:
    s = population.setting
    scale, unit = UNITS_SHOWN[s.drive]
    print(f"{_size(drawn)} cells of {name_of(name)}, {_pulse(population)}, seed {drawn.seed}")
    print("                     mean error rate           this die      median        99 %     99.99 %  worst cell")
    for bit in (0, 1):
        row = facts[f"error_rate_{bit}"]
        level = f"{s.amplitudes[bit] * scale:.4g} {unit}"
        cells = [row["mean_of_die"], *row["quantiles"].values()] if row["quantiles"] else []
        text = "  ".join(f"{rate:10.3e}" for rate in cells)
        print(f"write {bit}  {level:>9}   {row['mean']:.4e} ± {row['mean_error']:.1e}  {text}")
    print("               (± holds in 999 of 1000 cases; a die's own figures are of the cells that are not fixed)")
    broken = sum(facts["faults"].values())
    kinds = ", ".join(f"{count} {kind}" for kind, count in facts["faults"].items())
    print(f"faults   {kinds}: {broken} of {drawn.size} cells")


def _size(drawn: "Die") -> str:
    return " x ".join(map(str, drawn.shape))


def _pulse(population: "Population") -> str:
    return f"{population.setting.pulse_width * 1e9:g} ns, {population.temperature:g} K"
