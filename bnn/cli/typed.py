"""Read what is typed: quantities, ranges, devices, tables and files. Print answers: JSON, figures, names of files."""

import argparse
import io
import json
import math
import re
import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mtjsim.checks import ArgumentError, checked_whole
from mtjsim.files import require_writable, write_whole
from mtjsim.presets import DeviceFile, load_device, preset_file
from mtjsim.units import to_si

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from mtjsim.calibration.measurement import WriteCounts

MOST_IN_A_RANGE = 10_000  # values
FIGURE_FORMATS = (".pdf", ".png", ".svg")
UNITS_SHOWN = {"current": (1e6, "µA"), "voltage": (1.0, "V"), "pulse_width": (1e9, "ns"), "temperature": (1.0, "K")}

# ---- quantities ------------------------------------------------------------------------------------------------------


def option_of(name: str) -> str:
    """Return the option that sets an argument."""
    return "--" + name.replace("_", "-")


def quantity(text: str, unit: str, option: str) -> float:
    """Read one quantity in SI; a bare number is refused."""
    return to_si(text.strip(), unit, name=option, unit_required=True)


def quantities(text: str, unit: str, option: str) -> list[float]:
    """Read several quantities: a list such as 40uA,50uA, or a range such as 20uA:100uA:50 (:log for equal ratios)."""
    if ":" not in text:
        return [quantity(part, unit, option) for part in text.split(",")]
    start, stop, *rest = text.split(":")
    if len(rest) not in (1, 2) or not rest[0].strip().isdecimal() or rest[1:] not in ([], ["log"]):
        raise ArgumentError(option, f"must be a list or START:STOP:COUNT or START:STOP:COUNT:log, got {text!r}.")
    low, high, count = quantity(start, unit, option), quantity(stop, unit, option), int(rest[0])
    if not 2 <= count <= MOST_IN_A_RANGE:
        raise ArgumentError(option, f"must have a COUNT from 2 to {MOST_IN_A_RANGE}, got {count}.")
    if not low < high < math.inf or (rest[1:] and low <= 0):
        rule = "0 < START < STOP for equal ratios" if rest[1:] else "START < STOP"
        raise ArgumentError(option, f"must have {rule}, got {text!r}.")
    spaced = np.geomspace if rest[1:] else np.linspace
    return [float(value) for value in spaced(low, high, count)]


def quantity_or_ends(text: str, unit: str, option: str) -> float | tuple[float, float]:
    """Read one quantity, or the two ends of a range, as in 263K:358K."""
    ends = [quantity(part, unit, option) for part in re.split("[:,]", text)]
    if len(ends) > 2 or (len(ends) == 2 and not ends[0] <= ends[1]):
        raise ArgumentError(option, f"must be one quantity or LOWEST:HIGHEST, got {text!r}.")
    return ends[0] if len(ends) == 1 else (ends[0], ends[1])


def given(options: argparse.Namespace, **units: str) -> dict[str, Any]:
    """Read the quantities that were typed, in SI and by argument; `units` has the unit of each."""
    typed = {name: getattr(options, name) for name in units}
    return {name: quantity(text, units[name], option_of(name)) for name, text in typed.items() if text is not None}


def number(text: str, option: str) -> float:
    """Read a pure number, such as a probability; its range is checked where it is used."""
    return to_si(text.strip(), "", name=option)


def whole_numbers(options: argparse.Namespace, **least: int) -> dict[str, Any]:
    """Read the whole numbers that were typed, by argument; `least` has the smallest allowed value of each."""
    typed = {name: getattr(options, name) for name in least}
    return {
        name: checked_whole(option_of(name), int(text) if re.fullmatch(r"[-+]?\d+", text) else text, least=least[name])
        for name, text in typed.items()
        if text is not None
    }


def shape_of(text: str) -> tuple[int, ...]:
    """Read the shape of an array of cells, such as 1024x1024."""
    if not re.fullmatch(r"[1-9]\d*(x[1-9]\d*)*", text.strip()):
        raise ArgumentError("--shape", f"must be whole numbers joined by x, as in 1024x1024, got {text!r}.")
    return tuple(int(part) for part in text.strip().split("x"))


# ---- devices and files -----------------------------------------------------------------------------------------------


def named_device(name: str) -> DeviceFile:
    """Read a device file if the name ends in .toml or has a folder, a preset otherwise."""
    return load_device(name) if name.endswith(".toml") or "/" in name else preset_file(name)


def name_of(device_argument: str) -> str:
    """Name a device as in a title: a file without folder and extension."""
    return Path(device_argument).stem


def counts_of(path: str) -> "WriteCounts":
    """Read a table of write counts."""
    import csv

    from mtjsim.calibration.measurement import read_counts

    try:
        return read_counts(path)
    except csv.Error as error:
        raise ValueError(f"{path}: not a CSV table: {error}.") from None


def checked_data_dir(data: str, folder: str | None) -> None:
    """Check --data-dir before the data set is loaded."""
    if folder is not None and data == "digits":
        raise ArgumentError("--data-dir", "must not be given for digits, which ship inside the package.")
    if folder is not None and not Path(folder).expanduser().is_dir():
        what = "is not a folder" if Path(folder).expanduser().exists() else "does not exist"
        raise OSError(f"--data-dir {folder!r} {what}: name one that holds the official files.")


def checked_file(text: str, formats: Sequence[str], *, option: str) -> Path:
    """Return the path of a file that can be written there, tried before any work is done.

    Parameters
    ----------
    text : str
        As typed.
    formats : sequence of str
        Extensions allowed, with their dots.
    option : str
        Named in messages.

    Returns
    -------
    Path

    Raises
    ------
    ValueError
        If the extension is none of the formats.
    OSError
        If the folder is missing or cannot be written, or the path is a folder.
    """
    path = Path(text)
    if path.suffix.lower() not in formats:
        raise ArgumentError(option, f"must end in {', '.join(formats)}, got {text!r}.")
    if path.is_dir():
        raise OSError(f"{option} {text!r} is a folder. Name a file in it.")
    require_writable(path.parent, option=option)
    return path


def figure_file(options: argparse.Namespace) -> Path | None:
    """Return the path that --plot names, tried as by `checked_file`; None without the option."""
    return None if options.plot is None else checked_file(options.plot, FIGURE_FORMATS, option="--plot")


# ---- answers ---------------------------------------------------------------------------------------------------------


def save_figure(figure: "Figure", path: Path) -> None:
    """Write a figure in the format of the extension, and announce it."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format=path.suffix.lower().removeprefix("."))
    write_whole(path, buffer.getvalue())
    announce(path)


def announce(*files: Path) -> None:
    """Print on standard error which files were written."""
    for file in files:
        print(f"written: {file}", file=sys.stderr)


def print_json(content: Mapping[str, Any]) -> None:
    """Print the answer of a verb as JSON."""
    print(json.dumps(content, indent=1))


def fields_of(typed: Sequence[str]) -> dict[str, Any]:
    """Return field -> value of words such as training.epochs=3; a value is TOML, or a text without quotation marks.

    Examples
    --------
    >>> fields_of(["training.epochs=3", "memory.activations.current=50uA", "model.hidden=[32, 32]"])
    {'training.epochs': 3, 'memory.activations.current': '50uA', 'model.hidden': [32, 32]}
    """
    found: dict[str, Any] = {}
    for word in typed:
        field, equals, text = word.partition("=")
        if not equals or not field:
            raise ArgumentError("--set", f"must be FIELD=VALUE, as in training.epochs=3, got {word!r}.")
        field, text = field.strip(), text.strip()
        if field in found:
            raise ArgumentError("--set", f"must give each field once, got {field} twice.")
        try:
            found[field] = text if "\n" in text else tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            found[field] = text
    return found
