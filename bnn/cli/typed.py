"""Words of the command line: quantities, ranges and devices as they are typed, answers as they are printed."""

import difflib
import json
import math
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mtjsim.presets import DeviceFile, load_device, preset_file
from mtjsim.units import to_si

MOST_IN_A_RANGE = 10_000  # values: beyond, a typo


def unknown_option(words: Sequence[str], known: Sequence[str]) -> str:
    """Name the first option that the verb does not have, and the nearest that it has; empty if there is none."""
    for word in words if known else ():
        option = word.split("=")[0]
        if re.fullmatch(r"--[A-Za-z][\w-]*", option) and option not in known:
            near = difflib.get_close_matches(option, known, n=1)
            return f"there is no option {option}." + (f" Did you mean {near[0]}?" if near else "")
    return ""


def as_typed(message: str, known: Sequence[str]) -> str:
    """Say the arguments of a message as they are typed: `--pulse-width` for pulse_width.

    A name with an underscore can only be an argument. One that is also an English word is one where the message begins
    with it, as ours do: `current must be ...`, and not in `critical current`. Quoted texts and paths stay. An axis of
    a map, `pulse_widths`, is typed as `--pulse-width` too.
    """
    for option in known:
        name = option.removeprefix("--").replace("-", "_")
        if "_" in name:
            pattern = rf"(?<![\w'\"/.-]){name}s?(?![\w'\"/(=]|\.\w)"
        else:
            pattern = rf"^{name}s?(?= (?:must|is|needs|has)\b)"
        message = re.sub(pattern, option, message)
    folder = "--data-dir" if "--data-dir" in known else "--out"  # of a data set: `directory` in Python
    return re.sub(r"^directory(?= must | ')|(?<=pass )directory=", folder, message)


def joined(words: Sequence[str]) -> list[str]:
    """Glue a negative quantity to its option, so that `--current -4uA` is a wrong current and not an unknown option."""
    glued: list[str] = []
    for word in words:
        if re.match(r"-(\.?\d|inf|nan)", word) and glued and glued[-1].startswith("--"):
            glued[-1] += "=" + word
        else:
            glued.append(word)
    return glued


def named_device(name: str) -> DeviceFile:
    """Look `name` up as a file if it looks like one, as a preset otherwise."""
    return load_device(name) if name.endswith(".toml") or "/" in name else preset_file(name)


def name_of(device_argument: str) -> str:
    """Name a device as a title does: a file without folder and extension."""
    return Path(device_argument).stem


def quantity(text: str, unit: str, option: str) -> float:
    """Read one quantity in SI; a bare number is refused."""
    return to_si(text.strip(), unit, name=option, unit_required=True)


def quantities(text: str, unit: str, option: str) -> list[float]:
    """Read several quantities: a list such as 40uA,50uA, or a range such as 20uA:100uA:50 (:log for equal ratios)."""
    if ":" not in text:
        return [quantity(part, unit, option) for part in text.split(",")]
    start, stop, *rest = text.split(":")
    if len(rest) not in (1, 2) or not rest[0].strip().isdecimal() or rest[1:] not in ([], ["log"]):
        raise ValueError(f"{option} must be a list or START:STOP:COUNT or START:STOP:COUNT:log, got {text!r}.")
    low, high, count = quantity(start, unit, option), quantity(stop, unit, option), int(rest[0])
    if not 2 <= count <= MOST_IN_A_RANGE:
        raise ValueError(f"{option} must have a COUNT from 2 to {MOST_IN_A_RANGE}, got {count}.")
    if not low < high < math.inf or (rest[1:] and low <= 0):
        rule = "0 < START < STOP for equal ratios" if rest[1:] else "START < STOP"
        raise ValueError(f"{option} must have {rule}, got {text!r}.")
    spaced = np.geomspace if rest[1:] else np.linspace
    return [float(value) for value in spaced(low, high, count)]


def quantity_or_ends(text: str, unit: str, option: str) -> float | tuple[float, float]:
    """Read one quantity, or the two ends of a range, as in 263K:358K."""
    ends = [quantity(part, unit, option) for part in re.split("[:,]", text)]
    if len(ends) > 2 or (len(ends) == 2 and not ends[0] <= ends[1]):
        raise ValueError(f"{option} must be one quantity or LOWEST:HIGHEST, got {text!r}.")
    return ends[0] if len(ends) == 1 else (ends[0], ends[1])


def probability(text: str, option: str) -> float:
    """Read a pure number; whether it is in range is checked where it is used."""
    return to_si(text.strip(), "", name=option)


def shape_of(text: str) -> tuple[int, ...]:
    """Read the shape of an array of cells, such as 1024x1024."""
    if not re.fullmatch(r"[1-9]\d*(x[1-9]\d*)*", text.strip()):
        raise ValueError(f"--shape must be whole numbers joined by x, as in 1024x1024, got {text!r}.")
    return tuple(int(part) for part in text.strip().split("x"))


def option_of(name: str) -> str:
    """Return an argument's name as it is typed."""
    return "--" + name.replace("_", "-")


def announce(*files: Path) -> None:
    """Say on stderr which files were written."""
    for file in files:
        print(f"written: {file}", file=sys.stderr)


def print_json(content: Any) -> None:
    """Print the answer of a verb as JSON."""
    print(json.dumps(content, indent=1))
