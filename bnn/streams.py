"""Torch generators of (seed, role, key); the law and the list of roles are those of `mtjsim/rng.py`."""

import numpy as np
import torch

from mtjsim.rng import Role, child


def torch_generator(seed: int, role: Role, *key: int) -> torch.Generator:
    """Return torch's CPU generator of one role of a seed, and of a key in it; see `child` of `mtjsim/rng.py`.

    It takes 32 bits of a seed: of a thousand streams, two are the same with probability 1e-4.
    """
    return torch.Generator().manual_seed(int(child(seed, role, *key).generate_state(1, np.uint32)[0]))
