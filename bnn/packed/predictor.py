"""The packed model: predictions, accuracy of dies with write errors, and its file."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bnn.counting.accuracy import Accuracy
from bnn.counting.logits import checked_logits
from bnn.data.image_files import ImageFiles
from bnn.data.labelled import Labelled, labelled, unlabelled
from bnn.errors.dies import check_process
from bnn.packed.dies import PRODUCTS, Dies, Errors, Write, count_dies, rates_of_layers, unwritten
from bnn.packed.files import digest_of, load_steps, save_steps
from bnn.packed.steps import FLOAT, Step, packed_signs, packed_ternary, run_float, unpacked, unpacked_ternary
from bnn.packed.structure import check_steps
from mtjsim.checks import ArgumentError, Suggesting, checked_whole
from mtjsim.rng import checked_seed

if TYPE_CHECKING:
    from bridge.dies.faults import Process


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
        self.products: Mapping[int, Any] = {
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
        return np.concatenate([self.run(batch).numpy() for batch in batches])

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
        predictions: bool = False,
    ) -> Accuracy:
        """Count correct answers on several dies: the weights of each written once, the activations of every image.

        Parameters
        ----------
        data : pair (images, labels), or others as for `bnn.evaluate`
        errors, weight_errors : operating point, WriteErrors, pair, mapping or None
            Errors of activations and weights, independent: anything with `error_rate_0` and `error_rate_1`, numbers or
            one for each cell of a sample or filter; or a pair of numbers, (error_rate_0, error_rate_1). A mapping, name
            of the layer -> such, for some layers only. None: no errors.
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
        predictions : bool
            Keep the class that each die gave to each image, in `Accuracy.predictions`.

        Returns
        -------
        Accuracy
            Die d is draw d.

        Raises
        ------
        ValueError
            For errors that would touch nothing, overwrite errors, rates outside [0, 1] or of other cells, images that
            do not fit, numbers out of range.

        Notes
        -----
        Bit for bit the errors of `bnn.evaluate` for the same seed, die d for draw d: the same counts and intervals.
        """
        checked_seed(seed)
        checked_whole("dies", dies, least=1)
        checked_whole("workers", workers, least=1)
        check_process(process, errors=errors, weight_errors=weight_errors)
        written = rates_of_layers("errors", errors, self.activation_layers)
        weights = rates_of_layers("weight_errors", weight_errors, self.weight_layers)
        cut, labels = _labelled_batches(data, batch_size)
        first = next(iter(cut()))[:1]
        checked_logits(self.run(first), first, torch.from_numpy(labels))
        return count_dies(
            self, cut, labels, Dies(written, weights, process, seed), dies, workers=workers, predictions=predictions
        )

    def run(
        self,
        images: Tensor,
        write: Write = unwritten,
        products: Mapping[int, Any] | None = None,
        *,
        first: int = 0,
        start: Mapping[int, Any] | None = None,
        keep: Sequence[int] = (),
    ) -> Any:
        """Do the steps for images number `first` and following, from the values in `start`.

        Return the last value; or those of the steps `keep`, of which later ones than the last of them have a use.
        """
        products = self.products if products is None else products
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
                if keep and i == max(keep):
                    return {k: values[k] for k in keep}
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
        if step.op == "ternary":
            return packed_ternary(*values, **step.options)
        if step.op == "unpack":
            return (unpacked if step.options.get("levels", 2) == 2 else unpacked_ternary)(*values)
        return packed_signs(*values)

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


def _labelled_batches(data: Labelled, batch_size: int) -> tuple[Callable[[], Iterable[Tensor]], NDArray[np.int64]]:
    """Return a function that gives the batches, and the labels; files larger than memory are decoded each time."""
    if isinstance(data, ImageFiles) and data.memory() > data.memory_limit:
        checked_whole("batch_size", batch_size, least=1)
        return lambda: (_batches(part, batch_size)[0] for part in data.batches(batch_size)), data.labels.copy()
    checked = labelled("data", data)
    batches = _batches(checked.images, batch_size)
    return lambda: batches, checked.labels
