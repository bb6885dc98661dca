"""Records of runs: their fields, and tables that can be compared."""

import csv
import hashlib
import json
import subprocess
import sys
import time
from importlib.metadata import version

import pytest

from bnn.data.loading import load
from bnn.recipes.code import digest_of_module
from bnn.recipes.record import Clock, Record, csv_of
from mtjsim.presets import load_preset

ROWS = [{"rate": 1 / 3, "images": 599, "way": "plain, old"}, {"rate": 1e-9, "images": 0, "way": ""}]


def record(**changes):
    return Record(
        **{"title": "A question", "identity": "0" * 64, "seeds": (0, 1), "seconds": 1.5, "core_seconds": 2.5, **changes}
    )


def test_a_record_names_data_device_seeds_versions_and_the_bytes_of_its_tables(tmp_path):
    digits, device = load("digits"), load_preset("arm_2021")
    whole = record(data=digits, device=device, command="run it", contents={"draws": 3}, tables={"table.csv": ROWS})
    files = whole.write(tmp_path)
    assert [path.name for path in files] == ["table.csv", "run.json"]
    saved = json.loads((tmp_path / "run.json").read_text())
    assert saved == json.loads(json.dumps(whole.as_dict()))
    assert (saved["title"], saved["command"], saved["seeds"], saved["draws"]) == ("A question", "run it", [0, 1], 3)
    assert saved["data"] == {"name": "digits", "identity": digits.identity, "source": digits.source}
    assert type(device)(**saved["device"]).identity == saved["device_identity"] == device.identity
    assert saved["versions"]["torch"] == version("torch")
    assert saved["versions"]["python"] == sys.version.split()[0]
    assert (saved["seconds"], saved["core_seconds"], saved["identity"]) == (1.5, 2.5, "0" * 64)
    assert saved["code"]["bnn.recipes.record"] == digest_of_module("bnn.recipes.record")
    digest = hashlib.sha256((tmp_path / "table.csv").read_bytes()).hexdigest()
    assert saved["tables"] == {"table.csv": {"rows": 2, "sha256": digest}}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run.json", "table.csv"]  # no temporary files


def test_what_is_not_there_is_left_out_and_nothing_is_said_twice():
    assert not {"data", "device", "device_identity", "command"} & record().as_dict().keys()
    with pytest.raises(AssertionError, match="field of the record"):
        record(contents={"versions": {}}).as_dict()


def test_tables_are_read_back_to_the_last_bit_or_to_their_digits(tmp_path):
    record(tables={"all.csv": ROWS}).write(tmp_path)
    record(tables={"nine.csv": ROWS}, digits=9).write(tmp_path)
    everything, nine = (
        list(csv.DictReader((tmp_path / f"{name}.csv").read_text().splitlines())) for name in ("all", "nine")
    )
    assert [float(row["rate"]) for row in everything] == [row["rate"] for row in ROWS]
    assert [row["rate"] for row in nine] == ["0.333333333", "1e-09"]
    assert [(row["images"], row["way"]) for row in nine] == [("599", "plain, old"), ("0", "")]
    assert csv_of(ROWS) == (tmp_path / "all.csv").read_bytes()
    with pytest.raises(AssertionError, match="different columns"):
        csv_of([*ROWS, {"rate": 0.1}])


def test_a_clock_counts_the_processor_time_of_children_and_not_the_sleep():
    clock = Clock()
    work = "import time\nwhile time.process_time() < 0.5: pass"
    subprocess.run([sys.executable, "-c", work], check=True)
    time.sleep(0.3)
    spent = clock.spent()
    assert spent["seconds"] >= 0.8
    assert 0.5 <= spent["core_seconds"] <= spent["seconds"] - 0.2
