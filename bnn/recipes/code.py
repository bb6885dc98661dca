"""The code that made a result: digests of the modules that were loaded, and which of them have changed since.

A digest is of a module's syntax tree without docstrings, so that comments, docstrings and layout do not matter. It is
the same for every Python from 3.11 on.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import re
import sys
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("mtjsim", "bridge", "bnn")
DIGITS = 16  # of SHA-256, in hex
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
RECORDS = ("bnn.studies.", "bnn.cli", "bnn.recipes.code", "bnn.recipes.record", "bnn.recipes.plots")
NUMBERS = (
    *("bnn.studies.tasks", "bnn.studies.point", "bnn.studies.plans", "bnn.studies.level"),
    *("bnn.studies.curve", "bnn.studies.demo"),
)
PLACE = re.compile(r"([A-Za-z_][\w.]*):[A-Za-z_]\w*")  # module:function
SEVERAL = "several"  # in place of a digest: parts of the result were made with different code


def digest_of(source: str) -> str:
    """Return a digest of a module's source, without docstrings and comments.

    Examples
    --------
    >>> digest_of("x = 1  # one") == digest_of("'A module.'; x = 1"), digest_of("x = 1") == digest_of("x = 2")
    (True, False)
    """
    parts: list[str] = []
    _add(ast.parse(source), parts)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:DIGITS]


def _add(node: ast.AST, parts: list[str]) -> None:
    """Add a syntax tree as texts; fields that are empty are left out, since newer Pythons have more of them."""
    parts.append(type(node).__name__)
    for name in node._fields:
        value = getattr(node, name, None)
        if value is None or value == []:
            continue
        parts.append(name)
        if name == "body" and isinstance(node, DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            value = value[1:]
        for part in value if isinstance(value, list) else [value]:
            if isinstance(part, ast.AST):
                _add(part, parts)
            else:
                parts.append(f"{type(part).__name__} {part!r}")
    parts.append("end")


def file_of(module: str) -> Path | None:
    """Return the source file of a module of ours, which need not be imported; None if there is none."""
    place = ROOT.joinpath(*module.split("."))
    return next((path for path in (place / "__init__.py", place.with_suffix(".py")) if path.is_file()), None)


@lru_cache(maxsize=1024)
def _digest_of_file(path: Path, changed: int) -> str:
    return digest_of(path.read_text("utf-8"))


def digest_of_module(module: str) -> str | None:
    """Return the digest of a module of ours as it is on disk; None if there is none."""
    path = file_of(module)
    return None if path is None else _digest_of_file(path, path.stat().st_mtime_ns)


def loaded_code() -> dict[str, str]:
    """Return the digest of each module of mtjsim, bridge and bnn that is loaded, by name.

    Examples
    --------
    >>> {len(digest) for digest in loaded_code().values()} == {DIGITS}
    True
    """
    names = sorted(name for name in list(sys.modules) if name.partition(".")[0] in PACKAGES)
    digests = {name: digest_of_module(name) for name in names}
    return {name: digest for name, digest in digests.items() if digest is not None}


def code_on_disk() -> dict[str, str]:
    """Return the digest of every module of mtjsim, bridge and bnn, loaded or not, by name."""
    paths = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
    names = (".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in paths)
    return {name: _digest_of_file(path, path.stat().st_mtime_ns) for name, path in zip(names, paths, strict=True)}


def merged_code(parts: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Return the code of a result with several parts; "several" for a module that was not the same in all.

    Examples
    --------
    >>> merged_code([{"a": "1", "b": "2"}, {"b": "3"}])
    {'a': '1', 'b': 'several'}
    """
    found: dict[str, str] = {}
    for part in parts:
        for name, digest in part.items():
            if found.setdefault(name, digest) != digest:
                found[name] = SEVERAL
    return dict(sorted(found.items()))


def own_code(tables: object) -> dict[str, str]:
    """Return the digests of the modules of one's own whose functions stand in tables, as "module:function"."""
    if isinstance(tables, Mapping):
        return {name: digest for part in tables.values() for name, digest in own_code(part).items()}
    if isinstance(tables, (list, tuple)):
        return {name: digest for part in tables for name, digest in own_code(part).items()}
    found = PLACE.fullmatch(tables) if isinstance(tables, str) else None
    if found is None or found[1].partition(".")[0] in PACKAGES:
        return {}
    try:
        spec = importlib.util.find_spec(found[1])
    except (ImportError, ValueError):
        return {}
    if spec is None or not (spec.origin or "").endswith(".py"):
        return {}
    return {found[1]: digest_of(Path(str(spec.origin)).read_text("utf-8"))}


def computes(module: str) -> bool:
    """Whether a module has a part in the numbers of a result; loops, tables, records and figures have none."""
    return not module.startswith(RECORDS) or module.startswith(NUMBERS)


def changed_since(code: Mapping[str, str]) -> list[str]:
    """Return the modules whose code is not what made a result; those that are gone are among them."""
    return sorted(name for name, digest in code.items() if digest_of_module(name) != digest)
