"""Curves of accuracy against energy: pairing, intervals, independence of the number of processes."""

from functools import partial

import numpy as np
import pytest
import torch

from bnn.data.images import DataSet
from bnn.data.loading import load
from bnn.evaluation.accuracy import Accuracy
from bnn.layers.slots import activation_memories
from bnn.models import mlp
from bnn.studies.curve import CLEAN, WITH_ERRORS, Interval, energy_accuracy_curve, over_networks
from bnn.training.config import TrainConfig
from bridge.write import OperatingPoint, WriteSetting
from physics import approx


def point(rate, energy=1e-15, rate_1=None):
    setting = WriteSetting(current_0=1e-6, current_1=1e-6, pulse_width=1e-9)
    return OperatingPoint(
        error_rate_0=rate,
        error_rate_1=rate if rate_1 is None else rate_1,
        energy_0=energy,
        energy_1=energy,
        latency=1e-9,
        setting=setting,
        device_identity="",
        temperature=300.0,
    )


@pytest.fixture(scope="module")
def small():
    digits = load("digits")
    return DataSet(
        "small", digits.train.subset(range(200)), digits.test.subset(range(100)), digits.class_names, digits.source
    )


MODEL = partial(mlp, 64, (32, 32), 10)
TRAINING = TrainConfig(epochs=4, batch_size=50, learning_rate=0.02, seed=0)


def curve(data, rates, **options):
    points = [point(rate, (1 + i) * 1e-15) for i, rate in enumerate(rates)]
    return energy_accuracy_curve(MODEL, data, points, TRAINING, **{"networks": 2, "draws": 3, "workers": 1, **options})


def test_same_numbers_for_any_number_of_processes(small):
    one = curve(small, [0.3, 0.01])
    make_model = lambda **options: MODEL(**options)  # noqa: E731  # no process can import it by name
    points, options = [point(0.3, 1e-15), point(0.01, 2e-15)], {"networks": 2, "draws": 3}
    assert one == energy_accuracy_curve(make_model, small, points, TRAINING, **options, workers=2)
    assert one != curve(small, [0.3, 0.01], seed=1)


def test_a_memory_without_errors_loses_nothing(small):
    result = curve(small, [0.0])
    for row in result.points:
        assert row.loss.mean == 0.0
        assert row.loss.low < 0 < row.loss.high  # on a hundred images nothing is sure
        assert row.accuracy.mean == result.error_free.mean


def test_errors_cost_accuracy_and_training_with_them_helps():
    # On the digits a narrow network loses tens of points at 20 %, and gets many of them back: no close call.
    training = TrainConfig(epochs=10, batch_size=64, learning_rate=0.02, seed=0)
    model = partial(mlp, 64, (64, 64), 10)
    result = energy_accuracy_curve(model, load("digits"), [point(0.2)], training, networks=2, draws=3, workers=1)
    by_training = {row.training: row for row in result.points}
    assert by_training[CLEAN].loss.mean > 0.1
    assert by_training[WITH_ERRORS].accuracy.mean > by_training[CLEAN].accuracy.mean + 0.05


def test_counts_are_kept(small):
    row = curve(small, [0.1]).points[0]
    counts = np.array(row.correct)
    assert counts.shape == (row.networks, row.draws) == (2, 3)
    assert row.accuracy.mean == approx(counts.mean() / 100)


def test_cheapest_point_is_sure_and_not_inverted(small):
    result = curve(small, [0.999, 0.0])
    rows = tuple(row for row in result.points)
    assert result.cheapest(1.0).point.mean_error_rate == 0.0  # the cheaper one only holds the inverse
    assert result.cheapest(1e-6) is None
    assert rows[0].point.mean_energy < rows[2].point.mean_energy


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"networks": 1}, "networks must be >= 2, got 1"),
        ({"draws": 0}, "draws must be a whole number >= 1, got 0"),
        ({"workers": 0}, "workers must be a whole number >= 1, got 0"),
        ({"seed": -1}, "seed must be a whole number"),
    ],
)
def test_refuses(small, options, message):
    with pytest.raises(ValueError, match=message):
        curve(small, [0.1], **options)
    with pytest.raises(ValueError, match="points must be one operating point or more"):
        curve(small, [])


def test_interval_covers_for_networks_and_images_at_random():
    # 1,000 repeats of 4 networks x 200 images with random effects of both; nominal 95 %: at least 930 must cover (a
    # true 95 % interval falls below that once in 500; the seed was fixed beforehand).
    generator = np.random.default_rng(20)
    covered = 0
    for _ in range(1000):
        rows, columns = generator.normal(0, 0.01, (4, 1)), generator.normal(0, 0.1, (1, 200))
        interval = over_networks(0.9 + rows + columns + generator.normal(0, 0.1, (4, 200)))
        covered += interval.low < 0.9 < interval.high
    assert 930 <= covered <= 1000


def test_interval_grows_with_the_spread_of_networks():
    images = np.zeros((3, 500))
    images[:, :100] = 1.0
    same = over_networks(images)
    images[0, 100:150] = 1.0
    assert over_networks(images).high - over_networks(images).low > 2 * (same.high - same.low)
    assert Interval(0.5, -0.1, 1.1).within(0.0, 1.0) == Interval(0.5, 0.0, 1.0)


def test_interval_of_networks_alone_is_students():
    # Three networks that differ and images that do not: half the width is t(0.975, 2) s / sqrt(3).
    interval = over_networks(np.repeat([[0.8], [0.9], [1.0]], 100_000, axis=1))
    assert interval.high - interval.mean == approx(4.3027 * 0.1 / 3**0.5, rel=1e-3)


class Recorder:
    """In place of training and evaluation: remembers what each network was, and answers by a rule of its own."""

    def __init__(self, monkeypatch):
        self.trained, self.evaluated = [], []
        monkeypatch.setattr("bnn.studies.curve.Trainer", self.trainer)
        monkeypatch.setattr("bnn.studies.curve.evaluate", self.evaluate)

    def trainer(self, model, config):
        weights = torch.cat([p.detach().flatten().clone() for p in model.parameters()])
        memories = [layer.activation_memory for layer in activation_memories(model).values()]
        rates = {(m.error_rate_0, m.error_rate_1) for m in memories if m is not None}
        self.trained.append((weights, config.seed, rates))
        return type("Fitted", (), {"fit": lambda _, images: None})()

    def evaluate(self, model, data, *, errors, draws=1, seed=0):
        rates = None if errors is None else (errors.error_rate_0, errors.error_rate_1)
        self.evaluated.append((rates, seed))
        stream = np.random.default_rng(len(self.trained))  # one pattern of images a network
        right = stream.random(50) < (0.9 if rates is None else 0.9 - rates[0])
        return Accuracy(np.full(draws, right.sum()), right * draws)


def test_every_row_is_of_its_own_point_and_network(monkeypatch, small):
    recorder = Recorder(monkeypatch)
    points = [point(0.3, 1e-15, 0.2), point(0.1, 2e-15, 0.05)]
    result = energy_accuracy_curve(MODEL, small, points, TRAINING, networks=3, draws=4, workers=1)

    # trained: three clean networks, then three at each point, with that point's rates the right way round
    assert [rates for _, _, rates in recorder.trained] == 3 * [set()] + 3 * [{(0.3, 0.2)}] + 3 * [{(0.1, 0.05)}]
    for k in range(3):  # network k starts from the same weights and sees the same order everywhere, others do not
        for again in (3 + k, 6 + k):
            assert torch.equal(recorder.trained[k][0], recorder.trained[again][0])
            assert recorder.trained[k][1] == recorder.trained[again][1]
    assert not torch.equal(recorder.trained[0][0], recorder.trained[1][0])
    assert recorder.trained[0][1] != recorder.trained[1][1]

    # evaluated: each with its point's rates; network k meets the same draws at every point, other networks others
    expected = 3 * [None, (0.3, 0.2), (0.1, 0.05)] + 3 * [(0.3, 0.2)] + 3 * [(0.1, 0.05)]
    assert [rates for rates, _ in recorder.evaluated] == expected
    seeds = [seed for rates, seed in recorder.evaluated if rates is not None]
    a, b, c = seeds[::2][:3]
    assert len({a, b, c}) == 3
    assert seeds == [a, a, b, b, c, c, a, b, c, a, b, c]

    def shares(network, rate):
        return np.random.default_rng(network).random(50) < 0.9 - rate

    free = np.stack([shares(k, 0.0) for k in (1, 2, 3)]).astype(float)
    for index, p in enumerate(points):
        clean, trained = result.points[2 * index], result.points[2 * index + 1]
        assert clean.point is trained.point is p
        for row, networks in ((clean, (1, 2, 3)), (trained, range(4 + 3 * index, 7 + 3 * index))):
            right = np.stack([shares(k, p.error_rate_0) for k in networks]).astype(float)
            assert row.accuracy == over_networks(right).within(0.0, 1.0)
            assert row.loss == over_networks(free - right)


def test_cheapest_is_the_least_energy_of_those_that_lose_little(monkeypatch, small):
    Recorder(monkeypatch)
    points = [point(0.2, 1e-15), point(0.0, 2e-15), point(0.0, 3e-15)]
    result = energy_accuracy_curve(MODEL, small, points, TRAINING, networks=3, draws=4, workers=1)
    fit = [row for row in result.points if row.loss.high < 0.1]
    assert {row.point.mean_energy for row in fit} == {2e-15, 3e-15}
    assert result.cheapest(0.1).point.mean_energy == 2e-15
