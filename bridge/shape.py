"""The shape of an array of numbers or of cells."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mtjsim.checks import checked_whole


def checked_shape(shape: Any, *, least: int) -> tuple[int, ...]:
    """Return a whole number, or a sequence of them, as a tuple; ArgumentError unless each is >= `least`."""
    sides = tuple(shape) if isinstance(shape, (Sequence, np.ndarray)) else (shape,)
    return tuple(checked_whole("shape", side, least=least) for side in sides)
