"""Keep the ratios of the benchmarks: notebooks/results/bench, from the JSON file of pytest-benchmark.

python notebooks/bench.py FILE.json [FOLDER]   # `make bench` does it

Only ratios are kept, each measured in one process: seconds depend on the machine and on what else it does.
"""

import json
import re
import sys
from pathlib import Path

from bnn.recipes.code import code_on_disk
from bnn.recipes.record import Record, identity_of

HERE = Path(__file__).parent / "results" / "bench"
ABSOLUTE = re.compile(r"seconds|ns_per|a_bit$|identity|counted|rate$|error$|degree|order|deepest|dies_per")
MACHINE = ("machine", "system")
CPU = ("brand_raw", "count", "hz_advertised_friendly")


def ratios(content):
    """Return the rows of the table: benchmark, what is compared, ratio."""
    rows = []
    for bench in content["benchmarks"]:
        file, _, name = bench["fullname"].rpartition("/")[2].partition("::")
        own = set(bench.get("params") or ())
        for what, value in bench["extra_info"].items():
            if what not in own and isinstance(value, float) and ("_over_" in what or not ABSOLUTE.search(what)):
                rows.append({"file": file, "benchmark": name, "ratio": what, "value": value})
    return rows


def record_of(content):
    """Return the record of a run of the benchmarks."""
    machine, rows = content["machine_info"], ratios(content)
    cpu = {name: machine["cpu"][name] for name in CPU if name in machine.get("cpu", {})}
    seconds = sum(bench["stats"]["total"] for bench in content["benchmarks"])
    return Record(
        title="Ratios of the benchmarks, each measured in one process",
        identity=identity_of("bench", sorted({(row["file"], row["benchmark"], row["ratio"]) for row in rows})),
        seeds=(),
        command="make bench",
        contents={"machine": {**{name: machine[name] for name in MACHINE if name in machine}, "cpu": cpu}},
        tables={"ratios.csv": rows},
        digits=6,
        seconds=round(seconds, 1),
        core_seconds=round(seconds, 1),
        code=code_on_disk(),
    )


if __name__ == "__main__":
    folder = Path(sys.argv[2]) if len(sys.argv) > 2 else HERE
    folder.mkdir(parents=True, exist_ok=True)
    for path in record_of(json.loads(Path(sys.argv[1]).read_text("utf-8"))).write(folder):
        print(path)
