import copy
from functools import partial

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from bnn.errors.write_errors import WriteErrors
from bnn.evaluation import accuracy as by_choice
from bnn.evaluation.accuracy import Accuracy, paired_loss
from bnn.evaluation.draws import EvaluatedMemory
from bnn.layers.slots import activation_memories
from bnn.models import mlp
from networks import Images, counts, integer_images, measured_mlp, rates, write_errors
from physics import approx

POINT = rates(0.1, 0.2)


@pytest.fixture(params=["torch", "auto"])
def evaluate(request):
    """Evaluate in torch, and by choice, which is on packed bits for nearly every model here."""
    return partial(by_choice.evaluate, method=request.param)


def test_counts_against_a_plain_loop(evaluate):
    model, data = measured_mlp().eval(), integer_images(700)
    right = model(torch.from_numpy(data.scaled())).argmax(1).numpy() == data.labels
    result = evaluate(model, data)
    assert result.correct.tolist() == [right.sum()]
    assert np.array_equal(result.correct_per_image, right)
    assert (result.images, result.draws) == (700, 1)
    assert result.mean == approx(right.mean())


def test_counts_over_draws_agree_and_errors_matter(evaluate):
    result = evaluate(measured_mlp(), integer_images(300), errors=POINT, draws=5)
    assert result.correct.shape == (5,)
    assert result.correct.sum() == result.correct_per_image.sum()
    assert len(set(result.correct_per_image.tolist())) > 2
    assert len(set(result.correct.tolist())) > 1


def test_result_depends_on_the_seed_and_not_on_the_batch_size_or_the_number_of_draws(evaluate):
    model, data = measured_mlp(), integer_images(700)
    run = partial(evaluate, model, data, errors=POINT, draws=4)
    result = counts(run(seed=3))
    assert counts(run(seed=3, batch_size=1)) == result
    assert counts(run(seed=3, batch_size=300)) == result
    assert counts(run(seed=4)) != result
    assert run(seed=3, draws=2).correct.tolist() == result[0][:2]


def test_every_draw_and_layer_has_a_stream_of_its_own(monkeypatch):
    drawn, forward = [], EvaluatedMemory.forward

    def record(memory, x):
        out = forward(memory, x)
        drawn.append((out != x).numpy().tobytes())
        return out

    monkeypatch.setattr(EvaluatedMemory, "forward", record)
    model = measured_mlp(activation_memory=write_errors(0.1))
    by_choice.evaluate(model, integer_images(600), errors=POINT, draws=3, method="torch")
    assert len(set(drawn)) == len(drawn) == 3 * 2  # draws x layers


def test_operating_point_write_errors_and_as_trained_agree(evaluate):
    rates = {"error_rate_0": 0.1, "error_rate_1": 0.2}
    model, data = measured_mlp(activation_memory=partial(WriteErrors, **rates)), integer_images(300)
    results = [counts(evaluate(model, data, errors=errors, draws=3)) for errors in
               (POINT, WriteErrors(**rates, seed=77), "as_trained")]  # fmt: skip
    assert results[0] == results[1] == results[2]


def test_error_free_takes_the_memories_out(evaluate):
    noisy, data = measured_mlp(activation_memory=write_errors(0.5)), integer_images(300)
    clean = mlp(seed=1, hidden=(64, 48), first="binary", last="binary")
    clean.load_state_dict({k: v for k, v in noisy.state_dict().items() if "memory" not in k})
    assert counts(evaluate(noisy, data)) == counts(evaluate(clean, data, errors="as_trained"))
    zero = rates(0.0)
    assert evaluate(clean, data, errors=zero, draws=2).correct.tolist() == evaluate(clean, data).correct.tolist() * 2


@pytest.mark.parametrize("errors", [None, POINT, "as_trained"])
def test_the_model_is_left_as_it_was(evaluate, errors):
    model = measured_mlp(activation_memory=write_errors(0.1))
    model[1].eval()  # modes of its own
    modes = [module.training for module in model.modules()]
    former = [layer.activation_memory for layer in activation_memories(model).values()]
    before, stream = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    evaluate(model, integer_images(300), errors=errors, draws=3)
    after = model.state_dict()
    assert list(before) == list(after)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert [module.training for module in model.modules()] == modes
    assert [layer.activation_memory for layer in activation_memories(model).values()] == former
    assert torch.equal(torch.get_rng_state(), stream)


def test_the_model_is_left_as_it_was_after_an_exception(evaluate):
    model = measured_mlp(activation_memory=write_errors(0.1))
    former = [layer.activation_memory for layer in activation_memories(model).values()]
    with pytest.raises(RuntimeError):
        evaluate(model, Images(np.zeros((5, 1, 3, 3), np.float32), np.zeros(5, np.int64)))
    assert model.training
    assert [layer.activation_memory for layer in activation_memories(model).values()] == former


def test_a_memory_without_a_stream_can_be_evaluated(evaluate):
    model, data = measured_mlp(), integer_images(100)
    clean = evaluate(model, data).correct.tolist()
    for layer in activation_memories(model).values():
        layer.activation_memory = nn.Identity()
    assert evaluate(model, data, errors="as_trained", draws=2).correct.tolist() == clean * 2


def test_wrong_arguments_are_refused(evaluate):
    model, data = measured_mlp(), integer_images(10)
    with pytest.raises(ValueError, match="draws must be a whole number >= 1, got 0"):
        evaluate(model, data, errors=POINT, draws=0)
    with pytest.raises(ValueError, match="batch_size must be a whole number >= 1"):
        evaluate(model, data, batch_size=0)
    with pytest.raises(ValueError, match="seed"):
        evaluate(model, data, seed=-1)
    with pytest.raises(ValueError, match='errors must be None, "as_trained"'):
        evaluate(model, data, errors="trained")
    with pytest.raises(ValueError, match="at least one image"):
        evaluate(model, integer_images(0))
    with pytest.raises(ValueError, match="no activation slot"):
        evaluate(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), data, errors=POINT)
    with pytest.raises(ValueError, match="must count the same answers"):
        Accuracy(np.array([3]), np.array([1, 1]))


def from_shares(per_image, draws):
    per_image = np.asarray(per_image)
    return Accuracy(np.r_[per_image.sum(), np.zeros(draws - 1, int)], per_image)


def test_interval_of_one_draw_is_wilsons():
    # Newcombe, Stat. Med. 17, 857 (1998), table I: 81 of 263, score method, 0.2553 to 0.3662. Ours uses n - 1.
    result = from_shares([1] * 81 + [0] * 182, 1)
    assert (result.low, result.high) == approx((0.2553, 0.3662), abs=3e-4)


@pytest.mark.parametrize("right", [0, 1])
def test_interval_of_all_or_nothing_is_not_a_point(right):
    result = from_shares([3 * right] * 100, 3)
    bound = stats.norm.ppf(0.975) ** 2 / (100 + stats.norm.ppf(0.975) ** 2)
    assert (result.low, result.high) == approx((1 - bound, 1.0) if right else (0.0, bound), abs=1e-15)


def test_draws_narrow_the_interval_only_as_far_as_they_tell_something():
    certain, coin = from_shares([36] * 60 + [0] * 40, 36), from_shares([22] * 50 + [21] * 50, 36)
    once = from_shares([1] * 60 + [0] * 40, 1)
    assert certain.high - certain.low == approx(once.high - once.low, rel=1e-9)
    assert coin.high - coin.low == approx((once.high - once.low) / 6, rel=0.05)


def test_interval_covers():
    # 4,000 simulated sets of 200 images x 5 draws, image accuracies from Beta(3.6, 0.4): the nominal 95 %, within the
    # binomial interval at false alarm 1e-6 (0.017) and 0.01 for the approximation. The control, draws taken as
    # independent (n_eff = 1,000), covers about 0.90 or less and is seen.
    stream = np.random.default_rng(11)
    sets, n, draws, truth = 4000, 200, 5, 0.9
    covered = naive = 0
    for _ in range(sets):
        result = from_shares(stream.binomial(draws, stream.beta(3.6, 0.4, n)), draws)
        covered += result.low <= truth <= result.high
        p = result.mean
        naive += abs(p - truth) <= 1.96 * np.sqrt(p * (1 - p) / (n * draws))
    assert abs(covered / sets - 0.95) < 0.027
    assert naive / sets < 0.90


def test_paired_loss_covers_and_is_never_a_point():
    # As above; 3 % of 200 images are answered wrongly by `other` alone, 1 % by `reference` alone.
    stream = np.random.default_rng(12)
    covered, sets = 0, 4000
    for _ in range(sets):
        kind = stream.choice(4, 200, p=[0.9, 0.03, 0.01, 0.06])
        mean, low, high = paired_loss(from_shares((kind < 2).astype(int), 1),
                                      from_shares(((kind == 0) | (kind == 2)).astype(int), 1))  # fmt: skip
        assert low <= mean <= high
        covered += low <= 0.02 <= high
    assert abs(covered / sets - 0.95) < 0.03
    same = from_shares([1] * 95 + [0] * 5, 1)
    mean, low, high = paired_loss(same, same)
    assert mean == 0.0
    assert low == approx(-high)
    assert 0.01 < high < 0.03


def test_paired_loss_refuses_other_images():
    with pytest.raises(ValueError, match="got 2 and 3"):
        paired_loss(from_shares([1, 0], 1), from_shares([1, 0, 1], 1))


def test_printed_accuracy_says_images_and_draws():
    assert "100 images, 3 draws" in repr(from_shares([3] * 90 + [0] * 10, 3))


def test_a_call_that_does_not_fit_shows_the_call():
    with pytest.raises(TypeError, match=r"'error' \(did you mean 'errors'\?\): call it as evaluate\(model, data, "):
        by_choice.evaluate(None, None, error=3)
