"""One run of a training: its state, its steps and epochs, its checkpoints."""

import math
import sys
import time
import warnings
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, fields
from typing import Any
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.data import DataLoader
from tqdm import tqdm

from bnn.counting.logits import checked_logits
from bnn.data.image_files import ImageFiles
from bnn.data.images import ImageSet
from bnn.data.labelled import Labelled, labelled
from bnn.errors.keys import address, forget_address
from bnn.evaluation.accuracy import evaluate
from bnn.evaluation.batch_norm import reestimate_batch_norm
from bnn.evaluation.logits import check_fits
from bnn.layers.constant_bits import bits_of_eager_copy, constant_layers, watched_bits
from bnn.layers.graph import is_compiled
from bnn.layers.inputs import labelled_tensors
from bnn.layers.latent import clip_latent_
from bnn.streams import torch_generator
from bnn.training.checkpoint import load_checkpoint, locked, save_checkpoint
from bnn.training.config import TrainConfig
from bnn.training.finite import diagnosis
from bnn.training.identity import Parts, described, digest_of, frozen_modules, identity_of, state_of
from bnn.training.metrics import write_metrics
from bnn.training.phase_memories import PhaseMemories, check_model, slots_of
from bnn.training.phases import IN_SLOTS, Phase, first_steps
from bnn.training.processes import (
    average_batch_norm,
    average_gradients,
    from_first,
    own_file,
    part_of,
    rank,
    require_equal,
    summed,
    world,
)
from bnn.training.result import Epoch, Result, Step
from bnn.training.schedule import Schedule
from bnn.training.state import State
from bnn.training.tensor_words import running_statistics
from bridge.ledger import SCOPES, Ledger
from mtjsim.checks import ArgumentError
from mtjsim.rng import child_seed


@dataclass(frozen=True)
class _Left:
    """How a training began with a model, and how it left it: the parts of its identity, and its own memories."""

    began: Parts
    at_end: Parts
    own: dict[str, list[nn.Module | None]]
    frozen: list[nn.Module]


_LEFT: WeakKeyDictionary[nn.Module, _Left] = WeakKeyDictionary()  # of trainings with a checkpoint, in this process


def _of_model(identity: Parts) -> Parts:
    return {name: identity[name] for name in ("model", "initial state")}


OUT_OF_MEMORY = ("can't allocate memory", "out of memory")  # of torch, on the CPU and on a GPU
MakeOptimizers = Callable[[nn.Module, TrainConfig], torch.optim.Optimizer | Sequence[torch.optim.Optimizer]]


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
        if config.choose == "best" and validation is None:
            raise ArgumentError("validation", 'must be given where choose is "best": other images choose no epoch.')
        if not torch.is_grad_enabled():
            raise RuntimeError("A training needs gradients: call fit() outside of torch.no_grad().")
        if not any(parameter.requires_grad for parameter in model.parameters()):
            raise ArgumentError("model", "must have parameters with requires_grad=True: there is nothing to train.")
        self.device = next(self.model.parameters()).device
        _check_loader(train, config.batch_size)
        self.images, self.labels = labelled_tensors(model, "train", train)
        self.validation, self.test = self._checked("validation", validation), self._checked("test", test)
        self.steps = -(-len(self.images) // self.config.batch_size)  # in an epoch
        if len(self.images) // self.steps < world():
            raise ArgumentError("batch_size", f"must be >= {world()}, an image a process, got {config.batch_size}.")
        self.last_step = self.config.epochs * self.steps
        self.phases = self.config.phases or (Phase(memory=None),)
        self.first_steps = first_steps(self.phases, self.last_step)
        self.optimizers = _optimizers(model, config, optimizer or _adam)
        self.schedule = Schedule(config, self.optimizers, self.steps)
        check_model(self.model, self.optimizers, self.phases)
        self.own = slots_of(self.model)
        self.frozen = frozen_modules(self.model)
        self.path = own_file(self.config.checkpoint) if self.config.checkpoint else None
        self.identity: Parts = self._identity() if self.path else {}
        require_equal(self._shared)
        none = [Phase(memory=None)]  # before the first
        self.memories = PhaseMemories(self.model, self.optimizers, none, 0, own=self.own)
        self.state, self.order, self.stepped = State(), torch.empty(0), False
        self.earlier, self.first_step = (0.0, 0.0), 0  # seconds and core-seconds, and steps, before this call

    def _checked(self, argument: str, data: Labelled | None) -> Any:
        """Return images of an evaluation, checked before any work; those that can be read again are not kept."""
        if data is None:
            return None
        own = data if isinstance(data, (ImageSet, ImageFiles)) else None  # they check themselves
        first: Any = labelled(argument, data) if own is None else own.subset([0])
        image, _ = labelled_tensors(self.model, argument, (first.scaled()[:1], first.labels[:1]))
        if image.shape[1:] != self.images.shape[1:]:
            check_fits(self.model, argument, image)
        return data if hasattr(data, "scaled") else first

    def _first_logits(self, x: Tensor) -> Tensor:
        """Return the logits of the first batch; images, labels and signs are checked with them, before any update."""
        try:
            with bits_of_eager_copy(self.model, x) if is_compiled(self.model) else watched_bits(self.model) as found:
                logits = checked_logits(self.model(x), x)
        except RuntimeError:
            check_fits(self.model, "train", x)
            raise
        sets = {"train": self.labels, "validation": self.validation, "test": self.test}
        for argument, data in sets.items():
            if data is not None:
                labels = data if isinstance(data, Tensor) else torch.tensor(data.labels)
                checked_logits(logits, x, labels, argument=argument)
        for text in constant_layers(found).values():
            remedy = "Put a BatchNorm before it, or see activation= of bnn.binarize."
            warnings.warn(f"{text}, in the first batch. {remedy}", stacklevel=5)
        self.stepped = True
        return logits

    # ---- progress ----------------------------------------------------------------------------------------------------

    @property
    def step(self) -> int:
        """Steps done."""
        return self.state.step

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
        return self.state.spent + self.memories.ledger

    @contextmanager
    def prepared(self) -> Iterator[None]:
        """Hold and load the checkpoint; at the end, also after an exception, memories are on automatic numbers."""
        with ExitStack() as stack:
            stack.callback(forget_address, self.model)
            if self.path is not None:
                stack.enter_context(locked(self.path))
                self._resume()
                stack.callback(self._leave)
            yield

    def progress_bar(self) -> tqdm:
        """Return the bar of steps on stderr, silent where none is wanted."""
        silent = not (sys.stderr.isatty() if self.config.progress is None else self.config.progress) or rank() > 0
        return tqdm(total=self.last_step, initial=self.step, desc="train", unit="step", disable=silent, leave=False)

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

    def take_step(self) -> Step:
        """Forward, backward, update; what is in memories is written there and read back."""
        epoch, step = divmod(self.step, self.steps)
        batch = self._batch(epoch, step)
        what = f"step {self.step} of the training, a batch of {len(batch)} images of {tuple(self.images.shape[1:])}"
        with _explained(what):
            return self._step(epoch, step, batch)

    def _step(self, epoch: int, step: int, batch: Tensor) -> Step:
        part = part_of(batch)
        x, y = self.images[part], self.labels[part]
        address(self.model, step=self.step, samples=part.cpu())
        logits = checked_logits(self.model(x), x) if self.stepped else self._first_logits(x)
        loss = F.cross_entropy(logits, y) * (len(part) * world() / len(batch))
        value = summed(loss.detach()).item() / world()
        if not math.isfinite(value):
            raise self._diverged(self.images[part], epoch, step, value)
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        loss.backward()
        average_gradients(self.model)
        self.schedule.set_rates(self.step)
        with self.memories.update(self.step):
            for optimizer in self.optimizers:
                optimizer.step()
            clip_latent_(self.model)
        self.state.step += 1
        self.state.loss_sum += value * len(batch)
        self.state.right += int(summed((logits.argmax(dim=1) == y).sum()))
        if self.at_end_of_epoch and not all(parameter.isfinite().all() for parameter in self.model.parameters()):
            raise self._diverged(self.images[part], epoch, step, value)
        if self.config.checkpoint_steps and self.step % self.config.checkpoint_steps == 0 and not self.at_end_of_epoch:
            self.save()
        return Step(self.step - 1, epoch, self.state.phase, value)

    def _batch(self, epoch: int, step: int) -> Tensor:
        """Return which images a step is of; an epoch's first step, and a resumed one, draw the order."""
        if step == 0 or not len(self.order):
            self.model.train()
            self._keep_frozen()
            stream = torch_generator(self.config.seed, "image_order", epoch)
            self.order = torch.randperm(len(self.images), generator=stream).to(self.device)
        return self.order.tensor_split(self.steps)[step]

    def _keep_frozen(self) -> None:
        """Put the modules that were in evaluation mode back into it; warn once, since they may be so by mistake."""
        forced = [module for module in self.frozen if module.training]
        for module in forced:
            module.training = False
        if forced and not self.stepped:
            names = [name for name, module in self.model.named_modules() if module in set(forced)]
            others = f" and {len(names) - 1} more modules" * (len(names) > 1)
            warnings.warn(
                f"{names[0]!r}{others} of the model are in evaluation mode, and stay in it. Call model.train() before "
                "fit() to train them too.",
                stacklevel=5,
            )

    def end_epoch(self) -> Epoch:
        """Evaluate on the validation images, add to the history, save."""
        state, config, images = self.state, self.config, len(self.images)
        average_batch_norm(self.model)
        epoch = Epoch(
            self.step // self.steps - 1,
            state.loss_sum / images,
            state.right / images,
            self._validation_accuracy(),
            state.phase,
        )
        state.history += (epoch,)
        state.loss_sum, state.right = 0.0, 0
        state.events.append({"event": "epoch", "step": self.step, **asdict(epoch), **_joules(self.ledger)})
        self._keep_best(epoch)
        by_steps = config.checkpoint_steps and self.step % config.checkpoint_steps == 0
        if by_steps or (epoch.epoch + 1) % config.checkpoint_every == 0 or self.step == self.last_step:
            self.save()
        self._write_metrics()
        return epoch

    def result(self) -> Result:
        """Return the chosen epoch, evaluated on the test images."""
        model, best, test = self.model.eval(), self.state.best, self.test
        if best is not None:
            model.load_state_dict(best["model"], strict=False)
        seconds, core_seconds = self.seconds
        accuracies = {}
        if test is not None:
            seed, test = child_seed(self.config.seed, "test"), labelled("test", test)
            accuracies["clean"] = evaluate(model, test)
            accuracies["as_trained"] = evaluate(model, test, errors="as_trained", weight_errors="as_trained", seed=seed)
            self._write_metrics({"event": "test", **{name: accuracy.mean for name, accuracy in accuracies.items()}})
        chosen = best["epoch"] if best is not None else self.config.epochs - 1
        return Result(
            model,
            self.config,
            self.state.history,
            seconds,
            chosen,
            accuracies,
            self.ledger,
            core_seconds=core_seconds,
            threads=torch.get_num_threads(),
            steps=self.step - self.first_step,
            identity=digest_of({k: v for k, v in self.identity.items() if k != "process"}) if self.path else None,
        )

    # ---- a checkpoint ------------------------------------------------------------------------------------------------

    def _shared(self) -> Parts:
        """Return what all processes of a training must have."""
        settings = {name: described(value) for name, value in self._settings() if not callable(value)}
        slots = set(IN_SLOTS.values())  # cells of activations belong to their process
        state = [line for line in state_of(self.model).splitlines() if not slots & set(line.split(" ")[0].split("."))]
        own = getattr(self.validation, "identity", None)
        other = own if own or self.validation is None else (self.validation.scaled(), self.validation.labels)
        images = {"train": described((self.images, self.labels)), "validation": described(other)}
        config = self.config  # processes meet to write a checkpoint
        when = str((config.checkpoint is not None, config.checkpoint_every, config.checkpoint_steps))
        return {**settings, "checkpoint": when, "model": "\n".join(state), **images}

    def _settings(self) -> list[tuple[str, Any]]:
        free = ("checkpoint", "checkpoint_every", "checkpoint_steps", "metrics", "progress")
        return [(f.name, getattr(self.config, f.name)) for f in fields(self.config) if f.name not in free]

    def _identity(self) -> Parts:
        settings = self._settings()
        settings += [("processes", world()), ("process", rank()), ("threads", torch.get_num_threads())]
        other = self.validation
        images = {
            "training images": (self.images, self.labels),
            "validation images": None
            if other is None
            else (torch.as_tensor(other.scaled()), torch.tensor(other.labels)),
        }
        return identity_of(self.model, self.optimizers, settings, images)

    def _resume(self) -> None:
        """Go on from the checkpoint, if there is one: of this training, or of one that left the model as it is."""
        assert self.path is not None
        left = _LEFT.get(self.model)
        began = self.identity | left.began if left and left.at_end == _of_model(self.identity) else self.identity
        saved = load_checkpoint(self.path, (self.identity, began), self.device)
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

    def _leave(self) -> None:
        """Keep how the model began, so that the same object can go on from the checkpoint after an interruption."""
        now = identity_of(self.model, [], [], {})
        _LEFT[self.model] = _Left(_of_model(self.identity), _of_model(now), self.own, self.frozen)

    # ---- inside ------------------------------------------------------------------------------------------------------

    def _own_elsewhere(self) -> list[nn.Module]:
        """Memories of the slots before the training, while a phase has put others there."""
        if self.phases[self.state.phase].memory is None:
            return []
        return [memory for slots in self.own.values() for memory in slots if memory is not None]

    def _diverged(self, x: Tensor, epoch: int, step: int, loss: float) -> FloatingPointError:
        return FloatingPointError(diagnosis(self.model, x, epoch, step, loss, in_words=bool(self.memories.words)))

    def _reestimate(self, images: int) -> None:
        """Put the statistics of the first training images, with the memories of this phase, into every BatchNorm."""
        seed = child_seed(self.config.seed, "batch_norm_statistics", self.step)
        estimated = reestimate_batch_norm(self.model, self.images[:images], seed=seed)
        with torch.no_grad(), self.memories.update(self.step):
            for norm, other in zip(self.model.modules(), estimated.modules(), strict=True):
                for name, statistics in running_statistics(norm).items() if isinstance(norm, _BatchNorm) else ():
                    statistics.copy_(running_statistics(other)[name])

    def _validation_accuracy(self) -> float | None:
        if self.validation is None:
            return None
        if rank() > 0:
            return from_first(None)
        seed = child_seed(self.config.seed, "validation", self.step // self.steps - 1)
        as_trained: dict[str, Any] = {"errors": "as_trained", "weight_errors": "as_trained"}
        return from_first(evaluate(self.model, self.validation, **as_trained, draws=1, seed=seed).mean)

    def _keep_best(self, epoch: Epoch) -> None:
        """Keep the parameters of the best epoch of the last phase; not its memories, which go on."""
        if self.config.choose == "last" or epoch.phase < len(self.phases) - 1:
            return
        if self.state.best is None or epoch.validation_accuracy > self.state.best["accuracy"]:
            slots = set(IN_SLOTS.values())
            network = {k: x.clone() for k, x in self.model.state_dict().items() if not slots & set(k.split("."))}
            self.state.best = {"epoch": epoch.epoch, "accuracy": epoch.validation_accuracy, "model": network}

    def _write_metrics(self, *more: dict[str, Any]) -> None:
        if self.config.metrics is not None and rank() == 0:
            write_metrics(self.config.metrics, [*self.state.events, *more])


def _optimizers(model: nn.Module, config: TrainConfig, make: MakeOptimizers) -> list[torch.optim.Optimizer]:
    """Return the optimizers; ArgumentError unless they change parameters of the model, and nothing else."""
    rule = "must be a function (model, config) that returns an Optimizer, or several"
    try:
        made = make(model, config)
    except TypeError as error:
        raise ArgumentError("optimizer", f"{rule}; called so, it raised {error!r}.") from error
    optimizers: list[Any] = list(made) if isinstance(made, (list, tuple)) else [made]
    if not optimizers or not all(isinstance(optimizer, torch.optim.Optimizer) for optimizer in optimizers):
        raise ArgumentError("optimizer", f"{rule}, got {made!r}.")
    own = {id(parameter) for parameter in model.parameters()}
    for optimizer in optimizers:
        if isinstance(optimizer, torch.optim.LBFGS):
            raise ArgumentError("optimizer", f"{rule}; not an LBFGS, which runs a batch several times a step.")
        given = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        if others := sum(id(parameter) not in own for parameter in given):
            rule = "must have parameters of the model that it is called with"
            got = f"got {others} of {len(given)} that are others (bnn.binarize returns a copy)"
            raise ArgumentError("optimizer", f"{rule}, {got}.")
    return optimizers


def _adam(model: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    return torch.optim.Adam(model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True)


@contextmanager
def _explained(what: str) -> Iterator[None]:
    """Raise MemoryError, with what was computed, where torch raises a RuntimeError; name a batch that is too small."""
    try:
        yield
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        rule = f"must give each batch two images where there is a BatchNorm of one value an image. For {what}"
        raise ArgumentError("batch_size", f"{rule}: {error}") from error
    except RuntimeError as error:
        if not any(text in str(error) for text in OUT_OF_MEMORY):
            raise
        asked = str(error).splitlines()[0].rpartition("] ")[2]
        raise MemoryError(f"For {what}: {asked} Take a smaller batch_size, or a smaller model.") from error


def _joules(ledger: Ledger) -> dict[str, float]:
    """Return the energy in each scope, if anything was counted."""
    return {f"joules_{scope}": ledger.joules(scope) for scope in SCOPES} if ledger.entries else {}


def _check_loader(train: Labelled, batch_size: int) -> None:
    own = getattr(train.batch_sampler, "batch_size", None) if isinstance(train, DataLoader) else batch_size
    if own not in (None, batch_size):
        rule = f"must be a DataLoader with batches of config.batch_size={batch_size}, got {own}"
        raise ArgumentError("train", f"{rule}. Make the two equal, or pass train.dataset.")
