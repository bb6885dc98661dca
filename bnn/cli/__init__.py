"""The command line: `main`, one file a verb, and the figures that verbs draw."""

from bnn.cli.command import main

__all__ = ["main"]
