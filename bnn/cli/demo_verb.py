"""`mtj-bnn demo`: the demo, from a write current to an energy/accuracy curve."""

import argparse
from pathlib import Path

from bnn.cli.shared_options import DEVICE, add_data_dir
from bnn.cli.typed import announce, checked_data_dir, given, name_of, named_device, whole_numbers
from bnn.data.origins import ORIGINS
from mtjsim.files import made_folder

EXAMPLE = "mtj-bnn demo --device arm_2021 --pulse-width 10ns --out demo"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    parser.set_defaults(verb=demo, option_of={"name": "--data"})
    for name, default, metavar, text in (
        ("--device", "arm_2021", "DEVICE", f"junction of the memory: {DEVICE}"),
        ("--pulse-width", "10ns", "TIME", "width at half maximum of every write"),
        ("--temperature", "300K", "TEMPERATURE", "temperature of the junction"),
        ("--out", "demo", "FOLDER", "folder for curve.csv, run.json, curve.png"),
        ("--seed", "0", "SEED", "the same seed gives the same curve.csv"),
        ("--data", "digits", "DATA", f"data set to learn: {', '.join(ORIGINS)}"),
        ("--networks", "3", "COUNT", "networks trained for each point"),
        ("--draws", "20", "COUNT", "error draws for each network"),
    ):
        parser.add_argument(name, default=default, metavar=metavar, help=f"{text}; default {default}")
    add_data_dir(parser)
    parser.add_argument("--workers", metavar="COUNT", help="processes; default: one for each core")


def demo(options: argparse.Namespace) -> None:
    """Run the demo: from a write current to an energy/accuracy curve."""
    from bnn.data.loading import load  # before torch, so that wrong input is refused at once

    counts = whole_numbers(options, seed=0, networks=2, draws=1, workers=1)
    chosen = named_device(options.device)
    pulse = given(options, pulse_width="s", temperature="K")
    checked_data_dir(options.data, options.data_dir)
    data = load(options.data, options.data_dir)
    with made_folder(Path(options.out), option="--out"):
        from bnn.studies.demo import run_demo

        result = run_demo(chosen.device, data, Path(options.out), **pulse, **counts, device_name=options.device)
    announce(*result.files)
    if options.json:
        print(result.files[1].read_text("utf-8"), end="")
        return
    conditions = f"{pulse['pulse_width'] * 1e9:g} ns, {pulse['temperature']:g} K"
    print(f"{name_of(options.device)}, {conditions}; {data.name}, every hidden activation written to that memory")
    print(result.table)
    print(result.summary)
