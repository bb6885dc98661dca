"""Two processes train as one: the same errors, the same weights."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn

from bnn.data.augmentation import Augment
from bnn.errors.write_errors import WriteErrors
from bnn.layers.binary import BinaryLinear
from bnn.training.config import TrainConfig
from bnn.training.loop import Trainer
from bnn.training.phases import MRAM, Phase
from bnn.training.processes import require_equal
from networks import Images
from physics import point

POINT = point(0.05, 0.1)


def images(n, seed):
    stream = np.random.default_rng(seed)
    labels = stream.integers(0, 10, n)
    return Images(stream.normal(0, 1, (n, 16)).astype(np.float32), labels)


def network():
    """Without BatchNorm, whose statistics are those of a process."""
    memory = WriteErrors(error_rate_0=0.05, error_rate_1=0.1, seed=3)
    return nn.Sequential(
        BinaryLinear(16, 24, seed=1, input_quantizer=None, weight_quantizer=None),
        BinaryLinear(24, 10, seed=2, bias=True, scale="xnor", activation_memory=memory),
    )


def config(folder, processes):
    phases = (
        Phase(memory=None, until=0.5),
        Phase(memory=MRAM(point=POINT, holds=("activations", "signs"), errors="independent")),
    )
    return TrainConfig(
        epochs=2,
        batch_size=13,  # 50 images: batches of 12 or 13, hence parts of unequal size
        learning_rate=0.01,
        seed=0,
        phases=phases,
        checkpoint=folder / f"of_{processes}.pt",
        metrics=folder / f"of_{processes}",
        progress=False,
    )


def image_network(overflow_at=None):
    """For images of 4 by 4; `overflow_at`: the training batch from which on its outputs are infinite."""
    return nn.Sequential(nn.Flatten(), *([] if overflow_at is None else [Overflow(overflow_at)]), *network())


class Overflow(nn.Module):
    def __init__(self, n):
        super().__init__()
        self.calls, self.n = 0, n

    def forward(self, x):
        self.calls += self.training
        return x * float("inf") if self.calls > self.n else x


def squares(n, seed):
    flat = images(n, seed)
    return Images(flat.pixels.reshape(n, 1, 4, 4), flat.labels)


def options(folder, processes, **settings):
    """A clipped training of augmented images by a hinge, without phases."""
    base = {"augment": Augment(shift=1, flip=True), "clip_gradient": 0.02, "loss": "margin_hinge", "margin": 8.0}
    base |= {"phases": (), "metrics": None, "schedule": "constant", "epochs": 3, "learning_rate": 0.01}
    return replace(config(folder, processes), **(base | settings))


def stopped(folder, processes, on_step):
    kept = options(folder, processes, checkpoint=folder / f"stopped_{processes}.pt")
    return Trainer(image_network(), kept).fit(squares(50, 1), squares(30, 2), on_step=on_step)


def longer(folder, processes):
    """Two epochs, and then three on the checkpoint."""
    kept = options(folder, processes, checkpoint=folder / f"longer_{processes}.pt")
    Trainer(image_network(), replace(kept, epochs=2)).fit(squares(50, 1), squares(30, 2))
    return Trainer(image_network(), kept).fit(squares(50, 1), squares(30, 2))


def diverging(folder, processes):
    kept = options(folder, processes, checkpoint=folder / f"diverging_{processes}.pt", patience=3)
    with pytest.warns(UserWarning, match="The training diverged"):
        first = Trainer(image_network(5), kept).fit(squares(50, 1), squares(30, 2))
    with pytest.warns(UserWarning, match="The training diverged"):
        again = Trainer(image_network(5), kept).fit(squares(50, 1), squares(30, 2))
    assert (again.steps, again.diverged) == (0, first.diverged)
    return first


def train_with_options(rank, folder):
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/options", rank=rank, world_size=2, timeout=timedelta(seconds=60)
    )
    ends = stopped(folder, 2, (lambda step: step.step == 5) if rank else None)  # one of them asks for it
    more, wrong = longer(folder, 2), diverging(folder, 2)
    found = {"states": [result.model.state_dict() for result in (ends, more)], "stopped": vars(ends.stopped)}
    torch.save({**found, "diverged": vars(wrong.diverged), "epochs": len(more.history)}, folder / f"options_{rank}.pt")
    dist.destroy_process_group()


def test_losses_augmentation_clipping_and_ends_are_those_of_one_process(tmp_path):
    mp.spawn(train_with_options, (tmp_path,), nprocs=2)
    first, second = (torch.load(tmp_path / f"options_{rank}.pt", weights_only=True) for rank in (0, 1))
    alone = [stopped(tmp_path, 1, lambda step: step.step == 5), longer(tmp_path, 1)]
    for one, other, expected in zip(first["states"], second["states"], alone, strict=True):
        for name, parameter in expected.model.named_parameters():
            assert torch.equal(one[name], other[name])
            assert (one[name] - parameter).abs().max() < 1e-5  # as above
    assert first["stopped"] == second["stopped"] == vars(alone[0].stopped)
    wrong = diverging(tmp_path, 1).diverged
    for found in (first, second):
        assert found["epochs"] == len(alone[1].history) == 3
        assert (found["diverged"]["epoch"], found["diverged"]["step"]) == (wrong.epoch, wrong.step) == (1, 1)


def train(rank, folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    result = Trainer(network(), config(folder, 2)).fit(images(50, 1), images(30, 2))
    torch.save((result.model.state_dict(), [e.loss for e in result.history]), folder / f"{rank}.pt")
    dist.destroy_process_group()


def test_two_processes_train_as_one(tmp_path):
    mp.spawn(train, (tmp_path,), nprocs=2)
    (first, losses), (second, _) = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    alone = Trainer(network(), config(tmp_path, 1)).fit(images(50, 1), images(30, 2))
    for name, parameter in alone.model.named_parameters():
        assert torch.equal(first[name], second[name])
        assert (first[name] - parameter).abs().max() < 1e-5  # eight Adam steps on gradients that agree to 1e-6
    np.testing.assert_allclose(losses, [e.loss for e in alone.history], rtol=1e-5)
    assert sorted(path.name for path in tmp_path.glob("of_2*")) == ["of_2", "of_2.pt", "of_2.rank1.pt"]
    rows = [(tmp_path / f"of_{n}" / "metrics.csv").read_text().splitlines()[-1].split(",") for n in (1, 2)]
    assert rows[0][4:] == rows[1][4:]


def test_what_differs_between_processes_is_named(monkeypatch):
    mine, other = {"seed": "0", "model": "a = 1\nb = 2"}, {"seed": "0", "model": "a = 1\nb = 3"}
    require_equal(lambda: {}["of one process: not asked for"])
    monkeypatch.setattr("bnn.training.processes._several", lambda: True)
    for gathered, message in (
        ([mine, mine], None),
        ([mine, other], "model must be the same in every process, got b = 2 and b = 3. Give each the whole"),
        ([mine, {"seed": "0"}], "model must be the same .* got a = 1 and None"),
        ([{"seed": "0"}, mine], "model must be the same .* got None and a = 1"),
    ):
        monkeypatch.setattr("bnn.training.processes.gathered", lambda parts, gathered=gathered: gathered)
        if message is None:
            require_equal(lambda: mine)
            continue
        with pytest.raises(ValueError, match=message):
            require_equal(lambda: mine)


DIFFERENT = {  # what the second process has otherwise, and the name of it
    "train": {"train": images(50, 3)},
    "validation": {"validation": None},
    "seed": {"seed": 1},
    "batch_size": {"batch_size": 14},
    "checkpoint": {"checkpoint_every": 2},
    "model": {"scale": 2.0},
}


def differ(rank, folder):
    """Train with one difference at a time; a process that went on alone would wait for the other."""
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2, timeout=timedelta(seconds=30)
    )
    messages = []
    for other in DIFFERENT.values():
        own = other if rank else {}
        settings = {k: own[k] for k in ("seed", "batch_size", "checkpoint_every") if k in own}
        model = network()
        with torch.no_grad():
            model[0].weight.mul_(own.get("scale", 1.0))
        steps = []
        try:
            Trainer(model, replace(config(folder, 2), **settings)).fit(
                own.get("train", images(50, 1)), own.get("validation", images(30, 2)), on_step=steps.append
            )
        except ValueError as error:
            messages.append(str(error))
        assert not steps
    torch.save(messages, folder / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow  # two processes import torch
def test_processes_that_would_not_train_the_same_are_refused(tmp_path):
    """Each takes its part of every batch: of images of its own, the other half would never be used."""
    mp.spawn(differ, (tmp_path,), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    assert first == second
    for name, message in zip(DIFFERENT, first, strict=True):
        assert message.startswith(f"{name} must be the same in every process, got "), message
