"""The result of a recipe: the trained network, its accuracies, its joules, as a table and as named values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bnn.recipes.recipe import Recipe
from bnn.recipes.tables import AMPLITUDES
from bridge.ledger import FREE_READS, SCOPES, Ledger
from bridge.write import OperatingPoint

if TYPE_CHECKING:
    from torch import nn

    from bnn.counting.accuracy import Accuracy
    from bnn.training.result import Divergence, Epoch, Stopped


DIVERGED = "training.diverged"  # 1 or 0


@dataclass(frozen=True)
class RecipeResult:
    """A recipe that was run.

    Attributes
    ----------
    recipe : Recipe
        As it was run.
    model : Module
        The trained network, in eval mode, with the memories of the last phase in its slots.
    history : tuple of Epoch
    points : mapping of str to OperatingPoint
        Of each memory.
    tests : mapping of str to Accuracy
        Of each test, by its name.
    ledger, ledger_in_sram : Ledger
        Every access to the memories during the training, and its cost; and with everything in SRAM.
    inferences : mapping of str to (Ledger, int)
        Of each test: the accesses of inferences, counted on the first test images, and how many these are.
    ended : Stopped, Divergence or None
        Why and where the training ended before its last epoch, if it did. After a divergence there are no tests.
    seconds, core_seconds : float
        Wall time and processor time of the training [s], of all parts if it was resumed.
    threads : int
        Of torch, in the training.
    already_finished : bool
        Whether the checkpoint was of the finished training, and nothing was trained now.
    files : tuple of Path
        The files written.
    """

    recipe: Recipe
    model: nn.Module
    history: tuple[Epoch, ...]
    points: Mapping[str, OperatingPoint]
    tests: Mapping[str, Accuracy]
    ledger: Ledger
    ledger_in_sram: Ledger
    inferences: Mapping[str, tuple[Ledger, int]]
    ended: Stopped | Divergence | None
    seconds: float
    core_seconds: float
    threads: int
    already_finished: bool
    files: tuple[Path, ...]

    def rows(self) -> list[dict[str, Any]]:
        """Return the table: a row for each test."""
        return [
            {
                "test": name,
                "accuracy": accuracy.mean,
                "low": _number(accuracy.low),
                "high": _number(accuracy.high),
                "spread": _number(accuracy.spread),
                "worst": float(accuracy.correct.min() / accuracy.images),
                "images": accuracy.images,
                "draws": accuracy.draws,
                "correct": " ".join(map(str, accuracy.correct)),
            }
            for name, accuracy in self.tests.items()
        ]

    def values(self) -> dict[str, Any]:
        """Return all numbers of the run by name, for the table of a study.

        "NAME.accuracy", ".low", ".high", ".spread", ".worst" of each test; "NAME.error_rate_0", ".error_rate_1",
        ".energy_0", ".energy_1", ".latency" of each memory, and of the setting that gave its rates, if they were not
        given as they are, "NAME.current_0", ".current_1" [A] or ".voltage_0", ".voltage_1" [V], and ".pulse_width" [s];
        "training.loss", "training.accuracy", "training.validation_accuracy" of the last epoch, "training.epochs" that
        were done, "training.diverged" (1 or 0); "training.joules_device", "_with_driver" and "_system" of the training,
        "_of_mram" those of the system that are of MRAM, its sensing and its code included, and "_in_sram" what it would
        take with all in SRAM; "NAME.joules_device", "_with_driver", "_system" of an inference under each test's
        memories. Where a price is missing, of a pulse without energy, of transistor and driver without a cell, of a
        read without a `ReadPoint`, the name ends in "_at_least".
        """
        found: dict[str, Any] = {}
        for row in self.rows():
            found |= {f"{row['test']}.{key}": row[key] for key in OF_TEST}
        for name, point in self.points.items():
            found |= {f"{name}.{key}": getattr(point, key) for key in OF_POINT}
            if point.setting is not None:
                found |= {f"{name}.{key}": getattr(point.setting, key) for key in of_setting(point.setting.drive)}
        if self.history:
            last = self.history[-1]
            found |= {"training.loss": last.loss, "training.accuracy": last.train_accuracy}
            if last.validation_accuracy is not None:
                found["training.validation_accuracy"] = last.validation_accuracy
        found["training.epochs"] = len(self.history)
        found[DIVERGED] = int(hasattr(self.ended, "message"))
        found |= _joules("training", self.ledger, 1)
        found["training.joules_in_sram"] = self.ledger_in_sram.joules("system")
        shared = {entry.memory for entry in self.ledger_in_sram}  # what no MRAM holds has the same names in both
        of_mram = Ledger([entry for entry in self.ledger if entry.memory not in shared])
        bound = "" if _priced(of_mram, "system") else AT_LEAST
        found[f"training.joules_of_mram{bound}"] = of_mram.joules("system")
        for name, (ledger, images) in self.inferences.items():
            found |= _joules(name, ledger, images)
        return found


AT_LEAST = "_at_least"  # ends the name of joules that are a lower bound
PULSE = re.compile(r"write [01] (turned|held)")
OF_TEST = ("accuracy", "low", "high", "spread", "worst")
OF_POINT = ("error_rate_0", "error_rate_1", "energy_0", "energy_1", "latency")


def of_setting(drive: str) -> tuple[str, ...]:
    """Return the names of the values of a write setting of currents or voltages."""
    return (f"{drive}_0", f"{drive}_1", "pulse_width")


def _joules(name: str, ledger: Ledger, runs: int) -> dict[str, float]:
    """Return the joules of one run in each scope; a lower bound is named so."""
    found = {}
    for scope in SCOPES:
        bound = "" if _priced(ledger, scope) else AT_LEAST
        found[f"{name}.joules_{scope}{bound}"] = ledger.joules(scope) / runs
    return found


def _priced(ledger: Ledger, scope: str) -> bool:
    """Whether every pulse and every read has a price."""
    entries = [entry for entry in ledger if entry.count]
    free = any(entry.source == FREE_READS for entry in entries)
    unpriced = any(PULSE.fullmatch(entry.event) and not entry.joules("device") for entry in entries)
    return ledger.known(scope) and not free and not unpriced


def value_names(recipe: Recipe) -> list[str]:
    """Return the names of the values that a run of a recipe can have, without running it."""
    from bnn.recipes.tests import tests_of

    memories = recipe.tables.get("memory", [])
    tests = [test.name for test in tests_of(recipe)]
    found = [f"{name}.{key}" for name in tests for key in OF_TEST]
    found += [f"{table['name']}.{key}" for table in memories for key in (*OF_POINT, *_setting_names(recipe, table))]
    found += ["training.loss", "training.accuracy", "training.epochs", DIVERGED, "training.joules_in_sram"]
    found += ["training.validation_accuracy"] if "validation" in recipe.tables["data"] else []
    joules = [f"{name}.joules_{scope}" for name in ("training", *tests) for scope in SCOPES]
    joules.append("training.joules_of_mram")
    return found + joules + [f"{name}{AT_LEAST}" for name in joules]


def _setting_names(recipe: Recipe, memory: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the values of a memory's setting, none if its rates are given; see `memories.point_of`."""
    drive = next((name.partition("_")[0] for name in AMPLITUDES if name in memory), None)
    if drive is None and "error_rate" in memory and "device" in recipe.tables:  # it is searched
        drive = memory.get("drive", "current")
    return () if drive is None else of_setting(drive)


def counted(accuracy: Accuracy) -> dict[str, Any]:
    """Return an accuracy as counts, with its interval; an end that is NaN becomes None."""
    return {
        "mean": accuracy.mean,
        "low": _number(accuracy.low),
        "high": _number(accuracy.high),
        "images": accuracy.images,
        "draws": accuracy.draws,
        "correct": accuracy.correct.tolist(),
    }


def _number(value: float) -> float | None:
    return None if value != value else value
