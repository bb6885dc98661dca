"""A folder of results is of one run, one study or one demo: another one is refused there, before any work.

Whose a folder is, is in its files:

    recipe.toml   what is run, written before the work
    study.json    the name and the identity of a study, written before the work
    run.json      the record, written last: "command" is `mtj-bnn run recipe.toml`, `mtj-bnn study NAME` or `mtj-bnn
                  demo ...`, "identity" is the hash of all that the numbers follow from

Only run.json is kept with a stored table (the others are not in git). Which record is that of the same experiment is
decided where the experiment is known: `bnn/recipes/run.py`, `bnn/studies/results.py`, `bnn/studies/demo.py`.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from mtjsim.checks import ArgumentError

RECORD = "run.json"
DECLARED = {"run": "recipe.toml", "study": "study.json"}  # kind -> file; a demo is declared by its record alone
KINDS = (*DECLARED, "demo")
PROGRAM = "mtj-bnn "
REMEDY = "Name another folder."


def check_folder(folder: Path, kind: str, *, same: Callable[[Mapping[str, Any]], bool], files: Iterable[str]) -> None:
    """Refuse a folder whose results are not those of this experiment; nothing is written.

    Parameters
    ----------
    folder : Path
        It may be missing.
    kind : {"run", "study", "demo"}
        Whose own declaration, if it is there, was checked before.
    same : callable
        Whether a record, as a mapping, of this kind is that of the same experiment.
    files : iterable of str
        Names or patterns of the files that are written besides the record. Without a declaration and a record of what
        made them they are somebody else's.

    Raises
    ------
    ArgumentError
        If it has the declaration of another kind, another record, or files without a record.
    """
    for other, name in DECLARED.items():
        if other != kind and (folder / name).exists():
            raise held(folder, f"a {other}", name)
    if (record := record_in(folder)) is not None:
        found = kind_of(record)
        if found != kind or not same(record):
            what = "something else" if found is None else f"another {kind}" if found == kind else f"a {found}"
            shown = record.get("title" if found == "run" else "command")
            raise held(folder, f"{what}, {shown!r}" if shown else what, RECORD)
        return
    begun = kind in DECLARED and (folder / DECLARED[kind]).exists()
    unknown = [] if begun else sorted({path.name for pattern in files for path in folder.glob(pattern)})
    if unknown:
        problem = f"{str(folder)!r} holds {', '.join(unknown[:3])} and no {RECORD}, which says what made them"
        raise ArgumentError("out", f"{problem}. Move them, or name another folder.")


def held(folder: Path, what: str, file: str) -> ArgumentError:
    """Return the error of a folder that holds something else."""
    return ArgumentError("out", f"{str(folder)!r} holds {what}, see its {file}. {REMEDY}")


def record_in(folder: Path) -> dict[str, Any] | None:
    """Return the record in a folder, None without one; ArgumentError for a damaged one."""
    path = folder / RECORD
    return read_object(path) if path.exists() else None


def read_object(path: Path) -> dict[str, Any]:
    """Return a JSON file in a folder of results; ArgumentError if it is damaged."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ArgumentError("out", f"has a damaged file, {path}: {error}. Delete it.") from None
    if not isinstance(found, dict):
        raise ArgumentError("out", f"has a damaged file, {path}: it is not an object. Delete it.")
    return found


def kind_of(record: Mapping[str, Any]) -> str | None:
    """Return what made a record: "run", "study", "demo"; None for anything else.

    Examples
    --------
    >>> kind_of({"command": "mtj-bnn study digits_grid"}), kind_of({"command": "make bench"})
    ('study', None)
    """
    command = str(record.get("command", ""))
    verb = command.removeprefix(PROGRAM).partition(" ")[0] if command.startswith(PROGRAM) else ""
    return verb if verb in KINDS else None
