"""What makes two trainings the same: structure, state, code, data and configuration, and no memory address."""

import functools
import subprocess
import sys
from dataclasses import replace

import numba as nb
import numpy as np
import pytest
import torch
from torch import nn

from bnn.conversion.config import BinarizeConfig
from bnn.conversion.convert import binarize
from bnn.layers.quantizers import ste_sign
from bnn.models import mlp
from bnn.training.config import TrainConfig
from bnn.training.identity import described, digest_of, identity_of, state_of, structure_of
from bnn.training.loop import Trainer
from bnn.training.phases import MRAM, Phase
from bridge.write import OperatingPoint, WriteSetting
from networks import Images, Interruption, blobs, interrupt_at, same_state, write_errors

TRAIN, VALIDATION = blobs(100, 1), blobs(50, 2)
FACTOR = 2.0


def config(folder, **changes):
    settings = {"epochs": 2, "batch_size": 25, "learning_rate": 0.02, "seed": 4, "progress": False}
    return TrainConfig(**settings, checkpoint=folder / "run.pt", **changes)


def scaled_sign(x, k):
    return ste_sign(k * x)


def sign_of_a_global(x):
    return ste_sign(FACTOR * x)


class Sharp:
    __slots__ = ("k",)

    def __init__(self, k):
        self.k = k

    def __call__(self, x):
        return ste_sign(self.k * x)


def closure(k):
    return lambda x: ste_sign(k * x)


class Net(nn.Module):
    """`quantizer` is in no printed text."""

    def __init__(self, quantizer=ste_sign):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last, self.quantizer = nn.Linear(16, 8), nn.Linear(8, 10), quantizer

    def forward(self, x):
        return self.last(self.quantizer(self.first(x.flatten(1))))


class Doubled(Net):
    def forward(self, x):
        return 2 * super().forward(x)


class Shadow(Net):
    def forward(self, x):
        return 3 * super().forward(x)


Shadow.__qualname__ = Doubled.__qualname__
Shadow.__name__ = Doubled.__name__


def frozen():
    model = Net()
    model.last.bias.requires_grad_(False)
    return model


def hooked():
    model = Net()
    model.first.register_forward_hook(lambda module, x, y: 2 * y)
    return model


def hooked_weight(kind, k):
    model = Net()
    getattr(model.first.weight, kind)(functools.partial(scaled_gradient, model, k))
    return model


def scaled_gradient(model, k, value):
    """Of a gradient, or of a parameter that has one."""
    return k * value if value.grad is None else None


class Halved(torch.optim.SGD):
    """An optimizer whose step depends on an attribute."""

    def __init__(self, params, by):
        super().__init__(params, lr=0.02)
        self.by = by


def halved(by):
    return lambda model, config: Halved(model.parameters(), by)


def hooked_optimizer(model, config):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02)
    optimizer.register_step_pre_hook(lambda *arguments: None)
    return optimizer


def evaluated():
    model = Net()
    model.last.eval()
    return model


def convolution(order):
    torch.manual_seed(0)
    return nn.Conv2d(3, 3, 3).to(memory_format=order)


def tied(same):
    model = Net()
    model.more = nn.Linear(8, 10)
    with torch.no_grad():
        model.more.weight.copy_(model.last.weight)
    if same:
        model.more.weight = model.last.weight
    return model


DIFFERENT = {  # two models whose printed texts are equal, or whose difference is not in a parameter
    "initial weights": (lambda: mlp(16, (8,), seed=1), lambda: mlp(16, (8,), seed=2)),
    "argument of a partial": (Net(functools.partial(scaled_sign, k=k)) for k in (1.0, 2.0)),
    "attribute of an object": (Net(Sharp(k)) for k in (1.0, 2.0)),
    "cell of a closure": (Net(closure(k)) for k in (1.0, 2.0)),
    "code of a lambda": (Net(lambda x: x), Net(lambda x: -x)),
    "default": (Net(lambda x, k=1: k * x), Net(lambda x, k=2: k * x)),
    "code of a class": (Doubled(), Shadow()),
    "frozen parameter": (Net(), frozen()),
    "hook": (Net(), hooked()),
    "hook of a gradient": (hooked_weight("register_hook", k) for k in (1.0, 0.0)),
    "hook after a gradient": (hooked_weight("register_post_accumulate_grad_hook", k) for k in (1.0, 0.0)),
    "mode": (Net(), evaluated()),
    "order in memory": (convolution(torch.contiguous_format), convolution(torch.channels_last)),
    "shared parameter": (tied(False), tied(True)),
    "array in an attribute": (Net(functools.partial(np.add, np.full(5000, k))) for k in (0.0, 1e-9)),
    "type of a number": (Net(functools.partial(scaled_sign, k=k)) for k in (1, True)),
}


@pytest.mark.parametrize("name", DIFFERENT)
def test_a_difference_is_seen_in_whatever_it_lies(name):
    a, b = (model() if type(model) is type(closure) else model for model in DIFFERENT[name])
    assert structure_of(a) + state_of(a) != structure_of(b) + state_of(b)


def test_a_global_that_a_function_reads_counts(monkeypatch):
    before = described(sign_of_a_global)
    assert described(sign_of_a_global) == before
    monkeypatch.setattr(sys.modules[__name__], "FACTOR", 3.0)
    assert described(sign_of_a_global) != before


@nb.njit
def compiled_once(x):
    return x + 1


@nb.njit
def compiled_twice(x):
    return x + 2


def test_what_is_compiled_or_cached_counts_by_its_function():
    """Numba's objects have another number in each process, a cache has a content; both have the function."""
    assert described(compiled_once) != described(compiled_twice)
    assert "uuid" not in described(compiled_once)
    cached = functools.lru_cache(sharp_of)
    before = described(cached)
    cached(3.0)
    assert described(cached) == before != described(functools.lru_cache(closure))
    first, second, other = (
        structure_of(torch.compile(net, backend="eager")) for net in (Net(), Net(), Net(closure(2)))
    )
    assert first == second != other


def test_a_forward_pass_before_the_training_does_not_count():
    config = BinarizeConfig(activation_write=(0.1, 0.1), weight_write=(0.1, 0.1))
    model = binarize(nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2)), config)
    before = structure_of(model), state_of(model)
    model(torch.ones(3, 4))
    assert (structure_of(model), state_of(model)) == before


def sharp_of(k):
    return Sharp(k)


class Opaque:
    def __call__(self, x):
        return x

    def __reduce_ex__(self, protocol):
        raise TypeError


def test_what_cannot_be_compared_has_no_checkpoint(tmp_path):
    with pytest.raises(ValueError, match=r"checkpoint cannot be kept of a training with .*Opaque"):
        Trainer(Net(Opaque()), config(tmp_path)).fit(TRAIN)
    assert Trainer(Net(Opaque()), replace(config(tmp_path), checkpoint=None)).fit(TRAIN).steps == 8


def test_a_circle_and_what_has_no_state_are_described():
    model = Net()
    model.itself, model.both = model.forward, [model, open]
    model.lock = sys.stderr
    assert "levels above" in structure_of(model)
    assert " at 0x" not in structure_of(model)


SCRIPT = """
import functools, sys
import numpy as np, torch
from torch import nn
from bnn.layers.quantizers import ste_sign
from bnn.models import mlp
from bnn.training.identity import digest_of, identity_of
def sharp(x, k): return ste_sign(k * x)
class Of:
    def __init__(self, k): self.k, self.names = k, {"b", "a", "c", "d"}
    def __call__(self, x): return sharp(x, self.k)
model = mlp(16, (8,), seed=1)
model[3].weight_quantizer = functools.partial(sharp, k=2.0)
model[3].input_quantizer = Of(3.0)
model[1].weight_quantizer = lambda x: sharp(x, 4.0)
optimizer = torch.optim.Adam(model.parameters())
print(digest_of(identity_of(model, [optimizer], [("device", torch.device("cpu")), ("kind", nn.Linear)], {})))
"""


def test_an_identity_is_the_same_in_every_process(tmp_path):
    """Each process has another hash seed, other addresses, another order of sets."""
    (tmp_path / "script.py").write_text(SCRIPT)
    found = {
        subprocess.run(
            [sys.executable, str(tmp_path / "script.py")],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONPATH": ":".join(sys.path), "PYTHONHASHSEED": seed, "OMP_NUM_THREADS": "1"},
        ).stdout
        for seed in ("1", "2")
    }
    assert len(found) == 1


def test_five_seeds_over_one_path_are_not_five_equal_numbers(tmp_path):
    first = Trainer(mlp(16, (8,), seed=0), config(tmp_path)).fit(TRAIN)
    for seed in range(1, 5):
        with pytest.raises(ValueError, match="is of another training"):
            Trainer(mlp(16, (8,), seed=seed), config(tmp_path)).fit(TRAIN)
    assert Trainer(mlp(16, (8,), seed=0), config(tmp_path)).fit(TRAIN).history == first.history


def other_labels(images):
    return Images(images.pixels, (images.labels + 1) % 10)


@pytest.mark.parametrize(
    ("train", "validation", "optimizer", "part"),
    [
        (other_labels(TRAIN), VALIDATION, None, "training images was"),
        (TRAIN, other_labels(VALIDATION), None, "validation images was"),
        (TRAIN, None, None, "validation images was .* is none"),
        (TRAIN, VALIDATION, lambda model, config: torch.optim.SGD(model.parameters(), lr=0.02), "optimizer was"),
        (
            TRAIN,
            VALIDATION,
            lambda model, config: torch.optim.Adam(model.parameters(), 0.02, eps=1e-7),
            "optimizer was",
        ),
    ],
)
def test_the_message_says_which_part_differs(tmp_path, train, validation, optimizer, part):
    Trainer(Net(), config(tmp_path)).fit(TRAIN, VALIDATION)
    with pytest.raises(ValueError, match=part):
        Trainer(Net(), config(tmp_path), optimizer).fit(train, validation)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (halved(0.5), halved(0.25)),
        (lambda model, config: torch.optim.SGD(model.parameters(), lr=0.02), hooked_optimizer),
    ],
)
def test_attributes_and_hooks_of_an_optimizer_count(tmp_path, first, second):
    Trainer(Net(), config(tmp_path), first).fit(TRAIN)
    assert Trainer(Net(), config(tmp_path), first).fit(TRAIN).steps == 0
    with pytest.raises(ValueError, match="of another training: optimizer was"):
        Trainer(Net(), config(tmp_path), second).fit(TRAIN)


def test_another_number_of_threads_is_refused_with_what_to_call(tmp_path):
    Trainer(Net(), config(tmp_path)).fit(TRAIN)
    torch.set_num_threads(2)
    try:
        with pytest.raises(ValueError, match=r"threads was 1, is 2\. Call torch\.set_num_threads\(1\)"):
            Trainer(Net(), config(tmp_path)).fit(TRAIN)
    finally:
        torch.set_num_threads(1)


def test_a_model_that_was_interrupted_goes_on_and_one_that_was_changed_does_not(tmp_path):
    """As in a notebook, whose cell is stopped and run again: the object has the weights of the interruption."""
    whole = Trainer(mlp(16, (8,), seed=1), replace(config(tmp_path), checkpoint=None)).fit(TRAIN)
    model = mlp(16, (8,), seed=1)
    with pytest.raises(Interruption):
        Trainer(model, config(tmp_path)).fit(TRAIN, on_epoch=interrupt_at(epoch=0))
    assert same_state(Trainer(model, config(tmp_path)).fit(TRAIN).model, whole.model)
    assert Trainer(model, config(tmp_path)).fit(TRAIN).steps == 0
    with torch.no_grad():
        model[1].weight[0, 0] += 1.0
    with pytest.raises(ValueError, match="initial state was"):
        Trainer(model, config(tmp_path)).fit(TRAIN)


def test_writes_before_the_training_do_not_count(tmp_path):
    def network():
        return mlp(16, (8,), seed=1, first="binary", activation_memory=write_errors(0.1)).eval()

    first = Trainer(network(), config(tmp_path)).fit(TRAIN)
    looked_at = network()
    looked_at(torch.from_numpy(TRAIN.scaled()))
    assert same_state(Trainer(looked_at, config(tmp_path)).fit(TRAIN).model, first.model)


def test_a_quantizer_that_is_an_object_is_trained_and_resumed(tmp_path):
    def network():
        torch.manual_seed(0)
        layers = nn.Flatten(), nn.Linear(16, 8), nn.Linear(8, 8), nn.Linear(8, 10)
        return binarize(nn.Sequential(*layers), BinarizeConfig(input_quantizer=Sharp(2.0)))

    assert Trainer(network(), config(tmp_path)).fit(TRAIN).steps == 8
    again = Trainer(network(), config(tmp_path)).fit(TRAIN)
    assert (again.steps, len(again.history)) == (0, 2)


def test_the_result_has_the_identity_of_its_training(tmp_path):
    results = [Trainer(mlp(16, (8,), seed=seed), config(tmp_path / str(seed))).fit(TRAIN) for seed in (1, 2)]
    assert len({result.identity for result in results}) == 2
    assert Trainer(Net(), replace(config(tmp_path), checkpoint=None)).fit(TRAIN).identity is None
    parts = identity_of(Net(), [], [], {})
    assert digest_of(parts) != digest_of({**parts, "model": "another"})


def test_core_seconds_are_summed_over_the_parts_and_a_finished_training_adds_none(tmp_path):
    saved = []

    def seconds():
        state = torch.load(tmp_path / "run.pt", weights_only=True)["content"]["state"]
        saved.append((state["seconds"], state["core_seconds"]))

    with pytest.raises(Interruption):
        Trainer(Net(), config(tmp_path)).fit(TRAIN, on_epoch=interrupt_at(epoch=0))
    seconds()
    Trainer(Net(), config(tmp_path)).fit(TRAIN)
    seconds()
    assert all(later > earlier > 0 for earlier, later in zip(*saved, strict=True))
    again = Trainer(Net(), config(tmp_path)).fit(TRAIN, test=TRAIN)
    assert (again.seconds, again.core_seconds) == saved[-1]
    assert again.threads == 1


def test_rates_of_an_operating_point_count_beside_its_identity():
    """The identity of a solved point is that of device, setting and temperature: with other rates it is the same."""
    setting = WriteSetting(current=5e-5, pulse_width=1e-8)
    numbers = {"energy_0": 0.0, "energy_1": 0.0, "latency": 1e-8, "device_identity": "a junction", "temperature": 300.0}
    solved = OperatingPoint(error_rate_0=0.1, error_rate_1=0.1, setting=setting, **numbers)

    def phases(error_rate_1):
        point = replace(solved, error_rate_1=error_rate_1)
        assert point.identity == solved.identity
        return described((Phase(memory=MRAM(point=point, holds=("weights",))),))

    assert phases(0.1) == phases(0.1 + 1e-12)  # rounding of a solver on another machine
    assert phases(0.1) != phases(0.2)
