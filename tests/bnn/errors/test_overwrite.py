"""Cells that keep their bits: against a slow reference and against `bridge`'s memory, bit for bit.

Statistical tests have fixed seeds and a false-alarm chance of 1e-6, two-sided.
"""

import copy
import io
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bnn.errors.overwrite import OverwriteErrors
from bnn.errors.write_errors import WriteErrors
from bridge.dies.die import Die
from bridge.dies.faults import Process
from bridge.dies.spread import Spread
from bridge.dies.variability import Cells, Population
from bridge.memory.cells import PLAIN, READ_BEFORE_WRITE, WRITE_VERIFY_RETRY
from bridge.memory.mram import Memory
from bridge.memory.read import ReadPoint
from bridge.write import OperatingPoint, WriteSetting, operating_point
from mtjsim import load_preset
from networks import rates
from physics import approx, within_binomial
from physics import cell as cell_of

POINT = OperatingPoint.of_rates(
    error_rate_0=0.3,
    error_rate_1=0.4,
    energy_0=2e-13,
    energy_1=3e-13,
    energies={"junction": np.array([[2e-13, 1e-13], [3e-13, 5e-13]]), "driver": np.array([[1e-14, 2e-14]] * 2)},
)


def bits(*shape, seed=0):
    return torch.from_numpy(np.where(np.random.default_rng(seed).random(shape) < 0.5, 1, -1).astype(np.float32))


def slow_write(held, x, failed):
    """Sample after sample, cell after cell; changes held and returns what is read and what was counted."""
    out, counts = np.empty_like(x), np.zeros((2, 3), int)
    for i in range(len(x)):
        cells = held[i % len(held)]
        for k in range(x.shape[1]):
            target = int(x[i, k] > 0)
            turns = cells[k] != x[i, k]
            counts[target] += turns, not turns, turns and failed[i, k]
            if not failed[i, k]:
                cells[k] = x[i, k]
            out[i, k] = cells[k]
    return out, counts


RATES = st.one_of(st.sampled_from([0.0, 0.01, 0.5, 1.0]), st.floats(0.0, 1.0))
SHAPES = st.lists(st.integers(1, 5), min_size=1, max_size=3)


@settings(max_examples=60, deadline=None)
@given(
    SHAPES, st.integers(1, 9), st.lists(st.integers(1, 12), min_size=1, max_size=4), RATES, RATES, st.integers(0, 99)
)
def test_by_key_the_cells_fail_that_err_independently_and_keep_their_bits(shape, slots, batches, p0, p1, seed):
    rates = {"error_rate_0": p0, "error_rate_1": p1, "seed": seed}
    memory, independent = OverwriteErrors(**rates, slots=slots), WriteErrors(**rates)
    held, counts = -np.ones((slots, np.prod(shape)), np.float32), 0
    for step, n in enumerate(batches):
        x = bits(n, *shape, seed=seed + step)
        failed = (independent(x) != x).view(n, -1).numpy()
        expected, more = slow_write(held, x.view(n, -1).numpy(), failed)
        counts = counts + more
        assert (memory(x).view(n, -1).numpy() == expected).all()
        assert (memory.held.view(slots, -1).numpy() == held).all()
        assert (memory.counts == counts).all()


def imposed(slots, cells, seed):
    """Rates of 0 and 1: what fails is known, and depends on slot, cell and bit."""
    rates = np.random.default_rng(seed).integers(2, size=(2, slots, cells)).astype(float)
    failures = np.random.default_rng(seed + 1).random((slots, cells)) < 0.3
    rates[:, failures] = 1.0  # cells that nothing turns
    return rates


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 80),
    st.integers(1, 4),
    st.lists(st.integers(1, 7), min_size=1, max_size=3),
    st.integers(0, 99),
    st.sampled_from(["numba", "torch"]),
)
def test_against_the_memory_of_bridge(cells, slots, batches, seed, path):
    """A `bridge` memory for each slot, whose die has rates of 0 and 1: bits, counts and joules."""
    rates = imposed(slots, cells, seed)
    memory = OverwriteErrors(error_rate_0=rates[0], error_rate_1=rates[1], slots=slots, seed=seed, path=path)
    blank = np.full(cells, 1e3)
    peers = {
        policy: [
            Memory(cells, format="binary", point=POINT, die=Die.of((cells,), cells=Cells(own, *[blank] * 3)), name="m")
            if policy == PLAIN
            else Memory(
                cells,
                format="binary",
                point=POINT,
                die=Die.of((cells,), cells=Cells(own, *[blank] * 3)),
                name="m",
                policy=policy,
                reading=READING,
            )
            for own in rates.transpose(1, 0, 2)
        ]
        for policy in (PLAIN, READ_BEFORE_WRITE)
    }
    for step, n in enumerate(batches):
        x = bits(n, cells, seed=seed + step)
        out = memory(x)
        for i, sample in enumerate(x.numpy()):
            for own in peers.values():
                own[i % slots].write(sample)
                assert (own[i % slots].stored == out[i].numpy()).all()
    for policy, own in peers.items():
        theirs = sum(peer.ledger for peer in own)
        ours = memory.ledger(policy=policy, point=POINT, reading=READING, name="m")
        events = {entry.event for entry in theirs} - {"write access", "read access"}
        assert {entry.event for entry in ours} == events
        for event in events:
            assert ours.count(event) == theirs.count(event)
        for scope in ("device", "with_driver", "system"):
            assert ours.joules(scope) == approx(theirs.joules(scope), rel=1e-12, abs=1e-30)


READING = ReadPoint(energy_0=1e-14, energy_1=2e-14, sense_energy=3e-15)


def test_a_policy_that_writes_again_is_refused():
    with pytest.raises(ValueError, match="policy must not write again, got attempts=3"):
        OverwriteErrors(error_rate_0=0.1, error_rate_1=0.1, seed=1).ledger(policy=WRITE_VERIFY_RETRY)


@pytest.mark.parametrize("path", ["numba", "torch"])
@pytest.mark.parametrize(("p0", "p1"), [(0.3, 0.1), (1e-3, 1e-3), (0.9, 0.01)])
def test_the_share_of_failures_among_cells_that_had_to_turn(path, p0, p1):
    """40 batches of 100 random samples of 1,000 cells, in one slot each: about 1e6 turns of each direction."""
    memory = OverwriteErrors(error_rate_0=p0, error_rate_1=p1, seed=3, slots=100, path=path)
    held = -torch.ones(100, 1000)
    counts = np.zeros((2, 3), int)
    for step in range(40):
        x = bits(100, 1000, seed=step)
        out = memory(x)
        for target in (-1, 1):
            turns = (x == target) & (held != x)
            missed = int((out[turns] != target).sum())
            counts[int(target > 0)] += int(turns.sum()), int(((x == target) & (held == x)).sum()), missed
        assert torch.equal(out[held == x], x[held == x])  # what holds its bit cannot fail
        held = out.clone()
    assert (memory.counts == counts).all()
    for (turned, _, failed), p in zip(counts, (p0, p1), strict=True):
        assert within_binomial(failed, turned, p)


@pytest.mark.parametrize("path", ["numba", "torch"])
def test_weights_are_written_once_a_step(path):
    """A second forward of the same step reads the same weights; rows are numbered, whatever the batch is."""
    memory = OverwriteErrors(error_rate_0=0.4, error_rate_1=0.3, seed=2, slots=None, path=path)
    before = None
    for step in range(4):
        w = bits(30, 5, 3, 3, seed=step)
        memory.address(step=step, samples=None)
        first = memory(w)
        assert torch.equal(memory(w), first)
        assert not torch.equal(first, w)
        if before is not None:
            assert torch.equal(torch.where(first == w, w, before), first)
        before = first
    memory.address(step=4, samples=None)
    assert torch.equal(memory(before), before)  # what is held already cannot fail


def test_a_slot_is_overwritten_in_order_and_a_small_batch_leaves_the_others():
    never = OverwriteErrors(error_rate_0=1.0, error_rate_1=1.0, seed=0, slots=3, initial=bits(3, 4))
    assert torch.equal(never(bits(8, 4, seed=1)), bits(3, 4)[torch.arange(8) % 3])
    always = OverwriteErrors(error_rate_0=0.0, error_rate_1=0.0, seed=0, slots=3)
    x = bits(5, 4, seed=1)
    assert torch.equal(always(x), x)
    assert torch.equal(always.held, x[[3, 4, 2]])
    y = bits(1, 4, seed=2)
    always(y)
    assert torch.equal(always.held, torch.cat([y, x[[4, 2]]]))


def test_slots_grow_where_they_are_left_open():
    memory = OverwriteErrors(error_rate_0=0.0, error_rate_1=0.0, seed=0, slots=None, initial=1.0)
    memory(-torch.ones(2, 3))
    memory.error_rate_0 = memory.error_rate_1 = 1.0
    x = bits(4, 3)
    assert torch.equal(memory(x), torch.cat([-torch.ones(2, 3), torch.ones(2, 3)]))


@pytest.mark.parametrize("path", ["numba", "torch"])
def test_resumed_bit_for_bit(path):
    def make(seed):
        return OverwriteErrors(error_rate_0=0.4, error_rate_1=0.3, seed=seed, slots=4, path=path)

    memory = make(5)
    memory(bits(6, 2, 7))
    file = io.BytesIO()
    torch.save(memory.state_dict(), file)
    twin = copy.deepcopy(memory)
    expected = [memory(bits(6, 2, 7, seed=s)) for s in (1, 2)]
    file.seek(0)
    other = make(5)
    other(bits(1, 2, 7))
    other.load_state_dict(torch.load(file, weights_only=True))
    for resumed in (other, twin):
        assert all(torch.equal(resumed(bits(6, 2, 7, seed=s)), e) for s, e in zip((1, 2), expected, strict=True))
        assert (resumed.counts == memory.counts).all()
    fresh = make(5)
    memory.load_state_dict(fresh.state_dict())  # of one that was never written
    assert memory.held is None


def test_reseed_empties_the_cells_and_keeps_the_counts():
    memory, x = OverwriteErrors(error_rate_0=0.4, error_rate_1=0.3, seed=5), bits(6, 7)
    first = memory(x)
    counts = memory.counts.copy()
    assert not torch.equal(memory(x), first)
    memory.reseed(5)
    assert torch.equal(memory(x), first)
    assert memory.counts[:, :2].sum() == 3 * counts[:, :2].sum()


def test_other_shapes_are_refused():
    memory = OverwriteErrors(error_rate_0=0.4, error_rate_1=0.3, seed=5)
    memory(bits(6, 7))
    with pytest.raises(ValueError, match=r"x must have samples of shape \(7,\), which the cells are for, got \(8,\)"):
        memory(bits(6, 8))
    with pytest.raises(ValueError, match="slots must be a multiple of the 2 samples that have rates, got 3"):
        OverwriteErrors(error_rate_0=np.ones((2, 7)), error_rate_1=0.3, seed=5, slots=3)(bits(6, 7))
    with pytest.raises(ValueError, match="slots must be a multiple of the 2 samples that initial is for, got 3"):
        OverwriteErrors(error_rate_0=0.1, error_rate_1=0.3, seed=5, slots=3, initial=bits(2, 7))(bits(6, 7))
    other = OverwriteErrors(error_rate_0=0.1, error_rate_1=0.3, seed=5, slots=2)
    other.load_state_dict(memory.state_dict())
    with pytest.raises(ValueError, match="slots must be the 1 whose state was loaded, got 2"):
        other(bits(6, 7))
    with pytest.raises(ValueError, match=r"initial must be \+1 or -1"):
        OverwriteErrors(error_rate_0=0.1, error_rate_1=0.3, seed=5, initial=0.0)
    with pytest.raises(ValueError, match="gradient must be one of 'identity', 'masked', got 'flipped'"):
        OverwriteErrors(error_rate_0=0.1, error_rate_1=0.3, seed=5, gradient="flipped")


@pytest.mark.parametrize("path", ["numba", "torch"])
def test_what_is_no_bit_is_refused_and_changes_nothing(path):
    memory = OverwriteErrors(error_rate_0=0.4, error_rate_1=0.3, seed=5, path=path)
    memory(bits(6, 7))
    held, counts = memory.held.clone(), memory.counts.copy()
    with pytest.raises(ValueError, match=r"\+1 or -1"):
        memory(0.5 * bits(6, 7))
    assert torch.equal(memory.held, held)
    assert (memory.counts == counts).all()


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_dtypes_and_inference_mode(dtype):
    make = lambda: OverwriteErrors(error_rate_0=0.4, error_rate_1=0.3, seed=5, slots=2)  # noqa: E731
    x, (memory, other) = bits(6, 7), (make(), make())
    with torch.inference_mode():
        first = memory(x)
    other(x)
    other.to(dtype)  # casts the buffer, too
    assert torch.equal(other(x.to(dtype)), memory(x).to(dtype))
    assert first.dtype == x.dtype


@pytest.mark.parametrize("path", ["numba", "torch"])
@pytest.mark.parametrize("gradient", ["masked", "flipped"])
def test_the_gradient_is_that_of_the_expected_loss(path, gradient):
    """All 64 sets of failing cells, each with its probability, against differences of the loss so expected."""
    rng = np.random.default_rng(0)
    x, old = (torch.from_numpy(rng.choice([-1.0, 1.0], 6)) for _ in range(2))
    p = torch.from_numpy(rng.random(6))
    inner, outer = torch.from_numpy(rng.normal(size=(4, 6))), torch.from_numpy(rng.normal(size=4))

    def loss(read):
        return (outer * torch.tanh(inner @ read)).sum()

    def expected(target):
        total = 0.0
        for failed in (torch.tensor(bits, dtype=torch.float64) for bits in product((0.0, 1.0), repeat=6)):
            chance = torch.where(failed > 0, p, 1 - p).prod()
            wrong = old if gradient == "masked" else -target
            total += float(chance * loss((1 - failed) * target + failed * wrong))
        return total

    def mean_gradient(kind):
        total = torch.zeros(6, dtype=torch.float64)
        for failed in (torch.tensor(bits, dtype=torch.float64) for bits in product((0.0, 1.0), repeat=6)):
            how = {"error_rate_0": failed, "error_rate_1": failed, "seed": 0, "path": path, "gradient": kind}
            memory = OverwriteErrors(**how, initial=old) if gradient == "masked" else WriteErrors(**how)
            leaf = x.clone().requires_grad_()
            loss(memory(leaf)).backward()
            total += torch.where(failed > 0, p, 1 - p).prod() * leaf.grad
        return total

    step = 1e-5
    moves = step * torch.eye(6, dtype=torch.float64)
    differences = torch.tensor([expected(x + m) - expected(x - m) for m in moves], dtype=torch.float64) / (2 * step)
    assert torch.allclose(mean_gradient(gradient), differences, rtol=0, atol=1e-8)
    assert not torch.allclose(mean_gradient("identity"), differences, rtol=0, atol=1e-2)  # control: it is another one


def test_a_die_is_one_argument():
    """Each cell with its own rates, weak ones in it; a cell stuck at a bit holds it and reads as it, in both modes."""
    rates = np.array([[0.1, 0.2, 0.3, 0.4, 0.0, 1.0], [0.6, 0.5, 0.4, 0.3, 0.2, 0.1]])
    blank = np.ones(6)
    die = Die.of((2, 3), stuck_p=[1], open=[4], weak=[2], weak_error_rate_factor=2.0, cells=Cells(rates, *[blank] * 3))
    x = bits(40_000, 2, 3)
    expected = rates.copy()
    expected[:, 2] *= 2
    expected[:, 1], expected[:, 4] = (0, 1), (1, 0)
    memory = WriteErrors.from_operating_point(POINT, die=die, seed=1)
    for path in ("numba", "torch"):
        memory.path = path
        wrong = (memory(x) != x).view(-1, 6)
        for bit, cell in product((0, 1), range(6)):
            target = x.view(-1, 6)[:, cell] == 2 * bit - 1
            assert within_binomial(int(wrong[target, cell].sum()), int(target.sum()), expected[bit, cell])
    out = OverwriteErrors.from_operating_point(POINT, die=die, seed=1)(x).view(-1, 6)
    assert (out[:, 1] == -1).all()
    assert (out[:, 4] == 1).all()
    faults = Die.of((2, 3), stuck_ap=[0], weak=[5], weak_error_rate_factor=1.5)  # no population: the point's rates
    memory = WriteErrors.from_operating_point(POINT, die=faults, seed=1)
    assert np.allclose(memory.error_rate_1, [0, 0.4, 0.4, 0.4, 0.4, 0.6])
    assert np.allclose(memory.error_rate_0, [1, 0.3, 0.3, 0.3, 0.3, 0.45])


@pytest.mark.parametrize("kind", [WriteErrors, OverwriteErrors])
def test_a_die_of_bare_junctions_is_refused_for_a_point_of_cells(kind):
    setting = WriteSetting(current_0=40e-6, current_1=40e-6, pulse_width=1e-8)
    cells = cell_of(load_preset("arm_2021"), width=360e-9, supply_voltage=1.5, word_line_voltage=1.8)
    drawn = Process(population=Population(cells.device, Spread(damping_d2d=0.05), setting)).die((6,), seed=1)
    kind.from_operating_point(operating_point(cells.device, setting), die=drawn, seed=1)
    with pytest.raises(ValueError, match=r"those of a bare junction, .* for a Cell 1T-1MTJ"):
        kind.from_operating_point(operating_point(cells, setting), die=drawn, seed=1)


def test_a_point_that_is_no_point_of_bridge_will_do():
    memory = OverwriteErrors.from_operating_point(rates(0.1, 0.2), seed=3, slots=2)
    assert (memory.error_rate_0, memory.error_rate_1, memory.slots) == (0.1, 0.2, 2)
