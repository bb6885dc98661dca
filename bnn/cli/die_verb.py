"""`mtj-bnn die`: a die drawn from a process, what its cells are and what errs."""

import argparse
import math
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from bnn.cli.memory_portrait import UNITS_SHOWN
from bnn.cli.portrait import FORMATS, save_figure
from bnn.cli.typed import (
    announce,
    name_of,
    named_device,
    option_of,
    print_json,
    probability,
    quantity,
    shape_of,
)
from bnn.files import checked_file
from mtjsim.pulse import UNITS

if TYPE_CHECKING:
    from bridge.dies.die import Die
    from bridge.dies.faults import Process
    from bridge.dies.spread import Spread
    from bridge.dies.variability import Population

MOST_CELLS = 1 << 27  # of a die: each takes some 40 bytes
QUANTILES = (0.5, 0.99, 0.9999)


def die(options: argparse.Namespace) -> None:
    """Draw a die: what each cell is, which are broken, and the error rates that come of it."""
    plot = None if options.plot is None else checked_file(options.plot, FORMATS, option="--plot")
    out = checked_file(options.out, (".nc",), option="--out")
    shape = shape_of(options.shape)
    if math.prod(shape) > MOST_CELLS:
        raise ValueError(f"--shape must have at most {MOST_CELLS} cells, got {math.prod(shape)}: draw a part of it.")
    if plot is not None and math.prod(shape) == 1:
        raise ValueError("--plot needs several cells, as in --shape 64x64: one is no distribution.")
    if options.seed < 0:
        raise ValueError(f"--seed must be >= 0, got {options.seed}.")
    from bridge.dies.files import load_die, save_die

    process = _process(options)
    population: Any = process.population
    reused = out.exists()
    if reused:
        drawn = load_die(out, shape=shape, process=process, seed=options.seed)
        print(f"reused: {out}, it holds exactly this die", file=sys.stderr)
    else:
        drawn = process.die(shape, seed=options.seed)
        save_die(drawn, out)
        announce(out)
    means = population.mean_error_rates()
    if plot is not None:
        from bnn.cli.memory_portrait import die_figure

        title = f"{name_of(options.device)}, {_size(drawn)} cells, {_pulse(population)}"
        save_figure(die_figure(drawn, means, title=title), plot)
        announce(plot)
    facts = _die_facts(drawn, population, means)
    if options.json:
        print_json({"file": str(out), "reused": reused, **facts})
        return
    _print_die(options.device, drawn, population, facts)


def _process(options: argparse.Namespace) -> "Process":
    from bridge.dies.die import FAULTS
    from bridge.dies.faults import Process

    rates = {name: probability(getattr(options, f"{name}_rate"), option_of(f"{name}_rate")) for name in FAULTS}
    given = {f"{name}_rate": rate for name, rate in rates.items()}
    for name, unit in (("short_conductance", "S"), ("weak_error_rate_factor", ""), ("weak_stability_factor", "")):
        text = getattr(options, name)
        if text is not None:
            given[name] = quantity(text, unit, option_of(name))
    return Process(**given, population=_population(options))


def _population(options: argparse.Namespace) -> "Population":
    from bridge.dies.variability import Population
    from bridge.write import WriteSetting

    drives = [name for name in UNITS if any(getattr(options, f"{name}{end}") is not None for end in ("", "_0", "_1"))]
    if len(drives) != 1:
        raise ValueError("one of --current and --voltage is needed (or both of --current-0 and --current-1).")
    drive: Any = drives[0]
    levels = []
    for bit in (0, 1):
        own = getattr(options, f"{drive}_{bit}")
        text = getattr(options, drive) if own is None else own
        if text is None:
            raise ValueError(f"--{drive}-{bit} is missing: give it, or --{drive} for both bits.")
        levels.append(quantity(text, UNITS[drive], f"--{drive}" + ("" if own is None else f"-{bit}")))
    pulse = {name: quantity(getattr(options, name), "s", option_of(name)) for name in ("pulse_width", "rise_time")}
    pulse["relax_time"] = quantity(options.relax_time, "s", "--relax-time")
    temperature = quantity(options.temperature, "K", "--temperature")
    setting = WriteSetting.of_drive(drive, (levels[0], levels[1]), **pulse)
    return Population(named_device(options.device).device, _spread(options), setting, temperature)


def _spread(options: argparse.Namespace) -> "Spread":
    from bridge.dies.spread import Spread

    given: dict[str, Any] = {
        name: probability(text, option_of(name))
        for name, text in vars(options).items()
        if name.endswith(("_d2d", "_c2c")) and text is not None
    }
    pairs = {}
    for text in options.correlation or ():
        names, _, rho = text.partition("=")
        pair = tuple(name.strip() for name in names.split(","))
        if len(pair) != 2 or not rho:
            raise ValueError(f"--correlation must be as in diameter,damping=-0.3, got {text!r}.")
        pairs[pair] = probability(rho, "--correlation")
    return Spread(**given, correlations=pairs, anisotropy=options.anisotropy)


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
