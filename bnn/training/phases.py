"""Phases of a training: which RAM holds its numbers, for which share of its iterations.

A training may begin in MRAM that is written with little energy and errs, and end in another RAM [1], or in the same
MRAM under a better setting [2]. `Phase` says so, `MRAM` and `SRAM` are what it may name, and `phase_memories.py` puts
them into a model.

References
----------
.. [1] Gajek, Tzoufras, US 2020/0193282: a first set of training iterations in MRAM, a second one in another RAM.
.. [2] Gajek, Tzoufras, US 11,586,906: one MRAM, two write settings, the higher error rate first.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from torch import nn

from bnn.training.parameter_memory import HOLDS as IN_WORDS
from bnn.training.parameter_memory import ParameterMemory
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


def first_steps(phases: Sequence[Phase], steps: int) -> list[int]:
    """Return the iteration in which each phase begins, of a training of so many; ValueError for a phase of none."""
    starts = [0, *(round(phase.until * steps) for phase in phases[:-1])]
    for number, (first, end) in enumerate(pairwise([*starts, steps])):
        if first >= end:
            until = phases[number].until
            raise ValueError(f"until of phase {number} must leave it at least one of {steps} iterations, got {until}.")
    return starts
