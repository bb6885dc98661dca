"""Random numbers: seed -> role -> key, for all three packages; same seed, same bits, for any number of workers.

One NumPy `SeedSequence` child per role, then one per key: a chunk of fixed size, a layer, an epoch ... No global state
is used, and seeds are never derived by addition.
"""

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from mtjsim.checks import ArgumentError, checked_whole

Role = Literal[
    "start",
    "thermal",
    "splitting",
    "data",
    "bootstrap",
    "d2d",
    "defects",
    "write_errors",
    "read_errors",
    "retention",
    "rate_quadrature",  # bridge: points at which a population's mean error rate is taken
    "initial_weights",  # bnn: of a network or of one layer
    "activation_errors",  # seeds of a network's memories, by layer
    "weight_errors",
    "dropout",
    "bit_writes",  # of one memory of bits, by its own count of writes
    "addressed_bit_writes",  # by step and sample
    "repeated_bit_writes",  # further writes of the same step and samples
    "parameter_words",  # of one memory of words
    "image_order",  # of one training
    "validation",
    "test",
    "batch_norm_statistics",
    "image_split",
    "evaluated_activations",  # of one evaluation, by layer
    "evaluated_weights",
    "training",  # of one network of a study
    "evaluation",
    "dies",  # bridge: seeds of the dies of a wafer
    "agreeing_pairs",  # bridge: what a pair of a die reads as while its junctions agree
    "recipe_memories",  # bnn: seeds of the memories of a recipe
    "study",  # seeds of the repeats of a study, and its random points
    "augmentation",  # of the images of one training, by epoch and kind
    "rounding",  # bridge: stochastic rounding of the words of one write
    "state_transitions",  # bnn: jumps of discrete weights, by tensor and step
    "conductances",  # bridge: of the junctions of a crossbar
]
ROLES: tuple[Role, ...] = get_args(Role)  # append only: the order fixes the streams


def checked_seed(seed: object) -> int:
    """Return `seed` as a Python int; ValueError unless it is a whole number >= 0."""
    return checked_whole("seed", seed, least=0)


def child(seed: int, role: Role, *key: int) -> np.random.SeedSequence:
    """Return the seed sequence of one role of a seed, and of a key of whole numbers in it, each below 2^32.

    Raises
    ------
    ArgumentError
        For a seed or a key out of range: a larger number would be taken for two.
    """
    if not all(0 <= number < 1 << 32 for number in key):
        raise ArgumentError("key", f"must be of whole numbers from 0 to 2^32 - 1, got {key}.")
    return np.random.SeedSequence(entropy=checked_seed(seed), spawn_key=(ROLES.index(role), *map(int, key)))


def child_seed(seed: int, role: Role, *key: int) -> int:
    """Return a seed of 64 bits for one role, and for a key in it; see `child`.

    Examples
    --------
    >>> child_seed(7, "initial_weights", 0) != child_seed(7, "initial_weights", 1)
    True
    """
    return int(child(seed, role, *key).generate_state(1, np.uint64)[0])


def generator(seed: int, role: Role, *key: int) -> np.random.Generator:
    """Return the NumPy generator of one role, and of a key in it; see `child`."""
    return np.random.Generator(np.random.PCG64DXSM(child(seed, role, *key)))


def lane_states(seed: int, role: Role, chunk: int, blocks: int, lanes: int) -> NDArray[np.uint32]:
    """Return states of xoshiro128+ generators, one a lane; (blocks, 4, lanes).

    128 random bits each: of 1e6 lanes that draw 1e5 words, two overlap with a chance of 1e-21.
    """
    words = child(seed, role, chunk).generate_state(blocks * 4 * lanes, np.uint32)
    return words.astype(np.uint32).reshape(blocks, 4, lanes)
