"""The record of a run: question, identity, seeds, data and device, code, what it took; as JSON, its tables as CSV."""

import csv
import hashlib
import io
import json
import os
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypedDict

from bnn.data.imagenet import FolderSet
from bnn.data.images import DataSet
from bnn.recipes.code import loaded_code
from mtjsim.device import MTJ
from mtjsim.files import write_whole

PACKAGES = ("mtj-bnn", "numpy", "scipy", "numba", "pydantic", "threadpoolctl", "torch", "matplotlib")
Rows = Sequence[Mapping[str, Any]]


class Spent(TypedDict):
    """Wall time and processor time [s]."""

    seconds: float
    core_seconds: float


class Clock:
    """Wall time and processor time since it was made; child processes count once they have ended."""

    def __init__(self) -> None:
        self._wall, self._cores = time.perf_counter(), _core_seconds()

    def spent(self) -> Spent:
        """Return both, to 0.1 s."""
        wall, cores = time.perf_counter() - self._wall, _core_seconds() - self._cores
        return {"seconds": round(wall, 1), "core_seconds": round(cores, 1)}


def _core_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


@dataclass(frozen=True, kw_only=True)
class Record:
    """A run, so that others can run it again and compare.

    Parameters
    ----------
    title : str
        The question, in one line.
    identity : str
        A hash of all that the numbers follow from, the code excepted: see `identity_of`.
    seeds : int, or sequence of int
        All of them, none left out.
    seconds, core_seconds : float
        Wall time and processor time, see `Clock` [s].
    command : str
        That repeats it.
    data : DataSet or FolderSet, optional
        Whose name, identity and source are recorded.
    device : MTJ, optional
        Whose parameters and identity are recorded.
    contents : mapping
        All else that made the numbers, and numbers that are in no table; as JSON takes it.
    tables : mapping of str to rows
        By file name. A row has a value for each column.
    digits : int, optional
        Significant digits of the tables' floats; None: all, so that the same number is read back.
    code : mapping of str to str, optional
        Module -> digest of the code that made the numbers; None: of the modules that are loaded when it is written.

    Examples
    --------
    >>> import tempfile
    >>> rows = [{"rate": 0.1, "accuracy": 0.9375}, {"rate": 0.2, "accuracy": 0.875}]
    >>> spent = Clock().spent()
    >>> identity = identity_of("accuracy against rate", 7)
    >>> record = Record(title="Accuracy", identity=identity, seeds=7, tables={"curve.csv": rows}, **spent)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     [path.name for path in record.write(folder)]
    ['curve.csv', 'run.json']
    >>> print(csv_of(rows).decode(), end="")
    rate,accuracy
    0.1,0.9375
    0.2,0.875
    """

    title: str
    identity: str
    seeds: int | Sequence[int]
    seconds: float
    core_seconds: float
    command: str = ""
    data: DataSet | FolderSet | None = None
    device: MTJ | None = None
    contents: Mapping[str, Any] = field(default_factory=dict)
    tables: Mapping[str, Rows] = field(default_factory=dict)
    digits: int | None = None
    code: Mapping[str, str] | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the record as plain values; of each table the number of rows and the SHA-256 (hex) of the file."""
        fixed: dict[str, Any] = {"title": self.title, "identity": self.identity, "seeds": self.seeds}
        if self.command:
            fixed["command"] = self.command
        if self.data is not None:
            fixed["data"] = {"name": self.data.name, "identity": self.data.identity, "source": self.data.source}
        if self.device is not None:
            fixed |= {"device": self.device.model_dump(), "device_identity": self.device.identity}
        last = {
            "tables": {
                name: {"rows": len(rows), "sha256": hashlib.sha256(csv_of(rows, digits=self.digits)).hexdigest()}
                for name, rows in self.tables.items()
            },
            "versions": {name: version(name) for name in PACKAGES} | {"python": platform.python_version()},
            "seconds": self.seconds,
            "core_seconds": self.core_seconds,
            "code": dict(loaded_code() if self.code is None else self.code),
        }
        assert not self.contents.keys() & {*fixed, *last}, "a field of the record is in its contents"
        return {**fixed, **self.contents, **last}

    def write(self, folder: str | os.PathLike[str], name: str = "run.json") -> tuple[Path, ...]:
        """Write the tables, then the JSON file `name`, each whole; return their paths. The folder must exist."""
        files = {table: csv_of(rows, digits=self.digits) for table, rows in self.tables.items()}
        files[name] = (json.dumps(self.as_dict(), indent=1) + "\n").encode()
        for file, content in files.items():
            write_whole(Path(folder) / file, content)
        return tuple(Path(folder) / file for file in files)


def identity_of(*parts: Any) -> str:
    """Return the SHA-256 (hex) of parts as JSON, such as settings, seeds and identities.

    Examples
    --------
    >>> identity_of("demo", {"draws": 20})[:8]
    'f7ad7216'
    """
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def csv_of(rows: Rows, *, digits: int | None = None) -> bytes:
    """Return rows as CSV, with the columns of the first row; `digits` as in `Record`."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = list(rows[0]) if rows else []
    writer.writerow(names)
    for row in rows:
        assert row.keys() == set(names), "rows have different columns"
        writer.writerow(_rounded(row[name], digits) for name in names)
    return text.getvalue().encode()


def _rounded(value: Any, digits: int | None) -> Any:
    return f"{value:.{digits}g}" if isinstance(value, float) and digits is not None else value
