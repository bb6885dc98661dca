"""Checks of the state that a memory is restored from, before anything of the memory changes."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtjsim.checks import ArgumentError, checked_kind, checked_number


def checked_parts(state: Any, *needed: str, kind: str | None = None) -> Mapping[str, Any]:
    """Return a state; ArgumentError unless it is a mapping that has these parts, of a memory of the `kind`."""
    checked_kind("state", state, Mapping, remedy="state() of a memory returns one.")
    if missing := [name for name in (*needed, *["kind"] * (kind is not None)) if name not in state]:
        raise ArgumentError("state", f"must have {', '.join(missing)}, as state() of a memory returns it.")
    if kind is not None and state["kind"] != kind:
        raise ArgumentError("state", f"must be of a memory like this one, {kind}, got {state['kind']}.")
    return state


def checked_arrays(part: str, arrays: Any, own: Sequence[NDArray[Any] | None]) -> None:
    """ArgumentError unless the arrays of a state have the shapes and dtypes of the memory's own."""
    wanted = [_named(array) for array in own]
    got = [_named(array) for array in arrays] if isinstance(arrays, (list, tuple)) else [_named(arrays)]
    if got != wanted:
        rule = f"must be of a memory like this one, with {part} {', '.join(wanted)}"
        raise ArgumentError("state", f"{rule}, got {', '.join(got)}.")


def checked_counts(counts: Any) -> Mapping[str, float]:
    """Return numbers of events, by name; ArgumentError unless each is >= 0."""
    for event, count in checked_parts(counts).items():
        checked_number(f"{event} of state", count, "", zero_allowed=True)
    return counts


def _named(array: Any) -> str:
    return f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
