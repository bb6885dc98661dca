"""A memory of bits on dies that are drawn from a process: each cell has its own error rates, faults included."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Union

import numpy as np

from bnn.errors.overwrite import OverwriteErrors
from bnn.errors.rates import HasRates, operating_point_of, rates_of_die
from bnn.errors.write_errors import WriteErrors
from mtjsim.checks import ArgumentError, checked_kind
from mtjsim.rng import child_seed

if TYPE_CHECKING:
    from bridge.dies.faults import Process

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Dies:
    """The dies of one memory in an evaluation.

    Parameters
    ----------
    process : Process
    point : HasRates
        Its two numbers are the rates of a working cell, unless the process has a population.
    seed : int, >= 0
        Of this memory in the evaluation.
    """

    process: "Process"
    point: HasRates
    seed: int

    def rates(self, shape: Shape, draw: int) -> tuple[np.ndarray, np.ndarray]:
        """Return error_rate_0 and error_rate_1 of each cell, (cells,) in C order, of die number `draw`."""
        die = self.process.die(shape, seed=child_seed(self.seed, "dies", draw))
        rates = rates_of_die(die, self.point)
        return rates[0], rates[1]

    def memory(self, shape: Shape, draw: int) -> WriteErrors:
        """Return the memory on die number `draw`."""
        rates = self.rates(shape, draw)
        return WriteErrors(error_rate_0=rates[0], error_rate_1=rates[1], seed=self.seed)


def check_process(process: Union["Process", None], **given: object) -> None:
    """Raise ArgumentError unless the errors, by argument, can be on the dies of a process."""
    if process is None:
        return
    from bridge.dies.faults import Process
    from bridge.dies.origin import require_dies_of_one_write

    checked_kind("process", process, Process, remedy="Make one with bridge.Process(short_rate=...).")
    if all(errors is None for errors in given.values()):
        remedy = f"Give {' or '.join(given)}: an operating point, or bnn.WriteErrors of rates 0."
        raise ArgumentError("process", f"would touch nothing: no memory is written. {remedy}")
    parts = {
        argument: list(errors.values()) if isinstance(errors, Mapping) else [errors]
        for argument, errors in given.items()
    }
    for argument, errors in ((argument, errors) for argument, every in parts.items() for errors in every):
        if isinstance(errors, (str, OverwriteErrors)):
            rule = f"must be an operating point or a WriteErrors where there is a process, got {errors!r}"
            raise ArgumentError(
                argument, f"{rule}. One die at a time: from_operating_point(point, die=process.die(...))."
            )
        if isinstance(errors, HasRates) and (np.ndim(errors.error_rate_0) or np.ndim(errors.error_rate_1)):
            rule = "must have one rate for each bit where there is a process, which gives every cell its own"
            raise ArgumentError(argument, f"{rule}. Leave out the process, or the rates of cells.")
        if (point := operating_point_of(errors)) is not None:
            require_dies_of_one_write(process, point)
