"""Layers whose weights are pairs of junctions on a die: a fixed one, or another in each step of a training.

In the weight slot of a `CrossbarLinear` is a `DieMemory`. What it returns are not the stored signs s but what the pairs
amount to, A + B s (`bridge.PairArray`), on each of one or several dies. With several, the samples of a batch are dealt
to them in equal parts, and a BatchNorm that follows has the statistics of all: no die has its own.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bnn.errors.transforms import one_node
from bnn.layers.binary import BinaryLinear
from bridge.crossbar.array import PairArray, checked_contrast
from bridge.dies.faults import Process
from mtjsim.checks import ArgumentError, Suggesting, checked_kind, checked_number, checked_whole
from mtjsim.rng import checked_seed, child_seed

KEPT = 64  # dies whose weights a memory keeps


@dataclass(frozen=True, kw_only=True)
class PairProcess(Suggesting):
    """How the pairs of a layer are made on each die; see `bridge.PairArray.of`.

    Parameters
    ----------
    conductance_p, conductance_ap : float
        Of a nominal junction [S].
    spread : float
        Standard deviation of ln G from junction to junction.
    process : Process, optional
        Of the faults.
    disconnect_above : float, optional
        Pairs with a junction that conducts more than this in both states [S] are disconnected, as after a test of the
        die. None: all stay connected.
    """

    conductance_p: float
    conductance_ap: float
    spread: float = 0.0
    process: Process | None = None
    disconnect_above: float | None = None

    def __post_init__(self) -> None:
        checked_contrast(self.conductance_p, self.conductance_ap)
        if self.disconnect_above is not None:
            checked_number("disconnect_above", self.disconnect_above, "S", zero_allowed=False)
        self.array((1, 1), seed=0)  # checks the rest

    def array(self, shape: tuple[int, int], *, seed: int) -> PairArray:
        """Draw the pairs of a layer, (outputs, inputs), on a die."""
        given = {"conductance_p": self.conductance_p, "conductance_ap": self.conductance_ap, "spread": self.spread}
        array = PairArray.of(shape, **given, process=self.process, seed=seed)
        return array if self.disconnect_above is None else array.disconnected(array.shorted(self.disconnect_above))


class DieMemory(nn.Module):
    """The pairs of one layer, on dies that are numbered.

    Parameters
    ----------
    pairs : PairProcess
    seed : int, >= 0
        Die k of layer l is drawn from (seed, k, l): layers with the same seed are on the same dies.
    layer : int, >= 0
    maps : int, >= 1
        Dies in one step of a training, see the module's docstring.
    dies : sequence of int, optional
        Numbers of the dies, as many as `maps`: the same in every pass. None: fresh ones in each step of a training,
        from its number, and die 0 in evaluation mode.

    Raises
    ------
    ValueError
        For numbers out of range, or another number of dies than maps.

    Notes
    -----
    The gradient of a stored sign is B, its gain. In a training each step has an address (`bnn.address`), so that a
    resumed one has the same dies; otherwise the passes in training mode are counted.
    """

    def __init__(
        self, pairs: PairProcess, *, seed: int, layer: int = 0, maps: int = 1, dies: tuple[int, ...] | None = None
    ) -> None:
        super().__init__()
        checked_kind("pairs", pairs, PairProcess)
        self.pairs, self.seed = pairs, checked_seed(seed)
        self.layer, self.maps = checked_whole("layer", layer, least=0), checked_whole("maps", maps, least=1)
        self.dies = self._checked(dies)
        self.passes, self._step = 0, -1
        self._drawn: OrderedDict[tuple[int, tuple[int, ...]], tuple[Tensor, Tensor]] = OrderedDict()

    def _checked(self, dies: Any) -> tuple[int, ...] | None:
        if dies is None:
            return None
        found = tuple(checked_whole("dies", die, least=0) for die in dies)
        if len(found) != self.maps:
            raise ArgumentError("dies", f"must be {self.maps}, as many as maps, got {len(found)}.")
        return found

    def put_on(self, dies: Any) -> Self:
        """Use these dies from now on, numbers as for the class, or fresh ones (None)."""
        self.dies = self._checked(dies)
        return self

    def address(self, *, step: int, samples: Any, twin: int = 0) -> None:
        """Set the number of the step, which decides on fresh dies."""
        self._step = checked_whole("step", step, least=0)

    def forget_address(self) -> None:
        """Return to the count of passes."""
        self._step = -1

    def reseed(self, seed: int) -> None:
        """Draw from the dies of another seed, without an address."""
        self.seed, self._step = checked_seed(seed), -1
        self._drawn.clear()

    def array(self, die: int, shape: tuple[int, int]) -> PairArray:
        """Return the pairs of a die."""
        return self.pairs.array(shape, seed=child_seed(self.seed, "dies", *divmod(die, 1 << 32), self.layer))

    def _ends(self, die: int, shape: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Return A and B of a die, float32; those of the last dies are kept."""
        key = die, shape
        if key not in self._drawn:
            array = self.array(die, shape)
            self._drawn[key] = torch.from_numpy(array.offset).float(), torch.from_numpy(array.gain).float()
            while len(self._drawn) > KEPT:
                self._drawn.popitem(last=False)
        return self._drawn[key]

    def _numbers(self) -> tuple[int, ...]:
        if self.dies is not None:
            return self.dies
        if not self.training:
            return (0,)
        step, self.passes = (self._step, self.passes) if self._step >= 0 else (self.passes, self.passes + 1)
        return tuple(step * self.maps + k for k in range(self.maps))

    def forward(self, signs: Tensor) -> Tensor:
        """Return A + B s of signs, (outputs, inputs): with an axis of maps in front if there are several."""
        ends = [self._ends(die, (len(signs), signs.shape[1])) for die in self._numbers()]
        found = [offset + gain * signs for offset, gain in ends]
        return found[0] if len(found) == 1 else torch.stack(found)

    def get_extra_state(self) -> Tensor:
        """Return the count of passes; part of `state_dict`."""
        return torch.tensor([self.passes])

    def set_extra_state(self, state: Tensor) -> None:
        """Continue from a count of passes."""
        self.passes = int(state[0])

    def __deepcopy__(self, memo: Any) -> DieMemory:
        copied = DieMemory(self.pairs, seed=self.seed, layer=self.layer, maps=self.maps, dies=self.dies)
        copied.passes, copied._step = self.passes, self._step
        return copied.train(self.training)

    def extra_repr(self) -> str:
        """Show the dies in the printed model."""
        which = "fresh ones in each step" if self.dies is None else f"dies {', '.join(map(str, self.dies))}"
        return f"{which}, maps={self.maps}, seed={self.seed}, layer={self.layer}"


class CrossbarLinear(BinaryLinear):
    """Fully connected layer on pairs of junctions; the parameters are those of `BinaryLinear`.

    With a `DieMemory` in its weight slot that has several maps, part m of the samples is multiplied by the weights of
    map m: sample k of n is in part k maps // n. `correction`, (outputs,), is subtracted from the product if it is
    there, see `calibrate_offsets`.

    Examples
    --------
    >>> from bridge import Process
    >>> pairs = PairProcess(
    ...     conductance_p=1e-4, conductance_ap=4e-5, process=Process(short_rate=0.01, short_conductance=3e-4)
    ... )
    >>> layer = CrossbarLinear(100, 40, seed=1, input_quantizer=None, weight_memory=DieMemory(pairs, seed=1, maps=4))
    >>> layer.train()(torch.ones(8, 100)).shape, layer.weight_memory.passes
    (torch.Size([8, 40]), 1)
    """

    correction: Tensor | None

    def __init__(self, in_features: int, out_features: int, **others: Any) -> None:
        super().__init__(in_features, out_features, **others)
        self.register_buffer("correction", None)

    @one_node
    def forward(self, x: Tensor) -> Tensor:
        """Map x, shape (n, in_features), to shape (n, out_features)."""
        bits, weight = self._written_input(x), self._written_weight()
        if weight.dim() == 2:
            product = F.linear(bits, weight)
        else:
            maps = len(weight)
            if len(bits) % maps:
                rule = f"must be a multiple of {maps}, the maps of the weight memory, got {len(bits)} samples"
                raise ArgumentError(
                    "batch_size", f"{rule}. An evaluation is on one die each: put_on_dies(model, (0,))."
                )
            product = torch.bmm(bits.view(maps, -1, bits.shape[1]), weight.transpose(1, 2)).flatten(0, 1)
        return self.finished(product if self.correction is None else product - self.correction)


class Voltages(nn.Module):
    """Images in [-1, 1], (n, channels, height, width), as voltages of the rows of an array, (n, inputs), of up to 1.

    Parameters
    ----------
    size : int or (int, int)
        Of the image after a reduction by area: each pixel is the mean of those that it covers.
    centred : bool
        False: from 0 (background) to 1. True: from that the mean of the training images is subtracted, pixel by pixel,
        so that a pair that always conducts adds nothing on average. The mean is that of all training batches so far,
        and is a buffer of the model.

    Examples
    --------
    >>> layer = Voltages(2).eval()
    >>> layer(torch.tensor([[[[-1.0, -1.0, 1.0, 0.0], [-1.0, -1.0, 1.0, 0.0]]]]).repeat(1, 1, 2, 1))
    tensor([[0.0000, 0.7500, 0.0000, 0.7500]])
    """

    mean: Tensor

    def __init__(self, size: int | tuple[int, int], *, centred: bool = False) -> None:
        super().__init__()
        sides = (size, size) if isinstance(size, int) else tuple(size)
        if len(sides) != 2:
            raise ArgumentError("size", f"must be one number of pixels or two, got {size!r}.")
        self.size = checked_whole("size", sides[0], least=1), checked_whole("size", sides[1], least=1)
        self.centred = bool(centred)
        self.register_buffer("mean", torch.zeros(0))
        self.register_buffer("batches", torch.zeros((), dtype=torch.int64))

    def forward(self, x: Tensor) -> Tensor:
        """Return the voltages."""
        v = (F.adaptive_avg_pool2d(x, self.size).flatten(1) + 1.0) / 2.0
        if not self.centred:
            return v
        if self.training:
            batches: Any = self.batches
            own = v.detach().mean(dim=0)
            with torch.no_grad():
                batches += 1
                self.mean = own if len(self.mean) == 0 else self.mean + (own - self.mean) / batches
        return v - self.mean if len(self.mean) else v

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *others: Any) -> None:
        if (stored := state_dict.get(f"{prefix}mean")) is not None:
            self.mean = torch.zeros_like(stored)  # of as many pixels
        super()._load_from_state_dict(state_dict, prefix, *others)

    def extra_repr(self) -> str:
        """Show size and offset in the printed model."""
        return f"{self.size[0]}x{self.size[1]}, centred={self.centred}"


class AveragedOutputs(nn.Module):
    """Mean of several copies of each output: (n, copies classes) -> (n, classes); copy c of k is c classes + k."""

    def __init__(self, copies: int) -> None:
        super().__init__()
        self.copies = checked_whole("copies", copies, least=1)

    def forward(self, x: Tensor) -> Tensor:
        """Average."""
        if x.shape[1] % self.copies:
            raise ArgumentError("copies", f"must divide the {x.shape[1]} outputs, got {self.copies}.")
        return x.view(len(x), self.copies, -1).mean(dim=1)

    def extra_repr(self) -> str:
        """Show the number of copies in the printed model."""
        return f"copies={self.copies}"


def die_memories(model: nn.Module) -> dict[str, DieMemory]:
    """Find the die memories of a model, by the name of their layer.

    Raises
    ------
    ValueError
        If there is none.
    """
    found = {
        name: layer.weight_memory
        for name, layer in model.named_modules()
        if isinstance(layer, CrossbarLinear) and isinstance(layer.weight_memory, DieMemory)
    }
    if not found:
        raise ArgumentError("model", "must have a CrossbarLinear with a DieMemory, got none.")
    return found


def put_on_dies(model: nn.Module, dies: Any) -> None:
    """Put every layer on the dies of these numbers, one for each map, or on fresh ones in each step (None)."""
    for memory in die_memories(model).values():
        memory.put_on(dies)


@torch.no_grad()
def calibrate_offsets(model: nn.Module, images: Tensor | np.ndarray, *, die: int) -> None:
    """Measure the offset of each output on a die, layer by layer, and subtract it from then on, in place.

    Parameters
    ----------
    model : Module
        A trained network; its layers are put on the die.
    images : (n, ...) float32
        Of the calibration: in each layer, what its outputs read on average on the die less what they read on a nominal
        array, for the same inputs of the layer, is the correction. It takes one number an output, and a measurement
        of each die.
    die : int, >= 0

    Raises
    ------
    ValueError
        For a model without die memories, or no images.
    """
    checked_whole("die", die, least=0)
    memories = die_memories(model)
    x = torch.as_tensor(images, dtype=torch.float32)
    if len(x) == 0:
        raise ArgumentError("images", "must be at least one, got none.")
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        for name, memory in memories.items():
            memory.maps = 1
            memory.put_on((die,))
            layer: Any = model.get_submodule(name)
            layer.correction = None
        for name in memories:
            layer = model.get_submodule(name)
            found: list[Tensor] = []

            def measure(module: Any, inputs: tuple[Tensor, ...], output: Tensor, found: list[Tensor] = found) -> None:
                bits = inputs[0] if module.input_quantizer is None else module.input_quantizer(inputs[0])
                ideal = module.finished(F.linear(bits, module.quantized_weight()))
                found.append((output - ideal).mean(dim=0))

            handle = layer.register_forward_hook(measure)
            try:
                model(x)
            finally:
                handle.remove()
            layer.correction = torch.stack(found).mean(dim=0)
    finally:
        for module, mode in modes:
            module.training = mode
