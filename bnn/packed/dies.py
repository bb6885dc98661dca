"""Accuracy of dies on packed bits: weights written once a die, activations for every image."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from bnn.counting.accuracy import Accuracy
from bnn.errors.dies import Dies as DiesOfMemory
from bnn.errors.keys import addressed_root
from bnn.errors.overwrite import OverwriteErrors
from bnn.errors.rates import Point, Rates, checked_error_rate, points_of_layers
from bnn.errors.uniforms import sample_keys
from bnn.packed.bit_errors import write_words
from bnn.packed.products import BinaryProduct, GatedProduct, SignedProduct, weight_shape
from bnn.packed.steps import Bits, Step
from mtjsim.checks import ArgumentError
from mtjsim.rng import child_seed

if TYPE_CHECKING:
    from bridge.dies.faults import Process

LARGEST = 2**30  # bytes of what is kept of all images
PRODUCTS = {"binary": BinaryProduct, "gated": GatedProduct, "signed": SignedProduct}
Errors = Point | Mapping[str, Point] | None  # of all layers, or by the layer's name
RatesOfLayers = Mapping[str, tuple[Any, Any]]
Write = Callable[[Step, Bits, NDArray[np.int64]], Bits]


def unwritten(step: Step, bits: Bits, samples: NDArray[np.int64]) -> Bits:
    """Return the bits as they are."""
    return bits


class Computes(Protocol):
    """A packed model, as far as dies need it."""

    steps: tuple[Step, ...]
    products: Mapping[int, Any]

    def run(
        self,
        images: Tensor,
        write: Write = ...,
        products: Mapping[int, Any] | None = ...,
        *,
        first: int = ...,
        start: Mapping[int, Any] | None = ...,
        keep: Sequence[int] = ...,
    ) -> Any:
        """Do the steps; see `PackedModel.run`."""


@dataclass(frozen=True)
class Dies:
    """The errors of dies.

    Parameters
    ----------
    written, weights : mapping
        (error_rate_0, error_rate_1) of the activations and of the weights, by layer.
    process : Process or None
    seed : int, >= 0
    """

    written: RatesOfLayers
    weights: RatesOfLayers
    process: Process | None
    seed: int

    def products(self, steps: Sequence[Step], die: int) -> dict[int, Any]:
        """Return the products of the layers whose weights err, with the weights of a die."""
        products = {}
        for i, step in enumerate(steps):
            if step.op in PRODUCTS and step.options["layer"] in self.weights:
                rows = step.arrays["weight"]
                shape = weight_shape(step)
                own = child_seed(self.seed, "evaluated_weights", step.options["slot"])
                keys = sample_keys(np.uint64(addressed_root(own)), 0, die, np.arange(len(rows)))
                cells = math.prod(shape[1:])
                p10, p01 = _fitting("weight_errors", step, self.weights, cells)
                if self.process is not None:
                    p10, p01 = _on_die(self.process, p10, p01, own, shape, die, rows=len(rows))
                products[i] = PRODUCTS[step.op](step, write_words(rows[:, np.newaxis], cells, keys, p01, p10)[:, 0])
        return products

    def writing(self, die: int) -> Write:
        """Return the function that writes activations on a die."""
        cells: dict[int, tuple[tuple[int, ...], Any]] = {}  # of the die, by slot: the same for all batches and calls

        def write(step: Step, bits: Bits, samples: NDArray[np.int64]) -> Bits:
            if step.options["layer"] not in self.written:
                return bits
            p10, p01 = _fitting("errors", step, self.written, bits.words.shape[1] * bits.channels)
            if self.process is None and not (np.any(p10) or np.any(p01)):
                return bits
            slot = step.options["slot"]
            own = child_seed(self.seed, "evaluated_activations", slot)
            if self.process is not None:
                if slot not in cells:
                    cells[slot] = bits.shape, _on_die(self.process, p10, p01, own, bits.shape, die, rows=1)
                shape, (p10, p01) = cells[slot]
                if shape != bits.shape:
                    rule = f"must have samples of one shape in layer {step.options['layer']!r}"
                    raise ArgumentError("images", f"{rule}, got {shape} and {bits.shape}: it is one memory.")
            root = addressed_root(own, call=step.options.get("call", 0))
            keys = sample_keys(np.uint64(root), 0, die, samples)
            return Bits(write_words(bits.words, bits.channels, keys, p01, p10), bits.channels, bits.shape)

        return write


def count_dies(
    model: Computes,
    cut: Callable[[], Iterable[Tensor]],
    labels: NDArray[np.int64],
    errors: Dies,
    dies: int,
    *,
    workers: int = 1,
    predictions: bool = False,
) -> Accuracy:
    """Count correct answers on dies 0, 1 ...; see `PackedModel.evaluate_dies`.

    Parameters
    ----------
    model : Computes
        A `PackedModel`.
    cut : callable
        ``cut()`` gives the images, batch by batch.
    labels : (n,) int64
    errors : Dies
    dies, workers : int, >= 1
    predictions : bool

    Raises
    ------
    FloatingPointError
        For logits that are not finite.
    """
    count = dies if errors.written or errors.weights else 1
    starts = _clean_starts(model, cut, errors, len(labels)) if count > 1 else None

    def answers(die: int) -> NDArray[np.int64]:
        products, write = {**model.products, **errors.products(model.steps, die)}, errors.writing(die)
        run, found, first = partial(model.run, write=write, products=products), [], 0
        for batch, start in starts() if starts else ((batch, None) for batch in cut()):
            logits = run(batch, first=first, start=start)
            if not logits.isfinite().all():
                raise FloatingPointError(f"the output is not finite for an image from number {first}.")
            found.append(logits.argmax(dim=1).numpy())
            first += len(batch)
        return np.concatenate(found)

    shared = bool(errors.weights) or errors.process is not None
    with ThreadPoolExecutor(workers) as threads:
        every = (threads.map if workers > 1 else map)(answers, range(count))
        return Accuracy.of(every, labels, predictions=predictions, shared_draws=shared, method="packed")


def _clean_starts(
    model: Computes, cut: Callable[[], Iterable[Tensor]], errors: Dies, images: int
) -> Callable[[], Iterable[tuple[Tensor, Mapping[int, Any]]]] | None:
    """Return the values of every batch that steps from the first one with errors on use: computed once for all dies.

    They are bits, and real values on the shortcuts of a residual network. An empty tensor is in place of the images.
    None, where every die starts with the images: if later steps use them too, or the values exceed `LARGEST`.
    """
    steps = model.steps
    by_op = {"write": errors.written, **dict.fromkeys(PRODUCTS, errors.weights)}
    erring = (i for i, step in enumerate(steps) if step.options.get("layer") in by_op.get(step.op, {}))
    first = next(erring, 0)
    needed = sorted({k for step in steps[first:] for k in step.inputs if k < first})
    if needed[0] < 0 or needed[-1] != first - 1:
        return None
    kept, size = [], 0
    for batch in cut():
        values = model.run(batch, keep=needed)
        size = size or sum(_bytes(value) for value in values.values()) * images // len(batch)
        if size > LARGEST:
            return None
        kept.append((batch.new_empty(len(batch), 0), values))
    return lambda: kept


def _bytes(value: Bits | Tensor) -> int:
    return value.words.nbytes if isinstance(value, Bits) else value.nbytes


def _on_die(
    process: Process, p10: float, p01: float, seed: int, shape: tuple[int, ...], die: int, *, rows: int
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return error_rate_0 and error_rate_1 of the cells of a die, (rows, cells of a row)."""
    rates = DiesOfMemory(process, Rates(p10, p01), seed).rates(shape, die)
    return rates[0].reshape(rows, -1), rates[1].reshape(rows, -1)


def _fitting(argument: str, step: Step, rates: RatesOfLayers, cells: int) -> tuple[Any, Any]:
    """Return the rates of a layer; ValueError if they are those of other cells."""
    layer = step.options["layer"]
    for rate in rates[layer]:
        if np.ndim(rate) and np.size(rate) != cells:
            rule = f"must have one rate, or one for each of the {cells} cells of layer {layer!r}, got {np.size(rate)}"
            raise ArgumentError(argument, f"{rule}. A mapping, name of the layer -> errors, gives each layer its own.")
    return rates[layer]


def rates_of_layers(argument: str, errors: Errors, layers: Sequence[str]) -> dict[str, tuple[Any, Any]]:
    """Return (error_rate_0, error_rate_1) of each layer that errs, arrays as (1, cells)."""
    if errors is None:
        return {}
    if not layers:
        raise ArgumentError(argument, "would touch nothing in this model: it has no such layers.")
    rates = {}
    for name, own in points_of_layers(argument, errors, layers).items():
        if isinstance(own, OverwriteErrors):
            rule = "must be independent errors on packed bits, got OverwriteErrors"
            raise ArgumentError(argument, f"{rule}. Use bnn.evaluate on the torch model.")
        both = [
            checked_error_rate(f"{argument}.{rate}", np.asarray(value, dtype=float))
            for rate, value in (("error_rate_0", own.error_rate_0), ("error_rate_1", own.error_rate_1))
        ]
        rates[name] = tuple(rate if isinstance(rate, float) else rate.numpy().reshape(1, -1) for rate in both)
    return rates  # type: ignore[return-value]
