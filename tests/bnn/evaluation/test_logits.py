"""Images that go into a model, and the logits that come out of it."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import BatchSampler, DataLoader, SequentialSampler, TensorDataset

from bnn.conversion.config import BinarizeConfig
from bnn.conversion.convert import binarize
from bnn.evaluation.accuracy import evaluate
from bnn.evaluation.batch_norm import reestimate_batch_norm
from bnn.evaluation.logits import check_fits
from bnn.packed.trace import pack
from bnn.training.config import TrainConfig
from bnn.training.loop import Trainer
from networks import binary_mlp, blobs, counts, integer_images, measured_mlp, rates, same_state

DATA = integer_images(100)
X, Y = torch.from_numpy(DATA.scaled()), torch.from_numpy(DATA.labels)


def net(outputs=10, tail=()):
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.Linear(32, outputs), *tail)


class Rows(nn.Module):
    """Two tokens an image, folded into the batch; gathered or not."""

    def __init__(self, gathered):
        super().__init__()
        self.net, self.gathered = nn.Linear(32, 10), gathered

    def forward(self, x):
        out = self.net(x.view(-1, 32))
        return out.view(len(x), -1, 10).mean(dim=1) if self.gathered else out


class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = net()

    def forward(self, x):
        return self.net(x), x


def fit(model, data, **others):
    config = TrainConfig(epochs=1, batch_size=32, learning_rate=0.01, seed=0)
    return Trainer(model, config).fit(data, **others)


def test_every_form_of_data_has_the_accuracy_and_the_training_of_the_same_images():
    model = measured_mlp()
    forms = [(X, Y), (X.double().numpy(), Y.int()), TensorDataset(X, Y), DataLoader(TensorDataset(X, Y), 32)]
    point, packed = rates(0.1), pack(measured_mlp().eval())
    expected = counts(evaluate(model, DATA, errors=point, draws=2))
    assert all(counts(evaluate(model, data, errors=point, draws=2)) == expected for data in forms)
    dies = counts(packed.evaluate_dies(DATA, errors=point, dies=2))
    assert all(counts(packed.evaluate_dies(data, errors=point, dies=2)) == dies for data in forms)
    assert np.array_equal(packed.predict(forms[3]), packed.predict(X))
    trained = [fit(binary_mlp(), data).model for data in (DATA, *forms)]
    assert all(same_state(trained[0], model) for model in trained[1:])
    estimated = [reestimate_batch_norm(model, data) for data in (DATA, *forms, X)]
    assert all(same_state(estimated[0], other) for other in estimated[1:])


def test_images_have_the_type_of_the_model():
    expected = counts(evaluate(measured_mlp(), DATA))
    assert counts(evaluate(measured_mlp().double(), DATA)) == expected  # sums of small integers are exact
    assert fit(binary_mlp().double(), DATA).model[1].weight.dtype == torch.float64
    with pytest.raises(ValueError, match=r"range of the model's torch.float16: scale the images"):
        evaluate(measured_mlp().half(), (1e6 * X, Y))


def test_whole_numbers_are_for_a_model_with_an_embedding():
    words = torch.arange(20).view(10, 2) % 4
    model = nn.Sequential(nn.Embedding(4, 8), nn.Flatten(), nn.Linear(16, 3))
    assert evaluate(model, (words, words[:, 0] % 3)).images == 10
    with pytest.raises(ValueError, match="floating-point images, got int64"):
        evaluate(net(), (X.long(), Y))


@pytest.mark.parametrize(
    ("model", "labels", "message"),
    [
        (net(1), Y % 2, r"two classes or more, got \(\d+, 1\).*a single logit z is the pair \(0, z\)"),
        (net(), Y + 1, r"labels from 0 to 9, the model's classes, got 10 for image \d+"),
        (net(tail=[nn.Unflatten(1, (10, 1, 1))]), Y, r"got \(\d+, 10, 1, 1\) for \d+ images. Add nn.Flatten"),
        (net(tail=[nn.Unflatten(1, (5, 2))]), Y, r"Reduce the other dimensions, as in logits.mean\(dim=1\)"),
        (Rows(gathered=False), Y, r"got \(\d+, 10\) for \d+ images. Gather the 2 rows of an image"),
        (Pair(), Y, "its logits as one tensor, got tuple"),
        (nn.Sequential(nn.Flatten(), nn.Linear(63, 10)), Y, r"images that fit the model, got .* \(1, 8, 8\)"),
    ],
    ids=["one logit", "a class too many", "pixels", "tokens", "rows", "pair", "shape"],
)
def test_outputs_that_are_no_logits_of_the_images_are_refused(model, labels, message):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for use in (evaluate, fit):
        with pytest.raises(ValueError, match=message):
            use(model, (X, labels))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_single_logit_works_as_the_refusal_says():
    """Cross entropy of (0, z) is the binary cross entropy of z, and its argmax is z > 0."""
    z = net(1)(X)
    pair = nn.functional.pad(z, (1, 0))
    loss = nn.functional.binary_cross_entropy_with_logits(z[:, 0], (Y % 2).float())
    assert torch.allclose(nn.functional.cross_entropy(pair, Y % 2), loss)
    assert torch.equal(pair.argmax(dim=1), (z[:, 0] > 0).long())


def test_rows_of_an_image_that_are_gathered_are_one_answer():
    assert evaluate(Rows(gathered=True), DATA).images == 100


@pytest.mark.parametrize("argument", ["validation", "test"])
def test_images_of_later_evaluations_are_checked_before_the_training(argument):
    steps = []
    for wrong, message in [((X, Y + 1), "labels from 0 to 9"), ((X[..., :7], Y), "fit the model"), ((X,), "pair")]:
        with pytest.raises((TypeError, ValueError), match=f"^{argument} must .*{message}"):
            fit(net(), DATA, **{argument: wrong}, on_step=steps.append)
    assert not steps


def test_a_loader_with_other_batches_than_the_training_is_refused():
    loaded = TensorDataset(X, Y)
    own = BatchSampler(SequentialSampler(loaded), 64, drop_last=False)
    for loader in (DataLoader(loaded, 64), DataLoader(loaded, batch_sampler=own)):
        with pytest.raises(ValueError, match=r"train must .* batches of config.batch_size=32, got 64.*train.dataset"):
            fit(net(), loader)
    assert len(fit(net(), DATA, validation=DataLoader(TensorDataset(X, Y), 64)).history) == 1


def test_the_check_changes_neither_the_model_nor_the_random_state():
    config = BinarizeConfig(activation_write=(0.1, 0.1))
    layers = nn.Linear(64, 9), nn.BatchNorm1d(9), nn.Linear(9, 9), nn.Dropout(), nn.Linear(9, 10)
    model = binarize(nn.Sequential(nn.Flatten(), *layers), config)
    modes = [module.training for module in model[:2].modules()]
    model[2].eval()
    state, stream = {name: value.clone() for name, value in model.state_dict().items()}, torch.get_rng_state()
    check_fits(model, "train", X)
    assert torch.equal(torch.get_rng_state(), stream)
    assert [module.training for module in model[:2].modules()] == modes
    assert not model[2].training
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def test_logits_that_are_not_finite_name_layer_image_and_draw():
    model = measured_mlp()
    model[-1].running_var[3] = float("nan")
    with pytest.raises(
        FloatingPointError, match=rf"the output of {len(model) - 1} is not finite for image 0, in draw 0"
    ):
        evaluate(model, DATA, errors=rates(0.1))
    late = X.clone()
    late[77] = 3e38
    with pytest.raises(FloatingPointError, match="the output of 1 is not finite for image 77, in draw 0"):
        evaluate(net(), (late, Y), batch_size=256)


def test_blobs_are_learned_from_a_loader():
    data = blobs(200, seed=1)
    images, labels = torch.from_numpy(data.scaled()), torch.tensor(data.labels)
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 10))
    config = TrainConfig(epochs=20, batch_size=20, learning_rate=0.05, seed=0)
    loader = DataLoader(TensorDataset(images, labels), 20, shuffle=True)
    assert Trainer(model, config).fit(loader, test=loader).test["clean"].mean > 0.9  # chance is 0.1
