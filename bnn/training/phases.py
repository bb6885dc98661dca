"""Phases of a training: which RAM holds its numbers, for which share of its iterations.

A training may begin in MRAM that is written with little energy and errs, and end in another RAM [1], or in the same
MRAM under a better setting [2]. `Phase` says so, `MRAM` and `SRAM` are what it may name, and `PhaseMemories` puts them
into a model.

References
----------
.. [1] Gajek, Tzoufras, US 2020/0193282: a first set of training iterations in MRAM, a second one in another RAM.
.. [2] Gajek, Tzoufras, US 11,586,906: one MRAM, two write settings, the higher error rate first.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from bnn.errors.overwrite import OverwriteErrors
from bnn.errors.write_errors import WriteErrors
from bnn.layers.slots import activation_memories, weight_memories
from bnn.training.parameter_memory import HOLDS as IN_WORDS
from bnn.training.parameter_memory import ParameterMemory
from bnn.training.tensor_words import parameters_by_kind
from bridge.ledger import Ledger
from bridge.memory.cells import PLAIN, WritePolicy
from bridge.memory.formats import Format
from bridge.memory.protection import Protection
from bridge.write import OperatingPoint
from mtjsim.checks import checked_choice, checked_whole
from mtjsim.rng import checked_seed

IN_SLOTS = {"activations": "activation_memory", "signs": "weight_memory"}
HOLDS = (*IN_WORDS, *IN_SLOTS)


@dataclass(frozen=True, kw_only=True)
class MRAM:
    """An error-prone RAM of a training, and what it holds.

    Parameters
    ----------
    point : OperatingPoint
        How it is written: error rates, energies, latency.
    holds : tuple of str
        Of "weights" (all of them, the latent ones of binary layers included), "biases", "batch_norm" (scale and shift),
        "running_statistics", "optimizer" (its moments): in words, read, changed and written back in each iteration, see
        `ParameterMemory`. "activations": the input bits of every binary layer. "signs": the quantized weights of every
        binary layer, where the latent ones are elsewhere.
    format, protection, policy
        Of the words, as in `bridge.Memory`. Activations and signs are written once at most, or read before.
    errors : {"overwrite", "independent"}
        Whether a failed write leaves the old bit, or every written cell is taken to have held the other one.
    slots : int, >= 1
        Samples whose activations have cells at the same time, see `OverwriteErrors`.
    gradient : {"identity", "expected"}
        Through activations and signs: handed on unchanged, or that of the expected loss (0 where a failed write left
        the old bit, -1 where an independent error turned it).
    seed : int, >= 0
        Words draw by the number of the write: an MRAM that begins anew in a later phase repeats the draws of an earlier
        one of the same seed. Give it another one.

    Raises
    ------
    ValueError
        For a name that is none of these, or numbers out of range.

    Notes
    -----
    What no MRAM of a phase holds is in SRAM, which does not err. Two phases whose MRAMs differ in nothing but `point`
    name *one* memory under two settings: its cells keep what they hold.
    """

    point: OperatingPoint
    holds: tuple[str, ...] = ("weights", "biases", "activations")
    format: str | Format = "fp32"
    errors: str = "overwrite"
    protection: str | Protection = "none"
    policy: WritePolicy = PLAIN
    slots: int = 1
    gradient: str = "identity"
    seed: int = 0

    def __post_init__(self) -> None:
        if isinstance(self.holds, str) or not self.holds:
            raise ValueError(f"holds must be a tuple of names out of {', '.join(HOLDS)}, got {self.holds!r}.")
        for name in self.holds:
            checked_choice("holds", name, HOLDS)
        checked_choice("errors", self.errors, ("overwrite", "independent"))
        checked_whole("slots", self.slots, least=1)
        checked_seed(self.seed)
        checked_choice("gradient", self.gradient, ("identity", "expected"))
        if not isinstance(self.point, OperatingPoint):
            raise ValueError(
                f"point must be an OperatingPoint, got {self.point!r}. OperatingPoint.of_rates(...) makes one."
            )
        if self.format == "int8":
            raise ValueError(
                'format must say the scale of int8: bridge.memory.formats.format_of("int8", scale=..., '
                'overflow="saturate").'
            )
        probe = ("batch_norm", *(name for name in self.holds if name == "optimizer"))
        self._of_words(nn.LayerNorm(1), holds=probe)  # refuses now what a later phase would refuse when it begins
        if self.policy.attempts > 1 and set(self.holds) & set(IN_SLOTS):
            raise ValueError(
                f"policy must not write again where bits are held, got attempts={self.policy.attempts}. "
                "Give words and bits an MRAM each: memory=(MRAM(...), MRAM(...))."
            )

    def same_but_for_point(self, other: "MRAM") -> bool:
        """Whether the two are one memory under two settings."""
        return replace(self, point=other.point) == other

    def _of_words(self, model: nn.Module, *, holds: tuple[str, ...], initial_write: bool = False) -> ParameterMemory:
        """Make this memory for the parameters of a model."""
        return ParameterMemory(
            model,
            format=self.format,
            point=self.point,
            errors=self.errors,
            protection=self.protection,
            policy=self.policy,
            holds=holds,
            seed=self.seed,
            initial_write=initial_write,
        )


@dataclass(frozen=True)
class SRAM:
    """A RAM that does not err, and holds everything."""


@dataclass(frozen=True, kw_only=True)
class Phase:
    """A part of a training, in one RAM.

    Parameters
    ----------
    memory : MRAM, tuple of MRAM, SRAM or None
        Several MRAMs hold different things. None: what sits in the model's slots when the training begins.
    until : float, in (0, 1]
        Share of all iterations of the training at which it ends; 1 for the last one.
    scrub : bool
        Before it begins, have the memory of the phase before read, corrected where its protection can, and written.
    reestimate : int, 0 or >= 2
        As it begins, estimate the statistics of every BatchNorm anew from so many of the first training images, under
        this phase's errors: statistics belong to an error rate. 0: go on with those of the phase before.

    Raises
    ------
    ValueError
        For an `until` outside (0, 1], or two MRAMs that hold the same.
    """

    memory: MRAM | tuple[MRAM, ...] | SRAM | None
    until: float = 1.0
    scrub: bool = False
    reestimate: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.until, (int, float)) or not 0.0 < self.until <= 1.0:
            raise ValueError(
                f"until must be in (0, 1], got {self.until!r}: it is a share of all iterations, 0.8 for the first 80 %."
            )
        if checked_whole("reestimate", self.reestimate, least=0) == 1:
            raise ValueError("reestimate must be 0 or >= 2, got 1: one image has no variance.")
        exact = self.memory is None or isinstance(self.memory, SRAM)
        if not exact and not (self.mrams and all(isinstance(mram, MRAM) for mram in self.mrams)):
            raise ValueError(f"memory must be MRAM(...), a tuple of them, SRAM() or None, got {self.memory!r}.")
        held = [name for mram in self.mrams for name in mram.holds]
        if twice := sorted({name for name in held if held.count(name) > 1}):
            raise ValueError(f"memory must hold everything once, got {', '.join(twice)} in more than one MRAM.")

    @property
    def mrams(self) -> tuple[MRAM, ...]:
        """The error-prone memories of this phase."""
        if isinstance(self.memory, MRAM):
            return (self.memory,)
        return self.memory if isinstance(self.memory, tuple) else ()


def check_phases(phases: Sequence[Phase]) -> None:
    """ValueError unless the phases follow each other up to the end of the training."""
    if not isinstance(phases, (tuple, list)) or not all(isinstance(phase, Phase) for phase in phases):
        raise ValueError(f"phases must be a tuple of Phase, got {phases!r}: for a single one, write (Phase(...),).")
    ends = [phase.until for phase in phases]
    if ends and (ends[-1] != 1.0 or any(a >= b for a, b in pairwise(ends))):
        raise ValueError(f"phases must end at increasing shares of the training, the last one at 1, got {ends}.")


def check_model(model: nn.Module, optimizers: Sequence[torch.optim.Optimizer], phases: Sequence[Phase]) -> None:
    """ValueError unless each phase has in this training what it asks for."""
    held = {kind for kind, tensors in parameters_by_kind(model).items() if tensors}
    held |= {what for what, slot in IN_SLOTS.items() if _layers(model, slot)}
    norms = any(isinstance(module, _BatchNorm) and module.running_mean is not None for module in model.modules())
    for number, phase in enumerate(phases):
        for mram in phase.mrams:
            if "optimizer" in mram.holds and len(optimizers) != 1:
                raise ValueError(
                    f'holds of phase {number} must be without "optimizer" where there are {len(optimizers)} of them.'
                )
            if not held & set(mram.holds) and "optimizer" not in mram.holds:
                raise ValueError(
                    f"holds of phase {number} must name something that the model has, {', '.join(sorted(held))}, got "
                    f"{', '.join(mram.holds)}: this memory would hold nothing."
                )
        if phase.reestimate and not norms:
            raise ValueError(
                f"reestimate of phase {number} must be 0, got {phase.reestimate}: the model has no BatchNorm that "
                "keeps statistics."
            )


def first_steps(phases: Sequence[Phase], steps: int) -> list[int]:
    """Return the iteration in which each phase begins, of a training of so many; ValueError for a phase of none."""
    starts = [0, *(round(phase.until * steps) for phase in phases[:-1])]
    for number, (first, end) in enumerate(pairwise([*starts, steps])):
        if first >= end:
            until = phases[number].until
            raise ValueError(f"until of phase {number} must leave it at least one of {steps} iterations, got {until}.")
    return starts


class PhaseMemories:
    """The memories of one phase in a model: parameters in words, activations and signs in the slots of the layers.

    Parameters
    ----------
    model : Module
    optimizers : sequence of Optimizer
    phase : Phase
    own : dict
        What sat in the slots when the training began, see `slots_of`.
    before : PhaseMemories, optional
        Of the phase before: a memory that goes on under another setting keeps its cells.
    restoring : bool
        Whether a checkpoint is loaded next, so that nothing is to be written now.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizers: Sequence[torch.optim.Optimizer],
        phase: Phase,
        *,
        own: dict[str, list[nn.Module | None]],
        before: "PhaseMemories | None" = None,
        restoring: bool = False,
    ) -> None:
        self.phase = phase
        self.words: list[tuple[MRAM, ParameterMemory]] = []
        self.slots: list[tuple[MRAM, nn.Module]] = []
        for what, slot in IN_SLOTS.items():
            mram = next((m for m in phase.mrams if what in m.holds), None)
            for index, layer in enumerate(_layers(model, slot)):
                memory = own[slot][index] if phase.memory is None else None
                if mram is not None:
                    memory = _in_slot(mram, what, index)
                    if before is not None and any(mram.same_but_for_point(m) for m in before.phase.mrams):
                        _go_on(memory, layer._modules[slot])
                    self.slots.append((mram, memory))
                layer.register_module(slot, memory)
        for mram in phase.mrams:
            if set(mram.holds) & set(IN_WORDS):
                self.words.append((mram, _in_words(model, optimizers, mram, before, restoring)))

    @contextmanager
    def update(self, step: int) -> Iterator[None]:
        """Surround what changes the parameters; afterwards they are what the memories return."""
        with ExitStack() as stack:
            for _, memory in self.words:
                stack.enter_context(memory.update(step=step))
            yield

    def scrub(self) -> None:
        """Have every memory of parameters read, corrected and written."""
        for _, memory in self.words:
            memory.scrub()

    @property
    def ledger(self) -> Ledger:
        """What these memories have done so far, and what it cost."""
        return self._ledger(())

    def ledger_beside(self, after: "PhaseMemories") -> Ledger:
        """Return the ledger of those that do not go on in the next phase."""
        return self._ledger([memory for _, memory in after.words])

    def _ledger(self, without: Sequence[ParameterMemory]) -> Ledger:
        ledgers = [memory.ledger for _, memory in self.words if all(memory is not other for other in without)]
        for mram, memory in self.slots:
            if isinstance(memory, OverwriteErrors):
                ledgers.append(memory.ledger(policy=mram.policy))
            elif isinstance(memory, WriteErrors):
                ledgers.append(memory.ledger())
        return sum(ledgers, Ledger())

    def state(self) -> list[dict[str, Any]]:
        """Return what changes in the memories of parameters; what is in slots is in the model's state."""
        return [memory.state() for _, memory in self.words]

    def restore(self, state: list[dict[str, Any]], optimizers: Sequence[torch.optim.Optimizer]) -> None:
        """Go on from a `state()`, after those of the model and of the optimizers."""
        for (mram, memory), saved in zip(self.words, state, strict=True):
            if "optimizer" in mram.holds:
                memory.bind(optimizers[0])
            memory.restore(saved)


def slots_of(model: nn.Module) -> dict[str, list[nn.Module | None]]:
    """Return what sits in the slots of the model now, slot by slot."""
    return {slot: [layer._modules[slot] for layer in _layers(model, slot)] for slot in IN_SLOTS.values()}


def _layers(model: nn.Module, slot: str) -> list[nn.Module]:
    return list((activation_memories if slot == "activation_memory" else weight_memories)(model).values())


def _in_slot(mram: MRAM, what: str, index: int) -> nn.Module:
    """Make the memory of the index-th slot of its kind."""
    layer, expected = 2 * index + (what == "signs"), mram.gradient == "expected"
    if mram.errors == "independent":
        gradient = "flipped" if expected else "identity"
        return WriteErrors.from_operating_point(
            mram.point, seed=mram.seed, gradient=gradient, layer=layer, counted=True
        )
    return OverwriteErrors.from_operating_point(
        mram.point,
        seed=mram.seed,
        gradient="masked" if expected else "identity",
        layer=layer,
        slots=mram.slots if what == "activations" else None,  # a slot for each filter
    )


def _go_on(memory: nn.Module, former: nn.Module | None) -> None:
    """Give a memory the cells of the one whose other setting it is; what that one did is in its own ledger."""
    assert former is not None
    memory.load_state_dict(former.state_dict())
    if isinstance(memory, (OverwriteErrors, WriteErrors)):
        memory.counts = np.zeros_like(memory.counts)


def _in_words(
    model: nn.Module,
    optimizers: Sequence[torch.optim.Optimizer],
    mram: MRAM,
    before: PhaseMemories | None,
    restoring: bool,
) -> ParameterMemory:
    """Return the memory of parameters of the phase before, under its new setting, or a new one."""
    for former, memory in before.words if before is not None else ():
        if mram.same_but_for_point(former):
            memory.set_point(mram.point)
            return memory
    holds = tuple(name for name in IN_WORDS if name in mram.holds)
    memory = mram._of_words(model, holds=holds, initial_write=not restoring)
    if "optimizer" in mram.holds and not restoring:
        memory.bind(optimizers[0], initial_write=True)
    return memory
