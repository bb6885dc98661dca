"""Results of a training: its epochs, and the trained model with its accuracies and its ledger."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import nn

from bnn.counting.accuracy import Accuracy
from bnn.training.config import TrainConfig
from bridge.ledger import Ledger
from mtjsim.wording import number_of


@dataclass(frozen=True)
class Epoch:
    """One line of a training's history: accuracies as shares, and the loss, under the memories of the epoch.

    The cross entropy is in nats.

    `loss` and `train_accuracy` are means over the epoch's steps, while the weights still moved; `phase` is that of its
    last step.
    """

    epoch: int
    loss: float
    train_accuracy: float
    validation_accuracy: float | None
    phase: int = 0


@dataclass(frozen=True)
class Step:
    """One step, for a callback: its number in the training, its epoch and phase, its batch's loss."""

    step: int
    epoch: int
    phase: int
    loss: float


@dataclass(frozen=True)
class Stopped:
    """Why and where a training ended before its last epoch.

    Parameters
    ----------
    reason : {"early", "callback"}
        `TrainConfig.patience`, or a callback that returned True.
    epoch : int
        The last one, from 0.
    step : int
        Of the training; how many were done.
    """

    reason: str
    epoch: int
    step: int


@dataclass(frozen=True)
class Divergence:
    """Where a training diverged.

    Parameters
    ----------
    epoch : int
        From 0.
    step : int
        Within the epoch, from 0.
    message : str
        The layer where a number was not finite first, with what to change.
    """

    epoch: int
    step: int
    message: str


@dataclass(frozen=True)
class Result:
    """A training that ended: the model, in eval mode, with its history.

    Parameters
    ----------
    model : Module
        The trained one, as it was after the epoch `chosen`, with the memories of the last phase in its slots. After a
        divergence: as that left it.
    config : TrainConfig
    history : tuple of Epoch
    seconds, core_seconds : float
        Wall time and processor time of this process [s], of all parts if it was resumed; what was lost after the last
        checkpoint of a part is not in it.
    chosen : int
        Number of the model's epoch.
    test : dict of Accuracy
        If test images were given: "clean" without errors, "as_trained" with the memories of the last phase. Empty after
        a divergence.
    ledger : Ledger
        Every access to the memories of the phases, MRAM and SRAM, and its cost, see `bnn/training/accesses.py`; in
        several processes those to MRAM are of this one. Empty without phases.
    ledger_in_sram : Ledger
        Of the same training with everything in the phases' SRAM: what an MRAM saves is the difference.
    threads : int
        Of torch. Some of its sums depend on their number.
    steps : int
        Done in this call; 0 if the checkpoint was of the finished training.
    identity : str or None
        SHA-256 of all that the numbers follow from: the initial model, optimizers, configuration, images. None without
        a checkpoint.
    stopped : Stopped or None
        Why and where it ended before the last epoch, if it did.
    diverged : Divergence or None
        Where the loss or a weight became non-finite, if it did.
    """

    model: nn.Module
    config: TrainConfig
    history: tuple[Epoch, ...]
    seconds: float
    chosen: int
    test: dict[str, Accuracy] = field(default_factory=dict)
    ledger: Ledger = field(default_factory=Ledger)
    ledger_in_sram: Ledger = field(default_factory=Ledger)
    core_seconds: float = 0.0
    threads: int = 1
    steps: int = 0
    identity: str | None = None
    stopped: Stopped | None = None
    diverged: Divergence | None = None

    def __repr__(self) -> str:
        parts = [f"{len(self.history)} of {number_of(self.config.epochs, 'epoch')}"]
        if self.diverged is not None:
            parts += [f"diverged in epoch {self.diverged.epoch}, step {self.diverged.step}"]
        if self.stopped is not None:
            parts += [f"stopped in epoch {self.stopped.epoch} ({self.stopped.reason})"]
        if self.diverged is None:
            parts += [f"chosen {self.chosen}"]
        chosen = next((epoch for epoch in self.history if epoch.epoch == self.chosen), None)
        if chosen is not None:
            parts += [f"loss {chosen.loss:.4g}", f"train {chosen.train_accuracy:.4f}"]
            if chosen.validation_accuracy is not None:
                parts += [f"validation {chosen.validation_accuracy:.4f}"]
        parts += [f"test {name} {accuracy.mean:.4f}" for name, accuracy in self.test.items()]
        return f"Result({', '.join(parts)}, {self.seconds:.3g} s)"


def out_of_patience(history: Sequence[Epoch], patience: int | None, *, phase: int) -> bool:
    """Whether the best validation accuracy of a phase, the first of equals, is `patience` epochs old or older."""
    accuracies = [epoch.validation_accuracy or 0.0 for epoch in history if epoch.phase == phase]
    if patience is None or not accuracies:
        return False
    return len(accuracies) - 1 - accuracies.index(max(accuracies)) >= patience
