"""Jumps by junctions against a literal transcription, `mtjsim`'s probabilities, and counts by hand."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

import bnn
from bnn.layers import TernaryLinear
from bnn.models import gxnor_mlp
from bnn.optimizers.junction_jumps import JunctionJumps
from bnn.optimizers.state_transitions import DiscreteStateTransition, state_groups
from bnn.optimizers.transition_kernels import uniforms
from bridge import Spread, UpdateDriver, switching_table
from mtjsim import MTJ, switching_probability
from networks import blobs
from physics import approx, within_binomial

DEVICE = MTJ.from_effective(thermal_stability=40, critical_current=30e-6, characteristic_time=2e-9)
DRIVER = UpdateDriver.even(longest=12e-9, count=15, current_0=45e-6, current_1=60e-6)


@pytest.fixture(scope="module")
def table():
    return switching_table(DEVICE, DRIVER, spread=Spread(critical_current_d2d=0.1), types=6, seed=3)


def jumps_of(table, encoding="population", **others):
    return JunctionJumps(table, table.encoded(encoding), seed=1, **others)


def literally(states, wanted, jumps, key):
    """One weight after the other, from the cells as they are; returns states, cells, pulses, turns."""
    cells = jumps.cells[0]
    bits = cells.bits.copy()
    pulses, turns = np.zeros_like(cells.pulses), np.zeros_like(cells.turns)
    draws = uniforms(key, len(states))
    edges = jumps.edges.reshape(2, -1)
    for n, delta in enumerate(wanted):
        plus, minus = 0, 1
        if delta > 0:
            turn = (minus, 0) if bits[minus, n] else (plus, 1) if not bits[plus, n] else None
        elif delta < 0:
            turn = (plus, 0) if bits[plus, n] else (minus, 1) if not bits[minus, n] else None
        else:
            turn = None
        if turn is None:
            continue
        cell, bit = turn
        k = int(np.searchsorted(edges[bit], min(abs(delta), np.float32(0.99999994)), side="right"))
        if k == 0:
            continue
        pulses[cell, n] += 1
        p = round(float(jumps.table.probabilities[cells.types[cell, n], bit, k]) * 2**31)
        if draws[n] < p:
            bits[cell, n] = bit
            turns[cell, n] += 1
    return bits[0].astype(int) - bits[1].astype(int), bits, pulses, turns


def test_kernel_against_the_transcription(table):
    jumps, rng = jumps_of(table), np.random.default_rng(1)
    states = rng.integers(-1, 2, 5001).astype(np.float32)
    jumps.move(0, states, np.zeros(5001, np.float32), 1.0, 1)  # makes the junctions
    for key in range(5):
        wanted = (0.4 * rng.standard_normal(5001)).astype(np.float32)
        before = copy.deepcopy(jumps.cells[0])
        expected = literally(states, wanted, jumps, key)
        moves = jumps.move(0, states, wanted, 1.0, key)
        cells = jumps.cells[0]
        assert np.array_equal(states, expected[0])
        assert np.array_equal(cells.bits, expected[1])
        assert np.array_equal(cells.pulses - before.pulses, expected[2])
        assert np.array_equal(cells.turns - before.turns, expected[3])
        assert moves == (expected[3].sum(), expected[2].sum())
    assert {(1, 1), (0, 0)} <= set(zip(*cells.bits[:, states == 0].tolist(), strict=True))


def test_turns_have_the_probability_of_the_junction():
    """A million weights at one change: the rate of one pulse on the nominal junction, to counting error."""
    table = switching_table(DEVICE, DRIVER)
    jumps = JunctionJumps(table, table.encoded("nominal"), seed=1)
    n, nu = 1_000_000, 0.1
    states = np.full(n, -1.0, np.float32)  # (0, 1): "minus" is turned off, a write of 0
    jumps.move(0, states, np.full(n, nu, np.float32), 1.0, 5)
    (k,) = np.flatnonzero(jumps.given[0])
    assert jumps.given[0, k] == n
    rate = switching_probability(DEVICE, current=45e-6, pulse_width=DRIVER.pulse_widths[k - 1], direction="ap_to_p")
    assert within_binomial(int((states == 0).sum()), n, float(rate))
    joules = n * table.energies[0, k]
    assert jumps.ledger.joules("device") == approx(joules)
    assert (jumps.pulses_a_junction, jumps.most_pulses) == (0.5, 1)
    assert jumps.turns_a_junction == (states == 0).sum() / (2 * n)
    assert not jumps.ledger.known("with_driver")  # a lower bound: the driver has no price


def test_binary_weights_have_one_junction(table):
    jumps, n = jumps_of(table), 4000
    states = np.where(np.arange(n) % 2, 1.0, -1.0).astype(np.float32)
    wanted = np.full(n, 1.5, np.float32)  # 3/4 of a step of 2
    moves = jumps.move(0, states, wanted, 2.0, 9)
    assert moves.drawn == n // 2  # those at +1 are at the end
    assert jumps.cells[0].types.shape == (n,)
    assert (states[1::2] == 1).all()
    assert (states == 1).sum() == n // 2 + moves.moved


def trained(table, steps, *, seed=1):
    model = gxnor_mlp(16, (32,), seed=1)
    jumps = JunctionJumps(table, table.encoded("population"), seed=seed)
    transitions = DiscreteStateTransition(torch.optim.Adam(state_groups(model), lr=0.05), seed=1, jumps=jumps)
    return model, transitions


def go(model, transitions, steps):
    data = blobs(64, 1)
    x, y = torch.from_numpy(data.pixels), torch.from_numpy(data.labels.copy())
    for _ in range(steps):
        transitions.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        transitions.step()


def test_a_network_learns_by_its_junctions(table):
    model, transitions = trained(table, 0)
    go(model, transitions, 60)
    data = blobs(500, 2)
    assert bnn.evaluate(model, (data.pixels, data.labels)).mean > 0.8
    for number, layer in enumerate(layer for layer in model if isinstance(layer, TernaryLinear)):
        bits = transitions.jumps.cells[number].bits.astype(int)
        assert np.array_equal(layer.weight.detach().flatten().numpy(), bits[0] - bits[1])
    assert transitions.moved == sum(int(cells.turns.sum()) for cells in transitions.jumps.cells.values())


def test_resumed_bit_for_bit(table):
    straight, of_straight = trained(table, 0)
    go(straight, of_straight, 6)
    model, transitions = trained(table, 0)
    go(model, transitions, 3)
    saved = copy.deepcopy((model.state_dict(), transitions.state_dict()))
    model, transitions = trained(table, 0)
    model.load_state_dict(saved[0])
    transitions.load_state_dict(saved[1])
    go(model, transitions, 3)
    assert all(torch.equal(value, straight.state_dict()[name]) for name, value in model.state_dict().items())
    for number, cells in of_straight.jumps.cells.items():
        for name in ("bits", "pulses", "turns", "types"):
            assert np.array_equal(getattr(cells, name), getattr(transitions.jumps.cells[number], name))
    assert np.array_equal(transitions.jumps.given, of_straight.jumps.given)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda t: JunctionJumps(t, np.zeros((2, 3)), seed=1), r"edges must be of shape \(2, 15\)"),
        (lambda t: JunctionJumps(t, t.encoded("nominal")[:, ::-1], seed=1), "edges must be >= 0 and ascend"),
        (lambda t: JunctionJumps(3, t.encoded("nominal"), seed=1), "table must be of type SwitchingTable"),
        (lambda t: JunctionJumps(t, t.encoded("nominal"), seed=-1), "seed must be"),
        (
            lambda t: jumps_of(t).move(0, np.zeros(3, np.float32), np.ones(3, np.float32), 0.5, 1),
            "levels must be 2 or 3",
        ),
        (
            lambda t: jumps_of(t).move(0, np.full(3, 0.5, np.float32), np.ones(3, np.float32), 1.0, 1),
            "must be on states",
        ),
        (lambda t: jumps_of(t).restore({"tanh": 1}), "state_dict must be one of a training with JunctionJumps"),
    ],
)
def test_what_is_refused(table, make, words):
    with pytest.raises((ValueError, TypeError), match=words):
        make(table)


def test_more_pulses_than_the_kernels_search():
    many = switching_table(DEVICE, UpdateDriver.even(longest=12e-9, count=64, current_0=45e-6, current_1=45e-6))
    with pytest.raises(ValueError, match="table must be of at most 63 pulses, got 64"):
        JunctionJumps(many, many.encoded("nominal"), seed=1)


def test_weights_that_something_else_moved(table):
    model, transitions = trained(table, 0)
    go(model, transitions, 1)
    with torch.no_grad():
        model[1].weight.copy_(-model[1].weight)
    with pytest.raises(ValueError, match="weight 0 must be what its junctions store"):
        go(model, transitions, 1)
