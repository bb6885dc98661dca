"""Random numbers: seed -> role -> chunk, so that the same seed gives the same bits for any number of workers.

One NumPy `SeedSequence` child per role, then one per chunk of fixed size; nobody touches a global stream, and no seed
is ever another seed plus a worker's number.
"""

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from mtjsim.checks import checked_whole

Role = Literal[
    "start", "thermal", "splitting", "data", "bootstrap", "d2d", "defects", "write_errors", "read_errors", "retention"
]
ROLES: tuple[Role, ...] = get_args(Role)  # append only: the order is the law


def checked_seed(seed: int) -> int:
    """Return `seed` as a Python int; ValueError unless it is a whole number >= 0."""
    return checked_whole("seed", seed, least=0)


def child(seed: int, role: Role, chunk: int) -> np.random.SeedSequence:
    """Seed of one chunk of one role."""
    return np.random.SeedSequence(entropy=seed, spawn_key=(ROLES.index(role), chunk))


def generator(seed: int, role: Role, chunk: int) -> np.random.Generator:
    """NumPy generator of one chunk of one role."""
    return np.random.Generator(np.random.PCG64DXSM(child(seed, role, chunk)))


def lane_states(seed: int, role: Role, chunk: int, blocks: int, lanes: int) -> NDArray[np.uint32]:
    """Return states of xoshiro128+ generators, one a lane; (blocks, 4, lanes).

    128 random bits each: of 1e6 lanes that draw 1e5 words, two overlap with a chance of 1e-21.
    """
    words = child(seed, role, chunk).generate_state(blocks * 4 * lanes, np.uint32)
    return words.astype(np.uint32).reshape(blocks, 4, lanes)
