"""Layers on dies: weights against the arrays, maps in one step, voltages, averaged outputs, calibration, resumption."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import bnn
from bnn.layers import BinaryLinear
from bnn.layers.crossbar import (
    AveragedOutputs,
    CrossbarLinear,
    DieMemory,
    PairProcess,
    Voltages,
    calibrate_offsets,
    die_memories,
    put_on_dies,
)
from bridge import PairArray, Process
from networks import blobs, normal

G = {"conductance_p": 1e-4, "conductance_ap": 4e-5}
SHORTS = Process(short_rate=0.03, short_conductance=3e-4)


def pairs(**others):
    return PairProcess(**{**G, "spread": 0.1, "process": SHORTS, **others})


def network(*, maps=1, dies=None, process=None, inputs=16, seed=3):
    layers = []
    for number, (width, following) in enumerate(((inputs, 24), (24, 30))):
        memory = DieMemory(process or pairs(), seed=seed, layer=number, maps=maps, dies=dies)
        quantizer = {"input_quantizer": None} if number == 0 else {}
        layers += [CrossbarLinear(width, following, seed=number, weight_memory=memory, **quantizer)]
        layers += [nn.BatchNorm1d(following)]
    return nn.Sequential(Voltages(4), *layers, AveragedOutputs(3))


def test_weights_are_those_of_the_array_of_the_die():
    layer = network(dies=(5,))[1]
    memory = layer.weight_memory
    array = memory.array(5, (24, 16))
    signs = layer.quantized_weight().detach()
    expected = torch.from_numpy(array.weights(signs.numpy())).float()
    assert torch.allclose(memory(signs), expected, rtol=1e-6, atol=1e-6)
    x = normal(7, 16, seed=1)
    assert torch.allclose(layer(x), F.linear(x, expected), rtol=1e-5, atol=1e-5)
    assert isinstance(array, PairArray)
    assert not np.array_equal(array.offset, memory.array(6, (24, 16)).offset)


def test_a_perfect_array_is_a_binary_layer():
    plain = BinaryLinear(16, 24, seed=1)
    layer = CrossbarLinear(16, 24, seed=1, weight_memory=DieMemory(PairProcess(**G), seed=1))
    x = normal(5, 16, seed=2).requires_grad_()
    assert torch.allclose(layer(x), plain(x), atol=1e-5)
    layer(x).sum().backward()
    plain(x).sum().backward()
    assert torch.allclose(layer.weight.grad, plain.weight.grad, atol=1e-6)


def test_gradient_of_a_sign_is_its_gain():
    memory = DieMemory(pairs(), seed=1, dies=(4,))
    signs = torch.ones(5, 6, requires_grad=True)
    memory(signs).sum().backward()
    assert torch.allclose(signs.grad, torch.from_numpy(memory.array(4, (5, 6)).gain).float())


def test_parts_of_a_batch_are_on_their_own_maps():
    """Each part has the product of its die alone, and a BatchNorm has the statistics of all."""
    model = network(maps=3, dies=(1, 2, 3)).train()
    layer, x = model[1], normal(12, 16, seed=1)
    whole = layer(x)
    for number, die in enumerate((1, 2, 3)):
        single = copy.deepcopy(layer)
        single.weight_memory.maps = 1
        part = slice(4 * number, 4 * number + 4)
        assert torch.allclose(whole[part], single_on(single, die)(x[part]), atol=1e-5)
    norm = model[2]
    norm(whole)
    assert torch.allclose(norm.running_mean, 0.1 * whole.mean(dim=0), atol=1e-6)


def single_on(layer, die):
    layer.weight_memory.put_on((die,))
    return layer


def test_fresh_dies_follow_from_the_step():
    memory = DieMemory(pairs(), seed=1, maps=2).train()
    signs = torch.ones(5, 6)
    first, second = memory(signs), memory(signs)
    assert not torch.equal(first, second)
    assert first.shape == (2, 5, 6)
    assert not torch.equal(first[0], first[1])
    memory.address(step=0, samples=None)
    assert torch.equal(memory(signs), first)
    memory.address(step=1, samples=None)
    assert torch.equal(memory(signs), second)
    memory.forget_address()
    assert memory.passes == 2
    memory.eval()
    assert torch.equal(memory(signs), memory.put_on((0, 1))(signs)[0:1].squeeze(0))
    other = DieMemory(pairs(), seed=1, layer=1, maps=2).train()
    assert not torch.equal(other(signs), first)


def trained(tmp, *, epochs=3, stop=None, process=None, maps=4, dies=None):
    config = bnn.TrainConfig(
        epochs=epochs, batch_size=40, learning_rate=0.02, seed=1, checkpoint=tmp, progress=False
    )  # fmt: skip
    model = network(maps=maps, process=process, dies=dies)
    return bnn.Trainer(model, config).fit(blobs(400, 1), on_epoch=stop)


class Stop(Exception):
    pass


def stop_at_once(epoch):
    raise Stop


def test_statistics_aware_training_killed_and_resumed(tmp_path):
    whole = trained(tmp_path / "a.pt").model.state_dict()
    with pytest.raises(Stop):
        trained(tmp_path / "b.pt", stop=stop_at_once)
    again = trained(tmp_path / "b.pt").model.state_dict()
    assert all(torch.equal(value, again[name]) for name, value in whole.items())
    assert whole["1.weight_memory._extra_state"].tolist() == [0]  # each step has an address


def test_a_network_is_evaluated_on_unseen_dies(tmp_path):
    model = trained(None).model
    put_on_dies(model, None)
    for memory in die_memories(model).values():
        memory.maps = 1
    found = bnn.evaluate(
        model, (blobs(200, 2).pixels, blobs(200, 2).labels), weight_errors="as_trained", draws=5, seed=2
    )
    again = bnn.evaluate(
        model, (blobs(200, 2).pixels, blobs(200, 2).labels), weight_errors="as_trained", draws=5, seed=2
    )
    assert found.correct.tolist() == again.correct.tolist()
    assert len(set(found.correct.tolist())) > 1
    assert found.mean > 0.5


def test_hardware_aware_training_is_better_on_its_own_die():
    """One strongly damaged die: its network is better there than on ten others, by ten points and more."""
    process = pairs(process=Process(short_rate=0.1, short_conductance=3e-4))
    model = trained(None, process=process, maps=1, dies=(7,)).model
    data = blobs(500, 3)
    x, labels = torch.from_numpy(data.pixels), torch.from_numpy(data.labels.copy())
    accuracy = {}
    for die in range(17):
        put_on_dies(model, (die,))
        with torch.no_grad():
            accuracy[die] = (model.eval()(x).argmax(dim=1) == labels).float().mean().item()
    own = accuracy.pop(7)
    others = np.array(list(accuracy.values()))
    half = 4.0 * others.std(ddof=1) / len(others) ** 0.5
    assert own > others.mean() + half + 0.05


def test_calibration_takes_the_offset_out():
    """On one die: mean outputs of each layer are those of a nominal array, and the network is better for it."""
    process = pairs(process=Process(short_rate=0.05, short_conductance=3e-4))
    nominal = PairProcess(**G)
    model = trained(None, process=nominal, maps=1).model.eval()
    for memory in die_memories(model).values():
        memory.pairs = process
        memory.reseed(5)
    data = blobs(500, 4)
    x, labels = torch.from_numpy(data.pixels), torch.from_numpy(data.labels.copy())

    def right(die):
        put_on_dies(model, (die,))
        with torch.no_grad():
            return (model(x).argmax(dim=1) == labels).float().mean().item()

    for name in die_memories(model):
        model.get_submodule(name).correction = None
    before, after = [], []
    for die in range(6):
        for name in die_memories(model):
            model.get_submodule(name).correction = None
        before.append(right(die))
        calibrate_offsets(model, blobs(300, 5).pixels, die=die)
        after.append(right(die))
        first = model[1]
        v = model[0](torch.from_numpy(blobs(300, 5).pixels))
        with torch.no_grad():
            assert torch.allclose(first(v).mean(0), F.linear(v, first.quantized_weight()).mean(0), atol=1e-4)
    assert np.mean(after) > np.mean(before) + 0.05


def test_voltages():
    x = torch.rand(6, 1, 28, 28, generator=torch.Generator().manual_seed(1)) * 2 - 1
    v = Voltages(7)(x)
    assert torch.allclose(v.view(6, 7, 7)[2, 1, 3], (x[2, 0, 4:8, 12:16].mean() + 1) / 2)
    assert v.min() >= 0
    centred = Voltages((7, 14), centred=True).train()
    first, second = centred(x), centred(-x)
    assert torch.allclose(first.mean(dim=0), torch.zeros(98), atol=1e-6)
    assert torch.allclose(second, Voltages((7, 14))(-x) - centred.mean)
    assert torch.allclose(centred.mean, torch.full((98,), 0.5), atol=1e-6)
    again = Voltages((7, 14), centred=True)
    again.load_state_dict(centred.state_dict())
    assert torch.equal(again.eval()(x), centred.eval()(x))


def test_averaged_outputs():
    x = torch.arange(12.0).view(1, 12)
    assert AveragedOutputs(3)(x).tolist() == [[4.0, 5.0, 6.0, 7.0]]
    with pytest.raises(ValueError, match="copies must divide the 12 outputs, got 5"):
        AveragedOutputs(5)(x)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: PairProcess(conductance_p=1e-4, conductance_ap=2e-4), "conductance_ap must be less"),
        (lambda: PairProcess(**G, spread=10), "Is it 10 %"),
        (lambda: PairProcess(**G, disconnect_above=0.0), "disconnect_above must be"),
        (lambda: PairProcess(**G, process=3), "process must be"),
        (lambda: DieMemory(pairs(), seed=1, maps=0), "maps must be"),
        (lambda: DieMemory(pairs(), seed=1, maps=2, dies=(1,)), "dies must be 2, as many as maps"),
        (lambda: DieMemory(SHORTS, seed=1), "pairs must be of type PairProcess"),
        (lambda: network(maps=4)[1].train()(normal(6, 16)), "batch_size must be a multiple of 4"),
        (lambda: put_on_dies(nn.Linear(3, 3), (0,)), "model must have a CrossbarLinear"),
        (lambda: put_on_dies(network(), (0, 1)), "dies must be 1, as many as maps, got 2"),
        (lambda: calibrate_offsets(network(), np.zeros((0, 1, 4, 4)), die=0), "images must be at least one"),
        (lambda: calibrate_offsets(network(), np.zeros((1, 1, 4, 4)), die=-1), "die must be"),
        (lambda: Voltages(0), "size must be"),
    ],
)
def test_what_is_refused(make, words):
    with pytest.raises((ValueError, TypeError), match=words):
        make()


def test_it_is_shown():
    assert "fresh ones in each step, maps=4" in repr(network(maps=4))
    assert "dies 1, 2" in repr(network(maps=2, dies=(1, 2)))
