"""Say of each stored result whether the code that made it has changed since.

python notebooks/stored_results.py [FOLDER]   # notebooks/results by default; nothing is run, and torch is not loaded

A record has a digest of each module of mtjsim, bridge and bnn that was loaded when its numbers were made, without
docstrings and comments. A result is *current* if all of them are as they were; that a module changed does not say that
the numbers would.
"""

import json
import sys
from pathlib import Path

from bnn.recipes.code import changed_since, computes

RESULTS = Path(__file__).parent / "results"
OLDER = "older format"


def state_of(folder):
    """Return "current", "out of date" or "older format" of a folder with a run.json, and the modules that changed."""
    record = json.loads((folder / "run.json").read_text("utf-8"))
    if "code" not in record:
        return OLDER, []
    changed = [name for name in changed_since(record["code"]) if computes(name)]
    return ("out of date" if changed else "current"), changed


def report(results):
    """Yield a line for each stored result."""
    for path in sorted(results.glob("*/run.json")):
        state, changed = state_of(path.parent)
        command = json.loads(path.read_text("utf-8")).get("command", "")
        yield f"{path.parent.name:22} {state}"
        if state != "current":
            yield f"{'':22}   made by: {command}"
        if changed:
            shown = ", ".join(changed[:8]) + (f" and {len(changed) - 8} more" if len(changed) > 8 else "")
            yield f"{'':22}   changed: {shown}"


if __name__ == "__main__":
    lines = list(report(Path(sys.argv[1]) if len(sys.argv) > 1 else RESULTS))
    print("\n".join(lines))
    if any("out of date" in line or OLDER in line for line in lines):
        print("To make one again, delete its results/, networks/ and study.db*; give its command with --out FOLDER.")
