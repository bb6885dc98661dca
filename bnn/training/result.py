"""Results of a training: its epochs, and the trained model with its accuracies and its ledger."""

from dataclasses import dataclass, field

from torch import nn

from bnn.counting.accuracy import Accuracy
from bnn.training.config import TrainConfig
from bridge.ledger import Ledger


@dataclass(frozen=True)
class Epoch:
    """One line of a training's history: accuracies as shares, loss in nats, under the memories of the epoch.

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
    """One step, for a callback: its number in the training, its epoch and phase, its batch's loss in nats."""

    step: int
    epoch: int
    phase: int
    loss: float


@dataclass(frozen=True)
class Result:
    """A finished training: the model, in eval mode, with its history.

    Parameters
    ----------
    model : Module
        The trained one, as it was after the epoch `chosen`, with the memories of the last phase in its slots.
    config : TrainConfig
    history : tuple of Epoch
    seconds, core_seconds : float
        Wall time and processor time of this process [s], of all parts if it was resumed; what was lost after the last
        checkpoint of a part is not in it.
    chosen : int
        Number of the model's epoch.
    test : dict of Accuracy
        If test images were given: "clean" without errors, "as_trained" with the memories of the last phase.
    ledger : Ledger
        Events in the memories of the phases and their cost; in several processes those of this one. Accesses to SRAM
        are not in it.
    threads : int
        Of torch. Some of its sums depend on their number.
    steps : int
        Done in this call; 0 if the checkpoint was of the finished training.
    identity : str or None
        SHA-256 of all that the numbers follow from: the initial model, optimizers, configuration, images. None without
        a checkpoint.
    """

    model: nn.Module
    config: TrainConfig
    history: tuple[Epoch, ...]
    seconds: float
    chosen: int
    test: dict[str, Accuracy] = field(default_factory=dict)
    ledger: Ledger = field(default_factory=Ledger)
    core_seconds: float = 0.0
    threads: int = 1
    steps: int = 0
    identity: str | None = None
