"""What makes a training: sizes, rates, phases, and where it is kept."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bnn.training.phases import Phase, check_phases
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


@dataclass(frozen=True)
class TrainConfig:
    """What makes a training: the same config, model and data give the same bits, with the same number of threads.

    Errors do not depend on the threads; sums of torch's own do, those of `nn.BatchNorm1d` for example.

    Parameters
    ----------
    epochs : int, >= 1
    batch_size : int, >= 1
        An epoch is cut into ceil(n / batch_size) batches of equal size, within one image. None is dropped.
    learning_rate : float, > 0
        Peak of the schedule, for Adam.
    weight_decay : float, >= 0
        Adam's L2 term, on every parameter. On latent weights it acts like noise on the signs: 0 unless you know better.
    schedule : {"one_cycle", "cosine", "constant"}
        one_cycle: from 4 % of the peak up to it in 30 % of the steps, then down to 0, both on half a cosine.
    seed : int, >= 0
        Of the order of the images. Weights and errors have their own, see `bnn.models` and `bnn.training.phases`.
    phases : tuple of Phase
        Which RAM holds what, for which share of the steps. None: the memories in the model's slots, to the end.
    choose : {"last", "best"}
        Which epoch is the result: the last one, or the one with the best validation accuracy in the last phase (the
        first of equals).
    checkpoint : Path, optional
        File to resume from if it exists, and to write to.
    checkpoint_every : int, >= 1
        Epochs from one checkpoint to the next; the last epoch is always written.
    checkpoint_steps : int, >= 1, optional
        Also write one after each so many steps, for epochs that take hours.
    metrics : Path, optional
        Folder for `metrics.jsonl` (an object a line: phases, epochs, the test) and `metrics.csv` (the epochs).
    progress : bool, optional
        Show a bar on stderr. None: if stderr is a terminal.

    Raises
    ------
    ValueError
        For a number out of range, an unknown schedule, or phases that do not follow each other.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    seed: int
    weight_decay: float = 0.0
    schedule: str = "one_cycle"
    phases: tuple[Phase, ...] = ()
    choose: str = "last"
    checkpoint: Path | None = None
    checkpoint_every: int = 1
    checkpoint_steps: int | None = None
    metrics: Path | None = None
    progress: bool | None = None

    def __post_init__(self) -> None:
        checked_seed(self.seed)
        for name in ("epochs", "batch_size", "checkpoint_every", "checkpoint_steps"):
            value = getattr(self, name)
            if name == "checkpoint_steps" and value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} must be a whole number >= 1, got {value!r}.")
        if not 0.0 < self.learning_rate < math.inf:
            raise ValueError(f"learning_rate must be > 0 and finite, got {self.learning_rate}.")
        if not 0.0 <= self.weight_decay < math.inf:
            raise ValueError(f"weight_decay must be >= 0 and finite, got {self.weight_decay}.")
        for name, value, known in (("schedule", self.schedule, SCHEDULES), ("choose", self.choose, ("last", "best"))):
            if value not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}, got {value!r}.")
        for name in ("checkpoint", "metrics"):
            if not isinstance(path := getattr(self, name), Path | None):
                raise ValueError(f"{name} must be a Path or None, got {path!r}. Write pathlib.Path(...) around it.")
        check_phases(self.phases)
