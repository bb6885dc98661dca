"""The command line: `main`, one file a verb, and the figures that verbs draw."""

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; see `main` of command.py."""
    try:
        from bnn.cli.command import main as command  # here, so that an interrupt of the imports is one line too
    except KeyboardInterrupt:
        print("mtj-bnn: interrupted", file=sys.stderr)
        return 130
    return command(arguments)


__all__ = ["main"]
