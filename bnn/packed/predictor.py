"""The packed model: predictions, accuracy of dies with write errors, and its file."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bnn.data.labelled import Labelled, labelled, unlabelled
from bnn.errors.keys import addressed_root
from bnn.errors.rates import HasRates, checked_error_rate
from bnn.errors.uniforms import sample_keys
from bnn.evaluation.accuracy import Accuracy
from bnn.evaluation.dies import Dies, check_process
from bnn.evaluation.logits import checked_logits
from bnn.packed.bit_errors import write_words
from bnn.packed.files import digest_of, load_steps, save_steps
from bnn.packed.products import BinaryProduct, SignedProduct
from bnn.packed.steps import FLOAT, Bits, Step, packed_signs, run_float, unpacked
from bnn.packed.structure import check_steps
from mtjsim.checks import ArgumentError, Suggesting, checked_whole
from mtjsim.rng import checked_seed, child_seed

if TYPE_CHECKING:
    from bridge.dies.faults import Process

PRODUCTS = {"binary": BinaryProduct, "signed": SignedProduct}
Errors = HasRates | Mapping[str, HasRates] | None  # of all layers, or by the layer's name
Write = Callable[[Step, Bits, NDArray[np.int64]], Bits]


class PackedModel(Suggesting):
    """A model on packed bits, from `pack` or `load_packed`; it computes on the CPU.

    Parameters
    ----------
    steps : sequence of Step
        In the order in which they are done; the last one gives the logits.

    Raises
    ------
    ValueError
        For steps, arrays or options that do not fit each other: all is checked, see `bnn/packed/structure.py`.

    Notes
    -----
    Safe to use from several threads: nothing in it changes.
    """

    def __init__(self, steps: Sequence[Step]) -> None:
        self.steps = tuple(steps)
        check_steps(self.steps)
        self._products = {
            i: PRODUCTS[step.op](step, step.arrays["weight"])
            for i, step in enumerate(self.steps)
            if step.op in PRODUCTS
        }
        last = {source: i for i, step in enumerate(self.steps) for source in step.inputs}
        self._over = [[s for s, user in last.items() if user == i and s >= 0] for i in range(len(self.steps))]

    @property
    def activation_layers(self) -> list[str]:
        """Layers whose input bits are written to a memory, in the order of their slots in the model."""
        return self._layers("write")

    @property
    def weight_layers(self) -> list[str]:
        """Layers with binary weights, in the order of their slots in the model."""
        return self._layers(*PRODUCTS)

    @property
    def bytes(self) -> int:
        """Size of weights, thresholds and float parameters."""
        return sum(array.nbytes for step in self.steps for array in step.arrays.values())

    @property
    def identity(self) -> str:
        """SHA-256 (hex) of all steps: equal for models that compute the same in the same way."""
        return digest_of(self.steps)

    def _layers(self, *ops: str) -> list[str]:
        named = {step.options["slot"]: step.options["layer"] for step in self.steps if step.op in ops}
        return [named[slot] for slot in sorted(named)]

    def __repr__(self) -> str:
        folded = sum("threshold" in step.arrays for step in self.steps)
        return f"PackedModel({len(self.weight_layers)} binary layers, {folded} of them folded, {self.bytes} bytes)"

    # ---- predicting --------------------------------------------------------------------------------------------------

    def logits(self, images: Tensor | NDArray[Any], *, batch_size: int = 1024) -> NDArray[np.float32]:
        """Return the outputs of the model, without errors.

        Parameters
        ----------
        images : array or Tensor, (n, ...)
            As for the model, finite. Or labelled images, as for `evaluate_dies`, without a use of their labels.
        batch_size : int, >= 1

        Returns
        -------
        ndarray of float32, (n, classes)

        Raises
        ------
        ValueError
            For images that do not fit the model or are not finite.
        """
        batches = _batches(images, batch_size)
        return np.concatenate([self._run(batch, _unwritten, self._products).numpy() for batch in batches])

    def predict(self, images: Tensor | NDArray[Any], *, batch_size: int = 1024) -> NDArray[np.int64]:
        """Return the class of each image, (n,): that of the largest logit, the first of equal ones, as torch does."""
        return torch.from_numpy(self.logits(images, batch_size=batch_size)).argmax(dim=1).numpy()

    def evaluate_dies(
        self,
        data: Labelled,
        *,
        errors: Errors = None,
        weight_errors: Errors = None,
        process: Process | None = None,
        dies: int = 36,
        seed: int = 0,
        batch_size: int = 1024,
        workers: int = 1,
    ) -> Accuracy:
        """Count correct answers on several dies: the weights of each written once, the activations of every image.

        Parameters
        ----------
        data : pair (images, labels), or others as for `bnn.evaluate`
        errors, weight_errors : operating point, WriteErrors, dict or None
            Errors of activations and weights, independent: anything with `error_rate_0` and `error_rate_1`, numbers or
            one for each cell of a sample or filter. A dict, name of the layer -> such, for some layers only. None: no
            errors.
        process : Process, optional
            `bridge.Process` of the cells in which the errors are: die k is drawn from it, one array a memory, with its
            faults (shorts, stuck cells ...) and its spread. None: every cell has the given rates, and dies differ in
            the draws of the errors alone.
        dies : int, >= 1
            Without any errors, one die is made.
        seed : int, >= 0
        batch_size : int, >= 1
            Images at a time. The errors do not depend on it.
        workers : int, >= 1
            Threads, each with one die at a time. The errors do not depend on it.

        Returns
        -------
        Accuracy
            Die d is draw d.

        Raises
        ------
        ValueError
            For errors that would touch nothing, rates outside [0, 1] or of other cells, images that do not fit, numbers
            out of range.

        Notes
        -----
        Bit for bit the errors of `bnn.evaluate` for the same seed, die d for draw d: the same counts and intervals.
        """
        checked_seed(seed)
        checked_whole("dies", dies, least=1)
        checked_whole("workers", workers, least=1)
        for name, given in (("errors", errors), ("weight_errors", weight_errors)):
            for own in given.values() if isinstance(given, Mapping) else ():
                check_process(process, **{name: own})
        check_process(process, errors=errors, weight_errors=weight_errors)
        written = _rates("errors", errors, self.activation_layers)
        weights = _rates("weight_errors", weight_errors, self.weight_layers)
        checked = labelled("data", data)
        batches, labels = _batches(checked.images, batch_size), checked.labels
        checked_logits(self._run(batches[0][:1], _unwritten, self._products), batches[0][:1], torch.from_numpy(labels))
        starts = self._clean_starts(batches, written, weights)

        def right(die: int) -> NDArray[np.bool_]:
            products = self._products | self._written_weights(weights, seed, die, process)
            write = _writing(written, seed, die, process)
            answers, first = [], 0
            for batch, start in zip(batches, starts, strict=True):
                logits = self._run(batch, write, products, first=first, start=start)
                answers.append(logits.argmax(dim=1).numpy())
                first += len(batch)
            return np.concatenate(answers) == labels

        if not written and not weights:
            dies = 1
        with ThreadPoolExecutor(workers) as threads:
            counts = np.stack(list(threads.map(right, range(dies)) if workers > 1 else map(right, range(dies))))
        return Accuracy(counts.sum(axis=1), counts.sum(axis=0), shared_draws=bool(weights) or process is not None)

    def _run(
        self,
        images: Tensor,
        write: Write,
        products: Mapping[int, Any],
        *,
        first: int = 0,
        start: Mapping[int, Bits] | None = None,
        stop: int | None = None,
    ) -> Any:
        """Do the steps for images number `first` and following, from the bits in `start`, up to step `stop`."""
        values: dict[int, Any] = {-1: images, **(start or {})}
        samples = np.arange(first, first + len(images))
        with torch.no_grad():
            for i, step in enumerate(self.steps):
                if i in values or (start and i < max(start)):
                    continue
                try:
                    values[i] = self._do(i, step, [values[k] for k in step.inputs], write, products, samples)
                except (RuntimeError, ValueError, IndexError) as error:
                    if step.op == "write":  # the rates do not fit, rather than the images
                        raise
                    found = f"samples of shape {tuple(images.shape[1:])}: {str(error).splitlines()[0]}"
                    raise ArgumentError("images", f"must fit the model, got {found}") from None
                if i == stop:
                    return values[i]
                for over in self._over[i]:
                    values.pop(over, None)
        return values[len(self.steps) - 1]

    def _do(
        self, i: int, step: Step, values: list[Any], write: Write, products: Mapping[int, Any], samples: Any
    ) -> Any:
        if step.op in FLOAT:
            return run_float(step, *values)
        if step.op in PRODUCTS:
            return products[i](*values)
        if step.op == "write":
            return write(step, values[0], samples)
        return packed_signs(*values) if step.op == "sign" else unpacked(*values)

    def _clean_starts(self, batches: Sequence[Tensor], written: Any, weights: Any) -> list[dict[int, Bits]]:
        """Bits of every batch before the first step with errors: the same on every die, so computed once.

        Only bits are kept. If later steps need a float value too, every die starts with the images.
        """
        erring = [
            i
            for i, step in enumerate(self.steps)
            if step.options.get("layer") in (written if step.op == "write" else weights if step.op in PRODUCTS else {})
        ]
        stop = (erring[0] if erring else len(self.steps)) - 1
        needed = {k for step in self.steps[stop + 1 :] for k in step.inputs if k <= stop}
        if needed != {stop} or stop < 0 or self.steps[stop].op in (*FLOAT, "signed", "unpack"):
            return [{} for _ in batches]
        if self.steps[stop].op == "binary" and "threshold" not in self.steps[stop].arrays:
            return [{} for _ in batches]
        return [{stop: self._run(batch, _unwritten, self._products, stop=stop)} for batch in batches]

    def _written_weights(
        self, rates: Mapping[str, Any], seed: int, die: int, process: Process | None
    ) -> dict[int, Any]:
        """Products of the layers whose weights err, with the weights of this die."""
        products = {}
        for i, step in enumerate(self.steps):
            if step.op in PRODUCTS and step.options["layer"] in rates:
                rows = step.arrays["weight"]
                shape, own = tuple(step.options["shape"]), child_seed(seed, "evaluated_weights", step.options["slot"])
                keys = sample_keys(np.uint64(addressed_root(own)), 0, die, np.arange(len(rows)))
                cells = math.prod(shape[1:])
                p10, p01 = _fitting("weight_errors", step, rates, cells)
                if process is not None:
                    p10, p01 = _on_die(process, p10, p01, own, shape, die, rows=len(rows))
                products[i] = PRODUCTS[step.op](step, write_words(rows[:, np.newaxis], cells, keys, p01, p10)[:, 0])
        return products

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to a file, whole or not at all; `load_packed` reads it."""
        save_steps(self.steps, path)


def load_packed(path: str | os.PathLike[str]) -> PackedModel:
    """Load a model from a file of `PackedModel.save`.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is damaged, was changed, or is not a packed model; if it unpacks to more than 1 GiB and more than its own
        size (larger models are saved uncompressed).
    """
    try:
        return PackedModel(load_steps(path))
    except ArgumentError as error:
        if error.argument == "path":
            raise
        raise ArgumentError("path", f"must be a packed model; got {str(path)!r} ({error}).") from None


def _unwritten(step: Step, bits: Bits, samples: NDArray[np.int64]) -> Bits:
    return bits


def _on_die(
    process: Process, p10: float, p01: float, seed: int, shape: tuple[int, ...], die: int, *, rows: int
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return error_rate_0 and error_rate_1 of the cells of a die, (rows, cells of a row)."""
    point = SimpleNamespace(error_rate_0=p10, error_rate_1=p01)
    rates = Dies(process, point, seed).rates(shape, die)
    return rates[0].reshape(rows, -1), rates[1].reshape(rows, -1)


def _writing(rates: Mapping[str, Any], seed: int, die: int, process: Process | None) -> Write:
    """Return the function that writes activations on a die."""
    cells: dict[int, tuple[tuple[int, ...], Any]] = {}  # of the die, by slot: the same for all batches and calls

    def write(step: Step, bits: Bits, samples: NDArray[np.int64]) -> Bits:
        if step.options["layer"] not in rates:
            return bits
        p10, p01 = _fitting("errors", step, rates, bits.words.shape[1] * bits.channels)
        own = child_seed(seed, "evaluated_activations", step.options["slot"])
        if process is not None:
            slot = step.options["slot"]
            if slot not in cells:
                cells[slot] = bits.shape, _on_die(process, p10, p01, own, bits.shape, die, rows=1)
            shape, (p10, p01) = cells[slot]
            if shape != bits.shape:
                rule = (
                    f"must have samples of one shape in layer {step.options['layer']!r}, got {shape} and {bits.shape}"
                )
                raise ArgumentError("images", f"{rule}: it is one memory.")
        root = addressed_root(own, call=step.options.get("call", 0))
        keys = sample_keys(np.uint64(root), 0, die, samples)
        return Bits(write_words(bits.words, bits.channels, keys, p01, p10), bits.channels, bits.shape)

    return write


def _fitting(argument: str, step: Step, rates: Mapping[str, Any], cells: int) -> tuple[Any, Any]:
    """Return the rates of a layer; ValueError if they are those of other cells."""
    layer = step.options["layer"]
    for rate in rates[layer]:
        if np.ndim(rate) and np.size(rate) != cells:
            rule = f"must have one rate, or one for each of the {cells} cells of layer {layer!r}, got {np.size(rate)}"
            raise ArgumentError(argument, f"{rule}. A dict, name of the layer -> errors, gives each layer its own.")
    return rates[layer]


def _batches(images: Any, batch_size: int) -> list[Tensor]:
    checked_whole("batch_size", batch_size, least=1)
    array = images if hasattr(images, "shape") else unlabelled("images", images)
    x = array if isinstance(array, Tensor) else torch.tensor(array)  # a copy, also of a read-only array
    if not x.is_floating_point() or x.dim() < 2 or len(x) == 0:
        found = f"{x.dtype} of {tuple(x.shape)}"
        remedy = "Those of a data set are images.scaled()."
        raise ArgumentError("images", f"must be floating point, (n, ...), at least one; got {found}. {remedy}")
    x = x.detach().to("cpu", torch.float32)
    if not bool(x.isfinite().all()):
        raise ArgumentError("images", "must be finite: NaN and infinity have no bit.")
    return list(x.split(batch_size))


def _rates(argument: str, errors: Errors, layers: Sequence[str]) -> dict[str, tuple[Any, Any]]:
    """Return (error_rate_0, error_rate_1) of each layer that errs."""
    if errors is None:
        return {}
    by_layer: Mapping[str, Any] = errors if isinstance(errors, Mapping) else dict.fromkeys(layers, errors)
    if not by_layer or (unknown := [name for name in by_layer if name not in layers]):
        which = f", which has no layer {unknown[0]!r}" if by_layer else ""
        raise ArgumentError(argument, f"would touch nothing in this model{which}: its layers are {list(layers)}.")
    rates = {}
    for name, own in by_layer.items():
        if not isinstance(own, HasRates):
            raise ArgumentError(argument, f"must have error_rate_0 and error_rate_1, got {own!r}.")
        both = [
            checked_error_rate(f"{argument}.{rate}", np.asarray(value, dtype=float))
            for rate, value in (("error_rate_0", own.error_rate_0), ("error_rate_1", own.error_rate_1))
        ]
        rates[name] = tuple(rate if isinstance(rate, float) else rate.numpy().reshape(1, -1) for rate in both)
    return rates  # type: ignore[return-value]
