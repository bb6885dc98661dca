"""Words of fields and values in the figures of a study, with units; [figure] names gives further ones.

    names = { "clean.accuracy" = "test without errors", none = "as trained", plain = "trained without errors" }

A name is that of a column, or a value as it is in the tables or in the words of `words_of` ("range 4"); numbers are
compared as numbers. A value with words of its own is shown by them alone, others behind the words of their field.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from bnn.studies.dimensions import ARM, flat, plain, words_of
from mtjsim.checks import ArgumentError, checked_choice
from mtjsim.plot_style import rate_text

if TYPE_CHECKING:
    from bnn.studies.space import Study

Names = Mapping[str, str]
NO_NAMES: Names = MappingProxyType({})
RATES = ("error_rate", "error_rate_0", "error_rate_1")
PLAIN = 1e-3  # rates from here on are shown as plain numbers
WORDS = {  # by the last part of a field or of a value, where they are not that part itself
    ARM: "",
    "current": "write current",
    "current_0": "write current of a 0",
    "current_1": "write current of a 1",
    "voltage": "write voltage",
    "voltage_0": "write voltage of a 0",
    "voltage_1": "write voltage of a 1",
    "worst": "accuracy of the worst die",
    "spread": "spread of the accuracy",
    "energy_0": "energy of writing a 0",
    "energy_1": "energy of writing a 1",
    "joules_device": "energy of the junctions",
    "joules_with_driver": "energy of junctions and drivers",
    "joules_system": "energy of the system",
    "joules_in_sram": "energy with all in SRAM",
    "joules_of_mram": "energy of the MRAM",
    "train_images": "training images",
    "hidden": "hidden units",
    "correct": "BatchNorm",
    "protection": "check of a word",
    "holds": "what the memory holds",
}
UNITS = {  # by the last part: unit, factor from SI
    **dict.fromkeys(("current", "current_0", "current_1"), ("µA", 1e6)),
    **dict.fromkeys(("voltage", "voltage_0", "voltage_1"), ("V", 1.0)),
    **dict.fromkeys(("pulse_width", "latency"), ("ns", 1e9)),
    "temperature": ("K", 1.0),
    **dict.fromkeys(("accuracy", "worst", "spread"), ("%", 100.0)),
    **dict.fromkeys(("energy_0", "energy_1"), ("fJ", 1e15)),
    **dict.fromkeys(("joules_device", "joules_with_driver", "joules_system"), ("J", 1.0)),
    **dict.fromkeys(("joules_in_sram", "joules_of_mram"), ("J", 1.0)),
}
VALUES = {  # by the last part of the field, and the value
    ("errors", "independent"): "independent errors",
    ("errors", "overwrite"): "a failed write leaves the old bit",
    ("correct", "none"): "BatchNorm as trained",
    ("correct", "rescale"): "BatchNorm rescaled in closed form",
    ("correct", "reestimate"): "BatchNorm re-estimated",
    ("protection", "none"): "no check",
    ("protection", "parity"): "parity",
    ("protection", "secded"): "SECDED",
    ("holds", "signs"): "binary weights",
    ("holds", "activations"): "activations",
    ("holds", "batch_norm"): "BatchNorm",
}


def checked_names(study: Study, table: Any, columns: Iterable[str]) -> dict[str, str]:
    """Return [figure] names; ArgumentError for a name that is neither a column nor a value, or without a text."""
    given = flat("figure.names", table)
    values = (value for dimension in study.dimensions for value in dimension.values)
    known = list(dict.fromkeys([*columns, *map(_key, values)]))
    for name, words in given.items():
        checked_choice("a name of figure.names", _key(name), known)
        if not isinstance(words, str):
            raise ArgumentError(f"figure.names.{name}", f"must be a text, got {words!r}.")
    return {_key(name): words for name, words in given.items()}


def unit_of(name: str) -> tuple[str, float]:
    """Return the unit in which a column is shown, and its factor from SI; ("", 1.0) without one."""
    return UNITS.get(_last(name), ("", 1.0))


def field_words(path: str, names: Names = NO_NAMES) -> str:
    """Return the words of a field.

    Examples
    --------
    >>> field_words("memory.words.error_rate"), field_words("model.hidden")
    ('error rate', 'hidden units')
    """
    last = _last(path)
    return names.get(path, WORDS.get(last, last.replace("_", " ")))


def quantity_words(value: str, names: Names = NO_NAMES) -> str:
    """Return the words of a value of a run, such as an accuracy.

    Examples
    --------
    >>> quantity_words("with_errors.accuracy"), quantity_words("training.joules_system")
    ('with errors accuracy', 'training energy of the system')
    """
    first = value.rpartition(".")[0].replace("_", " ")
    return names.get(value, f"{first} {field_words(value)}".strip())


def series_words(values: Sequence[str], names: Names = NO_NAMES) -> list[str]:
    """Return the words of values that are drawn together, without the part in which all of them end.

    Examples
    --------
    >>> series_words(["clean.accuracy", "with_errors.accuracy"]), series_words(["training.loss", "a.accuracy"])
    (['clean', 'with errors'], ['training loss', 'a accuracy'])
    """
    if len({_last(value) for value in values}) > 1 or not all("." in value for value in values):
        return [quantity_words(value, names) for value in values]
    return [names.get(value, value.rpartition(".")[0].replace("_", " ")) for value in values]


def value_words(path: str, value: Any, names: Names = NO_NAMES) -> str:
    """Return the words of a value of a field, without the field.

    Examples
    --------
    >>> value_words("memory.bits.error_rate", 1e-9), value_words("memory.bits.error_rate", 0.05)
    ('$10^{-9}$', '0.05')
    >>> value_words("memory.bits.current", 4e-5), value_words("memory.bits.errors", "independent")
    ('40 µA', 'independent errors')
    """
    return _own(path, value, names) or _plain(path, value)


def label_of(path: str, value: Any, names: Names = NO_NAMES) -> str:
    """Return the words of a value, behind those of its field unless it has words of its own.

    Examples
    --------
    >>> label_of("model.hidden", 256), label_of("memory.words.protection", "range 4"), label_of("arm", "two_settings")
    ('hidden units 256', 'check of a word: range 4', 'two settings')
    """
    field, text = field_words(path, names), _plain(path, value)
    between = ": " if field and isinstance(value, str) else " "
    return _own(path, value, names) or f"{field}{between}{text}".strip()


def _last(name: str) -> str:
    return name.rpartition(".")[2]


def _key(value: Any) -> str:
    """Return a value as text; that of a number has one form, so that "1e-9" finds 1e-09."""
    text = words_of(plain(value))
    try:
        return f"{float(text):g}"
    except ValueError:
        return text


def _own(path: str, value: Any, names: Names) -> str:
    return names.get(_key(value)) or VALUES.get((_last(path), str(value)), "")


def _plain(path: str, value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value).replace("_", " ")
    if _last(path) in RATES and 0.0 < value < PLAIN:
        return rate_text(value, digits=3)
    unit, factor = unit_of(path)
    return f"{factor * value:g} {unit}".rstrip()
