"""Phases of a training: which RAM holds its numbers, for which share of its iterations.

A training may begin in MRAM that is written with little energy and errs, and end in another RAM [1], or in the same
MRAM with a better setting [2]. A `Phase` names its `MRAM` or `SRAM`; `phase_memories.py` puts them into a model.

References
----------
.. [1] Gajek, Tzoufras, US 2020/0193282: a first set of training iterations in MRAM, a second one in another RAM.
.. [2] Gajek, Tzoufras, US 11,586,906: one MRAM, two write settings, the higher error rate first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from itertools import pairwise
from typing import Any

from torch import nn

from bnn.layers.slots import activation_memories, weight_memories
from bnn.training.parameter_memory import declared_words
from bnn.training.tensor_words import HOLDS as IN_WORDS
from bnn.training.tensor_words import parameters_by_kind
from bridge.memory.declaration import WordMemory
from bridge.memory.sram import SRAM
from bridge.write import OperatingPoint
from mtjsim.checks import ArgumentError, Suggesting, checked_choice, checked_kind, checked_whole
from mtjsim.rng import checked_seed

IN_SLOTS = {"activations": "activation_memory", "signs": "weight_memory"}
HOLDS = (*IN_WORDS, *IN_SLOTS)


@dataclass(frozen=True, kw_only=True, init=False)
class MRAM(Suggesting):
    """An error-prone RAM of a training, and what it holds.

    Parameters
    ----------
    words : WordMemory, optional
        Operating point, format, errors, policy, protection and reads of the memory. Its fields may be given as keywords
        instead, or to replace single ones: `point`, `format`, `scale`, `errors`, `protection`, `policy` ..., as in
        `bnn.ParameterMemory`. Activations and signs are bits: of these fields they use `point` and `errors`, of
        `policy` whether it reads first, and of `reading` the price of a read, which is taken to be right.
    holds : tuple of str
        Of "weights" (all of them, the latent ones of binary layers included), "biases" (of layers; a BatchNorm's shift
        is not among them), "batch_norm" (scale and shift),
        "running_statistics", "optimizer" (its moments): in words, read, changed and written back in each iteration, see
        `bnn.ParameterMemory`. "activations": the input bits of every binary layer. "signs": the quantized weights of
        every binary layer, where the latent ones are elsewhere.
    layers : tuple of str
        Names or patterns ("features.*") of the layers whose activations and signs it holds; empty: of all.
    slots : int, >= 1
        Samples whose activations have cells at the same time, see `bnn.OverwriteErrors`.
    gradient : {"identity", "expected"}
        Through activations and signs: unchanged, or that of the expected loss (0 where a failed write left the old bit,
        -1 where an independent error turned it).
    seed : int, >= 0
        Words draw by seed, phase in which the memory began, and number of the write; bits by seed, step and image.

    Raises
    ------
    ValueError
        As `WordMemory` and `bnn.ParameterMemory`; for an unknown name, a number out of range, bits with a
        policy that writes again, or bits alone with a protection.

    Notes
    -----
    What no MRAM of a phase holds is in SRAM, which does not err: `Phase.placement` lists it. Two phases whose MRAMs
    differ in nothing but `point` have *one* memory with two settings: its cells keep their contents.

    Examples
    --------
    >>> point = OperatingPoint.of_rates(error_rate_0=0.01, error_rate_1=0.02)
    >>> cheap = MRAM(point=point, holds=("weights", "biases"), format="bf16", protection="parity")
    >>> cheap.words.word_format.bits, cheap.words.errors
    (16, 'overwrite')
    >>> declared = WordMemory(point=point, format="bf16", protection="parity")
    >>> MRAM(words=declared, holds=("weights", "biases")) == cheap
    True
    """

    words: WordMemory
    holds: tuple[str, ...] = ("weights", "biases", "activations")
    layers: tuple[str, ...] = ()
    slots: int = 1
    gradient: str = "identity"
    seed: int = 0

    def __init__(
        self,
        *,
        words: WordMemory | None = None,
        holds: tuple[str, ...] = holds,
        layers: tuple[str, ...] = layers,
        slots: int = slots,
        gradient: str = gradient,
        seed: int = seed,
        **fields: Any,
    ) -> None:
        if isinstance(holds, str) or not holds:
            raise ArgumentError("holds", f"must be a tuple of names out of {', '.join(HOLDS)}, got {holds!r}.")
        for name in holds:
            checked_choice("holds", name, HOLDS)
        if isinstance(layers, str) or not all(isinstance(pattern, str) for pattern in layers):
            raise ArgumentError("layers", f"must be a tuple of names or patterns of layers, got {layers!r}.")
        if layers and (others := set(holds) - set(IN_SLOTS)):
            rule = f"is for activations and signs, and this memory also holds {', '.join(sorted(others))}"
            raise ArgumentError("layers", f"{rule}. Words are held of all layers: declare a memory of bits apart.")
        own = {
            "words": declared_words(words, fields, holds),
            "holds": tuple(holds),
            "layers": tuple(layers),
            "slots": checked_whole("slots", slots, least=1),
            "gradient": checked_choice("gradient", gradient, ("identity", "expected")),
            "seed": checked_seed(seed),
        }
        for name, value in own.items():
            object.__setattr__(self, name, value)
        guarded = self.words.protection.name != "none" and set(holds) <= set(IN_SLOTS)  # nothing that it guards
        of_words = {"policy": self.words.policy.attempts > 1, "protection": guarded}
        if set(holds) & set(IN_SLOTS) and any(of_words.values()):
            rule = "is for words only: activations and signs are bits that are written once, without a code."
            remedy = "Give words and bits an MRAM each: memory=(MRAM(...), MRAM(...))."
            raise ArgumentError(next(name for name, used in of_words.items() if used), f"{rule} {remedy}")

    @property
    def point(self) -> OperatingPoint:
        """Error rates, energies and latency of a write."""
        return self.words.point

    def covers(self, layer: str) -> bool:
        """Whether it holds the bits of a layer, by its name in the model."""
        return not self.layers or any(fnmatchcase(layer, pattern) for pattern in self.layers)

    def same_but_for_point(self, other: MRAM) -> bool:
        """Whether the two are one memory with two settings."""
        return replace(self, words=replace(self.words, point=other.point)) == other


@dataclass(frozen=True, kw_only=True)
class Phase(Suggesting):
    """A part of a training, in one RAM.

    Parameters
    ----------
    memory : MRAM, tuple of MRAM, SRAM or None
        Several MRAMs hold different things. `SRAM()`: everything, without errors. None: the memories that were in the
        model's slots before the training.
    until : float, in (0, 1]
        Share of all iterations of the training at which it ends; 1 for the last one.
    scrub : bool
        Before it begins, the memory of the phase before is read, corrected where its protection can, and written.
    reestimate : int, 0 or >= 2
        As it begins, the statistics of every BatchNorm are estimated from this number of the first training images,
        under this phase's errors: statistics belong to an error rate. 0: those of the phase before are kept.
    sram : SRAM, optional
        Where the rest is, for the ledger: its kind and its energy a bit. Default: `memory` if it is an SRAM, else
        ``SRAM()``.

    Raises
    ------
    ValueError
        For an `until` outside (0, 1], or two MRAMs that hold the same.

    Examples
    --------
    Weights and biases in error-prone words for 80 % of the iterations, then a last write of them, then SRAM:

    >>> point = OperatingPoint.of_rates(error_rate_0=1e-4, error_rate_1=1e-4)
    >>> cheap = MRAM(point=point, holds=("weights", "biases"), protection="parity")
    >>> phases = (Phase(memory=cheap, until=0.8), Phase(memory=SRAM(), scrub=True))
    >>> first_steps(phases, 1000)
    [0, 800]
    """

    memory: MRAM | tuple[MRAM, ...] | SRAM | None
    until: float = 1.0
    scrub: bool = False
    reestimate: int = 0
    sram: SRAM | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.until, (int, float)) or not 0.0 < self.until <= 1.0:
            share = "it is a share of all iterations, 0.8 for the first 80 %."
            raise ArgumentError("until", f"must be in (0, 1], got {self.until!r}: {share}")
        if checked_whole("reestimate", self.reestimate, least=0) == 1:
            raise ArgumentError("reestimate", "must be 0 or >= 2, got 1: one image has no variance.")
        exact = self.memory is None or isinstance(self.memory, SRAM)
        if not exact and not (self.mrams and all(isinstance(mram, MRAM) for mram in self.mrams)):
            raise ArgumentError("memory", f"must be MRAM(...), a tuple of them, SRAM() or None, got {self.memory!r}.")
        if self.sram is None:
            object.__setattr__(self, "sram", self.memory if isinstance(self.memory, SRAM) else SRAM())
        checked_kind("sram", self.sram, SRAM)
        held = [name for mram in self.mrams for name in mram.holds if not mram.layers]  # of layers: with the model
        if twice := sorted({name for name in held if held.count(name) > 1}):
            raise ArgumentError("memory", f"must hold everything once, got {', '.join(twice)} in more than one MRAM.")

    @property
    def mrams(self) -> tuple[MRAM, ...]:
        """The error-prone memories of this phase."""
        if isinstance(self.memory, MRAM):
            return (self.memory,)
        return self.memory if isinstance(self.memory, tuple) else ()

    def placement(self, model: nn.Module) -> dict[str, str]:
        """Return which memory holds each kind of numbers of a model, so that nothing is in SRAM unseen.

        Parameters
        ----------
        model : Module
            As it is before the training: with ``memory=None`` its layers may have memories of bits.

        Returns
        -------
        dict
            "weights", "biases", "batch_norm", "running_statistics", "optimizer", "activations" and "signs", those that
            the model has, -> "MRAM" ("MRAM 1", "MRAM 2" ... where there are several, in their order), "SRAM", or the
            class of the memory that is in the model's own slots.

        Examples
        --------
        >>> model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
        >>> point = OperatingPoint.of_rates(error_rate_0=1e-4, error_rate_1=1e-4)
        >>> for kind, memory in Phase(memory=MRAM(point=point, holds=("weights", "biases"))).placement(model).items():
        ...     print(f"{kind}: {memory}")
        weights: MRAM
        biases: MRAM
        batch_norm: SRAM
        running_statistics: SRAM
        optimizer: SRAM
        """
        names = ["MRAM"] if len(self.mrams) == 1 else [f"MRAM {number}" for number in range(1, len(self.mrams) + 1)]
        holder: dict[str, str] = {}
        for name, mram in zip(names, self.mrams, strict=True):  # layers may share a kind of bits
            holder |= {kind: f"{holder[kind]}, {name}" if kind in holder else name for kind in mram.holds}
        present = [kind for kind, held in parameters_by_kind(model).items() if held]
        if any(parameter.requires_grad for parameter in model.parameters()):
            present.append("optimizer")
        own = {}
        for kind, layers in (("activations", activation_memories(model)), ("signs", weight_memories(model))):
            present += [kind] * bool(layers)
            found = {type(memory).__name__ for layer in layers.values() if (memory := layer._modules[IN_SLOTS[kind]])}
            if self.memory is None and found:
                own[kind] = ", ".join(sorted(found))
        return {kind: holder.get(kind, own.get(kind, "SRAM")) for kind in present}


def check_phases(phases: Sequence[Phase]) -> None:
    """ValueError unless the phases follow each other up to the end of the training."""
    if not isinstance(phases, (tuple, list)) or not all(isinstance(phase, Phase) for phase in phases):
        raise ArgumentError("phases", f"must be a tuple of Phase, got {phases!r}: for one phase write (Phase(...),).")
    ends = [phase.until for phase in phases]
    if ends and (ends[-1] != 1.0 or any(a >= b for a, b in pairwise(ends))):
        raise ArgumentError("phases", f"must end at increasing shares of the training, the last one at 1, got {ends}.")


def first_steps(phases: Sequence[Phase], steps: int) -> list[int]:
    """Return the iteration in which each phase begins, of `steps` iterations; ValueError for a phase without any."""
    starts = [0, *(round(phase.until * steps) for phase in phases[:-1])]
    for number, (first, end) in enumerate(pairwise([*starts, steps])):
        if first >= end:
            until = phases[number].until
            raise ValueError(f"until of phase {number} must leave it at least one of {steps} iterations, got {until}.")
    return starts
