"""One law for all streams: seed -> role -> key."""

import numpy as np
import pytest

from mtjsim.rng import ROLES, child, child_seed, generator


def test_the_first_word_of_every_role_differs():
    for key in ((), (0,), (0, 0), (1,)):
        words = {role: int(child(7, role, *key).generate_state(1, np.uint64)[0]) for role in ROLES}
        assert len(set(words.values())) == len(ROLES) == len(set(ROLES))
    root = int(np.random.SeedSequence(7).generate_state(1, np.uint64)[0])
    assert root not in {child_seed(7, role) for role in ROLES}


def test_roles_are_appended_only():
    """Kept results depend on the place of each role in the list."""
    assert ROLES[:10] == (
        *("start", "thermal", "splitting", "data", "bootstrap"),
        *("d2d", "defects", "write_errors", "read_errors", "retention"),
    )


def test_keys_of_other_lengths_are_other_streams():
    seeds = [child_seed(3, "thermal", *key) for key in ((), (0,), (0, 0), (1,), (0, 1), (1, 0))]
    assert len(set(seeds)) == len(seeds)


@pytest.mark.parametrize("key", [(-1,), (1 << 32,), (0, 1 << 40)])
def test_a_key_of_more_than_32_bits_is_refused(key):
    with pytest.raises(ValueError, match="key must be of whole numbers from 0 to 2\\^32 - 1"):
        child(3, "thermal", *key)


@pytest.mark.parametrize("seed", [1.5, -1, None, "1", True])
def test_a_seed_is_a_whole_number(seed):
    with pytest.raises(ValueError, match="seed must be a whole number >= 0"):
        generator(seed, "thermal", 0)
