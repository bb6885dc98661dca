"""The memories of a phase in a model: parameters in words, activations and signs in the slots of the layers."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from bnn.errors.ledger import read_price
from bnn.errors.overwrite import OverwriteErrors
from bnn.errors.write_errors import WriteErrors
from bnn.layers.binary import QUANTIZER_OF, BinaryLayer
from bnn.layers.slots import activation_memories, weight_memories
from bnn.optimizers.state_transitions import DiscreteStateTransition
from bnn.training.parameter_memory import ParameterMemory, planned
from bnn.training.phases import IN_SLOTS, IN_WORDS, MRAM, Phase
from bnn.training.tensor_words import parameters_by_kind
from bridge.ledger import FREE_READS, Entry, Ledger
from mtjsim.checks import ArgumentError
from mtjsim.rng import child_seed


def check_model(model: nn.Module, optimizers: Sequence[torch.optim.Optimizer], phases: Sequence[Phase]) -> None:
    """ValueError unless the model and the optimizers provide what each phase needs."""
    for number, phase in enumerate(phases):
        check_layers(model, phase.mrams)
        for mram in phase.mrams:
            planned(model, mram.words, mram.holds)
        try:
            for mram in phase.mrams:
                check_holds(model, optimizers, mram)
            check_reestimate(model, phase)
        except ArgumentError as error:
            raise ArgumentError(error.argument, f"of phase {number} {error.problem}") from None


def check_holds(model: nn.Module, optimizers: Sequence[torch.optim.Optimizer], mram: MRAM) -> None:
    """ArgumentError unless the model and the optimizers have what a memory holds."""
    if "optimizer" in mram.holds and len(optimizers) != 1:
        raise ArgumentError("holds", f'must be without "optimizer" where there are {len(optimizers)} of them.')
    if "weights" in mram.holds and any(isinstance(each, DiscreteStateTransition) for each in optimizers):
        rule = 'must be without "weights": the optimizer keeps no latent weights, only states. Use "signs".'
        raise ArgumentError("holds", rule)
    held = {kind for kind, tensors in parameters_by_kind(model).items() if tensors}
    held |= {what for what, slot in IN_SLOTS.items() if _layers(model, slot)}
    if not held & set(mram.holds) and "optimizer" not in mram.holds:
        rule = f"must name something that the model has, {', '.join(sorted(held))}"
        raise ArgumentError("holds", f"{rule}, got {', '.join(mram.holds)}.")


def check_reestimate(model: nn.Module, phase: Phase) -> None:
    """ArgumentError for a re-estimation without a BatchNorm that keeps statistics."""
    norms = any(isinstance(module, _BatchNorm) and module.running_mean is not None for module in model.modules())
    if phase.reestimate and not norms:
        rule = f"must be 0, got {phase.reestimate}: the model has no BatchNorm that keeps statistics."
        raise ArgumentError("reestimate", rule)


class PhaseMemories:
    """The memories of one phase in a model: parameters in words, activations and signs in the slots of the layers.

    Parameters
    ----------
    model : Module
    optimizers : sequence of Optimizer
    phases : sequence of Phase
        Of the training.
    number : int
        Of this phase.
    own : dict
        What was in the slots before the training, see `slots_of`.
    before : PhaseMemories, optional
        Of the phase before: a memory that goes on with another setting keeps its cells.
    restoring : bool
        Whether a checkpoint is loaded next, so that nothing is to be written now.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizers: Sequence[torch.optim.Optimizer],
        phases: Sequence[Phase],
        number: int,
        *,
        own: dict[str, list[nn.Module | None]],
        before: "PhaseMemories | None" = None,
        restoring: bool = False,
    ) -> None:
        self.phase = phase = phases[number]
        self.words: list[tuple[MRAM, ParameterMemory]] = []
        self.slots: list[tuple[MRAM, nn.Module, str, str]] = []  # with what it holds, and the layer
        for what, slot in IN_SLOTS.items():
            for index, (name, layer) in enumerate(_layers(model, slot).items()):
                mram = next((m for m in phase.mrams if what in m.holds and m.covers(name)), None)
                memory = own[slot][index] if phase.memory is None else None
                if mram is not None:
                    memory = memory_in_slot(mram, what, index)
                    if before is not None and any(mram.same_but_for_point(m) for m in before.phase.mrams):
                        _go_on(memory, layer._modules[slot])
                    self.slots.append((mram, memory, what, name))
                layer.register_module(slot, memory)
        for mram in phase.mrams:
            if set(mram.holds) & set(IN_WORDS):
                seed = _seed_of_words(phases, number, mram)
                self.words.append((mram, _in_words(model, optimizers, mram, before, restoring, seed)))

    @contextmanager
    def update(self, step: int) -> Iterator[None]:
        """Enclose what changes the parameters; afterwards they are what the memories return."""
        with ExitStack() as stack:
            for _, memory in self.words:
                stack.enter_context(memory.update(step=step))
            yield

    def scrub(self) -> None:
        """Write every memory of parameters again, corrected where its protection can."""
        for _, memory in self.words:
            memory.scrub()

    @property
    def ledger(self) -> Ledger:
        """Events in these memories so far, and their cost."""
        return self._ledger(())

    def ledger_without(self, after: "PhaseMemories") -> Ledger:
        """Return the ledger of the memories that do not go on in the next phase."""
        return self._ledger([memory for _, memory in after.words])

    def _ledger(self, without: Sequence[ParameterMemory]) -> Ledger:
        ledgers = [memory.ledger for _, memory in self.words if all(memory is not other for other in without)]
        ledgers += [slot_ledger(*slot, reads=TRAINED) for slot in self.slots]
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
    """Return what is in the slots of the model now, slot by slot."""
    return {slot: [layer._modules[slot] for layer in _layers(model, slot).values()] for slot in IN_SLOTS.values()}


def _layers(model: nn.Module, slot: str) -> Mapping[str, BinaryLayer]:
    return (activation_memories if slot == "activation_memory" else weight_memories)(model)


def check_layers(model: nn.Module, mrams: Sequence[MRAM]) -> None:
    """ArgumentError unless each pattern names a layer with a slot, and no slot is of two memories."""
    for what, slot in IN_SLOTS.items():
        names, held = list(_layers(model, slot)), [mram for mram in mrams if what in mram.holds]
        for mram in held:
            for pattern in mram.layers:
                if not any(fnmatchcase(name, pattern) for name in names):
                    known = f"the layers whose {what} are bits are {', '.join(map(repr, names)) or 'none'}"
                    near = get_close_matches(pattern, names, n=1)
                    hint = f" Did you mean {near[0]!r}?" if near else ""
                    raise ArgumentError("layers", f"must name layers of the model, got {pattern!r}: {known}.{hint}")
        for name in names:
            levels = _layers(model, slot)[name].levels_of(QUANTIZER_OF[slot])
            if levels > 3 and any(mram.covers(name) for mram in held):
                rule = f"must leave out {name!r}, whose {what} have {levels} levels"
                raise ArgumentError("layers", f"{rule}: a memory stores two, or three on two cells.")
            if (count := sum(mram.covers(name) for mram in held)) > 1:
                raise ArgumentError(
                    "layers", f"must name each layer once, and {count} memories hold {what} of {name!r}."
                )


TRAINED = 2  # reads of a bit in an iteration: by the products of the forward and of the backward pass


def memory_in_slot(mram: MRAM, what: str, index: int) -> nn.Module:
    """Make the memory of the index-th slot of its kind, "activations" or "signs"."""
    layer, expected = 2 * index + (what == "signs"), mram.gradient == "expected"
    if mram.words.errors == "independent":
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
    """Take over the cells of the same memory under its former setting; the ledgers stay separate."""
    assert former is not None
    memory.load_state_dict(former.state_dict())
    if isinstance(memory, (OverwriteErrors, WriteErrors)):
        memory.counts = np.zeros_like(memory.counts)


def _seed_of_words(phases: Sequence[Phase], number: int, mram: MRAM) -> int:
    """Return the seed of a memory of words in a phase: one for each phase in which such a memory begins."""
    while number > 0 and any(mram.same_but_for_point(former) for former in phases[number - 1].mrams):
        number -= 1
    return mram.seed if number == 0 else child_seed(mram.seed, "parameter_words", number)


def _in_words(
    model: nn.Module,
    optimizers: Sequence[torch.optim.Optimizer],
    mram: MRAM,
    before: PhaseMemories | None,
    restoring: bool,
    seed: int,
) -> ParameterMemory:
    """Return the memory of parameters of the phase before with its new setting, or a new memory."""
    for former, memory in before.words if before is not None else ():
        if mram.same_but_for_point(former):
            memory.set_point(mram.point)
            return memory
    holds = tuple(name for name in IN_WORDS if name in mram.holds)
    memory = ParameterMemory(model, words=mram.words, holds=holds, seed=seed, initial_write=not restoring)
    if "optimizer" in mram.holds and not restoring:
        memory.bind(optimizers[0], initial_write=True)
    return memory


def slot_ledger(mram: MRAM, memory: Any, what: str, layer: str, *, reads: int) -> Ledger:
    """Return the writes of bits in a layer's slot, and their reads.

    Parameters
    ----------
    mram : MRAM
        The declaration.
    memory : Module
        `OverwriteErrors` or a counted `WriteErrors`.
    what : {"activations", "signs"}
    layer : str
        Its name, in the ledger.
    reads : int
        Of each bit that was written; the bit read is counted as the bit that was to be written.
    """
    name = f"MRAM, {what}, {layer}"
    overwrite = isinstance(memory, OverwriteErrors)
    reading = mram.words.reading
    if overwrite:
        written = memory.ledger(policy=mram.words.policy, reading=reading, name=name)
        bits = memory.counts[:, :2].sum(axis=1)
    else:
        written, bits = memory.ledger(name=name), memory.counts
    return written + Ledger(reads_of_bits(mram, name, reads * int(bits[0]), reads * int(bits[1])))


def reads_of_bits(mram: MRAM, name: str, zeros: int, ones: int) -> list[Entry]:
    """Return the entries of reads of bits, at the price of the memory's `ReadPoint`; without one they have none."""
    point = mram.words.reading
    found = []
    for bit, count in ((0, zeros), (1, ones)):
        price: dict[str, Any] = {"source": FREE_READS} if point is None else read_price(point, bit)
        if count:
            found.append(Entry(memory=name, event=f"read access {bit}", count=count, **price))
    return found
