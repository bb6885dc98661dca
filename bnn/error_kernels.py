"""Write errors drawn by key: what happens to a sample depends on nothing but its key, on any number of processes.

Legend: n samples, f cells a sample, p01 = error_rate_1 (a 1 that ends as 0), p10 = error_rate_0, key 64 bits a sample.

Each sample has a stream of its own, a xoshiro-family generator (xoroshiro128++) seeded from its key, and its cells are
decided in order. Two ways, each exact to 2^-53 and better at any rate:

* rare errors: the distance to the next cell that is hit is geometric with the larger rate, floor(log u / log(1 - p)); a
  hit is then thinned to the rate of its own bit. The cost is that of the hits.
* frequent errors: 16 bits a cell against floor(2^16 p); where they are equal, with chance 2^-16, 53 more bits decide
  what is left of 2^16 p. The cost is a quarter of a random word a cell.

References
----------
Blackman, Vigna, "Scrambled linear pseudorandom number generators", ACM Trans. Math. Softw. 47, 36 (2021).
Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014 (SplitMix64, for seeds and keys).
"""

import numba as nb
import numpy as np
from numpy.typing import NDArray

FREQUENT = 0.02  # rate from which a decision for every cell costs less than distances
U = nb.uint64

_jit = nb.njit(inline="always", cache=True)


@_jit
def _mixed(z):
    """SplitMix64's finaliser of z."""
    z = U(z)
    z = (z ^ (z >> U(30))) * U(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> U(27))) * U(0x94D049BB133111EB)
    return z ^ (z >> U(31))


@_jit
def _next(a, b):
    """Return a word of xoroshiro128++ and the state after it."""
    s = a + b
    word = ((s << U(17)) | (s >> U(47))) + a
    b ^= a
    return word, ((a << U(49)) | (a >> U(15))) ^ b ^ (b << U(21)), (b << U(28)) | (b >> U(36))


@_jit
def _unit(word):
    """Uniform in (0, 1], a multiple of 2^-53."""
    return (nb.float64(word >> U(11)) + 1.0) * 1.1102230246251565e-16


@nb.njit(cache=True)
def sample_keys(seed, layer, step, samples):
    """Return the key of each sample, (n,) uint64, from whole numbers >= 0 and the samples' numbers, (n,) int64."""
    golden = U(0x9E3779B97F4A7C15)
    root = _mixed(_mixed(_mixed(U(seed) + golden) + U(layer) * golden + golden) + U(step) * golden + golden)
    keys = np.empty(samples.size, np.uint64)
    for i in range(samples.size):
        keys[i] = _mixed(root + U(samples[i]) * golden + golden)
    return keys


@nb.njit(cache=True, nogil=True)
def write_rare(x, out, keys, p01, p10):
    """Write errors of x, (n, f) of +-1, into out, a copy of it; for rates that are small. Return how many."""
    n, f = x.shape
    count = 0
    largest = max(p01, p10)
    if largest <= 0.0:
        return count
    scale = 1.0 / np.log1p(-largest)
    for i in range(n):
        a, b = _mixed(keys[i]), _mixed(keys[i] + U(0x9E3779B97F4A7C15))
        at = -1
        while True:
            word, a, b = _next(a, b)
            gap = np.log(_unit(word)) * scale
            if gap >= f - 1 - at:
                break
            at += 1 + int(gap)
            bit = x[i, at]
            rate = p01 if bit > 0 else p10
            if rate < largest:
                word, a, b = _next(a, b)
                if _unit(word) * largest > rate:
                    continue
            out[i, at] = -bit
            count += 1
    return count


@nb.njit(cache=True, nogil=True)
def write_frequent(x, out, keys, p01, p10):
    """Copy x, (n, f) of +-1 as the *unsigned integers of their bits*, to out with errors; for any rates.

    A -1 has the sign bit set, and an error turns it: nothing branches on what is random.
    """
    n, f = x.shape
    sign = x.itemsize * 8 - 1
    t01, t10 = nb.int64(p01 * 65536.0), nb.int64(p10 * 65536.0)
    rest01, rest10 = p01 * 65536.0 - t01, p10 * 65536.0 - t10
    step = t10 - t01
    for i in range(n):
        a, b = _mixed(keys[i]), _mixed(keys[i] + U(0x9E3779B97F4A7C15))
        word = U(0)
        for k in range(f):
            if k & 3 == 0:
                word, a, b = _next(a, b)
            part = nb.int64(word & U(0xFFFF))
            word >>= U(16)
            cell = x[i, k]
            down = nb.int64(cell >> sign)  # 1 where a 0 is written
            over = part - (t01 + down * step)
            wrong = nb.uint64(over) >> U(63)  # 1 where part is below the threshold
            if over == 0:
                more, a, b = _next(a, b)
                wrong = U(_unit(more) <= (rest10 if down else rest01))
            out[i, k] = cell ^ (wrong << U(sign))


@nb.njit(cache=True, nogil=True)
def write_each(x, out, keys, p01, p10):
    """As `write_rare`, each cell with its own rates: p01 and p10 are (f,)."""
    n, f = x.shape
    for i in range(n):
        a, b = _mixed(keys[i]), _mixed(keys[i] + U(0x9E3779B97F4A7C15))
        for k in range(f):
            bit = x[i, k]
            rate = p01[k] if bit > 0 else p10[k]
            word, a, b = _next(a, b)
            out[i, k] = -bit if _unit(word) <= rate else bit


def write_bits(
    x: NDArray[np.floating], keys: NDArray[np.uint64], p01: float | NDArray, p10: float | NDArray
) -> NDArray[np.floating]:
    """Return what the cells hold after x was written.

    Parameters
    ----------
    x : (n, f) float32 or float64 array
        +1 and -1; NaN passes through.
    keys : (n,) uint64 array
        One a sample, from `sample_keys`.
    p01, p10 : float, or (f,) arrays
        error_rate_1 and error_rate_0, of all cells or of each.
    """
    out = x.copy()
    if np.ndim(p01) or np.ndim(p10):
        f = x.shape[1]
        write_each(x, out, keys, np.broadcast_to(p01, f).astype(float), np.broadcast_to(p10, f).astype(float))
    elif max(p01, p10) < FREQUENT:
        write_rare(x, out, keys, float(p01), float(p10))
    else:
        bits = np.dtype(f"u{x.itemsize}")
        write_frequent(x.view(bits), out.view(bits), keys, float(p01), float(p10))
    return out
