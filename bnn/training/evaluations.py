"""Evaluations of a training: on the validation images after each epoch, on the test images once, at the end."""

from typing import Any

import torch
from torch import Tensor, nn

from bnn.counting.accuracy import Accuracy
from bnn.data.image_files import ImageFiles
from bnn.data.images import ImageSet
from bnn.data.labelled import Labelled, labelled
from bnn.data.on_demand import identity_of_files
from bnn.evaluation.accuracy import evaluate
from bnn.evaluation.logits import check_fits
from bnn.layers.inputs import labelled_tensors
from bnn.training.finite import DivergedError
from bnn.training.processes import from_first, rank
from mtjsim.checks import ArgumentError
from mtjsim.rng import child_seed

AS_TRAINED: dict[str, Any] = {"errors": "as_trained", "weight_errors": "as_trained"}


class Evaluations:
    """Validation and test images of a training, checked before any work.

    Parameters
    ----------
    model : Module
    seed : int
        Of the training.
    shape : tuple of int
        Of a training image.
    validation, test : labelled images or None
        Those that can be read again are not kept.

    Raises
    ------
    TypeError, ValueError
        For images or labels that are none or do not fit the model, or files that exceed their `memory_limit`.
    """

    def __init__(
        self,
        model: nn.Module,
        seed: int,
        shape: tuple[int, ...],
        validation: Labelled | None,
        test: Labelled | None,
    ) -> None:
        self.model, self.seed = model, seed
        self.validation, self.test = self._checked("validation", validation, shape), self._checked("test", test, shape)

    def _checked(self, argument: str, data: Labelled | None, shape: tuple[int, ...]) -> Any:
        if data is None:
            return None
        own = data if isinstance(data, (ImageSet, ImageFiles)) else None  # they check themselves
        if isinstance(data, ImageFiles) and data.memory() > data.memory_limit:
            rule = f"must fit in its memory_limit of {data.memory_limit:,} bytes, got {data.memory():,} bytes"
            raise ArgumentError(argument, f"{rule}: an evaluation decodes all images. Raise it, or use a subset().")
        first: Any = labelled(argument, data) if own is None else own.subset([0])
        image, _ = labelled_tensors(self.model, argument, (first.scaled()[:1], first.labels[:1]))
        if image.shape[1:] != shape:
            check_fits(self.model, argument, image)
        return data if hasattr(data, "scaled") else first

    @property
    def labels(self) -> dict[str, Tensor]:
        """Labels of the images that were given, by argument."""
        given = {"validation": self.validation, "test": self.test}
        return {argument: torch.tensor(data.labels) for argument, data in given.items() if data is not None}

    def parts(self) -> tuple[Tensor, Tensor] | str | None:
        """Return the validation images and labels, or the identity of files, for the identity of a training."""
        if isinstance(self.validation, ImageFiles):
            return identity_of_files(self.validation)
        if self.validation is None:
            return None
        return torch.as_tensor(self.validation.scaled()), torch.tensor(self.validation.labels)

    def validation_accuracy(self, epoch: int) -> float | None:
        """Return the accuracy that process 0 finds; DivergedError, in all processes, for logits that are not finite."""
        if self.validation is None:
            return None
        found: float | str | None = None
        if rank() == 0:
            seed = child_seed(self.seed, "validation", epoch)
            try:
                found = evaluate(self.model, self.validation, **AS_TRAINED, draws=1, seed=seed).mean
            except FloatingPointError as error:
                found = f"After epoch {epoch}, on the validation images: {error}"
        found = from_first(found)
        if isinstance(found, str):
            raise DivergedError(found)
        return found

    def test_accuracies(self) -> dict[str, Accuracy]:
        """Return the accuracies on the test images, without errors and with those of the memories in the model."""
        if self.test is None:
            return {}
        test, seed = labelled("test", self.test), child_seed(self.seed, "test")
        clean = evaluate(self.model, test)
        return {"clean": clean, "as_trained": evaluate(self.model, test, **AS_TRAINED, seed=seed)}
