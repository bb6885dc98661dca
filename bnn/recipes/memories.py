"""The memories of a recipe: junction and cell, operating points, what is held where, phases, dies.

A [[memory]] has

    name              "activations" for what it holds, unless given
    holds             what of `bnn.MRAM.holds`, one name or a list
    layers            names or patterns of layers, for bits; all unless given
    one write         fields of `bridge.WriteSetting` (current_0, current_1, voltage, pulse_width ...), solved by
                      `bridge.operating_point`; or error_rate, a target for which `bridge.find_setting` finds the
                      cheapest setting, with its limits (pulse_width, max_latency ...); or error_rate_0 and
                      error_rate_1, which are used as they are (energy_0 and energy_1 [J] if there are any). Without a
                      [device] error_rate is used as it is, for both bits.
    temperature       300 K unless given
    inverted          whether a 1 is stored as P and a 0 as AP; false unless given. Rates, currents and voltages of a 0
                      and of a 1 stay those of the bit, whatever state it is stored as
    cell              fields of [cell] that differ
    read              fields of `bridge.ReadSetting`, for words
    all others        fields of `bridge.WordMemory` (errors, format, rounding, protection, policy ...) and of `bnn.MRAM`
                      (slots, gradient)
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import combinations
from typing import TYPE_CHECKING, Any

from bnn.recipes.declared import checked_table, made, names_of
from bnn.recipes.recipe import Recipe
from bnn.recipes.tables import AMPLITUDES, CELL, GIVEN, LIMITS, PROCESS, PULSE, TRANSISTOR, WORDS, WRITES, listed
from bridge.cell.cell import Cell
from bridge.cell.transistor import Transistor
from bridge.dies.faults import Process
from bridge.dies.spread import Spread
from bridge.dies.variability import Population
from bridge.memory.cells import PLAIN, READ_BEFORE_WRITE, WRITE_VERIFY_RETRY, WritePolicy
from bridge.memory.protection import Protection
from bridge.memory.read import ReadPoint, ReadSetting, read_point
from bridge.memory.sram import SRAM
from bridge.search.find import find_setting
from bridge.write import INVERTED, OperatingPoint, WriteSetting, operating_point
from mtjsim.checks import ArgumentError, checked_choice, checked_number
from mtjsim.device import MTJ

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer

    from bnn.training.phases import MRAM, Phase

POLICIES = {"plain": PLAIN, "read_before_write": READ_BEFORE_WRITE, "write_verify_retry": WRITE_VERIFY_RETRY}


def device_of(recipe: Recipe, *, memory: str | None = None) -> MTJ | Cell | None:
    """Return the junction of a recipe, or its cell, with what a memory changes of it; None without a [device]."""
    tables = recipe.tables
    own = {} if memory is None else dict(recipe.value(f"memory.{memory}").get("cell", {}))
    table = {**checked_table("cell", tables.get("cell", {}), CELL), **own}
    if "device" not in tables:
        if table:
            raise ArgumentError("cell", "must have a [device], the junction in it.")
        return None
    device = MTJ(**tables["device"])
    if not table:
        return device
    access = {name: table.pop(name) for name in TRANSISTOR if name in table}
    access.setdefault("node", "45nm_lop")
    transistor = made("cell", Transistor.of_node, access)
    return made("cell", Cell, {"device": device, "transistor": transistor, **table})


def point_of(recipe: Recipe, memory: str, changes: Mapping[str, Any] | None = None) -> OperatingPoint:
    """Return the operating point of a memory.

    Parameters
    ----------
    recipe : Recipe
    memory : str
        Its name.
    changes : mapping, optional
        Fields in place of its own; a field that says how it is written replaces all of these.

    Raises
    ------
    ValueError
        If it says in several ways how it is written, or in none; for a setting that the junction or the cell does not
        allow.
    """
    block = changed(recipe.value(f"memory.{memory}"), changes or {})
    where, device = f"memory.{memory}", device_of(recipe, memory=memory)
    if not block.get("inverted"):
        return _solved(where, device, _frozen(block))
    if device is None:
        raise ArgumentError(f"{where}.inverted", "must be false without a [device]: rates that are given are of bits.")
    return _solved(where, device, _frozen(_of_states(block))).with_inverted_bits()


def _of_states(block: Mapping[str, Any]) -> dict[str, Any]:
    """Return a [[memory]] of inverted bits as that of their states: what it says of a 0 is of AP, and of a 1 of P."""
    other = {"_0": "_1", "_1": "_0"}
    found = {
        (name[:-2] + other[name[-2:]] if name in WRITES and name[-2:] in other else name): block[name] for name in block
    }
    if isinstance(rates := found.get("error_rate"), list):
        found["error_rate"] = rates[::-1]
    return found


def changed(block: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return a [[memory]] with changes; a field that says how it is written replaces all of these."""
    dropped: tuple[str, ...] = ()
    if any(name in changes for name in WRITES):
        dropped = (*WRITES, *LIMITS, *(PULSE if any(name in changes for name in GIVEN) else ()))
    return {**{name: value for name, value in block.items() if name not in dropped}, **changes}


def _frozen(block: Mapping[str, Any]) -> str:
    kept = (*WRITES, *PULSE, *LIMITS, "temperature")
    return json.dumps({name: value for name, value in block.items() if name in kept}, sort_keys=True)


@lru_cache(maxsize=4096)
def _solved(where: str, device: MTJ | Cell | None, frozen: str) -> OperatingPoint:
    block = json.loads(frozen)
    ways = {
        "an amplitude": [name for name in AMPLITUDES if name in block],
        "error_rate": [name for name in ("error_rate",) if name in block],
        "error_rate_0 and error_rate_1": [name for name in GIVEN if name in block],
    }
    used = [way for way, names in ways.items() if names]
    if len(used) != 1:
        got = ", ".join(name for names in ways.values() for name in names)
        raise ArgumentError(where, f"must say in one way how it is written, got {got}.")
    temperature = {name: block[name] for name in ("temperature",) if name in block}
    pulse = {name: block[name] for name in PULSE if name in block}
    limits = {name: block[name] for name in LIMITS if name in block}
    if used[0] == "error_rate" and device is not None:
        rate = block["error_rate"]
        target = tuple(rate) if isinstance(rate, list) else rate
        return made(where, find_setting, {"device": device, "error_rate": target, **pulse, **limits, **temperature})
    if limits:
        rule = "is a limit of a search: give error_rate, the target"
        raise ArgumentError(f"{where}.{next(iter(limits))}", f"{rule}, and a [device].")
    if used[0] == "an amplitude":
        if device is None:
            rule = "needs a [device], whose junction it writes"
            raise ArgumentError(f"{where}.{ways[used[0]][0]}", f"{rule}; or give error_rate_0 and error_rate_1.")
        amplitudes = {name: block[name] for name in ways[used[0]]}
        setting = made(where, WriteSetting, {**amplitudes, **pulse})
        return made(where, operating_point, {"device": device, "setting": setting, **_temperature(where, block)})
    if pulse:
        rule = "must be left out where rates are given: they are those of no pulse in particular"
        raise ArgumentError(f"{where}.{next(iter(pulse))}", f"{rule}.")
    rates = {name: block[name] for name in GIVEN if name in block}
    if used[0] == "error_rate":
        rates = {"error_rate_0": block["error_rate"], "error_rate_1": block["error_rate"]}
    return made(where, OperatingPoint.of_rates, {**rates, **temperature, "source": "in a recipe"})


def _temperature(where: str, block: Mapping[str, Any]) -> dict[str, float]:
    """Return the temperature of a [[memory]], if it is given; a range is for a search alone."""
    given = {name: block[name] for name in ("temperature",) if name in block}
    return {name: checked_number(f"{where}.{name}", at, "K", zero_allowed=False) for name, at in given.items()}


def mram_of(recipe: Recipe, memory: str, *, seed: int, changes: Mapping[str, Any] | None = None) -> MRAM:
    """Return the declaration of a memory, with its operating point solved."""
    from bnn.training.parameter_memory import declared_words
    from bnn.training.phases import MRAM

    where = f"memory.{memory}"
    block = changed(recipe.value(where), changes or {})
    words = {name: block[name] for name in WORDS if name in block}
    if isinstance(words.get("policy"), str):
        words["policy"] = POLICIES[checked_choice(f"{where}.policy", words["policy"], POLICIES)]
    elif isinstance(words.get("policy"), Mapping):
        words["policy"] = made(f"{where}.policy", WritePolicy, words["policy"])
    if isinstance(words.get("protection"), Mapping):
        words["protection"] = made(f"{where}.protection", Protection, words["protection"])
    if "read" in block:
        device, setting = device_of(recipe, memory=memory), made(f"{where}.read", ReadSetting, block["read"])
        if device is None:
            raise ArgumentError(f"{where}.read", "needs a [device], whose junction is read.")
        reading = _read(where, device, setting, tuple(_temperature(where, block).items()))
        words["reading"] = reading.with_inverted_bits() if block.get("inverted") else reading
    own: dict[str, Any] = {name: block[name] for name in ("slots", "gradient") if name in block}
    own |= {name: tuple(block[name]) for name in ("holds", "layers") if name in block}
    fields = {"point": point_of(recipe, memory, changes), **words}

    def declared() -> MRAM:
        return MRAM(words=declared_words(None, fields, own["holds"]), seed=seed, **own)

    return made(where, declared, {})


@lru_cache(maxsize=256)
def _read(where: str, device: MTJ | Cell, setting: ReadSetting, at: tuple[tuple[str, float], ...]) -> ReadPoint:
    return made(where, read_point, {"device": device, "setting": setting, **dict(at)})


def sram_of(recipe: Recipe, where: str = "sram", table: Any = None) -> SRAM:
    """Return the memory without errors, of what no MRAM holds: of the recipe, or of a table in its place."""
    names = names_of(SRAM, without=("shape", "format", "name"))
    return made(where, SRAM, checked_table(where, recipe.tables.get("sram", {}) if table is None else table, names))


def phases_of(recipe: Recipe, mrams: Mapping[str, MRAM]) -> tuple[Phase, ...]:
    """Return the phases of the training: those of the recipe, or one with all memories."""
    from bnn.training.phases import Phase

    found = []
    for number, table in enumerate(recipe.tables.get("phase", [{"memory": list(mrams)}])):
        where = f"phase.{number}"
        fields = checked_table(where, table, names_of(Phase))
        sram = sram_of(recipe, f"{where}.sram", fields["sram"]) if "sram" in fields else sram_of(recipe)
        memory = tuple(mrams[name] for name in listed(fields.pop("memory"))) or sram
        found.append(made(where, Phase, {**fields, "memory": memory, "sram": sram}))
    return tuple(found)


def names_in_phase(recipe: Recipe, number: int) -> list[str]:
    """Return the names of the memories of a phase."""
    every = [table["name"] for table in recipe.tables.get("memory", [])]
    phases = recipe.tables.get("phase")
    names = every if phases is None else phases[number].get("memory", [])
    return listed(names)


@contextmanager
def _named(where: str) -> Iterator[None]:
    """Raise an ArgumentError of the block by its place in the recipe."""
    try:
        yield
    except ArgumentError as error:
        raise ArgumentError(f"{where}.{error.argument}", error.problem) from None


def check_layers_of(model: nn.Module, mrams: Mapping[str, MRAM]) -> None:
    """ArgumentError, by the name of the memory, for layers that the model lacks or that two of the memories hold."""
    from bnn.training.phase_memories import check_layers

    for name, mram in mrams.items():
        with _named(f"memory.{name}"):
            check_layers(model, [mram])
    for first, second in combinations(mrams, 2):
        try:
            check_layers(model, [mrams[first], mrams[second]])
        except ArgumentError as error:
            problem = f"{error.problem} The other one is memory.{first}."
            raise ArgumentError(f"memory.{second}.{error.argument}", problem) from None


def check_memories(
    recipe: Recipe,
    model: nn.Module,
    optimizers: Sequence[Optimizer],
    mrams: Mapping[str, MRAM],
    phases: Sequence[Phase],
) -> None:
    """ValueError, by the place in the recipe, unless model and optimizers provide what each phase needs."""
    from bnn.training.parameter_memory import planned
    from bnn.training.phase_memories import check_holds, check_reestimate

    for number, phase in enumerate(phases):
        own = {name: mrams[name] for name in names_in_phase(recipe, number)}
        check_layers_of(model, own)
        for name, mram in own.items():
            with _named(f"memory.{name}"):
                planned(model, mram.words, mram.holds)
                check_holds(model, optimizers, mram)
        with _named(f"phase.{number}"):
            check_reestimate(model, phase)


def check_process(recipe: Recipe) -> None:
    """ArgumentError for a wrong field of [process] or of its spread, as far as they need no memory."""
    table = dict(recipe.tables.get("process", {}))
    spread = table.pop("spread", None)
    made("process", Process, checked_table("process", table, PROCESS))
    if spread is not None:
        made("process.spread", Spread, checked_table("process.spread", spread, names_of(Spread)))


def process_of(recipe: Recipe, memory: str, point: OperatingPoint) -> Process | None:
    """Return the process of the dies of a memory: its faults, and the spread around its cell; None without [process].

    Raises
    ------
    ValueError
        For a spread without a [device] and a setting, and as `bridge.Process`.
    """
    table = dict(recipe.tables.get("process", {}))
    if not table:
        return None
    if point.device_identity.endswith(INVERTED):
        rule = "must be false on dies of [process], whose faults and spread are those of bits as they are"
        raise ArgumentError(f"memory.{memory}.inverted", f"{rule}.")
    spread = table.pop("spread", None)
    fields = checked_table("process", table, PROCESS)
    if spread is not None:
        around = made("process.spread", Spread, checked_table("process.spread", spread, names_of(Spread)))
        device = device_of(recipe, memory=memory)
        if device is None or point.setting is None:
            raise ArgumentError("process.spread", f"needs a [device], and a setting of memory.{memory} to write it.")
        given = {"device": device, "spread": around, "setting": point.setting, "temperature": point.temperature}
        fields["population"] = made("process", Population, given)
    return made("process", Process, fields)
