"""Going on: with a model that an interrupted training left, and to another number of epochs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from torch import nn

from bnn.training.identity import Parts
from bnn.training.phases import Phase, first_steps
from bnn.training.schedule import Factor


@dataclass(frozen=True)
class Left:
    """How a training began with a model, and how it left it: the parts of its identity, and its own memories."""

    began: Parts
    at_end: Parts
    own: dict[str, list[nn.Module | None]]
    frozen: list[nn.Module]


LEFT: WeakKeyDictionary[nn.Module, Left] = WeakKeyDictionary()  # of trainings with a checkpoint, in this process


def of_model(identity: Parts) -> Parts:
    """Return the parts of an identity that are the model's."""
    return {name: identity[name] for name in ("model", "initial state")}


def why_not_continued(
    state: dict[str, Any], *, was: int, now: int, steps: int, factor: Factor | None, phases: Sequence[Phase]
) -> str | None:
    """Return why a training of `was` epochs is not the beginning of one of `now`; None if it is, to the bit.

    Parameters
    ----------
    state : dict
        Of the checkpoint, see `State.saved`.
    was, now : int
        Numbers of epochs.
    steps : int
        In an epoch.
    factor : callable or None
        Of the learning rate, of the share of the training done. None for torch schedulers: they count steps or epochs.
    phases : sequence of Phase

    Notes
    -----
    All else that a step depends on is drawn by epoch, step or image. Learning rates and phases are compared for each
    step that was done, of both numbers of epochs.
    """
    done = state["step"] + (state["diverged"] is not None)  # the step that diverged was begun
    if done > now * steps:
        return f"it has done {state['step']} steps, more than {now} epochs have"
    if factor is not None:
        for step in range(done):
            before, after = (float(factor(step / (epochs * steps))) for epochs in (was, now))
            if before != after:
                example = f"in step {step} by the factor {before:.6g}, which would be {after:.6g}"
                return f"its learning rates depend on the number of epochs, {example}"
    begun = [[start for start in first_steps(phases, epochs * steps) if start < done] for epochs in (was, now)]
    if begun[0] != begun[1]:
        starts = [", ".join(map(str, starts)) for starts in begun]
        return f"its phases began at the steps {starts[0]}, and would have begun at {starts[1]}"
    return None
