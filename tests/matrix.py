"""Run the fast suite on every Python, and the oldest and newest libraries, that `pyproject.toml` promises.

    python tests/matrix.py                     all cells, one table at the end
    python tests/matrix.py --only 3.13         the cells whose name contains "3.13"

A cell is an environment of its own, made by uv: the newest release of every library on each Python, and on the oldest
Python also the oldest that `pyproject.toml` allows of each library that it names. uv downloads a Python that the
machine does not have; a cell that cannot be made is a failure, never left out silently. Set UV_TORCH_BACKEND=cpu for
a PyTorch without CUDA, which spares several GB a cell.
"""

import argparse
import csv
import os
import re
import subprocess
import sys
import time
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
CELLS = [(PYTHONS[0], "oldest"), *((python, "newest") for python in PYTHONS)]
RESOLUTION = {"oldest": "lowest-direct", "newest": "highest"}
WARNINGS = {
    "oldest": ["-W", "default::DeprecationWarning"],
    "newest": [],
}  # old libraries use what newer ones deprecate
LIBRARIES = ("numpy", "scipy", "numba", "torch")


def uv(*arguments: str) -> str:
    """Run uv, and return what it prints."""
    command = [sys.executable, "-m", "uv", *arguments]
    return subprocess.run(command, check=True, text=True, capture_output=True, cwd=PROJECT).stdout


def environment(folder: Path, python: str, libraries: str) -> Path:
    """Make an environment, and return its interpreter."""
    uv("venv", "--quiet", "--clear", "--python", python, str(folder))
    interpreter = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    resolution = RESOLUTION[libraries]
    uv("pip", "install", "--quiet", "--python", str(interpreter), "--resolution", resolution, "--editable", ".[dev]")
    return interpreter


def versions(interpreter: Path) -> dict[str, str]:
    """Return the installed versions of the libraries that matter most."""
    rows = uv("pip", "freeze", "--python", str(interpreter)).splitlines()
    installed = dict(row.split("==") for row in rows if "==" in row)
    return {name: installed[name] for name in LIBRARIES}


def run_cell(python: str, libraries: str, *, folder: Path, pytest: list[str]) -> dict[str, str]:
    """Return one row of the table: what was run, and the last line of pytest."""
    row = {"python": python, "libraries": libraries}
    name = f"{python}-{libraries}"
    try:
        interpreter = environment(folder / name, python, libraries)
        row |= versions(interpreter)
    except subprocess.CalledProcessError as error:
        return row | {"outcome": f"cannot be made: {error.stderr.strip().splitlines()[-1]}"}
    start = time.perf_counter()
    command = [
        str(interpreter),
        "-m",
        "pytest",
        "-m",
        "not slow",
        "-q",
        "-p",
        "no:cacheprovider",
        *WARNINGS[libraries],
        *pytest,
    ]
    output = folder / f"{name}.txt"
    with output.open("w") as file:
        status = subprocess.run(command, cwd=PROJECT, stdout=file, stderr=subprocess.STDOUT).returncode
    last = output.read_text().strip().splitlines()[-1]
    summary = re.sub(r"=+ ?| in [\d.]+s.*", "", last).strip()
    if status and "failed" not in summary:
        summary = f"pytest ended with {status}: {summary}"
    return row | {"outcome": summary, "seconds": f"{time.perf_counter() - start:.0f}"}


def main() -> int:
    """Run the cells that were asked for, write the table, and return 1 if one of them failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="run the cells whose name (as in 3.13-newest) contains this")
    parser.add_argument("--folder", type=Path, default=PROJECT / ".matrix", help="of environments, logs and the table")
    parser.add_argument("pytest", nargs="*", help="arguments of pytest, after --")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    cells = [cell for cell in CELLS if options.only in "-".join(cell)]
    if not cells:
        parser.error(f"no cell is named {options.only!r}; these are: {', '.join('-'.join(c) for c in CELLS)}")
    rows = []
    for python, libraries in cells:
        row = run_cell(python, libraries, folder=options.folder, pytest=options.pytest or ["-n", "auto"])
        rows.append(row)
        print(*row.values(), sep="  ", flush=True)
    with (options.folder / "matrix.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ("python", "libraries", *LIBRARIES, "outcome", "seconds"))
        writer.writeheader()
        writer.writerows(rows)
    return int(any("failed" in row["outcome"] or "passed" not in row["outcome"] for row in rows))


if __name__ == "__main__":
    sys.exit(main())
