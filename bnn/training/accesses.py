"""Accesses of a training and of an inference: every read and write of every memory, by kind, layer and size.

One iteration of a training reads and writes once each word of weights, biases, BatchNorm (parameters and running
statistics) and of the optimizer's state. Each binary layer's input bits are written once an image, and read twice: by
the product of the forward pass and by that of the backward pass. Its quantized weights, the signs, are written once an
iteration and read as often. Weights without a latent value (`Bop`, `DiscreteStateTransition`) are bits and no words.
Before the first iteration every parameter is written once. One inference reads every parameter once (binary weights as
signs), and writes and reads each input bit once. Real intermediate results and images are not counted: they are in
registers or buffers of the processor in either case.

What no MRAM holds is in SRAM. So the joules that an MRAM saves are those of `sram_ledger` less those of the training.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from bnn.data.labelled import unlabelled
from bnn.errors.keys import address, forget_address
from bnn.errors.ledger import read_price
from bnn.layers.binary import cells_of, stored
from bnn.layers.inputs import image_tensor
from bnn.layers.slots import activation_memories, memories, weight_memories
from bnn.training.phase_memories import TRAINED, check_layers, memory_in_slot, reads_of_bits, slot_ledger
from bnn.training.phases import IN_SLOTS, MRAM, Phase
from bnn.training.tensor_words import parameters_by_kind, state_tensors, without_latent
from bridge.ledger import FREE_READS, Entry, Ledger
from bridge.memory.sram import SRAM
from mtjsim.calls import shows_its_call
from mtjsim.checks import ArgumentError, checked_kind

if TYPE_CHECKING:
    from bnn.data.labelled import Labelled

WORD = 32  # bits of a number in SRAM, fp32
INITIAL = ("weights", "biases", "batch_norm", "running_statistics")  # are there before the first iteration
INFERRED = 1  # reads of an input bit
AT_ONCE = 256  # images of a forward pass


@dataclass(frozen=True)
class Sizes:
    """Numbers that a model has: words by kind, bits by layer.

    Attributes
    ----------
    words : mapping of str to int
        Of weights, biases, batch_norm, running_statistics.
    activations : mapping of str to int
        Input bits of each binary layer, for one image.
    signs : mapping of str to int
        Bits of the quantized weights of each layer: one of a binary weight, two of a ternary one.
    """

    words: Mapping[str, int]
    activations: Mapping[str, int]
    signs: Mapping[str, int]

    @classmethod
    def of(cls, model: nn.Module, images: Tensor, optimizers: Sequence[torch.optim.Optimizer] = ()) -> Sizes:
        """Count them; the input bits by a forward pass of some images. Weights without a latent value are no words."""
        kinds = parameters_by_kind(model)
        words = {kind: sum(held.get().numel() for held in tensors.values()) for kind, tensors in kinds.items()}
        words["weights"] -= sum(weight.numel() for weight in without_latent(optimizers))
        signs = {
            name: layer.weight.numel() * cells_of(layer.levels_of("weight_quantizer"))
            for name, layer in weight_memories(model).items()
        }
        return cls(words, _input_bits(model, images), signs)


def _input_bits(model: nn.Module, images: Tensor) -> dict[str, int]:
    """Return the input bits of each layer for one image, of all calls."""
    found = dict.fromkeys(activation_memories(model), 0)

    def counting(name: str) -> Any:
        def hook(module: Any, inputs: tuple[Any, ...]) -> None:
            found[name] += inputs[0].numel() // len(images) * cells_of(module.levels_of("input_quantizer"))

        return hook

    layers = activation_memories(model)
    handles = [layer.register_forward_pre_hook(counting(name)) for name, layer in layers.items()]
    try:
        with evaluating(model), _empty_slots(model):
            model(images.clone())
    finally:
        for handle in handles:
            handle.remove()
    return found


@contextmanager
def _empty_slots(model: nn.Module) -> Iterator[None]:
    with (
        memories(model, lambda name, index: None),
        memories(model, lambda name, index: None, slot="weight_memory"),
    ):
        yield


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put a model into evaluation mode, without gradients, to the end of the block."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        model.eval()
        with torch.no_grad():
            yield
    finally:
        for module, mode in modes:
            module.training = mode


def sram_ledger(
    sizes: Sizes,
    *,
    steps: int,
    images: int,
    optimizer_words: int,
    sram: SRAM,
    mrams: Sequence[MRAM] = (),
    moved: Iterable[str] = (),
) -> Ledger:
    """Return the accesses of a training to SRAM: to all that no MRAM holds.

    Parameters
    ----------
    sizes : Sizes
    steps, images : int
        Iterations, and images in them.
    optimizer_words : int
        Numbers of the optimizer's state.
    sram : SRAM
        Its kind, or its energy a bit.
    mrams : sequence of MRAM
        The error-prone memories; none for a training in SRAM alone.
    moved : iterable of str
        Kinds of words that are written once more as the phase begins: at first, or after an MRAM had them.
    """
    held = {kind for mram in mrams for kind in mram.holds}
    entries: list[Entry] = []
    for kind, words in {**sizes.words, "optimizer": optimizer_words}.items():
        if kind not in held:
            begun = words if kind in moved else 0
            entries += _accesses(sram, kind, WORD, written=words * steps + begun, read=words * steps)
    for name, bits in sizes.activations.items():
        if not _covered(mrams, "activations", name):
            count = bits * images
            entries += _accesses(sram, f"activations, {name}", 1, written=count, read=TRAINED * count)
    for name, bits in sizes.signs.items():
        if not _covered(mrams, "signs", name):
            entries += _accesses(sram, f"signs, {name}", 1, written=bits * steps, read=TRAINED * bits * steps)
    return Ledger(entries)


def _covered(mrams: Iterable[MRAM], what: str, layer: str) -> bool:
    return any(what in mram.holds and mram.covers(layer) for mram in mrams)


def _accesses(sram: SRAM, what: str, bits: int, *, written: int, read: int) -> list[Entry]:
    """Return the entries of words of so many bits in SRAM."""
    energy, source = sram.energy_of_a_bit
    price: dict[str, Any] = {"periphery": energy * bits, "seconds": sram.latency, "source": source}
    counts = {"write access": written, "read access": read}
    return [
        Entry(memory=f"{sram.name} {sram.kind}, {what}", event=event, count=count, **price)
        for event, count in counts.items()
        if count
    ]


class TrainingAccesses:
    """The accesses of a training to SRAM; they follow from the number of steps that are done.

    Parameters
    ----------
    model : Module
    optimizers : sequence of Optimizer
    phases : sequence of Phase
    first_steps : sequence of int
        In which each phase begins.
    batches : Batches
        Of the training images.
    own : dict
        Memories that are in the model's slots from before, see `slots_of`: their bits are not in SRAM.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizers: Sequence[torch.optim.Optimizer],
        phases: Sequence[Phase],
        first_steps: Sequence[int],
        batches: Any,
        own: Mapping[str, Sequence[nn.Module | None]],
    ) -> None:
        self.model, self.optimizers, self.phases, self.batches = model, optimizers, phases, batches
        self.first_steps = list(first_steps)
        self._own = own

    @cached_property
    def sizes(self) -> Sizes:
        """Of the model."""
        return Sizes.of(self.model, self.batches.first(2), self.optimizers)

    def ledger(self, step: int, *, all_in_sram: bool = False) -> Ledger:
        """Return the accesses of the first `step` iterations; or what they would be with everything in SRAM."""
        optimizer = sum(
            held.get().numel() for each in self.optimizers for held in state_tensors(self.model, each).values()
        )
        found = Ledger()
        for number, (phase, first) in enumerate(zip(self.phases, self.first_steps, strict=True)):
            last = min(step, [*self.first_steps[1:], step][number])
            if last <= first:
                break
            mrams = () if all_in_sram else phase.mrams
            before = () if number == 0 or all_in_sram else self.phases[number - 1].mrams
            moved = set(INITIAL) if number == 0 else {kind for mram in before for kind in mram.holds}
            assert phase.sram is not None
            found += sram_ledger(
                self._sizes_of(phase) if not all_in_sram else self.sizes,
                steps=last - first,
                images=self._images(last) - self._images(first),
                optimizer_words=optimizer,
                sram=phase.sram,
                mrams=mrams,
                moved=moved,
            )
        return found

    def _sizes_of(self, phase: Phase) -> Sizes:
        """Return the sizes without the bits that memories of before the training hold."""
        if phase.memory is not None:
            return self.sizes
        kept = []
        for slot, bits in (("activation_memory", self.sizes.activations), ("weight_memory", self.sizes.signs)):
            kept.append({name: n for (name, n), own in zip(bits.items(), self._own[slot], strict=True) if own is None})
        return Sizes(self.sizes.words, *kept)

    def _images(self, step: int) -> int:
        """Return how many images the first `step` iterations have; batches differ by one image."""
        whole, rest = divmod(step, self.batches.steps)
        least, larger = divmod(self.batches.count, self.batches.steps)
        return whole * self.batches.count + rest * least + min(rest, larger)


@shows_its_call
def inference_ledger(
    model: nn.Module,
    images: Labelled | Tensor,
    *,
    memory: MRAM | Sequence[MRAM] = (),
    sram: SRAM | None = None,
) -> Ledger:
    """Count the accesses of inferences, image by image, and their joules.

    Parameters
    ----------
    model : Module
        Left as it is.
    images : array or Tensor (n, ...), or labelled images as for `bnn.evaluate`
        Each is one inference; bits are counted as they are, ones and zeros.
    memory : MRAM, or several
        Where activations, signs and words are; the rest is in SRAM.
    sram : SRAM, optional
        Default: ``SRAM()``, of 32 kB.

    Returns
    -------
    Ledger
        Of all images: divide by their number. Entries are named by memory, kind and layer.

    Raises
    ------
    ValueError
        For a memory of layers that the model lacks, or of bits that two memories hold.

    Notes
    -----
    Parameters are read once an image. Signs and words in MRAM were written before. A read of a memory without a
    `ReadPoint` has no price.

    Examples
    --------
    >>> from bnn.data import load
    >>> from bnn.models import mlp
    >>> from bridge import OperatingPoint
    >>> point = OperatingPoint.of_rates(error_rate_0=0.0, error_rate_1=0.0, energy_0=1e-13, energy_1=2e-13)
    >>> memory = MRAM(point=point, holds=("activations",), errors="independent")
    >>> ledger = inference_ledger(mlp(seed=1), load("digits").test.subset(range(10)), memory=memory)
    >>> writes = [entry.count for entry in ledger if entry.event.startswith("write") and "MRAM" in entry.memory]
    >>> sum(writes)
    5120
    """
    mrams = (memory,) if isinstance(memory, MRAM) else tuple(memory)
    sram = SRAM() if sram is None else sram
    checked_kind("sram", sram, SRAM)
    for mram in mrams:
        checked_kind("memory", mram, MRAM)
    check_layers(model, mrams)
    held = [kind for mram in mrams for kind in mram.holds if kind not in IN_SLOTS]
    if twice := {kind for kind in held if held.count(kind) > 1}:
        raise ArgumentError("memory", f"must hold {min(twice)} once, got it in several.")
    x = image_tensor(model, "images", images if hasattr(images, "shape") else unlabelled("images", images))
    entries: list[Entry] = []
    sizes, n = Sizes.of(model, x[:2]), len(x)
    binary = {id(layer.weight) for layer in weight_memories(model).values()}
    real = sum(p.numel() for p in model.parameters() if p.dim() > 1 and id(p) not in binary)
    for kind, words in {**sizes.words, "weights": real}.items():
        entries += _words(next((m for m in mrams if kind in m.holds), None), sram, kind, words * n)
    for name, layer in weight_memories(model).items():
        with torch.no_grad():
            cells = stored(layer.quantized_weight(), layer.levels_of("weight_quantizer"))
        ones = int((cells > 0).sum())
        entries += _signs_read(mrams, sram, name, (cells.numel() - ones) * n, ones * n)
    for name, bits in sizes.activations.items():
        if not _covered(mrams, "activations", name):
            entries += _accesses(sram, f"activations, {name}", 1, written=bits * n, read=INFERRED * bits * n)
    return Ledger(entries) + _written_activations(model, x, mrams)


def _words(mram: MRAM | None, sram: SRAM, kind: str, count: int) -> list[Entry]:
    if mram is None:
        return _accesses(sram, kind, WORD, written=0, read=count)
    if not count:
        return []
    reading, cells = mram.words.reading, mram.words.cells_of_a_word
    price: dict[str, Any] = {"source": FREE_READS}
    if reading is not None:
        zero, one = (read_price(reading, bit) for bit in (0, 1))
        price = {part: cells * (zero[part] + one[part]) / 2 for part in zero if part != "source"}
        price["source"] = "read point, half ones, check cells included"
    return [Entry(memory=f"MRAM, {kind}", event="read access", count=count, **price)]


def _signs_read(mrams: Sequence[MRAM], sram: SRAM, name: str, zeros: int, ones: int) -> list[Entry]:
    mram = next((m for m in mrams if "signs" in m.holds and m.covers(name)), None)
    if mram is None:
        return _accesses(sram, f"signs, {name}", 1, written=0, read=zeros + ones)
    return reads_of_bits(mram, f"MRAM, signs, {name}", zeros, ones)


def _written_activations(model: nn.Module, x: Tensor, mrams: Sequence[MRAM]) -> Ledger:
    """Run all images through the memories of activations and return what was written."""
    made: dict[str, tuple[MRAM, Any]] = {}

    def make(name: str, index: int) -> Any:
        mram = next((m for m in mrams if "activations" in m.holds and m.covers(name)), None)
        if mram is None:
            return None
        made[name] = mram, memory_in_slot(mram, "activations", index)
        return made[name][1]

    with evaluating(model), memories(model, lambda name, index: None, slot="weight_memory"), memories(model, make):
        for start in range(0, len(x), AT_ONCE) if made else ():
            batch = x[start : start + AT_ONCE].clone()
            address(model, step=0, samples=torch.arange(start, start + len(batch)))
            model(batch)
        forget_address(model)
    ledgers = [slot_ledger(mram, memory, "activations", name, reads=INFERRED) for name, (mram, memory) in made.items()]
    return sum(ledgers, Ledger())
