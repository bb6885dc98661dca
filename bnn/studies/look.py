"""What a [figure] says: which columns are where, in which words; what it leaves out has a default.

    x             field or value; a list of fields: a name for each combination
    y             values; a table, text -> values: a panel for each, with an axis of its own
    by            fields whose values make a line each
    panel, row    fields whose values make axes each
    log_x         whether x is logarithmic
    even_x        whether numbers of x are names, at equal distances
    y_scale       "linear", "from_zero", "log", "logit"
    x_label, y_label, legend   texts; the scale of an axis that is not linear is added
    names         column or value -> words, see `words.py`
    only          field -> those of its values that are shown
    missing       why a point has no value, a text: such points are crosses at the lower end of the axes
    sums          name -> { value = factor }: a further value. Its interval contains that of the sum, whose repeats a
                  summary does not have
    times         field -> numbers: thresholds are multiplied by the number of their value of that field

All can be left out. `times` is of thresholds, which have no y, y_scale, missing or sums.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bnn.recipes.declared import checked_flag, checked_table, in_si
from bnn.recipes.tables import listed
from bnn.studies.dimensions import Dimension, flat, is_number, plain
from bnn.studies.words import checked_names
from mtjsim.checks import ArgumentError, checked_choice

if TYPE_CHECKING:
    from bnn.studies.space import Study

COMMON = ("x", "by", "panel", "row", "log_x", "even_x", "x_label", "y_label", "legend", "names", "only")
OF_VALUES = (*COMMON, "y", "y_scale", "missing", "sums")
OF_THRESHOLDS = (*COMMON, "times")
TIMES = "figure.times"  # column of the factors of thresholds
Y_SCALES = ("linear", "from_zero", "log", "logit")


def look_of(study: Study, paths: Sequence[str], values: Sequence[str], known: Sequence[str] = OF_VALUES) -> dict:
    """Return [figure] with what it leaves out; `paths` are the dimensions, `values` those of the summary.

    Without `by` there is a line for each combination of the other dimensions that are lists. A dimension that is a
    range has another value at each point: it makes no lines. Without accuracies y is the first objective or value.

    Returns
    -------
    dict
        As above, and `xs`, the columns of x; `x` is the column that has them. `y` is a list, and
        `groups` the table, if it was one.

    Raises
    ------
    ArgumentError
        For an unknown name, or a value of another kind.
    """
    look = checked_table("figure", study.tables.get("figure", {}), known)
    sums = _sums(look.get("sums", {}), values)
    values = [*values, *sums]
    found = {**look, "sums": sums, "y_scale": checked_choice("figure.y_scale", look.get("y_scale", "linear"), Y_SCALES)}
    xs = listed(look.get("x", paths[-1]))
    for name in xs:
        checked_choice("figure.x", name, paths if len(xs) > 1 else [*paths, *values])
    found |= {"xs": xs, "x": ", ".join(xs)}
    for key in ("panel", "row"):
        found[key] = checked_choice(f"figure.{key}", look[key], paths) if key in look else None
    found |= _y(study, look, values, found["x"])
    listed_ones = {dimension.path for dimension in study.dimensions if dimension.values}
    others = [path for path in paths if path in listed_ones - {*xs, found["panel"], found["row"]}]
    found["by"] = [checked_choice("figure.by", name, paths) for name in listed(look.get("by", others))]
    for key in ("log_x", "even_x"):
        if key in look:
            checked_flag(f"figure.{key}", look[key])
    for key in ("x_label", "y_label", "legend", "missing"):
        if not isinstance(look.get(key, ""), str):
            raise ArgumentError(f"figure.{key}", f"must be a text, got {look[key]!r}.")
    bisected = [study.tables["bisect"][key] for key in ("field", "value")] if "bisect" in study.tables else []
    found["names"] = checked_names(study, look.get("names", {}), [*paths, *values, *bisected])
    found |= {"only": _only(study, look.get("only", {})), "times": _times(study, look.get("times", {}))}
    return found


def _y(study: Study, look: Mapping[str, Any], values: Sequence[str], x: str) -> dict[str, Any]:
    shown = [name for name in values if name.endswith(".accuracy")]
    shown = shown or [name for name in (*study.objective, *values) if name in values and name != x][:1]
    given, groups = look.get("y", shown[:3]), None
    if isinstance(given, Mapping):
        if "panel" in look:
            rule = "must be left out where y is a table of panels"
            raise ArgumentError("figure.panel", f"{rule}, got {look['panel']!r}.")
        groups = {title: listed(names) for title, names in given.items()}
        given = [name for names in groups.values() for name in names]
    return {"y": [checked_choice("figure.y", name, values) for name in listed(given)], "groups": groups}


def _sums(table: Any, values: Sequence[str]) -> dict[str, dict[str, float]]:
    if not isinstance(table, Mapping):
        raise ArgumentError("figure.sums", f"must be a table of names and sums, got {table!r}.")
    found = {name: flat(f"figure.sums.{name}", terms) for name, terms in table.items()}
    for name, terms in found.items():
        if name in values:
            raise ArgumentError(f"figure.sums.{name}", "must have another name than a value of the runs.")
        for value, factor in terms.items():
            checked_choice(f"a value of figure.sums.{name}", value, values)
            if not is_number(factor):
                raise ArgumentError(f"figure.sums.{name}.{value}", f"must be a number, got {factor!r}.")
    return found


def _only(study: Study, table: Any) -> dict[str, list[Any]]:
    """Return field -> values of a field, each among those of its dimension."""
    found = {}
    for path, given in flat("figure.only", table).items():
        known = [plain(value) for value in _listed_dimension(study, "only", path).values]
        found[path] = in_si(f"figure.only.{path}", path.rpartition(".")[2], listed(given))
        for value in found[path]:
            if value not in known:
                rule = f"must be among {', '.join(map(repr, known))}"
                raise ArgumentError(f"figure.only.{path}", f"{rule}, got {value!r}.")
    return found


def _times(study: Study, table: Any) -> dict[str, dict[str, float]]:
    """Return field -> text of a value -> number."""
    found = {}
    for path, given in flat("figure.times", table).items():
        values = _listed_dimension(study, "times", path).values
        numbers = given if isinstance(given, list) and all(map(is_number, given)) else []
        if len(numbers) != len(values) or not all(number > 0 for number in numbers):
            rule = f"must be a list of {len(values)} numbers > 0, one for each value of {path}"
            raise ArgumentError(f"figure.times.{path}", f"{rule}, got {given!r}.")
        found[path] = {str(plain(value)): number for value, number in zip(values, numbers, strict=True)}
    return found


def _listed_dimension(study: Study, key: str, path: str) -> Dimension:
    dimensions = {dimension.path: dimension for dimension in study.dimensions if dimension.values}
    return dimensions[checked_choice(f"a field of figure.{key}", path, dimensions)]


def rows_of_figure(rows: Sequence[Mapping[str, Any]], look: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return those rows of a summary, or of thresholds, that a figure shows, with its sums and factors."""
    shown = {path: {str(value) for value in values} for path, values in look["only"].items()}
    kept = [dict(row) for row in rows if all(str(row[path]) in values for path, values in shown.items())]
    for row in kept:
        for name, terms in look["sums"].items():
            row |= _sum(name, terms, row)
        row[TIMES] = math.prod(numbers[str(row[path])] for path, numbers in look["times"].items())
    return kept


def _sum(name: str, terms: Mapping[str, float], row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a sum of values, with the lowest and the highest that the ends of their intervals give."""
    found: dict[str, Any] = {}
    for end, ends in (("", ("", "")), (".low", (".low", ".high")), (".high", (".high", ".low"))):
        parts = [(factor, row[f"{value}{ends[factor < 0]}"]) for value, factor in terms.items()]
        found[f"{name}{end}"] = "" if any(part == "" for _, part in parts) else sum(f * part for f, part in parts)
    return found
