"""`mtj-bnn fetch`: a data set, downloaded and checked."""

import argparse
from contextlib import nullcontext
from pathlib import Path

from bnn.cli.typed import print_json
from bnn.data.origins import ORIGINS
from mtjsim.files import made_folder

EXAMPLE = "mtj-bnn fetch fashion-mnist"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    parser.set_defaults(verb=fetch, option_of={"name": "DATA", "directory": "--out"})
    parser.add_argument("data", metavar="DATA", help=f"data set: {', '.join(ORIGINS)}")
    parser.add_argument("--out", metavar="FOLDER", help="folder to put it in; default: the download cache")


def fetch(options: argparse.Namespace) -> None:
    """Download a data set, check it, and print its folder."""
    from bnn.data.loading import fetch as fetch_data

    named = options.out is not None and options.data in ORIGINS
    with made_folder(Path(options.out), option="--out") if named else nullcontext():
        folder = fetch_data(options.data, options.out)
    if options.json:
        print_json({"data": options.data, "folder": str(folder)})
    else:
        print(folder)
