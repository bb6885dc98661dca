"""Seeded dropout: resumed bit for bit, and the same for any split of a batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bnn.errors.keys import WriteKeys, load_without_count
from bnn.errors.transforms import drawn, one_node, refuse_script
from mtjsim.checks import ArgumentError
from mtjsim.rng import checked_seed, child_seed


class SeededDropout(nn.Module):
    """Zeroes values with probability `rate` in training, and divides the others by ``1 - rate``.

    In place of `nn.Dropout`, which draws from torch's global stream. In evaluation mode it is the identity.

    Parameters
    ----------
    rate : float, in [0, 1)
    seed : int, >= 0
    layer : int, >= 0
        Which dropout of a network this is; part of the key, so that one seed serves a whole network.

    Raises
    ------
    ValueError
        For a number out of range.

    Notes
    -----
    The mask is drawn like write errors (see `bnn.WriteErrors`): ones are written with error rate `rate`, by key on the
    CPU. The state is in the `state_dict`.

    Examples
    --------
    >>> dropout = SeededDropout(0.5, seed=1)
    >>> sorted(set(dropout(torch.ones(100)).tolist()))
    [0.0, 2.0]
    >>> dropout.eval()(torch.ones(2))
    tensor([1., 1.])
    """

    def __init__(self, rate: float, *, seed: int, layer: int = 0) -> None:
        super().__init__()
        if not 0.0 <= rate < 1.0:
            raise ArgumentError("rate", f"must be in [0, 1), got {rate}.")
        self.rate = float(rate)
        self.seed, self.keys = checked_seed(seed), WriteKeys(child_seed(seed, "dropout"), layer)

    __prepare_scriptable__ = refuse_script

    @one_node
    def forward(self, x: Tensor) -> Tensor:
        """Return x with some values dropped, same shape; dimension 0 counts samples."""
        return x if not self.training or self.rate == 0.0 else self._dropped(x)

    @drawn
    def _dropped(self, x: Tensor) -> Tensor:
        if x.numel() == 0:
            return x
        from bnn.errors.kernels import write_samples  # here: numba takes half a second

        key, _ = self.keys.next(x, weights=False)
        mask = np.ones((len(key.samples), x.numel() // len(key.samples)), np.float32)
        root = np.uint64(key.root)
        write_samples(mask, root, key.layer, key.step, key.samples, self.rate, self.rate, out=mask)
        kept = torch.from_numpy(mask).view(x.shape).to(x.device, x.dtype)
        return x * kept.add_(1.0).mul_(0.5 / (1.0 - self.rate))

    def address(self, *, step: int, samples: Tensor | np.ndarray | None, twin: int = 0) -> None:
        """Set which samples come next, and in which step, as for a memory."""
        self.keys.address(step=step, samples=samples, twin=twin)

    def forget_address(self) -> None:
        """Return to automatic numbers, as a memory."""
        self.keys.forget_address()

    def reseed(self, seed: int) -> None:
        """Start the stream of `seed`."""
        self.seed, self.keys = checked_seed(seed), WriteKeys(child_seed(seed, "dropout"), self.keys.layer)

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *others: Any) -> None:
        load_without_count(super()._load_from_state_dict, state_dict, prefix, *others)

    def get_extra_state(self) -> Tensor:
        """Return the number of calls; part of `state_dict`. The seed is not in it."""
        return torch.tensor([self.keys.writes])

    def set_extra_state(self, state: Tensor) -> None:
        """Continue from `state`; part of `load_state_dict`."""
        self.keys.writes = int(state)

    def extra_repr(self) -> str:
        """Show rate and seed in the printed model."""
        return f"rate={self.rate}, seed={self.seed}, layer={self.keys.layer}"
