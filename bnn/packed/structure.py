"""Structure of a packed model: whether its steps fit each other, checked whole before a kernel uses them.

The compiled kernels index without bounds. What depends on the images is checked as they come, in `products.py`.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from bnn.layers.binary import cells_of
from bnn.packed.steps import Step
from mtjsim.checks import ArgumentError

TENSOR, BITS, CELLS = "a tensor", "bits", "cells of ternary values"
LARGEST = 1 << 16  # of a kernel, stride, padding ...
FARTHEST = 1 << 40  # of a threshold, with which the kernels compute in 64 bits
Options = Mapping[str, Any]
Arrays = Mapping[str, np.ndarray]


def check_steps(steps: Sequence[Step]) -> None:
    """Raise ArgumentError unless the steps are a model: known, with the arrays and options that they need.

    Checked are operations, their order and the kinds of their values; shapes, dtypes, layouts and ranges of the arrays;
    every option; layers and slots.
    """
    kinds: dict[int, str] = {-1: TENSOR}
    slots: dict[tuple[bool, int], str] = {}
    for number, step in enumerate(steps):
        try:
            kinds[number] = _checked(step, number, kinds)
            if "slot" in step.options:  # each is of one layer
                key = step.op == "write", step.options["slot"]
                _need(slots.setdefault(key, step.options["layer"]) == step.options["layer"], "shares a slot")
        except _WrongError as problem:
            raise ArgumentError("steps", f"must fit each other: number {number}, {step.op!r}, {problem}.") from None
    if not steps or kinds[len(steps) - 1] != TENSOR:
        raise ArgumentError("steps", "must end with one that gives a tensor, the logits.")


class _WrongError(Exception):
    """What is wrong with a step."""


def _need(right: bool, problem: str) -> None:
    if not right:
        raise _WrongError(problem)


def _checked(step: Step, number: int, kinds: Mapping[int, str]) -> str:
    """Check one step; return the kind of its value."""
    _need(isinstance(step.op, str) and step.op in STEPS, "is of another version")
    _need(isinstance(step.options, Mapping) and isinstance(step.arrays, Mapping), "has no options by name")
    takes, gives, check = STEPS[step.op]
    right = isinstance(step.inputs, tuple) and all(type(k) is int and -1 <= k < number for k in step.inputs)
    _need(right and len(step.inputs) == (2 if step.op == "add" else 1), f"has the inputs {step.inputs!r}")
    found = kinds[step.inputs[0]]
    ternary = (step.op == "write" and found == CELLS) or (step.op in ("unpack", "gated") and _input_levels(step) == 3)
    takes = CELLS if ternary else takes
    _need(all(kinds[k] == takes for k in step.inputs), f"needs {takes} as input, got {found}")
    for name, array in step.arrays.items():
        usable = isinstance(array, np.ndarray) and array.flags.c_contiguous and array.flags.aligned
        _need(usable, f"has an array {name} that is not contiguous")
        _need(array.dtype.kind != "f" or bool(np.isfinite(array).all()), f"has values of {name} that are not finite")
    check(step.options, step.arrays)
    if step.op == "write":
        return found
    return BITS if step.op == "binary" and "threshold" in step.arrays else gives


def _input_levels(step: Step) -> Any:
    levels = step.options.get("levels", 2)
    return levels[0] if isinstance(levels, (list, tuple)) and levels else levels


# ---- arrays and options ----------------------------------------------------------------------------------------------


def _names(found: Mapping[str, Any], needed: Sequence[str], others: Sequence[str] = ()) -> None:
    wrong = sorted((set(needed) - set(found)) | (set(found) - {*needed, *others}))
    _need(not wrong, f"must have {', '.join(needed) or 'nothing'}: see {', '.join(map(str, wrong))}")


def _array(arrays: Arrays, name: str, dtype: type, shape: Sequence[int | None]) -> np.ndarray:
    array = arrays[name]
    fits = len(array.shape) == len(shape) and all(
        size > 0 and want in (None, size) for size, want in zip(array.shape, shape, strict=True)
    )
    wanted = tuple("any" if size is None else size for size in shape)
    found = f"{array.dtype} of shape {array.shape}"
    _need(array.dtype == dtype and fits, f"needs {name} of {np.dtype(dtype)} and shape {wanted}, got {found}")
    return array


def _whole(name: str, value: Any, least: int = 0, most: int = LARGEST) -> int:
    _need(type(value) is int and least <= value <= most, f"needs {name} from {least} to {most}, got {value!r}")
    return value


def _pair(name: str, value: Any, least: int = 0) -> tuple[int, int]:
    values = value if isinstance(value, (list, tuple)) else [value, value]
    _need(len(values) == 2, f"needs two numbers for {name}, got {value!r}")
    return _whole(name, values[0], least), _whole(name, values[1], least)


def _number(name: str, value: Any) -> float:
    right = type(value) in (int, float) and not math.isnan(value)
    _need(right, f"needs a number for {name}, got {value!r}")
    return float(value)


def _flags(options: Options, *names: str) -> None:
    for name in names:
        _need(type(options[name]) is bool, f"needs true or false for {name}, got {options[name]!r}")


def _window(window: Any) -> None:
    """Check the window of a convolution of torch."""
    _need(isinstance(window, Mapping), "needs a window")
    _names(window, ("stride", "padding", "dilation", "groups"))
    _pair("stride", window["stride"], 1)
    if window["padding"] not in ("same", "valid"):
        _pair("padding", window["padding"])
    _pair("dilation", window["dilation"], 1)
    _whole("groups", window["groups"], 1)


def _plain_window(window: Any) -> None:
    """Check the window of a convolution of packed bits."""
    _need(isinstance(window, Mapping), "needs a window")
    _names(window, ("stride", "padding"))
    for name, least in (("stride", 1), ("padding", 0)):
        _need(isinstance(window[name], (list, tuple)), f"needs a pair for {name}")
        _pair(name, window[name], least)


def _layer(options: Options) -> None:
    _need(isinstance(options["layer"], str), f"needs the name of a layer, got {options['layer']!r}")
    _whole("slot", options["slot"])


# ---- steps -----------------------------------------------------------------------------------------------------------


def _plain(options: Options, arrays: Arrays) -> None:
    _names(options, ())
    _names(arrays, ())


def _write(options: Options, arrays: Arrays) -> None:
    _names(arrays, ())
    _names(options, ("layer", "slot"), ("call",))
    _layer(options)
    _whole("call", options.get("call", 0))


def _rows(options: Options, arrays: Arrays, levels: int = 2) -> int:
    """Check packed weights; return the number of outputs."""
    shape = options["shape"]
    right = isinstance(shape, (list, tuple)) and len(shape) in (2, 4) and all(type(n) is int and n > 0 for n in shape)
    _need(right, f"needs the shape of a weight, got {shape!r}")
    outputs, cells = shape[0], math.prod(shape[1:]) * cells_of(levels)
    rows = _array(arrays, "weight", np.uint64, (outputs, -(-cells // 64)))
    _need(cells % 64 == 0 or not (rows[:, -1] >> np.uint64(cells % 64)).any(), "has weights after its last cell")
    return outputs


def _binary(options: Options, arrays: Arrays) -> None:
    folded = "threshold" in arrays
    conv = isinstance(options.get("shape"), (list, tuple)) and len(options["shape"]) == 4
    _names(options, ("layer", "slot", "shape", *["window"] * conv, *["pool", "flatten"] * folded))
    _names(arrays, ("weight", *["threshold", "invert", "every"] * folded))
    _layer(options)
    outputs = _rows(options, arrays)
    if conv:
        _plain_window(options["window"])
    if not folded:
        return
    limits = _array(arrays, "threshold", np.int64, (outputs,))
    _need(limits.min() >= -FARTHEST and limits.max() <= FARTHEST, "has a threshold far beyond every product")
    for name in ("invert", "every"):
        _array(arrays, name, np.bool_, (outputs,))
    _flags(options, "flatten")
    if options["pool"] is not None:
        pool = options["pool"]
        _need(conv and isinstance(pool, (list, tuple)) and len(pool) == 3, "has a wrong pool")
        _need(all(isinstance(each, (list, tuple)) for each in pool), "needs three pairs for pool")
        _pooling(*pool)


def _pooling(kernel: Any, stride: Any, padding: Any) -> None:
    sides, _ = _pair("kernel_size", kernel, 1), _pair("stride", stride, 1)
    right = all(2 * p <= k for p, k in zip(_pair("padding", padding), sides, strict=True))
    _need(right, "needs a padding of at most half of the kernel")


def _levels(value: Any) -> int:
    _need(type(value) is int and value in (2, 3), f"needs 2 or 3 levels, got {value!r}")
    return int(value)


def _ternary(options: Options, arrays: Arrays) -> None:
    _names(options, ("threshold",))
    _names(arrays, ())
    _need(0.0 < _number("threshold", options["threshold"]) < 1.0, "needs a threshold in (0, 1)")


def _unpack(options: Options, arrays: Arrays) -> None:
    _names(options, (), ("levels",))
    _names(arrays, ())
    _levels(options.get("levels", 2))


def _gated(options: Options, arrays: Arrays) -> None:
    conv = isinstance(options.get("shape"), (list, tuple)) and len(options["shape"]) == 4
    _names(options, ("layer", "slot", "shape", "levels", *["window"] * conv))
    _names(arrays, ("weight",))
    _layer(options)
    levels = options["levels"]
    _need(isinstance(levels, (list, tuple)) and len(levels) == 2, f"needs the levels of both, got {levels!r}")
    _levels(levels[0])
    _rows(options, arrays, _levels(levels[1]))
    if conv:
        _plain_window(options["window"])


def _signed(options: Options, arrays: Arrays) -> None:
    _names(options, ("layer", "slot", "shape", "window"), ("levels",))
    _names(arrays, ("weight",))
    _layer(options)
    _rows(options, arrays, _levels(options.get("levels", 2)))
    if len(options["shape"]) == 4:
        _window(options["window"])
    else:
        _need(options["window"] == {}, "must have no window")


def _linear(options: Options, arrays: Arrays) -> None:
    _names(options, ())
    _names(arrays, ("weight",), ("bias",))
    outputs = len(_array(arrays, "weight", np.float32, (None, None)))
    if "bias" in arrays:
        _array(arrays, "bias", np.float32, (outputs,))


def _conv2d(options: Options, arrays: Arrays) -> None:
    _window(options)
    _names(arrays, ("weight",), ("bias",))
    outputs = len(_array(arrays, "weight", np.float32, (None, None, None, None)))
    _need(outputs % options["groups"] == 0, "needs outputs in whole groups")
    if "bias" in arrays:
        _array(arrays, "bias", np.float32, (outputs,))


def _batch_norm(options: Options, arrays: Arrays) -> None:
    _names(options, ("eps",), ("last",))
    _number("eps", options["eps"])
    _flags(options, *{"last"} & set(options))
    _names(arrays, ("running_mean", "running_var"), ("weight", "bias"))
    channels = len(_array(arrays, "running_mean", np.float32, (None,)))
    for name in set(arrays) - {"running_mean"}:
        _array(arrays, name, np.float32, (channels,))


def _hardtanh(options: Options, arrays: Arrays) -> None:
    _names(arrays, ())
    _names(options, ("min_val", "max_val"))
    ends = _number("min_val", options["min_val"]), _number("max_val", options["max_val"])
    _need(ends[0] <= ends[1], f"needs ends that rise, got {ends}")


def _max_pool2d(options: Options, arrays: Arrays) -> None:
    _names(arrays, ())
    _names(options, ("kernel_size", "stride", "padding", "dilation", "ceil_mode"))
    _pooling(options["kernel_size"], options["stride"], options["padding"])
    _pair("dilation", options["dilation"], 1)
    _flags(options, "ceil_mode")


def _avg_pool2d(options: Options, arrays: Arrays) -> None:
    _names(arrays, ())
    flags = "ceil_mode", "count_include_pad"
    _names(options, ("kernel_size", "stride", "padding", "divisor_override", *flags))
    _pooling(options["kernel_size"], options["stride"], options["padding"])
    _flags(options, *flags)
    if options["divisor_override"] is not None:
        _whole("divisor_override", options["divisor_override"], 1)


def _adaptive(options: Options, arrays: Arrays) -> None:
    _names(arrays, ())
    _names(options, ("output_size",))
    size = options["output_size"]
    sides = size if isinstance(size, (list, tuple)) else [size, size]
    _need(len(sides) == 2, f"needs two sides, got {size!r}")
    for side in sides:
        if side is not None:
            _whole("output_size", side, 1, 1 << 12)


def _flatten(options: Options, arrays: Arrays) -> None:
    _names(arrays, ())
    _names(options, ("start_dim", "end_dim"))
    for name in options:
        _whole(name, options[name], -4, 3)


def _by_channel(options: Options, arrays: Arrays) -> None:
    _names(options, (), ("last",))
    _flags(options, *{"last"} & set(options))
    _names(arrays, ("by",))
    _array(arrays, "by", np.float32, [None] * arrays["by"].ndim)


STEPS: dict[str, tuple[str, str, Callable[[Options, Arrays], None]]] = {  # op -> what it takes, gives, its check
    "sign": (TENSOR, BITS, _plain),
    "write": (BITS, BITS, _write),
    "ternary": (TENSOR, CELLS, _ternary),
    "unpack": (BITS, TENSOR, _unpack),
    "binary": (BITS, TENSOR, _binary),
    "gated": (BITS, TENSOR, _gated),
    "signed": (TENSOR, TENSOR, _signed),
    "linear": (TENSOR, TENSOR, _linear),
    "conv2d": (TENSOR, TENSOR, _conv2d),
    "batch_norm": (TENSOR, TENSOR, _batch_norm),
    "relu": (TENSOR, TENSOR, _plain),
    "hardtanh": (TENSOR, TENSOR, _hardtanh),
    "max_pool2d": (TENSOR, TENSOR, _max_pool2d),
    "avg_pool2d": (TENSOR, TENSOR, _avg_pool2d),
    "adaptive_avg_pool2d": (TENSOR, TENSOR, _adaptive),
    "adaptive_max_pool2d": (TENSOR, TENSOR, _adaptive),
    "flatten": (TENSOR, TENSOR, _flatten),
    "add": (TENSOR, TENSOR, _plain),
    "scale": (TENSOR, TENSOR, _by_channel),
    "shift": (TENSOR, TENSOR, _by_channel),
}
