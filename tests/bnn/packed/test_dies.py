"""Dies of a process, packed and in torch: the same counts, the same flags, and intervals that cover."""

from dataclasses import fields, replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from bnn.conversion.config import BinarizeConfig
from bnn.conversion.convert import binarize
from bnn.data.loading import load
from bnn.errors.overwrite import OverwriteErrors
from bnn.errors.write_errors import WriteErrors
from bnn.evaluation.accuracy import Accuracy, paired_loss
from bnn.evaluation.accuracy import evaluate as evaluate_by_choice
from bnn.layers.binary import BinaryConv2d, BinaryLinear
from bnn.layers.slots import activation_memories, memories, weight_memories
from bnn.models import bireal, mlp
from bnn.packed.trace import pack
from bnn.training.config import TrainConfig
from bnn.training.loop import Trainer
from bridge import Cell, Population, Process, Spread, Transistor, WriteSetting, operating_point
from bridge.write import OperatingPoint
from mtjsim.presets import load_preset
from mtjsim.rng import child_seed
from networks import Images, normal, rates

evaluate = partial(evaluate_by_choice, method="torch")  # what the packed dies are compared with
FAULTS = Process(short_rate=0.03, short_conductance=1e-3, stuck_ap_rate=0.02, weak_rate=0.1, weak_error_rate_factor=5.0)
EVERYTHING_SHORT = Process(short_rate=1.0, short_conductance=1e-3)


class Twice(nn.Module):
    """A binary layer that is called twice: one memory of activations, written twice."""

    def __init__(self):
        super().__init__()
        self.first, self.again, self.last = (BinaryLinear(16, n, seed=n) for n in (16, 16, 4))

    def forward(self, x):
        return self.last(self.again(self.again(self.first(x))))


def conv():
    layers = BinaryConv2d(2, 6, 3, padding=1, seed=1), nn.MaxPool2d(2), nn.BatchNorm2d(6), BinaryConv2d(6, 5, 3, seed=2)
    return nn.Sequential(*layers, nn.Flatten(), BinaryLinear(20, 4, seed=3)).eval()


MODELS = {
    "mlp": (lambda: mlp(70, (65, 64), seed=1, first="binary").eval(), (70,)),
    "conv": (conv, (2, 8, 8)),
    "twice": (lambda: Twice().eval(), (16,)),
}


@pytest.mark.parametrize("where", [("errors",), ("weight_errors",), ("errors", "weight_errors")])
@pytest.mark.parametrize("name", MODELS)
def test_dies_of_a_process_are_those_of_torch(name, where):
    """600 images are three blocks of torch's draws; every field of the result agrees."""
    build, shape = MODELS[name]
    model, data = build(), Images(normal(600, *shape), np.arange(600) % 4)
    options = {"process": FAULTS, "seed": 7, "predictions": True, **dict.fromkeys(where, rates(0.01, 0.03))}
    packed = pack(model).evaluate_dies(data, dies=3, batch_size=100, **options)
    in_torch = evaluate(model, data, draws=3, **options)
    assert (packed.method, in_torch.method) == ("packed", "torch")
    for field in fields(Accuracy):
        if field.name == "method":
            continue
        assert np.array_equal(getattr(packed, field.name), getattr(in_torch, field.name)), field.name
    assert packed.shared_draws
    assert (packed.low, packed.high) == (in_torch.low, in_torch.high)
    other = pack(model).evaluate_dies(data, dies=3, **{**options, "process": None})
    assert other.correct_per_image.tolist() != packed.correct_per_image.tolist()


@pytest.mark.parametrize("largest", [2**30, 0])
@pytest.mark.parametrize("where", ["errors", "weight_errors", "last"])
def test_what_does_not_err_is_computed_once_also_in_a_residual_net(where, largest, monkeypatch):
    """Its shortcuts are real values, which are kept besides the bits; or not, where they are too many."""
    from bnn.packed import dies, steps

    batches = []

    def conv2d(x, **given):
        if x.shape[1] == 3:
            batches.append(len(x))
        return torch.nn.functional.conv2d(x, **given)

    monkeypatch.setitem(steps.FLOAT, "conv2d", conv2d)
    monkeypatch.setattr(dies, "LARGEST", largest)
    model = bireal(4, seed=1, widths=(8, 16), stem="quarter", pool="max").eval()
    data = Images(normal(600, 3, 16, 16), np.arange(600) % 4)
    errors = {where: rates(0.05, 0.1)} if where != "last" else {"errors": {"6.convolution": rates(0.05, 0.1)}}
    packed = evaluate_by_choice(model, data, draws=3, batch_size=256, method="packed", predictions=True, **errors)
    once = [64, 256, 256, 88]  # the logits that are compared with those of torch, then all images
    assert batches == (once if largest else [64, 256, *once[1:], *once[1:], *once[1:]])
    in_torch = evaluate(model, data, draws=3, batch_size=256, predictions=True, **errors)
    assert np.array_equal(packed.predictions, in_torch.predictions)
    assert len({answers.tobytes() for answers in packed.predictions}) == 3


DEVICE = load_preset("arm_2021")
SETTING = WriteSetting(current_0=40e-6, current_1=46e-6, pulse_width=12e-9)
PAIR = Cell(device=DEVICE, transistor=Transistor(width=360e-9), supply_voltage=1.5, word_line_voltage=1.8)
PAIR = PAIR.replace(differential=True)
SPREAD = Spread(damping_d2d=0.03)
OF_PAIRS = Process(stuck_p_rate=0.05, population=Population(PAIR, SPREAD, SETTING))


def of_junctions(device=DEVICE, **setting):
    return Process(population=Population(device, SPREAD, replace(SETTING, **setting)))


@pytest.mark.parametrize("where", ["weight_errors", "errors"])
@pytest.mark.parametrize(
    ("point", "process"),
    [
        (rates(0.03, 0.01), FAULTS),
        (operating_point(DEVICE, SETTING), of_junctions()),
        (PAIR.operating_point(SETTING), OF_PAIRS),
    ],
    ids=["faults", "spread", "pairs"],
)
def test_dies_of_a_process_are_those_of_a_loop_by_hand(where, point, process):
    """The same seeds: of the evaluation, its role and its slot; of a draw."""
    model, data = conv(), Images(normal(300, 2, 8, 8), np.arange(300) % 4)
    x, found = torch.as_tensor(data.scaled()), []
    weights = where == "weight_errors"
    layers = (weight_memories if weights else activation_memories)(model)
    shapes = [tuple(layer.weight.shape) for layer in layers.values()] if weights else [(2, 8, 8), (6, 4, 4), (20,)]
    role = "evaluated_weights" if weights else "evaluated_activations"
    for draw in range(3):
        held = []
        for slot, shape in enumerate(shapes):
            own = child_seed(5, role, slot)
            die = process.die(shape, seed=child_seed(own, "dies", draw))
            held.append(WriteErrors.from_operating_point(point, seed=own, die=die))
            held[-1].address(step=draw, samples=None if weights else torch.arange(300))
        slots = "weight_memory" if weights else "activation_memory"
        with memories(model, lambda name, index, held=held: held[index], slot=slots), torch.no_grad():
            found.append((model(x).argmax(dim=1).numpy() == data.labels).sum())
    assert evaluate(model, data, **{where: point}, process=process, draws=3, seed=5).correct.tolist() == found


@pytest.mark.parametrize("where", ["weight_errors", "errors"])
@pytest.mark.parametrize(
    ("point", "process", "message"),
    [
        ("bare", of_junctions(DEVICE.replace(damping=0.02)), "process must have cells that are written as the point's"),
        ("bare", of_junctions(current_1=50e-6), "process must have cells .* with the point's setting"),
        ("bare", OF_PAIRS, "process must have cells .* got those of a Cell 2T-2MTJ, .* for a bare junction"),
        ("pair", of_junctions(), "process must have cells .* got those of a bare junction, .* for a Cell 2T-2MTJ"),
        ("pair", FAULTS, "process must be of the pairs of the point"),
    ],
)
def test_a_process_of_other_cells_than_the_point_is_refused_by_both(where, point, process, message):
    """As a die by hand is: its rates were taken in place of the point's."""
    point = PAIR.operating_point(SETTING) if point == "pair" else operating_point(DEVICE, SETTING)
    model, data = mlp(70, (65, 64), seed=1).eval(), Images(normal(5, 70), np.arange(5))
    for given in (point, WriteErrors.from_operating_point(WriteErrors.from_operating_point(point, seed=1), seed=2)):
        for evaluated in (pack(model).evaluate_dies, partial(evaluate, model)):
            with pytest.raises(ValueError, match=message):
                evaluated(data, **{where: given}, process=process)
        with pytest.raises(ValueError, match=message.replace("process", "die", 1)):
            WriteErrors.from_operating_point(given, seed=1, die=process.die((4,), seed=1))


def test_a_layer_with_inputs_of_several_shapes_has_no_die():
    """16 cells are a quarter of 64: rates in turn would fit."""

    class Pyramid(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = BinaryConv2d(1, 4, 3, padding=1, seed=1)

        def forward(self, x):
            return self.layer(x).mean((2, 3)) + self.layer(x[..., ::2, ::2]).mean((2, 3))

    data = Images(normal(5, 1, 8, 8), np.arange(5) % 4)
    assert evaluate(Pyramid(), data, errors=rates(0.1), draws=2).draws == 2
    with pytest.raises(ValueError, match=r"process must be left out where .* got \(1, 8, 8\) and \(1, 4, 4\)"):
        evaluate(Pyramid(), data, errors=rates(0.1), process=FAULTS, draws=2)


def test_a_short_reads_as_0_in_weights_and_in_activations():
    """Every weight, or every input bit, is -1: the sums follow."""
    layer = BinaryLinear(9, 3, seed=1)
    images = torch.where(normal(50, 9) >= 0, 1.0, -1.0)
    short = -images.sum(dim=1)  # of every output, so that the first is chosen
    assert short.abs().max() <= 9
    data = Images(images, np.zeros(50, np.int64))
    assert pack(layer).evaluate_dies(data, weight_errors=rates(0.0), process=EVERYTHING_SHORT, dies=2).mean == 1.0
    weights = torch.where(layer.weight >= 0, 1.0, -1.0)
    chosen = int((-weights.sum(dim=1)).argmax())
    data = Images(images, np.full(50, chosen))
    assert evaluate(layer, data, errors=rates(0.0), process=EVERYTHING_SHORT, draws=2).mean == 1.0


def test_dies_differ_and_depend_on_the_seed_alone():
    model, data = mlp(70, (65, 64), seed=1).eval(), Images(normal(200, 70), np.arange(200) % 10)
    packed, options = pack(model), {"weight_errors": rates(0.0), "process": FAULTS}
    a = packed.evaluate_dies(data, dies=5, seed=1, **options)
    assert len(set(a.correct.tolist())) > 1  # exact writes: only the faults differ
    b = packed.evaluate_dies(data, dies=7, seed=1, workers=3, batch_size=17, **options)
    assert b.correct[:5].tolist() == a.correct.tolist()
    assert packed.evaluate_dies(data, dies=5, seed=2, **options).correct.tolist() != a.correct.tolist()


def test_a_process_without_faults_is_none():
    model, data = mlp(70, (65, 64), seed=1).eval(), Images(normal(200, 70), np.arange(200) % 10)
    options = {"weight_errors": rates(0.02, 0.1), "errors": rates(0.1, 0.02), "seed": 3}
    faultless = evaluate(model, data, draws=3, process=Process(), **options)
    assert faultless.correct_per_image.tolist() == evaluate(model, data, draws=3, **options).correct_per_image.tolist()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "process would touch nothing: no memory is written. Give errors or weight_errors"),
        ({"weight_errors": "as_trained"}, "weight_errors must be an operating point or a WriteErrors where there is"),
        ({"errors": OverwriteErrors(error_rate_0=0.1, error_rate_1=0.1, seed=1)}, "errors must be an operating point"),
        ({"errors": rates(np.full(64, 0.1), 0.1)}, "errors must have one rate for each bit where there is a process"),
        ({"errors": rates(0.1), "process": FAULTS.die((3,), seed=1)}, "process must be .*Process"),
    ],
)
def test_what_cannot_be_on_a_die_is_refused_by_both(options, message):
    model, data = mlp(70, (65, 64), seed=1).eval(), Images(normal(5, 70), np.arange(5))
    for evaluated in (pack(model).evaluate_dies, lambda data, **given: evaluate(model, data, **given)):
        with pytest.raises(ValueError, match=message):
            evaluated(data, **{"process": FAULTS, **options})


def test_errors_of_chosen_layers_on_a_process():
    packed, data = pack(mlp(70, (65, 64), seed=1).eval()), Images(normal(50, 70), np.arange(50) % 10)
    only = packed.weight_layers[:1]
    result = packed.evaluate_dies(data, weight_errors=dict.fromkeys(only, rates(0.0)), process=FAULTS, dies=4)
    assert result.draws == 4
    with pytest.raises(ValueError, match="must have one rate for each bit"):
        packed.evaluate_dies(data, weight_errors=dict.fromkeys(only, rates(np.full(70, 0.1))), process=FAULTS)


# ---- intervals -------------------------------------------------------------------------------------------------------

REPEATS, FALSE_ALARM = 200, 1e-6


@pytest.fixture(scope="module")
def trained():
    digits = load("digits")
    torch.manual_seed(0)
    hidden = [layer for _ in range(2) for layer in (nn.Linear(32, 32), nn.BatchNorm1d(32))]
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.BatchNorm1d(32), *hidden, nn.Linear(32, 10))
    model = binarize(net, BinarizeConfig())
    Trainer(model, TrainConfig(epochs=10, batch_size=64, learning_rate=0.01, seed=0)).fit(digits.train)
    return pack(model), digits.test


LAWS = {
    "errors": {"weight_errors": SimpleNamespace(error_rate_0=0.2, error_rate_1=0.2)},
    "process": {
        "weight_errors": OperatingPoint.of_rates(error_rate_0=0.0, error_rate_1=0.0),
        "process": Process(short_rate=0.2, short_conductance=1e-3, stuck_ap_rate=0.2),  # half of them hold the bit
    },
}


@pytest.mark.slow
@pytest.mark.parametrize("law", LAWS)
def test_intervals_of_dies_are_not_too_narrow(trained, law):
    """Of 200 intervals from 5 dies each, as many cover the mean over dies as a coverage of 95 % allows.

    They also allow for other images, so they cover more. With images taken as independent they were a third as wide
    and covered 70 %, 140 of 200: seen.
    """
    packed, data = trained
    truth = packed.evaluate_dies(data, dies=1000, seed=1_000_000, **LAWS[law]).mean
    found = [packed.evaluate_dies(data, dies=5, seed=seed, **LAWS[law]) for seed in range(REPEATS)]
    covered = sum(accuracy.low <= truth <= accuracy.high for accuracy in found)
    assert covered >= stats.binom.ppf(FALSE_ALARM, REPEATS, 0.95)
    narrow = [Accuracy(a.correct, a.correct_per_image, shared_draws=False) for a in found]
    assert sum(a.low <= truth <= a.high for a in narrow) < stats.binom.ppf(FALSE_ALARM, REPEATS, 0.95)


@pytest.mark.slow
@pytest.mark.parametrize("law", LAWS)
def test_two_samples_of_one_law_differ_at_most_at_the_level(trained, law):
    """The paired interval of two samples of 5 dies excludes 0 in 5 % of 200 repeats at most, within chance."""
    packed, data = trained
    a, b = (
        [packed.evaluate_dies(data, dies=5, seed=2 * seed + k, **LAWS[law]) for seed in range(REPEATS)] for k in (0, 1)
    )
    pairs = [paired_loss(*pair) for pair in zip(a, b, strict=True)]
    excluded = sum(not low <= 0.0 <= high for _, low, high in pairs)
    assert excluded <= stats.binom.ppf(1 - FALSE_ALARM, REPEATS, 0.05)


def test_one_die_has_no_interval(trained):
    packed, data = trained
    for law in LAWS.values():
        one = packed.evaluate_dies(data, dies=1, **law)
        assert np.isnan([one.low, one.high]).all()


def test_rates_of_a_memory_are_those_of_the_point(trained):
    """A `WriteErrors` and a point of the same rates give the same dies."""
    packed, data = trained
    point = OperatingPoint.of_rates(error_rate_0=0.1, error_rate_1=0.2)
    memory = WriteErrors(error_rate_0=0.1, error_rate_1=0.2, seed=9)
    a, b = (packed.evaluate_dies(data, weight_errors=own, process=FAULTS, dies=2) for own in (point, memory))
    assert a.correct.tolist() == b.correct.tolist()
