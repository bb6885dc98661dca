"""State of a running training: all that a checkpoint contains except model, memories and optimizers."""

from dataclasses import asdict, astuple, dataclass, field, fields
from typing import Any, Self

from torch import nn

from bnn.training.phases import IN_SLOTS
from bnn.training.result import Divergence, Epoch, Stopped
from bridge.ledger import Entry, Ledger


@dataclass
class State:
    """How far a training is, and its results so far."""

    step: int = 0  # steps done
    phase: int = -1
    loss_sum: float = 0.0  # of this epoch so far
    right: int = 0
    seconds: float = 0.0
    core_seconds: float = 0.0
    history: tuple[Epoch, ...] = ()
    events: list[dict[str, Any]] = field(default_factory=list)
    spent: Ledger = field(default_factory=Ledger)  # by memories of earlier phases
    best: dict[str, Any] | None = None
    stopped: dict[str, Any] | None = None  # fields of `Stopped`
    diverged: dict[str, Any] | None = None  # fields of `Divergence`

    def stop(self, reason: str, steps: int) -> None:
        """End the training after this step, of `steps` in an epoch; also the last: of more epochs it ends there too."""
        self.stopped = asdict(Stopped(reason, (self.step - 1) // steps, self.step))
        self.events.append({"event": "stopped", **self.stopped})

    def diverge(self, epoch: int, step: int, message: str) -> None:
        """End the training at a divergence."""
        self.diverged = asdict(Divergence(epoch, step, message))
        self.events.append({"event": "diverged", **self.diverged})

    def keep_best(self, epoch: Epoch, model: nn.Module) -> None:
        """Keep the parameters of an epoch if it is the best so far; not its memories, which go on."""
        if self.best is None or epoch.validation_accuracy > self.best["accuracy"]:
            slots = set(IN_SLOTS.values())
            network = {k: x.clone() for k, x in model.state_dict().items() if not slots & set(k.split("."))}
            self.best = {"epoch": epoch.epoch, "accuracy": epoch.validation_accuracy, "model": network}

    def saved(self) -> dict[str, Any]:
        """Return it as plain values and tensors."""
        rows = {"history": [astuple(e) for e in self.history], "spent": [asdict(e) for e in self.spent]}
        return {f.name: rows.get(f.name, getattr(self, f.name)) for f in fields(self)}

    @classmethod
    def restored(cls, saved: dict[str, Any]) -> Self:
        """Return the state of a `saved`."""
        history, spent = tuple(Epoch(*row) for row in saved["history"]), Ledger(Entry(**row) for row in saved["spent"])
        return cls(**{**saved, "history": history, "spent": spent})
