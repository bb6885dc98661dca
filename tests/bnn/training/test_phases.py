"""Trainings in phases: which memory is where, when, and that a killed run goes on bit for bit in any of them."""

import csv
import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

import bnn
import bridge
from bnn.errors.overwrite import OverwriteErrors
from bnn.errors.write_errors import WriteErrors
from bnn.layers.binary import BinaryLinear
from bnn.layers.slots import activation_memories, weight_memories
from bnn.models import mlp
from bnn.training.config import TrainConfig
from bnn.training.loop import Trainer
from bnn.training.phase_memories import PhaseMemories, slots_of
from bnn.training.phases import MRAM, SRAM, Phase, first_steps
from bridge.memory.cells import READ_BEFORE_WRITE, WRITE_VERIFY_RETRY
from bridge.memory.declaration import WordMemory
from bridge.memory.formats import format_of
from bridge.memory.protection import Protection
from bridge.memory.read import ReadPoint
from networks import EVERYTHING, Images, Interruption, blobs, interrupt_at, same_state, write_errors
from physics import approx, point


class Counted(Images):
    """Images that count how often they were looked at."""

    looks = 0

    def scaled(self):
        self.looks += 1
        return super().scaled()


def counted(n, seed):
    data = blobs(n, seed, noise=0.8)
    return Counted(data.pixels, data.labels)


TRAIN, VALIDATION = counted(130, 1), counted(60, 2)  # 5 batches of 26
CONFIG = TrainConfig(epochs=4, batch_size=26, learning_rate=0.02, seed=4, progress=False)
STEPS = 20
WEAK = point(0.05, 0.1, energy_0=1e-13, energy_1=2e-13)
STRONG = point(0.001, energy_0=2e-13, energy_1=4e-13)
RARE = point(1e-3, energy_0=1e-13, energy_1=2e-13)

PLANS = {
    "mram, then sram": (
        Phase(memory=MRAM(point=WEAK, holds=("activations", "signs")), until=0.6),
        Phase(memory=SRAM(), reestimate=50),
    ),
    "one mram, two settings": (
        Phase(memory=MRAM(point=WEAK, holds=("activations", "signs"), slots=3), until=0.45),
        Phase(memory=MRAM(point=STRONG, holds=("activations", "signs"), slots=3)),
    ),
    "words, then sram": (
        Phase(memory=MRAM(point=RARE, holds=(*EVERYTHING, "activations"), protection="parity"), until=0.6),
        Phase(memory=SRAM(), scrub=True, reestimate=50),
    ),
    "the slots' own, then sram, then the slots' own": (
        Phase(memory=None, until=0.3),
        Phase(memory=SRAM(), until=0.7),
        Phase(memory=None),
    ),
    "words under two settings": (
        Phase(memory=MRAM(point=RARE, holds=EVERYTHING, format="bf16"), until=0.6),
        Phase(memory=MRAM(point=STRONG, holds=EVERYTHING, format="bf16"), scrub=True),
    ),
    "two mrams, then the slots' own": (
        Phase(
            memory=(
                MRAM(point=RARE, holds=("weights", "biases"), errors="independent", protection="parity", seed=1),
                MRAM(point=WEAK, holds=("activations",), errors="independent", seed=2),
            ),
            until=0.6,
        ),
        Phase(memory=None),
    ),
}


def network(seed=1):
    own = write_errors(0.01, 0.02)
    return mlp(16, (24, 20), seed=seed, activation_memory=own)


def network_of_cells(seed=1):
    own = partial(OverwriteErrors, error_rate_0=0.1, error_rate_1=0.2, slots=4)
    return mlp(16, (24, 20), seed=seed, activation_memory=own)


@pytest.mark.parametrize("name", PLANS)
def test_a_run_killed_at_any_step_goes_on_bit_for_bit(tmp_path, name):
    """Killed twice, at steps drawn by chance; checkpoints lie three steps apart and at the ends of epochs."""
    network = network_of_cells if "own, then" in name else globals()["network"]
    config = replace(CONFIG, phases=PLANS[name])
    whole = Trainer(network(), replace(config, metrics=tmp_path / "whole")).fit(TRAIN, VALIDATION)
    config = replace(config, checkpoint=tmp_path / "run.pt", checkpoint_steps=3, metrics=tmp_path / "resumed")
    for kill in sorted(np.random.default_rng(list(name.encode())).choice(STEPS - 1, 2, replace=False)):
        with pytest.raises(Interruption):
            Trainer(network(), config).fit(TRAIN, VALIDATION, on_step=interrupt_at(step=kill))
    resumed = Trainer(network(), config).fit(TRAIN, VALIDATION)
    assert same_state(resumed.model, whole.model)
    assert resumed.history == whole.history
    assert resumed.ledger == whole.ledger
    for file in ("metrics.jsonl", "metrics.csv"):
        assert (tmp_path / "resumed" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()


def test_memories_follow_the_phase():
    seen = []

    def look(step):
        slots = [*activation_memories(model).values()], [*weight_memories(model).values()]
        seen.append(
            (
                step.phase,
                *(
                    {type(getattr(layer, slot)).__name__ for layer in layers}
                    for slot, layers in zip(SLOTS, slots, strict=True)
                ),
            )
        )

    SLOTS = ("activation_memory", "weight_memory")
    phases = (
        Phase(memory=None, until=0.25),
        Phase(memory=MRAM(point=WEAK, holds=("activations",)), until=0.5),
        Phase(memory=MRAM(point=WEAK, holds=("signs",), errors="independent"), until=0.75),
        Phase(memory=SRAM()),
    )
    model, begun = network(), []
    Trainer(model, replace(CONFIG, phases=phases)).fit(TRAIN, on_step=look, on_phase=lambda n, p: begun.append((n, p)))
    none = {"NoneType"}
    expected = [
        (0, {"WriteErrors"}, none),
        (1, {"OverwriteErrors"}, none),
        (2, none, {"WriteErrors"}),
        (3, none, none),
    ]
    assert seen == [row for row in expected for _ in range(5)]
    assert begun == list(enumerate(phases))


def test_sram_is_exact_from_the_first_step_on():
    """From the switch on the run is that of a clean training which starts with the weights at the switch."""
    sudden = (
        Phase(memory=MRAM(point=RARE, holds=("weights", "biases"), protection="parity"), until=0.5),
        Phase(memory=SRAM()),
    )
    clean = Trainer(network(), replace(CONFIG, phases=(Phase(memory=SRAM()),))).fit(TRAIN)
    mixed = Trainer(network(), replace(CONFIG, phases=sudden)).fit(TRAIN)
    assert not same_state(clean.model, mixed.model)
    zero = point(0.0)
    harmless = tuple(replace(p, memory=replace(p.memory, point=zero)) if p.mrams else p for p in sudden)
    assert same_state(Trainer(network(), replace(CONFIG, phases=harmless)).fit(TRAIN).model, clean.model)


def test_one_memory_under_two_settings_keeps_its_cells():
    phases = PLANS["one mram, two settings"]
    model, cells = network(), {}

    def at_the_end_of_the_first(step):
        if step.step == 8:
            cells.update({n: m.held.clone() for n, m in named_memories(model)})

    def at_the_beginning_of_the_second(number, phase):
        if number == 1:
            for name, memory in named_memories(model):
                assert torch.equal(memory.held, cells[name])
                assert memory.error_rate_1 == STRONG.error_rate_1

    Trainer(model, replace(CONFIG, phases=phases)).fit(
        TRAIN, on_step=at_the_end_of_the_first, on_phase=at_the_beginning_of_the_second
    )
    assert len(cells) == 4


def named_memories(model):
    return [(name, module) for name, module in model.named_modules() if isinstance(module, OverwriteErrors)]


def test_the_ledger_counts_each_phase_at_its_own_price():
    result = Trainer(network(), replace(CONFIG, phases=PLANS["one mram, two settings"])).fit(TRAIN)
    written = sum(
        entry.count for entry in result.ledger if entry.event.startswith("write ") and "access" not in entry.event
    )
    activations, signs = (24 + 20) * 130 * 4, (16 * 0 + 24 * 20 + 20 * 10) * STEPS
    assert written == activations + signs
    by_price = {}
    for entry in result.ledger:
        if entry.event.startswith("write 1"):
            by_price[entry.junction] = by_price.get(entry.junction, 0) + entry.count
    assert set(by_price) == {2e-13, 4e-13}


def test_words_of_one_memory_follow_its_second_setting():
    """A first write, 12 updates and a scrub at the first price; 8 updates at the second: 4e-13 is a 1 of it."""
    result = Trainer(network(), replace(CONFIG, phases=PLANS["words under two settings"])).fit(TRAIN)
    cells = {}
    for entry in result.ledger:
        if entry.memory == "MRAM, weights" and entry.event.startswith(("write 1 ", "write 0 ")):
            cells[entry.junction] = cells.get(entry.junction, 0) + entry.count
    bits = 16 * (16 * 24 + 24 * 20 + 20 * 10)
    assert sorted(cells) == [1e-13, 2e-13, 4e-13]  # 2e-13: a 1 of the first setting, or a 0 of the second
    assert sum(cells.values()) == (1 + 12 + 1 + 8) * bits
    assert cells[1e-13] < 14 * bits
    assert cells[4e-13] < 8 * bits


def test_independent_writes_are_priced_as_turns():
    """By hand: every written bit once, at the price of a cell that turns; the validation is not in it."""
    mram = MRAM(point=WEAK, holds=("activations", "signs"), errors="independent")
    result = Trainer(network(), replace(CONFIG, phases=(Phase(memory=mram),))).fit(TRAIN, VALIDATION)
    zeros, ones = (result.ledger.count(f"write {bit} turned") for bit in (0, 1))
    assert zeros + ones == (24 + 20) * 130 * 4 + (24 * 20 + 20 * 10) * STEPS
    assert result.ledger.joules("device") == approx(zeros * 1e-13 + ones * 2e-13)


def test_batch_norm_is_estimated_anew_at_a_switch():
    def statistics(reestimate):
        phases = (
            Phase(memory=MRAM(point=WEAK, holds=("activations",)), until=0.9),
            Phase(memory=SRAM(), reestimate=reestimate),
        )
        model, seen = network(), {}

        def at_switch(number, phase):
            seen[number] = model[4].running_mean.clone()

        Trainer(model, replace(CONFIG, phases=phases)).fit(TRAIN, on_phase=at_switch)
        return seen[1]

    assert not torch.equal(statistics(0), statistics(130))


def test_the_validation_split_chooses_and_the_test_images_are_seen_once():
    config = replace(CONFIG, choose="best", learning_rate=0.5, schedule="constant", epochs=8)
    test, states = counted(40, 3), []
    model = network()

    def remember(epoch):
        states.append({name: x.clone() for name, x in model.state_dict().items()})

    result = Trainer(model, config).fit(TRAIN, VALIDATION, test=test, on_epoch=remember)
    accuracies = [epoch.validation_accuracy for epoch in result.history]
    assert result.chosen == int(np.argmax(accuracies))
    assert all(torch.equal(x, states[result.chosen][name]) for name, x in model.named_parameters())
    assert test.looks == 2  # clean and as trained, of one and the same model
    assert set(result.test) == {"clean", "as_trained"}
    with pytest.raises(ValueError, match="validation must be given"):
        Trainer(network(), config).fit(TRAIN)


def test_metrics_are_what_the_result_says(tmp_path):
    config = replace(CONFIG, phases=PLANS["mram, then sram"], metrics=tmp_path / "m")
    result = Trainer(network(), config).fit(TRAIN, VALIDATION, test=VALIDATION)
    events = [json.loads(line) for line in (tmp_path / "m" / "metrics.jsonl").read_text().splitlines()]
    assert [e["event"] for e in events] == ["phase", "epoch", "epoch", "phase", "epoch", "epoch", "test"]
    assert [(e["phase"], e["step"]) for e in events if e["event"] == "phase"] == [(0, 0), (1, 12)]
    epochs = [e for e in events if e["event"] == "epoch"]
    assert [e["loss"] for e in epochs] == [epoch.loss for epoch in result.history]
    assert epochs[-1]["joules_device"] == result.ledger.joules("device") > 0
    rows = list(csv.DictReader((tmp_path / "m" / "metrics.csv").read_text().splitlines()))
    assert [float(row["validation_accuracy"]) for row in rows] == [e.validation_accuracy for e in result.history]


def test_moments_are_written_with_errors_into_a_memory_that_begins_later():
    """Out of SRAM as the weights are: nothing gets into an MRAM without a write."""
    mram = MRAM(point=RARE, holds=("weights", "optimizer"))
    result = Trainer(network(), replace(CONFIG, phases=(Phase(memory=SRAM(), until=0.5), Phase(memory=mram)))).fit(
        TRAIN
    )
    weights = 16 * 24 + 24 * 20 + 20 * 10
    everything = sum(parameter.numel() for parameter in result.model.parameters())
    assert result.ledger.count("write access", memory="MRAM, weights") == 11 * weights  # 10 steps, and the move
    assert result.ledger.count("write access", memory="MRAM, optimizer") == 11 * 2 * everything


def test_a_training_that_diverges_in_unprotected_words_says_what_to_look_at():
    mram = MRAM(point=point(0.2), errors="independent")
    with pytest.raises(FloatingPointError, match=r"weight is not finite.*give its MRAM a protection"):
        Trainer(network(), replace(CONFIG, phases=(Phase(memory=mram),), on_divergence="raise")).fit(TRAIN)


def test_the_best_epoch_has_the_parameters_of_a_layer_whose_name_ends_in_memory():
    """What is left out is what sits in the slots, whatever else is called a memory."""
    model, seen = torch.nn.Sequential(), []
    model.add_module("flat", torch.nn.Flatten())
    model.add_module("long_memory", torch.nn.Linear(16, 10))
    config = replace(CONFIG, choose="best", learning_rate=5.0, schedule="constant", epochs=8)
    remember = lambda epoch: seen.append(model.long_memory.weight.detach().clone())  # noqa: E731
    result = Trainer(model, config).fit(TRAIN, VALIDATION, on_epoch=remember)
    assert torch.equal(model.long_memory.weight, seen[result.chosen])
    assert result.chosen < 7, "the last epoch was the best: this shows nothing"


@pytest.mark.parametrize(
    ("phase", "model", "words"),
    [
        (Phase(memory=SRAM(), reestimate=50), "plain", "reestimate of phase 1 must be 0, got 50"),
        (Phase(memory=MRAM(point=WEAK, holds=("activations", "signs"))), "plain", "holds of phase 1 must name somethi"),
        (Phase(memory=MRAM(point=RARE, holds=("optimizer",))), "two optimizers", 'of phase 1 must be without "optim'),
    ],
)
def test_what_a_phase_will_miss_is_refused_before_the_first_step(phase, model, words):
    plain = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 10))
    halves = lambda model, config: [torch.optim.Adam([p], lr=0.1) for p in model.parameters()]  # noqa: E731
    trainer = Trainer(
        plain if model == "plain" else network(),
        replace(CONFIG, phases=(Phase(memory=SRAM(), until=0.5), phase)),
        halves if model == "two optimizers" else None,
    )
    with pytest.raises(ValueError, match=words):
        trainer.fit(TRAIN, on_step=lambda step: pytest.fail("a step was taken"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": "fp31"}, "format must be one of"),
        ({"format": "int8"}, "scale must be the value of one step for int8"),
        ({"format": "int8", "scale": 0.1, "holds": ("weights", "optimizer")}, 'without "optimizer" for int8'),
        ({"format": "binary"}, "format must be one of fp32, bf16, fp16, int8 .* got 'binary'.*weight_memory"),
        ({"policy": WRITE_VERIFY_RETRY, "holds": ("weights", "signs")}, "policy is for words only"),
        ({"protection": "parity", "holds": ("activations",)}, "protection is for words only"),
        ({"protection": "parityy"}, "protection must be one of"),
        ({"policy": None}, "policy must be"),
        ({"policy": READ_BEFORE_WRITE, "errors": "independent"}, "must not read first"),
        ({"policy": READ_BEFORE_WRITE, "errors": "independent", "holds": ("signs",)}, "must not read first"),
    ],
)
def test_a_memory_is_refused_when_it_is_named_and_not_when_its_phase_begins(change, words):
    with pytest.raises(ValueError, match=words):
        MRAM(**{"point": WEAK, "holds": ("weights",), **change})


def test_a_memory_declared_whole_is_the_memory_declared_by_its_fields():
    by_fields = MRAM(point=RARE, holds=("weights",), format="int8", scale=0.25, protection="parity", seed=3)
    words = WordMemory(point=RARE, format="int8", scale=0.25, overflow="saturate", protection="parity")
    assert MRAM(words=words, holds=("weights",), seed=3) == by_fields
    assert MRAM(words=words, point=STRONG, holds=("weights",), seed=3) == replace(by_fields, point=STRONG) != by_fields
    assert by_fields.same_but_for_point(replace(by_fields, point=STRONG))
    assert not by_fields.same_but_for_point(replace(by_fields, point=STRONG, protection="none"))
    form = format_of("int8", scale=0.25, overflow="saturate")
    assert MRAM(point=RARE, holds=("weights",), format=form, protection="parity", seed=3) == by_fields


def test_reads_that_err_and_a_scale_for_each_tensor_are_part_of_a_phase():
    """What `WordMemory` has and an MRAM of 0.4.0 had not."""
    reading = ReadPoint(error_rate_0=0.01, error_rate_1=0.01)
    exact = MRAM(point=STRONG, holds=("weights",), protection=Protection("range", limit=2.0))
    of = lambda mram: Trainer(network(), replace(CONFIG, phases=(Phase(memory=mram),), epochs=1)).fit(TRAIN)  # noqa: E731
    read = of(replace(exact, reading=reading)).ledger
    assert read.count("read error") > 0 == of(exact).ledger.count("read error")
    scale = {name: 0.25 for name, _ in network().named_parameters() if "weight" in name}
    int8 = MRAM(point=STRONG, holds=("weights",), format="int8", scale=scale)
    weights = {name: p for name, p in of(int8).model.named_parameters() if name in ("1.weight", "3.weight")}
    assert all(torch.equal(4 * p, (4 * p).round()) for p in weights.values())
    missing = MRAM(point=STRONG, holds=("weights",), format="int8", scale={"1.weight": 0.25})
    with pytest.raises(ValueError, match=r"scale must name each array of int8 words, got none for 3\.weight"):
        Trainer(network(), replace(CONFIG, phases=(Phase(memory=SRAM(), until=0.5), Phase(memory=missing)))).fit(
            TRAIN, on_step=lambda step: pytest.fail("a step was taken")
        )


def test_one_sram():
    assert bnn.SRAM is bridge.SRAM is SRAM
    plain = Trainer(network(), replace(CONFIG, phases=(Phase(memory=SRAM()),), epochs=1)).fit(TRAIN)
    cache = Phase(memory=bridge.SRAM(kind="1MB"))
    assert same_state(Trainer(network(), replace(CONFIG, phases=(cache,), epochs=1)).fit(TRAIN).model, plain.model)


def test_a_checkpoint_of_other_phases_is_refused(tmp_path):
    config = replace(CONFIG, phases=PLANS["mram, then sram"], checkpoint=tmp_path / "run.pt", epochs=1)
    Trainer(network(), config).fit(TRAIN)
    with pytest.raises(ValueError, match="phases was"):
        Trainer(network(), replace(config, phases=PLANS["one mram, two settings"])).fit(TRAIN)


def test_phases_are_validated():
    mram = MRAM(point=WEAK, holds=("activations",))
    for phases in ((Phase(memory=mram, until=0.5),), (Phase(memory=mram, until=0.5), Phase(memory=SRAM(), until=0.4))):
        with pytest.raises(ValueError, match="increasing shares"):
            replace(CONFIG, phases=phases)
    with pytest.raises(ValueError, match=r"until must be in \(0, 1\], got 80"):
        Phase(memory=mram, until=80)
    with pytest.raises(ValueError, match="phases must be a tuple of Phase"):
        replace(CONFIG, phases=Phase(memory=mram))
    with pytest.raises(ValueError, match="reestimate must be 0 or >= 2, got 1"):
        Phase(memory=SRAM(), reestimate=1)
    with pytest.raises(ValueError, match=r"until must be in \(0, 1\], got '0.5'"):
        Phase(memory=mram, until="0.5")
    with pytest.raises(ValueError, match="words must be of type WordMemory"):
        MRAM(words=WEAK)
    with pytest.raises(ValueError, match="activations in more than one"):
        Phase(memory=(mram, replace(mram, point=STRONG)))
    with pytest.raises(ValueError, match="memory must be MRAM"):
        Phase(memory="mram")
    with pytest.raises(ValueError, match=r"holds.*activations"):
        MRAM(point=WEAK, holds=("activation",))
    with pytest.raises(ValueError, match="tuple of names"):
        MRAM(point=WEAK, holds="weights")
    with pytest.raises(ValueError, match="point must be of type OperatingPoint"):
        MRAM(point=0.1)
    with pytest.raises(ValueError, match="phase 0 must leave it at least one of 20"):
        first_steps((Phase(memory=mram, until=0.01), Phase(memory=SRAM())), 20)
    assert first_steps((Phase(memory=mram, until=0.6), Phase(memory=SRAM())), 20) == [0, 12]


def test_words_that_became_infinite_are_named_as_a_reason():
    # The top cell of the exponent of 384 real weights, a 0, errs with 5 %: none in a write with a chance of 3e-9.
    broken = Phase(memory=MRAM(point=WEAK, holds=("weights",), errors="independent"))
    with pytest.raises(FloatingPointError, match=r"is not finite, in .* words of an error-prone memory.*protection"):
        Trainer(network(), replace(CONFIG, phases=(broken,), on_divergence="raise")).fit(TRAIN)


def test_words_that_begin_in_another_phase_have_another_stream():
    mram = MRAM(point=RARE, holds=("weights",))
    other = replace(mram, words=replace(mram.words, point=STRONG))  # the same memory with another setting
    phases = (
        Phase(memory=mram, until=0.3),
        Phase(memory=SRAM(), until=0.6),
        Phase(memory=mram, until=0.8),
        Phase(memory=other),
    )
    model = network()
    seeds = []
    for number in (0, 2, 3):
        memories = PhaseMemories(model, [], phases, number, own=slots_of(model))
        ((_, words),) = memories.words
        seeds.append({memory.seed for memory in words.memories.values()})
    assert not seeds[0] & seeds[1]
    assert seeds[1] == seeds[2]


def test_the_placement_of_every_kind_of_numbers():
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), BinaryLinear(4, 2, bias=False, seed=0))
    words, bits = MRAM(point=WEAK, holds=("weights", "biases")), MRAM(point=WEAK, holds=("signs", "optimizer"))
    everything = ("weights", "biases", "batch_norm", "running_statistics", "optimizer", "activations", "signs")
    assert Phase(memory=SRAM()).placement(model) == dict.fromkeys(everything, "SRAM")
    placed = Phase(memory=words).placement(model)
    assert tuple(placed) == everything
    assert [kind for kind, memory in placed.items() if memory == "MRAM"] == ["weights", "biases"]
    assert placed["batch_norm"] == "SRAM"
    both = Phase(memory=(words, bits)).placement(model)
    assert (both["weights"], both["signs"], both["optimizer"]) == ("MRAM 1", "MRAM 2", "MRAM 2")
    assert (both["activations"], both["running_statistics"]) == ("SRAM", "SRAM")
    assert Phase(memory=words).placement(nn.Linear(3, 2, bias=False)) == {"weights": "MRAM", "optimizer": "SRAM"}
    model[2].activation_memory = WriteErrors(error_rate_0=0.1, error_rate_1=0.1, seed=0)
    assert Phase(memory=None).placement(model)["activations"] == "WriteErrors"
    assert Phase(memory=words).placement(model)["activations"] == "SRAM"  # the phase exchanges the slot's memory
