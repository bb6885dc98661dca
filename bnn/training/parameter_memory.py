"""Parameters of a network kept, bit-true, in words of error-prone cells: read, updated, written back each iteration.

One iteration of a training, as the patent application has it [1]: parameters are read from the memory, a batch goes
forward and backward, the processor updates the parameters and writes them back. A failed cell keeps its old bit, and a
word that is found wrong reads as zero. What the cells do is `bridge`'s business (`bridge.memory`); here tensors are put
on its words.

References
----------
.. [1] Gajek, Tzoufras, US 2020/0193282. Number format and code are not in its claims; both are chosen here.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn

from bnn.training.tensor_words import HOLDS, Bank, Held, parameters_by_kind, state_tensors
from bridge.ledger import Ledger
from bridge.memory.cells import PLAIN, WritePolicy
from bridge.memory.declaration import WordMemory
from bridge.memory.formats import Format, format_of
from bridge.memory.in_place import InPlaceMemory, works_in_place
from bridge.memory.mram import Memory
from bridge.memory.protection import Protection
from bridge.memory.read import ReadPoint
from bridge.memory.sram import SRAM
from bridge.write import OperatingPoint
from mtjsim.checks import checked_choice
from mtjsim.rng import checked_seed, child_seed

WORDS = ("fp32", "bf16", "fp16", "int8")


class ParameterMemory:
    """Chosen parameters of a model in the words of an MRAM.

    Parameters
    ----------
    model : Module
        Its parameters are float32. From now on they hold what is read from the memory. Those that are dense and on the
        CPU become views of one array a kind: build the optimizer before or after, but move or convert the model before.
    point : OperatingPoint
        Error rates, energies and latency of a write.
    format : {"fp32", "bf16", "fp16", "int8"} or Format
        Of a stored word. There is no other copy: what the format rounds away is lost, small updates included.
    scale : float or mapping, optional
        Of int8, and only of it: the value of one step for all tensors, or for each by its name in the model; see
        `bridge.memory.formats.int8_scale`. What is beyond -128..127 steps is written as the end of the range.
    errors : {"overwrite", "independent"}
        *overwrite*: a failed cell keeps its old bit; a cell told what it holds cannot fail, and most bits of a weight
        do not change in an update. *independent*: each bit errs with its full rate, as if all had changed.
    protection : str or Protection
        "none", "parity", "secded", or ``Protection("range", limit=...)``. Detected and not corrected reads as zero.
    policy : WritePolicy
        Of the controller: `PLAIN`, `READ_BEFORE_WRITE`, `WRITE_VERIFY_RETRY`.
    holds : tuple of str
        What is in this memory; the rest is in memory that does not err. "weights": of all layers, latent weights
        included. "biases". "batch_norm": scale and shift of BatchNorm, LayerNorm, GroupNorm. "running_statistics": the
        mean and the variance of BatchNorm. "optimizer": its state tensors of the shape of a parameter, Adam's two
        moments for example; see `bind`.
    reading : ReadPoint, optional
        Errors and price of reads; without it they are exact and free.
    initial_write : bool
        False: at first the cells hold the parameters, rounded to the format. True: they hold 0, and the parameters are
        written, with errors.
    seed : int, >= 0
        Equal seeds and equal histories, equal draws, in every process of a distributed training.
    exact_counts : bool, optional
        As `bridge.Memory`'s: whether turned cells are counted or estimated.
    sram : SRAM, optional
        Counts the accesses to what this memory does not hold, one read and one write of each word an update; its
        shape does not matter. Without it that memory is free.
    name : str
        In the ledger, before the kind.

    Raises
    ------
    ValueError
        For unknown names, parameters that are not float32, a scale where none belongs or none where one does, binary
        and ternary words.

    Notes
    -----
    *Which memory for binary weights?* A binary layer computes with the signs of latent weights. Latent weights in
    error-prone words: this class. The signs in error-prone cells, latent weights in SRAM: a layer's slot
    `weight_memory`, with `bnn.overwrite.OverwriteErrors` (a cell is at risk only when its sign changes) or
    `bnn.errors.WriteErrors` (every cell, at each write).

    *Words.* Each kind is one array of words, so that the errors of one write are drawn at once; the words of a tensor
    stand in the order of its storage. Each has a child of the seed, and what it does is what a `bridge.Memory` with
    that seed does, bit for bit (`memories`). fp32 words with a plain policy, exact reads and at most a parity or
    a range are updated *in place*: the tensors are the words, nothing is copied (`bridge.memory.in_place`).

    *Infinities and NaN.* A failed cell of an exponent can make them, and a negative variance of a moment or a running
    variance. They are handed on: that is what such a memory does without a protection.

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
        point: OperatingPoint,
        format: str | Format = "fp32",
        scale: float | Mapping[str, float] | None = None,
        errors: str = "overwrite",
        protection: str | Protection = "none",
        policy: WritePolicy = PLAIN,
        holds: tuple[str, ...] = ("weights", "biases"),
        reading: ReadPoint | None = None,
        initial_write: bool = False,
        seed: int = 0,
        exact_counts: bool | None = None,
        sram: SRAM | None = None,
        name: str = "MRAM",
    ) -> None:
        for kind in holds:
            checked_choice("holds", kind, HOLDS)
        self.model, self.holds, self.sram, self.name, self.seed = model, tuple(holds), sram, name, checked_seed(seed)
        self._optimizer: torch.optim.Optimizer | None = None
        self._point, self._banks = point, dict[str, Bank]()

        def make(words: int, form: Format, *, point: OperatingPoint, **its_own: Any) -> Memory:
            declaration = WordMemory(
                point=point,
                format=form,
                errors=errors,
                policy=policy,
                protection=protection,
                reading=reading,
                exact_counts=exact_counts,
            )
            return (InPlaceMemory if works_in_place(declaration) else Memory)(words, declaration, **its_own)

        self._make = make
        if "optimizer" in holds:
            self._form = _format(format, None if isinstance(scale, Mapping) else scale)
            if self._form.name == "int8":
                raise ValueError('holds must be without "optimizer" for int8: one scale does not suit two moments.')
        for kind, held in parameters_by_kind(model).items():
            if kind in holds and held:
                for bank, (key, form, tensors) in _banks(kind, held, format, scale).items():
                    self._bank(bank, key, form, tensors, initial_write)

    # ---- what it does ------------------------------------------------------------------------------------------------

    @contextmanager
    def update(self, *, step: int | None = None) -> Iterator[None]:
        """Enclose what changes the parameters in one iteration: the optimizer's step, and the clipping after it.

        At the end of the block all that the memory holds is written, and the tensors hold what is then read. Without
        errors that is what was written. `step` is named in errors and has no other part in it.

        Raises
        ------
        ValueError
            If a tensor was replaced, or changed outside `update`, or the memory holds the state of an optimizer that
            was not bound, or came after its first step; or numbers are not finite and the format has no such
            numbers.

        Notes
        -----
        If the block itself raises, nothing is written and the old words are lost: go on from a checkpoint.
        """
        when = "" if step is None else f" (step {step})"
        if "optimizer" in self.holds and self._optimizer is None:
            raise ValueError('optimizer must be bound where "optimizer" is in holds: memory.bind(optimizer).')
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
                raise ValueError(
                    f"optimizer must have all its state after its first step, but {min(late)} came later{when} and is "
                    "not held. Give every parameter a gradient in the first step, of zeros if need be."
                )
        if self.sram is not None:
            elsewhere = self._elsewhere()
            self.sram.count(written=elsewhere, read=elsewhere)

    def scrub(self) -> None:
        """Write everything once more: a failed cell gets another chance, what was corrected or zeroed becomes so."""
        with self.update():
            pass

    def load(self) -> None:
        """Have the cells hold what the parameters hold now, without a write: after a change outside `update`."""
        for bank in self._banks.values():
            bank.load()

    def bind(self, optimizer: torch.optim.Optimizer, *, initial_write: bool = False) -> None:
        """Name the optimizer whose state is held, before the first `update` and after a load of its state.

        State that it has already is loaded into the cells without a write, or with an `initial_write`, with errors.
        """
        self._optimizer = optimizer
        self._banks.pop("optimizer", None)
        if "optimizer" in self.holds and state_tensors(self.model, optimizer):
            self._adopt_optimizer(initial_write=initial_write)

    def set_point(self, point: OperatingPoint) -> None:
        """Write with another setting from now on; cells, ledger and streams go on."""
        for bank in self._banks.values():
            bank.memory.set_point(point)
        self._point = point

    # ---- what it holds, and what it cost -----------------------------------------------------------------------------

    @property
    def memories(self) -> dict[str, Memory]:
        """The memory of each kind that is held, by name; look, and do not write."""
        return {name: bank.memory for name, bank in self._banks.items()}

    @property
    def words(self) -> int:
        """How many words the memory holds."""
        return sum(bank.array.size for bank in self._banks.values())

    @property
    def ledger(self) -> Ledger:
        """What was done so far, and what it cost; with an `sram`, what was done there, too."""
        ledgers = [memory.ledger for memory in self.memories.values()]
        return sum(ledgers, Ledger()) + (Ledger() if self.sram is None else self.sram.ledger)

    # ---- a checkpoint ------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Return all that changes, as tensors, numbers and strings: torch loads it with ``weights_only=True``."""
        banks = {name: bank.state() for name, bank in self._banks.items()}
        return {"banks": banks, "sram": None if self.sram is None else dict(self.sram.state()["accesses"])}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state()` of a memory like this one, bit for bit.

        Bind the optimizer, load the states of model and optimizer, then call this: the tensors then hold what was last
        read. The operating point is not part of it; give the one that was in force.

        Raises
        ------
        ValueError
            If the state is one of another memory. What was restored until then stays: go on from another state.
        """
        self._banks.pop("optimizer", None)
        if "optimizer" in state["banks"] and self._optimizer is not None:
            self.bind(self._optimizer)
        if set(state["banks"]) != set(self._banks):
            raise ValueError(
                f"state must be of a memory of {', '.join(self._banks)}, got one of {', '.join(state['banks'])}. "
                "An optimizer is bound and its state loaded before."
            )
        for name, bank in self._banks.items():
            bank.restore(state["banks"][name])
        if self.sram is not None and state["sram"] is not None:
            self.sram.restore({**self.sram.state(), "accesses": state["sram"]})

    # ---- inside ------------------------------------------------------------------------------------------------------

    def _bank(self, name: str, key: tuple[int, ...], form: Format, held: dict[str, Held], initial_write: bool) -> None:
        for tensor, where in held.items():
            if where.get().dtype != torch.float32:
                raise ValueError(
                    f"{tensor} must be float32 to be held, got {where.get().dtype}. Convert the model with .float()."
                )
        child = child_seed(self.seed, "parameter_words", *key)
        words = sum(where.get().numel() for where in held.values())
        memory = self._make(words, form, seed=child, name=f"{self.name}, {name}", point=self._point)
        self._banks[name] = Bank(held, memory, initial_write=initial_write)

    def _adopt_optimizer(self, *, initial_write: bool) -> None:
        if held := state_tensors(self.model, self._optimizer):
            self._bank("optimizer", (HOLDS.index("optimizer"),), self._form, held, initial_write)

    def _elsewhere(self) -> int:
        """Words that are read and written each iteration and are not in this memory."""
        kinds = {**parameters_by_kind(self.model), "optimizer": state_tensors(self.model, self._optimizer)}
        return sum(where.get().numel() for kind in set(HOLDS) - set(self.holds) for where in kinds[kind].values())


def _banks(
    kind: str, held: dict[str, Held], format: str | Format, scale: float | Mapping[str, float] | None
) -> dict[str, tuple[tuple[int, ...], Format, dict[str, Held]]]:
    """Return key of the seed, format and tensors of each bank of a kind: one, or one a tensor if each has its scale."""
    key = HOLDS.index(kind)
    if not isinstance(scale, Mapping):
        return {kind: ((key,), _format(format, scale), held)}
    if missing := [name for name in held if name not in scale]:
        raise ValueError(f"scale must name each tensor that is held, got none for {', '.join(missing)}.")
    return {
        f"{kind} {name}": ((key, number), _format(format, scale[name]), {name: where})
        for number, (name, where) in enumerate(held.items())
    }


def _format(name: str | Format, scale: float | None) -> Format:
    if (name.name if isinstance(name, Format) else name) in ("binary", "ternary"):
        raise ValueError(
            f"format must be one of {', '.join(WORDS)}, got {name!r}: an optimizer updates real numbers. To keep the "
            "signs of a binary layer in error-prone cells put a memory into its slot weight_memory."
        )
    if isinstance(name, Format):
        if scale is not None:
            raise ValueError(f"scale must be None beside a Format, got {scale!r}: int8's is in it.")
        return name
    checked_choice("format", name, WORDS)
    return format_of(name, scale=scale, overflow="saturate" if name == "int8" else "error")
