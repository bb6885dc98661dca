"""Configuration of a training: sizes, rates, phases, and the files it writes."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.optim.lr_scheduler import LRScheduler as Scheduler

from bnn.data.augmentation import Augment
from bnn.training.losses import check_loss
from bnn.training.phases import Phase, check_phases
from mtjsim.checks import (
    ArgumentError,
    Suggesting,
    checked_array,
    checked_choice,
    checked_fields,
    checked_kind,
    checked_number,
    checked_whole,
)
from mtjsim.rng import checked_seed

SCHEDULES: dict[str, Callable[[float], float]] = {  # share of the training done -> factor of the learning rate
    "constant": lambda done: 1.0,
    "cosine": lambda done: 0.5 * (1.0 + math.cos(math.pi * done)),
    "one_cycle": lambda done: (
        0.52 - 0.48 * math.cos(math.pi * done / 0.3)
        if done < 0.3
        else 0.5 * (1.0 + math.cos(math.pi * (done - 0.3) / 0.7))
    ),
}


@dataclass(frozen=True, kw_only=True)
class Steps(Suggesting):
    """A schedule in steps: the learning rate is multiplied by `factor` at each of some shares of the training.

    Parameters
    ----------
    at : sequence of float, in (0, 1), increasing
        Shares of all steps.
    factor : float, in (0, 1]

    Raises
    ------
    ValueError
        For no share, shares that do not increase, or a number out of range.

    Examples
    --------
    >>> schedule = Steps(at=(0.5, 0.75))
    >>> [round(schedule(done), 6) for done in (0.0, 0.49, 0.5, 0.74, 0.75)]
    [1.0, 1.0, 0.1, 0.1, 0.01]
    """

    at: tuple[float, ...]
    factor: float = 0.1

    def __post_init__(self) -> None:
        shares = checked_array("at", self.at, "", zero_allowed=False, below=1.0, remedy="1 is the whole training.")
        if shares.ndim != 1 or not shares.size or (shares[1:] <= shares[:-1]).any():
            raise ArgumentError("at", f"must be one or more shares of the training that increase, got {self.at!r}.")
        object.__setattr__(self, "at", tuple(shares.tolist()))
        checked_fields(self, factor="")
        if self.factor > 1.0:
            raise ArgumentError("factor", f"must be <= 1, got {self.factor:g}: learning rates do not rise in steps.")

    def __call__(self, done: float) -> float:
        """Return the factor of the peak at a share of the training done."""
        return self.factor ** bisect_right(self.at, done)


@dataclass(frozen=True)
class TrainConfig(Suggesting):
    """Configuration of a training. The same config, model and data give the same bits, on the same number of threads.

    Errors do not depend on the threads; some of torch's sums do, those of `nn.BatchNorm1d` for example.

    Parameters
    ----------
    epochs : int, >= 1
    batch_size : int, >= 1
        An epoch is cut into ceil(n / batch_size) batches of equal size, within one image. None is dropped.
    learning_rate : float, > 0
        Peak of the schedule, for Adam.
    weight_decay : float, >= 0
        Adam's L2 term, on every parameter. On latent weights it acts like noise on the signs: use 0 there.
    schedule : {"one_cycle", "cosine", "constant"}, or callable
        one_cycle: from 4 % of the peak up to it in 30 % of the steps, then down to 0, both on half a cosine. constant:
        learning rates are left alone, and what a callback sets is used. A function: share of the training done, 0 to 1,
        -> factor of the peak, such as `bnn.Steps`. Or a factory of a torch scheduler, such as ``lambda optimizer:
        MultiStepLR(optimizer, [30, 60])``, called with each optimizer.
    schedule_every : {"epoch", "step"}
        When a torch scheduler is stepped.
    seed : int, >= 0
        Of the order of the images, and of their augmentation. Weights and errors have their own, see `bnn.models` and
        `bnn.MRAM`.
    loss : {"cross_entropy", "margin_hinge", "squared_hinge"}, or callable
        What is minimised, a mean over the batch; see `bnn/training/losses.py` for the definitions. A function
        ``loss(logits, labels)`` of logits, (n, classes), and labels, (n,), returns one number with a gradient.
    label_smoothing : float, in [0, 1)
        Share of the target that is spread evenly over all classes; of the cross entropy only.
    margin : float, > 0, optional
        Of a hinge loss. None: 128 for "margin_hinge", 1 for "squared_hinge".
    augment : Augment, optional
        Random shifts and flips of the training images; see `bnn.Augment`.
    clip_gradient : float, > 0, optional
        Largest Euclidean norm of the gradient of all parameters together, after it is averaged over the processes. A
        larger gradient is scaled down to it.
    clip_weights : float, > 0, optional
        Largest magnitude of every weight and of every BatchNorm scale, kept after each update; biases and shifts are
        left alone. Words are written after it. None: only latent weights are clipped, to [-1, 1]. See
        `bnn/training/updates.py`.
    patience : int, >= 1, optional
        Epochs of the last phase without a better validation accuracy after which the training ends early. What is
        chosen then is what `choose` says.
    phases : tuple of Phase
        Which RAM holds what, for which share of the steps. Empty: the memories in the model's slots, to the end.
    choose : {"last", "best"}
        Which epoch is the result: the last one, or the one with the best validation accuracy in the last phase (the
        first of equals).
    on_divergence : {"result", "raise"}
        What happens when the loss or a weight becomes non-finite: `Trainer.fit` warns and returns a `Result` whose
        `diverged` says where it began; or it raises a FloatingPointError.
    checkpoint : Path, optional
        File to resume from if it exists, and to write to, for one training at a time. Another training is refused, with
        what differs: structure and initial state of the model, code of its functions and classes, optimizer, images,
        this configuration, number of threads. Another number of `epochs` is accepted if the steps done would have been
        the same, as they are with a constant schedule: more epochs go on from the last one.
    checkpoint_every : int, >= 1
        Epochs from one checkpoint to the next; the last epoch is always written.
    checkpoint_steps : int, >= 1, optional
        Steps from one checkpoint to the next within an epoch, for epochs that take hours.
    metrics : Path, optional
        Folder for `metrics.jsonl` (an object a line: phases, epochs, an early end, the test) and `metrics.csv` (the
        epochs).
    progress : bool, optional
        Show a bar on stderr. None: if stderr is a terminal.

    Raises
    ------
    ValueError
        For a number out of range, an unknown schedule or loss, an option of another loss, or phases that do not follow
        each other.

    Examples
    --------
    >>> config = TrainConfig(epochs=3, batch_size=64, learning_rate=0.02, seed=1)
    >>> [round(SCHEDULES[config.schedule](done), 2) for done in (0.0, 0.3, 0.65, 1.0)]
    [0.04, 1.0, 0.5, 0.0]
    """

    epochs: int
    batch_size: int
    learning_rate: float
    seed: int
    weight_decay: float = 0.0
    schedule: str | Callable[[float], float] | Callable[[torch.optim.Optimizer], Scheduler] = "one_cycle"
    schedule_every: str = "epoch"
    loss: str | Callable[[Tensor, Tensor], Tensor] = "cross_entropy"
    label_smoothing: float = 0.0
    margin: float | None = None
    augment: Augment | None = None
    clip_gradient: float | None = None
    clip_weights: float | None = None
    patience: int | None = None
    phases: tuple[Phase, ...] = ()
    choose: str = "last"
    on_divergence: str = "result"
    checkpoint: Path | None = None
    checkpoint_every: int = 1
    checkpoint_steps: int | None = None
    metrics: Path | None = None
    progress: bool | None = None

    def __post_init__(self) -> None:
        counts = {"epochs": self.epochs, "batch_size": self.batch_size, "checkpoint_every": self.checkpoint_every}
        optional = {"checkpoint_steps": self.checkpoint_steps, "patience": self.patience}
        counts |= {name: count for name, count in optional.items() if count is not None}
        for name, count in counts.items():
            object.__setattr__(self, name, checked_whole(name, count, least=1))
        object.__setattr__(self, "seed", checked_seed(self.seed))
        checked_fields(self, learning_rate="")
        checked_fields(self, zero_allowed=True, weight_decay="", label_smoothing="")
        for name in ("margin", "clip_gradient", "clip_weights"):
            if (value := getattr(self, name)) is not None:
                object.__setattr__(self, name, checked_number(name, value, "", zero_allowed=False))
        check_loss(self.loss, self.label_smoothing, self.margin)
        if self.augment is not None:
            checked_kind("augment", self.augment, Augment)
        if not callable(self.schedule):
            checked_choice("schedule", self.schedule, SCHEDULES)
        checked_choice("schedule_every", self.schedule_every, ("epoch", "step"))
        checked_choice("choose", self.choose, ("last", "best"))
        checked_choice("on_divergence", self.on_divergence, ("result", "raise"))
        for name, path in (("checkpoint", self.checkpoint), ("metrics", self.metrics)):
            if path is not None:
                checked_kind(name, path, Path, remedy="Write pathlib.Path(...) around it.")
        check_phases(self.phases)
