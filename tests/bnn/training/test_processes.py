"""Two processes under gloo, half of the batch each: the errors and the gradients of the single process."""

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from bnn.errors.keys import address
from bnn.errors.overwrite import OverwriteErrors
from bnn.errors.write_errors import WriteErrors
from bnn.layers.binary import BinaryConv2d, BinaryLinear
from bnn.layers.slots import activation_memories

STEPS, BATCH = 3, 12


class Recording(nn.Module):
    """A memory that remembers which bits erred, and hands the rest through."""

    def __init__(self, memory):
        super().__init__()
        self.memory, self.errors = memory, []

    def forward(self, x):
        out = self.memory(x)
        self.errors.append((out != x).numpy())
        return out


def network(path):
    """LeNet-4 in small, without BatchNorm; the gradient of the errors is in it."""
    model = nn.Sequential(
        BinaryConv2d(1, 4, 5, seed=1, bias=True, input_quantizer=None, weight_quantizer=None),
        nn.MaxPool2d(2),
        BinaryConv2d(4, 8, 3, seed=2, bias=True, scale="xnor"),
        nn.Flatten(),
        BinaryLinear(8 * 100, 10, seed=3, bias=True, scale="xnor"),
    ).double()
    rates = {"error_rate_0": 0.1, "error_rate_1": 0.02, "seed": 5, "path": path}
    for index, layer in enumerate(activation_memories(model).values()):
        layer.activation_memory = Recording(WriteErrors(**rates, layer=index, gradient="flipped"))
    return model


def gradients(model, x, samples, rounds):
    """Sum over steps of the gradients of the mean loss; each step has another address."""
    found = []
    for step in range(rounds):
        model.zero_grad()
        address(model, step=step, samples=samples)
        model(x).square().mean().backward()
        found.append(torch.cat([p.grad.flatten() for p in model.parameters()]).numpy().copy())
    return found


def images():
    return torch.rand(BATCH, 1, 28, 28, generator=torch.Generator().manual_seed(0), dtype=torch.float64) - 0.5


def of_one_process(rank, folder):
    """Half of the batch, interleaved, wrapped as torch wraps it; everything that is looked at goes to files."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    try:
        for path in ("numba", "torch"):
            model = network(path)
            mine = np.arange(rank, BATCH, 2)
            found = gradients(DistributedDataParallel(model), images()[mine], 100 + mine, STEPS)
            np.savez(f"{folder}/{path}{rank}.npz", *found, *errors_of(model))
    finally:
        dist.destroy_process_group()


def errors_of(model):
    """Where bits erred, of each layer and step."""
    return [errors for layer in model.modules() if isinstance(layer, Recording) for errors in layer.errors]


@pytest.fixture(scope="module")
def halves(tmp_path_factory):
    """Path -> for each process, its gradients and errors."""
    folder = tmp_path_factory.mktemp("processes")
    mp.start_processes(of_one_process, args=(str(folder),), nprocs=2, start_method="spawn")
    found = {}
    for path in ("numba", "torch"):
        files = [np.load(folder / f"{path}{rank}.npz") for rank in range(2)]
        found[path] = [[file[name] for name in file.files] for file in files]
        for file in files:
            file.close()
    return found


def test_errors_and_gradients_of_two_processes_are_those_of_one(halves):
    model = network("numba")
    whole = gradients(model, images(), 100 + np.arange(BATCH), STEPS)
    errors = errors_of(model)
    assert len(errors) == 2 * STEPS
    first, second = halves["numba"]
    for step in range(STEPS):  # what DistributedDataParallel has averaged
        scale = np.abs(whole[step]).max()
        for half in (first[step], second[step]):
            assert np.abs(half - whole[step]).max() <= 1e-6 * scale
    for e, a, b in zip(errors, first[STEPS:], second[STEPS:], strict=True):
        assert e.any()
        assert (e[0::2] == a).all()
        assert (e[1::2] == b).all()


def test_in_plain_torch_two_processes_do_not_draw_the_same_errors(halves):
    """One seed for both, and other samples: other streams."""
    first, second = halves["torch"]
    for a, b in zip(first[STEPS:], second[STEPS:], strict=True):
        assert a.any()
        assert (a != b).any()


def test_weights_are_written_alike_whatever_the_samples_are():
    """`address` numbers the rows of a weight memory, the same on each process; samples are the activations'."""
    model = nn.Sequential(
        BinaryLinear(6, 4, seed=0, activation_memory=WriteErrors(error_rate_0=0.5, error_rate_1=0.5, seed=1))
    )
    model[0].weight_memory = OverwriteErrors(error_rate_0=0.5, error_rate_1=0.5, seed=1, slots=None)
    w, x = torch.ones(4, 6), torch.ones(2, 6)
    address(model, step=3, samples=torch.tensor([5, 9]))
    weights, read = model[0].weight_memory(w), model[0].activation_memory(x)
    address(model, step=3, samples=torch.tensor([9]))
    assert torch.equal(model[0].weight_memory(w), weights)
    assert torch.equal(model[0].activation_memory(x[:1]), read[1:])
