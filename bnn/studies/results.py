"""Results of a study: one file each, under a key that follows from the point, written before its trial is completed."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from bnn.recipes.out_folder import DECLARED, check_folder, held, read_object
from bnn.studies.space import Point, Study
from bnn.studies.task import Task
from mtjsim.files import require_writable, write_whole

log = logging.getLogger(__name__)
OWN_TABLES = ("table", "summary", "crossing", "threshold")
COMMAND = "mtj-bnn study "
SET = " --set "


class Results:
    """The results of a study in a folder.

    Parameters
    ----------
    folder : Path
        It must exist.
    study : Study

    Raises
    ------
    ValueError
        If the folder holds anything else: another study, a run, or tables without a record.
    OSError
        If it cannot be written.

    Notes
    -----
    *The same study* has the same name, fields that were --set not counted, and the same `identity`: other points or
    repeats of it may be added. In a folder without study.json, such as a stored table from git, its name with --set is
    enough: what is there may be by an older version of the study, which had another recipe or seed, and is replaced.
    With study.json that is refused, for the results of the older version are there too. A study that shares its
    identity with this one and has another name is another one: its table has other points.
    """

    def __init__(self, folder: Path, study: Study) -> None:
        require_writable(folder, option="out")
        self.folder, self.study = folder, study
        self._known: dict[str, dict[str, Any]] = {}
        declared = folder / DECLARED["study"]
        if declared.exists():
            found = read_object(declared)
            name = str(found.get("name", "unknown"))
            if found.get("identity") != study.identity:
                raise held(folder, f"another study, {name!r} of another recipe or seed", declared.name)
            if stem_of(name) != stem_of(study.name):
                raise held(folder, f"another study, {name!r}", declared.name)
        files = [f"{table}.csv" for table in OWN_TABLES] + ["figure.png"]
        files += ["*.csv"] if isinstance(study.recipe, Task) else []  # which tables it returns is known when it is run
        check_folder(folder, "study", same=self._is_same, files=files)

    def _is_same(self, record: Mapping[str, Any]) -> bool:
        name = str(record.get("command", "")).removeprefix(COMMAND)
        same = stem_of(name) == stem_of(self.study.name) and record.get("identity") == self.study.identity
        return same or name == self.study.name

    def begin(self) -> None:
        """Write what the study is; the folder is its own from then on."""
        (self.folder / "results").mkdir(exist_ok=True)
        (self.folder / "networks").mkdir(exist_ok=True)
        declared, study = self.folder / DECLARED["study"], self.study
        if not declared.exists():
            content = {"name": study.name, "title": study.title, "identity": study.identity}
            write_whole(declared, (json.dumps(content, indent=1) + "\n").encode())

    def path(self, key: str) -> Path:
        """Return the file of a result."""
        return self.folder / "results" / f"{key}.json"

    def get(self, point: Point) -> dict[str, Any] | None:
        """Return the result of a point; None if it is not finished. A damaged file counts as none, with a warning."""
        key = self.study.key(point)
        if key not in self._known and (found := self._loaded(self.path(key), key)) is not None:
            self._known[key] = found
        return self._known.get(key)

    def has(self, key: str) -> bool:
        """Whether a result was read or kept here."""
        return key in self._known

    def keep(self, result: Mapping[str, Any]) -> None:
        """Write a result, whole, unless it is there."""
        if result["key"] in self._known:
            return
        path = self.path(result["key"])
        if not path.exists():
            write_whole(path, (json.dumps(result, indent=1) + "\n").encode())
        self._known[result["key"]] = dict(result)

    def values(self) -> dict[str, dict[str, Any]]:
        """Return the values of every finished point, by key."""
        folder = self.folder / "results"
        files = os.listdir(folder) if folder.is_dir() else []
        names = {name.removesuffix(".json") for name in files if name.endswith(".json")}
        for key in sorted(names - self._known.keys()):
            if (found := self._loaded(self.path(key), key)) is not None:
                self._known[key] = found
        return {key: result["values"] for key, result in self._known.items()}

    def all(self, points: Iterable[Point]) -> list[tuple[Point, dict[str, Any]]]:
        """Return the finished points among these, with their results."""
        found = ((point, self.get(point)) for point in points)
        return [(point, result) for point, result in found if result is not None]

    def _loaded(self, path: Path, key: str) -> dict[str, Any] | None:
        if not path.exists():
            return None
        try:
            found = read_object(path)
            if found["key"] != key or not isinstance(found["values"], dict):
                raise ValueError("its key is another one")
        except (ValueError, KeyError) as error:
            log.warning("%s is damaged and is made again (%s).", path, error)
            path.unlink(missing_ok=True)
            return None
        return found


def stem_of(name: str) -> str:
    """Return the name of a study without the fields that were set.

    Examples
    --------
    >>> stem_of("digits_grid --set training.epochs=3")
    'digits_grid'
    """
    return name.partition(SET)[0]
