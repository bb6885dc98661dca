"""Discrete state transitions against a literal transcription of the rule, and what surrounds them."""

import copy
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import bnn
from bnn.layers import BinaryLinear, TernaryConv2d, TernaryLinear
from bnn.models import gxnor_mlp
from bnn.optimizers.state_transitions import DiscreteStateTransition, TanhJumps, state_groups
from bnn.optimizers.transition_kernels import by_table, by_tanh, uniforms
from bridge import OperatingPoint
from mtjsim.rng import child_seed
from networks import blobs, normal
from physics import within_binomial


def literally(states, wanted, step, draws):
    """The rule of GXNOR-Net's code, one weight after the other, in float64."""
    moved = []
    for w, delta, u in zip(states.tolist(), wanted.tolist(), draws.tolist(), strict=True):
        kappa = math.floor(abs(delta) / step)
        nu = abs(delta) / step - kappa
        jump = u < math.tanh(3.0 * nu) * 2**31
        moved.append(min(max(w + math.copysign(1.0, delta) * step * (kappa + jump), -1.0), 1.0))
    return np.array(moved)


def random_states(n, levels, seed):
    step = 2.0 / (levels - 1)
    return (np.random.default_rng(seed).integers(0, levels, n) * step - 1.0).astype(np.float32), step


@settings(max_examples=40, deadline=None)
@given(st.sampled_from([2, 3, 5, 33]), st.integers(1, 3000), st.integers(0, 2**63), st.floats(1e-6, 3.0))
def test_kernel_against_the_transcription(levels, n, key, size):
    states, step = random_states(n, levels, n)
    wanted = (size * np.random.default_rng(n + 1).standard_normal(n)).astype(np.float32)
    expected = literally(states, wanted, step, uniforms(key, n))
    before, counts = states.copy(), np.zeros(2, np.int64)
    assert not by_tanh(states, wanted, np.uint64(key), np.float32(step), counts)
    assert (states != expected).sum() <= n * 1e-5  # float32 against float64: a draw on the edge
    assert counts[0] == (states != before).sum()
    assert np.isin(states, -1.0 + step * np.arange(levels)).all()


@pytest.mark.parametrize("nu", [1e-6, 1e-3, 0.1, 0.6, 0.999])
def test_jump_rates(nu):
    """2 million weights: the smallest effect that is caught is 1 % at 0.1, 5 % at 1e-3; false alarm 1e-6."""
    n, counts = 2_000_000, np.zeros(2, np.int64)
    by_tanh(np.zeros(n, np.float32), np.full(n, nu, np.float32), np.uint64(3), np.float32(1.0), counts)
    assert counts[0] == counts[1]
    assert within_binomial(int(counts[1]), n, math.tanh(3 * float(np.float32(nu))), tests=5)


def test_table_of_pulses_against_its_entries():
    n, types = 60_000, 7
    rng = np.random.default_rng(1)
    edges = np.sort(rng.random(63)).astype(np.float32)
    table = (rng.random((types, 64)) * 2**31).astype(np.uint32)
    table[0], table[1] = 0, 2**31  # never and always
    kinds = rng.integers(0, types, n).astype(np.uint16)
    states, step = random_states(n, 3, 2)
    wanted = (0.4 * rng.standard_normal(n)).astype(np.float32)
    draws, size = uniforms(11, n), np.abs(wanted)
    kappa = np.floor(size)
    pulse = np.searchsorted(edges, size - kappa, side="right")
    expected = np.clip(states + np.sign(wanted) * (kappa + (draws < table[kinds, pulse])), -1, 1)
    before, counts = states.copy(), np.zeros(2, np.int64)
    assert not by_table(states, wanted, np.uint64(11), np.float32(step), edges, table.ravel(), kinds, counts)
    assert np.array_equal(states, expected)
    assert counts[0] == (before != expected).sum()
    assert (expected == before)[(kinds == 0) & (kappa == 0)].all()


def trained(steps, *, optimizer=torch.optim.Adam, lr=0.05, seed=1, **others):
    model = gxnor_mlp(16, (32,), seed=1)
    transitions = DiscreteStateTransition(optimizer(state_groups(model), lr=lr, **others), seed=seed)
    data = blobs(64, 1)
    x, y = torch.from_numpy(data.pixels), torch.from_numpy(data.labels.copy())
    for _ in range(steps):
        transitions.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        transitions.step()
    return model, transitions


def test_step_is_that_of_the_optimizer_turned_into_jumps():
    """delta is what the optimizer adds to a weight of 0; other parameters are stepped as without transitions."""
    model, transitions = trained(0)
    twin = copy.deepcopy(model)
    x, y = normal(64, 1, 4, 4, seed=3), torch.arange(64) % 10
    for each in (model, twin):
        nn.functional.cross_entropy(each(x), y).backward()
    weights = [layer.weight for layer in twin if isinstance(layer, TernaryLinear)]
    states = [w.detach().clone() for w in weights]
    for w in weights:
        w.data.zero_()
    torch.optim.Adam(twin.parameters(), lr=0.05).step()
    transitions.step()
    found = [layer.weight.detach() for layer in model if isinstance(layer, TernaryLinear)]
    for number, (old, delta, new) in enumerate(zip(states, weights, found, strict=True)):
        draws = uniforms(child_seed(1, "state_transitions", number, 0, 0), old.numel())
        expected = literally(old.flatten().numpy(), delta.detach().flatten().numpy(), 1.0, draws)
        assert np.array_equal(new.flatten().numpy(), expected)
    for name, parameter in model.named_parameters():
        if parameter.dim() == 1:
            assert torch.equal(parameter, dict(twin.named_parameters())[name])
    assert transitions.moved == sum(int((a != b).sum()) for a, b in zip(states, found, strict=True))


def test_a_training_learns_stays_on_states_and_is_its_seed():
    model, transitions = trained(60)
    for layer in model:
        if isinstance(layer, TernaryLinear):
            assert set(layer.weight.unique().tolist()) <= {-1.0, 0.0, 1.0}
    data = blobs(500, 2)
    accuracy = bnn.evaluate(model, (data.pixels, data.labels)).mean
    assert accuracy > 0.8
    again, other = trained(60)[0].state_dict(), trained(60, seed=2)[0].state_dict()
    assert all(torch.equal(value, again[name]) for name, value in model.state_dict().items())
    assert not torch.equal(other["1.weight"], again["1.weight"])
    assert 0 < transitions.moved < transitions.drawn + 60 * 1000


@pytest.mark.parametrize("optimizer", [torch.optim.Adam, torch.optim.SGD, torch.optim.RMSprop])
def test_resumed_bit_for_bit(optimizer):
    straight, _ = trained(6, optimizer=optimizer)
    model, transitions = trained(3, optimizer=optimizer)
    saved = copy.deepcopy((model.state_dict(), transitions.state_dict()))
    model, transitions = trained(0, optimizer=optimizer)
    model.load_state_dict(saved[0])
    transitions.load_state_dict(saved[1])
    data = blobs(64, 1)
    x, y = torch.from_numpy(data.pixels), torch.from_numpy(data.labels.copy())
    for _ in range(3):
        transitions.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        transitions.step()
    assert all(torch.equal(value, straight.state_dict()[name]) for name, value in model.state_dict().items())


def test_in_a_trainer_killed_and_resumed(tmp_path):
    def make(model, config):
        inner = torch.optim.Adam(state_groups(model), lr=config.learning_rate)
        return DiscreteStateTransition(inner, seed=config.seed)

    def trainer(path):
        numbers = {"epochs": 4, "batch_size": 16, "learning_rate": 0.05, "seed": 3}
        return bnn.Trainer(
            gxnor_mlp(16, (32,), seed=1), bnn.TrainConfig(**numbers, checkpoint=path, progress=False), make
        )

    class Stop(Exception):
        pass

    whole = trainer(tmp_path / "a.pt").fit(blobs(200, 1)).model.state_dict()

    def stop(epoch):
        if epoch.epoch == 1:
            raise Stop

    with pytest.raises(Stop):
        trainer(tmp_path / "b.pt").fit(blobs(200, 1), on_epoch=stop)
    resumed = trainer(tmp_path / "b.pt").fit(blobs(200, 1)).model.state_dict()
    assert all(torch.equal(value, resumed[name]) for name, value in whole.items() if isinstance(value, torch.Tensor))


def test_channels_last_and_sign_weights():
    """Draws follow the place of a weight, not its memory format; binary weights become signs."""
    found = []
    for form in (torch.contiguous_format, torch.channels_last):
        model = nn.Sequential(TernaryConv2d(4, 8, 3, seed=1), nn.BatchNorm2d(8)).to(memory_format=form)
        transitions = DiscreteStateTransition(torch.optim.SGD(state_groups(model), lr=1.0), seed=1)
        model[0].weight.grad = normal(8, 4, 3, 3, seed=2).contiguous(memory_format=form)
        transitions.step()
        found.append(model[0].weight.detach().contiguous())
    assert torch.equal(*found)
    layer = BinaryLinear(8, 8, seed=1)
    signs = layer.weight.detach().sign()
    groups = state_groups(layer, binary=True)
    assert [group["levels"] for group in groups] == [2]
    DiscreteStateTransition(torch.optim.Adam(groups), seed=1)
    assert torch.equal(layer.weight, signs)


def test_a_gradient_that_is_not_finite_moves_nothing():
    model, transitions = trained(1)
    before = copy.deepcopy(model.state_dict())
    model[3].weight.grad = torch.full_like(model[3].weight, float("nan"))
    with pytest.raises(FloatingPointError, match="weight 1, shape"):
        transitions.step()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_ledger_has_no_words_of_weights_without_latent_values():
    """By hand: only BatchNorm's 2 * 42 numbers are words; of each weight two bits, written and read twice a step."""

    def fit(make):
        config = bnn.TrainConfig(
            epochs=1, batch_size=50, seed=1, phases=(bnn.Phase(memory=bnn.SRAM()),), progress=False, learning_rate=0.01
        )
        return bnn.Trainer(gxnor_mlp(16, (32,), seed=1), config, make).fit(blobs(200, 1)).ledger

    ledger = fit(lambda m, c: DiscreteStateTransition(torch.optim.Adam(state_groups(m), lr=c.learning_rate), seed=1))
    counts = {(e.memory.partition(", ")[2], e.event): e.count for e in ledger}
    assert not any(memory == "weights" for memory, _ in counts)
    assert counts["signs, 1", "write access"] == 4 * 2 * 512
    assert counts["signs, 1", "read access"] == 2 * 4 * 2 * 512
    assert counts["activations, 3", "write access"] == 200 * 2 * 32
    latent = fit(None)
    counts = {(e.memory.partition(", ")[2], e.event): e.count for e in latent}
    assert counts["weights", "read access"] == 4 * (512 + 320)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (
            lambda m: DiscreteStateTransition(torch.optim.Adam(m.parameters()), seed=1),
            'must have a group with "levels"',
        ),
        (
            lambda m: DiscreteStateTransition(torch.optim.Adam(state_groups(m), weight_decay=0.1), seed=1),
            "weight_decay",
        ),
        (lambda m: DiscreteStateTransition(torch.optim.LBFGS(m.parameters()), seed=1), "LBFGS"),
        (lambda m: DiscreteStateTransition(m, seed=1), "optimizer must be"),
        (lambda m: DiscreteStateTransition(torch.optim.Adam(state_groups(m)), seed=-1), "seed"),
        (
            lambda m: DiscreteStateTransition(torch.optim.Adam(state_groups(m)), seed=1, jumps=3),
            "jumps must have the methods",
        ),
        (lambda m: state_groups(bnn.models.mlp(seed=1)), "Use TernaryLinear"),
        (
            lambda m: DiscreteStateTransition(torch.optim.Adam([{"params": [normal(3)], "levels": 3}]), seed=1),
            "must be on states from -1 to 1 in steps of 1",
        ),
        (
            lambda m: DiscreteStateTransition(torch.optim.Adam([{"params": [torch.zeros(3)], "levels": 4}]), seed=1),
            "levels must be",
        ),
        (
            lambda m: DiscreteStateTransition(torch.optim.Adam(state_groups(m.double())), seed=1),
            "float32 on the CPU",
        ),
    ],
)
def test_what_is_refused(make, words):
    with pytest.raises((ValueError, TypeError), match=words):
        make(gxnor_mlp(4, (4,), seed=1))


def test_weights_that_something_else_moved_are_named():
    model, transitions = trained(1)
    with torch.no_grad():
        model[1].weight[0, 0] = 0.25
    with pytest.raises(ValueError, match=r"weight 0 must be on states .* got 0.25"):
        transitions.step()


def test_words_of_a_memory_do_not_hold_states():
    words = bnn.MRAM(
        point=OperatingPoint.of_rates(error_rate_0=1e-6, error_rate_1=1e-6), holds=("weights",), errors="independent"
    )
    config = bnn.TrainConfig(
        epochs=1, batch_size=50, learning_rate=0.01, seed=1, phases=(bnn.Phase(memory=words),), progress=False
    )
    trainer = bnn.Trainer(
        gxnor_mlp(16, (32,), seed=1),
        config,
        lambda m, c: DiscreteStateTransition(torch.optim.Adam(state_groups(m)), seed=1),
    )
    with pytest.raises(
        ValueError, match='must be without "weights": the optimizer keeps no latent weights, only states'
    ):
        trainer.fit(blobs(200, 1))


def test_tanh_is_shown():
    assert "tanh(3 nu)" in repr(trained(0)[1])
    assert repr(TanhJumps()) == "tanh(3 nu)"
