"""The ledger of a memory of bits: counted writes times the energies of an operating point."""

from typing import Any

import numpy as np

from bnn.errors.rates import HasEnergies
from bridge.ledger import Entry, Ledger
from bridge.memory.cells import PLAIN, WritePolicy
from bridge.memory.read import ReadPoint
from mtjsim.checks import ArgumentError

KINDS = ("turned", "held")


def read_price(reading: ReadPoint, bit: int) -> dict[str, Any]:
    """Return the price of reading one bit, as the constants of an entry."""
    parts = (("junction", "energy"), ("transistor", "transistor_energy"), ("driver", "driver_energy"))
    cost = {part: getattr(reading, f"{field}_{bit}") for part, field in parts}
    return {**cost, "periphery": reading.sense_energy, "source": "read point"}


def bit_ledger(
    counts: np.ndarray,
    *,
    errors: str,
    name: str,
    point: HasEnergies | None = None,
    policy: WritePolicy | None = None,
    reading: ReadPoint | None = None,
) -> Ledger:
    """Return what was written and what it cost, as the events of a `bridge.Memory`.

    Parameters
    ----------
    counts : (2, 3) int array
        `counts[bit]`: writes of cells that held the other bit ("turned"), of cells that held this one ("held"), and how
        many of the former failed.
    errors : {"independent", "overwrite"}
        For the source of the prices.
    name : str
        Of the memory in the ledger.
    point : OperatingPoint, optional
        Prices the pulses; without it they are free.
    policy : WritePolicy, optional
        `bridge.PLAIN` (default): every cell is pulsed. `READ_BEFORE_WRITE`: every cell is read, and pulsed if it has
        to turn.
    reading : ReadPoint, optional
        Prices the reads; without it they are free. A read is taken to be right.

    Raises
    ------
    ValueError
        For a policy that writes again.

    Examples
    --------
    >>> ledger = bit_ledger(np.array([[5, 3, 1], [4, 0, 0]]), errors="overwrite", name="m")
    >>> ledger.count("write 0 held"), ledger.count("failed write 0")
    (3, 1)
    """
    policy = policy or PLAIN
    if policy.attempts > 1:
        raise ArgumentError("policy", f"must not write again, got attempts={policy.attempts}: cells are pulsed once.")
    source = "no operating point" if point is None else f"operating point {point.identity[:12]}"
    energies: dict[str, Any] = {} if point is None else dict(point.energies)
    entries: list[Entry] = []

    def add(event: str, count: Any, **price: Any) -> None:
        if count:
            entries.append(Entry(memory=name, event=event, count=int(count), **price))

    for bit in (0, 1):
        for kind in range(1 if policy.read_first else 2):
            price = {part: float(table[bit, kind]) for part, table in energies.items()}
            add(f"write {bit} {KINDS[kind]}", counts[bit, kind], source=f"{errors} errors; {source}", **price)
        add(f"failed write {bit}", counts[bit, 2], source="counted")
    for bit in (0, 1) if policy.read_first else ():  # of the cells that held `bit`
        paid: dict[str, Any] = {"source": "reads taken to be free"}
        if reading is not None:
            paid = read_price(reading, bit)
        add(f"read {bit}", counts[bit, 1] + counts[1 - bit, 0], **paid)
    return Ledger(entries)
