"""Options that several verbs have."""

import argparse

DEVICE = "name of a preset, or a TOML file"
SEVERAL = "one, a list as in {0}, or a range as in {1} (START:STOP:COUNT, evenly spaced; with :log in equal ratios)"


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add the junction."""
    parser.add_argument("device", metavar="DEVICE", help=f"junction: {DEVICE}")


def add_pulse_conditions(parser: argparse.ArgumentParser, *, fill: bool = True) -> None:
    """Add temperature and ramps of a write; without `fill`, None stands for an option that was not typed."""
    text = "temperature of the junction, as in 358K or 85degC; default 300K"
    parser.add_argument("--temperature", default="300K" if fill else None, metavar="TEMPERATURE", help=text)
    add_ramps(parser, fill=fill)


def add_ramps(parser: argparse.ArgumentParser, *, fill: bool = True) -> None:
    """Add the ramps of a pulse, and the time after it."""
    for name, text in (
        ("--rise-time", "duration of each linear ramp of the pulse; default 0s"),
        ("--relax-time", "time at zero current before the bit is judged; default 0s"),
    ):
        parser.add_argument(name, default="0s" if fill else None, metavar="TIME", help=text)


def add_plot(parser: argparse.ArgumentParser, what: str) -> None:
    """Add the file of a figure."""
    parser.add_argument("--plot", metavar="FILE", help=f"also draw {what}: .png, .pdf or .svg")


def add_data_dir(parser: argparse.ArgumentParser) -> None:
    """Add the folder of a data set."""
    text = "folder that holds the data set's files; default: the download cache"
    parser.add_argument("--data-dir", metavar="FOLDER", help=text)
