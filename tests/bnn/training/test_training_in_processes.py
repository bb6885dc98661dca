"""Two processes train as one: the same errors, the same weights."""

import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn

from bnn.errors.write_errors import WriteErrors
from bnn.layers.binary import BinaryLinear
from bnn.training.config import TrainConfig
from bnn.training.loop import Trainer
from bnn.training.phases import MRAM, Phase
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
