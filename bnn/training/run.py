"""One run of a training: its state, its steps and epochs, its checkpoints."""

import math
import time
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, fields
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from bnn.counting.logits import checked_logits
from bnn.data.labelled import Labelled
from bnn.errors.keys import address, forget_address
from bnn.evaluation.batch_norm import reestimate_batch_norm
from bnn.training.accesses import TrainingAccesses
from bnn.training.batches import Batch, Batches
from bnn.training.checkpoint import load_checkpoint, locked, save_checkpoint
from bnn.training.config import TrainConfig
from bnn.training.continuation import LEFT, Left, of_model, why_not_continued
from bnn.training.evaluations import Evaluations
from bnn.training.explained import explained
from bnn.training.finite import DivergedError, diagnosis
from bnn.training.first_batch import first_logits, keep_frozen
from bnn.training.identity import Parts, described, digest_of, frozen_modules, identity_of, state_of
from bnn.training.losses import made_loss
from bnn.training.metrics import joules_of, write_metrics
from bnn.training.phase_memories import PhaseMemories, check_model, slots_of
from bnn.training.phases import IN_SLOTS, Phase, first_steps
from bnn.training.processes import (
    any_of,
    average_batch_norm,
    average_gradients,
    own_file,
    rank,
    require_equal,
    summed,
    world,
)
from bnn.training.result import Divergence, Epoch, Result, Step, Stopped, out_of_patience
from bnn.training.schedule import Schedule
from bnn.training.state import State
from bnn.training.tensor_words import running_statistics
from bnn.training.updates import MakeOptimizers, clip_gradients_, clip_weights_, made_optimizers
from bridge.ledger import Ledger
from mtjsim.checks import ArgumentError
from mtjsim.rng import child_seed


class Run:
    """One call of `Trainer.fit`: its arguments, and how far it is."""

    def __init__(
        self,
        model: nn.Module,
        config: TrainConfig,
        optimizer: MakeOptimizers | None,
        train: Labelled,
        validation: Labelled | None,
        test: Labelled | None = None,
    ) -> None:
        self.model, self.config = model, config
        self.started = time.perf_counter(), time.process_time()
        if isinstance(model, nn.DataParallel):
            remedy = "Use torch.distributed, a process for each device, with the model itself."
            raise ArgumentError(
                "model", f"must not be an nn.DataParallel, whose replicas forget what they write. {remedy}"
            )
        wants = {'choose is "best"': config.choose == "best", "patience is given": config.patience is not None}
        if validation is None and any(wants.values()):
            why = next(why for why, wanted in wants.items() if wanted)
            raise ArgumentError("validation", f"must be given where {why}: other images choose no epoch.")
        if not torch.is_grad_enabled():
            raise RuntimeError("A training needs gradients: call fit() outside of torch.no_grad().")
        if not any(parameter.requires_grad for parameter in model.parameters()):
            raise ArgumentError("model", "must have parameters with requires_grad=True: there is nothing to train.")
        self.device = next(self.model.parameters()).device
        self.batches = Batches(model, config, train)
        self.steps = self.batches.steps  # in an epoch
        self.evaluations = Evaluations(model, config.seed, self.batches.shape, validation, test)
        self.last_step = self.config.epochs * self.steps
        self.phases = self.config.phases or (Phase(memory=None),)
        self.first_steps = first_steps(self.phases, self.last_step)
        self.optimizers = made_optimizers(model, config, optimizer)
        self.loss = made_loss(config.loss, label_smoothing=config.label_smoothing, margin=config.margin)
        self.schedule = Schedule(config, self.optimizers, self.steps)
        check_model(self.model, self.optimizers, self.phases)
        self.own = slots_of(self.model)
        given = self.model, self.optimizers, self.phases, self.first_steps, self.batches
        self.accesses = TrainingAccesses(*given, own=self.own)
        self.frozen = frozen_modules(self.model)
        self.path = own_file(self.config.checkpoint) if self.config.checkpoint else None
        self.identity: Parts = self._identity() if self.path else {}
        require_equal(self._shared)
        none = [Phase(memory=None)]  # before the first
        self.memories = PhaseMemories(self.model, self.optimizers, none, 0, own=self.own)
        self.state, self.stepped, self.saved = State(), False, (-1, "")
        self.earlier, self.first_step = (0.0, 0.0), 0  # seconds and core-seconds, and steps, before this call

    # ---- progress ----------------------------------------------------------------------------------------------------

    @property
    def step(self) -> int:
        """Steps done."""
        return self.state.step

    @property
    def ended(self) -> bool:
        """Whether no step is to be done: the last one was, or the training stopped or diverged."""
        state = self.state
        return state.step >= self.last_step or state.stopped is not None or state.diverged is not None

    @property
    def at_end_of_epoch(self) -> bool:
        """Whether the last step ended an epoch."""
        return self.state.step % self.steps == 0

    @property
    def seconds(self) -> tuple[float, float]:
        """Wall time and processor time so far, those of a call that trained nothing not counted."""
        if self.step == self.first_step > 0:
            return self.earlier
        now = time.perf_counter(), time.process_time()
        return tuple(e + n - s for e, n, s in zip(self.earlier, now, self.started, strict=True))  # type: ignore[return-value]

    @property
    def ledger(self) -> Ledger:
        """Of all memories so far."""
        counted = self.state.spent + self.memories.ledger
        return counted + self.accesses.ledger(self.step) if self.config.phases else counted

    @property
    def ledger_in_sram(self) -> Ledger:
        """Of the same training with everything in SRAM."""
        return self.accesses.ledger(self.step, all_in_sram=True) if self.config.phases else Ledger()

    @contextmanager
    def prepared(self) -> Iterator[None]:
        """Hold and load the checkpoint; at the end, also after an exception, memories are on automatic numbers."""
        with ExitStack() as stack:
            stack.callback(forget_address, self.model)
            stack.callback(self.batches.close)
            if self.path is not None:
                stack.enter_context(locked(self.path))
                self._resume()
                stack.callback(self._leave)
            yield

    # ---- steps, epochs, phases ---------------------------------------------------------------------------------------

    def phase_due(self) -> int | None:
        """Return the number of the phase that the next step begins, if it begins one."""
        now = bisect_right(self.first_steps, self.step) - 1
        return now if now != self.state.phase else None

    def enter(self, number: int) -> None:
        """Change the memories; work requested at a phase's start uses that phase's memories."""
        phase, before = self.phases[number], self.memories
        if phase.scrub:
            before.scrub()
        self.memories = PhaseMemories(self.model, self.optimizers, self.phases, number, own=self.own, before=before)
        self.state.spent += before.ledger_without(self.memories)
        if phase.reestimate:
            self._reestimate(phase.reestimate)
        self.state.phase = number
        self.state.events.append({"event": "phase", "phase": number, "step": self.step, "memory": repr(phase.memory)})

    def take_step(self) -> Step | None:
        """Forward, backward, update; what is in memories is written there and read back. None if it diverged."""
        epoch, step = divmod(self.step, self.steps)
        if self.batches.begin(epoch):
            self.model.train()
            keep_frozen(self.model, self.frozen, stacklevel=None if self.stepped else 3)
        batch = self.batches.batch(step)
        what = f"step {self.step} of the training, a batch of {batch.size} images of {self.batches.shape}"
        with explained(what):
            try:
                return self._step(epoch, step, batch)
            except FloatingPointError as error:
                self._diverge(error, epoch, step)
                return None

    def _step(self, epoch: int, step: int, batch: Batch) -> Step:
        part, x, y, size = batch
        address(self.model, step=self.step, samples=part.cpu())
        if self.stepped:
            logits = checked_logits(self.model(x), x)
        else:
            labels = {"train": self.batches.labels, **self.evaluations.labels}
            logits, self.stepped = first_logits(self.model, x, labels, stacklevel=4), True
        loss = self.loss(logits, y) * (len(part) * world() / size)
        value = summed(loss.detach()).item() / world()
        if not math.isfinite(value):
            raise self._diverged(x, epoch, step, value)
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        loss.backward()
        average_gradients(self.model)
        if self.config.clip_gradient is not None:
            clip_gradients_(self.model, self.config.clip_gradient)
        self.schedule.set_rates(self.step)
        try:
            with self.memories.update(self.step):
                for optimizer in self.optimizers:
                    optimizer.step()
                clip_weights_(self.model, self.config.clip_weights)
        except ArgumentError as error:  # words of a format without NaN refuse one
            if self._is_finite():
                raise
            raise self._diverged(x, epoch, step, value, updated=True) from error
        self.state.step += 1
        self.state.loss_sum += value * size
        self.state.right += int(summed((logits.argmax(dim=1) == y).sum()))
        if self.at_end_of_epoch and not self._is_finite():
            raise self._diverged(x, epoch, step, value, updated=True)
        if self.config.checkpoint_steps and self.step % self.config.checkpoint_steps == 0 and not self.at_end_of_epoch:
            self.save()
        return Step(self.step - 1, epoch, self.state.phase, value)

    def end_epoch(self) -> Epoch | None:
        """Evaluate on the validation images, add to the history, save. None if that finds a divergence."""
        state, config, images = self.state, self.config, self.batches.count
        average_batch_norm(self.model)
        number = self.step // self.steps - 1
        try:
            accuracy = self.evaluations.validation_accuracy(number)
        except FloatingPointError as error:
            self._diverge(error, number, self.steps - 1)
            return None
        epoch = Epoch(number, state.loss_sum / images, state.right / images, accuracy, state.phase)
        state.history += (epoch,)
        state.loss_sum, state.right = 0.0, 0
        state.events.append({"event": "epoch", "step": self.step, **asdict(epoch), **joules_of(self.ledger)})
        if config.choose == "best" and epoch.phase == len(self.phases) - 1:
            state.keep_best(epoch, self.model)
        if out_of_patience(state.history, config.patience, phase=len(self.phases) - 1):
            state.stop("early", self.steps)
        by_steps = config.checkpoint_steps and self.step % config.checkpoint_steps == 0
        if by_steps or (number + 1) % config.checkpoint_every == 0 or self.ended:
            self.save()
        self._write_metrics()
        return epoch

    def after_callbacks(self, stop: bool) -> None:
        """End the training here if a callback of any process asked for it; save that, and learning rates it changed."""
        if any_of(stop, self.device) and self.state.stopped is None:
            if not self.at_end_of_epoch:
                average_batch_norm(self.model)
            self.state.stop("callback", self.steps)
            self.save()
            self._write_metrics()
        elif self.saved[0] == self.step and any_of(self.saved[1] != self.schedule.settings(), self.device):
            self.save()

    def result(self) -> Result:
        """Return the chosen epoch, evaluated on the test images; of a divergence the model as it is."""
        model, state = self.model.eval(), self.state
        diverged = Divergence(**state.diverged) if state.diverged is not None else None
        if diverged is not None and self.config.on_divergence == "raise":
            raise FloatingPointError(diverged.message)
        chosen = max(self.step - 1, 0) // self.steps if diverged is None else diverged.epoch
        if state.best is not None and diverged is None:
            model.load_state_dict(state.best["model"], strict=False)
            chosen = state.best["epoch"]
        seconds, core_seconds = self.seconds
        accuracies = self.evaluations.test_accuracies() if diverged is None else {}
        if accuracies:
            self._write_metrics({"event": "test", **{name: accuracy.mean for name, accuracy in accuracies.items()}})
        return Result(
            model,
            self.config,
            state.history,
            seconds,
            chosen,
            accuracies,
            self.ledger,
            self.ledger_in_sram,
            core_seconds=core_seconds,
            threads=torch.get_num_threads(),
            steps=self.step - self.first_step,
            identity=digest_of({k: v for k, v in self.identity.items() if k != "process"}) if self.path else None,
            stopped=Stopped(**state.stopped) if state.stopped is not None and self.step < self.last_step else None,
            diverged=diverged,
        )

    # ---- a checkpoint ------------------------------------------------------------------------------------------------

    def _shared(self) -> Parts:
        """Return what all processes of a training must have."""
        settings = {name: described(value) for name, value in self._settings() if not callable(value)}
        slots = set(IN_SLOTS.values())  # cells of activations belong to their process
        state = [line for line in state_of(self.model).splitlines() if not slots & set(line.split(" ")[0].split("."))]
        images = {"train": self.batches.identity(), "validation": described(self.evaluations.parts())}
        config = self.config  # processes meet to write a checkpoint
        when = str((config.checkpoint is not None, config.checkpoint_every, config.checkpoint_steps))
        return {**settings, "checkpoint": when, "model": "\n".join(state), **images}

    def _settings(self) -> list[tuple[str, Any]]:
        free = ("checkpoint", "checkpoint_every", "checkpoint_steps", "metrics", "progress", "on_divergence")
        return [(f.name, getattr(self.config, f.name)) for f in fields(self.config) if f.name not in free]

    def _identity(self) -> Parts:
        settings = self._settings()
        settings += [("processes", world()), ("process", rank()), ("threads", torch.get_num_threads())]
        images = {"training images": self.batches.identity(), "validation images": self.evaluations.parts()}
        return identity_of(self.model, self.optimizers, settings, images)

    def _resume(self) -> None:
        """Go on from the checkpoint, if there is one: of this training, or of one that left the model as it is."""
        assert self.path is not None
        left = LEFT.get(self.model)
        began = self.identity | left.began if left and left.at_end == of_model(self.identity) else self.identity
        saved = load_checkpoint(self.path, (self.identity, began), self.device, why_not=self._why_not_continued)
        if saved is None:
            return
        if left is not None and began != self.identity:
            self.identity, self.own, self.frozen = began, left.own, left.frozen
        self.state = State.restored(saved["state"])
        self.earlier, self.first_step = (self.state.seconds, self.state.core_seconds), self.step
        where = self.phases, self.state.phase
        self.memories = PhaseMemories(self.model, self.optimizers, *where, own=self.own, restoring=True)
        self.model.load_state_dict(saved["model"])
        for memory, state in zip(self._own_elsewhere(), saved["own"], strict=True):
            memory.load_state_dict(state)
        for optimizer, state in zip(self.optimizers, saved["optimizers"], strict=True):
            optimizer.load_state_dict(state)
        self.schedule.restore(saved["schedulers"])
        self.memories.restore(saved["memories"], self.optimizers)
        self._write_metrics()

    def _why_not_continued(self, was: int, content: dict[str, Any]) -> str | None:
        now, factor = self.config.epochs, self.schedule.factor
        numbers = {"was": was, "now": now, "steps": self.steps}
        return why_not_continued(content["state"], **numbers, factor=factor, phases=self.phases)

    def save(self) -> None:
        """Write the checkpoint."""
        if self.path is None:
            return
        self.state.seconds, self.state.core_seconds = self.seconds
        content = {
            "state": self.state.saved(),
            "model": self.model.state_dict(),  # with the streams and cells of the memories in its slots
            "own": [memory.state_dict() for memory in self._own_elsewhere()],
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "memories": self.memories.state(),
            "schedulers": self.schedule.state(),
        }
        save_checkpoint(self.path, self.identity, content)
        self.saved = self.step, self.schedule.settings()

    def _leave(self) -> None:
        """Keep how the model began, so that the same object can go on from the checkpoint after an interruption."""
        now = identity_of(self.model, [], [], {})
        LEFT[self.model] = Left(of_model(self.identity), of_model(now), self.own, self.frozen)

    # ---- inside ------------------------------------------------------------------------------------------------------

    def _own_elsewhere(self) -> list[nn.Module]:
        """Memories of the slots before the training, while a phase has put others there."""
        if self.phases[self.state.phase].memory is None:
            return []
        return [memory for slots in self.own.values() for memory in slots if memory is not None]

    def _is_finite(self) -> bool:
        return all(parameter.isfinite().all() for parameter in self.model.parameters())

    def _diverged(self, x: Tensor, epoch: int, step: int, loss: float, *, updated: bool = False) -> DivergedError:
        words = bool(self.memories.words)
        return DivergedError(diagnosis(self.model, x, epoch, step, loss, in_words=words, updated=updated))

    def _diverge(self, error: FloatingPointError, epoch: int, step: int) -> None:
        """End the training at a divergence, or raise it; so also where other processes would wait for this one."""
        alone = world() > 1 and not isinstance(error, DivergedError)
        if self.config.on_divergence == "raise" or alone:
            raise error
        found = isinstance(error, DivergedError)  # which names epoch and step
        self.state.diverge(epoch, step, str(error) if found else f"In epoch {epoch}, step {step}: {error}")
        self.save()
        self._write_metrics()

    def _reestimate(self, images: int) -> None:
        """Put the statistics of the first training images, with the memories of this phase, into every BatchNorm."""
        seed = child_seed(self.config.seed, "batch_norm_statistics", self.step)
        estimated = reestimate_batch_norm(self.model, self.batches.first(images), seed=seed)
        with torch.no_grad(), self.memories.update(self.step):
            for norm, other in zip(self.model.modules(), estimated.modules(), strict=True):
                for name, statistics in running_statistics(norm).items() if isinstance(norm, _BatchNorm) else ():
                    statistics.copy_(running_statistics(other)[name])

    def _write_metrics(self, *more: dict[str, Any]) -> None:
        if self.config.metrics is not None and rank() == 0:
            write_metrics(self.config.metrics, [*self.state.events, *more])
