"""Training: one loop, read top to bottom, resumed bit for bit.

The result is the last epoch. No epoch is chosen, least of all on a test set.
"""

import hashlib
import math
import os
import sys
import time
import zipfile
from collections.abc import Callable
from dataclasses import astuple, dataclass, fields
from itertools import zip_longest
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from bnn.binarize import clip_latent_
from bnn.errors import address, check_seed, seeded_generator
from bnn.evaluate import LabelledImages, evaluate

SCHEDULES: dict[str, Callable[[float], float]] = {  # share of the training done -> factor of the learning rate
    "constant": lambda done: 1.0,
    "cosine": lambda done: 0.5 * (1.0 + math.cos(math.pi * done)),
    "one_cycle": lambda done: (
        0.52 - 0.48 * math.cos(math.pi * done / 0.3)
        if done < 0.3
        else 0.5 * (1.0 + math.cos(math.pi * (done - 0.3) / 0.7))
    ),
}
ORDER, VALIDATION = 0, 1  # roles of the training seed's children


@dataclass(frozen=True)
class TrainConfig:
    """What makes a training: the same config, model and data give the same bits.

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
        Of the order of the images. Weights and errors have their own, see `bnn.models`.
    checkpoint : Path, optional
        File to resume from if it exists, and to write to.
    checkpoint_every : int, >= 1
        Epochs from one checkpoint to the next; the last epoch is always written.
    progress : bool, optional
        Show a bar on stderr. None: if stderr is a terminal.

    Raises
    ------
    ValueError
        For a number out of range or an unknown schedule.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    seed: int
    weight_decay: float = 0.0
    schedule: str = "one_cycle"
    checkpoint: Path | None = None
    checkpoint_every: int = 1
    progress: bool | None = None

    def __post_init__(self) -> None:
        check_seed(self.seed)
        for name in ("epochs", "batch_size", "checkpoint_every"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} must be a whole number >= 1, got {value!r}.")
        if not 0.0 < self.learning_rate < math.inf:
            raise ValueError(f"learning_rate must be > 0 and finite, got {self.learning_rate}.")
        if not 0.0 <= self.weight_decay < math.inf:
            raise ValueError(f"weight_decay must be >= 0 and finite, got {self.weight_decay}.")
        if self.schedule not in SCHEDULES:
            raise ValueError(f"schedule must be one of {', '.join(SCHEDULES)}, got {self.schedule!r}.")


@dataclass(frozen=True)
class Epoch:
    """One line of a training's history: accuracies as shares, loss in nats, both under the model's own memories.

    `loss` and `train_accuracy` are means over the epoch's steps, while the weights still moved.
    """

    epoch: int
    loss: float
    train_accuracy: float
    validation_accuracy: float | None


@dataclass(frozen=True)
class Result:
    """A finished training: the model of the last epoch, in eval mode, and how it got there.

    `seconds` is the wall time of all its parts, if it was resumed.
    """

    model: nn.Module
    config: TrainConfig
    history: tuple[Epoch, ...]
    seconds: float


@dataclass(frozen=True)
class Trainer:
    """Trains `model` as `config` says, in place.

    Parameters
    ----------
    model : Module
        Its memories decide what errs during training: see `bnn.errors.WriteErrors`.
    config : TrainConfig
    """

    model: nn.Module
    config: TrainConfig

    def fit(
        self,
        train: LabelledImages,
        validation: LabelledImages | None = None,
        *,
        on_epoch: Callable[[Epoch], None] | None = None,
    ) -> Result:
        """Train to the last epoch, from the checkpoint if there is one.

        Parameters
        ----------
        train, validation : objects with ``scaled()`` and ``labels``
            The validation images are only looked at: once each epoch, written once to the model's own memories.
        on_epoch : callable, optional
            Called with each `Epoch`, after its checkpoint. An exception from it ends the training, to be resumed.

        Raises
        ------
        ValueError
            For no or non-finite training images, or a checkpoint that is damaged or of another training.
        FloatingPointError
            When the loss or a weight is no longer finite; names the layer where it began, the epoch and the step.

        Notes
        -----
        Adam on the cross entropy; after each step the latent weights of binary layers are clipped to [-1, 1]. The order
        of the images is drawn anew each epoch from (seed, epoch). A layer that draws from torch's global stream
        (`nn.Dropout`) works, but is not resumed bit for bit.
        """
        model, config, started = self.model, self.config, time.perf_counter()
        device = next(model.parameters()).device
        images, labels = torch.from_numpy(train.scaled()).to(device), torch.tensor(train.labels).to(device)
        _check_images(images)
        steps = -(-len(images) // config.batch_size)
        optimizer = torch.optim.Adam(
            model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
        )
        identity = _identity(config, model, images, labels) if config.checkpoint else {}
        history, before = _resume(config.checkpoint, identity, model, optimizer)
        bar = tqdm(range(len(history), config.epochs), desc="train", unit="epoch", disable=_silent(config), leave=False)
        for epoch in bar:
            model.train()
            order = torch.randperm(len(images), generator=seeded_generator(config.seed, ORDER, epoch)).to(device)
            loss_sum, right = 0.0, torch.zeros((), dtype=torch.int64, device=device)
            for step, batch in enumerate(order.tensor_split(steps)):
                _set_learning_rate(optimizer, config, (epoch * steps + step) / (config.epochs * steps))
                x, y = images[batch], labels[batch]
                address(model, step=epoch * steps + step, samples=batch.cpu())
                logits = model(x)
                loss = F.cross_entropy(logits, y)
                if not math.isfinite(value := loss.item()):
                    raise FloatingPointError(_diagnosis(model, x, epoch, step, value))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                clip_latent_(model)
                loss_sum += value * len(batch)
                right += (logits.argmax(dim=1) == y).sum()
            if not all(parameter.isfinite().all() for parameter in model.parameters()):
                raise FloatingPointError(_diagnosis(model, x, epoch, step, value))
            history += (
                Epoch(
                    epoch,
                    loss_sum / len(images),
                    right.item() / len(images),
                    _validation_accuracy(model, validation, config, epoch),
                ),
            )
            done = before + time.perf_counter() - started
            if config.checkpoint and ((epoch + 1) % config.checkpoint_every == 0 or epoch + 1 == config.epochs):
                _save(config.checkpoint, identity, model, optimizer, history, done)
            bar.set_postfix(loss=f"{history[-1].loss:.3f}", accuracy=f"{history[-1].train_accuracy:.3f}")
            if on_epoch is not None:
                on_epoch(history[-1])
        return Result(model.eval(), config, history, before + time.perf_counter() - started)


def _set_learning_rate(optimizer: torch.optim.Optimizer, config: TrainConfig, done: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = config.learning_rate * SCHEDULES[config.schedule](done)


def _validation_accuracy(
    model: nn.Module, validation: LabelledImages | None, config: TrainConfig, epoch: int
) -> float | None:
    if validation is None:
        return None
    seed = seeded_generator(config.seed, VALIDATION, epoch).initial_seed()
    return evaluate(model, validation, errors="as_trained", draws=1, seed=seed).mean


def _silent(config: TrainConfig) -> bool:
    return not (sys.stderr.isatty() if config.progress is None else config.progress)


def _check_images(images: Tensor) -> None:
    if len(images) == 0:
        raise ValueError("train must hold at least one image, got none.")
    if not images.isfinite().all():
        first = int((~images.isfinite()).flatten(1).any(dim=1).nonzero()[0])
        raise ValueError(f"train must hold finite values, got a value that is not in image {first}.")


@torch.no_grad()
def _diagnosis(model: nn.Module, x: Tensor, epoch: int, step: int, loss: float) -> str:
    """Say where the numbers first stopped being finite: last step's gradients, the weights, or this forward pass."""
    where = f"in epoch {epoch}, step {step} (loss {loss})"
    advice = "Lower learning_rate, or look at the scale of the images."
    parameters = list(model.named_parameters())
    for name, parameter in reversed(parameters):  # the backward pass meets the last layer first
        if parameter.grad is not None and not parameter.grad.isfinite().all():
            return f"the gradient of {name} in the step before is not finite, {where}. {advice}"
    for name, parameter in parameters:
        if not parameter.isfinite().all():
            return f"{name} is not finite, {where}. {advice}"
    outputs: list[str] = []

    def look(name: str) -> Callable[..., None]:
        def note(module: nn.Module, inputs: object, output: object) -> None:
            if isinstance(output, Tensor) and not output.isfinite().all():
                outputs.append(name)

        return note

    hooks = [module.register_forward_hook(look(name)) for name, module in model.named_modules() if name]
    model(x)
    for hook in hooks:
        hook.remove()
    return f"the output of {outputs[0] if outputs else 'the model'} is not finite, {where}. {advice}"


def _identity(config: TrainConfig, model: nn.Module, images: Tensor, labels: Tensor) -> dict[str, str]:
    """Return what must be equal for a checkpoint to be continued, each as text."""
    digest = hashlib.sha256(images.cpu().numpy().tobytes() + labels.cpu().numpy().tobytes()).hexdigest()
    free = ("checkpoint", "checkpoint_every", "progress")
    settings = {f.name: repr(getattr(config, f.name)) for f in fields(config) if f.name not in free}
    return {**settings, "model": repr(model), "training images": f"{tuple(images.shape)}, sha256 {digest}"}


def _resume(
    path: Path | None, identity: dict[str, str], model: nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[tuple[Epoch, ...], float]:
    """Restore model and optimizer from `path`, if it exists; return the history and the seconds so far."""
    if path is None:
        return (), 0.0
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        return (), 0.0
    try:
        with zipfile.ZipFile(path) as archive:  # torch writes check sums, and does not look at them
            if damaged := archive.testzip():
                raise ValueError(f"{damaged} is damaged")
        saved = torch.load(path, weights_only=True, map_location=next(model.parameters()).device)
        found, history = saved["identity"], tuple(Epoch(*row) for row in saved["history"])
    except Exception as error:  # torch raises half a dozen types for a damaged file
        raise ValueError(f"checkpoint {path} cannot be read, delete it to start anew ({error}).") from error
    for name in identity:
        if found.get(name) != identity[name]:
            was, now = _difference(str(found.get(name)), identity[name])
            raise ValueError(
                f"checkpoint {path} is of another training: {name} was {was}, is {now}. "
                "Name another file, or delete it."
            )
    model.load_state_dict(saved["model"])
    optimizer.load_state_dict(saved["optimizer"])
    return history, saved["seconds"]


def _difference(was: str, now: str) -> tuple[str, str]:
    """Return the first lines in which two texts differ."""
    for a, b in zip_longest(was.splitlines(), now.splitlines(), fillvalue="nothing"):
        if a != b:
            return a.strip(), b.strip()
    return was, now


def _save(
    path: Path,
    identity: dict[str, str],
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    history: tuple[Epoch, ...],
    seconds: float,
) -> None:
    """Write the checkpoint under a temporary name, then rename it: the file is the old one or the new one, whole."""
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as file:
        torch.save(
            {
                "identity": identity,
                "model": model.state_dict(),  # with the streams of its memories
                "optimizer": optimizer.state_dict(),
                "history": [astuple(epoch) for epoch in history],
                "seconds": seconds,
            },
            file,
        )
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
