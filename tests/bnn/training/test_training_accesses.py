import numpy as np
import pytest
import torch
from torch import nn

import bnn
from bnn.layers.binary import BinaryLinear
from bnn.models import lenet4, mlp
from bnn.training.accesses import Sizes, TrainingAccesses, inference_ledger
from bridge.memory.sram import ACCESS_ENERGY, SRAM
from bridge.write import OperatingPoint

POINT = OperatingPoint.of_rates(error_rate_0=0.01, error_rate_1=0.02, energy_0=1e-13, energy_1=3e-13)
IMAGES, BATCH, EPOCHS = 22, 5, 2  # batches of 5, 5, 4, 4, 4 images


def data(n=IMAGES):
    stream = torch.Generator().manual_seed(0)
    return torch.randn(n, 6, generator=stream), torch.arange(n) % 3


def network():
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Linear(6, 4), nn.BatchNorm1d(4), BinaryLinear(4, 7, seed=0, bias=False), nn.BatchNorm1d(7), nn.Linear(7, 3)
    )


WEIGHTS, BIASES, NORMS, SIGNS, BITS = 6 * 4 + 4 * 7 + 7 * 3, 4 + 3, 2 * (4 + 7), 28, 4


def trained(*phases, epochs=EPOCHS, **options):
    config = bnn.TrainConfig(epochs=epochs, batch_size=BATCH, learning_rate=0.01, seed=0, phases=phases, **options)
    return bnn.Trainer(network(), config).fit(data())


def counts(ledger):
    return {(entry.memory, entry.event): entry.count for entry in ledger}


def test_a_training_in_sram_reads_and_writes_every_word_and_bit_once_more_in_each_iteration():
    found = counts(trained(bnn.Phase(memory=SRAM(kind="1MB"))).ledger)
    steps, words = 5 * EPOCHS, {"weights": WEIGHTS, "biases": BIASES, "batch_norm": NORMS, "running_statistics": NORMS}
    words["optimizer"] = 2 * (WEIGHTS + BIASES + NORMS)
    expected = {}
    for kind, number in words.items():
        first = 0 if kind == "optimizer" else number  # written before the first iteration
        expected[f"SRAM 1MB, {kind}", "read access"] = number * steps
        expected[f"SRAM 1MB, {kind}", "write access"] = number * steps + first
    bits = BITS * IMAGES * EPOCHS
    expected |= {("SRAM 1MB, activations, 2", f"{verb} access"): n * bits for verb, n in (("write", 1), ("read", 2))}
    signs = SIGNS * steps
    expected |= {("SRAM 1MB, signs, 2", "write access"): signs, ("SRAM 1MB, signs, 2", "read access"): 2 * signs}
    assert found == expected


def test_joules_of_sram_are_those_of_its_kind_and_of_words_of_32_bits():
    ledger = trained(bnn.Phase(memory=SRAM(kind="8kB"))).ledger
    bits = sum(entry.count * (1 if "activ" in entry.memory or "signs" in entry.memory else 32) for entry in ledger)
    assert ledger.joules("system") == pytest.approx(bits * ACCESS_ENERGY["8kB"])
    assert ledger.joules("with_driver") == 0.0
    own = SRAM(energy_per_bit=1e-15, source="assumed")
    assert trained(bnn.Phase(memory=own)).ledger.joules("system") == pytest.approx(bits * 1e-15)


def test_what_an_mram_saves_is_a_subtraction_of_two_ledgers():
    mram = bnn.MRAM(point=POINT, holds=("activations",), errors="independent")
    result = trained(bnn.Phase(memory=mram, sram=SRAM(kind="1MB")))
    bits = BITS * IMAGES * EPOCHS
    written = sum(result.ledger.count(f"write {bit} turned", memory="MRAM, activations, 2") for bit in (0, 1))
    read = sum(result.ledger.count(f"read access {bit}", memory="MRAM, activations, 2") for bit in (0, 1))
    assert written == bits == read / 2
    zeros, ones = (result.ledger.count(f"write {bit} turned") for bit in (0, 1))
    difference = result.ledger_in_sram.joules("system") - result.ledger.joules("system")
    assert difference == pytest.approx(3 * bits * ACCESS_ENERGY["1MB"] - zeros * 1e-13 - ones * 3e-13)
    assert not any(entry.memory.startswith("SRAM") and "activations" in entry.memory for entry in result.ledger)


def test_words_in_mram_are_not_in_sram_and_are_written_there_once_as_they_move():
    mram = bnn.MRAM(point=POINT, holds=("weights", "biases"))
    result = trained(bnn.Phase(memory=mram, until=0.5), bnn.Phase(memory=SRAM()))
    found = counts(result.ledger)
    assert found["SRAM 32kB, weights", "write access"] == WEIGHTS * (5 + 1)
    assert found["SRAM 32kB, weights", "read access"] == WEIGHTS * 5
    assert found["SRAM 32kB, biases", "write access"] == BIASES * (5 + 1)
    assert found["SRAM 32kB, batch_norm", "write access"] == NORMS * (10 + 1)
    assert found["MRAM, weights", "write access"] == WEIGHTS * (5 + 1)
    assert result.ledger_in_sram.count("write access", memory="SRAM 32kB, weights") == WEIGHTS * (10 + 1)


def test_layers_in_two_memories_have_their_own_entries():
    first = bnn.MRAM(point=POINT, holds=("activations",), layers=("2",), errors="independent")
    entries = {entry.memory for entry in trained(bnn.Phase(memory=first)).ledger}
    assert "MRAM, activations, 2" in entries
    with pytest.raises(ValueError, match=r"layers must name layers of the model, got '4'"):
        trained(bnn.Phase(memory=bnn.MRAM(point=POINT, holds=("activations",), layers=("4",))))


def test_accesses_do_not_depend_on_a_kill_and_a_training_without_phases_has_none(tmp_path):
    def stop(step):
        if step.step == 6:
            raise KeyboardInterrupt

    mram = bnn.MRAM(point=POINT, holds=("activations",), errors="independent")
    phase, config = bnn.Phase(memory=mram), {"epochs": EPOCHS, "batch_size": BATCH, "learning_rate": 0.01, "seed": 0}
    whole = bnn.Trainer(network(), bnn.TrainConfig(**config, phases=(phase,))).fit(data())
    kept = bnn.TrainConfig(**config, phases=(phase,), checkpoint=tmp_path / "run.pt", checkpoint_steps=1)
    with pytest.raises(KeyboardInterrupt):
        bnn.Trainer(network(), kept).fit(data(), on_step=stop)
    resumed = bnn.Trainer(network(), kept).fit(data())
    assert (resumed.ledger, resumed.ledger_in_sram) == (whole.ledger, whole.ledger_in_sram)
    assert not bnn.Trainer(network(), bnn.TrainConfig(**config)).fit(data()).ledger.entries


def test_images_of_the_first_steps_are_those_of_their_batches():
    class Some:
        steps, count = 5, IMAGES

    accesses = TrainingAccesses(network(), [], [], [], Some(), own={})
    sizes = [len(part) for _ in range(3) for part in torch.arange(IMAGES).tensor_split(5)]
    assert [accesses._images(step) for step in range(16)] == [sum(sizes[:step]) for step in range(16)]


def test_an_inference_is_counted_bit_by_bit():
    model, (images, _) = network().eval(), data()
    memory = bnn.MRAM(point=POINT, holds=("activations", "signs"), errors="independent")
    ledger = inference_ledger(model, images, memory=memory)
    with torch.no_grad():
        ones = int((model[1](model[0](images)) >= 0).sum())
    assert ledger.count("write 1 turned", memory="MRAM, activations, 2") == ones
    assert ledger.count("write 0 turned", memory="MRAM, activations, 2") == BITS * IMAGES - ones
    assert ledger.joules("device") == pytest.approx(ones * 3e-13 + (BITS * IMAGES - ones) * 1e-13)
    plus = int((model[2].weight >= 0).sum())
    assert ledger.count("read access 1", memory="MRAM, signs, 2") == plus * IMAGES
    assert ledger.count("read access 0", memory="MRAM, signs, 2") == (SIGNS - plus) * IMAGES
    assert ledger.count("read access", memory="SRAM 32kB, weights") == (6 * 4 + 7 * 3) * IMAGES  # the real ones
    assert ledger.count("read access", memory="SRAM 32kB, biases") == BIASES * IMAGES


def test_overwritten_activations_are_counted_as_turned_or_held_image_after_image():
    model, (images, _) = network().eval(), data()
    ledger = inference_ledger(model, images, memory=bnn.MRAM(point=POINT, holds=("activations",)))
    events = [f"write {bit} {kind}" for bit in (0, 1) for kind in ("turned", "held")]
    written = {event: ledger.count(event, memory="MRAM, activations, 2") for event in events}
    assert sum(written.values()) == BITS * IMAGES
    assert written["write 1 held"] > 0 < written["write 0 held"]


def test_an_inference_leaves_the_model_as_it_was_and_adds_up_over_images():
    model = mlp(inputs=6, hidden=(8, 8), seed=1)
    before = {name: value.clone() for name, value in model.state_dict().items() if isinstance(value, torch.Tensor)}
    exact = OperatingPoint.of_rates(error_rate_0=0.0, error_rate_1=0.0)  # errors are drawn by the number of the image
    memory = bnn.MRAM(point=exact, holds=("activations",), errors="independent")
    images, _ = data()
    whole = inference_ledger(model, images, memory=memory)
    halves = [inference_ledger(model, part, memory=memory) for part in (images[:9], images[9:])]
    assert counts(whole) == counts(halves[0] + halves[1])
    assert model.training
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in before.items())
    assert all(layer.activation_memory is None for layer in model.modules() if isinstance(layer, BinaryLinear))


def test_sizes_are_those_of_the_summary():
    model = lenet4(seed=1)
    sizes = Sizes.of(model, torch.zeros(2, 1, 28, 28))
    table = bnn.summary(model, input_shape=(1, 28, 28)).totals
    assert sum(sizes.activations.values()) == table.activation_bits == 3680
    assert sum(sizes.signs.values()) == table.weight_bits
    assert np.all([bits > 0 for bits in sizes.activations.values()])


def test_memories_of_one_thing_twice_are_refused():
    words = bnn.MRAM(point=POINT, holds=("weights",))
    with pytest.raises(ValueError, match="memory must hold weights once"):
        inference_ledger(network(), data()[0], memory=(words, words))
    bits = bnn.MRAM(point=POINT, holds=("signs",))
    with pytest.raises(ValueError, match="2 memories hold signs of '2'"):
        inference_ledger(network(), data()[0], memory=(bits, bits))
