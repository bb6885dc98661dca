"""Dropout from a stream of its own: seeded, resumed bit for bit, and the same for any split of a batch."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bnn.errors import WriteErrors


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
    The mask is drawn as the write errors are (see `bnn.errors.WriteErrors`): a mask of ones is written with error rate
    `rate`, by key on the CPU. Its state is in the `state_dict`.

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
            raise ValueError(f"rate must be in [0, 1), got {rate}.")
        self.rate = float(rate)
        # Not a submodule: this is no memory, and must not be found where memories are looked for.
        self._mask = [WriteErrors(error_rate_0=self.rate, error_rate_1=self.rate, seed=seed, layer=layer)]

    def forward(self, x: Tensor) -> Tensor:
        """Return x with some values dropped, same shape; dimension 0 counts samples."""
        if not self.training or self.rate == 0.0:
            return x
        mask = self._mask[0](torch.ones_like(x, requires_grad=False))
        return x * mask.add_(1.0).mul_(0.5 / (1.0 - self.rate))

    def address(self, *, step: int, samples: Tensor | np.ndarray | None) -> None:
        """Say which samples come next, and in which step, as for a memory."""
        self._mask[0].address(step=step, samples=samples)

    def forget_address(self) -> None:
        """Go back to numbers of its own, as a memory."""
        self._mask[0].forget_address()

    def reseed(self, seed: int) -> None:
        """Start the stream of `seed`."""
        self._mask[0].reseed(seed)

    def get_extra_state(self) -> Any:
        """Return the state of the stream; part of `state_dict`."""
        return self._mask[0].get_extra_state()

    def set_extra_state(self, state: Any) -> None:
        """Continue from `state`; part of `load_state_dict`."""
        self._mask[0].set_extra_state(state)

    def extra_repr(self) -> str:
        """Show rate and seed in the printed model."""
        return f"rate={self.rate}, seed={self._mask[0].seed}, layer={self._mask[0].layer}"
