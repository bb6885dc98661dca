"""Errors of torch in a step, with what was computed and what to change."""

from collections.abc import Iterator
from contextlib import contextmanager

from mtjsim.checks import ArgumentError

OUT_OF_MEMORY = ("can't allocate memory", "out of memory")  # of torch, on the CPU and on a GPU


@contextmanager
def explained(what: str) -> Iterator[None]:
    """Raise MemoryError, with what was computed, where torch raises a RuntimeError; name a batch that is too small."""
    try:
        yield
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        rule = f"must give each batch two images where there is a BatchNorm of one value an image. For {what}"
        raise ArgumentError("batch_size", f"{rule}: {error}") from error
    except RuntimeError as error:
        if not any(text in str(error) for text in OUT_OF_MEMORY):
            raise
        asked = str(error).splitlines()[0].rpartition("] ")[2]
        raise MemoryError(f"For {what}: {asked} Take a smaller batch_size, or a smaller model.") from error
