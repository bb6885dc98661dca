"""What weights without error correction save: a memory with 1e-3 wrong bits against memories with 1e-9.

Hirtzlin et al. (arXiv:1908.04085) give up to a factor of two at "system level"; what that contains, and against which
memory, is a choice of this module. Memories are written and read, and their ledgers are compared: junctions alone, with
transistor and driver, and the system, which is what `bridge/ledger.py` calls so. What a wrong bit is, cells,
transistors and constants are those of `junction_to_memory.py`.

Weights of a binary network are bits. A bit is a cell; 32 of them are a word of the memory (its widest format, fp32, of
which only the bits are used here) and two words are an access, or a block of SECDED. A verify reads the words that were
pulsed, 32 cells each.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

import bridge
from bnn.studies.tasks.junction_to_memory import (
    CODE_ENERGY,
    READ,
    SIZINGS,
    TARGET,
    TEMPERATURE,
    UNPROTECTED,
    WORD,
    cost,
    secded_rate,
    solve,
)
from mtjsim.checks import ArgumentError, checked_choice, checked_whole
from mtjsim.rng import child_seed, generator

WORD_BITS = 32  # cells of a word; WORD of them are an access
SCOPES = {"junction": "device", "with_driver": "with_driver", "system": "system"}  # of a ledger


@dataclass(frozen=True)
class Scheme:
    """A memory with a share of wrong bits.

    Attributes
    ----------
    wrong : float
        Share of wrong bits after random bits were written over random bits.
    attempts : int or None
        Pulses of a cell at most; None: at least two, and as many as take the least energy of a write (system).
    secded : bool
        Blocks of 64 cells with 8 check cells. All bits of a block with two or more wrong cells count as wrong.
    """

    wrong: float
    attempts: int | None = 1
    secded: bool = False


SCHEMES = {
    "unprotected": Scheme(UNPROTECTED),
    "strong pulse 1e-6": Scheme(1e-6),
    "strong pulse 1e-8": Scheme(1e-8),
    "strong pulse": Scheme(TARGET),
    "SECDED": Scheme(TARGET, secded=True),
    "retry 2": Scheme(TARGET, attempts=2),
    "retry": Scheme(TARGET, attempts=None),
    "unprotected retry": Scheme(UNPROTECTED, attempts=None),
}
COMPARED = {
    **{name: (name, "unprotected") for name, scheme in SCHEMES.items() if scheme.wrong < UNPROTECTED},
    "retry both": ("retry", "unprotected retry"),  # what the wrong bits save where both memories write again
}


@cache
def solved(rate: float, sizing: str) -> tuple[bridge.Cell, bridge.OperatingPoint, bridge.ReadPoint]:
    """Return the cell whose pulses fail with `rate`, its write and its read."""
    cell, point = solve(rate, sizing)
    return cell, point, bridge.read_point(cell, READ, temperature=TEMPERATURE)


def pulse_rate(scheme: Scheme, attempts: int) -> float:
    """Return the largest error rate of a pulse with which a scheme keeps its share of wrong bits."""
    return secded_rate(scheme.wrong) if scheme.secded else (2 * scheme.wrong) ** (1 / attempts)


def cheapest(scheme: Scheme, sizing: str, most_attempts: int) -> int:
    """Return the number of attempts with the least energy of a write, in closed form."""

    def energy(attempts: int) -> float:
        cell, point, _ = solved(pulse_rate(scheme, attempts), sizing)
        return cost(cell, point, attempts=attempts, word=WORD_BITS)["system_J"]

    return min(range(2, most_attempts + 1), key=energy)


def closed_form(
    cell: bridge.Cell, point: bridge.OperatingPoint, scheme: Scheme, *, attempts: int, reads: int
) -> dict[str, float]:
    """Return the energy of the system for a bit, and the time of an access, as `junction_to_memory` has them."""
    energies, times = (
        cost(cell, point, secded=scheme.secded, attempts=attempts, word=word) for word in (WORD_BITS, WORD)
    )
    return {
        "closed_form_J": energies["system_J"] + reads * energies["system_read_J"],
        "closed_form_s": times["latency_mean_s"] + reads * READ.duration,
    }


def random_words(bits: int, seed: int) -> tuple[NDArray[np.float32], ...]:
    """Return the words that the cells hold at first, and those that are written."""
    rng = generator(seed, "data")
    held, written = rng.integers(1 << 32, size=(2, bits // WORD_BITS), dtype=np.uint32).view(np.float32)
    return held, written


def used(memory: bridge.Memory, written: NDArray[np.float32], reads: int) -> int:
    """Write the words, read them so often, and return how many data cells are wrong at the end."""
    memory.write(written)
    for _ in range(reads):
        memory.read()
    return int(np.bitwise_count(memory.stored.view(np.uint32) ^ written.view(np.uint32)).sum())


def row(label: str, *, sizing: str, reads: int, bits: int, most_attempts: int, seed: int) -> dict[str, Any]:
    """Return what one memory costs: joules for each data bit, seconds for each 64 of them, from its ledger."""
    scheme = SCHEMES[label]
    attempts = scheme.attempts or cheapest(scheme, sizing, most_attempts)
    cell, point, reading = solved(pulse_rate(scheme, attempts), sizing)
    held, written = random_words(bits, seed)
    memory = bridge.Memory(
        written.shape,
        format="fp32",
        point=point,
        reading=reading,
        policy=bridge.WritePolicy(attempts=attempts),
        protection="secded" if scheme.secded else "none",
        code_energy=CODE_ENERGY,
        words_at_once=WORD // WORD_BITS,
        exact_counts=True,
        initial=held,
        seed=child_seed(seed, "recipe_memories", list(SCHEMES).index(label)),
        name=label,
    )
    wrong_cells, ledger = used(memory, written, reads), memory.ledger
    code = sum(entry.joules("system") for entry in ledger if entry.source == "code_energy")
    cells_per_bit = math.prod(memory.cells_shape) / bits
    return {
        "sizing": sizing,
        "reads_per_write": reads,
        "scheme": label,
        "wrong_bits": scheme.wrong,
        "attempts": attempts,
        "pulse_error_rate": point.mean_error_rate,
        **{f"{name}_J": ledger.joules(scope) / bits for name, scope in SCOPES.items()},
        "code_J": code / bits,
        "latency_s": ledger.seconds * WORD / bits,
        "area_F2": cells_per_bit * cell.area_f2,
        **closed_form(cell, point, scheme, attempts=attempts, reads=reads),
        "cells_per_bit": cells_per_bit,
        "data_cells": bits,
        "wrong_cells": wrong_cells,
        "pulse_width_s": point.setting.pulse_width,
        "current_uA": max(point.setting.amplitudes) * 1e6,
        "transistor_width_m": cell.transistor.width,
        "cell_identity": cell.identity,
        "point_identity": point.identity,
    }


def ratios(rows: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Return all that is compared, "NAME.ratio_SCOPE", of the rows by scheme."""
    columns = {**{name: f"{name}_J" for name in SCOPES}, "latency": "latency_s", "area": "area_F2"}
    found = {
        f"{name}.ratio_{kind}": rows[ours][column] / rows[over][column]
        for name, (ours, over) in COMPARED.items()
        for kind, column in columns.items()
    }
    free = rows["SECDED"]["system_J"] - rows["SECDED"]["code_J"]
    return {**found, "SECDED free code.ratio_system": free / rows["unprotected"]["system_J"]}


def factor_two(
    *, sizing: str, reads_per_write: int, bits: int = 1 << 20, most_attempts: int = 20, seed: int = 0
) -> dict[str, Any]:
    """Return the energy, time and area of memories with 1e-9 wrong bits over those of one with 1e-3.

    Parameters
    ----------
    sizing : {"same cell", "same pulse"}
        A weaker write is a shorter pulse, or a smaller current through a narrower transistor.
    reads_per_write : int
        Times that the words are read after they were written once; 0: the write alone.
    bits : int
        Of each memory, a multiple of 64.
    most_attempts : int
        Of a retry.
    seed : int
        Of the words and of the write errors.

    Returns
    -------
    dict
        "SCHEME.ratio_junction", "SCHEME.ratio_with_driver", "SCHEME.ratio_system", "SCHEME.ratio_latency" and
        "SCHEME.ratio_area", each over the same of "unprotected"; those of "retry both" are of "retry" over "unprotected
        retry", and "SECDED free code.ratio_system" is without the energy of its code, an assumed constant. The attempts
        of both retries; the table "costs", a line for each scheme.

    Raises
    ------
    ValueError
        For an unknown sizing, or a number that is out of range.
    """
    checked_choice("sizing", sizing, SIZINGS)
    checked_whole("reads_per_write", reads_per_write, least=0)
    checked_whole("most_attempts", most_attempts, least=2)
    if checked_whole("bits", bits, least=WORD) % WORD:
        raise ArgumentError("bits", f"must be a multiple of {WORD}, the bits of an access, got {bits}.")
    given: dict[str, Any] = {"sizing": sizing, "reads": reads_per_write, "bits": bits, "most_attempts": most_attempts}
    rows = {label: row(label, **given, seed=seed) for label in SCHEMES}
    return {
        **ratios(rows),
        "retry.attempts": rows["retry"]["attempts"],
        "unprotected retry.attempts": rows["unprotected retry"]["attempts"],
        "tables": {"costs": list(rows.values())},
    }
