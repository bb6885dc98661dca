"""The front door of bridge: the public names, those that are imported on first use too, and only them."""

import pytest

import bridge


def test_completion_shows_the_public_names_and_only_them():
    assert dir(bridge) == sorted(bridge.__all__)
    assert all(getattr(bridge, name).__module__.startswith("bridge.") for name in ("Memory", "SRAM", "WordMemory"))
    assert set(bridge._ON_FIRST_USE) < set(bridge.__all__)
    with pytest.raises(AttributeError, match="module 'bridge' has no attribute 'Memroy'"):
        _ = bridge.Memroy
