"""The choice of an evaluation: on packed bits only where torch gives the same answers, and why not otherwise."""

from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from bnn.data.image_files import ImageFiles
from bnn.errors.overwrite import OverwriteErrors
from bnn.errors.write_errors import WriteErrors
from bnn.evaluation.accuracy import Accuracy, evaluate
from bnn.evaluation.batch_norm import reestimate_batch_norm, rescale_batch_norm
from bnn.layers.slots import activation_memories, memories, weight_memories
from bnn.models import bireal, lenet4, mlp
from bnn.packed.predictor import PackedModel
from bnn.packed.trace import pack
from bridge.dies.faults import Process
from networks import Branch, Images, integer_images, measured_mlp, normal, rates, same_state
from physics import approx

RATES = {"error_rate_0": 0.05, "error_rate_1": 0.1}
FAULTS = Process(short_rate=0.03, short_conductance=1e-3)


def both(model, data, **options):
    """Evaluate on packed bits and in torch."""
    return [evaluate(model, data, method=method, predictions=True, **options) for method in ("packed", "torch")]


def assert_same(a, b):
    assert (a.method, b.method) == ("packed", "torch")
    assert np.array_equal(a.predictions, b.predictions)
    assert np.array_equal(a.correct, b.correct)
    assert np.array_equal(a.correct_per_image, b.correct_per_image)
    assert (a.shared_draws, repr(a)) == (b.shared_draws, repr(b))


NETWORKS = {
    "mlp": (measured_mlp, (1, 8, 8)),
    "real first layer": (lambda: mlp(seed=1), (1, 8, 8)),
    "lenet4": (lambda: lenet4(seed=2), (1, 28, 28)),
    "bireal": (lambda: bireal(seed=3, widths=(9, 70), blocks=1, last="binary"), (3, 12, 12)),
}
ERRORS = {
    "none": {},
    "activations": {"errors": (0.05, 0.1)},
    "weights": {"weight_errors": rates(0.02)},
    "both on dies": {"errors": rates(0.01), "weight_errors": rates(0.01), "process": FAULTS},
}


@pytest.mark.parametrize("errors", ERRORS)
@pytest.mark.parametrize("network", NETWORKS)
def test_every_answer_is_that_of_torch(network, errors):
    """530 images, three batches of which the last is short; trained-like statistics by one batch."""
    build, shape = NETWORKS[network]
    model, data = build(), Images(normal(530, *shape), np.arange(530) % 10)
    model(torch.from_numpy(np.asarray(data.pixels[:64])))
    state = {name: values.clone() for name, values in model.state_dict().items()}
    found = both(model, data, draws=3, seed=4, batch_size=256, **ERRORS[errors])
    assert_same(*found)
    assert found[0].predictions.shape == (1 if errors == "none" else 3, 530)
    assert all(torch.equal(values, state[name]) for name, values in model.state_dict().items())
    assert model.training
    chosen = evaluate(model, data, draws=3, seed=4, **ERRORS[errors])
    assert (chosen.method, chosen.predictions) == ("packed", None)


def test_memories_of_a_training_are_those_of_torch():
    """Unequal rates in each layer, those of cells among them, which torch writes in blocks of 256 images."""
    model, data = measured_mlp(), integer_images(600)
    for slot in ("activation_memory", "weight_memory"):
        for index, layer in enumerate(activation_memories(model).values()):
            rate = 0.02 * (1 + index)
            rate_0 = np.full(layer.weight.shape[1], rate) if index == 1 else rate
            setattr(layer, slot, WriteErrors(error_rate_0=rate_0, error_rate_1=rate / 2, seed=9, counted=True))
    before = model.state_dict()
    assert_same(*both(model, data, errors="as_trained", weight_errors="as_trained", draws=2, seed=3))
    assert all(torch.equal(a, b) for a, b in zip(before.values(), model.state_dict().values(), strict=True))


class Doubled(nn.Module):
    def forward(self, x):
        return 2.0 * x


def refused_models():
    hooked = measured_mlp()
    hooked[1].register_forward_hook(lambda module, inputs, output: None)
    return {
        "cannot be packed": nn.Sequential(measured_mlp(), Doubled()),
        "without branches": nn.Sequential(Branch(), measured_mlp()),
        "has hooks": hooked,
        "float64": measured_mlp().double(),
        "not contiguous": lenet4(seed=2).to(memory_format=torch.channels_last),
    }


@pytest.mark.parametrize("reason", refused_models())
def test_a_model_that_may_differ_is_evaluated_in_torch(reason):
    model, data = refused_models()[reason], integer_images(40)
    if reason == "not contiguous":
        data = Images(normal(40, 1, 28, 28), np.arange(40) % 10)
    assert evaluate(model, data).method == "torch"
    with pytest.raises(ValueError, match=f'method must be "torch" or "auto" here, got "packed": .*{reason}'):
        evaluate(model, data, method="packed")


@pytest.mark.parametrize("slot", ["errors", "weight_errors"])
@pytest.mark.parametrize(
    ("memory", "reason"),
    [
        (OverwriteErrors(**RATES, seed=0, slots=None), "is OverwriteErrors"),
        (WriteErrors(**RATES, seed=0, path="torch"), "WriteErrors with path='torch'"),
        (nn.Identity(), "is Identity"),
    ],
)
def test_other_draws_are_evaluated_in_torch(slot, memory, reason):
    model, data = measured_mlp(), integer_images(40)
    layers = activation_memories if slot == "errors" else weight_memories
    for layer in layers(model).values():
        setattr(layer, "activation_memory" if slot == "errors" else "weight_memory", memory)
    assert evaluate(model, data, draws=2, **{slot: "as_trained"}).method == "torch"
    with pytest.raises(ValueError, match=reason):
        evaluate(model, data, draws=2, method="packed", **{slot: "as_trained"})


def test_autocast_is_evaluated_in_torch():
    with torch.autocast("cpu", torch.bfloat16):
        assert evaluate(measured_mlp(), integer_images(40)).method == "torch"


def test_a_packed_model_that_rounds_otherwise_is_seen(monkeypatch):
    """The control: logits that differ in their last bit, in one image."""
    run = PackedModel.run

    def other(packed, images, *args, **options):
        found = run(packed, images, *args, **options)
        found[3, 0] = torch.nextafter(found[3, 0], torch.tensor(torch.inf))
        return found

    monkeypatch.setattr(PackedModel, "run", other)
    with pytest.raises(ValueError, match="rounds otherwise"):
        evaluate(measured_mlp(), integer_images(40), method="packed")
    assert evaluate(measured_mlp(), integer_images(40)).method == "torch"


def test_an_unknown_method():
    with pytest.raises(ValueError, match="method must be one of 'auto', 'packed', 'torch'"):
        evaluate(measured_mlp(), integer_images(4), method="bits")


# ---- errors of layers, pairs -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("slot", ["errors", "weight_errors"])
def test_errors_of_one_layer_are_those_of_its_memory_alone(slot):
    model, data = measured_mlp(), integer_images(300)
    name = list(activation_memories(model))[1]
    found = both(model, data, **{slot: {name: (0.05, 0.1)}}, draws=3)
    assert_same(*found)
    memory = "activation_memory" if slot == "errors" else "weight_memory"
    with memories(model, lambda layer, _: WriteErrors(**RATES, seed=1) if layer == name else None, slot=memory):
        one = evaluate(model, data, **{slot: "as_trained"}, draws=3)
    assert one.correct_per_image.tolist() == found[0].correct_per_image.tolist()
    assert evaluate(model, data, **{slot: (0.05, 0.1)}, draws=3).correct.tolist() != one.correct.tolist()
    assert pack(model).evaluate_dies(data, **{slot: {name: (0.05, 0.1)}}, dies=3).correct.tolist() == (
        one.correct.tolist()
    )


@pytest.mark.parametrize(
    "evaluated", [evaluate, lambda model, *args, **given: pack(model).evaluate_dies(*args, **given)]
)
def test_a_pair_is_error_rate_0_and_error_rate_1(evaluated):
    run = partial(evaluated, measured_mlp(), integer_images(300))
    for slot in ("errors", "weight_errors"):
        assert run(**{slot: (0.0, 0.3)}).correct.tolist() == run(**{slot: rates(0.0, 0.3)}).correct.tolist()
        assert run(**{slot: (0.3, 0.0)}).correct.tolist() != run(**{slot: (0.0, 0.3)}).correct.tolist()
        with pytest.raises(ValueError, match=rf"{slot}\.error_rate_1 must be in \[0, 1\], got 30"):
            run(**{slot: (0.1, 30)})
        for wrong in ((0.1, 0.1, 0.1), [0.1, 0.1], 0.1):
            with pytest.raises(ValueError, match=rf"{slot} must .* A pair \(error_rate_0, error_rate_1\) is of two"):
                run(**{slot: wrong})
        for none in ({}, {"layer": (0.1, 0.1)}):
            with pytest.raises(ValueError, match=f"{slot} would touch nothing in this model"):
                run(**{slot: none})


def test_overwrite_errors_are_refused_on_packed_bits():
    """They were taken for independent ones."""
    memory = OverwriteErrors(**RATES, seed=0)
    with pytest.raises(ValueError, match="errors must be independent errors on packed bits, got OverwriteErrors"):
        pack(measured_mlp()).evaluate_dies(integer_images(10), errors=memory)


def test_batch_norm_takes_pairs_too():
    a, b = (
        reestimate_batch_norm(measured_mlp(), integer_images(200), errors=own, weight_errors=None)
        for own in ((0.05, 0.1), rates(0.05, 0.1))
    )
    assert same_state(a, b)
    a, b = (rescale_batch_norm(measured_mlp(), run_at={"weights": own}) for own in ((0.1, 0.1), rates(0.1)))
    assert same_state(a, b)


# ---- draws -----------------------------------------------------------------------------------------------------------


def test_spread_and_worst_are_of_the_draws():
    found = Accuracy(np.array([90, 80, 85]), np.r_[np.full(85, 3), np.zeros(15, int)], shared_draws=True)
    assert found.spread == approx(0.05)
    assert found.worst == approx(0.8)
    assert repr(found).endswith("100 images, 3 draws, spread 0.0500, worst 0.8000)")
    one = Accuracy(np.array([90]), np.r_[np.ones(90, int), np.zeros(10, int)])
    assert np.isnan(one.spread)
    assert one.worst == one.mean
    assert "spread" not in repr(one)


def test_draws_are_nested_over_rates():
    """Weights of one die: the errors at a rate are among those at a larger one, so the answers leave the clean ones."""
    model, data = measured_mlp(), integer_images(600)
    clean = evaluate(model, data, predictions=True).predictions
    found = [
        evaluate(model, data, weight_errors=(p, p), draws=2, seed=1, predictions=True).predictions
        for p in (1e-4, 1e-3, 1e-2, 0.1)
    ]
    changed = [(answers != clean).mean() for answers in found]
    assert changed == sorted(changed)
    tiny = evaluate(model, data, weight_errors=(1e-15, 0.0), draws=2, seed=1, predictions=True).predictions
    assert (tiny == clean).all()


# ---- files -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["packed", "torch"])
@pytest.mark.parametrize("options", [{"errors": (0.05, 0.1)}, {"weight_errors": (0.05, 0.1)}, {}])
def test_files_larger_than_memory_are_evaluated_batch_by_batch(tmp_path, monkeypatch, method, options):
    pixels = np.random.default_rng(0).integers(256, size=(300, 8, 8, 3), dtype=np.uint8)
    paths = [tmp_path / f"{i}.png" for i in range(300)]
    for path, image in zip(paths, pixels, strict=True):
        Image.fromarray(image).save(path)
    files = partial(ImageFiles, tuple(paths), np.arange(300) % 10, "files", resize=8, crop=8)
    model = mlp(192, (64, 48), seed=1)
    run = partial(evaluate, model, draws=2, seed=3, batch_size=256, method=method, predictions=True, **options)
    whole = run(files())
    assert np.array_equal(whole.predictions, run(files().decoded()).predictions)
    small = files(memory_limit=1000)
    with pytest.raises(ValueError, match="memory_limit"):
        small.scaled()
    sizes, batches = [], ImageFiles.batches
    monkeypatch.setattr(ImageFiles, "batches", lambda own, size: sizes.append(size) or batches(own, size))
    found = run(small)
    assert np.array_equal(found.predictions, whole.predictions)
    assert found.correct.tolist() == whole.correct.tolist()
    assert set(sizes) == {256}
    dies = pack(model).evaluate_dies(small, dies=2, seed=3, batch_size=256, predictions=True, **options)
    assert np.array_equal(dies.predictions, whole.predictions)


COMPILED = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch's own


def evaluated_compiled(method):
    """Evaluate a model and its compiled form, whose layers have other names than those of the packed model."""
    model, data = measured_mlp(), Images(normal(100, 1, 8, 8), np.arange(100) % 10)
    compiled = torch.compile(model, backend="eager")
    return [evaluate(own, data, method=method, errors=(0.3, 0.3), draws=2) for own in (model, compiled)]


@COMPILED
def test_a_compiled_model_is_not_evaluated_on_bits_where_none_of_its_layers_would_err():
    with pytest.raises(ValueError, match="its names are others"):
        evaluated_compiled("packed")


@COMPILED
@pytest.mark.slow  # compiles
def test_a_compiled_model_has_its_errors():
    plain, compiled = evaluated_compiled("auto")
    assert (plain.method, compiled.method) == ("packed", "torch")
    assert plain.correct.tolist() == compiled.correct.tolist()
