"""Streams of whole networks: parts made apart, layers that are called twice, writes that are recomputed."""

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

import bnn
from bnn.errors.keys import address
from bnn.errors.overwrite import OverwriteErrors
from bnn.errors.write_errors import WriteErrors


def layers(count, width=64):
    return nn.Sequential(*(nn.Linear(width, width) for _ in range(count)))


def test_parts_binarized_apart_err_apart():
    """500 x 64 cells at 0.1: 320 err in both if they are independent; 5 standard deviations are 90."""
    torch.manual_seed(1)
    config = bnn.BinarizeConfig(activation_write=(0.1, 0.1), seed=4)
    model, flips = nn.Sequential(bnn.binarize(layers(3), config), bnn.binarize(layers(3), config)), []
    for part in model:
        part[1].activation_memory.register_forward_hook(lambda _, bits, out: flips.append(bits[0] != out))
    model(torch.randn(500, 64))
    assert abs(int((flips[0] & flips[1]).sum()) - 320) < 90


def test_one_model_binarized_twice_errs_alike():
    torch.manual_seed(1)
    model, x = layers(3), torch.randn(50, 64)
    config = bnn.BinarizeConfig(activation_write=(0.1, 0.1), seed=4)
    assert torch.equal(bnn.binarize(model, config)(x), bnn.binarize(model, config)(x))


def test_a_checkpoint_of_the_float_network_loads():
    torch.manual_seed(1)
    config = bnn.BinarizeConfig(activation_write=(0.1, 0.1), mode="overwrite")
    model, trained = bnn.binarize(layers(3), config), layers(3)
    model.load_state_dict(trained.state_dict())
    assert torch.equal(model[1].weight, trained[1].weight)
    with pytest.raises(RuntimeError, match="Missing key"):
        model.load_state_dict({"0.weight": trained[0].weight})


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.twice, self.last = nn.Linear(64, 32), nn.Linear(32, 32), nn.Linear(32, 10)

    def forward(self, x):
        return self.last(self.twice(self.twice(self.first(x.flatten(1)))))


def test_a_layer_called_twice_is_evaluated_the_same_on_packed_bits():
    torch.manual_seed(2)
    model, data = bnn.binarize(Tied(), bnn.BinarizeConfig(activation_write=(0.1, 0.1))), bnn.load("digits").test
    errors = {"errors": WriteErrors(error_rate_0=0.1, error_rate_1=0.1, seed=0), "seed": 5}
    in_torch, packed = (
        bnn.evaluate(model, data, draws=3, **errors),
        bnn.pack(model).evaluate_dies(data, dies=3, **errors),
    )
    assert in_torch.correct.tolist() == packed.correct.tolist()
    assert (in_torch.low, in_torch.high) == (packed.low, packed.high)


@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize("addressed", [False, True])
@pytest.mark.parametrize(
    ("mode", "gradient"),
    [("independent", "identity"), ("independent", "flipped"), ("overwrite", "identity"), ("overwrite", "masked")],
)
@pytest.mark.parametrize("path", ["numba", "torch"])
def test_a_recomputed_write_is_the_same_write(mode, gradient, addressed, reentrant, path):
    config = bnn.BinarizeConfig(activation_write=(0.2, 0.3), weight_write=(0.1, 0.1), mode=mode, gradient=gradient)
    x, found, ledgers = torch.randn(40, 64, generator=torch.Generator().manual_seed(1)).requires_grad_(), [], []
    for again in (False, True):
        torch.manual_seed(0)
        model = bnn.binarize(layers(4), config)
        for memory in model.modules():
            if isinstance(memory, (WriteErrors, OverwriteErrors)):
                memory.path, memory.counted = path, True

        def middle(z, model=model):  # one layer twice; cells of weights keep only what was written last
            twice = model[2](z) if addressed or mode == "independent" else z
            return model[2](model[1](twice))

        for step in range(2):
            if addressed:
                address(model, step=step, samples=torch.arange(40))
            z = model[0](x)
            h = checkpoint(middle, z, use_reentrant=reentrant) if again else middle(z)
            model[3](h / 8).pow(2).mean().backward()
        found.append([parameter.grad for parameter in model[:3].parameters() if parameter.grad is not None])
        ledgers.append([model[i].activation_memory.counts for i in (1, 2)])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))
    assert all((a == b).all() for a, b in zip(*ledgers, strict=True))


def test_a_write_that_cannot_be_repeated_is_refused():
    memory, x = WriteErrors(error_rate_0=0.1, error_rate_1=0.1, seed=1), torch.ones(4, 8)

    class Writes(torch.autograd.Function):
        @staticmethod
        def forward(ctx, z):
            return z

        @staticmethod
        def backward(ctx, gradient):
            memory(x)
            return gradient

    with pytest.raises(RuntimeError, match="its errors cannot be "):
        Writes.apply(torch.ones(1, requires_grad=True)).backward()


def test_overwritten_cells_are_not_recomputed_after_the_next_write():
    memory = OverwriteErrors(error_rate_0=0.5, error_rate_1=0.5, seed=1, slots=None)
    x, y = (torch.where(torch.rand(4, 8, generator=torch.Generator().manual_seed(s)) < 0.5, 1.0, -1.0) for s in (1, 2))
    out = checkpoint(lambda z: memory(z).exp(), x.requires_grad_(), use_reentrant=False)  # exp saves what it needs
    memory(y)
    with pytest.raises(RuntimeError, match="after these cells were written again"):
        out.pow(2).sum().backward()


@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize("addressed", [False, True])
def test_two_passes_of_the_same_bits_before_one_backward_are_refused(addressed, reentrant):
    """After an ordinary step too: which of the two is recomputed cannot be known from the bits."""
    memory, w = WriteErrors(error_rate_0=0.3, error_rate_1=0.3, seed=1), torch.randn(20, 5).requires_grad_()
    x = torch.where(torch.rand(8, 20, generator=torch.Generator().manual_seed(1)) < 0.5, 1.0, -1.0).requires_grad_()

    def write(step):
        if addressed:
            memory.address(step=step, samples=torch.arange(8))
        return checkpoint(lambda z: (memory(z) @ w).tanh(), x, use_reentrant=reentrant)

    write(0).pow(2).sum().backward()
    first, second = write(1), write(2)
    with pytest.raises(RuntimeError, match="it is not clear which of its last"):
        (3 * first.pow(2).sum() + second.pow(3).sum()).backward()


@pytest.mark.parametrize("reentrant", [False, True])
def test_an_ordinary_write_of_the_same_bits_is_not_taken_for_the_one_that_is_recomputed(reentrant):
    """Its pass is not done yet; but it was no part of a checkpoint, so that it cannot be meant."""
    x = torch.where(torch.rand(8, 20, generator=torch.Generator().manual_seed(1)) < 0.5, 1.0, -1.0).requires_grad_()
    w, found = torch.randn(20, 5).requires_grad_(), []
    for again in (False, True):
        memory = WriteErrors(error_rate_0=0.3, error_rate_1=0.3, seed=1)

        def run(z, memory=memory):
            return (memory(z) @ w).tanh()

        first = run(x)
        second = checkpoint(run, x, use_reentrant=reentrant) if again else run(x)
        w.grad = None
        (3 * first.pow(2).sum() + second.pow(3).sum()).backward()
        found.append(w.grad)
    assert torch.equal(*found)


def test_a_retained_graph_is_not_recomputed_with_the_errors_of_another_pass():
    memory, w = WriteErrors(error_rate_0=0.3, error_rate_1=0.3, seed=1), torch.randn(20, 5).requires_grad_()
    x = torch.where(torch.rand(8, 20, generator=torch.Generator().manual_seed(1)) < 0.5, 1.0, -1.0).requires_grad_()
    losses = []
    for step in (0, 1):
        memory.address(step=step, samples=torch.arange(8))
        losses.append(checkpoint(lambda z: (memory(z) @ w).tanh(), x, use_reentrant=False).pow(2).sum())
        if step == 0:
            torch.autograd.grad(losses[0], w, retain_graph=True)
    with pytest.raises(RuntimeError, match="it is not clear which of its last"):
        torch.autograd.grad(losses[0], w)


def test_dropout_and_errors_of_one_seed_are_independent():
    """50 x 200 values, errors at 0.1: of 1,000, 500 are dropped; 5 standard deviations are 80."""
    x = torch.ones(50, 200)
    dropped = bnn.SeededDropout(0.5, seed=1)(x) == 0
    wrong = WriteErrors(error_rate_0=0.1, error_rate_1=0.1, seed=1)(x) < 0
    assert abs(int((dropped & wrong).sum()) - int(wrong.sum()) / 2) < 80


def test_a_new_seed_keeps_parts_apart():
    torch.manual_seed(1)
    config, x = bnn.BinarizeConfig(activation_write=(0.1, 0.1), seed=4), torch.ones(50, 64)
    memories = [bnn.binarize(layers(3), config)[1].activation_memory for _ in range(2)]
    for memory in memories:
        memory.reseed(7)
    assert not torch.equal(memories[0](x), memories[1](x))


def test_parts_of_a_batch_with_the_same_bits_are_different_writes():
    """One step, other samples: the errors of one part are not those of the other."""
    memory, w = WriteErrors(error_rate_0=0.3, error_rate_1=0.3, seed=1), torch.randn(20, 5).requires_grad_()
    x, losses = torch.ones(8, 20).requires_grad_(), []
    for first in (0, 8):
        memory.address(step=0, samples=torch.arange(first, first + 8))
        losses.append(checkpoint(lambda z: (memory(z) @ w).tanh(), x, use_reentrant=False).pow(2).sum())
    with pytest.raises(RuntimeError, match="it is not clear which of its last"):
        losses[0].backward()


@pytest.mark.parametrize("mode", ["independent", "overwrite"])
def test_weights_that_are_written_several_times_in_a_pass_are_recomputed_at_an_address(mode):
    """The weights of a recurrent layer, as the message says: without an address each use is a write of its own."""

    def gradient(recomputed, addressed):
        torch.manual_seed(1)
        model = bnn.binarize(layers(3, 16), bnn.BinarizeConfig(weight_write=(0.2, 0.2), mode=mode))
        x = torch.randn(8, 16)
        if addressed:
            address(model, step=0, samples=torch.arange(8))

        def run(z):
            for _ in range(3):
                z = model[1](z)
            return z

        z = model[0](x)
        (checkpoint(run, z, use_reentrant=False) if recomputed else run(z)).square().mean().backward()
        return model[1].weight.grad

    assert torch.equal(gradient(True, True), gradient(False, True))
    with pytest.raises(RuntimeError, match=r"Weights that are written several times in a pass.* bnn.address\(model"):
        gradient(True, False)


def test_a_checkpoint_of_another_kind_of_memory_loads_without_its_keys():
    def made(mode):
        torch.manual_seed(1)
        return bnn.binarize(layers(3, 8), bnn.BinarizeConfig(activation_write=(0.1, 0.1), mode=mode))

    trained, model = made("overwrite"), made("independent")
    trained(torch.randn(4, 8))
    state = trained.state_dict()
    with pytest.raises(ValueError, match=r"leave out the keys of its memories, which have '_memory\.' in them"):
        model.load_state_dict(state)
    model.load_state_dict({key: value for key, value in state.items() if "_memory." not in key})
    layers(3, 8).load_state_dict({key: value for key, value in state.items() if "_memory." not in key})
