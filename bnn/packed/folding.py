"""Folding: all layers between a binary product and the sign of the next layer become an integer threshold.

A product is one of the integers -k ... k. Everything before the sign (scale, bias, BatchNorm, ReLU, ...) acts on each
channel separately, so torch can compute the sign of every integer, once. If it changes at most once, then sign(...) is
+1 exactly where the product is >= threshold (or, inverted, below it): *by construction the result of torch in float32*,
for any sign of gamma and gamma = 0, roundings included. If it changes more often, nothing is folded.

The maximum over a window commutes with a rising function, and becomes a minimum for a falling one: the pooled bit is
any of the bits of the window, or every one of them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from bnn.packed.steps import Step, run_float

BY_CHANNEL = ("scale", "shift", "batch_norm", "relu", "hardtanh")
INTEGERS_AT_ONCE = 2048


def fold(steps: Sequence[Step], output: int) -> list[Step]:
    """Fold every chain "binary" -> ... -> "sign" that can be: the product returns the sign itself.

    Parameters
    ----------
    steps : sequence of Step
    output : int
        The step whose value is the model's.

    Returns
    -------
    list of Step
        Of the same length: steps that are no longer needed stay, unused.
    """
    folded = list(steps)
    users = [sum(step.inputs.count(i) for step in steps) + (i == output) for i in range(len(steps))]
    for at, step in enumerate(steps):
        if step.op == "sign" and (chain := _chain(steps, step.inputs[0], users)):
            threshold = _threshold(chain)
            if threshold is not None:
                folded[at] = threshold
    return folded


def _chain(steps: Sequence[Step], at: int, users: Sequence[int]) -> list[Step]:
    """Return the steps from a binary product down to `at`, or nothing if they cannot be folded."""
    chain: list[Step] = []
    while at >= 0 and users[at] == 1 and steps[at].op in (*BY_CHANNEL, "max_pool2d", "flatten", "binary"):
        chain.insert(0, steps[at])
        if steps[at].op == "binary":
            return chain if _foldable(chain) else []
        at = steps[at].inputs[0]
    return []


def _foldable(chain: Sequence[Step]) -> bool:
    """Whether the chain is one function of each channel: at most one pool, nothing by channel after a flatten."""
    ops = [step.op for step in chain]
    if len(chain[0].options["shape"]) > 2 and any(step.options.get("last") for step in chain):
        return False
    behind = chain[ops.index("flatten") + 1 :] if "flatten" in ops else []
    pools = [step for step in chain if step.op == "max_pool2d"]
    plain = all(step.options["dilation"] in (1, [1, 1]) and not step.options["ceil_mode"] for step in pools) and all(
        step.options == {"start_dim": 1, "end_dim": -1} for step in chain if step.op == "flatten"
    )
    return len(pools) < 2 and plain and all(step.op in ("relu", "hardtanh", "flatten") for step in behind)


def _threshold(chain: Sequence[Step]) -> Step | None:
    """Return the folded product, or None if a threshold is not exact, from torch's signs of every integer."""
    product = chain[0]
    outputs, k = product.options["shape"][0], int(np.prod(product.options["shape"][1:]))
    rises, falls = np.ones(outputs, bool), np.ones(outputs, bool)  # of the pooled values
    ones, changes = np.zeros(outputs, np.int64), np.zeros(outputs, np.int64)
    last_value = last_bit = first_bit = None
    for s in _integers(k):
        pooled, value = _values(chain, s)
        bit = value >= 0
        if last_bit is None:
            first_bit, last_value, last_bit = bit[0], pooled[:1], bit[:1]
        steps_ = np.diff(np.concatenate([last_value, pooled]), axis=0)
        rises &= (steps_ >= 0).all(axis=0)
        falls &= (steps_ <= 0).all(axis=0)
        changes += np.diff(np.concatenate([last_bit, bit]), axis=0).sum(axis=0)
        ones += bit.sum(axis=0)
        last_value, last_bit = pooled[-1:], bit[-1:]
    pool = next((step for step in chain if step.op == "max_pool2d"), None)
    if (changes > 1).any() or (pool is not None and not (rises | falls).all()):
        return None
    inverted = (changes == 1) & first_bit  # +1 below the threshold
    below = np.where(inverted, ones, 2 * k + 1 - ones)  # integers below it
    arrays = {
        **product.arrays,
        "threshold": (below - k).astype(np.int64),
        "invert": inverted,
        "every": inverted == rises,  # a falling bit of a rising value, or a rising bit of a falling one
    }
    if not _same_in_every_layout(chain, arrays, k):
        return None
    pairs = None if pool is None else [pair(pool.options[name]) for name in ("kernel_size", "stride", "padding")]
    flatten = any(step.op == "flatten" for step in chain)
    return replace(product, options={**product.options, "pool": pairs, "flatten": flatten}, arrays=arrays)


def _integers(k: int) -> Iterator[Tensor]:
    """Yield -k ... k, in parts."""
    for first in range(-k, k + 1, INTEGERS_AT_ONCE):
        yield torch.arange(first, min(first + INTEGERS_AT_ONCE, k + 1), dtype=torch.float32)


def _values(chain: Sequence[Step], s: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Return the values before the pool and before the sign, for the products s of every channel: (s, outputs)."""
    shape = chain[0].options["shape"]
    x = s.view(-1, *[1] * (len(shape) - 1)).repeat(1, shape[0], *[1] * (len(shape) - 2))
    return tuple(values.reshape(len(s), shape[0]).numpy() for values in _through(chain, x))  # type: ignore[return-value]


def _through(chain: Sequence[Step], x: Tensor) -> tuple[Tensor, Tensor]:
    """Apply all steps by channel to x; return the values before the pool (or at the end), and at the end."""
    pooled = None
    for step in chain[1:]:
        if step.op == "max_pool2d":
            pooled = x
        elif step.op != "flatten":
            x = run_float(step, x)
    return (x if pooled is None else pooled), x


def _same_in_every_layout(chain: Sequence[Step], arrays: dict[str, np.ndarray], k: int) -> bool:
    """Whether torch has the same signs next to the thresholds in images of either memory format."""
    if len(chain[0].options["shape"]) == 2:
        return True
    near = torch.from_numpy(np.clip(arrays["threshold"] + np.arange(-2, 2)[:, np.newaxis], -k, k))
    expected = (near.numpy() >= arrays["threshold"]) != arrays["invert"]
    images = near.float()[:, :, None, None].repeat(1, 1, 3, 7)
    for layout in (torch.contiguous_format, torch.channels_last):
        bits = _through(chain, images.contiguous(memory_format=layout))[1] >= 0
        if not np.array_equal(bits.numpy(), np.broadcast_to(expected[:, :, np.newaxis, np.newaxis], bits.shape)):
            return False
    return True


def pair(sides: int | Sequence[int]) -> list[int]:
    """Of rows and columns; one number is both."""
    return [sides, sides] if isinstance(sides, int) else list(sides)
