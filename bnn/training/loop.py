"""Training: one loop, read top to bottom, resumed bit for bit at any step, in any phase.

The result is the last epoch, or the best on a *validation* split if the config says so. The test images are evaluated
once, after everything has been decided.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn
from tqdm import tqdm

from bnn.data.labelled import Labelled
from bnn.layers.whole_model import checked_model
from bnn.training.config import TrainConfig
from bnn.training.phases import Phase
from bnn.training.processes import rank
from bnn.training.result import Epoch, Result, Step
from bnn.training.run import Run
from bnn.training.updates import MakeOptimizers
from mtjsim.checks import Suggesting, checked_kind


@dataclass(frozen=True)
class Trainer(Suggesting):
    """Trains `model` as `config` says, in place.

    Parameters
    ----------
    model : Module
        Without phases, the memories in its slots err during training: see `bnn.WriteErrors`.
    config : TrainConfig
    optimizer : callable, optional
        ``optimizer(model, config)`` makes the optimizer, or several of them: `bnn.Bop` for the binary weights and Adam
        for the rest, for example. Their learning rates, if they have any, are the peaks of the schedule. None: Adam on
        everything.

    Examples
    --------
    >>> from bnn.data.loading import load
    >>> from bnn.models import mlp
    >>> digits = load("digits")
    >>> train, validation = digits.train.split(0.9, seed=0)
    >>> config = TrainConfig(epochs=3, batch_size=64, learning_rate=0.02, seed=1)
    >>> result = Trainer(mlp(seed=1), config).fit(train, validation, test=digits.test)
    >>> len(result.history), result.chosen, result.test["clean"].mean > 0.85
    (3, 2, True)
    """

    model: nn.Module
    config: TrainConfig
    optimizer: MakeOptimizers | None = None

    def __post_init__(self) -> None:
        checked_model(self.model)
        checked_kind("config", self.config, TrainConfig)

    def fit(
        self,
        train: Labelled,
        validation: Labelled | None = None,
        *,
        test: Labelled | None = None,
        on_step: Callable[[Step], Any] | None = None,
        on_epoch: Callable[[Epoch], Any] | None = None,
        on_phase: Callable[[int, Phase], None] | None = None,
    ) -> Result:
        """Train to the last epoch, from the checkpoint if there is one, or to an earlier end.

        Parameters
        ----------
        train, validation : pair, Dataset, DataLoader, or object with ``scaled()`` and ``labels``
            Images with their labels, as for `bnn.evaluate`: ``(images, labels)``, for example. They are read once;
            training images that do not fit in memory are read batch by batch: `bnn.data.image_files.ImageFiles` that
            exceed their `memory_limit`, and a torch Dataset of more than 4 GiB. Batches and their order are those of
            the config, also for a DataLoader. The network is evaluated on the validation images after each epoch, with
            one draw of errors in the memories of its phase; they change nothing unless ``config.choose`` is "best" or
            ``config.patience`` is given.
        test : labelled images, as `validation`, optional
            Evaluated once, at the end.
        on_step, on_epoch : callable, optional
            Called with each `Step`, and with each `Epoch`, after its checkpoint. One that returns True ends the
            training: after this step, or this epoch, as `Result.stopped` says; it is then finished, and a call with its
            checkpoint trains nothing more. Learning rates that it sets, with the schedule "constant", are saved. An
            exception ends the training, to be resumed.
        on_phase : callable, optional
            Called with the number of a phase and the phase, as it begins.

        Raises
        ------
        ValueError
            Before any work: for images or labels that are none or do not fit the model, of all three sets, a model that
            does not return logits of shape (n, classes) or has nothing to train, and an optimizer of parameters that
            are not the model's. For a checkpoint that is damaged, in use or of another training, a choice without
            validation images, phases without a step, or phases that do not fit the model. In several processes, for
            models, images or configs that differ.
        TypeError
            For images or a model of another kind.
        MemoryError
            If a step needs more memory than there is; with its number and the size of its batch.
        FloatingPointError
            With ``config.on_divergence="raise"``: when the loss or a weight becomes non-finite; with the layer where it
            began, the epoch and the step. In several processes also for one that the model or an optimizer raises in
            one of them.

        Warns
        -----
        UserWarning
            If the training diverged, which is a result like another: with the message that is in `Result.diverged`. If
            the input bits of a layer are all alike in the first batch, or modules are in evaluation mode in a model
            that is not: they stay in it, as a frozen BatchNorm should.

        Notes
        -----
        Adam on ``config.loss``; after each step the latent weights of binary layers are clipped to [-1, 1], and what
        is in words of an error-prone memory is written there and read back. The order of the images is drawn from seed
        and epoch. A layer that draws from torch's global stream (`nn.Dropout`) works, but is not resumed bit for bit.

        *In several processes*, with `torch.distributed` initialised: each takes its part of every batch, and gradients
        are averaged. Errors are keyed by the image, so they are those of one process; parameters in words fail alike in
        all processes. BatchNorm uses its process's part of a batch, and running statistics are averaged each epoch; the
        cells of overwritten activations belong to their process. Each process has its own checkpoint
        (`run.rank1.pt`), and keeps the former one until all have written the next (`run.next.pt`).

        *An interrupted model* goes on from its checkpoint in the same process, unless it was changed since. In another
        process build it again as it was at the start.
        """
        run = Run(self.model, self.config, self.optimizer, train, validation, test)
        with run.prepared(), _progress_bar(run) as bar:
            while not run.ended:
                if (phase := run.phase_due()) is not None:
                    run.enter(phase)
                    if on_phase is not None:
                        on_phase(phase, run.phases[phase])
                if (step := run.take_step()) is None:
                    break
                bar.update()
                stop = _stops(on_step, step)
                if run.at_end_of_epoch:
                    if (epoch := run.end_epoch()) is None:
                        break
                    bar.set_postfix(loss=f"{epoch.loss:.3f}", accuracy=f"{epoch.train_accuracy:.3f}")
                    stop |= _stops(on_epoch, epoch)
                run.after_callbacks(stop)
            result = run.result()
        if result.diverged is not None:
            rest = "The result has no test accuracies, and its model is as it was left: see Result.diverged."
            warnings.warn(f"The training diverged: {result.diverged.message} {rest}", stacklevel=2)
        return result


def _progress_bar(run: Run) -> tqdm:
    """Return the bar of steps on stderr, silent where none is wanted."""
    silent = not (sys.stderr.isatty() if run.config.progress is None else run.config.progress) or rank() > 0
    return tqdm(total=run.last_step, initial=run.step, desc="train", unit="step", disable=silent, leave=False)


def _stops(callback: Callable[[Any], Any] | None, record: Step | Epoch) -> bool:
    """Call back, if there is a callback; whether it returned True."""
    answer = callback(record) if callback is not None else None
    return isinstance(answer, (bool, np.bool_)) and bool(answer)
