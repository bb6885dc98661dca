"""Learning rates during a training: a factor of the share done, or a torch scheduler; nothing else changes them."""

import math
import warnings
from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any

import torch
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR, ReduceLROnPlateau

from bnn.training.config import SCHEDULES, TrainConfig
from bnn.training.identity import described
from mtjsim.checks import ArgumentError

Factor = Callable[[float], float]


class Schedule:
    """The learning rates of all optimizers of one training.

    Parameters
    ----------
    config : TrainConfig
    optimizers : sequence of Optimizer
        The learning rate of a group is its peak, kept in the group.
    steps : int
        Steps in an epoch.

    Raises
    ------
    ValueError
        For a schedule that is neither a function of the share done nor a factory of torch schedulers, or a scheduler
        that needs a metric or has another number of steps.
    """

    def __init__(self, config: TrainConfig, optimizers: Sequence[torch.optim.Optimizer], steps: int) -> None:
        self.config, self.optimizers, self.steps = config, optimizers, steps
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                if "lr" in group:  # Bop has none
                    group["lr"] = group.setdefault("peak", group["lr"])
        given = config.schedule
        self.factor: Factor | None = SCHEDULES[given] if isinstance(given, str) else _factor(given)
        self.schedulers: list[LRScheduler] = []
        if self.factor is None:
            with_rates = [o for o in optimizers if any("lr" in group for group in o.param_groups)]
            self.schedulers = [self._scheduler(given, optimizer) for optimizer in with_rates]
        self._last: list[float] | None = None  # rates that were set, to find out whether they were changed

    def _scheduler(self, make: Any, optimizer: torch.optim.Optimizer) -> LRScheduler:
        rule = "must be a name, a function of the share done, or return a torch LRScheduler for an optimizer"
        try:
            made = make(optimizer)
        except TypeError as error:
            raise ArgumentError("schedule", f"{rule}; called with either, it raised {error!r}.") from error
        if not isinstance(made, LRScheduler):
            raise ArgumentError("schedule", f"{rule}, got {made!r}.")
        if isinstance(made, ReduceLROnPlateau):
            remedy = 'Use schedule="constant", and step it in on_epoch.'
            raise ArgumentError("schedule", f"must not need a metric, got a ReduceLROnPlateau. {remedy}")
        wanted = self.config.epochs * (self.steps if self.config.schedule_every == "step" else 1)
        if isinstance(made, OneCycleLR) and made.total_steps != wanted:
            rule = f"must have total_steps={wanted} with schedule_every={self.config.schedule_every!r}"
            raise ArgumentError("schedule", f"{rule}, got a OneCycleLR with {made.total_steps}.")
        return made

    def set_rates(self, step: int) -> None:
        """Set the rates of the next step; `step` are done.

        Raises
        ------
        ValueError
            If a rate was changed by something else since.
        """
        if self.config.schedule == "constant":
            return
        rates = [group["lr"] for group in self._groups()]
        if self._last is not None and rates != self._last:
            rule = f'must be "constant" where learning rates are changed during a training, got {self._shown()}'
            raise ArgumentError("schedule", f"{rule}: a rate was set to {_first(rates, self._last):g} from outside.")
        if self.factor is not None:
            factor = float(self.factor(step / (self.config.epochs * self.steps)))
            for group in self._groups():
                group["lr"] = group["peak"] * factor
        elif step and (self.config.schedule_every == "step" or step % self.steps == 0):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # after a resume torch has not seen the steps of the optimizer
                for scheduler in self.schedulers:
                    scheduler.step()
        self._last = [group["lr"] for group in self._groups()]

    def settings(self) -> str:
        """Return a text of all settings of the optimizers, rates included, to see whether a callback changed them."""
        groups = [group for optimizer in self.optimizers for group in optimizer.param_groups]
        return described([{key: value for key, value in group.items() if key != "params"} for group in groups])

    def state(self) -> list[dict[str, Any]]:
        """Return the state of the torch schedulers, for a checkpoint."""
        return [scheduler.state_dict() for scheduler in self.schedulers]

    def restore(self, saved: Sequence[dict[str, Any]]) -> None:
        """Continue from a `state`; the optimizers have theirs."""
        for scheduler, state in zip(self.schedulers, saved, strict=True):
            scheduler.load_state_dict(state)

    def _groups(self) -> list[dict[str, Any]]:
        return [group for optimizer in self.optimizers for group in optimizer.param_groups if "peak" in group]

    def _shown(self) -> str:
        return repr(self.config.schedule) if isinstance(self.config.schedule, str) else "a callable"


def _factor(given: Callable[..., Any]) -> Factor | None:
    """Return a function of the share done, checked at three shares; None for one that wants an optimizer."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            values = [given(done) for done in (0.0, 0.5, 1.0)]
    except Exception:  # a factory of torch schedulers raises half a dozen types without an optimizer
        return None
    for value in values:
        if not isinstance(value, Real) or not 0.0 <= float(value) < math.inf:
            rule = "must return a finite factor >= 0 for a share of the training, or be a factory of torch schedulers"
            raise ArgumentError("schedule", f"{rule}; it returned {value!r}.")
    return given


def _first(rates: Sequence[float], last: Sequence[float]) -> float:
    return next(rate for rate, before in zip(rates, last, strict=True) if rate != before)
