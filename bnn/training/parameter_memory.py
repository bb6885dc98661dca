"""Parameters of a network kept, bit for bit, in words of error-prone cells: read, updated, written back each iteration.

One iteration of a training, as the patent application has it [1]: parameters are read from the memory, a batch goes
forward and backward, the processor updates the parameters and writes them back. A failed cell keeps its old bit, and a
word that is found wrong reads as zero. The cells are those of `bridge/memory`; here tensors become its words.

References
----------
.. [1] Gajek, Tzoufras, US 2020/0193282. Number format and code are not in its claims; both are chosen here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from bnn.training.tensor_scales import with_chosen_scales
from bnn.training.tensor_words import HOLDS, Bank, Held, parameters_by_kind, state_tensors
from bridge.ledger import Ledger
from bridge.memory.declaration import PER_TENSOR, WordMemory
from bridge.memory.in_place import InPlaceMemory, works_in_place
from bridge.memory.mram import Memory
from bridge.memory.sram import SRAM
from bridge.memory.state import checked_parts
from bridge.write import OperatingPoint
from mtjsim.checks import ArgumentError, Suggesting, checked_choice, checked_kind
from mtjsim.rng import checked_seed, child_seed

WORDS = ("fp32", "bf16", "fp16", "int8")


def declared_words(words: WordMemory | None, fields: Mapping[str, Any], holds: tuple[str, ...]) -> WordMemory:
    """Return the declaration of a memory that an optimizer updates.

    Parameters
    ----------
    words : WordMemory or None
    fields : mapping
        Fields of a `WordMemory`: all of it, or in place of those of `words`. int8 saturates unless they say otherwise.
    holds : tuple of str
        What is kept in it.

    Raises
    ------
    ValueError
        As `WordMemory`; for binary and ternary words, and for int8 with the state of an optimizer.
    """
    if words is not None:
        checked_kind("words", words, WordMemory)
        words = replace(words, **fields)
    else:
        usual: dict[str, Any] = {"overflow": "saturate"} if fields.get("format") == "int8" else {}
        words = WordMemory(**{**usual, **fields})
    if words.format not in WORDS:
        got = f"got {words.format!r}. For the signs of a binary layer use its slot weight_memory."
        raise ArgumentError("format", f"must be one of {', '.join(WORDS)} for what an optimizer updates, {got}")
    if words.format == "int8" and "optimizer" in holds:
        raise ArgumentError("holds", 'must be without "optimizer" for int8: one scale does not suit two moments.')
    return words


@dataclass(frozen=True)
class PlannedBank:
    """Tensors that will share an array of words: its declaration, and the key of its seed."""

    name: str
    key: tuple[int, ...]
    words: WordMemory
    held: dict[str, Held]


def planned_banks(kind: str, held: dict[str, Held], words: WordMemory) -> list[PlannedBank]:
    """Return the banks of a kind: one, or one a tensor if each has its own scale.

    ValueError for tensors that are not float32, or without a scale.
    """
    for name, where in held.items():
        if (dtype := where.get().dtype) != torch.float32:
            raise ValueError(f"{name} must be float32 to be held, got {dtype}. Convert the model with .float().")
    key = HOLDS.index(kind)
    if not isinstance(words.scale, Mapping):
        return [PlannedBank(kind, (key,), words, held)] if held else []
    return [
        PlannedBank(f"{kind} {name}", (key, number), words.for_array(name), {name: where})
        for number, (name, where) in enumerate(held.items())
    ]


def planned(model: nn.Module, words: WordMemory, holds: tuple[str, ...]) -> list[PlannedBank]:
    """Return the banks of all parameters and statistics that are held; ValueError as `planned_banks`."""
    words, kinds = with_chosen_scales(words, model, holds), parameters_by_kind(model).items()
    return [bank for kind, held in kinds if kind in holds for bank in planned_banks(kind, held, words)]


class ParameterMemory(Suggesting):
    """Chosen parameters of a model in the words of an MRAM.

    Parameters
    ----------
    model : Module
        Its parameters are float32. From now on they hold what is read from the memory. Those that are dense and on the
        CPU become views of one array a kind: build the optimizer before or after, but move or convert the model before.
    words : WordMemory, optional
        Format, operating point, errors, policy, protection and reads of the memory. Its fields may be given as keywords
        instead, or to replace single ones: `point`, `format` ("fp32", "bf16", "fp16" or "int8"), `scale`, `errors`,
        `protection`, `policy`, `reading`, `exact_counts` ... There is no other copy of the parameters: what the format
        rounds away is lost, small updates included, unless ``rounding="stochastic"`` keeps them in the mean. Of int8,
        `scale` is one number, or one for each tensor by its name in the model, or "tensor": chosen for each tensor, so
        that twice its largest magnitude at the start is 127 steps; 1/127 for latent weights of binary layers, which are
        clipped to [-1, 1], and for tensors of zeros. What was chosen is in `declaration`, and a checkpoint keeps it.
        What is beyond -128..127 steps is written as the end of the range, unless `overflow` is "error".
    holds : tuple of str
        What is in this memory; the rest is in memory that does not err. "weights": of all layers, latent weights
        included. "biases": not those of norms. "batch_norm": scale and shift of BatchNorm, LayerNorm, GroupNorm.
        "running_statistics": the mean and the variance of BatchNorm. "optimizer": its state tensors of the shape of a
        parameter, Adam's two moments for example; see `bind`.
    initial_write : bool
        False: at first the cells hold the parameters, rounded to the format. True: they hold 0, and the parameters are
        written, with errors.
    seed : int, >= 0
        Equal seeds and equal histories, equal draws, in every process of a distributed training.
    sram : SRAM, optional
        Counts the accesses to what this memory does not hold, one read and one write of each word an update; its
        shape does not matter. Without it that memory is free.
    name : str
        In the ledger, before the kind.

    Raises
    ------
    ValueError
        As `WordMemory`; for unknown names in `holds`, parameters that are not float32, a tensor without a scale, binary
        and ternary words.

    Notes
    -----
    *Which memory for binary weights?* A binary layer computes with the signs of latent weights. Latent weights in
    error-prone words: this class. The signs in error-prone cells, latent weights in SRAM: a layer's slot
    `weight_memory`, with `bnn.OverwriteErrors` (a cell is at risk only when its sign changes) or `bnn.WriteErrors`
    (every cell, at each write).

    *Words.* Each kind is one array of words, so that the errors of one write are drawn at once; the words of a tensor
    are in the order of its storage. Each array is a `bridge.Memory` whose seed is a child of this one (`memories`).
    With a plain policy and exact reads, without wear and retention, words are updated *in place*: the tensors are the
    words, nothing is copied (`bridge.InPlaceMemory`).

    *Infinities and NaN.* A failed cell of an exponent can make them, and a negative variance of a moment or a running
    variance. They are passed on, as such a memory does without a protection.

    Examples
    --------
    >>> model = nn.Linear(100, 50)
    >>> optimizer = torch.optim.Adam(model.parameters())
    >>> point = OperatingPoint.of_rates(error_rate_0=1e-3, error_rate_1=1e-3, energy_0=2e-13, energy_1=3e-13)
    >>> memory = ParameterMemory(model, point=point, protection="parity", seed=1)
    >>> model(torch.ones(8, 100)).square().mean().backward()
    >>> with memory.update():
    ...     optimizer.step()
    >>> memory.ledger.count("write access", memory="MRAM, weights")
    5000
    >>> int((model.weight == 0).sum()) == memory.ledger.count("word read as zero", memory="MRAM, weights")
    True
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        words: WordMemory | None = None,
        holds: tuple[str, ...] = ("weights", "biases"),
        initial_write: bool = False,
        seed: int = 0,
        sram: SRAM | None = None,
        name: str = "MRAM",
        **fields: Any,
    ) -> None:
        for kind in holds:
            checked_choice("holds", kind, HOLDS)
        self.model, self.holds, self.sram, self.name, self.seed = model, tuple(holds), sram, name, checked_seed(seed)
        declared = declared_words(words, fields, self.holds)
        self._chooses = declared.scale == PER_TENSOR
        self.declaration = with_chosen_scales(declared, model, self.holds)
        self._optimizer: torch.optim.Optimizer | None = None
        self._banks: dict[str, Bank] = {}
        for bank in planned(model, self.declaration, self.holds):
            self._make(bank, initial_write=initial_write)

    # ---- what it does ------------------------------------------------------------------------------------------------

    def __repr__(self) -> str:
        held, declared = ", ".join(self.holds), self.declaration
        rates = f"error rates {declared.point.error_rate_0:.3g} and {declared.point.error_rate_1:.3g}"
        return f"ParameterMemory({self.words} words {declared.format} of {held}, {rates}, {declared.errors})"

    @contextmanager
    def update(self, *, step: int | None = None) -> Iterator[None]:
        """Enclose what changes the parameters in one iteration: the optimizer's step, and the clipping after it.

        At the end of the block all that the memory holds is written, and the tensors hold what is then read. Without
        errors that is what was written. `step` is for error messages only.

        Raises
        ------
        ValueError
            If a tensor was replaced, or changed outside `update`; if the memory holds the state of an optimizer that
            was not bound, or state that came after its first step; if a number is not finite and the format has only
            finite ones.

        Notes
        -----
        If the block itself raises, nothing is written and the old words are lost: go on from a checkpoint.
        """
        when = "" if step is None else f" (step {step})"
        if "optimizer" in self.holds and self._optimizer is None:
            raise ArgumentError("optimizer", 'must be bound where "optimizer" is in holds: memory.bind(optimizer).')
        for bank in self._banks.values():
            bank.check_unchanged(when)
        with ExitStack() as writes:
            for bank in self._banks.values():
                writes.enter_context(bank.rewriting())
            yield
        if "optimizer" in self.holds:
            if "optimizer" not in self._banks:  # Adam's moments appear in the first step; before it they were 0
                self._adopt_optimizer(initial_write=True)
            elif late := state_tensors(self.model, self._optimizer).keys() - self._banks["optimizer"].held:
                rule = (
                    f"must have all its state after its first step, but {min(late)} came later{when} and is not held."
                )
                remedy = "Give every parameter a gradient in the first step, of zeros if need be."
                raise ArgumentError("optimizer", f"{rule} {remedy}")
        if self.sram is not None:
            elsewhere = self._elsewhere()
            self.sram.count(written=elsewhere, read=elsewhere)

    def scrub(self) -> None:
        """Write everything again: failed cells get another pulse, corrected and zeroed words are stored as such."""
        with self.update():
            pass

    def load(self) -> None:
        """Load the parameters into the cells, without a write: after a change outside `update`."""
        for bank in self._banks.values():
            bank.load()

    def bind(self, optimizer: torch.optim.Optimizer, *, initial_write: bool = False) -> None:
        """Set the optimizer whose state is held, before the first `update` and after a load of its state.

        State that it already has is loaded into the cells without a write, or, with `initial_write`, written with
        errors.
        """
        self._optimizer = optimizer
        self._banks.pop("optimizer", None)
        if "optimizer" in self.holds and state_tensors(self.model, optimizer):
            self._adopt_optimizer(initial_write=initial_write)

    def set_point(self, point: OperatingPoint) -> None:
        """Write with another setting from now on; cells, ledger and streams go on."""
        for bank in self._banks.values():
            bank.memory.set_point(point)
        self.declaration = replace(self.declaration, point=point)

    # ---- what it holds, and what it cost -----------------------------------------------------------------------------

    @property
    def memories(self) -> dict[str, Memory]:
        """The memory of each kind that is held, by name; do not write to it."""
        return {name: bank.memory for name, bank in self._banks.items()}

    @property
    def words(self) -> int:
        """How many words the memory holds."""
        return sum(bank.array.size for bank in self._banks.values())

    @property
    def ledger(self) -> Ledger:
        """Events so far and their cost; with an `sram`, its accesses too."""
        ledgers = [memory.ledger for memory in self.memories.values()]
        return sum(ledgers, Ledger()) + (Ledger() if self.sram is None else self.sram.ledger)

    # ---- a checkpoint ------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Return all that changes, as tensors, numbers and strings: torch loads it with ``weights_only=True``."""
        banks = {name: bank.state() for name, bank in self._banks.items()}
        sram = None if self.sram is None else dict(self.sram.state()["accesses"])
        scale = self.declaration.scale
        scales = {"scales": dict(scale)} if self._chooses and isinstance(scale, Mapping) else {}
        return {"banks": banks, "sram": sram, **scales}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restore a `state()` of a memory like this one, bit for bit.

        Bind the optimizer, load the states of model and optimizer, then call this: the tensors then hold what was last
        read. The operating point is not part of it; give the one that was in force.

        Raises
        ------
        ValueError
            If the state is one of another memory. What was restored before the error stays: restore another state.
        """
        banks = checked_parts(checked_parts(state, "banks", "sram")["banks"])
        self._banks.pop("optimizer", None)
        if "optimizer" in banks and self._optimizer is not None:
            self.bind(self._optimizer)
        if self._chooses:
            self._rescale(checked_parts(checked_parts(state, "scales")["scales"]))
        if set(banks) != set(self._banks):
            rule = f"must be of a memory of {', '.join(self._banks)}, got one of {', '.join(banks)}."
            raise ArgumentError("state", f"{rule} An optimizer is bound and its state loaded before.")
        for name, bank in self._banks.items():
            bank.restore(banks[name])
        if self.sram is not None and state["sram"] is not None:
            self.sram.restore({**self.sram.state(), "accesses": state["sram"]})

    # ---- inside ------------------------------------------------------------------------------------------------------

    def _make(self, bank: PlannedBank, *, initial_write: bool) -> None:
        """Put tensors into the words of a new memory."""
        size = sum(where.get().numel() for where in bank.held.values())
        its_own: dict[str, Any] = {
            "seed": child_seed(self.seed, "parameter_words", *bank.key),
            "name": f"{self.name}, {bank.name}",
        }
        memory = (InPlaceMemory if works_in_place(bank.words) else Memory)(size, bank.words, **its_own)
        self._banks[bank.name] = Bank(bank.held, memory, initial_write=initial_write)

    def _rescale(self, scales: Mapping[str, float]) -> None:
        """Take the scales that were chosen in another process; the contents of the tensors are lost."""
        if self.declaration.scale == scales:
            return
        self.declaration = replace(self.declaration, scale=dict(scales))
        for bank in planned(self.model, self.declaration, self.holds):
            for where in bank.held.values():
                where.get().detach().zero_()  # the numbers there may not fit; those of the state come next
            self._make(bank, initial_write=False)

    def _adopt_optimizer(self, *, initial_write: bool) -> None:
        for bank in planned_banks("optimizer", state_tensors(self.model, self._optimizer), self.declaration):
            self._make(bank, initial_write=initial_write)

    def _elsewhere(self) -> int:
        """Words that are read and written each iteration and are not in this memory."""
        kinds = {**parameters_by_kind(self.model), "optimizer": state_tensors(self.model, self._optimizer)}
        return sum(where.get().numel() for kind in set(HOLDS) - set(self.holds) for where in kinds[kind].values())
