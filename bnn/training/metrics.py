"""Metrics of a training as files for other tools: `metrics.jsonl` and `metrics.csv`."""

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bridge.ledger import SCOPES, Ledger
from mtjsim.files import write_whole


def write_metrics(folder: Path, events: Sequence[dict[str, Any]]) -> None:
    """Write all events so far, both files whole each time, so that a resumed training leaves the same files.

    Parameters
    ----------
    folder : Path
        Made if it is missing.
    events : sequence of dict
        Each with its kind under "event". `metrics.jsonl` has all of them, a JSON object a line; `metrics.csv` those of
        kind "epoch", a row each.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps(event) + "\n" for event in events)
    write_whole(folder / "metrics.jsonl", lines.encode())
    epochs = [{k: v for k, v in event.items() if k != "event"} for event in events if event["event"] == "epoch"]
    names = list(dict.fromkeys(name for epoch in epochs for name in epoch))
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(epochs)
    write_whole(folder / "metrics.csv", text.getvalue().encode())


def joules_of(ledger: Ledger) -> dict[str, float]:
    """Return the energy in each scope, if anything was counted."""
    return {f"joules_{scope}": ledger.joules(scope) for scope in SCOPES} if ledger.entries else {}
