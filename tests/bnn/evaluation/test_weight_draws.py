"""Weight errors in `bnn.evaluate`: written once a draw, and an interval that knows it."""

import copy
from functools import partial

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from bnn.errors.overwrite import OverwriteErrors
from bnn.errors.write_errors import WriteErrors
from bnn.evaluation.accuracy import Accuracy, evaluate, paired_loss
from bnn.evaluation.draws import EvaluatedMemory, ProgrammedMemory
from bnn.layers.binary import BinaryLinear
from bnn.layers.quantizers import ste_sign
from bnn.layers.slots import memories, weight_memories
from mtjsim.rng import child_seed
from networks import counts, integer_images, measured_mlp, rates
from physics import approx

POINT = rates(0.1, 0.2)
RATES = {"error_rate_0": 0.1, "error_rate_1": 0.2}


def written(memory, x):
    """Write a batch as an evaluation does; its samples do not matter here."""
    memory.address(torch.arange(len(x)))
    return memory(x)


class Recorder(nn.Module):
    """Notes what is written; a memory with state, of which a second write would be another."""

    def __init__(self):
        super().__init__()
        self.register_buffer("writes", torch.zeros(()))

    def reseed(self, seed):
        self.seed = seed

    def forward(self, x):
        self.writes += 1
        return torch.where(torch.arange(x.numel()).view(x.shape) % 7 == int(self.seed) % 7, -x, x) * (
            1 if self.writes == 1 else -1
        )


def with_memories(model, make):
    for index, (name, layer) in enumerate(weight_memories(model).items()):
        layer.weight_memory = make(name, index)
    return model


@pytest.mark.parametrize("method", ["packed", "torch"])
def test_weights_are_written_once_a_draw_and_all_images_meet_them(method):
    # Oracle: each image alone, through weights that were written before by the same keys.
    model, data = measured_mlp(), integer_images(600)
    result = evaluate(model, data, weight_errors=POINT, draws=3, seed=5, method=method)
    right = np.zeros((3, 600), bool)
    for draw in range(3):
        plain = copy.deepcopy(model).eval()
        for index, layer in enumerate(weight_memories(plain).values()):
            memory = WriteErrors(**RATES, seed=child_seed(5, "evaluated_weights", index))
            memory.address(step=draw, samples=None)
            layer.weight.data = memory(ste_sign(layer.weight.data))
        with torch.no_grad():
            right[draw] = plain(torch.from_numpy(data.scaled())).argmax(1).numpy() == data.labels
    assert counts(result) == (right.sum(1).tolist(), right.sum(0).tolist())
    assert len({tuple(row) for row in right.tolist()}) == 3
    assert result.shared_draws


def test_results_depend_on_the_seed_alone():
    run = partial(evaluate, measured_mlp(), integer_images(700), errors=POINT, weight_errors=POINT, draws=3)
    result = counts(run(seed=3))
    assert counts(run(seed=3, batch_size=1)) == result
    assert counts(run(seed=3, batch_size=300)) == result
    assert counts(run(seed=4)) != result
    assert run(seed=3, draws=2).correct.tolist() == result[0][:2]


def test_the_activations_errors_are_the_same_with_and_without_weight_errors():
    zero = rates(0.0)
    run = partial(evaluate, measured_mlp(), integer_images(300), errors=POINT, draws=3)
    assert counts(run()) == counts(run(weight_errors=zero))


def test_as_trained_agrees_with_the_rates_and_leaves_the_model_as_it_was():
    model, data = measured_mlp(), integer_images(300)
    expected = counts(evaluate(model, data, weight_errors=POINT, draws=2))
    assert counts(evaluate(model, data, weight_errors=WriteErrors(**RATES, seed=7), draws=2)) == expected
    with_memories(model, lambda name, index: WriteErrors(**RATES, seed=index))
    model(torch.from_numpy(data.scaled()))  # its streams have gone on
    before, former = copy.deepcopy(model.state_dict()), [x.weight_memory for x in weight_memories(model).values()]
    model[0].eval()
    modes = [module.training for module in model.modules()]
    result = evaluate(model, data, weight_errors="as_trained", draws=2)
    after = model.state_dict()
    assert list(before) == list(after)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert [x.weight_memory for x in weight_memories(model).values()] == former
    assert [module.training for module in model.modules()] == modes
    fresh = with_memories(copy.deepcopy(model), lambda name, index: WriteErrors(**RATES, seed=9))
    assert counts(evaluate(fresh, data, weight_errors="as_trained", draws=2)) == counts(result)


def test_none_takes_the_memories_out():
    model, data = measured_mlp(), integer_images(300)
    clean = counts(evaluate(model, data))
    with_memories(model, lambda name, index: WriteErrors(error_rate_0=0.5, error_rate_1=0.5, seed=index))
    result = evaluate(model, data)
    assert counts(result) == clean
    assert (result.draws, result.shared_draws) == (1, False)


def test_a_memory_with_state_starts_each_draw_anew():
    model, data = with_memories(measured_mlp(), lambda name, index: Recorder()), integer_images(600)
    run = partial(evaluate, model, data, weight_errors="as_trained", draws=3)
    assert counts(run(batch_size=256)) == counts(run(batch_size=1024))
    assert all(layer.weight_memory.writes == 0 for layer in weight_memories(model).values())


class Twice(nn.Module):
    """A layer that is called twice, whose activations go through one memory."""

    def __init__(self, memory):
        super().__init__()
        self.first = BinaryLinear(64, 24, seed=1, input_quantizer=None)
        self.again = BinaryLinear(24, 24, seed=2, activation_memory=memory)
        self.last = BinaryLinear(24, 10, seed=3)

    def forward(self, x):
        return self.last(self.again(self.again(self.first(x.flatten(1)))))


ROWS = np.linspace(0.0, 0.4, 72).reshape(3, 24)  # rates of three samples in turn: 3 does not divide 256
CELLS = {"error_rate_0": 0.3, "error_rate_1": 0.3, "seed": 3}


@pytest.mark.parametrize(
    "memory",
    [
        OverwriteErrors(**CELLS, slots=1),
        OverwriteErrors(**CELLS, slots=100),
        OverwriteErrors(**CELLS, slots=None),
        WriteErrors(error_rate_0=ROWS, error_rate_1=ROWS, seed=3),
        WriteErrors(error_rate_0=ROWS, error_rate_1=ROWS, seed=3, path="torch"),
    ],
    ids=["slots=1", "slots=100", "slots=None", "rows of rates", "rows of rates, torch"],
)
def test_memories_that_depend_on_the_place_in_a_batch_do_not_depend_on_the_batch_size(memory):
    model, data = Twice(memory), integer_images(599)
    run = partial(evaluate, model, data, errors="as_trained", draws=2, seed=5)
    results = [counts(run(batch_size=size)) for size in (1, 256, 512, 1024)]
    assert all(result == results[0] for result in results)


def test_cells_go_on_from_what_they_hold_in_the_model():
    # Where no write succeeds, all blocks and draws read what the cells held; the memory itself is left alone.
    stream = torch.Generator().manual_seed(1)
    held, x = (torch.randint(0, 2, (n, 9), generator=stream) * 2.0 - 1.0 for n in (256, 600))
    memory = OverwriteErrors(error_rate_0=1.0, error_rate_1=1.0, seed=3, slots=None)
    memory.held = held
    for wrapped, parts in (
        (EvaluatedMemory(copy.deepcopy(memory), 7), x.split(256)),
        (ProgrammedMemory(copy.deepcopy(memory), 7), [x[:256]]),
    ):
        for draw in range(2):
            wrapped.begin(draw)
            found = torch.cat([written(wrapped, part) for part in parts])
            assert torch.equal(found, torch.cat([held, held, held])[: len(found)])
    assert memory.held is held


@pytest.mark.parametrize("slot", ["errors", "weight_errors"])
def test_overwrite_errors_are_not_taken_for_independent_ones(slot):
    """A copy of the memory in every slot: of cells that hold the bits already, none fails, whatever the rates."""
    data = integer_images(200)  # fewer than a block: each finds empty cells
    clean = evaluate(measured_mlp(), data)
    always = {"error_rate_0": 1.0, "error_rate_1": 0.0, "seed": 0}
    inverted = evaluate(measured_mlp(), data, **{slot: WriteErrors(**always)}, draws=2)
    held = evaluate(measured_mlp(), data, **{slot: OverwriteErrors(**always, initial=-1.0, slots=None)}, draws=2)
    assert held.correct.tolist() == [clean.correct[0]] * 2
    assert inverted.correct.tolist() != held.correct.tolist()


def test_a_convolution_is_written_too():
    from bnn.models import lenet4

    model = lenet4(seed=2)
    data = integer_images(20)
    data.scaled = lambda: np.pad(data.pixels, ((0, 0), (0, 0), (10, 10), (10, 10)))
    flipped = rates(1.0)
    with torch.no_grad():
        x = torch.from_numpy(data.scaled())
        with memories(model, lambda name, index: _Negated(), slot="weight_memory"):
            expected = (model.eval()(x).argmax(1).numpy() == data.labels).sum()
    assert evaluate(model, data, weight_errors=flipped, draws=2).correct.tolist() == [expected] * 2


class _Negated(nn.Module):
    def forward(self, x):
        return -x


def test_errors_without_a_slot_are_refused():
    model, data = nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), integer_images(10)
    with pytest.raises(ValueError, match="no weight slot"):
        evaluate(model, data, weight_errors=POINT)
    with pytest.raises(ValueError, match='weight_errors must be None, "as_trained"'):
        evaluate(measured_mlp(), data, weight_errors=0.1)


# ---- the interval ----------------------------------------------------------------------------------------------------


def table(stream, images, draws, *, image_spread, draw_spread, offset=2.0):
    """Return answers of crossed random effects, (draws, images), each right with the logistic of its sum."""
    effect = offset + stream.normal(0, image_spread, (1, images)) + stream.normal(0, draw_spread, (draws, 1))
    return stream.random((draws, images)) < 1 / (1 + np.exp(-effect))


def expected_accuracy(image_spread, draw_spread, offset=2.0):
    x, weight = np.polynomial.hermite_e.hermegauss(80)
    spread = np.hypot(image_spread, draw_spread)
    return float((weight / weight.sum() / (1 + np.exp(-offset - spread * x))).sum())


def accuracy_of(right, shared=True):
    return Accuracy(right.sum(axis=1), right.sum(axis=0), shared)


@pytest.mark.parametrize("draws", [2, 3, 5, 36])
@pytest.mark.parametrize(("image_spread", "draw_spread"), [(1.5, 0.4), (1.5, 0.05), (3.0, 0.0)])
def test_interval_covers_images_and_draws(draws, image_spread, draw_spread):
    # 2,000 simulated tables of 300 images: at least the nominal 95 %, less the binomial interval at false alarm 1e-6
    # (0.024) and 0.01 for the approximations (accuracies are bounded, no effect on them is normal).
    stream = np.random.default_rng(21)
    truth, sets = expected_accuracy(image_spread, draw_spread), 2000
    results = [
        accuracy_of(table(stream, 300, draws, image_spread=image_spread, draw_spread=draw_spread)) for _ in range(sets)
    ]
    covered = sum(result.low <= truth <= result.high for result in results)
    assert covered / sets >= 0.95 - 0.034


def test_draws_taken_as_the_images_own_cover_too_little():
    # The control: the same tables, five draws, with the interval of errors that are drawn for each image.
    stream = np.random.default_rng(21)
    truth = expected_accuracy(1.5, 0.4)
    results = [accuracy_of(table(stream, 300, 5, image_spread=1.5, draw_spread=0.4), shared=False) for _ in range(2000)]
    assert sum(result.low <= truth <= result.high for result in results) / 2000 < 0.85


def test_many_draws_are_not_wastefully_wide():
    # 36 draws that hardly differ: within 10 % of the images' own interval on average.
    stream = np.random.default_rng(22)
    ratios = []
    for _ in range(100):
        right = table(stream, 1000, 36, image_spread=2.0, draw_spread=0.0)
        shared, own = accuracy_of(right), accuracy_of(right, shared=False)
        ratios.append((shared.high - shared.low) / (own.high - own.low))
    assert 0.99 < np.mean(ratios) < 1.1


def test_parts_of_the_variance_against_the_textbook():
    # Means over images and draws of a table written out: V_i, V_d by the two-way analysis of variance.
    stream = np.random.default_rng(23)
    x = table(stream, 40, 6, image_spread=1.0, draw_spread=0.5).astype(float)
    n, D, p = 40, 6, x.mean()
    rest = x - x.mean(axis=0, keepdims=True) - x.mean(axis=1, keepdims=True) + p
    ms_e = (rest**2).sum() / ((n - 1) * (D - 1))
    ms_i, ms_d = D * x.mean(axis=0).var(ddof=1), n * x.mean(axis=1).var(ddof=1)
    half2 = stats.t.ppf(0.975, n - 1) ** 2 * (ms_i - ms_e) / (n * D) + stats.t.ppf(0.975, D - 1) ** 2 * ms_d / (n * D)
    z2 = stats.norm.ppf(0.975) ** 2
    n_eff = z2 * p * (1 - p) / half2
    centre = (p + z2 / (2 * n_eff)) / (1 + z2 / n_eff)
    result = accuracy_of(x.astype(bool))
    assert (result.low + result.high) / 2 == approx(centre, rel=1e-12)
    assert result.low == approx(
        centre - np.sqrt(z2) / (1 + z2 / n_eff) * np.sqrt(p * (1 - p) / n_eff + z2 / (4 * n_eff**2)), rel=1e-12
    )


def test_one_draw_has_no_interval():
    result = accuracy_of(np.array([[True, True, False]]))
    assert np.isnan([result.low, result.high]).all()
    assert "no interval" in repr(result)
    assert np.isnan(paired_loss(accuracy_of(np.ones((2, 3), bool)), result)[1:]).all()


def test_paired_loss_covers_shared_draws():
    # A clean reference that is right with the images' own chance, and dies of it, four draws each.
    stream = np.random.default_rng(24)
    covered, naive, sets = 0, 0, 2000
    x, weight = np.polynomial.hermite_e.hermegauss(80)
    dead = 0.1 * (weight / weight.sum() * np.exp(0.5 * x - 0.125)).sum()  # mean share of answers lost
    for _ in range(sets):
        reference = stream.random((1, 400)) < 0.9
        lost = stream.random((4, 400)) < np.minimum(1.0, 0.1 * np.exp(stream.normal(-0.125, 0.5, (4, 1))))
        other = accuracy_of(reference & ~lost)
        truth = 0.9 * dead
        _, low, high = paired_loss(accuracy_of(reference, shared=False), other)
        covered += low <= truth <= high
        _, low, high = paired_loss(
            accuracy_of(reference, shared=False), Accuracy(other.correct, other.correct_per_image)
        )
        naive += low <= truth <= high
    assert covered / sets >= 0.95 - 0.034
    assert naive / sets < 0.85


def test_rows_of_weights_do_not_share_cells():
    """They are all there at once: with fewer slots a filter would overwrite another one."""
    few = OverwriteErrors(error_rate_0=0.1, error_rate_1=0.1, seed=3, slots=63)
    with pytest.raises(ValueError, match=r"each of the 64 filters, got slots=63"):
        evaluate(measured_mlp(), integer_images(10), weight_errors=few)
