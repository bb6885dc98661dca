"""Write errors on +-1 tensors: exact for every rate from 0 to 1, asymmetric, seeded, resumable.

Bit 1 is +1, bit 0 is -1. The errors are *independent*: every written cell is taken to have held the opposite bit, so
each bit errs with its full rate (the worst case, and what the literature simulates [1]). Rates are probabilities, never
percent.

References
----------
.. [1] Tzoufras, Gajek, Walker, "Magnetoresistive RAM for error resilient XNOR-Nets", arXiv:1905.10927 (2019).
"""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from mtjsim.checks import checked_whole

if TYPE_CHECKING:
    from bridge.write import OperatingPoint


class WriteErrors(nn.Module):
    """A memory that is written with errors: +-1 in, +-1 out, each bit wrong with the rate of its value.

    Active in training and in evaluation mode alike: whether a memory errs is decided by which memory sits in a layer's
    slot, never by the mode of the network (see `bnn.layers.memories`).

    Parameters
    ----------
    error_rate_0, error_rate_1 : float, in [0, 1]
        Probability that a bit told to become 0 (-1) ends as 1 (+1); that a bit told to become 1 (+1) ends as 0 (-1).
    seed : int, >= 0
        Of this memory's own stream. Never torch's global stream.
    gradient : {"identity", "flipped"}
        "identity" hands the gradient through unchanged, as in [1]; "flipped" multiplies it by -1 where the bit was
        flipped. Forward and backward always see the same draw.
    layer : int, >= 0
        Which memory of a network this is; part of the key, so that one seed serves a whole network.
    path : {"auto", "numba", "torch"}
        Two roads to the same law, with different draws. "numba", on the CPU: drawn *by key* (`error_kernels.py`), from
        (seed, layer, step, sample) and nothing else, so that the draw of a sample is the same however a batch is split
        over forward passes and processes. "torch", on any device: drawn from one stream, in the order of the writes.
        "auto": "numba" for a tensor on the CPU.

    Raises
    ------
    ValueError
        For a rate outside [0, 1] or NaN, a seed that is not a whole number >= 0, an unknown gradient, or (in the
        forward pass) values other than +-1.

    Notes
    -----
    *By key.* Dimension 0 counts samples (of a vector: one sample). `address` says which samples they are, and of which
    step; without an address a write's step is the number of writes before it, its samples are 0, 1, 2 ...

    *From the stream.* The tensor is not touched cell by cell. To select each of N cells independently with probability
    p, draw ``K ~ Poisson(-N log(1 - p))`` and then K positions with replacement: each cell is hit by its own Poisson
    number of positions, hence at least once with probability exactly p, whatever the others do. A position drawn twice
    writes the same value twice. For p <= 1/2 the selected cells err; for p > 1/2 the selected cells (now with 1 - p)
    are those that succeed. Unequal rates take one pass for each bit value, both decided on the original tensor. A rate
    of 0 or 1 draws nothing.

    Everything is drawn in float64. A dense mask ``torch.rand(N) < p`` in float32 cannot do this: its uniforms are
    multiples of 2^-24, so it fires with probability 6e-8 at any smaller p. Here the count is resolved to 2^-53 per call
    (a relative 1e-16 / (N p)) and the positions to N / 2^53.

    Draws are made on the CPU and moved to the device of the input. The stream's state and the number of writes are in
    the `state_dict`, so that a resumed training continues bit for bit; the rates are not, since they describe the
    memory and not its contents.

    Examples
    --------
    >>> memory = WriteErrors(error_rate_0=0.0, error_rate_1=0.5, seed=7)
    >>> memory(torch.tensor([1.0, 1.0, 1.0, 1.0, -1.0, -1.0])).shape
    torch.Size([6])
    >>> WriteErrors(error_rate_0=1.0, error_rate_1=0.0, seed=7)(torch.tensor([1.0, -1.0]))
    tensor([1., 1.])
    """

    def __init__(
        self,
        *,
        error_rate_0: float,
        error_rate_1: float,
        seed: int,
        gradient: str = "identity",
        layer: int = 0,
        path: str = "auto",
    ) -> None:
        super().__init__()
        if gradient not in ("identity", "flipped"):
            raise ValueError(f'gradient must be "identity" or "flipped", got {gradient!r}.')
        if path not in ("auto", "numba", "torch"):
            raise ValueError(f'path must be "auto", "numba" or "torch", got {path!r}.')
        self.error_rate_0 = _rate("error_rate_0", error_rate_0)
        self.error_rate_1 = _rate("error_rate_1", error_rate_1)
        self.gradient, self.path, self.layer = gradient, path, checked_whole("layer", layer, least=0)
        self.reseed(seed)

    @classmethod
    def from_operating_point(cls, point: "OperatingPoint", *, seed: int, **others: Any) -> "WriteErrors":
        """Make the memory that a `bridge` operating point describes; anything with the two error rates will do."""
        return cls(error_rate_0=point.error_rate_0, error_rate_1=point.error_rate_1, seed=seed, **others)

    def reseed(self, seed: int) -> None:
        """Start the stream of `seed`, and forget the address."""
        self.seed = check_seed(seed)
        self._generator = seeded_generator(seed)
        self._root = np.random.SeedSequence(self.seed).generate_state(1, np.uint64)[0]
        self._writes = 0
        self._address: tuple[int, np.ndarray] | None = None

    def address(self, *, step: int, samples: Tensor | np.ndarray) -> None:
        """Say which samples are written next, and in which step; holds until it is said anew.

        Parameters
        ----------
        step : int, >= 0
        samples : (n,) whole numbers
            One for each sample of the batch, the same for the same sample in any batch, on any process.
        """
        self._address = (step, np.asarray(samples, dtype=np.int64))

    def forward(self, x: Tensor) -> Tensor:
        """Write `x` and return what the cells hold.

        Parameters
        ----------
        x : Tensor, any shape, values +1 and -1 (NaN passes through, so that a diverged training is seen)

        Returns
        -------
        Tensor, same shape, dtype and device
            A new tensor; the very same bits, without a draw, if both rates are 0.
        """
        _check_bits(x)
        if x.numel() == 0 or self.error_rate_0 == self.error_rate_1 == 0.0:
            return x
        by_key = self.path == "numba" or (self.path == "auto" and x.device.type == "cpu")
        if self.path == "numba" and x.device.type != "cpu":
            raise ValueError(f'path must be "auto" or "torch" for a tensor on {x.device}: "numba" is for the CPU.')
        return _Write.apply(x, self._written_by_key if by_key else self._written, self.gradient == "flipped")

    def _written_by_key(self, x: Tensor) -> Tensor:
        """Apply both rates to x, (samples, ...) or one sample (n,)."""
        from bnn.error_kernels import sample_keys, write_bits  # here: numba takes half a second

        rows = x.detach().reshape(len(x) if x.dim() > 1 else 1, -1)
        step, samples = self._address or (self._writes, np.arange(len(rows)))
        if len(samples) != len(rows):
            raise ValueError(f"samples must name each of the {len(rows)} samples that are written, got {len(samples)}.")
        self._writes += 1
        keys = sample_keys(self._root, self.layer, step, samples)
        cells = rows.to(torch.float32).contiguous().numpy()
        return torch.from_numpy(write_bits(cells, keys, self.error_rate_1, self.error_rate_0)).to(x.dtype)

    def _written(self, x: Tensor) -> Tensor:
        """Apply both rates to x, of any shape, from the stream; (n,)."""
        x = x.reshape(-1)
        if self.error_rate_0 == self.error_rate_1:  # the value does not matter: one pass
            hits, default, hit = self._select(x, self.error_rate_1)
            return (x * default).index_copy_(0, hits, x.index_select(0, hits) * hit)
        out = x.clone()
        for value, rate in ((1, self.error_rate_1), (-1, self.error_rate_0)):
            hits, default, hit = self._select(x, rate)
            if default == -1:
                out.masked_fill_(x == value, -value)
            # Where the original is `value`, write value * hit; elsewhere what is there. On +-1 that is a min or a max.
            extreme = torch.minimum if value * hit < 0 else torch.maximum
            out.index_copy_(0, hits, extreme(x.index_select(0, hits) * hit, out.index_select(0, hits)))
        return out

    def _select(self, x: Tensor, rate: float) -> tuple[Tensor, int, int]:
        """Positions (with repeats) of the rarer outcome, and the factors of the common and of the rarer outcome."""
        n = x.numel()
        mean = -n * (math.log1p(-rate) if rate <= 0.5 else math.log(rate))
        count = 0
        if mean > 0.0:
            count = int(torch.poisson(torch.tensor(mean, dtype=torch.float64), generator=self._generator))
        uniform = torch.rand(count, dtype=torch.float64, generator=self._generator)
        positions = uniform.mul_(n).long().to(x.device)  # torch.randint has a bias of n / 2^32
        return (positions, 1, -1) if rate <= 0.5 else (positions, -1, 1)

    def get_extra_state(self) -> Tensor:
        """Return the state of the stream, the root of the keys and the number of writes; part of `state_dict`."""
        by_key = torch.from_numpy(np.array([self._root, self._writes], dtype=np.uint64).view(np.uint8))
        return torch.cat([self._generator.get_state(), by_key])

    def set_extra_state(self, state: Tensor) -> None:
        """Continue from `state`; part of `load_state_dict`."""
        stream, by_key = state.cpu()[:-16].clone(), state.cpu()[-16:].numpy().copy().view(np.uint64)
        self._generator.set_state(stream)
        self._root, self._writes = by_key[0], int(by_key[1])

    def __getstate__(self) -> dict[str, Any]:
        # A generator is neither copied nor pickled by every torch we support; its state is.
        return {**self.__dict__, "_generator": self._generator.get_state()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._generator = torch.Generator()
        self._generator.set_state(state["_generator"])

    def extra_repr(self) -> str:
        """Show rates, gradient and seed in the printed model."""
        rates = f"error_rate_0={self.error_rate_0}, error_rate_1={self.error_rate_1}"
        return f"{rates}, gradient={self.gradient}, seed={self.seed}, layer={self.layer}, path={self.path}"


class _Write(torch.autograd.Function):
    """x -> written(x), whose gradient is the identity, or -1 where a bit was flipped."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, written: Callable[[Tensor], Tensor], flipped: bool) -> Tensor:
        out = written(x).view(x.shape)
        if flipped:
            ctx.save_for_backward(x * out)  # +1 where the bit was kept, -1 where it was flipped
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return (gradient * ctx.saved_tensors[0] if ctx.saved_tensors else gradient), None, None


def address(model: nn.Module, *, step: int, samples: Tensor | np.ndarray) -> None:
    """Tell every memory of `model` that draws by key which samples are written next, and in which step."""
    for module in model.modules():
        if isinstance(module, WriteErrors):
            module.address(step=step, samples=samples)


def check_seed(seed: object) -> int:
    """Return `seed` as an int, or raise: seeds are whole numbers >= 0."""
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise ValueError(f"seed must be a whole number >= 0, got {seed!r}.")
    return int(seed)


def seeded_generator(*key: int) -> torch.Generator:
    """Return a CPU stream for a seed and, optionally, its children's numbers: ``(seed, role, epoch)`` for example.

    torch's CPU generator takes 32 bits of a seed: of a thousand streams, two are the same with probability 1e-4.
    """
    seed, *children = key
    state = np.random.SeedSequence(check_seed(seed), spawn_key=tuple(children)).generate_state(1, np.uint32)
    return torch.Generator().manual_seed(int(state[0]))


def _rate(name: str, rate: float) -> float:
    if isinstance(rate, bool) or not isinstance(rate, (int, float, np.number)) or not 0.0 <= rate <= 1.0:  # NaN: false
        raise ValueError(f"{name} must be in [0, 1], got {rate}: rates are probabilities, not percent.")
    return float(rate)


def _check_bits(x: Tensor) -> None:
    if x.numel() == 0:
        return
    low, high = torch.aminmax(x.abs().nan_to_num(1.0))
    if not (low == high == 1):
        raise ValueError(
            f"x must be +1 or -1 everywhere, got magnitudes from {low:g} to {high:g}: this is a memory of bits. "
            "Binarize first, with ste_sign()."
        )
