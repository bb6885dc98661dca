"""Error rates of bits: of all cells or of each, checked, fitted to a sample, and those of a die."""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from bridge.dies.origin import require_one_write
from bridge.write import OperatingPoint
from mtjsim.checks import ArgumentError

if TYPE_CHECKING:
    from bridge.dies.die import Die


@runtime_checkable
class HasRates(Protocol):
    """An operating point, a memory of bits, or anything else with two error rates."""

    @property
    def error_rate_0(self) -> Any:
        """Probability that a written 0 ends as 1."""

    @property
    def error_rate_1(self) -> Any:
        """Probability that a written 1 ends as 0."""


@runtime_checkable
class HasEnergies(HasRates, Protocol):
    """An operating point, or anything else that also has the energies of a write."""

    @property
    def energies(self) -> Any:
        """Joules by part, each a (2, 2) array [bit, kept]."""

    @property
    def identity(self) -> str:
        """Hash of the declaration."""


@dataclass(frozen=True)
class Rates:
    """Two error rates and no more of an operating point; where a point is taken, a pair of numbers is such."""

    error_rate_0: float
    error_rate_1: float


Point = HasRates | tuple[float, float]  # or a pair (error_rate_0, error_rate_1)


def point_of(argument: str, given: Any, *, rule: str = "must have error_rate_0 and error_rate_1") -> HasRates:
    """Return a point, made of a pair (error_rate_0, error_rate_1) of numbers if necessary; ArgumentError otherwise."""
    if isinstance(given, tuple) and len(given) == 2:
        names = ("error_rate_0", "error_rate_1")
        rates = [checked_error_rate(f"{argument}.{name}", rate) for name, rate in zip(names, given, strict=True)]
        if all(isinstance(rate, float) for rate in rates):
            return Rates(*rates)
    if isinstance(given, HasRates):
        return given
    remedy = "A pair (error_rate_0, error_rate_1) is of two numbers; a mapping is name of the layer -> point"
    raise ArgumentError(argument, f"{rule}, got {given!r}. {remedy}.")


def points_of_layers(argument: str, given: Any, layers: Sequence[str], **options: str) -> dict[str, HasRates]:
    """Return the point of each layer that errs: one of all `layers`, or those of a mapping, name -> point."""
    if not isinstance(given, Mapping):
        return dict.fromkeys(layers, point_of(argument, given, **options))
    if not given or (unknown := [name for name in given if name not in layers]):
        which = f", which has no layer {unknown[0]!r}" if given else ""
        raise ArgumentError(argument, f"would touch nothing in this model{which}: its layers are {list(layers)}.")
    return {name: point_of(f"{argument}[{name!r}]", own, **options) for name, own in given.items()}


def checked_error_rate(name: str, rate: Any) -> Any:
    """Return a rate as a float, or those of cells as a float64 tensor on the CPU; ValueError unless in [0, 1]."""
    if isinstance(rate, (Tensor, np.ndarray)) and rate.ndim > 0:
        cells = torch.as_tensor(rate).detach().to("cpu", torch.float64, copy=True)
        outside = cells[~((cells >= 0.0) & (cells <= 1.0))]
        if cells.numel() > 0 and len(outside) == 0:
            return cells
        found = f"{outside[0]:g} in a cell" if len(outside) else "no cell"
    else:
        number = isinstance(rate, (int, float, np.number, Tensor, np.ndarray)) and not isinstance(rate, bool)
        if number and 0.0 <= rate <= 1.0:  # NaN: false
            return float(rate)
        found = f"{rate}"
    raise ArgumentError(name, f"must be in [0, 1], got {found}: rates are probabilities, not percent.")


def fitted(name: str, values: Tensor, sample: torch.Size) -> Tensor:
    """Return values of cells as (s, cells); ValueError unless they are for samples of shape `sample`."""
    cells, flat = sample.numel(), values.dim() == 1
    if not (values.numel() % cells == 0 if flat else values.shape in (sample, (values.shape[0], *sample))):
        rule = f"must have a value for each cell of a sample of shape {tuple(sample)}, got shape {tuple(values.shape)}"
        raise ArgumentError(name, f"{rule}. Draw the die, or the values, for that shape.")
    return values.reshape(-1, cells)


def rates_from(rates: list[Any], start: int) -> list[Any]:
    """Return rates for rows number `start` and following: those of several samples are used in turn."""
    return [rate if isinstance(rate, float) else torch.roll(rate, -(start % len(rate)), 0) for rate in rates]


def as_arrays(rates: list[Any]) -> list[Any]:
    """Return rates for the kernels."""
    return [rate if isinstance(rate, float) else rate.numpy() for rate in rates]


def operating_point_of(errors: object) -> OperatingPoint | None:
    """Return an operating point, or the one that a memory of bits was made from; None if there is none."""
    found = errors if isinstance(errors, OperatingPoint) else getattr(errors, "point", None)
    return found if isinstance(found, OperatingPoint) else None


def rates_of_die(die: "Die", point: HasRates) -> np.ndarray:
    """Error rates (2, cells) by bit and cell: of the die's cells, or of the point if the die has no population.

    Weak cells are included; a cell that always reads as b has the rate 0 for b and 1 for the other bit. ArgumentError
    for a die that was drawn for other cells or another write than the point's.
    """
    if (solved := operating_point_of(point)) is not None:
        require_one_write(die, solved)
    if die.error_rates is not None:
        rates = die.error_rates.copy()
    else:
        rates = np.repeat([[point.error_rate_0], [point.error_rate_1]], die.size, axis=1)
        where, weak = die.weak_error_rates(point.error_rate_0, point.error_rate_1)
        rates[:, where] = weak
    where, bits = die.fixed_cells
    rates[bits, where], rates[1 - bits, where] = 0.0, 1.0
    return rates


def shown_rate(rate: Any) -> str:
    """Show a rate, or shape, mean and check sum of those of cells."""
    if isinstance(rate, float):
        return f"{rate}"
    return f"{tuple(rate.shape)} of mean {rate.mean():.3g} ({zlib.crc32(rate.numpy().tobytes()):08x})"
