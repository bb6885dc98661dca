"""Results of a study: one file each, under a key that follows from the point, written before its trial is completed."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from bnn.studies.space import Point, Study
from mtjsim.checks import ArgumentError
from mtjsim.files import require_writable, write_whole

log = logging.getLogger(__name__)
DECLARED = "study.json"


class Results:
    """The results of a study in a folder.

    Parameters
    ----------
    folder : Path
        Made if need be.
    study : Study

    Raises
    ------
    ValueError
        If the folder has results of another study.
    OSError
        If it cannot be written.
    """

    def __init__(self, folder: Path, study: Study) -> None:
        require_writable(folder, option="out", make=True)
        self.folder, self.study = folder, study
        self._known: dict[str, dict[str, Any]] = {}
        declared = folder / DECLARED
        if declared.exists():
            found = _read(declared)
            if found.get("identity") != study.identity:
                name = found.get("name", "unknown")
                problem = f"{str(folder)!r} has results of another study, {name!r} of another recipe or seed"
                raise ArgumentError("out", f"{problem}, see its {DECLARED}. Name another folder.")

    def begin(self) -> None:
        """Write what the study is; the folder is its own from then on."""
        (self.folder / "results").mkdir(exist_ok=True)
        (self.folder / "networks").mkdir(exist_ok=True)
        if not (self.folder / DECLARED).exists():
            study = self.study
            content = {"name": study.name, "title": study.title, "identity": study.identity}
            write_whole(self.folder / DECLARED, (json.dumps(content, indent=1) + "\n").encode())

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
        path = self.path(result["key"])
        if result["key"] in self._known:
            return
        if not path.exists():
            write_whole(path, (json.dumps(result, indent=1) + "\n").encode())
        self._known[result["key"]] = dict(result)

    def values(self) -> dict[str, dict[str, Any]]:
        """Return the values of every finished point, by key."""
        for path in sorted((self.folder / "results").glob("*.json")):
            if path.stem not in self._known and (found := self._loaded(path, path.stem)) is not None:
                self._known[path.stem] = found
        return {key: result["values"] for key, result in self._known.items()}

    def all(self, points: Iterable[Point]) -> list[tuple[Point, dict[str, Any]]]:
        """Return the finished points among these, with their results."""
        found = ((point, self.get(point)) for point in points)
        return [(point, result) for point, result in found if result is not None]

    def _loaded(self, path: Path, key: str) -> dict[str, Any] | None:
        if not path.exists():
            return None
        try:
            found = _read(path)
            if found["key"] != key or not isinstance(found["values"], dict):
                raise ValueError("its key is another one")
        except (ValueError, KeyError) as error:
            log.warning("%s is damaged and is made again (%s).", path, error)
            path.unlink(missing_ok=True)
            return None
        return found


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text("utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ArgumentError("out", f"has a damaged file, {path}: {error}. Delete it.") from None
    if not isinstance(found, dict):
        raise ArgumentError("out", f"has a damaged file, {path}: it is not an object. Delete it.")
    return found
