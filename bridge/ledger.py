"""Ledgers of memories: counted events times sourced constants gives joules and seconds.

An entry is one kind of event in one memory: its count, the price of one, and the source of that constant. Joules are
kept in four columns, and a total always names the columns that it contains (its scope):

device       the junctions
with_driver  and the access transistors and write drivers
system       and the periphery: sensing, the logic of codes, moving data between memories, error-free memories

*System level* means the last in this project: every access that memories made. It leaves out the processor's
arithmetic, leakage, clocks and refresh. A constant that was not given is 0: where pulses were priced by their junction
alone, without a `bridge.Cell`, the joules with driver and of the system are lower bounds. Then `known` is False,
`print` writes a dash and "≥", and the table has not-a-number.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from scipy.special import ndtri

from bridge.checks import checked_or_unknown
from bridge.write import PARTS
from mtjsim.checks import ArgumentError, Suggesting, checked_choice, checked_confidence, checked_kind, checked_number
from mtjsim.equality import NanEqual
from mtjsim.files import write_whole

DASH = "-"
FREE_READS = "reads taken to be exact and free: no ReadPoint"
NOTES = {  # by the source of an entry; "": if transistor and driver of a current are unknown
    "": "-: unknown, or without energy. The operating point of a bridge.Cell has those of transistor and driver.",
    FREE_READS: "Reads, those that verify a write included, were taken to be exact and free, without a ReadPoint.",
}
SCOPES = {"device": PARTS[:1], "with_driver": PARTS, "system": (*PARTS, "periphery")}


@dataclass(frozen=True, kw_only=True, eq=False)
class Entry(NanEqual):
    """One kind of event in one memory.

    Attributes
    ----------
    memory, event : str
        Name of the memory, and of the event.
    count : float
        How often; whole if it was counted, not if it was estimated from a sample.
    variance : float
        Of that estimate; 0 if it was counted.
    junction, transistor, driver, periphery : float
        Energy of one event [J]; NaN if it is unknown, and so are then the totals that contain it.
    seconds : float
        Duration of one event, events one after another [s].
    source : str
        Of the constants.

    Raises
    ------
    ValueError
        If a number is negative or not finite; a price may be NaN. If memory, event or source is not a text.
    """

    memory: str
    event: str
    count: float
    variance: float = 0.0
    junction: float = 0.0
    transistor: float = 0.0
    driver: float = 0.0
    periphery: float = 0.0
    seconds: float = 0.0
    source: str = ""

    def __post_init__(self) -> None:
        for name in ("memory", "event", "source"):
            checked_kind(name, getattr(self, name), str)
        for name in (*SCOPES["system"], "seconds"):
            checked_or_unknown(self, **{name: "s" if name == "seconds" else "J"})
        for name in ("count", "variance"):
            checked_number(name, getattr(self, name), "", zero_allowed=True)

    def joules(self, scope: str = "with_driver") -> float:
        """Energy of all these events in a scope [J]."""
        return self.count * self._price(scope)

    def known(self, scope: str = "with_driver") -> bool:
        """Whether the price is of the whole scope.

        False for an energy of NaN; and beyond the device for a current through a junction whose transistor and driver
        have no price, as without a `bridge.Cell`.
        """
        junction_alone = self.junction > 0 and self.transistor == self.driver == 0
        return not math.isnan(self._price(scope)) and (scope == "device" or not junction_alone)

    def _price(self, scope: str) -> float:
        return sum(getattr(self, part) for part in SCOPES[checked_choice("scope", scope, SCOPES)])


@dataclass(frozen=True)
class Ledger(Suggesting):
    """Entries that add up; ledgers add, too.

    Parameters
    ----------
    entries : iterable of Entry
        Equal kinds (memory, event, constants, source) become one.

    Raises
    ------
    ValueError
        If they are not entries.

    Examples
    --------
    >>> write = Entry(memory="weights", event="write 1", count=8, junction=2e-13, source="operating point")
    >>> both = Ledger([write]) + Ledger([write])
    >>> both.count("write 1"), round(both.joules("device") * 1e15)
    (16, 3200)
    """

    entries: tuple[Entry, ...] = ()

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        merged: dict[Entry, Entry] = {}
        checked_kind("entries", entries, Iterable, remedy="Ledger([entry]) has one.")
        for entry in entries:
            checked_kind("entries", entry, Entry)
            kind = replace(entry, count=0, variance=0.0)
            sum_ = merged.get(kind, kind)
            merged[kind] = replace(entry, count=sum_.count + entry.count, variance=sum_.variance + entry.variance)
        object.__setattr__(self, "entries", tuple(merged.values()))

    def __add__(self, other: Ledger) -> Ledger:
        if not isinstance(other, Ledger):
            return NotImplemented
        return Ledger([*self, *other])

    def __radd__(self, other: int) -> Ledger:
        return self if other == 0 else NotImplemented  # sum() starts from 0

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries)

    def count(self, event: str, *, memory: str | None = None) -> float:
        """Return the count of `event`, in one memory or in all."""
        return sum(e.count for e in self if e.event == event and memory in (None, e.memory))

    def joules(self, scope: str = "with_driver") -> float:
        """Total energy in a scope, "device", "with_driver" or "system" [J]."""
        checked_choice("scope", scope, SCOPES)
        return sum(entry.joules(scope) for entry in self)

    def known(self, scope: str = "with_driver") -> bool:
        """Whether `joules` is all of a scope: see `Entry.known`. If not, it is a lower bound, or NaN."""
        return all(entry.known(scope) for entry in self if entry.count)

    def joules_interval(self, scope: str = "with_driver", *, confidence: float = 0.95) -> tuple[float, float]:
        """Interval of the total [J], from the counts that were sampled (normal; each kind on its own).

        The kinds of one sample are correlated: their widths are added, an upper bound. Both ends are equal if
        everything was counted.
        """
        spread = sum(math.sqrt(entry.variance) * entry._price(scope) for entry in self)
        half = float(ndtri(0.5 + checked_confidence(confidence) / 2)) * spread
        total = self.joules(scope)
        return total - half, total + half

    @property
    def seconds(self) -> float:
        """Total duration if one access follows another [s]."""
        return sum(entry.count * entry.seconds for entry in self)

    def table(self) -> list[dict[str, Any]]:
        """Return one row an entry: its attributes and `joules_device`, `joules_with_driver`, `joules_system`.

        Joules that are not known are NaN.
        """
        return [
            {**asdict(e), **{f"joules_{scope}": e.joules(scope) if e.known(scope) else math.nan for scope in SCOPES}}
            for e in self
        ]

    def to_csv(self, path: str | Path | None = None) -> str:
        """Return the table as CSV, and write it, whole, to `path` if one is given."""
        names = [field.name for field in fields(Entry)] + [f"joules_{scope}" for scope in SCOPES]
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.table())
        if path is not None:
            write_whole(path, text.getvalue().encode())
        return text.getvalue()

    def __str__(self) -> str:
        rows: list[tuple[str, ...]] = [("memory", "event", "count", "J, device", "J, with driver", "J, system")]
        for e in self:
            whole = e.variance == 0 and float(e.count).is_integer()
            number = f"{e.count:.0f}" if whole else f"{e.count:.4g} ± {math.sqrt(e.variance):.2g}"
            priced = (f"{e.joules(scope):.3g}" if e._price(scope) and e.known(scope) else DASH for scope in SCOPES)
            rows.append((e.memory, e.event, number, *priced))
        rows.append(("", "total", "", *map(self._total, SCOPES)))
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        aligned = ["<", "<", ">", ">", ">", ">"]
        lines = ["  ".join(f"{x:{side}{w}}" for x, side, w in zip(row, aligned, widths, strict=True)) for row in rows]
        sources = {entry.source for entry in self}
        lines += [note for needed, note in NOTES.items() if needed in sources or (not needed and not self.known())]
        return "\n".join(lines)

    def _total(self, scope: str) -> str:
        """Total as it is printed: a dash if nothing has a price, "≥" if a part of the scope has none."""
        total = self.joules(scope)
        if math.isnan(total) or not any(entry._price(scope) for entry in self):
            return DASH
        return f"{total:.3g}" if self.known(scope) else f"≥ {total:.3g}"


def transfer(bits: float, *, energy_per_bit: float, source: str, name: str = "bus") -> Ledger:
    """Return the ledger of data that were moved between memories.

    Parameters
    ----------
    bits : float
        How many.
    energy_per_bit : float
        [J].
    source : str
        Where that constant comes from; must not be empty.
    name : str
        Of the bus or transfer.

    Raises
    ------
    ValueError
        If the source is empty, or a number is negative or not finite.

    Examples
    --------
    >>> transfer(8e6, energy_per_bit=1e-12, source="assumed").joules("system")
    8e-06
    """
    bits = checked_number("bits", bits, "", zero_allowed=True)
    energy_per_bit = checked_number("energy_per_bit", energy_per_bit, "J", zero_allowed=True)
    if not source:
        raise ArgumentError("source", 'of energy_per_bit must be given; "assumed" is allowed.')
    return Ledger([Entry(memory=name, event="bit moved", count=bits, periphery=energy_per_bit, source=source)])
