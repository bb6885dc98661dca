"""A table of a network: bits, operations and bytes of each layer."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.utils.flop_counter import FlopCounterMode

from bnn.layers.binary import QUANTIZER_OF, BinaryLayer, cells_of
from bnn.layers.slots import memories
from bnn.layers.whole_model import checked_model
from mtjsim.checks import ArgumentError, checked_whole


@dataclass(frozen=True, kw_only=True)
class Row:
    """One layer, or the sum of all.

    Attributes
    ----------
    name, type : str
        Name in the model; class.
    output_shape : tuple of int
        Of one sample, at the first call.
    weight_bits : int
        Of quantized weights: 1 of a binary weight, 2 of a ternary one, N + 1 of one on 2^N + 1 states.
    floats : int
        Real numbers: real weights, biases, BatchNorm's weights and statistics, XNOR scales.
    activation_bits : int
        Bits written for one sample: those of each quantized input, 2 of a ternary one. Padded zeros are not written.
    error_prone_bits_inference : int
        Bits written to memories in an inference of one sample: `activation_bits`, since the weights stay.
    error_prone_bits_training_step : int
        Bits written in a training step: `activation_bits` times the batch size, and each of `weight_bits` once.
    binary_macs, ternary_macs, float_macs : int
        Multiply-accumulate operations for one sample; binary where both operands are bits, ternary (a gated XNOR) where
        one is ternary and the other is a bit or ternary. Padded zeros are counted.
    packed_bytes : int
        `weight_bits`, rounded up to whole bytes, and 4 bytes for each of the `floats`.
    """

    name: str
    type: str
    output_shape: tuple[int, ...]
    weight_bits: int = 0
    floats: int = 0
    activation_bits: int = 0
    error_prone_bits_inference: int = 0
    error_prone_bits_training_step: int = 0
    binary_macs: int = 0
    ternary_macs: int = 0
    float_macs: int = 0
    packed_bytes: int = 0


COUNTS = [field.name for field in fields(Row)][3:]
HEADINGS = {
    "name": "layer",
    "type": "type",
    "output_shape": "output",
    "weight_bits": "weight\nbits",
    "floats": "floats",
    "error_prone_bits_inference": "error-prone\nbits, image",
    "error_prone_bits_training_step": "error-prone\nbits, step",
    "binary_macs": "binary\nMACs",
    "ternary_macs": "ternary\nMACs",
    "float_macs": "float\nMACs",
    "packed_bytes": "packed\nbytes",
}


@dataclass(frozen=True)
class Summary:
    """A network's layers and their sum; prints as a table.

    Attributes
    ----------
    rows : tuple of Row
        In the order of the calls. A module that is called several times has one row: its weights count once, its writes
        and operations for every call. A weight that layers share counts with the first of them.
    totals : Row
        Every parameter and floating-point buffer of the model is in it.
    input_shape : tuple of int
        Of one sample.
    batch_size : int
        Of a training step.
    other_macs : int
        Multiply-accumulate operations for one sample outside of fully connected layers and convolutions, which are in
        no row: of attention and recurrent layers, for example. A line under the table, if there are any.
    """

    rows: tuple[Row, ...]
    totals: Row
    input_shape: tuple[int, ...]
    batch_size: int
    other_macs: int = 0

    def as_dicts(self) -> list[dict[str, Any]]:
        """Return the rows, the sum last, as dictionaries of plain values."""
        names = [field.name for field in fields(Row)]
        return [dict(zip(names, astuple(row), strict=True)) for row in (*self.rows, self.totals)]

    def to_csv(self) -> str:
        """Return the rows, the sum last, as text with a line of headings."""
        out, dicts = io.StringIO(), self.as_dicts()
        writer = csv.DictWriter(out, list(dicts[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({**row, "output_shape": "x".join(map(str, row["output_shape"]))} for row in dicts)
        return out.getvalue()

    def __str__(self) -> str:
        shown = [name for name in HEADINGS if name != "ternary_macs" or self.totals.ternary_macs]
        cells = [[_shown(getattr(row, name)) for name in shown] for row in (*self.rows, self.totals)]
        two_lines = [HEADINGS[name] if "\n" in HEADINGS[name] else f"\n{HEADINGS[name]}" for name in shown]
        heads = list(zip(*(heading.split("\n") for heading in two_lines), strict=True))
        widths = [max(map(len, column)) for column in zip(*heads, *cells, strict=True)]
        aligned = [str.ljust] * 2 + [str.rjust] * (len(widths) - 2)
        lines = [
            "  ".join(align(cell, width) for align, cell, width in zip(aligned, row, widths, strict=True)).rstrip()
            for row in (*heads, *cells)
        ]
        rule = "-" * max(map(len, lines))
        shape = " x ".join(map(str, self.input_shape))
        note = f"One image is {shape}; a step has {self.batch_size} of them and writes each quantized weight once."
        notes = [note] + [
            f"Not in the table: {self.other_macs} float MACs of other matrix products (attention, recurrent layers)."
        ] * bool(self.other_macs)
        return "\n".join([*lines[:2], rule, *lines[2:-1], rule, lines[-1], *notes])


def summary(model: nn.Module, *, input_shape: Sequence[int] | int, batch_size: int = 1) -> Summary:
    """Count the bits, the error-prone bits, the operations and the packed size of every layer of `model`.

    Parameters
    ----------
    model : Module
        Left as it was: mode, memories and their streams.
    input_shape : sequence of int, or one int
        Of one sample, without the batch: (1, 28, 28); 64 is (64,).
    batch_size : int, >= 1
        Of a training step.

    Returns
    -------
    Summary

    Raises
    ------
    ValueError
        For a shape or batch size that is not of whole numbers >= 1, or images that do not fit the model.

    Notes
    -----
    Error-prone bits are those that go through a slot for a memory, empty or not. Rows are those of binary layers, of
    modules without submodules, of others with parameters of their own, and of those with parameters that are not
    called. Operations are those of fully connected layers and convolutions, transposed ones included; torch counts the
    products of all others (`Summary.other_macs`). Sums, activations and norms are not counted.

    Examples
    --------
    >>> from bnn.models import lenet4
    >>> table = summary(lenet4(seed=1), input_shape=(1, 28, 28), batch_size=64)
    >>> table.totals.error_prone_bits_inference
    3680
    >>> print(table)
                                       weight          error-prone  error-prone   binary   float  packed
    layer  type                output    bits  floats  bits, image   bits, step     MACs    MACs   bytes
    ----------------------------------------------------------------------------------------------------
    0      BinaryConv2d  20 x 24 x 24       0     520            0            0        0  288000    2080
    ...
    10     BinaryLinear           500  400000    1000          800       451200   400000       0   54000
    11     ReLU                   500       0       0            0            0        0       0       0
    12     BinaryLinear            10       0    5010            0            0        0    5000   20040
    ----------------------------------------------------------------------------------------------------
    total                          10  425000    6990         3680       660520  2000000  293000   81085
    One image is 1 x 28 x 28; a step has 64 of them and writes each quantized weight once.
    """
    shape = (input_shape,) if isinstance(input_shape, int) else tuple(input_shape)
    shape = tuple(checked_whole(f"input_shape[{i}]", side, least=1) for i, side in enumerate(shape))
    checked_whole("batch_size", batch_size, least=1)
    like = next((p for p in checked_model(model).parameters() if p.is_floating_point()), torch.zeros(()))
    calls: dict[str, list[tuple[int, Any]]] = {}  # layer -> for each call, number of inputs and the output

    def note(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any], output: Any) -> None:
            read = next((x for x in (*inputs, *named.values()) if isinstance(x, Tensor)), torch.empty(0))
            calls.setdefault(name, []).append((read.numel(), output))

        return hook

    leaves = {name: module for name, module in model.named_modules() if _is_layer(module)}
    within = [f"{name}." for name, module in leaves.items() if isinstance(module, BinaryLayer)]
    leaves = {name: module for name, module in leaves.items() if not name.startswith(tuple(within))}
    flops = FlopCounterMode(display=False)
    modes = [(module, module.training) for module in model.modules()]
    handles = [module.register_forward_hook(note(name), with_kwargs=True) for name, module in leaves.items()]
    try:
        model.eval()
        with (
            torch.no_grad(),
            memories(model, lambda name, index: None),
            memories(model, lambda name, index: None, slot="weight_memory"),
            _in_products(),
            flops,
        ):
            out = model(torch.zeros(1, *shape, dtype=like.dtype, device=like.device))
    except RuntimeError as error:
        raise ArgumentError("input_shape", f"must fit the model, got {shape}: {str(error).splitlines()[0]}") from error
    finally:
        for handle in handles:
            handle.remove()
        for module, mode in modes:
            module.training = mode
    seen: set[int] = set()
    idle: dict[str, list[tuple[int, Any]]] = {
        name: [] for name, module in leaves.items() if name not in calls and _tensors(module)
    }
    rows = tuple(_row(name, leaves[name], made, batch_size, seen) for name, made in (calls | idle).items())
    sums = {count: sum(getattr(row, count) for row in rows) for count in COUNTS}
    other = flops.get_total_flops() // 2 - sum(sums[f"{kind}_macs"] for kind in ("binary", "ternary", "float"))
    return Summary(rows, Row(name="total", type="", output_shape=_shape(out), **sums), shape, batch_size, max(other, 0))


@contextmanager
def _in_products() -> Iterator[None]:
    """Compute attention and recurrent layers from products of matrices, which torch counts, instead of fused."""
    onednn: Any = torch.backends.mkldnn
    former, fast = onednn.enabled, torch.backends.mha.get_fastpath_enabled()
    onednn.enabled = False
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        onednn.enabled = former
        torch.backends.mha.set_fastpath_enabled(fast)


def _is_layer(module: nn.Module) -> bool:
    """Whether a module has a row: no submodules, or parameters of its own."""
    return not list(module.children()) or bool(_tensors(module))


def _tensors(layer: nn.Module) -> list[Tensor]:
    """Return the numbers of a layer: a binary one with its quantizers, without its memories; others by themselves."""
    parts = [layer]
    if isinstance(layer, BinaryLayer):
        parts += [
            part for slot, child in layer.named_children() if slot not in QUANTIZER_OF for part in child.modules()
        ]
    stored = [t for part in parts for t in (*part.parameters(recurse=False), *part.buffers(recurse=False))]
    return [tensor for tensor in stored if tensor.is_floating_point()]


def _row(name: str, layer: nn.Module, calls: list[tuple[int, Any]], batch_size: int, seen: set[int]) -> Row:
    """Count a layer; tensors whose id is in `seen` were counted with another layer, and this layer's are added."""
    own = layer if isinstance(layer, BinaryLayer) else None
    binary = own is not None and own.weight_quantizer is not None
    reads_bits = own is not None and own.input_quantizer is not None
    scaled = own is not None and own.scale == "xnor"
    weight: Any = layer.weight if isinstance(layer, (BinaryLayer, nn.Linear, _ConvNd)) else None
    stored = [tensor for tensor in _tensors(layer) if id(tensor) not in seen]
    quantized = sum(t.numel() for t in stored if binary and t is weight)
    floats = sum(t.numel() for t in stored) - quantized + (len(weight) if scaled else 0)
    seen.update(map(id, stored))
    levels = [own.levels_of(quantizer) for quantizer in QUANTIZER_OF.values()] if own is not None else [2, 2]
    written = sum(read for read, _ in calls) * cells_of(levels[0]) if reads_bits else 0
    bits = quantized * cells_of(levels[1])
    macs = 0
    if weight is not None:  # of a transposed convolution each input is multiplied, not each output
        transposed = isinstance(layer, _ConvNd) and layer.transposed
        macs = sum(read if transposed else out.numel() for read, out in calls) * weight[0].numel()
    kind = {2: "binary", 3: "ternary"}.get(max(levels), "float") if binary and reads_bits else "float"
    return Row(
        name=name,
        type=type(layer).__name__,
        output_shape=_shape(calls[0][1]) if calls else (),
        weight_bits=bits,
        floats=floats,
        activation_bits=written,
        error_prone_bits_inference=written,
        error_prone_bits_training_step=written * batch_size + bits,
        binary_macs=macs if kind == "binary" else 0,
        ternary_macs=macs if kind == "ternary" else 0,
        float_macs=macs if kind == "float" else 0,
        packed_bytes=-(-bits // 8) + 4 * floats,
    )


def _shape(out: Any) -> tuple[int, ...]:
    return tuple(out.shape[1:]) if isinstance(out, Tensor) else ()


def _shown(value: Any) -> str:
    return " x ".join(map(str, value)) if isinstance(value, tuple) else str(value)
